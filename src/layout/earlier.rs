//! What earlier runs wrote into a directory, by the manifests beside it: their outputs and records
//! are no inputs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Whether `dir` is what an analysis left.
pub fn is_analysis(dir: &Path) -> bool {
    let found = fs::read(dir.join("analysis.json")).unwrap_or_default();
    let found: Value = serde_json::from_slice(&found).unwrap_or_default();
    found.get("kind").is_some_and(|kind| kind == "analysis")
}

/// The files in `dir` that a manifest in it (`*.djr/manifest.json`) lists.
pub fn written(dir: &Path) -> HashSet<PathBuf> {
    listed_in(dir, |_| true)
}

/// Those of them that are records and no outputs: whoever names outputs by a pattern wants them.
pub fn records(dir: &Path) -> HashSet<PathBuf> {
    listed_in(dir, |key| key != "outputs")
}

/// The files that manifests in `dir` list under keys that `of` takes.
fn listed_in(dir: &Path, of: impl Fn(&str) -> bool) -> HashSet<PathBuf> {
    let mut found = HashSet::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let run_dir = entry.path();
        if run_dir
            .extension()
            .is_none_or(|extension| extension != "djr")
        {
            continue;
        }
        let manifest = fs::read(run_dir.join("manifest.json")).unwrap_or_default();
        // What is no manifest lists nothing.
        let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
        let mut listed = Vec::new();
        for (_, value) in manifest
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| of(key))
        {
            files_of(value, &mut listed);
        }
        // The run and what it wrote may have been moved together since.
        let ledger = manifest.pointer("/ledger/path").and_then(Value::as_str);
        let then = ledger.and_then(|path| Path::new(path).parent()?.parent());
        for path in listed.into_iter().map(Path::new) {
            let moved = then.and_then(|then| path.strip_prefix(then).ok());
            let moved = moved.map(|path| dir.join(path));
            found.extend(
                [Some(path.to_owned()), moved]
                    .into_iter()
                    .flatten()
                    .filter_map(real),
            );
        }
    }
    found
}

/// A path as it is without links, if it is there.
pub fn real(path: PathBuf) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// The paths of all files that a manifest has a digest of, wherever it has them.
fn files_of<'m>(value: &'m Value, listed: &mut Vec<&'m str>) {
    match value {
        Value::Object(map) => {
            if let (Some(Value::String(path)), Some(_)) = (map.get("path"), map.get("xxh3_128")) {
                listed.push(path);
            }
            map.values().for_each(|value| files_of(value, listed));
        }
        Value::Array(items) => items.iter().for_each(|value| files_of(value, listed)),
        _ => {}
    }
}
