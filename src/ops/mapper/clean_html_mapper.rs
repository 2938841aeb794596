//! Keeps the text of HTML.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::html;

operator! {
    /// Keeps the text of HTML and drops its markup.
    ///
    /// The literal tags `<li>` and `<ol>` become a line feed and `*`, and `</li>` and `</ol>` go.
    /// The rest is parsed as an HTML5 document, without scripting, as browsers do; the result is
    /// every text node of it, joined without anything in between: titles, scripts and styles
    /// included, comments and templates not. White space before the body's first text is lost.
    ///
    /// ## Example
    /// ```yaml
    /// - clean_html_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "<p>red &amp; <b>blue</b></p>"}, "out": {"text": "red & blue"}}
    /// {"in": {"text": "To buy:<ol><li>milk</li><li>tea</li></ol>"}, "out": {"text": "To buy:\n*\n*milk\n*tea"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `clean_html_mapper` (selectolax 1.0.2, lexbor): same.
    clean_html_mapper: Mapper(Params) => build,
    Facts {
        memory: 56,
        ..Facts::MAPS_TEXT
    }
}

/// Parameters: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct CleanHtml;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(_params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        CleanHtml,
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for CleanHtml {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        let listed = text.contains("<li>")
            || text.contains("</li>")
            || text.contains("<ol>")
            || text.contains("</ol>");
        if !listed {
            return Ok(html::document_text(text));
        }
        // One after another: what one replacement leaves may be what the next one looks for.
        let bulleted = text
            .replace("<li>", "\n*")
            .replace("</li>", "")
            .replace("<ol>", "\n*")
            .replace("</ol>", "");
        Ok(html::document_text(&bulleted).into_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(CleanHtml.map_text(input).unwrap(), expected);
    }

    #[test]
    fn only_literal_list_tags_become_bullets() {
        check("a<li>b</li>", "a\n*b");
        check("a<LI>b</LI><li class='x'>c", "abc");
        check("<li>b", "*b");
        check("<<li>li>", "<\n*li>");
    }
}
