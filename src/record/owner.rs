//! Whose a run's directory is. A run writes only where nothing of others is in its way, and
//! removes only what an earlier run of the same outputs is known to have made.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::past::whole;
use super::version::VersionError;
use super::{Manifest, PastRun, RecordError};
use crate::io::atomic::{digest_of, directory};
use crate::layout::{CopiedRecord, RunFiles};
use crate::plan::Plan;
use crate::recipe::Recipe;

/// Why a run may not write its records into a directory.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is the record of outputs that this run does not write.
    #[error("{dir} is the record of a run that wrote {outputs}, which this run does not write")]
    OtherOutputs {
        /// The directory.
        dir: String,
        /// Those outputs.
        outputs: String,
    },
    /// The outputs are those of another recipe.
    #[error(
        "the outputs are there already, and {} wrote them: {recipe} (recorded in {dir})", writer(*.recut)
    )]
    OtherRecipe {
        /// The directory.
        dir: String,
        /// That recipe.
        recipe: String,
        /// A recut was to replace what a run wrote, be it of the same recipe.
        recut: bool,
    },
    /// It holds something under the name of what a run writes that no run is known to have made.
    #[error("{0} is in the way: nothing says that a run of djr made it")]
    Foreign(String),
    /// Where the stats of the rows kept go stands something else.
    #[error("{0}, where the stats of the rows that are kept go, holds something else")]
    NoStats(String),
    /// The stats of the rows kept would replace those of another run.
    #[error("{path}, where the stats of the rows that are kept go, holds those of {output}")]
    StatsOfOther {
        /// The file.
        path: String,
        /// The output of the other run.
        output: String,
    },
    /// A file that is to be written is an output of a run.
    #[error("{path} is the output of a run of {recipe} (recorded in {dir})")]
    OutputOfRun {
        /// The file.
        path: String,
        /// The recipe of that run.
        recipe: String,
        /// The directory of its record.
        dir: String,
    },
    /// A file that is to be written is one that is read.
    #[error("{0}: the output is also an input")]
    Input(String),
    /// Its manifest cannot be read, so that nothing is known of whose it is.
    #[error("the run's directory is taken: {0}")]
    Unread(#[from] RecordError),
}

impl ClaimError {
    /// The file or directory that is taken.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::OtherOutputs { dir, .. } | Self::OtherRecipe { dir, .. } => dir,
            Self::Foreign(path)
            | Self::NoStats(path)
            | Self::StatsOfOther { path, .. }
            | Self::OutputOfRun { path, .. }
            | Self::Input(path) => path,
            Self::Unread(record) => record.path(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherOutputs { .. } => {
                "give this run a directory of its own by --run-dir, or remove that one with its outputs if you are done with them"
            }
            Self::OtherRecipe { .. } => {
                "write somewhere else by --output, or overwrite them by --force"
            }
            Self::OutputOfRun { .. } => "write to another file, or overwrite it by --force",
            Self::Input(_) => "write to another file",
            Self::Unread(record) if is_outdated(record) => {
                "take it over by --force, or give this run a directory of its own by --run-dir"
            }
            Self::StatsOfOther { .. } => {
                "write to an output whose name differs in more than its suffix: the file is called as Data-Juicer calls it"
            }
            Self::NoStats(_) => "move it away, or write to an output of another name",
            Self::Foreign(_) | Self::Unread(_) => {
                "give this run a directory of its own by --run-dir, or move that one away"
            }
        }
    }
}

/// What an earlier run of the same outputs left in the directory of a new one.
#[derive(Debug, Default)]
pub struct Earlier {
    run: Option<PastRun>,
    /// Records of another version, which the new run takes over.
    outdated: Vec<PathBuf>,
}

/// How a run lays claim to its directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claim {
    /// The user chose the directory: then it may hold anything.
    pub named: bool,
    /// A record of another version is taken over.
    pub force: bool,
}

impl Earlier {
    /// Looks at what is in the directory of a run that will write `outputs`.
    ///
    /// # Errors
    /// If something there is not this run's to replace.
    pub fn claim(files: &RunFiles, outputs: &[PathBuf], claim: Claim) -> Result<Self, ClaimError> {
        if files.foreign_checkpoint() {
            return Err(ClaimError::Foreign(
                files.checkpoint().display().to_string(),
            ));
        }
        if !files.manifest().exists() {
            // What a killed run has given its name already is found again through its checkpoint.
            if claim.named && !files.is_unfinished() {
                unlisted(files, None)?;
            }
            return Ok(Self::default());
        }
        let run = match PastRun::read(files.clone()) {
            Ok(run) => run,
            Err(record) if claim.force && is_outdated(&record) => {
                let mut outdated = Vec::from(files.records());
                outdated.push(files.clusters());
                return Ok(Self {
                    run: None,
                    outdated,
                });
            }
            Err(record) => return Err(record.into()),
        };
        let ours: HashSet<PathBuf> = outputs.iter().map(|path| whole(path)).collect();
        let others: Vec<String> = run
            .manifest
            .outputs
            .iter()
            .filter(|output| {
                let mut files = output.files.iter();
                // An output that was removed, or made anew by another run, needs no record here.
                !ours.contains(&whole(&run.moved(Path::new(&output.name))))
                    && files.any(|file| run.intact(file).is_some())
            })
            .map(|output| output.name.clone())
            .collect();
        if !others.is_empty() {
            return Err(ClaimError::OtherOutputs {
                dir: files.dir.display().to_string(),
                outputs: others.join(", "),
            });
        }
        if !files.is_unfinished() {
            unlisted(files, Some(&run.manifest))?;
        }
        Ok(Self {
            run: Some(run),
            outdated: Vec::new(),
        })
    }

    /// Makes sure that the outputs there are, as they were written, are not those of another recipe:
    /// of another file than `recipe` was read from, and of another plan. A recut (`recut`) has the
    /// recipe of what it cuts, with other bounds: it replaces what a recut wrote.
    ///
    /// # Errors
    /// [`ClaimError::OtherRecipe`].
    pub fn same_recipe(&self, recipe: &Recipe, recut: bool) -> Result<(), ClaimError> {
        let Some(run) = &self.run else { return Ok(()) };
        let manifest = &run.manifest;
        let mut files = manifest.outputs.iter().flat_map(|output| &output.files);
        if !files.any(|file| run.intact(file).is_some()) || is_of(run, recipe, recut) {
            return Ok(());
        }
        Err(ClaimError::OtherRecipe {
            dir: run.files.dir.display().to_string(),
            recipe: manifest.recipe_file.clone(),
            recut: recut && !manifest.recut,
        })
    }

    /// Makes sure that none of `outputs` is, by a record beside it, the output of a run of another
    /// recipe that has a directory of its own.
    ///
    /// # Errors
    /// [`ClaimError::OutputOfRun`].
    pub fn only_own(
        files: Option<&RunFiles>,
        outputs: &[PathBuf],
        recipe: &Recipe,
        recut: bool,
    ) -> Result<(), ClaimError> {
        let own = files.map(|files| whole(&files.dir));
        let is_ours = |run: &PastRun| {
            own.as_ref() == Some(&whole(&run.files.dir)) || is_of(run, recipe, recut)
        };
        let command = (recipe.search.is_empty() && !recut).then_some(recipe.name.as_str());
        let mut outputs = outputs.iter();
        outputs.try_for_each(|output| {
            no_copy_of(output, command)?;
            no_output_of(output, is_ours)
        })
    }

    /// Removes what the earlier run wrote and the new one, which writes `new` and reads `inputs`,
    /// does not replace: further shards, a quarantine, traces. A file that is not what that run
    /// wrote is somebody else's by now.
    pub fn remove_surplus<'p>(
        &self,
        new: impl Iterator<Item = &'p Path>,
        inputs: impl Iterator<Item = &'p Path>,
    ) {
        let spared: HashSet<PathBuf> = new.map(whole).collect();
        for path in &self.outdated {
            if !spared.contains(&whole(path)) {
                let _ = fs::remove_file(path);
            }
        }
        let Some(run) = &self.run else { return };
        let read: HashSet<PathBuf> = inputs
            .filter_map(|path| fs::canonicalize(path).ok())
            .collect();
        for file in run.manifest.files() {
            let path = run.place(file);
            let is_input = fs::canonicalize(&path).is_ok_and(|path| read.contains(&path));
            if spared.contains(&whole(&path)) || is_input || run.intact(file).is_none() {
                continue;
            }
            if digest_of(&path).is_ok_and(|now| now == (file.bytes, file.xxh3_128.clone())) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Makes sure that a command may write the file `path`: it is none of its `inputs` and, unless
/// `force` is set, by a record beside it no output of a run, but for one of the same `command`.
///
/// # Errors
/// [`ClaimError::Input`] or [`ClaimError::OutputOfRun`].
pub fn claim_file(
    path: &Path,
    inputs: &[PathBuf],
    force: bool,
    command: Option<&str>,
) -> Result<(), ClaimError> {
    if let Ok(there) = fs::canonicalize(path)
        && inputs
            .iter()
            .any(|input| fs::canonicalize(input).is_ok_and(|input| input == there))
    {
        return Err(ClaimError::Input(path.display().to_string()));
    }
    if force {
        return Ok(());
    }
    no_copy_of(path, command)?;
    no_output_of(path, |run| {
        command.is_some_and(|command| is_of_command(&run.manifest, command))
    })
}

/// Makes sure that `path` as it is there was not copied by `djr subset`, unless `command` is that.
fn no_copy_of(path: &Path, command: Option<&str>) -> Result<(), ClaimError> {
    if command == Some(SUBSET) || !CopiedRecord::is_of(path) {
        return Ok(());
    }
    let dir = RunFiles::of_output(path).map(|files| files.dir.display().to_string());
    Err(ClaimError::OutputOfRun {
        path: path.display().to_string(),
        recipe: SUBSET.to_owned(),
        dir: dir.unwrap_or_default(),
    })
}

/// Removes the records of an earlier run of `output`, which is written anew by something that is no
/// run: they would be taken for those of the new file. A run with other outputs that are there keeps
/// its records.
pub fn forget_run(output: &Path) {
    let Some(files) = RunFiles::of_output(output) else {
        return;
    };
    let Ok(run) = PastRun::read(files) else {
        return;
    };
    let own = whole(output);
    let outputs = run.manifest.outputs.iter().flat_map(|output| &output.files);
    let outputs: HashSet<PathBuf> = outputs.map(|file| whole(&run.place(file))).collect();
    if outputs.iter().any(|path| *path != own && path.exists()) {
        return;
    }
    for file in run.manifest.files() {
        let path = run.place(file);
        let is_record = !outputs.contains(&whole(&path));
        let now = || digest_of(&path).ok();
        if is_record && now() == Some((file.bytes, file.xxh3_128.clone())) {
            let _ = fs::remove_file(&path);
        }
    }
    let _ = fs::remove_file(run.files.manifest());
}

/// The command that copies rows, as records name it.
const SUBSET: &str = "subset";

/// Who wrote outputs that are not to be replaced.
fn writer(recut: bool) -> &'static str {
    if recut {
        "a run, which no recut replaces,"
    } else {
        "another recipe"
    }
}

/// Whether a run was one of a command that has no recipe, such as `djr subset`.
fn is_of_command(manifest: &Manifest, command: &str) -> bool {
    manifest.recipe_dir.is_none() && manifest.recipe_file == command
}

/// Makes sure that no run but one that `is_ours` is known to have written `path` as it is there.
fn no_output_of(path: &Path, is_ours: impl Fn(&PastRun) -> bool) -> Result<(), ClaimError> {
    // An output in shards has a name that no file has.
    let Ok(run) = PastRun::of_output(path) else {
        return Ok(());
    };
    let written = run.wrote(path).unwrap_or_default();
    if is_ours(&run) || !written.iter().any(|file| run.intact(file).is_some()) {
        return Ok(());
    }
    Err(ClaimError::OutputOfRun {
        path: path.display().to_string(),
        recipe: run.manifest.recipe_file.clone(),
        dir: run.files.dir.display().to_string(),
    })
}

/// Whether a run was one of `recipe`: of the same file, whatever it said then, and no run for a
/// recut; or of the same command, such as `djr subset`, which has no file; or of the same plan.
fn is_of(run: &PastRun, recipe: &Recipe, recut: bool) -> bool {
    let manifest = &run.manifest;
    let file = |name: &str, dir: Option<&Path>| {
        let file = dir?.join(Path::new(name).file_name()?);
        file.is_file().then(|| whole(&file))
    };
    let dir = recipe.search.first().map(PathBuf::as_path);
    let now = file(&recipe.name, dir).filter(|_| !recut || manifest.recut);
    let same_file =
        now.is_some() && now == file(&manifest.recipe_file, manifest.recipe_dir.as_deref());
    let same_command = dir.is_none() && is_of_command(manifest, &recipe.name);
    same_file
        || same_command
        || Plan::of(recipe).is_ok_and(|plan| plan.digest() == manifest.plan_digest)
}

/// Whether a record is of another version of djr's.
fn is_outdated(record: &RecordError) -> bool {
    matches!(
        record,
        RecordError::Version {
            error: VersionError::Other { .. },
            ..
        }
    )
}

/// Makes sure that stats may be written to `path`, which nobody named: what stands there must be
/// stats, or nothing, and not those of a run of other outputs than `outputs`.
///
/// # Errors
/// If it is something else.
pub fn claim_stats(path: &Path, outputs: &[PathBuf]) -> Result<(), ClaimError> {
    let Ok(file) = fs::File::open(path) else {
        return Ok(());
    };
    if let Some(output) = other_owner(path, outputs) {
        return Err(ClaimError::StatsOfOther {
            path: path.display().to_string(),
            output,
        });
    }
    let mut line = Vec::new();
    let read = BufReader::new(file)
        .take(LONGEST_STATS)
        .read_until(b'\n', &mut line);
    let row: Option<Map<String, Value>> = serde_json::from_slice(&line).ok();
    let only_stats = row.is_some_and(|row| row.keys().all(|key| key.starts_with(PEER_KEYS)));
    if read.is_ok() && (line.is_empty() || only_stats) {
        Ok(())
    } else {
        Err(ClaimError::NoStats(path.display().to_string()))
    }
}

/// The output, none of `outputs`, whose stats `path` holds: two outputs whose names differ in their
/// suffixes only have one name for their stats.
fn other_owner(path: &Path, outputs: &[PathBuf]) -> Option<String> {
    let ours: HashSet<PathBuf> = outputs.iter().map(|path| whole(path)).collect();
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix("_stats.jsonl")?;
    let beside = fs::read_dir(directory(path)).ok()?.flatten();
    let dirs = beside.map(|entry| entry.path()).filter(|dir| {
        let called = dir.file_name().and_then(|name| name.to_str());
        called.is_some_and(|called| called.starts_with(stem)) && RunFiles::is_named_so(dir)
    });
    for dir in dirs {
        let Ok(run) = PastRun::read(RunFiles::new(dir)) else {
            continue;
        };
        let stats = run
            .manifest
            .stats
            .as_ref()
            .and_then(|file| run.intact(file));
        if stats.is_some_and(|stats| whole(&stats) == whole(path)) {
            let mut written = run.manifest.outputs.iter();
            let is_ours = |name: &str| ours.contains(&whole(&run.moved(Path::new(name))));
            if written.clone().any(|output| is_ours(&output.name)) {
                continue;
            }
            return written.next().map(|output| output.name.clone());
        }
    }
    None
}

/// Bytes of a row of stats that are looked at.
const LONGEST_STATS: u64 = 1 << 20;

/// How the keys begin of what Data-Juicer writes into a file of stats.
const PEER_KEYS: &str = "__dj__";

/// A file that bears the name of a record, and that the manifest does not list.
fn unlisted(files: &RunFiles, manifest: Option<&Manifest>) -> Result<(), ClaimError> {
    let listed = |path: &Path| {
        let own = [
            manifest.map(|_| files.manifest()),
            manifest
                .and_then(|m| m.ledger.as_ref())
                .map(|_| files.ledger()),
            manifest
                .and_then(|m| m.quarantine.as_ref())
                .map(|_| files.quarantine()),
            manifest
                .and_then(|m| m.row_stats.as_ref())
                .map(|_| files.stats()),
        ];
        own.iter().flatten().any(|own| own == path)
    };
    let mut records = files.records().into_iter();
    match records.find(|path| path.exists() && !listed(path)) {
        Some(path) => Err(ClaimError::Foreign(path.display().to_string())),
        None => Ok(()),
    }
}
