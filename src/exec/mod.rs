//! Running a recipe: rows in, operators over them in parallel, outputs in order, every row accounted for.
//!
//! A run is a sequence of phases (see [`plan`]). In each, a reader thread cuts rows into batches,
//! worker threads take every row through the whole chain of operators ([`chain`]), and one ordered
//! step admits exact-duplicate keys, counts, writes the ledger and hands rows on: to the outputs
//! in the last phase, else to a [`store`] on disk, from which the next phase reads what the
//! [`barrier`] left alive. The executor never names an operator.

mod barrier;
mod books;
mod chain;
mod driver;
pub mod lines;
pub mod plan;
mod sample_draw;
mod sinks;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hashbrown::HashMap;

pub use chain::{Stage, StepCost};

use barrier::KeyTable;
use books::{Books, ExactKeys};
use chain::{BatchResult, Chain, End, OutputWork, Rendered, Work};
use driver::InFlight;
use sample_draw::LateFate;
use sinks::Sink;
use store::{Store, StoreWriter};

use crate::io::format::Renderer;
use crate::io::format::dj::DjRenderer;
use crate::io::format::jsonl::JsonlRenderer;
use crate::io::format::llava::LlavaRenderer;
use crate::io::format::questions::{Questions, QuestionsError};
use crate::io::paths::PathWriter;
use crate::io::source::InputSummary;
use crate::io::{Input, LineSource, PendingFile, SourceError};
use crate::op::ImageNeed;
use crate::recipe::{CompatStats, Inputs, OutputFormat, OutputSpec, Recipe, Target};
use crate::report::RunReport;
use crate::report::counts::peak_memory;
use crate::report::ledger::Ledger;
use crate::report::manifest::Manifest;
use crate::sample::{FieldPath, ImageContext, Origin, RowError};

/// What the command line says of a run, beyond the recipe.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Worker threads; default: all cores.
    pub threads: Option<usize>,
    /// Memory the run should stay within, in bytes.
    pub max_memory: Option<u64>,
    /// Rows a batch; default: by how dear a row is. Never changes the outcome.
    pub batch_rows: Option<usize>,
    /// Where the manifest, ledger and quarantine go; default: beside the first output.
    pub run_dir: Option<PathBuf>,
    /// What relative paths of outputs and images refer to.
    pub working_dir: PathBuf,
    /// `dj` outputs: keep only captions.
    pub only_caption: bool,
    /// Set by a signal: the run ends after the batch in hand.
    pub interrupted: Arc<AtomicBool>,
}

/// A run that did not finish. Nothing stands under a final name.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The questions of an output cannot be read.
    #[error(transparent)]
    Questions(#[from] QuestionsError),
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file or directory.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// An operator cannot decide among all rows.
    #[error("{operator}: {message}")]
    Barrier {
        /// The operator.
        operator: String,
        /// Why.
        message: String,
    },
    /// A bad row with `on_error: fail`.
    #[error("{place}: {error} (on_error: fail)")]
    Row {
        /// Input and line.
        place: String,
        /// What is wrong.
        error: RowError,
    },
    /// A signal asked to stop.
    #[error("interrupted; no output was written")]
    Interrupted,
    /// Whoever read the standard output went away.
    #[error("the reader of the standard output went away")]
    BrokenPipe,
    /// Rows do not add up: a defect of djr.
    #[error("rows do not add up, please report this: {0}")]
    Conservation(String),
}

/// Hears how far a run is.
pub trait Observer {
    /// Called after each batch; `phase` counts from 0.
    fn progress(&mut self, phase: usize, phases: usize, report: &RunReport);
}

/// Nobody listens.
impl Observer for () {
    fn progress(&mut self, _: usize, _: usize, _: &RunReport) {}
}

/// What a finished run leaves.
#[derive(Debug)]
pub struct RunOutcome {
    /// The numbers.
    pub report: RunReport,
    /// The directory of manifest, ledger and quarantine, if there is one.
    pub run_dir: Option<PathBuf>,
    /// The quarantine file, if a row was set aside.
    pub quarantine: Option<PathBuf>,
}

/// Runs `recipe`.
///
/// # Errors
/// Whatever ends a run; single bad rows do not (unless `on_error: fail`).
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    observer: &mut dyn Observer,
) -> Result<RunOutcome, RunError> {
    Run::prepare(recipe, options)?.execute(observer)
}

/// A run: what does not change, and the account of rows.
struct Run<'a> {
    fixed: Fixed<'a>,
    books: Books,
}

/// What a run holds unchanged from start to end.
struct Fixed<'a> {
    recipe: &'a Recipe,
    options: &'a RunOptions,
    pool: rayon::ThreadPool,
    inputs: Vec<Input>,
    renderers: Vec<Box<dyn Renderer>>,
    started: Instant,
    spill_dir: PathBuf,
    run_dir: Option<PathBuf>,
}

/// A row whose key failed inside a barrier group.
struct FailedKey {
    step: usize,
    origin: Origin,
    id: Option<Box<str>>,
    error: RowError,
    verbatim: Vec<u8>,
}

/// Where the next phase reads from.
enum Source {
    Inputs(LineSource),
    Rows(Arc<Store>, Vec<u32>),
}

impl<'a> Run<'a> {
    fn prepare(recipe: &'a Recipe, options: &'a RunOptions) -> Result<Self, RunError> {
        let started = Instant::now();
        let threads = options
            .threads
            .or(recipe.threads)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let cores = std::thread::available_parallelism().map_or(threads, usize::from);
        // More threads than cores only cost memory; the answer is the same.
        let threads = if options.threads.is_some() {
            threads
        } else {
            threads.min(cores)
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("djr-worker-{i}"))
            .build()
            .map_err(|e| write_error("worker threads", io::Error::other(e)))?;
        let inputs = match &recipe.inputs {
            Inputs::Stdin => vec![Input::Stdin],
            Inputs::Files(files) => files.iter().cloned().map(Input::File).collect(),
        };
        let run_dir = options.run_dir.clone().or_else(|| default_run_dir(recipe));
        let spill_dir = run_dir.clone().unwrap_or_else(std::env::temp_dir);
        if let Some(dir) = &run_dir {
            std::fs::create_dir_all(dir).map_err(|e| write_error(dir.display(), e))?;
        }
        let renderers = recipe
            .outputs
            .iter()
            .map(|spec| renderer(spec, recipe, options))
            .collect::<Result<Vec<_>, _>>()?;
        let books = Books::open(recipe, run_dir.as_deref(), &inputs)?;
        let fixed = Fixed {
            recipe,
            options,
            pool,
            inputs,
            renderers,
            started,
            spill_dir,
            run_dir,
        };
        Ok(Self { fixed, books })
    }

    fn execute(mut self, observer: &mut dyn Observer) -> Result<RunOutcome, RunError> {
        let phases = plan::phases(&self.fixed.recipe.steps);
        let mut source = Source::Inputs(LineSource::new(self.fixed.inputs.clone()));
        let mut summaries = Vec::new();
        for (number, phase) in phases.iter().enumerate() {
            let last = number + 1 == phases.len();
            let mut progress = |report: &RunReport| observer.progress(number, phases.len(), report);
            if last {
                let read = self.last_phase(phase, source, &mut progress)?;
                if let Some(read) = read {
                    summaries = read;
                }
                break;
            }
            let (next, read) = self.barrier_phase(phase, source, &mut progress)?;
            if let Some(read) = read {
                summaries = read;
            }
            source = next;
        }
        self.close(&summaries)
    }

    /// Runs the stream of a phase, sets the rows that reach its barrier aside and lets the barrier
    /// decide.
    fn barrier_phase(
        &mut self,
        phase: &plan::Phase,
        source: Source,
        progress: &mut dyn FnMut(&RunReport),
    ) -> Result<(Source, Option<Vec<InputSummary>>), RunError> {
        let spill = |error| write_error(self.fixed.spill_dir.display(), error);
        let mut writer = StoreWriter::create(&self.fixed.spill_dir).map_err(spill)?;
        let group: Vec<usize> = phase.group.clone().collect();
        let mut tables = Vec::new();
        for &step in &group {
            if let Some(step) = self.fixed.recipe.steps.get(step) {
                let table = KeyTable::new(&step.operator, &self.fixed.spill_dir).map_err(spill)?;
                tables.extend(table);
            }
        }
        // Rows whose key failed in the middle of the group: they count for the operators before.
        let mut failed: HashMap<u32, FailedKey> = HashMap::new();
        let fresh = matches!(source, Source::Inputs(_));
        let chain = self.fixed.chain(phase, &self.books, fresh, true, false);
        let mut seen = ExactKeys::default();
        let spill_dir = self.fixed.spill_dir.clone();
        let books = &mut self.books;
        let read = drive(
            &self.fixed.pool,
            self.fixed.options,
            &chain,
            source,
            |batch| {
                books.add_batch(&batch, fresh);
                let BatchResult { rows, frames, .. } = batch;
                for mut row in rows {
                    let reached = match &row.end {
                        End::Failed(Stage::Step(step), ..) => phase.group.contains(step),
                        End::Alive => true,
                        _ => false,
                    };
                    if !books.admit(&row, &mut seen)? {
                        continue;
                    }
                    if !reached {
                        books.ended(&row)?;
                        continue;
                    }
                    let frame = frames.get(row.frame.clone()).unwrap_or_default();
                    let ordinal = writer
                        .push(frame)
                        .map_err(|e| write_error(spill_dir.display(), e))?;
                    let mut keys = std::mem::take(&mut row.keys).into_iter();
                    for table in &mut tables {
                        table
                            .push(keys.next())
                            .map_err(|e| write_error(spill_dir.display(), e))?;
                    }
                    if let End::Failed(Stage::Step(step), error, verbatim) = row.end {
                        failed.insert(
                            ordinal,
                            FailedKey {
                                step,
                                origin: row.origin,
                                id: row.id,
                                error,
                                verbatim,
                            },
                        );
                    }
                }
                progress(&books.report);
                Ok(())
            },
        )?;
        drop(chain);
        let rows = u32::try_from(writer.len()).unwrap_or(u32::MAX);
        let store = Arc::new(
            writer
                .finish()
                .map_err(|e| write_error(self.fixed.spill_dir.display(), e))?,
        );
        let mut alive: Vec<u32> = (0..rows).collect();
        for (&number, table) in group.iter().zip(&mut tables) {
            let Some(step) = self.fixed.recipe.steps.get(number) else {
                continue;
            };
            if failed.values().any(|f| f.step == number) {
                let mut ended: Vec<u32> = failed
                    .iter()
                    .filter(|(_, f)| f.step == number)
                    .map(|(&o, _)| o)
                    .collect();
                ended.sort_unstable();
                alive.retain(|ordinal| ended.binary_search(ordinal).is_err());
                for ordinal in ended {
                    if let Some(row) = failed.remove(&ordinal) {
                        self.books.failed(
                            Stage::Step(number),
                            row.origin,
                            row.id.as_deref(),
                            &row.error,
                            &row.verbatim,
                        )?;
                    }
                }
            }
            let resolution =
                table
                    .resolve(&step.operator, alive)
                    .map_err(|e| RunError::Barrier {
                        operator: step.name.to_owned(),
                        message: e.to_string(),
                    })?;
            self.drop_rows(number, &resolution.dropped, &store)?;
            self.books.count_repeated(number, resolution.repeated);
            alive = resolution.alive;
        }
        Ok((Source::Rows(store, alive), read))
    }

    /// Records rows that a barrier dropped, in input order.
    fn drop_rows(
        &mut self,
        step: usize,
        dropped: &[(u32, Option<u32>)],
        store: &Store,
    ) -> Result<(), RunError> {
        let context = Arc::new(ImageContext::default());
        let mut frame = Vec::new();
        let mut origin_of = |ordinal: u32| -> Result<(Origin, Option<Box<str>>), RunError> {
            store
                .read(ordinal, &mut frame)
                .map_err(|e| write_error("rows set aside on disk", e))?;
            let sample = store::decode(&frame, &context);
            Ok(sample.map_or((Origin::default(), None), |(s, _)| {
                (s.origin(), s.raw_json("id").map(Into::into))
            }))
        };
        self.books.count_dropped(step, dropped.len() as u64);
        if self.books.ledger.is_none() {
            return Ok(());
        }
        for &(ordinal, first) in dropped {
            let (origin, id) = origin_of(ordinal)?;
            let duplicate_of = first
                .map(&mut origin_of)
                .transpose()?
                .map(|(origin, _)| origin.offset);
            self.books
                .record_dropped(step, origin, id.as_deref(), duplicate_of)?;
        }
        Ok(())
    }

    /// Runs the last stream and writes the outputs.
    fn last_phase(
        &mut self,
        phase: &plan::Phase,
        source: Source,
        progress: &mut dyn FnMut(&RunReport),
    ) -> Result<Option<Vec<InputSummary>>, RunError> {
        let outputs = &self.fixed.recipe.outputs;
        let sampled = outputs.iter().any(|o| o.sample.is_some());
        let mut sinks = Vec::new();
        for spec in outputs {
            let sink = match spec.sample {
                None => Some(Sink::create(spec).map_err(|e| write_error(target_name(spec), e))?),
                Some(_) => None,
            };
            sinks.push(sink);
        }
        let mut store = None;
        if sampled {
            store = Some(
                StoreWriter::create(&self.fixed.spill_dir)
                    .map_err(|e| write_error(self.fixed.spill_dir.display(), e))?,
            );
        }
        let mut survivors = sample_draw::Survivors::default();
        let fresh = matches!(source, Source::Inputs(_));
        let chain = self.fixed.chain(phase, &self.books, fresh, sampled, true);
        let mut seen = ExactKeys::default();
        let spill_dir = self.fixed.spill_dir.clone();
        let books = &mut self.books;
        let read = drive(
            &self.fixed.pool,
            self.fixed.options,
            &chain,
            source,
            |batch| {
                books.add_batch(&batch, fresh);
                let BatchResult {
                    rows,
                    frames,
                    rendered,
                    stats,
                    ..
                } = batch;
                for mut row in rows {
                    if !books.admit(&row, &mut seen)? {
                        continue;
                    }
                    if !matches!(row.end, End::Alive) {
                        books.ended(&row)?;
                        continue;
                    }
                    books.write_stats(stats.get(row.stats.clone()).unwrap_or_default())?;
                    let mut wrote = false;
                    let mut refused = false;
                    let records = std::mem::take(&mut row.rendered);
                    let open = sinks
                        .iter_mut()
                        .enumerate()
                        .filter_map(|(i, s)| s.as_mut().map(|s| (i, s)));
                    for ((index, sink), record) in open.zip(records) {
                        match record {
                            Rendered::Bytes(range) => {
                                sink.write(rendered.get(range).unwrap_or_default())
                                    .map_err(|e| output_error(outputs.get(index), e))?;
                                wrote = true;
                            }
                            Rendered::Refused(error, verbatim) => {
                                refused = true;
                                books.refused(
                                    index,
                                    row.origin,
                                    row.id.as_deref(),
                                    &error,
                                    &verbatim,
                                )?;
                            }
                        }
                    }
                    if let Some(store) = &mut store {
                        store
                            .push(frames.get(row.frame.clone()).unwrap_or_default())
                            .map_err(|e| write_error(spill_dir.display(), e))?;
                        survivors.push(row.origin.offset, wrote, refused);
                    }
                    books.traced(&row.traces);
                    if wrote || !sampled {
                        let fate = if wrote {
                            LateFate::Written
                        } else {
                            LateFate::Refused
                        };
                        books.settled(row.origin, row.id.as_deref(), fate)?;
                    }
                    books.reached_outputs += 1;
                }
                progress(&books.report);
                Ok(())
            },
        )?;
        drop(chain);
        let reached = self.books.reached_outputs;
        let mut finished = Vec::new();
        for (index, sink) in sinks.into_iter().enumerate() {
            let Some(sink) = sink else {
                finished.push(None);
                continue;
            };
            let complete = sink
                .finish()
                .map_err(|e| output_error(outputs.get(index), e))?;
            if let Some(counts) = self.books.report.outputs.get_mut(index) {
                counts.candidates = reached;
                counts.written = complete.written;
            }
            finished.push(Some(complete));
        }
        if let Some(store) = store {
            let store = Arc::new(
                store
                    .finish()
                    .map_err(|e| write_error(self.fixed.spill_dir.display(), e))?,
            );
            for (index, spec) in outputs.iter().enumerate() {
                if spec.sample.is_some() {
                    let complete = self.write_sample(index, spec, &store, &mut survivors)?;
                    if let Some(slot) = finished.get_mut(index) {
                        *slot = Some(complete);
                    }
                }
            }
            self.settle_survivors(&store, &survivors)?;
        }
        // All outputs are whole: now, and only now, they get their names.
        self.books
            .report
            .check_conservation()
            .map_err(RunError::Conservation)?;
        for (index, complete) in finished.into_iter().enumerate() {
            if let Some(complete) = complete {
                let files = complete
                    .commit()
                    .map_err(|e| output_error(outputs.get(index), e))?;
                if let Some(counts) = self.books.report.outputs.get_mut(index) {
                    counts.files = files;
                }
            }
        }
        Ok(read)
    }

    fn close(mut self, summaries: &[InputSummary]) -> Result<RunOutcome, RunError> {
        self.books.count_rows_in();
        self.books.report.time = self.fixed.started.elapsed();
        self.books.report.peak_memory = peak_memory();
        let Books {
            report,
            ledger,
            quarantine,
            stats,
            traces,
            ..
        } = self.books;
        let quarantine_path = quarantine.path().to_owned();
        let quarantined = quarantine
            .finish()
            .map_err(|e| write_error(quarantine_path.display(), e))?;
        if quarantined.is_none() {
            // What an earlier run left under this name would be taken for this run's.
            let _ = std::fs::remove_file(&quarantine_path);
        }
        let ledger = ledger
            .map(Ledger::finish)
            .transpose()
            .map_err(|e| write_error("ledger", e))?;
        let stats = stats
            .map(PendingFile::commit)
            .transpose()
            .map_err(|e| write_error("stats", e))?;
        for trace in traces.into_iter().flatten() {
            trace.write()?;
        }
        if let Some(dir) = &self.fixed.run_dir {
            let manifest = Manifest {
                recipe: self.fixed.recipe,
                report: &report,
                inputs: &self.fixed.inputs,
                summaries,
                ledger: ledger.as_ref(),
                quarantine: quarantined.as_ref(),
                stats: stats.as_ref(),
                threads: self.fixed.pool.current_num_threads(),
            };
            manifest
                .write(&dir.join("manifest.json"))
                .map_err(|e| write_error(dir.display(), e))?;
        }
        Ok(RunOutcome {
            report,
            run_dir: self.fixed.run_dir,
            quarantine: quarantined.map(|q| q.path),
        })
    }

    /// Draws and writes a sampled output.
    fn write_sample(
        &mut self,
        index: usize,
        spec: &OutputSpec,
        store: &Arc<Store>,
        survivors: &mut sample_draw::Survivors,
    ) -> Result<sinks::Complete, RunError> {
        let Some(renderer) = self.fixed.renderers.get(index) else {
            return Err(write_error(
                target_name(spec),
                io::Error::other("no renderer"),
            ));
        };
        let fixed = &self.fixed;
        let chain = |validate| Chain {
            steps: &[],
            stream: 0..0,
            group: 0..0,
            required: Vec::new(),
            context: fixed.image_context(plan::output_need(validate)),
            ujson: false,
            keep_frames: false,
            outputs: vec![OutputWork {
                renderer: renderer.as_ref(),
                validate,
            }],
            render_stats: false,
            traced: Vec::new(),
        };
        let wanted = spec.sample.unwrap_or(0);
        let mut draw = survivors.draw(spec);
        let mut chosen: Vec<u32> = Vec::new();
        let mut refused = 0;
        // The draw is checked first and written second, so that a refused row can be replaced by the
        // next one drawn without holding the records of the sample.
        let checking = chain(spec.validate);
        loop {
            let missing = usize::try_from(wanted)
                .unwrap_or(usize::MAX)
                .saturating_sub(chosen.len());
            let candidates = draw.next(missing);
            if candidates.is_empty() {
                break;
            }
            let books = &mut self.books;
            let mut order = candidates.iter().copied();
            drive(
                &self.fixed.pool,
                self.fixed.options,
                &checking,
                Source::Rows(Arc::clone(store), candidates.clone()),
                |batch| {
                    books.report.images.add(batch.images);
                    for row in batch.rows {
                        let Some(ordinal) = order.next() else { break };
                        match row.rendered.into_iter().next() {
                            Some(Rendered::Bytes(_)) => chosen.push(ordinal),
                            Some(Rendered::Refused(error, verbatim)) => {
                                refused += 1;
                                survivors.mark_refused(ordinal);
                                books.refused(
                                    index,
                                    row.origin,
                                    row.id.as_deref(),
                                    &error,
                                    &verbatim,
                                )?;
                            }
                            None => {
                                if let End::Failed(_, error, verbatim) = &row.end {
                                    refused += 1;
                                    survivors.mark_refused(ordinal);
                                    books.refused(
                                        index,
                                        row.origin,
                                        row.id.as_deref(),
                                        error,
                                        verbatim,
                                    )?;
                                }
                            }
                        }
                    }
                    Ok(())
                },
            )?;
        }
        drop(checking);
        if !draw.keeps_its_order() {
            chosen.sort_unstable();
        }
        let mut sink = Sink::create(spec).map_err(|e| write_error(target_name(spec), e))?;
        let writing = chain(crate::recipe::Validation::None);
        drive(
            &self.fixed.pool,
            self.fixed.options,
            &writing,
            Source::Rows(Arc::clone(store), chosen.clone()),
            |batch| {
                for row in &batch.rows {
                    if let Some(Rendered::Bytes(range)) = row.rendered.first() {
                        sink.write(batch.rendered.get(range.clone()).unwrap_or_default())
                            .map_err(|e| output_error(Some(spec), e))?;
                    }
                }
                Ok(())
            },
        )?;
        drop(writing);
        survivors.mark_written(&chosen);
        let complete = sink.finish().map_err(|e| output_error(Some(spec), e))?;
        let reached = self.books.reached_outputs;
        if let Some(counts) = self.books.report.outputs.get_mut(index) {
            counts.candidates = reached;
            counts.written = complete.written;
            counts.refused = refused;
            counts.not_drawn = reached - complete.written - refused;
        }
        Ok(complete)
    }

    /// Records the fate of rows that no unsampled output wrote, now that all samples are drawn.
    fn settle_survivors(
        &mut self,
        store: &Store,
        survivors: &sample_draw::Survivors,
    ) -> Result<(), RunError> {
        let context = self.fixed.image_context(ImageNeed::None);
        let mut frame = Vec::new();
        for (ordinal, fate) in survivors.unsettled() {
            store
                .read(ordinal, &mut frame)
                .map_err(|e| write_error("rows set aside on disk", e))?;
            let Ok((sample, _)) = store::decode(&frame, &context) else {
                continue;
            };
            self.books
                .settled(sample.origin(), sample.raw_json("id"), fate)?;
        }
        Ok(())
    }
}

impl Fixed<'_> {
    fn chain(
        &self,
        phase: &plan::Phase,
        books: &Books,
        fresh: bool,
        keep_frames: bool,
        last: bool,
    ) -> Chain<'_> {
        let recipe = self.recipe;
        let outputs = if last {
            recipe
                .outputs
                .iter()
                .zip(&self.renderers)
                .filter(|(spec, _)| spec.sample.is_none())
                .map(|(spec, renderer)| OutputWork {
                    renderer: renderer.as_ref(),
                    validate: spec.validate,
                })
                .collect()
        } else {
            Vec::new()
        };
        let required = if fresh {
            recipe
                .text_keys
                .iter()
                .map(|k| FieldPath::new(k.as_str()))
                .collect()
        } else {
            Vec::new()
        };
        Chain {
            steps: &recipe.steps,
            stream: phase.stream.clone(),
            group: phase.group.clone(),
            required,
            context: self.image_context(plan::image_need(&recipe.steps, phase, &recipe.outputs)),
            ujson: recipe.compat_stats == CompatStats::Ujson,
            keep_frames,
            outputs,
            render_stats: last && books.stats.is_some(),
            traced: books.traces.iter().map(Option::is_some).collect(),
        }
    }

    fn image_context(&self, want: ImageNeed) -> Arc<ImageContext> {
        let recipe = self.recipe;
        let roots = match &recipe.image_root {
            Some(root) => vec![root.clone()],
            None => self
                .inputs
                .iter()
                .map(|input| match input {
                    Input::Stdin => self.options.working_dir.clone(),
                    Input::File(_) => input.directory(),
                })
                .collect(),
        };
        Arc::new(ImageContext {
            image_key: recipe.image_key.clone(),
            roots,
            confine: recipe.confine,
            want,
        })
    }
}

/// Reads `source` to its end through `chain`; `consume` gets the batches in order.
fn drive(
    pool: &rayon::ThreadPool,
    options: &RunOptions,
    chain: &Chain<'_>,
    source: Source,
    mut consume: impl FnMut(BatchResult) -> Result<(), RunError>,
) -> Result<Option<Vec<InputSummary>>, RunError> {
    let (batch_rows, limit) = limits(pool.current_num_threads(), options, chain);
    let interrupted = &options.interrupted;
    let stop = || {
        if interrupted.load(Ordering::Relaxed) {
            Err(RunError::Interrupted)
        } else {
            Ok(())
        }
    };
    match source {
        Source::Inputs(mut lines) => {
            let next = || {
                stop()?;
                let batch = lines.next_batch(batch_rows, BATCH_BYTES)?;
                Ok(batch.map(|batch| {
                    let size = batch.data.len();
                    (Work::Raw(batch), size)
                }))
            };
            driver::ordered(pool, limit, next, |work| chain.run(work), &mut consume)?;
            Ok(Some(lines.summaries().to_vec()))
        }
        Source::Rows(store, ordinals) => {
            let mut at = 0;
            let next = || {
                stop()?;
                let rest = ordinals.get(at..).unwrap_or_default();
                let mut size = 0;
                let count = rest
                    .iter()
                    .take(batch_rows)
                    .take_while(|&&ordinal| {
                        let fits = size < BATCH_BYTES;
                        size += store.size(ordinal);
                        fits
                    })
                    .count();
                at += count;
                let batch = rest.get(..count).unwrap_or_default().to_vec();
                Ok((!batch.is_empty()).then(|| (Work::Stored(Arc::clone(&store), batch), size)))
            };
            driver::ordered(pool, limit, next, |work| chain.run(work), &mut consume)?;
            Ok(None)
        }
    }
}

/// About how many bytes of rows a batch has at most.
const BATCH_BYTES: usize = 1 << 20;

/// Rows a batch, and how much may be in flight.
fn limits(threads: usize, options: &RunOptions, chain: &Chain<'_>) -> (usize, InFlight) {
    // Rows whose images are decoded take milliseconds, others microseconds; a batch should last long
    // enough to be worth handing over, and short enough to keep the threads evenly busy.
    let rows = options
        .batch_rows
        .unwrap_or(if chain.decodes() { 32 } else { 512 });
    let budget = options.max_memory.map_or(256 << 20, |bytes| {
        usize::try_from(bytes / 8).unwrap_or(usize::MAX)
    });
    (
        rows.max(1),
        InFlight {
            items: threads * 4 + 2,
            bytes: budget.max(BATCH_BYTES),
        },
    )
}

fn renderer(
    spec: &OutputSpec,
    recipe: &Recipe,
    options: &RunOptions,
) -> Result<Box<dyn Renderer>, RunError> {
    let output_dir = match &spec.target {
        Target::Stdout => options.working_dir.clone(),
        Target::File(path) => path.parent().map_or_else(PathBuf::new, Path::to_owned),
    };
    let paths = PathWriter::new(spec.paths, &options.working_dir, &output_dir);
    Ok(match spec.format {
        OutputFormat::Jsonl => Box::new(JsonlRenderer {
            paths,
            keep_stats: recipe.keep_stats_in_res_ds,
            keep_hashes: recipe.keep_hashes_in_res_ds,
        }),
        OutputFormat::Llava => {
            let questions = spec
                .questions
                .as_ref()
                .map(|path| Questions::load(&Input::File(path.clone())).map(Arc::new))
                .transpose()?;
            Box::new(LlavaRenderer {
                text_key: FieldPath::new(recipe.text_keys.first().map_or("text", String::as_str)),
                image_token: recipe.image_special_token.clone(),
                eoc_token: recipe.eoc_special_token.clone(),
                questions,
                paths,
            })
        }
        OutputFormat::Dj => Box::new(DjRenderer {
            image_token: recipe.image_special_token.clone(),
            eoc_token: recipe.eoc_special_token.clone(),
            only_caption: options.only_caption,
            paths,
        }),
    })
}

/// `<name>.djr` beside the first output that is a file.
fn default_run_dir(recipe: &Recipe) -> Option<PathBuf> {
    recipe.outputs.iter().find_map(|spec| match &spec.target {
        Target::Stdout => None,
        Target::File(path) => {
            let name = path.file_name()?.to_string_lossy().into_owned();
            let base = name.split_once('.').map_or(name.as_str(), |(base, _)| base);
            Some(path.with_file_name(format!("{base}.djr")))
        }
    })
}

/// The name of an output for people.
fn target_name(spec: &OutputSpec) -> String {
    match &spec.target {
        Target::Stdout => "<stdout>".into(),
        Target::File(path) => path.display().to_string(),
    }
}

fn write_error(path: impl std::fmt::Display, error: io::Error) -> RunError {
    RunError::Write {
        path: path.to_string(),
        error,
    }
}

fn output_error(spec: Option<&OutputSpec>, error: io::Error) -> RunError {
    let to_pipe = spec.is_some_and(|s| s.target == Target::Stdout);
    if to_pipe && error.kind() == io::ErrorKind::BrokenPipe {
        return RunError::BrokenPipe;
    }
    write_error(spec.map(target_name).unwrap_or_default(), error)
}
