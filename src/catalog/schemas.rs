//! JSON Schemas of what runs leave and of what commands answer, from the types that write them.

use std::fmt::Write as _;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

use super::schema::recipe_schema;
use crate::answer::{
    AnalyzeAnswer, Answer, CacheAnswer, CheckAnswer, CleanAnswer, DiffAnswer, IndexAnswer,
    LsAnswer, OpsAnswer, ReportAnswer, RunAnswer, TasksAnswer, VerifyAnswer, WhyAnswer,
};
use crate::record::{Analysis, LedgerEntry, Manifest, QuarantineEntry, StatsRow};
use crate::report::log::LogLine;

/// A kind of document.
struct Document {
    name: &'static str,
    /// What it is, and where it is found.
    about: &'static str,
    schema: fn(&str) -> Value,
}

/// A row that a step changed or dropped, as Data-Juicer's tracer writes it.
#[derive(Serialize, JsonSchema)]
struct TraceLine {
    /// Of a filter or deduplicator, or of a mapper in whose rows texts stand: the text before.
    #[serde(skip_serializing_if = "Option::is_none")]
    original_text: Option<String>,
    /// Of a mapper: the text after.
    #[serde(skip_serializing_if = "Option::is_none")]
    processed_text: Option<String>,
}

const DOCUMENTS: &[Document] = &[
    Document {
        name: "recipe",
        about: "A recipe. docs/RECIPE.md explains its keys, recipes/OPERATORS.md its operators.",
        schema: |_| recipe_schema(),
    },
    Document {
        name: "manifest",
        about: "`manifest.json` in a run's directory: what was run, on what, with which outcome.",
        schema: of::<Manifest>,
    },
    Document {
        name: "ledger",
        about: "A line of `ledger.jsonl.zst` in a run's directory: what became of a row.",
        schema: of::<LedgerEntry<'static>>,
    },
    Document {
        name: "quarantine",
        about: "A line of `quarantine.jsonl` in a run's directory: a row that was set aside, or that an output refused, verbatim.",
        schema: of::<QuarantineEntry<'static>>,
    },
    Document {
        name: "stats",
        about: "A line of `stats.jsonl.zst` in a run's directory, or of an analysis' `stats.jsonl`: what was measured of a row.",
        schema: of::<StatsRow<'static>>,
    },
    Document {
        name: "analysis",
        about: "`analysis.json` in the directory of an analysis: what was found of all rows (docs/ANALYSIS.md).",
        schema: of::<Analysis>,
    },
    Document {
        name: "trace",
        about: "A line of `trace/sample_trace-OPERATOR.jsonl` in a run's directory (`open_tracer`), as Data-Juicer writes it: fields of `trace_keys` stand beside these, and of a filter or a deduplicator the row's own.",
        schema: of::<TraceLine>,
    },
    Document {
        name: "log",
        about: "A line on standard error with `--log-format json`.",
        schema: of::<LogLine>,
    },
    Document {
        name: "run",
        about: "The answer of `djr run --json`.",
        schema: of::<Answer<RunAnswer>>,
    },
    Document {
        name: "plan",
        about: "The answer of `djr plan --json`.",
        schema: of::<Answer<TasksAnswer>>,
    },
    Document {
        name: "next",
        about: "The answer of `djr next --json`.",
        schema: of::<Answer<TasksAnswer>>,
    },
    Document {
        name: "task",
        about: "The answer of `djr task --json`.",
        schema: of::<Answer<TasksAnswer>>,
    },
    Document {
        name: "finish",
        about: "The answer of `djr finish --json`: that of a run.",
        schema: of::<Answer<RunAnswer>>,
    },
    Document {
        name: "recut",
        about: "The answer of `djr recut --json`: that of a run.",
        schema: of::<Answer<RunAnswer>>,
    },
    Document {
        name: "subset",
        about: "The answer of `djr subset --json`: that of a run.",
        schema: of::<Answer<RunAnswer>>,
    },
    Document {
        name: "convert",
        about: "The answer of `djr convert --json`: that of a run.",
        schema: of::<Answer<RunAnswer>>,
    },
    Document {
        name: "decontaminate",
        about: "The answer of `djr decontaminate --json`: that of a run.",
        schema: of::<Answer<RunAnswer>>,
    },
    Document {
        name: "index",
        about: "The answer of `djr index --json`.",
        schema: of::<Answer<IndexAnswer>>,
    },
    Document {
        name: "cache",
        about: "The answer of `djr cache stat|verify|gc --json`.",
        schema: of::<Answer<CacheAnswer>>,
    },
    Document {
        name: "check",
        about: "The answer of `djr check --json`.",
        schema: of::<Answer<CheckAnswer>>,
    },
    Document {
        name: "analyze",
        about: "The answer of `djr analyze --json`.",
        schema: of::<Answer<AnalyzeAnswer>>,
    },
    Document {
        name: "why",
        about: "The answer of `djr why --json`.",
        schema: of::<Answer<WhyAnswer>>,
    },
    Document {
        name: "verify",
        about: "The answer of `djr verify --json`.",
        schema: of::<Answer<VerifyAnswer>>,
    },
    Document {
        name: "diff",
        about: "The answer of `djr diff --json`.",
        schema: of::<Answer<DiffAnswer>>,
    },
    Document {
        name: "report",
        about: "The answer of `djr report --json`.",
        schema: of::<Answer<ReportAnswer>>,
    },
    Document {
        name: "ls",
        about: "The answer of `djr ls --json`.",
        schema: of::<Answer<LsAnswer>>,
    },
    Document {
        name: "clean",
        about: "The answer of `djr clean --json`.",
        schema: of::<Answer<CleanAnswer>>,
    },
    Document {
        name: "ops",
        about: "The answer of `djr ops --json`.",
        schema: of::<Answer<OpsAnswer>>,
    },
];

fn of<T: JsonSchema>(title: &str) -> Value {
    // Of what is written: what has a default is there, what is left out need not be.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = SchemaGenerator::new(settings).into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    if let Value::Object(schema) = &mut schema {
        schema.insert("title".into(), format!("djr {title}").into());
    }
    unlink(&mut schema);
    schema
}

/// Takes links to the source out of descriptions: readers of a schema have no source at hand.
fn unlink(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" => *text = unlinked(text),
                    field => unlink(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unlink),
        _ => {}
    }
}

/// A text whose links to items of the source are their names; those in parentheses are gone.
fn unlinked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((item, after)) = link.split_once("`]") else {
            break;
        };
        let in_parentheses = before.strip_suffix(" (").zip(after.strip_prefix(')'));
        if let Some((before, after)) = in_parentheses {
            out.push_str(before);
            rest = after;
        } else {
            let name = item.rsplit("::").next().unwrap_or(item);
            let _ = write!(out, "{before}`{name}`");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The names of all documents that have a schema.
#[must_use]
pub fn schema_names() -> Vec<&'static str> {
    DOCUMENTS.iter().map(|document| document.name).collect()
}

/// The JSON Schema of a document.
#[must_use]
pub fn schema_of(name: &str) -> Option<Value> {
    let document = DOCUMENTS.iter().find(|document| document.name == name)?;
    Some((document.schema)(document.name))
}

/// The page of all documents but recipes.
#[must_use]
pub fn schemas_markdown() -> String {
    let mut out = String::from(
        "# What runs leave, and what commands answer\n\n\
         Generated from the types that write them; `DJR_BLESS=1 cargo test --test cli schemas` rewrites it.\n\n\
         Every document has a JSON Schema: `djr schema NAME`. Records and answers carry `format`, a version of records and one of answers: \
         a reader of one major version understands all its minor ones, which only add. With `--json` a command \
         prints one object, the answer, on standard output, whatever its exit code; messages stay on standard \
         error (`--quiet` silences them, `--log-format json` makes each an object, too).\n",
    );
    for document in DOCUMENTS
        .iter()
        .filter(|document| document.name != "recipe")
    {
        let schema = (document.schema)(document.name);
        let _ = write!(
            out,
            "\n## {}\n\n{}\n\n| field | type | meaning |\n|---|---|---|\n",
            document.name, document.about
        );
        let mut table = Table {
            root: &schema,
            out: &mut out,
        };
        table.fields("", &schema, 0);
    }
    out
}

/// Writes the fields of a schema as rows of a table.
struct Table<'a> {
    root: &'a Value,
    out: &'a mut String,
}

/// How deep fields of fields are shown.
const DEEPEST: usize = 3;

impl Table<'_> {
    fn fields(&mut self, prefix: &str, schema: &Value, depth: usize) {
        let schema = self.resolved(schema).clone();
        // What one of several kinds of objects has beside the fields of all.
        for kind in self.alternatives(&schema) {
            if kind != schema {
                self.fields(prefix, &kind, depth);
            }
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return;
        };
        for (name, field) in properties {
            let path = format!("{prefix}{name}");
            let resolved = self.resolved(field).clone();
            let doc = [field, &resolved]
                .iter()
                .find_map(|schema| schema.get("description").and_then(Value::as_str))
                .unwrap_or_default()
                .replace('\n', " ")
                .replace('|', "\\|");
            let words = self.words(field).join(" or ");
            let _ = writeln!(self.out, "| `{path}` | {words} | {doc} |");
            // A plan holds a whole recipe, and notes and problems are the same everywhere.
            if depth >= DEEPEST || name == "plan" {
                continue;
            }
            let named = resolved.get("additionalProperties");
            if let Some(inner) = named.and_then(|entry| self.inner(entry)) {
                self.fields(&format!("{path}.NAME."), &inner, depth + 1);
            } else if let Some(inner) = self.inner(field) {
                let list = self.is_list(field);
                let joint = if list { "[]." } else { "." };
                self.fields(&format!("{path}{joint}"), &inner, depth + 1);
            }
        }
    }

    /// The schema with its reference followed.
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let target = schema.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|path| self.root.pointer(path.strip_prefix('#')?));
        target.unwrap_or(schema)
    }

    /// The alternatives of a schema but for null.
    fn alternatives(&self, schema: &Value) -> Vec<Value> {
        let schema = self.resolved(schema);
        for key in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(key).and_then(Value::as_array) {
                return options
                    .iter()
                    .map(|one| self.resolved(one).clone())
                    .collect();
            }
        }
        vec![schema.clone()]
    }

    fn is_list(&self, field: &Value) -> bool {
        self.alternatives(field)
            .iter()
            .any(|one| one.get("items").is_some())
    }

    /// The schema of the objects that a field holds.
    fn inner(&self, field: &Value) -> Option<Value> {
        let is_object = |one: &Value| one.get("properties").is_some();
        self.alternatives(field).into_iter().find_map(|one| {
            if is_object(&one) {
                return Some(one);
            }
            let items = one.get("items")?;
            self.alternatives(items).into_iter().find(is_object)
        })
    }

    fn words(&self, field: &Value) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for one in self.alternatives(field) {
            let constants = one.get("const").into_iter();
            let constants = constants.chain(
                one.get("enum")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            );
            let constants: Vec<String> = constants.map(|word| format!("`{word}`")).collect();
            let types: Vec<String> = match one.get("type") {
                _ if !constants.is_empty() => constants,
                Some(Value::String(one)) => vec![one.clone()],
                Some(Value::Array(types)) => {
                    let types = types.iter().filter_map(Value::as_str);
                    types.map(str::to_owned).collect()
                }
                _ => vec!["any".to_owned()],
            };
            for word in types {
                let word = match word.as_str() {
                    "array" => match one.get("items").map(|items| self.words(items)) {
                        Some(items) => format!("array of {}", items.join(" or ")),
                        None => word,
                    },
                    _ => word,
                };
                if !found.contains(&word) {
                    found.push(word);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_source_are_names_or_gone() {
        assert_eq!(unlinked("The digest ([`Plan::digest`])."), "The digest.");
        assert_eq!(
            unlinked("As [`super::Settings`] says [`."),
            "As `Settings` says [`."
        );
        assert_eq!(unlinked("a [b] (c)"), "a [b] (c)");
    }
}
