//! Sentences that a text says again.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{char_count, lower, strip};

/// When two sentences count as the same.
#[derive(Debug, Clone, Copy)]
pub struct Sameness {
    /// Case does not matter.
    pub lowercase: bool,
    /// Only ASCII letters and digits, Chinese characters, tabs and spaces matter.
    pub ignore_special: bool,
    /// Shorter sentences, in characters that matter, are never the same as another.
    pub min_length: i64,
}

impl Sameness {
    fn key<'t>(&self, sentence: &'t str) -> Cow<'t, str> {
        let mut key = Cow::Borrowed(strip(sentence));
        if self.lowercase {
            key = Cow::Owned(lower(&key).into_owned());
        }
        if self.ignore_special && !key.chars().all(matters) {
            key = Cow::Owned(key.chars().filter(|&c| matters(c)).collect());
        }
        key
    }
}

fn matters(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '\u{4e00}'..='\u{9fa5}' | '\n' | '\t' | ' ')
}

/// `text` without sentences that it had before; lines stay lines.
#[must_use]
pub fn without_repeats(text: &str, sameness: Sameness) -> Cow<'_, str> {
    let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
    let mut out = String::new();
    let mut done = 0;
    let mut at = 0;
    for (number, line) in text.split('\n').enumerate() {
        at += usize::from(number > 0);
        for sentence in sentences(line) {
            let start = at;
            at += sentence.len();
            let key = sameness.key(sentence);
            if char_count(&key) >= sameness.min_length && !seen.insert(key) {
                out.push_str(text.get(done..start).unwrap_or_default());
                done = at;
            }
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// The sentences of a line, with all that is between them.
fn sentences(line: &str) -> Vec<&str> {
    let cuts = cuts(line);
    let mut found = Vec::with_capacity(cuts.len() + 1);
    let mut start = 0;
    for end in cuts.into_iter().chain([line.len()]) {
        if end > start {
            found.push(line.get(start..end).unwrap_or_default());
            start = end;
        }
    }
    found
}

/// Where sentences end, in bytes, in order. Data-Juicer inserts line feeds in passes, each of which
/// sees those before; a place is cut by at most one of the first two, so only the last looks at
/// earlier cuts.
fn cuts(line: &str) -> Vec<usize> {
    if !line.contains(['.', '。', '!', '！', '?', '？', '…', '’', '”']) {
        return Vec::new();
    }
    let chars: Vec<(usize, char)> = line.char_indices().collect();
    // Whether a line feed goes before each character.
    let mut cut = vec![false; chars.len()];
    let get = |i: usize| chars.get(i).map(|pair| pair.1);
    // After a full stop or the like that no closing quote follows. What follows it is used up, so
    // that in a row of stops every second one counts.
    let mut i = 0;
    while let Some(c) = get(i) {
        i += 1;
        if is_stop(c)
            && get(i).is_some_and(|next| !is_closing(next))
            && let Some(cut) = cut.get_mut(i)
        {
            *cut = true;
            i += 1;
        }
    }
    // After two ellipses. (Six dots in a row never last until here.) A line feed in between keeps
    // them apart, but may be what follows them.
    i = 0;
    while i + 1 < chars.len() {
        let apart = cut.get(i + 1) == Some(&true);
        if get(i) != Some('…') || get(i + 1) != Some('…') || apart {
            i += 1;
            continue;
        }
        i += 2;
        let Some(next) = get(i) else { break };
        let already = cut.get(i) == Some(&true);
        if (already || !is_closing(next))
            && let Some(cut) = cut.get_mut(i)
        {
            *cut = true;
            // The used-up character is the line feed, if there was one.
            i += usize::from(!already);
        }
    }
    // After a closing quote that follows a stop. The class of stops is written in a way that takes
    // in braces, a six and a two.
    i = 0;
    while i + 2 < chars.len() {
        let stop = get(i).is_some_and(|c| is_stop(c) || matches!(c, '…' | '{' | '}' | '6' | '2'));
        let quote = get(i + 1).is_some_and(is_closing) && cut.get(i + 1) != Some(&true);
        let already = cut.get(i + 2) == Some(&true);
        if stop && quote && (already || get(i + 2).is_some_and(|c| !is_closing(c))) {
            if let Some(cut) = cut.get_mut(i + 2) {
                *cut = true;
            }
            i += if already { 2 } else { 3 };
        } else {
            i += 1;
        }
    }
    chars
        .iter()
        .zip(cut)
        .filter(|(_, cut)| *cut)
        .map(|(pair, _)| pair.0)
        .collect()
}

fn is_stop(c: char) -> bool {
    matches!(c, '.' | '。' | '!' | '！' | '?' | '？')
}

fn is_closing(c: char) -> bool {
    matches!(c, '’' | '”')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_after_stops_and_quotes() {
        assert_eq!(sentences("a. b! c"), ["a.", " b!", " c"]);
        assert_eq!(sentences("a…… b"), ["a……", " b"]);
        assert_eq!(sentences("“a。”b"), ["“a。”", "b"]);
        assert_eq!(sentences("a...b"), ["a.", "..", "b"]);
    }
}
