//! Seeded draws: those of `CPython` and of numpy, to give the very rows that a Python script gives,
//! and the project's own, which depends on nothing but a row's identity.

use hashbrown::HashSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::mersenne::Mersenne;

/// The rank of a row in a uniform sample without replacement: the sample of n rows is the n rows of
/// least priority, ties broken by `identity` (the row's global byte offset). It needs no count
/// and no order of arrival, so shards may be ranked apart and merged.
#[must_use]
pub fn priority(seed: u64, identity: u64) -> u64 {
    xxh3_64_with_seed(&identity.to_le_bytes(), seed)
}

/// Python's `random.Random` (`CPython` 3.11): the same seed gives the same draws.
#[derive(Debug, Clone)]
pub struct PythonRandom {
    generator: Mersenne,
}

impl PythonRandom {
    /// `random.seed(seed)` with an integer; Python takes the absolute value of a negative one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let words = words_of(seed);
        Self {
            generator: Mersenne::from_words(&words),
        }
    }

    /// `getrandbits(bits)` for up to 64 bits.
    pub fn bits(&mut self, bits: u32) -> u64 {
        match bits {
            0 => 0,
            1..=32 => u64::from(self.generator.next_u32() >> (32 - bits)),
            _ => {
                let low = u64::from(self.generator.next_u32());
                let high = u64::from(self.generator.next_u32() >> (64 - bits.min(64)));
                high << 32 | low
            }
        }
    }

    /// A number below `limit`, as `randrange(limit)` draws it (`_randbelow_with_getrandbits`);
    /// 0 if `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let bits = u64::BITS - limit.leading_zeros();
        loop {
            let drawn = self.bits(bits);
            if drawn < limit || limit == 0 {
                return drawn;
            }
        }
    }

    /// `random.sample(range(population), count)`: distinct numbers in the order of the draw. All
    /// of `population`, shuffled, if `count` is greater (where Python raises an error).
    pub fn sample(&mut self, population: u64, count: u64) -> Vec<u64> {
        let count = count.min(population);
        if population <= pool_limit(count) {
            self.sample_from_pool(population, count)
        } else {
            self.sample_from_set(population, count)
        }
    }

    /// Small populations: each draw takes an element out of a pool, and the last one fills its
    /// place.
    fn sample_from_pool(&mut self, population: u64, count: u64) -> Vec<u64> {
        let mut pool: Vec<u64> = (0..population).collect();
        let mut drawn = Vec::new();
        for _ in 0..count {
            let at = usize::try_from(self.below(pool.len() as u64)).unwrap_or(usize::MAX);
            if at < pool.len() {
                drawn.push(pool.swap_remove(at));
            }
        }
        drawn
    }

    /// Large populations: draws that were made before are drawn again.
    fn sample_from_set(&mut self, population: u64, count: u64) -> Vec<u64> {
        let mut drawn = Vec::new();
        let mut seen = HashSet::new();
        while (drawn.len() as u64) < count {
            let next = self.below(population);
            if seen.insert(next) {
                drawn.push(next);
            }
        }
        drawn
    }
}

/// The greatest population for which `CPython`'s `sample` uses a pool: the size of a set of `count`
/// elements, 21 + 4^⌈log₄(3·count)⌉ from 6 elements on.
fn pool_limit(count: u64) -> u64 {
    if count <= 5 {
        return 21;
    }
    let mut size = 1u64;
    while size < count.saturating_mul(3) {
        size = size.saturating_mul(4);
    }
    size.saturating_add(21)
}

fn words_of(seed: u64) -> Vec<u32> {
    let [low, high] = halves(seed);
    if high == 0 {
        vec![low]
    } else {
        vec![low, high]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// `numpy.random.default_rng(seed)`: PCG64 (XSL-RR 128/64, O'Neill 2014), seeded by a
/// `SeedSequence`. `datasets.Dataset.shuffle(seed)` draws from it.
#[derive(Debug, Clone)]
pub struct NumpyGenerator {
    state: u128,
    increment: u128,
    /// The upper half of the last 64 bits, if only the lower one has been used.
    spare: Option<u32>,
}

const PCG_MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

impl NumpyGenerator {
    /// The generator of an integer seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let [state_high, state_low, stream_high, stream_low] = seed_sequence(seed);
        let joined = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let mut generator = Self {
            state: 0,
            increment: joined(stream_high, stream_low) << 1 | 1,
            spare: None,
        };
        generator.step();
        generator.state = generator.state.wrapping_add(joined(state_high, state_low));
        generator.step();
        generator
    }

    /// `permutation(count)`: the numbers below `count`, shuffled from the last place down.
    pub fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..count).rev() {
            let other = self.up_to(last);
            order.swap(last as usize, other as usize);
        }
        order
    }

    /// A number in 0..=`most`: 32-bit words are masked to its bits until one is small enough.
    fn up_to(&mut self, most: u32) -> u32 {
        let mask = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let drawn = self.next_u32() & mask;
            if drawn <= most {
                return drawn;
            }
        }
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let [low, high] = halves(self.next_u64());
        self.spare = Some(high);
        low
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn step(&mut self) {
        self.state = self
            .state
            .wrapping_mul(PCG_MULTIPLIER)
            .wrapping_add(self.increment);
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`: entropy words mixed all with all into a pool of
/// four, and the pool hashed out again (O'Neill's `seed_seq_fe`).
fn seed_sequence(seed: u64) -> [u64; 4] {
    let mut hasher = SeedHash {
        constant: 0x43b0_d7e5,
        multiplier: 0x931e_8875,
    };
    let [low, high] = halves(seed);
    let mut pool = [low, high, 0, 0].map(|word| hasher.hash(word));
    for from in 0..4 {
        for to in (0..4).filter(|&to| to != from) {
            let source = pool.get(from).copied().unwrap_or_default();
            if let Some(target) = pool.get_mut(to) {
                *target = mix(*target, hasher.hash(source));
            }
        }
    }
    let mut hasher = SeedHash {
        constant: 0x8b51_f9dd,
        multiplier: 0x58f3_8ded,
    };
    let mut words = pool.into_iter().cycle();
    std::array::from_fn(|_| {
        let mut next = || u64::from(hasher.hash(words.next().unwrap_or_default()));
        let low = next();
        next() << 32 | low
    })
}

/// The hash of a `SeedSequence`, whose constant changes with every use.
struct SeedHash {
    constant: u32,
    multiplier: u32,
}

impl SeedHash {
    fn hash(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let word = word.wrapping_mul(self.constant);
        word ^ (word >> 16)
    }
}

fn mix(a: u32, b: u32) -> u32 {
    let mixed = a
        .wrapping_mul(0xca01_f9dd)
        .wrapping_sub(b.wrapping_mul(0x4973_f715));
    mixed ^ (mixed >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_cpython() {
        // random.seed(seed); random.sample(range(n), k) in CPython 3.11.7: all, or the first three
        // and the last.
        let cases: [(u64, u64, u64, &[u64]); _] = [
            (42, 10, 3, &[1, 0, 4]),
            (0, 5, 5, &[3, 4, 0, 2]),
            (42, 21, 5, &[20, 3, 0, 7]),
            (42, 22, 5, &[20, 3, 0, 7]),
            (42, 22, 6, &[20, 3, 0, 17]),
            (7, 85, 6, &[41, 19, 50, 68]),
            (7, 86, 6, &[41, 19, 50, 9]),
            (
                1_024,
                400_000,
                200_000,
                &[10_031, 253_492, 204_172, 383_884],
            ),
            (
                1_024,
                558_128,
                200_000,
                &[20_063, 506_985, 408_344, 102_801],
            ),
            (
                4_294_967_301,
                1_000_000,
                1_000,
                &[164_912, 509_079, 296_208, 410_543],
            ),
            (18_446_744_073_709_551_615, 277, 85, &[11, 127, 173, 55]),
            (3, 278, 86, &[121, 66, 189, 225]),
            (3, 1_045, 86, &[487, 267, 757, 334]),
            (3, 1_046, 86, &[487, 267, 757, 737]),
            (
                12_345,
                1_099_511_627_776,
                3,
                &[593_537_256_020, 960_208_693_573, 821_033_197_451],
            ),
            (1, 1, 1, &[0]),
            (1, 4, 0, &[]),
        ];
        for (seed, population, count, expected) in cases {
            let drawn = PythonRandom::new(seed).sample(population, count);
            assert_eq!(drawn.len() as u64, count);
            if drawn.len() <= 4 {
                assert_eq!(drawn, expected);
            } else {
                let ends = [drawn[0], drawn[1], drawn[2], drawn[drawn.len() - 1]];
                assert_eq!(ends, expected, "seed {seed}, {count} of {population}");
            }
        }
    }

    #[test]
    fn wide_words_are_drawn_low_half_first() {
        // random.seed(7); [random.getrandbits(b) for b in (1, 32, 33, 64)]
        let mut random = PythonRandom::new(7);
        let drawn = [1, 32, 33, 64].map(|bits| random.bits(bits));
        assert_eq!(
            drawn,
            [0, 4_071_050_724, 647_892_279, 890_727_360_438_182_992]
        );
    }

    #[test]
    fn permutations_are_those_of_numpy() {
        // numpy.random.default_rng(seed).permutation(n), numpy 2.4.6: the first four, and the sum
        // of position times value modulo 2^32.
        let cases: [(u64, u32, &[u32], u32); _] = [
            (42, 1, &[0], 0),
            (42, 2, &[1, 0], 0),
            (42, 10, &[5, 6, 0, 7], 216),
            (42, 11, &[6, 7, 0, 10], 275),
            (
                42,
                400_000,
                &[386_821, 386_970, 371_697, 195_800],
                146_838_322,
            ),
            (0, 1_000, &[459, 206, 222, 162], 250_431_167),
            (
                4_294_967_301,
                65_537,
                &[4_268, 56_716, 6_538, 28_640],
                2_380_285_754,
            ),
            (
                18_446_744_073_709_551_615,
                70_000,
                &[59_515, 4_571, 67_051, 2_860],
                857_381_103,
            ),
            (1_024, 0, &[], 0),
        ];
        for (seed, count, first, sum) in cases {
            let order = NumpyGenerator::new(seed).permutation(count);
            assert_eq!(
                order.get(..first.len()),
                Some(first),
                "seed {seed}, {count}"
            );
            let found = (0u32..).zip(&order).fold(0u32, |sum, (at, &value)| {
                sum.wrapping_add(at.wrapping_mul(value))
            });
            assert_eq!(found, sum, "seed {seed}, {count}");
        }
    }

    #[test]
    fn priorities_are_a_published_contract() {
        // xxhash 3.x for Python: xxh3_64_intdigest(identity.to_bytes(8, "little"), seed).
        assert_eq!(priority(42, 0), 5_014_318_936_221_084_462);
        assert_eq!(priority(1024, 123_456_789_012), 6_908_608_049_653_119_504);
    }
}
