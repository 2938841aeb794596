//! What a run leaves is its own: no other run takes it, no reader takes it for another's, and no
//! name of a stat or a file gets in its way.

use std::fs;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

use crate::analyze::value_of;
use crate::support::{Scratch, rows};

const ROWS: &str =
    "{\"id\":\"1\",\"text\":\"hello there world\"}\n{\"id\":\"2\",\"text\":\"no\"}\n";

/// Rows, and a recipe that keeps texts of at least `min_len` characters.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: k/clean.jsonl\nprocess:\n  - text_length_filter: {min_len: 5}\n",
    );
    scratch
}

/// What became of a row.
fn fate(scratch: &Scratch, output: &str, row: &str) -> String {
    let ran = scratch.djr(&["why", output, row, "--json"]).expect(0);
    let found = ran.told();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]["fate"].as_str().unwrap().to_owned()
}

#[test]
fn a_second_command_leaves_the_record_of_the_first_alone() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    assert_eq!(fate(&scratch, "k/clean.jsonl", "2"), "dropped");
    let record = scratch.files("k/clean.jsonl.djr");
    let manifest = scratch.read("k/clean.jsonl.djr/manifest.json");
    let convert = [
        "convert",
        "--to",
        "llava",
        "k/clean.jsonl",
        "-o",
        "k/clean.json",
        "-q",
        "--max-quarantine",
        "none",
    ];
    // A text without turns is no record of LLaVA: it is set aside.
    scratch.djr(&convert).expect(1);
    assert_eq!(scratch.files("k/clean.jsonl.djr"), record);
    assert!(scratch.read("k/clean.jsonl.djr/manifest.json") == manifest);
    assert_eq!(fate(&scratch, "k/clean.jsonl", "2"), "dropped");
    assert_eq!(fate(&scratch, "k/clean.json", "1"), "quarantined");
    scratch.djr(&["why", "k/clean.json", "2"]).expect(2);
    for (output, counts) in [
        ("k/clean.jsonl", "2 rows in = 1 out + 1 dropped"),
        ("k/clean.json", "1 rows in = 0 out + 0 dropped"),
    ] {
        let told = scratch.djr(&["verify", output]).expect(0).text();
        assert!(told.contains(counts), "{told}");
    }
}

#[test]
fn outputs_whose_names_begin_alike_have_records_of_their_own() {
    let scratch = scratch();
    for [one, other] in [
        ["c.v1.jsonl", "c.v2.jsonl"],
        ["x.train.jsonl", "x.val.jsonl"],
    ] {
        let (one, other) = (format!("k/{one}"), format!("k/{other}"));
        scratch
            .djr(&["run", "r.yaml", "-q", "--output", &one])
            .expect(0);
        let looser = ["--set", "text_length_filter.min_len=1"];
        let args = ["run", "r.yaml", "-q", "--output", &other];
        scratch.djr(&[&args[..], &looser].concat()).expect(0);
        assert_eq!(fate(&scratch, &one, "2"), "dropped");
        assert_eq!(fate(&scratch, &other, "2"), "kept");
        for output in [&one, &other] {
            assert!(
                scratch
                    .path(&format!("{output}.djr/manifest.json"))
                    .exists()
            );
        }
    }
}

#[test]
fn a_run_is_found_from_each_of_its_outputs_and_from_no_other_file() {
    let scratch = scratch();
    scratch.write(
        "two.yaml",
        "dataset_path: in.jsonl\noutputs:\n  - {format: jsonl, path: a/one.jsonl}\n  - {format: jsonl, path: a/two.jsonl}\nprocess:\n  - text_length_filter: {min_len: 5}\n",
    );
    scratch.djr(&["run", "two.yaml", "-q"]).expect(0);
    assert_eq!(fate(&scratch, "a/two.jsonl", "2"), "dropped");
    scratch.djr(&["verify", "a/two.jsonl"]).expect(0);
    scratch.djr(&["report", "a/two.jsonl"]).expect(0);
    let set = [
        "--set",
        "text_length_filter.min_len=6",
        "-o",
        "cut.jsonl",
        "-q",
    ];
    scratch
        .djr(&[&["recut", "a/two.jsonl"], &set[..]].concat())
        .expect(0);
    // A file that is not of the run, under whatever name beside it.
    fs::copy(scratch.path("in.jsonl"), scratch.path("a/three.jsonl")).unwrap();
    let other = scratch.path("a/three.jsonl").display().to_string();
    for args in [
        &["why", &other, "1"][..],
        &["verify", &other],
        &["report", &other],
        &[
            "recut",
            &other,
            "--set",
            "text_length_filter.min_len=2",
            "-o",
            "c.jsonl",
        ],
    ] {
        let ran = scratch.djr(args).expect(2);
        assert!(
            ran.stderr.contains("no run recorded beside it wrote it")
                && ran.stderr.contains("hint"),
            "{args:?}: {}",
            ran.stderr
        );
    }
    // Nor is a file of the first output's name that another run's directory stands beside.
    fs::rename(
        scratch.path("a/one.jsonl.djr"),
        scratch.path("a/three.jsonl.djr"),
    )
    .unwrap();
    let ran = scratch.djr(&["why", &other, "1"]).expect(2);
    assert!(ran.stderr.contains("other outputs"), "{}", ran.stderr);
    // Moved as a whole, it is found where it is.
    fs::rename(
        scratch.path("a/three.jsonl.djr"),
        scratch.path("a/one.jsonl.djr"),
    )
    .unwrap();
    fs::rename(scratch.path("a"), scratch.path("b")).unwrap();
    assert_eq!(fate(&scratch, "b/two.jsonl", "2"), "dropped");
    scratch.djr(&["verify", "b/one.jsonl"]).expect(0);
}

#[test]
fn of_two_records_that_list_a_file_the_one_that_wrote_it_last_answers() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "-q",
            "--set",
            "text_length_filter.min_len=1",
            "--run-dir",
            "k/looser.djr",
        ])
        .expect(0);
    assert_eq!(fate(&scratch, "k/clean.jsonl", "2"), "kept");
    assert_eq!(fate(&scratch, "k/clean.jsonl.djr", "2"), "dropped");
}

#[test]
fn a_directory_of_other_outputs_is_not_written_into() {
    let scratch = scratch();
    let run = |output: &str, dir: &str| {
        scratch.djr(&["run", "r.yaml", "-q", "--output", output, "--run-dir", dir])
    };
    run("a.jsonl", "records").expect(0);
    let before = scratch.read("records/manifest.json");
    let refused = run("b.jsonl", "records").expect(2);
    assert!(
        refused.stderr.contains("a.jsonl") && refused.stderr.contains("hint: give this run"),
        "{}",
        refused.stderr
    );
    assert!(scratch.read("records/manifest.json") == before);
    assert!(!scratch.path("b.jsonl").exists());
    // The same outputs again, or none of the others left as the run wrote it: it is this run's.
    run("a.jsonl", "records").expect(0);
    scratch.write("a.jsonl", "{\"text\": \"something else by now\"}\n");
    run("b.jsonl", "records").expect(0);
    fs::remove_file(scratch.path("b.jsonl")).unwrap();
    run("a.jsonl", "records").expect(0);
    fs::remove_file(scratch.path("a.jsonl")).unwrap();
    run("b.jsonl", "records").expect(0);
    scratch.djr(&["verify", "b.jsonl"]).expect(2);
    scratch.djr(&["verify", "records"]).expect(0);
}

#[test]
fn what_a_user_keeps_in_the_directory_of_a_run_stays() {
    let scratch = scratch();
    scratch.write("in.jsonl", format!("{ROWS}no row\n"));
    fs::create_dir_all(scratch.path("mine/checkpoint")).unwrap();
    scratch.write("mine/checkpoint/model.bin", "weights");
    scratch.write("mine/notes.txt", "mine");
    let args = ["run", "r.yaml", "-q", "--run-dir", "mine"];
    for more in [&[][..], &["--restart"], &["--resume"]] {
        let refused = scratch.djr(&[&args[..], more].concat()).expect(2);
        assert!(
            refused.stderr.contains("mine/checkpoint is in the way"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(scratch.read("mine/checkpoint/model.bin"), b"weights");
    fs::rename(
        scratch.path("mine/checkpoint"),
        scratch.path("mine/trained"),
    )
    .unwrap();
    // A file with the name of a record that is no record.
    for name in ["quarantine.jsonl", "manifest.json", "ledger.jsonl.zst"] {
        scratch.write(&format!("mine/{name}"), "{\"mine\": true}\n");
        let refused = scratch.djr(&args).expect(2);
        assert!(
            refused.stderr.contains(name) && refused.stderr.contains("--run-dir"),
            "{}",
            refused.stderr
        );
        assert_eq!(scratch.read(&format!("mine/{name}")), b"{\"mine\": true}\n");
        fs::remove_file(scratch.path(&format!("mine/{name}"))).unwrap();
    }
    scratch.djr(&args).expect(1);
    assert!(scratch.path("mine/quarantine.jsonl").exists());
    // Nothing is set aside any more: the run's own file goes, the others stay.
    scratch.write("in.jsonl", ROWS);
    scratch.djr(&args).expect(0);
    assert!(!scratch.path("mine/quarantine.jsonl").exists());
    assert_eq!(
        scratch.files("mine"),
        [
            "ledger.jsonl.zst",
            "manifest.json",
            "notes.txt",
            "stats.jsonl.zst",
            "trained/model.bin"
        ]
    );
}

#[test]
fn shards_of_an_earlier_run_do_not_stay_beside_the_new_ones() {
    let scratch = Scratch::new();
    let some = |rows: usize| {
        let row = |n| format!("{{\"id\":\"{n}\",\"text\":\"row number {n}\"}}\n");
        (0..rows).map(row).collect::<Vec<_>>().concat()
    };
    scratch.write("in.jsonl", some(12));
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: out/all.jsonl\nexport_shard_size: 100\nprocess:\n  - text_length_filter: {min_len: 1}\n",
    );
    let shards = || -> Vec<String> {
        let mut names = scratch.files("out");
        names.retain(|name| name.starts_with("all-"));
        names
    };
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    let many = shards();
    assert!(many.len() > 2, "{many:?}");
    assert!(scratch.path("out/all.jsonl.djr/manifest.json").exists());
    // A file that looks like a shard, and one that was written anew since.
    scratch.write("out/all-99-of-99.jsonl", "{\"mine\": 1}\n");
    let anew = format!("out/{}", many[1]);
    scratch.write(&anew, "{\"mine\": 2}\n");
    scratch.write("in.jsonl", some(2));
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    let mut left = vec![
        "all-00-of-01.jsonl".to_owned(),
        "all-99-of-99.jsonl".to_owned(),
        many[1].clone(),
    ];
    left.sort();
    assert_eq!(shards(), left);
    assert_eq!(fate(&scratch, "out/all.jsonl", "1"), "kept");
    assert_eq!(fate(&scratch, "out/all-00-of-01.jsonl", "1"), "kept");
    // Shards that the new run reads are its input, and stay.
    scratch.write("in.jsonl", some(12));
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    let input = format!("out/{}", many[0]);
    scratch
        .djr(&["run", "r.yaml", "-q", "--input", &input])
        .expect(0);
    assert!(scratch.path(&input).exists());
    assert!(!scratch.path(&format!("out/{}", many[2])).exists());
}

#[test]
fn records_of_another_version_are_refused_by_name() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    let path = "k/clean.jsonl.djr/manifest.json";
    let manifest = scratch.json(path);
    assert_eq!(manifest["format"], json!({"major": 2, "minor": 2}));
    // A later minor version only knows more.
    let mut later = manifest.clone();
    later["format"]["minor"] = 9.into();
    later["moons"] = json!([1]);
    scratch.write(path, later.to_string());
    scratch.djr(&["verify", "k/clean.jsonl"]).expect(0);
    let mut old = manifest.clone();
    old.as_object_mut().unwrap().remove("format");
    let mut new = manifest.clone();
    new["format"]["major"] = 3.into();
    new["djr"] = "7.0.0".into();
    for (other, named) in [
        (old, "in format 1;"),
        (new, "djr 7.0.0 wrote it in format 3.2;"),
    ] {
        scratch.write(path, other.to_string());
        for args in [
            &["why", "k/clean.jsonl", "1"][..],
            &["verify", "k/clean.jsonl.djr"],
            &["report", "k/clean.jsonl"],
            &["diff", "k/clean.jsonl.djr", "k/clean.jsonl.djr"],
            &["run", "r.yaml", "-q"],
        ] {
            let ran = scratch.djr(args);
            assert!(ran.code == 2 || ran.code == 3, "{args:?}: {}", ran.code);
            assert!(ran.stderr.contains("hint: "), "{args:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(named), "{args:?}: {}", ran.stderr);
        }
        assert_eq!(scratch.read(path), other.to_string().as_bytes());
    }
}

/// Filters by a field of that name, and recuts what the run and an analysis stored.
fn recut_by(field: &str, numbers: &[u64], [first, second]: [&str; 2], kept: &[u64]) {
    let scratch = Scratch::new();
    let row = |number: &u64| json!({"text": "a", field: number});
    let rows_in: Vec<Value> = numbers.iter().map(row).collect();
    let kept: Vec<Value> = kept.iter().map(row).collect();
    let lines: Vec<String> = rows_in.iter().map(|row| format!("{row}\n")).collect();
    scratch.write("in.jsonl", lines.concat());
    scratch.write(
        "r.yaml",
        format!(
            "dataset_path: in.jsonl\nexport_path: s.jsonl\nprocess:\n  - specified_numeric_field_filter: {{field_key: {field}, min_value: {first}}}\n"
        ),
    );
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look", "-q"])
        .expect(0);
    let set = format!("specified_numeric_field_filter.min_value={second}");
    let fresh = [
        "run",
        "r.yaml",
        "-q",
        "--output",
        "fresh.jsonl",
        "--set",
        &set,
    ];
    scratch.djr(&fresh).expect(0);
    assert_eq!(scratch.rows("fresh.jsonl"), kept);
    for (of, output) in [("s.jsonl", "cut.jsonl"), ("look", "looked.jsonl")] {
        let args = ["recut", of, "--set", &set, "-o", output, "-q"];
        scratch.djr(&args).expect(0);
        assert_eq!(scratch.rows(output), kept, "{field} of {of}");
    }
    // Each stat once, under its own name, beside the place of the row.
    let lines = scratch.rows("look/stats.jsonl");
    for (number, (line, row)) in lines.iter().zip(&rows_in).enumerate() {
        assert_eq!(line["line"], number + 1);
        assert_eq!(line["stats"], json!({field: row[field]}));
    }
    let file = fs::File::open(scratch.path("look/stats.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let mut seen = 0;
    for (row, line) in reader.get_row_iter(None).unwrap().zip(&lines) {
        let row: serde_json::Map<String, Value> = row
            .unwrap()
            .get_column_iter()
            .map(|(name, field)| (name.clone(), value_of(field)))
            .collect();
        for part in ["line", "offset", "stats"] {
            assert_eq!(row[part], line[part], "{part}");
        }
        seen += 1;
    }
    assert_eq!(seen, lines.len());
}

#[test]
fn a_stat_may_have_the_name_of_a_place() {
    for (field, numbers, bounds, kept) in [
        ("line", &[50, 5, 70][..], ["10", "60"], &[70][..]),
        ("offset", &[50, 5, 10], ["1", "9"], &[50, 10]),
        ("id", &[5, 7], ["1", "6"], &[7]),
        ("file", &[3, 9], ["1", "5"], &[9]),
        ("stats", &[3, 9], ["1", "5"], &[9]),
        ("errors", &[3, 9], ["1", "5"], &[9]),
        ("images_decode", &[3, 9], ["1", "5"], &[9]),
    ] {
        recut_by(field, numbers, bounds, kept);
    }
}

#[test]
fn steps_are_counted_from_one_and_reasons_have_one_name() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"id\":1,\"text\":\"short\"}\n{\"id\":2,\"text\":\"two words\",\"n\":[1]}\nno row\n",
    );
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess:\n  - text_length_filter: {min_len: 6}\n  - specified_numeric_field_filter: {field_key: n, min_value: 1}\n",
    );
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let ledger = scratch.ledger("o.jsonl.djr");
    let said: Vec<[&Value; 4]> = ledger
        .iter()
        .map(|e| [&e["fate"], &e["by"], &e["step"], &e["code"]])
        .collect();
    assert_eq!(
        said[0],
        [
            &json!("dropped"),
            &json!("text_length_filter"),
            &json!(1),
            &Value::Null
        ]
    );
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    for (entry, by, step) in [
        (
            &ledger[1],
            json!("specified_numeric_field_filter"),
            json!(2),
        ),
        (&ledger[2], json!("read"), Value::Null),
    ] {
        let record = aside
            .iter()
            .find(|r| r["offset"] == entry["offset"])
            .unwrap();
        for told in [entry, record] {
            assert_eq!((&told["by"], &told["step"]), (&by, &step));
        }
        assert_eq!(entry["code"], record["code"]);
        assert!(record["message"].as_str().unwrap().len() > 5);
        for gone in ["reason", "stage"] {
            assert!(entry.get(gone).is_none() && record.get(gone).is_none());
        }
    }
    let reasons = &scratch.json("o.jsonl.djr/manifest.json")["reasons"];
    let of_step = reasons
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["step"] == 2)
        .unwrap();
    assert_eq!(of_step["by"], "specified_numeric_field_filter");
    let packed = scratch.read("o.jsonl.djr/stats.jsonl.zst");
    let stats = rows(&zstd::decode_all(&packed[..]).unwrap());
    assert_eq!(stats[1]["errors"][0]["step"], 2);
    assert_eq!(stats[2]["errors"][0]["by"], "read");
    let told = scratch.djr(&["why", "o.jsonl", "2", "--json"]).expect(0);
    let told = &told.told()[0];
    assert_eq!(
        (&told["step"], &told["code"]),
        (&json!(2), &aside[0]["code"])
    );
}

#[test]
fn why_tells_the_parts_of_a_row_apart() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"id\":\"a\",\"text\":\"one|x|three|one|five\"}\n{\"id\":\"b\",\"text\":\"three\"}\n",
    );
    scratch.write(
        "r.yaml",
        r"
dataset_path: in.jsonl
export_path: o.jsonl
process:
  - text_chunk_mapper: {split_pattern: '\|'}
  - text_length_filter: {min_len: 2}
  - document_deduplicator: {}
",
    );
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    let told = scratch.djr(&["why", "o.jsonl", "a"]).expect(0).text();
    for part in 0..5 {
        let heading = format!("in.jsonl:1  id a  part {part}\n");
        assert_eq!(told.matches(&heading).count(), 1, "{told}");
    }
    assert!(
        told.contains("part 1\n  dropped by step 2 of 3, text_length_filter"),
        "{told}"
    );
    let found = scratch
        .djr(&["why", "o.jsonl", "a", "--json"])
        .expect(0)
        .told();
    let parts: Vec<&Value> = found.iter().map(|row| &row["part"]).collect();
    assert_eq!(parts, [0, 1, 2, 3, 4]);
    // A row that is whole has no part, and names what it duplicates.
    let told = scratch.djr(&["why", "o.jsonl", "b"]).expect(0).text();
    assert!(!told.contains("part"), "{told}");
    assert!(
        told.contains("duplicate of ") && told.contains("in.jsonl:1  id a"),
        "{told}"
    );
    let told = scratch.djr(&["why", "o.jsonl", "b", "--json"]).expect(0);
    let first = &told.told()[0]["duplicate_of"];
    assert_eq!((&first["line"], &first["id"]), (&json!(1), &json!("a")));
    assert!(first["input"].as_str().unwrap().ends_with("in.jsonl"));
}

#[test]
fn stats_of_another_type_that_came_with_a_row_are_measured_again() {
    let scratch = Scratch::new();
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: out.jsonl\nprocess:\n  - text_length_filter: {min_len: 10}\n  - alphanumeric_filter: {min_ratio: 0.5}\n",
    );
    let row = |id: &str, stats: &str| {
        format!(
            "{{\"id\": \"{id}\", \"text\": \"long enough for the bound\", \"__dj__stats__\": {stats}}}\n"
        )
    };
    // As Data-Juicer does, a number that came with the row is believed, 3 too.
    scratch.write(
        "in.jsonl",
        [
            row("text", "{\"text_len\": \"34\", \"alnum_ratio\": \"0.1\"}"),
            row("list", "{\"text_len\": [34]}"),
            row("flag", "{\"text_len\": false, \"alnum_ratio\": true}"),
            row("whole", "{\"text_len\": 34, \"alnum_ratio\": 1}"),
            row("edited", "{\"text_len\": 3}"),
        ]
        .concat(),
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let rows = scratch.rows("out.jsonl");
    let kept: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(kept, ["text", "list", "flag", "whole"]);
}

#[test]
fn null_that_came_with_a_row_is_no_stat_and_what_is_not_finite_is_one() {
    let scratch = Scratch::new();
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: out.jsonl\nprocess:\n  - text_length_filter: {min_len: 10, max_len: 50}\n  - image_shape_filter: {min_width: 5}\n",
    );
    let row = |id: &str, stats: &str| {
        format!(
            "{{\"id\": \"{id}\", \"text\": \"long enough for the bound\", \"images\": [], \"__dj__stats__\": {stats}}}\n"
        )
    };
    // Data-Juicer 1.6.1 compares NaN and Infinity, and drops both.
    scratch.write(
        "in.jsonl",
        [
            row("null", "{\"text_len\": null}"),
            row("nulls", "{\"image_width\": [null], \"image_height\": [7]}"),
            row("nan", "{\"text_len\": NaN}"),
            row("infinite", "{\"text_len\": Infinity}"),
            row("lists", "{\"image_width\": [NaN], \"image_height\": [7]}"),
        ]
        .concat(),
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(0);
    let rows = scratch.rows("out.jsonl");
    let kept: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(kept, ["null", "nulls"]);
    let stats = scratch.rows("out_stats.jsonl");
    assert_eq!(stats[0]["__dj__stats__"]["text_len"], 25);
    assert_eq!(stats[1]["__dj__stats__"]["image_width"], json!([]));
    for told in [
        "step 1 (text_length_filter) measured 1 row anew",
        "[stat_measured_again]",
    ] {
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    let analyzed = scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    assert!(
        analyzed.stderr.contains("[stat_measured_again]"),
        "{}",
        analyzed.stderr
    );
    // Other bounds find what was measured, not what came along.
    let recut = [
        "recut",
        "out.jsonl.djr",
        "--set",
        "text_length_filter.min_len=20",
        "-o",
        "again.jsonl",
    ];
    scratch.djr(&recut).expect(0);
    assert_eq!(scratch.rows("again.jsonl").len(), 2);
}

#[test]
fn a_recut_without_files_of_stats_says_who_switched_them_off() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "{\"text\": \"long enough\"}\n");
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nstats_files: false\nprocess:\n  - text_length_filter: {min_len: 2}\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let recut = [
        "recut",
        "o.jsonl.djr",
        "--set",
        "text_length_filter.min_len=3",
        "-o",
        "c.jsonl",
    ];
    for command in [&recut[..], &["view", "o.jsonl.djr"]] {
        let told = scratch.djr(command).expect(2).stderr;
        assert!(told.contains("stats_files: false"), "{told}");
        assert!(!told.contains("measures anything"), "{told}");
    }
}

#[test]
fn stats_never_replace_what_is_no_stats() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "{\"text\": \"long enough\"}\n");
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: c.jsonl\nprocess:\n  - text_length_filter: {min_len: 2}\n",
    );
    let run = |output: &str| scratch.djr(&["run", "r.yaml", "--output", output]);
    // Another run's rows, and a file of the user's.
    run("c_stats.jsonl").expect(0);
    scratch.write("b_stats.jsonl", "{\"mine\": 1}\n");
    for (output, taken) in [("c.jsonl", "c_stats.jsonl"), ("b.jsonl", "b_stats.jsonl")] {
        let before = scratch.read(taken);
        let ran = run(output).expect(2);
        assert!(
            ran.stderr.contains(taken) && ran.stderr.contains("hint"),
            "{}",
            ran.stderr
        );
        assert_eq!(scratch.read(taken), before);
        assert!(!scratch.path(output).exists());
    }
    // Stats are replaced by stats, and an empty file by anything.
    scratch.write("a_stats.jsonl", "");
    run("a.jsonl").expect(0);
    run("a.jsonl").expect(0);
    assert_eq!(scratch.rows("a_stats.jsonl").len(), 1);
}

/// Data-Juicer 1.6.1 over the same: what the second step of a name did stands behind what the first did,
/// as many rows of either as are asked for, whatever becomes of them later.
#[test]
fn steps_of_one_name_share_a_trace() {
    let scratch = Scratch::new();
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl
export_path: out.jsonl
open_tracer: true
trace_num: 2
process:
  - replace_content_mapper: {pattern: a, repl: b}
  - text_length_filter: {min_len: 1, max_len: 4}
  - document_minhash_deduplicator: {}
  - replace_content_mapper: {pattern: b, repl: c}
  - text_length_filter: {min_len: 2, max_len: 99}
",
    );
    let texts = ["a1", "x", "a23456", "a2", "b3", "a4"];
    let rows: Vec<String> = texts
        .iter()
        .map(|text| format!("{{\"text\": \"{text}\"}}\n"))
        .collect();
    scratch.write("rows.jsonl", rows.concat());
    scratch.djr(&["run", "r.yaml", "--quiet"]).expect(0);
    let traced = |op: &str| {
        let lines = fs::read_to_string(
            scratch.path(&format!("out.jsonl.djr/trace/sample_trace-{op}.jsonl")),
        );
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        lines.unwrap().lines().map(read).collect::<Vec<_>>()
    };
    let changed: Vec<String> = traced("replace_content_mapper")
        .iter()
        .map(|row| {
            format!(
                "{} {}",
                row["original_text"].as_str().unwrap(),
                row["processed_text"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(changed, ["a1 b1", "a23456 b23456", "b1 c1"]);
    let dropped = traced("text_length_filter");
    let dropped: Vec<&str> = dropped
        .iter()
        .map(|row| row["text"].as_str().unwrap())
        .collect();
    assert_eq!(dropped, ["b23456"]);
    scratch.djr(&["verify", "out.jsonl"]).expect(0);
}
