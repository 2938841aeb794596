//! `djr task`: does one task of a plan.

use std::path::PathBuf;

use super::Exit;
use super::runner::Signals;
use super::tasks::{self, HereArgs};
use super::ui::{AsJson, Ui};
use crate::answer::TasksAnswer;
use crate::exec::tasks::{TaskEnd, TaskId};

const EXAMPLES: &str = "\
Examples:
  djr task work pass-1-00000 --threads 4

A task may be done twice, or by two machines at once: one attempt counts, the others leave nothing.
What was done before is not done again. One that was killed is simply done again.";

/// Do a task of a plan.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory or URL of the plan.
    work: PathBuf,
    /// The task, as djr next names it.
    task: TaskId,
    #[command(flatten)]
    here: HereArgs,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let signals = Signals::watch(ui);
    let work = match tasks::open(&args.work, Some(&args.here), &signals, ui) {
        Ok(work) => work,
        Err(exit) => return exit,
    };
    let done = work
        .run(args.task)
        .and_then(|end| Ok((end, work.standing()?)));
    match done {
        Ok((end, standing)) => {
            let how = match end {
                TaskEnd::Done => "done",
                TaskEnd::Already => "was done already",
            };
            ui.info(&format!(
                "{} {how} ({} of {} known tasks)",
                args.task, standing.done, standing.known
            ));
            ui.result(&TasksAnswer {
                did: Some(end == TaskEnd::Done),
                ..tasks::answer(&work, &standing)
            });
            Exit::Success
        }
        Err(failure) => tasks::failed(&failure, &signals, ui),
    }
}
