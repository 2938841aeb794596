//! What a run says on standard error: progress, the closing table, notes.

pub mod log;
pub mod progress;
pub mod table;
pub mod tokens;

pub use crate::text::printable;
