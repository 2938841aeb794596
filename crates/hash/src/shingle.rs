//! Windows of consecutive tokens: what near-duplicate detection compares texts by.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clean::{IgnorePattern, python_lower};
use djr_models::SentencePiece;

/// How a text is cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tokenization {
    /// At U+0020 only; empty tokens are dropped. Joined by a space.
    #[default]
    Space,
    /// At each punctuation character (`\p{P}`); empty tokens count. Joined by a space.
    Punctuation,
    /// One token a code point. Joined by nothing.
    Character,
}

/// How a text becomes shingles.
#[derive(Debug, Clone)]
pub struct Shingler {
    /// How it is cut into tokens.
    pub tokenization: Tokenization,
    /// Tokens in a shingle.
    pub window: usize,
    /// Whether it is lower-cased first.
    pub lowercase: bool,
    /// What is then cut out.
    pub ignore: Option<IgnorePattern>,
    /// Cuts into the pieces of this model, joined by nothing, instead.
    pub model: Option<Arc<SentencePiece>>,
}

impl Shingler {
    /// Cuts `text` into its shingles.
    ///
    /// # Errors
    /// If the pattern gives up on this text.
    pub fn shingles(&self, text: &str) -> Result<Shingles, String> {
        let lowered = if self.lowercase {
            python_lower(text)
        } else {
            Cow::Borrowed(text)
        };
        let cut = match &self.ignore {
            Some(pattern) => pattern.cut(&lowered)?,
            None => lowered,
        };
        Ok(match &self.model {
            Some(model) => Shingles::of_pieces(&cut, model, self.window),
            None => Shingles::new(&cut, self.tokenization, self.window),
        })
    }
}

/// Punctuation as the `regex` module (Unicode 17) has it; the second part of the class is what
/// Unicode 17 added.
static PUNCTUATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[\p{P}\u{2E60}-\u{2E63}\u{10ED0}]").ok());

/// A text cut into tokens so that each window of tokens is one slice of it.
#[derive(Debug, Default)]
pub struct Shingles {
    /// The tokens with one separator between each two.
    joined: String,
    /// Where each token begins and ends in `joined`.
    tokens: Vec<(usize, usize)>,
    /// Tokens in a window.
    window: usize,
}

impl Shingles {
    fn new(text: &str, tokenization: Tokenization, window: usize) -> Self {
        let mut shingles = Self {
            joined: String::with_capacity(text.len()),
            tokens: Vec::with_capacity(text.len() / 4),
            window: window.max(1),
        };
        shingles.cut(text, tokenization);
        shingles
    }

    fn of_pieces(text: &str, model: &SentencePiece, window: usize) -> Self {
        let mut shingles = Self {
            window: window.max(1),
            ..Self::default()
        };
        model.pieces(text, |piece| {
            let start = shingles.joined.len();
            shingles.joined.push_str(piece);
            shingles.tokens.push((start, shingles.joined.len()));
        });
        shingles
    }

    fn cut(&mut self, text: &str, tokenization: Tokenization) {
        match tokenization {
            Tokenization::Space => {
                for token in text.split(' ').filter(|token| !token.is_empty()) {
                    self.push(token);
                }
            }
            Tokenization::Punctuation => match PUNCTUATION.as_ref() {
                Some(pattern) => pattern.split(text).for_each(|token| self.push(token)),
                None => self.push(text),
            },
            Tokenization::Character => {
                self.joined.push_str(text);
                self.tokens
                    .extend(text.char_indices().map(|(at, c)| (at, at + c.len_utf8())));
            }
        }
    }

    /// Every window of tokens, in order, repeats included, in UTF-8. Fewer tokens than a window
    /// has give none.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.tokens.windows(self.window).filter_map(|window| {
            let (start, end) = (window.first()?.0, window.last()?.1);
            self.joined.as_bytes().get(start..end)
        })
    }

    /// Whether the text is shorter than a window, so that there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.len() < self.window
    }

    /// The tokens of the whole text, joined as those of a window are.
    #[must_use]
    pub fn joined(&self) -> &str {
        &self.joined
    }

    fn push(&mut self, token: &str) {
        if !self.tokens.is_empty() {
            self.joined.push(' ');
        }
        let start = self.joined.len();
        self.joined.push_str(token);
        self.tokens.push((start, self.joined.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shingles(text: &str, tokenization: Tokenization, size: usize) -> Vec<String> {
        Shingles::new(text, tokenization, size)
            .iter()
            .map(|w| String::from_utf8(w.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn tokens_are_cut_as_data_juicer_cuts_them() {
        use Tokenization::{Character, Punctuation, Space};
        assert_eq!(shingles(" a  b\nc d ", Space, 2), ["a b\nc", "b\nc d"]);
        assert_eq!(shingles("a, b。", Punctuation, 2), ["a  b", " b "]);
        assert_eq!(shingles("日本x", Character, 2), ["日本", "本x"]);
        assert_eq!(shingles("a b", Space, 3), [""; 0]);
        assert_eq!(shingles("", Punctuation, 1), [""]);
        assert_eq!(shingles("", Character, 1), [""; 0]);
    }

    #[test]
    fn punctuation_is_that_of_unicode_17() {
        let pattern = PUNCTUATION.as_ref().unwrap();
        let mut buffer = [0; 4];
        let count = ('\0'..=char::MAX)
            .filter(|c| pattern.is_match(c.encode_utf8(&mut buffer)))
            .count();
        assert_eq!(count, 860);
    }
}
