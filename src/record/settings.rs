//! What readers of a run ask of the recipe that it ran, in types.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::sample::ImageCheck;

/// The settings of a resolved recipe that matter to who looks at a run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// A label.
    pub project_name: String,
    /// Fields of the text, the main one first.
    pub text_keys: Vec<String>,
    /// The field of image paths.
    pub image_key: Option<String>,
    /// Where relative image paths start, if not at the input.
    pub image_root: Option<PathBuf>,
    /// Whether images outside of the root are refused.
    pub confine: bool,
    /// Stands for an image in the text.
    pub image_special_token: String,
    /// Ends a chunk in the text.
    pub eoc_special_token: String,
    /// The seed of what is drawn.
    pub seed: u64,
    /// What becomes of rows that cannot be processed.
    pub on_error: String,
    /// The operators, in order.
    pub process: Vec<StepSettings>,
    /// The outputs, in order.
    pub outputs: Vec<OutputSettings>,
}

/// One operator with its parameters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct StepSettings {
    /// Its name.
    pub op: String,
    /// Its parameters, defaults filled in.
    pub params: Map<String, Value>,
}

/// One output.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct OutputSettings {
    /// Its format.
    pub format: String,
    /// How image paths are written.
    pub paths: Option<String>,
    /// How far images were checked.
    pub validate: ImageCheck,
    /// How many rows were to be drawn, if it is a sample.
    pub sample: Option<u64>,
    /// Which rows it has, if not those that were kept.
    pub of: Option<String>,
    /// What they had to meet.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// The field that it is split by.
    pub split_by: Option<String>,
    /// Whether it is split by inputs.
    pub per_input: bool,
}

impl OutputSettings {
    /// Whether it has every row that was kept, in their order, but for those that it refused.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let split = self.split_by.is_some() || self.per_input;
        self.sample.is_none() && self.of.is_none() && self.condition.is_none() && !split
    }
}

impl Settings {
    /// Reads the settings of a resolved recipe.
    ///
    /// # Errors
    /// If it is none.
    pub fn of(recipe: &Value) -> serde_json::Result<Self> {
        Self::deserialize(recipe)
    }

    /// The main field of the text.
    #[must_use]
    pub fn text_key(&self) -> &str {
        self.text_keys.first().map_or("text", String::as_str)
    }

    /// The field of image paths.
    #[must_use]
    pub fn image_key(&self) -> &str {
        self.image_key.as_deref().unwrap_or("images")
    }

    /// Whether rows that cannot be processed count as dropped.
    #[must_use]
    pub fn drops_failed(&self) -> bool {
        self.on_error == "drop"
    }
}

impl StepSettings {
    /// Whether a switch of the operator is on.
    #[must_use]
    pub fn is_set(&self, param: &str) -> bool {
        self.params.get(param) == Some(&Value::Bool(true))
    }
}

impl TryFrom<Map<String, Value>> for StepSettings {
    type Error = String;

    fn try_from(step: Map<String, Value>) -> Result<Self, String> {
        let mut entries = step.into_iter();
        match (entries.next(), entries.next()) {
            (Some((op, Value::Object(params))), None) => Ok(Self { op, params }),
            (Some((op, Value::Null)), None) => Ok(Self {
                op,
                params: Map::new(),
            }),
            _ => Err("a step is one operator with its parameters".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_read_from_a_resolved_recipe() {
        let recipe = json!({
            "text_keys": ["caption"], "image_root": "/data", "on_error": "drop", "seed": 3,
            "process": [{"words_num_filter": {"min_num": 2, "reversed_range": true}}],
            "outputs": [{"format": "llava", "validate": "decode", "sample": 4, "path": "x"}],
        });
        let settings = Settings::of(&recipe).unwrap();
        assert_eq!(settings.text_key(), "caption");
        assert_eq!(settings.image_key(), "images");
        assert!(settings.drops_failed());
        assert_eq!(settings.process[0].op, "words_num_filter");
        assert!(settings.process[0].is_set("reversed_range"));
        assert_eq!(settings.outputs[0].validate, ImageCheck::Decode);
        assert!(Settings::of(&json!({"process": [{}]})).is_err());
    }
}
