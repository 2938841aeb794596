//! What servers are sent, to the last byte, and what is made of their answers: cases of
//! Data-Juicer's own classes before a server that answers as it is told.
//!
//! They lie in `fixtures/llm` (written by `record.py` and `record_local.py` there) and, if `DJR_SHARED` is set, in
//! `$DJR_SHARED/golden_models/llm`. A row that djr sets aside is compared with nothing: that is the
//! difference that is meant. Which rows these may be is said here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that cannot be read fails the test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use djr::op::{self, Built, Outcome, Setting};
use djr::sample::{ImageContext, Origin, RowError, Sample};
use djr::service::{Host, run_alone};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::case::{self, repository};
use crate::mock::{Mock, Reply, nobody};
use crate::replay;

/// Cases whose rows djr may set aside, where Data-Juicer keeps, drops or empties them.
const FAILS: [&str; 13] = [
    "empty",
    "malformed",
    "refused",
    "no_choices",
    "not_json",
    "null",
    "http_400",
    "http_401",
    "http_429",
    "http_500",
    "default_retries_500",
    "empty_data",
    "other_length",
];

/// The same of single rows: the case and the row, and why.
const FAILING_ROWS: [(&str, usize, &str); 16] = [
    ("calibrate_qa_mapper/sound", 1, "the answer has no pair"),
    ("optimize_qa_mapper/sound", 1, "the answer has no pair"),
    (
        "extract_entity_attribute_mapper/sound",
        1,
        "the answer has no passage",
    ),
    (
        "dialog_sentiment_intensity_mapper/sound",
        1,
        "x is no number",
    ),
    (
        "llm_analysis_filter/odd_answers",
        0,
        "a dimension is missing",
    ),
    ("llm_analysis_filter/odd_answers", 2, "scores are texts"),
    ("llm_analysis_filter/odd_answers", 7, "no JSON"),
    ("llm_analysis_filter/odd_answers", 8, "no JSON"),
    (
        "llm_difficulty_score_filter/odd_answers",
        0,
        "a dimension is missing",
    ),
    (
        "llm_difficulty_score_filter/odd_answers",
        2,
        "scores are texts",
    ),
    ("llm_difficulty_score_filter/odd_answers", 7, "no JSON"),
    ("llm_difficulty_score_filter/odd_answers", 8, "no JSON"),
    (
        "llm_quality_score_filter/odd_answers",
        0,
        "a dimension is missing",
    ),
    (
        "llm_quality_score_filter/odd_answers",
        2,
        "scores are texts",
    ),
    ("llm_quality_score_filter/odd_answers", 7, "no JSON"),
    ("llm_quality_score_filter/odd_answers", 8, "no JSON"),
];

/// Rows that djr makes something else of, and why.
const DIFFERENT: [(&str, usize, &str); 1] = [(
    "llm_extract_mapper/second_try",
    0,
    "an answer that cannot be read is asked for anew, as try_num says",
)];

struct Case {
    name: String,
    op: String,
    value: Value,
    images: PathBuf,
}

fn cases() -> Vec<Case> {
    let mut folders = vec![(
        repository().join("fixtures/llm"),
        repository().join("fixtures/images"),
    )];
    if let Some(shared) = std::env::var_os("DJR_SHARED") {
        let models = Path::new(&shared).join("golden_models");
        folders.push((models.join("llm"), models.join("images")));
    }
    let mut cases = Vec::new();
    for (folder, images) in folders {
        let mut ops: Vec<_> = entries(&folder);
        ops.retain(|path| path.is_dir());
        for path in ops.iter().flat_map(|dir| entries(dir)) {
            let value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            cases.push(Case {
                name: format!("{}/{}", text("op"), text("name")),
                op: text("op"),
                images: images.clone(),
                value,
            });
        }
    }
    cases
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "json"))
        .collect();
    found.sort();
    found
}

/// What a case's reply is.
fn reply(said: &Value, body: &str) -> Reply {
    let reply = if let Some(content) = said.get("content") {
        Reply::content(content.clone())
    } else if said.get("embed").is_some() {
        let body: Value = serde_json::from_str(body).unwrap();
        let digest = Sha256::digest(body["input"].as_str().unwrap());
        let numbers: Vec<f64> = digest[..8]
            .iter()
            .map(|byte| ((f64::from(*byte) - 96.0) / 128.0 * 1e6).round() / 1e6)
            .collect();
        Reply::json(200, &json!({"data": [{"embedding": numbers}]}))
    } else if let Some(raw) = said.get("raw") {
        Reply::Of(200, Vec::new(), raw.as_str().unwrap().to_owned())
    } else {
        let status = said
            .get("status")
            .map_or(200, |status| status.as_u64().unwrap());
        Reply::json(u16::try_from(status).unwrap(), &said["json"])
    };
    let headers = said["headers"].as_object().into_iter().flatten();
    headers.fold(reply, |reply, (name, value)| {
        reply.with(name, value.as_str().unwrap())
    })
}

fn filled(value: &Value, names: &[(&str, &str)]) -> Value {
    let mut text = value.to_string();
    for (name, with) in names {
        text = text.replace(name, with);
    }
    serde_json::from_str(&text).unwrap()
}

/// Everything that came of a row.
struct Left {
    outcome: Result<Outcome, RowError>,
    row: Value,
    stats: Value,
    parts: Vec<Value>,
    bodies: Vec<String>,
    paths: Vec<String>,
}

fn run(case: &Case, index: usize) -> Result<Left, String> {
    let replies = case.value["replies"].as_array().unwrap();
    let replies = replies.get(index).unwrap_or(&Value::Null);
    let replies: Vec<Value> = replies.as_array().cloned().unwrap_or_default();
    let told = AtomicUsize::new(0);
    let mock = Mock::start(move |seen| {
        if seen.method == "GET" {
            return Reply::json(
                200,
                &json!({"data": [{"id": "first-model"}, {"id": "other"}]}),
            );
        }
        // What the rows to compare with are is no reply of this row.
        let valid = seen.body.contains("\"valid one\"")
            || seen.body.contains("\"valid two\"")
            || seen.body.contains("\"T: valid ");
        if valid && seen.path.contains("embeddings") {
            return reply(&json!({"embed": true}), &seen.body);
        }
        let number = told.fetch_add(1, Ordering::SeqCst);
        let said = replies.get(number).or_else(|| replies.last());
        reply(said.unwrap(), &seen.body)
    });
    let names = [
        ("{base_url}", mock.url()),
        ("{refused_url}", nobody()),
        ("{images}", case.images.display().to_string()),
    ];
    let names = names.each_ref().map(|(name, with)| (*name, with.as_str()));
    let params = filled(&case.value["params"], &names);
    let (base, own) = case::split(params.as_object().unwrap());
    let def = op::find(&case.op).ok_or("not there")?;
    (def.check)(own.clone())?;
    let mut context = case::Suite::golden().build_context(base.clone());
    context.servers.compat_requests = true;
    let built = def
        .build(own, &context)
        .map_err(|errors| errors[0].message.clone())?;
    let input = filled(&case.value["input"][index], &names);
    let mut sample = sample(&input, index);
    let outcome = ask(&built, &mut sample);
    let parts = match &outcome {
        Ok(Outcome::Parts(parts)) => (0..)
            .zip(parts.clone())
            .map(|(number, part)| replay::written(&part.of(&sample, number).unwrap()))
            .collect(),
        _ => Vec::new(),
    };
    let unfilled = |value: Value| -> Value {
        let text = value.to_string();
        serde_json::from_str(&text.replace(names[2].1, "{images}")).unwrap()
    };
    let seen = mock.seen();
    Ok(Left {
        outcome,
        row: unfilled(replay::written(&sample)),
        stats: sample.stats.to_json(),
        parts: parts.into_iter().map(unfilled).collect(),
        bodies: seen.iter().map(|seen| seen.body.clone()).collect(),
        paths: seen
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.path))
            .collect(),
    })
}

fn sample(row: &Value, index: usize) -> Sample {
    let origin = Origin {
        offset: index as u64,
        file: 0,
        line: index as u64 + 1,
        part: 0,
        copy: 0,
    };
    let context = Arc::new(ImageContext {
        image_key: "images".to_owned(),
        roots: vec![repository().to_owned()],
        ..ImageContext::default()
    });
    let mut sample = Sample::parse(row.to_string(), origin, context).unwrap();
    if let Some(Value::Object(stats)) = row.get("__dj__stats__") {
        for (key, value) in stats {
            let value = value.as_f64().unwrap();
            sample
                .stats
                .set(key.clone(), djr::sample::StatValue::Float(value));
        }
    }
    sample
}

fn ask(built: &Built, sample: &mut Sample) -> Result<Outcome, RowError> {
    let (setting, host) = (Setting::default(), Host::default());
    run_alone(&built.operator, &built.spec, sample, &setting, &host)
}

/// The bodies that Data-Juicer sent for a row.
fn sent(case: &Value, index: usize) -> (Vec<String>, Vec<String>) {
    let all = case["requests"].as_array().cloned().unwrap_or_default();
    let body = |request: &Value| match request["same_body_as_request"].as_u64() {
        Some(same) => all[usize::try_from(same).unwrap()]["body"].clone(),
        None => request["body"].clone(),
    };
    let of_row = all.iter().filter(|request| request["row"] == json!(index));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bodies = of_row.clone().map(|request| text(&body(request))).collect();
    let path = |request: &Value| format!("{} {}", text(&request["method"]), text(&request["path"]));
    (bodies, of_row.map(path).collect())
}

/// Without what Data-Juicer adds to every row, and with lists whose order a set decides sorted.
fn plain(mut row: Value) -> Value {
    if let Value::Object(row) = &mut row {
        row.shift_remove("__dj__stats__");
        if let Some(Value::Object(meta)) = row.get_mut("__dj__meta__") {
            for key in ["nickname", "entity", "relation"] {
                if let Some(Value::Array(items)) = meta.get_mut(key) {
                    items.sort_by_key(ToString::to_string);
                }
            }
            if meta.is_empty() {
                row.shift_remove("__dj__meta__");
            }
        }
    }
    row
}

fn difference(case: &Case, index: usize, left: &Left) -> Option<String> {
    let want = &case.value;
    let (bodies, paths) = sent(want, index);
    // Models that run in Data-Juicer's process were sent nothing.
    let was_sent = want.get("requests").is_some();
    if case.op != "text_embd_similarity_filter" && was_sent {
        // What is asked for the models has no body.
        if left.bodies != bodies {
            return Some(format!("sends {:#?} and not {bodies:#?}", left.bodies));
        }
        if left.paths != paths {
            return Some(format!("asks {:?} and not {paths:?}", left.paths));
        }
    }
    if let Some(stats) = want.get("stats").map(|stats| &stats[index]) {
        for (name, value) in stats.as_object().into_iter().flatten() {
            let found = &left.stats[name];
            let near = match (value.as_f64(), found.as_f64()) {
                // Embeddings are compared in 32 bits there.
                (Some(a), Some(b)) if name.contains("embd") => (a - b).abs() <= 1e-5,
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9,
                _ => value == found,
            };
            if !near {
                return Some(format!("measures {name} {found} and not {value}"));
            }
        }
        let kept = want["kept"].as_array().unwrap().contains(&json!(index));
        let keeps = matches!(left.outcome, Ok(Outcome::Goes));
        return (kept != keeps).then(|| format!("keeps it: {keeps}"));
    }
    let output = &want["output"][index];
    let found = match output {
        Value::Array(_) => left.parts.iter().cloned().map(plain).collect(),
        _ => plain(left.row.clone()),
    };
    let output = match output {
        Value::Array(rows) => rows.iter().cloned().map(plain).collect(),
        row => plain(row.clone()),
    };
    (found != output).then(|| format!("makes {found} and not {output}"))
}

#[test]
fn servers_are_sent_what_data_juicer_sends_and_answers_mean_the_same() {
    let mut problems = Vec::new();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in cases() {
        let rows = case.value["input"].as_array().unwrap().len();
        let (_, name) = case.name.split_once('/').unwrap();
        for index in 0..rows {
            let count = counts.entry(case.op.clone()).or_default();
            let left = match run(&case, index) {
                Ok(left) => left,
                Err(_) if case.value.get("error").is_some() => {
                    count.0 += 1;
                    continue;
                }
                Err(error) => {
                    problems.push(format!("{}: cannot be built: {error}", case.name));
                    continue;
                }
            };
            if case.value.get("error").is_some()
                && case.name != "llm_task_relevance_filter/task_desc_only"
            {
                problems.push(format!("{}: is built, and Data-Juicer fails", case.name));
            }
            match &left.outcome {
                Err(error) => {
                    let known = FAILING_ROWS
                        .iter()
                        .any(|(known, row, _)| *known == case.name && *row == index);
                    let failed_there = case.value["errors"]
                        .as_array()
                        .is_some_and(|errors| errors.iter().any(|e| e["row"] == json!(index)));
                    if FAILS.contains(&name) || known || failed_there {
                        count.1 += 1;
                    } else {
                        problems.push(format!("{} row {index}: {error}", case.name));
                    }
                }
                Ok(_) if case.value.get("error").is_some() => count.0 += 1,
                Ok(_) => match difference(&case, index, &left) {
                    Some(_)
                        if DIFFERENT
                            .iter()
                            .any(|(known, row, _)| *known == case.name && *row == index) => {}
                    None => count.0 += 1,
                    Some(what) => problems.push(format!("{} row {index}: {what}", case.name)),
                },
            }
        }
    }
    for (op, (same, aside)) in &counts {
        println!("  {op}: {same} rows the same, {aside} set aside");
    }
    let total: usize = counts.values().map(|(same, _)| same).sum();
    assert!(total > 20, "only {total} rows are the same");
    assert!(
        problems.is_empty(),
        "{} problems\n{}",
        problems.len(),
        problems.join("\n")
    );
}
