//! Runs below a directory.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::ProblemRecord;

/// The answer of `djr ls`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct LsAnswer {
    /// Where was looked.
    pub directory: PathBuf,
    /// The runs, by their directories.
    pub runs: Vec<RunListed>,
}

/// A run. One directory may hold two: one that has ended, and a newer one that has not.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunListed {
    /// Its directory.
    pub run_dir: PathBuf,
    /// `finished`, `unfinished`, or `unreadable`: of another version, or damaged.
    pub state: String,
    /// The recipe, or the command, that it ran.
    pub recipe: String,
    /// When it ended, or an unfinished one saved its last checkpoint, in UTC.
    pub when: String,
    /// Rows read.
    pub rows_in: u64,
    /// Rows that at least one output wrote.
    pub rows_out: u64,
    /// Its outputs.
    pub outputs: Vec<PathBuf>,
    /// Outputs that are gone.
    pub missing: usize,
    /// Bytes of its outputs that are there.
    pub output_bytes: u64,
    /// Bytes of its directory, or of its working files.
    pub record_bytes: u64,
    /// Why it cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemRecord>,
}

/// The answer of `djr clean`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct CleanAnswer {
    /// With `--dry-run`: nothing was removed.
    pub dry_run: bool,
    /// The runs whose files were removed.
    pub runs: Vec<PathBuf>,
    /// The files.
    pub files: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
    /// Runs that were left because their records cannot be read.
    pub skipped: Vec<RunSkipped>,
}

/// A run that was left.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunSkipped {
    /// Its directory.
    pub run_dir: PathBuf,
    /// Why: `record_version` and `checkpoint_damaged` (removed by `--force`), `record_damaged`,
    /// `cannot_read`.
    pub code: String,
    /// The same, for people.
    pub message: String,
}

/// The answer of `djr index`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct IndexAnswer {
    /// The file written.
    pub output: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Entries with words.
    pub questions: u64,
    /// Entries with a picture that tells something.
    pub pictures: u64,
    /// Of an index of references: the deduplicator that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Of an index of references: its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}
