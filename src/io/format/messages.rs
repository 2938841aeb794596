//! Messages one a line, as ms-swift reads them, and LLaMA-Factory by the `dataset_info.json` beside
//! them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::beside::{Beside, Written};
use super::chat::{self, Ids, System, Usual};
use super::conversation::TokenPlace;
use super::from::Images;
use super::shape::{ImageField, Parts, Roles, Shape, VideoField};
use super::{Format, Framing, Lead, Made, Options, Setting, llava};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "messages",
    summary: "Messages one a line, as ms-swift reads them, and LLaMA-Factory by the `dataset_info.json` beside them.",
    suffixes: &["jsonl"],
    framing: Framing::LINES,
    written_image_key: Some("images"),
    lead: Some(Lead::Without(b"\"images\": []")),
    beside: Some(&Beside {
        file: info_file,
        shared: true,
        entry: info_entry,
    }),
    options: OPTIONS,
    renderer,
    ..*llava::FORMAT
};

/// What can be said of messages.
const OPTIONS: &[super::FormatOption] = &[
    chat::FROM,
    chat::QUESTIONS,
    chat::QUESTION,
    chat::SYSTEM,
    chat::TOKEN,
    chat::IDS,
    chat::FIRST_ROW,
    chat::VIDEOS,
];

/// What outputs that `datasets` reads do unless options say otherwise: one type a column.
pub(super) const USUAL: Usual = Usual {
    images: Images::List,
    system: System::Keep,
    token: TokenPlace::Keep,
    ids: Ids::String,
};

/// How its records lie.
pub const SHAPE: &Shape = &Shape {
    turns: "messages",
    role: "role",
    content: "content",
    roles: Roles {
        system: "system",
        user: "user",
        assistant: "assistant",
    },
    parts: Parts::Text,
    images: ImageField::List("images"),
    videos: Some(VideoField::List("videos")),
};

fn renderer(options: &Options, setting: Setting) -> Made {
    chat::renderer(SHAPE, USUAL, options, setting)
}

/// LLaMA-Factory looks for this name in its `dataset_dir`.
fn info_file(output: &Path) -> PathBuf {
    output.with_file_name("dataset_info.json")
}

/// Once columns or tags are named, LLaMA-Factory takes those that are not for absent.
fn info_entry(written: &Written<'_>) -> Value {
    let name = written.file.file_name().unwrap_or_default();
    let mut columns = json!({"messages": SHAPE.turns, "images": "images"});
    if let (true, Value::Object(columns)) = (written.options.flag(chat::VIDEOS.name), &mut columns)
    {
        columns.insert("videos".to_owned(), "videos".into());
    }
    if let (Some("move"), Value::Object(columns)) =
        (written.options.word(chat::SYSTEM.name), &mut columns)
    {
        columns.insert("system".to_owned(), "system".into());
    }
    json!({
        "file_name": name.to_string_lossy(),
        "formatting": "sharegpt",
        "columns": columns,
        "tags": {
            "role_tag": SHAPE.role,
            "content_tag": SHAPE.content,
            "user_tag": SHAPE.roles.user,
            "assistant_tag": SHAPE.roles.assistant,
            "observation_tag": "observation",
            "function_tag": "function_call",
            "system_tag": SHAPE.roles.system,
        },
    })
}
