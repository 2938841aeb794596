//! A file that was written, as every manifest lists it.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::io::atomic::Finished;

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileRecord {
    /// Where.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// XXH3-128 of its content, 32 hexadecimal digits.
    pub xxh3_128: String,
}

impl From<Finished> for FileRecord {
    fn from(file: Finished) -> Self {
        Self {
            path: readable(&file.path),
            bytes: file.bytes,
            xxh3_128: file.xxh3_128,
        }
    }
}

/// JSON has no paths that are not Unicode: such a one is recorded as people see it.
pub(crate) fn readable(path: &Path) -> PathBuf {
    PathBuf::from(path.display().to_string())
}
