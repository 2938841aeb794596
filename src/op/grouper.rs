//! Groupers: make one row of all rows with equal keys.

use serde_json::Value;

use super::FieldKey;
use crate::sample::{RowError, Sample};

/// Puts rows into groups once all rows' keys are known. The groups stand in the order of their
/// first rows and have the identity of those; a group has a list of its rows' values in each field.
pub trait Grouper: Send + Sync {
    /// What the rows of one group share.
    ///
    /// # Errors
    /// Whatever makes the row impossible to read; it is quarantined.
    fn key(&self, sample: &Sample) -> Result<u128, RowError>;
}

/// A key that is the same for equal lists of values only (but for one chance in 2^128).
///
/// Whole numbers are equal however they are written (1 and 1.0), but not to booleans. A field that
/// an object lacks counts as null, and the order of its fields does not count.
#[must_use]
pub fn group_key(values: &[Value]) -> u128 {
    let mut bytes = Vec::new();
    for value in values {
        encode(value, &mut bytes);
    }
    xxhash_rust::xxh3::xxh3_128(&bytes)
}

/// Appends an encoding of `value` of which none is the start of another.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(b'0'),
        Value::Bool(flag) => out.push(if *flag { b't' } else { b'f' }),
        Value::String(text) => encode_text(text, out),
        Value::Number(number) => match FieldKey::from(value.clone()) {
            FieldKey::Integer(whole) => {
                out.push(b'i');
                out.extend_from_slice(&whole.to_le_bytes());
            }
            FieldKey::Number(float) => {
                out.push(b'd');
                out.extend_from_slice(&float.to_bits().to_le_bytes());
            }
            _ => encode_text(&number.to_string(), out),
        },
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                encode(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (name, value) in members {
                encode_text(name, out);
                encode(value, out);
            }
            out.push(b'}');
        }
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.push(b's');
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_equal_as_values_are() {
        for (a, b, same) in [
            (json!([1]), json!([1.0]), true),
            (json!([true]), json!([1]), false),
            (json!(["1"]), json!([1]), false),
            (json!([null]), json!([""]), false),
            (json!(["ab", "c"]), json!(["a", "bc"]), false),
            (json!([[["a"], "b"]]), json!([[["a", "b"]]]), false),
            (json!([{"a": 1, "b": null}]), json!([{"a": 1.0}]), true),
            (json!([{"a": 1, "b": 2}]), json!([{"b": 2, "a": 1}]), true),
            (json!([{"a": {"b": 1}}]), json!([{"a": "b", "x": 1}]), false),
            (json!([0.1]), json!([0.2]), false),
        ] {
            let key = |of: &Value| group_key(of.as_array().unwrap());
            assert_eq!(key(&a) == key(&b), same, "{a} {b}");
        }
    }
}
