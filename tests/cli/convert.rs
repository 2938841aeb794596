//! `djr convert`: LLaVA records to rows and back, and what is refused by name.

use serde_json::{Value, json};

use crate::support::{Scratch, rows};

/// Runs `djr convert` on `input` from standard input; what it wrote, and the codes of what it set
/// aside.
fn convert(scratch: &Scratch, args: &[&str], input: &Value) -> (Vec<u8>, Vec<String>) {
    // Each conversion has a record of its own.
    let aside = format!("aside-{}", scratch.files("").len());
    let mut line = vec!["convert", "--run-dir", &aside];
    line.extend(args);
    let text = match input {
        // Rows are lines.
        Value::Array(rows) if args.contains(&"llava") => {
            let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
            lines.join("\n")
        }
        records => records.to_string(),
    };
    let ran = scratch.djr_with(&line, text.as_bytes());
    assert!(matches!(ran.code, 0 | 1), "{}", ran.stderr);
    let quarantine = scratch.path(&format!("{aside}/quarantine.jsonl"));
    let codes = std::fs::read(quarantine).map_or_else(
        |_| Vec::new(),
        |bytes| {
            rows(&bytes)
                .iter()
                .map(|row| row["code"].as_str().unwrap().to_owned())
                .collect()
        },
    );
    assert_eq!(ran.code == 1, !codes.is_empty(), "{}", ran.stderr);
    (ran.stdout, codes)
}

fn to_llava(scratch: &Scratch, args: &[&str], input: &Value) -> (Vec<Value>, Vec<String>) {
    let mut all = vec!["--to", "llava", "--validate", "none", "--paths", "keep"];
    all.extend(args);
    let (written, codes) = convert(scratch, &all, input);
    (serde_json::from_slice(&written).unwrap(), codes)
}

fn to_rows(scratch: &Scratch, args: &[&str], input: &Value) -> (Vec<Value>, Vec<String>) {
    let mut all = vec!["--to", "dj", "--max-quarantine", "none"];
    all.extend(args);
    let (written, codes) = convert(scratch, &all, input);
    (rows(&written), codes)
}

fn turns(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .flat_map(|(human, gpt)| {
            [
                json!({"from": "human", "value": human}),
                json!({"from": "gpt", "value": gpt}),
            ]
        })
        .collect()
}

#[test]
fn a_record_without_an_image_is_a_text_only_row() {
    let scratch = Scratch::new();
    let words = || turns(&[("Write a line about rain.", "It falls.")]);
    let (written, codes) = to_rows(
        &scratch,
        &["--validate", "decode"],
        &json!([
            {"id": "empty", "image": "", "conversations": words()},
            {"id": "null", "image": null, "conversations": words()},
            {"id": "list", "image": [], "conversations": words()},
            {"id": "absent", "conversations": words()},
            {"id": "no path", "image": [""], "conversations": words()},
        ]),
    );
    assert!(codes.is_empty(), "{codes:?}");
    assert_eq!(written.len(), 5);
    for row in &written {
        assert_eq!(row["images"], json!([]));
        assert_eq!(
            row["text"],
            "[[human]]: Write a line about rain.\n[[gpt]]: It falls. <|__dj__eoc|>"
        );
    }
    // An empty path beside one of a picture is none that can be there, and a row of Data-Juicer's has
    // no empty paths.
    let record = json!([{"id": "one path", "image": ["", "a.jpg"], "conversations": words()}]);
    let (_, codes) = to_rows(&scratch, &["--validate", "decode"], &record);
    assert_eq!(codes, ["image_path_invalid"]);
    let rows = json!([{"text": "[[human]]: q [[gpt]]: a", "images": [""]}]);
    let (_, codes) = convert(
        &scratch,
        &["--to", "llava", "--max-quarantine", "none"],
        &rows,
    );
    assert_eq!(codes, ["image_path_invalid"]);
    // And back: no key `image`.
    let (records, codes) = to_llava(
        &scratch,
        &[],
        &json!([
            {"text": "[[human]]: q [[gpt]]: a", "images": ""},
            {"text": "[[human]]: q [[gpt]]: a", "images": []},
        ]),
    );
    assert!(codes.is_empty());
    assert!(records.iter().all(|record| record.get("image").is_none()));
}

#[test]
fn ids_are_needed_only_where_questions_are_looked_up() {
    let scratch = Scratch::new();
    let (written, codes) = to_rows(
        &scratch,
        &[],
        &json!([
            {"conversations": turns(&[("Say hello.", "Hello.")])},
            {"id": null, "conversations": turns(&[("Say bye.", "Bye.")])},
            {"id": 7, "conversations": turns(&[("Say it.", "It.")])},
            {"id": ["x"], "conversations": turns(&[("Say it.", "It.")])},
        ]),
    );
    assert_eq!(codes, ["wrong_type"]);
    let ids: Vec<Option<&Value>> = written.iter().map(|row| row.get("id")).collect();
    assert_eq!(ids, [None, None, Some(&json!("7"))]);

    let input = json!([
        {"text": "[[human]]: Say hello.\n[[gpt]]: Hello. <|__dj__eoc|>", "images": []},
        {"id": 7, "text": "[[human]]: q [[gpt]]: a"},
    ]);
    let (records, codes) = to_llava(&scratch, &[], &input);
    assert!(codes.is_empty());
    assert_eq!(
        records,
        [
            json!({"conversations": turns(&[("Say hello.", "Hello.")])}),
            json!({"id": 7, "conversations": turns(&[("q", "a")])}),
        ]
    );
    scratch.write(
        "stage_1.json",
        json!([{"id": 7, "conversations": turns(&[("What?", "x")])}]).to_string(),
    );
    let (records, codes) = to_llava(
        &scratch,
        &["--questions", "stage_1.json", "--max-quarantine", "none"],
        &json!([{"text": "A caption."}, {"id": "7", "text": "A caption."}]),
    );
    assert_eq!(codes, ["missing_field"]);
    assert_eq!(
        records,
        [json!({"id": 7, "conversations": turns(&[("What?", "A caption.")])})]
    );
}

#[test]
fn the_image_token_stays_where_the_question_has_it() {
    let scratch = Scratch::new();
    let token = "<__dj__image>";
    let questions = [
        (format!("{token}\nWhat?"), Some("<image>\nWhat?")),
        (format!("What?\n{token}"), Some("What?\n<image>")),
        (format!("What? {token}"), Some("What? <image>")),
        (token.to_owned(), Some("<image>")),
        ("<image>".to_owned(), Some("<image>")),
        // None, or too many: one.
        ("What?".to_owned(), Some("<image>\nWhat?")),
        (format!("{token}{token}"), Some("<image>")),
        (format!("{token}\nWhat?\n{token}"), Some("<image>\nWhat?")),
        (format!("What?{token}{token}"), Some("What?\n<image>")),
        (format!("What is {token} here?"), None),
        (String::new(), None),
    ];
    let input: Value = questions
        .iter()
        .enumerate()
        .map(|(id, (question, _))| {
            json!({"id": id, "images": ["a.jpg"], "text": format!("[[human]]: {question}\n[[gpt]]: a <|__dj__eoc|>")})
        })
        .collect();
    let (records, codes) = to_llava(&scratch, &["--max-quarantine", "none"], &input);
    assert_eq!(codes, ["image_token_left", "question_empty"]);
    let found: Vec<&str> = records
        .iter()
        .map(|record| record["conversations"][0]["value"].as_str().unwrap())
        .collect();
    let expected: Vec<&str> = questions.iter().filter_map(|(_, value)| *value).collect();
    assert_eq!(found, expected);

    // A question from the file is written as it stands there.
    let kept = ["<image>", " Describe it. \n<image>", "<image>\nWhat?\n"];
    let file: Value = kept
        .iter()
        .enumerate()
        .map(|(id, question)| json!({"id": id, "image": "a.jpg", "conversations": turns(&[(question, "x")])}))
        .collect();
    scratch.write("stage_1.json", file.to_string());
    let input: Value = (0..kept.len())
        .map(|id| json!({"id": id, "images": ["a.jpg"], "text": "<__dj__image>\nA boat. <|__dj__eoc|>"}))
        .collect();
    let (records, codes) = to_llava(&scratch, &["--questions", "stage_1.json"], &input);
    assert!(codes.is_empty());
    for (record, question) in records.iter().zip(kept) {
        assert_eq!(
            record["conversations"],
            turns(&[(question, "A boat.")]),
            "{record}"
        );
    }
}

#[test]
fn a_repeated_id_never_takes_the_question_of_another_record() {
    let scratch = Scratch::new();
    let record = |id: &Value, image: &str, question: &str| json!({"id": id, "image": image, "conversations": turns(&[(question, "x")])});
    let file = json!([
        record(&json!("1"), "a/1.jpg", "<image>\nOne?"),
        record(&json!("1"), "b/1.jpg", "<image>\nTwo?"),
        record(&json!("2"), "a/2.jpg", "<image>\nSame?"),
        record(&json!(2), "b/2.jpg", "<image>\nSame?"),
        record(&json!("3"), "a/3.jpg", "<image>\nThree?"),
        record(&json!("3"), "a/3.jpg", "<image>\nFour?"),
    ]);
    scratch.write("stage_1.json", file.to_string());
    let row = |id: &str, image: &str| json!({"id": id, "text": "A boat.", "images": [image]});
    let input = json!([
        row("1", "b/1.jpg"),
        row("1", "/data/a/1.jpg"),
        row("1", "1.jpg"),
        row("1", "c/1.jpg"),
        row("2", "c/2.jpg"),
        row("3", "a/3.jpg"),
    ]);
    let args = ["--questions", "stage_1.json", "--max-quarantine", "none"];
    let (records, codes) = to_llava(&scratch, &args, &input);
    assert_eq!(codes, ["id_ambiguous"; 3]);
    let found: Vec<&str> = records
        .iter()
        .map(|record| record["conversations"][0]["value"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["<image>\nTwo?", "<image>\nOne?", "<image>\nSame?"]);
}

#[test]
fn rows_lose_nothing_of_a_record() {
    let scratch = Scratch::new();
    let mut with_system = turns(&[("<image>\nq", "a")]);
    with_system
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"from": "system", "value": "Be brief."}));
    let with_key = json!([
        {"from": "human", "value": "q", "markdown": null},
        {"from": "gpt", "value": "a", "loss": 0.5},
    ]);
    let (written, codes) = to_rows(
        &scratch,
        &[],
        &json!([
            {"id": "turns", "image": ["a.jpg", "b.jpg"],
             "conversations": turns(&[("<image>\nfirst", "one"), ("and <image>?", "two")])},
            {"id": "keys", "system": "Be kind.", "score": 1.50, "model": {"name": "x"},
             "conversations": turns(&[("a tag it is", "yes, it is")])},
            {"id": "system", "image": "a.jpg", "conversations": with_system},
            {"id": "video", "video": "v/a.mp4", "conversations": turns(&[("<image>\nq", "a")])},
            {"id": "videos", "video": ["a.mp4", "b.mp4"], "image": "a.jpg",
             "conversations": turns(&[("<video><image>\n<video> q", "a")])},
            {"id": "own text", "text": "t", "conversations": turns(&[("q", "a")])},
            {"id": "turn keys", "conversations": with_key},
            {"id": "one too many", "image": "a.jpg",
             "conversations": turns(&[("<image>\nfirst", "one"), ("<image>\nsecond", "two")])},
            {"id": "one too few", "image": ["a.jpg", "b.jpg"],
             "conversations": turns(&[("<image>\nfirst", "one")])},
            {"id": "no video", "video": "a.mp4", "conversations": turns(&[("q", "a")])},
        ]),
    );
    assert_eq!(
        codes,
        [
            "field_unplaced",
            "field_unplaced",
            "image_token_count",
            "image_token_count",
            "image_token_count"
        ]
    );
    assert_eq!(
        written,
        [
            json!({"id": "turns", "images": ["a.jpg", "b.jpg"],
                "text": "[[human]]: <__dj__image>\nfirst\n[[gpt]]: one\n[[human]]: and <__dj__image>?\n[[gpt]]: two <|__dj__eoc|>"}),
            json!({"id": "keys", "images": [], "system": "Be kind.", "score": 1.50, "model": {"name": "x"},
                "text": "[[human]]: a tag it is\n[[gpt]]: yes, it is <|__dj__eoc|>"}),
            json!({"id": "system", "images": ["a.jpg"], "system": "Be brief.",
                "text": "[[human]]: <__dj__image>\nq\n[[gpt]]: a <|__dj__eoc|>"}),
            json!({"id": "video", "images": [], "videos": ["v/a.mp4"],
                "text": "[[human]]: <__dj__video>\nq\n[[gpt]]: a <|__dj__eoc|>"}),
            json!({"id": "videos", "images": ["a.jpg"], "videos": ["a.mp4", "b.mp4"],
                "text": "[[human]]: <__dj__video><__dj__image>\n<__dj__video> q\n[[gpt]]: a <|__dj__eoc|>"}),
        ]
    );
}

#[test]
fn a_caption_has_as_many_tokens_as_images() {
    let scratch = Scratch::new();
    let (written, codes) = to_rows(
        &scratch,
        &["--only-caption"],
        &json!([
            {"id": "two", "image": ["a.png", "b.png"],
             "conversations": turns(&[("<image>\n<image>\nCompare.", "The same.")])},
            {"id": "one", "image": "a.png", "conversations": turns(&[("<image>\nq", "A."), ("q", "B.")])},
            {"id": "none", "conversations": turns(&[("q", "A.")])},
            {"id": "video", "video": "a.mp4", "conversations": turns(&[("<video>\nq", "A.")])},
            {"id": "quoted", "image": "a.png", "conversations": turns(&[("<image>\nq", "It says <image>.")])},
        ]),
    );
    assert_eq!(codes, ["image_token_count"]);
    let texts: Vec<&str> = written
        .iter()
        .map(|row| row["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        texts,
        [
            "<__dj__image>\n<__dj__image>\nThe same. <|__dj__eoc|>",
            "<__dj__image>\nA.\nB. <|__dj__eoc|>",
            "A. <|__dj__eoc|>",
            "<__dj__video>\nA. <|__dj__eoc|>",
        ]
    );
}

#[test]
fn videos_go_out_and_come_back() {
    let scratch = Scratch::new();
    let row = |id: &str, text: &str, videos: &[&str]| json!({"id": id, "text": format!("{text} <|__dj__eoc|>"), "images": [], "videos": videos});
    let input = json!([
        row(
            "one",
            "[[human]]: <__dj__video>\nq\n[[gpt]]: a",
            &["v/a.mp4"]
        ),
        row(
            "two",
            "[[human]]: <__dj__video>\n<__dj__video>\nq\n[[gpt]]: a\n[[human]]: more\n[[gpt]]: b",
            &["a.mp4", "b.mp4"]
        ),
        json!({"id": "none", "text": "[[human]]: q\n[[gpt]]: a <|__dj__eoc|>", "images": []}),
        row(
            "few",
            "[[human]]: <__dj__video>\nq\n[[gpt]]: a",
            &["a.mp4", "b.mp4"]
        ),
        row(
            "answer",
            "[[human]]: q\n[[gpt]]: <__dj__video> a <__dj__video>",
            &["a.mp4"]
        ),
    ]);
    let lines = |rows: &Value| {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row.to_string() + "\n").collect::<String>()
    };
    scratch.write("rows.jsonl", lines(&input));
    let said = |args: &[&str]| {
        let mut line = vec![
            "convert",
            "--force",
            "--validate",
            "none",
            "--paths",
            "keep",
        ];
        line.extend(["--max-quarantine", "none"]);
        line.extend(args);
        scratch.djr(&line)
    };
    // Who does not ask for videos is told that they have no place.
    let ran = said(&["--to", "messages", "rows.jsonl", "-o", "m.jsonl"]).expect(1);
    assert!(ran.stderr.contains("field_unplaced"), "{}", ran.stderr);
    assert_eq!(scratch.rows("m.jsonl").len(), 1);
    said(&[
        "--to",
        "messages",
        "--videos",
        "rows.jsonl",
        "-o",
        "m.jsonl",
    ])
    .expect(1);
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    assert_eq!(
        scratch.rows("m.jsonl"),
        [
            json!({"id": "one", "messages": [message("user", "<video>\nq"), message("assistant", "a")],
                "images": [], "videos": ["v/a.mp4"]}),
            json!({"id": "two", "messages": [message("user", "<video>\n<video>\nq"), message("assistant", "a"),
                message("user", "more"), message("assistant", "b")], "images": [], "videos": ["a.mp4", "b.mp4"]}),
            json!({"id": "none", "messages": [message("user", "q"), message("assistant", "a")],
                "images": [], "videos": []}),
        ]
    );
    let info = scratch.json("dataset_info.json");
    assert_eq!(info["m"]["columns"]["videos"], "videos");
    for trainer in ["ms_swift", "llama_factory"] {
        let ran = scratch.djr(&["check", "--for", trainer, "m.jsonl"]);
        assert!(!ran.stderr.contains("media_mark"), "{}", ran.stderr);
        assert!(!ran.text().contains("media_mark"), "{}", ran.text());
    }
    for (token, mark) in [("video", "<video>"), ("image", "<image>")] {
        let args = [
            "--to",
            "llava",
            "--videos",
            "--video-token",
            token,
            "rows.jsonl",
            "-o",
            "l.json",
        ];
        said(&args).expect(1);
        let records = scratch.json("l.json");
        assert_eq!(records[0]["video"], "v/a.mp4");
        assert_eq!(records[1]["video"], json!(["a.mp4", "b.mp4"]));
        assert_eq!(records[2].get("video"), None);
        assert_eq!(
            records[0]["conversations"][0]["value"],
            format!("{mark}\nq")
        );
        said(&["--to", "dj", "l.json", "-o", "back.jsonl"]).expect(0);
        let back = scratch.rows("back.jsonl");
        let whole = input.as_array().unwrap();
        assert_eq!(back[..2], whole[..2], "{token}");
    }
    said(&[
        "--to",
        "dj",
        "--from",
        "messages",
        "m.jsonl",
        "-o",
        "back.jsonl",
    ])
    .expect(0);
    assert_eq!(
        scratch.rows("back.jsonl")[..2],
        input.as_array().unwrap()[..2]
    );
    // Captions have theirs before the words.
    scratch.write("c.jsonl", lines(&json!([
        {"id": "c", "text": "<__dj__video>\n<__dj__video>\nA caption. <|__dj__eoc|>", "videos": ["a.mp4", "b.mp4"]}
    ])));
    said(&[
        "--to",
        "messages",
        "--videos",
        "--question",
        "What?",
        "c.jsonl",
        "-o",
        "m.jsonl",
    ])
    .expect(0);
    assert_eq!(
        scratch.rows("m.jsonl")[0]["messages"],
        json!([
            message("user", "<video>\n<video>\nWhat?"),
            message("assistant", "A caption.")
        ])
    );
}
