//! What a run holds unchanged from start to end, and what follows from it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::Results;
use crate::exec::accounting::{Accounting, Keeps};
use crate::exec::conclude;
use crate::exec::error::target_name;
use crate::exec::exchange::Machine;
use crate::exec::exchange::group::GroupRows;
use crate::exec::fields::FieldWatch;
use crate::exec::output;
use crate::exec::setup::{self, AnswersFile};
use crate::exec::stage::{Chain, OutputWork, SplitBy, TIMED_EVERY, Workers};
use crate::exec::{RunError, RunOptions, write_error};
use crate::io::format::{FormatError, ImageFiles, Renderer, Setting};
use crate::io::paths::PathWriter;
use crate::io::{Input, OutputLock, Workspace};
use crate::layout::RunFiles;
use crate::op::{Common, ImageNeed, Merge, RowCondition, longest_within};
use crate::plan::{self, Foreseen};
use crate::recipe::{Of, OutputSpec, PathStyle, Recipe, Split, Step, Target, Validation};
use crate::record::Earlier;
use crate::sample::{FieldPath, ImageContext};
use crate::service::{Host, Memory};
use crate::trainer::{self, Task};

/// What a run holds unchanged from start to end.
pub struct RunContext<'a> {
    pub recipe: &'a Recipe,
    pub options: &'a RunOptions,
    pub pool: rayon::ThreadPool,
    pub workspace: Workspace,
    pub inputs: Vec<Input>,
    pub renderers: Vec<Box<dyn Renderer>>,
    pub files: Option<RunFiles>,
    pub earlier: Earlier,
    pub foreseen: Arc<Foreseen>,
    /// Where services run.
    pub host: Host,
    /// Results of other runs.
    pub results: Option<Arc<Results>>,
}

/// Where a run, or a part of one, keeps what it makes.
pub struct Place {
    pub files: Option<RunFiles>,
    pub workspace: Workspace,
    pub earlier: Earlier,
    /// What servers answer; `None` where it is kept no longer than that.
    pub answers: Option<AnswersFile>,
}

impl<'a> RunContext<'a> {
    /// Opens what a run needs: threads, results of other runs, services.
    pub fn open(
        recipe: &'a Recipe,
        options: &'a RunOptions,
        inputs: Vec<Input>,
        renderers: Vec<Box<dyn Renderer>>,
        place: Place,
    ) -> Result<Self, RunError> {
        let pool = setup::pool(recipe, options)?;
        let results = setup::results(recipe, options)?;
        let threads = pool.current_num_threads();
        let mut host = setup::host(recipe, options, threads, place.answers.as_ref())?;
        host.memory = results
            .as_ref()
            .map(|results| Arc::new(Workers(Arc::clone(results))) as Arc<dyn Memory>);
        Ok(Self {
            recipe,
            options,
            pool,
            workspace: place.workspace,
            inputs,
            renderers,
            files: place.files,
            earlier: place.earlier,
            foreseen: Arc::new(plan::foresee(recipe)),
            host,
            results,
        })
    }
}

impl RunContext<'_> {
    /// What there is to compute with.
    pub fn machine(&self) -> Machine<'_> {
        Machine {
            pool: &self.pool,
            host: &self.host,
        }
    }

    /// The share of the memory budget for keys of deduplicators and selectors, in bytes.
    pub fn key_budget(&self) -> Option<u64> {
        Some(self.options.memory() / 4)
    }

    /// Whether rows of `phase` may be added up by who works on them: it is the last one, its outputs
    /// take them so, and nobody wants them as they were.
    pub fn settles(&self, phase: &plan::Phase, chain: &Chain<'_>) -> bool {
        phase.group.is_empty()
            && output::takes_settled(&self.recipe.outputs)
            && !chain.keep_frames
            && chain.services().next().is_none()
    }

    /// What a phase does to each row; only the last one writes outputs.
    pub fn chain(
        &self,
        phase: &plan::Phase,
        keeps: &Keeps,
        common: &Arc<Common>,
        fresh: bool,
    ) -> Chain<'_> {
        let recipe = self.recipe;
        let last = phase.group.is_empty();
        let outputs: Vec<OutputWork<'_>> = recipe
            .outputs
            .iter()
            .zip(&self.renderers)
            .filter(|(spec, _)| last && !spec.is_late())
            .map(|(spec, renderer)| self.work(spec, renderer.as_ref(), spec.validate))
            .collect();
        let sampled = output::sampled(&recipe.outputs).map(condition_of);
        let suffixes = setup::suffixes(recipe, &self.inputs).filter(|_| fresh);
        Chain {
            steps: &recipe.steps,
            longest_row: self.options.longest_row(self.recipe),
            longest: self.options.longest_texts(self.recipe),
            suffixes,
            stream: plan::order(recipe, &phase.stream),
            group: phase.group.clone(),
            context: self.image_context(plan::image_need(&recipe.steps, phase, &recipe.outputs)),
            ujson: recipe.rounds_stats(),
            // A later phase reads them, or samples are drawn from them.
            keep_frames: keeps.ended || !last || output::samples(&recipe.outputs),
            keep_dropped: keeps.ended,
            sampled: sampled.filter(|_| last).collect(),
            keep_row_stats: fresh && keeps.row_stats,
            // A sample tells later which rows it took.
            keep_ledger: (!outputs.is_empty() || last && output::takes_all(&recipe.outputs))
                && keeps.ledger,
            render_stats: last && keeps.stats,
            outputs,
            traced: keeps.traced.clone(),
            trace_keys: &recipe.tracer.keys,
            timed_every: TIMED_EVERY,
            common: Arc::clone(common),
            foreseen: Arc::clone(&self.foreseen),
            watch: fresh.then(|| FieldWatch::new(&self.foreseen.asked)),
            recall: None,
            tokens: self.tokens().filter(|_| last),
            settles: false,
        }
    }

    /// What an output asks of a row.
    fn work<'r>(
        &self,
        spec: &OutputSpec,
        renderer: &'r dyn Renderer,
        validate: Validation,
    ) -> OutputWork<'r> {
        let origin = spec.format.origin(&spec.options);
        OutputWork {
            renderer,
            validate,
            of_records: origin.is_some_and(|origin| !origin.is_rows()),
            copies: self.copies(spec),
            framing: spec.format.framing,
            longest: self
                .options
                .row_memory(self.recipe)
                .and_then(|budget| longest_within(budget, spec.format.memory)),
            condition: condition_of(spec),
            split: spec.split.as_ref().map(|split| match split {
                Split::Field(field) => SplitBy::Field(FieldPath::new(field)),
                Split::Input => SplitBy::Input(setup::input_names(&self.inputs)),
            }),
        }
    }

    /// The folder that images of an output are copied to, if they are: a name of its own beside it.
    fn copies(&self, spec: &OutputSpec) -> Option<PathBuf> {
        let Target::File(path) = &spec.target else {
            return None;
        };
        let mut name = path.file_name()?.to_owned();
        name.push(".images");
        let folder = self.options.working_dir.join(path).with_file_name(name);
        (spec.images == ImageFiles::Copy).then_some(folder)
    }

    /// Renders rows for one sampled output, its images checked as far as `validate` asks.
    pub fn sample_chain(
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
            outputs: vec![self.work(spec, renderer.as_ref(), validate)],
            ..self.stepless_chain(plan::output_need(validate))
        })
    }

    /// Marks rows that an output does not ask for.
    pub fn asking_chain(&self, spec: &OutputSpec) -> Chain<'_> {
        Chain {
            sampled: vec![condition_of(spec)],
            ..self.stepless_chain(ImageNeed::None)
        }
    }

    /// Looks at rows as far as `need` asks and does nothing to them.
    fn stepless_chain(&self, need: ImageNeed) -> Chain<'_> {
        Chain {
            steps: &[],
            longest_row: None,
            longest: Vec::new(),
            stream: Vec::new(),
            group: 0..0,
            suffixes: None,
            context: self.image_context(need),
            ujson: false,
            keep_frames: false,
            keep_dropped: false,
            outputs: Vec::new(),
            sampled: Vec::new(),
            keep_row_stats: false,
            keep_ledger: false,
            render_stats: false,
            traced: Vec::new(),
            trace_keys: &[],
            timed_every: TIMED_EVERY,
            common: Arc::default(),
            foreseen: Arc::default(),
            watch: None,
            recall: None,
            tokens: None,
            settles: false,
        }
    }

    /// Computes what the step `number`, a deduplicator, tells rows of `inputs` apart by.
    pub fn reference_chain(&self, number: usize, step: &Step, inputs: &[Input]) -> Chain<'_> {
        let working_dir = &self.options.working_dir;
        Chain {
            steps: &self.recipe.steps,
            longest_row: self.options.longest_row(self.recipe),
            longest: self.options.longest_texts(self.recipe),
            stream: Vec::new(),
            group: number..number + 1,
            suffixes: None,
            context: setup::with_results(
                setup::image_context(self.recipe, inputs, working_dir, step.spec.images),
                self.results.as_ref(),
            ),
            ujson: self.recipe.rounds_stats(),
            keep_frames: false,
            keep_dropped: false,
            outputs: Vec::new(),
            sampled: Vec::new(),
            keep_row_stats: false,
            keep_ledger: false,
            render_stats: false,
            traced: Vec::new(),
            trace_keys: &[],
            timed_every: TIMED_EVERY,
            common: Arc::default(),
            foreseen: Arc::default(),
            watch: None,
            recall: None,
            tokens: None,
            settles: false,
        }
    }

    /// The text and the image token whose number is held against that of the images.
    fn tokens(&self) -> Option<(FieldPath, String)> {
        let text = self.recipe.text_keys.first()?;
        let token = &self.recipe.image_special_token;
        (!token.is_empty()).then(|| (FieldPath::new(text.as_str()), token.clone()))
    }

    /// The same error, unless all rows fail for the lack of a field: then that is said.
    pub fn explained(&self, error: RunError, accounting: &Accounting) -> RunError {
        match conclude::fatal_field(&self.foreseen, &accounting.report) {
            Some(fields) => RunError::FieldOfNoRow(fields),
            None => error,
        }
    }

    /// How the rows of groups are made.
    pub fn group_rows(&self) -> GroupRows {
        let working_dir = &self.options.working_dir;
        GroupRows {
            context: self.image_context(ImageNeed::None),
            paths: PathWriter::new(PathStyle::Absolute, working_dir, working_dir),
            longest: self.options.longest_group(self.recipe),
        }
    }

    pub fn image_context(&self, want: ImageNeed) -> Arc<ImageContext> {
        let working_dir = &self.options.working_dir;
        let context = setup::image_context(self.recipe, &self.inputs, working_dir, want);
        setup::with_results(context, self.results.as_ref())
    }

    /// Makes durable what was computed so far. What is lost is computed again.
    pub fn sync_results(&self) {
        if let Some(results) = &self.results {
            let _ = results.cache().sync();
        }
    }
}

/// The fields that deduplicators of a recipe merge in this way.
fn merged(recipe: &Recipe, how: Merge) -> Vec<String> {
    let merged = recipe.steps.iter().flat_map(|step| &step.base.choice.merge);
    let so = merged.filter(|(_, its)| *its == how);
    so.map(|(field, _)| field.clone()).collect()
}

/// What an output asks of its rows.
fn condition_of(spec: &OutputSpec) -> Option<RowCondition> {
    let written = spec.condition.as_deref()?;
    // It was read when the recipe was.
    RowCondition::parse(written).ok()
}

/// What turns rows into the records of each output.
pub fn renderers(
    recipe: &Recipe,
    options: &RunOptions,
) -> Result<Vec<Box<dyn Renderer>>, RunError> {
    let outputs = recipe.outputs.iter();
    outputs
        .map(|spec| renderer(spec, recipe, options))
        .collect()
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
        validate: spec.validate,
        images: spec.images,
        inputs: setup::inputs(recipe),
        lists: merged(recipe, Merge::List),
        sums: merged(recipe, Merge::Sum),
        tells_fate: spec.of != Of::Kept,
    };
    let failed = |what| RunError::from(FormatError(what));
    if let Some(what) = spec.unsuited() {
        return Err(failed(format!("{}: {what}", spec.target)));
    }
    if let Some(checked) = &spec.checked
        && let Task::Find(images) = checked.task
    {
        return trainer::findings(checked, images).map_err(failed);
    }
    let renderer = (spec.format.renderer)(&spec.options, setting)?;
    match &spec.checked {
        Some(checked) => {
            let directory = if checked.trainer.from_working_dir {
                options.working_dir.clone()
            } else {
                options.working_dir.join(output_dir)
            };
            trainer::refusing(renderer, checked, &directory).map_err(failed)
        }
        None => Ok(renderer),
    }
}

/// Where manifest, ledger and quarantine go, if there is a place for them: where the user says, or
/// beside the first output that is a file.
pub fn run_files(recipe: &Recipe, options: &RunOptions) -> Option<RunFiles> {
    match &options.run_dir {
        Some(dir) => Some(RunFiles::new(dir)),
        None => RunFiles::of_output(output_files(recipe).first()?),
    }
}

/// The outputs that are files.
pub fn output_files(recipe: &Recipe) -> Vec<PathBuf> {
    let outputs = recipe.outputs.iter().filter_map(|o| match &o.target {
        Target::File(path) => Some(path.clone()),
        Target::Stdout | Target::Stream(_) | Target::Caller => None,
    });
    outputs.collect()
}

pub fn lock_outputs(
    recipe: &Recipe,
    files: Option<&RunFiles>,
) -> Result<Vec<OutputLock>, RunError> {
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
