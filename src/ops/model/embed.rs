//! Vectors of rows: what a model makes of their pictures, or of their text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Clip, TextHeads, clip_model, distinct, open, service};
use crate::op::{
    Answer, Asks, BuildContext, ImageNeed, ParamError, Request, Service, SpecialTokens,
};
use crate::sample::{FieldPath, RowError, Sample};
use crate::transformers::{Architecture, Tokenizer};

/// What a vector is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The pictures.
    #[default]
    Image,
    /// The text.
    Text,
}

impl By {
    /// How far images are decoded for an operator whose parameter `by` this is.
    #[must_use]
    pub fn images(params: &serde_json::Map<String, serde_json::Value>) -> ImageNeed {
        match params.get("by").and_then(serde_json::Value::as_str) {
            Some("text") => ImageNeed::None,
            _ => ImageNeed::Pixels,
        }
    }
}

/// The parameter that names the model.
const MODEL: &str = "hf_model";

/// The heads of a model of texts, by the lengths of their texts.
const HEADS: [&str; 4] = ["embed_a", "embed_b", "embed_c", "embed_d"];

/// Tokens that are left of a longer text.
const MAX_LENGTH: usize = 512;

/// Asks a model for vectors of rows. That of a row is the mean of the CLIP features of its distinct
/// images, each divided by its norm; or the mean of the hidden states of its text's tokens.
pub struct Embedder(Asked);

/// What makes vectors of rows.
enum Asked {
    Images { clip: Box<Clip>, dims: usize },
    Texts(Box<Texts>),
}

struct Texts {
    service: Service,
    tokenizer: Tokenizer,
    heads: TextHeads,
    dims: usize,
    text_key: FieldPath,
    tokens: SpecialTokens,
}

impl Embedder {
    /// The model that the parameter `hf_model` names; by default CLIP B/32, or `MiniLM`.
    ///
    /// # Errors
    /// If it is not there, or is no model that is known.
    pub fn new(by: By, id: Option<&str>, context: &BuildContext) -> Result<Self, ParamError> {
        Ok(Self(match by {
            By::Image => {
                let id = id.unwrap_or("openai/clip-vit-base-patch32");
                let clip = Box::new(clip_model(context, MODEL, id, true)?);
                let dims = clip.features;
                Asked::Images { clip, dims }
            }
            By::Text => Asked::Texts(Box::new(texts(id, context)?)),
        }))
    }

    /// Numbers in a vector.
    #[must_use]
    pub fn dims(&self) -> usize {
        match &self.0 {
            Asked::Images { dims, .. } => *dims,
            Asked::Texts(texts) => texts.dims,
        }
    }

    /// The vector of a row by what was answered, of norm 1; none if nothing was asked.
    ///
    /// # Errors
    /// If the model gave none.
    pub fn vector(&self, answers: &[Answer]) -> Result<Option<Vec<f32>>, RowError> {
        if answers.is_empty() {
            return Ok(None);
        }
        let mut sum = vec![0.0_f64; self.dims()];
        for answer in answers {
            let numbers = answer.floats()?;
            if numbers.len() != sum.len() {
                return Err(RowError::new(
                    "model_failed",
                    format!(
                        "the model gave {} numbers, not {}",
                        numbers.len(),
                        sum.len()
                    ),
                ));
            }
            let norm = norm(numbers.iter().map(|x| f64::from(*x)));
            for (sum, number) in sum.iter_mut().zip(numbers) {
                *sum += f64::from(*number) / norm;
            }
        }
        let norm = norm(sum.iter().copied());
        if !norm.is_finite() || norm <= 0.0 {
            return Err(RowError::new("model_failed", "the model gave no direction"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "rounded to 32 bits")]
        let unit = sum.iter().map(|x| (x / norm) as f32).collect();
        Ok(Some(unit))
    }
}

fn texts(id: Option<&str>, context: &BuildContext) -> Result<Texts, ParamError> {
    let id = id.unwrap_or("sentence-transformers/all-MiniLM-L6-v2");
    let (dir, (model, longest, tokenizer)) = open(context, MODEL, id, |files| {
        let model = Architecture::Text.read(&files.required("config.json")?)?;
        let places = model.positions.map_or(MAX_LENGTH, |places| places as usize);
        let longest = places.min(MAX_LENGTH);
        let tokenizer = Tokenizer::auto(files)?.truncated(Some(longest))?;
        Ok((model, longest, tokenizer))
    })?;
    let heads = TextHeads::new(longest, tokenizer.pad());
    let dims = model.outputs as usize;
    let declared = heads.heads(context, HEADS, &[], dims);
    let mut model = service(context, (id, dir), "TextEmbedding", declared, None);
    model.options.insert("pooling".to_owned(), "mean".into());
    Ok(Texts {
        service: model.into(),
        tokenizer,
        heads,
        dims,
        text_key: context.base.text_key.clone(),
        tokens: context.special_tokens.clone(),
    })
}

impl Asks for Embedder {
    fn service(&self) -> &Service {
        match &self.0 {
            Asked::Images { clip, .. } => &clip.service,
            Asked::Texts(texts) => &texts.service,
        }
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        match &self.0 {
            Asked::Images { clip, .. } => {
                let mut requests = Vec::new();
                for slot in distinct(sample.images()?) {
                    // Each by itself: what a picture is made into depends on no other.
                    let picture = clip.pictures.together(&[slot])?.pop();
                    requests.push(Clip::image(picture.unwrap_or_default()));
                }
                Ok(requests)
            }
            Asked::Texts(texts) => {
                let text = sample.required_text(&texts.text_key)?;
                let text = texts.tokens.removed_from(&text);
                if text.is_empty() {
                    return Ok(Vec::new());
                }
                let tokens = texts.tokenizer.encode(&text);
                let tokens = tokens.map_err(|why| RowError::new("tokenizer_failed", why))?;
                let mut bytes = Vec::new();
                let head = texts.heads.put(&tokens.ids, &mut bytes)?;
                Ok(vec![Request { head, bytes }])
            }
        }
    }
}

fn norm(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|x| x * x).sum::<f64>().sqrt()
}
