//! Hugging Face's cache of data sets: where `hf://datasets/ORG/NAME` lies on this machine.
//!
//! Nothing is fetched. Who downloads a data set (`hf download`, `load_dataset`, `snapshot_download`)
//! leaves its files there.

use std::fs;
use std::path::{Path, PathBuf};

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

/// A place in a data set of the hub.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// `ORG/NAME`.
    set: &'a str,
    /// A branch, a tag or a commit.
    revision: &'a str,
    /// A file, a folder or a pattern in it; empty for all of it.
    pub path: &'a str,
}

impl<'a> Place<'a> {
    /// What stands behind `hf://`.
    #[must_use]
    pub fn parse(written: &'a str) -> Option<Self> {
        let rest = written.strip_prefix("datasets/")?;
        let (organisation, rest) = rest.split_once('/')?;
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let plain = |text: &str| {
            let sound = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !text.is_empty() && !text.starts_with('.') && text.chars().all(sound)
        };
        let climbs = path.split('/').any(|part| part == "..");
        let end = organisation.len() + 1 + name.len();
        let set = written.strip_prefix("datasets/")?.get(..end)?;
        (plain(organisation) && plain(name) && plain(revision) && !climbs).then_some(Self {
            set,
            revision,
            path,
        })
    }

    /// The folder of its revision in `cache`; `None` if it is not there.
    #[must_use]
    pub fn folder(&self, cache: &Path) -> Option<PathBuf> {
        let folder = cache.join(format!("datasets--{}", self.set.replace('/', "--")));
        let commit = fs::read_to_string(folder.join("refs").join(self.revision));
        let commit = commit.map_or_else(|_| self.revision.to_owned(), |it| it.trim().to_owned());
        let snapshot = folder.join("snapshots").join(commit);
        snapshot.is_dir().then_some(snapshot)
    }

    /// What puts it there.
    #[must_use]
    pub fn hint(&self) -> String {
        format!(
            "djr fetches nothing: `hf download --repo-type dataset {} --revision {}` puts it there",
            self.set, self.revision
        )
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = |set, revision, path| {
            Some(Place {
                set,
                revision,
                path,
            })
        };
        assert_eq!(Place::parse("datasets/a/b"), place("a/b", "main", ""));
        assert_eq!(
            Place::parse("datasets/a/b@v1.0/data/*.parquet"),
            place("a/b", "v1.0", "data/*.parquet")
        );
        for other in [
            "a/b",
            "datasets/a",
            "datasets/../b",
            "datasets/a/b/../../x",
            "datasets/a/b@..",
        ] {
            assert_eq!(Place::parse(other), None, "{other}");
        }
    }
}
