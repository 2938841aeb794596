//! Arguments that several commands share.

use std::path::PathBuf;

use clap::Args as _;

use super::Exit;
use super::ui::Ui;
use crate::recipe::{Inputs, OnError, QuarantineLimit};

/// How a run uses the machine, and what it does with bad rows.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct RunArgs {
    /// Worker threads [default: all cores]. The outcome is the same for any number.
    #[arg(long, short = 'j', alias = "np", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Memory to stay within, e.g. 2GB or 512MiB [default: half of the machine's, or of a container's].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_memory: Option<u64>,
    /// What becomes of rows that cannot be processed [default: quarantine].
    #[arg(long, value_name = "WHAT")]
    pub on_error: Option<OnError>,
    /// Stop when more rows than this fail: a share such as 5%, a number, or none [default: 5%].
    #[arg(long, value_name = "LIMIT", value_parser = parse_limit)]
    pub max_quarantine: Option<QuarantineLimit>,
    /// Lose so many rows and exit with 0 all the same: a share such as 0.1%, or a number. They are
    /// set aside as ever; beyond it the exit code is 1. A share also raises the recipe's
    /// limit, at which a run stops, unless --max-quarantine says one.
    #[arg(long, value_name = "LIMIT", value_parser = parse_tolerance)]
    pub tolerate: Option<QuarantineLimit>,
    /// Do nothing if the plan, the inputs, the assets and the outputs are, by their digests, what an
    /// earlier run recorded. With --resume, an unfinished run is gone on with.
    #[arg(long, conflicts_with = "restart")]
    pub if_changed: bool,
    /// Overwrite outputs that another recipe wrote, and take over records of another version.
    #[arg(long)]
    pub force: bool,
    /// Go on with an unfinished run of the same outputs, from its last checkpoint.
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Throw away an unfinished run of the same outputs and start over.
    #[arg(long)]
    pub restart: bool,
    /// Seconds between checkpoints [default: 10, less often where they would cost over 2%].
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub checkpoint_every: Option<std::time::Duration>,
    /// Where manifest, ledger and quarantine go [default: OUT.djr beside the first output].
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// The Python that runs models and operators of Data-Juicer [default: `DJR_PYTHON`, the active environment's, python3].
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Devices for models and for comparing vectors, e.g. cuda:0,cuda:1 or cpu [default: all GPUs, else the processor].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub devices: Vec<String>,
    /// Stop with a checkpoint before servers have cost more than this, in the money of their prices
    /// [default: the recipe's `max_cost`].
    #[arg(long, value_name = "MONEY", value_parser = parse_money)]
    pub max_cost: Option<f64>,
    /// Stop with a checkpoint before servers have been sent and have answered more tokens than this
    /// [default: the recipe's `max_tokens_total`].
    #[arg(long, value_name = "N")]
    pub max_tokens_total: Option<u64>,
    /// Keep results that are dear here for other runs, and use those that others kept; auto is
    /// `$XDG_CACHE_HOME/djr` [default: as the recipe says]. The outcome is the same.
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub cache: Option<PathBuf>,
    /// Use no cache, whatever the recipe says.
    #[arg(long)]
    pub no_cache: bool,
    /// Name this machine in the manifest.
    #[arg(long)]
    pub record_host: bool,
    /// Rows a batch; for tests of this program, the outcome is the same for any number.
    #[arg(long, value_name = "N", hide = true)]
    pub batch_rows: Option<usize>,
}

impl RunArgs {
    /// All of them, as they are typed.
    pub fn options() -> Vec<String> {
        let known = Self::augment_args(clap::Command::new("run"));
        let long = known.get_arguments().filter_map(clap::Arg::get_long);
        long.map(|name| format!("--{name}")).collect()
    }
}

/// Options that only steps have a use for that ask models, programs, servers or Data-Juicer.
const OF_SERVICES: [&str; 4] = ["--python", "--devices", "--max-cost", "--max-tokens-total"];

/// Options of the cache, which keeps what decoders say of images and what services answer.
pub const OF_CACHE: [&str; 2] = ["--cache", "--no-cache"];

/// Options that a look at a recipe or at files for training has no use for: nothing is run.
const OF_RUNS: [&str; 13] = [
    "--tolerate",
    "--if-changed",
    "--resume",
    "--restart",
    "--checkpoint-every",
    "--run-dir",
    "--record-host",
    "--max-quarantine",
    "--devices",
    "--max-cost",
    "--max-tokens-total",
    "--cache",
    "--no-cache",
];

/// Options that a command shares with others and has no use for: it neither shows nor takes them.
const UNUSED: [(&str, &[&str]); 4] = [
    ("check", &OF_RUNS),
    ("convert", &OF_SERVICES),
    ("decontaminate", &OF_SERVICES),
    ("subset", &OF_SERVICES),
];

/// The command line without what its commands have no use for in their help.
pub fn without_unused(mut line: clap::Command) -> clap::Command {
    for (command, options) in UNUSED {
        line = line.mut_subcommand(command, |mut known| {
            for option in options {
                let id = option.trim_start_matches("--").replace('-', "_");
                known = known.mut_arg(id, |arg| arg.hide(true));
            }
            known
        });
    }
    line
}

/// Refuses options that were typed and that `command` has no use for. One that stands in the
/// environment is a wish for every command.
///
/// # Errors
/// If there is one; the user was told.
pub fn refuse_unused(command: &str, ui: &Ui) -> Result<(), Exit> {
    let of = UNUSED.iter().find(|(name, _)| *name == command);
    let options = of.map_or(&[][..], |(_, options)| options);
    refuse(options, &format!("on djr {command}"), ui)
}

/// Refuses those of `options` that were typed, which have no effect `here`.
///
/// # Errors
/// If there is one; the user was told.
pub fn refuse(options: &[&str], here: &str, ui: &Ui) -> Result<(), Exit> {
    let typed = options.iter().filter(|option| ui.typed(option));
    let typed: Vec<&str> = typed.copied().collect();
    let (has, it) = match typed.len() {
        0 => return Ok(()),
        1 => ("has", "it"),
        _ => ("have", "them"),
    };
    let message = format!("{} {has} no effect {here}", typed.join(", "));
    Err(ui.usage(&message, Some(&format!("leave {it} out"))))
}

/// What paths on the command line name: nothing, standard input (`-`), or files.
///
/// # Errors
/// If standard input is named beside files; the user was told.
pub fn inputs(paths: &[PathBuf], ui: &Ui) -> Result<Option<Inputs>, Exit> {
    let dash = |path: &PathBuf| path.as_os_str() == "-";
    match paths {
        [] => Ok(None),
        [one] if dash(one) => Ok(Some(Inputs::Stdin)),
        paths if paths.iter().any(dash) => {
            Err(ui.usage("standard input cannot be mixed with files", None))
        }
        files => Ok(Some(Inputs::Files(files.to_vec()))),
    }
}

/// Bytes from `2GB`, `512MiB`, `1.5g` or a plain number.
///
/// # Errors
/// What was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    crate::recipe::parse_size(text)
        .ok_or_else(|| format!("'{text}' is not a size; write e.g. 2GB or 512MiB"))
}

fn parse_limit(text: &str) -> Result<QuarantineLimit, String> {
    QuarantineLimit::from_text(text)
        .ok_or_else(|| format!("'{text}' is no limit; write e.g. 5%, 1000 or none"))
}

/// A share of rows such as `0.1%`, or a number of them.
///
/// # Errors
/// What was expected.
pub fn parse_tolerance(text: &str) -> Result<QuarantineLimit, String> {
    QuarantineLimit::from_text(text)
        .filter(|limit| *limit != QuarantineLimit::None)
        .ok_or_else(|| format!("'{text}' is no limit; write e.g. 0.1% or 100"))
}

fn parse_money(text: &str) -> Result<f64, String> {
    let money = text.parse::<f64>().ok();
    money
        .filter(|money| money.is_finite() && *money >= 0.0)
        .ok_or_else(|| format!("'{text}' is no sum of money; write e.g. 2.50"))
}

fn parse_seconds(text: &str) -> Result<std::time::Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("'{text}' is no number of seconds"))
}
