//! Replaces what regular expressions match.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, OneOrMany, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::python_regex::Substitution;

operator! {
    /// Replaces every match of `pattern` by `repl`; with several patterns, one after another.
    ///
    /// Patterns are Python's, and the dot matches line feeds. `repl` is a Python template: `\\1`,
    /// `\\g<name>`, `\\n`. A single `repl` serves all patterns; a list has one for each. An empty match
    /// may follow another match at once, as in Python. Without a pattern nothing changes.
    ///
    /// ## Example
    /// ```yaml
    /// - replace_content_mapper: {pattern: '(\d+) (apples|pears)', repl: '\2: \1'}
    /// ```
    /// ```json
    /// {"in": {"text": "12 apples and 3 pears"}, "out": {"text": "apples: 12 and pears: 3"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `replace_content_mapper`: same, with three differences. Patterns that only
    /// Python's `regex` module understands (fuzzy matching, set operations, recursion) are refused when
    /// the recipe is read. So is a list of replacements that is shorter than that of patterns, which
    /// there loses every row. Character classes know the characters of Unicode 16; those of `regex`
    /// 2026.11.15 know more (`\w`: 17,559 that were assigned later).
    replace_content_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// One or several regular expressions (Python syntax); may be written as `r'...'`.
    pattern: Option<OneOrMany>,
    /// What matches are replaced by, one for all patterns or a list with one for each; nothing by
    /// default.
    repl: OneOrMany,
}

struct ReplaceContent {
    substitutions: Vec<Substitution>,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let patterns = params.pattern.as_ref().map_or(&[][..], OneOrMany::as_slice);
    let mut substitutions = Vec::new();
    let mut errors = Vec::new();
    for (i, pattern) in patterns.iter().enumerate() {
        let repl = match &params.repl {
            OneOrMany::One(repl) => Some(repl),
            OneOrMany::Many(repls) => repls.get(i),
        };
        let Some(repl) = repl else {
            let message = format!("there is no replacement for pattern {pattern:?}");
            errors.push(
                ParamError::new("repl", message)
                    .hint("write one replacement for each pattern, or a single string for all"),
            );
            continue;
        };
        match Substitution::from_recipe(pattern, repl) {
            Ok(substitution) => substitutions.push(substitution),
            Err(e) => errors.push(ParamError::new(e.part, e.message)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        ReplaceContent { substitutions },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for ReplaceContent {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        let mut replaced = Cow::Borrowed(text);
        for substitution in &self.substitutions {
            let next = match substitution.apply(&replaced) {
                Ok(Cow::Borrowed(_)) => continue,
                Ok(Cow::Owned(next)) => next,
                Err(e) => return Err(RowError::new("pattern_failed", e)),
            };
            replaced = Cow::Owned(next);
        }
        Ok(replaced)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_mapper, check_mapper};

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("replace_content_mapper", params, input, expected);
    }

    #[test]
    fn patterns_follow_one_another() {
        check(
            r#"{"pattern": "a.c", "repl": "<\\g<0>>"}"#,
            "a\nc",
            "<a\nc>",
        );
        check(r#"{"pattern": ["a", "b"], "repl": ["b", "c"]}"#, "ab", "cc");
        check(r#"{"pattern": ["a", "b"], "repl": "x"}"#, "abc", "xxc");
        check("{}", "abc", "abc");
        check(r#"{"pattern": "(?<=a)b"}"#, "abb", "ab");
    }

    #[test]
    fn problems_name_the_parameter() {
        for (params, param) in [
            (r#"{"pattern": ["a", "("]}"#, "pattern"),
            (r#"{"pattern": ["a", "b"], "repl": ["c"]}"#, "repl"),
            (r#"{"pattern": "a", "repl": "\\1"}"#, "repl"),
        ] {
            let errors = build_mapper("replace_content_mapper", params)
                .err()
                .unwrap();
            assert_eq!(errors[0].param.as_deref(), Some(param));
        }
    }
}
