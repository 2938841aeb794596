//! The standard input as a source. It can be read once only.

use std::io;

use super::bytes::Origin;
use super::opened::Opened;
use super::{Reading, RowReader, Source, SourceError, Split};

/// The standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdinSource;

impl StdinSource {
    /// Finds out what it is.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    pub fn look(self) -> Result<Opened, SourceError> {
        let origin = Origin::Stream(Box::new(io::stdin()));
        let opened = Opened::new(&self.name(), "", origin, &Reading::default())?;
        if opened.format().is_binary() {
            return Err(SourceError::Foreign {
                name: self.name(),
                what: format!("{} on standard input", opened.format().name()),
            });
        }
        Ok(opened)
    }
}

impl Source for StdinSource {
    fn name(&self) -> String {
        "<stdin>".into()
    }

    fn open(&self, split: Split) -> Result<Box<dyn RowReader>, SourceError> {
        let rows = self.look()?.rows(&Reading::default());
        rows.and_then(|rows| split.of(rows))
            .map_err(|error| SourceError::Io {
                name: self.name(),
                error,
            })
    }
}
