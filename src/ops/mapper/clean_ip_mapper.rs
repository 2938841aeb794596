//! Removes IP addresses.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::contacts::{self, IP};
use crate::text::python_regex::Substitution;

operator! {
    /// Removes IP addresses, or replaces them by `repl`.
    ///
    /// An IPv4 address is four numbers from 0 to 255 without leading zeros, with dots between. What is
    /// around it does not matter: of `256.1.1.1` the last nine characters are removed. An IPv6 address
    /// is eight groups of one to four hexadecimal digits (decimal digits of any script) with colons
    /// between; shortened ones stay.
    ///
    /// ## Example
    /// ```yaml
    /// - clean_ip_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "from 192.168.0.1 on"}, "out": {"text": "from  on"}}
    /// {"in": {"text": "256.1.1.1"}, "out": {"text": "2"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `clean_ip_mapper`: same. Patterns that only Python's `regex` module
    /// understands (fuzzy matching, set operations, recursion) are refused when the recipe is read.
    clean_ip_mapper: Mapper(Params) => build,
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

struct CleanIp {
    substitution: Substitution,
    /// Whether the pattern is the built-in one and every match is replaced by the same text.
    built_in: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let pattern = params.pattern.as_deref().unwrap_or(IP);
    let substitution = Substitution::from_recipe(pattern, &params.repl)
        .map_err(|e| vec![ParamError::new(e.part, e.message)])?;
    let built_in = params.pattern.is_none();
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        CleanIp {
            substitution,
            built_in,
        },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for CleanIp {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        if self.built_in && !contacts::may_have_ip(text) {
            return Ok(Cow::Borrowed(text));
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
        check_mapper("clean_ip_mapper", params, input, expected);
    }

    #[test]
    fn addresses_go() {
        check("{}", "12.34.56.789", "9");
        check("{}", "1.2.3.4.5", ".5");
        check(r#"{"repl": "I"}"#, "1:2:3:4:5:6:7:abcde ::1", "Ie ::1");
    }

    #[test]
    fn problems_name_the_parameter() {
        for (params, param) in [
            (r#"{"pattern": "("}"#, "pattern"),
            (r#"{"repl": "\\9"}"#, "repl"),
        ] {
            let errors = build_mapper("clean_ip_mapper", params).err().unwrap();
            assert_eq!(errors[0].param.as_deref(), Some(param));
        }
    }
}
