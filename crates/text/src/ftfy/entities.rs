//! HTML character references that end in a semicolon.

use std::borrow::Cow;

use html5ever::data::NAMED_ENTITIES;

use super::encoding::c1_as_windows_1252;

/// Longest name or number between `&` (or `&#`) and `;`.
const MAX_NAME: usize = 24;

/// `text` with its references decoded: named ones of HTML5, numeric ones, and the names in capitals
/// of those that have no other meaning (`&NTILDE;`).
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'&', rest)) {
        let start = at + found;
        at = start + 1;
        let Some(end) = reference_end(bytes, start) else {
            continue;
        };
        let Some(reference) = text.get(start..end) else {
            continue;
        };
        at = end;
        let Some(decoded) = decode(reference) else {
            continue;
        };
        out.push_str(text.get(done..start).unwrap_or_default());
        out.push_str(&decoded);
        done = end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// The end of the reference that starts at `start`, if it has the shape of one.
fn reference_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut name = start + 1;
    if bytes.get(name) == Some(&b'#') {
        name += 1;
    }
    let length = bytes
        .get(name..)?
        .iter()
        .take(MAX_NAME + 1)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let end = name + length;
    ((1..=MAX_NAME).contains(&length) && bytes.get(end) == Some(&b';')).then_some(end + 1)
}

/// What `reference` (`&...;`) stands for, or `None` to leave it.
fn decode(reference: &str) -> Option<String> {
    let name = reference.strip_prefix('&')?;
    if let Some(number) = name.strip_prefix('#') {
        // What decodes to a semicolon is taken for one that was left over, and stays.
        return numeric(number.strip_suffix(';')?).filter(|decoded| !decoded.contains(';'));
    }
    named(name).or_else(|| named_in_capitals(name))
}

fn named(name: &str) -> Option<String> {
    let &(first, second) = NAMED_ENTITIES.get(name)?;
    let mut decoded = String::from(char::from_u32(first).filter(|&c| c != '\0')?);
    decoded.extend(char::from_u32(second).filter(|&c| c != '\0'));
    Some(decoded)
}

fn named_in_capitals(name: &str) -> Option<String> {
    if name.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    // A name such as AMP that means something without its semicolon would already have been
    // decoded in part.
    let ambiguous = (2..name.len()).any(|end| name.get(..end).is_some_and(|n| named(n).is_some()));
    if ambiguous {
        return None;
    }
    named(&name.to_ascii_lowercase()).map(|decoded| decoded.to_uppercase())
}

fn numeric(number: &str) -> Option<String> {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let mut code = 0_u32;
    for digit in digits.chars() {
        code = code
            .saturating_mul(radix)
            .saturating_add(digit.to_digit(radix)?);
    }
    if digits.is_empty() {
        return None;
    }
    Some(match code {
        0 => "\u{fffd}".into(),
        0x0d => "\r".into(),
        0x80..=0x9f => char::from_u32(code).map(c1_as_windows_1252)?.into(),
        // Controls and noncharacters vanish.
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => String::new(),
        _ if code <= 0x0010_ffff && code & 0xfffe == 0xfffe => String::new(),
        _ => char::from_u32(code).unwrap_or('\u{fffd}').into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_references_are_decoded() {
        assert_eq!(
            unescape("&lt;&lt &eacute;&NTILDE;&nTILDE;"),
            "<&lt éÑ&nTILDE;"
        );
        assert_eq!(
            unescape("&#x41;&#65;&#0;&#1;&#x99999999999;"),
            "AA\u{fffd}\u{fffd}"
        );
        assert_eq!(unescape("&SZLIG;&&amp;&#;&x;"), "SS&&&#;&x;");
    }
}
