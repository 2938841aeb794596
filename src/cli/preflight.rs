//! `djr check --for`: whether a program that trains will read a file, before it starts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use serde_json::Value;

use super::Exit;
use super::args::RunArgs;
use super::check::TrainerArgs;
use super::claim::claim;
use super::runner::{Signals, options};
use super::ui::Ui;
use crate::answer::{CheckAnswer, FindingCount, FindingRecord, TrainingChecked};
use crate::exec::{self, RunOptions};
use crate::io::Destination;
use crate::io::destination::is_stdout;
use crate::io::format::OutputFormat;
use crate::recipe::{
    Inputs, OutputSpec, PathStyle, QuarantineLimit, Recipe, Target, Validation, check_named,
    check_plain, format_of_name,
};
use crate::report::table::thousands;
use crate::trainer::{
    Check, CheckedFor, Columns, Container, Effect, FileFacts, Find, Form, Named, RowFindings, Task,
    Tokens, TrainerRef, files_of,
};

/// How many rows are shown a check, unless all are asked for.
const SHOWN: usize = 10;

/// A check that failed on a row or on a file.
struct Failed {
    file: PathBuf,
    line: Option<u64>,
    code: String,
    message: String,
    effect: Effect,
    loader: &'static str,
    cure: &'static str,
}

impl Failed {
    fn of(check: &'static Check, file: &Path, line: Option<u64>, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line,
            code: check.code.to_owned(),
            message,
            effect: check.effect,
            loader: check.loader,
            cure: check.cure,
        }
    }

    fn record(&self) -> FindingRecord {
        FindingRecord {
            file: self.file.display().to_string(),
            line: self.line,
            code: self.code.clone(),
            message: self.message.clone(),
            effect: self.effect.word(),
            loader: self.loader.to_owned(),
            cure: self.cure.to_owned(),
        }
    }

    fn to_text(&self) -> String {
        let place = match self.line {
            Some(line) => format!("{}:{line}", self.file.display()),
            None => self.file.display().to_string(),
        };
        format!(
            "{place}: {}: {}\n    {}: {}; cure: {}\n",
            self.code,
            self.message,
            self.effect.words(),
            self.loader,
            self.cure
        )
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    failed: Vec<Failed>,
    /// Findings by code, those too that are not shown.
    counts: Vec<(String, Effect, u64)>,
    /// Rows that fail, by where they begin.
    bad: HashMap<u64, &'static str>,
    rows: u64,
    all: bool,
}

impl Found {
    fn add(&mut self, failed: Failed) {
        let mut known = self.counts.iter_mut();
        let count = if let Some((.., count)) = known.find(|(code, ..)| *code == failed.code) {
            *count += 1;
            *count
        } else {
            self.counts.push((failed.code.clone(), failed.effect, 1));
            1
        };
        if self.all || count <= SHOWN as u64 {
            self.failed.push(failed);
        }
    }
}

impl Found {
    /// Adds what was found elsewhere.
    fn take(&mut self, other: Self) {
        for (offset, code) in other.bad {
            self.bad.entry(offset).or_insert(code);
        }
        self.failed.extend(other.failed);
        self.counts.extend(other.counts);
    }
}

/// Checks `files` for `trainer`, and shows what was found.
pub fn main(
    trainer: TrainerRef,
    files: &[PathBuf],
    args: &TrainerArgs,
    run: &RunArgs,
    ui: &Ui,
) -> Exit {
    let signals = Signals::watch(ui);
    let options = match options(&nothing(), run, &signals, ui) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let checked = CheckedFor {
        template: args.template,
        max_tokens: args.max_tokens,
        tokenizer: args.tokenizer.clone(),
        task: Task::Find(args.validate.unwrap_or(Validation::Decode)),
        ..CheckedFor::new(trainer)
    };
    if let Some(Err(what)) = args.tokenizer.as_deref().map(Tokens::load) {
        return ui.usage(&what, None);
    }
    let mut found = Found {
        all: args.all || ui.json,
        ..Found::default()
    };
    let mut named = Vec::new();
    for path in files {
        match files_of(trainer.get(), path) {
            Ok(files) => named.extend(files),
            Err(what) => return ui.usage(&what, None),
        }
    }
    let to_stdout = |out: &Path| out == Path::new("-") || is_stdout(out);
    if args.fix.as_deref().is_some_and(to_stdout) {
        return ui.usage(
            "--fix writes a file: what was found goes to standard output",
            Some("name a file, or /dev/fd/N for a descriptor of yours"),
        );
    }
    if args.fix.is_some() && named.len() != 1 {
        return ui.usage(
            "--fix writes one file for one",
            Some("check one file at a time"),
        );
    }
    let mut format = OutputFormat::ROWS;
    if let Some(out) = &args.fix {
        let cwd = &options.working_dir;
        format = match check_plain(cwd, out, None).and_then(|_| check_named(cwd, out)) {
            Ok(format) => format,
            Err(problem) => {
                return ui.usage_in(out.display(), &problem.what, Some(&problem.hint));
            }
        };
        // In a stream whose name says nothing rows lie as in the file.
        if Destination::is_stream(&cwd.join(out))
            && format_of_name(out).is_none()
            && let Some(Ok(form)) = named.first().map(|file| Form::of(&file.path))
            && form.container == Container::Array
        {
            format = OutputFormat::from_word("json").unwrap_or(format);
        }
        let read: Vec<&Path> = named.iter().map(|file| file.path.as_path()).collect();
        if let Err(exit) = claim(out, &read, run.force, ui) {
            return exit;
        }
    }
    for file in &named {
        let root = args.image_root.as_ref();
        if let Err(failure) = check_file(file, &checked, root, &options, &mut found) {
            let (exit, what) = failure;
            let code = if exit == Exit::Usage {
                "usage"
            } else {
                "cannot_read"
            };
            ui.error_in(file.path.display(), code, &what, None);
            return exit;
        }
    }
    let exit = show(&found, trainer, ui);
    match (&args.fix, named.first()) {
        (Some(out), Some(file)) => match fix(file, (out, format), checked, (found, &options), ui) {
            Ok(kept) => {
                ui.info(&format!(
                    "{}: {} rows without them",
                    out.display(),
                    thousands(kept)
                ));
                exit
            }
            Err(exit) => exit,
        },
        _ => exit,
    }
}

fn show(found: &Found, trainer: TrainerRef, ui: &Ui) -> Exit {
    let text: String = found.failed.iter().map(Failed::to_text).collect();
    match ui.data(&text) {
        Exit::Success => {}
        other => return other,
    }
    let sound = found.rows.saturating_sub(found.bad.len() as u64);
    ui.info(&format!(
        "for {}: {} rows, {} of them sound",
        trainer.title,
        thousands(found.rows),
        thousands(sound)
    ));
    for (code, effect, count) in &found.counts {
        let effect = effect.words();
        ui.info(&format!("  {:>9} {code} ({effect})", thousands(*count)));
    }
    let counts = found.counts.iter();
    ui.result(&CheckAnswer {
        training: Some(TrainingChecked {
            trainer: trainer.name.to_owned(),
            rows: found.rows,
            sound,
            counts: counts
                .map(|(code, effect, count)| FindingCount {
                    code: code.clone(),
                    effect: effect.word(),
                    count: *count,
                })
                .collect(),
            findings: found.failed.iter().map(Failed::record).collect(),
        }),
        ..CheckAnswer::default()
    });
    if found.counts.is_empty() {
        Exit::Success
    } else {
        Exit::Losses
    }
}

/// A recipe that reads and writes nothing.
fn nothing() -> Recipe {
    let output = OutputSpec::new(OutputFormat::ROWS, Target::Caller);
    Recipe::bare("check", Inputs::Stdin, output)
}

/// The recipe that reads one file.
fn recipe(
    file: &Named,
    args_root: Option<&PathBuf>,
    trainer: TrainerRef,
    output: OutputSpec,
    cwd: &Path,
) -> Recipe {
    let mut recipe = Recipe::bare("check", Inputs::Files(vec![file.path.clone()]), output);
    recipe.image_root = args_root.or(file.image_root.as_ref()).cloned();
    if recipe.image_root.is_none() && trainer.from_working_dir {
        recipe.image_root = Some(cwd.to_owned());
    }
    recipe.max_quarantine = QuarantineLimit::None;
    recipe
}

fn check_file(
    file: &Named,
    checked: &CheckedFor,
    image_root: Option<&PathBuf>,
    options: &RunOptions,
    found: &mut Found,
) -> Result<(), (Exit, String)> {
    let trainer = checked.trainer;
    let failed = |e: &dyn std::fmt::Display| (Exit::Usage, e.to_string());
    let form = Form::of(&file.path).map_err(|e| failed(&e))?;
    // What cannot be read at all is set aside here, to be told of.
    let aside = tempfile::tempdir().map_err(|e| failed(&e))?;
    let output = OutputSpec {
        checked: Some(checked.clone()),
        validate: Validation::None,
        paths: PathStyle::Keep,
        ..OutputSpec::new(OutputFormat::ROWS, Target::Caller)
    };
    let recipe = recipe(file, image_root, trainer, output, &options.working_dir);
    let options = RunOptions {
        run_dir: Some(aside.path().join("run")),
        max_quarantine: None,
        ..options.clone()
    };
    let mut columns = Columns::new(form.container != Container::Lines);
    let mut has_blank = form.ends_blank;
    let mut lines = 0;
    // Of checks that only count where some row has an image.
    let mut waiting = Found {
        all: found.all,
        ..Found::default()
    };
    let mut has_images = false;
    let mut receive = |_: usize, record: &[u8]| -> io::Result<()> {
        let row: RowFindings = serde_json::from_slice(record)?;
        has_blank |= row.line > lines + 1;
        lines = row.line;
        if let Some(types) = &row.types {
            columns.add(row.line, row.offset, types);
        }
        has_images |= row.has_image;
        found.rows += 1;
        for (number, message) in row.found {
            let Some(check) = trainer.checks.get(number) else {
                continue;
            };
            let into = match check.find {
                Find::RowAmongImages(_) => &mut waiting,
                _ => &mut *found,
            };
            into.bad.entry(row.offset).or_insert(check.code);
            into.add(Failed::of(check, &file.path, Some(row.line), message));
        }
        Ok(())
    };
    let outcome = exec::run_to(&recipe, &options, &mut (), &mut receive);
    let outcome = outcome.map_err(|e| (Exit::Failed, e.to_string()))?;
    if has_images {
        found.take(waiting);
    }
    // A line that is no row is a line.
    let broken = unreadable(outcome.quarantine.as_deref(), &file.path, trainer);
    has_blank &= broken.is_empty();
    found.rows += broken.len() as u64;
    for (offset, failed) in broken {
        found.bad.insert(offset, "json_invalid");
        found.add(failed);
    }
    let facts = FileFacts {
        path: &file.path,
        container: form.container,
        has_mark: form.has_mark,
        is_packed: form.is_packed,
        has_blank,
        rows: outcome.report.rows_in,
        columns: &columns,
        trainer: trainer.get(),
    };
    for check in trainer.checks {
        if let Find::File(find) = check.find
            && let Some(message) = find(&facts)
        {
            found.add(Failed::of(check, &file.path, None, message));
        }
    }
    Ok(())
}

/// The rows that are none, from where a run sets them aside.
fn unreadable(quarantine: Option<&Path>, file: &Path, trainer: TrainerRef) -> Vec<(u64, Failed)> {
    let text = quarantine.and_then(|path| std::fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    let records = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let failed = |record: Value| {
        let word = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| record.get(name).and_then(Value::as_u64);
        let loader = if trainer.infers_types {
            "`datasets` stops at it"
        } else {
            "`json` stops at it"
        };
        let failed = Failed {
            file: file.to_owned(),
            line: number("line"),
            code: word("code").to_owned(),
            message: word("message").to_owned(),
            effect: Effect::CrashStart,
            loader,
            cure: "--fix, or djr convert, which sets it aside",
        };
        (number("offset").unwrap_or_default(), failed)
    };
    records.map(failed).collect()
}

/// Writes a file without the rows that fail, and says how many it has.
fn fix(
    file: &Named,
    (out, format): (&Path, OutputFormat),
    checked: CheckedFor,
    (found, options): (Found, &RunOptions),
    ui: &Ui,
) -> Result<u64, Exit> {
    let cwd = &options.working_dir;
    let trainer = checked.trainer;
    let output = OutputSpec {
        checked: Some(CheckedFor {
            task: Task::Leave(Arc::new(found.bad)),
            ..checked
        }),
        validate: Validation::None,
        paths: PathStyle::Keep,
        ..OutputSpec::new(format, Target::at(cwd.join(out)))
    };
    let recipe = recipe(file, None, trainer, output, cwd);
    match exec::run(&recipe, options, &mut ()) {
        Ok(outcome) => Ok(outcome.report.rows_out),
        Err(e) => {
            ui.error(e.code(), &e.to_string(), None);
            Err(Exit::Failed)
        }
    }
}
