//! Outputs with conditions, outputs that are split, and rows that ended as data again.

use std::fmt::Write as _;
use std::fs;

use djr::io::format::OutputFormat;
use serde_json::{Value, json};

use crate::support::Scratch;

const ROWS: &str = r#"{"id": 1, "text": "a red kite flies", "lang": "en", "n": 5}
{"id": 2, "text": "short", "lang": "en", "n": 1}
{"id": 3, "text": "zwei graue Katzen", "lang": "de", "n": 2}
{"id": 4, "text": "a red kite flies", "n": 9}
{broken
{"id": 6, "text": 7, "lang": "de"}
{"id": 7, "text": "trois chats gris", "lang": "a/b", "n": 7}
"#;

const STEPS: &str = "process:
  - text_length_filter: {min_len: 10}
  - document_deduplicator:
";

fn run(scratch: &Scratch, outputs: &str, more: &[&str]) -> String {
    scratch.write(
        "r.yaml",
        format!("dataset_path: in.jsonl\n{STEPS}outputs:\n{outputs}"),
    );
    scratch
        .djr(&[&["run", "r.yaml"], more].concat())
        .expect(1)
        .stderr
}

fn ids(rows: &[Value]) -> Vec<Value> {
    rows.iter().map(|row| row["id"].clone()).collect()
}

#[test]
fn rows_that_ended_are_data_again() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    let outputs = "  - {path: clean.jsonl}
  - {path: dropped.jsonl, of: dropped}
  - {path: doubles.jsonl, of: duplicates}
  - {path: aside.jsonl, of: quarantined}
  - {path: all.jsonl, of: all}
  - {path: some.jsonl, of: all, sample: 2, seed: 4}
  - {path: short.json, of: dropped, where: text_len < 10}
";
    run(&scratch, outputs, &[]);
    let fate = "__dj__fate__";
    assert_eq!(ids(&scratch.rows("clean.jsonl")), [1, 3, 7]);
    assert_eq!(
        scratch.rows("dropped.jsonl"),
        [
            json!({"id": 2, "text": "short", "lang": "en", "n": 1, fate: {"fate": "dropped", "by": "text_length_filter", "step": 1, "stat": "text_len", "value": 5, "limit": "min_len: 10"}}),
            json!({"id": 4, "text": "a red kite flies", "n": 9, fate: {"fate": "dropped", "by": "document_deduplicator", "step": 2, "duplicate_of": 0}}),
        ]
    );
    assert_eq!(ids(&scratch.rows("doubles.jsonl")), [4]);
    let aside = scratch.rows("aside.jsonl");
    assert_eq!(aside[0]["__dj__line__"], "{broken");
    assert_eq!(aside[0][fate]["by"], "read");
    assert_eq!(
        (&aside[1]["id"], &aside[1][fate]["code"]),
        (&json!(6), &json!("wrong_type"))
    );
    let all = scratch.rows("all.jsonl");
    assert_eq!(
        ids(&all),
        [
            json!(1),
            json!(2),
            json!(3),
            json!(4),
            Value::Null,
            json!(6),
            json!(7)
        ]
    );
    assert_eq!(all[0][fate], json!({"fate": "kept"}));
    let some = scratch.rows("some.jsonl");
    assert!(some.len() == 2 && some.iter().all(|row| all.contains(row)));
    let short: Value = scratch.json("short.json");
    assert_eq!(short.as_array().map(|rows| ids(rows)), Some(vec![json!(2)]));
    let manifest = scratch.json("clean.jsonl.djr/manifest.json");
    let counts = |output: usize| {
        ["candidates", "written", "not_drawn", "unmatched"]
            .map(|key| manifest["outputs"][output][key].as_u64().unwrap_or(0))
    };
    assert_eq!(counts(1), [2, 2, 0, 0]);
    assert_eq!(counts(5), [7, 2, 5, 0]);
    assert_eq!(counts(6), [2, 1, 0, 1]);
    scratch.djr(&["verify", "clean.jsonl"]).expect(0);

    // An exchange, a sample, and a row that no output asks for.
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    let steps = "process:\n  - document_minhash_deduplicator: {window_size: 2}\n  - topk_specified_field_selector: {field_key: n, topk: 3}\n";
    scratch.write(
        "r.yaml",
        format!("dataset_path: in.jsonl\n{steps}outputs:\n  - {{path: clean.jsonl, where: n > 6}}\n  - {{path: one.jsonl, sample: 1, where: n < 6, seed: 1}}\n  - {{path: all.jsonl, of: all}}\n"),
    );
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let all = scratch.rows("all.jsonl");
    let fates = |key: &str| {
        all.iter()
            .map(|row| row[fate][key].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        fates("fate"),
        [
            "kept",
            "dropped",
            "dropped",
            "dropped",
            "quarantined",
            "quarantined",
            "kept"
        ]
    );
    assert_eq!(fates("by")[3], "document_minhash_deduplicator");
    assert_eq!(
        (
            ids(&scratch.rows("clean.jsonl")),
            ids(&scratch.rows("one.jsonl"))
        ),
        (vec![json!(7)], vec![json!(1)])
    );
}

#[test]
fn outputs_take_what_they_ask_for_and_are_split() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    let outputs = "  - {path: 'by/{value}.jsonl', split_by: lang}
  - {path: from.jsonl.gz, per_input: true}
  - {path: by/n.json, split_by: n, where: n >= 5 and lang == 'en'}
";
    let told = run(&scratch, outputs, &[]);
    assert!(told.contains("not asked for"), "{told}");
    let by = |name: &str| ids(&scratch.rows(&format!("by/{name}.jsonl")));
    assert_eq!(
        (by("en"), by("de"), by("a%2fb")),
        (vec![json!(1)], vec![json!(3)], vec![json!(7)])
    );
    assert_eq!(ids(scratch.json("by/n-5.json").as_array().unwrap()), [1]);
    assert!(scratch.path("from-in.jsonl.gz").exists());
    let names: Vec<String> = scratch
        .files("by")
        .into_iter()
        .filter(|name| !name.contains(".djr"))
        .collect();
    assert_eq!(names, ["a%2fb.jsonl", "de.jsonl", "en.jsonl", "n-5.json"]);
    scratch.djr(&["verify", "by/all.jsonl.djr"]).expect(0);
    scratch.djr(&["verify", "by/en.jsonl"]).expect(0);

    // A row that no output asks for is dropped by name.
    run(
        &scratch,
        "  - {path: few.jsonl, where: lang == 'de'}\n",
        &[],
    );
    let ledger = scratch.ledger("few.jsonl.djr");
    let of = |line: u64| ledger.iter().find(|entry| entry["line"] == line).unwrap();
    assert_eq!(
        (&of(1)["fate"], &of(1)["by"]),
        (&json!("dropped"), &json!("where"))
    );
    assert!(
        scratch
            .djr(&["why", "few.jsonl", "in.jsonl:1"])
            .expect(0)
            .text()
            .contains("no output asks for it")
    );
    scratch.djr(&["verify", "few.jsonl"]).expect(0);

    // A condition that cannot be held against a row refuses it.
    run(
        &scratch,
        "  - {path: few.jsonl, where: n > 'a'}\n",
        &["--max-quarantine", "none"],
    );
    let manifest = scratch.json("few.jsonl.djr/manifest.json");
    // The duplicate, too: a row that is refused does not stand for it.
    assert_eq!(manifest["outputs"][0]["refused"], 4);

    // Every row with what became of it is an output of those that are kept, too.
    scratch.write(
        "r.yaml",
        format!("dataset_path: in.jsonl\n{STEPS}outputs:\n  - {{path: told.jsonl, of: all}}\n"),
    );
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let fates = scratch.rows("told.jsonl");
    let kept = fates
        .iter()
        .filter(|row| row["__dj__fate__"]["fate"] == "kept");
    let manifest = scratch.json("told.jsonl.djr/manifest.json");
    assert_eq!(manifest["rows"]["out"], kept.count());
    assert_eq!(manifest["rows"]["in"], fates.len());
    scratch.djr(&["verify", "told.jsonl"]).expect(0);

    for (output, what) in [
        ("{path: x.jsonl, where: 'n >'}", "'where' of an output"),
        (
            "{path: x.jsonl, of: all, where: n > 1}",
            "no output takes the rows that are kept",
        ),
        (
            "{path: x.jsonl, of: dropped}",
            "no output takes the rows that are kept",
        ),
        (
            "{path: '-', format: jsonl, split_by: lang}",
            "a stream, which is not split",
        ),
        (
            "{path: x.jsonl, split_by: lang, per_input: true}",
            "one file an input",
        ),
        (
            "{path: x.jsonl, sample: 2, sampler: python, where: n > 1}",
            "the python sampler draws from all rows",
        ),
        (
            "{path: '{value}.jsonl', split_by: lang}",
            "is an input, too",
        ),
    ] {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\n{STEPS}outputs:\n  - {output}\n"),
        );
        let ran = scratch.djr(&["run", "r.yaml"]).expect(2);
        assert!(ran.stderr.contains(what), "{output}: {}", ran.stderr);
    }
}

/// Rows of two files with pictures: kept, dropped, duplicates, and two that cannot be processed.
fn pictured(scratch: &Scratch) {
    fs::create_dir(scratch.path("o")).unwrap();
    for (number, name) in ["000003", "000007"].iter().enumerate() {
        let from = crate::support::root().join(format!("fixtures/dataset/images/00000/{name}.jpg"));
        fs::copy(from, scratch.path(&format!("o/{number}.jpg"))).unwrap();
    }
    let row = |id: u64, text: &str, image: u64, lang: &str| {
        let text = format!("<__dj__image>\n{text}");
        let images = [format!("o/{image}.jpg")];
        format!(
            "{}\n",
            json!({"id": id, "text": text, "images": images, "lang": lang, "n": id})
        )
    };
    let first = row(1, "a red kite flies", 0, "en") + &row(2, "no", 1, "en");
    scratch.write("one.jsonl", first + &row(3, "zwei graue Katzen", 1, "de"));
    let second = row(4, "a red kite flies", 0, "en")
        + "{broken\n"
        + "{\"id\": 6, \"text\": 7, \"lang\": \"de\"}\n";
    scratch.write("two.jsonl", second + &row(7, "trois chats gris", 0, "fr"));
}

/// What an output may ask for, the ids of the rows that it then has (null of the broken line), and how
/// many files they come in.
const ASKED: &[(&str, &[u64], usize)] = &[
    ("of: dropped", &[2, 4], 1),
    ("of: duplicates", &[4], 1),
    ("of: quarantined", &[0, 6], 1),
    ("of: all", &[1, 2, 3, 4, 0, 6, 7], 1),
    ("where: n > 1", &[3, 7], 1),
    ("where: lang == 'en' and text_len > 20, of: all", &[1, 4], 1),
    ("of: all, where: n != 3, split_by: lang", &[1, 2, 4, 7], 2),
    ("split_by: lang", &[1, 3, 7], 3),
    ("of: dropped, per_input: true", &[2, 4], 2),
    ("of: all, where: n > 0, shard_rows: 2", &[1, 2, 3, 4, 7], 3),
    ("of: all, where: n > 0, sample: 9", &[1, 2, 3, 4, 7], 1),
];

#[test]
fn every_sink_takes_what_it_is_asked_for() {
    let formats: Vec<&str> = OutputFormat::all().map(OutputFormat::word).collect();
    // What there is to write into: a format, how its files are called, what it needs.
    let sinks = [
        ("jsonl", ".jsonl", ""),
        ("jsonl", ".jsonl.gz", ""),
        ("jsonl", ".jsonl.zst", ""),
        ("json", ".json", ""),
        ("parquet", ".parquet", ""),
        ("webdataset", ".tar", ""),
        ("llava", ".json", ", question: What?"),
        ("llava_jsonl", ".jsonl", ", question: What?"),
        ("internvl", ".jsonl", ", question: What?"),
        ("messages", ".jsonl", ", question: What?"),
        ("openai", ".jsonl", ", question: What?"),
        ("trl", ".jsonl", ", question: What?"),
        ("imagefolder", ".jsonl", ""),
    ];
    for format in formats.iter().filter(|format| **format != "dj") {
        assert!(
            sinks.iter().any(|(sink, ..)| sink == format),
            "{format} is not tried"
        );
    }
    for (format, suffix, more) in sinks {
        let scratch = Scratch::new();
        pictured(&scratch);
        let mut outputs = "  - {path: kept.jsonl}\n".to_owned();
        for (number, (asked, ..)) in ASKED.iter().enumerate() {
            let path = format!("o/x{number}{suffix}");
            let _ = writeln!(
                outputs,
                "  - {{path: {path}, format: {format}, {asked}{more}}}"
            );
        }
        let steps = "process:\n  - text_length_filter: {min_len: 20}\n  - document_deduplicator:\n";
        scratch.write(
            "r.yaml",
            format!("dataset_path: [one.jsonl, two.jsonl]\n{steps}outputs:\n{outputs}"),
        );
        let args = ["run", "r.yaml", "--max-quarantine", "none", "-q"];
        scratch.djr(&args).expect(1);
        scratch.djr(&["verify", "kept.jsonl"]).expect(0);
        let manifest = scratch.json("kept.jsonl.djr/manifest.json");
        let files = scratch.files("o");
        for (number, (asked, ids, parts)) in ASKED.iter().enumerate() {
            let what = format!("{format} ({suffix}), {asked}");
            let counts = &manifest["outputs"][number + 1];
            // What no training format and no archive can hold is a row that is none; it is refused, and
            // counted. A row whose text is a number has no conversation.
            let lost = |id: &&u64| match format {
                "jsonl" | "json" | "parquet" => false,
                "webdataset" => **id == 6,
                _ => matches!(id, 0 | 6),
            };
            let refused = ids.iter().filter(lost).count();
            assert_eq!(
                counts["refused"].as_u64().unwrap_or(0),
                refused as u64,
                "{what}"
            );
            assert_eq!(counts["written"], ids.len() - refused, "{what}");
            let start = format!("x{number}");
            let own = files.iter().filter(|name| {
                let rest = name.strip_prefix(&start).unwrap_or("x");
                rest.starts_with(['.', '-']) && !rest.contains(".djr") && rest.ends_with(suffix)
            });
            let own: Vec<&String> = own.collect();
            assert_eq!(own.len(), *parts, "{what}: {own:?}");
            if asked.contains("of:")
                && matches!(
                    format,
                    "llava" | "llava_jsonl" | "internvl" | "messages" | "openai" | "trl"
                )
            {
                let text = |name: &&String| {
                    String::from_utf8_lossy(&scratch.read(&format!("o/{name}"))).into_owned()
                };
                let told: usize = own
                    .iter()
                    .map(text)
                    .map(|it| it.matches("__dj__fate__").count())
                    .sum();
                assert_eq!(told, ids.len() - refused, "{what}");
            }
            if refused > 0 || !matches!(format, "jsonl" | "json" | "parquet" | "webdataset") {
                continue;
            }
            // They are rows again, with what became of them.
            let mut found = Vec::new();
            for name in own {
                let path = format!("o/{name}");
                scratch
                    .djr(&[
                        "convert",
                        &path,
                        "--to",
                        "jsonl",
                        "-o",
                        "back.jsonl",
                        "-q",
                        "--force",
                    ])
                    .expect(0);
                found.extend(scratch.rows("back.jsonl"));
            }
            let mut back: Vec<u64> = found
                .iter()
                .map(|row| row["id"].as_u64().unwrap_or(0))
                .collect();
            let mut ids = ids.to_vec();
            for list in [&mut back, &mut ids] {
                list.sort_unstable();
            }
            assert_eq!(back, ids, "{what}");
            if asked.contains("of:") {
                let told = found
                    .iter()
                    .all(|row| row["__dj__fate__"]["fate"].is_string());
                assert!(told, "{what}: {found:?}");
            }
        }
    }
    // A stream takes them, too.
    let scratch = Scratch::new();
    pictured(&scratch);
    let output = "outputs:\n  - {path: kept.jsonl}\n  - {path: '-', of: all, where: n > 2}\n";
    let steps = "process:\n  - text_length_filter: {min_len: 20}\n  - document_deduplicator:\n";
    scratch.write(
        "r.yaml",
        format!("dataset_path: [one.jsonl, two.jsonl]\n{steps}{output}"),
    );
    let ran = scratch
        .djr(&["run", "r.yaml", "--max-quarantine", "none", "-q"])
        .expect(1);
    assert_eq!(ids(&crate::support::rows(&ran.stdout)), [3, 4, 7]);
}

#[test]
fn neither_threads_nor_cuts_change_an_output() {
    let rows: Vec<String> = (0..400_u64)
        .map(|n| {
            let row = json!({"id": n, "text": format!("text {}", n * n % 170), "lang": format!("l{}", n % 5), "n": n * 7 % 31});
            if n % 53 == 9 { "{no\n".to_owned() } else { format!("{row}\n") }
        })
        .collect();
    let recipe = "dataset_path: in
process:
  - text_length_filter: {min_len: 7}
  - document_deduplicator:
  - document_simhash_deduplicator: {window_size: 1, keep: {max: n}}
  - random_selector: {select_num: 60}
  - specified_numeric_field_filter: {field_key: n, min_value: 3}
outputs:
  - {path: clean.jsonl, where: n < 25}
  - {path: by.jsonl, split_by: lang, shard_rows: 5, of: dropped}
  - {path: all.jsonl.zst, of: all}
  - {path: some.jsonl, sample: 7, where: n > 10, seed: 3}
  - {path: doubles.jsonl, of: duplicates, sample: 9}
";
    let mut reference: Option<Vec<(String, Vec<u8>)>> = None;
    for (files, threads, batch) in [(1, "1", "1000"), (7, "2", "1"), (100, "8", "7")] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("in")).unwrap();
        for (number, part) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
            scratch.write(&format!("in/{number:03}.jsonl"), part.concat());
        }
        scratch.write("r.yaml", recipe);
        let args = ["run", "r.yaml", "--threads", threads, "--batch-rows", batch];
        scratch.djr(&args).expect(1);
        let names = scratch
            .files("")
            .into_iter()
            .filter(|name| !name.contains('/') && name != "r.yaml");
        let found: Vec<_> = names
            .map(|name| (name.clone(), scratch.read(&name)))
            .collect();
        assert!(found.len() > 12, "{}", found.len());
        scratch.djr(&["verify", "clean.jsonl"]).expect(0);
        match &reference {
            None => reference = Some(found),
            Some(reference) => assert!(*reference == found, "{files} files, {threads} threads"),
        }
    }
}

#[test]
fn dropped_rows_are_data_again_wherever_they_are_written() {
    let scratch = Scratch::new();
    pictured(&scratch);
    let recipe = "dataset_path: [one.jsonl, two.jsonl]\nprocess: [text_length_filter: {min_len: 20}]\noutputs:\n  - {path: kept.jsonl}\n  - {path: deep/er/gone.jsonl, of: dropped}\n";
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml", "--max-quarantine", "none"]);
    let gone = scratch.rows("deep/er/gone.jsonl");
    let with_images = gone
        .iter()
        .filter(|row| row["images"][0].is_string())
        .count();
    assert!(with_images > 0, "{gone:?}");
    scratch.write(
        "again.yaml",
        "process: [image_shape_filter: {min_width: 1}]\nexport_path: again.jsonl\n",
    );
    scratch
        .djr(&["run", "again.yaml", "--input", "deep/er/gone.jsonl"])
        .expect(0);
    assert_eq!(scratch.rows("again.jsonl").len(), gone.len());
}

#[test]
fn a_sample_is_drawn_of_rows_that_it_asks_for() {
    let scratch = Scratch::new();
    let lines = (0..90).map(|n| {
        format!(
            "{}\n",
            json!({"id": n, "text": "a row of some length", "n": n % 10})
        )
    });
    scratch.write("in.jsonl", lines.collect::<String>());
    let run = |outputs: &str| {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {{min_len: 1}}\noutputs:\n{outputs}"),
        );
        let ran = scratch.djr(&["run", "r.yaml"]);
        let output = scratch.json("x.jsonl.djr/manifest.json");
        (ran, output["outputs"].clone())
    };
    let numbers = |output: &Value| {
        ["candidates", "written", "not_drawn", "unmatched"]
            .map(|it| output[it].as_u64().unwrap_or(0))
    };
    let by = |who: &str| {
        let ledger = scratch.ledger("x.jsonl.djr");
        ledger.iter().filter(|entry| entry["by"] == who).count()
    };
    let (ran, outputs) = run("  - {path: x.jsonl, sample: 12, where: n >= 8}\n");
    ran.expect(0);
    assert_eq!(numbers(&outputs[0]), [90, 12, 6, 72]);
    assert_eq!((by("sample"), by("where")), (6, 72));
    let rows = scratch.rows("x.jsonl");
    assert!(rows.len() == 12 && rows.iter().all(|row| row["n"].as_u64() >= Some(8)));

    let (ran, outputs) = run("  - {path: x.jsonl, sample: 30, where: n >= 8}\n");
    assert!(
        ran.expect(1)
            .stderr
            .contains("of 90 rows only 18 meet its condition")
    );
    assert_eq!(numbers(&outputs[0]), [90, 18, 0, 72]);
    assert_eq!((by("sample"), by("where")), (0, 72));

    // Of two samples the one that asks for everything might have drawn a row.
    let (ran, outputs) = run(
        "  - {path: x.jsonl, sample: 5, where: n == 3}\n  - {path: y.jsonl, sample: 20}\n  - {path: z.jsonl, where: n == 4}\n",
    );
    ran.expect(0);
    assert_eq!(numbers(&outputs[0]), [90, 5, 4, 81]);
    assert_eq!(numbers(&outputs[1]), [90, 20, 70, 0]);
    assert_eq!(by("where"), 0);
    let one = ["x.jsonl", "y.jsonl", "x.jsonl.djr/ledger.jsonl.zst"].map(|name| scratch.read(name));
    scratch
        .djr(&["run", "r.yaml", "--tasks", "W", "--task-bytes", "500"])
        .expect(0);
    for (name, before) in ["x.jsonl", "y.jsonl", "x.jsonl.djr/ledger.jsonl.zst"]
        .iter()
        .zip(one)
    {
        assert!(scratch.read(name) == before, "{name}");
    }
}

#[test]
fn every_sample_knows_the_rows_that_it_asks_for_however_many_there_are() {
    let scratch = Scratch::new();
    let lines = (0..300).map(|n| format!("{}\n", json!({"text": "a row", "n": n % 75})));
    scratch.write("in.jsonl", lines.collect::<String>());
    let sample = |n: usize| format!("  - {{path: o/{n}.jsonl, sample: 3, where: n == {n}}}\n");
    let outputs: String = (0..70).map(sample).collect();
    scratch.write(
        "r.yaml",
        format!("dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {{min_len: 1}}\noutputs:\n{outputs}"),
    );
    let left = |args: &[&str]| {
        scratch.djr(args).expect(0);
        let manifest = scratch.json("o/0.jsonl.djr/manifest.json");
        let outputs = manifest["outputs"].as_array().unwrap().clone();
        assert_eq!(outputs.len(), 70);
        for (n, output) in outputs.iter().enumerate() {
            let counts = ["candidates", "written", "not_drawn", "unmatched"];
            let counts = counts.map(|it| output[it].as_u64().unwrap_or(0));
            assert_eq!(counts, [300, 3, 1, 296], "{n}");
        }
        // The values 70 to 74 are those that no output asks for; the others might have been drawn.
        let ledger = scratch.ledger("o/0.jsonl.djr");
        let by = |who: &str| ledger.iter().filter(|entry| entry["by"] == who).count();
        assert_eq!((by("where"), by("sample")), (20, 70));
        (0..70)
            .map(|n| scratch.read(&format!("o/{n}.jsonl")))
            .chain([scratch.read("o/0.jsonl.djr/ledger.jsonl.zst")])
            .collect::<Vec<_>>()
    };
    let one = left(&["run", "r.yaml"]);
    assert!(one == left(&["run", "r.yaml", "--tasks", "W", "--task-bytes", "900"]));
    // Killed while rows come, and while samples are drawn.
    let clear = || {
        let _ = fs::remove_dir_all(scratch.path("o"));
    };
    let kills = [("rename", "4"), ("rename", "30")];
    crate::resume::kills_change_nothing(&scratch, &kills, &one, clear, left);
}

#[test]
fn a_sample_of_rows_that_ended_counts_all_that_it_does_not_ask_for() {
    let scratch = Scratch::new();
    let row = |n: u64| json!({"id": n, "text": "x".repeat(1 + usize::from(n.is_multiple_of(9))), "n": n % 10, "images": [format!("{n}.png")]});
    let lines = (0..90).map(|n| format!("{}\n", row(n)));
    scratch.write("in.jsonl", lines.collect::<String>());
    let run = |output: &str, more: &[&str], code: i32| {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {{min_len: 2}}\noutputs:\n  - {{path: x.jsonl}}\n  - {{path: y.jsonl, {output}}}\n"),
        );
        let ran = scratch
            .djr(&[&["run", "r.yaml"], more].concat())
            .expect(code);
        let output = scratch.json("x.jsonl.djr/manifest.json")["outputs"][1].clone();
        let names = ["candidates", "written", "refused", "not_drawn", "unmatched"];
        (names.map(|it| output[it].as_u64().unwrap_or(0)), ran.stderr)
    };
    // Of 80 rows that are dropped 8 have each number but 0, which 8 have as well.
    assert_eq!(
        run("of: dropped, sample: 5, where: n >= 8", &[], 0).0,
        [80, 5, 0, 11, 64]
    );
    let rows = scratch.read("y.jsonl");
    let (counts, told) = run("of: dropped, sample: 30, where: n >= 8", &[], 1);
    assert_eq!(counts, [80, 16, 0, 0, 64]);
    assert!(
        told.contains("of 80 rows only 16 meet its condition"),
        "{told}"
    );
    // What it is asked and cannot write is refused, and told as such.
    let refusing = "of: dropped, sample: 30, where: n >= 8, validate: header";
    let (counts, told) = run(refusing, &["--max-quarantine", "none"], 1);
    assert_eq!(counts, [80, 0, 16, 0, 64]);
    let why = "of 80 rows only 16 meet its condition, and 16 rows were refused";
    assert!(told.contains(why), "{told}");
    // A condition that cannot be held against a row refuses it where it is drawn.
    let (counts, _) = run("of: dropped, sample: 90, where: n > 'a'", &[], 1);
    assert_eq!(counts, [80, 0, 80, 0, 0]);
    // The same rows after a kill at any time.
    let recipe = "of: dropped, sample: 5, where: n >= 8";
    let fixed = ["--batch-rows", "16", "--checkpoint-every", "0"];
    run(recipe, &fixed, 0);
    for rename in ["3", "6", "8", "9"] {
        for name in ["x.jsonl", "y.jsonl"] {
            fs::remove_file(scratch.path(name)).unwrap();
        }
        fs::remove_dir_all(scratch.path("x.jsonl.djr")).unwrap();
        let args = [&["run", "r.yaml"][..], &fixed].concat();
        assert!(
            crate::resume::killed_at(&scratch, &args, ("rename", rename)),
            "{rename}"
        );
        let resumed = [&fixed[..], &["--resume"]].concat();
        assert_eq!(run(recipe, &resumed, 0).0, [80, 5, 0, 11, 64], "{rename}");
        assert!(scratch.read("y.jsonl") == rows, "{rename}");
    }
}

#[test]
fn no_value_takes_the_name_of_another_file() {
    let scratch = Scratch::new();
    let row = |lang: &str| {
        format!(
            "{}\n",
            json!({"text": "a row of some length", "lang": lang})
        )
    };
    let run = |langs: &[&str], outputs: &str| {
        scratch.write(
            "in.jsonl",
            langs.iter().map(|lang| row(lang)).collect::<String>(),
        );
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {{min_len: 1}}\noutputs:\n{outputs}"),
        );
        scratch.djr(&["run", "r.yaml"])
    };
    let outputs = "  - {path: x.jsonl}\n  - {path: 'x_{value}.jsonl', split_by: lang}\n";
    run(&["en", "state"], outputs).expect(0);
    let refused = run(&["en", "stats"], outputs).expect(3);
    let told = "x_stats.jsonl, which is another file of this run";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    // Of files that are cut each has a number behind the value.
    let cut = outputs.replace("lang}", "lang, shard_rows: 1}");
    run(&["stats", "en", "stats"], &cut).expect(0);
    for name in ["x_stats-00-of-02.jsonl", "x_stats-01-of-02.jsonl"] {
        assert_eq!(scratch.rows(name)[0]["lang"], "stats", "{name}");
    }
    assert!(scratch.path("x_stats.jsonl").exists());
    scratch.djr(&["verify", "x.jsonl"]).expect(0);
    // Whatever the values are, each has a file of its own below the directory of the output.
    let long = "v".repeat(300);
    let longer = format!("{long}w");
    let langs = [
        "..", "../up", "/abs", "", "a/b", "A", "a", "%none", &long, &longer, ".hidden", "CON",
        "a:b",
    ];
    run(&langs, "  - {path: 'by/{value}.jsonl', split_by: lang}\n").expect(0);
    let files: Vec<String> = scratch
        .files("by")
        .into_iter()
        .filter(|name| !name.contains(".djr"))
        .collect();
    assert_eq!(files.len(), langs.len(), "{files:?}");
    assert!(files.iter().all(|name| !name.starts_with('.')));
    let all: usize = files
        .iter()
        .map(|name| scratch.rows(&format!("by/{name}")).len())
        .sum();
    assert_eq!(all, langs.len());
}

#[test]
fn outputs_of_one_name_stay_apart_when_they_are_cut_anew() {
    let scratch = Scratch::new();
    let row = |n: usize| json!({"id": n, "text": "x".repeat(n)}).to_string();
    std::fs::create_dir_all(scratch.path("in/a")).unwrap();
    std::fs::create_dir_all(scratch.path("in/b")).unwrap();
    scratch.write("in/a/c.jsonl", [row(3), row(30)].join("\n"));
    scratch.write("in/b/c.jsonl", [row(4), row(40)].join("\n"));
    scratch.write(
        "r.yaml",
        "dataset_path: in
process:
  - text_length_filter: {min_len: 1}
outputs:
  - {path: out/x/rows.jsonl}
  - {path: out/y/rows.jsonl, where: id > 3}
  - {path: 'out/each/{value}.jsonl', per_input: true}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let of = |name: &str| ids(&scratch.rows(name));
    // What is called alike is told apart by its directories.
    assert_eq!(of("out/each/a-c.jsonl"), [3, 30]);
    assert_eq!(of("out/each/b-c.jsonl"), [4, 40]);
    let cut = ["recut", "out/x/rows.jsonl", "-o", "cut/"];
    let bound = ["--set", "text_length_filter.min_len=20"];
    scratch.djr(&[&cut[..], &bound].concat()).expect(0);
    assert_eq!(of("cut/x/rows.jsonl"), [30, 40]);
    assert_eq!(of("cut/y/rows.jsonl"), [30, 40]);
    assert_eq!(of("cut/each/b-c.jsonl"), [40]);

    // So are names that a value could make.
    scratch.write(
        "r.yaml",
        "dataset_path: in
process:
  - text_length_filter: {min_len: 1}
outputs:
  - {path: own/rows.jsonl}
  - {path: 'own/by/{value}.jsonl', split_by: id}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let cut = ["recut", "own/rows.jsonl", "-o", "cut-2/"];
    scratch.djr(&[&cut[..], &bound].concat()).expect(0);
    assert_eq!(of("cut-2/rows.jsonl"), [30, 40]);
    assert_eq!(of("cut-2/by/40.jsonl"), [40]);
}

#[test]
fn lists_go_where_a_column_has_room_for_them() {
    let scratch = Scratch::new();
    let row = |n: u64| json!({"id": n, "tags": [n], "name": "5", "text": "the same text"});
    scratch.write("in.jsonl", [1, 2].map(|n| row(n).to_string()).join("\n"));
    scratch
        .djr(&["convert", "in.jsonl", "--to", "parquet", "-o", "in.parquet"])
        .expect(0);
    let run = |command: &str, field: &str, how: &str| {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.parquet\nexport_path: {field}.parquet\nprocess:\n  - document_deduplicator: {{merge: {{{field}: {how}}}}}\n"),
        );
        scratch.djr(&[command, "r.yaml"])
    };
    for (field, how) in [("tags", "list"), ("id", "sum")] {
        run("check", field, how).expect(0);
        run("run", field, how).expect(0);
    }
    let back = [
        "convert",
        "tags.parquet",
        "--to",
        "jsonl",
        "-o",
        "tags.jsonl",
    ];
    scratch.djr(&back).expect(0);
    assert_eq!(scratch.rows("tags.jsonl")[0]["tags"], json!([1, 2]));
    for (field, how, told) in [
        ("id", "list", "makes lists of a column of the type Int64"),
        ("name", "sum", "makes sums of a column of the type Utf8"),
        ("tags", "sum", "makes sums of a column of the type List"),
    ] {
        fs::remove_file(scratch.path(&format!("{field}.parquet"))).unwrap_or_default();
        // Before anything is run, and before a row is read.
        for command in ["check", "run"] {
            let refused = run(command, field, how).expect(2);
            assert!(
                refused.stderr.contains(told),
                "{command}: {}",
                refused.stderr
            );
        }
        assert!(!scratch.path(&format!("{field}.parquet")).exists());
    }
}
