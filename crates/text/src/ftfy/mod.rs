//! Repair of mojibake and of untidy characters, giving the answers of ftfy 6.3.1's `fix_text`.
//!
//! Written anew from what that program does; only its tables of facts are carried over, see
//! `tables.rs`. [`fix_text`] is the whole of it: the text is cut into lines, and every line is
//! taken through the same steps until nothing changes.

mod badness;
mod characters;
mod encoding;
mod entities;
mod tables;

use std::borrow::Cow;

use super::normal::Form;

/// Longest piece of text that is repaired in one go, in characters.
const MAX_SEGMENT: usize = 1_000_000;

/// `text` repaired and brought to the normal form `form`.
#[must_use]
pub fn fix_text(text: &str, form: Form) -> Cow<'_, str> {
    if is_plain_ascii(text) {
        return Cow::Borrowed(text);
    }
    fix_segments(text, form)
}

/// Whether nothing in `text` can need repair: ASCII with neither an ampersand nor a control
/// character that is removed or rewritten.
fn is_plain_ascii(text: &str) -> bool {
    text.bytes()
        .all(|b| matches!(b, b'\t' | b'\n' | 0x0c | 0x20..=0x25 | 0x27..=0x7e))
}

/// The plain version of [`fix_text`].
fn fix_segments(text: &str, form: Form) -> Cow<'_, str> {
    let mut unescape = true;
    let mut out = String::new();
    let mut changed = false;
    let mut done = 0;
    while let Some(rest) = text.get(done..).filter(|rest| !rest.is_empty()) {
        let segment = first_segment(rest);
        // One literal "<" says that this is HTML, whose entities must stay, from here on.
        unescape = unescape && !segment.contains('<');
        let fixed = fix_segment(segment, unescape, form);
        if let Cow::Owned(fixed) = &fixed
            && fixed != segment
            && !changed
        {
            changed = true;
            out.reserve(text.len());
            out.push_str(text.get(..done).unwrap_or_default());
        }
        if changed {
            out.push_str(&fixed);
        }
        done += segment.len();
    }
    if changed {
        Cow::Owned(out)
    } else {
        Cow::Borrowed(text)
    }
}

/// The first line of `text` with its line feed, or as much of it as is repaired in one go.
fn first_segment(text: &str) -> &str {
    let line = match memchr::memchr(b'\n', text.as_bytes()) {
        Some(end) => text.get(..=end).unwrap_or(text),
        None => text,
    };
    if line.len() <= MAX_SEGMENT {
        return line;
    }
    match line.char_indices().nth(MAX_SEGMENT) {
        Some((end, _)) => line.get(..end).unwrap_or(line),
        None => line,
    }
}

fn fix_segment(segment: &str, unescape: bool, form: Form) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(segment);
    loop {
        if is_plain_ascii(&text) {
            return text;
        }
        let mut fixed = Cow::Borrowed(&*text);
        if unescape {
            fixed = then(fixed, entities::unescape);
        }
        fixed = then(fixed, encoding::fix_encoding);
        fixed = then(fixed, characters::tidy);
        fixed = then(fixed, characters::remove_terminal_escapes);
        fixed = then(fixed, characters::remove_controls);
        fixed = then(fixed, |t| form.normalize(t));
        match fixed {
            Cow::Owned(fixed) if fixed != *text => text = Cow::Owned(fixed),
            _ => return text,
        }
    }
}

/// One more step over what may or may not have been changed already.
fn then(text: Cow<'_, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'_, str> {
    let next = match step(&text) {
        Cow::Borrowed(same) if same.len() == text.len() => None,
        changed => Some(changed.into_owned()),
    };
    next.map_or(text, Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(fix_text(input, Form::Nfc), expected, "{input:?}");
    }

    #[test]
    fn mojibake_is_decoded() {
        check("âœ” No problems", "✔ No problems");
        check("Ã³", "ó");
        check("voilÃ le travail", "voilà le travail");
        check("â€œ like this â€\u{fffd}", "\" like this \u{fffd}");
        check("l’humanitÃ©", "l'humanité");
    }

    #[test]
    fn entities_are_decoded_until_a_tag_appears() {
        check("P&EACUTE;REZ &amp; &#x2019;", "PÉREZ & '");
        check("&amp;\n<b>&amp;\n&amp;", "&\n<b>&amp;\n&amp;");
        check("&#59;&#12ab;&nTILDE;", "&#59;&#12ab;&nTILDE;");
    }

    #[test]
    fn characters_are_tidied() {
        check("ＬＯＵＤ　ＮＯＩＳＥＳ", "LOUD NOISES");
        check("ﬂuﬃeﬆ\u{1b}[31m\u{7}\r\n", "fluffiest\n");
        check("e\u{301}", "é");
    }

    proptest! {
        #[test]
        fn plain_ascii_is_left_alone(text in "[ -~\t\n\u{c}\r\u{1}]{0,40}") {
            prop_assert_eq!(fix_text(&text, Form::Nfc), fix_segments(&text, Form::Nfc));
        }
    }
}
