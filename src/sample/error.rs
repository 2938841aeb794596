//! Why one row could not be processed.

use std::borrow::Cow;
use std::fmt;

/// The reason a single row is quarantined. It never stops a run by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// A short stable word for counting and searching, e.g. `image_truncated`.
    pub code: &'static str,
    /// What is wrong, for a person: names the field or file and what was found.
    pub message: Cow<'static, str>,
}

impl RowError {
    /// A reason with a stable `code` and a `message` for people.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for RowError {}
