//! Keeps rows whose images match their text by a BLIP model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Answer, AnyOrAll, Asks, Bounds, BuildContext, Facts, Field, Filter, ImageNeed, Measured,
    Operator, ParamError, Request, Service, StatDef, StatType, operator,
};
use crate::ops::model::{
    Chunk, Chunks, Pictures, ReduceMode, TextHeads, all_pixels, open, own_code_only, service,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::transformers::{
    Architecture, ImageProcessor, ModelConfig, ProcessorKind, Reduce, Tokenizer, softmax,
};

operator! {
    /// Keeps rows whose images match their text, by a BLIP model, as `min_score` and `max_score` say.
    ///
    /// A text is cut at end-of-chunk tokens. Each chunk with image tokens takes as many of the row's
    /// images, in order, and has one score: the probability that the model gives each image and the
    /// text to belong together, reduced over the images by `reduce_mode`. Special tokens are no part
    /// of the text; what is longer than the model takes is cut off. With `any_or_all: any` one chunk
    /// within the range keeps the row, with `all` every chunk must be; a row without images, or
    /// without image tokens, stays. Both ends are inclusive. A chunk for which no image is left has
    /// no number by `avg`, which no range keeps, and is an error of the row by `max` and `min`.
    ///
    /// ## Example
    /// ```yaml
    /// - image_text_matching_filter: {hf_blip: fixtures/transformers/blip, min_score: 0.1}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_text_matching_score": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_text_matching_filter`: same, to the last digits of the sums (1e-5).
    /// Images and texts are made ready as by transformers 4.57.1, whichever version computes. There
    /// damaged JPEG files are scored with a grey rest; here the row is quarantined. Audio and video
    /// tokens are always `<__dj__audio>` and `<__dj__video>`. Code that comes with a model is
    /// not run: `trust_remote_code: true` is refused.
    image_text_matching_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images],
        stats: &[MATCHING],
        images: |_| ImageNeed::Pixels,
        decides: &["any_or_all"],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The BLIP model: its id (`owner/name`), or its folder.
    hf_blip: String,
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
            hf_blip: "Salesforce/blip-itm-base-coco".into(),
            trust_remote_code: false,
            min_score: Some(0.003),
            max_score: Some(1.0),
            horizontal_flip: false,
            vertical_flip: false,
            any_or_all: AnyOrAll::Any,
            reduce_mode: ReduceMode::Avg,
        }
    }
}

const MATCHING: StatDef = StatDef::new("image_text_matching_score", StatType::Numbers)
    .min("min_score")
    .max("max_score");

/// The parameter that names the model.
const MODEL: &str = "hf_blip";

/// The heads, by the lengths of their texts.
const HEADS: [&str; 4] = ["match_a", "match_b", "match_c", "match_d"];

struct ImageTextMatching {
    service: Service,
    pictures: Pictures,
    tokenizer: Tokenizer,
    texts: TextHeads,
    chunks: Chunks,
    text_key: FieldPath,
    reduce: Reduce,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    own_code_only(params.trust_remote_code)?;
    let bounds = Bounds::new(&MATCHING, params.min_score, params.max_score, &context.base)?
        .mode(params.any_or_all);
    let id = params.hf_blip.as_str();
    let (dir, (model, processor, tokenizer)) = open(context, MODEL, id, |files| {
        let model: ModelConfig = Architecture::BlipItm.read(&files.required("config.json")?)?;
        let processor = files.image_processor()?;
        let processor = ImageProcessor::read(&processor, Some(ProcessorKind::Blip))?;
        let longest = model.positions.map(|positions| positions as usize);
        let tokenizer = Tokenizer::bert(files)?.truncated(longest)?;
        Ok((model, processor, tokenizer))
    })?;
    let pictures = Pictures::new(MODEL, processor, &model)?
        .flipped(params.horizontal_flip, params.vertical_flip);
    let longest = model.positions.unwrap_or_default() as usize;
    let texts = TextHeads::new(longest, tokenizer.pad());
    let (name, element, shape) = pictures.input();
    let outputs = model.outputs as usize;
    let heads = texts.heads(context, HEADS, &[(name, element, &shape)], outputs);
    let table = Some(pictures.table());
    let model = service(context, (id, dir), &model.class, heads, table);
    Ok(Operator::Filter(Box::new(ImageTextMatching {
        service: model.into(),
        pictures,
        tokenizer,
        texts,
        chunks: Chunks::new(context),
        text_key: context.base.text_key.clone(),
        reduce: params.reduce_mode.into(),
        bounds,
    })))
}

impl ImageTextMatching {
    /// The chunks of a row that has images.
    fn chunks(&self, sample: &Sample) -> Result<Vec<Chunk>, RowError> {
        let text = sample.required_text(&self.text_key)?;
        Ok(self.chunks.of(&text, sample.images()?.len()))
    }
}

impl Asks for ImageTextMatching {
    fn service(&self) -> &Service {
        &self.service
    }

    /// For each chunk its images, each with its text.
    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        let slots = all_pixels(sample.images()?)?;
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let mut requests = Vec::new();
        for chunk in self.chunks(sample)? {
            if chunk.images.is_empty() && self.reduce != Reduce::Avg {
                return Err(chunk.without_image());
            }
            let tokens = self.tokenizer.encode(&chunk.text);
            let tokens = tokens.map_err(|why| RowError::new("tokenizer_failed", why))?;
            for slot in slots.get(chunk.images).unwrap_or_default() {
                // Each image is a call of its own there.
                let picture = self.pictures.together(&[slot])?.pop();
                let mut bytes = picture.unwrap_or_default();
                let head = self.texts.put(&tokens.ids, &mut bytes)?;
                requests.push(Request { head, bytes });
            }
        }
        Ok(requests)
    }
}

impl Filter for ImageTextMatching {
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
            let mut shares = Vec::with_capacity(chunk.images.len());
            for _ in chunk.images.clone() {
                let answer = answers.next().map(Answer::floats).transpose()?;
                let share = softmax(answer.unwrap_or_default()).get(1).copied();
                shares.push(
                    share.ok_or_else(|| RowError::new("model_failed", "an answer is missing"))?,
                );
            }
            // The mean of nothing is no number.
            scores.push(f64::from(self.reduce.of(&shares).unwrap_or(f32::NAN)));
        }
        Ok(smallvec![StatValue::Floats(scores.into())])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
