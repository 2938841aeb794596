//! Selectors: pick rows out of all rows, by a field or at random.

use std::cmp::{Ordering, Reverse};
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ParamError, Stratum};
use crate::sample::{FieldPath, RowError, Sample, float_of};

/// The value a selector ranks or groups a row by. Two keys are equal exactly if Python calls the
/// values equal: 1, 1.0 and true are the same integer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FieldKey {
    /// Missing or null.
    Null,
    /// A whole number of 64 bits, whether written with a decimal point or not, or a boolean.
    Integer(i64),
    /// Any other number.
    Number(#[serde(with = "number_bits")] f64),
    /// A string.
    Text(String),
    /// A list or an object, as decoded.
    Other(Value),
}

/// Numbers as their bits: JSON has no infinities.
mod number_bits {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature serde asks for"
    )]
    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(number.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// 2^63, the first whole number that is not an `i64`.
const INTEGER_END: f64 = 9_223_372_036_854_775_808.0;

impl From<Value> for FieldKey {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Integer(i64::from(flag)),
            Value::String(text) => Self::Text(text),
            Value::Number(ref number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Self::Integer(integer),
                (None, Some(float)) => Self::from(float),
                (None, None) => Self::Other(value),
            },
            other => match float_of(&other) {
                Some(float) => Self::Number(float),
                None => Self::Other(other),
            },
        }
    }
}

impl From<f64> for FieldKey {
    fn from(value: f64) -> Self {
        if value.fract() == 0.0 && (-INTEGER_END..INTEGER_END).contains(&value) {
            #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
            return Self::Integer(value as i64);
        }
        Self::Number(value)
    }
}

impl FieldKey {
    /// Orders two numbers or two texts, as Python does; `None` where Python would raise a
    /// `TypeError`, and for lists.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Integer(a), Self::Number(b)) => compare_mixed(*a, *b),
            (Self::Number(a), Self::Integer(b)) => compare_mixed(*b, *a).map(Ordering::reverse),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Makes sure that `key`, of row `row`, can be ranked among others of which this is the first:
    /// keys are comparable if each is comparable with itself and with the first.
    ///
    /// # Errors
    /// If it cannot; names the row.
    pub fn check_comparable(&self, key: &Self, row: u32) -> Result<(), String> {
        if key.compare(key).is_none() {
            return Err(format!(
                "row {row} holds {}, which has no order",
                key.kind()
            ));
        }
        if self.compare(key).is_none() {
            return Err(format!(
                "row 0 holds {} and row {row} holds {}: they cannot be compared",
                self.kind(),
                key.kind()
            ));
        }
        Ok(())
    }

    /// The key of a value that has an order, as it stands: a row whose value has none cannot be
    /// ranked, and is no reason to rank no other.
    ///
    /// # Errors
    /// `missing_field` if there is no value, `wrong_type` for a list, an object, or NaN.
    pub fn ordered(field: &FieldPath, value: Option<Value>) -> Result<Self, RowError> {
        let key = value.map_or(Self::Null, Self::from);
        if key.compare(&key).is_some() {
            return Ok(key);
        }
        let (code, what) = match key {
            Self::Null => ("missing_field", "is missing or null".to_owned()),
            Self::Number(_) => ("wrong_type", "is NaN, which has no order".to_owned()),
            other => (
                "wrong_type",
                format!("is {}, which has no order", other.kind()),
            ),
        };
        Err(RowError::new(code, format!("field '{field}' {what}")))
    }

    /// The key of a value that must be a text, a number, a boolean, null or missing.
    ///
    /// # Errors
    /// `wrong_type` for a list or an object.
    pub fn scalar(field: &FieldPath, value: Option<Value>) -> Result<Self, RowError> {
        match value.map_or(Self::Null, Self::from) {
            key @ Self::Other(_) => Err(RowError::new(
                "wrong_type",
                format!(
                    "field '{field}' is {}, expected a text or a number",
                    key.kind()
                ),
            )),
            key => Ok(key),
        }
    }

    /// What kind of value it is, for a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "no value",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Other(Value::Array(_)) => "a list",
            Self::Other(_) => "an object",
        }
    }
}

/// Compares a whole number with one that is not, exactly; `None` for NaN.
fn compare_mixed(integer: i64, number: f64) -> Option<Ordering> {
    if number.is_nan() {
        return None;
    }
    if number >= INTEGER_END {
        return Some(Ordering::Less);
    }
    if number < -INTEGER_END {
        return Some(Ordering::Greater);
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    let below = number.floor() as i64;
    // An equal floor leaves the fraction, or nothing, to decide.
    Some(integer.cmp(&below).then(if number.fract() == 0.0 {
        Ordering::Equal
    } else {
        Ordering::Less
    }))
}

/// Which end of an order comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// How many to pick: a share of all, a number, or the lesser of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Quota {
    share: Option<f64>,
    number: Option<u64>,
}

impl Quota {
    /// A quota out of two optional parameters, each with its name.
    ///
    /// # Errors
    /// If the share is not within 0 and 1, or the number is 0.
    pub fn new(
        (share_name, share): (&'static str, Option<f64>),
        (number_name, number): (&'static str, Option<u64>),
    ) -> Result<Self, Vec<ParamError>> {
        let errors: Vec<_> = [
            check_share(share_name, share),
            check_number(number_name, number),
        ]
        .into_iter()
        .flatten()
        .collect();
        if errors.is_empty() {
            Ok(Self { share, number })
        } else {
            Err(errors)
        }
    }

    /// Whether something was asked for.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.of(1).is_some()
    }

    /// Whether it may come to more than there are.
    #[must_use]
    pub fn may_exceed(&self) -> bool {
        self.number.is_some() && self.share.is_none_or(|share| share == 0.0)
    }

    /// How many of `total`; `None` if nothing was asked for. A share of 0 counts as not given,
    /// and the share of a total is rounded down.
    #[must_use]
    pub fn of(&self, total: usize) -> Option<usize> {
        let number = self
            .number
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        match self.share.filter(|share| *share > 0.0) {
            Some(share) => {
                let part = share_of(share, total);
                Some(number.map_or(part, |number| number.min(part)))
            }
            None => number,
        }
    }
}

/// `int(share * total)` of Python.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a total is below 2^53 and a share within 0 and 1"
)]
pub fn share_of(share: f64, total: usize) -> usize {
    (share * total as f64) as usize
}

/// What is wrong with a share, if it is not within 0 and 1.
#[must_use]
pub fn check_share(name: &'static str, share: Option<f64>) -> Option<ParamError> {
    let share = share.filter(|share| !(0.0..=1.0).contains(share))?;
    Some(
        ParamError::new(name, format!("{name} is {share}, not a number from 0 to 1"))
            .hint("0.25 means a quarter"),
    )
}

/// What is wrong with a number of rows or values, if it is 0.
#[must_use]
pub fn check_number(name: &'static str, number: Option<u64>) -> Option<ParamError> {
    number.filter(|number| *number == 0).map(|_| {
        ParamError::new(name, format!("{name} is 0")).hint("give at least 1, or leave it out")
    })
}

/// The rows a selector picked, as indices into the rows it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picked {
    /// All rows stay, in input order.
    All,
    /// These rows, in this order.
    Rows(Vec<u32>),
    /// These rows, in this order, so many of each kind.
    Mixed {
        /// The rows.
        rows: Vec<u32>,
        /// The kinds.
        strata: Vec<Stratum>,
    },
}

/// The rows with these `ranks` in ascending or descending order of them; equal ranks stay in input
/// order both ways, as with Python's `heapq.nsmallest` and `nlargest`.
#[must_use]
pub fn ranked(ranks: &[u32], order: Order) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..).take(ranks.len()).collect();
    let rank = |row: &u32| ranks.get(*row as usize).copied().unwrap_or(u32::MAX);
    match order {
        Order::Ascending => rows.sort_unstable_by_key(|row| (rank(row), *row)),
        Order::Descending => rows.sort_unstable_by_key(|row| (Reverse(rank(row)), *row)),
    }
    rows
}

/// The keys of all rows that a selector is shown; a row is known by its number among them, in
/// input order.
pub trait Keys {
    /// How many rows there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows every row with its key, in any order.
    ///
    /// # Errors
    /// If the keys cannot be read back.
    fn each(&mut self, see: &mut dyn FnMut(u32, &FieldKey)) -> Result<(), PickError>;

    /// For each row the first one with an equal key.
    ///
    /// # Errors
    /// If the keys cannot be read back.
    fn firsts(&mut self) -> Result<Vec<u32>, PickError>;

    /// For each row the rank of its key among the different keys, from 0 for the least.
    ///
    /// # Errors
    /// If the keys cannot be read back, or two of them cannot be compared.
    fn ranks(&mut self) -> Result<Vec<u32>, PickError>;
}

/// Keys in memory, compared one by one: the plain way, which the executor's is tested against.
#[derive(Debug, Clone)]
pub struct KeyList(pub Vec<FieldKey>);

impl Keys for KeyList {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn each(&mut self, see: &mut dyn FnMut(u32, &FieldKey)) -> Result<(), PickError> {
        (0..).zip(&self.0).for_each(|(row, key)| see(row, key));
        Ok(())
    }

    fn firsts(&mut self) -> Result<Vec<u32>, PickError> {
        let first = |key| (0..).zip(&self.0).find(|(_, other)| *other == key);
        let firsts = self.0.iter().filter_map(first);
        Ok(firsts.map(|(row, _)| row).collect())
    }

    fn ranks(&mut self) -> Result<Vec<u32>, PickError> {
        for (row, key) in (0..).zip(&self.0) {
            let first = self.0.first().unwrap_or(key);
            first.check_comparable(key, row).map_err(PickError::Keys)?;
        }
        let mut sorted = self.0.clone();
        sorted.sort_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal));
        sorted.dedup();
        let rank = |key| (0..).zip(&sorted).find(|(_, other)| *other == key);
        let ranks = self.0.iter().filter_map(rank);
        Ok(ranks.map(|(rank, _)| rank).collect())
    }
}

/// Why a selector could not pick.
#[derive(Debug, thiserror::Error)]
pub enum PickError {
    /// The keys cannot be read back.
    #[error("cannot read back keys set aside on disk: {0}")]
    Io(#[from] io::Error),
    /// The keys cannot be compared (numbers and texts mixed, say).
    #[error("{0}")]
    Keys(String),
}

/// Picks rows once all rows' keys are known.
pub trait Selector: Send + Sync {
    /// The value the row is picked by.
    ///
    /// # Errors
    /// Whatever makes the value impossible to read; the row is quarantined.
    fn key(&self, sample: &Sample) -> Result<FieldKey, RowError>;

    /// Picks among all rows.
    ///
    /// # Errors
    /// Those of [`Keys`]: the run fails with them.
    fn pick(&self, keys: &mut dyn Keys) -> Result<Picked, PickError>;

    /// Whether it may pick a row more than once.
    fn repeats(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(values: Value) -> KeyList {
        let Value::Array(values) = values else {
            panic!("a list of values");
        };
        KeyList(values.into_iter().map(FieldKey::from).collect())
    }

    #[test]
    fn equal_keys_keep_their_order_both_ways() {
        let ranks = keys(json!([2, 3, 2.0, 2.5, true, 3])).ranks().unwrap();
        assert_eq!(ranks, [1, 3, 1, 2, 0, 3]);
        assert_eq!(ranked(&ranks, Order::Ascending), [4, 0, 2, 3, 1, 5]);
        assert_eq!(ranked(&ranks, Order::Descending), [1, 5, 3, 0, 2, 4]);
    }

    #[test]
    fn great_whole_numbers_stay_apart() {
        let mut keys = keys(json!([
            9_007_199_254_740_993_i64,
            9_007_199_254_740_992_i64,
            1e300
        ]));
        assert_eq!(keys.ranks().unwrap(), [1, 0, 2]);
        assert_eq!(
            FieldKey::Integer(5).compare(&FieldKey::Number(5.5)),
            Some(Ordering::Less)
        );
        assert_eq!(
            FieldKey::Number(-5.5).compare(&FieldKey::Integer(-5)),
            Some(Ordering::Less)
        );
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let problem = |values| keys(values).ranks().unwrap_err().to_string();
        assert_eq!(
            problem(json!([1, 2, "x"])),
            "row 0 holds a number and row 2 holds a text: they cannot be compared"
        );
        assert_eq!(
            problem(json!([1, null])),
            "row 1 holds no value, which has no order"
        );
        assert_eq!(
            problem(json!([[1], [2]])),
            "row 0 holds a list, which has no order"
        );
    }

    #[test]
    fn the_lesser_of_share_and_number_applies() {
        let quota = |share, number| Quota::new(("r", share), ("n", number)).unwrap().of(10);
        assert_eq!(quota(None, None), None);
        assert_eq!(quota(Some(0.0), None), None);
        assert_eq!(quota(Some(0.0), Some(3)), Some(3));
        assert_eq!(quota(Some(0.29), None), Some(2));
        assert_eq!(quota(Some(0.29), Some(2)), Some(2));
        assert_eq!(quota(Some(0.5), Some(4)), Some(4));
        assert_eq!(quota(None, Some(40)), Some(40));
        assert_eq!(
            Quota::new(("r", Some(1.5)), ("n", Some(0)))
                .unwrap_err()
                .len(),
            2
        );
    }
}
