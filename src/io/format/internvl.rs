//! LLaVA's conversations one a line, and the meta file by which InternVL's training finds them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::beside::{self, Beside, Written};
use super::llava_jsonl::{OPTIONS, USUAL};
use super::{Format, Made, Options, Setting, chat, llava, llava_jsonl};
use crate::io::paths::PathStyle;

/// The format.
pub const FORMAT: &Format = &Format {
    name: "internvl",
    summary: "LLaVA's conversations one a line, and beside them the meta file (`NAME.meta.json`) by which InternVL finds them.",
    beside: Some(&Beside {
        file: meta_file,
        shared: false,
        entry: meta_entry,
    }),
    options: OPTIONS,
    renderer,
    ..*llava_jsonl::FORMAT
};

fn renderer(options: &Options, setting: Setting) -> Made {
    chat::renderer(llava::SHAPE, USUAL, options, setting)
}

/// `train.jsonl` has `train.meta.json`.
fn meta_file(output: &Path) -> PathBuf {
    output.with_file_name(format!("{}.meta.json", beside::entry_name(output)))
}

fn meta_entry(written: &Written<'_>) -> Value {
    // Where the images are: paths that are absolute stay what they are.
    let root = match (written.paths, written.file.parent()) {
        (PathStyle::Relative, Some(directory)) => format!("{}/", directory.display()),
        _ => String::new(),
    };
    json!({
        "root": root,
        "annotation": written.file.display().to_string(),
        "data_augment": false,
        "repeat_time": 1,
        "length": written.records,
    })
}
