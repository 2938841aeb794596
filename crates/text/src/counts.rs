//! What several operators ask of a text, counted in one pass over it.
//!
//! [`TextCounts::plain`] is the specification; ASCII texts are counted 64 bytes at a time where the
//! processor has AVX2.

#![expect(
    unsafe_code,
    reason = "a function compiled for more than the baseline may be called only after a check"
)]

use djr_python::{is_alnum, is_special};

use crate::words::is_separator;

/// Characters of a text by class, and its words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextCounts {
    /// Code points.
    pub chars: usize,
    /// Those that [`is_alnum`] holds for.
    pub alnum: usize,
    /// Those that [`is_special`] holds for.
    pub special: usize,
    /// Words that are not made of special characters alone ([`crate::word_count`]).
    pub words: usize,
}

impl TextCounts {
    /// Counts `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                // SAFETY: the processor has just been found to have both features.
                if let Some(counts) = unsafe { wide::ascii(text.as_bytes()) } {
                    return counts;
                }
            }
        }
        Self::plain(text)
    }

    /// The same, one character at a time.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        let mut counts = Self::default();
        let mut in_word = false;
        for c in text.chars() {
            let special = is_special(c);
            counts.chars += 1;
            counts.alnum += usize::from(is_alnum(c));
            counts.special += usize::from(special);
            if is_separator(c) {
                counts.words += usize::from(in_word);
                in_word = false;
            } else {
                in_word |= !special;
            }
        }
        counts.words += usize::from(in_word);
        counts
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_cmpgt_epi8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8,
    };

    use super::TextCounts;

    /// Which of 64 bytes are what, a bit each.
    struct Masks {
        high: u64,
        special: u64,
        alnum: u64,
        separator: u64,
    }

    /// Counts a text of ASCII; `None` if it is another.
    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn ascii(text: &[u8]) -> Option<TextCounts> {
        let mut counts = TextCounts {
            chars: text.len(),
            ..TextCounts::default()
        };
        // Whether a word that is not only special goes on from the block before.
        let mut in_word = false;
        let (blocks, rest) = text.as_chunks::<64>();
        for block in blocks {
            counts.add(&masks(block), u64::MAX, &mut in_word)?;
        }
        if !rest.is_empty() {
            let mut block = [b' '; 64];
            for (to, from) in block.iter_mut().zip(rest) {
                *to = *from;
            }
            let valid = u64::MAX >> (64 - rest.len());
            counts.add(&masks(&block), valid, &mut in_word)?;
        }
        counts.words += usize::from(in_word);
        Some(counts)
    }

    impl TextCounts {
        #[inline]
        #[target_feature(enable = "popcnt")]
        fn add(&mut self, masks: &Masks, valid: u64, in_word: &mut bool) -> Option<()> {
            if masks.high != 0 {
                return None;
            }
            self.alnum += masks.alnum.count_ones() as usize;
            self.special += (masks.special & valid).count_ones() as usize;
            // A run of ones is a word. Adding those of its bits that are not special carries a one
            // out of the run, to the separator behind it, exactly if there are any.
            let word = !masks.separator;
            let mut telling = word & !masks.special;
            let goes_on = *in_word && word & 1 == 1;
            self.words += usize::from(*in_word && !goes_on);
            telling |= u64::from(goes_on);
            let (sum, carried) = word.overflowing_add(telling);
            self.words += (sum & masks.separator).count_ones() as usize;
            *in_word = carried;
            Some(())
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn masks(block: &[u8; 64]) -> Masks {
        // SAFETY: both are 64 bytes without padding, and every pattern of bits is a vector.
        let halves: [__m256i; 2] = unsafe { std::mem::transmute(*block) };
        let [low, high] = halves;
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let [low_bytes, low_special, low_alnum, low_separator] = classes(low);
        let [bytes, special, alnum, separator] = classes(high);
        Masks {
            high: join(low_bytes, bytes),
            special: join(low_special, special),
            alnum: join(low_alnum, alnum),
            separator: join(low_separator, separator),
        }
    }

    /// Which of 32 bytes are no ASCII, special, alphanumeric, and separators.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn classes(bytes: __m256i) -> [u32; 4] {
        let special = any([
            within(bytes, 9, 13),
            within(bytes, 32, 64),
            within(bytes, 91, 96),
            within(bytes, 123, 126),
        ]);
        let small = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
        let alnum = _mm256_or_si256(within(bytes, 48, 57), within(small, 97, 122));
        let separator = _mm256_or_si256(within(bytes, 32, 32), within(bytes, 9, 10));
        [bits(bytes), bits(special), bits(alnum), bits(separator)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bits(mask: __m256i) -> u32 {
        _mm256_movemask_epi8(mask).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn any([a, b, c, d]: [__m256i; 4]) -> __m256i {
        _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d))
    }

    /// Which bytes lie between two ASCII bytes, both included.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn within(bytes: __m256i, first: i8, last: i8) -> __m256i {
        _mm256_and_si256(
            _mm256_cmpgt_epi8(bytes, _mm256_set1_epi8(first - 1)),
            _mm256_cmpgt_epi8(_mm256_set1_epi8(last + 1), bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{alnum_count, char_count, special_count, word_count};

    fn check(text: &str) {
        let counts = TextCounts::of(text);
        assert_eq!(counts, TextCounts::plain(text), "{text:?}");
        let each = TextCounts {
            chars: usize::try_from(char_count(text)).unwrap(),
            alnum: alnum_count(text),
            special: special_count(text),
            words: word_count(text),
        };
        assert_eq!(counts, each, "{text:?}");
    }

    #[test]
    fn every_ascii_byte_is_of_its_classes() {
        for byte in 0..128_u8 {
            check(&char::from(byte).to_string());
            check(&format!("a{}b", char::from(byte)));
        }
    }

    #[test]
    fn words_go_on_from_block_to_block() {
        for before in 50..80 {
            for word in ["a", "--", "-a-", "-", "----------a"] {
                check(&format!("{}{word} {word}", " ".repeat(before)));
                check(&format!("{} {word}", "b".repeat(before)));
                check(&format!("{}{word}{}", "-".repeat(before), "-".repeat(70)));
            }
        }
    }

    proptest! {
        #[test]
        fn all_texts_are_counted_as_the_plain_version_counts(
            text in "([a-c.,! \n\t0-9A\\x00-\\x7f]{0,200})|([ a-c.éΣ一❤ø\n]{0,90})",
        ) {
            check(&text);
        }
    }
}
