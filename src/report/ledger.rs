//! The ledger: one record a row about its fate, compressed JSON Lines.
//!
//! `DuckDB` reads it with `read_json('….djr/ledger.jsonl.zst')`, pandas (with the package
//! zstandard) with `read_json(…, lines=True, dtype={'id': 'string'})`.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::io::workspace::Lengths;
use crate::io::{Log, PendingFile, Workspace};

/// The fate of one row.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry<'a> {
    /// Index of the input in the manifest.
    pub file: u32,
    /// Line in it, from 1 (the element's number in a JSON array).
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// Which part of the line's row, if an operator made several of it.
    #[serde(skip_serializing_if = "is_whole")]
    pub part: u64,
    /// The row's `id` as JSON text, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a serde_json::value::RawValue>,
    /// `kept`, `dropped`, `quarantined` or `merged`.
    pub fate: &'static str,
    /// The operator or output that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'a str>,
    /// The operator's position in `process`, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The stat that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stat: Option<&'a str>,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// The bound it broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'a str>,
    /// Identity of the row it duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<u64>,
    /// Identity of the first row of the group that it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<u64>,
    /// Why it could not be processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
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
    pub fn push(&mut self, entry: &Entry<'_>) -> io::Result<()> {
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
