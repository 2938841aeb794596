//! Makes white space plain.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::strip;

operator! {
    /// Strips the text and turns unusual white space into spaces.
    ///
    /// White space at both ends goes first (Python's `str.strip`). Then each of U+0009, U+0084, U+00A0,
    /// U+2000 to U+200D, U+202F, U+205F, U+2060, U+3000 and U+FFFC becomes one space. Line feeds,
    /// carriage returns, U+2028 and U+FEFF within the text stay; nothing is collapsed.
    ///
    /// ## Example
    /// ```yaml
    /// - whitespace_normalization_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "  a\tb\u00a0\u3000c\n"}, "out": {"text": "a b  c"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `whitespace_normalization_mapper`: same.
    whitespace_normalization_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct WhitespaceNormalization;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(_params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        WhitespaceNormalization,
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for WhitespaceNormalization {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        let stripped = strip(text);
        let is_plain = if stripped.is_ascii() {
            !stripped.as_bytes().contains(&b'\t')
        } else {
            !stripped.contains(is_various)
        };
        if is_plain {
            return Ok(Cow::Borrowed(stripped));
        }
        Ok(stripped
            .chars()
            .map(|c| if is_various(c) { ' ' } else { c })
            .collect::<String>()
            .into())
    }
}

/// White space of all kinds, as the `BigScience` project listed it, that becomes a space.
fn is_various(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{84}' | '\u{a0}' | '\u{2000}'
            ..='\u{200d}' | '\u{202f}' | '\u{205f}' | '\u{2060}' | '\u{3000}' | '\u{fffc}'
    )
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(input: &str, expected: &str) {
        check_mapper("whitespace_normalization_mapper", "{}", input, expected);
    }

    #[test]
    fn stripping_comes_first() {
        check(" a b ", "a b");
        check("\u{200b}a\u{200b}", " a ");
        check(
            "\u{1c}a\r\n\u{2028}\u{feff}b\u{85}",
            "a\r\n\u{2028}\u{feff}b",
        );
        check("\t \n", "");
    }
}
