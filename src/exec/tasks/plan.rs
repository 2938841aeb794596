//! `plan.json`: what the tasks of a run do, cut once and for all.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TasksError;
use crate::exec::duplicates::{Round, rounds};
use crate::exec::{CacheChoice, RunError, RunOptions, run, setup};
use crate::io::Fingerprint;
use crate::io::source::{Split, fingerprints};
use crate::note::Note;
use crate::plan::{Plan, phases};
use crate::recipe::{Inputs, QuarantineLimit, Recipe};

/// Raised when plans or records of tasks are written in another way.
pub const VERSION: u32 = 6;

/// What the tasks of a run do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskPlan {
    /// Of this form.
    pub version: u32,
    /// The program that made it; only the same one does its tasks.
    pub djr: String,
    /// What the run does.
    pub plan: Plan,
    /// What the reader of the recipe should know.
    pub notes: Vec<Note>,
    /// What the command line said beyond the recipe.
    pub said: Said,
    /// About how many bytes of rows a task reads.
    pub task_bytes: u64,
    /// How many tasks look for the duplicates of a step; none if the process does that decides.
    pub partitions: usize,
    /// The steps of each pass whose duplicates tasks look for.
    pub rounds: Vec<Vec<Round>>,
    /// The inputs, in order.
    pub inputs: Vec<PlannedInput>,
    /// What must be found out of inputs before rows that stand behind can be read.
    pub measures: Vec<Measure>,
    /// The tasks of the first pass: the pieces of inputs that each reads.
    pub reads: Vec<Vec<PlannedPiece>>,
}

/// How a run is cut into tasks. The outcome is the same for any cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// About how many bytes of rows a task reads.
    pub task_bytes: u64,
    /// How many tasks look for the duplicates of a step; with 0 the process does that decides.
    pub partitions: usize,
}

/// What the command line said of a run beyond the recipe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Said {
    /// What relative paths refer to.
    pub working_dir: PathBuf,
    run_dir: Option<PathBuf>,
    max_quarantine: QuarantineLimit,
    tolerate: Option<QuarantineLimit>,
    cache: CacheWord,
    force: bool,
    command: Vec<String>,
    host_name: Option<String>,
}

/// [`CacheChoice`] as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum CacheWord {
    Recipe,
    Off,
    In(PathBuf),
}

/// An input as it was when the plan was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedInput {
    /// What identifies its content.
    pub print: Fingerprint,
    /// By how much the identities of the next input's rows lie behind those of this one's, where
    /// that is known without reading it.
    pub extent: Option<u64>,
}

/// What must be found out of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// How many lines begin between two bytes of it.
    Lines {
        /// The input.
        input: usize,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        until: u64,
    },
    /// By how much the identities of the next input's rows lie behind those of this one's.
    Extent {
        /// The input.
        input: usize,
    },
}

/// Rows of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPiece {
    /// The input.
    pub input: usize,
    /// The byte that its first row begins with or behind; of a column file, that row's number.
    pub from: u64,
    /// Rows from this byte or number on are not its; nothing for the rest of the input.
    pub until: Option<u64>,
    /// How many rows of the input stand before it, if that is known.
    pub rows: Option<u64>,
}

impl Said {
    fn of(recipe: &Recipe, options: &RunOptions) -> Self {
        Self {
            working_dir: options.working_dir.clone(),
            run_dir: options.run_dir.clone(),
            max_quarantine: options.max_quarantine(recipe),
            tolerate: options.tolerate,
            cache: match &options.cache {
                CacheChoice::Recipe => CacheWord::Recipe,
                CacheChoice::Off => CacheWord::Off,
                CacheChoice::In(dir) => CacheWord::In(dir.clone()),
            },
            force: options.force,
            command: options.command.clone(),
            host_name: options.host_name.clone(),
        }
    }

    /// How many rows of the run may fail.
    #[must_use]
    pub fn max_quarantine(&self) -> QuarantineLimit {
        self.max_quarantine
    }

    /// The options of a run or task on this machine, of which `here` says the rest.
    #[must_use]
    pub fn options(&self, here: RunOptions) -> RunOptions {
        RunOptions {
            working_dir: self.working_dir.clone(),
            run_dir: self.run_dir.clone(),
            max_quarantine: Some(self.max_quarantine),
            tolerate: self.tolerate,
            cache: match &self.cache {
                CacheWord::Recipe => CacheChoice::Recipe,
                CacheWord::Off => CacheChoice::Off,
                CacheWord::In(dir) => CacheChoice::In(dir.clone()),
            },
            force: self.force,
            command: self.command.clone(),
            host_name: self.host_name.clone(),
            ..here
        }
    }
}

impl TaskPlan {
    /// Cuts a run of `recipe` into tasks.
    ///
    /// # Errors
    /// If the recipe cannot be run by tasks, its outputs are taken, or an input cannot be read.
    pub fn of(recipe: &Recipe, options: &RunOptions, cut: Cut) -> Result<Self, TasksError> {
        refuse(recipe, options)?;
        let Cut {
            task_bytes,
            partitions,
        } = cut;
        let phases = phases(&recipe.steps);
        let phases = phases.iter().filter(|_| partitions > 0);
        let rounds = phases.map(|phase| rounds(phase, &recipe.steps));
        let rounds: Vec<Vec<Round>> = rounds.collect();
        if partitions > 0 && rounds.iter().all(Vec::is_empty) {
            return Err(TasksError::Refused {
                what: "no step of this recipe finds duplicates by partitions".to_owned(),
                hint: "leave --partitions out: near-duplicates are found so, and exact ones before and behind them, where the first row stays, and no step before makes rows of others or selects some",
            });
        }
        run::check(recipe, options)?;
        let plan = Plan::of(recipe).map_err(RunError::of_asset)?;
        let sources = setup::inputs(recipe);
        let prints = fingerprints(&sources).map_err(RunError::from)?;
        let mut planned = Self {
            version: VERSION,
            djr: env!("CARGO_PKG_VERSION").to_owned(),
            plan,
            notes: recipe.notes.clone(),
            said: Said::of(recipe, options),
            task_bytes,
            partitions,
            rounds,
            inputs: Vec::new(),
            measures: Vec::new(),
            reads: Vec::new(),
        };
        let last = sources.len().saturating_sub(1);
        let mut room = 0;
        for (number, (input, print)) in sources.iter().zip(prints).enumerate() {
            let print = print.ok_or(RunError::CannotResume)?;
            let source = input.source();
            let splits = source.splits(task_bytes).map_err(RunError::from)?;
            let extent = source.extent().map_err(RunError::from)?;
            // Of a file that is cut, the last piece leaves room for what follows.
            let last_cut = splits.last().map_or(0, |split| split.from.bytes);
            let by_rows = splits.iter().any(Split::is_numbered);
            let of_last = if by_rows {
                print.bytes / splits.len().max(1) as u64
            } else {
                print.bytes.saturating_sub(last_cut)
            };
            for (index, split) in splits.iter().enumerate() {
                let rows = (split.is_numbered() || index == 0).then_some(split.from.rows);
                if let Some(until) = split.until
                    && !by_rows
                {
                    planned.measures.push(Measure::Lines {
                        input: number,
                        from: split.from.bytes,
                        until,
                    });
                }
                let piece = PlannedPiece {
                    input: number,
                    from: split.from.bytes,
                    until: split.until,
                    rows,
                };
                let bytes = if split.until.is_some() {
                    task_bytes
                } else {
                    of_last
                };
                match planned.reads.last_mut() {
                    // Small inputs share a task; pieces of one input do not.
                    Some(task) if index == 0 && bytes <= room => task.push(piece),
                    _ => {
                        planned.reads.push(vec![piece]);
                        room = task_bytes;
                    }
                }
                room = room.saturating_sub(bytes);
            }
            if extent.is_none() && number < last {
                planned.measures.push(Measure::Extent { input: number });
            }
            planned.inputs.push(PlannedInput { print, extent });
        }
        Ok(planned)
    }

    /// How many passes over the rows there are.
    #[must_use]
    pub fn passes(&self) -> usize {
        self.plan.stages.len()
    }

    /// Reads the plan that the file `path` holds.
    ///
    /// # Errors
    /// If it is none, or another djr wrote it.
    pub fn read(path: &Path, text: &[u8]) -> Result<Self, TasksError> {
        let cannot = |error: serde_json::Error| TasksError::NoPlan {
            path: path.display().to_string(),
            error: error.into(),
        };
        let head: Head = serde_json::from_slice(text).map_err(cannot)?;
        if head.version != VERSION || head.djr != env!("CARGO_PKG_VERSION") {
            return Err(TasksError::Refused {
                what: format!(
                    "djr {} made the plan, this is {}",
                    head.djr,
                    env!("CARGO_PKG_VERSION")
                ),
                hint: "every machine needs the same djr",
            });
        }
        serde_json::from_slice(text).map_err(cannot)
    }
}

/// What is read of a plan first.
#[derive(Deserialize)]
struct Head {
    version: u32,
    djr: String,
}

/// Refuses by name what tasks cannot do.
fn refuse(recipe: &Recipe, options: &RunOptions) -> Result<(), TasksError> {
    let refused = |what: String, hint| Err(TasksError::Refused { what, hint });
    if !matches!(recipe.inputs, Inputs::Files(_)) {
        return refused(
            "tasks read files, and the input is none".to_owned(),
            "write the rows to a file first, or use djr run",
        );
    }
    if let Some(output) = recipe.outputs.iter().find(|o| !o.target.is_file()) {
        return refused(
            format!(
                "tasks write files, and the output {} is none",
                output.target
            ),
            "name a file, or an object of a store, by --output, or use djr run",
        );
    }
    let limits = [
        ("max_cost", options.max_cost.is_some()),
        ("max_tokens_total", options.max_tokens_total.is_some()),
    ];
    if let Some((limit, _)) = limits.iter().find(|(_, is_set)| *is_set)
        && setup::asks_servers(recipe)
    {
        return refused(
            format!("{limit} cannot be held by tasks that ask servers at the same time"),
            "leave it out (djr run --estimate tells what all rows would cost), or use djr run",
        );
    }
    if options.cached_stats.is_some() {
        return refused(
            "stats that were measured before do not go with tasks".to_owned(),
            "use djr recut",
        );
    }
    Ok(())
}
