//! The rows of several inputs, one input after the other, in batches.

use std::io;

use serde::{Deserialize, Serialize};

use super::columns::ColumnRows;
use super::{
    FoundRow, Input, MAX_ROW_BYTES, OnBrokenInput, Place, READ_BLOCK, RowReader, Source,
    SourceError, Split, keep_start, too_long,
};
use crate::sample::{Attachment, Origin, RowError};

/// One row inside a [`RawBatch`].
#[derive(Debug, Clone)]
pub struct RawLine {
    /// First byte in the batch's data.
    pub start: usize,
    /// One past the last byte (no newline).
    pub end: usize,
    /// Where the row came from.
    pub origin: Origin,
    /// Why the row is unusable, if reading found that already.
    pub problem: Option<RowError>,
    /// What came with the row.
    pub attached: Vec<Attachment>,
}

/// Consecutive rows and their bytes.
#[derive(Debug, Clone, Default)]
pub struct RawBatch {
    /// The rows' bytes.
    pub data: Vec<u8>,
    /// The rows in input order.
    pub lines: Vec<RawLine>,
    /// Bytes of what came with the rows and is at hand.
    pub attached: usize,
    /// Rows that are still in columns, and the index of their input; then there are no others.
    columns: Option<Box<(ColumnRows, u32)>>,
    /// The longest row, in bytes, that is kept whole, if that is less than [`MAX_ROW_BYTES`].
    longest: Option<usize>,
}

impl RawBatch {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        let columns = self.columns.as_ref();
        self.lines.len() + columns.map_or(0, |columns| columns.0.len())
    }

    /// The longest row, in bytes, that is kept whole.
    fn longest(&self) -> usize {
        self.longest
            .map_or(MAX_ROW_BYTES, |longest| longest.min(MAX_ROW_BYTES))
    }

    /// How much memory it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let columns = self.columns.as_ref();
        self.data.len() + self.attached + columns.map_or(0, |columns| columns.0.bytes())
    }

    /// Makes lines of rows that are still in columns.
    pub fn write_columns(&mut self) {
        let Some(columns) = self.columns.take() else {
            return;
        };
        let (rows, file) = *columns;
        self.data.reserve(rows.bytes());
        self.lines.reserve(rows.len());
        for at in 0..rows.len() {
            let start = self.data.len();
            let attached = rows.write(at, &mut self.data);
            let number = rows.number(at);
            let length = self.data.len() - start;
            let longest = self.longest();
            let problem = (length > longest).then(|| too_long(length as u64, longest));
            if problem.is_some() {
                keep_start(&mut self.data, start);
            }
            let row = FoundRow {
                offset: number,
                number: number + 1,
                problem,
                attached,
            };
            self.push(start, (file, rows.base()), row);
        }
    }

    /// Adds a row whose bytes begin at `start`, of an input of this index whose first row has the
    /// identity `base`.
    fn push(&mut self, start: usize, (file, base): (u32, u64), mut row: FoundRow) {
        for attachment in &mut row.attached {
            attachment.input = file;
            self.attached += attachment.here.as_ref().map_or(0, bytes::Bytes::len);
        }
        self.lines.push(RawLine {
            start,
            end: self.data.len(),
            origin: Origin {
                offset: base.wrapping_add(row.offset),
                file,
                line: row.number,
                part: 0,
                copy: 0,
            },
            problem: row.problem,
            attached: row.attached,
        });
    }

    /// The bytes of `line`.
    #[must_use]
    pub fn bytes(&self, line: &RawLine) -> &[u8] {
        self.data.get(line.start..line.end).unwrap_or_default()
    }

    /// The bytes of `line`, which is the last: the batch gives up all its bytes for them.
    #[must_use]
    pub fn take_from(&mut self, line: &RawLine) -> Vec<u8> {
        let mut data = std::mem::take(&mut self.data);
        data.truncate(line.end);
        data.drain(..line.start.min(data.len()));
        data
    }
}

/// What was read of one input, for the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSummary {
    /// Rows (blank lines are not rows).
    pub rows: u64,
    /// Decompressed bytes.
    pub bytes: u64,
    /// XXH3-128 of the whole input, if whoever read it came by all its bytes.
    #[serde(default)]
    pub digest: Option<String>,
}

/// How far a [`LineSource`] has read: enough to go on from there in another process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Index of the input that is being read.
    pub file: usize,
    /// Bytes of it that were consumed, decompressed.
    pub bytes: u64,
    /// Lines of it that were consumed, blank ones too (elements of a JSON array).
    pub lines: u64,
    /// Identity of its first byte.
    pub base: u64,
    /// What was read of each input so far.
    pub summaries: Vec<InputSummary>,
}

/// Reads inputs one after the other.
pub struct LineSource {
    sources: Vec<Box<dyn Source>>,
    current: usize,
    reader: Option<Box<dyn RowReader>>,
    base: u64,
    summaries: Vec<InputSummary>,
    /// Where in the current input to begin.
    begin: Place,
    /// Rows of the last input from this byte on are not read.
    until: Option<u64>,
    /// The longest row, in bytes, that is read whole, if somebody bounds it.
    longest: Option<usize>,
    /// Rows of the last batch, and a little more than their bytes.
    room: (usize, usize),
}

impl LineSource {
    /// A source over `inputs`, in this order.
    #[must_use]
    pub fn new(inputs: Vec<Input>) -> Self {
        Self::resume(inputs, Position::default())
    }

    /// A source over `inputs` that goes on from `position`.
    #[must_use]
    pub fn resume(inputs: Vec<Input>, position: Position) -> Self {
        let mut summaries = position.summaries;
        summaries.resize_with(inputs.len(), InputSummary::default);
        Self {
            sources: inputs.iter().map(Input::source).collect(),
            current: position.file,
            reader: None,
            base: position.base,
            summaries,
            begin: Place {
                bytes: position.bytes,
                rows: position.lines,
            },
            until: None,
            longest: None,
            room: (0, 0),
        }
    }

    /// The same, without rows of more than `longest` bytes, if there is such a bound: of them only the
    /// start is read.
    #[must_use]
    pub fn bounded(mut self, longest: Option<u64>) -> Self {
        self.longest = longest.and_then(|longest| usize::try_from(longest).ok());
        self
    }

    /// A source over the rows of one of `inputs`, from `position` in it on, that begin before the
    /// byte `until` of it.
    #[must_use]
    pub fn piece(inputs: &[Input], position: Position, until: Option<u64>) -> Self {
        let last = position.file.saturating_add(1).min(inputs.len());
        let inputs = inputs.get(..last).unwrap_or_default().to_vec();
        Self {
            until,
            ..Self::resume(inputs, position)
        }
    }

    /// How far it has read.
    #[must_use]
    pub fn position(&self) -> Position {
        let place = self
            .reader
            .as_ref()
            .map_or(self.begin, |reader| reader.place());
        Position {
            file: self.current,
            bytes: place.bytes,
            lines: place.rows,
            base: self.base,
            summaries: self.summaries.clone(),
        }
    }

    /// The next rows, at most `max_rows` and about `max_bytes`; `None` at the end.
    ///
    /// # Errors
    /// If an input cannot be opened or read.
    pub fn next_batch(
        &mut self,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Option<RawBatch>, SourceError> {
        let mut batch = self.next_unwritten(max_rows, max_bytes)?;
        if let Some(batch) = &mut batch {
            batch.write_columns();
        }
        Ok(batch)
    }

    /// The same, but those of a column file may still be columns ([`RawBatch::write_columns`]).
    ///
    /// # Errors
    /// If an input cannot be opened or read.
    pub fn next_unwritten(
        &mut self,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Option<RawBatch>, SourceError> {
        // About as much room as the last batch took: growing on the way copies.
        let (lines, bytes) = self.room;
        let mut batch = RawBatch {
            data: Vec::with_capacity(bytes),
            lines: Vec::with_capacity(lines),
            longest: self.longest,
            ..RawBatch::default()
        };
        let most = (max_rows, max_bytes);
        while batch.columns.is_none() && batch.rows() < max_rows && batch.size() < max_bytes {
            if !self.next_row(&mut batch, most)? {
                break;
            }
        }
        let bytes = batch.data.len() + batch.data.len() / 8;
        self.room = (batch.lines.len(), bytes.min(READ_BLOCK * 8));
        Ok((batch.rows() > 0).then_some(batch))
    }

    /// What was read so far, one entry an input.
    #[must_use]
    pub fn summaries(&self) -> &[InputSummary] {
        &self.summaries
    }

    /// Adds a row to the batch, or, to one that has none, several that are columns, no more than
    /// `most` rows and bytes; false at the end.
    fn next_row(
        &mut self,
        batch: &mut RawBatch,
        most: (usize, usize),
    ) -> Result<bool, SourceError> {
        loop {
            let (Some(source), Some(summary)) = (
                self.sources.get(self.current),
                self.summaries.get_mut(self.current),
            ) else {
                return Ok(false);
            };
            let start = batch.data.len();
            let file = u32::try_from(self.current).unwrap_or(u32::MAX);
            let broken = match &mut self.reader {
                Some(_) => None,
                closed => {
                    let begin = std::mem::take(&mut self.begin);
                    let fresh = begin == Place::default();
                    let split = Split {
                        from: begin,
                        until: self.until,
                    };
                    match source.open(split) {
                        Ok(mut reader) => {
                            // What every file has again counts once.
                            if fresh && self.current > 0 {
                                self.base = self.base.wrapping_sub(reader.preamble());
                            }
                            reader.begin(self.base);
                            *closed = Some(reader);
                            None
                        }
                        Err(error) => Some((begin, error)),
                    }
                }
            };
            let (found, broken) = match (&mut self.reader, broken) {
                (Some(reader), None) => match Found::next(&mut **reader, batch, most) {
                    Ok(found) => (found, None),
                    Err(error) => {
                        let place = reader.place();
                        (
                            None,
                            Some((place, SourceError::of_row(&**source, place, error))),
                        )
                    }
                },
                (_, Some(broken)) => (None, Some(broken)),
                (None, None) => return Ok(false),
            };
            if let Some((place, error)) = broken {
                // What the disk says is not the input's fault.
                if source.on_broken() == OnBrokenInput::Fail || !error.is_damage() {
                    return Err(error);
                }
                batch.data.truncate(start);
                batch.lines.push(RawLine {
                    start,
                    end: start,
                    origin: Origin {
                        offset: self.base.wrapping_add(place.bytes),
                        file,
                        line: place.rows + 1,
                        part: 0,
                        copy: 0,
                    },
                    problem: Some(RowError::new("input_cut", error.to_string())),
                    attached: Vec::new(),
                });
                summary.rows += 1;
                summary.bytes = place.bytes;
                let extent = self.reader.take().map_or(0, |reader| reader.extent());
                self.base = self.base.wrapping_add(extent.max(place.bytes + 1));
                self.current += 1;
                return Ok(true);
            }
            match found {
                Some(Found::Row(row)) => {
                    summary.rows += 1;
                    batch.push(start, (file, self.base), row);
                    return Ok(true);
                }
                Some(Found::Columns(rows)) => {
                    summary.rows += rows.len() as u64;
                    batch.columns = Some(Box::new((rows, file)));
                    return Ok(true);
                }
                None => {}
            }
            if let Some(reader) = self.reader.take() {
                summary.bytes = reader.consumed();
                summary.digest = reader.digest();
                self.base = self.base.wrapping_add(reader.extent());
            }
            self.current += 1;
        }
    }
}

/// What a reader has next.
enum Found {
    Row(FoundRow),
    Columns(ColumnRows),
}

impl Found {
    /// The next row of `reader`, whose bytes are appended to `batch`; or the next ones of a column
    /// file, if it has none yet. `None` behind the last.
    fn next(
        reader: &mut dyn RowReader,
        batch: &mut RawBatch,
        (rows, bytes): (usize, usize),
    ) -> io::Result<Option<Self>> {
        if batch.lines.is_empty()
            && let Some(rows) = reader.next_columns(rows, bytes)?
        {
            return Ok(Some(Self::Columns(rows)));
        }
        let longest = batch.longest();
        let row = reader.next(&mut batch.data, longest)?;
        Ok(row.map(Self::Row))
    }
}
