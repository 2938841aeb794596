//! `djr report`: one HTML page about a run or an analysis.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::claim::claim;
use super::ui::{AsJson, Ui};
use super::{Exit, past};
use crate::answer::ReportAnswer;
use crate::io::PendingFile;
use crate::layout::AnalysisFiles;
use crate::recipe::check_document;
use crate::record::{PastRun, RecordError};
use crate::report::table::bytes;
use crate::view::{ViewError, html};

const EXAMPLES: &str = "\
Examples:
  djr report out/clean.jsonl -o report.html   a run: what each operator did, and to which rows
  djr report look -o report.html              an analysis: what was measured, duplicates

The page is one file: it loads nothing, holds no script, and shows pictures made small.";

/// Write one HTML page that shows what a run did, or what an analysis found.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A run (its .djr directory, or one of its outputs), or the directory of an analysis.
    what: PathBuf,
    /// The page to write; - or nothing is standard output.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Overwrite the output of a run.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    if let Some(path) = &args.output
        && path.as_os_str() != "-"
        && let Err(problem) = check_document(Path::new(""), path, &["html", "htm"])
    {
        return ui.usage_in(path.display(), &problem.what, Some(&problem.hint));
    }
    let what = args.what.as_path();
    if let Some(path) = &args.output
        && let Err(exit) = claim(path, &[what], args.force, ui)
    {
        return exit;
    }
    let page = if AnalysisFiles::new(what).json().is_file() {
        html::analysis_page(what)
    } else {
        match PastRun::open(what) {
            Ok(run) => {
                let _ = past::look([what], ui);
                html::run_page(&run)
            }
            // A JSON file that no run wrote may be an analysis under any name.
            Err(RecordError::NoRun(_)) if what.extension().is_some_and(|e| e == "json") => {
                html::analysis_page(what)
            }
            Err(failure) => {
                ui.record(&failure);
                return Exit::Usage;
            }
        }
    };
    let page = match page {
        Ok(page) => page,
        Err(failure) => {
            ui.view(&failure);
            return Exit::Failed;
        }
    };
    match args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"))
    {
        None if ui.json => ui.usage(
            "the page and the answer of --json cannot both go to standard output",
            Some("write the page to a file: -o report.html"),
        ),
        None => ui.data(&page),
        Some(path) => match write(path, &page) {
            Ok(()) => {
                ui.info(&format!("{}: {}", path.display(), bytes(page.len() as u64)));
                ui.result(&ReportAnswer {
                    page: path.to_owned(),
                    bytes: page.len() as u64,
                });
                Exit::Success
            }
            Err(failure) => {
                ui.view(&failure);
                Exit::Failed
            }
        },
    }
}

fn write(path: &Path, page: &str) -> Result<(), ViewError> {
    let fail = |e| ViewError::write(path.display(), e);
    let mut file = PendingFile::create(path).map_err(fail)?;
    file.write_all(page.as_bytes()).map_err(fail)?;
    file.commit().map(drop).map_err(fail)
}
