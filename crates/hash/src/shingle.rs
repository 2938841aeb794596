//! Windows of consecutive tokens: what near-duplicate detection compares texts by.

use std::borrow::Cow;
use std::slice;
use std::str::CharIndices;
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
    /// Cuts `text` into its shingles. At most one copy of it is alive afterwards.
    ///
    /// # Errors
    /// If the pattern gives up on this text.
    pub fn shingles<'t>(&self, text: &'t str) -> Result<Shingles<'t>, String> {
        let lowered = if self.lowercase {
            python_lower(text)
        } else {
            Cow::Borrowed(text)
        };
        let cut = match &self.ignore {
            None => lowered,
            Some(pattern) => match pattern.cut(&lowered)? {
                Cow::Owned(cut) => Cow::Owned(cut),
                // Nothing matched.
                Cow::Borrowed(_) => lowered,
            },
        };
        Ok(match &self.model {
            Some(model) => Shingles::of_pieces(&cut, model, self.window),
            None => Shingles::new(cut, self.tokenization, self.window),
        })
    }
}

/// Punctuation as the `regex` module (Unicode 17) has it; the second part of the class is what
/// Unicode 17 added.
static PUNCTUATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[\p{P}\u{2E60}-\u{2E63}\u{10ED0}]").ok());

/// A text cut into tokens so that each window of tokens is one slice of it.
#[derive(Debug)]
pub struct Shingles<'t> {
    /// The tokens with one separator between each two.
    joined: Cow<'t, str>,
    /// Where they begin.
    bounds: Bounds,
    /// How many there are.
    count: usize,
    /// Tokens in a window.
    window: usize,
}

/// Where the tokens of a text begin.
#[derive(Debug)]
enum Bounds {
    /// Behind each space; no token has one in it.
    Spaces,
    /// At each code point.
    Characters,
    /// Here, with this many bytes between two tokens. No row is so long that this is not enough.
    Listed(Vec<u32>, usize),
}

impl<'t> Shingles<'t> {
    fn new(text: Cow<'t, str>, tokenization: Tokenization, window: usize) -> Self {
        let window = window.max(1);
        match tokenization {
            Tokenization::Space => {
                let joined = single_spaced(text);
                let spaces = joined.bytes().filter(|&byte| byte == b' ').count();
                Self {
                    count: spaces + usize::from(!joined.is_empty()),
                    joined,
                    bounds: Bounds::Spaces,
                    window,
                }
            }
            Tokenization::Character => Self {
                count: text.chars().count(),
                joined: text,
                bounds: Bounds::Characters,
                window,
            },
            Tokenization::Punctuation => {
                let mut joined = String::with_capacity(text.len());
                let mut starts = Vec::new();
                let mut push = |token: &str| {
                    if !starts.is_empty() {
                        joined.push(' ');
                    }
                    starts.push(place(joined.len()));
                    joined.push_str(token);
                };
                match PUNCTUATION.as_ref() {
                    Some(pattern) => pattern.split(&text).for_each(push),
                    None => push(&text),
                }
                Self {
                    count: starts.len(),
                    joined: Cow::Owned(joined),
                    bounds: Bounds::Listed(starts, 1),
                    window,
                }
            }
        }
    }

    fn of_pieces(text: &str, model: &SentencePiece, window: usize) -> Self {
        let (mut joined, mut starts) = (String::new(), Vec::new());
        model.pieces(text, |piece| {
            starts.push(place(joined.len()));
            joined.push_str(piece);
        });
        Self {
            count: starts.len(),
            joined: Cow::Owned(joined),
            bounds: Bounds::Listed(starts, 0),
            window: window.max(1),
        }
    }

    /// Every window of tokens, in order, repeats included, in UTF-8. Fewer tokens than a window
    /// has give none.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let between = match self.bounds {
            Bounds::Spaces => 1,
            Bounds::Characters => 0,
            Bounds::Listed(_, between) => between,
        };
        // A window ends where the token behind its last one begins, and the last at the end.
        let ends = self.starts().skip(self.window);
        let ends = ends.map(move |start| start - between);
        let ends = ends.chain(std::iter::once(self.joined.len()));
        let windows = (self.count + 1).saturating_sub(self.window);
        let windows = self.starts().zip(ends).take(windows);
        windows.filter_map(|(start, end)| self.joined.as_bytes().get(start..end))
    }

    fn starts(&self) -> Starts<'_> {
        match &self.bounds {
            Bounds::Spaces => Starts::Spaces(self.joined.as_bytes(), 0),
            Bounds::Characters => Starts::Characters(self.joined.char_indices()),
            Bounds::Listed(starts, _) => Starts::Listed(starts.iter()),
        }
    }

    /// Whether the text is shorter than a window, so that there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count < self.window
    }

    /// The tokens of the whole text, joined as those of a window are.
    #[must_use]
    pub fn joined(&self) -> &str {
        &self.joined
    }
}

/// The places where tokens begin, one after the other. They are looked for twice instead of kept: a
/// long text has many.
enum Starts<'s> {
    /// A text, and where its next token begins.
    Spaces(&'s [u8], usize),
    Characters(CharIndices<'s>),
    Listed(slice::Iter<'s, u32>),
}

impl Iterator for Starts<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Spaces(text, next) => {
                let start = *next;
                let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
                let length = rest.iter().position(|&byte| byte == b' ');
                *next = start + length.map_or(rest.len(), |length| length + 1);
                Some(start)
            }
            Self::Characters(places) => places.next().map(|(at, _)| at),
            Self::Listed(starts) => starts.next().map(|&start| start as usize),
        }
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// `text` without spaces at its ends and with one instead of several, in its place where that can
/// be.
fn single_spaced(text: Cow<'_, str>) -> Cow<'_, str> {
    let doubled = text.as_bytes().windows(2).any(|pair| pair == b"  ");
    if !doubled && !text.starts_with(' ') && !text.ends_with(' ') {
        return text;
    }
    let mut owned = text.into_owned();
    // As if a space stood before the text.
    let mut before = true;
    owned.retain(|c| {
        let needed = !(c == ' ' && before);
        before = c == ' ';
        needed
    });
    if owned.ends_with(' ') {
        owned.pop();
    }
    Cow::Owned(owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shingles(text: &str, tokenization: Tokenization, size: usize) -> Vec<String> {
        Shingles::new(text.into(), tokenization, size)
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
        assert_eq!(shingles("a b", Space, 1), ["a", "b"]);
        assert_eq!(shingles("  ", Space, 1), [""; 0]);
        assert_eq!(shingles("a,b", Punctuation, 3), [""; 0]);
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
