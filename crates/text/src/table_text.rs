//! Tables typed as plain text.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// A line that is not empty, and whether it can be a row of a table.
struct Line<'t> {
    /// The line with all line feeds after it.
    text: &'t str,
    /// The fewest and the most separators that it can have as a row; no number lies between them if it
    /// is none. A text may be all lines, so that this is kept small.
    separators: (u32, u32),
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
            separators: row.and_then(separators).unwrap_or((u32::MAX, 0)),
        });
        rest = after;
    }
    lines
}

/// The fewest and the most separators that `line` can be taken to have.
fn separators(line: &str) -> Option<(u32, u32)> {
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
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some((number(required), number(required + optional)))
}

fn remove_tables(lines: &mut Vec<Line<'_>>, separators: usize) {
    let is_row = |line: &Line| {
        let (least, most) = line.separators;
        (least as usize..=most as usize).contains(&separators)
    };
    // What is kept moves to the front; behind it lie the rows of what may be a table.
    let (mut kept, mut rows) = (0, 0);
    for at in 0..lines.len() {
        lines.swap(kept + rows, at);
        let Some(line) = lines.get(kept + rows) else {
            break;
        };
        if is_row(line) {
            rows += 1;
            continue;
        }
        if rows >= 2 {
            lines.swap(kept, kept + rows);
        } else {
            kept += rows;
        }
        rows = 0;
        kept += 1;
    }
    lines.truncate(if rows >= 2 { kept } else { kept + rows });
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
