//! `djr convert`: Data-Juicer rows to LLaVA records, and back.

use std::path::PathBuf;

use clap::ValueEnum;

use super::args::{PathsArg, RunArgs, ValidateArg};
use super::{Exit, runner, subset};
use crate::recipe::{OutputFormat, OutputSpec, PathStyle, Recipe, Sampler, Validation};

const EXAMPLES: &str = "\
Examples:
  djr convert --to llava clean.jsonl --questions stage_1.json -o train.json
  djr convert --to llava rows.jsonl --image-root /data --paths relative -o train.json
  djr convert --to dj train.json --only-caption -o rows.jsonl

Rows that cannot become a sound record (two images, unknown id, empty caption, broken image, ...)
are set aside with the reason in OUT.djr/quarantine.jsonl; the rest is written and the exit
code is 1.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// One JSON array of LLaVA conversations.
    Llava,
    /// Data-Juicer rows, one JSON object a line.
    Dj,
}

/// Convert Data-Juicer rows to LLaVA records, or LLaVA records to rows.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// JSONL rows (or a JSON array of records); - or nothing is standard input.
    input: Option<PathBuf>,
    /// The format to write.
    #[arg(long)]
    to: To,
    /// The file to write; - or nothing is standard output.
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// A LLaVA file whose first human turns are restored by id, e.g. `stage_1.json`.
    #[arg(long, value_name = "FILE")]
    questions: Option<PathBuf>,
    /// Relative image paths start here [default: the input's directory].
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// How far images are checked [default: decode for llava, none for dj].
    #[arg(long, value_name = "LEVEL")]
    validate: Option<ValidateArg>,
    /// How image paths are written [default: absolute for llava, keep for dj].
    #[arg(long, value_name = "STYLE")]
    paths: Option<PathsArg>,
    /// What stands for an image in the rows' text.
    #[arg(long, value_name = "TOKEN", default_value = "<__dj__image>")]
    image_token: String,
    /// What ends a chunk in the rows' text.
    #[arg(long, value_name = "TOKEN", default_value = "<|__dj__eoc|>")]
    eoc_token: String,
    /// To dj: keep only the answers, as captions.
    #[arg(long)]
    only_caption: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the command.
pub fn main(args: &Args) -> Exit {
    let (inputs, target) = match subset::ends(
        args.input.as_slice(),
        args.output.as_ref(),
        args.image_root.as_ref(),
    ) {
        Ok(ends) => ends,
        Err(exit) => return exit,
    };
    if let Some(questions) = &args.questions {
        if args.to == To::Dj {
            super::error("--questions is for --to llava", None);
            return Exit::Usage;
        }
        if let Err(e) = std::fs::File::open(questions) {
            super::error(&format!("{}: {e}", questions.display()), None);
            return Exit::Usage;
        }
    }
    let (format, validate, paths) = match args.to {
        To::Llava => (OutputFormat::Llava, Validation::Decode, PathStyle::Absolute),
        To::Dj => (OutputFormat::Dj, Validation::None, PathStyle::Keep),
    };
    let output = OutputSpec {
        format,
        target,
        paths: args.paths.map_or(paths, Into::into),
        validate: args.validate.map_or(validate, Into::into),
        sample: None,
        seed: 0,
        sampler: Sampler::Uniform,
        shuffle: false,
        questions: args.questions.clone(),
        shard_size: None,
        line: 0,
    };
    let mut recipe = Recipe::bare("convert", inputs, output);
    recipe.image_root.clone_from(&args.image_root);
    recipe.image_special_token.clone_from(&args.image_token);
    recipe.eoc_special_token.clone_from(&args.eoc_token);
    if let Some(on_error) = args.run.on_error {
        recipe.on_error = on_error.into();
    }
    if args.to == To::Dj {
        // LLaVA records have one path under `image`, and no text of their own.
        "image".clone_into(&mut recipe.image_key);
        recipe.text_keys.clear();
    } else {
        recipe.text_keys = vec!["text".to_owned()];
    }
    runner::run(&recipe, &args.run, args.only_caption)
}
