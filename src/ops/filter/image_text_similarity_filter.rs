//! Keeps rows whose images and text are alike to a CLIP model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Answer, AnyOrAll, Asks, Bounds, BuildContext, Facts, Field, Filter, ImageNeed, Measured,
    Operator, ParamError, Request, Service, StatDef, StatType, operator,
};
use crate::ops::model::{Chunk, Chunks, Clip, ReduceMode, all_pixels, clip_model, own_code_only};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::transformers::{Reduce, dot_of_units};

operator! {
    /// Keeps rows whose images are as like their text, to a CLIP model, as `min_score` and
    /// `max_score` say.
    ///
    /// A text is cut at end-of-chunk tokens. Each chunk with image tokens takes as many of the row's
    /// images, in order, and has one score: the model's logits of its text and its images, divided by
    /// 100 (the cosine times the model's own scale), reduced over the images by `reduce_mode`. Special
    /// tokens are no part of the text; what is longer than the model takes is cut off. With
    /// `any_or_all: any` one chunk within the range keeps the row, with `all` every chunk must be; a
    /// row without images, or without image tokens, stays. Both ends are inclusive. A chunk for which
    /// no image is left is an error of the row.
    ///
    /// ## Example
    /// ```yaml
    /// - image_text_similarity_filter: {hf_clip: fixtures/transformers/clip, min_score: 0.1}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_text_similarity": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_text_similarity_filter`: same, to the last digits of the sums (1e-5).
    /// Images and texts are made ready as by transformers 4.57.1, whichever version computes. There a
    /// row that fails takes its whole batch along (10 rows on a GPU, 1,000 on a processor); here it
    /// fails alone. There damaged JPEG files are scored with a grey rest; here the row is quarantined.
    /// Audio and video tokens are always `<__dj__audio>` and `<__dj__video>`. Code that comes with a model is
    /// not run: `trust_remote_code: true` is refused.
    image_text_similarity_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images],
        stats: &[SIMILARITY],
        images: |_| ImageNeed::Pixels,
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
    /// Mirror the images, left to right.
    horizontal_flip: bool,
    /// Turn the images upside down, as a mirror does.
    vertical_flip: bool,
    /// Whether one chunk or every chunk of a row must pass.
    any_or_all: AnyOrAll,
    /// How the scores of a chunk's images become one.
    reduce_mode: ReduceMode,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hf_clip: "openai/clip-vit-base-patch32".into(),
            trust_remote_code: false,
            min_score: Some(0.1),
            max_score: Some(1.0),
            horizontal_flip: false,
            vertical_flip: false,
            any_or_all: AnyOrAll::Any,
            reduce_mode: ReduceMode::Avg,
        }
    }
}

const SIMILARITY: StatDef = StatDef::new("image_text_similarity", StatType::Numbers)
    .min("min_score")
    .max("max_score");

struct ImageTextSimilarity {
    clip: Clip,
    chunks: Chunks,
    text_key: FieldPath,
    reduce: Reduce,
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
    let mut clip = clip_model(context, "hf_clip", &params.hf_clip, true)?;
    clip.pictures = clip
        .pictures
        .flipped(params.horizontal_flip, params.vertical_flip);
    Ok(Operator::Filter(Box::new(ImageTextSimilarity {
        clip,
        chunks: Chunks::new(context),
        text_key: context.base.text_key.clone(),
        reduce: params.reduce_mode.into(),
        bounds,
    })))
}

impl ImageTextSimilarity {
    /// The chunks of a row that has images.
    fn chunks(&self, sample: &Sample) -> Result<Vec<Chunk>, RowError> {
        let text = sample.required_text(&self.text_key)?;
        Ok(self.chunks.of(&text, sample.images()?.len()))
    }
}

impl Asks for ImageTextSimilarity {
    fn service(&self) -> &Service {
        &self.clip.service
    }

    /// For each chunk its text, then its images.
    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let slots = all_pixels(sample.images()?)?;
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let mut requests = Vec::new();
        for chunk in self.chunks(sample)? {
            let slots = slots.get(chunk.images.clone()).unwrap_or_default();
            if slots.is_empty() {
                return Err(chunk.without_image());
            }
            requests.push(self.clip.text(&chunk.text)?);
            let pictures = self.clip.pictures.together(slots)?;
            requests.extend(pictures.into_iter().map(Clip::image));
        }
        Ok(requests)
    }
}

impl Filter for ImageTextSimilarity {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("model_failed", "the model was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, sample: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let mut answers = answers.iter();
        let mut scores = Vec::new();
        let chunks = match sample.images()?.len() {
            0 => Vec::new(),
            _ => self.chunks(sample)?,
        };
        for chunk in chunks {
            let missing = || RowError::new("model_failed", "an answer is missing");
            let text = answers.next().ok_or_else(missing)?;
            let (text, scale) = Clip::features_of_text(text)?;
            let mut logits = Vec::with_capacity(chunk.images.len());
            for _ in chunk.images.clone() {
                let image = answers.next().ok_or_else(missing)?.floats()?;
                logits.push(logit(text, image, scale) / 100.0);
            }
            let score = self.reduce.of(&logits).ok_or_else(missing)?;
            scores.push(f64::from(score));
        }
        Ok(smallvec![StatValue::Floats(scores.into())])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the model's logits have 32 bits"
)]
fn logit(text: &[f32], image: &[f32], scale: f32) -> f32 {
    (dot_of_units(text, image) * f64::from(scale)) as f32
}
