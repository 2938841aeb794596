//! Keeps rows whose images a classifier finds no watermark in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    AnyOrAll, Bounds, BuildContext, Facts, ImageNeed, Operator, ParamError, StatDef, StatType,
    operator,
};
use crate::ops::model::{ImageScores, classifier, own_code_only};

operator! {
    /// Keeps rows whose images have a watermark with a probability of at most `prob_threshold`.
    ///
    /// The probability is the share that the model gives the second of its classes, one a distinct
    /// image: a path that is named twice has one. With `any_or_all: any` one image within the range
    /// keeps the row, with `all` every image must be; a row without images stays. The threshold is
    /// inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - image_watermark_filter: {hf_watermark_model: fixtures/transformers/vit}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_watermark_prob": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_watermark_filter`: same, to the last digits of the sums (1e-5).
    /// Images are sized as by transformers 4.57.1, whichever version computes. There damaged JPEG
    /// files are scored with a grey rest; here the row is quarantined. Code that comes with a model is
    /// not run: `trust_remote_code: true` is refused.
    image_watermark_filter: Filter(Params) => build,
    Facts {
        stats: &[PROBABILITY],
        images: |_| ImageNeed::Pixels,
        decides: &["any_or_all"],
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The classifier: a model's id (`owner/name`), or its folder.
    hf_watermark_model: String,
    /// Whether to run code that comes with the model; must be false.
    trust_remote_code: bool,
    /// Greatest probability kept, inclusive.
    prob_threshold: Option<f64>,
    /// Whether one image or every image of a row must pass.
    any_or_all: AnyOrAll,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hf_watermark_model: "amrul-hzz/watermark_detector".into(),
            trust_remote_code: false,
            prob_threshold: Some(0.8),
            any_or_all: AnyOrAll::Any,
        }
    }
}

const PROBABILITY: StatDef =
    StatDef::new("image_watermark_prob", StatType::Numbers).max("prob_threshold");

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    own_code_only(params.trust_remote_code)?;
    let bounds = Bounds::new(&PROBABILITY, None, params.prob_threshold, &context.base)?
        .mode(params.any_or_all);
    let scorer = classifier("hf_watermark_model", &params.hf_watermark_model);
    Ok(Operator::Filter(Box::new(ImageScores::new(
        context, scorer, bounds,
    )?)))
}
