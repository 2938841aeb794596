//! `djr run`: a recipe over a dataset.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;

use super::args::{RunArgs, inputs};
use super::ui::{AsJson, Ui};
use super::{Exit, dry_run, explain, finish, runner, tasks};
use crate::answer::{RunAnswer, RunState};
use crate::exec::tasks::{Cut, TaskId, Work};
use crate::exec::{self, Probe};
use crate::op::Peers;
use crate::plan::Plan;
use crate::recipe::{self, LoadOptions, Recipe, RecipeSource, Target};
use crate::service::{self, PeerPython};

const EXAMPLES: &str = "\
Examples:
  djr run recipe.yaml
  djr run recipe.yaml --input data.jsonl --output out/clean.jsonl
  djr run recipe.yaml --input data.jsonl --input rows.jsonl --output out/clean.jsonl
  djr run recipe.yaml --explain --probe
  djr run recipe.yaml --estimate 200
  djr run recipe.yaml --set text_length_filter.max_len=200 --set np=4
  djr run recipe.yaml --if-changed --tolerate 0.1% --log-format json
  cat rows.jsonl | djr run recipe.yaml --input - --output - | head

Data-Juicer's command lines work, too: --config, --np, --dataset_path, --export_path, and a key or
OPERATOR.PARAMETER as an option (--text_length_filter.max_len 200).

Inputs are JSON Lines, JSON arrays, or JSON objects over several lines, as they are or packed by
gzip, zstd, bzip2 or xz: found by their content, whatever they are called.";

/// Run a recipe over a dataset.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recipe: a Data-Juicer YAML file; - reads it from standard input.
    recipe: PathBuf,
    /// Read rows from here instead of the recipe's dataset: a file, a directory or a pattern; - is
    /// standard input. Repeatable.
    #[arg(long, short, alias = "dataset_path", value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Write rows here instead of the recipe's `export_path`; - is standard output.
    #[arg(long, short, alias = "export_path", value_name = "PATH")]
    output: Option<PathBuf>,
    /// Override a key of the recipe, e.g. np=4 or `text_length_filter.min_len=5`; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
    /// Print the plan and stop.
    #[arg(long, alias = "dry-run")]
    explain: bool,
    /// With --explain: measure on the first rows what each operator costs and how many it ends, and
    /// estimate time, memory and disk of the whole run.
    #[arg(long, value_name = "ROWS", requires = "explain", num_args = 0..=1, default_missing_value = "1000")]
    probe: Option<usize>,
    /// Ask servers about the first rows only, tell what the whole run would take and cost, and stop. A
    /// run does not pay for these answers again.
    #[arg(long, value_name = "ROWS", conflicts_with = "explain", num_args = 0..=1, default_missing_value = "100")]
    estimate: Option<usize>,
    /// Do it by the tasks of a plan in this directory, or at this URL of a store, which is made if
    /// there is none: so a run goes on that other machines share, or that was killed. The outcome is
    /// the same.
    #[arg(long, value_name = "DIR|URL", conflicts_with_all = ["explain", "estimate", "if_changed"])]
    tasks: Option<PathBuf>,
    /// With --tasks: about how many bytes of rows a task reads.
    #[arg(long, value_name = "SIZE", requires = "tasks", value_parser = tasks::parse_task_bytes, default_value = "256MiB", hide_default_value = true)]
    task_bytes: u64,
    /// With --tasks: how many tasks look for the duplicates of a step, instead of the process that
    /// decides.
    #[arg(long, value_name = "N", requires = "tasks", value_parser = clap::value_parser!(u16).range(1..))]
    partitions: Option<u16>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let asked = Asked {
        sets: args.set.clone(),
        input: &args.input,
        output: args.output.as_ref(),
        run: &args.run,
    };
    let recipe = match load(&args.recipe, asked, ui) {
        Ok(recipe) => recipe,
        Err(exit) => return exit,
    };
    if args.explain {
        return explained(&recipe, args, ui);
    }
    if let Some(rows) = args.estimate {
        return estimated(&recipe, args, rows, ui);
    }
    match &args.tasks {
        Some(work) => by_tasks(&recipe, args, work, ui),
        None => runner::run(&recipe, &args.run, ui),
    }
}

/// Does the tasks of a plan on this machine, and finishes the run.
fn by_tasks(recipe: &Recipe, args: &Args, work: &Path, ui: &Ui) -> Exit {
    let signals = runner::Signals::watch(ui);
    let options = match runner::options(recipe, &args.run, &signals, ui) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.or(recipe.threads).unwrap_or(cores);
    let cut = Cut {
        task_bytes: args.task_bytes,
        partitions: args.partitions.map_or(0, usize::from),
    };
    let work = match Work::plan(work, recipe, &options, cut) {
        Ok(work) => work,
        Err(failure) => return tasks::failed(&failure, &signals, ui),
    };
    let (tell, told) = mpsc::channel();
    let done = std::thread::scope(|scope| {
        let hear = move |id: TaskId, (done, known): (usize, usize)| {
            let _ = tell.send(format!("{id} done ({done} of {known} known tasks)"));
        };
        let work = &work;
        let doing = scope.spawn(move || work.run_all(threads, &hear));
        for message in told {
            ui.info(&message);
        }
        doing.join()
    });
    match done {
        Ok(Ok(())) => finish::finish(&work, &signals, ui),
        Ok(Err(failure)) => tasks::failed(&failure, &signals, ui),
        Err(panic) => {
            let what = exec::driver::panic_message(panic.as_ref());
            ui.error(
                "internal",
                &format!("djr failed, please report this: {what}"),
                None,
            );
            Exit::Failed
        }
    }
}

/// Asks servers about the first rows, and tells what all of them would take.
fn estimated(recipe: &Recipe, args: &Args, rows: usize, ui: &Ui) -> Exit {
    let signals = runner::Signals::watch(ui);
    let options = match runner::options(recipe, &args.run, &signals, ui) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let answers = exec::answers_file(recipe, &options);
    let found = match exec::sample_servers(recipe, &options, rows, answers) {
        Ok(found) => found,
        Err(failure) => {
            let hint = match &failure {
                exec::RunError::Service(failed) => failed.hint.as_deref(),
                _ => None,
            };
            ui.error(failure.code(), &failure.to_string(), hint);
            return Exit::Failed;
        }
    };
    let bytes = runner::input_bytes(recipe);
    let cost = explain::cost(&found, bytes);
    let words = explain::cost_words(&cost);
    ui.result(&RunAnswer {
        state: RunState::Planned,
        cost: Some(cost),
        ..RunAnswer::default()
    });
    ui.data(&words)
}

/// Shows the plan.
fn explained(recipe: &Recipe, args: &Args, ui: &Ui) -> Exit {
    let probed = match args.probe.map(|rows| probe(recipe, rows, ui)).transpose() {
        Ok(probed) => probed,
        Err(exit) => return exit,
    };
    let plan = match Plan::of(recipe) {
        Ok(plan) => plan,
        Err(failure) => {
            ui.error("cannot_read", &failure.to_string(), None);
            return Exit::Usage;
        }
    };
    let threads = args.run.threads.map(usize::from);
    let estimate = probed
        .as_ref()
        .and_then(|probed| explain::estimate(recipe, probed, runner::input_bytes(recipe), threads));
    let signals = runner::Signals::watch(ui);
    let options = match runner::options(recipe, &args.run, &signals, ui) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let (would, refused) = match exec::foresee(recipe, &options) {
        Ok(would) => (Some(would), None),
        Err(failure) => (None, Some(runner::failed(&failure, Some(true)).1)),
    };
    let mut text = explain::render(recipe, &plan, probed.as_ref(), estimate.as_ref());
    text.extend(would.as_ref().map(dry_run::words));
    text.extend(refused.as_ref().map(|problem| {
        let hint = problem.hint.as_deref().unwrap_or_default();
        format!("refused as things are: {}\nhint: {hint}\n", problem.message)
    }));
    ui.result(&RunAnswer {
        state: RunState::Planned,
        would: would.as_ref().map(dry_run::record),
        refused,
        probe: probed.as_ref().map(explain::probe_records),
        estimate,
        plan: Some(plan),
        ..RunAnswer::default()
    });
    ui.data(&text)
}

/// Measures the first rows of the inputs.
fn probe(recipe: &Recipe, rows: usize, ui: &Ui) -> Result<Probe, Exit> {
    let working_dir = runner::working_dir(ui)?;
    exec::probe(recipe, &working_dir, rows).map_err(|failure| {
        ui.error(failure.code(), &failure.to_string(), None);
        Exit::Failed
    })
}

/// What the command line says of a recipe.
pub(super) struct Asked<'a> {
    pub sets: Vec<(String, String)>,
    pub input: &'a [PathBuf],
    pub output: Option<&'a PathBuf>,
    pub run: &'a RunArgs,
}

/// Loads a recipe and prints every problem if it is not sound.
pub(super) fn load(path: &Path, asked: Asked<'_>, ui: &Ui) -> Result<Recipe, Exit> {
    let mut sets = asked.sets;
    let cwd = runner::working_dir(ui)?;
    if let Some(on_error) = asked.run.on_error {
        sets.push(("on_error".into(), on_error.word().into()));
    }
    // Whether a limit can be held is a question to the recipe.
    let limits = [
        ("max_cost", asked.run.max_cost.map(|most| most.to_string())),
        (
            "max_tokens_total",
            asked.run.max_tokens_total.map(|most| most.to_string()),
        ),
    ];
    for (key, most) in limits {
        sets.extend(most.map(|most| (key.to_owned(), most)));
    }
    let dash = |path: &Path| path.as_os_str() == "-";
    let source = source(path, asked.input.iter().any(|path| dash(path)), ui)?;
    let options = LoadOptions {
        sets,
        input: inputs(asked.input, ui)?,
        output: asked.output.map(|path| {
            if dash(path) {
                Target::Stdout
            } else {
                Target::File(path.clone())
            }
        }),
        peers: Some(peers(asked.run.python.as_deref(), &cwd)),
        max_memory: asked.run.max_memory,
        dir: ui
            .caller
            .as_ref()
            .and_then(|caller| caller.recipe.as_ref()?.1.clone()),
        ..LoadOptions::new(cwd)
    };
    recipe::load(&source, &options).map_err(|problems| ui.problems(&problems))
}

/// Data-Juicer in the Python that the user has, for operators that djr lacks.
pub(super) fn peers(python: Option<&Path>, cwd: &Path) -> Rc<dyn Peers> {
    let pythons = service::candidates(python, |name| std::env::var_os(name));
    Rc::new(PeerPython::new(pythons, cwd.to_owned()))
}

/// Where a recipe is read from.
pub(super) fn source(path: &Path, rows_come: bool, ui: &Ui) -> Result<RecipeSource, Exit> {
    if path.as_os_str() != "-" {
        if holds_rows(path) {
            return Err(ui.usage(
                &format!("{} holds rows, and a recipe is asked for", path.display()),
                Some(
                    "djr run RECIPE --input ROWS; djr analyze ROWS -o DIR measures rows without a recipe",
                ),
            ));
        }
        return Ok(RecipeSource::File(path.to_owned()));
    }
    let handed_in = ui.caller.as_ref().and_then(|caller| caller.recipe.as_ref());
    if let Some((source, _)) = handed_in {
        return Ok(source.clone());
    }
    if rows_come {
        return Err(ui.usage(
            "recipe and rows cannot both come from standard input",
            Some("put one of them into a file"),
        ));
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| ui.usage(&format!("standard input: {e}"), None))?;
    Ok(RecipeSource::Text {
        name: "<stdin>".to_owned(),
        text,
    })
}

/// Bytes of a recipe that are read from standard input.
const MOST_BYTES: u64 = 16 << 20;

/// Whether a file is, by its name, one of rows; a `.json` may be either.
pub(super) fn holds_rows(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let packings = [".gz", ".zst", ".bz2", ".xz", ".lz4"];
    let plain = packings.iter().find_map(|end| name.strip_suffix(end));
    let rows = [
        ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".tar",
    ];
    let name = plain.unwrap_or(&name);
    rows.iter().any(|end| name.ends_with(end))
}

/// Whether a file is, by its name, a recipe.
pub(super) fn is_recipe(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end == "yaml" || end == "yml")
}

pub(super) fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}
