//! Runs a resolved recipe for a command: signals, progress, the closing table, the exit code.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::RunArgs;
use super::{Exit, error, note};
use crate::exec::{self, Observer, RunError, RunOptions, RunOutcome};
use crate::recipe::{Inputs, Recipe};
use crate::report::progress::Progress;
use crate::report::table;

/// Runs `recipe` and tells the user how it went.
pub fn run(recipe: &Recipe, args: &RunArgs, only_caption: bool) -> Exit {
    let signal = Arc::new(AtomicUsize::new(0));
    let interrupted = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // The first signal ends the run in order; a second one ends the process at once.
        let _ = signal_hook::flag::register_conditional_shutdown(
            number,
            128 + number,
            Arc::clone(&interrupted),
        );
        let _ = signal_hook::flag::register_usize(
            number,
            Arc::clone(&signal),
            usize::try_from(number).unwrap_or(0),
        );
        let _ = signal_hook::flag::register(number, Arc::clone(&interrupted));
    }
    let working_dir = match std::env::current_dir() {
        Ok(dir) => dir,
        Err(e) => {
            error(&format!("the working directory cannot be read: {e}"), None);
            return Exit::Usage;
        }
    };
    let options = RunOptions {
        threads: args.threads.map(usize::from),
        max_memory: args.max_memory.or(recipe.max_memory),
        batch_rows: args.batch_rows,
        run_dir: args.run_dir.clone(),
        working_dir,
        only_caption,
        interrupted,
    };
    let outcome = if args.quiet {
        exec::run(recipe, &options, &mut ())
    } else {
        let mut progress = Progress::new(input_bytes(recipe));
        exec::run(recipe, &options, &mut progress as &mut dyn Observer)
    };
    match outcome {
        Ok(outcome) => finished(&outcome, args.quiet),
        Err(RunError::BrokenPipe) => Exit::Success,
        Err(RunError::Interrupted) => {
            note("interrupted: no output was written; run the same command again to start over");
            if signal.load(Ordering::Relaxed) == usize::try_from(SIGTERM).unwrap_or(0) {
                Exit::Terminated
            } else {
                Exit::Interrupted
            }
        }
        Err(failure) => {
            error(
                &failure.to_string(),
                Some("no output was written under its final name"),
            );
            match failure {
                RunError::Questions(_) => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}

fn finished(outcome: &RunOutcome, quiet: bool) -> Exit {
    let report = &outcome.report;
    if !quiet {
        note(table::render(report).trim_end());
        if let Some(dir) = &outcome.run_dir {
            note(&format!("manifest, ledger: {}", shown(dir)));
        }
    }
    if let Some(path) = &outcome.quarantine {
        note(&format!("rows set aside, with reasons: {}", shown(path)));
    }
    for output in &report.outputs {
        let Some(wanted) = output.wanted else {
            continue;
        };
        if output.written < wanted {
            let why = if output.refused > 0 {
                format!(
                    "{} rows were refused and no others were left",
                    table::thousands(output.refused)
                )
            } else {
                format!(
                    "there are only {} rows",
                    table::thousands(output.candidates)
                )
            };
            note(&format!(
                "{}: {} of {} rows: {why}",
                output.name,
                table::thousands(output.written),
                table::thousands(wanted)
            ));
        }
    }
    if report.has_losses() {
        Exit::Losses
    } else {
        Exit::Success
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// How many bytes of rows there are to read, if that is known: compressed files and pipes are not.
fn input_bytes(recipe: &Recipe) -> Option<u64> {
    let Inputs::Files(files) = &recipe.inputs else {
        return None;
    };
    files
        .iter()
        .map(|file| {
            let packed = file.extension().is_some_and(|e| e == "gz" || e == "zst");
            if packed {
                None
            } else {
                std::fs::metadata(file).ok().map(|m| m.len())
            }
        })
        .sum()
}
