//! Drops rows whose text is nearly that of an earlier row, under the name of Data-Juicer's
//! distributed operator for rows with identifiers.

use super::ray_bts_minhash_deduplicator::{Params, build};
use crate::op::{Facts, operator};

operator! {
    /// Drops rows whose text is nearly the same as that of an earlier row (`MinHash` LSH): another name of
    /// `ray_bts_minhash_deduplicator`, for recipes that add rows to a deduplicated dataset.
    ///
    /// Of all rows joined the first one stays: put the rows that should win first.
    ///
    /// ## Example
    /// ```yaml
    /// - ray_bts_minhash_deduplicator_with_uid: {tokenization: character, window_size: 3}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a red bicycle"}, {"text": "two cats"}, {"text": "A red bicycle"}], "out": [{"text": "a red bicycle"}, {"text": "two cats"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `ray_bts_minhash_deduplicator_with_uid`: same rows if the numbers in
    /// `__dj__uid` ascend from row to row. It keeps the row with the least number, which is then the
    /// first one; here the column is neither needed nor read. See `ray_bts_minhash_deduplicator` for
    /// the rest.
    ray_bts_minhash_deduplicator_with_uid: Deduplicator(Params) => build,
    Facts::OF_TEXT
}
