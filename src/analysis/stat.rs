//! The stats of a recipe: who measures them, within which bounds, and what their values look like.

use serde_json::Value;

use crate::op::{Operator, size_param};
use crate::recipe::Step;
use crate::record::analysis::BoundsRecord;
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
    /// The parameters that bound it, and their values if they are set.
    pub bounds: [Option<Bound>; 2],
}

/// A parameter that bounds a stat.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Its name, e.g. `max_len`.
    pub param: String,
    /// Its value, if there is one.
    pub value: Option<f64>,
    /// Whether it is written as a size (`20kb`).
    pub is_size: bool,
    /// Whether it must be a whole number.
    pub is_whole: bool,
}

impl Stat {
    /// The lower and the upper bound in force.
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
        let Operator::Filter(filter) = &step.operator else {
            continue;
        };
        let names = filter.stats();
        for name in names {
            if stats.iter().all(|stat| stat.name != *name) {
                stats.push(Stat {
                    name: name.clone(),
                    step: number,
                    op: step.name,
                    bounds: ["min_", "max_"].map(|end| bound(step, end, name, names.len() == 1)),
                });
            }
        }
    }
    stats
}

/// The parameter of `step` that begins with `end` (`min_`, `max_`) and bounds the stat `name`: the
/// only one if the filter has one stat, else the one that ends as the stat's name does
/// (`min_width` bounds `image_width`).
fn bound(step: &Step, end: &str, name: &str, only: bool) -> Option<Bound> {
    let defaults = (step.def.defaults)();
    let schema = (step.def.schema)().to_value();
    let (param, value) = step.params.iter().find(|(param, _)| {
        step.def.bound(param).is_some()
            && param
                .strip_prefix(end)
                .is_some_and(|rest| only || name.ends_with(rest))
    })?;
    let is_size = defaults.get(param).is_some_and(Value::is_string);
    let types = schema.pointer(&format!("/properties/{param}/type"));
    let is_whole = types.is_some_and(|types| types.to_string().contains("\"integer\""));
    let value = match value {
        Value::String(size) => size_param(param, size).ok(),
        other => other.as_f64(),
    };
    // Beyond that no count is exact, and Data-Juicer's defaults for "no bound" begin.
    let value = value.filter(|value| value.abs() < 2_f64.powi(53));
    Some(Bound {
        param: param.clone(),
        value,
        is_size,
        is_whole,
    })
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
            StatValue::Json(value) => match value {
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
            StatValue::Json(Value::Null) => Some(Vec::new()),
            other => other.as_f64().map(|number| vec![number]),
        },
    }
}

/// The bounds of a stat as the analysis writes them; `None` if the recipe has none.
#[must_use]
pub fn bounds_of(stat: &Stat) -> Option<BoundsRecord> {
    let [min, max] = stat.limits();
    (min.is_some() || max.is_some()).then_some(BoundsRecord { min, max })
}
