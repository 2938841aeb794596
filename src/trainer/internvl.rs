//! The training of InternVL's chat models.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Trainer;
use super::check::{Check, Effect, FileFacts, Find};
use super::container::{Container, object_in};
use super::length::ImageTokens;
use super::record::View;
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "internvl",
    title: "InternVL chat",
    reads: "LLaVA's records one a line, by a meta file that names them; `image` a path or a list.",
    view: View {
        system: &["system"],
        ..llava::VIEW
    },
    containers: &[Container::Lines],
    max_tokens: Some(4096),
    image_tokens: ImageTokens::Tiles {
        each: 256,
        most: 12,
        side: 448,
    },
    checks: CHECKS,
    ..llava::TRAINER
};

const SKIPS: &str = "takes another row at random, ten times; after that the epoch ends early";

const CHECKS: &[Check] = &[
    Check {
        rule: "The file has JSON objects one a line, not compressed.",
        cure: "djr convert --to internvl",
        ..llava::ARRAY
    },
    llava::ROWS,
    Check {
        code: "annotation_name",
        rule: "The name of the file ends in `jsonl`.",
        effect: Effect::CrashStart,
        loader: "an assertion",
        cure: "djr convert --to internvl -o NAME.jsonl",
        find: Find::File(|file| {
            let name = file.path.to_string_lossy();
            (!name.ends_with("jsonl")).then(|| format!("it is called {name}"))
        }),
    },
    Check {
        code: "meta_length",
        rule: "`length` in the meta file is the number of rows.",
        effect: Effect::Wrong,
        loader: "the weights of the sets are wrong",
        cure: "djr convert --to internvl writes the meta file",
        find: Find::File(meta_length),
    },
    llava::READABLE.skipped(SKIPS),
    llava::IMAGES.skipped(SKIPS),
    Check {
        find: Find::Row(rules::roles_alternate),
        cure: "djr convert --to internvl sets such rows aside",
        rule: "After a system text, if there is one, `human` and `gpt` take turns, in pairs.",
        ..llava::ROLES.skipped(SKIPS)
    },
    llava::CONTENTS.skipped(SKIPS),
    Check {
        code: "tokens_differ",
        rule: "A row with several images, or several `<image>`, has as many of one as of the other.",
        effect: Effect::Skip,
        loader: SKIPS,
        cure: "djr convert --to internvl sets such rows aside (image_token_count)",
        find: Find::Row(rules::tokens_fit_several),
    },
    llava::TOKEN_ALONE,
    llava::LENGTH.skipped("\"image tokens are truncated\": takes another row at random"),
    llava::ANSWERS,
];

/// An entry of a meta file.
pub struct Entry {
    /// Where its images are.
    pub root: Option<PathBuf>,
    /// Its rows.
    pub annotation: PathBuf,
    /// How many rows it says there are.
    pub length: Option<u64>,
}

/// The entries of a meta file; `None` if `path` is something else.
pub fn entries(path: &Path) -> Option<Vec<Entry>> {
    if path.extension().is_none_or(|suffix| suffix != "json") {
        return None;
    }
    let entry = |value: Value| {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        Some(Entry {
            root: text("root")
                .filter(|root| !root.is_empty())
                .map(PathBuf::from),
            annotation: text("annotation")?.into(),
            length: value.get("length").and_then(Value::as_u64),
        })
    };
    object_in(path)?
        .into_iter()
        .map(|(_, value)| entry(value))
        .collect()
}

/// What the meta file beside a file, called after it, says of its rows.
fn meta_length(file: &FileFacts<'_>) -> Option<String> {
    let name = file.path.file_name()?.to_string_lossy();
    let stem = name.split('.').next()?;
    let directory = file.path.parent()?;
    let mut metas: Vec<PathBuf> = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".json") && (name.starts_with(stem) || name.contains("meta"))
        })
        .collect();
    metas.sort();
    metas.iter().find_map(|meta| {
        let mut entries = entries(meta)?.into_iter();
        let entry = entries.find(|entry| entry.annotation.file_name() == file.path.file_name())?;
        let length = entry.length?;
        (length != file.rows).then(|| {
            format!(
                "{} says {length}, there are {} rows",
                meta.display(),
                file.rows
            )
        })
    })
}
