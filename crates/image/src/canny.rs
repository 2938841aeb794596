//! Edges of a picture: grey, blurred, and Canny's detector.
//!
//! Same bits as `OpenCV` (4.14 and 5.0) `cvtColor(RGB2GRAY)`, `GaussianBlur` of 5 × 5 on bytes and
//! `Canny` with a 3 × 3 Sobel operator and the sum of magnitudes. All of it is integer arithmetic,
//! so how `OpenCV` shares the work among threads and vector units does not show. Method: J. Canny,
//! *A Computational Approach to Edge Detection*, 1986.

use super::RgbImage;

/// One byte a pixel, row by row from the top, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    /// Pixels a row; never 0.
    pub width: usize,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Plane {
    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.data.len() / self.width.max(1)
    }

    fn row(&self, y: usize) -> &[u8] {
        self.data
            .get(y * self.width..(y + 1) * self.width)
            .unwrap_or_default()
    }
}

/// The edges of `image`: 1 where a pixel is part of one, else 0.
///
/// The picture is made grey and blurred first. A pixel is a candidate if its gradient, |dx| + |dy|
/// of the Sobel operator (0 to 2040), is greater than the lower of both thresholds and greatest
/// across the edge. It is an edge if candidates connect it, over sides and corners, with one whose
/// gradient is greater than the higher threshold.
#[must_use]
pub fn edges(image: &RgbImage, threshold1: i32, threshold2: i32) -> Plane {
    let blurred = blurred(&grey(image));
    let low = threshold1.min(threshold2);
    let high = threshold1.max(threshold2);
    Candidates::of(&blurred, low, high).connected()
}

/// Luma by ITU-R 601 in 15-bit fixed point, rounded.
fn grey(image: &RgbImage) -> Plane {
    let (pixels, _) = image.data().as_chunks::<3>();
    let luma = |&[r, g, b]: &[u8; 3]| {
        let sum = 9_798 * u32::from(r) + 19_235 * u32::from(g) + 3_735 * u32::from(b) + 0x4000;
        u8::try_from(sum >> 15).unwrap_or(u8::MAX)
    };
    Plane {
        width: image.width() as usize,
        data: pixels.iter().map(luma).collect(),
    }
}

/// Every `N` neighbours of a row.
fn windows<T, const N: usize>(row: &[T]) -> impl Iterator<Item = &[T; N]> {
    row.windows(N).filter_map(<[T]>::first_chunk)
}

/// The place of `at` in 0..`len`, mirrored at the first and the last place, which are not repeated.
fn mirrored(at: usize, before: usize, after: usize, len: usize) -> usize {
    let period = 2 * (len - 1).max(1);
    let place = (at + after + before.div_ceil(period) * period - before) % period;
    if len == 1 {
        0
    } else {
        place.min(period - place)
    }
}

/// Weighs a pixel and its neighbours to both sides 1, 4, 6, 4, 1 along rows and columns; the
/// sum over 256 is rounded once, halves up.
fn blurred(grey: &Plane) -> Plane {
    let (width, height) = (grey.width, grey.height());
    let weigh = |[a, b, c, d, e]: [u32; 5]| a + e + 4 * (b + d) + 6 * c;
    // The last five rows, summed along themselves.
    let mut ring: [Vec<u32>; 5] = Default::default();
    let mut padded = Vec::with_capacity(width + 4);
    let mut summed = 0;
    let mut data = Vec::with_capacity(grey.data.len());
    for y in 0..height {
        while summed < height.min(y + 3) {
            let row = grey.row(summed);
            let beyond = |before, after| {
                let x = mirrored(if after == 0 { 0 } else { width - 1 }, before, after, width);
                row.get(x).copied().unwrap_or_default()
            };
            padded.clear();
            padded.extend([beyond(2, 0), beyond(1, 0)]);
            padded.extend_from_slice(row);
            padded.extend([beyond(0, 1), beyond(0, 2)]);
            let sums = windows(&padded).map(|window: &[u8; 5]| weigh(window.map(u32::from)));
            if let Some(kept) = ring.get_mut(summed % 5) {
                kept.clear();
                kept.extend(sums);
            }
            summed += 1;
        }
        let row = |before, after| {
            let y = mirrored(y, before, after, height);
            ring.get(y % 5).map_or(&[][..], Vec::as_slice)
        };
        let (above, here, below) = ((row(2, 0), row(1, 0)), row(0, 0), (row(0, 1), row(0, 2)));
        let columns = above.0.iter().zip(above.1).zip(here);
        let columns = columns.zip(below.0.iter().zip(below.1));
        data.extend(columns.map(|(((&a, &b), &c), (&d, &e))| {
            u8::try_from((weigh([a, b, c, d, e]) + 128) >> 8).unwrap_or(u8::MAX)
        }));
    }
    Plane { width, data }
}

/// The gradient along one row.
#[derive(Default)]
struct Gradients {
    /// To the right and down, a pixel.
    slopes: Vec<(i32, i32)>,
    /// |dx| + |dy|, with a 0 before the first and behind the last pixel.
    sizes: Vec<i32>,
}

impl Gradients {
    /// Of a row between its neighbours; the outermost pixels go on beyond the picture.
    fn of(&mut self, above: &[u8], here: &[u8], below: &[u8]) {
        let columns: Vec<[i32; 3]> = above
            .iter()
            .zip(here)
            .zip(below)
            .map(|((&a, &b), &c)| [a, b, c].map(i32::from))
            .collect();
        let first = columns.first().into_iter();
        let last = columns.last().into_iter();
        let padded: Vec<[i32; 3]> = first.chain(&columns).chain(last).copied().collect();
        self.slopes.clear();
        self.slopes.extend(windows(&padded).map(|[l, m, r]| {
            let dx = (r[0] - l[0]) + 2 * (r[1] - l[1]) + (r[2] - l[2]);
            let dy = (l[2] - l[0]) + 2 * (m[2] - m[0]) + (r[2] - r[0]);
            (dx, dy)
        }));
        self.sizes.clear();
        self.sizes.push(0);
        let sizes = self.slopes.iter().map(|(dx, dy)| dx.abs() + dy.abs());
        self.sizes.extend(sizes);
        self.sizes.push(0);
    }

    /// As of a row outside the picture.
    fn none(&mut self, width: usize) {
        self.slopes.clear();
        self.sizes.clear();
        self.sizes.resize(width + 2, 0);
    }
}

/// What a pixel is while edges are traced.
const OPEN: u8 = 0;
const NOTHING: u8 = 1;
const EDGE: u8 = 2;

/// The tangent of 22.5° in 15-bit fixed point.
const TAN_22: i32 = 13_573;

struct Candidates {
    width: usize,
    /// The picture with a frame of one pixel of [`NOTHING`].
    map: Vec<u8>,
    /// Where [`EDGE`]s are whose neighbours were not looked at.
    strong: Vec<u32>,
}

impl Candidates {
    fn of(blurred: &Plane, low: i32, high: i32) -> Self {
        let (width, height) = (blurred.width, blurred.height());
        let mut map = Vec::with_capacity((width + 2) * (height + 2));
        map.resize(width + 2, NOTHING);
        let mut strong = Vec::new();
        let gradients = |y: usize, out: &mut Gradients| {
            if y < height {
                let row = |y: usize| blurred.row(y.min(height - 1));
                out.of(row(y.saturating_sub(1)), row(y), row(y + 1));
            } else {
                out.none(width);
            }
        };
        let [mut above, mut here, mut below] = <[Gradients; 3]>::default();
        above.none(width);
        gradients(0, &mut here);
        for y in 0..height {
            gradients(y + 1, &mut below);
            map.push(NOTHING);
            let sizes = windows(&above.sizes).zip(windows(&here.sizes));
            let sizes = sizes.zip(windows(&below.sizes));
            for (((above, here), below), &slope) in sizes.zip(&here.slopes) {
                let state = match (is_ridge(slope, [above, here, below], low), here[1] > high) {
                    (false, _) => NOTHING,
                    (true, false) => OPEN,
                    (true, true) => {
                        // A picture has less than 2^30 pixels, its frame included.
                        strong.extend(u32::try_from(map.len()));
                        EDGE
                    }
                };
                map.push(state);
            }
            map.push(NOTHING);
            std::mem::swap(&mut above, &mut here);
            std::mem::swap(&mut here, &mut below);
        }
        map.resize(map.len() + width + 2, NOTHING);
        Self { width, map, strong }
    }

    /// Follows edges over open pixels to their ends.
    fn connected(mut self) -> Plane {
        let stride = self.width + 2;
        while let Some(at) = self.strong.pop() {
            let at = at as usize;
            for row in [at - stride, at, at + stride] {
                for place in row - 1..=row + 1 {
                    if let Some(state @ &mut OPEN) = self.map.get_mut(place) {
                        *state = EDGE;
                        self.strong.extend(u32::try_from(place));
                    }
                }
            }
        }
        let rows = self.map.chunks_exact(stride).skip(1);
        let rows = rows.take((self.map.len() / stride).saturating_sub(2));
        let inner = rows.flat_map(|row| row.iter().skip(1).take(self.width));
        Plane {
            width: self.width,
            data: inner.map(|&state| u8::from(state == EDGE)).collect(),
        }
    }
}

/// Whether the middle of the `sizes` around a pixel is greater than `low` and not less than what
/// lies before and behind it in the direction of the slope, told to 45°.
fn is_ridge((dx, dy): (i32, i32), sizes: [&[i32; 3]; 3], low: i32) -> bool {
    let [above, here, below] = sizes;
    let size = here[1];
    if size <= low {
        return false;
    }
    let across = dx.abs() * TAN_22;
    let down = dy.abs() << 15;
    if down < across {
        size > here[0] && size >= here[2]
    } else if down > across + (dx.abs() << 16) {
        size > above[1] && size >= below[1]
    } else if (dx ^ dy) < 0 {
        size > above[2] && size > below[0]
    } else {
        size > above[0] && size > below[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) -> RgbImage {
        let pixel = &pixel;
        let data = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [pixel(x, y); 3]))
            .collect();
        RgbImage::new(width, height, data).unwrap()
    }

    #[test]
    fn places_beyond_an_end_are_mirrored() {
        let places = |len: usize| {
            let before = [2, 1].map(|before| mirrored(0, before, 0, len));
            let after = [1, 2].map(|after| mirrored(len - 1, 0, after, len));
            (before, after)
        };
        assert_eq!(places(5), ([2, 1], [3, 2]));
        assert_eq!(places(3), ([2, 1], [1, 0]));
        assert_eq!(places(2), ([0, 1], [0, 1]));
        assert_eq!(places(1), ([0, 0], [0, 0]));
        assert_eq!(mirrored(3, 2, 0, 5), 1);
    }

    #[test]
    fn grey_and_blur_round_as_opencv() {
        let image = RgbImage::new(3, 1, vec![255, 0, 0, 0, 255, 0, 0, 0, 255]).unwrap();
        let grey = grey(&image);
        assert_eq!(grey.data, [76, 150, 29]);
        // cv2.GaussianBlur(numpy.uint8([[76, 150, 29]]), (5, 5), 0)
        assert_eq!(blurred(&grey).data, BLURRED);
    }

    const BLURRED: [u8; 3] = [107, 101, 95];

    #[test]
    fn a_step_is_one_line_of_edges() {
        let step = picture(20, 12, |x, _| if x < 10 { 0 } else { 200 });
        let found = edges(&step, 70, 190);
        assert_eq!(found.height(), 12);
        for row in found.data.chunks(20) {
            assert_eq!(row.iter().map(|&edge| u32::from(edge)).sum::<u32>(), 1);
        }
        assert_eq!(edges(&step, 190, 70), found);
        assert!(edges(&step, 70, 2041).data.iter().all(|&edge| edge == 0));
        for (width, height) in [(1, 1), (1, 9), (9, 1), (2, 2)] {
            let flat = picture(width, height, |_, _| 7);
            assert!(edges(&flat, -1, -1).data.iter().all(|&edge| edge == 0));
        }
    }
}
