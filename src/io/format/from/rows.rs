//! Data-Juicer rows as conversations: `[[human]]: … [[gpt]]: …` texts, or captions whose questions
//! come from elsewhere. On sound rows what Data-Juicer's own converter makes of them.

use std::borrow::Cow;

use super::{Question, Reader, SYSTEM, system_field};
use crate::io::format::conversation::{
    Conversation, IMAGE_TOKEN, Pictures, ROW_VIDEO_TOKEN, Role, RowId, RowTokens, TokenPlace, Turn,
    Video,
};
use crate::io::format::questions::{Found, Questions};
use crate::io::format::strip;
use crate::sample::{FieldPath, ImageSlot, RowError, Sample};

/// What becomes of the images of a row that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Images {
    /// A record has one image, as LLaVA's loader reads it; two different ones are refused.
    #[default]
    One,
    /// A record may have several, one token an image.
    List,
}

/// Reads Data-Juicer rows.
pub struct RowsReader {
    /// The field of the caption or conversation.
    pub text_key: FieldPath,
    /// The rows' tokens.
    pub tokens: RowTokens,
    /// Where captions get their questions from.
    pub question: Question,
    /// What becomes of several images.
    pub images: Images,
    /// Where image tokens will stand.
    pub place: TokenPlace,
}

impl Reader for RowsReader {
    fn read<'s>(&'s self, sample: &'s Sample) -> Result<Conversation<'s>, RowError> {
        let mut id = RowId::of(sample)?;
        let images = self.images(sample)?;
        let text = sample.required_text(&self.text_key)?;
        let turns = match &self.question {
            Question::File(questions) => {
                let (turns, restored) = self.restore(questions, id, sample, text)?;
                id = Some(restored);
                turns
            }
            Question::Same(question) if role_marks(&text).is_empty() => {
                vec![
                    turn(Role::User, Cow::Borrowed(question.as_str())),
                    turn(Role::Assistant, self.clean(text, false)),
                ]
            }
            _ => {
                let keeps_all = images.len() > 1 || self.place != TokenPlace::Ends;
                match text {
                    Cow::Borrowed(text) => self
                        .split_turns(text, keeps_all)?
                        .into_iter()
                        .map(|(role, value)| turn(role, Cow::Borrowed(value)))
                        .collect(),
                    Cow::Owned(text) => self
                        .split_turns(&text, keeps_all)?
                        .into_iter()
                        .map(|(role, value)| turn(role, Cow::Owned(value.to_owned())))
                        .collect(),
                }
            }
        };
        Ok(Conversation {
            id,
            system: system_field(sample)?,
            turns,
            pictures: Pictures::OfRow(images),
            videos: videos(sample)?,
        })
    }

    fn fields(&self) -> &[&'static str] {
        &["id", SYSTEM, "text", "images", "videos"]
    }
}

/// The videos of a row: the first of its fields of other media.
fn videos(sample: &Sample) -> Result<Vec<Video>, RowError> {
    let key = sample.image_context().media_keys.first();
    Video::of(sample, key.map(String::as_str).as_slice())
}

fn turn(role: Role, value: Cow<'_, str>) -> Turn<'_> {
    Turn { role, value }
}

impl RowsReader {
    /// The images that the record names. Where a record has one, several mentions of one and the
    /// same path count once.
    fn images<'a>(&self, sample: &'a Sample) -> Result<&'a [ImageSlot], RowError> {
        let images = sample.images()?;
        let Some(first) = images.first() else {
            return Ok(images);
        };
        let other = images
            .iter()
            .find(|image| image.written() != first.written());
        match (other, self.images) {
            (None, _) if self.place == TokenPlace::Ends => Ok(std::slice::from_ref(first)),
            (None, _) | (Some(_), Images::List) => Ok(images),
            (Some(other), Images::One) => Err(RowError::new(
                "images_differ",
                format!(
                    "two different images: {} and {}",
                    first.written(),
                    other.written()
                ),
            )),
        }
    }

    fn restore<'a>(
        &self,
        questions: &'a Questions,
        id: Option<RowId>,
        sample: &Sample,
        text: Cow<'a, str>,
    ) -> Result<(Vec<Turn<'a>>, RowId), RowError> {
        let Some(RowId { text: id, .. }) = id else {
            return Err(RowError::new(
                "missing_field",
                "field 'id' is missing or null; the question is looked up by it",
            ));
        };
        let image = sample.images()?.first().map(ImageSlot::written);
        let question = match questions.get(&id, image) {
            Found::One(question) => question,
            Found::None => {
                let unusable = match questions.unusable() {
                    0 => String::new(),
                    n => format!(
                        " (of its records, {n} have no id, no question, or no answer behind it)"
                    ),
                };
                return Err(RowError::new(
                    "id_unknown",
                    format!("id {id} is not in the questions file{unusable}"),
                ));
            }
            Found::Several => {
                return Err(RowError::new(
                    "id_ambiguous",
                    format!(
                        "the questions file has several records with id {id}, whose questions differ, and the image does not tell them apart"
                    ),
                ));
            }
        };
        let turns = vec![
            turn(Role::User, Cow::Borrowed(question.text)),
            turn(Role::Assistant, self.clean(text, false)),
        ];
        let mut restored = RowId::text(id);
        if question.id_is_number {
            restored.json.clone_from(&restored.text);
        }
        Ok((turns, restored))
    }

    /// Splits `[[human]]: …[[gpt]]: …` into turns. Tokens stay in every human turn where
    /// `keeps_all`; else in the first one.
    fn split_turns<'a>(
        &self,
        text: &'a str,
        keeps_all: bool,
    ) -> Result<Vec<(Role, &'a str)>, RowError> {
        let unbalanced = |what: String| RowError::new("turns_unbalanced", what);
        let marks = role_marks(text);
        let Some((first, _, _)) = marks.first() else {
            return Err(unbalanced(
                "the text has no [[human]]: and [[gpt]]: turns; give --questions to restore questions of captions, or one --question for all".into(),
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
        for (index, (_, word, start)) in marks.iter().enumerate() {
            let end = marks.get(index + 1).map_or(text.len(), |next| next.0);
            let role = if index % 2 == 0 {
                Role::User
            } else {
                Role::Assistant
            };
            if *word != role.name() {
                return Err(unbalanced(format!(
                    "turn {} is of '{word}', expected {}",
                    index + 1,
                    role.name()
                )));
            }
            let sentence = text.get(*start..end).unwrap_or_default();
            let keeps_tokens = index == 0 || keeps_all && role == Role::User;
            turns.push((role, self.cleaned(sentence, keeps_tokens)));
        }
        Ok(turns)
    }

    /// Strips a sentence, its end-of-chunk token and (but for human turns that keep theirs, which
    /// have their own rule) image tokens at its ends: one of each, as Data-Juicer does.
    fn clean<'a>(&self, sentence: Cow<'a, str>, keeps_tokens: bool) -> Cow<'a, str> {
        match sentence {
            Cow::Borrowed(sentence) => Cow::Borrowed(self.cleaned(sentence, keeps_tokens)),
            Cow::Owned(sentence) => Cow::Owned(self.cleaned(&sentence, keeps_tokens).to_owned()),
        }
    }

    fn cleaned<'a>(&self, sentence: &'a str, keeps_tokens: bool) -> &'a str {
        let mut text = strip(sentence);
        if let Some(rest) = self.strip_eoc(text) {
            text = strip(rest);
        }
        if !keeps_tokens {
            for token in [self.tokens.image.as_str(), IMAGE_TOKEN] {
                if let Some(rest) = text.strip_prefix(token) {
                    text = strip(rest);
                }
                if let Some(rest) = text.strip_suffix(token) {
                    text = strip(rest);
                }
            }
            while let Some(rest) = text.strip_prefix(ROW_VIDEO_TOKEN) {
                text = strip(rest);
            }
        }
        text
    }

    fn strip_eoc<'a>(&self, text: &'a str) -> Option<&'a str> {
        (!self.tokens.eoc.is_empty())
            .then(|| text.strip_suffix(self.tokens.eoc.as_str()))
            .flatten()
    }
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
