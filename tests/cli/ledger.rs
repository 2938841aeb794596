//! Every planted defect ends where the ledger of the fixtures says, and the counts add up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Scratch, root, rows};

fn planted() -> Vec<Value> {
    let text = std::fs::read(root().join("fixtures/dataset/LEDGER.json")).unwrap();
    let ledger: Value = serde_json::from_slice(&text).unwrap();
    ledger["planted"].as_array().unwrap().clone()
}

/// Reason by line, of the stages that `keep` accepts.
fn quarantined(
    scratch: &Scratch,
    run_dir: &str,
    keep: impl Fn(&str) -> bool,
) -> BTreeMap<u64, String> {
    scratch
        .rows(&format!("{run_dir}/quarantine.jsonl"))
        .iter()
        .filter(|row| keep(row["by"].as_str().unwrap()))
        .map(|row| {
            (
                row["line"].as_u64().unwrap(),
                row["code"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

#[test]
fn the_demo_treats_every_planted_row_as_the_ledger_says() {
    let scratch = Scratch::new();
    let ran = scratch.djr(&["run", "fixtures/demo.yaml"]).expect(1);
    assert!(ran.stderr.contains("rows in"), "{}", ran.stderr);
    let ledger: BTreeMap<u64, Value> = scratch
        .ledger("out/demo/clean.jsonl.djr")
        .into_iter()
        .map(|entry| (entry["line"].as_u64().unwrap(), entry))
        .collect();
    assert_eq!(ledger.len(), 213, "one record a row");
    let mut wrong = Vec::new();
    let mut special = BTreeSet::new();
    for plant in planted() {
        let line = plant["line"].as_u64().unwrap();
        special.insert(line);
        let expected = &plant["demo"];
        if expected == "not a row" {
            assert!(!ledger.contains_key(&line), "line {line}");
            continue;
        }
        let entry = &ledger[&line];
        let found = match (entry["fate"].as_str().unwrap(), entry["by"].as_str()) {
            ("kept", _) => Value::from("kept"),
            ("dropped", by) => serde_json::json!({"dropped_by": by}),
            _ => serde_json::json!({"quarantine": entry["code"]}),
        };
        if found != *expected {
            wrong.push(format!(
                "line {line} ({}): {found}, the ledger says {expected}",
                plant["defect"]
            ));
        }
    }
    for (line, entry) in &ledger {
        if !special.contains(line) && entry["fate"] != "kept" {
            wrong.push(format!("line {line}: a sound row ended as {entry}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_counts_of_the_manifest_add_up() {
    let scratch = Scratch::new();
    scratch.djr(&["run", "fixtures/demo.yaml"]).expect(1);
    let manifest = scratch.json("out/demo/clean.jsonl.djr/manifest.json");
    let count = |value: &Value| value.as_u64().unwrap();
    let total = &manifest["rows"];
    assert_eq!(count(&total["in"]), 213);
    assert_eq!(
        count(&total["in"]),
        count(&total["out"]) + count(&total["dropped"]) + count(&total["quarantined"])
    );
    let mut at = None;
    for step in manifest["steps"].as_array().unwrap() {
        assert_eq!(
            count(&step["in"]),
            count(&step["out"]) + count(&step["dropped"]) + count(&step["quarantined"]),
            "{step}"
        );
        if let Some(at) = at {
            assert_eq!(count(&step["in"]), at, "{step}");
        }
        at = Some(count(&step["out"]));
        assert!(
            count(&step["dropped"]) + count(&step["changed"]) + count(&step["quarantined"]) > 0,
            "{} did nothing in the demo",
            step["op"]
        );
    }
    for output in manifest["outputs"].as_array().unwrap() {
        assert_eq!(
            count(&output["candidates"]),
            count(&output["written"]) + count(&output["refused"]) + count(&output["not_drawn"]),
            "{output}"
        );
    }
    // What the manifest says of the files is what is there.
    let clean = scratch.read("out/demo/clean.jsonl");
    assert_eq!(
        count(&manifest["outputs"][0]["files"][0]["bytes"]),
        clean.len() as u64
    );
    let digest = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&clean));
    assert_eq!(manifest["outputs"][0]["files"][0]["xxh3_128"], digest);
    assert_eq!(
        rows(&clean).len() as u64,
        count(&manifest["outputs"][0]["written"])
    );
    assert_eq!(
        scratch.rows("out/demo/clean_stats.jsonl").len(),
        rows(&clean).len()
    );
    assert_eq!(scratch.rows("out/demo/sample.jsonl").len(), 20);
    assert_eq!(
        scratch
            .json("out/demo/sample.json")
            .as_array()
            .unwrap()
            .len(),
        20
    );
    assert!(!scratch.files("out").iter().any(|f| f.ends_with(".tmp")));
}

#[test]
fn convert_refuses_every_planted_row_as_the_ledger_says() {
    let scratch = Scratch::new();
    let args = [
        "convert",
        "--to",
        "llava",
        "fixtures/dataset/rows.jsonl",
        "--questions",
        "fixtures/dataset/stage_1.json",
        "-o",
        "train.json",
    ];
    scratch.djr(&args).expect(1);
    let found = quarantined(&scratch, "train.json.djr", |_| true);
    let expected: BTreeMap<u64, String> = planted()
        .iter()
        .filter_map(|p| {
            Some((
                p["line"].as_u64()?,
                p["convert"]["quarantine"].as_str()?.to_owned(),
            ))
        })
        .collect();
    assert_eq!(found, expected);
    let records = scratch.json("train.json");
    let records = records.as_array().unwrap();
    assert_eq!(records.len() + expected.len(), 213);
    for record in records {
        let turns = record["conversations"].as_array().unwrap();
        assert_eq!(turns.len(), 2);
        let human = turns[0]["value"].as_str().unwrap();
        match record.get("image").map(|i| i.as_str().unwrap()) {
            Some(image) => {
                assert!(
                    (human.starts_with("<image>\n") || human.ends_with("\n<image>"))
                        && human.matches("<image>").count() == 1,
                    "{record}"
                );
                assert!(
                    std::path::Path::new(image).is_absolute()
                        && std::path::Path::new(image).exists(),
                    "{record}"
                );
            }
            None => assert!(!human.contains("<image>"), "{record}"),
        }
        assert!(!record.to_string().contains("__dj__"), "{record}");
    }
}

#[test]
fn the_quarantine_keeps_rows_verbatim() {
    let scratch = Scratch::new();
    let rows = b"{\"text\": \"ok row here\"}\n{\"text\": \"cut\n\xff\xfe bytes\n";
    scratch.write("in.jsonl", rows);
    scratch.write("r.yaml", "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n");
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    assert_eq!(aside[0]["row"], "{\"text\": \"cut");
    assert_eq!(aside[1]["row_hex"], "fffe206279746573");
    assert_eq!(scratch.read("o.jsonl"), b"{\"text\": \"ok row here\"}\n");
}

#[test]
fn on_error_decides_what_becomes_of_bad_rows() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "{\"text\": \"a sound row\"}\n{broken\n");
    scratch.write("r.yaml", "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n");
    scratch
        .djr(&["run", "r.yaml", "--on-error", "drop"])
        .expect(0);
    assert_eq!(
        scratch.json("o.jsonl.djr/manifest.json")["rows"]["dropped"],
        1
    );
    std::fs::remove_file(scratch.path("o.jsonl")).unwrap();
    let ran = scratch
        .djr(&["run", "r.yaml", "--on-error", "fail"])
        .expect(3);
    assert!(
        ran.stderr.contains("in.jsonl:2") && ran.stderr.contains("json_invalid"),
        "{}",
        ran.stderr
    );
    assert!(!scratch.path("o.jsonl").exists());
}
