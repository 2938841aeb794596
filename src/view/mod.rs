//! Looking at what runs and analyses left: the difference of two runs or outputs, and the HTML
//! report. Nothing here runs operators or prints.

pub mod cuts;
pub mod diff;
pub mod gather;
pub mod histogram;
pub mod html;
pub mod rows;
pub mod serve;
pub mod texts;
pub mod thumb;

use std::io;

use crate::io::{Input, LineSource, RawBatch};
use crate::record::RecordError;
use crate::sample::Origin;

/// Something to be looked at is not there or not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// What a run left cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Rows cannot be read.
    #[error("{0}")]
    Source(String),
    /// A file is not what its name says.
    #[error("{path}: {message}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

impl ViewError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Record(record) => record.hint(),
            _ => None,
        }
    }

    /// The file that it is about, where it is about one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Record(record) => Some(record.path()),
            Self::Source(_) => None,
            Self::Format { path, .. } | Self::Write { path, .. } => Some(path),
        }
    }

    pub(crate) fn format(path: impl std::fmt::Display, message: impl Into<String>) -> Self {
        Self::Format {
            path: path.to_string(),
            message: message.into(),
        }
    }

    pub(crate) fn write(path: impl std::fmt::Display, error: io::Error) -> Self {
        Self::Write {
            path: path.to_string(),
            error,
        }
    }
}

/// Rows of files, one after the other, with where they came from.
pub(crate) struct RowReader {
    source: LineSource,
    batch: RawBatch,
    at: usize,
}

impl RowReader {
    /// A reader over `inputs`, laid end to end.
    pub(crate) fn new(inputs: Vec<Input>) -> Self {
        Self {
            source: LineSource::new(inputs),
            batch: RawBatch::default(),
            at: 0,
        }
    }

    /// The next row.
    pub(crate) fn next(&mut self) -> Result<Option<(Origin, Vec<u8>)>, ViewError> {
        if self.at >= self.batch.lines.len() {
            let next = self.source.next_batch(1024, 1 << 20);
            let Some(batch) = next.map_err(|e| ViewError::Source(e.to_string()))? else {
                return Ok(None);
            };
            self.batch = batch;
            self.at = 0;
        }
        let Some(line) = self.batch.lines.get(self.at) else {
            return Ok(None);
        };
        self.at += 1;
        Ok(Some((line.origin, self.batch.bytes(line).to_vec())))
    }
}
