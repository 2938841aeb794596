//! Rows as one JSON array: what Data-Juicer exports to a path that ends in `.json`.
//!
//! Data-Juicer does so through pandas, for at most 1,000 rows, and rewrites numbers and slashes on
//! the way; here the rows are those of [`super::jsonl`], byte for byte.

use super::{Format, Framing, jsonl};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "json",
    summary: "The rows as one JSON array.",
    suffixes: &["json"],
    framing: Framing::ARRAY,
    ..*jsonl::FORMAT
};
