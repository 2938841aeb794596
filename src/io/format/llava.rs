//! Data-Juicer rows as LLaVA records, equal to Data-Juicer's own conversion on sound rows.
//!
//! Where Data-Juicer stops at the first bad row, or writes a record that breaks training hours
//! later, a row is refused by name instead.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use smallvec::SmallVec;

use super::questions::{Found, Questions};
use super::{
    Format, FormatError, FormatOption, Framing, Made, OptionKind, Options, Renderer, Setting,
    push_ascii_json, strip,
};
use crate::io::Input;
use crate::io::paths::PathStyle;
use crate::io::paths::PathWriter;
use crate::sample::{FieldPath, ImageCheck, ImageSlot, RowError, Sample};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "llava",
    summary: "One JSON array of conversations, as LLaVA reads it.",
    suffixes: &["json"],
    framing: Framing::ARRAY,
    holds_rows: false,
    needs_text: true,
    image_key: None,
    written_image_key: Some("image"),
    check: ImageCheck::Decode,
    paths: PathStyle::Absolute,
    options: &[
        FormatOption {
            name: QUESTIONS,
            argument: QUESTIONS,
            kind: OptionKind::File,
            doc: "The file of records (`stage_1.json`) whose ids and first human turns are restored.",
        },
        FormatOption {
            name: IMAGES,
            argument: IMAGES,
            kind: OptionKind::Word(&["one", "list"]),
            doc: "What becomes of rows with several images: `one` refuses them, `list` writes a list, one token an image, as LLaVA-NeXT and MGM read it.",
        },
    ],
    renderer,
};

const QUESTIONS: &str = "questions";
const IMAGES: &str = "images";

fn renderer(options: &Options, setting: Setting) -> Made {
    let questions = options
        .file(QUESTIONS)
        .map(|path| Questions::load(&Input::File(path.to_owned())).map(Arc::new))
        .transpose()
        .map_err(|error| FormatError(error.to_string()))?;
    Ok(Box::new(LlavaRenderer {
        text_key: setting.text_key,
        image_token: setting.image_token,
        eoc_token: setting.eoc_token,
        questions,
        images: match options.word(IMAGES) {
            Some("list") => Images::List,
            _ => Images::One,
        },
        paths: setting.paths,
    }))
}

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

/// What a record does with the images of a row that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Images {
    /// It has one image, as LLaVA's loader reads it; two different ones are refused.
    #[default]
    One,
    /// `image` is a list, one token an image, as the loaders of LLaVA-NeXT and MGM read it.
    List,
}

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
    /// What becomes of several images.
    pub images: Images,
    /// How image paths are written.
    pub paths: PathWriter,
}

struct Turn<'a> {
    from: &'static str,
    value: Cow<'a, str>,
}

/// The paths of a record, as they are written: none, one, or a list.
type Paths<'a> = SmallVec<[Cow<'a, str>; 1]>;

impl Renderer for LlavaRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let id = row_id(sample)?;
        let images = self.images(sample)?;
        let text = sample.required_text(&self.text_key)?;
        let (mut turns, id_json) = match &self.questions {
            Some(questions) => {
                let (turns, id_json) = self.restore(questions, id, sample, &text)?;
                (turns, Some(id_json))
            }
            None => (
                self.split_turns(&text, images.len() > 1)?,
                id.map(|id| id.json),
            ),
        };
        match images.len() {
            0 => check_no_token(&turns, &self.image_token)?,
            1 => self.place_image_token(&mut turns)?,
            several => self.place_image_tokens(&mut turns, several)?,
        }
        turns.iter().try_for_each(|turn| self.check(turn))?;

        out.push(b'{');
        if let Some(id) = id_json {
            out.extend_from_slice(b"\"id\": ");
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"\"conversations\": [");
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
        match images.as_slice() {
            [] => {}
            [only] => {
                out.extend_from_slice(b", \"image\": ");
                push_ascii_json(only, out);
            }
            several => {
                out.extend_from_slice(b", \"image\": [");
                for (index, path) in several.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    push_ascii_json(path, out);
                }
                out.push(b']');
            }
        }
        out.push(b'}');
        Ok(())
    }
}

impl LlavaRenderer {
    /// The paths that the record names; several mentions of one and the same path count once.
    fn images<'a>(&self, sample: &'a Sample) -> Result<Paths<'a>, RowError> {
        let images = sample.images()?;
        let Some(first) = images.first() else {
            return Ok(Paths::new());
        };
        let other = images
            .iter()
            .find(|image| image.written() != first.written());
        let named = match (other, self.images) {
            (None, _) => std::slice::from_ref(first),
            (Some(_), Images::List) => images,
            (Some(other), Images::One) => {
                return Err(RowError::new(
                    "images_differ",
                    format!(
                        "two different images: {} and {}",
                        first.written(),
                        other.written()
                    ),
                ));
            }
        };
        named.iter().map(|image| self.paths.image(image)).collect()
    }

    fn restore<'a>(
        &self,
        questions: &'a Questions,
        id: Option<RowId>,
        sample: &Sample,
        text: &'a str,
    ) -> Result<(Vec<Turn<'a>>, String), RowError> {
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
                return Err(RowError::new(
                    "id_unknown",
                    format!("id {id} is not in the questions file"),
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
        let id_json = if question.id_is_number {
            id
        } else {
            ascii(&id)
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

    /// Splits `[[human]]: …[[gpt]]: …` into turns. Where a record has `several` images, tokens stay
    /// in every human turn; else in the first one.
    fn split_turns<'a>(&self, text: &'a str, several: bool) -> Result<Vec<Turn<'a>>, RowError> {
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
                value: self.clean(sentence, index == 0 || several && expected == "human"),
            });
        }
        Ok(turns)
    }

    /// Strips a sentence, its end-of-chunk token and (but for human turns that keep theirs, which
    /// have their own rule) image tokens at its ends: one of each, as Data-Juicer does.
    fn clean<'a>(&self, sentence: &'a str, keeps_tokens: bool) -> Cow<'a, str> {
        let mut text = strip(sentence);
        if let Some(rest) = self.strip_eoc(text) {
            text = strip(rest);
        }
        if !keeps_tokens {
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

    /// Sees that the first human turn has exactly one `<image>`, at its start or its end: one that
    /// is there alone stays where it is, as Data-Juicer's converter leaves it, several become one,
    /// and a turn without any gets one at its start.
    fn place_image_token(&self, turns: &mut [Turn<'_>]) -> Result<(), RowError> {
        let Some(first) = turns.first_mut() else {
            return Ok(());
        };
        let normal = plain_token(&first.value, &self.image_token);
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
    fn place_image_tokens(&self, turns: &mut [Turn<'_>], images: usize) -> Result<(), RowError> {
        let mut tokens = 0;
        for turn in turns.iter_mut().filter(|turn| turn.from == "human") {
            let normal = plain_token(&turn.value, &self.image_token);
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
        no_token_after(turns.iter().filter(|turn| turn.from != "human"))
    }

    fn check(&self, turn: &Turn<'_>) -> Result<(), RowError> {
        if strip(&turn.value).is_empty() {
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
        Some(turn) => Err(RowError::new(
            "image_token_left",
            format!("<image> stands inside a {} turn", turn.from),
        )),
        None => Ok(()),
    }
}

/// A row's id.
struct RowId {
    text: String,
    /// As ASCII JSON.
    json: String,
}

/// The row's id; `None` if it is missing or null: no loader reads it.
fn row_id(sample: &Sample) -> Result<Option<RowId>, RowError> {
    match sample.value(&FieldPath::new("id"))? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let json = ascii(&text);
            Ok(Some(RowId { text, json }))
        }
        Some(Value::Number(number)) => Ok(Some(RowId {
            text: number.to_string(),
            json: number.to_string(),
        })),
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
