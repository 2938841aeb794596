//! How much the straight lines of a picture look like a grid, for `image_subplot_filter`.
//!
//! The arithmetic and its order are those of Data-Juicer 1.6.1 with numpy, to the last bit.

use crate::image::Segment;
use crate::op::pairwise_sum;

/// Which lines count, and how many are asked for.
#[derive(Debug, Clone, Copy)]
pub struct GridRule {
    /// Horizontal lines of a full score.
    pub min_horizontal: i64,
    /// Vertical lines of a full score.
    pub min_vertical: i64,
    /// Degrees off the horizontal or the vertical, inclusive.
    pub tolerance: f64,
}

/// What the lines of a picture come to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LineGrid {
    /// 0 to 1: how much like a grid. (Below 0 only if fewer than no lines are asked for.)
    pub confidence: f64,
    /// Horizontal lines.
    pub horizontal: i64,
    /// Vertical lines.
    pub vertical: i64,
}

impl LineGrid {
    /// Of the `lines` found in a picture of that size. All zero if there are lines both ways and none is asked
    /// for one way: Data-Juicer divides by that number and takes the failure for an empty picture.
    #[must_use]
    pub fn of(lines: &[Segment], width: u32, height: u32, rule: GridRule) -> Self {
        let mut horizontal = Lines::default();
        let mut vertical = Lines::default();
        for line in lines {
            let (dx, dy) = (f64::from(line.x2 - line.x1), f64::from(line.y2 - line.y1));
            let angle = if line.x1 == line.x2 {
                90.0
            } else {
                dy.atan2(dx).to_degrees()
            };
            let near = |direction: f64| (angle - direction).abs() <= rule.tolerance;
            if near(0.0) || near(180.0) {
                horizontal.push(line.y1, line.y2, dx);
            } else if near(90.0) || near(-90.0) {
                vertical.push(line.x1, line.x2, dy);
            }
        }
        let found = Self {
            confidence: 0.0,
            horizontal: horizontal.count(),
            vertical: vertical.count(),
        };
        if found.horizontal == 0 || found.vertical == 0 {
            return found;
        }
        if rule.min_horizontal == 0 || rule.min_vertical == 0 {
            return Self::default();
        }
        let (width, height) = (f64::from(width), f64::from(height));
        let grid = if found.horizontal < 2 || found.vertical < 2 {
            0.0
        } else {
            let crossings = number(found.horizontal * found.vertical);
            (crossings / (width * height) * 10_000.0 / 10.0).min(1.0)
        };
        horizontal.places.sort_unstable_by(f64::total_cmp);
        vertical.places.sort_unstable_by(f64::total_cmp);
        let share = |found: i64, least: i64| (number(found) / number(least)).min(1.0);
        let confidence = share(found.horizontal, rule.min_horizontal) * 0.2
            + share(found.vertical, rule.min_vertical) * 0.2
            + evenness(&horizontal.distances(), height * 0.05) * 0.15
            + evenness(&vertical.distances(), width * 0.05) * 0.15
            + grid * 0.2
            + horizontal.likeness(width * 0.3) * 0.05
            + vertical.likeness(height * 0.3) * 0.05;
        Self {
            confidence: confidence.min(1.0),
            ..found
        }
    }
}

/// The lines of one direction.
#[derive(Default)]
struct Lines {
    /// The middle of each, on the axis across it.
    places: Vec<f64>,
    lengths: Vec<f64>,
}

impl Lines {
    fn push(&mut self, start: i32, end: i32, along: f64) {
        self.places
            .push(f64::midpoint(f64::from(start), f64::from(end)));
        self.lengths.push(along.abs());
    }

    fn count(&self) -> i64 {
        i64::try_from(self.places.len()).unwrap_or(i64::MAX)
    }

    /// Between neighbours, once the places are sorted.
    fn distances(&self) -> Vec<f64> {
        let next = self.places.iter().skip(1);
        next.zip(&self.places).map(|(b, a)| b - a).collect()
    }

    /// How alike their lengths are; less if they are shorter than `least`.
    fn likeness(&self, least: f64) -> f64 {
        if self.lengths.len() < 2 {
            return 0.0;
        }
        evenness(&self.lengths, least)
    }
}

/// 1 less the standard deviation over the mean, at least 0; half of it if the mean is less than
/// `least`. 0 if there are no values or their mean is 0.
fn evenness(values: &[f64], least: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let count = number(i64::try_from(values.len()).unwrap_or(i64::MAX));
    let mean = pairwise_sum(values) / count;
    if mean == 0.0 {
        return 0.0;
    }
    let squares: Vec<f64> = values.iter().map(|v| (v - mean) * (v - mean)).collect();
    let deviation = (pairwise_sum(&squares) / count).sqrt();
    let even = (1.0 - deviation / mean).max(0.0);
    if mean < least { even * 0.5 } else { even }
}

#[expect(clippy::cast_precision_loss, reason = "as Python divides integers")]
fn number(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(lines: &[[i32; 4]], rule: GridRule) -> LineGrid {
        let lines: Vec<Segment> = lines
            .iter()
            .map(|&[x1, y1, x2, y2]| Segment { x1, y1, x2, y2 })
            .collect();
        LineGrid::of(&lines, 200, 100, rule)
    }

    const RULE: GridRule = GridRule {
        min_horizontal: 3,
        min_vertical: 3,
        tolerance: 4.0,
    };

    #[test]
    fn lines_count_by_their_angle() {
        let level = [0, 10, 199, 10];
        let counts = |line| {
            let found = grid(&[line], RULE);
            (found.horizontal, found.vertical)
        };
        assert_eq!(counts(level), (1, 0));
        assert_eq!(counts([0, 0, 100, 6]), (1, 0));
        assert_eq!(counts([0, 0, 100, 8]), (0, 0));
        assert_eq!(counts([100, 6, 0, 0]), (0, 0), "-176.6 degrees");
        assert_eq!(counts([100, 0, 0, 6]), (1, 0), "176.6 degrees");
        assert_eq!(counts([5, 0, 5, 99]), (0, 1));
        assert_eq!(counts([5, 99, 5, 0]), (0, 1));
        assert_eq!(counts([9, 99, 5, 0]), (0, 1));
        let all = GridRule {
            tolerance: 90.0,
            ..RULE
        };
        assert_eq!(grid(&[[5, 0, 5, 99]], all).horizontal, 1);
    }

    #[test]
    fn an_even_grid_is_one_for_sure() {
        let even: Vec<[i32; 4]> = (0..4)
            .flat_map(|n| {
                let across = [0, n * 20, 199, n * 20];
                [across, [n * 40, 0, n * 40, 99]]
            })
            .collect();
        let found = grid(&even, RULE);
        assert_eq!((found.horizontal, found.vertical), (4, 4));
        // 16 crossings on 20,000 pixels are 0.8 of what counts in full.
        assert!((found.confidence - 0.96).abs() < 1e-12, "{found:?}");
        assert_eq!(
            grid(
                &even,
                GridRule {
                    min_vertical: 0,
                    ..RULE
                }
            ),
            LineGrid::default()
        );
        let one_way: Vec<_> = even.iter().copied().step_by(2).collect();
        let none = GridRule {
            min_vertical: 0,
            ..RULE
        };
        assert_eq!(grid(&one_way, none).horizontal, 4);
    }
}
