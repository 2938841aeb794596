//! Programs of the user's as steps: jq, the shell and Python, and programs that break the rules.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Ran, Scratch};

const ROWS: usize = 300;

/// A scratch directory with rows, and what `steps` make of them.
fn run(steps: &str, args: &[&str]) -> (Scratch, Ran) {
    let scratch = Scratch::new();
    let mut rows = String::new();
    for n in 0..ROWS {
        let text = if n == 41 {
            "poison".to_owned()
        } else {
            format!("row {n}")
        };
        writeln!(
            rows,
            "{}",
            json!({"id": n, "text": text, "kept": 1e3, "gone": [n]})
        )
        .unwrap();
    }
    scratch.write("rows.jsonl", rows);
    // What a program may do by rule, and what not.
    scratch.write(
        "upper.sh",
        "while IFS= read -r row; do printf '%s\\n' \"$row\" | tr a-z A-Z; done",
    );
    scratch.write(
        "add.py",
        "import json, sys\nfor line in sys.stdin:\n    row = json.loads(line)\n    row['length'] = len(row['text'])\n    del row['gone']\n    print(json.dumps(row), flush=True)\n",
    );
    let recipe = format!(
        "dataset_path: rows.jsonl\nexport_path: out.jsonl\nmax_quarantine: none\nprocess:\n{steps}\n"
    );
    scratch.write("r.yaml", recipe);
    let mut all = vec!["run", "r.yaml", "-q"];
    all.extend(args);
    let ran = scratch.djr(&all);
    (scratch, ran)
}

fn there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn programs_change_rows_one_for_one_and_in_order() {
    let (scratch, ran) = run(
        "  - command_mapper: {command: [sh, upper.sh], lines: 7}",
        &[],
    );
    ran.expect(0);
    let rows = scratch.rows("out.jsonl");
    assert_eq!(rows.len(), ROWS);
    // The shell's answer takes the row's place, names of fields and all.
    assert_eq!(
        rows[7],
        json!({"ID": 7, "TEXT": "ROW 7", "KEPT": 1000.0, "GONE": [7]})
    );
    if there("python3") {
        let reference = run("  - command_mapper: {command: python3 add.py}", &[]);
        let reference = (reference.0, reference.1.expect(0));
        let rows = reference.0.rows("out.jsonl");
        assert_eq!(
            rows[9],
            json!({"id": 9, "text": "row 9", "kept": 1e3, "length": 5})
        );
        // What the program leaves as it was is written as it was.
        let text = String::from_utf8(reference.0.read("out.jsonl")).unwrap();
        assert!(
            text.contains("\"kept\": 1000.0") || text.contains("\"kept\":1000.0"),
            "{text}"
        );
        for (threads, batch, lines, processes) in [("1", "1", 1, 1), ("8", "64", 33, 3)] {
            let step = format!(
                "  - command_mapper: {{command: python3 add.py, lines: {lines}, processes: {processes}}}"
            );
            let again = run(&step, &["--threads", threads, "--batch-rows", batch]);
            again.1.expect(0);
            assert_eq!(again.0.read("out.jsonl"), reference.0.read("out.jsonl"));
        }
    }
    if there("jq") {
        let step = "  - command_mapper: {command: \"jq -c --unbuffered '.text |= ascii_upcase'\"}";
        let (scratch, ran) = run(step, &[]);
        ran.expect(0);
        assert_eq!(scratch.rows("out.jsonl")[3]["text"], "ROW 3");
    }
}

#[test]
fn programs_judge_rows_and_leave_a_stat() {
    let step = "  - command_filter: {command: \"sed -u 's/.*\\\"id\\\": *\\\\([0-9]*\\\\).*/\\\\1/'\", stat_key: number, min_value: 290}";
    let (scratch, ran) = run(step, &[]);
    ran.expect(0);
    let ids: Vec<Value> = scratch
        .rows("out.jsonl")
        .iter()
        .map(|row| row["id"].clone())
        .collect();
    assert_eq!(ids, (290..300).map(Value::from).collect::<Vec<_>>());
    let why = scratch.djr(&["why", "out.jsonl", "12"]).expect(0).text();
    assert!(
        why.contains("number") && why.contains("min_value: 290"),
        "{why}"
    );
}

#[test]
fn a_program_that_breaks_the_rules_costs_its_row_and_no_other() {
    // Each does wrong on the row that says poison, when it is alone, too.
    let programs = [
        ("ends", "exit 7"),
        ("writes nothing and hangs", "sleep 600"),
        ("writes garbage", "echo not json"),
        ("writes no object", "echo 5"),
    ];
    for (name, wrong) in programs {
        let script = format!(
            "while IFS= read -r row; do case $row in *poison*) {wrong};; *) printf '%s\\n' \"$row\";; esac; done"
        );
        let step = format!(
            "  - command_mapper: {{command: {}, timeout: 1, lines: 64}}",
            Value::from(script)
        );
        let (scratch, ran) = run(&step, &[]);
        assert_eq!(ran.code, 1, "{name}: {}", ran.stderr);
        let set_aside = scratch.rows("out.jsonl.djr/quarantine.jsonl");
        let told: Vec<_> = set_aside
            .iter()
            .map(|row| (&row["code"], &row["line"]))
            .collect();
        assert_eq!(told, [(&json!("program_failed"), &json!(42))], "{name}");
        assert_eq!(scratch.rows("out.jsonl").len(), ROWS - 1, "{name}");
    }
    // Of two lines for a row one may come late: then no answer is trusted, and none is written.
    let script = "while IFS= read -r row; do printf '%s\\n' \"$row\"; case $row in *poison*) echo '{}';; esac; done";
    let step = format!(
        "  - command_mapper: {{command: {}, lines: 64}}",
        Value::from(script)
    );
    let (scratch, ran) = run(&step, &[]);
    match ran.code {
        1 => assert_eq!(scratch.rows("out.jsonl.djr/quarantine.jsonl").len(), 1),
        code => assert_eq!((code, scratch.path("out.jsonl").exists()), (3, false)),
    }
    // One that is not there is refused; one that never answers ends the run.
    let (_, ran) = run("  - command_mapper: {command: [no-such-program]}", &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("no-such-program"), "{}", ran.stderr);
    let (_, ran) = run("  - command_mapper: {command: 'true'}", &[]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("it does not start"), "{}", ran.stderr);
    let (_, ran) = run(
        "  - command_mapper: {command: 'read -r row; exit 4', lines: 1}",
        &[],
    );
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("failed 21 times"), "{}", ran.stderr);
    let (_, ran) = run("  - command_mapper: {command: ''}", &[]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("command is empty"), "{}", ran.stderr);
}

#[test]
fn the_start_of_a_program_is_no_row_s_time() {
    // Each process starts for longer than a row may take.
    let script = "sleep 2.5; while IFS= read -r row; do case $row in *poison*) exit 7;; *) printf '%s\\n' \"$row\";; esac; done";
    let slow = format!(
        "  - command_mapper: {{command: {}, timeout: 1, lines: 300}}",
        Value::from(script.replace("exit 7", "printf '%s\\n' \"$row\""))
    );
    let (scratch, ran) = run(&slow, &[]);
    ran.expect(0);
    assert_eq!(scratch.rows("out.jsonl").len(), ROWS);
    // One that hangs once it has read is found by the time of a row, however long it may start.
    let hangs = "  - command_mapper: {command: 'read -r row; echo halt >&2; sleep 600', timeout: 1, start_timeout: 3600, lines: 1}";
    let (_, ran) = run(hangs, &[]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("no answer within 1 s"),
        "{}",
        ran.stderr
    );
    // One that never reads is to blame itself, and no row is set aside for it.
    let (scratch, ran) = run(
        "  - command_mapper: {command: 'echo asleep >&2; sleep 600', start_timeout: 1}",
        &[],
    );
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("had read nothing for 1 s; it said last: asleep"),
        "{}",
        ran.stderr
    );
    assert!(!scratch.path("out.jsonl").exists());
}

#[test]
fn more_rows_than_pipes_hold_are_no_deadlock() {
    let scratch = Scratch::new();
    let long = "x".repeat(2000);
    let rows: String = (0..1000).fold(String::new(), |mut rows, n| {
        let _ = writeln!(rows, "{}", json!({"id": n, "text": long}));
        rows
    });
    scratch.write("rows.jsonl", &rows);
    let run = |command: &str| {
        let recipe = format!(
            "dataset_path: rows.jsonl\nexport_path: out.jsonl\nprocess:\n  - command_mapper: {{command: {command}, lines: 1000, timeout: 20, start_timeout: 1}}\n"
        );
        scratch.write("r.yaml", recipe);
        scratch.djr(&["run", "r.yaml", "-q", "--batch-rows", "1000", "--force"])
    };
    // It answers before it has read everything, and is heard.
    run("cat").expect(0);
    assert_eq!(scratch.read("out.jsonl"), rows.as_bytes());
    // It reads nothing of what is too much for a pipe.
    let ran = run("sleep 600");
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("had read nothing for 1 s"),
        "{}",
        ran.stderr
    );
}
