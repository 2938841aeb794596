//! The wide version of a `MinHash` signature: plain loops over fixed blocks that the compiler turns
//! into vector code, compiled once for each instruction set and chosen when the program runs.
#![expect(
    unsafe_code,
    reason = "a function compiled for more than the baseline may be called only after a check"
)]

use super::minhash::{Block, LANES, MERSENNE_PRIME};

/// Lowers each of `out` to the least permuted hash; `out` has [`LANES`] values a block.
pub(super) fn fill(blocks: &[Block], hashes: &[u32], out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the processor has just been found to have all three features.
            return unsafe { fill_avx512(blocks, hashes, out) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has just been found to have the feature.
            return unsafe { fill_avx2(blocks, hashes, out) };
        }
    }
    fill_blocks(blocks, hashes, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn fill_avx512(blocks: &[Block], hashes: &[u32], out: &mut [u32]) {
    fill_blocks(blocks, hashes, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fill_avx2(blocks: &[Block], hashes: &[u32], out: &mut [u32]) {
    fill_blocks(blocks, hashes, out);
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it must be compiled anew inside each caller, for that caller's instructions"
)]
fn fill_blocks(blocks: &[Block], hashes: &[u32], out: &mut [u32]) {
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
