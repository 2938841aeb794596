//! `djr finish`: ends a run whose tasks are done.

use std::path::PathBuf;

use super::Exit;
use super::runner::{self, Signals};
use super::tasks::{self, HereArgs};
use super::ui::{AsJson, Ui};
use crate::exec::Observer;
use crate::exec::tasks::Work;
use crate::layout::RunFiles;
use crate::record::PastRun;

const EXAMPLES: &str = "\
Examples:
  djr finish work
  djr finish work --threads 8          threads for samples and packing

Writes the outputs, the ledger, the rows set aside, the stats and the manifest, byte for byte as djr
run would have; djr why, verify, report and diff read them. It may be stopped and started again. The
directory of the plan is of no use afterwards: rm -r work.";

/// End a run whose tasks are all done.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory or URL of the plan.
    work: PathBuf,
    #[command(flatten)]
    here: HereArgs,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let signals = Signals::watch(ui);
    match tasks::open(&args.work, Some(&args.here), &signals, ui) {
        Ok(work) => finish(&work, &signals, ui),
        Err(exit) => exit,
    }
}

/// Finishes the run of `work`, and tells how it went.
pub(super) fn finish(work: &Work, signals: &Signals, ui: &Ui) -> Exit {
    let options = work.options();
    let past = match work.finished() {
        Ok(Some(finished)) => finished.run_dir,
        Ok(None) => None,
        Err(failure) => return tasks::failed(&failure, signals, ui),
    };
    if let Some(dir) = past {
        return match PastRun::read(RunFiles::new(dir)) {
            Ok(past) => runner::nothing_to_do(&past, options.tolerate, ui),
            Err(failure) => {
                ui.record(&failure);
                Exit::Failed
            }
        };
    }
    let outcome = {
        let mut progress = ui.progress(None);
        work.finish(&mut progress as &mut dyn Observer)
    };
    match outcome {
        Ok(outcome) => runner::finished(&outcome, &[], options, ui),
        Err(failure) => tasks::failed(&failure, signals, ui),
    }
}
