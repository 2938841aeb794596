//! What became of a run.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::ProblemRecord;
use crate::layout::FileRecord;
use crate::plan::Plan;
use crate::record::counts::StratumCounts;
use crate::record::manifest::{OutputRecord, ReasonRecord, RowCounts, StepRecord, reasons_of};
use crate::record::{Manifest, RunReport};

/// What became of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The outputs have their names.
    #[default]
    Done,
    /// With `--if-changed`: everything is as an earlier run left it, and nothing was done.
    UpToDate,
    /// With `--explain` or `--dry-run`: only the plan was made.
    Planned,
}

/// The answer of `djr run`, `recut`, `subset` and `convert`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct RunAnswer {
    /// What became of it.
    pub state: RunState,
    /// The directory of manifest, ledger and quarantine, if there is one.
    pub run_dir: Option<PathBuf>,
    /// Rows that were set aside, verbatim, with the reason, if there are any.
    pub quarantine: Option<PathBuf>,
    /// The rows in all; null where none were read.
    pub rows: Option<RowCounts>,
    /// The datasets that rows were drawn of, where the recipe gives them weights: what each had, was to
    /// give and gave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<StratumCounts>,
    /// What each step did.
    pub steps: Vec<StepRecord>,
    /// Why rows could not be processed or were refused.
    pub reasons: Vec<ReasonRecord>,
    /// What each output received.
    pub outputs: Vec<OutputRecord>,
    /// Wall time.
    pub seconds: f64,
    /// Largest resident memory of the process.
    pub peak_memory_bytes: u64,
    /// With `--explain` or `--dry-run`: what would be done; null where rows are copied unread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// With `--explain` or `--dry-run`: what would be read, written and overwritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<DryRun>,
    /// With `--explain`: why the run would be refused as things are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<ProblemRecord>,
    /// With `--explain --probe`: what the first rows cost, an entry a step; null behind a step that
    /// decides among all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Vec<Option<ProbeRecord>>>,
    /// With `--explain --probe`: what the whole run would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// With `--estimate`: what servers would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostEstimate>,
}

/// What a run would do.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct DryRun {
    /// What it would read.
    pub reads: Vec<FileThere>,
    /// The files it would write; one that is there already would be overwritten.
    pub writes: Vec<FileThere>,
    /// Where manifest, ledger and quarantine would go.
    pub run_dir: Option<PathBuf>,
}

/// A file as it is now.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FileThere {
    /// Its path, or `<stdin>`.
    pub name: String,
    /// Its size; null where it is not there, or has none.
    pub bytes: Option<u64>,
}

/// What servers took for the first rows, and would take for all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct CostEstimate {
    /// Rows that servers were asked about.
    pub rows: u64,
    /// Of them those that could not be processed.
    pub failed: u64,
    /// Requests sent.
    pub requests: u64,
    /// Answers that were known already.
    pub reused: u64,
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens answered.
    pub tokens_out: u64,
    /// What they cost, in the money of the prices.
    pub cost: f64,
    /// About how many rows there are; null where that is not known beforehand.
    pub all_rows: Option<u64>,
    /// About how many requests all rows take, these included.
    pub all_requests: Option<u64>,
    /// About how many tokens are sent.
    pub all_tokens_in: Option<u64>,
    /// About how many are answered.
    pub all_tokens_out: Option<u64>,
    /// About what it costs.
    pub all_cost: Option<f64>,
}

/// What one step did to the first rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct ProbeRecord {
    /// Rows that it was shown.
    pub rows: u64,
    /// Rows that it dropped, where a few rows tell.
    pub dropped: Option<u64>,
    /// Rows that it could not process.
    pub failed: u64,
    /// Its time a row.
    pub nanoseconds: u64,
}

/// What a run would take, estimated from its first rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Estimate {
    /// Rows of all inputs.
    pub rows: u64,
    /// Rows that are left behind the last step that a few rows tell of.
    pub rows_left: u64,
    /// Wall time on the threads of the run.
    pub seconds: f64,
    /// Resident memory at most.
    pub memory_bytes: u64,
    /// Bytes of outputs and records on disk.
    pub output_bytes: u64,
    /// Bytes of working files on disk while the run goes on.
    pub working_bytes: u64,
}

impl RunAnswer {
    /// The answer of a run that has ended.
    #[must_use]
    pub fn of(report: &RunReport) -> Self {
        Self {
            rows: Some(RowCounts::of(report)),
            datasets: report.datasets.clone(),
            steps: report.steps.iter().map(StepRecord::of).collect(),
            reasons: reasons_of(report),
            outputs: report.outputs.iter().map(OutputRecord::of).collect(),
            seconds: report.time.as_secs_f64(),
            peak_memory_bytes: report.peak_memory,
            ..Self::default()
        }
    }

    /// The answer of a run that there was no need for.
    #[must_use]
    pub fn up_to_date(manifest: &Manifest) -> Self {
        let aside = |file: &FileRecord| file.path.clone();
        Self {
            state: RunState::UpToDate,
            run_dir: Some(manifest.run_dir.clone()),
            quarantine: manifest.quarantine.as_ref().map(aside),
            rows: Some(manifest.rows),
            datasets: manifest.datasets.clone(),
            steps: manifest.steps.clone(),
            reasons: manifest.reasons.clone(),
            outputs: manifest.outputs.clone(),
            ..Self::default()
        }
    }
}
