//! Whether a text looks like mojibake: neighbours that hardly ever meet on purpose.
//!
//! Every character gets a set of roles; the rules are about pairs of roles, and a few about
//! certain characters. Which rules there are is a fact about ftfy 6.3.1 (Apache-2.0).

use std::sync::LazyLock;

use crate::{is_alnum, is_space};

use super::tables::{self, Span};

/// A set of roles of a character, one bit each.
type Roles = u32;

const COMMON: Roles = 1;
const C1: Roles = 1 << 1;
const BAD: Roles = 1 << 2;
const LAW: Roles = 1 << 3;
const CURRENCY: Roles = 1 << 4;
const OPEN: Roles = 1 << 5;
const CLOSE: Roles = 1 << 6;
const NUMERIC: Roles = 1 << 7;
const FACE: Roles = 1 << 8;
const UPPER: Roles = 1 << 9;
const LOWER: Roles = 1 << 10;
const UPPER_COMMON: Roles = 1 << 11;
const LOWER_COMMON: Roles = 1 << 12;
const BOX: Roles = 1 << 13;

/// May start a UTF-8 sequence of two that was read as a single-byte code page.
pub(super) const LEAD_2: Roles = 1 << 14;
/// The same for sequences of three.
pub(super) const LEAD_3: Roles = 1 << 15;
/// The same for sequences of four.
pub(super) const LEAD_4: Roles = 1 << 16;
/// May continue such a sequence.
pub(super) const CONTINUATION: Roles = 1 << 17;
/// Does nothing but continue such a sequence.
pub(super) const CONTINUATION_STRICT: Roles = 1 << 18;

const ROLES: [(Roles, &[Span]); 19] = [
    (COMMON, tables::COMMON),
    (C1, tables::C1),
    (BAD, tables::BAD),
    (LAW, tables::LAW),
    (CURRENCY, tables::CURRENCY),
    (OPEN, tables::START_PUNCTUATION),
    (CLOSE, tables::END_PUNCTUATION),
    (NUMERIC, tables::NUMERIC),
    (FACE, tables::KAOMOJI),
    (UPPER, tables::UPPER_ACCENTED),
    (LOWER, tables::LOWER_ACCENTED),
    (UPPER_COMMON, tables::UPPER_COMMON),
    (LOWER_COMMON, tables::LOWER_COMMON),
    (BOX, tables::BOX),
    (LEAD_2, tables::UTF8_FIRST_OF_2),
    (LEAD_3, tables::UTF8_FIRST_OF_3),
    (LEAD_4, tables::UTF8_FIRST_OF_4),
    (CONTINUATION, tables::UTF8_CONTINUATION),
    (CONTINUATION_STRICT, tables::UTF8_CONTINUATION_STRICT),
];

/// Characters with roles lie in two blocks, but for four.
const LOW_END: u32 = 0x600;
const HIGH_START: u32 = 0x2000;
const HIGH_END: u32 = 0x2600;
const STRAYS: [u32; 4] = [0xf8ff, 0xfb01, 0xfb02, 0xfffd];

static TABLE: LazyLock<Vec<Roles>> = LazyLock::new(|| {
    let mut table = vec![0; slot(STRAYS[3]).unwrap_or_default() + 1];
    for (role, spans) in ROLES {
        for code in spans.iter().flat_map(|&(first, last)| first..=last) {
            if let Some(roles) = slot(code.into()).and_then(|slot| table.get_mut(slot)) {
                *roles |= role;
            }
        }
    }
    table
});

fn slot(code: u32) -> Option<usize> {
    let slot = match code {
        _ if code < LOW_END => code,
        HIGH_START..HIGH_END => code - HIGH_START + LOW_END,
        _ => {
            let stray = STRAYS.iter().position(|&stray| stray == code)?;
            LOW_END + HIGH_END - HIGH_START + u32::try_from(stray).ok()?
        }
    };
    usize::try_from(slot).ok()
}

/// The roles of `c`.
pub(super) fn roles(c: char) -> Roles {
    slot(c.into())
        .and_then(|slot| TABLE.get(slot).copied())
        .unwrap_or(0)
}

/// A character with its roles.
#[derive(Clone, Copy)]
struct Seen {
    c: char,
    roles: Roles,
}

impl Seen {
    fn is(self, roles: Roles) -> bool {
        self.roles & roles != 0
    }

    fn any(self, chars: &str) -> bool {
        chars.contains(self.c)
    }
}

/// Whether `text` holds a sequence that points to mojibake.
pub(super) fn is_bad(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    if text.starts_with(['Ã', 'Â']) && text.chars().nth(1) == Some(' ') {
        return true;
    }
    // The last three characters and the present one; the role-less NUL stands for "none".
    let none = Seen { c: '\0', roles: 0 };
    let mut window = [none; 4];
    let mut length = 0_usize;
    for c in text.chars() {
        window = [window[1], window[2], window[3], Seen { c, roles: roles(c) }];
        length += 1;
        let [a, b, c, d] = window;
        // Every rule asks for a role in one of its last two characters.
        if (c.roles | d.roles) == 0 {
            continue;
        }
        if d.is(C1)
            || (length >= 2 && is_bad_pair(c, d))
            || (length >= 3 && is_bad_triple(b, c, d))
            || (length >= 4 && is_bad_quad(a, b, c, d))
        {
            return true;
        }
    }
    is_twice_garbled_cyrillic(text)
}

fn is_bad_pair(a: Seen, b: Seen) -> bool {
    const SIGNS: Roles = BOX | OPEN | CLOSE | CURRENCY | NUMERIC | LAW;
    const LETTERS: Roles = UPPER | LOWER;
    (a.is(BAD | LETTERS | SIGNS) && b.is(BAD))
        || (a.is(BAD) && b.is(LETTERS | SIGNS))
        || (a.is(LOWER | LOWER_COMMON | BOX | CLOSE | CURRENCY | NUMERIC) && b.is(UPPER))
        || (a.is(BOX | CLOSE | CURRENCY | NUMERIC) && b.is(LOWER))
        || (a.is(LOWER | BOX | CLOSE) && b.is(CURRENCY))
        || (a.is(UPPER | BOX) && b.is(NUMERIC | LAW))
        || (a.is(CURRENCY | NUMERIC | BOX) && b.is(OPEN))
        || (a.is(BOX) && b.is(FACE | CLOSE))
        || (a.is(LETTERS | CURRENCY | NUMERIC | OPEN | CLOSE | LAW) && b.is(BOX))
        || (a.is(UPPER) && b.c == '°')
        || is_bad_couple(a, b)
}

/// Pairs of certain characters.
fn is_bad_couple(a: Seen, b: Seen) -> bool {
    match a.c {
        'Œ' | 'œ' => !b.c.is_ascii_alphabetic(),
        'Â' | 'Ã' | 'Î' | 'Ð' => {
            b.is(OPEN | CLOSE)
                || b.any("€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»–—´")
                || (a.c == 'Ã' && b.any("\u{a0}¡"))
        }
        '×' => b.any("²³"),
        'à' => b.any("²µ¹¼½¾"),
        '√' => b.any("±∂†≠®™´≤≥¥µø"),
        '≈' => b.any("°¢"),
        'в' => b.c == 'Ђ',
        'ā' => b.c == '€',
        _ => false,
    }
}

fn is_bad_triple(a: Seen, b: Seen, c: Seen) -> bool {
    const LETTERS: Roles = UPPER | LOWER;
    let small = a.c.is_ascii_lowercase();
    (a.c.is_ascii_alphabetic() && b.is(LOWER_COMMON | UPPER_COMMON) && c.is(BAD))
        || (b.is(UPPER) && c.is(CURRENCY) && is_space(a.c))
        || (a.is(LETTERS | BOX | CURRENCY | CLOSE) && b.is(OPEN) && c.is(NUMERIC))
        || (a.is(LETTERS | CURRENCY | NUMERIC | BOX | LAW) && b.is(CLOSE) && c.is(OPEN))
        || (small && b.is(UPPER) && c.is(OPEN | CURRENCY))
        || (a.is(LETTERS) && b.is(OPEN | CLOSE) && is_word(c.c))
        || (small && b.any("ÃÂ") && c.c == ' ')
        || (b.c == 'Â'
            && (small || a.any(".,?!") || a.is(CLOSE))
            && (c.c == ' ' || c.is(OPEN | CLOSE)))
        || match a.c {
            '‚' => (b.c == 'Ä' && c.any("ìîïòôúùû†°¢π")) || (b.any("âó") && c.any("àä°ê")),
            'В' | 'Г' | 'Р' | 'С' => {
                c.any("ВГРС") && (b.is(C1 | BAD | OPEN | CLOSE | CURRENCY) || b.any("°µ"))
            }
            'Β' | 'Γ' | 'Ξ' | 'Ο' => {
                c.any("ΒΓΞΟ") && (b.is(C1 | BAD | OPEN | CLOSE | CURRENCY) || b.c == '°')
            }
            'β' => b.c == '€' && c.any("™\u{a0}\u{386}\u{ad}®°"),
            _ => false,
        }
}

fn is_bad_quad(a: Seen, b: Seen, c: Seen, d: Seen) -> bool {
    let in_arabic = |s: Seen| s.is(COMMON | CURRENCY | BAD | NUMERIC | OPEN) || s.any("ŸŠ®°µ»");
    (d.c == ' ' && c.any("ÃÂ") && is_space(b.c) && a.c.is_ascii_lowercase())
        || (a.any("ØÙ") && c.any("ØÙ") && in_arabic(b) && in_arabic(d))
}

/// Five Cyrillic letters that two wrong decodings leave, one more character, and Latin or a space.
fn is_twice_garbled_cyrillic(text: &str) -> bool {
    const SIGN: &str = "ГўВЂВ";
    text.match_indices(SIGN).any(|(at, _)| {
        let mut after = text.get(at + SIGN.len()..).unwrap_or_default().chars();
        after.next().is_some_and(|c| c != '\n')
            && after
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == ' ')
    })
}

/// `\w` of Python's `re`: letters, numbers and the underscore, but no marks.
fn is_word(c: char) -> bool {
    c == '_' || is_alnum(c)
}
