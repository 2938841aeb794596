//! The fields that the `specified_*` filters read, part by part.

use std::borrow::Cow;

use serde_json::Value;

use crate::sample::{FieldPath, RowError, Sample};

/// The value that Data-Juicer copies into the stats for `path`: every part of a dotted name must be
/// there. A top-level field that a row lacks counts as null, as it does in a table of columns.
///
/// # Errors
/// `missing_field` if a part below the top level is not there, and those of [`Sample::value`].
pub fn specified_value(sample: &Sample, path: &FieldPath) -> Result<Value, RowError> {
    if let Some(value) = sample.value(path)? {
        return Ok(value);
    }
    let Some((head, _)) = path.as_str().split_once('.') else {
        return Ok(Value::Null);
    };
    let message: Cow<'static, str> = if sample.has(head) {
        format!("field '{path}' is missing: '{head}' has no such part").into()
    } else {
        format!("field '{path}' is missing: there is no '{head}'").into()
    };
    Err(RowError::new("missing_field", message))
}
