//! `djr diff`: every row that differs is named, with what decided, and no other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::Scratch;

fn recipe(scratch: &Scratch, name: &str, process: &str) {
    scratch.write(
        &format!("{name}.yaml"),
        format!("dataset_path: in.jsonl\nexport_path: {name}.jsonl\nprocess:\n{process}"),
    );
    scratch.djr(&["run", &format!("{name}.yaml")]).expect(0);
}

fn by_line(records: &[Value]) -> BTreeMap<u64, Value> {
    records
        .iter()
        .map(|r| {
            let side = if r["a"].is_null() { &r["b"] } else { &r["a"] };
            (side["line"].as_u64().unwrap(), r.clone())
        })
        .collect()
}

#[test]
fn two_runs_differ_where_their_recipes_do() {
    let scratch = Scratch::new();
    let text = [
        "abc",
        "abcdefgh",
        "  spaced\u{3000}out ",
        "abcdefghijklmnop",
        "x",
    ];
    let rows: Vec<String> = text
        .iter()
        // Every row has the same id: rows are told apart by their place.
        .map(|t| json!({"id": "same", "text": t}).to_string())
        .collect();
    scratch.write("in.jsonl", rows.join("\n"));
    recipe(
        &scratch,
        "a",
        "  - text_length_filter: {min_len: 2, max_len: 15}\n",
    );
    recipe(
        &scratch,
        "b",
        "  - whitespace_normalization_mapper:\n  - text_length_filter: {min_len: 5}\n  - text_length_filter: {min_len: 1, max_len: 999}\n",
    );
    let ran = scratch
        .djr(&[
            "diff",
            "a.jsonl.djr",
            "b.jsonl.djr",
            "--output",
            "diff.jsonl",
        ])
        .expect(1);
    let found = by_line(&scratch.rows("diff.jsonl"));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(found[&1]["kind"], "only_a");
    assert_eq!(
        (
            &found[&1]["b"]["by"],
            &found[&1]["b"]["value"],
            &found[&1]["b"]["limit"]
        ),
        (
            &json!("text_length_filter"),
            &json!(3),
            &json!("min_len: 5")
        )
    );
    assert_eq!(found[&3]["kind"], "changed");
    assert_eq!(
        found[&3]["fields"],
        json!({"text": {"a": "  spaced\u{3000}out ", "b": "spaced out"}})
    );
    assert_eq!(found[&4]["kind"], "only_b");
    assert_eq!(found[&4]["a"]["limit"], "max_len: 15");
    let table = ran.text();
    for line in [
        "only in A                              1",
        "1   B: dropped by text_length_filter, min_len: 5 (value 3)",
        "1   A: dropped by text_length_filter, max_len: 15 (value 16)",
        "the same in both                       1",
        "1   in field text",
    ] {
        assert!(table.contains(line), "{line}\nnot in\n{table}");
    }
    assert!(
        scratch
            .djr(&["diff", "a.jsonl.djr", "a.jsonl.djr"])
            .expect(0)
            .text()
            .contains("only in A                              0")
    );
}

#[test]
fn a_row_lost_in_both_for_another_reason_differs() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\": \"short\"}\n{\"text\": \"long enough to stay\"}\n",
    );
    recipe(&scratch, "a", "  - text_length_filter: {min_len: 9}\n");
    recipe(&scratch, "b", "  - words_num_filter: {min_num: 3}\n");
    scratch
        .djr(&["diff", "a.jsonl.djr", "b.jsonl.djr", "-o", "diff.jsonl"])
        .expect(1);
    let records = scratch.rows("diff.jsonl");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["kind"], "decided");
    assert_eq!(records[0]["b"]["by"], "words_num_filter");
}

#[test]
fn the_demo_compared_with_a_stricter_one_accounts_for_every_row() {
    let scratch = Scratch::new();
    scratch.djr(&["run", "fixtures/demo.yaml"]).expect(1);
    std::fs::rename(scratch.path("out"), scratch.path("first")).unwrap();
    scratch
        .djr(&[
            "run",
            "fixtures/demo.yaml",
            "--set",
            "text_length_filter.max_len=80",
        ])
        .expect(1);
    scratch
        .djr(&[
            "diff",
            "first/demo/clean.jsonl.djr",
            "out/demo/clean.jsonl.djr",
            "-o",
            "diff.jsonl",
        ])
        .expect(1);
    let kept = |run: &str| -> BTreeSet<u64> {
        let entries = scratch.ledger(run).into_iter();
        let kept = entries.filter(|e| e["fate"] == "kept");
        kept.map(|e| e["offset"].as_u64().unwrap()).collect()
    };
    let (a, b) = (
        kept("first/demo/clean.jsonl.djr"),
        kept("out/demo/clean.jsonl.djr"),
    );
    let records = scratch.rows("diff.jsonl");
    let told = |kind: &str| -> BTreeSet<u64> {
        let of_kind = records.iter().filter(|r| r["kind"] == kind);
        of_kind
            .map(|r| r["a"]["offset"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(told("only_a"), a.difference(&b).copied().collect());
    assert_eq!(told("only_b"), b.difference(&a).copied().collect());
    assert!(told("only_a").len() > 10);
    // The same row comes out of both with the same values.
    assert_eq!(told("changed"), BTreeSet::new());
}

#[test]
fn files_are_compared_by_id_and_value() {
    let scratch = Scratch::new();
    scratch.write(
        "a.jsonl",
        "{\"id\": 1, \"text\": \"caf\\u00e9\"}\n{\"id\": \"1\", \"n\": 12345678901234567890123}\n{\"id\": 2}\n{\"id\": 2, \"x\": 1}\n{\"text\": \"no id\", \"n\": 1}\n{\"id\": 3}\n",
    );
    // Another order of rows and fields, other escapes: equal. A digit: not.
    scratch.write(
        "b.json",
        "[{\"id\":2}, {\"text\":\"café\",\"id\":1},\n{\"id\":\"1\",\"n\":12345678901234567890124}, {\"id\":2,\"x\":1}, {\"n\":1,\"text\":\"no id\"}, {\"id\": 4}]",
    );
    let ran = scratch
        .djr(&["diff", "a.jsonl", "b.json", "--output", "-"])
        .expect(1);
    let records = crate::support::rows(&ran.stdout);
    let kinds: Vec<(&str, &Value)> = records
        .iter()
        .map(|r| (r["kind"].as_str().unwrap(), &r["id"]))
        .collect();
    assert_eq!(
        kinds,
        [
            ("changed", &json!("1")),
            ("only_a", &json!(3)),
            ("only_b", &json!(4))
        ]
    );
    assert!(
        ran.stderr
            .contains("the same in both                       4"),
        "{}",
        ran.stderr
    );
    scratch
        .djr(&["diff", "a.jsonl", "a.jsonl", "--quiet"])
        .expect(0);
    let ran = scratch
        .djr(&["diff", "a.jsonl", "b.json", "--ignore", "n"])
        .expect(1);
    assert!(
        ran.text()
            .contains("changed                                0"),
        "{}",
        ran.text()
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let scratch = Scratch::new();
    scratch.write("a.jsonl", "{}\n");
    assert!(
        scratch
            .djr(&["diff", "a.jsonl", "none"])
            .expect(2)
            .stderr
            .contains("hint:")
    );
    assert!(
        scratch
            .djr(&["diff", "a.jsonl", "."])
            .expect(2)
            .stderr
            .contains("is not a run directory")
    );
    scratch.write("in.jsonl", "{\"text\": \"a\"}\n");
    recipe(&scratch, "r", "  - text_length_filter: {min_len: 1}\n");
    scratch.djr(&["diff", "a.jsonl", "r.jsonl.djr"]).expect(2);
    std::fs::remove_file(scratch.path("r.jsonl.djr/ledger.jsonl.zst")).unwrap();
    scratch
        .djr(&["diff", "r.jsonl.djr", "r.jsonl.djr"])
        .expect(3);
}
