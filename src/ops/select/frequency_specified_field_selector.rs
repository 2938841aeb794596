//! Picks the rows with the most or least frequent values of a field.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Field, FieldKey, Keys, Operator, ParamError, PickError, Picked, Quota,
    Selector, field_value, operator,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Picks all rows with the most (or least) frequent values of a field, value by value.
    ///
    /// Rows are grouped by value; 1, 1.0 and true are one value, and so are null and a missing
    /// field. Groups come by size, groups of one size in order of their first row; the rows of a
    /// group in input order. `topk` counts groups, and `top_ratio` times the number of groups is
    /// rounded down; with both the lesser number applies.
    ///
    /// Nothing happens, and the order stays, if there is at most one row, if `field_key` is empty,
    /// or if neither `top_ratio` nor `topk` is given (0 counts as not given).
    ///
    /// `field_key` may name what a filter before it measured: `__dj__stats__.text_len`.
    ///
    /// ## Example
    /// ```yaml
    /// - frequency_specified_field_selector: {field_key: lang, topk: 1}
    /// ```
    /// ```json
    /// {"rows": [{"lang": "fr", "n": 1}, {"lang": "en", "n": 2}, {"lang": "en", "n": 3}], "out": [{"lang": "en", "n": 2}, {"lang": "en", "n": 3}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `frequency_specified_field_selector`: same, but a row whose value is a
    /// list or an object, or whose dotted field is missing, fails the run there. Here the former
    /// is a bad row, and the latter counts as null.
    frequency_specified_field_selector: Selector(Params) => build,
    Facts {
        reads: &[Field::Param("field_key")],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field to group by; dots descend.
    field_key: String,
    /// The share of the values to pick, from 0 to 1.
    top_ratio: Option<f64>,
    /// The number of values to pick, at least 1.
    #[schemars(extend("x-truncated" = true))]
    topk: Option<u64>,
    /// The most frequent values first; otherwise the least.
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

struct FrequencySelector {
    /// `None` if the parameter is empty.
    field: Option<FieldPath>,
    quota: Quota,
    most_first: bool,
}

fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let quota = Quota::new(("top_ratio", params.top_ratio), ("topk", params.topk))?;
    Ok(Operator::Selector(Box::new(FrequencySelector {
        field: (!params.field_key.is_empty()).then(|| FieldPath::new(params.field_key)),
        quota,
        most_first: params.reverse,
    })))
}

impl Selector for FrequencySelector {
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
        // A group is known by its first row.
        let firsts = keys.firsts()?;
        let mut sizes = vec![0_u32; firsts.len()];
        for &first in &firsts {
            if let Some(size) = sizes.get_mut(first as usize) {
                *size += 1;
            }
        }
        let groups = sizes.iter().filter(|size| **size > 0).count();
        let Some(number) = self.quota.of(groups) else {
            return Ok(Picked::All);
        };
        let of = |list: &[u32], at: u32| list.get(at as usize).copied().unwrap_or_default();
        let mut rows: Vec<u32> = (0..).take(firsts.len()).collect();
        // Groups of one size stay in order of their first row.
        rows.sort_unstable_by_key(|&row| {
            let first = of(&firsts, row);
            let size = of(&sizes, first);
            let place = if self.most_first {
                u32::MAX - size
            } else {
                size
            };
            (place, first, row)
        });
        let groups = rows.chunk_by(|a, b| of(&firsts, *a) == of(&firsts, *b));
        Ok(Picked::Rows(
            groups.take(number).flatten().copied().collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::op::KeyList;

    fn check(params: serde_json::Value, values: serde_json::Value) -> Picked {
        let mut params: Params = serde_json::from_value(params).unwrap();
        params.field_key = "k".into();
        let values: Vec<serde_json::Value> = serde_json::from_value(values).unwrap();
        let mut keys = KeyList(values.into_iter().map(FieldKey::from).collect());
        match build(params, &BuildContext::default()) {
            Ok(Operator::Selector(op)) => op.pick(&mut keys).unwrap(),
            _ => panic!("a selector"),
        }
    }

    #[test]
    fn groups_come_by_size_and_then_by_first_row() {
        let values = json!(["b", 1, null, true, "a", null, 1.0]);
        let picked = check(json!({"topk": 3}), values.clone());
        assert_eq!(picked, Picked::Rows(vec![1, 3, 6, 2, 5, 0]));
        let picked = check(json!({"top_ratio": 0.8, "reverse": false}), values);
        assert_eq!(picked, Picked::Rows(vec![0, 4, 2, 5]));
    }

    #[test]
    fn nothing_asked_for_means_all() {
        assert_eq!(check(json!({}), json!([1, 2])), Picked::All);
        assert_eq!(check(json!({"topk": 1}), json!([1])), Picked::All);
        assert_eq!(
            check(json!({"top_ratio": 0.1}), json!([1, 2])),
            Picked::Rows(vec![])
        );
    }
}
