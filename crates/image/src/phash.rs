//! Perceptual hashes of 64 bits, equal to imagededup's on the same pixels.

use super::dct::{self, dct32};
use super::{RgbImage, resize_lanczos};

/// Which perceptual hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashMethod {
    /// Low frequencies against their median.
    Phash,
    /// Each pixel of a 9 × 8 miniature against its left neighbour.
    Dhash,
    /// Each pixel of an 8 × 8 miniature against the mean.
    Ahash,
    /// Coarse wavelet averages against their median.
    Whash,
}

impl HashMethod {
    /// Width and height of the miniature that is looked at, in pixels.
    const fn miniature(self) -> (u32, u32) {
        match self {
            Self::Phash => (32, 32),
            Self::Dhash => (9, 8),
            Self::Ahash => (8, 8),
            Self::Whash => (256, 256),
        }
    }

    /// The least side, in pixels, that a picture reduced by a decoder should have.
    #[must_use]
    pub const fn least_side(self) -> u32 {
        let (width, height) = self.miniature();
        if width > height { width } else { height }
    }
}

/// The hash: the bit of the top left cell is the highest.
#[must_use]
pub fn perceptual_hash(image: &RgbImage, method: HashMethod) -> u64 {
    perceptual_hash_and_blank(image, method).0
}

/// The hash, and whether the miniature that it is made of is of one shade: then the hash has no
/// content, and is that of every blank picture.
#[must_use]
pub fn perceptual_hash_and_blank(image: &RgbImage, method: HashMethod) -> (u64, bool) {
    let (width, height) = method.miniature();
    let grey = miniature(image, width, height);
    let blank = grey.iter().all(|shade| Some(shade) == grey.first());
    let hash = match method {
        HashMethod::Phash => phash(&grey),
        HashMethod::Dhash => dhash(&grey),
        HashMethod::Ahash => ahash(&grey),
        HashMethod::Whash => whash(&grey),
    };
    (hash, blank)
}

/// Resized in colour, then made grey: the order shows in the last bit.
fn miniature(image: &RgbImage, width: u32, height: u32) -> Vec<u8> {
    resize_lanczos(image, width, height)
        .data()
        .chunks_exact(3)
        .map(|rgb| match rgb {
            &[r, g, b] => grey(r, g, b),
            _ => 0,
        })
        .collect()
}

/// Luma by ITU-R 601 in 16-bit fixed point, rounded.
fn grey(r: u8, g: u8, b: u8) -> u8 {
    let sum = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 0x8000;
    u8::try_from(sum >> 16).unwrap_or(u8::MAX)
}

fn bits(cells: impl Iterator<Item = bool>) -> u64 {
    cells.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}

fn phash(grey: &[u8]) -> u64 {
    const N: usize = dct::N;
    // Columns first, then rows, of which only the first eight are looked at.
    let mut columns = [[0.0; N]; N];
    for (x, column) in columns.iter_mut().enumerate() {
        let values = std::array::from_fn(|y| f64::from(grey.get(y * N + x).copied().unwrap_or(0)));
        *column = dct32(&values);
    }
    let mut low = [0.0; 64];
    for (y, out) in low.chunks_exact_mut(8).enumerate() {
        let row = dct32(&std::array::from_fn(|x| columns[x][y]));
        for (cell, value) in out.iter_mut().zip(row) {
            *cell = value;
        }
    }
    let mut rest: [f64; 63] = std::array::from_fn(|i| low[i + 1]);
    rest.sort_unstable_by(f64::total_cmp);
    let median = rest[31];
    bits(low.iter().map(|&c| c >= median))
}

fn dhash(grey: &[u8]) -> u64 {
    bits(
        grey.chunks_exact(9)
            .flat_map(|row| row.windows(2).map(|pair| pair.last() > pair.first())),
    )
}

fn ahash(grey: &[u8]) -> u64 {
    let sum: u32 = grey.iter().map(|&v| u32::from(v)).sum();
    bits(grey.iter().map(|&v| u32::from(v) * 64 >= sum))
}

fn whash(grey: &[u8]) -> u64 {
    let mut side = 256;
    let mut plane: Vec<f64> = grey.iter().map(|&v| f64::from(v) / 255.0).collect();
    for _ in 0..5 {
        plane = haar_average(&plane, side);
        side /= 2;
    }
    let mut sorted = plane.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
    let median = f64::midpoint(middle(31), middle(32));
    bits(plane.iter().map(|&v| v >= median))
}

/// The low band of one level of the 2-D Haar transform: down the columns, then along the rows.
fn haar_average(plane: &[f64], side: usize) -> Vec<f64> {
    const WEIGHT: f64 = std::f64::consts::FRAC_1_SQRT_2;
    let mut out = Vec::with_capacity(side * side / 4);
    for rows in plane.chunks_exact(side * 2) {
        let (upper, lower) = rows.split_at(side);
        let columns: Vec<f64> = upper
            .iter()
            .zip(lower)
            .map(|(above, below)| WEIGHT * below + WEIGHT * above)
            .collect();
        out.extend(
            columns
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[left, right]| WEIGHT * right + WEIGHT * left),
        );
    }
    out
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
    fn flat_pictures_all_have_the_same_hashes() {
        for level in [0, 128, 255] {
            let flat = picture(100, 80, |_, _| level);
            assert_eq!(perceptual_hash(&flat, HashMethod::Phash), u64::MAX);
            assert_eq!(perceptual_hash(&flat, HashMethod::Ahash), u64::MAX);
            assert_eq!(perceptual_hash(&flat, HashMethod::Whash), u64::MAX);
            assert_eq!(perceptual_hash(&flat, HashMethod::Dhash), 0);
        }
    }

    #[test]
    fn the_first_bit_is_the_top_left_cell() {
        let corner = picture(8, 8, |x, y| if (x, y) == (0, 0) { 255 } else { 0 });
        assert_eq!(perceptual_hash(&corner, HashMethod::Ahash), 1 << 63);
        let rising = picture(9, 8, |x, _| u8::try_from(x * 20).unwrap());
        assert_eq!(perceptual_hash(&rising, HashMethod::Dhash), u64::MAX);
    }
}
