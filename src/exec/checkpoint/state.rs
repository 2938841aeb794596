//! What a checkpoint says, in types, and its file.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::exec::accounting::AccountingState;
use crate::exec::sinks::SinkState;
use crate::exec::stage::Cursor;
use crate::exec::{RunError, RunOptions};
use crate::io::atomic::{Sealed, create_fresh, sync_directory};
use crate::io::source::{InputSummary, fingerprints};
use crate::io::workspace::Lengths;
use crate::io::{Fingerprint, Input};
use crate::layout::RunFiles;
use crate::plan::Plan;
use crate::recipe::Recipe;

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
pub enum Remaining {
    /// Rows.
    Rows(Progress),
    /// Everything is written; files wait for their names.
    Names(Vec<Sealed>),
}

/// What a run must find unchanged to be gone on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    djr: String,
    pub(super) plan: Plan,
    pub(super) working_dir: PathBuf,
    pub(super) inputs: Vec<Option<Fingerprint>>,
    /// The digest of the plan of the tasks that do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tasks: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct State {
    pub(super) identity: Identity,
    pub(super) started_unix: u64,
    pub(super) saved_unix: u64,
    pub(super) elapsed: Duration,
    pub(super) lengths: Lengths,
    pub(super) accounting: AccountingState,
    pub(super) left: Remaining,
}

impl State {
    /// Whether it says no more than that the run has begun.
    fn is_beginning(&self) -> bool {
        let unread = |at: &Progress| at.phase == 0 && at.cursor.is_none();
        self.lengths.is_empty() && matches!(&self.left, Remaining::Rows(at) if unread(at))
    }
}

impl Identity {
    pub(super) fn of(
        recipe: &Recipe,
        options: &RunOptions,
        inputs: &[Input],
    ) -> Result<Self, RunError> {
        let inputs = fingerprints(inputs)?;
        let plan = Plan::of(recipe).map_err(RunError::of_asset)?;
        Ok(Self {
            djr: env!("CARGO_PKG_VERSION").to_owned(),
            plan,
            working_dir: options.working_dir.clone(),
            inputs,
            tasks: None,
        })
    }

    /// What is different in `now`, in words.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
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
        match (&self.tasks, &now.tasks) {
            (Some(_), None) => found.push("tasks did it, which djr finish goes on with".to_owned()),
            (None, Some(_)) => found.push("it was no run of tasks".to_owned()),
            (Some(was), Some(now)) if was != now => {
                found.push("the tasks were cut in another way".to_owned());
            }
            _ => {}
        }
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
pub(super) struct StateFile {
    version: u32,
    xxh3_128: String,
    state: Box<RawValue>,
}

/// Raised when the state of a run is written in another way.
const STATE_VERSION: u32 = 5;

pub(super) fn read_state(files: &RunFiles) -> Result<Option<State>, io::Error> {
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

/// The state, if there is progress in it to go on from.
pub(super) fn read_progress(files: &RunFiles) -> Result<Option<State>, io::Error> {
    let state = read_state(files)?;
    Ok(state.filter(|state| !state.is_beginning()))
}

pub(super) fn write_state(files: &RunFiles, state: &State) -> io::Result<()> {
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
