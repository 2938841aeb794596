//! Puts each sentence on a line of its own.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::ops::nltk;
use crate::sample::RowError;
use crate::text::punkt::Punkt;

operator! {
    /// Puts each sentence of the text on a line of its own.
    ///
    /// Sentences are found by NLTK's Punkt method and its tables for the language: a period, a
    /// question mark or an exclamation mark ends one unless a known abbreviation, a collocation, an
    /// initial or a number speaks against it; closing quotes and brackets stay with the sentence
    /// they close. White space between sentences becomes one line feed, white space at the end of
    /// the text goes.
    ///
    /// The tables are a directory (`english`, `french`, `portuguese` or `spanish`) of the files
    /// `abbrev_types.txt`, `collocations.tab`, `ortho_context.tab` and `sent_starters.txt`.
    ///
    /// ## Example
    /// ```yaml
    /// - sentence_split_mapper: {punkt_dir: fixtures/assets/punkt_tab}
    /// ```
    /// ```json
    /// {"in": {"text": "Dr. Lee came by bicycle.  Who else? (Nobody.) The end"}, "out": {"text": "Dr. Lee came by bicycle.\nWho else?\n(Nobody.)\nThe end"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `sentence_split_mapper` with NLTK 3.10 and the same tables: same.
    /// `punkt_dir` is our own, and nothing is downloaded. NLTK before 3.10 does not count typographic
    /// quotes as closing ones.
    sentence_split_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The language of the text.
    lang: Language,
    /// The directory of tables, one subdirectory a language; by default `tokenizers/punkt_tab` of
    /// an `nltk_data` directory beside the recipe, of a directory that the variable `NLTK_DATA`
    /// lists, or of an `nltk_data` directory in Data-Juicer's cache, above it or in the system's
    /// share.
    punkt_dir: Option<String>,
}

/// A language that there are tables for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Language {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
    /// Portuguese.
    Pt,
    /// Spanish.
    Es,
}

impl Language {
    fn directory(self) -> &'static str {
        match self {
            Self::En => "english",
            Self::Fr => "french",
            Self::Pt => "portuguese",
            Self::Es => "spanish",
        }
    }
}

struct SentenceSplit {
    punkt: Punkt,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let language = params.lang.directory();
    let dir = find_tables(params.punkt_dir.as_deref(), language, context)?;
    let punkt = nltk::read_punkt(&dir, context).map_err(|(path, e)| broken(&path, &e))?;
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        SentenceSplit { punkt },
        context.base.text_key.clone(),
    ))))
}

const DOWNLOAD: &str =
    "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/tokenizers/punkt_tab.zip";

/// The tables of `language`: in the directory that the recipe names, else where NLTK has its data.
fn find_tables(
    written: Option<&str>,
    language: &str,
    context: &BuildContext,
) -> Result<PathBuf, ParamError> {
    let found = match written {
        Some(written) => {
            let found = context.resolve(&format!("{written}/{language}"));
            found.map_err(|e| e.tried)
        }
        None => nltk::place(&format!("tokenizers/punkt_tab/{language}"), context),
    };
    found.map_err(|tried| {
        ParamError::new(
            "punkt_dir",
            format!(
                "no Punkt tables of {language}: tried {}",
                nltk::shown(&tried)
            ),
        )
        .hint(format!(
            "download {DOWNLOAD}, unpack it, and set punkt_dir to the directory punkt_tab"
        ))
    })
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> ParamError {
    ParamError::new(
        "punkt_dir",
        format!("cannot read the Punkt tables {}: {error}", path.display()),
    )
    .hint(format!("download {DOWNLOAD} again"))
}

impl TextMapper for SentenceSplit {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        Ok(Cow::Owned(self.punkt.sentences(text).join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_mapper, check_mapper};

    #[test]
    fn sentences_become_lines() {
        let params = r#"{"punkt_dir": "fixtures/assets/punkt_tab"}"#;
        let check = |input, expected| {
            check_mapper("sentence_split_mapper", params, input, expected);
        };
        check("One. Two?\n\nThree ", "One.\nTwo?\nThree");
        check("", "");
        check(" \n", "");
    }

    #[test]
    fn the_variable_of_nltk_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let tables = dir.path().join("tokenizers/punkt_tab");
        std::fs::create_dir_all(&tables).unwrap();
        let own = std::path::absolute("fixtures/assets/punkt_tab/english").unwrap();
        std::os::unix::fs::symlink(own, tables.join("english")).unwrap();
        let find = |nltk_data| {
            let mut context = super::BuildContext::default();
            context.nltk_data = nltk_data;
            context.search = vec![dir.path().to_owned()];
            super::find_tables(None, "english", &context)
        };
        let found = find(vec!["/nowhere".into(), dir.path().to_owned()]).unwrap();
        assert_eq!(found, tables.join("english"));
        assert_ne!(find(Vec::new()).ok(), Some(found));
    }

    #[test]
    fn absent_tables_say_where_they_come_from() {
        let params = r#"{"lang": "fr", "punkt_dir": "nowhere"}"#;
        let errors = build_mapper("sentence_split_mapper", params).err().unwrap();
        assert!(errors[0].message.contains("nowhere/french"), "{errors:?}");
        let hint = errors[0].hint.as_deref().unwrap();
        assert!(hint.contains("punkt_tab.zip"), "{hint}");
    }
}
