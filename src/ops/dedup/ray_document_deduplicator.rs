//! Drops rows whose text an earlier row has, with the parameters of Data-Juicer's distributed
//! operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ray_bts_minhash_deduplicator::AutoOrCount;
use crate::hash::text_digest;
use crate::op::{BuildContext, ExactDeduplicator, Facts, Operator, ParamError, operator};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Drops rows whose text is the same as that of an earlier row.
    ///
    /// Texts are the same if their MD5 digests are, after white space at both ends is cut (as
    /// Python's `str.strip` does). `lowercase` and `ignore_non_character` make the comparison
    /// coarser; the text itself is not changed. A missing text and an empty one are the same as each
    /// other, but not the same as one of white space only.
    ///
    /// ## Example
    /// ```yaml
    /// - ray_document_deduplicator: {lowercase: true}
    /// ```
    /// ```json
    /// {"rows": [{"text": "A dog."}, {"text": "a cat"}, {"text": " a dog."}, {"text": ""}, {"text": null}], "out": [{"text": "A dog."}, {"text": "a cat"}, {"text": ""}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `ray_document_deduplicator`: same groups of rows. It keeps the row of a
    /// group that a worker saw first, here it is always the first one in the input. `backend`,
    /// `redis_address` and `dedup_set_num` are accepted and have no effect.
    ray_document_deduplicator: Deduplicator(Params) => build,
    Facts::OF_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// No effect.
    backend: Backend,
    /// No effect.
    redis_address: String,
    /// No effect.
    dedup_set_num: AutoOrCount,
    /// Compare texts in lower case.
    lowercase: bool,
    /// Compare texts without white space, decimal digits and ASCII punctuation.
    ignore_non_character: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            redis_address: REDIS_ADDRESS.into(),
            dedup_set_num: AutoOrCount::default(),
            lowercase: false,
            ignore_non_character: false,
        }
    }
}

/// Data-Juicer's default.
pub(super) const REDIS_ADDRESS: &str = "redis://localhost:6379";

/// Where Data-Juicer keeps the hashes it saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Backend {
    /// In workers.
    #[default]
    RayActor,
    /// In a database.
    Redis,
}

/// The key of rows that have nothing to compare.
pub(super) const EMPTY: u128 = u128::from_be_bytes(*b"EMPTY\0\0\0\0\0\0\0\0\0\0\0");

struct RayDocument {
    text_key: FieldPath,
    lowercase: bool,
    ignore_non_character: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "every operator is built alike")]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Exact(Box::new(RayDocument {
        text_key: context.base.text_key.clone(),
        lowercase: params.lowercase,
        ignore_non_character: params.ignore_non_character,
    })))
}

impl ExactDeduplicator for RayDocument {
    fn key(&self, sample: &Sample) -> Result<Option<u128>, RowError> {
        let text = sample.text(&self.text_key)?.unwrap_or_default();
        if text.is_empty() {
            return Ok(Some(EMPTY));
        }
        let digest = text_digest(&text, self.lowercase, self.ignore_non_character);
        Ok(Some(u128::from_be_bytes(digest)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sample::{ImageContext, Origin};

    fn key(line: &str) -> Result<Option<u128>, RowError> {
        let Ok(Operator::Exact(op)) = build(Params::default(), &BuildContext::default()) else {
            panic!("an exact deduplicator");
        };
        let context = Arc::new(ImageContext::default());
        op.key(&Sample::parse(line.into(), Origin::default(), context).unwrap())
    }

    #[test]
    fn texts_without_characters_are_the_same() {
        for line in [r#"{"text": ""}"#, r#"{"text": null}"#, "{}"] {
            assert_eq!(key(line).unwrap(), Some(EMPTY));
        }
        assert_ne!(key(r#"{"text": " "}"#).unwrap(), Some(EMPTY));
        assert!(key(r#"{"text": 1}"#).is_err());
    }
}
