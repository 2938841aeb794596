//! `djr why` and `djr verify`: a run answers for every row, and notices what changed since.

use std::fs;

use serde_json::Value;

use crate::support::Scratch;

fn demo() -> Scratch {
    let scratch = Scratch::new();
    scratch.djr(&["run", "fixtures/demo.yaml", "-q"]).expect(1);
    scratch
}

fn why(scratch: &Scratch, run: &str, row: &str) -> Value {
    let ran = scratch.djr(&["why", run, row, "--json"]).expect(0);
    let mut found = ran.told();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn why_answers_from_the_ledger() {
    let scratch = demo();
    let run = "out/demo/clean.jsonl.djr";
    let dropped = why(&scratch, run, "000567");
    assert_eq!(dropped["line"], 86);
    assert_eq!(dropped["fate"], "dropped");
    assert_eq!(dropped["by"], "words_num_filter");
    assert_eq!(dropped["stat"], "num_words");
    assert_eq!(dropped["value"], 3);
    assert_eq!(dropped["limit"], "min_num: 5");
    let duplicate = why(&scratch, run, "000517");
    assert_eq!(duplicate["by"], "document_deduplicator");
    assert_eq!(duplicate["duplicate_of"]["line"], 2);
    assert_eq!(duplicate["duplicate_of"]["id"], "000007");
    // A row without an id is asked for by its line; any output names the run.
    let broken = why(&scratch, "out/demo/sample.json", "dataset/rows.jsonl:89");
    assert_eq!(broken["fate"], "quarantined");
    assert_eq!(broken["set_aside"][0]["code"], "json_invalid");
    assert_eq!(
        why(&scratch, "out/demo/clean.json", "000003")["fate"],
        "kept"
    );
}

#[test]
fn why_says_it_in_words() {
    let scratch = demo();
    let ask = |row: &str| {
        let ran = scratch.djr(&["why", "out/demo/clean.jsonl", row]);
        ran.expect(0).text()
    };
    let filtered = ask("000567");
    assert!(
        filtered.contains("rows.jsonl:86  id 000567")
            && filtered.contains("dropped by step 10 of 24, words_num_filter")
            && filtered.contains("num_words is 3; the limit is min_num: 5"),
        "{filtered}"
    );
    let duplicate = ask("000517");
    assert!(duplicate.contains("duplicate of") && duplicate.contains("rows.jsonl:2  id 000007"));
    let missing = ask("000436");
    assert!(
        missing.contains("image_missing: image 'images/00000/999999.jpg'"),
        "{missing}"
    );
    let unread = ask("rows.jsonl:89");
    assert!(
        unread.contains("while it was read") && unread.contains("trailing comma"),
        "{unread}"
    );
}

#[test]
fn why_knows_rows_of_the_same_id_and_rows_that_an_output_refused() {
    let scratch = Scratch::new();
    scratch.write(
        "in.jsonl",
        "{\"id\": 7, \"text\": \"one two\"}\n{\"id\": \"7\", \"text\": \"x\"}\n{\"id\": \"008\", \"text\": \"[[human]]: a [[gpt]]: b\"}\n",
    );
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\noutputs: [{format: jsonl, path: o.jsonl}, {format: llava, path: o.json}]\nprocess: [text_length_filter: {min_len: 2}]\n",
    );
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let ran = scratch
        .djr(&["why", "o.jsonl.djr", "7", "--json"])
        .expect(0);
    let found = ran.told();
    assert_eq!(found.len(), 2);
    assert_eq!(
        (&found[0]["fate"], &found[1]["fate"]),
        (&"kept".into(), &"dropped".into())
    );
    assert_eq!(found[0]["set_aside"][0]["code"], "turns_unbalanced");
    let ran = scratch.djr(&["why", "o.jsonl.djr", "7"]).expect(0).text();
    assert!(ran.contains("o.json: turns_unbalanced"), "{ran}");
}

#[test]
fn why_says_what_it_cannot_find() {
    let scratch = demo();
    let hint = |row: &str| {
        let ran = scratch.djr(&["why", "out/demo/clean.jsonl.djr", row]);
        ran.expect(2).stderr
    };
    assert!(hint("517").contains("000517"), "{}", hint("517"));
    assert!(hint("rows.jsonl:9999").contains("216"));
    assert!(hint("other.jsonl:3").contains("no input"));
    assert!(hint("nobody").contains("FILE:LINE"));
    let ran = scratch.djr(&["why", "fixtures/demo.yaml", "1"]).expect(2);
    assert!(ran.stderr.contains(".djr"), "{}", ran.stderr);
}

#[test]
fn verify_takes_a_sound_run_and_names_what_changed() {
    let scratch = demo();
    let verify = |code| {
        let ran = scratch.djr(&["verify", "out/demo/clean.jsonl.djr", "--images", "decode"]);
        ran.expect(code).text()
    };
    let sound = verify(0);
    assert_eq!(sound.lines().count(), 9, "{sound}");
    assert!(sound.lines().all(|line| line.starts_with("ok")), "{sound}");

    // One byte of an output, its size unchanged: the digest, and the row that is none any more.
    let whole = scratch.read("out/demo/clean.jsonl");
    let mut bytes = whole.clone();
    bytes[0] = b'[';
    scratch.write("out/demo/clean.jsonl", &bytes);
    let told = verify(1);
    assert!(
        told.contains("DIFFERS  files") && told.contains("digest"),
        "{told}"
    );
    assert!(
        told.contains("DIFFERS  rows") && told.contains("clean.jsonl:1"),
        "{told}"
    );

    // A row less.
    let cut = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    scratch.write("out/demo/clean.jsonl", &whole[cut..]);
    let told = verify(1);
    assert!(told.contains("rows: 156, the manifest says 157"), "{told}");
    scratch.write("out/demo/clean.jsonl", &whole);

    // A ledger that lost its end, and one that lost an entry.
    let path = "out/demo/clean.jsonl.djr/ledger.jsonl.zst";
    let ledger = scratch.read(path);
    scratch.write(path, &ledger[..ledger.len() / 2]);
    assert!(verify(1).contains("DIFFERS  ledger"));
    let text = zstd::decode_all(&ledger[..]).unwrap();
    let cut = text.iter().position(|b| *b == b'\n').unwrap() + 1;
    scratch.write(path, zstd::encode_all(&text[cut..], 1).unwrap());
    let told = verify(1);
    assert!(
        told.contains("rows dropped: 32, the manifest says 33"),
        "{told}"
    );
    scratch.write(path, &ledger);

    fs::remove_file(scratch.path("out/demo/sample.json")).unwrap();
    let told = verify(1);
    assert!(told.contains("sample.json: No such file"), "{told}");
}

#[test]
fn verify_looks_at_inputs_and_images() {
    let scratch = Scratch::new();
    let image = "fixtures/dataset/images/00000/000003.jpg";
    let bytes = scratch.read(image);
    scratch.write("a.jpg", &bytes);
    scratch.write(
        "in.jsonl",
        "{\"id\": 1, \"text\": \"t\", \"images\": [\"a.jpg\"]}\n",
    );
    let args = [
        "subset",
        "--n",
        "1",
        "--validate",
        "decode",
        "in.jsonl",
        "-o",
        "o.jsonl",
        "-q",
    ];
    scratch.djr(&args).expect(0);
    let verify = |args: &[&str], code| {
        let args = [&["verify", "o.jsonl"], args].concat();
        scratch.djr(&args).expect(code).text()
    };
    assert!(verify(&[], 0).contains("ok       images       1 checked"));

    scratch.write("a.jpg", &bytes[..bytes.len() / 2]);
    let told = verify(&[], 1);
    assert!(
        told.contains("DIFFERS  images") && told.contains("o.jsonl:1: image_truncated"),
        "{told}"
    );
    verify(&["--images", "header"], 0);
    fs::remove_file(scratch.path("a.jpg")).unwrap();
    assert!(verify(&["--images", "exists"], 1).contains("image_missing"));
    verify(&["--images", "none"], 0);

    scratch.write("a.jpg", &bytes);
    scratch.write(
        "in.jsonl",
        "{\"id\": 2, \"text\": \"t\", \"images\": [\"a.jpg\"]}\n",
    );
    let later = fs::metadata(scratch.path("in.jsonl"))
        .unwrap()
        .modified()
        .unwrap();
    let file = fs::File::options()
        .write(true)
        .open(scratch.path("in.jsonl"))
        .unwrap();
    file.set_modified(later + std::time::Duration::from_secs(5))
        .unwrap();
    assert!(verify(&[], 1).contains("DIFFERS  inputs"));
}
