//! Files that operators and outputs read are part of what a run is: one that changed is named.

use std::fs;

use crate::support::Scratch;

const LIST: &str = "words/flagged_words.json";

const RECIPE: &str = "\
dataset_path: rows.jsonl
export_path: out/clean.jsonl
process:
  - flagged_words_filter: {flagged_words_dir: words, lang: en, max_ratio: 0.4}
";

/// Rows of which one list flags the even ones and the other the odd ones.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("words")).unwrap();
    scratch.write(LIST, r#"{"en": ["bad"]}"#);
    scratch.write("r.yaml", RECIPE);
    let row = |number: u32| {
        let word = ["bad", "nice"][number as usize % 2];
        format!("{{\"id\": {number}, \"text\": \"{word} {word} word\"}}\n")
    };
    scratch.write("rows.jsonl", (0..2000).map(row).collect::<String>());
    scratch
}

fn change(scratch: &Scratch) {
    scratch.write(LIST, r#"{"en": ["nice"]}"#);
}

#[test]
fn a_list_that_changed_between_kill_and_resume_is_refused_by_name() {
    let scratch = scratch();
    let arguments = [
        "run",
        "r.yaml",
        "--checkpoint-every",
        "0",
        "--batch-rows",
        "64",
    ];
    let killed = crate::resume::killed_at(&scratch, &arguments, ("rename", "4"));
    assert!(killed, "the run was to be killed");
    change(&scratch);
    let resumed = ["run", "r.yaml", "--resume"];
    let ran = scratch.djr(&resumed).expect(2);
    assert!(
        ran.stderr
            .contains("flagged_words.json: its content is another"),
        "{}",
        ran.stderr
    );
    assert!(!scratch.path("out/clean.jsonl").exists());
    // With the list as it was the run goes on, and only the rows it lets pass are there.
    scratch.write(LIST, r#"{"en": ["bad"]}"#);
    scratch.djr(&resumed).expect(0);
    let rows = scratch.rows("out/clean.jsonl");
    assert_eq!(rows.len(), 1000);
    assert!(rows.iter().all(|row| row["id"].as_u64().unwrap() % 2 == 1));
}

#[test]
fn a_list_that_changed_is_refused_by_recut_and_reported_by_verify() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml"]).expect(0);
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    scratch.djr(&["verify", "out/clean.jsonl"]).expect(0);
    let manifest = scratch.json("out/clean.jsonl.djr/manifest.json");
    let asset = &manifest["plan"]["steps"][0]["assets"][0];
    assert!(asset["path"].as_str().unwrap().ends_with(LIST), "{asset}");
    assert_eq!(asset["bytes"], 15);
    change(&scratch);
    for what in ["out/clean.jsonl.djr", "look"] {
        let set = "flagged_words_filter.max_ratio=0.2";
        let ran = scratch
            .djr(&["recut", what, "--set", set, "-o", "cut.jsonl"])
            .expect(2);
        assert!(ran.stderr.contains("flagged_words.json"), "{}", ran.stderr);
        assert!(!scratch.path("cut.jsonl").exists());
    }
    let ran = scratch.djr(&["verify", "out/clean.jsonl"]).expect(1);
    assert!(
        ran.text()
            .contains("flagged_words.json: its content is another"),
        "{}",
        ran.text()
    );
    let plan = |scratch: &Scratch| {
        let text = scratch
            .djr(&["run", "r.yaml", "--explain"])
            .expect(0)
            .text();
        let line = text.lines().find(|line| line.starts_with("plan ")).unwrap();
        line.to_owned()
    };
    let changed = plan(&scratch);
    scratch.write(LIST, r#"{"en": ["bad"]}"#);
    assert_ne!(plan(&scratch), changed);
    assert!(plan(&scratch).ends_with(manifest["plan_digest"].as_str().unwrap()));
}

#[test]
fn questions_are_part_of_a_run_too() {
    let scratch = Scratch::new();
    let questions = |text: &str| {
        let human = format!("{{\"from\": \"human\", \"value\": \"{text}\"}}");
        let gpt = "{\"from\": \"gpt\", \"value\": \"a\"}";
        format!("[{{\"id\": \"1\", \"conversations\": [{human}, {gpt}]}}]")
    };
    scratch.write("q.json", questions("one?"));
    scratch.write("rows.jsonl", "{\"id\": \"1\", \"text\": \"a\"}\n");
    scratch
        .djr(&[
            "convert",
            "--to",
            "llava",
            "rows.jsonl",
            "--questions",
            "q.json",
            "-o",
            "a.json",
        ])
        .expect(0);
    scratch.djr(&["verify", "a.json"]).expect(0);
    scratch.write("q.json", questions("two?"));
    let ran = scratch.djr(&["verify", "a.json"]).expect(1);
    assert!(
        ran.text().contains("q.json: its content is another"),
        "{}",
        ran.text()
    );
}
