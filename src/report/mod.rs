//! What a run says on standard error: progress, the closing table, notes.

pub mod progress;
pub mod table;

use std::io::Write as _;

/// Prints one line for the user on standard error. A closed standard error is no reason to stop.
pub fn note(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
}
