//! New bounds for stats that are stored already: the recipe that says so, and what makes it sound.
//!
//! The changed recipe is run by the ordinary executor over the same rows; only that a stat that
//! is stored is not measured again, and that images known to decode are not decoded again. So
//! the outcome is that of a fresh run by construction, and all that must be decided here is when
//! the stored stats are those that a fresh run would measure.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::among::cascade;
use super::stat::{Stat, numbers_of, stats_of};
use super::stored::{each_row, judge};
use crate::exec::cached_stats::CachedStats;
use crate::io::format::OutputFormat;
use crate::layout::AnalysisFiles;
use crate::note::{Code, Note};
use crate::op::{BoundParam, ImageNeed, OpKind, OpSpec, Operator, Peers, Side, Verdict};
use crate::plan::{self, Plan};
use crate::recipe::{
    self, Inputs, OutputSpec, Problems, Recipe, RecipeSpec, Step, Target, Validation, scalar,
};
use crate::record::manifest::Change;
use crate::record::{Analysis, InputRecord, PastRun, RecordError};
use crate::sample::ImageCheck;

/// Why there is nothing to recut.
#[derive(Debug, thiserror::Error)]
pub enum RecutError {
    /// It would not be what a fresh run gives, or not without images.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What a run recorded cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The changed recipe is not sound.
    #[error("{0}")]
    Recipe(Problems),
}

/// Where the outputs of a recut go.
#[derive(Debug, Clone)]
pub enum RecutOutput {
    /// One JSONL file.
    File(PathBuf),
    /// All outputs of the recipe that are files, under their names, in a directory.
    Directory(PathBuf),
}

/// The changed recipe and the stats to run it with.
pub struct Recut {
    /// The recipe.
    pub recipe: Recipe,
    /// The stored stats.
    pub cached_stats: CachedStats,
    /// What the user should know.
    pub notes: Vec<Note>,
    stats: Vec<Stat>,
}

/// What an analysis or a run says of how its stats were measured.
struct Measured {
    djr: String,
    plan: Plan,
    inputs: Vec<InputRecord>,
    /// An analysis looked at images this far; a run says of each row whether its images decode.
    images_checked: Option<ImageCheck>,
}

/// What the analysis or run at `path` says of itself, and where its stats are.
fn load(path: &Path) -> Result<(Measured, CachedStats), RecutError> {
    let files = AnalysisFiles::new(path);
    let (measured, stats) = if files.json().exists() {
        let analysis = Analysis::read(path)?;
        let measured = Measured {
            djr: analysis.djr,
            plan: analysis.plan,
            inputs: analysis.inputs,
            images_checked: Some(analysis.images_checked),
        };
        (measured, files.jsonl())
    } else {
        let run = PastRun::open(path)?;
        let stats = run.files.stats();
        let measured = Measured {
            djr: run.manifest.djr,
            plan: run.manifest.plan,
            inputs: run.manifest.inputs,
            images_checked: None,
        };
        (measured, stats)
    };
    if !stats.exists() {
        let switched_off = measured.plan.recipe.get("stats_files") == Some(&false.into());
        let hint = if switched_off {
            "the recipe switched the files of stats off (stats_files: false): run the changed recipe, or run this one with stats_files: true"
        } else {
            "no filter of the recipe measures anything: run the changed recipe"
        };
        return Err(refused(
            format!("{}: there are no stats of rows", stats.display()),
            hint,
        ));
    }
    Ok((measured, CachedStats { path: stats }))
}

/// A recipe as an analysis or a run stored it, and the stats that it measured.
pub struct StoredRecipe {
    /// As data, with the outputs that it had.
    pub spec: RecipeSpec,
    /// With its operators.
    pub recipe: Recipe,
    /// The stored stats.
    pub cached_stats: CachedStats,
    /// What was read.
    pub inputs: Vec<InputRecord>,
    images_checked: Option<ImageCheck>,
}

impl StoredRecipe {
    /// That of the analysis or run at `path`: the directory of either, or an output of a run.
    ///
    /// # Errors
    /// If its stats are not those that this djr would measure of the inputs as they are now.
    pub fn open(path: &Path, peers: Option<Rc<dyn Peers>>) -> Result<Self, RecutError> {
        let (stored, cached_stats) = load(path)?;
        let version = stored.djr.as_str();
        if version != env!("CARGO_PKG_VERSION") {
            return Err(refused(
                format!("the stats were measured by djr {version}, this is another version"),
                "measure the rows again",
            ));
        }
        check_inputs(&stored.inputs)?;
        if let Some(change) = stored.plan.changed_assets().first() {
            return Err(refused(
                format!("{change} than when the stats were measured"),
                "measure the rows again",
            ));
        }
        let spec = RecipeSpec::from_json(stored.plan.recipe).map_err(|error| {
            refused(
                format!("the stored recipe cannot be read: {error}"),
                "measure the rows again",
            )
        })?;
        let recipe = spec.build_with(&[], peers).map_err(RecutError::Recipe)?;
        check_stored(&recipe.spec(), &spec)?;
        Ok(Self {
            spec,
            recipe,
            cached_stats,
            inputs: stored.inputs,
            images_checked: stored.images_checked,
        })
    }

    /// Whether its rows can be recut, and what is to be known of it.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn check(&self) -> Result<Vec<Note>, RecutError> {
        check_steps(&self.recipe)
    }
}

/// Changes bounds of the recipe of the analysis or run at `path`: the directory of either, or an output of a run.
///
/// # Errors
/// [`RecutError`].
pub fn prepare(
    path: &Path,
    sets: Vec<(String, String)>,
    output: &RecutOutput,
    cwd: &Path,
    peers: Option<Rc<dyn Peers>>,
) -> Result<Recut, RecutError> {
    let StoredRecipe {
        mut spec,
        recipe: before,
        cached_stats,
        images_checked: checked,
        ..
    } = StoredRecipe::open(path, peers.clone())?;
    spec.outputs = outputs(spec.outputs, output, cwd)?;
    let stats = stats_of(&before.steps);
    for (key, _) in &sets {
        check_set(key, &before.steps)?;
    }
    let recipe = spec.build_with(&sets, peers).map_err(RecutError::Recipe)?;
    let mut notes = check_steps(&recipe)?;
    let decoded = checked.is_none_or(|level| level == ImageCheck::Decode);
    let validates = |o: &recipe::OutputSpec| o.validate != Validation::None;
    if !decoded && recipe.outputs.iter().any(validates) {
        notes.push(Note::new(
            Code::ImagesUnknown,
            "the stats do not say which images decode: outputs check them again",
        ));
    }
    Ok(Recut {
        recipe,
        cached_stats,
        notes,
        stats,
    })
}

impl Recut {
    /// The value that opens the bound `param` of the filter `op`, so that it drops nothing: what a
    /// search starts from.
    ///
    /// # Errors
    /// If it is no bound of a filter of the recipe.
    pub fn open(&self, op: &str, param: &str) -> Result<String, RecutError> {
        let (_, _, bound) = self.bound(op, param)?;
        Ok(scalar(&bound.open()))
    }

    /// The value of `param` of the filter `op` that leaves `target` rows: the tightest that leaves
    /// at least so many. The bound must be open.
    ///
    /// # Errors
    /// If rows are not decided by their stats alone, or no value leaves so many.
    pub fn search(&self, op: &str, param: &str, target: u64) -> Result<String, RecutError> {
        let steps = &self.recipe.steps;
        let (step, stat, bound) = self.bound(op, param)?;
        for step in steps {
            if step.spec.kind != OpKind::Mapper && !step.spec.decides_by_stats() {
                return Err(refused(
                    format!(
                        "--target counts rows by their stats, and {} does not decide by them",
                        step.name
                    ),
                    "try bounds with --set, and look at the rows that each leaves",
                ));
            }
        }
        let base = &step.base;
        if base.reversed_range || !base.min_closed_interval || !base.max_closed_interval {
            return Err(refused(
                format!("the range of {op} is reversed or open at an end"),
                "try bounds with --set, and look at the rows that each leaves",
            ));
        }
        let upper = bound.side == Side::Max;
        let critical = self.critical(step, stat, upper)?;
        let wanted = usize::try_from(target).unwrap_or(usize::MAX);
        let index = wanted.saturating_sub(1);
        let Some(value) = critical.get(index).copied().filter(|_| wanted > 0) else {
            return Err(refused(
                format!(
                    "without {param} of {op} {} rows are left, so that no value leaves {target}",
                    critical.len()
                ),
                "loosen other bounds with --set, or ask for another number of rows",
            ));
        };
        // Only rows without images: any bound leaves them.
        let value = if value.is_infinite() { 0.0 } else { value };
        Ok(scalar(&bound.write(value)))
    }

    /// How many rows its filters leave, by their stats.
    ///
    /// # Errors
    /// If the stats cannot be read.
    pub fn left(&self) -> Result<u64, RecutError> {
        cascade(&self.cached_stats.path, &self.stats, &self.recipe)
            .map(|(_, left)| left)
            .map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, error: io::Error) -> RecutError {
        RecutError::Read {
            path: self.cached_stats.path.clone(),
            error,
        }
    }

    fn bound(&self, op: &str, param: &str) -> Result<(&Step, &Stat, BoundParam), RecutError> {
        let (number, step) = self
            .recipe
            .steps
            .iter()
            .enumerate()
            .find(|(_, step)| step.name == op)
            .ok_or_else(|| no_step(op, &self.recipe.steps))?;
        self.stats
            .iter()
            .filter(|stat| stat.step == number)
            .flat_map(|stat| {
                let bounds = stat.bounds.iter().flatten();
                bounds.map(move |bound| (stat, bound.param))
            })
            .find(|(_, bound)| bound.param == param)
            .map(|(stat, bound)| (step, stat, bound))
            .ok_or_else(|| {
                refused(
                    format!("'{op}.{param}' is no bound of that filter"),
                    bounds_of(&step.spec),
                )
            })
    }

    /// For each row that all filters keep, the tightest bound that keeps it still; the row that
    /// is kept longest first.
    fn critical(&self, step: &Step, stat: &Stat, upper: bool) -> Result<Vec<f64>, RecutError> {
        let mut critical = Vec::new();
        let all = match &step.operator {
            Operator::Filter(filter) => {
                let mut ranges = filter.bounds().iter();
                ranges.any(|range| *range.stat() == stat.name && range.asks_all())
            }
            _ => false,
        };
        // With several images a row needs its best one, or its worst one.
        let pick = if upper == all { f64::max } else { f64::min };
        let any_bound = if upper {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
        let (mut unknown, mut first) = (0_u64, 0);
        let round = self.recipe.rounds_stats();
        each_row(&self.cached_stats.path, &self.stats, round, |row| {
            let mut steps = self.recipe.steps.iter();
            let undecided = steps.find_map(|step| match judge(step, &row.stats) {
                Some(Verdict::Keep) => None,
                Some(Verdict::Drop(_)) => Some(false),
                None => Some(!row.failed),
            });
            match undecided {
                None => {
                    let numbers = row.stats.get(&stat.name).and_then(numbers_of);
                    let numbers = numbers.unwrap_or_default().into_iter();
                    critical.push(numbers.reduce(pick).unwrap_or(any_bound));
                }
                Some(true) => {
                    unknown += 1;
                    if unknown == 1 {
                        first = row.line;
                    }
                }
                Some(false) => {}
            }
            Ok(())
        })
        .map_err(|error| self.unreadable(error))?;
        if unknown > 0 {
            return Err(refused(
                format!(
                    "{unknown} rows, the first in line {first}, ended before all of their stats were measured"
                ),
                "recut an analysis (djr analyze), which measures all of them",
            ));
        }
        critical.sort_unstable_by(f64::total_cmp);
        if !upper {
            critical.reverse();
        }
        Ok(critical)
    }
}

/// What there is to choose from when another parameter is no bound.
fn bounds_of(spec: &OpSpec) -> String {
    let bounds = spec.stats.iter().flat_map(crate::op::Stat::bounds);
    let names: Vec<&str> = bounds.map(|bound| bound.param).collect();
    if names.is_empty() {
        format!("{} has no bounds", spec.name)
    } else {
        format!("its bounds are {}", names.join(", "))
    }
}

fn no_step(op: &str, steps: &[Step]) -> RecutError {
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    refused(
        format!("the recipe has no step '{op}'"),
        format!("its steps are {}", names.join(", ")),
    )
}

fn refused(message: impl Into<String>, hint: impl Into<String>) -> RecutError {
    RecutError::Refused {
        message: message.into(),
        hint: hint.into(),
    }
}

/// The inputs must be those that were measured.
fn check_inputs(inputs: &[InputRecord]) -> Result<(), RecutError> {
    for input in inputs {
        let name = &input.name;
        if input.input().is_none() {
            return Err(refused(
                "the rows came from standard input and cannot be read again",
                "analyze a file",
            ));
        }
        let change = input.change().map_err(|error| RecutError::Read {
            path: PathBuf::from(name),
            error,
        })?;
        if let Some(what) = change.map(Change::word) {
            return Err(refused(
                format!("{name}: its {what} is not what it was when the stats were measured"),
                "measure the rows again",
            ));
        }
    }
    Ok(())
}

/// What the stored recipe says must be what it said then.
fn check_stored(now: &RecipeSpec, stored: &RecipeSpec) -> Result<(), RecutError> {
    let changed = now.steps.iter().zip(&stored.steps).find(|(a, b)| a != b);
    if let Some((now, was)) = changed {
        let json = |step| serde_json::to_value(step).unwrap_or_default();
        return Err(refused(
            format!(
                "{} is no longer read as it was: {} for {}",
                was.name,
                json(now),
                json(was)
            ),
            "measure the rows again",
        ));
    }
    Ok(())
}

/// Only what decides about stats may change, not what they measure.
fn check_set(key: &str, steps: &[Step]) -> Result<(), RecutError> {
    let Some((op, param)) = key.split_once('.') else {
        return Err(refused(
            format!("'{key}' is no bound of a filter"),
            "recut changes bounds: --set FILTER.max_…=…; for anything else run the recipe again",
        ));
    };
    let Some(step) = steps.iter().find(|step| step.name == op) else {
        return Err(no_step(op, steps));
    };
    if step.spec.bound(param).is_some() || step.spec.decides.contains(&param) {
        return Ok(());
    }
    let why = if step.spec.kind == OpKind::Filter {
        "changes what the filter measures, not what it keeps"
    } else {
        "is no bound of a filter"
    };
    Err(refused(
        format!("'{key}' {why}"),
        "run or analyze with the changed recipe",
    ))
}

/// What stands in the way of a recut, and which steps look at images again: a deduplicator needs its
/// rows' pictures, and the stats of what stands behind a step that decides among all rows do not get
/// past it. Both give what a fresh run gives, for the rows that reach them only.
fn check_steps(recipe: &Recipe) -> Result<Vec<Note>, RecutError> {
    let mut notes = Vec::new();
    let exchange = plan::phases(&recipe.steps)
        .into_iter()
        .map(|phase| phase.group.start)
        .min()
        .unwrap_or(recipe.steps.len());
    for (number, step) in recipe.steps.iter().enumerate() {
        if step.spec.kind.makes_rows() {
            return Err(refused(
                format!(
                    "{} makes other rows of those it reads, and the stats of those are not stored",
                    step.name
                ),
                "run the changed recipe",
            ));
        }
        if step.spec.images == ImageNeed::None {
            continue;
        }
        if step.spec.kind == OpKind::Mapper {
            return Err(refused(
                format!(
                    "{} changes images, and the stats of those it makes are not stored",
                    step.name
                ),
                "run the changed recipe, or recut what stands before it and run the rest on the outcome",
            ));
        }
        let why = if !step.spec.decides_by_stats() {
            "compares images, which are not stored"
        } else if number >= exchange {
            "stands behind a step that decides among all rows, which stored stats do not get past"
        } else {
            continue;
        };
        let text = format!(
            "step {} ({}) {why}: it looks at the images of the rows that reach it again",
            number + 1,
            step.name
        );
        notes.push(Note::new(Code::ImagesAgain, text).at(number));
    }
    if recipe.inputs == Inputs::Stdin {
        return Err(refused(
            "standard input cannot be read again",
            "analyze a file",
        ));
    }
    Ok(notes)
}

/// What the files of outputs are called in another directory: by their names, and where two have the same,
/// or a value of one that is split could give it that of another, by their paths below the directory that
/// all of them are in.
fn below(files: &[(&OutputSpec, &Path)]) -> Vec<PathBuf> {
    let names = files
        .iter()
        .filter_map(|(spec, path)| Some((*spec, PathBuf::from(path.file_name()?))));
    let names: Vec<(&OutputSpec, PathBuf)> = names.collect();
    let apart = names.iter().enumerate().all(|(number, (spec, name))| {
        let mut before = names.iter().take(number);
        before.all(|(other, others)| name != others && !spec.may_share(name, (other, others)))
    });
    if apart && names.len() == files.len() {
        return names.into_iter().map(|(_, name)| name).collect();
    }
    let mut common = files.first().and_then(|(_, path)| path.parent());
    while let Some(above) = common
        && !files.iter().all(|(_, path)| path.starts_with(above))
    {
        common = above.parent();
    }
    let common = common.unwrap_or(Path::new(""));
    let inner = |path: &Path| path.strip_prefix(common).unwrap_or(path).to_owned();
    files.iter().map(|(_, path)| inner(path)).collect()
}

/// The outputs of a changed recipe, whose own ones are `stored`.
///
/// # Errors
/// If there is none.
pub fn outputs(
    stored: Vec<OutputSpec>,
    output: &RecutOutput,
    cwd: &Path,
) -> Result<Vec<OutputSpec>, RecutError> {
    let target = |path: &Path| Target::at(cwd.join(path).components().collect());
    match output {
        RecutOutput::File(path) => {
            // What goes to the main output of the recipe goes here, in its way.
            let main = stored
                .into_iter()
                .find(|spec| spec.format.holds_rows && spec.is_whole());
            let format = recipe::check_named(Path::new(""), path).unwrap_or(OutputFormat::ROWS);
            Ok(vec![match main {
                Some(spec) => OutputSpec {
                    format,
                    target: target(path),
                    shard_size: None,
                    ..spec
                },
                None => OutputSpec::new(format, target(path)),
            }])
        }
        RecutOutput::Directory(dir) => {
            let paths = stored.iter().filter_map(|spec| match &spec.target {
                Target::Stdout | Target::Stream(_) | Target::Caller => None,
                Target::File(path) => Some((spec, path.as_path())),
            });
            let mut paths = below(&paths.collect::<Vec<_>>()).into_iter();
            let files: Vec<OutputSpec> = stored
                .into_iter()
                .filter_map(|spec| match &spec.target {
                    Target::Stdout | Target::Stream(_) | Target::Caller => None,
                    Target::File(_) => Some(OutputSpec {
                        target: target(&dir.join(paths.next()?)),
                        ..spec
                    }),
                })
                .collect();
            if files.is_empty() {
                return Err(refused(
                    "the recipe has no outputs that are files",
                    "name a file: -o out.jsonl",
                ));
            }
            Ok(files)
        }
    }
}
