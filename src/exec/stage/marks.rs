//! A mark for each of any number of things.

use smallvec::SmallVec;

/// Which of some things are marked, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// A bit each, the first one least; no words behind the last mark.
    words: SmallVec<[u64; 1]>,
}

impl Marks {
    /// So many words have room for the marks of `things`.
    #[must_use]
    pub const fn words_of(things: usize) -> usize {
        things.div_ceil(WORD)
    }

    /// The words, as [`Marks::words`] gave them.
    #[must_use]
    pub fn of_words(words: impl IntoIterator<Item = u64>) -> Self {
        let mut words: SmallVec<[u64; 1]> = words.into_iter().collect();
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }

    /// A bit each, 64 in a word; none behind the last mark.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether nothing is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many things are marked.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether the thing `number` is marked in `words`, which may have further ones behind.
    #[must_use]
    pub fn is_set(words: &[u64], number: usize) -> bool {
        let word = words.get(number / WORD).copied().unwrap_or(0);
        word >> (number % WORD) & 1 != 0
    }
}

const WORD: usize = u64::BITS as usize;

/// The things with these numbers.
impl FromIterator<usize> for Marks {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut marks = Self::default();
        for number in numbers {
            let at = number / WORD;
            if marks.words.len() <= at {
                marks.words.resize(at + 1, 0);
            }
            if let Some(word) = marks.words.get_mut(at) {
                *word |= 1 << (number % WORD);
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_are_have_a_mark_each() {
        for marked in [&[][..], &[0], &[63], &[64], &[2, 63, 64, 200]] {
            let marks: Marks = marked.iter().copied().collect();
            assert_eq!(marks.count(), marked.len());
            assert_eq!(marks.is_empty(), marked.is_empty());
            for number in 0..300 {
                let is_marked = marked.contains(&number);
                assert_eq!(Marks::is_set(marks.words(), number), is_marked, "{number}");
            }
            let most = marked.last().map_or(0, |last| last + 1);
            assert_eq!(marks.words().len(), Marks::words_of(most));
            let wider = marks.words().iter().copied().chain([0, 0]);
            assert_eq!(Marks::of_words(wider), marks);
        }
    }
}
