//! `djr convert`: rows to records for training, and back, and from one such format to another.

use std::path::PathBuf;

use super::args::{OF_CACHE, RunArgs, refuse};
use super::format_args::{self, FormatArgs};
use super::ui::{AsJson, Ui};
use super::{Exit, dry_run, runner, subset};
use crate::io::format::from::Origin;
use crate::io::format::{ImageFiles, OutputFormat, Records};
use crate::recipe::{OutputSpec, PathStyle, Recipe, Validation, unread};
use crate::trainer::{CheckedFor, Template, TrainerRef};

const EXAMPLES: &str = "\
Examples:
  djr convert --to llava clean.jsonl --questions stage_1.json -o train.json
  djr convert --to llava rows.jsonl --question 'What is it?' --image-root /data -o train.json
  djr convert --to dj train.json --only-caption -o rows.jsonl
  djr convert --to messages --from llava train.json -o train.jsonl

Rows that cannot become a sound record (two images, unknown id, empty caption, broken image, ...)
are set aside with the reason in OUT.djr/quarantine.jsonl; the rest is written and the exit
code is 1.";

/// Convert rows to records for training, such records to rows, or one format to another.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rows or records: files or directories, in order; - or nothing is standard input.
    input: Vec<PathBuf>,
    /// The same as INPUT; repeatable.
    #[arg(long = "input", short, alias = "dataset_path", value_name = "PATH")]
    more: Vec<PathBuf>,
    /// The format to write.
    #[arg(long, value_name = "FORMAT", value_parser = format_args::parser())]
    to: OutputFormat,
    /// The file to write; - or nothing is standard output.
    #[arg(long, short, alias = "export_path", value_name = "OUT")]
    output: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    /// Relative image paths start here [default: the input's directory].
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// How far images are checked [default: decode for what training reads, none for dj].
    #[arg(long, value_name = "LEVEL")]
    validate: Option<Validation>,
    /// Where the images of the records are [default: where they were; for webdataset in the archive].
    #[arg(long, value_name = "WHERE")]
    image_files: Option<ImageFiles>,
    /// How image paths are written [default: absolute for what training reads, keep for dj].
    #[arg(long, value_name = "STYLE")]
    paths: Option<PathStyle>,
    /// Who will read the output: rows that it would stumble over are set aside, too.
    #[arg(long = "for", value_name = "TRAINER", value_parser = super::check::parse_trainer)]
    trainer: Option<TrainerRef>,
    /// With --for: the chat template whose marks must not stand in texts.
    #[arg(long, value_name = "NAME", default_value = "v1", requires = "trainer")]
    template: Template,
    /// With --for: how many tokens a row may have [default: as the program has it].
    #[arg(long, value_name = "N", requires = "trainer")]
    max_tokens: Option<u64>,
    /// With --for: a tokenizer.json or SentencePiece model that counts tokens [default: estimated].
    #[arg(long, value_name = "FILE", requires = "trainer")]
    tokenizer: Option<PathBuf>,
    /// The field of the rows' caption or conversation [default: text].
    #[arg(long, value_name = "FIELD")]
    text_key: Option<String>,
    /// What stands for an image in the rows' text.
    #[arg(
        long,
        value_name = "TOKEN",
        help = "What stands for an image in the rows' text [default: <__dj__image>]"
    )]
    image_token: Option<String>,
    /// What ends a chunk in the rows' text.
    #[arg(
        long,
        value_name = "TOKEN",
        help = "What ends a chunk in the rows' text [default: <|__dj__eoc|>]"
    )]
    eoc_token: Option<String>,
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
    let asked = subset::Ends {
        input: &[args.input.as_slice(), &args.more].concat(),
        output: args.output.as_ref(),
        format: Some(args.to),
        image_root: args.image_root.as_ref(),
    };
    let (inputs, target, format) = match subset::ends(asked, ui) {
        Ok(ends) => ends,
        Err(exit) => return exit,
    };
    let options = match args.format.options(format) {
        Ok(options) => options,
        Err(message) => {
            return ui.usage(&message, None);
        }
    };
    for path in options.files() {
        if let Err(e) = std::fs::File::open(path) {
            let message = format!("{}: {e}", path.display());
            return ui.usage_in(path.display(), &message, None);
        }
    }
    if format.own_paths && args.paths.is_some() {
        return ui.usage(
            &format!(
                "records of format {format} have their paths {} only",
                format.paths
            ),
            Some("leave --paths out"),
        );
    }
    if let Some(images) = args.image_files
        && !format.images.contains(&images)
    {
        let words: Vec<&str> = format.images.iter().map(|it| it.word()).collect();
        let words = words.join(", ");
        return ui.usage(
            &format!("outputs of format {format} have no '{images}' for images, only {words}"),
            None,
        );
    }
    let origin = format.origin(&options);
    if let Some(what) = args.trainer.and_then(|trainer| unread(format, trainer)) {
        return ui.usage(&what, Some("docs/TRAINERS.md says what each reads"));
    }
    let checked = args.trainer.map(|trainer| CheckedFor {
        template: args.template,
        max_tokens: args.max_tokens,
        tokenizer: args.tokenizer.clone(),
        ..CheckedFor::new(trainer)
    });
    let has_text = origin.map_or(format.framing.records == Records::Samples, Origin::is_rows);
    if args.text_key.is_some() && !has_text {
        let message = "--text-key has no effect: the records are not made of the texts of rows";
        return ui.usage(message, Some("leave it out"));
    }
    let tokens = ["--image-token", "--eoc-token"];
    if format.holds_rows
        && origin.is_none()
        && args.trainer.is_none()
        && let Some(name) = tokens.into_iter().find(|name| ui.typed(name))
    {
        return ui.usage(
            &format!(
                "{name} has no effect on format {format}, whose records are the rows as they are"
            ),
            Some("leave it out"),
        );
    }
    let output = OutputSpec {
        checked,
        paths: args.paths.unwrap_or(format.paths),
        validate: args.validate.unwrap_or(format.check),
        images: args
            .image_files
            .or(format.images.first().copied())
            .unwrap_or(ImageFiles::Path),
        options,
        ..OutputSpec::new(format, target)
    };
    let mut recipe = Recipe::bare("convert", inputs, output);
    recipe.image_root.clone_from(&args.image_root);
    if let Some(token) = &args.image_token {
        recipe.image_special_token.clone_from(token);
    }
    if let Some(token) = &args.eoc_token {
        recipe.eoc_special_token.clone_from(token);
    }
    if let Some(on_error) = args.run.on_error {
        recipe.on_error = on_error;
    }
    if let Some(key) = origin.and_then(|origin| origin.image_key) {
        key.clone_into(&mut recipe.image_key);
    }
    if let Some(key) = &args.text_key {
        recipe.text_keys = vec![key.clone()];
    } else if origin.is_some_and(Origin::is_rows) {
        recipe.text_keys = vec!["text".to_owned()];
    }
    if args.validate.unwrap_or(format.check) == Validation::None
        && let Err(exit) = refuse(&OF_CACHE, "where no image is checked", ui)
    {
        return exit;
    }
    if args.dry_run {
        return dry_run::run(&recipe, &args.run, None, ui);
    }
    runner::run(&recipe, &args.run, ui)
}
