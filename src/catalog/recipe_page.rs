//! The page of a recipe's keys, each with an example; from the table that the loader reads.

use std::fmt::Write as _;

use super::pages::keys_markdown;
use crate::recipe::{KEYS, Role};

/// Examples of keys whose default says too little. A test reads each as part of a recipe.
const EXAMPLES: &[(&str, &str)] = &[
    ("project_name", "project_name: captions, spring"),
    (
        "process",
        "process:\n  - text_length_filter: {min_len: 10, max_len: p99}\n  - document_deduplicator:",
    ),
    (
        "dataset_path",
        "dataset_path: [data.jsonl, 'more/*.jsonl.gz']",
    ),
    (
        "dataset",
        "dataset:\n  configs:\n    - {type: local, path: data.jsonl}",
    ),
    ("suffixes", "suffixes: [.jsonl, .parquet]"),
    ("input.format", "input: {format: jsonl}"),
    ("input.text_from", "input: {text_from: json.caption}"),
    ("input.columns", "input: {columns: [id, caption]}"),
    ("input.images_from", "input: {images_from: picture}"),
    ("input.csv", "input: {csv: {delimiter: ';'}}"),
    ("text_keys", "text_keys: caption"),
    ("image_key", "image_key: pictures"),
    ("image_root", "image_root: images"),
    ("export_path", "export_path: out/clean.jsonl"),
    ("export_type", "export_type: jsonl"),
    ("export_shard_size", "export_shard_size: 100MB"),
    (
        "outputs",
        "outputs:\n  - {format: jsonl, path: out/clean.jsonl.zst}\n  - {format: llava, path: out/train.json, questions: stage_1.json, for: llava}\n  - {format: jsonl, path: out/sample.jsonl, sample: 1000, seed: 7, shuffle: true}",
    ),
    ("validate", "validate: decode"),
    ("np", "np: 8"),
    ("max_memory", "max_memory: 4GB"),
    ("max_quarantine", "max_quarantine: 0.5%"),
    ("op_list_to_trace", "op_list_to_trace: [text_length_filter]"),
    ("trace_keys", "trace_keys: [id]"),
];

/// The keys that have a meaning here, each with an example in YAML.
#[must_use]
pub fn key_examples() -> Vec<(&'static str, String)> {
    let used = KEYS
        .iter()
        .filter(|key| matches!(key.role, Role::Used | Role::Own));
    used.map(|key| {
        let example = EXAMPLES.iter().find(|(name, _)| *name == key.name);
        let example = match (example, key.name.split_once('.')) {
            (Some((_, example)), _) => (*example).to_owned(),
            (None, Some((group, name))) => format!("{group}: {{{name}: {}}}", key.default),
            (None, None) => format!("{}: {}", key.name, quoted(key.default)),
        };
        (key.name, example)
    })
    .collect()
}

/// A default as YAML reads it back: what looks like a tag or a block is a text.
fn quoted(default: &str) -> String {
    if default.starts_with(['<', '|', '%', '@']) {
        format!("'{default}'")
    } else {
        default.to_owned()
    }
}

/// The page of all keys.
#[must_use]
pub fn recipe_markdown() -> String {
    let mut out = String::from(
        "# A recipe, key by key\n\n\
         Generated from the table that the loader reads; `DJR_BLESS=1 cargo test --test cli documents` rewrites it.\n\n\
         A recipe is a YAML file of Data-Juicer's: `process` lists the operators (recipes/OPERATORS.md), \
         the other keys say what is read, what is written and how. Keys marked **djr** are djr's own: \
         Data-Juicer 1.6.1 refuses a recipe that has them. Relative paths start at the recipe's directory, \
         then at the working directory; outputs start at the working directory. `${NAME}` is the variable of \
         the environment, `--set KEY=VALUE` overrides a key for one run. What is wrong with a recipe is told \
         at once, with line and column: `djr check recipe.yaml`.\n",
    );
    for ((name, example), key) in key_examples().into_iter().zip(
        KEYS.iter()
            .filter(|key| matches!(key.role, Role::Used | Role::Own)),
    ) {
        let own = if key.role == Role::Own {
            " **djr**"
        } else {
            ""
        };
        let default = match key.default {
            "" => String::new(),
            default => format!("; default `{default}`"),
        };
        let _ = write!(
            out,
            "\n## `{name}`{own}\n\n{} ({}{default})\n\n```yaml\n{example}\n```\n",
            key.doc,
            key.kind.words(),
        );
    }
    let rest = keys_markdown();
    if let Some((_, rest)) = rest.split_once("\nAn item of `outputs`:") {
        let _ = write!(out, "\n## An item of `outputs`\n{rest}");
    }
    out
}
