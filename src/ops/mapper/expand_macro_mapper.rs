//! Writes out macros of LaTeX.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::latex::with_macros_expanded;

operator! {
    /// Writes out LaTeX macros that take no arguments.
    ///
    /// Those are `\newcommand{\name}{value}`, perhaps starred, and `\def\name{value}`, with a name of
    /// letters and digits and a value that ends with the last brace of its line. All `\newcommand`s
    /// come first, then all `\def`s; each is replaced, in definitions as well, where a character that
    /// is no ASCII letter or digit follows. That character starts no other macro: of `\a\a ` only the
    /// first is replaced.
    ///
    /// ## Example
    /// ```yaml
    /// - expand_macro_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "\\def\\R{real}\nThe \\R numbers"}, "out": {"text": "\\defreal{real}\nThe real numbers"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `expand_macro_mapper`: same, but a row whose macros double each other
    /// without end is refused (`text_explodes`) where Data-Juicer runs out of memory.
    expand_macro_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct ExpandMacro;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(_params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        ExpandMacro,
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for ExpandMacro {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        with_macros_expanded(text)
            .map_err(|explosion| RowError::new("text_explodes", explosion.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("expand_macro_mapper", params, input, expected);
    }

    #[test]
    fn the_last_definition_counts() {
        check(
            "{}",
            "\\newcommand*{\\a}{x}\n\\newcommand{\\a}{é\\1}\n\\a.\\ab",
            "\\newcommand*{é\\1}{x}\n\\newcommand{é\\1}{é\\1}\né\\1.\\ab",
        );
        check(
            "{}",
            "\\newcommand{\\a}[1]{#1}\n\\a ",
            "\\newcommand{\\a}[1]{#1}\n\\a ",
        );
    }
}
