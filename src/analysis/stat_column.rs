//! One stat of all rows in memory: numbers as they are compared, 8 bytes each.

use smallvec::SmallVec;

use crate::sample::StatValue;

/// The values of one stat, one a row, as filters see them.
#[derive(Debug, Default)]
pub struct StatColumn {
    values: Values,
    /// Which rows have it; those behind the last one have not.
    has: Vec<bool>,
    /// Whether any row has it.
    any: bool,
}

#[derive(Debug)]
enum Values {
    /// A number a row, all of them whole or none.
    Numbers {
        numbers: Vec<f64>,
        whole: Option<bool>,
    },
    /// A list of numbers a row; where each ends.
    Lists {
        ends: Vec<usize>,
        numbers: Vec<f64>,
        whole: Option<bool>,
    },
    /// Whatever it is.
    Any(Vec<StatValue>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Numbers {
            numbers: Vec::new(),
            whole: None,
        }
    }
}

/// Whole numbers up to here are numbers with a fraction of 64 bits as well.
const EXACT: i64 = 1 << 53;

impl StatColumn {
    /// Appends the value of the next row.
    pub fn push(&mut self, value: Option<&StatValue>) {
        let row = self.has.len();
        self.has.push(value.is_some());
        let Some(value) = value else {
            return self.values.push_nothing();
        };
        let first = !std::mem::replace(&mut self.any, true);
        // The first one that there is decides what the column looks like.
        if first && matches!(value, StatValue::Ints(_) | StatValue::Floats(_)) {
            self.values = Values::Lists {
                ends: vec![0; row],
                numbers: Vec::new(),
                whole: None,
            };
        }
        if !self.values.push(value) {
            let mut all: Vec<StatValue> = (0..row).map(|row| self.values.get(row)).collect();
            all.push(value.clone());
            self.values = Values::Any(all);
        }
    }

    /// The value of a row, if it has one.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<StatValue> {
        self.has(row).then(|| self.values.get(row))
    }

    /// Whether a row has a value.
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.has.get(row).copied().unwrap_or(false)
    }
}

impl Values {
    fn push_nothing(&mut self) {
        match self {
            Self::Numbers { numbers, .. } => numbers.push(f64::NAN),
            Self::Lists { ends, numbers, .. } => ends.push(numbers.len()),
            Self::Any(all) => all.push(StatValue::null()),
        }
    }

    /// Appends a value if it is of the column's kind.
    #[expect(clippy::cast_precision_loss, reason = "no greater number is taken")]
    fn push(&mut self, value: &StatValue) -> bool {
        let fits = |whole: &mut Option<bool>, is: bool| *whole.get_or_insert(is) == is;
        let exact = |n: i64| n.abs() <= EXACT;
        match (self, value) {
            (Self::Numbers { numbers, whole }, StatValue::Int(n)) => {
                let fits = exact(*n) && fits(whole, true);
                fits.then(|| numbers.push(*n as f64)).is_some()
            }
            (Self::Numbers { numbers, whole }, StatValue::Float(n)) => {
                fits(whole, false).then(|| numbers.push(*n)).is_some()
            }
            (
                Self::Lists {
                    ends,
                    numbers,
                    whole,
                },
                StatValue::Ints(list),
            ) => {
                let fits = list.is_empty() || list.iter().all(|n| exact(*n)) && fits(whole, true);
                if fits {
                    numbers.extend(list.iter().map(|n| *n as f64));
                    ends.push(numbers.len());
                }
                fits
            }
            (
                Self::Lists {
                    ends,
                    numbers,
                    whole,
                },
                StatValue::Floats(list),
            ) => {
                let fits = list.is_empty() || fits(whole, false);
                if fits {
                    numbers.extend(list);
                    ends.push(numbers.len());
                }
                fits
            }
            (Self::Any(all), value) => {
                all.push(value.clone());
                true
            }
            _ => false,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "they were whole numbers")]
    fn get(&self, row: usize) -> StatValue {
        match self {
            Self::Numbers { numbers, whole } => {
                let number = numbers.get(row).copied().unwrap_or(f64::NAN);
                match whole {
                    Some(true) if number.is_finite() => StatValue::Int(number as i64),
                    _ => StatValue::Float(number),
                }
            }
            Self::Lists {
                ends,
                numbers,
                whole,
            } => {
                let end_of = |row: usize| ends.get(row).copied().unwrap_or(0);
                let start = row.checked_sub(1).map_or(0, end_of);
                let list = numbers.get(start..end_of(row)).unwrap_or_default();
                match whole {
                    Some(true) => {
                        StatValue::Ints(list.iter().map(|n| *n as i64).collect::<SmallVec<_>>())
                    }
                    _ => StatValue::Floats(list.iter().copied().collect::<SmallVec<_>>()),
                }
            }
            Self::Any(all) => all.get(row).cloned().unwrap_or_else(StatValue::null),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value() -> impl Strategy<Value = Option<StatValue>> {
        let kinds = prop_oneof![
            4 => (0..9_i64).prop_map(StatValue::Int),
            1 => any::<i64>().prop_map(StatValue::Int),
            4 => (0.0..1.0).prop_map(StatValue::Float),
            4 => prop::collection::vec(0..9_i64, 0..3).prop_map(|v| StatValue::Ints(v.into())),
            4 => prop::collection::vec(0.0..1.0, 0..3).prop_map(|v| StatValue::Floats(v.into())),
            1 => Just(StatValue::json(json!("en"))),
            1 => Just(StatValue::json(json!(null))),
        ];
        prop::option::of(kinds)
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(
            rows in prop::collection::vec(value(), 0..12),
            like in prop::collection::vec(0..40_usize, 0..12),
        ) {
            // As they come, and mostly of one kind.
            let alike: Vec<_> = like.iter().filter_map(|at| rows.get(*at % rows.len().max(1) / 3)).cloned().collect();
            for rows in [rows, alike] {
                let mut column = StatColumn::default();
                for value in &rows {
                    column.push(value.as_ref());
                }
                for (row, value) in rows.iter().enumerate() {
                    prop_assert_eq!(column.get(row).map(|v| v.to_json()), value.as_ref().map(StatValue::to_json));
                }
            }
        }
    }
}
