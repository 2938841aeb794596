//! Picks rows at random.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::NumpyGenerator;
use crate::op::{
    BuildContext, Facts, FieldKey, Keys, Operator, ParamError, PickError, Picked, Quota, Selector,
    operator,
};
use crate::sample::{RowError, Sample};

operator! {
    /// Picks a share or a number of rows at random, in random order.
    ///
    /// The rows are shuffled with the seed 42 and the first ones taken, in the order of the
    /// shuffle: the same rows for the same number of rows, whatever they hold. With both
    /// parameters the lesser number applies; `select_ratio` times the number of rows is rounded
    /// down. More than there are: the shuffled rows are repeated, in whole and then in part.
    ///
    /// Nothing happens, and the order stays, if there is at most one row, if no parameter is given,
    /// if exactly all rows are asked for, or if the share comes to less than one row.
    ///
    /// ## Example
    /// ```yaml
    /// - random_selector: {select_num: 2}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a"}, {"text": "b"}, {"text": "c"}, {"text": "d"}], "out": [{"text": "d"}, {"text": "c"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `random_selector`: same rows in the same order (`Dataset.shuffle(42)`:
    /// numpy's `default_rng(42).permutation`). `select_ratio: 0` alone fails there at the end of
    /// the run and is refused here at its beginning.
    random_selector: Selector(Params) => build,
    Facts::NONE
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The share of the rows to pick, from 0 to 1.
    select_ratio: Option<f64>,
    /// The number of rows to pick, at least 1.
    select_num: Option<u64>,
}

/// The seed of the shuffle.
const SEED: u64 = 42;

struct RandomSelector {
    quota: Quota,
}

fn build(
    Params {
        select_ratio,
        select_num,
    }: Params,
    _: &BuildContext,
) -> Result<Operator, Vec<ParamError>> {
    if select_ratio == Some(0.0) && select_num.is_none() {
        return Err(vec![
            ParamError::new("select_ratio", "select_ratio is 0: no row would be picked")
                .hint("0.25 picks a quarter of the rows"),
        ]);
    }
    let quota = Quota::new(("select_ratio", select_ratio), ("select_num", select_num))?;
    Ok(Operator::Selector(Box::new(RandomSelector { quota })))
}

impl Selector for RandomSelector {
    fn repeats(&self) -> bool {
        self.quota.may_exceed()
    }

    fn key(&self, _: &Sample) -> Result<FieldKey, RowError> {
        Ok(FieldKey::Null)
    }

    fn pick(&self, keys: &mut dyn Keys) -> Result<Picked, PickError> {
        let total = keys.len();
        let number = match self.quota.of(total) {
            Some(number) if total > 1 && number > 0 && number != total => number,
            _ => return Ok(Picked::All),
        };
        let total =
            u32::try_from(total).map_err(|_| PickError::Keys("more than 2^32 rows".to_owned()))?;
        let order = NumpyGenerator::new(SEED).permutation(total);
        Ok(Picked::Rows(
            order.into_iter().cycle().take(number).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::KeyList;

    fn pick(share: Option<f64>, number: Option<u64>, rows: usize) -> Picked {
        let params = Params {
            select_ratio: share,
            select_num: number,
        };
        match build(params, &BuildContext::default()) {
            Ok(Operator::Selector(op)) => {
                op.pick(&mut KeyList(vec![FieldKey::Null; rows])).unwrap()
            }
            _ => panic!("a selector"),
        }
    }

    #[test]
    fn rows_come_as_data_juicer_shuffles_them() {
        assert_eq!(
            pick(Some(0.5), None, 11),
            Picked::Rows(vec![6, 7, 0, 10, 3])
        );
        assert_eq!(pick(Some(0.9), Some(2), 11), Picked::Rows(vec![6, 7]));
        assert_eq!(
            pick(None, Some(7), 3),
            Picked::Rows(vec![2, 1, 0, 2, 1, 0, 2])
        );
    }

    #[test]
    fn there_are_many_ways_to_ask_for_all() {
        for (share, number, rows) in [
            (None, None, 5),
            (Some(0.1), None, 5),
            (Some(1.0), None, 5),
            (None, Some(5), 5),
            (None, Some(9), 1),
            (None, Some(9), 0),
        ] {
            assert_eq!(pick(share, number, rows), Picked::All);
        }
    }

    #[test]
    fn a_share_of_nothing_is_refused() {
        let params = Params {
            select_ratio: Some(0.0),
            select_num: None,
        };
        assert!(build(params, &BuildContext::default()).is_err());
    }
}
