//! Formats for training: out, back in, and the options that decide what loaders differ on.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::support::{Scratch, rows};

/// Every format of conversations, and the suffix of its files.
const FORMATS: [(&str, &str, &str); 6] = [
    ("llava", "llava", "json"),
    ("llava_jsonl", "llava", "jsonl"),
    ("internvl", "llava", "jsonl"),
    ("messages", "messages", "jsonl"),
    ("openai", "openai", "jsonl"),
    ("trl", "trl", "jsonl"),
];

/// Conversations without, with one and with several images; the last has a system text.
fn conversations() -> Value {
    json!([
        {"id": "a", "text": "[[human]]: Say hello.\n[[gpt]]: Hello. <|__dj__eoc|>", "images": []},
        {"id": "b", "text": "[[human]]: <__dj__image>\nWhat is it?\n[[gpt]]: A b\u{f6}at.\n[[human]]: Red?\n[[gpt]]: \"Yes\" <|__dj__eoc|>",
         "images": ["a.png"]},
        {"id": "c", "text": "[[human]]: <__dj__image>\nand <__dj__image> ?\n[[gpt]]: Two.\n[[human]]: Or\n<__dj__image>\n[[gpt]]: Three. <|__dj__eoc|>",
         "images": ["a.png", "b.png", "a.png"], "system": "Count."},
    ])
}

fn lines(rows: &Value) -> String {
    let mut lines = String::new();
    for row in rows.as_array().unwrap() {
        writeln!(lines, "{row}").unwrap();
    }
    lines
}

/// A folder with two small pictures and some conversations over them.
pub fn workshop() -> Scratch {
    let scratch = Scratch::new();
    for name in ["a.png", "b.png"] {
        let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([200, 30, 40]));
        picture.save(scratch.path(name)).unwrap();
    }
    scratch.write("rows.jsonl", lines(&conversations()));
    scratch
}

/// The records of a file, whether it is an array or lines.
fn records(scratch: &Scratch, name: &str) -> Vec<Value> {
    let bytes = scratch.read(name);
    match serde_json::from_slice(&bytes) {
        Ok(Value::Array(records)) => records,
        _ => rows(&bytes),
    }
}

#[test]
fn every_format_comes_back_as_it_was() {
    let scratch = workshop();
    for (format, origin, suffix) in FORMATS {
        let file = format!("{format}.{suffix}");
        let images = if format == "llava" {
            &["--images", "list"][..]
        } else {
            &[]
        };
        let to = [
            &[
                "convert",
                "--to",
                format,
                "rows.jsonl",
                "-o",
                &file,
                "--paths",
                "keep",
            ][..],
            images,
        ]
        .concat();
        scratch.djr(&to).expect(0);
        assert_eq!(records(&scratch, &file).len(), 3, "{format}");
        let back = format!("{format}.back.jsonl");
        let from = [
            "convert", "--to", "dj", "--from", origin, &file, "-o", &back,
        ];
        scratch.djr(&from).expect(0);
        let mut found = scratch.rows(&back);
        // What loaders infer types from comes first.
        found.sort_by_key(|row| row["id"].to_string());
        assert_eq!(Value::Array(found), conversations(), "{format}");
        scratch.djr(&["verify", &file]).expect(0);
    }
}

#[test]
fn one_format_becomes_another() {
    let scratch = workshop();
    let first = [
        "convert",
        "--to",
        "messages",
        "rows.jsonl",
        "-o",
        "first.jsonl",
    ];
    scratch.djr(&first).expect(0);
    for (format, origin, suffix) in FORMATS {
        let to = format!("to.{format}.{suffix}");
        let images = if format == "llava" {
            &["--images", "list"][..]
        } else {
            &[]
        };
        let there = [
            "convert",
            "--from",
            "messages",
            "--to",
            format,
            "first.jsonl",
            "-o",
            &to,
        ];
        scratch.djr(&[&there[..], images].concat()).expect(0);
        let back = format!("back.{format}.jsonl");
        let again = [
            "convert", "--from", origin, "--to", "messages", &to, "-o", &back,
        ];
        scratch.djr(&again).expect(0);
        assert_eq!(scratch.read(&back), scratch.read("first.jsonl"), "{format}");
    }
}

#[test]
fn records_are_what_their_readers_ask_for() {
    let scratch = workshop();
    let convert = |args: &[&str]| -> Vec<Value> {
        let fixed = ["convert", "rows.jsonl", "--run-dir", "aside"];
        let ran = scratch.djr(&[&fixed[..], args].concat()).expect(0);
        rows(&ran.stdout)
    };
    let messages = convert(&["--to", "messages", "--paths", "keep"]);
    assert_eq!(
        messages[1],
        json!({"id": "b", "messages": [
            {"role": "user", "content": "<image>\nWhat is it?"},
            {"role": "assistant", "content": "A b\u{f6}at."},
            {"role": "user", "content": "Red?"},
            {"role": "assistant", "content": "\"Yes\""},
        ], "images": ["a.png"]})
    );
    assert_eq!(messages[0]["images"], json!([]));
    assert_eq!(
        messages[2]["messages"][0],
        json!({"role": "system", "content": "Count."})
    );
    let trl = convert(&["--to", "trl", "--paths", "keep"]);
    assert_eq!(
        trl[2]["messages"][1]["content"],
        json!([
            {"type": "image"},
            {"type": "text", "text": "and "},
            {"type": "image"},
            {"type": "text", "text": " ?"},
        ])
    );
    assert_eq!(trl[2]["images"], json!(["a.png", "b.png", "a.png"]));
    let parts = convert(&["--to", "openai", "--url", "file", "--paths", "absolute"]);
    let url = parts[1]["messages"][0]["content"][0]["image_url"]["url"]
        .as_str()
        .unwrap();
    assert!(
        url.starts_with("file:///") && url.ends_with("/a.png"),
        "{url}"
    );
    assert_eq!(parts[1].as_object().unwrap().len(), 2);
    let parts = convert(&["--to", "openai", "--url", "data"]);
    let url = parts[1]["messages"][0]["content"][0]["image_url"]["url"]
        .as_str()
        .unwrap();
    assert!(url.starts_with("data:image/png;base64,iVBOR"), "{url}");
    let lines = convert(&["--to", "llava_jsonl", "--paths", "keep"]);
    assert!(lines[0].get("image").is_none());
    assert_eq!(lines[1]["image"], "a.png");
    assert_eq!(lines[2]["image"], json!(["a.png", "b.png", "a.png"]));
    assert_eq!(lines[2]["system"], "Count.");
}

#[test]
fn options_decide_what_loaders_differ_on() {
    let scratch = workshop();
    let convert = |format: &str, args: &[&str]| -> Vec<Value> {
        let fixed = [
            "convert",
            "rows.jsonl",
            "--paths",
            "keep",
            "--run-dir",
            "aside",
            "--to",
            format,
        ];
        rows(&scratch.djr(&[&fixed[..], args].concat()).expect(0).stdout)
    };
    let moved = convert("messages", &["--system", "move"]);
    assert_eq!(moved[0]["system"], "");
    assert_eq!(moved[2]["system"], "Count.");
    assert_eq!(moved[2]["messages"][0]["role"], "user");
    let dropped = convert("llava_jsonl", &["--system", "drop"]);
    assert!(!dropped[2].to_string().contains("Count."));
    let kept = convert("llava_jsonl", &["--system", "keep"]);
    assert_eq!(
        kept[2]["conversations"][0],
        json!({"from": "system", "value": "Count."})
    );
    let first = convert("messages", &["--token", "first"]);
    assert_eq!(
        first[2]["messages"][1]["content"],
        "<image>\n<image>\n<image>\nand\n?"
    );
    assert_eq!(first[2]["messages"][3]["content"], "Or");
    assert!(
        convert("messages", &["--ids", "none"])[0]
            .get("id")
            .is_none()
    );
    scratch.write("rows.jsonl", "{\"id\": 7, \"text\": \"[[human]]: q [[gpt]]: a\"}\n{\"text\": \"[[human]]: q [[gpt]]: a\"}\n");
    assert_eq!(convert("messages", &[])[0]["id"], "7");
    assert_eq!(convert("messages", &[])[1]["id"], "");
    assert_eq!(convert("messages", &["--ids", "keep"])[0]["id"], 7);
    assert!(convert("llava_jsonl", &[])[1].get("id").is_none());
}

#[test]
fn a_file_begins_with_a_record_that_tells_all_types() {
    let scratch = workshop();
    let text_only =
        |n: usize| json!({"id": n.to_string(), "text": "[[human]]: q [[gpt]]: a", "images": []});
    let mut all: Vec<Value> = (0..5).map(text_only).collect();
    all.push(json!({"id": "x", "text": "[[human]]: q [[gpt]]: a", "images": ["a.png"]}));
    all.extend((5..8).map(text_only));
    scratch.write("rows.jsonl", lines(&all.into()));
    let ids = |name: &str| -> Vec<String> {
        let rows = scratch.rows(name);
        rows.iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let convert = |out: &str, args: &[&str]| {
        let fixed = ["convert", "--to", "trl", "rows.jsonl", "-o", out];
        scratch.djr(&[&fixed[..], args].concat()).expect(0);
    };
    convert("complete.jsonl", &[]);
    assert_eq!(
        ids("complete.jsonl"),
        ["x", "0", "1", "2", "3", "4", "5", "6", "7"]
    );
    convert("as_is.jsonl", &["--first-row", "as_is"]);
    assert_eq!(
        ids("as_is.jsonl"),
        ["0", "1", "2", "3", "4", "x", "5", "6", "7"]
    );
    scratch.djr(&["verify", "complete.jsonl"]).expect(0);
    // Shards are whole files, each with its own order.
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl\nprocess:\noutputs:\n  - {format: openai, path: s/o.jsonl, shard_size: 400}\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let shards: Vec<String> = scratch
        .files("s")
        .into_iter()
        .filter(|name| name.ends_with(".jsonl"))
        .collect();
    assert_eq!(shards.len(), 3, "{shards:?}");
    let firsts: Vec<String> = shards
        .iter()
        .map(|name| ids(&format!("s/{name}"))[0].clone())
        .collect();
    assert!(firsts.contains(&"x".to_owned()), "{firsts:?}");
}

#[test]
fn a_description_beside_an_output_says_what_it_is() {
    let scratch = workshop();
    scratch.write(
        "dataset_info.json",
        "{\"mine\": {\"file_name\": \"mine.json\"}}",
    );
    for name in ["train", "val"] {
        let out = format!("{name}.jsonl");
        scratch
            .djr(&["convert", "--to", "messages", "rows.jsonl", "-o", &out])
            .expect(0);
    }
    let info = scratch.json("dataset_info.json");
    assert_eq!(info["mine"], json!({"file_name": "mine.json"}));
    assert_eq!(info["train"]["file_name"], "train.jsonl");
    assert_eq!(info["val"]["formatting"], "sharegpt");
    assert_eq!(
        info["val"]["columns"],
        json!({"messages": "messages", "images": "images"})
    );
    assert_eq!(info["val"]["tags"]["system_tag"], "system");
    scratch.djr(&["verify", "train.jsonl"]).expect(0);
    scratch
        .djr(&[
            "convert",
            "--to",
            "messages",
            "--system",
            "move",
            "rows.jsonl",
            "-o",
            "moved.jsonl",
        ])
        .expect(0);
    assert_eq!(
        scratch.json("dataset_info.json")["moved"]["columns"]["system"],
        "system"
    );

    scratch
        .djr(&[
            "convert",
            "--to",
            "internvl",
            "rows.jsonl",
            "-o",
            "lines.jsonl",
        ])
        .expect(0);
    let meta = scratch.json("lines.meta.json");
    assert_eq!(meta["lines"]["length"], 3);
    assert_eq!(meta["lines"]["root"], "");
    let annotation = meta["lines"]["annotation"].as_str().unwrap();
    assert!(annotation.ends_with("/lines.jsonl"), "{annotation}");
    scratch.djr(&["verify", "lines.jsonl"]).expect(0);
    scratch.write("lines.meta.json", "{}");
    scratch.djr(&["verify", "lines.jsonl"]).expect(1);

    // What holds something else is not written over.
    scratch.write("dataset_info.json", "[1]");
    let ran = scratch
        .djr(&[
            "convert",
            "--to",
            "messages",
            "rows.jsonl",
            "-o",
            "more.jsonl",
        ])
        .expect(3);
    assert!(
        ran.stderr.contains("dataset_info.json: it is there"),
        "{}",
        ran.stderr
    );
    assert_eq!(scratch.read("dataset_info.json"), b"[1]");
}

#[test]
fn a_recipe_writes_several_in_one_pass() {
    let scratch = workshop();
    let mut recipe = "dataset_path: rows.jsonl\nprocess:\noutputs:\n".to_owned();
    for (format, _, suffix) in FORMATS {
        let images = if format == "llava" {
            ", images: list"
        } else {
            ""
        };
        writeln!(
            recipe,
            "  - {{format: {format}, path: out/{format}.{suffix}{images}}}"
        )
        .unwrap();
    }
    scratch.write("r.yaml", &recipe);
    scratch.djr(&["run", "r.yaml"]).expect(0);
    for (format, _, suffix) in FORMATS {
        let records = records(&scratch, &format!("out/{format}.{suffix}"));
        assert_eq!(records.len(), 3, "{format}");
        let path = records.iter().map(Value::to_string).collect::<String>();
        assert!(path.contains("/a.png"), "{format}");
    }
    scratch.djr(&["verify", "out/llava.json"]).expect(0);
}

#[test]
fn alpaca_is_read() {
    let scratch = workshop();
    scratch.write(
        "alpaca.json",
        json!([
            {"instruction": "Add.", "input": "1 and 2", "output": "3", "system": "Be exact."},
            {"instruction": "<image>\nWhat?", "input": "", "output": "A boat.", "images": ["a.png"],
             "history": [["Hello?", "Yes."]]},
            {"instruction": "Say.", "output": ""},
        ])
        .to_string(),
    );
    let ran = scratch
        .djr(&[
            "convert",
            "--from",
            "alpaca",
            "--to",
            "messages",
            "alpaca.json",
            "-o",
            "m.jsonl",
            "--max-quarantine",
            "none",
        ])
        .expect(1);
    assert!(ran.stderr.contains("caption_empty"), "{}", ran.stderr);
    let found = scratch.rows("m.jsonl");
    assert_eq!(
        found[1]["messages"],
        json!([
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "Add.\n1 and 2"},
            {"role": "assistant", "content": "3"},
        ])
    );
    assert_eq!(found[0]["messages"].as_array().unwrap().len(), 4);
    assert!(found[0]["images"][0].as_str().unwrap().ends_with("/a.png"));
}

#[test]
fn captions_get_one_question() {
    let scratch = workshop();
    let captions = json!([
        {"id": "1", "text": "<__dj__image>\nA boat. <|__dj__eoc|>", "images": ["a.png"]},
        {"id": "2", "text": "<__dj__image>\n[[human]] is a word. <|__dj__eoc|>", "images": ["b.png"]},
    ]);
    scratch.write("rows.jsonl", lines(&captions));
    let ran = scratch
        .djr(&[
            "convert",
            "--to",
            "llava",
            "rows.jsonl",
            "--question",
            "Describe it.",
            "--paths",
            "keep",
        ])
        .expect(0);
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(
        found[0]["conversations"][0]["value"],
        "<image>\nDescribe it."
    );
    assert_eq!(found[0]["conversations"][1]["value"], "A boat.");
    assert_eq!(
        found[1]["conversations"][1]["value"],
        "[[human]] is a word."
    );
    let both = [
        "convert",
        "--to",
        "llava",
        "rows.jsonl",
        "--question",
        "q",
        "--questions",
        "rows.jsonl",
    ];
    scratch.djr(&both).expect(2);
    let own = [
        "convert",
        "--from",
        "messages",
        "--to",
        "llava",
        "rows.jsonl",
        "--question",
        "q",
    ];
    let ran = scratch.djr(&own).expect(2);
    assert!(ran.stderr.contains("take no questions"), "{}", ran.stderr);
}

#[test]
fn an_image_folder_is_written_and_read() {
    let scratch = workshop();
    std::fs::create_dir_all(scratch.path("set/sub")).unwrap();
    for name in ["set/a.png", "set/sub/b.png"] {
        std::fs::copy(scratch.path("a.png"), scratch.path(name)).unwrap();
    }
    let captions = json!([
        {"id": 1, "text": "A boat.", "images": ["set/a.png"], "score": 0.5},
        {"id": 2, "text": "A tree.", "images": ["set/sub/b.png"], "score": 1.0},
        {"id": 3, "text": "Elsewhere.", "images": ["b.png"], "score": 1.0},
        {"id": 4, "text": "Two.", "images": ["set/a.png", "set/sub/b.png"], "score": 1.0},
        {"id": 5, "text": "A name.", "images": ["set/a.png"], "mask_file_name": "x"},
    ]);
    scratch.write("rows.jsonl", lines(&captions));
    let args = [
        "convert",
        "--to",
        "imagefolder",
        "rows.jsonl",
        "-o",
        "set/metadata.jsonl",
        "--max-quarantine",
        "none",
    ];
    let ran = scratch.djr(&args).expect(1);
    for code in ["image_outside_folder", "image_count", "field_unplaced"] {
        assert!(ran.stderr.contains(code), "{}", ran.stderr);
    }
    let found = scratch.rows("set/metadata.jsonl");
    assert_eq!(
        found,
        [
            json!({"file_name": "a.png", "id": 1, "text": "A boat.", "score": 0.5}),
            json!({"file_name": "sub/b.png", "id": 2, "text": "A tree.", "score": 1.0}),
        ]
    );
    scratch.djr(&["verify", "set/metadata.jsonl"]).expect(0);
    let back = [
        "convert",
        "--from",
        "imagefolder",
        "--to",
        "dj",
        "set/metadata.jsonl",
    ];
    let found = rows(&scratch.djr(&back).expect(0).stdout);
    assert_eq!(
        found[1],
        json!({"id": "2", "text": "<__dj__image>\nA tree. <|__dj__eoc|>", "images": ["sub/b.png"], "score": 1.0})
    );
    let absolute = [&args[..], &["--paths", "absolute"]].concat();
    let ran = scratch.djr(&absolute).expect(2);
    assert!(ran.stderr.contains("leave --paths out"), "{}", ran.stderr);
}

#[test]
fn whoever_converts_captions_alone_hears_of_questions() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\": \"a kite\"}\n{\"text\": \"a bus\"}\n",
    );
    let args = ["convert", "in.jsonl", "--to", "messages", "-o", "o.jsonl"];
    let ran = scratch.djr(&args).expect(3);
    let told = "was refused (turns_unbalanced 2); the first one: the text has no [[human]]: and [[gpt]]: turns; give --questions";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_a_record_is_refused_by_name() {
    let scratch = workshop();
    let turn = |role: &str, content: Value| json!({"role": role, "content": content});
    let user = |content: &str| turn("user", content.into());
    let answer = || turn("assistant", "a".into());
    let cases = [
        (
            "messages",
            json!({"messages": [user("q"), user("q")], "images": []}),
            "turns_unbalanced",
        ),
        (
            "messages",
            json!({"messages": [turn("tool", "x".into()), answer()]}),
            "role_unknown",
        ),
        (
            "messages",
            json!({"messages": [user("<image> <image>"), answer()], "images": ["a.png"]}),
            "image_token_count",
        ),
        (
            "messages",
            json!({"messages": [user("<image>q"), answer()], "images": []}),
            "image_token_without_image",
        ),
        (
            "messages",
            json!({"messages": [user("q"), answer()], "images": ["none.png"]}),
            "image_missing",
        ),
        (
            "messages",
            json!({"messages": [user("q"), turn("assistant", "<|im_end|>".into())]}),
            "chat_marker",
        ),
        (
            "messages",
            json!({"messages": [user("q"), json!({"role": "assistant", "content": "a", "loss": 0})]}),
            "field_unplaced",
        ),
        ("messages", json!({"messages": "q"}), "wrong_type"),
        ("messages", json!({"images": []}), "missing_field"),
        (
            "openai",
            json!({"messages": [turn("user", json!([{"type": "image_url", "image_url": {"url": "none.png"}}])), answer()]}),
            "image_missing",
        ),
        (
            "openai",
            json!({"messages": [turn("user", json!([{"type": "input_audio"}])), answer()]}),
            "field_unplaced",
        ),
        (
            "trl",
            json!({"messages": [turn("user", json!([{"type": "image"}, {"type": "text", "text": "q"}])), answer()], "images": []}),
            "image_token_count",
        ),
        (
            "trl",
            json!({"messages": [user("<image>q"), answer()], "images": ["a.png"]}),
            "image_token_left",
        ),
    ];
    for (from, record, code) in cases {
        scratch.write("in.jsonl", format!("{record}\n"));
        let ran = scratch
            .djr(&[
                "convert",
                "--from",
                from,
                "--to",
                "messages",
                "in.jsonl",
                "--run-dir",
                "aside",
                "--max-quarantine",
                "none",
            ])
            .expect(1);
        let aside = scratch.rows("aside/quarantine.jsonl");
        assert_eq!(aside[0]["code"], code, "{record}\n{}", ran.stderr);
    }
}

/// The fixture's rows as every format, in one run.
fn outputs_of(args: &[&str]) -> Vec<(String, Vec<u8>)> {
    let scratch = Scratch::new();
    let mut recipe =
        "dataset_path: fixtures/dataset/rows.jsonl\nmax_quarantine: none\nprocess:\noutputs:\n"
            .to_owned();
    for (format, _, suffix) in FORMATS {
        let reader = if format == "messages" {
            ", for: llama_factory, shard_size: 8KB"
        } else {
            ""
        };
        writeln!(recipe, "  - {{format: {format}, path: out/{format}.{suffix}, question: What?, paths: keep{reader}}}").unwrap();
    }
    scratch.write("r.yaml", recipe);
    scratch
        .djr(&[&["run", "r.yaml", "--run-dir", "aside"], args].concat())
        .expect(1);
    let root = std::fs::canonicalize(scratch.path("")).unwrap();
    let files = scratch.files("out").into_iter();
    files
        .map(|name| {
            // The meta file names where its rows are.
            let text = String::from_utf8(scratch.read(&format!("out/{name}"))).unwrap();
            let text = text
                .replace(root.to_str().unwrap(), "")
                .replace(scratch.path("").to_str().unwrap(), "/");
            (name, text.into_bytes())
        })
        .collect()
}

#[test]
fn threads_and_batches_change_no_record() {
    let reference = outputs_of(&["--threads", "1", "--batch-rows", "100000"]);
    assert!(reference.len() > 9, "{}", reference.len());
    for args in [
        ["--threads", "8", "--batch-rows", "1"],
        ["--threads", "2", "--batch-rows", "7"],
    ] {
        let other = outputs_of(&args);
        assert_eq!(reference.len(), other.len());
        for (a, b) in reference.iter().zip(&other) {
            assert!(a == b, "{} differs with {args:?}", a.0);
        }
    }
}

/// What img2dataset downloads: pictures, each with its caption.
fn downloaded() -> Vec<(String, String, Vec<u8>)> {
    let picture = |number: u8| {
        let (width, height) = (60 + u32::from(number), 40 + u32::from(number % 7));
        let colour = image::Rgb([number * 9, 90, 200 - number * 5]);
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_pixel(width, height, colour)
            .write_to(&mut bytes, image::ImageFormat::Jpeg)
            .unwrap();
        bytes.into_inner()
    };
    let caption = |number: u8| format!("picture {number} of a boat and {} gulls", number % 5);
    (0..20)
        .map(|number| (format!("{number:09}"), caption(number), picture(number)))
        .collect()
}

/// The layouts in which img2dataset writes them: folders of files, archives, tables; beside each
/// what it tried, and how that went.
fn layouts(scratch: &Scratch) {
    let about =
        |key: &str, caption: &str| json!({"key": key, "caption": caption, "status": "success"});
    let (mut tar, mut rows) = (Vec::new(), Vec::new());
    for (key, caption, picture) in downloaded() {
        let members = [
            ("jpg", picture),
            ("json", about(&key, &caption).to_string().into_bytes()),
            ("txt", caption.into_bytes()),
        ];
        for (suffix, content) in &members {
            scratch.write(&format!("files/00000/{key}.{suffix}"), content);
            let name = format!("{key}.{suffix}");
            let mut header = [0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..107].copy_from_slice(b"0000644");
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            header[148..156].fill(b' ');
            header[156] = b'0';
            header[257..265].copy_from_slice(b"ustar\x0000");
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            tar.extend(header);
            tar.extend(content);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        let [(_, picture), ..] = members;
        rows.push((key, picture));
    }
    tar.resize(tar.len() + 1024, 0);
    scratch.write("archives/00000.tar", tar);
    let captions = downloaded()
        .into_iter()
        .map(|(_, caption, _)| Some(caption));
    let table = |pictures: bool| {
        let text = |texts: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        let mut columns = vec![
            ("caption", text(captions.clone().collect())),
            (
                "key",
                text(rows.iter().map(|row| Some(row.0.clone())).collect()),
            ),
            ("status", text(vec![Some("success".to_owned()); rows.len()])),
        ];
        if pictures {
            let bytes = BinaryArray::from_iter_values(rows.iter().map(|row| &row.1));
            columns.push(("jpg", Arc::new(bytes)));
        }
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    scratch.write("tables/00000.parquet", table(true));
    for layout in ["files", "archives", "tables"] {
        scratch.write(&format!("{layout}/00000_stats.json"), "{\"count\": 20}");
        if layout != "tables" {
            scratch.write(&format!("{layout}/00000.parquet"), table(false));
        }
    }
}

/// The five commands of README, from each of the layouts.
#[test]
fn what_img2dataset_downloads_goes_to_trainers_in_five_commands() {
    let scratch = Scratch::new();
    layouts(&scratch);
    let mut all: Vec<Vec<(String, Vec<u8>)>> = Vec::new();
    for (layout, kept, text, copies) in [
        ("files", "files.jsonl", false, false),
        ("archives", "archives.tar", false, true),
        ("tables", "tables.parquet", true, true),
    ] {
        let name = |end: &str| format!("{layout}-{end}");
        let (keep, llava, swift) = (name("keep.yaml"), name("out.json"), name("out.jsonl"));
        let seen = name("seen");
        let text: &[&str] = if text {
            &["--text-key", "caption"]
        } else {
            &[]
        };
        let copies: &[&str] = if copies {
            &["--image-files", "copy"]
        } else {
            &[]
        };
        let analyze = ["analyze", layout, "-o", &seen, "--suggest", &keep];
        scratch.djr(&[&analyze[..], text].concat()).expect(0);
        let run = ["run", &keep, "--input", layout, "-o", kept];
        scratch.djr(&run).expect(0);
        let question = ["--question", "Describe the image.", "--for", "llava_next"];
        let convert = [
            "convert", "--to", "llava", "--images", "list", kept, "-o", &llava,
        ];
        let convert = [&convert[..], &question, text, copies].concat();
        scratch.djr(&convert).expect(0);
        scratch
            .djr(&["check", "--for", "llava_next", &llava])
            .expect(0);
        let other = ["convert", "--from", "llava", "--to", "messages", &llava];
        let other = [&other[..], &["--for", "ms_swift", "-o", &swift]].concat();
        scratch.djr(&other).expect(0);
        let records = records(&scratch, &swift).into_iter().map(|record| {
            let image = record["images"][0].as_str().unwrap();
            let answer = record["messages"][1]["content"].as_str().unwrap();
            (answer.to_owned(), std::fs::read(image).unwrap())
        });
        all.push(records.collect());
    }
    let pictures: Vec<_> = downloaded().into_iter().map(|it| (it.1, it.2)).collect();
    assert!(all[0].len() > 10, "{} of 20 rows", all[0].len());
    for record in &all[0] {
        assert!(pictures.contains(record), "{}", record.0);
    }
    assert!(all[0] == all[1] && all[0] == all[2]);
    let refused = scratch.djr(&[
        "convert",
        "--to",
        "llava",
        "--from",
        "llava",
        "files-out.json",
        "--text-key",
        "x",
        "-o",
        "x.json",
    ]);
    assert!(
        refused
            .expect(2)
            .stderr
            .contains("--text-key has no effect")
    );
}
