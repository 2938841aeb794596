//! Censuses: count keys over all rows, then edit each row by what is common.

use hashbrown::HashSet;

use crate::sample::{RowError, Sample};

/// Keys that a census found common.
pub type Common = HashSet<u128>;

/// Edits rows by what all rows hold. Every row is shown twice: its keys are counted, and once the
/// last row is known it is edited.
pub trait Census: Send + Sync {
    /// Appends the row's distinct keys to `out`.
    ///
    /// # Errors
    /// Whatever makes the row impossible to read; it is quarantined.
    fn keys(&self, sample: &Sample, out: &mut Vec<u128>) -> Result<(), RowError>;

    /// Whether a key that `count` of `rows` rows hold is common.
    fn is_common(&self, count: u64, rows: u64) -> bool;

    /// Edits the row.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn apply(&self, sample: &mut Sample, common: &Common) -> Result<(), RowError>;
}
