//! Whether a recipe is sound, or files are fit for training.

use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `djr check`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct CheckAnswer {
    /// Of a recipe that is sound; what is wrong with one that is not stands in `problems`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeChecked>,
    /// With `--for`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingChecked>,
}

/// A recipe that is sound.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RecipeChecked {
    /// Its file.
    pub file: String,
    /// Its operators, in order.
    pub steps: Vec<String>,
    /// What it reads: files, or `<stdin>`.
    pub inputs: Vec<String>,
    /// What it writes: paths, or `<stdout>`.
    pub outputs: Vec<String>,
}

/// Files for training that were checked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrainingChecked {
    /// For which program.
    pub trainer: String,
    /// Rows of all files.
    pub rows: u64,
    /// Rows that it reads as they are.
    pub sound: u64,
    /// How often each thing was found.
    pub counts: Vec<FindingCount>,
    /// What was found.
    pub findings: Vec<FindingRecord>,
}

/// How often one thing was found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FindingCount {
    /// The stable word (docs/TRAINERS.md).
    pub code: String,
    /// What it does to the training: `crash_start`, `crash_middle`, `skip` (the row is left out or
    /// replaced in silence), `wrong` (it trains on something else than the file says).
    pub effect: &'static str,
    /// How often.
    pub count: u64,
}

/// What a loader would stumble over.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FindingRecord {
    /// The file.
    pub file: String,
    /// Its line, where it is one row's.
    pub line: Option<u64>,
    /// The stable word (docs/TRAINERS.md).
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What it does to the training: `crash_start`, `crash_middle`, `skip` (the row is left out or
    /// replaced in silence), `wrong` (it trains on something else than the file says).
    pub effect: &'static str,
    /// What the loader does about it.
    pub loader: String,
    /// What cures it.
    pub cure: String,
}
