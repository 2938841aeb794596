//! CLIP: features of pictures and of texts.

use crate::op::{Answer, BuildContext, ParamError, Request, Service};
use crate::sample::RowError;
use crate::transformers::{Architecture, ImageProcessor, ModelConfig, ProcessorKind, Tokenizer};

use super::open::{head, open, service};
use super::pictures::Pictures;
use super::texts::TextHeads;

/// The head of pictures.
const IMAGE: usize = 0;
/// The heads of texts, by their lengths, which are declared behind it. Attention is causal, so that
/// what a text is filled up with changes nothing of its features: short ones are filled up to less.
const TEXTS: [&str; 4] = ["text_a", "text_b", "text_c", "text_d"];

/// A CLIP model, and what is needed to ask it.
pub struct Clip {
    /// Whom to ask.
    pub service: Service,
    /// Pictures for it.
    pub pictures: Pictures,
    /// Numbers in the features of a picture.
    pub features: usize,
    tokenizer: Tokenizer,
    texts: TextHeads,
}

/// The model `id` that `param` names. Texts are cut where they are too long if `truncates`.
///
/// # Errors
/// If it is not there, or is no CLIP that is known.
pub fn clip_model(
    context: &BuildContext,
    param: &str,
    id: &str,
    truncates: bool,
) -> Result<Clip, ParamError> {
    let (dir, (model, processor, tokenizer)) = open(context, param, id, |files| {
        let model: ModelConfig = Architecture::Clip.read(&files.required("config.json")?)?;
        let processor = files.image_processor()?;
        let processor = ImageProcessor::read(&processor, Some(ProcessorKind::Clip))?;
        let longest = model.positions.map(|positions| positions as usize);
        let tokenizer = Tokenizer::clip(files)?.truncated(longest.filter(|_| truncates))?;
        Ok((model, processor, tokenizer))
    })?;
    let pictures = Pictures::new(param, processor, &model)?;
    let positions = model.positions.unwrap_or_default() as usize;
    let features = model.outputs as usize;
    let (name, element, shape) = pictures.input();
    let mut heads = vec![head(
        context,
        "image",
        &[(name, element, &shape)],
        Some(vec![features]),
    )];
    // Behind the end of a text 0 stands, which is no end in any model that is taken; behind the
    // features of a text what scores are multiplied by.
    let texts = TextHeads::new(positions, 0).without_mask();
    heads.extend(texts.heads(context, TEXTS, &[], features + 1));
    let model = service(
        context,
        (id, dir),
        &model.class,
        heads,
        Some(pictures.table()),
    );
    Ok(Clip {
        service: model.into(),
        pictures,
        features,
        tokenizer,
        texts,
    })
}

impl Clip {
    /// Asks for the features of a text.
    ///
    /// # Errors
    /// If it is too long.
    pub fn text(&self, text: &str) -> Result<Request, RowError> {
        let tokens = self.tokenizer.encode(text);
        let tokens = tokens.map_err(|why| RowError::new("tokenizer_failed", why))?;
        let mut bytes = Vec::new();
        let head = IMAGE + 1 + self.texts.put(&tokens.ids, &mut bytes)?;
        Ok(Request { head, bytes })
    }

    /// Asks for the features of a picture.
    #[must_use]
    pub fn image(bytes: Vec<u8>) -> Request {
        Request { head: IMAGE, bytes }
    }

    /// The features of a text, and what scores are multiplied by.
    ///
    /// # Errors
    /// If the answer has none.
    pub fn features_of_text(answer: &Answer) -> Result<(&[f32], f32), RowError> {
        let (scale, features) = answer
            .floats()?
            .split_last()
            .ok_or_else(|| RowError::new("model_failed", "the answer is empty"))?;
        Ok((features, *scale))
    }
}
