//! Rows that are done when their worker is done with them: where rows are in order they are no more
//! than added up, and what was written for them is handed on in one piece.

use std::ops::Range;

use smallvec::SmallVec;

use super::row::{BatchResult, Rendered, RowEnd, RowResult};
use crate::exec::spill::KeyedRows;
use crate::note::Codes;
use crate::op::Decision;
use crate::record::{Fate, LedgerEntry, StepNumber};
use crate::sample::as_text;

/// Rows one after the other that reached every output, or that filters dropped; or rows that
/// reached every output unless they are duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many of [`BatchResult::rows`] come before them.
    pub behind: usize,
    /// Rows that every output writes.
    pub kept: u64,
    /// Rows that filters dropped, by step.
    pub dropped: SmallVec<[(usize, u64); 1]>,
    /// Their framed records in [`BatchResult::rendered`], by output.
    pub records: SmallVec<[Range<usize>; 1]>,
    /// Their lines of [`BatchResult::stats`].
    pub stats: Range<usize>,
    /// Their entries in [`BatchResult::kept`].
    pub ledger: Range<usize>,
    /// Which of [`BatchResult::candidates`] they are, if they may be duplicates.
    pub candidates: Range<usize>,
}

/// Rows that reached every output unless they are duplicates, as columns: one entry a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// What they are known by.
    pub keys: KeyedRows,
    /// Where the record of the row ends in [`BatchResult::rendered`], one entry an output.
    pub record_ends: Vec<usize>,
    /// Where its line of [`BatchResult::stats`] ends, and its entry in [`BatchResult::kept`].
    pub line_ends: Vec<(usize, usize)>,
}

impl Settled {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let dropped = self.dropped.iter().map(|(_, rows)| rows);
        self.kept + dropped.sum::<u64>()
    }

    /// Of rows that may be duplicates, the next ones: what was written for `rows` of
    /// [`BatchResult::candidates`], which is taken off the front.
    pub fn take_candidates(&mut self, rows: Range<usize>, candidates: &Candidates) -> Self {
        let outputs = self.records.len();
        let last = rows.end.saturating_sub(1);
        let records = self.records.iter_mut().enumerate().map(|(output, left)| {
            let end = candidates.record_ends.get(last * outputs + output);
            let start = left.start;
            left.start = end.copied().unwrap_or(start);
            start..left.start
        });
        let records = records.collect();
        let ends = candidates.line_ends.get(last).copied();
        let (stats, ledger) = ends.unwrap_or((self.stats.start, self.ledger.start));
        Self {
            behind: self.behind,
            kept: rows.len() as u64,
            dropped: SmallVec::new(),
            records,
            stats: std::mem::replace(&mut self.stats.start, stats)..stats,
            ledger: std::mem::replace(&mut self.ledger.start, ledger)..ledger,
            candidates: 0..0,
        }
    }

    /// Takes in the rows that follow, if what was written for them follows, too. Nobody asks for
    /// their keys any more.
    pub fn join(&mut self, next: &Self) -> bool {
        let meets = |range: &Range<usize>, next: &Range<usize>| range.end == next.start;
        let follows = meets(&self.stats, &next.stats)
            && meets(&self.ledger, &next.ledger)
            && self.records.len() == next.records.len()
            && self
                .records
                .iter()
                .zip(&next.records)
                .all(|(a, b)| meets(a, b));
        if !follows {
            return false;
        }
        self.kept += next.kept;
        for &(step, rows) in &next.dropped {
            self.count_dropped(step, rows);
        }
        self.stats.end = next.stats.end;
        self.ledger.end = next.ledger.end;
        for (range, next) in self.records.iter_mut().zip(&next.records) {
            range.end = next.end;
        }
        true
    }

    fn count_dropped(&mut self, step: usize, rows: u64) {
        match self.dropped.iter_mut().find(|(known, _)| *known == step) {
            Some((_, count)) => *count += rows,
            None => self.dropped.push((step, rows)),
        }
    }
}

/// How far the buffers of a batch are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::exec) struct Mark {
    records: SmallVec<[usize; 1]>,
    stats: usize,
    ledger: usize,
}

impl Mark {
    /// Where the buffers of `batch` end.
    pub(super) fn of(batch: &BatchResult) -> Self {
        Self {
            records: batch.rendered.iter().map(Vec::len).collect(),
            stats: batch.stats.len(),
            ledger: batch.kept.len(),
        }
    }
}

impl RowResult {
    /// Whether nobody has a say in what becomes of the row, unless it is a duplicate.
    pub(super) fn is_plain(&self) -> bool {
        let ends = match &self.end {
            RowEnd::Alive => {
                let written = |record: &Rendered| matches!(record, Rendered::Bytes(_));
                // What was noted of a row stands in the entry of a duplicate.
                self.rendered.iter().all(written)
                    && (self.exact.is_empty() || self.remarked.is_empty())
            }
            // It may stand for its duplicates.
            RowEnd::Dropped(..) => self.exact.is_empty(),
            RowEnd::Failed(..) => false,
        };
        ends && self.traces.is_empty() && self.produced.is_empty() && self.copies.is_empty()
    }
}

impl BatchResult {
    /// Adds a row that [`RowResult::is_plain`], for which all is written that is to be written.
    pub(super) fn settle(&mut self, row: &RowResult) {
        let behind = self.rows.len();
        let (kept, dropped) = match &row.end {
            RowEnd::Dropped(step, _) => (0, Some(*step)),
            _ => (1, None),
        };
        let first = self.candidates.keys.count();
        if !row.exact.is_empty() {
            let columns = &mut self.candidates;
            columns.keys.push(row.origin.offset, &row.exact);
            columns
                .record_ends
                .extend(self.rendered.iter().map(Vec::len));
            columns.line_ends.push((self.stats.len(), self.kept.len()));
        }
        let candidates = first..self.candidates.keys.count();
        if let Some(last) = self.settled.last_mut()
            && last.candidates.is_empty() == candidates.is_empty()
            && last.behind == behind
        {
            if !candidates.is_empty() {
                last.candidates.end = candidates.end;
            }
            last.kept += kept;
            if let Some(step) = dropped {
                last.count_dropped(step, 1);
            }
            last.stats.end = self.stats.len();
            last.ledger.end = self.kept.len();
            for (range, buffer) in last.records.iter_mut().zip(&self.rendered) {
                range.end = buffer.len();
            }
            return;
        }
        let mark = match self.settled.last() {
            Some(last) if last.behind == behind => Mark {
                records: last.records.iter().map(|range| range.end).collect(),
                stats: last.stats.end,
                ledger: last.ledger.end,
            },
            _ => self.mark.clone(),
        };
        let records = mark.records.iter().copied().chain(std::iter::repeat(0));
        self.settled.push(Settled {
            behind,
            kept,
            dropped: dropped.map(|step| (step, 1)).into_iter().collect(),
            records: records
                .zip(&self.rendered)
                .map(|(start, buffer)| start..buffer.len())
                .collect(),
            stats: mark.stats..self.stats.len(),
            ledger: mark.ledger..self.kept.len(),
            candidates,
        });
    }
}

/// What a step noted of a row.
#[must_use]
pub fn noted_at(remarked: &[(usize, Codes)], step: usize) -> Codes {
    let mut of_step = remarked.iter().filter(|(at, _)| *at == step);
    of_step
        .next()
        .map_or_else(Codes::default, |(_, codes)| *codes)
}

/// The entry of a row that a filter dropped; `entry` says which row, `by` the filter and its step.
#[must_use]
pub fn decided_entry<'e>(
    entry: LedgerEntry<'e>,
    by: (&'e str, StepNumber),
    decision: &'e Decision,
    noted: Codes,
) -> LedgerEntry<'e> {
    LedgerEntry {
        fate: Fate::Dropped,
        by: Some(by.0.into()),
        step: Some(by.1),
        stat: Some(decision.stat.as_ref().into()),
        value: Some(as_text(decision.value.to_json())),
        limit: Some(decision.limit.as_str().into()),
        notes: noted.iter().collect(),
        ..entry
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::sample::{Origin, StatValue};

    /// A batch after a row that wrote `record`, and ended as `end` says.
    fn add(batch: &mut BatchResult, record: &str, end: RowEnd, keys: &[(usize, u128)]) {
        for buffer in &mut batch.rendered {
            buffer.extend_from_slice(record.as_bytes());
        }
        batch.kept.push(b'l');
        let row = RowResult {
            end,
            exact: keys.iter().copied().collect(),
            ..RowResult::unread(Origin::default())
        };
        if row.is_plain() {
            batch.settle(&row);
        } else {
            batch.push(row);
        }
    }

    fn dropped(step: usize) -> RowEnd {
        RowEnd::Dropped(
            step,
            Box::new(Decision {
                stat: "text_len".into(),
                value: StatValue::Int(3),
                limit: "at least 4".into(),
            }),
        )
    }

    #[test]
    fn rows_are_added_up_between_those_that_are_not() {
        let mut batch = BatchResult {
            rendered: smallvec![Vec::new(), Vec::new()],
            ..BatchResult::default()
        };
        add(&mut batch, "ab", RowEnd::Alive, &[]);
        add(&mut batch, "", dropped(3), &[]);
        add(&mut batch, "c", RowEnd::Alive, &[]);
        // It may be a duplicate.
        add(&mut batch, "def", RowEnd::Alive, &[(1, 7)]);
        add(&mut batch, "xy", RowEnd::Alive, &[(1, 9), (2, 9)]);
        add(&mut batch, "z", RowEnd::Alive, &[(1, 7)]);
        add(&mut batch, "g", RowEnd::Alive, &[]);
        // It may stand for others: nobody adds it up.
        add(&mut batch, "", dropped(3), &[(1, 8)]);
        add(&mut batch, "h", RowEnd::Alive, &[]);
        let found: Vec<_> = batch
            .settled
            .iter()
            .map(|rows| {
                (
                    rows.behind,
                    rows.kept,
                    rows.records.to_vec(),
                    rows.ledger.clone(),
                )
            })
            .collect();
        let both = |range: Range<usize>| vec![range.clone(), range];
        assert_eq!(
            found,
            [
                (0, 2, both(0..3), 0..3),
                (0, 3, both(3..9), 3..6),
                (0, 1, both(9..10), 6..7),
                (1, 1, both(10..11), 8..9),
            ]
        );
        // Of those that may be duplicates each is known by itself.
        assert_eq!(batch.settled[1].candidates, 0..3);
        let keys: Vec<_> = (0..3).map(|row| batch.candidates.keys.of(row)).collect();
        assert_eq!(keys, [&[(1, 7)][..], &[(1, 9), (2, 9)], &[(1, 7)]]);
        let mut left = batch.settled[1].clone();
        let pieces = [0..1, 1..2, 2..3].map(|rows| {
            let piece = left.take_candidates(rows, &batch.candidates);
            (piece.kept, piece.records.to_vec(), piece.ledger)
        });
        assert_eq!(
            pieces,
            [
                (1, both(3..6), 3..4),
                (1, both(6..8), 4..5),
                (1, both(8..9), 5..6),
            ]
        );
        assert_eq!(batch.rows.len(), 1);
        assert_eq!(batch.settled[0].dropped.to_vec(), [(3, 1)]);
        // Where they follow each other they are one, else they are not.
        let [mut first, second, third, last] = batch.settled.try_into().unwrap();
        assert!(first.join(&second) && first.join(&third) && !first.join(&last));
        assert_eq!((first.kept, first.records.to_vec()), (6, both(0..10)));
    }
}
