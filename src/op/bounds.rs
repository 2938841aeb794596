//! The range test that every filter shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BaseParams, DataLimit, ParamError, Verdict};
use crate::sample::{StatValue, Stats};

/// With several images in a row, whether one or all must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnyOrAll {
    /// One passing image keeps the row.
    #[default]
    Any,
    /// Every image must pass.
    All,
}

impl AnyOrAll {
    /// Combines one answer an image; no image means keep.
    pub fn combine(self, mut passes: impl ExactSizeIterator<Item = bool>) -> bool {
        if passes.len() == 0 {
            return true;
        }
        match self {
            Self::Any => passes.any(|p| p),
            Self::All => passes.all(|p| p),
        }
    }
}

/// A range with Data-Juicer's flags: keep = min ≤ v ≤ max, each end open if its flag says so; a
/// reversed range flips both flags and negates, so that by default it keeps v ≤ min or v ≥ max.
/// NaN is never kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    min: Option<f64>,
    max: Option<f64>,
    min_from: Option<DataLimit>,
    max_from: Option<DataLimit>,
    min_closed: bool,
    max_closed: bool,
    reversed: bool,
    min_name: &'static str,
    max_name: &'static str,
}

impl Bounds {
    /// A range between two optional ends, named as the recipe names them. A bound from the data
    /// that the recipe gives by such a name takes the place of the end.
    ///
    /// # Errors
    /// If it can keep nothing because the lower end lies above the upper one.
    pub fn new(
        (min_name, min): (&'static str, Option<f64>),
        (max_name, max): (&'static str, Option<f64>),
        base: &BaseParams,
    ) -> Result<Self, Vec<ParamError>> {
        let end = |name, given| match base.data_bound(name) {
            Some(bound) => (bound.value, Some(bound.limit)),
            None => (given, None),
        };
        let (min, min_from) = end(min_name, min);
        let (max, max_from) = end(max_name, max);
        if let (Some(low), Some(high), false) = (min, max, base.reversed_range)
            && low > high
        {
            return Err(vec![
                ParamError::new(
                    min_name,
                    format!("{min_name} {low} is above {max_name} {high}: no row can pass"),
                )
                .hint("swap the two bounds, or set reversed_range: true to keep what lies outside"),
            ]);
        }
        let flip = base.reversed_range;
        Ok(Self {
            min,
            max,
            min_from,
            max_from,
            min_closed: base.min_closed_interval != flip,
            max_closed: base.max_closed_interval != flip,
            reversed: flip,
            min_name,
            max_name,
        })
    }

    /// The same for whole numbers.
    ///
    /// # Errors
    /// As [`Bounds::new`].
    #[expect(
        clippy::cast_precision_loss,
        reason = "bounds beyond 2^53 mean no bound"
    )]
    pub fn counts(
        (min_name, min): (&'static str, Option<i64>),
        (max_name, max): (&'static str, Option<i64>),
        base: &BaseParams,
    ) -> Result<Self, Vec<ParamError>> {
        Self::new(
            (min_name, min.map(|v| v as f64)),
            (max_name, max.map(|v| v as f64)),
            base,
        )
    }

    /// Keeps or drops by the single number `stats[key]`. A stat that is missing or not a number
    /// drops the row, as a comparison with NaN would.
    #[must_use]
    pub fn decide(&self, key: &'static str, stats: &Stats) -> Verdict {
        let value = stats.get(key);
        let number = value.and_then(StatValue::as_f64).unwrap_or(f64::NAN);
        if self.keeps(number) {
            return Verdict::Keep;
        }
        let value = value
            .cloned()
            .unwrap_or(StatValue::Json(serde_json::Value::Null));
        Verdict::drop(key, value, self.limit(number))
    }

    /// Keeps or drops by the list `stats[key]`, one number an image. A stat that is missing or
    /// not a list of numbers drops the row.
    #[must_use]
    pub fn decide_list(&self, key: &'static str, stats: &Stats, mode: AnyOrAll) -> Verdict {
        let value = stats.get(key);
        let numbers = value.and_then(StatValue::as_list);
        let kept = numbers
            .as_ref()
            .is_some_and(|numbers| mode.combine(numbers.iter().map(|&number| self.keeps(number))));
        if kept {
            return Verdict::Keep;
        }
        let first = numbers
            .as_ref()
            .and_then(|numbers| numbers.iter().find(|&&number| !self.keeps(number)));
        let limit = self.limit(first.copied().unwrap_or(f64::NAN));
        let value = value.cloned();
        Verdict::drop(
            key,
            value.unwrap_or(StatValue::Json(serde_json::Value::Null)),
            limit,
        )
    }

    /// Whether `value` is kept.
    #[must_use]
    pub fn keeps(&self, value: f64) -> bool {
        if value.is_nan() {
            return false;
        }
        let inside = self.above_min(value) && self.below_max(value);
        inside != self.reversed
    }

    /// The bound that `value` breaks, as the recipe says it: `min_len: 10`.
    #[must_use]
    pub fn limit(&self, value: f64) -> String {
        let shown = |name: &str, bound: Option<f64>, from: Option<DataLimit>| match (bound, from) {
            (Some(bound), Some(from)) => format!("{name}: {bound} ({from})"),
            (Some(bound), None) => format!("{name}: {bound}"),
            (None, _) => format!("{name}: none"),
        };
        let min = || shown(self.min_name, self.min, self.min_from);
        let max = || shown(self.max_name, self.max, self.max_from);
        if self.reversed {
            return format!("outside of {}, {}", min(), max());
        }
        if self.above_min(value) { max() } else { min() }
    }

    #[expect(clippy::float_cmp, reason = "a bound is met exactly or not at all")]
    fn above_min(&self, value: f64) -> bool {
        self.min
            .is_none_or(|min| value > min || (self.min_closed && value == min))
    }

    #[expect(clippy::float_cmp, reason = "a bound is met exactly or not at all")]
    fn below_max(&self, value: f64) -> bool {
        self.max
            .is_none_or(|max| value < max || (self.max_closed && value == max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_closed_unless_said_otherwise() {
        let base = BaseParams::default();
        let range = Bounds::new(("min", Some(1.0)), ("max", Some(2.0)), &base).unwrap();
        assert!(
            range.keeps(1.0) && range.keeps(2.0) && !range.keeps(0.9) && !range.keeps(f64::NAN)
        );
        let open = BaseParams {
            min_closed_interval: false,
            ..BaseParams::default()
        };
        assert!(
            !Bounds::new(("min", Some(1.0)), ("max", None), &open)
                .unwrap()
                .keeps(1.0)
        );
    }

    #[test]
    fn a_reversed_range_keeps_its_ends() {
        let base = BaseParams {
            reversed_range: true,
            ..BaseParams::default()
        };
        let range = Bounds::new(("min", Some(1.0)), ("max", Some(2.0)), &base).unwrap();
        assert!(range.keeps(1.0) && range.keeps(2.0) && !range.keeps(1.5) && range.keeps(9.0));
    }
}
