//! A run from its inputs to its outputs, phase by phase.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::books::{Books, quarantine_path, stats_path};
use super::chain::{BatchResult, Chain, OutputWork, TIMED_EVERY};
use super::exchange;
use super::exchange::group::GroupImages;
use super::exchange::pass::{self, ExchangePass};
use super::journal::{Journal, Left, Opened, Progress};
use super::output_pass::OutputPass;
use super::sinks::Caller;
use super::stream::{Source, drive};
use super::{
    Observer, RunError, RunOptions, RunOutcome, output_error, setup, target_name, write_error,
};
use crate::io::atomic::Sealed;
use crate::io::format::{Renderer, Setting};
use crate::io::paths::PathWriter;
use crate::io::workspace::Lengths;
use crate::io::{Input, OutputLock, PendingFile, Workspace};
use crate::op::{Common, ImageNeed, SUFFIX};
use crate::plan;
use crate::recipe::{Inputs, OutputSpec, PathStyle, Recipe, Target, Validation};
use crate::record::counts::peak_memory;
use crate::record::manifest::Facts;
use crate::record::{Earlier, InputRecord, Manifest, RunFiles, RunReport, claim_stats};
use crate::sample::{FieldPath, ImageContext};

/// A run: what does not change, the account of rows, and how far it is.
pub(super) struct Run<'a> {
    pub(super) fixed: Fixed<'a>,
    pub(super) books: Books,
    pub(super) journal: Journal,
    /// What a census found in the last phase.
    common: Arc<Common>,
    /// Receives the outputs that go to the caller.
    pub(super) caller: Option<Caller<'a>>,
}

/// What a run holds unchanged from start to end.
pub(super) struct Fixed<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) options: &'a RunOptions,
    pub(super) pool: rayon::ThreadPool,
    pub(super) workspace: Workspace,
    inputs: Vec<Input>,
    renderers: Vec<Box<dyn Renderer>>,
    files: Option<RunFiles>,
    earlier: Earlier,
}

/// What becomes of the rows of a phase.
trait Pass {
    /// Takes the next batch.
    fn consume(
        &mut self,
        batch: BatchResult,
        phase: &plan::Phase,
        books: &mut Books,
    ) -> Result<(), RunError>;

    /// Whether rows that survive are set aside.
    fn keeps_rows(&self) -> bool;

    /// Makes everything durable and says what is left to do from `at` on.
    fn left(&mut self, at: &Progress, lengths: &mut Lengths) -> Result<Left, RunError>;
}

impl Pass for ExchangePass<'_> {
    fn consume(
        &mut self,
        batch: BatchResult,
        phase: &plan::Phase,
        books: &mut Books,
    ) -> Result<(), RunError> {
        ExchangePass::consume(self, batch, phase, books)
    }

    fn keeps_rows(&self) -> bool {
        true
    }

    fn left(&mut self, at: &Progress, lengths: &mut Lengths) -> Result<Left, RunError> {
        self.sync(lengths)
            .map_err(|e| write_error("rows set aside on disk", e))?;
        Ok(Left::Rows(at.clone()))
    }
}

impl Pass for OutputPass<'_> {
    fn consume(
        &mut self,
        batch: BatchResult,
        _: &plan::Phase,
        books: &mut Books,
    ) -> Result<(), RunError> {
        OutputPass::consume(self, batch, books)
    }

    fn keeps_rows(&self) -> bool {
        self.rows.is_some()
    }

    fn left(&mut self, at: &Progress, lengths: &mut Lengths) -> Result<Left, RunError> {
        OutputPass::left(self, at, lengths)
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
    // Held to the end; nobody else writes these outputs meanwhile.
    let _locks = lock_outputs(recipe, files.as_ref())?;
    let earlier = files.as_ref().map_or(Ok(Earlier::default()), |files| {
        Earlier::claim(files, &output_files(recipe), options.run_dir.is_some())
    })?;
    if let Some(stats) = stats_path(recipe) {
        claim_stats(&stats)?;
    }
    let inputs = setup::inputs(recipe);
    let renderers = recipe
        .outputs
        .iter()
        .map(|spec| renderer(spec, recipe, options))
        .collect::<Result<Vec<_>, _>>()?;
    let Opened {
        journal,
        workspace,
        books,
        left,
    } = Journal::open(recipe, options, &inputs, files.as_ref())?;
    let (outcome, journal) = match (left, books) {
        (Left::Names(sealed), Some(books)) => {
            let sound = sealed.iter().try_for_each(|file| {
                let failed = |e| write_error(file.target.display(), e);
                file.check().map_err(failed)
            });
            let named = sound
                .and_then(|()| publish(files.as_ref(), &earlier, recipe, &sealed, books.report));
            (named, journal)
        }
        (Left::Names(_), None) => (Err(RunError::Conservation("no books".into())), journal),
        (Left::Rows(progress), books) => {
            let pool = setup::pool(recipe, options)?;
            let limit = options.max_quarantine.unwrap_or(recipe.max_quarantine);
            let books = Books::open(recipe, files.as_ref(), &inputs, limit, &workspace, books)?;
            let fixed = Fixed {
                recipe,
                options,
                pool,
                workspace,
                inputs,
                renderers,
                files: files.clone(),
                earlier,
            };
            let mut run = Run {
                fixed,
                books,
                journal,
                common: Arc::default(),
                caller,
            };
            (run.finish(progress, observer), run.journal)
        }
    };
    let can_go_on = matches!(&outcome, Err(e) if e.can_be_mended());
    let unfinished = files.as_ref().is_some_and(RunFiles::is_unfinished);
    if !(can_go_on && unfinished) {
        journal.discard(recipe, files.as_ref());
    }
    outcome
}

/// Whether there is a checkpoint from which the same run could go on.
#[must_use]
pub fn has_progress(recipe: &Recipe, options: &RunOptions) -> bool {
    run_files(recipe, options).is_some_and(|files| files.is_unfinished())
}

/// The outputs that are files.
fn output_files(recipe: &Recipe) -> Vec<PathBuf> {
    let outputs = recipe.outputs.iter().filter_map(|o| match &o.target {
        Target::File(path) => Some(path.clone()),
        Target::Stdout | Target::Stream(_) | Target::Caller => None,
    });
    outputs.collect()
}

fn lock_outputs(recipe: &Recipe, files: Option<&RunFiles>) -> Result<Vec<OutputLock>, RunError> {
    output_files(recipe)
        .into_iter()
        .chain(files.map(RunFiles::manifest))
        .map(|path| {
            OutputLock::acquire(&path).map_err(|error| RunError::Locked {
                path: path.display().to_string(),
                error,
            })
        })
        .collect()
}

impl<'a> Run<'a> {
    /// Does what is left to do.
    fn finish(
        &mut self,
        mut at: Progress,
        observer: &mut dyn Observer,
    ) -> Result<RunOutcome, RunError> {
        let recipe = self.fixed.recipe;
        let phases = plan::phases(&recipe.steps);
        let mut rows = None;
        if let Some(before) = at.phase.checked_sub(1) {
            let merged = phases
                .get(before)
                .is_some_and(|phase| phase.grouper(&recipe.steps).is_some());
            rows = Some(pass::alive_rows(&self.fixed.workspace, before, merged)?);
        }
        for (number, phase) in phases.iter().enumerate().skip(at.phase) {
            let cursor = at.cursor.as_ref();
            let source = match rows.take() {
                None => Source::inputs(&self.fixed.inputs, cursor),
                Some(left) => {
                    self.common = left.common;
                    Source::rows(left.store, left.rows, cursor)
                }
            };
            let mut heard = |books: &Books| observer.progress(number, phases.len(), &books.report);
            if phase.group.is_empty() {
                return self.output_phase(phase, source, at, &mut heard);
            }
            let (alive, after) = self.barrier_phase(phase, source, at, &mut heard)?;
            rows = Some(alive);
            at = after;
        }
        Err(RunError::Conservation("the plan has no last phase".into()))
    }

    /// Runs the stream of a phase, sets the rows that reach its barrier aside and lets the barrier
    /// decide.
    fn barrier_phase(
        &mut self,
        phase: &plan::Phase,
        source: Source,
        mut at: Progress,
        heard: &mut dyn FnMut(&Books),
    ) -> Result<(pass::Alive, Progress), RunError> {
        let exchanges = exchange::of_steps(&self.fixed.recipe.steps, &phase.group);
        let budget = self.fixed.key_budget();
        let mut pass = ExchangePass::open(&self.fixed.workspace, at.phase, &exchanges, budget)
            .map_err(|e| write_error(self.fixed.workspace.directory().display(), e))?;
        self.read(&mut pass, phase, source, &mut at, heard)?;
        let Self {
            fixed,
            books,
            journal,
            ..
        } = self;
        let steps = &fixed.recipe.steps;
        let workspace = &fixed.workspace;
        let mut settled = Lengths::new();
        let images = fixed.group_images();
        let alive = pass.resolve(workspace, steps, &images, books, &mut settled)?;
        let done = at.phase;
        let after = Progress {
            phase: done + 1,
            cursor: None,
            ..at
        };
        journal.save(books, |lengths| {
            lengths.extend(settled);
            Ok(Left::Rows(after.clone()))
        })?;
        let merged = phase.grouper(steps).is_some();
        pass::remove_records(workspace, done, &exchanges, merged);
        if let Some(before) = done.checked_sub(1) {
            pass::remove_rows(workspace, before);
        }
        Ok((alive, after))
    }

    /// Runs the last stream and writes the outputs.
    fn output_phase(
        &mut self,
        phase: &plan::Phase,
        source: Source,
        mut at: Progress,
        heard: &mut dyn FnMut(&Books),
    ) -> Result<RunOutcome, RunError> {
        let fixed = &self.fixed;
        let specs = &fixed.recipe.outputs;
        let mut pass = OutputPass::open(
            &fixed.workspace,
            specs,
            &at.sinks,
            fixed.key_budget(),
            self.caller.as_ref(),
        )?;
        self.read(&mut pass, phase, source, &mut at, heard)?;
        let reached = self.books.reached_outputs;
        for (counts, sink) in self.books.report.outputs.iter_mut().zip(&pass.sinks) {
            if let Some(sink) = sink {
                counts.candidates = reached;
                counts.written = sink.written();
            }
        }
        self.write_samples(&mut pass, &at)?;
        self.close(pass, &at)
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
        heard: &mut dyn FnMut(&Books),
    ) -> Result<(), RunError> {
        let Self {
            fixed,
            books,
            journal,
            common,
            ..
        } = self;
        let fresh = source.is_fresh();
        let chain = Chain {
            keep_frames: pass.keeps_rows(),
            ..fixed.chain(phase, books, common, fresh)
        };
        let passed = drive(
            &fixed.pool,
            fixed.options,
            &chain,
            source,
            |batch, cursor| {
                books.add_batch(&batch, fresh);
                books.keep_row_stats(&batch)?;
                pass.consume(batch, phase, books)?;
                books.count_rows_in();
                heard(books);
                books.check_limit()?;
                at.cursor = Some(cursor);
                if journal.is_due() && !books.in_a_streak() {
                    journal.save(books, |lengths| pass.left(at, lengths))?;
                }
                Ok(())
            },
        )?;
        if !passed.interrupted && at.summaries.is_none() {
            at.summaries = passed.summaries;
        }
        journal.save(books, |lengths| pass.left(at, lengths))?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        Ok(())
    }

    /// Makes everything durable, then gives the files their names, the manifest last.
    fn close(&mut self, pass: OutputPass<'a>, at: &Progress) -> Result<RunOutcome, RunError> {
        self.journal.check_inputs(&self.fixed.inputs)?;
        let Self {
            fixed,
            books,
            journal,
            ..
        } = self;
        books.count_rows_in();
        books.sync_produced()?;
        books
            .report
            .check_conservation()
            .map_err(RunError::Conservation)?;
        books.report.time = journal.elapsed();
        books.report.peak_memory = peak_memory();
        let workspace = &fixed.workspace;
        let mut pending = Vec::new();
        let mut seal = |mut file: PendingFile| -> Result<Sealed, RunError> {
            let sealed = file
                .seal()
                .map_err(|e| write_error(file.target().display(), e))?;
            // It would be removed if it were dropped before it has its name.
            pending.push(file);
            Ok(sealed)
        };
        let mut files = Vec::new();
        let ledger = books
            .ledger
            .take()
            .map(|ledger| ledger.finish(workspace))
            .transpose()
            .map_err(|e| write_error("ledger", e))?
            .map(&mut seal)
            .transpose()?;
        let row_stats = books
            .row_stats
            .take()
            .map(|stats| stats.finish(workspace))
            .transpose()
            .map_err(|e| write_error("stats of rows", e))?
            .map(&mut seal)
            .transpose()?;
        let quarantine = books.quarantine.take().map(&mut seal).transpose()?;
        let stats = books.stats.take().map(&mut seal).transpose()?;
        files.extend(
            [&ledger, &row_stats, &quarantine, &stats]
                .into_iter()
                .flatten()
                .cloned(),
        );
        let mut traces = Vec::new();
        for trace in books.traces.iter().flatten() {
            let sealed = seal(trace.write(workspace)?)?;
            traces.push(sealed.finished());
            files.push(sealed);
        }
        for (index, sink) in pass.sinks.into_iter().enumerate() {
            let spec = fixed.recipe.outputs.get(index);
            let Some(sink) = sink else { continue };
            let parts = sink.finish().map_err(|e| output_error(spec, e))?;
            let sealed: Vec<Sealed> = parts.into_iter().map(&mut seal).collect::<Result<_, _>>()?;
            if let Some(counts) = books.report.outputs.get_mut(index) {
                counts.files = sealed.iter().map(Sealed::finished).collect();
            }
            files.extend(sealed);
        }
        if let Some(named) = &fixed.files {
            let finished = |file: Option<Sealed>| file.map(|f| f.finished());
            let prints = journal.fingerprints();
            let read = at.summaries.as_deref().unwrap_or_default();
            let inputs = fixed.inputs.iter().zip(prints).zip(read);
            let manifest = Manifest::of(Facts {
                run_dir: &named.dir,
                recipe: fixed.recipe,
                plan: journal.plan(),
                report: &books.report,
                inputs: inputs
                    .map(|((input, print), read)| InputRecord::of(input, print.as_ref(), read))
                    .collect(),
                ledger: finished(ledger),
                row_stats: finished(row_stats),
                quarantine: finished(quarantine),
                stats: finished(stats),
                traces,
                threads: fixed.pool.current_num_threads(),
            });
            let file = manifest
                .write(&named.manifest(), workspace)
                .map_err(|e| write_error(named.dir.display(), e))?;
            files.push(seal(file)?);
        }
        journal.save(books, |_| Ok(Left::Names(files.clone())))?;
        publish(
            fixed.files.as_ref(),
            &fixed.earlier,
            fixed.recipe,
            &files,
            books.report.clone(),
        )
    }
}

/// Gives complete files their names. What an earlier run of the same outputs wrote beyond them
/// would be taken for this run's: it goes before the new manifest takes the place of the one that
/// lists it.
fn publish(
    named: Option<&RunFiles>,
    earlier: &Earlier,
    recipe: &Recipe,
    files: &[Sealed],
    report: RunReport,
) -> Result<RunOutcome, RunError> {
    let quarantine = quarantine_path(named);
    let manifest = named.map(RunFiles::manifest);
    for (done, file) in files.iter().enumerate() {
        if manifest.as_ref() == Some(&file.target) {
            let read = match &recipe.inputs {
                Inputs::Files(files) => files.as_slice(),
                Inputs::Stdin | Inputs::Given(_) => &[],
            };
            let made_of = recipe.outputs.iter().flat_map(|o| o.options.files());
            earlier.remove_surplus(
                files.iter().map(|file| file.target.as_path()),
                read.iter().map(PathBuf::as_path).chain(made_of),
            );
        }
        file.publish().map_err(|error| {
            let named = files.get(..done).unwrap_or_default().iter();
            RunError::Publish {
                path: file.target.display().to_string(),
                error,
                standing: named.map(|f| f.target.display().to_string()).collect(),
            }
        })?;
    }
    Ok(RunOutcome {
        report,
        run_dir: named.map(|files| files.dir.clone()),
        quarantine: files
            .iter()
            .any(|file| file.target == quarantine)
            .then_some(quarantine),
    })
}

impl Fixed<'_> {
    /// The share of the memory budget for keys of deduplicators and selectors, in bytes.
    fn key_budget(&self) -> Option<u64> {
        Some(self.options.memory() / 4)
    }

    /// What a phase does to each row; only the last one writes outputs.
    fn chain(
        &self,
        phase: &plan::Phase,
        books: &Books,
        common: &Arc<Common>,
        fresh: bool,
    ) -> Chain<'_> {
        let recipe = self.recipe;
        let last = phase.group.is_empty();
        let outputs = recipe
            .outputs
            .iter()
            .zip(&self.renderers)
            .filter(|(spec, _)| last && spec.sample.is_none())
            .map(|(spec, renderer)| OutputWork {
                renderer: renderer.as_ref(),
                validate: spec.validate,
            })
            .collect();
        let suffixes = suffixes(recipe, &self.inputs).filter(|_| fresh);
        Chain {
            steps: &recipe.steps,
            suffixes,
            stream: plan::order(recipe, &phase.stream),
            group: phase.group.clone(),
            context: self.image_context(plan::image_need(&recipe.steps, phase, &recipe.outputs)),
            ujson: recipe.rounds_stats(),
            keep_frames: false,
            outputs,
            keep_row_stats: fresh && books.row_stats.is_some(),
            render_stats: last && books.stats.is_some(),
            traced: books.traces.iter().map(Option::is_some).collect(),
            trace_keys: &recipe.tracer.keys,
            timed_every: TIMED_EVERY,
            common: Arc::clone(common),
        }
    }

    /// Renders rows for one sampled output, its images checked as far as `validate` asks.
    pub(super) fn sample_chain(
        &self,
        index: usize,
        spec: &OutputSpec,
        validate: Validation,
    ) -> Result<Chain<'_>, RunError> {
        let renderer = self
            .renderers
            .get(index)
            .ok_or_else(|| write_error(target_name(spec), io::Error::other("no renderer")))?;
        Ok(Chain {
            steps: &[],
            stream: Vec::new(),
            group: 0..0,
            suffixes: None,
            context: self.image_context(plan::output_need(validate)),
            ujson: false,
            keep_frames: false,
            outputs: vec![OutputWork {
                renderer: renderer.as_ref(),
                validate,
            }],
            keep_row_stats: false,
            render_stats: false,
            traced: Vec::new(),
            trace_keys: &[],
            timed_every: TIMED_EVERY,
            common: Arc::default(),
        })
    }

    /// How image paths are written into groups.
    fn group_images(&self) -> GroupImages {
        let working_dir = &self.options.working_dir;
        GroupImages {
            context: self.image_context(ImageNeed::None),
            paths: PathWriter::new(PathStyle::Absolute, working_dir, working_dir),
        }
    }

    pub(super) fn image_context(&self, want: ImageNeed) -> Arc<ImageContext> {
        setup::image_context(self.recipe, &self.inputs, &self.options.working_dir, want)
    }
}

/// The field that names the suffix of a row's input, and the suffix of each, if a step asks for it.
pub(super) fn suffixes(recipe: &Recipe, inputs: &[Input]) -> Option<(&'static str, Vec<String>)> {
    let mut steps = recipe.steps.iter();
    steps.find(|step| step.spec.reads_suffix)?;
    Some((SUFFIX, inputs.iter().map(Input::suffix).collect()))
}

fn renderer(
    spec: &OutputSpec,
    recipe: &Recipe,
    options: &RunOptions,
) -> Result<Box<dyn Renderer>, RunError> {
    let output_dir = match &spec.target {
        Target::Stdout | Target::Stream(_) | Target::Caller => options.working_dir.clone(),
        Target::File(path) => path.parent().map_or_else(PathBuf::new, Path::to_owned),
    };
    let paths = PathWriter::new(spec.paths, &options.working_dir, &output_dir);
    let setting = Setting {
        text_key: FieldPath::new(recipe.text_keys.first().map_or("text", String::as_str)),
        image_token: recipe.image_special_token.clone(),
        eoc_token: recipe.eoc_special_token.clone(),
        keep_stats: recipe.keep_stats_in_res_ds,
        keep_hashes: recipe.keep_hashes_in_res_ds,
        paths,
    };
    Ok((spec.format.renderer)(&spec.options, setting)?)
}

/// Where manifest, ledger and quarantine go, if there is a place for them: where the user says, or
/// beside the first output that is a file.
fn run_files(recipe: &Recipe, options: &RunOptions) -> Option<RunFiles> {
    match &options.run_dir {
        Some(dir) => Some(RunFiles::new(dir)),
        None => RunFiles::of_output(output_files(recipe).first()?),
    }
}
