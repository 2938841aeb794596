//! Removes links.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::contacts::{self, LINK};
use crate::text::python_regex::Substitution;

operator! {
    /// Removes links, or replaces them by `repl`.
    ///
    /// A link starts at a word boundary with a scheme (`http:`, in any case; any word of two or more
    /// characters and a colon will do) and one to three slashes, a letter, a digit or `%`; or with
    /// `www`, up to three digits and a dot; or with a host whose last part has two to four letters, and
    /// a slash. At least two more characters belong to it: all up to white space, `<`, `>` or a
    /// parenthesis without its partner (two levels deep), less punctuation at the end. A text without
    /// links stays as it is.
    ///
    /// ## Example
    /// ```yaml
    /// - clean_links_mapper: {repl: "<LINK>"}
    /// ```
    /// ```json
    /// {"in": {"text": "see https://example.com/a(b), or not"}, "out": {"text": "see <LINK>, or not"}}
    /// {"in": {"text": "www.example.com and example.com/about"}, "out": {"text": "<LINK> and <LINK>"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `clean_links_mapper`: same. Patterns that only Python's `regex` module
    /// understands (fuzzy matching, set operations, recursion) are refused when the recipe is read.
    clean_links_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// A regular expression (Python syntax, the dot matches line feeds) to use instead of the
    /// built-in one; may be written as `r'...'`.
    pattern: Option<String>,
    /// What each match is replaced by: a Python template (`\\1`, `\\g<0>`); nothing by default.
    repl: String,
}

struct CleanLinks {
    substitution: Substitution,
    /// Whether the pattern is the built-in one and every match is replaced by the same text.
    built_in: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let pattern = params.pattern.as_deref().unwrap_or(LINK);
    let substitution = Substitution::from_recipe(pattern, &params.repl)
        .map_err(|e| vec![ParamError::new(e.part, e.message)])?;
    let built_in = params.pattern.is_none() && substitution.constant().is_some();
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        CleanLinks {
            substitution,
            built_in,
        },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for CleanLinks {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        if self.built_in
            && let Some(repl) = self.substitution.constant()
        {
            return Ok(contacts::replace_found(text, repl, contacts::find_link));
        }
        self.substitution
            .apply(text)
            .map_err(|e| RowError::new("pattern_failed", e))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_mapper, check_mapper};

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("clean_links_mapper", params, input, expected);
    }

    #[test]
    fn links_go() {
        check("{}", "a http://b.c/d?e=f, g", "a , g");
        check(
            "{}",
            "no link: here, and/or there",
            "no link: here, and/or there",
        );
        check(r#"{"repl": "[\\g<0>]"}"#, "x www.a.b y", "x [www.a.b] y");
        check(
            r#"{"pattern": "r'ftp://\\w+'", "repl": "L"}"#,
            "ftp://a http://b",
            "L http://b",
        );
    }

    #[test]
    fn problems_name_the_parameter() {
        for (params, param) in [
            (r#"{"pattern": "("}"#, "pattern"),
            (r#"{"repl": "\\9"}"#, "repl"),
        ] {
            let errors = build_mapper("clean_links_mapper", params).err().unwrap();
            assert_eq!(errors[0].param.as_deref(), Some(param));
        }
    }
}
