//! Filters: measure a row, then keep or drop it by what was measured.

use smallvec::{SmallVec, smallvec};

use super::{Answer, Asks, Bounds};
use crate::sample::{RowError, Sample, StatKey, StatValue, Stats};

/// The values a filter measured, in the order of the stats that the filter declares.
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
/// data, and a report can show value against limit. What it measures stands beside its
/// registration ([`super::Facts::stats`]).
pub trait Filter: Send + Sync {
    /// Measures the row: one value for each stat, in the order in which they are declared. The row
    /// is measured only if one of them is missing.
    ///
    /// # Errors
    /// Whatever makes the row impossible to measure; it is quarantined.
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError>;

    /// The filter as one that asks a service, if it does.
    fn asks(&self) -> Option<&dyn Asks> {
        None
    }

    /// As [`Filter::measure`], by what the service answered, in the order of the requests.
    ///
    /// # Errors
    /// As [`Filter::measure`].
    fn measure_answers(&self, sample: &Sample, _: &[Answer]) -> Result<Measured, RowError> {
        self.measure(sample)
    }

    /// Whether what it measures and how it decides is only known where it asks ([`Filter::judge`]).
    fn judges(&self) -> bool {
        false
    }

    /// Of a filter that [`Filter::judges`]: puts what was measured into the row, rounded if `round`,
    /// and keeps or drops it, both by what the service answered.
    ///
    /// # Errors
    /// As [`Filter::measure`].
    fn judge(
        &self,
        sample: &mut Sample,
        _answers: &[Answer],
        _round: bool,
    ) -> Result<Verdict, RowError> {
        self.decide_row(sample)
    }

    /// Fields that its parameters name within a text, beyond those that its facts tell.
    fn fields(&self) -> Vec<String> {
        Vec::new()
    }

    /// The ranges that its bounds make, one a bounded stat. An end that comes from the data is
    /// open in them.
    fn bounds(&self) -> &[Bounds] {
        &[]
    }

    /// Keeps or drops by the stats. `bounds` are those of [`Filter::bounds`], with the values that
    /// were found in the data, if any of them come from there.
    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        Bounds::decide_all(bounds, stats)
    }

    /// Keeps or drops by the stats.
    fn decide(&self, stats: &Stats) -> Verdict {
        self.decide_within(self.bounds(), stats)
    }

    /// Keeps or drops a row that is measured. Only a filter that measures nothing, because all it
    /// asks is what a field of the row says, has its own way; it cannot be re-cut without the data.
    ///
    /// # Errors
    /// Whatever makes the row impossible to judge; it is quarantined.
    fn decide_row(&self, sample: &Sample) -> Result<Verdict, RowError> {
        Ok(self.decide(&sample.stats))
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
}
