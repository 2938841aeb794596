//! LLaVA records as Data-Juicer rows: the way back.
//!
//! A record becomes `id`, `text`, `images` and, for videos, `videos`; its other fields follow as
//! they stand. What has no place in a row is refused by name, never left out.

use std::borrow::Cow;

use serde_json::Value;

use super::llava::IMAGE_TOKEN;
use super::{Format, FormatOption, Framing, Made, OptionKind, Options, Renderer, Setting};
use crate::io::paths::PathStyle;
use crate::io::paths::PathWriter;
use crate::sample::{FieldPath, ImageCheck, JsonText, RowError, Sample, push_string};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "dj",
    summary: "LLaVA records turned back into Data-Juicer rows, one JSON object a line.",
    suffixes: &["jsonl"],
    framing: Framing::LINES,
    holds_rows: false,
    needs_text: false,
    image_key: Some("image"),
    written_image_key: Some("images"),
    check: ImageCheck::None,
    paths: PathStyle::Keep,
    options: &[FormatOption {
        name: ONLY_CAPTION,
        argument: "only-caption",
        kind: OptionKind::Flag,
        doc: "Keep only the answers, as captions.",
    }],
    renderer,
};

const ONLY_CAPTION: &str = "only_caption";

#[expect(
    clippy::unnecessary_wraps,
    reason = "renderers of other formats read files"
)]
fn renderer(options: &Options, setting: Setting) -> Made {
    Ok(Box::new(DjRenderer {
        image_token: setting.image_token,
        eoc_token: setting.eoc_token,
        only_caption: options.flag(ONLY_CAPTION),
        paths: setting.paths,
    }))
}

/// What stands for a video in LLaVA records that do not write `<image>` for one.
const VIDEO_TOKEN: &str = "<video>";

/// What stands for a video in the text of a row.
const ROW_VIDEO_TOKEN: &str = "<__dj__video>";

/// The fields of a record that make up the row's own.
const TAKEN: &[&str] = &["id", "conversations", "image", "video"];

/// The fields that a row has of its own; `system` is the record's, or its first turn.
const MADE: &[&str] = &["text", "images", "videos"];

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

struct Turn {
    from: String,
    value: String,
}

/// How many images and videos a record has.
#[derive(Clone, Copy)]
struct Media {
    images: usize,
    videos: usize,
}

impl Renderer for DjRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let id = match sample.value(&FieldPath::new("id"))? {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => {
                return Err(RowError::new(
                    "wrong_type",
                    "field 'id' is neither a string nor a number",
                ));
            }
        };
        let images: Vec<Cow<'_, str>> = sample
            .images()?
            .iter()
            .map(|image| self.paths.image(image))
            .collect::<Result<_, _>>()?;
        let videos = self.videos(sample)?;
        let mut turns = turns(sample)?;
        let system = system(sample, &mut turns)?;
        let text = self.text(
            turns,
            Media {
                images: images.len(),
                videos: videos.len(),
            },
        )?;
        let mut row = Members { out, any: false };
        if let Some(id) = &id {
            row.member("id", &Cow::Borrowed(id.as_str()));
        }
        row.member("text", &Cow::Owned::<str>(text));
        row.member("images", images.as_slice());
        if !videos.is_empty() {
            row.member("videos", videos.as_slice());
        }
        if let Some(system) = &system {
            row.member("system", &Cow::Borrowed(system.as_str()));
        }
        for (name, json) in sample.members() {
            if MADE.contains(&name.as_ref()) {
                if json == "null" {
                    continue;
                }
                return Err(RowError::new(
                    "field_unplaced",
                    format!("the record has a field '{name}', where the row has its own"),
                ));
            }
            if !TAKEN.contains(&name.as_ref()) {
                row.name(&name);
                row.out.extend_from_slice(json.as_bytes());
            }
        }
        row.out.push(b'}');
        Ok(())
    }
}

impl DjRenderer {
    /// The videos of the record, their paths written as those of images are.
    fn videos(&self, sample: &Sample) -> Result<Vec<Cow<'static, str>>, RowError> {
        let wrong = || RowError::new("wrong_type", "field 'video' is neither a path nor a list");
        let written = match sample.value(&FieldPath::new("video"))? {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(path)) if path.is_empty() => Vec::new(),
            Some(Value::String(path)) => vec![path],
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(path) => Ok(path),
                    _ => Err(wrong()),
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong()),
        };
        written
            .into_iter()
            .map(|path| {
                let new = self.paths.rewrite(&path, &sample.path_of(&path))?;
                Ok(Cow::Owned(new.into_owned()))
            })
            .collect()
    }

    fn text(&self, turns: Vec<Turn>, media: Media) -> Result<String, RowError> {
        if turns.is_empty() || !turns.len().is_multiple_of(2) {
            return Err(RowError::new(
                "turns_unbalanced",
                format!(
                    "{} turns; they must come in pairs of human and gpt",
                    turns.len()
                ),
            ));
        }
        if let Some(first) = turns.first()
            && (media.images, media.videos) == (1, 0)
            && !first.value.starts_with(IMAGE_TOKEN)
            && !first.value.ends_with(IMAGE_TOKEN)
        {
            return Err(RowError::new(
                "image_token_misplaced",
                "the first human turn neither starts nor ends with <image>",
            ));
        }
        let mut parts = Vec::with_capacity(turns.len() / 2);
        for (round, pair) in turns.chunks_exact(2).enumerate() {
            let [human, robot] = pair else { continue };
            let answer = self.marked(&robot.value, media);
            parts.push(if self.only_caption {
                let tokens = if round == 0 { media } else { Media::NONE };
                let images = format!("{}\n", self.image_token).repeat(tokens.images);
                let videos = format!("{ROW_VIDEO_TOKEN}\n").repeat(tokens.videos);
                format!("{images}{videos}{answer}")
            } else {
                format!(
                    "[[{}]]: {}\n[[{}]]: {answer}",
                    human.from,
                    self.marked(&human.value, media),
                    robot.from
                )
            });
        }
        let text = parts.join("\n");
        self.check_tokens(&text, media)?;
        Ok(format!("{text} {}", self.eoc_token))
    }

    /// A turn with the rows' tokens. A record without images or videos speaks of none, whatever
    /// its words are; in one that has videos alone, `<image>` stands for a video.
    fn marked<'a>(&self, value: &'a str, media: Media) -> Cow<'a, str> {
        let mut value = Cow::Borrowed(value);
        for (token, marked, counts) in [
            (IMAGE_TOKEN, self.image_token.as_str(), media.images > 0),
            (IMAGE_TOKEN, ROW_VIDEO_TOKEN, media.videos > 0),
            (VIDEO_TOKEN, ROW_VIDEO_TOKEN, media.videos > 0),
        ] {
            if counts && token != marked && value.contains(token) {
                value = Cow::Owned(value.replace(token, marked));
            }
        }
        value
    }

    /// Sees that the text has a token for each image and each video: readers of rows count them.
    fn check_tokens(&self, text: &str, media: Media) -> Result<(), RowError> {
        for (token, name, count) in [
            (self.image_token.as_str(), "image", media.images),
            (ROW_VIDEO_TOKEN, "video", media.videos),
        ] {
            if count == 0 || token.is_empty() {
                continue;
            }
            let found = text.matches(token).count();
            if found != count {
                return Err(RowError::new(
                    "image_token_count",
                    format!("{found} {name} tokens for {count} {name}s"),
                ));
            }
        }
        Ok(())
    }
}

impl Media {
    const NONE: Self = Self {
        images: 0,
        videos: 0,
    };
}

/// The record's turns.
fn turns(sample: &Sample) -> Result<Vec<Turn>, RowError> {
    let wrong = |what: &str| RowError::new("wrong_type", format!("field 'conversations': {what}"));
    let value = sample
        .value(&FieldPath::new("conversations"))?
        .ok_or_else(|| RowError::new("missing_field", "the record has no conversations"))?;
    let Value::Array(items) = value else {
        return Err(wrong("not a list of turns"));
    };
    let read = |(number, item): (usize, Value)| {
        let Value::Object(mut fields) = item else {
            return Err(wrong("a turn is not an object"));
        };
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(wrong(&format!("turn {}: no text '{name}'", number + 1))),
        };
        let (from, value) = (text("from")?, text("value")?);
        match fields.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(RowError::new(
                "field_unplaced",
                format!(
                    "turn {} has a field '{name}', for which a row has no place",
                    number + 1
                ),
            )),
            None => Ok(Turn { from, value }),
        }
    };
    items.into_iter().enumerate().map(read).collect()
}

/// The system text, if the first turn is one: a row has it as a field, since its text is made of
/// pairs. A record that has it as a field keeps that.
fn system(sample: &Sample, turns: &mut Vec<Turn>) -> Result<Option<String>, RowError> {
    if turns.first().is_none_or(|turn| turn.from != "system") {
        return Ok(None);
    }
    if sample.has("system") {
        return Err(RowError::new(
            "field_unplaced",
            "the record has a system turn and a field 'system'",
        ));
    }
    Ok(Some(turns.remove(0).value))
}

/// Writes a JSON object member by member, spaced as Python does.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

impl Members<'_> {
    fn member(&mut self, name: &str, value: &(impl JsonText + ?Sized)) {
        self.name(name);
        value.write(self.out);
    }

    fn name(&mut self, name: &str) {
        let before: &[u8] = if self.any { b", " } else { b"{" };
        self.any = true;
        self.out.extend_from_slice(before);
        push_string(name, self.out);
        self.out.extend_from_slice(b": ");
    }
}
