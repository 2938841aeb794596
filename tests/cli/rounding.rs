//! Stats are rounded before they decide, as Data-Juicer 1.6.1 does, and told as they were measured.

use serde_json::Value;

use crate::support::Scratch;

/// Three of ten characters are special in `edge`: 0.3, which comes back as 0.30000000000000004.
const ROWS: &str = r#"{"id":"edge","text":"abcdefg---"}
{"id":"below","text":"abcdefgh--"}
{"id":"given","text":"abcdefg---","__dj__stats__":{"special_char_ratio":0.3}}
{"id":"above","text":"abcdef----"}
{"id":"third","text":"ab-"}
"#;

const RECIPE: &str = "\
dataset_path: in.jsonl
export_path: out.jsonl
process:
  - special_characters_filter: {min_ratio: null, max_ratio: 0.3}
";

fn ids(scratch: &Scratch, file: &str) -> Vec<String> {
    let rows = scratch.rows(file).into_iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write("r.yaml", RECIPE);
    scratch
}

#[test]
fn the_peers_answer_on_a_bound_is_the_default() {
    let scratch = scratch();
    let ran = scratch
        .djr(&["run", "r.yaml", "--run-dir", "run"])
        .expect(0);
    assert_eq!(ids(&scratch, "out.jsonl"), ["below", "given"]);
    assert!(
        ran.stderr
            .contains("decided 1 row of step 1 (special_characters_filter)"),
        "{}",
        ran.stderr
    );
    let manifest = scratch.json("run/manifest.json");
    assert_eq!(manifest["steps"][0]["rounding_decided"], 1);

    // What is told is what was measured.
    let why = scratch.djr(&["why", "run", "edge"]).text();
    assert!(
        why.contains("max_ratio: 0.3, rounded to 0.30000000000000004"),
        "{why}"
    );
    let why = scratch.djr(&["why", "run", "third"]).text();
    assert!(why.contains("0.3333333333333333"), "{why}");
    assert!(!why.contains("rounded"), "{why}");
    // What is exported is what Data-Juicer would export, but for what came with the rows.
    let stats: Vec<Value> = scratch.rows("out_stats.jsonl");
    assert_eq!(stats[0]["__dj__stats__"]["special_char_ratio"], 0.2);
    assert_eq!(stats[1]["__dj__stats__"]["special_char_ratio"], 0.3);
}

#[test]
fn exact_stats_can_be_asked_for() {
    let scratch = scratch();
    let ran = scratch
        .djr(&["run", "r.yaml", "--set", "compat_stats=exact"])
        .expect(0);
    assert_eq!(ids(&scratch, "out.jsonl"), ["edge", "below", "given"]);
    assert!(!ran.stderr.contains("rounding"), "{}", ran.stderr);
}

#[test]
fn a_run_without_a_row_on_a_bound_says_nothing() {
    let scratch = scratch();
    let set = "special_characters_filter.max_ratio=0.35";
    let ran = scratch.djr(&["run", "r.yaml", "--set", set]).expect(0);
    assert!(!ran.stderr.contains("rounding"), "{}", ran.stderr);
}

#[test]
fn rounding_holds_behind_a_barrier_and_in_a_recut() {
    let scratch = scratch();
    scratch.write(
        "barrier.yaml",
        "\
dataset_path: in.jsonl
export_path: late.jsonl
process:
  - special_characters_filter: {min_ratio: null, max_ratio: null}
  - random_selector: {select_ratio: 1.0}
  - special_characters_filter: {max_ratio: 0.3}
",
    );
    scratch
        .djr(&["run", "barrier.yaml", "--run-dir", "late"])
        .expect(0);
    let mut late = ids(&scratch, "late.jsonl");
    late.sort();
    assert_eq!(late, ["below", "given"]);
    let manifest = scratch.json("late/manifest.json");
    assert_eq!(manifest["steps"][2]["rounding_decided"], 1);

    let set = "special_characters_filter.max_ratio=0.35";
    scratch
        .djr(&["run", "r.yaml", "--set", set, "--run-dir", "run"])
        .expect(0);
    let set = "special_characters_filter.max_ratio=0.3";
    scratch
        .djr(&["recut", "run", "--set", set, "-o", "cut.jsonl"])
        .expect(0);
    assert_eq!(ids(&scratch, "cut.jsonl"), ["below", "given"]);
}
