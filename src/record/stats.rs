//! What was measured of a row, one record a row in the order of the input.
//!
//! Stats stand under a key of their own: a filter may measure a field of any name, and a stat that
//! is called `line` is not the line of the row.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::StepNumber;

/// The stats of one row. What holds the stats themselves is left to who writes or reads them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatsRow<'a, S = Map<String, Value>> {
    /// The input: its index in the manifest, or its name in an analysis.
    pub file: InputRef<'a>,
    /// Line in it, from 1 (the element's number in a JSON array).
    pub line: u64,
    /// Global byte offset: the row's identity.
    pub offset: u64,
    /// The row's `id`, if it has one and it is kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, Value>>,
    /// By name, in the order of the recipe.
    pub stats: S,
    /// Whether all images of the row decode, if that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_decode: Option<bool>,
    /// What could not be measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<StatsError<'a>>,
}

/// An input as a record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum InputRef<'a> {
    /// Its index in the manifest, from 0.
    Index(u32),
    /// Its name.
    Name(Cow<'a, str>),
}

/// Why a row lacks a stat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsError<'a> {
    /// Who says so: an operator, `read` or `images`.
    pub by: Cow<'a, str>,
    /// The operator's step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepNumber>,
    /// The stable word.
    pub code: Cow<'a, str>,
}

impl StatsError<'_> {
    /// Whether a step failed, or the row could not be read: what the images are like does not
    /// matter to what was measured.
    #[must_use]
    pub fn ends_row(&self) -> bool {
        self.by != IMAGES
    }
}

/// Who speaks of what images of a row are like.
pub const IMAGES: &str = "images";

/// Who speaks of rows that cannot be read.
pub const READ: &str = "read";

impl<S: Serialize> StatsRow<'_, S> {
    /// Appends the record as a line.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }
}
