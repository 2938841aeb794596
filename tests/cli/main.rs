//! The program as users run it: commands, files, exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test that cannot go on stops, and says what it skips"
)]

mod analyze;
mod answers;
mod archives;
mod assets;
mod bad_recipes;
mod bounds;
mod cache;
mod choices;
mod columns;
mod commands;
mod convert;
mod curation;
mod decontaminate;
mod destinations;
mod determinism;
mod diff;
mod documents;
mod endings;
mod executor;
mod format_world;
mod frequency;
mod from_data;
mod fusion;
mod fuzzed;
mod groups;
mod hostile;
mod images;
mod inputs;
mod ledger;
mod messages;
#[path = "../mock/mod.rs"]
mod mock;
mod notes;
mod outputs;
mod ownership;
mod parquet;
mod parts;
mod peers;
mod pipeline;
mod produced;
mod provenance;
mod ray;
mod real;
mod record;
mod references;
mod remote;
mod report;
mod resume;
mod rounding;
mod servers;
mod subset;
mod support;
mod tasks;
mod terminal;
mod tidy;
mod trainers;
mod training;
mod transcripts;
mod twins;
mod view;
