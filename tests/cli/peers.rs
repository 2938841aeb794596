//! Operators that djr lacks, in a Data-Juicer of a few lines.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Ran, Scratch};

const ROWS: usize = 60;

/// A scratch directory with that Data-Juicer, rows with videos, and operators of a user's own.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    for folder in ["ops", "utils"] {
        fs::create_dir_all(scratch.path("python/data_juicer").join(folder)).unwrap();
    }
    for (name, content) in [
        (
            "python/data_juicer/__init__.py",
            "import os\n__version__ = os.environ.get('PEER_VERSION', '1.6.1')\n",
        ),
        ("python/data_juicer/ops/__init__.py", ""),
        ("python/data_juicer/utils/__init__.py", ""),
        (
            "python/data_juicer/utils/lazy_loader.py",
            include_str!("peers/lazy_loader.py"),
        ),
        (
            "python/data_juicer/ops/base_op.py",
            include_str!("peers/base_op.py"),
        ),
        ("own.py", include_str!("peers/own.py")),
    ] {
        scratch.write(name, content);
    }
    fs::create_dir(scratch.path("videos")).unwrap();
    for size in 0..8 {
        scratch.write(&format!("videos/{size}.mp4"), "x".repeat(size));
    }
    let rows = (0..ROWS).map(|id| {
        let videos = [format!("videos/{}.mp4", id % 8)];
        json!({"id": id, "text": format!("row {id}"), "videos": videos})
    });
    scratch.write("rows.jsonl", lines(rows));
    scratch
}

fn lines(rows: impl Iterator<Item = Value>) -> String {
    let rows: Vec<String> = rows.map(|row| row.to_string()).collect();
    format!("{}\n", rows.join("\n"))
}

/// Writes a recipe of these steps; `keys` are lines of it.
fn recipe(scratch: &Scratch, keys: &str, steps: &[Value]) {
    let steps: Vec<String> = steps.iter().map(|step| format!("  - {step}")).collect();
    let steps = format!("{}\n", steps.join("\n"));
    let text = format!(
        "dataset_path: rows.jsonl\nexport_path: out.jsonl\nmax_quarantine: none\n{keys}\nprocess:\n{steps}"
    );
    scratch.write("r.yaml", text);
}

fn command(scratch: &Scratch, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_djr"));
    command
        .args(args)
        .current_dir(scratch.path(""))
        .env("PYTHONPATH", scratch.path("python"))
        .env("DJR_PYTHON", python().unwrap());
    command
}

fn djr(scratch: &Scratch, args: &[&str]) -> Ran {
    Ran::of(command(scratch, args).output().unwrap())
}

/// The interpreter itself: what is called so may be a script that finds it, and would be killed in
/// the place of djr.
fn python() -> Option<String> {
    let print = "import sys; print(sys.executable)";
    let said = Command::new("python3").args(["-c", print]).output().ok()?;
    let path = String::from_utf8(said.stdout).ok()?;
    Some(path.trim().to_owned()).filter(|path| !path.is_empty())
}

fn there() -> bool {
    python().is_some()
}

#[test]
fn they_run_among_djrs_own_and_leave_what_they_measured() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let steps = [
        json!({"video_duration_filter": {"min_duration": 2, "max_duration": 6}}),
        json!({"text_length_filter": {"min_len": 6}}),
        json!({"video_split_by_duration_mapper": {"split_duration": 4}}),
        json!({"python_lambda_mapper": {"lambda_str": "lambda row: {'text': row['text'] + '.'}"}}),
        json!({"wild_mapper": {"tag": "b", "level": 2}}),
    ];
    recipe(&scratch, "custom_operator_paths: own.py", &steps);
    djr(&scratch, &["run", "r.yaml", "-q"]).expect(0);
    let rows = scratch.rows("out.jsonl");
    // Of ids from 10 on those whose video has 2 to 6 bytes; from 5 on in two parts.
    let expected: Vec<(usize, usize)> = (10..ROWS)
        .filter(|id| (2..=6).contains(&(id % 8)))
        .flat_map(|id| (0..id % 8).step_by(4).map(move |from| (id, from)))
        .collect();
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row["id"].as_u64().unwrap(), row["from"].as_u64().unwrap()))
        .map(|(id, from)| (usize::try_from(id).unwrap(), usize::try_from(from).unwrap()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(rows[0]["text"], "ROW 10.");
    assert_eq!(rows[0]["__dj__meta__"], json!({"tag": "b"}));
    let video = scratch.path("videos/2.mp4").canonicalize().unwrap();
    assert_eq!(rows[0]["videos"], json!([video]));
    let why = djr(&scratch, &["why", "out.jsonl", "1"]).expect(0).text();
    assert!(
        why.contains("video_duration") && why.contains("min_duration: 2, max_duration: 6"),
        "{why}"
    );
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    let on = manifest["services"][0]["runs_on"].as_str().unwrap();
    assert!(on.starts_with("Data-Juicer 1.6.1, Python 3"), "{on}");
    for (threads, batch, processes) in [("1", "1", "1"), ("4", "7", "3")] {
        let set = format!("operator_processes={processes}");
        let args = ["--threads", threads, "--batch-rows", batch, "--set", &set];
        let args = [&["run", "r.yaml", "-q", "-o", "again.jsonl"], &args[..]].concat();
        djr(&scratch, &args).expect(0);
        assert_eq!(scratch.read("again.jsonl"), scratch.read("out.jsonl"));
    }
    let explained = djr(&scratch, &["run", "r.yaml", "--explain", "-o", "x.jsonl"]);
    let explained = explained.expect(0).text();
    assert!(
        explained.contains("asks Data-Juicer 1.6.1, Python at /")
            && explained.contains("(data_juicer.ops.base_op.VideoDurationFilter, ")
            && explained.contains("own.py ("),
        "{explained}"
    );
    let checked = djr(&scratch, &["check", "r.yaml", "-o", "x.jsonl"]).expect(0);
    let told = "wild_mapper runs in Data-Juicer 1.6.1, Python at /";
    assert!(checked.stderr.contains(told), "{}", checked.stderr);
    let recut = [
        "recut",
        "out.jsonl",
        "--set",
        "text_length_filter.min_len=7",
        "-o",
        "cut.jsonl",
    ];
    let recut = djr(&scratch, &recut);
    assert_eq!(recut.code, 2, "{}", recut.stderr);
}

#[test]
fn tasks_ask_it_too() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let steps = [
        json!({"video_duration_filter": {"min_duration": 2, "max_duration": 6}}),
        json!({"python_lambda_mapper": {"lambda_str": "lambda row: {'text': row['text'] + '.'}"}}),
        json!({"document_minhash_deduplicator": {"tokenization": "character"}}),
        json!({"video_split_by_duration_mapper": {"split_duration": 4}}),
    ];
    recipe(&scratch, "", &steps);
    djr(&scratch, &["run", "r.yaml", "-q", "-o", "one.jsonl"]).expect(0);
    let cut = ["--work", "work", "--task-bytes", "900", "-o", "out.jsonl"];
    djr(&scratch, &[&["plan", "r.yaml"], &cut[..]].concat()).expect(0);
    // One is done twice at once, and of either machine some are done.
    let first = ["task", "work", "pass-1-00000", "-q"];
    let twice = [command(&scratch, &first), command(&scratch, &first)];
    for task in twice.map(|mut task| task.stderr(Stdio::piped()).spawn().unwrap()) {
        Ran::of(task.wait_with_output().unwrap()).expect(0);
    }
    let rest = ["--tasks", "work", "--task-bytes", "900", "-o", "out.jsonl"];
    djr(&scratch, &[&["run", "r.yaml", "-q"], &rest[..]].concat()).expect(0);
    assert_eq!(scratch.read("out.jsonl"), scratch.read("one.jsonl"));
    let manifests =
        ["out", "one"].map(|name| scratch.json(&format!("{name}.jsonl.djr/manifest.json")));
    let [tasks, one] = &manifests;
    assert!(tasks["rows"] == one["rows"] && tasks["rows"]["out"].as_u64() > Some(20));
    assert_eq!(
        tasks["services"][0]["runs_on"],
        one["services"][0]["runs_on"]
    );
    djr(&scratch, &["verify", "out.jsonl"]).expect(0);
}

#[test]
fn rows_go_by_their_hashes_and_deleted_fields_are_gone() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let del = "lambda batch: [batch, batch.pop('text')][0]";
    let none = "lambda batch: {key: [] for key in batch} if batch['id'][0] == 3 else batch";
    let steps = [
        json!({"video_deduplicator": {}}),
        json!({"python_lambda_mapper": {"lambda_str": del, "batched": true}}),
        json!({"python_lambda_mapper": {"lambda_str": none, "batched": true}}),
    ];
    recipe(&scratch, "", &steps);
    djr(&scratch, &["run", "r.yaml", "-q"]).expect(0);
    let rows = scratch.rows("out.jsonl");
    let ids: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [0, 1, 2, 4, 5, 6, 7].map(Value::from));
    assert!(rows.iter().all(|row| row.get("text").is_none()));
}

#[test]
fn an_aggregator_takes_what_a_grouper_made() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let rows = ["a", "b"].map(|text| json!({"text": text}));
    scratch.write("rows.jsonl", lines(rows.into_iter()));
    let steps = [
        json!({"naive_grouper": {}}),
        json!({"nested_aggregator": {}}),
    ];
    recipe(&scratch, "", &steps);
    djr(&scratch, &["run", "r.yaml", "-q"]).expect(0);
    let expected = json!({"text": ["a", "b"], "__dj__batch_meta__": {"all": "a+b"}});
    assert_eq!(scratch.rows("out.jsonl"), [expected]);
}

#[test]
fn a_row_that_fails_ends_its_worker_or_hangs_is_set_aside_alone() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let rows = (0..ROWS).map(|id| {
        let text = match id {
            7 => "raise",
            9 => "raise at length",
            20 => "exit",
            41 => "hang",
            42 => "once a",
            43 => "once b",
            _ => "fine",
        };
        json!({"id": id, "n": 1000, "text": text})
    });
    let written = lines(rows).replace("\"n\":1000", "\"n\":1e3");
    scratch.write("rows.jsonl", written);
    let keys = "custom_operator_paths: [own.py]\noperator_timeout: 2";
    recipe(&scratch, keys, &[json!({"wild_mapper": null})]);
    let ran = djr(&scratch, &["run", "r.yaml", "-q"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let set_aside = scratch.rows("out.jsonl.djr/quarantine.jsonl");
    let told: Vec<_> = set_aside
        .iter()
        .map(|row| (row["id"].clone(), row["code"].as_str().unwrap()))
        .collect();
    let code = "operator_failed";
    assert_eq!(told, [7, 9, 20, 41].map(|id| (id.into(), code)));
    let message = |at: usize| set_aside[at]["message"].as_str().unwrap();
    assert_eq!(message(0), "KeyError: 'told to'");
    assert_eq!(
        message(1),
        "RuntimeError: told to. In many words: [the end]"
    );
    assert!(message(2).contains("exit status: 7"), "{}", message(2));
    assert!(
        message(3).contains("no answer within 2 s"),
        "{}",
        message(3)
    );
    let rows = scratch.rows("out.jsonl");
    assert_eq!(rows.len(), ROWS - 4);
    // No row draws what another does, in one worker or in another.
    for at in [0, 1] {
        let drawn: BTreeSet<_> = rows
            .iter()
            .map(|row| row["drawn"][at].to_string())
            .collect();
        assert_eq!(drawn.len(), rows.len());
    }
    // What no operator changed stands as it was read.
    let text = String::from_utf8(scratch.read("out.jsonl")).unwrap();
    assert_eq!(text.matches("\"n\":1e3,").count(), rows.len());
}

#[test]
fn null_is_a_value_and_not_the_default() {
    if !there() {
        return;
    }
    let scratch = scratch();
    for (params, code) in [(json!({"packages": null}), 0), (json!({}), 2)] {
        let step = json!({"needy_mapper": params.clone()});
        recipe(&scratch, "custom_operator_paths: [own.py]", &[step]);
        assert_eq!(djr(&scratch, &["check", "r.yaml"]).code, code, "{params}");
    }
}

#[test]
fn packages_are_named_unless_they_are_there_in_any_version() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let info = "python/at_hand-2.0.dist-info";
    fs::create_dir(scratch.path(info)).unwrap();
    let metadata = "Metadata-Version: 2.1\nName: at-hand\nVersion: 2.0\n";
    scratch.write(&format!("{info}/METADATA"), metadata);
    let check = |package: &str| {
        let step = json!({"needy_mapper": {"packages": ["json", package]}});
        recipe(&scratch, "custom_operator_paths: [own.py]", &[step]);
        djr(&scratch, &["check", "r.yaml"])
    };
    for package in ["at-hand==1.0", "at_hand[more]>=3"] {
        assert_eq!(check(package).code, 0, "{package}");
    }
    let ran = check("absent-one==1.0");
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("absent-one==1.0 is missing")
            && ran.stderr.contains("-m pip install 'absent-one==1.0'"),
        "{}",
        ran.stderr
    );
}

#[test]
fn workers_and_runs_that_are_killed_leave_the_same_bytes() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let rows = (0..ROWS).map(|id| {
        let text = match id {
            5 | 6 | 23 | 59 => format!("once {id}"),
            11 | 12 | 37 => format!("parent {id}"),
            _ => format!("row {id}"),
        };
        json!({"id": id, "text": text, "videos": [format!("videos/{}.mp4", id % 8)]})
    });
    scratch.write("rows.jsonl", lines(rows));
    let steps = [
        json!({"video_split_by_duration_mapper": {"split_duration": 3}}),
        json!({"wild_mapper": {}}),
        json!({"video_duration_filter": {"max_duration": 6}}),
    ];
    recipe(&scratch, "custom_operator_paths: own.py", &steps);
    let run = [
        "run",
        "r.yaml",
        "-q",
        "--resume",
        "--checkpoint-every",
        "0",
        "--batch-rows",
        "2",
    ];
    let mut kills = 0;
    let last = loop {
        let ended = command(&scratch, &run).output().unwrap();
        if ended.status.code().is_some() {
            break Ran::of(ended);
        }
        kills += 1;
        assert!(kills < 20, "it is killed again and again");
    };
    last.expect(0);
    // Two rows of one batch may both be on their way when the first one kills the run.
    assert!(kills >= 2, "{kills}");
    let whole = scratch.read("out.jsonl");
    // Nobody kills now: each has been done.
    djr(&scratch, &["run", "r.yaml", "-q", "-o", "whole.jsonl"]).expect(0);
    assert_eq!(scratch.read("whole.jsonl"), whole);
}

#[test]
fn a_run_is_not_resumed_with_another_data_juicer() {
    if !there() {
        return;
    }
    let scratch = scratch();
    // More than can be on their way, so that there is something to go on from.
    let rows = (0..2000).map(|id| {
        let text = if id == 1990 { "parent" } else { "a" };
        json!({"id": id, "text": text})
    });
    scratch.write("rows.jsonl", lines(rows));
    recipe(
        &scratch,
        "custom_operator_paths: own.py",
        &[json!({"wild_mapper": {}})],
    );
    let run = [
        "run",
        "r.yaml",
        "-q",
        "--resume",
        "--checkpoint-every",
        "0",
        "--batch-rows",
        "20",
        "--threads",
        "1",
    ];
    let killed = command(&scratch, &run).output().unwrap();
    assert_eq!(killed.status.code(), None);
    let mut other = command(&scratch, &run);
    let refused = Ran::of(other.env("PEER_VERSION", "1.7.0").output().unwrap()).expect(2);
    assert!(refused.stderr.contains("1.7.0"), "{}", refused.stderr);
    let own = fs::read_to_string(scratch.path("own.py")).unwrap();
    scratch.write("own.py", format!("{own}\n# changed\n"));
    let refused = djr(&scratch, &run).expect(2);
    assert!(refused.stderr.contains("own.py"), "{}", refused.stderr);
    scratch.write("own.py", own);
    djr(&scratch, &run).expect(0);
    assert_eq!(scratch.rows("out.jsonl").len(), 2000);
}

#[test]
fn what_is_wrong_with_them_is_said_before_a_row_is_read() {
    if !there() {
        return;
    }
    let scratch = scratch();
    let wrong = |keys: &str, step: Value| {
        recipe(&scratch, keys, &[step]);
        djr(&scratch, &["check", "r.yaml"]).expect(2).stderr
    };
    let told = wrong("", json!({"video_duration_filter": {"max_durration": 3}}));
    assert!(
        told.contains("r.yaml:6:")
            && told.contains("unknown parameter 'max_durration' of video_duration_filter")
            && told.contains(
                "did you mean 'max_duration'? video_duration_filter has min_duration, max_duration"
            ),
        "{told}"
    );
    let told = wrong("", json!({"video_duration_filter": {"min_duration": 100}}));
    assert!(
        told.contains("ValueError: min_duration 100 is above 99"),
        "{told}"
    );
    let told = wrong("", json!({"image_ohem_selector": {}}));
    assert!(
        told.contains("does not work row by row: it selects among all rows"),
        "{told}"
    );
    let told = wrong("", json!({"video_nsfw_filter": {}}));
    assert!(
        told.contains("Data-Juicer 1.6.1 has no such operator"),
        "{told}"
    );
    let told = wrong("custom_operator_paths: none.py", json!({"wild_mapper": {}}));
    assert!(
        told.contains("no such file or directory: none.py"),
        "{told}"
    );
    scratch.write("broken.py", "import nothing_of_that_name");
    let told = wrong(
        "custom_operator_paths: broken.py",
        json!({"wild_mapper": {}}),
    );
    assert!(
        told.contains("No module named 'nothing_of_that_name'"),
        "{told}"
    );
    // A name that nobody knows starts no Python.
    let told = wrong("", json!({"text_lenght_filter": {}}));
    assert!(
        told.contains("did you mean 'text_length_filter'?"),
        "{told}"
    );
    recipe(&scratch, "", &[json!({"video_duration_filter": {}})]);
    let lacking = command(&scratch, &["check", "r.yaml"])
        .env_remove("PYTHONPATH")
        .env("DJR_PYTHON", "/nowhere/python3")
        .output()
        .unwrap();
    let lacking = Ran::of(lacking).expect(2).stderr;
    assert!(
        lacking.contains("video_duration_filter is an operator of Data-Juicer")
            && lacking.contains("pip install py-data-juicer")
            && lacking.contains("--python")
            && lacking.contains("/nowhere/python3"),
        "{lacking}"
    );
}
