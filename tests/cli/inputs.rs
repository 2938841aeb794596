//! Input as people have it: whatever a file is called and however it is packed, what it holds is
//! found by its content; what holds no rows is refused as what it is.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use djr::exec::RunOptions;
use djr::io::GivenRows;
use djr::note::Code;
use djr::recipe::{Inputs, LoadOptions, RecipeSource, Target};
use djr::record::PastRun;
use serde_json::json;

use crate::support::{Scratch, expect_no_note, expect_note, rows};

const RECIPE: &str =
    "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n";

const ROWS: &[u8] =
    b"{\"id\": 1, \"text\": \"one\"}\n{\"id\": 2, \"text\": \"two\"}\n{\"id\": 3, \"text\": \"three\"}\n";

const ARRAY: &[u8] = b"[\n{\"id\": 1, \"text\": \"one\"},\n{\"id\": 2, \"text\": \"two\"},\n{\"id\": 3, \"text\": \"three\"}\n]\n";

const PRINTED: &[u8] = b"{\n  \"id\": 1,\n  \"text\": \"one\"\n}\n{\n  \"id\": 2,\n  \"text\": \"two\"\n}\n{\n  \"id\": 3,\n  \"text\": \"three\"\n}\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// `ROWS` in two xz streams, one after the other (by xz 5.4).
const XZ: &[u8] = include_bytes!("inputs.rows.xz");

fn ids(bytes: &[u8]) -> Vec<i64> {
    rows(bytes)
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect()
}

#[test]
fn what_a_file_is_is_found_by_its_content() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let zstd = [
        zstd::encode_all(&ROWS[..25], 1).unwrap(),
        zstd::encode_all(&ROWS[25..], 1).unwrap(),
    ];
    let contents: [(&str, Vec<u8>); 8] = [
        ("lines", ROWS.to_vec()),
        ("array", ARRAY.to_vec()),
        ("one line", b"[{\"id\": 1, \"text\": \"one\"}, {\"id\": 2, \"text\": \"two\"}, {\"id\": 3, \"text\": \"three\"}]".to_vec()),
        ("printed", PRINTED.to_vec()),
        ("gzip", [gzip(&ROWS[..25]), gzip(&ROWS[25..])].concat()),
        ("zstd", zstd.concat()),
        ("bzip2", bzip2(ARRAY)),
        ("xz", XZ.to_vec()),
    ];
    for (what, content) in &contents {
        for name in ["rows.jsonl", "rows.jsonl.json", "rows", "rows.gz"] {
            scratch.write(name, content);
            scratch
                .djr(&["check", "r.yaml", "-q", "--input", name])
                .expect(0);
            scratch
                .djr(&[
                    "run", "r.yaml", "-q", "--input", name, "--output", "o.jsonl",
                ])
                .expect(0);
            assert_eq!(
                ids(&scratch.read("o.jsonl")),
                [1, 2, 3],
                "{what} called {name}"
            );
            let drawn = scratch.djr(&["subset", "--n", "3", name, "-q"]).expect(0);
            assert_eq!(ids(&drawn.stdout), [1, 2, 3], "{what} called {name}");
            fs::remove_file(scratch.path(name)).unwrap();
        }
        let piped = scratch
            .djr_with(
                &["run", "r.yaml", "-q", "--input", "-", "--output", "-"],
                content,
            )
            .expect(0);
        assert_eq!(ids(&piped.stdout), [1, 2, 3], "{what} piped");
        let drawn = scratch
            .djr_with(&["subset", "--n", "2", "--seed", "1"], content)
            .expect(0);
        assert_eq!(ids(&drawn.stdout).len(), 2, "{what} piped");
        scratch.write("in.jsonl", content);
        scratch
            .djr(&["analyze", "in.jsonl", "-o", "look", "-q"])
            .expect(0);
        assert_eq!(
            scratch.json("look/analysis.json")["rows"]["measured"],
            3,
            "{what}"
        );
    }
}

#[test]
fn records_are_converted_whatever_their_file_is_called() {
    let scratch = Scratch::new();
    let record = r#"{"id": "a", "conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]}"#;
    let printed = record.replace(", ", ",\n ");
    for content in [
        record.to_owned(),
        format!("[{record}]"),
        format!("[\n{printed}\n]\n"),
        format!("{printed}\n"),
    ] {
        scratch.write("in.jsonl", gzip(content.as_bytes()));
        let ran = scratch
            .djr(&["convert", "--to", "dj", "-q", "in.jsonl"])
            .expect(0);
        assert_eq!(rows(&ran.stdout).len(), 1, "{content}");
    }
}

#[test]
fn the_cut_of_rows_into_files_does_not_matter_to_printed_objects() {
    let scratch = Scratch::new();
    scratch.write("whole.jsonl", PRINTED);
    let cut = PRINTED.windows(4).position(|w| w == b"\n}\n{").unwrap() + 2;
    scratch.write("a.jsonl", &PRINTED[..cut]);
    scratch.write("b.jsonl", &PRINTED[cut + 1..]);
    for seed in ["1", "2", "3"] {
        let draw = ["subset", "-q", "--n", "1", "--seed", seed];
        let whole = scratch
            .djr(&[&draw[..], &["whole.jsonl"]].concat())
            .expect(0);
        let parts = scratch
            .djr(&[&draw[..], &["a.jsonl", "b.jsonl"]].concat())
            .expect(0);
        assert_eq!(whole.text(), parts.text());
    }
}

#[test]
fn what_holds_no_rows_is_refused_before_anything_is_written() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let orc: &[u8] = b"ORC\x15\x04\x15\x10ORC";
    for (name, content, what) in [
        ("in.jsonl", orc.to_vec(), "an Apache ORC file"),
        ("in.parquet", orc.to_vec(), "an Apache ORC file"),
        (
            "in.jsonl.gz",
            gzip(orc),
            "an Apache ORC file packed by gzip",
        ),
        (
            "in.json",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            "a PNG image",
        ),
        ("in", b"Rows\n====\n".to_vec(), "a text without JSON"),
        (
            "in.jsonl",
            b"<!DOCTYPE html>\n<title>404</title>\n".to_vec(),
            "a text without JSON",
        ),
        (
            "in.json",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n".to_vec(),
            "a text without JSON",
        ),
        (
            "in.jsonl",
            (0..=255).cycle().take(5000).collect(),
            "a binary file",
        ),
        // Texts of other kinds, whatever they are called, and whatever of JSON stands in them.
        (
            "in.jsonl",
            b"id,text\n1,\"a, b\"\n2,cat\n".to_vec(),
            "by its looks CSV",
        ),
        (
            "in.json",
            b"id\ttext\n1\ta\n2\tcat\n".to_vec(),
            "by its looks TSV",
        ),
        (
            "in.jsonl",
            b"import json\n\nROWS = [\n    {\"id\": 1},\n    {\"id\": 2}\n]\n".to_vec(),
            "by its looks a program",
        ),
        (
            "in.jsonl",
            b"[2026-11-26 10:00:00] INFO start\n[2026-11-26 10:00:01] INFO end\n".to_vec(),
            "by its looks a log",
        ),
        (
            "in.jsonl",
            b"{'id': 1, 'text': 'one'}\n{'id': 2, 'text': 'two'}\n".to_vec(),
            "json.dumps",
        ),
        (
            "in.jsonl",
            b"\"one\"\n\"two\"\n".to_vec(),
            "JSON values that are no objects",
        ),
        (
            "in.jsonl",
            b"Rows\n====\nSuch as this one:\n\n{\"id\": 1}\n\nand others.\n".to_vec(),
            "a text without JSON",
        ),
    ] {
        scratch.write(name, &content);
        for command in [
            &["run", "r.yaml", "--output", "o.jsonl", "--input", name][..],
            &["check", "r.yaml", "--input", name],
            &["analyze", "-o", "look", name],
            &["convert", "--to", "llava", "-o", "o.json", name],
            &["subset", "--n", "1", "-o", "s.jsonl", name],
        ] {
            let ran = scratch.djr(command).expect(2);
            assert!(ran.stderr.contains(what), "{command:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("JSON Lines"), "{}", ran.stderr);
        }
        for command in [
            &["run", "r.yaml", "--output", "-", "--input", "-"][..],
            &["subset", "--n", "1"],
        ] {
            let ran = scratch.djr_with(command, &content).expect(2);
            assert!(ran.stderr.contains("<stdin>: this is"), "{}", ran.stderr);
            assert!(ran.stdout.is_empty());
        }
        fs::remove_file(scratch.path(name)).unwrap();
    }
    for left in ["o.jsonl", "o.json", "s.jsonl", "look"] {
        assert!(!scratch.path(left).exists(), "{left}");
    }
}

#[test]
fn broken_first_rows_are_told_as_rows() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let good = "{\"id\": 1, \"text\": \"one\"}\n{\"id\": 2, \"text\": \"two\"}\n{\"id\": 3, \"text\": \"three\"}\n";
    let long = "x".repeat(100_000);
    for (broken, rows) in [
        ("oops", 1),
        ("d\": 0, \"text\": \"its start is gone\"}", 1),
        ("<<<<<<< HEAD", 1),
        ("{\"id\": 0, \"text\": \"cut", 1),
        ("null", 1),
        ("id,text\n0,zero", 2),
        // Longer than what is looked at.
        (&long, 1),
    ] {
        scratch.write("in.jsonl", format!("{broken}\n{good}"));
        let run = ["run", "r.yaml", "-q", "--max-quarantine", "none"];
        scratch.djr(&run).expect(1);
        assert_eq!(ids(&scratch.read("o.jsonl")), [1, 2, 3], "{broken:.40}");
        let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
        assert_eq!(aside.len(), rows, "{broken:.40}");
    }
}

#[test]
fn objects_may_share_a_line() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let objects = [
        "{\"id\": 1, \"text\": \"}{\"}",
        "{\"id\": 2, \"text\": \"two\"}",
        "{\"id\": 3, \"text\": \"three\"}",
    ];
    for content in [
        objects.concat(),
        objects.join(" ") + "\n",
        objects.join("\r"),
        objects.join("\r") + "\r",
        format!("{}{}\n{}\n", objects[0], objects[1], objects[2]),
    ] {
        scratch.write("in.jsonl", &content);
        scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
        assert_eq!(ids(&scratch.read("o.jsonl")), [1, 2, 3], "{content}");
        let drawn = scratch
            .djr(&["subset", "-q", "--n", "3", "in.jsonl"])
            .expect(0);
        assert_eq!(drawn.text().lines().count(), 3, "{content}");
        let ran = scratch
            .djr_with(
                &["run", "r.yaml", "-q", "--input", "-", "-o", "-"],
                content.as_bytes(),
            )
            .expect(0);
        assert_eq!(ids(&ran.stdout), [1, 2, 3], "{content}");
    }
    // Lines that end as on Windows are lines.
    scratch.write("in.jsonl", objects.join("\r\n") + "\r\n");
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    assert_eq!(scratch.ledger("o.jsonl.djr")[2]["line"], 3);
}

#[test]
fn a_broken_value_costs_no_other_row() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let broken: [(&[u8], usize); 4] = [
        (b"[\n{\"id\": 1, \"text\": \"one\"},\n{\"id\": 2, \"text\": \"cut\n{\"id\": 3, \"text\": \"three\"}\n]\n", 1),
        (b"{\n\"id\": 1,\n\"text\": \"one\"\n}\n{\n\"id\": 2,\n{\n\"id\": 3,\n\"text\": \"three\"\n}\n", 1),
        (b"[{\"id\": 1, \"text\": \"one\"},\n{\"id\": 3, \"text\": \"three\"}", 1),
        (b"[{\"id\": 1, \"text\": \"one\"}]\n[{\"id\": 3, \"text\": \"three\"}] and more", 1),
    ];
    for (content, bad) in broken {
        scratch.write("in.jsonl", content);
        let ran = scratch
            .djr(&["run", "r.yaml", "-q", "--max-quarantine", "none"])
            .expect(1);
        let kept = ids(&scratch.read("o.jsonl"));
        assert!(kept.contains(&1), "{}", ran.stderr);
        let aside: Vec<_> = fs::read_dir(scratch.path("."))
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().join("quarantine.jsonl").exists())
            .collect();
        assert_eq!(aside.len(), 1);
        let quarantine = fs::read(aside[0].path().join("quarantine.jsonl")).unwrap();
        assert_eq!(
            rows(&quarantine).len(),
            bad,
            "{}",
            String::from_utf8_lossy(content)
        );
        let subset = scratch.djr(&["subset", "--n", "9", "in.jsonl"]).expect(1);
        assert_eq!(ids(&subset.stdout), kept);
    }
}

#[test]
fn words_of_python_for_floats_pass_through() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let content = "{\"id\": 1, \"text\": \"one\", \"clip\": NaN}\n\
        {\"id\": 2, \"text\": \"two\", \"clip\" : [-Infinity, {\"x\":Infinity}]}\n\
        {\"id\": 3, \"text\": \"NaN\", \"clip\": 1e999}\n\
        {\"id\": 4, \"text\": \"four\", \"clip\": 0.5}\n";
    scratch.write("in.jsonl", content);
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    assert_eq!(scratch.read("o.jsonl"), content.as_bytes());
    // An edit of another field leaves the bytes as they are.
    scratch.write(
        "edit.yaml",
        "dataset_path: in.jsonl\nexport_path: e.jsonl\nprocess: [remove_specific_chars_mapper: {chars_to_remove: o}]\n",
    );
    scratch.djr(&["run", "edit.yaml", "-q"]).expect(0);
    let edited = content
        .replace("one", "ne")
        .replace("two", "tw")
        .replace("four", "fur");
    assert_eq!(String::from_utf8(scratch.read("e.jsonl")).unwrap(), edited);
    // Who asks for the value gets the float.
    for (filter, kept) in [
        (
            "specified_numeric_field_filter: {field_key: clip, min_value: 0.1, max_value: 1}",
            &[4][..],
        ),
        (
            "specified_numeric_field_filter: {field_key: clip, min_value: 0.1, max_value: null}",
            &[3, 4],
        ),
        (
            "general_field_filter: {filter_condition: 'id != 2 and clip > 0.1'}",
            &[3, 4],
        ),
        (
            "general_field_filter: {filter_condition: 'id != 2 and not clip > 0.1'}",
            &[1],
        ),
    ] {
        let recipe = format!(
            "dataset_path: few.jsonl\nexport_path: f.jsonl\nmax_quarantine: none\nprocess: [{filter}]\n"
        );
        scratch.write("few.yaml", recipe);
        let few: Vec<&str> = content
            .lines()
            .filter(|line| !line.contains("\"id\": 2"))
            .collect();
        scratch.write("few.jsonl", few.join("\n"));
        scratch.djr(&["run", "few.yaml", "-q"]).expect(0);
        let out = String::from_utf8(scratch.read("f.jsonl")).unwrap();
        let found: Vec<i64> = kept.to_vec();
        for id in 1..=4 {
            assert_eq!(
                out.contains(&format!("\"id\": {id},")),
                found.contains(&id),
                "{filter}: {out}"
            );
        }
    }
    let record = "[{\"id\": \"a\", \"score\": NaN, \"conversations\": [{\"from\": \"human\", \"value\": \"What?\"}, {\"from\": \"gpt\", \"value\": \"That.\"}]}]";
    let ran = scratch
        .djr_with(&["convert", "--to", "dj", "-q"], record.as_bytes())
        .expect(0);
    assert!(ran.text().contains("That."));
}

#[test]
fn words_that_are_no_whole_values_are_broken_json() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    for value in ["NaNs", "-NaN", "1NaN", "nan", "+Infinity", "Infinity NaN"] {
        scratch.write("in.jsonl", format!("{{\"text\": \"x\", \"v\": {value}}}\n"));
        scratch
            .djr(&["run", "r.yaml", "-q", "--max-quarantine", "none"])
            .expect(1);
    }
}

#[test]
fn a_missing_text_matters_only_to_who_asks_for_it() {
    let scratch = Scratch::new();
    let content = "{\"id\": 1, \"images\": [\"fixtures/dataset/images/00000/000257.jpg\"]}\n\
        {\"id\": 2, \"text\": null, \"images\": []}\n{\"id\": 3, \"text\": \"\"}\n";
    scratch.write("in.jsonl", content);
    for (process, kept, code) in [
        ("[]", &[1, 2, 3][..], 0),
        ("[image_deduplicator: {}]", &[1, 2, 3], 0),
        (
            "[specified_numeric_field_filter: {field_key: id, min_value: 2}]",
            &[2, 3],
            0,
        ),
        ("[text_length_filter: {min_len: 0}]", &[3], 1),
        ("[whitespace_normalization_mapper: {}]", &[3], 1),
    ] {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nexport_path: o.jsonl\npaths: keep\nmax_quarantine: none\nprocess: {process}\n"),
        );
        let ran = scratch.djr(&["run", "r.yaml", "-q"]);
        if process == "[]" && ran.code == 2 {
            // A recipe without steps is no recipe; the others show the same.
            continue;
        }
        let ran = ran.expect(code);
        assert_eq!(
            ids(&scratch.read("o.jsonl")),
            kept,
            "{process}: {}",
            ran.stderr
        );
    }
}

#[test]
fn paths_of_videos_and_audios_are_written_as_those_of_images() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("d/vid")).unwrap();
    fs::write(scratch.path("d/vid/a.mp4"), "x").unwrap();
    fs::write(
        scratch.path("d/in.jsonl"),
        "{\"id\": 1, \"text\": \"t\", \"videos\": [\"vid/a.mp4\", \"https://example.org/b.mp4\"], \"audios\": \"aud/./a.wav\"}\n\
         {\"id\": 2, \"text\": \"t\", \"videos\": null, \"audios\": [\"/abs/b.wav\"]}\n",
    )
    .unwrap();
    scratch.write(
        "r.yaml",
        "dataset_path: d/in.jsonl\nexport_path: out/o.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n",
    );
    let written = |options: &[&str]| {
        let ran = scratch
            .djr(&[&["run", "r.yaml", "-q"][..], options].concat())
            .expect(0);
        assert!(ran.stderr.is_empty(), "{}", ran.stderr);
        scratch.rows("out/o.jsonl")
    };
    let at = |name: &str| {
        scratch
            .path(name)
            .canonicalize()
            .unwrap_or_else(|_| scratch.path(name))
    };
    let found = written(&[]);
    let video = at("d/vid/a.mp4");
    assert!(
        found[0]["videos"][0]
            .as_str()
            .unwrap()
            .ends_with("/d/vid/a.mp4")
    );
    assert_eq!(
        found[0]["videos"][0]
            .as_str()
            .map(std::path::Path::new)
            .unwrap()
            .file_name(),
        video.file_name()
    );
    assert_eq!(found[0]["videos"][1], "https://example.org/b.mp4");
    assert!(
        found[0]["audios"]
            .as_str()
            .unwrap()
            .ends_with("/d/aud/a.wav")
    );
    assert_eq!(found[1]["videos"], json!(null));
    assert_eq!(found[1]["audios"], json!(["/abs/b.wav"]));
    let found = written(&["--set", "paths=relative"]);
    assert_eq!(found[0]["videos"][0], "../d/vid/a.mp4");
    assert_eq!(found[0]["audios"], "../d/aud/a.wav");
    let found = written(&["--set", "paths=keep"]);
    assert_eq!(found[0]["audios"], "aud/./a.wav");
    let found = written(&["--set", "paths=relative", "--set", "video_key=clips"]);
    assert_eq!(found[0]["videos"][0], "vid/a.mp4");
    // A file that is not there fails the validation.
    let ran = scratch
        .djr(&[
            "run",
            "r.yaml",
            "-q",
            "--set",
            "validate=exists",
            "--max-quarantine",
            "none",
        ])
        .expect(1);
    assert_eq!(scratch.read("out/o.jsonl"), b"", "{}", ran.stderr);
}

#[test]
fn inputs_may_be_named_one_after_the_other() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    scratch.write("a.jsonl", &ROWS[..25]);
    scratch.write(
        "b.json",
        b"[{\"id\": 2, \"text\": \"two\"}, {\"id\": 3, \"text\": \"three\"}]",
    );
    let both = ["--input", "a.jsonl", "--input", "b.json"];
    scratch
        .djr(&[&["run", "r.yaml", "-q"][..], &both].concat())
        .expect(0);
    assert_eq!(ids(&scratch.read("o.jsonl")), [1, 2, 3]);
    scratch
        .djr(&[&["check", "r.yaml", "-q"][..], &both].concat())
        .expect(0);
    let ran = scratch
        .djr(&[&["subset", "-q", "--n", "3"][..], &both].concat())
        .expect(0);
    assert_eq!(ids(&ran.stdout), [1, 2, 3]);
    scratch
        .djr(&[&["analyze", "-q", "-o", "look"][..], &both].concat())
        .expect(0);
    assert_eq!(scratch.json("look/analysis.json")["rows"]["in"], 3);
    let ran = scratch
        .djr(&[&["run", "r.yaml"][..], &both, &["--input", "-"]].concat())
        .expect(2);
    assert!(ran.stderr.contains("standard input"), "{}", ran.stderr);
}

#[test]
fn of_a_directory_only_rows_are_read() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("d/sub/.cache")).unwrap();
    for (name, content) in [
        ("d/b.jsonl", ROWS.to_vec()),
        (
            "d/sub/a.jsonl.bz2",
            bzip2(b"{\"id\": 4, \"text\": \"four\"}\n"),
        ),
        (
            "d/sub/part-00000",
            b"{\"id\": 5, \"text\": \"five\"}\n".to_vec(),
        ),
        ("d/sub/LICENSE", b"Copyright\n".to_vec()),
        ("d/.hidden.jsonl", b"{\"id\": 90}\n".to_vec()),
        ("d/_SUCCESS", Vec::new()),
        ("d/sub/.cache/x.jsonl", b"{\"id\": 91}\n".to_vec()),
        ("d/table.orc", b"ORC".to_vec()),
        ("d/README.md", b"# Rows\n".to_vec()),
        // What tells of other files.
        (
            "d/dataset_info.json",
            b"{\"rows\": {\"file_name\": \"b.jsonl\"}}\n".to_vec(),
        ),
        (
            "d/index.json",
            b"{\"__kind__\": \"wids-shard-index-v1\", \"shardlist\": []}\n".to_vec(),
        ),
        (
            "d/bench.index.json",
            b"{\"djr_index\":1,\"method\":\"\",\"entries\":[]}\n".to_vec(),
        ),
    ] {
        fs::write(scratch.path(name), content).unwrap();
    }
    scratch.write(
        "r.yaml",
        "dataset_path: d\nexport_path: d/clean.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n",
    );
    std::os::unix::fs::symlink("gone.jsonl", scratch.path("d/dangling.jsonl")).unwrap();
    std::os::unix::fs::symlink(".", scratch.path("d/circle")).unwrap();
    let socket = scratch.path("d/socket.jsonl");
    let _socket = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let ran = scratch.djr(&["run", "r.yaml"]).expect(0);
    assert_eq!(ids(&scratch.read("d/clean.jsonl")), [1, 2, 3, 4, 5]);
    for told in [
        "3 files about other files (bench.index.json, dataset_info.json, index.json)",
        "3 files of formats",
        "2 hidden files",
        "3 links, FIFOs or the like that lead to no file",
    ] {
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    // Who looks for inputs knows what the manifest lists, whatever version wrote it.
    let run = PastRun::open(&scratch.path("d/clean.jsonl")).unwrap();
    let listed = run.manifest.files().map(|file| file.path.clone());
    let listed: HashSet<PathBuf> = listed.map(|path| path.canonicalize().unwrap()).collect();
    assert_eq!(djr::layout::written(&scratch.path("d")), listed);
    let outputs = HashSet::from([scratch.path("d/clean.jsonl").canonicalize().unwrap()]);
    let records: HashSet<PathBuf> = listed.difference(&outputs).cloned().collect();
    assert_eq!(djr::layout::records(&scratch.path("d")), records);
    // What that run wrote is no input of the next one, wherever both were moved.
    let again = |dir: &str| {
        let ran = scratch
            .djr(&["run", "r.yaml", "--input", dir, "--output", "other.jsonl"])
            .expect(0);
        assert_eq!(ids(&scratch.read("other.jsonl")), [1, 2, 3, 4, 5]);
        assert!(
            ran.stderr
                .contains("that an earlier run wrote (clean.jsonl"),
            "{}",
            ran.stderr
        );
    };
    again("d");
    fs::rename(scratch.path("d"), scratch.path("moved")).unwrap();
    again("moved");
    // A file of the user's own beside it is read.
    fs::write(
        scratch.path("moved/other.jsonl"),
        b"{\"id\": 6, \"text\": \"six\"}\n",
    )
    .unwrap();
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "-q",
            "--input",
            "moved",
            "--output",
            "third.jsonl",
        ])
        .expect(0);
    assert_eq!(ids(&scratch.read("third.jsonl")), [1, 2, 3, 6, 4, 5]);
    // Nothing is passed over: no note.
    fs::create_dir(scratch.path("plain")).unwrap();
    fs::write(scratch.path("plain/a.jsonl"), ROWS).unwrap();
    let ran = scratch
        .djr(&["run", "r.yaml", "--input", "plain", "--output", "p.jsonl"])
        .expect(0);
    assert!(!ran.stderr.contains("not read"), "{}", ran.stderr);
}

#[test]
fn names_that_are_no_text_are_taken_as_they_are() {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let name =
        |stem: &[u8], end: &str| OsString::from_vec([stem, b"\xFF", end.as_bytes()].concat());
    let dir = scratch.path("x").with_file_name(name(b"dir", ""));
    fs::create_dir(&dir).unwrap();
    let input = dir.join(name(b"in", ".jsonl"));
    fs::write(&input, ROWS).unwrap();
    let other = scratch.path("x").with_file_name("dir\u{FFFD}");
    fs::create_dir(&other).unwrap();
    let args: Vec<OsString> = ["run", "r.yaml", "-q", "--output", "o.jsonl", "--input"]
        .map(Into::into)
        .into();
    for path in [&input, &dir] {
        let args = [&args[..], &[path.clone().into_os_string()]].concat();
        scratch.djr(&args).expect(0);
        assert_eq!(ids(&scratch.read("o.jsonl")), [1, 2, 3]);
    }
    let args: Vec<OsString> = ["subset", "-q", "--n", "3"].map(Into::into).into();
    let ran = scratch
        .djr(&[&args[..], &[input.into_os_string()]].concat())
        .expect(0);
    assert_eq!(ids(&ran.stdout), [1, 2, 3]);
    // A path that JSON cannot hold is refused, and never another one.
    let images = dir.join("images.jsonl");
    fs::write(
        &images,
        "{\"id\": 1, \"text\": \"t\", \"images\": [\"a.png\"], \"videos\": [\"b.mp4\"]}\n",
    )
    .unwrap();
    for (style, code, kept) in [("paths=absolute", 1, &[][..]), ("paths=keep", 0, &[1])] {
        let options = [
            "run",
            "r.yaml",
            "-q",
            "--max-quarantine",
            "none",
            "--set",
            style,
        ];
        let mut args: Vec<OsString> = options.map(Into::into).into();
        args.extend(["--output".into(), "i.jsonl".into(), "--input".into()]);
        args.push(images.clone().into_os_string());
        scratch.djr(&args).expect(code);
        assert_eq!(ids(&scratch.read("i.jsonl")), kept);
    }
    assert_eq!(fs::read_dir(other).unwrap().count(), 0);
}

#[test]
fn a_program_can_hand_rows_in() {
    let scratch = Scratch::new();
    let given: Vec<Vec<u8>> = ROWS
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let options = LoadOptions {
        input: Some(Inputs::Given(GivenRows::new("memory", given))),
        output: Some(Target::File(scratch.path("o.jsonl"))),
        ..LoadOptions::new(scratch.path(""))
    };
    let source = RecipeSource::Text {
        name: "r".into(),
        text: "process: [text_length_filter: {min_len: 4}]\n".into(),
    };
    let recipe = djr::recipe::load(&source, &options).unwrap();
    let options = RunOptions {
        working_dir: scratch.path(""),
        ..RunOptions::default()
    };
    let outcome = djr::exec::run(&recipe, &options, &mut ()).unwrap();
    assert_eq!(outcome.report.rows_in, 3);
    assert_eq!(ids(&scratch.read("o.jsonl")), [3]);
}

#[test]
fn very_long_rows_take_little_more_memory_than_two_or_three_of_them() {
    const LONG: usize = 50_000_000;
    // Sixteen of them are what rows may be read whole in.
    const BUDGET: u64 = 16 * (LONG as u64 + 100);
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    let mut content = Vec::new();
    for id in 1..=3 {
        content.extend_from_slice(format!("{{\"id\": {id}, \"text\": \"").as_bytes());
        content.resize(content.len() + LONG, b'x');
        content.extend_from_slice(b"\"}\n");
        content.extend_from_slice(ROWS);
    }
    scratch.write("in.jsonl", &content);
    let budget = BUDGET.to_string();
    for (threads, budget, code) in [
        ("1", "64MB", 1),
        ("4", "64MB", 1),
        ("1", &*budget, 0),
        ("4", &*budget, 0),
    ] {
        let run = ["run", "r.yaml", "-q", "--max-quarantine", "none"];
        let more = ["--threads", threads, "--max-memory", budget];
        scratch.djr(&[&run[..], &more].concat()).expect(code);
        if code == 0 {
            assert!(scratch.read("o.jsonl") == content);
        } else {
            assert_eq!(scratch.read("o.jsonl"), ROWS.repeat(3));
        }
        let peak = scratch
            .files(".")
            .into_iter()
            .find(|name| name.ends_with("manifest.json"));
        let peak = scratch.json(&peak.unwrap())["peak_memory_bytes"]
            .as_u64()
            .unwrap();
        // Where they are set aside, two of them; where they are read whole, not all of what is allowed.
        let rows = if code == 0 { 3 } else { 2 };
        assert!(
            peak < (64_000_000 + rows * LONG) as u64,
            "{threads} threads: {peak}"
        );
    }
}

/// The types of pandas for who asks for them, found over the whole file, packed or not.
#[test]
fn cells_get_types_on_request() {
    let scratch = Scratch::new();
    let mut table = "text,id,score,flag,hole\n".to_owned();
    for n in 0..300 {
        let hole = if n == 7 { "" } else { "1" };
        writeln!(table, "row {n},{n:03},{n},True,{hole}").unwrap();
    }
    table += "NA,300,0.5,false,2\n";
    scratch.write("in.csv", &table);
    let packed = zstd::encode_all(table.as_bytes(), 1).unwrap();
    scratch.write("packed.csv.zst", packed);
    for input in ["in.csv", "packed.csv.zst"] {
        let recipe = format!(
            "dataset_path: {input}\ninput: {{csv: {{types: infer}}}}\nprocess: [text_length_filter: {{min_len: 1}}]\nexport_path: o.jsonl\n"
        );
        scratch.write("r.yaml", recipe);
        // The row without a text is set aside.
        scratch.djr(&["run", "r.yaml"]).expect(1);
        let rows = scratch.rows("o.jsonl");
        assert_eq!(rows.len(), 300);
        let row = json!({"text": "row 7", "id": 7, "score": 7.0, "flag": true, "hole": null});
        assert_eq!(rows[7], row);
        assert_eq!(rows[8]["hole"], json!(1.0));
    }
    scratch.write(
        "r.yaml",
        "dataset_path: in.csv\ninput: {csv: {types: all}}\nprocess: [text_length_filter: {}]\n",
    );
    let refused = scratch.djr(&["run", "r.yaml"]).expect(2);
    assert!(
        refused.stderr.contains("expected text or infer"),
        "{}",
        refused.stderr
    );
}

/// What Hugging Face's tools downloaded, by the name that it has on the hub.
#[test]
fn data_sets_of_the_hub_are_read_where_they_were_downloaded() {
    let scratch = Scratch::new();
    let snapshot = scratch.path("hub/datasets--org--set/snapshots/abc");
    fs::create_dir_all(snapshot.join("data")).unwrap();
    fs::create_dir_all(scratch.path("hub/datasets--org--set/refs")).unwrap();
    scratch.write("hub/datasets--org--set/refs/main", "abc");
    // As in the cache: names are links to what they hold.
    for (name, text) in [("train-0", "one"), ("train-1", "two"), ("test-0", "three")] {
        let blob = scratch.write(
            &format!("hub/{name}"),
            format!("{{\"text\": \"{text}\"}}\n"),
        );
        std::os::unix::fs::symlink(blob, snapshot.join(format!("data/{name}.jsonl"))).unwrap();
    }
    scratch.write("r.yaml", "process: [text_length_filter: {min_len: 1}]\n");
    let run = |input: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_djr"))
            .args(["run", "r.yaml", "--input", input, "-o", "o.jsonl"])
            .current_dir(scratch.path(""))
            .env("HF_HUB_CACHE", scratch.path("hub"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for (input, texts) in [
        ("hf://datasets/org/set", &["one", "two"][..]),
        ("hf://datasets/org/set@abc/data/test-0.jsonl", &["three"]),
        ("hf://datasets/org/set/data/*-0.jsonl", &["three", "one"]),
    ] {
        let (code, stderr) = run(input);
        assert_eq!(code, Some(0), "{stderr}");
        let rows = scratch.rows("o.jsonl");
        let found: Vec<&str> = rows
            .iter()
            .map(|row| row["text"].as_str().unwrap())
            .collect();
        assert_eq!(found, texts, "{input}");
        assert_eq!(
            stderr.contains("of other splits"),
            texts.len() == 2 && texts[0] == "one"
        );
    }
    for (input, says) in [
        ("hf://models/org/set", "hf://datasets/ORG/NAME"),
        ("hf://datasets/org/set/none.csv", "no file of the data set"),
        ("hdfs://bucket/x.jsonl", "djr knows URLs that begin with"),
    ] {
        let (code, stderr) = run(input);
        assert_eq!(code, Some(2), "{input}");
        assert!(stderr.contains(says), "{stderr}");
    }
}

/// The rows that Data-Juicer 1.6.1 draws of a mixture, in the order of the files.
#[test]
fn mixtures_have_the_rows_that_the_peer_draws() {
    let scratch = Scratch::new();
    for (name, count) in [("a", 30), ("b", 17)] {
        let rows: Vec<String> = (0..count)
            .map(|n| format!("{{\"text\": \"{name}{n}\"}}\n"))
            .collect();
        scratch.write(&format!("{name}.jsonl"), rows.concat());
    }
    let mixture = |most: u32| {
        format!(
            "dataset:
  configs:
    - {{type: local, path: a.jsonl, weight: 2}}
    - {{type: local, path: b.jsonl}}
  max_sample_num: {most}
process: [text_length_filter: {{min_len: 1}}]
export_path: o.jsonl
"
        )
    };
    scratch.write("r.yaml", mixture(11));
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let rows = scratch.rows("o.jsonl");
    let found: Vec<&str> = rows
        .iter()
        .map(|row| row["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        found,
        [
            "a5", "a7", "a16", "a21", "a22", "a24", "a25", "a29", "b11", "b12", "b16"
        ]
    );
    let why = scratch.djr(&["why", "o.jsonl", "b.jsonl:12"]).expect(0);
    assert!(why.text().contains("b.jsonl:12"), "{}", why.text());
    // A row is what it is, however many are drawn with it.
    scratch.write("r.yaml", mixture(45));
    scratch.djr(&["run", "r.yaml", "-o", "all.jsonl"]).expect(0);
    assert_eq!(scratch.rows("all.jsonl").len(), 45);
    scratch.write("r.yaml", mixture(60));
    let refused = scratch.djr(&["run", "r.yaml"]).expect(2);
    assert!(
        refused
            .stderr
            .contains("has 30, which Data-Juicer would repeat"),
        "{}",
        refused.stderr
    );
    scratch.write("r.yaml", mixture(11).replace("weight: 2", "weight: -1"));
    let refused = scratch.djr(&["check", "r.yaml"]).expect(2);
    assert!(
        refused.stderr.contains("expected a number from 0"),
        "{}",
        refused.stderr
    );
}

/// The cache itself: names of a revision lead to contents that lie beside them, which are read once.
#[test]
fn a_directory_of_the_hubs_cache_is_its_data_sets() {
    let scratch = Scratch::new();
    let set = "hub/datasets--org--set";
    for (commit, text) in [("old", "before"), ("new", "now")] {
        let blob = scratch.write(
            &format!("{set}/blobs/{commit}0123"),
            format!("{{\"text\": \"{text}\"}}\n"),
        );
        let folder = scratch.path(&format!("{set}/snapshots/{commit}/data"));
        fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(blob, folder.join("rows.jsonl")).unwrap();
    }
    scratch.write("r.yaml", "process: [text_length_filter: {min_len: 1}]\n");
    let texts = |input: &str| {
        scratch
            .djr(&["run", "r.yaml", "--input", input, "-o", "o.jsonl"])
            .expect(0);
        let rows = scratch.rows("o.jsonl");
        rows.iter()
            .map(|row| row["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let run = ["run", "r.yaml", "--input", "hub", "-o", "o.jsonl"];
    let refused = scratch.djr(&run).expect(2);
    assert!(
        refused.stderr.contains("several revisions"),
        "{}",
        refused.stderr
    );
    fs::create_dir_all(scratch.path(&format!("{set}/refs"))).unwrap();
    scratch.write(&format!("{set}/refs/main"), "new\n");
    assert_eq!(texts("hub"), ["now"]);
    assert_eq!(texts(set), ["now"]);
    assert_eq!(texts(&format!("{set}/snapshots/old")), ["before"]);
    fs::remove_dir_all(scratch.path(&format!("{set}/snapshots/old"))).unwrap();
    fs::remove_dir_all(scratch.path(&format!("{set}/refs"))).unwrap();
    assert_eq!(texts("hub"), ["now"]);
}

#[test]
fn files_of_a_directory_come_in_the_order_of_the_bytes_of_their_paths() {
    let scratch = Scratch::new();
    let names = [
        "d/a-1.jsonl",
        "d/a.jsonl",
        "d/a/b.jsonl",
        "d/a0.jsonl",
        "d/é.jsonl",
    ];
    for name in names.iter().rev() {
        scratch.write(name, format!("{{\"text\": \"{name}\"}}\n"));
    }
    for input in ["d", "d/**/*.jsonl"] {
        let args = ["convert", "--to", "jsonl", input, "-o", "o.jsonl"];
        scratch.djr(&args).expect(0);
        let rows = scratch.rows("o.jsonl");
        let found: Vec<&str> = rows
            .iter()
            .map(|row| row["text"].as_str().unwrap())
            .collect();
        assert_eq!(found, names, "{input}");
    }
}

#[test]
fn a_pattern_gives_what_a_directory_would() {
    let scratch = Scratch::new();
    scratch.write("d/a.jsonl", "{\"text\": \"a\"}\n");
    scratch.write("d/b.jsonl", "{\"text\": \"b\"}\n");
    scratch.write(
        "d/dataset_info.json",
        "{\"a\": {\"file_name\": \"a.jsonl\"}}\n",
    );
    scratch.write("d/notes.txt", "not a row\n");
    let read = |input: &str| {
        let args = [
            "convert", "--to", "jsonl", input, "-o", "o.jsonl", "--force",
        ];
        let said = scratch.djr(&args).expect(0).stderr;
        let rows = scratch.rows("o.jsonl");
        let texts: Vec<String> = rows
            .iter()
            .map(|row| row["text"].as_str().unwrap().to_owned())
            .collect();
        (texts.concat(), said)
    };
    expect_no_note(Code::FilesPassedOver, &read("d/*.jsonl").1);
    let run = [
        "convert",
        "--to",
        "jsonl",
        "d/*.jsonl",
        "-o",
        "d/clean.jsonl",
    ];
    scratch.djr(&run).expect(0);
    // The same command once more reads what it read before, and not what it wrote.
    let ran = scratch.djr(&run).expect(0);
    expect_note(Code::FilesPassedOver, &ran.stderr);
    assert_eq!(scratch.rows("d/clean.jsonl").len(), 2);
    scratch
        .djr(&["analyze", "d/a.jsonl", "-o", "d/look", "-q"])
        .expect(0);
    for (input, passed) in [
        (
            "d/*.jsonl",
            "1 file that an earlier run wrote (clean.jsonl)",
        ),
        (
            "d/*",
            "1 file that an earlier run wrote (clean.jsonl), 1 file about other files (dataset_info.json), 1 file of formats that djr does not read",
        ),
        (
            "d/**/*l",
            "2 files that an earlier run wrote (clean.jsonl, stats.jsonl)",
        ),
    ] {
        let (texts, said) = read(input);
        assert_eq!(texts, "ab", "{input}: {said}");
        let note = format!("not read of {input}: {passed} [files_passed_over]");
        assert!(said.contains(&note), "{note} is not in\n{said}");
    }
    // Where nothing else matches, and where braces name each file, that is what is meant.
    for input in ["d/cl*.jsonl", "d/{clean}.jsonl", "d/clean.jsonl"] {
        let (texts, said) = read(input);
        assert_eq!(texts, "ab", "{input}");
        expect_no_note(Code::FilesPassedOver, &said);
    }
    assert_eq!(read("d/{a,clean}.jsonl").0, "aab");
}

#[test]
fn splits_that_are_read_together_are_told() {
    let scratch = Scratch::new();
    for name in [
        "set/data/train-00000-of-00002.jsonl",
        "set/data/train-00001-of-00002.jsonl",
        "set/data/test-00000-of-00001-0123456789abcdef.jsonl",
        "own/train-me.jsonl",
        "own/test-me.jsonl",
    ] {
        scratch.write(name, format!("{{\"text\": \"{name}\"}}\n"));
    }
    let notes = |input: &str| {
        let args = ["convert", "--to", "jsonl", input, "-o", "o.jsonl"];
        scratch.djr(&args).expect(0).stderr
    };
    let note = "files of the splits train, test in set are read together";
    let told = notes("set");
    expect_note(Code::SplitsTogether, &told);
    assert!(told.contains(note), "{told}");
    for input in ["set/data/train-*", "own"] {
        expect_no_note(Code::SplitsTogether, &notes(input));
    }
}
