//! `djr next`: the tasks that can be done now.

use std::path::PathBuf;

use super::runner::Signals;
use super::ui::{AsJson, Ui};
use super::{Exit, tasks};

const EXAMPLES: &str = "\
Examples:
  djr next work                        one task that can be done now
  djr next work --all                  all of them, one a line

Exit codes: 0 there are some; 10 none yet, since others are still to end; 11 all are done, djr finish
ends the run.";

/// List the tasks of a plan that can be done now.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory or URL of the plan.
    work: PathBuf,
    /// All of them; else the first.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let signals = Signals::watch(ui);
    let work = match tasks::open(&args.work, None, &signals, ui) {
        Ok(work) => work,
        Err(exit) => return exit,
    };
    let standing = work
        .standing()
        .and_then(|now| work.check_limit(&now).map(|()| now));
    let mut standing = match standing {
        Ok(standing) => standing,
        Err(failure) => return tasks::failed(&failure, &signals, ui),
    };
    if !args.all {
        standing.ready.truncate(1);
    }
    let lines = standing.ready.iter().map(|id| format!("{id}\n"));
    let lines: String = lines.collect();
    ui.result(&tasks::answer(&work, &standing));
    match ui.data(&lines) {
        Exit::Success if standing.complete => Exit::AllDone,
        Exit::Success if standing.ready.is_empty() => Exit::NotYet,
        exit => exit,
    }
}
