//! `djr analyze`: every stat of every row, nothing dropped.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::{RunArgs, inputs};
use super::runner::Signals;
use super::{Exit, error, note, notes, run, runner};
use crate::analysis;
use crate::analysis::suggest::{Rule, suggest};
use crate::exec::{Observer, RunError};
use crate::io::PendingFile;
use crate::layout::AnalysisFiles;
use crate::note::{Code, Note};
use crate::op::OpKind;
use crate::recipe::{LoadOptions, Recipe, Step, Target, Validation, check_local, check_place};
use crate::record::Analysis;
use crate::record::analysis::Summary;
use crate::report::progress::Progress;
use crate::report::table::thousands;

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
    #[arg(long = "input", short, value_name = "PATH")]
    more: Vec<PathBuf>,
    /// Measure by the filters of this recipe, its mappers in their places [default: a set of filters
    /// that need no word lists and no models].
    #[arg(long, short, value_name = "RECIPE")]
    recipe: Option<PathBuf>,
    /// Where to write; made if it is not there.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Relative image paths start here [default: the input's directory].
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// How far images are looked at. Below decode, broken ones and copies are not found.
    #[arg(long, value_name = "LEVEL", default_value = "decode")]
    validate: Validation,
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Memory that rows in flight may take, e.g. 512MiB.
    #[arg(long, value_name = "SIZE", value_parser = super::args::parse_size)]
    max_memory: Option<u64>,
    /// Rows a batch; for tests of this program, the outcome is the same for any number.
    #[arg(long, value_name = "N", hide = true)]
    batch_rows: Option<usize>,
    /// Print errors only.
    #[arg(long, short)]
    quiet: bool,
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
pub fn main(args: &Args) -> Exit {
    let machine = RunArgs {
        threads: args.threads,
        max_memory: args.max_memory,
        on_error: None,
        max_quarantine: None,
        resume: false,
        restart: false,
        checkpoint_every: None,
        run_dir: None,
        python: None,
        devices: Vec::new(),
        batch_rows: args.batch_rows,
        quiet: args.quiet,
    };
    if let Some(path) = &args.suggest
        && let Err(problem) = check_place(Path::new(""), path)
    {
        error(&problem.what, Some(&problem.hint));
        return Exit::Usage;
    }
    if let Err(problem) = check_local(&args.output) {
        error(&problem.what, Some(&problem.hint));
        return Exit::Usage;
    }
    if let Some(path) = args.suggest.as_ref().filter(|path| path.exists()) {
        error(
            &format!("{}: is there already", path.display()),
            Some("--suggest names a new file; --recipe names one to measure by"),
        );
        return Exit::Usage;
    }
    let recipe = match load(args) {
        Ok(recipe) => recipe,
        Err(exit) => return exit,
    };
    let signals = Signals::watch();
    let options = match runner::options(&recipe, &machine, &signals) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let files = AnalysisFiles::new(&args.output);
    let mut progress = (!args.quiet).then(|| Progress::new(runner::input_bytes(&recipe)));
    let mut silent = ();
    let observer: &mut dyn Observer = match &mut progress {
        Some(progress) => progress,
        None => &mut silent,
    };
    let outcome = analysis::analyze(&recipe, &options, args.validate, &files, observer);
    drop(progress);
    match outcome {
        Ok(analysis) => {
            if !args.quiet {
                note(&told(&analysis));
                notes(&analysis.notes);
                note(&format!("analysis: {}", files.json().display()));
            }
            if let Some(path) = &args.suggest
                && let Err(message) = suggested(&recipe, &analysis, &files, args.bounds, path)
            {
                error(&message, Some("the analysis itself was written"));
                return Exit::Failed;
            }
            if analysis.rows.unreadable > 0 {
                Exit::Losses
            } else {
                Exit::Success
            }
        }
        Err(RunError::Interrupted) => {
            note("interrupted: no analysis was written");
            signals.exit()
        }
        Err(failure) => {
            error(&failure.to_string(), Some("no analysis was written"));
            Exit::Failed
        }
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
    note(&format!("suggested recipe: {}", path.display()));
    Ok(())
}

/// The recipe to measure by, over the input that the command line names.
fn load(args: &Args) -> Result<Recipe, Exit> {
    let cwd = std::env::current_dir().map_err(|e| {
        error(&format!("the working directory cannot be read: {e}"), None);
        Exit::Usage
    })?;
    let named = [args.input.as_slice(), &args.more].concat();
    if named.is_empty() && args.recipe.is_none() {
        error(
            "neither rows nor a recipe are named",
            Some("djr analyze data.jsonl -o DIR; - is standard input"),
        );
        return Err(Exit::Usage);
    }
    let input = inputs(&named)?;
    let mut sets = args.set.clone();
    if let Some(root) = &args.image_root {
        let Some(root) = root.to_str() else {
            error(
                &format!("--image-root: the name is no Unicode: {}", root.display()),
                Some("name it by a link to it"),
            );
            return Err(Exit::Usage);
        };
        // As YAML a path may mean something else.
        sets.push(("image_root".into(), Value::from(root).to_string()));
    }
    let options = LoadOptions {
        sets,
        input,
        ..LoadOptions::new(cwd)
    };
    let recipe = match &args.recipe {
        Some(path) => {
            crate::recipe::load(&crate::recipe::RecipeSource::File(path.clone()), &options)
        }
        None => analysis::default_recipe(options),
    };
    let recipe = recipe.map_err(|problems| {
        note(problems.to_string().trim_end());
        Exit::Usage
    })?;
    let edits = |step: &&Step| step.spec.kind.makes_rows() || step.spec.kind == OpKind::Census;
    if let Some(step) = recipe.steps.iter().find(edits) {
        error(
            &format!(
                "{} makes other rows of the rows it reads, and an analysis measures those that are read",
                step.name
            ),
            Some("run the recipe up to it, and analyze what it wrote"),
        );
        return Err(Exit::Usage);
    }
    if analysis::stat::stats_of(&recipe.steps).is_empty() && args.recipe.is_some() && !args.quiet {
        notes(&[Note::new(
            Code::NothingMeasured,
            "the recipe has no filter that measures; only images and captions are looked at",
        )]);
    }
    Ok(recipe)
}

/// The findings in a few lines.
fn told(analysis: &Analysis) -> String {
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
