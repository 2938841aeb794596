//! `djr check`: is a recipe sound, and is everything it names there; or, with `--for`, will a
//! program that trains read a file?

use std::path::PathBuf;

use super::args::{RunArgs, refuse};
use super::run::{Asked, load};
use super::ui::{AsJson, Ui};
use super::{Exit, explain, past, preflight, runner};
use crate::answer::{CheckAnswer, RecipeChecked};
use crate::exec;
use crate::io::Input;
use crate::op::Service;
use crate::recipe::Validation;
use crate::trainer::{Template, TrainerRef};

const EXAMPLES: &str = "\
Examples:
  djr check recipe.yaml --input data.jsonl
  djr check --for llava train.json
  djr check --for ms_swift train.jsonl --max-tokens 4096 --fix sound.jsonl

Every problem is shown at once, with its line and a hint. Notes say what may surprise: docs/NOTES.md.

With --for, what the loader of that program would stumble over: each row, the reason, what the
loader does about it and what cures it (docs/TRAINERS.md lists all). Exit code 1 if there is
anything.";

/// Check a recipe and the paths it names, and look at the first 1,000 rows of its inputs; or check a
/// file for who will read it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recipe; with --for, files for training.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Check files for the program that will read them.
    #[arg(long = "for", value_name = "TRAINER", value_parser = parse_trainer, conflicts_with_all = ["input", "output", "set"])]
    trainer: Option<TrainerRef>,
    #[command(flatten)]
    of_files: TrainerArgs,
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
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// How many inputs are named.
const READS_SHOWN: usize = 20;

/// What is said of files for training, and of the training.
#[derive(Debug, clap::Args)]
pub struct TrainerArgs {
    /// With --for: the chat template, where the program has several.
    #[arg(long, value_name = "NAME", default_value = "v1", requires = "trainer")]
    pub template: Template,
    /// With --for: how many tokens a row may have [default: as the program has it].
    #[arg(long, value_name = "N", requires = "trainer")]
    pub max_tokens: Option<u64>,
    /// With --for: a tokenizer.json or SentencePiece model that counts tokens [default: estimated].
    #[arg(long, value_name = "FILE", requires = "trainer")]
    pub tokenizer: Option<PathBuf>,
    /// With --for: relative image paths start here [default: where the program looks].
    #[arg(long, value_name = "DIR", requires = "trainer")]
    pub image_root: Option<PathBuf>,
    /// With --for: how far images are checked [default: decode].
    #[arg(long, value_name = "LEVEL", requires = "trainer")]
    pub validate: Option<Validation>,
    /// With --for: write the file without the rows that fail.
    #[arg(long, value_name = "OUT", requires = "trainer")]
    pub fix: Option<PathBuf>,
    /// With --for: show every row that fails, not the first ten of each kind.
    #[arg(long, requires = "trainer")]
    pub all: bool,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let read = args.files.iter().chain(&args.input);
    if let Err(exit) = past::look(read.map(std::path::PathBuf::as_path), ui) {
        return exit;
    }
    let unused: &[&str] = match args.trainer {
        Some(_) => &["--on-error", "--python"],
        None => &["--threads", "--max-memory", "--force"],
    };
    let here = match args.trainer {
        Some(_) => "on files for training",
        None => "on a recipe",
    };
    if let Err(exit) = refuse(unused, here, ui) {
        return exit;
    }
    if let Some(trainer) = args.trainer {
        return preflight::main(trainer, &args.files, &args.of_files, &args.run, ui);
    }
    let [file] = args.files.as_slice() else {
        return ui.usage(
            "one recipe is checked at a time",
            Some("files for training are checked with --for TRAINER"),
        );
    };
    let asked = Asked {
        sets: args.set.clone(),
        input: &args.input,
        output: args.output.as_ref(),
        run: &args.run,
    };
    let recipe = match load(file, asked, ui) {
        Ok(recipe) => recipe,
        Err(exit) => return exit,
    };
    let reads = explain::reads(&recipe);
    for line in reads.lines().take(READS_SHOWN) {
        ui.info(line);
    }
    ui.info(&explain::paths_start(&recipe));
    for step in &recipe.steps {
        if let Some(Service::Peer(peer)) = &step.spec.service {
            ui.info(&format!(
                "{} runs in {}",
                step.name,
                explain::peer_words(peer)
            ));
        }
    }
    let here = std::env::current_dir().unwrap_or_default();
    if let Err(failure) = exec::check_outputs(&recipe, &here) {
        let (exit, problem) = runner::failed(&failure, None);
        ui.problem(problem);
        return exit;
    }
    ui.all_notes(&exec::all_notes(&recipe, &here));
    ui.info(&format!(
        "{}: sound, {} operators",
        file.display(),
        recipe.steps.len()
    ));
    ui.result(&CheckAnswer {
        recipe: Some(RecipeChecked {
            file: recipe.name.clone(),
            steps: recipe
                .steps
                .iter()
                .map(|step| step.name.to_owned())
                .collect(),
            inputs: exec::setup::inputs(&recipe)
                .iter()
                .map(Input::name)
                .collect(),
            outputs: recipe
                .outputs
                .iter()
                .map(|o| o.target.to_string())
                .collect(),
        }),
        ..CheckAnswer::default()
    });
    Exit::Success
}

/// Reads the name of a trainer.
///
/// # Errors
/// Those there are.
pub fn parse_trainer(word: &str) -> Result<TrainerRef, String> {
    TrainerRef::from_word(word).ok_or_else(|| format!("there are {}", TrainerRef::WORDS.join(", ")))
}
