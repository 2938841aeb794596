//! A run from its inputs to its outputs, phase by phase.

mod beside;
mod context;
mod current;
mod publish;
mod references;
mod samples;

pub use current::up_to_date;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use context::{RunContext, lock_outputs, output_files, renderer, run_files};
use publish::publish;

use super::accounting::{Accounting, stats_path};
use super::batcher::Batcher;
use super::checkpoint::{Checkpointer, Opened, Progress, Remaining};
use super::exchange::stage::{self as exchange_stage, Deciding, ExchangeStage};
use super::output::OutputStage;
use super::sinks::Caller;
use super::stage::{BatchResult, Chain, Passed, Recall, Source, drive};
use super::watch::Watch;
use super::{
    Observer, Resume, RunError, RunOptions, RunOutcome, conclude, exchange, setup, write_error,
};
use crate::io::workspace::Lengths;
use crate::layout::RunFiles;
use crate::op::Common;
use crate::plan;
use crate::recipe::Recipe;
use crate::record::{Earlier, ServiceRecord, claim_stats};

/// A run: what does not change, the account of rows, and how far it is.
pub(super) struct Run<'a> {
    pub(super) context: RunContext<'a>,
    pub(super) accounting: Accounting,
    pub(super) checkpointer: Checkpointer,
    /// What a census found in the last phase.
    common: Arc<Common>,
    /// Receives the outputs that go to the caller.
    pub(super) caller: Option<Caller<'a>>,
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

    /// Whether rows that survive are set aside.
    fn keeps_rows(&self) -> bool;

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

    fn keeps_rows(&self) -> bool {
        true
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

    fn keeps_rows(&self) -> bool {
        self.rows.is_some()
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
    let files = run_files(recipe, options);
    let dir = files.as_ref().map(|files| files.dir.clone());
    let dir = dir.filter(|dir| !dir.exists());
    let outcome = run_locked(recipe, options, files, observer, caller);
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
    caller: Option<Caller<'a>>,
) -> Result<RunOutcome, RunError> {
    // Held to the end; nobody else writes these outputs meanwhile.
    let _locks = lock_outputs(recipe, files.as_ref())?;
    let earlier = files.as_ref().map_or(Ok(Earlier::default()), |files| {
        Earlier::claim(files, &output_files(recipe), options.run_dir.is_some())
    })?;
    if !options.force && options.resume != Resume::Continue {
        let dir = recipe.search.first().map(PathBuf::as_path);
        earlier.same_recipe(&recipe.name, dir)?;
    }
    if let Some(stats) = stats_path(recipe) {
        claim_stats(&stats, &output_files(recipe))?;
    }
    beside::check(recipe)?;
    let inputs = setup::inputs(recipe);
    let renderers = recipe
        .outputs
        .iter()
        .map(|spec| renderer(spec, recipe, options))
        .collect::<Result<Vec<_>, _>>()?;
    let Opened {
        checkpointer,
        workspace,
        accounting,
        left,
    } = Checkpointer::open(recipe, options, &inputs, files.as_ref())?;
    let (outcome, checkpointer) = match (left, accounting) {
        (Remaining::Names(sealed), Some(accounting)) => {
            let sound = sealed.iter().try_for_each(|file| {
                let failed = |e| write_error(file.target.display(), e);
                file.check().map_err(failed)
            });
            let named = sound.and_then(|()| {
                publish(files.as_ref(), &earlier, recipe, &sealed, accounting.report)
            });
            (named, checkpointer)
        }
        (Remaining::Names(_), None) => (
            Err(RunError::Conservation("no accounting".into())),
            checkpointer,
        ),
        (Remaining::Rows(progress), accounting) => {
            let pool = setup::pool(recipe, options)?;
            let results = setup::results(recipe, options)?;
            let accounting = Accounting::open(
                recipe,
                files.as_ref(),
                &inputs,
                options,
                &workspace,
                accounting,
            )?;
            let answers = files.as_ref().map(RunFiles::answers);
            let threads = pool.current_num_threads();
            let host = setup::host(recipe, options, threads, answers.as_deref())?;
            let context = RunContext {
                recipe,
                options,
                pool,
                workspace,
                inputs,
                renderers,
                files: files.clone(),
                earlier,
                foreseen: Arc::new(plan::foresee(recipe)),
                host,
                results,
            };
            let mut run = Run {
                context,
                accounting,
                checkpointer,
                common: Arc::default(),
                caller,
            };
            (run.finish(progress, observer), run.checkpointer)
        }
    };
    let can_go_on = matches!(&outcome, Err(e) if e.can_be_mended());
    let unfinished = files.as_ref().is_some_and(RunFiles::is_unfinished);
    if !(can_go_on && unfinished) {
        checkpointer.discard(recipe, files.as_ref());
    }
    outcome
}

/// Whether there is a checkpoint from which the same run could go on.
#[must_use]
pub fn has_progress(recipe: &Recipe, options: &RunOptions) -> bool {
    run_files(recipe, options).is_some_and(|files| files.is_unfinished())
}

/// Where what servers answer is kept, if there is a place for it.
#[must_use]
pub fn answers_file(recipe: &Recipe, options: &RunOptions) -> Option<PathBuf> {
    run_files(recipe, options).map(|files| files.answers())
}

impl Run<'_> {
    /// Does what is left to do.
    fn finish(
        &mut self,
        mut at: Progress,
        observer: &mut dyn Observer,
    ) -> Result<RunOutcome, RunError> {
        let recipe = self.context.recipe;
        let phases = plan::phases(&recipe.steps);
        let mut watch = Watch::new(observer, phases.len());
        let mut rows = None;
        if let Some(before) = at.phase.checked_sub(1) {
            let merged = phases
                .get(before)
                .is_some_and(|phase| phase.remakes_rows(&recipe.steps).is_some());
            rows = Some(exchange_stage::alive_rows(
                &self.context.workspace,
                before,
                merged,
            )?);
        }
        for (number, phase) in phases.iter().enumerate().skip(at.phase) {
            let cursor = at.cursor.as_ref();
            let source = match rows.take() {
                None => {
                    watch.enter(number, None);
                    Source::inputs(&self.context.inputs, cursor)
                }
                Some(left) => {
                    watch.enter(number, Some(left.rows.len()));
                    self.common = left.common;
                    Source::rows(left.store, left.rows, cursor)
                }
            };
            if phase.group.is_empty() {
                return self.output_phase(phase, source, at, &mut watch);
            }
            let (alive, after) = self.exchange_phase(phase, source, at, &mut watch)?;
            rows = Some(alive);
            at = after;
        }
        Err(RunError::Conservation("the plan has no last phase".into()))
    }

    /// Runs the stream of a phase, sets the rows that reach its exchanges aside and lets them
    /// decide.
    fn exchange_phase(
        &mut self,
        phase: &plan::Phase,
        source: Source,
        mut at: Progress,
        watch: &mut Watch<'_>,
    ) -> Result<(exchange_stage::Alive, Progress), RunError> {
        let exchanges = exchange::of_steps(&self.context.recipe.steps, &phase.group);
        let budget = self.context.key_budget();
        let mut pass = ExchangeStage::open(&self.context.workspace, at.phase, &exchanges, budget)
            .map_err(|e| write_error(self.context.workspace.directory().display(), e))?;
        self.read_references(&mut pass)?;
        self.read(&mut pass, phase, source, &mut at, watch)?;
        let Self {
            context,
            accounting,
            checkpointer,
            ..
        } = self;
        let steps = &context.recipe.steps;
        let workspace = &context.workspace;
        let mut settled = Lengths::new();
        let images = context.group_images();
        let deciding = Deciding {
            workspace,
            steps,
            images: &images,
            pool: &context.pool,
        };
        let alive = pass.resolve(&deciding, accounting, watch, &mut settled)?;
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
        exchange_stage::remove_records(workspace, done, &exchanges, merged);
        if let Some(before) = done.checked_sub(1) {
            exchange_stage::remove_rows(workspace, before);
        }
        Ok((alive, after))
    }

    /// Runs the last stream and writes the outputs.
    fn output_phase(
        &mut self,
        phase: &plan::Phase,
        source: Source,
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
        self.read(&mut pass, phase, source, &mut at, watch)?;
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
        source: Source,
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
        let fresh = source.is_fresh();
        let mut chain = Chain {
            keep_frames: pass.keeps_rows() || accounting.keeps_ended(),
            ..context.chain(phase, accounting, common, fresh)
        };
        let batcher =
            Batcher::open(chain.services(), &context.host)?.until(&context.options.interrupted);
        let served_before = accounting.report.services.clone();
        for now in batcher.records() {
            now.check(&served_before)
                .map_err(|change| RunError::Changed(vec![change]))?;
        }
        if let Some(results) = &context.results {
            let steps = &context.recipe.steps;
            let asking = chain.services().filter_map(|(number, _)| steps.get(number));
            let recipe = &context.recipe;
            let tokens = [&recipe.image_special_token, &recipe.eoc_special_token];
            let tokens = tokens.map(String::as_str);
            let recall = Recall::new(Arc::clone(results), asking, tokens, &batcher.records());
            chain.recall = Some(recall);
        }
        let served = || {
            let mut now = batcher.records();
            if let Some(recall) = &chain.recall {
                recall.count(&mut now);
            }
            ServiceRecord::sum(&served_before, now)
        };
        let passed = drive(
            &context.pool,
            context.options,
            &chain,
            source,
            &batcher,
            |batch, cursor| {
                accounting.report.services = served();
                accounting.add_batch(&batch, fresh)?;
                accounting.keep_row_stats(&batch)?;
                pass.consume(batch, phase, accounting)?;
                accounting.count_rows_in();
                if let Err(error) = accounting.check_limit() {
                    return Err(context.explained(error, accounting));
                }
                watch.read(&cursor, &accounting.report);
                at.cursor = Some(cursor);
                if checkpointer.is_due() && !accounting.in_a_streak() {
                    context.sync_results();
                    checkpointer.save(accounting, |lengths| pass.left(at, lengths))?;
                }
                Ok(())
            },
        );
        let passed = match passed {
            // What was answered may have been paid: rows that are through are not to go through
            // again.
            Err(RunError::Service(error)) if !error.spoiled && at.cursor.is_some() => {
                if !accounting.in_a_streak() {
                    checkpointer.save(accounting, |lengths| pass.left(at, lengths))?;
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
        batcher.finish()?;
        if !passed.interrupted && at.summaries.is_none() {
            at.summaries = passed.summaries;
        }
        if fresh && let Some(fields) = conclude::fatal_field(&context.foreseen, &accounting.report)
        {
            return Err(RunError::FieldOfNoRow(fields));
        }
        context.sync_results();
        checkpointer.save(accounting, |lengths| pass.left(at, lengths))?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        Ok(())
    }
}
