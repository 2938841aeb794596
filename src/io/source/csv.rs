//! Tables in text: cells separated by commas or tabs, as RFC 4180 says and as Python's and pandas'
//! readers take what it does not say.
//!
//! Every cell is a text, an empty one is null: ids with leading zeros are the user's own data. Only
//! who asks for it gets the types that pandas infers (`cells`); then a file is read twice.

use std::io;

use super::bytes::Bytes;
use super::cells::CellType;
use super::format::{Format, FoundRow, Place, Recognised, RowReader, Start};
use super::{MAX_ROW_BYTES, Reading, foreign, keep_start, too_long};
use crate::sample::{RowError, push_string};

/// Cells separated by commas.
pub struct Csv;

/// Cells separated by tabs.
pub struct Tsv;

/// The most bytes of a header.
const MAX_HEADER: usize = 1 << 20;

fn is_named(start: &Start<'_>, suffix: &str) -> Recognised {
    // What begins as JSON is JSON, whatever it is called.
    let json = matches!(start.bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    let named = start.name.to_ascii_lowercase().ends_with(suffix);
    if named && !json && !foreign::is_binary(start.bytes) {
        Recognised::Yes
    } else {
        Recognised::No
    }
}

impl Format for Csv {
    fn word(&self) -> &'static str {
        "csv"
    }

    fn name(&self) -> &'static str {
        "a CSV file"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".csv"]
    }

    fn holds_lines(&self) -> bool {
        false
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        is_named(start, ".csv")
    }

    fn open(&self, bytes: Bytes, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
        Ok(Box::new(CsvReader::open(bytes, reading, b',')?))
    }
}

impl Format for Tsv {
    fn word(&self) -> &'static str {
        "tsv"
    }

    fn name(&self) -> &'static str {
        "a TSV file"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".tsv"]
    }

    fn holds_lines(&self) -> bool {
        false
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        is_named(start, ".tsv")
    }

    fn open(&self, bytes: Bytes, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
        Ok(Box::new(CsvReader::open(bytes, reading, b'\t')?))
    }
}

struct CsvReader {
    cells: Cells,
    header: Vec<String>,
    /// The type of each column; none: all are texts.
    types: Vec<CellType>,
    /// Where the first row may begin.
    preamble: u64,
    number: u64,
}

/// The next record of a table, cell by cell.
struct Cells {
    bytes: Bytes,
    delimiter: u8,
    /// The cells of a record, one behind the other.
    text: Vec<u8>,
    /// Where each cell ends in the text.
    ends: Vec<usize>,
    /// How many cells are kept.
    most: usize,
    /// How many cells the record has.
    count: usize,
    /// How many bytes the record has.
    length: u64,
    /// Whether it has white space only.
    blank: bool,
    /// A line feed that comes next belongs to the line end before it.
    after_return: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    CellBegins,
    Plain,
    Quoted,
    /// Behind a quote in a quoted cell: the end of the cell, or the first of two.
    Quote,
}

impl Cells {
    /// Reads a record and says where it begins; `None` at the end.
    fn next(&mut self, limit: usize) -> io::Result<Option<u64>> {
        loop {
            self.text.clear();
            self.ends.clear();
            self.count = 0;
            self.length = 0;
            self.blank = true;
            let Some(begin) = self.record(limit)? else {
                return Ok(None);
            };
            // A line of white space is no record.
            if !self.blank || self.count > 1 {
                return Ok(Some(begin));
            }
        }
    }

    fn record(&mut self, limit: usize) -> io::Result<Option<u64>> {
        if std::mem::take(&mut self.after_return) && self.bytes.peek()?.first() == Some(&b'\n') {
            self.bytes.advance(1);
        }
        let Self {
            bytes,
            delimiter,
            text,
            ends,
            most,
            count,
            length,
            blank,
            after_return,
        } = self;
        let mut end_cell = |text: &[u8]| {
            *count += 1;
            if ends.len() < *most {
                ends.push(text.len());
            }
        };
        let begin = bytes.position();
        let mut state = State::CellBegins;
        loop {
            let block = bytes.peek()?;
            if block.is_empty() {
                if state == State::Quoted {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a quoted cell has no end",
                    ));
                }
                if *length == 0 {
                    return Ok(None);
                }
                end_cell(text);
                return Ok(Some(begin));
            }
            let mut used = 0;
            let mut ended = false;
            while let Some(&byte) = block.get(used) {
                // Runs of bytes that mean themselves are taken at once.
                let run = block.get(used..).unwrap_or_default();
                let plain = match state {
                    State::Quoted => memchr::memchr(b'"', run).unwrap_or(run.len()),
                    State::Plain => {
                        let end = memchr::memchr3(*delimiter, b'\n', b'\r', run);
                        end.unwrap_or(run.len())
                    }
                    State::CellBegins | State::Quote => 0,
                };
                if plain > 0 {
                    let kept = limit.saturating_sub(text.len()).min(plain);
                    text.extend_from_slice(run.get(..kept).unwrap_or_default());
                    *blank &= run
                        .get(..plain)
                        .is_some_and(|run| run.iter().all(u8::is_ascii_whitespace));
                    *length += plain as u64;
                    used += plain;
                    continue;
                }
                used += 1;
                *length += 1;
                state = match (state, byte) {
                    (State::CellBegins, b'"') => {
                        *blank = false;
                        State::Quoted
                    }
                    (State::Quoted, _) => State::Quote,
                    (State::Quote, b'"') => {
                        if text.len() < limit {
                            text.push(b'"');
                        }
                        State::Quoted
                    }
                    (_, byte) if byte == *delimiter => {
                        end_cell(text);
                        State::CellBegins
                    }
                    (_, b'\n' | b'\r') => {
                        end_cell(text);
                        *after_return = byte == b'\r';
                        ended = true;
                        break;
                    }
                    (_, byte) => {
                        *blank &= byte.is_ascii_whitespace();
                        if text.len() < limit {
                            text.push(byte);
                        }
                        State::Plain
                    }
                };
            }
            bytes.advance(used);
            if ended {
                return Ok(Some(begin));
            }
        }
    }

    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.text.get(start..*end).unwrap_or_default())
    }
}

impl CsvReader {
    fn open(bytes: Bytes, reading: &Reading, delimiter: u8) -> io::Result<Self> {
        if !reading.spec.infer_types {
            return Self::new(bytes, reading, delimiter);
        }
        let (first, second) = bytes.twice()?;
        let mut reader = Self::new(first, reading, delimiter)?;
        let mut types = vec![CellType::default(); reader.header.len()];
        while reader.cells.next(MAX_ROW_BYTES)?.is_some() {
            let fits = reader.cells.count <= reader.header.len();
            if fits && reader.cells.length <= MAX_ROW_BYTES as u64 {
                let mut cells = reader.cells.cells();
                for column in &mut types {
                    column.see(cells.next().unwrap_or_default());
                }
            }
        }
        drop(reader);
        let mut reader = Self::new(second()?, reading, delimiter)?;
        reader.types = types;
        Ok(reader)
    }

    fn new(bytes: Bytes, reading: &Reading, delimiter: u8) -> io::Result<Self> {
        let given = reading.spec.delimiter.and_then(|c| u8::try_from(c).ok());
        let mut cells = Cells {
            bytes,
            delimiter: given.unwrap_or(delimiter),
            text: Vec::new(),
            ends: Vec::new(),
            most: MAX_HEADER,
            count: 0,
            length: 0,
            blank: true,
            after_return: false,
        };
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let begun = cells.next(MAX_HEADER)?;
        if cells.length > MAX_HEADER as u64 {
            return Err(invalid("its header is longer than can be".into()));
        }
        let mut header: Vec<String> = Vec::new();
        for (number, name) in cells.cells().enumerate().filter(|_| begun.is_some()) {
            let name =
                std::str::from_utf8(name).map_err(|_| invalid("its header is not UTF-8".into()))?;
            // As pandas calls what has no name, or one that was there already.
            let name = if name.is_empty() {
                format!("Unnamed: {number}")
            } else {
                name.to_owned()
            };
            let mut own = name.clone();
            let mut again = 0;
            while header.contains(&own) {
                again += 1;
                own = format!("{name}.{again}");
            }
            header.push(own);
        }
        if let [only] = header.as_slice()
            && given.is_none()
            && let Some(other) = only.chars().find(|c| matches!(c, ';' | '\t' | '|' | ','))
        {
            return Err(invalid(format!(
                "its header is one column, '{}': are cells separated by '{}'? Then say so: input: {{csv: {{delimiter: '{}'}}}}",
                only.escape_debug(),
                other.escape_debug(),
                other.escape_debug()
            )));
        }
        // The line feed of the header's end is the header's.
        if std::mem::take(&mut cells.after_return) && cells.bytes.peek()?.first() == Some(&b'\n') {
            cells.bytes.advance(1);
        }
        let preamble = cells.bytes.position();
        cells.most = header.len();
        Ok(Self {
            cells,
            header,
            types: Vec::new(),
            preamble,
            number: 0,
        })
    }

    fn write(&self, data: &mut Vec<u8>) -> Result<(), RowError> {
        let count = self.cells.count;
        if count > self.header.len() {
            return Err(RowError::new(
                "csv_fields",
                format!(
                    "the row has {count} cells, the header {}",
                    self.header.len()
                ),
            ));
        }
        let mut cells = self.cells.cells();
        data.push(b'{');
        for (number, name) in self.header.iter().enumerate() {
            if number > 0 {
                data.extend_from_slice(b", ");
            }
            push_string(name, data);
            data.extend_from_slice(b": ");
            if let Some(column) = self.types.get(number) {
                column.write(cells.next().unwrap_or_default(), data);
                continue;
            }
            match cells.next() {
                None | Some([]) => data.extend_from_slice(b"null"),
                Some(cell) => {
                    let text = std::str::from_utf8(cell).map_err(|error| {
                        RowError::new(
                            "utf8_invalid",
                            format!(
                                "the cell '{name}' is not UTF-8 (byte {})",
                                error.valid_up_to() + 1
                            ),
                        )
                    })?;
                    push_string(text, data);
                }
            }
        }
        data.push(b'}');
        Ok(())
    }
}

impl RowReader for CsvReader {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        let Some(offset) = self.cells.next(limit)? else {
            return Ok(None);
        };
        self.number += 1;
        let start = data.len();
        let problem = if self.cells.length > limit as u64 {
            data.extend_from_slice(&self.cells.text);
            keep_start(data, start);
            Some(too_long(self.cells.length, limit))
        } else {
            let problem = self.write(data).err();
            if problem.is_some() {
                data.truncate(start);
                let mut first = true;
                for cell in self.cells.cells() {
                    if !std::mem::take(&mut first) {
                        data.push(self.cells.delimiter);
                    }
                    data.extend_from_slice(cell);
                }
            }
            problem
        };
        Ok(Some(FoundRow::plain(offset, self.number, problem)))
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        let Some(offset) = self.cells.next(0)? else {
            return Ok(None);
        };
        self.number += 1;
        Ok(Some(FoundRow::plain(offset, self.number, None)))
    }

    fn place(&self) -> Place {
        Place {
            bytes: self.cells.bytes.position(),
            rows: self.number,
        }
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        // The byte before tells whether a line feed that comes next ends the row before.
        self.cells.bytes.skip_to(place.bytes.saturating_sub(1))?;
        self.cells.after_return = self.cells.bytes.take_byte()? == Some(b'\r');
        self.number = place.rows;
        Ok(())
    }

    fn preamble(&self) -> u64 {
        self.preamble
    }

    /// A final line end counts whether it is there or not.
    fn extent(&self) -> u64 {
        let bytes = &self.cells.bytes;
        bytes.position() + u64::from(bytes.ends_without_newline() && !self.cells.after_return)
    }
}
