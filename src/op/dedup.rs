//! Deduplicators: keep the first row of each group, in input order.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;

use super::{Answer, Asks};
use crate::hash::pairs_within;
use crate::sample::{RowError, Sample};

/// Drops a row whose key an earlier row had. Keys are computed in parallel and admitted in input
/// order.
pub trait ExactDeduplicator: Send + Sync {
    /// The row's 128-bit key; `None` means the row is always kept (no image to compare, say).
    ///
    /// # Errors
    /// Whatever makes the row impossible to hash; it is quarantined.
    fn key(&self, sample: &Sample) -> Result<Option<u128>, RowError>;

    /// The deduplicator as one that asks a service, if it does.
    fn asks(&self) -> Option<&dyn Asks> {
        None
    }

    /// The row's key by what the service answered, in the order of the requests.
    ///
    /// # Errors
    /// As [`ExactDeduplicator::key`].
    fn key_of_answers(
        &self,
        sample: &Sample,
        _answers: &[Answer],
    ) -> Result<Option<u128>, RowError> {
        self.key(sample)
    }
}

/// Near-duplicate detection by keys: each row yields a fixed number of 64-bit keys (LSH bands, or
/// one fingerprint), and [`BandDeduplicator::cluster`] joins rows by them.
pub trait BandDeduplicator: Send + Sync {
    /// How many keys each row yields.
    fn bands(&self) -> usize;

    /// Appends exactly [`BandDeduplicator::bands`] keys of the row to `out`, and behind them its
    /// sketch, if there is one.
    ///
    /// # Errors
    /// Whatever makes the row impossible to hash; it is quarantined (and `out` is discarded).
    fn keys(&self, sample: &Sample, out: &mut Vec<u64>) -> Result<(), RowError>;

    /// Whether band 0 only parts the rows: rows are joined by the other bands, within those that
    /// have the same key there; a row with 0 there is always kept.
    fn parted(&self) -> bool {
        false
    }

    /// Whether rows that bands join are held against each other before one goes for the other: then
    /// each has a sketch behind its keys, of any length.
    fn verifies(&self) -> bool {
        false
    }

    /// Whether one of two rows with these sketches goes for the other.
    fn alike(&self, a: &[u64], b: &[u64]) -> bool {
        a == b
    }

    /// Which keys of a band join their rows.
    fn joins(&self) -> Joins;

    /// Joins rows one band at a time. `column` holds the keys of one band, one a row, in row
    /// order; it is called for band 0, 1, … and all joins go to the same `clusters`. Threads of the run's
    /// pool may be used.
    fn cluster(&self, column: &[u64], clusters: &Clusters) {
        match self.joins() {
            Joins::Equal { alone } => clusters.join_equal_but(column, alone),
            Joins::Within(distance) => clusters.join_near(column, distance),
        }
    }
}

/// Which keys of a band join their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joins {
    /// Equal ones.
    Equal {
        /// But for this one, which joins none.
        alone: Option<u64>,
    },
    /// Those that differ in at most so many of their 64 bits.
    Within(u32),
}

/// Disjoint sets of row indices; the smallest index of a set represents it, so the outcome does
/// not depend on the order of the joins. Threads may join at once, without waiting for each other: only
/// what represents a set is ever joined to another, by one comparison and exchange (Anderson and Woll,
/// "Wait-free parallel algorithms for the union-find problem", 1991).
#[derive(Debug)]
pub struct Clusters {
    parent: Vec<AtomicU32>,
}

impl Clusters {
    /// `rows` sets of one row each: no more than 2^32, the executor refuses more at an exchange.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self {
            parent: (0..u32::try_from(rows).unwrap_or(u32::MAX))
                .map(AtomicU32::new)
                .collect(),
        }
    }

    /// The smallest row joined with `row`.
    #[must_use]
    pub fn find(&self, row: u32) -> u32 {
        let mut at = row;
        while let Some(slot) = self.parent.get(at as usize) {
            let up = slot.load(Relaxed);
            if up == at {
                break;
            }
            // Who represents nothing never will again, so that any row further up may stand here.
            let above = self.above(up);
            slot.store(above, Relaxed);
            at = above;
        }
        at
    }

    /// Where `row` was joined to; itself if it represents its set.
    fn above(&self, row: u32) -> u32 {
        let slot = self.parent.get(row as usize);
        slot.map_or(row, |slot| slot.load(Relaxed))
    }

    /// The smallest row joined with each one, in row order.
    #[must_use]
    pub fn heads(&self) -> Vec<u32> {
        let rows = u32::try_from(self.parent.len()).unwrap_or(u32::MAX);
        (0..rows)
            .into_par_iter()
            .map(|row| self.find(row))
            .collect()
    }

    /// Joins all rows that have the same key in `column` (one key a row, in row order). Each row
    /// is joined with the first one of its key; the outcome depends on nothing but the keys.
    pub fn join_equal(&self, column: &[u64]) {
        self.join_equal_but(column, None);
    }

    /// The same, but rows whose key is `alone` are joined with none.
    ///
    /// Keys are cut into parts by their hashes, so that the table of a part stays in the caches of a
    /// processor, and all is done by all threads of the pool in whose work this is called: pieces of
    /// the column are sorted by part, then the parts are looked through. It takes some 16 bytes a row.
    pub fn join_equal_but(&self, column: &[u64], alone: Option<u64>) {
        let parts = (column.len() / PART_ROWS).next_power_of_two();
        let pieces = rayon::current_num_threads() * 2;
        let piece = column.len().div_ceil(pieces).max(PART_ROWS);
        let sorted = column.par_chunks(piece).enumerate();
        let sorted = sorted.map(|(number, keys)| {
            let rows = u32::try_from(number * piece).unwrap_or(u32::MAX)..;
            let rows = keys.iter().copied().zip(rows);
            ByPart::new(rows.filter(|(key, _)| Some(*key) != alone), parts)
        });
        let sorted: Vec<ByPart> = sorted.collect();
        (0..parts).into_par_iter().for_each(|part| {
            let rows: Vec<_> = sorted
                .iter()
                .flat_map(|piece| piece.of(part))
                .copied()
                .collect();
            self.join_same(&rows, parts.trailing_zeros());
        });
    }

    /// Joins each row that has the key of an earlier one with the first that has it. The upper `bits`
    /// of all mixed keys are the same.
    fn join_same(&self, rows: &[(u64, u32)], bits: u32) {
        let slots = (rows.len() * 2).next_power_of_two().max(2);
        let mut firsts = vec![NO_ROW; slots];
        for (&(key, row), place) in rows.iter().zip(0..) {
            let upper = (mixed(key) << bits) >> (64 - slots.trailing_zeros());
            let mut at = usize::try_from(upper).unwrap_or_default();
            while let Some(slot) = firsts.get_mut(at % slots) {
                match rows.get(*slot as usize) {
                    None => {
                        *slot = place;
                        break;
                    }
                    Some(&(known, first)) if known == key => {
                        self.join(first, row);
                        break;
                    }
                    Some(_) => at += 1,
                }
            }
        }
    }

    /// Joins the rows whose keys in `column` differ in at most `distance` of their 64 bits, directly
    /// or through others.
    pub fn join_near(&self, column: &[u64], distance: u32) {
        self.join_equal(column);
        let mut firsts: Vec<(u64, u32)> = column.iter().copied().zip(0..).collect();
        firsts.sort_unstable();
        firsts.dedup_by_key(|(key, _)| *key);
        let keys: Vec<u64> = firsts.iter().map(|(key, _)| *key).collect();
        pairs_within(&keys, distance, |a, b| {
            if let (Some((_, a)), Some((_, b))) = (firsts.get(a), firsts.get(b)) {
                self.join(*a, *b);
            }
        });
    }

    /// Lets `join` work on the rows of each part by themselves; 0 in `parts` is no part.
    pub fn join_within(&self, parts: &[u64], column: &[u64], mut join: impl FnMut(&[u64], &Self)) {
        let mut rows: Vec<(u64, u64, u32)> = parts
            .iter()
            .zip(column)
            .zip(0..)
            .filter(|((part, _), _)| **part != 0)
            .map(|((part, key), row)| (*part, *key, row))
            .collect();
        rows.sort_unstable_by_key(|(part, _, row)| (*part, *row));
        for part in rows.chunk_by(|(a, ..), (b, ..)| a == b) {
            let keys: Vec<u64> = part.iter().map(|(_, key, _)| *key).collect();
            let inner = Self::new(keys.len());
            join(&keys, &inner);
            for ((_, _, row), at) in part.iter().zip(0..) {
                if let Some((_, _, first)) = part.get(inner.find(at) as usize) {
                    self.join(*first, *row);
                }
            }
        }
    }

    /// Puts the sets of `a` and `b` together.
    pub fn join(&self, a: u32, b: u32) {
        loop {
            let (a, b) = (self.find(a), self.find(b));
            let (low, high) = (a.min(b), a.max(b));
            let Some(slot) = self.parent.get(high as usize).filter(|_| low < high) else {
                return;
            };
            // It stands for its set no longer if another thread was faster: then for what it does now.
            if slot.compare_exchange(high, low, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }
}

/// About how many rows are looked through with one table.
const PART_ROWS: usize = 1 << 14;

/// An empty slot of a table of rows.
const NO_ROW: u32 = u32::MAX;

/// Rows with their keys, sorted by the part that a key falls to.
struct ByPart {
    rows: Vec<(u64, u32)>,
    /// Where each part ends.
    ends: Vec<usize>,
}

impl ByPart {
    /// Those of `rows`, in their order within each of the `parts`, a power of two.
    fn new(rows: impl Iterator<Item = (u64, u32)> + Clone, parts: usize) -> Self {
        let bits = parts.trailing_zeros();
        let part_of = |key: u64| mixed(key).checked_shr(64 - bits).unwrap_or_default();
        let part_of = |key: u64| usize::try_from(part_of(key)).unwrap_or_default();
        let mut ends = vec![0_usize; parts];
        for (key, _) in rows.clone() {
            if let Some(count) = ends.get_mut(part_of(key)) {
                *count += 1;
            }
        }
        // Where each part begins, which becomes where it ends as it is filled.
        let mut all = 0;
        for end in &mut ends {
            all += std::mem::replace(end, all);
        }
        let mut sorted = vec![(0, 0); all];
        for (key, row) in rows {
            if let Some(end) = ends.get_mut(part_of(key)) {
                if let Some(slot) = sorted.get_mut(*end) {
                    *slot = (key, row);
                }
                *end += 1;
            }
        }
        Self { rows: sorted, ends }
    }

    /// The rows of `part`.
    fn of(&self, part: usize) -> &[(u64, u32)] {
        let end = |part: usize| self.ends.get(part).copied();
        let start = part.checked_sub(1).and_then(end).unwrap_or(0);
        let range = end(part).and_then(|end| self.rows.get(start..end));
        range.unwrap_or_default()
    }
}

/// A product with 2^64 divided by the golden ratio, whose upper bits are spread for keys that differ
/// in few bits.
fn mixed(key: u64) -> u64 {
    (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::Clusters;

    #[test]
    fn a_crowded_table_finds_every_first_row() {
        // Keys that differ in their lowest or highest bits only, each of them twice.
        let keys: Vec<u64> = (0..500u64)
            .map(|k| if k % 2 == 0 { k } else { k << 50 })
            .collect();
        let column = [keys.as_slice(), keys.as_slice()].concat();
        let clusters = Clusters::new(column.len());
        clusters.join_equal(&column);
        for row in 0..500 {
            assert_eq!((clusters.find(row), clusters.find(row + 500)), (row, row));
        }
        clusters.join_equal(&[]);
    }

    proptest::proptest! {
        #[test]
        fn near_keys_join_within_their_part_as_when_all_are_compared(
            rows in proptest::collection::vec((0u64..3, 0u64..3, proptest::collection::vec(0u32..64, 0..6)), 0..40),
            distance in 1u32..=12,
        ) {
            let parts: Vec<u64> = rows.iter().map(|(part, ..)| *part).collect();
            let column: Vec<u64> = rows
                .iter()
                .map(|(_, base, flips)| {
                    let base = base.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    flips.iter().fold(base, |key, bit| key ^ (1 << bit))
                })
                .collect();
            let fast = Clusters::new(column.len());
            fast.join_within(&parts, &column, |keys, inner| inner.join_near(keys, distance));
            let plain = Clusters::new(column.len());
            for (a, (part, key)) in (0..).zip(parts.iter().zip(&column)) {
                for (b, (other_part, other)) in (0..).zip(parts.iter().zip(&column)) {
                    if *part != 0 && part == other_part && (key ^ other).count_ones() <= distance {
                        plain.join(a, b);
                    }
                }
            }
            for row in (0..).take(column.len()) {
                proptest::prop_assert_eq!(fast.find(row), plain.find(row));
            }
        }
    }

    #[test]
    fn equal_keys_of_any_band_join_and_the_first_row_stands_for_all() {
        let clusters = Clusters::new(5);
        clusters.join_equal(&[7, 8, 9, 8, 6]);
        clusters.join_equal(&[1, 2, 3, 4, 4]);
        let found: Vec<u32> = (0..5).map(|row| clusters.find(row)).collect();
        assert_eq!(found, [0, 1, 2, 1, 1]);
    }
}
