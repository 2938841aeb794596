//! Runs that commands read, and whether a newer one of the same outputs is unfinished.

use std::path::Path;

use super::Exit;
use super::ui::Ui;
use crate::layout::RunFiles;
use crate::record::{PastRun, RecordError};

/// The run that `path` names. A newer one of its outputs that is unfinished is said.
///
/// # Errors
/// If there is none; the user was told.
pub fn open(path: &Path, ui: &Ui) -> Result<PastRun, Exit> {
    match PastRun::open(path) {
        Ok(run) => {
            if run.files.is_unfinished() {
                say_newer(path, ui);
            }
            Ok(run)
        }
        Err(failure) => {
            ui.record(&failure);
            Err(Exit::Usage)
        }
    }
}

/// Says of what a command reads whether a run that is unfinished will write it anew.
///
/// # Errors
/// If it is not there because that run has not ended; the user was told.
pub fn look<'p>(paths: impl IntoIterator<Item = &'p Path>, ui: &Ui) -> Result<(), Exit> {
    for path in paths {
        let own = RunFiles::new(path);
        let files = if path.is_dir() {
            Some(own)
        } else {
            RunFiles::of_output(path)
        };
        let Some(files) = files.filter(RunFiles::is_unfinished) else {
            continue;
        };
        if path.is_file() || files.manifest().is_file() {
            say_newer(path, ui);
        } else {
            ui.record(&RecordError::Unfinished(files.dir.display().to_string()));
            return Err(Exit::Usage);
        }
    }
    Ok(())
}

fn say_newer(path: &Path, ui: &Ui) {
    ui.info(&format!(
        "{}: a newer run of these outputs is unfinished; this is of the one before",
        path.display()
    ));
}
