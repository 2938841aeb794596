//! Every global key a recipe may have: Data-Juicer 1.6.1's and djr's own.
//!
//! One table serves the loader, the JSON Schema and the documentation.

use std::collections::BTreeMap;

use clap::ValueEnum;

use super::Validation;
use super::model::{CompatStats, OnError, QuarantineLimit};
use super::results::CacheTrust;
use super::yaml::{Node, Pos, Value, resolve};
use crate::io::paths::PathStyle;
use crate::io::source::OnBrokenInput;
use crate::op::{Dtype, Family};

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A whole number of at least 1.
    Positive,
    /// A whole number of at least 0.
    Natural,
    /// A whole number of at least 1, or the word `auto`.
    PositiveOrAuto,
    /// Any number.
    Number,
    /// Text.
    Text,
    /// Text or a list of texts.
    Texts,
    /// A list of texts.
    TextList,
    /// A list of numbers.
    NumberList,
    /// A list of mappings.
    MapList,
    /// A mapping.
    Map,
    /// A list or a mapping.
    MapOrList,
    /// A number of bytes: `512`, `2GB`, `1.5GiB`.
    Bytes,
    /// A number of rows, a percentage such as `5%`, or `none`.
    Limit,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Checked elsewhere.
    Any,
}

/// What djr does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Data-Juicer's, with Data-Juicer's meaning.
    Used,
    /// djr's own.
    Own,
    /// Data-Juicer's, without a meaning here; why.
    Ignored(&'static str),
    /// Data-Juicer's; any value but the default would change the answer; why it is not had.
    Refused(&'static str),
}

/// One global key.
#[derive(Debug, Clone, Copy)]
pub struct KeyDef {
    /// Its name; dotted names may also be written as nested mappings.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Its default as YAML; empty for none.
    pub default: &'static str,
    /// What djr does with it.
    pub role: Role,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    role: Role,
    doc: &'static str,
) -> KeyDef {
    KeyDef {
        name,
        kind,
        default,
        role,
        doc,
    }
}

const RAY: Role = Role::Ignored("djr runs on this machine's threads");
const SANDBOX: Role = Role::Ignored("only Data-Juicer's sandbox reads it");
const ANALYZER: Role = Role::Ignored("only Data-Juicer's analyzer reads it");
const CACHE: Role = Role::Ignored("djr keeps no copies of datasets; `cache` keeps dear results");
const RESUME: Role = Role::Ignored("`djr run --resume` continues a run");
const GPU: Role = Role::Ignored("djr fuses no mappers; `--devices` says where models run");
const CRYPT: Role = Role::Refused("djr neither decrypts inputs nor encrypts outputs");

/// The table, in the order of the documentation.
pub const KEYS: &[KeyDef] = &[
    // What a recipe is about.
    key(
        "project_name",
        Kind::Text,
        "hello_world",
        Role::Used,
        "A label for the run.",
    ),
    key(
        "process",
        Kind::Any,
        "[]",
        Role::Used,
        "The operators, in order: a list of one-key mappings from an operator to its parameters.",
    ),
    // Input.
    key(
        "dataset_path",
        Kind::Texts,
        "",
        Role::Used,
        "The input: a JSON Lines file, a directory, a pattern with `*`, several of them, or `-` for standard input.",
    ),
    key(
        "dataset",
        Kind::MapOrList,
        "[]",
        Role::Used,
        "The input as `configs: [{type: local, path: …, weight: …}]`, instead of `dataset_path`; with `max_sample_num: N` beside `configs`, N rows of all, each dataset's share by its weight: the rows that Data-Juicer draws, in the order of the files.",
    ),
    key(
        "suffixes",
        Kind::Texts,
        "[]",
        Role::Used,
        "Which files of an input directory are read; all that djr can read if empty.",
    ),
    key(
        "input.format",
        Kind::Word(crate::io::source::format::WORDS),
        "auto",
        Role::Own,
        "The format of all inputs; `auto` finds out by their content.",
    ),
    key(
        "input.text_from",
        Kind::Text,
        "",
        Role::Own,
        "In webdataset archives, the field that becomes the text, such as `json.caption`, instead of the `txt` member.",
    ),
    key(
        "input.columns",
        Kind::TextList,
        "[]",
        Role::Own,
        "The columns of column files that are read; all if empty.",
    ),
    key(
        "input.images_from",
        Kind::Text,
        "",
        Role::Own,
        "The column of column files that images are taken from, instead of what their names and types say.",
    ),
    key(
        "input.csv",
        Kind::Map,
        "{}",
        Role::Own,
        "How tables in text are read: `delimiter`, if cells are not separated by commas (in a TSV, tabs); `types`: `text` (every cell is one), or `infer` for the types that pandas infers of a file.",
    ),
    key(
        "input.hidden",
        Kind::Bool,
        "false",
        Role::Own,
        "Whether hidden files of directories are read.",
    ),
    key(
        "input.on_broken_input",
        Kind::Word(OnBrokenInput::WORDS),
        "fail",
        Role::Own,
        "What becomes of an input that is cut off or damaged: the run stops, or the rest of it is set aside as one record.",
    ),
    key(
        "text_keys",
        Kind::Texts,
        "text",
        Role::Used,
        "The text field; of several, operators use the first.",
    ),
    key(
        "image_key",
        Kind::Text,
        "images",
        Role::Used,
        "The field that holds a row's image paths.",
    ),
    key(
        "image_special_token",
        Kind::Text,
        "<__dj__image>",
        Role::Used,
        "Stands for an image in the text.",
    ),
    key(
        "eoc_special_token",
        Kind::Text,
        "<|__dj__eoc|>",
        Role::Used,
        "Ends a chunk in the text.",
    ),
    key(
        "image_root",
        Kind::Text,
        "",
        Role::Own,
        "The directory that relative image paths start from, instead of the input file's directory.",
    ),
    key(
        "confine",
        Kind::Bool,
        "false",
        Role::Own,
        "Refuse images outside of the image root.",
    ),
    // Output.
    key(
        "export_path",
        Kind::Text,
        "./outputs/hello_world/hello_world.jsonl",
        Role::Used,
        "The JSON Lines output, relative to the working directory; the default counts only without `outputs`.",
    ),
    key(
        "export_type",
        Kind::Word(&["jsonl", "json", "parquet"]),
        "",
        Role::Used,
        "The format of `export_path`, which otherwise its suffix says.",
    ),
    key(
        "export_shard_size",
        Kind::Bytes,
        "0",
        Role::Used,
        "Cut the output into shards of about this many bytes, as they are before they are packed (Data-Juicer counts those in its memory); 0 writes one file.",
    ),
    key(
        "outputs",
        Kind::MapList,
        "[]",
        Role::Own,
        "Further outputs written in the same pass.",
    ),
    key(
        "paths",
        Kind::Word(PathStyle::WORDS),
        "absolute",
        Role::Own,
        "How image paths are written, for outputs that do not say.",
    ),
    key(
        "validate",
        Kind::Word(Validation::WORDS),
        "",
        Role::Own,
        "How far images are checked before a row is written, for outputs that do not say; by default `decode` for sampled outputs and what training reads, else `none`.",
    ),
    key(
        "seed",
        Kind::Natural,
        "42",
        Role::Own,
        "The seed of sampled outputs that name none.",
    ),
    key(
        "keep_stats_in_res_ds",
        Kind::Bool,
        "false",
        Role::Used,
        "Rows keep what filters measured, in `__dj__stats__`.",
    ),
    key(
        "keep_hashes_in_res_ds",
        Kind::Bool,
        "false",
        Role::Used,
        "Rows keep the hashes that deduplicators computed.",
    ),
    // Running.
    key(
        "np",
        Kind::Positive,
        "",
        Role::Used,
        "Worker threads; all cores by default. The answer does not depend on it.",
    ),
    key(
        "max_memory",
        Kind::Bytes,
        "",
        Role::Own,
        "The memory budget: `2GB` (10^9 bytes), `512MiB` (2^20 bytes), or a number of bytes; half of the machine's or container's by default.",
    ),
    key(
        "max_quarantine",
        Kind::Limit,
        "5%",
        Role::Own,
        "The run stops when more rows than this could not be processed: a share of the rows read (judged from 1,000 such rows on, or when 2,000 come in a row), a number of rows, or `none`.",
    ),
    key(
        "on_error",
        Kind::Word(OnError::WORDS),
        "quarantine",
        Role::Own,
        "What becomes of a row that cannot be processed.",
    ),
    key(
        "skip_op_error",
        Kind::Bool,
        "true",
        Role::Used,
        "`false` means `on_error: fail`; `true` leaves it at `on_error`.",
    ),
    key(
        "stats_files",
        Kind::Bool,
        "true",
        Role::Own,
        "Whether a run writes what filters measured: `stats.jsonl.zst` in its directory, which `djr recut` reads, and Data-Juicer's `*_stats.jsonl` beside the output.",
    ),
    key(
        "compat_stats",
        Kind::Word(CompatStats::WORDS),
        "ujson",
        Role::Own,
        "`ujson` rounds what filters measure as Data-Juicer 1.6.1 does before a filter decides; `exact` does not.",
    ),
    key(
        "cache",
        Kind::Text,
        "",
        Role::Own,
        "A directory in which results that are dear are kept for other runs: what decoders say of images, their perceptual hashes, answers of models. `auto` is `$XDG_CACHE_HOME/djr`. Outputs are the same without it. A relative path starts in the working directory.",
    ),
    key(
        "cache_trust",
        Kind::Word(CacheTrust::WORDS),
        "stat",
        Role::Own,
        "How the cache knows that a file is as it was: `stat` by its size, times and number, `content` by reading it.",
    ),
    key(
        "model_dtype",
        Kind::Word(Dtype::WORDS),
        "fp32",
        Role::Own,
        "Precision of models: `fp32` as Data-Juicer, `tf32`, or `fp16`, several times faster on a GPU.",
    ),
    key(
        "model_batch",
        Kind::Positive,
        "64",
        Role::Own,
        "Requests that a model computes together, of longer texts fewer. It is part of the plan: another size may give other last digits.",
    ),
    key(
        "operator_processes",
        Kind::Positive,
        "",
        Role::Own,
        "Processes that operators which run in Data-Juicer share, unless `num_proc` of one says; by default as many as there are threads, and at most 4.",
    ),
    key(
        "operator_timeout",
        Kind::Positive,
        "900",
        Role::Own,
        "Seconds that such an operator may take for a row before its process is started again.",
    ),
    key(
        "max_cost",
        Kind::Number,
        "",
        Role::Own,
        "What servers may cost, in the money of `price_in` and `price_out` (`model_params`, for a million tokens): a run stops, with a checkpoint, before a request that might cost more than is left. How long an answer may be has to be known: by `max_tokens` of `sampling_params`, or `max_model_len` of `model_params`.",
    ),
    key(
        "max_tokens_total",
        Kind::Positive,
        "",
        Role::Own,
        "The same for the tokens that are sent to servers and answered.",
    ),
    key(
        "compat_requests",
        Kind::Bool,
        "false",
        Role::Own,
        "Images are sent to servers as Data-Juicer sends them: whole files, whatever they are called JPEG. By default large ones are sent smaller, each with its true type.",
    ),
    key(
        "op_fusion",
        Kind::Bool,
        "false",
        Role::Used,
        "Cheap filters may run before dear ones where the same rows survive.",
    ),
    key(
        "open_tracer",
        Kind::Bool,
        "false",
        Role::Used,
        "Write examples of what each operator changed or dropped.",
    ),
    key(
        "op_list_to_trace",
        Kind::TextList,
        "[]",
        Role::Used,
        "The operators to trace; all if empty.",
    ),
    key(
        "trace_num",
        Kind::Natural,
        "10",
        Role::Used,
        "Examples an operator.",
    ),
    key(
        "trace_keys",
        Kind::TextList,
        "[]",
        Role::Used,
        "Fields copied into each traced example.",
    ),
    // Refused: the answer would differ.
    key(
        "generated_dataset_config",
        Kind::Map,
        "",
        Role::Refused("djr cannot run Data-Juicer's formatters"),
        "Generates the input with one of Data-Juicer's formatters.",
    ),
    key(
        "load_dataset_kwargs",
        Kind::Map,
        "{}",
        Role::Refused("djr reads JSON Lines without options"),
        "Options for the loader of the Hugging Face library.",
    ),
    key(
        "decrypt_after_reading",
        Kind::Bool,
        "false",
        CRYPT,
        "Inputs are encrypted.",
    ),
    key(
        "encrypt_before_export",
        Kind::Bool,
        "false",
        CRYPT,
        "Outputs are encrypted.",
    ),
    key(
        "export_aws_credentials",
        Kind::Map,
        "",
        Role::Refused(
            "credentials are taken from the environment: `export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_REGION=…`, see docs/REMOTE.md",
        ),
        "Credentials for an export to S3.",
    ),
    key(
        "custom_operator_paths",
        Kind::Texts,
        "[]",
        Role::Used,
        "Python files, or folders that are packages, which register further operators with Data-Juicer.",
    ),
    key(
        "auto",
        Kind::Bool,
        "false",
        Role::Refused("use `djr analyze`"),
        "Analyzes without a recipe.",
    ),
    // Ignored: no meaning here.
    key(
        "executor_type",
        Kind::Word(&["default", "ray", "ray_partitioned"]),
        "default",
        RAY,
        "Data-Juicer's executor.",
    ),
    key("ray_address", Kind::Text, "auto", RAY, "The Ray cluster."),
    key(
        "read_options",
        Kind::Map,
        "{}",
        RAY,
        "Options for Ray's JSON reader.",
    ),
    key(
        "override_num_blocks",
        Kind::Positive,
        "",
        RAY,
        "Blocks of a Ray dataset.",
    ),
    key(
        "use_dag",
        Kind::Bool,
        "",
        RAY,
        "Monitors Ray's execution plan.",
    ),
    key(
        "config",
        Kind::Any,
        "",
        Role::Ignored("the recipe is this file"),
        "The recipe's own path.",
    ),
    key(
        "strict_preflight",
        Kind::Bool,
        "true",
        Role::Ignored("djr always checks the whole recipe first"),
        "Checks operators and parameters before the run.",
    ),
    key(
        "load_jsonl_lenient",
        Kind::Bool,
        "false",
        Role::Ignored("a malformed line never fails a run; see `on_error`"),
        "Skips malformed lines.",
    ),
    key(
        "validators",
        Kind::MapList,
        "[]",
        Role::Ignored("djr checks each row as it reads it"),
        "Checks of the dataset's format before the run.",
    ),
    key(
        "work_dir",
        Kind::Text,
        "",
        Role::Ignored("what a run leaves lies beside its output"),
        "The directory for logs and traces.",
    ),
    key(
        "job_id",
        Kind::Text,
        "",
        Role::Ignored("a run is named by its output"),
        "Names the run.",
    ),
    key("resume", Kind::Text, "", RESUME, "Resumes a Ray job."),
    key(
        "use_checkpoint",
        Kind::Bool,
        "false",
        RESUME,
        "Saves the dataset between operators.",
    ),
    key(
        "checkpoint_dir",
        Kind::Text,
        "",
        RESUME,
        "Where checkpoints are kept.",
    ),
    key(
        "checkpoint.enabled",
        Kind::Bool,
        "true",
        RESUME,
        "Checkpoints of the partitioned Ray executor.",
    ),
    key(
        "checkpoint.strategy",
        Kind::Text,
        "every_n_ops",
        RESUME,
        "When Ray's checkpoints are written.",
    ),
    key(
        "checkpoint.n_ops",
        Kind::Positive,
        "5",
        RESUME,
        "Operators between two of Ray's checkpoints.",
    ),
    key(
        "checkpoint.op_names",
        Kind::TextList,
        "[]",
        RESUME,
        "Operators after which Ray writes a checkpoint.",
    ),
    key(
        "event_logging.enabled",
        Kind::Bool,
        "true",
        Role::Ignored("djr writes a manifest and a ledger"),
        "Logs events for monitoring.",
    ),
    key(
        "event_log_dir",
        Kind::Text,
        "",
        Role::Ignored("djr writes a manifest and a ledger"),
        "Where event logs go.",
    ),
    key(
        "export_in_parallel",
        Kind::Bool,
        "false",
        Role::Ignored("djr always writes while it processes"),
        "Exports one file with several workers.",
    ),
    key(
        "export_extra_args",
        Kind::Map,
        "{}",
        Role::Ignored("JSON Lines need none"),
        "Options for the exporter.",
    ),
    key(
        "encryption_key_path",
        Kind::Text,
        "",
        Role::Ignored("nothing is encrypted"),
        "The key for encrypted files.",
    ),
    key(
        "image_bytes_key",
        Kind::Text,
        "image_bytes",
        Role::Used,
        "In column files, the field of images as bytes: image i is its element i, if it has one.",
    ),
    key(
        "audio_key",
        Kind::Text,
        "audios",
        Role::Used,
        "The field of audio paths, found and written as those of images are.",
    ),
    key(
        "audio_special_token",
        Kind::Text,
        "<__dj__audio>",
        Role::Used,
        "Stands for audio in the text, for operators that run in Data-Juicer.",
    ),
    key(
        "video_key",
        Kind::Text,
        "videos",
        Role::Used,
        "The field of video paths, found and written as those of images are.",
    ),
    key(
        "video_special_token",
        Kind::Text,
        "<__dj__video>",
        Role::Used,
        "Stands for video in the text, for operators that run in Data-Juicer.",
    ),
    key(
        "turbo",
        Kind::Bool,
        "false",
        Role::Ignored("djr has one speed"),
        "Skips some bookkeeping.",
    ),
    key("use_cache", Kind::Bool, "true", CACHE, "Caches datasets."),
    key(
        "ds_cache_dir",
        Kind::Text,
        "",
        CACHE,
        "Where datasets are cached.",
    ),
    key(
        "cache_compress",
        Kind::Text,
        "",
        CACHE,
        "How the cache is compressed.",
    ),
    key(
        "temp_dir",
        Kind::Text,
        "",
        Role::Ignored("temporary files lie beside the output"),
        "The directory for temporary files.",
    ),
    key(
        "open_monitor",
        Kind::Bool,
        "false",
        Role::Ignored("the manifest has the time of each operator"),
        "Records the resources used by each operator.",
    ),
    key(
        "open_insight_mining",
        Kind::Bool,
        "false",
        Role::Ignored("see `djr analyze`"),
        "Compares stats before and after each operator.",
    ),
    key(
        "op_list_to_mine",
        Kind::TextList,
        "[]",
        Role::Ignored("see `djr analyze`"),
        "The operators that insight mining looks at.",
    ),
    key(
        "min_common_dep_num_to_combine",
        Kind::Int,
        "-1",
        Role::Ignored("operators have no Python environments"),
        "When Python environments are combined.",
    ),
    key(
        "conflict_resolve_strategy",
        Kind::Text,
        "split",
        Role::Ignored("operators have no Python environments"),
        "How conflicts between Python environments are solved.",
    ),
    key(
        "fusion_strategy",
        Kind::Text,
        "probe",
        Role::Ignored("djr orders filters by what they need"),
        "How operators are ordered by fusion.",
    ),
    key(
        "mapper_fusion",
        Kind::Bool,
        "true",
        GPU,
        "Fuses mappers that run on a GPU.",
    ),
    key(
        "mapper_fusion_vram_limit",
        Kind::Number,
        "0.9",
        GPU,
        "Memory of a GPU that fused mappers may use.",
    ),
    key(
        "adaptive_batch_size",
        Kind::Bool,
        "false",
        Role::Ignored("the answer does not depend on batches"),
        "Chooses batch sizes by a trial.",
    ),
    key(
        "auto_op_parallelism",
        Kind::Bool,
        "true",
        Role::Ignored("one pool of threads serves all operators"),
        "Chooses the processes of each operator.",
    ),
    key(
        "debug",
        Kind::Bool,
        "false",
        Role::Ignored("it only makes Data-Juicer's log longer"),
        "Logs more.",
    ),
    key(
        "auto_num",
        Kind::Positive,
        "1000",
        ANALYZER,
        "Rows that an automatic analysis looks at.",
    ),
    key(
        "percentiles",
        Kind::NumberList,
        "[]",
        ANALYZER,
        "Percentiles in an analysis.",
    ),
    key(
        "export_original_dataset",
        Kind::Bool,
        "false",
        ANALYZER,
        "Exports rows along with an analysis.",
    ),
    key(
        "save_stats_in_one_file",
        Kind::Bool,
        "false",
        ANALYZER,
        "Puts all charts of an analysis in one file.",
    ),
    key(
        "hpo_config",
        Kind::Text,
        "",
        SANDBOX,
        "A search over parameters.",
    ),
    key(
        "data_probe_algo",
        Kind::Text,
        "uniform",
        SANDBOX,
        "How a probe draws rows.",
    ),
    key(
        "data_probe_ratio",
        Kind::Number,
        "1.0",
        SANDBOX,
        "The part of the rows that a probe draws.",
    ),
    key(
        "elastic_juicer_adaptive_batching",
        Kind::Bool,
        "false",
        RAY,
        "Adaptive batches of Ray actors.",
    ),
    key(
        "elastic_juicer_profile_seed",
        Kind::Bool,
        "false",
        RAY,
        "Reuses batch profiles of Ray actors.",
    ),
    key(
        "partition_size",
        Kind::Positive,
        "",
        RAY,
        "Rows a Ray partition (old name).",
    ),
    key(
        "partition_dir",
        Kind::Text,
        "",
        RAY,
        "Where Ray partitions are recorded.",
    ),
    key(
        "partition.mode",
        Kind::Text,
        "auto",
        RAY,
        "How Ray partitions are cut.",
    ),
    key(
        "partition.size",
        Kind::Positive,
        "",
        RAY,
        "Rows a Ray partition.",
    ),
    key(
        "partition.num_of_partitions",
        Kind::PositiveOrAuto,
        "",
        RAY,
        "Ray partitions.",
    ),
    key(
        "partition.partitions_per_node",
        Kind::PositiveOrAuto,
        "auto",
        RAY,
        "Ray partitions a node.",
    ),
    key(
        "partition.max_concurrent_partitions",
        Kind::PositiveOrAuto,
        "auto",
        RAY,
        "Ray partitions at work at once.",
    ),
    key(
        "partition.max_gpu_workers_per_device",
        Kind::Positive,
        "5",
        RAY,
        "Workers a GPU.",
    ),
    key(
        "partition.max_concurrent_gpu_probes",
        Kind::PositiveOrAuto,
        "auto",
        RAY,
        "GPU probes at once.",
    ),
    key(
        "partition.gpu_preflight_enabled",
        Kind::Bool,
        "true",
        RAY,
        "Probes GPUs before the run.",
    ),
    key(
        "partition.gpu_probe_timeout_seconds",
        Kind::Number,
        "",
        RAY,
        "Time limit of a GPU probe.",
    ),
    key(
        "partition.gpu_probe_warmup_batches",
        Kind::Natural,
        "1",
        RAY,
        "Batches before a GPU probe measures.",
    ),
    key(
        "partition.gpu_probe_steady_batches",
        Kind::Positive,
        "3",
        RAY,
        "Batches that a GPU probe measures.",
    ),
    key(
        "partition.gpu_probe_sample_offset",
        Kind::Natural,
        "0",
        RAY,
        "Rows that a GPU probe skips.",
    ),
    key(
        "partition.gpu_probe_sample_shuffle",
        Kind::Bool,
        "false",
        RAY,
        "Shuffles the rows of a GPU probe.",
    ),
    key(
        "partition.gpu_probe_sample_seed",
        Kind::Int,
        "42",
        RAY,
        "Seed of a shuffled GPU probe.",
    ),
    key(
        "partition.execution_group_size",
        Kind::PositiveOrAuto,
        "auto",
        RAY,
        "Partitions that one pool of GPU actors serves.",
    ),
    key(
        "partition.max_initialization_overhead_ratio",
        Kind::Number,
        "0.1",
        RAY,
        "Time that loading models may take.",
    ),
    key(
        "partition.target_size_mb",
        Kind::Int,
        "256",
        RAY,
        "Size of a Ray partition.",
    ),
];

/// The key called `name`.
pub fn find(name: &str) -> Option<&'static KeyDef> {
    // The one key that Data-Juicer's own recipes write in two ways.
    let name = match name {
        "custom-operator-paths" => "custom_operator_paths",
        name => name,
    };
    KEYS.iter().find(|key| key.name == name)
}

/// Whether `name` is the first part of dotted keys.
pub fn is_group(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

impl KeyDef {
    /// The default as a value.
    pub(super) fn default_value(&self) -> Value {
        match self.default {
            "" => Value::Null,
            "[]" => Value::List(Vec::new()),
            "{}" => Value::Map(Vec::new()),
            text if matches!(self.kind, Kind::Text | Kind::Texts | Kind::Word(_)) => {
                Value::Str(text.to_owned())
            }
            text => resolve(text),
        }
    }
}

/// The keys that a recipe wrote, checked; a key that is asked for and not written has the
/// default of the table.
#[derive(Debug, Default)]
pub struct Keys(BTreeMap<&'static str, (Pos, Node)>);

impl Keys {
    /// Takes the value of a key.
    pub fn insert(&mut self, name: &'static str, at: Pos, node: Node) {
        self.0.insert(name, (at, node));
    }

    /// Where a key is written.
    pub fn place(&self, name: &str) -> Option<Pos> {
        self.0.get(name).map(|(at, _)| *at)
    }

    /// The value as written.
    pub fn written(&self, name: &str) -> Option<&Node> {
        self.0.get(name).map(|(_, node)| node)
    }

    fn value(&self, name: &str) -> Value {
        match self.written(name) {
            Some(node) => node.value.clone(),
            None => find(name).map_or(Value::Null, KeyDef::default_value),
        }
    }

    /// A text; empty if there is none.
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Str(text) => text,
            _ => String::new(),
        }
    }

    /// A text or a list of texts; an empty list counts as the default.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let value = match self.value(name) {
            Value::List(items) if items.is_empty() => {
                find(name).map_or(Value::Null, KeyDef::default_value)
            }
            value => value,
        };
        match value {
            Value::Str(text) => vec![text],
            Value::List(items) => items
                .into_iter()
                .filter_map(|item| match item.value {
                    Value::Str(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> bool {
        self.value(name) == Value::Bool(true)
    }

    /// A whole number of at least 0.
    pub fn count(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Value::Int(int) => u64::try_from(int).ok(),
            _ => None,
        }
    }

    /// A number of at least 0.
    pub fn number(&self, name: &str) -> Option<f64> {
        let number = match self.value(name) {
            #[expect(clippy::cast_precision_loss, reason = "a sum of money")]
            Value::Int(int) => int as f64,
            Value::Float(float) => float,
            _ => return None,
        };
        Some(number.max(0.0))
    }

    /// A number of bytes.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        bytes(&Node::new(Pos::default(), self.value(name)))
    }

    /// How many rows may fail.
    pub fn limit(&self, name: &str) -> QuarantineLimit {
        limit(&Node::new(Pos::default(), self.value(name))).unwrap_or(QuarantineLimit::None)
    }

    /// A word of a closed choice that may be left open.
    pub fn choice<T: ValueEnum>(&self, name: &str) -> Option<T> {
        T::from_str(&self.text(name), false).ok()
    }

    /// A word of a closed choice; the table has a default for it.
    pub fn word<T: ValueEnum>(&self, name: &str) -> T {
        self.choice(name)
            .unwrap_or_else(|| T::value_variants()[0].clone())
    }

    /// The seed of what is drawn at random.
    pub fn seed(&self) -> u64 {
        self.count("seed").unwrap_or_default()
    }
}

/// Parameters that every operator accepts, beside its own.
#[derive(Debug, Clone, Copy)]
pub struct BaseKey {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The only family that has it, if not all do.
    pub family: Option<Family>,
    /// Whether djr gives it a meaning.
    pub used: bool,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

const fn base(
    name: &'static str,
    kind: Kind,
    family: Option<Family>,
    used: bool,
    doc: &'static str,
) -> BaseKey {
    BaseKey {
        name,
        kind,
        family,
        used,
        doc,
    }
}

const MEANINGLESS: &str = "Accepted; no meaning here.";

/// The table of parameters that every operator accepts.
pub const BASE_KEYS: &[BaseKey] = &[
    base(
        "text_key",
        Kind::Text,
        None,
        true,
        "The text field, instead of the recipe's; dots descend.",
    ),
    base(
        "image_key",
        Kind::Text,
        None,
        true,
        "The field of image paths, instead of the recipe's.",
    ),
    base(
        "min_closed_interval",
        Kind::Bool,
        Some(Family::Filter),
        true,
        "The lower bound itself is kept (default true).",
    ),
    base(
        "max_closed_interval",
        Kind::Bool,
        Some(Family::Filter),
        true,
        "The upper bound itself is kept (default true).",
    ),
    base(
        "reversed_range",
        Kind::Bool,
        Some(Family::Filter),
        true,
        "Keep what lies outside of the range, its ends included (default false).",
    ),
    base(
        "keep",
        Kind::Text,
        Some(Family::Filter),
        true,
        "Of the rows that pass, keep only so many: `best 1000`, `worst 5%`, the ranks `best 2000..202000`, `best 10 by STAT`.",
    ),
    base(
        "keep",
        Kind::Any,
        Some(Family::Deduplicator),
        true,
        "Which of rows that are the same stays: `first` (the default), `longest` (in characters of its text), `{max: NAME}` or `{min: NAME}` for the greatest or least number in a stat or field; of equal ones the first. djr's own.",
    ),
    base(
        "merge",
        Kind::Map,
        Some(Family::Deduplicator),
        true,
        "Top-level fields that the row which stays takes over from its duplicates: `{FIELD: list}` (the values of all of them, each once; lists give their items), `sum` (of their numbers) or `first` (where it has none, the first one of the others). djr's own.",
    ),
    base(
        "reference",
        Kind::Texts,
        Some(Family::Deduplicator),
        true,
        "Files whose rows are known before those of the run, or what `djr index --for` made of them: rows that equal these, or are near them, go, and they are never written. djr's own.",
    ),
    base(
        "report_clusters",
        Kind::Bool,
        Some(Family::Deduplicator),
        true,
        "Write each row that stays with its duplicates to `clusters.jsonl.zst` in the run's directory. djr's own.",
    ),
    base(
        "stats_export_path",
        Kind::Any,
        Some(Family::Filter),
        false,
        MEANINGLESS,
    ),
    base("audio_key", Kind::Any, None, false, MEANINGLESS),
    base("video_key", Kind::Any, None, false, MEANINGLESS),
    base("image_bytes_key", Kind::Any, None, false, MEANINGLESS),
    base("system_key", Kind::Any, None, false, MEANINGLESS),
    base("instruction_key", Kind::Any, None, false, MEANINGLESS),
    base("prompt_key", Kind::Any, None, false, MEANINGLESS),
    base("query_key", Kind::Any, None, false, MEANINGLESS),
    base("response_key", Kind::Any, None, false, MEANINGLESS),
    base("history_key", Kind::Any, None, false, MEANINGLESS),
    base("index_key", Kind::Any, None, false, MEANINGLESS),
    base("work_dir", Kind::Any, None, false, MEANINGLESS),
    base("skip_op_error", Kind::Any, None, false, MEANINGLESS),
    base("batch_size", Kind::Any, None, false, MEANINGLESS),
    base("num_proc", Kind::Any, None, false, MEANINGLESS),
    base("num_cpus", Kind::Any, None, false, MEANINGLESS),
    base("num_gpus", Kind::Any, None, false, MEANINGLESS),
    base("memory", Kind::Any, None, false, MEANINGLESS),
    base("accelerator", Kind::Any, None, false, MEANINGLESS),
    base("turbo", Kind::Any, None, false, MEANINGLESS),
    base("batch_mode", Kind::Any, None, false, MEANINGLESS),
    base("runtime_env", Kind::Any, None, false, MEANINGLESS),
    base("ray_execution_mode", Kind::Any, None, false, MEANINGLESS),
    base("adaptive_batching", Kind::Any, None, false, MEANINGLESS),
    base("auto_op_parallelism", Kind::Any, None, false, MEANINGLESS),
    base("cpu_required", Kind::Any, None, false, MEANINGLESS),
    base("gpu_required", Kind::Any, None, false, MEANINGLESS),
    base("mem_required", Kind::Any, None, false, MEANINGLESS),
    base("input_columns", Kind::Any, None, false, MEANINGLESS),
    base("output_columns", Kind::Any, None, false, MEANINGLESS),
];

impl Kind {
    /// What is expected, in words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Int => "a whole number".into(),
            Self::Positive => "a whole number of at least 1".into(),
            Self::Natural => "a whole number of at least 0".into(),
            Self::PositiveOrAuto => "a whole number of at least 1, or 'auto'".into(),
            Self::Number => "a number".into(),
            Self::Text => "a string".into(),
            Self::Texts => "a string or a list of strings".into(),
            Self::TextList => "a list of strings".into(),
            Self::NumberList => "a list of numbers".into(),
            Self::MapList => "a list of mappings".into(),
            Self::Map => "a mapping".into(),
            Self::MapOrList => "a mapping or a list".into(),
            Self::Bytes => "a number of bytes such as 2GB or 512MiB".into(),
            Self::Limit => "a percentage such as 5%, a number of rows, or none".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Any => "a value".into(),
        }
    }

    /// The node in the type that is expected. Where no doubt is possible, text is read as a number
    /// and a bare number as text, as Data-Juicer's reader does for global keys.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub(super) fn fit(self, node: &Node) -> Result<Node, String> {
        if node.is_null() {
            return Ok(node.clone());
        }
        let fitting = |node: &Node| match (self, &node.value) {
            (Self::Any, _)
            | (Self::Bool, Value::Bool(_))
            | (Self::Int, Value::Int(_))
            | (Self::Number, Value::Int(_) | Value::Float(_))
            | (Self::Text | Self::Texts, Value::Str(_))
            | (Self::Map | Self::MapOrList, Value::Map(_))
            | (Self::MapOrList, Value::List(_)) => true,
            (Self::Positive | Self::PositiveOrAuto, Value::Int(i)) => {
                *i >= 1 && u64::try_from(*i).is_ok()
            }
            (Self::Natural, Value::Int(i)) => u64::try_from(*i).is_ok(),
            (Self::PositiveOrAuto, Value::Str(s)) => s == "auto",
            (Self::Texts | Self::TextList, Value::List(items)) => {
                items.iter().all(|i| matches!(i.value, Value::Str(_)))
            }
            (Self::NumberList, Value::List(items)) => items
                .iter()
                .all(|i| matches!(i.value, Value::Int(_) | Value::Float(_))),
            (Self::MapList, Value::List(items)) => {
                items.iter().all(|i| matches!(i.value, Value::Map(_)))
            }
            (Self::Bytes, _) => bytes(node).is_some(),
            (Self::Limit, _) => limit(node).is_some(),
            (Self::Word(words), Value::Str(s)) => words.contains(&s.as_str()),
            _ => false,
        };
        if fitting(node) {
            return Ok(node.clone());
        }
        let other = match (&node.value, node.plain.as_deref()) {
            (Value::Str(text), None) => Some(Node::new(node.at, resolve(text))),
            (Value::Int(_) | Value::Float(_) | Value::Bool(_), Some(text)) => {
                Some(Node::new(node.at, Value::Str(text.to_owned())))
            }
            (Value::Int(i), None) => Some(Node::new(node.at, Value::Str(i.to_string()))),
            _ => None,
        };
        match other {
            Some(other) if !other.is_null() && fitting(&other) => Ok(other),
            _ => Err(format!(
                "expected {}, found {}",
                self.words(),
                node.describe()
            )),
        }
    }
}

/// The limit that `node` says.
#[must_use]
pub fn limit(node: &Node) -> Option<QuarantineLimit> {
    match &node.value {
        Value::Int(rows) => u64::try_from(*rows).ok().map(QuarantineLimit::Rows),
        Value::Str(text) => QuarantineLimit::from_text(text),
        _ => None,
    }
}

/// A number of bytes, as [`parse_size`] reads it.
#[must_use]
pub fn bytes(node: &Node) -> Option<u64> {
    match &node.value {
        Value::Int(int) => u64::try_from(*int).ok(),
        Value::Str(text) => parse_size(text),
        _ => None,
    }
}

/// Bytes from a number, alone or with a unit: `k m g t`, with or without `b`, count in thousands;
/// `ki mi gi ti` in 1024s.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked to be positive and below 2^63; a budget need not be exact"
)]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.replace('_', "").parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024_u64),
        None => (unit, 1000),
    };
    let power = match (letter, base) {
        ("", 1000) => 0,
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        _ => return None,
    };
    let total = number * base.pow(power) as f64;
    (total.is_finite() && (0.0..9.2e18).contains(&total)).then_some(total as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::yaml::Pos;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("512", Some(512)),
            ("2GB", Some(2_000_000_000)),
            ("512MiB", Some(512 << 20)),
            ("1.5g", Some(1_500_000_000)),
            ("1_000 kb", Some(1_000_000)),
            ("0.5TiB", Some(1 << 39)),
            ("GB", None),
            ("-1GB", None),
            ("2 parsecs", None),
            ("1e400", None),
        ] {
            assert_eq!(
                bytes(&Node::from_plain(Pos::default(), text)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_unique_and_defaults_fit() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[..i].iter().all(|k| k.name != key.name),
                "{} twice",
                key.name
            );
            let default = Node::new(Pos::default(), key.default_value());
            assert!(key.kind.fit(&default).is_ok(), "{}", key.name);
        }
    }
}
