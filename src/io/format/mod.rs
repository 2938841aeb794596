//! The formats an output can have: each turns one row into the bytes of one record, or says by
//! name why the row cannot be one.

pub mod dj;
pub mod jsonl;
pub mod llava;
pub mod questions;

use crate::sample::{RowError, Sample};

/// Writes rows in one format. Shared by all worker threads.
pub trait Renderer: Send + Sync {
    /// Appends the record of `sample`, without a separator or newline, to `out`.
    ///
    /// # Errors
    /// Why the row cannot be written in this format; `out` is then to be discarded.
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError>;
}

/// Appends `text` as a JSON string of ASCII characters only, as Python's `json.dumps` does.
pub fn push_ascii_json(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='~' => out.push(c as u8),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(HEX[usize::from((*unit >> shift) & 15)]);
                    }
                }
            }
        }
    }
    out.push(b'"');
}

/// Python's `str.strip()`.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_python_space)
}

/// Python's `str.isspace()` for one character.
fn is_python_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{1c}'..='\u{1f}') || (c != '\u{200b}' && c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_python_does() {
        let mut out = Vec::new();
        push_ascii_json("a\"\\\n\u{7f}é中😀\u{1}", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""a\"\\\n\u007f\u00e9\u4e2d\ud83d\ude00\u0001""#
        );
    }

    #[test]
    fn strip_takes_what_python_takes() {
        assert_eq!(
            strip("\u{1c}\u{85}\u{a0}\u{2028}a\u{200b} \u{1f}"),
            "a\u{200b}"
        );
    }
}
