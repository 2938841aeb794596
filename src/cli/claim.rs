//! Whether a command that is no run may write a file.

use std::path::{Path, PathBuf};

use super::Exit;
use super::ui::Ui;
use crate::layout::AnalysisFiles;
use crate::record::{PastRun, claim_file};

/// Makes sure that `path` is neither what the command reads (`read`: files, runs with their inputs
/// and outputs, analyses) nor, unless `force` is set, an output of a run. `-` is standard output.
///
/// # Errors
/// If it is; the user was told.
pub fn claim(path: &Path, read: &[&Path], force: bool, ui: &Ui) -> Result<(), Exit> {
    claim_as(None, path, read, force, ui)
}

/// The same for a command that may replace what it wrote itself.
///
/// # Errors
/// As [`claim`].
pub fn claim_as(
    command: Option<&str>,
    path: &Path,
    read: &[&Path],
    force: bool,
    ui: &Ui,
) -> Result<(), Exit> {
    if path.as_os_str() == "-" {
        return Ok(());
    }
    let mut inputs: Vec<PathBuf> = Vec::new();
    for what in read {
        inputs.push((*what).to_owned());
        let analysis = AnalysisFiles::new(*what);
        inputs.extend([analysis.json(), analysis.jsonl(), analysis.parquet()]);
        if let Ok(run) = PastRun::open(what) {
            let manifest = &run.manifest;
            inputs.extend(
                manifest
                    .inputs
                    .iter()
                    .map(|input| PathBuf::from(&input.name)),
            );
            inputs.extend(manifest.files().map(|file| run.place(file)));
            inputs.push(run.files.manifest());
        }
    }
    claim_file(path, &inputs, force, command)
        .map_err(|taken| ui.usage_in(taken.path(), &taken.to_string(), Some(taken.hint())))
}
