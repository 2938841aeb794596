//! Captions of pictures by a BLIP-2.

use serde_json::Value;

use crate::op::{Answer, BuildContext, Element, ParamError, Request, Service};
use crate::sample::{ImageSlot, RowError};
use crate::transformers::{Captioner, ImageProcessor, ProcessorKind, Tokenizer};

use super::open::{head, open, service};
use super::pictures::Pictures;

/// The heads, by the lengths of what stands beside a picture.
const HEADS: [&str; 4] = ["caption_a", "caption_b", "caption_c", "caption_d"];

/// The tokens of the longest prompt of each head.
const PROMPTS: [usize; 4] = [1, 16, 64, 512];

/// The most tokens of a caption, as Data-Juicer has it.
const NEW_TOKENS: usize = 128;

/// A model that captions pictures, and what is needed to ask it.
pub struct Captions {
    /// Whom to ask.
    pub service: Service,
    pictures: Pictures,
    tokenizer: Tokenizer,
    captioner: Captioner,
    /// The length of what stands beside a picture, of each head.
    lengths: Vec<usize>,
}

/// The model `id` that `param` names.
///
/// # Errors
/// If it is not there, or is no BLIP-2 that is known.
pub fn captions_model(
    context: &BuildContext,
    param: &str,
    id: &str,
) -> Result<Captions, ParamError> {
    let (dir, (captioner, processor, tokenizer)) = open(context, param, id, |files| {
        let captioner = Captioner::read(&files.required("config.json")?)?;
        let processor = files.image_processor()?;
        let processor = ImageProcessor::read(&processor, Some(ProcessorKind::Blip))?;
        Ok((captioner, processor, Tokenizer::auto(files)?))
    })?;
    let pictures = Pictures::new(param, processor, &captioner.model)?;
    let (name, element, shape) = pictures.input();
    let fits = |length: &usize| {
        let whole = length + NEW_TOKENS;
        captioner.places.is_none_or(|places| whole <= places)
    };
    let lengths: Vec<usize> = PROMPTS
        .iter()
        .map(|prompt| captioner.queries + prompt)
        .filter(fits)
        .collect();
    if lengths.is_empty() {
        let message = format!("'{id}' has no room for a caption of {NEW_TOKENS} tokens");
        return Err(ParamError::new(param, message).hint("name a model of longer texts"));
    }
    let heads = lengths.iter().zip(HEADS).map(|(length, kind)| {
        let length = [*length];
        let inputs: [(&'static str, Element, &[usize]); 4] = [
            (name, element, &shape),
            ("ids", Element::I32, &length),
            ("mask", Element::I32, &length),
            ("seed", Element::I64, &[1]),
        ];
        head(context, kind, &inputs, None)
    });
    let heads = heads.collect();
    let class = &captioner.model.class;
    let mut model = service(context, (id, dir), class, heads, Some(pictures.table()));
    let options = [
        ("image_token", Value::from(captioner.image_token)),
        ("max_new_tokens", NEW_TOKENS.into()),
        ("repeats_prompt", captioner.repeats_prompt.into()),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value));
    model.options.extend(options);
    Ok(Captions {
        service: model.into(),
        pictures,
        tokenizer,
        captioner,
        lengths,
    })
}

impl Captions {
    /// Asks for captions of a picture, one for each of `seeds`, by which its words are drawn.
    ///
    /// # Errors
    /// If the picture cannot be decoded, or the prompt is too long.
    pub fn ask(
        &self,
        slot: &ImageSlot,
        prompt: Option<&str>,
        seeds: &[u64],
    ) -> Result<Vec<Request>, RowError> {
        let tokens = prompt.map(|prompt| self.tokenizer.encode(prompt));
        let tokens = tokens
            .transpose()
            .map_err(|why| RowError::new("tokenizer_failed", why))?;
        let ids = tokens.map(|tokens| tokens.ids);
        let tokens = self.captioner.tokens(ids.as_deref());
        let fits = self
            .lengths
            .iter()
            .position(|length| tokens.len() <= *length);
        let (head, length) = fits
            .and_then(|head| Some((head, *self.lengths.get(head)?)))
            .ok_or_else(|| {
                let message = format!(
                    "the prompt has {} tokens, more than the model takes",
                    tokens.len().saturating_sub(self.captioner.queries)
                );
                RowError::new("model_input", message)
            })?;
        // Each picture by itself: what it is made into depends on no other.
        let mut bytes = self.pictures.together(&[slot])?.pop().unwrap_or_default();
        let none = length - tokens.len();
        let pad = self.tokenizer.pad();
        let ids = std::iter::repeat_n(&pad, none).chain(&tokens);
        bytes.extend(ids.flat_map(|id| id.to_le_bytes()));
        let mask = (0..length).map(|place| u32::from(place >= none));
        bytes.extend(mask.flat_map(u32::to_le_bytes));
        let each = seeds.iter().map(|seed| {
            let mut bytes = bytes.clone();
            bytes.extend(seed.to_le_bytes());
            Request { head, bytes }
        });
        Ok(each.collect())
    }

    /// The caption that was answered.
    ///
    /// # Errors
    /// If the answer is none.
    pub fn caption(&self, answer: &Answer) -> Result<String, RowError> {
        let said = answer.text()?;
        let ids: Result<Vec<u32>, _> = said.split_ascii_whitespace().map(str::parse).collect();
        let ids = ids.map_err(|_| RowError::new("model_failed", "the answer is no caption"))?;
        let words = ids
            .into_iter()
            .filter(|id| *id != self.captioner.image_token);
        let words: Vec<u32> = words.collect();
        let text = self.tokenizer.decode(&words);
        text.map_err(|why| RowError::new("tokenizer_failed", why))
    }
}
