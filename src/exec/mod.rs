//! Running a recipe: rows in, operators over them in parallel, outputs in order, every row accounted for.
//!
//! A run is a sequence of phases (see [`crate::plan`]). In each, a reader thread cuts rows into batches,
//! worker threads take every row through the whole chain of operators (`chain`), and one ordered
//! step admits exact-duplicate keys, counts, writes the ledger and hands rows on: to the outputs
//! in the last phase, else to a `store` on disk, from which the next phase reads what the
//! exchanges (`exchange`) left alive. The executor never names an operator.

mod books;
mod chain;
mod draw;
pub mod driver;
mod exact_keys;
mod exchange;
mod journal;
pub mod known;
pub mod lines;
mod memory;
mod output_pass;
mod own_stats;
mod probe;
mod readahead;
mod run;
mod samples;
pub mod setup;
mod sinks;
mod store;
mod stream;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use chain::{StepCost, panic_message};
pub use own_stats::{STATS_FIELD, take_stats};
pub use probe::{StepProbe, probe};
pub use run::has_progress;
use sinks::Caller;
pub use sinks::Receiver;
pub use store::stats_from_json;

use crate::io::atomic::Damaged;
use crate::io::format::FormatError;
use crate::io::{LockError, SourceError};
use crate::recipe::{OutputSpec, QuarantineLimit, Recipe, Target};
use crate::record::{ClaimError, RunReport};
use crate::sample::RowError;

/// What the command line says of a run, beyond the recipe.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Worker threads; default: all cores.
    pub threads: Option<usize>,
    /// Memory the run should stay within, in bytes; default: half of what there is.
    pub max_memory: Option<u64>,
    /// Rows a batch; default: by how dear a row is. Never changes the outcome.
    pub batch_rows: Option<usize>,
    /// Where the manifest, ledger and quarantine go; default: beside the first output.
    pub run_dir: Option<PathBuf>,
    /// What relative paths of outputs and images refer to.
    pub working_dir: PathBuf,
    /// Stats that were measured before.
    pub known: Option<known::KnownStats>,
    /// Set by a signal: the run ends after the batch in hand.
    pub interrupted: Arc<AtomicBool>,
    /// What becomes of an unfinished run of the same outputs.
    pub resume: Resume,
    /// Time between checkpoints; default: ten seconds, and so seldom that they cost at most a
    /// fiftieth of the run.
    pub checkpoint_every: Option<Duration>,
    /// How many rows may fail before the run stops; default: as the recipe says.
    pub max_quarantine: Option<QuarantineLimit>,
}

impl RunOptions {
    /// Memory the run stays within, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.max_memory.unwrap_or_else(memory::default_budget)
    }
}

/// What becomes of an unfinished run of the same outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resume {
    /// It is in the way: the run fails and says so.
    #[default]
    Refuse,
    /// It is gone on with; without one, the run starts from the beginning.
    Continue,
    /// It is thrown away.
    Restart,
}

/// A run that did not finish. Nothing stands under a final name.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that an output is made of cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file or directory.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A complete file cannot get its name.
    #[error("{path}: {error}; {}", standing_words(.standing))]
    Publish {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
        /// Files that have theirs.
        standing: Vec<String>,
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
    /// Stored stats that do not fit the rows or do not suffice.
    #[error("{0}")]
    Stored(String),
    /// A signal asked to stop.
    #[error("interrupted; no output was written")]
    Interrupted,
    /// An unfinished run of the same outputs is in the way.
    #[error(
        "an unfinished run of these outputs, started {since}, stands at {rows} rows in {directory}"
    )]
    Unfinished {
        /// Its working files.
        directory: String,
        /// Rows it has read.
        rows: u64,
        /// When it was started, in UTC.
        since: String,
    },
    /// What an unfinished run was made of is not what it is to go on with.
    #[error("the unfinished run cannot go on, something has changed: {}", .0.join("; "))]
    Changed(Vec<String>),
    /// A run over standard input or output keeps no progress.
    #[error(
        "a run that reads standard input or a pipe, or writes standard output or a pipe, keeps no progress to resume"
    )]
    CannotResume,
    /// The checkpoint cannot be read.
    #[error("{0}: the checkpoint cannot be read: {1}")]
    Checkpoint(String, io::Error),
    /// A working file or an unfinished output is not as the last checkpoint left it.
    #[error("the unfinished run cannot go on, a file of it is damaged: {0}")]
    Damaged(String),
    /// A thread panicked: a defect of djr.
    #[error("djr failed, please report this: {0}")]
    Panicked(#[from] driver::Panicked),
    /// The run's directory is not this run's to write into.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Another process writes an output.
    #[error("{path}: {error}")]
    Locked {
        /// The output.
        path: String,
        /// Who holds it.
        error: LockError,
    },
    /// An input changed while it was read.
    #[error("{name}: the input changed while it was read: {change}")]
    InputChanged {
        /// The input.
        name: String,
        /// What is different.
        change: String,
    },
    /// More rows could not be processed than `max_quarantine` allows.
    #[error("{failing} of {rows} rows could not be processed{}, {count} times for the reason {reason}: more than max_quarantine ({limit}) allows", streak_words(*.streak))]
    TooManyBad {
        /// Rows that could not be processed.
        failing: u64,
        /// Rows read.
        rows: u64,
        /// What is allowed.
        limit: QuarantineLimit,
        /// How many of them came last, one after the other.
        streak: u64,
        /// The most frequent reason.
        reason: &'static str,
        /// How often it came up.
        count: u64,
    },
    /// Whoever read the standard output, or the pipe, went away.
    #[error("the reader of the output went away before its end")]
    BrokenPipe,
    /// Rows do not add up: a defect of djr.
    #[error("rows do not add up, please report this: {0}")]
    Conservation(String),
}

impl RunError {
    /// Whether the run can go on from its last checkpoint once the cause is gone.
    #[must_use]
    pub fn can_be_mended(&self) -> bool {
        matches!(
            self,
            Self::Source(_)
                | Self::Write { .. }
                | Self::Publish { .. }
                | Self::Interrupted
                | Self::TooManyBad { .. }
                | Self::Unfinished { .. }
                | Self::Changed(_)
                | Self::Checkpoint(..)
                | Self::Damaged(_)
                | Self::Panicked(_)
                | Self::Locked { .. }
        )
    }
}

fn standing_words(standing: &[String]) -> String {
    if standing.is_empty() {
        "no file of this run stands under its name".to_owned()
    } else {
        format!(
            "under their names stand, from this run: {}",
            standing.join(", ")
        )
    }
}

fn streak_words(streak: u64) -> String {
    if streak < 100 {
        String::new()
    } else {
        format!(", the last {streak} in a row")
    }
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
    driver::Panicked::catch(|| run::run(recipe, options, observer, None))?
}

/// As [`run`], for recipes with outputs whose target is [`Target::Caller`]: `receiver` gets their
/// records, in order, on this thread. Such a run keeps no progress.
///
/// ```
/// use djr::exec::{RunOptions, run_to};
/// use djr::io::format::OutputFormat;
/// use djr::recipe::{Inputs, OutputSpec, Recipe, Target};
///
/// let rows = std::env::temp_dir().join("djr-run-to.jsonl");
/// std::fs::write(&rows, "{\"text\": \"a red kite\"}\n{\"text\": \"two boats\"}\n")?;
/// let inputs = Inputs::Files(vec![rows.clone()]);
/// let output = OutputSpec::new(OutputFormat::ROWS, Target::Caller);
/// let recipe = Recipe::bare("example", inputs, output);
///
/// let mut received = Vec::new();
/// let outcome = run_to(&recipe, &RunOptions::default(), &mut (), &mut |_, row: &[u8]| {
///     received.push(String::from_utf8_lossy(row).into_owned());
///     Ok(())
/// })?;
/// assert_eq!(received, ["{\"text\": \"a red kite\"}", "{\"text\": \"two boats\"}"]);
/// assert_eq!(outcome.report.rows_out, 2);
/// # std::fs::remove_file(rows)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`run`], and what `receiver` says.
pub fn run_to(
    recipe: &Recipe,
    options: &RunOptions,
    observer: &mut dyn Observer,
    receiver: &mut dyn Receiver,
) -> Result<RunOutcome, RunError> {
    let caller = Caller::new(receiver);
    driver::Panicked::catch(|| run::run(recipe, options, observer, Some(caller)))?
}

/// The name of an output for people.
fn target_name(spec: &OutputSpec) -> String {
    spec.target.to_string()
}

/// A file or directory that cannot be written.
pub fn write_error(path: impl std::fmt::Display, error: io::Error) -> RunError {
    if let Some(damaged) = Damaged::of(&error) {
        return RunError::Damaged(damaged.to_string());
    }
    RunError::Write {
        path: path.to_string(),
        error,
    }
}

fn output_error(spec: Option<&OutputSpec>, error: io::Error) -> RunError {
    let to_pipe = spec.is_some_and(|s| matches!(s.target, Target::Stdout | Target::Stream(_)));
    if to_pipe && error.kind() == io::ErrorKind::BrokenPipe {
        return RunError::BrokenPipe;
    }
    write_error(spec.map(target_name).unwrap_or_default(), error)
}
