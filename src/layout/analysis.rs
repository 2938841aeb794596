//! The files of an analysis.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is written where.
#[derive(Debug, Clone)]
pub struct AnalysisFiles {
    /// The directory.
    pub dir: PathBuf,
}

/// The mark of an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnalysisKind {
    /// An analysis.
    Analysis,
}

impl AnalysisFiles {
    /// The files of an analysis in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The analysis.
    #[must_use]
    pub fn json(&self) -> PathBuf {
        self.dir.join("analysis.json")
    }

    /// One line of stats a row.
    #[must_use]
    pub fn jsonl(&self) -> PathBuf {
        self.dir.join("stats.jsonl")
    }

    /// What servers answered.
    #[must_use]
    pub fn answers(&self) -> PathBuf {
        self.dir.join("answers.log")
    }

    /// The same in columns.
    #[must_use]
    pub fn parquet(&self) -> PathBuf {
        self.dir.join("stats.parquet")
    }
}
