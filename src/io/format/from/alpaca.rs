//! Alpaca's records as conversations: `instruction`, `input`, `output`, and what came before.

use std::borrow::Cow;

use serde_json::Value;

use super::turns::column;
use super::{Elsewhere, Reader, SYSTEM, system_field};
use crate::io::format::conversation::{Conversation, Role, RowId, Turn, Video};
use crate::sample::{FieldPath, RowError, Sample};

/// Reads Alpaca's records.
pub struct AlpacaReader {
    /// Finds their images.
    pub elsewhere: Elsewhere,
}

const FIELDS: &[&str] = &[
    "id",
    SYSTEM,
    "instruction",
    "input",
    "output",
    "history",
    "images",
    "videos",
];

impl Reader for AlpacaReader {
    fn read<'s>(&'s self, sample: &'s Sample) -> Result<Conversation<'s>, RowError> {
        let id = RowId::of(sample)?;
        let text = |name: &str| -> Result<Option<String>, RowError> {
            let text = sample.text(&FieldPath::new(name))?;
            Ok(text.filter(|text| !text.is_empty()).map(Cow::into_owned))
        };
        let mut turns = history(sample)?;
        let question: Vec<String> = [text("instruction")?, text("input")?]
            .into_iter()
            .flatten()
            .collect();
        let answer = sample.required_text(&FieldPath::new("output"))?;
        pair(&mut turns, question.join("\n"), answer.into_owned());
        Ok(Conversation {
            id,
            system: system_field(sample)?,
            turns,
            pictures: column("images", sample, self.elsewhere)?,
            videos: Video::of(sample, &["videos"])?,
        })
    }

    fn fields(&self) -> &[&'static str] {
        FIELDS
    }
}

/// Questions and answers that came before.
fn history<'a>(sample: &Sample) -> Result<Vec<Turn<'a>>, RowError> {
    let wrong = || RowError::new("wrong_type", "field 'history' is not a list of pairs");
    let pairs = match sample.value(&FieldPath::new("history"))? {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(pairs)) => pairs,
        Some(_) => return Err(wrong()),
    };
    let mut turns = Vec::new();
    for said in pairs {
        match said.as_array().map(Vec::as_slice) {
            Some([Value::String(question), Value::String(answer)]) => {
                pair(&mut turns, question.clone(), answer.clone());
            }
            _ => return Err(wrong()),
        }
    }
    Ok(turns)
}

fn pair(turns: &mut Vec<Turn<'_>>, question: String, answer: String) {
    turns.push(Turn {
        role: Role::User,
        value: Cow::Owned(question),
    });
    turns.push(Turn {
        role: Role::Assistant,
        value: Cow::Owned(answer),
    });
}
