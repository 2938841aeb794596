//! A share of the rows of several files: those that Data-Juicer draws of a dataset of a mixture.
//!
//! It shuffles a dataset (`datasets.Dataset.shuffle(seed=42)`) and takes so many rows from the
//! front. These are the same rows, in the order of the files. How many rows there are is counted
//! when the first of the files is opened.

use std::io;
use std::sync::{Arc, OnceLock};

use super::format::{FoundRow, Place};
use super::{FileSource, RowReader, Source as _, SourceError, Split};
use crate::hash::NumpyGenerator;
use crate::sample::DATASET;

/// What Data-Juicer shuffles with.
const SEED: u64 = 42;

/// So many rows of some files.
#[derive(Debug)]
pub struct Share {
    files: Vec<FileSource>,
    rows: u64,
    drawn: OnceLock<Result<Rows, String>>,
}

/// The rows of a share.
#[derive(Debug)]
struct Rows {
    /// How many its files have.
    all: u64,
    /// Of each file whether each of its rows is drawn; `None` where all are.
    drawn: Option<Vec<Arc<[bool]>>>,
}

/// One file of a share.
#[derive(Debug, Clone)]
pub struct Drawn {
    share: Arc<Share>,
    number: usize,
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        let parts = |drawn: &Self| (drawn.number, drawn.share.rows);
        parts(self) == parts(other) && self.share.files == other.share.files
    }
}

impl Eq for Drawn {}

/// `files`, of which together so many `rows` are read.
#[must_use]
pub fn share(files: Vec<FileSource>, rows: u64) -> Vec<FileSource> {
    let share = Arc::new(Share {
        files: files.clone(),
        rows,
        drawn: OnceLock::new(),
    });
    let of = |(number, file): (usize, FileSource)| FileSource {
        drawn: Some(Drawn {
            share: Arc::clone(&share),
            number,
        }),
        ..file
    };
    files.into_iter().enumerate().map(of).collect()
}

impl Share {
    fn draw(&self) -> Result<Rows, String> {
        let mut counts = Vec::new();
        for file in &self.files {
            let mut reader = file.open(Split::default()).map_err(|e| e.to_string())?;
            let mut count = 0;
            while reader
                .pass()
                .map_err(|e| format!("{}: {e}", file.name()))?
                .is_some()
            {
                count += 1;
            }
            counts.push(count);
        }
        let all: usize = counts.iter().sum();
        if all as u64 == self.rows {
            return Ok(Rows {
                all: self.rows,
                drawn: None,
            });
        }
        if self.rows > all as u64 {
            return Err(format!(
                "its share of max_sample_num is {} rows, and it has {all}, which Data-Juicer would repeat; \
                 here the step for mixtures does, which numbers the copies: leave weights and max_sample_num \
                 out, and give it by: {DATASET}, shares: {{NAME: WEIGHT}} and repeat_to: ROWS (docs/CURATION.md \
                 shows it)",
                self.rows
            ));
        }
        let all = u32::try_from(all).map_err(|_| "it has too many rows to draw from".to_owned())?;
        let mut drawn: Vec<bool> = vec![false; all as usize];
        let wanted = usize::try_from(self.rows).unwrap_or(usize::MAX);
        for row in NumpyGenerator::new(SEED)
            .permutation(all)
            .into_iter()
            .take(wanted)
        {
            if let Some(slot) = drawn.get_mut(row as usize) {
                *slot = true;
            }
        }
        let mut rest = drawn.as_slice();
        let files = counts.into_iter().map(|count| {
            let (of_file, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = behind;
            Arc::from(of_file)
        });
        Ok(Rows {
            all: u64::from(all),
            drawn: Some(files.collect()),
        })
    }
}

impl Drawn {
    /// How many rows the dataset of `file` has, and how many are drawn of them; its rows are counted if
    /// they are not yet.
    ///
    /// # Errors
    /// As [`Drawn::open`].
    pub fn counts(&self, file: &FileSource) -> Result<(u64, u64), SourceError> {
        let rows = self.rows(file)?;
        Ok((rows.all, self.share.rows))
    }

    fn rows(&self, file: &FileSource) -> Result<&Rows, SourceError> {
        let rows = self.share.drawn.get_or_init(|| self.share.draw());
        rows.as_ref().map_err(|why| SourceError::Invalid {
            name: file.name(),
            what: "this dataset of a mixture cannot be drawn from".to_owned(),
            error: io::Error::other(why.clone()),
        })
    }

    /// The rows of `file` that are drawn.
    ///
    /// # Errors
    /// If a file of the share cannot be read, or they have too few rows.
    pub fn open(&self, file: &FileSource) -> Result<Box<dyn RowReader>, SourceError> {
        let rows = self.rows(file)?;
        let reader = file.open(Split::default())?;
        Ok(match &rows.drawn {
            None => reader,
            Some(files) => Box::new(Chosen {
                reader,
                rows: files.get(self.number).cloned().unwrap_or_default(),
                next: 0,
            }),
        })
    }
}

/// Some of the rows of a reader.
struct Chosen {
    reader: Box<dyn RowReader>,
    rows: Arc<[bool]>,
    next: usize,
}

impl RowReader for Chosen {
    fn begin(&mut self, base: u64) {
        self.reader.begin(base);
    }

    fn next(&mut self, data: &mut Vec<u8>, limit: usize) -> io::Result<Option<FoundRow>> {
        while self.rows.get(self.next) != Some(&true) {
            if self.reader.pass()?.is_none() {
                return Ok(None);
            }
            self.next += 1;
        }
        self.next += 1;
        self.reader.next(data, limit)
    }

    fn pass(&mut self) -> io::Result<Option<FoundRow>> {
        while let Some(row) = self.reader.pass()? {
            self.next += 1;
            let number = self.next - 1;
            if self.rows.get(number) == Some(&true) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn place(&self) -> Place {
        self.reader.place()
    }

    /// The rows on the way are counted.
    fn skip_to(&mut self, place: Place) -> io::Result<()> {
        while self.reader.place() < place && self.reader.pass()?.is_some() {
            self.next += 1;
        }
        Ok(())
    }

    fn preamble(&self) -> u64 {
        self.reader.preamble()
    }

    fn consumed(&self) -> u64 {
        self.reader.consumed()
    }

    fn extent(&self) -> u64 {
        self.reader.extent()
    }
}
