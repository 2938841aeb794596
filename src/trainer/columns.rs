//! The types of a file's columns as Hugging Face's `datasets` infers them: of JSON lines from the
//! first ten mebibytes, of a JSON array from all of it.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use serde_json::Value;

/// What is read before types are fixed.
const FIRST: u64 = 10 << 20;

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Type {
    Null,
    Bool,
    Number,
    Text,
    List(Box<Type>),
    Struct(BTreeMap<String, Type>),
    /// Several that do not go together.
    Mixed,
}

impl Type {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                let all = items.iter().map(Self::of);
                Self::List(Box::new(all.fold(Self::Null, Self::with)))
            }
            Value::Object(fields) => Self::Struct(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::of(value)))
                    .collect(),
            ),
        }
    }

    /// The type of a column that has values of both.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, other) | (other, Self::Null) => other,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.with(*b))),
            (Self::Struct(mut a), Self::Struct(b)) => {
                for (name, kind) in b {
                    let before = a.remove(&name).unwrap_or(Self::Null);
                    a.insert(name, before.with(kind));
                }
                Self::Struct(a)
            }
            (a, b) if a == b => a,
            _ => Self::Mixed,
        }
    }

    /// Where in a value types do not go together.
    fn mixed(&self, at: &str) -> Option<String> {
        match self {
            Self::Mixed => Some(at.to_owned()),
            Self::List(item) => item.mixed(&format!("{at}[]")),
            Self::Struct(fields) => fields
                .iter()
                .find_map(|(name, kind)| kind.mixed(&join(at, name))),
            _ => None,
        }
    }

    /// Where a later value does not fit a column that is fixed.
    fn misfit(&self, later: &Self, at: &str) -> Option<String> {
        match (self, later) {
            (_, Self::Null) => None,
            (Self::Null, _) => Some(format!("{at} is empty or null until then")),
            (Self::List(a), Self::List(b)) => a.misfit(b, &format!("{at}[]")),
            (Self::Struct(a), Self::Struct(b)) => b.iter().find_map(|(name, kind)| {
                let at = join(at, name);
                match a.get(name) {
                    Some(before) => before.misfit(kind, &at),
                    None => Some(format!("{at} is new there")),
                }
            }),
            (a, b) if a == b => None,
            _ => Some(format!("{at} is of another type before")),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool => "b".into(),
            Self::Number => "n".into(),
            Self::Text => "t".into(),
            Self::Mixed => "x".into(),
            Self::List(item) => Value::Array(vec![item.to_json()]),
            Self::Struct(fields) => fields
                .iter()
                .map(|(name, kind)| (name.clone(), kind.to_json()))
                .collect(),
        }
    }

    fn from_json(json: &Value) -> Self {
        match json {
            Value::String(word) => match word.as_str() {
                "b" => Self::Bool,
                "n" => Self::Number,
                "t" => Self::Text,
                _ => Self::Mixed,
            },
            Value::Array(items) => {
                Self::List(Box::new(items.first().map_or(Self::Null, Self::from_json)))
            }
            Value::Object(fields) => Self::Struct(
                fields
                    .iter()
                    .map(|(name, kind)| (name.clone(), Self::from_json(kind)))
                    .collect(),
            ),
            _ => Self::Null,
        }
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

/// The types of a row, as text.
#[must_use]
pub fn signature(row: &Value) -> String {
    Type::of(row).to_json().to_string()
}

/// The types of a file's columns, row by row.
#[derive(Debug, Default)]
pub struct Columns {
    /// The whole file is read before types are fixed.
    whole: bool,
    fixed: Option<Type>,
    /// Rows that were seen already, among the first ones and behind them.
    seen: [HashSet<String>; 2],
    /// The first row at which types of one column do not go together, and where.
    pub mixed: Option<(u64, String)>,
    /// The first row behind the first ones that does not fit what they fixed.
    pub late: Option<(u64, String)>,
}

impl Columns {
    /// Of a file that is read as a `whole` before types are fixed, or of one in lines.
    #[must_use]
    pub fn new(whole: bool) -> Self {
        Self {
            whole,
            ..Self::default()
        }
    }

    /// Whether there is a column of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        matches!(&self.fixed, Some(Type::Struct(fields)) if fields.contains_key(name))
    }

    /// Adds the row in `line` that begins `offset` bytes into its file.
    pub fn add(&mut self, line: u64, offset: u64, signature: &str) {
        let behind = !self.whole && offset >= FIRST;
        let Some(seen) = self.seen.get_mut(usize::from(behind)) else {
            return;
        };
        if seen.contains(signature) {
            return;
        }
        // Rows that all differ are not worth remembering.
        if seen.len() < 10_000 {
            seen.insert(signature.to_owned());
        }
        let Ok(json) = serde_json::from_str(signature) else {
            return;
        };
        let kind = Type::from_json(&json);
        if !behind {
            let all = match self.fixed.take() {
                Some(before) => before.with(kind),
                None => kind,
            };
            if self.mixed.is_none() {
                self.mixed = all.mixed("").map(|at| (line, at));
            }
            self.fixed = Some(all);
        } else if let Some(fixed) = &self.fixed
            && self.late.is_none()
        {
            self.late = fixed.misfit(&kind, "").map(|what| (line, what));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(whole: bool, rows: &[(u64, Value)]) -> Columns {
        let mut columns = Columns::new(whole);
        for ((offset, row), line) in rows.iter().zip(1..) {
            columns.add(line, *offset, &signature(row));
        }
        columns
    }

    #[test]
    fn types_are_those_of_the_first_rows() {
        let late = 11 << 20;
        let empty = json!({"id": "1", "images": []});
        let full = json!({"id": "2", "images": ["a"]});
        assert!(
            columns(false, &[(0, empty.clone()), (90, full.clone())])
                .late
                .is_none()
        );
        let found = columns(false, &[(0, empty.clone()), (late, full.clone())]);
        assert_eq!(
            found.late,
            Some((2, "images[] is empty or null until then".to_owned()))
        );
        assert!(
            columns(true, &[(0, empty), (late, full.clone())])
                .late
                .is_none()
        );
        let new = columns(false, &[(0, json!({"id": "1"})), (late, full)]);
        assert_eq!(new.late, Some((2, "images is new there".to_owned())));
        let mixed = columns(false, &[(0, json!({"id": "1"})), (9, json!({"id": 1}))]);
        assert_eq!(mixed.mixed, Some((2, "id".to_owned())));
        let inner = json!({"m": [{"c": "a"}, {"c": ["b"]}]});
        assert_eq!(
            columns(false, &[(0, inner)]).mixed,
            Some((1, "m[].c".to_owned()))
        );
    }
}
