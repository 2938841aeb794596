//! JSON as Python's `json.dumps(ensure_ascii=False)` spaces it: `", "` and `": "`.

use std::borrow::Cow;

use serde_json::Value;

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

/// Appends a string in quotes.
pub fn push_string(text: &str, out: &mut Vec<u8>) {
    // Writing a str to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

impl JsonText for Value {
    fn write(&self, out: &mut Vec<u8>) {
        let mut serializer = serde_json::Serializer::with_formatter(out, PythonFormatter);
        let _ = serde::Serialize::serialize(self, &mut serializer);
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

struct PythonFormatter;

impl serde_json::ser::Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        w.write_all(b": ")
    }

    fn write_f64<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        value: f64,
    ) -> std::io::Result<()> {
        write_python_float(value, w)
    }
}
