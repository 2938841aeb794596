//! Commands as stages of a pipeline, long streams, and runs that are stopped.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Scratch, rows};

const RECIPE: &str = "process:\n  - text_length_filter: {min_len: 5}\n";

#[test]
fn rows_stream_from_standard_input_to_standard_output() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let input = b"{\"text\": \"long enough\", \"n\": 1e-07}\n{\"text\": \"no\"}\n";
    let ran = scratch
        .djr_with(&["run", "r.yaml", "--input", "-", "--output", "-"], input)
        .expect(0);
    assert_eq!(ran.text(), "{\"text\": \"long enough\", \"n\": 1e-07}\n");
    assert!(
        scratch.files("").iter().all(|f| !f.contains(".djr")),
        "a clean pipeline stage leaves no files"
    );
}

#[test]
fn convert_and_subset_are_stages_too() {
    let scratch = Scratch::new();
    let row = "{\"id\": 7, \"text\": \"[[human]]: q\\n[[gpt]]: a <|__dj__eoc|>\"}\n";
    let ran = scratch
        .djr_with(&["convert", "--to", "llava"], row.as_bytes())
        .expect(0);
    let records: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(records[0]["id"], 7);
    assert_eq!(records[0]["conversations"][1]["value"], "a");
    let back = scratch
        .djr_with(&["convert", "--to", "dj"], &ran.stdout)
        .expect(0);
    assert_eq!(
        rows(&back.stdout)[0]["text"],
        "[[human]]: q\n[[gpt]]: a <|__dj__eoc|>"
    );
    let ran = scratch
        .djr_with(
            &["subset", "--n", "2"],
            b"{\"n\": 1}\n{\"n\": 2}\n{\"n\": 3}\n",
        )
        .expect(0);
    assert_eq!(ran.text().lines().count(), 2);
}

#[test]
fn a_reader_that_goes_away_is_success() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(["run", "r.yaml", "--input", "-", "--output", "-"])
        .current_dir(scratch.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let writer = std::thread::spawn(move || {
        let line = format!("{{\"text\": \"{}\"}}\n", "x".repeat(1000));
        while stdin.write_all(line.as_bytes()).is_ok() {}
    });
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    drop(out);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    writer.join().unwrap();
}

#[test]
fn an_interrupted_run_leaves_nothing_half_written() {
    let scratch = Scratch::new();
    scratch.write(
        "r.yaml",
        "export_path: out/o.jsonl\nprocess:\n  - text_length_filter: {min_len: 5}\n",
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(["run", "r.yaml", "--input", "-"])
        .current_dir(scratch.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let pid = child.id();
    let writer = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline && stdin.write_all(b"{\"text\": \"long enough\"}\n").is_ok()
        {
        }
    });
    // The signal handler stands before the output is opened.
    while scratch.files("out").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    writer.join().unwrap();
    assert_eq!(scratch.files("out"), Vec::<String>::new());
}

#[test]
fn a_hundred_thousand_rows_stream_in_bounded_memory() {
    let scratch = Scratch::new();
    let fixture = scratch.read("fixtures/dataset/rows.jsonl");
    let sound: Vec<&[u8]> = fixture
        .split(|b| *b == b'\n')
        .filter(|line| {
            line.len() < 1000
                && serde_json::from_slice::<serde_json::Value>(line)
                    .is_ok_and(|v| v["text"].is_string())
        })
        .collect();
    let mut rows = Vec::new();
    for index in 0..100_000 {
        rows.extend_from_slice(sound[index % sound.len()]);
        rows.push(b'\n');
    }
    scratch.write("many.jsonl", &rows);
    let mut recipe = String::from("dataset_path: many.jsonl\nexport_path: out.jsonl\nprocess:\n");
    for step in [
        "text_length_filter: {min_len: 1}",
        "document_deduplicator:",
        "random_selector: {select_num: 10}",
    ] {
        writeln!(recipe, "  - {step}").unwrap();
    }
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    assert_eq!(manifest["rows"]["in"], 100_000);
    let peak = manifest["peak_memory_bytes"].as_u64().unwrap();
    assert!(
        rows.len() > 15_000_000,
        "the input is larger than what may be in flight"
    );
    assert!(peak < 120_000_000, "peak memory {peak}");
}
