//! How many rows could not be processed, against how many a run allows (`max_quarantine`).

use std::collections::BTreeMap;

use crate::exec::RunError;
use crate::recipe::QuarantineLimit;
use crate::record::counts::Reason;

/// Rows in a row that could not be processed from which on something outside the data is at
/// fault, say an image directory that was unmounted.
const STREAK_LIMIT: u64 = 2000;

/// A share of rows is judged once this many could not be processed.
const JUDGED_FROM: u64 = 1000;

/// Rows that could not be processed, and how many of them came last without a sound one.
pub struct Failures {
    count: u64,
    streak: u64,
    limit: QuarantineLimit,
}

impl Failures {
    /// None so far.
    #[must_use]
    pub fn new(limit: QuarantineLimit) -> Self {
        Self {
            count: 0,
            streak: 0,
            limit,
        }
    }

    /// Goes on from what an earlier process counted.
    pub fn resume(&mut self, count: u64) {
        self.count = count;
    }

    /// Rows that could not be processed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// One row more could not be processed.
    pub fn count_one(&mut self) {
        self.count += 1;
    }

    /// Some step or output failed on the row in hand.
    pub fn extend_streak(&mut self) {
        self.streak += 1;
    }

    /// A row was sound.
    pub fn end_streak(&mut self) {
        self.streak = 0;
    }

    /// Whether the last row failed, and that may end the run.
    #[must_use]
    pub fn in_a_streak(&self) -> bool {
        self.streak > 0 && self.limit != QuarantineLimit::None
    }

    /// Whether `failing` of `rows` rows are as many as the run allows.
    ///
    /// # Errors
    /// [`RunError::TooManyBad`], with the most frequent of `reasons`.
    pub fn check(
        &self,
        failing: u64,
        rows: u64,
        reasons: &BTreeMap<Reason, u64>,
    ) -> Result<(), RunError> {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = || failing as f64 / rows.max(1) as f64;
        let broken = match self.limit {
            QuarantineLimit::None => false,
            QuarantineLimit::Rows(most) => failing > most,
            QuarantineLimit::Share(most) => {
                failing >= JUDGED_FROM && share() > most
                    || self.streak >= STREAK_LIMIT && most < 1.0
            }
        };
        if !broken {
            return Ok(());
        }
        let reasons = reasons.iter().map(|(reason, count)| (reason.code, *count));
        Err(RunError::too_many(
            (failing, rows, self.streak),
            self.limit,
            reasons,
        ))
    }
}
