//! Conditions over the fields and stats of a row.

use serde_json::Value;

use super::STATS;
use crate::sample::{FieldPath, RowError, Sample, StatValue, float_of, word_of};
use crate::text::python_expr::Condition;
use crate::text::{PyValue, TypeMismatch};

/// A condition in the part of Python that `general_field_filter` describes.
pub struct RowCondition {
    condition: Condition,
    written: String,
}

impl RowCondition {
    /// Reads it.
    ///
    /// # Errors
    /// What is not of that part of Python, and where.
    pub fn parse(written: &str) -> Result<Self, String> {
        Ok(Self {
            condition: Condition::parse(written).map_err(|e| e.to_string())?,
            written: written.to_owned(),
        })
    }

    /// As it is written.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The names that it asks for.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.condition.names().into_iter().map(str::to_owned)
    }

    /// Its value for a row: names are top-level fields, and what filters measured is
    /// `__dj__stats__`.
    ///
    /// # Errors
    /// If it compares what has no order, or a field cannot be read.
    pub fn value(&self, sample: &Sample) -> Result<PyValue, RowError> {
        self.condition.value(&|name: &str| field(sample, name))
    }

    /// Whether it holds for a row: names are top-level fields, and stats where there is no field of
    /// that name.
    ///
    /// # Errors
    /// As [`RowCondition::value`].
    pub fn holds(&self, sample: &Sample) -> Result<bool, RowError> {
        let lookup = |name: &str| -> Result<PyValue, RowError> {
            match sample.stats.get(name) {
                Some(stat) if !sample.has(name) => Ok(python(&StatValue::to_json(stat))),
                _ => field(sample, name),
            }
        };
        Ok(self.condition.value(&lookup)?.is_true())
    }
}

impl From<TypeMismatch> for RowError {
    fn from(mismatch: TypeMismatch) -> Self {
        Self::new("wrong_type", mismatch.to_string())
    }
}

fn field(sample: &Sample, name: &str) -> Result<PyValue, RowError> {
    if name == STATS {
        return Ok(PyValue::from(&sample.stats.to_json()));
    }
    let value = sample.value(&FieldPath::new(name))?;
    Ok(value.as_ref().map_or(PyValue::None, python))
}

/// A field's value as Python has it.
fn python(value: &Value) -> PyValue {
    match value {
        _ if word_of(value).is_some() => PyValue::Float(float_of(value).unwrap_or(f64::NAN)),
        Value::Array(items) => PyValue::List(items.iter().map(python).collect()),
        Value::Object(map) => {
            PyValue::Dict(map.iter().map(|(k, v)| (k.clone(), python(v))).collect())
        }
        other => PyValue::from(other),
    }
}
