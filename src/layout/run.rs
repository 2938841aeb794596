//! The names of what a run leaves, and of what it works with.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::io::remote::is_remote;

/// What is appended to the name of a run's first output.
const SUFFIX: &str = ".djr";

const MANIFEST: &str = "manifest.json";

/// Marks the working directory as the program's own: a directory without it is left alone,
/// whatever it is called.
const MARK: &str = ".djr-checkpoint";

/// The files of a run's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFiles {
    /// The directory.
    pub dir: PathBuf,
}

impl RunFiles {
    /// The files in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Those of a run whose first output is `output`, unless the user says otherwise: the directory
    /// is called after the whole name, so that two outputs never share one. The places of shard
    /// numbers are left out of a pattern's name: all its shards are one output. That of an object of a
    /// store is in the working directory.
    #[must_use]
    pub fn of_output(output: &Path) -> Option<Self> {
        let name = output.file_name()?.to_string_lossy();
        let mut whole = without_shard(&name);
        whole.push_str(SUFFIX);
        Some(Self::new(if is_remote(output) {
            PathBuf::from(whole)
        } else {
            output.with_file_name(whole)
        }))
    }

    /// Whether `path` has the name of a run's directory.
    #[must_use]
    pub fn is_named_so(path: &Path) -> bool {
        path.to_string_lossy().ends_with(SUFFIX)
    }

    /// What was run, on what, with which outcome.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.dir.join(MANIFEST)
    }

    /// What stands in place of a manifest where rows were copied unread.
    #[must_use]
    pub fn copied(&self) -> PathBuf {
        self.dir.join("copied.json")
    }

    /// Whether `path` has the name of a manifest.
    #[must_use]
    pub fn is_manifest(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == MANIFEST)
    }

    /// The fate of every row.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.jsonl.zst")
    }

    /// Rows that could not be processed.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine.jsonl")
    }

    /// What was measured of every row.
    #[must_use]
    pub fn stats(&self) -> PathBuf {
        self.dir.join("stats.jsonl.zst")
    }

    /// What servers answered.
    #[must_use]
    pub fn answers(&self) -> PathBuf {
        self.dir.join("answers.log")
    }

    /// Rows that deduplicators found the same.
    #[must_use]
    pub fn clusters(&self) -> PathBuf {
        self.dir.join("clusters.jsonl.zst")
    }

    /// Rows that the step `op` changed or dropped, as Data-Juicer's tracer writes them.
    #[must_use]
    pub fn trace(&self, op: &str) -> PathBuf {
        self.dir
            .join("trace")
            .join(format!("sample_trace-{op}.jsonl"))
    }

    /// Records that every run writes under these names.
    #[must_use]
    pub fn records(&self) -> [PathBuf; 4] {
        [
            self.manifest(),
            self.ledger(),
            self.quarantine(),
            self.stats(),
        ]
    }

    /// Where an unfinished run keeps its working files.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// Whether `path` is the mark of a directory for working files.
    #[must_use]
    pub fn is_mark(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == MARK)
    }

    /// The state of an unfinished run.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.checkpoint().join("state.json")
    }

    /// Whether there is a state of an unfinished run.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.owns_checkpoint() && self.state().exists()
    }

    /// Whether a run made the directory for working files.
    #[must_use]
    pub fn owns_checkpoint(&self) -> bool {
        self.checkpoint().join(MARK).exists()
    }

    /// Whether something else than a run filled the directory for working files.
    #[must_use]
    pub fn foreign_checkpoint(&self) -> bool {
        let holds = |mut entries: fs::ReadDir| entries.next().is_some();
        !self.owns_checkpoint() && fs::read_dir(self.checkpoint()).is_ok_and(holds)
    }

    /// Makes the directory for working files; the run has seen that nobody else's is in its place.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_checkpoint(&self) -> io::Result<()> {
        let directory = self.checkpoint();
        fs::create_dir_all(&directory)?;
        let mark = directory.join(MARK);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(mark)
            .map(drop)
    }

    /// Removes the directory for working files, if a run made it.
    pub fn remove_checkpoint(&self) {
        if self.owns_checkpoint() {
            for path in self.removal() {
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
            let _ = fs::remove_dir(self.checkpoint());
        }
    }

    /// What is in the directory for working files, in the order in which it is to go. The state
    /// first: without it the rest means nothing. The mark last: a process that is killed on the way
    /// must not leave what looks like somebody else's.
    fn removal(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.checkpoint()).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let (state, mark) = (self.state(), self.checkpoint().join(MARK));
        paths.sort_by_key(|path| (*path == mark, *path != state));
        paths
    }
}

/// `name` without `{shard}`, `{shards}`, `{value}` and what joins them to it: `c-{shard:05}-of-{shards}.jsonl`
/// is `c.jsonl`.
fn without_shard(name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    let mut removed = false;
    let place = |rest: &str| {
        let starts = ["{shard", "{value}"].into_iter();
        starts.filter_map(|start| rest.find(start)).min()
    };
    while let Some(start) = place(rest) {
        let Some(length) = rest.get(start..).and_then(|part| part.find('}')) else {
            break;
        };
        let (before, after) = (rest.get(..start), rest.get(start + length + 1..));
        let (Some(before), Some(after)) = (before, after) else {
            break;
        };
        let before = before.strip_suffix("of-").unwrap_or(before);
        out.push_str(before.trim_end_matches(['-', '_', '.']));
        rest = after;
        removed = true;
    }
    if removed && out.is_empty() {
        // The name was nothing else.
        out.push_str("all.");
        out.push_str(rest.trim_start_matches(['-', '_', '.']));
    } else {
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_called_after_the_whole_name_of_its_first_output() {
        let dir = |output: &str| RunFiles::of_output(Path::new(output)).unwrap().dir;
        for (output, named) in [
            ("o/clean.jsonl", "o/clean.jsonl.djr"),
            ("o/set.v1.jsonl", "o/set.v1.jsonl.djr"),
            ("rows", "rows.djr"),
            ("o/c-{shard:05}-of-{shards:05}.parquet", "o/c.parquet.djr"),
            ("o/c_{shard}.jsonl.zst", "o/c.jsonl.zst.djr"),
            ("o/{shard:05}.tar", "o/all.tar.djr"),
            ("o/{x}.jsonl", "o/{x}.jsonl.djr"),
            ("o/{value}.jsonl", "o/all.jsonl.djr"),
            ("o/c-{value}-{shard}.jsonl", "o/c.jsonl.djr"),
            ("o/.v.jsonl", "o/.v.jsonl.djr"),
            ("s3://b/o/c-{shard}.jsonl", "c.jsonl.djr"),
        ] {
            assert_eq!(dir(output), Path::new(named));
        }
    }

    #[test]
    fn of_a_checkpoint_the_state_goes_first_and_the_mark_last() {
        let dir = tempfile::tempdir().unwrap();
        let files = RunFiles::new(dir.path());
        files.make_checkpoint().unwrap();
        for name in ["a", "ledger", "z"] {
            fs::write(files.checkpoint().join(name), "x").unwrap();
        }
        fs::create_dir(files.checkpoint().join("store")).unwrap();
        fs::write(files.state(), "{}").unwrap();
        let order = files.removal();
        assert_eq!(order.len(), 6);
        assert_eq!(order.first(), Some(&files.state()));
        assert_eq!(order.last(), Some(&files.checkpoint().join(MARK)));
        // Wherever a process is killed, the next one knows the rest for a run's, and for none that
        // could go on.
        for path in &order[..5] {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
            assert!(files.owns_checkpoint() && !files.is_unfinished());
            assert!(!files.foreign_checkpoint());
        }
        files.remove_checkpoint();
        assert!(!files.checkpoint().exists());
    }

    #[test]
    fn somebody_elses_checkpoint_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = RunFiles::new(dir.path());
        fs::create_dir(files.checkpoint()).unwrap();
        fs::write(files.state(), "{}").unwrap();
        assert!(files.foreign_checkpoint() && !files.is_unfinished());
        files.remove_checkpoint();
        assert!(files.state().exists());
        fs::remove_file(files.state()).unwrap();
        assert!(!files.foreign_checkpoint());
        files.make_checkpoint().unwrap();
        files.make_checkpoint().unwrap();
        assert!(!files.foreign_checkpoint() && !files.is_unfinished());
        files.remove_checkpoint();
        assert!(!files.checkpoint().exists());
    }
}
