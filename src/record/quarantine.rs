//! The quarantine: rows that could not be processed, verbatim, with the reason.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ledger::is_whole;
use super::{RecordError, Records, StepNumber};
use crate::io::workspace::{Lengths, sync_pending};
use crate::io::{PendingFile, Workspace};

/// Writes rows that could not be processed; the file exists only if there is one.
pub struct Quarantine {
    /// Where rows are kept; nowhere if the run has no directory.
    path: Option<PathBuf>,
    workspace: Workspace,
    file: Option<PendingFile>,
}

/// A row that could not be processed, or that an output refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineEntry<'a> {
    /// The input's name.
    pub input: Cow<'a, str>,
    /// Line in it, from 1.
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// As in the ledger.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub part: u64,
    /// As in the ledger.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub copy: u64,
    /// The row's `id` as JSON text, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub id: Option<Cow<'a, RawValue>>,
    /// Who says so: an operator, an output's path, or `read`.
    pub by: Cow<'a, str>,
    /// The operator's step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepNumber>,
    /// The stable word for why.
    pub code: Cow<'a, str>,
    /// Why, for people.
    pub message: Cow<'a, str>,
    /// The row as it was read, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Cow<'a, str>>,
    /// Else the row in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_hex: Option<Cow<'a, str>>,
}

impl<'a> QuarantineEntry<'a> {
    /// The entry with the row as it was read: in hexadecimal where it is not UTF-8.
    #[must_use]
    pub fn with_row(mut self, row: &'a [u8]) -> Self {
        match std::str::from_utf8(row) {
            Ok(text) => self.row = Some(text.into()),
            Err(_) => self.row_hex = Some(hex(row).into()),
        }
        self
    }
}

impl Quarantine {
    /// A quarantine that will be written to `path`.
    ///
    /// # Errors
    /// If an earlier process wrote to it and its part cannot be opened.
    ///
    /// Without a path, rows are not kept.
    pub fn open(path: Option<PathBuf>, workspace: &Workspace) -> io::Result<Self> {
        let file = path
            .as_ref()
            .filter(|path| workspace.has_pending(path))
            .map(|path| workspace.pending(path))
            .transpose()?;
        Ok(Self {
            path,
            workspace: workspace.clone(),
            file,
        })
    }

    /// Where it is (or would be).
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("the quarantine"))
    }

    /// Sets a row aside.
    ///
    /// # Errors
    /// If the file cannot be made or written.
    pub fn push(&mut self, entry: &QuarantineEntry<'_>) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(self.workspace.pending(path)?),
        };
        file.write_all(&line)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        match (&mut self.file, &self.path) {
            (Some(file), Some(path)) => sync_pending(file, path, lengths),
            _ => Ok(()),
        }
    }

    /// The file, if a row was set aside; nothing can be set aside any more.
    #[must_use]
    pub fn take(&mut self) -> Option<PendingFile> {
        self.file.take()
    }
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// The first row of a code, and how many there are.
#[derive(Debug, Clone)]
pub struct Example {
    /// The first.
    pub entry: QuarantineEntry<'static>,
    /// How many.
    pub rows: u64,
}

/// One row for each code of the quarantine at `path`, in the order in which they first stand there.
///
/// # Errors
/// If it cannot be read.
pub fn examples(path: &Path) -> Result<Vec<Example>, RecordError> {
    let mut found: Vec<Example> = Vec::new();
    let mut records = Records::<QuarantineEntry<'static>>::open(path)?;
    while let Some(entry) = records.next_record()? {
        match found.iter_mut().find(|one| one.entry.code == entry.code) {
            Some(one) => one.rows += 1,
            None => found.push(Example { entry, rows: 1 }),
        }
    }
    Ok(found)
}
