//! Where outputs go and under which names, whichever command writes them, and how a run ends that
//! could not write them all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Scratch, root, rows};

const ROWS: &str = "{\"id\": 1, \"text\": \"a red kite\", \"x\": 1.50}\n{\"id\": 2, \"text\": \"two boats\"}\n{\"id\": 3, \"text\": \"no\"}\n";

const RECIPE: &str = "dataset_path: in.jsonl\nexport_path: out/o.jsonl\nprocess:\n  - text_length_filter: {min_len: 5}\n";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write("r.yaml", RECIPE);
    scratch.write("other.jsonl", ROWS);
    scratch
}

#[test]
fn every_command_refuses_the_same_names() {
    let scratch = scratch();
    let before = scratch.files("");
    let commands: &[&[&str]] = &[
        &["run", "r.yaml", "--output"],
        &["check", "r.yaml", "--output"],
        &["subset", "--n", "1", "in.jsonl", "-o"],
        &[
            "subset",
            "--n",
            "1",
            "--paths",
            "keep",
            "--validate",
            "exists",
            "in.jsonl",
            "-o",
        ],
        &["convert", "--to", "llava", "in.jsonl", "-o"],
        &["convert", "--to", "dj", "in.jsonl", "-o"],
        &["diff", "in.jsonl", "other.jsonl", "--output"],
    ];
    for (name, reason) in [
        ("out/a.feather", "feather"),
        ("out/a.csv", "csv"),
        ("a.jsonl.bz2", "not packed so"),
        ("a.json.XZ", "not packed so"),
        ("s3:///a.jsonl", "cannot write s3://"),
        ("newdir/", "is a directory"),
        ("fixtures", "is a directory"),
    ] {
        for command in commands {
            let mut line = command.to_vec();
            line.push(name);
            let ran = scratch.djr(&line).expect(2);
            assert!(ran.stderr.contains(reason), "{line:?}\n{}", ran.stderr);
            assert!(ran.stderr.contains("hint:"), "{line:?}\n{}", ran.stderr);
        }
    }
    // The recipe's own key says the same.
    for (path, reason) in [
        ("a.arrow", "djr does not export arrow"),
        ("a", "no suffix"),
        ("hdfs://a.jsonl", "djr knows URLs that begin with"),
    ] {
        scratch.write("bad.yaml", RECIPE.replace("out/o.jsonl", path));
        let key = scratch.djr(&["check", "bad.yaml"]).expect(2);
        let flag = scratch
            .djr(&["check", "r.yaml", "--output", path])
            .expect(2);
        for ran in [key, flag] {
            assert!(ran.stderr.contains(reason), "{path}\n{}", ran.stderr);
        }
    }
    std::fs::remove_file(scratch.path("bad.yaml")).unwrap();
    let page = ["report", "in.jsonl", "-o", "s3://b/page.html"];
    scratch.djr(&page).expect(2);
    scratch
        .djr(&["analyze", "in.jsonl", "-o", "gs://b/look"])
        .expect(2);
    assert_eq!(scratch.files(""), before, "nothing was written");
}

#[test]
fn a_conversion_is_named_by_its_format() {
    let scratch = scratch();
    for (to, name) in [("llava", "a.jsonl"), ("dj", "a.json"), ("jsonl", "a.json")] {
        let ran = scratch
            .djr(&["convert", "--to", to, "in.jsonl", "-o", name])
            .expect(2);
        assert!(ran.stderr.contains("let it end in ."), "{}", ran.stderr);
    }
    scratch
        .djr(&["convert", "--to", "json", "in.jsonl", "-o", "a.json"])
        .expect(0);
    let ran = scratch
        .djr(&["convert", "--to", "jsonl", "a.json"])
        .expect(0);
    assert_eq!(ran.text(), ROWS);
}

#[test]
fn options_are_refused_where_they_mean_nothing() {
    let scratch = scratch();
    for (option, values) in [
        ("--questions", &["in.jsonl"] as &[&str]),
        ("--images", &["list"]),
        ("--only-caption", &[]),
    ] {
        for to in ["llava", "dj", "jsonl"] {
            let out = if to == "llava" {
                "new/a.json"
            } else {
                "new/a.jsonl"
            };
            let mut line = vec!["convert", "--to", to, "in.jsonl", "-o", out, option];
            line.extend(values);
            let ran = scratch.djr(&line);
            let has_it = match option {
                "--only-caption" => to == "dj",
                _ => to == "llava",
            };
            let refused = ran.stderr.contains(&format!("{option} is for --to "));
            assert_eq!(refused, !has_it, "{line:?}\n{}", ran.stderr);
            assert!(has_it || ran.code == 2);
        }
    }
    for options in [
        &["--threads", "2"] as &[&str],
        &["--max-memory", "1GB"],
        &["--on-error", "drop"],
        &["--max-quarantine", "none"],
        &["--resume"],
        &["--restart"],
        &["--checkpoint-every", "1"],
        &["--run-dir", "zz"],
        &["--shuffle", "--sampler", "python"],
    ] {
        let mut line = vec!["subset", "--n", "1", "in.jsonl", "-o", "s.jsonl"];
        line.extend(options);
        let ran = scratch.djr(&line).expect(2);
        assert!(ran.stderr.contains(options[0]), "{line:?}\n{}", ran.stderr);
        assert!(!scratch.path("s.jsonl").exists() && !scratch.path("zz").exists());
    }
    // Where rows are read, they count.
    let line = [
        "subset",
        "--n",
        "1",
        "in.jsonl",
        "-o",
        "s.jsonl",
        "--run-dir",
        "zz",
        "--validate",
        "exists",
    ];
    scratch.djr(&line).expect(0);
    assert!(scratch.path("zz/manifest.json").exists());
}

#[test]
fn a_name_in_json_holds_one_array_of_rows() {
    let scratch = scratch();
    let line = [
        "run",
        "r.yaml",
        "--output",
        "out/o.json",
        "--set",
        "keep_stats_in_res_ds=false",
    ];
    scratch.djr(&line).expect(0);
    assert_eq!(
        String::from_utf8(scratch.read("out/o.json")).unwrap(),
        "[\n{\"id\": 1, \"text\": \"a red kite\", \"x\": 1.50},\n{\"id\": 2, \"text\": \"two boats\"}\n]\n"
    );
    // Data-Juicer's stats stand beside it, by its name without the suffix.
    assert_eq!(scratch.rows("out/o_stats.jsonl").len(), 2);
    scratch.djr(&["verify", "out/o.json"]).expect(0);
    // It is an input again, and an empty one is an array, too.
    scratch.write("again.yaml", "dataset_path: out/o.json\nexport_path: none.json\nprocess:\n  - text_length_filter: {min_len: 50}\n");
    scratch.djr(&["run", "again.yaml"]).expect(0);
    assert_eq!(scratch.json("none.json"), json!([]));
    let subset = ["subset", "--n", "2", "in.jsonl", "-o", "s.json"];
    scratch.djr(&subset).expect(0);
    assert_eq!(scratch.json("s.json").as_array().unwrap().len(), 2);
    // `export_type` decides whatever the name says, as in Data-Juicer.
    let typed = RECIPE.replace("out/o.jsonl", "typed.json\nexport_type: jsonl");
    scratch.write("typed.yaml", typed);
    scratch.djr(&["run", "typed.yaml"]).expect(0);
    assert_eq!(scratch.rows("typed.json").len(), 2);
}

#[test]
fn every_shard_is_a_whole_file_of_its_format() {
    let scratch = scratch();
    let many: String = (0..50)
        .map(|id| format!("{{\"id\": {id}, \"text\": \"[[human]]: q\\n[[gpt]]: a\"}}\n"))
        .fold(String::new(), |all, row| all + &row);
    scratch.write("many.jsonl", many);
    let recipe = "dataset_path: many.jsonl\nexport_path: o/rows.json\nexport_shard_size: 1000\noutputs:\n  - {format: llava, path: o/train.json, shard_size: 1000}\n";
    scratch.write("s.yaml", recipe);
    scratch.djr(&["run", "s.yaml"]).expect(0);
    for name in ["rows", "train"] {
        let shards: Vec<String> = scratch
            .files("o")
            .into_iter()
            .filter(|file| file.starts_with(&format!("{name}-0")))
            .collect();
        assert!(shards.len() > 2, "{shards:?}");
        let ids: Vec<Value> = shards
            .iter()
            .flat_map(|file| {
                scratch
                    .json(&format!("o/{file}"))
                    .as_array()
                    .unwrap()
                    .clone()
            })
            .map(|record| record["id"].clone())
            .collect();
        assert_eq!(ids, (0..50).map(Value::from).collect::<Vec<_>>());
    }
}

#[test]
fn several_images_are_a_list_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let input = [
        json!({"id": "two", "images": ["a.jpg", "b.jpg"],
            "text": "[[human]]: <__dj__image>\nthis\n[[gpt]]: one\n[[human]]: <__dj__image>\nthat\n[[gpt]]: two"}),
        json!({"id": "none said", "images": ["a.jpg", "b.jpg"], "text": "[[human]]: q\n[[gpt]]: a"}),
        json!({"id": "same", "images": ["a.jpg", "a.jpg"], "text": "[[human]]: q\n[[gpt]]: a"}),
        json!({"id": "three", "images": ["a.jpg", "b.jpg"], "text": "[[human]]: <__dj__image><__dj__image><__dj__image> q\n[[gpt]]: a"}),
        json!({"id": "answer", "images": ["a.jpg", "b.jpg"], "text": "[[human]]: q\n[[gpt]]: a <__dj__image> b"}),
    ];
    let lines: Vec<String> = input.iter().map(Value::to_string).collect();
    scratch.write("in.jsonl", lines.join("\n"));
    let mut line = vec![
        "convert",
        "--to",
        "llava",
        "in.jsonl",
        "--validate",
        "none",
        "--paths",
        "keep",
        "--max-quarantine",
        "none",
        "-o",
    ];
    line.push("one.json");
    scratch.djr(&line).expect(1);
    line.pop();
    line.extend(["list.json", "--images", "list"]);
    scratch.djr(&line).expect(1);
    let record = |name: &str, id: &str| {
        let all = scratch.json(name);
        let all = all.as_array().unwrap().clone();
        all.into_iter().find(|record| record["id"] == id)
    };
    assert_eq!(record("one.json", "same").unwrap()["image"], "a.jpg");
    assert_eq!(record("one.json", "two"), None);
    assert_eq!(record("list.json", "same").unwrap()["image"], "a.jpg");
    let two = record("list.json", "two").unwrap();
    assert_eq!(two["image"], json!(["a.jpg", "b.jpg"]));
    assert_eq!(two["conversations"][0]["value"], "<image>\nthis");
    assert_eq!(two["conversations"][2]["value"], "<image>\nthat");
    let said = record("list.json", "none said").unwrap();
    assert_eq!(said["conversations"][0]["value"], "<image>\n<image>\nq");
    assert_eq!(record("list.json", "three"), None);
    assert_eq!(record("list.json", "answer"), None);
    // A recipe says it per output.
    let recipe = "dataset_path: in.jsonl\nvalidate: none\nmax_quarantine: none\noutputs: [{format: llava, path: r.json, images: list, paths: keep}]\n";
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml"]).expect(1);
    assert_eq!(scratch.read("r.json"), scratch.read("list.json"));
}

#[test]
fn a_sample_that_falls_short_is_exit_1() {
    let scratch = scratch();
    for (n, code) in [("3", 0), ("4", 1)] {
        let copied = scratch.djr(&["subset", "--n", n, "in.jsonl"]).expect(code);
        assert_eq!(copied.stderr.contains("only 3 rows"), code == 1);
        let line = [
            "subset",
            "--n",
            n,
            "in.jsonl",
            "--validate",
            "exists",
            "-o",
            "s.jsonl",
        ];
        let checked = scratch.djr(&line).expect(code);
        assert_eq!(checked.stderr.contains("3 of 4 rows"), code == 1);
        assert_eq!(scratch.rows("s.jsonl").len(), 3);
        scratch.write(
            "s.yaml",
            format!("dataset_path: in.jsonl\noutputs: [{{path: o/s.jsonl, sample: {n}}}]\n"),
        );
        let ran = scratch.djr(&["run", "s.yaml"]).expect(code);
        assert_eq!(ran.stderr.contains("3 of 4 rows"), code == 1);
        scratch.djr(&["verify", "o/s.jsonl"]).expect(0);
    }
}

/// Starts `djr run` on standard input that goes on until somebody stops listening.
fn endless(scratch: &Scratch, recipe: &str) -> (std::process::Child, std::thread::JoinHandle<()>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(["run", recipe, "--quiet"])
        .current_dir(scratch.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let line = format!("{{\"text\": \"{}\"}}\n", "x".repeat(1000));
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline && stdin.write_all(line.as_bytes()).is_ok() {}
    });
    (child, writer)
}

#[test]
fn a_reader_that_goes_away_is_a_failure_where_another_output_was_to_be_written() {
    let scratch = scratch();
    for (outputs, code) in [
        ("[{format: jsonl, path: '-'}]", 0),
        ("[{format: jsonl, path: '-'}, {path: o/b.jsonl}]", 3),
    ] {
        scratch.write("p.yaml", format!("dataset_path: '-'\noutputs: {outputs}\n"));
        let (mut child, writer) = endless(&scratch, "p.yaml");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        drop(out);
        let ended = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert_eq!(said.contains("other outputs"), code == 3, "{said}");
        assert!(!scratch.path("o/b.jsonl").exists());
    }
}

#[test]
fn a_name_that_cannot_be_given_says_which_names_stand() {
    let scratch = Scratch::new();
    scratch.write(
        "p.yaml",
        "dataset_path: '-'\noutputs: [{path: o/a.jsonl}, {path: o/b.jsonl}]\n",
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(["run", "p.yaml", "--quiet"])
        .current_dir(scratch.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let begun = || {
        let mut files = scratch.files("o").into_iter();
        files.any(|name| name.contains("b.jsonl") && name.ends_with("djr-part"))
    };
    while !begun() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Nothing can be renamed over a directory.
    std::fs::create_dir(scratch.path("o/b.jsonl")).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"text\": \"a\"}\n").unwrap();
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(
        said.contains("o/b.jsonl") && said.contains("under their names stand"),
        "{said}"
    );
    let stands = said.split("under their names stand").nth(1).unwrap();
    assert!(stands.contains("o/a.jsonl"), "{said}");
    assert!(!said.contains("no output"), "{said}");
    assert_eq!(rows(&scratch.read("o/a.jsonl")).len(), 1);
}

#[test]
fn a_full_disk_is_named() {
    let scratch = scratch();
    // So many that they are written before the end.
    let many = (0..20_000).map(|id| format!("{{\"id\": {id}, \"text\": \"row {id}\"}}\n"));
    scratch.write("many.jsonl", many.collect::<String>());
    scratch.write("dedup.yaml", "process:\n  - document_deduplicator:\n");
    for line in [
        &["run", "r.yaml", "--output", "/dev/full"] as &[&str],
        &["subset", "--n", "2", "in.jsonl", "-o", "/dev/full"],
        &["convert", "--to", "json", "in.jsonl", "-o", "/dev/full"],
        &["diff", "in.jsonl", "many.jsonl", "-o", "/dev/full"],
        &[
            "index",
            "many.jsonl",
            "--for",
            "dedup.yaml",
            "-o",
            "/dev/full",
        ],
    ] {
        let ran = scratch.djr(line).expect(3);
        assert!(
            ran.stderr.contains("/dev/full") && ran.stderr.contains("No space left"),
            "{line:?}\n{}",
            ran.stderr
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_closed_standard_output_loses_nothing_in_silence() {
    let scratch = scratch();
    scratch.write("b.jsonl", "{\"text\": \"a\"}\n");
    for (line, code) in [
        ("run r.yaml -q --output -", 3),
        ("run r.yaml -q --output /dev/stdout", 3),
        ("subset -q --n 1 in.jsonl", 3),
        ("convert -q --to json in.jsonl", 3),
        ("diff in.jsonl b.jsonl -o -", 3),
        ("ops", 3),
        ("check r.yaml --json", 3),
        // Nothing is to be written there.
        ("run r.yaml -q", 0),
    ] {
        let closed = Command::new("sh")
            .args(["-c", &format!("exec \"$0\" {line} >&-")])
            .arg(env!("CARGO_BIN_EXE_djr"))
            .current_dir(scratch.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&closed.stderr);
        assert_eq!(closed.status.code(), Some(code), "{line}: {said}");
        assert_eq!(said.contains("it is closed"), code == 3, "{line}: {said}");
        // /dev/null is asked for by whoever opens it.
        let nowhere = Command::new(env!("CARGO_BIN_EXE_djr"))
            .args(line.split(' '))
            .current_dir(scratch.path(""))
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert_ne!(nowhere.status.code(), Some(3), "{line}");
    }
}

#[test]
fn a_hint_about_images_is_for_reasons_of_images() {
    let scratch = Scratch::new();
    let rows = |row: &str| format!("{row}\n").repeat(20);
    scratch.write("text.jsonl", rows("{\"text\": 5}"));
    scratch.write(
        "image.jsonl",
        rows("{\"text\": \"a\", \"images\": [\"none.jpg\"]}"),
    );
    for (input, step, about_images) in [
        ("text.jsonl", "text_length_filter: {min_len: 1}", false),
        ("image.jsonl", "image_shape_filter: {min_width: 1}", true),
    ] {
        scratch.write(
            "h.yaml",
            format!("dataset_path: {input}\nexport_path: h.jsonl\nmax_quarantine: 3\nprocess:\n  - {step}\n"),
        );
        let ran = scratch.djr(&["run", "h.yaml", "--quiet"]).expect(3);
        assert!(ran.stderr.contains("max_quarantine"), "{}", ran.stderr);
        assert_eq!(
            ran.stderr.contains("are the images there?"),
            about_images,
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn what_a_recipe_reads_is_never_overwritten() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "{\"id\": 1, \"text\": \"a text\"}\n");
    let seen = "{\"id\": 9, \"text\": \"another\"}\n";
    scratch.write("seen.jsonl", seen);
    let questions = r#"[{"id": 1, "conversations": [{"from": "human", "value": "q"}]}]"#;
    scratch.write("q.json", questions);
    scratch.write("words.json", r#"{"en": ["bad"], "zh": []}"#);
    std::os::unix::fs::symlink("seen.jsonl", scratch.path("link.jsonl")).unwrap();
    let step = "process: [document_deduplicator: {reference: seen.jsonl}]\n";
    let by_step = "is read by step 1 (document_deduplicator)";
    for (recipe, says) in [
        (format!("{step}export_path: ./seen.jsonl\n"), by_step),
        (format!("{step}export_path: link.jsonl\n"), by_step),
        (
            format!("{step}outputs: [{{path: o.jsonl}}, {{path: 's{{value}}n.jsonl', split_by: id}}]\n"),
            by_step,
        ),
        (
            "process: [text_length_filter: {}]\noutputs: [{format: llava, path: o.json, questions: q.json}, {format: llava, path: q.json}]\n".to_owned(),
            "is read by the output",
        ),
    ] {
        scratch.write("r.yaml", format!("dataset_path: in.jsonl\n{recipe}"));
        for command in [&["run", "r.yaml"][..], &["check", "r.yaml"]] {
            let ran = scratch.djr(command).expect(2);
            assert!(ran.stderr.contains(says), "{recipe}{}", ran.stderr);
            assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
        }
    }
    assert_eq!(scratch.read("seen.jsonl"), seen.as_bytes());
    assert_eq!(scratch.read("q.json"), questions.as_bytes());
    // Elsewhere is fine.
    scratch.write(
        "r.yaml",
        format!("dataset_path: in.jsonl\nexport_path: o.jsonl\n{step}"),
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
}

#[test]
fn a_row_that_the_first_output_refuses_has_no_stats_beside_it() {
    let scratch = Scratch::new();
    scratch.write(
        "a.png",
        std::fs::read(root().join("fixtures/images/turn_exif.png")).unwrap(),
    );
    scratch.write(
        "in.jsonl",
        "{\"id\": 1, \"text\": \"a red kite\", \"images\": [\"none.png\"]}\n{\"id\": 2, \"text\": \"two boats at sea\", \"images\": [\"a.png\"]}\n",
    );
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {min_len: 1}\noutputs:\n  - {path: o.jsonl, validate: exists}\n  - {path: all.jsonl, validate: none}\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(1);
    assert_eq!(scratch.rows("o.jsonl").len(), 1);
    assert_eq!(scratch.rows("all.jsonl").len(), 2);
    let stats = scratch.rows("o_stats.jsonl");
    assert_eq!(stats.len(), 1);
    assert_eq!(stats[0]["__dj__stats__"]["text_len"], 16);
}

#[test]
fn a_written_path_names_the_picture_that_was_measured() {
    let scratch = Scratch::new();
    let picture = std::fs::read(root().join("fixtures/images/turn_exif.png")).unwrap();
    std::fs::create_dir_all(scratch.path("sub/deep")).unwrap();
    std::os::unix::fs::symlink("sub/deep", scratch.path("ln")).unwrap();
    scratch.write("sub/a.png", &picture);
    scratch.write("a.png", "another");
    let row = |image: &str| format!("{}\n", json!({"text": "<image> x", "images": [image]}));
    let here = scratch.path("").canonicalize().unwrap();
    let here = here.to_str().unwrap();
    for (image, expected) in [
        ("ln/../a.png", format!("{here}/ln/../a.png")),
        ("sub/../sub/./a.png", format!("{here}/sub/a.png")),
        ("none/../a.png", format!("{here}/none/../a.png")),
        ("a.png/", format!("{here}/a.png/")),
    ] {
        scratch.write("in.jsonl", row(image));
        scratch.write(
            "plain.yaml",
            "dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {min_len: 1}\noutputs:\n  - {path: o.jsonl, validate: none}\n",
        );
        let line = ["run", "plain.yaml"];
        scratch.djr(&line).expect(0);
        assert_eq!(scratch.rows("o.jsonl")[0]["images"][0], expected, "{image}");
    }
    // Relative paths go up from where the output really is.
    std::os::unix::fs::symlink("sub/deep", scratch.path("out")).unwrap();
    scratch.write("in.jsonl", row("sub/a.png"));
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nprocess:\n  - image_shape_filter: {}\noutputs:\n  - {path: out/o.jsonl, paths: relative, validate: decode}\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let written = scratch.rows("out/o.jsonl")[0]["images"][0].clone();
    let found = scratch.path("out").join(written.as_str().unwrap());
    assert_eq!(std::fs::read(found).unwrap(), picture);
}
