//! What a cache of results holds.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `djr cache`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct CacheAnswer {
    /// Where the cache is.
    pub dir: PathBuf,
    /// Finished segments.
    pub segments: usize,
    /// Logs that runs are writing, which were not looked into.
    pub live: usize,
    /// Bytes of the segments.
    pub bytes: u64,
    /// Results, by what was measured.
    pub kernels: Vec<CacheKernel>,
    /// What is damaged, one sentence each.
    pub damage: Vec<String>,
    /// Of `verify`: results that were computed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<u64>,
    /// Of `verify`: those that came out otherwise, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differ: Vec<String>,
    /// Of `gc`: results that were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
    /// Of `gc`: bytes that became free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed: Option<u64>,
}

/// The results of one measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CacheKernel {
    /// What was measured; of models and of other versions of djr a number.
    pub kernel: String,
    /// How many results there are; one that is there twice counts twice.
    pub results: u64,
    /// Bytes of them.
    pub bytes: u64,
}
