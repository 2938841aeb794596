//! What commands say to programs: answers and logs as JSON, held against their schemas, exit codes
//! that schedulers rely on, and what is found again of runs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Scratch, rows};

const ROWS: &str = "{\"id\": \"a\", \"text\": \"one two three\"}\n{\"id\": \"b\", \"text\": \"x\"}\n{broken\n{\"id\": \"c\", \"text\": \"one two three\"}\n";

const RECIPE: &str = "\
dataset_path: in.jsonl
export_path: o.jsonl
ds_cache_dir: nowhere
use_cache: true
max_quarantine: none
process:
  - text_length_filter: {min_len: 5}
  - document_deduplicator: {}
";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write("r.yaml", RECIPE);
    scratch
}

/// The schema of a document as `djr schema` prints it.
fn schema(scratch: &Scratch, name: &str) -> jsonschema::Validator {
    let ran = scratch.djr(&["schema", name]).expect(0);
    let schema: Value = serde_json::from_slice(&ran.stdout).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn holds(schema: &jsonschema::Validator, document: &Value) {
    let wrong: Vec<String> = schema
        .iter_errors(document)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{document:#}");
}

#[test]
fn every_answer_and_every_record_is_as_its_schema_says() {
    let scratch = scratch();
    scratch.write("bad.yaml", "process: [nosuch_filter: {}]\nxport_path: o\n");
    scratch.write("train.json", "[{\"id\": 1, \"conversations\": []}]\n");
    scratch.write("x.jsonl", "{\"id\": 1, \"text\": \"a\"}\n");
    scratch.write("y.jsonl", "{\"id\": 1, \"text\": \"b\"}\n");
    let traced = "open_tracer=true";
    for (command, code) in [
        ("run r.yaml --set open_tracer=true --record-host", 1),
        ("run bad.yaml", 2),
        ("run r.yaml --explain --probe", 0),
        ("run r.yaml --if-changed --set open_tracer=true", 1),
        ("run r.yaml --nosuch", 2),
        ("check r.yaml", 0),
        ("check bad.yaml", 2),
        ("check --for llava train.json", 1),
        ("subset -n 50% in.jsonl -o half.jsonl", 0),
        ("convert --to jsonl in.jsonl -o converted.jsonl", 1),
        ("analyze in.jsonl -o look", 1),
        (
            "recut look --set text_length_filter.min_len=2 -o recut.jsonl",
            1,
        ),
        ("why o.jsonl a", 0),
        ("why o.jsonl nosuch", 2),
        ("why o.jsonl --dropped", 0),
        ("why nowhere a", 2),
        ("verify o.jsonl", 0),
        ("diff o.jsonl.djr o.jsonl.djr", 0),
        ("diff x.jsonl y.jsonl", 1),
        ("report o.jsonl -o report.html", 0),
        ("ls", 0),
        ("clean --runs --dry-run", 0),
        ("ops", 0),
        ("ops text_length_filter", 0),
        ("plan r.yaml --output p.jsonl --work work", 0),
        ("next work", 0),
        ("task work pass-1-00000", 0),
        ("next work --all", 11),
        ("finish work", 1),
        ("next nowhere", 2),
    ] {
        let words: Vec<&str> = command.split(' ').chain(["--json", "--quiet"]).collect();
        let ran = scratch.djr(&words).expect(code);
        let answer = ran.answer();
        let name = words[0];
        holds(&schema(&scratch, name), &answer);
        assert_eq!(answer["command"], name);
        let has_problem = answer["problems"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        let failed = matches!(code, 2 | 3);
        assert_eq!(has_problem, failed, "{command}: {answer:#}");
        if !failed {
            assert_eq!(ran.stderr, "", "{command} is to be quiet");
            assert!(answer["result"].is_object(), "{command}: {answer:#}");
        }
    }
    let bad = scratch.djr(&["check", "bad.yaml", "--json"]).answer();
    let problems: Vec<_> = bad["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            (
                p["code"].as_str().unwrap(),
                p["line"].as_u64(),
                p["column"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        problems,
        [
            ("operator_unknown", Some(1), Some(11)),
            ("key_unknown", Some(2), Some(1)),
            ("input_not_found", None, None),
        ]
    );
    holds(
        &schema(&scratch, "analysis"),
        &scratch.json("look/analysis.json"),
    );
    let dir = "o.jsonl.djr";
    let manifest = scratch.json(&format!("{dir}/manifest.json"));
    holds(&schema(&scratch, "manifest"), &manifest);
    let command = manifest["command"].as_array().unwrap();
    assert!(command.contains(&json!(traced)) && manifest["exit"] == 1);
    assert!(manifest["started"].as_str().unwrap().ends_with("UTC"));
    assert!(!manifest["host"].as_str().unwrap().is_empty());
    let packed =
        |name: &str| rows(&zstd::decode_all(&scratch.read(&format!("{dir}/{name}"))[..]).unwrap());
    for (name, documents) in [
        ("ledger", packed("ledger.jsonl.zst")),
        ("stats", packed("stats.jsonl.zst")),
        ("stats", scratch.rows("look/stats.jsonl")),
        (
            "quarantine",
            scratch.rows(&format!("{dir}/quarantine.jsonl")),
        ),
        (
            "trace",
            scratch.rows(&format!(
                "{dir}/trace/sample_trace-text_length_filter.jsonl"
            )),
        ),
    ] {
        assert!(!documents.is_empty(), "{name}");
        let schema = schema(&scratch, name);
        for document in documents {
            holds(&schema, &document);
        }
    }
    let log = scratch
        .djr(&["run", "r.yaml", "--log-format", "json"])
        .expect(1);
    let lines = rows(log.stderr.as_bytes());
    let schema = schema(&scratch, "log");
    for line in &lines {
        holds(&schema, line);
    }
    let finished = lines
        .iter()
        .find(|line| line["event"] == "finished")
        .unwrap();
    assert_eq!(
        (
            &finished["rows"],
            &finished["dropped"],
            &finished["quarantined"],
            &finished["exit"],
            &finished["phase"],
        ),
        (
            &json!(4),
            &json!(2),
            &json!(1),
            &json!(1),
            &json!("finished")
        )
    );
    assert!(finished["seconds"].as_f64().unwrap() > 0.0);
    // However short a run is, something is said at its start.
    assert!(lines.iter().any(|line| line["event"] == "progress"));
}

#[test]
fn what_verify_finds_is_told_in_values() {
    let scratch = scratch();
    let schema = schema(&scratch, "verify");
    let verified = |code| {
        let answer = scratch
            .djr(&["verify", "o.jsonl", "--json"])
            .expect(code)
            .answer();
        holds(&schema, &answer);
        move |name: &str| {
            let checks = answer["result"]["checks"].as_array().unwrap().iter();
            checks
                .clone()
                .find(|check| check["name"] == name)
                .unwrap()
                .clone()
        }
    };
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let kept = scratch.read("o.jsonl");
    let sound = verified(0);
    assert_eq!(
        sound("inputs")["looked_at"],
        json!({"count": 1, "without_digest": 0})
    );
    assert_eq!(sound("rows")["looked_at"], json!({"count": 1}));
    assert_eq!(sound("counts")["looked_at"]["rows"]["quarantined"], 1);
    assert_eq!(sound("ledger")["looked_at"]["count"], 4);
    let output = scratch.path("o.jsonl");
    assert_eq!(sound("images")["looked_at"]["unchecked"], json!([output]));
    assert_eq!(sound("files")["first"], Value::Null);
    // A further row, which is none.
    let path = scratch.write("o.jsonl", [&kept[..], b"{oh\n"].concat());
    let path = path.to_str().unwrap();
    let longer = verified(1);
    let first = longer("files")["first"].clone();
    assert_eq!(
        [
            &first["code"],
            &first["counted"],
            &first["found"],
            &first["recorded"]
        ],
        [
            &json!("count"),
            &json!("bytes"),
            &json!(kept.len() + 4),
            &json!(kept.len())
        ]
    );
    let row = &longer("rows");
    assert_eq!(row["differences"], 2);
    assert_eq!(
        [
            &row["first"]["code"],
            &row["first"]["line"],
            &row["first"]["offset"]
        ],
        [&json!("json_invalid"), &json!(2), &json!(kept.len())]
    );
    assert!(
        path.ends_with(row["first"]["file"].as_str().unwrap()),
        "{row:#}"
    );
    fs::remove_file(scratch.path("in.jsonl")).unwrap();
    let gone = verified(1)("inputs")["first"].clone();
    assert_eq!(gone["code"], "cannot_read");
    assert!(gone["file"].as_str().unwrap().ends_with("in.jsonl"));
    let nowhere = scratch
        .djr(&["verify", "nowhere", "--json"])
        .expect(2)
        .answer();
    assert_eq!(nowhere["problems"][0]["file"], "nowhere");
}

#[test]
fn bounds_that_decided_are_values() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let set = ["--set", "text_length_filter.min_len=0"];
    let wide = ["run", "r.yaml", "-q", "--output", "wide.jsonl"];
    scratch.djr(&[&wide[..], &set].concat()).expect(1);
    let bound = json!([{"param": "min_len", "value": 5.0}]);
    let why = scratch
        .djr(&["why", "o.jsonl", "b", "--json"])
        .expect(0)
        .answer();
    assert_eq!(why["result"]["rows"][0]["bounds"], bound);
    let line = ["diff", "wide.jsonl.djr", "o.jsonl.djr", "--json"];
    let reason = scratch.djr(&line).expect(1).answer()["result"]["reasons"][0].clone();
    assert_eq!(
        [&reason["fate"], &reason["by"], &reason["bounds"]],
        [&json!("dropped"), &json!("text_length_filter"), &bound]
    );
}

#[test]
fn a_probe_that_read_all_rows_knows_how_many_there_are() {
    let scratch = scratch();
    let lines: Vec<String> = (0..9)
        .map(|n| format!("{{\"id\": {n}, \"text\": \"{}\"}}", "x".repeat(n * 9)))
        .collect();
    let plain = lines.join("\n\n\n");
    scratch.write("blank.jsonl", &plain);
    scratch.write(
        "packed.jsonl.zst",
        zstd::encode_all(plain.as_bytes(), 3).unwrap(),
    );
    scratch.write("all.json", format!("[{}]", lines.join(",\n")));
    scratch.write("table.csv", "id,text\n1,ab\n2,abcdef\n");
    scratch.write("none.jsonl", "");
    for (input, probe, rows, left) in [
        ("blank.jsonl", "1000", 9, 8),
        ("blank.jsonl", "9", 9, 8),
        ("packed.jsonl.zst", "1000", 9, 8),
        ("all.json", "1000", 9, 8),
        ("table.csv", "1000", 2, 1),
        ("none.jsonl", "1000", 0, 0),
    ] {
        let line = [
            "run",
            "r.yaml",
            "--input",
            input,
            "--explain",
            "--probe",
            probe,
        ];
        let answer = scratch
            .djr(&[&line[..], &["--json"]].concat())
            .expect(0)
            .answer();
        let estimate = &answer["result"]["estimate"];
        assert_eq!(
            (&estimate["rows"], &estimate["rows_left"]),
            (&json!(rows), &json!(left)),
            "{input} {probe}"
        );
        let text = scratch.djr(&line).expect(0).text();
        assert!(text.contains("(from all of them)"), "{text}");
    }
    // Of half of them, blank lines count for what they take.
    let even = "{\"id\": 1, \"text\": \"words\"}\n\n\n".repeat(40);
    scratch.write("even.jsonl", even);
    let line = [
        "run",
        "r.yaml",
        "--input",
        "even.jsonl",
        "--explain",
        "--probe",
        "20",
        "--json",
    ];
    let estimate = scratch.djr(&line).expect(0).answer()["result"]["estimate"].clone();
    let rows = estimate["rows"].as_u64().unwrap();
    assert!((39..=42).contains(&rows), "{rows}");
    scratch.write(
        "some.jsonl.zst",
        zstd::encode_all(plain.as_bytes(), 3).unwrap(),
    );
    let line = [
        "run",
        "r.yaml",
        "--input",
        "some.jsonl.zst",
        "--explain",
        "--probe",
        "2",
        "--json",
    ];
    let packed = scratch.djr(&line).expect(0).answer();
    assert!(packed["result"]["estimate"].is_null());
}

#[test]
fn losses_are_tolerated_as_far_as_is_said() {
    let scratch = scratch();
    for (tolerate, code) in [("1", 0), ("25%", 0), ("24.9%", 1), ("0", 1)] {
        let ran = scratch
            .djr(&["run", "r.yaml", "--tolerate", tolerate])
            .expect(code);
        assert!(ran.stderr.contains("1 json_invalid: "), "{}", ran.stderr);
        let manifest = scratch.json("o.jsonl.djr/manifest.json");
        assert_eq!(manifest["exit"], code);
    }
    assert_eq!(scratch.rows("o.jsonl.djr/quarantine.jsonl").len(), 1);
    let quiet = scratch.djr(&["run", "r.yaml", "--quiet"]).expect(1);
    assert_eq!((quiet.stderr.as_str(), quiet.text().as_str()), ("", ""));
}

#[test]
fn what_is_tolerated_does_not_end_the_run() {
    let scratch = scratch();
    let sound = "{\"text\": \"a sound row\"}\n";
    // One row in ten is broken: beyond the 5% that a run allows unless it is told otherwise.
    let rows = format!("{}broken\n", sound.repeat(9)).repeat(1200);
    scratch.write("in.jsonl", rows);
    scratch.write("r.yaml", "process: [{text_length_filter: {min_len: 1}}]\n");
    let line = ["run", "--input", "in.jsonl", "-o", "out.jsonl", "r.yaml"];
    let with = |more: &[&str], code| {
        let line = [&line[..], more, &["--force"]].concat();
        scratch.djr(&line).expect(code)
    };
    let stopped = with(&["--tolerate", "5%"], 3);
    assert!(
        stopped.stderr.contains("max_quarantine (5%)"),
        "{}",
        stopped.stderr
    );
    with(&["--tolerate", "10%"], 0);
    // It stops where it is told to.
    with(&["--tolerate", "10%", "--max-quarantine", "2%"], 3);
}

#[test]
fn nothing_is_done_twice_and_no_other_recipes_output_is_overwritten() {
    let scratch = scratch();
    let again = ["run", "r.yaml", "--if-changed"];
    let first = scratch.djr(&again).expect(1);
    assert!(
        first.stderr.contains("not up to date: no run"),
        "{}",
        first.stderr
    );
    let written = || {
        fs::metadata(scratch.path("o.jsonl"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = written();
    let second = scratch.djr(&again).expect(1);
    assert!(
        second.stderr.contains("up to date: 4 rows in, 1 out"),
        "{}",
        second.stderr
    );
    scratch
        .djr(&["run", "r.yaml", "--if-changed", "--tolerate", "1"])
        .expect(0);
    assert_eq!(written(), before);
    let edit = |name: &str, text: &str| {
        scratch.write(name, text);
    };
    for (what, change, words) in [
        (
            "the recipe",
            ("r.yaml", RECIPE.replace("min_len: 5", "min_len: 4")),
            "min_len was 5 and is 4",
        ),
        (
            "the input",
            ("in.jsonl", format!("{ROWS}\n")),
            "its size is another",
        ),
        (
            "the output",
            ("o.jsonl", "changed\n".to_owned()),
            "not as it was written",
        ),
    ] {
        edit(change.0, &change.1);
        let ran = scratch.djr(&again).expect(1);
        assert!(ran.stderr.contains(words), "{what}: {}", ran.stderr);
        assert_eq!(scratch.rows("o.jsonl").len(), 1);
    }
    scratch.write("other.yaml", RECIPE);
    let refused = scratch.djr(&["run", "other.yaml"]).expect(2);
    assert!(
        refused.stderr.contains("another recipe wrote them: r.yaml")
            && refused.stderr.contains("--force"),
        "{}",
        refused.stderr
    );
    scratch.djr(&["run", "other.yaml", "--force"]).expect(1);
    scratch.djr(&["run", "other.yaml"]).expect(1);
}

#[test]
fn lists_of_rows_are_given_with_their_reasons() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let listed = |words: &str| {
        let words: Vec<&str> = words.split(' ').chain(["--json"]).collect();
        let ran = scratch
            .djr(&[&["why", "o.jsonl"][..], &words].concat())
            .expect(0);
        let answer = ran.answer();
        let lines: Vec<u64> = ran
            .told()
            .iter()
            .map(|row| row["line"].as_u64().unwrap())
            .collect();
        (answer["result"]["total"].as_u64().unwrap(), lines)
    };
    assert_eq!(listed("--dropped"), (2, vec![2, 4]));
    assert_eq!(listed("--dropped --by document_deduplicator"), (1, vec![4]));
    assert_eq!(listed("--dropped --by 1"), (1, vec![2]));
    assert_eq!(listed("--dropped --limit 1"), (2, vec![2]));
    assert_eq!(listed("--set-aside --code json_invalid"), (1, vec![3]));
    assert_eq!(listed("a c"), (2, vec![1, 4]));
    let some = scratch.djr(&["why", "o.jsonl", "a", "zz"]).expect(2);
    assert!(some.text().contains("id a") && some.stderr.contains("no row zz"));
    for (words, hint) in [
        (
            "--by nosuch",
            "its steps are text_length_filter, document_deduplicator",
        ),
        ("--set-aside --code nosuch", "its reasons are json_invalid"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let ran = scratch
            .djr(&[&["why", "o.jsonl"][..], &words].concat())
            .expect(2);
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

#[test]
fn a_run_whose_outputs_refuse_every_row_publishes_nothing() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"id\": 1, \"text\": \"a\", \"images\": [\"no.jpg\"]}\n",
    );
    let ran = scratch
        .djr(&[
            "convert", "--to", "llava", "in.jsonl", "-o", "o.json", "--json",
        ])
        .expect(3);
    assert!(
        ran.stderr.contains(
            "every one of the 1 rows that reached the outputs was refused (image_missing 1)"
        ),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.answer()["problems"][0]["code"], "all_refused");
    assert_eq!(
        scratch
            .files("")
            .iter()
            .filter(|name| name.starts_with("o.json"))
            .count(),
        0
    );
}

#[test]
fn a_file_without_one_readable_row_publishes_nothing() {
    let scratch = scratch();
    scratch.write("in.jsonl", "{\"text\": broken\n{\"text\": too\n");
    let line = ["run", "r.yaml", "--max-quarantine", "5%", "--json"];
    let ran = scratch.djr(&line).expect(3);
    assert!(
        ran.stderr
            .contains("none of the 2 rows could be read (json_invalid 2); the first one: "),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.answer()["problems"][0]["code"], "all_unreadable");
    assert!(!scratch.path("o.jsonl").exists());
    // Who asks for no limit has the rows with their reasons.
    scratch.djr(&["run", "r.yaml"]).expect(1);
    assert_eq!(scratch.rows("o.jsonl.djr/quarantine.jsonl").len(), 2);
}

#[test]
fn a_row_that_ends_a_run_is_told_by_its_place() {
    let scratch = scratch();
    for (limit, code) in [
        (["--on-error", "fail"], "row_failed"),
        (["--max-quarantine", "0"], "too_many_bad"),
    ] {
        let line = [&["run", "r.yaml", "--json"][..], &limit].concat();
        let answer = scratch.djr(&line).expect(3).answer();
        let problem = &answer["problems"][0];
        assert_eq!(
            (&problem["code"], &problem["line"]),
            (&json!(code), &json!(3))
        );
        assert!(problem["file"].as_str().unwrap().ends_with("in.jsonl"));
    }
}

#[test]
fn a_name_that_is_no_unicode_is_shown_or_refused() {
    let scratch = scratch();
    let odd = OsStr::from_bytes(b"odd\xff");
    fs::create_dir(scratch.path("").join(odd)).unwrap();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let dir = scratch.path("").join(odd);
    fs::rename(scratch.path("o.jsonl.djr"), dir.join("o.jsonl.djr")).unwrap();
    let answer = scratch.djr(&["ls", "--json"]).expect(0).answer();
    let found = answer["result"]["runs"][0]["run_dir"].as_str().unwrap();
    assert!(found.ends_with("odd\u{fffd}/o.jsonl.djr"), "{found}");
    let output = dir.join("x.jsonl");
    let words = ["run", "r.yaml", "--output"].map(OsStr::new);
    let ran = scratch.djr(&[&words[..], &[output.as_os_str()]].concat());
    let ran = ran.expect(2);
    assert!(
        ran.stderr.contains("its name is no Unicode"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_newer_run_that_is_unfinished_is_named_by_every_reader() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let stopped = |output: &str, limit: &str| {
        let line = [
            "run",
            "r.yaml",
            "--output",
            output,
            "--max-quarantine",
            limit,
        ];
        let often = ["--checkpoint-every", "0", "--batch-rows", "1"];
        scratch.djr(&[&line[..], &often].concat()).expect(3);
    };
    stopped("o.jsonl", "0");
    stopped("new.jsonl", "0");
    let listed = scratch.djr(&["ls", "--json"]).expect(0).answer();
    let runs = listed["result"]["runs"].as_array().unwrap().iter();
    let states: Vec<_> = runs
        .map(|run| {
            (
                run["outputs"][0].as_str().unwrap(),
                run["state"].as_str().unwrap(),
            )
        })
        .collect();
    let outputs = ["new.jsonl", "o.jsonl", "o.jsonl"].map(|name| scratch.path(name));
    let outputs = outputs.each_ref().map(|path| path.to_str().unwrap());
    assert_eq!(
        states,
        [
            (outputs[0], "unfinished"),
            (outputs[1], "finished"),
            (outputs[2], "unfinished"),
        ]
    );
    for line in [
        "verify o.jsonl",
        "why o.jsonl a",
        "report o.jsonl -o page.html",
        "diff o.jsonl.djr o.jsonl.djr",
        "subset -n 1 o.jsonl -o part.jsonl",
        "analyze o.jsonl -o look",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = scratch.djr(&words);
        let said = "a newer run of these outputs is unfinished";
        assert!(ran.stderr.contains(said), "{line}: {}", ran.stderr);
    }
    for line in [
        "subset -n 1 new.jsonl -o part.jsonl",
        "diff new.jsonl o.jsonl",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = scratch.djr(&words).expect(2);
        assert!(
            ran.stderr.contains("the run is unfinished"),
            "{line}: {}",
            ran.stderr
        );
    }
}

#[test]
fn runs_are_listed_and_only_what_they_made_is_removed() {
    let scratch = scratch();
    scratch.write("keep.txt", "mine");
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    scratch
        .djr(&["run", "r.yaml", "-q", "--output", "gone.jsonl"])
        .expect(1);
    fs::remove_file(scratch.path("gone.jsonl")).unwrap();
    // A run that is stopped by its limit leaves a checkpoint behind.
    let stopped = [
        "run",
        "r.yaml",
        "--output",
        "half.jsonl",
        "--max-quarantine",
        "0",
        "--checkpoint-every",
        "0",
        "--batch-rows",
        "1",
        "--threads",
        "1",
    ];
    scratch.djr(&stopped).expect(3);
    for reader in [
        &["why", "half.jsonl", "a"][..],
        &["verify", "half.jsonl.djr"],
        &["report", "half.jsonl"],
    ] {
        let ran = scratch.djr(reader).expect(2);
        assert!(
            ran.stderr.contains("the run is unfinished"),
            "{reader:?}: {}",
            ran.stderr
        );
    }
    let listed = scratch.djr(&["ls", "--json"]).expect(0).answer();
    let runs: Vec<_> = listed["result"]["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            let dir = run["run_dir"]
                .as_str()
                .unwrap()
                .trim_start_matches("./")
                .to_owned();
            (dir, run["state"].clone(), run["missing"].clone())
        })
        .collect();
    assert_eq!(
        runs,
        [
            ("gone.jsonl.djr".to_owned(), json!("finished"), json!(1)),
            ("half.jsonl.djr".to_owned(), json!("unfinished"), json!(0)),
            ("o.jsonl.djr".to_owned(), json!("finished"), json!(0)),
        ]
    );
    let would = scratch.djr(&["clean", "--dry-run"]).expect(0);
    assert!(
        would.text().contains("gone.jsonl.djr/manifest.json"),
        "{}",
        would.text()
    );
    assert!(scratch.path("gone.jsonl.djr").exists());
    scratch.djr(&["clean", "--older-than", "1d"]).expect(0);
    assert!(scratch.path("gone.jsonl.djr").exists());
    scratch.write("gone.jsonl.djr/notes.txt", "mine");
    scratch.djr(&["clean"]).expect(0);
    let mut left = scratch.files("");
    left.retain(|name| !name.starts_with("fixtures") && !name.starts_with("recipes"));
    let expected = [
        "gone.jsonl.djr/notes.txt",
        "in.jsonl",
        "keep.txt",
        "o.jsonl",
        "o.jsonl.djr/ledger.jsonl.zst",
        "o.jsonl.djr/manifest.json",
        "o.jsonl.djr/quarantine.jsonl",
        "o.jsonl.djr/stats.jsonl.zst",
        "o_stats.jsonl",
        "r.yaml",
    ];
    // Data-Juicer's stats of the run whose output is gone go with its record.
    assert_eq!(left, expected);
    // A file that was changed since is nobody's but its user's.
    scratch.write("o.jsonl", "edited\n");
    scratch.djr(&["clean", "--runs"]).expect(0);
    assert_eq!(scratch.read("o.jsonl"), b"edited\n");
    assert!(!scratch.path("o.jsonl.djr").exists());
}

#[test]
fn stats_files_can_be_switched_off() {
    let scratch = scratch();
    scratch
        .djr(&["run", "r.yaml", "--set", "stats_files=false", "-q"])
        .expect(1);
    let files = scratch.files("");
    assert!(
        !files
            .iter()
            .any(|name| name.contains("stats") && !name.starts_with("fix")),
        "{files:?}"
    );
    let refused = scratch
        .djr(&[
            "recut",
            "o.jsonl",
            "--set",
            "text_length_filter.min_len=6",
            "-o",
            "p.jsonl",
        ])
        .expect(2);
    assert!(
        refused.stderr.contains("there are no stats of rows"),
        "{}",
        refused.stderr
    );
}

#[test]
fn data_juicers_command_lines_and_the_environment_work() {
    let scratch = scratch();
    let peer = "run --config r.yaml --np 1 --dataset_path in.jsonl --export_path peer.jsonl --text_length_filter.min_len 1";
    let words: Vec<&str> = peer.split(' ').collect();
    scratch.djr(&words).expect(1);
    assert_eq!(scratch.rows("peer.jsonl").len(), 2);
    // Keys without a meaning are one line; check lists them.
    let ran = scratch.djr(&["run", "r.yaml"]).expect(1);
    assert!(
        ran.stderr.contains("2 keys have no meaning here"),
        "{}",
        ran.stderr
    );
    let checked = scratch.djr(&["check", "r.yaml"]).expect(0);
    assert!(checked.stderr.contains("ds_cache_dir") && checked.stderr.contains("use_cache"));
    for (words, said) in [
        ("run in.jsonl", "holds rows, and a recipe is asked for"),
        ("analyze in.jsonl r.yaml -o look", "--recipe RECIPE"),
        ("run - --input -", "cannot both come from standard input"),
        (
            "run r.yaml --output - --json",
            "cannot both go to standard output",
        ),
        ("subset -n 5% -", "read only once"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let ran = scratch.djr(&words).expect(2);
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
    }
    scratch
        .djr(&["analyze", "r.yaml", "-o", "look", "-q"])
        .expect(1);
    let from_stdin = ["run", "-", "--output", "stdin.jsonl", "-q"];
    scratch.djr_with(&from_stdin, RECIPE.as_bytes()).expect(1);
    assert_eq!(scratch.read("stdin.jsonl"), scratch.read("o.jsonl"));
    let variables = |pairs: &[(&str, &str)]| {
        let status = Command::new(env!("CARGO_BIN_EXE_djr"))
            .args(["run", "r.yaml"])
            .envs(pairs.iter().copied())
            .current_dir(scratch.path(""))
            .output()
            .unwrap();
        (
            status.status.code(),
            String::from_utf8(status.stderr).unwrap(),
        )
    };
    let (code, said) = variables(&[
        ("DJR_TOLERATE", "1"),
        ("DJR_QUIET", "1"),
        ("DJR_IMAGE_ROOT", "x"),
    ]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let (code, said) = variables(&[
        ("DJR_TOLERATE", "1"),
        ("DJR_RUN_TOLERATE", "0"),
        ("NO_COLOR", "1"),
    ]);
    assert!(code == Some(1) && !said.contains('\u{1b}'), "{said}");
    // A wish for every command is no mistake where it has no effect; one that is typed is.
    let subset = |args: &[&str]| {
        let all = [&["subset", "--n", "1", "in.jsonl", "-o", "one.jsonl"], args].concat();
        let ran = Command::new(env!("CARGO_BIN_EXE_djr"))
            .args(all)
            .env("DJR_THREADS", "2")
            .current_dir(scratch.path(""))
            .output();
        ran.unwrap().status.code()
    };
    assert_eq!(subset(&[]), Some(0));
    assert_eq!(subset(&["--threads", "2"]), Some(2));
    let found = scratch.djr(&["ops", "blur"]).expect(0).text();
    assert!(found.contains("image_blur_mapper"), "{found}");
    // All words must be there, wherever they stand.
    for words in [
        &["window size"][..],
        &["window", "size"],
        &["size", "WINDOW"],
    ] {
        let found = scratch.djr(&[&["ops"], words].concat()).expect(0).text();
        assert!(found.contains("document_minhash_deduplicator"), "{found}");
        assert!(!found.contains("image_blur_mapper"), "{found}");
    }
    scratch.djr(&["ops", "window", "nosuchword"]).expect(2);
    let all = scratch.djr(&["ops"]).expect(0).text();
    for line in all.lines() {
        assert!(line.ends_with('.'), "no whole sentence: {line}");
    }
}
