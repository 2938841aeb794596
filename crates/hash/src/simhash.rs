//! `SimHash` fingerprints (Charikar 2002) and the pairs of them that lie near each other.

use md5::{Digest as _, Md5};

use super::Shingles;

/// The fingerprint of a list of 64-bit hashes: bit i is set if more of them have it set than not
/// (a tie gives 0; no hash gives 0). Repeats count.
#[must_use]
pub fn simhash(hashes: impl IntoIterator<Item = u64>) -> u64 {
    let mut balance = [0i64; 64];
    for hash in hashes {
        for (bit, balance) in balance.iter_mut().enumerate() {
            *balance += if hash >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    balance
        .iter()
        .enumerate()
        .filter(|(_, balance)| **balance > 0)
        .fold(0, |print, (bit, _)| print | 1 << bit)
}

/// The fingerprint of a text by its shingles, each hashed to the first 8 bytes of its MD5 digest,
/// big-endian, as simhash-pybind does; 0 if there is none.
#[must_use]
pub fn text_simhash(shingles: &Shingles<'_>) -> u64 {
    simhash(shingles.iter().map(md5_64))
}

fn md5_64(shingle: &[u8]) -> u64 {
    let digest: [u8; 16] = Md5::digest(shingle).into();
    digest
        .iter()
        .take(8)
        .fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

/// Calls `found` with the indices of pairs of `prints` that differ in at most `distance` bits, at
/// least so many that they connect what all such pairs connect. `prints` must be distinct.
///
/// The 64 bits are cut into `distance` + 2 blocks. Two prints that differ in at most `distance`
/// bits agree in two whole blocks at least, so for each pair of blocks only prints with the same
/// bits there are compared (Manku, Jain and Das Sarma 2007).
pub fn pairs_within(prints: &[u64], distance: u32, mut found: impl FnMut(usize, usize)) {
    let masks = block_masks(distance);
    let mut order: Vec<usize> = (0..prints.len()).collect();
    for mask in masks {
        let key = |index: usize| prints.get(index).map_or(0, |print| print & mask);
        order.sort_unstable_by_key(|&index| (key(index), index));
        for group in order.chunk_by(|&a, &b| key(a) == key(b)) {
            for (at, &a) in group.iter().enumerate() {
                for &b in group.iter().skip(at + 1) {
                    let near = match (prints.get(a), prints.get(b)) {
                        (Some(a), Some(b)) => (a ^ b).count_ones() <= distance,
                        _ => false,
                    };
                    if near {
                        found(a, b);
                    }
                }
            }
        }
    }
}

/// The masks of two blocks each; one mask of nothing (all prints are compared) if blocks would be
/// empty.
#[must_use]
pub fn block_masks(distance: u32) -> Vec<u64> {
    let blocks = distance.saturating_add(2);
    if blocks > 64 {
        return vec![0];
    }
    let block = |index: u32| {
        let (from, to) = (index * 64 / blocks, (index + 1) * 64 / blocks);
        (u64::MAX >> (64 - (to - from))) << from
    };
    (0..blocks)
        .flat_map(|one| (one + 1..blocks).map(move |two| block(one) | block(two)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_that_of_simhash_pybind() {
        // simhash.unsigned_hash(b"abc")
        assert_eq!(md5_64(b"abc"), 10_376_663_631_224_000_432);
    }

    #[test]
    fn each_bit_goes_with_the_majority() {
        assert_eq!(simhash([0b11, 0b01, 0b01]), 0b01);
        assert_eq!(simhash([0b11, 0b00]), 0);
        assert_eq!(simhash([]), 0);
    }

    proptest! {
        #[test]
        fn no_pair_is_missed(
            seeds in prop::collection::vec((0u64..4, prop::collection::vec(0u32..64, 0..8)), 0..40),
            distance in 0u32..12,
        ) {
            let mut prints: Vec<u64> = seeds
                .into_iter()
                .map(|(base, flips)| {
                    flips.into_iter().fold(base.wrapping_mul(0x9e37_79b9_7f4a_7c15), |p, bit| p ^ 1 << bit)
                })
                .collect();
            prints.sort_unstable();
            prints.dedup();
            let mut found = std::collections::BTreeSet::new();
            pairs_within(&prints, distance, |a, b| {
                found.insert((a.min(b), a.max(b)));
            });
            let mut expected = std::collections::BTreeSet::new();
            for a in 0..prints.len() {
                for b in a + 1..prints.len() {
                    if (prints[a] ^ prints[b]).count_ones() <= distance {
                        expected.insert((a, b));
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
