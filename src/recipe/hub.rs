//! Hugging Face's cache of data sets: where `hf://datasets/ORG/NAME` lies on this machine.
//!
//! Who downloads a data set (`hf download`, `load_dataset`, `snapshot_download`) leaves its files
//! there. What is not there is read from the hub itself ([`crate::io::remote`]).

use std::fs;
use std::path::{Path, PathBuf};

use crate::io::remote::HubPlace;

/// The folder of the cache, as Hugging Face's library finds it.
#[must_use]
pub fn cache(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let named = |name: &str| env(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    named("HF_HUB_CACHE")
        .or_else(|| named("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| named("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| named("XDG_CACHE_HOME").map(|home| home.join("huggingface/hub")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// The folder of a data set's revision in `cache`; `None` if it is not there.
#[must_use]
pub fn folder(place: HubPlace<'_>, cache: &Path) -> Option<PathBuf> {
    let folder = cache.join(format!("datasets--{}", place.set.replace('/', "--")));
    let commit = fs::read_to_string(folder.join("refs").join(place.revision));
    let commit = commit.map_or_else(|_| place.revision.to_owned(), |it| it.trim().to_owned());
    let snapshot = folder.join("snapshots").join(commit);
    snapshot.is_dir().then_some(snapshot)
}

/// What puts it there.
#[must_use]
pub fn hint(place: HubPlace<'_>) -> String {
    format!(
        "this djr fetches nothing (one with the cargo feature `remote` does): `hf download --repo-type dataset {} --revision {}` puts it there",
        place.set, place.revision
    )
}

/// Of files below `folder` whose names say that they are of several splits, those for training, as
/// `load_dataset(…, split="train")` reads them; and how many others there are.
#[must_use]
pub fn for_training(folder: &Path, files: Vec<PathBuf>) -> (Vec<PathBuf>, usize) {
    let says = |path: &PathBuf, words: &[&str]| {
        let name = path
            .strip_prefix(folder)
            .unwrap_or(path)
            .to_string_lossy()
            .to_lowercase();
        name.split(|c: char| !c.is_alphanumeric())
            .any(|word| words.contains(&word))
    };
    let train = |path: &PathBuf| says(path, &["train", "training"]);
    let other = |path: &PathBuf| {
        says(
            path,
            &[
                "test",
                "testing",
                "eval",
                "evaluation",
                "validation",
                "valid",
                "val",
                "dev",
            ],
        )
    };
    if !files.iter().any(train) {
        return (files, 0);
    }
    let before = files.len();
    let kept: Vec<PathBuf> = files
        .into_iter()
        .filter(|it| train(it) || !other(it))
        .collect();
    let others = before - kept.len();
    (kept, others)
}
