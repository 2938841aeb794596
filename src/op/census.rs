//! Censuses: count keys over all rows, then edit or judge each row by what is common.

use hashbrown::{HashMap, HashSet};

use super::Verdict;
use crate::sample::{RowError, Sample};

/// Keys that a census found common, and how often.
pub type Common = HashMap<u128, u64>;

/// What is counted of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counted {
    /// The rows that hold it.
    #[default]
    Rows,
    /// Its different members: the upper 64 bits of what a row gives are the key, the lower ones
    /// a member of it.
    Members,
}

impl Counted {
    /// What a key that a row gave is counted as.
    #[must_use]
    pub fn key(self, given: u128) -> u128 {
        match self {
            Self::Rows => given,
            Self::Members => given >> 64,
        }
    }
}

/// Counts keys.
#[derive(Debug, Default)]
pub struct Tally {
    counted: Counted,
    seen: HashSet<u128>,
    counts: HashMap<u128, u64>,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(counted: Counted) -> Self {
        Self {
            counted,
            ..Self::default()
        }
    }

    /// Counts a key of a row.
    pub fn add(&mut self, given: u128) {
        if self.counted == Counted::Members && !self.seen.insert(given) {
            return;
        }
        *self.counts.entry(self.counted.key(given)).or_default() += 1;
    }

    /// Each key and its count, in no order.
    pub fn into_counts(self) -> impl Iterator<Item = (u128, u64)> {
        self.counts.into_iter()
    }
}

/// Edits or judges rows by what all rows hold. Every row is shown twice: its keys are counted, and
/// once the last row is known it is edited, or dropped.
pub trait Census: Send + Sync {
    /// What is counted of its keys.
    fn counted(&self) -> Counted {
        Counted::Rows
    }

    /// Appends the row's distinct keys to `out`.
    ///
    /// # Errors
    /// Whatever makes the row impossible to read; it is quarantined.
    fn keys(&self, sample: &Sample, out: &mut Vec<u128>) -> Result<(), RowError>;

    /// Whether a key that is counted `count` times among `rows` rows is common.
    fn is_common(&self, count: u64, rows: u64) -> bool;

    /// Edits the row, and keeps or drops it.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn apply(&self, sample: &mut Sample, common: &Common) -> Result<Verdict, RowError>;
}
