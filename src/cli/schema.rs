//! `djr schema`: JSON Schemas of recipes, of what runs leave, and of what commands answer.

use super::Exit;
use super::ui::Ui;
use crate::catalog;

const EXAMPLES: &str = "\
Examples:
  djr schema                  of a recipe, for editors and validators
  djr schema manifest         of manifest.json
  djr schema run              of the answer of djr run --json

docs/SCHEMAS.md shows all of them.";

/// Print the JSON Schema of a recipe, of a file that a run leaves, or of a command's answer.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What: recipe, a file of a run, a command, or log.
    #[arg(default_value = "recipe", hide_default_value = true)]
    of: String,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    match catalog::schema_of(&args.of) {
        Some(schema) => ui.data(&format!("{schema:#}\n")),
        None => ui.usage(
            &format!("there is no schema of '{}'", args.of),
            Some(&format!("there are {}", catalog::schema_names().join(", "))),
        ),
    }
}
