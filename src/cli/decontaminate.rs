//! `djr decontaminate`: rows without those that hold something of a benchmark.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::RunArgs;
use super::subset::{Ends, ends};
use super::ui::{AsJson, Ui};
use super::{Exit, dry_run, runner};
use crate::ops::BenchmarkStep;
use crate::recipe::{self, Of, OutputSpec, PathStyle, Recipe, StepSpec, Target};
use crate::record::{PastRun, RecordError};
use crate::report::table::thousands;

const EXAMPLES: &str = "\
Examples:
  djr decontaminate data.jsonl --against benchmark.json --image-folder images -o free.jsonl
  djr index benchmark.json --image-folder images -o benchmark.index.json
  djr decontaminate data.jsonl --against benchmark.index.json --questions -o free2.jsonl
  djr decontaminate data.jsonl --against benchmark.index.json -o free3.jsonl --dropped gone.jsonl

A row goes if its text shares a run of 13 words with a benchmark, or if a picture of it differs from
one of a benchmark in at most 4 of 64 bits. `djr why OUT ID` names what a row matched. As a step of a
recipe: djr ops benchmark.";

/// Drop rows that hold questions or pictures of benchmark sets.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rows: files or directories, in order; - or nothing is standard input.
    input: Vec<PathBuf>,
    /// The same as INPUT; repeatable.
    #[arg(long = "input", short, value_name = "PATH")]
    more: Vec<PathBuf>,
    /// A benchmark: a .tsv or .json, or what `djr index` made of some; repeatable.
    #[arg(long, value_name = "FILE", required = true)]
    against: Vec<String>,
    /// Where the pictures lie that a benchmark names [default: beside its file].
    #[arg(long, value_name = "DIR")]
    image_folder: Option<String>,
    /// How many words in a row must be the same; 0 compares no runs of words.
    #[arg(long, value_name = "WORDS", default_value_t = 13)]
    ngram: u32,
    /// Look for whole questions of at least four words, too.
    #[arg(long)]
    questions: bool,
    /// In how many of 64 bits pictures differ at most that are taken for the same.
    #[arg(long, value_name = "BITS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=32))]
    distance: u32,
    /// Compare no pictures.
    #[arg(long)]
    no_images: bool,
    /// Relative image paths of the rows start here.
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// How image paths are written.
    #[arg(long, value_name = "STYLE", default_value = "keep")]
    paths: PathStyle,
    /// The file to write; - or nothing is standard output.
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// A file for the rows that matched, each with what it matched.
    #[arg(long, value_name = "FILE")]
    dropped: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Say what would be read, written and overwritten, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let asked = Ends {
        input: &[args.input.as_slice(), &args.more].concat(),
        output: args.output.as_ref(),
        format: None,
        image_root: args.image_root.as_ref(),
    };
    let (inputs, target, format) = match ends(asked, ui) {
        Ok(ends) => ends,
        Err(exit) => return exit,
    };
    let output = OutputSpec {
        paths: args.paths,
        ..OutputSpec::new(format, target.clone())
    };
    let mut recipe = Recipe::bare("decontaminate", inputs, output).spec();
    recipe.image_root.clone_from(&args.image_root);
    recipe.text_keys = vec!["text".to_owned()];
    recipe.max_memory = args.run.max_memory;
    if let Some(on_error) = args.run.on_error {
        recipe.on_error = on_error;
    }
    if let Some(path) = &args.dropped {
        let format = match recipe::check_named(Path::new(""), path) {
            Ok(format) => format,
            Err(problem) => {
                return ui.usage_in(path.display(), &problem.what, Some(&problem.hint));
            }
        };
        recipe.outputs.push(OutputSpec {
            of: Of::Dropped,
            paths: args.paths,
            ..OutputSpec::new(format, Target::at(path.clone()))
        });
    }
    let step = BenchmarkStep {
        benchmarks: args.against.clone(),
        image_folder: args.image_folder.clone(),
        ngram: (args.ngram > 0).then_some(args.ngram.into()),
        questions: args.questions,
        distance: (!args.no_images).then_some(args.distance),
    };
    recipe.steps.push(StepSpec {
        name: BenchmarkStep::NAME.to_owned(),
        params: step.params(),
    });
    recipe.search = match runner::working_dir(ui) {
        Ok(here) => vec![here],
        Err(exit) => return exit,
    };
    let recipe = match recipe.build() {
        Ok(recipe) => recipe,
        Err(problems) => return ui.problems(&problems),
    };
    if args.dry_run {
        return dry_run::run(&recipe, &args.run, None, ui);
    }
    let exit = runner::run(&recipe, &args.run, ui);
    if matches!(exit, Exit::Success | Exit::Losses)
        && let Some(path) = target.path().filter(|_| target.is_file())
    {
        match matches(path) {
            Ok(found) => {
                for (what, rows) in found {
                    let (rows, verb) = match rows {
                        1 => ("1 row".to_owned(), "matches"),
                        rows => (format!("{} rows", thousands(rows)), "match"),
                    };
                    ui.info(&format!("  {rows} {verb} {what}"));
                }
            }
            Err(error) => ui.record(&error),
        }
    }
    exit
}

/// How many rows matched each benchmark, and how, as the ledger tells it.
fn matches(output: &Path) -> Result<BTreeMap<String, u64>, RecordError> {
    let mut found = BTreeMap::new();
    let mut ledger = PastRun::open(output)?.ledger()?;
    while let Some(entry) = ledger.next_record()? {
        if let (Some(Value::String(matched)), Some(BenchmarkStep::NAME)) =
            (&entry.value, entry.by.as_deref())
        {
            *found.entry(kind_of(matched)).or_default() += 1;
        }
    }
    Ok(found)
}

/// `mmbench.tsv (picture)` of `mmbench.tsv:12 (picture, 2 bits)`.
fn kind_of(matched: &str) -> String {
    let (place, how) = matched.rsplit_once(" (").unwrap_or((matched, ""));
    let file = place.rsplit_once(':').map_or(place, |(file, _)| file);
    let how = how
        .trim_end_matches(')')
        .split(',')
        .next()
        .unwrap_or_default();
    format!("{file} ({how})")
}
