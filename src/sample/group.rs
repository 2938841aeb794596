//! One row made of several: each field a list of theirs.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;

use super::{Attachment, Changed, ImageContext, Origin, RowError, Sample, Stats, push_string};

/// A group of rows under way. Fields stand in the order in which they first come up.
#[derive(Default)]
pub struct Group {
    columns: Vec<Column>,
    /// The place of each column, by its name.
    places: HashMap<String, usize>,
    stats: Vec<Stats>,
    attached: Vec<Attachment>,
    rows: usize,
    bytes: usize,
}

/// One field of all rows.
struct Column {
    name: String,
    /// The items of the list as JSON.
    json: String,
    items: usize,
}

const SEPARATOR: &str = ", ";

impl Group {
    /// Appends the values of a row, some fields as the JSON that `others` has for them.
    pub fn push(&mut self, sample: &Sample, others: &[(&str, String)]) {
        for (name, json) in sample.members() {
            let other = others.iter().find(|(other, _)| *other == name);
            let json = other.map_or(json, |(_, other)| Cow::Borrowed(other.as_str()));
            let known = self.places.get(name.as_ref()).copied();
            let place = known.unwrap_or(self.columns.len());
            if known.is_none() {
                self.columns.push(Column {
                    name: name.to_string(),
                    json: String::new(),
                    items: 0,
                });
                self.places.insert(name.into_owned(), place);
            }
            if let Some(column) = self.columns.get_mut(place) {
                column.fill(self.rows);
                self.bytes += json.len() + SEPARATOR.len();
                column.push(&json);
            }
        }
        self.rows += 1;
        self.stats.push(sample.stats.clone());
        self.attached.extend_from_slice(sample.attached());
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes its values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The row; where one of its rows lacks a field, null stands in the list. What was measured of
    /// the rows is kept ([`Stats::members`]), their hashes are not.
    ///
    /// # Errors
    /// Never for rows that were parsed.
    pub fn into_sample(
        mut self,
        origin: Origin,
        context: Arc<ImageContext>,
    ) -> Result<Sample, RowError> {
        let mut line = Vec::with_capacity(self.bytes + 64);
        line.push(b'{');
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.fill(self.rows);
            if index > 0 {
                line.extend_from_slice(SEPARATOR.as_bytes());
            }
            push_string(&column.name, &mut line);
            line.extend_from_slice(b": [");
            line.extend_from_slice(column.json.as_bytes());
            line.push(b']');
        }
        line.push(b'}');
        // All of it was text.
        let line = String::from_utf8(line).unwrap_or_default();
        let mut sample = Sample::parse(line, origin, context)?
            .with_attached(self.attached)
            .with_changed(Changed::All);
        if self.stats.iter().any(|stats| !stats.is_empty()) {
            sample.stats = Stats::of_group(self.stats);
        }
        Ok(sample)
    }
}

impl Column {
    fn push(&mut self, json: &str) {
        if self.items > 0 {
            self.json.push_str(SEPARATOR);
        }
        self.json.push_str(json);
        self.items += 1;
    }

    /// Rows so far that lack the field have null there.
    fn fill(&mut self, rows: usize) {
        while self.items < rows {
            self.push("null");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::StatValue;

    #[test]
    fn rows_become_lists_and_keep_their_stats() {
        let context = Arc::new(ImageContext::default());
        let parse = |line: &str| {
            Sample::parse(line.into(), Origin::default(), Arc::clone(&context)).unwrap()
        };
        let mut group = Group::default();
        let mut first = parse(r#"{"b": 1e-07, "a": "\u00e9", "b":  [2.50] }"#);
        first.stats.set("n", StatValue::Int(1));
        first.set_value("new", serde_json::json!({"x": 1.0}));
        group.push(&first, &[]);
        group.push(
            &parse(r#"{"images": ["i.jpg"], "late": null}"#),
            &[("images", "[\"/i.jpg\"]".to_owned())],
        );
        group.push(&parse("{}"), &[]);
        assert_eq!(group.rows(), 3);
        let sample = group
            .into_sample(Origin::default(), Arc::clone(&context))
            .unwrap();
        assert_eq!(
            sample.line(),
            r#"{"a": ["\u00e9", null, null], "b": [[2.50], null, null], "new": [{"x": 1.0}, null, null], "images": [null, ["/i.jpg"], null], "late": [null, null, null]}"#
        );
        assert_eq!(sample.stats.to_json().to_string(), r#"[{"n":1},{},{}]"#);
    }
}
