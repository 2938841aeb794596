//! Cuts the bibliography of LaTeX.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::latex::before_bibliography;

operator! {
    /// Removes the bibliography or appendix of a LaTeX document, and all after it.
    ///
    /// It starts at the first `\appendix`, `\begin{references}`, `\begin{REFERENCES}`,
    /// `\begin{thebibliography}`, or `\bibliography{` with a closing brace somewhere after it.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_bibliography_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "Text.\n\\bibliography{refs}\n\\end{document}"}, "out": {"text": "Text.\n"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_bibliography_mapper`: same.
    remove_bibliography_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct RemoveBibliography;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(_params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveBibliography,
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveBibliography {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        Ok(Cow::Borrowed(before_bibliography(text)))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("remove_bibliography_mapper", params, input, expected);
    }

    #[test]
    fn the_first_start_counts() {
        check("{}", "a \\appendix b \\bibliography{c}", "a ");
        check("{}", "a \\begin{References}", "a \\begin{References}");
    }
}
