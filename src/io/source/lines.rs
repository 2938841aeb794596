//! A row a line (JSON Lines).

use std::io::{self, BufRead as _, Read as _};

use super::bytes::Bytes;
use super::format::{Format, FoundRow, Place, Recognised, RowReader, Start, is_named_json};
use super::opened::{BYTE_ORDER_MARK, HEAD};
use super::whole::Whole;
use super::{Reading, foreign, keep_start, too_long};

/// JSON Lines.
pub struct Lines;

impl Format for Lines {
    fn word(&self) -> &'static str {
        "jsonl"
    }

    fn name(&self) -> &'static str {
        "JSON Lines"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".jsonl", ".ndjson"]
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        let mut lines = Vec::new();
        let mut rest = start.bytes;
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(newline);
            lines.push(line);
            rest = behind.get(1..).unwrap_or_default();
        }
        // The last line may go on behind what is shown.
        let begun = rest.trim_ascii_start();
        let first_begins = |line: &&[u8]| begins_as_object(line.trim_ascii_start());
        let mut seen = lines.iter().filter(|line| !line.trim_ascii().is_empty());
        if seen
            .clone()
            .next()
            .or(Some(&begun))
            .is_some_and(first_begins)
        {
            return Recognised::Yes;
        }
        // Broken lines before rows cost themselves only. But as many rows must follow: else these are
        // lines of another kind with a few objects among them.
        let (mut objects, mut others) = (0, 0);
        let mut holds_rows = |line: &[u8]| {
            if begins_as_object(line) {
                objects += 1;
            } else {
                others += 1;
            }
            others <= objects
        };
        if seen.any(|line| holds_rows(line)) {
            return Recognised::Yes;
        }
        if !start.last {
            return Recognised::Unknown;
        }
        if !begun.is_empty() && holds_rows(rest) {
            return Recognised::Yes;
        }
        // Nothing at all holds no row that could be lost; what has no line break as far as it is shown
        // may be a broken row in front of others.
        let nothing = start.bytes.trim_ascii().is_empty();
        let one_long = lines.is_empty() && start.bytes.len() + BYTE_ORDER_MARK >= HEAD;
        let meant = is_named_json(start.name)
            && one_long
            && !foreign::is_binary(start.bytes)
            && !foreign::is_instead(start.bytes);
        let unnamed = foreign::named(start.name).is_none();
        if nothing && (unnamed || is_named_json(start.name)) || meant {
            Recognised::Yes
        } else {
            Recognised::No
        }
    }

    fn open(&self, bytes: Bytes, _: &Reading) -> io::Result<Box<dyn RowReader>> {
        Ok(Box::new(LineReader { bytes, number: 0 }))
    }

    fn cuts(&self, file: &Whole, every: u64) -> io::Result<Vec<u64>> {
        let length = file.length()?;
        let mut cuts = Vec::new();
        let mut at = every.max(1);
        while at < length {
            // A line begins behind the first newline at or behind the byte before.
            let mut begins = at - 1;
            let mut rest = file.bytes_from(begins, LOOK)?;
            loop {
                let block = rest.fill_buf()?;
                let newline = memchr::memchr(b'\n', block);
                let read = newline.map_or(block.len(), |newline| newline + 1);
                begins += read as u64;
                if newline.is_some() || read == 0 {
                    break;
                }
                rest.consume(read);
            }
            if begins < length {
                cuts.push(begins);
            }
            at = begins.saturating_add(every.max(1));
        }
        Ok(cuts)
    }

    fn extent(&self, file: &Whole) -> io::Result<Option<u64>> {
        let length = file.length()?;
        if length == 0 {
            return Ok(Some(0));
        }
        let mut last = [0];
        let mut end = file.bytes_from(length - 1, 1)?;
        end.read_exact(&mut last)?;
        Ok(Some(length + u64::from(last != *b"\n")))
    }
}

/// How many bytes are looked at for a newline at once.
const LOOK: usize = 1 << 13;

/// How many lines begin in the bytes `from..until`, both of which are places where lines begin.
///
/// # Errors
/// If they cannot be read, or are fewer.
pub fn count(file: &Whole, from: u64, until: u64) -> io::Result<u64> {
    let mut rest = file.bytes_from(from, super::READ_BLOCK)?.take(until - from);
    let (mut lines, mut read) = (0, 0);
    loop {
        let block = rest.fill_buf()?;
        if block.is_empty() {
            break;
        }
        lines += memchr::memchr_iter(b'\n', block).count() as u64;
        let length = block.len();
        read += length as u64;
        rest.consume(length);
    }
    if read < until - from {
        return Err(io::Error::other(
            "the file became shorter while it was read",
        ));
    }
    Ok(lines)
}

/// Whether a line begins as an object. In front of it there is no blank: lists of a program and of
/// settings are indented.
fn begins_as_object(line: &[u8]) -> bool {
    match line {
        [b'{', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')),
        _ => false,
    }
}

struct LineReader {
    bytes: Bytes,
    number: u64,
}

impl LineReader {
    /// Reads the next line that is not blank; `keep` gets its pieces and how long it is by then.
    fn line(&mut self, mut keep: impl FnMut(&[u8], u64)) -> io::Result<Option<(u64, u64, u64)>> {
        loop {
            let offset = self.bytes.position();
            let (mut length, mut blank) = (0_u64, true);
            let ended = loop {
                let rest = self.bytes.peek()?;
                let newline = memchr::memchr(b'\n', rest);
                let piece = rest
                    .get(..newline.unwrap_or(rest.len()))
                    .unwrap_or_default();
                let (read, found) = (piece.len(), newline.is_some());
                if read == 0 && !found {
                    break false;
                }
                if blank && !piece.iter().all(u8::is_ascii_whitespace) {
                    blank = false;
                }
                length += read as u64;
                keep(piece, length);
                self.bytes.advance(read + usize::from(found));
                if found {
                    break true;
                }
            };
            if !ended && length == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !blank {
                return Ok(Some((offset, length, self.number)));
            }
            keep(&[], 0);
        }
    }
}

impl RowReader for LineReader {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        let start = data.len();
        let found = self.line(|piece, length| {
            if length == 0 {
                // It was blank.
                data.truncate(start);
            } else if length <= limit as u64 {
                data.extend_from_slice(piece);
            } else if length - piece.len() as u64 <= limit as u64 {
                data.extend_from_slice(piece);
                keep_start(data, start);
            }
        })?;
        Ok(found.map(|(offset, length, number)| {
            let problem = (length > limit as u64).then(|| too_long(length, limit));
            FoundRow::plain(offset, number, problem)
        }))
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        let found = self.line(|_, _| {})?;
        Ok(found.map(|(offset, _, number)| FoundRow::plain(offset, number, None)))
    }

    fn place(&self) -> Place {
        Place {
            bytes: self.bytes.position(),
            rows: self.number,
        }
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        self.bytes.skip_to(place.bytes)?;
        self.number = place.rows;
        Ok(())
    }

    fn digest(&self) -> Option<String> {
        self.bytes.digest()
    }

    /// A final newline counts whether it is there or not, so that shards of a file give its rows
    /// the same identities as the file.
    fn extent(&self) -> u64 {
        self.bytes.position() + u64::from(self.bytes.ends_without_newline())
    }
}
