//! How much of a text is repeated, by n-grams.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::Words;

/// The repetition of character n-grams (`n` code points): with `u` distinct n-grams of which `s`
/// occur once, the share of all n-grams that belong to the min(⌊√u⌋, u − s) most frequent ones;
/// 0 if the text has no n-gram.
#[must_use]
pub fn char_repetition(text: &str, n: usize) -> f64 {
    let windows = Windows::new(text, n);
    let total = windows.len();
    let counts = tally(windows);
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

/// How often each distinct item occurs, in order of first occurrence. Items are compared whole;
/// the hash only speeds up the search.
fn tally<'t>(items: impl ExactSizeIterator<Item = &'t [u8]>) -> Vec<u32> {
    let mut index: HashTable<(&[u8], u32)> = HashTable::with_capacity(items.len());
    let mut counts: Vec<u32> = Vec::with_capacity(items.len());
    for item in items {
        let slot = *index
            .entry(
                xxh3_64(item),
                |(other, _)| *other == item,
                |(other, _)| xxh3_64(other),
            )
            .or_insert_with(|| {
                counts.push(0);
                (item, u32::try_from(counts.len() - 1).unwrap_or(u32::MAX))
            })
            .get();
        if let Some(count) = counts.get_mut(slot.1 as usize) {
            *count += 1;
        }
    }
    counts
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

    proptest! {
        #[test]
        fn char_repetition_equals_the_definition(text in "[abé一😀]{0,60}", n in 1_usize..5) {
            prop_assert_eq!(char_repetition(&text, n), plain_char_repetition(&text, n));
        }

        #[test]
        fn word_repetition_equals_the_definition(text in "[ab .]{0,60}", n in 1_usize..4) {
            let words = Words::of(&text);
            let list: Vec<&str> = words.iter().collect();
            let runs: Vec<Vec<char>> =
                list.windows(n).map(|run| run.join(" ").chars().collect()).collect();
            let repeated = plain_counts(&runs).into_iter().filter(|&c| c > 1).sum();
            prop_assert_eq!(word_repetition(&words, n), ratio(repeated, runs.len()));
        }
    }
}
