//! A file that an operator makes of a row.

use std::path::PathBuf;

/// A file that an operator made and the executor writes, if the row lives.
#[derive(Debug)]
pub struct Produced {
    /// The path as the row has it.
    pub written: String,
    /// Where it will lie.
    pub path: PathBuf,
    /// With `confine`: the directory that it must lie below, links resolved.
    pub root: Option<PathBuf>,
    /// Its content.
    pub bytes: Vec<u8>,
}
