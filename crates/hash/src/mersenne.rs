//! MT19937, the generator behind `CPython`'s `random` and numpy's legacy `RandomState`.
//!
//! Matsumoto and Nishimura, "Mersenne Twister" (1998), with the initialisation of 2002.

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// The generator's state.
#[derive(Debug, Clone)]
pub(super) struct Mersenne {
    state: [u32; SIZE],
    next: usize,
}

impl Mersenne {
    /// Seeds with one word (`init_genrand`).
    pub(super) fn from_word(seed: u32) -> Self {
        let mut word = seed;
        let mut position = 0u32;
        let state = std::array::from_fn(|i| {
            if i > 0 {
                position += 1;
                word = 1_812_433_253u32
                    .wrapping_mul(word ^ (word >> 30))
                    .wrapping_add(position);
            }
            word
        });
        Self { state, next: SIZE }
    }

    /// Seeds with several words (`init_by_array`); at least one.
    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "every index is below 624 or reduced by the length of the key"
    )]
    pub(super) fn from_words(key: &[u32]) -> Self {
        let key = if key.is_empty() { &[0][..] } else { key };
        let mut mt = Self::from_word(19_650_218);
        let state = &mut mt.state;
        let (mut i, mut j) = (1, 0);
        for _ in 0..SIZE.max(key.len()) {
            let previous = state[i - 1];
            state[i] = (state[i] ^ (previous ^ (previous >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i += 1;
            j = (j + 1) % key.len();
            if i == SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
        }
        for _ in 0..SIZE - 1 {
            let previous = state[i - 1];
            state[i] = (state[i] ^ (previous ^ (previous >> 30)).wrapping_mul(1_566_083_941))
                .wrapping_sub(i as u32);
            i += 1;
            if i == SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        mt
    }

    /// The next 32 bits.
    pub(super) fn next_u32(&mut self) -> u32 {
        if self.next == SIZE {
            self.twist();
        }
        let mut y = self.state.get(self.next).copied().unwrap_or_default();
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    #[expect(clippy::indexing_slicing, reason = "every index is reduced modulo 624")]
    fn twist(&mut self) {
        for i in 0..SIZE {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % SIZE] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Mersenne;

    #[test]
    fn the_published_sequences_are_reproduced() {
        // mt19937ar.out: init_by_array {0x123, 0x234, 0x345, 0x456}.
        let mut mt = Mersenne::from_words(&[0x123, 0x234, 0x345, 0x456]);
        let first: Vec<u32> = (0..3).map(|_| mt.next_u32()).collect();
        assert_eq!(first, [1_067_595_299, 955_945_823, 477_289_528]);
        // The 10,000th output for the default seed, as the C++ standard states it.
        let mut mt = Mersenne::from_word(5489);
        let last = (0..10_000).map(|_| mt.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
