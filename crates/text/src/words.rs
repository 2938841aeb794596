//! Words as Data-Juicer's word filters see them.

use djr_models::SentencePiece;
use djr_python::push_lower;
use djr_python::{is_special, is_special_ascii};

/// The pieces of `text` between spaces, newlines and tabs; empty ones are left out. Other white
/// space does not separate words.
pub fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_separator).filter(|word| !word.is_empty())
}

/// Of a special character that ends words.
const SEPARATES: u8 = 2;

/// Of each byte whether it is special (1), or even [`SEPARATES`] words.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if matches!(byte, b' ' | b'\n' | b'\t') {
            classes[byte as usize] = SEPARATES;
        } else if is_special_ascii(byte) {
            classes[byte as usize] = 1;
        }
        byte += 1;
    }
    classes
};

/// Whether words end at the character.
pub(crate) fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\n' | '\t')
}

/// `word` without the special characters at its ends.
#[must_use]
pub fn strip_special(word: &str) -> &str {
    word.trim_matches(is_special)
}

/// How many words are not made of special characters alone.
#[must_use]
pub fn word_count(text: &str) -> usize {
    if !text.is_ascii() {
        return word_count_plain(text);
    }
    let (mut words, mut in_word) = (0, false);
    for &b in text.as_bytes() {
        let separator = matches!(b, b' ' | b'\n' | b'\t');
        words += usize::from(separator & in_word);
        in_word = !separator & (in_word | !is_special_ascii(b));
    }
    words + usize::from(in_word)
}

fn word_count_plain(text: &str) -> usize {
    split_words(text)
        .filter(|word| !is_only_special(word))
        .count()
}

fn is_only_special(word: &str) -> bool {
    word.chars().all(is_special)
}

/// The refined words of a text: in lower case, then stripped of special characters at both ends,
/// without those that nothing is left of. They lie in one string, a space between two, so that
/// a run of words is a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    joined: String,
    /// Where each word ends in `joined`.
    ends: Vec<usize>,
    plain: usize,
}

impl Words {
    /// Refines the words of `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut words = Self::default();
        words.push_all(text);
        words
    }

    /// Forgets all words, but keeps the room they took.
    pub fn clear(&mut self) {
        self.joined.clear();
        self.ends.clear();
        self.plain = 0;
    }

    /// Adds the words of `text`.
    pub fn push_all(&mut self, text: &str) {
        self.joined.reserve(text.len());
        if text.is_ascii() {
            return self.push_ascii(text);
        }
        for word in split_words(text) {
            self.push(word);
        }
    }

    /// Adds the words of an ASCII text: no letter of it is special, so that stripping may come
    /// before lowering, and all may be lowered at once.
    fn push_ascii(&mut self, text: &str) {
        let start = self.joined.len();
        let is = |byte: &u8, class: u8| CLASSES.get(usize::from(*byte)) == Some(&class);
        let special = |byte: &u8| !is(byte, 0);
        let mut begin = 0;
        // Separators are special: looking for what is not passes over them, too.
        while let Some(first) = text.as_bytes().get(begin..).and_then(|rest| {
            let first = rest.iter().position(|byte| !special(byte))?;
            Some(begin + first)
        }) {
            let rest = text.as_bytes().get(first..).unwrap_or_default();
            let length = rest.iter().position(|byte| is(byte, SEPARATES));
            let word = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
            let kept = word.iter().rposition(|byte| !special(byte));
            let kept = kept.map_or(0, |last| last + 1);
            if !self.ends.is_empty() {
                self.joined.push(' ');
            }
            self.joined
                .push_str(text.get(first..first + kept).unwrap_or_default());
            self.ends.push(self.joined.len());
            self.plain += 1;
            begin = first + word.len();
        }
        if let Some(added) = self.joined.get_mut(start..) {
            added.make_ascii_lowercase();
        }
    }

    /// Adds a word or token as it stands in the text.
    pub fn push(&mut self, word: &str) {
        let rollback = self.joined.len();
        if !self.ends.is_empty() {
            self.joined.push(' ');
        }
        if word.is_ascii() {
            // No ASCII letter is special, so stripping may come before lowering.
            let stripped = word.trim_matches(|c: char| is_special_ascii(c as u8));
            if stripped.is_empty() {
                self.joined.truncate(rollback);
                return;
            }
            push_lower(stripped, &mut self.joined);
            self.plain += 1;
        } else {
            self.plain += usize::from(!is_only_special(word));
            if !self.push_lower_stripped(word) {
                self.joined.truncate(rollback);
                return;
            }
        }
        self.ends.push(self.joined.len());
    }

    fn push_lower_stripped(&mut self, word: &str) -> bool {
        let start = self.joined.len();
        push_lower(word, &mut self.joined);
        let added = self.joined.get(start..).unwrap_or_default();
        let kept = added.trim_end_matches(is_special).len();
        self.joined.truncate(start + kept);
        let added = self.joined.get(start..).unwrap_or_default();
        let leading = added.len() - added.trim_start_matches(is_special).len();
        if leading > 0 {
            self.joined.replace_range(start..start + leading, "");
        }
        self.joined.len() > start
    }

    /// How many refined words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many words there would be without lowering before stripping: a capital may be a
    /// special character whose small letter is not (`Г`).
    #[must_use]
    pub fn plain_count(&self) -> usize {
        self.plain
    }

    /// The refined words.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.runs(1)
    }

    /// Every run of `n` words in a row, joined by spaces.
    #[must_use]
    pub fn runs(&self, n: usize) -> impl ExactSizeIterator<Item = &str> {
        let n = n.max(1);
        (0..(self.len() + 1).saturating_sub(n)).map(move |first| {
            let start = first.checked_sub(1).map_or(0, |i| self.end(i) + 1);
            self.joined
                .get(start..self.end(first + n - 1))
                .unwrap_or_default()
        })
    }

    fn end(&self, word: usize) -> usize {
        self.ends.get(word).copied().unwrap_or(self.joined.len())
    }
}

/// How a text is cut into words.
#[derive(Debug)]
pub enum WordCutter {
    /// At spaces, newlines and tabs.
    Separators,
    /// By the SentencePiece model of a language.
    SentencePiece {
        /// The language, which tells models apart.
        lang: String,
        /// The model.
        model: Box<SentencePiece>,
    },
}

impl WordCutter {
    /// The refined words of `text`.
    #[must_use]
    pub fn words(&self, text: &str) -> Words {
        let mut words = Words::default();
        self.push_words(text, &mut words);
        words
    }

    /// Adds the refined words of `text` to `words`.
    pub fn push_words(&self, text: &str, words: &mut Words) {
        match self {
            Self::Separators => words.push_all(text),
            Self::SentencePiece { model, .. } => model.pieces(text, |piece| words.push(piece)),
        }
    }

    /// The language of the model, if there is one: two cutters of the same language cut alike.
    #[must_use]
    pub fn lang(&self) -> Option<&str> {
        match self {
            Self::Separators => None,
            Self::SentencePiece { lang, .. } => Some(lang),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lower;

    /// The definition, step by step.
    fn refined(text: &str) -> Vec<String> {
        split_words(text)
            .map(|word| strip_special(&lower(word)).to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    }

    #[test]
    fn words_are_lowered_then_stripped() {
        let words = Words::of("“Hello,” World!\t-- don't 123\nГа\u{a0}Б");
        assert_eq!(
            words.iter().collect::<Vec<_>>(),
            ["hello", "world", "don't", "га\u{a0}б"]
        );
        assert_eq!(
            words.runs(3).collect::<Vec<_>>(),
            ["hello world don't", "world don't га\u{a0}б"]
        );
        assert_eq!(words.runs(5).len(), 0);
        assert_eq!(Words::of("Г").len(), 1);
        assert_eq!(Words::of("Г").plain_count(), 0);
    }

    proptest! {
        #[test]
        fn refining_equals_the_definition(text in "[ \n\tA-Ca-c.,!0-9éÀΣГг一“❤]{0,60}") {
            let words = Words::of(&text);
            prop_assert_eq!(words.iter().collect::<Vec<_>>(), refined(&text));
            prop_assert_eq!(words.plain_count(), word_count(&text));
        }

        #[test]
        fn ascii_words_are_refined_as_any(text in "[ \n\tA-Ca-c.,!0-9\x00-\x7f]{0,60}") {
            let mut one_by_one = Words::default();
            for word in split_words(&text) {
                one_by_one.push(word);
            }
            let words = Words::of(&text);
            prop_assert_eq!(words.iter().collect::<Vec<_>>(), refined(&text));
            prop_assert_eq!(words, one_by_one);
        }

        #[test]
        fn ascii_words_are_counted_as_the_plain_version_counts(text in "[\\x00-\\x7f]{0,200}") {
            prop_assert_eq!(word_count(&text), word_count_plain(&text));
        }
    }
}
