//! Runs that ask a model: the same bytes for any threads and batches, however workers fail, and
//! after any kill; refused before a row is read where nobody can answer.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Rows, some of which no request is made for, some dropped before, some with the stat.
const ROWS: usize = 1500;

/// The sum of the bytes of the word that a worker may be told to die of: `poison`.
fn poison() -> u64 {
    "poison".bytes().map(u64::from).sum()
}

fn write_rows(dir: &Path, poisoned: bool) {
    let mut rows = String::new();
    for n in 0..ROWS {
        let words = match n % 5 {
            0 => String::new(),
            k => vec![format!("w{}", n * 7919 % 1000); k].join(" "),
        };
        let words = if poisoned && n == 700 {
            "poison"
        } else {
            &words
        };
        let stats = if n % 50 == 3 {
            r#", "__dj__stats__": {"sum": 1.5}"#
        } else {
            ""
        };
        writeln!(rows, r#"{{"id": {n}, "text": "{words}"{stats}}}"#).unwrap();
    }
    fs::write(dir.join("rows.jsonl"), rows).unwrap();
}

fn recipe(dir: &Path, batch: usize, steps: &str) {
    let text = format!(
        "dataset_path: rows.jsonl\nexport_path: out.jsonl\nmodel_batch: {batch}\n\
         process:\n  - text_length_filter: {{min_len: 0, max_len: 18}}\n{steps}\
         \n  - words_num_filter: {{min_num: 0}}\n"
    );
    fs::write(dir.join("r.yaml"), text).unwrap();
}

const SUM: &str = "  - sum_filter: {min_sum: 200}";

fn command(dir: &Path, orders: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_djr_sum"));
    command
        .args([
            "run",
            "r.yaml",
            "-q",
            "--python",
            env!("CARGO_BIN_EXE_fake_worker"),
        ])
        .args(args)
        .env("FAKE_WORKER", orders)
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

fn run(dir: &Path, orders: &str, args: &[&str]) -> Output {
    command(dir, orders, args).output().unwrap()
}

/// What a run left, but for its manifest; the output, ledger and stats unpacked.
fn left(dir: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let unpacked = |name: &str| zstd::decode_all(&fs::read(dir.join(name)).unwrap()[..]).unwrap();
    let set_aside = fs::read(dir.join("out.jsonl.djr/quarantine.jsonl")).unwrap_or_default();
    BTreeMap::from([
        ("rows", fs::read(dir.join("out.jsonl")).unwrap()),
        ("ledger", unpacked("out.jsonl.djr/ledger.jsonl.zst")),
        ("stats", unpacked("out.jsonl.djr/stats.jsonl.zst")),
        ("quarantine", set_aside),
    ])
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("out.jsonl.djr/manifest.json")).unwrap()).unwrap()
}

/// What is there without any model: the same sums, in plain Rust.
fn expected_rows() -> Vec<u64> {
    (0..ROWS as u64)
        .filter(|n| {
            let word = format!("w{}", n * 7919 % 1000);
            let count = n % 5;
            let length = (word.len() as u64 + 1) * count;
            let sum: u64 = word.bytes().map(u64::from).sum::<u64>() * count;
            length.saturating_sub(1) <= 18 && sum >= 200 && n % 50 != 3
        })
        .collect()
}

#[test]
fn answers_do_not_depend_on_threads_or_batches_or_failing_workers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, false);
    recipe(dir, 64, SUM);
    let mut reference = None;
    let ways = [
        ("1", "512", ""),
        ("2", "7", ""),
        ("8", "1", ""),
        ("2", "64", "die-at=3"),
        ("2", "64", "garbage-at=2"),
        ("1", "33", "wrong-at=4"),
    ];
    for (threads, batch_rows, orders) in ways {
        let args = ["--threads", threads, "--batch-rows", batch_rows];
        let ran = run(dir, orders, &args);
        assert!(
            ran.status.success(),
            "{ways:?} {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let now = left(dir);
        if reference.is_none() {
            let rows = String::from_utf8(now["rows"].clone()).unwrap();
            let ids: Vec<u64> = rows
                .lines()
                .map(|line| {
                    serde_json::from_str::<Value>(line).unwrap()["id"]
                        .as_u64()
                        .unwrap()
                })
                .collect();
            assert_eq!(ids, expected_rows());
            let service = &manifest(dir)["services"][0];
            assert_eq!(
                service["runs_on"],
                "Fake 0, torch 0.fake, transformers 0.fake"
            );
            let (asked, room) = (&service["requests"], &service["room"]);
            let fill = asked.as_f64().unwrap() / room.as_f64().unwrap();
            assert!(fill > 0.9, "batches are full: {service}");
        }
        assert!(
            *reference.get_or_insert(now.clone()) == now,
            "{threads} {batch_rows} {orders}"
        );
    }
    // Another batch of the model is another plan, and the same answer of this model.
    for batch in [1, 7, 5000] {
        recipe(dir, batch, SUM);
        let ran = run(dir, "", &["--threads", "2"]);
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        assert!(reference.as_ref() == Some(&left(dir)), "batch {batch}");
    }
}

#[test]
fn a_row_that_kills_the_worker_is_set_aside_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, true);
    recipe(dir, 64, SUM);
    let ran = run(dir, &format!("die-on={}", poison()), &[]);
    assert_eq!(
        ran.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let now = left(dir);
    let set_aside = String::from_utf8(now["quarantine"].clone()).unwrap();
    assert_eq!(set_aside.lines().count(), 1);
    let record: Value = serde_json::from_str(&set_aside).unwrap();
    assert_eq!(
        (&record["code"], &record["line"]),
        (&"model_failed".into(), &701.into())
    );
    let message = record["message"].as_str().unwrap();
    assert!(message.contains("the fake worker dies of"), "{message}");
    let expected = expected_rows().iter().filter(|n| **n != 700).count();
    assert_eq!(now["rows"].split(|b| *b == b'\n').count() - 1, expected);
}

#[test]
fn a_run_that_nobody_can_answer_is_refused_before_a_row_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, false);
    let refused = |orders: &str, steps: &str, args: &[&str], words: &[&str]| {
        recipe(dir, 64, steps);
        let ran = run(dir, orders, args);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(3), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!dir.join("out.jsonl").exists());
    };
    refused(
        "no-torch",
        SUM,
        &[],
        &["No module named 'torch'", "--python"],
    );
    refused(
        "oom",
        SUM,
        &[],
        &["not enough memory for a batch of 64", "model_batch"],
    );
    refused(
        "",
        "  - sum_filter: {class: Other}",
        &[],
        &["no such class"],
    );
    refused(
        "",
        SUM,
        &["--devices", "cuda:7"],
        &["cuda:7", "fake:0, fake:1"],
    );
    recipe(dir, 64, SUM);
    let mut nobody = Command::new(env!("CARGO_BIN_EXE_djr_sum"));
    nobody
        .args(["run", "r.yaml", "--python", "/nonexistent/python"])
        .current_dir(dir);
    let said = String::from_utf8_lossy(&nobody.output().unwrap().stderr).into_owned();
    assert!(
        said.contains("no Python with torch and transformers: /nonexistent/python"),
        "{said}"
    );
}

#[test]
fn kills_of_djr_and_its_worker_change_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    write_rows(dir, false);
    recipe(dir, 16, SUM);
    assert!(run(dir, "", &[]).status.success());
    let reference = left(dir);
    let mut killed = 0;
    for delay in [3, 11, 19, 27, 35, 50] {
        for name in ["out.jsonl", "out.jsonl.djr"] {
            let path = dir.join(name);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
        let slow = ["--checkpoint-every", "0", "--batch-rows", "8"];
        let mut child = command(dir, "", &slow)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let resumed = run(dir, "die-at=2", &["--resume", "--batch-rows", "8"]);
        let said = String::from_utf8_lossy(&resumed.stderr);
        assert!(resumed.status.success(), "{said}");
        assert!(left(dir) == reference, "after a kill at {delay} ms");
    }
    assert!(killed > 0, "no run was alive to be killed");
}

#[test]
fn a_run_over_no_rows_leaves_a_ledger_that_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("rows.jsonl"), "\n").unwrap();
    recipe(dir, 64, SUM);
    let ran = run(dir, "", &[]);
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(left(dir).values().all(Vec::is_empty));
}

#[test]
fn an_analysis_asks_models_too() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, true);
    recipe(dir, 64, SUM);
    let analyze = |out: &str, threads: &str, batch_rows: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_djr_sum"));
        command
            .args([
                "analyze",
                "rows.jsonl",
                "--recipe",
                "r.yaml",
                "-q",
                "-o",
                out,
            ])
            .args(["--python", env!("CARGO_BIN_EXE_fake_worker")])
            .args(["--threads", threads, "--batch-rows", batch_rows])
            .env("FAKE_WORKER", format!("die-on={}", poison()))
            .current_dir(dir);
        let ran = command.output().unwrap();
        assert!(
            ran.status.code() < Some(2),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let read = |name: &str| fs::read(dir.join(out).join(name)).unwrap();
        (
            read("stats.jsonl"),
            serde_json::from_slice::<Value>(&read("analysis.json")).unwrap(),
        )
    };
    let (rows, analysis) = analyze("a", "1", "512");
    let sums: Vec<Value> = String::from_utf8(rows.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["stats"]["sum"].clone())
        .collect();
    // Nothing is dropped: every row has its sum, but for the one that the model dies of.
    assert_eq!(sums.len(), ROWS);
    assert_eq!(
        (&sums[0], &sums[3], &sums[700]),
        (&0.0.into(), &1.5.into(), &Value::Null)
    );
    assert_eq!(sums.iter().filter(|sum| sum.is_null()).count(), 1);
    assert_eq!(analysis["services"][0]["service"], "sum");
    assert!(analyze("b", "3", "7").0 == rows);
}

#[test]
fn rows_are_compared_by_what_a_model_makes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, true);
    let steps = "  - sums_deduplicator: {keep: KEEP, report_clusters: true}";
    // In plain Rust: words are all the same in a row, so rows are the same whose words have sums with
    // the same last digits; of those without a word each stays.
    let digits = |n: u64| {
        let word = if n == 700 {
            "poison".to_owned()
        } else {
            format!("w{}", n * 7919 % 1000)
        };
        word.bytes().map(u64::from).sum::<u64>() % 100
    };
    let expected = |last: bool| {
        let mut stands = BTreeMap::new();
        let mut alone = Vec::new();
        for n in 0..ROWS as u64 {
            let word = format!("w{}", n * 7919 % 1000);
            let words = if n == 700 { 1 } else { n % 5 };
            if words > 0 && (word.len() as u64 + 1) * words > 19 && n != 700 {
                continue;
            }
            if words == 0 {
                alone.push(n);
            } else if last {
                stands.insert(digits(n), n);
            } else {
                stands.entry(digits(n)).or_insert(n);
            }
        }
        alone.extend(stands.into_values());
        alone.sort_unstable();
        alone
    };
    for (keep, last) in [("first", false), ("{max: id}", true)] {
        recipe(dir, 64, &steps.replace("KEEP", keep));
        let mut reference = None;
        for (threads, batch_rows, memory, orders) in
            [("1", "512", "1GB", ""), ("8", "7", "64MB", "die-at=2")]
        {
            let args = [
                "--threads",
                threads,
                "--batch-rows",
                batch_rows,
                "--max-memory",
                memory,
                "--force",
            ];
            let ran = run(dir, orders, &args);
            assert!(
                ran.status.success(),
                "{}",
                String::from_utf8_lossy(&ran.stderr)
            );
            let rows = fs::read(dir.join("out.jsonl")).unwrap();
            let ids: Vec<u64> = String::from_utf8(rows.clone())
                .unwrap()
                .lines()
                .map(|line| {
                    serde_json::from_str::<Value>(line).unwrap()["id"]
                        .as_u64()
                        .unwrap()
                })
                .collect();
            assert_eq!(ids, expected(last), "keep: {keep}");
            assert_eq!(*reference.get_or_insert(rows.clone()), rows);
        }
    }
}

/// Rows of a reference are shown to the model, too, or were when an index was made of them.
#[test]
fn references_are_compared_by_what_a_model_makes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, false);
    let rows = fs::read_to_string(dir.join("rows.jsonl")).unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    fs::write(dir.join("seen.jsonl"), lines[..40].join("\n")).unwrap();
    let with = |reference: &str| {
        let steps =
            format!("  - sums_deduplicator: {{keep: {{max: id}}, reference: [{reference}]}}");
        recipe(dir, 16, &steps);
    };
    let outcome = |orders: &str| {
        let ran = run(dir, orders, &["--force"]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{said}");
        (left(dir)["rows"].clone(), left(dir)["ledger"].clone())
    };
    with("seen.jsonl");
    let plain = outcome("");
    let (kept, ledger) = (
        String::from_utf8(plain.0.clone()),
        String::from_utf8(plain.1.clone()),
    );
    assert!(ledger.unwrap().contains("seen.jsonl:2"));
    // In plain Rust: rows whose sums have the last digits of a row of the reference go.
    let digits = |n: usize| {
        let word = format!("w{}", n * 7919 % 1000);
        word.bytes().map(u64::from).sum::<u64>() % 100
    };
    let seen: Vec<u64> = (0..40).filter(|n| n % 5 > 0).map(digits).collect();
    let kept = kept.unwrap();
    assert!(kept.lines().count() > 300);
    for line in kept.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let id = usize::try_from(row["id"].as_u64().unwrap()).unwrap();
        assert!(
            id.is_multiple_of(5) || !seen.contains(&digits(id)),
            "{line}"
        );
    }
    assert_eq!(outcome("die-at=2"), plain);
    with("seen.index");
    let made = Command::new(env!("CARGO_BIN_EXE_djr_sum"))
        .args([
            "index",
            "seen.jsonl",
            "--for",
            "r.yaml",
            "-o",
            "seen.index",
            "-q",
        ])
        .args(["--python", env!("CARGO_BIN_EXE_fake_worker")])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    fs::remove_file(dir.join("seen.jsonl")).unwrap();
    assert_eq!(outcome(""), plain);
}

/// What was asked by an earlier run is not asked again: with the cache a second run sends nothing,
/// one over more rows sends what is new, and all leave the same bytes as without.
#[test]
fn answers_of_earlier_runs_are_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, false);
    let all = fs::read(dir.join("rows.jsonl")).unwrap();
    let lines = all.split_inclusive(|byte| *byte == b'\n');
    let some: Vec<u8> = lines.take(ROWS / 3).flatten().copied().collect();
    recipe(dir, 16, SUM);
    let ran = |args: &[&str]| {
        let output = run(dir, "", args);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{output:?}");
        let manifest = manifest(dir);
        let requests = manifest["services"][0]["requests"].as_u64().unwrap();
        let hits = manifest["cache"]["hits"].as_u64();
        (code, left(dir), requests, hits)
    };
    let (code, plain, requests, none) = ran(&["--no-cache"]);
    assert!(requests > 1000 && none.is_none());
    fs::write(dir.join("rows.jsonl"), some).unwrap();
    let (_, _, cold, hits) = ran(&["--cache", "kept"]);
    assert!(cold > 0 && hits.is_some());
    fs::write(dir.join("rows.jsonl"), all).unwrap();
    let (_, half_warm, half, hits) = ran(&["--cache", "kept"]);
    assert!(half < requests && hits > Some(0), "{half} of {requests}");
    assert!(half_warm == plain);
    let (warm_code, warm, none, hits) = ran(&["--cache", "kept", "--threads", "1"]);
    assert_eq!((none, hits, warm_code), (0, Some(requests), code));
    assert!(warm == plain);
    // Another bound finds all of it.
    recipe(dir, 16, "  - sum_filter: {min_sum: 900}");
    let (_, other, asked, _) = ran(&["--cache", "kept", "--force"]);
    assert_eq!(asked, 0);
    assert!(other != plain);
    // Another size of batches may give other digits: nothing of it is known.
    recipe(dir, 32, SUM);
    let (_, _, asked, _) = ran(&["--cache", "kept", "--force"]);
    assert!(asked > 0);
}

/// A Python with packages beside it, as an environment has them.
fn environment(dir: &Path) -> PathBuf {
    let packages = dir.join("env/lib/python3.11/site-packages");
    for package in ["torch-0.dist-info", "transformers-0.dist-info"] {
        fs::create_dir_all(packages.join(package)).unwrap();
    }
    fs::create_dir_all(dir.join("env/bin")).unwrap();
    let python = dir.join("env/bin/python");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_fake_worker"), &python).unwrap();
    python
}

/// A run whose answers are all known starts no worker; one that asks something starts it then, and
/// one whose worker is another than it was says so instead of mixing answers.
#[test]
fn a_worker_is_not_started_when_everything_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, false);
    recipe(dir, 16, SUM);
    let all = fs::read(dir.join("rows.jsonl")).unwrap();
    let lines = all.split_inclusive(|byte| *byte == b'\n');
    let some: Vec<u8> = lines.take(ROWS / 3).flatten().copied().collect();
    let python = environment(dir);
    let starts = dir.join("starts");
    let ran = |orders: &str, cache: &[&str]| {
        let _ = fs::remove_file(&starts);
        let mut command = Command::new(env!("CARGO_BIN_EXE_djr_sum"));
        let python = python.to_str().unwrap();
        command.args(["run", "r.yaml", "-q", "--restart", "--python", python]);
        command.args(["--devices", "fake:0"]).args(cache);
        command
            .env("FAKE_WORKER", orders)
            .env("FAKE_WORKER_STARTS", &starts);
        let ran = command.current_dir(dir).output().unwrap();
        let started = fs::read_to_string(&starts).unwrap_or_default();
        (ran, started.lines().count())
    };
    let kept = ["--cache", "kept"];
    let (_, started) = ran("", &["--no-cache"]);
    assert_eq!(started, 1);
    let plain = left(dir);
    fs::write(dir.join("rows.jsonl"), some).unwrap();
    assert_eq!(ran("", &kept).1, 1, "nothing is known");
    let some = left(dir);
    let runs_on = manifest(dir)["services"][0]["runs_on"].clone();
    let (known, started) = ran("", &kept);
    assert!(known.status.success(), "{known:?}");
    assert_eq!(started, 0, "all is known");
    assert!(left(dir) == some);
    assert_eq!(manifest(dir)["services"][0]["runs_on"], runs_on);
    fs::write(dir.join("rows.jsonl"), all).unwrap();
    assert_eq!(ran("", &kept).1, 1, "some rows are new");
    assert!(left(dir) == plain);
    // The same packages by their names say another version: seen once it is started.
    recipe(dir, 32, SUM);
    let (other, _) = ran("torch=7", &kept);
    assert_eq!(other.status.code(), Some(3), "{other:?}");
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        said.contains("torch 7") && said.contains("run again"),
        "{said}"
    );
    let (again, _) = ran("torch=7", &kept);
    assert!(again.status.success(), "{again:?}");
    // Another package beside it: nothing is known of such a Python.
    let packages = dir.join("env/lib/python3.11/site-packages");
    fs::rename(
        packages.join("torch-0.dist-info"),
        packages.join("torch-1.dist-info"),
    )
    .unwrap();
    assert_eq!(ran("torch=8", &kept).1, 1);
    // A model that does not load ends the run when it is asked for.
    recipe(dir, 32, "  - sum_filter: {min_sum: 200, class: None}");
    let (refused, _) = ran("torch=8", &kept);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("no such class"), "{said}");
}

/// Another file of the model is another model: its answers are not those of the one before.
#[test]
fn an_edited_file_of_a_model_makes_its_answers_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, false);
    let asked = || {
        let ran = run(dir, "", &["--cache", "kept", "--force"]);
        assert!(ran.status.success(), "{ran:?}");
        manifest(dir)["services"][0]["requests"].as_u64().unwrap()
    };
    recipe(
        dir,
        16,
        "  - sum_filter: {min_sum: 200, weights: weights.bin}",
    );
    fs::write(dir.join("weights.bin"), "one").unwrap();
    let cold = asked();
    assert!(cold > 1000 && asked() == 0);
    fs::write(dir.join("weights.bin"), "two").unwrap();
    assert!(asked() > 1000, "of {cold} before");
    assert_eq!(asked(), 0);
    // Back again, and by another name.
    fs::write(dir.join("weights.bin"), "one").unwrap();
    fs::rename(dir.join("weights.bin"), dir.join("moved.bin")).unwrap();
    recipe(
        dir,
        16,
        "  - sum_filter: {min_sum: 200, weights: moved.bin}",
    );
    assert_eq!(asked(), 0);
}

/// Each device computes some of the batches, and which one computed what shows nowhere.
#[test]
fn batches_are_shared_between_devices() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, false);
    recipe(dir, 16, SUM);
    let log = dir.join("log");
    let ran = |devices: &str| {
        let _ = fs::remove_file(&log);
        let mut command = command(dir, "slow", &["--devices", devices, "--force"]);
        let ran = command.env("FAKE_WORKER_LOG", &log).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in fs::read_to_string(&log).unwrap().lines() {
            let (device, _) = line.split_once(' ').unwrap();
            *counts.entry(device.to_owned()).or_default() += 1;
        }
        (counts, left(dir))
    };
    let (one, alone) = ran("fake:0");
    let (two, shared) = ran("fake:0,fake:1");
    assert!(alone == shared);
    let total = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
    assert_eq!(one.len(), 1);
    assert_eq!(two.keys().collect::<Vec<_>>(), ["fake:0", "fake:1"]);
    assert_eq!(total(&one), total(&two));
    assert!(
        two.values().all(|batches| *batches * 4 > total(&two)),
        "{two:?}"
    );
}

/// A text that only a seldom head takes does not wait for a whole batch of its like, nor for the end.
#[test]
fn a_seldom_head_is_asked_once_many_others_came() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let long = "w".repeat(40);
    let rows = (0..400).map(|n| {
        let text = if n == 3 { long.as_str() } else { "a" };
        format!(r#"{{"id": {n}, "text": "{text}", "other": "b"}}"#) + "\n"
    });
    fs::write(dir.join("rows.jsonl"), rows.collect::<String>()).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let text = format!(
        "dataset_path: rows.jsonl\nexport_path: out.jsonl\nmodel_batch: 8\nprocess:\n  - \
         text_pair_similarity_filter: {{hf_clip: {}, text_key_second: other, min_score: 0.1}}\n",
        fixtures.join("transformers/clip").display()
    );
    fs::write(dir.join("r.yaml"), text).unwrap();
    let heads = dir.join("heads");
    let mut command = command(dir, "any", &["--devices", "fake:0", "--batch-rows", "16"]);
    let ran = command.env("FAKE_WORKER_LOG", &heads).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let asked = fs::read_to_string(&heads).unwrap();
    let seldom: Vec<usize> = asked
        .lines()
        .enumerate()
        .filter_map(|(at, line)| (line == "fake:0 text_b").then_some(at))
        .collect();
    let all = asked.lines().count();
    assert_eq!(seldom.len(), 1);
    assert!(seldom[0] < all / 2, "{seldom:?} of {all}");
    assert_eq!(
        fs::read_to_string(dir.join("out.jsonl"))
            .unwrap()
            .lines()
            .count(),
        400
    );
    // A batch of longer texts has fewer of them.
    let service = &manifest(dir)["services"][0];
    assert_eq!(service["requests"], 800);
    assert_eq!(service["room"], (all - 1) * 8 + 4);
}

/// A picture whose answer is known is known by its file, and not decoded.
#[test]
fn pictures_whose_answers_are_known_are_not_made_ready() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let mut rows = String::new();
    for (n, name) in ["scene.jpg", "scene.webp", "missing.png"]
        .iter()
        .enumerate()
    {
        let from = fixtures.join("golden/_images").join(name);
        if from.exists() {
            fs::copy(from, dir.join(name)).unwrap();
        }
        writeln!(rows, r#"{{"id": {n}, "text": "a", "images": ["{name}"]}}"#).unwrap();
    }
    fs::write(dir.join("rows.jsonl"), rows).unwrap();
    let model = fixtures.join("transformers/vit");
    let write_recipe = |most: f64| {
        let text = format!(
            "dataset_path: rows.jsonl\nexport_path: out.jsonl\ncache: kept\nprocess:\n  - \
             image_nsfw_filter: {{hf_nsfw_model: {}, max_score: {most}}}\n",
            model.display()
        );
        fs::write(dir.join("r.yaml"), text).unwrap();
    };
    let ran = |orders: &str| {
        let ran = run(dir, orders, &["--force", "--max-quarantine", "none"]);
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        let manifest = manifest(dir);
        let requests = manifest["services"][0]["requests"].as_u64().unwrap();
        (
            left(dir),
            requests,
            manifest["images"]["full_decodes"].as_u64(),
        )
    };
    write_recipe(0.6);
    let (cold, asked, decoded) = ran("any");
    assert_eq!((asked, decoded), (2, Some(2)));
    let (warm, asked, decoded) = ran("any");
    assert!(warm == cold);
    assert_eq!((asked, decoded), (0, Some(0)));
    // Another bound asks nothing either.
    write_recipe(0.4);
    let (other, asked, decoded) = ran("any");
    assert!(other["rows"].is_empty() && !warm["rows"].is_empty());
    assert_eq!((asked, decoded), (0, Some(0)));
}

/// A task has a worker of its own; what it was answered stands in what it leaves, and a task whose
/// worker computes on something else is refused.
#[test]
fn tasks_ask_models_as_one_run_does() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_rows(dir, true);
    let steps = format!("{SUM}\n  - document_minhash_deduplicator:");
    recipe(dir, 64, &steps);
    let poisoned = format!("die-on={}", poison());
    assert_eq!(run(dir, &poisoned, &[]).status.code(), Some(1));
    let (whole, asked) = (left(dir), manifest(dir)["services"][0].clone());
    let tasks = ["--tasks", "work", "--task-bytes", "9KB", "--force"];
    let ran = run(dir, &poisoned, &tasks);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(left(dir) == whole);
    let again = manifest(dir)["services"][0].clone();
    assert!(fs::read_dir(dir.join("work/t")).unwrap().count() > 10);
    for same in ["service", "runs_on", "requests"] {
        assert_eq!(again[same], asked[same]);
    }
    // By hand, each with the worker of its machine.
    let command = |orders: &str, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_djr_sum"));
        command.args(words).env("FAKE_WORKER", orders);
        let worker = ["--python", env!("CARGO_BIN_EXE_fake_worker")];
        command.args(worker).current_dir(dir).output().unwrap()
    };
    let plan = ["plan", "r.yaml", "--work", "by-hand", "--task-bytes", "9KB"];
    assert!(
        command("", &[&plan[..], &["--force"]].concat())
            .status
            .success()
    );
    for measure in fs::read_dir(dir.join("work/t")).unwrap().flatten() {
        let name = measure.file_name().into_string().unwrap();
        if name.starts_with("measure-") && !name.contains('.') {
            assert!(command("", &["task", "by-hand", &name]).status.success());
        }
    }
    assert!(
        command("", &["task", "by-hand", "pass-1-00001"])
            .status
            .success()
    );
    let refused = command("torch=1", &["task", "by-hand", "pass-1-00000"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("pass-1-00000") && said.contains("ran on Fake 0, torch 0.fake"),
        "{said}"
    );
    assert!(
        command("", &["task", "by-hand", "pass-1-00000"])
            .status
            .success()
    );
}

/// Rows with vectors: sets of near ones, whose cosines lie about the threshold, the same one several
/// times, and rows without one.
fn write_vectors(dir: &Path) {
    let mut rows = String::new();
    for n in 0..240_u32 {
        let vector: Vec<f64> = (0..24_u32)
            .map(|at| {
                let set = f64::from((n % 30 + 1) * (at + 1));
                let own = f64::from((n / 60 + 1) * (at * at + n % 7));
                set.sin() + 0.17 * own.sin() * f64::from(n / 60)
            })
            .collect();
        match n % 16 {
            9 => writeln!(rows, r#"{{"id": {n}, "text": "none"}}"#).unwrap(),
            _ => writeln!(
                rows,
                r#"{{"id": {n}, "text": "a", "v": {}}}"#,
                serde_json::json!(vector)
            )
            .unwrap(),
        }
    }
    fs::write(dir.join("rows.jsonl"), rows).unwrap();
}

#[test]
fn a_device_that_compares_changes_no_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_vectors(dir);
    let steps = [
        (
            "near",
            "  - semantic_deduplicator: {field: v, dims: 24, threshold: 0.96, keep: longest}",
        ),
        (
            "near",
            "  - semantic_deduplicator: {field: v, dims: 24, threshold: 0.99}",
        ),
        (
            "far",
            "  - diversity_selector: {field: v, dims: 24, select_num: 40}",
        ),
        (
            "far",
            "  - diversity_selector: {field: v, dims: 24, select_num: 233}",
        ),
        (
            "far",
            "  - diversity_selector: {field: v, dims: 24, select_num: 500}",
        ),
    ];
    for (word, step) in steps {
        recipe(dir, 7, step);
        let ran = run(dir, "", &["--force"]);
        assert!(ran.status.success(), "{step}: {ran:?}");
        let plain = left(dir);
        let rows = fs::read_to_string(dir.join("out.jsonl"))
            .unwrap()
            .lines()
            .count();
        assert!(
            rows > 20 && (rows < 240 || step.contains("500")),
            "{step}: {rows}"
        );
        // Blocks of the fewest rows; all of those that are taken from are in memory at once.
        let memory = if word == "near" { "50KB" } else { "200KB" };
        for orders in ["", "vague", "dense"] {
            let log = dir.join("log");
            let mut command = command(
                dir,
                orders,
                &["--devices", "fake:0", "--force", "--max-memory", memory],
            );
            let ran = command.env("FAKE_WORKER_LOG", &log).output().unwrap();
            assert!(ran.status.success(), "{step} {orders}: {ran:?}");
            assert_eq!(left(dir), plain, "{step} {orders}");
            let told = fs::read_to_string(&log).unwrap();
            assert!(
                told.lines().all(|line| line == word),
                "{step} {orders}: {told}"
            );
            fs::remove_file(&log).unwrap();
        }
        let asked = run(dir, "die-comparing", &["--devices", "fake:0", "--force"]);
        assert_eq!(asked.status.code(), Some(3), "{step}: {asked:?}");
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(
            said.contains("comparing on a device: the process ended"),
            "{said}"
        );
        assert!(said.contains("--devices"), "{said}");
        let missing = run(dir, "", &["--devices", "fake:7", "--restart"]);
        assert_eq!(missing.status.code(), Some(3), "{step}: {missing:?}");
        let processor = run(dir, "die-comparing", &["--devices", "cpu", "--restart"]);
        assert!(processor.status.success(), "{step}: {processor:?}");
        assert_eq!(left(dir), plain, "{step}");
    }
}
