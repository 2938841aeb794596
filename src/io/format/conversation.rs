//! What a record for training says, whatever format it is written in: turns of a person and a
//! model, in which `<image>` stands for an image.

use std::borrow::Cow;
use std::path::PathBuf;

use serde_json::Value;

use super::{push_ascii_json, strip};
use crate::sample::{FieldPath, ImageSlot, RowError, Sample};

/// What stands for an image in the turns of a [`Conversation`], and in most formats.
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

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Who says how the model is to be.
    System,
    /// Who asks.
    User,
    /// Who answers.
    Assistant,
    /// Somebody whom only the record knows.
    Other(String),
}

impl Role {
    /// The name in messages, which are LLaVA's words.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::System => "system",
            Self::User => "human",
            Self::Assistant => "gpt",
            Self::Other(word) => word,
        }
    }
}

/// What one speaker says.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub value: Cow<'a, str>,
}

/// The images of a record: those of the row, or some that only its turns name.
#[derive(Debug)]
pub enum Pictures<'a> {
    /// Of the row's own field.
    OfRow(&'a [ImageSlot]),
    /// Of elsewhere.
    Found(Vec<ImageSlot>),
}

impl Pictures<'_> {
    /// In order.
    #[must_use]
    pub fn slots(&self) -> &[ImageSlot] {
        match self {
            Self::OfRow(slots) => slots,
            Self::Found(slots) => slots,
        }
    }
}

/// What stands for a video in the turns of a [`Conversation`].
pub const VIDEO_MARK: &str = "<video>";

/// What stands for a video in the text of a row.
pub const ROW_VIDEO_TOKEN: &str = "<__dj__video>";

/// A video of a record. Nothing looks into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// Its path as the record writes it.
    pub written: String,
    /// Where it lies.
    pub path: PathBuf,
}

impl Video {
    /// The videos that the fields `keys` of a record name, a path or a list of paths each.
    ///
    /// # Errors
    /// `wrong_type` if one is neither.
    pub fn of(sample: &Sample, keys: &[&str]) -> Result<Vec<Self>, RowError> {
        let mut found = Vec::new();
        for key in keys {
            let written = paths_of(sample, key)?;
            found.extend(written.into_iter().map(|written| Self {
                path: sample.path_of(&written),
                written,
            }));
        }
        Ok(found)
    }
}

/// What field `key` names: a path, or a list of them; none if it is empty or not there.
///
/// # Errors
/// `wrong_type` if it is neither.
pub fn paths_of(sample: &Sample, key: &str) -> Result<Vec<String>, RowError> {
    let wrong = || {
        RowError::new(
            "wrong_type",
            format!("field '{key}' is neither a path nor a list of paths"),
        )
    };
    match sample.value(&FieldPath::new(key))? {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(path)) if path.is_empty() => Ok(Vec::new()),
        Some(Value::String(path)) => Ok(vec![path]),
        // A list of no path, as one empty path.
        Some(Value::Array(items)) if items.iter().all(|item| item == "") => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(path) => Ok(path),
                _ => Err(wrong()),
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// A record for training.
#[derive(Debug)]
pub struct Conversation<'a> {
    /// Its id, if it has one.
    pub id: Option<RowId>,
    /// How the model is to be.
    pub system: Option<Cow<'a, str>>,
    /// What is said.
    pub turns: Vec<Turn<'a>>,
    /// Its images, in the order of their tokens.
    pub pictures: Pictures<'a>,
    /// Its videos, in the order of their marks.
    pub videos: Vec<Video>,
}

/// Where image tokens come to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPlace {
    /// The only one at the start or the end of the first question, as Data-Juicer's converter
    /// leaves it; several where they are.
    Ends,
    /// Where they are; at the start of the first question if there are none.
    Keep,
    /// All at the start of the first question.
    First,
}

/// A record's id.
#[derive(Debug, Clone)]
pub struct RowId {
    /// As text.
    pub text: String,
    /// As ASCII JSON.
    pub json: String,
}

impl RowId {
    /// The row's id; `None` if it is missing, null or empty: no loader reads it.
    ///
    /// # Errors
    /// `wrong_type` if it is neither a string nor a number.
    pub fn of(sample: &Sample) -> Result<Option<Self>, RowError> {
        match sample.value(&FieldPath::new("id"))? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Self::text(text))),
            Some(Value::Number(number)) => Ok(Some(Self {
                text: number.to_string(),
                json: number.to_string(),
            })),
            Some(_) => Err(RowError::new(
                "wrong_type",
                "field 'id' is neither a string nor a number",
            )),
        }
    }

    /// An id that is a text.
    #[must_use]
    pub fn text(text: String) -> Self {
        let json = ascii(&text);
        Self { text, json }
    }
}

fn ascii(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_ascii_json(text, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// What stands for an image and for the end of a chunk in the text of rows.
#[derive(Debug, Clone)]
pub struct RowTokens {
    /// E.g. `<__dj__image>`.
    pub image: String,
    /// E.g. `<|__dj__eoc|>`.
    pub eoc: String,
}

impl Conversation<'_> {
    /// Sees that a person and a model take turns.
    ///
    /// # Errors
    /// `turns_unbalanced`, `role_unknown`.
    pub fn check_order(&self) -> Result<(), RowError> {
        for (index, turn) in self.turns.iter().enumerate() {
            let expected = if index % 2 == 0 {
                Role::User
            } else {
                Role::Assistant
            };
            if let Role::Other(word) = &turn.role {
                return Err(RowError::new(
                    "role_unknown",
                    format!("turn {} is of '{word}'", index + 1),
                ));
            }
            if turn.role != expected {
                return Err(RowError::new(
                    "turns_unbalanced",
                    format!(
                        "turn {} is of '{}', expected {}",
                        index + 1,
                        turn.role.name(),
                        expected.name()
                    ),
                ));
            }
        }
        if self.turns.is_empty() || !self.turns.len().is_multiple_of(2) {
            return Err(RowError::new(
                "turns_unbalanced",
                format!(
                    "{} turns; they must come in pairs of human and gpt",
                    self.turns.len()
                ),
            ));
        }
        Ok(())
    }

    /// Sees that the questions have a mark for each video, at the start of the first one if there is
    /// none. Where there are videos alone, `<image>` stands for one.
    ///
    /// # Errors
    /// `image_token_count`, `image_token_left`.
    pub fn place_videos(&mut self) -> Result<(), RowError> {
        let videos = self.videos.len();
        if videos == 0 {
            return Ok(());
        }
        let alone = self.pictures.slots().is_empty();
        let mut marks = 0;
        for turn in &mut self.turns {
            for (token, counts) in [(ROW_VIDEO_TOKEN, true), (IMAGE_TOKEN, alone)] {
                if counts && turn.value.contains(token) {
                    turn.value = Cow::Owned(turn.value.replace(token, VIDEO_MARK));
                }
            }
            let found = turn.value.matches(VIDEO_MARK).count();
            if turn.role == Role::User {
                marks += found;
            } else if found > 0 {
                let who = turn.role.name();
                return Err(RowError::new(
                    "image_token_left",
                    format!("{VIDEO_MARK} stands inside a {who} turn"),
                ));
            }
        }
        if marks != 0 && marks != videos {
            return Err(RowError::new(
                "image_token_count",
                format!("{marks} video tokens for {videos} videos"),
            ));
        }
        if marks == 0
            && let Some(first) = self.turns.first_mut()
        {
            let marks = vec![VIDEO_MARK; videos].join("\n");
            let between = if first.value.is_empty() { "" } else { "\n" };
            first.value = Cow::Owned(format!("{marks}{between}{}", first.value));
        }
        Ok(())
    }

    /// Writes the marks of videos as `token`.
    pub fn mark_videos(&mut self, token: &str) {
        for turn in &mut self.turns {
            if token != VIDEO_MARK && turn.role == Role::User && turn.value.contains(VIDEO_MARK) {
                turn.value = Cow::Owned(turn.value.replace(VIDEO_MARK, token));
            }
        }
    }

    /// Puts the image tokens where they belong, one an image.
    ///
    /// # Errors
    /// `image_token_without_image`, `image_token_left`, `image_token_count`, `question_empty`.
    pub fn place_tokens(&mut self, place: TokenPlace, tokens: &RowTokens) -> Result<(), RowError> {
        let turns = self.turns.as_mut_slice();
        match (self.pictures.slots().len(), place) {
            (0, _) => check_no_token(turns, &tokens.image),
            (1, TokenPlace::Ends) => place_one(turns, &tokens.image),
            (images, TokenPlace::Ends | TokenPlace::Keep) => {
                place_several(turns, images, &tokens.image)
            }
            (images, TokenPlace::First) => {
                place_several(turns, images, &tokens.image)?;
                move_to_front(turns, images);
                Ok(())
            }
        }
    }

    /// Sees that every turn says something, and nothing that only templates and rows say.
    ///
    /// # Errors
    /// `caption_empty`, `question_empty`, `special_token_left`, `chat_marker`, `image_token_left`.
    pub fn check_words(&self, tokens: &RowTokens) -> Result<(), RowError> {
        if let Some(system) = &self.system {
            check_words(&Role::System, system, tokens)?;
            if system.contains(IMAGE_TOKEN) {
                return Err(left_in("system"));
            }
        }
        self.turns.iter().try_for_each(|turn| {
            if strip(&turn.value).is_empty() {
                return Err(match turn.role {
                    Role::Assistant => RowError::new("caption_empty", "the caption is empty"),
                    _ => RowError::new("question_empty", "a human turn is empty"),
                });
            }
            check_words(&turn.role, &turn.value, tokens)
        })
    }
}

fn check_words(role: &Role, value: &str, tokens: &RowTokens) -> Result<(), RowError> {
    if !value.contains(['<', '[']) {
        return Ok(());
    }
    for token in [&tokens.image, &tokens.eoc, "<__dj__", "<|__dj__"] {
        if !token.is_empty() && token != IMAGE_TOKEN && value.contains(token) {
            return Err(RowError::new(
                "special_token_left",
                format!("{token} stands inside a {} turn", role.name()),
            ));
        }
    }
    match CHAT_MARKERS.iter().find(|marker| value.contains(**marker)) {
        Some(marker) => Err(RowError::new(
            "chat_marker",
            format!(
                "the chat-template marker {marker} stands inside a {} turn",
                role.name()
            ),
        )),
        None => Ok(()),
    }
}

/// Sees that the first human turn has exactly one `<image>`, at its start or its end: one that
/// is there alone stays where it is, as Data-Juicer's converter leaves it, several become one,
/// and a turn without any gets one at its start.
fn place_one(turns: &mut [Turn<'_>], image_token: &str) -> Result<(), RowError> {
    let Some(first) = turns.first_mut() else {
        return Ok(());
    };
    let normal = plain_token(&first.value, image_token);
    let mut words = strip(&normal);
    let mut count = 0;
    let mut at_start = false;
    loop {
        if let Some(rest) = words.strip_prefix(IMAGE_TOKEN) {
            at_start = true;
            words = strip(rest);
        } else if let Some(rest) = words.strip_suffix(IMAGE_TOKEN) {
            words = strip(rest);
        } else {
            break;
        }
        count += 1;
    }
    if words.contains(IMAGE_TOKEN) {
        return Err(RowError::new(
            "image_token_left",
            "<image> stands in the middle of the first human turn",
        ));
    }
    let value = match (count, at_start, words) {
        (0, _, "") => {
            return Err(RowError::new(
                "question_empty",
                "the first human turn is empty",
            ));
        }
        (1, ..) => None,
        (_, _, "") => Some(IMAGE_TOKEN.to_owned()),
        (0, ..) | (_, true, _) => Some(format!("{IMAGE_TOKEN}\n{words}")),
        (_, false, _) => Some(format!("{words}\n{IMAGE_TOKEN}")),
    };
    match (value, normal) {
        (Some(value), _) | (None, Cow::Owned(value)) => first.value = Cow::Owned(value),
        (None, Cow::Borrowed(_)) => {}
    }
    no_token_after(turns.iter().skip(1))
}

/// Sees that the human turns have as many `<image>` as the record has images: the first token
/// stands for the first image. Turns without any get them all at the start of the first one.
fn place_several(turns: &mut [Turn<'_>], images: usize, image_token: &str) -> Result<(), RowError> {
    let mut tokens = 0;
    for turn in turns.iter_mut().filter(|turn| turn.role == Role::User) {
        let normal = plain_token(&turn.value, image_token);
        tokens += normal.matches(IMAGE_TOKEN).count();
        if let Cow::Owned(value) = normal {
            turn.value = Cow::Owned(value);
        }
    }
    if tokens != 0 && tokens != images {
        return Err(RowError::new(
            "image_token_count",
            format!("{tokens} image tokens for {images} images"),
        ));
    }
    if tokens == 0
        && let Some(first) = turns.first_mut().filter(|turn| !turn.value.is_empty())
    {
        let tokens = format!("{IMAGE_TOKEN}\n").repeat(images);
        first.value = Cow::Owned(tokens + &first.value);
    }
    no_token_after(turns.iter().filter(|turn| turn.role != Role::User))
}

/// Puts all image tokens at the start of the first turn, a line each.
fn move_to_front(turns: &mut [Turn<'_>], images: usize) {
    for turn in turns.iter_mut().filter(|turn| turn.role == Role::User) {
        if turn.value.contains(IMAGE_TOKEN) {
            let pieces = turn.value.split(IMAGE_TOKEN).map(strip);
            let words: Vec<&str> = pieces.filter(|piece| !piece.is_empty()).collect();
            turn.value = Cow::Owned(words.join("\n"));
        }
    }
    if let Some(first) = turns.first_mut() {
        let mut value = vec![IMAGE_TOKEN; images].join("\n");
        if !first.value.is_empty() {
            value.push('\n');
            value.push_str(&first.value);
        }
        first.value = Cow::Owned(value);
    }
}

/// `text` with the rows' token for an image written as LLaVA's.
fn plain_token<'a>(text: &'a str, image_token: &str) -> Cow<'a, str> {
    if image_token.is_empty() || image_token == IMAGE_TOKEN || !text.contains(image_token) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.replace(image_token, IMAGE_TOKEN))
    }
}

/// Sees that a record without an image speaks of none.
fn check_no_token(turns: &[Turn<'_>], image_token: &str) -> Result<(), RowError> {
    let speaks = |turn: &Turn<'_>| {
        turn.value.contains(IMAGE_TOKEN)
            || !image_token.is_empty() && turn.value.contains(image_token)
    };
    if turns.first().is_some_and(speaks) {
        return Err(RowError::new(
            "image_token_without_image",
            "the text speaks of an image, but the row has none",
        ));
    }
    no_token_after(turns.iter().skip(1))
}

/// Sees that none of `turns` has an image token.
fn no_token_after<'t, 'a: 't>(
    mut turns: impl Iterator<Item = &'t Turn<'a>>,
) -> Result<(), RowError> {
    match turns.find(|turn| turn.value.contains(IMAGE_TOKEN)) {
        Some(turn) => Err(left_in(turn.role.name())),
        None => Ok(()),
    }
}

fn left_in(role: &str) -> RowError {
    RowError::new(
        "image_token_left",
        format!("<image> stands inside a {role} turn"),
    )
}
