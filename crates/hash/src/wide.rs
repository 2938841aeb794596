//! The wide versions of what a `MinHash` signature spends its time on, one for each instruction
//! set, chosen when the program runs. All give the same numbers.
#![expect(
    unsafe_code,
    reason = "a function compiled for more than the baseline may be called only after a check"
)]

use super::minhash::{Block, LANES, MERSENNE_PRIME};

/// Compiles a function for the baseline, AVX2 and AVX-512, and calls what the processor has.
macro_rules! widest {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $plain:ident) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
                fn avx512($($arg: $type),*) $(-> $out)? {
                    $plain($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $out)? {
                    $plain($($arg),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the processor has just been found to have all three features.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has just been found to have the feature.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $plain($($arg),*)
        }
    };
}

/// Lowers each of `out`, which has [`LANES`] values a block, to the least permuted hash where that
/// is less.
pub(super) fn lower(blocks: &[Block], hashes: &[u32], out: &mut [u32]) {
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LANES>().0) {
        for (out, least) in out.iter_mut().zip(least_permuted(block, hashes)) {
            *out = least.min(*out);
        }
    }
}

fn least_permuted(block: &Block, hashes: &[u32]) -> [u32; LANES] {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: the processor has just been found to have both features.
            return unsafe { vectors::avx512(block, hashes) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has just been found to have the feature.
            return unsafe { vectors::avx2(block, hashes) };
        }
    }
    least_permuted_plain(block, hashes)
}

widest! {
    /// The first word of the SHA-1 digest of eight messages of one block each: `words[i]` holds
    /// the i-th big-endian word of each message, padding included. Plain loops over fixed arrays
    /// suffice for the compiler to make vectors of them.
    sha1_first_words(words: &[Eight; 16]) -> Eight = sha1_first_words_plain
}

fn least_permuted_plain(block: &Block, hashes: &[u32]) -> [u32; LANES] {
    let mut least = [u32::MAX; LANES];
    for &hash in hashes {
        for ((least, &a), &b) in least.iter_mut().zip(&block.a).zip(&block.b) {
            *least = (*least).min(permute(hash, a, b));
        }
    }
    least
}

/// One permutation without a division. With p = 2^61 - 1, x mod p is the sum t of the low 61 bits
/// and the rest, less p if t ≥ p; as p ≡ -1 mod 2^32, the low 32 bits of that are those of t + 1
/// then, and t ≥ p exactly if t + 1 reaches bit 61.
#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
fn permute(hash: u32, a: u64, b: u64) -> u32 {
    let x = u64::from(hash).wrapping_mul(a).wrapping_add(b);
    let t = (x & MERSENNE_PRIME) + (x >> 61);
    (t + ((t + 1) >> 61)) as u32
}

/// [`least_permuted_plain`] in vectors of 64-bit lanes. Written out because the compiler turns the
/// plain loops into vectors of hashes rather than of permutations, three times slower.
///
/// With x = a·hash + b, the low half of the permuted hash is that of x + (x >> 61), but for one in
/// 2^58: it is one more where x mod 2^61 is one of the last eight numbers (see [`permute`]). Such an
/// x has ones in all bits from 32 to 60. These bits, inverted, ride along in the upper half of each
/// lane, of which the minimum is taken as well: while it is not 0 there was no such x.
#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_add_epi64, _mm256_and_si256, _mm256_min_epu32,
        _mm256_mul_epu32, _mm256_set1_epi64x, _mm256_slli_epi64, _mm256_srli_epi64,
        _mm256_xor_si256, _mm512_add_epi32, _mm512_add_epi64, _mm512_min_epu32, _mm512_mullo_epi64,
        _mm512_set1_epi64, _mm512_srli_epi64, _mm512_ternarylogic_epi64,
    };

    use super::{Block, LANES, least_permuted_plain};

    /// Inverts the upper half.
    const UPPER: i64 = -1 << 32;
    /// All but the bits that are folded.
    const KEPT: i64 = i64::MAX >> 2;

    #[target_feature(enable = "avx512f,avx512dq")]
    pub(super) fn avx512(block: &Block, hashes: &[u32]) -> [u32; LANES] {
        // SAFETY: both are 128 bytes without padding, and every pattern of bits is a vector.
        let a: [__m512i; 2] = unsafe { std::mem::transmute(block.a) };
        // SAFETY: as above.
        let b: [__m512i; 2] = unsafe { std::mem::transmute(block.b) };
        let (upper, kept) = (_mm512_set1_epi64(UPPER), _mm512_set1_epi64(KEPT));
        let mut least = [_mm512_set1_epi64(-1); 2];
        for &hash in hashes {
            let hash = _mm512_set1_epi64(i64::from(hash));
            for ((least, a), b) in least.iter_mut().zip(a).zip(b) {
                let x = _mm512_add_epi64(_mm512_mullo_epi64(hash, a), b);
                // (x ^ upper) & kept
                let low = _mm512_ternarylogic_epi64::<0x28>(x, upper, kept);
                let folded = _mm512_add_epi32(low, _mm512_srli_epi64::<61>(x));
                *least = _mm512_min_epu32(*least, folded);
            }
        }
        // SAFETY: both are 128 bytes without padding, and every pattern of bits is a number.
        let least = unsafe { std::mem::transmute::<[__m512i; 2], [u64; LANES]>(least) };
        low_halves(least).unwrap_or_else(|| least_permuted_plain(block, hashes))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(block: &Block, hashes: &[u32]) -> [u32; LANES] {
        // SAFETY: both are 128 bytes without padding, and every pattern of bits is a vector.
        let a: [__m256i; 4] = unsafe { std::mem::transmute(block.a) };
        // SAFETY: as above.
        let b: [__m256i; 4] = unsafe { std::mem::transmute(block.b) };
        let (upper, kept) = (_mm256_set1_epi64x(UPPER), _mm256_set1_epi64x(KEPT));
        let mut least = [_mm256_set1_epi64x(-1); 4];
        for &hash in hashes {
            let hash = _mm256_set1_epi64x(i64::from(hash));
            for ((least, a), b) in least.iter_mut().zip(a).zip(b) {
                // The hash has 32 bits, so the low 64 bits of the product need two of the three
                // partial products.
                let high = _mm256_mul_epu32(hash, _mm256_srli_epi64::<32>(a));
                let low = _mm256_mul_epu32(hash, a);
                let product = _mm256_add_epi64(low, _mm256_slli_epi64::<32>(high));
                let x = _mm256_add_epi64(product, b);
                let low = _mm256_and_si256(_mm256_xor_si256(x, upper), kept);
                let folded = _mm256_add_epi32(low, _mm256_srli_epi64::<61>(x));
                *least = _mm256_min_epu32(*least, folded);
            }
        }
        // SAFETY: both are 128 bytes without padding, and every pattern of bits is a number.
        let least = unsafe { std::mem::transmute::<[__m256i; 4], [u64; LANES]>(least) };
        low_halves(least).unwrap_or_else(|| least_permuted_plain(block, hashes))
    }

    /// The low halves; `None` if an upper one is 0.
    #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
    fn low_halves(lanes: [u64; LANES]) -> Option<[u32; LANES]> {
        let sure = lanes.iter().all(|lane| lane >> 32 != 0);
        sure.then(|| lanes.map(|lane| lane as u32))
    }
}

/// One word of eight messages.
pub(super) type Eight = [u32; 8];

/// SHA-1 (FIPS 180-4) of one block, in eight lanes; only the first word of the digest.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it must be compiled anew inside each caller, for that caller's instructions"
)]
fn sha1_first_words_plain(words: &[Eight; 16]) -> Eight {
    let mut state = SHA1_START.map(|word| [word; 8]);
    let mut w = *words;
    // A loop for each kind of round: nothing is left to decide inside, and the lanes stay in
    // registers.
    state = rounds(state, &mut w, 0, |b, c, d| d ^ (b & (c ^ d)));
    state = rounds(state, &mut w, 1, |b, c, d| b ^ c ^ d);
    state = rounds(state, &mut w, 2, |b, c, d| (b & c) | (d & (b | c)));
    state = rounds(state, &mut w, 3, |b, c, d| b ^ c ^ d);
    let [a, ..] = state;
    a.map(|word| word.wrapping_add(SHA1_START[0]))
}

/// Twenty rounds with the function `mix`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
#[expect(
    clippy::many_single_char_names,
    reason = "the names of the standard, which a reader will compare with"
)]
#[expect(clippy::indexing_slicing, reason = "all indices are below 16 or 8")]
fn rounds(
    [mut a, mut b, mut c, mut d, mut e]: [Eight; 5],
    w: &mut [Eight; 16],
    twenty: usize,
    mix: impl Fn(u32, u32, u32) -> u32,
) -> [Eight; 5] {
    let constant = SHA1_CONSTANTS[twenty];
    for t in twenty * 20..twenty * 20 + 20 {
        let mut word = w[t % 16];
        if t >= 16 {
            let (x, y, z) = (w[(t + 13) % 16], w[(t + 8) % 16], w[(t + 2) % 16]);
            for (i, word) in word.iter_mut().enumerate() {
                *word = (*word ^ x[i] ^ y[i] ^ z[i]).rotate_left(1);
            }
            w[t % 16] = word;
        }
        for (i, e) in e.iter_mut().enumerate() {
            *e = e
                .wrapping_add(mix(b[i], c[i], d[i]))
                .wrapping_add(a[i].rotate_left(5))
                .wrapping_add(word[i])
                .wrapping_add(constant);
        }
        for b in &mut b {
            *b = b.rotate_left(30);
        }
        (a, b, c, d, e) = (e, a, b, c, d);
    }
    [a, b, c, d, e]
}

const SHA1_START: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

const SHA1_CONSTANTS: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_instruction_sets_agree(
            a in prop::array::uniform16(0..MERSENNE_PRIME),
            b in prop::array::uniform16(0..MERSENNE_PRIME),
            hashes in prop::collection::vec(any::<u32>(), 0..9),
            words in prop::array::uniform16(any::<Eight>()),
        ) {
            let block = Block { a, b };
            let plain = least_permuted_plain(&block, &hashes);
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has just been found to have the feature.
                prop_assert_eq!(unsafe { vectors::avx2(&block, &hashes) }, plain);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
                // SAFETY: the processor has just been found to have both features.
                prop_assert_eq!(unsafe { vectors::avx512(&block, &hashes) }, plain);
            }
            prop_assert_eq!(sha1_first_words(&words), sha1_first_words_plain(&words));
        }

        /// Products that come near 2^61 - 1, where one more is folded than usually.
        #[test]
        fn all_instruction_sets_agree_where_numbers_wrap(
            near in prop::array::uniform16(0..20_u64),
            top in 0..8_u64,
            more in prop::collection::vec(any::<u32>(), 0..3),
        ) {
            // x is b where the hash is 0.
            let b = near.map(|below| (top << 61 | MERSENNE_PRIME).wrapping_sub(below));
            let block = Block { a: [3; LANES], b };
            let hashes = [&[0], more.as_slice()].concat();
            let plain = least_permuted_plain(&block, &hashes);
            let by_division = b.map(|b| {
                let x = |hash: &u32| u64::from(*hash).wrapping_mul(3).wrapping_add(b);
                let low = |x: u64| u32::try_from(x % MERSENNE_PRIME % (1 << 32)).unwrap();
                hashes.iter().map(|hash| low(x(hash))).min().unwrap()
            });
            prop_assert_eq!(plain, by_division);
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has just been found to have the feature.
                prop_assert_eq!(unsafe { vectors::avx2(&block, &hashes) }, plain);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
                // SAFETY: the processor has just been found to have both features.
                prop_assert_eq!(unsafe { vectors::avx512(&block, &hashes) }, plain);
            }
        }
    }
}
