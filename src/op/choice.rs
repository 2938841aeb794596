//! What a deduplicator does with rows that are the same: which of them stays, and what it takes over
//! from those that go.

use std::path::PathBuf;

use hashbrown::HashSet;
use serde_json::{Map, Number, Value, json};

use super::{group_key, named_value, rank_number};
use crate::sample::{FieldPath, RowError, Sample};

/// Which of rows that are the same stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Survivor {
    /// The first one.
    #[default]
    First,
    /// The one with the most characters in its text.
    Longest,
    /// The one with the greatest number in a stat or field.
    Max(String),
    /// The one with the least number in a stat or field.
    Min(String),
}

/// How the row that stays takes over a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The values of all rows in a list, each once.
    List,
    /// The sum of their numbers.
    Sum,
    /// Its own value, or if it has none the first one of the others.
    First,
}

/// What is said of duplicates beside how they are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Which of them stays.
    pub survivor: Survivor,
    /// The fields that it takes over.
    pub merge: Vec<(String, Merge)>,
    /// Whether the rows of each cluster are written down.
    pub report: bool,
    /// Files whose rows are known before those of the run.
    pub reference: Vec<PathBuf>,
}

impl Choice {
    /// The keys of a step that say it.
    pub const KEYS: [&'static str; 4] = ["keep", "merge", "report_clusters", "reference"];

    /// Whether all rows must be known before it can be made.
    #[must_use]
    pub fn sees_all_rows(&self) -> bool {
        *self != Self::default()
    }

    /// The keys as a recipe has them; those that say nothing are left out.
    #[must_use]
    pub fn written(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let keep = match &self.survivor {
            Survivor::First => None,
            Survivor::Longest => Some(json!("longest")),
            Survivor::Max(name) => Some(json!({ "max": name })),
            Survivor::Min(name) => Some(json!({ "min": name })),
        };
        map.extend(keep.map(|keep| ("keep".to_owned(), keep)));
        if !self.merge.is_empty() {
            let fields = self.merge.iter();
            let fields = fields.map(|(field, how)| (field.clone(), how.word().into()));
            map.insert("merge".to_owned(), Value::Object(fields.collect()));
        }
        if self.report {
            map.insert("report_clusters".to_owned(), true.into());
        }
        if !self.reference.is_empty() {
            let files = self
                .reference
                .iter()
                .map(|file| file.to_string_lossy().into_owned());
            map.insert("reference".to_owned(), files.collect::<Vec<_>>().into());
        }
        map
    }
}

impl Survivor {
    /// Reads `first`, `longest`, `{max: NAME}` or `{min: NAME}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(written: &Value) -> Result<Self, String> {
        let wrong = || format!("'{written}' does not say which duplicate stays");
        match written {
            Value::Null => Ok(Self::First),
            Value::String(word) => match word.as_str() {
                "first" => Ok(Self::First),
                "longest" => Ok(Self::Longest),
                _ => Err(wrong()),
            },
            Value::Object(map) => {
                let mut entries = map.iter();
                match (entries.next(), entries.next()) {
                    (Some((end, Value::String(name))), None) if !name.is_empty() => {
                        match end.as_str() {
                            "max" => Ok(Self::Max(name.clone())),
                            "min" => Ok(Self::Min(name.clone())),
                            _ => Err(wrong()),
                        }
                    }
                    _ => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }

    /// The stat or field that is looked at.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::First | Self::Longest => None,
            Self::Max(name) | Self::Min(name) => Some(name),
        }
    }

    /// How good a row is, the greater the better; `None` where the order of the rows decides, NaN
    /// for a row without a number, which no other is worse than.
    ///
    /// # Errors
    /// Those of reading the field.
    pub fn rank(&self, sample: &Sample, text_key: &FieldPath) -> Result<Option<f64>, RowError> {
        let number = |name: &str| -> Result<f64, RowError> {
            let value = named_value(sample, name)?;
            Ok(value.as_ref().and_then(rank_number).unwrap_or(f64::NAN))
        };
        Ok(match self {
            Self::First => None,
            #[expect(clippy::cast_precision_loss, reason = "a text is shorter than 2^53")]
            Self::Longest => Some(
                sample
                    .text(text_key)?
                    .map_or(f64::NAN, |text| text.chars().count() as f64),
            ),
            Self::Max(name) => Some(number(name)?),
            Self::Min(name) => Some(-number(name)?),
        })
    }
}

impl Merge {
    /// Reads the word of a recipe.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::List, Self::Sum, Self::First]
            .into_iter()
            .find(|how| how.word() == word)
    }

    /// The word for it in a recipe.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Sum => "sum",
            Self::First => "first",
        }
    }

    /// The value that the row which stays gets, of its `own` and those of all rows of the cluster
    /// in input order, its own among them; `None` where it keeps what it has.
    #[must_use]
    pub fn of(self, own: &Value, all: &[Value]) -> Option<Value> {
        let known = || all.iter().filter(|value| !value.is_null());
        match self {
            Self::List => {
                let mut list: Vec<Value> = Vec::new();
                let mut listed = HashSet::new();
                for value in known() {
                    let items = match value {
                        Value::Array(items) => items.as_slice(),
                        one => std::slice::from_ref(one),
                    };
                    for item in items {
                        if listed.insert(group_key(std::slice::from_ref(item))) {
                            list.push(item.clone());
                        }
                    }
                }
                (known().next().is_some()).then_some(Value::Array(list))
            }
            Self::Sum => sum(&known().filter_map(number).collect::<Vec<_>>()),
            Self::First if own.is_null() => known().next().cloned(),
            Self::First => None,
        }
    }
}

/// A number, or a text that is one: cells of tables are texts.
fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(whole) => Some(whole.into()),
            Err(_) => rank_number(value).and_then(Number::from_f64),
        },
        _ => None,
    }
}

/// Whole numbers stay whole, unless their sum needs more than 64 bits.
fn sum(numbers: &[Number]) -> Option<Value> {
    if numbers.is_empty() {
        return None;
    }
    let whole = numbers.iter().map(Number::as_i64);
    let whole = whole.collect::<Option<Vec<i64>>>();
    let whole = whole.and_then(|all| all.into_iter().try_fold(0_i64, i64::checked_add));
    Some(match whole {
        Some(sum) => sum.into(),
        None => numbers
            .iter()
            .filter_map(Number::as_f64)
            .sum::<f64>()
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_written_again() {
        for written in [
            json!("longest"),
            json!({"max": "image_width"}),
            json!({"min": "meta.score"}),
        ] {
            let choice = Choice {
                survivor: Survivor::parse(&written).unwrap(),
                ..Choice::default()
            };
            assert_eq!(choice.written()["keep"], written);
            assert!(choice.sees_all_rows());
        }
        assert_eq!(Survivor::parse(&json!("first")), Ok(Survivor::First));
        for wrong in [
            json!("last"),
            json!({"max": 3}),
            json!({"max": ""}),
            json!({"most": "x"}),
            json!({"max": "a", "min": "b"}),
            json!({}),
            json!(true),
        ] {
            assert!(Survivor::parse(&wrong).is_err(), "{wrong}");
        }
        assert!(!Choice::default().sees_all_rows() && Choice::default().written().is_empty());
    }

    #[test]
    fn fields_are_taken_over() {
        let null = Value::Null;
        for (how, own, all, expected) in [
            (
                Merge::List,
                json!("b"),
                json!(["a", "b", null, "a"]),
                json!(["a", "b"]),
            ),
            (
                Merge::List,
                json!(["x", 1]),
                json!([["x", 1], 1.0, ["y"]]),
                json!(["x", 1, "y"]),
            ),
            (Merge::List, null.clone(), json!([null, null]), null.clone()),
            (Merge::Sum, json!(1), json!([1, 2, null, "x", 3]), json!(6)),
            (Merge::Sum, json!(1), json!([1, 0.5]), json!(1.5)),
            (Merge::Sum, json!("2"), json!(["2", " 3"]), json!(5)),
            (Merge::Sum, json!("2"), json!(["2", "0.5", [7]]), json!(2.5)),
            (Merge::Sum, null.clone(), json!(["x"]), null.clone()),
            (
                Merge::First,
                null.clone(),
                json!([null, null, 2, 3]),
                json!(2),
            ),
            (Merge::First, json!(5), json!([1, 5]), null.clone()),
        ] {
            let all = all.as_array().unwrap();
            let found = how.of(&own, all).unwrap_or_default();
            assert_eq!(found, expected, "{how:?} {all:?}");
        }
        let most = json!([i64::MAX, 1]);
        let found = Merge::Sum.of(&null, most.as_array().unwrap());
        assert_eq!(found, Some(json!(9_223_372_036_854_775_807_f64)));
    }
}
