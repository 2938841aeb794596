//! The digest by which texts count as equal.

use md5::{Digest as _, Md5};

use super::clean::{is_non_character, python_lower, python_strip};

/// MD5 of a text as Data-Juicer's `document_deduplicator` makes it: lower-cased if `lowercase`,
/// then without white space, decimal digits and ASCII punctuation if `ignore_non_character`, then
/// stripped as Python strips, in UTF-8.
#[must_use]
pub fn text_digest(text: &str, lowercase: bool, ignore_non_character: bool) -> [u8; 16] {
    if text.is_ascii() {
        return Md5::digest(ascii(text, lowercase, ignore_non_character)).into();
    }
    text_digest_plain(text, lowercase, ignore_non_character)
}

/// What is digested of an ASCII text.
fn ascii(text: &str, lowercase: bool, ignore_non_character: bool) -> Vec<u8> {
    let mut kept = vec![0; text.len()];
    let mut length = 0;
    // Each byte is written, whether or not the next one takes its place: a branch would often be
    // mispredicted.
    for &byte in text.as_bytes() {
        let ignored = ignore_non_character && IGNORED.get(usize::from(byte)) == Some(&true);
        if let Some(slot) = kept.get_mut(length) {
            *slot = byte;
        }
        length += usize::from(!ignored);
    }
    kept.truncate(length);
    if lowercase {
        kept.make_ascii_lowercase();
    }
    let space = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ' | 0x1c..=0x1f);
    let end = kept.iter().rposition(|byte| !space(byte));
    kept.truncate(end.map_or(0, |last| last + 1));
    let start = kept.iter().position(|byte| !space(byte));
    kept.drain(..start.unwrap_or(0));
    kept
}

/// [`is_non_character`] of each byte of ASCII.
const IGNORED: [bool; 256] = {
    let mut ignored = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        ignored[byte as usize] = byte.is_ascii_digit()
            || byte.is_ascii_punctuation()
            || matches!(byte, b'\t'..=b'\r' | b' ');
        byte += 1;
    }
    ignored
};

/// The same for any text, step by step.
fn text_digest_plain(text: &str, lowercase: bool, ignore_non_character: bool) -> [u8; 16] {
    let lowered = if lowercase {
        python_lower(text)
    } else {
        text.into()
    };
    if ignore_non_character {
        let kept: String = lowered.chars().filter(|&c| !is_non_character(c)).collect();
        return Md5::digest(python_strip(&kept)).into();
    }
    Md5::digest(python_strip(&lowered)).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ascii_texts_have_the_digest_of_the_plain_version(
            text in "[\\x00-\\x7f]{0,40}|[ \\x1c\n]{0,3}[a-zA-Z0-9., \\x1c]{0,40}[ \\x1f]{0,3}",
            lowercase: bool,
            ignore: bool,
        ) {
            prop_assert_eq!(
                text_digest(&text, lowercase, ignore),
                text_digest_plain(&text, lowercase, ignore)
            );
        }
    }

    #[test]
    fn only_what_is_asked_for_is_ignored() {
        let same = |a: &str, b: &str, lower: bool, ignore: bool| {
            text_digest(a, lower, ignore) == text_digest(b, lower, ignore)
        };
        assert!(same(" a\u{1F}", "a", false, false));
        assert!(!same("a b", "ab", false, false));
        assert!(!same("A", "a", false, false) && same("A", "a", true, false));
        assert!(same("a, b٣\u{0B}!", "ab", false, true));
        // Separators that `\s` lacks are stripped at the ends but stay inside.
        assert!(same("\u{1C}ab", "ab", false, true) && !same("a\u{1C}b", "ab", false, true));
        assert!(!same("a，b", "ab", false, true));
    }

    #[test]
    fn the_digest_is_md5_of_utf8() {
        // hashlib.md5("né".encode()).hexdigest()
        let expected = u128::from_str_radix(MD5_NE, 16).unwrap();
        assert_eq!(
            u128::from_be_bytes(text_digest(" né\n", false, false)),
            expected
        );
    }

    const MD5_NE: &str = "4b412f217a89113f3e321f48d3273a0a";
}
