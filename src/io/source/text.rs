//! Documents: a file is a row.

use std::io::{self, Read as _};

use super::bytes::Bytes;
use super::format::{Format, FoundRow, Place, Recognised, RowReader, Start};
use super::{MAX_ROW_BYTES, Reading, foreign, keep_start, too_long};
use crate::sample::{RowError, push_string};

/// A text as a whole.
pub struct Text;

impl Format for Text {
    fn word(&self) -> &'static str {
        "text"
    }

    fn name(&self) -> &'static str {
        "a text document"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".txt", ".md", ".tex", ".html", ".htm", ".xml", ".rst"]
    }

    /// Texts in a directory of data say what the data are.
    fn in_directories(&self) -> bool {
        false
    }

    fn holds_lines(&self) -> bool {
        false
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        let name = start.name.to_ascii_lowercase();
        let named = self.suffixes().iter().any(|suffix| name.ends_with(suffix));
        let text = start.bytes.trim_ascii_start();
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let rows = matches!(line.first(), Some(b'{' | b'['))
            && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        if named && !rows && !foreign::is_binary(start.bytes) {
            Recognised::Yes
        } else {
            Recognised::No
        }
    }

    fn open(&self, bytes: Bytes, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
        Ok(Box::new(TextReader {
            bytes,
            text_key: reading.text_key.clone(),
            read: false,
        }))
    }
}

struct TextReader {
    bytes: Bytes,
    text_key: String,
    read: bool,
}

impl RowReader for TextReader {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        if std::mem::replace(&mut self.read, true) {
            return Ok(None);
        }
        let limit = limit.min(MAX_ROW_BYTES);
        let mut text = Vec::new();
        (&mut self.bytes)
            .take(limit as u64)
            .read_to_end(&mut text)?;
        let rest = io::copy(&mut self.bytes, &mut io::sink())?;
        let start = data.len();
        let problem = if rest > 0 {
            data.append(&mut text);
            keep_start(data, start);
            Some(too_long(limit as u64 + rest, limit))
        } else {
            match std::str::from_utf8(&text) {
                Ok(text) => {
                    data.push(b'{');
                    push_string(&self.text_key, data);
                    data.extend_from_slice(b": ");
                    push_string(text, data);
                    data.push(b'}');
                    None
                }
                Err(error) => {
                    let at = error.valid_up_to() + 1;
                    data.append(&mut text);
                    let why = format!("the text is not UTF-8 (byte {at})");
                    Some(RowError::new("utf8_invalid", why))
                }
            }
        };
        Ok(Some(FoundRow::plain(0, 1, problem)))
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        self.next(&mut Vec::new(), 0)
    }

    fn place(&self) -> Place {
        Place {
            bytes: self.bytes.position(),
            rows: u64::from(self.read),
        }
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        self.read = place.rows > 0;
        self.bytes.skip_to(place.bytes)
    }

    /// An empty one still has an identity of its own.
    fn extent(&self) -> u64 {
        self.bytes.position().max(1)
    }
}
