//! Runs a resolved recipe for a command: signals, progress, the closing table, the exit code.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::RunArgs;
use super::{Exit, error, note, notes};
use crate::exec::cached_stats::CachedStats;
use crate::exec::{self, Observer, Resume, RunError, RunOptions, RunOutcome};
use crate::io::LockError;
use crate::note::{Code, Note};
use crate::plan;
use crate::recipe::Recipe;
use crate::record::{OutputCounts, QuarantineEntry, Records};
use crate::report::progress::Progress;
use crate::report::table;
use crate::service::{self, Host};

/// Runs `recipe` and tells the user how it went.
pub fn run(recipe: &Recipe, args: &RunArgs) -> Exit {
    start(recipe, args, None)
}

/// Runs `recipe` on stats that were measured before.
pub fn run_with_cached(recipe: &Recipe, args: &RunArgs, cached: CachedStats) -> Exit {
    start(recipe, args, Some(cached))
}

fn start(recipe: &Recipe, args: &RunArgs, cached_stats: Option<CachedStats>) -> Exit {
    let signals = Signals::watch();
    let options = match options(recipe, args, &signals) {
        Ok(options) => RunOptions {
            cached_stats,
            ..options
        },
        Err(exit) => return exit,
    };
    // What is known beforehand is said beforehand: a long run may not be what its author wants.
    let mut told = plan::foresee(recipe).notes;
    told.retain(|note| !exec::is_counted(note.code));
    if !args.quiet {
        notes(&told);
    }
    let outcome = if args.quiet {
        exec::run(recipe, &options, &mut ())
    } else {
        let mut progress = Progress::new(input_bytes(recipe));
        exec::run(recipe, &options, &mut progress as &mut dyn Observer)
    };
    match outcome {
        Ok(outcome) => finished(&outcome, &told, args.quiet),
        Err(RunError::BrokenPipe) if recipe.outputs.len() == 1 => Exit::Success,
        Err(failure) => {
            let own = match &failure {
                RunError::Service(failed) => failed.hint.as_deref(),
                _ => None,
            };
            let general = hint(&failure, exec::has_progress(recipe, &options));
            let hint = own.unwrap_or(general);
            if matches!(failure, RunError::Interrupted) {
                note(&format!("interrupted: {hint}"));
            } else {
                error(&failure.to_string(), Some(hint));
            }
            match failure {
                RunError::Interrupted => signals.exit(),
                RunError::Format(_)
                | RunError::Unfinished { .. }
                | RunError::Changed(_)
                | RunError::CannotResume
                | RunError::Claim(_)
                | RunError::Stored(_)
                | RunError::FieldOfNoRow(_) => Exit::Usage,
                RunError::Source(error) if error.is_of_input() => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}

/// What the command line says of a pass over `recipe`'s inputs.
pub(super) fn options(
    recipe: &Recipe,
    args: &RunArgs,
    signals: &Signals,
) -> Result<RunOptions, Exit> {
    let working_dir = std::env::current_dir().map_err(|e| {
        error(&format!("the working directory cannot be read: {e}"), None);
        Exit::Usage
    })?;
    Ok(RunOptions {
        threads: args.threads.map(usize::from),
        max_memory: args.max_memory.or(recipe.max_memory),
        batch_rows: args.batch_rows,
        run_dir: args.run_dir.clone(),
        working_dir,
        cached_stats: None,
        interrupted: Arc::clone(&signals.interrupted),
        resume: match (args.resume, args.restart) {
            (true, _) => Resume::Continue,
            (_, true) => Resume::Restart,
            _ => Resume::Refuse,
        },
        checkpoint_every: args.checkpoint_every,
        max_quarantine: args.max_quarantine,
        host: Host {
            pythons: service::candidates(args.python.as_deref(), |name| std::env::var_os(name)),
            devices: args.devices.clone(),
            ..Host::default()
        },
    })
}

/// Signals that ask to stop.
pub(super) struct Signals {
    number: Arc<AtomicUsize>,
    interrupted: Arc<AtomicBool>,
}

impl Signals {
    /// Notes SIGINT and SIGTERM from now on: the first one ends the run in order, a second one
    /// ends the process at once.
    pub(super) fn watch() -> Self {
        let signal = Arc::new(AtomicUsize::new(0));
        let interrupted = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
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
        Self {
            number: signal,
            interrupted,
        }
    }

    /// How a run that a signal ended exits.
    pub(super) fn exit(&self) -> Exit {
        if self.number.load(Ordering::Relaxed) == usize::try_from(SIGTERM).unwrap_or(0) {
            Exit::Terminated
        } else {
            Exit::Interrupted
        }
    }
}

/// What to do about a failure.
fn hint(failure: &RunError, has_progress: bool) -> &'static str {
    match failure {
        RunError::Unfinished { .. } => {
            "go on with it by --resume, or throw it away and start over by --restart"
        }
        RunError::Changed(_) => {
            "undo the change and --resume, or throw the progress away and start over by --restart"
        }
        RunError::Checkpoint(..) | RunError::Damaged(_) => {
            "throw the progress away and start over by --restart"
        }
        RunError::CannotResume => "leave out --resume; write to files to be able to",
        RunError::Stored(_) => {
            "a bound can be tightened by the stats of a run; to loosen it, recut an analysis (djr analyze) or run the changed recipe"
        }
        RunError::FieldOfNoRow(_) => {
            "name the field that rows have, by text_keys, image_key, or the parameter of the step"
        }
        RunError::Claim(taken) => taken.hint(),
        RunError::Locked {
            error: LockError::Held { .. },
            ..
        } => "wait for it, or write somewhere else",
        RunError::TooManyBad { reason, .. } => match (reason.starts_with("image_"), has_progress) {
            (true, true) => {
                "look at the reason (are the images there?); then the same command with --resume goes on from before it, with a higher --max-quarantine if these rows are to be set aside"
            }
            (false, true) => {
                "look at the reason; then the same command with --resume goes on from before it, with a higher --max-quarantine if these rows are to be set aside"
            }
            (true, false) => {
                "look at the reason (are the images there?); a higher --max-quarantine sets these rows aside"
            }
            (false, false) => "look at the reason; a higher --max-quarantine sets these rows aside",
        },
        RunError::Publish { .. } if has_progress => {
            "once the cause is gone, the same command with --resume gives the other files their names"
        }
        RunError::Publish { .. } => {
            "the other files of this run are gone; run the same command again to have them all"
        }
        RunError::BrokenPipe => {
            "the other outputs were not written, either; write everything to files, or read the standard output to its end"
        }
        _ if has_progress => {
            "no output stands under its final name; the same command with --resume goes on from the last checkpoint"
        }
        RunError::Interrupted => "no output was written; run the same command again to start over",
        _ => "no output was written under its final name",
    }
}

/// `told` are the notes that were printed before.
fn finished(outcome: &RunOutcome, told: &[Note], quiet: bool) -> Exit {
    let report = &outcome.report;
    if !quiet {
        note(table::render(report).trim_end());
        if let Some(dir) = &outcome.run_dir {
            note(&format!("manifest, ledger: {}", shown(dir)));
        }
    }
    if let Some(path) = &outcome.quarantine {
        note(&format!("rows set aside, with reasons: {}", shown(path)));
        for told in refused_all(&report.outputs, path) {
            note(&told);
        }
    } else if report.reasons.values().any(|rows| *rows > 0) && outcome.run_dir.is_none() && !quiet {
        note("rows set aside are not kept beside a stream: --run-dir DIR keeps them, with reasons");
    }
    let shown = |note: &&Note| {
        let is_short = note.code == Code::SampleShort;
        !told.contains(note) && (!quiet || is_short)
    };
    notes(
        &report
            .notes
            .iter()
            .filter(shown)
            .cloned()
            .collect::<Vec<_>>(),
    );
    let short = |output: &OutputCounts| output.wanted.is_some_and(|n| output.written < n);
    if report.has_losses() || report.outputs.iter().any(short) {
        Exit::Losses
    } else {
        Exit::Success
    }
}

/// What the first row says of each output that wrote none and refused all: where all rows are of one
/// make, it says what to do.
fn refused_all(outputs: &[OutputCounts], quarantine: &Path) -> Vec<String> {
    let all = |output: &&OutputCounts| output.written == 0 && output.refused > 0;
    let first = |output: &OutputCounts| {
        let mut entries = Records::<QuarantineEntry<'_>>::open(quarantine).ok()?;
        while let Ok(Some(entry)) = entries.next_record() {
            if entry.by == output.name {
                let (name, message) = (&output.name, entry.message);
                return Some(format!(
                    "{name} refused every row, the first one: {message}"
                ));
            }
        }
        None
    };
    outputs.iter().filter(all).filter_map(first).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// How many bytes of rows there are to read, if that is known: of packed files and pipes it is not.
pub(super) fn input_bytes(recipe: &Recipe) -> Option<u64> {
    let inputs = exec::setup::inputs(recipe);
    inputs.iter().map(|input| input.source().size()).sum()
}
