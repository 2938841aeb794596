//! What a model's `config.json` says of its shape.

use serde_json::{Map, Value};

use crate::ModelError;
use crate::json::Config;

/// The models that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `CLIPModel`.
    Clip,
    /// `ViTForImageClassification`.
    Vit,
    /// `BlipForImageTextRetrieval`.
    BlipItm,
    /// `OwlViTForObjectDetection`.
    OwlVit,
    /// `Blip2ForConditionalGeneration`.
    Blip2,
    /// The vision half of a CLIP, with an aesthetics head on it.
    Aesthetics(Aesthetics),
    /// A model of texts, for embeddings.
    Text,
}

/// Heads of `simple-aesthetics-predictor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aesthetics {
    /// One linear layer.
    V1,
    /// Five linear layers.
    V2Linear,
    /// Five linear layers with rectifiers between them.
    V2Relu,
}

impl Aesthetics {
    /// The head that Data-Juicer takes for a model of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        if name.contains("v1") {
            Some(Self::V1)
        } else if name.contains("v2") && name.contains("linear") {
            Some(Self::V2Linear)
        } else if name.contains("v2") && name.contains("relu") {
            Some(Self::V2Relu)
        } else {
            None
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::V1 => "AestheticsPredictorV1",
            Self::V2Linear => "AestheticsPredictorV2Linear",
            Self::V2Relu => "AestheticsPredictorV2ReLU",
        }
    }
}

/// The shape of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// The name of the class that runs it.
    pub class: String,
    /// Height and width of its pictures; 0 if it takes none.
    pub image_size: u32,
    /// Height and width of the squares that pictures are cut into; 0 if it takes none.
    pub patch_size: u32,
    /// The most tokens that a text may have; `None` if no number of places sets a limit.
    pub positions: Option<u32>,
    /// Numbers of an embedding, or classes.
    pub outputs: u32,
}

const FILE: &str = "config.json";

/// `ACT2FN` of transformers.
const ACTIVATIONS: [&str; 20] = [
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "laplace",
    "leaky_relu",
    "linear",
    "mish",
    "prelu",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
];

impl Architecture {
    /// The name that `architectures` must have.
    fn class(self) -> Option<&'static str> {
        Some(match self {
            Self::Clip => "CLIPModel",
            Self::Vit => "ViTForImageClassification",
            Self::BlipItm => "BlipForImageTextRetrieval",
            Self::OwlVit => "OwlViTForObjectDetection",
            Self::Blip2 => "Blip2ForConditionalGeneration",
            Self::Aesthetics(head) => head.class(),
            Self::Text => return None,
        })
    }

    /// Reads the `config.json` of a model that is to be of this architecture.
    ///
    /// # Errors
    /// If it is of another one, or has a part that is not known here.
    pub fn read(self, config: &Map<String, Value>) -> Result<ModelConfig, ModelError> {
        let mut top = Config::new(FILE, config);
        // The worker has the aesthetics heads itself, whatever code comes with them.
        let own = top.get("auto_map");
        if let Some(own) = own.filter(|_| !matches!(self, Self::Aesthetics(_))) {
            return Err(top.unfit(
                "auto_map",
                own,
                "absent: code that comes with a model is not run",
            ));
        }
        let class = self.class_of(&mut top)?;
        let vision = part(config, "vision_config");
        let text = part(config, "text_config");
        let shape = |image_size, patch_size, positions, outputs| ModelConfig {
            class,
            image_size,
            patch_size,
            positions,
            outputs,
        };
        let config = match self {
            Self::Clip => {
                let eos = Config::new(FILE, &text).whole_or("eos_token_id", 49_407)?;
                if eos == 0 {
                    // Texts are padded with 0, which must not look like their end.
                    return Err(top.unfit("eos_token_id", &0.into(), "another token"));
                }
                shape(
                    Config::new(FILE, &vision).whole_or("image_size", 224)?,
                    Config::new(FILE, &vision).whole_or("patch_size", 32)?,
                    Some(Config::new(FILE, &text).whole_or("max_position_embeddings", 77)?),
                    top.whole_or("projection_dim", 512)?,
                )
            }
            Self::Vit => {
                let labels = top.object("id2label")?.map_or(2, Map::len);
                shape(
                    top.whole_or("image_size", 224)?,
                    top.whole_or("patch_size", 16)?,
                    None,
                    u32::try_from(labels).unwrap_or(0),
                )
            }
            Self::BlipItm => shape(
                Config::new(FILE, &vision).whole_or("image_size", 384)?,
                Config::new(FILE, &vision).whole_or("patch_size", 16)?,
                Some(Config::new(FILE, &text).whole_or("max_position_embeddings", 512)?),
                2,
            ),
            Self::OwlVit => shape(
                Config::new(FILE, &vision).whole_or("image_size", 768)?,
                Config::new(FILE, &vision).whole_or("patch_size", 32)?,
                Some(Config::new(FILE, &text).whole_or("max_position_embeddings", 16)?),
                0,
            ),
            Self::Blip2 => shape(
                Config::new(FILE, &vision).whole_or("image_size", 224)?,
                Config::new(FILE, &vision).whole_or("patch_size", 14)?,
                None,
                top.whole_or("num_query_tokens", 32)?,
            ),
            Self::Aesthetics(_) => shape(
                top.whole_or("image_size", 224)?,
                top.whole_or("patch_size", 32)?,
                None,
                1,
            ),
            Self::Text => text_model(&mut top, shape)?,
        };
        for part in [
            &mut top,
            &mut Config::new(FILE, &vision),
            &mut Config::new(FILE, &text),
        ] {
            known_activation(part)?;
        }
        Ok(config)
    }

    fn class_of(self, top: &mut Config<'_>) -> Result<String, ModelError> {
        let value = top.get("architectures");
        let named = value
            .and_then(Value::as_array)
            .and_then(|names| names.first());
        let named = named.and_then(Value::as_str);
        match (self.class(), named) {
            (None, named) => Ok(named.unwrap_or_default().to_owned()),
            (Some(wanted), Some(named)) if wanted == named => Ok(wanted.to_owned()),
            (Some(wanted), _) => {
                let value = value.unwrap_or(&Value::Null);
                Err(top.unfit("architectures", value, &format!("[\"{wanted}\"]")))
            }
        }
    }
}

/// A part of a configuration. In old files `text_config_dict` and `vision_config_dict` say it, and
/// win with all their defaults.
fn part(config: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let old = config.get(&format!("{name}_dict"));
    let found = old.filter(|v| v.is_object()).or_else(|| config.get(name));
    found
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn known_activation(part: &mut Config<'_>) -> Result<(), ModelError> {
    for key in ["hidden_act", "activation", "activation_function"] {
        let Some(value) = part.get(key) else {
            continue;
        };
        if !value
            .as_str()
            .is_some_and(|name| ACTIVATIONS.contains(&name))
        {
            return Err(part.unfit(key, value, "a known activation"));
        }
    }
    Ok(())
}

/// A model of texts that `AutoModel` loads.
fn text_model(
    top: &mut Config<'_>,
    shape: impl FnOnce(u32, u32, Option<u32>, u32) -> ModelConfig,
) -> Result<ModelConfig, ModelError> {
    let kind = top.text("model_type")?.unwrap_or_default();
    let positions = match kind {
        "bert" | "distilbert" | "electra" => Some(top.whole_or("max_position_embeddings", 512)?),
        // Their places begin behind the padding token.
        "roberta" | "xlm-roberta" | "mpnet" => {
            let places = top.whole_or("max_position_embeddings", 512)?;
            let pad = top.whole_or("pad_token_id", 1)?;
            Some(places.saturating_sub(pad + 1))
        }
        "llama" | "mistral" | "qwen2" | "qwen3" => None,
        other => {
            return Err(top.unfit(
                "model_type",
                &other.into(),
                "bert, distilbert, electra, llama, mistral, mpnet, qwen2, qwen3, roberta or \
                 xlm-roberta",
            ));
        }
    };
    let size = if kind == "distilbert" {
        "dim"
    } else {
        "hidden_size"
    };
    let default = 768;
    let outputs = top.whole_or(size, default)?;
    Ok(shape(0, 0, positions, outputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(architecture: Architecture, json: &str) -> Result<ModelConfig, ModelError> {
        let Value::Object(map) = serde_json::from_str(json).unwrap() else {
            panic!("an object");
        };
        architecture.read(&map)
    }

    #[test]
    fn a_model_is_known_or_refused_by_name() {
        let clip = read(
            Architecture::Clip,
            r#"{"architectures": ["CLIPModel"], "projection_dim": 768,
                "text_config": {"max_position_embeddings": 5, "hidden_act": "gelu"},
                "text_config_dict": {"eos_token_id": 2},
                "vision_config": {"image_size": 336, "patch_size": 14}}"#,
        );
        let clip = clip.unwrap();
        assert_eq!(
            (clip.image_size, clip.outputs, clip.positions),
            (336, 768, Some(77))
        );
        let text = r#"{"architectures": ["RobertaForMaskedLM"], "model_type": "roberta",
            "max_position_embeddings": 514, "hidden_size": 8}"#;
        assert_eq!(read(Architecture::Text, text).unwrap().positions, Some(512));
        for (architecture, json, named) in [
            (
                Architecture::Clip,
                r#"{"architectures": ["SiglipModel"]}"#,
                "SiglipModel",
            ),
            (Architecture::Clip, "{}", "CLIPModel"),
            (
                Architecture::Clip,
                r#"{"architectures": ["CLIPModel"], "text_config": {"hidden_act": "swoosh"}}"#,
                "swoosh",
            ),
            (
                Architecture::Clip,
                r#"{"architectures": ["CLIPModel"], "auto_map": {"AutoModel": "x.Y"}}"#,
                "auto_map",
            ),
            (Architecture::Text, r#"{"model_type": "t5"}"#, "t5"),
            (
                Architecture::Aesthetics(Aesthetics::V1),
                r#"{"architectures": ["AestheticsPredictorV2ReLU"], "auto_map": {"AutoModel": "x.Y"}}"#,
                "AestheticsPredictorV2ReLU",
            ),
            (
                Architecture::Vit,
                r#"{"architectures": ["ViTForImageClassification"], "hidden_act": 3}"#,
                "hidden_act",
            ),
        ] {
            let error = read(architecture, json).unwrap_err();
            assert!(error.message.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn the_name_of_an_aesthetics_model_says_its_head() {
        let of = Aesthetics::of_name;
        assert_eq!(
            of("shunk031/aesthetics-predictor-v1-vit-large-patch14"),
            Some(Aesthetics::V1)
        );
        assert_eq!(
            of("a-v2-sac-logos-ava1-l14-linearMSE"),
            Some(Aesthetics::V2Linear)
        );
        assert_eq!(of("a-v2-ava-logos-l14-reluMSE"), Some(Aesthetics::V2Relu));
        assert_eq!(of("another"), None);
    }
}
