//! Picks the rows whose field has one of some values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::op::{
    BuildContext, Facts, Field, FieldKey, Keys, Operator, ParamError, PickError, Picked, Selector,
    field_value, operator,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Picks the rows whose field has one of the values `target_tags`, in input order.
    ///
    /// Values are compared exactly: a text with a text, a number with a number (1, 1.0 and true are
    /// the same), null with null; a missing field counts as null. Nothing happens if there is at
    /// most one row or if `field_key` is empty.
    ///
    /// `field_key` may name what a filter before it measured: `__dj__stats__.text_len`.
    ///
    /// ## Example
    /// ```yaml
    /// - tags_specified_field_selector: {field_key: meta.lang, target_tags: [en, fr]}
    /// ```
    /// ```json
    /// {"rows": [{"meta": {"lang": "fr"}}, {"meta": {"lang": "de"}}, {"meta": {"lang": "en"}}], "out": [{"meta": {"lang": "fr"}}, {"meta": {"lang": "en"}}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `tags_specified_field_selector`: same, but a row whose value is a list or
    /// an object, or whose dotted field is missing, fails the run there. Here the former is a bad
    /// row, and the latter counts as null.
    tags_specified_field_selector: Selector(Params) => build,
    Facts {
        reads: &[Field::Param("field_key")],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field to look at; dots descend.
    field_key: String,
    /// The values that are picked: texts, numbers, booleans or null. Must be given.
    target_tags: Option<Vec<Value>>,
}

struct TagsSelector {
    /// `None` if the parameter is empty.
    field: Option<FieldPath>,
    tags: Vec<FieldKey>,
}

fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let Some(tags) = params.target_tags else {
        return Err(vec![
            ParamError::new("target_tags", "target_tags is not given")
                .hint("list the values to pick: target_tags: [en, fr]"),
        ]);
    };
    let tags: Vec<FieldKey> = tags.into_iter().map(FieldKey::from).collect();
    let errors: Vec<ParamError> = tags
        .iter()
        .filter(|tag| matches!(tag, FieldKey::Other(_)))
        .map(|tag| {
            ParamError::new("target_tags", format!("a tag is {}", tag.kind()))
                .hint("tags are texts, numbers, booleans or null")
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Operator::Selector(Box::new(TagsSelector {
        field: (!params.field_key.is_empty()).then(|| FieldPath::new(params.field_key)),
        tags,
    })))
}

impl Selector for TagsSelector {
    fn key(&self, sample: &Sample) -> Result<FieldKey, RowError> {
        match &self.field {
            None => Ok(FieldKey::Null),
            Some(field) => {
                let value = field_value(sample, field)?;
                FieldKey::scalar(field, value)
            }
        }
    }

    fn pick(&self, keys: &mut dyn Keys) -> Result<Picked, PickError> {
        if self.field.is_none() || keys.len() <= 1 {
            return Ok(Picked::All);
        }
        let mut rows = Vec::new();
        keys.each(&mut |row, key| {
            if self.tags.contains(key) {
                rows.push(row);
            }
        })?;
        rows.sort_unstable();
        Ok(Picked::Rows(rows))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::op::KeyList;
    use crate::sample::{ImageContext, Origin};

    fn op(tags: &Value) -> Box<dyn Selector> {
        let params = serde_json::from_value(json!({"field_key": "k", "target_tags": tags}));
        match build(params.unwrap(), &BuildContext::default()) {
            Ok(Operator::Selector(op)) => op,
            _ => panic!("a selector"),
        }
    }

    #[test]
    fn tags_are_compared_as_python_compares() {
        let keys: Vec<FieldKey> = [json!("1"), json!(1), json!(true), json!(null), json!(1.5)]
            .into_iter()
            .map(FieldKey::from)
            .collect();
        let pick = |tags, rows| {
            let mut keys = KeyList(keys[..rows].to_vec());
            op(&tags).pick(&mut keys).unwrap()
        };
        assert_eq!(pick(json!([1.0]), 5), Picked::Rows(vec![1, 2]));
        assert_eq!(pick(json!(["1", null]), 5), Picked::Rows(vec![0, 3]));
        assert_eq!(pick(json!([]), 5), Picked::Rows(vec![]));
        assert_eq!(pick(json!([]), 1), Picked::All);
    }

    #[test]
    fn a_list_is_a_bad_row() {
        let context = Arc::new(ImageContext::default());
        let sample = Sample::parse(r#"{"k": [1]}"#.into(), Origin::default(), context).unwrap();
        assert_eq!(op(&json!([1])).key(&sample).unwrap_err().code, "wrong_type");
    }
}
