//! The record of a subset that was copied unread: no run, but its file is an output all the same.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FileRecord, RunFiles};
use crate::io::PendingFile;

/// What lies in the directory of an output that was copied.
#[derive(Debug, Serialize, Deserialize)]
pub struct CopiedRecord {
    /// The directory, absolute: the file and its record may have been moved together since.
    pub run_dir: PathBuf,
    /// The file.
    pub outputs: Vec<FileRecord>,
}

impl CopiedRecord {
    /// Where it is, of an output; `None` if that has no name.
    #[must_use]
    pub fn place(output: &Path) -> Option<PathBuf> {
        Some(RunFiles::of_output(output)?.copied())
    }

    /// Writes the record of `file`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(file: FileRecord) -> io::Result<()> {
        let file = FileRecord {
            path: std::path::absolute(&file.path)?,
            ..file
        };
        let Some(place) = Self::place(&file.path) else {
            return Ok(());
        };
        let record = Self {
            run_dir: place.parent().unwrap_or(Path::new("")).to_owned(),
            outputs: vec![file],
        };
        let mut out = PendingFile::create(&place)?;
        serde_json::to_writer_pretty(&mut out, &record).map_err(io::Error::from)?;
        io::Write::write_all(&mut out, b"\n")?;
        out.commit()?;
        Ok(())
    }
}
