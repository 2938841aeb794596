//! The ledger: one record a row about its fate, compressed JSON Lines.
//!
//! `DuckDB` reads it with `read_json('….djr/ledger.jsonl.zst')`, pandas with
//! `read_json(…, lines=True)`.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::io::PendingFile;
use crate::io::atomic::Finished;

/// The fate of one row.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry<'a> {
    /// Index of the input in the manifest.
    pub file: u32,
    /// Line in it, from 1 (the element's number in a JSON array).
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// The row's `id` as JSON text, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a serde_json::value::RawValue>,
    /// `kept`, `dropped` or `quarantined`.
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
    /// Why it could not be processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

/// Writes the ledger.
pub struct Ledger {
    writer: zstd::Encoder<'static, PendingFile>,
    line: Vec<u8>,
}

impl Ledger {
    /// Starts the ledger at `path`.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            writer: zstd::Encoder::new(PendingFile::create(path)?, 1)?,
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
        self.writer.write_all(&self.line)
    }

    /// Ends the ledger and gives it its name.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn finish(self) -> io::Result<Finished> {
        self.writer.finish()?.commit()
    }
}
