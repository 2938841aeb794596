//! The quarantine: rows that could not be processed, verbatim, with the reason.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::io::workspace::{Lengths, sync_pending};
use crate::io::{PendingFile, Workspace};
use crate::report::ledger::is_whole;
use crate::sample::{Origin, RowError};

/// Writes rows that could not be processed; the file exists only if there is one.
pub struct Quarantine {
    path: PathBuf,
    workspace: Workspace,
    file: Option<PendingFile>,
}

#[derive(Serialize)]
struct Record<'a> {
    input: &'a str,
    line: u64,
    offset: u64,
    #[serde(skip_serializing_if = "is_whole")]
    part: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::value::RawValue>,
    stage: &'a str,
    code: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row_hex: Option<String>,
}

impl Quarantine {
    /// A quarantine that will be written to `path`.
    ///
    /// # Errors
    /// If an earlier process wrote to it and its part cannot be opened.
    pub fn open(path: PathBuf, workspace: &Workspace) -> io::Result<Self> {
        let file = workspace
            .has_pending(&path)
            .then(|| workspace.pending(&path))
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
        &self.path
    }

    /// Sets a row aside. A row that is not UTF-8 is written in hexadecimal.
    ///
    /// # Errors
    /// If the file cannot be made or written.
    pub fn push(
        &mut self,
        input: &str,
        origin: Origin,
        id: Option<&serde_json::value::RawValue>,
        stage: &str,
        error: &RowError,
        row: &[u8],
    ) -> io::Result<()> {
        let text = std::str::from_utf8(row).ok();
        let record = Record {
            input,
            line: origin.line,
            offset: origin.offset,
            part: origin.part,
            id,
            stage,
            code: error.code,
            reason: &error.message,
            row: text,
            row_hex: text.is_none().then(|| hex(row)),
        };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(self.workspace.pending(&self.path)?),
        };
        file.write_all(&line)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        match &mut self.file {
            Some(file) => sync_pending(file, &self.path, lengths),
            None => Ok(()),
        }
    }

    /// The file, if a row was set aside; nothing can be set aside any more.
    #[must_use]
    pub fn take(&mut self) -> Option<PendingFile> {
        self.file.take()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}
