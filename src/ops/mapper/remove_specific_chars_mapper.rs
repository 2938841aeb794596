//! Removes certain characters.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, OneOrMany, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;

operator! {
    /// Removes every character of `chars_to_remove`.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_specific_chars_mapper: {chars_to_remove: "◆●"}
    /// ```
    /// ```json
    /// {"in": {"text": "◆ first ● second"}, "out": {"text": " first  second"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_specific_chars_mapper`: same.
    remove_specific_chars_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The characters: a string, or a list of strings. Empty means none.
    chars_to_remove: OneOrMany,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            chars_to_remove: "◆●■►▼▲▴∆▻▷❖♡□".into(),
        }
    }
}

struct RemoveSpecificChars {
    /// Sorted.
    chars: Vec<char>,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut chars: Vec<char> = params
        .chars_to_remove
        .as_slice()
        .iter()
        .flat_map(|text| text.chars())
        .collect();
    chars.sort_unstable();
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveSpecificChars { chars },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveSpecificChars {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        let removed = |c: char| self.chars.binary_search(&c).is_ok();
        if !text.contains(removed) {
            return Ok(Cow::Borrowed(text));
        }
        Ok(text
            .chars()
            .filter(|&c| !removed(c))
            .collect::<String>()
            .into())
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("remove_specific_chars_mapper", params, input, expected);
    }

    #[test]
    fn strings_and_lists_name_characters() {
        check("{}", "a◆b□", "ab");
        check(r#"{"chars_to_remove": "^a-c"}"#, "^abc-", "b");
        check(r#"{"chars_to_remove": ["ab", "中"]}"#, "abc中", "c");
        check(r#"{"chars_to_remove": ""}"#, "a◆", "a◆");
    }
}
