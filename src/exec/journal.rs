//! Checkpoints: durable progress of a run, from which a later process goes on.
//!
//! Everything a run writes is append-only. A checkpoint makes all of it durable and then replaces
//! one small file, `checkpoint/state.json` in the run directory, that says how long each file was
//! and how far the inputs were read. Going on means cutting every file back to that length.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use super::books::{Books, BooksState, stats_path};
use super::sinks::{SinkState, numbered};
use super::{Resume, RunError, RunOptions, write_error};
use crate::io::atomic::{Keep, Sealed, create_fresh, sync_directory};
use crate::io::lock::{unix_now, utc};
use crate::io::source::{InputSummary, fingerprints};
use crate::io::workspace::Lengths;
use crate::io::{Fingerprint, Input, PendingFile, Position, Workspace};
use crate::plan::Plan;
use crate::recipe::{Recipe, Target};
use crate::record::RunFiles;

/// Time between checkpoints, unless the user says otherwise.
const EVERY: Duration = Duration::from_secs(10);

/// A checkpoint may cost at most one part in this many of the time since the last one.
const SHARE: u32 = 50;

/// How far a phase has got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Cursor {
    /// It reads the inputs.
    Inputs(Position),
    /// It reads rows of the phase before, and this many of them are done.
    Rows(usize),
}

/// How far a run has got.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The phase it is in.
    pub phase: usize,
    /// How far that has read; nothing yet if absent.
    pub cursor: Option<Cursor>,
    /// What was read of the inputs, once a phase has read them all.
    pub summaries: Option<Vec<InputSummary>>,
    /// Outputs that are open or complete, in the last phase.
    pub sinks: Vec<Option<SinkState>>,
}

/// What is left to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Left {
    /// Rows.
    Rows(Progress),
    /// Everything is written; files wait for their names.
    Names(Vec<Sealed>),
}

/// What a run must find unchanged to be gone on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Identity {
    djr: String,
    plan: Plan,
    working_dir: PathBuf,
    inputs: Vec<Option<Fingerprint>>,
}

#[derive(Serialize, Deserialize)]
struct State {
    identity: Identity,
    started_unix: u64,
    saved_unix: u64,
    elapsed: Duration,
    lengths: Lengths,
    books: BooksState,
    left: Left,
}

/// Keeps the progress of one run.
pub struct Journal {
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

/// A run opened: its journal, its working files and, if it goes on, where.
pub struct Opened {
    pub journal: Journal,
    pub workspace: Workspace,
    pub books: Option<BooksState>,
    pub left: Left,
}

impl Journal {
    /// Opens the journal of a run.
    ///
    /// # Errors
    /// If an unfinished run of the same outputs is in the way, or has changed, or an input cannot
    /// be read.
    pub fn open(
        recipe: &Recipe,
        options: &RunOptions,
        inputs: &[Input],
        files: Option<&RunFiles>,
    ) -> Result<Opened, RunError> {
        let identity = Identity::of(recipe, options, inputs)?;
        let kept = files
            .filter(|_| identity.inputs.iter().all(Option::is_some))
            .filter(|_| recipe.outputs.iter().all(|o| o.target.is_file()));
        let keep = Keep::default();
        let mut journal = Self {
            files: kept.cloned(),
            keep: keep.clone(),
            identity,
            lengths: Lengths::new(),
            started_unix: unix_now(),
            started: Instant::now(),
            before: Duration::ZERO,
            every: options.checkpoint_every,
            saved: Instant::now(),
            cost: Duration::ZERO,
        };
        let Some(kept) = kept else {
            if options.resume == Resume::Continue {
                return Err(RunError::CannotResume);
            }
            if let Some(unfinished_run) = files.filter(|files| files.is_unfinished()) {
                let checkpoint = unfinished_run.checkpoint();
                if options.resume == Resume::Refuse {
                    return Err(match read_state(unfinished_run) {
                        Ok(state) => unfinished(&checkpoint, state.as_ref()),
                        Err(e) => {
                            RunError::Checkpoint(unfinished_run.state().display().to_string(), e)
                        }
                    });
                }
                remove_leftovers(recipe, files);
            }
            let directory = files.map_or_else(std::env::temp_dir, |files| files.dir.clone());
            return Ok(Opened {
                journal,
                workspace: Workspace::nameless(directory),
                books: None,
                left: Left::Rows(Progress::default()),
            });
        };
        let directory = kept.checkpoint();
        let state = match (read_state(kept), options.resume) {
            (Ok(None), _) | (_, Resume::Restart) => None,
            (Err(e), _) => {
                return Err(RunError::Checkpoint(kept.state().display().to_string(), e));
            }
            (Ok(Some(state)), Resume::Continue) => Some(state),
            (Ok(Some(state)), Resume::Refuse) => return Err(unfinished(&directory, Some(&state))),
        };
        let Some(state) = state else {
            remove_leftovers(recipe, files);
            kept.make_checkpoint()
                .map_err(|e| write_error(directory.display(), e))?;
            return Ok(Opened {
                journal,
                workspace: Workspace::kept(directory, Lengths::new(), keep),
                books: None,
                left: Left::Rows(Progress::default()),
            });
        };
        let changes = state.identity.differences(&journal.identity);
        if !changes.is_empty() {
            return Err(RunError::Changed(changes));
        }
        keep.set(true);
        journal.lengths = state.lengths.clone();
        journal.started_unix = state.started_unix;
        journal.before = state.elapsed;
        Ok(Opened {
            journal,
            workspace: Workspace::kept(directory, state.lengths, keep),
            books: Some(state.books),
            left: state.left,
        })
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

    /// Whether it is time for a checkpoint.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let every = self.every.unwrap_or_else(|| EVERY.max(self.cost * SHARE));
        self.files.is_some() && self.saved.elapsed() >= every
    }

    /// Makes the run's progress durable: `sync` does so for what it has open, and says what is
    /// left to do.
    ///
    /// # Errors
    /// If the disk is full or fails; the checkpoint before is then still there.
    pub fn save(
        &mut self,
        books: &mut Books,
        sync: impl FnOnce(&mut Lengths) -> Result<Left, RunError>,
    ) -> Result<(), RunError> {
        let Some(files) = self.files.clone() else {
            return Ok(());
        };
        let failed = |e| write_error(files.checkpoint().display(), e);
        let began = Instant::now();
        let mut lengths = self.lengths.clone();
        let left = sync(&mut lengths)?;
        let books = books.sync(&mut lengths).map_err(failed)?;
        let state = State {
            identity: self.identity.clone(),
            started_unix: self.started_unix,
            saved_unix: unix_now(),
            elapsed: self.elapsed(),
            lengths,
            books,
            left,
        };
        // Before the state has its name: even if making that durable fails, it may be found.
        self.keep.set(true);
        write_state(&files, &state).map_err(failed)?;
        self.lengths = state.lengths;
        self.saved = Instant::now();
        self.cost = began.elapsed();
        Ok(())
    }

    /// Ends the run's working files: it is finished, or it failed in a way that going on cannot
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

fn unfinished(directory: &Path, state: Option<&State>) -> RunError {
    RunError::Unfinished {
        directory: directory.display().to_string(),
        rows: state.map_or(0, |s| s.books.report.rows_in),
        since: state.map_or_else(String::new, |s| utc(s.started_unix)),
    }
}

impl Identity {
    fn of(recipe: &Recipe, options: &RunOptions, inputs: &[Input]) -> Result<Self, RunError> {
        let inputs = fingerprints(inputs)?;
        let plan = Plan::of(recipe).map_err(|error| crate::io::SourceError::Io {
            name: "a file of an output".to_owned(),
            error,
        })?;
        Ok(Self {
            djr: env!("CARGO_PKG_VERSION").to_owned(),
            plan,
            working_dir: options.working_dir.clone(),
            inputs,
        })
    }

    /// What is different in `now`, in words.
    fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.djr != now.djr {
            found.push(format!("djr was {} and is {}", self.djr, now.djr));
        }
        if self.working_dir != now.working_dir {
            found.push(format!(
                "the working directory was {}",
                self.working_dir.display()
            ));
        }
        found.extend(self.plan.differences(&now.plan));
        for (before, now) in self.inputs.iter().zip(&now.inputs) {
            if let (Some(before), Some(now)) = (before, now)
                && let Some(change) = before.difference(now)
            {
                found.push(format!("{}: {change}", now.name));
            }
        }
        found
    }
}

/// The state as the file holds it: the digest is that of the JSON text of the state.
#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    xxh3_128: String,
    state: Box<RawValue>,
}

/// Raised when the state of a run is written in another way.
const STATE_VERSION: u32 = 1;

fn read_state(files: &RunFiles) -> Result<Option<State>, io::Error> {
    if !files.is_unfinished() {
        return Ok(None);
    }
    let file: StateFile = serde_json::from_slice(&fs::read(files.state())?)?;
    if file.version != STATE_VERSION {
        let version = file.version;
        return Err(io::Error::other(format!(
            "it has version {version}, this djr goes on with version {STATE_VERSION}"
        )));
    }
    if file.xxh3_128 != text_digest(file.state.get()) {
        return Err(io::Error::other("it holds other bytes than were written"));
    }
    Ok(Some(serde_json::from_str(file.state.get())?))
}

fn write_state(files: &RunFiles, state: &State) -> io::Result<()> {
    let path = files.state();
    let new = path.with_extension("new");
    let state = serde_json::value::to_raw_value(state)?;
    let state = StateFile {
        version: STATE_VERSION,
        xxh3_128: text_digest(state.get()),
        state,
    };
    let mut file = create_fresh(&new)?;
    file.write_all(&serde_json::to_vec(&state)?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    sync_directory(&files.checkpoint())
}

fn text_digest(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// Removes what an unfinished run of `recipe` left: its working files and the parts of its outputs.
fn remove_leftovers(recipe: &Recipe, files: Option<&RunFiles>) {
    let remove = |target: &Path| {
        PendingFile::lasting_part(target)
            .and_then(fs::remove_file)
            .is_ok()
    };
    for spec in &recipe.outputs {
        if let Target::File(path) = &spec.target {
            remove(path);
            let mut shard = 0;
            while spec.shard_size.is_some() && remove(&numbered(path, shard, None)) {
                shard += 1;
            }
        }
    }
    if let Some(stats) = stats_path(recipe) {
        remove(&stats);
    }
    if let Some(files) = files {
        for record in files.records() {
            remove(&record);
        }
        files.remove_checkpoint();
        // Goes only if the run left nothing else there.
        let _ = fs::remove_dir(&files.dir);
    }
}
