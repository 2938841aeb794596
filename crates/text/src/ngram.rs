//! How much of a text is repeated, by n-grams.

use super::Words;

/// The repetition of character n-grams (`n` code points): with `u` distinct n-grams of which `s`
/// occur once, the share of all n-grams that belong to the min(⌊√u⌋, u − s) most frequent ones;
/// 0 if the text has no n-gram.
#[must_use]
pub fn char_repetition(text: &str, n: usize) -> f64 {
    if text.is_ascii() && distinct_ascii(text.as_bytes(), n) {
        return 0.0;
    }
    let windows = Windows::new(text, n);
    let total = windows.len();
    if surely_distinct(windows) {
        return 0.0;
    }
    let counts = tally(Windows::new(text, n));
    let mut repeated: Vec<u32> = counts.iter().copied().filter(|&count| count > 1).collect();
    let most = counts.len().isqrt().min(repeated.len());
    repeated.sort_unstable_by(|a, b| b.cmp(a));
    ratio(sum(repeated.into_iter().take(most)), total)
}

/// The share of runs of `n` refined words that occur more than once; 0 if there is no run.
#[must_use]
pub fn word_repetition(words: &Words, n: usize) -> f64 {
    let runs = words.runs(n);
    let total = runs.len();
    if surely_distinct(words.runs(n).map(str::as_bytes)) {
        return 0.0;
    }
    let counts = tally(runs.map(str::as_bytes));
    ratio(sum(counts.into_iter().filter(|&count| count > 1)), total)
}

/// `part / whole`, or 0 if `whole` is 0.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one text stay far below 2^53"
)]
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

fn sum(counts: impl Iterator<Item = u32>) -> usize {
    counts.map(|count| count as usize).sum()
}

/// Whether no two windows of `n` characters surely begin with the same eight, if they are few: then
/// they are distinct themselves.
fn distinct_ascii(text: &[u8], n: usize) -> bool {
    let count = (text.len() + 1).saturating_sub(n);
    let starts = text.windows(8).take(count);
    match count {
        _ if n < 8 => false,
        0..=80 => distinct_words::<256>(starts),
        81..=320 => distinct_words::<1024>(starts),
        _ => false,
    }
}

/// Whether no two pieces of eight bytes have the same hash; at most a third of the slots is taken.
fn distinct_words<'t, const SLOTS: usize>(pieces: impl Iterator<Item = &'t [u8]>) -> bool {
    // Other parts of the hashes, 0 where a slot is free.
    let mut seen = [0_u16; SLOTS];
    for piece in pieces {
        let Some(word) = piece.first_chunk() else {
            return false;
        };
        // The golden ratio: any odd constant without a pattern will do.
        let hash = u64::from_le_bytes(*word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // A tag of 0 could not be told from a free slot.
        let tag = (hash >> 48) as u16 | 1;
        let mut at = (hash >> 32) as usize;
        while let Some(slot) = seen.get_mut(at % SLOTS) {
            if *slot == 0 {
                *slot = tag;
                break;
            }
            if *slot == tag {
                return false;
            }
            at += 1;
        }
    }
    true
}

/// Whether no two items have the same hash, if they are few: then none occurs twice, which is so
/// for most captions, and nothing needs to be counted.
fn surely_distinct<'t>(items: impl ExactSizeIterator<Item = &'t [u8]>) -> bool {
    /// At most a third of them is taken.
    const SLOTS: usize = 256;
    if items.len() > SLOTS / 3 {
        return false;
    }
    // Other halves of the hashes, 0 where a slot is free.
    let mut seen = [0_u32; SLOTS];
    for item in items {
        let (tag, start) = hash(item);
        let mut at = start as usize;
        loop {
            let Some(slot) = seen.get_mut(at % SLOTS) else {
                return false;
            };
            match *slot {
                0 => {
                    // A tag of 0 could not be told from a free slot.
                    *slot = tag | 1;
                    break;
                }
                other if other == tag | 1 => return false,
                _ => at += 1,
            }
        }
    }
    true
}

/// How often each distinct item occurs, in order of first occurrence.
///
/// A table made for this: as large as it can ever need to be, so that it never grows, and with
/// small slots, since almost every n-gram of a text is new. Items are compared whole; their hash
/// only says where to look.
fn tally<'t>(items: impl ExactSizeIterator<Item = &'t [u8]>) -> Vec<u32> {
    let slots = (items.len() * 2).next_power_of_two();
    // The upper half of the hash and the number of the item from 1; 0 marks an empty slot.
    let mut table: Vec<(u32, u32)> = vec![(0, 0); slots];
    let mut distinct: Vec<(&[u8], u32)> = Vec::with_capacity(items.len());
    for item in items {
        let (tag, start) = hash(item);
        let mut at = start as usize & (slots - 1);
        while let Some(slot) = table.get_mut(at) {
            if slot.1 == 0 {
                distinct.push((item, 1));
                *slot = (tag, u32::try_from(distinct.len()).unwrap_or(u32::MAX));
                break;
            }
            if slot.0 == tag {
                let seen = distinct.get_mut(slot.1 as usize - 1);
                if let Some(seen) = seen.filter(|seen| seen.0 == item) {
                    seen.1 += 1;
                    break;
                }
            }
            at = (at + 1) & (slots - 1);
        }
    }
    distinct.into_iter().map(|(_, count)| count).collect()
}

/// The halves of a 64-bit hash; most n-grams take one multiplication.
#[expect(
    clippy::cast_possible_truncation,
    reason = "halves of wider words are what is wanted"
)]
fn hash(item: &[u8]) -> (u32, u32) {
    // Digits of pi: any odd constants without a pattern will do.
    const A: u64 = 0x243f_6a88_85a3_08d3;
    const B: u64 = 0x1319_8a2e_0370_7345;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let whole = match (item.first_chunk(), item.last_chunk()) {
        // The two overlap or touch: they are all of it.
        (Some(first), Some(last)) if item.len() <= 16 => fold(
            u64::from_le_bytes(*first) ^ A,
            u64::from_le_bytes(*last) ^ B,
        ),
        (Some(first), Some(last)) => {
            let mut state = u64::from_le_bytes(*first) ^ A;
            // What is left after whole chunks lies in the last eight bytes.
            for middle in item.get(8..).unwrap_or_default().as_chunks().0 {
                state = fold(state, u64::from_le_bytes(*middle) ^ A);
            }
            fold(state, u64::from_le_bytes(*last) ^ B)
        }
        _ => fold(item.iter().fold(A, |all, &b| all << 8 | u64::from(b)), B),
    };
    ((whole >> 32) as u32, whole as u32)
}

/// The windows of `n` code points of a text, as bytes.
struct Windows<'t> {
    bytes: &'t [u8],
    start: usize,
    end: usize,
    left: usize,
}

impl<'t> Windows<'t> {
    fn new(text: &'t str, n: usize) -> Self {
        let n = n.max(1);
        let end = text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
        Self {
            bytes: text.as_bytes(),
            start: 0,
            end,
            left: (text.chars().count() + 1).saturating_sub(n),
        }
    }

    fn width(&self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(0xf0..) => 4,
            Some(0xe0..) => 3,
            Some(0xc0..) => 2,
            _ => 1,
        }
    }
}

impl<'t> Iterator for Windows<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        self.left = self.left.checked_sub(1)?;
        let window = self.bytes.get(self.start..self.end)?;
        self.start += self.width(self.start);
        self.end += self.width(self.end);
        Some(window)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Windows<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn plain_counts(items: &[Vec<char>]) -> Vec<usize> {
        let mut counts: HashMap<&[char], usize> = HashMap::new();
        for item in items {
            *counts.entry(item).or_default() += 1;
        }
        counts.into_values().collect()
    }

    /// The definition, step by step.
    fn plain_char_repetition(text: &str, n: usize) -> f64 {
        let chars: Vec<char> = text.chars().collect();
        let windows: Vec<Vec<char>> = chars.windows(n).map(<[char]>::to_vec).collect();
        let mut counts = plain_counts(&windows);
        if counts.is_empty() {
            return 0.0;
        }
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let once = counts.iter().filter(|&&c| c == 1).count();
        let most = counts.len().isqrt().min(counts.len() - once);
        ratio(counts.iter().take(most).sum(), windows.len())
    }

    #[test]
    fn repetition_of_short_texts() {
        assert!(char_repetition("", 3) == 0.0 && char_repetition("ab", 3) == 0.0);
        // ab ba ab ba ab: 2 distinct, the more frequent one counts 3 of 5.
        assert!((char_repetition("ababab", 2) - 0.6).abs() < 1e-15);
        let words = Words::of("a b a b c");
        assert!((word_repetition(&words, 2) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn long_items_are_told_apart() {
        let texts: Vec<String> = (0..2000).map(|i| format!("{:040}", i % 1500)).collect();
        let counts = tally(texts.iter().map(String::as_bytes));
        assert_eq!(counts.len(), 1500);
        assert!(
            counts
                .iter()
                .zip(0..)
                .all(|(&count, i)| count == if i < 500 { 2 } else { 1 })
        );
    }

    proptest! {
        #[test]
        fn char_repetition_equals_the_definition(text in "[abé一😀]{0,60}", n in 1_usize..5) {
            let plain = plain_char_repetition(&text, n);
            prop_assert_eq!(char_repetition(&text, n).to_bits(), plain.to_bits());
        }

        #[test]
        fn repetition_of_ascii_equals_the_definition(
            text in "[ab]{0,90}|[a-z ]{0,400}|([a-z]{0,30}house on the[a-z]{0,3}){0,3}",
            n in 7_usize..12,
        ) {
            let plain = plain_char_repetition(&text, n);
            prop_assert_eq!(char_repetition(&text, n).to_bits(), plain.to_bits());
        }

        #[test]
        fn word_repetition_equals_the_definition(text in "[ab .]{0,60}", n in 1_usize..4) {
            let words = Words::of(&text);
            let list: Vec<&str> = words.iter().collect();
            let runs: Vec<Vec<char>> =
                list.windows(n).map(|run| run.join(" ").chars().collect()).collect();
            let repeated = plain_counts(&runs).into_iter().filter(|&c| c > 1).sum();
            let plain = ratio(repeated, runs.len());
            prop_assert_eq!(word_repetition(&words, n).to_bits(), plain.to_bits());
        }
    }
}
