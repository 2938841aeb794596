//! Deduplicators: keep the first row of each group, in input order.

use super::ImageNeed;
use crate::sample::{RowError, Sample};

/// Drops a row whose key an earlier row had. Keys are computed in parallel and admitted in input
/// order.
pub trait ExactDeduplicator: Send + Sync {
    /// The row's 128-bit key; `None` means the row is always kept (no image to compare, say).
    ///
    /// # Errors
    /// Whatever makes the row impossible to hash; it is quarantined.
    fn key(&self, sample: &Sample) -> Result<Option<u128>, RowError>;

    /// How far it needs images decoded.
    fn image_need(&self) -> ImageNeed {
        ImageNeed::None
    }
}

/// Near-duplicate detection by keys: each row yields a fixed number of 64-bit keys (LSH bands, or
/// one fingerprint), and [`BandDeduplicator::cluster`] joins rows by them.
pub trait BandDeduplicator: Send + Sync {
    /// How many keys each row yields.
    fn bands(&self) -> usize;

    /// Appends exactly [`BandDeduplicator::bands`] keys of the row to `out`.
    ///
    /// # Errors
    /// Whatever makes the row impossible to hash; it is quarantined (and `out` is discarded).
    fn keys(&self, sample: &Sample, out: &mut Vec<u64>) -> Result<(), RowError>;

    /// Joins rows one band at a time. `column` holds the keys of one band, one a row, in row
    /// order; it is called for band 0, 1, … and all joins go to the same `clusters`.
    fn cluster(&self, column: &[u64], clusters: &mut Clusters);
}

/// Disjoint sets of row indices; the smallest index of a set represents it, so the outcome does
/// not depend on the order of the joins.
#[derive(Debug, Clone)]
pub struct Clusters {
    parent: Vec<u32>,
}

impl Clusters {
    /// `rows` sets of one row each.
    ///
    /// # Panics
    /// Never: the executor refuses more than 2^32 rows at a barrier before it gets here.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self {
            parent: (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect(),
        }
    }

    /// The smallest row joined with `row`.
    pub fn find(&mut self, row: u32) -> u32 {
        let mut root = row;
        while let Some(&up) = self.parent.get(root as usize) {
            if up == root {
                break;
            }
            root = up;
        }
        let mut at = row;
        while at != root {
            match self.parent.get_mut(at as usize) {
                Some(slot) => at = std::mem::replace(slot, root),
                None => break,
            }
        }
        root
    }

    /// Joins all rows that have the same key in `column` (one key a row, in row order). Sorts
    /// 16 bytes a row, so the outcome and the time depend on nothing but the keys.
    pub fn join_equal(&mut self, column: &[u64]) {
        let mut keyed: Vec<(u64, u32)> = column.iter().copied().zip(0..).collect();
        keyed.sort_unstable();
        for pair in keyed.windows(2) {
            if let [(a, first), (b, second)] = *pair {
                if a == b {
                    self.join(first, second);
                }
            }
        }
    }

    /// Puts the sets of `a` and `b` together.
    pub fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        if let Some(slot) = self.parent.get_mut(high as usize) {
            *slot = low;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Clusters;

    #[test]
    fn equal_keys_of_any_band_join_and_the_first_row_stands_for_all() {
        let mut clusters = Clusters::new(5);
        clusters.join_equal(&[7, 8, 9, 8, 6]);
        clusters.join_equal(&[1, 2, 3, 4, 4]);
        let found: Vec<u32> = (0..5).map(|row| clusters.find(row)).collect();
        assert_eq!(found, [0, 1, 2, 1, 1]);
    }
}
