//! JSON as Python's `json.dumps(ensure_ascii=False)` spaces it: `", "` and `": "`.

use std::borrow::Cow;

use serde_json::Value;

use super::not_finite::word_of;
use super::scan::plain;
use crate::text::write_python_float;

/// What can be appended to a row as JSON.
pub trait JsonText {
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
}

/// The value as text.
#[must_use]
pub fn python_json(value: &Value) -> String {
    let mut out = Vec::new();
    value.write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The value as Python's `json.dumps(ensure_ascii=False, separators=(",", ":"))` writes it.
#[must_use]
pub fn compact_json(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    push_compact(value, &mut out);
    out
}

fn push_compact(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_compact(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            for (index, (name, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_string(name, out);
                out.push(b':');
                push_compact(item, out);
            }
            out.push(b'}');
        }
        other => other.write(out),
    }
}

/// Appends a string in quotes.
pub fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    push_escaped(text, out);
    out.push(b'"');
}

/// Appends what stands between the quotes of a string.
pub fn push_escaped(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let (before, after) = rest.split_at(plain(rest));
        out.extend_from_slice(before);
        let Some((&byte, behind)) = after.split_first() else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let digit = |half: u8| b"0123456789abcdef".get(half as usize).copied();
                out.extend_from_slice(b"\\u00");
                out.extend(digit(control >> 4));
                out.extend(digit(control & 15));
            }
        }
        rest = behind;
    }
}

impl JsonText for Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(items) => items.as_slice().write(out),
            Self::Object(map) => {
                if let Some(word) = word_of(self) {
                    return out.extend_from_slice(word.as_bytes());
                }
                out.push(b'{');
                for (index, (name, value)) in map.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    push_string(name, out);
                    out.extend_from_slice(b": ");
                    value.write(out);
                }
                out.push(b'}');
            }
            Self::Number(number) if number.is_f64() => {
                // Writing to a Vec cannot fail.
                let _ = write_python_float(number.as_f64().unwrap_or_default(), out);
            }
            Self::String(text) => push_string(text, out),
            Self::Null | Self::Bool(_) | Self::Number(_) => {
                let _ = serde_json::to_writer(out, self);
            }
        }
    }
}

/// Text that is JSON already.
#[derive(Debug, Clone)]
pub struct RawJson(pub String);

impl JsonText for RawJson {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl JsonText for Cow<'_, str> {
    fn write(&self, out: &mut Vec<u8>) {
        push_string(self, out);
    }
}

impl JsonText for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        let _ = serde_json::to_writer(out, self);
    }
}

/// A float that is not finite becomes null.
impl JsonText for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        if self.is_finite() {
            // Writing to a Vec cannot fail.
            let _ = write_python_float(*self, out);
        } else {
            out.extend_from_slice(b"null");
        }
    }
}

impl<T: JsonText> JsonText for [T] {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, item) in self.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            item.write(out);
        }
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in "([a-z\\x00-\\x1f\"\\\\/\u{7f}é€😀]){0,24}") {
            let mut out = Vec::new();
            push_string(&text, &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
        }
    }
}
