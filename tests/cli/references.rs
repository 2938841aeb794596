//! References of deduplicators that were prepared by `djr index`.

use djr::op::{self, Family, OpKind};
use serde_json::{Map, Value, json};

use crate::support::{Ran, Scratch};

/// Rows of the run and of a reference: 40 texts and 8 pictures, and of every third one a changed copy.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("pictures")).unwrap();
    for number in 0..8_u32 {
        let light = |x: u32, y: u32| {
            let wave = (x * (number + 1) / 7) ^ (y * (9 - number) / 5);
            u8::try_from((wave * 23 + x + y) % 256).unwrap()
        };
        let picture = image::RgbImage::from_fn(96, 64, |x, y| image::Rgb([light(x, y); 3]));
        let smaller = image::imageops::thumbnail(&picture, 72, 48);
        for (name, picture) in [("large", &picture), ("small", &smaller)] {
            let path = scratch.path(&format!("pictures/{name}-{number}.png"));
            picture.save(path).unwrap();
        }
    }
    let text = |number: usize, changed: bool| {
        let word = |at: usize| format!("w{}", (number * 37 + at * at * 11) % 200);
        let mut words: Vec<String> = (0..24).map(word).collect();
        if changed {
            words[23].push('x');
        }
        words.join(" ")
    };
    let row = |number: usize, changed: bool| {
        let size = if changed { "small" } else { "large" };
        let images = [format!("pictures/{size}-{}.png", number % 8)];
        let text = text(number, changed && !number.is_multiple_of(2));
        format!(
            "{}\n",
            json!({"id": number, "text": text, "images": images, "n": number * 7 % 11})
        )
    };
    let lines = |numbers: &mut dyn Iterator<Item = usize>, changed: bool| {
        numbers
            .map(|number| row(number, changed))
            .collect::<String>()
    };
    scratch.write("in.jsonl", lines(&mut (0..40), false));
    scratch.write("seen.jsonl", lines(&mut (0..6).map(|n| n * 3), true));
    scratch.write("more.jsonl", lines(&mut [21, 60].into_iter(), true));
    scratch
}

fn recipe(scratch: &Scratch, op: &str, params: &Map<String, Value>, references: &[&str]) {
    let mut params = params.clone();
    params.insert("reference".into(), json!(references));
    let recipe =
        json!({"dataset_path": "in.jsonl", "export_path": "out.jsonl", "process": [{op: params}]});
    scratch.write("r.yaml", recipe.to_string());
}

/// What a run leaves: its rows, and why the others went.
fn run(scratch: &Scratch) -> (Vec<u8>, Vec<Value>) {
    scratch.djr(&["run", "r.yaml", "--force"]).expect(0);
    (scratch.read("out.jsonl"), scratch.ledger("out.jsonl.djr"))
}

fn index(scratch: &Scratch, args: &[&str]) -> Ran {
    scratch.djr(&[&["index"], args, &["--for", "r.yaml", "--json"]].concat())
}

#[test]
fn an_index_drops_the_rows_that_its_files_drop() {
    let scratch = scratch();
    let params = |params: Value| params.as_object().unwrap().clone();
    let mut cases: Vec<(&str, Map<String, Value>)> = vec![
        (
            "document_deduplicator",
            params(json!({"lowercase": true, "keep": {"max": "n"}})),
        ),
        (
            "image_deduplicator",
            params(json!({"threshold": 8, "keep": {"min": "n"}})),
        ),
        (
            "image_deduplicator",
            params(json!({"threshold": 6, "scaled_decode": true})),
        ),
        (
            "document_minhash_deduplicator",
            params(json!({"window_size": 2, "verify": "estimated"})),
        ),
        (
            "document_minhash_deduplicator",
            params(json!({"window_size": 2, "verify": "exact", "keep": "longest"})),
        ),
        (
            "document_simhash_deduplicator",
            params(json!({"window_size": 2, "merge": {"n": "sum"}})),
        ),
    ];
    // And every one that there is, but for those that ask a model.
    for def in op::all() {
        let built = def.build(
            (def.defaults)().as_object().unwrap().clone(),
            &op::BuildContext::default(),
        );
        let kind = built.map(|built| built.spec.kind);
        let of_rows = matches!(kind, Ok(OpKind::Exact | OpKind::Near | OpKind::Census));
        if def.family == Family::Deduplicator && of_rows {
            cases.push((def.name, Map::new()));
        }
    }
    assert!(cases.len() >= 15, "{}", cases.len());
    let mut went = 0;
    for (op, params) in &cases {
        recipe(&scratch, op, params, &["seen.jsonl", "more.jsonl"]);
        let plain = run(&scratch);
        // The index that the recipe names need not be there to be made.
        recipe(&scratch, op, params, &["seen.index", "more.jsonl"]);
        let answer = index(&scratch, &["seen.jsonl", "-o", "seen.index"])
            .expect(0)
            .answer();
        assert_eq!(
            (&answer["result"]["rows"], &answer["result"]["operator"]),
            (&json!(6), &json!(op))
        );
        assert_eq!(run(&scratch), plain, "{op} {params:?}");
        // Nor is any file that it was made of needed, nor more than one index.
        recipe(&scratch, op, params, &["both.index"]);
        index(
            &scratch,
            &["seen.jsonl", "more.jsonl", "-j", "1", "-o", "both.index"],
        )
        .expect(0);
        for name in ["seen.jsonl", "more.jsonl"] {
            std::fs::rename(scratch.path(name), scratch.path(&format!("{name}.gone"))).unwrap();
        }
        assert_eq!(run(&scratch), plain, "{op} {params:?}");
        let first = scratch.read("both.index");
        for name in ["seen.jsonl", "more.jsonl"] {
            std::fs::rename(scratch.path(&format!("{name}.gone")), scratch.path(name)).unwrap();
        }
        index(
            &scratch,
            &["seen.jsonl", "more.jsonl", "-j", "3", "-o", "both.index"],
        )
        .expect(0);
        assert!(first == scratch.read("both.index"), "{op}: other bytes");
        let of_references = plain.1.iter().filter(|entry| entry["stat"] == "reference");
        went += of_references.count();
    }
    assert!(went > 40, "{went} rows went for references");
}

#[test]
fn lines_of_references_count_and_are_not_written() {
    let scratch = Scratch::new();
    let lines = |texts: &[&str]| {
        let row = |text: &&str| format!("{}\n", json!({"text": text}));
        texts.iter().map(row).collect::<String>()
    };
    scratch.write("in.jsonl", lines(&["menu\na kite", "menu\na bus\nfooter"]));
    scratch.write(
        "seen.jsonl",
        lines(&["footer\nold\nmenu", "footer", "a tram"]),
    );
    let op = "document_line_deduplicator";
    let left = |params: Value, references: &[&str]| {
        recipe(&scratch, op, params.as_object().unwrap(), references);
        run(&scratch);
        let rows = scratch.rows("out.jsonl");
        let texts = rows
            .iter()
            .map(|row| row["text"].as_str().unwrap().to_owned());
        texts.collect::<Vec<_>>()
    };
    let once = json!({"frequency_threshold": 1});
    let twice = json!({"frequency_threshold": 2});
    assert_eq!(left(once.clone(), &[]), ["a kite", "a bus\nfooter"]);
    assert_eq!(
        left(twice.clone(), &[]),
        ["menu\na kite", "menu\na bus\nfooter"]
    );
    assert_eq!(left(twice.clone(), &["seen.jsonl"]), ["a kite", "a bus"]);
    // An index serves any threshold.
    recipe(&scratch, op, once.as_object().unwrap(), &["seen.index"]);
    index(&scratch, &["seen.jsonl", "-o", "seen.index"]).expect(0);
    assert_eq!(left(once, &["seen.index"]), ["a kite", "a bus"]);
    assert_eq!(left(twice, &["seen.index"]), ["a kite", "a bus"]);
    // No row goes, so that none is chosen or merged.
    let chosen = json!({"keep": "longest"});
    recipe(&scratch, op, chosen.as_object().unwrap(), &["seen.index"]);
    let refused = scratch.djr(&["check", "r.yaml"]).expect(2);
    let what = "'keep': document_line_deduplicator drops no rows";
    assert!(refused.stderr.contains(what), "{}", refused.stderr);
}

#[test]
fn an_index_that_does_not_fit_is_refused_with_the_command_that_makes_one() {
    let scratch = scratch();
    let op = "image_deduplicator";
    let with = |params: Value| recipe(&scratch, op, params.as_object().unwrap(), &["seen.index"]);
    with(json!({"method": "dhash", "threshold": 4}));
    index(&scratch, &["seen.jsonl", "-o", "seen.index"]).expect(0);
    // How hashes are compared is not what they are.
    with(json!({"method": "dhash", "threshold": 10, "keep": "longest"}));
    run(&scratch);
    let refused = |why: &str| {
        let ran = scratch.djr(&["check", "r.yaml"]).expect(2);
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
        let hint = ran.stderr.split("make one that fits: djr ").nth(1);
        let command = hint.unwrap().lines().next().unwrap().to_owned();
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(
            (words[0], words[2..5].join(" ").as_str()),
            ("index", "--for r.yaml --step")
        );
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    with(json!({"method": "phash", "threshold": 4}));
    let command = refused("it was made with method: \"dhash\", and this is \"phash\"");
    scratch.djr(&command).expect(0);
    run(&scratch);
    with(json!({}));
    refused("made for near comparison, and these are for exact");
    with(json!({"threshold": 4, "image_key": "pictures"}));
    refused("it was made of images, and this reads pictures");
    recipe(
        &scratch,
        "document_deduplicator",
        &Map::new(),
        &["seen.index"],
    );
    refused("its keys are those of image_deduplicator");

    // What it was made of has changed.
    with(json!({"threshold": 4}));
    let rows = String::from_utf8(scratch.read("seen.jsonl")).unwrap();
    scratch.write("seen.jsonl", rows.replace("\"n\":0", "\"n\":1"));
    let command = refused("seen.jsonl has changed since it was made of it");
    scratch.djr(&command).expect(0);
    run(&scratch);

    // A changed byte is noticed.
    let mut bytes = scratch.read("seen.index");
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    scratch.write("seen.index", bytes);
    let ran = scratch.djr(&["run", "r.yaml", "--force"]).expect(3);
    assert!(
        ran.stderr.contains("seen.index") && ran.stderr.contains("damaged"),
        "{}",
        ran.stderr
    );
}

#[test]
fn who_is_meant_must_be_clear() {
    let scratch = scratch();
    let recipe = |steps: &str| {
        scratch.write("r.yaml", format!("process:\n{steps}"));
    };
    let two = "  - document_deduplicator:\n  - text_length_filter:\n  - image_deduplicator: {threshold: 4}\n";
    recipe(two);
    for (args, what) in [
        (
            &[][..],
            "several deduplicators: 1 document_deduplicator, 3 image_deduplicator",
        ),
        (&["--step", "2"], "step 2 is no deduplicator"),
    ] {
        let ran = index(
            &scratch,
            &[&["seen.jsonl", "-o", "seen.index"], args].concat(),
        )
        .expect(2);
        assert!(ran.stderr.contains(what), "{}", ran.stderr);
    }
    let args = [
        "seen.jsonl",
        "-o",
        "seen.index",
        "--step",
        "3",
        "--set",
        "image_deduplicator.method=ahash",
    ];
    let answer = index(&scratch, &args).expect(0).answer();
    assert_eq!(answer["result"]["operator"], "image_deduplicator");
    let ran = index(&scratch, &["seen.jsonl", "-o", "seen.jsonl", "--step", "1"]).expect(2);
    assert!(
        ran.stderr.contains("the output is also an input"),
        "{}",
        ran.stderr
    );
    recipe("  - text_length_filter:\n");
    let ran = index(&scratch, &["seen.jsonl", "-o", "seen.index"]).expect(2);
    assert!(
        ran.stderr
            .contains("no deduplicator that takes a reference"),
        "{}",
        ran.stderr
    );

    // A row that cannot be read leaves no index.
    recipe("  - document_deduplicator:\n");
    scratch.write("broken.jsonl", "{\"text\": \"a\"}\n{broken\n");
    let ran = index(&scratch, &["broken.jsonl", "-o", "broken.index"]).expect(3);
    assert!(ran.stderr.contains("broken.jsonl:2"), "{}", ran.stderr);
    assert!(!scratch.path("broken.index").exists());
}
