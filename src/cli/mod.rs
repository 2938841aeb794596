//! The command line: one file a subcommand; arguments in, exit code out.
//!
//! Only this module and [`crate::report`] print. Data goes to standard output, all else to
//! standard error.

mod analyze;
mod args;
mod cache;
mod call;
mod check;
mod claim;
mod clean;
mod convert;
mod decontaminate;
mod diff;
mod dry_run;
mod environment;
mod exit;
mod explain;
mod finish;
mod format_args;
mod habits;
mod index;
mod ls;
mod next;
mod ops;
mod past;
mod plan;
mod preflight;
mod recut;
mod report;
mod run;
mod runner;
mod schema;
mod slurm;
mod subset;
mod task;
mod tasks;
mod ui;
mod usage;
mod verify;
mod view;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Once;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use call::{Call, Called, call};
pub use exit::Exit;
pub use runner::failed;

use ui::{Ui, Voice};

const EXAMPLES: &str = "\
Examples:
  djr run recipe.yaml                         run a Data-Juicer recipe
  djr run recipe.yaml --explain               show what it would do, without reading rows
  djr analyze data.jsonl -o look              measure everything, drop nothing
  djr subset --n 10000 data.jsonl -o 10k.jsonl
  djr convert --to llava data.jsonl --questions stage_1.json -o train.json
  djr why out/clean.jsonl 006092514           what became of a row, and why
  djr verify out/clean.jsonl                  whether all that a run wrote is still so
  djr ls out                                  the runs below a directory
  cat rows.jsonl | djr run recipe.yaml --input - --output - | gzip > out.jsonl.gz

Every option may stand in the environment: DJR_THREADS=4 is --threads 4, DJR_RUN_THREADS=4 for
djr run alone; an empty one says nothing. --json prints one object for programs, --log-format json a line an event.

Exit codes: 0 done, 1 finished with rows set aside, 2 wrong usage or recipe, 3 failed,
130 and 143 stopped by a signal.";

#[derive(Parser)]
#[command(
    name = "djr",
    version,
    about = "A streaming multimodal dataset processor that runs Data-Juicer recipes"
)]
#[command(after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    voice: Voice,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Plan(plan::Args),
    Next(next::Args),
    Task(task::Args),
    Finish(finish::Args),
    Slurm(slurm::Args),
    Analyze(analyze::Args),
    Recut(recut::Args),
    Check(check::Args),
    Subset(subset::Args),
    Convert(convert::Args),
    Decontaminate(decontaminate::Args),
    Index(index::Args),
    Why(why::Args),
    Verify(verify::Args),
    Diff(diff::Args),
    Report(report::Args),
    View(view::Args),
    Ls(ls::Args),
    Clean(clean::Args),
    Cache(cache::Args),
    Ops(ops::Args),
    Schema(schema::Args),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  djr completions bash > /etc/bash_completion.d/djr")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether the answer is asked for as one JSON object.
    fn is_json(&self) -> bool {
        match self {
            Self::Run(args) => args.json.json,
            Self::Plan(args) => args.json.json,
            Self::Next(args) => args.json.json,
            Self::Task(args) => args.json.json,
            Self::Finish(args) => args.json.json,
            Self::Analyze(args) => args.json.json,
            Self::Recut(args) => args.json.json,
            Self::Check(args) => args.json.json,
            Self::Subset(args) => args.json.json,
            Self::Convert(args) => args.json.json,
            Self::Decontaminate(args) => args.json.json,
            Self::Index(args) => args.json.json,
            Self::Why(args) => args.json.json,
            Self::Verify(args) => args.json.json,
            Self::Diff(args) => args.json.json,
            Self::Report(args) => args.json.json,
            Self::Ls(args) => args.json.json,
            Self::Clean(args) => args.json.json,
            Self::Cache(args) => args.is_json(),
            Self::Ops(args) => args.json.json,
            Self::View(_) | Self::Schema(_) | Self::Slurm(_) | Self::Completions { .. } => false,
        }
    }
}

/// The command line as clap knows it, every option with its variable of the environment.
fn command() -> clap::Command {
    environment::with_variables(args::without_unused(Cli::command()))
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os().collect()).into()
}

/// Runs a command line, whose first word is the name of the program, as the program itself would.
#[must_use]
pub fn run(words: Vec<OsString>) -> Exit {
    quiet_worker_panics();
    let mut known = command();
    let words = habits::translated(words, &known);
    let (cli, matches) = match matched(&mut known, &words) {
        Ok(parsed) => parsed,
        Err(failure) => return usage::refuse(&failure, &known, &words),
    };
    let ui = Ui::new(cli.voice, cli.command.is_json());
    let ui = ui.knowing(words, &matches);
    ui.notes(&environment::unknown(&known));
    let name = matches.subcommand_name().unwrap_or_default();
    let exit = match args::refuse_unused(name, &ui) {
        Ok(()) => carry_out(&cli.command, &ui),
        Err(exit) => exit,
    };
    ui.finish(name, exit)
}

/// Does what a command asks for.
fn carry_out(command: &Command, ui: &Ui) -> Exit {
    match command {
        Command::Run(args) => run::main(args, ui),
        Command::Plan(args) => plan::main(args, ui),
        Command::Next(args) => next::main(args, ui),
        Command::Task(args) => task::main(args, ui),
        Command::Finish(args) => finish::main(args, ui),
        Command::Slurm(args) => slurm::main(args, ui),
        Command::Analyze(args) => analyze::main(args, ui),
        Command::Recut(args) => recut::main(args, ui),
        Command::Check(args) => check::main(args, ui),
        Command::Subset(args) => subset::main(args, ui),
        Command::Convert(args) => convert::main(args, ui),
        Command::Decontaminate(args) => decontaminate::main(args, ui),
        Command::Index(args) => index::main(args, ui),
        Command::Why(args) => why::main(args, ui),
        Command::Verify(args) => verify::main(args, ui),
        Command::Diff(args) => diff::main(args, ui),
        Command::Report(args) => report::main(args, ui),
        Command::View(args) => view::main(args, ui),
        Command::Ls(args) => ls::main(args, ui),
        Command::Clean(args) => clean::main(args, ui),
        Command::Cache(args) => cache::main(args, ui),
        Command::Ops(args) => ops::main(args, ui),
        Command::Schema(args) => schema::main(args, ui),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "djr", &mut script);
            ui.data(&String::from_utf8_lossy(&script))
        }
    }
}

fn matched(
    known: &mut clap::Command,
    words: &[OsString],
) -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = known.try_get_matches_from_mut(words)?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// A panic on a worker thread is caught and reported as a bad row; its own message would only
/// tear the progress display.
fn quiet_worker_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let worker = std::thread::current()
                .name()
                .is_some_and(|n| n.starts_with("djr-worker"));
            if !worker {
                default(info);
            }
        }));
    });
}
