//! The training of Qwen2.5-VL and Qwen3-VL.

use super::Trainer;
use super::check::{Check, Effect, Find};
use super::container::Container;
use super::length::ImageTokens;
use super::llava_next::SKIPS;
use super::record::View;
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "qwen_vl",
    title: "Qwen-VL finetune",
    reads: "LLaVA's records, one a line or in one array; `image` a path or a list.",
    view: View {
        // Whoever is not `human` is taken for the model.
        assistant: &["gpt", "system"],
        ..llava::VIEW
    },
    containers: &[Container::Array, Container::Lines],
    max_tokens: None,
    image_tokens: ImageTokens::Patches {
        side: 28,
        most: 16_384 * 28 * 28,
    },
    checks: CHECKS,
    ..llava::TRAINER
};

/// Proportions.
pub const RATIO: Check = Check {
    code: "image_ratio",
    rule: "No image is more than 200 times longer than wide.",
    effect: Effect::Skip,
    loader: SKIPS,
    cure: "image_aspect_ratio_filter: {max_ratio: 200, min_ratio: 0.005}",
    find: Find::Row(rules::image_ratio),
};

/// Sides.
pub const SIDES: Check = Check {
    code: "image_small",
    rule: "Both sides of an image have at least 28 pixels.",
    effect: Effect::CrashMiddle,
    loader: "a ValueError in processors of transformers of 2024-25; later ones enlarge it",
    cure: "image_shape_filter: {min_width: 28, min_height: 28}",
    find: Find::Row(rules::image_sides),
};

const CHECKS: &[Check] = &[
    Check {
        rule: "The file is one JSON array, or lines under a name that ends in .jsonl; not compressed.",
        cure: "djr convert --to llava_jsonl",
        find: Find::File(|file| {
            let lines = file.container == Container::Lines;
            let named = file
                .path
                .extension()
                .is_some_and(|suffix| suffix == "jsonl");
            rules::container(file).or_else(|| {
                (lines != named).then(|| {
                    format!(
                        "it is {}, and its name says otherwise",
                        file.container.words()
                    )
                })
            })
        }),
        ..llava::ARRAY
    },
    llava::MARK,
    llava::ROWS,
    Check {
        code: "blank_lines",
        rule: "There are no blank lines.",
        effect: Effect::CrashStart,
        loader: "`json.loads` fails on an empty text",
        cure: "djr convert --to llava_jsonl",
        find: Find::File(rules::no_blank),
    },
    llava::READABLE.skipped(SKIPS),
    llava::IMAGES.skipped(SKIPS),
    llava::CONTENTS.skipped(SKIPS),
    Check {
        code: "tokens_differ",
        rule: "The turns of `human` have as many `<image>` as the row has images.",
        effect: Effect::Skip,
        loader: SKIPS,
        cure: "djr convert --to llava_jsonl puts tokens where there are none, and sets other rows aside",
        find: Find::Row(rules::tokens_fit_user),
    },
    Check {
        code: "system_trained",
        rule: "No turn is a system text.",
        effect: Effect::Wrong,
        loader: "takes it for an answer, and trains on it",
        cure: "--system move or drop",
        find: Find::Row(rules::no_system),
    },
    llava::ANSWERS,
    RATIO,
    SIDES,
    llava::LENGTH,
];
