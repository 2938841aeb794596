//! `djr recut`: new bounds for stats that are stored already.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::args::RunArgs;
use super::ui::{AsJson, Ui};
use super::{Exit, dry_run, past, run, runner};
use crate::analysis::recut::{self, Recut, RecutError, RecutOutput};
use crate::recipe;
use crate::record::RecordError;
use crate::report::table::thousands;

const EXAMPLES: &str = "\
Examples:
  djr recut look --set text_length_filter.max_len=120 -o short.jsonl
  djr recut out/clean.jsonl --set text_length_filter.max_len=90 -o shorter.jsonl
  djr recut look --target 100 --by words_num_filter.max_num -o 100.jsonl

The outcome is that of the changed recipe run afresh, without measuring again: no image is decoded
whose stats are stored. Deduplicators of images, and filters behind a step that decides among all
rows, look at the images of the rows that reach them; a note says so.";

/// Apply new bounds to the stats that an analysis or a run stored.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory of an analysis, or a run: its .djr directory, or one of its outputs.
    stats: PathBuf,
    /// A new bound, e.g. `text_length_filter.max_len=120`; repeatable.
    #[arg(long, value_name = "FILTER.BOUND=VALUE", value_parser = run::parse_set)]
    set: Vec<(String, String)>,
    /// Find the value of the bound --by that leaves this many rows, or as few more as there must be.
    #[arg(long, value_name = "ROWS", requires = "by")]
    target: Option<u64>,
    /// The bound to find, e.g. `text_length_filter.max_len`.
    #[arg(long, value_name = "FILTER.BOUND", requires = "target")]
    by: Option<String>,
    /// A JSONL file to write; or a directory, ending in /, for all outputs of the recipe.
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    run: RunArgs,
    /// Say what would be read, written and overwritten, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    if let Err(exit) = past::look([args.stats.as_path()], ui) {
        return exit;
    }
    let failure = match prepare(args, ui) {
        Ok(recut) => {
            ui.notes(&recut.notes);
            if args.dry_run {
                let stats = Some(recut.cached_stats);
                return dry_run::run(&recut.recipe, &args.run, stats, ui);
            }
            return runner::run_with_cached(&recut.recipe, &args.run, recut.cached_stats, ui);
        }
        Err(failure) => failure,
    };
    refuse(&failure, ui)
}

/// Says why nothing can be recut.
pub(super) fn refuse(failure: &RecutError, ui: &Ui) -> Exit {
    match failure {
        RecutError::Refused { message, hint } => ui.error("cannot_recut", message, Some(hint)),
        RecutError::Read { .. } => {
            let hint = "name the directory of an analysis or a run";
            ui.error("cannot_read", &failure.to_string(), Some(hint));
        }
        RecutError::Record(RecordError::NoRun(_)) => {
            let hint =
                "name the directory of an analysis, a run's .djr directory, or one of its outputs";
            ui.error("no_run", &failure.to_string(), Some(hint));
        }
        RecutError::Record(record) => ui.record(record),
        RecutError::Recipe(problems) => return ui.problems(problems),
    }
    Exit::Usage
}

fn prepare(args: &Args, ui: &Ui) -> Result<Recut, RecutError> {
    let refused = |message: &str, hint: &str| RecutError::Refused {
        message: message.into(),
        hint: hint.into(),
    };
    let cwd = std::env::current_dir()
        .map_err(|e| refused(&format!("the working directory cannot be read: {e}"), ""))?;
    if args.set.is_empty() && args.target.is_none() {
        return Err(refused(
            "no new bound is given",
            "give --set FILTER.BOUND=VALUE, or --target ROWS --by FILTER.BOUND",
        ));
    }
    let path = args.output.as_path();
    let output = if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        RecutOutput::Directory(path.to_owned())
    } else {
        if let Err(problem) = recipe::check_named(Path::new(""), path) {
            return Err(refused(&problem.what, &problem.hint));
        }
        RecutOutput::File(path.to_owned())
    };
    let mut sets = args.set.clone();
    let known = run::peers(args.run.python.as_deref(), &cwd);
    let peers = || Some(Rc::clone(&known));
    let recut = recut::prepare(&args.stats, sets.clone(), &output, &cwd, peers())?;
    let (Some(target), Some(by)) = (args.target, &args.by) else {
        return Ok(recut);
    };
    let (op, param) = by
        .split_once('.')
        .ok_or_else(|| refused(&format!("--by {by} names no bound"), "write FILTER.BOUND"))?;
    let mut open = sets.clone();
    open.push((by.clone(), recut.open(op, param)?));
    let open = recut::prepare(&args.stats, open, &output, &cwd, peers())?;
    let value = open.search(op, param, target)?;
    sets.push((by.clone(), value.clone()));
    let recut = recut::prepare(&args.stats, sets, &output, &cwd, peers())?;
    let left = recut.left()?;
    if left < target {
        return Err(refused(
            &format!(
                "no value of {by} leaves {target} rows: rows of several images depend on more than it"
            ),
            "try bounds with --set, and look at the rows that each leaves",
        ));
    }
    ui.info(&format!(
        "{by}={value} leaves {} rows to the outputs",
        thousands(left)
    ));
    Ok(recut)
}
