//! Analyses, the recipes they suggest, and recuts, held to what a fresh run gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use djr::note::Code;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

use crate::support::{Scratch, expect_no_note, expect_note, root};

/// Filters that bound numbers, each with a bound of either end; all measure and drop nothing.
const NUMERIC: [(&str, &str, &str, &str); 17] = [
    ("text_length_filter", "min_len: null", "min_len", "max_len"),
    ("words_num_filter", "min_num: null", "min_num", "max_num"),
    (
        "average_line_length_filter",
        "min_len: null",
        "min_len",
        "max_len",
    ),
    (
        "maximum_line_length_filter",
        "min_len: null",
        "min_len",
        "max_len",
    ),
    (
        "alphanumeric_filter",
        "min_ratio: null",
        "min_ratio",
        "max_ratio",
    ),
    (
        "special_characters_filter",
        "min_ratio: null, max_ratio: null",
        "min_ratio",
        "max_ratio",
    ),
    (
        "character_repetition_filter",
        "rep_len: 4, min_ratio: null, max_ratio: null",
        "min_ratio",
        "max_ratio",
    ),
    (
        "word_repetition_filter",
        "rep_len: 1, min_ratio: null, max_ratio: null",
        "min_ratio",
        "max_ratio",
    ),
    (
        "flagged_words_filter",
        "flagged_words_dir: fixtures/assets, max_ratio: null",
        "min_ratio",
        "max_ratio",
    ),
    (
        "stopwords_filter",
        "stopwords_dir: fixtures/assets, min_ratio: null",
        "min_ratio",
        "max_ratio",
    ),
    (
        "token_num_filter",
        "hf_tokenizer: fixtures/models/bytes, min_num: null",
        "min_num",
        "max_num",
    ),
    (
        "language_id_score_filter",
        "min_score: null",
        "min_score",
        "min_score",
    ),
    ("perplexity_filter", "max_ppl: null", "min_ppl", "max_ppl"),
    (
        "specified_numeric_field_filter",
        "field_key: n",
        "min_value",
        "max_value",
    ),
    (
        "image_shape_filter",
        "min_width: null, min_height: null",
        "min_width",
        "max_height",
    ),
    (
        "image_aspect_ratio_filter",
        "min_ratio: null, max_ratio: null, any_or_all: all",
        "min_ratio",
        "max_ratio",
    ),
    (
        "image_size_filter",
        "min_size: '0', max_size: 1YB",
        "min_size",
        "max_size",
    ),
];

/// A recipe of all of them, over rows of the fixtures that also have a number `n`.
fn every_filter(scratch: &Scratch) {
    let rows = std::fs::read(root().join("fixtures/dataset/rows.jsonl")).unwrap();
    let mut numbered = Vec::new();
    for (number, row) in rows.split(|b| *b == b'\n').enumerate().skip(60) {
        match row.strip_prefix(b"{") {
            Some(rest) if row.len() < 10_000 => {
                numbered.extend(format!("{{\"n\": {}, ", (number * 37) % 101).into_bytes());
                numbered.extend_from_slice(rest);
            }
            _ => {}
        }
        numbered.push(b'\n');
    }
    scratch.write("rows.jsonl", numbered);
    let mut steps = String::new();
    for (name, params, ..) in NUMERIC {
        writeln!(steps, "  - {name}: {{{params}}}").unwrap();
    }
    scratch.write(
        "all.yaml",
        format!(
            "dataset_path: rows.jsonl\nexport_path: fresh.jsonl\nimage_root: fixtures/dataset\n\
             keep_stats_in_res_ds: true\nprocess:\n  - whitespace_normalization_mapper:\n{steps}"
        ),
    );
}

/// Runs djr with the small models of the repository.
#[track_caller]
fn djr(scratch: &Scratch, args: &[&str], expected: i32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(args)
        .env("DATA_JUICER_CACHE_HOME", root().join("fixtures/cache"))
        .current_dir(scratch.path(""))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(expected), "{args:?}\n{stderr}");
    stderr
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn count(value: &Value, pointer: &str) -> u64 {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{pointer}: {:?}", value.pointer(pointer)))
}

fn counts(value: &Value) -> BTreeMap<String, u64> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn an_analysis_of_the_fixtures_finds_what_was_planted() {
    let scratch = Scratch::new();
    let ran = scratch
        .djr(&["analyze", "fixtures/dataset/rows.jsonl", "-o", "look"])
        .expect(1);
    assert!(ran.stderr.contains("unreadable 7"), "{}", ran.stderr);
    let ledger = std::fs::read(root().join("fixtures/dataset/LEDGER.json")).unwrap();
    let ledger: Value = serde_json::from_slice(&ledger).unwrap();
    let (mut unreadable, mut broken) = (BTreeMap::new(), BTreeMap::new());
    for plant in ledger["planted"].as_array().unwrap() {
        let Some(code) = plant["demo"]["quarantine"].as_str() else {
            continue;
        };
        let counts = match code {
            "json_invalid" | "json_not_object" | "utf8_invalid" => &mut unreadable,
            code if code.starts_with("image_") => &mut broken,
            _ => continue,
        };
        *counts.entry(code.to_owned()).or_insert(0_u64) += 1;
    }
    let found = scratch.json("look/analysis.json");
    assert_eq!(found["kind"], "analysis");
    assert_eq!(counts(&found["unreadable"]), unreadable);
    assert_eq!(count(&found, "/rows/in"), 213);
    assert_eq!(count(&found, "/rows/measured"), 206);
    assert_eq!(
        broken.remove("image_missing"),
        Some(count(&found, "/images/missing"))
    );
    assert_eq!(counts(&found["images"]["broken"]), broken);
    // The wrong types of `images` are in two rows, the wrong texts and missing ones in five.
    assert_eq!(counts(&found["images"]["bad_fields"])["wrong_type"], 2);
    assert_eq!(count(&found, "/stats/text_len/rows"), 201);
    assert_eq!(count(&found, "/stats/text_len/missing"), 12);
    assert_eq!(count(&found, "/text/rows"), 201);
    assert_eq!(count(&found, "/text/missing"), 5);
    assert_eq!(count(&found, "/text/empty"), 2);
    let lines = |kind: &str| -> Vec<Vec<u64>> {
        let groups = found["duplicates"][kind]["largest"].as_array().unwrap();
        let rows = |group: &Value| -> Vec<u64> {
            let origins = group["origins"].as_array().unwrap();
            origins
                .iter()
                .map(|o| o["line"].as_u64().unwrap())
                .collect()
        };
        groups.iter().map(rows).collect()
    };
    // 91 repeats the caption of 1; 197 is byte for byte the image of 25; 97 and 102 name the
    // files of earlier rows; 88 has two images.
    assert_eq!(lines("text"), [[1, 91]]);
    assert_eq!(lines("image"), [[25, 197], [29, 102], [41, 97]]);
    assert_eq!(lines("captions_per_image"), [[29, 102], [41, 97]]);
    assert_eq!(lines("images_per_caption"), [vec![1, 91], vec![88]]);
    // One row of stats a row, and nothing but these files.
    assert_eq!(scratch.rows("look/stats.jsonl").len(), 213);
    assert_eq!(
        scratch.files("look"),
        ["analysis.json", "stats.jsonl", "stats.parquet"]
    );
}

#[test]
#[expect(clippy::float_cmp, reason = "equal to the last digit, as numpy's")]
fn numbers_are_those_of_numpy() {
    let scratch = Scratch::new();
    let lengths = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];
    let mut rows = String::new();
    for length in lengths {
        writeln!(rows, "{{\"text\": \"{}\"}}", "é".repeat(length)).unwrap();
    }
    scratch.write("rows.jsonl", rows);
    scratch.write(
        "r.yaml",
        "process: [text_length_filter: {min_len: 3, max_len: 8}]\n",
    );
    let args = ["analyze", "rows.jsonl", "--recipe", "r.yaml", "-o", "look"];
    scratch.djr(&args).expect(0);
    let stat = &scratch.json("look/analysis.json")["stats"]["text_len"];
    // numpy.percentile(lengths, [0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9]), mean and std
    let expected = json!({
        "0.1": 1.0, "1": 1.0, "5": 1.0, "10": 1.1, "25": 2.75, "50": 4.5, "75": 5.25,
        "90": 7.800_000_000_000_001, "95": 8.45, "99": 8.89, "99.9": 8.989,
    });
    assert_eq!(stat["percentiles"], expected);
    assert_eq!(stat["mean"].as_f64().unwrap(), 4.333_333_333_333_333);
    assert_eq!(stat["std"].as_f64().unwrap(), 2.426_703_296_426_839_4);
    assert_eq!(stat["bounds"], json!({"min": 3.0, "max": 8.0}));
    // 1, 1, 2 and 9 lie outside.
    assert_eq!(count(stat, "/would_drop"), 4);
    let bars: u64 = stat["histogram"]["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bar| bar.as_u64().unwrap())
        .sum();
    assert_eq!(bars, 12);
}

/// A value of a Parquet file as JSON.
pub fn value_of(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Long(number) => json!(number),
        Field::Double(number) => json!(number),
        Field::Str(text) => json!(text),
        Field::ListInternal(list) => list.elements().iter().map(value_of).collect(),
        Field::Group(row) => row
            .get_column_iter()
            .map(|(name, field)| (name.clone(), value_of(field)))
            .collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn parquet_holds_what_the_lines_hold() {
    let scratch = Scratch::new();
    let args = ["analyze", "fixtures/dataset/rows.jsonl", "-o", "look", "-q"];
    scratch.djr(&args).expect(1);
    let file = std::fs::File::open(scratch.path("look/stats.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let lines = scratch.rows("look/stats.jsonl");
    let mut rows = 0;
    for (row, line) in reader.get_row_iter(None).unwrap().zip(&lines) {
        rows += 1;
        for (name, field) in row.unwrap().get_column_iter() {
            if let Field::Group(stats) = field {
                assert_eq!(name, "stats");
                for (name, field) in stats.get_column_iter() {
                    let expected = &line["stats"][name.as_str()];
                    assert_eq!(value_of(field), *expected, "{name} of {line}");
                }
                continue;
            }
            let expected = match &line[name.as_str()] {
                // The column is of texts; an id that is a number becomes one.
                Value::Number(number) if name == "id" => json!(number.to_string()),
                other => other.clone(),
            };
            assert_eq!(value_of(field), expected, "{name} of {line}");
        }
    }
    assert_eq!(rows, lines.len());
}

#[test]
fn threads_and_batches_do_not_show() {
    let scratch = Scratch::new();
    let demo = ["analyze", "--recipe", "fixtures/demo.yaml", "-q", "-o"];
    scratch
        .djr(&[&demo[..], &["a", "--threads", "1", "--batch-rows", "7"]].concat())
        .expect(1);
    scratch
        .djr(&[&demo[..], &["b", "--threads", "3"]].concat())
        .expect(1);
    for name in ["stats.jsonl", "stats.parquet"] {
        let (a, b) = (format!("a/{name}"), format!("b/{name}"));
        assert!(scratch.read(&a) == scratch.read(&b), "{name} differs");
    }
    let found = |name: &str| {
        let mut analysis = scratch.json(&format!("{name}/analysis.json"));
        let analysis = analysis.as_object_mut().unwrap();
        // When, and by which command line, is all that may differ.
        for key in ["command", "started", "ended"] {
            let value = analysis.remove(key).unwrap();
            assert!(value.to_string().len() > 2, "{key} is empty");
        }
        serde_json::to_string(&analysis).unwrap()
    };
    assert_eq!(found("a"), found("b"));
    // Every filter drops in sequence what the run drops by it.
    scratch.djr(&["run", "fixtures/demo.yaml", "-q"]).expect(1);
    let manifest = scratch.json("out/demo/clean.jsonl.djr/manifest.json");
    for filter in scratch.json("a/analysis.json")["filters"]
        .as_array()
        .unwrap()
    {
        // Steps are counted from 1.
        let step = filter["step"].as_u64().unwrap() - 1;
        assert_eq!(
            count(filter, "/would_drop_in_sequence"),
            count(&manifest, &format!("/steps/{step}/dropped")),
            "{filter}"
        );
    }
}

#[test]
fn rows_from_a_pipe_and_images_not_looked_at() {
    let scratch = Scratch::new();
    let rows = b"{\"text\": \"a b\", \"images\": [\"none.jpg\"]}\n";
    scratch.write("r.yaml", "process: [text_length_filter: ]\n");
    let args = [
        "analyze",
        "-",
        "-r",
        "r.yaml",
        "--validate",
        "none",
        "-o",
        "look",
    ];
    scratch.djr_with(&args, rows).expect(0);
    let found = scratch.json("look/analysis.json");
    assert_eq!(found["images"]["missing"], 0);
    assert_eq!(found["images"]["references"], 1);
    assert!(found["duplicates"]["image"]["note"].is_string());
    let line = &scratch.rows("look/stats.jsonl")[0];
    assert_eq!(line["stats"]["text_len"], 3);
    assert!(line.get("images_decode").is_none());
    let ran = scratch
        .djr(&[
            "recut",
            "look",
            "--set",
            "text_length_filter.min_len=1",
            "-o",
            "o.jsonl",
        ])
        .expect(2);
    assert!(ran.stderr.contains("standard input"), "{}", ran.stderr);
    let ran = scratch.djr(&["analyze", "-o", "look"]).expect(2);
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
}

#[test]
fn suggested_recipes_are_sound_and_drop_what_they_say() {
    let scratch = Scratch::new();
    let rows = "fixtures/dataset/rows.jsonl";
    for rule in ["percentiles", "sigma"] {
        let name = format!("{rule}.yaml");
        let args = [
            "analyze",
            rows,
            "-o",
            "look",
            "-q",
            "--suggest",
            &name,
            "--bounds",
            rule,
        ];
        scratch.djr(&args).expect(1);
        scratch.djr(&["check", &name]).expect(0);
        scratch.djr(&["run", &name, "-q"]).expect(1);
        let text = String::from_utf8(scratch.read(&name)).unwrap();
        let manifest = scratch.json(&format!("{rule}_clean.jsonl.djr/manifest.json"));
        let left = text
            .split("leave ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        assert_eq!(left, manifest["rows"]["out"].to_string());
        let told: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("# Drops "))
            .map(|line| line.split(' ').nth(4).unwrap())
            .collect();
        let steps = manifest["steps"].as_array().unwrap();
        let dropped: Vec<String> = steps.iter().map(|s| s["dropped"].to_string()).collect();
        assert_eq!(told, dropped, "{text}");
        assert!(dropped.iter().any(|rows| rows != "0"));
    }
    // A file that is there is not overwritten: it may be the recipe that was meant to be read.
    let args = ["analyze", rows, "-o", "look", "--suggest", "sigma.yaml"];
    let ran = scratch.djr(&args).expect(2);
    assert!(ran.stderr.contains("--recipe"), "{}", ran.stderr);
    // Unless that is asked for; a link is followed.
    std::os::unix::fs::symlink("sigma.yaml", scratch.path("link.yaml")).unwrap();
    scratch.write("sigma.yaml", "old");
    let args = ["analyze", rows, "-o", "look", "--suggest", "link.yaml"];
    scratch.djr(&args).expect(2);
    assert_eq!(scratch.read("sigma.yaml"), b"old");
    scratch.djr(&[&args[..], &["--force"]].concat()).expect(1);
    assert!(scratch.path("link.yaml").is_symlink());
    scratch.djr(&["check", "sigma.yaml"]).expect(0);
}

#[test]
fn suggested_recipes_hold_no_keys_that_data_juicer_refuses() {
    let scratch = Scratch::new();
    scratch.write(
        "look.yaml",
        "dataset_path: fixtures/dataset/rows.jsonl\nmax_quarantine: none\nimage_root: 'my pictures'\n\
         trace_num: 3\nopen_tracer: true\nmodel_dtype: fp16\ninput: {csv: {types: infer}}\n\
         outputs: [{format: jsonl, path: o.jsonl, sample: 3}]\nprocess: [text_length_filter: {}]\n",
    );
    std::fs::create_dir(scratch.path("my pictures")).unwrap();
    let args = [
        "analyze",
        "--recipe",
        "look.yaml",
        "-o",
        "look",
        "-q",
        "--suggest",
        "s.yaml",
    ];
    scratch.djr(&args).expect(1);
    let text = String::from_utf8(scratch.read("s.yaml")).unwrap();
    let keys: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split(':').next())
        .collect();
    let peers = [
        "trace_num",
        "open_tracer",
        "dataset_path",
        "export_path",
        "process",
    ];
    for key in &keys {
        assert!(peers.contains(key), "{key} in\n{text}");
    }
    assert_eq!(keys.len(), peers.len(), "{text}");
    // What was left out stands in a comment, as a shell takes it.
    let (_, options) = text.split_once("djr run takes ").unwrap();
    let options = options.lines().next().unwrap();
    assert!(options.contains("--set model_dtype=fp16"), "{options}");
    let command = format!("{} run s.yaml {options}", env!("CARGO_BIN_EXE_djr"));
    let ran = std::process::Command::new("sh")
        .args(["-c", &command])
        .current_dir(scratch.path(""))
        .status()
        .unwrap();
    assert_eq!(ran.code(), Some(1), "{command}");
    let plan = scratch.json("s_clean.jsonl.djr/manifest.json")["plan"].to_string();
    for part in ["my pictures", "\"infer_types\":true", "fp16"] {
        assert!(plan.contains(part), "no {part} in {plan}");
    }
}

#[test]
fn recut_gives_what_a_fresh_run_gives() {
    let scratch = Scratch::new();
    every_filter(&scratch);
    djr(
        &scratch,
        &["analyze", "--recipe", "all.yaml", "-o", "look", "-q"],
        1,
    );
    let found = scratch.json("look/analysis.json");
    let mut random = Numbers(20);
    for (name, _, low, high) in NUMERIC {
        for param in [low, high] {
            let stats = found["stats"].as_object().unwrap();
            let mut of = stats.values().filter(|stat| stat["op"] == name);
            let stat = of.rfind(|stat| stat["percentiles"].is_object()).unwrap();
            let rank = ["10", "25", "50", "75", "90"][usize::try_from(random.next() % 5).unwrap()];
            let value = stat["percentiles"][rank].as_f64().unwrap();
            let fitted = match name {
                "image_size_filter" => format!("'{value:.0}'"),
                _ if param.ends_with("_ratio") || param.ends_with("score") => format!("{value:?}"),
                _ => format!("{value:.0}"),
            };
            let set = format!("{name}.{param}={fitted}");
            djr(
                &scratch,
                &[
                    "recut",
                    "look",
                    "--set",
                    &set,
                    "-o",
                    "recut.jsonl",
                    "-q",
                    "--force",
                ],
                1,
            );
            djr(&scratch, &["run", "all.yaml", "--set", &set, "-q"], 1);
            assert!(
                scratch.read("recut.jsonl") == scratch.read("fresh.jsonl"),
                "{set}"
            );
            assert!(
                scratch.read("recut_stats.jsonl") == scratch.read("fresh_stats.jsonl"),
                "{set}"
            );
            assert_eq!(
                scratch.ledger("recut.jsonl.djr"),
                scratch.ledger("fresh.jsonl.djr"),
                "{set}"
            );
        }
    }
}

/// Rows with sound images only, and a recipe whose outputs check them.
fn strict(scratch: &Scratch) {
    let rows = std::fs::read(root().join("fixtures/dataset/rows.jsonl")).unwrap();
    let rows = String::from_utf8_lossy(&rows);
    let sound: Vec<&str> = rows.lines().take(60).collect();
    scratch.write("rows.jsonl", sound.join("\n"));
    scratch.write(
        "strict.yaml",
        "dataset_path: rows.jsonl\nimage_root: fixtures/dataset\n\
         eoc_special_token: <|__dj__eoc|>\nprocess:\n\
         - text_length_filter: {min_len: 70}\n- image_shape_filter: {min_width: 250}\n\
         - document_deduplicator: \n- words_num_filter: {min_num: 3}\n\
         outputs:\n- {format: jsonl, path: out/all.jsonl}\n- {format: llava, path: out/all.json, questions: fixtures/dataset/stage_1.json}\n\
         - {format: jsonl, path: out/some.jsonl, sample: 10, seed: 3, sampler: python}\n",
    );
}

const OUTPUTS: [&str; 3] = ["all.jsonl", "all.json", "some.jsonl"];

#[test]
fn recut_of_all_outputs_opens_no_image() {
    let scratch = Scratch::new();
    strict(&scratch);
    scratch
        .djr(&["analyze", "--recipe", "strict.yaml", "-o", "look", "-q"])
        .expect(0);
    let looser = "text_length_filter.min_len=50";
    let args = ["recut", "look", "--set", looser, "-o", "new/", "-q"];
    scratch.djr(&args).expect(0);
    scratch
        .djr(&["run", "strict.yaml", "--set", looser, "-q"])
        .expect(0);
    for name in OUTPUTS {
        let (new, fresh) = (format!("new/{name}"), format!("out/{name}"));
        assert!(scratch.read(&new) == scratch.read(&fresh), "{name}");
    }
    let opened = |dir: &str| {
        count(
            &scratch.json(&format!("{dir}/all.jsonl.djr/manifest.json")),
            "/images/opened",
        )
    };
    assert_eq!(opened("new"), 0);
    assert!(opened("out") > 0);
}

#[test]
fn a_run_can_be_recut_as_far_as_its_stats_go() {
    let scratch = Scratch::new();
    strict(&scratch);
    scratch.djr(&["run", "strict.yaml", "-q"]).expect(0);
    std::fs::rename(scratch.path("out"), scratch.path("first")).unwrap();
    let tighter = [
        "--set",
        "text_length_filter.min_len=80",
        "--set",
        "image_shape_filter.min_width=300",
    ];
    let recut = |sets: &[&str], code| {
        scratch
            .djr(
                &[
                    &[
                        "recut",
                        "first/all.jsonl.djr",
                        "-o",
                        "new/",
                        "-q",
                        "--force",
                    ],
                    sets,
                ]
                .concat(),
            )
            .expect(code)
    };
    recut(&tighter, 0);
    scratch
        .djr(&[&["run", "strict.yaml", "-q"], &tighter[..]].concat())
        .expect(0);
    for name in OUTPUTS {
        let (new, fresh) = (format!("new/{name}"), format!("out/{name}"));
        assert!(scratch.read(&new) == scratch.read(&fresh), "{name}");
    }
    // Rows that were too short then never had their images looked at.
    let ran = recut(&["--set", "text_length_filter.min_len=50"], 2);
    assert!(
        ran.stderr.contains("image_shape_filter") && ran.stderr.contains("line "),
        "{}",
        ran.stderr
    );
    // What can be measured from the text alone is.
    let looser = [
        "--set",
        "text_length_filter.min_len=80",
        "--set",
        "words_num_filter.min_num=1",
    ];
    recut(&looser, 0);
}

#[test]
fn a_target_is_met_by_the_tightest_bound() {
    let scratch = Scratch::new();
    scratch
        .djr(&["analyze", "fixtures/dataset/rows.jsonl", "-o", "look", "-q"])
        .expect(1);
    for (by, exact) in [
        ("text_length_filter.max_len", false),
        ("words_num_filter.min_num", false),
        ("alphanumeric_filter.min_ratio", false),
        ("image_size_filter.min_size", true),
    ] {
        let args = [
            "recut",
            "look",
            "--target",
            "100",
            "--by",
            by,
            "-o",
            "out.jsonl",
            "--force",
        ];
        let ran = scratch.djr(&args).expect(1);
        let rows = scratch.rows("out.jsonl").len() as u64;
        assert!(rows >= 100 && (!exact || rows == 100), "{by}: {rows}");
        assert!(
            ran.stderr.contains(&format!("leaves {rows} rows")),
            "{}",
            ran.stderr
        );
        // One more would leave fewer than asked for.
        let value = ran.stderr.split(&format!("{by}=")).nth(1).unwrap();
        let value = value.split(' ').next().unwrap().trim_matches('"');
        let number: f64 = value.parse().unwrap();
        let step = if by.ends_with("ratio") { 1e-9 } else { 1.0 };
        let tighter = if by.contains(".max") {
            number - step
        } else {
            number + step
        };
        let set = if by.contains("size") {
            format!("{by}='{tighter}'")
        } else {
            format!("{by}={tighter}")
        };
        scratch
            .djr(&[
                "recut",
                "look",
                "--set",
                &set,
                "-o",
                "less.jsonl",
                "-q",
                "--force",
            ])
            .expect(1);
        assert!(scratch.rows("less.jsonl").len() < 100, "{set}");
    }
    let args = [
        "recut",
        "look",
        "--target",
        "1000",
        "--by",
        "words_num_filter.max_num",
        "-o",
        "o.jsonl",
    ];
    let ran = scratch.djr(&args).expect(2);
    assert!(ran.stderr.contains("rows are left"), "{}", ran.stderr);
}

#[test]
fn recut_looks_at_images_again_where_it_must() {
    let scratch = Scratch::new();
    strict(&scratch);
    let root = ["--image-root", "fixtures/dataset"];
    for (process, steps) in [
        (
            "text_length_filter: , words_num_filter: , image_deduplicator: ",
            1,
        ),
        (
            "text_length_filter: , document_minhash_deduplicator: , image_shape_filter: {min_width: 200}",
            1,
        ),
        (
            "image_shape_filter: , image_deduplicator: {threshold: 4}, image_size_filter: ",
            2,
        ),
    ] {
        let text = format!("process: [{process}]\nimage_root: fixtures/dataset\n");
        scratch.write("r.yaml", &text);
        let analyze = [
            "analyze",
            "rows.jsonl",
            "--recipe",
            "r.yaml",
            "-o",
            "look",
            "-q",
        ];
        scratch.djr(&[&analyze[..], &root].concat()).expect(0);
        let set = if process.starts_with("text") {
            "text_length_filter.min_len=60"
        } else {
            "image_shape_filter.min_width=300"
        };
        let recut = ["recut", "look", "--set", set, "-o", "cut.jsonl", "--force"];
        let ran = scratch.djr(&recut).expect(0);
        expect_note(Code::ImagesAgain, &ran.stderr);
        assert_eq!(
            ran.stderr.matches(Code::ImagesAgain.word()).count(),
            steps,
            "{}",
            ran.stderr
        );
        let fresh = [
            "run",
            "r.yaml",
            "--input",
            "rows.jsonl",
            "--set",
            set,
            "--output",
            "fresh.jsonl",
            "-q",
            "--force",
        ];
        scratch.djr(&fresh).expect(0);
        assert_eq!(
            scratch.read("cut.jsonl"),
            scratch.read("fresh.jsonl"),
            "{process}"
        );
        assert!(!scratch.rows("cut.jsonl").is_empty());
    }
    // Before the first step that decides among all rows, everything that it takes is stored.
    let text = "process: [image_shape_filter: {min_width: 200}, document_minhash_deduplicator: ]\nimage_root: fixtures/dataset\n";
    scratch.write("r.yaml", text);
    let analyze = ["analyze", "rows.jsonl", "--recipe", "r.yaml", "-o", "look"];
    scratch.djr(&analyze).expect(0);
    let set = "image_shape_filter.min_width=300";
    let recut = ["recut", "look", "--set", set, "-o", "cut.jsonl", "--force"];
    expect_no_note(Code::ImagesAgain, &scratch.djr(&recut).expect(0).stderr);
}

#[test]
fn recut_says_why_it_cannot() {
    let scratch = Scratch::new();
    strict(&scratch);
    let analyze = |recipe: &str| {
        scratch.write("r.yaml", recipe);
        scratch
            .djr(&[
                "analyze",
                "rows.jsonl",
                "--image-root",
                "fixtures/dataset",
                "--recipe",
                "r.yaml",
                "-o",
                "look",
                "-q",
            ])
            .expect(0);
    };
    let refused = |set: &str, why: &str| {
        let ran = scratch
            .djr(&["recut", "look", "--set", set, "-o", "out.jsonl", "-q"])
            .expect(2);
        assert!(ran.stderr.contains(why), "{set}: {}", ran.stderr);
        assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
        assert!(!scratch.path("out.jsonl").exists());
    };
    // The stats of this one depend on what looks like its bound.
    analyze("process: [image_subplot_filter: ]\n");
    refused(
        "image_subplot_filter.min_confidence=0.9",
        "what the filter measures",
    );
    analyze("process: [clean_ip_mapper: , text_length_filter: , words_num_filter: ]\n");
    refused(
        "words_num_filter.tokenization=true",
        "what the filter measures",
    );
    refused("clean_ip_mapper.repl=x", "no bound of a filter");
    refused("np=3", "no bound of a filter");
    refused(
        "alphanumeric_filter.min_ratio=0.1",
        "no step 'alphanumeric_filter'",
    );
    let ran = scratch
        .djr(&[
            "recut",
            "look",
            "--set",
            "text_length_filter.min_len=many",
            "-o",
            "out.jsonl",
        ])
        .expect(2);
    assert!(ran.stderr.contains("min_len"), "{}", ran.stderr);
    let mut rows = scratch.read("rows.jsonl");
    rows.extend_from_slice(b"\n{\"text\": \"one more\"}\n");
    scratch.write("rows.jsonl", rows);
    refused(
        "text_length_filter.min_len=5",
        "its size is not what it was",
    );
    let ran = scratch
        .djr(&["recut", "nowhere", "--set", "a.b=1", "-o", "out.jsonl"])
        .expect(2);
    assert!(
        ran.stderr
            .contains("hint: name the directory of an analysis"),
        "{}",
        ran.stderr
    );
}

#[test]
fn rows_have_the_suffix_of_their_input_as_in_a_run() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\": \"a\"}\n{\"text\": \"b\", \"__dj__suffix__\": \".txt\"}\n",
    );
    let recipe = "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess:\n  - suffix_filter: {suffixes: [.jsonl]}\n";
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml"]).expect(0);
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    let ran = scratch.json("o.jsonl.djr/manifest.json");
    assert_eq!(ran["steps"][0]["dropped"], 1);
    let found = &scratch.json("look/analysis.json")["filters"][0];
    assert_eq!(
        (&found["would_drop"], &found["would_drop_in_sequence"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn what_special_tokens_count_as_stands_where_lengths_are_shown() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\": \"<__dj__image>\\na kite <|__dj__eoc|>\"}\n",
    );
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [words_num_filter: {min_num: 1}]\n",
    );
    let told = "pecial tokens count in text lengths: <__dj__image> is 13 characters and 1 word, <|__dj__eoc|> is 13 characters and 1 word";
    let ran = scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let told = told.replace('<', "&lt;").replace('>', "&gt;");
    for what in ["look", "o.jsonl.djr"] {
        let page = scratch.djr(&["report", what]).expect(0).text();
        assert!(page.contains(&told), "{what}");
    }
}

#[test]
fn a_target_counts_filters_that_see_all_rows() {
    let scratch = Scratch::new();
    let rows: Vec<String> = (1..=20)
        .map(|n| format!("{}\n", json!({"text": "ab ".repeat(n)})))
        .collect();
    scratch.write("in.jsonl", rows.concat());
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess:\n  - text_length_filter: {min_len: 1}\n  - words_num_filter: {min_num: 1, keep: best 5}\n",
    );
    scratch
        .djr(&[
            "analyze",
            "--recipe",
            "r.yaml",
            "-o",
            "look",
            "--suggest",
            "s.yaml",
        ])
        .expect(0);
    let found = scratch.json("look/analysis.json");
    assert_eq!(found["filters"][1]["would_drop_in_sequence"], 15);
    assert_eq!(found["stats"]["num_words"]["would_drop"], 15);
}

#[test]
fn bounds_in_the_wrong_order_leave_an_analysis_without_counts_of_drops() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "{\"text\": \"a\"}\n{\"text\": \"bb\"}\n");
    let analyzed = |bounds: &str| {
        let recipe = format!(
            "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: {{{bounds}}}]\n"
        );
        scratch.write("r.yaml", recipe);
        let ran = scratch.djr(&["analyze", "--recipe", "r.yaml", "-o", "look"]);
        (ran.expect(0).stderr, scratch.json("look/analysis.json"))
    };
    let (told, found) = analyzed("min_len: p90, max_len: p10");
    expect_note(Code::BoundsUnknown, &told);
    assert!(found["filters"][0].get("from_data").is_none());
    let (told, found) = analyzed("min_len: p10, max_len: p90");
    expect_no_note(Code::BoundsUnknown, &told);
    assert_eq!(found["filters"][0]["from_data"][0]["value"], 1.1);
    assert_eq!(found["filters"][0]["would_drop"], 2);
}
