//! What is wrong with a recipe: every problem at once, each with its place and what to do.

use std::fmt;

/// Problems printed in full before the rest is only counted.
const SHOWN: usize = 40;
/// With more problems than this, source lines are left out, so that ten fit one screen.
const WITH_SOURCE: usize = 5;
/// Longest source line shown under a problem, in characters.
const LINE_SHOWN: usize = 100;

/// One thing wrong with a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The recipe's name as the user gave it, or the `--set` option at fault.
    pub file: String,
    /// 1-based line; 0 when the problem has no place in a file.
    pub line: usize,
    /// 1-based column, in characters; 0 when the problem has no place in a file.
    pub column: usize,
    /// The stable word for it.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The path, key, operator or parameter that it is about, as it was written.
    pub named: Option<String>,
    /// The source line at fault.
    pub source: Option<String>,
}

impl Problem {
    /// A problem with no place in a file.
    pub fn general(
        file: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            code,
            message: message.into(),
            hint: None,
            named: None,
            source: None,
        }
    }
}

impl Problem {
    fn write(&self, f: &mut fmt::Formatter<'_>, with_source: bool) -> fmt::Result {
        if self.line > 0 {
            write!(
                f,
                "{}:{}:{}: {}",
                self.file, self.line, self.column, self.message
            )?;
        } else {
            write!(f, "{}: {}", self.file, self.message)?;
        }
        if let Some(source) = self.source.as_ref().filter(|_| with_source) {
            let (shown, column) = window(source, self.column);
            write!(f, "\n    {shown}\n    {:>column$}", "^")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, true)
    }
}

/// The part of a long line around `column`, tabs made visible as one space, and the column in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let column = column.max(1);
    let skip = column.saturating_sub(LINE_SHOWN * 3 / 4);
    let shown = line
        .chars()
        .skip(skip)
        .take(LINE_SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    (shown, column - skip)
}

/// All problems of a recipe, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts and removes repetitions.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Self {
        // Problems without a place come last: a reader starts with the file.
        problems.sort_by_key(|p| (p.line == 0, p.line, p.column));
        problems.dedup();
        Self(problems)
    }

    /// The problems, sorted by place.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().take(SHOWN).enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            problem.write(f, self.0.len() <= WITH_SOURCE)?;
        }
        if self.0.len() > SHOWN {
            write!(f, "\n… and {} more problems", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
