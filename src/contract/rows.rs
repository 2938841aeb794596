//! Rows to try an operator on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Contract, object};
use crate::op::{ImageNeed, OpDef, STATS, SUFFIX};
use crate::sample::{ImageContext, Origin, Sample};

/// Fields before and behind all others, that nobody knows, spelled as hardly anybody would.
pub const UNKNOWN: [&str; 2] = [
    r#""Ω first" : [1e-07, {"b":1,"a":null}]"#,
    r#""zz": "\u00e9\/", "last" :{ }"#,
];

/// The rows of the example of an operator's page.
pub fn of_example(def: &OpDef) -> Vec<Value> {
    let mut rows = Vec::new();
    for line in def.docs {
        let Ok(mut example) = serde_json::from_str::<Map<String, Value>>(line) else {
            continue;
        };
        rows.extend(example.remove("in"));
        if let Some(Value::Array(many)) = example.remove("rows") {
            rows.extend(many);
        }
    }
    rows
}

impl Contract {
    /// The rows that it takes, each once, with fields around them that nobody knows.
    pub(super) fn sound_rows(&self) -> Vec<String> {
        let field = self.field();
        let mut seen = BTreeSet::new();
        let rows = self.rows.iter().filter(|row| {
            let lacks = field.as_ref().is_some_and(|field| row[field].is_null());
            !lacks && seen.insert(row.to_string())
        });
        let rows = rows.take(30).enumerate();
        rows.map(|(number, row)| with_unknown_fields(number, row))
            .collect()
    }

    /// Rows whose fields are empty, missing, null and of every other type.
    pub(super) fn odd_rows(&self) -> Result<Vec<String>, String> {
        let values = [
            json!(null),
            json!(true),
            json!(-3),
            json!(1e300),
            json!(""),
            json!("\u{0}"),
            json!([]),
            json!([null]),
            json!([["x"], 5]),
            json!({}),
            json!({"a": {"b": []}}),
            json!("no/such/file.jpg"),
        ];
        let images = self.rows.iter().map(|row| &row["images"]);
        let mut images = images.filter(|images| images.as_array().is_some_and(|i| !i.is_empty()));
        let usual = json!({
            "text": "a text",
            "images": images.next().cloned().unwrap_or_else(|| json!(["no/such/picture.png"])),
            SUFFIX: ".txt",
            "messages": [],
            "n": 2,
            STATS: {},
        });
        let field = self.field();
        let mut rows = vec![json!({}), usual.clone()];
        rows.extend(self.rows.first().cloned());
        let names = ["text", "images", SUFFIX, "messages", STATS];
        for name in names.into_iter().chain([field.as_deref().unwrap_or("n")]) {
            let mut lacks = object(&usual);
            lacks.shift_remove(name);
            rows.push(Value::Object(lacks));
            for value in &values {
                let mut row = usual.clone();
                row[name] = value.clone();
                rows.push(row);
            }
        }
        // Stats that somebody else wrote, one of them or all, or the filter measures.
        let step = self.build(&self.telling)?;
        let stats: Vec<&str> = step.spec.stats.iter().map(|s| s.name.as_ref()).collect();
        let each = stats.iter().map(std::slice::from_ref);
        for some in each.chain([stats.as_slice()]) {
            for value in &values {
                let mut row = usual.clone();
                let some = some.iter().map(|name| ((*name).to_owned(), value.clone()));
                row[STATS] = Value::Object(some.collect());
                rows.push(row);
            }
        }
        let numbered = rows.into_iter().enumerate();
        Ok(numbered
            .map(|(number, row)| with_unknown_fields(number, &row))
            .collect())
    }

    /// A row by itself.
    pub(super) fn sample(&self, line: &str, want: ImageNeed) -> Result<Sample, String> {
        let context = ImageContext {
            roots: vec![self.root.clone()],
            want,
            ..ImageContext::default()
        };
        let sample = Sample::parse(line.to_owned(), Origin::default(), Arc::new(context));
        sample.map_err(|error| format!("{line}: {error}"))
    }
}

fn with_unknown_fields(number: usize, row: &Value) -> String {
    let [first, last] = UNKNOWN;
    let mut line = format!(r#"{{{first}, "id": "r{number}""#);
    for (name, value) in object(row) {
        if name != "id" {
            let _ = write!(line, ", {}: {value}", Value::from(name));
        }
    }
    let _ = write!(line, ", {last}}}");
    line
}
