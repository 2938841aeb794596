//! Locality-sensitive hashing of `MinHash` signatures: how many bands, and the key of each.

use xxhash_rust::xxh3::xxh3_64;

/// Bands and rows a band that make the least of both errors at a Jaccard `threshold`, as
/// Data-Juicer chooses them: half the probability of a false positive (the integral over 0 to
/// `threshold` of 1 - (1 - s^r)^b) plus half that of a false negative (the integral over
/// `threshold` to 1 of (1 - s^r)^b), least over b·r ≤ `permutations`; of equals the fewest bands,
/// then the fewest rows.
#[must_use]
pub fn optimal_bands(threshold: f64, permutations: usize) -> (usize, usize) {
    let mut least = f64::INFINITY;
    let mut best = (1, 1);
    for bands in 1..=permutations {
        for rows in 1..=permutations / bands {
            let error = banding_error(threshold, bands, rows);
            if error < least {
                least = error;
                best = (bands, rows);
            }
        }
    }
    best
}

#[expect(clippy::cast_precision_loss, reason = "both are small counts")]
fn banding_error(threshold: f64, bands: usize, rows: usize) -> f64 {
    let (b, r) = (bands as f64, rows as f64);
    let collide = |s: f64| 1.0 - (1.0 - s.powf(r)).powf(b);
    let positive = integrate(&collide, 0.0, threshold);
    let negative = integrate(&|s| 1.0 - collide(s), threshold, 1.0);
    positive * 0.5 + negative * 0.5
}

/// The key of each band of a signature: `rows` values a band, the last bands shorter or absent if
/// the signature ends before. Appended to `out`, exactly `bands` of them.
///
/// Data-Juicer's key is the values as big-endian 64-bit numbers; this is `xxh3_64` of those bytes.
/// 64 bits suffice: that any two different keys of a band of n rows get the same hash has a
/// probability below n²/2^65, for 400,000 rows and 25 bands 1 in 9 million, and what such an
/// accident costs is one row that is not a duplicate, as a false positive of the bands themselves
/// does all the time.
pub fn band_keys(signature: &[u32], bands: usize, rows: usize, out: &mut Vec<u64>) {
    let values: Vec<[u8; 8]> = signature
        .iter()
        .map(|&value| u64::from(value).to_be_bytes())
        .collect();
    let mut bands_of = values.chunks(rows.max(1));
    out.extend((0..bands).map(|_| xxh3_64(bands_of.next().unwrap_or_default().as_flattened())));
}

/// Wanted absolute and relative error of an integral: those of `scipy.integrate.quad`.
const TOLERANCE: f64 = 1.49e-8;

/// Halvings after which an integral is accepted as it is.
const MOST_HALVINGS: u32 = 50;

/// An integral by QUADPACK's method (Piessens et al., 1983) without its extrapolation, which
/// smooth integrands like these do not need: the 21-point Gauss-Kronrod rule, then halves of the
/// piece with the greatest error until the sum of the errors is small.
fn integrate(f: &impl Fn(f64) -> f64, from: f64, to: f64) -> f64 {
    let mut pieces = vec![kronrod(f, from, to)];
    for _ in 0..MOST_HALVINGS {
        let sum: f64 = pieces.iter().map(|p| p.value).sum();
        let error: f64 = pieces.iter().map(|p| p.error).sum();
        if error <= TOLERANCE.max(TOLERANCE * sum.abs()) {
            break;
        }
        let worst = (0..pieces.len()).max_by(|&i, &j| {
            let error = |at: usize| pieces.get(at).map_or(0.0, |p| p.error);
            error(i).total_cmp(&error(j))
        });
        let Some(piece) = worst.map(|at| pieces.swap_remove(at)) else {
            break;
        };
        let middle = 0.5 * (piece.from + piece.to);
        pieces.push(kronrod(f, piece.from, middle));
        pieces.push(kronrod(f, middle, piece.to));
    }
    pieces.iter().map(|p| p.value).sum()
}

/// The integral over one piece and a bound of its error.
struct Piece {
    from: f64,
    to: f64,
    value: f64,
    error: f64,
}

/// Abscissae of the 21-point Kronrod rule but for 0: the odd ones are also those of the 10-point
/// Gauss rule.
const NODES: [f64; 10] = [
    0.995_657_163_025_808_1,
    0.973_906_528_517_171_7,
    0.930_157_491_355_708_2,
    0.865_063_366_688_984_5,
    0.780_817_726_586_416_9,
    0.679_409_568_299_024_4,
    0.562_757_134_668_604_7,
    0.433_395_394_129_247_2,
    0.294_392_862_701_460_2,
    0.148_874_338_981_631_22,
];

/// Kronrod weights of [`NODES`].
const WEIGHTS: [f64; 10] = [
    0.011_694_638_867_371_874,
    0.032_558_162_307_964_725,
    0.054_755_896_574_351_995,
    0.075_039_674_810_919_96,
    0.093_125_454_583_697_6,
    0.109_387_158_802_297_64,
    0.123_491_976_262_065_84,
    0.134_709_217_311_473_34,
    0.142_775_938_577_060_09,
    0.147_739_104_901_338_49,
];

/// Kronrod weight of 0.
const MIDDLE_WEIGHT: f64 = 0.149_445_554_002_916_9;

/// Gauss weights of the odd [`NODES`].
const GAUSS_WEIGHTS: [f64; 5] = [
    0.066_671_344_308_688_14,
    0.149_451_349_150_580_6,
    0.219_086_362_515_982_04,
    0.269_266_719_309_996_35,
    0.295_524_224_714_752_87,
];

fn kronrod(f: &impl Fn(f64) -> f64, from: f64, to: f64) -> Piece {
    let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
    let at_middle = f(middle);
    let mut gauss = 0.0;
    let mut value = MIDDLE_WEIGHT * at_middle;
    let mut magnitude = value.abs();
    let mut pairs = [(0.0, 0.0); 10];
    for (index, ((&node, &weight), pair)) in NODES.iter().zip(&WEIGHTS).zip(&mut pairs).enumerate()
    {
        *pair = (f(middle - half * node), f(middle + half * node));
        let sum = pair.0 + pair.1;
        value += weight * sum;
        magnitude += weight * (pair.0.abs() + pair.1.abs());
        if index % 2 == 1 {
            gauss += GAUSS_WEIGHTS.get(index / 2).copied().unwrap_or_default() * sum;
        }
    }
    let mean = value * 0.5;
    let spread = half
        * WEIGHTS.iter().zip(pairs).fold(
            MIDDLE_WEIGHT * (at_middle - mean).abs(),
            |spread, (weight, (left, right))| {
                spread + weight * ((left - mean).abs() + (right - mean).abs())
            },
        );
    let mut error = ((value - gauss) * half).abs();
    if spread != 0.0 && error != 0.0 {
        error = spread * (200.0 * error / spread).powf(1.5).min(1.0);
    }
    let floor = 50.0 * f64::EPSILON * magnitude * half;
    Piece {
        from,
        to,
        value: value * half,
        error: error.max(floor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_those_that_data_juicer_chooses() {
        // optimal_param of Data-Juicer 1.6.1 with scipy 1.17.1.
        for (threshold, permutations, chosen) in [
            (0.7, 256, (25, 10)),
            (0.5, 256, (42, 6)),
            (0.8, 256, (17, 15)),
            (0.9, 256, (9, 28)),
            (0.7, 128, (14, 9)),
            (0.7, 64, (8, 8)),
            (0.85, 450, (20, 22)),
            (0.0, 16, (16, 1)),
            (0.1, 100, (50, 2)),
            (0.3, 64, (21, 3)),
            (0.5, 2, (1, 1)),
            (0.5, 3, (1, 1)),
            (0.95, 200, (4, 48)),
            (1.0, 10, (1, 10)),
        ] {
            assert_eq!(
                optimal_bands(threshold, permutations),
                chosen,
                "{threshold} {permutations}"
            );
        }
    }

    #[test]
    fn a_key_depends_on_its_own_values_only() {
        let mut keys = Vec::new();
        band_keys(&[1, 2, 3, 4, 1, 2], 4, 2, &mut keys);
        assert_eq!(keys.len(), 4);
        assert_eq!(keys[0], keys[2]);
        assert_ne!(keys[0], keys[1]);
        let bytes = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        assert_eq!(keys[0], xxh3_64(&bytes));
        assert_eq!(keys[3], xxh3_64(&[]));
    }
}
