//! What an analysis leaves in `analysis.json`; `docs/ANALYSIS.md` describes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ServiceRecord;
use super::counts::FromData;
use super::ordered::Ordered;
use super::version::{self, Version};
use super::{InputRecord, RecordError, Settings, StepNumber};
use crate::layout::{AnalysisFiles, AnalysisKind};
use crate::note::Note;
use crate::plan::Plan;
use crate::sample::ImageCheck;

/// Rows by what is said of them.
pub type Counts = BTreeMap<String, u64>;

/// What an analysis found.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Analysis {
    /// The version of this and of the stats of rows beside it.
    pub format: Version,
    /// The program that wrote it.
    pub djr: String,
    /// What it is.
    pub kind: AnalysisKind,
    /// The command line, word by word.
    #[serde(default)]
    pub command: Vec<String>,
    /// When it was started, in UTC.
    #[serde(default)]
    pub started: String,
    /// When it ended.
    #[serde(default)]
    pub ended: String,
    /// What was read.
    pub inputs: Vec<InputRecord>,
    /// What is to be known of it.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// What models and programs were asked, and what they ran on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceRecord>,
    /// The rows in all.
    pub rows: Rows,
    /// Rows that could not be read, by code.
    pub unreadable: Counts,
    /// Rows that steps could not measure or change.
    pub errors: Vec<StepError>,
    /// The recipe's file, as the user named it.
    pub recipe_file: String,
    /// Where its relative paths start.
    #[serde(default)]
    pub recipe_dir: Option<PathBuf>,
    /// What was measured by: the recipe as resolved, the versions of its operators, the files that
    /// they read.
    pub plan: Plan,
    /// How far images were looked at.
    pub images_checked: ImageCheck,
    /// What was measured, in the order of the recipe.
    pub stats: Ordered<StatRecord>,
    /// What each filter would drop.
    pub filters: Vec<FilterRecord>,
    /// The images.
    pub images: ImagesRecord,
    /// The captions.
    pub text: TextRecord,
    /// Rows that share something.
    pub duplicates: Duplicates,
}

/// The rows of an analysis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rows {
    /// Rows read.
    #[serde(rename = "in")]
    pub read: u64,
    /// Rows that could be read.
    pub measured: u64,
    /// Rows that could not.
    pub unreadable: u64,
}

/// Rows that a step could not process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepError {
    /// The operator.
    pub by: String,
    /// Its step, from 1.
    pub step: StepNumber,
    /// The stable word.
    pub code: String,
    /// How many rows.
    pub rows: u64,
}

/// One stat over all rows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StatRecord {
    /// The filter that measured it.
    pub op: String,
    /// Its step, from 1.
    pub step: StepNumber,
    /// What it counts or is measured in; empty for a mere number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Rows that have it.
    pub rows: u64,
    /// Rows that have not.
    pub missing: u64,
    /// Of values that are numbers for the most part, how many are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u64,
    /// Its values.
    #[serde(flatten)]
    pub found: Found,
    /// The bounds in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundsRecord>,
    /// Rows that the filter would drop because of it.
    pub would_drop: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The values of a stat.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Found {
    /// They are no numbers.
    Words {
        /// How many.
        values: u64,
        /// How many different ones.
        distinct: usize,
        /// The most frequent, with their counts.
        top: Vec<(String, u64)>,
        /// Of these, how many rows the filter would drop because of them, where it would.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        top_would_drop: Vec<(String, u64)>,
    },
    /// They are numbers.
    Numbers(Summary),
}

impl Found {
    /// The numbers, if they are some.
    #[must_use]
    pub fn numbers(&self) -> Option<&Summary> {
        match self {
            Self::Numbers(summary) => Some(summary),
            Self::Words { .. } => None,
        }
    }
}

/// The bounds of a stat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BoundsRecord {
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Numbers in short.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Summary {
    /// How many there are.
    pub values: u64,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their standard deviation.
    pub std: Option<f64>,
    /// Exact percentiles, by name.
    pub percentiles: Ordered<Option<f64>>,
    /// How many lie where.
    pub histogram: Bars,
}

impl Summary {
    /// A percentile.
    #[must_use]
    pub fn percentile(&self, name: &str) -> Option<f64> {
        self.percentiles.get(name).copied().flatten()
    }
}

/// A histogram.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bars {
    /// Where bars begin, and the last one ends.
    pub edges: Vec<f64>,
    /// How many values each holds.
    pub counts: Vec<u64>,
}

/// What one filter would drop.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FilterRecord {
    /// The filter.
    pub op: String,
    /// Its step, from 1.
    pub step: StepNumber,
    /// What it measures.
    pub stats: Vec<String>,
    /// Rows that it would drop alone.
    pub would_drop: u64,
    /// Rows that it would drop of those that the filters before it keep.
    pub would_drop_in_sequence: u64,
    /// Bounds that come from the data, as a run would find them: among the rows that reach the
    /// filter. Alone, it takes them from all rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_data: Vec<FromData>,
}

/// The images of all rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ImagesRecord {
    /// Paths in rows, repetitions included.
    pub references: u64,
    /// Different paths.
    pub distinct_paths: u64,
    /// Rows without an image.
    pub rows_without: u64,
    /// Rows whose image field holds no paths, by code.
    pub bad_fields: Counts,
    /// Paths that lead nowhere.
    pub missing: u64,
    /// Images that are broken, by code.
    pub broken: Counts,
    /// Formats, by content.
    pub formats: Counts,
    /// Widths in pixels.
    pub width: Summary,
    /// Heights in pixels.
    pub height: Summary,
    /// Width by height.
    pub aspect_ratio: Summary,
    /// Sizes of files.
    pub bytes: Summary,
}

impl ImagesRecord {
    /// References that are missing or broken.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.missing + self.broken.values().sum::<u64>()
    }
}

/// The captions of all rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct TextRecord {
    /// Rows with a text.
    pub rows: u64,
    /// Rows without one.
    pub missing: u64,
    /// Rows whose text is empty.
    pub empty: u64,
    /// Characters of a caption.
    pub characters: Summary,
    /// Words of a caption.
    pub words: Summary,
    /// Words in all.
    pub total_words: u64,
    /// Different words.
    pub distinct_words: usize,
    /// Whether there are no more.
    pub distinct_words_exact: bool,
    /// Different words per word.
    pub type_token_ratio: Option<f64>,
    /// The most frequent words, with their counts.
    pub top_words: Vec<(String, u64)>,
    /// The most frequent beginnings, with their counts.
    pub templates: Vec<(String, u64)>,
}

/// Rows that share something, by what they share.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Duplicates {
    /// The text.
    pub text: Clusters,
    /// The bytes of an image.
    pub image: Clusters,
    /// One image, under different captions.
    pub captions_per_image: Clusters,
    /// One caption, for different images.
    pub images_per_caption: Clusters,
}

/// Clusters of rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Clusters {
    /// How many.
    pub clusters: usize,
    /// How many rows are in them.
    pub rows: usize,
    /// The largest.
    pub largest: Vec<Cluster>,
    /// What was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A cluster of rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Cluster {
    /// How many rows.
    pub rows: usize,
    /// How many different captions they have, where that is what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<usize>,
    /// How many different images they have, where that is what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// What they share.
    #[serde(default)]
    pub example: Option<String>,
    /// Some of the rows.
    pub origins: Vec<RowExample>,
}

/// What a row looks like.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RowExample {
    /// The input's name.
    pub file: String,
    /// Line in it, from 1.
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// The row's `id`.
    #[serde(default)]
    pub id: Value,
    /// The beginning of its text, where the cluster does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its images.
    #[serde(default)]
    pub images: Vec<String>,
}

impl Analysis {
    /// Reads the analysis at `path`, its directory or the file itself.
    ///
    /// # Errors
    /// If there is none, or it is of another version.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let file = if path.is_dir() {
            AnalysisFiles::new(path).json()
        } else {
            path.to_owned()
        };
        let text = fs::read(&file).map_err(|e| RecordError::read(&file, e))?;
        version::check(&text).map_err(|error| RecordError::Version {
            path: file.display().to_string(),
            error,
        })?;
        serde_json::from_slice(&text).map_err(|e| {
            RecordError::read(
                &file,
                std::io::Error::other(format!("not an analysis: {e}")),
            )
        })
    }

    /// What the recipe says to readers.
    ///
    /// # Errors
    /// If it says something else.
    pub fn settings(&self, path: &Path) -> Result<Settings, RecordError> {
        Settings::of(&self.plan.recipe).map_err(|e| RecordError::read(path, e))
    }
}
