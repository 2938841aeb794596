//! The tasks of a run that many machines share.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `djr plan`, `djr next` and `djr task`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct TasksAnswer {
    /// The directory or URL of the plan.
    pub work: PathBuf,
    /// Where relative paths of the plan start: its tasks are done there.
    pub working_dir: PathBuf,
    /// Tasks that can be done now, in order.
    pub ready: Vec<String>,
    /// How many are done.
    pub done: usize,
    /// How many are known: those of a pass are once the steps that see all rows before it have
    /// decided.
    pub known: usize,
    /// Whether all are done, so that `djr finish` can end the run.
    pub complete: bool,
    /// Of `djr task`: whether it did the task; else it was done before, or somebody else was faster.
    pub did: Option<bool>,
}
