//! The elements of one top-level JSON array, one at a time, without holding the array.

use std::io::{self, Read};

use super::source::{FoundRow, keep_start, read_some, too_long};
use crate::sample::RowError;

/// Splits `[…, …]` at its top-level commas. Elements are not parsed: a broken element comes out
/// as it is, as long as its brackets and quotes balance.
pub struct ElementReader {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: usize,
    position: u64,
    number: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeArray,
    Inside,
    Finished,
}

impl ElementReader {
    /// A reader over `start` followed by `reader`.
    #[must_use]
    pub fn new(reader: Box<dyn Read + Send>, start: Vec<u8>) -> Self {
        Self {
            reader,
            buffer: start,
            at: 0,
            position: 0,
            number: 0,
            state: State::BeforeArray,
        }
    }

    /// Bytes consumed so far.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.position
    }

    /// Elements read so far.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Appends the next element to `data`, line breaks replaced by spaces (JSON strings hold no
    /// raw ones); `None` after the last.
    pub(crate) fn next(
        &mut self,
        data: &mut Vec<u8>,
        max_bytes: usize,
    ) -> io::Result<Option<FoundRow>> {
        if self.state == State::BeforeArray {
            // The caller saw that the first visible byte is '['.
            while let Some(byte) = self.byte()? {
                if byte == b'[' {
                    self.state = State::Inside;
                    break;
                }
            }
        }
        if self.state == State::Finished {
            return Ok(None);
        }
        let start = data.len();
        let mut scan = Scan::default();
        let mut offset = None;
        let mut length = 0_u64;
        let problem = loop {
            let here = self.position;
            let Some(byte) = self.byte()? else {
                self.state = State::Finished;
                if offset.is_none() {
                    break Some(unclosed());
                }
                break Some(unclosed());
            };
            if scan.is_outside() && matches!(byte, b',' | b']') {
                if byte == b']' {
                    self.state = State::Finished;
                }
                if offset.is_some() {
                    break (length > max_bytes as u64).then(|| too_long(length));
                }
                if byte == b']' {
                    return Ok(None);
                }
                continue;
            }
            if offset.is_none() {
                if byte.is_ascii_whitespace() {
                    continue;
                }
                offset = Some(here);
            }
            scan.step(byte);
            length += 1;
            if length <= max_bytes as u64 {
                data.push(if matches!(byte, b'\n' | b'\r') {
                    b' '
                } else {
                    byte
                });
            } else {
                keep_start(data, start);
            }
        };
        while data.len() > start && data.last().is_some_and(u8::is_ascii_whitespace) {
            data.pop();
        }
        self.number += 1;
        Ok(Some(FoundRow {
            start,
            offset: offset.unwrap_or(self.position),
            number: self.number,
            problem,
        }))
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.buffer.len() {
            self.buffer.resize(1 << 18, 0);
            let n = read_some(&mut self.reader, &mut self.buffer)?;
            self.buffer.truncate(n);
            self.at = 0;
        }
        let byte = self.buffer.get(self.at).copied();
        if byte.is_some() {
            self.at += 1;
            self.position += 1;
        }
        Ok(byte)
    }
}

fn unclosed() -> RowError {
    RowError::new(
        "array_unclosed",
        "the file ends inside the JSON array; it may be cut short",
    )
}

/// Where in nested JSON a byte stands.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_string
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> Vec<(String, Option<&'static str>)> {
        let mut reader = ElementReader::new(
            Box::new(io::Cursor::new(text.as_bytes().to_vec())),
            Vec::new(),
        );
        let mut out = Vec::new();
        loop {
            let mut data = Vec::new();
            match reader.next(&mut data, 1000).unwrap() {
                None => return out,
                Some(row) => out.push((
                    String::from_utf8(data).unwrap(),
                    row.problem.map(|p| p.code),
                )),
            }
        }
    }

    #[test]
    fn elements_come_out_one_by_one() {
        assert_eq!(elements("[]"), []);
        assert_eq!(
            elements("[1, \"a,]\\\"\", {\"x\": [2, 3]}]"),
            [
                ("1".to_owned(), None),
                ("\"a,]\\\"\"".to_owned(), None),
                ("{\"x\": [2, 3]}".to_owned(), None),
            ]
        );
    }

    #[test]
    fn a_cut_array_says_so() {
        assert_eq!(
            elements("[{\"a\": 1}, {\"b\"").last().unwrap().1,
            Some("array_unclosed")
        );
        assert_eq!(
            elements("[{\"a\": 1}").last().unwrap().1,
            Some("array_unclosed")
        );
    }
}
