//! Bad recipes: every problem at once, each with its line and a hint, on one screen.

use crate::support::Scratch;

#[test]
fn one_screen_names_every_problem() {
    let scratch = Scratch::new();
    scratch.write(
        "bad.yaml",
        "project_nam: x
dataset_path: nowhere.jsonl
export_path: o.jsonl
np: 2
seed: four
process:
  - text_lenght_filter: {min_len: 10}
  - text_length_filter: {min_length: 10}
  - text_length_filter: {min_len: ten}
  - text_length_filter: {min_len: 20, max_len: 10}
  - video_aesthetics_filter:
",
    );
    let ran = scratch.djr(&["check", "bad.yaml"]).expect(2);
    let shown = &ran.stderr;
    for (line, words) in [
        (1, "project_name"),
        (2, "nowhere.jsonl"),
        (5, "seed"),
        (7, "text_length_filter"),
        (8, "min_len"),
        (9, "ten"),
        (10, "max_len"),
        (11, "Data-Juicer"),
    ] {
        let place = format!("bad.yaml:{line}:");
        let at = shown
            .find(&place)
            .unwrap_or_else(|| panic!("no problem at line {line}:\n{shown}"));
        assert!(
            shown[at..].contains(words),
            "{place} does not speak of {words}:\n{shown}"
        );
    }
    assert!(shown.matches("hint:").count() >= 6, "{shown}");
    assert!(shown.lines().count() <= 60, "more than a screen:\n{shown}");
    assert!(!scratch.path("o.jsonl").exists());
    // `run` refuses in the same words, before it reads anything.
    assert_eq!(scratch.djr(&["run", "bad.yaml"]).expect(2).stderr, *shown);
}

#[test]
fn what_is_read_as_data_juicer_reads_it_is_told() {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", "{\"text\": \"aab\"}\n");
    let recipe = "dataset_path: in.jsonl
export_path: o.jsonl
process:
  - replace_content_mapper: {pattern: a, repl: X}
  - replace_content_mapper: {pattern: b, pattern: b}
";
    scratch.write("odd.yaml", recipe);
    for command in ["check", "run"] {
        let ran = scratch.djr(&[command, "odd.yaml"]).expect(0);
        for words in [
            "line 5 writes 'pattern' again",
            "leaves `repl` out and takes it from step 1",
        ] {
            let shown = [&ran.stderr, &ran.text()].map(String::as_str).join("");
            assert!(shown.contains(words), "{command}: {shown}");
        }
    }
    assert_eq!(scratch.rows("o.jsonl")[0]["text"], "XXX");
    scratch.write(
        "plain.yaml",
        recipe.replace("pattern: b, pattern: b", "pattern: b, repl: Y"),
    );
    let ran = scratch.djr(&["run", "plain.yaml", "--force"]).expect(0);
    assert!(!ran.stderr.contains("note"), "{}", ran.stderr);
}

#[test]
fn tabs_empty_lists_and_broken_yaml_are_explained() {
    let scratch = Scratch::new();
    for (recipe, words) in [
        ("process:\n\t- text_length_filter:\n", "tab"),
        (
            "dataset_path: fixtures/dataset/rows.jsonl\nprocess: []\n",
            "process",
        ),
        ("process: {a: [\n", "bad.yaml:"),
        ("", "empty"),
        ("- a\n- b\n", "bad.yaml:1"),
    ] {
        scratch.write("bad.yaml", recipe);
        let ran = scratch.djr(&["check", "bad.yaml"]).expect(2);
        assert!(
            ran.stderr.contains(words),
            "{recipe:?} gave:\n{}",
            ran.stderr
        );
    }
    scratch.djr(&["check", "absent.yaml"]).expect(2);
}

#[test]
fn an_absent_asset_is_named_before_any_row_is_read() {
    let scratch = Scratch::new();
    scratch.write(
        "r.yaml",
        "dataset_path: fixtures/dataset/rows.jsonl\nexport_path: o.jsonl\nprocess:\n  - flagged_words_filter: {flagged_words_dir: absent_dir}\n",
    );
    let ran = scratch.djr(&["run", "r.yaml"]).expect(2);
    assert!(
        ran.stderr.contains("absent_dir") && ran.stderr.contains("hint:"),
        "{}",
        ran.stderr
    );
}

#[test]
fn commands_explain_themselves() {
    let scratch = Scratch::new();
    assert!(
        scratch
            .djr(&["run", "fixtures/demo.yaml", "--explain"])
            .expect(0)
            .text()
            .contains("exchange")
    );
    assert!(
        scratch
            .djr(&["ops"])
            .expect(0)
            .text()
            .contains("text_length_filter")
    );
    assert!(
        scratch
            .djr(&["ops", "text_length_filter"])
            .expect(0)
            .text()
            .contains("min_len")
    );
    let ran = scratch.djr(&["ops", "video_aesthetics_filter"]).expect(2);
    assert!(ran.stderr.contains("Data-Juicer"), "{}", ran.stderr);
    assert!(
        scratch
            .djr(&["schema"])
            .expect(0)
            .text()
            .contains("$schema")
    );
    assert!(
        scratch
            .djr(&["completions", "bash"])
            .expect(0)
            .text()
            .contains("djr")
    );
}
