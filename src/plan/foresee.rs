//! What can be said of a recipe before a row is read: stats and hashes that a step does not make
//! itself because an earlier one has, and the fields that rows are asked for.
//!
//! In all of this Data-Juicer's answer stands; a note says what it is.

use std::collections::{HashMap, HashSet};

use crate::note::{Code, Note};
use crate::op::{ANY_FIELD, OpKind, Operator, RowCondition, SharedHash};
use crate::recipe::{OutputSpec, Recipe, Split, Step, Validation};
use crate::sample::StatKey;

/// What is known of a recipe's steps together.
#[derive(Debug, Default)]
pub struct Foreseen {
    /// All notes, those of the recipe's text first.
    pub notes: Vec<Note>,
    /// For each step: what a filter is to note of a row whose stat an earlier step measured.
    pub shared: Vec<Option<Code>>,
    /// For each step: stats of earlier steps that are older than their field if it changes a row.
    pub outdates: Vec<Vec<StatKey>>,
    /// The fields that rows are asked for.
    pub asked: Vec<Asked>,
}

/// A field that steps or outputs ask rows for, and that no step makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name; below dots the names of fields inside of it.
    pub field: String,
    /// The key of the recipe that names it.
    pub key: String,
    /// The index of the first step that asks for it; `None` where outputs alone do.
    pub step: Option<usize>,
    /// Whether a stat of that name, which came with the rows, does as well.
    pub or_stat: bool,
}

impl Asked {
    /// The field that outputs alone ask for.
    fn of_outputs(field: &str, key: &str) -> Self {
        Self {
            field: field.to_owned(),
            key: key.to_owned(),
            step: None,
            or_stat: false,
        }
    }
}

/// Looks at the steps and outputs of `recipe` together.
#[must_use]
pub fn foresee(recipe: &Recipe) -> Foreseen {
    let steps = &recipe.steps;
    let mut seen = Foreseen {
        notes: recipe.notes.clone(),
        shared: vec![None; steps.len()],
        outdates: vec![Vec::new(); steps.len()],
        asked: asked(recipe),
    };
    shared_stats(steps, &mut seen);
    shared_hashes(steps, &mut seen.notes);
    seen
}

/// `step 2 (text_length_filter)`.
#[must_use]
pub fn named(step: &Step) -> String {
    format!("step {} ({})", step.index + 1, step.name)
}

fn shared_stats(steps: &[Step], seen: &mut Foreseen) {
    // Which step measured each stat that a row has.
    let mut measured: HashMap<StatKey, usize> = HashMap::new();
    for (number, step) in steps.iter().enumerate() {
        if step.spec.kind == OpKind::Grouper {
            // Its groups have the stats of their rows, and none of their own.
            measured.clear();
        }
        let own = &step.spec.stats;
        let from = own.iter().map(|stat| measured.get(&stat.name).copied());
        let from: Option<Vec<usize>> = from.collect();
        match from.filter(|from| !from.is_empty()) {
            Some(from) => {
                let earlier = from.iter().filter_map(|&at| Some((at, steps.get(at)?)));
                let mut told = false;
                for ((at, earlier), stat) in earlier.zip(own) {
                    let between = steps.get(at + 1..number).unwrap_or_default();
                    let note = stat_note(step, earlier, &stat.name);
                    if let (Some(note), false) = (note, told) {
                        told = true;
                        if let Some(slot) = seen.shared.get_mut(number) {
                            *slot = Some(note.code);
                        }
                        seen.notes.push(note.at(number));
                    }
                    let changing = between.iter().filter(|mapper| changes(mapper, earlier));
                    for mapper in changing.clone() {
                        if let Some(outdates) = seen.outdates.get_mut(mapper.index)
                            && !outdates.contains(&stat.name)
                        {
                            outdates.push(stat.name.clone());
                        }
                    }
                    let note = changed_note(step, earlier, &stat.name, changing);
                    let known = |note: &Note| {
                        let mut notes = seen.notes.iter();
                        notes.any(|old| old.code == note.code && old.step == note.step)
                    };
                    let note = note.map(|note| note.at(number));
                    seen.notes.extend(note.filter(|note| !known(note)));
                }
            }
            None => measured.extend(own.iter().map(|stat| (stat.name.clone(), number))),
        }
    }
}

/// What to say of a step that decides by a stat of `earlier`, if that one measured otherwise.
fn stat_note(step: &Step, earlier: &Step, stat: &str) -> Option<Note> {
    let decides = format!("{} decides by {stat} of {}", named(step), named(earlier));
    let fields = |step: &Step| {
        let of_row = step.spec.reads.iter().filter(|name| !is_own(name));
        of_row.cloned().collect::<Vec<_>>()
    };
    let (its, mine) = (fields(earlier), fields(step));
    if its != mine {
        let text = format!(
            "{decides}, which measured {}, and not {}",
            quoted(&its),
            quoted(&mine)
        );
        return Some(Note::new(Code::StatOfOtherField, text));
    }
    if earlier.name != step.name {
        let text = format!("{decides}, which is another operator");
        return Some(Note::new(Code::StatOfOtherStep, text));
    }
    let differing = step.params.iter().find(|(name, value)| {
        let bound = |name: &str| step.spec.bound(name).is_some();
        let decides = step.spec.decides.contains(&name.as_str());
        !bound(name) && !decides && earlier.params.get(*name) != Some(*value)
    });
    let (name, value) = differing?;
    let was = earlier.params.get(name).cloned().unwrap_or_default();
    let text =
        format!("{decides}, which measured with {name}: {was}, and not with {name}: {value}");
    Some(Note::new(Code::StatOfOtherStep, text))
}

fn changed_note<'s>(
    step: &Step,
    earlier: &Step,
    stat: &str,
    mut changing: impl Iterator<Item = &'s Step>,
) -> Option<Note> {
    let first = changing.next()?;
    let and_others = match changing.count() {
        0 => String::new(),
        1 => " and another step".to_owned(),
        more => format!(" and {more} other steps"),
    };
    let what = quoted(&first.spec.writes);
    let text = format!(
        "{} decides by {stat} of {}, measured before {}{and_others} changed {what}",
        named(step),
        named(earlier),
        named(first),
    );
    Some(Note::new(Code::StatBeforeChange, text))
}

/// Whether `step` may change a field that `earlier` measured.
fn changes(step: &Step, earlier: &Step) -> bool {
    let maps = matches!(
        step.spec.kind,
        OpKind::Mapper | OpKind::Expander | OpKind::Census
    );
    let touches = |written: &String| {
        let mut read = earlier.spec.reads.iter().filter(|name| !is_own(name));
        read.any(|read| overlap(written, read))
    };
    maps && step.spec.writes.iter().any(touches)
}

/// Whether two fields are the same, or one lies within the other.
fn overlap(a: &str, b: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    a == ANY_FIELD || b == ANY_FIELD || within(a, b) || within(b, a)
}

/// Whether a field is one that Data-Juicer or djr makes, which rows need not bring along.
fn is_own(name: &str) -> bool {
    name.starts_with(OWN)
}

/// How the names of such fields begin.
const OWN: &str = "__dj__";

/// Fields in a sentence.
fn quoted(fields: &[String]) -> String {
    let names: Vec<String> = fields
        .iter()
        .map(|name| match name.as_str() {
            ANY_FIELD => "any field".to_owned(),
            name => format!("'{name}'"),
        })
        .collect();
    if names.is_empty() {
        return "any field".to_owned();
    }
    names.join(", ")
}

fn shared_hashes(steps: &[Step], notes: &mut Vec<Note>) {
    let mut made: Vec<(SharedHash, &Step)> = Vec::new();
    for step in steps {
        if step.spec.kind == OpKind::Grouper {
            made.clear();
        }
        for hash in step.spec.hashes {
            let Some((_, earlier)) = made.iter().find(|(made, _)| made == hash) else {
                made.push((*hash, step));
                continue;
            };
            let what = match hash {
                SharedHash::Text | SharedHash::Simhash => "text",
                SharedHash::Images => "images",
            };
            let text = format!(
                "{} compares the hashes of the {what} that {} made, with the field and the parameters of that one",
                named(step),
                named(earlier)
            );
            Note::new(Code::HashOfOtherStep, text)
                .at(step.index)
                .add_to(notes);
        }
    }
}

/// The fields that rows must bring along, each once.
fn asked(recipe: &Recipe) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    let mut made: HashSet<&str> = HashSet::new();
    let mut measured: HashSet<&str> = HashSet::new();
    for step in &recipe.steps {
        let or_stat = step.spec.reads_stats();
        let within = match &step.operator {
            Operator::Filter(filter) => filter.fields(),
            _ => Vec::new(),
        };
        let fields = step.spec.reads.iter().chain(&within);
        for field in fields.filter(|name| !is_own(name)) {
            let is_made = made.iter().any(|made| overlap(made, field))
                || or_stat && measured.contains(field.as_str());
            let known = asked.iter().any(|other| other.field == *field);
            // A step that reads a text it also writes may be the one that makes it.
            if field == ANY_FIELD || is_made || known {
                continue;
            }
            asked.push(Asked {
                field: field.clone(),
                key: key_of(recipe, step, field),
                step: Some(step.index),
                or_stat,
            });
        }
        let choice = &step.base.choice;
        let kept_by = choice.survivor.name().map(|name| ("keep", name));
        let merged = choice
            .merge
            .iter()
            .map(|(name, _)| ("merge", name.as_str()));
        for (key, field) in kept_by.into_iter().chain(merged) {
            let is_made = made.iter().any(|made| overlap(made, field))
                || key == "keep" && measured.contains(field);
            let known = asked.iter().any(|other| other.field == *field);
            if is_own(field) || is_made || known {
                continue;
            }
            asked.push(Asked {
                field: field.to_owned(),
                key: format!("{key} of {}", named(step)),
                step: Some(step.index),
                or_stat: key == "keep",
            });
        }
        if step.spec.kind == OpKind::Grouper {
            // Its groups have no stats of their own.
            measured.clear();
        }
        measured.extend(step.spec.stats.iter().map(|stat| stat.name.as_ref()));
        made.extend(step.spec.writes.iter().map(String::as_str));
    }
    let known = |asked: &[Asked], field: &str| {
        let is_made = made.iter().any(|made| overlap(made, field));
        is_own(field) || is_made || asked.iter().any(|other| other.field == field)
    };
    // Data-Juicer looks for all text keys in the rows, although its operators take the first.
    for field in recipe.text_keys.iter().skip(1) {
        if !known(&asked, field) {
            asked.push(Asked::of_outputs(field, "text_keys"));
        }
    }
    let of_rows = |spec: &OutputSpec| matches!(spec.format.origin(&spec.options), Some(origin) if origin.is_rows());
    if let Some(text) = recipe.text_keys.first()
        && recipe.outputs.iter().any(of_rows)
        && !known(&asked, text)
    {
        asked.push(Asked::of_outputs(text, "text_keys"));
    }
    for output in &recipe.outputs {
        asked.extend(asked_by(output, &measured, &|asked_for, field| {
            known(&asked, field) || known(asked_for, field)
        }));
    }
    let checks = |spec: &OutputSpec| spec.validate != Validation::None;
    if recipe.outputs.iter().any(checks) && !known(&asked, &recipe.image_key) {
        asked.push(Asked::of_outputs(&recipe.image_key, "image_key"));
    }
    asked
}

/// The fields that the condition of an output and the key that it is split by ask for, unless they are
/// known; `measured` are the stats that rows have by then.
fn asked_by(
    output: &OutputSpec,
    measured: &HashSet<&str>,
    known: &dyn Fn(&[Asked], &str) -> bool,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    // One that cannot be read is refused with the recipe.
    let condition = output.condition.as_deref().map(RowCondition::parse);
    let names = condition.iter().flatten().flat_map(RowCondition::names);
    for name in names.filter(|name| !measured.contains(name.as_str())) {
        if !known(&asked, &name) {
            asked.push(Asked {
                or_stat: true,
                ..Asked::of_outputs(&name, "where")
            });
        }
    }
    if let Some(Split::Field(field)) = &output.split
        && !known(&asked, field)
    {
        asked.push(Asked::of_outputs(field, "split_by"));
    }
    asked
}

/// The key of the recipe, or the parameter, that names the field a step asks for.
fn key_of(recipe: &Recipe, step: &Step, field: &str) -> String {
    if step.base.text_key.as_str() == field {
        let is_global = recipe.text_keys.first().is_some_and(|key| key == field);
        return if is_global {
            "text_keys".to_owned()
        } else {
            format!("text_key of {}", named(step))
        };
    }
    if step.base.image_key.as_str() == field {
        return "image_key".to_owned();
    }
    let names = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text == field,
        serde_json::Value::Array(items) => items.iter().any(|item| item == field),
        _ => false,
    };
    let mentions = |value: &serde_json::Value| value.as_str().is_some_and(|s| s.contains(field));
    let mut params = step.params.iter();
    let named_so = params.clone().find(|(_, value)| names(value));
    match named_so.or_else(|| params.find(|(_, value)| mentions(value))) {
        Some((param, _)) => format!("{param} of {}", named(step)),
        None => named(step),
    }
}
