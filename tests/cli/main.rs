//! The program as users run it: commands, files, exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test that cannot go on stops, and says what it skips"
)]

mod bad_recipes;
mod determinism;
mod documents;
mod ledger;
mod pipeline;
mod real;
mod subset;
mod support;
mod tidy;
