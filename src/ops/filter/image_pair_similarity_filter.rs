//! Keeps rows whose two images are alike to a CLIP model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Answer, AnyOrAll, Asks, Bounds, BuildContext, Facts, Filter, ImageNeed, Measured, Operator,
    ParamError, Request, Service, StatDef, StatType, operator,
};
use crate::ops::model::{Clip, clip_model, cosine_of, distinct, own_code_only};
use crate::sample::{RowError, Sample, StatValue};

operator! {
    /// Keeps rows whose two images are as like each other, to a CLIP model, as `min_score` and
    /// `max_score` say.
    ///
    /// The stat is the cosine of both images' features. A row must have two images of different
    /// paths; any other is an error. Both ends are inclusive. There is one value, so `any_or_all`
    /// changes nothing but for stats that rows bring along.
    ///
    /// ## Example
    /// ```yaml
    /// - image_pair_similarity_filter: {hf_clip: fixtures/transformers/clip, min_score: 0.5}
    /// ```
    /// ```json
    /// {"in": {"images": ["a.jpg", "b.jpg"], "__dj__stats__": {"image_pair_similarity": [0.75]}}, "out": {"images": ["a.jpg", "b.jpg"], "__dj__stats__": {"image_pair_similarity": [0.75]}}, "stats": {"image_pair_similarity": [0.75]}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_pair_similarity_filter`: same, to the last digits of the sums (1e-5).
    /// Images are sized as by transformers 4.57.1, whichever version computes. There damaged JPEG
    /// files are scored with a grey rest; here the row is quarantined. Code that comes with a model is
    /// not run: `trust_remote_code: true` is refused.
    image_pair_similarity_filter: Filter(Params) => build,
    Facts {
        stats: &[SIMILARITY],
        images: |_| ImageNeed::Pixels,
        decides: &["any_or_all"],
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The CLIP model: its id (`owner/name`), or its folder.
    hf_clip: String,
    /// Whether to run code that comes with the model; must be false.
    trust_remote_code: bool,
    /// Least score kept, inclusive.
    min_score: Option<f64>,
    /// Greatest score kept, inclusive.
    max_score: Option<f64>,
    /// Whether one value or every value of a row must pass.
    any_or_all: AnyOrAll,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hf_clip: "openai/clip-vit-base-patch32".into(),
            trust_remote_code: false,
            min_score: Some(0.1),
            max_score: Some(1.0),
            any_or_all: AnyOrAll::Any,
        }
    }
}

const SIMILARITY: StatDef = StatDef::new("image_pair_similarity", StatType::Numbers)
    .min("min_score")
    .max("max_score");

struct ImagePairSimilarity {
    clip: Clip,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    own_code_only(params.trust_remote_code)?;
    let bounds = Bounds::new(
        &SIMILARITY,
        params.min_score,
        params.max_score,
        &context.base,
    )?
    .mode(params.any_or_all);
    let clip = clip_model(context, "hf_clip", &params.hf_clip, true)?;
    Ok(Operator::Filter(Box::new(ImagePairSimilarity {
        clip,
        bounds,
    })))
}

impl Asks for ImagePairSimilarity {
    fn service(&self) -> &Service {
        &self.clip.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let slots = sample.images()?;
        let pair = distinct(slots);
        if slots.len() != 2 || pair.len() != 2 {
            return Err(RowError::new(
                "model_input",
                "the row has no two different images",
            ));
        }
        let pictures = self.clip.pictures.together(&pair)?;
        Ok(pictures.into_iter().map(Clip::image).collect())
    }
}

impl Filter for ImagePairSimilarity {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the model was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let [one, other] = answers else {
            return Err(RowError::new("model_failed", "an answer is missing"));
        };
        let cosine = cosine_of(one.floats()?, other.floats()?);
        Ok(smallvec![StatValue::Floats([cosine].as_slice().into())])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
