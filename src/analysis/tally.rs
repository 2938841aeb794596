//! Counts of words and the like, with memory that does not grow without end.

use hashbrown::HashMap;

/// More different entries than this are not kept: those seen once are then forgotten.
const MOST: usize = 1 << 20;

/// How often each of many texts came up.
#[derive(Debug, Clone)]
pub struct Tally {
    counts: HashMap<Box<str>, u64>,
    most: usize,
    exact: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: HashMap::new(),
            most: MOST,
            exact: true,
        }
    }
}

impl Tally {
    /// Counts `text` once more. Texts must be added in the order of the rows: which of them are
    /// forgotten, if any, then depends on nothing else.
    pub fn add(&mut self, text: &str) {
        if let Some(count) = self.counts.get_mut(text) {
            *count += 1;
            return;
        }
        if self.counts.len() >= self.most {
            self.exact = false;
            let mut least = 1;
            while self.counts.len() >= self.most {
                self.counts.retain(|_, count| *count > least);
                least += 1;
            }
        }
        self.counts.insert(text.into(), 1);
    }

    /// How often `text` came up, as far as it is known.
    #[must_use]
    pub fn count(&self, text: &str) -> u64 {
        self.counts.get(text).copied().unwrap_or(0)
    }

    /// How many different texts there are; at least so many if the tally is not exact.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing was forgotten.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The `n` most frequent texts with their counts; of equals, the first by spelling.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<(&str, u64)> {
        let mut entries: Vec<(&str, u64)> = self
            .counts
            .iter()
            .map(|(text, count)| (text.as_ref(), *count))
            .collect();
        entries.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        entries.truncate(n);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first() {
        let mut tally = Tally::default();
        for word in "b a c b a b".split(' ') {
            tally.add(word);
        }
        assert_eq!(tally.top(2), [("b", 3), ("a", 2)]);
        assert_eq!((tally.distinct(), tally.is_exact()), (3, true));
    }

    #[test]
    fn rare_entries_make_room() {
        let mut tally = Tally {
            most: 3,
            ..Tally::default()
        };
        for word in "a a b b c d a".split(' ') {
            tally.add(word);
        }
        assert_eq!(tally.top(1), [("a", 3)]);
        assert!(!tally.is_exact() && tally.distinct() <= 3);
    }
}
