//! Python's `str.lower` and `str.strip`.

use std::borrow::Cow;

use super::class::{has_lower, is_case_ignorable, is_cased, is_space};
use super::tables;

/// `str.lower` by the tables of Python 3.11: `İ` becomes two characters, and a capital sigma at
/// the end of a word becomes `ς`.
#[must_use]
pub fn lower(text: &str) -> Cow<'_, str> {
    let unchanged = if text.is_ascii() {
        !text.bytes().any(|b| b.is_ascii_uppercase())
    } else {
        !text.chars().any(has_lower)
    };
    if unchanged {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    push_lower(text, &mut out);
    Cow::Owned(out)
}

/// Appends `str.lower` of `text`.
pub fn push_lower(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        if let Some(added) = out.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        return;
    }
    for (at, c) in text.char_indices() {
        match c {
            '\u{130}' => out.push_str("i\u{307}"),
            'Σ' => out.push(if is_final_sigma(text, at) { 'ς' } else { 'σ' }),
            _ => out.push(lower_char(c)),
        }
    }
}

/// A sigma is final if a cased letter comes before it and none after it, not counting
/// case-ignorable characters between.
fn is_final_sigma(text: &str, at: usize) -> bool {
    let (before, from) = text.split_at_checked(at).unwrap_or((text, ""));
    let next_to = |c: Option<char>| c.is_some_and(is_cased);
    next_to(before.chars().rev().find(|&c| !is_case_ignorable(c)))
        && !next_to(from.chars().skip(1).find(|&c| !is_case_ignorable(c)))
}

fn lower_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    if !has_lower(c) {
        return c;
    }
    let code = u32::from(c);
    let after = tables::LOWER.partition_point(|run| run.0 <= code);
    after
        .checked_sub(1)
        .and_then(|i| tables::LOWER.get(i))
        .filter(|(first, last, step, _)| code <= *last && (code - first) % step == 0)
        .and_then(|run| char::from_u32(code.checked_add_signed(run.3)?))
        .unwrap_or(c)
}

/// `str.strip()`.
#[must_use]
pub fn strip(text: &str) -> &str {
    let bytes = text.as_bytes();
    // The usual case: there is nothing to strip.
    if let (Some(b'!'..=b'~'), Some(b'!'..=b'~')) = (bytes.first(), bytes.last()) {
        return text;
    }
    text.trim_matches(is_space)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lower_follows_python() {
        for (text, expected) in [
            ("Ab1 Z", "ab1 z"),
            ("ΑΣ ΟΔΥΣΣΕΥΣ", "ας οδυσσευς"),
            ("Σ", "σ"),
            ("AΣ.B", "aσ.b"),
            ("AΣ.", "aς."),
            ("İstanbul", "i\u{307}stanbul"),
            ("ẞ ﬀ Ǆ ǅ", "ß ﬀ ǆ ǆ"),
            ("ĀĂ ĿŁ", "āă ŀł"),
            // Given a lower case only after Unicode 14.0.
            ("\u{a7cb}\u{10d50}", "\u{a7cb}\u{10d50}"),
        ] {
            assert_eq!(lower(text), expected);
        }
        assert!(matches!(lower("déjà vu"), Cow::Borrowed(_)));
    }

    #[test]
    fn strip_takes_separators_that_rust_leaves() {
        assert_eq!(strip("\u{1c}\u{3000} a b\u{85}\u{1f}"), "a b");
        assert_eq!(strip("\u{200b}a"), "\u{200b}a");
    }

    proptest! {
        #[test]
        fn lower_of_old_letters_equals_rust(text in "[ A-Za-zÀ-žΑ-ώА-я.'ẞİ\u{301}]{0,40}") {
            prop_assert_eq!(lower(&text), text.to_lowercase());
        }
    }
}
