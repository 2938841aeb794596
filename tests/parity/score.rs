//! Counts what passes, and writes the page that says so.

use std::fmt;
use std::fmt::Write as _;

use djr::op::{self, Family, OpDef};

use crate::case::Suite;
use crate::known::{self, Known};
use crate::recipes;
use crate::replay::{self, Difference};

/// How one operator fares on the cases of a suite.
pub struct Score {
    name: String,
    passed: usize,
    total: usize,
    /// Differences that are listed and stand.
    pub known: Vec<&'static Known>,
    /// What must be mended, in words.
    pub problems: Vec<String>,
}

impl Score {
    /// Replays all cases of `def`.
    pub fn of(suite: &Suite, def: &'static OpDef) -> Self {
        let mut score = Self {
            name: def.name.to_owned(),
            passed: 0,
            total: 0,
            known: Vec::new(),
            problems: Vec::new(),
        };
        for (name, path) in suite.cases(def.name) {
            let outcome = match suite.read(&path) {
                Ok(case) if case.replayable => replay::run(def, suite, &case),
                Ok(_) => continue,
                Err(e) => {
                    score.problems.push(format!("{name}: cannot be read: {e}"));
                    continue;
                }
            };
            score.total += 1;
            score.judge(&name, outcome);
        }
        score
    }

    fn judge(&mut self, name: &str, outcome: Result<(), Difference>) {
        match (outcome, known::find(name)) {
            (Ok(()), None) => self.passed += 1,
            (Ok(()), Some(_)) => self.problems.push(format!(
                "{name} passes: remove it from the table of known differences"
            )),
            (Err(difference), Some(known)) if as_listed(&difference, known) => {
                self.known.push(known);
            }
            (Err(difference), Some(known)) => self.problems.push(format!(
                "{name} differs in other rows than the listed {:?}:{}",
                known.rows,
                difference.shown()
            )),
            (Err(difference), None) => self
                .problems
                .push(format!("{name} differs:{}", difference.shown())),
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}/{}", self.name, self.passed, self.total)?;
        if !self.known.is_empty() {
            write!(f, " ({} known differences)", self.known.len())?;
        }
        Ok(())
    }
}

fn as_listed(difference: &Difference, known: &Known) -> bool {
    if known.rows.is_empty() {
        return true;
    }
    difference.whole.is_empty() && difference.rows.keys().eq(known.rows)
}

/// `PARITY.md`: what the cases of the repository say about every operator.
pub fn page(golden: &Suite) -> String {
    let mut page = String::from(
        "# Parity with Data-Juicer 1.6.1\n\n\
         Written by the parity test (`DJR_BLESS=1 cargo test --test parity`). Each case holds rows,\n\
         parameters and the answer that Data-Juicer's operator gave when called directly; a case\n\
         passes if every stat is bit-equal, the same rows survive in the same order, and every\n\
         changed row is equal.\n\n\
         | operator | cases passed | of | known differences |\n|---|---|---|---|\n",
    );
    let mut known = Vec::new();
    for family in [
        Family::Mapper,
        Family::Filter,
        Family::Deduplicator,
        Family::Selector,
        Family::Grouper,
    ] {
        for name in golden.operators(family) {
            let total = golden.cases(&name).len();
            let _ = match op::find(&name) {
                Some(def) => {
                    let score = Score::of(golden, def);
                    let line = writeln!(
                        page,
                        "| {name} | {} | {total} | {} |",
                        score.passed,
                        score.known.len()
                    );
                    known.extend(score.known);
                    line
                }
                None => writeln!(page, "| {name} | not there | {total} | |"),
            };
        }
    }
    page.push_str(
        "\n## Whole recipes\n\n\
         Run by the executor, and by Data-Juicer's own: its loader, its rounding of stats and the\n\
         order of its rows included. A row agrees if it is equal and in the same place.\n\n\
         | recipe | rows that agree | of |\n|---|---|---|\n",
    );
    for whole in recipes::all() {
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            whole.name, whole.agree, whole.total
        );
    }
    page.push_str("\n## Known differences\n\n");
    if known.is_empty() {
        page.push_str("None.\n");
    }
    for known in known {
        let _ = writeln!(
            page,
            "- `{}` rows {:?}: {}",
            known.case, known.rows, known.why
        );
    }
    page
}
