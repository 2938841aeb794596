//! What earlier runs wrote into a directory, by the manifests beside it: their outputs and records
//! are no inputs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{AnalysisFiles, AnalysisKind, FileRecord, RunFiles};

/// The key of a manifest under which outputs stand.
pub(crate) const OUTPUTS: &str = "outputs";

/// What tells an analysis from other documents.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "kind")]
    _kind: AnalysisKind,
}

/// Whether `dir` is what an analysis left.
#[must_use]
pub fn is_analysis(dir: &Path) -> bool {
    let found = fs::read(AnalysisFiles::new(dir).json()).unwrap_or_default();
    serde_json::from_slice::<Head>(&found).is_ok()
}

/// The files in `dir` that a manifest in it (`*.djr/manifest.json`), or the record of a subset that
/// was copied, lists, as they are without links.
#[must_use]
pub fn written(dir: &Path) -> HashSet<PathBuf> {
    listed_in(dir, |_| true)
}

/// Those of them that are records and no outputs: a pattern that matches nothing but what runs wrote
/// means their outputs.
#[must_use]
pub fn records(dir: &Path) -> HashSet<PathBuf> {
    listed_in(dir, |key| key != OUTPUTS)
}

/// Whether a key of a manifest is that of outputs.
#[must_use]
pub fn is_outputs(key: &str) -> bool {
    key == OUTPUTS
}

/// The files that the manifest in a run's directory lists under keys that `of` takes, where they are
/// now. A manifest of any version says it.
#[must_use]
pub fn recorded_files(files: &RunFiles, of: impl Fn(&str) -> bool) -> Vec<FileRecord> {
    let record = fs::read(files.manifest()).unwrap_or_default();
    let record: Value = serde_json::from_slice(&record).unwrap_or_default();
    // The run and what it wrote may have been moved together since.
    let then = record.get("run_dir").and_then(Value::as_str);
    let then = then.and_then(|path| Path::new(path).parent());
    let now = files.dir.parent();
    let mut found = listed(&record, of);
    for file in &mut found {
        let moved = then.and_then(|then| file.path.strip_prefix(then).ok());
        if let (Some(moved), Some(now)) = (moved, now) {
            file.path = now.join(moved);
        }
    }
    found
}

/// The files that manifests in `dir` list under keys that `of` takes.
fn listed_in(dir: &Path, of: impl Fn(&str) -> bool) -> HashSet<PathBuf> {
    let mut found = HashSet::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let run_dir = entry.path();
        if !RunFiles::is_named_so(&run_dir) {
            continue;
        }
        let files = RunFiles::new(run_dir);
        for record in [files.manifest(), files.copied()] {
            // What is no manifest lists nothing.
            let record = fs::read(record).unwrap_or_default();
            let record: Value = serde_json::from_slice(&record).unwrap_or_default();
            // The run and what it wrote may have been moved together since.
            let then = record.get("run_dir").and_then(Value::as_str);
            let then = then.and_then(|path| Path::new(path).parent());
            for file in listed(&record, &of) {
                let moved = then.and_then(|then| file.path.strip_prefix(then).ok());
                let moved = moved.map(|path| dir.join(path));
                let paths = [Some(file.path.clone()), moved].into_iter().flatten();
                found.extend(paths.filter_map(|path| fs::canonicalize(path).ok()));
            }
        }
    }
    found
}

/// The files that a manifest has a digest of, under those of its keys that `of` takes. They are
/// found by how they are recorded and not by where, so that manifests of every version say which
/// files are not to be read again.
pub(crate) fn listed(manifest: &Value, of: impl Fn(&str) -> bool) -> Vec<FileRecord> {
    let mut found = Vec::new();
    let keys = manifest.as_object().into_iter().flatten();
    for (_, value) in keys.filter(|(key, _)| of(key)) {
        collect(value, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<FileRecord>) {
    match value {
        Value::Object(map) => {
            if let Ok(file) = FileRecord::deserialize(value) {
                found.push(file);
            }
            map.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}
