//! `djr ls`: the runs below a directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Exit;
use super::ui::{AsJson, Ui};
use crate::answer::{LsAnswer, ProblemRecord, RunListed};
use crate::exec::found_runs;
use crate::layout::file::readable;
use crate::report::table::{bytes, thousands};

const EXAMPLES: &str = "\
Examples:
  djr ls
  djr ls out --json";

/// List the runs below a directory: their outputs, sizes, and those that are unfinished.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to look [default: here].
    #[arg(default_value = ".", hide_default_value = true)]
    dir: PathBuf,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    if !args.dir.is_dir() {
        let message = format!("{}: there is no such directory", args.dir.display());
        return ui.usage_in(args.dir.display(), &message, None);
    }
    let runs: Vec<RunListed> = found_runs(&args.dir)
        .iter()
        .map(|run| RunListed {
            run_dir: readable(&run.files.dir),
            state: run.state.word().to_owned(),
            recipe: run.recipe.clone(),
            when: run.when.clone(),
            rows_in: run.rows_in,
            rows_out: run.rows_out,
            outputs: run.outputs.iter().map(|path| readable(path)).collect(),
            missing: run.missing,
            output_bytes: run.output_bytes,
            record_bytes: run.record_bytes,
            problem: run.unread.as_ref().map(|(code, message)| ProblemRecord {
                file: Some(run.files.dir.display().to_string()),
                code: (*code).to_owned(),
                message: message.clone(),
                ..ProblemRecord::default()
            }),
        })
        .collect();
    let mut text = String::new();
    for run in &runs {
        line(&mut text, run, &readable(&args.dir));
    }
    if runs.is_empty() {
        ui.info(&format!("no runs below {}", args.dir.display()));
    }
    ui.result(&LsAnswer {
        directory: readable(&args.dir),
        runs,
    });
    ui.data(&text)
}

fn line(text: &mut String, run: &RunListed, base: &Path) {
    let dir = run.run_dir.strip_prefix(base).unwrap_or(&run.run_dir);
    if let Some(problem) = &run.problem {
        let _ = writeln!(
            text,
            "{:<10} {}  {}",
            run.state,
            dir.display(),
            problem.message
        );
        return;
    }
    let gone = match run.missing {
        0 => String::new(),
        n => format!(", {n} of its outputs gone"),
    };
    let _ = writeln!(
        text,
        "{:<10} {}  {} -> {} rows, outputs {}, record {}{gone}  {}  {}",
        run.state,
        dir.display(),
        thousands(run.rows_in),
        thousands(run.rows_out),
        bytes(run.output_bytes),
        bytes(run.record_bytes),
        run.recipe,
        run.when,
    );
}
