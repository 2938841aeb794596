//! What runs left below a directory, and its removal: only what a run is known to have made.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{fs, iter};

use super::checkpoint::{part_files, saved};
use crate::io::OutputLock;
use crate::io::atomic::digest_of;
use crate::io::lock::utc;
use crate::layout::{CopiedRecord, FileRecord, RunFiles, is_outputs, recorded_files};
use crate::record::{Manifest, PastRun, RecordError};

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It has ended.
    Finished,
    /// It was stopped, or goes on still.
    Unfinished,
    /// Its record, or its checkpoint, is of another version, or damaged.
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

/// A run that was found. One directory may hold two: one that has ended, and a newer one of the same
/// outputs that has not.
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
    /// Why it cannot be read: a stable word, and a sentence.
    pub unread: Option<(&'static str, String)>,
    what: Left,
}

/// What was left of a run.
#[derive(Debug)]
enum Left {
    /// Outputs and records.
    Whole(Box<PastRun>),
    /// A record that cannot be read as one; which files it lists can be.
    Listed(Vec<FileRecord>),
    /// A file that was copied, with its record.
    Copied(PathBuf, FileRecord),
    /// Working files.
    Parts,
}

/// The runs whose directories lie below `dir`, in the order of their names. Links are not followed.
#[must_use]
pub fn found_runs(dir: &Path) -> Vec<FoundRun> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let files = RunFiles::new(&dir);
        let runs = look(&files);
        if !runs.is_empty() {
            found.extend(runs);
            continue;
        }
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(dirs.map(|entry| entry.path()));
    }
    found.sort_by(|a, b| a.files.dir.cmp(&b.files.dir));
    found
}

/// What is in one directory: a run that has ended before one that has not.
fn look(files: &RunFiles) -> Vec<FoundRun> {
    let is_unfinished = files.is_unfinished();
    let has_manifest = files.manifest().is_file();
    let is_run =
        has_manifest && (RunFiles::is_named_so(&files.dir) || is_unfinished) || is_ours(files);
    let working = bytes_below(&files.checkpoint());
    let record_bytes = bytes_below(&files.dir).saturating_sub(working);
    let mut found = Vec::new();
    if is_run {
        found.push(ended(files, record_bytes));
    } else if let Some(record) = CopiedRecord::read(files) {
        found.extend(copied(files, &record, record_bytes));
    }
    if is_unfinished {
        found.push(unfinished(files, working));
    }
    found
}

impl FoundRun {
    fn new(files: &RunFiles, state: RunState, what: Left) -> Self {
        Self {
            files: files.clone(),
            state,
            recipe: String::new(),
            when_unix: 0,
            when: String::new(),
            rows_in: 0,
            rows_out: 0,
            outputs: Vec::new(),
            missing: 0,
            output_bytes: 0,
            record_bytes: 0,
            unread: None,
            what,
        }
    }
}

/// A run that has ended.
fn ended(files: &RunFiles, record_bytes: u64) -> FoundRun {
    let mut run = match PastRun::read(files.clone()) {
        Ok(past) => of_manifest(past),
        Err(failure) => unread_manifest(files, &failure),
    };
    run.record_bytes = record_bytes;
    run
}

/// One whose record this program does not understand: what it lists is found all the same.
fn unread_manifest(files: &RunFiles, failure: &RecordError) -> FoundRun {
    let listed = recorded_files(files, |_| true);
    let outputs = recorded_files(files, is_outputs);
    let mut run = FoundRun::new(files, RunState::Unreadable, Left::Listed(listed));
    run.unread = Some((failure.code(), failure.to_string()));
    run.when_unix = written(&files.manifest());
    run.when = utc(run.when_unix);
    for file in outputs {
        match fs::metadata(&file.path) {
            Ok(meta) => run.output_bytes += meta.len(),
            Err(_) => run.missing += 1,
        }
        run.outputs.push(file.path);
    }
    run
}

/// One that has not ended: its parts of outputs, and its working files.
fn unfinished(files: &RunFiles, working: u64) -> FoundRun {
    let mut run = FoundRun::new(files, RunState::Unfinished, Left::Parts);
    run.record_bytes = working;
    match saved(files) {
        Ok(saved) => {
            run.recipe = saved.recipe;
            run.rows_in = saved.rows;
            run.when_unix = saved.when_unix;
            run.outputs = saved.outputs;
            let parts = part_files(files).into_iter();
            let parts = parts.filter(|part| !part.starts_with(files.checkpoint()));
            run.output_bytes = parts.filter_map(|part| size(&part)).sum();
        }
        Err(error) => {
            let place = files.state();
            run.state = RunState::Unreadable;
            run.when_unix = written(&place);
            let message = format!(
                "{}: the checkpoint cannot be read: {error}",
                place.display()
            );
            run.unread = Some(("checkpoint_damaged", message));
        }
    }
    run.when = utc(run.when_unix);
    run
}

/// A subset that was copied.
fn copied(files: &RunFiles, record: &CopiedRecord, record_bytes: u64) -> Option<FoundRun> {
    let (path, file) = record.output(files)?;
    let there = size(&path);
    Some(FoundRun {
        recipe: "subset".to_owned(),
        when_unix: written(&files.copied()),
        when: record.ended.clone(),
        rows_in: record.rows_in,
        rows_out: record.rows_out,
        outputs: vec![path.clone()],
        missing: usize::from(there.is_none()),
        output_bytes: there.unwrap_or(0),
        record_bytes,
        ..FoundRun::new(files, RunState::Finished, Left::Copied(path, file.clone()))
    })
}

fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.len())
}

/// When a file was written last, in seconds since 1970.
fn written(path: &Path) -> u64 {
    fs::metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_secs())
}

fn of_manifest(past: PastRun) -> FoundRun {
    let Manifest {
        recipe_file,
        rows,
        outputs,
        ended,
        ..
    } = &past.manifest;
    let mut found = FoundRun {
        recipe: recipe_file.clone(),
        rows_in: rows.read,
        rows_out: rows.out,
        when: ended.clone(),
        when_unix: written(&past.files.manifest()),
        ..FoundRun::new(&past.files, RunState::Finished, Left::Parts)
    };
    for output in outputs {
        let mut there = 0;
        for file in &output.files {
            if let Some(size) = size(&past.place(file)) {
                there += 1;
                found.output_bytes += size;
            }
        }
        // What went to a stream is neither there nor gone.
        if !output.files.is_empty() {
            found.outputs.push(past.moved(Path::new(&output.name)));
            found.missing += usize::from(there == 0);
        }
    }
    found.what = Left::Whole(Box::new(past));
    found
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

/// Removes what a run made: of one that has ended the files that are as it wrote them, with its
/// record; of one that has not its working files and the parts of its outputs. Says what was removed,
/// or with `dry_run` would be.
///
/// # Errors
/// If the run goes on in another process, or a file cannot be removed.
pub fn remove_run(run: &FoundRun, dry_run: bool) -> Result<Vec<(PathBuf, u64)>, String> {
    let lock = OutputLock::acquire(&run.files.manifest());
    let lock = lock.map_err(|error| format!("{}: {error}", run.files.dir.display()))?;
    let mut paths = match &run.what {
        Left::Whole(past) => {
            let files = past.manifest.files();
            let mut paths = intact(files.map(|file| (past.place(file), file)));
            paths.push(past.files.manifest());
            paths
        }
        Left::Listed(files) => {
            let mut paths = intact(files.iter().map(|file| (file.path.clone(), file)));
            paths.push(run.files.manifest());
            paths
        }
        Left::Copied(path, file) => {
            let mut paths = intact(iter::once((path.clone(), file)));
            paths.push(run.files.copied());
            paths
        }
        Left::Parts => part_files(&run.files),
    };
    paths.retain(|path| path.symlink_metadata().is_ok());
    let sized = paths.into_iter().map(|path| {
        let bytes = size(&path).unwrap_or(0);
        (path, bytes)
    });
    let removed: Vec<(PathBuf, u64)> = sized.collect();
    if dry_run {
        return Ok(removed);
    }
    // A run that was killed leaves those of its outputs; they go with what holds them.
    let outputs = match run.what {
        Left::Parts => run.outputs.iter(),
        _ => [].iter(),
    };
    let outputs = outputs.filter(|path| path.parent().is_some_and(Path::is_dir));
    let locks = outputs
        .map(|path| OutputLock::acquire(path).map_err(|e| format!("{}: {e}", path.display())))
        .collect::<Result<Vec<_>, _>>()?;
    for (path, _) in &removed {
        fs::remove_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if matches!(run.what, Left::Parts) {
        run.files.remove_checkpoint();
    }
    // Its file lies in the directory.
    drop((lock, locks));
    for dir in [run.files.dir.join("trace"), run.files.dir.clone()] {
        // Goes only if nothing else is in it.
        let _ = fs::remove_dir(dir);
    }
    Ok(removed)
}

/// The files that are as they were recorded.
fn intact<'f>(files: impl Iterator<Item = (PathBuf, &'f FileRecord)>) -> Vec<PathBuf> {
    let is_intact = |(path, file): &(PathBuf, &FileRecord)| {
        digest_of(path).is_ok_and(|now| now == (file.bytes, file.xxh3_128.clone()))
    };
    files.filter(is_intact).map(|(path, _)| path).collect()
}
