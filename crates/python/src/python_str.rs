//! `str`, `repr`, `int`, `float` and `bool` of Python for values of JSON.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::tables;
use super::{parse_python_float, python_float};

/// The name of the only member of an object that stands for a float which JSON has no words for:
/// `{NOT_FINITE: "NaN"}`, and so `"Infinity"` and `"-Infinity"`.
pub const NOT_FINITE: &str = "\0float";

/// The float that such an object stands for.
fn not_finite(map: &Map<String, Value>) -> Option<f64> {
    let word = map.get(NOT_FINITE).filter(|_| map.len() == 1)?;
    match word.as_str()? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// `str(value)`: a text as it is, anything else as [`python_repr`].
#[must_use]
pub fn python_str(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(python_repr(other)),
    }
}

/// `repr(value)`.
#[must_use]
pub fn python_repr(value: &Value) -> String {
    let mut out = String::new();
    push_repr(value, &mut out);
    out
}

/// `bool(value)`.
#[must_use]
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// `int(value)`: a float is cut off, a text read (but for digits outside of ASCII); `None` where
/// Python raises an error, and for what 64 bits do not hold.
#[must_use]
pub fn python_int(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Number(number) => number.as_i64().or_else(|| cut_off(number)),
        Value::String(text) => {
            let text = super::strip(text);
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let grouped = digits.split('_');
            let sound = grouped
                .clone()
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
            sound.then(|| text.replace('_', "").parse().ok())?
        }
        _ => None,
    }
}

fn cut_off(number: &Number) -> Option<i64> {
    let float = number.as_f64().filter(|float| float.abs() < 9.2e18)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "in range, and cut off as `int` does"
    )]
    Some(float as i64)
}

/// `float(value)`; `None` where Python raises an error.
#[must_use]
pub fn python_number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => parse_python_float(text),
        Value::Object(map) => not_finite(map),
        Value::Null | Value::Array(_) => None,
    }
}

fn push_repr(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(flag) => out.push_str(if *flag { "True" } else { "False" }),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => out.push_str(&python_float(float)),
            // Writing to a String cannot fail.
            None => _ = write!(out, "{number}"),
        },
        Value::String(text) => push_quoted(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push_repr(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            if let Some(float) = not_finite(map) {
                // Not as Python's `json` has them, which is what `python_float` writes.
                out.push_str(match float {
                    f64::INFINITY => "inf",
                    f64::NEG_INFINITY => "-inf",
                    _ => "nan",
                });
                return;
            }
            out.push('{');
            for (index, (name, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push_quoted(name, out);
                out.push_str(": ");
                push_repr(item, out);
            }
            out.push('}');
        }
    }
}

/// A text in single quotes, in double ones if it holds single ones only.
fn push_quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        let code = u32::from(c);
        // Writing to a String cannot fail.
        _ = match c {
            '\\' => out.write_str(r"\\"),
            '\n' => out.write_str(r"\n"),
            '\r' => out.write_str(r"\r"),
            '\t' => out.write_str(r"\t"),
            _ if c == quote => write!(out, "\\{c}"),
            _ if is_printable(c) => out.write_char(c),
            _ if code < 0x100 => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out.push(quote);
}

/// `str.isprintable` of one character.
fn is_printable(c: char) -> bool {
    let code = u32::from(c);
    let after = tables::PRINTABLE.partition_point(|&(first, _)| first <= code);
    after
        .checked_sub(1)
        .and_then(|at| tables::PRINTABLE.get(at))
        .is_some_and(|&(_, last)| code <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_python_writes_them() {
        for (value, repr) in [
            (json!(null), "None"),
            (json!([true, 1, 1.0, 1e-7]), "[True, 1, 1.0, 1e-07]"),
            (json!({"a": "b", "c'": {}}), r#"{'a': 'b', "c'": {}}"#),
            (json!("日本 é"), "'日本 é'"),
            (json!("a'b\"c\\"), r#"'a\'b"c\\'"#),
            (json!("\u{0}\n\u{7f}\u{a0}\u{ad}"), r"'\x00\n\x7f\xa0\xad'"),
            (json!("\u{200d}\u{3000}👧"), r"'\u200d\u3000👧'"),
            (json!("\u{e0001}"), r"'\U000e0001'"),
            (json!(u64::MAX), "18446744073709551615"),
            (
                json!([{ NOT_FINITE: "NaN" }, { NOT_FINITE: "-Infinity" }]),
                "[nan, -inf]",
            ),
            (json!({ "a": { NOT_FINITE: "Infinity" } }), "{'a': inf}"),
        ] {
            assert_eq!(python_repr(&value), repr);
        }
        assert_eq!(python_str(&json!("it's")), "it's");
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (value, whole, float) in [
            (json!(-1.9), Some(-1), Some(-1.9)),
            (json!(true), Some(1), Some(1.0)),
            (json!(" +1_0 "), Some(10), Some(10.0)),
            (json!("1__0"), None, None),
            (json!("1.5"), None, Some(1.5)),
            (json!("-"), None, None),
            (json!(1e300), None, Some(1e300)),
            (json!(null), None, None),
            (json!([1]), None, None),
            (
                json!({ NOT_FINITE: "-Infinity" }),
                None,
                Some(f64::NEG_INFINITY),
            ),
            (json!({ NOT_FINITE: "1" }), None, None),
        ] {
            assert_eq!(python_int(&value), whole, "{value}");
            assert_eq!(python_number(&value), float, "{value}");
        }
        for (value, truth) in [
            (json!(0.0), false),
            (json!("0"), true),
            (json!({}), false),
            (json!([null]), true),
        ] {
            assert_eq!(is_true(&value), truth);
        }
    }
}
