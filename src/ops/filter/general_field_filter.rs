//! Keeps rows for which a condition over their fields holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Field, Filter, Measured, Operator, ParamError, RowCondition,
    StatDef, StatType, Verdict, operator,
};
use crate::sample::{RowError, Sample, StatValue, Stats};
use crate::text::PyValue;

operator! {
    /// Keeps rows for which `filter_condition` holds.
    ///
    /// The condition is written in a small part of Python: `and`, `or`, `not`, comparisons that may be
    /// chained (`10 < n <= 30`, `lang in ['en', 'fr']`), names of top-level fields, dots into nested
    /// objects, texts, numbers, `True`, `False`, `None`, signs, and lists, tuples and sets.
    /// `__dj__stats__.text_len` is what an earlier filter measured. What a row lacks is `None`, and no
    /// comparison with `None` holds but `not in`. The row is kept if the value is true in Python's
    /// sense; comparing what has no order, such as a text and a number, refuses it. Without a condition
    /// all rows are kept.
    ///
    /// The stat is the value of the condition, usually true or false.
    ///
    /// ## Example
    /// ```yaml
    /// - general_field_filter: {filter_condition: "10 < n <= 30 and meta.lang != 'de'"}
    /// ```
    /// ```json
    /// {"in": {"n": 20, "meta": {"lang": "en"}}, "out": {"n": 20, "meta": {"lang": "en"}}, "stats": {"general_field_filter_condition": true}}
    /// {"in": {"n": 20, "meta": {}}, "out": null, "stats": {"general_field_filter_condition": false}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `general_field_filter`: same, but whatever is not of that part of Python is an
    /// error of the recipe (there, of every row), as are whole numbers beyond 127 bits and `\N{...}`;
    /// and the attributes of texts, numbers and lists are `None` (there, Python's methods).
    general_field_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Any, Field::Stats],
        stats: &[CONDITION],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The condition; an empty one keeps all rows.
    filter_condition: String,
}

const CONDITION: StatDef =
    StatDef::new("general_field_filter_condition", StatType::Any).when_given("filter_condition");

struct GeneralField {
    condition: Option<RowCondition>,
}

fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let written = params.filter_condition;
    let condition = if written.is_empty() {
        None
    } else {
        let condition = RowCondition::parse(&written).map_err(|problem| {
            ParamError::new("filter_condition", problem)
                .hint("use and, or, not, comparisons, field names, constants and lists only")
        })?;
        Some(condition)
    };
    Ok(Operator::Filter(Box::new(GeneralField { condition })))
}

impl Filter for GeneralField {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let Some(condition) = &self.condition else {
            return Ok(smallvec![]);
        };
        let value = condition.value(sample)?.to_json().ok_or_else(|| {
            RowError::new(
                "wrong_type",
                "the condition's value cannot be kept as a stat",
            )
        })?;
        Ok(smallvec![StatValue::json(value)])
    }

    fn fields(&self) -> Vec<String> {
        self.condition
            .iter()
            .flat_map(RowCondition::names)
            .collect()
    }

    fn decide_within(&self, _: &[Bounds], stats: &Stats) -> Verdict {
        let value = stats.get(CONDITION.name()).map(StatValue::to_json);
        let written = self.condition.as_ref().map_or("", RowCondition::written);
        match value {
            Some(value) if !PyValue::from(&value).is_true() => Verdict::drop(
                CONDITION.name(),
                StatValue::json(value),
                format!("filter_condition: {written}"),
            ),
            _ => Verdict::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_filter, check_row};

    const NAME: &str = "general_field_filter";

    #[test]
    fn missing_fields_fail_every_comparison() {
        let params = r#"{"filter_condition": "n != 3"}"#;
        let check = |row, expected| check_row(NAME, params, row, expected);
        check(
            r#"{"n": 4}"#,
            r#"{"general_field_filter_condition": true} keep"#,
        );
        check(r"{}", r#"{"general_field_filter_condition": false} drop"#);
        check(
            r#"{"n": null}"#,
            r#"{"general_field_filter_condition": false} drop"#,
        );
        check(
            r#"{"n": "x"}"#,
            r#"{"general_field_filter_condition": true} keep"#,
        );
        let params = r#"{"filter_condition": "n > 3"}"#;
        check_row(NAME, params, r#"{"n": "x"}"#, "wrong_type");
        for (value, verdict) in [("NaN", "false} drop"), ("Infinity", "true} keep")] {
            let told = format!("{{\"general_field_filter_condition\": {verdict}");
            check_row(NAME, params, &format!("{{\"n\": {value}}}"), &told);
        }
        check_row(NAME, "{}", "{}", "{} keep");
    }

    #[test]
    fn a_value_counts_by_its_truth() {
        let params = r#"{"filter_condition": "t"}"#;
        check_row(
            NAME,
            params,
            r#"{"t": ""}"#,
            r#"{"general_field_filter_condition": ""} drop"#,
        );
        check_row(
            NAME,
            params,
            r#"{"t": [0]}"#,
            r#"{"general_field_filter_condition": [0]} keep"#,
        );
        let problems = build_filter(NAME, r#"{"filter_condition": "len(t) > 3"}"#)
            .err()
            .unwrap();
        assert_eq!(problems[0].param.as_deref(), Some("filter_condition"));
        assert!(problems[0].message.contains("column 4"), "{problems:?}");
    }
}
