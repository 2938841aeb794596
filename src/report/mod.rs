//! What happened: counts, the ledger, the quarantine, the manifest, progress and the closing table;
//! and all of that read back.

pub mod counts;
pub mod ledger;
pub mod manifest;
pub mod past;
pub mod progress;
pub mod quarantine;
pub mod table;

pub use counts::{OutputCounts, RunReport, StepCounts};
