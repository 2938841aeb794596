//! Rows from files and pipes, cut into batches bounded by rows and by bytes.
//!
//! A row is a line (JSONL) or an element of a top-level array (JSON). Its identity is the offset
//! of its first byte in all inputs laid end to end, decompressed, each ended by a newline.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::array::ElementReader;
use crate::sample::{Origin, RowError};

/// A row longer than this is not read into memory; its first bytes go to the quarantine.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// How much of a too long row is kept for the quarantine.
const KEPT_OF_LONG_ROW: usize = 4096;

const READ_BLOCK: usize = 1 << 18;

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file: `.jsonl` or `.json`, plain or with `.gz` or `.zst`.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    /// The name for messages and records.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "<stdin>".into(),
        }
    }

    /// The suffix of its name in lower case, as Data-Juicer's reader gives it to rows: of packed
    /// files the last two (`.jsonl.gz`). The standard input counts as `.jsonl`.
    #[must_use]
    pub fn suffix(&self) -> String {
        let Self::File(path) = self else {
            return ".jsonl".into();
        };
        let suffix_of = |path: &Path| match path.extension() {
            Some(extension) => format!(".{}", extension.to_string_lossy().to_lowercase()),
            None => String::new(),
        };
        let last = suffix_of(path);
        match last.as_str() {
            ".gz" | ".zst" => suffix_of(Path::new(path.file_stem().unwrap_or_default())) + &last,
            "" => ".".into(),
            _ => last,
        }
    }

    /// The directory that relative image paths of its rows start from.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        match self {
            Self::File(path) => path.parent().map_or_else(PathBuf::new, Path::to_owned),
            Self::Stdin => PathBuf::new(),
        }
    }
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
}

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
}

/// Consecutive rows and their bytes.
#[derive(Debug, Clone, Default)]
pub struct RawBatch {
    /// The rows' bytes.
    pub data: Vec<u8>,
    /// The rows in input order.
    pub lines: Vec<RawLine>,
}

impl RawBatch {
    /// The bytes of `line`.
    #[must_use]
    pub fn bytes(&self, line: &RawLine) -> &[u8] {
        self.data.get(line.start..line.end).unwrap_or_default()
    }
}

/// What was read of one input, for the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSummary {
    /// Rows (blank lines are not rows).
    pub rows: u64,
    /// Decompressed bytes.
    pub bytes: u64,
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
    inputs: Vec<Input>,
    current: usize,
    reader: Option<Rows>,
    base: u64,
    summaries: Vec<InputSummary>,
    /// Where in the current input to begin: bytes and lines to pass over.
    begin: Option<(u64, u64)>,
}

enum Rows {
    Lines(LineReader),
    Elements(ElementReader),
}

impl LineSource {
    /// A source over `inputs`, in this order.
    #[must_use]
    pub fn new(inputs: Vec<Input>) -> Self {
        let summaries = vec![InputSummary::default(); inputs.len()];
        Self {
            inputs,
            current: 0,
            reader: None,
            base: 0,
            summaries,
            begin: None,
        }
    }

    /// A source over `inputs` that goes on from `position`.
    #[must_use]
    pub fn resume(inputs: Vec<Input>, position: Position) -> Self {
        let mut summaries = position.summaries;
        summaries.resize_with(inputs.len(), InputSummary::default);
        Self {
            inputs,
            current: position.file,
            reader: None,
            base: position.base,
            summaries,
            begin: Some((position.bytes, position.lines)),
        }
    }

    /// How far it has read.
    #[must_use]
    pub fn position(&self) -> Position {
        let (bytes, lines) = match &self.reader {
            Some(Rows::Lines(lines)) => (lines.position, lines.number),
            Some(Rows::Elements(elements)) => (elements.consumed(), elements.number()),
            None => self.begin.unwrap_or_default(),
        };
        Position {
            file: self.current,
            bytes,
            lines,
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
        let mut batch = RawBatch::default();
        while batch.lines.len() < max_rows && batch.data.len() < max_bytes {
            if !self.next_row(&mut batch)? {
                break;
            }
        }
        Ok((!batch.lines.is_empty()).then_some(batch))
    }

    /// What was read so far, one entry an input.
    #[must_use]
    pub fn summaries(&self) -> &[InputSummary] {
        &self.summaries
    }

    fn next_row(&mut self, batch: &mut RawBatch) -> Result<bool, SourceError> {
        loop {
            let Some(input) = self.inputs.get(self.current) else {
                return Ok(false);
            };
            let io_error = |error| SourceError::Io {
                name: input.name(),
                error,
            };
            if self.reader.is_none() {
                let rows = match self.begin.take() {
                    Some((bytes, lines)) if bytes > 0 => open_rows_at(input, bytes, lines)?,
                    _ => open_rows(input)?,
                };
                self.reader = Some(rows);
            }
            let (found, consumed) = match &mut self.reader {
                Some(Rows::Lines(lines)) => (
                    lines.next(&mut batch.data).map_err(io_error)?,
                    lines.consumed(),
                ),
                Some(Rows::Elements(elements)) => (
                    elements
                        .next(&mut batch.data, MAX_ROW_BYTES)
                        .map_err(io_error)?,
                    elements.consumed(),
                ),
                None => (None, 0),
            };
            let Some(summary) = self.summaries.get_mut(self.current) else {
                return Ok(false);
            };
            if let Some(row) = found {
                summary.rows += 1;
                batch.lines.push(RawLine {
                    start: row.start,
                    end: batch.data.len(),
                    origin: Origin {
                        offset: self.base + row.offset,
                        file: u32::try_from(self.current).unwrap_or(u32::MAX),
                        line: row.number,
                        part: 0,
                    },
                    problem: row.problem,
                });
                return Ok(true);
            }
            summary.bytes = consumed;
            // Offsets count a final newline whether it is there or not, so that shards of a file
            // give its rows the same identities as the file.
            let missing_newline = match &self.reader {
                Some(Rows::Lines(lines)) => u64::from(lines.ends_without_newline()),
                _ => 0,
            };
            self.base += consumed + missing_newline;
            self.reader = None;
            self.current += 1;
        }
    }
}

/// A row found by a reader; its bytes were appended to the batch from `start` on.
#[derive(Debug)]
pub(crate) struct FoundRow {
    pub start: usize,
    pub offset: u64,
    pub number: u64,
    pub problem: Option<RowError>,
}

/// The reason given for a row beyond [`MAX_ROW_BYTES`].
pub(crate) fn too_long(bytes: u64) -> RowError {
    RowError::new(
        "row_too_long",
        format!(
            "the row has {bytes} bytes, more than the limit of {MAX_ROW_BYTES}; only its start is kept"
        ),
    )
}

/// Shortens a too long row to what the quarantine keeps.
pub(crate) fn keep_start(data: &mut Vec<u8>, start: usize) {
    data.truncate(start + KEPT_OF_LONG_ROW);
}

/// Opens an input as a stream of decompressed bytes.
///
/// # Errors
/// If the file cannot be opened, or its header is not that of its suffix.
pub fn open_bytes(input: &Input) -> Result<Box<dyn Read + Send>, SourceError> {
    let io_error = |error| SourceError::Io {
        name: input.name(),
        error,
    };
    let Input::File(path) = input else {
        return Ok(Box::new(io::stdin()));
    };
    let file = File::open(path).map_err(io_error)?;
    Ok(match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(
            READ_BLOCK, file,
        ))),
        Some("zst" | "zstd") => Box::new(zstd::stream::read::Decoder::new(file).map_err(io_error)?),
        _ => Box::new(file),
    })
}

/// How rows lie in an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One a line.
    Lines,
    /// In a top-level array.
    Array,
}

/// An input whose first bytes were looked at.
pub struct Opened {
    /// Its decompressed bytes, from the first one on.
    pub reader: Box<dyn Read + Send>,
    /// How many bytes before the rows to pass over (a byte order mark).
    pub skip: usize,
    /// How its rows lie.
    pub layout: Layout,
}

impl Opened {
    /// Opens `input`.
    ///
    /// # Errors
    /// If it cannot be read, or is not UTF-8.
    pub fn new(input: &Input) -> Result<Self, SourceError> {
        let (rest, start) = look(input)?;
        Ok(Self {
            reader: Box::new(io::Cursor::new(start).chain(rest.reader)),
            ..rest
        })
    }
}

fn open_rows(input: &Input) -> Result<Rows, SourceError> {
    let (rest, start) = look(input)?;
    Ok(match rest.layout {
        Layout::Array => Rows::Elements(ElementReader::new(rest.reader, start)),
        Layout::Lines => Rows::Lines(LineReader::new(rest.reader, start, rest.skip)),
    })
}

/// Opens an input and reads a little of it: gives what follows, and what was read.
fn look(input: &Input) -> Result<(Opened, Vec<u8>), SourceError> {
    let mut bytes = open_bytes(input)?;
    let io_error = |error| SourceError::Io {
        name: input.name(),
        error,
    };
    let mut start = Vec::new();
    while start.len() < 4096 {
        let mut block = [0; 4096];
        let n = read_some(&mut bytes, &mut block).map_err(io_error)?;
        start.extend_from_slice(block.get(..n).unwrap_or_default());
        if n == 0 || start.iter().any(|b| !b.is_ascii_whitespace()) {
            break;
        }
    }
    if start.starts_with(&[0xFF, 0xFE]) || start.starts_with(&[0xFE, 0xFF]) {
        return Err(SourceError::Utf16 { name: input.name() });
    }
    let skip = if start.starts_with(&[0xEF, 0xBB, 0xBF]) {
        3
    } else {
        0
    };
    let first = start.iter().skip(skip).find(|b| !b.is_ascii_whitespace());
    let layout = if first == Some(&b'[') && !is_line_format(input) {
        Layout::Array
    } else {
        Layout::Lines
    };
    let rest = Opened {
        reader: bytes,
        skip,
        layout,
    };
    Ok((rest, start))
}

/// Opens an input behind its first `bytes`, which hold `lines`: plain lines by seeking, all else
/// by reading up to there again.
fn open_rows_at(input: &Input, bytes: u64, lines: u64) -> Result<Rows, SourceError> {
    let io_error = |error| SourceError::Io {
        name: input.name(),
        error,
    };
    let mut rows = open_rows(input)?;
    if let (Rows::Lines(_), Some(path)) = (&rows, plain_file(input)) {
        let mut file = File::open(path).map_err(io_error)?;
        file.seek(SeekFrom::Start(bytes - 1)).map_err(io_error)?;
        let mut last = [0];
        file.read_exact(&mut last).map_err(io_error)?;
        let [last] = last;
        return Ok(Rows::Lines(LineReader {
            reader: Box::new(file),
            buffer: Vec::new(),
            at: 0,
            position: bytes,
            number: lines,
            eof: false,
            last_byte: Some(last),
        }));
    }
    let mut skipped = Vec::new();
    loop {
        let consumed = match &rows {
            Rows::Lines(lines) => lines.consumed(),
            Rows::Elements(elements) => elements.consumed(),
        };
        if consumed >= bytes {
            return Ok(rows);
        }
        skipped.clear();
        let found = match &mut rows {
            Rows::Lines(lines) => lines.next(&mut skipped),
            Rows::Elements(elements) => elements.next(&mut skipped, MAX_ROW_BYTES),
        };
        if found.map_err(io_error)?.is_none() {
            return Ok(rows);
        }
    }
}

/// The path of an input whose bytes are read as they are.
fn plain_file(input: &Input) -> Option<&Path> {
    match input {
        Input::File(path) if !is_packed(path) => Some(path),
        _ => None,
    }
}

fn is_packed(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| matches!(e, "gz" | "zst" | "zstd"))
}

/// Files named `.jsonl` hold lines whatever their first byte; other inputs may hold an array.
fn is_line_format(input: &Input) -> bool {
    match input {
        Input::Stdin => false,
        Input::File(path) => path
            .file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.contains(".jsonl") || n.contains(".ndjson")),
    }
}

pub(crate) fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

struct LineReader {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: usize,
    position: u64,
    number: u64,
    eof: bool,
    last_byte: Option<u8>,
}

impl LineReader {
    fn new(reader: Box<dyn Read + Send>, start: Vec<u8>, skip: usize) -> Self {
        let last_byte = start.last().copied();
        Self {
            reader,
            buffer: start,
            at: skip,
            position: skip as u64,
            number: 0,
            eof: false,
            last_byte,
        }
    }

    fn consumed(&self) -> u64 {
        self.position
    }

    fn ends_without_newline(&self) -> bool {
        self.last_byte.is_some_and(|b| b != b'\n')
    }

    /// Appends the next line that is not blank to `data`.
    fn next(&mut self, data: &mut Vec<u8>) -> io::Result<Option<FoundRow>> {
        loop {
            let offset = self.position;
            let start = data.len();
            let Some(length) = self.line(data)? else {
                return Ok(None);
            };
            self.number += 1;
            let long = length > MAX_ROW_BYTES as u64;
            let blank = data
                .get(start..)
                .is_none_or(|l| l.iter().all(u8::is_ascii_whitespace));
            if blank && !long {
                data.truncate(start);
                continue;
            }
            return Ok(Some(FoundRow {
                start,
                offset,
                number: self.number,
                problem: long.then(|| too_long(length)),
            }));
        }
    }

    /// Appends one line without its newline (only the start of a too long one) and returns its
    /// full length; `None` at the end of the input.
    fn line(&mut self, data: &mut Vec<u8>) -> io::Result<Option<u64>> {
        let start = data.len();
        let mut length = 0_u64;
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let newline = memchr::memchr(b'\n', rest);
            let piece = rest
                .get(..newline.unwrap_or(rest.len()))
                .unwrap_or_default();
            if length <= MAX_ROW_BYTES as u64 {
                data.extend_from_slice(piece);
            }
            length += piece.len() as u64;
            if length > MAX_ROW_BYTES as u64 {
                keep_start(data, start);
            }
            self.at += piece.len();
            self.position += piece.len() as u64;
            if newline.is_some() {
                self.at += 1;
                self.position += 1;
                return Ok(Some(length));
            }
            if !self.fill()? {
                return Ok((length > 0).then_some(length));
            }
        }
    }

    fn fill(&mut self) -> io::Result<bool> {
        if self.eof {
            return Ok(false);
        }
        self.buffer.resize(READ_BLOCK, 0);
        let n = read_some(&mut self.reader, &mut self.buffer)?;
        self.buffer.truncate(n);
        self.at = 0;
        self.eof = n == 0;
        if let Some(last) = self.buffer.last() {
            self.last_byte = Some(*last);
        }
        Ok(n > 0)
    }
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
        let last = file(".jsonl", b"{\"d\":1}\n");
        let inputs: Vec<Input> = [&plain, &packed, &array, &last]
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
        assert_eq!(all.len(), 9);
        for stop in 0..=9 {
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

    #[test]
    fn compressed_inputs_are_read() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"{\"a\":1}\n").unwrap();
        assert_eq!(
            rows(&[&file(".jsonl.gz", &gz.finish().unwrap())], 9).len(),
            1
        );
        let zst = zstd::encode_all(&b"{\"a\":1}\n{}\n"[..], 1).unwrap();
        assert_eq!(rows(&[&file(".jsonl.zst", &zst)], 9).len(), 2);
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
