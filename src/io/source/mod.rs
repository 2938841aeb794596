//! Rows from files, pipes and callers, cut into batches bounded by rows and by bytes.
//!
//! A row is a line (JSONL), an element of a top-level array (JSON) or one of several objects that
//! follow each other. Its identity is the offset of its first byte in all inputs laid end to end,
//! decompressed, each ended by a newline.
//!
//! What an input is, is found by its content, then by its name: how it is packed ([`crate::archive::packing`]), and
//! how rows lie in it ([`mod@format`], the list of formats). A [`Source`] says how rows come in at all;
//! [`Input::source`] is the list of them.

pub mod attached;
pub mod bytes;
mod cells;
pub mod columns;
pub mod csv;
pub mod drawn;
pub mod file;
mod folder;
pub mod foreign;
pub mod format;
pub mod given;
pub mod lines;
pub mod opened;
pub mod reading;
mod rows;
pub mod spooled;
pub mod stdin;
pub mod text;
pub mod values;
pub mod webdataset;
pub mod whole;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::SchemaRef;

pub use attached::InputAttachments;
pub use bytes::read_some;
pub use columns::table::Table;
pub use file::FileSource;
pub use format::{FORMATS, FoundRow, Place, RowReader};
pub use given::GivenRows;
pub use opened::Opened;
pub use reading::{InputSpec, OnBrokenInput, Reading};
pub use rows::{InputSummary, LineSource, Position, RawBatch, RawLine};
pub use stdin::StdinSource;

use super::Fingerprint;
use crate::sample::RowError;
use columns::table::TableBatches;
use columns::{Batches, ColumnRows};

/// A row longer than this is not read into memory; its first bytes go to the quarantine.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// How much of a too long row is kept for the quarantine.
const KEPT_OF_LONG_ROW: usize = 4096;

const READ_BLOCK: usize = 1 << 18;

/// Something that rows come from: how it is called, split and read.
pub trait Source: Send + Sync + fmt::Debug {
    /// The name for messages and records.
    fn name(&self) -> String;

    /// The suffix of its name in lower case, as Data-Juicer's reader gives it to rows: of packed
    /// files the last two (`.jsonl.gz`). What has no name counts as `.jsonl`.
    fn suffix(&self) -> String {
        ".jsonl".into()
    }

    /// The directory that relative paths of its rows start from; `None` is the working directory.
    fn directory(&self) -> Option<PathBuf> {
        None
    }

    /// What identifies its content; `None` if it cannot be read a second time.
    ///
    /// # Errors
    /// If it cannot be read.
    fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        Ok(None)
    }

    /// XXH3-128 of all its bytes, 32 hexadecimal digits, if it is one file that can be read again;
    /// unless `all` is set only if whoever reads its rows reads all of it, too.
    ///
    /// # Errors
    /// If it cannot be read.
    fn digest(&self, _all: bool) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// How many bytes of rows it has, if that is known without reading them.
    fn size(&self) -> Option<u64> {
        None
    }

    /// What becomes of the run if it is cut off or damaged.
    fn on_broken(&self) -> OnBrokenInput {
        OnBrokenInput::Fail
    }

    /// Makes sure that it holds rows, if it can be looked at without reading them away.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    fn check(&self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Pieces of about so many `bytes` whose rows together are all its rows, in order. What cannot
    /// be cut is one piece.
    ///
    /// # Errors
    /// If it cannot be read.
    fn splits(&self, _bytes: u64) -> Result<Vec<Split>, SourceError> {
        Ok(vec![Split::default()])
    }

    /// By how much the identities of the next input's rows lie behind those of this one's, which
    /// stands first, if that is known without reading its rows.
    ///
    /// # Errors
    /// If it cannot be read.
    fn extent(&self) -> Result<Option<u64>, SourceError> {
        Ok(None)
    }

    /// How many lines begin in the bytes `from..until`, two of its cuts ([`Source::splits`]).
    ///
    /// # Errors
    /// If it cannot be read, or cannot be cut.
    fn lines(&self, _from: u64, _until: u64) -> Result<u64, SourceError> {
        Err(SourceError::Io {
            name: self.name(),
            error: io::Error::other("it cannot be cut"),
        })
    }

    /// Reads the rows of a piece.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    fn open(&self, split: Split) -> Result<Box<dyn RowReader>, SourceError>;
}

/// A piece of an input: the rows from a place on that begin before a byte. The default is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Split {
    /// Where it begins. Its rows are numbered on from there.
    pub from: Place,
    /// Rows from this byte on are not its; `None` for the rest of the input.
    pub until: Option<u64>,
}

impl Split {
    /// The rows from `from` on.
    #[must_use]
    pub fn from(from: Place) -> Self {
        Self { from, until: None }
    }

    /// The pieces between `cuts`, each of which is the first byte of a row. Only the first counts
    /// its rows from the start of the input, the others each from their own.
    #[must_use]
    pub fn between(cuts: &[u64]) -> Vec<Self> {
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().map(Some).chain([None]);
        let piece = |(bytes, until)| Self {
            from: Place { bytes, rows: 0 },
            until,
        };
        starts.zip(ends).map(piece).collect()
    }

    /// The pieces of a file whose rows are known by their number, between `cuts`, the numbers of
    /// their first rows.
    #[must_use]
    pub fn between_rows(cuts: &[u64]) -> Vec<Self> {
        let numbered = |piece: Self| Self {
            from: Place {
                rows: piece.from.bytes,
                ..piece.from
            },
            ..piece
        };
        Self::between(cuts).into_iter().map(numbered).collect()
    }

    /// Whether it begins at a row that is known by its number.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.from.bytes > 0 && self.from.rows == self.from.bytes
    }

    /// The rows of this piece, of a reader that stands before all rows.
    fn of(self, mut reader: Box<dyn RowReader>) -> io::Result<Box<dyn RowReader>> {
        if self.from.bytes > reader.place().bytes {
            reader.skip_to(self.from)?;
        }
        Ok(match self.until {
            None => reader,
            Some(until) => Box::new(Until { reader, until }),
        })
    }
}

/// The rows of a reader that begin before a byte.
struct Until {
    reader: Box<dyn RowReader>,
    until: u64,
}

impl Until {
    fn own(&self, row: &FoundRow) -> bool {
        row.offset < self.until
    }
}

impl RowReader for Until {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        if self.reader.place().bytes >= self.until {
            return Ok(None);
        }
        let start = data.len();
        let row = self.reader.next(data, limit)?.filter(|row| self.own(row));
        if row.is_none() {
            data.truncate(start);
        }
        Ok(row)
    }

    fn next_columns(&mut self, rows: usize, bytes: usize) -> io::Result<Option<ColumnRows>> {
        // Of a column file the place is the number of the next row.
        let left = self.until.saturating_sub(self.reader.place().bytes);
        if left == 0 {
            return Ok(None);
        }
        let rows = rows.min(usize::try_from(left).unwrap_or(usize::MAX));
        self.reader.next_columns(rows, bytes)
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        if self.reader.place().bytes >= self.until {
            return Ok(None);
        }
        Ok(self.reader.pass()?.filter(|row| self.own(row)))
    }

    fn place(&self) -> Place {
        self.reader.place()
    }

    fn begin(&mut self, base: u64) {
        self.reader.begin(base);
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        self.reader.skip_to(place)
    }

    fn extent(&self) -> u64 {
        self.until
    }
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, of any format and packing that djr reads.
    File(PathBuf),
    /// A file that is read in a way of its own.
    Data(FileSource),
    /// Standard input.
    Stdin(StdinSource),
    /// The program that djr is a library of.
    Given(GivenRows),
}

impl Input {
    /// Its path, if it is a file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Data(file) => Some(&file.path),
            Self::Stdin(_) | Self::Given(_) => None,
        }
    }

    /// How its rows are understood.
    #[must_use]
    pub fn reading(&self) -> Arc<Reading> {
        match self {
            Self::Data(file) => Arc::clone(&file.reading),
            Self::Given(rows) => Arc::clone(rows.reading()),
            Self::Stdin(stdin) => Arc::clone(&stdin.reading),
            Self::File(_) => Arc::default(),
        }
    }

    /// How it is read.
    #[must_use]
    pub fn source(&self) -> Box<dyn Source> {
        match self {
            Self::File(path) => Box::new(FileSource::new(path.clone())),
            Self::Data(file) => Box::new(file.clone()),
            Self::Stdin(stdin) => Box::new(stdin.clone()),
            Self::Given(rows) => Box::new(rows.clone()),
        }
    }

    /// Its bytes, and what they are; `None` if it has none. What is read of a pipe is gone.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    pub fn look(&self) -> Result<Option<Opened>, SourceError> {
        match self {
            Self::File(path) => FileSource::new(path.clone()).look().map(Some),
            Self::Data(file) => file.look().map(Some),
            Self::Stdin(stdin) => stdin.look().map(Some),
            Self::Given(_) => Ok(None),
        }
    }

    /// The columns of its rows, if it is a column file or a table.
    #[must_use]
    pub fn columns(&self) -> Option<SchemaRef> {
        match self {
            Self::Given(rows) => rows.as_table().map(|table| Arc::clone(table.schema())),
            Self::Stdin(stdin) => stdin.columns(),
            Self::File(path) => FileSource::new(path.clone()).columns(),
            Self::Data(file) => file.columns(),
        }
    }

    /// Batches of them, from the first row on.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn batches(&self) -> io::Result<Option<Box<dyn Batches>>> {
        if let Self::Given(rows) = self {
            return Ok(rows.as_table().map(|table| {
                let batches = TableBatches::new(Arc::clone(table));
                Box::new(batches) as Box<dyn Batches>
            }));
        }
        let Some(opened) = self.look().map_err(io::Error::other)? else {
            return Ok(None);
        };
        let format = opened.format();
        format.batches(opened.into_bytes().into_whole()?)
    }

    /// The name for messages and records.
    #[must_use]
    pub fn name(&self) -> String {
        self.source().name()
    }

    /// As [`Source::suffix`].
    #[must_use]
    pub fn suffix(&self) -> String {
        self.source().suffix()
    }

    /// The directory that relative paths of its rows start from; empty for the working directory.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.source().directory().unwrap_or_default()
    }
}

/// What identifies each of `inputs`, as [`Source::fingerprint`] says.
///
/// # Errors
/// If one cannot be read.
pub fn fingerprints(inputs: &[Input]) -> Result<Vec<Option<Fingerprint>>, SourceError> {
    let print = |input: &Input| {
        let source = input.source();
        source.fingerprint().map_err(|error| SourceError::Io {
            name: source.name(),
            error,
        })
    };
    inputs.iter().map(print).collect()
}

/// An input that cannot be read (on).
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("{name}: {error}")]
    Io {
        /// The input's name.
        name: String,
        /// What the system said.
        error: io::Error,
    },
    /// The text is not UTF-8 as a whole.
    #[error("{name}: the file is UTF-16; djr reads UTF-8 (convert it: iconv -f UTF-16 -t UTF-8)")]
    Utf16 {
        /// The input's name.
        name: String,
    },
    /// It is cut off or damaged.
    #[error(
        "{name}: the input is cut off or damaged behind byte {bytes}, after {rows} rows: {error}"
    )]
    Broken {
        /// The input's name.
        name: String,
        /// How far it could be read, unpacked.
        bytes: u64,
        /// Rows before the damage.
        rows: u64,
        /// What was found.
        error: io::Error,
    },
    /// It is what it seems to be and cannot be read.
    #[error("{name}: {what}: {error}")]
    Invalid {
        /// The input's name.
        name: String,
        /// What it is.
        what: String,
        /// What was found.
        error: io::Error,
    },
    /// It holds no rows of a format that djr reads.
    #[error("{name}: this is {what}, which djr does not read yet")]
    Foreign {
        /// The input's name.
        name: String,
        /// What it is.
        what: String,
    },
}

impl SourceError {
    /// What a reader of `source` says that has come as far as `place`.
    fn of_row(source: &dyn Source, place: Place, error: io::Error) -> Self {
        let name = source.name();
        if is_of_system(&error) {
            return Self::Io { name, error };
        }
        Self::Broken {
            name,
            bytes: place.bytes,
            rows: place.rows,
            error,
        }
    }

    /// The input's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Io { name, .. }
            | Self::Utf16 { name }
            | Self::Broken { name, .. }
            | Self::Invalid { name, .. }
            | Self::Foreign { name, .. } => name,
        }
    }

    /// Whether the rest of the input can be set aside as one record: what it holds is at fault, and
    /// not the system.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }

    /// Whether the input is not what it should be, whatever the system does.
    #[must_use]
    pub fn is_of_input(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Broken { .. })
    }
}

/// Whether an error is the system's or a store's, and not that of the bytes that were read.
#[must_use]
pub fn is_of_system(error: &io::Error) -> bool {
    error.raw_os_error().is_some() || super::remote::is_failure(error)
}

/// The reason given for a row that is longer than `limit`.
fn too_long(bytes: u64, limit: usize) -> RowError {
    RowError::new(
        "row_too_long",
        format!(
            "the row has {bytes} bytes, more than the limit of {limit}; only its start is kept"
        ),
    )
}

/// Shortens a too long row to what the quarantine keeps.
fn keep_start(data: &mut Vec<u8>, start: usize) {
    data.truncate(start + KEPT_OF_LONG_ROW);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(suffix: &str, content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn rows(files: &[&tempfile::NamedTempFile], max_rows: usize) -> Vec<(u64, u64, String)> {
        let inputs = files
            .iter()
            .map(|f| Input::File(f.path().to_owned()))
            .collect();
        let mut source = LineSource::new(inputs);
        let mut out = Vec::new();
        while let Some(batch) = source.next_batch(max_rows, 1 << 20).unwrap() {
            for line in &batch.lines {
                let text = String::from_utf8(batch.bytes(line).to_vec()).unwrap();
                out.push((line.origin.offset, line.origin.line, text));
            }
        }
        out
    }

    #[test]
    fn shards_give_rows_the_same_identities_as_one_file() {
        let whole = rows(&[&file(".jsonl", b"{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}")], 2);
        let first = file(".jsonl", b"{\"a\":1}\n{\"a\":2}");
        let second = file(".jsonl", b"\n{\"a\":3}\n");
        let shards = rows(&[&first, &second], 7);
        let ids =
            |r: &[(u64, u64, String)]| r.iter().map(|x| (x.0, x.2.clone())).collect::<Vec<_>>();
        assert_eq!(ids(&whole), ids(&shards));
        assert_eq!(whole.iter().map(|r| r.1).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn crlf_bom_and_arrays_are_understood() {
        let lines = rows(
            &[&file(".jsonl", b"\xEF\xBB\xBF{\"a\":1}\r\n{\"a\":2}\r\n")],
            9,
        );
        assert_eq!(
            lines.iter().map(|r| r.2.trim_end()).collect::<Vec<_>>(),
            ["{\"a\":1}", "{\"a\":2}"]
        );
        let array = rows(
            &[&file(".json", b" [ {\"a\":\"]},\"} ,\n {\"b\":\n[1]} ]\n")],
            9,
        );
        assert_eq!(
            array.iter().map(|r| r.2.as_str()).collect::<Vec<_>>(),
            ["{\"a\":\"]},\"}", "{\"b\": [1]}"]
        );
    }

    #[test]
    fn reading_goes_on_where_it_stopped() {
        let plain = file(".jsonl", b"\n{\"a\":1}\n\n{\"a\":2}\n{\"a\":3}");
        let packed = file(
            ".jsonl.zst",
            &zstd::encode_all(&b"{\"b\":1}\n{\"b\":2}\n"[..], 1).unwrap(),
        );
        let array = file(".json", b" [ {\"c\":1} , {\"c\":2},{\"c\":3} ]\n");
        let objects = file(".json", b"{\n\"e\":1\n}\n{\"e\":\n2}");
        let lists = file(".json", b"[[1],\n[2]\n]\n");
        let last = file(".jsonl", b"{\"d\":1}\n");
        let inputs: Vec<Input> = [&plain, &packed, &array, &objects, &lists, &last]
            .iter()
            .map(|f| Input::File(f.path().to_owned()))
            .collect();
        let rest = |source: &mut LineSource| {
            let mut out = Vec::new();
            while let Some(batch) = source.next_batch(1, 1 << 20).unwrap() {
                for line in &batch.lines {
                    out.push((line.origin, batch.bytes(line).to_vec()));
                }
            }
            (out, source.summaries().to_vec())
        };
        let (all, totals) = rest(&mut LineSource::new(inputs.clone()));
        assert_eq!(all.len(), 13);
        for stop in 0..=13 {
            let mut source = LineSource::new(inputs.clone());
            for _ in 0..stop {
                source.next_batch(1, 1 << 20).unwrap();
            }
            let json = serde_json::to_string(&source.position()).unwrap();
            let position = serde_json::from_str(&json).unwrap();
            let (left, summaries) = rest(&mut LineSource::resume(inputs.clone(), position));
            assert_eq!(left, all[stop..], "after {stop}");
            assert_eq!(summaries, totals);
        }
    }

    /// The same text in every packing.
    fn packed(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text).unwrap();
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(text).unwrap();
        vec![
            ("gzip", gz.finish().unwrap()),
            ("bzip2", bz.finish().unwrap()),
            ("zstd", zstd::encode_all(text, 1).unwrap()),
        ]
    }

    #[test]
    fn packed_inputs_are_read_whatever_they_are_called() {
        for (first, second) in packed(b"{\"a\":1}\n")
            .into_iter()
            .zip(packed(b"{\"a\":2}\n{}\n"))
        {
            // Members one after the other are one stream.
            let both = [first.1, second.1].concat();
            for suffix in [".jsonl", ".gz", ".zstd", ""] {
                let found = rows(&[&file(suffix, &both)], 9);
                assert_eq!(found.len(), 3, "{} called {suffix}", first.0);
                assert_eq!(found[1].0, 8);
            }
        }
        assert_eq!(rows(&[&file(".jsonl.gz", b"{}\n{}\n")], 9).len(), 2);
    }

    #[test]
    fn zeros_behind_a_member_of_gzip_fill_it_up() {
        let members: Vec<Vec<u8>> = [&b"{\"a\":1}\n"[..], b"{\"a\":2}\n"]
            .iter()
            .map(|text| packed(text).remove(0).1)
            .collect();
        for zeros in [1, 512, READ_BLOCK * 2] {
            let fill = vec![0; zeros];
            let alone = [&members[0][..], &fill].concat();
            assert_eq!(rows(&[&file(".jsonl.gz", &alone)], 9).len(), 1, "{zeros}");
            let both = [&members[0][..], &fill, &members[1]].concat();
            assert_eq!(rows(&[&file(".jsonl.gz", &both)], 9).len(), 2, "{zeros}");
        }
        let foreign = [&members[0][..], b"\0\0more"].concat();
        let mut source = LineSource::new(vec![Input::File(
            file(".jsonl.gz", &foreign).path().to_owned(),
        )]);
        assert!(source.next_batch(9, 1 << 20).is_err());
    }

    #[test]
    fn an_xz_file_cannot_ask_for_all_memory() {
        // A block header that asks for a dictionary of 4 GiB - 1, and no more.
        let mut xz = b"\xFD7zXZ\0\0\x04\xE6\xD6\xB4\x46".to_vec();
        let header = b"\x02\0\x21\x01\x28\0\0\0";
        let mut sum = flate2::Crc::new();
        sum.update(header);
        xz.extend_from_slice(header);
        xz.extend_from_slice(&sum.sum().to_le_bytes());
        xz.extend_from_slice(&[0; 64]);
        let file = file(".jsonl", &xz);
        let error = Input::File(file.path().to_owned())
            .source()
            .check()
            .unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
    }

    #[test]
    fn splits_together_give_the_rows_of_the_whole() {
        let mut lines = String::new();
        for n in 0..500 {
            lines += &[
                "{\"n\":\"",
                &"x".repeat(n % 37),
                "\"}\n",
                ["", "\n", " \n"][n % 3],
            ]
            .concat();
        }
        let plain = file(".jsonl", lines.as_bytes());
        let gz = file(".jsonl", &packed(lines.as_bytes())[0].1);
        let array = file(".json", b"[{},{}]");
        let frames = lines
            .as_bytes()
            .chunks(1500)
            .flat_map(|part| zstd::bulk::compress(part, 1).unwrap());
        let frames = file(".jsonl.zst", &frames.collect::<Vec<u8>>());
        for (file, cuts) in [
            (&plain, true),
            (&frames, true),
            (&gz, false),
            (&array, false),
        ] {
            let source = FileSource::new(file.path().to_owned());
            let read = |split| {
                let mut reader = source.open(split).unwrap();
                let mut found = Vec::new();
                let mut data = Vec::new();
                while let Some(row) = reader.next(&mut data, MAX_ROW_BYTES).unwrap() {
                    found.push((row.offset, std::mem::take(&mut data)));
                }
                found
            };
            let whole = read(Split::default());
            for bytes in [1, 100, 5000, 1 << 20] {
                let splits = source.splits(bytes).unwrap();
                assert_eq!(splits.len() > 1, cuts && bytes < 10_000, "{bytes}");
                let parts: Vec<_> = splits.into_iter().flat_map(read).collect();
                assert!(parts == whole, "{bytes}");
            }
        }
    }

    #[test]
    fn rows_that_are_handed_in_are_those_of_a_file() {
        let text = "{\"a\":1}\n\n{\"a\":\n2}\n";
        let given: Vec<Vec<u8>> = ["{\"a\":1}", "", "{\"a\":\n2}"].map(Into::into).into();
        let mut source = LineSource::new(vec![Input::Given(GivenRows::new("memory", given))]);
        let batch = source.next_batch(9, 1 << 20).unwrap().unwrap();
        let found: Vec<_> = batch
            .lines
            .iter()
            .map(|l| (l.origin.offset, batch.bytes(l)))
            .collect();
        assert_eq!(found, [(0, &b"{\"a\":1}"[..]), (9, b"{\"a\": 2}")]);
        assert!(source.next_batch(9, 1 << 20).unwrap().is_none());
        assert_eq!(source.summaries()[0].bytes, text.len() as u64);
    }

    #[test]
    fn what_holds_no_rows_is_refused_as_what_it_is() {
        let latin = b"caf\xE9 \xFF\xFE, au lait\n".repeat(10);
        for (suffix, content, what) in [
            (".jsonl", &b"ORC\x15\x04"[..], "ORC"),
            (".parquet", b"ORC\x15\x04", "ORC"),
            (".jsonl", b"SQLite format 3\0", "SQLite"),
            (".jsonl", b"\x89PNG\r\n\x1a\n", "PNG"),
            (".jsonl", b"\0\x01\x02\x03\0\x07", "binary"),
            (".jsonl", &latin, "binary"),
            ("", b"[section]\nkey = 1\n", "text without JSON"),
        ] {
            let file = file(suffix, content);
            let mut source = LineSource::new(vec![Input::File(file.path().to_owned())]);
            let error = source.next_batch(9, 9).unwrap_err();
            assert!(error.is_of_input(), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
        let packed = packed(b"PAR1\x15\x04").remove(0).1;
        let file = file(".jsonl.gz", &packed);
        let error = Input::File(file.path().to_owned())
            .source()
            .check()
            .unwrap_err();
        assert!(
            error.to_string().contains("Parquet file packed by gzip"),
            "{error}"
        );
    }

    #[test]
    fn a_text_without_rows_is_no_input_whatever_it_is_called() {
        for (suffix, content) in [
            (".jsonl", "nonsense\n"),
            (".json", "\"a\"\n"),
            ("", "1\n2\n"),
        ] {
            let file = file(suffix, content.as_bytes());
            let checked = FileSource::new(file.path().to_owned()).check();
            assert!(
                matches!(checked, Err(SourceError::Foreign { .. })),
                "{content}"
            );
        }
        for (suffix, content) in [
            (".jsonl", "nonsense\n{\"a\": 1}\n"),
            (".json", "null\n{}\n"),
        ] {
            assert_eq!(rows(&[&file(suffix, content.as_bytes())], 9).len(), 2);
        }
        assert!(rows(&[&file("", b" \n")], 9).is_empty());
    }

    #[test]
    fn a_row_beyond_the_limit_keeps_only_its_start() {
        let mut content = vec![b'x'; MAX_ROW_BYTES + 10];
        content.extend_from_slice(b"\n{}\n");
        let big = file(".jsonl", &content);
        let mut source = LineSource::new(vec![Input::File(big.path().to_owned())]);
        let batch = source.next_batch(9, usize::MAX).unwrap().unwrap();
        assert_eq!(batch.lines.len(), 2);
        assert_eq!(
            batch.lines[0].problem.as_ref().unwrap().code,
            "row_too_long"
        );
        assert_eq!(batch.bytes(&batch.lines[1]), b"{}");
        assert!(batch.data.len() < 10_000);
    }

    #[test]
    fn utf16_is_refused_with_what_to_do() {
        let file = file(".jsonl", b"\xFF\xFE{\0}\0");
        let mut source = LineSource::new(vec![Input::File(file.path().to_owned())]);
        assert!(
            source
                .next_batch(9, 9)
                .unwrap_err()
                .to_string()
                .contains("iconv")
        );
    }
}
