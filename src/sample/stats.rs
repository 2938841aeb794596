//! What filters measured: the `__dj__stats__` of a row.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Value;
use smallvec::SmallVec;

use super::json::{JsonText, push_string};

/// The name of a statistic, e.g. `text_len`.
pub type StatKey = Cow<'static, str>;

/// One measured value, in the shapes Data-Juicer writes.
#[derive(Debug, Clone, PartialEq)]
pub enum StatValue {
    /// A count: characters, words, bytes.
    Int(i64),
    /// A ratio or score.
    Float(f64),
    /// One count an image, in list order.
    Ints(SmallVec<[i64; 2]>),
    /// One ratio an image, in list order.
    Floats(SmallVec<[f64; 2]>),
    /// Anything else (copied field values, texts, null).
    Json(Value),
}

impl StatValue {
    /// The value as a number; `None` for lists, texts and null.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
            Self::Int(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            Self::Json(v) => v.as_f64(),
            Self::Ints(_) | Self::Floats(_) => None,
        }
    }

    /// The value as a list of numbers, for the per-image stats.
    #[must_use]
    pub fn as_list(&self) -> Option<SmallVec<[f64; 2]>> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "pixel and byte counts stay below 2^53"
            )]
            Self::Ints(v) => Some(v.iter().map(|&x| x as f64).collect()),
            Self::Floats(v) => Some(v.clone()),
            Self::Json(Value::Array(v)) => v.iter().map(Value::as_f64).collect(),
            _ => None,
        }
    }

    /// The value as JSON. A float that is not finite becomes null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Int(v) => Value::from(*v),
            Self::Float(v) => Value::from(*v),
            Self::Ints(v) => Value::from(v.to_vec()),
            Self::Floats(v) => Value::from(v.to_vec()),
            Self::Json(v) => v.clone(),
        }
    }
}

/// As [`StatValue::to_json`] has it; JSON writes null for what is not finite.
impl Serialize for StatValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => value.serialize(serializer),
            Self::Float(value) => value.serialize(serializer),
            Self::Ints(list) => list.as_slice().serialize(serializer),
            Self::Floats(list) => list.as_slice().serialize(serializer),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

/// The stats by name, in order; those of a group's rows are not among them.
impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl JsonText for StatValue {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(v) => v.write(out),
            Self::Float(v) => v.write(out),
            Self::Ints(v) => v.as_slice().write(out),
            Self::Floats(v) => v.as_slice().write(out),
            Self::Json(v) => v.write(out),
        }
    }
}

/// The stats of one row in the order they were measured. A stat that is present is not measured
/// again: two filters over the same stat share it, even if a mapper changed the text in between
/// (Data-Juicer's rule).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    entries: SmallVec<[(StatKey, StatValue); 4]>,
    /// Those of the rows that a group is made of; the group itself has none.
    members: Vec<Stats>,
}

impl Stats {
    /// The stat called `key`, if it was measured.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&StatValue> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Sets `key`, keeping its place if it exists.
    pub fn set(&mut self, key: impl Into<StatKey>, value: StatValue) {
        let key = key.into();
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some(slot) => slot.1 = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Sorts the stats from the `first` one on by `rank`.
    pub fn sort_from(&mut self, first: usize, rank: impl Fn(&str) -> usize) {
        if let Some(later) = self.entries.get_mut(first..) {
            later.sort_by_key(|(key, _)| rank(key));
        }
    }

    /// The stats of a group: those of its rows, in order.
    #[must_use]
    pub fn of_group(members: Vec<Self>) -> Self {
        Self {
            entries: SmallVec::new(),
            members,
        }
    }

    /// Of a group, the stats of its rows; empty for any other row.
    #[must_use]
    pub fn members(&self) -> &[Self] {
        &self.members
    }

    /// How many stats there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The stats in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &StatValue)> {
        self.entries.iter().map(|(k, v)| (k.as_ref(), v))
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.members.is_empty()
    }

    /// The stats as a JSON object in order, those of a group as a list of them.
    /// [`JsonText::write`] writes the same faster.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if !self.members.is_empty() {
            return self.members.iter().map(Self::to_json).collect();
        }
        Value::Object(
            self.iter()
                .map(|(k, v)| (k.to_owned(), v.to_json()))
                .collect(),
        )
    }
}

impl JsonText for Stats {
    fn write(&self, out: &mut Vec<u8>) {
        if !self.members.is_empty() {
            return self.members.as_slice().write(out);
        }
        out.push(b'{');
        for (index, (key, value)) in self.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            push_string(key, out);
            out.extend_from_slice(b": ");
            value.write(out);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::python_json;

    fn value() -> impl Strategy<Value = StatValue> {
        let float = || prop_oneof![any::<f64>(), 0.0..1.0, Just(f64::NAN), Just(1.0)];
        let json = prop_oneof![
            Just(Value::Null),
            ".{0,9}".prop_map(Value::from),
            float().prop_map(|v| serde_json::json!({"a": [v, true], "b\n": "\u{1}é"})),
        ];
        prop_oneof![
            any::<i64>().prop_map(StatValue::Int),
            float().prop_map(StatValue::Float),
            prop::collection::vec(any::<i64>(), 0..4).prop_map(|v| StatValue::Ints(v.into())),
            prop::collection::vec(float(), 0..4).prop_map(|v| StatValue::Floats(v.into())),
            json.prop_map(StatValue::Json),
        ]
    }

    proptest! {
        #[test]
        fn stats_are_written_as_their_json(
            entries in prop::collection::vec(("[a-z\"é]{1,5}", value()), 0..6),
        ) {
            let mut stats = Stats::default();
            for (key, value) in entries {
                stats.set(key, value);
            }
            let mut out = Vec::new();
            stats.write(&mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), python_json(&stats.to_json()));
        }
    }
}
