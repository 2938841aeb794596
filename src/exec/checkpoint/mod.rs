//! Checkpoints: durable progress of a run, from which a later process goes on.
//!
//! Everything a run writes is append-only. A checkpoint makes all of it durable and then replaces
//! one small file, `checkpoint/state.json` in the run directory, that says how long each file was
//! and how far the inputs were read. Going on means cutting every file back to that length.

mod state;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use state::{Identity, State, read_progress, read_state, write_state};
pub use state::{Progress, Remaining};

use super::accounting::{Accounting, AccountingState, stats_beside};
use super::sinks::{index_of, numbered, split_files};
use super::{Resume, RunError, RunOptions, write_error};
use crate::io::atomic::Keep;
use crate::io::lock::{unix_now, utc};
use crate::io::workspace::Lengths;
use crate::io::{Fingerprint, Input, PendingFile, Workspace};
use crate::layout::RunFiles;
use crate::plan::Plan;
use crate::recipe::{OutputSpec, Recipe, RecipeSpec, Target};

/// Time between checkpoints, unless the user says otherwise.
const EVERY: Duration = Duration::from_secs(10);

/// A checkpoint may cost at most one part in this many of the time since the last one.
const SHARE: u32 = 50;

/// Keeps the progress of one run.
pub struct Checkpointer {
    /// Where the working files are; `None` if the run cannot be resumed.
    files: Option<RunFiles>,
    keep: Keep,
    identity: Identity,
    lengths: Lengths,
    started_unix: u64,
    started: Instant,
    before: Duration,
    every: Option<Duration>,
    saved: Instant,
    cost: Duration,
}

/// What tasks did of a run before its ordered step.
#[derive(Debug, Clone)]
pub struct ByTasks {
    /// The digest of their plan.
    pub plan: String,
    /// When the first of them began, in seconds since 1970.
    pub started_unix: u64,
    /// How long at least one of them was at work.
    pub elapsed: Duration,
}

/// A run opened: its checkpointer, its working files and, if it goes on, where.
pub struct Opened {
    pub checkpointer: Checkpointer,
    pub workspace: Workspace,
    pub accounting: Option<AccountingState>,
    pub left: Remaining,
}

impl Checkpointer {
    /// Opens the checkpointer of a run, of which `tasks` say what was done by tasks.
    ///
    /// # Errors
    /// If an unfinished run of the same outputs is in the way, or has changed, or an input cannot
    /// be read.
    pub fn open(
        recipe: &Recipe,
        options: &RunOptions,
        inputs: &[Input],
        files: Option<&RunFiles>,
        tasks: Option<&ByTasks>,
    ) -> Result<Opened, RunError> {
        let mut identity = Identity::of(recipe, options, inputs)?;
        identity.tasks = tasks.map(|tasks| tasks.plan.clone());
        let kept = files
            .filter(|_| identity.inputs.iter().all(Option::is_some))
            .filter(|_| recipe.outputs.iter().all(|o| o.target.is_file()));
        let keep = Keep::default();
        let mut checkpointer = Self {
            files: kept.cloned(),
            keep: keep.clone(),
            identity,
            lengths: Lengths::new(),
            started_unix: tasks.map_or_else(unix_now, |tasks| tasks.started_unix),
            started: Instant::now(),
            before: tasks.map_or(Duration::ZERO, |tasks| tasks.elapsed),
            every: options.checkpoint_every,
            saved: Instant::now(),
            cost: Duration::ZERO,
        };
        let Some(kept) = kept else {
            if options.resume == Resume::Continue {
                return Err(RunError::CannotResume);
            }
            if let Some(unfinished_run) = files.filter(|files| files.is_unfinished()) {
                if options.resume == Resume::Refuse {
                    let state = read_progress(unfinished_run).map_err(|e| {
                        RunError::Checkpoint(unfinished_run.state().display().to_string(), e)
                    })?;
                    if let Some(state) = state {
                        return Err(unfinished(&unfinished_run.checkpoint(), &state));
                    }
                }
                remove_leftovers(recipe, files);
            }
            let directory = files.map_or_else(std::env::temp_dir, |files| files.dir.clone());
            return Ok(Opened {
                checkpointer,
                workspace: Workspace::nameless(directory),
                accounting: None,
                left: Remaining::Rows(Progress::default()),
            });
        };
        let directory = kept.checkpoint();
        let state = match (read_progress(kept), options.resume) {
            (Ok(None), _) | (_, Resume::Restart) => None,
            (Err(e), _) => {
                return Err(RunError::Checkpoint(kept.state().display().to_string(), e));
            }
            (Ok(Some(state)), Resume::Continue) => Some(state),
            (Ok(Some(state)), Resume::Refuse) => return Err(unfinished(&directory, &state)),
        };
        let Some(state) = state else {
            remove_leftovers(recipe, files);
            kept.make_checkpoint()
                .map_err(|e| write_error(directory.display(), e))?;
            return Ok(Opened {
                checkpointer,
                workspace: Workspace::kept(directory, Lengths::new(), keep),
                accounting: None,
                left: Remaining::Rows(Progress::default()),
            });
        };
        let changes = state.identity.differences(&checkpointer.identity);
        if !changes.is_empty() {
            return Err(RunError::Changed(changes));
        }
        keep.set(true);
        checkpointer.lengths = state.lengths.clone();
        if tasks.is_none() {
            checkpointer.started_unix = state.started_unix;
        }
        // Tasks that decided are this very run: what they took stands in both.
        checkpointer.before = state.elapsed.max(checkpointer.before);
        Ok(Opened {
            checkpointer,
            workspace: Workspace::kept(directory, state.lengths, keep),
            accounting: Some(state.accounting),
            left: state.left,
        })
    }

    /// Makes sure that [`Checkpointer::open`] would open a run, and that it could be gone on with.
    ///
    /// # Errors
    /// As [`Checkpointer::open`].
    pub fn check(
        recipe: &Recipe,
        options: &RunOptions,
        inputs: &[Input],
        files: Option<&RunFiles>,
    ) -> Result<(), RunError> {
        let identity = Identity::of(recipe, options, inputs)?;
        let lasting = identity.inputs.iter().all(Option::is_some)
            && recipe.outputs.iter().all(|o| o.target.is_file());
        let Some(files) = files.filter(|_| lasting) else {
            return Err(RunError::CannotResume);
        };
        match read_progress(files) {
            Ok(Some(state)) if options.resume == Resume::Refuse => {
                Err(unfinished(&files.checkpoint(), &state))
            }
            _ if options.resume == Resume::Restart => {
                remove_leftovers(recipe, Some(files));
                Ok(())
            }
            Err(e) => Err(RunError::Checkpoint(files.state().display().to_string(), e)),
            Ok(_) => Ok(()),
        }
    }

    /// What identified the inputs when the run began.
    #[must_use]
    pub fn fingerprints(&self) -> &[Option<Fingerprint>] {
        &self.identity.inputs
    }

    /// The plan of the run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.identity.plan
    }

    /// Time spent on the run, in earlier processes too.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    /// When the run was started, in UTC.
    #[must_use]
    pub fn started(&self) -> String {
        utc(self.started_unix)
    }

    /// Whether it is time for a checkpoint.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let every = self.every.unwrap_or_else(|| EVERY.max(self.cost * SHARE));
        self.files.is_some() && self.saved.elapsed() >= every
    }

    /// Says that the run has begun, and what it will write: who looks at what a killed run left finds
    /// it. There is no progress yet to go on from.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn begin(&self) -> Result<(), RunError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let state = State {
            identity: self.identity.clone(),
            started_unix: self.started_unix,
            saved_unix: unix_now(),
            elapsed: self.elapsed(),
            lengths: Lengths::new(),
            accounting: AccountingState::default(),
            left: Remaining::Rows(Progress::default()),
        };
        write_state(files, &state).map_err(|e| write_error(files.state().display(), e))
    }

    /// Whether a later process can go on from where this run, or the one that it went on with, was.
    #[must_use]
    pub fn has_saved(&self) -> bool {
        self.keep.is_set()
    }

    /// Makes the run's progress durable: `sync` does so for what it has open, and says what is
    /// left to do.
    ///
    /// # Errors
    /// If the disk is full or fails; the checkpoint before is then still there.
    pub fn save(
        &mut self,
        accounting: &mut Accounting,
        sync: impl FnOnce(&mut Lengths) -> Result<Remaining, RunError>,
    ) -> Result<(), RunError> {
        let Some(files) = self.files.clone() else {
            return Ok(());
        };
        let failed = |e| write_error(files.checkpoint().display(), e);
        let began = Instant::now();
        let mut lengths = self.lengths.clone();
        let left = sync(&mut lengths)?;
        let accounting = accounting.sync(&mut lengths).map_err(failed)?;
        let state = State {
            identity: self.identity.clone(),
            started_unix: self.started_unix,
            saved_unix: unix_now(),
            elapsed: self.elapsed(),
            lengths,
            accounting,
            left,
        };
        // Before the state has its name: even if making that durable fails, it may be found.
        self.keep.set(true);
        let unsaved = |e| write_error(files.state().display(), e);
        write_state(&files, &state).map_err(unsaved)?;
        self.lengths = state.lengths;
        self.saved = Instant::now();
        self.cost = began.elapsed();
        Ok(())
    }

    /// Ends the run's working files: it is finished, or it failed in a way that state on cannot
    /// mend.
    pub fn discard(&self, recipe: &Recipe, files: Option<&RunFiles>) {
        if self.files.is_some() {
            remove_leftovers(recipe, files);
        }
    }

    /// Makes sure that no input has changed since the run began.
    ///
    /// # Errors
    /// [`RunError::InputChanged`].
    pub fn check_inputs(&self, inputs: &[Input]) -> Result<(), RunError> {
        for (print, input) in self.identity.inputs.iter().zip(inputs) {
            let Some(print) = print else { continue };
            let change = match input.source().fingerprint() {
                Ok(Some(now)) => print.difference(&now),
                Ok(None) => Some("it is no regular file any more".to_owned()),
                Err(e) => Some(e.to_string()),
            };
            if let Some(change) = change {
                return Err(RunError::InputChanged {
                    name: print.name.clone(),
                    change,
                });
            }
        }
        Ok(())
    }
}

fn unfinished(directory: &Path, state: &State) -> RunError {
    RunError::Unfinished {
        directory: directory.display().to_string(),
        rows: state.accounting.report.rows_in,
        since: utc(state.started_unix),
    }
}

/// Rows read before the progress in `files`, if there is some.
#[must_use]
pub fn rows_done(files: &RunFiles) -> Option<u64> {
    let state = read_progress(files).ok().flatten()?;
    Some(state.accounting.report.rows_in)
}

/// Whether there is progress in `files` to go on from, or something that cannot be read as such.
#[must_use]
pub fn has_progress(files: &RunFiles) -> bool {
    !matches!(read_progress(files), Ok(None))
}

/// What the last checkpoint of an unfinished run says of it.
pub struct Saved {
    /// The recipe, or the command.
    pub recipe: String,
    /// Rows read.
    pub rows: u64,
    /// When it was saved, in seconds since 1970.
    pub when_unix: u64,
    /// The outputs that are files.
    pub outputs: Vec<PathBuf>,
}

/// What the last checkpoint in `files` says.
///
/// # Errors
/// If it is of another version, damaged, or gone.
pub fn saved(files: &RunFiles) -> io::Result<Saved> {
    let state = read_state(files)?.ok_or(io::ErrorKind::NotFound)?;
    let spec = RecipeSpec::from_json(state.identity.plan.recipe).map_err(io::Error::other)?;
    let outputs = spec.outputs.iter();
    Ok(Saved {
        rows: state.accounting.report.rows_in,
        when_unix: state.saved_unix,
        outputs: outputs
            .filter_map(|output| output.target.path().map(Path::to_owned))
            .collect(),
        recipe: spec.name,
    })
}

/// All files of the unfinished run in `files`, those in its directory for working files too.
#[must_use]
pub fn part_files(files: &RunFiles) -> Vec<PathBuf> {
    let state = read_state(files).ok().flatten();
    let spec = state.and_then(|state| RecipeSpec::from_json(state.identity.plan.recipe).ok());
    let mut found = spec.map_or_else(Vec::new, |spec| parts(&spec.outputs, Some(files)));
    let working = fs::read_dir(files.checkpoint()).into_iter().flatten();
    let working = working.flatten().map(|entry| entry.path());
    found.extend(working.filter(|path| path.is_file() && !RunFiles::is_mark(path)));
    found
}

/// The parts of outputs and records that wait for their names.
fn parts(outputs: &[OutputSpec], files: Option<&RunFiles>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |target: &Path| {
        let index = PendingFile::lasting_part(&index_of(target));
        found.extend(index.ok().filter(|part| part.exists()));
        let reordered = PendingFile::reordered_part(target);
        found.extend(reordered.ok().filter(|part| part.exists()));
        let part = PendingFile::lasting_part(target);
        let part = part.ok().filter(|part| part.exists());
        let is_there = part.is_some();
        found.extend(part);
        is_there
    };
    for (number, spec) in outputs.iter().enumerate() {
        if let Target::File(path) = &spec.target {
            if let Some(files) = files.filter(|_| spec.split.is_some()) {
                for file in split_files(&files.checkpoint(), number, path) {
                    add(&file);
                }
            }
            add(path);
            if let Some(beside) = spec.format.beside {
                add(&(beside.file)(path));
            }
            let mut shard = 0;
            while (spec.shard_size.is_some() || spec.shard_rows.is_some())
                && add(&numbered(path, shard, None))
            {
                shard += 1;
            }
        }
    }
    if let Some(stats) = stats_beside(outputs) {
        add(&stats);
    }
    for record in files.iter().flat_map(|files| files.records()) {
        add(&record);
    }
    found
}

/// Removes what an unfinished run of `recipe` left: its working files and the parts of its outputs.
fn remove_leftovers(recipe: &Recipe, files: Option<&RunFiles>) {
    for part in parts(&recipe.outputs, files) {
        let _ = fs::remove_file(part);
    }
    if let Some(files) = files {
        files.remove_checkpoint();
        // Goes only if the run left nothing else there.
        let _ = fs::remove_dir(&files.dir);
    }
}
