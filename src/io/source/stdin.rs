//! The standard input as a source. It can be read once only; of an archive or a column file what was
//! read is kept, because parts of its rows are asked for again.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_schema::SchemaRef;

use super::bytes::Origin;
use super::opened::Opened;
use super::spooled::Spooled;
use super::{Reading, RowReader, Source, SourceError, Split, is_of_system};

/// What was kept of the standard input, which this process has one of.
static KEPT: OnceLock<Arc<Spooled>> = OnceLock::new();

/// What was looked at and not read.
static SEEN: Mutex<Option<Opened>> = Mutex::new(None);

/// The standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StdinSource {
    /// How it is read.
    pub reading: Arc<Reading>,
}

impl StdinSource {
    /// Finds out what it is.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    pub fn look(&self) -> Result<Opened, SourceError> {
        let open = |origin| Opened::new(&self.name(), "", origin, &self.reading);
        if let Some(kept) = KEPT.get() {
            return open(Origin::Spooled(Arc::clone(kept), 0));
        }
        let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner).take();
        let opened = match seen {
            Some(opened) => opened,
            None => open(Origin::Stream(Box::new(io::stdin())))?,
        };
        if !opened.format().is_read_again() {
            return Ok(opened);
        }
        let kept =
            Spooled::new(Box::new(opened.into_bytes())).map_err(|error| self.failed(error))?;
        open(Origin::Spooled(
            Arc::clone(KEPT.get_or_init(|| Arc::new(kept))),
            0,
        ))
    }

    /// The columns of its rows, if it is a column file. Waits for its first bytes.
    #[must_use]
    pub fn columns(&self) -> Option<SchemaRef> {
        let opened = self.look().ok()?;
        let format = opened.format();
        if format.needs_file() {
            let whole = opened.into_bytes().into_whole().ok()?;
            return Some(format.batches(whole).ok()??.schema());
        }
        if !format.is_read_again() {
            *SEEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        }
        None
    }

    fn failed(&self, error: io::Error) -> SourceError {
        SourceError::Io {
            name: self.name(),
            error,
        }
    }
}

impl Source for StdinSource {
    fn name(&self) -> String {
        "<stdin>".into()
    }

    fn open(&self, split: Split) -> Result<Box<dyn RowReader>, SourceError> {
        let opened = self.look()?;
        let what = opened.format().name();
        let rows = opened.rows(&self.reading);
        rows.and_then(|rows| split.of(rows)).map_err(|error| {
            if is_of_system(&error) {
                return self.failed(error);
            }
            SourceError::Invalid {
                name: self.name(),
                what: format!("{what} that cannot be read"),
                error,
            }
        })
    }
}
