//! Files that operators make: which rows leave them, where, and that nothing else does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Ran, Scratch};

const PICTURES: [&str; 4] = ["scene.jpg", "exif6.jpg", "noise_17x33.png", "grey.jpg"];

/// Pictures in `pics/`, and rows of which some are dropped, some fail and some are duplicates.
pub fn scene(rows: usize) -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("pics/deep")).unwrap();
    for name in PICTURES {
        let picture = scratch.read(&format!("fixtures/golden/_images/{name}"));
        scratch.write(&format!("pics/{name}"), &picture);
        scratch.write(&format!("pics/deep/{name}"), &picture);
    }
    let picture = |at: usize| format!("pics/{}", PICTURES[at % 4]);
    let mut lines = String::new();
    for at in 0..rows {
        let images = match at % 7 {
            0 => json!([]),
            1 => json!([picture(at), picture(at + 1), picture(at)]),
            2 => json!(picture(at)),
            3 => json!(["pics/none.jpg"]),
            _ => json!([format!("./pics/deep/../deep/{}", PICTURES[at % 4])]),
        };
        let text = match at % 5 {
            0 => "short".to_owned(),
            1 => format!("said twice, {}", at / 20),
            _ => (1..9).fold(String::new(), |text, n| {
                text + &(at * n * 17).to_string() + " "
            }),
        };
        let row = json!({"id": at, "text": text, "images": images});
        let _ = writeln!(lines, "{row}");
    }
    scratch.write("rows.jsonl", lines);
    scratch
}

/// Blurs before rows are dropped by a filter and as duplicates.
const STREAM: &str = "\
dataset_path: rows.jsonl
export_path: out/o.jsonl
max_quarantine: none
process:
  - image_blur_mapper: {p: 0.5}
  - text_length_filter: {min_len: 8}
  - document_deduplicator:
";

/// The same before a barrier, and once more behind it.
pub const BARRIER: &str = "\
dataset_path: rows.jsonl
max_quarantine: none
process:
  - text_length_filter: {min_len: 8}
  - image_blur_mapper: {p: 0.5}
  - image_size_filter: {min_size: '0'}
  - document_minhash_deduplicator: {num_permutations: 32}
  - image_blur_mapper: {p: 0.5, blur_type: box, radius: 1.5}
  - text_length_filter: {max_len: 40}
outputs:
  - {format: jsonl, path: out/o.jsonl, paths: keep}
  - {format: jsonl, path: out/sample.jsonl, sample: 7, validate: decode, paths: keep}
";

fn run(scratch: &Scratch, recipe: &str, more: &[&str]) -> Ran {
    scratch.write("r.yaml", recipe);
    scratch.djr(&[&["run", "r.yaml", "-q"], more].concat())
}

/// The files that operators made below `name`, with their contents.
pub fn made(scratch: &Scratch, name: &str) -> BTreeMap<String, Vec<u8>> {
    let files = scratch.files(name).into_iter();
    let made = files.filter(|file| file.contains("__dj_hash_#"));
    made.map(|file| (file.clone(), scratch.read(&format!("{name}/{file}"))))
        .collect()
}

/// All paths that a row names.
fn named(row: &Value, field: &str) -> Vec<String> {
    match &row[field] {
        Value::String(path) => vec![path.clone()],
        Value::Array(paths) => paths
            .iter()
            .map(|path| path.as_str().unwrap().into())
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn files_are_those_that_written_rows_name() {
    let scratch = scene(140);
    run(&scratch, STREAM, &[]).expect(1);
    let made = made(&scratch, "pics");
    let mut seen = Vec::new();
    for row in scratch.rows("out/o.jsonl") {
        let (images, sources) = (named(&row, "images"), named(&row, "__dj__source_file__"));
        assert_eq!(images.len(), sources.len(), "{row}");
        for (image, source) in images.iter().zip(&sources) {
            let file = image.split("pics/").last().unwrap();
            if image == source {
                assert!(!made.contains_key(file));
                continue;
            }
            assert!(image.starts_with('/') && made.contains_key(file), "{image}");
            let (stem, extension) = source.rsplit_once('.').unwrap();
            let stem = stem.rsplit('/').next().unwrap();
            let name = image.rsplit('/').next().unwrap();
            assert!(name.starts_with(&format!("{stem}__dj_hash_#")), "{image}");
            assert!(name.ends_with(&format!("#.{extension}")), "{image}");
            seen.push(file.to_owned());
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, made.keys().cloned().collect::<Vec<_>>());
    assert!(seen.len() > 20, "{}", seen.len());
    let manifest = scratch.json("out/o.jsonl.djr/manifest.json");
    let bytes: usize = made.values().map(Vec::len).sum();
    let produced = json!({"files": made.len(), "bytes": bytes});
    assert_eq!(manifest["produced"], produced);
    assert_eq!(manifest["rows"]["conserved"], true);
    // Rows of each fate had images that were drawn.
    assert!(
        manifest["steps"][0]["changed"].as_u64().unwrap()
            > manifest["rows"]["out"].as_u64().unwrap()
    );
    for (step, dropped) in [(1, 20), (2, 10)] {
        assert!(
            manifest["steps"][step]["dropped"].as_u64().unwrap() >= dropped,
            "{manifest}"
        );
    }
    assert_eq!(manifest["reasons"][0]["code"], "image_missing");
    scratch.djr(&["verify", "out/o.jsonl.djr"]).expect(0);
}

#[test]
fn threads_and_batches_make_the_same_files() {
    let outcome = |recipe: &str, more: &[&str]| {
        let scratch = scene(140);
        run(&scratch, recipe, more).expect(1);
        let text = String::from_utf8(scratch.read("out/o.jsonl")).unwrap();
        let text = text.replace(scratch.path("").to_str().unwrap(), "");
        let manifest = scratch.json("out/o.jsonl.djr/manifest.json");
        (text, made(&scratch, "pics"), manifest["produced"].clone())
    };
    for recipe in [STREAM, BARRIER] {
        let one = outcome(recipe, &["--threads", "1", "--batch-rows", "1000"]);
        assert!(one.1.len() > 20);
        for more in [
            ["--threads", "8", "--batch-rows", "1"],
            ["--threads", "3", "--batch-rows", "7"],
        ] {
            assert!(outcome(recipe, &more) == one, "{more:?}");
        }
        let other = outcome(recipe, &["--set", "seed=7"]);
        assert!(other.1.keys().ne(one.1.keys()));
    }
}

#[test]
fn behind_a_barrier_images_are_read_from_their_files() {
    let scratch = scene(140);
    run(&scratch, BARRIER, &[]).expect(1);
    let made = made(&scratch, "pics");
    let twice = scratch.rows("out/o.jsonl").into_iter().filter(|row| {
        let sources = named(row, "__dj__source_file__");
        sources.iter().any(|source| source.contains("__dj_hash_#"))
    });
    assert!(twice.count() > 3);
    for row in scratch.rows("out/o.jsonl") {
        for image in named(&row, "images").iter().filter(|i| i.contains("__dj_")) {
            assert_eq!(image.matches("__dj__produced_data__").count(), 1, "{image}");
            assert_eq!(image.matches("__dj_hash_#").count(), 1, "{image}");
            let file = image.trim_start_matches("./").trim_start_matches("pics/");
            let file = file.replace("deep/../", "");
            assert!(made.contains_key(&file), "{image}");
        }
    }
    assert_eq!(scratch.rows("out/sample.jsonl").len(), 7);
}

#[test]
fn looking_writes_nothing() {
    let scratch = scene(70);
    scratch.write("r.yaml", STREAM);
    scratch.djr(&["check", "r.yaml"]).expect(0);
    scratch
        .djr(&["run", "r.yaml", "--explain", "--probe", "70"])
        .expect(0);
    let stats = "dataset_path: rows.jsonl\nprocess:\n  - image_blur_mapper: {p: 1}\n  - text_length_filter: {min_len: 8}\n";
    scratch.write("stats.yaml", stats);
    let analyzed = scratch.djr(&["analyze", "--recipe", "stats.yaml", "-o", "look", "-q"]);
    assert!([0, 1].contains(&analyzed.code), "{}", analyzed.stderr);
    assert_eq!(made(&scratch, "pics"), BTreeMap::new());

    run(&scratch, STREAM, &[]).expect(1);
    let before = made(&scratch, "pics");
    let set = "text_length_filter.min_len=2";
    let args = [
        "recut",
        "out/o.jsonl.djr",
        "--set",
        set,
        "-o",
        "recut.jsonl",
        "-q",
    ];
    let refused = scratch.djr(&args).expect(2);
    assert!(
        refused.stderr.contains("image_blur_mapper"),
        "{}",
        refused.stderr
    );
    assert_eq!(made(&scratch, "pics"), before);
}

#[test]
fn paths_are_written_in_the_style_of_the_output() {
    let scratch = scene(40);
    let recipe = "\
dataset_path: rows.jsonl
max_quarantine: none
process:
  - image_blur_mapper: {p: 1, save_dir: made/here}
outputs:
  - {path: out/keep.jsonl, paths: keep}
  - {path: out/relative.jsonl, paths: relative}
";
    run(&scratch, recipe, &[]).expect(1);
    let here = fs::canonicalize(scratch.path("made/here")).unwrap();
    let mut count = 0;
    for (kept, relative) in scratch
        .rows("out/keep.jsonl")
        .iter()
        .zip(scratch.rows("out/relative.jsonl"))
    {
        for field in ["images", "__dj__source_file__"] {
            for (kept, relative) in named(kept, field).iter().zip(named(&relative, field)) {
                let lies = fs::canonicalize(scratch.path("out").join(&relative)).unwrap();
                assert_eq!(lies, fs::canonicalize(scratch.path("").join(kept)).unwrap());
                assert_eq!(lies.starts_with(&here), field == "images", "{relative}");
                count += 1;
            }
        }
    }
    assert!(count > 50);
    assert_eq!(made(&scratch, "pics"), BTreeMap::new());
}

#[test]
fn a_file_that_cannot_be_written_ends_the_run() {
    let scratch = scene(40);
    let recipe = STREAM.replace("{p: 0.5}", "{p: 0.5, save_dir: rows.jsonl/x}");
    let failed = run(&scratch, &recipe, &[]).expect(3);
    assert!(failed.stderr.contains("rows.jsonl/x/"), "{}", failed.stderr);
    assert!(!scratch.path("out/o.jsonl").exists());
}

#[test]
fn a_confined_run_makes_nothing_outside_of_its_root() {
    let scratch = Scratch::new();
    let picture = scratch.read("fixtures/golden/_images/scene.jpg");
    for name in ["root/a", "root/b", "root/c", "outside"] {
        fs::create_dir_all(scratch.path(name)).unwrap();
        scratch.write(&format!("{name}/x.jpg"), &picture);
    }
    symlink(
        "../../outside",
        scratch.path("root/b/__dj__produced_data__"),
    )
    .unwrap();
    symlink(scratch.path("root/a/x.jpg"), scratch.path("root/link.jpg")).unwrap();
    symlink("../nowhere", scratch.path("root/c/__dj__produced_data__")).unwrap();
    let rows = [
        "a/x.jpg",
        "b/x.jpg",
        "c/x.jpg",
        "link.jpg",
        "../outside/x.jpg",
    ];
    let rows: String = rows
        .map(|path| format!("{}\n", json!({"id": path, "text": "t", "images": [path]})))
        .concat();
    scratch.write("rows.jsonl", rows);
    let recipe = |more: &str| {
        format!(
            "dataset_path: rows.jsonl\nexport_path: out/o.jsonl\nimage_root: root\nconfine: true\n\
             max_quarantine: none\nprocess: [image_blur_mapper: {{p: 1{more}}}]\n"
        )
    };
    run(&scratch, &recipe(""), &[]).expect(1);
    let ids = |name: &str, key: &str| -> Vec<String> {
        let rows = scratch.rows(name).into_iter();
        rows.map(|row| row[key].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("out/o.jsonl", "id"), ["a/x.jpg", "link.jpg"]);
    let codes = ids("out/o.jsonl.djr/quarantine.jsonl", "code");
    assert_eq!(codes[0], "image_outside_root");
    assert_eq!(codes[2], "image_outside_root");
    assert_eq!(scratch.files("outside"), ["x.jpg"]);
    assert!(!scratch.path("nowhere").exists());
    assert_eq!(made(&scratch, "root").len(), 2);

    // A directory of its own must lie below the root too.
    run(&scratch, &recipe(", save_dir: elsewhere"), &["--restart"]).expect(1);
    assert!(!scratch.path("elsewhere").exists());
    assert_eq!(scratch.rows("out/o.jsonl").len(), 0);
    run(&scratch, &recipe(", save_dir: root/made"), &["--restart"]).expect(1);
    assert_eq!(made(&scratch, "root/made").len(), 4);
}

#[test]
fn names_that_grow_too_long_cost_their_row_only() {
    let scratch = Scratch::new();
    let picture = scratch.read("fixtures/golden/_images/noise_1x1.png");
    let long = format!("{}.png", "x".repeat(220));
    scratch.write(&long, &picture);
    let row = json!({"text": "t", "images": [long]});
    scratch.write("rows.jsonl", format!("{row}\n{{\"text\": \"t\"}}\n"));
    let recipe = STREAM
        .replace("{p: 0.5}", "{p: 1}")
        .replace("min_len: 8", "min_len: 1");
    run(&scratch, &recipe, &[]).expect(1);
    let aside = scratch.rows("out/o.jsonl.djr/quarantine.jsonl");
    assert_eq!(aside[0]["code"], "image_path_invalid");
    assert_eq!(scratch.rows("out/o.jsonl").len(), 1);
}
