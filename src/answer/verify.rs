//! Whether all that a run wrote and read is as its manifest says.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::record::StepNumber;
use crate::record::manifest::RowCounts;

/// The answer of `djr verify`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VerifyAnswer {
    /// The run.
    pub run_dir: PathBuf,
    /// What was checked.
    pub checks: Vec<VerifyKind>,
}

/// One kind of thing that was checked.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct VerifyKind {
    /// What: `inputs`, `assets`, `files`, `counts`, `ledger`, `quarantine`, `rows`, `paths`, `images`.
    pub name: &'static str,
    /// What was looked at.
    pub looked_at: LookedAt,
    /// How many differences there are.
    pub differences: u64,
    /// The first of them.
    pub first: Option<Difference>,
}

/// What was looked at.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct LookedAt {
    /// How many: inputs, assets, files, counts compared, entries of the ledger, records of the
    /// quarantine, rows, paths, images; null where the run has nothing of the kind.
    pub count: Option<u64>,
    /// Of `files`: their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of `inputs`: those without a digest, whose size, time and both ends were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_digest: Option<u64>,
    /// Of `counts`: the rows that the manifest counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowCounts>,
    /// Of `images`: the outputs whose images were not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<Vec<String>>,
}

/// Something that is not as the manifest says.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Difference {
    /// The stable word: `cannot_read`, `not_a_file`, `content`, `time`, `plan`, `count` (a number is
    /// another), `not_conserved` (numbers of the manifest do not add up), `path_not_absolute`; of rows
    /// and images a code of docs/REASONS.md.
    pub code: String,
    /// The input, asset, file or output that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Where the row begins in all files of the output laid end to end, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The image's path as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The step, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepNumber>,
    /// Of `count`: what is counted: `bytes`, `in`, `shown`, `kept`, `dropped`, `quarantined`, `merged`,
    /// `records`, `written`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<&'static str>,
    /// The number, or the digest, that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
    /// The one that the manifest says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Value>,
    /// What is different, for people.
    pub message: String,
}

impl Difference {
    /// One with a code and a sentence.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// A number that may be another; `what` names it for people.
    #[must_use]
    pub fn count(counted: &'static str, what: impl Into<String>) -> Self {
        Self {
            counted: Some(counted),
            ..Self::new("count", what)
        }
    }

    /// The same of this file.
    #[must_use]
    pub fn of_file(self, file: impl std::fmt::Display) -> Self {
        Self {
            file: Some(file.to_string()),
            ..self
        }
    }

    /// The same of this step, by its index.
    #[must_use]
    pub fn of_step(self, index: usize) -> Self {
        Self {
            step: Some(StepNumber::at(index)),
            ..self
        }
    }

    /// The same with what was found and what is recorded.
    #[must_use]
    pub fn between(self, found: impl Into<Value>, recorded: impl Into<Value>) -> Self {
        Self {
            found: Some(found.into()),
            recorded: Some(recorded.into()),
            ..self
        }
    }
}
