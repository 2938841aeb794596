//! The fields that selectors pick by, and the numbers that Data-Juicer ranks them as.

use serde_json::Value;

use super::STATS;
use crate::sample::{DATASET, FieldPath, RowError, Sample, float_of};
use crate::text::parse_python_float;

/// The value at `path`; `None` if missing. A path that starts with `__dj__stats__.` names what
/// filters measured in this run, and only if they did not, a field of the row as it was read.
///
/// # Errors
/// Those of [`Sample::value`].
pub fn field_value(sample: &Sample, path: &FieldPath) -> Result<Option<Value>, RowError> {
    let measured = path
        .as_str()
        .strip_prefix(STATS)
        .and_then(|name| name.strip_prefix('.'))
        .and_then(|name| sample.stats.get(name));
    match measured {
        Some(stat) => Ok(Some(stat.to_json())),
        None => sample.value(path),
    }
}

/// The value of the stat or field `name`: what a filter measured in this run, or else the field at that
/// path; `None` if there is neither. [`DATASET`] is the dataset that the row is from.
///
/// # Errors
/// Those of [`Sample::value`].
pub fn named_value(sample: &Sample, name: &str) -> Result<Option<Value>, RowError> {
    match sample.stats.get(name) {
        Some(stat) => Ok(Some(stat.to_json())),
        None if name == DATASET => Ok(sample.dataset().map(Value::from)),
        None => field_value(sample, &FieldPath::new(name)),
    }
}

/// The number that Data-Juicer ranks a value as: a number itself, a boolean as 0 or 1, a text as
/// Python's `float` reads it, a list (of lists) of numbers as their mean. `None` for anything
/// else, null, empty lists and "nan" included.
#[must_use]
pub fn rank_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => parse_python_float(text)?,
        Value::Array(items) => {
            let mut numbers = Vec::with_capacity(items.len());
            flatten(items, &mut numbers)?;
            mean(&numbers)?
        }
        other => scalar(other)?,
    };
    (!number.is_nan()).then_some(number)
}

fn scalar(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        other => float_of(other),
    }
}

/// Appends the numbers of a list, or of a list of lists of equal shape; `None` for other lists.
fn flatten(items: &[Value], numbers: &mut Vec<f64>) -> Option<Vec<usize>> {
    let mut shape = None;
    for item in items {
        let inner = match item {
            Value::Array(items) => flatten(items, numbers)?,
            other => {
                numbers.push(scalar(other)?);
                Vec::new()
            }
        };
        if shape.get_or_insert_with(|| inner.clone()) != &inner {
            return None;
        }
    }
    let mut whole = vec![items.len()];
    whole.extend(shape.unwrap_or_default());
    Some(whole)
}

#[expect(clippy::cast_precision_loss, reason = "a list is shorter than 2^53")]
fn mean(numbers: &[f64]) -> Option<f64> {
    (!numbers.is_empty()).then(|| pairwise_sum(numbers) / numbers.len() as f64)
}

/// The sum in numpy's order of additions: eight running sums up to 128 numbers, halves beyond.
#[must_use]
pub fn pairwise_sum(numbers: &[f64]) -> f64 {
    if numbers.len() < 8 {
        return numbers.iter().fold(0.0, |sum, number| sum + number);
    }
    if numbers.len() > 128 {
        let half = numbers.len() / 2;
        let (left, right) = numbers.split_at(half - half % 8);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let (eights, rest) = numbers.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, number) in sums.iter_mut().zip(eight) {
            *sum += number;
        }
    }
    let pairs = [0, 2, 4, 6].map(|at| sums.iter().skip(at).take(2).sum::<f64>());
    let [first, second, third, fourth] = pairs;
    let sum = (first + second) + (third + fourth);
    rest.iter().fold(sum, |sum, number| sum + number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_rank_as_data_juicer_ranks_them() {
        for (value, number) in [
            (json!(3), Some(3.0)),
            (json!(true), Some(1.0)),
            (json!(" 1_0.5e1\n"), Some(105.0)),
            (json!("-Infinity"), Some(f64::NEG_INFINITY)),
            (json!([1, 2.5]), Some(1.75)),
            (json!([[1, 2], [3, 4]]), Some(2.5)),
            (json!([[1, 2], [3]]), None),
            (json!(["1"]), None),
            (json!([1, null]), None),
            (json!([]), None),
            (json!([[], []]), None),
            (json!({"a": 1}), None),
            (json!(null), None),
            (json!("nan"), None),
            (json!("1__0"), None),
            (json!("_1"), None),
            (json!(""), None),
        ] {
            assert_eq!(rank_number(&value), number, "{value}");
        }
    }

    #[test]
    fn long_lists_are_summed_in_numpy_s_order() {
        // numpy.asarray([0.1 * i for i in range(300)]).mean()
        let list: Vec<f64> = (0..300).map(|i| 0.1 * f64::from(i)).collect();
        assert_eq!(rank_number(&json!(list)), Some(14.95));
    }
}
