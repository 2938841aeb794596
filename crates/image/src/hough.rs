//! Straight lines among edges: the progressive probabilistic Hough transform.
//!
//! Same answers, in the same order, as `OpenCV` (4.14 and 5.0) `HoughLinesP` with steps of one pixel
//! and one degree, its fixed random numbers and its single-precision arithmetic. Method: J. Matas
//! et al., *Robust Detection of Lines Using the Progressive Probabilistic Hough Transform*, 2000.

use super::canny::Plane;

/// A straight stretch of edges: where it starts and where it ends, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Column of the start.
    pub x1: i32,
    /// Row of the start.
    pub y1: i32,
    /// Column of the end.
    pub x2: i32,
    /// Row of the end.
    pub y2: i32,
}

/// What counts as a segment.
#[derive(Debug, Clone, Copy)]
pub struct SegmentRule {
    /// Edges that lie on one line before it is looked at, inclusive.
    pub votes: i32,
    /// Least extent of a segment, along x or y, in pixels, inclusive.
    pub min_length: i32,
    /// The most pixels in a row without an edge within a segment.
    pub max_gap: i32,
}

/// Directions looked at, a degree apart.
const ANGLES: u32 = 180;

/// The most memory that votes may take, in counters of four bytes.
const MAX_COUNTERS: usize = 1 << 27;

/// The straight segments among `edges` (a plane of 0 and 1), in the order they are found; `None`
/// if a picture so long (some million pixels along its sides) would need more than 512 MiB.
#[must_use]
pub fn segments(edges: &Plane, rule: SegmentRule) -> Option<Vec<Segment>> {
    let mut left: Vec<u32> = (0..)
        .zip(&edges.data)
        .filter(|&(_, &edge)| edge != 0)
        .map(|(at, _)| at)
        .collect();
    if left.is_empty() {
        return Some(Vec::new());
    }
    let mut mask = Mask {
        width: i64::try_from(edges.width).ok()?,
        height: i64::try_from(edges.height()).ok()?,
        data: edges.data.clone(),
    };
    let mut votes = Votes::new(edges.width, edges.height())?;
    let mut random = Random(u64::MAX);
    let mut found = Vec::new();
    // Edges in random order, each once.
    while !left.is_empty() {
        let at = left.swap_remove(random.below(left.len())) as usize;
        let (x, y) = (at % edges.width, at / edges.width);
        if mask.data.get(at) != Some(&1) {
            continue;
        }
        let Some(direction) = votes.cast(x, y, rule.votes) else {
            continue;
        };
        let walk = Walk::new((i64::try_from(x).ok()?, i64::try_from(y).ok()?), direction);
        let ends = [walk, walk.back()].map(|walk| mask.end(walk, rule.max_gap));
        let [(x1, y1), (x2, y2)] = ends;
        let long = i64::from(rule.min_length);
        let good = (x2 - x1).abs() >= long || (y2 - y1).abs() >= long;
        for (walk, end) in [walk, walk.back()].into_iter().zip(ends) {
            mask.clear(walk, end, |x, y| {
                if good {
                    votes.withdraw(x, y);
                }
            });
        }
        if good {
            let side = |place: i64| i32::try_from(place).unwrap_or_default();
            found.push(Segment {
                x1: side(x1),
                y1: side(y1),
                x2: side(x2),
                y2: side(y2),
            });
        }
    }
    Some(found)
}

/// `OpenCV`'s random generator: multiply with carry.
struct Random(u64);

impl Random {
    /// A number less than `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let low = self.0 & 0xffff_ffff;
        self.0 = (low * 4_164_903_690).wrapping_add(self.0 >> 32);
        usize::try_from(self.0 & 0xffff_ffff).unwrap_or_default() % bound.max(1)
    }
}

/// One direction of lines, by the normal to them.
#[derive(Clone, Copy)]
struct Angle {
    cos: f32,
    sin: f32,
    /// Where the counter of distance 0 is.
    origin: usize,
}

/// How many edges lie on each line.
struct Votes {
    angles: Vec<Angle>,
    counters: Vec<i32>,
}

impl Votes {
    /// Counters for every line that meets a picture.
    fn new(width: usize, height: usize) -> Option<Self> {
        let mut angles = Vec::with_capacity(ANGLES as usize);
        let mut length = 0_usize;
        let step = f64::from(DEGREE);
        for n in 0..ANGLES {
            let (sin, cos) = (f64::from(n) * step).sin_cos();
            // A line's distance from the corner is x cos + y sin; the sine is not negative.
            let across = reach(width, cos)?;
            let (before, after) = if cos < 0.0 { (across, 0) } else { (0, across) };
            angles.push(Angle {
                cos: single(cos),
                sin: single(sin),
                origin: length + before,
            });
            length += before + after + reach(height, sin)? + 1;
        }
        (length <= MAX_COUNTERS).then(|| Self {
            angles,
            counters: vec![0; length],
        })
    }

    /// Counts an edge for the lines through it: the direction of the one with the most edges,
    /// the first of equals, if there are at least `least`.
    fn cast(&mut self, x: usize, y: usize, least: i32) -> Option<Angle> {
        let (x, y) = (float(x), float(y));
        let mut best = None;
        let mut most = least.saturating_sub(1);
        for angle in &self.angles {
            if let Some(counter) = self.counters.get_mut(angle.counter(x, y)) {
                *counter += 1;
                if *counter > most {
                    most = *counter;
                    best = Some(*angle);
                }
            }
        }
        best
    }

    /// Takes an edge back.
    fn withdraw(&mut self, x: usize, y: usize) {
        let (x, y) = (float(x), float(y));
        for angle in &self.angles {
            if let Some(counter) = self.counters.get_mut(angle.counter(x, y)) {
                *counter -= 1;
            }
        }
    }
}

/// One degree as `OpenCV` has it.
const DEGREE: f32 = 0.017_453_292;

impl Angle {
    fn counter(self, x: f32, y: f32) -> usize {
        let distance = rounded(f64::from(x * self.cos + y * self.sin));
        self.origin
            .wrapping_add_signed(isize::try_from(distance).unwrap_or_default())
    }
}

/// The most that `side` pixels add to a line's distance, rounded up, and one to spare.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a side of a picture, below 2^28"
)]
fn reach(side: usize, share: f64) -> Option<usize> {
    ((side as f64 * share.abs()) as usize).checked_add(2)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "OpenCV's table is of single precision"
)]
fn single(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "as OpenCV multiplies")]
fn float(place: usize) -> f32 {
    place as f32
}

/// The nearest integer, of two the even one, for values below 2^51. Adding the constant leaves no
/// bits for the fraction; `round_ties_even` would be a call a vote.
fn rounded(value: f64) -> i64 {
    const BIG: f64 = 6_755_399_441_055_744.0;
    (value + BIG).to_bits().cast_signed() - BIG.to_bits().cast_signed()
}

/// A walk along a line, pixel by pixel: one axis in whole pixels, the other in 1/65536.
#[derive(Clone, Copy)]
struct Walk {
    x: i64,
    y: i64,
    dx: i64,
    dy: i64,
    /// Whether x is the axis of whole pixels.
    along_x: bool,
}

impl Walk {
    const SHIFT: u32 = 16;

    /// From (x, y) along the line with that normal.
    fn new((x, y): (i64, i64), normal: Angle) -> Self {
        let (a, b) = (-normal.sin, normal.cos);
        let one = 65_536.0_f32;
        let middle = |place: i64| (place << Self::SHIFT) + (1 << (Self::SHIFT - 1));
        let sign = |value: f32| if value > 0.0 { 1 } else { -1 };
        if a.abs() > b.abs() {
            Self {
                x,
                y: middle(y),
                dx: sign(a),
                dy: rounded(f64::from(b * one / a.abs())),
                along_x: true,
            }
        } else {
            Self {
                x: middle(x),
                y,
                dx: rounded(f64::from(a * one / b.abs())),
                dy: sign(b),
                along_x: false,
            }
        }
    }

    /// The other way.
    fn back(self) -> Self {
        Self {
            dx: -self.dx,
            dy: -self.dy,
            ..self
        }
    }

    /// The pixel reached.
    fn pixel(self) -> (i64, i64) {
        if self.along_x {
            (self.x, self.y >> Self::SHIFT)
        } else {
            (self.x >> Self::SHIFT, self.y)
        }
    }

    fn step(&mut self) {
        self.x += self.dx;
        self.y += self.dy;
    }
}

/// Edges that belong to no line yet.
struct Mask {
    width: i64,
    height: i64,
    data: Vec<u8>,
}

impl Mask {
    /// Where a pixel is; `None` outside the picture.
    fn place(&self, (x, y): (i64, i64)) -> Option<usize> {
        let inside = (0..self.width).contains(&x) && (0..self.height).contains(&y);
        inside.then(|| usize::try_from(y * self.width + x).ok())?
    }

    /// The last edge before the picture ends or a gap gets too wide.
    fn end(&self, mut walk: Walk, max_gap: i32) -> (i64, i64) {
        let mut end = walk.pixel();
        let mut gap = 0;
        while let Some(&edge) = self
            .place(walk.pixel())
            .and_then(|place| self.data.get(place))
        {
            if edge != 0 {
                gap = 0;
                end = walk.pixel();
            } else {
                gap += 1;
                if gap > max_gap {
                    break;
                }
            }
            walk.step();
        }
        end
    }

    /// Clears the edges up to `end`, each told to `each`.
    fn clear(&mut self, mut walk: Walk, end: (i64, i64), mut each: impl FnMut(usize, usize)) {
        while let Some(place) = self.place(walk.pixel()) {
            if let Some(edge @ 1) = self.data.get_mut(place) {
                *edge = 0;
                let (x, y) = walk.pixel();
                each(
                    usize::try_from(x).unwrap_or_default(),
                    usize::try_from(y).unwrap_or_default(),
                );
            }
            if walk.pixel() == end {
                break;
            }
            walk.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: SegmentRule = SegmentRule {
        votes: 20,
        min_length: 20,
        max_gap: 3,
    };

    fn plane(width: usize, height: usize, edge: impl Fn(usize, usize) -> bool) -> Plane {
        let data = (0..width * height).map(|at| u8::from(edge(at % width, at / width)));
        Plane {
            width,
            data: data.collect(),
        }
    }

    fn found(edges: &Plane, rule: SegmentRule) -> Vec<[i32; 4]> {
        let lines = segments(edges, rule).unwrap();
        lines.iter().map(|s| [s.x1, s.y1, s.x2, s.y2]).collect()
    }

    #[test]
    fn lines_are_found_with_their_ends() {
        // The answers of cv2.HoughLinesP for the same planes.
        let level = plane(50, 30, |x, y| y == 7 && (5..45).contains(&x));
        assert_eq!(found(&level, RULE), LEVEL);
        let crossed = plane(40, 40, |x, y| x == y || x == 10);
        assert_eq!(found(&crossed, RULE), CROSSED);
    }

    const LEVEL: &[[i32; 4]] = &[[5, 7, 44, 7]];
    const CROSSED: &[[i32; 4]] = &[[0, 0, 39, 39], [10, 39, 10, 0]];

    #[test]
    fn gaps_and_lengths_count_inclusively() {
        let dashed = |gap: usize| plane(80, 3, move |x, y| y == 1 && !(30..30 + gap).contains(&x));
        let extent = |edges: &Plane| {
            let lines = found(edges, RULE);
            lines.iter().map(|[x1, _, x2, _]| (x2 - x1).abs()).max()
        };
        assert_eq!(extent(&dashed(3)), Some(79));
        assert_eq!(extent(&dashed(4)), Some(45));
        let short = |length: usize| plane(60, 3, move |x, y| y == 1 && x < length);
        assert_eq!(extent(&short(21)), Some(20));
        assert_eq!(extent(&short(20)), None);
    }

    #[test]
    fn nothing_is_found_in_nothing_and_nothing_overflows() {
        assert!(found(&plane(9, 9, |_, _| false), RULE).is_empty());
        for (votes, min_length, max_gap) in [
            (i32::MIN, i32::MIN, i32::MIN),
            (i32::MAX, i32::MAX, i32::MAX),
            (0, 0, 0),
        ] {
            let rule = SegmentRule {
                votes,
                min_length,
                max_gap,
            };
            for edges in [plane(1, 1, |_, _| true), plane(7, 5, |_, _| true)] {
                let all = found(&edges, rule);
                assert!(all.len() <= edges.data.len());
            }
        }
        // A side that would need more counters than are given.
        let mut long = plane(1 << 22, 1, |_, _| false);
        assert_eq!(segments(&long, RULE), Some(Vec::new()));
        long.data.fill(1);
        assert_eq!(segments(&long, RULE), None);
    }
}
