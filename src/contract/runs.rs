//! Runs of one step, and what they leave.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::Contract;
use crate::exec::{self, RunError, RunOptions};
use crate::recipe::Inputs;

/// What a run leaves, but for the manifest, which holds times.
#[derive(PartialEq)]
pub struct Left {
    /// Files by name, or why an exchange could not decide.
    files: Result<Vec<(String, Vec<u8>)>, String>,
    /// Codes of rows set aside.
    pub reasons: Vec<&'static str>,
}

impl Left {
    /// The text of a file; empty if there is none.
    pub fn file(&self, name: &str) -> Result<String, String> {
        let files = self.files.as_ref().map_err(Clone::clone)?;
        let file = files.iter().find(|(at, _)| at == name);
        Ok(file.map_or(String::new(), |(_, bytes)| {
            String::from_utf8_lossy(bytes).into_owned()
        }))
    }
}

impl Contract {
    /// Runs `step` over `rows`.
    pub(super) fn run(
        &self,
        step: &Value,
        rows: &[String],
        batch_rows: usize,
        threads: usize,
    ) -> Result<Left, String> {
        let failed = |error: io::Error| error.to_string();
        let scratch = tempfile::tempdir().map_err(failed)?;
        // The same name in each run, for it is told in the quarantine.
        let input = scratch.path().join("rows.jsonl");
        std::fs::write(&input, rows.join("\n") + "\n").map_err(failed)?;
        let out = scratch.path().join("out");
        let keys = json!({
            "outputs": [{"path": out.join("o.jsonl"), "paths": "keep", "validate": "none"}],
        });
        let mut recipe = self.load(step, &keys)?;
        recipe.inputs = Inputs::Files(vec![input]);
        let options = RunOptions {
            threads: Some(threads),
            batch_rows: Some(batch_rows),
            run_dir: Some(out.clone()),
            working_dir: self.root.clone(),
            ..RunOptions::default()
        };
        match exec::run(&recipe, &options, &mut ()) {
            Ok(outcome) => Ok(Left {
                reasons: outcome.report.reasons.keys().map(|r| r.code).collect(),
                files: Ok(files(&out, scratch.path()).map_err(failed)?),
            }),
            Err(e @ RunError::Exchange { .. }) => Ok(Left {
                reasons: Vec::new(),
                files: Err(e.to_string()),
            }),
            Err(e) => Err(e.to_string()),
        }
    }
}

fn files(directory: &Path, scratch: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "manifest.json" || !entry.path().is_file() {
            continue;
        }
        let bytes = std::fs::read(entry.path())?;
        let bytes = if name.strip_suffix(".zst").is_some() {
            zstd::decode_all(&bytes[..])?
        } else {
            let text = String::from_utf8_lossy(&bytes);
            text.replace(&scratch.display().to_string(), "")
                .into_bytes()
        };
        files.push((name, bytes));
    }
    files.sort();
    Ok(files)
}
