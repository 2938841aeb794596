//! The histogram of a stat in front of a filter, counted anew for any set of rows: which bar each
//! value falls into is worked out once.

use crate::analysis::live::{Bits, Knob, Live, Outcome};
use crate::view::histogram::{Histogram, Sketch};

/// A value that is no number to be drawn.
const NOWHERE: u8 = u8::MAX;

/// A chart.
pub struct Chart {
    /// The step, from 0.
    pub step: usize,
    /// The stat, by its number.
    pub stat: usize,
    /// The bounds that can be moved on it.
    pub knobs: Vec<Knob>,
    /// Where its bars begin, and the last one ends.
    pub edges: Vec<f64>,
    /// The least and the greatest value.
    pub range: Option<(f64, f64)>,
    /// Whether all values are whole numbers.
    pub whole: bool,
    /// The bar of each value: 0 is below the first edge, the last one above the last edge.
    bars: Vec<u8>,
    /// Where the values of each row end.
    ends: Vec<usize>,
}

/// How many values of rows that a filter kept and dropped lie in each bar.
pub type Counts = [Vec<u64>; 2];

/// The charts of the filters whose bounds can be moved.
pub fn charts(live: &Live) -> Vec<Chart> {
    let mut charts: Vec<Chart> = Vec::new();
    for (stat, knob) in live.knobs() {
        let known = charts
            .iter_mut()
            .find(|chart| (chart.step, chart.stat) == (knob.step, stat));
        if let Some(chart) = known {
            chart.knobs.push(knob);
        } else {
            charts.push(Chart::new(live, stat, knob));
        }
    }
    charts
}

impl Chart {
    fn new(live: &Live, stat: usize, knob: Knob) -> Self {
        let mut sketch = Sketch::default();
        let mut whole = true;
        for row in 0..live.rows() {
            for number in live.numbers(stat, row) {
                sketch.add(number);
                whole &= !number.is_finite() || number.fract() == 0.0;
            }
        }
        let limits = live
            .stats()
            .get(stat)
            .map(crate::analysis::stat::Stat::limits);
        let marks: Vec<f64> = limits.unwrap_or_default().into_iter().flatten().collect();
        let Histogram { edges, .. } = sketch.histogram(&marks);
        let mut chart = Self {
            step: knob.step,
            stat,
            knobs: vec![knob],
            range: sketch.range(),
            whole,
            bars: Vec::new(),
            ends: Vec::with_capacity(live.rows()),
            edges,
        };
        for row in 0..live.rows() {
            for number in live.numbers(stat, row) {
                let bar = chart.bar(number);
                chart.bars.push(bar);
            }
            chart.ends.push(chart.bars.len());
        }
        chart
    }

    fn bar(&self, number: f64) -> u8 {
        let (Some(first), Some(last)) = (self.edges.first(), self.edges.last()) else {
            return NOWHERE;
        };
        let bars = self.edges.len().saturating_sub(1);
        let bar = if number.is_nan() {
            return NOWHERE;
        } else if number < *first {
            0
        } else if number > *last {
            bars + 1
        } else {
            self.edges.partition_point(|edge| *edge <= number).min(bars)
        };
        u8::try_from(bar).unwrap_or(NOWHERE)
    }

    /// Counts the values of the rows that reach the step: those that go on, and those that it drops.
    pub fn count(&self, outcome: &Outcome) -> Counts {
        let none = Bits::default();
        let goes_on = outcome.reach.get(self.step + 1).unwrap_or(&none);
        let dropped = outcome
            .steps
            .get(self.step)
            .map_or(&none, |step| &step.dropped);
        [goes_on, dropped].map(|rows| {
            let mut counts = vec![0; self.edges.len() + 1];
            for row in rows.iter() {
                let end_of = |row: usize| self.ends.get(row).copied().unwrap_or(0);
                let start = row.checked_sub(1).map_or(0, end_of);
                for bar in self.bars.get(start..end_of(row)).unwrap_or_default() {
                    if let Some(count) = counts.get_mut(usize::from(*bar)) {
                        *count += 1;
                    }
                }
            }
            counts
        })
    }
}
