//! `djr index`: benchmark sets, or references of deduplicators, read once for many runs.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::claim::claim;
use super::ui::{AsJson, Ui};
use super::{Exit, run, runner};
use crate::answer::IndexAnswer;
use crate::exec::{self, Observer, RunOptions};
use crate::image::HashMethod;
use crate::io::{GivenRows, Named, PendingFile};
use crate::op::Family;
use crate::ops::benchmark::Benchmark;
use crate::recipe::{self, Found, Inputs, LoadOptions, Recipe, Step, Target, find_inputs};
use crate::report::table::{bytes, thousands};
use crate::service::{self, Host};

const EXAMPLES: &str = "\
Examples:
  djr index benchmark.json --image-folder images -o benchmark.index.json
  djr decontaminate data.jsonl --against benchmark.index.json -o free.jsonl
  djr index seen.jsonl --for recipes/best_of_duplicates.yaml --step 2 -o seen.index

Benchmarks are TSV tables with columns index, question, image (base64) and A, B, ... (MMBench), or
JSON {\"data\": [{\"question\", \"image_id\"}]} with a folder of pictures (TextVQA).

With --for, the keys that the recipe's deduplicator makes of rows: `reference: [seen.index]` then does
what `reference: [seen.jsonl]` does, without reading these rows and their images again. An index that a
step's parameters no longer fit is refused.";

/// Read benchmark sets, or references of deduplicators, once for many runs.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The files of the benchmarks; with --for, files or directories of rows, or patterns.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Make an index of references for a deduplicator of this recipe.
    #[arg(long = "for", value_name = "RECIPE", conflicts_with_all = ["image_folder", "no_images"])]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    of_rows: RowArgs,
    /// Where the pictures lie that benchmarks name [default: beside the file].
    #[arg(long, value_name = "DIR")]
    image_folder: Option<PathBuf>,
    /// Leave the pictures of benchmarks out.
    #[arg(long)]
    no_images: bool,
    /// The file to write: OUT.index, or of benchmarks OUT.json.
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// Overwrite the output of a run.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// What belongs to `--for`.
#[derive(clap::Args)]
struct RowArgs {
    /// With --for: the number of the step, if the recipe has several deduplicators.
    #[arg(long, value_name = "N", requires = "recipe")]
    step: Option<usize>,
    /// With --for: override a key of the recipe; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = run::parse_set, requires = "recipe")]
    set: Vec<(String, String)>,
    /// With --for: worker threads [default: all cores]. The outcome is the same for any number.
    #[arg(long, short = 'j', value_name = "N", requires = "recipe", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// With --for: the Python that runs models [default: `DJR_PYTHON`, the active environment's, python3].
    #[arg(long, value_name = "PATH", requires = "recipe")]
    python: Option<PathBuf>,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let read: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
    if let Err(exit) = claim(&args.output, &read, args.force, ui) {
        return exit;
    }
    // An index of benchmarks is JSON, one of references is not.
    let suffixes: &[&str] = match &args.recipe {
        Some(_) => &["index"],
        None => &["index", "json"],
    };
    if let Err(problem) = recipe::check_document(Path::new(""), &args.output, suffixes) {
        return ui.usage(&problem.what, Some(&problem.hint));
    }
    let made = match &args.recipe {
        Some(recipe) => references(recipe, args, ui),
        None => benchmarks(args, ui),
    };
    match made {
        Ok((answer, told)) => {
            ui.info(&format!(
                "{}: {told}, {}",
                args.output.display(),
                bytes(answer.bytes)
            ));
            ui.result(&answer);
            Exit::Success
        }
        Err(exit) => exit,
    }
}

/// What was made, and the same in words.
type Made = (IndexAnswer, String);

fn benchmarks(args: &Args, ui: &Ui) -> Result<Made, Exit> {
    let mut benchmark = Benchmark::default();
    let method = (!args.no_images).then_some(("phash", HashMethod::Phash));
    for path in &args.files {
        let folder = args.image_folder.as_deref();
        let open = |path: &Path| std::fs::read(path);
        if let Err(error) = benchmark.add(path, folder, method, &open) {
            ui.error("benchmark_invalid", &error.to_string(), None);
            return Err(Exit::Usage);
        }
    }
    let index = benchmark.to_index();
    let written = PendingFile::create(&args.output)
        .and_then(|mut file| file.write_all(&index).and_then(|()| file.commit()));
    if let Err(error) = written {
        return Err(unwritten(&args.output, &error, ui));
    }
    let entries = &benchmark.entries;
    let with = |has: fn(&crate::ops::benchmark::Entry) -> bool| {
        entries.iter().filter(|entry| has(entry)).count() as u64
    };
    let answer = IndexAnswer {
        output: args.output.clone(),
        bytes: index.len() as u64,
        questions: with(|entry| !entry.question.is_empty()),
        pictures: with(|entry| entry.image.is_some()),
        ..IndexAnswer::default()
    };
    let told = format!(
        "{} questions, {} pictures",
        thousands(answer.questions),
        thousands(answer.pictures)
    );
    Ok((answer, told))
}

fn unwritten(path: &Path, error: &std::io::Error, ui: &Ui) -> Exit {
    let message = format!("{}: {error}", path.display());
    ui.error("cannot_write", &message, None);
    Exit::Failed
}

fn references(path: &Path, args: &Args, ui: &Ui) -> Result<Made, Exit> {
    let cwd = runner::working_dir(ui)?;
    let recipe = load(path, args, &cwd, ui)?;
    let (number, op) = step(&recipe, args.of_rows.step, ui)?;
    let Found { files, notes, .. } =
        find_inputs(&args.files).map_err(|problems| ui.problems(&problems))?;
    ui.notes(&notes);
    if let Some(folder) = files.iter().find(|path| !path.is_file()) {
        let what = format!("{}: no file of rows on this machine", folder.display());
        return Err(ui.usage(&what, Some("name files, or directories of files")));
    }
    if files.contains(&args.output) {
        let what = format!("{} is an input, too", args.output.display());
        return Err(ui.usage(&what, Some("write the index beside it")));
    }
    // The ledger names its rows as it would those of the files themselves.
    let files: Vec<PathBuf> = files
        .iter()
        .map(|path| cwd.join(path).components().collect())
        .collect();
    let signals = runner::Signals::watch(ui);
    let options = RunOptions {
        threads: args.of_rows.threads.map(usize::from),
        working_dir: cwd,
        interrupted: signals.interrupted(),
        host: Host {
            pythons: service::candidates(args.of_rows.python.as_deref(), |name| {
                std::env::var_os(name)
            }),
            ..Host::default()
        },
        ..RunOptions::default()
    };
    let mut file =
        PendingFile::create(&args.output).map_err(|error| unwritten(&args.output, &error, ui))?;
    let sizes = files.iter().map(std::fs::metadata);
    let size = sizes.map(|it| it.map_or(0, |it| it.len())).sum();
    let mut progress = ui.progress(Some(size));
    let made = exec::ReferenceIndex {
        recipe: &recipe,
        step: number,
        files: &files,
        options: &options,
    };
    let mut out = Named::new(args.output.display(), &mut file);
    let rows = made.write(&mut out, &mut progress as &mut dyn Observer);
    drop(progress);
    let rows = rows.map_err(|failure| {
        let (exit, problem) = runner::failed(&failure, None);
        ui.error(&problem.code, &problem.message, problem.hint.as_deref());
        if exit == Exit::Interrupted {
            signals.exit()
        } else {
            exit
        }
    })?;
    file.commit()
        .map_err(|error| unwritten(&args.output, &error, ui))?;
    let size = std::fs::metadata(&args.output);
    let answer = IndexAnswer {
        output: args.output.clone(),
        bytes: size.map_or(0, |it| it.len()),
        operator: Some(op.clone()),
        rows: Some(rows),
        ..IndexAnswer::default()
    };
    Ok((answer, format!("{} rows for {op}", thousands(rows))))
}

/// The recipe, whose own rows, outputs and references are not looked at.
fn load(path: &Path, args: &Args, cwd: &Path, ui: &Ui) -> Result<Recipe, Exit> {
    let source = run::source(path, false, ui)?;
    let none = GivenRows::new("no rows", Vec::new());
    let options = LoadOptions {
        sets: args.of_rows.set.clone(),
        input: Some(Inputs::Given(none)),
        output: Some(Target::Caller),
        peers: Some(run::peers(args.of_rows.python.as_deref(), cwd)),
        without_references: true,
        ..LoadOptions::new(cwd)
    };
    recipe::load(&source, &options).map_err(|problems| ui.problems(&problems))
}

/// The step that is meant, from 0, and its operator.
fn step(recipe: &Recipe, asked: Option<usize>, ui: &Ui) -> Result<(usize, String), Exit> {
    let takes_references = |step: &Step| {
        let def = crate::op::find(step.name);
        def.is_some_and(|def| def.family == Family::Deduplicator)
    };
    let steps = recipe.steps.iter().enumerate();
    let own: Vec<_> = steps
        .filter(|(_, step)| takes_references(step))
        .map(|(number, step)| (number, step.name.to_owned()))
        .collect();
    let listed: Vec<String> = own
        .iter()
        .map(|(number, op)| format!("{} {op}", number + 1))
        .collect();
    let listed = listed.join(", ");
    match (asked, own.as_slice()) {
        (_, []) => Err(ui.usage(
            "the recipe has no deduplicator that takes a reference",
            Some("an index holds the keys that one makes of rows"),
        )),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(ui.usage(
            &format!("the recipe has several deduplicators: {listed}"),
            Some("name one by its number: --step N"),
        )),
        (Some(asked), own) => {
            let meant = own.iter().find(|(number, _)| number + 1 == asked);
            meant.cloned().ok_or_else(|| {
                ui.usage(
                    &format!("step {asked} is no deduplicator that takes a reference"),
                    Some(&format!("it has {listed}")),
                )
            })
        }
    }
}
