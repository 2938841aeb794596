//! Values of a bound that are worth a look, and how many rows each leaves.

use super::histogram::{round_up, tidy};
use crate::analysis::trial::Trial;
use crate::op::{BoundParam, Written};
use crate::recipe::Problems;

/// The shares, in percent, between whose quantiles round values are looked for.
pub(super) const SHARES: [f64; 11] = [
    0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 100.0,
];

/// Which of [`SHARES`] are 5 and 95 %.
const NEARLY_ALL: [usize; 2] = [2, 8];

/// How many values beside a bound are tried on each side.
const BESIDE: u32 = 2;

/// What other values of a bound would leave.
#[derive(Debug, Clone)]
pub struct Cuts {
    /// The parameter.
    pub bound: BoundParam,
    /// Its value, if it has one.
    pub now: Option<f64>,
    /// Values in ascending order, and how many rows each leaves.
    pub left: Vec<(f64, u64)>,
    /// The rows that were counted.
    pub rows: u64,
}

impl Cuts {
    /// What `trial` counted for `bound`, which is `now`; `None` if there is nothing to compare.
    #[must_use]
    pub fn of(trial: &Trial, bound: BoundParam, now: Option<f64>) -> Option<Self> {
        let left = trial.left(bound.param);
        (left.len() > 1).then(|| Self {
            bound,
            now,
            left,
            rows: trial.rows(),
        })
    }
}

/// Why there is no table of what other bounds of a filter would leave.
pub(super) fn not_tried(op: &str, problems: &Problems) -> String {
    let why = problems
        .iter()
        .next()
        .map_or("", |problem| &problem.message);
    format!(
        "{op}: what other bounds would leave is not shown, as the filter cannot be built: {why}."
    )
}

/// Round values over the range where the data are, some close to the bound as it is `now`, and the
/// bound itself, in ascending order. `quantiles` are those at `SHARES`: most of the values tried lie where
/// most of the data lie, wherever single ones are.
pub fn values(quantiles: &[f64], now: Option<f64>, written: Written) -> Vec<f64> {
    let (Some(&least), Some(&most)) = (quantiles.first(), quantiles.last()) else {
        return now.into_iter().collect();
    };
    let pairs = quantiles.windows(2).filter_map(|pair| match *pair {
        [a, b] => roundest(a, b, written),
        _ => None,
    });
    let mut values: Vec<f64> = pairs.collect();
    if let Some(now) = now {
        let near = beside(quantiles, written);
        let below = (now / near).ceil();
        let above = (now / near).floor();
        for step in 1..=BESIDE {
            let step = f64::from(step);
            values.extend([(below - step) * near, (above + step) * near].map(|it| tidy(it, near)));
        }
    }
    values.retain(|value| value.is_finite() && (least..=most).contains(value));
    values.extend(now);
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// The distance of values beside a bound: a round part of the range that nine tenths of the data
/// are in.
fn beside(quantiles: &[f64], written: Written) -> f64 {
    let range = |low: usize, high: usize| {
        let ends = quantiles.get(high).zip(quantiles.get(low));
        ends.map_or(0.0, |(high, low)| high - low)
    };
    let last = SHARES.len() - 1;
    let nearly_all = range(NEARLY_ALL[0], NEARLY_ALL[1]);
    let range = if nearly_all > 0.0 {
        nearly_all
    } else {
        range(0, last)
    };
    let near = round_up(range / 20.0);
    match written {
        Written::Number => near,
        Written::Whole => whole(near),
        Written::Size => {
            let unit = unit_of(near);
            whole(round_up(near / unit)) * unit
        }
    }
}

/// A round distance between whole numbers: 5 where 2.5 would be.
fn whole(near: f64) -> f64 {
    if near > 1.0 && near.fract() != 0.0 {
        near * 2.0
    } else {
        near.max(1.0)
    }
}

/// The roundest number from `a` to `b`, of those that can be written so.
fn roundest(a: f64, b: f64, written: Written) -> Option<f64> {
    match written {
        Written::Number => shortest(a, b, 0.0),
        Written::Whole => shortest(a, b, 1.0),
        Written::Size => {
            let unit = unit_of(b);
            let of = |unit: f64| shortest(a / unit, b / unit, 1.0).map(|value| value * unit);
            of(unit).or_else(|| of((unit / 1024.0).max(1.0)))
        }
    }
}

/// The number from `a` to `b` that is a multiple of the greatest 1, 5 or 2.5 times a power of ten,
/// and of `least`.
fn shortest(a: f64, b: f64, least: f64) -> Option<f64> {
    if a <= 0.0 && b >= 0.0 {
        return Some(0.0);
    }
    let mut power = 10_f64.powf(a.abs().max(b.abs()).log10().floor());
    for _ in 0..17 {
        for part in [1.0, 2.0, 4.0] {
            let step = power / part;
            if least > 0.0 && (step / least).fract() != 0.0 {
                continue;
            }
            let value = tidy((a / step).ceil() * step, step);
            if (a..=b).contains(&value) {
                return Some(value);
            }
        }
        power /= 10.0;
    }
    (least == 0.0).then_some(a)
}

/// The greatest unit of sizes that is not above `bytes`.
fn unit_of(bytes: f64) -> f64 {
    let mut unit = 1.0;
    while unit * 1024.0 <= bytes && unit < 1e15 {
        unit *= 1024.0;
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_round_and_lie_where_the_data_lie() {
        // Lengths from 10 to 60 and one outlier of a million.
        let quantiles = [
            10.0, 11.0, 13.0, 15.0, 23.0, 35.0, 47.0, 55.0, 57.0, 59.0, 1e6,
        ];
        assert_eq!(
            values(&quantiles, Some(38.0), Written::Whole),
            [
                10.0, 11.0, 15.0, 20.0, 30.0, 35.0, 38.0, 40.0, 45.0, 50.0, 55.0, 57.0, 1e6
            ]
        );
        let shares = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
        let found = values(&shares, None, Written::Number);
        assert_eq!(found.first(), Some(&0.0));
        assert!(found.contains(&0.5) && found.contains(&1.0), "{found:?}");
        assert_eq!(values(&[], Some(3.0), Written::Whole), [3.0]);
        assert_eq!(values(&[7.0; 11], None, Written::Whole), [7.0]);
    }

    #[test]
    fn sizes_are_round_in_their_unit() {
        let (kb, mb) = (1024.0, 1024.0 * 1024.0);
        assert_eq!(roundest(900.0 * kb, 3.0 * mb, Written::Size), Some(mb));
        assert_eq!(
            roundest(1.2 * mb, 1.6 * mb, Written::Size),
            Some(1500.0 * kb)
        );
        assert_eq!(roundest(300.0, 700.0, Written::Size), Some(300.0));
    }
}
