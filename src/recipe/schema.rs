//! Just enough JSON Schema to say in words what a parameter may be, and to read it leniently.

use serde_json::{Map, Value as Json};

use super::yaml::{Node, Value};
use crate::op::OpDef;

/// The schema of an operator's own parameters.
pub struct ParamSchema {
    root: Json,
}

impl ParamSchema {
    /// The schema of `def`.
    #[must_use]
    pub fn of(def: &OpDef) -> Self {
        Self {
            root: (def.schema)().to_value(),
        }
    }

    /// The parameters, in the order of the operator's file.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.root
            .get("properties")
            .and_then(Json::as_object)
            .into_iter()
            .flat_map(Map::iter)
            .map(|(name, schema)| (name.as_str(), schema))
    }

    /// The schema of one parameter.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Json> {
        self.root.get("properties")?.get(name)
    }

    /// What `schema` accepts, in words: `a whole number`.
    #[must_use]
    pub fn words(&self, schema: &Json, with_null: bool) -> String {
        let mut kinds = Vec::new();
        let mut words = Vec::new();
        self.collect(schema, &mut kinds, &mut words, 0);
        let null = kinds.iter().any(|k| k == "null");
        kinds.retain(|k| k != "null");
        if !words.is_empty() {
            kinds.insert(0, format!("one of {}", words.join(", ")));
        }
        if null && with_null {
            kinds.push("null".into());
        }
        if kinds.is_empty() {
            return "a value".into();
        }
        kinds.join(" or ")
    }

    fn collect(&self, schema: &Json, kinds: &mut Vec<String>, words: &mut Vec<String>, depth: u8) {
        if depth > 8 {
            return;
        }
        let schema = self.deref(schema);
        let mut add = |kind: String| {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        };
        let choices = schema
            .get("enum")
            .and_then(Json::as_array)
            .map(Vec::as_slice)
            .or_else(|| schema.get("const").map(std::slice::from_ref));
        if let Some(choices) = choices {
            for choice in choices {
                match choice {
                    Json::Null => add("null".into()),
                    Json::String(word) => words.push(format!("'{word}'")),
                    other => words.push(other.to_string()),
                }
            }
            return;
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(key).and_then(Json::as_array) {
                for option in options {
                    self.collect(option, kinds, words, depth + 1);
                }
                return;
            }
        }
        for kind in types(schema) {
            let minimum = schema.get("minimum").and_then(Json::as_f64);
            let at_least = match minimum {
                Some(least) => format!(" of at least {least}"),
                None => String::new(),
            };
            add(match kind {
                "integer" => format!("a whole number{at_least}"),
                "number" => format!("a number{at_least}"),
                "boolean" => "true or false".into(),
                "string" => "a string".into(),
                "null" => "null".into(),
                "object" => "a mapping".into(),
                "array" => match schema.get("items") {
                    Some(items) => {
                        format!("a list of {}", plural(&self.words(items, true)))
                    }
                    None => "a list".into(),
                },
                other => other.to_owned(),
            });
        }
    }

    fn deref<'s>(&'s self, schema: &'s Json) -> &'s Json {
        let mut at = schema;
        for _ in 0..8 {
            let Some(pointer) = at
                .get("$ref")
                .and_then(Json::as_str)
                .and_then(|r| r.strip_prefix('#'))
            else {
                break;
            };
            match self.root.pointer(pointer) {
                Some(target) => at = target,
                None => break,
            }
        }
        at
    }

    /// Whether `value` has a type that `schema` accepts.
    #[must_use]
    pub fn accepts(&self, schema: &Json, value: &Json) -> bool {
        self.accepts_within(schema, value, 0)
    }

    fn accepts_within(&self, schema: &Json, value: &Json, depth: u8) -> bool {
        if depth > 16 {
            return true;
        }
        let schema = self.deref(schema);
        if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
            return choices.contains(value);
        }
        if let Some(only) = schema.get("const") {
            return only == value;
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(key).and_then(Json::as_array) {
                return options
                    .iter()
                    .any(|option| self.accepts_within(option, value, depth + 1));
            }
        }
        if let (Some(least), Some(number)) =
            (schema.get("minimum").and_then(Json::as_f64), value.as_f64())
            && number < least
        {
            return false;
        }
        let mut kinds = types(schema).peekable();
        if kinds.peek().is_none() {
            return true;
        }
        kinds.any(|kind| match (kind, value) {
            ("integer", Json::Number(n)) => n.is_i64() || n.is_u64(),
            ("number", Json::Number(_))
            | ("boolean", Json::Bool(_))
            | ("string", Json::String(_))
            | ("null", Json::Null)
            | ("object", Json::Object(_)) => true,
            ("array", Json::Array(items)) => schema.get("items").is_none_or(|inner| {
                items
                    .iter()
                    .all(|item| self.accepts_within(inner, item, depth + 1))
            }),
            _ => false,
        })
    }

    /// The node as JSON, in the type the schema wants where Data-Juicer would not object: a whole
    /// float for an integer, an infinite bound for no bound or one beyond all values, a bare number
    /// from the command line for text. `"x-truncated": true` is a count of which Data-Juicer takes
    /// the whole part.
    pub(super) fn read(&self, name: &str, schema: &Json, node: &Node) -> Json {
        let value = node.to_json();
        if self.accepts(schema, &value) && !matches!(node.value, Value::Float(f) if !f.is_finite())
        {
            return value;
        }
        let other = match &node.value {
            Value::Float(f) if f.is_infinite() || f.is_nan() => {
                // Nothing compares with NaN: as a lower bound it is as good as infinity.
                let above = *f > 0.0 || (f.is_nan() && name.starts_with("min"));
                let no_bound = !f.is_nan()
                    && ((name.starts_with("max") && above) || (name.starts_with("min") && !above));
                let end = if above { f64::MAX } else { f64::MIN };
                if no_bound && self.accepts(schema, &Json::Null) {
                    Some(Json::Null)
                } else if self.accepts(schema, &end.into()) {
                    Some(end.into())
                } else {
                    Some(saturated(above))
                }
            }
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked to be small, and whole or to be cut off"
            )]
            Value::Float(f)
                if f.abs() < 9.0e15
                    && (f.fract() == 0.0 || schema.get("x-truncated") == Some(&true.into())) =>
            {
                Some((*f as i64).into())
            }
            Value::Float(f) if f.fract() == 0.0 => Some(saturated(*f > 0.0)),
            Value::Int(i) if i64::try_from(*i).is_err() => Some(saturated(*i > 0)),
            Value::Int(_) if node.at.source > 0 => {
                node.plain.as_deref().map(|text| Json::String(text.into()))
            }
            _ => None,
        };
        match other {
            Some(other) if self.accepts(schema, &other) => other,
            _ => value,
        }
    }
}

/// A whole number beyond all counts.
fn saturated(positive: bool) -> Json {
    if positive { i64::MAX } else { i64::MIN }.into()
}

fn types(schema: &Json) -> impl Iterator<Item = &str> {
    let declared = schema.get("type");
    declared.and_then(Json::as_str).into_iter().chain(
        declared
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str),
    )
}

fn plural(words: &str) -> String {
    match words {
        "a whole number" => "whole numbers".into(),
        "a number" => "numbers".into(),
        "a string" => "strings".into(),
        "a value" => "values".into(),
        "a mapping" => "mappings".into(),
        other => other.to_owned(),
    }
}
