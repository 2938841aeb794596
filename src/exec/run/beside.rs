//! The files beside outputs that say what they are to the program that reads them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::exec::{RunError, write_error};
use crate::io::format::beside::{Written, entry_name};
use crate::io::{OutputLock, PendingFile, Workspace};
use crate::recipe::{OutputSpec, Recipe, Target};

/// The entries of such files, in the order in which outputs are complete.
#[derive(Default)]
pub struct Entries(BTreeMap<PathBuf, Described>);

struct Described {
    shared: bool,
    /// The output that it belongs to, if to one.
    output: usize,
    entries: Vec<(String, Value)>,
}

/// A complete file beside outputs.
pub struct Description {
    /// The file, which has not got its name.
    pub file: PendingFile,
    /// The output that it belongs to; `None` where those of other runs may have entries there, too.
    pub output: Option<usize>,
    /// Held until it has its name, where others write there.
    pub lock: Option<OutputLock>,
}

impl Entries {
    /// Enters a file of output `number`.
    pub fn add(&mut self, number: usize, spec: &OutputSpec, file: &Path, records: u64) {
        let (Some(beside), Target::File(output)) = (spec.format.beside, &spec.target) else {
            return;
        };
        let entry = (beside.entry)(&Written {
            file,
            records,
            paths: spec.paths,
            options: &spec.options,
        });
        let described = self
            .0
            .entry((beside.file)(output))
            .or_insert_with(|| Described {
                shared: beside.shared,
                output: number,
                entries: Vec::new(),
            });
        described.entries.push((entry_name(file), entry));
    }

    /// Writes them.
    ///
    /// # Errors
    /// If a file cannot be written, or holds something else.
    pub fn write(self, workspace: &Workspace) -> Result<Vec<Description>, RunError> {
        let mut written = Vec::new();
        for (path, described) in self.0 {
            let failed = |e| write_error(path.display(), e);
            let lock = described.shared.then(|| OutputLock::acquire(&path));
            let lock = lock.transpose().map_err(|error| RunError::Locked {
                path: path.display().to_string(),
                error,
            })?;
            let mut all = if described.shared {
                standing(&path).map_err(failed)?
            } else {
                Map::new()
            };
            all.extend(described.entries);
            let mut file = workspace.pending(&path).map_err(failed)?;
            serde_json::to_writer_pretty(&mut file, &all)
                .map_err(io::Error::from)
                .and_then(|()| file.write_all(b"\n"))
                .map_err(failed)?;
            written.push(Description {
                file,
                output: (!described.shared).then_some(described.output),
                lock,
            });
        }
        Ok(written)
    }
}

/// Makes sure that what stands where entries of `recipe` go can take them.
///
/// # Errors
/// Names a file that holds something else.
pub fn check(recipe: &Recipe) -> Result<(), RunError> {
    for spec in &recipe.outputs {
        if let (Some(beside), Target::File(output)) = (spec.format.beside, &spec.target)
            && beside.shared
        {
            let path = (beside.file)(output);
            standing(&path).map_err(|e| write_error(path.display(), e))?;
        }
    }
    Ok(())
}

/// The entries that stand at `path`.
fn standing(path: &Path) -> io::Result<Map<String, Value>> {
    let text = match std::fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        other => other?,
    };
    serde_json::from_slice(&text).map_err(|e| {
        io::Error::other(format!(
            "it is there, and is no JSON object that an entry could go into: {e}"
        ))
    })
}
