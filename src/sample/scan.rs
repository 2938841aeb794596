//! Where the members of a line's JSON object lie, found in one pass over its bytes.
//!
//! This is the fast way for lines that are plain JSON. It knows no errors: where anything is not as
//! most lines have it, it gives up, and `serde_json`, which is the specification, reads the line.

use std::ops::Range;

use smallvec::SmallVec;

/// One member: `"key": value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The key, without its quotes.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// Deeper values are left to `serde_json`, which has a limit of its own.
const MAX_DEPTH: u32 = 64;

/// Calls `see` with each member of the object that `line` is, in order; false if it is no object, no
/// JSON, or unusual (escapes in keys, deep nesting): what was seen until then means nothing.
#[must_use]
pub fn members(line: &str, mut see: impl FnMut(Member)) -> bool {
    each(line.as_bytes(), &mut see).is_some()
}

fn each(bytes: &[u8], see: &mut impl FnMut(Member)) -> Option<()> {
    let mut at = expect(bytes, space(bytes, 0), b'{')?;
    at = space(bytes, at);
    if bytes.get(at) == Some(&b'}') {
        return ended(bytes, at + 1);
    }
    loop {
        let begin = expect(bytes, at, b'"')?;
        let end = begin + plain(bytes.get(begin..)?);
        // A key with an escape is another text than its bytes.
        at = expect(bytes, end, b'"')?;
        at = expect(bytes, space(bytes, at), b':')?;
        let start = space(bytes, at);
        at = value(bytes, start, 0)?;
        see(Member {
            key: begin..end,
            value: start..at,
        });
        at = space(bytes, at);
        match bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b'}' => return ended(bytes, at + 1),
            _ => return None,
        }
    }
}

/// That only white space follows.
fn ended(bytes: &[u8], at: usize) -> Option<()> {
    (space(bytes, at) == bytes.len()).then_some(())
}

/// Behind `byte`, which must stand here.
fn expect(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (bytes.get(at) == Some(&byte)).then_some(at + 1)
}

/// Behind the white space.
fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// Behind the value that begins here.
fn value(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at + 1),
        b'[' => items(bytes, at + 1, depth),
        b'{' => entries(bytes, at + 1, depth),
        b'-' | b'0'..=b'9' => number(bytes, at),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes
        .get(at..)?
        .starts_with(word)
        .then_some(at + word.len())
}

fn items(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    let mut at = space(bytes, at);
    if depth >= MAX_DEPTH {
        return None;
    }
    if bytes.get(at) == Some(&b']') {
        return Some(at + 1);
    }
    loop {
        at = space(bytes, value(bytes, at, depth + 1)?);
        match bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn entries(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    let mut at = space(bytes, at);
    if depth >= MAX_DEPTH {
        return None;
    }
    if bytes.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        at = string(bytes, expect(bytes, at, b'"')?)?;
        at = expect(bytes, space(bytes, at), b':')?;
        at = space(bytes, value(bytes, space(bytes, at), depth + 1)?);
        match bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Behind the string whose text begins here.
fn string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                at += match bytes.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                    b'u' => {
                        let digits = bytes.get(at + 2..at + 6)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
                    }
                    _ => return None,
                };
            }
            // A control character.
            _ => return None,
        }
    }
}

/// Behind the number that begins here.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let begin = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > begin).then_some(at)
    };
    let mut at = at + usize::from(bytes.get(at) == Some(&b'-'));
    at = match bytes.get(at)? {
        b'0' => at + 1,
        _ => digits(at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = digits(at + 1 + usize::from(sign))?;
    }
    Some(at)
}

/// How many bytes come before the first quote, backslash or control character.
#[must_use]
pub fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte that is zero, and perhaps of some behind the first such byte.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    // The high bit of the first special byte, and perhaps of some behind it.
    let special = |chunk: [u8; 8]| {
        let word = u64::from_le_bytes(chunk);
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        quote | backslash | control
    };
    let (chunks, rest) = bytes.as_chunks();
    let mut done = 0;
    for chunk in chunks {
        let found = special(*chunk);
        if found != 0 {
            return done + (found.trailing_zeros() / 8) as usize;
        }
        done += 8;
    }
    // What is left lies in the last eight bytes, of which the others are plain.
    if bytes.last_chunk().is_some_and(|last| special(*last) == 0) {
        return bytes.len();
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    done + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Whether this is a JSON string without escapes.
#[must_use]
pub fn is_plain_string(json: &str) -> bool {
    let bytes = json.as_bytes();
    let closed = json.len() >= 2 && json.starts_with('"') && json.ends_with('"');
    closed && plain(bytes.get(1..).unwrap_or_default()) == bytes.len() - 2
}

/// Appends the text of a JSON string to `text`, given what stands between its quotes; false if an
/// escape is not one of those of one letter: what was appended until then means nothing.
#[must_use]
pub fn unescape(inner: &str, text: &mut String) -> bool {
    text.reserve(inner.len());
    let mut rest = inner;
    loop {
        let Some((before, after)) = rest.split_at_checked(plain(rest.as_bytes())) else {
            return false;
        };
        text.push_str(before);
        let mut escape = after.chars();
        match escape.next() {
            None => return true,
            Some('\\') => {}
            Some(_) => return false,
        }
        text.push(match escape.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(escaped @ ('"' | '\\' | '/')) => escaped,
            _ => return false,
        });
        rest = escape.as_str();
    }
}

/// How many texts stand in a JSON array, if none of them is empty and nothing is escaped.
#[must_use]
pub fn texts_in(array: &str) -> Option<usize> {
    let bytes = array.as_bytes();
    expect(bytes, 0, b'[')?;
    let (mut quotes, mut behind) = (0, 0);
    for at in memchr::memchr2_iter(b'"', b'\\', bytes) {
        if bytes.get(at) != Some(&b'"') || (quotes > 0 && at == behind) {
            return None;
        }
        quotes += 1;
        behind = at + 1;
    }
    Some(quotes / 2)
}

/// The texts of a JSON array of strings without escapes.
#[must_use]
pub fn plain_texts(array: &str) -> Option<SmallVec<[&str; 1]>> {
    let bytes = array.as_bytes();
    let mut strings = SmallVec::new();
    let mut at = space(bytes, expect(bytes, 0, b'[')?);
    if bytes.get(at) == Some(&b']') {
        return (at + 1 == bytes.len()).then_some(strings);
    }
    loop {
        let begin = expect(bytes, at, b'"')?;
        let end = begin + plain(bytes.get(begin..)?);
        at = space(bytes, expect(bytes, end, b'"')?);
        strings.push(array.get(begin..end)?);
        match bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b']' => return (at + 1 == bytes.len()).then_some(strings),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(line: &str) -> Option<Vec<Member>> {
        let mut found = Vec::new();
        members(line, |member| found.push(member)).then_some(found)
    }

    #[test]
    fn plain_text_ends_at_the_first_special_byte() {
        for special in ["\"", "\\", "\n", "\0", "\u{1f}"] {
            for before in 0..20 {
                let text = format!("{}{special}{special}é", "ä".repeat(before));
                assert_eq!(plain(text.as_bytes()), before * 2, "{text:?}");
            }
        }
        assert_eq!(plain("\u{7f}é€ !#[]".as_bytes()), 11);
        assert_eq!(plain(b""), 0);
    }

    #[test]
    fn unusual_lines_are_given_up() {
        for line in [
            "",
            "{",
            "[]",
            "{}x",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{\"a\\u0041\":1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":NaN}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u00g0\"}",
            "{a:1}",
            "{\"a\":[1,]}",
            "{\"a\":{\"b\"}}",
            "{\"a\":tru}",
            "{\"a\":\"b}",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_those_of_serde_json(inner in r#"([a-c"é]|\\[nrtbf"/\\]|\\u00e9|[\n ]){0,12}"#) {
            let slow = serde_json::from_str::<String>(&format!("\"{inner}\""));
            let mut text = String::new();
            if unescape(&inner, &mut text) {
                prop_assert_eq!(text, slow.unwrap());
            } else if let Ok(slow) = slow {
                prop_assert!(inner.contains("\\u") || inner.contains("\\b") || inner.contains("\\f"), "{slow}");
            }
        }

        #[test]
        fn lists_are_those_of_serde_json(list in r#"\[[ ]?("[ab\\]{0,2}"[ ]?,?[ ]?|1){0,3}\][ ]?"#) {
            let slow = serde_json::from_str::<Vec<String>>(&list).ok();
            if let Some(fast) = plain_texts(&list) {
                prop_assert_eq!(Some(fast.into_iter().map(str::to_owned).collect()), slow);
            } else if let Some(slow) = slow {
                prop_assert!(list.contains('\\') || list.ends_with(' '), "{slow:?}");
            }
        }

        /// Whatever the fast way finds, the specification finds; the other way round it may give up.
        #[test]
        fn it_finds_what_serde_json_finds(
            line in r#"[ ]?\{([ ]?"[ab\\]{0,2}"[ ]?:[ ]?(-?[0-9.eE+]{1,4}|"([a-zé]|\\[nu"x0]){0,4}"|\[([0-9],?){0,2}\]|\{"c":[0-9]?\}|true|nul?l)[ ]?,?){0,3}\}[ x]?"#
        ) {
            use serde_json::value::RawValue;
            let fast = found(&line);
            let list = format!("[{line}]");
            let slow = serde_json::from_str::<Vec<&RawValue>>(&list);
            if let Some(fast) = fast {
                prop_assert!(slow.is_ok(), "{line}");
                // Duplicate keys aside, which a map cannot show.
                let map: in_order::Members = serde_json::from_str(&line).unwrap();
                let texts: Vec<(String, String)> = fast
                    .iter()
                    .map(|m| (line[m.key.clone()].to_owned(), line[m.value.clone()].to_owned()))
                    .collect();
                prop_assert_eq!(texts, map.0);
            } else if slow.is_ok() && !line.contains('\\') {
                prop_assert!(!line.trim().starts_with('{') , "given up: {line}");
            }
        }
    }

    /// The members of an object as `serde_json` hands them over, duplicates included.
    mod in_order {
        use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
        use serde_json::value::RawValue;

        pub struct Members(pub Vec<(String, String)>);

        impl<'de> Deserialize<'de> for Members {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct All;
                impl<'de> Visitor<'de> for All {
                    type Value = Members;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut all = Vec::new();
                        while let Some((key, raw)) = map.next_entry::<String, &'de RawValue>()? {
                            all.push((key, raw.get().to_owned()));
                        }
                        Ok(Members(all))
                    }
                }
                deserializer.deserialize_map(All)
            }
        }
    }
}
