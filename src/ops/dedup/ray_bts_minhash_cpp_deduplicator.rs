//! Drops rows whose text is nearly that of an earlier row, under the name of Data-Juicer's
//! compiled operator.

use super::ray_bts_minhash_deduplicator::{Params, build};
use crate::op::{Facts, operator};

operator! {
    /// Drops rows whose text is nearly the same as that of an earlier row (`MinHash` LSH): another name of
    /// `ray_bts_minhash_deduplicator`.
    ///
    /// ## Example
    /// ```yaml
    /// - ray_bts_minhash_cpp_deduplicator: {tokenization: character, window_size: 3}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a red bicycle"}, {"text": "two cats"}, {"text": "A red bicycle"}], "out": [{"text": "a red bicycle"}, {"text": "two cats"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `ray_bts_minhash_cpp_deduplicator`: as `ray_bts_minhash_deduplicator`, whose
    /// parameters are all accepted and whose recorded answers it is held to. The compiled operator
    /// itself, which is documented as the same, was not run.
    ray_bts_minhash_cpp_deduplicator: Deduplicator(Params) => build,
    Facts::OF_TEXT
}
