//! The recipe as resolved: every default filled in, every name known, every path found.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::io::Destination;
use crate::io::destination::is_stdout;
use crate::io::format::{Options, OutputFormat};
use crate::op::{BaseParams, Family, OpDef, OpSpec, Operator};
use crate::sample::ImageCheck;

/// A checked recipe, ready to run.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the recipe")]
pub struct Recipe {
    /// Where it was read from, as the user named it.
    pub name: String,
    /// `project_name`: a label.
    pub project_name: String,
    /// The operators in the order written.
    pub steps: Vec<Step>,
    /// Where rows come from.
    pub inputs: Inputs,
    /// Where rows go: the `export_path` output first, then `outputs` as written.
    pub outputs: Vec<OutputSpec>,
    /// `text_keys`; operators use the first unless they name their own.
    pub text_keys: Vec<String>,
    /// `image_key`: the field of image paths.
    pub image_key: String,
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
    pub image_root: Option<PathBuf>,
    /// `confine`: images outside of the root are refused.
    pub confine: bool,
    /// `on_error`: what becomes of a row that cannot be processed.
    pub on_error: OnError,
    /// `max_memory` in bytes.
    pub max_memory: Option<u64>,
    /// `max_quarantine`: how many rows may fail before the run stops.
    pub max_quarantine: QuarantineLimit,
    /// `compat_stats`: how stats are rounded before a filter decides.
    pub compat_stats: CompatStats,
    /// `seed` of sampled outputs that name none.
    pub seed: u64,
    /// `op_fusion`: cheap filters may run before dear ones.
    pub op_fusion: bool,
    /// `open_tracer` and its options.
    pub tracer: Tracer,
    /// Keys that have no meaning here, one sentence each, to be shown once.
    pub notes: Vec<String>,
    /// Where relative paths are looked for: the recipe's directory, then the working directory.
    pub search: Vec<PathBuf>,
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
    /// Its catalogue entry.
    pub def: &'static OpDef,
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

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// Standard input.
    Stdin,
    /// These files, in this order.
    Files(Vec<PathBuf>),
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Something that takes a stream of bytes and is no regular file: a device, a pipe, an open
    /// descriptor. It has no record beside it.
    Stream(PathBuf),
    /// A file.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// What is written.
    pub format: OutputFormat,
    /// Where to.
    pub target: Target,
    /// How image paths are written.
    pub paths: PathStyle,
    /// How far images are checked before a row is written.
    pub validate: Validation,
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
    /// What is said of it that only its format knows.
    pub options: Options,
    /// 1-based line in the recipe; 0 for the default or the command line.
    pub line: usize,
}

/// A closed choice written as a word in recipes.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant),+ }

        impl $name {
            /// All words, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The choice written as `word`.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// The word that recipes use.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// How image paths are written.
    PathStyle {
        /// Absolute and normalised.
        Absolute = "absolute",
        /// As they came in.
        Keep = "keep",
        /// Relative to the output's directory.
        Relative = "relative",
    }
}

words! {
    /// How far images are checked before a row is written.
    Validation {
        /// Not at all.
        None = "none",
        /// The file is there.
        Exists = "exists",
        /// Its header is that of an image.
        Header = "header",
        /// It decodes, as strictly as a trainer's loader.
        Decode = "decode",
    }
}

impl From<ImageCheck> for Validation {
    fn from(level: ImageCheck) -> Self {
        match level {
            ImageCheck::None => Self::None,
            ImageCheck::Exists => Self::Exists,
            ImageCheck::Header => Self::Header,
            ImageCheck::Decode => Self::Decode,
        }
    }
}

impl From<Validation> for ImageCheck {
    fn from(level: Validation) -> Self {
        match level {
            Validation::None => Self::None,
            Validation::Exists => Self::Exists,
            Validation::Header => Self::Header,
            Validation::Decode => Self::Decode,
        }
    }
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QuarantineLimit {
    /// This share of the rows read, from 0 to 1.
    Share(f64),
    /// This many rows.
    Rows(u64),
    /// Any number.
    None,
}

impl Default for QuarantineLimit {
    /// 5%
    fn default() -> Self {
        Self::Share(0.05)
    }
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

impl fmt::Display for QuarantineLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", share * 100.0),
            Self::Rows(rows) => write!(f, "{rows} rows"),
            Self::None => f.write_str("none"),
        }
    }
}

/// The tracer's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracer {
    /// `open_tracer`: write samples of what operators changed or dropped.
    pub open: bool,
    /// `op_list_to_trace`; empty means all.
    pub ops: Vec<String>,
    /// `trace_num`: rows written an operator.
    pub rows: u64,
    /// `trace_keys`: fields copied into each trace entry.
    pub keys: Vec<String>,
}

impl Default for Tracer {
    fn default() -> Self {
        Self {
            open: false,
            ops: Vec::new(),
            rows: 10,
            keys: Vec::new(),
        }
    }
}

impl Recipe {
    /// A recipe without operators: rows go from `inputs` to `output` as they are.
    #[must_use]
    pub fn bare(name: &str, inputs: Inputs, output: OutputSpec) -> Self {
        Self {
            name: name.to_owned(),
            project_name: name.to_owned(),
            steps: Vec::new(),
            inputs,
            outputs: vec![output],
            text_keys: Vec::new(),
            image_key: "images".to_owned(),
            image_special_token: "<__dj__image>".to_owned(),
            eoc_special_token: "<|__dj__eoc|>".to_owned(),
            threads: None,
            keep_stats_in_res_ds: false,
            keep_hashes_in_res_ds: false,
            image_root: None,
            confine: false,
            on_error: OnError::Quarantine,
            max_memory: None,
            max_quarantine: QuarantineLimit::default(),
            compat_stats: CompatStats::Exact,
            seed: 42,
            op_fusion: false,
            tracer: Tracer::default(),
            notes: Vec::new(),
            search: Vec::new(),
        }
    }

    /// The recipe as resolved, for the manifest: the answer depends on nothing else but the input.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let inputs: Vec<String> = match &self.inputs {
            Inputs::Stdin => vec!["-".to_owned()],
            Inputs::Files(files) => files.iter().map(|f| f.display().to_string()).collect(),
        };
        json!({
            "project_name": self.project_name,
            "inputs": inputs,
            "text_keys": self.text_keys,
            "image_key": self.image_key,
            "image_special_token": self.image_special_token,
            "eoc_special_token": self.eoc_special_token,
            "threads": self.threads,
            "keep_stats_in_res_ds": self.keep_stats_in_res_ds,
            "keep_hashes_in_res_ds": self.keep_hashes_in_res_ds,
            "image_root": self.image_root.as_ref().map(|p| p.display().to_string()),
            "confine": self.confine,
            "on_error": self.on_error.word(),
            "max_memory": self.max_memory,
            "max_quarantine": self.max_quarantine.to_string(),
            "compat_stats": self.compat_stats.word(),
            "seed": self.seed,
            "op_fusion": self.op_fusion,
            "open_tracer": self.tracer.open,
            "op_list_to_trace": self.tracer.ops,
            "trace_num": self.tracer.rows,
            "trace_keys": self.tracer.keys,
            "process": self.steps.iter().map(Step::to_json).collect::<Vec<_>>(),
            "outputs": self.outputs.iter().map(OutputSpec::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Step {
    /// Whether it must see every row before it can decide.
    #[must_use]
    pub fn is_barrier(&self) -> bool {
        self.spec.kind.is_barrier() || self.base.sees_all_rows()
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
        params
    }

    /// The step as it would be written with nothing left to defaults.
    #[must_use]
    pub fn to_json(&self) -> Value {
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
        json!({ self.name: params })
    }
}

impl OutputSpec {
    /// Every row, in `format`, as a recipe that says no more would have it.
    #[must_use]
    pub fn new(format: OutputFormat, target: Target) -> Self {
        Self {
            format,
            target,
            paths: PathStyle::Absolute,
            validate: format.check.into(),
            sample: None,
            seed: 42,
            sampler: Sampler::Uniform,
            shuffle: false,
            shard_size: None,
            options: Options::default(),
            line: 0,
        }
    }

    /// The output as it would be written with nothing left to defaults.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let path = self.target.path();
        let path = path.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
        let mut json = self.options.to_json();
        for (name, value) in [
            ("format", json!(self.format)),
            ("path", json!(path)),
            ("paths", json!(self.paths.word())),
            ("validate", json!(self.validate.word())),
            ("sample", json!(self.sample)),
            ("seed", json!(self.seed)),
            ("sampler", json!(self.sampler.word())),
            ("shuffle", json!(self.shuffle)),
            ("shard_size", json!(self.shard_size)),
        ] {
            json.insert(name.to_owned(), value);
        }
        Value::Object(json)
    }
}
