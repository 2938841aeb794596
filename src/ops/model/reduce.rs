//! How scores become the stat.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::transformers::{Reduce, cosine, mean};

/// How the scores of a chunk's images become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReduceMode {
    /// Their mean.
    #[default]
    Avg,
    /// The greatest.
    Max,
    /// The least.
    Min,
}

impl ReduceMode {
    /// Numbers of 64 bits as one, as Python reduces them; `None` if there are none.
    #[must_use]
    pub fn of(self, values: &[f64]) -> Option<f64> {
        match self {
            Self::Avg => mean(values.iter().copied()),
            Self::Max => values.iter().copied().reduce(f64::max),
            Self::Min => values.iter().copied().reduce(f64::min),
        }
    }
}

impl From<ReduceMode> for Reduce {
    fn from(mode: ReduceMode) -> Self {
        match mode {
            ReduceMode::Avg => Self::Avg,
            ReduceMode::Max => Self::Max,
            ReduceMode::Min => Self::Min,
        }
    }
}

/// The cosine of two features, with the 32 bits that torch gives it.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "torch gives 32 bits")]
pub fn cosine_of(one: &[f32], other: &[f32]) -> f64 {
    f64::from(cosine(one, other) as f32)
}
