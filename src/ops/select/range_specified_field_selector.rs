//! Picks the rows between two ranks of a field's values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Field, FieldKey, Keys, Operator, Order, ParamError, PickError, Picked,
    Selector, check_number, check_share, field_value, operator, rank_number, ranked, share_of,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Picks the rows whose field value ranks above a lower and up to an upper bound, the greatest
    /// first.
    ///
    /// Rows are ranked by value from the least, rank 1, up; rows of equal value in input order.
    /// A percentile times the number of rows, rounded down, is a rank; with both a percentile and
    /// a rank the narrower bound applies. Of the `upper` least rows (an upper bound below the lower
    /// one is raised to it) the `upper` - `lower` greatest are picked, in descending order; rows
    /// of equal value stay in input order, so that at the lower bound the first of them win.
    ///
    /// Values are compared as numbers: texts are read as numbers, lists count by their mean, and
    /// what is no number, or is missing, comes before all numbers. Nothing happens, and the order
    /// stays, if there is at most one row, if `field_key` is empty, or if one of the two bounds is
    /// not given.
    ///
    /// `field_key` may name what a filter before it measured: `__dj__stats__.text_len`.
    ///
    /// ## Example
    /// ```yaml
    /// - range_specified_field_selector: {field_key: n, lower_rank: 1, upper_percentile: 0.8}
    /// ```
    /// ```json
    /// {"rows": [{"n": 5}, {"n": 3}, {"n": 1}, {"n": 4}, {"n": 2}], "out": [{"n": 4}, {"n": 3}, {"n": 2}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `range_specified_field_selector`: same, but a field that is missing from a
    /// row may fail the run there, and the text "nan" has no defined place.
    range_specified_field_selector: Selector(Params) => build,
    Facts {
        reads: &[Field::Param("field_key")],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field to compare; dots descend.
    field_key: String,
    /// The share of the least rows left out, from 0 to 1.
    lower_percentile: Option<f64>,
    /// The share of the rows up to which they are picked, from 0 to 1.
    upper_percentile: Option<f64>,
    /// The number of least rows left out, at least 1.
    lower_rank: Option<u64>,
    /// The last rank picked, at least 1, inclusive.
    upper_rank: Option<u64>,
}

struct RangeSelector {
    /// `None` if the parameter is empty.
    field: Option<FieldPath>,
    params: Params,
}

fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let errors: Vec<ParamError> = [
        check_share("lower_percentile", params.lower_percentile),
        check_share("upper_percentile", params.upper_percentile),
        check_number("lower_rank", params.lower_rank),
        check_number("upper_rank", params.upper_rank),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Operator::Selector(Box::new(RangeSelector {
        field: (!params.field_key.is_empty()).then(|| FieldPath::new(params.field_key.as_str())),
        params,
    })))
}

impl RangeSelector {
    /// The lower and upper bound among `total` rows; `None` if one is not given.
    fn bounds(&self, total: usize) -> Option<(usize, usize)> {
        let Params {
            lower_percentile,
            upper_percentile,
            lower_rank,
            upper_rank,
            ..
        } = self.params;
        if (lower_percentile.is_none() && lower_rank.is_none())
            || (upper_percentile.is_none() && upper_rank.is_none())
        {
            return None;
        }
        let rank = |rank: u64| usize::try_from(rank).unwrap_or(usize::MAX);
        let lower = lower_percentile.map_or(0, |share| share_of(share, total));
        let lower = lower.max(lower_rank.map_or(0, rank));
        let upper = upper_percentile.map_or(total, |share| share_of(share, total));
        let upper = upper.min(upper_rank.map_or(usize::MAX, rank));
        Some((lower, upper.max(lower)))
    }
}

impl Selector for RangeSelector {
    fn key(&self, sample: &Sample) -> Result<FieldKey, RowError> {
        let Some(field) = &self.field else {
            return Ok(FieldKey::Null);
        };
        let number = field_value(sample, field)?.as_ref().and_then(rank_number);
        Ok(number.map_or(FieldKey::Integer(-i64::MAX), FieldKey::from))
    }

    fn pick(&self, keys: &mut dyn Keys) -> Result<Picked, PickError> {
        let (lower, upper) = match (&self.field, self.bounds(keys.len())) {
            (Some(_), Some(bounds)) if keys.len() > 1 => bounds,
            _ => return Ok(Picked::All),
        };
        let ranks = keys.ranks()?;
        let mut least = vec![false; ranks.len()];
        for &row in ranked(&ranks, Order::Ascending).iter().take(upper) {
            if let Some(slot) = least.get_mut(row as usize) {
                *slot = true;
            }
        }
        let mut rows = ranked(&ranks, Order::Descending);
        rows.retain(|&row| least.get(row as usize).copied().unwrap_or_default());
        rows.truncate(upper - lower);
        Ok(Picked::Rows(rows))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::op::KeyList;

    fn check(params: serde_json::Value, values: &[i64]) -> Picked {
        let mut params: Params = serde_json::from_value(params).unwrap();
        params.field_key = "k".into();
        let mut keys = KeyList(values.iter().map(|&v| FieldKey::Integer(v)).collect());
        match build(params, &BuildContext::default()) {
            Ok(Operator::Selector(op)) => op.pick(&mut keys).unwrap(),
            _ => panic!("a selector"),
        }
    }

    #[test]
    fn the_narrower_bounds_apply_and_the_greatest_comes_first() {
        let values = [3, 1, 2, 3, 2, 5, 5, 5, 0, 1, 3];
        for (params, rows) in [
            (
                json!({"lower_percentile": 0.1, "upper_rank": 5}),
                vec![2, 4, 1, 9],
            ),
            (json!({"lower_rank": 2, "upper_percentile": 0.3}), vec![1]),
            (json!({"lower_rank": 5, "upper_rank": 3}), vec![]),
            (json!({"lower_rank": 9, "upper_rank": 40}), vec![5, 6]),
            (json!({"lower_rank": 40, "upper_rank": 90}), vec![]),
        ] {
            assert_eq!(check(params, &values), Picked::Rows(rows));
        }
    }

    #[test]
    fn both_bounds_are_needed() {
        assert_eq!(check(json!({"lower_rank": 1}), &[1, 2]), Picked::All);
        assert_eq!(
            check(json!({"upper_percentile": 0.5}), &[1, 2]),
            Picked::All
        );
        assert_eq!(
            check(json!({"lower_rank": 1, "upper_rank": 1}), &[1]),
            Picked::All
        );
    }
}
