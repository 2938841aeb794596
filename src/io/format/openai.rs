//! Messages whose content is a list of parts, as OpenAI's interface has them.

use super::messages::USUAL;
use super::shape::{ImageField, Parts, Shape};
use super::{Format, Lead, Made, Options, Setting, chat, messages};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "openai",
    summary: "Messages of text and `image_url` parts one a line, as OpenAI's interface has them.",
    written_image_key: None,
    lead: Some(Lead::With(b"\"type\": \"image_url\"")),
    beside: None,
    options: &[
        chat::FROM,
        chat::QUESTIONS,
        chat::QUESTION,
        chat::SYSTEM,
        chat::TOKEN,
        chat::IDS,
        chat::FIRST_ROW,
        chat::URL,
    ],
    renderer,
    ..*messages::FORMAT
};

/// How its records lie.
pub const SHAPE: &Shape = &Shape {
    parts: Parts::Addressed,
    images: ImageField::InTurns,
    videos: None,
    ..*messages::SHAPE
};

fn renderer(options: &Options, setting: Setting) -> Made {
    chat::renderer(SHAPE, USUAL, options, setting)
}
