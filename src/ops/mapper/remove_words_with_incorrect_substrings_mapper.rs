//! Removes words that hold certain strings.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::rejoin::retain_words;
use crate::text::{WordCutter, strip_special};

operator! {
    /// Removes words in which one of `substrings` occurs.
    ///
    /// Words lie between spaces, tabs and line feeds, and are searched without the special characters
    /// (those of `special_characters_filter`) at their ends. Words stay joined by one space, fields by
    /// one tab and lines by one line feed; fields and lines without words vanish, even where no word was
    /// removed. With `tokenization`, words are the pieces of the SentencePiece model of `lang`; if one
    /// is removed, the others are joined without spaces, else the text stays as it is.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_words_with_incorrect_substrings_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "see www.example.org or  http://x.y now"}, "out": {"text": "see or now"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_words_with_incorrect_substrings_mapper`: same. The model is not
    /// downloaded; it is looked for where Data-Juicer keeps it.
    remove_words_with_incorrect_substrings_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Language of the SentencePiece model; unused without `tokenization`.
    lang: String,
    /// Cut words with a SentencePiece model instead of at white space.
    tokenization: bool,
    /// The strings that no kept word holds; `http`, `www`, `.com`, `href` and `//` by default.
    substrings: Option<Vec<String>>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lang: "en".into(),
            tokenization: false,
            substrings: None,
        }
    }
}

struct RemoveWords {
    cutter: WordCutter,
    substrings: Vec<String>,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let cutter = context
        .word_cutter(&params.lang, params.tokenization)
        .map_err(|e| vec![e])?;
    let substrings = params.substrings.unwrap_or_else(|| {
        ["http", "www", ".com", "href", "//"]
            .map(String::from)
            .to_vec()
    });
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveWords { cutter, substrings },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveWords {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        let WordCutter::SentencePiece { model, .. } = &self.cutter else {
            return Ok(retain_words(text, |word| self.keeps(word)));
        };
        let mut kept = String::with_capacity(text.len());
        let mut all = true;
        model.pieces(text, |piece| {
            let word = piece.replace('▁', "");
            if self.keeps(&word) {
                kept.push_str(&word);
            } else {
                all = false;
            }
        });
        Ok(if all {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(kept)
        })
    }
}

impl RemoveWords {
    fn keeps(&self, word: &str) -> bool {
        let word = strip_special(word);
        !self
            .substrings
            .iter()
            .any(|part| word.contains(part.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper(
            "remove_words_with_incorrect_substrings_mapper",
            params,
            input,
            expected,
        );
    }

    #[test]
    fn words_are_stripped_before_they_are_searched() {
        check("{}", "a http://b c.com\n(//)  x//", "a\n(//) x//");
        check(r#"{"substrings": ["b"]}"#, "a abc\tb\tc", "a\tc");
    }
}
