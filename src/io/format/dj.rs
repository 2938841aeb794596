//! Records for training as Data-Juicer rows: the way back.
//!
//! A record becomes `id`, `text`, `images` and, for videos, `videos`; its other fields follow as
//! they stand. What has no place in a row is refused by name, never left out.

use std::borrow::Cow;

use super::chat::{self, FROM, QUESTION};
use super::conversation::{
    IMAGE_TOKEN, ROW_VIDEO_TOKEN, RowId, RowTokens, TokenPlace, Turn, VIDEO_MARK,
};
use super::from::{Asked, Images, Reader};
use super::{Format, FormatOption, Made, OptionKind, Options, Renderer, Setting, jsonl, llava};
use crate::io::paths::PathStyle;
use crate::io::paths::PathWriter;
use crate::sample::{ImageCheck, JsonText, RowError, Sample, push_string};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "dj",
    summary: "Records for training turned back into Data-Juicer rows, one JSON object a line.",
    holds_rows: false,
    made_of: Some(llava::FORMAT.name),
    written_image_key: Some("images"),
    check: ImageCheck::None,
    memory: 2,
    paths: PathStyle::Keep,
    options: &[
        FROM,
        QUESTION,
        FormatOption {
            name: ONLY_CAPTION,
            argument: "only-caption",
            kind: OptionKind::Flag,
            doc: "Keep only the answers, as captions.",
        },
    ],
    renderer,
    ..*jsonl::FORMAT
};

const ONLY_CAPTION: &str = "only_caption";

fn renderer(options: &Options, setting: Setting) -> Made {
    let origin = chat::origin(options, llava::FORMAT.name)?;
    let asked = Asked {
        tokens: chat::tokens(origin, &setting),
        question: chat::question(options)?,
        images: Images::List,
        place: TokenPlace::Keep,
    };
    Ok(Box::new(DjRenderer {
        reader: origin.reader(asked, &setting)?,
        // What Data-Juicer's own converter asks of LLaVA's records.
        token_at_end: origin.name == llava::FORMAT.name,
        tokens: RowTokens {
            image: setting.image_token,
            eoc: setting.eoc_token,
        },
        only_caption: options.flag(ONLY_CAPTION),
        paths: setting.paths,
    }))
}

/// The fields that a row has of its own; `system` is the record's, or its first turn.
const MADE: &[&str] = &["text", "images", "videos"];

/// The field of system texts.
const SYSTEM: &str = "system";

/// Writes records for training as rows (`id`, `text`, `images`).
struct DjRenderer {
    reader: Box<dyn Reader>,
    /// The token of a record's only image stands at the start or the end of its first turn.
    token_at_end: bool,
    tokens: RowTokens,
    /// Keep only the answers of the first turns, as captions.
    only_caption: bool,
    paths: PathWriter,
}

/// How many images and videos a record has.
#[derive(Clone, Copy)]
struct Media {
    images: usize,
    videos: usize,
}

impl Renderer for DjRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let said = self.reader.read(sample)?;
        let images: Vec<Cow<'_, str>> = said
            .pictures
            .slots()
            .iter()
            .map(|image| self.paths.image(image))
            .collect::<Result<_, _>>()?;
        let videos: Vec<Cow<'_, str>> = said
            .videos
            .iter()
            .map(|video| self.paths.rewrite(&video.written, &video.path))
            .collect::<Result<_, _>>()?;
        let text = self.text(
            &said.turns,
            Media {
                images: images.len(),
                videos: videos.len(),
            },
        )?;
        let mut row = Members { out, any: false };
        if let Some(RowId { text: id, .. }) = &said.id {
            row.member("id", &Cow::Borrowed(id.as_str()));
        }
        row.member("text", &Cow::Owned::<str>(text));
        row.member("images", images.as_slice());
        if !videos.is_empty() {
            row.member("videos", videos.as_slice());
        }
        // One that is a field stays where it is.
        if let Some(system) = said.system.as_ref().filter(|_| !sample.has(SYSTEM)) {
            row.member(SYSTEM, system);
        }
        let taken = self.reader.fields();
        for (name, json) in sample.members() {
            if name != SYSTEM && taken.contains(&name.as_ref()) {
                continue;
            }
            if MADE.contains(&name.as_ref()) {
                if matches!(&*json, "null" | "[]") {
                    continue;
                }
                return Err(RowError::new(
                    "field_unplaced",
                    format!("the record has a field '{name}', where the row has its own"),
                ));
            }
            row.name(&name);
            row.out.extend_from_slice(json.as_bytes());
        }
        row.out.push(b'}');
        Ok(())
    }
}

impl DjRenderer {
    fn text(&self, turns: &[Turn<'_>], media: Media) -> Result<String, RowError> {
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
            && self.token_at_end
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
            let is_caption = turns.len() == 2 && human.value.is_empty();
            parts.push(if self.only_caption || is_caption {
                let tokens = if round == 0 { media } else { Media::NONE };
                let images = format!("{}\n", self.tokens.image).repeat(tokens.images);
                let videos = format!("{ROW_VIDEO_TOKEN}\n").repeat(tokens.videos);
                format!("{images}{videos}{answer}")
            } else {
                format!(
                    "[[{}]]: {}\n[[{}]]: {answer}",
                    human.role.name(),
                    self.marked(&human.value, media),
                    robot.role.name()
                )
            });
        }
        let text = parts.join("\n");
        self.check_tokens(&text, media)?;
        Ok(format!("{text} {}", self.tokens.eoc))
    }

    /// A turn with the rows' tokens. In a record that has videos alone, `<image>` stands for a video.
    fn marked<'a>(&self, value: &'a str, media: Media) -> Cow<'a, str> {
        let mut value = Cow::Borrowed(value);
        for (token, marked, counts) in [
            (IMAGE_TOKEN, self.tokens.image.as_str(), media.images > 0),
            (IMAGE_TOKEN, ROW_VIDEO_TOKEN, media.videos > 0),
            (VIDEO_MARK, ROW_VIDEO_TOKEN, media.videos > 0),
        ] {
            if counts && token != marked && value.contains(token) {
                value = Cow::Owned(value.replace(token, marked));
            }
        }
        value
    }

    /// Sees that the text has a token for each image and each video: readers of rows count them.
    fn check_tokens(&self, text: &str, media: Media) -> Result<(), RowError> {
        if (media.images, media.videos) == (0, 0) {
            // A literal token would be one for whoever reads the row, and there is no image to it.
            if text.contains(IMAGE_TOKEN) {
                return Err(RowError::new(
                    "image_token_without_image",
                    "the text speaks of an image, but the record has none",
                ));
            }
        }
        for (token, name, count) in [
            (self.tokens.image.as_str(), "image", media.images),
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
