//! The ledger: one record a row about its fate, compressed JSON Lines.
//!
//! `DuckDB` reads it with `read_json('….djr/ledger.jsonl.zst')`, pandas (with the package
//! zstandard) with `read_json(…, lines=True, dtype={'id': 'string'})`.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::StepNumber;
use crate::io::workspace::Lengths;
use crate::io::{Log, PendingFile, Workspace};
use crate::note::Code;

/// What became of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// The row's `id` as JSON text, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, RawValue>>,
    /// What became of it.
    pub fate: Fate,
    /// Who decided: an operator, `read`, `outputs` or `sample`.
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
}

impl LedgerEntry<'_> {
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

/// A value that is there: null is no lack of one.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
pub(crate) fn is_whole(part: &u64) -> bool {
    *part == 0
}

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
            records: workspace.log(name)?,
        })
    }

    /// Appends records, each ended by a newline.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.records.append(records)
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
    pub fn finish(mut self, workspace: &Workspace) -> io::Result<PendingFile> {
        let mut packed = zstd::Encoder::new(workspace.pending(&self.path)?, 1)?;
        io::copy(&mut self.records.replay()?, &mut packed)?;
        packed.finish()
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
        serde_json::to_writer(&mut self.line, entry)?;
        self.line.push(b'\n');
        self.records.append(&self.line)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.records.sync(lengths)
    }

    /// Compresses the records into the file that will be the ledger.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn finish(self, workspace: &Workspace) -> io::Result<PendingFile> {
        self.records.finish(workspace)
    }
}
