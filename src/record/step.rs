//! The number of a step as people count: the first operator of a recipe is step 1.

use std::fmt;
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A step of a recipe, counted from 1. Every record has steps in this form; the program's own
/// tables are indexed from 0, and this type keeps the two apart.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct StepNumber(NonZeroUsize);

impl StepNumber {
    /// The step at this index of `process`.
    #[must_use]
    pub const fn at(index: usize) -> Self {
        Self(NonZeroUsize::MIN.saturating_add(index))
    }

    /// Its index in `process`.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.get() - 1
    }
}

impl fmt::Display for StepNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_one() {
        let first = StepNumber::at(0);
        assert_eq!(serde_json::to_string(&first).unwrap(), "1");
        assert_eq!(first.index(), 0);
        assert!(serde_json::from_str::<StepNumber>("0").is_err());
    }
}
