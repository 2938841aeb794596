//! Pillow's Lanczos resize, bit for bit.
//!
//! Version 13.0.0: two separable passes over 8-bit RGB, coefficients in 22-bit fixed point, each
//! pass rounded and clipped to 8 bits. The order of the passes shows in the last bit, and Pillow
//! 13 chooses it by shape (see [`vertical_first`]); Pillow 12 always began horizontally.

use super::RgbImage;

/// Bits after the point of a coefficient.
const PRECISION: u32 = 22;

/// Half, so that the final shift rounds.
const ROUNDING: i32 = 1 << (PRECISION - 1);

/// Resizes to `width` × `height` pixels as Pillow's `resize((width, height), LANCZOS)`.
#[must_use]
pub fn resize_lanczos(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let (out_w, out_h) = (width.max(1) as usize, height.max(1) as usize);
    let passes = Passes::pick();
    let horizontal = (w != out_w).then(|| Taps::new(w, out_w));
    let vertical = (h != out_h).then(|| Taps::new(h, out_h));
    let data = if vertical_first((w, h), (out_w, out_h)) {
        let narrow = run(vertical.as_ref(), image.data(), |taps, data| {
            passes.vertical(data, w * 3, taps)
        });
        run(horizontal.as_ref(), &narrow, |taps, data| {
            passes.horizontal(data, w * 3, taps)
        })
    } else {
        let narrow = run(horizontal.as_ref(), image.data(), |taps, data| {
            passes.horizontal(data, w * 3, taps)
        });
        run(vertical.as_ref(), &narrow, |taps, data| {
            passes.vertical(data, out_w * 3, taps)
        })
    };
    RgbImage {
        width: width.max(1),
        height: height.max(1),
        data,
    }
}

fn run(taps: Option<&Taps>, data: &[u8], pass: impl Fn(&Taps, &[u8]) -> Vec<u8>) -> Vec<u8> {
    taps.map_or_else(|| data.to_vec(), |taps| pass(taps, data))
}

/// Whether Pillow 13.0.0 runs the vertical pass first: the height shrinks by more than twice as
/// many pixels as the width does (a width that grows shrinks by less than none).
fn vertical_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let (width_before, height_before) = from;
    let (width_after, height_after) = to;
    height_before > height_after
        && height_before - height_after + 2 * width_after > 2 * width_before
}

/// For each output position, the window of inputs and their weights.
struct Taps {
    windows: Vec<Window>,
    /// The weights of all windows, each padded with zeros to `stride`.
    weights: Vec<i32>,
    stride: usize,
    /// The same for interleaved bytes: each weight three times, in windows of `wide` bytes that
    /// all fit into a row; empty if the row is shorter than that.
    byte_starts: Vec<usize>,
    byte_weights: Vec<i32>,
    wide: usize,
}

struct Window {
    start: usize,
    len: usize,
}

/// Bytes a step of the fast horizontal pass: eight pixels.
const STEP: usize = 24;

impl Taps {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "sides are below 2^28, and Pillow truncates floats to int just so"
    )]
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = 3.0 * filter_scale;
        let inverse = 1.0 / filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let mut windows = Vec::with_capacity(to);
        let mut weights = vec![0; to * stride];
        for (position, slots) in weights.chunks_exact_mut(stride).enumerate() {
            let center = (position as f64 + 0.5) * scale;
            let start = ((center - support + 0.5) as i64).max(0) as usize;
            let end = ((center + support + 0.5) as i64).min(from as i64) as usize;
            let len = end.saturating_sub(start);
            let raw: Vec<f64> = (0..len)
                .map(|i| lanczos((i as f64 + start as f64 - center + 0.5) * inverse))
                .collect();
            let mut sum = 0.0;
            for weight in &raw {
                sum += weight;
            }
            for (slot, weight) in slots.iter_mut().zip(&raw) {
                let normal = if sum == 0.0 { *weight } else { weight / sum };
                let fixed = normal * f64::from(1_u32 << PRECISION);
                *slot = (fixed + if normal < 0.0 { -0.5 } else { 0.5 }) as i32;
            }
            windows.push(Window { start, len });
        }
        let mut taps = Self {
            windows,
            weights,
            stride,
            byte_starts: Vec::new(),
            byte_weights: Vec::new(),
            wide: 0,
        };
        taps.widen(from * 3);
        taps
    }

    fn widen(&mut self, row: usize) {
        let longest = self.windows.iter().map(|w| w.len * 3).max().unwrap_or(0);
        self.wide = longest.next_multiple_of(STEP);
        if self.wide > row {
            return;
        }
        self.byte_weights = vec![0; self.wide * self.windows.len()];
        let outputs = self.byte_weights.chunks_exact_mut(self.wide);
        for ((window, weights), out) in self
            .windows
            .iter()
            .zip(self.weights.chunks_exact(self.stride))
            .zip(outputs)
        {
            // The last windows begin earlier, with zeros, so as not to reach past the row.
            let start = (window.start * 3).min(row - self.wide);
            let lead = window.start * 3 - start;
            self.byte_starts.push(start);
            let slots = out.get_mut(lead..).unwrap_or_default().chunks_exact_mut(3);
            for (slot, weight) in slots.zip(weights.iter().take(window.len)) {
                slot.fill(*weight);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Window, &[i32])> {
        self.windows
            .iter()
            .zip(self.weights.chunks_exact(self.stride))
            .map(|(window, weights)| (window, weights.get(..window.len).unwrap_or(weights)))
    }
}

/// The windowed sinc of radius 3.
fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            return 1.0;
        }
        let x = x * std::f64::consts::PI;
        x.sin() / x
    };
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

#[expect(clippy::cast_sign_loss, reason = "the value is clamped to a byte")]
#[expect(
    clippy::inline_always,
    reason = "it must be compiled for the caller's processor features"
)]
#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The specification: one multiplication a tap.
mod plain {
    use super::{ROUNDING, Taps, to_byte};

    /// Narrows or widens each row of `stride` bytes.
    pub fn horizontal(data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() / stride * taps.windows.len() * 3);
        for row in data.chunks_exact(stride) {
            for (window, weights) in taps.iter() {
                let mut sums = [ROUNDING; 3];
                let pixels = row.get(window.start * 3..).unwrap_or_default();
                for (pixel, weight) in pixels.chunks_exact(3).zip(weights) {
                    for (sum, byte) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(*byte) * weight;
                    }
                }
                out.extend(sums.map(to_byte));
            }
        }
        out
    }

    /// Shortens or lengthens the columns of rows of `stride` bytes.
    #[cfg(test)]
    pub fn vertical(data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        let mut out = Vec::with_capacity(stride * taps.windows.len());
        for (window, weights) in taps.iter() {
            let rows = data.get(window.start * stride..).unwrap_or_default();
            for column in 0..stride {
                let mut sum = ROUNDING;
                for (row, weight) in rows.chunks_exact(stride).zip(weights) {
                    sum += i32::from(row.get(column).copied().unwrap_or(0)) * weight;
                }
                out.push(to_byte(sum));
            }
        }
        out
    }
}

/// The same sums in blocks that compilers turn into vector code.
mod blocked {
    use super::{ROUNDING, STEP, Taps, plain, to_byte};

    #[expect(
        clippy::inline_always,
        reason = "it must be compiled for the caller's processor features"
    )]
    #[inline(always)]
    pub fn horizontal(data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        if taps.byte_starts.is_empty() {
            return plain::horizontal(data, stride, taps);
        }
        let mut out = Vec::with_capacity(data.len() / stride * taps.windows.len() * 3);
        for row in data.chunks_exact(stride) {
            let windows = taps
                .byte_starts
                .iter()
                .zip(taps.byte_weights.chunks_exact(taps.wide));
            for (start, weights) in windows {
                let mut lanes = [0_i32; STEP];
                let bytes = row.get(*start..start + taps.wide).unwrap_or_default();
                for (bytes, weights) in bytes
                    .as_chunks::<STEP>()
                    .0
                    .iter()
                    .zip(weights.as_chunks::<STEP>().0)
                {
                    for i in 0..STEP {
                        lanes[i] += i32::from(bytes[i]) * weights[i];
                    }
                }
                let mut sums = [ROUNDING; 3];
                for lane in lanes.as_chunks::<3>().0 {
                    for i in 0..3 {
                        sums[i] += lane[i];
                    }
                }
                out.extend(sums.map(to_byte));
            }
        }
        out
    }

    #[inline(always)]
    pub fn vertical(data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        const BLOCK: usize = 64;
        let mut out = vec![0; stride * taps.windows.len()];
        for ((window, weights), out) in taps.iter().zip(out.chunks_exact_mut(stride)) {
            let rows = data.get(window.start * stride..).unwrap_or_default();
            for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                let from = block * BLOCK;
                let mut sums = [ROUNDING; BLOCK];
                for (row, weight) in rows.chunks_exact(stride).zip(weights) {
                    let row = row.get(from..).unwrap_or_default();
                    if let Some(row) = row.first_chunk::<BLOCK>() {
                        for i in 0..BLOCK {
                            sums[i] += i32::from(row[i]) * weight;
                        }
                    } else {
                        for (sum, byte) in sums.iter_mut().zip(row) {
                            *sum += i32::from(*byte) * weight;
                        }
                    }
                }
                for (byte, sum) in out.iter_mut().zip(sums) {
                    *byte = to_byte(sum);
                }
            }
        }
        out
    }
}

/// The same passes for AVX2.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        _mm_loadl_epi64, _mm256_add_epi32, _mm256_cvtepu8_epi32, _mm256_loadu_si256,
        _mm256_mullo_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
    };

    use super::{ROUNDING, STEP, Taps, blocked, plain, to_byte};

    /// Eight lanes a register: three registers hold eight pixels.
    #[expect(unsafe_code, reason = "vector loads take pointers")]
    #[target_feature(enable = "avx2")]
    pub fn horizontal(data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        if taps.byte_starts.is_empty() {
            return plain::horizontal(data, stride, taps);
        }
        let mut out = Vec::with_capacity(data.len() / stride * taps.windows.len() * 3);
        for row in data.chunks_exact(stride) {
            let windows = taps
                .byte_starts
                .iter()
                .zip(taps.byte_weights.chunks_exact(taps.wide));
            for (start, weights) in windows {
                let bytes = row.get(*start..start + taps.wide).unwrap_or_default();
                let mut lanes = [_mm256_setzero_si256(); 3];
                let steps = bytes.as_chunks::<STEP>().0.iter();
                for (bytes, weights) in steps.zip(weights.as_chunks::<STEP>().0) {
                    for (i, lane) in lanes.iter_mut().enumerate() {
                        // SAFETY: 8 bytes at 8i and 8 weights at 8i lie within the 24 of each
                        // array, for i < 3; the loads need no alignment.
                        let (eight, weight) = unsafe {
                            (
                                _mm_loadl_epi64(bytes.as_ptr().add(8 * i).cast()),
                                _mm256_loadu_si256(weights.as_ptr().add(8 * i).cast()),
                            )
                        };
                        let product = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(eight), weight);
                        *lane = _mm256_add_epi32(*lane, product);
                    }
                }
                let mut values = [0_i32; STEP];
                for (part, lane) in values.as_chunks_mut::<8>().0.iter_mut().zip(lanes) {
                    // SAFETY: `part` has room for the 8 lanes; the store needs no alignment.
                    unsafe { _mm256_storeu_si256(part.as_mut_ptr().cast(), lane) };
                }
                let mut sums = [ROUNDING; 3];
                for pixel in values.as_chunks::<3>().0 {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
                out.extend(sums.map(to_byte));
            }
        }
        out
    }

    #[target_feature(enable = "avx2")]
    pub fn vertical(data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        blocked::vertical(data, stride, taps)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passes {
    #[cfg(test)]
    Plain,
    Blocked,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Passes {
    fn pick() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Blocked
    }

    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "calls code compiled for a feature of the processor"
        )
    )]
    fn horizontal(self, data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        match self {
            #[cfg(test)]
            Self::Plain => plain::horizontal(data, stride, taps),
            Self::Blocked => blocked::horizontal(data, stride, taps),
            // SAFETY: `pick` chose this only after it found the feature.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::horizontal(data, stride, taps) },
        }
    }

    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "calls code compiled for a feature of the processor"
        )
    )]
    fn vertical(self, data: &[u8], stride: usize, taps: &Taps) -> Vec<u8> {
        match self {
            #[cfg(test)]
            Self::Plain => plain::vertical(data, stride, taps),
            Self::Blocked => blocked::vertical(data, stride, taps),
            // SAFETY: `pick` chose this only after it found the feature.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::vertical(data, stride, taps) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = u64::from(width) << 32 | u64::from(height);
        let data = (0..width * height * 3)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                u8::try_from(state >> 56).unwrap()
            })
            .collect();
        RgbImage::new(width, height, data).unwrap()
    }

    #[test]
    fn the_fast_passes_equal_the_plain_ones() {
        for (from, to) in [
            (402, 32),
            (37, 8),
            (5, 9),
            (1, 8),
            (300, 256),
            (9, 256),
            (64, 63),
        ] {
            let taps = Taps::new(from, to);
            let side = u32::try_from(from).unwrap();
            let wide = noise(side, 7);
            let tall = noise(23, side);
            for fast in [Passes::Blocked, Passes::pick()] {
                assert_eq!(
                    fast.horizontal(wide.data(), from * 3, &taps),
                    Passes::Plain.horizontal(wide.data(), from * 3, &taps),
                    "{from} to {to}"
                );
                assert_eq!(
                    fast.vertical(tall.data(), 69, &taps),
                    Passes::Plain.vertical(tall.data(), 69, &taps),
                    "{from} to {to}"
                );
            }
        }
    }

    #[test]
    fn flat_pictures_stay_flat() {
        let flat = RgbImage::new(50, 40, vec![77; 6000]).unwrap();
        assert!(
            resize_lanczos(&flat, 32, 32)
                .data()
                .iter()
                .all(|&v| v == 77)
        );
        assert_eq!(resize_lanczos(&flat, 50, 40), flat);
    }

    #[test]
    fn tall_pictures_shrink_vertically_first() {
        assert!(vertical_first((33, 35), (32, 32)));
        assert!(!vertical_first((33, 34), (32, 32)));
        assert!(vertical_first((7, 33), (32, 32)));
        assert!(!vertical_first((7, 32), (32, 32)));
        assert!(!vertical_first((400, 300), (32, 32)));
    }
}
