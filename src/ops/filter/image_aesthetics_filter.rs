//! Keeps rows whose images an aesthetics predictor gives a score within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    AnyOrAll, Bounds, BuildContext, Facts, ImageNeed, Operator, ParamError, StatDef, StatType,
    operator,
};
use crate::ops::model::{ImageScores, Scale, Scorer, own_code_only};
use crate::transformers::{Aesthetics, Architecture, ProcessorKind};

operator! {
    /// Keeps rows whose images have an aesthetics score between `min_score` and `max_score`.
    ///
    /// The model is a predictor of `simple-aesthetics-predictor`; its name says its head: `v1`, or
    /// `v2` with `linear` or `relu`. Where the name has `aesthetics-predictor`, the output is divided
    /// by 10. One score a distinct image: a path that is named twice has one. With `any_or_all: any`
    /// one image within the range keeps the row, with `all` every image must be; a row without
    /// images stays. Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - image_aesthetics_filter: {hf_scorer_model: fixtures/transformers/aesthetics-predictor-v1}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_aesthetics_scores": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_aesthetics_filter`: same, to the last digits of the sums (1e-5).
    /// Images are sized as by transformers 4.57.1, whichever version computes, and the package
    /// `simple-aesthetics-predictor` is not needed. There damaged JPEG files are scored with a grey
    /// rest; here the row is quarantined. There a head that is not in the weights is made up; here
    /// such a model is refused. Code that comes with a model is
    /// not run: `trust_remote_code: true` is refused.
    image_aesthetics_filter: Filter(Params) => build,
    Facts {
        stats: &[SCORES],
        images: |_| ImageNeed::Pixels,
        decides: &["any_or_all"],
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The predictor: a model's id (`owner/name`), or its folder; by default
    /// `shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE`.
    hf_scorer_model: String,
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
            hf_scorer_model: String::new(),
            trust_remote_code: false,
            min_score: Some(0.5),
            max_score: Some(1.0),
            any_or_all: AnyOrAll::Any,
        }
    }
}

const SCORES: StatDef = StatDef::new("image_aesthetics_scores", StatType::Numbers)
    .min("min_score")
    .max("max_score");

/// The parameter that names the model.
const MODEL: &str = "hf_scorer_model";

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    own_code_only(params.trust_remote_code)?;
    let bounds = Bounds::new(&SCORES, params.min_score, params.max_score, &context.base)?
        .mode(params.any_or_all);
    let id = match params.hf_scorer_model.as_str() {
        "" => "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
        given => given,
    };
    let head = Aesthetics::of_name(id).ok_or_else(|| {
        let message = format!("'{id}' does not say which head it has");
        ParamError::new(MODEL, message)
            .hint("name a model with v1, or with v2 and linear or relu, in its name")
    })?;
    let scorer = Scorer {
        param: MODEL,
        id,
        architecture: Architecture::Aesthetics(head),
        processor: Some(ProcessorKind::Clip),
        class: "AestheticsPredictor",
        head: Some(match head {
            Aesthetics::V1 => "v1",
            Aesthetics::V2Linear => "v2_linear",
            Aesthetics::V2Relu => "v2_relu",
        }),
        scale: Scale::Divided(if id.contains("aesthetics-predictor") {
            10.0
        } else {
            1.0
        }),
    };
    Ok(Operator::Filter(Box::new(ImageScores::new(
        context, scorer, bounds,
    )?)))
}
