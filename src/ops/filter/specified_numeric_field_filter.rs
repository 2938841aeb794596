//! Keeps rows whose field holds a number within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use crate::op::{
    Bounds, BuildContext, Facts, Field, Filter, Measured, Operator, ParamError, Problems, StatDef,
    StatType, Verdict, operator, specified_value,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue, Stats, as_text};
use crate::text::parse_python_float;

operator! {
    /// Keeps rows whose field `field_key` holds a number between `min_value` and `max_value`.
    ///
    /// `field_key` is the name of a field, or a dotted path into nested objects. A text counts as the
    /// number that Python's `float` reads, a boolean as 0 or 1. What is not a number is dropped, and
    /// so are 0 and `false` (but not the text `"0"`), also under `reversed_range`. A row without the
    /// top-level field has null; a row whose object lacks a later part of the path, or whose field
    /// holds a list or object that is not empty, is refused. Both ends are inclusive. By default they
    /// are ±2^63, so that infinite numbers are dropped.
    ///
    /// ## Example
    /// ```yaml
    /// - specified_numeric_field_filter: {field_key: meta.stars, min_value: 10, max_value: 70}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "meta": {"stars": "36"}}, "out": {"text": "a", "meta": {"stars": "36"}}, "stats": {"meta.stars": "36"}}
    /// {"in": {"text": "b", "meta": {"stars": 100.5}}, "out": null, "stats": {"meta.stars": 100.5}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `specified_numeric_field_filter`: same, but an empty `field_key` is an error
    /// of the recipe (there, of every row), a field whose own name has dots is found too, and digits
    /// of other scripts in a text make no number.
    specified_numeric_field_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Param("field_key")],
        stats: &[VALUE],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Name of the field, dotted for a nested one.
    field_key: String,
    /// Smallest number kept, inclusive.
    min_value: Option<f64>,
    /// Largest number kept, inclusive.
    max_value: Option<f64>,
}

/// Python's `sys.maxsize` as a float.
const MAX_SIZE: f64 = 9_223_372_036_854_775_808.0;

impl Default for Params {
    fn default() -> Self {
        Self {
            field_key: String::new(),
            min_value: Some(-MAX_SIZE),
            max_value: Some(MAX_SIZE),
        }
    }
}

const VALUE: StatDef = StatDef::named_by("field_key", StatType::Any)
    .min("min_value")
    .max("max_value");

struct SpecifiedNumericField {
    path: FieldPath,
    bounds: Bounds,
    reversed: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let key = if params.field_key.is_empty() {
        Err(ParamError::new("field_key", "field_key is empty")
            .hint("name the field to look at, e.g. meta.stars"))
    } else {
        Ok(params.field_key)
    };
    let key = problems.keep(key);
    let bounds = problems.keep(Bounds::new(
        &VALUE,
        params.min_value,
        params.max_value,
        &context.base,
    ));
    let (Some(key), Some(bounds)) = (key, bounds) else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(SpecifiedNumericField {
        path: FieldPath::new(key.as_str()),
        bounds: bounds.of_stat(key),
        reversed: context.base.reversed_range,
    })))
}

impl Filter for SpecifiedNumericField {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let value = as_text(specified_value(sample, &self.path)?);
        let filled = match &value {
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => false,
        };
        if filled {
            let message = format!("field '{}' is a list or an object, not a number", self.path);
            return Err(RowError::new("wrong_type", message));
        }
        Ok(smallvec![StatValue::json(value)])
    }

    fn numbers(&self, stats: &Stats, key: &str) -> SmallVec<[f64; 2]> {
        let value = stats.get(key).map(StatValue::to_json).unwrap_or_default();
        number(&value).into_iter().collect()
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }

    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        let [range] = bounds else {
            return Verdict::Keep;
        };
        let value = stats.get(self.path.as_str()).map(StatValue::to_json);
        let value = value.unwrap_or_default();
        let number = match number(&value) {
            // A reversed range keeps what a range does not, and no range keeps NaN.
            Some(number) if range.keeps(number) || number.is_nan() && self.reversed => {
                return Verdict::Keep;
            }
            other => other,
        };
        let limit = match number {
            Some(number) => range.limit(number),
            None => "a number other than 0".into(),
        };
        Verdict::drop(range.stat().clone(), StatValue::json(value), limit)
    }
}

/// The number that a value counts as; 0 and `false` count as none.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(true) => Some(1.0),
        Value::Number(number) => number.as_f64().filter(|&number| number != 0.0),
        Value::String(text) => parse_python_float(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_filter, check_row};

    const NAME: &str = "specified_numeric_field_filter";

    #[test]
    fn texts_are_read_as_python_reads_them() {
        let params = r#"{"field_key": "v", "min_value": -2, "max_value": 2}"#;
        for (value, verdict) in [
            ("1", "keep"),
            ("-2", "keep"),
            ("2.001", "drop"),
            ("0", "drop"),
            ("0.0", "drop"),
            ("true", "keep"),
            ("false", "drop"),
            ("null", "drop"),
            ("\"0\"", "keep"),
            ("\" 1_0e-1\\n\"", "keep"),
            ("\"\"", "drop"),
            ("\"one\"", "drop"),
            ("\"nan\"", "drop"),
            ("\"NaN\"", "drop"),
            ("[]", "drop"),
            ("{}", "drop"),
        ] {
            let row = format!("{{\"v\": {value}}}");
            check_row(NAME, params, &row, &format!("{row} {verdict}"));
        }
        for word in ["NaN", "Infinity", "-Infinity"] {
            let told = format!("{{\"v\": \"{word}\"}} drop");
            check_row(NAME, params, &format!("{{\"v\": {word}}}"), &told);
        }
        check_row(NAME, params, "{}", r#"{"v": null} drop"#);
        check_row(NAME, params, r#"{"v": [1]}"#, "wrong_type");
    }

    #[test]
    fn infinity_lies_outside_of_the_default_range() {
        let params = r#"{"field_key": "v"}"#;
        check_row(NAME, params, r#"{"v": "inf"}"#, r#"{"v": "inf"} drop"#);
        check_row(NAME, params, r#"{"v": -1e18}"#, r#"{"v": -1e18} keep"#);
        assert!(
            build_filter(NAME, r#"{"min_value": 2, "max_value": 1}"#).is_err_and(|e| e.len() == 2)
        );
    }
}
