//! The ledger: one record a row about its fate, compressed JSON Lines.
//!
//! `DuckDB` reads it with `read_json('….djr/ledger.jsonl.zst')`, pandas (with the package
//! zstandard) with `read_json(…, lines=True, dtype={'id': 'string'})`.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use rayon::ThreadPool;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::StepNumber;
use super::originals::{Original, Originals};
use crate::io::workspace::Lengths;
use crate::io::{Log, PendingFile, Workspace};
use crate::note::Code;
use crate::sample::{Origin, is_plain_string};

/// Stands for a stat where a row went for one of a reference; its value says for which.
pub const REFERENCE: &str = "reference";

/// The limit that such a row broke.
pub const REFERENCE_LIMIT: &str = "no row of a reference";

/// What became of a row.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// At least one output wrote it.
    #[default]
    Kept,
    /// An operator dropped it, or no sample drew it.
    Dropped,
    /// It could not be processed.
    Quarantined,
    /// It is part of another row's group.
    Merged,
}

impl Fate {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Dropped => "dropped",
            Self::Quarantined => "quarantined",
            Self::Merged => "merged",
        }
    }
}

/// The fate of one row, or of one part of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct LedgerEntry<'a> {
    /// Index of the input in the manifest, from 0.
    pub file: u32,
    /// Line in it, from 1 (the element's number in a JSON array).
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// Which part of the line's row, if an operator made several of it; 0 is the first, or the
    /// row itself, and is left out.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub part: u64,
    /// Which further copy of the row, from 1, if a selector took it more than once; the row itself is 0
    /// and leaves this out.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub copy: u64,
    /// The row's `id` as JSON text, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub id: Option<Cow<'a, RawValue>>,
    /// What became of it.
    pub fate: Fate,
    /// Who decided: an operator, `read`, `outputs`, `sample`, or `where` if it met the condition of no
    /// output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Cow<'a, str>>,
    /// The operator's step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepNumber>,
    /// The stat that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stat: Option<Cow<'a, str>>,
    /// Its value; null is one, too.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub value: Option<Value>,
    /// The bound it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Cow<'a, str>>,
    /// Identity of the row it duplicates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<u64>,
    /// Identity of the first row of the group that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<u64>,
    /// What the step that decided had to note of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Code>,
    /// The stable word for why it could not be processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// Where the row is from that it duplicates, or whose group it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Original<'a>>,
}

impl<'a> LedgerEntry<'a> {
    /// The entry of the row at `origin`, whose `id` is this JSON text, with its place filled in and
    /// the fate of a kept one; whoever has another fate to tell fills in that.
    #[must_use]
    pub fn of(origin: Origin, id: Option<&'a str>) -> Self {
        Self {
            file: origin.file,
            line: origin.line,
            offset: origin.offset,
            part: origin.part,
            copy: origin.copy,
            id: sound_id(id).map(Cow::Borrowed),
            ..Self::default()
        }
    }

    /// Appends the line of a row that was kept: what most rows have, by the shortest way.
    pub fn write_kept(origin: Origin, id: Option<&str>, out: &mut Vec<u8>) {
        let plain = match id {
            None => true,
            Some(id) => id.len() < 64 && is_plain_string(id),
        };
        if !plain || origin.part > 0 || origin.copy > 0 {
            return LedgerEntry::of(origin, id).write(out);
        }
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(b"{\"file\":");
        out.extend_from_slice(digits.format(origin.file).as_bytes());
        out.extend_from_slice(b",\"line\":");
        out.extend_from_slice(digits.format(origin.line).as_bytes());
        out.extend_from_slice(b",\"offset\":");
        out.extend_from_slice(digits.format(origin.offset).as_bytes());
        if let Some(id) = id {
            out.extend_from_slice(b",\"id\":");
            out.extend_from_slice(id.as_bytes());
        }
        out.extend_from_slice(b",\"fate\":\"kept\"}\n");
    }

    /// Appends what is said of a row that duplicates the one at `first`; `kept` is what
    /// [`LedgerEntry::write_kept`] wrote of it, `by` who found it, in which step.
    pub fn write_duplicate(kept: &[u8], by: &str, step: StepNumber, first: u64, out: &mut Vec<u8>) {
        let rest = LedgerEntry {
            fate: Fate::Dropped,
            by: Some(by.into()),
            step: Some(step),
            duplicate_of: Some(first),
            ..LedgerEntry::default()
        };
        let mut line = Vec::new();
        rest.write(&mut line);
        let fate = |line: &[u8]| memchr::memmem::rfind(line, FATE).unwrap_or(0);
        out.extend_from_slice(kept.get(..fate(kept)).unwrap_or_default());
        out.extend_from_slice(line.get(fate(&line)..).unwrap_or_default());
    }

    /// Appends the entry as a line.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }

    /// Whether it went for another row: of the run, or of a reference.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        let of_reference = self.stat.as_deref() == Some(REFERENCE)
            && self.limit.as_deref() == Some(REFERENCE_LIMIT);
        self.fate == Fate::Dropped && (self.duplicate_of.is_some() || of_reference)
    }

    /// The row that stands for it: the one it duplicates, or the first of its group.
    #[must_use]
    pub fn other(&self) -> Option<u64> {
        self.duplicate_of.or(self.merged_into)
    }

    /// The id as people write it: a string without its quotes.
    #[must_use]
    pub fn id_text(&self) -> Option<String> {
        let raw = self.id.as_ref()?.get();
        Some(serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()))
    }
}

/// Where an entry begins to tell what became of its row.
const FATE: &[u8] = b",\"fate\":";

/// A value that is there: null is no lack of one.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The id for the ledger and the quarantine. An id that is neither a text nor a number, is no
/// Unicode, or is longer than any id has reason to be, is left out: what reads the ledger later
/// need not cope with it, and the row has its line and offset.
pub(crate) fn sound_id(id: Option<&str>) -> Option<&RawValue> {
    let id = id.filter(|id| id.len() <= MAX_ID_BYTES)?;
    let sound = match id.as_bytes().first()? {
        b'"' => !id.contains('\\') || serde_json::from_str::<String>(id).is_ok(),
        b'-' | b'0'..=b'9' => serde_json::from_str::<f64>(id).is_ok(),
        _ => false,
    };
    sound.then(|| serde_json::from_str(id).ok()).flatten()
}

/// The longest id that ledger and quarantine repeat.
const MAX_ID_BYTES: usize = 256;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
pub(crate) fn is_whole(number: &u64) -> bool {
    *number == 0
}

/// Bytes of records that are compressed as one frame. It does not depend on the threads: neither do
/// the bytes of the file.
pub(super) const FRAME: u64 = 1 << 19;

/// Frames that are in memory at a time, at most: more would be done no sooner than the disk takes
/// them.
const FRAMES: usize = 16;

/// How hard zstd tries: the records are long and alike, and more would cost more than it saves.
const LEVEL: i32 = 1;

/// Records of one line each: plain while a run goes on, so that they can be cut back to a
/// checkpoint, compressed when it ends.
pub struct PackedLog {
    path: PathBuf,
    records: Log,
}

impl PackedLog {
    /// Opens the log `name` of the run, which will stand at `path`.
    ///
    /// # Errors
    /// If its working file cannot be opened.
    pub fn open(path: &Path, name: &str, workspace: &Workspace) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            records: workspace.log(name)?.beside(),
        })
    }

    /// Appends records, each ended by a newline.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, records: Cow<'_, [u8]>) -> io::Result<()> {
        self.records.append_whole(records)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.records.sync(lengths)
    }

    /// Compresses the records into the file that will stand in their place.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn finish(mut self, workspace: &Workspace, pool: &ThreadPool) -> io::Result<PendingFile> {
        self.records.flush()?;
        let part = |records: &Log, number: u64| {
            let start = number * FRAME;
            let size = records.len().saturating_sub(start).min(FRAME);
            let mut part = vec![0; usize::try_from(size).unwrap_or(0)];
            records.read_exact_at(&mut part, start)?;
            Ok(part)
        };
        self.pack(workspace, pool, &part)
    }

    /// Compresses the records, a frame for each [`FRAME`] bytes: `part` makes what it holds of all
    /// records and its number.
    fn pack(
        self,
        workspace: &Workspace,
        pool: &ThreadPool,
        part: &(dyn Fn(&Log, u64) -> io::Result<Vec<u8>> + Sync),
    ) -> io::Result<PendingFile> {
        let mut packed = workspace.pending(&self.path)?;
        let records = &self.records;
        let length = records.len();
        let compress = |number: u64| zstd::bulk::compress(&part(records, number)?, LEVEL);
        // No records are a frame of none: a file without a frame is no zstd file.
        let frames = length.div_ceil(FRAME).max(1);
        let at_once = pool.current_num_threads().min(FRAMES) as u64;
        let mut first = 0;
        while first < frames {
            let end = frames.min(first + at_once);
            let packed_frames: io::Result<Vec<_>> =
                pool.install(|| (first..end).into_par_iter().map(compress).collect());
            for frame in packed_frames? {
                packed.append(frame.into())?;
            }
            first = end;
        }
        Ok(packed)
    }
}

/// Writes the ledger.
pub struct Ledger {
    records: PackedLog,
    line: Vec<u8>,
}

impl Ledger {
    /// Opens the ledger that will stand at `path`.
    ///
    /// # Errors
    /// If its working file cannot be opened.
    pub fn open(path: &Path, workspace: &Workspace) -> io::Result<Self> {
        Ok(Self {
            records: PackedLog::open(path, "ledger", workspace)?,
            line: Vec::new(),
        })
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, entry: &LedgerEntry<'_>) -> io::Result<()> {
        self.line.clear();
        entry.write(&mut self.line);
        self.records.append(self.line.as_slice().into())
    }

    /// Appends the entry of a duplicate, as [`LedgerEntry::write_duplicate`] has it.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push_duplicate(
        &mut self,
        kept: &[u8],
        by: &str,
        step: StepNumber,
        first: u64,
    ) -> io::Result<()> {
        self.line.clear();
        LedgerEntry::write_duplicate(kept, by, step, first, &mut self.line);
        self.records.append(self.line.as_slice().into())
    }

    /// Appends entries that were written before.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, entries: Cow<'_, [u8]>) -> io::Result<()> {
        self.records.append(entries)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.records.sync(lengths)
    }

    /// Compresses the records into the file that will be the ledger; those that name another row say
    /// there where that is from.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn finish(mut self, workspace: &Workspace, pool: &ThreadPool) -> io::Result<PendingFile> {
        self.records.records.flush()?;
        let originals = Originals::find(&self.records.records, pool)?;
        if originals.is_empty() {
            return self.records.finish(workspace, pool);
        }
        let told = |records: &Log, number| originals.told(records, number);
        self.records.pack(workspace, pool, &told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_writes_what_the_long_way_writes() {
        let ids = [
            None,
            Some("\"a1\""),
            Some("7"),
            Some("-1e3"),
            Some("null"),
            Some("\"a\\u00e9\""),
            Some("\"a\\ud800\""),
            Some("[1]"),
            Some("\"\""),
            Some("\"é \""),
            Some("\",\\\"fate\\\":\""),
        ];
        for id in ids {
            for (part, copy) in [(0, 0), (3, 0), (0, 2)] {
                let origin = Origin {
                    offset: 118,
                    file: 2,
                    line: 9,
                    part,
                    copy,
                };
                let (mut short, mut long) = (Vec::new(), Vec::new());
                LedgerEntry::write_kept(origin, id, &mut short);
                LedgerEntry::of(origin, id).write(&mut long);
                assert_eq!(String::from_utf8(short.clone()), String::from_utf8(long));
                let step = StepNumber::at(4);
                let mut told = Vec::new();
                LedgerEntry::write_duplicate(&short, "a_deduplicator", step, 7, &mut told);
                let mut long = Vec::new();
                let whole = LedgerEntry {
                    fate: Fate::Dropped,
                    by: Some("a_deduplicator".into()),
                    step: Some(step),
                    duplicate_of: Some(7),
                    ..LedgerEntry::of(origin, id)
                };
                whole.write(&mut long);
                assert_eq!(String::from_utf8(told), String::from_utf8(long));
            }
        }
    }
}
