//! What filters measured: the `__dj__stats__` of a row.

use std::borrow::Cow;

use serde_json::Value;
use smallvec::SmallVec;

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

/// The stats of one row in the order they were measured. A stat that is present is not measured
/// again: two filters over the same stat share it, even if a mapper changed the text in between
/// (Data-Juicer's rule).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    entries: SmallVec<[(StatKey, StatValue); 4]>,
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

    /// The stats in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &StatValue)> {
        self.entries.iter().map(|(k, v)| (k.as_ref(), v))
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The stats as a JSON object in order.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(
            self.iter()
                .map(|(k, v)| (k.to_owned(), v.to_json()))
                .collect(),
        )
    }
}
