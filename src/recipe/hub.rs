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

/// Whether a directory is one of a data set in the cache: each revision's names lead to contents
/// that lie beside them, so that a file is there twice and more.
#[must_use]
pub fn is_cached(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).is_dir();
    has("snapshots") && (has("blobs") || has("refs"))
}

/// The folder of the revision `main` of a data set in the cache, or of the only one that is there.
#[must_use]
pub fn snapshot(dir: &Path) -> Option<PathBuf> {
    let all = dir.join("snapshots");
    let main = fs::read_to_string(dir.join("refs/main")).ok();
    let main = main.map(|commit| all.join(commit.trim()));
    main.filter(|it| it.is_dir()).or_else(|| {
        let mut all = fs::read_dir(&all).ok()?.flatten().map(|it| it.path());
        let only = all.next()?;
        all.next().is_none().then_some(only)
    })
}

/// What puts it there.
#[must_use]
pub fn hint(place: HubPlace<'_>) -> String {
    format!(
        "this djr fetches nothing (one with the cargo feature `remote` does): `hf download --repo-type dataset {} --revision {}` puts it there",
        place.set, place.revision
    )
}

/// The words by which `load_dataset` knows the splits.
const TRAIN: &[&str] = &["train", "training"];
const VALIDATION: &[&str] = &["validation", "valid", "val", "dev"];
const TEST: &[&str] = &["test", "testing", "eval", "evaluation"];

/// The splits that files are of, if their names, as the hub has them (`train-00000-of-00002.parquet`),
/// say that they are of several.
#[must_use]
pub fn splits(files: &[PathBuf]) -> Option<Vec<&'static str>> {
    let mut found = [
        ("train", TRAIN, false),
        ("validation", VALIDATION, false),
        ("test", TEST, false),
    ];
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let (word, rest) = name.split_once('-').unwrap_or((&name, ""));
        let shard = rest.split(['-', '.']).nth(1) == Some("of");
        for (_, words, is_there) in &mut found {
            *is_there |= shard && words.contains(&word);
        }
    }
    let names: Vec<&str> = found.into_iter().filter(|it| it.2).map(|it| it.0).collect();
    (names.len() > 1).then_some(names)
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
    let train = |path: &PathBuf| says(path, TRAIN);
    let other = |path: &PathBuf| says(path, VALIDATION) || says(path, TEST);
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
