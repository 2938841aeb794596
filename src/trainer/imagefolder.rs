//! Hugging Face's image folders, which any program that uses `datasets` reads.

use std::path::{Component, Path};

use super::Trainer;
use super::check::{Check, Effect, Find, Look};
use super::container::Container;
use super::length::ImageTokens;
use super::llama_factory::{CONTAINER, ONE_TYPE, TYPES_EARLY};
use super::record::View;
use super::{llava, rules};

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "imagefolder",
    title: "Hugging Face image folder",
    reads: "`metadata.jsonl` beside its images, with `file_name` or `file_names`.",
    view: View {
        turns: &[],
        role: &[],
        content: &[],
        images: &["file_names", "file_name"],
        asked: &[],
        answered: &[],
        user: &[],
        assistant: &[],
        system: &[],
        tools: &[],
    },
    containers: &[Container::Lines, Container::Columns],
    from_working_dir: false,
    infers_types: true,
    max_tokens: None,
    image_tokens: ImageTokens::Fixed(0),
    checks: CHECKS,
};

const CHECKS: &[Check] = &[
    Check {
        cure: "djr convert --to imagefolder",
        ..CONTAINER
    },
    Check {
        code: "metadata_name",
        rule: "The file is called metadata.jsonl, metadata.csv or metadata.parquet.",
        effect: Effect::Wrong,
        loader: "does not look at it: the images come without what it says of them",
        cure: "djr convert --to imagefolder -o DIR/metadata.jsonl",
        find: Find::File(|file| {
            let name = file.path.file_name()?.to_string_lossy();
            let known = ["metadata.jsonl", "metadata.csv", "metadata.parquet"];
            (!known.contains(&name.as_ref())).then(|| format!("it is called {name}"))
        }),
    },
    llava::ROWS,
    ONE_TYPE,
    TYPES_EARLY,
    Check {
        code: "file_name_missing",
        rule: "A row names its image (`file_name`, `file_names`, or a name that ends so).",
        effect: Effect::CrashStart,
        loader: "a ValueError",
        cure: "djr convert --to imagefolder",
        find: Find::Row(|look| {
            let named = |key: &str| key.ends_with("file_name") || key.ends_with("file_names");
            rules::readable(look).or_else(|| {
                let any = look.sample.keys().any(|key| named(&key));
                (!any).then(|| "it names no file".to_owned())
            })
        }),
    },
    Check {
        code: "path_outside",
        rule: "Paths are relative and stay inside the folder.",
        effect: Effect::CrashStart,
        loader: "a ValueError for absolute paths, `..` that leave it, and URLs",
        cure: "djr convert --to imagefolder, with the images below the folder",
        find: Find::Row(outside),
    },
    Check {
        effect: Effect::CrashMiddle,
        loader: "an error where the row is read",
        ..llava::IMAGES
    },
];

fn outside(look: &Look<'_>) -> Option<String> {
    let mut slots = look.read()?.images.iter();
    slots
        .find(|slot| leaves(slot.written()))
        .map(|slot| format!("{} does not stay inside", slot.written()))
}

/// Whether a path leaves the folder where it starts.
fn leaves(path: &str) -> bool {
    let mut depth = 0_i64;
    for part in Path::new(path).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return true,
        }
        if depth < 0 {
            return true;
        }
    }
    path.contains("://")
}
