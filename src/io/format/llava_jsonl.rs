//! LLaVA's conversations, one a line, with several images as a list: what Qwen-VL's training reads,
//! and LLaVA-NeXT where a yaml names the file.

use super::chat::{self, Ids, System, Usual};
use super::conversation::TokenPlace;
use super::from::Images;
use super::llava::SHAPE;
use super::{Format, Framing, Made, Options, Setting, llava};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "llava_jsonl",
    summary: "LLaVA's conversations one a line, as Qwen-VL's training reads them, and LLaVA-NeXT where a yaml names the file.",
    suffixes: &["jsonl"],
    framing: Framing::LINES,
    options: OPTIONS,
    renderer,
    ..*llava::FORMAT
};

/// What can be said of such an output.
pub(super) const OPTIONS: &[super::FormatOption] = &[
    chat::FROM,
    chat::QUESTIONS,
    chat::QUESTION,
    chat::SYSTEM,
    chat::TOKEN,
    chat::IDS,
    chat::VIDEOS,
    chat::VIDEO_TOKEN,
];

/// A token stands for the image of its number, wherever it is.
pub(super) const USUAL: Usual = Usual {
    images: Images::List,
    system: System::Move,
    token: TokenPlace::Keep,
    ids: Ids::Keep,
};

fn renderer(options: &Options, setting: Setting) -> Made {
    chat::renderer(SHAPE, USUAL, options, setting)
}
