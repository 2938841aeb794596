//! Rows of column files: Parquet, and Arrow's files and streams.
//!
//! Operators see a row as JSON ([`view`]); what a column is to a row says [`roles`]. A row's identity
//! is its ordinal. Columns of bytes that are no images are not read.

pub mod ipc;
pub mod parquet;
pub mod roles;
pub mod rows;
pub mod size;
pub mod table;
pub mod view;

use std::io;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use bytes::Bytes;

use super::format::{FoundRow, Place, RowReader};
use super::{OnBrokenInput, Reading, is_of_system, too_long};
use crate::sample::RowError;
use roles::Role;
pub use rows::ColumnRows;
use rows::{Column, Shape};

/// About how many bytes of values are decoded at a time.
pub const BATCH_BYTES: u64 = 4 << 20;

/// Batches of the rows of a column file, in order.
pub trait Batches: Send {
    /// All columns of the file.
    fn schema(&self) -> SchemaRef;

    /// How many rows there are; `None` if that takes reading them.
    fn rows(&self) -> Option<u64>;

    /// How many bytes the file has.
    fn bytes(&self) -> u64;

    /// Only these columns are wanted from now on.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn project(&mut self, columns: Vec<usize>) -> io::Result<()>;

    /// The next batch; `None` behind the last row.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn next(&mut self) -> io::Result<Option<RecordBatch>>;

    /// Goes on at row `row`.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn seek(&mut self, row: u64) -> io::Result<()>;

    /// The end of the piece of the file that row `row` lies in, which is damaged as a whole.
    fn piece_end(&self, row: u64) -> u64;
}

/// What a library says of a file that it cannot read.
pub fn broken(error: impl Into<ArrowError>) -> io::Error {
    match error.into() {
        ArrowError::IoError(_, error) if is_of_system(&error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

/// The rows of a column file.
pub struct ColumnReader {
    batches: Box<dyn Batches>,
    shape: Arc<Shape>,
    on_broken: OnBrokenInput,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    at: usize,
    /// The next row of the file.
    row: u64,
    /// The identity of the file's first row.
    base: u64,
    /// Rows up to here are known to be whole.
    sound: u64,
    /// Rows up to here are known to be damaged, and why.
    broken: Option<(u64, String)>,
}

impl ColumnReader {
    /// The rows of `batches`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn new(mut batches: Box<dyn Batches>, reading: &Reading) -> io::Result<Self> {
        let schema = batches.schema();
        let all = roles::roles(&schema, reading);
        let columns: Vec<Column> = (0..)
            .zip(schema.fields().iter().zip(all))
            .filter(|(_, (_, role))| !matches!(role, Role::Carried | Role::Left))
            .map(|(number, (field, role))| Column {
                name: field.name().clone(),
                role,
                number,
            })
            .collect();
        batches.project(
            columns
                .iter()
                .map(|column| column.number as usize)
                .collect(),
        )?;
        Ok(Self {
            batches,
            shape: Arc::new(Shape {
                columns,
                image_key: reading.image_key.clone(),
            }),
            on_broken: reading.spec.on_broken_input,
            batch: None,
            at: 0,
            row: 0,
            base: 0,
            sound: 0,
            broken: None,
        })
    }

    /// Makes sure that a row is at hand; false behind the last.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            if self
                .batch
                .as_ref()
                .is_some_and(|batch| self.at < batch.num_rows())
            {
                return Ok(true);
            }
            if self.batches.rows().is_some_and(|rows| self.row >= rows) {
                return Ok(false);
            }
            self.at = 0;
            self.batch = self.batches.next()?;
            if self.batch.is_none() {
                return Ok(false);
            }
        }
    }

    /// Reads the piece ahead once, to know whether it is whole before a row of it goes anywhere.
    fn look_ahead(&mut self) -> io::Result<()> {
        let damaged = self.broken.as_ref().is_some_and(|(end, _)| self.row < *end);
        if self.on_broken == OnBrokenInput::Fail
            || self.row < self.sound
            || damaged
            || self.batches.rows().is_none_or(|rows| self.row >= rows)
        {
            return Ok(());
        }
        let end = self.batches.piece_end(self.row);
        let mut seen = self.row;
        let outcome = loop {
            if seen >= end {
                break Ok(());
            }
            match self.batches.next() {
                Ok(Some(batch)) => seen += batch.num_rows() as u64,
                Ok(None) => break Ok(()),
                Err(error) if is_of_system(&error) => return Err(error),
                Err(error) => break Err(error.to_string()),
            }
        };
        self.batch = None;
        self.at = 0;
        match outcome {
            Ok(()) => {
                self.sound = end;
                self.batches.seek(self.row)
            }
            Err(why) => {
                self.broken = Some((end, why));
                Ok(())
            }
        }
    }

    /// A row of a damaged piece, if the next one is.
    fn damaged(&mut self) -> io::Result<Option<FoundRow>> {
        let Some((end, why)) = self.broken.take_if(|(end, _)| self.row < *end) else {
            return Ok(None);
        };
        let row = self.row;
        self.row += 1;
        let problem = RowError::new(
            "row_group_broken",
            format!("its part of the file is damaged: {why}"),
        );
        if self.row < end {
            self.broken = Some((end, why));
        } else {
            self.batches.seek(self.row)?;
        }
        Ok(Some(FoundRow::plain(row, self.row, Some(problem))))
    }
}

impl RowReader for ColumnReader {
    fn begin(&mut self, base: u64) {
        self.base = base;
    }

    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        self.look_ahead()?;
        if let Some(row) = self.damaged()? {
            return Ok(Some(row));
        }
        if !self.fill()? {
            return Ok(None);
        }
        let start = data.len();
        let attached = match &self.batch {
            Some(batch) => self
                .shape
                .write(batch, self.at, (self.base, self.row), data),
            None => Vec::new(),
        };
        let row = self.row;
        self.at += 1;
        self.row += 1;
        let length = data.len() - start;
        let problem = (length > limit).then(|| too_long(length as u64, limit));
        if problem.is_some() {
            super::keep_start(data, start);
        }
        Ok(Some(FoundRow {
            offset: row,
            number: self.row,
            problem,
            attached,
        }))
    }

    fn next_columns(&mut self, rows: usize, bytes: usize) -> io::Result<Option<ColumnRows>> {
        self.look_ahead()?;
        let damaged = self.broken.as_ref().is_some_and(|(end, _)| self.row < *end);
        if damaged || !self.fill()? {
            return Ok(None);
        }
        let Some(batch) = &self.batch else {
            return Ok(None);
        };
        let left = batch.num_rows() - self.at;
        let batch = batch.slice(self.at, rows.clamp(1, left));
        let rows = ColumnRows::new(&self.shape, batch, (self.base, self.row), bytes);
        self.at += rows.len();
        self.row += rows.len() as u64;
        Ok(Some(rows))
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        if !self.fill()? {
            return Ok(None);
        }
        self.at += 1;
        self.row += 1;
        Ok(Some(FoundRow::plain(self.row - 1, self.row, None)))
    }

    fn place(&self) -> Place {
        Place {
            bytes: self.row,
            rows: self.row,
        }
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        self.batch = None;
        self.at = 0;
        self.row = place.rows;
        self.batches.seek(place.rows)
    }

    fn consumed(&self) -> u64 {
        self.batches.bytes()
    }

    fn extent(&self) -> u64 {
        self.batches.rows().unwrap_or(self.row)
    }
}

/// The items of a list cell; `None` if it is null or no list.
#[must_use]
pub fn list_at(values: &ArrayRef, at: usize) -> Option<ArrayRef> {
    if values.is_null(at) {
        return None;
    }
    match values.data_type() {
        DataType::List(_) => Some(values.as_list::<i32>().value(at)),
        DataType::LargeList(_) => Some(values.as_list::<i64>().value(at)),
        DataType::FixedSizeList(..) => Some(values.as_fixed_size_list().value(at)),
        _ => None,
    }
}

/// The text of a cell.
fn text_at(values: &ArrayRef, at: usize) -> Option<&str> {
    if values.is_null(at) {
        return None;
    }
    match values.data_type() {
        DataType::Utf8 => Some(values.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => Some(values.as_string::<i64>().value(at)),
        DataType::Utf8View => Some(values.as_string_view().value(at)),
        _ => None,
    }
}

/// The bytes of a cell. They are not copied, but for those of a view.
#[must_use]
pub fn bytes_at(values: &ArrayRef, at: usize) -> Option<Bytes> {
    if values.is_null(at) {
        return None;
    }
    let slice = |buffer: &arrow_buffer::Buffer, start: usize, length: usize| {
        Bytes::from_owner(buffer.slice_with_length(start, length))
    };
    match values.data_type() {
        DataType::Binary => {
            let array = values.as_binary::<i32>();
            let start = usize::try_from(*array.value_offsets().get(at)?).ok()?;
            Some(slice(array.values(), start, array.value(at).len()))
        }
        DataType::LargeBinary => {
            let array = values.as_binary::<i64>();
            let start = usize::try_from(*array.value_offsets().get(at)?).ok()?;
            Some(slice(array.values(), start, array.value(at).len()))
        }
        DataType::BinaryView => Some(Bytes::copy_from_slice(values.as_binary_view().value(at))),
        _ => None,
    }
}

/// The bytes of an image in a cell, whatever kind of images the column holds.
#[must_use]
pub fn content_at(values: &ArrayRef, at: usize, element: u32) -> Option<Bytes> {
    let list = list_at(values, at);
    let (items, at) = match &list {
        Some(items) => (items, element as usize),
        None => (values, at),
    };
    if at >= items.len() {
        return None;
    }
    match items.as_struct_opt() {
        Some(parts) => bytes_at(parts.column_by_name("bytes")?, at),
        None => bytes_at(items, at),
    }
}

/// How the name of an image ends, by its first bytes.
#[must_use]
pub fn ending(content: &[u8]) -> &'static str {
    const MAGIC: [(usize, &[u8], &str); 9] = [
        (0, &[0xFF, 0xD8], ".jpg"),
        (0, b"\x89PNG", ".png"),
        (8, b"WEBP", ".webp"),
        (0, b"GIF8", ".gif"),
        (0, b"BM", ".bmp"),
        (0, b"II*\0", ".tiff"),
        (0, b"MM\0*", ".tiff"),
        (0, b"P6", ".ppm"),
        (0, b"P5", ".pgm"),
    ];
    MAGIC
        .iter()
        .find(|(at, magic, _)| {
            content
                .get(*at..)
                .is_some_and(|rest| rest.starts_with(magic))
        })
        .map_or("", |(_, _, ending)| ending)
}
