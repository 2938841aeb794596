//! The operator keeps djr's contract, runs through the library, and is known to every command.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use djr::contract::Contract;
use djr::exec::{self, RunOptions};
use djr::recipe::{self, LoadOptions, RecipeSource};
use own_operator as _;

const RECIPE: &str = "\
dataset_path: rows.jsonl
export_path: kept.jsonl
process:
  - vowel_share_filter: {min_score: 0.3}
";

const ROWS: &str = r#"{"id": 0, "text": "aloe"}
{"id": 1, "text": "rhythm"}
{"id": 2, "text": "a tree"}
{"id": 3, "text": ""}
{"id": 4, "text": "idea"}
"#;

fn rows(dir: &Path) {
    fs::write(dir.join("rows.jsonl"), ROWS).unwrap();
}

#[test]
fn it_keeps_the_contract_of_operators() {
    let wrong = Contract::of("vowel_share_filter").unwrap().check();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(Contract::of("no_such_filter").is_err());
}

#[test]
fn a_recipe_with_it_runs_through_the_library() {
    let dir = tempfile::tempdir().unwrap();
    rows(dir.path());
    let source = RecipeSource::Text {
        name: "own".into(),
        text: RECIPE.into(),
    };
    let recipe = recipe::load(&source, &LoadOptions::new(dir.path())).unwrap();
    let options = RunOptions {
        working_dir: dir.path().to_owned(),
        ..RunOptions::default()
    };
    exec::run(&recipe, &options, &mut ()).unwrap();
    assert_eq!(
        fs::read_to_string(dir.path().join("kept.jsonl")).unwrap(),
        "{\"id\": 0, \"text\": \"aloe\"}\n{\"id\": 2, \"text\": \"a tree\"}\n{\"id\": 4, \"text\": \"idea\"}\n"
    );
}

fn djr(dir: &Path, args: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_own-operator"))
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{args:?}: {told}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn every_command_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    rows(dir);
    fs::write(dir.join("recipe.yaml"), RECIPE).unwrap();
    let page = djr(dir, &["ops", "vowel_share_filter"]);
    assert!(
        page.contains("| `score` | number |  | `min_score` | `max_score` |"),
        "{page}"
    );
    djr(dir, &["run", "recipe.yaml", "-q"]);
    let run = fs::read_dir(dir).unwrap().flatten().find_map(|entry| {
        let path = entry.path();
        path.is_dir().then_some(path)
    });
    let run = run.unwrap();
    let run = run.file_name().unwrap().to_str().unwrap();
    // Its stat has a histogram, with its bound and the rows next to it.
    let report = djr(dir, &["report", run]);
    for part in ["Histogram of score", "min_score 0.3", "rhythm"] {
        assert!(report.contains(part), "{part} is not in the report");
    }
    // It is recut without measuring, and a bound may come from the data.
    let set = "vowel_share_filter.min_score=0.7";
    djr(dir, &["recut", run, "--set", set, "-o", "few.jsonl", "-q"]);
    let few = fs::read_to_string(dir.join("few.jsonl")).unwrap();
    assert_eq!(few.lines().count(), 2, "{few}");
    let target = ["--target", "3", "--by", "vowel_share_filter.min_score"];
    let args = [&["recut", run], &target[..], &["-o", "three.jsonl", "-q"]].concat();
    djr(dir, &args);
    let three = fs::read_to_string(dir.join("three.jsonl")).unwrap();
    assert_eq!(three.lines().count(), 3, "{three}");
}
