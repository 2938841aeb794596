//! Drops rows whose images look the same as those of an earlier row, with the parameters of
//! Data-Juicer's distributed operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::image_deduplicator::{Method, image_digits};
use super::ray_document_deduplicator::{Backend, EMPTY, REDIS_ADDRESS};
use crate::image::HashMethod;
use crate::op::{
    BuildContext, ExactDeduplicator, Facts, ImageNeed, Operator, ParamError, operator,
};
use crate::sample::{RowError, Sample};

operator! {
    /// Drops rows whose images have the same perceptual hashes as those of an earlier row.
    ///
    /// The hash of a row is that of `image_deduplicator`. Rows without images are all the same: the
    /// first one stays.
    ///
    /// ## Example
    /// ```yaml
    /// - ray_image_deduplicator: {method: dhash}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a", "images": []}, {"text": "b", "images": null}], "out": [{"text": "a", "images": []}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `ray_image_deduplicator`: same groups of rows. It keeps the row of a group
    /// that a worker saw first, here it is always the first one in the input. `backend` and
    /// `redis_address` are accepted and have no effect. See `image_deduplicator` for the rest.
    ray_image_deduplicator: Deduplicator(Params) => build,
    Facts {
        images: |_| ImageNeed::Pixels,
        compares: &["backend", "redis_address"],
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// No effect.
    backend: Backend,
    /// No effect.
    redis_address: String,
    /// The perceptual hash.
    method: Method,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            redis_address: REDIS_ADDRESS.into(),
            method: Method::default(),
        }
    }
}

struct RayImage {
    method: HashMethod,
}

#[expect(clippy::unnecessary_wraps, reason = "every operator is built alike")]
fn build(params: Params, _context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Exact(Box::new(RayImage {
        method: params.method.into(),
    })))
}

impl ExactDeduplicator for RayImage {
    fn key(&self, sample: &Sample) -> Result<Option<u128>, RowError> {
        if sample.images()?.is_empty() {
            return Ok(Some(EMPTY));
        }
        let digits = image_digits(sample, self.method)?;
        Ok(Some(xxh3_128(digits.as_bytes())))
    }
}
