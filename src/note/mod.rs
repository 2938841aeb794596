//! Notes: what a recipe or a run does that its author may not expect, though nothing is wrong.
//!
//! A note has a stable code ([`Code`]), so that programs can tell notes apart and a page can explain
//! them (`docs/NOTES.md`). Whoever finds one makes it; only the command line prints it. This module
//! knows neither recipes nor rows.

mod code;

use std::fmt;
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use code::{Code, Codes, Counts};

/// One thing that should be known of a recipe or a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// What kind of note it is.
    pub code: Code,
    /// The step it is about, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<NonZeroUsize>,
    /// How many rows it is about, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// What it says, in one sentence.
    pub message: String,
}

impl Note {
    /// A note on no step, with no count.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            step: None,
            rows: None,
            message: message.into(),
        }
    }

    /// The same on the step at this index of `process`.
    #[must_use]
    pub fn at(self, index: usize) -> Self {
        Self {
            step: Some(NonZeroUsize::MIN.saturating_add(index)),
            ..self
        }
    }

    /// The same on so many rows.
    #[must_use]
    pub fn of_rows(self, rows: u64) -> Self {
        Self {
            rows: Some(rows),
            ..self
        }
    }

    /// Adds it to `notes` unless it is there.
    pub fn add_to(self, notes: &mut Vec<Self>) {
        if !notes.contains(&self) {
            notes.push(self);
        }
    }
}

/// `1 row`, `12,345 rows`.
#[must_use]
pub fn rows(number: u64) -> String {
    match number {
        1 => "1 row".to_owned(),
        number => format!("{} rows", thousands(number)),
    }
}

/// `12,345`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// As people see it: what it says, and the code that `docs/NOTES.md` explains.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code.word())
    }
}
