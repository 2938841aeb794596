//! Makes one row of all rows with equal values in some fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::op::{
    BuildContext, Facts, Field, Grouper, Operator, ParamError, STATS, group_key, operator,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Makes one row of all rows that have equal values in the fields `group_by_keys`.
    ///
    /// Groups stand in the order of their first rows. A dotted name descends into objects, and with
    /// a number into lists and texts (`tags.0`); what is not there counts as null.
    /// `__dj__stats__.text_len` names what a filter measured. Values are equal as JSON: 1 and 1.0
    /// are, 1 and true or "1" are not; fields of an object count whatever their order, null ones
    /// not. How the row of a group looks, is counted and is limited: see `naive_grouper`.
    ///
    /// ## Example
    /// ```yaml
    /// - key_value_grouper: {group_by_keys: [meta.lang]}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a", "meta": {"lang": "fr"}}, {"text": "b"}, {"text": "c", "meta": {"lang": "fr"}}], "out": [{"text": ["a", "c"], "meta": [{"lang": "fr"}, {"lang": "fr"}]}, {"text": ["b"]}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `key_value_grouper`: same, but that a field which no row of a group has is
    /// left out there too (its table gives every row every field), and what `naive_grouper` says.
    key_value_grouper: Grouper(Params) => build,
    Facts {
        reads: &[Field::TextWithout("group_by_keys"), Field::Param("group_by_keys")],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The fields to group by; dots descend. The text field if null or empty.
    group_by_keys: Option<Vec<String>>,
}

struct KeyValueGrouper {
    paths: Vec<Path>,
}

/// A dotted name, taken apart.
struct Path {
    head: FieldPath,
    rest: Vec<String>,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of the registry")]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let names = params
        .group_by_keys
        .filter(|names| !names.is_empty())
        .unwrap_or_else(|| vec![context.base.text_key.as_str().to_owned()]);
    let paths = names.iter().map(|name| Path::new(name)).collect();
    Ok(Operator::Grouper(Box::new(KeyValueGrouper { paths })))
}

impl Grouper for KeyValueGrouper {
    fn key(&self, sample: &Sample) -> Result<u128, RowError> {
        let values: Result<Vec<Value>, _> =
            self.paths.iter().map(|path| path.value(sample)).collect();
        values.map(|values| group_key(&values))
    }
}

impl Path {
    fn new(name: &str) -> Self {
        let (head, rest) = name.split_once('.').unzip();
        Self {
            head: head.unwrap_or(name).into(),
            rest: rest
                .map(|rest| rest.split('.').map(ToOwned::to_owned).collect())
                .unwrap_or_default(),
        }
    }

    /// The value there; null if there is none.
    fn value(&self, sample: &Sample) -> Result<Value, RowError> {
        let head = self.head.as_str();
        let whole = if head == STATS && !sample.stats.is_empty() {
            Some(sample.stats.to_json())
        } else if index(head).is_some() {
            // As there: a number is never the name of a field.
            None
        } else {
            sample.value(&self.head)?
        };
        let found = whole.and_then(|whole| {
            self.rest
                .iter()
                .try_fold(whole, |value, part| within(value, part))
        });
        Ok(found.unwrap_or_default())
    }
}

/// A part of a path that is a number.
fn index(part: &str) -> Option<usize> {
    let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| part.parse().unwrap_or(usize::MAX))
}

/// The part of `value` called `part`.
fn within(value: Value, part: &str) -> Option<Value> {
    match (value, index(part)) {
        (Value::Array(items), Some(index)) => items.into_iter().nth(index),
        (Value::String(text), Some(index)) => text.chars().nth(index).map(|c| c.to_string().into()),
        (Value::Object(mut map), None) => map.swap_remove(part),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sample::{ImageContext, Origin};

    #[test]
    fn paths_descend_as_they_do_there() {
        let context = Arc::new(ImageContext::default());
        let line = r#"{"a": {"b": [1, "日本"], "0": 5}, "7": 1, "a.b": 2, "n": null}"#;
        let sample = Sample::parse(line.into(), Origin::default(), context).unwrap();
        for (path, expected) in [
            ("a.b.0", "1"),
            ("a.b.1.1", "\"本\""),
            ("a.b.2", "null"),
            ("a.b.x", "null"),
            ("a.0", "null"),
            ("7", "null"),
            ("a.b", "[1,\"日本\"]"),
            ("n.x", "null"),
            ("", "null"),
        ] {
            let found = Path::new(path).value(&sample).unwrap();
            assert_eq!(found.to_string(), expected, "{path}");
        }
    }
}
