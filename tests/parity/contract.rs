//! What every operator of the registry promises, whatever it does: a loop over `op::all()`.
//!
//! Each operator runs alone, through the whole executor, over the inputs of its golden cases and
//! over rows whose fields are missing, null or of another type.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a fixture that cannot be read fails the test"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use djr::exec::{self, RunError, RunOptions};
use djr::op::{self, Family, ImageNeed, OpDef, Operator};
use djr::recipe::{self, Inputs, LoadOptions, Recipe, RecipeSource};
use serde_json::{Map, Value, json};

use crate::case::{self, Suite};

/// Parameters for those that do not build without any.
fn needed(name: &str) -> Value {
    match name {
        "flagged_words_filter" => json!({"flagged_words_dir": "fixtures/assets"}),
        "stopwords_filter" => json!({"stopwords_dir": "fixtures/assets"}),
        "token_num_filter" => json!({"hf_tokenizer": "fixtures/models/bytes"}),
        "sentence_split_mapper" => json!({"punkt_dir": "fixtures/assets/punkt_tab"}),
        "remove_words_with_incorrect_substrings_mapper" => json!({"substrings": ["ex"]}),
        "replace_content_mapper" => json!({"pattern": "a", "repl": "b"}),
        "specified_field_filter" => json!({"field_key": "n", "target_value": [1, "x"]}),
        "specified_numeric_field_filter" => json!({"field_key": "n"}),
        "tags_specified_field_selector" => json!({"field_key": "n", "target_tags": [1, 2, null]}),
        _ => json!({}),
    }
}

/// Parameters with which it does something to the rows here.
fn telling(name: &str) -> Value {
    match name {
        "random_selector" => json!({"select_ratio": 0.5}),
        "frequency_specified_field_selector" | "topk_specified_field_selector" => {
            json!({"field_key": "n", "topk": 3})
        }
        "range_specified_field_selector" => {
            json!({"field_key": "n", "lower_rank": 2, "upper_rank": 9})
        }
        "image_blur_mapper" => json!({
            "p": 0.5,
            "save_dir": concat!(env!("CARGO_TARGET_TMPDIR"), "/blurred"),
        }),
        "general_field_filter" => json!({"filter_condition": "n > 1"}),
        "suffix_filter" => json!({"suffixes": [".txt"]}),
        other => needed(other),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("an object: {other}"),
    }
}

/// A recipe of one step. The recipe's text field is `id`, so that rows without a text get as far
/// as the operator, whose own is `text`.
fn load(step: &Value, keys: Value) -> Result<Recipe, String> {
    let mut text = json!({
        "process": [step],
        "text_keys": "id",
        "image_root": case::repository(),
        "keep_stats_in_res_ds": true,
    });
    object(keys)
        .into_iter()
        .for_each(|(key, value)| text[key] = value);
    let mut options = LoadOptions::new(case::repository());
    options.input = Some(Inputs::Stdin);
    options.env = Box::new(|name| {
        (name == "DATA_JUICER_CACHE_HOME")
            .then(|| format!("{}/fixtures/cache", case::repository().display()))
    });
    let source = RecipeSource::Text {
        name: "contract".to_owned(),
        text: text.to_string(),
    };
    recipe::load(&source, &options).map_err(|problems| problems.to_string())
}

fn step(name: &str, params: Value) -> Value {
    let mut params = object(params);
    params.insert("text_key".into(), "text".into());
    json!({ name: params })
}

/// Runs `check` for every operator and reports all that is wrong.
fn for_all(check: impl Fn(&OpDef) -> Result<(), String>) {
    let wrong: Vec<String> = op::all()
        .into_iter()
        .filter_map(|def| Some(format!("{}: {}", def.name, check(def).err()?)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn defaults_build_or_say_what_to_give() {
    for_all(|def| {
        let Err(problem) = load(&step(def.name, json!({})), json!({})) else {
            return Ok(());
        };
        if problem.contains(def.name) && problem.contains("hint: ") {
            load(&step(def.name, needed(def.name)), json!({})).map(|_| ())
        } else {
            Err(format!("neither builds nor says what it needs: {problem}"))
        }
    });
}

#[test]
fn parameters_survive_a_round_trip() {
    for_all(|def| {
        let mut all = vec![needed(def.name), telling(def.name)];
        // Those of the golden cases set every parameter somewhere.
        let golden = Suite::golden();
        for path in golden.cases(def.name).values() {
            let case = golden.read(path)?;
            if !case.fails {
                all.push(Value::Object(case.params));
            }
        }
        for params in all {
            let first = load(&step(def.name, params), json!({}))?.steps[0].to_json();
            let second = load(&first, json!({}))?.steps[0].to_json();
            if first != second {
                return Err(format!("{first} is read back as {second}"));
            }
        }
        Ok(())
    });
}

#[test]
fn unknown_parameters_are_refused_with_their_place() {
    for_all(|def| {
        let mut params = needed(def.name);
        params["no_such_parameter"] = json!(1);
        match load(&step(def.name, params), json!({})) {
            Err(problem)
                if problem.contains("unknown parameter 'no_such_parameter'")
                    && problem.contains("contract:1:") =>
            {
                Ok(())
            }
            Err(problem) => Err(problem),
            Ok(_) => Err("takes it".to_owned()),
        }
    });
}

/// Rows of the operator's golden cases, each once, with fields around them that nobody knows.
fn sound_rows(def: &OpDef) -> Vec<String> {
    let golden = Suite::golden();
    let params = object(telling(def.name));
    let field = params.get("field_key").and_then(Value::as_str);
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for path in golden.cases(def.name).values() {
        let case = golden.read(path).unwrap();
        let step = (case.input.len() / 15).max(1);
        for row in case.input.into_iter().step_by(step) {
            if field.is_some_and(|field| row[field].is_null()) {
                continue;
            }
            if rows.len() < 30 && seen.insert(row.to_string()) {
                rows.push(with_unknown_fields(rows.len(), row));
            }
        }
    }
    rows
}

const UNKNOWN_FIRST: &str = r#""Ω first" : [1e-07, {"b":1,"a":null}]"#;
const UNKNOWN_LAST: &str = r#""zz": "\u00e9\/", "last" :{ }"#;

fn with_unknown_fields(number: usize, row: Value) -> String {
    let mut line = format!(r#"{{{UNKNOWN_FIRST}, "id": "r{number}""#);
    for (name, value) in object(row) {
        if name != "id" {
            let _ = write!(line, ", {}: {value}", Value::from(name));
        }
    }
    let _ = write!(line, ", {UNKNOWN_LAST}}}");
    line
}

/// Rows whose fields are empty, missing, null and of every other type.
fn odd_rows(def: &OpDef) -> Vec<String> {
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
    let params = object(telling(def.name));
    let field = params.get("field_key").and_then(Value::as_str);
    let usual = json!({
        "text": "a text",
        "images": ["fixtures/golden/_images/noise_8x8.png"],
        "__dj__suffix__": ".txt",
        "messages": [],
        "n": 2,
        "__dj__stats__": {},
    });
    let mut rows = vec![json!({}), usual.clone()];
    let names = [
        "text",
        "images",
        "__dj__suffix__",
        "messages",
        "__dj__stats__",
    ];
    for name in names.into_iter().chain([field.unwrap_or("n")]) {
        let mut lacks = object(usual.clone());
        lacks.shift_remove(name);
        rows.push(Value::Object(lacks));
        for value in &values {
            let mut row = usual.clone();
            row[name] = value.clone();
            rows.push(row);
        }
    }
    // Stats that somebody else wrote.
    for stat in stats(def) {
        for value in &values {
            let mut row = usual.clone();
            row["__dj__stats__"] = json!({ stat.as_str(): value });
            rows.push(row);
        }
    }
    // All of them at once, or the filter measures.
    for value in &values {
        let mut row = usual.clone();
        let all = stats(def).into_iter().map(|stat| (stat, value.clone()));
        row["__dj__stats__"] = Value::Object(all.collect());
        rows.push(row);
    }
    let numbered = rows.into_iter().enumerate();
    numbered
        .map(|(n, row)| with_unknown_fields(n, row))
        .collect()
}

/// What the operator measures, if it is a filter.
fn stats(def: &OpDef) -> Vec<String> {
    let recipe = load(&step(def.name, telling(def.name)), json!({})).unwrap();
    match &recipe.steps[0].operator {
        Operator::Filter(filter) => filter.stats().iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// What a run leaves, but for the manifest, which holds times.
#[derive(PartialEq)]
struct Left {
    /// Files by name, or why the run failed.
    files: Result<Vec<(String, Vec<u8>)>, String>,
    /// Codes of rows set aside.
    reasons: Vec<&'static str>,
}

impl Left {
    fn file(&self, name: &str) -> Result<String, String> {
        let files = self.files.as_ref().map_err(Clone::clone)?;
        let file = files.iter().find(|(at, _)| at == name);
        Ok(file.map_or(String::new(), |(_, bytes)| {
            String::from_utf8_lossy(bytes).into_owned()
        }))
    }
}

fn run(step: &Value, rows: &[String], batch_rows: usize, threads: usize) -> Result<Left, String> {
    let scratch = tempfile::tempdir().unwrap();
    // The same name in each run, for it is told in the quarantine.
    let input = scratch.path().join("rows.jsonl");
    std::fs::write(&input, rows.join("\n") + "\n").unwrap();
    let out = scratch.path().join("out");
    let keys = json!({
        "outputs": [{"path": out.join("o.jsonl"), "paths": "keep", "validate": "none"}],
    });
    let mut recipe = load(step, keys)?;
    recipe.inputs = Inputs::Files(vec![input]);
    let options = RunOptions {
        threads: Some(threads),
        batch_rows: Some(batch_rows),
        run_dir: Some(out.clone()),
        working_dir: case::repository().to_owned(),
        ..RunOptions::default()
    };
    match exec::run(&recipe, &options, &mut ()) {
        Ok(outcome) => Ok(Left {
            reasons: outcome.report.reasons.keys().map(|r| r.code).collect(),
            files: Ok(files(&out, scratch.path())),
        }),
        Err(e @ RunError::Barrier { .. }) => Ok(Left {
            reasons: Vec::new(),
            files: Err(e.to_string()),
        }),
        Err(e) => Err(e.to_string()),
    }
}

fn files(directory: &Path, scratch: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.file_name() != "manifest.json" && entry.path().is_file())
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = if name.ends_with(".zst") {
                zstd::decode_all(&bytes[..]).unwrap()
            } else {
                let text = String::from_utf8_lossy(&bytes);
                text.replace(&scratch.display().to_string(), "")
                    .into_bytes()
            };
            (name, bytes)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn batches_and_threads_change_nothing_and_nothing_panics() {
    for_all(|def| {
        let step = step(def.name, telling(def.name));
        for rows in [sound_rows(def), odd_rows(def)] {
            let reference = run(&step, &rows, 1 << 20, 1)?;
            if reference.reasons.contains(&"internal_panic") {
                return Err(reference.file("quarantine.jsonl")?);
            }
            for (batch_rows, threads) in [(1, 1), (1, 8), (7, 1), (7, 8), (1 << 20, 8)] {
                if run(&step, &rows, batch_rows, threads)? != reference {
                    return Err(format!(
                        "another outcome with batches of {batch_rows} and {threads} threads"
                    ));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn unknown_fields_survive_in_order() {
    for_all(|def| {
        if def.family == Family::Grouper {
            // It makes other rows.
            return Ok(());
        }
        let rows = sound_rows(def);
        let left = run(&step(def.name, telling(def.name)), &rows, 7, 2)?;
        let written = left.file("o.jsonl")?;
        if written.is_empty() {
            return Err(format!("keeps none of {} rows", rows.len()));
        }
        for line in written.lines() {
            let row: Map<String, Value> = serde_json::from_str(line).map_err(|e| e.to_string())?;
            let number = row["id"]
                .as_str()
                .and_then(|id| id[1..].parse::<usize>().ok());
            let given = &rows[number.ok_or("the id is another")?];
            let before: Map<String, Value> = serde_json::from_str(given).unwrap();
            // A mapper may add fields of its own behind those that were there.
            let added = |key: &str| def.family == Family::Mapper && !before.contains_key(key);
            let own = row
                .keys()
                .filter(|key| !key.starts_with("__dj__") && !added(key));
            let expected = before.keys().filter(|key| !key.starts_with("__dj__"));
            if !own.eq(expected) {
                return Err(format!("other fields: {line}"));
            }
            let unchanged = |part: &str| line.contains(part);
            let bytes_kept = unchanged(UNKNOWN_FIRST) && unchanged(UNKNOWN_LAST);
            if def.family != Family::Mapper && row.values().len() < before.len() || !bytes_kept {
                return Err(format!("not as it was read: {line}"));
            }
        }
        Ok(())
    });
}

#[test]
fn stats_that_are_there_are_not_measured_again() {
    for_all(|def| {
        let recipe = load(&step(def.name, telling(def.name)), json!({}))?;
        let Operator::Filter(filter) = &recipe.steps[0].operator else {
            return Ok(());
        };
        let stat = if filter.image_need() == ImageNeed::None {
            json!(0.062_517)
        } else {
            json!([0.062_517])
        };
        let stats: Map<String, Value> = filter
            .stats()
            .iter()
            .map(|key| (key.to_string(), stat.clone()))
            .collect();
        if stats.is_empty() {
            return Ok(());
        }
        // Nothing here can be measured: neither text nor images nor field are what they should be.
        let row = json!({"id": "r", "text": [5], "images": [7], "n": [1], "__dj__stats__": &stats});
        let left = run(&step(def.name, telling(def.name)), &[row.to_string()], 1, 1)?;
        if !left.reasons.is_empty() {
            return Err(format!("measured: {:?}", left.reasons));
        }
        let told = left.file("stats.jsonl.zst")?;
        let kept: Value = serde_json::from_str(&told).map_err(|e| format!("{e}: {told}"))?;
        match stats.iter().find(|(key, value)| kept[*key] != **value) {
            None => Ok(()),
            Some((key, _)) => Err(format!("another {key}: {told}")),
        }
    });
}

#[test]
fn every_bound_may_come_from_the_data() {
    for_all(|def| {
        let schema = recipe::ParamSchema::of(def);
        let names = schema.properties().map(|(name, _)| name.to_owned());
        let (bounds, others): (Vec<_>, Vec<_>) = names.partition(|name| def.bound(name).is_some());
        for name in others {
            let mut params = telling(def.name);
            params[&name] = json!("p50");
            // What is no bound may be a text, but not one that stands for a number.
            let taken = load(&step(def.name, params), json!({}))
                .map(|recipe| recipe.steps[0].is_barrier() && def.family == Family::Filter);
            if taken == Ok(true) {
                return Err(format!("takes {name} for a bound"));
            }
        }
        for bound in bounds {
            let mut params = telling(def.name);
            // Defaults of the other ends must neither decide nor leave no range.
            for (other, property) in schema.properties() {
                if def.bound(other).is_some() && schema.accepts(property, &Value::Null) {
                    params[other] = Value::Null;
                }
            }
            params[&bound] = json!("p50");
            let step = step(def.name, params);
            let recipe = load(&step, json!({}))?;
            if !recipe.steps[0].is_barrier() || recipe.steps[0].to_json()[def.name][&bound] != "p50"
            {
                return Err(format!("takes {bound} for a number"));
            }
            let ledger = run(&step, &sound_rows(def), 7, 2)?.file("ledger.jsonl.zst")?;
            if ledger.contains("\"dropped\"") && !ledger.contains("(p50)") {
                return Err(format!("drops by another {bound}: {ledger}"));
            }
        }
        Ok(())
    });
}
