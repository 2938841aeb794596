//! ms-swift.

use super::Trainer;
use super::check::{Check, Effect, Find};
use super::container::Container;
use super::length::ImageTokens;
use super::llama_factory::{CONTAINER, ONE_TYPE, TYPES_EARLY};
use super::qwen_vl::{RATIO, SIDES};
use super::record::View;
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "ms_swift",
    title: "ms-swift",
    reads: "`messages` and `images`, in lines or an array; LLaVA's records, OpenAI's parts and Alpaca's fields, too.",
    view: View {
        turns: &["messages", "conversations", "conversation"],
        role: &["role", "from"],
        content: &["content", "value"],
        images: &["images", "image"],
        asked: &[
            "instruction",
            "query",
            "prompt",
            "input",
            "question",
            "problem",
        ],
        answered: &[
            "output",
            "response",
            "answer",
            "targets",
            "target",
            "answer_key",
            "answers",
            "solution",
            "text",
            "completion",
            "content",
        ],
        user: &["user", "human"],
        assistant: &["assistant", "gpt", "bot"],
        system: &["system"],
        tools: &["tool", "tool_call", "tool_response"],
    },
    containers: &[Container::Array, Container::Lines, Container::Columns],
    from_working_dir: true,
    infers_types: true,
    max_tokens: None,
    image_tokens: ImageTokens::Patches {
        side: 28,
        most: 16_384 * 28 * 28,
    },
    checks: CHECKS,
};

const DELETES: &str = "the row is deleted, with a traceback for the first ten (unless --strict)";

/// What the loader reads as something else than words.
const MARKS: &[&str] = &[
    "<video>",
    "<audio>",
    "<bbox>",
    "<ref-object>",
    "<cot-process>",
    "<start-image>",
    "<img>",
];

const CHECKS: &[Check] = &[
    CONTAINER,
    llava::ROWS,
    ONE_TYPE,
    TYPES_EARLY,
    Check {
        code: "record_unmapped",
        rule: "A row has `messages` or `conversations`, and images under one name.",
        effect: Effect::Wrong,
        loader: "guesses columns: a row of `text` and `images` is read as an answer without a question",
        cure: "djr convert --to messages",
        find: Find::Row(|look| {
            let both = look.sample.has("image") && look.sample.has("images");
            rules::readable(look)
                .or_else(|| both.then(|| "it has both 'image' and 'images'".to_owned()))
        }),
    },
    llava::IMAGES
        .skipped("another row is drawn in its place; deleted where rows are mapped before"),
    Check {
        code: "role_unknown",
        rule: "Every turn is of the system, a user, an assistant or a tool, and there are some.",
        effect: Effect::Skip,
        loader: DELETES,
        cure: "djr convert --to messages sets such rows aside (role_unknown)",
        find: Find::Row(rules::roles_known),
    },
    llava::CONTENTS.skipped(DELETES),
    Check {
        code: "tokens_too_many",
        rule: "There are no more `<image>` in the turns than images.",
        effect: Effect::Wrong,
        loader: "what is left over stays as text",
        cure: "djr convert --to messages sets such rows aside (image_token_count)",
        find: Find::Row(rules::no_token_too_many),
    },
    Check {
        code: "images_too_many",
        rule: "There are no more images than `<image>` in the turns.",
        effect: Effect::CrashMiddle,
        loader: "depends on the template: put in front, or the model finds that tokens and features differ",
        cure: "djr convert --to messages puts tokens where there are none",
        find: Find::Row(rules::no_image_too_many),
    },
    Check {
        code: "media_mark",
        rule: "There are as many `<video>` in the texts as `videos`, and no text holds a mark of other media (`<audio>`, `<bbox>`, `<img>`, …).",
        effect: Effect::Wrong,
        loader: "reads it as what it marks",
        cure: "replace_content_mapper, or leave such rows out",
        find: Find::Row(|look| {
            let [video, others @ ..] = MARKS else {
                return None;
            };
            rules::videos_differ(look, video).or_else(|| rules::marked(look, others))
        }),
    },
    RATIO.skipped("another row is drawn in its place"),
    SIDES,
    Check {
        cure: "text_length_filter; a larger max_length",
        ..llava::LENGTH
            .skipped("longer than max_length: another row is drawn, after ten a ValueError")
    },
    llava::ANSWERS,
];
