//! `NaN`, `Infinity` and `-Infinity`, which Python writes and reads and JSON has no words for.
//!
//! The parser knows JSON only and is asked first. Where it fails and such words stand in the text,
//! the same text is read with others in their places. A [`Value`] cannot hold these floats, so it
//! has an object for them that no one writes; [`float_of`] tells what number it is.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Value, json};

use crate::text::NOT_FINITE;

/// The float that `value` is, finite or not; `None` if it is no number.
#[must_use]
pub fn float_of(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| match word_of(value)? {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => Some(f64::NAN),
    })
}

/// The word that Python writes for a float that is not finite, if `value` is one.
#[must_use]
pub fn word_of(value: &Value) -> Option<&str> {
    let Value::Object(map) = value else {
        return None;
    };
    if map.len() > 1 {
        return None;
    }
    map.get(NOT_FINITE)?
        .as_str()
        .filter(|word| WORDS.contains(word))
}

/// The value with such a float as the text that Python's `float` reads, for records that are JSON.
#[must_use]
pub fn as_text(value: Value) -> Value {
    match word_of(&value) {
        Some(word) => Value::from(word),
        None => value,
    }
}

/// The value of a JSON text, such words included.
///
/// # Errors
/// If it is no JSON otherwise.
pub fn read_json(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| value(text).ok_or(error))
}

const WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// The same text with a finite number of the same length in the place of each such word; `None` if
/// it has none.
#[must_use]
pub fn blanked(text: &str) -> Option<String> {
    let words = words(text, false);
    (!words.is_empty()).then(|| {
        replaced(text, &words, |word| {
            // `-0.000000` has the length of `-Infinity`.
            let start = if word.starts_with('-') { "-0." } else { "0." };
            Cow::Owned(format!("{start:0<width$}", width = word.len()))
        })
    })
}

/// The value of a text that has such words, or numbers beyond all doubles, which are infinite to
/// Python; `None` if it has none or is no JSON otherwise.
pub fn value(text: &str) -> Option<Value> {
    let words = words(text, true);
    if words.is_empty() {
        return None;
    }
    let json = replaced(text, &words, |word| {
        let word = match word {
            "NaN" | "Infinity" | "-Infinity" => word,
            negative if negative.starts_with('-') => "-Infinity",
            _ => "Infinity",
        };
        Cow::Owned(json!({ NOT_FINITE: word }).to_string())
    });
    serde_json::from_str(&json).ok()
}

fn replaced<'a>(
    text: &'a str,
    words: &[Range<usize>],
    new: impl Fn(&'a str) -> Cow<'a, str>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for word in words {
        out.push_str(text.get(from..word.start).unwrap_or_default());
        out.push_str(&new(text.get(word.clone()).unwrap_or_default()));
        from = word.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// Where such words stand outside of strings, each a whole value; with `huge`, floats beyond all
/// doubles, too.
fn words(text: &str, huge: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            at += 1;
            continue;
        }
        in_string = byte == b'"';
        // A value stands alone: whatever is around it is no part of it.
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",:[]{}\"".contains(byte);
        let rest = bytes.get(at..).unwrap_or_default();
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let value = text.get(at..at + length).unwrap_or_default();
        let float = value.contains(['.', 'e', 'E']);
        if WORDS.contains(&value)
            || huge && float && value.parse::<f64>().is_ok_and(f64::is_infinite)
        {
            found.push(at..at + length);
        }
        at += length.max(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_outside_of_strings_are_found() {
        let text = r#"{"NaN": NaN, "b": [-Infinity,Infinity , "NaN \" NaN"], "c": {"d":NaN}}"#;
        let blank = blanked(text).unwrap();
        assert_eq!(blank.len(), text.len());
        assert_eq!(
            blank,
            r#"{"NaN": 0.0, "b": [-0.000000,0.000000 , "NaN \" NaN"], "c": {"d":0.0}}"#
        );
        for none in [
            r#"{"a": "NaN"}"#,
            r#"{"a": 1.5}"#,
            "1NaN",
            "NaNs",
            "-NaN",
            "nan",
            "+Infinity",
        ] {
            assert_eq!(blanked(none), None, "{none}");
        }
    }

    #[test]
    fn values_hold_the_floats() {
        let found = value(r#"[NaN, {"x": -Infinity}, 1.5, 1e999, -1e999, "NaN"]"#).unwrap();
        let words = [&found[0], &found[1]["x"], &found[2], &found[3], &found[4]];
        let floats = words.map(|value| format!("{:?}", float_of(value).unwrap()));
        assert_eq!(floats, ["NaN", "-inf", "1.5", "inf", "-inf"]);
        assert_eq!(float_of(&found[5]), None);
        assert_eq!(word_of(&found[0]), Some("NaN"));
        assert_eq!(value("{\"a\": NaN"), None);
        assert_eq!(value("[1]"), None);
    }
}
