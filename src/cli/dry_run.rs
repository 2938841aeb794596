//! `--dry-run`: what a command would read, write and overwrite.

use std::fmt::Write as _;
use std::path::Path;

use super::args::RunArgs;
use super::runner::{self, Signals};
use super::ui::Ui;
use super::{Exit, explain};
use crate::answer::{DryRun, FileThere, RunAnswer, RunState};
use crate::exec::cached_stats::CachedStats;
use crate::exec::{self, FileNow, RunOptions, WouldDo};
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::report::table::bytes;

/// Says what a run of `recipe` would do, with its plan, and does nothing.
pub fn run(recipe: &Recipe, args: &RunArgs, stats: Option<CachedStats>, ui: &Ui) -> Exit {
    let signals = Signals::watch(ui);
    let options = match runner::options(recipe, args, &signals, ui) {
        Ok(options) => RunOptions {
            cached_stats: stats,
            ..options
        },
        Err(exit) => return exit,
    };
    let would = match exec::foresee(recipe, &options) {
        Ok(would) => would,
        Err(failure) => {
            let (exit, problem) = runner::failed(&failure, Some(true));
            ui.problem(problem);
            return exit;
        }
    };
    let plan = match Plan::of(recipe) {
        Ok(plan) => plan,
        Err(failure) => {
            ui.error("cannot_read", &failure.to_string(), None);
            return Exit::Usage;
        }
    };
    let mut text = explain::render(recipe, &plan, None, None);
    text.push_str(&words(&would));
    text.push_str(NOTHING);
    ui.result(&RunAnswer {
        state: RunState::Planned,
        plan: Some(plan),
        would: Some(record(&would)),
        ..RunAnswer::default()
    });
    ui.data(&text)
}

/// The same of a command that copies `reads` to `writes` unread.
pub fn copy(would: &WouldDo, ui: &Ui) -> Exit {
    ui.result(&RunAnswer {
        state: RunState::Planned,
        would: Some(record(would)),
        ..RunAnswer::default()
    });
    let mut text = String::new();
    for file in &would.reads {
        let _ = writeln!(text, "read   {}", file.name);
    }
    for file in &would.writes {
        let _ = writeln!(text, "write  {}", file.name);
    }
    text.push_str(&words(would));
    text.push_str(NOTHING);
    ui.data(&text)
}

/// The last line of a dry run.
const NOTHING: &str = "nothing was written\n";

/// What is there already, and where the records go.
pub fn words(would: &WouldDo) -> String {
    let mut text = String::new();
    for file in &would.writes {
        if let Some(size) = file.bytes {
            let _ = writeln!(text, "replaces {} ({} there now)", file.name, bytes(size));
        }
    }
    if let Some(dir) = &would.run_dir {
        let there = if dir.exists() { ", which is there" } else { "" };
        let _ = writeln!(text, "record {}{there}", dir.display());
    }
    text
}

/// The same as an answer.
pub fn record(would: &WouldDo) -> DryRun {
    let there = |file: &FileNow| FileThere {
        name: file.name.clone(),
        bytes: file.bytes,
    };
    DryRun {
        reads: would.reads.iter().map(there).collect(),
        writes: would.writes.iter().map(there).collect(),
        run_dir: would.run_dir.as_deref().map(Path::to_owned),
    }
}
