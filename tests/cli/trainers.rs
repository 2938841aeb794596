//! `djr check --for`: every check fails on a file made for it by somebody else, and on no other.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use djr::trainer::TRAINERS;
use serde_json::{Value, json};

use crate::support::Scratch;

/// A folder with pictures: sound, cut short, tiny, long.
fn pictures() -> Scratch {
    let scratch = Scratch::new();
    for (name, width, height) in [
        ("a.png", 64, 48),
        ("b.png", 64, 48),
        ("dot.png", 1, 1),
        ("flat.png", 40, 3),
        ("long.png", 300, 1),
        ("small.png", 20, 40),
        ("line.png", 600_000, 1),
    ] {
        let picture = image::RgbImage::from_pixel(width, height, image::Rgb([9, 80, 40]));
        picture.save(scratch.path(name)).unwrap();
    }
    let whole = scratch.read("a.png");
    scratch.write("cut.png", &whole[..whole.len() / 2]);
    std::fs::create_dir(scratch.path("VG_100K")).unwrap();
    std::fs::copy(scratch.path("a.png"), scratch.path("VG_100K/a.png")).unwrap();
    scratch
}

/// What `djr check --for` finds: code and line.
fn found(scratch: &Scratch, trainer: &str, file: &str, args: &[&str]) -> Vec<(String, u64)> {
    let fixed = ["check", "--for", trainer, file, "--json", "--quiet"];
    let ran = scratch.djr(&[&fixed[..], args].concat());
    let answer = ran.answer();
    let findings = answer["result"]["training"]["findings"].as_array().unwrap();
    let found: Vec<(String, u64)> = findings
        .iter()
        .map(|finding| {
            assert!(!finding["cure"].as_str().unwrap().is_empty());
            (
                finding["code"].as_str().unwrap().to_owned(),
                finding["line"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    assert_eq!(ran.code, i32::from(!found.is_empty()), "{}", ran.stderr);
    found
}

fn said(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(from, value)| json!({"from": from, "value": value}))
        .collect()
}

fn messages(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect()
}

fn lines(rows: &[Value]) -> String {
    let mut text = String::new();
    for row in rows {
        writeln!(text, "{row}").unwrap();
    }
    text
}

fn array(rows: &[Value]) -> String {
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

/// A record of LLaVA's with an image.
fn llava(image: &Value, human: &str, gpt: &str) -> Value {
    json!({"id": "1", "image": image, "conversations": said(&[("human", human), ("gpt", gpt)])})
}

/// One of ms-swift's and LLaMA-Factory's.
fn message(images: &Value, user: &str, assistant: &str) -> Value {
    json!({"messages": messages(&[("user", user), ("assistant", assistant)]), "images": images})
}

/// One of TRL's.
fn blocks(images: &Value, count: usize) -> Value {
    let mut content = vec![json!({"type": "image"}); count];
    content.push(json!({"type": "text", "text": "q"}));
    json!({"messages": [{"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]}], "images": images})
}

/// What is checked of single rows: the trainer, the arguments, a bad row, and the codes it gives.
fn row_cases() -> Vec<(
    &'static str,
    &'static [&'static str],
    Value,
    &'static [&'static str],
)> {
    let a = json!("a.png");
    let both = json!(["a.png", "b.png"]);
    let one = json!(["a.png"]);
    let long = "word ".repeat(4000);
    let mut cases = Vec::new();
    // The family of LLaVA.
    for trainer in ["llava", "mgm", "llava_next", "qwen_vl", "internvl"] {
        for image in ["cut.png", "none.png"] {
            let record = llava(&json!(image), "<image>\nq", "a");
            cases.push((trainer, &[][..], record, &["image_undecodable"][..]));
        }
        cases.push((
            trainer,
            &[],
            json!({"text": "a row"}),
            &["record_unreadable"],
        ));
        cases.push((trainer, &[], llava(&a, "<image>q", " "), &["answer_empty"]));
        let null = json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": null}]});
        cases.push((trainer, &[], null, &["content_missing"]));
    }
    for trainer in ["llava", "mgm", "llava_next"] {
        let order = json!({"conversations": said(&[("human", "q"), ("human", "q")])});
        cases.push((trainer, &[], order, &["roles_order"]));
        cases.push((trainer, &[], llava(&a, "q", "a"), &["token_missing"]));
        let alone = json!({"conversations": said(&[("human", "<image>q"), ("gpt", "a")])});
        cases.push((trainer, &[], alone, &["token_without_image"]));
        cases.push((
            trainer,
            &[],
            llava(&a, "<image>q", "x ASSISTANT: y"),
            &["template_mark"],
        ));
        cases.push((
            trainer,
            &["--template", "gemma"],
            llava(&a, "<image>q", "<end_of_turn>"),
            &["template_mark"],
        ));
        cases.push((trainer, &[], llava(&a, "<image>q", &long), &["too_long"]));
        cases.push((
            trainer,
            &["--max-tokens", "500"],
            llava(&a, "<image>q", "a"),
            &["too_long"],
        ));
        cases.push((
            trainer,
            &[],
            llava(&json!("dot.png"), "<image>q", "a"),
            &["image_tiny"],
        ));
        cases.push((
            trainer,
            &[],
            llava(&json!("flat.png"), "<image>q", "a"),
            &["image_tiny"],
        ));
        cases.push((trainer, &[], llava(&json!(""), "q", "a"), &["image_empty"]));
    }
    for trainer in ["llava", "mgm"] {
        let spread = json!({"image": a, "conversations":
            said(&[("human", "<image>q"), ("gpt", "a"), ("human", "<image>q"), ("gpt", "a")])});
        cases.push((trainer, &[], spread, &["tokens_spread"]));
    }
    cases.push((
        "llava",
        &[],
        llava(&both, "<image>q", "a"),
        &["images_several"],
    ));
    let four = json!({"image": a, "conversations":
        said(&[("human", "<image>"), ("gpt", "a"), ("human", "q"), ("gpt", "a")])});
    cases.push(("llava", &["--template", "plain"], four, &["plain_pair"]));
    cases.push((
        "mgm",
        &[],
        llava(&json!("VG_100K/a.png"), "<image>q", "a"),
        &["path_rewritten"],
    ));
    for trainer in ["llava_next", "qwen_vl", "internvl"] {
        cases.push((
            trainer,
            &[],
            llava(&both, "<image>q", "a"),
            &["tokens_differ"],
        ));
    }
    cases.push((
        "llava_next",
        &[],
        json!({"conversations": said(&[("human", " "), ("gpt", "")])}),
        &["words_none", "answer_empty"],
    ));
    cases.push((
        "qwen_vl",
        &[],
        llava(&a, "q", "a <image>"),
        &["tokens_differ"],
    ));
    let system = json!({"conversations": said(&[("system", "s"), ("human", "q"), ("gpt", "a")])});
    cases.push(("qwen_vl", &[], system, &["system_trained"]));
    cases.push((
        "qwen_vl",
        &[],
        llava(&json!("long.png"), "<image>q", "a"),
        &["image_ratio", "image_small"],
    ));
    cases.push((
        "qwen_vl",
        &[],
        llava(&json!("small.png"), "<image>q", "a"),
        &["image_small"],
    ));
    cases.push((
        "qwen_vl",
        &["--max-tokens", "100"],
        llava(&a, "<image>q", &long),
        &["too_long"],
    ));
    let odd = json!({"conversations": said(&[("human", "q"), ("gpt", "a"), ("human", "q")])});
    cases.push(("internvl", &[], odd, &["roles_order"]));
    let alone = json!({"conversations": said(&[("human", "<image>q"), ("gpt", "a")])});
    cases.push(("internvl", &[], alone, &["token_without_image"]));
    cases.push(("internvl", &[], llava(&a, "<image>q", &long), &["too_long"]));
    // What `datasets` reads.
    for trainer in ["llama_factory", "ms_swift", "trl"] {
        let row = |images: &Value| match trainer {
            "trl" => blocks(images, images.as_array().map_or(0, Vec::len)),
            _ => message(images, "<image>q", "a"),
        };
        cases.push((
            trainer,
            &[],
            row(&json!(["cut.png"])),
            &["image_undecodable"],
        ));
        cases.push((trainer, &["--max-tokens", "3"], row(&one), &["too_long"]));
        cases.push((
            trainer,
            &[],
            message(&json!([]), "q", ""),
            &["answer_empty"],
        ));
    }
    let null = |role: &str| json!({"messages": [{"role": "user", "content": "q"}, {"role": role, "content": null}], "images": []});
    for trainer in ["llama_factory", "ms_swift", "trl"] {
        cases.push((trainer, &[], null("assistant"), &["content_missing"]));
    }
    cases.push((
        "llama_factory",
        &[],
        json!({"text": "a", "images": []}),
        &["record_unreadable"],
    ));
    cases.push((
        "trl",
        &[],
        json!({"text": "a", "images": []}),
        &["record_unreadable"],
    ));
    cases.push((
        "ms_swift",
        &[],
        json!({"text": "a", "images": []}),
        &["record_unmapped"],
    ));
    let order = json!({"messages": messages(&[("assistant", "a"), ("user", "q")]), "images": []});
    cases.push(("llama_factory", &[], order, &["roles_order"]));
    cases.push((
        "llama_factory",
        &[],
        message(&one, "q", "a <image> <image>"),
        &["tokens_differ"],
    ));
    cases.push((
        "llama_factory",
        &[],
        message(&json!([]), "a <video> tag", "a"),
        &["media_mark"],
    ));
    cases.push((
        "llama_factory",
        &[],
        message(&json!(["line.png"]), "<image>q", "a"),
        &["image_vanishes", "image_small"],
    ));
    cases.push((
        "llama_factory",
        &[],
        message(&json!(["small.png"]), "<image>q", "a"),
        &["image_small"],
    ));
    let human = json!({"messages": messages(&[("human", "q"), ("robot", "a")]), "images": []});
    cases.push(("ms_swift", &[], human, &["role_unknown"]));
    cases.push((
        "ms_swift",
        &[],
        message(&one, "<image><image>q", "a"),
        &["tokens_too_many"],
    ));
    cases.push((
        "ms_swift",
        &[],
        message(&both, "<image>q", "a"),
        &["images_too_many"],
    ));
    cases.push((
        "ms_swift",
        &[],
        message(&json!([]), "<bbox> q", "a"),
        &["media_mark"],
    ));
    cases.push((
        "ms_swift",
        &[],
        message(&json!(["long.png"]), "<image>q", "a"),
        &["image_ratio", "image_small"],
    ));
    let from = json!({"messages": messages(&[("human", "q"), ("gpt", "a")]), "images": []});
    cases.push(("trl", &[], from, &["role_unknown"]));
    cases.push((
        "trl",
        &[],
        message(&one, "<image>q", "a"),
        &["token_in_text"],
    ));
    cases.push(("trl", &[], blocks(&one, 2), &["blocks_differ"]));
    cases.push((
        "trl",
        &["--max-tokens", "9000"],
        blocks(&json!(["long.png"]), 1),
        &["image_ratio"],
    ));
    // Files of images.
    cases.push((
        "imagefolder",
        &[],
        json!({"text": "a"}),
        &["file_name_missing"],
    ));
    cases.push((
        "imagefolder",
        &[],
        json!({"file_name": "../a.png"}),
        &["path_outside", "image_undecodable"],
    ));
    cases.push((
        "imagefolder",
        &[],
        json!({"file_name": "cut.png"}),
        &["image_undecodable"],
    ));
    cases
}

/// A row that the trainer reads.
fn sound(trainer: &str) -> Value {
    match trainer {
        "llama_factory" | "ms_swift" => message(&json!(["a.png"]), "<image>q", "a"),
        "trl" => blocks(&json!(["a.png"]), 1),
        "imagefolder" => json!({"file_name": "a.png"}),
        _ => llava(&json!("a.png"), "<image>\nq", "a"),
    }
}

/// The name of a file that the trainer takes, and how rows lie in it.
fn file(trainer: &str) -> (&'static str, fn(&[Value]) -> String) {
    match trainer {
        "llava" | "mgm" | "llava_next" => ("t.json", array),
        "imagefolder" => ("metadata.jsonl", lines),
        _ => ("t.jsonl", lines),
    }
}

const INFO: &str = r#"{"t": {"file_name": "t.jsonl", "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
             "assistant_tag": "assistant", "system_tag": "system"}}}"#;

#[test]
fn every_check_of_a_row_fails_on_a_row_made_for_it() {
    let scratch = pictures();
    scratch.write("dataset_info.json", INFO);
    let mut seen = BTreeSet::new();
    for (trainer, args, bad, codes) in row_cases() {
        let (name, write) = file(trainer);
        // What is bad is so beside what is sound.
        scratch.write(name, write(&[sound(trainer), bad.clone()]));
        let of_rows = found(&scratch, trainer, name, args);
        let of_rows: Vec<(String, u64)> = of_rows
            .into_iter()
            .filter(|(code, _)| code != "column_mixed")
            .filter(|(_, line)| *line != 1 || !args.contains(&"--max-tokens"))
            .collect();
        let found: BTreeSet<&str> = of_rows.iter().map(|(code, _)| code.as_str()).collect();
        let expected: BTreeSet<&str> = codes.iter().copied().collect();
        assert_eq!(found, expected, "{trainer} {bad}");
        assert!(
            of_rows.iter().all(|(_, line)| *line == 2),
            "{trainer} {bad} {of_rows:?}"
        );
        seen.extend(codes.iter().map(|code| (trainer, *code)));
    }
    // And of whole files, below.
    let files = [
        "container_unread",
        "byte_order_mark",
        "rows_none",
        "blank_lines",
        "annotation_name",
        "meta_length",
        "column_mixed",
        "column_late",
        "info_incomplete",
        "images_key_missing",
        "metadata_name",
        "fields_differ",
        "key_returns",
        "member_twice",
        "key_dotted",
        "index_stale",
    ];
    for trainer in TRAINERS {
        for check in trainer.checks {
            let tested = seen.contains(&(trainer.name, check.code)) || files.contains(&check.code);
            let archive = matches!(trainer.name, "webdataset" | "energon");
            assert!(tested || archive, "{}: {}", trainer.name, check.code);
        }
    }
}

#[test]
fn every_check_of_a_file_fails_on_a_file_made_for_it() {
    let scratch = pictures();
    scratch.write("dataset_info.json", INFO);
    let codes = |trainer: &str, name: &str| -> Vec<String> {
        let found = found(&scratch, trainer, name, &["--validate", "none"]);
        found.into_iter().map(|(code, _)| code).collect()
    };
    for trainer in TRAINERS.iter().map(|trainer| trainer.name) {
        if matches!(trainer, "webdataset" | "energon") {
            continue;
        }
        let (name, write) = file(trainer);
        scratch.write(name, write(&[sound(trainer)]));
        assert_eq!(codes(trainer, name), [""; 0], "{trainer}");
        scratch.write(name, if name == "t.json" { "[]" } else { "" });
        let found = codes(trainer, name);
        assert!(found.contains(&"rows_none".to_owned()), "{trainer}");
    }
    let row = || llava(&json!("a.png"), "<image>q", "a");
    for trainer in ["llava", "mgm", "llava_next"] {
        scratch.write("l.jsonl", lines(&[row(), row()]));
        assert_eq!(codes(trainer, "l.jsonl"), ["container_unread"]);
        scratch.write("m.json", format!("\u{feff}{}", array(&[row()])));
        assert_eq!(codes(trainer, "m.json"), ["byte_order_mark"]);
    }
    scratch.write("a.json", array(&[row()]));
    assert_eq!(
        codes("internvl", "a.json"),
        ["container_unread", "annotation_name"]
    );
    scratch.write("l.jsonl", format!("{}\n\n{}\n", row(), row()));
    assert_eq!(codes("qwen_vl", "l.jsonl"), ["blank_lines"]);
    scratch.write("l.jsonl", format!("{}\n\n", row()));
    assert_eq!(codes("qwen_vl", "l.jsonl"), ["blank_lines"]);
    scratch.write("l.json", lines(&[row(), row()]));
    assert_eq!(codes("qwen_vl", "l.json"), ["container_unread"]);
    // InternVL's meta file, named itself or found beside.
    scratch.write("l.jsonl", lines(&[row(), row()]));
    let meta = |length: u64| {
        let annotation = scratch.path("l.jsonl").display().to_string();
        json!({"set": {"root": scratch.path("").display().to_string(), "annotation": annotation, "length": length}})
    };
    scratch.write("l.meta.json", meta(2).to_string());
    assert_eq!(codes("internvl", "l.jsonl"), [""; 0]);
    assert_eq!(codes("internvl", "l.meta.json"), [""; 0]);
    scratch.write("l.meta.json", meta(3).to_string());
    assert_eq!(codes("internvl", "l.meta.json"), ["meta_length"]);
    // LLaMA-Factory's entry.
    scratch.write("t.jsonl", lines(&[sound("llama_factory")]));
    let without = |path: &[&str]| {
        let mut info: Value = serde_json::from_str(INFO).unwrap();
        let mut at = &mut info["t"];
        for name in &path[..path.len() - 1] {
            at = &mut at[*name];
        }
        at.as_object_mut().unwrap().remove(path[path.len() - 1]);
        info.to_string()
    };
    for path in [
        &["tags", "system_tag"][..],
        &["columns", "images"],
        &["columns", "messages"],
        &["tags"],
        &["file_name"],
    ] {
        scratch.write("dataset_info.json", without(path));
        assert_eq!(
            codes("llama_factory", "t.jsonl"),
            ["info_incomplete"],
            "{path:?}"
        );
    }
    std::fs::remove_file(scratch.path("dataset_info.json")).unwrap();
    assert_eq!(codes("llama_factory", "t.jsonl"), ["info_incomplete"]);
    // Types.
    for trainer in ["llama_factory", "ms_swift", "trl", "imagefolder"] {
        let (name, _) = file(trainer);
        let with = |id: Value| {
            let mut row = sound(trainer);
            row["id"] = id;
            row
        };
        scratch.write("dataset_info.json", INFO);
        scratch.write(name, lines(&[with(json!(1)), with(json!("x"))]));
        assert_eq!(codes(trainer, name), ["column_mixed"], "{trainer}");
        let wide = "x".repeat(1 << 20);
        let mut rows = vec![with(json!(wide)); 11];
        let mut late = sound(trainer);
        late["new"] = json!(1);
        rows.push(late);
        scratch.write(name, lines(&rows));
        assert_eq!(codes(trainer, name), ["column_late"], "{trainer}");
        if trainer != "imagefolder" {
            scratch.write("t.json", array(&rows));
            assert!(!codes(trainer, "t.json").contains(&"column_late".to_owned()));
        }
    }
    scratch.write(
        "t.jsonl",
        lines(&[
            sound("trl"),
            json!({"messages": messages(&[("user", "q"), ("assistant", "a")])}),
        ]),
    );
    let found = codes("trl", "t.jsonl");
    assert!(
        found.contains(&"images_key_missing".to_owned()),
        "{found:?}"
    );
    scratch.write(
        "t.jsonl",
        lines(&[json!({"messages": messages(&[("user", "q"), ("assistant", "a")])})]),
    );
    assert_eq!(codes("trl", "t.jsonl"), [""; 0]);
    scratch.write("names.jsonl", lines(&[sound("imagefolder")]));
    assert_eq!(codes("imagefolder", "names.jsonl"), ["metadata_name"]);
    scratch.write("t.json", array(&[sound("imagefolder")]));
    assert!(codes("imagefolder", "t.json").contains(&"container_unread".to_owned()));
}

/// A tar of these members, each with some bytes.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[263..265].copy_from_slice(b"00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn archives_are_checked_as_their_readers_read_them() {
    let scratch = pictures();
    let png = scratch.read("a.png");
    let cut = scratch.read("cut.png");
    let png = png.as_slice();
    let text = b"a".as_slice();
    let codes = |trainer: &str, bytes: &[u8]| -> BTreeSet<String> {
        scratch.write("s.tar", bytes);
        let found = found(&scratch, trainer, "s.tar", &[]);
        found.into_iter().map(|(code, _)| code).collect()
    };
    let sound = tar(&[
        ("1.png", png),
        ("1.txt", text),
        ("2.png", png),
        ("2.txt", text),
    ]);
    let differ = tar(&[("1.png", png), ("1.txt", text), ("2.png", png)]);
    let returns = tar(&[
        ("1.png", png),
        ("2.png", png),
        ("1.txt", text),
        ("2.txt", text),
    ]);
    let twice = tar(&[("1.png", png), ("1.png", png)]);
    let dotted = tar(&[("photo.2024-01-02.png", png)]);
    let broken = tar(&[("1.png", &cut)]);
    assert!(codes("webdataset", &sound).is_empty());
    assert!(codes("webdataset", &differ).contains("fields_differ"));
    assert!(codes("webdataset", &dotted).contains("key_dotted"));
    for trainer in ["webdataset", "energon"] {
        assert!(
            codes(trainer, &returns).contains("key_returns"),
            "{trainer}"
        );
        assert!(codes(trainer, &twice).contains("member_twice"), "{trainer}");
        assert!(
            codes(trainer, &broken).contains("image_undecodable"),
            "{trainer}"
        );
        scratch.write("s.json", "[{\"images\": []}]");
        let found = found(&scratch, trainer, "s.json", &[]);
        assert_eq!(found[0].0, "container_unread", "{trainer}");
    }
    let index =
        |offsets: &[u64]| -> Vec<u8> { offsets.iter().flat_map(|at| at.to_le_bytes()).collect() };
    assert!(codes("energon", &sound).is_empty());
    let end = sound.len() as u64 - 1024;
    scratch.write("s.tar.idx", index(&[0, 2048, end]));
    assert!(codes("energon", &sound).is_empty());
    scratch.write("s.tar.idx", index(&[0, end]));
    assert_eq!(
        codes("energon", &sound),
        BTreeSet::from(["index_stale".to_owned()])
    );
    scratch.write("s.tar.idx", index(&[0, 2048, 2 * end]));
    assert_eq!(
        codes("energon", &sound),
        BTreeSet::from(["index_stale".to_owned()])
    );
}

#[test]
fn what_a_loader_reads_in_another_way_is_no_mistake() {
    let scratch = pictures();
    std::fs::create_dir(scratch.path("ocr")).unwrap();
    std::fs::copy(scratch.path("a.png"), scratch.path("ocr/a.png")).unwrap();
    scratch.write("dataset_info.json", "{\"t\": {\"file_name\": \"t.jsonl\"}}");
    let cases = [
        // The .png is opened where there is no .jpg.
        ("mgm", llava(&json!("ocr/a.jpg"), "<image>q", "a")),
        (
            "llama_factory",
            json!({"instruction": "Add.", "input": "1, 2", "output": "3"}),
        ),
        (
            "ms_swift",
            json!({"query": "Add 1 and 2.", "response": "3"}),
        ),
        ("ms_swift", llava(&json!("a.png"), "<image>q", "a")),
        (
            "llava_next",
            json!({"conversations": messages(&[("user", "q"), ("assistant", "a")])}),
        ),
        (
            "internvl",
            json!({"image": "", "conversations": said(&[("system", "s"), ("human", "q"), ("gpt", "a")])}),
        ),
    ];
    for (trainer, row) in cases {
        let (name, write) = file(trainer);
        scratch.write(name, write(std::slice::from_ref(&row)));
        assert_eq!(found(&scratch, trainer, name, &[]), [], "{trainer} {row}");
    }
    // Their mistakes are found, too.
    scratch.write(
        "t.jsonl",
        lines(&[json!({"instruction": "<image>q", "output": ""})]),
    );
    let codes = found(&scratch, "llama_factory", "t.jsonl", &[]);
    assert_eq!(
        codes,
        [
            ("tokens_differ".to_owned(), 1),
            ("answer_empty".to_owned(), 1)
        ]
    );
}

#[test]
fn a_file_is_written_without_the_rows_that_fail() {
    let scratch = pictures();
    let good = |id: &str| {
        let mut row = llava(&json!("a.png"), "<image>q", "a");
        row["id"] = id.into();
        row
    };
    let bad = llava(&json!("cut.png"), "<image>q", "a");
    scratch.write(
        "t.json",
        array(&[good("1"), bad, good("2"), llava(&json!("a.png"), "q", "a")]),
    );
    let args = ["check", "--for", "llava", "t.json", "--fix", "fixed.json"];
    let ran = scratch.djr(&args).expect(1);
    assert!(
        ran.text()
            .contains("t.json:2: image_undecodable: image_truncated"),
        "{}",
        ran.text()
    );
    assert!(ran.text().contains("crash in the middle"), "{}", ran.text());
    assert!(
        ran.stderr.contains("4 rows, 2 of them sound"),
        "{}",
        ran.stderr
    );
    assert_eq!(scratch.json("fixed.json"), json!([good("1"), good("2")]));
    scratch
        .djr(&["check", "--for", "llava", "fixed.json"])
        .expect(0);
    // Lines that are none are found and left out, too.
    scratch.write(
        "t.jsonl",
        format!("{}\n{{\"cut\n{}\n", good("1"), good("2")),
    );
    let args = [
        "check",
        "--for",
        "internvl",
        "t.jsonl",
        "--fix",
        "fixed.jsonl",
    ];
    let ran = scratch.djr(&args).expect(1);
    assert!(
        ran.text().contains("t.jsonl:2: json_invalid"),
        "{}",
        ran.text()
    );
    assert_eq!(scratch.rows("fixed.jsonl").len(), 2);
    scratch
        .djr(&["check", "--for", "internvl", "fixed.jsonl"])
        .expect(0);
}

#[test]
fn an_output_is_checked_for_who_reads_it() {
    let scratch = pictures();
    let row = |text: &str, images: &Value| json!({"text": format!("[[human]]: {text}\n[[gpt]]: a"), "images": images});
    scratch.write(
        "rows.jsonl",
        lines(&[
            row("<__dj__image>q", &json!(["a.png"])),
            row("what is a <video> tag", &json!([])),
            row("<__dj__image>q", &json!(["long.png"])),
        ]),
    );
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl\nprocess:\nmax_quarantine: none\noutputs:\n\
         \x20 - {format: messages, path: o/lf.jsonl, for: llama_factory}\n\
         \x20 - {format: llava_jsonl, path: o/qwen.jsonl, for: qwen_vl}\n\
         \x20 - {format: messages, path: o/all.jsonl}\n",
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(1);
    assert!(
        ran.stderr
            .contains("(messages, for llama_factory), 2 refused: image_small 1, media_mark 1"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("for qwen_vl), 1 refused: image_ratio 1"),
        "{}",
        ran.stderr
    );
    let manifest = scratch.json("o/lf.jsonl.djr/manifest.json");
    assert_eq!(manifest["outputs"][0]["checked_for"], "llama_factory");
    assert_eq!(manifest["outputs"][0]["refused"], 2);
    assert_eq!(scratch.rows("o/all.jsonl").len(), 3);
    scratch
        .djr(&["check", "--for", "llama_factory", "o/lf.jsonl"])
        .expect(0);
    scratch
        .djr(&["check", "--for", "qwen_vl", "o/qwen.jsonl"])
        .expect(0);
    scratch
        .djr(&["check", "--for", "ms_swift", "o/all.jsonl"])
        .expect(1);
    let args = [
        "convert",
        "--to",
        "trl",
        "--for",
        "trl",
        "rows.jsonl",
        "-o",
        "trl.jsonl",
        "--max-quarantine",
        "none",
    ];
    scratch.djr(&args).expect(1);
    assert_eq!(scratch.rows("trl.jsonl").len(), 2);
    scratch
        .djr(&["check", "--for", "trl", "trl.jsonl"])
        .expect(0);
    // What it cannot read at all is no output for it.
    scratch
        .djr(&[
            "convert",
            "--to",
            "messages",
            "--for",
            "llava",
            "rows.jsonl",
        ])
        .expect(2);
    scratch.write("bad.yaml", "dataset_path: rows.jsonl\nprocess:\noutputs:\n  - {format: llava_jsonl, path: x.jsonl, for: llava}\n  - {format: llava, path: x.json, template: v1}\n");
    let ran = scratch.djr(&["check", "bad.yaml"]).expect(2);
    assert!(
        ran.stderr
            .contains("llava does not read JSON objects one a line"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("needs `for`"), "{}", ran.stderr);
}

#[test]
fn tokens_are_counted_by_a_tokenizer() {
    let scratch = pictures();
    let words: Value = ["one", "two", "[UNK]"]
        .iter()
        .zip(0..)
        .map(|(word, id)| (word.to_string(), json!(id)))
        .collect();
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}});
    scratch.write("tokenizer.json", tokenizer.to_string());
    let text = "one two ".repeat(5);
    scratch.write(
        "t.jsonl",
        lines(&[
            json!({"messages": messages(&[("user", &text), ("assistant", "two")]), "images": []}),
        ]),
    );
    let check = |most: &str, more: &[&str]| {
        let fixed = ["check", "--for", "trl", "t.jsonl", "--max-tokens", most];
        scratch.djr(&[&fixed[..], more].concat())
    };
    check("11", &["--tokenizer", "tokenizer.json"]).expect(0);
    let ran = check("10", &["--tokenizer", "tokenizer.json"]).expect(1);
    assert!(ran.text().contains("too_long: 11 tokens"), "{}", ran.text());
    let ran = check("10", &[]).expect(1);
    assert!(ran.text().contains("about 13 tokens"), "{}", ran.text());
    check("10", &["--tokenizer", "a.png"]).expect(2);
}
