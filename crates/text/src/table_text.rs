//! Tables typed as plain text.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// A line that is not empty, and whether it can be a row of a table.
struct Line<'t> {
    /// The line with all line feeds after it.
    text: &'t str,
    /// How many separators it can have as a row: those that must be, up to those that may be.
    separators: Option<RangeInclusive<usize>>,
}

/// `text` without tables of `columns.start()` to `columns.end()` columns: for each number in turn,
/// two or more lines in a row that can have as many cells. Cells are free of white space and
/// parted by one space, one tab or a `|` (which may as well be part of a cell); empty lines between
/// rows, and after the last, belong to the table. Neither the first line nor one without a line
/// feed is part of one.
#[must_use]
pub fn without_tables(text: &str, columns: RangeInclusive<usize>) -> Cow<'_, str> {
    let mut lines = lines(text);
    let before = lines.len();
    for count in columns {
        remove_tables(&mut lines, count.saturating_sub(1));
    }
    if lines.len() == before {
        return Cow::Borrowed(text);
    }
    lines
        .iter()
        .map(|line| line.text)
        .collect::<String>()
        .into()
}

/// The text cut after each run of line feeds.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let length = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let feeds = rest
            .bytes()
            .skip(length)
            .take_while(|&b| b == b'\n')
            .count();
        let (text, after) = rest.split_at_checked(length + feeds).unwrap_or((rest, ""));
        let row = text
            .get(..length)
            .filter(|_| feeds > 0 && !lines.is_empty());
        lines.push(Line {
            text,
            separators: row.and_then(separators),
        });
        rest = after;
    }
    lines
}

/// How many separators `line` can be taken to have.
fn separators(line: &str) -> Option<RangeInclusive<usize>> {
    let mut required = 0;
    let mut optional = 0;
    for (number, field) in line.split([' ', '\t']).enumerate() {
        if field.is_empty() || field.contains(char::is_whitespace) {
            return None;
        }
        required = number;
        let mut cell = 0_usize;
        let mut chars = field.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '|' && cell > 0 && chars.peek().is_some() {
                optional += 1;
                cell = 0;
            } else {
                cell += 1;
            }
        }
    }
    Some(required..=required + optional)
}

fn remove_tables(lines: &mut Vec<Line<'_>>, separators: usize) {
    let is_row = |line: &Line| {
        line.separators
            .as_ref()
            .is_some_and(|range| range.contains(&separators))
    };
    let mut kept = Vec::with_capacity(lines.len());
    let mut rows = Vec::new();
    for line in lines.drain(..) {
        if is_row(&line) {
            rows.push(line);
            continue;
        }
        if rows.len() >= 2 {
            rows.clear();
        }
        kept.append(&mut rows);
        kept.push(line);
    }
    if rows.len() < 2 {
        kept.append(&mut rows);
    }
    *lines = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(without_tables(text, 2..=20), expected, "{text:?}");
    }

    #[test]
    fn two_rows_make_a_table() {
        check("x\na b\nc\td\n\ny", "x\ny");
        check("x\na b\ny", "x\na b\ny");
        check("x\na b\nc d", "x\na b\nc d");
        check("a b\nc d\ne f\n", "a b\n");
    }

    #[test]
    fn bars_may_separate() {
        check("x\na|b|c\nd e\n", "x\n");
        check("x\n||a\nb c d\n", "x\n||a\nb c d\n");
    }
}
