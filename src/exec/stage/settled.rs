//! Rows that are done when their worker is done with them: where rows are in order they are no more
//! than added up, and what was written for them is handed on in one piece.

use std::ops::Range;

use smallvec::SmallVec;

use super::row::{BatchResult, Rendered, RowEnd, RowResult};
use crate::note::Codes;
use crate::op::Decision;
use crate::record::{Fate, LedgerEntry, StepNumber};
use crate::sample::as_text;

/// Rows one after the other that reached every output, or that filters dropped; or one row that
/// reached every output unless it is a duplicate.
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
    /// Of a row that may be a duplicate, its keys by step, and its offset.
    pub keys: SmallVec<[(usize, u128); 1]>,
    /// The offset of that row.
    pub offset: u64,
}

impl Settled {
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
        let plain = row.exact.is_empty();
        if let Some(last) = self.settled.last_mut()
            && plain
            && last.keys.is_empty()
            && last.behind == behind
        {
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
            keys: row.exact.clone(),
            offset: row.origin.offset,
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
                (0, 1, both(3..6), 3..4),
                (0, 1, both(6..7), 4..5),
                (1, 1, both(7..8), 6..7),
            ]
        );
        assert_eq!(batch.rows.len(), 1);
        assert_eq!(batch.settled[0].dropped.to_vec(), [(3, 1)]);
        // Where they follow each other they are one, else they are not.
        let [mut first, second, third, last] = batch.settled.try_into().unwrap();
        assert!(first.join(&second) && first.join(&third) && !first.join(&last));
        assert_eq!((first.kept, first.records.to_vec()), (4, both(0..7)));
    }
}
