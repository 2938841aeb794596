//! The fields in which Data-Juicer keeps what operators find.

use serde_json::{Map, Value};

use crate::sample::{FieldPath, RowError, Sample};

/// The field of what filters measured.
pub const STATS: &str = "__dj__stats__";

/// The field of the suffix of a row's input, which Data-Juicer adds while it reads files.
pub const SUFFIX: &str = "__dj__suffix__";

/// The field of what tagging operators found.
pub const META: &str = "__dj__meta__";

/// What operators found of the row so far; nothing if the field is missing or null.
///
/// # Errors
/// `wrong_type` if it is no object, and those of [`Sample::value`].
pub fn meta_of(sample: &Sample) -> Result<Map<String, Value>, RowError> {
    match sample.value(&FieldPath::new(META))? {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(meta)) => Ok(meta),
        Some(_) => Err(RowError::new(
            "wrong_type",
            format!("field '{META}' is not an object"),
        )),
    }
}

/// The top-level field of this very name; null if it is missing.
///
/// # Errors
/// Those of [`Sample::value`].
pub fn top_value(sample: &Sample, name: &str) -> Result<Value, RowError> {
    if sample.has(name) {
        Ok(sample.value(&FieldPath::new(name))?.unwrap_or_default())
    } else {
        Ok(Value::Null)
    }
}

/// A row that an operator cannot make sense of, as Python's `TypeError` and the like.
pub fn wrong_type(why: impl std::fmt::Display) -> RowError {
    RowError::new("wrong_type", why.to_string())
}
