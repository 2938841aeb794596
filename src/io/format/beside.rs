//! Files that say what an output is to the program that reads it: written beside it when it is
//! complete.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Options;
use crate::io::paths::PathStyle;

/// A file of entries, one a file of the output: a JSON object.
#[derive(Debug)]
pub struct Beside {
    /// Where it is, for an output at this path.
    pub file: fn(&Path) -> PathBuf,
    /// Whether several outputs, of several runs, have their entries in it. What stands there of
    /// others is kept.
    pub shared: bool,
    /// The entry of one file.
    pub entry: fn(&Written<'_>) -> Value,
}

/// A complete file of an output.
pub struct Written<'a> {
    /// Where it is.
    pub file: &'a Path,
    /// Its records.
    pub records: u64,
    /// How its image paths are written.
    pub paths: PathStyle,
    /// What was said of the output.
    pub options: &'a Options,
}

/// What the entry of a file is called: the file's name without its suffixes.
#[must_use]
pub fn entry_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}
