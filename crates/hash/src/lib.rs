//! Pure hashing kernels: digests, sketches, bands and seeded random draws. They know no rows, and
//! every value they give is a published contract: it is the same on any machine, in any version.

mod bands;
mod clean;
mod digest;
mod mersenne;
mod minhash;
mod random;
mod shingle;
mod simhash;
mod wide;

pub use bands::{band_keys, optimal_bands};
pub use clean::{IgnorePattern, python_lower, python_strip};
pub use digest::text_digest;
pub use minhash::{Permutations, sha1_32, sha1_32_each};
pub use random::{NumpyGenerator, PythonRandom, priority};
pub use shingle::{Shingler, Shingles, Tokenization};
pub use simhash::{block_masks, pairs_within, simhash, text_simhash};
