//! Arrow's own files (Feather's second version is one) and streams.

use std::io::{self, BufReader};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::SchemaRef;

use super::super::Reading;
use super::super::bytes::Bytes;
use super::super::format::{Format, Recognised, RowReader, Start};
use super::super::is_of_system;
use super::super::whole::{Places, Whole};
use super::parquet::caught;
use super::{Batches, ColumnReader, broken};

/// Arrow IPC.
pub struct Arrow;

impl Format for Arrow {
    fn word(&self) -> &'static str {
        "arrow"
    }

    fn name(&self) -> &'static str {
        "an Apache Arrow file"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".arrow", ".feather"]
    }

    fn is_binary(&self) -> bool {
        true
    }

    fn holds_lines(&self) -> bool {
        false
    }

    fn needs_file(&self) -> bool {
        true
    }

    fn is_read_again(&self) -> bool {
        true
    }

    fn recognise(&self, start: &Start<'_>) -> Recognised {
        let begins = |magic: &[u8]| start.bytes.starts_with(magic);
        if begins(b"ARROW1") || begins(&[0xFF, 0xFF, 0xFF, 0xFF]) {
            Recognised::Yes
        } else {
            Recognised::No
        }
    }

    fn batches(&self, file: Whole) -> io::Result<Option<Box<dyn Batches>>> {
        Ok(Some(Box::new(ArrowBatches::open(file)?)))
    }

    fn open(&self, bytes: Bytes, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
        let batches = ArrowBatches::open(bytes.into_whole()?)?;
        Ok(Box::new(ColumnReader::new(Box::new(batches), reading)?))
    }
}

enum Reader {
    File(FileReader<BufReader<Places>>),
    Stream(StreamReader<BufReader<Places>>),
}

/// Batches of an Arrow file or stream.
pub struct ArrowBatches {
    file: Whole,
    bytes: u64,
    reader: Reader,
    schema: SchemaRef,
    columns: Option<Vec<usize>>,
    /// Rows of the next batch that were passed.
    skip: u64,
    is_file: bool,
}

impl ArrowBatches {
    /// Opens a file or a stream.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(file: Whole) -> io::Result<Self> {
        let bytes = file.length()?;
        let mut magic = [0; 6];
        file.read_exact_at(&mut magic, 0).map_err(|error| {
            if is_of_system(&error) {
                error
            } else {
                io::Error::new(io::ErrorKind::InvalidData, error)
            }
        })?;
        let is_file = &magic == b"ARROW1";
        let reader = reader(&file, is_file, None)?;
        let schema = match &reader {
            Reader::File(reader) => reader.schema(),
            Reader::Stream(reader) => reader.schema(),
        };
        Ok(Self {
            file,
            bytes,
            reader,
            schema,
            columns: None,
            skip: 0,
            is_file,
        })
    }
}

fn reader(file: &Whole, is_file: bool, columns: Option<Vec<usize>>) -> io::Result<Reader> {
    let cursor = file.cursor(0, 1 << 18)?;
    let reader = caught(|| {
        Ok(if is_file {
            Reader::File(FileReader::try_new(cursor, columns).map_err(broken)?)
        } else {
            Reader::Stream(StreamReader::try_new(cursor, columns).map_err(broken)?)
        })
    });
    reader.map_err(|error| file.failure().unwrap_or(error))
}

impl Batches for ArrowBatches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn project(&mut self, columns: Vec<usize>) -> io::Result<()> {
        self.columns = Some(columns);
        self.seek(0)
    }

    fn next(&mut self) -> io::Result<Option<RecordBatch>> {
        loop {
            let reader = &mut self.reader;
            let batch = caught(|| {
                let next = match reader {
                    Reader::File(reader) => reader.next(),
                    Reader::Stream(reader) => reader.next(),
                };
                next.transpose().map_err(broken)
            });
            let batch = batch.map_err(|error| self.file.failure().unwrap_or(error))?;
            let Some(batch) = batch else { return Ok(None) };
            let rows = batch.num_rows() as u64;
            if self.skip >= rows {
                self.skip -= rows;
                continue;
            }
            let skip = usize::try_from(std::mem::take(&mut self.skip)).unwrap_or(0);
            return Ok(Some(batch.slice(skip, batch.num_rows() - skip)));
        }
    }

    /// Batches on the way are read.
    fn seek(&mut self, row: u64) -> io::Result<()> {
        self.reader = reader(&self.file, self.is_file, self.columns.clone())?;
        self.skip = row;
        Ok(())
    }

    fn piece_end(&self, row: u64) -> u64 {
        row
    }
}
