//! Character classes as Python 3.11 (Unicode 14.0) and Data-Juicer 1.6.1 define them.
//!
//! Rust's own `char` methods follow other rules (`is_alphanumeric` takes combining marks, `trim`
//! lacks U+001C–U+001F) and newer tables, so each answer comes from [`super::tables`].

use std::sync::LazyLock;

use super::tables;

/// The flags of every character, in blocks of 256 of which equal ones are stored once: one
/// lookup answers all classes.
static FLAGS: LazyLock<Flags> = LazyLock::new(Flags::build);

const ALPHA: u8 = 1;
const NUMERIC: u8 = 2;
const SPACE: u8 = 4;
const LINE_BREAK: u8 = 8;
const SPECIAL: u8 = 16;
const CASED: u8 = 32;
const CASE_IGNORABLE: u8 = 64;
const LOWER: u8 = 128;

const BLOCK: usize = 256;

struct Flags {
    block_of: Vec<u8>,
    blocks: Vec<[u8; BLOCK]>,
}

impl Flags {
    fn build() -> Self {
        let mut flat = vec![0_u8; 0x11_0000];
        let mut mark = |ranges: &[(u32, u32)], flag: u8| {
            for &(first, last) in ranges {
                for slot in flat
                    .get_mut(first as usize..=last as usize)
                    .unwrap_or_default()
                {
                    *slot |= flag;
                }
            }
        };
        mark(tables::ALPHA, ALPHA);
        mark(tables::NUMERIC, NUMERIC);
        mark(tables::SPACE, SPACE);
        mark(tables::LINE_BREAK, LINE_BREAK);
        mark(tables::SPECIAL, SPECIAL);
        mark(tables::CASED, CASED);
        mark(tables::CASE_IGNORABLE, CASE_IGNORABLE);
        for &(first, last, _, _) in tables::LOWER {
            mark(&[(first, last)], LOWER);
        }
        // U+0130 alone has a lower case of two characters; the table cannot hold it.
        mark(&[(0x130, 0x130)], LOWER);
        let mut seen: hashbrown::HashMap<[u8; BLOCK], u8> = hashbrown::HashMap::new();
        let mut blocks = Vec::new();
        let block_of = flat
            .as_chunks::<BLOCK>()
            .0
            .iter()
            .map(|block| {
                *seen.entry(*block).or_insert_with(|| {
                    blocks.push(*block);
                    // There are far fewer distinct blocks than 256; a test counts them.
                    u8::try_from(blocks.len() - 1).unwrap_or(0)
                })
            })
            .collect();
        Self { block_of, blocks }
    }

    fn of(&self, c: char) -> u8 {
        let code = c as usize;
        let block = self.block_of.get(code / BLOCK).copied().unwrap_or(0);
        self.blocks
            .get(usize::from(block))
            .map_or(0, |block| block[code % BLOCK])
    }

    fn has(&self, c: char, flags: u8) -> bool {
        self.of(c) & flags != 0
    }
}

/// `str.isalnum` of one character: a letter, or anything with a numeric value (`²`, `½`, `Ⅷ`).
#[must_use]
pub fn is_alnum(c: char) -> bool {
    FLAGS.has(c, ALPHA | NUMERIC)
}

/// `str.isalpha` of one character.
#[must_use]
pub fn is_alpha(c: char) -> bool {
    FLAGS.has(c, ALPHA)
}

/// `str.isspace` of one character; U+001C–U+001F count, U+200B and U+FEFF do not.
#[must_use]
pub fn is_space(c: char) -> bool {
    FLAGS.has(c, SPACE)
}

/// Whether `str.splitlines` breaks at the character.
#[must_use]
pub fn is_line_break(c: char) -> bool {
    FLAGS.has(c, LINE_BREAK)
}

/// Whether Data-Juicer's `SPECIAL_CHARACTERS` has the character: ASCII punctuation, digits and
/// white space, emoji, and a list of symbols with a few letters among them (`ø`, `π`, `一`).
#[must_use]
pub fn is_special(c: char) -> bool {
    FLAGS.has(c, SPECIAL)
}

/// Whether `str.lower` changes the character.
pub(super) fn has_lower(c: char) -> bool {
    FLAGS.has(c, LOWER)
}

/// Cased but not case-ignorable.
pub(super) fn is_cased(c: char) -> bool {
    FLAGS.has(c, CASED)
}

/// Looked through when a capital sigma asks for its neighbours.
pub(super) fn is_case_ignorable(c: char) -> bool {
    FLAGS.has(c, CASE_IGNORABLE)
}

/// [`is_special`] of an ASCII byte, in a form that compiles to vector compares.
#[must_use]
pub const fn is_special_ascii(b: u8) -> bool {
    matches!(b, 9..=13 | 32..=64 | 91..=96 | 123..=126)
}

/// How many characters [`is_alnum`] holds for.
#[must_use]
pub fn alnum_count(text: &str) -> usize {
    count(text, |b| b.is_ascii_alphanumeric(), ALPHA | NUMERIC)
}

/// How many characters [`is_alpha`] holds for.
#[must_use]
pub fn alpha_count(text: &str) -> usize {
    count(text, |b| b.is_ascii_alphabetic(), ALPHA)
}

/// How many characters [`is_special`] holds for. Emoji of several code points count by those of
/// their code points that are special alone.
#[must_use]
pub fn special_count(text: &str) -> usize {
    count(text, is_special_ascii, SPECIAL)
}

fn count(text: &str, ascii: impl Fn(u8) -> bool, flags: u8) -> usize {
    if text.is_ascii() {
        return count_bytes(text.as_bytes(), ascii);
    }
    count_chars(text, flags)
}

/// The plain version of the class counts; [`count_bytes`] is tested against it.
fn count_chars(text: &str, flags: u8) -> usize {
    let table = &*FLAGS;
    text.chars().filter(|&c| table.has(c, flags)).count()
}

/// Counts bytes that pass. Pieces of 255 let the compiler keep its counters in bytes, many at a
/// time.
fn count_bytes(bytes: &[u8], passes: impl Fn(u8) -> bool) -> usize {
    bytes
        .chunks(255)
        .map(|piece| usize::from(piece.iter().fold(0_u8, |n, &b| n + u8::from(passes(b)))))
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_character_has_the_flags_of_the_tables() {
        let within = |ranges: &[(u32, u32)], c: char| {
            ranges
                .iter()
                .any(|&(first, last)| (first..=last).contains(&u32::from(c)))
        };
        for c in (0..0x3_0000).filter_map(char::from_u32) {
            assert_eq!(is_alpha(c), within(tables::ALPHA, c), "{c:?}");
            assert_eq!(is_space(c), within(tables::SPACE, c), "{c:?}");
            assert_eq!(is_special(c), within(tables::SPECIAL, c), "{c:?}");
        }
        assert!(FLAGS.blocks.len() < 256);
        let alnum = (0..0x11_0000)
            .filter_map(char::from_u32)
            .filter(|&c| is_alnum(c));
        assert_eq!(alnum.count(), 133_547);
    }

    #[test]
    fn python_and_rust_disagree_where_we_follow_python() {
        assert!(is_space('\u{1c}') && !is_space('\u{200b}') && !is_space('\u{180e}'));
        assert!(is_alnum('²') && is_alnum('Ⅷ') && !is_alnum('\u{93f}'));
        assert!(is_special('ø') && is_special('一') && !is_special('\u{7f}'));
        assert!(is_line_break('\u{2028}') && is_line_break('\u{1e}') && !is_line_break('\u{1f}'));
    }

    proptest! {
        #[test]
        fn ascii_counts_equal_the_plain_ones(text in "[\\x00-\\x7f]{0,600}") {
            prop_assert_eq!(alnum_count(&text), count_chars(&text, ALPHA | NUMERIC));
            prop_assert_eq!(alpha_count(&text), count_chars(&text, ALPHA));
            prop_assert_eq!(special_count(&text), count_chars(&text, SPECIAL));
        }
    }
}
