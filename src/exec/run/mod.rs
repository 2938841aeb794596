//! A run from its inputs to its outputs, phase by phase.

mod beside;
mod context;
mod current;
mod piece;
mod publish;
mod references;
mod samples;
mod serving;

pub use current::up_to_date;
pub use piece::{Piece, PieceRows, check_limit, run_piece};
pub use references::ReferenceIndex;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use context::{Place, RunContext, lock_outputs, output_files, renderers, run_files};
use publish::publish;
use serving::Serving;

use super::accounting::{Accounting, stats_path};
use super::checkpoint::{ByTasks, Checkpointer, Opened, Progress, Remaining};
use super::duplicates::Found;
use super::exchange::stage::{self as exchange_stage, Deciding, ExchangeStage, Left};
use super::output::OutputStage;
use super::parts::Parts;
use super::setup::AnswersFile;
use super::sinks::Caller;
use super::stage::{BatchResult, Chain, Cursor, PartPlace, Passed, Source, drive};
use super::watch::Watch;
use super::{
    Observer, Resume, RunError, RunOptions, RunOutcome, checkpoint, conclude, exchange, setup,
    write_error,
};
use crate::io::workspace::Lengths;
use crate::layout::RunFiles;
use crate::op::Common;
use crate::plan;
use crate::recipe::Recipe;
use crate::record::{Claim, Earlier, claim_stats};

/// A run: what does not change, the account of rows, and how far it is.
pub(super) struct Run<'a> {
    pub(super) context: RunContext<'a>,
    pub(super) accounting: Accounting,
    pub(super) checkpointer: Checkpointer,
    /// What a census found in the last phase.
    common: Arc<Common>,
    /// Receives the outputs that go to the caller.
    pub(super) caller: Option<Caller<'a>>,
    /// What tasks made of the rows, if they did.
    tasks: Option<&'a FromTasks>,
}

/// What tasks made of the rows of a run, whose ordered step this process does.
pub struct FromTasks {
    /// The parts of each phase, as far as there are.
    pub phases: Vec<Parts>,
    /// What tasks found of the duplicates of each phase; of one that they did not look at no rounds.
    pub found: Vec<Found>,
    /// What the run records of them.
    pub by: ByTasks,
    /// The phase behind whose exchanges this process stops; without one it goes to the end.
    pub until: Option<usize>,
}

/// How far a run got.
pub enum Ended {
    /// It is finished.
    Whole(Box<RunOutcome>),
    /// The exchanges of a phase have decided; these rows are left.
    Decided(Left),
}

/// Where a phase takes its batches from.
enum Feed<'f> {
    /// Workers of this process make them of these rows.
    Rows(Source),
    /// Tasks have made them; those before a place are done.
    Parts(&'f Parts, PartPlace),
}

impl Feed<'_> {
    /// Whether rows come from the inputs.
    fn is_fresh(&self) -> bool {
        match self {
            Self::Rows(source) => source.is_fresh(),
            Self::Parts(parts, _) => parts.summaries.is_some(),
        }
    }
}

/// What becomes of the rows of a phase.
trait Pass {
    /// Takes the next batch.
    fn consume(
        &mut self,
        batch: BatchResult,
        phase: &plan::Phase,
        accounting: &mut Accounting,
    ) -> Result<(), RunError>;

    /// Makes everything durable and says what is left to do from `at` on.
    fn left(&mut self, at: &Progress, lengths: &mut Lengths) -> Result<Remaining, RunError>;
}

impl Pass for ExchangeStage<'_> {
    fn consume(
        &mut self,
        batch: BatchResult,
        phase: &plan::Phase,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        ExchangeStage::consume(self, batch, phase, accounting)
    }

    fn left(&mut self, at: &Progress, lengths: &mut Lengths) -> Result<Remaining, RunError> {
        self.sync(lengths)
            .map_err(|e| write_error("rows set aside on disk", e))?;
        Ok(Remaining::Rows(at.clone()))
    }
}

impl Pass for OutputStage<'_> {
    fn consume(
        &mut self,
        batch: BatchResult,
        _: &plan::Phase,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        OutputStage::consume(self, batch, accounting)
    }

    fn left(&mut self, at: &Progress, lengths: &mut Lengths) -> Result<Remaining, RunError> {
        OutputStage::left(self, at, lengths)
    }
}

/// Runs `recipe`.
///
/// # Errors
/// As [`super::run`].
pub(super) fn run<'a>(
    recipe: &'a Recipe,
    options: &'a RunOptions,
    observer: &mut dyn Observer,
    caller: Option<Caller<'a>>,
) -> Result<RunOutcome, RunError> {
    match run_as(recipe, options, observer, caller, None)? {
        Ended::Whole(outcome) => Ok(*outcome),
        Ended::Decided(_) => Err(RunError::Conservation("the run stopped early".into())),
    }
}

/// Does the ordered step of a run whose rows tasks have worked on, as far as `tasks` says. An
/// unfinished one is gone on with.
///
/// # Errors
/// As [`super::run`].
pub(super) fn run_tasks<'a>(
    recipe: &'a Recipe,
    options: &'a RunOptions,
    observer: &mut dyn Observer,
    tasks: &'a FromTasks,
) -> Result<Ended, RunError> {
    run_as(recipe, options, observer, None, Some(tasks))
}

/// Makes sure that a run could begin: that its outputs are nobody else's, and that no unfinished run
/// is in the way.
///
/// # Errors
/// As [`super::run`].
pub(super) fn check(recipe: &Recipe, options: &RunOptions) -> Result<(), RunError> {
    let files = run_files(recipe, options);
    let existed = files.as_ref().is_none_or(|files| files.dir.exists());
    let checked = check_locked(recipe, options, files.as_ref());
    if let (false, Some(files)) = (existed, files) {
        let _ = std::fs::remove_dir(files.dir);
    }
    checked
}

fn check_locked(
    recipe: &Recipe,
    options: &RunOptions,
    files: Option<&RunFiles>,
) -> Result<(), RunError> {
    let _locks = lock_outputs(recipe, files)?;
    claim(recipe, options, files, false)?;
    let inputs = setup::inputs(recipe);
    renderers(recipe, options)?;
    Checkpointer::check(recipe, options, &inputs, files)
}

/// Whether each output can hold what the steps make of the inputs.
///
/// # Errors
/// Why not.
pub(super) fn check_outputs(recipe: &Recipe, options: &RunOptions) -> Result<(), RunError> {
    renderers(recipe, options).map(drop)
}

/// What a run would read and write, if it could begin. Nothing is made, not even for a moment.
///
/// # Errors
/// As [`super::run`], of what is known before a row is read.
pub(super) fn foresee(recipe: &Recipe, options: &RunOptions) -> Result<WouldDo, RunError> {
    let files = run_files(recipe, options);
    claim(recipe, options, files.as_ref(), false)?;
    renderers(recipe, options)?;
    let inputs = setup::inputs(recipe);
    if options.resume == Resume::Refuse && files.as_ref().is_some_and(RunFiles::is_unfinished) {
        Checkpointer::check(recipe, options, &inputs, files.as_ref())?;
    }
    let reads = inputs.iter().map(|input| FileNow {
        name: input.name(),
        bytes: input.source().size(),
    });
    let stats = stats_path(recipe);
    let writes = output_files(recipe).into_iter().chain(stats);
    Ok(WouldDo {
        reads: reads.collect(),
        writes: writes.map(|path| FileNow::at(&path)).collect(),
        run_dir: files.map(|files| files.dir),
    })
}

/// What a run would read and write.
#[derive(Debug, Clone, Default)]
pub struct WouldDo {
    /// The inputs.
    pub reads: Vec<FileNow>,
    /// The files that would be written, and are overwritten where they are there.
    pub writes: Vec<FileNow>,
    /// Where manifest, ledger and quarantine go.
    pub run_dir: Option<PathBuf>,
}

/// A file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNow {
    /// Its name.
    pub name: String,
    /// Its size, if it is there and has one.
    pub bytes: Option<u64>,
}

impl FileNow {
    /// The file at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            bytes: std::fs::metadata(path).ok().map(|meta| meta.len()),
        }
    }
}

/// Makes sure that the outputs of a run are nobody else's. Who does what tasks are left has made sure
/// of the recipe when the tasks were planned (`planned`).
fn claim(
    recipe: &Recipe,
    options: &RunOptions,
    files: Option<&RunFiles>,
    planned: bool,
) -> Result<Earlier, RunError> {
    let outputs = output_files(recipe);
    let claim = Claim {
        named: options.run_dir.is_some(),
        force: options.force || planned,
    };
    let earlier = files.map_or(Ok(Earlier::default()), |files| {
        Earlier::claim(files, &outputs, claim)
    })?;
    let goes_on = options.resume == Resume::Continue && files.is_some_and(checkpoint::has_progress);
    if !claim.force && !goes_on {
        let recut = options.cached_stats.is_some();
        earlier.same_recipe(recipe, recut)?;
        Earlier::only_own(files, &outputs, recipe, recut)?;
    }
    if let Some(stats) = stats_path(recipe) {
        claim_stats(&stats, &outputs)?;
    }
    beside::check(recipe)?;
    Ok(earlier)
}

fn run_as<'a>(
    recipe: &'a Recipe,
    options: &'a RunOptions,
    observer: &mut dyn Observer,
    caller: Option<Caller<'a>>,
    tasks: Option<&'a FromTasks>,
) -> Result<Ended, RunError> {
    let files = run_files(recipe, options);
    let dir = files.as_ref().map(|files| files.dir.clone());
    let dir = dir.filter(|dir| !dir.exists());
    let outcome = run_locked(recipe, options, files, observer, (caller, tasks));
    if let (Err(_), Some(dir)) = (&outcome, dir) {
        // Goes only if the run left nothing there.
        let _ = std::fs::remove_dir(dir);
    }
    outcome
}

fn run_locked<'a>(
    recipe: &'a Recipe,
    options: &'a RunOptions,
    files: Option<RunFiles>,
    observer: &mut dyn Observer,
    (caller, tasks): (Option<Caller<'a>>, Option<&'a FromTasks>),
) -> Result<Ended, RunError> {
    // Held to the end; nobody else writes these outputs meanwhile.
    let _locks = lock_outputs(recipe, files.as_ref())?;
    let earlier = claim(recipe, options, files.as_ref(), tasks.is_some())?;
    let inputs = setup::inputs(recipe);
    let renderers = renderers(recipe, options)?;
    let Opened {
        checkpointer,
        workspace,
        accounting,
        left,
    } = Checkpointer::open(
        recipe,
        options,
        &inputs,
        files.as_ref(),
        tasks.map(|tasks| &tasks.by),
    )?;
    let (outcome, checkpointer) = match (left, accounting) {
        (Remaining::Names(sealed), Some(accounting)) => {
            let sound = sealed.iter().try_for_each(|file| {
                let failed = |e| write_error(file.target.display(), e);
                file.check().map_err(failed)
            });
            let named = sound.and_then(|()| {
                publish(files.as_ref(), &earlier, recipe, &sealed, accounting.report)
            });
            let whole = named.map(|outcome| Ended::Whole(Box::new(outcome)));
            (whole, checkpointer)
        }
        (Remaining::Names(_), None) => (
            Err(RunError::Conservation("no accounting".into())),
            checkpointer,
        ),
        (Remaining::Rows(progress), accounting) => {
            let is_new = accounting.is_none();
            let accounting = Accounting::open(
                recipe,
                files.as_ref(),
                &inputs,
                options,
                &workspace,
                accounting,
            )?;
            let place = Place {
                files: files.clone(),
                workspace,
                earlier,
                // Tasks have asked already, and keep what they hear.
                answers: files
                    .as_ref()
                    .filter(|_| tasks.is_none())
                    .map(|files| AnswersFile::of_run(files.answers(), options)),
            };
            let context = RunContext::open(recipe, options, inputs, renderers, place)?;
            if is_new {
                checkpointer.begin()?;
            }
            let mut run = Run {
                context,
                accounting,
                checkpointer,
                common: Arc::default(),
                caller,
                tasks,
            };
            (run.finish(progress, observer), run.checkpointer)
        }
    };
    let can_go_on = match &outcome {
        Ok(Ended::Whole(_)) => false,
        Ok(Ended::Decided(_)) => true,
        Err(e) => e.can_be_mended(),
    };
    if !(can_go_on && checkpointer.has_saved()) {
        checkpointer.discard(recipe, files.as_ref());
    }
    outcome
}

/// Rows read before the checkpoint from which the same run could go on, if there is one.
#[must_use]
pub fn rows_done(recipe: &Recipe, options: &RunOptions) -> Option<u64> {
    checkpoint::rows_done(&run_files(recipe, options)?)
}

/// Where what servers answer is kept, if there is a place for it.
#[must_use]
pub fn answers_file(recipe: &Recipe, options: &RunOptions) -> Option<PathBuf> {
    run_files(recipe, options).map(|files| files.answers())
}

impl<'a> Run<'a> {
    /// Does what is left to do.
    fn finish(&mut self, mut at: Progress, observer: &mut dyn Observer) -> Result<Ended, RunError> {
        let recipe = self.context.recipe;
        let phases = plan::phases(&recipe.steps);
        let mut watch = Watch::new(observer, phases.len());
        let until = self.tasks.and_then(|tasks| tasks.until);
        let mut rows = None;
        let before = at.phase.checked_sub(1);
        if let Some((before, phase)) = before.and_then(|at| Some((at, phases.get(at)?))) {
            let workspace = &self.context.workspace;
            let found = self.found(before);
            let left = || {
                let report = &self.accounting.report;
                let phase = (before, phase);
                exchange_stage::rows_left(workspace, phase, found, &recipe.steps, report)
            };
            if until == Some(before) {
                return left().map(Ended::Decided);
            }
            // Tasks have their own copies of these rows.
            if self.tasks.is_none() {
                rows = Some(left()?);
            }
        }
        for (number, phase) in phases.iter().enumerate().skip(at.phase) {
            let cursor = at.cursor.as_ref();
            let feed = match (self.tasks, rows.take()) {
                (Some(tasks), _) => {
                    watch.enter(number, None);
                    let from = match cursor {
                        Some(Cursor::Parts(place)) => *place,
                        _ => PartPlace::default(),
                    };
                    let parts = tasks.phases.get(number);
                    let none = || RunError::Conservation("a phase has no parts".into());
                    Feed::Parts(parts.ok_or_else(none)?, from)
                }
                (None, None) => {
                    watch.enter(number, None);
                    Feed::Rows(Source::inputs(&self.context.inputs, cursor))
                }
                (None, Some(Left::All(_))) => {
                    let what = "the rows of a phase were left to tasks";
                    return Err(RunError::Conservation(what.into()));
                }
                (None, Some(Left::Alive(left))) => {
                    watch.enter(number, Some(left.rows.len()));
                    self.common = left.common;
                    Feed::Rows(Source::rows(left.store, left.rows, cursor))
                }
            };
            if phase.group.is_empty() {
                let outcome = self.output_phase(phase, feed, at, &mut watch)?;
                return Ok(Ended::Whole(Box::new(outcome)));
            }
            let (left, after) = self.exchange_phase(phase, feed, at, &mut watch)?;
            if until == Some(number) {
                return Ok(Ended::Decided(left));
            }
            rows = Some(left);
            at = after;
        }
        Err(RunError::Conservation("the plan has no last phase".into()))
    }

    /// Runs the stream of a phase, sets the rows that reach its exchanges aside and lets them
    /// decide.
    fn exchange_phase(
        &mut self,
        phase: &plan::Phase,
        feed: Feed<'_>,
        mut at: Progress,
        watch: &mut Watch<'_>,
    ) -> Result<(Left, Progress), RunError> {
        let found = self.found(at.phase);
        let all = exchange::of_steps(&self.context.recipe.steps, &phase.group);
        let decides = |step: &usize| !found.is_some_and(|found| found.is_of(*step));
        let exchanges = all.into_iter().filter(|(step, _)| decides(step));
        let exchanges: Vec<_> = exchanges.collect();
        let budget = self.context.key_budget();
        let workspace = &self.context.workspace;
        let mut pass = ExchangeStage::open(workspace, at.phase, &exchanges, found, budget)
            .map_err(|e| write_error(workspace.directory().display(), e))?;
        self.read_references(&mut pass, watch)?;
        self.read(&mut pass, phase, feed, &mut at, watch)?;
        let Self {
            context,
            accounting,
            checkpointer,
            ..
        } = self;
        let steps = &context.recipe.steps;
        let workspace = &context.workspace;
        let mut settled = Lengths::new();
        let making = context.group_rows();
        let deciding = Deciding {
            workspace,
            steps,
            making: &making,
            machine: context.machine(),
        };
        let left = pass.resolve(&deciding, accounting, watch, &mut settled)?;
        if let Some(fields) = conclude::fatal_field(&context.foreseen, &accounting.report) {
            return Err(RunError::FieldOfNoRow(fields));
        }
        let done = at.phase;
        let after = Progress {
            phase: done + 1,
            cursor: None,
            ..at
        };
        checkpointer.save(accounting, |lengths| {
            lengths.extend(settled);
            Ok(Remaining::Rows(after.clone()))
        })?;
        let merged = phase.remakes_rows(steps).is_some();
        exchange_stage::remove_records(workspace, done, &exchanges, found, merged);
        if let Some(before) = done.checked_sub(1) {
            exchange_stage::remove_rows(workspace, before);
        }
        Ok((left, after))
    }

    /// What tasks found of the duplicates of a phase, if they looked for them.
    fn found(&self, phase: usize) -> Option<&'a Found> {
        let found = self.tasks?.found.get(phase)?;
        (!found.rounds.is_empty()).then_some(found)
    }

    /// Runs the last stream and writes the outputs.
    fn output_phase(
        &mut self,
        phase: &plan::Phase,
        feed: Feed<'_>,
        mut at: Progress,
        watch: &mut Watch<'_>,
    ) -> Result<RunOutcome, RunError> {
        let context = &self.context;
        let specs = &context.recipe.outputs;
        let mut pass = OutputStage::open(
            &context.workspace,
            specs,
            &at.sinks,
            context.key_budget(),
            self.caller.as_ref(),
            &context.inputs,
        )?;
        self.read(&mut pass, phase, feed, &mut at, watch)?;
        let reached = self.accounting.reached_outputs;
        for (counts, sink) in self.accounting.report.outputs.iter_mut().zip(&pass.sinks) {
            if let Some(sink) = sink {
                counts.candidates = reached;
                counts.written = sink.written();
            }
        }
        self.write_late(&mut pass, &at, watch)?;
        self.close(pass, &at, watch)
    }

    /// Reads the rows of a phase to their end into `pass`, with checkpoints on the way and one
    /// behind the last row: what was set aside is read from there on, by this process or a later
    /// one.
    fn read(
        &mut self,
        pass: &mut dyn Pass,
        phase: &plan::Phase,
        feed: Feed<'_>,
        at: &mut Progress,
        watch: &mut Watch<'_>,
    ) -> Result<(), RunError> {
        let Self {
            context,
            accounting,
            checkpointer,
            common,
            ..
        } = self;
        let context = &*context;
        let fresh = feed.is_fresh();
        let chain = context.chain(phase, &accounting.keeps, common, fresh);
        let mut step = OrderedStep {
            context,
            accounting,
            checkpointer,
            pass,
            phase,
            at,
            watch,
            fresh,
        };
        // Who listens learns what an earlier process did of it.
        step.watch
            .begin(step.at.cursor.as_ref(), &step.accounting.report);
        let interrupted = match feed {
            Feed::Rows(source) => step.drive(chain, source)?,
            Feed::Parts(parts, from) => step.replay(parts, from)?,
        };
        let accounting = &step.accounting;
        if fresh && let Some(fields) = conclude::fatal_field(&context.foreseen, &accounting.report)
        {
            return Err(RunError::FieldOfNoRow(fields));
        }
        context.sync_results();
        step.save()?;
        if interrupted {
            return Err(RunError::Interrupted);
        }
        Ok(())
    }
}

/// What the calling thread does with each batch, when all batches before it are done.
struct OrderedStep<'s, 'a, 'o> {
    context: &'s RunContext<'a>,
    accounting: &'s mut Accounting,
    checkpointer: &'s mut Checkpointer,
    pass: &'s mut dyn Pass,
    phase: &'s plan::Phase,
    at: &'s mut Progress,
    watch: &'s mut Watch<'o>,
    /// Whether rows come from the inputs.
    fresh: bool,
}

impl OrderedStep<'_, '_, '_> {
    /// Takes the next batch.
    fn take(&mut self, mut batch: BatchResult, cursor: Cursor) -> Result<(), RunError> {
        let accounting = &mut *self.accounting;
        accounting.add_batch(&batch, self.fresh)?;
        accounting.keep_row_stats(&mut batch)?;
        self.pass.consume(batch, self.phase, accounting)?;
        accounting.count_rows_in();
        if let Err(error) = accounting.check_limit() {
            return Err(self.context.explained(error, accounting));
        }
        self.watch.read(&cursor, &accounting.report);
        self.at.cursor = Some(cursor);
        if self.checkpointer.is_due() && !accounting.in_a_streak() {
            self.context.sync_results();
            self.save()?;
        }
        Ok(())
    }

    /// Makes a checkpoint.
    fn save(&mut self) -> Result<(), RunError> {
        let (pass, at) = (&mut *self.pass, &*self.at);
        self.checkpointer
            .save(self.accounting, |lengths| pass.left(at, lengths))
    }

    /// Takes what worker threads of this process make of the rows of `source`; says whether a signal
    /// ended it early.
    fn drive(&mut self, mut chain: Chain<'_>, source: Source) -> Result<bool, RunError> {
        let context = self.context;
        chain.settles = context.settles(self.phase, &chain);
        let serving = Serving::open(context, &mut chain, &self.accounting.report.services)?;
        let passed = drive(
            &context.pool,
            context.options,
            &chain,
            source,
            &serving.batcher,
            |batch, cursor| {
                self.accounting.report.services = serving.records_with_before(&chain);
                self.take(batch, cursor)
            },
        );
        let passed = match passed {
            // What was answered may have been paid: rows that are through are not to go through
            // again.
            Err(RunError::Service(error)) if !error.spoiled && self.at.cursor.is_some() => {
                if !self.accounting.in_a_streak() {
                    self.save()?;
                }
                let interrupted = context.options.interrupted.load(Ordering::Relaxed);
                return Err(if interrupted {
                    RunError::Interrupted
                } else {
                    error.into()
                });
            }
            // Rows that wait for a service are read again by who goes on.
            Err(RunError::Interrupted) => Passed {
                summaries: None,
                interrupted: true,
            },
            passed => passed?,
        };
        serving.batcher.finish()?;
        if !passed.interrupted && self.at.summaries.is_none() {
            self.at.summaries = passed.summaries;
        }
        Ok(passed.interrupted)
    }

    /// Takes what tasks made of the rows, from a place on; says whether a signal ended it early.
    fn replay(&mut self, parts: &Parts, from: PartPlace) -> Result<bool, RunError> {
        self.accounting.report.services.clone_from(&parts.services);
        let replayed = parts.replay(from, |batch, place| {
            if self.context.options.interrupted.load(Ordering::Relaxed) {
                return Err(RunError::Interrupted);
            }
            self.take(batch, Cursor::Parts(place))
        });
        match replayed {
            Ok(()) => {
                self.at.summaries = self.at.summaries.take().or_else(|| parts.summaries.clone());
                Ok(false)
            }
            Err(RunError::Interrupted) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
