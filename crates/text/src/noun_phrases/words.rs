//! Words of a sentence, as NLTK's `NLTKWordTokenizer` cuts them.

use fancy_regex::Regex;

use crate::is_space;

/// Cuts sentences into words and marks.
pub struct WordTokenizer {
    before: Vec<(Regex, &'static str)>,
    after: Vec<(Regex, &'static str)>,
}

/// Quotes that open, marks, brackets, dashes; in this order.
const BEFORE: &[(&str, &str)] = &[
    (r"([«“‘„]|[`]+)", " ${1} "),
    ("^\"", "``"),
    ("(``)", " ${1} "),
    (r#"([ \(\[{<])("|'{2})"#, "${1} `` "),
    (r"(?i)(?<!\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "${1} "),
    (r#"([^\.])(\.)([\]\)}>"'»”’ ]*+)\s*\z"#, "${1} ${2} ${3} "),
    (r"([:,])([^\d])", " ${1} ${2}"),
    (r"([:,])(?=\n?\z)", " ${1} "),
    (r"\.{2,}", " ${0} "),
    (r"[;@#$%&]", " ${0} "),
    (r"[\u{2012}-\u{2015}]", " ${0} "),
    (r#"([^\.])(\.)([\]\)}>"']*)\s*\z"#, "${1} ${2}${3} "),
    (r"[?!]", " ${0} "),
    (r"([^'])' ", "${1} ' "),
    (r"[*]", " ${0} "),
    (r"[\]\[\(\)\{\}<>]", " ${0} "),
    (r"--", " -- "),
];

/// Quotes that close, and contractions; in this order, in a sentence between spaces.
const AFTER: &[(&str, &str)] = &[
    (r"([»”’])", " ${1} "),
    (r"''", " '' "),
    ("\"", " '' "),
    (r"\s+", " "),
    (r"([^' ])('[sS]|'[mM]|'[dD]|') ", "${1} ${2} "),
    (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "${1} ${2} "),
    (r"(?i)\b(can)(not)\b", " ${1} ${2} "),
    (r"(?i)\b(d)('ye)\b", " ${1} ${2} "),
    (r"(?i)\b(gim)(me)\b", " ${1} ${2} "),
    (r"(?i)\b(gon)(na)\b", " ${1} ${2} "),
    (r"(?i)\b(got)(ta)\b", " ${1} ${2} "),
    (r"(?i)\b(lem)(me)\b", " ${1} ${2} "),
    (r"(?i)\b(more)('n)\b", " ${1} ${2} "),
    (r"(?i)\b(wan)(na)(?=\s)", " ${1} ${2} "),
    (r"(?i) ('t)(is)\b", " ${1} ${2} "),
    (r"(?i) ('t)(was)\b", " ${1} ${2} "),
];

impl WordTokenizer {
    /// The one that `word_tokenize` uses.
    #[must_use]
    pub fn new() -> Self {
        let compiled = |rules: &[(&str, &'static str)]| {
            let rules = rules.iter();
            // The tests compile all of them.
            rules
                .filter_map(|(pattern, to)| Some((Regex::new(pattern).ok()?, *to)))
                .collect()
        };
        Self {
            before: compiled(BEFORE),
            after: compiled(AFTER),
        }
    }

    /// The words of a sentence. One for which a pattern needs too many steps is cut by what the
    /// other patterns do.
    #[must_use]
    pub fn words(&self, sentence: &str) -> Vec<String> {
        let text = applied(&self.before, sentence.to_owned());
        let text = applied(&self.after, format!(" {text} "));
        text.split(is_space)
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

impl Default for WordTokenizer {
    fn default() -> Self {
        Self::new()
    }
}

fn applied(rules: &[(Regex, &'static str)], mut text: String) -> String {
    for (pattern, to) in rules {
        if let Ok(changed) = pattern.try_replacen(&text, 0, *to) {
            text = changed.into_owned();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        let words = WordTokenizer::new();
        assert_eq!(words.before.len(), BEFORE.len());
        assert_eq!(words.after.len(), AFTER.len());
    }
}
