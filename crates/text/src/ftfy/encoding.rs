//! Mojibake undone: the text is encoded as the code page it was wrongly read as, and the bytes are
//! read as the UTF-8 they were.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::badness::{CONTINUATION, CONTINUATION_STRICT, LEAD_2, LEAD_3, LEAD_4, is_bad, roles};
use super::tables;

/// What a byte that was lost to U+FFFD is encoded as.
const LOST: u8 = 0x1a;

/// A single-byte code page: ASCII below, `high` above.
struct CodePage {
    /// Characters of the upper half with their bytes, in order of characters.
    encode: Vec<(char, u8)>,
    /// Windows code pages with their gaps filled: U+FFFD stands for a lost byte.
    sloppy: bool,
    /// `MacRoman`, where a dash before a space would pass for a sequence with a lost no-break space.
    restores_spaces: bool,
}

impl CodePage {
    fn new(high: &[u16], sloppy: bool, restores_spaces: bool) -> Self {
        let mut encode: Vec<(char, u8)> = (0x80..=0xff_u8)
            .zip(high)
            .filter_map(|(byte, &code)| Some((char::from_u32(code.into())?, byte)))
            .collect();
        encode.sort_unstable();
        Self {
            encode,
            sloppy,
            restores_spaces,
        }
    }

    fn byte(&self, c: char) -> Option<u8> {
        match c {
            '\u{1a}' => (!self.sloppy).then_some(LOST),
            '\u{fffd}' => self.sloppy.then_some(LOST),
            _ if c.is_ascii() => u8::try_from(c).ok(),
            _ => {
                let at = self.encode.binary_search_by_key(&c, |pair| pair.0).ok()?;
                self.encode.get(at).map(|pair| pair.1)
            }
        }
    }

    fn encode(&self, text: &str) -> Option<Vec<u8>> {
        text.chars().map(|c| self.byte(c)).collect()
    }
}

/// The code pages that text is tried to have been read as, likeliest first.
static CODE_PAGES: LazyLock<[CodePage; 10]> = LazyLock::new(|| {
    let latin_1: Vec<u16> = (0x80..=0xff).collect();
    [
        CodePage::new(&latin_1, false, true),
        CodePage::new(&tables::WINDOWS_1252, true, true),
        CodePage::new(&tables::WINDOWS_1251, true, true),
        CodePage::new(&tables::WINDOWS_1250, true, true),
        CodePage::new(&tables::WINDOWS_1253, true, true),
        CodePage::new(&tables::WINDOWS_1254, true, true),
        CodePage::new(&tables::WINDOWS_1257, true, true),
        CodePage::new(&tables::ISO_8859_2, false, true),
        CodePage::new(&tables::MACROMAN, false, false),
        CodePage::new(&tables::CP437, false, true),
    ]
});

/// Windows-1252 for one C1 control; its gaps stay what they are.
pub(super) fn c1_as_windows_1252(c: char) -> char {
    u32::from(c)
        .checked_sub(0x80)
        .and_then(|at| tables::WINDOWS_1252.get(usize::try_from(at).ok()?))
        .and_then(|&code| char::from_u32(code.into()))
        .unwrap_or(c)
}

/// Undoes mojibake for as long as the text looks like it.
pub(super) fn fix_encoding(text: &str) -> Cow<'_, str> {
    let Some(mut fixed) = fix_once(text).filter(|fixed| fixed != text) else {
        return Cow::Borrowed(text);
    };
    while let Some(next) = fix_once(&fixed).filter(|next| *next != fixed) {
        fixed = next;
    }
    Cow::Owned(fixed)
}

fn fix_once(text: &str) -> Option<String> {
    if !is_bad(text) {
        return None;
    }
    for page in &*CODE_PAGES {
        if let Some(bytes) = page.encode(text)
            && let Some(decoded) = decode(bytes, page)
        {
            return Some(decoded);
        }
    }
    if let Some(fixed) = decode_embedded(text).filter(|fixed| fixed != text) {
        return Some(fixed);
    }
    if let Some(fixed) = latin_1_as_windows_1252(text).filter(|fixed| fixed != text) {
        return Some(fixed);
    }
    Some(text.chars().map(fix_c1).collect())
}

fn fix_c1(c: char) -> char {
    if matches!(c, '\u{80}'..='\u{9f}') {
        c1_as_windows_1252(c)
    } else {
        c
    }
}

/// The text with its C1 controls as Windows-1252 has them, if all of it is Latin-1 and none of them
/// is a gap there.
fn latin_1_as_windows_1252(text: &str) -> Option<String> {
    text.chars()
        .map(|c| match c {
            '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}' | '\u{100}'.. => None,
            _ => Some(fix_c1(c)),
        })
        .collect()
}

/// Reads bytes as UTF-8, after some that were lost have been put back.
fn decode(mut bytes: Vec<u8>, page: &CodePage) -> Option<String> {
    static WITHOUT_A0: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?-u)[\xc2\xc3\xc5\xce\xd0\xd9]\x20",
            r"|[\xe2\xe3]\x20[\x80-\x84\x86-\x9f\xa1-\xbf]",
            r"|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf]\x20",
            r"|\xf0\x20[\x80-\xbf][\x80-\xbf]",
            r"|\xf0[\x80-\xbf]\x20[\x80-\xbf]",
            r"|\xf0[\x80-\xbf][\x80-\xbf]\x20",
        ))
        .ok()
    });
    static WITH_LOSSES: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?-u)[\xc2-\xdf]\x1a",
            r"|[\xc2\xc3]\?",
            r"|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]",
            r"|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]",
            r"|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]",
            r"|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]",
            r"|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]",
            r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]",
            r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]",
            r"|\x1a",
        ))
        .ok()
    });
    if page.restores_spaces
        && let Some(pattern) = &*WITHOUT_A0
        && pattern.is_match(&bytes)
    {
        bytes = restore_a_grave(&bytes);
        bytes = pattern
            .replace_all(&bytes, |found: &regex::bytes::Captures| {
                let found = found
                    .get(0)
                    .map(|found| found.as_bytes())
                    .unwrap_or_default();
                found
                    .iter()
                    .map(|&b| if b == b' ' { 0xa0 } else { b })
                    .collect::<Vec<u8>>()
            })
            .into_owned();
    }
    if page.sloppy
        && let Some(pattern) = &*WITH_LOSSES
    {
        bytes = pattern
            .replace_all(&bytes, "\u{fffd}".as_bytes())
            .into_owned();
    }
    if bytes.contains(&0xed) || bytes.contains(&0xc0) {
        decode_utf8_variants(&bytes)
    } else {
        String::from_utf8(bytes).ok()
    }
}

/// C3 before a space is "à" that lost its second byte *and* ends a word, so the space stays too;
/// not where a Portuguese word such as "àquela" goes on after it.
fn restore_a_grave(bytes: &[u8]) -> Vec<u8> {
    const GOES_ON: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut out = Vec::with_capacity(bytes.len() + 8);
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        out.push(first);
        rest = after;
        if first == 0xc3
            && let Some(next) = after.strip_prefix(b" ")
            && !GOES_ON.iter().any(|word| next.starts_with(word))
        {
            out.extend_from_slice(b"\xa0 ");
            rest = next;
        }
    }
    out
}

/// UTF-8 that may hold surrogates in pairs (CESU-8) and NUL as C0 80 (Java).
fn decode_utf8_variants(bytes: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(bytes.len());
    let mut plain = 0;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        // The patterns of the original end in `$`, which Python also lets match before a final
        // line feed; that is why C0 0A and a pair cut short by 0A decode at the very end.
        let special = match *rest {
            [0xc0, 0x80, ..] | [0xc0, b'\n'] => Some(('\0', 2)),
            [
                0xed,
                a @ 0xa0..=0xaf,
                b @ 0x80..=0xbf,
                0xed,
                c @ 0xb0..=0xbf,
                d @ 0x80..=0xbf,
                ..,
            ]
            | [
                0xed,
                a @ 0xa0..=0xaf,
                b @ 0x80..=0xbf,
                0xed,
                c @ 0xb0..=0xbf,
                d @ b'\n',
            ] => {
                let bits = |byte: u8, mask: u8, shift: u32| u32::from(byte & mask) << shift;
                let code =
                    bits(a, 0x0f, 16) + bits(b, 0x3f, 10) + bits(c, 0x0f, 6) + bits(d, 0x3f, 0);
                Some((char::from_u32(code + 0x10000)?, 6))
            }
            _ => None,
        };
        let Some((c, length)) = special else {
            at += 1;
            continue;
        };
        out.push_str(std::str::from_utf8(bytes.get(plain..at)?).ok()?);
        out.push(c);
        at += length;
        plain = at;
    }
    out.push_str(std::str::from_utf8(bytes.get(plain..)?).ok()?);
    Some(out)
}

/// Repairs, one by one, the stretches that look like UTF-8 read as a single-byte code page, within
/// a text that as a whole is not. `None` if there is no such stretch.
fn decode_embedded(text: &str) -> Option<String> {
    let mut out: Option<String> = None;
    let mut done = 0;
    let mut at = 0;
    let mut after_continuation = false;
    while let Some(rest) = text.get(at..) {
        let Some(c) = rest.chars().next() else {
            break;
        };
        let length = if after_continuation {
            0
        } else {
            garbled_prefix(rest)
        };
        let Some(found) = rest.get(..length).filter(|found| !found.is_empty()) else {
            after_continuation = roles(c) & CONTINUATION_STRICT != 0;
            at += c.len_utf8();
            continue;
        };
        after_continuation = found
            .chars()
            .next_back()
            .is_some_and(|last| roles(last) & CONTINUATION_STRICT != 0);
        let out = out.get_or_insert_default();
        out.push_str(text.get(done..at).unwrap_or_default());
        // Only a stretch shorter than the text is repaired on its own: this ends the recursion.
        if length < text.len() {
            out.push_str(&fix_encoding(found));
        } else {
            out.push_str(found);
        }
        at += length;
        done = at;
    }
    let mut out = out?;
    out.push_str(text.get(done..).unwrap_or_default());
    Some(out)
}

/// How many bytes at the start of `text` look like UTF-8 sequences read as a code page.
fn garbled_prefix(text: &str) -> usize {
    let mut length = 0;
    loop {
        let mut chars = text.get(length..).unwrap_or_default().chars();
        let Some(lead) = chars.next() else {
            return length;
        };
        let lead_roles = roles(lead);
        if lead_roles & (LEAD_2 | LEAD_3 | LEAD_4) == 0 {
            return length;
        }
        let continuations: Vec<usize> = chars
            .take(3)
            .take_while(|&c| roles(c) & CONTINUATION != 0)
            .map(char::len_utf8)
            .collect();
        let wanted = [(LEAD_2, 1), (LEAD_3, 2), (LEAD_4, 3)]
            .into_iter()
            .find(|&(role, count)| lead_roles & role != 0 && continuations.len() >= count);
        let Some((_, count)) = wanted else {
            return length;
        };
        length += lead.len_utf8() + continuations.iter().take(count).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogate_pairs_and_java_nul_are_read() {
        assert_eq!(
            decode_utf8_variants(b"a\xc0\x80b\xed\xa0\xbd\xed\xb8\x80").as_deref(),
            Some("a\0b😀")
        );
        assert_eq!(decode_utf8_variants(b"\xed\xa0\xbd"), None);
        assert_eq!(decode_utf8_variants(b"x\xc0\n").as_deref(), Some("x\0"));
    }

    #[test]
    fn stretches_are_repaired_within_sound_text() {
        assert_eq!(fix_encoding("中 â€œhi â€¦ 中"), "中 “hi … 中");
    }
}
