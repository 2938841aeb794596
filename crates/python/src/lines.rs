//! Python's `str.splitlines` and the lengths of lines.

/// `str.splitlines()`: breaks at `\n`, `\r`, `\r\n` (one break), U+000B, U+000C, U+001C–U+001E,
/// U+0085, U+2028 and U+2029; a break at the end opens no empty line.
#[derive(Debug, Clone)]
pub struct Lines<'t> {
    rest: &'t str,
}

/// The lines of `text` without their ends.
#[must_use]
pub fn lines(text: &str) -> Lines<'_> {
    Lines { rest: text }
}

impl<'t> Iterator for Lines<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(at) = find_break(self.rest.as_bytes()) else {
            return Some(std::mem::take(&mut self.rest));
        };
        let (line, from) = self.rest.split_at_checked(at)?;
        self.rest = if let Some(after) = from.strip_prefix("\r\n") {
            after
        } else {
            let mut chars = from.chars();
            chars.next();
            chars.as_str()
        };
        Some(line)
    }
}

/// Where the first line break starts: `text.find(is_line_break)`, but blocks without any byte that
/// could start one are skipped with vector compares.
fn find_break(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let mut at = 0;
    for block in bytes.chunks(BLOCK) {
        if block.iter().fold(false, |any, &b| any | may_start_break(b)) {
            let found = block
                .iter()
                .enumerate()
                .filter(|&(_, &b)| may_start_break(b))
                .map(|(i, _)| at + i)
                .find(|&i| bytes.get(i..).is_some_and(starts_with_break));
            if found.is_some() {
                return found;
            }
        }
        at += block.len();
    }
    None
}

fn may_start_break(b: u8) -> bool {
    matches!(b, 0x0a..=0x0d | 0x1c..=0x1e | 0xc2 | 0xe2)
}

fn starts_with_break(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0x0a..=0x0d | 0x1c..=0x1e, ..] | [0xc2, 0x85, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..]
    )
}

/// The number of lines.
#[must_use]
pub fn line_count(text: &str) -> usize {
    lines(text).count()
}

/// The characters (code points) of the longest line; 0 if there is no line.
#[must_use]
pub fn longest_line(text: &str) -> i64 {
    let mut longest = 0;
    for line in lines(text) {
        // A line of no more bytes than the longest has characters cannot be longer.
        if i64::try_from(line.len()).unwrap_or(i64::MAX) > longest {
            longest = longest.max(super::char_count(line));
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::is_line_break;

    #[test]
    fn lines_break_as_in_python() {
        let split = |text| lines(text).collect::<Vec<_>>();
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split("\n"), [""]);
        assert_eq!(split("a\r\nb\rc\n\nd\n"), ["a", "b", "c", "", "d"]);
        assert_eq!(
            split("a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\u{85}g\u{2028}h\u{2029}i\u{1f}j\u{a0}"),
            ["a", "b", "c", "d", "e", "f", "g", "h", "i\u{1f}j\u{a0}"]
        );
        assert_eq!(longest_line("é\nab\nc"), 2);
    }

    proptest! {
        #[test]
        fn breaks_are_found_where_the_plain_version_finds_them(
            text in "[a-z“…Âé\u{a0}\u{2027}\u{2030}]{0,70}[\\x00-\\x20\u{85}\u{2028}\u{2029}]?[a-z]{0,5}"
        ) {
            prop_assert_eq!(find_break(text.as_bytes()), text.find(is_line_break));
        }
    }
}
