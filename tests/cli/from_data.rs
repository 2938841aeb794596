//! Bounds that come from the data, and near-duplicate pictures.

use serde_json::{Value, json};

use crate::support::Scratch;

const ROWS: &str = r#"{"id":1,"text":"a"}
{"id":2,"text":"bb"}
{"id":3,"text":"ccc"}
{"id":4,"text":"dddd"}
{"id":5,"text":"dddd"}
{"id":6,"text":"eeeeeeeeeeee"}
{"id":7,"text":null}
"#;

fn fates(scratch: &Scratch) -> Vec<Value> {
    let mut ledger = scratch.ledger("o.jsonl.djr");
    ledger.sort_by_key(|entry| entry["line"].as_u64());
    ledger
        .into_iter()
        .map(|entry| json!([entry["fate"], entry["value"], entry["limit"]]))
        .collect()
}

#[test]
fn bounds_are_looked_up_among_the_rows_that_reach_the_filter() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write(
        "r.yaml",
        "process:\n  - text_length_filter: {min_len: p20, max_len: 1sigma, keep: best 2}\n",
    );
    let args = [
        "run", "r.yaml", "--input", "in.jsonl", "--output", "o.jsonl",
    ];
    scratch.djr(&args).expect(1);
    let last = "keep: best 2, the last of them 4";
    assert_eq!(
        fates(&scratch),
        [
            json!(["dropped", 1, "min_len: 2 (p20)"]),
            json!(["dropped", 2, last]),
            json!(["dropped", 3, last]),
            json!(["kept", null, null]),
            json!(["kept", null, null]),
            json!(["dropped", 12, "max_len: 7.923443204756337 (1sigma)"]),
            json!(["quarantined", null, null]),
        ]
    );
    let manifest = scratch.json("o.jsonl.djr/manifest.json");
    assert_eq!(
        manifest["steps"][0]["from_data"],
        json!([
            {"param": "min_len", "from": "p20", "value": 2.0},
            {"param": "max_len", "from": "1sigma", "value": 7.923_443_204_756_337},
            {"param": "keep", "from": "best 2", "value": 4.0},
        ])
    );
    let output = scratch.read("o.jsonl");
    for more in [
        ["--threads", "8", "--batch-rows", "1"],
        ["--threads", "1", "--batch-rows", "2"],
    ] {
        let all: Vec<_> = args.iter().chain(&more).collect();
        scratch.djr(&all).expect(1);
        assert_eq!(scratch.read("o.jsonl"), output);
    }
}

#[test]
fn a_bound_counts_only_rows_that_earlier_steps_left() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    // Lengths 1 to 4 are left when the median is taken.
    scratch.write(
        "r.yaml",
        "process:\n  - text_length_filter: {min_len: 1, max_len: 9}\n  - topk_specified_field_selector: {field_key: id, topk: 4, reverse: false}\n  - words_num_filter: {min_num: 1}\n  - text_length_filter: {min_len: p50}\n",
    );
    scratch
        .djr(&[
            "run", "r.yaml", "--input", "in.jsonl", "--output", "o.jsonl",
        ])
        .expect(1);
    let kept: Vec<_> = scratch
        .rows("o.jsonl")
        .iter()
        .map(|row| row["id"].clone())
        .collect();
    assert_eq!(kept, [3, 4]);
    assert_eq!(
        scratch.json("o.jsonl.djr/manifest.json")["steps"][3]["from_data"][0]["value"],
        2.5
    );
}

#[test]
fn the_plan_says_where_bounds_come_from_and_nonsense_is_refused() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write(
        "r.yaml",
        "process:\n  - image_aspect_ratio_filter: {max_ratio: 3sigma}\n",
    );
    let plan = scratch
        .djr(&["run", "r.yaml", "--input", "in.jsonl", "--explain"])
        .expect(0);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("max_ratio: \"3sigma\""), "{plan}");
    assert!(
        plan.contains("max_ratio from the data, decides when all rows are measured"),
        "{plan}"
    );
    assert!(plan.contains("stage 1 of 2"), "{plan}");
    scratch.write(
        "bad.yaml",
        "dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {min_len: p101, keep: most 2}\n  - suffix_filter: {keep: best 2}\n  - image_shape_filter: {keep: best 2}\n  - character_repetition_filter: {rep_len: p5}\n",
    );
    let told = scratch.djr(&["check", "bad.yaml"]).expect(2).stderr;
    for problem in [
        "bad.yaml:3:35: 'min_len' of text_length_filter: 'p101' is no percentile",
        "bad.yaml:3:47: 'keep' of text_length_filter: 'most' is neither best nor worst",
        "bad.yaml:4:27: 'keep': suffix_filter measures nothing",
        "bad.yaml:5:32: 'keep': image_shape_filter measures several stats",
        "bad.yaml:6:44: 'rep_len' of character_repetition_filter: expected a whole number",
    ] {
        assert!(told.contains(problem), "{problem}\n{told}");
    }
}

#[test]
fn near_pictures_are_dropped_and_name_the_first() {
    let scratch = Scratch::new();
    let row = |id: u32, names: &[&str]| {
        let images: Vec<String> = names
            .iter()
            .map(|name| format!("fixtures/golden/_images/{name}"))
            .collect();
        json!({"id": id, "text": "a", "images": images}).to_string() + "\n"
    };
    let rows = [
        row(1, &["scene.png"]),
        row(2, &["noise_300x100.png"]),
        row(3, &["scene_q30.jpg"]),
        row(4, &[]),
        row(5, &["scene_half_size.jpg"]),
        row(6, &[]),
    ];
    scratch.write("in.jsonl", rows.concat());
    for method in ["phash", "dhash", "ahash", "whash"] {
        let recipe =
            format!("process:\n  - image_deduplicator: {{method: {method}, threshold: 12}}\n");
        scratch.write("r.yaml", recipe);
        scratch
            .djr(&[
                "run", "r.yaml", "--input", "in.jsonl", "--output", "o.jsonl",
            ])
            .expect(0);
        let kept: Vec<_> = scratch
            .rows("o.jsonl")
            .iter()
            .map(|row| row["id"].clone())
            .collect();
        assert_eq!(kept, [1, 2, 4, 6], "{method}");
        let ledger = scratch.ledger("o.jsonl.djr");
        let dropped: Vec<_> = ledger
            .iter()
            .filter(|entry| entry["fate"] == "dropped")
            .collect();
        assert!(dropped.len() == 2 && dropped.iter().all(|entry| entry["duplicate_of"] == 0));
    }
}
