//! `djr.ray.run` on a Ray of this machine, with the program in place of the extension: a slice of
//! `python/tests/test_ray.py` that needs no wheel. `DJR_RAY_PYTHON` names a Python that has Ray.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::resume::assert_same;
use crate::support::{Ran, Scratch, root};
use crate::tasks::{RECIPE, made, results, rows};

/// What the package asks of its extension, by the program: the answers are the same.
const EXTENSION: &str = r#"
import os, subprocess

VERSION = "0"


def call(words, recipe, progress):
    ran = subprocess.run(
        [os.environ["DJR_BINARY"], words[0], "--json", *words[1:]], stdin=subprocess.DEVNULL, capture_output=True
    )
    return ran.stdout.decode(), []


def absent(*_):
    raise NotImplementedError


main = schema = filter = Stage = absent
"#;

const DRIVER: &str = r#"
import djr

told = []
report = djr.ray.run("r.yaml", work="work", task_bytes="20KB", progress=told.append)
assert report.exit == 1 and report.quarantined > 0, report
assert sum(report.nodes.values()) == len(told) > 10, (report.nodes, told)
again = djr.ray.run("r.yaml", work="work", task_bytes="20KB")
assert (again.state, again.nodes) == ("up_to_date", {}), again
"#;

/// A Python with Ray, if there is one.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("DJR_RAY_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let mut find = Command::new(&named);
    find.args([
        "-c",
        "import importlib.util, sys; sys.exit(importlib.util.find_spec('ray') is None)",
    ]);
    let has = find.output().is_ok_and(|found| found.status.success());
    has.then_some(named)
}

/// Runs a Python that has the package, with the program in place of its extension.
fn with_package(scratch: &Scratch, python: &mut Command) {
    let package = scratch.path("python/djr");
    fs::create_dir_all(&package).unwrap();
    for entry in fs::read_dir(root().join("python/djr")).unwrap().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), package.join(entry.file_name())).unwrap();
        }
    }
    scratch.write("python/djr/_djr.py", EXTENSION);
    let ran = python
        .current_dir(scratch.path(""))
        // Ray's workers have the environment of the driver.
        .env("PYTHONPATH", scratch.path("python"))
        .env("DJR_BINARY", env!("CARGO_BIN_EXE_djr"))
        .output()
        .unwrap();
    Ran::of(ran).expect(0);
}

const WRONG: &str = r#"
import djr

with open("wrong.yaml", "w") as file:
    file.write("process: [text_length_filtre: {}]")
[problem] = [it for it in djr.check("wrong.yaml") if it.named == "text_length_filtre"]
assert problem.code and problem.message and (problem.line, problem.column) == (1, 11), repr(problem)
try:
    djr.run("none.yaml")
except djr.RecipeError as error:
    [problem] = error.problems
assert problem.file == "none.yaml" and "did you mean" in str(problem), repr(problem)
"#;

#[test]
fn what_is_wrong_is_the_same_in_python() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("no Python: its package is not tried");
        return;
    }
    let scratch = Scratch::new();
    with_package(&scratch, Command::new("python3").args(["-c", WRONG]));
}

#[test]
fn a_plan_is_done_by_ray() {
    let Some(python) = python() else {
        eprintln!("no Python with Ray: djr.ray is not tried");
        return;
    };
    let (scratch, expected) = made(RECIPE, &rows(900));
    with_package(&scratch, Command::new(python).args(["-c", DRIVER]));
    assert_same(&results(&scratch), &expected, "Ray");
}
