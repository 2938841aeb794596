//! Removes e-mail addresses.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::contacts::{self, EMAIL};
use crate::text::python_regex::Substitution;

operator! {
    /// Removes e-mail addresses, or replaces them by `repl`.
    ///
    /// An address is one or more of `A-Z a-z 0-9 . - + _`, an `@`, one or more of `a-z 0-9 . - + _`, a
    /// dot and letters `a-z`; as long as possible. Its domain is in lower case only.
    ///
    /// ## Example
    /// ```yaml
    /// - clean_email_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "write to a.b@example.com today"}, "out": {"text": "write to  today"}}
    /// {"in": {"text": "or to A@EXAMPLE.COM"}, "out": {"text": "or to A@EXAMPLE.COM"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `clean_email_mapper`: same. Patterns that only Python's `regex` module
    /// understands (fuzzy matching, set operations, recursion) are refused when the recipe is read.
    clean_email_mapper: Mapper(Params) => build,
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

struct CleanEmail {
    substitution: Substitution,
    /// Whether the pattern is the built-in one and every match is replaced by the same text.
    built_in: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let pattern = params.pattern.as_deref().unwrap_or(EMAIL);
    let substitution = Substitution::from_recipe(pattern, &params.repl)
        .map_err(|e| vec![ParamError::new(e.part, e.message)])?;
    let built_in = params.pattern.is_none() && substitution.constant().is_some();
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        CleanEmail {
            substitution,
            built_in,
        },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for CleanEmail {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        if self.built_in
            && let Some(repl) = self.substitution.constant()
        {
            return Ok(contacts::replace_found(text, repl, contacts::find_email));
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
        check_mapper("clean_email_mapper", params, input, expected);
    }

    #[test]
    fn addresses_go() {
        check("{}", "<a+b_c@d-e.f.org>.", "<>.");
        check("{}", "a@b@c.com a@b", "a@ a@b");
        check(r#"{"repl": "M"}"#, "a@b.cD", "MD");
    }

    #[test]
    fn problems_name_the_parameter() {
        for (params, param) in [
            (r#"{"pattern": "("}"#, "pattern"),
            (r#"{"repl": "\\9"}"#, "repl"),
        ] {
            let errors = build_mapper("clean_email_mapper", params).err().unwrap();
            assert_eq!(errors[0].param.as_deref(), Some(param));
        }
    }
}
