//! What other values of the bounds of one filter would leave, of rows whose stats are stored.
//!
//! The filter itself is asked ([`Filter::decide_within`]), with all of its stats and with its other
//! bounds as they are: so a value leaves as many rows as a run with that value.

use serde_json::{Map, Value};

use crate::exec::stats_from_json;
use crate::op::{BoundParam, Bounds, Filter, Operator, Verdict};
use crate::recipe::{Problems, RecipeSpec, Step};
use crate::record::counts::FromData;

/// One filter of a stored recipe, and values of its bounds that are tried.
pub struct Trial {
    step: Step,
    /// Its ranges as they were.
    ranges: Vec<Bounds>,
    /// Stats are rounded before it decides.
    rounds: bool,
    tries: Vec<Try>,
    rows: u64,
}

/// A value of a bound.
struct Try {
    param: &'static str,
    value: f64,
    ranges: Vec<Bounds>,
    passed: u64,
}

impl Trial {
    /// Step number `index` (from 0) of `recipe`, with the values `found` of bounds that came from
    /// the data; `None` if it is no filter that decides by its stats.
    ///
    /// # Errors
    /// If the operator cannot be built any more: a file that it reads is gone, say.
    pub fn open(
        recipe: &RecipeSpec,
        index: usize,
        found: &[FromData],
    ) -> Result<Option<Self>, Problems> {
        let alone = RecipeSpec {
            steps: recipe.steps.get(index).cloned().into_iter().collect(),
            outputs: Vec::new(),
            ..recipe.clone()
        };
        let built = alone.build()?;
        let rounds = built.rounds_stats();
        let Some(step) = built.steps.into_iter().next() else {
            return Ok(None);
        };
        let Operator::Filter(filter) = &step.operator else {
            return Ok(None);
        };
        if !step.spec.decides_by_stats() {
            return Ok(None);
        }
        let values = || {
            found
                .iter()
                .map(|found| (found.param.as_str(), found.value))
        };
        let ranges = filter
            .bounds()
            .iter()
            .map(|range| range.with_found(values()));
        // What a run found among rows was not in the wrong order.
        let ranges = ranges.collect::<Result<Vec<_>, _>>().unwrap_or_default();
        Ok(Some(Self {
            ranges,
            rounds,
            tries: Vec::new(),
            rows: 0,
            step,
        }))
    }

    /// The bound that is called `param`.
    #[must_use]
    pub fn bound(&self, param: &str) -> Option<BoundParam> {
        self.step.spec.bound(param).map(|(_, bound)| bound)
    }

    fn filter(&self) -> Option<&dyn Filter> {
        match &self.step.operator {
            Operator::Filter(filter) => Some(filter.as_ref()),
            _ => None,
        }
    }

    /// Tries `values` for `param`. One that a recipe could not have is left out: it would be above
    /// the upper bound, say, or the filter has no range for it.
    pub fn add(&mut self, param: &str, values: &[f64]) {
        let Some((stat, bound)) = self.step.spec.bound(param) else {
            return;
        };
        let has_range = self.ranges.iter().any(|range| *range.stat() == stat.name);
        for value in values.iter().filter(|_| has_range) {
            let written = Map::from_iter([(bound.param.to_owned(), bound.write(*value))]);
            let Some(value) = bound.value(&written) else {
                continue;
            };
            let moved = [(bound.param, Some(value))];
            let ranges = self.ranges.iter().map(|range| range.with_found(moved));
            if let Ok(ranges) = ranges.collect() {
                self.tries.push(Try {
                    param: bound.param,
                    value,
                    ranges,
                    passed: 0,
                });
            }
        }
    }

    /// Counts a row by its stored stats; one that lacks a stat of the filter is passed over.
    pub fn see(&mut self, stored: &Map<String, Value>) {
        let mut own = Map::new();
        for stat in &self.step.spec.stats {
            match stored.get(stat.name.as_ref()) {
                Some(value) => drop(own.insert(stat.name.clone().into_owned(), value.clone())),
                None if stat.beside => {}
                None => return,
            }
        }
        let mut stats = stats_from_json(Value::Object(own));
        if self.rounds {
            stats.remeasure();
        }
        self.rows += 1;
        let mut tries = std::mem::take(&mut self.tries);
        if let Some(filter) = self.filter() {
            for tried in &mut tries {
                let kept = filter.decide_within(&tried.ranges, &stats) == Verdict::Keep;
                tried.passed += u64::from(kept);
            }
        }
        self.tries = tries;
    }

    /// How many rows were counted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The values of `param`, and how many rows each leaves, `keep` included.
    #[must_use]
    pub fn left(&self, param: &str) -> Vec<(f64, u64)> {
        let kept = |passed: u64| match &self.step.base.keep {
            None => passed,
            Some(keep) => {
                let ranked = keep.of(usize::try_from(passed).unwrap_or(usize::MAX));
                ranked.saturating_sub(keep.skipped()) as u64
            }
        };
        let tries = self.tries.iter().filter(|tried| tried.param == param);
        tries
            .map(|tried| (tried.value, kept(tried.passed)))
            .collect()
    }
}
