//! Operators that make several rows of one, and those that edit by what all rows hold: every row is
//! accounted for, in order, whatever the threads.

use serde_json::{Value, json};

use crate::support::Scratch;

#[test]
fn parts_of_rows_add_up_and_keep_their_order() {
    let scratch = Scratch::new();
    let rows = [
        r#"{"id": 1, "text": "aa|b|cc"}"#,
        r#"{"id": 2, "text": "aa|b|cc"}"#,
        r#"{"id": 3, "text": "|"}"#,
        r#"{"id": 4, "text": "cc|dd"}"#,
        "no row",
        r#"{"id": 6, "text": null}"#,
    ];
    scratch.write("in.jsonl", rows.join("\n"));
    scratch.write(
        "r.yaml",
        r"
dataset_path: in.jsonl
export_path: out.jsonl
process:
  - document_deduplicator: {}
  - text_chunk_mapper: {split_pattern: '\|'}
  - text_length_filter: {min_len: 2}
  - document_deduplicator: {}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(1);
    // As in Data-Juicer, the second deduplicator goes by the hashes that the first one made of the
    // whole texts.
    assert_eq!(
        scratch.rows("out.jsonl"),
        [
            json!({"id": 1, "text": "aa"}),
            json!({"id": 4, "text": "cc"})
        ]
    );
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    let total = |name: &str| manifest["rows"][name].as_u64().unwrap();
    assert_eq!(
        ["in", "repeated", "out", "dropped", "quarantined"].map(total),
        [6, 3, 2, 5, 2]
    );
    let fates: Vec<_> = scratch
        .ledger("out.jsonl.djr")
        .iter()
        .filter(|entry| entry["line"] == 1 || entry["line"] == 3)
        .map(|entry| {
            (
                entry["line"].clone(),
                entry["part"].clone(),
                entry["fate"].clone(),
            )
        })
        .collect();
    let fate = |line: u64, part: Value, fate: &str| (json!(line), part, json!(fate));
    assert_eq!(fates.len(), 4);
    for expected in [
        fate(1, Value::Null, "kept"),
        fate(1, json!(1), "dropped"),
        fate(1, json!(2), "dropped"),
        fate(3, Value::Null, "dropped"),
    ] {
        assert!(fates.contains(&expected), "{expected:?} not in {fates:?}");
    }
}

/// Rows of lines that recur, some of them damaged.
fn corpus() -> String {
    let row = |n: u32| match n % 50 {
        7 => "{broken".to_owned(),
        8 => json!({"id": n, "text": ["no", "text"]}).to_string(),
        _ => {
            let lines: Vec<String> = (0..n % 6)
                .map(|line| format!("line {} of {}", line, n % (7 + line)))
                .collect();
            json!({"id": n, "text": format!("menu\n{}\nno {}", lines.join("\n"), n % 90)})
                .to_string()
        }
    };
    (0..400).map(|n| row(n) + "\n").collect()
}

#[test]
fn threads_and_batches_change_nothing_before_or_behind_barriers() {
    let recipe = r"
dataset_path: in.jsonl
process:
  - document_deduplicator: {}
  - text_chunk_mapper: {split_pattern: '\n', max_len: 30}
  - document_line_deduplicator: {frequency_threshold: 40}
  - document_minhash_deduplicator: {tokenization: character, jaccard_threshold: 0.9}
  - text_chunk_mapper: {split_pattern: '\n'}
  - text_length_filter: {min_len: 4}
  - document_deduplicator: {}
  - random_selector: {select_num: 500}
  - text_chunk_mapper: {split_pattern: ' '}
outputs:
  - {format: jsonl, path: all.jsonl}
  - {format: jsonl, path: some.jsonl, sample: 50, seed: 3}
";
    let mut reference: Option<Vec<Vec<u8>>> = None;
    for args in [["1", "1000"], ["2", "1"], ["8", "7"]] {
        let scratch = Scratch::new();
        scratch.write("in.jsonl", corpus());
        scratch.write("r.yaml", recipe);
        let [threads, rows] = args;
        scratch
            .djr(&["run", "r.yaml", "--threads", threads, "--batch-rows", rows])
            .expect(1);
        let manifest = scratch.json("all.jsonl.djr/manifest.json");
        let total = |name: &str| manifest["rows"][name].as_u64().unwrap();
        assert_eq!(
            total("in") + total("repeated"),
            total("out") + total("dropped") + total("quarantined")
        );
        assert!(total("repeated") > 500 && total("quarantined") == 16);
        let ledger = scratch.ledger("all.jsonl.djr");
        assert_eq!(ledger.len() as u64, total("in") + total("repeated"));
        assert_eq!(scratch.rows("some.jsonl").len(), 50);
        let text = String::from_utf8(scratch.read("all.jsonl")).unwrap();
        assert!(!text.contains("menu"), "a line that all rows hold");
        let files = ["all.jsonl", "some.jsonl", "all.jsonl.djr/ledger.jsonl.zst"];
        let files: Vec<_> = files.iter().map(|name| scratch.read(name)).collect();
        match &reference {
            None => reference = Some(files),
            Some(reference) => assert!(*reference == files, "differs with {args:?}"),
        }
    }
}

#[test]
fn a_sample_does_not_draw_the_parts_of_a_row_together() {
    let scratch = Scratch::new();
    let rows = (0..20).map(|n| json!({"id": n, "text": "a b c d e"}).to_string() + "\n");
    scratch.write("in.jsonl", rows.collect::<String>());
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nprocess:\n  - text_chunk_mapper: {split_pattern: ' '}\noutputs:\n  - {format: jsonl, path: some.jsonl, sample: 20, seed: 1}\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let mut ids: Vec<_> = scratch
        .rows("some.jsonl")
        .iter()
        .map(|row| row["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), 20);
    ids.dedup();
    assert!(ids.len() > 8, "{ids:?}");
}

#[test]
fn rows_get_the_suffix_of_their_file_if_a_filter_asks() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("in")).unwrap();
    scratch.write("in/a.jsonl", "{\"text\": \"a\"}\n");
    scratch.write(
        "in/b.json",
        "[{\"text\": \"b\"}, {\"text\": \"c\", \"__dj__suffix__\": \".jsonl\"}]",
    );
    scratch.write(
        "r.yaml",
        "dataset_path: in\nexport_path: out.jsonl\nprocess:\n  - suffix_filter: {suffixes: .jsonl}\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    assert_eq!(
        scratch.rows("out.jsonl"),
        [
            json!({"text": "a", "__dj__suffix__": ".jsonl"}),
            json!({"text": "c", "__dj__suffix__": ".jsonl"}),
        ]
    );
}

#[test]
fn the_tracer_tells_changed_texts_and_no_parts() {
    let scratch = Scratch::new();
    let rows = [
        r#"{"id": 1, "text": "<table><tr><td>x</td></tr></table> mail a@b.org now"}"#,
        r#"{"id": 2, "text": "nothing|to see"}"#,
        r#"{"id": 3, "text": "c@d.org"}"#,
    ];
    scratch.write("in.jsonl", rows.join("\n"));
    scratch.write(
        "r.yaml",
        r"
dataset_path: in.jsonl
export_path: out.jsonl
open_tracer: true
trace_keys: [gone, id]
process:
  - extract_tables_from_html_mapper: {}
  - clean_email_mapper: {}
  - text_chunk_mapper: {split_pattern: '\|'}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let trace = |op: &str| format!("out.jsonl.djr/trace/sample_trace-{op}.jsonl");
    assert_eq!(
        scratch.rows(&trace("clean_email_mapper")),
        [
            json!({
                "gone": null,
                "id": 1,
                "original_text": "<table><tr><td>x</td></tr></table> mail a@b.org now",
                "processed_text": "<table><tr><td>x</td></tr></table> mail  now",
            }),
            json!({"gone": null, "id": 3, "original_text": "c@d.org", "processed_text": ""}),
        ]
    );
    // It adds a field and leaves the text as it is.
    let tables = trace("extract_tables_from_html_mapper");
    assert!(scratch.rows(&tables).is_empty());
    assert!(!scratch.path(&trace("text_chunk_mapper")).exists());
}
