//! `op_fusion`: another order of filters, the same rows and stats; and what `--probe` says of it.

use serde_json::Value;

use crate::support::Scratch;

const ROWS: &str = r#"{"id": 1, "text": "long enough", "images": ["scene_mirror.jpg"]}
{"id": 2, "text": "no", "images": ["scene_mirror.jpg"]}
{"id": 3, "text": "no", "images": ["none.jpg"]}
{"id": 4, "text": "long enough", "images": ["none.jpg"]}
{"id": 5, "text": "also long enough", "images": ["scene_mirror.jpg"]}
"#;

const FILTERS: &str = "
  - image_shape_filter: {min_width: 2}
  - image_size_filter: {min_size: 1KB}
  - text_length_filter: {min_len: 5}
  - words_num_filter: {min_num: 1}
";

fn recipe(head: &str, steps: &str) -> String {
    format!("image_root: fixtures/golden/_images\npaths: keep\n{head}\nprocess:{steps}")
}

/// Runs the recipe and gives its output, its stats, images opened, and who decided each row.
fn ran(head: &str, steps: &str) -> (Vec<u8>, Vec<u8>, Value, Vec<String>) {
    let scratch = Scratch::new();
    scratch.write("r.yaml", recipe(head, steps));
    scratch.write("rows.jsonl", ROWS);
    let args = [
        "run",
        "r.yaml",
        "--input",
        "rows.jsonl",
        "--output",
        "o.jsonl",
    ];
    let code = scratch.djr(&args).code;
    assert!(code < 2, "exit code {code}");
    let by = |entry: &Value| entry["by"].as_str().unwrap_or("-").to_owned();
    (
        scratch.read("o.jsonl"),
        scratch.read("o_stats.jsonl"),
        scratch.json("o.jsonl.djr/manifest.json")["images"]["opened"].clone(),
        scratch.ledger("o.jsonl.djr").iter().map(by).collect(),
    )
}

#[test]
fn cheap_filters_run_first_and_the_same_rows_survive() {
    let written = ran("", FILTERS);
    let fused = ran("op_fusion: true", FILTERS);
    assert!(!written.0.is_empty());
    assert_eq!(written.0, fused.0);
    assert_eq!(written.1, fused.1);
    assert_eq!((written.2, fused.2), (3.into(), 2.into()));
    let shape = "image_shape_filter";
    assert_eq!(written.3, ["-", "text_length_filter", shape, shape, "-"]);
    let (text, size) = ("text_length_filter", "image_size_filter");
    assert_eq!(fused.3, ["-", text, text, size, "-"]);
}

#[test]
fn the_order_stays_where_it_would_show() {
    let first = |head: &str, steps: &str| {
        let scratch = Scratch::new();
        scratch.write("r.yaml", recipe(&format!("op_fusion: true\n{head}"), steps));
        scratch.write("rows.jsonl", ROWS);
        let args = [
            "run",
            "r.yaml",
            "--input",
            "rows.jsonl",
            "--output",
            "-",
            "--explain",
        ];
        let text = scratch.djr(&args).expect(0).text();
        let steps = text.lines().filter(|line| line.contains("_filter "));
        let names: Vec<String> = steps
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect();
        (names, text.contains("op_fusion"))
    };
    let (fused, told) = first("", FILTERS);
    assert_eq!(fused.first().unwrap(), "text_length_filter");
    assert!(told);
    let as_written = |head: &str, steps: &str| {
        let (names, told) = first(head, steps);
        assert_eq!(
            names.first().unwrap(),
            "image_shape_filter",
            "{head}{steps}"
        );
        assert!(!told);
    };
    as_written("on_error: fail", FILTERS);
    as_written("open_tracer: true", FILTERS);
    as_written("", &format!("\n  - document_deduplicator:{FILTERS}"));
    as_written(
        "",
        "
  - image_shape_filter:
  - clean_email_mapper:
  - text_length_filter:
",
    );
    as_written(
        "",
        "
  - image_shape_filter:
  - general_field_filter: {filter_condition: id > 1}
",
    );
    // The first of two that share a stat measures it for both.
    as_written(
        "",
        "
  - image_shape_filter:
  - word_repetition_filter: {rep_len: 2}
  - word_repetition_filter: {rep_len: 3}
",
    );
}

#[test]
fn a_probe_measures_and_writes_nothing() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", recipe("", FILTERS));
    scratch.write("rows.jsonl", ROWS);
    let args = [
        "run",
        "r.yaml",
        "--input",
        "rows.jsonl",
        "--output",
        "o.jsonl",
        "--explain",
    ];
    let before = scratch.files("");
    let plain = scratch.djr(&args).expect(0).text();
    let probed = scratch
        .djr(&[&args[..], &["--probe"]].concat())
        .expect(0)
        .text();
    assert_eq!(scratch.files(""), before);
    let measured: Vec<&str> = probed
        .lines()
        .filter(|line| line.contains("µs a row"))
        .collect();
    assert_eq!(measured.len(), 4);
    assert!(measured[0].contains("5 rows") && measured[0].contains("2 cannot be processed"));
    assert!(measured[2].contains("3 rows") && measured[2].contains("1 dropped"));
    assert_eq!(probed.lines().count(), plain.lines().count() + 5);
    assert!(
        probed.contains("takes  ") && probed.contains(" for 5 rows, "),
        "{probed}"
    );
    let few = scratch
        .djr(&[&args[..], &["--probe", "1"]].concat())
        .expect(0)
        .text();
    assert!(
        few.contains(" 1 row, ") && !few.contains("dropped"),
        "{few}"
    );
}
