//! Makes a row again of each row of a group.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::op::{BuildContext, Expander, Facts, Field, Operator, ParamError, Part, operator};
use crate::sample::{FieldPath, RowError, Sample, normalise, push_string};

operator! {
    /// Makes several rows of a group: the first of the first values of all lists, and so on.
    ///
    /// Every field must be a list, all of one length; else the row is set aside. The field
    /// `__dj__batch_meta__` is left out. What filters measured of the rows before they were grouped
    /// is theirs again. The rows keep the place and the identity of the group, which is that of its
    /// first row; the ledger tells them apart by `part`. Empty lists give no row.
    ///
    /// ## Example
    /// ```yaml
    /// - naive_reverse_grouper: {}
    /// ```
    /// ```json
    /// {"in": {"text": ["a", "b"], "n": [1e-07, null], "__dj__batch_meta__": {}}, "out": [{"text": "a", "n": 1e-07}, {"text": "b", "n": null}]}
    /// {"in": {"text": []}, "out": []}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `naive_reverse_grouper`: same, but that lists longer than the first one are
    /// cut there, that a text counts as the list of its characters, and that a row which cannot be
    /// taken apart fails the run.
    naive_reverse_grouper: Grouper(Params) => build,
    Facts {
        reads: &[Field::Any],
        writes: &[Field::Any],
        takes_groups: true,
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// A file for the `__dj__batch_meta__` of each row, a JSON line each; relative to the working
    /// directory.
    batch_meta_export_path: Option<String>,
}

/// What aggregators of Data-Juicer say of a whole group.
const BATCH_META: &str = "__dj__batch_meta__";

struct NaiveReverseGrouper {
    notes: Option<PathBuf>,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let written = params.batch_meta_export_path.map(PathBuf::from);
    if written
        .as_ref()
        .is_some_and(|path| path.file_name().is_none())
    {
        let problem = ParamError::new(
            "batch_meta_export_path",
            "batch_meta_export_path is not the name of a file",
        );
        return Err(problem.hint("name one, such as out/groups.jsonl").into());
    }
    let here = context.search.last().cloned().unwrap_or_default();
    let notes = written.map(|path| normalise(here.join(path)));
    Ok(Operator::Expander(Box::new(NaiveReverseGrouper { notes })))
}

impl Expander for NaiveReverseGrouper {
    fn parts(&self, sample: &Sample) -> Result<Vec<Part>, RowError> {
        let members: Vec<(Cow<'_, str>, Cow<'_, str>)> = sample
            .members()
            .filter(|(name, _)| name != BATCH_META)
            .collect();
        let lists: Vec<(&str, Vec<&RawValue>)> = members
            .iter()
            .map(|(name, json)| {
                let items = serde_json::from_str(json)
                    .map_err(|_| wrong(format!("field '{name}' is not a list")))?;
                Ok((name.as_ref(), items))
            })
            .collect::<Result<_, RowError>>()?;
        let Some((first, items)) = lists.first() else {
            return Ok(Vec::new());
        };
        let count = items.len();
        if let Some((name, other)) = lists.iter().find(|(_, list)| list.len() != count) {
            return Err(wrong(format!(
                "field '{name}' has {} items and '{first}' has {count}",
                other.len()
            )));
        }
        if !sample.stats.is_empty() && sample.stats.members().len() != count {
            return Err(wrong("its stats are not those of a group".to_owned()));
        }
        Ok((0..count).map(|index| row(&lists, index)).collect())
    }

    fn notes_path(&self) -> Option<&Path> {
        self.notes.as_deref()
    }

    fn note(&self, sample: &Sample) -> Result<Option<Value>, RowError> {
        if self.notes.is_none() {
            return Ok(None);
        }
        sample.value(&FieldPath::new(BATCH_META))
    }
}

/// The row of the `index`-th values.
fn row(lists: &[(&str, Vec<&RawValue>)], index: usize) -> Part {
    let mut line = Vec::new();
    line.push(b'{');
    for (number, (name, items)) in lists.iter().enumerate() {
        if number > 0 {
            line.extend_from_slice(b", ");
        }
        push_string(name, &mut line);
        line.extend_from_slice(b": ");
        let value = items.get(index).map_or("null", |value| value.get());
        line.extend_from_slice(value.as_bytes());
    }
    line.push(b'}');
    // All of it was text.
    Part::Row(String::from_utf8(line).unwrap_or_default())
}

fn wrong(message: String) -> RowError {
    RowError::new("wrong_type", message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::op::find;
    use crate::sample::{ImageContext, Origin, StatValue, Stats};

    fn sample(line: &str) -> Sample {
        let context = Arc::new(ImageContext::default());
        Sample::parse(line.into(), Origin::default(), context).unwrap()
    }

    #[test]
    fn values_stay_as_they_are_written() {
        let line = r#"{"a":[1.50, "\u00e9"], "b" : [ 12345678901234567890123 ,{"x":[]}]}"#;
        let parts = NaiveReverseGrouper { notes: None }
            .parts(&sample(line))
            .unwrap();
        let row = |line: &str| Part::Row(line.to_owned());
        assert_eq!(
            parts,
            [
                row(r#"{"a": 1.50, "b": 12345678901234567890123}"#),
                row(r#"{"a": "\u00e9", "b": {"x":[]}}"#)
            ]
        );
    }

    #[test]
    fn only_groups_are_taken_apart() {
        for line in [
            r#"{"a": [1], "b": [1, 2]}"#,
            r#"{"a": [1, 2], "b": [1]}"#,
            r#"{"a": "ab"}"#,
            r#"{"a": [1], "b": null}"#,
            r#"{"a": [1], "b": {"0": 1}}"#,
        ] {
            let error = NaiveReverseGrouper { notes: None }
                .parts(&sample(line))
                .unwrap_err();
            assert_eq!(error.code, "wrong_type", "{line}");
        }
        let mut measured = sample(r#"{"a": [1, 2]}"#);
        let mut stats = Stats::default();
        stats.set("n", StatValue::Int(1));
        measured.stats = stats.clone();
        assert!(
            NaiveReverseGrouper { notes: None }
                .parts(&measured)
                .is_err()
        );
        measured.stats = Stats::of_group(vec![Stats::default(), stats.clone()]);
        let parts = NaiveReverseGrouper { notes: None }
            .parts(&measured)
            .unwrap();
        let second = parts.into_iter().nth(1).unwrap().of(&measured, 1).unwrap();
        assert_eq!(second.stats, stats);
        assert_eq!(second.origin().part, 1);
        for empty in ["{}", r#"{"__dj__batch_meta__": 1}"#, r#"{"a": []}"#] {
            assert!(
                NaiveReverseGrouper { notes: None }
                    .parts(&sample(empty))
                    .unwrap()
                    .is_empty()
            );
        }
    }

    #[test]
    fn a_file_must_have_a_name() {
        let def = find("naive_reverse_grouper").unwrap();
        let params = serde_json::from_str(r#"{"batch_meta_export_path": ""}"#).unwrap();
        let problems = def.build(params, &BuildContext::default()).err().unwrap();
        assert_eq!(problems[0].param.as_deref(), Some("batch_meta_export_path"));
    }
}
