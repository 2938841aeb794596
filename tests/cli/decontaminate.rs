//! Rows that hold questions or pictures of benchmark sets.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::{Scratch, root};

/// Three pictures of the fixtures, each with its bytes.
fn pictures() -> Vec<(String, Vec<u8>)> {
    ["000003", "000102", "000184"]
        .iter()
        .map(|name| {
            let name = format!("images/00000/{name}.jpg");
            let bytes = std::fs::read(root().join("fixtures/dataset").join(&name)).unwrap();
            (name, bytes)
        })
        .collect()
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    let pictures = pictures();
    std::fs::create_dir_all(scratch.path("images/00000")).unwrap();
    for (name, bytes) in &pictures {
        scratch.write(name, bytes);
    }
    // MMBench's shape: a picture as base64, and an index of the row that has it.
    let picture = BASE64_STANDARD.encode(&pictures[0].1);
    scratch.write(
        "mmbench.tsv",
        format!(
            "index\tquestion\thint\tA\tB\timage\n\
             4\tWhat is shown here?\t\ta cat\ta boat that lies at the pier of the old town by the lake\t{picture}\n\
             5\tWho is it?\t\tx\ty\t4\n"
        ),
    );
    // TextVQA's.
    scratch.write(
        "textvqa.json",
        json!({"data": [{"question": "What is the name of the red boat?", "image_id": "000102"}]})
            .to_string(),
    );
    let boat = "here: A boat, that lies at the pier of the old town by the lake";
    let rows = [
        json!({"id": "same", "text": "a", "images": [pictures[0].0]}),
        json!({"id": "other", "text": "b", "images": [pictures[2].0]}),
        json!({"id": "words", "text": boat, "images": []}),
        json!({"id": "vqa", "text": "c", "images": [pictures[1].0]}),
        json!({"id": "asked", "text": "<__dj__image> what is the NAME of the red boat", "images": []}),
        json!({"id": "fine", "text": "the name of the boat", "images": []}),
    ];
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    scratch.write("in.jsonl", format!("{}\n", lines.join("\n")));
    scratch
}

#[test]
fn a_benchmark_that_does_not_fit_into_the_memory_is_refused_by_name() {
    let scratch = scratch();
    let line = json!({"question": "What is the name of the red boat?"});
    scratch.write("large.jsonl", format!("{line}\n").repeat(30_000));
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [benchmark_overlap_filter: {benchmarks: large.jsonl, images: false}]\n",
    );
    for command in [
        &[
            "decontaminate",
            "in.jsonl",
            "--against",
            "large.jsonl",
            "--no-images",
            "-o",
            "o.jsonl",
        ][..],
        &["run", "r.yaml"],
        &["analyze", "in.jsonl", "--recipe", "r.yaml", "-o", "look"],
    ] {
        let ran = scratch
            .djr(&[command, &["--max-memory", "8MB"]].concat())
            .expect(2);
        let told =
            "large.jsonl: a benchmark of more than 1000000 bytes does not fit into max_memory";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        assert!(ran.stderr.contains("djr index"), "{}", ran.stderr);
        assert!(ran.stderr.contains("8 times its size"), "{}", ran.stderr);
        assert!(!scratch.path("o.jsonl").exists());
        let enough = [command, &["--max-memory", "64MB"]].concat();
        scratch.djr(&enough).expect(0);
        let _ = std::fs::remove_file(scratch.path("o.jsonl"));
        let _ = std::fs::remove_dir_all(scratch.path("o.jsonl.djr"));
    }
}

fn ids(scratch: &Scratch, name: &str) -> Vec<String> {
    let rows = scratch.rows(name);
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

const AGAINST: [&str; 6] = [
    "--against",
    "mmbench.tsv",
    "--against",
    "textvqa.json",
    "--image-folder",
    "images/00000",
];

#[test]
fn rows_of_both_usual_benchmarks_go_and_say_what_they_matched() {
    let scratch = scratch();
    let args = [
        &[
            "decontaminate",
            "in.jsonl",
            "-o",
            "out.jsonl",
            "--questions",
            "--dropped",
            "gone.jsonl",
        ],
        &AGAINST[..],
    ]
    .concat();
    let ran = scratch.djr(&args).expect(0);
    assert_eq!(ids(&scratch, "out.jsonl"), ["other", "fine"]);
    assert_eq!(
        ids(&scratch, "gone.jsonl"),
        ["same", "words", "vqa", "asked"]
    );
    for line in [
        "1 row matches mmbench.tsv (picture)",
        "1 row matches mmbench.tsv (13 words)",
        "1 row matches textvqa.json (picture)",
        "1 row matches textvqa.json (question)",
    ] {
        assert!(ran.stderr.contains(line), "no '{line}' in {}", ran.stderr);
    }
    let why = scratch.djr(&["why", "out.jsonl", "words"]).expect(0).text();
    assert!(
        why.contains("mmbench.tsv:1 (13 words)") && why.contains("max_ngrams: 0"),
        "{why}"
    );
    let gone = String::from_utf8(scratch.read("gone.jsonl")).unwrap();
    assert!(gone.contains("textvqa.json:1 (picture, 0 bits)"), "{gone}");
    // The rows that stay are as they were.
    let rows = String::from_utf8(scratch.read("in.jsonl")).unwrap();
    let out = String::from_utf8(scratch.read("out.jsonl")).unwrap();
    assert!(out.lines().all(|line| rows.contains(line)));
}

#[test]
fn an_index_answers_as_the_files_do_without_their_pictures() {
    let scratch = scratch();
    let plain = [
        &["decontaminate", "in.jsonl", "-o", "plain.jsonl"],
        &AGAINST[..],
    ]
    .concat();
    scratch.djr(&plain).expect(0);
    let index = [
        "index",
        "mmbench.tsv",
        "textvqa.json",
        "--image-folder",
        "images/00000",
        "-o",
        "all.json",
        "--json",
    ];
    let answer = scratch.djr(&index).expect(0).answer();
    assert_eq!(answer["result"]["questions"], 3);
    assert_eq!(answer["result"]["pictures"], 3);
    std::fs::remove_file(scratch.path("mmbench.tsv")).unwrap();
    let indexed = [
        "decontaminate",
        "in.jsonl",
        "--against",
        "all.json",
        "-o",
        "indexed.jsonl",
    ];
    for threads in ["1", "3"] {
        let args = [&indexed[..], &["--threads", threads, "--force"]].concat();
        scratch.djr(&args).expect(0);
        assert_eq!(scratch.read("indexed.jsonl"), scratch.read("plain.jsonl"));
    }
    assert_eq!(ids(&scratch, "plain.jsonl"), ["other", "asked", "fine"]);
    // An index that changed is another plan.
    scratch.write("all.json", "{}");
    let ran = scratch.djr(&indexed).expect(2);
    assert!(ran.stderr.contains("all.json"), "{}", ran.stderr);
}

#[test]
fn what_is_no_benchmark_is_said_before_a_row_is_read() {
    let scratch = scratch();
    for (args, why) in [
        (&["--against", "nosuch.tsv"][..], "nosuch.tsv is not there"),
        (
            &["--against", "in.jsonl", "--image-folder", "images/00000"],
            "no picture",
        ),
        (&["--against", "textvqa.json"], "no picture '000102'"),
        (
            &["--against", "mmbench.tsv", "--no-images", "--ngram", "0"],
            "neither words nor pictures",
        ),
    ] {
        let all = [&["decontaminate", "in.jsonl", "-o", "no.jsonl"], args].concat();
        let ran = scratch.djr(&all).expect(2);
        assert!(ran.stderr.contains(why), "{args:?}: {}", ran.stderr);
    }
}
