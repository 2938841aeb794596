//! LLaMA-Factory.

use serde_json::Value;

use super::Trainer;
use super::check::{Check, Effect, FileFacts, Find, Look};
use super::container::{Container, object_in};
use super::length::ImageTokens;
use super::qwen_vl::SIDES;
use super::record::View;
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "llama_factory",
    title: "LLaMA-Factory",
    reads: "`messages` (or `conversations`, or Alpaca's fields) and `images`, in lines or an array, by an entry of `dataset_info.json`.",
    view: View {
        turns: &["messages", "conversations"],
        role: &["role", "from"],
        content: &["content", "value"],
        images: &["images"],
        asked: &["instruction"],
        answered: &["output"],
        user: &["user", "human", "observation"],
        assistant: &["assistant", "gpt", "function_call", "function"],
        system: &["system"],
        tools: &[],
    },
    containers: &[Container::Array, Container::Lines, Container::Columns],
    from_working_dir: false,
    infers_types: true,
    max_tokens: Some(2048),
    image_tokens: ImageTokens::Patches {
        side: 28,
        most: 768 * 768,
    },
    checks: CHECKS,
};

const MAP: &str = "the whole map fails on one row (ValueError)";

/// One type a column.
pub const ONE_TYPE: Check = Check {
    code: "column_mixed",
    rule: "A column has one type.",
    effect: Effect::CrashStart,
    loader: "`datasets` before 4 stops; later it falls back to a column of free JSON",
    cure: "--ids string; djr convert --to messages writes one type a column",
    find: Find::File(rules::one_type),
};

/// Types come early.
pub const TYPES_EARLY: Check = Check {
    code: "column_late",
    rule: "The first 10 MiB of a file of lines have every column, with its type.",
    effect: Effect::CrashStart,
    loader: "`datasets` cannot cast what comes later",
    cure: "--first-row complete, which is what djr convert --to messages does; or one JSON array",
    find: Find::File(rules::types_early),
};

/// What `datasets` reads.
pub const CONTAINER: Check = Check {
    code: "container_unread",
    rule: "The file is a JSON array, lines, or columns.",
    effect: Effect::CrashStart,
    loader: "`datasets` finds no rows in it",
    cure: "djr convert --to messages",
    find: Find::File(rules::container),
};

const CHECKS: &[Check] = &[
    CONTAINER,
    llava::ROWS,
    ONE_TYPE,
    TYPES_EARLY,
    Check {
        code: "info_incomplete",
        rule: "The entry of `dataset_info.json` names every column and tag that the rows have.",
        effect: Effect::Skip,
        loader: "once `columns` or `tags` are given, those that are not named count as absent: rows with a system text are dropped",
        cure: "djr convert --to messages writes a complete one beside its output",
        find: Find::File(info),
    },
    Check {
        effect: Effect::CrashStart,
        loader: "the converter fails",
        cure: "djr convert --to messages",
        ..llava::READABLE
    },
    Check {
        effect: Effect::CrashStart,
        loader: "for models that open images while the set is mapped; else in the middle of training",
        ..llava::IMAGES
    },
    Check {
        effect: Effect::Skip,
        loader: "the row is dropped with a warning",
        cure: "djr convert sets such rows aside (turns_unbalanced)",
        rule: "After a system text at the start, user and assistant take turns, in pairs.",
        find: Find::Row(|look| rules::roles_known(look).or_else(|| rules::roles_alternate(look))),
        ..llava::ROLES
    },
    Check {
        effect: Effect::CrashStart,
        loader: MAP,
        ..llava::CONTENTS
    },
    Check {
        code: "tokens_differ",
        rule: "All turns together have as many `<image>` as the row has images.",
        effect: Effect::CrashStart,
        loader: MAP,
        cure: "djr convert --to messages puts tokens where there are none, and sets other rows aside",
        find: Find::Row(rules::tokens_fit),
    },
    Check {
        code: "media_mark",
        rule: "There are as many `<video>` and `<audio>` in the texts as videos and audios.",
        effect: Effect::CrashStart,
        loader: MAP,
        cure: "replace_content_mapper, or leave such rows out",
        find: Find::Row(media),
    },
    Check {
        code: "image_vanishes",
        rule: "No image is 590,000 times longer than wide.",
        effect: Effect::CrashMiddle,
        loader: "shrinks it to no width",
        cure: "image_aspect_ratio_filter",
        find: Find::Row(rules::image_stays),
    },
    SIDES,
    Check {
        effect: Effect::CrashMiddle,
        loader: "cuts image tokens: \"image features and image tokens do not match\"",
        cure: "a larger cutoff_len; text_length_filter",
        ..llava::LENGTH
    },
    llava::ANSWERS,
];

/// Marks of other media, as often as there are media.
fn media(look: &Look<'_>) -> Option<String> {
    let record = look.read()?;
    [("<video>", "videos"), ("<audio>", "audios")]
        .into_iter()
        .find_map(|(mark, field)| {
            let there = match look.sample.value(&crate::sample::FieldPath::new(field)) {
                Ok(Some(Value::Array(items))) => items.len(),
                Ok(Some(Value::String(_))) => 1,
                _ => 0,
            };
            let found = record.count(mark);
            (found != there).then(|| format!("{found} {mark} for {there} {field}"))
        })
}

/// What is wrong with the entry of a file in the `dataset_info.json` beside it.
fn info(file: &FileFacts<'_>) -> Option<String> {
    let path = file.path.with_file_name("dataset_info.json");
    let name = file.path.file_name()?.to_string_lossy().into_owned();
    let Some(entries) = object_in(&path) else {
        return Some(format!("there is no {}", path.display()));
    };
    let of_file = |(_, entry): &(&String, &Value)| {
        entry.get("file_name").and_then(Value::as_str) == Some(name.as_str())
    };
    let Some((entry, said)) = entries.iter().find(of_file) else {
        return Some(format!("{} has no entry of {name}", path.display()));
    };
    let columns = said.get("columns").and_then(Value::as_object);
    let tags = said.get("tags").and_then(Value::as_object);
    let formatting = said.get("formatting").and_then(Value::as_str);
    let sharegpt = matches!(formatting, Some("sharegpt" | "openai"));
    // Without columns, the names are LLaVA's; with some, those that are not named are absent.
    let wanted: &[&str] = match (columns, sharegpt) {
        (Some(_), true) => &["messages"],
        (Some(_), false) => &["prompt", "response"],
        (None, _) => &[],
    };
    if let Some(columns) = columns
        && let Some(lacking) = wanted.iter().find(|name| !columns.contains_key(**name))
    {
        return Some(format!("entry '{entry}' names no column '{lacking}'"));
    }
    if file.columns.has("images") && columns.is_none_or(|columns| !columns.contains_key("images")) {
        return Some(format!("entry '{entry}' names no column 'images'"));
    }
    if sharegpt && file.columns.has("messages") && tags.is_none() {
        return Some(format!("entry '{entry}' names no tags"));
    }
    let tags = tags?;
    [
        "role_tag",
        "content_tag",
        "user_tag",
        "assistant_tag",
        "system_tag",
    ]
    .into_iter()
    .find(|tag| !tags.contains_key(*tag))
    .map(|tag| format!("entry '{entry}' names no '{tag}'"))
}
