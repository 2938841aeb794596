//! What tasks leave for the ordered step: the outcome of their batches, in input order.
//!
//! A part is what the worker threads of a single run hand to its ordered step, written down. The
//! ordered step reads parts one after the other and does with each batch what it always does, so
//! that nothing is decided in two ways.

mod wire;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::exec::stage::{BatchResult, PartPlace};
use crate::exec::{RunError, write_error};
use crate::io::atomic::Keep;
use crate::io::source::InputSummary;
use crate::io::workspace::{Lengths, next_block};
use crate::io::{Log, Workspace};
use crate::record::ServiceRecord;
use wire::Decoder;

/// Parts whose files are brought before the first of them is read.
const AHEAD: usize = 16;

/// The name of the file of a part.
const NAME: &str = "part";

/// What a task left: where its files lie, and what they hold.
#[derive(Debug, Clone)]
pub struct Part {
    /// The directory of its files.
    pub directory: PathBuf,
    /// How long these are, and their digests.
    pub lengths: Lengths,
    /// Who has them, if they may not be in the directory.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
}

impl Part {
    /// Opens one of its files, of which little is read: what it holds is not looked at. Whoever reads it
    /// holds what was read against a digest of its own.
    ///
    /// # Errors
    /// If it cannot be had, or has another length.
    pub fn pieces(&self, name: &str) -> io::Result<Box<dyn Pieces>> {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.pieces(self, name),
            None => Ok(Box::new(Log::unproved(
                &self.directory,
                name,
                &self.lengths,
            )?)),
        }
    }
}

/// Who has the files of parts.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// Brings the file `name` of each of `parts` to where it is said to be.
    ///
    /// # Errors
    /// If one cannot be had, or is not as it should be.
    fn bring(&self, parts: &[Part], name: &str) -> io::Result<()>;

    /// Opens a file where it is.
    ///
    /// # Errors
    /// If it cannot be had, or has another length.
    fn pieces(&self, part: &Part, name: &str) -> io::Result<Box<dyn Pieces>>;
}

/// A file of which some is read.
pub trait Pieces {
    /// Reads exactly `buffer` from byte `at` on.
    ///
    /// # Errors
    /// If the file is shorter or cannot be read.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;

    /// The error that what was read of it is not what was written.
    fn damaged(&self, what: &str) -> io::Error;
}

impl Pieces for Log {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        Self::read_exact_at(self, buffer, at)
    }

    fn damaged(&self, what: &str) -> io::Error {
        Self::damaged(self, what)
    }
}

/// Brings the file `name` of each of `parts` to where it is said to be, unless it is there.
///
/// # Errors
/// If one cannot be had, or is not as it should be.
pub fn bring(parts: &[Part], name: &str) -> io::Result<()> {
    let elsewhere = parts.first().and_then(|part| part.elsewhere.as_ref());
    elsewhere.map_or(Ok(()), |elsewhere| elsewhere.bring(parts, name))
}

/// All parts of a phase.
#[expect(
    clippy::struct_field_names,
    reason = "the parts, beside what concerns them all"
)]
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Them, in input order.
    pub parts: Vec<Part>,
    /// What was read of the inputs, of the phase that reads them.
    pub summaries: Option<Vec<InputSummary>>,
    /// What steps asked up to the end of the phase.
    pub services: Vec<ServiceRecord>,
}

/// Writes a part.
pub struct PartWriter {
    log: Log,
    directory: PathBuf,
    block: Vec<u8>,
}

impl PartWriter {
    /// A new part in `directory`.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn create(directory: &Path) -> io::Result<Self> {
        let files = Workspace::kept(directory.to_owned(), Lengths::new(), Keep::default());
        Ok(Self {
            log: files.log(NAME)?,
            directory: directory.to_owned(),
            block: Vec::new(),
        })
    }

    /// Appends a batch.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, batch: &BatchResult) -> io::Result<()> {
        self.block.clear();
        wire::encode(batch, &mut self.block)?;
        self.log.append_block(&self.block)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn finish(mut self) -> io::Result<Part> {
        let mut lengths = Lengths::new();
        self.log.sync(&mut lengths)?;
        Ok(Part {
            directory: self.directory,
            lengths,
            elsewhere: None,
        })
    }
}

impl Parts {
    /// Hands the batches behind `from` to `consume`, each with the place behind it.
    ///
    /// # Errors
    /// If a part holds something else than its record says, or whatever `consume` says.
    pub fn replay(
        &self,
        from: PartPlace,
        consume: impl FnMut(BatchResult, PartPlace) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        self.read(Decoder::default(), from, consume)
    }

    /// The same with all batches, which have of their rows no more than keys and records for exchanges.
    ///
    /// # Errors
    /// As [`Parts::replay`].
    pub fn replay_keys(
        &self,
        consume: impl FnMut(BatchResult, PartPlace) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        self.read(Decoder::of_keys(), PartPlace::default(), consume)
    }

    fn read(
        &self,
        mut decoder: Decoder,
        from: PartPlace,
        mut consume: impl FnMut(BatchResult, PartPlace) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        for (number, part) in self.parts.iter().enumerate().skip(from.part) {
            let failed = |e| write_error(part.directory.display(), e);
            if (number - from.part).is_multiple_of(AHEAD) {
                let next = self.parts.get(number..).unwrap_or_default();
                let next = next.get(..AHEAD).unwrap_or(next);
                bring(next, NAME).map_err(failed)?;
            }
            let mut log = Log::sealed(&part.directory, NAME, &part.lengths).map_err(failed)?;
            let mut blocks = log.replay().map_err(failed)?;
            let done = if number == from.part { from.batches } else { 0 };
            let mut block = Vec::new();
            let mut batches = 0;
            while next_block(&mut blocks, &mut block).map_err(failed)? {
                batches += 1;
                if batches <= done {
                    continue;
                }
                let other = || failed(io::Error::other("no batch that this djr wrote"));
                let batch = decoder.decode(&block).ok_or_else(other)?;
                let place = PartPlace {
                    part: number,
                    batches,
                };
                consume(batch, place)?;
            }
        }
        Ok(())
    }
}
