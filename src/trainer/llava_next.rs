//! The training of LLaVA-NeXT and LLaVA-OneVision.

use super::Trainer;
use super::check::{Check, Effect, Find};
use super::record::View;
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "llava_next",
    title: "LLaVA-NeXT, LLaVA-OneVision",
    reads: "One JSON array as LLaVA's, `image` a path or a list; `.jsonl` only where a yaml names it.",
    view: View {
        role: &["from", "role"],
        content: &["value", "content"],
        user: &["human", "user"],
        assistant: &["gpt", "assistant"],
        ..llava::VIEW
    },
    checks: CHECKS,
    ..llava::TRAINER
};

/// What the loaders of LLaVA-NeXT and Qwen-VL do.
pub const SKIPS: &str =
    "waits three seconds and takes the next row; two such neighbours end the training";

const CHECKS: &[Check] = &[
    Check {
        cure: "djr convert --to llava --images list; or name the .jsonl in a yaml",
        ..llava::ARRAY
    },
    llava::MARK,
    llava::ROWS,
    llava::READABLE.skipped(SKIPS),
    llava::IMAGES.skipped(SKIPS),
    llava::IMAGE_NAMED.skipped(SKIPS),
    llava::ROLES.skipped(SKIPS),
    llava::CONTENTS.skipped(SKIPS),
    Check {
        code: "tokens_differ",
        rule: "A row with several images, or several `<image>`, has as many of one as of the other.",
        effect: Effect::Wrong,
        loader: "pictures come to stand elsewhere, or an IndexError in the model",
        cure: "djr convert --images list sets such rows aside (image_token_count)",
        find: Find::Row(rules::tokens_fit_several),
    },
    llava::TOKEN_MISSING,
    llava::TOKEN_ALONE,
    llava::MARKS,
    llava::LENGTH,
    Check {
        code: "words_none",
        rule: "Some turn of a row has a word.",
        effect: Effect::CrashStart,
        loader: "an assertion while lengths are counted",
        cure: "djr convert sets such rows aside (question_empty)",
        find: Find::Row(rules::has_words),
    },
    llava::ANSWERS,
    llava::TINY.skipped(
        "the processor takes rows for channels: the next row at 1x1, wrong pixels at height 3",
    ),
];
