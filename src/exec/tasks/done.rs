//! Attempts at a task, and the record of the one that counts.
//!
//! An attempt works in a directory of its own. It counts once its record has the name `ID.done`,
//! which is given by a link (in a store: by a request) that fails where that name exists, so that of
//! any number of attempts one counts; the others remove what they made. Whoever reads files follows
//! the records.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::mirror::Mirror;
use crate::exec::{RunError, write_error};
use crate::io::atomic::{create_fresh, sync_directory};
use crate::io::named;
use crate::io::source::InputSummary;
use crate::io::workspace::Lengths;
use crate::record::ServiceRecord;

/// The record of a task that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The digest of the plan it belongs to.
    pub plan: String,
    /// The task.
    pub task: String,
    /// The directory of the attempt that counts, beside this record.
    pub attempt: PathBuf,
    /// Its files, with size and XXH3-128.
    pub files: Lengths,
    /// What it found.
    pub facts: Facts,
    /// When the attempt began and ended, in milliseconds since 1970.
    pub at_work: (u64, u64),
}

/// What a task found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Facts {
    /// Lines that begin in a range.
    Lines(u64),
    /// What identities of the rows behind an input are moved by.
    Extent(u64),
    /// Rows that it took through the steps of a pass.
    Rows {
        /// How many came out of it, parts of rows included.
        rows: u64,
        /// How many could not be processed, by reason: those that no exact deduplicator can turn
        /// into duplicates.
        failed: BTreeMap<String, u64>,
        /// What was read of each of its pieces of inputs.
        read: Vec<InputSummary>,
        /// What its steps asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        services: Vec<ServiceRecord>,
    },
    /// Records that it left for others: keys, pairs of rows that are joined, or rows that go.
    Records(u64),
    /// What the steps that see all rows left: so many rows for each task of the next pass.
    Decided(Vec<u64>),
}

/// An attempt at a task. What it made goes with it unless it counts.
pub struct Attempt {
    tasks: PathBuf,
    id: String,
    directory: PathBuf,
    began: u64,
    counts: bool,
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// When the first of these attempts began, in seconds since 1970, and for how long at least one of
/// them was at work.
pub fn together(mut attempts: Vec<(u64, u64)>) -> Option<(u64, Duration)> {
    attempts.sort_unstable();
    let (first, mut until) = *attempts.first()?;
    let mut worked = until.saturating_sub(first);
    for (began, ended) in attempts {
        worked += ended.saturating_sub(began.max(until));
        until = until.max(ended);
    }
    Some((first / 1000, Duration::from_millis(worked)))
}

/// Where the record of the task `id` is.
fn record(tasks: &Path, id: &str) -> PathBuf {
    tasks.join(format!("{id}.done"))
}

/// The record of the task `id`, if it is done.
///
/// # Errors
/// If it is there and cannot be read.
pub fn done(tasks: &Path, id: &str) -> io::Result<Option<Done>> {
    let path = record(tasks, id);
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?,
    };
    let read = serde_json::from_slice(&bytes);
    let failed = |e| io::Error::other(format!("{}: {e}", path.display()));
    read.map(Some).map_err(failed)
}

impl Attempt {
    /// Begins a new attempt at the task `id`.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn begin(tasks: &Path, id: &str) -> io::Result<Self> {
        let of_task = tasks.join(id);
        fs::create_dir_all(&of_task)?;
        // Machines that share a store see each other's names too late to choose others.
        let directory = tempfile::Builder::new()
            .prefix("attempt-")
            .rand_bytes(16)
            .tempdir_in(&of_task)?;
        Ok(Self {
            tasks: tasks.to_owned(),
            id: id.to_owned(),
            directory: directory.keep(),
            began: now(),
            counts: false,
        })
    }

    /// Where it works.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends the attempt, whose files are durable: says whether it is the one that counts. Where the
    /// plan is in a store, `mirror` takes the files there before.
    ///
    /// # Errors
    /// If the record, or a file, cannot be written.
    pub fn commit(
        mut self,
        plan: &str,
        files: Lengths,
        facts: Facts,
        mirror: Option<&Mirror>,
    ) -> Result<bool, RunError> {
        let done = Done {
            plan: plan.to_owned(),
            task: self.id.clone(),
            attempt: self.directory.file_name().unwrap_or_default().into(),
            files,
            facts,
            at_work: (self.began, now()),
        };
        let failed = |e| write_error(self.tasks.display(), e);
        let text = serde_json::to_vec(&done).map_err(|e| failed(e.into()))?;
        self.counts = match mirror {
            Some(mirror) => mirror.commit(&done, &text)?,
            None => self.link(&text).map_err(failed)?,
        };
        Ok(self.counts)
    }

    /// Gives the record its name, unless that is taken.
    fn link(&self, text: &[u8]) -> io::Result<bool> {
        let path = self.directory.join("done.json");
        let write = || {
            let mut file = create_fresh(&path)?;
            file.write_all(text)?;
            file.sync_all()
        };
        write().map_err(|e| named(path.display(), &e))?;
        sync_directory(&self.directory)?;
        let counts = create_linked(&path, &record(&self.tasks, &self.id))?;
        sync_directory(&self.tasks)?;
        Ok(counts)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.counts {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Gives `path` the second name `name`, unless that is taken: says whether it has it.
///
/// # Errors
/// If that fails for another reason.
pub fn create_linked(path: &Path, name: &Path) -> io::Result<bool> {
    let linked = fs::hard_link(path, name);
    match linked {
        Ok(()) => Ok(true),
        // On a network a link may have been made whose answer was lost.
        Err(_) if is_the_same(path, name) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

fn is_the_same(path: &Path, name: &Path) -> bool {
    match (fs::metadata(path), fs::metadata(name)) {
        (Ok(a), Ok(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
        _ => false,
    }
}

/// Removes the attempts at the task `id` that do not count.
pub fn remove_others(tasks: &Path, done: &Done) {
    let entries = fs::read_dir(tasks.join(&done.task)).into_iter().flatten();
    for entry in entries.flatten() {
        if Path::new(&entry.file_name()) != done.attempt {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_several_are_at_work_counts_once() {
        assert_eq!(together(Vec::new()), None);
        let apart = vec![
            (9_000, 9_500),
            (1_500, 3_000),
            (2_000, 2_500),
            (2_900, 4_000),
        ];
        assert_eq!(together(apart), Some((1, Duration::from_secs(3))));
    }

    #[test]
    fn of_two_attempts_the_first_to_end_counts() {
        let dir = tempfile::tempdir().unwrap();
        let slow = Attempt::begin(dir.path(), "pass-1-00000").unwrap();
        let fast = Attempt::begin(dir.path(), "pass-1-00000").unwrap();
        let (kept, gone) = (fast.directory().to_owned(), slow.directory().to_owned());
        assert_eq!(done(dir.path(), "pass-1-00000").unwrap(), None);
        let commit = |attempt: Attempt, lines| {
            let facts = Facts::Lines(lines);
            attempt.commit("p", Lengths::new(), facts, None).unwrap()
        };
        assert!(commit(fast, 3));
        assert!(!commit(slow, 4));
        assert!(kept.exists() && !gone.exists());
        let record = done(dir.path(), "pass-1-00000").unwrap().unwrap();
        assert_eq!(record.facts, Facts::Lines(3));
        assert_eq!(dir.path().join("pass-1-00000").join(&record.attempt), kept);
        // What a killed attempt left goes when the plan is finished.
        let killed = Attempt::begin(dir.path(), "pass-1-00000").unwrap();
        let left = killed.directory().to_owned();
        std::mem::forget(killed);
        remove_others(dir.path(), &record);
        assert!(kept.exists() && !left.exists());
    }
}
