//! How rows lie in the bytes of an input; the one list of formats, and the one table of their
//! suffixes.

use std::io;

use super::Reading;
use super::bytes::Bytes;
use super::columns::ipc::Arrow;
use super::columns::parquet::Parquet;
use super::columns::{Batches, ColumnRows};
use super::csv::{Csv, Tsv};
use super::lines::Lines;
use super::text::Text;
use super::values::{Array, Objects};
use super::webdataset::WebDataset;
use super::whole::Whole;
use crate::sample::{Attachment, RowError};

/// A format of rows. A new one is a file with its reader, and an entry in [`FORMATS`].
pub trait Format: Sync {
    /// What recipes call it.
    fn word(&self) -> &'static str;

    /// What it is called.
    fn name(&self) -> &'static str;

    /// The endings of names of such files, in lower case.
    fn suffixes(&self) -> &'static [&'static str];

    /// Whether an input that begins so is of this format.
    fn recognise(&self, start: &Start<'_>) -> Recognised;

    /// Reads the rows of an input of this format.
    ///
    /// # Errors
    /// If it cannot be read at all.
    fn open(&self, bytes: Bytes, reading: &Reading) -> io::Result<Box<dyn RowReader>>;

    /// The columns of a file of this format, if it has such.
    ///
    /// # Errors
    /// If it cannot be read.
    fn batches(&self, _whole: Whole) -> io::Result<Option<Box<dyn Batches>>> {
        Ok(None)
    }

    /// Whether files of this format in a directory are rows.
    fn in_directories(&self) -> bool {
        true
    }

    /// Whether it is told by its first bytes, whatever may be taken for text in them.
    fn is_binary(&self) -> bool {
        false
    }

    /// Whether it is read from anywhere in a file, so that it cannot be packed; of a pipe all is
    /// kept first.
    fn needs_file(&self) -> bool {
        false
    }

    /// Whether parts of rows are read from the input again, when somebody asks for them: what is
    /// read of a pipe or an object is then kept.
    fn is_read_again(&self) -> bool {
        false
    }

    /// Whether a row is bytes of the input that can be copied as they are.
    fn holds_lines(&self) -> bool {
        true
    }

    /// Where, of a file that is not packed, rows begin about every `every` bytes (not the first
    /// one): reading may begin there. Nowhere, unless a format says so.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn cuts(&self, _file: &Whole, _every: u64) -> io::Result<Vec<u64>> {
        Ok(Vec::new())
    }

    /// What [`RowReader::extent`] will say of a file that is not packed and stands first among the
    /// inputs, if that is known without reading its rows.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn extent(&self, _file: &Whole) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// Every format, in the order in which an input is asked whether it is one. Lines are last: what
/// has rows and is nothing else is read line by line, so that a broken line costs itself only.
pub static FORMATS: [&dyn Format; 9] = [
    &Parquet,
    &Arrow,
    &WebDataset,
    &Csv,
    &Tsv,
    &Text,
    &Array,
    &Objects,
    &Lines,
];

/// What recipes call the formats, and `auto`.
pub const WORDS: &[&str] = &[
    "auto",
    "jsonl",
    "json",
    "csv",
    "tsv",
    "parquet",
    "arrow",
    "webdataset",
    "text",
];

/// The suffixes of the files of a directory that hold rows, without those of packings.
pub fn suffixes() -> impl Iterator<Item = &'static str> {
    let formats = FORMATS.iter().filter(|format| format.in_directories());
    formats.flat_map(|format| format.suffixes().iter().copied())
}

/// Whether a file called `name` (without the suffix of a packing) says that it holds rows.
#[must_use]
pub fn is_named_so(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    suffixes().any(|suffix| name.ends_with(suffix))
}

/// Whether it says that it holds rows in JSON.
#[must_use]
pub fn is_named_json(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let json = FORMATS
        .iter()
        .filter(|format| matches!(format.word(), "json" | "jsonl"));
    json.flat_map(|format| format.suffixes())
        .any(|suffix| name.ends_with(suffix))
}

/// How an input begins.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Its first bytes, unpacked, without a byte order mark.
    pub bytes: &'a [u8],
    /// No more bytes will be shown: the input has no more, or more than it takes to tell.
    pub last: bool,
    /// What it is called, without the suffix of a packing; empty if it has no name.
    pub name: &'a str,
}

/// Whether an input is of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognised {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// More of it must be seen; never said of the last start.
    Unknown,
}

/// A row found by a reader.
#[derive(Debug, Clone)]
pub struct FoundRow {
    /// Its first byte in the input.
    pub offset: u64,
    /// Its number in the input, from 1: blank lines count.
    pub number: u64,
    /// Why it is unusable, if reading found that already.
    pub problem: Option<RowError>,
    /// What came with it. The reader does not know the number of its input; who asked it does.
    pub attached: Vec<Attachment>,
}

impl FoundRow {
    /// A row that is only its bytes.
    #[must_use]
    pub fn plain(offset: u64, number: u64, problem: Option<RowError>) -> Self {
        Self {
            offset,
            number,
            problem,
            attached: Vec::new(),
        }
    }
}

/// How far an input was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Bytes consumed, unpacked.
    pub bytes: u64,
    /// Lines consumed, blank ones too; elements of an array.
    pub rows: u64,
}

/// Reads the rows of one input.
pub trait RowReader: Send {
    /// Its first row has the identity `base` among the rows of all inputs.
    fn begin(&mut self, _base: u64) {}

    /// Appends the next row to `data`: without a newline, on one line, and only the start of one
    /// that has more than `limit` bytes. `None` behind the last.
    ///
    /// # Errors
    /// If the input cannot be read.
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>>;

    /// The next rows, `rows` of them or about so many `bytes` at most, as columns that nobody has made
    /// rows of yet. `None` where the input has no such, and where the next row is none of them: it is
    /// asked for by itself.
    ///
    /// # Errors
    /// If the input cannot be read.
    fn next_columns(&mut self, _rows: usize, _bytes: usize) -> io::Result<Option<ColumnRows>> {
        Ok(None)
    }

    /// Finds the next row and passes over its bytes.
    ///
    /// # Errors
    /// If the input cannot be read.
    fn pass(&mut self) -> io::Result<Option<FoundRow>>;

    /// How far it has read.
    fn place(&self) -> Place;

    /// Goes on to a place that lies ahead and that a reader of this input once stopped at.
    ///
    /// # Errors
    /// If the input cannot be read.
    fn skip_to(&mut self, place: Place) -> io::Result<()>;

    /// How many bytes stand before the first row that inputs behind the first one have again, such
    /// as a header: they do not count for the identities of rows.
    fn preamble(&self) -> u64 {
        0
    }

    /// How much was read so far, in bytes, for the record.
    fn consumed(&self) -> u64 {
        self.place().bytes
    }

    /// Behind the last row: XXH3-128 of the whole file as it lies on disk, if this reader has read
    /// all of it.
    fn digest(&self) -> Option<String> {
        None
    }

    /// Behind the last row: the bytes by which the identities of the next input's rows lie behind
    /// those of this one's.
    fn extent(&self) -> u64;
}
