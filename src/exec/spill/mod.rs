//! What a run keeps on disk while it runs: rows between phases, and keys beyond its memory.

pub mod exact_keys;
pub mod store;

pub use exact_keys::{ExactKeys, KeyedRows};
pub use store::{Picks, Store, StoreWriter, stats_from_json};
