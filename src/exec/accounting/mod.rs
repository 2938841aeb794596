//! The account of a run: every row that enters is entered here once more when it ends.

mod ended;
mod failures;
mod ids;
mod trace;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::ended::Ended;
pub use self::ended::{Endings, Last};
use self::failures::Failures;
use self::ids::IdWatch;
use self::trace::TraceFile;
pub use self::trace::write_traces;
use super::error::target_name;
use super::fields::remember;
use super::spill::ExactKeys;
use super::stage::{
    BatchResult, Rendered, RowEnd, RowResult, Settled, StepCost, Trace, decided_entry, noted_at,
};
use super::{RunError, RunOptions, write_error};
use crate::io::source::MAX_ROW_BYTES;
use crate::io::workspace::{Lengths, sync_pending};
use crate::io::{Input, PendingFile, ProducedFiles, Workspace};
use crate::layout::RunFiles;
use crate::note::{Code, Codes};
use crate::op::{Decision, Family};
use crate::recipe::{OnError, OutputSpec, Recipe, Step, Target};
use crate::record::counts::{FromData, Reason, StratumCounts};
use crate::record::ledger::{Ledger, PackedLog, sound_id};
use crate::record::quarantine::Quarantine;
use crate::record::stats::READ;
use crate::record::{Cluster, RowPlace};
use crate::record::{
    Fate, LedgerEntry, OutputCounts, QuarantineEntry, RunReport, Stage, StepCounts, StepNumber,
};
use crate::sample::{Origin, Produced, RowError};

/// What became of a row that reached the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateFate {
    /// Some output wrote it.
    Written,
    /// Every output that considered it refused it.
    Refused,
    /// Only samples could have written it, and none drew it.
    NotDrawn,
    /// It met the condition of no output.
    Unmatched,
}

/// What of its rows a run keeps, beyond those that are left.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for apart")]
pub struct Keeps {
    /// Rows that have ended, for an output that takes them.
    pub ended: bool,
    /// The fate of each row.
    pub ledger: bool,
    /// What was measured of each row.
    pub row_stats: bool,
    /// The stats of survivors, as Data-Juicer writes them.
    pub stats: bool,
    /// What each step did to rows, one entry a step.
    pub traced: Vec<bool>,
}

impl Keeps {
    /// What a run of `recipe` keeps that has a directory of these files, or none.
    #[must_use]
    pub fn of(recipe: &Recipe, files: Option<&RunFiles>) -> Self {
        let traced = |step| TraceFile::of(recipe, step, files).is_some();
        Self {
            ended: Ended::are_taken(&recipe.outputs),
            ledger: files.is_some(),
            row_stats: files.is_some() && recipe.stats_files && recipe.steps.iter().any(measures),
            stats: stats_path(recipe).is_some(),
            traced: recipe.steps.iter().map(traced).collect(),
        }
    }
}

/// Counts, ledger, quarantine, stats and traces of one run.
pub struct Accounting {
    /// The numbers so far.
    pub report: RunReport,
    /// The ledger, if the run has a directory.
    pub ledger: Option<Ledger>,
    /// Rows set aside.
    pub quarantine: Quarantine,
    /// Stats of all rows, if the run has a directory and some filter measures.
    pub row_stats: Option<PackedLog>,
    /// Clusters of duplicates, if the run has a directory and some step reports them.
    pub clusters: Option<PackedLog>,
    /// Data-Juicer's stats file, if the recipe has one.
    pub stats: Option<PendingFile>,
    /// Rows traced, one entry a step.
    pub traces: Vec<Option<TraceFile>>,
    /// Rows that came as far as the outputs.
    pub reached_outputs: u64,
    /// Whether the fates of all rows that reached the outputs are entered.
    pub all_settled: bool,
    /// What of its rows the run keeps.
    pub keeps: Keeps,
    /// Rows that have ended, if some output takes them.
    ended: Option<Ended>,
    failures: Failures,
    on_error: OnError,
    input_names: Vec<String>,
    step_names: Vec<String>,
    output_names: Vec<String>,
    /// What an output said of the first row that it refused.
    pub first_refused: Option<String>,
    /// What was said of the first row that could not be read.
    pub first_failed: Option<String>,
    last_failed: Option<Origin>,
    produced: ProducedFiles,
    ids: IdWatch,
}

/// What the accounting holds beyond its files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AccountingState {
    /// The numbers.
    pub report: RunReport,
    traces: Vec<(u64, Vec<String>)>,
    reached_outputs: u64,
    #[serde(default)]
    all_settled: bool,
    failing: u64,
}

impl Accounting {
    /// Opens the accounting of a run, new or as an earlier process left it.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(
        recipe: &Recipe,
        files: Option<&RunFiles>,
        inputs: &[Input],
        options: &RunOptions,
        workspace: &Workspace,
        before: Option<AccountingState>,
    ) -> Result<Self, RunError> {
        let step_names: Vec<String> = recipe.steps.iter().map(|s| s.name.to_owned()).collect();
        let named = |name: &String| StepCounts {
            name: name.clone(),
            ..StepCounts::default()
        };
        let report = RunReport {
            inputs: inputs.iter().map(Input::name).collect(),
            steps: step_names.iter().map(named).collect(),
            outputs: recipe
                .outputs
                .iter()
                .map(|spec| OutputCounts {
                    name: target_name(spec),
                    format: spec.format.word(),
                    wanted: spec.sample,
                    checked_for: spec.checked.as_ref().map(|it| it.trainer.get().name),
                    ..OutputCounts::default()
                })
                .collect(),
            ..RunReport::default()
        };
        let keeps = Keeps::of(recipe, files);
        let ledger = files
            .map(RunFiles::ledger)
            .map(|path| Ledger::open(&path, workspace).map_err(|e| write_error(path.display(), e)))
            .transpose()?;
        let row_stats = files
            .filter(|_| keeps.row_stats)
            .map(RunFiles::stats)
            .map(|path| {
                PackedLog::open(&path, "row-stats", workspace)
                    .map_err(|e| write_error(path.display(), e))
            })
            .transpose()?;
        let clusters = files
            .filter(|_| recipe.steps.iter().any(|step| step.base.choice.report))
            .map(RunFiles::clusters)
            .map(|path| {
                PackedLog::open(&path, "clusters", workspace)
                    .map_err(|e| write_error(path.display(), e))
            })
            .transpose()?;
        let quarantine = Quarantine::open(files.map(RunFiles::quarantine), workspace)
            .map_err(|e| write_error("the quarantine", e))?;
        let stats = stats_path(recipe)
            .map(|path| {
                workspace
                    .pending(&path)
                    .map_err(|e| write_error(path.display(), e))
            })
            .transpose()?;
        let mut accounting = Self {
            report,
            ledger,
            quarantine,
            row_stats,
            clusters,
            stats,
            traces: recipe
                .steps
                .iter()
                .map(|step| TraceFile::of(recipe, step, files))
                .collect(),
            reached_outputs: 0,
            all_settled: false,
            keeps,
            ended: Ended::open(&recipe.outputs, workspace)
                .map_err(|e| write_error("rows that ended", e))?,
            failures: Failures::new(options.max_quarantine(recipe)),
            on_error: recipe.on_error,
            input_names: inputs.iter().map(Input::name).collect(),
            step_names,
            output_names: recipe.outputs.iter().map(target_name).collect(),
            produced: ProducedFiles::default(),
            first_refused: None,
            first_failed: None,
            last_failed: None,
            ids: IdWatch::open(workspace).map_err(|e| write_error("ids", e))?,
        };
        if let Some(before) = before {
            accounting.report = before.report;
            accounting.reached_outputs = before.reached_outputs;
            accounting.all_settled = before.all_settled;
            accounting.failures.resume(before.failing);
            for (file, (left, lines)) in accounting.traces.iter_mut().flatten().zip(before.traces) {
                file.left = left;
                file.lines = lines;
            }
        }
        Ok(accounting)
    }

    /// Makes the files durable and returns what else there is.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<AccountingState> {
        if let Some(ledger) = &mut self.ledger {
            ledger.sync(lengths)?;
        }
        self.quarantine.sync(lengths)?;
        if let Some(row_stats) = &mut self.row_stats {
            row_stats.sync(lengths)?;
        }
        if let Some(ended) = &mut self.ended {
            ended.sync(lengths)?;
        }
        if let Some(clusters) = &mut self.clusters {
            clusters.sync(lengths)?;
        }
        self.produced.sync()?;
        self.ids.sync(lengths)?;
        if let Some(stats) = &mut self.stats {
            let target = stats.target().to_owned();
            sync_pending(stats, &target, lengths)?;
        }
        Ok(AccountingState {
            report: self.report.clone(),
            traces: self
                .traces
                .iter()
                .flatten()
                .map(|file| (file.left, file.lines.clone()))
                .collect(),
            reached_outputs: self.reached_outputs,
            all_settled: self.all_settled,
            failing: self.failures.count(),
        })
    }

    /// Whether the last row failed, perhaps for a reason outside the data: then no checkpoint is
    /// made, so that a run that stops for it is resumed before the first row it cost.
    #[must_use]
    pub fn in_a_streak(&self) -> bool {
        self.failures.in_a_streak()
    }

    /// A row was sound: no streak of failures goes on.
    pub fn sound(&mut self) {
        self.failures.end_streak();
    }

    /// Stops the run if more rows of those read could not be processed than it allows.
    ///
    /// # Errors
    /// [`RunError::TooManyBad`].
    pub fn check_limit(&self) -> Result<(), RunError> {
        self.check_share(self.failures.count(), self.report.rows_in)
    }

    /// As [`Accounting::check_limit`], of `rows` rows of which `failing` could not be processed.
    ///
    /// # Errors
    /// [`RunError::TooManyBad`].
    pub fn check_share(&self, failing: u64, rows: u64) -> Result<(), RunError> {
        let checked = self.failures.check(failing, rows, &self.report.reasons);
        checked.map_err(|mut broken| {
            if let RunError::TooManyBad { last, .. } = &mut broken {
                *last = self
                    .last_failed
                    .map(|origin| Box::new(self.place_of(origin)));
            }
            broken
        })
    }

    /// Adds what a batch of rows fresh from the input, or of a later phase, cost.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn add_batch(&mut self, batch: &BatchResult, fresh: bool) -> Result<(), RunError> {
        let seen = &mut self.report.seen;
        if fresh {
            self.report.rows_in += batch.read;
            self.report.bytes_in += batch.bytes;
            seen.fields |= batch.fields.there;
            for field in &batch.fields.held {
                remember(&mut seen.held, &field.name, field.is_text);
            }
            let added = self.ids.add(&batch.id_hashes);
            added.map_err(|e| write_error("ids", e))?;
        }
        seen.tokens_differ += batch.tokens_differ;
        let shares = cpu_shares(batch);
        for ((step, cost), cpu) in self.report.steps.iter_mut().zip(&batch.costs).zip(shares) {
            add_cost(step, cost);
            step.time += cpu;
            step.repeated += cost.repeated;
            self.report.repeated += cost.repeated;
        }
        self.report.images.add(batch.images);
        Ok(())
    }

    /// Adds processor time that a step took outside of batches.
    pub fn add_time(&mut self, step: usize, time: Duration) {
        self.step(step).time += time;
    }

    /// Keeps what was measured of the rows of a batch: nothing, unless they are fresh from the input.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn keep_row_stats(&mut self, batch: &mut BatchResult) -> Result<(), RunError> {
        let Some(row_stats) = &mut self.row_stats else {
            return Ok(());
        };
        row_stats
            .append(std::mem::take(&mut batch.row_stats).into())
            .map_err(|e| write_error("stats of rows", e))
    }

    /// Writes files that operators made of a row that goes on.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn write_produced(
        &mut self,
        origin: Origin,
        files: &[Arc<Produced>],
    ) -> Result<(), RunError> {
        for file in files {
            let is_new = self
                .produced
                .write(origin, file)
                .map_err(|e| write_error(file.path.display(), e))?;
            if is_new {
                self.report.produced.files += 1;
                self.report.produced.bytes += file.bytes.len() as u64;
            }
        }
        Ok(())
    }

    /// Makes durable what operators made.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync_produced(&mut self) -> Result<(), RunError> {
        self.produced
            .sync()
            .map_err(|e| write_error("files that operators made", e))
    }

    /// Applies the exact deduplicators of the stream to the next row; false if it is a duplicate
    /// (and recorded as such).
    ///
    /// A row that cannot be processed further does not stand for its duplicates: the next sound
    /// one does, so that a broken row never costs another.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn admit(&mut self, row: &RowResult, seen: &mut ExactKeys) -> Result<bool, RunError> {
        if row.exact.is_empty() {
            return Ok(true);
        }
        let refused = !row.rendered.is_empty()
            && row
                .rendered
                .iter()
                .all(|r| !matches!(r, Rendered::Bytes(..)))
            && row
                .rendered
                .iter()
                .any(|r| matches!(r, Rendered::Refused(..)));
        let sound = !matches!(row.end, RowEnd::Failed(..)) && !refused;
        for &(step, key) in &row.exact {
            let first = seen
                .first(step, key, row.origin.offset, sound)
                .map_err(|e| write_error("keys of rows seen", e))?;
            if let Some(first) = first {
                self.duplicate(row, step, first)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Records a row that goes for an earlier one at an exact deduplicator of the stream.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn duplicate(&mut self, row: &RowResult, step: usize, first: u64) -> Result<(), RunError> {
        // The steps behind have seen the row before anybody knew.
        let before = row.traces.iter().take_while(|trace| trace.step < step);
        self.traced(before);
        self.sound();
        self.count_dropped(step, 1);
        let noted = noted_at(&row.remarked, step);
        self.record_dropped(step, row.origin, row.id.as_deref(), Some(first), noted)
    }

    /// Records a row that a filter dropped or that failed.
    ///
    /// # Errors
    /// If a file cannot be written, or the row failed and the recipe says `on_error: fail`.
    pub fn ended(&mut self, row: &RowResult) -> Result<(), RunError> {
        self.traced(&row.traces);
        match &row.end {
            RowEnd::Alive => Ok(()),
            RowEnd::Dropped(step, decision) => {
                self.sound();
                self.count_dropped(*step, 1);
                let noted = noted_at(&row.remarked, *step);
                self.record_decided(*step, row.origin, row.id.as_deref(), decision, noted)
            }
            RowEnd::Failed(stage, error, verbatim) => {
                self.failed(*stage, row.origin, row.id.as_deref(), error, verbatim)
            }
        }
    }

    /// Records a row that could not be processed.
    ///
    /// # Errors
    /// As [`Accounting::ended`].
    pub fn failed(
        &mut self,
        stage: Stage,
        origin: Origin,
        id: Option<&str>,
        error: &RowError,
        row: &[u8],
    ) -> Result<(), RunError> {
        self.set_aside(stage, origin, id, error, row)?;
        self.failures.count_one();
        if self.on_error == OnError::Drop {
            self.report.dropped += 1;
        } else {
            self.report.quarantined += 1;
        }
        match stage {
            Stage::Step(step) => self.step(step).quarantined += 1,
            Stage::Read => self.report.unreadable += 1,
            Stage::Output(_) => {}
        }
        let name = self.stage_name(stage);
        let fate = self.failed_fate();
        self.record(origin, id, |entry| LedgerEntry {
            fate,
            by: Some(name.into()),
            step: stage.step(),
            code: Some(error.code.into()),
            ..entry
        })
    }

    /// Records that an output refused a row; what becomes of the row is settled later.
    ///
    /// # Errors
    /// As [`Accounting::ended`].
    pub fn refused(
        &mut self,
        output: usize,
        origin: Origin,
        id: Option<&str>,
        error: &RowError,
        row: &[u8],
    ) -> Result<(), RunError> {
        if let Some(counts) = self.report.outputs.get_mut(output) {
            counts.refused += 1;
        }
        if self.first_refused.is_none() {
            self.first_refused = Some(error.message.to_string());
        }
        self.set_aside(Stage::Output(output), origin, id, error, row)
    }

    /// Counts why an output of rows that have ended refuses one of them.
    pub fn refused_again(&mut self, output: usize, code: &'static str) {
        let stage = Stage::Output(output);
        *self
            .report
            .reasons
            .entry(Reason { stage, code })
            .or_default() += 1;
    }

    /// Counts a row that an output does not ask for.
    pub fn unmatched(&mut self, output: usize) {
        if let Some(counts) = self.report.outputs.get_mut(output) {
            counts.unmatched += 1;
        }
    }

    /// Counts a row that an output wrote; `entry` is what the ledger says of it.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn kept(&mut self, entry: &[u8]) -> Result<(), RunError> {
        self.report.rows_out += 1;
        self.sound();
        self.note_end(&LedgerEntry::default())?;
        let Some(ledger) = &mut self.ledger else {
            return Ok(());
        };
        let appended = ledger.append(entry.into());
        appended.map_err(|e| write_error("ledger", e))
    }

    /// Records the fate of a row that reached the outputs: written by one at least, or refused.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn settled(
        &mut self,
        origin: Origin,
        id: Option<&str>,
        fate: LateFate,
    ) -> Result<(), RunError> {
        let (fate, by) = match fate {
            LateFate::Written => {
                self.report.rows_out += 1;
                self.sound();
                (Fate::Kept, None)
            }
            LateFate::Refused => {
                self.failures.count_one();
                if self.on_error == OnError::Drop {
                    self.report.dropped += 1;
                } else {
                    self.report.quarantined += 1;
                }
                (self.failed_fate(), Some("outputs"))
            }
            LateFate::NotDrawn => {
                self.report.dropped += 1;
                self.report.not_drawn += 1;
                (Fate::Dropped, Some("sample"))
            }
            LateFate::Unmatched => {
                self.report.dropped += 1;
                self.report.unmatched += 1;
                self.sound();
                (Fate::Dropped, Some("where"))
            }
        };
        self.record(origin, id, |entry| LedgerEntry {
            fate,
            by: by.map(Into::into),
            ..entry
        })
    }

    /// Writes lines of survivors to Data-Juicer's stats file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_stats(&mut self, lines: Cow<'_, [u8]>) -> Result<(), RunError> {
        let Some(file) = &mut self.stats else {
            return Ok(());
        };
        let written = file.append(lines);
        written.map_err(|e| write_error(file.target().display(), e))
    }

    /// Records a settled row that is a duplicate of the one at `first` to `step`; `kept` is what the
    /// ledger would say of it else.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn settled_duplicate(
        &mut self,
        step: usize,
        kept: &[u8],
        first: u64,
    ) -> Result<(), RunError> {
        self.sound();
        self.count_dropped(step, 1);
        let by = self.step_names.get(step).map_or("", String::as_str);
        match &mut self.ledger {
            Some(ledger) => ledger
                .push_duplicate(kept, by, StepNumber::at(step), first)
                .map_err(|e| write_error("ledger", e)),
            None => Ok(()),
        }
    }

    /// Adds up rows whose `ledger` and `stats` are written.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn add_settled(
        &mut self,
        rows: &Settled,
        ledger: Cow<'_, [u8]>,
        stats: Cow<'_, [u8]>,
    ) -> Result<(), RunError> {
        self.report.rows_out += rows.kept;
        self.reached_outputs += rows.kept;
        for &(step, dropped) in &rows.dropped {
            self.count_dropped(step, dropped);
        }
        self.sound();
        self.write_stats(stats)?;
        match &mut self.ledger {
            Some(file) => file.append(ledger).map_err(|e| write_error("ledger", e)),
            None => Ok(()),
        }
    }

    /// Collects what traced steps did to a row.
    pub fn traced<'t>(&mut self, traces: impl IntoIterator<Item = &'t Trace>) {
        for trace in traces {
            if let Some(Some(file)) = self.traces.get_mut(trace.step) {
                file.push(trace);
            }
        }
    }

    /// Counts rows that `step` dropped.
    pub fn count_dropped(&mut self, step: usize, rows: u64) {
        self.report.dropped += rows;
        self.step(step).dropped += rows;
    }

    /// Counts rows that `step` changed when all were known.
    pub fn count_changed(&mut self, step: usize, rows: u64) {
        self.step(step).changed += rows;
    }

    /// Whether clusters of duplicates are written down.
    #[must_use]
    pub fn reports_clusters(&self) -> bool {
        self.clusters.is_some()
    }

    /// Writes down a row that stayed at `step`, and those that went for it.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn cluster(
        &mut self,
        step: usize,
        kept: RowPlace<'_>,
        duplicates: Vec<RowPlace<'_>>,
    ) -> Result<(), RunError> {
        let by = self.step_names.get(step).map_or("", String::as_str);
        let cluster = Cluster {
            step: StepNumber::at(step),
            by: by.into(),
            kept,
            duplicates,
        };
        let Some(clusters) = &mut self.clusters else {
            return Ok(());
        };
        let line = serde_json::to_vec(&cluster).map_err(std::io::Error::from);
        line.and_then(|mut line| {
            line.push(b'\n');
            clusters.append(line.into())
        })
        .map_err(|e| write_error("clusters of duplicates", e))
    }

    /// Whether rows that end are set aside, as they were.
    #[must_use]
    pub fn keeps_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Sets aside the row whose end was recorded last, if some output takes it.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn keep_ended(&mut self, last: Last<'_>) -> Result<(), RunError> {
        match &mut self.ended {
            Some(ended) => ended
                .push(last)
                .map_err(|e| write_error("rows that ended", e)),
            None => Ok(()),
        }
    }

    /// As [`Accounting::keep_ended`], for a row that ended in a stream; `frame` is the row as it was
    /// then, if it could be read.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn keep_ended_row(&mut self, row: &RowResult, frame: &[u8]) -> Result<(), RunError> {
        self.keep_ended(match &row.end {
            RowEnd::Failed(_, _, verbatim) => Last::Line(row.origin, verbatim),
            RowEnd::Alive | RowEnd::Dropped(..) => Last::Frame(frame),
        })
    }

    /// The rows that have ended, now that all have.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn take_ended(&mut self) -> Result<Option<Endings>, RunError> {
        let ended = self.ended.take().map(Ended::finish).transpose();
        ended.map_err(|e| write_error("rows that ended", e))
    }

    /// Counts further copies of rows that `step` made.
    pub fn count_repeated(&mut self, step: usize, rows: u64) {
        self.report.repeated += rows;
        self.step(step).repeated += rows;
    }

    /// Notes how often `step` took the row that it took most often.
    pub fn count_most_taken(&mut self, step: usize, times: u64) {
        self.step(step).most_taken = times;
    }

    /// Records a row that `step` made part of the group whose first row has the identity `into`.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn merged(
        &mut self,
        step: usize,
        origin: Origin,
        id: Option<&str>,
        into: u64,
    ) -> Result<(), RunError> {
        self.report.merged += 1;
        self.step(step).merged += 1;
        let name = self.step_names.get(step).cloned();
        self.record(origin, id, |entry| LedgerEntry {
            fate: Fate::Merged,
            by: name.map(Into::into),
            step: Some(StepNumber::at(step)),
            merged_into: Some(into),
            ..entry
        })
    }

    /// That the group which `step` makes of the row from `first` and others is too long.
    #[must_use]
    pub fn too_long(&self, step: usize, first: Origin, longest: u64) -> RunError {
        let input = self.input_names.get(first.file as usize);
        RunError::Exchange {
            operator: self.step_names.get(step).cloned().unwrap_or_default(),
            message: format!(
                "the group that begins with {}:{} is longer than {longest} bytes, the most that one row may be{}",
                input.map_or("", String::as_str),
                first.line,
                if longest < MAX_ROW_BYTES as u64 {
                    " within max_memory"
                } else {
                    ""
                }
            ),
        }
    }

    /// Notes what a step took from the data.
    pub fn record_from_data(&mut self, step: usize, from_data: Vec<FromData>) {
        self.step(step).from_data = from_data;
    }

    /// Notes what kinds of rows a step drew from.
    pub fn record_strata(&mut self, step: usize, strata: Vec<StratumCounts>) {
        self.step(step).strata = strata;
    }

    /// Records a row that a filter dropped.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn record_decided(
        &mut self,
        step: usize,
        origin: Origin,
        id: Option<&str>,
        decision: &Decision,
        noted: Codes,
    ) -> Result<(), RunError> {
        let name = self.step_names.get(step).cloned();
        let by = (name.as_deref().unwrap_or_default(), StepNumber::at(step));
        self.record(origin, id, |entry| {
            decided_entry(entry, by, decision, noted)
        })
    }

    /// Records a row that a deduplicator or selector dropped.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn record_dropped(
        &mut self,
        step: usize,
        origin: Origin,
        id: Option<&str>,
        duplicate_of: Option<u64>,
        noted: Codes,
    ) -> Result<(), RunError> {
        let name = self.step_names.get(step).cloned();
        self.record(origin, id, |entry| LedgerEntry {
            fate: Fate::Dropped,
            by: name.map(Into::into),
            step: Some(StepNumber::at(step)),
            duplicate_of,
            notes: noted.iter().collect(),
            ..entry
        })
    }

    /// Counts the rows that have the id of an earlier one, now that all are read.
    ///
    /// # Errors
    /// If the ids cannot be read back.
    pub fn count_repeated_ids(&mut self) -> Result<(), RunError> {
        let repeated = self.ids.repeated();
        self.report.seen.ids_repeated = repeated.map_err(|e| write_error("ids", e))?;
        Ok(())
    }

    /// Fills in how many rows each step was shown: all that no earlier step ended.
    pub fn count_rows_in(&mut self) {
        let mut rows = self.report.rows_in - self.report.unreadable;
        for step in &mut self.report.steps {
            step.rows_in = rows;
            rows = step.rows_out();
        }
    }

    fn step(&mut self, step: usize) -> &mut StepCounts {
        if step >= self.report.steps.len() {
            self.report.steps.resize_with(step + 1, StepCounts::default);
        }
        &mut self.report.steps[step]
    }

    fn stage_name(&self, stage: Stage) -> String {
        match stage {
            Stage::Read => READ.to_owned(),
            Stage::Step(step) => self.step_names.get(step).cloned().unwrap_or_default(),
            Stage::Output(output) => self.output_names.get(output).cloned().unwrap_or_default(),
        }
    }

    /// Input and line of a row.
    fn place_of(&self, origin: Origin) -> (String, u64) {
        let names = self.input_names.get(origin.file as usize);
        (names.cloned().unwrap_or_default(), origin.line)
    }

    fn failed_fate(&self) -> Fate {
        if self.on_error == OnError::Drop {
            Fate::Dropped
        } else {
            Fate::Quarantined
        }
    }

    fn set_aside(
        &mut self,
        stage: Stage,
        origin: Origin,
        id: Option<&str>,
        error: &RowError,
        row: &[u8],
    ) -> Result<(), RunError> {
        let (input, _) = self.place_of(origin);
        if self.on_error == OnError::Fail {
            return Err(RunError::Row {
                file: input,
                line: origin.line,
                error: error.clone(),
            });
        }
        self.last_failed = Some(origin);
        if self.first_failed.is_none() && matches!(stage, Stage::Read) {
            self.first_failed = Some(error.message.to_string());
        }
        self.failures.extend_streak();
        *self
            .report
            .reasons
            .entry(Reason {
                stage,
                code: error.code,
            })
            .or_default() += 1;
        if self.on_error == OnError::Drop {
            return Ok(());
        }
        let entry = QuarantineEntry {
            input: input.into(),
            line: origin.line,
            offset: origin.offset,
            part: origin.part,
            copy: origin.copy,
            id: sound_id(id).map(Cow::Borrowed),
            by: self.stage_name(stage).into(),
            step: stage.step(),
            code: error.code.into(),
            message: (&*error.message).into(),
            ..QuarantineEntry::default()
        };
        self.quarantine
            .push(&entry.with_row(row))
            .map_err(|e| write_error(self.quarantine.path().display(), e))
    }

    fn record<'e>(
        &mut self,
        origin: Origin,
        id: Option<&'e str>,
        fill: impl FnOnce(LedgerEntry<'e>) -> LedgerEntry<'e>,
    ) -> Result<(), RunError> {
        if self.ledger.is_none() && self.ended.is_none() {
            return Ok(());
        }
        let entry = fill(LedgerEntry::of(origin, id));
        self.note_end(&entry)?;
        match &mut self.ledger {
            Some(ledger) => ledger.push(&entry).map_err(|e| write_error("ledger", e)),
            None => Ok(()),
        }
    }

    fn note_end(&mut self, entry: &LedgerEntry<'_>) -> Result<(), RunError> {
        match &mut self.ended {
            Some(ended) => ended
                .note(entry)
                .map_err(|e| write_error("rows that ended", e)),
            None => Ok(()),
        }
    }
}

/// Adds what happened to the rows of a batch.
fn add_cost(step: &mut StepCounts, cost: &StepCost) {
    step.changed += cost.changed;
    step.rounding_decided += cost.rounding_decided;
    for (code, rows) in cost.notes.iter() {
        count_note(step, code, rows);
    }
}

/// Adds rows to those of which something is to be noted.
pub fn count_note(step: &mut StepCounts, code: Code, rows: u64) {
    match step.notes.iter_mut().find(|(known, _)| *known == code) {
        Some((_, count)) => *count += rows,
        None => step.notes.push((code, rows)),
    }
}

/// The processor time of each step on a batch. The clock of the processor is too dear to be asked
/// around every step of a row: it is asked around the batch, and the steps share its answer as they
/// share the wall clock, which some of the rows were timed by. So they never add up to more.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn cpu_shares(batch: &BatchResult) -> Vec<Duration> {
    let (wall, cpu) = batch.time;
    let of_step = |cost: &StepCost| {
        let rows = cost.rows as f64 / cost.timed.max(1) as f64;
        cost.nanos as f64 / 1e9 * rows
    };
    let walls: Vec<f64> = batch.costs.iter().map(of_step).collect();
    let whole = walls.iter().sum::<f64>().max(wall.as_secs_f64());
    let share = |wall: f64| if whole > 0.0 { wall / whole } else { 0.0 };
    walls
        .into_iter()
        .map(|wall| cpu.mul_f64(share(wall)))
        .collect()
}

/// Whether a step measures stats.
fn measures(step: &Step) -> bool {
    step.spec.measures()
}

/// Where the survivors' stats go, if a recipe has any and they are wanted.
pub fn stats_path(recipe: &Recipe) -> Option<PathBuf> {
    let has_filter = recipe.steps.iter().any(|s| s.family == Family::Filter);
    (has_filter && recipe.stats_files)
        .then(|| stats_beside(&recipe.outputs))
        .flatten()
}

/// Data-Juicer writes the survivors' stats beside its export: `clean.jsonl` → `clean_stats.jsonl`.
pub fn stats_beside(outputs: &[OutputSpec]) -> Option<PathBuf> {
    outputs.iter().find_map(|spec| match &spec.target {
        Target::File(path) if spec.format.holds_rows && spec.is_whole() => {
            let name = path.file_name()?.to_str()?;
            let extension = path.extension()?.to_str()?;
            Some(path.with_file_name(name.replace(&format!(".{extension}"), "_stats.jsonl")))
        }
        _ => None,
    })
}
