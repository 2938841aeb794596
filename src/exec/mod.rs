//! Running a recipe: rows in, operators over them in parallel, outputs in order, every row accounted for.
//!
//! A run is a sequence of phases (see [`plan`]). In each, a reader thread cuts rows into batches,
//! worker threads take every row through the whole chain of operators (`chain`), and one ordered
//! step admits exact-duplicate keys, counts, writes the ledger and hands rows on: to the outputs
//! in the last phase, else to a `store` on disk, from which the next phase reads what the
//! `barrier` left alive. The executor never names an operator.

mod barrier;
mod books;
mod chain;
mod draw;
mod driver;
pub mod lines;
pub mod plan;
mod run;
mod samples;
mod sinks;
mod store;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use chain::{Stage, StepCost};

use crate::io::SourceError;
use crate::io::format::questions::QuestionsError;
use crate::recipe::{OutputSpec, Recipe, Target};
use crate::report::RunReport;
use crate::sample::RowError;

/// What the command line says of a run, beyond the recipe.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Worker threads; default: all cores.
    pub threads: Option<usize>,
    /// Memory the run should stay within, in bytes.
    pub max_memory: Option<u64>,
    /// Rows a batch; default: by how dear a row is. Never changes the outcome.
    pub batch_rows: Option<usize>,
    /// Where the manifest, ledger and quarantine go; default: beside the first output.
    pub run_dir: Option<PathBuf>,
    /// What relative paths of outputs and images refer to.
    pub working_dir: PathBuf,
    /// `dj` outputs: keep only captions.
    pub only_caption: bool,
    /// Set by a signal: the run ends after the batch in hand.
    pub interrupted: Arc<AtomicBool>,
}

/// A run that did not finish. Nothing stands under a final name.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The questions of an output cannot be read.
    #[error(transparent)]
    Questions(#[from] QuestionsError),
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file or directory.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// An operator cannot decide among all rows.
    #[error("{operator}: {message}")]
    Barrier {
        /// The operator.
        operator: String,
        /// Why.
        message: String,
    },
    /// A bad row with `on_error: fail`.
    #[error("{place}: {error} (on_error: fail)")]
    Row {
        /// Input and line.
        place: String,
        /// What is wrong.
        error: RowError,
    },
    /// A signal asked to stop.
    #[error("interrupted; no output was written")]
    Interrupted,
    /// Whoever read the standard output went away.
    #[error("the reader of the standard output went away")]
    BrokenPipe,
    /// Rows do not add up: a defect of djr.
    #[error("rows do not add up, please report this: {0}")]
    Conservation(String),
}

/// Hears how far a run is.
pub trait Observer {
    /// Called after each batch; `phase` counts from 0.
    fn progress(&mut self, phase: usize, phases: usize, report: &RunReport);
}

/// Nobody listens.
impl Observer for () {
    fn progress(&mut self, _: usize, _: usize, _: &RunReport) {}
}

/// What a finished run leaves.
#[derive(Debug)]
pub struct RunOutcome {
    /// The numbers.
    pub report: RunReport,
    /// The directory of manifest, ledger and quarantine, if there is one.
    pub run_dir: Option<PathBuf>,
    /// The quarantine file, if a row was set aside.
    pub quarantine: Option<PathBuf>,
}

/// Runs `recipe`.
///
/// # Errors
/// Whatever ends a run; single bad rows do not (unless `on_error: fail`).
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    observer: &mut dyn Observer,
) -> Result<RunOutcome, RunError> {
    run::Run::prepare(recipe, options)?.execute(observer)
}

/// The name of an output for people.
fn target_name(spec: &OutputSpec) -> String {
    match &spec.target {
        Target::Stdout => "<stdout>".into(),
        Target::File(path) => path.display().to_string(),
    }
}

fn write_error(path: impl std::fmt::Display, error: io::Error) -> RunError {
    RunError::Write {
        path: path.to_string(),
        error,
    }
}

fn output_error(spec: Option<&OutputSpec>, error: io::Error) -> RunError {
    let to_pipe = spec.is_some_and(|s| s.target == Target::Stdout);
    if to_pipe && error.kind() == io::ErrorKind::BrokenPipe {
        return RunError::BrokenPipe;
    }
    write_error(spec.map(target_name).unwrap_or_default(), error)
}
