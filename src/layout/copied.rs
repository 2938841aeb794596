//! The record of a subset that was copied unread: no run, but its file is an output all the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FileRecord, RunFiles};
use crate::io::PendingFile;
use crate::io::lock::{unix_now, utc};

/// What lies in the directory of an output that was copied.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CopiedRecord {
    /// The directory, absolute: the file and its record may have been moved together since.
    pub run_dir: PathBuf,
    /// The file.
    pub outputs: Vec<FileRecord>,
    /// Rows that there were.
    #[serde(default)]
    pub rows_in: u64,
    /// Rows that were copied.
    #[serde(default)]
    pub rows_out: u64,
    /// When it ended, in UTC.
    #[serde(default)]
    pub ended: String,
}

impl CopiedRecord {
    /// The record of `file`, for so many rows of so many.
    ///
    /// # Errors
    /// If the working directory cannot be read.
    pub fn of(file: FileRecord, rows_in: u64, rows_out: u64) -> io::Result<Self> {
        Ok(Self {
            outputs: vec![FileRecord {
                path: std::path::absolute(&file.path)?,
                ..file
            }],
            rows_in,
            rows_out,
            ended: utc(unix_now()),
            ..Self::default()
        })
    }

    /// The record in the directory of an output, if there is one.
    #[must_use]
    pub fn read(files: &RunFiles) -> Option<Self> {
        serde_json::from_slice(&fs::read(files.copied()).ok()?).ok()
    }

    /// Where its file is now, which lies beside `files`, and its record.
    #[must_use]
    pub fn output(&self, files: &RunFiles) -> Option<(PathBuf, &FileRecord)> {
        let file = self.outputs.first()?;
        Some((files.dir.with_file_name(file.path.file_name()?), file))
    }

    /// Whether the file at `path` is one that was copied, and is there with its size.
    #[must_use]
    pub fn is_of(path: &Path) -> bool {
        let Some(files) = RunFiles::of_output(path) else {
            return false;
        };
        let record = Self::read(&files);
        let listed = record.as_ref().and_then(|record| record.output(&files));
        listed.is_some_and(|(place, file)| {
            place == path && fs::metadata(path).is_ok_and(|now| now.len() == file.bytes)
        })
    }

    /// Writes it beside its file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(mut self) -> io::Result<()> {
        let files = self.outputs.first();
        let Some(files) = files.and_then(|file| RunFiles::of_output(&file.path)) else {
            return Ok(());
        };
        self.run_dir.clone_from(&files.dir);
        let mut out = PendingFile::create(&files.copied())?;
        serde_json::to_writer_pretty(&mut out, &self).map_err(io::Error::from)?;
        io::Write::write_all(&mut out, b"\n")?;
        out.commit()?;
        Ok(())
    }
}
