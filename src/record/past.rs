//! A run that has ended, read back from what it left beside its outputs.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::marker::PhantomData;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;

use super::version::{self, VersionError};
use super::{InputRecord, LedgerEntry, Manifest, QuarantineEntry, Settings, StatsRow};
use crate::io::Input;
use crate::io::atomic::{digest_of, directory};
use crate::io::remote::is_remote;
use crate::layout::{FileRecord, RunFiles};

/// A run's directory and its manifest.
#[derive(Debug)]
pub struct PastRun {
    /// The directory, with the names of what is in it.
    pub files: RunFiles,
    /// The manifest.
    pub manifest: Manifest,
    /// What the recipe says to readers.
    pub settings: Settings,
}

/// Why there is no run to read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Neither a run's directory nor an output with one beside it.
    #[error("{0}: no run is recorded here or beside it")]
    NoRun(String),
    /// A run that has not ended: nothing it wrote counts yet.
    #[error("{0}: the run is unfinished: it was stopped, or goes on still")]
    Unfinished(String),
    /// Runs are recorded beside the file, and none of them wrote it.
    #[error("{path}: no run recorded beside it wrote it{}", listed(others))]
    NotListed {
        /// The file.
        path: String,
        /// Directories of runs beside it that bear its name.
        others: Vec<String>,
    },
    /// The manifest is of another version, or none.
    #[error("{path}: {error}")]
    Version {
        /// The file.
        path: String,
        /// What is wrong.
        error: VersionError,
    },
    /// A record cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What is wrong.
        error: io::Error,
    },
}

fn listed(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!(" ({} is the record of other outputs)", others.join(", ")),
    }
}

impl RecordError {
    pub(super) fn read(path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Read {
            path: path.display().to_string(),
            error: error.into(),
        }
    }

    /// The stable word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRun(_) => "no_run",
            Self::Unfinished(_) => "unfinished",
            Self::NotListed { .. } => "not_listed",
            Self::Version {
                error: VersionError::Foreign(_),
                ..
            } => "record_damaged",
            Self::Version { .. } => "record_version",
            Self::Read { .. } => "cannot_read",
        }
    }

    /// The file or directory that it is about.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::NoRun(path)
            | Self::Unfinished(path)
            | Self::NotListed { path, .. }
            | Self::Version { path, .. }
            | Self::Read { path, .. } => path,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unfinished(_) => Some(
                "its command with --resume goes on with it, with --restart starts over; djr clean removes it",
            ),
            Self::NoRun(_) => Some(
                "give the .djr directory that a run leaves beside its first output, or one of its outputs",
            ),
            Self::NotListed { .. } => Some(
                "name the .djr directory of the run you mean; a file that was made anew by something else has no record",
            ),
            Self::Version {
                error: VersionError::Other { .. },
                ..
            } => Some("run the recipe again, or read it by the djr that wrote it"),
            Self::Version { .. } | Self::Read { .. } => None,
        }
    }
}

impl PastRun {
    /// The run that `path` names: its directory, the manifest in it, or one of its outputs.
    ///
    /// # Errors
    /// If there is none, or its manifest cannot be read.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        if path.is_dir() {
            let files = RunFiles::new(path);
            if files.manifest().is_file() {
                return Self::read(files);
            }
            let path = path.display().to_string();
            return Err(if files.is_unfinished() {
                RecordError::Unfinished(path)
            } else {
                RecordError::NoRun(path)
            });
        }
        if RunFiles::is_manifest(path) && path.is_file() {
            return Self::read(RunFiles::new(directory(path)));
        }
        Self::of_output(path)
    }

    /// Whether `path` is a directory with a manifest.
    #[must_use]
    pub fn is_one(path: &Path) -> bool {
        path.is_dir() && RunFiles::new(path).manifest().is_file()
    }

    /// Reads the manifest of a run's directory.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn read(files: RunFiles) -> Result<Self, RecordError> {
        let path = files.manifest();
        let text = fs::read(&path).map_err(|e| RecordError::read(&path, e))?;
        version::check(&text).map_err(|error| RecordError::Version {
            path: path.display().to_string(),
            error,
        })?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|e| RecordError::read(&path, e))?;
        let settings =
            Settings::of(&manifest.plan.recipe).map_err(|e| RecordError::read(&path, e))?;
        Ok(Self {
            files,
            manifest,
            settings,
        })
    }

    /// The run that wrote `output`: its manifest lies beside the file or beside another output of
    /// the same run. Where several list it, a later run may have written it anew: the one is taken
    /// whose digest the file has.
    pub(super) fn of_output(output: &Path) -> Result<Self, RecordError> {
        let beside_it = if is_remote(output) {
            Path::new(".")
        } else {
            directory(output)
        };
        let mut dirs: Vec<RunFiles> = fs::read_dir(beside_it)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| RunFiles::is_named_so(path))
            .map(RunFiles::new)
            .filter(|files| files.manifest().is_file())
            .collect();
        // The one that bears the output's name speaks first; for the rest any fixed order does.
        let own = RunFiles::of_output(output);
        dirs.sort_by_key(|files| (Some(files) != own.as_ref(), files.dir.clone()));
        let mut unread = None;
        let mut runs = Vec::new();
        for files in dirs {
            let is_own = Some(&files) == own.as_ref();
            match Self::read(files) {
                Ok(run) if run.wrote(output).is_some() => runs.push(run),
                // Of another version, it cannot say whether it wrote the file.
                Err(error) if is_own => unread = Some(error),
                _ => {}
            }
        }
        if runs.len() > 1 {
            let now = digest_of(output).ok();
            let is_it = |run: &Self| {
                let files = run.wrote(output).unwrap_or_default();
                files
                    .iter()
                    .any(|file| now.as_ref() == Some(&(file.bytes, file.xxh3_128.clone())))
            };
            if let Some(at) = runs.iter().position(is_it) {
                runs.swap(0, at);
            }
        }
        if let Some(run) = runs.into_iter().next() {
            return Ok(run);
        }
        if let Some(error) = unread {
            return Err(error);
        }
        if output.is_symlink()
            && let Ok(target) = fs::canonicalize(output)
        {
            return Self::of_output(&target);
        }
        let path = output.display().to_string();
        if let Some(files) = own.as_ref().filter(|files| files.is_unfinished()) {
            return Err(RecordError::Unfinished(files.dir.display().to_string()));
        }
        let own = own.filter(|files| files.manifest().is_file());
        match own {
            Some(own) => Err(RecordError::NotListed {
                path,
                others: vec![own.dir.display().to_string()],
            }),
            None if output.exists() && beside(output) => Err(RecordError::NotListed {
                path,
                others: Vec::new(),
            }),
            None => Err(RecordError::NoRun(path)),
        }
    }

    /// The files that the run wrote as `output`, if it did: `output` is one of them, or the name of
    /// an output that was cut into shards.
    pub(super) fn wrote(&self, output: &Path) -> Option<Vec<&FileRecord>> {
        // Of an output that is a link, the run wrote what it leads to.
        let asked = [Some(whole(output)), fs::canonicalize(output).ok()];
        let here = |path: &Path| asked.contains(&Some(whole(&self.moved(path))));
        self.manifest.outputs.iter().find_map(|written| {
            if let Some(file) = written.files.iter().find(|file| here(&file.path)) {
                return Some(vec![file]);
            }
            // Where one file bears the output's own name, that file is meant.
            here(Path::new(&written.name)).then(|| written.files.iter().collect())
        })
    }

    /// Where `path` of the manifest is now: what lay beside or in the run's directory was moved
    /// with it.
    #[must_use]
    pub fn moved(&self, path: &Path) -> PathBuf {
        if is_remote(path) {
            return path.to_owned();
        }
        let now = whole(&self.files.dir);
        let was = &self.manifest.run_dir;
        if now == *was {
            return path.to_owned();
        }
        for (was, now) in [
            (Some(was.as_path()), Some(now.as_path())),
            (was.parent(), now.parent()),
        ] {
            if let (Some(was), Some(now)) = (was, now)
                && let Ok(rest) = whole(path).strip_prefix(was)
            {
                return now.join(rest);
            }
        }
        path.to_owned()
    }

    /// Where a file of the manifest is now.
    #[must_use]
    pub fn place(&self, file: &FileRecord) -> PathBuf {
        self.moved(&file.path)
    }

    /// Where a file of the manifest is now, if it is there with the size it was written with.
    #[must_use]
    pub fn intact(&self, file: &FileRecord) -> Option<PathBuf> {
        let path = self.place(file);
        fs::metadata(&path)
            .is_ok_and(|now| now.len() == file.bytes)
            .then_some(path)
    }

    /// The name of input number `file`.
    #[must_use]
    pub fn input_name(&self, file: u32) -> &str {
        let inputs = &self.manifest.inputs;
        inputs.get(file as usize).map_or("?", |input| &input.name)
    }

    /// The inputs; `None` if one was a pipe.
    #[must_use]
    pub fn inputs(&self) -> Option<Vec<Input>> {
        self.manifest
            .inputs
            .iter()
            .map(InputRecord::input)
            .collect()
    }

    /// The ledger, row by row.
    ///
    /// # Errors
    /// If it is not there.
    pub fn ledger(&self) -> Result<Records<LedgerEntry<'static>>, RecordError> {
        Records::open(&self.files.ledger())
    }

    /// The rows set aside; `None` if there are none.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn quarantine(&self) -> Result<Option<Records<QuarantineEntry<'static>>>, RecordError> {
        match self.manifest.quarantine {
            Some(_) => Records::open(&self.files.quarantine()).map(Some),
            None => Ok(None),
        }
    }

    /// The stats of all rows read; `None` if none are kept.
    #[must_use]
    pub fn stats(&self) -> Option<PathBuf> {
        Some(self.files.stats()).filter(|path| path.is_file())
    }
}

/// Whether runs are recorded in the directory of `output`.
fn beside(output: &Path) -> bool {
    let entries = fs::read_dir(directory(output)).into_iter().flatten();
    let mut dirs = entries.flatten().map(|entry| entry.path());
    dirs.any(|path| RunFiles::is_named_so(&path) && PastRun::is_one(&path))
}

/// The whole path of a file that may not be there: links of its directory are followed, not its own.
pub(super) fn whole(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (Some(dir), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return absolute;
    };
    if let Ok(dir) = fs::canonicalize(dir) {
        return dir.join(name);
    }
    // Nothing is there to ask: `.` and `..` are taken by name.
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Records of a JSON Lines file, one at a time.
pub struct Records<T> {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    marker: PhantomData<T>,
}

/// Stats of rows, one at a time.
pub type StatsRows = Records<StatsRow<'static>>;

impl<T: DeserializeOwned> Records<T> {
    /// Opens `path`, packed if its name ends in `.zst`.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let fail = |e| RecordError::read(path, e);
        let file = File::open(path).map_err(fail)?;
        let bytes: Box<dyn Read> = if path.extension().is_some_and(|e| e == "zst") {
            Box::new(zstd::stream::read::Decoder::new(file).map_err(fail)?)
        } else {
            Box::new(file)
        };
        Ok(Self {
            path: path.to_owned(),
            reader: Box::new(BufReader::with_capacity(1 << 18, bytes)),
            line: Vec::new(),
            number: 0,
            marker: PhantomData,
        })
    }

    /// The next record.
    ///
    /// # Errors
    /// If the file cannot be read on, or a line is not such a record.
    pub fn next_record(&mut self) -> Result<Option<T>, RecordError> {
        self.next_of(|_| true)
    }

    /// The next record whose line `wanted` may want: the others are not parsed.
    ///
    /// # Errors
    /// As [`Records::next_record`].
    pub fn next_of(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<T>, RecordError> {
        loop {
            self.line.clear();
            let read = self
                .reader
                .read_until(b'\n', &mut self.line)
                .map_err(|e| RecordError::read(&self.path, e))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if wanted(&self.line) {
                break;
            }
        }
        serde_json::from_slice(&self.line)
            .map(Some)
            .map_err(|e| RecordError::Read {
                path: format!("{}:{}", self.path.display(), self.number),
                error: io::Error::other(format!("not a record of this file: {e}")),
            })
    }

    /// How many lines were read so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.number
    }
}
