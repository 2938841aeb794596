//! Pillow's resize, bit for bit.
//!
//! Version 13.0.0: two separable passes over 8-bit RGB, coefficients in 22-bit fixed point, each
//! pass rounded and clipped to 8 bits. The order of the passes shows in the last bit, and Pillow
//! 13 chooses it by shape (see [`vertical_first`]); Pillow 12 always began horizontally.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use hashbrown::HashMap;

use super::RgbImage;

/// Bits after the point of a coefficient.
const PRECISION: i32 = 22;

/// Half, so that the final shift rounds.
const ROUNDING: i32 = 1 << (PRECISION - 1);

/// How much each pixel around a place counts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resample {
    /// `BOX`: the pixels that a new pixel covers, alike.
    Box,
    /// `BILINEAR`: a triangle of radius 1.
    Bilinear,
    /// `HAMMING`: a windowed sinc of radius 1.
    Hamming,
    /// `BICUBIC`: Keys' cubic with -0.5, of radius 2.
    Bicubic,
    /// `LANCZOS`: the windowed sinc of radius 3.
    Lanczos,
}

impl Resample {
    fn radius(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => hamming(x.abs()),
            Self::Bicubic => bicubic(x.abs()),
            Self::Lanczos => lanczos(x),
        }
    }
}

/// Resizes to `width` × `height` pixels as Pillow's `resize((width, height), LANCZOS)`.
#[must_use]
pub fn resize_lanczos(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    resize(image, Resample::Lanczos, width, height)
}

/// Resizes to `width` × `height` pixels as Pillow's `resize((width, height), resample)`.
#[must_use]
pub fn resize(image: &RgbImage, resample: Resample, width: u32, height: u32) -> RgbImage {
    let (width, height) = (width.max(1), height.max(1));
    resize_part(image, resample, (width, height), 0..width, 0..height)
}

/// The pixels of some columns and rows of [`resize`]: others are not made. `columns` and `rows` lie
/// within the width and the height of `size`, and are not empty.
#[must_use]
pub fn resize_part(
    image: &RgbImage,
    resample: Resample,
    size: (u32, u32),
    columns: Range<u32>,
    rows: Range<u32>,
) -> RgbImage {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let (out_w, out_h) = (size.0 as usize, size.1 as usize);
    let columns = columns.start as usize..columns.end as usize;
    let rows = rows.start as usize..rows.end as usize;
    let horizontal = (w != out_w).then(|| Taps::remembered(resample, w, out_w));
    let vertical = (h != out_h).then(|| Taps::remembered(resample, h, out_h));
    let (horizontal, vertical) = (horizontal.as_deref(), vertical.as_deref());
    let data = if vertical_first((w, h), (out_w, out_h)) {
        let short = lengthwise(image.data(), w * 3, vertical, rows.clone(), 0);
        across(&short, w * 3, horizontal, columns.clone()).into_owned()
    } else {
        let needed = vertical.map_or(rows.clone(), |taps| taps.reach(&rows));
        let bytes = needed.start * w * 3..needed.end * w * 3;
        let wanted = image.data().get(bytes).unwrap_or_default();
        let narrow = across(wanted, w * 3, horizontal, columns.clone());
        let stride = columns.len() * 3;
        lengthwise(&narrow, stride, vertical, rows.clone(), needed.start).into_owned()
    };
    RgbImage {
        width: u32::try_from(columns.len()).unwrap_or(u32::MAX),
        height: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        data,
    }
}

/// Some columns of rows of `stride` bytes, narrowed or widened if there are `taps`.
fn across<'a>(
    data: &'a [u8],
    stride: usize,
    taps: Option<&Taps>,
    columns: Range<usize>,
) -> Cow<'a, [u8]> {
    if let Some(taps) = taps {
        return Passes::pick()
            .horizontal(data, stride, taps.of(columns, 0))
            .into();
    }
    let bytes = columns.start * 3..columns.end * 3;
    if bytes == (0..stride) {
        return data.into();
    }
    let rows = data.chunks_exact(stride);
    let parts = rows.filter_map(|row| row.get(bytes.clone()));
    parts.collect::<Vec<_>>().concat().into()
}

/// Some rows of a picture of which `data` has those from the `first` on, of `stride` bytes each,
/// shortened or lengthened if there are `taps`.
fn lengthwise<'a>(
    data: &'a [u8],
    stride: usize,
    taps: Option<&Taps>,
    rows: Range<usize>,
    first: usize,
) -> Cow<'a, [u8]> {
    if let Some(taps) = taps {
        return Passes::pick()
            .vertical(data, stride, taps.of(rows, first))
            .into();
    }
    let bytes = (rows.start - first) * stride..(rows.end - first) * stride;
    data.get(bytes).unwrap_or_default().into()
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
    /// The same in pairs, if windows are short: each padded with zeros to `quads`.
    pairs: Vec<Quad>,
    /// Fours of weights a window; 0 if windows are long.
    quads: usize,
    /// The same in halves, if windows are long: each padded with zeros to whole blocks.
    halves: Vec<Halves>,
    /// Blocks a window; 0 if windows are short.
    blocks: usize,
}

/// Those of some output positions.
#[derive(Clone, Copy)]
struct Part<'a> {
    windows: &'a [Window],
    weights: &'a [i32],
    stride: usize,
    pairs: &'a [Quad],
    quads: usize,
    halves: &'a [Halves],
    blocks: usize,
    /// The input that comes first: windows begin so much earlier.
    first: usize,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: usize,
    len: usize,
}

/// Pixels a step of the fast horizontal pass over long windows.
const BLOCK: usize = 16;

/// A block of weights as `upper * 2^15 + lower`. Products of 16-bit numbers can be added in pairs
/// by one instruction, those of 32-bit numbers cannot; two of the former cost less than one of the
/// latter.
#[derive(Clone, Copy)]
struct Halves {
    upper: [i16; BLOCK],
    lower: [i16; BLOCK],
}

/// Four weights in such halves, two in a number: the upper and the lower ones of the first two,
/// those of the others.
type Quad = [i32; 4];

/// Weights of a window up to which it is short.
const SHORT: usize = 32;

/// Bits of the lower half of a weight.
const LOWER: i32 = 15;

/// About how many bytes of weights a thread remembers.
const REMEMBERED: usize = 8 << 20;

thread_local! {
    static TAPS: RefCell<HashMap<(Resample, usize, usize), Rc<Taps>>> = RefCell::default();
}

impl Taps {
    /// [`Taps::new`], remembered: pictures of one set share their sides, and weights take a sine
    /// or two each.
    fn remembered(resample: Resample, from: usize, to: usize) -> Rc<Self> {
        TAPS.with_borrow_mut(|taps| {
            if let Some(known) = taps.get(&(resample, from, to)) {
                return Rc::clone(known);
            }
            let new = Rc::new(Self::new(resample, from, to));
            if new.size() > REMEMBERED / 8 {
                return new;
            }
            if taps.values().map(|t| t.size()).sum::<usize>() + new.size() > REMEMBERED {
                taps.clear();
            }
            taps.insert((resample, from, to), Rc::clone(&new));
            new
        })
    }

    fn size(&self) -> usize {
        size_of_val(&*self.weights)
            + size_of_val(&*self.pairs)
            + size_of_val(&*self.halves)
            + size_of_val(&*self.windows)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "sides are below 2^28, and Pillow truncates floats to int just so"
    )]
    fn new(resample: Resample, from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = resample.radius() * filter_scale;
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
                .map(|i| resample.weight((i as f64 + start as f64 - center + 0.5) * inverse))
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
        let longest = windows.iter().map(|w| w.len).max().unwrap_or(0).max(1);
        let (mut quads, mut blocks) = (longest.div_ceil(4), 0);
        if longest > SHORT {
            (quads, blocks) = (0, longest.div_ceil(BLOCK));
        }
        Self {
            pairs: in_fours(&weights, stride, quads),
            halves: in_blocks(&weights, stride, blocks),
            windows,
            weights,
            stride,
            quads,
            blocks,
        }
    }

    /// Those of some output positions, for inputs from the `first` on.
    fn of(&self, positions: Range<usize>, first: usize) -> Part<'_> {
        fn each<'a, T>(all: &'a [T], positions: &Range<usize>, size: usize) -> &'a [T] {
            let range = positions.start * size..positions.end * size;
            all.get(range).unwrap_or_default()
        }
        Part {
            windows: each(&self.windows, &positions, 1),
            weights: each(&self.weights, &positions, self.stride),
            stride: self.stride,
            pairs: each(&self.pairs, &positions, self.quads),
            quads: self.quads,
            halves: each(&self.halves, &positions, self.blocks),
            blocks: self.blocks,
            first,
        }
    }

    /// The inputs that some output positions are made of. Windows follow each other.
    fn reach(&self, positions: &Range<usize>) -> Range<usize> {
        let windows = self.windows.get(positions.clone()).unwrap_or_default();
        let start = windows.first().map_or(0, |window| window.start);
        let end = windows.last().map_or(0, |window| window.start + window.len);
        start..end
    }
}

impl<'a> Part<'a> {
    /// Where each window begins, and its weights.
    fn iter(self) -> impl Iterator<Item = (usize, &'a [i32])> {
        let weights = self.weights.chunks_exact(self.stride);
        self.windows.iter().zip(weights).map(move |(window, all)| {
            let weights = all.get(..window.len).unwrap_or(all);
            (window.start - self.first, weights)
        })
    }
}

/// The upper and the lower half of a weight.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight has at most 25 bits, so its halves fit into 16"
)]
fn halves(weight: i32) -> (i16, i16) {
    (
        (weight >> LOWER) as i16,
        (weight & ((1 << LOWER) - 1)) as i16,
    )
}

/// Two numbers of 16 bits in one.
fn pair(first: i16, second: i16) -> i32 {
    i32::from(first) & 0xffff | i32::from(second) << 16
}

/// The weights of each window in fours, so many a window.
fn in_fours(weights: &[i32], stride: usize, quads: usize) -> Vec<Quad> {
    let quad = |window: &[i32], at: usize| {
        let [a, b, c, d] =
            std::array::from_fn(|i| halves(window.get(at * 4 + i).copied().unwrap_or(0)));
        [
            pair(a.0, b.0),
            pair(a.1, b.1),
            pair(c.0, d.0),
            pair(c.1, d.1),
        ]
    };
    let windows = weights.chunks_exact(stride);
    windows
        .flat_map(|window| (0..quads).map(move |at| quad(window, at)))
        .collect()
}

/// The weights of each window in blocks, so many a window.
fn in_blocks(weights: &[i32], stride: usize, blocks: usize) -> Vec<Halves> {
    let block = |window: &[i32], at: usize| {
        let of = |i: usize| halves(window.get(at * BLOCK + i).copied().unwrap_or(0));
        Halves {
            upper: std::array::from_fn(|i| of(i).0),
            lower: std::array::from_fn(|i| of(i).1),
        }
    };
    let windows = weights.chunks_exact(stride);
    windows
        .flat_map(|window| (0..blocks).map(move |at| block(window, at)))
        .collect()
}

/// Keys' cubic at `x`, which is not negative, with the order of Pillow's operations.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The Hamming-windowed sinc at `x`, which is not negative. Pillow has its constants in 32 bits.
fn hamming(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x * (f64::from(0.54_f32) + f64::from(0.46_f32) * x.cos())
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

/// Writes the red, the green and the blue of a row into planes of `plane` numbers each.
#[expect(
    clippy::inline_always,
    reason = "it must be compiled for the caller's processor features"
)]
#[inline(always)]
fn take_apart(row: &[u8], planes: &mut [i16], plane: usize) {
    let (red, rest) = planes.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    let channels = red.iter_mut().zip(green).zip(blue);
    for (pixel, ((r, g), b)) in row.as_chunks::<3>().0.iter().zip(channels) {
        *r = i16::from(pixel[0]);
        *g = i16::from(pixel[1]);
        *b = i16::from(pixel[2]);
    }
}

/// The specification: one multiplication a tap.
#[cfg(test)]
mod plain {
    use super::{Part, ROUNDING, to_byte};

    /// Narrows or widens each row of `stride` bytes.
    pub fn horizontal(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() / stride * taps.windows.len() * 3);
        for row in data.chunks_exact(stride) {
            for (start, weights) in taps.iter() {
                let mut sums = [ROUNDING; 3];
                let pixels = row.get(start * 3..).unwrap_or_default();
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
    pub fn vertical(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(stride * taps.windows.len());
        for (start, weights) in taps.iter() {
            let rows = data.get(start * stride..).unwrap_or_default();
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

/// The same sums in loops that compilers turn into vector code.
mod blocked {
    use super::{Part, ROUNDING, take_apart, to_byte};

    pub fn horizontal(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() / stride * taps.windows.len() * 3);
        let plane = stride / 3;
        let mut planes = vec![0_i16; plane * 3];
        for row in data.chunks_exact(stride) {
            take_apart(row, &mut planes, plane);
            for (start, weights) in taps.iter() {
                for values in planes.chunks_exact(plane) {
                    let values = values.get(start..).unwrap_or_default();
                    let products = values.iter().zip(weights).map(|(v, w)| i32::from(*v) * w);
                    out.push(to_byte(ROUNDING + products.sum::<i32>()));
                }
            }
        }
        out
    }

    #[inline(always)]
    pub fn vertical(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        const BLOCK: usize = 64;
        let mut out = vec![0; stride * taps.windows.len()];
        for ((start, weights), out) in taps.iter().zip(out.chunks_exact_mut(stride)) {
            let rows = data.get(start * stride..).unwrap_or_default();
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
        __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_cvtsi128_si64, _mm_loadu_si128,
        _mm_packs_epi32, _mm_packus_epi16, _mm_set1_epi32, _mm_srai_epi32, _mm256_add_epi32,
        _mm256_castsi128_si256, _mm256_castsi256_si128, _mm256_extracti128_si256,
        _mm256_hadd_epi32, _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_packs_epi32, _mm256_packus_epi16, _mm256_set1_epi32, _mm256_setr_epi8,
        _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srai_epi32,
        _mm256_storeu_si256, _mm256_unpackhi_epi8, _mm256_unpacklo_epi8,
    };

    use super::{
        BLOCK, Halves, LOWER, PRECISION, Part, Quad, ROUNDING, blocked, halves, pair, take_apart,
    };

    #[target_feature(enable = "avx2")]
    pub fn horizontal(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        if taps.quads > 0 {
            short(data, stride, taps)
        } else {
            long(data, stride, taps)
        }
    }

    /// Rows that share the loads of short windows' weights.
    const TOGETHER: usize = 4;

    /// Bytes of a load.
    const LOAD: usize = 16;

    /// Pixels stay together: two neighbours are added by one instruction, their colours side by
    /// side, those of two rows at once.
    #[target_feature(enable = "avx2")]
    fn short(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        let out_stride = taps.windows.len() * 3;
        let mut out = vec![0; data.len() / stride * out_stride];
        // How much of rows that are taken together is looked at: the last loads reach past a row.
        let last = taps.windows.last().map_or(0, |window| window.start);
        let seen = (TOGETHER - 1) * stride + (last + taps.quads * 4) * 3 + LOAD;
        let mut padded = Vec::new();
        let all = out.chunks_mut(out_stride * TOGETHER);
        for (from, out) in (0..).step_by(stride * TOGETHER).zip(all) {
            let mut rows = data.get(from..).unwrap_or_default();
            if rows.len() < seen {
                padded.clear();
                padded.extend_from_slice(rows);
                padded.resize(seen, 0);
                rows = &padded;
            }
            let mut out = out.chunks_exact_mut(out_stride);
            let mut places: [&mut [[u8; 3]]; TOGETHER] = std::array::from_fn(|_| {
                out.next().map_or(&mut [][..], |row| row.as_chunks_mut().0)
            });
            let windows = taps.windows.iter();
            for (at, (window, quads)) in
                windows.zip(taps.pairs.chunks_exact(taps.quads)).enumerate()
            {
                let pixels = four_rows(rows, stride, window.start * 3, quads);
                for (row, pixel) in places.iter_mut().zip(pixels) {
                    if let Some(place) = row.get_mut(at) {
                        *place = pixel;
                    }
                }
            }
        }
        out
    }

    /// The pixels of four rows whose window begins at byte `start` of each.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn four_rows(rows: &[u8], stride: usize, start: usize, quads: &[Quad]) -> [[u8; 3]; TOGETHER] {
        // Of four pixels, the colours of the first two as pairs of 16-bit numbers; of the others.
        #[rustfmt::skip]
        let first = _mm256_setr_epi8(
            0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
            0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
        );
        #[rustfmt::skip]
        let second = _mm256_setr_epi8(
            6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
            6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
        );
        let seen = (TOGETHER - 1) * stride + start + quads.len() * 12 + LOAD - 12;
        assert!(quads.is_empty() || seen <= rows.len());
        let mut upper = [_mm256_setzero_si256(); 2];
        let mut lower = [_mm256_set1_epi32(ROUNDING); 2];
        for (at, [upper_a, lower_a, upper_b, lower_b]) in quads.iter().enumerate() {
            let weights = [
                _mm256_set1_epi32(*upper_a),
                _mm256_set1_epi32(*lower_a),
                _mm256_set1_epi32(*upper_b),
                _mm256_set1_epi32(*lower_b),
            ];
            for two in 0..2 {
                let from = two * 2 * stride + start + at * 12;
                // SAFETY: the last byte of the last load is the last one that is seen, by the
                // assertion.
                #[expect(unsafe_code, reason = "the bounds were checked once")]
                let bytes = unsafe {
                    let from = rows.as_ptr().add(from);
                    _mm256_inserti128_si256::<1>(
                        _mm256_castsi128_si256(_mm_loadu_si128(from.cast())),
                        _mm_loadu_si128(from.add(stride).cast()),
                    )
                };
                let a = _mm256_shuffle_epi8(bytes, first);
                let b = _mm256_shuffle_epi8(bytes, second);
                upper[two] = _mm256_add_epi32(upper[two], _mm256_madd_epi16(a, weights[0]));
                lower[two] = _mm256_add_epi32(lower[two], _mm256_madd_epi16(a, weights[1]));
                upper[two] = _mm256_add_epi32(upper[two], _mm256_madd_epi16(b, weights[2]));
                lower[two] = _mm256_add_epi32(lower[two], _mm256_madd_epi16(b, weights[3]));
            }
        }
        let [ab, cd] = std::array::from_fn(|two| {
            let whole = _mm256_add_epi32(_mm256_slli_epi32::<LOWER>(upper[two]), lower[two]);
            _mm256_srai_epi32::<PRECISION>(whole)
        });
        // Both packings clip: to 16 bits, then to a byte.
        let words = _mm256_packs_epi32(ab, cd);
        let bytes = _mm256_packus_epi16(words, words);
        let [ac, bd] = [
            _mm256_castsi256_si128(bytes),
            _mm256_extracti128_si256::<1>(bytes),
        ]
        .map(|lane| _mm_cvtsi128_si64(lane).to_le_bytes());
        [
            [ac[0], ac[1], ac[2]],
            [bd[0], bd[1], bd[2]],
            [ac[4], ac[5], ac[6]],
            [bd[4], bd[5], bd[6]],
        ]
    }

    /// The number of rows that share the loads of long windows' weights: as many as registers allow.
    const ROWS: usize = 2;

    /// Rows are first taken apart into red, green and blue numbers of 16 bits.
    #[target_feature(enable = "avx2")]
    fn long(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        let out_stride = taps.windows.len() * 3;
        let mut out = vec![0; data.len() / stride * out_stride];
        // Zeros behind each row, so that a last block may reach past it.
        let plane = stride / 3 + taps.blocks * BLOCK;
        let mut planes = vec![0_i16; plane * 3 * ROWS];
        for (rows, out) in data
            .chunks(stride * ROWS)
            .zip(out.chunks_mut(out_stride * ROWS))
        {
            let each = rows
                .chunks_exact(stride)
                .zip(planes.chunks_exact_mut(plane * 3));
            for (row, planes) in each {
                take_apart(row, planes, plane);
            }
            // Of an odd last row the second half of the planes holds an earlier one; what comes
            // of it has no place to go.
            let (first, second) = out.split_at_mut(out_stride);
            let first = first.as_chunks_mut::<3>().0.iter_mut();
            let mut second = second.as_chunks_mut::<3>().0.iter_mut();
            let windows = taps
                .windows
                .iter()
                .zip(taps.halves.chunks_exact(taps.blocks));
            for ((window, halves), first) in windows.zip(first) {
                let pixels = sums(&planes, plane, window.start, halves);
                *first = pixels[0];
                if let Some(second) = second.next() {
                    *second = pixels[1];
                }
            }
        }
        out
    }

    /// The pixels of two rows whose window begins at `start`.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn sums(planes: &[i16], plane: usize, start: usize, halves: &[Halves]) -> [[u8; 3]; ROWS] {
        const PLANES: usize = 3 * ROWS;
        // What follows reads this much of each plane.
        assert!(start + halves.len() * BLOCK <= plane && plane * PLANES <= planes.len());
        let zero = _mm256_setzero_si256();
        let (mut upper, mut lower) = ([zero; PLANES], [zero; PLANES]);
        for (block, half) in halves.iter().enumerate() {
            let (high, low) = (load(&half.upper), load(&half.lower));
            let at = start + block * BLOCK;
            for i in 0..PLANES {
                // SAFETY: the sixteen numbers from `at` on lie in the plane, by the assertion.
                #[expect(unsafe_code, reason = "the bounds were checked once")]
                let values =
                    unsafe { _mm256_loadu_si256(planes.as_ptr().add(i * plane + at).cast()) };
                upper[i] = _mm256_add_epi32(upper[i], _mm256_madd_epi16(values, high));
                lower[i] = _mm256_add_epi32(lower[i], _mm256_madd_epi16(values, low));
            }
        }
        // Modulo 2^32 nothing is lost: the whole sum fits.
        let whole: [__m256i; PLANES] = std::array::from_fn(|i| {
            _mm256_add_epi32(_mm256_slli_epi32::<LOWER>(upper[i]), lower[i])
        });
        [
            pixel([whole[0], whole[1], whole[2]]),
            pixel([whole[3], whole[4], whole[5]]),
        ]
    }

    /// Adds up the lanes of each channel, rounds and clips.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn pixel([red, green, blue]: [__m256i; 3]) -> [u8; 3] {
        let lanes = _mm256_hadd_epi32(_mm256_hadd_epi32(red, green), _mm256_hadd_epi32(blue, blue));
        let sums: __m128i = _mm_add_epi32(
            _mm256_castsi256_si128(lanes),
            _mm256_extracti128_si256::<1>(lanes),
        );
        let rounded = _mm_add_epi32(sums, _mm_set1_epi32(ROUNDING));
        let shifted = _mm_srai_epi32::<PRECISION>(rounded);
        // Both packings clip: to 16 bits, then to a byte.
        let words = _mm_packs_epi32(shifted, shifted);
        let [r, g, b, _] = _mm_cvtsi128_si32(_mm_packus_epi16(words, words)).to_le_bytes();
        [r, g, b]
    }

    #[expect(unsafe_code, reason = "vector loads take pointers")]
    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(block: &[i16; BLOCK]) -> __m256i {
        // SAFETY: the array has the 32 bytes; the load needs no alignment.
        unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
    }

    /// Two rows are added by one instruction, byte for byte.
    #[target_feature(enable = "avx2")]
    pub fn vertical(data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
        if stride < COLUMNS {
            return blocked::vertical(data, stride, taps);
        }
        let mut out = vec![0; stride * taps.windows.len()];
        let mut pairs = Vec::new();
        for ((start, weights), out) in taps.iter().zip(out.chunks_exact_mut(stride)) {
            pairs.clear();
            pairs.extend(weights.chunks(2).map(|two| {
                let [a, b] = [0, 1].map(|i| halves(two.get(i).copied().unwrap_or(0)));
                [pair(a.0, b.0), pair(a.1, b.1)]
            }));
            let rows = start * stride..(start + weights.len()) * stride;
            let rows = data.get(rows).unwrap_or_default();
            let last = stride - COLUMNS;
            // Columns that are left over are made with some of those before them.
            let over = (!last.is_multiple_of(COLUMNS)).then_some(last);
            for column in (0..=last).step_by(COLUMNS).chain(over) {
                let bytes = columns(rows, stride, column, &pairs);
                if let Some(place) = out.get_mut(column..column + COLUMNS) {
                    place.copy_from_slice(&bytes);
                }
            }
        }
        out
    }

    /// Columns that are added at once.
    const COLUMNS: usize = 32;

    /// The sums of all `rows` in some columns; of each two rows `pairs` has the upper and the lower
    /// halves of the weights.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns(rows: &[u8], stride: usize, column: usize, pairs: &[[i32; 2]]) -> [u8; COLUMNS] {
        let zero = _mm256_setzero_si256();
        let mut upper = [zero; 4];
        let mut lower = [_mm256_set1_epi32(ROUNDING); 4];
        let starts = rows.chunks(2 * stride);
        for (two, [high, low]) in starts.zip(pairs) {
            let (high, low) = (_mm256_set1_epi32(*high), _mm256_set1_epi32(*low));
            let (a, b) = two.split_at(stride.min(two.len()));
            let a = thirty_two(a, column);
            // Of an odd last row the other one counts nothing.
            let b = if b.is_empty() {
                a
            } else {
                thirty_two(b, column)
            };
            let (few, more) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let quarters = [
                _mm256_unpacklo_epi8(few, zero),
                _mm256_unpackhi_epi8(few, zero),
                _mm256_unpacklo_epi8(more, zero),
                _mm256_unpackhi_epi8(more, zero),
            ];
            for (i, quarter) in quarters.into_iter().enumerate() {
                upper[i] = _mm256_add_epi32(upper[i], _mm256_madd_epi16(quarter, high));
                lower[i] = _mm256_add_epi32(lower[i], _mm256_madd_epi16(quarter, low));
            }
        }
        let [a, b, c, d] = std::array::from_fn(|i| {
            let whole = _mm256_add_epi32(_mm256_slli_epi32::<LOWER>(upper[i]), lower[i]);
            _mm256_srai_epi32::<PRECISION>(whole)
        });
        // Both packings clip, and undo the order that unpacking left.
        let bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        let mut out = [0; COLUMNS];
        // SAFETY: the array has the 32 bytes; the store needs no alignment.
        #[expect(unsafe_code, reason = "vector stores take pointers")]
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
        }
        out
    }

    #[expect(unsafe_code, reason = "vector loads take pointers")]
    #[target_feature(enable = "avx2")]
    #[inline]
    fn thirty_two(row: &[u8], column: usize) -> __m256i {
        assert!(row.len() >= column + COLUMNS);
        // SAFETY: the row has the 32 bytes, by the assertion; the load needs no alignment.
        unsafe { _mm256_loadu_si256(row.as_ptr().add(column).cast()) }
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
    fn horizontal(self, data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
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
    fn vertical(self, data: &[u8], stride: usize, taps: Part<'_>) -> Vec<u8> {
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
    use proptest::prelude::*;

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
            (5000, 9),
        ] {
            equal_passes(from, to);
        }
    }

    proptest! {
        #[test]
        fn the_fast_passes_equal_the_plain_ones_on_any_side(from in 1_usize..900, to in 1_usize..70) {
            equal_passes(from, to);
        }
    }

    fn equal_passes(from: usize, to: usize) {
        for resample in [Resample::Lanczos, Resample::Bicubic, Resample::Box] {
            equal_passes_of(resample, from, to);
        }
    }

    fn equal_passes_of(resample: Resample, from: usize, to: usize) {
        let taps = Taps::new(resample, from, to);
        let side = u32::try_from(from).unwrap();
        let wide = noise(side, 7);
        // Less than the columns of a step, with some left over, and none.
        let tall = [5, 23, 32].map(|width| noise(width, side));
        for fast in [Passes::Blocked, Passes::pick()] {
            for part in [0..to, to / 3..to.div_ceil(2)] {
                let taps = taps.of(part.clone(), 0);
                assert_eq!(
                    fast.horizontal(wide.data(), from * 3, taps),
                    Passes::Plain.horizontal(wide.data(), from * 3, taps),
                    "{from} to {part:?} of {to}"
                );
                for tall in &tall {
                    let stride = tall.width() as usize * 3;
                    assert_eq!(
                        fast.vertical(tall.data(), stride, taps),
                        Passes::Plain.vertical(tall.data(), stride, taps),
                        "{from} to {part:?} of {to}"
                    );
                }
            }
        }
    }

    /// Digests by Pillow 13.0.0 of the same noise.
    #[test]
    fn every_filter_is_pillows() {
        const CASES: [(Resample, [u64; 5]); 5] = [
            (
                Resample::Box,
                [
                    0x226e_322c_06fc_c901,
                    0x01cc_74ab_9a37_b0c7,
                    0xd180_841e_9c2d_9855,
                    0xc5d3_ef62_8b99_c473,
                    0xfb45_a843_04d9_f401,
                ],
            ),
            (
                Resample::Bilinear,
                [
                    0x3d16_459b_a3bb_2d1f,
                    0x38ee_9f80_cbaa_643c,
                    0xa6b6_d881_3804_5f23,
                    0x72e1_79df_9e20_50c7,
                    0xdd8f_3c27_0025_87d9,
                ],
            ),
            (
                Resample::Hamming,
                [
                    0xa937_ddc2_2b7b_4374,
                    0x876f_8d6c_367d_e464,
                    0x9b8a_3300_c402_8c2f,
                    0xa29c_6c8b_0441_7223,
                    0xad22_f21a_fac6_9b5c,
                ],
            ),
            (
                Resample::Bicubic,
                [
                    0xce7b_fa8f_e69d_bc55,
                    0xb118_201d_4ee9_0cc0,
                    0xd50f_87d6_5b56_97aa,
                    0xa930_3ebb_0150_e863,
                    0x53fd_c510_0882_228e,
                ],
            ),
            (
                Resample::Lanczos,
                [
                    0x8df1_1c29_1bf2_dc2d,
                    0x189b_6c23_7c1c_b6be,
                    0xacb0_3f91_5dec_5dce,
                    0x959c_6d47_54c7_1559,
                    0x789a_f7ef_729d_201b,
                ],
            ),
        ];
        const SIDES: [[u32; 4]; 5] = [
            [37, 23, 224, 139],
            [640, 480, 299, 224],
            [5, 300, 224, 7],
            [90, 41, 41, 90],
            [401, 3, 16, 16],
        ];
        for (resample, digests) in CASES {
            for ([w, h, to_w, to_h], digest) in SIDES.into_iter().zip(digests) {
                let small = resize(&noise(w, h), resample, to_w, to_h);
                assert_eq!(fnv(small.data()), digest, "{resample:?} {w}x{h}");
            }
        }
    }

    #[test]
    fn a_part_is_what_the_whole_has_there() {
        for (w, h, to_w, to_h) in [
            (90, 70, 31, 24),
            (90, 70, 31, 70),
            (90, 70, 90, 24),
            (20, 300, 17, 40),
            (300, 20, 400, 27),
            (64, 64, 64, 64),
        ] {
            let image = noise(w, h);
            let whole = resize(&image, Resample::Bicubic, to_w, to_h);
            for (columns, rows) in [
                (0..to_w, 3..to_h - 2),
                (to_w / 3..to_w - 1, 0..to_h),
                (1..2, 5..to_h),
                (to_w - 1..to_w, to_h - 1..to_h),
            ] {
                let size = (to_w, to_h);
                let part = resize_part(
                    &image,
                    Resample::Bicubic,
                    size,
                    columns.clone(),
                    rows.clone(),
                );
                let pixels = rows.clone().flat_map(|y| {
                    let row = &whole.data()[(y * to_w * 3) as usize..];
                    row[(columns.start * 3) as usize..(columns.end * 3) as usize].to_vec()
                });
                assert_eq!(part.data(), pixels.collect::<Vec<_>>());
                assert_eq!(
                    (part.width(), part.height()),
                    (columns.end - columns.start, rows.end - rows.start)
                );
            }
        }
    }

    fn fnv(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
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
