//! The manifest: what was run, on what, with which outcome.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ServiceRecord;
use super::counts::{FromData, ProducedCounts, StratumCounts};
use super::version::{CURRENT, Version};
use super::{RunReport, StepNumber};
use crate::io::atomic::{Finished, digest_of};
use crate::io::source::{FileSource, InputSummary, StdinSource};
use crate::io::{Fingerprint, Input, PendingFile, Source as _, Workspace};
use crate::layout::FileRecord;
use crate::layout::file::readable;
use crate::note::Note;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::sample::ImageCounts;

/// What `manifest.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The version of this and the other records of the run.
    pub format: Version,
    /// The program that wrote it.
    pub djr: String,
    /// The directory it was written into: what was moved with it is found by that.
    pub run_dir: PathBuf,
    /// The recipe's file, as the user named it.
    pub recipe_file: String,
    /// Where its relative paths start.
    pub recipe_dir: Option<PathBuf>,
    /// The digest of the plan.
    pub plan_digest: String,
    /// What was done: the recipe as resolved, the versions of its operators, the files that they and
    /// the outputs read.
    pub plan: Plan,
    /// Whether stored stats were cut by other bounds, instead of rows measured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recut: bool,
    /// The command line, word by word.
    #[serde(default)]
    pub command: Vec<String>,
    /// When the run was started, in UTC; of one that was resumed, the first time.
    #[serde(default)]
    pub started: String,
    /// When it ended.
    #[serde(default)]
    pub ended: String,
    /// Its exit code: 0, or 1 where rows were lost beyond what was to be tolerated.
    #[serde(default)]
    pub exit: u8,
    /// The machine, if that was to be recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Worker threads.
    pub threads: usize,
    /// What was read.
    pub inputs: Vec<InputRecord>,
    /// The datasets that rows were drawn of, where the recipe gives them weights: what each had, was to
    /// give and gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<StratumCounts>,
    /// What is to be known of it.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// The rows in all.
    pub rows: RowCounts,
    /// What each step did.
    pub steps: Vec<StepRecord>,
    /// Why rows could not be processed or were refused.
    pub reasons: Vec<ReasonRecord>,
    /// What each output received.
    pub outputs: Vec<OutputRecord>,
    /// The ledger.
    pub ledger: Option<FileRecord>,
    /// The stats of all rows.
    pub row_stats: Option<FileRecord>,
    /// The rows set aside, if there are any.
    pub quarantine: Option<FileRecord>,
    /// The stats of the rows kept, as Data-Juicer writes them.
    pub stats: Option<FileRecord>,
    /// Rows traced.
    #[serde(default)]
    pub traces: Vec<FileRecord>,
    /// What was read of images.
    pub images: ImageCounts,
    /// What the cache of results told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheRecord>,
    /// What operators made.
    pub produced: ProducedCounts,
    /// What models and programs were asked, and what they ran on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceRecord>,
    /// Wall time.
    pub seconds: f64,
    /// Largest resident memory of the process.
    pub peak_memory_bytes: u64,
}

/// What the cache of results told a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheRecord {
    /// Where it is.
    pub dir: PathBuf,
    /// Results that it had.
    pub hits: u64,
    /// Results that were computed and kept.
    pub misses: u64,
    /// Files that were written since it knew them.
    pub stale: u64,
}

impl CacheRecord {
    /// What the cache in `dir` told the run of `report`.
    #[must_use]
    pub fn of(dir: &Path, report: &RunReport) -> Self {
        let (images, services) = (report.images, report.services.iter());
        let hits: u64 = services.clone().map(|it| it.cache_hits).sum();
        let misses: u64 = services.map(|it| it.cache_misses).sum();
        Self {
            dir: readable(dir),
            hits: images.cache_hits + hits,
            misses: images.cache_misses + misses,
            stale: images.cache_stale,
        }
    }
}

/// An input, and what identified it when it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputRecord {
    /// Its path, or `<stdin>`.
    pub name: String,
    /// Its size; none of a pipe.
    pub bytes: Option<u64>,
    /// When it was written last, in seconds since 1970.
    pub modified_unix: Option<f64>,
    /// XXH3-128 of its first and last 64 KiB.
    pub ends_xxh3_128: Option<String>,
    /// XXH3-128 of all its bytes: of files, of archives and tables with `--if-changed` only; not of folders, pipes and objects of a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xxh3_128: Option<String>,
    /// Rows read of it.
    pub rows: u64,
    /// Decompressed bytes read of it.
    pub bytes_read: u64,
}

/// The rows of a run: in + repeated = out + dropped + quarantined + merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowCounts {
    /// Rows read.
    #[serde(rename = "in")]
    pub read: u64,
    /// Rows that at least one output wrote.
    pub out: u64,
    /// Rows that an operator dropped, or that no sample drew.
    pub dropped: u64,
    /// Rows that could not be processed.
    pub quarantined: u64,
    /// Further copies that operators made.
    pub repeated: u64,
    /// Rows that became part of another row's group.
    pub merged: u64,
    /// Whether they add up.
    pub conserved: bool,
}

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// The operator.
    pub op: String,
    /// Rows it was shown.
    #[serde(rename = "in")]
    pub shown: u64,
    /// Rows that went on.
    pub out: u64,
    /// Rows it dropped.
    pub dropped: u64,
    /// Rows it could not process.
    pub quarantined: u64,
    /// Rows it changed.
    pub changed: u64,
    /// Further copies it made.
    pub repeated: u64,
    /// Rows it made part of another row's group.
    pub merged: u64,
    /// Rows that it would have decided differently if it did not round what it measured.
    #[serde(default)]
    pub rounding_decided: u64,
    /// Bounds that came from the data.
    pub from_data: Vec<FromData>,
    /// The kinds of rows that it drew from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strata: Vec<StratumCounts>,
    /// Its time over all threads, estimated from a part of the rows.
    pub seconds: f64,
}

/// Why rows could not be processed, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonRecord {
    /// Who says so: an operator, an output, or `read`.
    pub by: String,
    /// The operator's step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepNumber>,
    /// The stable word.
    pub code: String,
    /// How many rows.
    pub rows: u64,
}

/// What one output received.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputRecord {
    /// Its path, or `<stdout>`.
    pub name: String,
    /// Its format.
    pub format: String,
    /// Rows that reached the outputs.
    pub candidates: u64,
    /// Rows written.
    pub written: u64,
    /// Rows refused by name.
    pub refused: u64,
    /// Rows that the sample did not draw.
    pub not_drawn: u64,
    /// Rows for which its condition did not hold.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unmatched: u64,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// Who will read it, if rows were checked for that: what it refused says `reasons`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_for: Option<String>,
    /// Files beside them that say what they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<FileRecord>,
}

/// What an executor knows at the end of a run.
pub struct Facts<'a> {
    /// Where the records go.
    pub run_dir: &'a Path,
    /// The recipe as resolved.
    pub recipe: &'a Recipe,
    /// Its plan.
    pub plan: &'a Plan,
    /// Whether stored stats were cut.
    pub recut: bool,
    /// The numbers.
    pub report: &'a RunReport,
    /// The inputs.
    pub inputs: Vec<InputRecord>,
    /// The ledger.
    pub ledger: Option<Finished>,
    /// The stats of all rows.
    pub row_stats: Option<Finished>,
    /// The quarantine.
    pub quarantine: Option<Finished>,
    /// The stats file.
    pub stats: Option<Finished>,
    /// The traces.
    pub traces: Vec<Finished>,
    /// Worker threads.
    pub threads: usize,
    /// What the cache told, if there was one.
    pub cache: Option<CacheRecord>,
    /// How it was started.
    pub call: Call,
}

/// How a run was started, and how it ended.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The command line.
    pub command: Vec<String>,
    /// When it was started first, in UTC.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// Its exit code.
    pub exit: u8,
    /// The machine, if that is to be recorded.
    pub host: Option<String>,
}

impl Manifest {
    /// The manifest of a run.
    #[must_use]
    pub fn of(facts: Facts<'_>) -> Self {
        let Facts { recipe, report, .. } = facts;
        // A directory that cannot be resolved is recorded as it was named.
        let run_dir = std::fs::canonicalize(facts.run_dir);
        let run_dir = run_dir.as_deref().unwrap_or(facts.run_dir);
        Self {
            format: CURRENT,
            djr: env!("CARGO_PKG_VERSION").to_owned(),
            run_dir: readable(run_dir),
            recipe_file: recipe.name.clone(),
            recipe_dir: recipe.search.first().map(|dir| readable(dir)),
            plan_digest: facts.plan.digest(),
            plan: facts.plan.clone(),
            recut: facts.recut,
            command: facts.call.command,
            started: facts.call.started,
            ended: facts.call.ended,
            exit: facts.call.exit,
            host: facts.call.host,
            threads: facts.threads,
            inputs: facts.inputs,
            datasets: report.datasets.clone(),
            notes: report.notes.clone(),
            rows: RowCounts::of(report),
            steps: report.steps.iter().map(StepRecord::of).collect(),
            reasons: reasons_of(report),
            outputs: report.outputs.iter().map(OutputRecord::of).collect(),
            ledger: facts.ledger.map(FileRecord::from),
            row_stats: facts.row_stats.map(FileRecord::from),
            quarantine: facts.quarantine.map(FileRecord::from),
            stats: facts.stats.map(FileRecord::from),
            traces: facts.traces.into_iter().map(FileRecord::from).collect(),
            images: report.images,
            cache: facts.cache,
            produced: report.produced,
            services: report.services.clone(),
            seconds: report.time.as_secs_f64(),
            peak_memory_bytes: report.peak_memory,
        }
    }

    /// Writes what will stand at `path`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path, workspace: &Workspace) -> io::Result<PendingFile> {
        let mut file = workspace.pending(path)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        Ok(file)
    }

    /// All files that the run wrote, but for the manifest itself and what operators made.
    pub fn files(&self) -> impl Iterator<Item = &FileRecord> {
        let own = [&self.ledger, &self.row_stats, &self.quarantine, &self.stats];
        let outputs = &self.outputs;
        let outputs = outputs.iter().flat_map(|o| o.files.iter().chain(&o.beside));
        outputs.chain(own.into_iter().flatten()).chain(&self.traces)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_none(rows: &u64) -> bool {
    *rows == 0
}

impl RowCounts {
    /// The rows of a run.
    #[must_use]
    pub fn of(report: &RunReport) -> Self {
        Self {
            read: report.rows_in,
            out: report.rows_out,
            dropped: report.dropped,
            quarantined: report.quarantined,
            repeated: report.repeated,
            merged: report.merged,
            conserved: report.check_conservation().is_ok(),
        }
    }
}

/// Why rows of a run could not be processed or were refused.
#[must_use]
pub fn reasons_of(report: &RunReport) -> Vec<ReasonRecord> {
    let reasons = report.reasons.iter();
    reasons
        .map(|(reason, rows)| ReasonRecord {
            by: report.who(reason.stage).to_owned(),
            step: reason.stage.step(),
            code: reason.code.to_owned(),
            rows: *rows,
        })
        .collect()
}

impl StepRecord {
    /// What one step did.
    #[must_use]
    pub fn of(step: &super::StepCounts) -> Self {
        Self {
            op: step.name.clone(),
            shown: step.rows_in,
            out: step.rows_out(),
            dropped: step.dropped,
            quarantined: step.quarantined,
            changed: step.changed,
            repeated: step.repeated,
            merged: step.merged,
            rounding_decided: step.rounding_decided,
            from_data: step.from_data.clone(),
            strata: step.strata.clone(),
            seconds: step.time.as_secs_f64(),
        }
    }
}

impl OutputRecord {
    /// What one output received.
    #[must_use]
    pub fn of(output: &super::OutputCounts) -> Self {
        let files = |files: &[Finished]| files.iter().cloned().map(FileRecord::from).collect();
        Self {
            name: output.name.clone(),
            format: output.format.to_owned(),
            candidates: output.candidates,
            written: output.written,
            refused: output.refused,
            not_drawn: output.not_drawn,
            unmatched: output.unmatched,
            files: files(&output.files),
            checked_for: output.checked_for.map(str::to_owned),
            beside: files(&output.beside),
        }
    }
}

impl InputRecord {
    /// An input with what identified it, and what was read of it.
    #[must_use]
    pub fn of(input: &Input, print: Option<&Fingerprint>, read: &InputSummary) -> Self {
        Self {
            name: input.name(),
            bytes: print.map(|p| p.bytes),
            modified_unix: print.map(unix_seconds),
            ends_xxh3_128: print.map(|p| p.ends.clone()),
            xxh3_128: read.digest.clone(),
            rows: read.rows,
            bytes_read: read.bytes,
        }
    }

    /// The input, if it is a file that can be read again.
    #[must_use]
    pub fn input(&self) -> Option<Input> {
        (self.name != StdinSource::default().name()).then(|| Input::File(PathBuf::from(&self.name)))
    }

    /// What about the file is not now what it was when it was read. Where its digest is recorded, its
    /// content counts and the time at which it was written does not; else its size, time and both
    /// ends.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn change(&self) -> io::Result<Option<Change>> {
        let path = Path::new(&self.name);
        let Some(now) = FileSource::new(path.to_owned()).fingerprint()? else {
            return Ok(Some(Change::Kind));
        };
        Ok(if self.bytes != Some(now.bytes) {
            Some(Change::Size(now.bytes))
        } else if self.ends_xxh3_128.as_ref() != Some(&now.ends) {
            Some(Change::Content)
        } else if let Some(digest) = &self.xxh3_128 {
            (digest_of(path)?.1 != *digest).then_some(Change::Content)
        } else {
            (self.modified_unix != Some(unix_seconds(&now))).then_some(Change::Time)
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time, for people")]
fn unix_seconds(print: &Fingerprint) -> f64 {
    print.modified_ns as f64 / 1e9
}

/// What of a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is no file any more.
    Kind,
    /// Its size, which is now so many bytes.
    Size(u64),
    /// Its content.
    Content,
    /// The time it was written last.
    Time,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Size(_) => "size",
            Self::Content => "content",
            Self::Time => "time",
        }
    }
}
