//! Rows of a Hugging Face image folder as conversations: a picture and what is said of it.

use std::borrow::Cow;

use super::turns::column;
use super::{Elsewhere, Question, Reader};
use crate::io::format::conversation::{Conversation, Role, RowId, Turn};
use crate::sample::{FieldPath, RowError, Sample};

/// Reads the rows of a `metadata.jsonl`.
pub struct CaptionsReader {
    /// What the captions answer.
    pub question: Question,
    /// Finds their images.
    pub elsewhere: Elsewhere,
}

/// The fields of one image and of several.
const ONE: &str = "file_name";
const SEVERAL: &str = "file_names";

impl Reader for CaptionsReader {
    fn read<'s>(&'s self, sample: &'s Sample) -> Result<Conversation<'s>, RowError> {
        let id = RowId::of(sample)?;
        let key = if sample.has(SEVERAL) { SEVERAL } else { ONE };
        let pictures = column(key, sample, self.elsewhere)?;
        let caption = sample.required_text(&FieldPath::new("text"))?;
        let question = match &self.question {
            Question::Same(question) => Cow::Borrowed(question.as_str()),
            Question::File(_) | Question::None => Cow::Borrowed(""),
        };
        let turn = |role, value| Turn { role, value };
        Ok(Conversation {
            id,
            system: None,
            turns: vec![turn(Role::User, question), turn(Role::Assistant, caption)],
            pictures,
            videos: Vec::new(),
        })
    }

    fn fields(&self) -> &[&'static str] {
        &["id", ONE, SEVERAL, "text"]
    }
}
