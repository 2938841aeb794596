//! The stats of a recipe: who measures them, within which bounds, and what their values look like.

use serde_json::Value;

use crate::op::BoundParam;
use crate::recipe::Step;
use crate::record::analysis::BoundsRecord;
use crate::record::counts::FromData;
use crate::sample::{StatKey, StatValue};

/// One stat that some filter of a recipe measures.
#[derive(Debug, Clone)]
pub struct Stat {
    /// Its name, e.g. `text_len`.
    pub name: StatKey,
    /// The first step that measures it.
    pub step: usize,
    /// That step's operator.
    pub op: &'static str,
    /// What it counts or is measured in; empty for a mere number.
    pub unit: &'static str,
    /// The parameters that bound it, and their values if they are set.
    pub bounds: [Option<Bound>; 2],
}

/// A parameter that bounds a stat.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The parameter.
    pub param: BoundParam,
    /// Its value, if there is one.
    pub value: Option<f64>,
}

impl Stat {
    /// The lower and the upper bound that the recipe sets.
    #[must_use]
    pub fn limits(&self) -> [Option<f64>; 2] {
        let [min, max] = &self.bounds;
        [min, max].map(|bound| bound.as_ref().and_then(|bound| bound.value))
    }
}

/// The stats of the filters of `steps`, in their order, each once.
#[must_use]
pub fn stats_of(steps: &[Step]) -> Vec<Stat> {
    let mut stats: Vec<Stat> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        // What is counted among all rows is measured of none.
        if !step.spec.decides_by_stats() {
            continue;
        }
        for own in &step.spec.stats {
            if stats.iter().all(|stat| stat.name != own.name) {
                let bound = |param: Option<BoundParam>| {
                    param.map(|param| Bound {
                        param,
                        // A bound from the data is found when all rows are known.
                        value: param
                            .value(&step.params)
                            .filter(|_| step.base.data_limit(param.param).is_none()),
                    })
                };
                stats.push(Stat {
                    name: own.name.clone(),
                    step: number,
                    op: step.name,
                    unit: own.unit,
                    bounds: [bound(own.min), bound(own.max)],
                });
            }
        }
    }
    stats
}

/// What the values of a stat look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Some value is a list of numbers.
    pub lists: bool,
    /// Some number has a fraction, or is written with one.
    pub floats: bool,
    /// Some value is neither a number nor a list of numbers.
    pub others: bool,
}

impl Shape {
    /// Takes note of a value.
    pub fn see(&mut self, value: &StatValue) {
        match value {
            StatValue::Int(_) => {}
            StatValue::Float(_) => self.floats = true,
            StatValue::Ints(_) => self.lists = true,
            StatValue::Floats(_) => {
                self.lists = true;
                self.floats = true;
            }
            StatValue::Json(value) => match &**value {
                Value::Null => {}
                Value::Number(number) => self.floats |= number.is_f64(),
                Value::Array(items) if items.iter().all(Value::is_number) => {
                    self.lists = true;
                    self.floats |= items.iter().any(Value::is_f64);
                }
                _ => self.others = true,
            },
        }
    }

    /// Adds what another batch showed.
    pub fn add(&mut self, other: Self) {
        self.lists |= other.lists;
        self.floats |= other.floats;
        self.others |= other.others;
    }
}

/// The numbers of a value; `None` if it is neither a number nor a list of numbers.
#[must_use]
pub fn numbers_of(value: &StatValue) -> Option<Vec<f64>> {
    match value.as_list() {
        Some(list) => Some(list.to_vec()),
        None => match value {
            value if value.as_json() == Some(&Value::Null) => Some(Vec::new()),
            other => other.as_f64().map(|number| vec![number]),
        },
    }
}

/// The bounds of a stat as the analysis writes them, with those `found` in the data; `None` if the
/// recipe has none.
#[must_use]
pub fn bounds_of(stat: &Stat, found: &[FromData]) -> Option<BoundsRecord> {
    let [min, max] = [&stat.bounds[0], &stat.bounds[1]].map(|bound| {
        let bound = bound.as_ref()?;
        let mut found = found.iter();
        match found.find(|found| found.param == bound.param.param) {
            Some(found) => found.value,
            None => bound.value,
        }
    });
    (min.is_some() || max.is_some()).then_some(BoundsRecord { min, max })
}
