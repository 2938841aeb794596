//! LLaVA records as Data-Juicer rows: the way back.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::Renderer;
use super::llava::IMAGE_TOKEN;
use crate::io::paths::PathWriter;
use crate::sample::{FieldPath, RowError, Sample, python_json};

/// Writes LLaVA records (`id`, `image`, `conversations`) as rows (`id`, `text`, `images`).
pub struct DjRenderer {
    /// What stands for an image in the text, e.g. `<__dj__image>`.
    pub image_token: String,
    /// What ends a chunk in the text, e.g. `<|__dj__eoc|>`.
    pub eoc_token: String,
    /// Keep only the answers of the first turns, as captions.
    pub only_caption: bool,
    /// How image paths are written.
    pub paths: PathWriter,
}

#[derive(Deserialize)]
struct Turn {
    from: String,
    value: String,
}

impl Renderer for DjRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let id = match sample.value(&FieldPath::new("id"))? {
            None | Some(Value::Null) => {
                return Err(RowError::new(
                    "missing_field",
                    "field 'id' is missing or null",
                ));
            }
            Some(Value::String(id)) => id,
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => {
                return Err(RowError::new(
                    "wrong_type",
                    "field 'id' is neither a string nor a number",
                ));
            }
        };
        let images = sample.images()?;
        let turns = sample
            .value(&FieldPath::new("conversations"))?
            .ok_or_else(|| RowError::new("missing_field", "the record has no conversations"))?;
        let turns: Vec<Turn> = serde_json::from_value(turns)
            .map_err(|e| RowError::new("wrong_type", format!("field 'conversations': {e}")))?;
        let text = self.text(&turns, !images.is_empty())?;
        let paths: Vec<Cow<str>> = images
            .iter()
            .map(|image| self.paths.rewrite(image.written(), image.path()))
            .collect();
        let row = serde_json::json!({"id": id, "text": text, "images": paths});
        out.extend_from_slice(python_json(&row).as_bytes());
        Ok(())
    }
}

impl DjRenderer {
    fn text(&self, turns: &[Turn], has_image: bool) -> Result<String, RowError> {
        if turns.is_empty() || !turns.len().is_multiple_of(2) {
            return Err(RowError::new(
                "turns_unbalanced",
                format!(
                    "{} turns; they must come in pairs of human and gpt",
                    turns.len()
                ),
            ));
        }
        let mut parts = Vec::with_capacity(turns.len() / 2);
        for (round, pair) in turns.chunks_exact(2).enumerate() {
            let [human, robot] = pair else { continue };
            let mut question = human.value.as_str().to_owned();
            if round == 0 && has_image {
                if !question.starts_with(IMAGE_TOKEN) && !question.ends_with(IMAGE_TOKEN) {
                    return Err(RowError::new(
                        "image_token_misplaced",
                        "the first human turn neither starts nor ends with <image>",
                    ));
                }
                question = question.replace(IMAGE_TOKEN, &self.image_token);
            }
            parts.push(if self.only_caption {
                if has_image && round == 0 {
                    format!("{}\n{}", self.image_token, robot.value)
                } else {
                    robot.value.clone()
                }
            } else {
                format!(
                    "[[{}]]: {question}\n[[{}]]: {}",
                    human.from, robot.from, robot.value
                )
            });
        }
        Ok(format!("{} {}", parts.join("\n"), self.eoc_token))
    }
}
