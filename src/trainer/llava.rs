//! LLaVA's training.

use super::Trainer;
use super::check::{Check, Effect, Find};
use super::container::Container;
use super::length::ImageTokens;
use super::record::View;
use super::rules;

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "llava",
    title: "LLaVA",
    reads: "One JSON array of records with `conversations` and, for pictures, `image`.",
    view: VIEW,
    containers: &[Container::Array],
    from_working_dir: false,
    infers_types: false,
    max_tokens: Some(2048),
    image_tokens: ImageTokens::Fixed(576),
    checks: CHECKS,
};

/// Where its records have what it reads.
pub const VIEW: View = View {
    turns: &["conversations"],
    role: &["from"],
    content: &["value"],
    images: &["image"],
    asked: &[],
    answered: &[],
    user: &["human"],
    assistant: &["gpt"],
    system: &[],
    tools: &[],
};

/// The file is one JSON array.
pub const ARRAY: Check = Check {
    code: "container_unread",
    rule: "The file is one JSON array, not compressed.",
    effect: Effect::CrashStart,
    loader: "`json.load` fails, or gives no list",
    cure: "djr convert --to llava",
    find: Find::File(rules::container),
};

/// No byte order mark.
pub const MARK: Check = Check {
    code: "byte_order_mark",
    rule: "The file has no byte order mark.",
    effect: Effect::CrashStart,
    loader: "`json.load` refuses it",
    cure: "write it again: djr never writes one",
    find: Find::File(rules::no_mark),
};

/// There are rows.
pub const ROWS: Check = Check {
    code: "rows_none",
    rule: "The file has rows.",
    effect: Effect::CrashStart,
    loader: "it has nothing to train on",
    cure: "see why the run that wrote it kept none: djr report",
    find: Find::File(rules::has_rows),
};

/// A row has turns.
pub const READABLE: Check = Check {
    code: "record_unreadable",
    rule: "A row has its turns and images where the loader looks for them, in valid Unicode.",
    effect: Effect::CrashMiddle,
    loader: "a KeyError or TypeError in a worker",
    cure: "djr convert --to llava",
    find: Find::Row(rules::readable),
};

/// Images decode.
pub const IMAGES: Check = Check {
    code: "image_undecodable",
    rule: "Every image is there and decodes to its end.",
    effect: Effect::CrashMiddle,
    loader: "an error of Pillow in a worker, no retry",
    cure: "--validate decode; --paths relative or --image-root if the images have moved",
    find: Find::Row(rules::images_decode),
};

/// The key of an image that is none.
pub const IMAGE_NAMED: Check = Check {
    code: "image_empty",
    rule: "A row without an image has no key `image`, not an empty one.",
    effect: Effect::CrashMiddle,
    loader: "takes the folder of the images for one",
    cure: "djr convert --from llava --to llava",
    find: Find::Row(rules::image_named),
};

/// Roles.
pub const ROLES: Check = Check {
    code: "roles_order",
    rule: "`human` and `gpt` take turns, nobody else speaks.",
    effect: Effect::CrashMiddle,
    loader: "a KeyError or an assertion in a worker",
    cure: "--system move or drop; djr convert sets other rows aside",
    find: Find::Row(rules::roles_alternate_from_user),
};

/// Contents.
pub const CONTENTS: Check = Check {
    code: "content_missing",
    rule: "Every turn has a text.",
    effect: Effect::CrashMiddle,
    loader: "a TypeError in a worker",
    cure: "djr convert sets such rows aside",
    find: Find::Row(rules::contents),
};

/// An image has its token.
pub const TOKEN_MISSING: Check = Check {
    code: "token_missing",
    rule: "A row with an image has `<image>` for it.",
    effect: Effect::Wrong,
    loader: "the picture is not put anywhere: the answer is learnt without it",
    cure: "djr convert puts one where there is none",
    find: Find::Row(rules::token_for_image),
};

/// One image, one token.
pub const TOKENS_SPREAD: Check = Check {
    code: "tokens_spread",
    rule: "The `<image>` of a row with one image stand in one turn.",
    effect: Effect::Wrong,
    loader: "takes the next sample's picture for the second, or an IndexError in the model",
    cure: "djr convert sets such rows aside (image_token_count)",
    find: Find::Row(rules::one_token),
};

/// No token without an image.
pub const TOKEN_ALONE: Check = Check {
    code: "token_without_image",
    rule: "A row without an image has no `<image>` in its texts.",
    effect: Effect::Wrong,
    loader: "reads it as text, or finds no picture in the model",
    cure: "djr convert sets such rows aside (image_token_without_image)",
    find: Find::Row(rules::no_token_without_image),
};

/// Marks of the template.
pub const MARKS: Check = Check {
    code: "template_mark",
    rule: "No text holds what the chat template puts between turns (see `--template`).",
    effect: Effect::Wrong,
    loader: "the whole row is masked (\"tokenization mismatch\")",
    cure: "djr convert --for llava sets such rows aside",
    find: Find::Row(rules::no_template_marks),
};

/// Length.
pub const LENGTH: Check = Check {
    code: "too_long",
    rule: "Texts and images have no more tokens than the model takes (`--max-tokens`).",
    effect: Effect::Wrong,
    loader: "cut on the right; where the question fills it nothing is learnt",
    cure: "text_length_filter; a larger model_max_length",
    find: Find::Row(rules::short_enough),
};

/// Answers.
pub const ANSWERS: Check = Check {
    code: "answer_empty",
    rule: "No answer is empty.",
    effect: Effect::Wrong,
    loader: "learns to say nothing",
    cure: "djr convert sets such rows aside (caption_empty)",
    find: Find::Row(rules::answers_not_empty),
};

/// Tiny images.
pub const TINY: Check = Check {
    code: "image_tiny",
    rule: "No image is 1 or 3 pixels high.",
    effect: Effect::CrashMiddle,
    loader: "the processor takes rows for channels: a ValueError at 1x1, wrong pixels at height 3",
    cure: "image_shape_filter: {min_height: 4}",
    find: Find::Row(rules::image_not_tiny),
};

const PLAIN: Check = Check {
    code: "plain_pair",
    rule: "With `--template plain` (pretraining) a row has two turns, `<image>` in the first, and an image.",
    effect: Effect::CrashMiddle,
    loader: "an assertion in a worker",
    cure: "djr convert --to llava --question TEXT, over rows with an image",
    find: Find::Row(rules::plain_pair),
};

const CHECKS: &[Check] = &[
    ARRAY,
    MARK,
    ROWS,
    READABLE,
    IMAGES,
    IMAGE_NAMED,
    Check {
        code: "images_several",
        rule: "`image` is one path.",
        effect: Effect::CrashMiddle,
        loader: "cannot join a list to a folder",
        cure: "--images one",
        find: Find::Row(|look| {
            let field = look.read()?.image_field.as_ref()?;
            field.is_array().then(|| "`image` is a list".to_owned())
        }),
    },
    PLAIN,
    ROLES,
    CONTENTS,
    TOKEN_MISSING,
    TOKENS_SPREAD,
    TOKEN_ALONE,
    MARKS,
    LENGTH,
    ANSWERS,
    TINY,
];
