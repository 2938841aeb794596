//! Removes copyright comments.

use std::borrow::Cow;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;

operator! {
    /// Removes a copyright comment from the start of source code.
    ///
    /// If the text holds a `/* ... */` comment anywhere, the first one is cut out if it contains
    /// "copyright" in any case; without that word the whole text stays as it is. If there is no such
    /// comment, the leading lines that are empty or start with `//`, `#` or `--` are removed.
    ///
    /// ## Example
    /// ```yaml
    /// - clean_copyright_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "/* Copyright 2020 */\nint x;"}, "out": {"text": "\nint x;"}}
    /// {"in": {"text": "# a header\n\nx = 1"}, "out": {"text": "x = 1"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `clean_copyright_mapper`: same.
    clean_copyright_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct CleanCopyright;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(_params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        CleanCopyright,
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for CleanCopyright {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        if let Some(comment) = first_comment(text) {
            let inside = text.get(comment.clone()).unwrap_or_default();
            if !has_copyright(inside) {
                return Ok(Cow::Borrowed(text));
            }
            let before = text.get(..comment.start).unwrap_or_default();
            let after = text.get(comment.end..).unwrap_or_default();
            return Ok(if before.is_empty() {
                Cow::Borrowed(after)
            } else {
                Cow::Owned([before, after].concat())
            });
        }
        let is_header = |line: &str| {
            line.is_empty() || ["//", "#", "--"].iter().any(|mark| line.starts_with(mark))
        };
        let skipped: usize = text
            .split_inclusive('\n')
            .take_while(|line| is_header(line.strip_suffix('\n').unwrap_or(line)))
            .map(str::len)
            .sum();
        Ok(Cow::Borrowed(text.get(skipped..).unwrap_or_default()))
    }
}

/// Where the first `/*` that is closed, and its `*/`, lie.
fn first_comment(text: &str) -> Option<Range<usize>> {
    let start = text.find("/*")?;
    let length = text.get(start + 2..)?.find("*/")?;
    Some(start..start + 2 + length + 2)
}

/// Whether "copyright" is in `text`, in any case. To Python's `regex`, U+0130 is an `i` as well.
fn has_copyright(text: &str) -> bool {
    const WORD: &[u8] = b"copyright";
    if text.contains('\u{130}') {
        return has_copyright(&text.replace('\u{130}', "i"));
    }
    text.as_bytes()
        .windows(WORD.len())
        .any(|window| window.eq_ignore_ascii_case(WORD))
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(input: &str, expected: &str) {
        check_mapper("clean_copyright_mapper", "{}", input, expected);
    }

    #[test]
    fn a_block_comment_decides_alone() {
        check(
            "a /* x CopyRight */ b /* copyright */",
            "a  b /* copyright */",
        );
        check("# c\n/* no */ x", "# c\n/* no */ x");
        check("# c\n/* open x", "/* open x");
        check("/*/ copyright */x", "x");
    }

    #[test]
    fn leading_comment_lines_go() {
        check("-- a\n\n//b\nc\n# d", "c\n# d");
        check("#a\n", "");
        check(" # a", " # a");
    }

    #[test]
    fn case_is_ignored_as_in_python() {
        check("/*COPYR\u{130}GHT*/", "");
        check("/*COPYR\u{131}GHT*/", "/*COPYR\u{131}GHT*/");
    }
}
