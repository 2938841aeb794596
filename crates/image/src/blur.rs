//! Pillow's blurs, to the last bit: the 5 × 5 mean, the box of fractional radius (Gwosdek and
//! others, 2011) and the Gaussian made of three such boxes.

use super::RgbImage;

/// A blur and its radius in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Blur {
    /// The mean of the 16 pixels on the rim of the 5 × 5 pixels around each (`ImageFilter.BLUR`).
    Mean,
    /// The mean of all pixels within the radius (`ImageFilter.BoxBlur`).
    Box(f32),
    /// A Gaussian with the radius as standard deviation (`ImageFilter.GaussianBlur`).
    Gaussian(f32),
}

/// How many boxes make a Gaussian.
const PASSES: u8 = 3;

type Pixel = [u8; 3];

impl Blur {
    /// The blurred image, of the same size. Radii are finite, not negative and at most a million.
    #[must_use]
    pub fn apply(self, image: &RgbImage) -> RgbImage {
        let (radius, passes) = match self {
            Self::Mean => return mean(image),
            Self::Box(radius) => (radius, 1),
            Self::Gaussian(radius) => (gaussian_box(radius), PASSES),
        };
        if radius == 0.0 {
            return image.clone();
        }
        let across = boxes(image, radius, passes);
        transposed(&boxes(&transposed(&across), radius, passes))
    }
}

/// The radius of the box that, applied [`PASSES`] times, comes nearest to a Gaussian: equations 7,
/// 11 and 14 of the paper, in the precision in which Pillow computes them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "Pillow stores each of these in single precision"
)]
fn gaussian_box(radius: f32) -> f32 {
    let variance = radius * radius / f32::from(PASSES);
    let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
    let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
    let mut rest = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance);
    rest /= 6.0 * (variance - (whole + 1.0) * (whole + 1.0));
    whole + rest
}

/// `passes` boxes over every row.
fn boxes(image: &RgbImage, radius: f32, passes: u8) -> RgbImage {
    let weights = Weights::of(radius);
    let mut data = image.data.clone();
    let mut row = Vec::new();
    for line in data.chunks_exact_mut(image.width as usize * 3) {
        for _ in 0..passes {
            row.clear();
            row.extend_from_slice(line.as_chunks::<3>().0);
            weights.blur(&row, line.as_chunks_mut::<3>().0);
        }
    }
    RgbImage { data, ..*image }
}

/// A box in fixed point of 24 bits.
struct Weights {
    /// Pixels on either side that count in full.
    radius: usize,
    full: u32,
    /// What the two pixels just beyond count.
    far: u32,
}

impl Weights {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the radius is within 0 and a million"
    )]
    fn of(radius: f32) -> Self {
        let whole = radius as u32;
        let full = (16_777_216.0 / (radius * 2.0 + 1.0)) as u32;
        let inner = (whole * 2 + 1).wrapping_mul(full);
        Self {
            radius: whole as usize,
            full,
            far: (1_u32 << 24).wrapping_sub(inner) / 2,
        }
    }

    /// One box over a row. Beyond its ends the row goes on with its last pixels.
    fn blur(&self, row: &[Pixel], out: &mut [Pixel]) {
        let first = row.first().copied().unwrap_or_default();
        let last = row.last().copied().unwrap_or_default();
        let after = |at: usize| row.get(at).copied().unwrap_or(last);
        // The sum for the pixel before the first.
        let beyond = u32::try_from(self.radius.saturating_sub(row.len())).unwrap_or(0);
        let before = u32::try_from(self.radius + 1).unwrap_or(u32::MAX);
        let mut sums = std::array::from_fn(|channel| {
            let value = |pixel: &Pixel| u32::from(pixel.get(channel).copied().unwrap_or_default());
            let inside: u32 = row.iter().take(self.radius).map(value).sum();
            inside + value(&first) * before + value(&last) * beyond
        });
        for (at, pixel) in out.iter_mut().enumerate() {
            let left = at
                .checked_sub(self.radius + 1)
                .map_or(first, |left| row.get(left).copied().unwrap_or(last));
            let right = after(at + self.radius);
            let far = after(at + self.radius + 1);
            sums = add(sums, right, left);
            *pixel = self.mean(sums, left, far);
        }
    }

    fn mean(&self, sums: [u32; 3], left: Pixel, right: Pixel) -> Pixel {
        let [red, green, blue] = sums;
        let [left_red, left_green, left_blue] = left.map(u32::from);
        let [right_red, right_green, right_blue] = right.map(u32::from);
        let one = |sum: u32, far: u32| {
            let weighted = sum
                .wrapping_mul(self.full)
                .wrapping_add(far.wrapping_mul(self.far));
            let [.., high] = weighted.wrapping_add(1 << 23).to_le_bytes();
            high
        };
        [
            one(red, left_red + right_red),
            one(green, left_green + right_green),
            one(blue, left_blue + right_blue),
        ]
    }
}

/// Moves a window on by a pixel.
fn add(sums: [u32; 3], enters: Pixel, leaves: Pixel) -> [u32; 3] {
    let [red, green, blue] = sums;
    let [in_red, in_green, in_blue] = enters.map(u32::from);
    let [out_red, out_green, out_blue] = leaves.map(u32::from);
    [
        (red + in_red).wrapping_sub(out_red),
        (green + in_green).wrapping_sub(out_green),
        (blue + in_blue).wrapping_sub(out_blue),
    ]
}

/// Rows as columns.
fn transposed(image: &RgbImage) -> RgbImage {
    let (width, height) = (image.width as usize, image.height as usize);
    let pixels = image.data.as_chunks::<3>().0;
    let mut data = Vec::with_capacity(image.data.len());
    for x in 0..width {
        for row in pixels.chunks_exact(width).take(height) {
            data.extend_from_slice(&row.get(x).copied().unwrap_or_default());
        }
    }
    RgbImage {
        width: image.height,
        height: image.width,
        data,
    }
}

/// The mean of the rim of 5 × 5 pixels, rounded half up; the two pixels at each edge stay.
fn mean(image: &RgbImage) -> RgbImage {
    let mut data = image.data.clone();
    let stride = image.width as usize * 3;
    if image.width < 5 || image.height < 5 {
        return image.clone();
    }
    let inner = data.chunks_exact_mut(stride).skip(2);
    for (out, rows) in inner.zip(image.data.windows(stride * 5).step_by(stride)) {
        let mut lines = rows.chunks_exact(stride);
        let [
            Some(first),
            Some(second),
            Some(third),
            Some(fourth),
            Some(fifth),
        ] = std::array::from_fn(|_| lines.next())
        else {
            continue;
        };
        let end = stride - 6;
        for (at, value) in out.iter_mut().enumerate().take(end).skip(6) {
            let of = |line: &[u8], at: usize| u32::from(line.get(at).copied().unwrap_or_default());
            let ends = |line| of(line, at - 6) + of(line, at + 6);
            let whole = |line| ends(line) + of(line, at - 3) + of(line, at) + of(line, at + 3);
            let sides = ends(second) + ends(third) + ends(fourth);
            let sum = whole(first) + sides + whole(fifth);
            *value = u8::try_from((sum + 8) >> 4).unwrap_or(u8::MAX);
        }
    }
    RgbImage { data, ..*image }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, height: u32) -> RgbImage {
        let data = (0..width * height * 3).map(|i| (i * 97 % 251).to_le_bytes()[0]);
        RgbImage::new(width, height, data.collect()).unwrap()
    }

    /// What [`Weights::blur`] says, pixel by pixel.
    fn plain(image: &RgbImage, radius: f32) -> Vec<u8> {
        let weights = Weights::of(radius);
        let (width, reach) = (
            i64::from(image.width),
            i64::try_from(weights.radius).unwrap(),
        );
        let mut out = Vec::new();
        for row in image.data.chunks_exact(image.width as usize * 3) {
            for x in 0..width {
                for channel in 0..3 {
                    let at = |x: i64| {
                        let x = usize::try_from(x.clamp(0, width - 1)).unwrap();
                        u32::from(row[x * 3 + channel])
                    };
                    let sum: u32 = (x - reach..=x + reach).map(at).sum();
                    let far = at(x - reach - 1) + at(x + reach + 1);
                    let value = sum * weights.full + far * weights.far + (1 << 23);
                    out.push(value.to_le_bytes()[3]);
                }
            }
        }
        out
    }

    #[test]
    fn the_running_sum_is_the_sum() {
        for (width, height) in [(1, 1), (2, 3), (7, 2), (40, 1)] {
            for radius in [0.3, 1.0, 1.5, 2.0, 6.9, 7.0, 50.0, 1e6] {
                let image = image(width, height);
                assert_eq!(
                    boxes(&image, radius, 1).data,
                    plain(&image, radius),
                    "{width}x{height}, {radius}"
                );
            }
        }
    }

    #[test]
    fn no_radius_and_no_room_change_nothing() {
        let small = image(4, 9);
        assert_eq!(Blur::Mean.apply(&small), small);
        assert_eq!(Blur::Box(0.0).apply(&small), small);
        assert_eq!(Blur::Gaussian(0.0).apply(&small), small);
        let edge = Blur::Mean.apply(&image(5, 5));
        let differs = edge.data.iter().zip(image(5, 5).data);
        assert_eq!(differs.filter(|(a, b)| **a != *b).count(), 3);
    }
}
