//! Rows that may stand over several lines: the elements of a JSON array, and objects one after
//! the other, one at a time and without holding the file.
//!
//! Values are not parsed: a broken one comes out as it is, and ends at the latest where the next
//! one begins on a line of its own.

use std::io;

use super::bytes::Bytes;
use super::format::{Format, FoundRow, Place, Recognised, RowReader, Start, is_named_json};
use super::{Reading, keep_start, too_long};
use crate::sample::RowError;

/// One JSON array, or several one after the other.
pub struct Array;

/// JSON objects one after the other, printed over several lines each or several in a line.
pub struct Objects;

impl Format for Array {
    fn word(&self) -> &'static str {
        "json"
    }

    fn name(&self) -> &'static str {
        "a JSON array"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".json"]
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        let text = start.bytes.trim_ascii_start();
        let Some(inside) = text.strip_prefix(b"[") else {
            return unless_all_was_seen(start, text.is_empty());
        };
        let holds_objects =
            |inside: &[u8]| matches!(inside.trim_ascii_start().first(), None | Some(b'{' | b']'));
        let behind = end_of_value(text).and_then(|end| text.get(end..));
        match behind.map(<[u8]>::trim_ascii_start) {
            // Values one after the other are lines; other arrays behind it are read as it is.
            Some([b'[', next @ ..]) if holds_objects(inside) && holds_objects(next) => {
                Recognised::Yes
            }
            Some([_, ..]) => Recognised::No,
            _ if !start.last => Recognised::Unknown,
            Some([]) => Recognised::Yes,
            // It is longer than what is shown: rows are objects, unless the name says lines.
            None if holds_objects(inside) || !is_named_lines(start.name) => Recognised::Yes,
            None => Recognised::No,
        }
    }

    fn open(&self, bytes: Bytes, _: &Reading) -> io::Result<Box<dyn RowReader>> {
        Ok(Box::new(ValueReader::new(bytes, State::BeforeArray)))
    }
}

impl Format for Objects {
    fn word(&self) -> &'static str {
        "json"
    }

    fn name(&self) -> &'static str {
        "JSON objects one after the other"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[]
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        let text = start.bytes.trim_ascii_start();
        if !text.starts_with(b"{") {
            return unless_all_was_seen(start, text.is_empty());
        }
        let mut scan = Scan::default();
        let mut lines = 0;
        for (at, &byte) in text.iter().enumerate() {
            scan.step(byte);
            if scan.misplaced || scan.cut_string {
                return Recognised::No;
            }
            lines += usize::from(byte == b'\n');
            if scan.is_outside() {
                if lines > 0 {
                    return Recognised::Yes;
                }
                return followed_in_line(text.get(at + 1..).unwrap_or_default(), start.last);
            }
        }
        match (start.last, lines) {
            (false, _) => Recognised::Unknown,
            (true, 0) => Recognised::No,
            (true, _) => Recognised::Yes,
        }
    }

    fn open(&self, bytes: Bytes, _: &Reading) -> io::Result<Box<dyn RowReader>> {
        Ok(Box::new(ValueReader::new(bytes, State::Between)))
    }
}

/// Whether another object begins in the line in which one has ended: `rest` is what follows that.
/// So it is where nothing, or a carriage return alone, stands between objects.
fn followed_in_line(rest: &[u8], last: bool) -> Recognised {
    let blank = |byte: &&u8| byte.is_ascii_whitespace() && **byte != b'\n';
    match rest.iter().find(|byte| !blank(byte)) {
        Some(b'{') => Recognised::Yes,
        None if !last => Recognised::Unknown,
        _ => Recognised::No,
    }
}

/// The answer for an input that does not begin as one of the format does.
fn unless_all_was_seen(start: &Start<'_>, nothing_visible: bool) -> Recognised {
    if nothing_visible && !start.last {
        Recognised::Unknown
    } else {
        Recognised::No
    }
}

fn is_named_lines(name: &str) -> bool {
    is_named_json(name) && !name.to_ascii_lowercase().ends_with(".json")
}

/// One past the last byte of the value that `text` begins with; `None` if it does not end there.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let mut scan = Scan::default();
    let end = text.iter().position(|&byte| {
        scan.step(byte);
        scan.is_outside()
    });
    end.map(|last| last + 1)
}

/// Where a reader stands between two rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeArray,
    InArray,
    BehindArray,
    /// Between objects that stand in no array.
    Between,
}

struct ValueReader {
    bytes: Bytes,
    number: u64,
    state: State,
    /// Where the last array ended.
    closed: u64,
}

/// How a row ended.
enum End {
    /// As it should.
    Whole,
    /// The input has no more bytes.
    Input,
    /// The next one begins although it is not whole.
    Next,
}

impl ValueReader {
    fn new(bytes: Bytes, state: State) -> Self {
        Self {
            bytes,
            number: 0,
            state,
            closed: 0,
        }
    }

    /// Passes over the comma or bracket behind an element.
    fn close_element(&mut self) -> io::Result<()> {
        if self.bytes.take_byte()? == Some(b']') {
            self.state = State::BehindArray;
            self.closed = self.bytes.position();
        }
        Ok(())
    }

    /// Passes over what stands between rows. The offset of the next row's first byte; `None` if
    /// there is no more.
    fn find(&mut self) -> io::Result<Option<u64>> {
        loop {
            let Some(&byte) = self.bytes.peek()?.first() else {
                return Ok(None);
            };
            match (self.state, byte) {
                (_, byte) if byte.is_ascii_whitespace() => {}
                (State::BeforeArray | State::BehindArray, b'[') => self.state = State::InArray,
                (State::InArray, b',') => {}
                (State::InArray, b']') => {
                    self.close_element()?;
                    continue;
                }
                _ => return Ok(Some(self.bytes.position())),
            }
            self.bytes.advance(1);
        }
    }

    /// Reads a row byte by byte.
    fn row(&mut self, mut keep: impl FnMut(u8)) -> io::Result<(End, Scan)> {
        let mut scan = Scan::default();
        let (mut first, mut line_begins) = (None, false);
        loop {
            let block = self.bytes.peek()?;
            if block.is_empty() {
                return Ok((End::Input, scan));
            }
            let mut ended = None;
            let mut read = 0;
            for &byte in block {
                let outside = scan.is_outside();
                let first = *first.get_or_insert(byte);
                if self.state == State::InArray && outside && matches!(byte, b',' | b']') {
                    ended = Some(End::Whole);
                    break;
                }
                let cut = scan.cut_string && scan.in_string;
                if line_begins && byte == b'{' && (cut || scan.may_not_open()) {
                    ended = Some(End::Next);
                    break;
                }
                line_begins = byte == b'\n' || line_begins && byte.is_ascii_whitespace();
                let bracketed = matches!(first, b'{' | b'[');
                if self.state == State::Between && !bracketed && byte == b'\n' {
                    ended = Some(End::Whole);
                    break;
                }
                scan.step(byte);
                read += 1;
                keep(if matches!(byte, b'\n' | b'\r') {
                    b' '
                } else {
                    byte
                });
                if self.state == State::Between && bracketed && scan.is_outside() {
                    ended = Some(End::Whole);
                    break;
                }
            }
            self.bytes.advance(read);
            if let Some(end) = ended {
                return Ok((end, scan));
            }
        }
    }

    /// Behind the last array: what follows is no part of it.
    fn rest(&mut self, mut keep: impl FnMut(u8)) -> io::Result<()> {
        while let Some(byte) = self.bytes.take_byte()? {
            keep(byte);
        }
        Ok(())
    }

    fn read(&mut self, mut keep: impl FnMut(u8)) -> io::Result<Option<(u64, Option<RowError>)>> {
        let Some(offset) = self.find()? else {
            // An array that is not closed lacks its end even if its last element is whole.
            if self.state == State::InArray {
                self.state = State::BehindArray;
                self.number += 1;
                return Ok(Some((self.bytes.position(), Some(unclosed()))));
            }
            return Ok(None);
        };
        self.number += 1;
        if matches!(self.state, State::BeforeArray | State::BehindArray) {
            self.rest(keep)?;
            return Ok(Some((offset, Some(trailing()))));
        }
        let (end, scan) = self.row(&mut keep)?;
        let problem = match (&end, self.state) {
            (End::Input, State::InArray) => {
                self.state = State::BehindArray;
                Some(unclosed())
            }
            (End::Input, _) if !scan.is_outside() => Some(invalid(
                "the file ends inside of the object; it may be cut short",
            )),
            (End::Next, _) => Some(invalid("the next row begins before the end of this one")),
            _ if scan.cut_string => Some(invalid("a string has a line break inside")),
            _ => None,
        };
        if matches!((end, self.state), (End::Whole, State::InArray)) {
            self.close_element()?;
        }
        Ok(Some((offset, problem)))
    }
}

impl RowReader for ValueReader {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        let start = data.len();
        let mut length = 0_u64;
        let found = self.read(|byte| {
            length += 1;
            if length <= limit as u64 {
                data.push(byte);
            } else if length - 1 == limit as u64 {
                keep_start(data, start);
            }
        })?;
        while data.len() > start && data.last().is_some_and(u8::is_ascii_whitespace) {
            data.pop();
        }
        Ok(found.map(|(offset, problem)| {
            let long = || (length > limit as u64).then(|| too_long(length, limit));
            FoundRow::plain(offset, self.number, problem.or_else(long))
        }))
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        let found = self.read(|_| {})?;
        Ok(found.map(|(offset, problem)| FoundRow::plain(offset, self.number, problem)))
    }

    fn place(&self) -> Place {
        Place {
            bytes: self.bytes.position(),
            rows: self.number,
        }
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        let Some(before) = place.bytes.checked_sub(1) else {
            return Ok(());
        };
        if place.bytes > self.bytes.position() {
            self.bytes.skip_to(before)?;
            let byte = self.bytes.take_byte()?;
            if self.state != State::Between {
                self.state = if byte == Some(b']') {
                    self.closed = place.bytes;
                    State::BehindArray
                } else {
                    State::InArray
                };
            }
        }
        self.number = place.rows;
        Ok(())
    }

    /// Of objects as of lines; an array ends with its bracket.
    fn extent(&self) -> u64 {
        match self.state {
            State::Between => self.bytes.position() + u64::from(self.bytes.ends_without_newline()),
            _ if self.closed > 0 => self.closed,
            _ => self.bytes.position(),
        }
    }
}

fn unclosed() -> RowError {
    RowError::new(
        "array_unclosed",
        "the file ends inside the JSON array; it may be cut short",
    )
}

fn trailing() -> RowError {
    RowError::new(
        "array_trailing",
        "the file goes on behind the end of its JSON array",
    )
}

fn invalid(why: &'static str) -> RowError {
    RowError::new("json_invalid", why)
}

/// How many open brackets are told apart; beyond them nothing is found misplaced.
const KNOWN_DEPTH: usize = 256;

/// Where in nested JSON a byte stands.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for apart")]
struct Scan {
    /// The open brackets, as far as they are known.
    open: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last visible byte outside of strings; a string counts by its quote.
    last: u8,
    /// A string has a line break inside, which none may have.
    cut_string: bool,
    /// An object begins where none may.
    misplaced: bool,
}

impl Scan {
    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_string
    }

    /// Whether no object may begin here.
    fn may_not_open(&self) -> bool {
        let may = match self.open.last() {
            _ if self.depth != self.open.len() => true,
            None => self.last == 0,
            Some(b'[') => matches!(self.last, b'[' | b','),
            Some(_) => self.last == b':',
        };
        !may && !self.in_string
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                b'\n' => self.cut_string = true,
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.misplaced |= byte == b'{' && self.may_not_open();
                if self.depth == self.open.len() && self.depth < KNOWN_DEPTH {
                    self.open.push(byte);
                }
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.open.truncate(self.depth);
            }
            byte if byte.is_ascii_whitespace() => return,
            _ => {}
        }
        self.last = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::Origin;
    use super::Recognised::{No, Unknown, Yes};
    use super::*;

    fn bytes(text: &str) -> Bytes {
        let text = io::Cursor::new(text.as_bytes().to_vec());
        Bytes::new(Origin::Stream(Box::new(text)), Vec::new())
    }

    fn rows(format: &dyn Format, text: &str) -> Vec<(String, Option<&'static str>)> {
        let mut reader = format.open(bytes(text), &Reading::default()).unwrap();
        let mut passing = format.open(bytes(text), &Reading::default()).unwrap();
        let mut out = Vec::new();
        loop {
            let mut data = Vec::new();
            let row = reader.next(&mut data, 1000).unwrap();
            let passed = passing.pass().unwrap();
            assert_eq!(
                row.as_ref().map(|row| (row.offset, row.number)),
                passed.map(|row| (row.offset, row.number))
            );
            assert_eq!(reader.place(), passing.place());
            match row {
                None => return out,
                Some(row) => out.push((
                    String::from_utf8(data).unwrap(),
                    row.problem.map(|p| p.code),
                )),
            }
        }
    }

    fn elements(text: &str) -> Vec<(String, Option<&'static str>)> {
        rows(&Array, text)
    }

    fn sound(rows: &[&str]) -> Vec<(String, Option<&'static str>)> {
        rows.iter().map(|row| ((*row).to_owned(), None)).collect()
    }

    #[test]
    fn elements_come_out_one_by_one() {
        assert_eq!(elements("[]"), []);
        assert_eq!(
            elements("[1, \"a,]\\\"\", {\"x\": [2, 3]}]"),
            sound(&["1", "\"a,]\\\"\"", "{\"x\": [2, 3]}"])
        );
        assert_eq!(
            elements("[{\"a\": 1}]\n[\n]\n [{\"a\": 2}]\n"),
            sound(&["{\"a\": 1}", "{\"a\": 2}"])
        );
    }

    #[test]
    fn a_cut_array_says_so() {
        for cut in ["[{\"a\": 1}, {\"b\"", "[{\"a\": 1}", "[{\"a\": 1},\n"] {
            assert_eq!(
                elements(cut).last().unwrap().1,
                Some("array_unclosed"),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_follows_an_array_is_not_lost() {
        assert_eq!(
            elements("[{\"a\": 1}]\n{\"a\": 2}\n"),
            [
                ("{\"a\": 1}".to_owned(), None),
                ("{\"a\": 2}".to_owned(), Some("array_trailing"))
            ]
        );
    }

    #[test]
    fn objects_come_out_one_by_one() {
        assert_eq!(
            rows(
                &Objects,
                "{\n \"a\": \"}{\\\"\",\n \"b\": [\n{\n}\n]\n}\n{\"a\": 2} {\n}{}\nnonsense\n{\"a\": 3\n}"
            ),
            sound(&[
                "{  \"a\": \"}{\\\"\",  \"b\": [ { } ] }",
                "{\"a\": 2}",
                "{ }",
                "{}",
                "nonsense",
                "{\"a\": 3 }"
            ])
        );
    }

    #[test]
    fn a_broken_value_ends_where_the_next_one_begins() {
        let broken = |text: &str| {
            let found = rows(&Objects, text);
            let codes: Vec<_> = found.iter().map(|row| row.1).collect();
            let whole = found.iter().filter(|row| row.0 == "{ \"a\": 2 }");
            (codes, whole.count())
        };
        let bad = Some("json_invalid");
        for first in [
            "{\n\"a\": 1\n",
            "{\n\"a\": 1,\n",
            "{\n\"a\": {\n\"b\": 1\n}\n",
            "{\n\"a\": \"cut\n",
        ] {
            assert_eq!(
                broken(&format!("{first}{{\n\"a\": 2\n}}\n{{\n\"a\": 2\n}}\n")),
                (vec![bad, None, None], 2),
                "{first}"
            );
        }
        assert_eq!(broken("{\n\"a\": 2\n}\n{\n\"a\":").0, [None, bad]);
        let array = elements("[\n  {\"a\": \"cut\n  {\"a\": 1},\n  {\"a\": 2}\n]");
        assert_eq!(array.len(), 3);
        assert_eq!((array[0].1, array[1].1, array[2].1), (bad, None, None));
    }

    #[test]
    fn formats_are_told_by_how_a_text_begins() {
        let tell = |format: &dyn Format, text: &str, last| {
            format.recognise(&Start {
                bytes: text.as_bytes(),
                last,
                name: "rows.jsonl",
            })
        };
        for (text, array, objects) in [
            ("[{\"a\": 1}]", Yes, No),
            ("\n[\n{\"a\": 1},", Yes, No),
            ("[]\n", Yes, No),
            ("[{}]\n[{}]\n", Yes, No),
            ("[[1], 2]\n{\"a\": 1}\n", No, No),
            ("[[[[", No, No),
            ("{\"a\": 1}\n{\"a\": 2}\n", No, No),
            ("{\n \"a\": 1\n}\n", No, Yes),
            ("{\"a\": 1,\n \"b\": [\n{", No, Yes),
            ("{\"a\": 1,\n{\"a\": 2}\n", No, No),
            ("{\"a\": \"cut\n{\"a\": 2}\n", No, No),
            ("{\"a\": 1}{\"a\": 2}\n", No, Yes),
            ("{\"a\": 1} {}", No, Yes),
            ("{\"a\": 1}\r{\"a\": 2}\r", No, Yes),
            ("{\"a\": 1}\r\n{\"a\": 2}\r\n", No, No),
            ("{\"a\": 1}, {\"a\": 2}\n", No, No),
            ("", No, No),
        ] {
            assert_eq!(tell(&Array, text, true), array, "{text}");
            assert_eq!(tell(&Objects, text, true), objects, "{text}");
        }
        assert_eq!(tell(&Array, "[{\"a\": 1}]", false), Unknown);
        assert_eq!(tell(&Objects, "{\"a\":\n", false), Unknown);
        assert_eq!(tell(&Objects, " ", false), Unknown);
        assert_eq!(tell(&Objects, "{\"a\": 1}\r", false), Unknown);
        assert_eq!(tell(&Objects, "{\"a\": 1}\r\n", false), No);
    }
}
