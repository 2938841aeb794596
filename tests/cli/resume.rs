//! Runs that are killed, stopped or in each other's way, and runs that go on.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ran, Scratch};
use crate::{archives, columns, produced};

/// A recipe with a barrier, an exact deduplicator, shards, files for training and two samples.
const RECIPE: &str = "\
dataset_path: rows.jsonl
process:
  - text_length_filter: {min_len: 8}
  - document_deduplicator:
  - document_minhash_deduplicator: {num_permutations: 32, verify: exact, keep: {max: text_len}}
  - punctuation_normalization_mapper:
outputs:
  - {format: jsonl, path: out/clean.jsonl, shard_size: 20KB}
  - {format: llava, path: out/clean.json, validate: none, paths: keep}
  - {format: messages, path: out/messages.jsonl, shard_size: 5KB, question: What is it?, validate: none, paths: keep}
  - {format: internvl, path: out/lines.jsonl, question: What is it?, validate: none, paths: keep}
  - {format: jsonl, path: out/sample.jsonl, sample: 100, seed: 7, validate: exists, paths: keep}
  - {format: jsonl, path: out/all.jsonl, of: all}
  - {format: jsonl, path: out/by.jsonl, split_by: images, where: text_len > 12}
  - {format: jsonl, path: out/python.jsonl, sample: 80, seed: 3, sampler: python, validate: none, paths: keep}
";

const STREAM: &str = "\
dataset_path: rows.jsonl
export_path: out/clean.jsonl
process:
  - text_length_filter: {min_len: 8}
  - document_deduplicator:
";

/// A recipe with groups, taken apart and made anew.
const GROUPS: &str = "\
dataset_path: rows.jsonl
process:
  - text_length_filter: {min_len: 8}
  - document_deduplicator:
  - mixture_selector: {by: text_len, bins: [12, 20], shares: equal, repeat_to: 1400}
  - key_value_grouper: {group_by_keys: [text.1]}
  - naive_reverse_grouper:
  - document_deduplicator: {keep: longest, merge: {id: list}, report_clusters: true, reference: seen.jsonl}
  - key_value_grouper: {group_by_keys: [text.2]}
outputs:
  - {format: jsonl, path: out/clean.jsonl}
  - {format: jsonl, path: out/sample.jsonl, sample: 3, seed: 7, validate: none, paths: keep}
";

/// Rows with duplicates, short texts, missing images and broken lines.
fn rows(count: u32) -> String {
    let mut state = 7_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    (0..count)
        .map(|number| {
            let words: Vec<String> = (0..=random(9))
                .map(|_| format!("w{}", random(40)))
                .collect();
            match random(20) {
                0 => "{\"text\": \"cut\n".to_owned(),
                1 => format!(
                    "{{\"id\": \"{number:05}\", \"text\": \"{}\", \"images\": [\"none.jpg\"]}}\n",
                    words.join(" ")
                ),
                _ => format!(
                    "{{\"id\": \"{number:05}\", \"text\": \"{}\"}}\n",
                    words.join(" ")
                ),
            }
        })
        .collect()
}

/// The rows that [`GROUPS`] knows already: sound ones.
fn seen() -> String {
    rows(60).replace("{\"text\": \"cut\n", "")
}

/// The arguments of every run here, with checkpoints after each batch or hardly ever.
fn arguments<'a>(recipe: &'a str, seconds: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["run", recipe, "--checkpoint-every", seconds];
    let rest = ["--batch-rows", "64", "--max-quarantine", "none", "--quiet"];
    [&fixed[..], &rest, more].concat()
}

/// A run with a checkpoint after each batch.
fn command(scratch: &Scratch, recipe: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_djr"));
    command
        .args(arguments(recipe, "0", more))
        .current_dir(scratch.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A run that nobody disturbs.
fn run(scratch: &Scratch, recipe: &str, more: &[&str]) -> Ran {
    scratch.djr(&arguments(recipe, "60", more))
}

/// Builds the library under which system calls fail.
pub fn faults(scratch: &Scratch) -> PathBuf {
    let library = scratch.path("faults.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(crate::support::root().join("tests/crash/faults.c"))
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(built.success());
    library
}

/// A run whose `at`-th `call` on a file fails with the error `errno`, or kills it.
fn broken(
    scratch: &Scratch,
    library: &Path,
    (recipe, more): (&str, &[&str]),
    (call, at, errno): (&str, &str, &str),
) -> Output {
    command(scratch, recipe, more)
        .env("LD_PRELOAD", library)
        .env("FAULT_DIR", fs::canonicalize(scratch.path("")).unwrap())
        .env("FAULT_CALL", call)
        .env("FAULT_AT", at)
        .env("FAULT_ERRNO", errno)
        .output()
        .unwrap()
}

/// Everything below `out` that must be the same, with the manifest's times left out.
pub fn results(scratch: &Scratch) -> Vec<(String, Vec<u8>)> {
    scratch
        .files("out")
        .into_iter()
        .map(|name| {
            let mut bytes = scratch.read(&format!("out/{name}"));
            if name.ends_with("manifest.json") {
                let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
                for step in manifest["steps"].as_array_mut().unwrap() {
                    step["seconds"] = Value::Null;
                }
                for key in [
                    "seconds",
                    "peak_memory_bytes",
                    "command",
                    "started",
                    "ended",
                ] {
                    manifest[key] = Value::Null;
                }
                bytes = manifest.to_string().into_bytes();
            }
            (name, bytes)
        })
        .collect()
}

#[track_caller]
pub fn assert_same(found: &[(String, Vec<u8>)], expected: &[(String, Vec<u8>)], what: &str) {
    let names = |of: &[(String, Vec<u8>)]| of.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for ((name, a), (_, b)) in found.iter().zip(expected) {
        assert!(a == b, "{what}: {name} differs");
    }
}

/// Outputs whose bytes on disk lag behind the records that were written.
const PACKED: &str = "dataset_path: rows.jsonl
export_path: out/clean.jsonl
process:
  - text_length_filter: {min_len: 1}
  - document_deduplicator: {}
outputs:
  - {path: out/packed.jsonl.gz}
  - {path: out/packed.jsonl.zst, shard_size: 20KB}
  - {path: 'out/{shard}.tar', shard_rows: 300}
";

#[test]
fn killed_runs_go_on_and_end_with_the_same_bytes() {
    let scratch = Scratch::new();
    let library = faults(&scratch);
    scratch.write("rows.jsonl", rows(1500));
    scratch.write("seen.jsonl", seen());
    for (name, recipe) in [
        ("stream.yaml", STREAM),
        ("many.yaml", RECIPE),
        ("groups.yaml", GROUPS),
        ("packed.yaml", PACKED),
    ] {
        scratch.write(name, recipe);
        run(&scratch, name, &[]).expect(1);
        let expected = results(&scratch);
        fs::remove_dir_all(scratch.path("out")).unwrap();
        // Where the run is killed, and where again after it went on. Each checkpoint ends with
        // one rename.
        for kills in [
            &[("rename", "1")][..],
            &[("rename", "3"), ("write", "1")],
            &[("rename", "9"), ("rename", "3"), ("fsync", "2")],
            &[("fsync", "40"), ("rename", "5")],
            &[("write", "30"), ("write", "30"), ("rename", "2")],
            &[("rename", "21")],
        ] {
            let mut more: &[&str] = &[];
            for (call, at) in kills {
                let output = broken(&scratch, &library, (name, more), (call, at, "kill"));
                assert_eq!(output.status.signal(), Some(9), "{name}, {kills:?}");
                assert!(!scratch.path("out/clean.jsonl.djr/manifest.json").exists());
                let state = scratch.path("out/clean.jsonl.djr/checkpoint/state.json");
                assert_eq!(state.exists(), (*call, *at) != ("rename", "1"));
                more = &["--resume"];
            }
            run(&scratch, name, more).expect(1);
            let what = format!("{name}, {kills:?}");
            assert_same(&results(&scratch), &expected, &what);
            fs::remove_dir_all(scratch.path("out")).unwrap();
        }
    }
}

#[test]
fn what_is_killed_before_its_first_checkpoint_is_found_and_in_nobodys_way() {
    let scratch = Scratch::new();
    let library = faults(&scratch);
    scratch.write("rows.jsonl", rows(1500));
    scratch.write("stream.yaml", STREAM);
    run(&scratch, "stream.yaml", &[]).expect(1);
    let expected = results(&scratch);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    let kill = || {
        // The first rename says that the run has begun, the second would end a checkpoint.
        let stream = ("stream.yaml", &[][..]);
        let output = broken(&scratch, &library, stream, ("rename", "2", "kill"));
        assert_eq!(output.status.signal(), Some(9));
        assert!(scratch.path("out/.clean.jsonl.djr-part").exists());
    };
    kill();
    let found = scratch.djr(&["ls", "out", "--json"]).expect(0).answer();
    let run_found = &found["result"]["runs"][0];
    assert_eq!(run_found["state"], "unfinished");
    assert_eq!(run_found["recipe"], "stream.yaml");
    assert_eq!(run_found["rows_in"], 0);
    assert!(
        run_found["outputs"][0]
            .as_str()
            .unwrap()
            .ends_with("clean.jsonl")
    );
    for reader in [&["why", "--dropped"][..], &["verify"], &["report"]] {
        let ran = scratch
            .djr(&[reader, &["out/clean.jsonl"]].concat())
            .expect(2);
        assert!(
            ran.stderr.contains("unfinished"),
            "{reader:?}: {}",
            ran.stderr
        );
    }
    // Nothing is lost by beginning again.
    run(&scratch, "stream.yaml", &[]).expect(1);
    assert_same(&results(&scratch), &expected, "begun again");
    fs::remove_dir_all(scratch.path("out")).unwrap();
    kill();
    run(&scratch, "stream.yaml", &["--resume"]).expect(1);
    assert_same(&results(&scratch), &expected, "gone on with");
    fs::remove_dir_all(scratch.path("out")).unwrap();
    kill();
    scratch.djr(&["clean", "out"]).expect(0);
    assert_eq!(scratch.files("out"), Vec::<String>::new());
}

/// A table whose rows wait at a barrier, and go to tables.
const TABLES: &str = "dataset_path: in.parquet
process:
  - document_deduplicator: {}
  - document_minhash_deduplicator: {window_size: 1, jaccard_threshold: 0.95}
  - punctuation_normalization_mapper: {}
outputs:
  - {path: out/clean.parquet}
  - {path: out/shards.parquet, shard_rows: 150, compression: snappy}
  - {path: out/some.parquet, sample: 120, validate: none, shuffle: true}
";

/// An archive whose images are embedded in a table, one column of which gets a wider type.
const ARCHIVE: &str = "dataset_path: in.tar
process:
  - text_length_filter: {min_len: 1}
outputs:
  - {path: out/clean.parquet, images: embed}
  - {path: 'out/{shard}.tar', shard_rows: 300, index: true}
";

#[test]
fn tables_and_archives_are_gone_on_with() {
    let scratch = Scratch::new();
    let library = faults(&scratch);
    scratch.write("in.parquet", columns::parquet(0..700));
    let mut members: Vec<_> = archives::samples(700).into_iter().flatten().collect();
    let late = b"{\"id\": \"late\", \"x\": [1]}".to_vec();
    members
        .iter_mut()
        .rfind(|(name, _)| name.ends_with(".json"))
        .unwrap()
        .1 = late;
    scratch.write("in.tar", archives::tar(&members));
    for (name, recipe) in [("tables.yaml", TABLES), ("archive.yaml", ARCHIVE)] {
        scratch.write(name, recipe);
        run(&scratch, name, &[]).expect(0);
        let expected = results(&scratch);
        assert!(expected.len() > 5);
        fs::remove_dir_all(scratch.path("out")).unwrap();
        for kills in [
            &[("rename", "2"), ("write", "9")][..],
            &[("rename", "9"), ("rename", "3"), ("fsync", "2")],
            &[("write", "30"), ("rename", "5")],
            &[("rename", "13")],
        ] {
            let mut more: &[&str] = &[];
            for (call, at) in kills {
                let output = broken(&scratch, &library, (name, more), (call, at, "kill"));
                assert_eq!(output.status.signal(), Some(9), "{name}, {kills:?}");
                more = &["--resume"];
            }
            run(&scratch, name, more).expect(0);
            assert_same(&results(&scratch), &expected, &format!("{name}, {kills:?}"));
            fs::remove_dir_all(scratch.path("out")).unwrap();
        }
    }
}

#[test]
fn killed_runs_leave_the_same_files_that_operators_made() {
    let scratch = produced::scene(140);
    let library = faults(&scratch);
    scratch.write("r.yaml", produced::BARRIER);
    let found = |scratch: &Scratch| (results(scratch), produced::made(scratch, "pics"));
    let clean = |scratch: &Scratch| {
        fs::remove_dir_all(scratch.path("out")).unwrap();
        for name in ["pics", "pics/deep"] {
            let made = scratch.path(&format!("{name}/__dj__produced_data__"));
            let _ = fs::remove_dir_all(made);
        }
    };
    run(&scratch, "r.yaml", &[]).expect(1);
    let expected = found(&scratch);
    clean(&scratch);
    for kills in [
        &[("rename", "5")][..],
        &[("rename", "17"), ("write", "3")],
        &[("write", "40"), ("rename", "3"), ("fsync", "9")],
        &[("fsync", "30"), ("rename", "30")],
    ] {
        let mut more: &[&str] = &[];
        for (call, at) in kills {
            let output = broken(&scratch, &library, ("r.yaml", more), (call, at, "kill"));
            assert_eq!(output.status.signal(), Some(9), "{kills:?}");
            more = &["--resume"];
        }
        run(&scratch, "r.yaml", more).expect(1);
        let (results, made) = found(&scratch);
        assert_same(&results, &expected.0, &format!("{kills:?}"));
        assert!(made == expected.1, "{kills:?}");
        clean(&scratch);
    }
    // A full disk while such a file is written.
    let output = broken(&scratch, &library, ("r.yaml", &[]), ("write", "12", "28"));
    assert!(!output.status.success());
    run(&scratch, "r.yaml", &["--resume"]).expect(1);
    assert!(found(&scratch).1 == expected.1);
}

#[test]
fn a_signal_keeps_the_progress_and_says_how_to_go_on() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", rows(30_000));
    scratch.write("r.yaml", STREAM);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let child = command(&scratch, "r.yaml", &[]).spawn().unwrap();
        let state = scratch.path("out/clean.jsonl.djr/checkpoint/state.json");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !state.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains("--resume"), "{stderr}");
        assert!(!scratch.path("out/clean.jsonl").exists());

        let refused = run(&scratch, "r.yaml", &[]).expect(2);
        assert!(
            refused.stderr.contains("an unfinished run") && refused.stderr.contains("--restart"),
            "{}",
            refused.stderr
        );
        run(&scratch, "r.yaml", &["--resume"]).expect(1);
        let resumed = results(&scratch);
        run(&scratch, "r.yaml", &["--restart"]).expect(1);
        assert_same(&resumed, &results(&scratch), signal);
        fs::remove_dir_all(scratch.path("out")).unwrap();
    }
}

#[test]
fn a_second_signal_stops_at_once_and_the_run_goes_on() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", rows(30_000));
    scratch.write("r.yaml", STREAM);
    run(&scratch, "r.yaml", &[]).expect(1);
    let expected = results(&scratch);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    let mut child = command(&scratch, "r.yaml", &[]).spawn().unwrap();
    let state = scratch.path("out/clean.jsonl.djr/checkpoint/state.json");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !state.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..2 {
        let id = child.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!scratch.path("out/clean.jsonl").exists());
    run(&scratch, "r.yaml", &["--resume"]).expect(1);
    assert_same(&results(&scratch), &expected, "after two signals");
}

/// Kills a run behind its third checkpoint.
fn leave_unfinished(scratch: &Scratch, recipe: &str) {
    let output = broken(
        scratch,
        &faults(scratch),
        (recipe, &[]),
        ("rename", "4", "kill"),
    );
    assert_eq!(output.status.signal(), Some(9));
    assert!(!scratch.path("out/clean.jsonl").exists());
}

#[test]
fn what_has_changed_is_named_and_refused() {
    let scratch = Scratch::new();
    let input = rows(3000);
    scratch.write("rows.jsonl", &input);
    scratch.write("r.yaml", STREAM);
    leave_unfinished(&scratch, "r.yaml");
    let other = run(
        &scratch,
        "r.yaml",
        &["--resume", "--set", "text_length_filter.min_len=9"],
    )
    .expect(2);
    assert!(
        other
            .stderr
            .contains("process[0].text_length_filter.min_len was 8 and is 9"),
        "{}",
        other.stderr
    );
    scratch.write("rows.jsonl", input.replacen("w1", "w2", 1));
    let other = run(&scratch, "r.yaml", &["--resume"]).expect(2);
    assert!(
        other.stderr.contains("rows.jsonl: its content is another"),
        "{}",
        other.stderr
    );
    scratch.write("rows.jsonl", format!("{input}{{\"text\": \"one more\"}}\n"));
    let other = run(&scratch, "r.yaml", &["--resume"]).expect(2);
    assert!(other.stderr.contains("it had"), "{}", other.stderr);
    // Nothing of the progress was lost by asking.
    scratch.write("rows.jsonl", &input);
    let touched = run(&scratch, "r.yaml", &["--resume"]).expect(2);
    assert!(touched.stderr.contains("written to"), "{}", touched.stderr);
    run(&scratch, "r.yaml", &["--restart"]).expect(1);
}

#[test]
fn two_runs_never_write_the_same_output() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", rows(200));
    scratch.write("r.yaml", STREAM);
    let fifo = scratch.path("pipe.jsonl");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    // It waits for rows that never come.
    let mut first = command(&scratch, "r.yaml", &["--input", "pipe.jsonl"])
        .spawn()
        .unwrap();
    let lock = scratch.path("out/.clean.jsonl.djr-lock");
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::read_to_string(&lock).map_or(true, |text| text.is_empty())
        && Instant::now() < deadline
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    let refused = run(&scratch, "r.yaml", &[]).expect(3);
    assert!(
        refused
            .stderr
            .contains(&format!("process {} is writing it since", first.id())),
        "{}",
        refused.stderr
    );
    first.kill().unwrap();
    first.wait().unwrap();
    run(&scratch, "r.yaml", &[]).expect(1);
    assert!(
        scratch.files("out").iter().all(|f| !f.starts_with('.')),
        "{:?}",
        scratch.files("out")
    );
}

#[test]
fn an_input_that_changes_while_it_is_read_fails_the_run() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", rows(20_000));
    scratch.write("r.yaml", STREAM);
    let child = command(&scratch, "r.yaml", &[]).spawn().unwrap();
    let state = scratch.path("out/clean.jsonl.djr/checkpoint/state.json");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !state.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(scratch.path("rows.jsonl"))
        .unwrap();
    std::io::Write::write_all(&mut file, b"{\"text\": \"a late row\"}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("the input changed while it was read"),
        "{stderr}"
    );
    assert!(
        scratch.files("out").is_empty(),
        "{:?}",
        scratch.files("out")
    );
}

#[test]
fn images_that_go_away_stop_the_run_and_it_goes_on_before_that() {
    let scratch = Scratch::new();
    let image =
        fs::read(crate::support::root().join("fixtures/dataset/images/00000/000003.jpg")).unwrap();
    fs::create_dir(scratch.path("images")).unwrap();
    let mut text = String::new();
    for i in 0..6000 {
        fs::write(scratch.path(&format!("images/{i}.jpg")), &image).unwrap();
        let row = serde_json::json!({"text": format!("row number {i}"), "images": [format!("images/{i}.jpg")]});
        text.push_str(&row.to_string());
        text.push('\n');
    }
    scratch.write("rows.jsonl", text);
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl\nexport_path: out/clean.jsonl\nprocess:\n  - image_shape_filter: {min_width: 10}\n",
    );
    let args = [
        "run",
        "r.yaml",
        "--checkpoint-every",
        "0",
        "--batch-rows",
        "16",
        "--quiet",
    ];
    scratch.djr(&args).expect(0);
    let expected = results(&scratch);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    // The last three thousand are gone, as when a disk is unmounted halfway.
    fs::create_dir(scratch.path("away")).unwrap();
    let name = |of: &str, i: i32| scratch.path(&format!("{of}/{i}.jpg"));
    for i in 3000..6000 {
        fs::rename(name("images", i), name("away", i)).unwrap();
    }
    let ran = scratch.djr(&args).expect(3);
    assert!(
        ran.stderr.contains("image_missing") && ran.stderr.contains("in a row"),
        "{}",
        ran.stderr
    );
    assert!(!scratch.path("out/clean.jsonl").exists());
    for i in 3000..6000 {
        fs::rename(name("away", i), name("images", i)).unwrap();
    }
    let mut again = args.to_vec();
    again.push("--resume");
    scratch.djr(&again).expect(0);
    assert_same(&results(&scratch), &expected, "after the images came back");
}

#[test]
fn what_cannot_be_resumed_says_so() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", rows(50));
    scratch.write("r.yaml", STREAM);
    let ran = scratch
        .djr(&["run", "r.yaml", "--output", "-", "--resume"])
        .expect(2);
    assert!(ran.stderr.contains("keeps no progress"), "{}", ran.stderr);
    // Nothing to go on with is no error: the run starts.
    run(&scratch, "r.yaml", &["--resume"]).expect(1);
    // A checkpoint that cannot be read is not guessed at.
    fs::create_dir(scratch.path("out/clean.jsonl.djr/checkpoint")).unwrap();
    scratch.write("out/clean.jsonl.djr/checkpoint/.djr-checkpoint", "");
    scratch.write("out/clean.jsonl.djr/checkpoint/state.json", "{");
    let ran = run(&scratch, "r.yaml", &["--resume"]).expect(3);
    assert!(
        ran.stderr.contains("checkpoint cannot be read") && ran.stderr.contains("--restart"),
        "{}",
        ran.stderr
    );
    run(&scratch, "r.yaml", &["--restart"]).expect(1);
}

#[test]
fn a_full_disk_ends_the_run_and_it_goes_on_with_space() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", rows(1200));
    scratch.write("many.yaml", RECIPE);
    run(&scratch, "many.yaml", &[]).expect(1);
    let expected = results(&scratch);
    fs::remove_dir_all(scratch.path("out")).unwrap();
    let library = faults(&scratch);
    for (call, errno, word) in [
        ("write", "28", "No space left"),
        ("fsync", "5", "Input/output error"),
        ("rename", "5", "Input/output error"),
        ("read", "5", "Input/output error"),
    ] {
        for at in ["1", "3", "9"] {
            let output = broken(&scratch, &library, ("many.yaml", &[]), (call, at, errno));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                matches!(output.status.code(), Some(2 | 3)) && stderr.contains(word),
                "{call} {at}: {:?} {stderr}",
                output.status
            );
            for (name, bytes) in results(&scratch) {
                let hidden = name.starts_with('.') || name.contains("/.");
                if !hidden && !name.contains("/checkpoint/") {
                    assert!(
                        expected.contains(&(name.clone(), bytes)),
                        "{call} {at}: {name}"
                    );
                }
            }
            run(&scratch, "many.yaml", &["--resume"]).expect(1);
            assert_same(&results(&scratch), &expected, &format!("{call} {at}"));
            fs::remove_dir_all(scratch.path("out")).unwrap();
        }
    }
}

#[test]
fn an_output_directory_that_cannot_be_written_is_named() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", rows(50));
    scratch.write("r.yaml", STREAM);
    scratch.write("file", "");
    let ran = run(&scratch, "r.yaml", &["--output", "file/clean.jsonl"]);
    assert!(
        matches!(ran.code, 2 | 3) && ran.stderr.contains("file/clean.jsonl"),
        "{}: {}",
        ran.code,
        ran.stderr
    );
}

/// Goes on with a run; one that does not end by itself fails the test.
fn resumed(scratch: &Scratch, recipe: &str) -> Ran {
    let mut child = command(scratch, recipe, &["--resume"]).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < patience, "{recipe}: the run hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn a_damaged_file_of_a_checkpoint_is_refused_by_name() {
    let scratch = Scratch::new();
    let library = faults(&scratch);
    scratch.write("rows.jsonl", rows(1500));
    scratch.write("seen.jsonl", seen());
    for (recipe, content, kill) in [
        ("stream.yaml", STREAM, ("rename", "12")),
        ("many.yaml", RECIPE, ("rename", "9")),
        ("many.yaml", RECIPE, ("rename", "40")),
        // Between two files that get their names.
        ("stream.yaml", STREAM, ("rename", "27")),
        ("groups.yaml", GROUPS, ("rename", "30")),
    ] {
        scratch.write(recipe, content);
        run(&scratch, recipe, &[]).expect(1);
        let expected = results(&scratch);
        fs::remove_dir_all(scratch.path("out")).unwrap();
        let output = broken(&scratch, &library, (recipe, &[]), (kill.0, kill.1, "kill"));
        assert_eq!(output.status.signal(), Some(9), "{recipe}, {kill:?}");
        let files: Vec<(String, Vec<u8>)> = scratch
            .files("out")
            .into_iter()
            .map(|name| (name.clone(), scratch.read(&format!("out/{name}"))))
            .collect();
        let lay = || {
            fs::remove_dir_all(scratch.path("out")).unwrap();
            for (name, bytes) in &files {
                let path = scratch.path("out").join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        };
        let mut refused = 0;
        for (name, bytes) in &files {
            if bytes.is_empty() || name.ends_with("-lock") || name.ends_with(".new") {
                continue;
            }
            let mut flipped = bytes.clone();
            let at = bytes.len() / 3;
            flipped[at] ^= 0x10;
            for damage in [flipped, bytes[..at].to_vec(), vec![0; bytes.len()]] {
                lay();
                scratch.write(&format!("out/{name}"), &damage);
                let ran = resumed(&scratch, recipe);
                let what = format!("{recipe}, {kill:?}, {name} of {}", bytes.len());
                if ran.code == 1 {
                    // Only bytes behind what was committed were hit, or nobody needs the file.
                    assert_same(&results(&scratch), &expected, &what);
                    continue;
                }
                refused += 1;
                assert!(
                    ran.code == 3 && !ran.stderr.contains("panicked"),
                    "{what}: {}",
                    ran.stderr
                );
                let file = Path::new(name).file_name().unwrap().to_str().unwrap();
                assert!(ran.stderr.contains(file), "{what}: {}", ran.stderr);
                assert!(ran.stderr.contains("--restart"), "{what}: {}", ran.stderr);
                // Refusing has lost nothing.
                scratch.write(&format!("out/{name}"), bytes);
                let ran = resumed(&scratch, recipe).expect(1);
                drop(ran);
                assert_same(&results(&scratch), &expected, &what);
            }
        }
        assert!(refused > 10, "{recipe}, {kill:?}: {refused} refused");
        fs::remove_dir_all(scratch.path("out")).unwrap();
    }
}

/// Whether a run was killed at its `at`-th `call`.
pub fn killed_at(scratch: &Scratch, arguments: &[&str], (call, at): (&str, &str)) -> bool {
    let status = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(arguments)
        .current_dir(scratch.path(""))
        .env("LD_PRELOAD", faults(scratch))
        .env("FAULT_DIR", fs::canonicalize(scratch.path("")).unwrap())
        .env("FAULT_CALL", call)
        .env("FAULT_AT", at)
        .env("FAULT_ERRNO", "kill")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.signal() == Some(9)
}

/// Runs `r.yaml` with a checkpoint behind every sixteen rows.
pub const SMALL_STEPS: [&str; 7] = [
    "run",
    "r.yaml",
    "-q",
    "--batch-rows",
    "16",
    "--checkpoint-every",
    "0",
];

/// Kills a run of `r.yaml` at each of `kills`, from nothing each time (`clear`), and lets it go on: what it
/// leaves (`left`, of a run with these arguments) is what a run leaves that nobody disturbs.
pub fn kills_change_nothing<T: PartialEq>(
    scratch: &Scratch,
    kills: &[(&str, &str)],
    undisturbed: &T,
    clear: impl Fn(),
    left: impl Fn(&[&str]) -> T,
) {
    for kill in kills {
        clear();
        assert!(killed_at(scratch, &SMALL_STEPS, *kill), "{kill:?}");
        let resumed = left(&[&SMALL_STEPS[..], &["--resume"]].concat());
        assert!(*undisturbed == resumed, "{kill:?}");
    }
}
