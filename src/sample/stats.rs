//! What filters measured: the `__dj__stats__` of a row.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Value;
use smallvec::SmallVec;

use super::json::{JsonText, push_string};
use super::{float_of, frame};
use crate::text::ujson_round_trip;

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
    /// Anything else (copied field values, texts, null). Rare, so that the others are small.
    Json(Box<Value>),
}

impl StatValue {
    /// Any JSON value, taken as it is ([`StatValue::from_json`] looks at it).
    #[must_use]
    pub fn json(value: impl Into<Value>) -> Self {
        Self::Json(Box::new(value.into()))
    }

    /// The value null.
    #[must_use]
    pub fn null() -> Self {
        Self::json(Value::Null)
    }

    /// The value, if it is neither a number nor a list of numbers that was measured.
    #[must_use]
    pub fn as_json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            _ => None,
        }
    }

    /// The value as a number; `None` for lists, texts and null.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
            Self::Int(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            Self::Json(v) => float_of(v),
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
            Self::Json(v) => v.as_array()?.iter().map(float_of).collect(),
            Self::Int(_) | Self::Float(_) => None,
        }
    }

    /// The value that JSON has: whole numbers are counts, numbers with a point floats.
    #[must_use]
    pub fn from_json(value: Value) -> Self {
        match &value {
            Value::Number(n) if n.is_i64() => Self::Int(n.as_i64().unwrap_or_default()),
            Value::Number(n) if n.is_f64() => Self::Float(n.as_f64().unwrap_or_default()),
            Value::Array(items) if !items.is_empty() => {
                if let Some(ints) = items.iter().map(Value::as_i64).collect() {
                    Self::Ints(ints)
                } else if items.iter().all(Value::is_f64) {
                    Self::Floats(items.iter().filter_map(Value::as_f64).collect())
                } else {
                    Self::json(value)
                }
            }
            _ => Self::json(value),
        }
    }

    /// Whether [`Self::from_json`] makes the same of what [`Self::to_json`] gives.
    fn is_as_json_has_it(&self) -> bool {
        match self {
            Self::Int(_) => true,
            Self::Float(value) => value.is_finite(),
            Self::Ints(list) => !list.is_empty(),
            Self::Floats(list) => !list.is_empty() && list.iter().all(|v| v.is_finite()),
            Self::Json(_) => false,
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
            Self::Json(v) => (**v).clone(),
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

/// The stats by name, in order, as they were measured; those of a group's rows are not among them.
impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter_exact())
    }
}

impl StatValue {
    /// The value after its way through JSON text, as Data-Juicer 1.6.1 passes stats from operator
    /// to operator; `None` if it comes back as it was.
    #[must_use]
    pub fn rounded(&self) -> Option<Self> {
        match self {
            Self::Float(value) => match ujson_round_trip(*value) {
                Some(read) if read.to_bits() == value.to_bits() => None,
                Some(read) => Some(Self::Float(read)),
                None => Some(Self::null()),
            },
            Self::Floats(list) => {
                let read: SmallVec<_> = list
                    .iter()
                    .map(|&value| ujson_round_trip(value).unwrap_or(f64::NAN))
                    .collect();
                (read != *list).then_some(Self::Floats(read))
            }
            Self::Json(value) => {
                let read = rounded_within(value);
                (read != **value).then(|| Self::json(read))
            }
            Self::Int(_) | Self::Ints(_) => None,
        }
    }
}

/// A field that was copied into the stats, with its floats as they come back.
fn rounded_within(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .and_then(ujson_round_trip)
            .map_or(Value::Null, Value::from),
        Value::Array(items) => items.iter().map(rounded_within).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), rounded_within(value)))
            .collect(),
        other => other.clone(),
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

/// One stat of a row.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    key: StatKey,
    /// What operators see and exports have.
    value: StatValue,
    /// What was measured, where rounding made another value of it.
    exact: Option<StatValue>,
    /// Whether it was measured here, so that it may be rounded; else it came with the row.
    measured: bool,
    /// Whether what it was measured on was changed since.
    stale: bool,
}

impl Entry {
    /// Whether it is the stat called `key`. Names of stats are constants most of the time: then no
    /// byte is looked at.
    fn is(&self, key: &str) -> bool {
        std::ptr::eq(self.key.as_ref(), key) || self.key == key
    }

    /// Rounds what was measured, for operators.
    fn round(&mut self) {
        if let Some(rounded) = self.value.rounded() {
            self.exact = Some(std::mem::replace(&mut self.value, rounded));
        }
    }
}

/// Bits of a stat in a frame: it was measured here.
const MEASURED: u8 = 1;
/// What it was measured on was changed since.
const STALE: u8 = 2;
/// What it was rounded to follows.
const ROUNDED: u8 = 4;
/// It was rounded, and is again when it is read back.
const ROUNDED_ANEW: u8 = 8;

/// Where a stat comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatSource {
    /// It came with the row.
    Given,
    /// It was measured in this run.
    Measured,
    /// It was measured in this run, and what it was measured on was changed since.
    Stale,
}

/// The stats of one row in the order they were measured. A stat that is present is not measured
/// again: two filters over the same stat share it, even if a mapper changed the text in between
/// (Data-Juicer's rule).
///
/// Operators see a stat as Data-Juicer passes it on, which is rounded; what was measured is kept
/// beside it for those who tell of the row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    entries: SmallVec<[Entry; 4]>,
    /// Those of the rows that a group is made of; the group itself has none.
    members: Vec<Stats>,
}

impl Stats {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.members.clear();
    }

    /// The stat called `key`, if it was measured.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&StatValue> {
        self.entries.iter().find(|e| e.is(key)).map(|e| &e.value)
    }

    /// The stat called `key` before it was rounded.
    #[must_use]
    pub fn exact(&self, key: &str) -> Option<&StatValue> {
        let entry = self.entries.iter().find(|e| e.is(key))?;
        Some(entry.exact.as_ref().unwrap_or(&entry.value))
    }

    /// Sets `key` to a value that is taken as it is, keeping its place if it exists.
    pub fn set(&mut self, key: impl Into<StatKey>, value: StatValue) {
        self.put(Entry {
            key: key.into(),
            value,
            exact: None,
            measured: false,
            stale: false,
        });
    }

    /// Sets `key` to what was measured, rounded for operators if `round`.
    pub fn set_measured(&mut self, key: impl Into<StatKey>, exact: StatValue, round: bool) {
        let rounded = if round { exact.rounded() } else { None };
        let (value, exact) = match rounded {
            Some(value) => (value, Some(exact)),
            None => (exact, None),
        };
        self.put(Entry {
            key: key.into(),
            value,
            exact,
            measured: true,
            stale: false,
        });
    }

    fn put(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|e| e.is(&entry.key)) {
            Some(slot) => *slot = entry,
            None => self.entries.push(entry),
        }
    }

    /// Where the stat called `key` comes from, if it is there.
    #[must_use]
    pub fn source(&self, key: &str) -> Option<StatSource> {
        let entry = self.entries.iter().find(|e| e.is(key))?;
        Some(match (entry.measured, entry.stale) {
            (false, _) => StatSource::Given,
            (true, false) => StatSource::Measured,
            (true, true) => StatSource::Stale,
        })
    }

    /// What the stat called `key` was measured on has changed.
    pub fn outdate(&mut self, key: &str) {
        for entry in self.entries.iter_mut().filter(|e| e.is(key)) {
            entry.stale = entry.measured;
        }
    }

    /// Whether the stat called `key` was changed by rounding.
    #[must_use]
    pub fn is_rounded(&self, key: &str) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|e| e.exact.is_some() && e.is(key))
    }

    /// Lets operators see exact values where they saw rounded ones, and the other way round when
    /// called again.
    pub fn swap_exact(&mut self) {
        for entry in &mut self.entries {
            if let Some(exact) = &mut entry.exact {
                std::mem::swap(exact, &mut entry.value);
            }
        }
    }

    /// Counts every stat as measured and rounds it for operators: read from JSON they are neither.
    pub fn remeasure(&mut self) {
        self.members.iter_mut().for_each(Self::remeasure);
        for entry in &mut self.entries {
            entry.measured = true;
            entry.round();
        }
    }

    /// Appends all that is known of them to the frame of a row that waits on disk. What JSON writes
    /// null for comes back as null.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::number(self.members.len() as u64, out);
        self.members.iter().for_each(|member| member.encode(out));
        frame::number(self.entries.len() as u64, out);
        for entry in &self.entries {
            let exact = entry.exact.as_ref().unwrap_or(&entry.value);
            let is_plain = exact.is_as_json_has_it();
            let rounded = match (entry.exact.is_some(), is_plain) {
                (false, _) => 0,
                (true, true) => ROUNDED,
                (true, false) => ROUNDED_ANEW,
            };
            let measured = u8::from(entry.measured) * MEASURED;
            let stale = u8::from(entry.stale) * STALE;
            out.push(measured | stale | rounded);
            frame::bytes(entry.key.as_bytes(), out);
            if is_plain {
                frame::value(exact, out);
            } else {
                frame::value(&StatValue::json(exact.to_json()), out);
            }
            if rounded == ROUNDED {
                frame::value(&entry.value, out);
            }
        }
    }

    /// Takes those that [`Self::encode`] wrote.
    #[must_use]
    pub fn decode(from: &mut &[u8]) -> Option<Self> {
        let mut stats = Self::default();
        for _ in 0..frame::take_number(from)? {
            stats.members.push(Self::decode(from)?);
        }
        for _ in 0..frame::take_number(from)? {
            let flags = frame::take_byte(from)?;
            let key = frame::take_text(from)?.into();
            let value = match frame::take_value(from)? {
                StatValue::Json(value) => StatValue::from_json(*value),
                value => value,
            };
            let mut entry = Entry {
                key,
                value,
                exact: None,
                measured: flags & MEASURED != 0,
                stale: flags & STALE != 0,
            };
            if flags & ROUNDED != 0 {
                let rounded = frame::take_value(from)?;
                entry.exact = Some(std::mem::replace(&mut entry.value, rounded));
            } else if flags & ROUNDED_ANEW != 0 {
                entry.round();
            }
            stats.entries.push(entry);
        }
        Some(stats)
    }

    /// Sorts the stats from the `first` one on by `rank`.
    pub fn sort_from(&mut self, first: usize, rank: impl Fn(&str) -> usize) {
        if let Some(later) = self.entries.get_mut(first..) {
            later.sort_by_key(|e| rank(&e.key));
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
        self.entries.iter().map(|e| (e.key.as_ref(), &e.value))
    }

    /// The stats in order, as they were measured.
    pub fn iter_exact(&self) -> impl Iterator<Item = (&str, &StatValue)> {
        self.entries
            .iter()
            .map(|e| (e.key.as_ref(), e.exact.as_ref().unwrap_or(&e.value)))
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
            json.prop_map(StatValue::json),
        ]
    }

    #[test]
    fn only_what_was_measured_is_rounded() {
        let mut stats = Stats::default();
        stats.set("given", StatValue::Float(0.123_456_789_012));
        stats.set_measured("ratio", StatValue::Float(0.3), true);
        stats.set_measured("half", StatValue::Float(0.5), true);
        stats.set_measured("kept", StatValue::Float(0.3), false);
        let third = StatValue::Floats([1.0, 1.0 / 3.0].into_iter().collect());
        stats.set_measured("list", third.clone(), true);
        let text = |stats: &Stats| python_json(&stats.to_json());
        let rounded = r#"{"given": 0.123456789012, "ratio": 0.30000000000000004, "half": 0.5, "kept": 0.3, "list": [1.0, 0.33333333330000003]}"#;
        assert_eq!(text(&stats), rounded);
        assert_eq!(stats.exact("ratio"), Some(&StatValue::Float(0.3)));
        assert_eq!(stats.exact("list"), Some(&third));
        assert!(stats.is_rounded("ratio") && !stats.is_rounded("half"));
        let mut swapped = stats.clone();
        swapped.swap_exact();
        let exact: Vec<_> = stats.iter_exact().collect();
        assert_eq!(swapped.iter().collect::<Vec<_>>(), exact);
        swapped.swap_exact();
        assert_eq!(swapped, stats);
        // Measured anew, a stat that came with the row is one of ours.
        stats.set_measured("given", StatValue::Float(0.3), true);
        assert_eq!(stats.source("given"), Some(StatSource::Measured));
    }

    #[test]
    fn a_null_stat_is_what_infinity_comes_back_as() {
        let mut stats = Stats::default();
        stats.set_measured("x", StatValue::Float(f64::INFINITY), true);
        assert_eq!(stats.get("x"), Some(&StatValue::null()));
        let field = serde_json::json!({"a": [0.3, 1, "0.3"]});
        stats.set_measured("y", StatValue::json(field), true);
        assert_eq!(
            stats.get("y"),
            Some(&StatValue::json(
                serde_json::json!({"a": [0.300_000_000_000_000_04, 1, "0.3"]})
            ))
        );
    }

    proptest! {
        #[test]
        fn stats_come_back_from_disk_as_json_has_them(
            entries in prop::collection::vec(("[a-z\"é]{1,5}", value(), 0..4), 0..6),
            members in 0..3_usize,
        ) {
            let mut stats = Stats::default();
            for (key, value, kind) in entries {
                match kind {
                    0 => stats.set(key.clone(), value),
                    kind => stats.set_measured(key.clone(), value, kind > 1),
                }
                if kind == 3 {
                    stats.outdate(&key);
                }
            }
            let json = |stats: &Stats| {
                let entries = |e: &Entry| {
                    let exact = e.exact.as_ref().unwrap_or(&e.value).to_json();
                    (e.key.to_string(), e.value.to_json(), exact, e.measured, e.stale)
                };
                stats.entries.iter().map(entries).collect::<Vec<_>>()
            };
            let was = json(&stats);
            if members > 0 {
                stats = Stats::of_group(vec![stats; members]);
            }
            let mut out = b"before".to_vec();
            stats.encode(&mut out);
            let mut from = &out[6..];
            let back = Stats::decode(&mut from).unwrap();
            prop_assert!(from.is_empty());
            prop_assert_eq!(back.members.len(), members);
            for back in back.members.iter().chain((members == 0).then_some(&back)) {
                prop_assert_eq!(json(back), was.clone());
            }
            for end in 6..out.len() {
                prop_assert!(Stats::decode(&mut &out[6..end]).is_none());
            }
        }

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
