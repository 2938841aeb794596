//! Whose files are: what a command may overwrite, and what makes two runs the same.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use djr::note::Code;
use serde_json::json;

use crate::resume::killed_at;
use crate::support::{Ran, Scratch, expect_no_note, expect_note};

const ROWS: &str =
    "{\"id\": \"a\", \"text\": \"one two three\"}\n{\"id\": \"b\", \"text\": \"four five\"}\n";

const RECIPE: &str = "\
dataset_path: in.jsonl
export_path: o.jsonl
process:
  - text_length_filter: {min_len: 10}
";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("in.jsonl", ROWS);
    scratch.write("r.yaml", RECIPE);
    scratch
}

fn with(scratch: &Scratch, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(words)
        .envs(variables.iter().copied())
        .current_dir(scratch.path(""))
        .output();
    Ran::of(output.unwrap())
}

#[test]
fn other_names_of_options_are_variables_too() {
    let scratch = scratch();
    let ran = with(&scratch, &["run", "r.yaml"], &[("DJR_DRY_RUN", "1")]).expect(0);
    assert!(ran.text().contains("text_length_filter"), "{}", ran.text());
    assert!(!scratch.path("o.jsonl").exists());
    with(
        &scratch,
        &["run", "r.yaml"],
        &[
            ("DJR_EXPORT_PATH", "p.jsonl"),
            ("DJR_NP", "1"),
            ("DJR_QUIET", ""),
        ],
    )
    .expect(0);
    assert_eq!(scratch.rows("p.jsonl").len(), 1);
    assert_eq!(scratch.json("p.jsonl.djr/manifest.json")["threads"], 1);
    let ran = with(&scratch, &["run", "r.yaml"], &[("DJR_NP", "x")]).expect(2);
    assert!(ran.stderr.contains("DJR_NP=x"), "{}", ran.stderr);
    let both = [("DJR_RESUME", "1")];
    let ran = with(&scratch, &["run", "r.yaml", "--restart"], &both).expect(2);
    assert!(ran.stderr.contains("DJR_RESUME=1"), "{}", ran.stderr);
    let ran = with(&scratch, &["ls"], &[("DJR_THREDS", "2")]).expect(0);
    let said = "the variable DJR_THREDS stands for no option; did you mean DJR_THREADS?";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    expect_note(Code::VariableUnknown, &ran.stderr);
    let set = [("DJR_THREADS", "2"), ("DJR_SHARED", "/")];
    let ran = with(&scratch, &["ls"], &set).expect(0);
    expect_no_note(Code::VariableUnknown, &ran.stderr);
}

#[test]
fn a_wrong_command_line_is_told_to_programs() {
    let scratch = scratch();
    let ran = with(
        &scratch,
        &["run", "r.yaml", "--threads", "x"],
        &[("DJR_JSON", "1")],
    )
    .expect(2);
    let answer = ran.answer();
    let problem = &answer["problems"][0];
    assert_eq!(
        (&answer["command"], &answer["exit"]),
        (&"run".into(), &2.into())
    );
    assert_eq!(problem["code"], "usage");
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.starts_with("invalid value 'x' for '--threads <N>'"),
        "{message}"
    );
    assert!(
        !message.contains('\n') && !message.contains("Usage"),
        "{message}"
    );
    let line = ["run", "r.yaml", "--treads", "2", "--log-format", "json"];
    let ran = scratch.djr(&line).expect(2);
    let said: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(said["event"], "error");
    assert!(
        said["hint"].as_str().unwrap().contains("--threads"),
        "{said}"
    );
    for (line, hint) in [
        ("process --config r.yaml", "hint: djr run r.yaml"),
        ("r.yaml", "hint: djr run r.yaml"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = scratch.djr(&words).expect(2);
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
    let ran = scratch.djr(&["--config", "r.yaml", "--dry-run"]).expect(0);
    assert!(ran.text().contains("stage 1"), "{}", ran.text());
    let line = [
        "analyze",
        "--dataset_path",
        "in.jsonl",
        "--export_path",
        "look",
    ];
    scratch.djr(&line).expect(0);
    assert!(scratch.path("look/analysis.json").exists());
    let line = [
        "subset",
        "-n",
        "1",
        "--dataset_path",
        "in.jsonl",
        "-o",
        "one.jsonl",
    ];
    scratch.djr(&line).expect(0);
}

#[test]
fn a_recut_replaces_what_a_recut_wrote_and_no_run() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let recut = |bound: &str, to: &str, code| {
        let set = format!("text_length_filter.min_len={bound}");
        let ran = scratch.djr(&["recut", "o.jsonl", "--set", &set, "-o", to]);
        ran.expect(code)
    };
    recut("11", "cut.jsonl", 0);
    recut("12", "cut.jsonl", 0);
    assert_eq!(scratch.json("cut.jsonl.djr/manifest.json")["recut"], true);
    scratch
        .djr(&["run", "r.yaml", "--output", "other.jsonl"])
        .expect(0);
    let ran = recut("13", "other.jsonl", 2);
    assert!(ran.stderr.contains("--force"), "{}", ran.stderr);
}

#[test]
fn no_command_overwrites_what_is_not_its_own() {
    let scratch = scratch();
    let from_stdin = |text: &str, code| {
        let ran = scratch.djr_with(&["run", "-"], text.as_bytes());
        ran.expect(code)
    };
    from_stdin(RECIPE, 0);
    from_stdin(RECIPE, 0);
    from_stdin(&RECIPE.replace("10", "1"), 2);
    let kept = scratch.read("o.jsonl");
    // The same plan is the same recipe, whatever it is called.
    scratch.djr(&["run", "r.yaml"]).expect(0);
    scratch.write("copy.yaml", RECIPE);
    scratch.djr(&["run", "copy.yaml"]).expect(0);
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let before = scratch.read("in.jsonl");
    for (line, hint) in [
        (
            "recut o.jsonl --set text_length_filter.min_len=12 -o o.jsonl",
            "--force",
        ),
        ("subset -n 1 in.jsonl -o o.jsonl", "--force"),
        (
            "convert --to messages in.jsonl --question x -o o.jsonl",
            "--force",
        ),
        ("report o.jsonl -o o.jsonl", "end in .html"),
        ("report o.jsonl -o in.jsonl", "end in .html"),
        ("check --for llava in.jsonl --fix -", "name a file"),
        ("analyze in.jsonl -o new --suggest new.txt", "end in .yaml"),
        ("diff o.jsonl in.jsonl --output o.jsonl", "another file"),
        ("analyze in.jsonl -o o.jsonl.djr", "another directory"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = scratch.djr(&words).expect(2);
        assert!(ran.stderr.contains(hint), "{line}: {}", ran.stderr);
        assert_eq!(scratch.read("o.jsonl"), kept, "{line}");
        assert_eq!(scratch.read("in.jsonl"), before, "{line}");
    }
    scratch.write("other.jsonl", ROWS);
    let diff = ["diff", "other.jsonl", "in.jsonl", "--output", "o.jsonl"];
    scratch.djr(&diff).expect(2);
    scratch.djr(&[&diff[..], &["--force"]].concat()).expect(0);
    assert!(scratch.read("o.jsonl").is_empty());
    fs::create_dir(scratch.path("own")).unwrap();
    scratch.write("own/analysis.json", "{}");
    let analyze = ["analyze", "in.jsonl", "-o", "own"];
    scratch.djr(&analyze).expect(2);
    assert_eq!(scratch.read("own/analysis.json"), b"{}");
    scratch
        .djr(&[&analyze[..], &["--force"]].concat())
        .expect(0);
    scratch.djr(&analyze).expect(0);
}

#[test]
fn a_record_of_another_version_can_be_taken_over() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml"]).expect(0);
    scratch.write(
        "o.jsonl.djr/manifest.json",
        "{\"djr\": \"0.0.9\", \"rows\": {}}",
    );
    scratch.write("o.jsonl.djr/quarantine.jsonl", "{}\n");
    let refused = scratch.djr(&["run", "r.yaml"]).expect(2);
    assert!(
        refused.stderr.contains("format 1") && refused.stderr.contains("--force"),
        "{}",
        refused.stderr
    );
    scratch.djr(&["run", "r.yaml", "--force"]).expect(0);
    assert!(!scratch.path("o.jsonl.djr/quarantine.jsonl").exists());
    scratch.djr(&["verify", "o.jsonl"]).expect(0);
}

#[test]
fn records_of_another_version_are_named_and_cleaned_by_force() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let mut manifest = scratch.json("o.jsonl.djr/manifest.json");
    manifest["format"]["major"] = 9.into();
    scratch.write("o.jsonl.djr/manifest.json", manifest.to_string());
    fs::create_dir(scratch.path("torn.jsonl.djr")).unwrap();
    scratch.write("torn.jsonl.djr/manifest.json", "{");
    scratch.write("torn.jsonl.djr/ledger.jsonl.zst", "x");
    let listed = scratch.djr(&["ls", "--json"]).expect(0).answer();
    let runs = &listed["result"]["runs"];
    assert_eq!(
        (&runs[0]["state"], &runs[0]["problem"]["code"]),
        (&"unreadable".into(), &"record_version".into())
    );
    assert!(runs[0]["output_bytes"].as_u64() > Some(0), "{listed:#}");
    let clean = |more: &[&str]| {
        let line = [&["clean", "--json"], more].concat();
        scratch.djr(&line).expect(0).answer()["result"].clone()
    };
    let codes = |result: &serde_json::Value| -> Vec<String> {
        let skipped = result["skipped"].as_array().unwrap().iter();
        skipped
            .map(|run| run["code"].as_str().unwrap().to_owned())
            .collect()
    };
    let both = ["record_version", "record_damaged"];
    assert_eq!(codes(&clean(&[])), both);
    assert_eq!(codes(&clean(&["--runs"])), both);
    // Its output is there: as of every run it goes with --runs only.
    assert_eq!(codes(&clean(&["--force"])), both);
    assert!(codes(&clean(&["--older-than", "1d"])).is_empty());
    let said = scratch.djr(&["clean", "--runs"]).expect(0).stderr;
    assert!(
        said.contains("2 runs that cannot be read were left (--force") && said.contains("format 9"),
        "{said}"
    );
    scratch.write("o_stats.jsonl", "mine\n");
    let gone = clean(&["--runs", "--force"]);
    assert_eq!(gone["runs"].as_array().unwrap().len(), 1, "{gone:#}");
    assert_eq!(codes(&gone), ["record_damaged"]);
    assert!(!scratch.path("o.jsonl").exists() && !scratch.path("o.jsonl.djr").exists());
    // What no record lists, or is not as recorded, is left.
    assert_eq!(scratch.read("o_stats.jsonl"), b"mine\n");
    assert!(scratch.path("torn.jsonl.djr/ledger.jsonl.zst").exists());
}

#[test]
fn one_rule_for_subsets_however_their_rows_are_drawn() {
    let scratch = scratch();
    let subset = |more: &[&str], code| {
        let line = [&["subset", "-n", "1", "in.jsonl", "-o", "s.jsonl"], more].concat();
        scratch.djr(&line).expect(code)
    };
    let run = &["--validate", "exists"][..];
    for more in [run, &[], &[], run, &[]] {
        subset(more, 0);
    }
    // A copy leaves nothing that tells of the run before it, and a run nothing of the copy.
    assert_eq!(scratch.files("s.jsonl.djr"), ["copied.json"]);
    subset(run, 0);
    assert!(!scratch.path("s.jsonl.djr/copied.json").exists());
    scratch.djr(&["verify", "s.jsonl"]).expect(0);
    subset(&[], 0);
    for line in [
        "convert --to jsonl in.jsonl -o s.jsonl",
        "run r.yaml --output s.jsonl",
        "diff in.jsonl o.jsonl -o s.jsonl",
    ] {
        scratch.djr(&["run", "r.yaml"]).expect(0);
        let words: Vec<&str> = line.split(' ').collect();
        let ran = scratch.djr(&words).expect(2);
        assert!(
            ran.stderr
                .contains("s.jsonl is the output of a run of subset"),
            "{line}: {}",
            ran.stderr
        );
    }
    scratch
        .djr(&["run", "r.yaml", "--output", "s.jsonl", "--force"])
        .expect(0);
    let listed = scratch.djr(&["ls", "--json"]).expect(0).answer();
    assert_eq!(listed["result"]["runs"][1]["recipe"], "r.yaml");
    let ran = scratch.djr(&["subset", "-n", "1", "in.jsonl", "-o", "s.jsonl"]);
    ran.expect(2);
    let set = ["recut", "o.jsonl", "--set", "text_length_filter.min_len=12"];
    let ran = scratch
        .djr(&[&set[..], &["-o", "s.jsonl"]].concat())
        .expect(2);
    assert!(
        ran.stderr
            .contains("and a run, which no recut replaces, wrote them: r.yaml"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_dry_run_says_what_would_be_done_and_makes_nothing() {
    let scratch = scratch();
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    scratch.write("there.jsonl", "{}\n");
    let before = scratch.files("");
    for (line, writes, run_dir) in [
        (
            "subset -n 1 in.jsonl -o there.jsonl",
            json!(3),
            "there.jsonl.djr",
        ),
        (
            "subset -n 1 in.jsonl -o new/x.jsonl",
            json!(null),
            "new/x.jsonl.djr",
        ),
        (
            "subset -n 1 --validate exists in.jsonl -o x.jsonl",
            json!(null),
            "x.jsonl.djr",
        ),
        (
            "convert --to messages --question x in.jsonl -o x.jsonl",
            json!(null),
            "x.jsonl.djr",
        ),
        (
            "recut o.jsonl --set text_length_filter.min_len=11 -o there.jsonl",
            json!(3),
            "there.jsonl.djr",
        ),
        (
            "run r.yaml",
            json!(scratch.read("o.jsonl").len()),
            "o.jsonl.djr",
        ),
    ] {
        let words: Vec<&str> = line.split(' ').chain(["--dry-run"]).collect();
        let answer = scratch
            .djr(&[&words[..], &["--json"]].concat())
            .expect(0)
            .answer();
        let result = &answer["result"];
        assert_eq!(result["state"], "planned", "{line}");
        let would = &result["would"];
        assert_eq!(would["writes"][0]["bytes"], writes, "{line}: {would:#}");
        let read = would["reads"][0]["name"].as_str().unwrap();
        assert!(read.ends_with("in.jsonl"), "{line}: {would:#}");
        assert_eq!(would["reads"][0]["bytes"], ROWS.len(), "{line}");
        let dir = would["run_dir"].as_str().unwrap();
        assert!(dir.ends_with(run_dir), "{line}: {dir}");
        let text = scratch.djr(&words).expect(0).text();
        assert_eq!(
            text.contains("replaces "),
            !writes.is_null(),
            "{line}: {text}"
        );
        assert_eq!(scratch.files(""), before, "{line}");
        assert!(!scratch.path("new").exists());
    }
    // What would be refused is said beforehand.
    for line in [
        "subset -n 1 in.jsonl -o o.jsonl --dry-run",
        "convert --to jsonl in.jsonl -o o.jsonl --dry-run",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        scratch.djr(&words).expect(2);
    }
    scratch.write("other.yaml", RECIPE.replace("10", "1"));
    let before = scratch.files("");
    let refused = scratch
        .djr(&["run", "other.yaml", "--explain", "--json"])
        .expect(0)
        .answer();
    assert_eq!(refused["result"]["refused"]["code"], "taken", "{refused:#}");
    let text = scratch
        .djr(&["run", "other.yaml", "--explain"])
        .expect(0)
        .text();
    assert!(
        text.contains("refused as things are: the outputs are there"),
        "{text}"
    );
    assert_eq!(scratch.files(""), before);
}

#[test]
fn options_that_a_command_has_no_use_for_are_refused_and_not_shown() {
    let scratch = scratch();
    for (line, option) in [
        ("convert --to jsonl in.jsonl -o x.jsonl", "--max-cost 2"),
        ("convert --to jsonl in.jsonl -o x.jsonl", "--devices cpu"),
        ("convert --to jsonl in.jsonl -o x.jsonl", "--python python3"),
        ("convert --to jsonl in.jsonl -o x.jsonl", "--cache kept"),
        (
            "subset -n 1 --shuffle --paths absolute in.jsonl -o x.jsonl",
            "--no-cache",
        ),
        (
            "subset -n 1 --validate exists in.jsonl -o x.jsonl",
            "--max-tokens-total 5",
        ),
        (
            "decontaminate in.jsonl --against in.jsonl -o x.jsonl",
            "--python python3",
        ),
        ("check r.yaml", "--max-tokens-total 5"),
        ("check r.yaml", "--resume"),
        ("check r.yaml", "--threads 2"),
        ("check --for llava in.jsonl", "--on-error drop"),
    ] {
        let words: Vec<&str> = line.split(' ').chain(option.split(' ')).collect();
        let name = option.split(' ').next().unwrap();
        let ran = scratch.djr(&words).expect(2);
        assert!(
            ran.stderr.contains(&format!("{name} has no effect ")),
            "{line} {option}: {}",
            ran.stderr
        );
        assert!(!scratch.path("x.jsonl").exists());
    }
    // As a wish for every command it is none of one's business.
    let wish = [("DJR_MAX_COST", "2")];
    let line = ["convert", "--to", "jsonl", "in.jsonl", "-o", "x.jsonl"];
    with(&scratch, &line, &wish).expect(0);
    let help = |command: &str| scratch.djr(&[command, "--help"]).expect(0).text();
    assert!(help("run").contains("--max-cost") && !help("convert").contains("--max-cost"));
}

#[test]
fn a_subset_that_was_copied_is_listed_and_cleaned() {
    let scratch = scratch();
    scratch
        .djr(&["subset", "-n", "1", "in.jsonl", "-o", "s.jsonl"])
        .expect(0);
    let listed = scratch.djr(&["ls", "--json"]).expect(0).answer();
    let run = &listed["result"]["runs"][0];
    assert_eq!(
        [
            &run["recipe"],
            &run["rows_in"],
            &run["rows_out"],
            &run["state"]
        ],
        [
            &"subset".into(),
            &2.into(),
            &1.into(),
            &serde_json::json!("finished")
        ]
    );
    scratch.djr(&["clean"]).expect(0);
    assert!(scratch.path("s.jsonl").exists());
    scratch.djr(&["clean", "--runs"]).expect(0);
    assert!(!scratch.path("s.jsonl").exists() && !scratch.path("s.jsonl.djr").exists());
}

#[test]
fn content_counts_and_time_does_not() {
    let scratch = scratch();
    let rows: String = (0..20_000)
        .map(|n| format!("{{\"id\": {n}, \"text\": \"row {n:020}\"}}\n"))
        .collect::<Vec<_>>()
        .concat();
    fs::create_dir(scratch.path("rows")).unwrap();
    let path = scratch.write("rows/a.jsonl", &rows);
    let packed = zstd::encode_all(ROWS.as_bytes(), 3).unwrap();
    scratch.write("rows/b.jsonl.zst", packed);
    scratch.write("r.yaml", RECIPE.replace("in.jsonl", "rows"));
    let again = ["run", "r.yaml", "--if-changed"];
    let is_done = |said: &Ran| !said.stderr.contains("not up to date");
    scratch.djr(&again).expect(0);
    let manifest = scratch.json("o.jsonl.djr/manifest.json");
    for (number, name) in ["rows/a.jsonl", "rows/b.jsonl.zst"].into_iter().enumerate() {
        let digest = xxhash_rust::xxh3::xxh3_128(&scratch.read(name));
        assert_eq!(
            manifest["inputs"][number]["xxh3_128"],
            format!("{digest:032x}")
        );
    }
    let touch = |time: SystemTime| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
    };
    let then = fs::metadata(&path).unwrap().modified().unwrap();
    touch(then + Duration::from_secs(7));
    assert!(is_done(&scratch.djr(&again).expect(0)));
    scratch.djr(&["verify", "o.jsonl"]).expect(0);
    // A byte in the middle, at the time of before.
    let mut changed = rows.clone().into_bytes();
    let at = changed.len() / 2;
    changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
    fs::write(&path, &changed).unwrap();
    touch(then);
    let verified = scratch.djr(&["verify", "o.jsonl"]).expect(1);
    assert!(
        verified.text().contains("its content is another"),
        "{}",
        verified.text()
    );
    let ran = scratch.djr(&again);
    assert!(
        ran.stderr.contains("a.jsonl: its content is another"),
        "{}",
        ran.stderr
    );
    fs::write(&path, &rows).unwrap();
    scratch.djr(&again).expect(0);
    assert!(is_done(&scratch.djr(&again).expect(0)));
    scratch.write("rows/c.jsonl", ROWS);
    let ran = scratch.djr(&again).expect(0);
    assert!(ran.stderr.contains("rows/c.jsonl"), "{}", ran.stderr);
}

#[test]
fn tables_are_digested_where_that_is_asked_for() {
    let scratch = scratch();
    let over = |input: &str, output: &str, more: &[&str]| {
        let line = ["run", "r.yaml", "--input", input, "--output", output];
        let line: Vec<&str> = line.into_iter().chain(more.iter().copied()).collect();
        scratch.djr(&line).expect(0);
        scratch.json(&format!("{output}.djr/manifest.json"))["inputs"][0]["xxh3_128"].clone()
    };
    assert!(over("in.jsonl", "t.parquet", &[]).is_string());
    assert!(over("t.parquet", "a.jsonl", &[]).is_null());
    assert!(over("t.parquet", "b.jsonl", &["--if-changed"]).is_string());
}

#[test]
fn another_program_is_another_plan() {
    let scratch = scratch();
    scratch.write("clean.sh", "sed -u s/one/1/\n");
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [command_mapper: {command: [sh, clean.sh]}]\n",
    );
    let again = ["run", "r.yaml", "--if-changed"];
    scratch.djr(&again).expect(0);
    let assets = scratch.json("o.jsonl.djr/manifest.json")["plan"]["steps"][0]["assets"].clone();
    assert_eq!(assets.as_array().unwrap().len(), 2, "{assets}");
    let same = scratch.djr(&again).expect(0);
    assert!(!same.stderr.contains("not up to date"), "{}", same.stderr);
    scratch.write("clean.sh", "sed -u s/one/2/\n");
    scratch.djr(&["verify", "o.jsonl"]).expect(1);
    let ran = scratch.djr(&again).expect(0);
    assert!(
        ran.stderr.contains("clean.sh: its content is another"),
        "{}",
        ran.stderr
    );
    assert_eq!(scratch.rows("o.jsonl")[0]["text"], "2 two three");
}

#[test]
fn one_command_is_enough_for_whatever_happened() {
    let scratch = scratch();
    let rows: String = (0..500)
        .map(|n| format!("{{\"id\": {n}, \"text\": \"a row of text {n}\"}}\n"))
        .collect::<Vec<_>>()
        .concat();
    scratch.write("in.jsonl", rows);
    let line = [
        "run",
        "r.yaml",
        "--if-changed",
        "--resume",
        "--checkpoint-every",
        "0",
        "--batch-rows",
        "50",
    ];
    assert!(killed_at(&scratch, &line, ("rename", "4")));
    assert!(!scratch.path("o.jsonl").exists());
    let ran = scratch.djr(&line).expect(0);
    assert!(
        ran.stderr
            .contains("an unfinished run of these outputs is there"),
        "{}",
        ran.stderr
    );
    assert_eq!(scratch.rows("o.jsonl").len(), 500);
    let done = scratch.djr(&line).expect(0);
    assert!(
        done.stderr.contains("up to date: 500 rows in"),
        "{}",
        done.stderr
    );
    // Another recipe's output is not overwritten because nothing is there to go on from.
    scratch.write("other.yaml", RECIPE.replace("10", "1"));
    scratch.djr(&["run", "other.yaml", "--resume"]).expect(2);
}

#[test]
fn an_analysis_tolerates_what_it_is_told_to() {
    let scratch = scratch();
    scratch.write("in.jsonl", format!("{ROWS}{{broken\n"));
    let analyze = ["analyze", "in.jsonl", "-o", "look", "--tolerate"];
    for (limit, code) in [("1", 0), ("40%", 0), ("10%", 1), ("0", 1)] {
        scratch.djr(&[&analyze[..], &[limit]].concat()).expect(code);
    }
}
