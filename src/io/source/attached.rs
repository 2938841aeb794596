//! The contents of what came with rows, read from the inputs again by whoever needs them.
//!
//! A packed archive is unpacked into a nameless file when the first of its members is asked for.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use bytes::Bytes;

use super::columns::roles::{Role, roles};
use super::columns::{Batches, content_at};
use super::whole::Whole;
use super::{Input, Reading};
use crate::sample::{Attachment, Attachments, Locator};

/// How many inputs are kept open, whether their bytes are theirs or unpacked.
const OPEN: usize = 16;

/// Reads the attachments of the rows of some inputs.
#[derive(Debug)]
pub struct InputAttachments {
    inputs: Vec<Input>,
    /// Those that were asked last come first.
    open: Mutex<VecDeque<(u32, Arc<Whole>)>>,
    /// Columns, those that were asked last first.
    cells: Mutex<VecDeque<(u32, Arc<Mutex<Cells>>)>>,
}

/// The images of a column file, from where they were asked for last.
struct Cells {
    batches: Box<dyn Batches>,
    /// The place of each column of a batch in the file.
    columns: Vec<u32>,
    /// Batches that were read, each with its first row.
    recent: VecDeque<(u64, RecordBatch)>,
    /// The row behind them.
    next: u64,
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Cells {
    fn open(mut batches: Box<dyn Batches>, reading: &Reading) -> io::Result<Self> {
        let schema = batches.schema();
        let all = (0..).zip(roles(&schema, reading));
        let images =
            all.filter(|(_, role)| matches!(role, Role::Image | Role::ImageBytes | Role::Content));
        let columns: Vec<u32> = images.map(|(number, _)| number).collect();
        batches.project(columns.iter().map(|column| *column as usize).collect())?;
        Ok(Self {
            batches,
            columns,
            recent: VecDeque::new(),
            next: 0,
        })
    }

    /// The content of an image.
    fn read(&mut self, row: u64, column: u32, element: u32) -> io::Result<Option<Bytes>> {
        let begun = self.recent.front().map_or(self.next, |(first, _)| *first);
        // What lies far ahead is not read up to, and what lies behind cannot be.
        if row < begun || row > self.next + FAR {
            self.recent.clear();
            self.batches.seek(row)?;
            self.next = row;
        }
        while row >= self.next {
            let Some(batch) = self.batches.next()? else {
                return Ok(None);
            };
            let first = self.next;
            self.next += batch.num_rows() as u64;
            self.recent.push_back((first, batch));
            while self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
        let mut held = self.recent.iter().rev();
        let held = held.find(|(first, _)| *first <= row);
        let place = self.columns.iter().position(|known| *known == column);
        let (Some((first, batch)), Some(place)) = (held, place) else {
            return Ok(None);
        };
        let at = usize::try_from(row - first).unwrap_or(usize::MAX);
        Ok(batch
            .columns()
            .get(place)
            .and_then(|values| content_at(values, at, element)))
    }
}

/// Batches of images that are kept, of about 4 MiB each.
const RECENT: usize = 8;

/// How many rows further a reader reads on instead of beginning anew.
const FAR: u64 = 4096;

impl InputAttachments {
    /// The attachments of the rows of `inputs`.
    #[must_use]
    pub fn new(inputs: Vec<Input>) -> Self {
        Self {
            inputs,
            open: Mutex::default(),
            cells: Mutex::default(),
        }
    }

    /// The images of a column file.
    fn cells(&self, input: u32) -> io::Result<Arc<Mutex<Cells>>> {
        let mut open = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(known, _)| *known == input)
            && let Some(found) = open.remove(at)
        {
            let cells = Arc::clone(&found.1);
            open.push_front(found);
            return Ok(cells);
        }
        let lost = || io::Error::other("its input is not at hand");
        let source = self.inputs.get(input as usize).ok_or_else(lost)?;
        let batches = source.batches()?.ok_or_else(lost)?;
        let cells = Arc::new(Mutex::new(Cells::open(batches, &source.reading())?));
        open.push_front((input, Arc::clone(&cells)));
        open.truncate(OPEN);
        Ok(cells)
    }

    /// A file of the unpacked bytes of an input.
    fn file(&self, input: u32) -> io::Result<Arc<Whole>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(known, _)| *known == input)
            && let Some(found) = open.remove(at)
        {
            let file = Arc::clone(&found.1);
            open.push_front(found);
            return Ok(file);
        }
        let source = self.inputs.get(input as usize);
        let lost = || io::Error::other("its input is not at hand");
        let source = source.ok_or_else(lost)?;
        let opened = source.look().map_err(io::Error::other)?.ok_or_else(lost)?;
        let file = Arc::new(opened.into_bytes().into_whole()?);
        open.push_front((input, Arc::clone(&file)));
        open.truncate(OPEN);
        Ok(file)
    }
}

impl Attachments for InputAttachments {
    fn size(&self, attachment: &Attachment) -> io::Result<u64> {
        match (&attachment.here, attachment.at) {
            (Some(content), _) => Ok(content.len() as u64),
            (None, Locator::Range { size, .. }) => Ok(size),
            (None, Locator::Cell { .. } | Locator::File) => {
                Ok(self.read(attachment, u64::MAX)?.len() as u64)
            }
        }
    }

    fn read(&self, attachment: &Attachment, limit: u64) -> io::Result<Bytes> {
        if let Some(content) = &attachment.here {
            return Ok(content.clone());
        }
        match attachment.at {
            Locator::Range { offset, size } => {
                let size = usize::try_from(size.min(limit)).map_err(io::Error::other)?;
                let mut content = vec![0; size];
                let file = self.file(attachment.input)?;
                file.read_exact_at(&mut content, offset)?;
                Ok(content.into())
            }
            Locator::Cell {
                row,
                column,
                element,
            } => {
                let cells = self.cells(attachment.input)?;
                let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
                let content = cells.read(row, column, element)?;
                content.ok_or_else(|| io::Error::other("its input has no such cell"))
            }
            Locator::File => Err(io::Error::other("its input has no such part")),
        }
    }
}
