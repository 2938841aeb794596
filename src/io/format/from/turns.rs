//! Records with a list of turns as conversations.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Elsewhere, Reader, SYSTEM, system_field};
use crate::io::format::conversation::{
    Conversation, IMAGE_TOKEN, Pictures, Role, RowId, Turn, Video, paths_of,
};
use crate::io::format::shape::{Parts, Shape, VideoField};
use crate::sample::{FieldPath, RowError, Sample};

/// A field of a video that records of all shapes may have.
const VIDEO: &str = "video";

/// Reads records of one shape.
pub struct TurnsReader {
    shape: &'static Shape,
    elsewhere: Elsewhere,
    fields: Vec<&'static str>,
    /// The fields of videos.
    videos: Vec<&'static str>,
}

impl TurnsReader {
    /// For records of `shape`.
    pub fn new(shape: &'static Shape, elsewhere: Elsewhere) -> Self {
        let mut fields = vec!["id", SYSTEM, shape.turns];
        fields.extend(shape.images.key());
        let mut videos = vec![VIDEO];
        let own = shape.videos.map(VideoField::key);
        videos.extend(own.filter(|key| *key != VIDEO));
        fields.extend(videos.iter().copied());
        Self {
            shape,
            elsewhere,
            fields,
            videos,
        }
    }
}

impl Reader for TurnsReader {
    fn read<'s>(&'s self, sample: &'s Sample) -> Result<Conversation<'s>, RowError> {
        let id = RowId::of(sample)?;
        let mut found = Vec::new();
        let mut blocks = None;
        let mut turns = self.turns(sample, &mut found, &mut blocks)?;
        let system = system(sample, &mut turns)?;
        let pictures = match self.shape.images.key() {
            None => Pictures::Found(self.elsewhere.slots(sample, found)?),
            Some(key) => column(key, sample, self.elsewhere)?,
        };
        if self.shape.parts == Parts::Blocks {
            let images = pictures.slots().len();
            place_blocks(&mut turns, blocks, images)?;
        }
        Ok(Conversation {
            id,
            system,
            turns,
            pictures,
            videos: Video::of(sample, &self.videos)?,
        })
    }

    fn fields(&self) -> &[&'static str] {
        &self.fields
    }
}

/// The images in field `key`, which is the run's field of images or another one.
pub(super) fn column<'s>(
    key: &str,
    sample: &'s Sample,
    elsewhere: Elsewhere,
) -> Result<Pictures<'s>, RowError> {
    if sample.image_context().image_key == key {
        let images = sample.images()?;
        // A list of empty paths names no image, as one empty path.
        let named = images.iter().any(|image| !image.written().is_empty());
        return Ok(if named {
            Pictures::OfRow(images)
        } else {
            Pictures::Found(Vec::new())
        });
    }
    let written = paths_of(sample, key)?;
    Ok(Pictures::Found(elsewhere.slots(sample, written)?))
}

impl TurnsReader {
    /// The turns. Images that they hold go to `found`; `blocks` counts those that stand for an
    /// image of the record, where contents are lists.
    fn turns<'a>(
        &self,
        sample: &Sample,
        found: &mut Vec<String>,
        blocks: &mut Option<usize>,
    ) -> Result<Vec<Turn<'a>>, RowError> {
        let Shape {
            turns,
            role,
            content,
            ..
        } = self.shape;
        let wrong = |what: &str| RowError::new("wrong_type", format!("field '{turns}': {what}"));
        let value = sample
            .value(&FieldPath::new(*turns))?
            .ok_or_else(|| RowError::new("missing_field", format!("the record has no {turns}")))?;
        let Value::Array(items) = value else {
            return Err(wrong("not a list of turns"));
        };
        let mut read = Vec::with_capacity(items.len());
        for (number, item) in (1..).zip(items) {
            let Value::Object(mut fields) = item else {
                return Err(wrong("a turn is not an object"));
            };
            let Some(Value::String(speaker)) = fields.remove(*role) else {
                return Err(wrong(&format!("turn {number}: no text '{role}'")));
            };
            let value = match (fields.remove(*content), self.shape.parts) {
                (Some(Value::String(text)), Parts::Text) => text,
                (Some(Value::String(text)), _) => unmarked(text)?,
                (Some(Value::Array(parts)), Parts::Addressed | Parts::Blocks) => {
                    let mut joined = Joined::default();
                    for part in parts {
                        self.part(part, number, &mut joined, found, blocks)?;
                    }
                    blocks.get_or_insert(0);
                    joined.text
                }
                _ => return Err(wrong(&format!("turn {number}: no text '{content}'"))),
            };
            if let Some((name, _)) = fields.iter().find(|(_, value)| !value.is_null()) {
                return Err(RowError::new(
                    "field_unplaced",
                    format!("turn {number} has a field '{name}', for which a row has no place"),
                ));
            }
            read.push(Turn {
                role: self.shape.roles.role(&speaker),
                value: Cow::Owned(value),
            });
        }
        Ok(read)
    }

    /// Adds one part of a turn's content.
    fn part(
        &self,
        part: Value,
        number: usize,
        joined: &mut Joined,
        found: &mut Vec<String>,
        blocks: &mut Option<usize>,
    ) -> Result<(), RowError> {
        let wrong = |what: &str| {
            let turns = self.shape.turns;
            RowError::new(
                "wrong_type",
                format!("field '{turns}': turn {number}: {what}"),
            )
        };
        let Value::Object(mut part) = part else {
            return Err(wrong("a part is not an object"));
        };
        match part.get("type").and_then(Value::as_str) {
            Some("text") => match part.remove("text") {
                Some(Value::String(text)) => joined.text(&unmarked(text)?),
                _ => return Err(wrong("a part has no text")),
            },
            Some("image" | "image_url") => match (address(&mut part), self.shape.parts) {
                (Some(path), Parts::Addressed) => {
                    found.push(path);
                    joined.image();
                }
                (None, Parts::Blocks) => {
                    *blocks.get_or_insert(0) += 1;
                    joined.image();
                }
                (Some(_), _) => return Err(wrong("a block that stands for an image holds one")),
                (None, _) => return Err(wrong("a part has no image")),
            },
            other => {
                let other = other.unwrap_or("no type");
                return Err(RowError::new(
                    "field_unplaced",
                    format!("turn {number} has a part of {other}, for which a row has no place"),
                ));
            }
        }
        Ok(())
    }
}

/// The path that a part names: `{"image": …}`, `{"image_url": …}` or `{"image_url": {"url": …}}`.
fn address(part: &mut Map<String, Value>) -> Option<String> {
    let value = [part.remove("image"), part.remove("image_url")]
        .into_iter()
        .flatten()
        .find(|value| !value.is_null())?;
    let url = match value {
        Value::Object(mut url) => url.remove("url")?,
        other => other,
    };
    match url {
        Value::String(url) => Some(match url.strip_prefix("file://") {
            Some(path) => path.to_owned(),
            None => url,
        }),
        _ => None,
    }
}

/// The parts of a content as one text. An image stands on a line of its own, unless there is a
/// space beside it.
#[derive(Default)]
struct Joined {
    text: String,
    after_image: bool,
}

impl Joined {
    fn text(&mut self, text: &str) {
        if self.after_image && !text.starts_with(char::is_whitespace) {
            self.text.push('\n');
        }
        self.text.push_str(text);
        self.after_image = false;
    }

    fn image(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(char::is_whitespace) {
            self.text.push('\n');
        }
        self.text.push_str(IMAGE_TOKEN);
        self.after_image = true;
    }
}

/// A text of a format in which `<image>` means nothing. In most others it does.
fn unmarked(text: String) -> Result<String, RowError> {
    if text.contains(IMAGE_TOKEN) {
        return Err(RowError::new(
            "image_token_left",
            "<image> stands in the words of a turn",
        ));
    }
    Ok(text)
}

/// Sees that there is a block for each image; without any, they are all put before the first
/// question, as TRL does.
fn place_blocks(
    turns: &mut [Turn<'_>],
    blocks: Option<usize>,
    images: usize,
) -> Result<(), RowError> {
    match blocks {
        Some(blocks) if blocks == images => Ok(()),
        Some(blocks) => Err(RowError::new(
            "image_token_count",
            format!("{blocks} image blocks for {images} images"),
        )),
        None => {
            let first = turns.iter_mut().find(|turn| turn.role == Role::User);
            if let Some(first) = first {
                let tokens = format!("{IMAGE_TOKEN}\n").repeat(images);
                first.value = Cow::Owned(tokens + &first.value);
            }
            Ok(())
        }
    }
}

/// The system text: the first turn if it is one, else the field. A record that has both is refused.
fn system<'a>(
    sample: &Sample,
    turns: &mut Vec<Turn<'a>>,
) -> Result<Option<Cow<'a, str>>, RowError> {
    let field = system_field(sample)?;
    if turns.first().is_none_or(|turn| turn.role != Role::System) {
        return Ok(field);
    }
    if sample.has(SYSTEM) && sample.raw_json(SYSTEM) != Some("null") {
        return Err(RowError::new(
            "field_unplaced",
            "the record has a system turn and a field 'system'",
        ));
    }
    Ok(Some(turns.remove(0).value))
}
