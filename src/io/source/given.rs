//! Rows that the program which djr is a library of hands in: one by one, or as a table.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::columns::ColumnReader;
use super::columns::table::{Table, TableBatches};
use super::format::{FoundRow, Place};
use super::{Reading, RowReader, Source, SourceError, Split, keep_start, too_long};

type Rows = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// Rows from an iterator, each the bytes of a JSON object, or those of a table. They have the
/// identities that they would have as the lines of a file, or as the rows of a column file; those of
/// an iterator can be read once only.
#[derive(Clone)]
pub struct GivenRows {
    name: Arc<str>,
    rows: Given,
    reading: Arc<Reading>,
}

/// How rows are handed in.
#[derive(Clone)]
enum Given {
    /// One by one.
    Once(Arc<Mutex<Option<Rows>>>),
    /// In memory as a whole.
    Table(Arc<Table>),
}

impl GivenRows {
    /// The rows of `rows`, called `name` in messages and records.
    #[must_use]
    pub fn new<I>(name: &str, rows: I) -> Self
    where
        I: IntoIterator<Item = Vec<u8>>,
        I::IntoIter: Send + 'static,
    {
        let rows: Rows = Box::new(rows.into_iter());
        Self {
            name: name.into(),
            rows: Given::Once(Arc::new(Mutex::new(Some(rows)))),
            reading: Arc::default(),
        }
    }

    /// The rows of `table`, called `name` in messages and records.
    #[must_use]
    pub fn table(name: &str, table: Arc<Table>) -> Self {
        Self {
            name: name.into(),
            rows: Given::Table(table),
            reading: Arc::default(),
        }
    }

    /// Rows that were handed in once and are there no more.
    #[must_use]
    pub fn gone(name: &str) -> Self {
        Self {
            name: name.into(),
            rows: Given::Once(Arc::default()),
            reading: Arc::default(),
        }
    }

    /// The same rows, whose columns are understood as `reading` says.
    #[must_use]
    pub fn read_as(self, reading: Arc<Reading>) -> Self {
        Self { reading, ..self }
    }

    /// How its columns are understood.
    #[must_use]
    pub fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    /// The table, if they are one.
    #[must_use]
    pub fn as_table(&self) -> Option<&Arc<Table>> {
        match &self.rows {
            Given::Once(_) => None,
            Given::Table(table) => Some(table),
        }
    }
}

impl fmt::Debug for GivenRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GivenRows").field(&self.name).finish()
    }
}

impl PartialEq for GivenRows {
    fn eq(&self, other: &Self) -> bool {
        match (&self.rows, &other.rows) {
            (Given::Once(one), Given::Once(other)) => Arc::ptr_eq(one, other),
            (Given::Table(one), Given::Table(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for GivenRows {}

impl Source for GivenRows {
    fn name(&self) -> String {
        self.name.as_ref().to_owned()
    }

    fn open(&self, split: Split) -> Result<Box<dyn RowReader>, SourceError> {
        let failed = |error| SourceError::Io {
            name: self.name(),
            error,
        };
        let rows = match &self.rows {
            Given::Once(rows) => rows,
            Given::Table(table) => {
                let batches = Box::new(TableBatches::new(Arc::clone(table)));
                let rows = ColumnReader::new(batches, &self.reading).map_err(failed)?;
                return split.of(Box::new(rows)).map_err(failed);
            }
        };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = rows
            .take()
            .ok_or_else(|| failed(io::Error::other("rows that are handed in can be read once")))?;
        let reader = GivenReader {
            rows,
            place: Place::default(),
        };
        split.of(Box::new(reader)).map_err(failed)
    }
}

struct GivenReader {
    rows: Rows,
    place: Place,
}

impl RowReader for GivenReader {
    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        for row in self.rows.by_ref() {
            let offset = self.place.bytes;
            self.place.bytes += row.len() as u64 + 1;
            self.place.rows += 1;
            if row.trim_ascii().is_empty() {
                continue;
            }
            let start = data.len();
            let long = row.len() > limit;
            // A row that stands over several lines would be several in a file of lines.
            data.extend(row.iter().map(|byte| match byte {
                b'\n' | b'\r' => b' ',
                other => *other,
            }));
            if long {
                keep_start(data, start);
            }
            let problem = long.then(|| too_long(row.len() as u64, limit));
            return Ok(Some(FoundRow::plain(offset, self.place.rows, problem)));
        }
        Ok(None)
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        self.next(&mut Vec::new(), usize::MAX)
    }

    fn place(&self) -> Place {
        self.place
    }

    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        while self.place < place && self.pass()?.is_some() {}
        Ok(())
    }

    fn extent(&self) -> u64 {
        self.place.bytes
    }
}
