//! Picks the rows with the greatest or least values of a field.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Field, FieldKey, Keys, Operator, Order, ParamError, PickError, Picked,
    Quota, Selector, field_value, operator, rank_number, ranked,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Picks the rows with the greatest (or least) values of a field, in order of the values.
    ///
    /// Rows of equal value come in input order. With both `top_ratio` and `topk` the lesser number
    /// applies; `top_ratio` times the number of rows is rounded down. A plain field is compared
    /// as it is: all numbers (true counts as 1) or all texts, else the run fails and names a row.
    /// A row whose plain field is missing, null, NaN, a list or an object is set aside.
    /// A dotted field (`meta.score`, `__dj__stats__.text_len`) is compared as a number: texts are
    /// read as numbers, lists count by their mean, and what is no number, or is missing, comes
    /// last.
    ///
    /// Nothing happens, and the order stays, if there is at most one row, if `field_key` is empty,
    /// or if neither `top_ratio` nor `topk` is given (0 counts as not given).
    ///
    /// `field_key` may name what a filter before it measured: `__dj__stats__.text_len`.
    ///
    /// ## Example
    /// ```yaml
    /// - topk_specified_field_selector: {field_key: meta.score, topk: 2}
    /// ```
    /// ```json
    /// {"rows": [{"meta": {"score": 1}}, {"meta": {"score": "7.5"}}, {"meta": {"score": [2, 4]}}], "out": [{"meta": {"score": "7.5"}}, {"meta": {"score": [2, 4]}}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `topk_specified_field_selector`: same, but there a field that is
    /// missing from a row fails the run, and so does a value without an order, but for NaN, which,
    /// like the text "nan", has no defined place.
    topk_specified_field_selector: Selector(Params) => build,
    Facts {
        reads: &[Field::Param("field_key")],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field to compare; dots descend.
    field_key: String,
    /// The share of the rows to pick, from 0 to 1.
    top_ratio: Option<f64>,
    /// The number of rows to pick, at least 1.
    #[schemars(extend("x-truncated" = true))]
    topk: Option<u64>,
    /// The greatest values first; otherwise the least.
    reverse: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            field_key: String::new(),
            top_ratio: None,
            topk: None,
            reverse: true,
        }
    }
}

struct TopkSelector {
    /// `None` if the parameter is empty.
    field: Option<FieldPath>,
    dotted: bool,
    quota: Quota,
    order: Order,
}

fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let quota = Quota::new(("top_ratio", params.top_ratio), ("topk", params.topk))?;
    Ok(Operator::Selector(Box::new(TopkSelector {
        dotted: params.field_key.contains('.'),
        field: (!params.field_key.is_empty()).then(|| FieldPath::new(params.field_key)),
        quota,
        order: if params.reverse {
            Order::Descending
        } else {
            Order::Ascending
        },
    })))
}

impl TopkSelector {
    /// The place of values that are no numbers: behind all others.
    fn last(&self) -> FieldKey {
        match self.order {
            Order::Descending => FieldKey::Integer(-i64::MAX),
            Order::Ascending => FieldKey::Integer(i64::MAX),
        }
    }
}

impl Selector for TopkSelector {
    fn key(&self, sample: &Sample) -> Result<FieldKey, RowError> {
        let Some(field) = &self.field else {
            return Ok(FieldKey::Null);
        };
        let value = field_value(sample, field)?;
        if !self.dotted {
            return if self.quota.is_set() {
                FieldKey::ordered(field, value)
            } else {
                Ok(FieldKey::Null)
            };
        }
        let number = value.as_ref().and_then(rank_number);
        Ok(number.map_or_else(|| self.last(), FieldKey::from))
    }

    fn pick(&self, keys: &mut dyn Keys) -> Result<Picked, PickError> {
        let number = match (&self.field, self.quota.of(keys.len())) {
            (Some(_), Some(number)) if keys.len() > 1 => number,
            _ => return Ok(Picked::All),
        };
        if number == 0 {
            return Ok(Picked::Rows(Vec::new()));
        }
        let mut rows = ranked(&keys.ranks()?, self.order);
        rows.truncate(number);
        Ok(Picked::Rows(rows))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::op::KeyList;
    use crate::sample::{ImageContext, Origin, StatValue};

    fn check(params: serde_json::Value, values: &[serde_json::Value]) -> Result<Picked, String> {
        let params: Params = serde_json::from_value(params).unwrap();
        let path = params.field_key.clone();
        let Ok(Operator::Selector(op)) = build(params, &BuildContext::default()) else {
            panic!("a selector");
        };
        let keys: Vec<FieldKey> = values
            .iter()
            .map(|value| {
                let line = match path.strip_prefix("m.") {
                    Some(name) => json!({"m": {name: value}}),
                    None => json!({&path: value}),
                };
                let context = Arc::new(ImageContext::default());
                let sample = Sample::parse(line.to_string(), Origin::default(), context).unwrap();
                op.key(&sample).unwrap()
            })
            .collect();
        op.pick(&mut KeyList(keys)).map_err(|e| e.to_string())
    }

    #[test]
    fn dotted_fields_are_numbers_and_bad_ones_come_last() {
        let values = [
            json!("x"),
            json!("10"),
            json!(9),
            json!(null),
            json!([11, 13]),
        ];
        let picked = check(json!({"field_key": "m.k", "topk": 4}), &values);
        assert_eq!(picked, Ok(Picked::Rows(vec![4, 1, 2, 0])));
        let picked = check(
            json!({"field_key": "m.k", "top_ratio": 0.8, "reverse": false}),
            &values,
        );
        assert_eq!(picked, Ok(Picked::Rows(vec![2, 1, 4, 0])));
    }

    #[test]
    fn plain_fields_are_compared_raw() {
        let picked = check(
            json!({"field_key": "k", "topk": 2}),
            &[json!("10"), json!("9"), json!("é")],
        );
        assert_eq!(picked, Ok(Picked::Rows(vec![2, 1])));
        let problem = check(
            json!({"field_key": "k", "topk": 2}),
            &[json!("10"), json!(9)],
        );
        assert_eq!(
            problem,
            Err("row 0 holds a text and row 1 holds a number: they cannot be compared".into())
        );
    }

    #[test]
    fn a_plain_value_without_an_order_costs_its_own_row_only() {
        let params = Params {
            field_key: "k".into(),
            topk: Some(1),
            ..Params::default()
        };
        let Ok(Operator::Selector(op)) = build(params, &BuildContext::default()) else {
            panic!("a selector");
        };
        let code = |line: &str| {
            let context = Arc::new(ImageContext::default());
            let (line, origin) = (line.as_bytes().into(), Origin::default());
            let sample = crate::sample::read_row(line, origin, &context).unwrap();
            op.key(&sample).map_err(|error| error.code).err()
        };
        for (line, expected) in [
            (r#"{"k": NaN}"#, Some("wrong_type")),
            (r#"{"k": [1]}"#, Some("wrong_type")),
            (r#"{"k": null}"#, Some("missing_field")),
            ("{}", Some("missing_field")),
            (r#"{"k": Infinity}"#, None),
            (r#"{"k": "x"}"#, None),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }

    #[test]
    fn nothing_asked_for_means_all_and_a_small_share_none() {
        let values = [json!(1), json!(2)];
        for params in [
            json!({"field_key": "k"}),
            json!({"topk": 1}),
            json!({"field_key": "k", "top_ratio": 0.0}),
        ] {
            assert_eq!(check(params, &values), Ok(Picked::All));
        }
        let none = check(json!({"field_key": "k", "top_ratio": 0.4}), &values);
        assert_eq!(none, Ok(Picked::Rows(vec![])));
    }

    #[test]
    fn measured_stats_can_be_ranked() {
        let params = Params {
            field_key: "__dj__stats__.text_len".into(),
            topk: Some(1),
            ..Params::default()
        };
        let Ok(Operator::Selector(op)) = build(params, &BuildContext::default()) else {
            panic!("a selector");
        };
        let context = Arc::new(ImageContext::default());
        let mut sample = Sample::parse("{}".into(), Origin::default(), context).unwrap();
        sample.stats.set("text_len", StatValue::Int(7));
        assert_eq!(op.key(&sample), Ok(FieldKey::Integer(7)));
    }
}
