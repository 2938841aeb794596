//! Keeps rows whose two texts are alike to a CLIP model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Answer, AnyOrAll, Asks, Bounds, BuildContext, Facts, Field, Filter, Measured, Operator,
    ParamError, Request, Service, StatDef, StatType, operator,
};
use crate::ops::model::{Clip, clip_model, cosine_of, own_code_only};
use crate::sample::{FieldPath, RowError, Sample, StatValue};

operator! {
    /// Keeps rows whose two texts are as like each other, to a CLIP model, as `min_score` and
    /// `max_score` say.
    ///
    /// The texts are `text_key` and `text_key_second`, special tokens included; the stat is the
    /// cosine of their features. Where one is missing or empty there is none, and the row stays. A
    /// text of more tokens than the model takes is an error of the row. Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - text_pair_similarity_filter: {hf_clip: fixtures/transformers/clip, text_key_second: answer}
    /// ```
    /// ```json
    /// {"in": {"text": "a kite", "answer": ""}, "out": {"text": "a kite", "answer": ""}, "stats": {"text_pair_similarity": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `text_pair_similarity_filter`: same, to the last digits of the sums (1e-5).
    /// Texts are made ready as by transformers 4.57.1, whichever version computes. There a recipe
    /// without `text_key_second` logs an error and keeps every row; here it is refused.
    /// Code that comes with a model is not run: `trust_remote_code: true` is refused.
    text_pair_similarity_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Param("text_key_second")],
        stats: &[SIMILARITY],
        decides: &["any_or_all"],
        ..Facts::NONE
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
    /// The field of the other text.
    text_key_second: Option<String>,
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
            text_key_second: None,
            any_or_all: AnyOrAll::Any,
        }
    }
}

const SIMILARITY: StatDef = StatDef::new("text_pair_similarity", StatType::Numbers)
    .min("min_score")
    .max("max_score");

struct TextPairSimilarity {
    clip: Clip,
    keys: [FieldPath; 2],
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
    let second = params.text_key_second.filter(|key| !key.is_empty());
    let second = second.ok_or_else(|| {
        ParamError::new("text_key_second", "text_key_second is not given")
            .hint("name the field of the text that the first one is compared with")
    })?;
    Ok(Operator::Filter(Box::new(TextPairSimilarity {
        clip: clip_model(context, "hf_clip", &params.hf_clip, false)?,
        keys: [context.base.text_key.clone(), second.as_str().into()],
        bounds,
    })))
}

impl Asks for TextPairSimilarity {
    fn service(&self) -> &Service {
        &self.clip.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let mut requests = Vec::with_capacity(2);
        for key in &self.keys {
            let text = if sample.has_at(key) {
                sample.required_text(key)?
            } else {
                return Ok(Vec::new());
            };
            if text.is_empty() {
                return Ok(Vec::new());
            }
            requests.push(self.clip.text(&text)?);
        }
        Ok(requests)
    }
}

impl Filter for TextPairSimilarity {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the model was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let cosines = match answers {
            [] => Vec::new(),
            [one, other] => {
                let (one, _) = Clip::features_of_text(one)?;
                let (other, _) = Clip::features_of_text(other)?;
                vec![cosine_of(one, other)]
            }
            _ => return Err(RowError::new("model_failed", "an answer is missing")),
        };
        Ok(smallvec![StatValue::Floats(cosines.into())])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
