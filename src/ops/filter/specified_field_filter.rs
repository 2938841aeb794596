//! Keeps rows whose field holds one of the given values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Field, Filter, Measured, Operator, ParamError, StatDef, StatType,
    Verdict, operator, specified_value,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue, Stats};
use crate::text::PyValue;

operator! {
    /// Keeps rows whose field `field_key` holds one of the values of `target_value`.
    ///
    /// `field_key` is the name of a field, or a dotted path into nested objects. Of a list every
    /// item must be one of the values, so an empty list is kept. Numbers are equal by value, and
    /// `true` equals 1. A row without the top-level field has null; a row whose object lacks a
    /// later part of the path is refused. With `reversed_range` the other rows are kept. Without
    /// any `target_value` all rows are kept.
    ///
    /// ## Example
    /// ```yaml
    /// - specified_field_filter: {field_key: meta.lang, target_value: [en, fr]}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "meta": {"lang": "fr"}}, "out": {"text": "a", "meta": {"lang": "fr"}}, "stats": {"meta.lang": "fr"}}
    /// {"in": {"text": "b", "meta": {"lang": ["en", "de"]}}, "out": null, "stats": {"meta.lang": ["en", "de"]}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `specified_field_filter`: same, but an empty `field_key` is an error of the
    /// recipe (there, of every row), and a field whose own name has dots is found too.
    specified_field_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Param("field_key")],
        stats: &[StatDef::named_by("field_key", StatType::Any)],
        decides: &["target_value"],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Name of the field, dotted for a nested one.
    field_key: String,
    /// The values to keep, of any type.
    target_value: Vec<Value>,
}

struct SpecifiedField {
    path: FieldPath,
    targets: Vec<PyValue>,
    limit: String,
    reversed: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if params.field_key.is_empty() {
        return Err(ParamError::new("field_key", "field_key is empty")
            .hint("name the field to look at, e.g. meta.lang")
            .into());
    }
    Ok(Operator::Filter(Box::new(SpecifiedField {
        path: FieldPath::new(params.field_key.as_str()),
        targets: params.target_value.iter().map(PyValue::from).collect(),
        limit: format!("target_value: {}", Value::Array(params.target_value)),
        reversed: context.base.reversed_range,
    })))
}

impl Filter for SpecifiedField {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let value = specified_value(sample, &self.path)?;
        Ok(smallvec![StatValue::json(value)])
    }

    fn decide_within(&self, _: &[Bounds], stats: &Stats) -> Verdict {
        let value = stats.get(self.path.as_str()).map(StatValue::to_json);
        let value = value.unwrap_or_default();
        let wanted = |value: &Value| {
            let value = PyValue::from(value);
            self.targets.iter().any(|target| target.equals(&value))
        };
        let all = match &value {
            Value::Array(items) => items.iter().all(wanted),
            single => wanted(single),
        };
        if self.targets.is_empty() || all != self.reversed {
            return Verdict::Keep;
        }
        let key = self.path.as_str().to_owned();
        Verdict::drop(key, StatValue::json(value), self.limit.clone())
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_filter, check_row};

    #[test]
    fn values_of_every_type_are_compared() {
        let params = r#"{"field_key": "v", "target_value": ["a", 1, null]}"#;
        for (row, expected) in [
            (r#"{"v": "a"}"#, r#"{"v": "a"} keep"#),
            (r#"{"v": 1.0}"#, r#"{"v": 1.0} keep"#),
            (r#"{"v": true}"#, r#"{"v": true} keep"#),
            (r#"{"v": "1"}"#, r#"{"v": "1"} drop"#),
            (r#"{"v": []}"#, r#"{"v": []} keep"#),
            (r#"{"v": ["a", 1, 2]}"#, r#"{"v": ["a", 1, 2]} drop"#),
            (r#"{"v": {}}"#, r#"{"v": {}} drop"#),
            (r"{}", r#"{"v": null} keep"#),
        ] {
            check_row("specified_field_filter", params, row, expected);
        }
    }

    #[test]
    fn paths_must_lead_somewhere() {
        let params = r#"{"field_key": "a.b", "target_value": [1]}"#;
        for row in [
            r"{}",
            r#"{"a": {}}"#,
            r#"{"a": null}"#,
            r#"{"a": [1]}"#,
            r#"{"a": "b"}"#,
        ] {
            check_row("specified_field_filter", params, row, "missing_field");
        }
        check_row(
            "specified_field_filter",
            params,
            r#"{"a": {"b": 1}}"#,
            r#"{"a.b": 1} keep"#,
        );
        assert!(build_filter("specified_field_filter", "{}").is_err());
    }
}
