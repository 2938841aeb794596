//! The 32-point DCT-II with the rounding of `scipy.fftpack.dct`.
//!
//! On ordinary pictures any DCT gives the same hash. On flat or symmetric ones the coefficients
//! are zero or rounding noise, and the hash holds the signs of that noise: only the same
//! additions in the same order give the same bits. `SciPy`'s pocketfft computes the DCT-II of N
//! values by sums and differences of neighbours, one real inverse FFT of length N and a rotation;
//! for N = 32 the FFT is one radix-2 step and two radix-4 steps.

use std::f64::consts::{PI, SQRT_2};
use std::sync::LazyLock;

/// Points of the transform.
pub const N: usize = 32;

/// The DCT-II, unnormalised: `out[k] = 2 * sum(x[n] * cos(pi * k * (2n + 1) / 64))`.
pub fn dct32(values: &[f64; N]) -> [f64; N] {
    let turns = &*TURNS;
    let mut c = *values;
    c[0] *= 2.0;
    c[N - 1] *= 2.0;
    for k in (1..N - 1).step_by(2) {
        let (odd, even) = (c[k], c[k + 1]);
        c[k + 1] = even - odd;
        c[k] = odd + even;
    }
    let mut c = inverse_fft(&c, turns);
    for k in 1..N / 2 {
        let mirror = N - k;
        let (a, b) = (turns.quarter[k], turns.quarter[mirror]);
        let first = a * c[mirror] + b * c[k];
        let second = a * c[k] - b * c[mirror];
        c[k] = 0.5 * (first + second);
        c[mirror] = 0.5 * (first - second);
    }
    c[N / 2] *= turns.quarter[N / 2];
    c
}

/// Angles, each with the rounding that pocketfft gives it.
struct Turns {
    /// `(cos, sin)` of 2πk/32.
    whole: [(f64, f64); N],
    /// cos of 2πk/128.
    quarter: [f64; N + 1],
}

static TURNS: LazyLock<Turns> = LazyLock::new(|| Turns {
    whole: std::array::from_fn(|k| {
        if k <= N / 2 {
            return angle(k, N);
        }
        let (cos, sin) = angle(N - k, N);
        (cos, -sin)
    }),
    quarter: std::array::from_fn(|k| {
        // Composed of a coarse and a fine angle, as a table of both would.
        let (fine, coarse) = (angle(k % 16, 4 * N), angle(k / 16 * 16, 4 * N));
        fine.0 * coarse.0 - fine.1 * coarse.1
    }),
});

/// `(cos, sin)` of 2πk/n for k ≤ n/2, from an angle of at most π/4.
#[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
fn angle(k: usize, n: usize) -> (f64, f64) {
    let unit = 0.25 * PI / n as f64;
    let at = |eighths: usize| eighths as f64 * unit;
    let eighths = 8 * k;
    if eighths < n {
        (at(eighths).cos(), at(eighths).sin())
    } else if eighths < 2 * n {
        (at(2 * n - eighths).sin(), at(2 * n - eighths).cos())
    } else if eighths < 3 * n {
        (-at(eighths - 2 * n).sin(), at(eighths - 2 * n).cos())
    } else {
        let rest = at(4 * n - eighths);
        (-rest.cos(), rest.sin())
    }
}

/// The real inverse FFT of half-complex values: real parts and imaginary parts alternate.
fn inverse_fft(values: &[f64; N], turns: &Turns) -> [f64; N] {
    let mut a = [0.0; N];
    let mut b = [0.0; N];
    radix2(values, &mut a, turns);
    radix4(&a, &mut b, 2, turns);
    radix4(&b, &mut a, 8, turns);
    a
}

fn sum_and_difference(x: f64, y: f64) -> (f64, f64) {
    (x + y, x - y)
}

/// `(re, im)` turned by `turn`.
fn rotate((cos, sin): (f64, f64), re: f64, im: f64) -> (f64, f64) {
    (cos * re - sin * im, cos * im + sin * re)
}

/// Splits one block of 32 into two of 16.
fn radix2(from: &[f64; N], to: &mut [f64; N], turns: &Turns) {
    const HALF: usize = N / 2;
    let (low, high) = from.split_at(HALF);
    (to[0], to[HALF]) = sum_and_difference(low[0], high[HALF - 1]);
    to[HALF - 1] = 2.0 * low[HALF - 1];
    to[N - 1] = -2.0 * high[0];
    for i in (2..HALF).step_by(2) {
        let mirror = HALF - i;
        let (re, re_turned) = sum_and_difference(low[i - 1], high[mirror - 1]);
        let (im_turned, im) = sum_and_difference(low[i], high[mirror]);
        to[i - 1] = re;
        to[i] = im;
        (to[HALF + i - 1], to[HALF + i]) = rotate(turns.whole[i / 2], re_turned, im_turned);
    }
}

/// Splits each of `blocks` blocks into four.
#[expect(
    clippy::similar_names,
    reason = "real and imaginary parts are told apart by their prefix"
)]
fn radix4(from: &[f64; N], to: &mut [f64; N], blocks: usize, turns: &Turns) {
    let len = N / (4 * blocks);
    let last = len - 1;
    for block in 0..blocks {
        let at = |i: usize, part: usize| from[i + len * (part + 4 * block)];
        let put = |i: usize, part: usize| i + len * (block + blocks * part);

        let (outer, outer_diff) = sum_and_difference(at(0, 0), at(last, 3));
        let inner = 2.0 * at(last, 1);
        let inner_diff = 2.0 * at(0, 2);
        (to[put(0, 0)], to[put(0, 2)]) = sum_and_difference(outer, inner);
        (to[put(0, 3)], to[put(0, 1)]) = sum_and_difference(outer_diff, inner_diff);

        if len.is_multiple_of(2) {
            let (im, im_diff) = sum_and_difference(at(0, 3), at(0, 1));
            let (re, re_diff) = sum_and_difference(at(last, 0), at(last, 2));
            to[put(last, 0)] = re + re;
            to[put(last, 1)] = SQRT_2 * (re_diff - im);
            to[put(last, 2)] = im_diff + im_diff;
            to[put(last, 3)] = -SQRT_2 * (re_diff + im);
        }

        for i in (2..len).step_by(2) {
            let mirror = len - i;
            let (re_02, re_13) = sum_and_difference(at(i - 1, 0), at(mirror - 1, 3));
            let (im_13, im_02) = sum_and_difference(at(i, 0), at(mirror, 3));
            let (turned_re, im_inner) = sum_and_difference(at(i, 2), at(mirror, 1));
            let (re_inner, turned_im) = sum_and_difference(at(i - 1, 2), at(mirror - 1, 1));
            let (re_0, re_2) = sum_and_difference(re_02, re_inner);
            let (im_0, im_2) = sum_and_difference(im_02, im_inner);
            let (re_3, re_1) = sum_and_difference(re_13, turned_re);
            let (im_1, im_3) = sum_and_difference(im_13, turned_im);
            to[put(i - 1, 0)] = re_0;
            to[put(i, 0)] = im_0;
            for (part, re, im) in [(1, re_1, im_1), (2, re_2, im_2), (3, re_3, im_3)] {
                let turn = turns.whole[part * blocks * (i / 2)];
                (to[put(i - 1, part)], to[put(i, part)]) = rotate(turn, re, im);
            }
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "small whole numbers, and exactness is the point"
)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_dct() {
        let values: [f64; N] = std::array::from_fn(|i| ((i * 37 + 11) % 97) as f64);
        for (k, got) in dct32(&values).iter().enumerate() {
            let want: f64 = (0..N)
                .map(|n| 2.0 * values[n] * (PI * k as f64 * (2.0 * n as f64 + 1.0) / 64.0).cos())
                .sum();
            assert!((got - want).abs() < 1e-10, "{k}: {got} {want}");
        }
    }

    #[test]
    fn constants_leave_no_noise() {
        let flat = dct32(&[128.0; N]);
        assert_eq!(flat[0], 8192.0);
        assert!(flat[1..].iter().all(|&c| c == 0.0));
    }
}
