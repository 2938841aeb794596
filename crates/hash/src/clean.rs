//! What Data-Juicer's deduplicators do to a text before they hash it, with Python's meaning.

use std::borrow::Cow;

/// Capital letters that Python 3.11 (Unicode 14) does not know and leaves as they are, while Rust
/// (Unicode 17) lowers them. Inclusive ranges.
const YOUNGER_CAPITALS: [(char, char); 9] = [
    ('\u{1C89}', '\u{1C89}'),
    ('\u{A7CB}', '\u{A7CC}'),
    ('\u{A7CE}', '\u{A7CE}'),
    ('\u{A7D2}', '\u{A7D2}'),
    ('\u{A7D4}', '\u{A7D4}'),
    ('\u{A7DA}', '\u{A7DA}'),
    ('\u{A7DC}', '\u{A7DC}'),
    ('\u{10D50}', '\u{10D65}'),
    ('\u{16EA0}', '\u{16EB8}'),
];

/// The first code point of each run of ten decimal digits (category Nd) in Unicode 17, as the
/// `regex` module's `\d` has them.
const DECIMAL_ZEROS: [u32; 77] = [
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66,
    0xDE6, 0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90,
    0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
    0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0,
    0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50,
    0x11DA0, 0x11DE0, 0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE,
    0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
];

/// `str.lower()` of Python 3.11, final sigma included.
#[must_use]
pub fn python_lower(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    if !text.contains(is_younger_capital) {
        return Cow::Owned(text.to_lowercase());
    }
    // To Unicode 14 such a letter is unassigned, so it bounds a word as the end of the text does:
    // the pieces between may be lowered alone and a sigma still sees what Python sees.
    let mut lowered = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_younger_capital) {
        let (body, last) = match piece.char_indices().next_back() {
            Some((at, last)) if is_younger_capital(last) => (piece.get(..at), Some(last)),
            _ => (Some(piece), None),
        };
        lowered.push_str(&body.unwrap_or_default().to_lowercase());
        lowered.extend(last);
    }
    Cow::Owned(lowered)
}

/// `str.strip()` of Python: Unicode white space and U+001C to U+001F.
#[must_use]
pub fn python_strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c))
}

/// Whether `document_deduplicator` removes `c` under `ignore_non_character`: white space, decimal
/// digits and ASCII punctuation.
pub(super) fn is_non_character(c: char) -> bool {
    if c.is_ascii() {
        // 0x0B counts as white space in Unicode but not for `is_ascii_whitespace`.
        return c.is_ascii_digit() || c.is_ascii_punctuation() || c.is_whitespace();
    }
    c.is_whitespace() || is_decimal(c)
}

fn is_decimal(c: char) -> bool {
    let code = u32::from(c);
    let after = DECIMAL_ZEROS.partition_point(|&zero| zero <= code);
    after
        .checked_sub(1)
        .and_then(|at| DECIMAL_ZEROS.get(at))
        .is_some_and(|zero| code - zero < 10)
}

fn is_younger_capital(c: char) -> bool {
    YOUNGER_CAPITALS
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&c))
}

/// A pattern whose matches are cut before hashing (`ignore_pattern`). Patterns without look-around
/// and back-references run on a linear-time engine.
#[derive(Debug, Clone)]
pub enum IgnorePattern {
    /// Linear time.
    Plain(regex::Regex),
    /// With look-around or back-references.
    Fancy(Box<fancy_regex::Regex>),
}

impl IgnorePattern {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Self, String> {
        match regex::Regex::new(pattern) {
            Ok(regex) => Ok(Self::Plain(regex)),
            Err(_) => fancy_regex::Regex::new(pattern)
                .map(|regex| Self::Fancy(Box::new(regex)))
                .map_err(|e| e.to_string()),
        }
    }

    /// The parameter `ignore_pattern`: an empty one is none.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn optional(pattern: Option<String>) -> Result<Option<Self>, String> {
        match pattern {
            Some(pattern) if !pattern.is_empty() => Self::new(&pattern).map(Some),
            _ => Ok(None),
        }
    }

    /// `text` without the matches.
    ///
    /// # Errors
    /// If a pattern with look-around gives up on this text (catastrophic backtracking).
    pub fn cut<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, String> {
        match self {
            Self::Plain(regex) => Ok(regex.replace_all(text, "")),
            Self::Fancy(regex) => regex.try_replacen(text, 0, "").map_err(|e| e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_is_that_of_python_3_11() {
        // Computed with CPython 3.11.7.
        for (text, lower) in [
            ("ABC", "abc"),
            ("ΑΣ ΣΑΣ. Σ", "ας σας. σ"),
            ("İSTANBUL", "i\u{307}stanbul"),
            ("K\u{A7CB}\u{A7D6}", "k\u{A7CB}\u{A7D7}"),
            ("ΑΣ\u{10D50}ΑΣ", "ας\u{10D50}ας"),
            ("ẞÄ", "ßä"),
        ] {
            assert_eq!(python_lower(text), lower, "{text}");
        }
    }

    #[test]
    fn strip_takes_the_separators_that_rust_does_not() {
        assert_eq!(
            python_strip("\u{1C}\u{85} a\u{200B}\u{1F}\u{3000}"),
            "a\u{200B}"
        );
    }

    #[test]
    fn digits_are_those_of_unicode_17() {
        assert!(is_decimal('٣') && is_decimal('９') && is_decimal('\u{11DE0}'));
        assert!(!is_decimal('²') && !is_decimal('½') && !is_decimal('Ⅷ'));
        let count = ('\0'..=char::MAX).filter(|&c| is_decimal(c)).count();
        assert_eq!(count, 770);
    }

    #[test]
    fn patterns_with_look_around_work_too() {
        let cut = |pattern: &str, text: &'static str| {
            IgnorePattern::new(pattern)
                .unwrap()
                .cut(text)
                .unwrap()
                .into_owned()
        };
        assert_eq!(cut(r"\p{P}", "a,b。c"), "abc");
        assert_eq!(cut(r"a(?=b)", "ab ac"), "b ac");
        assert!(IgnorePattern::new("(").is_err());
    }
}
