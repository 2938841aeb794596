//! What services were asked in a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one model or program was asked, and what it ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRecord {
    /// Whom it concerns, as the recipe names it.
    pub service: String,
    /// Device and versions, on which the last digits of its answers depend.
    pub runs_on: String,
    /// Requests served.
    pub requests: u64,
    /// Batches that they were served in.
    pub batches: u64,
    /// Requests that these batches have room for: `requests / room` is how full they were.
    pub room: u64,
}

impl ServiceRecord {
    /// Whether it may go on with what `earlier` answered.
    ///
    /// # Errors
    /// If the same service ran on something else: how, in words.
    pub fn check(&self, earlier: &[Self]) -> Result<(), String> {
        let same = earlier.iter().find(|was| was.service == self.service);
        match same {
            Some(was) if was.runs_on != self.runs_on => Err(format!(
                "{} ran on {} and would go on with {}",
                self.service, was.runs_on, self.runs_on
            )),
            _ => Ok(()),
        }
    }

    /// What `earlier` and `now` come to, a service once.
    #[must_use]
    pub fn sum(earlier: &[Self], now: Vec<Self>) -> Vec<Self> {
        let mut sum = earlier.to_vec();
        for record in now {
            match sum.iter_mut().find(|was| was.service == record.service) {
                Some(was) => {
                    was.requests += record.requests;
                    was.batches += record.batches;
                    was.room += record.room;
                }
                None => sum.push(record),
            }
        }
        sum
    }
}
