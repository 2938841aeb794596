//! Operators that make one row of several: every row is accounted for, whatever the threads.

use std::fs;

use serde_json::{Value, json};

use crate::support::Scratch;

const ROWS: &str = r#"{"id": 1, "text": "a one", "lang": "fr", "x": 1e-07}
{"id": 2, "text": "b", "lang": "de"}
{"id": 3, "text": "c three", "lang": "fr", "tags": ["q"]}
{"id": 4, "text": "d four"}
{broken
{"id": 6, "text": "e five", "lang": null}
"#;

fn totals(manifest: &Value) -> [u64; 6] {
    ["in", "repeated", "out", "dropped", "quarantined", "merged"]
        .map(|name| manifest["rows"][name].as_u64().unwrap())
}

#[test]
fn rows_become_groups_and_are_accounted_for() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write(
        "r.yaml",
        r"
dataset_path: in.jsonl
export_path: out.jsonl
keep_stats_in_res_ds: true
process:
  - text_length_filter: {min_len: 2}
  - key_value_grouper: {group_by_keys: [lang]}
",
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(1);
    assert!(ran.stderr.contains("2 merged"), "{}", ran.stderr);
    assert_eq!(
        String::from_utf8(scratch.read("out.jsonl")).unwrap(),
        r#"{"id": [1, 3], "text": ["a one", "c three"], "lang": ["fr", "fr"], "x": [1e-07, null], "tags": [null, ["q"]], "__dj__stats__": [{"text_len": 5}, {"text_len": 7}]}
{"id": [4, 6], "text": ["d four", "e five"], "lang": [null, null], "__dj__stats__": [{"text_len": 6}, {"text_len": 6}]}
"#
    );
    assert_eq!(
        String::from_utf8(scratch.read("out_stats.jsonl")).unwrap(),
        r#"{"__dj__stats__": [{"text_len": 5}, {"text_len": 7}]}
{"__dj__stats__": [{"text_len": 6}, {"text_len": 6}]}
"#
    );
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    assert_eq!(totals(&manifest), [6, 0, 2, 1, 1, 2]);
    assert_eq!(manifest["steps"][1]["merged"], 2);
    let merged: Vec<_> = scratch
        .ledger("out.jsonl.djr")
        .into_iter()
        .filter(|entry| entry["fate"] == "merged")
        .map(|entry| (entry["line"].clone(), entry["merged_into"].clone()))
        .collect();
    let fourth = ROWS.find(r#"{"id": 4"#).unwrap();
    assert_eq!(merged, [(json!(3), json!(0)), (json!(6), json!(fourth))]);
    let why = scratch.djr(&["why", "out.jsonl", "3"]).expect(0).text();
    assert!(
        why.contains("merged by step 2 of 2, key_value_grouper")
            && why.contains("part of the group of")
            && why.contains("in.jsonl:1"),
        "{why}"
    );
    let why = scratch.djr(&["why", "out.jsonl", "3", "--json"]).expect(0);
    assert_eq!(why.told()[0]["merged_into"]["line"], 1);
    scratch.djr(&["verify", "out.jsonl"]).expect(0);
    let page = scratch.djr(&["report", "out.jsonl.djr"]).expect(0).text();
    assert!(page.contains(">2 merged<"));
}

#[test]
fn groups_are_taken_apart_again() {
    let scratch = Scratch::new();
    let rows = ROWS.replace("{broken\n", "");
    scratch.write("in.jsonl", rows);
    let run = |steps: &str| {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nexport_path: out.jsonl\nprocess:\n{steps}"),
        );
        scratch.djr(&["run", "r.yaml"])
    };
    run("  - text_length_filter: {min_len: 2}\n  - naive_grouper:\n  - naive_reverse_grouper:\n  - text_length_filter: {min_len: 1, max_len: 6}\n").expect(0);
    assert_eq!(
        scratch.rows("out.jsonl"),
        [
            json!({"id": 1, "text": "a one", "lang": "fr", "x": 1e-07, "tags": null}),
            json!({"id": 4, "text": "d four", "lang": null, "x": null, "tags": null}),
            json!({"id": 6, "text": "e five", "lang": null, "x": null, "tags": null}),
        ]
    );
    let stats = String::from_utf8(scratch.read("out_stats.jsonl")).unwrap();
    assert_eq!(stats.lines().count(), 3);
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    assert_eq!(totals(&manifest), [5, 3, 3, 2, 0, 3]);
    scratch.djr(&["verify", "out.jsonl"]).expect(0);

    // A filter of groups finds lists where it asks for a text, and stats that are not its own.
    run("  - naive_grouper:\n  - text_length_filter:\n").expect(1);
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    assert_eq!(totals(&manifest), [5, 0, 0, 0, 1, 4]);
    assert_eq!(manifest["reasons"][0]["code"], "wrong_type");
    run("  - text_length_filter: {min_len: 1}\n  - naive_grouper:\n  - image_shape_filter:\n")
        .expect(1);
    assert_eq!(
        totals(&scratch.json("out.jsonl.djr/manifest.json")),
        [5, 0, 0, 0, 1, 4]
    );

    // Rows that come as groups; the stats of an earlier run come with them.
    fs::rename(scratch.path("out.jsonl"), scratch.path("old.jsonl")).unwrap();
    scratch.write(
        "in.jsonl",
        r#"{"text": ["ab", "c"], "__dj__stats__": [{"text_len": 9}, {}]}"#,
    );
    run("  - naive_reverse_grouper:\n  - text_length_filter: {min_len: 2}\n").expect(0);
    assert_eq!(scratch.rows("out.jsonl"), [json!({"text": "ab"})]);
}

#[test]
fn threads_and_batches_change_no_group() {
    let rows: String = (0..500)
        .map(|n| {
            let row =
                json!({"id": n, "text": format!("t {}", n % 130), "k": {"v": n % 17}, "f": n % 3});
            if n % 41 == 5 {
                "{no\n".to_owned()
            } else {
                format!("{row}\n")
            }
        })
        .collect();
    let recipe = r"
dataset_path: in.jsonl
process:
  - document_deduplicator: {}
  - random_selector: {select_num: 100}
  - key_value_grouper: {group_by_keys: [k.v]}
  - naive_reverse_grouper:
  - text_chunk_mapper: {split_pattern: ' '}
  - key_value_grouper: {group_by_keys: [text, f]}
  - naive_grouper:
  - naive_reverse_grouper:
outputs:
  - {format: jsonl, path: all.jsonl}
  - {format: jsonl, path: some.jsonl, sample: 5, seed: 3}
";
    let mut reference: Option<Vec<Vec<u8>>> = None;
    for [threads, batch] in [["1", "1000"], ["2", "1"], ["8", "7"]] {
        let scratch = Scratch::new();
        scratch.write("in.jsonl", &rows);
        scratch.write("r.yaml", recipe);
        let args = ["run", "r.yaml", "--threads", threads, "--batch-rows", batch];
        scratch.djr(&args).expect(1);
        let [read, repeated, out, dropped, aside, merged] =
            totals(&scratch.json("all.jsonl.djr/manifest.json"));
        assert_eq!(read + repeated, out + dropped + aside + merged);
        assert!(
            merged > 100 && repeated > 50 && out > 40,
            "{merged} {repeated} {out}"
        );
        scratch.djr(&["verify", "all.jsonl"]).expect(0);
        let files = ["all.jsonl", "some.jsonl", "all.jsonl.djr/ledger.jsonl.zst"];
        let files: Vec<_> = files.iter().map(|name| scratch.read(name)).collect();
        match &reference {
            None => reference = Some(files),
            Some(reference) => assert!(*reference == files, "differs with {threads} threads"),
        }
    }
}

#[test]
fn a_group_is_no_longer_than_a_row_may_be() {
    let scratch = Scratch::new();
    let row = json!({"text": "x".repeat(35 << 20)}).to_string();
    scratch.write("in.jsonl", format!("{{\"text\": \"a\"}}\n{row}\n{row}\n"));
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: out.jsonl\nprocess:\n  - naive_grouper:\n",
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(3);
    assert!(
        ran.stderr
            .contains("naive_grouper: the group that begins with")
            && ran
                .stderr
                .contains("in.jsonl:1 is longer than 67108864 bytes"),
        "{}",
        ran.stderr
    );
    assert!(!scratch.path("out.jsonl").exists());
}

#[test]
fn image_paths_of_several_directories_stay_right() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("in/b")).unwrap();
    let row = |text: &str| json!({"text": text, "images": ["i.jpg"]}).to_string() + "\n";
    scratch.write("in/a.jsonl", row("a"));
    scratch.write("in/b/b.jsonl", row("b") + "{\"text\": \"c\"}\n");
    scratch.write(
        "r.yaml",
        "dataset_path: in\nexport_path: out/o.jsonl\nprocess:\n  - naive_grouper:\n",
    );
    scratch
        .djr(&["run", "r.yaml", "--set", "paths=relative"])
        .expect(0);
    assert_eq!(
        scratch.rows("out/o.jsonl"),
        [json!({"text": ["a", "b", "c"], "images": [["../in/i.jpg"], ["../in/b/i.jpg"], null]})]
    );
    scratch
        .djr(&["run", "r.yaml", "--set", "paths=keep"])
        .expect(0);
    let images = &scratch.rows("out/o.jsonl")[0]["images"];
    assert_eq!(images[0], json!(["i.jpg"]));
    let path = images[1][0].as_str().unwrap();
    assert!(
        path.starts_with('/') && path.ends_with("/in/b/i.jpg"),
        "{path}"
    );
    // Images of groups are checked one by one.
    fs::copy(
        crate::support::root().join("fixtures/dataset/images/00000/000003.jpg"),
        scratch.path("in/i.jpg"),
    )
    .unwrap();
    let checked = [
        "run",
        "r.yaml",
        "--set",
        "validate=exists",
        "--max-quarantine",
        "none",
    ];
    scratch.djr(&checked).expect(1);
    let manifest = scratch.json("out/o.jsonl.djr/manifest.json");
    assert_eq!(manifest["reasons"][0]["code"], "image_missing");
    fs::copy(scratch.path("in/i.jpg"), scratch.path("in/b/i.jpg")).unwrap();
    scratch.djr(&checked).expect(0);
    scratch.djr(&["verify", "out/o.jsonl"]).expect(0);
}

#[test]
fn what_is_known_of_a_group_goes_to_its_file() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        r#"{"text": ["a", "b"], "__dj__batch_meta__": {"of": "é", "n": 1.0}}
{"text": "no group", "__dj__batch_meta__": 1}
{"text": ["c"]}
{"text": [], "__dj__batch_meta__": ["none"]}
"#,
    );
    scratch.write(
        "r.yaml",
        "
dataset_path: in.jsonl
export_path: out.jsonl
process:
  - naive_reverse_grouper: {batch_meta_export_path: notes/groups.jsonl}
",
    );
    for args in [
        &["--threads", "1"][..],
        &["--threads", "8", "--batch-rows", "1"],
    ] {
        let mut all = vec!["run", "r.yaml", "--max-quarantine", "none"];
        all.extend(args);
        scratch.djr(&all).expect(1);
        // As Data-Juicer writes them, but for the row that fails its whole run.
        assert_eq!(
            String::from_utf8(scratch.read("notes/groups.jsonl")).unwrap(),
            "{\"of\": \"é\", \"n\": 1.0}\n[\"none\"]\n"
        );
        fs::remove_dir_all(scratch.path("notes")).unwrap();
    }
}
