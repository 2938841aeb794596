//! `djr run`: a recipe over a dataset.

use std::path::PathBuf;

use super::args::{RunArgs, inputs};
use super::{Exit, data, error, explain, note, runner};
use crate::exec::{self, StepProbe};
use crate::plan::Plan;
use crate::recipe::{self, LoadOptions, Recipe, RecipeSource, Target};

const EXAMPLES: &str = "\
Examples:
  djr run recipe.yaml
  djr run recipe.yaml --input data.jsonl --output out/clean.jsonl
  djr run recipe.yaml --input data.jsonl --input rows.jsonl --output out/clean.jsonl
  djr run recipe.yaml --explain --probe
  djr run recipe.yaml --set text_length_filter.max_len=200 --set np=4
  cat rows.jsonl | djr run recipe.yaml --input - --output - | head

Inputs are JSON Lines, JSON arrays, or JSON objects over several lines, as they are or packed by
gzip, zstd, bzip2 or xz: found by their content, whatever they are called.";

/// Run a recipe over a dataset.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recipe: a Data-Juicer YAML file.
    recipe: PathBuf,
    /// Read rows from here instead of the recipe's dataset: a file, a directory or a pattern; - is
    /// standard input. Repeatable.
    #[arg(long, short, value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Write rows here instead of the recipe's `export_path`; - is standard output.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Override a key of the recipe, e.g. np=4 or `text_length_filter.min_len=5`; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
    /// Print the plan and stop.
    #[arg(long)]
    explain: bool,
    /// With --explain: measure on the first rows what each operator costs and how many it ends.
    #[arg(long, value_name = "ROWS", requires = "explain", num_args = 0..=1, default_missing_value = "1000")]
    probe: Option<usize>,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the command.
pub fn main(args: &Args) -> Exit {
    let recipe = match load(
        &args.recipe,
        args.set.clone(),
        &args.input,
        args.output.as_ref(),
        &args.run,
    ) {
        Ok(recipe) => recipe,
        Err(exit) => return exit,
    };
    if args.explain {
        let probed = match args.probe.map(|rows| probe(&recipe, rows)).transpose() {
            Ok(probed) => probed,
            Err(exit) => return exit,
        };
        let plan = match Plan::of(&recipe) {
            Ok(plan) => plan,
            Err(failure) => {
                error(&failure.to_string(), None);
                return Exit::Usage;
            }
        };
        return data(&explain::render(&recipe, &plan, probed.as_deref()));
    }
    runner::run(&recipe, &args.run)
}

/// Measures the first rows of the inputs.
fn probe(recipe: &Recipe, rows: usize) -> Result<Vec<Option<StepProbe>>, Exit> {
    let working_dir = std::env::current_dir().unwrap_or_default();
    exec::probe(recipe, &working_dir, rows).map_err(|failure| {
        error(&failure.to_string(), None);
        Exit::Failed
    })
}

/// Loads a recipe and prints every problem if it is not sound.
pub(super) fn load(
    path: &std::path::Path,
    mut sets: Vec<(String, String)>,
    input: &[PathBuf],
    output: Option<&PathBuf>,
    run: &RunArgs,
) -> Result<Recipe, Exit> {
    let cwd = std::env::current_dir().map_err(|e| {
        error(&format!("the working directory cannot be read: {e}"), None);
        Exit::Usage
    })?;
    if let Some(on_error) = run.on_error {
        sets.push(("on_error".into(), on_error.word().into()));
    }
    let dash = |path: &PathBuf| path.as_os_str() == "-";
    let options = LoadOptions {
        sets,
        input: inputs(input)?,
        output: output.map(|path| {
            if dash(path) {
                Target::Stdout
            } else {
                Target::File(path.clone())
            }
        }),
        ..LoadOptions::new(cwd)
    };
    recipe::load(&RecipeSource::File(path.to_owned()), &options).map_err(|problems| {
        note(problems.to_string().trim_end());
        Exit::Usage
    })
}

pub(super) fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}
