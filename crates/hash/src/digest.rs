//! The digest by which texts count as equal.

use md5::{Digest as _, Md5};

use super::clean::{is_non_character, python_lower, python_strip};

/// MD5 of a text as Data-Juicer's `document_deduplicator` makes it: lower-cased if `lowercase`,
/// then without white space, decimal digits and ASCII punctuation if `ignore_non_character`, then
/// stripped as Python strips, in UTF-8.
#[must_use]
pub fn text_digest(text: &str, lowercase: bool, ignore_non_character: bool) -> [u8; 16] {
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
    use super::text_digest;

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
