//! Values that compare as Python's do: numbers by value whatever their type, `True` as 1, texts by
//! code point, lists item by item. What Python cannot compare is an error here too.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// A value of an expression.
#[derive(Debug, Clone)]
pub enum PyValue {
    /// `None`.
    None,
    /// `True` and `False`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<PyValue>),
    /// A tuple: like a list, but never equal to one.
    Tuple(Vec<PyValue>),
    /// A set: no item twice.
    Set(Vec<PyValue>),
    /// An object of the row.
    Dict(Vec<(String, PyValue)>),
}

/// An operation that Python refuses with a `TypeError`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeMismatch(String);

impl TypeMismatch {
    /// Says what cannot be done.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for TypeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Value> for PyValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::None,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => {
                let whole = number.as_i64().map(i128::from);
                whole
                    .or_else(|| number.as_u64().map(i128::from))
                    .map_or_else(
                        || Self::Float(number.as_f64().unwrap_or(f64::NAN)),
                        Self::Int,
                    )
            }
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => {
                let members = map.iter();
                Self::Dict(members.map(|(k, v)| (k.clone(), Self::from(v))).collect())
            }
        }
    }
}

impl PyValue {
    /// The value as JSON; `None` for what JSON lacks (sets, huge whole numbers).
    #[must_use]
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::None => Value::Null,
            Self::Bool(flag) => Value::from(*flag),
            Self::Int(whole) => match i64::try_from(*whole) {
                Ok(whole) => Value::from(whole),
                Err(_) => Value::from(u64::try_from(*whole).ok()?),
            },
            Self::Float(float) => Value::from(*float),
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(items) | Self::Tuple(items) => {
                Value::Array(items.iter().map(Self::to_json).collect::<Option<_>>()?)
            }
            Self::Dict(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, value)| Some((key.clone(), value.to_json()?)))
                    .collect::<Option<_>>()?,
            ),
            Self::Set(_) => return None,
        })
    }

    /// `bool(self)`.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(flag) => *flag,
            Self::Int(whole) => *whole != 0,
            Self::Float(float) => *float != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => !items.is_empty(),
            Self::Dict(members) => !members.is_empty(),
        }
    }

    /// `self == other`.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            (Self::Set(a), Self::Set(b)) => a.len() == b.len() && subset(a, b),
            (Self::Dict(a), Self::Dict(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| {
                        let same = b.iter().find(|(other, _)| other == key);
                        same.is_some_and(|(_, other)| value.equals(other))
                    })
            }
            _ => compare_numbers(self, other) == Some(Some(Ordering::Equal)),
        }
    }

    /// The order of two values; `Ok(None)` if they are comparable but neither is greater (NaN, or
    /// sets that do not contain each other).
    ///
    /// # Errors
    /// If Python does not order values of these types.
    pub fn order(&self, other: &Self) -> Result<Option<Ordering>, TypeMismatch> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Ok(Some(a.cmp(b))),
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                match a.iter().zip(b).find(|(a, b)| !a.equals(b)) {
                    Some((a, b)) => a.order(b),
                    None => Ok(Some(a.len().cmp(&b.len()))),
                }
            }
            (Self::Set(a), Self::Set(b)) => Ok(match (subset(a, b), subset(b, a)) {
                (true, true) => Some(Ordering::Equal),
                (true, false) => Some(Ordering::Less),
                (false, true) => Some(Ordering::Greater),
                (false, false) => None,
            }),
            _ => compare_numbers(self, other).ok_or_else(|| {
                TypeMismatch(format!("cannot order {} and {}", self.kind(), other.kind()))
            }),
        }
    }

    /// `item in self`.
    ///
    /// # Errors
    /// If this is no container, or one that cannot hold such an item.
    pub fn contains(&self, item: &Self) -> Result<bool, TypeMismatch> {
        match (self, item) {
            (Self::Text(text), Self::Text(part)) => Ok(text.contains(part.as_str())),
            (Self::List(items) | Self::Tuple(items), _) => Ok(has(items, item)),
            // Python looks for a set as a frozen one, which no set here holds.
            (Self::Set(_), Self::Set(_)) => Ok(false),
            (Self::Set(items), _) if item.is_hashable() => Ok(has(items, item)),
            (Self::Dict(members), Self::Text(key)) => {
                Ok(members.iter().any(|(other, _)| other == key))
            }
            (Self::Dict(_), _) if item.is_hashable() => Ok(false),
            _ => Err(TypeMismatch(format!(
                "cannot look for {} in {}",
                item.kind(),
                self.kind()
            ))),
        }
    }

    /// `-self`.
    ///
    /// # Errors
    /// If it is no number.
    pub fn negated(&self) -> Result<Self, TypeMismatch> {
        match self {
            Self::Float(float) => Ok(Self::Float(-float)),
            other => match other.whole().and_then(i128::checked_neg) {
                Some(whole) => Ok(Self::Int(whole)),
                None => Err(TypeMismatch(format!("{} has no sign", other.kind()))),
            },
        }
    }

    /// `+self`.
    ///
    /// # Errors
    /// If it is no number.
    pub fn with_plus(&self) -> Result<Self, TypeMismatch> {
        match self {
            Self::Float(float) => Ok(Self::Float(*float)),
            other => match other.whole() {
                Some(whole) => Ok(Self::Int(whole)),
                None => Err(TypeMismatch(format!("{} has no sign", other.kind()))),
            },
        }
    }

    /// A set of these items.
    ///
    /// # Errors
    /// If one of them cannot be hashed.
    pub fn set(items: Vec<Self>) -> Result<Self, TypeMismatch> {
        let mut kept: Vec<Self> = Vec::with_capacity(items.len());
        for item in items {
            if !item.is_hashable() {
                return Err(TypeMismatch(format!("a set cannot hold {}", item.kind())));
            }
            if !has(&kept, &item) {
                kept.push(item);
            }
        }
        Ok(Self::Set(kept))
    }

    fn is_hashable(&self) -> bool {
        match self {
            Self::List(_) | Self::Set(_) | Self::Dict(_) => false,
            Self::Tuple(items) => items.iter().all(Self::is_hashable),
            _ => true,
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Bool(flag) => Some(i128::from(*flag)),
            Self::Int(whole) => Some(*whole),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::None => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Set(_) => "a set",
            Self::Dict(_) => "an object",
        }
    }
}

fn has(items: &[PyValue], item: &PyValue) -> bool {
    items.iter().any(|other| other.equals(item))
}

fn subset(a: &[PyValue], b: &[PyValue]) -> bool {
    a.iter().all(|item| has(b, item))
}

/// `None` if one is no number; `Some(None)` if one is NaN.
#[expect(
    clippy::option_option,
    reason = "what cannot be compared is not what has no order"
)]
fn compare_numbers(a: &PyValue, b: &PyValue) -> Option<Option<Ordering>> {
    match (a, b) {
        (PyValue::Float(a), PyValue::Float(b)) => Some(a.partial_cmp(b)),
        (PyValue::Float(a), b) => Some(float_to_whole(*a, b.whole()?)),
        (a, PyValue::Float(b)) => Some(float_to_whole(*b, a.whole()?).map(Ordering::reverse)),
        (a, b) => Some(Some(a.whole()?.cmp(&b.whole()?))),
    }
}

/// 2^127: beyond it no whole number of ours is as large.
const LIMIT: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

/// Compares a float with a whole number exactly, as Python does.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the float is known to lie within the range, and is whole where it is cast back"
)]
fn float_to_whole(float: f64, whole: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= LIMIT {
        return Some(Ordering::Greater);
    }
    if float < -LIMIT {
        return Some(Ordering::Less);
    }
    let floor = float.floor();
    let order = (floor as i128).cmp(&whole);
    Some(if order == Ordering::Equal && float > floor {
        Ordering::Greater
    } else {
        order
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn equal(a: &Value, b: &Value) -> bool {
        PyValue::from(a).equals(&PyValue::from(b))
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for (a, b, same) in [
            (json!(1), json!(1.0), true),
            (json!(true), json!(1), true),
            (json!(0), json!(false), true),
            (
                json!(9_007_199_254_740_993_i64),
                json!(9_007_199_254_740_992.0),
                false,
            ),
            (json!(u64::MAX), json!(18_446_744_073_709_551_616.0), false),
            (json!("1"), json!(1), false),
            (json!(null), json!(0), false),
            (json!([1, [2]]), json!([1.0, [2.0]]), true),
            (json!([1]), json!([1, 2]), false),
            (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1.0}), true),
            (json!({"a": 1}), json!({"b": 1}), false),
        ] {
            assert_eq!(equal(&a, &b), same, "{a} == {b}");
        }
    }

    #[test]
    fn order_is_by_code_point_and_item() {
        let order = |a: Value, b: Value| PyValue::from(&a).order(&PyValue::from(&b));
        assert_eq!(order(json!("a"), json!("b")), Ok(Some(Ordering::Less)));
        assert_eq!(
            order(json!([1, 2]), json!([1])),
            Ok(Some(Ordering::Greater))
        );
        assert_eq!(order(json!(-1), json!(-1.5)), Ok(Some(Ordering::Greater)));
        assert_eq!(order(json!(1e300), json!(5)), Ok(Some(Ordering::Greater)));
        assert_eq!(order(json!(-1e300), json!(5)), Ok(Some(Ordering::Less)));
        assert!(order(json!("a"), json!(1)).is_err());
        assert!(order(json!([null]), json!([1])).is_err());
        assert!(order(json!({}), json!({})).is_err());
    }
}
