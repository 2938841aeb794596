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
    /// What is damaged.
    pub damage: Vec<CacheProblem>,
    /// Of `verify`: results that were computed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<u64>,
    /// Of `verify`: those that came out otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differ: Vec<CacheProblem>,
    /// Of `gc`: results that were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
    /// Of `gc`: bytes that became free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed: Option<u64>,
}

/// Something in a cache that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CacheProblem {
    /// The stable word: `damaged` (a file of the cache, which is ignored), `content` (a file of the
    /// user's is another, and its size and times do not say so), `result` (a result comes out
    /// otherwise).
    pub code: String,
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Of `result`: what was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What is wrong, for people.
    pub message: String,
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
