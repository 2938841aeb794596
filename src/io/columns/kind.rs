//! The types of columns that are made of JSON values: each value widens the type of its column as
//! little as it takes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sample::{read_json, word_of};

/// An object of more names than this is no struct but a map, and is kept as JSON text.
const MAX_NAMES: usize = 256;

/// The type of some JSON values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// None but null.
    #[default]
    Null,
    /// `true` and `false`.
    Bool,
    /// Whole numbers.
    Int {
        /// Some are below 0.
        negative: bool,
        /// Some are beyond the largest signed number of 64 bits.
        large: bool,
        /// Some have no place in 64 bits at all.
        huge: bool,
    },
    /// Numbers.
    Float,
    /// Texts.
    Text,
    /// Lists of such items.
    List(Box<Kind>),
    /// Objects of such members; the names in the order in which they first came up.
    Struct(Vec<(String, Kind)>),
    /// Values that have no type in common: their JSON text.
    Json,
    /// Images in Hugging Face's way, a list of bytes and paths.
    Images,
}

impl Kind {
    /// That of a value as JSON text; `None` if it is none.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        match text.as_bytes().first()? {
            b'"' => Some(Self::Text),
            b'n' => Some(Self::Null),
            b'-' | b'0'..=b'9' if is_whole(text) => Some(Self::of_digits(text)),
            _ => Some(Self::of(&read_json(text).ok()?)),
        }
    }

    /// That of a whole number, whose digits may be too many for any value of JSON here.
    fn of_digits(text: &str) -> Self {
        let fits = text.parse::<i64>().is_ok();
        let large = !fits && text.parse::<u64>().is_ok();
        Self::Int {
            negative: text.starts_with('-'),
            large,
            huge: !fits && !large,
        }
    }

    /// That of a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) => {
                if number.is_f64() {
                    Self::Float
                } else {
                    Self::Int {
                        negative: number.as_i64().is_some_and(|number| number < 0),
                        large: !number.is_i64(),
                        huge: false,
                    }
                }
            }
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                let mut all = Self::Null;
                for item in items {
                    all = all.and(Self::of(item));
                }
                match all {
                    Self::Json => Self::Json,
                    all => Self::List(Box::new(all)),
                }
            }
            Value::Object(members) => {
                if word_of(value).is_some() {
                    return Self::Float;
                }
                let kinds: Vec<(String, Self)> = members
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::of(value)))
                    .collect();
                if kinds.len() > MAX_NAMES || kinds.iter().any(|(_, kind)| *kind == Self::Json) {
                    Self::Json
                } else {
                    Self::Struct(kinds)
                }
            }
        }
    }

    /// The narrowest type for values of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (
                Self::Int {
                    negative,
                    large,
                    huge,
                },
                Self::Int {
                    negative: or_negative,
                    large: or_large,
                    huge: or_huge,
                },
            ) => Self::Int {
                negative: negative || or_negative,
                large: large || or_large,
                huge: huge || or_huge,
            },
            (Self::Int { .. }, Self::Float) | (Self::Float, Self::Int { .. }) => Self::Float,
            (Self::List(a), Self::List(b)) => match a.and(*b) {
                Self::Json => Self::Json,
                item => Self::List(Box::new(item)),
            },
            (Self::Struct(a), Self::Struct(b)) => Self::of_both(a, b),
            (a, b) if a == b => a,
            _ => Self::Json,
        }
    }

    fn of_both(mut names: Vec<(String, Self)>, others: Vec<(String, Self)>) -> Self {
        let same =
            names.len() == others.len() && names.iter().zip(&others).all(|((a, _), (b, _))| a == b);
        if same {
            for ((_, kind), (_, other)) in names.iter_mut().zip(others) {
                *kind = std::mem::take(kind).and(other);
            }
        } else {
            let places: BTreeMap<String, usize> = names
                .iter()
                .enumerate()
                .map(|(at, (name, _))| (name.clone(), at))
                .collect();
            for (name, other) in others {
                match places.get(&name).and_then(|at| names.get_mut(*at)) {
                    Some((_, kind)) => *kind = std::mem::take(kind).and(other),
                    None => names.push((name, other)),
                }
            }
        }
        if names.len() > MAX_NAMES || names.iter().any(|(_, kind)| *kind == Self::Json) {
            Self::Json
        } else {
            Self::Struct(names)
        }
    }

    /// Whether its values are written as JSON text. No file has a place for an object that never
    /// has a member.
    #[must_use]
    pub fn is_json(&self) -> bool {
        match self {
            Self::Json => true,
            // No type of 64 bits has both.
            Self::Int {
                negative,
                large,
                huge,
            } => *huge || *negative && *large,
            Self::List(item) => item.is_json(),
            Self::Struct(names) => names.is_empty() || names.iter().any(|(_, kind)| kind.is_json()),
            _ => false,
        }
    }

    /// The type of a column.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        if self.is_json() {
            return DataType::Utf8;
        }
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int { large: true, .. } => DataType::UInt64,
            Self::Int { .. } => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text | Self::Json => DataType::Utf8,
            Self::List(item) => {
                DataType::List(Arc::new(Field::new("element", item.data_type(), true)))
            }
            Self::Struct(names) => {
                let field =
                    |(name, kind): &(String, Self)| Field::new(name, kind.data_type(), true);
                DataType::Struct(names.iter().map(field).collect())
            }
            Self::Images => DataType::List(Arc::new(Field::new("element", image_type(), true))),
        }
    }

    /// The field of a column.
    #[must_use]
    pub fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        if self.is_json() {
            let mark = ("ARROW:extension:name".to_owned(), "arrow.json".to_owned());
            field.with_metadata(HashMap::from([mark]))
        } else {
            field
        }
    }
}

/// Whether a number is written as digits only.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// One image in Hugging Face's way.
#[must_use]
pub fn image_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all(values: &[&str]) -> DataType {
        let kinds = values.iter().map(|text| Kind::of_text(text).unwrap());
        kinds.fold(Kind::Null, Kind::and).data_type()
    }

    #[test]
    fn values_widen_the_type_as_little_as_it_takes() {
        assert_eq!(of_all(&[]), DataType::Null);
        assert_eq!(of_all(&["null", "true"]), DataType::Boolean);
        assert_eq!(of_all(&["1", "-2"]), DataType::Int64);
        assert_eq!(of_all(&["1", "18446744073709551615"]), DataType::UInt64);
        assert_eq!(of_all(&["1", "0.5", "null"]), DataType::Float64);
        assert_eq!(of_all(&["NaN", "1"]), DataType::Float64);
        assert_eq!(of_all(&["0.5", "-9223372036854775809"]), DataType::Float64);
        assert_eq!(of_all(&["\"1\"", "null"]), DataType::Utf8);
        let list = |item| DataType::List(Arc::new(Field::new("element", item, true)));
        assert_eq!(of_all(&["[]", "[1]", "[2.5]"]), list(DataType::Float64));
        let DataType::Struct(fields) = of_all(&[r#"{"a": 1}"#, r#"{"b": "x", "a": null}"#]) else {
            panic!("no struct");
        };
        let names: Vec<&String> = fields.iter().map(|field| field.name()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_has_no_type_in_common_is_text() {
        for values in [
            &["1", "\"a\""][..],
            &["true", "1"],
            &["-1", "18446744073709551615"],
            // Digits that no number of 64 bits has, among whole numbers.
            &["1", "18446744073709551616"],
            &["[1]", "{}"],
            &["[1, \"a\"]"],
            &[r#"{"a": 1}"#, r#"{"a": "x"}"#],
            &["{}", "null"],
            &["[{}]"],
        ] {
            assert_eq!(of_all(values), DataType::Utf8, "{values:?}");
        }
        // One that gets a member later is a struct after all.
        assert!(matches!(
            of_all(&["{}", r#"{"a": 1}"#]),
            DataType::Struct(_)
        ));
        let many: Vec<String> = (0..300).map(|n| format!("\"k{n}\": 1")).collect();
        assert_eq!(
            of_all(&[&format!("{{{}}}", many.join(","))]),
            DataType::Utf8
        );
    }
}
