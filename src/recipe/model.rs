//! The recipe as resolved: every default filled in, every name known, every path found.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::Validation;
use super::keys::Keys;
use super::peers::PeerKeys;
use super::problem::Problems;
use super::results::ResultKeys;
use super::wire;
use crate::io::destination::is_stdout;
use crate::io::format::webdataset::INDEX;
use crate::io::format::{ImageFiles, Options, OutputFormat};
use crate::io::paths::PathStyle;
use crate::io::remote::is_remote;
use crate::io::source::{InputSpec, Reading};
use crate::io::{Destination, GivenRows};
use crate::note::Note;
use crate::op::{
    BaseParams, EndpointSettings, Family, ModelSettings, OpKind, OpSpec, Operator, Peers,
    without_secrets,
};
use crate::sample::words;
use crate::trainer::CheckedFor;

/// A checked recipe, ready to run; with [`StepSpec`] instead of built steps it is plain data
/// ([`RecipeSpec`]), whose JSON can be read back.
///
/// Its defaults are those of [`super::KEYS`] and stand nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the recipe")]
pub struct Recipe<S = Step> {
    /// Of the JSON form.
    pub version: FormatVersion,
    /// Where it was read from, as the user named it.
    pub name: String,
    /// `project_name`: a label.
    pub project_name: String,
    /// Where rows come from.
    pub inputs: Inputs,
    /// What the recipe names as inputs, where that is not file by file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<Dataset>,
    /// `dataset` with `max_sample_num`: how many rows are drawn of which inputs; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// `input`: how they are read.
    #[serde(default, skip_serializing_if = "InputSpec::is_default")]
    pub input: InputSpec,
    /// `text_keys`; operators use the first unless they name their own.
    pub text_keys: Vec<String>,
    /// `image_key`: the field of image paths.
    pub image_key: String,
    /// `video_key`: the field of video paths.
    pub video_key: String,
    /// `audio_key`: the field of audio paths.
    pub audio_key: String,
    /// `image_bytes_key`: the field of images as bytes.
    #[serde(
        default = "default_image_bytes_key",
        skip_serializing_if = "is_image_bytes_key"
    )]
    pub image_bytes_key: String,
    /// `image_special_token`: stands for an image in the text.
    pub image_special_token: String,
    /// `eoc_special_token`: ends a chunk in the text.
    pub eoc_special_token: String,
    /// `np`: worker threads; `None` lets the machine decide.
    pub threads: Option<usize>,
    /// `keep_stats_in_res_ds`: rows keep `__dj__stats__`.
    pub keep_stats_in_res_ds: bool,
    /// `keep_hashes_in_res_ds`: rows keep the hashes of deduplicators.
    pub keep_hashes_in_res_ds: bool,
    /// `image_root`: relative image paths are resolved against it instead of the input's directory.
    #[serde(with = "wire::optional")]
    pub image_root: Option<PathBuf>,
    /// `confine`: images outside of the root are refused.
    pub confine: bool,
    /// `on_error`: what becomes of a row that cannot be processed.
    pub on_error: OnError,
    /// `max_memory` in bytes.
    pub max_memory: Option<u64>,
    /// `max_quarantine`: how many rows may fail before the run stops.
    pub max_quarantine: QuarantineLimit,
    /// `stats_files`: a run writes what filters measured.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub stats_files: bool,
    /// `compat_stats`: how stats are rounded before a filter decides.
    pub compat_stats: CompatStats,
    /// `model_dtype`, `model_batch`: how models are run.
    #[serde(default, skip_serializing_if = "ModelSettings::is_default")]
    pub models: ModelSettings,
    /// `cache`, `cache_trust`: what earlier runs computed.
    #[serde(default, skip_serializing_if = "ResultKeys::is_default")]
    pub results: ResultKeys,
    /// `custom_operator_paths` and what else is for operators that run in Data-Juicer.
    #[serde(flatten)]
    pub peers: PeerKeys,
    /// `max_cost`: what servers may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
    /// `max_tokens_total`: tokens that servers may be sent and may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_total: Option<u64>,
    /// `compat_requests`: images are sent to servers as Data-Juicer sends them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compat_requests: bool,
    /// `seed` of sampled outputs that name none.
    pub seed: u64,
    /// `op_fusion`: cheap filters may run before dear ones.
    pub op_fusion: bool,
    /// `open_tracer` and its options.
    #[serde(flatten)]
    pub tracer: Tracer,
    /// The operators in the order written.
    #[serde(rename = "process")]
    pub steps: Vec<S>,
    /// Where rows go: the `export_path` output first, then `outputs` as written.
    pub outputs: Vec<OutputSpec>,
    /// Where relative paths are looked for: the recipe's directory, then the working directory.
    #[serde(with = "wire::list")]
    pub search: Vec<PathBuf>,
    /// Data-Juicer's cache directory, where operators look for assets that no parameter names.
    #[serde(with = "wire::optional")]
    pub cache: Option<PathBuf>,
    /// The directories of `NLTK_DATA`, where an operator looks for NLTK's tables.
    #[serde(with = "wire::list")]
    pub nltk_data: Vec<PathBuf>,
    /// `DATA_JUICER_EXTERNAL_MODELS_HOME`, where operators look for models first.
    #[serde(with = "wire::optional", default)]
    pub models_home: Option<PathBuf>,
    /// The cache of Hugging Face's hub, where operators look for models last.
    #[serde(with = "wire::optional", default)]
    pub hub_cache: Option<PathBuf>,
    /// What the environment says of servers; with the key, it stands in no record.
    #[serde(skip)]
    pub servers: EndpointSettings,
    /// What the reader of the recipe should know.
    #[serde(skip)]
    pub notes: Vec<Note>,
}

/// What a recipe names as an input: a file, a directory, a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// As it is written, from where its files are.
    pub path: PathBuf,
    /// How many of the inputs are its files; they stand behind those of the one before.
    pub files: usize,
}

/// A dataset of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// How many of the inputs are its files; they stand behind those of the one before.
    pub files: usize,
    /// Its weight as written.
    pub weight: f64,
    /// How many rows are drawn of it.
    pub rows: u64,
}

impl Share {
    /// The shares of datasets, each the number of its files and its weight, in `most` rows, as
    /// Data-Juicer cuts them: each is rounded up, and the last ones get what is left.
    #[must_use]
    pub fn of(datasets: &[(usize, f64)], most: u64) -> Vec<Self> {
        let sum: f64 = datasets.iter().map(|(_, weight)| weight).sum();
        let mut left = most;
        let share = |&(files, weight): &(usize, f64)| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "as numpy has them; what is rounded up is not below 0"
            )]
            let rounded = (most as f64 * (weight / sum)).ceil() as u64;
            let rows = rounded.min(left);
            left -= rows;
            Self {
                files,
                weight,
                rows,
            }
        };
        datasets.iter().map(share).collect()
    }
}

/// A recipe as plain data: typed, comparable, and its JSON reads back to the same value.
pub type RecipeSpec = Recipe<StepSpec>;

/// The version of the JSON form of a recipe; another one is refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FormatVersion;

impl FormatVersion {
    /// The one that this program writes and reads.
    pub const NUMBER: u32 = 1;
}

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Self::NUMBER.serialize(to)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u32::deserialize(from)? {
            Self::NUMBER => Ok(Self),
            other => Err(serde::de::Error::custom(format!(
                "a recipe of format {other}; this djr reads format {}",
                Self::NUMBER
            ))),
        }
    }
}

/// One operator of `process` as plain data: `{name: {parameter: value}}`, nothing left to
/// defaults. Its own parameters come first, in the order of the operator's file, then those that
/// every operator has.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// The operator's name.
    pub name: String,
    /// All of its parameters.
    pub params: Map<String, Value>,
}

impl Serialize for StepSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map([(&self.name, &self.params)])
    }
}

impl<'de> Deserialize<'de> for StepSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut steps = Map::<String, Value>::deserialize(from)?.into_iter();
        match (steps.next(), steps.next()) {
            (Some((name, Value::Object(params))), None) => Ok(Self { name, params }),
            _ => Err(serde::de::Error::custom(
                "a step is a mapping from one operator to its parameters",
            )),
        }
    }
}

/// One operator of `process`, built.
pub struct Step {
    /// 0-based position in `process`.
    pub index: usize,
    /// The operator's name.
    pub name: &'static str,
    /// Its kind.
    pub family: Family,
    /// 1-based line in the recipe; 0 if it comes from the command line.
    pub line: usize,
    /// Its own parameters with all defaults filled in. One that a bound from the data stands for
    /// has its default.
    pub params: Map<String, Value>,
    /// The parameters that every operator has.
    pub base: BaseParams,
    /// What the operator is and does, and the files that it opened.
    pub spec: OpSpec,
    /// The operator itself.
    pub operator: Operator,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("index", &self.index)
            .field("name", &self.name)
            .field("line", &self.line)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

impl OutputSpec {
    /// The files that its records are made of, or checked by.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let tokenizer = self.checked.iter().filter_map(|it| it.tokenizer.as_deref());
        self.options.files().chain(tokenizer)
    }

    /// Why it cannot be written, if it is a stream or an object of a store and asks for what only files
    /// have.
    #[must_use]
    pub fn unsuited(&self) -> Option<&'static str> {
        if matches!(self.target, Target::Stdout | Target::Stream(_)) {
            if self.images == ImageFiles::Copy {
                Some("images are copied to a folder beside a file, and a stream is none")
            } else if self.options.flag(INDEX.name) {
                Some("an index is written beside a file, and a stream is none")
            } else {
                None
            }
        } else if !self.target.path().is_some_and(is_remote) {
            None
        } else if self.images == ImageFiles::Copy {
            Some("images are copied to a folder beside a local file")
        } else if self.paths == PathStyle::Relative {
            Some(
                "no path of an image starts from an object of a store: set `paths: absolute` or `keep`",
            )
        } else if self.format.beside.is_some_and(|beside| beside.shared) {
            Some(
                "entries of other outputs are kept in a local file only, and this format has such a file beside it",
            )
        } else {
            None
        }
    }

    /// Whether it is written once all rows are known.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.sample.is_some() || self.of != Of::Kept
    }

    /// Whether it has every row that is kept, in their order, but for those that it refuses.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.is_late() && self.condition.is_none() && self.split.is_none()
    }

    /// Whether `file` may be one of those that it is split into; `target` is its path.
    #[must_use]
    pub fn may_write(&self, target: &Path, file: &Path) -> bool {
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let (Some(own), Some(other)) = (name(target), name(file)) else {
            return false;
        };
        let (before, after) = crate::io::split::around(&own);
        let fits = other
            .strip_prefix(before)
            .is_some_and(|rest| rest.ends_with(after));
        self.split.is_some() && target.parent() == file.parent() && fits
    }

    /// Whether some value could make it write a file that `other` writes, too; both with their paths.
    #[must_use]
    pub fn may_share(&self, target: &Path, (other, path): (&Self, &Path)) -> bool {
        if other.split.is_none() {
            return self.may_write(target, path);
        }
        if self.split.is_none() {
            return other.may_write(path, target);
        }
        // Of two names with a value in each, the parts around it decide.
        let names = [target, path].map(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        });
        let [(before, after), (others_before, others_after)] =
            names.each_ref().map(|name| crate::io::split::around(name));
        let begin = before.starts_with(others_before) || others_before.starts_with(before);
        let end = after.ends_with(others_after) || others_after.ends_with(after);
        target.parent() == path.parent() && begin && end
    }

    /// Every row, in `format`, as a recipe that says no more would have it.
    #[must_use]
    pub fn new(format: OutputFormat, target: Target) -> Self {
        let keys = Keys::default();
        Self {
            format,
            target,
            paths: keys.word("paths"),
            validate: format.check,
            of: Of::Kept,
            condition: None,
            split: None,
            sample: None,
            seed: keys.seed(),
            sampler: Sampler::Uniform,
            shuffle: false,
            shard_size: None,
            shard_rows: None,
            images: format.images.first().copied().unwrap_or(ImageFiles::Path),
            checked: None,
            options: Options::default(),
            line: 0,
        }
    }
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// Standard input.
    Stdin,
    /// These files, in this order.
    Files(Vec<PathBuf>),
    /// Rows that the program which djr is a library of hands in.
    Given(GivenRows),
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Something that takes a stream of bytes and is no regular file: a device, a pipe, an open
    /// descriptor. It has no record beside it.
    Stream(PathBuf),
    /// A file, or an object of a store by its URL.
    File(PathBuf),
    /// The program that runs the recipe: see [`crate::exec::run_to`]. No recipe can name it.
    Caller,
}

impl Target {
    /// What an absolute path stands for now.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        if is_stdout(&path) {
            Self::Stdout
        } else if Destination::is_stream(&path) {
            Self::Stream(path)
        } else {
            Self::File(path)
        }
    }

    /// The path of the stream that it is, if it is one.
    #[must_use]
    pub fn stream(&self) -> Option<&Path> {
        match self {
            Self::Stdout => Some(Path::new("/dev/stdout")),
            Self::Stream(path) => Some(path),
            Self::File(_) | Self::Caller => None,
        }
    }

    /// Whether it is a file, which can be replaced as a whole and gone on with.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Its path, if it has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout | Self::Caller => None,
            Self::Stream(path) | Self::File(path) => Some(path),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Caller => f.write_str("the caller"),
            Self::Stream(path) | Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One output of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "wire::Output", try_from = "wire::Output")]
pub struct OutputSpec {
    /// What is written.
    pub format: OutputFormat,
    /// Where to.
    pub target: Target,
    /// How image paths are written.
    pub paths: PathStyle,
    /// How far images are checked before a row is written.
    pub validate: Validation,
    /// Which rows it takes.
    pub of: Of,
    /// A condition that they must meet.
    pub condition: Option<String>,
    /// What it is split by into several files.
    pub split: Option<Split>,
    /// Write a random sample of this many rows instead of all.
    pub sample: Option<u64>,
    /// The seed of the sample.
    pub seed: u64,
    /// How the sample is drawn.
    pub sampler: Sampler,
    /// Write the sample in random order instead of input order.
    pub shuffle: bool,
    /// Cut the output into shards of about this many bytes.
    pub shard_size: Option<u64>,
    /// Cut the output into shards of this many rows.
    pub shard_rows: Option<u64>,
    /// Where the images of its records are.
    pub images: ImageFiles,
    /// Who will read it, if rows that it would stumble over are to be refused.
    pub checked: Option<CheckedFor>,
    /// What is said of it that only its format knows.
    pub options: Options,
    /// 1-based line in the recipe; 0 for the default or the command line.
    pub line: usize,
}

words! {
    /// Which rows an output takes.
    Of {
        /// Those that no operator dropped.
        Kept = "kept",
        /// Those that were dropped.
        Dropped = "dropped",
        /// Those that could not be processed.
        Quarantined = "quarantined",
        /// Of the dropped ones, those that went for another row.
        Duplicates = "duplicates",
        /// All that came to an end.
        All = "all",
    }
}

/// What an output is split by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Split {
    /// The value of this field.
    Field(String),
    /// The input file that the row is from.
    Input,
}

words! {
    /// How a sample is drawn.
    Sampler {
        /// The rows with the smallest seeded hashes of their identities.
        Uniform = "uniform",
        /// As `random.seed(S); random.sample(rows, N)` of `CPython`.
        Python = "python",
    }
}

words! {
    /// What becomes of a row that cannot be processed.
    OnError {
        /// It is set aside, verbatim, with the reason.
        Quarantine = "quarantine",
        /// It is dropped and counted.
        Drop = "drop",
        /// The run fails.
        Fail = "fail",
    }
}

words! {
    /// How stats are rounded before a filter decides.
    CompatStats {
        /// Not at all.
        Exact = "exact",
        /// As Data-Juicer 1.6.1 does when it passes stats from operator to operator as JSON text.
        Ujson = "ujson",
    }
}

/// How many rows may fail before a run stops, since something outside the data must be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuarantineLimit {
    /// This share of the rows read, from 0 to 1.
    Share(f64),
    /// This many rows.
    Rows(u64),
    /// Any number.
    None,
}

impl QuarantineLimit {
    /// The limit written as `5%`, `1000` or `none`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "none" {
            return Some(Self::None);
        }
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().ok()?;
                (0.0..=100.0)
                    .contains(&percent)
                    .then_some(Self::Share(percent / 100.0))
            }
            None => text.parse().ok().map(Self::Rows),
        }
    }
}

impl QuarantineLimit {
    /// Whether so many rows of all may fail.
    #[must_use]
    pub fn allows(self, failing: u64, rows: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = || failing as f64 / rows.max(1) as f64;
        match self {
            Self::None => true,
            Self::Rows(most) => failing <= most,
            Self::Share(most) => share() <= most,
        }
    }

    /// The wider of two limits of one kind. A share and a number cannot be compared: this limit
    /// stays.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        match (self, other) {
            (Self::Share(one), Self::Share(two)) => Self::Share(one.max(two)),
            (Self::Rows(one), Self::Rows(two)) => Self::Rows(one.max(two)),
            (_, Self::None) => Self::None,
            (limit, _) => limit,
        }
    }

    /// The limit as [`Self::from_text`] reads it.
    #[must_use]
    pub fn written(self) -> String {
        match self {
            Self::Share(share) => {
                // A product such as 0.07 * 100 has an error in its last digits.
                let percent = format!("{:.10}", share * 100.0);
                format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Rows(rows) => rows.to_string(),
            Self::None => "none".to_owned(),
        }
    }
}

impl fmt::Display for QuarantineLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if matches!(self, Self::Rows(_)) {
            " rows"
        } else {
            ""
        };
        write!(f, "{}{unit}", self.written())
    }
}

/// The tracer's options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracer {
    /// `open_tracer`: write samples of what operators changed or dropped.
    #[serde(rename = "open_tracer")]
    pub open: bool,
    /// `op_list_to_trace`; empty means all.
    #[serde(rename = "op_list_to_trace")]
    pub ops: Vec<String>,
    /// `trace_num`: rows written an operator.
    #[serde(rename = "trace_num")]
    pub rows: u64,
    /// `trace_keys`: fields copied into each trace entry.
    #[serde(rename = "trace_keys")]
    pub keys: Vec<String>,
}

impl<S> Recipe<S> {
    /// What the keys of a recipe say, without its steps, inputs and outputs.
    pub(super) fn of_keys(name: &str, keys: &Keys) -> Self {
        let on_error = match keys.written("on_error") {
            None if !keys.flag("skip_op_error") => OnError::Fail,
            _ => keys.word("on_error"),
        };
        Self {
            version: FormatVersion,
            name: name.to_owned(),
            project_name: keys.text("project_name"),
            inputs: Inputs::Stdin,
            datasets: Vec::new(),
            shares: Vec::new(),
            input: InputSpec {
                format: Some(keys.text("input.format")).filter(|word| word != "auto"),
                text_from: Some(keys.text("input.text_from")).filter(|field| !field.is_empty()),
                hidden: keys.flag("input.hidden"),
                on_broken_input: keys.word("input.on_broken_input"),
                columns: Some(keys.texts("input.columns")).filter(|columns| !columns.is_empty()),
                images_from: Some(keys.text("input.images_from")).filter(|field| !field.is_empty()),
                delimiter: None,
                infer_types: false,
            },
            text_keys: keys.texts("text_keys"),
            image_key: keys.text("image_key"),
            video_key: keys.text("video_key"),
            audio_key: keys.text("audio_key"),
            image_bytes_key: keys.text("image_bytes_key"),
            image_special_token: keys.text("image_special_token"),
            eoc_special_token: keys.text("eoc_special_token"),
            threads: keys.count("np").and_then(|n| usize::try_from(n).ok()),
            keep_stats_in_res_ds: keys.flag("keep_stats_in_res_ds"),
            keep_hashes_in_res_ds: keys.flag("keep_hashes_in_res_ds"),
            image_root: None,
            confine: keys.flag("confine"),
            on_error,
            max_memory: keys.bytes("max_memory"),
            max_quarantine: keys.limit("max_quarantine"),
            stats_files: keys.flag("stats_files"),
            compat_stats: keys.word("compat_stats"),
            models: ModelSettings {
                dtype: keys.word("model_dtype"),
                batch: keys
                    .count("model_batch")
                    .map_or(0, |rows| usize::try_from(rows).unwrap_or(usize::MAX)),
            },
            results: ResultKeys::of(keys),
            peers: PeerKeys::of(keys),
            max_cost: keys.number("max_cost"),
            max_tokens_total: keys.count("max_tokens_total"),
            compat_requests: keys.flag("compat_requests"),
            seed: keys.seed(),
            op_fusion: keys.flag("op_fusion"),
            tracer: Tracer {
                open: keys.flag("open_tracer"),
                ops: keys.texts("op_list_to_trace"),
                rows: keys.count("trace_num").unwrap_or_default(),
                keys: keys.texts("trace_keys"),
            },
            steps: Vec::new(),
            outputs: Vec::new(),
            search: Vec::new(),
            cache: None,
            nltk_data: Vec::new(),
            models_home: None,
            hub_cache: None,
            servers: EndpointSettings::default(),
            notes: Vec::new(),
        }
    }

    /// Whether stats are rounded before a filter decides.
    #[must_use]
    pub fn rounds_stats(&self) -> bool {
        self.compat_stats == CompatStats::Ujson
    }

    /// The same recipe with its steps in another form.
    fn with_steps<T>(&self, steps: Vec<T>) -> Recipe<T> {
        Recipe {
            version: self.version,
            name: self.name.clone(),
            project_name: self.project_name.clone(),
            inputs: self.inputs.clone(),
            datasets: self.datasets.clone(),
            shares: self.shares.clone(),
            input: self.input.clone(),
            image_bytes_key: self.image_bytes_key.clone(),
            text_keys: self.text_keys.clone(),
            image_key: self.image_key.clone(),
            video_key: self.video_key.clone(),
            audio_key: self.audio_key.clone(),
            image_special_token: self.image_special_token.clone(),
            eoc_special_token: self.eoc_special_token.clone(),
            threads: self.threads,
            keep_stats_in_res_ds: self.keep_stats_in_res_ds,
            keep_hashes_in_res_ds: self.keep_hashes_in_res_ds,
            image_root: self.image_root.clone(),
            confine: self.confine,
            on_error: self.on_error,
            max_memory: self.max_memory,
            max_quarantine: self.max_quarantine,
            stats_files: self.stats_files,
            compat_stats: self.compat_stats,
            models: self.models,
            results: self.results.clone(),
            peers: self.peers.clone(),
            max_cost: self.max_cost,
            max_tokens_total: self.max_tokens_total,
            compat_requests: self.compat_requests,
            seed: self.seed,
            op_fusion: self.op_fusion,
            tracer: self.tracer.clone(),
            steps,
            outputs: self.outputs.clone(),
            search: self.search.clone(),
            cache: self.cache.clone(),
            nltk_data: self.nltk_data.clone(),
            models_home: self.models_home.clone(),
            hub_cache: self.hub_cache.clone(),
            servers: self.servers.clone(),
            notes: self.notes.clone(),
        }
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_yes(flag: &bool) -> bool {
    *flag
}

/// The default of `image_bytes_key`, which recipes in JSON do not write.
fn default_image_bytes_key() -> String {
    Reading::default().image_bytes_key
}

fn is_image_bytes_key(key: &str) -> bool {
    key == default_image_bytes_key()
}

impl Recipe {
    /// A recipe without operators: rows go from `inputs` to `output` as they are. No field of a
    /// row is asked for.
    #[must_use]
    pub fn bare(name: &str, inputs: Inputs, output: OutputSpec) -> Self {
        Self {
            project_name: name.to_owned(),
            inputs,
            outputs: vec![output],
            text_keys: Vec::new(),
            ..Self::of_keys(name, &Keys::default())
        }
    }

    /// How its inputs are read.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading {
            spec: self.input.clone(),
            text_key: self
                .text_keys
                .first()
                .map_or("text", String::as_str)
                .to_owned(),
            image_key: self.image_key.clone(),
            image_bytes_key: self.image_bytes_key.clone(),
            image_token: self.image_special_token.clone(),
        }
    }

    /// The recipe as data.
    #[must_use]
    pub fn spec(&self) -> RecipeSpec {
        self.with_steps(self.steps.iter().map(Step::data).collect())
    }

    /// The recipe as resolved, for the manifest; [`RecipeSpec::from_json`] reads it back.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.spec().to_json()
    }
}

impl RecipeSpec {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Nothing in it can fail: keys are texts and paths are written as text or bytes.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// What [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// If it is of another version, or no recipe.
    pub fn from_json(json: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(json)
    }

    /// The same recipe with one output: every row that is left, as JSON Lines.
    #[must_use]
    pub fn writing_to(self, target: Target) -> Self {
        Self {
            outputs: vec![OutputSpec {
                seed: self.seed,
                ..OutputSpec::new(OutputFormat::ROWS, target)
            }],
            ..self
        }
    }

    /// What the answer depends on, beside the input and the assets: without the recipe's name,
    /// and without what only changes how fast the answer comes.
    #[must_use]
    pub fn identity(&self) -> Value {
        let mut json = self.to_json();
        if let Value::Object(map) = &mut json {
            let aside = [
                "name",
                "threads",
                "max_memory",
                "max_cost",
                "max_tokens_total",
                ResultKeys::FIELD,
            ];
            for key in aside.iter().chain(&PeerKeys::ASIDE).copied() {
                map.shift_remove(key);
            }
        }
        json
    }

    /// The recipe with its operators built. What it says has been checked before; that the
    /// operators accept it still, and that no output destroys an input, is checked again.
    ///
    /// # Errors
    /// All problems at once.
    pub fn build(&self) -> Result<Recipe, Problems> {
        self.build_with(&[], None)
    }

    /// The same with parameters of steps set anew, as `--set OP.PARAM=VALUE` does, and with
    /// operators that djr lacks if `peers` knows them.
    ///
    /// # Errors
    /// All problems at once.
    pub fn build_with(
        &self,
        sets: &[(String, String)],
        peers: Option<Rc<dyn Peers>>,
    ) -> Result<Recipe, Problems> {
        let steps = super::load::built(self, sets, peers)?;
        Ok(self.with_steps(steps))
    }
}

impl Step {
    /// Whether it must see every row before it can decide.
    #[must_use]
    pub fn is_exchange(&self) -> bool {
        self.spec.kind.is_exchange() || self.base.sees_all_rows()
    }

    /// Whether it makes other rows of those that are left when it has decided.
    #[must_use]
    pub fn remakes_rows(&self) -> bool {
        self.spec.kind == OpKind::Grouper || !self.base.choice.merge.is_empty()
    }

    /// Whether it may take a row more than once when it has decided.
    #[must_use]
    pub fn repeats_rows(&self) -> bool {
        matches!(&self.operator, Operator::Selector(selector) if selector.repeats())
    }

    /// Its own parameters as the recipe writes them, defaults included.
    #[must_use]
    pub fn written_params(&self) -> Map<String, Value> {
        let mut params = self.params.clone();
        for bound in &self.base.from_data {
            params.insert(bound.param.clone(), bound.limit.to_string().into());
        }
        if let Some(keep) = &self.base.keep {
            params.insert("keep".into(), keep.to_string().into());
        }
        params.extend(self.base.choice.written());
        without_secrets(&mut params);
        params
    }

    /// The step as data: what it takes to build it again.
    #[must_use]
    pub fn data(&self) -> StepSpec {
        let mut params = self.written_params();
        params.insert("text_key".into(), self.base.text_key.as_str().into());
        params.insert("image_key".into(), self.base.image_key.as_str().into());
        if self.family == Family::Filter {
            for (name, value) in [
                ("min_closed_interval", self.base.min_closed_interval),
                ("max_closed_interval", self.base.max_closed_interval),
                ("reversed_range", self.base.reversed_range),
            ] {
                params.insert(name.into(), value.into());
            }
        }
        StepSpec {
            name: self.name.to_owned(),
            params,
        }
    }
}
