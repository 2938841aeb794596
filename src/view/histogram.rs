//! Histograms of what filters measured: readable ranges, whatever outliers there are.
//!
//! A first look at the values (a [`Sketch`], some kilobytes a stat) finds the range that holds
//! almost all of them; a second one counts them exactly into bars of a round width, and what lies
//! beyond the range into a bar at each end.

use std::collections::BTreeMap;

/// How many bars a range is cut into, about.
const BARS: u32 = 50;

/// Bounds may widen a range, but not to more edges than this.
const MOST_EDGES: usize = 200;

/// Counts values by their sign, exponent and eight bits of mantissa: close enough to choose a
/// range, exact for whole numbers up to 512.
#[derive(Debug, Clone, Default)]
pub struct Sketch {
    counts: BTreeMap<u64, u64>,
    values: u64,
    least: Option<f64>,
    greatest: Option<f64>,
    fractions: bool,
}

/// Bars of equal width with what is below and above them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// One more than there are bars. A bar holds its lower edge; the last one holds both.
    pub edges: Vec<f64>,
    /// How many values of each kind are in each bar.
    pub bars: Vec<[u64; 2]>,
    /// Values below the first edge, by kind.
    pub below: [u64; 2],
    /// Values above the last edge, by kind.
    pub above: [u64; 2],
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
}

impl Sketch {
    /// The least and the greatest value, if there are some.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        self.least.zip(self.greatest)
    }

    /// Takes note of a value.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            *self.counts.entry(ordered(value) >> SHIFT).or_default() += 1;
            self.values += 1;
            self.least = Some(self.least.map_or(value, |least| least.min(value)));
            self.greatest = Some(self.greatest.map_or(value, |most| most.max(value)));
            self.fractions |= value.fract() != 0.0;
        }
    }

    /// About the values that these `shares` (in percent) of all do not exceed; the first and the last
    /// are exact. Empty if there are no values.
    #[must_use]
    pub(super) fn quantiles(&self, shares: &[f64]) -> Vec<f64> {
        let Some((least, greatest)) = self.range() else {
            return Vec::new();
        };
        let at = |share: &f64| match *share {
            0.0 => Some(least),
            100.0 => Some(greatest),
            share => self.quantile(share / 100.0),
        };
        let found = shares.iter().filter_map(at);
        // Those between are rounded down.
        found.map(|value| value.clamp(least, greatest)).collect()
    }

    /// The range that is drawn: all values, but for those that are far from nearly all others.
    fn middle(&self) -> Option<(f64, f64)> {
        let (low, high) = (self.least?, self.greatest?);
        let (low_most, high_most) = (self.quantile(0.05)?, self.quantile(0.95)?);
        let spread = high_most - low_most;
        // Nearly all are equal: whatever differs is what there is to see.
        if spread <= 0.0 {
            return Some((low, high));
        }
        let (first, last) = (low_most - 2.0 * spread, high_most + 2.0 * spread);
        let mut values = self.counts.keys().map(|key| value_of(key << SHIFT));
        let least_near = values.find(|value| *value >= first).unwrap_or(low);
        let mut values = self.counts.keys().rev().map(|key| value_of(key << SHIFT));
        let greatest_near = values.find(|value| *value <= last).unwrap_or(high);
        Some((
            if low >= first { low } else { least_near },
            if high <= last { high } else { greatest_near },
        ))
    }

    /// About the value that `share` of all values do not exceed.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among the values"
    )]
    fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (self.values.saturating_sub(1) as f64 * share).round() as u64;
        let mut before = 0;
        for (key, count) in &self.counts {
            before += count;
            if before > rank {
                return Some(value_of(key << SHIFT));
            }
        }
        None
    }

    /// An empty histogram over a readable range. It takes in those of `marks` that are near.
    #[must_use]
    pub fn histogram(&self, marks: &[f64]) -> Histogram {
        let Some((mut low, mut high)) = self.middle() else {
            return Histogram::default();
        };
        let span = high - low;
        let near = if span > 0.0 { span } else { low.abs() };
        let (first, last) = (low - near, high + near);
        for mark in marks.iter().filter(|m| (first..=last).contains(*m)) {
            low = low.min(*mark);
            high = high.max(*mark);
        }
        let mut width = round_up((high - low) / f64::from(BARS));
        if !self.fractions {
            width = width.max(1.0).ceil();
        }
        if width <= 0.0 {
            // All values are the same fraction.
            width = (low.abs() / f64::from(BARS)).max(1e-3);
        }
        let start = (low / width).floor();
        // A value at the upper edge would be alone in a bar; whole numbers get a bar each.
        let end = if self.fractions {
            (high / width).ceil().max(start + 1.0)
        } else {
            (high / width).floor() + 1.0
        };
        let mut edges = Vec::new();
        let mut at = start;
        while at <= end && edges.len() <= MOST_EDGES {
            edges.push(tidy(at * width, width));
            at += 1.0;
        }
        Histogram {
            bars: vec![[0; 2]; edges.len().saturating_sub(1)],
            edges,
            ..Histogram::default()
        }
    }
}

impl Histogram {
    /// A histogram that somebody else counted; all values are of the first kind. An outermost bar
    /// that is wider than the others is what lies beyond the range.
    #[must_use]
    pub fn counted(mut edges: Vec<f64>, counts: &[u64]) -> Self {
        let mut bars: Vec<[u64; 2]> = counts.iter().map(|n| [*n, 0]).collect();
        let mut out = Self {
            min: edges.first().copied(),
            max: edges.last().copied(),
            ..Self::default()
        };
        let widths: Vec<f64> = edges
            .windows(2)
            .filter_map(|e| Some(e.last()? - e.first()?))
            .collect();
        let middle = widths.get(widths.len() / 2).copied().unwrap_or(0.0);
        let wide = |width: Option<&f64>| width.is_some_and(|w| *w > 1.5 * middle);
        if bars.len() > 2 && wide(widths.last()) {
            edges.pop();
            out.above = bars.pop().unwrap_or_default();
        }
        if bars.len() > 2 && wide(widths.first()) {
            edges.remove(0);
            out.below = bars.remove(0);
        }
        Self { edges, bars, ..out }
    }

    /// The same bars with nothing in them.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self {
            edges: self.edges.clone(),
            bars: vec![[0; 2]; self.bars.len()],
            ..Self::default()
        }
    }

    /// The same with bars taken together until there are not more than `most`.
    #[must_use]
    pub fn coarser(&self, most: usize) -> Self {
        let some = self.bars.len().div_ceil(most.max(1)).max(1);
        let sum = |bars: &[[u64; 2]]| {
            bars.iter()
                .fold([0; 2], |sum, bar| [sum[0] + bar[0], sum[1] + bar[1]])
        };
        let mut edges: Vec<f64> = self.edges.iter().step_by(some).copied().collect();
        if !self.bars.len().is_multiple_of(some) {
            edges.extend(self.edges.last());
        }
        Self {
            edges,
            bars: self.bars.chunks(some).map(sum).collect(),
            ..self.clone()
        }
    }

    /// Counts a value of a kind (0 or 1).
    pub fn add(&mut self, value: f64, kind: usize) {
        if !value.is_finite() {
            return;
        }
        self.min = Some(self.min.map_or(value, |m| m.min(value)));
        self.max = Some(self.max.map_or(value, |m| m.max(value)));
        let (Some(&first), Some(&last)) = (self.edges.first(), self.edges.last()) else {
            return;
        };
        let cell = if value < first {
            Some(&mut self.below)
        } else if value > last {
            Some(&mut self.above)
        } else {
            let after = self.edges.partition_point(|edge| *edge <= value);
            let bar = after
                .saturating_sub(1)
                .min(self.bars.len().saturating_sub(1));
            self.bars.get_mut(bar)
        };
        if let Some(count) = cell.and_then(|cell| cell.get_mut(kind)) {
            *count += 1;
        }
    }

    /// How many values of a kind there are.
    #[must_use]
    pub fn total(&self, kind: usize) -> u64 {
        self.bars
            .iter()
            .chain([&self.below, &self.above])
            .filter_map(|bar| bar.get(kind))
            .sum()
    }
}

const SHIFT: u32 = 44;

/// A number whose order is that of `value`.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn value_of(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 {
        ordered & !(1 << 63)
    } else {
        !ordered
    })
}

/// The next 1, 2, 2.5 or 5 times a power of ten.
pub(super) fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 0.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let digit = value / power;
    let round = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .find(|r| digit <= r * (1.0 + 1e-9));
    round.unwrap_or(10.0) * power
}

/// Removes what multiplying left in the last digits.
pub(super) fn tidy(value: f64, step: f64) -> f64 {
    if step < 1e-12 {
        return value;
    }
    let decimals = (-step.log10().floor() + 2.0).clamp(0.0, 15.0);
    let scale = 10_f64.powf(decimals);
    let round = (value * scale).round() / scale;
    if round.is_finite() { round } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64], marks: &[f64]) -> Histogram {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(*value);
        }
        let mut histogram = sketch.histogram(marks);
        for value in values {
            histogram.add(*value, 0);
        }
        histogram
    }

    #[test]
    fn every_value_is_counted_once() {
        let lists: Vec<Vec<f64>> = vec![
            vec![0.0],
            vec![0.25; 9],
            vec![-3.0, 7.5, 1e9],
            (0..1000).map(f64::from).collect(),
            (0..1000).map(|i| f64::from(i) / 999.0).collect(),
            (0..5000)
                .map(|i| if i == 7 { 1e12 } else { f64::from(i % 90) })
                .collect(),
            vec![1e-300, 5e-324, 0.0, -0.0],
        ];
        for list in lists {
            let histogram = of(&list, &[5.0, 1e15]);
            assert_eq!(histogram.total(0), list.len() as u64, "{histogram:?}");
            assert!(
                histogram.edges.windows(2).all(|e| e[0] < e[1]),
                "{histogram:?}"
            );
            assert!(histogram.bars.len() <= 200, "{}", histogram.bars.len());
        }
        assert!(of(&[], &[]).edges.is_empty());
    }

    #[test]
    fn bars_can_be_taken_together_and_tails_apart() {
        let counted = Histogram::counted(vec![-90.0, 0.0, 1.0, 2.0, 3.0, 900.0], &[1, 2, 3, 4, 5]);
        assert_eq!((counted.below, counted.above), ([1, 0], [5, 0]));
        assert_eq!(counted.edges, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!((counted.min, counted.max), (Some(-90.0), Some(900.0)));
        let coarse = counted.coarser(2);
        assert_eq!(coarse.edges, [0.0, 2.0, 3.0]);
        assert_eq!(coarse.bars, [[5, 0], [4, 0]]);
        assert_eq!(coarse.total(0), counted.total(0));
        assert_eq!(Histogram::counted(vec![2.0, 2.0], &[7]).bars, [[7, 0]]);
    }

    #[test]
    fn an_outlier_does_not_flatten_the_rest() {
        let mut values: Vec<f64> = (0..500).map(|i| f64::from(i % 50)).collect();
        values.push(1_048_605.0);
        let histogram = of(&values, &[60.0]);
        assert_eq!(histogram.above, [1, 0]);
        assert_eq!(histogram.max, Some(1_048_605.0));
        assert!(
            histogram
                .edges
                .last()
                .is_some_and(|e| (60.0..70.0).contains(e))
        );
        assert_eq!(histogram.edges[..2], [0.0, 2.0]);
    }
}
