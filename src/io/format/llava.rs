//! LLaVA's conversations in one JSON array, equal to Data-Juicer's own conversion on sound rows.
//!
//! Where Data-Juicer stops at the first bad row, or writes a record that breaks training hours
//! later, a row is refused by name instead.

use super::chat::{self, Ids, System, Usual};
use super::conversation::TokenPlace;
use super::from::Images;
use super::shape::{ImageField, Parts, Roles, Shape, VideoField};
use super::{Format, Framing, ImageFiles, Made, Options, Setting};
use crate::io::paths::PathStyle;
use crate::sample::ImageCheck;

/// The format.
pub const FORMAT: &Format = &Format {
    name: "llava",
    summary: "One JSON array of conversations, as LLaVA, MGM and LLaVA-NeXT read it.",
    suffixes: &["json"],
    framing: Framing::ARRAY,
    holds_rows: false,
    made_of: Some("dj"),
    written_image_key: Some("image"),
    check: ImageCheck::Decode,
    paths: PathStyle::Absolute,
    images: &[ImageFiles::Path, ImageFiles::Copy],
    own_paths: false,
    lead: None,
    beside: None,
    memory: 2,
    options: &[
        chat::FROM,
        chat::QUESTIONS,
        chat::QUESTION,
        chat::IMAGES,
        chat::SYSTEM,
        chat::TOKEN,
        chat::IDS,
        chat::VIDEOS,
        chat::VIDEO_TOKEN,
    ],
    renderer,
};

/// How its records lie.
pub const SHAPE: &Shape = &Shape {
    turns: "conversations",
    role: "from",
    content: "value",
    roles: Roles {
        system: "system",
        user: "human",
        assistant: "gpt",
    },
    parts: Parts::Text,
    images: ImageField::OneOrList("image"),
    videos: Some(VideoField::OneOrList("video")),
};

const USUAL: Usual = Usual {
    images: Images::One,
    system: System::Move,
    token: TokenPlace::Ends,
    ids: Ids::Keep,
};

fn renderer(options: &Options, setting: Setting) -> Made {
    chat::renderer(SHAPE, USUAL, options, setting)
}
