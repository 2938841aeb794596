//! Cuts what precedes the first heading of LaTeX.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::latex::from_first_heading;

operator! {
    /// Removes everything before the first sectioning command of a LaTeX document.
    ///
    /// That is `\chapter`, `\part`, `\section`, `\subsection`, `\subsubsection`, `\paragraph` or
    /// `\subparagraph`, perhaps starred, perhaps with a short title in brackets, and a title in braces.
    /// A text without one becomes empty, unless `drop_no_head` is off.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_header_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "\\documentclass{a}\n\\section{One}\nText"}, "out": {"text": "\\section{One}\nText"}}
    /// {"in": {"text": "no heading"}, "out": {"text": ""}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_header_mapper`: same.
    remove_header_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Empty a text without headings.
    drop_no_head: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self { drop_no_head: true }
    }
}

struct RemoveHeader {
    drop_no_head: bool,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveHeader {
            drop_no_head: params.drop_no_head,
        },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveHeader {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        let without = if self.drop_no_head { "" } else { text };
        Ok(Cow::Borrowed(from_first_heading(text).unwrap_or(without)))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("remove_header_mapper", params, input, expected);
    }

    #[test]
    fn headings_start_the_text() {
        check("{}", "a\\part*{b} c", "\\part*{b} c");
        check("{}", "a", "");
        check(r#"{"drop_no_head": false}"#, "a", "a");
    }
}
