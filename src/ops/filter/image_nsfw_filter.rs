//! Keeps rows whose images a classifier gives an NSFW score within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    AnyOrAll, Bounds, BuildContext, Facts, ImageNeed, Operator, ParamError, StatDef, StatType,
    operator,
};
use crate::ops::model::{ImageScores, classifier, own_code_only};

operator! {
    /// Keeps rows whose images have an NSFW score between `min_score` and `max_score`.
    ///
    /// The score is the share that the model gives the second of its classes, one a distinct image:
    /// a path that is named twice has one. With `any_or_all: any` one image within the range keeps
    /// the row, with `all` every image must be; a row without images stays. Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - image_nsfw_filter: {hf_nsfw_model: fixtures/transformers/vit, max_score: 0.5}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_nsfw_score": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_nsfw_filter`: same, to the last digits of the sums (1e-5). Images
    /// are sized as by transformers 4.57.1, whichever version computes. There damaged JPEG files are
    /// scored with a grey rest; here the row is quarantined. Code that comes with a model is
    /// not run: `trust_remote_code: true` is refused.
    image_nsfw_filter: Filter(Params) => build,
    Facts {
        stats: &[SCORE],
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
    hf_nsfw_model: String,
    /// Whether to run code that comes with the model; must be false.
    trust_remote_code: bool,
    /// Least score kept, inclusive.
    min_score: Option<f64>,
    /// Greatest score kept, inclusive.
    max_score: Option<f64>,
    /// Whether one image or every image of a row must pass.
    any_or_all: AnyOrAll,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hf_nsfw_model: "Falconsai/nsfw_image_detection".into(),
            trust_remote_code: false,
            min_score: Some(0.0),
            max_score: Some(0.5),
            any_or_all: AnyOrAll::Any,
        }
    }
}

const SCORE: StatDef = StatDef::new("image_nsfw_score", StatType::Numbers)
    .min("min_score")
    .max("max_score");

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    own_code_only(params.trust_remote_code)?;
    let bounds = Bounds::new(&SCORE, params.min_score, params.max_score, &context.base)?
        .mode(params.any_or_all);
    let scorer = classifier("hf_nsfw_model", &params.hf_nsfw_model);
    Ok(Operator::Filter(Box::new(ImageScores::new(
        context, scorer, bounds,
    )?)))
}
