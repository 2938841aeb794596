//! Selectors: pick rows out of all rows, by a field or at random.

use std::cmp::Ordering;

use serde_json::Value;

use crate::sample::{RowError, Sample};

/// The value a selector ranks or groups a row by.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldKey {
    /// Missing or null.
    Null,
    /// A number; integers beyond 2^53 lose precision.
    Number(f64),
    /// A string.
    Text(String),
    /// A list, an object or a boolean, as decoded.
    Other(Value),
}

impl FieldKey {
    /// Orders two numbers or two texts; `None` where Python would raise a `TypeError`.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// The rows a selector picked, as indices into the rows it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picked {
    /// All rows stay, in input order.
    All,
    /// These rows, in this order.
    Rows(Vec<u32>),
}

/// Picks rows once all rows' keys are known.
pub trait Selector: Send + Sync {
    /// The value the row is picked by.
    ///
    /// # Errors
    /// Whatever makes the value impossible to read; the row is quarantined.
    fn key(&self, sample: &Sample) -> Result<FieldKey, RowError>;

    /// Picks among `keys.len()` rows, given in input order.
    ///
    /// # Errors
    /// If the keys cannot be compared (numbers and texts mixed, say): the run fails with this.
    fn pick(&self, keys: &[FieldKey]) -> Result<Picked, String>;
}
