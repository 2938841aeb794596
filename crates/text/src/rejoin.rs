//! Words picked out of a text, and the rest put back together.

use std::borrow::Cow;

/// `text` with just the words that `keep` approves. Words lie between spaces, tabs and line feeds;
/// what stays is joined by one space within a field, one tab between fields and one line feed
/// between lines, and fields and lines without words vanish, also if none was removed.
#[must_use]
pub fn retain_words(text: &str, keep: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let is_tidy = |text: &str| {
        let is_separator = |b: u8| matches!(b, b' ' | b'\t' | b'\n');
        let mut after_separator = true;
        for b in text.bytes() {
            if is_separator(b) && after_separator {
                return false;
            }
            after_separator = is_separator(b);
        }
        !after_separator
    };
    if is_tidy(text) && text.split([' ', '\t', '\n']).all(&keep) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(rejoined(text, keep))
}

/// The plain version of [`retain_words`].
fn rejoined(text: &str, keep: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split('\n') {
        let mut line_has_words = false;
        for field in line.split('\t') {
            let mut field_has_words = false;
            for word in field.split(' ').filter(|w| !w.is_empty() && keep(w)) {
                if field_has_words {
                    out.push(' ');
                } else if line_has_words {
                    out.push('\t');
                } else if !out.is_empty() {
                    out.push('\n');
                }
                field_has_words = true;
                line_has_words = true;
                out.push_str(word);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_fields_vanish() {
        assert_eq!(retain_words(" a  b\t\tc\n\n \nd ", |_| true), "a b\tc\nd");
        assert_eq!(retain_words("a bb\tbb\na", |w| w == "a"), "a\na");
    }

    proptest! {
        #[test]
        fn tidy_text_is_as_rejoined(text in "[ab \t\n]{0,12}") {
            let keep = |w: &str| w != "b";
            prop_assert_eq!(retain_words(&text, keep), rejoined(&text, keep));
        }
    }
}
