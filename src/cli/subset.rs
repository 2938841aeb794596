//! `djr subset`: exactly N rows.

use std::path::{Path, PathBuf};

use super::args::{RunArgs, inputs};
use super::{Exit, error, note, notes, runner};
use crate::exec::RunError;
use crate::exec::setup::hold_lines;
use crate::exec::subset::{self, LineSample};
use crate::io::format::OutputFormat;
use crate::recipe::{
    self, Inputs, OutputSpec, PathStyle, Recipe, Sampler, Target, Validation, find_inputs,
};
use crate::report::table::thousands;

const EXAMPLES: &str = "\
Examples:
  djr subset --n 10000 data.jsonl -o 10k.jsonl
  djr subset --n 200000 --sampler python --seed 1024 data.jsonl -o 200k.jsonl
  djr subset --n 10000 --image-root /data --paths absolute data.jsonl -o 10k.jsonl
  cat data.jsonl | djr subset --n 100 | head

Without --image-root, --validate or --paths rows are copied byte for byte, each on its line. Exit
code 1 if there are fewer rows than asked for.";

/// Take exactly N rows, uniformly, without replacement.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rows: files or directories, in order; - or nothing is standard input.
    input: Vec<PathBuf>,
    /// The same as INPUT; repeatable.
    #[arg(long = "input", short, value_name = "PATH")]
    more: Vec<PathBuf>,
    /// How many rows.
    #[arg(long, value_name = "N")]
    n: u64,
    /// The file to write; - or nothing is standard output.
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// The same seed and input give the same rows.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// How rows are drawn.
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    sampler: Sampler,
    /// Write rows in random order instead of input order.
    #[arg(long)]
    shuffle: bool,
    /// Relative image paths start here; implies --validate decode.
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// How far images are checked; a row that fails is replaced by the next one drawn.
    #[arg(long, value_name = "LEVEL")]
    validate: Option<Validation>,
    /// How image paths are written.
    #[arg(long, value_name = "STYLE")]
    paths: Option<PathStyle>,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the command.
pub fn main(args: &Args) -> Exit {
    let ends = ends(
        &[args.input.as_slice(), &args.more].concat(),
        args.output.as_ref(),
        None,
        args.image_root.as_ref(),
    );
    let (inputs, target, format) = match ends {
        Ok(ends) => ends,
        Err(exit) => return exit,
    };
    if args.shuffle && args.sampler == Sampler::Python {
        error(
            "--shuffle has no effect with --sampler python, which gives the order, too",
            Some("leave one of them out"),
        );
        return Exit::Usage;
    }
    let implied = if args.image_root.is_some() {
        Validation::Decode
    } else {
        Validation::None
    };
    let validate = args.validate.unwrap_or(implied);
    let paths = args.paths.unwrap_or(PathStyle::Keep);
    let packed = target.path().is_some_and(recipe::is_packed);
    let as_they_are = !packed
        && validate == Validation::None
        && paths == PathStyle::Keep
        && format == OutputFormat::ROWS;
    match as_they_are.then(|| hold_lines(&inputs)).transpose() {
        Ok(Some(true)) => return copy_lines(args, &inputs, &target),
        Ok(_) => {}
        Err(failure) => return failed(&failure),
    }
    let output = OutputSpec {
        paths,
        validate,
        sample: Some(args.n),
        seed: args.seed,
        sampler: args.sampler,
        shuffle: args.shuffle,
        ..OutputSpec::new(format, target)
    };
    let mut recipe = Recipe::bare("subset", inputs, output);
    recipe.image_root.clone_from(&args.image_root);
    if let Some(on_error) = args.run.on_error {
        recipe.on_error = on_error;
    }
    runner::run(&recipe, &args.run)
}

fn copy_lines(args: &Args, inputs: &Inputs, target: &Target) -> Exit {
    let said = args.run.said();
    if let Some(first) = said.first() {
        let (is, it) = if said.len() == 1 {
            ("has", "it")
        } else {
            ("have", "them")
        };
        error(
            &format!(
                "{} {is} no effect where lines are copied as they are",
                said.join(", ")
            ),
            Some(&format!(
                "leave {it} out; with --validate exists, say, rows are read and checked, and {first} counts"
            )),
        );
        return Exit::Usage;
    }
    let sample = LineSample {
        rows: args.n,
        seed: args.seed,
        sampler: args.sampler,
        shuffle: args.shuffle,
    };
    match subset::copy(inputs, target, &sample) {
        Ok(copied) => {
            if copied.written < args.n {
                note(&format!(
                    "notice: there are only {} rows; all were taken",
                    thousands(copied.written)
                ));
            }
            if !args.run.quiet {
                note(&format!(
                    "{} of {} rows written",
                    thousands(copied.written),
                    thousands(copied.rows)
                ));
            }
            if copied.unusable > 0 {
                note(&format!(
                    "{} rows cannot be copied and were not drawn: the input is cut short, or is no JSON there",
                    thousands(copied.unusable)
                ));
            }
            if copied.written < args.n || copied.unusable > 0 {
                Exit::Losses
            } else {
                Exit::Success
            }
        }
        Err(RunError::BrokenPipe) => Exit::Success,
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &RunError) -> Exit {
    error(&failure.to_string(), None);
    match failure {
        RunError::Source(error) if error.is_of_input() => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// Where rows come from and go to, checked to be there, and the format of the output, which its
/// name says if nobody else does.
pub(super) fn ends(
    input: &[PathBuf],
    output: Option<&PathBuf>,
    format: Option<OutputFormat>,
    image_root: Option<&PathBuf>,
) -> Result<(Inputs, Target, OutputFormat), Exit> {
    let dash = |path: &PathBuf| path.as_os_str() == "-";
    let inputs = match inputs(input)? {
        Some(Inputs::Files(given)) => {
            let (files, found) = find_inputs(&given).map_err(|problems| {
                for problem in &problems {
                    error(&problem.message, problem.hint.as_deref());
                }
                Exit::Usage
            })?;
            notes(&found);
            Inputs::Files(files)
        }
        other => other.unwrap_or(Inputs::Stdin),
    };
    if let Some(root) = image_root
        && !root.is_dir()
    {
        error(
            &format!("{}: --image-root is not a directory", root.display()),
            None,
        );
        return Err(Exit::Usage);
    }
    let here = Path::new("");
    let checked = match (output, format) {
        (None, format) => Ok(format.unwrap_or(OutputFormat::ROWS)),
        (Some(path), None) if dash(path) => Ok(OutputFormat::ROWS),
        (Some(path), None) => recipe::check_named(here, path),
        (Some(path), Some(format)) => recipe::check_path(here, path, Some(format)).map(|_| format),
    };
    let format = checked.map_err(|problem| {
        error(&problem.what, Some(&problem.hint));
        Exit::Usage
    })?;
    let target = match output {
        Some(path) if !dash(path) => Target::at(path.clone()),
        _ => Target::Stdout,
    };
    if let Target::File(out) = &target
        && let Err(problem) = recipe::check_writable(out)
    {
        error(&problem.what, Some(&problem.hint));
        return Err(Exit::Usage);
    }
    if let (Inputs::Files(files), Target::File(out)) = (&inputs, &target) {
        let same = |file: &PathBuf| match (std::fs::canonicalize(file), std::fs::canonicalize(out))
        {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        if files.iter().any(same) {
            error(
                &format!("{}: the output is also an input", out.display()),
                Some("write to another file"),
            );
            return Err(Exit::Usage);
        }
    }
    Ok((inputs, target, format))
}
