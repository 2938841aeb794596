//! The wide versions of what a `MinHash` signature spends its time on: plain loops over fixed
//! arrays that the compiler turns into vector code, compiled once for each instruction set and
//! chosen when the program runs.
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

widest! {
    /// Lowers each of `out` to the least permuted hash; `out` has [`LANES`] values a block.
    least_permuted(blocks: &[Block], hashes: &[u32], out: &mut [u32]) = least_permuted_plain
}

widest! {
    /// The first word of the SHA-1 digest of eight messages of one block each: `words[i]` holds
    /// the i-th big-endian word of each message, padding included.
    sha1_first_words(words: &[Eight; 16]) -> Eight = sha1_first_words_plain
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it must be compiled anew inside each caller, for that caller's instructions"
)]
fn least_permuted_plain(blocks: &[Block], hashes: &[u32], out: &mut [u32]) {
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(LANES)) {
        // The values have 32 bits but live in signed 64-bit lanes, where they were computed and
        // where every instruction set can compare them.
        let mut least = [i64::from(u32::MAX); LANES];
        for &hash in hashes {
            for ((least, &a), &b) in least.iter_mut().zip(&block.a).zip(&block.b) {
                *least = (*least).min(permute(hash, a, b));
            }
        }
        for (out, least) in out.iter_mut().zip(least) {
            *out = u32::try_from(least).unwrap_or(u32::MAX);
        }
    }
}

/// One permutation without a division. With p = 2^61 - 1, x mod p is the sum t of the low 61 bits
/// and the rest, less p if t ≥ p; as p ≡ -1 mod 2^32, the low 32 bits of that are those of t + 1
/// then, and t ≥ p exactly if t + 1 reaches bit 61.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as for its caller")]
#[expect(clippy::cast_possible_wrap, reason = "32 bits are left")]
fn permute(hash: u32, a: u64, b: u64) -> i64 {
    let x = u64::from(hash).wrapping_mul(a).wrapping_add(b);
    let t = (x & MERSENNE_PRIME) + (x >> 61);
    ((t + ((t + 1) >> 61)) & 0xffff_ffff) as i64
}

/// One word of eight messages.
pub(super) type Eight = [u32; 8];

/// SHA-1 (FIPS 180-4) of one block, in eight lanes; only the first word of the digest.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
#[expect(
    clippy::many_single_char_names,
    reason = "the names of the standard, which a reader will compare with"
)]
#[expect(clippy::indexing_slicing, reason = "all indices are below 16 or 8")]
fn sha1_first_words_plain(words: &[Eight; 16]) -> Eight {
    let mut w = *words;
    let [mut a, mut b, mut c, mut d, mut e] = SHA1_START.map(|word| [word; 8]);
    for t in 0..80 {
        if t >= 16 {
            let (x, y, z) = (w[(t + 13) % 16], w[(t + 8) % 16], w[(t + 2) % 16]);
            for (lane, word) in w[t % 16].iter_mut().enumerate() {
                *word = (*word ^ x[lane] ^ y[lane] ^ z[lane]).rotate_left(1);
            }
        }
        let mut f = [0; 8];
        for (lane, f) in f.iter_mut().enumerate() {
            let (b, c, d) = (b[lane], c[lane], d[lane]);
            *f = match t / 20 {
                0 => d ^ (b & (c ^ d)),
                2 => (b & c) | (d & (b | c)),
                _ => b ^ c ^ d,
            };
        }
        let constant = SHA1_CONSTANTS[t / 20];
        let word = w[t % 16];
        for (lane, e) in e.iter_mut().enumerate() {
            *e = e
                .wrapping_add(a[lane].rotate_left(5))
                .wrapping_add(f[lane])
                .wrapping_add(word[lane])
                .wrapping_add(constant);
        }
        (a, b, c, d, e) = (e, a, b.map(|word| word.rotate_left(30)), c, d);
    }
    a.map(|word| word.wrapping_add(SHA1_START[0]))
}

const SHA1_START: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

const SHA1_CONSTANTS: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];
