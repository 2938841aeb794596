//! Reads the small YAML blocks of operator pages. The recipe reader is not used, so that a page
//! is checked by something that knows nothing of recipes.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The block as a JSON value.
pub fn read(text: &str) -> Result<Value, String> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| e.to_string())?;
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Nothing => {}
            Event::Alias(_) => return Err(format!("line {}: an alias", span.start.line())),
            other => events.push(other),
        }
    }
    let mut events = events.into_iter();
    let first = events.next().ok_or("the block is empty")?;
    value(first, &mut events)
}

fn value<'a>(
    first: Event<'a>,
    rest: &mut impl Iterator<Item = Event<'a>>,
) -> Result<Value, String> {
    match first {
        Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(plain(&text)),
        Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match rest.next().ok_or("the block ends within a list")? {
                    Event::SequenceEnd => return Ok(Value::Array(items)),
                    item => items.push(value(item, rest)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                match rest.next().ok_or("the block ends within a mapping")? {
                    Event::MappingEnd => return Ok(Value::Object(map)),
                    Event::Scalar(key, ..) => {
                        let item = rest.next().ok_or("a key has no value")?;
                        map.insert(key.into_owned(), value(item, rest)?);
                    }
                    other => return Err(format!("a key is not a scalar: {other:?}")),
                }
            }
        }
        other => Err(format!("unexpected {other:?}")),
    }
}

/// A plain scalar by the core schema: null, a boolean, a number, else a text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => text
            .parse::<i64>()
            .map(Value::from)
            .ok()
            .or_else(|| number(text))
            .unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let alphabet = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if !digits || !alphabet {
        return None;
    }
    text.parse::<f64>().ok().map(Value::from)
}
