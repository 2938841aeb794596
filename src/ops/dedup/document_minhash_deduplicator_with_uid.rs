//! Drops rows whose text is nearly that of an earlier row, under the name of Data-Juicer's
//! operator for rows with identifiers.

use super::document_minhash_deduplicator::{Params, build};
use crate::op::{Facts, operator};

operator! {
    /// Drops rows whose text is nearly the same as that of an earlier row (`MinHash` LSH); an alias
    /// of `document_minhash_deduplicator` for recipes that add rows to a deduplicated dataset.
    ///
    /// Of all rows joined the first one stays: put the rows that should win first.
    ///
    /// ## Example
    /// ```yaml
    /// - document_minhash_deduplicator_with_uid: {window_size: 2}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a red bicycle by the old wall", "__dj__uid": 1}, {"text": "A  red bicycle by the old wall", "__dj__uid": 2}], "out": [{"text": "a red bicycle by the old wall", "__dj__uid": 1}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `document_minhash_deduplicator_with_uid`: same rows if the numbers in
    /// `__dj__uid` ascend from row to row. It keeps the row with the least number, which is then
    /// the first one; here the column is neither needed nor read. See
    /// `document_minhash_deduplicator` for the rest.
    document_minhash_deduplicator_with_uid: Deduplicator(Params) => build,
    Facts::OF_TEXT
}
