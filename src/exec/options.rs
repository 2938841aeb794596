//! What is said of a run beyond its recipe, and what it says while it goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::cached_stats::CachedStats;
use super::memory;
use crate::io::source::MAX_ROW_BYTES;
use crate::op::{GROUP_MEMORY, ROW_MEMORY, longest_within};
use crate::recipe::{QuarantineLimit, Recipe, Step};
use crate::record::RunReport;
use crate::service::Host;

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
    pub cached_stats: Option<CachedStats>,
    /// Where results of other runs are; default: where the recipe says, if it does.
    pub cache: CacheChoice,
    /// Set by a signal: the run ends after the batch in hand.
    pub interrupted: Arc<AtomicBool>,
    /// What becomes of an unfinished run of the same outputs.
    pub resume: Resume,
    /// Time between checkpoints; default: ten seconds, and so seldom that they cost at most a
    /// fiftieth of the run.
    pub checkpoint_every: Option<Duration>,
    /// How many rows may fail before the run stops; default: [`RunOptions::max_quarantine`].
    pub max_quarantine: Option<QuarantineLimit>,
    /// Where models and programs that steps ask run.
    pub host: Host,
    /// What servers may cost, in the money of their prices; default: anything.
    pub max_cost: Option<f64>,
    /// Tokens that servers may be sent and may answer; default: any number.
    pub max_tokens_total: Option<u64>,
    /// How many rows may be lost for the run to count as a success; default: none.
    pub tolerate: Option<QuarantineLimit>,
    /// Tables and archives, of which readers of rows pass over much, are read once more, for the
    /// digests of their content in the manifest.
    pub digest_inputs: bool,
    /// Outputs of another recipe are overwritten.
    pub force: bool,
    /// The command line, for the manifest.
    pub command: Vec<String>,
    /// The memory, in bytes, that decides which texts are too long for a step, if that is not for the
    /// recipe to say. It decides what becomes of rows, so that nothing of the machine goes into it.
    pub row_memory: Option<u64>,
    /// The machine, if the manifest is to name it.
    pub host_name: Option<String>,
}

impl RunOptions {
    /// The bytes of memory that rows have to be processed in, if anybody has said so.
    #[must_use]
    pub fn row_memory(&self, recipe: &Recipe) -> Option<u64> {
        self.row_memory.or(recipe.max_memory)
    }

    /// The longest row, in bytes, that is read whole: what works on it takes it a few times.
    #[must_use]
    pub fn longest_row(&self, recipe: &Recipe) -> Option<u64> {
        longest_within(self.row_memory(recipe)?, ROW_MEMORY)
    }

    /// The longest row, in bytes, that a group is made to.
    #[must_use]
    pub fn longest_group(&self, recipe: &Recipe) -> u64 {
        let bounded = self.row_memory(recipe);
        let bounded = bounded.and_then(|budget| longest_within(budget, GROUP_MEMORY));
        bounded.map_or(MAX_ROW_BYTES as u64, |longest| {
            longest.min(MAX_ROW_BYTES as u64)
        })
    }

    /// The longest text, in bytes, that each step may be given; none where that is not bounded.
    #[must_use]
    pub fn longest_texts(&self, recipe: &Recipe) -> Vec<Option<u64>> {
        let Some(budget) = self.row_memory(recipe) else {
            return Vec::new();
        };
        let longest = |step: &Step| {
            let facts = crate::op::find(step.name).map(|def| def.facts);
            facts.and_then(|facts| facts.longest_text(budget))
        };
        recipe.steps.iter().map(longest).collect()
    }

    /// Memory the run stays within, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.max_memory.unwrap_or_else(memory::default_budget)
    }

    /// How many rows may fail before the run stops: what the command line says of it; otherwise what
    /// the recipe says, and no less than is tolerated.
    #[must_use]
    pub fn max_quarantine(&self, recipe: &Recipe) -> QuarantineLimit {
        let said = recipe.max_quarantine;
        let tolerated = self.tolerate.map_or(said, |limit| said.at_least(limit));
        self.max_quarantine.unwrap_or(tolerated)
    }
}

/// Whether results of other runs are used, and kept for others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CacheChoice {
    /// As the recipe says.
    #[default]
    Recipe,
    /// Not at all.
    Off,
    /// In this directory; `auto` is that of the user.
    In(PathBuf),
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

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'r> {
    /// The phase, counted from 0.
    pub phase: usize,
    /// How many there are.
    pub phases: usize,
    /// Of a phase that reads no inputs: rows it has read of those it will read.
    pub rows: Option<(u64, u64)>,
    /// What it does instead of reading rows, how much of it is done, and how much there is.
    pub task: Option<(&'r str, u64, u64)>,
    /// The numbers so far.
    pub report: &'r RunReport,
}

impl<'r> Moment<'r> {
    /// In a phase, reading rows.
    #[must_use]
    pub fn reading(phase: usize, phases: usize, report: &'r RunReport) -> Self {
        Self {
            phase,
            phases,
            rows: None,
            task: None,
            report,
        }
    }
}

/// Hears how far a run is.
pub trait Observer {
    /// Called after each batch, and after each part of what comes between and behind the phases.
    fn progress(&mut self, moment: &Moment<'_>);
}

/// Nobody listens.
impl Observer for () {
    fn progress(&mut self, _: &Moment<'_>) {}
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
