//! What a run leaves: its manifest, its ledger, the rows set aside, the stats of rows. Each kind
//! of record is one type here that both its writer and its readers use, so that no reader guesses
//! what a record holds. Where the files lie says [`crate::layout`].

pub mod analysis;
mod clusters;
pub mod counts;
pub mod ledger;
pub mod manifest;
pub mod ordered;
mod originals;
mod owner;
pub mod past;
pub mod quarantine;
mod services;
pub mod settings;
pub mod stats;
mod step;
pub mod version;

pub use analysis::Analysis;
pub use clusters::{Cluster, RowPlace};
pub use counts::{OutputCounts, RunReport, Stage, StepCounts};
pub use ledger::{Fate, LedgerEntry};
pub use manifest::{InputRecord, Manifest};
pub use originals::Original;
pub use owner::{Claim, ClaimError, Earlier, claim_file, claim_stats, forget_run};
pub use past::{PastRun, RecordError, Records};
pub use quarantine::QuarantineEntry;
pub use services::ServiceRecord;
pub use settings::Settings;
pub use stats::{StatsError, StatsRow};
pub use step::StepNumber;
