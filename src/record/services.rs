//! What services were asked in a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one model or program was asked, and what it ran on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Requests sent to a server, those that failed included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sent: u64,
    /// Answers that had been given before, and were not asked for again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reused: u64,
    /// Answers that the cache had.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_hits: u64,
    /// Answers that were kept in the cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_misses: u64,
    /// Tokens sent to a server, by its count; since the run was begun, whatever it was resumed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_in: u64,
    /// Tokens that it answered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_out: u64,
    /// What they cost, in the money of `price_in` and `price_out`.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub cost: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_nothing(cost: &f64) -> bool {
    *cost == 0.0
}

impl ServiceRecord {
    /// How full its batches were, from 0 to 1; `None` if it was asked nothing.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn fill(&self) -> Option<f64> {
        (self.room > 0).then(|| self.requests as f64 / self.room as f64)
    }

    /// Whether it is a server.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.sent > 0 || self.reused > 0
    }

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

    /// What `earlier` and `now` come to, a service once, where one file of answers counts what both cost.
    #[must_use]
    pub fn sum(earlier: &[Self], now: Vec<Self>) -> Vec<Self> {
        Self::added(earlier, now, |was, record| {
            was.tokens_in = record.tokens_in;
            was.tokens_out = record.tokens_out;
            was.cost = record.cost;
        })
    }

    /// What `earlier` and `now` come to, a service once, where each counts its own cost.
    #[must_use]
    pub fn sum_of_tasks(earlier: &[Self], now: Vec<Self>) -> Vec<Self> {
        Self::added(earlier, now, |was, record| {
            was.tokens_in += record.tokens_in;
            was.tokens_out += record.tokens_out;
            was.cost += record.cost;
        })
    }

    fn added(earlier: &[Self], now: Vec<Self>, add_cost: impl Fn(&mut Self, &Self)) -> Vec<Self> {
        let mut sum = earlier.to_vec();
        for record in now {
            match sum.iter_mut().find(|was| was.service == record.service) {
                Some(was) => {
                    was.requests += record.requests;
                    was.batches += record.batches;
                    was.room += record.room;
                    was.sent += record.sent;
                    was.reused += record.reused;
                    was.cache_hits += record.cache_hits;
                    was.cache_misses += record.cache_misses;
                    add_cost(was, &record);
                }
                None => sum.push(record),
            }
        }
        sum
    }
}
