//! What a BLIP-2 is given before it captions a picture, beside the picture: placeholders that its
//! features take the place of, then a prompt.

use serde_json::{Map, Value};

use crate::json::Config;
use crate::{Architecture, ModelConfig, ModelError};

/// A BLIP-2, as its `config.json` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captioner {
    /// Its shape.
    pub model: ModelConfig,
    /// The token that features of a picture take the place of.
    pub image_token: u32,
    /// How many of them there are.
    pub queries: usize,
    /// What stands behind them where there is no prompt.
    pub start: u32,
    /// The most tokens that its language model can look at; `None` if none is said.
    pub places: Option<usize>,
    /// Whether its answers begin with what it was given: those of models that only decode do.
    pub repeats_prompt: bool,
}

const FILE: &str = "config.json";

/// The token that Data-Juicer has every BLIP-2 take, where the configuration says none.
const IMAGE_TOKEN: u32 = 50_265;

impl Captioner {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// If it is of another architecture, has a part that is not known here, or a language model that
    /// is neither OPT nor T5.
    pub fn read(config: &Map<String, Value>) -> Result<Self, ModelError> {
        let model = Architecture::Blip2.read(config)?;
        let none = Map::new();
        let mut top = Config::new(FILE, config);
        let mut text = Config::new(FILE, top.object("text_config")?.unwrap_or(&none));
        let kind = text.text("model_type")?.unwrap_or("opt");
        let (repeats_prompt, start, places) = match kind {
            "opt" => (
                true,
                2,
                Some(text.whole_or("max_position_embeddings", 2048)?),
            ),
            "t5" => (false, 0, None),
            other => {
                let other = Value::from(other);
                return Err(text.unfit("model_type", &other, "opt or t5"));
            }
        };
        Ok(Self {
            queries: model.outputs as usize,
            image_token: top.whole_or("image_token_index", IMAGE_TOKEN)?,
            start: text.whole_or("bos_token_id", start)?,
            places: places.map(|places| places as usize),
            repeats_prompt,
            model,
        })
    }

    /// The tokens that stand beside a picture: placeholders, then those of the prompt, or the start.
    #[must_use]
    pub fn tokens(&self, prompt: Option<&[u32]>) -> Vec<u32> {
        let start = [self.start];
        let behind = prompt.unwrap_or(&start);
        let mut tokens = vec![self.image_token; self.queries];
        tokens.extend_from_slice(behind);
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Captioner, ModelError> {
        let config = format!(
            r#"{{"architectures": ["Blip2ForConditionalGeneration"], "num_query_tokens": 3,
                "image_token_index": 9, "text_config": {text}, "vision_config": {{}}}}"#
        );
        Captioner::read(
            serde_json::from_str::<Value>(&config)
                .unwrap()
                .as_object()
                .unwrap(),
        )
    }

    #[test]
    fn placeholders_stand_before_the_prompt() {
        let opt = read(r#"{"model_type": "opt"}"#).unwrap();
        assert_eq!(opt.tokens(None), [9, 9, 9, 2]);
        assert_eq!(opt.tokens(Some(&[2, 7])), [9, 9, 9, 2, 7]);
        assert!(opt.repeats_prompt && opt.places == Some(2048));
        let t5 = read(r#"{"model_type": "t5", "bos_token_id": 4}"#).unwrap();
        assert_eq!((t5.start, t5.places, t5.repeats_prompt), (4, None, false));
        assert!(
            read(r#"{"model_type": "llama"}"#)
                .unwrap_err()
                .message
                .contains("llama")
        );
    }
}
