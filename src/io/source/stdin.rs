//! The standard input as a source. It can be read once only.

use std::io;

use super::bytes::Origin;
use super::opened::Opened;
use super::{RowReader, Source, SourceError, Split};

/// The standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdinSource;

impl StdinSource {
    /// Finds out what it is.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    pub fn look(self) -> Result<Opened, SourceError> {
        Opened::new(&self.name(), "", Origin::Stream(Box::new(io::stdin())))
    }
}

impl Source for StdinSource {
    fn name(&self) -> String {
        "<stdin>".into()
    }

    fn open(&self, split: Split) -> Result<Box<dyn RowReader>, SourceError> {
        split
            .of(self.look()?.rows())
            .map_err(|error| SourceError::Io {
                name: self.name(),
                error,
            })
    }
}
