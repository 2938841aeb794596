//! `djr check`: is a recipe sound, and is everything it names there?

use std::path::PathBuf;

use super::args::RunArgs;
use super::{Exit, explain, note, notes};
use crate::exec;

const EXAMPLES: &str = "\
Example:
  djr check recipe.yaml --input data.jsonl

Every problem is shown at once, with its line and a hint. Notes say what may surprise: docs/NOTES.md.";

/// Check a recipe and the paths it names, and look at the first 1,000 rows of its inputs.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recipe.
    recipe: PathBuf,
    /// Check with this input instead of the recipe's dataset; repeatable.
    #[arg(long, short, value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Check with this output instead of the recipe's `export_path`.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Override a key of the recipe; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::run::parse_set)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    run: RunArgs,
}

/// How many inputs are named.
const READS_SHOWN: usize = 20;

/// Runs the command.
pub fn main(args: &Args) -> Exit {
    match super::run::load(
        &args.recipe,
        args.set.clone(),
        &args.input,
        args.output.as_ref(),
        &args.run,
    ) {
        Ok(recipe) => {
            if !args.run.quiet {
                for line in explain::reads(&recipe).lines().take(READS_SHOWN) {
                    note(line);
                }
                let here = std::env::current_dir().unwrap_or_default();
                notes(&exec::all_notes(&recipe, &here));
                note(&format!(
                    "{}: sound, {} operators",
                    args.recipe.display(),
                    recipe.steps.len()
                ));
            }
            Exit::Success
        }
        Err(exit) => exit,
    }
}
