//! N-gram language models as KenLM reads them: ARPA text, and its binary files with hash tables or
//! tries, quantised or not.
//!
//! Files are not trusted: every size is checked before anything is looked up, and a lookup that
//! leaves the file finds nothing. Scores are summed in single precision and in KenLM's order, so that
//! they are equal to the last bit.

mod arpa;
mod binary;
mod probing;
mod trie;

use std::collections::HashMap;
use std::fmt;

/// Most words of an n-gram.
const MAX_ORDER: usize = 16;

/// Why a model file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KenLmError(String);

impl fmt::Display for KenLmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KenLmError {}

/// A model that is ready to score.
#[derive(Debug)]
pub struct KenLm {
    order: usize,
    /// The number of each word, by the hash of its text; 0 is the unknown word.
    words: HashMap<u64, u32>,
    begin: u32,
    end: u32,
    search: Search,
}

#[derive(Debug)]
enum Search {
    Arpa(arpa::Tables),
    Probing(probing::Tables),
    Trie(trie::Trie),
}

/// What a model says of an n-gram: logarithms to the base of 10.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Weights {
    probability: f32,
    backoff: f32,
}

/// Where the n-grams that extend one to the left are found.
#[derive(Debug, Clone, Copy)]
enum Node {
    /// By the hash of what was matched so far.
    Hash(u64),
    /// In a range of the next order.
    Range(u64, u64),
}

/// The words that the next one depends on, the last one first, and how far backing off from as many
/// of them costs.
#[derive(Debug, Default)]
struct State {
    words: Vec<u32>,
    backoffs: Vec<f32>,
}

impl KenLm {
    /// Reads a model file of either kind.
    ///
    /// # Errors
    /// If it is no such file, of a kind that is not read here, or damaged.
    pub fn parse(file: Vec<u8>) -> Result<Self, KenLmError> {
        if file.starts_with(binary::MAGIC) {
            return binary::read(file);
        }
        arpa::read(&file)
    }

    fn new(order: usize, words: HashMap<u64, u32>, search: Search) -> Result<Self, KenLmError> {
        let marker = |text: &str| {
            let word = words.get(&word_hash(text.as_bytes())).copied();
            word.ok_or_else(|| error(format!("it does not know the word {text}")))
        };
        Ok(Self {
            order,
            begin: marker("<s>")?,
            end: marker("</s>")?,
            words,
            search,
        })
    }

    /// The logarithm (to the base of 10) of the probability of a sentence, with its begin and end.
    #[must_use]
    pub fn score(&self, sentence: &str) -> f32 {
        let text = sentence.split('\0').next().unwrap_or_default();
        let words = text.split(|c: char| matches!(c, '\t'..='\r' | ' '));
        let words = words.filter(|word| !word.is_empty()).map(|word| {
            let word = self.words.get(&word_hash(word.as_bytes()));
            word.copied().unwrap_or(0)
        });
        let mut state = State {
            words: vec![self.begin],
            backoffs: vec![
                self.unigram(self.begin)
                    .map_or(0.0, |(found, _)| found.backoff),
            ],
        };
        let mut sum = 0.0;
        for word in words.chain([self.end]) {
            let (score, next) = self.step(&state, word);
            sum += score;
            state = next;
        }
        sum
    }

    /// The score of one word behind others, and the state behind it.
    fn step(&self, state: &State, word: u32) -> (f32, State) {
        let mut next = State::default();
        let Some((mut found, mut node)) = self.unigram(word) else {
            return (0.0, next);
        };
        next.words.push(word);
        next.backoffs.push(found.backoff);
        let mut matched = 1;
        for &left in &state.words {
            let order = matched + 1;
            if order == self.order {
                if let Some(probability) = self.longest(left, node) {
                    found.probability = probability;
                    matched = order;
                }
                break;
            }
            let Some((more, further)) = self.middle(order, left, node) else {
                break;
            };
            (found, node, matched) = (more, further, order);
            next.words.push(left);
            next.backoffs.push(found.backoff);
        }
        let unmatched = state.backoffs.iter().skip(matched - 1);
        let score = unmatched.fold(found.probability, |score, backoff| score + backoff);
        (score, next)
    }

    fn unigram(&self, word: u32) -> Option<(Weights, Node)> {
        match &self.search {
            Search::Arpa(tables) => tables.unigram(word),
            Search::Probing(tables) => tables.unigram(word),
            Search::Trie(trie) => trie.unigram(word),
        }
    }

    fn middle(&self, order: usize, word: u32, node: Node) -> Option<(Weights, Node)> {
        match (&self.search, node) {
            (Search::Arpa(tables), Node::Hash(hash)) => tables.middle(order, word, hash),
            (Search::Probing(tables), Node::Hash(hash)) => tables.middle(order, word, hash),
            (Search::Trie(trie), Node::Range(from, to)) => trie.middle(order, word, from, to),
            _ => None,
        }
    }

    fn longest(&self, word: u32, node: Node) -> Option<f32> {
        match (&self.search, node) {
            (Search::Arpa(tables), Node::Hash(hash)) => tables.longest(word, hash),
            (Search::Probing(tables), Node::Hash(hash)) => tables.longest(word, hash),
            (Search::Trie(trie), Node::Range(from, to)) => trie.longest(word, from, to),
            _ => None,
        }
    }
}

/// The perplexity of lines of words: ten to the negated mean score of a word, line ends included,
/// rounded to one decimal; 0 without lines. `None` if it is too large to be a number.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a text has fewer than 2^53 words"
)]
pub fn perplexity(model: &KenLm, text: &str) -> Option<f64> {
    let mut sum = 0.0;
    let mut length = 0_usize;
    for line in djr_python::lines(text) {
        sum += f64::from(model.score(line));
        let words = line
            .split(djr_python::is_space)
            .filter(|word| !word.is_empty());
        length += words.count() + 1;
    }
    if length == 0 {
        return Some(0.0);
    }
    let perplexity = 10.0_f64.powf(-sum / length as f64);
    // Both Python and Rust round the exact value, halves to even.
    let rounded = format!("{perplexity:.1}").parse().ok();
    rounded.filter(|value: &f64| value.is_finite())
}

/// The hash of an n-gram from the hash of its last words and the word to their left.
fn combine(hash: u64, word: u32) -> u64 {
    hash.wrapping_mul(8_978_948_897_894_561_157)
        ^ (1 + u64::from(word)).wrapping_mul(17_894_857_484_156_487_943)
}

/// The hash of a word's text: `MurmurHash64A` with the seed 0.
fn word_hash(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = (text.len() as u64).wrapping_mul(FACTOR);
    let (eights, rest) = text.as_chunks::<8>();
    for eight in eights {
        let part = u64::from_le_bytes(*eight).wrapping_mul(FACTOR);
        let part = (part ^ part >> 47).wrapping_mul(FACTOR);
        hash = (hash ^ part).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let bytes = rest.iter().rev();
        let part = bytes.fold(0, |part: u64, &byte| part << 8 | u64::from(byte));
        hash = (hash ^ part).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}

fn error(message: impl Into<String>) -> KenLmError {
    KenLmError(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences with their scores by KenLM 0.3.0.
    const SCORES: [(&str, f64); 9] = [
        ("", -0.949_999_988_079_071),
        ("a", -1.049_999_952_316_284_2),
        ("a b a", -1.0),
        ("b über b a", -3.200_000_047_683_716),
        ("x a b", -4.349_999_904_632_568),
        ("a x über x y", -7.450_000_286_102_295),
        ("b b b", -5.150_000_095_367_432),
        ("<s> a b a", -100.250_007_629_394_53),
        ("über b über b\u{b}b", -6.525_000_095_367_432),
    ];

    const KINDS: [&str; 6] = [
        "tiny.arpa",
        "probing.bin",
        "trie.bin",
        "trie_quantised.bin",
        "trie_arrays.bin",
        "trie_both.bin",
    ];

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("../../fixtures/models/kenlm/{name}")).unwrap()
    }

    #[test]
    fn files_of_every_kind_score_alike() {
        for name in KINDS {
            let model = KenLm::parse(file(name)).unwrap();
            for (sentence, score) in SCORES {
                let found = f64::from(model.score(sentence));
                assert!(
                    (found - score).abs() < 1e-12,
                    "{name}: {sentence}: {found} {score}"
                );
            }
        }
    }

    #[test]
    fn perplexities_are_rounded_to_one_decimal() {
        let model = KenLm::parse(file("tiny.arpa")).unwrap();
        assert_eq!(perplexity(&model, ""), Some(0.0));
        assert_eq!(perplexity(&model, "a"), Some(3.3));
        assert_eq!(perplexity(&model, "a\u{2028}a b a\r\n"), Some(2.2));
        assert_eq!(format!("{:.1}", 0.25), "0.2");
    }

    #[test]
    fn damaged_files_are_refused() {
        for name in KINDS {
            let sound = file(name);
            for end in (0..sound.len()).step_by(7) {
                if let Ok(model) = KenLm::parse(sound[..end].to_vec()) {
                    assert!(end + 64 > sound.len(), "{name} cut at {end}");
                    let _ = model.score("a b a über");
                }
            }
            for at in 0..sound.len() {
                let mut file = sound.clone();
                file[at] ^= 0x83;
                if let Ok(model) = KenLm::parse(file) {
                    let _ = model.score("a b a über b");
                }
            }
        }
    }

    #[test]
    fn problems_of_an_arpa_file_name_the_line() {
        let sound = String::from_utf8(file("tiny.arpa")).unwrap();
        for (from, to, expected) in [
            (
                "\\data\\",
                "data",
                "neither an ARPA file nor a KenLM binary",
            ),
            ("ngram 2=6", "ngram 3=6", "line 3: ngram 2=… is expected"),
            ("ngram 2=6", "ngram 2=5", "there are more than 5 2-grams"),
            ("ngram 2=6", "ngram 2=7", "a number is expected first"),
            ("-0.9\ta", "0.9\ta", "is positive"),
            ("-0.9\ta\t-0.5", "-0.9\ta\tx", "the backoff is not a number"),
            ("-0.3\t<s> a b", "-0.3\ta a b", "without its last word"),
            ("\\end\\", "", "\\end\\ is expected"),
            ("</s>\n", "end\n", "does not know the word </s>"),
        ] {
            let problem = KenLm::parse(sound.replace(from, to).into_bytes()).unwrap_err();
            assert!(
                problem.to_string().contains(expected),
                "{from} {to}: {problem}"
            );
        }
    }
}
