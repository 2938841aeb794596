//! The account of a run: every row that enters is entered here once more when it ends.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chain::{BatchResult, End, Rendered, RowResult, StepCost, Trace};
use super::draw::LateFate;
use super::exact_keys::ExactKeys;
use super::{RunError, target_name, write_error};
use crate::io::source::MAX_ROW_BYTES;
use crate::io::workspace::{Lengths, sync_pending};
use crate::io::{Input, PendingFile, ProducedFiles, Workspace};
use crate::op::{Decision, Family, OpKind, Operator};
use crate::recipe::{OnError, QuarantineLimit, Recipe, Step, Target};
use crate::record::counts::{FromData, Reason};
use crate::record::ledger::{Ledger, PackedLog};
use crate::record::quarantine::Quarantine;
use crate::record::stats::READ;
use crate::record::{
    Fate, LedgerEntry, OutputCounts, QuarantineEntry, RunFiles, RunReport, Stage, StepCounts,
    StepNumber,
};
use crate::sample::{Origin, Produced, RowError, as_text};

/// Rows in a row that could not be processed from which on something outside the data is at
/// fault, say an image directory that was unmounted.
const STREAK_LIMIT: u64 = 2000;

/// A share of rows is judged once this many could not be processed.
const JUDGED_FROM: u64 = 1000;

/// Counts, ledger, quarantine, stats and traces of one run.
pub struct Books {
    /// The numbers so far.
    pub report: RunReport,
    /// The ledger, if the run has a directory.
    pub ledger: Option<Ledger>,
    /// Rows set aside.
    pub quarantine: Quarantine,
    /// Stats of all rows, if the run has a directory and some filter measures.
    pub row_stats: Option<PackedLog>,
    /// Data-Juicer's stats file, if the recipe has one.
    pub stats: Option<PendingFile>,
    /// Rows traced, one entry a step.
    pub traces: Vec<Option<TraceFile>>,
    /// Rows that came as far as the outputs.
    pub reached_outputs: u64,
    /// Rows that could not be processed, and how many of them came last without a sound one.
    failing: u64,
    streak: u64,
    limit: QuarantineLimit,
    on_error: OnError,
    input_names: Vec<String>,
    step_names: Vec<String>,
    output_names: Vec<String>,
    produced: ProducedFiles,
}

/// What the books hold beyond their files.
#[derive(Debug, Serialize, Deserialize)]
pub struct BooksState {
    /// The numbers.
    pub report: RunReport,
    traces: Vec<(u64, Vec<String>)>,
    reached_outputs: u64,
    failing: u64,
}

/// The first rows that a step changed or dropped, as Data-Juicer's tracer writes them, or what a
/// step notes of rows in a file that its parameters name.
pub struct TraceFile {
    path: PathBuf,
    left: u64,
    lines: Vec<String>,
}

impl Books {
    /// Opens the books of a run, new or as an earlier process left them.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open(
        recipe: &Recipe,
        files: Option<&RunFiles>,
        inputs: &[Input],
        limit: QuarantineLimit,
        workspace: &Workspace,
        before: Option<BooksState>,
    ) -> Result<Self, RunError> {
        let step_names: Vec<String> = recipe.steps.iter().map(|s| s.name.to_owned()).collect();
        let named = |name: &String| StepCounts {
            name: name.clone(),
            ..StepCounts::default()
        };
        let report = RunReport {
            steps: step_names.iter().map(named).collect(),
            outputs: recipe
                .outputs
                .iter()
                .map(|spec| OutputCounts {
                    name: target_name(spec),
                    format: spec.format.word(),
                    wanted: spec.sample,
                    ..OutputCounts::default()
                })
                .collect(),
            ..RunReport::default()
        };
        let ledger = files
            .map(RunFiles::ledger)
            .map(|path| Ledger::open(&path, workspace).map_err(|e| write_error(path.display(), e)))
            .transpose()?;
        let row_stats = files
            .filter(|_| recipe.steps.iter().any(measures))
            .map(RunFiles::stats)
            .map(|path| {
                PackedLog::open(&path, "row-stats", workspace)
                    .map_err(|e| write_error(path.display(), e))
            })
            .transpose()?;
        let path = quarantine_path(files);
        let quarantine = Quarantine::open(path.clone(), workspace)
            .map_err(|e| write_error(path.display(), e))?;
        let stats = stats_path(recipe)
            .map(|path| {
                workspace
                    .pending(&path)
                    .map_err(|e| write_error(path.display(), e))
            })
            .transpose()?;
        let mut books = Self {
            report,
            ledger,
            quarantine,
            row_stats,
            stats,
            traces: recipe
                .steps
                .iter()
                .map(|step| TraceFile::of(recipe, step, files))
                .collect(),
            reached_outputs: 0,
            failing: 0,
            streak: 0,
            limit,
            on_error: recipe.on_error,
            input_names: inputs.iter().map(Input::name).collect(),
            step_names,
            output_names: recipe.outputs.iter().map(target_name).collect(),
            produced: ProducedFiles::default(),
        };
        if let Some(before) = before {
            books.report = before.report;
            books.reached_outputs = before.reached_outputs;
            books.failing = before.failing;
            for (file, (left, lines)) in books.traces.iter_mut().flatten().zip(before.traces) {
                file.left = left;
                file.lines = lines;
            }
        }
        Ok(books)
    }

    /// Makes the files durable and returns what else there is.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<BooksState> {
        if let Some(ledger) = &mut self.ledger {
            ledger.sync(lengths)?;
        }
        self.quarantine.sync(lengths)?;
        if let Some(row_stats) = &mut self.row_stats {
            row_stats.sync(lengths)?;
        }
        self.produced.sync()?;
        if let Some(stats) = &mut self.stats {
            let target = stats.target().to_owned();
            sync_pending(stats, &target, lengths)?;
        }
        Ok(BooksState {
            report: self.report.clone(),
            traces: self
                .traces
                .iter()
                .flatten()
                .map(|file| (file.left, file.lines.clone()))
                .collect(),
            reached_outputs: self.reached_outputs,
            failing: self.failing,
        })
    }

    /// Whether the last row failed, perhaps for a reason outside the data: then no checkpoint is
    /// made, so that a run that stops for it is resumed before the first row it cost.
    #[must_use]
    pub fn in_a_streak(&self) -> bool {
        self.streak > 0 && self.limit != QuarantineLimit::None
    }

    /// A row was sound: no streak goes on.
    pub fn sound(&mut self) {
        self.streak = 0;
    }

    /// Stops the run if more rows of those read could not be processed than it allows.
    ///
    /// # Errors
    /// [`RunError::TooManyBad`].
    pub fn check_limit(&self) -> Result<(), RunError> {
        self.check_share(self.failing, self.report.rows_in)
    }

    /// As [`Books::check_limit`], of `rows` rows of which `failing` could not be processed.
    ///
    /// # Errors
    /// [`RunError::TooManyBad`].
    pub fn check_share(&self, failing: u64, rows: u64) -> Result<(), RunError> {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = || failing as f64 / rows.max(1) as f64;
        let broken = match self.limit {
            QuarantineLimit::None => false,
            QuarantineLimit::Rows(most) => failing > most,
            QuarantineLimit::Share(most) => {
                failing >= JUDGED_FROM && share() > most
                    || self.streak >= STREAK_LIMIT && most < 1.0
            }
        };
        if !broken {
            return Ok(());
        }
        let (reason, count) = self
            .report
            .reasons
            .iter()
            .max_by_key(|(_, count)| **count)
            .map_or(("", 0), |(reason, count)| (reason.code, *count));
        Err(RunError::TooManyBad {
            failing,
            rows,
            limit: self.limit,
            streak: self.streak,
            reason,
            count,
        })
    }

    /// Adds what a batch of rows fresh from the input, or of a later phase, cost.
    pub fn add_batch(&mut self, batch: &BatchResult, fresh: bool) {
        if fresh {
            self.report.rows_in += batch.read;
            self.report.bytes_in += batch.bytes;
        }
        for (step, cost) in self.report.steps.iter_mut().zip(&batch.costs) {
            add_cost(step, cost);
            step.repeated += cost.repeated;
            self.report.repeated += cost.repeated;
        }
        self.report.images.add(batch.images);
    }

    /// Keeps what was measured of the rows of a batch: nothing, unless they are fresh from the input.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn keep_row_stats(&mut self, batch: &BatchResult) -> Result<(), RunError> {
        let Some(row_stats) = &mut self.row_stats else {
            return Ok(());
        };
        row_stats
            .append(&batch.row_stats)
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
                .all(|r| matches!(r, Rendered::Refused(..)));
        let sound = !matches!(row.end, End::Failed(..)) && !refused;
        for &(step, key) in &row.exact {
            let first = seen
                .first(step, key, row.origin.offset, sound)
                .map_err(|e| write_error("keys of rows seen", e))?;
            if let Some(first) = first {
                self.sound();
                self.count_dropped(step, 1);
                self.record_dropped(step, row.origin, row.id.as_deref(), Some(first))?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Records a row that a filter dropped or that failed.
    ///
    /// # Errors
    /// If a file cannot be written, or the row failed and the recipe says `on_error: fail`.
    pub fn ended(&mut self, row: &RowResult) -> Result<(), RunError> {
        self.traced(&row.traces);
        match &row.end {
            End::Alive => Ok(()),
            End::Dropped(step, decision) => {
                self.sound();
                self.count_dropped(*step, 1);
                self.record_decided(*step, row.origin, row.id.as_deref(), decision)
            }
            End::Failed(stage, error, verbatim) => {
                self.failed(*stage, row.origin, row.id.as_deref(), error, verbatim)
            }
        }
    }

    /// Records a row that could not be processed.
    ///
    /// # Errors
    /// As [`Books::ended`].
    pub fn failed(
        &mut self,
        stage: Stage,
        origin: Origin,
        id: Option<&str>,
        error: &RowError,
        row: &[u8],
    ) -> Result<(), RunError> {
        self.set_aside(stage, origin, id, error, row)?;
        self.failing += 1;
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
    /// As [`Books::ended`].
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
        self.set_aside(Stage::Output(output), origin, id, error, row)
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
                self.failing += 1;
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
        };
        self.record(origin, id, |entry| LedgerEntry {
            fate,
            by: by.map(Into::into),
            ..entry
        })
    }

    /// Writes a survivor's stats to Data-Juicer's stats file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_stats(&mut self, stats: &[u8]) -> Result<(), RunError> {
        let Some(file) = &mut self.stats else {
            return Ok(());
        };
        let write = |file: &mut PendingFile| {
            file.write_all(b"{\"__dj__stats__\": ")?;
            file.write_all(stats)?;
            file.write_all(b"}\n")
        };
        write(file).map_err(|e| write_error(file.target().display(), e))
    }

    /// Collects what traced steps did to a row.
    pub fn traced(&mut self, traces: &[Trace]) {
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

    /// Counts further copies of rows that `step` made.
    pub fn count_repeated(&mut self, step: usize, rows: u64) {
        self.report.repeated += rows;
        self.step(step).repeated += rows;
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
    pub fn too_long(&self, step: usize, first: Origin) -> RunError {
        let input = self.input_names.get(first.file as usize);
        RunError::Barrier {
            operator: self.step_names.get(step).cloned().unwrap_or_default(),
            message: format!(
                "the group that begins with {}:{} is longer than {} MiB, the most that one row may be",
                input.map_or("", String::as_str),
                first.line,
                MAX_ROW_BYTES >> 20
            ),
        }
    }

    /// Notes what a step took from the data.
    pub fn took_from_data(&mut self, step: usize, from_data: Vec<FromData>) {
        self.step(step).from_data = from_data;
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
    ) -> Result<(), RunError> {
        let name = self.step_names.get(step).cloned();
        self.record(origin, id, |entry| LedgerEntry {
            fate: Fate::Dropped,
            by: name.map(Into::into),
            step: Some(StepNumber::at(step)),
            stat: Some(decision.stat.as_ref().into()),
            value: Some(as_text(decision.value.to_json())),
            limit: Some(decision.limit.as_str().into()),
            ..entry
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
    ) -> Result<(), RunError> {
        let name = self.step_names.get(step).cloned();
        self.record(origin, id, |entry| LedgerEntry {
            fate: Fate::Dropped,
            by: name.map(Into::into),
            step: Some(StepNumber::at(step)),
            duplicate_of,
            ..entry
        })
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
        let input = self
            .input_names
            .get(origin.file as usize)
            .cloned()
            .unwrap_or_default();
        if self.on_error == OnError::Fail {
            return Err(RunError::Row {
                place: format!("{input}:{}", origin.line),
                error: error.clone(),
            });
        }
        self.streak += 1;
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
            id: raw_id(id).map(Cow::Borrowed),
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
        let Some(ledger) = &mut self.ledger else {
            return Ok(());
        };
        let entry = fill(LedgerEntry {
            file: origin.file,
            line: origin.line,
            offset: origin.offset,
            part: origin.part,
            id: raw_id(id).map(Cow::Borrowed),
            ..LedgerEntry::default()
        });
        ledger.push(&entry).map_err(|e| write_error("ledger", e))
    }
}

impl TraceFile {
    fn of(recipe: &Recipe, step: &Step, files: Option<&RunFiles>) -> Option<Self> {
        if let Operator::Expander(op) = &step.operator
            && let Some(path) = op.notes_path()
        {
            return Some(Self {
                path: path.to_owned(),
                left: u64::MAX,
                lines: Vec::new(),
            });
        }
        let tracer = &recipe.tracer;
        let wanted =
            tracer.open && (tracer.ops.is_empty() || tracer.ops.iter().any(|op| op == step.name));
        // Data-Juicer pairs rows with parts that are not theirs where a mapper makes several rows
        // of one, so there is no such trace to match.
        let rowwise = matches!(step.spec.kind, OpKind::Mapper | OpKind::Filter);
        let files = files.filter(|_| wanted && rowwise)?;
        Some(Self {
            path: files.trace(step.name),
            left: tracer.rows,
            lines: Vec::new(),
        })
    }

    fn push(&mut self, trace: &Trace) {
        if self.left > 0 {
            self.left -= 1;
            self.lines.push(crate::sample::python_json(&trace.entry));
        }
    }

    /// Writes what was collected into the file that will hold it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, workspace: &Workspace) -> Result<PendingFile, RunError> {
        let write = || {
            let mut file = workspace.pending(&self.path)?;
            for line in &self.lines {
                file.write_all(line.as_bytes())?;
                file.write_all(b"\n")?;
            }
            Ok(file)
        };
        write().map_err(|e| write_error(self.path.display(), e))
    }
}

/// Where rows are set aside.
pub(super) fn quarantine_path(files: Option<&RunFiles>) -> PathBuf {
    files.map_or_else(
        || RunFiles::new("stdout.djr").quarantine(),
        RunFiles::quarantine,
    )
}

/// Adds the cost of a batch.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn add_cost(step: &mut StepCounts, cost: &StepCost) {
    step.changed += cost.changed;
    step.rounding_decided += cost.rounding_decided;
    if cost.timed > 0 {
        let nanos = cost.nanos as f64 * (cost.rows as f64 / cost.timed as f64);
        step.time += Duration::from_nanos(nanos as u64);
    }
}

/// Whether a step measures stats.
fn measures(step: &Step) -> bool {
    step.spec.measures()
}

/// The id for the ledger and the quarantine. An id that is neither a text nor a number, is no
/// Unicode, or is longer than any id has reason to be, is left out: what reads the ledger later
/// need not cope with it, and the row has its line and offset.
fn raw_id(id: Option<&str>) -> Option<&RawValue> {
    let id = id.filter(|id| id.len() <= MAX_ID_BYTES)?;
    let sound = match id.as_bytes().first()? {
        b'"' => !id.contains('\\') || serde_json::from_str::<String>(id).is_ok(),
        b'-' | b'0'..=b'9' => serde_json::from_str::<f64>(id).is_ok(),
        _ => false,
    };
    sound.then(|| serde_json::from_str(id).ok()).flatten()
}

/// The longest id that ledger and quarantine repeat.
const MAX_ID_BYTES: usize = 256;

/// Data-Juicer writes the survivors' stats beside its export: `clean.jsonl` → `clean_stats.jsonl`.
pub(super) fn stats_path(recipe: &Recipe) -> Option<PathBuf> {
    if !recipe.steps.iter().any(|s| s.family == Family::Filter) {
        return None;
    }
    recipe.outputs.iter().find_map(|spec| match &spec.target {
        Target::File(path) if spec.format.holds_rows && spec.sample.is_none() => {
            let name = path.file_name()?.to_str()?;
            let extension = path.extension()?.to_str()?;
            Some(path.with_file_name(name.replace(&format!(".{extension}"), "_stats.jsonl")))
        }
        _ => None,
    })
}
