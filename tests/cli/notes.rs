//! Notes: each kind where it appears, and where it does not.

use std::fs;

use djr::note::Code;
use serde_json::{Value, json};

use crate::support::{Scratch, expect_no_note, expect_note, root, shared};

/// Runs a recipe over rows. The notes of its manifest by code, and what it printed.
fn run(scratch: &Scratch, rows: &[Value], recipe: &str, code: i32) -> (Vec<Value>, String) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    scratch.write("in.jsonl", lines.join("\n"));
    let text = format!("dataset_path: in.jsonl\nexport_path: out/o.jsonl\n{recipe}");
    scratch.write("r.yaml", text);
    let ran = scratch.djr(&["run", "r.yaml", "-v"]).expect(code);
    let manifest = scratch.path("out/o.jsonl.djr/manifest.json");
    let notes = match fs::read(&manifest) {
        Ok(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap()["notes"].clone(),
        Err(_) => json!([]),
    };
    (notes.as_array().unwrap().clone(), ran.stderr)
}

/// The notes of one kind, which must be printed as well.
#[track_caller]
fn of(code: Code, (notes, printed): &(Vec<Value>, String)) -> Vec<Value> {
    let found: Vec<Value> = notes
        .iter()
        .filter(|note| note["code"] == code.word())
        .cloned()
        .collect();
    for note in &found {
        let message = note["message"].as_str().unwrap();
        let line = format!("note: {message} [{}]", code.word());
        assert!(printed.contains(&line), "{line} is not in\n{printed}");
    }
    let shown = format!("[{}]", code.word());
    assert_eq!(!found.is_empty(), printed.contains(&shown), "{printed}");
    found
}

/// Those of a kind, of which there is one at least.
#[track_caller]
fn some_of(code: Code, told: &(Vec<Value>, String)) -> Vec<Value> {
    let found = of(code, told);
    assert!(!found.is_empty(), "{}", told.1);
    found
}

/// Sees that there is no note of a kind.
#[track_caller]
fn none_of(code: Code, told: &(Vec<Value>, String)) {
    let found = of(code, told);
    assert!(found.is_empty(), "{found:?}\n{}", told.1);
}

/// What `check` says of the recipe that was run last.
fn checked(scratch: &Scratch) -> String {
    scratch.djr(&["check", "r.yaml"]).expect(0).stderr
}

fn texts(texts: &[&str]) -> Vec<Value> {
    (1..)
        .zip(texts)
        .map(|(id, text)| json!({"id": id, "text": text}))
        .collect()
}

#[test]
fn every_kind_of_note_has_a_test_with_it_and_one_without() {
    let mut tests = String::new();
    for file in fs::read_dir(root().join("tests/cli")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "rs") {
            tests.extend(fs::read_to_string(path).unwrap().split_whitespace());
        }
    }
    // A note is looked for by these functions alone, each of which fails by itself.
    for code in Code::ALL {
        let is_in = |names: [&str; 2]| {
            let mut calls = names.iter().map(|name| format!("{name}(Code::{code:?},"));
            calls.any(|call| tests.contains(&call))
        };
        assert!(is_in(["some_of", "expect_note"]), "no test has {code:?}");
        assert!(
            is_in(["none_of", "expect_no_note"]),
            "no test is without {code:?}"
        );
    }
}

#[test]
fn a_stat_of_another_field_is_noted() {
    let scratch = Scratch::new();
    let rows = [
        json!({"q": "a long question", "a": "a long answer"}),
        json!({"q": "another question", "a": "ok"}),
        json!({"q": "short", "a": "ok"}),
    ];
    let recipe = "text_keys: [q, a]\nprocess:\n  - text_length_filter: {min_len: 10}\n  - text_length_filter: {min_len: 10, text_key: a}\n";
    let told = run(&scratch, &rows, recipe, 0);
    let notes = some_of(Code::StatOfOtherField, &told);
    assert_eq!(
        (&notes[0]["step"], &notes[0]["rows"]),
        (&json!(2), &json!(2))
    );
    let message = notes[0]["message"].as_str().unwrap();
    assert!(
        message.contains("measured 'q', and not 'a': 2 rows"),
        "{message}"
    );
    let said = checked(&scratch);
    assert!(said.contains("[stat_of_other_field]"), "{said}");
    let ran = scratch.djr(&["run", "r.yaml", "--explain"]).expect(0);
    assert!(ran.text().contains("[stat_of_other_field]"));
    // Another stat, or the same field: nothing to say.
    for sound in [
        "text_keys: [q, a]\nprocess:\n  - text_length_filter: {min_len: 10}\n  - alphanumeric_filter: {text_key: a}\n",
        "text_keys: [q]\nprocess:\n  - text_length_filter: {min_len: 1}\n  - text_length_filter: {max_len: 50}\n",
    ] {
        let told = run(&scratch, &rows, sound, 0);
        none_of(Code::StatOfOtherField, &told);
        none_of(Code::StatOfOtherStep, &told);
    }
    // Where no row comes to the second step, nothing was decided so.
    let none = recipe.replace("min_len: 10}", "min_len: 1000}");
    let told = run(&scratch, &rows, &none, 0);
    none_of(Code::StatOfOtherField, &told);
}

#[test]
fn images_of_another_field_and_stats_measured_otherwise_are_noted() {
    let scratch = Scratch::new();
    let rows = texts(&[
        "aaaa bbbb cccc",
        "some words of a text",
        "and yet another text",
    ]);
    let recipe = "process:\n  - character_repetition_filter: {rep_len: 3, max_ratio: 0.9}\n  - words_num_filter: {min_num: 1}\n  - character_repetition_filter: {rep_len: 10, max_ratio: 0.5}\n";
    let told = run(&scratch, &rows, recipe, 0);
    let notes = some_of(Code::StatOfOtherStep, &told);
    assert_eq!(
        (&notes[0]["step"], &notes[0]["rows"]),
        (&json!(3), &json!(3))
    );
    let message = notes[0]["message"].as_str().unwrap();
    assert!(
        message.contains("with rep_len: 3, and not with rep_len: 10"),
        "{message}"
    );
    assert!(checked(&scratch).contains("[stat_of_other_step]"));
    let same = recipe.replace("rep_len: 10", "rep_len: 3");
    none_of(Code::StatOfOtherStep, &run(&scratch, &rows, &same, 0));
}

#[test]
fn a_stat_measured_before_a_change_is_noted() {
    let scratch = Scratch::new();
    let rows = texts(&[
        "see http://a.example/x now",
        "no link here",
        "http://b.example",
    ]);
    let recipe = "process:\n  - text_length_filter: {min_len: 1}\n  - clean_links_mapper:\n  - text_length_filter: {min_len: 12}\n";
    let told = run(&scratch, &rows, recipe, 0);
    let notes = some_of(Code::StatBeforeChange, &told);
    assert_eq!(
        (&notes[0]["step"], &notes[0]["rows"]),
        (&json!(3), &json!(2))
    );
    let message = notes[0]["message"].as_str().unwrap();
    assert!(
        message.contains("before step 2 (clean_links_mapper) changed 'text'"),
        "{message}"
    );
    assert!(checked(&scratch).contains("[stat_before_change]"));
    // Rows that wait on disk in between are counted as well.
    let far = "process:\n  - text_length_filter: {min_len: 1}\n  - clean_links_mapper:\n  - random_selector: {select_num: 3}\n  - text_length_filter: {min_len: 12}\n";
    let notes = some_of(Code::StatBeforeChange, &run(&scratch, &rows, far, 0));
    assert_eq!(
        (&notes[0]["step"], &notes[0]["rows"]),
        (&json!(4), &json!(2))
    );
    // The change comes first, touches another field, or changes no row.
    for sound in [
        "process:\n  - clean_links_mapper:\n  - text_length_filter: {min_len: 1}\n  - text_length_filter: {max_len: 90}\n",
        "process:\n  - text_length_filter: {min_len: 1}\n  - clean_links_mapper: {text_key: note}\n  - text_length_filter: {max_len: 90}\n",
        "process:\n  - text_length_filter: {min_len: 1}\n  - clean_email_mapper:\n  - text_length_filter: {max_len: 90}\n",
    ] {
        let mut rows = rows.clone();
        for row in &mut rows {
            row["note"] = "http://c.example".into();
        }
        let told = run(&scratch, &rows, sound, 0);
        none_of(Code::StatBeforeChange, &told);
    }
}

#[test]
fn stats_that_came_along_are_counted() {
    let scratch = Scratch::new();
    let stats =
        |n: Value| json!({"text": "a text that is long enough", "__dj__stats__": {"text_len": n}});
    let rows = [
        json!({"text": "a text that is long enough"}),
        stats(json!(3)),
        stats(json!(300)),
        stats(json!("3")),
        stats(Value::Null),
    ];
    let recipe = "process: [text_length_filter: {min_len: 10}]\n";
    let told = run(&scratch, &rows, recipe, 0);
    let notes = some_of(Code::StatCameAlong, &told);
    assert_eq!(
        (&notes[0]["step"], &notes[0]["rows"]),
        (&json!(1), &json!(2))
    );
    // A text is no number, and null is none: these are measured.
    let again = some_of(Code::StatMeasuredAgain, &told);
    assert_eq!(
        (&again[0]["step"], &again[0]["rows"]),
        (&json!(1), &json!(2))
    );
    let ledger = scratch.ledger("out/o.jsonl.djr");
    assert_eq!(ledger[1]["notes"], json!(["stat_came_along"]));
    assert_eq!(ledger[0].get("notes"), None);
    let why = scratch.djr(&["why", "out/o.jsonl", "in.jsonl:2"]).expect(0);
    assert!(why.text().contains("[stat_came_along]"), "{}", why.text());
    // Behind a barrier they are still known for what they are, and what was measured is, too.
    let far = "process:\n  - text_length_filter: {min_len: 1}\n  - random_selector: {select_num: 5}\n  - text_length_filter: {min_len: 10}\n";
    let notes = some_of(Code::StatCameAlong, &run(&scratch, &rows, far, 0));
    let counts: Vec<_> = notes.iter().map(|n| (&n["step"], &n["rows"])).collect();
    assert_eq!(counts, [(&json!(1), &json!(2)), (&json!(3), &json!(2))]);
    let told = run(&scratch, &rows[..1], far, 0);
    none_of(Code::StatCameAlong, &told);
    none_of(Code::StatMeasuredAgain, &told);
}

#[test]
fn hashes_of_an_earlier_deduplicator_are_noted() {
    let scratch = Scratch::new();
    let rows = texts(&["A dog", "a dog", "a cat"]);
    let recipe =
        "process:\n  - document_deduplicator:\n  - document_deduplicator: {lowercase: true}\n";
    let told = run(&scratch, &rows, recipe, 0);
    assert_eq!(some_of(Code::HashOfOtherStep, &told)[0]["step"], 2);
    assert_eq!(scratch.rows("out/o.jsonl").len(), 3);
    assert!(checked(&scratch).contains("[hash_of_other_step]"));
    let images = "process:\n  - image_deduplicator: {method: phash}\n  - image_deduplicator: {method: dhash, consider_text: true}\n  - document_deduplicator:\n";
    let notes = some_of(Code::HashOfOtherStep, &run(&scratch, &rows, images, 0));
    let steps: Vec<_> = notes.iter().map(|note| &note["step"]).collect();
    assert_eq!(steps, [2, 3]);
    for sound in [
        "process:\n  - document_deduplicator: {lowercase: true}\n  - document_minhash_deduplicator: {window_size: 1}\n",
        "process:\n  - document_deduplicator:\n  - image_deduplicator:\n",
    ] {
        let told = run(&scratch, &rows, sound, 0);
        none_of(Code::HashOfOtherStep, &told);
    }
}

#[test]
fn short_texts_are_counted_and_told_apart() {
    let scratch = Scratch::new();
    let long = "one two three four five six seven eight nine";
    let rows = texts(&["cat", "dog", "a red bus", long, long, "cat"]);
    let recipe = "process: [document_minhash_deduplicator: {window_size: 5}]\n";
    let told = run(&scratch, &rows, recipe, 0);
    let notes = some_of(Code::ShortTexts, &told);
    assert_eq!(
        (&notes[0]["step"], &notes[0]["rows"]),
        (&json!(1), &json!(4))
    );
    let why = |id: &str| scratch.djr(&["why", "out/o.jsonl", id]).expect(0).text();
    assert!(why("3").contains("duplicate of") && why("3").contains("[short_texts]"));
    assert!(why("5").contains("duplicate of") && !why("5").contains("[short_texts]"));
    let left = |mode: &str| {
        let recipe = format!(
            "process: [document_minhash_deduplicator: {{window_size: 5, short_texts: {mode}}}]\n"
        );
        let told = run(&scratch, &rows, &recipe, 0);
        let ids = scratch.rows("out/o.jsonl");
        let ids: Vec<u64> = ids.iter().map(|row| row["id"].as_u64().unwrap()).collect();
        (ids, of(Code::ShortTexts, &told).len())
    };
    assert_eq!(left("peer"), (vec![1, 4], 1));
    assert_eq!(left("exact"), (vec![1, 2, 3, 4], 0));
    assert_eq!(left("keep"), (vec![1, 2, 3, 4, 6], 0));
    let ran = scratch.djr(&[
        "check",
        "r.yaml",
        "--set",
        "document_minhash_deduplicator.short_texts=drop",
    ]);
    assert!(ran.expect(2).stderr.contains("peer"));
    // Long texts alone, or a window that they fill.
    let one = "process: [document_minhash_deduplicator: {window_size: 1}]\n";
    none_of(Code::ShortTexts, &run(&scratch, &rows, one, 0));
}

#[test]
fn pictures_without_content_are_counted() {
    let scratch = Scratch::new();
    let png = |name: &str, pixels: &dyn Fn(u32, u32) -> [u8; 4]| {
        let image = image::RgbaImage::from_fn(40, 30, |x, y| image::Rgba(pixels(x, y)));
        image.save(scratch.path(name)).unwrap();
    };
    png("white.png", &|_, _| [255; 4]);
    png("black.png", &|_, _| [0, 0, 0, 255]);
    png("clear.png", &|x, _| [0, 0, 0, if x < 20 { 0 } else { 255 }]);
    png("photo.png", &|x, y| {
        let shade = |of: u32| u8::try_from(of % 256).unwrap();
        [shade(x * 6), shade(y * 8), shade(x * y), 255]
    });
    let row = |id: u32, name: &str| json!({"id": id, "images": [name]});
    let rows = [
        row(1, "white.png"),
        row(2, "black.png"),
        row(3, "clear.png"),
        row(4, "photo.png"),
    ];
    for method in ["phash", "dhash", "whash", "ahash"] {
        let recipe = format!("process: [image_deduplicator: {{method: {method}}}]\n");
        let told = run(&scratch, &rows, &recipe, 0);
        let notes = some_of(Code::BlankImages, &told);
        assert_eq!(
            (&notes[0]["step"], &notes[0]["rows"]),
            (&json!(1), &json!(3)),
            "{method}"
        );
    }
    let why = scratch.djr(&["why", "out/o.jsonl", "2"]).expect(0).text();
    assert!(why.contains("[blank_images]"), "{why}");
    let near = "process: [image_deduplicator: {threshold: 4}]\n";
    assert_eq!(
        some_of(Code::BlankImages, &run(&scratch, &rows, near, 0))[0]["rows"],
        3
    );
    let told = run(&scratch, &rows[3..], "process: [image_deduplicator: ]\n", 0);
    none_of(Code::BlankImages, &told);
}

#[test]
fn rows_that_rounding_decides_are_counted() {
    let scratch = Scratch::new();
    // 3 of 10 characters: 0.3, which comes back from its way through JSON as 0.30000000000000004.
    let rows = texts(&["abc!!!!!!!", "abcdefghij"]);
    let recipe = "process: [alphanumeric_filter: {max_ratio: 0.3}]\n";
    let told = run(&scratch, &rows, recipe, 0);
    let notes = some_of(Code::RoundingDecided, &told);
    assert_eq!(
        (&notes[0]["step"], &notes[0]["rows"]),
        (&json!(1), &json!(1))
    );
    let exact = format!("compat_stats: exact\n{recipe}");
    none_of(Code::RoundingDecided, &run(&scratch, &rows, &exact, 0));
}

#[test]
fn a_field_of_no_row_is_named() {
    let scratch = Scratch::new();
    let rows = [
        json!({"id": 1, "image": "a.png", "text": "<__dj__image> a"}),
        json!({"id": 2, "image": "b.png", "text": "<__dj__image> b"}),
    ];
    let recipe = "validate: decode\nprocess: [image_shape_filter: {min_width: 9}]\n";
    let told = run(&scratch, &rows, recipe, 0);
    let notes = some_of(Code::FieldOfNoRow, &told);
    let message = notes[0]["message"].as_str().unwrap();
    for words in [
        "'images' (image_key)",
        "rows have: id, image, text",
        "did you mean image_key: image?",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(notes[0]["rows"], 2);
    assert!(checked(&scratch).contains("rows have: id, image, text"));
    // An analysis says it, too.
    let ran = scratch
        .djr(&["analyze", "in.jsonl", "-o", "look"])
        .expect(0);
    assert!(ran.stderr.contains("[field_of_no_row]"), "{}", ran.stderr);
    assert_eq!(
        scratch.json("look/analysis.json")["notes"][0]["code"],
        "field_of_no_row"
    );
    // Where only outputs look at images.
    let told = run(
        &scratch,
        &rows,
        "validate: header\nprocess: [text_length_filter: {min_len: 1}]\n",
        0,
    );
    assert_eq!(some_of(Code::FieldOfNoRow, &told).len(), 1);
    // Where an output's condition, its split or a second text key names it.
    let filter = "process: [text_length_filter: {min_len: 1}]\n";
    for (keys, field, key) in [
        (
            "outputs: [{path: o2.jsonl, where: 'scor > 3 and text'}]",
            "scor",
            "where",
        ),
        (
            "outputs: [{path: 'o-{value}.jsonl', split_by: lang}]",
            "lang",
            "split_by",
        ),
        ("text_keys: [text, caption]", "caption", "text_keys"),
    ] {
        let _ = fs::remove_dir_all(scratch.path("out"));
        let told = run(&scratch, &rows, &format!("{keys}\n{filter}"), 0);
        let notes = of(Code::FieldOfNoRow, &told);
        assert_eq!(notes.len(), 1, "{keys}");
        let message = notes[0]["message"].as_str().unwrap();
        let wanted = format!("'{field}' ({key}); rows have: id, image, text");
        assert!(message.contains(&wanted), "{message}");
        assert!(checked(&scratch).contains(&wanted), "{keys}");
    }
    // A stat does for a condition, and a field that a step makes.
    for keys in [
        "outputs: [{path: o2.jsonl, where: 'text_len > 3 and id'}]",
        "outputs: [{path: o2.jsonl, of: dropped, where: '__dj__fate__'}]",
        "outputs: [{path: 'o-{value}.jsonl', split_by: id}]",
    ] {
        let _ = fs::remove_dir_all(scratch.path("out"));
        let told = run(&scratch, &rows, &format!("{keys}\n{filter}"), 0);
        none_of(Code::FieldOfNoRow, &told);
    }
    let _ = fs::remove_dir_all(scratch.path("out"));
    // One row that has it is enough, whatever it holds; and nobody asks where nobody asks.
    let mut some = rows.to_vec();
    some.push(json!({"id": 3, "text": "c", "images": null}));
    for (rows, recipe) in [
        (&some[..], "process: [image_shape_filter: {min_width: 9}]\n"),
        (&rows[..], "process: [text_length_filter: {min_len: 1}]\n"),
    ] {
        let told = run(&scratch, rows, recipe, 0);
        none_of(Code::FieldOfNoRow, &told);
    }
}

#[test]
fn a_stat_does_where_a_step_takes_stats_or_fields() {
    let scratch = Scratch::new();
    let row = |stats: Value| [json!({"id": 1, "text": "ab", "__dj__stats__": stats})];
    let (bare, scored) = (row(json!({})), row(json!({"score": 3})));
    let measure = "text_length_filter: {min_len: 1}";
    let mix = |by: &str| format!("mixture_selector: {{by: {by}, select_num: 1}}");
    for (rows, steps, notes) in [
        // Measured by an earlier step, or by an earlier run.
        (&bare, [measure.to_owned(), mix("text_len")], 0),
        (&scored, [measure.to_owned(), mix("score")], 0),
        // Measured too late, or nowhere.
        (&bare, [mix("text_len"), measure.to_owned()], 1),
        (&bare, [measure.to_owned(), mix("score")], 1),
    ] {
        let recipe = format!("process: [{}]\n", steps.join(", "));
        let _ = fs::remove_dir_all(scratch.path("out"));
        let told = run(&scratch, rows, &recipe, 0);
        let found = of(Code::FieldOfNoRow, &told);
        assert_eq!(found.len(), notes, "{recipe}{}", told.1);
        assert_eq!(
            checked(&scratch).contains("[field_of_no_row]"),
            notes > 0,
            "{recipe}"
        );
    }
    // A step that takes fields only has no use for a stat.
    let _ = fs::remove_dir_all(scratch.path("out"));
    let top = "topk_specified_field_selector: {field_key: text_len, topk: 1}";
    let (_, printed) = run(
        &scratch,
        &bare,
        &format!("process: [{measure}, {top}]\n"),
        2,
    );
    let words = "no row has the field 'text_len' (field_key of step 2";
    assert!(printed.contains(words), "{printed}");
}

#[test]
fn a_field_that_every_row_needs_and_none_has_fails_the_run() {
    let scratch = Scratch::new();
    let few = [
        json!({"id": 1, "content": "a"}),
        json!({"id": 2, "content": "b"}),
    ];
    let many: Vec<Value> = (0..3000)
        .map(|id| json!({"id": id, "content": "x"}))
        .collect();
    for (rows, recipe) in [
        (&few[..], "process: [text_length_filter: {min_len: 1}]\n"),
        (&many[..], "process: [text_length_filter: {min_len: 1}]\n"),
        (
            &few[..],
            "process: [clean_links_mapper: , text_length_filter: ]\n",
        ),
        (&few[..], "process: [document_minhash_deduplicator: ]\n"),
        (
            &few[..],
            "on_error: drop\nprocess: [text_length_filter: {min_len: 1}]\n",
        ),
    ] {
        let (_, printed) = run(&scratch, rows, recipe, 2);
        for words in [
            "no row has the field 'text' (text_keys); rows have: id, content",
            "did you mean text_keys: content?",
        ] {
            assert!(printed.contains(words), "{recipe}: {printed}");
        }
        assert!(!printed.contains("images there"), "{printed}");
        assert!(
            scratch.files("out").is_empty(),
            "{:?}",
            scratch.files("out")
        );
    }
    // One row that has it: the others are set aside, each by itself.
    let mixed = [
        json!({"id": 1, "text": "a"}),
        json!({"id": 2, "content": "b"}),
    ];
    let (notes, _) = run(
        &scratch,
        &mixed,
        "process: [text_length_filter: {min_len: 1}]\n",
        1,
    );
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn records_of_rows_need_their_text() {
    let scratch = Scratch::new();
    let content = |n: u32| format!("{{\"id\": {n}, \"content\": \"row {n}\"}}\n");
    let convert = |rows: u32, more: &[&str]| {
        scratch.write("in.jsonl", (0..rows).map(content).collect::<String>());
        let arguments = ["convert", "in.jsonl", "--to", "llava", "--question", "Hm?"];
        scratch.djr(&[&arguments[..], &["-o", "o.json", "--force"], more].concat())
    };
    // Whether they are few or so many that the run stops on its way.
    for rows in [3, 3000] {
        let ran = convert(rows, &[]).expect(2);
        let wanted = "no row has the field 'text' (text_keys); rows have: id, content; did you mean text_keys: content?";
        assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
        assert!(!scratch.path("o.json").exists());
        let ran = convert(rows, &["--text-key", "content"]).expect(0);
        assert!(!ran.stderr.contains("the field 'text'"), "{}", ran.stderr);
        fs::remove_file(scratch.path("o.json")).unwrap();
    }
    // One row that has it is enough to go on.
    scratch.write("in.jsonl", content(1) + "{\"id\": 2, \"text\": \"a\"}\n");
    let arguments = ["convert", "in.jsonl", "--to", "llava", "--question", "Hm?"];
    let ran = scratch
        .djr(&[&arguments[..], &["-o", "o.json", "--force"]].concat())
        .expect(1);
    assert!(!ran.stderr.contains("the field 'text'"), "{}", ran.stderr);
}

#[test]
fn image_tokens_that_do_not_match_are_counted() {
    let scratch = Scratch::new();
    let row = |text: &str, images: Value| json!({"text": text, "images": images});
    let rows = [
        row("<__dj__image> one", json!(["a.png"])),
        row("<__dj__image> one of two", json!(["a.png", "b.png"])),
        row("none of one", json!("a.png")),
        row("none of none", json!([])),
        json!({"text": "<__dj__image> without"}),
        row("\u{3c}__dj__image> \"escaped\"", json!(["a\\b.png"])),
    ];
    let recipe = "process: [text_length_filter: {min_len: 1}]\n";
    let told = run(&scratch, &rows, recipe, 0);
    assert_eq!(some_of(Code::ImageTokensDiffer, &told)[0]["rows"], 3);
    assert!(checked(&scratch).contains("[image_tokens_differ]"));
    let sound = [
        rows[0].clone(),
        rows[3].clone(),
        rows[5].clone(),
        json!({"text": "plain"}),
    ];
    none_of(Code::ImageTokensDiffer, &run(&scratch, &sound, recipe, 0));
    assert!(!checked(&scratch).contains("[image_tokens_differ]"));
    // What counts is what is written: a mapper may take the tokens away.
    let strip = "process: [replace_content_mapper: {pattern: '<__dj__image>'}]\n";
    assert_eq!(
        some_of(Code::ImageTokensDiffer, &run(&scratch, &sound, strip, 0))[0]["rows"],
        2
    );
    let token = "image_special_token: <img>\nprocess: [text_length_filter: {min_len: 1}]\n";
    let marked = [row("<img> <img>", json!(["a.png", "b.png"]))];
    none_of(Code::ImageTokensDiffer, &run(&scratch, &marked, token, 0));
}

#[test]
fn ids_that_repeat_are_counted() {
    let scratch = Scratch::new();
    let rows = [
        json!({"id": "1", "text": "a"}),
        json!({"id": "2", "text": "b"}),
        json!({"id": "1", "text": "c"}),
        json!({"id": 1, "text": "d"}),
        json!({"id": "1", "text": "e"}),
        json!({"text": "f"}),
        json!({"text": "g"}),
    ];
    let recipe = "process: [text_length_filter: {min_len: 1}]\n";
    let told = run(&scratch, &rows, recipe, 0);
    assert_eq!(some_of(Code::IdsRepeat, &told)[0]["rows"], 2);
    let distinct = [
        rows[0].clone(),
        rows[1].clone(),
        rows[3].clone(),
        rows[5].clone(),
        rows[6].clone(),
    ];
    none_of(Code::IdsRepeat, &run(&scratch, &distinct, recipe, 0));
    // Parts of one row share its id, which repeats none.
    let chunks = "process: [text_chunk_mapper: {max_len: 1, split_pattern: null}]\n";
    let long = [json!({"id": 1, "text": "abc"})];
    none_of(Code::IdsRepeat, &run(&scratch, &long, chunks, 0));
}

#[test]
fn a_sample_that_falls_short_is_noted() {
    let scratch = Scratch::new();
    let rows = texts(&["a", "b"]);
    let recipe = "process: [text_length_filter: {min_len: 1}]\noutputs: [{format: jsonl, path: out/s.jsonl, sample: 5}]\n";
    let told = run(&scratch, &rows, recipe, 1);
    let notes = some_of(Code::SampleShort, &told);
    assert_eq!(notes[0]["rows"], 3);
    let enough = recipe.replace("sample: 5", "sample: 2");
    none_of(Code::SampleShort, &run(&scratch, &rows, &enough, 0));
}

#[test]
fn what_a_recipe_says_in_vain_is_noted() {
    let scratch = Scratch::new();
    let rows = texts(&["a", "b"]);
    let recipe = "executor_type: default\nuse_cache: true\nprocess:\n  - replace_content_mapper: {pattern: a, pattern: b, repl: X}\n  - replace_content_mapper: {pattern: a}\n";
    let told = run(&scratch, &rows, recipe, 0);
    assert_eq!(some_of(Code::KeyIgnored, &told).len(), 2);
    assert_eq!(some_of(Code::KeyRepeated, &told).len(), 1);
    assert_eq!(some_of(Code::ParamTakenOver, &told)[0]["step"], 2);
    let plain = "process:\n  - replace_content_mapper: {pattern: b, repl: X}\n  - replace_content_mapper: {pattern: a, repl: X}\n";
    let told = run(&scratch, &rows, plain, 0);
    none_of(Code::KeyIgnored, &told);
    none_of(Code::KeyRepeated, &told);
    none_of(Code::ParamTakenOver, &told);
}

#[test]
fn two_files_of_one_name_and_files_passed_over_are_noted() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("configs/data")).unwrap();
    fs::create_dir_all(scratch.path("data")).unwrap();
    for (place, id) in [("configs/data", 1), ("data", 2)] {
        scratch.write(
            &format!("{place}/rows.jsonl"),
            format!("{{\"id\": {id}, \"text\": \"t\"}}\n"),
        );
    }
    scratch.write(
        "configs/r.yaml",
        "dataset_path: data\nexport_path: out/o.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n",
    );
    let told = |scratch: &Scratch| {
        let ran = scratch.djr(&["run", "configs/r.yaml"]).expect(0);
        let manifest = scratch.json("out/o.jsonl.djr/manifest.json");
        (manifest["notes"].as_array().unwrap().clone(), ran.stderr)
    };
    let both = told(&scratch);
    assert_eq!(some_of(Code::PathInTwoPlaces, &both).len(), 1);
    none_of(Code::FilesPassedOver, &both);
    let read = scratch.path("configs/data/rows.jsonl");
    let table = format!("<- {}", fs::canonicalize(read).unwrap().display());
    assert!(
        both.1.contains("configs/data/rows.jsonl") && both.1.contains("<- "),
        "{table}: {}",
        both.1
    );
    fs::remove_dir_all(scratch.path("data")).unwrap();
    scratch.write("configs/data/.hidden.jsonl", "{}\n");
    let one = told(&scratch);
    none_of(Code::PathInTwoPlaces, &one);
    assert_eq!(some_of(Code::FilesPassedOver, &one).len(), 1);
    // An analysis and a subset say what they pass over as well.
    for command in [
        &["analyze", "configs/data", "-o", "look"][..],
        &["subset", "configs/data", "--n", "1", "-o", "s.jsonl"],
    ] {
        let ran = scratch.djr(command).expect(0);
        assert!(ran.stderr.contains("[files_passed_over]"), "{}", ran.stderr);
    }
}

#[test]
fn two_candidates_are_noted_wherever_a_recipe_names_what_it_reads() {
    let scratch = Scratch::new();
    let question = json!([{"id": 1, "conversations": [
        {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "x"}]}]);
    let row = json!({"id": 1, "text": "t"});
    for place in ["configs/", ""] {
        scratch.write(&format!("{place}data/rows.jsonl"), format!("{row}\n"));
        scratch.write(
            &format!("{place}seen.jsonl"),
            format!("{{\"text\": \"{place}\"}}\n"),
        );
        scratch.write(&format!("{place}q.json"), question.to_string());
    }
    let plain = "process: [text_length_filter: {min_len: 1}]\n";
    let here = "dataset_path: configs/data/rows.jsonl\n";
    for (key, path, recipe) in [
        (
            "dataset_path",
            "data/*.jsonl",
            format!("dataset_path: data/*.jsonl\n{plain}"),
        ),
        (
            "dataset_path",
            "data",
            format!("dataset_path: [data]\n{plain}"),
        ),
        (
            "dataset.configs.path",
            "data/rows.jsonl",
            format!("dataset: {{configs: [{{type: local, path: data/rows.jsonl}}]}}\n{plain}"),
        ),
        (
            "document_deduplicator.reference",
            "seen.jsonl",
            format!("{here}process: [document_deduplicator: {{reference: [seen.jsonl]}}]\n"),
        ),
        (
            "outputs.questions",
            "q.json",
            format!("{here}outputs: [{{format: llava, path: o.json, questions: q.json}}]\n{plain}"),
        ),
    ] {
        let export = if recipe.contains("outputs:") {
            ""
        } else {
            "export_path: o.jsonl\n"
        };
        scratch.write("configs/r.yaml", format!("{export}{recipe}"));
        let said = scratch.djr(&["check", "configs/r.yaml"]).expect(0).stderr;
        expect_note(Code::PathInTwoPlaces, &said);
        assert_eq!(said.matches("[path_in_two_places]").count(), 1, "{said}");
        let dir = scratch.path("");
        let dir = dir.display();
        let told = format!(
            "note: {key}: '{path}' is {dir}configs/{path} (beside the recipe), and not {dir}{path} "
        );
        assert!(said.contains(&told), "{told} is not in\n{said}");
    }
    // What stands in one place alone, what is written, and what the command line says.
    scratch.write(
        "configs/r.yaml",
        format!("{here}export_path: data/rows.jsonl\n{plain}"),
    );
    let args = [
        "check",
        "configs/r.yaml",
        "--output",
        "o.jsonl",
        "--set",
        "text_keys=text",
    ];
    expect_no_note(Code::PathInTwoPlaces, &scratch.djr(&args).expect(0).stderr);
}

#[test]
fn an_analysis_notes_what_it_cannot_measure() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "{\"text\": \"a\", \"images\": []}\n");
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nprocess: [clean_links_mapper: ]\n",
    );
    let ran = scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    expect_note(Code::NothingMeasured, &ran.stderr);
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n",
    );
    let ran = scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(0);
    expect_no_note(Code::NothingMeasured, &ran.stderr);
}

#[test]
fn a_recut_notes_images_of_which_nothing_is_known() {
    let scratch = Scratch::new();
    let rows = "{\"id\": 1, \"text\": \"abc\"}\n";
    scratch.write("in.jsonl", rows);
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nvalidate: decode\nprocess: [text_length_filter: {min_len: 1}]\n",
    );
    let recut = |level: &str| {
        let analyze = [
            "analyze",
            "--recipe",
            "r.yaml",
            "--validate",
            level,
            "-o",
            "look",
        ];
        scratch.djr(&analyze).expect(0);
        let recut = [
            "recut",
            "look",
            "--set",
            "text_length_filter.max_len=5",
            "-o",
            "cut/",
        ];
        scratch.djr(&recut).expect(0).stderr
    };
    expect_note(Code::ImagesUnknown, &recut("header"));
    expect_no_note(Code::ImagesUnknown, &recut("decode"));
}

#[test]
fn the_report_shows_notes() {
    let scratch = Scratch::new();
    let rows = texts(&["cat", "dog"]);
    run(
        &scratch,
        &rows,
        "process: [document_minhash_deduplicator: ]\n",
        0,
    );
    scratch
        .djr(&["report", "out/o.jsonl", "-o", "page.html"])
        .expect(0);
    let page = String::from_utf8(scratch.read("page.html")).unwrap();
    assert!(page.contains("[short_texts]"));
    run(
        &scratch,
        &rows,
        "process: [text_length_filter: {min_len: 1}]\n",
        0,
    );
    scratch
        .djr(&["report", "out/o.jsonl", "-o", "page.html"])
        .expect(0);
    let page = String::from_utf8(scratch.read("page.html")).unwrap();
    assert!(!page.contains("Note: "));
}

#[test]
fn notes_do_not_depend_on_batches_or_threads_or_a_resume() {
    let scratch = Scratch::new();
    let rows: Vec<Value> = (0..700)
        .map(|n| json!({"id": n % 300, "text": format!("see http://a.example/{n}")}))
        .collect();
    let recipe = "process:\n  - text_length_filter: {min_len: 1}\n  - clean_links_mapper:\n  - document_minhash_deduplicator:\n  - text_length_filter: {max_len: 900}\n  - image_shape_filter:\n";
    let (notes, _) = run(&scratch, &rows, recipe, 0);
    assert!(notes.len() >= 3, "{notes:?}");
    for options in [
        &["--threads", "1", "--batch-rows", "1"][..],
        &[
            "--threads",
            "3",
            "--batch-rows",
            "7",
            "--checkpoint-every",
            "0",
        ],
    ] {
        let ran = scratch
            .djr(&[&["run", "r.yaml"], options].concat())
            .expect(0);
        drop(ran);
        let again = scratch.json("out/o.jsonl.djr/manifest.json")["notes"].clone();
        assert_eq!(again, json!(notes), "{options:?}");
    }
}

#[test]
fn a_clean_run_of_the_recipes_prints_no_note() {
    let Some(real) = shared().map(|dir| dir.join("real")) else {
        println!("skipped: DJR_SHARED is not set");
        return;
    };
    let scratch = Scratch::new();
    let recipes = fs::read_dir(root().join("recipes")).unwrap().flatten();
    let mut ran = 0;
    for recipe in recipes.map(|entry| entry.path()) {
        if recipe.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        let rows = real.join("rows.jsonl");
        let text = fs::read_to_string(&recipe).unwrap();
        // No recipe replaces the outputs of another.
        let output = format!("{}.jsonl", recipe.file_stem().unwrap().display());
        let mut args = vec![
            "run".to_owned(),
            recipe.display().to_string(),
            "--input".into(),
            rows.display().to_string(),
            "--output".into(),
            output,
        ];
        args.extend(["--set".into(), format!("image_root={}", real.display())]);
        // Its own sizes of samples are for a larger set.
        if text.contains("outputs:") {
            args.extend(["--set".into(), "outputs=[]".into()]);
        }
        let done = scratch.djr(&args);
        assert!(done.code <= 1, "{}", done.stderr);
        assert!(
            !done.stderr.contains("note:"),
            "{}: {}",
            recipe.display(),
            done.stderr
        );
        ran += 1;
    }
    assert!(ran >= 4);
}

#[test]
fn what_duplicates_are_chosen_by_and_no_row_has_is_named() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"text\": \"a\", \"n\": 1}\n{\"text\": \"a\", \"n\": 2}\n",
    );
    for (choice, missing) in [
        ("keep: {max: m}", Some("'m' (keep of ")),
        (
            "keep: {max: n}, merge: {tags: list}",
            Some("'tags' (merge of "),
        ),
        ("keep: {max: n}, merge: {n: sum}", None),
        ("keep: {max: text_len}", None),
    ] {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess:\n  - text_length_filter: {{min_len: 1}}\n  - document_deduplicator: {{{choice}}}\n"),
        );
        let ran = scratch.djr(&["check", "r.yaml"]).expect(0);
        let said = ran.text() + &ran.stderr;
        assert_eq!(
            said.contains("[field_of_no_row]"),
            missing.is_some(),
            "{choice}: {said}"
        );
        if let Some(missing) = missing {
            assert!(said.contains(missing), "{said}");
        }
    }
}
