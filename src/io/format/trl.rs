//! Messages with blocks that stand for images, and a column of images, as TRL's trainer reads them.

use super::messages::USUAL;
use super::shape::{Parts, Shape};
use super::{Format, Made, Options, Setting, chat, messages};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "trl",
    summary: "Messages of text and image blocks one a line, and a column of images, as TRL reads them.",
    beside: None,
    renderer,
    ..*messages::FORMAT
};

/// How its records lie.
pub const SHAPE: &Shape = &Shape {
    parts: Parts::Blocks,
    videos: None,
    ..*messages::SHAPE
};

fn renderer(options: &Options, setting: Setting) -> Made {
    chat::renderer(SHAPE, USUAL, options, setting)
}
