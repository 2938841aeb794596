//! The range test that every filter shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BaseParams, BoundParam, DataLimit, ParamError, Stat, StatDef, Verdict};
use crate::sample::{StatKey, StatValue, Stats};

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

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
struct End {
    param: Option<&'static str>,
    value: Option<f64>,
    from: Option<DataLimit>,
}

impl End {
    fn new(param: Option<&'static str>, given: Option<f64>, base: &BaseParams) -> Self {
        let from = param.and_then(|param| base.data_limit(param));
        Self {
            param,
            value: given.filter(|_| from.is_none()),
            from,
        }
    }

    /// As the recipe says it: `min_len: 10`.
    fn shown(&self) -> Option<String> {
        let param = self.param?;
        Some(match (self.value, self.from) {
            (Some(value), Some(from)) => format!("{param}: {value} ({from})"),
            (Some(value), None) => format!("{param}: {value}"),
            (None, _) => format!("{param}: none"),
        })
    }
}

/// The range of a stat that is kept, with Data-Juicer's flags: keep = min ≤ v ≤ max, each end open
/// if its flag says so; a reversed range flips both flags and negates, so that by default it keeps
/// v ≤ min or v ≥ max. NaN is never kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    stat: StatKey,
    /// With one value an image: whether one or all of them must pass.
    each: Option<AnyOrAll>,
    min: End,
    max: End,
    min_closed: bool,
    max_closed: bool,
    reversed: bool,
}

impl Bounds {
    /// The range of `stat` between two optional ends. A bound from the data that the recipe gives
    /// takes the place of an end; it bounds nothing until it is found ([`Bounds::with_found`]).
    ///
    /// # Errors
    /// If it can keep nothing because the lower end lies above the upper one.
    pub fn new(
        stat: &StatDef,
        min: Option<f64>,
        max: Option<f64>,
        base: &BaseParams,
    ) -> Result<Self, Vec<ParamError>> {
        let flip = base.reversed_range;
        let bounds = Self {
            stat: stat.name().into(),
            each: stat.kind.is_list().then_some(AnyOrAll::Any),
            min: End::new(stat.min, min, base),
            max: End::new(stat.max, max, base),
            min_closed: base.min_closed_interval != flip,
            max_closed: base.max_closed_interval != flip,
            reversed: flip,
        };
        bounds.check()?;
        Ok(bounds)
    }

    /// The range that the parameters of a filter give `stat`, for who looks at what it measured
    /// without building it. A bound from the data bounds nothing ([`Bounds::with_found`]).
    #[must_use]
    pub fn of_params(stat: &Stat, params: &Map<String, Value>) -> Self {
        let flag = |name: &str| params.get(name).and_then(Value::as_bool);
        let [min_closed, max_closed, reversed] = BaseParams::RANGE_FLAGS.map(flag);
        let flip = reversed.unwrap_or(false);
        let end = |bound: Option<BoundParam>| End {
            param: bound.map(|bound| bound.param),
            value: bound.and_then(|bound| bound.value(params)),
            from: None,
        };
        Self {
            stat: stat.name.clone(),
            each: stat.kind.is_list().then_some(AnyOrAll::Any),
            min: end(stat.min),
            max: end(stat.max),
            min_closed: min_closed.unwrap_or(true) != flip,
            max_closed: max_closed.unwrap_or(true) != flip,
            reversed: flip,
        }
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
        stat: &StatDef,
        min: Option<i64>,
        max: Option<i64>,
        base: &BaseParams,
    ) -> Result<Self, Vec<ParamError>> {
        Self::new(stat, min.map(|v| v as f64), max.map(|v| v as f64), base)
    }

    /// With several images in a row, one or all of them must pass.
    #[must_use]
    pub fn mode(self, mode: AnyOrAll) -> Self {
        Self {
            each: self.each.map(|_| mode),
            ..self
        }
    }

    /// The range is that of the stat `key`, whose name a parameter gives.
    #[must_use]
    pub fn of_stat(self, key: impl Into<StatKey>) -> Self {
        Self {
            stat: key.into(),
            ..self
        }
    }

    /// The range with the values that were found in the data for bounds: a parameter each, and
    /// its value, if there is one.
    ///
    /// # Errors
    /// If it can keep nothing because the lower end lies above the upper one.
    pub fn with_found<'f>(
        &self,
        found: impl IntoIterator<Item = (&'f str, Option<f64>)>,
    ) -> Result<Self, ParamError> {
        let mut bounds = self.clone();
        for (param, value) in found {
            for end in [&mut bounds.min, &mut bounds.max] {
                if end.param == Some(param) {
                    end.value = value;
                }
            }
        }
        bounds.check()?;
        Ok(bounds)
    }

    fn check(&self) -> Result<(), ParamError> {
        let (Some(low), Some(high), false) = (self.min.value, self.max.value, self.reversed) else {
            return Ok(());
        };
        if low <= high {
            return Ok(());
        }
        let name = |end: &End| end.param.unwrap_or_default();
        let (min, max) = (name(&self.min), name(&self.max));
        Err(ParamError::new(
            min,
            format!(
                "{min} {} is above {max} {}: no row can pass",
                written(low),
                written(high)
            ),
        )
        .hint("swap the two bounds, or set reversed_range: true to keep what lies outside"))
    }

    /// The stat that it bounds.
    #[must_use]
    pub fn stat(&self) -> &StatKey {
        &self.stat
    }

    /// Whether, of several images, all must pass.
    #[must_use]
    pub fn asks_all(&self) -> bool {
        self.each == Some(AnyOrAll::All)
    }

    /// Keeps what all of `bounds` keep.
    #[must_use]
    pub fn decide_all(bounds: &[Self], stats: &Stats) -> Verdict {
        let mut verdicts = bounds.iter().map(|range| range.decide(stats));
        let dropped = verdicts.find(|verdict| *verdict != Verdict::Keep);
        dropped.unwrap_or(Verdict::Keep)
    }

    /// Keeps or drops by the stat, a number or one an image. One that is missing or not of that
    /// kind drops the row, as a comparison with NaN would.
    #[must_use]
    pub fn decide(&self, stats: &Stats) -> Verdict {
        let value = stats.get(&self.stat);
        let (kept, culprit) = if let Some(mode) = self.each {
            let numbers = value.and_then(StatValue::as_list);
            let numbers = numbers.as_deref();
            let kept = numbers.is_some_and(|numbers| {
                let passes = numbers.iter().map(|&number| self.keeps(number));
                mode.combine(passes)
            });
            let first = || numbers?.iter().find(|&&number| !self.keeps(number));
            (kept, if kept { None } else { first().copied() })
        } else {
            let number = value.and_then(StatValue::as_f64);
            (number.is_some_and(|number| self.keeps(number)), number)
        };
        if kept {
            return Verdict::Keep;
        }
        let value = value.cloned().unwrap_or_else(StatValue::null);
        let limit = self.limit(culprit.unwrap_or(f64::NAN));
        Verdict::drop(self.stat.clone(), value, limit)
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
        let (min, max) = (self.min.shown(), self.max.shown());
        if self.reversed {
            let ends: Vec<String> = min.into_iter().chain(max).collect();
            return format!("outside of {}", ends.join(", "));
        }
        let broken = if self.above_min(value) { max } else { min };
        broken.unwrap_or_default()
    }

    #[expect(clippy::float_cmp, reason = "a bound is met exactly or not at all")]
    fn above_min(&self, value: f64) -> bool {
        self.min
            .value
            .is_none_or(|min| value > min || (self.min_closed && value == min))
    }

    #[expect(clippy::float_cmp, reason = "a bound is met exactly or not at all")]
    fn below_max(&self, value: f64) -> bool {
        self.max
            .value
            .is_none_or(|max| value < max || (self.max_closed && value == max))
    }
}

/// The bounds that a limit ([`Bounds::limit`]) names, each with its value; `None` where there is none
/// or it is infinite. Nothing of what is no such limit.
#[must_use]
pub fn named_in(limit: &str) -> Vec<(&str, Option<f64>)> {
    let ends = limit.strip_prefix("outside of ").unwrap_or(limit);
    let named = ends.split(", ").map(|end| {
        let (param, value) = end.split_once(": ")?;
        let value = value.split_once(" (").map_or(value, |(value, _)| value);
        let value = match value {
            "none" | ".inf" | "-.inf" => None,
            number => Some(number.parse().ok()?),
        };
        Some((param, value))
    });
    named.collect::<Option<_>>().unwrap_or_default()
}

/// A bound as a recipe writes it: a whole number stops where 64 bits end, and there infinity began.
fn shown(bound: f64) -> String {
    if bound.abs() < 9.2e18 {
        bound.to_string()
    } else if bound < 0.0 {
        "-.inf".to_owned()
    } else {
        ".inf".to_owned()
    }
}

/// A bound for who wrote it: NaN, which nothing compares with, became the greatest number, too.
fn written(bound: f64) -> String {
    let end = shown(bound);
    if bound.abs() < f64::MAX {
        end
    } else {
        format!("{end} (or .nan)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{DataBound, StatType};

    const SCORE: StatDef = StatDef::number("score").min("min").max("max");

    fn range(base: &BaseParams) -> Bounds {
        Bounds::new(&SCORE, Some(1.0), Some(2.0), base).unwrap()
    }

    #[test]
    fn ends_are_closed_unless_said_otherwise() {
        let range = range(&BaseParams::default());
        assert!(
            range.keeps(1.0) && range.keeps(2.0) && !range.keeps(0.9) && !range.keeps(f64::NAN)
        );
        let open = BaseParams {
            min_closed_interval: false,
            ..BaseParams::default()
        };
        let range = Bounds::new(&SCORE, Some(1.0), None, &open).unwrap();
        assert!(!range.keeps(1.0) && range.keeps(1.1));
    }

    #[test]
    fn a_reversed_range_keeps_its_ends() {
        let range = range(&BaseParams {
            reversed_range: true,
            ..BaseParams::default()
        });
        assert!(range.keeps(1.0) && range.keeps(2.0) && !range.keeps(1.5) && range.keeps(9.0));
        assert_eq!(range.limit(1.5), "outside of min: 1, max: 2");
        assert_eq!(
            named_in(&range.limit(1.5)),
            [("min", Some(1.0)), ("max", Some(2.0))]
        );
    }

    #[test]
    fn a_bound_from_the_data_bounds_nothing_until_it_is_found() {
        let base = BaseParams {
            from_data: vec![DataBound {
                param: "min".into(),
                limit: DataLimit {
                    place: crate::op::DataPlace::Percentile(5.0),
                    of_all: false,
                },
            }],
            ..BaseParams::default()
        };
        let range = Bounds::new(&SCORE, Some(10.0), Some(4.0), &base).unwrap();
        assert!(range.keeps(-9.0) && !range.keeps(5.0));
        let found = range.with_found([("min", Some(3.0)), ("other", Some(9.0))]);
        let found = found.unwrap();
        assert!(!found.keeps(2.0) && found.keeps(3.0));
        assert_eq!(found.limit(2.0), "min: 3 (p5)");
        assert_eq!(named_in("min: 3 (p5)"), [("min", Some(3.0))]);
        assert_eq!(named_in("max: .inf"), [("max", None)]);
        for other in ["at least 4", "true", "suffixes: [\".md\"], x", ""] {
            assert_eq!(named_in(other), [], "{other}");
        }
        assert!(range.with_found([("min", None)]).unwrap().keeps(-9.0));
        let none = range.with_found([("min", Some(4.5))]).unwrap_err();
        assert!(none.message.contains("min 4.5 is above max 4"), "{none:?}");
    }

    #[test]
    fn a_stat_that_is_missing_or_of_another_kind_drops_the_row() {
        let one = range(&BaseParams::default());
        let each = StatDef::new("score", StatType::Numbers)
            .min("min")
            .max("max");
        let each = Bounds::new(&each, Some(1.0), None, &BaseParams::default()).unwrap();
        let of = |bounds: &Bounds, value: serde_json::Value| {
            let mut stats = Stats::default();
            stats.set("score", StatValue::json(value));
            bounds.decide(&stats) == Verdict::Keep
        };
        assert!(of(&one, 1.into()) && !of(&one, "1".into()) && !of(&one, vec![1].into()));
        assert!(of(&each, vec![0, 1].into()) && !of(&each, 1.into()));
        assert!(!of(&each.clone().mode(AnyOrAll::All), vec![0, 1].into()));
        assert_eq!(each.limit(0.0), "min: 1");
        assert!(one.decide(&Stats::default()) != Verdict::Keep);
    }
}
