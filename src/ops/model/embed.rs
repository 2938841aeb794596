//! Vectors of rows: what a model makes of their pictures, or of their text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
        let text = |name| params.get(name).and_then(serde_json::Value::as_str);
        match (text("by"), text(FIELD)) {
            // Vectors that rows have need no picture.
            (Some("text"), _) | (_, Some(_)) => ImageNeed::None,
            _ => ImageNeed::Pixels,
        }
    }
}

/// The parameter that names the model.
const MODEL: &str = "hf_model";

/// The parameters that name the field of vectors, and say how long they are.
const FIELD: &str = "field";
const DIMS: &str = "dims";

/// The vectors that operators compare.
pub enum Vectors {
    /// A model makes them.
    Made(Box<Embedder>),
    /// Rows have them, as `embed` has written them.
    Kept {
        /// Where they are.
        field: FieldPath,
        /// Numbers in each.
        dims: usize,
    },
}

/// What parameters say of the vectors that are compared.
pub struct VectorParams<'a> {
    /// `by`.
    pub by: By,
    /// `hf_model`.
    pub hf_model: Option<&'a str>,
    /// `field`.
    pub field: Option<&'a str>,
    /// `dims`.
    pub dims: Option<usize>,
}

impl Vectors {
    /// Those that parameters name.
    ///
    /// # Errors
    /// If they contradict each other, or the model is not there or not known.
    pub fn new(params: &VectorParams<'_>, context: &BuildContext) -> Result<Self, ParamError> {
        let field = match (params.field, params.dims) {
            (Some(field), Some(dims)) if !field.is_empty() && dims > 0 => (field, dims),
            (None, None) => {
                let made = Embedder::new(params.by, params.hf_model, context)?;
                return Ok(Self::Made(Box::new(made)));
            }
            (Some(_), _) => {
                return Err(ParamError::new(
                    DIMS,
                    "field has vectors, and dims does not say how long",
                )
                .hint("dims: 512 for CLIP B/32, 384 for all-MiniLM-L6-v2"));
            }
            (None, Some(_)) => {
                return Err(
                    ParamError::new(FIELD, "dims is given, and no field of vectors")
                        .hint("name the field that embed has written, or leave dims out"),
                );
            }
        };
        if params.hf_model.is_some() {
            return Err(
                ParamError::new(MODEL, "field has the vectors, so no model is asked")
                    .hint("leave out hf_model, or field and dims"),
            );
        }
        let (field, dims) = (FieldPath::new(field.0), field.1);
        Ok(Self::Kept { field, dims })
    }

    /// Numbers in a vector.
    #[must_use]
    pub fn dims(&self) -> usize {
        match self {
            Self::Made(embedder) => embedder.dims(),
            Self::Kept { dims, .. } => *dims,
        }
    }

    /// Who makes them.
    #[must_use]
    pub fn asks(&self) -> Option<&dyn Asks> {
        match self {
            Self::Made(embedder) => Some(embedder.as_ref()),
            Self::Kept { .. } => None,
        }
    }

    /// That of a row, of norm 1; `None` for a row that has none.
    ///
    /// # Errors
    /// If the model gave none, or the field has something else.
    pub fn of(&self, sample: &Sample, answers: &[Answer]) -> Result<Option<Vec<f32>>, RowError> {
        let (field, dims) = match self {
            Self::Made(embedder) => return embedder.vector(answers),
            Self::Kept { field, dims } => (field, *dims),
        };
        let wrong = |what: String| RowError::new("wrong_type", format!("{field} {what}"));
        let numbers = match sample.value(field)? {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(numbers)) if numbers.len() == dims => numbers,
            Some(Value::Array(numbers)) => {
                let count = numbers.len();
                return Err(wrong(format!("has {count} numbers where dims says {dims}")));
            }
            Some(_) => return Err(wrong("is no list of numbers".to_owned())),
        };
        let numbers: Option<Vec<f64>> = numbers.iter().map(Value::as_f64).collect();
        let numbers = numbers.ok_or_else(|| wrong("is no list of numbers".to_owned()))?;
        unit(&numbers)
            .map(Some)
            .ok_or_else(|| wrong("has no direction".to_owned()))
    }
}

/// The vector of norm 1 in that direction.
fn unit(numbers: &[f64]) -> Option<Vec<f32>> {
    let norm = norm(numbers.iter().copied());
    #[expect(clippy::cast_possible_truncation, reason = "rounded to 32 bits")]
    let unit = || numbers.iter().map(|x| (x / norm) as f32).collect();
    (norm.is_finite() && norm > 0.0).then(unit)
}

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
        let unit = unit(&sum);
        unit.map(Some)
            .ok_or_else(|| RowError::new("model_failed", "the model gave no direction"))
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
