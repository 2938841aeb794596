//! Data-Juicer rows as LLaVA records, equal to Data-Juicer's own conversion on sound rows.
//!
//! Where Data-Juicer stops at the first bad row, or writes a record that breaks training hours
//! later, a row is refused by name instead.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::questions::Questions;
use super::{Renderer, push_ascii_json, strip};
use crate::io::paths::PathWriter;
use crate::sample::{FieldPath, RowError, Sample};

/// The image token of LLaVA records.
pub const IMAGE_TOKEN: &str = "<image>";

/// Markers that chat templates add themselves; inside a caption they would end or forge a turn.
const CHAT_MARKERS: &[&str] = &[
    "<start_of_turn>",
    "<end_of_turn>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "<s>",
    "</s>",
    "<unk>",
];

/// Writes rows as LLaVA records.
pub struct LlavaRenderer {
    /// The field of the caption or conversation.
    pub text_key: FieldPath,
    /// What stands for an image in the text, e.g. `<__dj__image>`.
    pub image_token: String,
    /// What ends a chunk in the text, e.g. `<|__dj__eoc|>`.
    pub eoc_token: String,
    /// Where captions get their questions back from.
    pub questions: Option<Arc<Questions>>,
    /// How image paths are written.
    pub paths: PathWriter,
}

struct Turn<'a> {
    from: &'static str,
    value: Cow<'a, str>,
}

impl Renderer for LlavaRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let (id, id_json) = row_id(sample)?;
        let image = self.image(sample)?;
        let text = sample.required_text(&self.text_key)?;
        let (mut turns, id_json) = match &self.questions {
            Some(questions) => self.restore(questions, &id, &text)?,
            None => (self.split_turns(&text)?, id_json),
        };
        self.place_image_token(&mut turns, image.is_some())?;
        turns.iter().try_for_each(|turn| self.check(turn))?;

        out.extend_from_slice(b"{\"id\": ");
        out.extend_from_slice(id_json.as_bytes());
        out.extend_from_slice(b", \"conversations\": [");
        for (index, turn) in turns.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(b"{\"from\": ");
            push_ascii_json(turn.from, out);
            out.extend_from_slice(b", \"value\": ");
            push_ascii_json(&turn.value, out);
            out.push(b'}');
        }
        out.push(b']');
        if let Some(path) = image {
            out.extend_from_slice(b", \"image\": ");
            push_ascii_json(&path, out);
        }
        out.push(b'}');
        Ok(())
    }
}

impl LlavaRenderer {
    /// The row's one image; several mentions of the same path count once.
    fn image<'a>(&self, sample: &'a Sample) -> Result<Option<Cow<'a, str>>, RowError> {
        let images = sample.images()?;
        let Some(first) = images.first() else {
            return Ok(None);
        };
        if let Some(other) = images
            .iter()
            .find(|image| image.written() != first.written())
        {
            return Err(RowError::new(
                "images_differ",
                format!(
                    "two different images: {} and {}",
                    first.written(),
                    other.written()
                ),
            ));
        }
        Ok(Some(self.paths.rewrite(first.written(), first.path())))
    }

    fn restore<'a>(
        &self,
        questions: &'a Questions,
        id: &str,
        text: &'a str,
    ) -> Result<(Vec<Turn<'a>>, String), RowError> {
        let question = questions.get(id).ok_or_else(|| {
            RowError::new(
                "id_unknown",
                format!("id {id} is not in the questions file"),
            )
        })?;
        let id_json = if question.id_is_number {
            id.to_owned()
        } else {
            ascii(id)
        };
        let turns = vec![
            Turn {
                from: "human",
                value: Cow::Borrowed(question.text),
            },
            Turn {
                from: "gpt",
                value: self.clean(text, false),
            },
        ];
        Ok((turns, id_json))
    }

    /// Splits `[[human]]: …[[gpt]]: …` into turns.
    fn split_turns<'a>(&self, text: &'a str) -> Result<Vec<Turn<'a>>, RowError> {
        let unbalanced = |what: String| RowError::new("turns_unbalanced", what);
        let marks = role_marks(text);
        let Some((first, _, _)) = marks.first() else {
            return Err(unbalanced(
                "the text has no [[human]]: and [[gpt]]: turns; give --questions to restore questions of captions".into(),
            ));
        };
        if *first != 0 {
            return Err(unbalanced(
                "the text begins before its first [[human]]: turn".into(),
            ));
        }
        if !marks.len().is_multiple_of(2) {
            return Err(unbalanced(format!(
                "{} turns; they must come in pairs of human and gpt",
                marks.len()
            )));
        }
        let mut turns = Vec::with_capacity(marks.len());
        for (index, (_, role, start)) in marks.iter().enumerate() {
            let end = marks.get(index + 1).map_or(text.len(), |next| next.0);
            let expected = if index % 2 == 0 { "human" } else { "gpt" };
            if *role != expected {
                return Err(unbalanced(format!(
                    "turn {} is of '{role}', expected {expected}",
                    index + 1
                )));
            }
            let sentence = text.get(*start..end).unwrap_or_default();
            turns.push(Turn {
                from: expected,
                value: self.clean(sentence, index == 0),
            });
        }
        Ok(turns)
    }

    /// Strips a sentence, its end-of-chunk token and (but for the first human turn, which has its
    /// own rule) image tokens at its ends: one of each, as Data-Juicer does.
    fn clean<'a>(&self, sentence: &'a str, first: bool) -> Cow<'a, str> {
        let mut text = strip(sentence);
        if let Some(rest) = self.strip_eoc(text) {
            text = strip(rest);
        }
        if !first {
            for token in [self.image_token.as_str(), IMAGE_TOKEN] {
                if let Some(rest) = text.strip_prefix(token) {
                    text = strip(rest);
                }
                if let Some(rest) = text.strip_suffix(token) {
                    text = strip(rest);
                }
            }
        }
        Cow::Borrowed(text)
    }

    fn strip_eoc<'a>(&self, text: &'a str) -> Option<&'a str> {
        (!self.eoc_token.is_empty())
            .then(|| text.strip_suffix(self.eoc_token.as_str()))
            .flatten()
    }

    /// Puts exactly one `<image>` at the start of the first human turn of a row with an image, and
    /// sees that a row without one has none.
    fn place_image_token(&self, turns: &mut [Turn<'_>], has_image: bool) -> Result<(), RowError> {
        let Some(first) = turns.first_mut() else {
            return Ok(());
        };
        let normal = first.value.replace(&self.image_token, IMAGE_TOKEN);
        let mut words = strip(&normal);
        let mut found = false;
        loop {
            if let Some(rest) = words.strip_prefix(IMAGE_TOKEN) {
                words = strip(rest);
            } else if let Some(rest) = words.strip_suffix(IMAGE_TOKEN) {
                words = strip(rest);
            } else {
                break;
            }
            found = true;
        }
        if found && !has_image {
            return Err(RowError::new(
                "image_token_without_image",
                "the text speaks of an image, but the row has none",
            ));
        }
        if words.contains(IMAGE_TOKEN) {
            return Err(RowError::new(
                "image_token_left",
                "<image> stands in the middle of the first human turn",
            ));
        }
        let value = if has_image {
            format!("{IMAGE_TOKEN}\n{words}")
        } else {
            words.to_owned()
        };
        if value != first.value {
            first.value = Cow::Owned(value);
        }
        if has_image && words.is_empty() {
            return Err(RowError::new(
                "question_empty",
                "the first human turn has no words",
            ));
        }
        if let Some(turn) = turns.iter().skip(1).find(|t| t.value.contains(IMAGE_TOKEN)) {
            return Err(RowError::new(
                "image_token_left",
                format!("<image> stands inside a {} turn", turn.from),
            ));
        }
        Ok(())
    }

    fn check(&self, turn: &Turn<'_>) -> Result<(), RowError> {
        if turn.value.is_empty() {
            return Err(match turn.from {
                "gpt" => RowError::new("caption_empty", "the caption is empty"),
                _ => RowError::new("question_empty", "a human turn is empty"),
            });
        }
        if !turn.value.contains(['<', '[']) {
            return Ok(());
        }
        for token in [
            self.image_token.as_str(),
            self.eoc_token.as_str(),
            "<__dj__",
            "<|__dj__",
        ] {
            if !token.is_empty() && token != IMAGE_TOKEN && turn.value.contains(token) {
                return Err(RowError::new(
                    "special_token_left",
                    format!("{token} stands inside a {} turn", turn.from),
                ));
            }
        }
        match CHAT_MARKERS
            .iter()
            .find(|marker| turn.value.contains(**marker))
        {
            Some(marker) => Err(RowError::new(
                "chat_marker",
                format!(
                    "the chat-template marker {marker} stands inside a {} turn",
                    turn.from
                ),
            )),
            None => Ok(()),
        }
    }
}

/// The row's id as text and as ASCII JSON.
fn row_id(sample: &Sample) -> Result<(String, String), RowError> {
    match sample.value(&FieldPath::new("id"))? {
        None | Some(Value::Null) => Err(RowError::new(
            "missing_field",
            "field 'id' is missing or null",
        )),
        Some(Value::String(id)) => {
            let json = ascii(&id);
            Ok((id, json))
        }
        Some(Value::Number(number)) => Ok((number.to_string(), number.to_string())),
        Some(_) => Err(RowError::new(
            "wrong_type",
            "field 'id' is neither a string nor a number",
        )),
    }
}

fn ascii(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_ascii_json(text, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Every `[[role]]: ` of the text: where it starts, the role, where its sentence starts.
fn role_marks(text: &str) -> Vec<(usize, &str, usize)> {
    let mut marks = Vec::new();
    let mut from = 0;
    while let Some(open) = text
        .get(from..)
        .and_then(|t| t.find("[["))
        .map(|i| from + i)
    {
        let rest = text.get(open + 2..).unwrap_or_default();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        if rest.get(letters..).is_some_and(|r| r.starts_with("]]: ")) {
            let start = open + 2 + letters + 4;
            marks.push((open, rest.get(..letters).unwrap_or_default(), start));
            from = start;
        } else {
            from = open + 1;
        }
    }
    marks
}
