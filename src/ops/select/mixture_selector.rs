//! Draws so many rows of each of several kinds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hash::priority;
use crate::op::{
    BuildContext, Facts, Field, FieldKey, Keys, Operator, ParamError, PickError, Picked, Selector,
    Stratum, allot, check_number, named_value, operator, rank_number,
};
use crate::sample::{RowError, Sample};

operator! {
    /// Draws a number of rows, so many of each kind: a mixture.
    ///
    /// Rows are of one kind (a stratum) if they have the same value in `by`, the stat of an earlier
    /// step or else a field (dots descend); 1, 1.0 and true are one value, null and a missing field
    /// another; `__dj__dataset__` is what the recipe names as the input that a row is from (docs/CURATION.md).
    /// With `bins` the value is taken as a number, and a kind is what lies between two of
    /// them, the lower one included. Without `by` all rows are of one kind.
    ///
    /// `shares: proportional` gives each kind its share of the rows there are, `equal` the same number,
    /// and a mapping such as `{news: 2, web: 1}` what it says; kinds that it does not name get
    /// nothing. With `bins` the kinds are called `below 100`, `100 to 200` and `from 200`, and rows without a
    /// number `none`. Of `select_num` rows each kind gets its part, remainders to the greatest fractions,
    /// of equal ones to the kind that comes first. A kind with fewer rows gives all it has, and
    /// the others share the rest: the number is met exactly as long as there are so many rows. With
    /// `repeat_to` instead, a kind with fewer rows repeats them: all of them as often as they fit, then
    /// a draw.
    ///
    /// The draw takes the rows with the least hashes of the recipe's `seed` and their place among the
    /// rows. What is drawn stays in input order; with copies, all first ones stand before the
    /// second ones. What each kind had, was to have and got is in the table of the run and in the
    /// manifest (`strata`), kinds that `shares` names and no row is of included. A copy is a row of its
    /// own behind this step, with its number, from 1, in the ledger (`copy`). If fewer rows are drawn than asked for, or a kind that is named has none, a
    /// note says so; a run that falls short exits with 1.
    ///
    /// ## Example
    /// ```yaml
    /// - mixture_selector: {by: lang, shares: {en: 2, fr: 1}, repeat_to: 3}
    /// ```
    /// ```json
    /// {"rows": [{"lang": "fr"}, {"lang": "en"}, {"lang": "de"}], "out": [{"lang": "fr"}, {"lang": "en"}, {"lang": "en"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    mixture_selector: Selector(Params) => build,
    Facts {
        reads: &[Field::StatOrParam("by")],
        ..Facts::NONE
    }
}

/// A mixture as a step of a recipe: the name of the operator and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct MixtureStep {
    /// `by`.
    pub by: String,
    /// `bins`.
    pub bins: Vec<f64>,
    /// `shares`: a word, or a mapping of values to numbers.
    pub shares: Value,
    /// How many rows are drawn.
    pub rows: u64,
    /// With copies where a kind has too few.
    pub repeats: bool,
}

impl MixtureStep {
    /// The operator's name.
    pub const NAME: &str = "mixture_selector";

    /// Its parameters.
    #[must_use]
    pub fn params(self) -> Map<String, Value> {
        let number = if self.repeats {
            "repeat_to"
        } else {
            "select_num"
        };
        let mut params = Map::new();
        params.insert("by".to_owned(), self.by.into());
        if !self.bins.is_empty() {
            params.insert("bins".to_owned(), self.bins.into());
        }
        params.insert("shares".to_owned(), self.shares);
        params.insert(number.to_owned(), self.rows.into());
        params
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The stat or field whose value says of what kind a row is.
    by: Option<String>,
    /// Where kinds begin, ascending, if the value is a number: `[100, 200]` makes three.
    bins: Option<Vec<f64>>,
    /// What part each kind gets: `proportional`, `equal`, or a number for each value.
    shares: Shares,
    /// The number of rows to draw, at least 1.
    select_num: Option<u64>,
    /// The number of rows to draw, at least 1, with copies where a kind has too few.
    repeat_to: Option<u64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            by: None,
            bins: None,
            shares: Shares::Word(Word::Proportional),
            select_num: None,
            repeat_to: None,
        }
    }
}

/// What part each kind gets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "proportional, equal, or a mapping of values to numbers"
)]
enum Shares {
    /// By a rule.
    Word(Word),
    /// As given, by value.
    Given(BTreeMap<String, f64>),
}

/// A rule for shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Word {
    /// As many as there are.
    Proportional,
    /// The same number.
    Equal,
}

/// More kinds are taken for a mistake.
const MOST_KINDS: usize = 10_000;

struct Mixture {
    by: Option<String>,
    bins: Vec<f64>,
    shares: Shares,
    number: u64,
    repeats: bool,
    seed: u64,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut errors: Vec<ParamError> = [
        check_number("select_num", params.select_num),
        check_number("repeat_to", params.repeat_to),
    ]
    .into_iter()
    .flatten()
    .collect();
    let bins = params.bins.unwrap_or_default();
    if !bins.is_sorted_by(|a, b| a < b) {
        let wrong = ParamError::new("bins", "bins do not ascend");
        errors.push(wrong.hint("write each once, the least first"));
    }
    if let Shares::Given(shares) = &params.shares {
        let sound = |share: &f64| share.is_finite() && *share >= 0.0;
        if !shares.values().all(sound) || shares.values().sum::<f64>() <= 0.0 {
            let wrong = ParamError::new(
                "shares",
                "shares are numbers of at least 0, one of them more",
            );
            errors.push(wrong.hint("{news: 2, web: 1} takes two of news for one of web"));
        }
    }
    let by = params.by.filter(|by| !by.is_empty());
    let named = !bins.is_empty() || matches!(params.shares, Shares::Given(_));
    if by.is_none() && named {
        let wrong = ParamError::new("by", "by does not say what rows are of one kind");
        errors.push(wrong.hint("name a stat or a field, or leave bins and shares out"));
    }
    let (number, repeats) = match (params.select_num, params.repeat_to) {
        (Some(number), None) => (number, false),
        (None, Some(number)) => (number, true),
        _ => {
            let wrong = ParamError::new(
                "select_num",
                "either select_num or repeat_to says how many rows",
            );
            errors.push(wrong.hint("select_num draws without copies, repeat_to with them"));
            (0, false)
        }
    };
    if u32::try_from(number).is_err() {
        let wrong = ParamError::new("repeat_to", format!("{number} rows are more than 2^32"));
        errors.push(wrong.hint("ask for fewer"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Operator::Selector(Box::new(Mixture {
        by,
        bins,
        shares: params.shares,
        number,
        repeats,
        seed: context.base.draw,
    })))
}

impl Mixture {
    /// What a kind is called, and by what name it stands in `shares`.
    fn label(&self, key: &FieldKey) -> String {
        match key {
            FieldKey::Integer(bin) if !self.bins.is_empty() => {
                let at = usize::try_from(*bin).unwrap_or_default();
                let lower = at.checked_sub(1).and_then(|at| self.bins.get(at));
                match (lower, self.bins.get(at)) {
                    (None, Some(end)) => format!("below {end}"),
                    (Some(start), Some(end)) => format!("{start} to {end}"),
                    (Some(start), None) => format!("from {start}"),
                    (None, None) => String::new(),
                }
            }
            FieldKey::Null if self.by.is_none() => "all rows".to_owned(),
            FieldKey::Null => "none".to_owned(),
            FieldKey::Integer(number) => number.to_string(),
            FieldKey::Number(number) => number.to_string(),
            FieldKey::Text(text) => text.clone(),
            FieldKey::Other(value) => value.to_string(),
        }
    }

    /// The kinds that `shares` names and gives something.
    fn named(&self) -> impl Iterator<Item = &str> {
        let shares = match &self.shares {
            Shares::Word(_) => None,
            Shares::Given(shares) => Some(shares),
        };
        let shares = shares.into_iter().flatten();
        shares
            .filter(|(_, share)| **share > 0.0)
            .map(|(label, _)| label.as_str())
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^32 rows")]
    fn share(&self, label: &str, had: u64) -> f64 {
        match &self.shares {
            Shares::Word(Word::Proportional) => had as f64,
            Shares::Word(Word::Equal) => 1.0,
            Shares::Given(shares) => shares.get(label).copied().unwrap_or(0.0),
        }
    }
}

impl Selector for Mixture {
    fn repeats(&self) -> bool {
        self.repeats
    }

    fn key(&self, sample: &Sample) -> Result<FieldKey, RowError> {
        let Some(by) = &self.by else {
            return Ok(FieldKey::Null);
        };
        let value = named_value(sample, by)?.unwrap_or_default();
        if self.bins.is_empty() {
            return match value {
                Value::Array(_) | Value::Object(_) => Err(RowError::new(
                    "wrong_type",
                    format!("'{by}' is a list or an object, expected a text or a number"),
                )),
                value => Ok(FieldKey::from(value)),
            };
        }
        Ok(match rank_number(&value) {
            None => FieldKey::Null,
            Some(number) => {
                let bin = self.bins.partition_point(|start| *start <= number);
                FieldKey::Integer(i64::try_from(bin).unwrap_or_default())
            }
        })
    }

    fn pick(&self, keys: &mut dyn Keys) -> Result<Picked, PickError> {
        let firsts = keys.firsts()?;
        // Kinds in the order of their first rows.
        let mut kinds: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (row, first) in (0..).zip(&firsts) {
            kinds.entry(*first).or_default().push(row);
        }
        if kinds.len() > MOST_KINDS {
            return Err(PickError::Keys(format!(
                "'{}' has more than {MOST_KINDS} different values: take another field, or bins",
                self.by.as_deref().unwrap_or_default()
            )));
        }
        let mut labels: BTreeMap<u32, String> = BTreeMap::new();
        keys.each(&mut |row, key| {
            if kinds.contains_key(&row) {
                labels.insert(row, self.label(key));
            }
        })?;
        let found = kinds.iter().map(|(first, rows)| {
            let had = rows.len() as u64;
            let label = labels.get(first).map_or("", String::as_str);
            (self.share(label, had), had)
        });
        // Kinds that are named and have no row: they want what nobody can give.
        let is_absent = |label: &&str| !labels.values().any(|found| found == label);
        let absent: Vec<&str> = self.named().filter(is_absent).collect();
        let none = absent.iter().map(|label| (self.share(label, 0), 0));
        let parts: Vec<(f64, u64)> = found.chain(none).collect();
        let (wanted, got) = allot(self.number, &parts, self.repeats);
        let mut copies: Vec<(u32, u32)> = Vec::new();
        let mut strata = Vec::new();
        let lacking = absent.into_iter().zip(wanted.iter().skip(kinds.len()));
        let lacking: Vec<Stratum> = lacking
            .map(|(label, wanted)| Stratum {
                value: label.to_owned(),
                had: 0,
                wanted: *wanted,
                got: 0,
            })
            .collect();
        for (((first, rows), wanted), got) in kinds.iter().zip(wanted).zip(got) {
            drawn(rows, got, self.seed, &mut copies);
            strata.push(Stratum {
                value: labels.remove(first).unwrap_or_default(),
                had: rows.len() as u64,
                wanted,
                got,
            });
        }
        strata.extend(lacking);
        copies.sort_unstable();
        Ok(Picked::Mixed {
            rows: copies.into_iter().map(|(_, row)| row).collect(),
            strata,
        })
    }
}

/// Appends `number` of `rows`, each with the number of its copy: all of them as often as they fit,
/// then those with the least hashes.
fn drawn(rows: &[u32], number: u64, seed: u64, out: &mut Vec<(u32, u32)>) {
    let all = rows.len() as u64;
    if all == 0 {
        return;
    }
    let whole = u32::try_from(number / all).unwrap_or(u32::MAX);
    for copy in 0..whole {
        out.extend(rows.iter().map(|row| (copy, *row)));
    }
    let mut ranked: Vec<(u64, u32)> = rows
        .iter()
        .map(|row| (priority(seed, u64::from(*row)), *row))
        .collect();
    ranked.sort_unstable();
    let rest = usize::try_from(number % all).unwrap_or(usize::MAX);
    out.extend(ranked.into_iter().take(rest).map(|(_, row)| (whole, row)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::op::KeyList;

    fn pick(params: Value, values: &[Value]) -> (Vec<u32>, Vec<Stratum>) {
        let params: Params = serde_json::from_value(params).unwrap();
        let Ok(Operator::Selector(op)) = build(params, &BuildContext::default()) else {
            panic!("a selector");
        };
        let keys = values.iter().map(|value| {
            let line = json!({ "k": value }).to_string();
            let context = std::sync::Arc::default();
            let row = Sample::parse(line, crate::sample::Origin::default(), context).unwrap();
            op.key(&row).unwrap()
        });
        let mut keys = KeyList(keys.collect());
        match op.pick(&mut keys).unwrap() {
            Picked::Mixed { rows, strata } => (rows, strata),
            other => panic!("{other:?}"),
        }
    }

    fn numbers(strata: &[Stratum]) -> Vec<(&str, [u64; 3])> {
        let told = |it: &Stratum| [it.had, it.wanted, it.got];
        strata
            .iter()
            .map(|it| (it.value.as_str(), told(it)))
            .collect()
    }

    #[test]
    fn kinds_get_their_parts() {
        let others = [json!("b"), json!("c"), Value::Null];
        let values: Vec<Value> = (0..10)
            .map(|n| {
                if n < 7 {
                    json!("a")
                } else {
                    others[n % 3].clone()
                }
            })
            .collect();
        let (rows, strata) = pick(json!({"by": "k", "select_num": 5}), &values);
        assert_eq!(
            numbers(&strata),
            [
                ("a", [7, 4, 4]),
                ("c", [1, 1, 1]),
                ("none", [1, 0, 0]),
                ("b", [1, 0, 0])
            ]
        );
        assert!(rows.len() == 5 && rows.is_sorted_by(|a, b| a < b));
        // A kind that has too few leaves the rest to the others.
        let (rows, strata) = pick(
            json!({"by": "k", "shares": "equal", "select_num": 8}),
            &values,
        );
        assert_eq!(
            numbers(&strata),
            [
                ("a", [7, 2, 5]),
                ("c", [1, 2, 1]),
                ("none", [1, 2, 1]),
                ("b", [1, 2, 1])
            ]
        );
        assert_eq!(rows.len(), 8);
        let shares = json!({"by": "k", "shares": {"b": 1, "c": 3, "x": 9}, "repeat_to": 8});
        let (rows, strata) = pick(shares, &values);
        assert_eq!(
            numbers(&strata),
            [
                ("a", [7, 0, 0]),
                ("c", [1, 2, 6]),
                ("none", [1, 0, 0]),
                ("b", [1, 1, 2]),
                ("x", [0, 5, 0])
            ]
        );
        // First copies before second ones.
        assert_eq!(rows, [7, 9, 7, 9, 7, 7, 7, 7]);
        let bins = json!({"by": "k", "bins": [2, 5.5], "shares": "equal", "select_num": 3});
        let numbered: Vec<Value> = [json!(1), json!(2), json!("5.4"), json!(7), json!("x")].into();
        assert_eq!(
            numbers(&pick(bins, &numbered).1),
            [
                ("below 2", [1, 1, 1]),
                ("2 to 5.5", [2, 1, 1]),
                ("from 5.5", [1, 1, 1]),
                ("none", [1, 0, 0])
            ]
        );
    }

    #[test]
    fn what_makes_no_mixture_is_refused() {
        for (params, at) in [
            (json!({}), "select_num"),
            (json!({"select_num": 1, "repeat_to": 2}), "select_num"),
            (json!({"select_num": 0}), "select_num"),
            (json!({"by": "k", "bins": [2, 1], "select_num": 1}), "bins"),
            (
                json!({"by": "k", "shares": {"a": -1}, "select_num": 1}),
                "shares",
            ),
            (json!({"shares": {"a": 1}, "select_num": 1}), "by"),
        ] {
            let told = params.to_string();
            let params: Params = serde_json::from_value(params).unwrap();
            let errors = build(params, &BuildContext::default()).err().unwrap();
            assert_eq!(errors[0].param.as_deref(), Some(at), "{told}");
        }
    }

    proptest! {
        #[test]
        fn the_number_is_met_and_no_row_is_lost(
            values in prop::collection::vec(0u8..4, 0..60),
            number in 1u64..150,
            equal in any::<bool>(),
            repeats in any::<bool>(),
        ) {
            let values: Vec<Value> = values.into_iter().map(Value::from).collect();
            let key = if repeats { "repeat_to" } else { "select_num" };
            let shares = if equal { "equal" } else { "proportional" };
            let (rows, strata) = pick(json!({"by": "k", "shares": shares, key: number}), &values);
            let all = values.len() as u64;
            let expected = if all == 0 { 0 } else if repeats { number } else { number.min(all) };
            prop_assert_eq!(rows.len() as u64, expected);
            for stratum in &strata {
                let of = |row: &u32| {
                    let text = values[*row as usize].to_string();
                    text == stratum.value
                };
                let got: Vec<u32> = rows.iter().copied().filter(|row| of(row)).collect();
                prop_assert_eq!(got.len() as u64, stratum.got);
                // Whole copies, then a draw: no row is there twice more often than another.
                let times = |row: u32| got.iter().filter(|other| **other == row).count() as u64;
                let own = (0..).zip(&values).filter(|(_, value)| value.to_string() == stratum.value);
                for (row, _) in own {
                    let least = stratum.got / stratum.had;
                    prop_assert!((least..=least + 1).contains(&times(row)));
                }
            }
        }
    }
}
