//! A bit a row.

use rayon::prelude::*;

/// A set of rows, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    rows: usize,
}

/// How many words of 64 rows a thread takes at a time.
const WORDS: usize = 128;

impl Bits {
    /// None of `rows` rows.
    #[must_use]
    pub fn none(rows: usize) -> Self {
        Self {
            words: vec![0; rows.div_ceil(64)],
            rows,
        }
    }

    /// Those of `rows` rows of which `is_in` says so, asked by several threads.
    pub fn of(rows: usize, is_in: impl Fn(usize) -> bool + Sync) -> Self {
        let word = |word: usize| {
            let first = word * 64;
            let last = rows.min(first + 64);
            (first..last)
                .filter(|row| is_in(*row))
                .fold(0, |bits, row| bits | 1 << (row - first))
        };
        let words = (0..rows.div_ceil(64)).into_par_iter().with_min_len(WORDS);
        Self {
            words: words.map(word).collect(),
            rows,
        }
    }

    /// Adds a row; one that there is not is left out.
    pub fn add(&mut self, row: usize) {
        if row < self.rows
            && let Some(word) = self.words.get_mut(row / 64)
        {
            *word |= 1 << (row % 64);
        }
    }

    /// Whether a row is one of them.
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        let word = self.words.get(row / 64);
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & b)
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & !b)
    }

    fn with(&self, other: &Self, both: impl Fn(u64, u64) -> u64) -> Self {
        let pairs = self.words.iter().zip(&other.words);
        Self {
            words: pairs.map(|(a, b)| both(*a, *b)).collect(),
            rows: self.rows,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// Their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_rows_are_what_lists_of_them_are() {
        for rows in [0, 1, 63, 64, 65, 1000] {
            let thirds = Bits::of(rows, |row| row % 3 == 0);
            let mut fifths = Bits::none(rows);
            (0..rows + 9)
                .filter(|row| row % 5 == 0)
                .for_each(|row| fifths.add(row));
            let listed = |is_in: fn(usize) -> bool| (0..rows).filter(move |row| is_in(*row));
            assert!(thirds.and(&fifths).iter().eq(listed(|row| row % 15 == 0)));
            let only = thirds.without(&fifths);
            assert!(only.iter().eq(listed(|row| row % 3 == 0 && row % 5 > 0)));
            assert_eq!(only.count(), only.iter().map(|_| 1).sum::<u64>());
            assert!((0..rows).all(|row| thirds.has(row) == (row % 3 == 0)));
            assert!(!thirds.has(rows + 64));
        }
    }
}
