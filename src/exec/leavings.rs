//! What runs left below a directory, and its removal: only what a run is known to have made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::checkpoint::{part_files, saved};
use crate::io::OutputLock;
use crate::io::atomic::digest_of;
use crate::io::lock::utc;
use crate::layout::{FileRecord, RunFiles};
use crate::record::{Manifest, PastRun};

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It has ended.
    Finished,
    /// It was stopped, or goes on still.
    Unfinished,
    /// Its record is of another version, or damaged.
    Unreadable,
}

impl RunState {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Unfinished => "unfinished",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A run that was found.
#[derive(Debug)]
pub struct FoundRun {
    /// Its directory.
    pub files: RunFiles,
    /// How far it got.
    pub state: RunState,
    /// The recipe, or the command.
    pub recipe: String,
    /// When it ended or saved its last checkpoint, in seconds since 1970.
    pub when_unix: u64,
    /// The same in words.
    pub when: String,
    /// Rows read.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Its outputs.
    pub outputs: Vec<PathBuf>,
    /// Outputs that are gone.
    pub missing: usize,
    /// Bytes of outputs that are there.
    pub output_bytes: u64,
    /// Bytes of its directory.
    pub record_bytes: u64,
    past: Option<PastRun>,
}

/// The runs whose directories lie below `dir`, in the order of their names. Links are not followed.
#[must_use]
pub fn found_runs(dir: &Path) -> Vec<FoundRun> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let files = RunFiles::new(&dir);
        if let Some(run) = look(files) {
            found.push(run);
            continue;
        }
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(dirs.map(|entry| entry.path()));
    }
    found.sort_by(|a, b| a.files.dir.cmp(&b.files.dir));
    found
}

fn look(files: RunFiles) -> Option<FoundRun> {
    let is_unfinished = files.is_unfinished();
    let has_manifest = files.manifest().is_file();
    let is_run = has_manifest && RunFiles::is_named_so(&files.dir) || is_ours(&files);
    if !(is_unfinished || is_run) {
        return None;
    }
    let record_bytes = bytes_below(&files.dir);
    let mut run = FoundRun {
        state: RunState::Unreadable,
        recipe: String::new(),
        when_unix: 0,
        when: String::new(),
        rows_in: 0,
        rows_out: 0,
        outputs: Vec::new(),
        missing: 0,
        output_bytes: 0,
        record_bytes,
        past: None,
        files,
    };
    if is_unfinished {
        if let Some(saved) = saved(&run.files) {
            run.state = RunState::Unfinished;
            run.recipe = saved.recipe;
            run.rows_in = saved.rows;
            run.when_unix = saved.when_unix;
            run.when = utc(saved.when_unix);
            run.outputs = saved.outputs;
        }
        return Some(run);
    }
    if let Ok(past) = PastRun::read(run.files.clone()) {
        of_manifest(&mut run, &past);
        run.past = Some(past);
    }
    Some(run)
}

fn of_manifest(run: &mut FoundRun, past: &PastRun) {
    let Manifest {
        recipe_file,
        rows,
        outputs,
        ended,
        ..
    } = &past.manifest;
    run.state = RunState::Finished;
    run.recipe.clone_from(recipe_file);
    run.rows_in = rows.read;
    run.rows_out = rows.out;
    run.when.clone_from(ended);
    run.when_unix = fs::metadata(run.files.manifest())
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_secs());
    for output in outputs {
        let mut there = 0;
        for file in &output.files {
            if let Ok(meta) = fs::metadata(past.place(file)) {
                there += 1;
                run.output_bytes += meta.len();
            }
        }
        // What went to a stream is neither there nor gone.
        if !output.files.is_empty() {
            run.outputs.push(past.moved(Path::new(&output.name)));
            run.missing += usize::from(there == 0);
        }
    }
}

/// Whether a directory of any name holds a manifest of djr.
fn is_ours(files: &RunFiles) -> bool {
    files.manifest().is_file() && PastRun::read(files.clone()).is_ok()
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Removes what a run made: of a finished one the files that are as it wrote them, with its record;
/// of an unfinished one its working files and the parts of its outputs. Says what was removed, or
/// with `dry_run` would be.
///
/// # Errors
/// If the run goes on in another process, or a file cannot be removed.
pub fn remove_run(run: &FoundRun, dry_run: bool) -> Result<Vec<(PathBuf, u64)>, String> {
    let lock = OutputLock::acquire(&run.files.manifest());
    let lock = lock.map_err(|error| format!("{}: {error}", run.files.dir.display()))?;
    let mut paths = match &run.past {
        Some(past) => intact(past),
        None => part_files(&run.files),
    };
    paths.retain(|path| path.symlink_metadata().is_ok());
    let sized = paths.into_iter().map(|path| {
        let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        (path, bytes)
    });
    let removed: Vec<(PathBuf, u64)> = sized.collect();
    if dry_run {
        return Ok(removed);
    }
    for (path, _) in &removed {
        fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if run.past.is_none() {
        run.files.remove_checkpoint();
    }
    // Its file lies in the directory.
    drop(lock);
    for dir in [run.files.dir.join("trace"), run.files.dir.clone()] {
        // Goes only if nothing else is in it.
        let _ = fs::remove_dir(dir);
    }
    Ok(removed)
}

/// The files of a finished run that are as it wrote them, the manifest last.
fn intact(past: &PastRun) -> Vec<PathBuf> {
    let is_intact = |file: &&FileRecord| {
        digest_of(&past.place(file)).is_ok_and(|now| now == (file.bytes, file.xxh3_128.clone()))
    };
    let files = past.manifest.files().filter(is_intact);
    let mut paths: Vec<PathBuf> = files.map(|file| past.place(file)).collect();
    paths.push(past.files.manifest());
    paths
}
