//! The command line: one file a subcommand; arguments in, exit code out.
//!
//! Only this module and [`crate::report`] print. Data goes to standard output, all else to
//! standard error.

mod analyze;
mod args;
mod check;
mod convert;
mod diff;
mod exit;
mod explain;
mod format_args;
mod ops;
mod preflight;
mod recut;
mod report;
mod run;
mod runner;
mod subset;
mod verify;
mod why;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use exit::Exit;

use crate::note::Note;
use crate::report::{note, printable};

const EXAMPLES: &str = "\
Examples:
  djr run recipe.yaml                         run a Data-Juicer recipe
  djr run recipe.yaml --explain               show what it would do, without reading rows
  djr analyze data.jsonl -o look              measure everything, drop nothing
  djr subset --n 10000 data.jsonl -o 10k.jsonl
  djr convert --to llava data.jsonl --questions stage_1.json -o train.json
  djr why out/clean.jsonl 006092514           what became of a row, and why
  djr verify out/clean.jsonl                  whether all that a run wrote is still so
  cat rows.jsonl | djr run recipe.yaml --input - --output - | gzip > out.jsonl.gz

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
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Analyze(analyze::Args),
    Recut(recut::Args),
    Check(check::Args),
    Subset(subset::Args),
    Convert(convert::Args),
    Why(why::Args),
    Verify(verify::Args),
    Diff(diff::Args),
    Report(report::Args),
    Ops(ops::Args),
    /// Print the JSON Schema of a recipe, for editors and validators.
    Schema,
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  djr completions bash > /etc/bash_completion.d/djr")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    quiet_worker_panics();
    let exit = match Cli::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Analyze(args) => analyze::main(&args),
        Command::Recut(args) => recut::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Subset(args) => subset::main(&args),
        Command::Convert(args) => convert::main(&args),
        Command::Why(args) => why::main(&args),
        Command::Verify(args) => verify::main(&args),
        Command::Diff(args) => diff::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Ops(args) => ops::main(&args),
        Command::Schema => data(&format!("{:#}\n", crate::catalog::recipe_schema())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "djr", &mut script);
            data(&String::from_utf8_lossy(&script))
        }
    };
    exit.into()
}

/// Prints an error and, if there is one, what to do about it.
fn error(message: &str, hint: Option<&str>) {
    note(&format!("error: {message}"));
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
}

/// Prints notes.
fn notes(notes: &[Note]) {
    for one in notes {
        note(&format!("note: {one}"));
    }
}

/// Writes an answer to standard output, with nothing in it that commands a terminal; whoever reads
/// it may stop early.
fn data(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(printable(text).as_bytes())
        .and_then(|()| out.flush())
    {
        Ok(()) => Exit::Success,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Exit::Success,
        Err(e) => {
            error(&format!("standard output: {e}"), None);
            Exit::Failed
        }
    }
}

/// A panic on a worker thread is caught and reported as a bad row; its own message would only
/// tear the progress display.
fn quiet_worker_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let worker = std::thread::current()
            .name()
            .is_some_and(|n| n.starts_with("djr-worker"));
        if !worker {
            default(info);
        }
    }));
}
