//! What was found by looking: at a run, at two, at rows, at the catalogue.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::note::Code;
use crate::record::{Fate, StepNumber};

/// The answer of `djr diff`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DiffAnswer {
    /// The one.
    pub a: PathBuf,
    /// The other.
    pub b: PathBuf,
    /// Rows of the one.
    pub rows_a: u64,
    /// Rows of the other.
    pub rows_b: u64,
    /// Rows that both have, with the same values.
    pub same: u64,
    /// Rows that differ, by kind.
    pub differing: Vec<DiffCount>,
    /// What decided.
    pub reasons: Vec<DiffReason>,
    /// Fields that differ in rows that both have.
    pub fields: Vec<DiffField>,
}

/// Rows that differ in one way.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DiffCount {
    /// `only_a`, `only_b`, `changed`, or `decided`: neither kept it, for different reasons.
    pub kind: String,
    /// How many rows.
    pub rows: u64,
}

/// Why rows differ.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DiffReason {
    /// As in `differing`.
    pub kind: String,
    /// What became of the rows in the run that did not keep them; null where they are not in its
    /// input.
    pub fate: Option<Fate>,
    /// Who decided: an operator, `read`, `outputs`, `sample` or `where`.
    pub by: Option<String>,
    /// The stable word, where they could not be processed.
    pub code: Option<String>,
    /// The bound they broke, as the recipe says it.
    pub limit: Option<String>,
    /// The same in values.
    pub bounds: Vec<BoundValue>,
    /// How many rows.
    pub rows: u64,
    /// The least value that decided.
    pub least: Option<f64>,
    /// The greatest.
    pub greatest: Option<f64>,
}

/// A bound of a filter.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BoundValue {
    /// The parameter.
    pub param: String,
    /// Its value; null where it bounds nothing.
    pub value: Option<f64>,
}

/// A field that differs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DiffField {
    /// Its name.
    pub field: String,
    /// In how many rows.
    pub rows: u64,
}

/// The answer of `djr analyze`; `analysis.json` has all that was found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AnalyzeAnswer {
    /// `analysis.json`.
    pub analysis: PathBuf,
    /// The stats of every row, as JSON Lines.
    pub stats_jsonl: PathBuf,
    /// The same in columns.
    pub stats_parquet: PathBuf,
    /// The suggested recipe, if one was asked for.
    pub suggested: Option<PathBuf>,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// Images named by rows.
    pub images: u64,
    /// Images that are not there.
    pub images_missing: u64,
    /// Images that are broken.
    pub images_broken: u64,
    /// Rows that share their text with another.
    pub same_text: u64,
    /// Rows that share an image with another.
    pub same_image: u64,
    /// What was measured.
    pub stats: Vec<StatShort>,
}

/// A stat over all rows, in short.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StatShort {
    /// Its name.
    pub name: String,
    /// The filter that measured it.
    pub op: String,
    /// What it counts or is measured in.
    pub unit: String,
    /// Rows that have it.
    pub rows: u64,
    /// Rows that have not.
    pub missing: u64,
    /// The least value.
    pub min: Option<f64>,
    /// The median.
    pub median: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
    /// Rows that the filter would drop because of it.
    pub would_drop: u64,
}

/// The answer of `djr report`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReportAnswer {
    /// The page.
    pub page: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// The answer of `djr ops`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OpsAnswer {
    /// The operators: all, those that a word was searched for in, or one.
    pub operators: Vec<OpAnswer>,
}

/// An operator.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OpAnswer {
    /// Its name in recipes.
    pub name: String,
    /// `mapper`, `filter`, `deduplicator`, `selector` or `grouper`.
    pub family: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// Raised when its answers change.
    pub version: u32,
    /// Its page in Markdown, where one operator was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The JSON Schema of its parameters, where one operator was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// The defaults of its parameters, where one operator was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Value>,
}

/// The answer of `djr why`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WhyAnswer {
    /// The run.
    pub run_dir: PathBuf,
    /// How many rows there are of those asked for; `rows` has as many as `--limit` lets through.
    pub total: u64,
    /// The rows.
    pub rows: Vec<WhyRow>,
    /// Ids and places asked for that no row has.
    pub unknown: Vec<String>,
}

/// What became of a row, or of one part of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WhyRow {
    /// The input's name.
    pub input: String,
    /// Line in it, from 1.
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// Which part, where an operator made several of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u64>,
    /// Which further copy of the row, from 1, where a selector took it more than once; of several that
    /// are told of together the first. The row itself has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<u64>,
    /// The row's `id`, if it has one.
    pub id: Value,
    /// What became of it.
    pub fate: Fate,
    /// How many times: a selector may take a row more than once. Copies that ended alike, one number
    /// behind the other, are told of together.
    pub times: u64,
    /// Who decided.
    pub by: Option<String>,
    /// The operator's step, from 1.
    pub step: Option<StepNumber>,
    /// The stat that decided.
    pub stat: Option<String>,
    /// Its value.
    pub value: Option<Value>,
    /// The bound it broke, as the recipe says it.
    pub limit: Option<String>,
    /// The same in values: one bound, or both of a reversed range.
    pub bounds: Vec<BoundValue>,
    /// The stable word for why it could not be processed.
    pub code: Option<String>,
    /// The row it duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<PlaceRecord>,
    /// The row it became part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<PlaceRecord>,
    /// What the step that decided had to note of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Code>,
    /// Why it could not be processed, or was refused.
    pub set_aside: Vec<SetAsideRecord>,
}

/// Where another row is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlaceRecord {
    /// The input's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Line in it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Its identity.
    pub offset: u64,
    /// Its `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
}

/// Why a row could not be processed, or was refused.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SetAsideRecord {
    /// Who says so.
    pub by: String,
    /// The operator's step, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepNumber>,
    /// The stable word.
    pub code: String,
    /// Why, for people.
    pub message: String,
}
