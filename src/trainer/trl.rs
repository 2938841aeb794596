//! TRL's SFT trainer for vision models.

use super::Trainer;
use super::check::{Check, Effect, Find, Look};
use super::container::Container;
use super::length::ImageTokens;
use super::llama_factory::{CONTAINER, ONE_TYPE, TYPES_EARLY};
use super::qwen_vl::RATIO;
use super::record::View;
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "trl",
    title: "TRL",
    reads: "`messages` of texts or blocks, and `images` in every row, in lines or an array.",
    view: View {
        turns: &["messages", "prompt"],
        role: &["role"],
        content: &["content"],
        images: &["images", "image"],
        asked: &[],
        answered: &[],
        user: &["user"],
        assistant: &["assistant"],
        system: &["system"],
        tools: &["tool"],
    },
    containers: &[Container::Array, Container::Lines, Container::Columns],
    from_working_dir: true,
    infers_types: true,
    max_tokens: Some(1024),
    image_tokens: ImageTokens::Patches {
        side: 28,
        most: 16_384 * 28 * 28,
    },
    checks: CHECKS,
};

const CHECKS: &[Check] = &[
    Check {
        cure: "djr convert --to trl",
        ..CONTAINER
    },
    llava::ROWS,
    ONE_TYPE,
    TYPES_EARLY,
    Check {
        cure: "djr convert --to trl",
        loader: "no column that it knows",
        effect: Effect::CrashStart,
        ..llava::READABLE
    },
    llava::IMAGES,
    Check {
        code: "role_unknown",
        rule: "Every turn is of `system`, `user`, `assistant` or `tool`.",
        effect: Effect::CrashMiddle,
        loader: "a ValueError in the collator",
        cure: "djr convert --from llava --to trl",
        find: Find::Row(rules::roles_known),
    },
    llava::CONTENTS,
    Check {
        code: "token_in_text",
        rule: "No text holds `<image>`.",
        effect: Effect::Wrong,
        loader: "it stays text; the images are put before the first question",
        cure: "djr convert --from messages --to trl makes blocks of it",
        find: Find::Row(|look| rules::marked(look, &[rules::TOKEN])),
    },
    Check {
        code: "blocks_differ",
        rule: "Where contents are lists there are as many image blocks as images.",
        effect: Effect::CrashMiddle,
        loader: "a ValueError in the collator",
        cure: "djr convert --to trl",
        find: Find::Row(blocks),
    },
    Check {
        code: "images_key_missing",
        rule: "Where some row has images, every row has the field, if only with an empty list.",
        effect: Effect::CrashMiddle,
        loader: "a KeyError in the collator; and the first row decides whether pictures are looked at",
        cure: "djr convert --to trl",
        find: Find::RowAmongImages(|look| {
            let field = &look.read()?.image_field;
            field
                .is_none()
                .then(|| "it has no field 'images'".to_owned())
        }),
    },
    Check {
        effect: Effect::CrashMiddle,
        loader: "a ValueError of Qwen's processor",
        ..RATIO
    },
    Check {
        effect: Effect::CrashMiddle,
        loader: "cuts image tokens: \"image features and image tokens do not match\"",
        cure: "max_length: null in the trainer's configuration",
        ..llava::LENGTH
    },
    llava::ANSWERS,
];

fn blocks(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    let mut lists = record
        .turns
        .iter()
        .filter_map(|turn| turn.blocks)
        .peekable();
    lists.peek()?;
    let blocks: usize = lists.sum();
    (blocks != record.images.len()).then(|| {
        let images = rules::images(record.images.len());
        format!("{blocks} image blocks for {images}")
    })
}
