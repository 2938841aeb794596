//! `djr analyze`: every stat of every row, nothing dropped.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::{RunArgs, inputs};
use super::runner::Signals;
use super::ui::{AsJson, Ui};
use super::{Exit, explain, past, run, runner};
use crate::analysis;
use crate::analysis::suggest::{Rule, suggest};
use crate::answer::{AnalyzeAnswer, ProblemRecord, StatShort};
use crate::exec::{Observer, RunError};
use crate::io::PendingFile;
use crate::io::destination::Destination;
use crate::layout::{AnalysisFiles, RunFiles, is_analysis};
use crate::note::{Code, Note};
use crate::op::OpKind;
use crate::recipe::{
    LoadOptions, QuarantineLimit, Recipe, Step, Target, Validation, check_document, check_local,
};
use crate::record::analysis::{StatRecord, Summary};
use crate::record::{Analysis, PastRun};
use crate::report::table::thousands;
use crate::report::tokens::special_tokens;

const EXAMPLES: &str = "\
Examples:
  djr analyze data.jsonl -o look
  djr analyze data.jsonl --recipe recipe.yaml -o look
  djr analyze data.jsonl --validate header -o look     read no image as a whole
  djr analyze data.jsonl -o look --suggest new.yaml    a recipe with bounds from the data
  cat data.jsonl | djr analyze - --image-root /data -o piped

DIR then holds analysis.json (what was found) and stats.jsonl and stats.parquet (one row for each
row read: where it is, and its stats).";

/// Measure every row by every filter, drop nothing, and write what was found.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rows: files or directories, in order; - is standard input [default: the recipe's dataset].
    input: Vec<PathBuf>,
    /// The same as INPUT; repeatable.
    #[arg(long = "input", short, alias = "dataset_path", value_name = "PATH")]
    more: Vec<PathBuf>,
    /// Measure by the filters of this recipe, its mappers in their places [default: a set of filters
    /// that need no word lists and no models].
    #[arg(long, short, value_name = "RECIPE")]
    recipe: Option<PathBuf>,
    /// Where to write; made if it is not there.
    #[arg(long, short, alias = "export_path", value_name = "DIR")]
    output: PathBuf,
    /// Relative image paths start here [default: the input's directory].
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// The field of the rows' text [default: as the recipe says, or text].
    #[arg(long, value_name = "FIELD")]
    text_key: Option<String>,
    /// How far images are looked at. Below decode, broken ones and copies are not found.
    #[arg(long, value_name = "LEVEL", default_value = "decode")]
    validate: Validation,
    /// Keep results that are dear here for other runs, and use those that others kept; auto is
    /// `$XDG_CACHE_HOME/djr` [default: as the recipe says]. The outcome is the same.
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    cache: Option<PathBuf>,
    /// Use no cache, whatever the recipe says.
    #[arg(long)]
    no_cache: bool,
    /// Also write a recipe here whose bounds come from the data, with the share each would drop.
    #[arg(long, value_name = "RECIPE")]
    suggest: Option<PathBuf>,
    /// Where suggested bounds are.
    #[arg(
        long,
        value_name = "RULE",
        default_value = "percentiles",
        requires = "suggest"
    )]
    bounds: RuleArg,
    /// Override a key of the recipe; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = run::parse_set, requires = "recipe")]
    set: Vec<(String, String)>,
    /// Worker threads [default: all cores]. The outcome is the same for any number.
    #[arg(long, short = 'j', alias = "np", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Memory that rows in flight may take, e.g. 512MiB.
    #[arg(long, value_name = "SIZE", value_parser = super::args::parse_size)]
    max_memory: Option<u64>,
    /// So many rows may be unreadable, and the exit code is 0 all the same: a share such as 0.1%, or a
    /// number.
    #[arg(long, value_name = "LIMIT", value_parser = super::args::parse_tolerance)]
    tolerate: Option<QuarantineLimit>,
    /// Overwrite files that no analysis wrote, and the recipe of --suggest.
    #[arg(long)]
    force: bool,
    /// The Python that runs models and operators of Data-Juicer [default: `DJR_PYTHON`, the active environment's, python3].
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Devices for models, e.g. cuda:0,cuda:1 or cpu [default: all GPUs, else the processor].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<String>,
    /// Rows a batch; for tests of this program, the outcome is the same for any number.
    #[arg(long, value_name = "N", hide = true)]
    batch_rows: Option<usize>,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// How bounds are taken from the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RuleArg {
    /// The 1st and the 99th percentile.
    Percentiles,
    /// Three standard deviations below and above the mean.
    Sigma,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let machine = RunArgs {
        threads: args.threads,
        max_memory: args.max_memory,
        on_error: None,
        max_quarantine: None,
        tolerate: args.tolerate,
        if_changed: false,
        force: false,
        record_host: false,
        resume: false,
        restart: false,
        checkpoint_every: None,
        run_dir: None,
        python: args.python.clone(),
        devices: args.devices.clone(),
        max_cost: None,
        max_tokens_total: None,
        cache: args.cache.clone(),
        no_cache: args.no_cache,
        batch_rows: args.batch_rows,
    };
    if let Some(path) = &args.suggest
        && let Err(problem) = check_document(Path::new(""), path, &["yaml", "yml"])
    {
        return ui.usage_in(path.display(), &problem.what, Some(&problem.hint));
    }
    if let Err(problem) = check_local(&args.output) {
        return ui.usage_in(args.output.display(), &problem.what, Some(&problem.hint));
    }
    if args.output.to_str().is_none() {
        let what = format!(
            "cannot write {}: its name is no Unicode",
            args.output.display()
        );
        return ui.usage(&what, Some("name another directory"));
    }
    if args.output.exists() && !args.output.is_dir() {
        let what = format!("{}: an analysis is a directory", args.output.display());
        return ui.usage(
            &what,
            Some("name a new directory, or that of an earlier analysis"),
        );
    }
    if let Err(exit) = claim(args, ui) {
        return exit;
    }
    let is_there = |path: &&PathBuf| path.exists() && !Destination::is_stream(path);
    if let Some(path) = args.suggest.as_ref().filter(is_there)
        && !args.force
    {
        return ui.usage(
            &format!("{}: is there already", path.display()),
            Some("--suggest names a new file, --force overwrites it; --recipe names one to measure by"),
        );
    }
    let recipe = match load(args, ui) {
        Ok(recipe) => recipe,
        Err(exit) => return exit,
    };
    let signals = Signals::watch(ui);
    let options = match runner::options(&recipe, &machine, &signals, ui) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let files = AnalysisFiles::new(&args.output);
    let mut progress = ui.progress(runner::input_bytes(&recipe));
    let observer: &mut dyn Observer = &mut progress;
    let outcome = analysis::analyze(&recipe, &options, args.validate, &files, observer);
    drop(progress);
    match outcome {
        Ok(analysis) => {
            ui.info(&told(&analysis, &recipe));
            ui.notes(&analysis.notes);
            ui.info(&format!("analysis: {}", files.json().display()));
            if let Some(path) = &args.suggest {
                if let Err(message) = suggested(&recipe, &analysis, &files, args.bounds, path) {
                    let hint = "the analysis itself was written";
                    ui.result(&answer(&analysis, &files, None));
                    ui.error_in(path.display(), "cannot_write", &message, Some(hint));
                    return Exit::Failed;
                }
                ui.info(&format!("suggested recipe: {}", path.display()));
            }
            ui.result(&answer(&analysis, &files, args.suggest.as_ref()));
            let (lost, read) = (analysis.rows.unreadable, analysis.rows.read);
            let allowed = args.tolerate.is_some_and(|limit| limit.allows(lost, read));
            if lost > 0 && !allowed {
                Exit::Losses
            } else {
                Exit::Success
            }
        }
        Err(RunError::Interrupted) => {
            ui.error("interrupted", "interrupted: no analysis was written", None);
            signals.exit()
        }
        Err(failure) => {
            let hint = "no analysis was written";
            let (_, problem) = runner::failed(&failure, None);
            ui.problem(ProblemRecord {
                hint: Some(hint.to_owned()),
                ..problem
            });
            Exit::Failed
        }
    }
}

/// Makes sure that the directory is that of an analysis, or of nobody.
fn claim(args: &Args, ui: &Ui) -> Result<(), Exit> {
    let dir = &args.output;
    let run = RunFiles::new(dir);
    if PastRun::is_one(dir) || run.is_unfinished() || run.copied().exists() {
        return Err(ui.usage(
            &format!("{}: it is the directory of a run", dir.display()),
            Some("name another directory"),
        ));
    }
    if args.force || is_analysis(dir) {
        return Ok(());
    }
    let files = AnalysisFiles::new(dir);
    let foreign = [files.json(), files.jsonl(), files.parquet()];
    match foreign.iter().find(|path| path.exists()) {
        Some(path) => Err(ui.usage(
            &format!("{}: no analysis of djr's wrote it", path.display()),
            Some("name another directory, or overwrite it by --force"),
        )),
        None => Ok(()),
    }
}

fn answer(
    analysis: &Analysis,
    files: &AnalysisFiles,
    suggested: Option<&PathBuf>,
) -> AnalyzeAnswer {
    let short = |(name, stat): (&str, &StatRecord)| {
        let found = stat.found.numbers();
        StatShort {
            name: name.to_owned(),
            op: stat.op.clone(),
            unit: stat.unit.clone(),
            rows: stat.rows,
            missing: stat.missing,
            min: found.and_then(|found| found.min),
            median: found.and_then(|found| found.percentile("50")),
            p99: found.and_then(|found| found.percentile("99")),
            max: found.and_then(|found| found.max),
            would_drop: stat.would_drop,
        }
    };
    AnalyzeAnswer {
        analysis: files.json(),
        stats_jsonl: files.jsonl(),
        stats_parquet: files.parquet(),
        suggested: suggested.cloned(),
        rows: analysis.rows.read,
        unreadable: analysis.rows.unreadable,
        images: analysis.images.references,
        images_missing: analysis.images.missing,
        images_broken: analysis.images.broken.values().sum(),
        same_text: analysis.duplicates.text.rows as u64,
        same_image: analysis.duplicates.image.rows as u64,
        stats: analysis.stats.iter().map(short).collect(),
    }
}

fn suggested(
    recipe: &Recipe,
    analysis: &Analysis,
    files: &AnalysisFiles,
    rule: RuleArg,
    path: &Path,
) -> Result<(), String> {
    let rule = match rule {
        RuleArg::Percentiles => Rule::Percentiles,
        RuleArg::Sigma => Rule::ThreeSigma,
    };
    let stem = path
        .file_stem()
        .map_or_else(|| "suggested".into(), |stem| stem.to_string_lossy());
    let output = Target::File(format!("{stem}_clean.jsonl").into());
    let text = suggest(recipe, analysis, files, rule, output).map_err(|e| e.to_string())?;
    let mut file = PendingFile::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.commit())
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(())
}

/// The recipe to measure by, over the input that the command line names.
fn load(args: &Args, ui: &Ui) -> Result<Recipe, Exit> {
    let cwd = runner::working_dir(ui)?;
    let mut named = [args.input.as_slice(), &args.more].concat();
    let mut recipe_file = args.recipe.clone();
    let recipes: Vec<&PathBuf> = named.iter().filter(|path| run::is_recipe(path)).collect();
    match (named.as_slice(), recipes.as_slice(), &recipe_file) {
        (_, [], _) => {}
        ([_], [_], None) => recipe_file = named.pop(),
        _ => {
            return Err(ui.usage(
                "a recipe is named where rows are asked for",
                Some("djr analyze ROWS --recipe RECIPE -o DIR"),
            ));
        }
    }
    if named.is_empty() && recipe_file.is_none() {
        return Err(ui.usage(
            "neither rows nor a recipe are named",
            Some("djr analyze data.jsonl -o DIR; - is standard input"),
        ));
    }
    past::look(named.iter().map(PathBuf::as_path), ui)?;
    let from_stdin = named.iter().any(|path| path.as_os_str() == "-");
    let input = inputs(&named, ui)?;
    let mut sets = args.set.clone();
    if let Some(root) = &args.image_root {
        let Some(root) = root.to_str() else {
            return Err(ui.usage(
                &format!("--image-root: the name is no Unicode: {}", root.display()),
                Some("name it by a link to it"),
            ));
        };
        // As YAML a path may mean something else.
        sets.push(("image_root".into(), Value::from(root).to_string()));
    }
    if let Some(key) = &args.text_key {
        sets.push(("text_keys".into(), Value::from(key.as_str()).to_string()));
    }
    let options = LoadOptions {
        sets,
        input,
        peers: Some(run::peers(args.python.as_deref(), &cwd)),
        max_memory: args.max_memory,
        ..LoadOptions::new(cwd)
    };
    let recipe = match &recipe_file {
        Some(path) => crate::recipe::load(&run::source(path, from_stdin, ui)?, &options),
        None => analysis::default_recipe(options),
    };
    let recipe = recipe.map_err(|problems| ui.problems(&problems))?;
    let edits = |step: &&Step| {
        let spec = &step.spec;
        spec.kind.makes_rows() || spec.kind == OpKind::Census && !spec.measures()
    };
    if let Some(step) = recipe.steps.iter().find(edits) {
        return Err(ui.usage(
            &format!(
                "{} makes other rows of the rows it reads, and an analysis measures those that are read",
                step.name
            ),
            Some("run the recipe up to it, and analyze what it wrote"),
        ));
    }
    if analysis::stat::stats_of(&recipe.steps).is_empty() && recipe_file.is_some() {
        ui.notes(&[Note::new(
            Code::NothingMeasured,
            "the recipe has no filter that measures; only images and captions are looked at",
        )]);
    }
    Ok(recipe)
}

/// The findings in a few lines.
fn told(analysis: &Analysis, recipe: &Recipe) -> String {
    let (rows, images) = (&analysis.rows, &analysis.images);
    let duplicates = &analysis.duplicates;
    let mut lines = vec![
        format!(
            "rows {}, measured {}, unreadable {}",
            thousands(rows.read),
            thousands(rows.measured),
            thousands(rows.unreadable)
        ),
        format!(
            "images {}, missing {}, broken {}",
            thousands(images.references),
            thousands(images.missing),
            thousands(images.broken.values().sum())
        ),
        format!(
            "rows with the same text {}, with the same image {}",
            thousands(duplicates.text.rows as u64),
            thousands(duplicates.image.rows as u64)
        ),
    ];
    lines.push(explain::paths_start(recipe));
    let tokens = special_tokens([&recipe.image_special_token, &recipe.eoc_special_token]);
    lines.extend(Some(tokens).filter(|told| !told.is_empty()));
    let names = analysis.stats.iter().map(|(name, _)| name.len());
    let width = names.max().unwrap_or(0);
    lines.push(format!(
        "{:width$} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "", "missing", "min", "median", "p99", "max"
    ));
    for (name, stat) in analysis.stats.iter() {
        let found = stat.found.numbers();
        let number = |of: fn(&Summary) -> Option<f64>| {
            found.and_then(of).map_or_else(|| "-".to_owned(), short)
        };
        lines.push(format!(
            "{name:width$} {:>12} {:>12} {:>12} {:>12} {:>12}",
            stat.missing,
            number(|found| found.min),
            number(|found| found.percentile("50")),
            number(|found| found.percentile("99")),
            number(|found| found.max),
        ));
    }
    lines.join("\n")
}

/// A number in few characters.
fn short(number: f64) -> String {
    if number.fract() == 0.0 {
        format!("{number}")
    } else {
        format!("{number:.4}")
    }
}
