//! Whether an operator touches the fields that it declares, and no others.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Contract;
use crate::op::{ANY_FIELD, Outcome, Setting};
use crate::recipe::Step;
use crate::sample::Sample;
use crate::service::{Host, run_alone};

/// What an operator left of one row: the fields that it changed or added (`None`: removed), what it
/// measured, and what it said.
#[derive(Debug, PartialEq)]
struct Left {
    changed: BTreeMap<String, Option<String>>,
    stats: Value,
    said: String,
}

impl Contract {
    /// It changes only fields that it declares as written, and what it says depends only on fields that
    /// it declares as read: it says the same of the row without all the others.
    ///
    /// # Errors
    /// If not.
    pub fn touches_only_what_it_declares(&self) -> Result<(), String> {
        if self.asks_a_model() {
            return Ok(());
        }
        let step = self.build(&self.telling)?;
        let (reads, writes) = (&step.spec.reads, &step.spec.writes);
        let any = |fields: &[String]| fields.iter().any(|field| field == ANY_FIELD);
        // A dotted name is a field within another one, unless a field has that very name.
        let is_of = |fields: &[String], name: &str| {
            fields.iter().any(|field| {
                field == name || field.split('.').next().is_some_and(|head| head == name)
            })
        };
        for line in self.sound_rows() {
            let whole = left_by(&step, self.sample(&line, step.spec.images)?);
            for name in whole.changed.keys() {
                if !any(writes) && !is_of(writes, name) {
                    return Err(format!(
                        "changes '{name}', which it does not declare: {line}"
                    ));
                }
            }
            if any(reads) {
                continue;
            }
            let row: Map<String, Value> = serde_json::from_str(&line).map_err(|e| e.to_string())?;
            let needed = row
                .into_iter()
                .filter(|(name, _)| is_of(reads, name) || is_of(writes, name));
            let rest = Value::Object(needed.collect()).to_string();
            let alone = left_by(&step, self.sample(&rest, step.spec.images)?);
            if alone != whole {
                return Err(format!(
                    "says another thing of the row without the fields that it does not read: {alone:?} of {rest}, {whole:?} of {line}"
                ));
            }
        }
        Ok(())
    }
}

/// Runs a step on a row.
fn left_by(step: &Step, mut sample: Sample) -> Left {
    let fields = |sample: &Sample| -> BTreeMap<String, String> {
        let members = sample.members();
        members
            .map(|(name, json)| (name.into_owned(), json.into_owned()))
            .collect()
    };
    let before = fields(&sample);
    let setting = Setting {
        collects: step.is_exchange(),
        ..Setting::default()
    };
    let host = Host::default();
    let said = match run_alone(&step.operator, &step.spec, &mut sample, &setting, &host) {
        Err(error) => format!("error {}", error.code),
        // The decision tells the stat, which is compared.
        Ok(Outcome::Dropped(_)) => "dropped".to_owned(),
        Ok(other) => format!("{other:?}"),
    };
    let after = fields(&sample);
    let mut changed: BTreeMap<String, Option<String>> = after
        .iter()
        .filter(|(name, json)| before.get(*name) != Some(json))
        .map(|(name, json)| (name.clone(), Some(json.clone())))
        .collect();
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changed.extend(gone.map(|name| (name.clone(), None)));
    Left {
        changed,
        stats: sample.stats.to_json(),
        said,
    }
}
