//! Replays recorded answers of Data-Juicer on the operators, and runs the example of every
//! operator's page.
//!
//! The cases lie in `fixtures/golden/<operator>/*.json` (written by `fixtures/golden/record.py`).
//! Operators are found through the registry: cases of an operator that is not there are counted
//! and named, and an operator without cases is a failure. Differences that are meant are listed
//! in `known.rs`, and a listed case that passes is a failure too. `fixtures/golden/PARITY.md` is
//! what the run found; `DJR_BLESS=1 cargo test --test parity` rewrites it.
//!
//! With `DJR_SHARED` set to a folder, the cases of `$DJR_SHARED/peer/cases` are replayed as well.

#![expect(
    clippy::print_stdout,
    reason = "each test prints how many cases passed"
)]

mod asked;
mod case;
mod contract;
mod example;
mod known;
mod llm;
mod loader;
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "other tests need the rest of it; a test fails by panicking"
)]
#[path = "../mock/mod.rs"]
mod mock;
mod recipes;
mod replay;
mod score;
mod yaml;

use std::fmt::Write as _;
use std::path::Path;

use djr::op::{self, Family};

use crate::case::Suite;
use crate::score::Score;

/// The cases kept in the repository, and those of the shared folder if there is one.
fn suites() -> Vec<Suite> {
    let shared = std::env::var_os("DJR_SHARED").map(|folder| Suite::shared(Path::new(&folder)));
    std::iter::once(Suite::golden()).chain(shared).collect()
}

fn check(family: Family) {
    let suites = suites();
    let mut problems = Vec::new();
    let mut report = format!("{family}s\n");
    for suite in &suites {
        for name in suite.operators(family) {
            let line = match op::find(&name) {
                Some(def) => {
                    let mut score = Score::of(suite, def);
                    problems.append(&mut score.problems);
                    score.to_string()
                }
                None => format!("{name}: not there ({} cases)", suite.cases(&name).len()),
            };
            let _ = writeln!(report, "  {}{line}", suite.prefix);
        }
    }
    if suites.len() == 1 {
        report.push_str("  DJR_SHARED is not set: only the cases of fixtures/golden\n");
    }
    // One write, or the tests' reports mix.
    print!("{report}");
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn mappers_answer_as_recorded() {
    check(Family::Mapper);
}

#[test]
fn filters_answer_as_recorded() {
    check(Family::Filter);
}

#[test]
fn deduplicators_answer_as_recorded() {
    check(Family::Deduplicator);
}

#[test]
fn selectors_answer_as_recorded() {
    check(Family::Selector);
}

#[test]
fn groupers_answer_as_recorded() {
    check(Family::Grouper);
}

#[test]
fn whole_recipes_leave_the_rows_that_were_recorded() {
    let wholes = recipes::all();
    let mut problems = Vec::new();
    let mut report = String::from("whole recipes\n");
    for whole in wholes {
        let _ = writeln!(
            report,
            "  {}: {} of {} rows",
            whole.name, whole.agree, whole.total
        );
        problems.extend(whole.difference.map(|d| format!("{}, {d}", whole.name)));
    }
    print!("{report}");
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Whether Data-Juicer has no such operator, as its page says.
fn is_own(def: &op::OpDef) -> bool {
    let mut peer = def.docs.iter().skip_while(|line| line.trim() != "## Peer");
    peer.nth(1)
        .is_some_and(|line| line.contains("has no such operator"))
}

#[test]
fn every_operator_has_golden_cases() {
    let golden = Suite::golden();
    let bare: Vec<_> = op::all()
        .into_iter()
        .filter(|def| golden.cases(def.name).is_empty() && !is_own(def))
        // What asks a server has its cases elsewhere.
        .filter(|def| {
            !case::repository()
                .join("fixtures/llm")
                .join(def.name)
                .is_dir()
        })
        // Data-Juicer runs these models in the process: there are no requests to compare.
        .filter(|def| !["generate_qa_from_text_mapper", "mllm_mapper"].contains(&def.name))
        .map(|def| def.name)
        .collect();
    assert!(
        bare.is_empty(),
        "no cases under fixtures/golden for: {}\nhint: add inputs to fixtures/golden/record.py and run it",
        bare.join(", ")
    );
}

#[test]
fn known_differences_name_existing_cases() {
    let suites = suites();
    let lost: Vec<_> = known::TABLE
        .iter()
        .filter(|known| {
            suites
                .iter()
                .find(|suite| suite.owns(known.case))
                .is_some_and(|suite| !suite.has(known.case))
        })
        .map(|known| known.case)
        .collect();
    assert!(lost.is_empty(), "no such case: {}", lost.join(", "));
}

#[test]
fn every_example_of_the_pages_is_true() {
    let mut problems = Vec::new();
    let defs = op::all();
    for def in &defs {
        if let Err(found) = example::run(def) {
            let found = found.into_iter();
            problems.extend(found.map(|p| format!("{} ({}): {p}", def.name, def.file)));
        }
    }
    println!("{} pages", defs.len());
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn parity_page_is_current() {
    let golden = Suite::golden();
    let page = score::page(&golden);
    let path = case::repository().join("fixtures/golden/PARITY.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written == page {
        return;
    }
    if std::env::var_os("DJR_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
        println!("wrote {}", path.display());
        return;
    }
    let changed: Vec<_> = page
        .lines()
        .filter(|line| !written.lines().any(|old| old == *line))
        .collect();
    panic!(
        "fixtures/golden/PARITY.md is out of date; now it has\n{}\nhint: DJR_BLESS=1 cargo test --test parity parity_page",
        changed.join("\n")
    );
}
