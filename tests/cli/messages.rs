//! What djr says when something is not as it should be, and what it leaves then.

use std::fs;

use crate::support::Scratch;

const RECIPE: &str =
    "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    scratch.write(
        "in.jsonl",
        "{\"id\": 1, \"text\": \"abc\"}\n{\"id\": 2, \"text\": \"def\"}\n",
    );
    scratch
}

#[test]
fn a_recipe_or_key_that_is_not_there_gets_a_hint() {
    let scratch = scratch();
    for (args, words) in [
        (&["run", "s.yaml"][..], "did you mean 'r.yaml'?"),
        (
            &["check", "somewhere/else.yaml"],
            "starts at the working directory",
        ),
        (
            &["check", "r.yaml", "--set", "nosuch.x=1"],
            "the recipe has text_length_filter",
        ),
        (
            &["check", "r.yaml", "--set", "text_lenght_filter.x=1"],
            "did you mean 'text_length_filter'?",
        ),
    ] {
        let ran = scratch.djr(args).expect(2);
        assert!(ran.stderr.contains("hint: "), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_name_that_is_too_long_is_refused_beforehand_by_every_command() {
    let scratch = scratch();
    let long = format!("{}.jsonl", "x".repeat(240));
    let fits = format!("{}.jsonl", "x".repeat(220));
    for args in [
        &["check", "r.yaml", "--output", &long][..],
        &["run", "r.yaml", "--output", &long],
        &["subset", "in.jsonl", "--n", "1", "-o", &long],
        &["convert", "--to", "jsonl", "in.jsonl", "-o", &long],
    ] {
        let ran = scratch.djr(args).expect(2);
        assert!(ran.stderr.contains("name is too long"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("wait for it"), "{}", ran.stderr);
    }
    scratch.djr(&["run", "r.yaml", "--output", &fits]).expect(0);
    let left = fs::read_dir(scratch.path("")).unwrap().flatten();
    let long = left.filter(|entry| entry.file_name().len() > 240);
    assert_eq!(long.count(), 0);
}

#[test]
fn a_run_that_fails_leaves_no_directory() {
    let scratch = scratch();
    scratch.write("in.jsonl", "no row\n{\"text\": \"a\"}\n");
    let args = ["run", "r.yaml", "--max-quarantine", "0"];
    let ran = scratch.djr(&args);
    assert!(ran.code >= 2, "{}", ran.stderr);
    if !scratch.path("o.jsonl.djr/checkpoint").exists() {
        assert!(!scratch.path("o.jsonl.djr").exists());
    }
}

#[test]
fn a_hidden_output_has_a_record_of_its_own() {
    let scratch = scratch();
    scratch
        .djr(&["run", "r.yaml", "--output", "v.jsonl"])
        .expect(0);
    scratch
        .djr(&["run", "r.yaml", "--output", ".v.jsonl"])
        .expect(0);
    assert!(scratch.path(".v.jsonl.djr/manifest.json").exists());
    for output in ["v.jsonl", ".v.jsonl"] {
        scratch.djr(&["verify", output]).expect(0);
    }
}

#[test]
fn outputs_that_differ_in_their_suffix_do_not_share_stats_unasked() {
    let scratch = scratch();
    scratch
        .djr(&["run", "r.yaml", "--output", "a.jsonl"])
        .expect(0);
    let ran = scratch
        .djr(&["run", "r.yaml", "--output", "a.json"])
        .expect(2);
    assert!(ran.stderr.contains("a_stats.jsonl"), "{}", ran.stderr);
    assert!(!scratch.path("a.json").exists() && !scratch.path("a.json.djr").exists());
    scratch.djr(&["verify", "a.jsonl"]).expect(0);
    // The same run again, and one whose name differs in more.
    scratch
        .djr(&["run", "r.yaml", "--output", "a.jsonl"])
        .expect(0);
    scratch
        .djr(&["run", "r.yaml", "--output", "b.json"])
        .expect(0);
}

#[test]
fn records_of_djr_are_no_rows() {
    let scratch = scratch();
    fs::create_dir(scratch.path("data")).unwrap();
    fs::copy(scratch.path("in.jsonl"), scratch.path("data/rows.jsonl")).unwrap();
    scratch
        .djr(&["run", "r.yaml", "--output", "data/clean.jsonl"])
        .expect(0);
    scratch
        .djr(&["analyze", "in.jsonl", "-o", "data/look"])
        .expect(0);
    let ran = scratch.djr(&["run", "r.yaml", "--input", "data", "--output", "x.jsonl"]);
    let ran = ran.expect(0);
    assert_eq!(scratch.rows("x.jsonl").len(), 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("look"), "{}", ran.stderr);
    // A pattern gives what a directory would: neither an output nor the stats beside it.
    let ran = scratch.djr(&[
        "run",
        "r.yaml",
        "--input",
        "data/*.jsonl",
        "--output",
        "y.jsonl",
    ]);
    let ran = ran.expect(0);
    assert_eq!(scratch.rows("y.jsonl").len(), 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("clean_stats.jsonl"), "{}", ran.stderr);
    assert!(ran.stderr.contains("[files_passed_over]"), "{}", ran.stderr);
}

#[test]
fn what_would_be_ignored_is_refused() {
    let scratch = scratch();
    let sharded = "outputs=[{format: jsonl, path: '-', shard_size: 1kb}]";
    for (args, words) in [
        (
            &[
                "run",
                "r.yaml",
                "--set",
                sharded,
                "--set",
                "export_path=null",
            ][..],
            "not cut into shards",
        ),
        (
            &[
                "convert",
                "--to",
                "jsonl",
                "in.jsonl",
                "-o",
                "c.jsonl",
                "--image-token",
                "<x>",
            ],
            "--image-token has no effect",
        ),
        (
            &[
                "convert",
                "--to",
                "json",
                "in.jsonl",
                "-o",
                "c.json",
                "--eoc-token",
                "<x>",
            ],
            "--eoc-token has no effect",
        ),
    ] {
        let ran = scratch.djr(args).expect(2);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_run_into_a_stream_leaves_nothing_where_it_stands() {
    let scratch = scratch();
    scratch.write("in.jsonl", "no row\n{\"text\": \"abc\"}\n");
    let args = ["run", "r.yaml", "--output", "-", "--max-quarantine", "none"];
    let ran = scratch.djr(&args).expect(1);
    assert!(ran.stderr.contains("json_invalid 1"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("--run-dir DIR keeps them"),
        "{}",
        ran.stderr
    );
    assert!(!scratch.path("stdout.djr").exists());
    let kept = [&args[..], &["--run-dir", "record"]].concat();
    scratch.djr(&kept).expect(1);
    assert_eq!(scratch.rows("record/quarantine.jsonl").len(), 1);
}

#[test]
fn reasons_say_what_is_there() {
    let scratch = scratch();
    scratch.write(
        "in.jsonl",
        "[1, \"x\", {\"text\": \"abc\"}, [2], null, true]",
    );
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let told = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    let told: Vec<_> = told
        .iter()
        .map(|row| row["message"].as_str().unwrap())
        .collect();
    let kinds = ["a number", "a string", "a list", "null", "a boolean"];
    let expected = kinds.map(|kind| format!("the row is {kind}, and no object"));
    assert_eq!(told, expected);
    let ran = scratch.djr(&[
        "check",
        "r.yaml",
        "--set",
        "text_length_filter.max_len=-.inf",
    ]);
    assert!(
        ran.expect(2)
            .stderr
            .contains("max_len -.inf: no row can pass")
    );
}

#[test]
fn a_literal_token_without_an_image_is_refused() {
    let scratch = scratch();
    let record = |words: &str| {
        format!(
            "[{{\"id\": \"1\", \"conversations\": [{{\"from\": \"human\", \"value\": \"{words}\"}}, {{\"from\": \"gpt\", \"value\": \"a\"}}]}}]"
        )
    };
    let convert = [
        "convert",
        "--to",
        "dj",
        "l.json",
        "-o",
        "l.jsonl",
        "--max-quarantine",
        "none",
    ];
    scratch.write("l.json", record("see <image> here"));
    let ran = scratch.djr(&convert).expect(1);
    assert!(
        ran.stderr.contains("image_token_without_image 1"),
        "{}",
        ran.stderr
    );
    scratch.write("l.json", record("see an image here"));
    scratch.djr(&convert).expect(0);
}

#[test]
fn a_stray_text_does_not_hide_the_numbers_of_a_stat() {
    let scratch = scratch();
    scratch.write("in.jsonl", "{\"s\": 1}\n{\"s\": 5}\n{\"s\": \"x\"}\n");
    scratch.write(
        "s.yaml",
        "dataset_path: in.jsonl\nprocess: [specified_numeric_field_filter: {field_key: s, min_value: 1}]\n",
    );
    scratch
        .djr(&["analyze", "--recipe", "s.yaml", "-o", "look"])
        .expect(0);
    let stat = &scratch.json("look/analysis.json")["stats"]["s"];
    assert_eq!(
        (&stat["max"], &stat["others"]),
        (&5.0.into(), &1.into()),
        "{stat}"
    );
}

#[test]
fn nothing_of_rows_names_or_recipes_commands_a_terminal() {
    let scratch = Scratch::new();
    let name = "in\u{1b}[31m\u{9b}2J.jsonl";
    scratch.write(
        name,
        "{\"id\": \"\\u001b]0;owned\\u0007\\u009b31m\", \"text\": \"x\"}\n{\"id\": \"\u{7f}\u{9b}2J\", \"text\": \"abcdef\"}\n",
    );
    let recipe = "export_path: o.jsonl\nx\u{1b}: 1\nprocess: [text_length_filter: {min_len: 3}]\n";
    scratch.write("bad.yaml", recipe);
    scratch.write("r.yaml", recipe.replace("x\u{1b}: 1\n", ""));
    let clean = |ran: &crate::support::Ran| {
        let shown = format!("{}{}", ran.stderr, ran.text());
        let raw = shown
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(raw, None, "{shown:?}");
    };
    let bad = scratch.djr(&["check", "bad.yaml", "--input", name]);
    clean(&bad);
    let missing = scratch.djr(&["run", "r.yaml", "--input", "no\u{1b}[31m.jsonl"]);
    clean(&missing);
    let ran = scratch.djr(&["run", "r.yaml", "--input", name]).expect(0);
    clean(&ran);
    let explained = scratch
        .djr(&["run", "r.yaml", "--input", name, "--explain"])
        .expect(0);
    clean(&explained);
    let place = format!("{name}:1");
    for args in [
        &["why", "o.jsonl", &place][..],
        &["why", "o.jsonl", &place, "--json"],
        &["why", "o.jsonl", "nosuch\u{1b}id"],
        &["verify", "o.jsonl"],
        &["diff", "o.jsonl.djr", "o.jsonl.djr"],
        &["analyze", name, "-o", "look"],
        &["ops", "no\u{1b}[31msuch"],
    ] {
        clean(&scratch.djr(args));
    }
}

#[test]
fn the_times_of_steps_are_processor_time_and_add_up() {
    let scratch = Scratch::new();
    let rows: Vec<String> = (0..20_000)
        .map(|n| format!("{{\"text\": \"some words of row {n}, and some more of them\"}}"))
        .collect();
    scratch.write("in.jsonl", rows.join("\n"));
    let recipe = "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess:\n  - words_num_filter: {min_num: 1}\n  - character_repetition_filter: {max_ratio: 0.9}\n  - document_minhash_deduplicator: {window_size: 2}\n";
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml", "--threads", "2"]).expect(0);
    let manifest = scratch.json("o.jsonl.djr/manifest.json");
    let steps = manifest["steps"].as_array().unwrap();
    let seconds: f64 = steps
        .iter()
        .map(|step| step["seconds"].as_f64().unwrap())
        .sum();
    // Two workers and the ordered step: no more processors than that were at work.
    let wall = manifest["seconds"].as_f64().unwrap();
    assert!(
        seconds > 0.0 && seconds <= wall * 3.0 + 0.05,
        "{seconds} of {wall}"
    );
}
