//! Removes comments of LaTeX.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, OneOrMany, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::latex::{without_comment_lines, without_inline_comments};

operator! {
    /// Removes LaTeX comments.
    ///
    /// Inline comments go first: from a `%` that no backslash precedes to the end of the line, if
    /// anything follows it there. The character before the `%` goes with it; that may be the line feed
    /// of the line before. Then go lines that start with `%`.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_comments_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "%intro\n50\\% text %note\nend"}, "out": {"text": "50\\% text\nend"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_comments_mapper`: same.
    remove_comments_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Ignored, as in Data-Juicer: texts are taken for LaTeX.
    doc_type: OneOrMany,
    /// Remove comments after other text.
    inline: bool,
    /// Remove lines that are comments.
    multiline: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            doc_type: "tex".into(),
            inline: true,
            multiline: true,
        }
    }
}

struct RemoveComments {
    inline: bool,
    multiline: bool,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveComments {
            inline: params.inline,
            multiline: params.multiline,
        },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveComments {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        let mut cleaned = Cow::Borrowed(text);
        if self.inline {
            cleaned = without_inline_comments(text);
        }
        if self.multiline
            && let Cow::Owned(next) = without_comment_lines(&cleaned)
        {
            cleaned = Cow::Owned(next);
        }
        Ok(cleaned)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("remove_comments_mapper", params, input, expected);
    }

    #[test]
    fn both_kinds_go() {
        check("{}", "%a\nb %c\n%d\ne\\%f %", "b\ne\\%f %");
        check(r#"{"inline": false}"#, "%a\nb %c", "b %c");
        check(r#"{"multiline": false}"#, "%a\nb %c", "%a\nb");
    }
}
