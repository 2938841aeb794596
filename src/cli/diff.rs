//! `djr diff`: how two runs, or two outputs, differ.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::claim::claim;
use super::ui::{AsJson, Ui};
use super::why::bounds_in;
use super::{Exit, past};
use crate::answer::{DiffAnswer, DiffCount, DiffField, DiffReason};
use crate::exec::{Moment, Observer as _};
use crate::io::destination::check_stdout;
use crate::io::format::OutputFormat;
use crate::io::terminal::Shown;
use crate::io::{Named, PendingFile};
use crate::layout::RunFiles;
use crate::recipe::check_plain;
use crate::record::{PastRun, RunReport};
use crate::report::table::thousands;
use crate::view::ViewError;
use crate::view::diff::{self, Decided, Kind, Options, Reason, Seen, Summary, Watcher};

const EXAMPLES: &str = "\
Examples:
  djr diff before.jsonl.djr after.jsonl.djr           two runs: what each dropped, and why
  djr diff old.jsonl new.jsonl --output diff.jsonl    two files: one record a row that differs
  djr diff a.json b.json --ignore image --output -    LLaVA records, wherever their images lie

Rows of two runs are matched by their place in the input, rows of two files by id.
Exit codes: 0 nothing differs, 1 something does, 2 wrong usage, 3 something cannot be read.";

/// Show how two runs, or two outputs, differ, row by row.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A run directory (NAME.djr), or a JSONL or JSON file of rows.
    a: PathBuf,
    /// What to hold against it, of the same kind.
    b: PathBuf,
    /// Write one JSON record a row that differs; - is standard output.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Overwrite the output of a run.
    #[arg(long)]
    force: bool,
    /// A field that does not count; repeatable.
    #[arg(long, value_name = "FIELD")]
    ignore: Vec<String>,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    if let Err(exit) = past::look([args.a.as_path(), &args.b], ui) {
        return exit;
    }
    for path in [&args.a, &args.b] {
        if let Some(problem) = problem(path) {
            return ui.usage_in(
                path.display(),
                &format!("{}: {problem}", path.display()),
                Some("name two run directories (they hold a manifest.json), or two files of rows"),
            );
        }
    }
    if PastRun::is_one(&args.a) != PastRun::is_one(&args.b) {
        return ui.usage(
            "one is a run directory and the other a file",
            Some("compare two runs, or two outputs"),
        );
    }
    if let Some(path) = &args.output
        && let Err(problem) = check_plain(Path::new(""), path, Some(OutputFormat::ROWS))
    {
        return ui.usage_in(path.display(), &problem.what, Some(&problem.hint));
    }
    if let Some(path) = &args.output
        && let Err(exit) = claim(path, &[&args.a, &args.b], args.force, ui)
    {
        return exit;
    }
    let options = Options {
        ignore: args.ignore.clone(),
    };
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if to_stdout && ui.json {
        return ui.usage(
            "records and the answer of --json cannot both go to standard output",
            Some("write the records to a file"),
        );
    }
    let mut progress = ui.progress(diff::work(&args.a, &args.b));
    let mut watch = |seen: Seen| {
        let report = RunReport {
            rows_in: seen.rows,
            bytes_in: seen.done,
            ..RunReport::default()
        };
        progress.progress(&Moment::reading(0, 1, &report));
    };
    let compared = match &args.output {
        None => diff::compare(&args.a, &args.b, &options, None, &mut watch),
        Some(_) if to_stdout => {
            let shown = Shown::new(std::io::stdout().lock());
            let mut out = std::io::BufWriter::new(Named::new("standard output", shown));
            let compared = check_stdout()
                .map_err(|e| ViewError::write("standard output", e))
                .and_then(|()| {
                    diff::compare(&args.a, &args.b, &options, Some(&mut out), &mut watch)
                });
            compared.and_then(|summary| {
                out.flush()
                    .map_err(|e| ViewError::write("the list of differences", e))?;
                Ok(summary)
            })
        }
        Some(path) => to_file(args, path, &options, &mut watch),
    };
    drop(progress);
    let summary = match compared {
        Ok(summary) => summary,
        Err(ViewError::Write { error, .. })
            if to_stdout && error.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            return Exit::Success;
        }
        Err(failure) => {
            ui.view(&failure);
            return Exit::Failed;
        }
    };
    ui.result(&answer(&summary, args));
    if !ui.log.quiet {
        let table = table(&summary, args);
        if to_stdout {
            ui.info(table.trim_end());
        } else if ui.data(&table) == Exit::Failed {
            return Exit::Failed;
        }
    }
    if summary.is_same() {
        Exit::Success
    } else {
        Exit::Losses
    }
}

fn problem(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Err(e) => Some(e.to_string()),
        Ok(m) if m.is_dir() && !PastRun::is_one(path) => {
            let is_unfinished = RunFiles::new(path).is_unfinished();
            let what = if is_unfinished {
                "is an unfinished run"
            } else {
                "is not a run directory"
            };
            Some(what.into())
        }
        Ok(_) => None,
    }
}

fn to_file(
    args: &Args,
    path: &Path,
    options: &Options,
    watch: Watcher<'_>,
) -> Result<Summary, ViewError> {
    let fail = |e| ViewError::write(path.display(), e);
    let mut file = PendingFile::create(path).map_err(fail)?;
    let mut out = Named::new(path.display(), &mut file);
    let summary = diff::compare(&args.a, &args.b, options, Some(&mut out), watch)?;
    file.commit().map_err(fail)?;
    Ok(summary)
}

fn answer(summary: &Summary, args: &Args) -> DiffAnswer {
    let word = |kind: Kind| kind.word().to_owned();
    DiffAnswer {
        a: args.a.clone(),
        b: args.b.clone(),
        rows_a: summary.rows_a,
        rows_b: summary.rows_b,
        same: summary.same,
        differing: summary
            .differing
            .iter()
            .map(|(kind, rows)| DiffCount {
                kind: word(*kind),
                rows: *rows,
            })
            .collect(),
        reasons: summary
            .reasons
            .iter()
            .map(|((kind, decided), reason)| self::reason(*kind, decided, reason))
            .collect(),
        fields: summary
            .fields
            .iter()
            .map(|(field, rows)| DiffField {
                field: field.clone(),
                rows: *rows,
            })
            .collect(),
    }
}

fn reason(kind: Kind, decided: &Decided, reason: &Reason) -> DiffReason {
    let (fate, by, code, limit) = match decided.clone() {
        Decided::Here {
            fate,
            by,
            code,
            limit,
        } => (Some(fate), by, code, limit),
        Decided::Elsewhere => (None, None, None, None),
    };
    DiffReason {
        kind: kind.word().to_owned(),
        fate,
        by,
        code,
        bounds: bounds_in(limit.as_deref()),
        limit,
        rows: reason.rows,
        least: reason.values.map(|(least, _)| least),
        greatest: reason.values.map(|(_, greatest)| greatest),
    }
}

fn table(summary: &Summary, args: &Args) -> String {
    let mut out = String::new();
    let mut line = |label: &str, count: u64, note: &str| {
        let _ = writeln!(
            out,
            "{}",
            format!("{label:<28} {:>11}   {note}", thousands(count)).trim_end()
        );
    };
    line("rows in A", summary.rows_a, &args.a.display().to_string());
    line("rows in B", summary.rows_b, &args.b.display().to_string());
    line("the same in both", summary.same, "");
    for kind in [Kind::OnlyA, Kind::OnlyB, Kind::Changed, Kind::Decided] {
        let (label, place) = match kind {
            Kind::OnlyA => ("only in A", "B: "),
            Kind::OnlyB => ("only in B", "A: "),
            Kind::Changed => ("changed", ""),
            Kind::Decided => ("lost in both, otherwise", "B: "),
        };
        let rows = summary.differing.get(&kind).copied().unwrap_or(0);
        if rows == 0 && kind == Kind::Decided {
            continue;
        }
        line(label, rows, "");
        for ((_, why), reason) in summary.reasons.iter().filter(|((k, _), _)| *k == kind) {
            let values = match reason.values {
                Some((low, high)) if low < high => format!(" (values {low} to {high})"),
                Some((low, _)) => format!(" (value {low})"),
                None => String::new(),
            };
            line("", reason.rows, &format!("{place}{why}{values}"));
        }
        if kind == Kind::Changed {
            for (field, rows) in &summary.fields {
                line("", *rows, &format!("in field {field}"));
            }
        }
    }
    for note in &summary.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}
