//! Runs a resolved recipe for a command: signals, progress, the closing table, the exit code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::Exit;
use super::args::RunArgs;
use super::ui::Ui;
use crate::answer::{ProblemRecord, RunAnswer};
use crate::exec::cached_stats::CachedStats;
use crate::exec::{self, CacheChoice, Observer, Resume, RunError, RunOptions, RunOutcome};
use crate::io::LockError;
use crate::note::Note;
use crate::note::rows;
use crate::plan;
use crate::recipe::{QuarantineLimit, Recipe, Target};
use crate::record::quarantine::examples;
use crate::record::{OutputCounts, PastRun, QuarantineEntry, Records};
use crate::report::log::{Event, Level, LogFormat, LogLine};
use crate::report::table::{self, thousands};
use crate::service::{self, Host};

/// Runs `recipe` and tells the user how it went.
pub fn run(recipe: &Recipe, args: &RunArgs, ui: &Ui) -> Exit {
    start(recipe, args, None, ui)
}

/// Runs `recipe` on stats that were measured before.
pub fn run_with_cached(recipe: &Recipe, args: &RunArgs, cached: CachedStats, ui: &Ui) -> Exit {
    start(recipe, args, Some(cached), ui)
}

fn start(recipe: &Recipe, args: &RunArgs, cached_stats: Option<CachedStats>, ui: &Ui) -> Exit {
    if ui.json
        && recipe
            .outputs
            .iter()
            .any(|output| output.target == Target::Stdout)
    {
        return ui.usage(
            "rows and the answer of --json cannot both go to standard output",
            Some("write rows to a file, or read manifest.json, which --run-dir keeps"),
        );
    }
    let signals = Signals::watch(ui);
    let options = match options(recipe, args, &signals, ui) {
        Ok(options) => RunOptions {
            cached_stats,
            ..options
        },
        Err(exit) => return exit,
    };
    // What is known beforehand is said beforehand: a long run may not be what its author wants.
    let mut told = plan::foresee(recipe).notes;
    told.retain(|note| !exec::is_counted(note.code));
    if args.if_changed {
        match exec::up_to_date(recipe, &options) {
            Ok(past) => return nothing_to_do(&past, args.tolerate, ui),
            Err(why) => ui.info(&format!("not up to date: {why}")),
        }
    }
    ui.notes(&told);
    if options.resume == Resume::Continue
        && let Some(done) = exec::rows_done(recipe, &options)
    {
        ui.info(&format!("goes on behind {}", rows(done)));
    }
    let outcome = {
        let mut progress = ui.progress(input_bytes(recipe));
        exec::run(recipe, &options, &mut progress as &mut dyn Observer)
    };
    match outcome {
        Ok(outcome) => finished(&outcome, &told, &options, ui),
        Err(RunError::BrokenPipe) if recipe.outputs.len() == 1 => Exit::Success,
        Err(failure) => {
            let (exit, problem) =
                failed(&failure, Some(exec::rows_done(recipe, &options).is_some()));
            if matches!(failure, RunError::Interrupted) {
                let hint = problem.hint.unwrap_or_default();
                ui.error(&problem.code, &format!("interrupted: {hint}"), None);
                return signals.exit();
            }
            ui.problem(problem);
            exit
        }
    }
}

/// How a command exits that failed so, and what it says. `has_progress` is whether a checkpoint was
/// left to go on from; `None` of a run that writes nothing and can leave none.
#[must_use]
pub fn failed(failure: &RunError, has_progress: Option<bool>) -> (Exit, ProblemRecord) {
    let own = match failure {
        RunError::Service(failed) => failed.hint.as_deref(),
        _ => None,
    };
    let general = hint(failure, has_progress.unwrap_or(false));
    let is_of_files = general == NO_OUTPUT || matches!(failure, RunError::Interrupted);
    let general = Some(general).filter(|_| has_progress.is_some() || !is_of_files);
    let place = failure.place();
    let problem = ProblemRecord {
        file: failure.file().map(str::to_owned),
        line: place.and_then(|(_, line)| usize::try_from(line).ok()),
        code: failure.code().to_owned(),
        message: failure.to_string(),
        hint: own.or(general).map(str::to_owned),
        ..ProblemRecord::default()
    };
    let exit = match failure {
        RunError::Interrupted => Exit::Interrupted,
        RunError::Format(_)
        | RunError::Unfinished { .. }
        | RunError::Changed(_)
        | RunError::CannotResume
        | RunError::Claim(_)
        | RunError::Stored(_)
        | RunError::FieldOfNoRow(_) => Exit::Usage,
        RunError::Source(error) if error.is_of_input() => Exit::Usage,
        _ => Exit::Failed,
    };
    (exit, problem)
}

/// What the command line says of a pass over `recipe`'s inputs.
pub(super) fn options(
    recipe: &Recipe,
    args: &RunArgs,
    signals: &Signals,
    ui: &Ui,
) -> Result<RunOptions, Exit> {
    let working_dir = working_dir(ui)?;
    Ok(RunOptions {
        threads: args.threads.map(usize::from),
        max_memory: args.max_memory.or(recipe.max_memory),
        row_memory: args.max_memory,
        batch_rows: args.batch_rows,
        run_dir: args.run_dir.clone(),
        working_dir,
        digest_inputs: args.if_changed,
        cached_stats: None,
        cache: match &args.cache {
            _ if args.no_cache => CacheChoice::Off,
            Some(dir) => CacheChoice::In(dir.clone()),
            None => CacheChoice::Recipe,
        },
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
        max_cost: args.max_cost.or(recipe.max_cost),
        max_tokens_total: args.max_tokens_total.or(recipe.max_tokens_total),
        tolerate: args.tolerate,
        force: args.force,
        command: ui
            .words
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        host_name: args.record_host.then(host_name),
    })
}

/// The working directory.
pub(super) fn working_dir(ui: &Ui) -> Result<PathBuf, Exit> {
    std::env::current_dir().map_err(|e| {
        let message = format!("the working directory cannot be read: {e}");
        ui.usage(&message, None)
    })
}

/// The name of this machine.
fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// Signals that ask to stop.
pub(super) struct Signals {
    number: Arc<AtomicUsize>,
    pub(super) interrupted: Arc<AtomicBool>,
}

impl Signals {
    /// Notes SIGINT and SIGTERM from now on: the first one ends the run in order, a second one
    /// ends the process at once. In a program that called the command, signals are its own business.
    pub(super) fn watch(ui: &Ui) -> Self {
        let signal = Arc::new(AtomicUsize::new(0));
        if let Some(caller) = &ui.caller {
            return Self {
                number: signal,
                interrupted: Arc::clone(&caller.interrupted),
            };
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            let _ = signal_hook::flag::register_usize(
                number,
                Arc::clone(&signal),
                usize::try_from(number).unwrap_or(0),
            );
            let _ = signal_hook::flag::register(number, Arc::clone(&interrupted));
        }
        end_at_the_second();
        Self {
            number: signal,
            interrupted,
        }
    }

    /// What is set when a signal asks to stop.
    pub(super) fn interrupted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
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

/// Ends the process at the second signal, and what it has started with it.
fn end_at_the_second() {
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    std::thread::spawn(move || {
        if let Some(number) = signals.forever().nth(1) {
            service::kill_all();
            signal_hook::low_level::exit(128 + number);
        }
    });
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
        RunError::AllRefused { .. } | RunError::AllUnreadable { .. } => {
            "docs/REASONS.md explains the reasons; --max-quarantine none keeps the rows with theirs, beside empty outputs"
        }
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
        _ => NO_OUTPUT,
    }
}

/// What there is to say where nothing is left and nothing can be done.
const NO_OUTPUT: &str = "no output was written under its final name";

/// `told` are the notes that were printed before.
pub(super) fn finished(outcome: &RunOutcome, told: &[Note], options: &RunOptions, ui: &Ui) -> Exit {
    let report = &outcome.report;
    if ui.log.format == LogFormat::Json && !ui.log.quiet {
        ui.log.line(&LogLine {
            rows: Some(report.rows_in),
            rows_out: Some(report.rows_out),
            dropped: Some(report.dropped),
            quarantined: Some(report.quarantined),
            phase: Some("finished".to_owned()),
            seconds: Some(report.time.as_secs_f64()),
            exit: Some(report.exit_code(options.tolerate)),
            ..LogLine::new(Level::Info, Event::Finished)
        });
    } else {
        ui.info(table::render(report).trim_end());
    }
    if let Some(dir) = &outcome.run_dir {
        ui.info(&format!("manifest, ledger: {}", shown(dir)));
    }
    if let Some(path) = &outcome.quarantine {
        ui.info(&format!("rows set aside, with reasons: {}", shown(path)));
        if !ui.log.quiet {
            set_aside(path, outcome, ui);
            for told in refused_all(&report.outputs, path) {
                ui.info(&told);
            }
        }
    } else if report.reasons.values().any(|rows| *rows > 0) && outcome.run_dir.is_none() {
        ui.info(
            "rows set aside are not kept beside a stream: --run-dir DIR keeps them, with reasons",
        );
    }
    let untold = report.notes.iter().filter(|note| !told.contains(note));
    ui.notes(&untold.cloned().collect::<Vec<_>>());
    ui.result(&RunAnswer {
        run_dir: outcome.run_dir.clone(),
        quarantine: outcome.quarantine.clone(),
        ..RunAnswer::of(report)
    });
    match report.exit_code(options.tolerate) {
        0 => Exit::Success,
        _ => Exit::Losses,
    }
}

/// How many codes of rows set aside have an example on the terminal.
const EXAMPLES_SHOWN: usize = 5;

/// One row for each of the commonest codes, with its reason.
fn set_aside(path: &Path, outcome: &RunOutcome, ui: &Ui) {
    let Ok(mut found) = examples(path) else {
        return;
    };
    found.sort_by_key(|example| std::cmp::Reverse(example.rows));
    let codes = found.len();
    for example in found.into_iter().take(EXAMPLES_SHOWN) {
        let one = example.entry;
        ui.info(&format!(
            "  {} {}: {}:{}: {}",
            thousands(example.rows),
            one.code,
            one.input,
            one.line,
            one.message
        ));
    }
    if codes > EXAMPLES_SHOWN
        && let Some(dir) = &outcome.run_dir
    {
        let more = codes - EXAMPLES_SHOWN;
        ui.info(&format!(
            "  and {more} more reasons: djr why {} --set-aside",
            shown(dir)
        ));
    }
}

/// Everything is as an earlier run left it.
pub(super) fn nothing_to_do(past: &PastRun, tolerate: Option<QuarantineLimit>, ui: &Ui) -> Exit {
    let manifest = &past.manifest;
    ui.info(&format!(
        "up to date: {} in, {} out ({})",
        rows(manifest.rows.read),
        thousands(manifest.rows.out),
        shown(&past.files.dir)
    ));
    ui.result(&RunAnswer {
        run_dir: Some(past.files.dir.clone()),
        ..RunAnswer::up_to_date(manifest)
    });
    let refused = manifest.outputs.iter().map(|output| output.refused);
    let lost = refused.chain([manifest.rows.quarantined]).max();
    let outputs = manifest.outputs.iter().zip(&past.settings.outputs);
    let mut short = outputs.filter(|(found, said)| said.sample.is_some_and(|n| found.written < n));
    if short.next().is_some() {
        return Exit::Losses;
    }
    match tolerate {
        Some(limit) if limit.allows(lost.unwrap_or(0), manifest.rows.read) => Exit::Success,
        None if manifest.exit == 0 && lost == Some(0) => Exit::Success,
        _ => Exit::Losses,
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
