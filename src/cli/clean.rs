//! `djr clean`: removes what runs left that nobody needs.

use std::path::PathBuf;
use std::time::Duration;

use super::Exit;
use super::ui::{AsJson, Ui};
use crate::answer::{CleanAnswer, RunSkipped};
use crate::exec::{FoundRun, RunState, found_runs, remove_run};
use crate::io::lock::unix_now;
use crate::layout::file::readable;
use crate::report::table::bytes;

const EXAMPLES: &str = "\
Examples:
  djr clean out --dry-run              what would be removed
  djr clean out                        unfinished runs, and records whose outputs are all gone
  djr clean out --runs --older-than 30d
  djr clean out --force                records and checkpoints of another version, too

Only files that a run is known to have made, and that are as it made them, are removed; what a run
that goes on is working with is left alone.";

/// Remove unfinished runs, and records whose outputs are gone.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to look [default: here].
    #[arg(default_value = ".", hide_default_value = true)]
    dir: PathBuf,
    /// Only runs that ended, or saved their last checkpoint, longer ago: 30d, 12h, 90min.
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    older_than: Option<Duration>,
    /// Finished runs, too, with their outputs.
    #[arg(long)]
    runs: bool,
    /// Records and checkpoints of another version, too, if they would be removed otherwise: of what
    /// they list the files that are as recorded.
    #[arg(long)]
    force: bool,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) json: AsJson,
}

pub(super) fn parse_age(text: &str) -> Result<Duration, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit.trim() {
        "s" => Some(1),
        "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        "w" => Some(604_800),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(seconds)
        .and_then(|(number, seconds)| number.checked_mul(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("'{text}' is no time; write e.g. 30d, 12h or 90min"))
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    if !args.dir.is_dir() {
        let message = format!("{}: there is no such directory", args.dir.display());
        return ui.usage_in(args.dir.display(), &message, None);
    }
    let age = args.older_than.map_or(0, |age| age.as_secs());
    let before = unix_now().saturating_sub(age);
    let mut answer = CleanAnswer {
        dry_run: args.dry_run,
        ..CleanAnswer::default()
    };
    let mut failed = false;
    for run in found_runs(&args.dir) {
        let is_wanted = is_wanted(&run, args.runs);
        if run.when_unix > before || run.unread.is_none() && !is_wanted {
            continue;
        }
        if let Some((code, message)) = &run.unread
            && !(is_wanted && args.force && FORCED.contains(code))
        {
            answer.skipped.push(RunSkipped {
                run_dir: readable(&run.files.dir),
                code: (*code).to_owned(),
                message: message.clone(),
            });
            continue;
        }
        match remove_run(&run, args.dry_run) {
            Ok(removed) => {
                let size: u64 = removed.iter().map(|(_, bytes)| bytes).sum();
                answer.bytes += size;
                answer.runs.push(readable(&run.files.dir));
                answer
                    .files
                    .extend(removed.iter().map(|(path, _)| readable(path)));
            }
            Err(failure) => {
                failed = true;
                ui.error("cannot_remove", &failure, None);
            }
        }
    }
    let mut text = String::new();
    for file in &answer.files {
        text.push_str(&file.display().to_string());
        text.push('\n');
    }
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    ui.info(&format!(
        "{verb} {} files of {} runs, {}",
        answer.files.len(),
        answer.runs.len(),
        bytes(answer.bytes)
    ));
    say_skipped(&answer.skipped, ui);
    ui.result(&answer);
    match ui.data(&text) {
        Exit::Success if failed => Exit::Failed,
        exit => exit,
    }
}

/// What `--force` removes although it cannot be read.
const FORCED: [&str; 2] = ["record_version", "checkpoint_damaged"];

/// Whether a run is one of those that are removed.
fn is_wanted(run: &FoundRun, finished: bool) -> bool {
    let is_orphan = !run.outputs.is_empty() && run.missing == run.outputs.len();
    match run.state {
        RunState::Unfinished => true,
        RunState::Finished => finished || is_orphan,
        // Of a checkpoint that cannot be read the outputs are not known: none of them has its name.
        RunState::Unreadable => finished || is_orphan || run.outputs.is_empty(),
    }
}

/// Names the runs that were left because their records cannot be read.
fn say_skipped(skipped: &[RunSkipped], ui: &Ui) {
    if skipped.is_empty() {
        return;
    }
    let what = match skipped.len() {
        1 => "1 run that cannot be read was left".to_owned(),
        number => format!("{number} runs that cannot be read were left"),
    };
    let forced = |run: &RunSkipped| FORCED.contains(&run.code.as_str());
    let hint = if skipped.iter().any(forced) {
        " (--force removes those of another version, where outputs are there with --runs)"
    } else {
        ""
    };
    ui.info(&format!("{what}{hint}:"));
    for run in skipped {
        ui.info(&format!("  {}", run.message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(parse_age("30d").unwrap().as_secs(), 30 * 86_400);
        assert_eq!(parse_age("90min").unwrap().as_secs(), 5400);
        for wrong in ["", "30", "d", "3 months", "99999999999999999999d"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
