//! `MinHash` signatures with the permutations of Data-Juicer (which took them from `datasketch`).
//!
//! [`Permutations::signature_plain`] is the specification; [`Permutations::signature`] is the
//! same, many permutations at a time.

use sha1::{Digest as _, Sha1};

use super::mersenne::Mersenne;
use super::wide::{self, Eight};

/// 2^61 - 1.
pub(super) const MERSENNE_PRIME: u64 = (1 << 61) - 1;

/// Signatures are computed for this many permutations at a time.
pub(super) const LANES: usize = 16;

/// Shingles whose hashes are in memory at a time.
const PART: usize = 4096;

/// The seed of the published permutations.
const SEED: u32 = 42;

/// The linear permutations x ↦ (a·x + b) mod 2^61 - 1, reduced to 32 bits, of a signature.
#[derive(Debug, Clone)]
pub struct Permutations {
    count: usize,
    /// `a` and `b` of each permutation, filled up to whole blocks.
    blocks: Vec<Block>,
}

/// `a` and `b` of [`LANES`] permutations.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) a: [u64; LANES],
    pub(super) b: [u64; LANES],
}

impl Permutations {
    /// The first `count` permutations: for each, `a` in 1..2^61 - 1 and then `b` in 0..2^61 - 1
    /// drawn as numpy's `RandomState(42).randint` draws (mask and reject).
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut random = Mersenne::from_word(SEED);
        let mut blocks = Vec::with_capacity(count.div_ceil(LANES));
        for first in (0..count).step_by(LANES) {
            let mut block = Block {
                a: [0; LANES],
                b: [0; LANES],
            };
            let used = (count - first).min(LANES);
            for (a, b) in block.a.iter_mut().zip(&mut block.b).take(used) {
                *a = draw(&mut random, MERSENNE_PRIME - 2) + 1;
                *b = draw(&mut random, MERSENNE_PRIME - 1);
            }
            blocks.push(block);
        }
        Self { count, blocks }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// `a` and `b` of each permutation.
    pub fn coefficients(&self) -> impl Iterator<Item = (u64, u64)> {
        self.blocks
            .iter()
            .flat_map(|block| block.a.into_iter().zip(block.b))
            .take(self.count)
    }

    /// Writes the signature of a set of shingle hashes to `out`: for each permutation the least
    /// permuted hash, or 2^32 - 1 if there are none. A minimum does not see repeats, so `hashes`
    /// may hold them.
    pub fn signature(&self, hashes: &[u32], out: &mut Vec<u32>) {
        self.start(out);
        wide::lower(&self.blocks, hashes, out);
        out.truncate(self.count);
    }

    /// The signature of no hash, filled up to whole blocks.
    fn start(&self, out: &mut Vec<u32>) {
        out.clear();
        out.resize(self.blocks.len() * LANES, u32::MAX);
    }

    /// The signature of shingles, a part of them at a time: a long text has many.
    pub fn signature_of<'s>(&self, shingles: impl Iterator<Item = &'s [u8]>, out: &mut Vec<u32>) {
        let mut shingles = shingles.peekable();
        let mut hashes = Vec::new();
        self.start(out);
        while shingles.peek().is_some() {
            hashes.clear();
            sha1_32_each(shingles.by_ref().take(PART), &mut hashes);
            wide::lower(&self.blocks, &hashes, out);
        }
        out.truncate(self.count);
    }

    /// [`Permutations::signature`], one permutation and one hash at a time.
    pub fn signature_plain(&self, hashes: &[u32], out: &mut Vec<u32>) {
        out.clear();
        out.extend(self.coefficients().map(|(a, b)| {
            hashes
                .iter()
                .map(|&hash| permute(hash, a, b))
                .min()
                .unwrap_or(u32::MAX)
        }));
    }
}

/// One permutation of one hash. The product wraps at 2^64, as numpy's does.
#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
fn permute(hash: u32, a: u64, b: u64) -> u32 {
    (u64::from(hash).wrapping_mul(a).wrapping_add(b) % MERSENNE_PRIME) as u32
}

/// A number in 0..=`range`, where `range` has 61 bits: numpy's masked rejection of 64-bit words,
/// each made of two outputs, the first one high.
fn draw(random: &mut Mersenne, range: u64) -> u64 {
    loop {
        let high = u64::from(random.next_u32());
        let word = (high << 32 | u64::from(random.next_u32())) & MERSENNE_PRIME;
        if word <= range {
            return word;
        }
    }
}

/// The first four bytes of the SHA-1 digest, little-endian: the hash of a shingle.
#[must_use]
pub fn sha1_32(shingle: &[u8]) -> u32 {
    let digest = Sha1::digest(shingle);
    let mut first = [0; 4];
    first
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    u32::from_le_bytes(first)
}

/// Appends [`sha1_32`] of each shingle to `out`, in order, eight shingles at a time.
pub fn sha1_32_each<'s>(shingles: impl Iterator<Item = &'s [u8]>, out: &mut Vec<u32>) {
    let mut batch = Batch::default();
    for shingle in shingles {
        if !batch.add(shingle, out.len()) {
            out.push(sha1_32(shingle));
            continue;
        }
        out.push(0);
        if batch.used == batch.places.len() {
            batch.finish(out);
        }
    }
    batch.finish(out);
}

/// Shingles that wait to be hashed together, each padded to SHA-1's one block.
#[derive(Default)]
struct Batch {
    words: [Eight; 16],
    /// Where in the output the hash of each goes.
    places: [usize; 8],
    /// How many words of each lane are not 0, but for the last one.
    filled: [usize; 8],
    used: usize,
}

/// The longest message that, with its padding, fills one block.
const ONE_BLOCK: usize = 55;

impl Batch {
    /// Adds a shingle unless it needs more than one block.
    fn add(&mut self, shingle: &[u8], place: usize) -> bool {
        let lane = self.used;
        let (Some(slot), Some(filled), true) = (
            self.places.get_mut(lane),
            self.filled.get_mut(lane),
            shingle.len() <= ONE_BLOCK,
        ) else {
            return false;
        };
        *slot = place;
        let (whole, rest) = shingle.as_chunks::<4>();
        let mut end = [0; 4];
        for (to, from) in end.iter_mut().zip(rest.iter().chain(&[0x80])) {
            *to = *from;
        }
        // Most shingles are short: what is behind them stays 0 from one to the next.
        let used = whole.len() + 1;
        let zeros = filled.saturating_sub(used);
        *filled = used;
        let text = whole
            .iter()
            .chain([&end])
            .chain(std::iter::repeat_n(&[0; 4], zeros));
        for (lanes, word) in self.words.iter_mut().zip(text) {
            if let Some(to) = lanes.get_mut(lane) {
                *to = u32::from_be_bytes(*word);
            }
        }
        // The last word is the length in bits.
        if let Some(to) = self.words.last_mut().and_then(|l| l.get_mut(lane)) {
            *to = u32::try_from(shingle.len() * 8).unwrap_or_default();
        }
        self.used += 1;
        true
    }

    fn finish(&mut self, out: &mut [u32]) {
        if self.used > 0 {
            let hashes = wide::sha1_first_words(&self.words);
            for (&place, hash) in self.places.iter().zip(hashes).take(self.used) {
                if let Some(slot) = out.get_mut(place) {
                    // The digest's bytes are big-endian words.
                    *slot = hash.swap_bytes();
                }
            }
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn permutations_are_those_of_numpy() {
        let all: Vec<_> = Permutations::new(256).coefficients().collect();
        // numpy 2.4.6, RandomState(42).
        assert_eq!(all.first(), Some(&FIRST));
        assert_eq!(all.last(), Some(&LAST));
        assert_eq!(all.len(), 256);
    }

    const FIRST: (u64, u64) = (2_297_359_619_001_564_596, 1_396_682_528_897_996_046);
    const LAST: (u64, u64) = (2_092_141_031_243_851_673, 797_693_216_700_694_537);

    #[test]
    fn no_shingle_gives_the_greatest_value() {
        let mut out = Vec::new();
        Permutations::new(3).signature(&[], &mut out);
        assert_eq!(out, [u32::MAX; 3]);
    }

    #[test]
    fn shingles_hash_as_in_python() {
        // struct.unpack("<I", hashlib.sha1(b"a red bicycle by the").digest()[:4])
        assert_eq!(sha1_32(b"a red bicycle by the"), 373_962_775);
    }

    #[test]
    fn parts_of_the_shingles_give_the_signature_of_all() {
        let words: Vec<[u8; 4]> = (0..10_000_u32).map(u32::to_be_bytes).collect();
        let permutations = Permutations::new(20);
        for count in [0, 1, PART - 1, PART, PART + 1, words.len()] {
            let shingles = || words.iter().take(count).map(<[u8; 4]>::as_slice);
            let (mut hashes, mut parts, mut whole) = (Vec::new(), vec![3], Vec::new());
            permutations.signature_of(shingles(), &mut parts);
            sha1_32_each(shingles(), &mut hashes);
            permutations.signature_plain(&hashes, &mut whole);
            assert_eq!(parts, whole, "{count}");
        }
    }

    proptest! {
        #[test]
        fn eight_shingles_hash_as_one_does(
            shingles in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..30),
        ) {
            let mut each = vec![7];
            sha1_32_each(shingles.iter().map(Vec::as_slice), &mut each);
            let mut plain = vec![7];
            plain.extend(shingles.iter().map(|shingle| sha1_32(shingle)));
            prop_assert_eq!(each, plain);
        }

        #[test]
        fn the_wide_version_equals_the_plain_one(
            count in 1usize..70,
            hashes in prop::collection::vec(any::<u32>(), 0..20),
        ) {
            let permutations = Permutations::new(count);
            let (mut wide, mut plain) = (Vec::new(), Vec::new());
            permutations.signature(&hashes, &mut wide);
            permutations.signature_plain(&hashes, &mut plain);
            prop_assert_eq!(wide, plain);
        }
    }
}
