//! Filters: measure a row, then keep or drop it by what was measured.

use smallvec::{SmallVec, smallvec};

use super::{ImageNeed, Side};
use crate::sample::{RowError, Sample, StatKey, StatValue, Stats};

/// The values a filter measured, in the order of [`Filter::stats`].
pub type Measured = SmallVec<[StatValue; 2]>;

/// Why a filter dropped a row: the stat, its value, and the bound it broke.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The stat that decided, e.g. `text_len`.
    pub stat: StatKey,
    /// What was measured.
    pub value: StatValue,
    /// The bound as the recipe says it, e.g. `min_len: 10`.
    pub limit: String,
}

/// A filter's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The row stays.
    Keep,
    /// The row goes.
    Drop(Box<Decision>),
}

impl Verdict {
    /// Drop because `stat` is `value`, which breaks `limit`.
    pub fn drop(stat: impl Into<StatKey>, value: StatValue, limit: impl Into<String>) -> Self {
        Self::Drop(Box::new(Decision {
            stat: stat.into(),
            value,
            limit: limit.into(),
        }))
    }
}

/// Measures one row; decides from the measures alone.
///
/// The two halves are apart so that present stats are reused, stats can be re-cut without the
/// data, and a report can show value against limit.
pub trait Filter: Send + Sync {
    /// The stats it writes, in order. The row is measured only if one of them is missing.
    fn stats(&self) -> &[StatKey];

    /// Measures the row: one value for each of [`Filter::stats`].
    ///
    /// # Errors
    /// Whatever makes the row impossible to measure; it is quarantined.
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError>;

    /// Keeps or drops by the stats, which include those of [`Filter::stats`].
    fn decide(&self, stats: &Stats) -> Verdict;

    /// Keeps or drops a row that is measured. Only a filter that measures nothing, because all it
    /// asks is what a field of the row says, has its own way; it cannot be re-cut without the data.
    ///
    /// # Errors
    /// Whatever makes the row impossible to judge; it is quarantined.
    fn decide_row(&self, sample: &Sample) -> Result<Verdict, RowError> {
        Ok(self.decide(&sample.stats))
    }

    /// Whether measuring looks at stats that other filters wrote, so that it must come after them.
    fn reads_stats(&self) -> bool {
        false
    }

    /// The field of the row that names its input's suffix, if it asks for one: rows that lack it get
    /// it before the first step.
    fn suffix_field(&self) -> Option<&'static str> {
        None
    }

    /// The stat that the bound `param` is held against; `None` if the filter has no such bound. One
    /// that measures a single stat holds all its bounds against it.
    fn bound_stat(&self, param: &str) -> Option<&StatKey> {
        match self.stats() {
            [only] => Side::of(param).map(|_| only),
            _ => None,
        }
    }

    /// The numbers that the stat `key` of a row counts as where bounds are concerned: one, or one
    /// an image.
    fn numbers(&self, stats: &Stats, key: &str) -> SmallVec<[f64; 2]> {
        let Some(value) = stats.get(key) else {
            return SmallVec::new();
        };
        match value.as_f64() {
            Some(number) => smallvec![number],
            None => value.as_list().unwrap_or_default(),
        }
    }

    /// How far it needs images decoded.
    fn image_need(&self) -> ImageNeed {
        ImageNeed::None
    }
}
