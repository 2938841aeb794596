//! Clusters of duplicates: one line for each row that stayed with those that went for it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::StepNumber;
use super::ledger::{is_whole, sound_id};
use crate::sample::Origin;

/// A row, by where it is from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowPlace<'a> {
    /// Index of the input in the manifest, from 0.
    pub file: u32,
    /// Line in it, from 1.
    pub line: u64,
    /// The row's identity.
    pub offset: u64,
    /// Which part of the line's row, if an operator made several of it.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub part: u64,
    /// Which further copy of the row, if a selector took it more than once.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub copy: u64,
    /// The row's `id` as JSON text, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, RawValue>>,
}

/// Rows that a deduplicator found the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster<'a> {
    /// The step of the deduplicator, from 1.
    pub step: StepNumber,
    /// Its name.
    pub by: Cow<'a, str>,
    /// The row that stayed.
    pub kept: RowPlace<'a>,
    /// Those that went.
    pub duplicates: Vec<RowPlace<'a>>,
}

impl<'a> RowPlace<'a> {
    /// The row from `origin`, whose `id` is this JSON text.
    #[must_use]
    pub fn of(origin: Origin, id: Option<&'a str>) -> Self {
        Self {
            file: origin.file,
            line: origin.line,
            offset: origin.offset,
            part: origin.part,
            copy: origin.copy,
            id: sound_id(id).map(Cow::Borrowed),
        }
    }
}
