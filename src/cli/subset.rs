//! `djr subset`: exactly N rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::args::{OF_CACHE, RunArgs, inputs, refuse};
use super::claim::claim_as;
use super::explain::times_of;
use super::ui::{AsJson, Ui};
use super::{Exit, dry_run, past, runner};
use crate::answer::{ProblemRecord, RunAnswer};
use crate::exec::setup::{BATCH_BYTES, hold_lines, sources};
use crate::exec::subset::{self, Copied, LineSample};
use crate::exec::{FileNow, RunError, WouldDo};
use crate::io::LineSource;
use crate::io::destination::leads_into;
use crate::io::format::OutputFormat;
use crate::io::remote::is_remote;
use crate::layout::RunFiles;
use crate::note::{Code, Note};
use crate::ops::MixtureStep;
use crate::recipe::{
    self, Inputs, OutputSpec, PathStyle, Recipe, Sampler, StepSpec, Target, Validation, find_inputs,
};
use crate::record::manifest::{OutputRecord, RowCounts};
use crate::report::table::thousands;
use crate::sample::DATASET;

const EXAMPLES: &str = "\
Examples:
  djr subset --n 10000 data.jsonl -o 10k.jsonl
  djr subset -n 5% data.jsonl -o part.jsonl
  djr subset --n 200000 --sampler python --seed 1024 data.jsonl -o 200k.jsonl
  djr subset --n 10000 --image-root /data --paths absolute data.jsonl -o 10k.jsonl
  djr subset --n 300 --by source --shares web=2,news=1 data.jsonl -o mixed.jsonl
  cat data.jsonl | djr subset --n 100 | head

Without --image-root, --validate, --paths or --by rows are copied byte for byte, each on its line.
Exit code 1 if there are fewer rows than asked for.";

/// Take exactly N rows, uniformly, without replacement; or so many of each kind.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rows: files or directories, in order; - or nothing is standard input.
    input: Vec<PathBuf>,
    /// The same as INPUT; repeatable.
    #[arg(long = "input", short, alias = "dataset_path", value_name = "PATH")]
    more: Vec<PathBuf>,
    /// How many rows: a number, or a share such as 5%.
    #[arg(long, short, value_name = "N", value_parser = parse_count)]
    n: Count,
    /// The file to write; - or nothing is standard output.
    #[arg(long, short, alias = "export_path", value_name = "OUT")]
    output: Option<PathBuf>,
    /// The same seed and input give the same rows.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// How rows are drawn.
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    sampler: Sampler,
    /// Write rows in random order instead of input order.
    #[arg(long)]
    shuffle: bool,
    /// Rows with the same value of this field are of one kind, and so many of each are drawn.
    #[arg(long, value_name = "FIELD", conflicts_with = "sampler")]
    by: Option<String>,
    /// Numbers at which kinds begin, if the value is one: 100,200 makes three kinds.
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "by")]
    bins: Vec<f64>,
    /// What part each kind gets: proportional, equal, or VALUE=NUMBER,VALUE=NUMBER.
    #[arg(
        long,
        value_name = "SHARES",
        default_value = "proportional",
        value_parser = parse_shares,
        requires = "by"
    )]
    shares: Value,
    /// Copy rows of a kind that has too few, all of them as often as they fit, then a draw.
    #[arg(long, requires = "by", conflicts_with = "shuffle")]
    repeat: bool,
    /// Relative image paths start here; implies --validate decode.
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// How far images are checked; a row that fails is replaced by the next one drawn (not with
    /// --by, where it is set aside).
    #[arg(long, value_name = "LEVEL")]
    validate: Option<Validation>,
    /// How image paths are written.
    #[arg(long, value_name = "STYLE")]
    paths: Option<PathStyle>,
    #[command(flatten)]
    run: RunArgs,
    /// Say what would be read, written and overwritten, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// How many rows are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Count {
    /// So many.
    Rows(u64),
    /// This share of them, from 0 to 1.
    Share(f64),
}

fn parse_count(text: &str) -> Result<Count, String> {
    let wrong = || format!("'{text}' is no number of rows; write e.g. 1000 or 5%");
    let Some(percent) = text.strip_suffix('%') else {
        return text.parse().map(Count::Rows).map_err(|_| wrong());
    };
    let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
    if (0.0..=100.0).contains(&percent) {
        Ok(Count::Share(percent / 100.0))
    } else {
        Err(wrong())
    }
}

fn parse_shares(text: &str) -> Result<Value, String> {
    if !text.contains('=') {
        return Ok(text.into());
    }
    let share = |part: &str| {
        let (kind, share) = part.rsplit_once('=')?;
        let share: f64 = share.trim().parse().ok()?;
        Some((kind.trim().to_owned(), Value::from(share)))
    };
    let shares: Option<Map<String, Value>> = text.split(',').map(share).collect();
    shares.map(Value::Object).ok_or_else(|| {
        format!("'{text}' gives no number to a kind; write e.g. web=2,news=1, or equal")
    })
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let given = [args.input.as_slice(), &args.more].concat();
    let asked = Ends {
        input: &given,
        output: args.output.as_ref(),
        format: None,
        image_root: args.image_root.as_ref(),
    };
    let (inputs, target, format) = match ends(asked, ui) {
        Ok(ends) => ends,
        Err(exit) => return exit,
    };
    if ui.typed("--shuffle") && args.sampler == Sampler::Python {
        return ui.usage(
            "--shuffle has no effect with --sampler python, which gives the order, too",
            Some("leave one of them out"),
        );
    }
    let implied = if args.image_root.is_some() {
        Validation::Decode
    } else {
        Validation::None
    };
    let validate = args.validate.unwrap_or(implied);
    let paths = args.paths.unwrap_or(PathStyle::Keep);
    let packed = target.path().is_some_and(recipe::is_packed);
    let as_they_are = !packed
        && args.by.is_none()
        && validate == Validation::None
        && paths == PathStyle::Keep
        && format == OutputFormat::ROWS;
    let rows = match rows(args.n, &inputs, ui) {
        Ok(rows) => rows,
        Err(exit) => return exit,
    };
    match as_they_are.then(|| hold_lines(&inputs)).transpose() {
        Ok(Some(true)) => return copy_lines(args, rows, (&inputs, &target), ui),
        Ok(_) => {}
        Err(failure) => return failed(&failure, ui),
    }
    let output = OutputSpec {
        paths,
        validate,
        // A mixture with copies has its number of rows, and its own order.
        sample: (!args.repeat).then_some(rows),
        seed: args.seed,
        sampler: args.sampler,
        shuffle: args.shuffle,
        ..OutputSpec::new(format, target)
    };
    let mut recipe = Recipe::bare("subset", inputs, output);
    if args.by.as_deref() == Some(DATASET) && matches!(recipe.inputs, Inputs::Files(_)) {
        // They were found before.
        recipe.datasets = find_inputs(&given).map_or_else(|_| Vec::new(), |found| found.datasets);
    }
    recipe.image_root.clone_from(&args.image_root);
    if let Some(on_error) = args.run.on_error {
        recipe.on_error = on_error;
    }
    if args.by.is_none()
        && validate == Validation::None
        && let Err(exit) = refuse(&OF_CACHE, "where no image is checked", ui)
    {
        return exit;
    }
    let Some(by) = args.by.clone() else {
        return start(&recipe, args, ui);
    };
    let step = MixtureStep {
        by,
        bins: args.bins.clone(),
        shares: args.shares.clone(),
        rows,
        repeats: args.repeat,
    };
    recipe.seed = args.seed;
    let mut spec = recipe.spec();
    spec.steps.push(StepSpec {
        name: MixtureStep::NAME.to_owned(),
        params: step.params(),
    });
    match spec.build() {
        Ok(recipe) => start(&recipe, args, ui),
        Err(problems) => ui.problems(&problems),
    }
}

fn start(recipe: &Recipe, args: &Args, ui: &Ui) -> Exit {
    if args.dry_run {
        dry_run::run(recipe, &args.run, None, ui)
    } else {
        runner::run(recipe, &args.run, ui)
    }
}

/// How many rows that is. A share asks for a pass over the inputs, which counts their rows.
fn rows(count: Count, inputs: &Inputs, ui: &Ui) -> Result<u64, Exit> {
    let share = match count {
        Count::Rows(rows) => return Ok(rows),
        Count::Share(share) => share,
    };
    if !matches!(inputs, Inputs::Files(files) if files.iter().all(|file| file.is_file() || is_remote(file)))
    {
        return Err(ui.usage(
            "a share of rows that can be read only once is not known before their end",
            Some("put them into a file, or ask for a number of rows"),
        ));
    }
    let mut source = LineSource::new(sources(inputs, &Arc::default()));
    let mut rows = 0_u64;
    loop {
        match source.next_batch(BATCH_ROWS, BATCH_BYTES) {
            Ok(Some(batch)) => rows += batch.lines.len() as u64,
            Ok(None) => return Ok(times_of(rows, share)),
            Err(failure) => return Err(failed(&failure.into(), ui)),
        }
    }
}

/// Rows of a batch that is counted.
const BATCH_ROWS: usize = 4096;

fn copy_lines(args: &Args, rows: u64, (inputs, target): (&Inputs, &Target), ui: &Ui) -> Exit {
    let mut said = RunArgs::options();
    said.retain(|option| ui.typed(option) && option != "--force");
    if let Some(first) = said.first() {
        let (is, it) = if said.len() == 1 {
            ("has", "it")
        } else {
            ("have", "them")
        };
        return ui.usage(
            &format!(
                "{} {is} no effect where lines are copied as they are",
                said.join(", ")
            ),
            Some(&format!(
                "leave {it} out; with --validate exists, say, rows are read and checked, and {first} counts"
            )),
        );
    }
    if ui.json && *target == Target::Stdout {
        return ui.usage(
            "rows and the answer of --json cannot both go to standard output",
            Some("write rows to a file: -o OUT"),
        );
    }
    if let (Target::File(path), Inputs::Files(read)) = (target, inputs) {
        let read: Vec<&Path> = read.iter().map(PathBuf::as_path).collect();
        if let Err(exit) = claim_as(Some("subset"), path, &read, args.run.force, ui) {
            return exit;
        }
    }
    if args.dry_run {
        return dry_run::copy(&would_copy(inputs, target), ui);
    }
    let sample = LineSample {
        rows,
        seed: args.seed,
        sampler: args.sampler,
        shuffle: args.shuffle,
    };
    let copied = match subset::copy(inputs, target, &sample) {
        Ok(copied) => copied,
        Err(RunError::BrokenPipe) => return Exit::Success,
        Err(failure) => return failed(&failure, ui),
    };
    if copied.written < rows {
        let text = format!(
            "there are only {} rows; all were taken",
            thousands(copied.written)
        );
        ui.notes(&[Note::new(Code::SampleShort, text)]);
    }
    let order = if args.shuffle { ", shuffled" } else { "" };
    ui.info(&format!(
        "{} of {} rows written ({} sampler, seed {}{order})",
        thousands(copied.written),
        thousands(copied.rows),
        args.sampler,
        args.seed
    ));
    if copied.unusable > 0 {
        ui.info(&format!(
            "{} rows cannot be copied and were not drawn: the input is cut short, or is no JSON there",
            thousands(copied.unusable)
        ));
    }
    ui.result(&answer(&copied, target));
    if copied.written < rows || copied.unusable > 0 {
        Exit::Losses
    } else {
        Exit::Success
    }
}

/// What a copy would read and write.
fn would_copy(inputs: &Inputs, target: &Target) -> WouldDo {
    let sources = sources(inputs, &Arc::default());
    let reads = sources.iter().map(|input| FileNow {
        name: input.name(),
        bytes: input.source().size(),
    });
    let file = target.path().filter(|_| target.is_file());
    WouldDo {
        reads: reads.collect(),
        writes: file.map(FileNow::at).into_iter().collect(),
        run_dir: file.and_then(RunFiles::of_output).map(|files| files.dir),
    }
}

/// What was copied, as runs tell it.
fn answer(copied: &Copied, target: &Target) -> RunAnswer {
    let not_drawn = copied.rows.saturating_sub(copied.written + copied.unusable);
    RunAnswer {
        rows: Some(RowCounts {
            read: copied.rows,
            out: copied.written,
            dropped: not_drawn,
            quarantined: copied.unusable,
            conserved: true,
            ..RowCounts::default()
        }),
        outputs: vec![OutputRecord {
            name: target.to_string(),
            format: OutputFormat::ROWS.word().to_owned(),
            candidates: copied.rows.saturating_sub(copied.unusable),
            written: copied.written,
            not_drawn,
            ..OutputRecord::default()
        }],
        ..RunAnswer::default()
    }
}

fn failed(failure: &RunError, ui: &Ui) -> Exit {
    let (_, problem) = runner::failed(failure, None);
    ui.problem(ProblemRecord {
        hint: None,
        ..problem
    });
    match failure {
        RunError::Source(error) if error.is_of_input() => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// What the command line says of the ends of a conversion.
pub(super) struct Ends<'a> {
    pub input: &'a [PathBuf],
    pub output: Option<&'a PathBuf>,
    pub format: Option<OutputFormat>,
    pub image_root: Option<&'a PathBuf>,
}

/// Where rows come from and go to, checked to be there, and the format of the output, which its
/// name says if nobody else does.
pub(super) fn ends(asked: Ends<'_>, ui: &Ui) -> Result<(Inputs, Target, OutputFormat), Exit> {
    let Ends {
        input,
        output,
        format,
        image_root,
    } = asked;
    let dash = |path: &PathBuf| path.as_os_str() == "-";
    past::look(input.iter().map(PathBuf::as_path), ui)?;
    let inputs = match inputs(input, ui)? {
        Some(Inputs::Files(given)) => {
            let found = find_inputs(&given).map_err(|problems| {
                for problem in &problems {
                    ui.problem(problem.into());
                }
                Exit::Usage
            })?;
            ui.notes(&found.notes);
            Inputs::Files(found.files)
        }
        other => other.unwrap_or(Inputs::Stdin),
    };
    if let Some(root) = image_root
        && !root.is_dir()
    {
        return Err(ui.usage_in(
            root.display(),
            &format!("{}: --image-root is not a directory", root.display()),
            None,
        ));
    }
    let here = Path::new("");
    let checked = match (output, format) {
        (None, format) => Ok(format.unwrap_or(OutputFormat::ROWS)),
        (Some(path), None) if dash(path) => Ok(OutputFormat::ROWS),
        (Some(path), None) => recipe::check_named(here, path),
        (Some(path), Some(format)) => recipe::check_path(here, path, Some(format)).map(|_| format),
    };
    let format = checked.map_err(|problem| {
        let file = output.map_or_else(String::new, |path| path.display().to_string());
        ui.usage_in(file, &problem.what, Some(&problem.hint))
    })?;
    let target = match output {
        Some(path) if !dash(path) => Target::at(path.clone()),
        _ => Target::Stdout,
    };
    if let Target::File(out) = &target
        && let Err(problem) = recipe::check_writable(out)
    {
        return Err(ui.usage_in(out.display(), &problem.what, Some(&problem.hint)));
    }
    if let Inputs::Files(files) = &inputs {
        let same = |file: &PathBuf| match (&target, target.stream()) {
            (Target::File(out), _) => {
                let real = [file, out].map(std::fs::canonicalize);
                matches!(real, [Ok(a), Ok(b)] if a == b)
            }
            (_, Some(stream)) => leads_into(stream, file),
            (_, None) => false,
        };
        if files.iter().any(same) {
            return Err(ui.usage_in(
                &target,
                &format!("{target}: the output is also an input"),
                Some("write to another file"),
            ));
        }
    }
    Ok((inputs, target, format))
}
