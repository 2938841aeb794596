//! Operators that compare vectors which a model makes, or has made, of rows.

use super::{Answer, Asks};
use crate::sample::{RowError, Sample};

/// What is done by vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VectorRule {
    /// Rows are joined, directly or through others, whose cosine is at least so much (above 0), and one
    /// of each set stays. All pairs are compared.
    Join(f32),
    /// So many rows stay that are far from each other: the first row that has a vector, then again and
    /// again the one whose greatest cosine to those that stay is least, of equal ones the first (Gonzalez
    /// 1985). Rows without a vector come last.
    Spread(u64),
}

/// An operator that compares rows by vectors of length 1.
pub trait VectorOperator: Send + Sync {
    /// Numbers in a vector.
    fn dims(&self) -> usize;

    /// What is done by them.
    fn rule(&self) -> VectorRule;

    /// Who makes the vectors; `None` if rows have them.
    fn asks(&self) -> Option<&dyn Asks>;

    /// The row's vector by what was answered, [`VectorOperator::dims`] numbers of norm 1; `None` for a
    /// row that has nothing to compare.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    fn vector(&self, sample: &Sample, answers: &[Answer]) -> Result<Option<Vec<f32>>, RowError>;
}
