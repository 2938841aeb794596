//! Sentence boundaries by the Punkt method (Kiss and Strunk 2006), as NLTK's tokenizer finds them
//! with the tables it was trained to: abbreviations, collocations, sentence starters, and in which
//! case a word was seen where.

use std::ops::Range;
use std::sync::LazyLock;

use hashbrown::{HashMap, HashSet};
use regex::Regex;

use super::{is_space, lower};

/// What training left behind for one language.
#[derive(Debug, Default)]
pub struct Punkt {
    abbreviations: HashSet<String>,
    collocations: HashSet<(String, String)>,
    starters: HashSet<String>,
    contexts: HashMap<String, u32>,
}

// Where a word was seen, as bits of its context.
const INITIAL_LOWER: u32 = 1 << 4;
const MIDDLE_UPPER: u32 = 1 << 2;
const ANY_UPPER: u32 = 1 << 1 | 1 << 2 | 1 << 3;
const ANY_LOWER: u32 = 1 << 4 | 1 << 5 | 1 << 6;

/// The type of all numbers.
const NUMBER: &str = "##number##";

impl Punkt {
    /// Reads the four tables of `punkt_tab`: one word a line; two words with a tab between them;
    /// one word a line; a word, a tab and a number.
    ///
    /// # Errors
    /// Which line is not as it should be.
    pub fn parse(
        abbreviations: &str,
        collocations: &str,
        starters: &str,
        contexts: &str,
    ) -> Result<Self, String> {
        let pair = |line: &str| -> Result<(String, String), String> {
            let (first, second) = line
                .split_once('\t')
                .ok_or_else(|| format!("{line:?} has no tab"))?;
            Ok((first.to_owned(), second.to_owned()))
        };
        Ok(Self {
            abbreviations: abbreviations.lines().map(str::to_owned).collect(),
            collocations: collocations.lines().map(pair).collect::<Result<_, _>>()?,
            starters: starters.lines().map(str::to_owned).collect(),
            contexts: contexts
                .lines()
                .map(|line| {
                    let (word, bits) = pair(line)?;
                    let bits = bits
                        .trim()
                        .parse()
                        .map_err(|_| format!("{line:?} does not end in a number"))?;
                    Ok((word, bits))
                })
                .collect::<Result<_, String>>()?,
        })
    }

    /// The sentences of `text`, without the white space between them.
    #[must_use]
    pub fn sentences<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let slices = self.slices(text);
        let mut out = Vec::new();
        let mut realigned = 0;
        for (at, slice) in slices.iter().enumerate() {
            let start = slice.start + realigned;
            let next = slices.get(at + 1);
            let closers = next.and_then(|next| closing(text.get(next.clone())?));
            let end = if let (Some(next), Some((closers, whole))) = (next, closers) {
                realigned = whole;
                next.start + closers
            } else {
                realigned = 0;
                slice.end
            };
            let sentence = text.get(start..end).unwrap_or_default();
            if !sentence.is_empty() || closers.is_some() {
                out.push(sentence);
            }
        }
        out
    }

    /// Where sentences lie before closing punctuation goes to the sentence it closes.
    fn slices(&self, text: &str) -> Vec<Range<usize>> {
        let mut slices = Vec::new();
        let mut last_break = 0;
        for candidate in candidates(text) {
            if self.is_boundary(candidate.context(text)) {
                slices.push(last_break..candidate.end());
                last_break = candidate.next_word.unwrap_or(candidate.end());
            }
        }
        slices.push(last_break..text.trim_end_matches(is_space).len());
        slices
    }

    /// Whether a sentence ends in `context` before its last token.
    fn is_boundary(&self, context: &str) -> bool {
        let mut tokens: Vec<Token> = context
            .split('\n')
            .filter(|line| !line.trim_matches(is_space).is_empty())
            .flat_map(words)
            .map(Token::new)
            .collect();
        for token in &mut tokens {
            self.mark(token);
        }
        for at in 0..tokens.len() {
            let (done, rest) = tokens.split_at_mut(at + 1);
            if let (Some(token), Some(next)) = (done.last_mut(), rest.first()) {
                self.reconsider(token, next);
                if token.ends_sentence {
                    return true;
                }
            }
        }
        false
    }

    /// What the token alone says.
    fn mark(&self, token: &mut Token) {
        let text = token.text;
        if matches!(text, "." | "?" | "!") {
            token.ends_sentence = true;
        } else if text.len() > 1 && text.bytes().all(|b| b == b'.') {
            token.is_ellipsis = true;
        } else if let Some(word) = text.strip_suffix('.')
            && !word.ends_with('.')
        {
            let word = lower(word);
            let last = word.rsplit('-').next().unwrap_or_default();
            let known = [&*word, last]
                .iter()
                .any(|w| self.abbreviations.contains(*w));
            token.is_abbreviation = known;
            token.ends_sentence = !known;
        }
    }

    /// What the next token adds.
    fn reconsider(&self, token: &mut Token, next: &Token) {
        if !token.text.ends_with('.') {
            return;
        }
        let kind = token.without_period();
        let next_kind = next.without_final_period();
        let is_initial = token.is_initial();
        let pair = (kind.to_owned(), next_kind.to_owned());
        if self.collocations.contains(&pair) {
            token.abbreviation();
            return;
        }
        let starts = self.starts_sentence(next);
        if (token.is_abbreviation || token.is_ellipsis)
            && !is_initial
            && (starts == Some(true) || next.is_upper() && self.starters.contains(next_kind))
        {
            token.ends_sentence = true;
            return;
        }
        if is_initial || kind == NUMBER {
            let never_lower = self.context(next_kind) & ANY_LOWER == 0;
            if starts == Some(false)
                || starts.is_none() && is_initial && next.is_upper() && never_lower
            {
                token.abbreviation();
            }
        }
    }

    /// Whether the token looks like the first one of a sentence, if that can be said.
    fn starts_sentence(&self, token: &Token) -> Option<bool> {
        if matches!(token.text, ";" | ":" | "," | "." | "!" | "?") {
            return Some(false);
        }
        let context = self.context(token.without_final_period());
        if token.is_upper() && context & ANY_LOWER != 0 && context & MIDDLE_UPPER == 0 {
            return Some(true);
        }
        if token.is_lower() && (context & ANY_UPPER != 0 || context & INITIAL_LOWER == 0) {
            return Some(false);
        }
        None
    }

    fn context(&self, kind: &str) -> u32 {
        self.contexts.get(kind).copied().unwrap_or_default()
    }
}

/// A word, a number or a punctuation mark.
struct Token<'t> {
    text: &'t str,
    /// In lower case, or [`NUMBER`].
    kind: String,
    ends_sentence: bool,
    is_abbreviation: bool,
    is_ellipsis: bool,
}

static NUMERIC: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^-?[.,]?\d[\d,.\-]*$").ok());
static INITIAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[^\W\d]\.$").ok());

fn is_numeric(text: &str) -> bool {
    NUMERIC.as_ref().is_some_and(|regex| regex.is_match(text))
}

impl<'t> Token<'t> {
    fn new(text: &'t str) -> Self {
        let kind = lower(text);
        Self {
            text,
            kind: if is_numeric(&kind) {
                NUMBER.to_owned()
            } else {
                kind.into_owned()
            },
            ends_sentence: false,
            is_abbreviation: false,
            is_ellipsis: false,
        }
    }

    /// Makes it one that does not end a sentence.
    fn abbreviation(&mut self) {
        self.ends_sentence = false;
        self.is_abbreviation = true;
    }

    fn without_period(&self) -> &str {
        match self.kind.strip_suffix('.') {
            Some(kind) if !kind.is_empty() => kind,
            _ => &self.kind,
        }
    }

    /// Without the period if it ends a sentence.
    fn without_final_period(&self) -> &str {
        if self.ends_sentence {
            self.without_period()
        } else {
            &self.kind
        }
    }

    /// A letter and a period.
    fn is_initial(&self) -> bool {
        // Most tokens are longer.
        self.text.len() < 6
            && INITIAL
                .as_ref()
                .is_some_and(|regex| regex.is_match(self.text))
    }

    fn is_upper(&self) -> bool {
        self.text.chars().next().is_some_and(char::is_uppercase)
    }

    fn is_lower(&self) -> bool {
        self.text.chars().next().is_some_and(char::is_lowercase)
    }
}

/// A mark that may end a sentence.
struct Candidate {
    /// Where the word that it follows starts, and the mark itself.
    word: Range<usize>,
    /// Where what follows ends: a mark, or white space and a word.
    context_end: usize,
    next_word: Option<usize>,
}

impl Candidate {
    fn end(&self) -> usize {
        self.word.end + 1
    }

    /// The word, the mark and what follows.
    fn context<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.word.start..self.context_end)
            .unwrap_or_default()
    }
}

/// White space as the patterns of NLTK have it, which lack U+001C to U+001F; `str.strip` has them.
fn is_white(c: char) -> bool {
    c.is_whitespace()
}

/// The marks that may end a sentence; of several after one word just the last one.
fn candidates(text: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut last = 0..0;
    let mut held: Option<Candidate> = None;
    for (at, _) in text.match_indices(['.', '?', '!']) {
        let after = text.get(at + 1..).unwrap_or_default();
        let Some(first) = after.chars().next() else {
            break;
        };
        let word_after = after.trim_start_matches(is_white);
        let (context_end, next_word) = if ends_word(first) {
            (at + 1 + first.len_utf8(), None)
        } else if is_white(first) && !word_after.is_empty() {
            let start = text.len() - word_after.len();
            let length = word_after.find(is_white).unwrap_or(word_after.len());
            (start + length, Some(start))
        } else {
            continue;
        };
        let between = text.get(last.end..at).unwrap_or_default();
        let start = match between.rfind([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']) {
            Some(space @ 1..) => last.end + space + 1,
            // As in NLTK, white space right after the last mark counts for none.
            _ => last.start,
        };
        if let Some(candidate) = held.take_if(|_| last.end <= start) {
            found.push(candidate);
        }
        last = start..at;
        held = Some(Candidate {
            word: start..at,
            context_end,
            next_word,
        });
    }
    found.extend(held);
    found
}

/// The lengths of the closing punctuation at the start of a sentence that belongs to the one
/// before it, without and with the white space after it.
fn closing(sentence: &str) -> Option<(usize, usize)> {
    let rest = sentence.trim_start_matches(|c| {
        matches!(
            c,
            '"' | '\'' | ')' | ']' | '}' | '‘' | '’' | '“' | '”' | '«' | '»'
        )
    });
    let closers = sentence.len() - rest.len();
    let space = rest.len() - rest.trim_start_matches(is_white).len();
    let belongs = rest.is_empty() || space > 0 || rest.starts_with("--");
    (closers > 0 && belongs).then_some((closers, closers + space))
}

/// The tokens of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_white);
        let length = word_length(rest)?;
        let (word, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(word)
    })
}

fn word_length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let marks = multiple_marks(text);
    if marks > 0 {
        return Some(marks);
    }
    if matches!(
        first,
        '(' | '"'
            | '`'
            | '{'
            | '['
            | ':'
            | ';'
            | '&'
            | '#'
            | '*'
            | '@'
            | ')'
            | '}'
            | ']'
            | '-'
            | ','
    ) {
        return Some(first.len_utf8());
    }
    let ends = |rest: &str| {
        rest.chars()
            .next()
            .is_none_or(|c| is_white(c) || ends_word(c))
            || multiple_marks(rest) > 0
    };
    let end = text.char_indices().skip(1).find(|&(at, c)| {
        let rest = text.get(at..).unwrap_or_default();
        ends(rest) || c == ',' && ends(text.get(at + 1..).unwrap_or_default())
    });
    Some(end.map_or(text.len(), |(at, _)| at))
}

/// Whether a word ends before `c`.
fn ends_word(c: char) -> bool {
    matches!(
        c,
        ')' | '"'
            | ';'
            | '}'
            | ']'
            | '*'
            | ':'
            | '@'
            | '\''
            | '('
            | '{'
            | '['
            | '‘'
            | '’'
            | '“'
            | '”'
            | '«'
            | '»'
            | '?'
            | '!'
    )
}

/// The length of several hyphens, of several periods, or of three or more periods with one space
/// between them; 0 if `text` does not start with them.
fn multiple_marks(text: &str) -> usize {
    let run = |mark: u8| text.bytes().take_while(|&b| b == mark).count();
    let (hyphens, periods) = (run(b'-'), run(b'.'));
    if hyphens > 1 || periods > 1 {
        return hyphens.max(periods);
    }
    let mut length = 0;
    let mut count = 0;
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('.') {
        count += 1;
        length = text.len() - after.len();
        match after.strip_prefix(is_white) {
            Some(next) => rest = next,
            None => break,
        }
    }
    if count > 2 { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn punkt() -> Punkt {
        let contexts = "the\t110\nwe\t46\nsmith\t4\nand\t32\n";
        Punkt::parse("dr\netc\ne.g\n", "##number##\tmay\n", "we\n", contexts).unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(punkt().sentences(text), expected);
    }

    #[test]
    fn abbreviations_do_not_end_sentences() {
        check("Dr. Smith came. He left.", &["Dr. Smith came.", "He left."]);
        check("Pens, ink, etc. We left.", &["Pens, ink, etc.", "We left."]);
        check(
            "On 3. may it ended. J. Bach.",
            &["On 3. may it ended.", "J. Bach."],
        );
        check("Why?! Well... The end", &["Why?!", "Well... The end"]);
    }

    #[test]
    fn closing_marks_stay_with_their_sentence() {
        check(
            "(One.) Two. “Three.” Four",
            &["(One.)", "Two.", "“Three.”", "Four"],
        );
        check("", &[]);
        check(" \n", &[]);
        check(" a. B ", &[" a. B"]);
    }

    #[test]
    fn broken_tables_are_refused() {
        assert!(Punkt::parse("", "a b", "", "").is_err());
        assert!(Punkt::parse("", "", "", "a\tx").is_err());
    }
}
