//! Removes lines that many rows share.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::op::{BuildContext, Census, Common, Facts, Operator, ParamError, Verdict, operator};
use crate::sample::{FieldPath, RowError, Sample};
use crate::text::{char_count, lower, strip};

operator! {
    /// Removes lines that more than `frequency_threshold` rows hold: menus, copyright notices.
    ///
    /// Lines lie between line feeds. Two are the same if they are equal once stripped of white space,
    /// and as `lowercase` and `ignore_special_character` say. A line counts once for each row that
    /// holds it, and is removed from all of them, the first included; no row is dropped. Lines that are
    /// too short or that one of the rules passes over neither count nor are removed. A single row is
    /// left as it is. The rows of a `reference` count like those of the run, and are never written.
    ///
    /// ## Example
    /// ```yaml
    /// - document_line_deduplicator: {frequency_threshold: 1}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a red kite\nread more"}, {"text": "read more \na bus"}], "out": [{"text": "a red kite"}, {"text": "a bus"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `document_line_deduplicator`: same, but that a field of line hashes in the
    /// input is not looked at.
    document_line_deduplicator: Deduplicator(Params) => build,
    Facts {
        memory: 6,
        compares: &["frequency_threshold"],
        ..Facts::MAPS_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a recipe")]
struct Params {
    /// Lines that more rows than this hold are removed.
    frequency_threshold: i64,
    /// Compare lines in lower case.
    lowercase: bool,
    /// Compare lines without white space, digits and ASCII punctuation.
    ignore_special_character: bool,
    /// Lines with fewer characters (code points, stripped) are passed over.
    min_line_length: i64,
    /// Pass over lines of brackets and semicolons alone.
    skip_brackets: bool,
    /// Pass over lines that begin with `#`.
    skip_markdown_headers: bool,
    /// Pass over lines that begin with `\begin{` or `\end{`.
    skip_latex_env: bool,
    /// Pass over lines that are one HTML tag.
    skip_html_tags: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            frequency_threshold: 6,
            lowercase: false,
            ignore_special_character: false,
            min_line_length: 2,
            skip_brackets: true,
            skip_markdown_headers: true,
            skip_latex_env: true,
            skip_html_tags: true,
        }
    }
}

struct LineDeduplicator {
    text_key: FieldPath,
    params: Params,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Census(Box::new(LineDeduplicator {
        text_key: context.base.text_key.clone(),
        params,
    })))
}

impl Census for LineDeduplicator {
    fn keys(&self, sample: &Sample, out: &mut Vec<u128>) -> Result<(), RowError> {
        let text = sample.required_text(&self.text_key)?;
        out.extend(text.split('\n').filter_map(|line| self.key(line)));
        out.sort_unstable();
        out.dedup();
        Ok(())
    }

    fn is_common(&self, count: u64, rows: u64) -> bool {
        rows > 1 && i64::try_from(count).unwrap_or(i64::MAX) > self.params.frequency_threshold
    }

    fn apply(&self, sample: &mut Sample, common: &Common) -> Result<Verdict, RowError> {
        if common.is_empty() {
            return Ok(Verdict::Keep);
        }
        let text = sample.required_text(&self.text_key)?;
        let stays = |line: &&str| self.key(line).is_none_or(|key| !common.contains_key(&key));
        let left: Vec<&str> = text.split('\n').filter(stays).collect();
        let left = left.join("\n");
        if left != *text {
            sample.set_text(&self.text_key, left)?;
        }
        Ok(Verdict::Keep)
    }
}

impl LineDeduplicator {
    /// What a line is compared by; `None` if it is passed over.
    fn key(&self, line: &str) -> Option<u128> {
        let params = &self.params;
        let stripped = strip(line);
        let passed_over = char_count(stripped) < params.min_line_length
            || (params.skip_brackets && stripped.chars().all(|c| "{}[]();".contains(c)))
            || (params.skip_markdown_headers && stripped.starts_with('#'))
            || (params.skip_latex_env && is_environment(stripped))
            || (params.skip_html_tags && is_tag(stripped));
        if passed_over {
            return None;
        }
        let mut compared = Cow::Borrowed(line);
        if params.lowercase {
            compared = Cow::Owned(lower(&compared).into_owned());
        }
        if params.ignore_special_character {
            compared = Cow::Owned(SPECIAL.replace_all(&compared, "").into_owned());
        }
        Some(xxh3_128(strip(&compared).as_bytes()))
    }
}

/// White space and digits as Python has them, and ASCII punctuation.
static SPECIAL: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::unwrap_used, reason = "a constant, tested below")]
    Regex::new(r"[\s\x1c-\x1f\d!-/:-@\[-`{-~]+").unwrap()
});

fn is_environment(line: &str) -> bool {
    line.starts_with("\\begin{") || line.starts_with("\\end{")
}

/// `<name …>`, with or without a slash in front and the bracket at the end.
fn is_tag(line: &str) -> bool {
    let Some(rest) = line.strip_prefix('<') else {
        return false;
    };
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    // Python's case folding takes four more characters for letters.
    let named = rest.starts_with(|c: char| c.is_ascii_alphabetic() || "İıſ\u{212a}".contains(c));
    named && rest.find('>').is_none_or(|end| end + 1 == rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_as_the_parameters_say() {
        let key = |params: &str, line: &str| {
            let params = serde_json::from_str(params).unwrap();
            let text_key = "text".into();
            LineDeduplicator { text_key, params }.key(line)
        };
        assert_eq!(key("{}", " ab\u{1c}"), key("{}", "ab"));
        assert_ne!(key("{}", "AB"), key("{}", "ab"));
        let loose = r#"{"lowercase": true, "ignore_special_character": true}"#;
        assert_eq!(key(loose, "A-b 1٣!"), key(loose, "ab"));
        for line in [
            "",
            "a",
            "{ ;",
            "# x",
            "\\begin{a} b",
            "</p>",
            "<br",
            "<a b='c'>",
        ] {
            assert_eq!(key("{}", line).is_none(), line != "{ ;", "{line}");
        }
        assert!(key("{}", "<p>x").is_some() && key("{}", "<5>").is_some());
        assert!(key(r#"{"min_line_length": 0, "skip_brackets": false}"#, "").is_some());
    }
}
