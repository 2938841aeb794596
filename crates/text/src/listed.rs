//! How many words of a text are on a list.

use hashbrown::HashSet;

use super::{Words, ratio};

/// A list of words to look for.
#[derive(Debug, Clone, Default)]
pub struct WordSet {
    words: HashSet<Box<str>>,
    longest: usize,
}

impl WordSet {
    /// Whether `word` is on the list, by exact spelling.
    #[must_use]
    pub fn contains(&self, word: &str) -> bool {
        word.len() <= self.longest && self.words.contains(word)
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for WordSet {
    fn from_iter<I: IntoIterator<Item = S>>(words: I) -> Self {
        let words: HashSet<Box<str>> = words.into_iter().map(Into::into).collect();
        let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
        Self { words, longest }
    }
}

/// Words that are added to those of the text: every `size` words in a row, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Augmentation {
    /// The sizes of groups, each at least 1.
    pub sizes: Vec<usize>,
    /// What stands between the words of a group.
    pub join: String,
}

/// The share of words that are on the list, after augmentation; 0 if there are no words.
#[must_use]
pub fn listed_share(words: &Words, list: &WordSet, augmentation: Option<&Augmentation>) -> f64 {
    let mut listed = words.iter().filter(|word| list.contains(word)).count();
    let mut total = words.len();
    if let Some(Augmentation { sizes, join }) = augmentation {
        let each: Vec<&str> = words.iter().collect();
        let mut joined = String::new();
        for &size in sizes {
            for group in each.windows(size.max(1)) {
                joined.clear();
                for (i, word) in group.iter().enumerate() {
                    if i > 0 {
                        joined.push_str(join);
                    }
                    joined.push_str(word);
                }
                listed += usize::from(list.contains(&joined));
                total += 1;
            }
        }
    }
    ratio(listed, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_count_as_words() {
        let list: WordSet = ["ab", "b"].into_iter().collect();
        let words = Words::of("a b c");
        let share = |augmentation| listed_share(&words, &list, augmentation);
        assert!((share(None) - 1.0 / 3.0).abs() < 1e-15);
        let pairs = Augmentation {
            sizes: vec![2, 4],
            join: String::new(),
        };
        assert!((share(Some(&pairs)) - 2.0 / 5.0).abs() < 1e-15);
    }
}
