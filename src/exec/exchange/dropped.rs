//! What is entered of rows that an exchange dropped: they are read back from where they were set
//! aside, by all threads, and entered by one.

use std::io;
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use rayon::ThreadPool;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};

use super::Records;
use super::stage::FailedKey;
use crate::exec::accounting::{Accounting, Last};
use crate::exec::spill::store::{self, Store};
use crate::exec::stage::{Trace, noted_at};
use crate::exec::{RunError, write_error};
use crate::note::Codes;
use crate::sample::{ImageContext, Origin};

/// What is told of a row: where it is from, its `id`, its trace if one is wanted, and what the step
/// noted of it.
pub(super) type Told = (Origin, Option<CompactString>, Option<Trace>, Codes);

/// How many dropped rows are read back together at most.
pub(super) const ROWS: usize = 1 << 13;

/// How many bytes of them, unless one row has more.
pub(super) const BYTES: usize = 1 << 22;

/// What the frame of a row that `step` drops tells of it; with a trace if the step is traced.
///
/// # Errors
/// Never for a frame of a store.
pub(super) fn told_by(
    frame: &[u8],
    (step, traced): (usize, bool),
    context: &Arc<ImageContext>,
) -> io::Result<Told> {
    let (sample, _) = store::decode(frame, context)?;
    let trace = traced.then(|| Trace::dropped(step, &sample));
    Ok((
        sample.origin(),
        sample.raw_json("id").map(Into::into),
        trace,
        noted_at(&sample.remarked, step),
    ))
}

/// Where rows that an exchange dropped are read back from.
pub struct Dropped<'d> {
    /// The step that dropped them.
    pub step: usize,
    /// The rows that were set aside.
    pub store: &'d Store,
    /// Those of them that could not be.
    pub failed: &'d HashMap<u32, FailedKey>,
    /// Whether the step is traced.
    pub traced: bool,
}

impl Dropped<'_> {
    /// Enters `dropped` into the account, in input order, each with the row that it duplicates, if that is
    /// why; `records` say why else.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn record(
        &self,
        dropped: &[(u32, Option<u32>)],
        records: &dyn Records,
        pool: &ThreadPool,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        let step = self.step;
        accounting.count_dropped(step, dropped.len() as u64);
        if accounting.ledger.is_none() && !accounting.keeps_ended() {
            return Ok(());
        }
        let unreadable = |e| write_error("rows set aside on disk", e);
        let mut last = Vec::new();
        let mut rest = dropped;
        while !rest.is_empty() {
            let (some, later) = rest.split_at(self.together(rest));
            rest = later;
            let all = self.tell_all(some, pool).map_err(unreadable)?;
            for (&(ordinal, _), ((origin, id, trace, noted), duplicate_of)) in some.iter().zip(all)
            {
                accounting.traced(&trace);
                let id = id.as_deref();
                match records.decision(ordinal).map_err(unreadable)? {
                    Some(decision) => {
                        accounting.record_decided(step, origin, id, &decision, noted)?;
                    }
                    None => accounting.record_dropped(step, origin, id, duplicate_of, noted)?,
                }
                if !accounting.keeps_ended() {
                    continue;
                }
                if let Some(row) = self.failed.get(&ordinal) {
                    accounting.keep_ended(Last::Line(row.origin, &row.verbatim))?;
                    continue;
                }
                self.store.read(ordinal, &mut last).map_err(unreadable)?;
                accounting.keep_ended(Last::Frame(&last))?;
            }
        }
        Ok(())
    }

    /// How many of `rows`, one at least, are read back together.
    fn together(&self, rows: &[(u32, Option<u32>)]) -> usize {
        let mut bytes = 0;
        let fits = |(row, _): &&(u32, Option<u32>)| {
            bytes += self.store.size(*row);
            bytes <= BYTES
        };
        rows.iter().take(ROWS).take_while(fits).count().max(1)
    }

    /// What is told of row `ordinal`; `frame` is room for it.
    fn tell(
        &self,
        ordinal: u32,
        context: &Arc<ImageContext>,
        frame: &mut Vec<u8>,
    ) -> io::Result<Told> {
        // A row whose key fails further on in the group was not stored.
        if let Some(row) = self.failed.get(&ordinal) {
            return Ok((row.origin, row.id.clone(), None, Codes::default()));
        }
        self.store.read(ordinal, frame)?;
        told_by(frame, (self.step, self.traced), context)
    }

    /// The identity of row `ordinal`.
    fn identity(&self, ordinal: u32) -> io::Result<u64> {
        match self.failed.get(&ordinal) {
            Some(row) => Ok(row.origin.offset),
            None => self.store.identity(ordinal),
        }
    }

    /// What is told of `rows`, each with the identity of the row that it duplicates, if it does.
    fn tell_all(
        &self,
        rows: &[(u32, Option<u32>)],
        pool: &ThreadPool,
    ) -> io::Result<Vec<(Told, Option<u64>)>> {
        let room = || (Arc::new(ImageContext::default()), Vec::new());
        pool.install(|| {
            let told = rows.par_iter().with_min_len(64);
            let told = told.map_init(room, |(context, frame), &(row, first)| {
                let first = first.map(|first| self.identity(first)).transpose()?;
                Ok((self.tell(row, context, frame)?, first))
            });
            told.collect()
        })
    }
}
