//! One pass over rows: from their source through the chain to whoever consumes them in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Progress, WaitingBatch, Work};
use super::readahead::Readahead;
use super::row::BatchResult;
use crate::exec::cached_stats::CachedStats;
use crate::exec::driver::{Job, Lanes, Stages, Worked};
use crate::exec::setup::{BATCH_BYTES, limits, with_services};
use crate::exec::spill::store::{Picks, Store};
use crate::exec::{RunError, RunOptions, write_error};
use crate::io::source::InputSummary;
use crate::io::{Input, LineSource, Position};

/// How far a phase has got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Cursor {
    /// It reads the inputs.
    Inputs(Position),
    /// It reads rows of the phase before, and this many of them are done.
    Rows(usize),
    /// It takes what tasks left.
    Parts(PartPlace),
}

/// Where in what tasks left a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartPlace {
    /// The part.
    pub part: usize,
    /// Batches of it that are done.
    pub batches: usize,
}

/// Where a phase reads from.
pub enum Source {
    /// The inputs.
    Inputs(LineSource),
    /// These rows of an earlier phase, from an index on.
    Rows(Arc<Store>, Arc<Picks>, usize),
}

/// A batch that waits, with the place behind it.
pub struct Waiting {
    /// The batch.
    pub batch: WaitingBatch,
    cursor: Cursor,
}

/// How a pass ended.
pub struct Passed {
    /// What was read of each input, if inputs were read.
    pub summaries: Option<Vec<InputSummary>>,
    /// A signal ended it early; what was read until then is consumed.
    pub interrupted: bool,
}

impl Source {
    /// The inputs, from `cursor` on.
    #[must_use]
    pub fn inputs(inputs: &[Input], cursor: Option<&Cursor>) -> Self {
        Self::Inputs(match cursor {
            Some(Cursor::Inputs(position)) => LineSource::resume(inputs.to_vec(), position.clone()),
            _ => LineSource::new(inputs.to_vec()),
        })
    }

    /// Some rows of one of the inputs.
    #[must_use]
    pub fn piece(inputs: &[Input], position: Position, until: Option<u64>) -> Self {
        Self::Inputs(LineSource::piece(inputs, position, until))
    }

    /// Rows of an earlier phase, from `cursor` on.
    #[must_use]
    pub fn rows(store: Arc<Store>, rows: Arc<Picks>, cursor: Option<&Cursor>) -> Self {
        let at = match cursor {
            Some(Cursor::Rows(at)) => *at,
            _ => 0,
        };
        Self::Rows(store, rows, at)
    }

    /// Whether rows come from the inputs.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Inputs(_))
    }
}

/// Reads `source` to its end through `chain`, with the services that its steps ask on `lanes`;
/// `consume` gets the batches in order, each with the place behind it.
///
/// # Errors
/// If an input cannot be read, or whatever `consume` says.
pub fn drive(
    pool: &rayon::ThreadPool,
    options: &RunOptions,
    chain: &Chain<'_>,
    source: Source,
    lanes: &dyn Lanes<Waiting, RunError>,
    mut consume: impl FnMut(BatchResult, Cursor) -> Result<(), RunError>,
) -> Result<Passed, RunError> {
    let (batch_rows, limit) = limits(pool.current_num_threads(), options, chain.decodes());
    let limit = with_services(
        limit,
        batch_rows,
        chain.services().map(|(_, service)| service),
    );
    let mut interrupted = false;
    let mut stop = || {
        interrupted = options.interrupted.load(Ordering::Relaxed);
        interrupted
    };
    let passes = Stages { pool, limit, lanes };
    let work = |job| {
        let (progress, cursor) = match job {
            Job::New((work, cursor)) => (chain.start(work), cursor),
            Job::On(Waiting { batch, cursor }) => (chain.go_on(batch), cursor),
        };
        Some(match progress {
            Progress::Done(result) => Worked::Done((result, cursor)),
            Progress::Waits(batch, bytes) => Worked::Waits(Waiting { batch, cursor }, bytes),
        })
    };
    let consume = |(mut batch, cursor): (BatchResult, Cursor)| {
        if let Some(fault) = batch.fault.take() {
            return Err(RunError::Stored(fault));
        }
        if let Some(error) = batch.unreadable.take() {
            return Err(write_error("rows set aside on disk", error));
        }
        consume(batch, cursor)
    };
    let summaries = match source {
        Source::Inputs(inputs) => {
            let mut inputs = inputs.bounded(chain.longest_row);
            let mut cached = options.cached_stats.as_ref().map(CachedStats::open);
            if let Some(cached) = &mut cached {
                cached.skip(inputs.summaries().iter().map(|read| read.rows).sum())?;
            }
            let readahead = Readahead::start(&chain.context);
            let next = || {
                if stop() {
                    return Ok(None);
                }
                let batch = inputs.next_unwritten(batch_rows, BATCH_BYTES)?;
                let Some(mut batch) = batch else {
                    return Ok(None);
                };
                if let Some(readahead) = &readahead {
                    batch.write_columns();
                    readahead.offer(&batch);
                }
                let rows = batch.rows();
                let cached = cached
                    .as_mut()
                    .map(|cached| cached.next(rows))
                    .transpose()?;
                let size = batch.size();
                let work = Work::Raw(batch, cached);
                Ok(Some(((work, Cursor::Inputs(inputs.position())), size)))
            };
            passes.run(next, work, consume)?;
            Some(inputs.summaries().to_vec())
        }
        Source::Rows(store, picks, mut at) => {
            let next = || {
                if stop() {
                    return Ok(None);
                }
                let rest = picks.rows.get(at..).unwrap_or_default();
                let mut size = 0;
                let count = rest
                    .iter()
                    .take(batch_rows)
                    .take_while(|&&ordinal| {
                        let fits = size < BATCH_BYTES;
                        size += store.size(ordinal);
                        fits
                    })
                    .count();
                let batch = picks.within(at..at + count);
                at += count;
                Ok((count > 0).then(|| {
                    let work = Work::Stored(Arc::clone(&store), batch);
                    ((work, Cursor::Rows(at)), size)
                }))
            };
            passes.run(next, work, consume)?;
            None
        }
    };
    Ok(Passed {
        summaries,
        interrupted,
    })
}
