//! What a run keeps on disk while it runs: rows between phases, and keys beyond its memory.

pub mod exact_keys;
mod piles;
pub mod sorter;
pub mod store;

pub use exact_keys::{ExactKeys, KeyedRows};
pub use piles::Piles;
pub use sorter::Sorter;
pub use store::{Picks, Store, StoreWriter, stats_from_json};
