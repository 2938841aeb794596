//! The last pass: rows go to the outputs, or are set aside to be drawn from.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::draw::Survivors;
use crate::exec::accounting::{Accounting, Last, LateFate};
use crate::exec::checkpoint::{Progress, Remaining};
use crate::exec::error::{output_error, target_name};
use crate::exec::sinks::{self, Caller, Sink, SinkState};
use crate::exec::spill::{ExactKeys, StoreWriter};
use crate::exec::stage::{BatchResult, Candidates, Rendered, RowEnd, RowResult, Settled};
use crate::exec::{RunError, write_error};
use crate::io::workspace::Lengths;
use crate::io::{Input, Workspace};
use crate::recipe::{Of, OutputSpec};

/// The outputs of a run and what their samples will be drawn from.
pub struct OutputStage<'a> {
    specs: &'a [OutputSpec],
    /// Open or complete outputs; samples get theirs when they are drawn.
    pub sinks: Vec<Option<Box<dyn Sink + 'a>>>,
    /// Rows that samples are drawn from; `None` without samples, or once all rows are in.
    pub rows: Option<StoreWriter>,
    /// What became of each row so far, if there are samples.
    pub survivors: Survivors,
    seen: ExactKeys,
}

/// Whether some of `outputs` is a sample of the rows that are left.
#[must_use]
pub fn samples(outputs: &[OutputSpec]) -> bool {
    sampled(outputs).next().is_some()
}

/// Whether rows may come to `outputs` settled ([`Settled`]): each takes framed records, and none is
/// written once all rows are known.
#[must_use]
pub fn takes_settled(outputs: &[OutputSpec]) -> bool {
    let framed = |output: &OutputSpec| !output.is_late() && sinks::takes_framed(output);
    !outputs.is_empty() && outputs.iter().all(framed)
}

/// Whether no output asks for the rows that are left alone, so that one of all rows has them.
#[must_use]
pub fn takes_all(outputs: &[OutputSpec]) -> bool {
    outputs.iter().all(|output| output.of != Of::Kept)
}

/// The samples of the rows that are left, in the order in which marks of rows stand for them.
pub fn sampled(outputs: &[OutputSpec]) -> impl Iterator<Item = &OutputSpec> {
    let outputs = outputs.iter();
    outputs.filter(|output| output.sample.is_some() && output.of == Of::Kept)
}

/// What the worker threads wrote for the rows of a batch.
#[derive(Default)]
struct Buffers {
    rendered: SmallVec<[Vec<u8>; 1]>,
    frames: Vec<u8>,
    stats: Vec<u8>,
    kept: Vec<u8>,
    /// Rows that may be duplicates.
    candidates: Candidates,
}

impl Buffers {
    /// Bytes of a buffer; all of them are handed over, not copied.
    fn take<'b>(buffer: &'b mut Vec<u8>, range: &Range<usize>) -> Cow<'b, [u8]> {
        if *range == (0..buffer.len()) {
            Cow::Owned(std::mem::take(buffer))
        } else {
            Cow::Borrowed(buffer.get(range.clone()).unwrap_or_default())
        }
    }
}

impl<'a> OutputStage<'a> {
    /// Opens the outputs, new or as an earlier process left them; `caller` receives those that go
    /// to it. At most `key_budget` bytes of keys that exact deduplicators have seen are held in
    /// memory.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(
        workspace: &Workspace,
        specs: &'a [OutputSpec],
        states: &[Option<SinkState>],
        key_budget: Option<u64>,
        caller: Option<&Caller<'a>>,
        inputs: &[Input],
    ) -> Result<Self, RunError> {
        let failed = |e| write_error(workspace.directory().display(), e);
        let mut opened = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let state = states.get(index).and_then(Option::as_ref);
            let open = !spec.is_late() || state.is_some();
            let sink = open
                .then(|| sinks::open(index, spec, workspace, state, caller, inputs))
                .transpose()
                .map_err(|e| write_error(target_name(spec), e))?;
            opened.push(sink);
        }
        Ok(Self {
            specs,
            sinks: opened,
            rows: samples(specs)
                .then(|| StoreWriter::open(workspace, "survivors-rows"))
                .transpose()
                .map_err(failed)?,
            survivors: Survivors::open(workspace, specs).map_err(failed)?,
            seen: ExactKeys::open(workspace, "seen-last", key_budget).map_err(failed)?,
        })
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn consume(
        &mut self,
        batch: BatchResult,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        let BatchResult {
            rows,
            settled,
            candidates,
            frames,
            rendered,
            stats,
            kept,
            ..
        } = batch;
        let mut buffers = Buffers {
            rendered,
            frames,
            stats,
            kept,
            candidates,
        };
        let mut settled = settled.into_iter().peekable();
        for (place, mut row) in rows.into_iter().enumerate() {
            let before = std::iter::from_fn(|| settled.next_if(|rows| rows.behind <= place));
            self.settle(before, &mut buffers, accounting)?;
            let frame = row.frame.clone();
            let frame = buffers.frames.get(frame).unwrap_or_default();
            if !accounting.admit(&row, &mut self.seen)? {
                accounting.keep_ended_row(&row, frame)?;
                continue;
            }
            if !matches!(row.end, RowEnd::Alive) {
                accounting.ended(&row)?;
                accounting.keep_ended_row(&row, frame)?;
                continue;
            }
            let stats = buffers.stats.get(row.stats.clone()).unwrap_or_default();
            if self.takes_stats(&row) {
                accounting.write_stats(stats.into())?;
            }
            self.write(&mut row, &buffers, accounting)?;
        }
        self.settle(settled, &mut buffers, accounting)
    }

    /// Writes settled rows, as many together as follow each other.
    fn settle(
        &mut self,
        rows: impl Iterator<Item = Settled>,
        buffers: &mut Buffers,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        let mut joined: Option<Settled> = None;
        for mut rows in rows {
            let mut next = rows.candidates.start;
            let firsts = self
                .seen
                .firsts(&buffers.candidates.keys, rows.candidates.clone())
                .map_err(|e| write_error("keys of rows seen", e))?;
            // The entry of a duplicate stands behind those of the rows before.
            for (number, step, first) in firsts {
                if next < number {
                    let before = rows.take_candidates(next..number, &buffers.candidates);
                    self.join(&mut joined, before, buffers, accounting)?;
                }
                let duplicate = rows.take_candidates(number..number + 1, &buffers.candidates);
                let kept = buffers.kept.get(duplicate.ledger).unwrap_or_default();
                let kept = kept.to_vec();
                if let Some(before) = joined.take() {
                    self.write_settled(&before, buffers, accounting)?;
                }
                accounting.settled_duplicate(step, &kept, first)?;
                next = number + 1;
            }
            if rows.candidates.is_empty() {
                self.join(&mut joined, rows, buffers, accounting)?;
            } else if next < rows.candidates.end {
                let rest = next..rows.candidates.end;
                let rest = rows.take_candidates(rest, &buffers.candidates);
                self.join(&mut joined, rest, buffers, accounting)?;
            }
        }
        match joined {
            Some(joined) => self.write_settled(&joined, buffers, accounting),
            None => Ok(()),
        }
    }

    /// Puts settled rows behind those that wait to be written, or in their place.
    fn join(
        &mut self,
        waiting: &mut Option<Settled>,
        rows: Settled,
        buffers: &mut Buffers,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        let follows = waiting.as_mut().is_some_and(|before| before.join(&rows));
        if !follows && let Some(before) = waiting.replace(rows) {
            self.write_settled(&before, buffers, accounting)?;
        }
        Ok(())
    }

    /// Whether the stats of a row that goes through belong beside the first output: it has the row,
    /// or draws from all of them later.
    fn takes_stats(&self, row: &RowResult) -> bool {
        let late = self.specs.first().is_none_or(OutputSpec::is_late);
        late || matches!(row.rendered.first(), Some(Rendered::Bytes(_)))
    }

    fn write_settled(
        &mut self,
        rows: &Settled,
        buffers: &mut Buffers,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        let outputs = self.sinks.iter_mut().zip(self.specs);
        let records = rows.records.iter().zip(&mut buffers.rendered);
        for ((sink, spec), (range, buffer)) in outputs.zip(records) {
            if let Some(sink) = sink {
                sink.write_framed(Buffers::take(buffer, range), rows.kept)
                    .map_err(|e| output_error(Some(spec), e))?;
            }
        }
        let ledger = Buffers::take(&mut buffers.kept, &rows.ledger);
        let stats = Buffers::take(&mut buffers.stats, &rows.stats);
        accounting.add_settled(rows, ledger, stats)
    }

    fn write(
        &mut self,
        row: &mut RowResult,
        buffers: &Buffers,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        let mut wrote = takes_all(self.specs);
        let mut refused = false;
        let records = std::mem::take(&mut row.rendered);
        let unsampled = self
            .sinks
            .iter_mut()
            .zip(self.specs)
            .enumerate()
            .filter(|(_, (_, spec))| !spec.is_late());
        // Workers render for these outputs only.
        let records = records.into_iter().zip(&buffers.rendered);
        for ((index, (sink, spec)), (record, buffer)) in unsampled.zip(records) {
            match (record, sink) {
                (Rendered::Bytes(range), Some(sink)) => {
                    sink.write(buffer.get(range).unwrap_or_default())
                        .map_err(|e| output_error(Some(spec), e))?;
                    wrote = true;
                }
                (Rendered::Refused(error, verbatim), _) => {
                    refused = true;
                    accounting.refused(index, row.origin, row.id.as_deref(), &error, &verbatim)?;
                }
                (Rendered::Unmatched, _) => accounting.unmatched(index),
                (Rendered::Bytes(_), None) => {}
            }
        }
        let sampled = self.rows.is_some();
        if wrote || sampled {
            accounting.write_produced(row.origin, &row.produced)?;
        }
        if wrote {
            accounting.write_produced(row.origin, &row.copies)?;
        }
        let frame = buffers.frames.get(row.frame.clone()).unwrap_or_default();
        if let Some(store) = &mut self.rows {
            store
                .push(frame)
                .and_then(|_| {
                    let ended = (wrote, refused);
                    self.survivors.push(row.origin.lot(), ended, &row.unwanted)
                })
                .map_err(|e| write_error("rows set aside on disk", e))?;
        }
        accounting.traced(&row.traces);
        if wrote {
            accounting.kept(buffers.kept.get(row.kept.clone()).unwrap_or_default())?;
            accounting.keep_ended(Last::Frame(frame))?;
        } else if !sampled {
            let fate = if refused {
                LateFate::Refused
            } else {
                LateFate::Unmatched
            };
            accounting.settled(row.origin, row.id.as_deref(), fate)?;
            accounting.keep_ended(Last::Frame(frame))?;
        } else if !refused {
            accounting.sound();
        }
        accounting.reached_outputs += 1;
        Ok(())
    }

    /// Makes everything durable and says what is left to do from `at` on.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn left(&mut self, at: &Progress, lengths: &mut Lengths) -> Result<Remaining, RunError> {
        Ok(Remaining::Rows(Progress {
            sinks: self.sync(lengths)?,
            ..at.clone()
        }))
    }

    fn sync(&mut self, lengths: &mut Lengths) -> Result<Vec<Option<SinkState>>, RunError> {
        let failed = |e| write_error("rows set aside on disk", e);
        if let Some(rows) = &mut self.rows {
            rows.sync(lengths).map_err(failed)?;
        }
        self.survivors.sync(lengths).map_err(failed)?;
        self.seen.sync(lengths).map_err(failed)?;
        self.sinks
            .iter_mut()
            .zip(self.specs)
            .map(|(sink, spec)| {
                sink.as_mut()
                    .map(|sink| sink.sync(lengths))
                    .transpose()
                    .map_err(|e| output_error(Some(spec), e))
            })
            .collect()
    }
}
