//! The noun phrases of English captions, as Data-Juicer finds them with NLTK: sentences by Punkt,
//! words by NLTK's tokenizer, parts of speech by its averaged perceptron, and phrases by the
//! pattern `NP: {<DT>?<JJ.*>*<NN.*>+}`.

mod tagger;
mod words;

pub use tagger::{Tagger, TaggerError};
pub use words::WordTokenizer;

use crate::punkt::Punkt;
use crate::{lower, strip};

/// Finds noun phrases.
pub struct NounPhrases {
    punkt: Punkt,
    words: WordTokenizer,
    tagger: Tagger,
}

/// What is taken out of a phrase.
const PUNCTUATION: &[char] = &[
    '|', ':', ';', '@', '(', ')', '[', ']', '{', '}', '^', '\'', '"', '’', '`', '?', '$', '%', '#',
    '!', '&', '*', '+', ',', '.',
];

impl NounPhrases {
    /// By these tables of sentences and these weights.
    #[must_use]
    pub fn new(punkt: Punkt, tagger: Tagger) -> Self {
        Self {
            punkt,
            words: WordTokenizer::new(),
            tagger,
        }
    }

    /// The phrases of a caption, each once, in the order of their characters: Data-Juicer's order
    /// is that of a set, which differs from run to run.
    #[must_use]
    pub fn of(&self, caption: &str) -> Vec<String> {
        let caption = lower(caption);
        let sentences = self.punkt.sentences(&caption);
        let words: Vec<String> = sentences
            .into_iter()
            .flat_map(|sentence| self.words.words(sentence))
            .collect();
        let tags = self.tagger.tags(&words);
        let mut phrases: Vec<String> = chunks(&tags)
            .into_iter()
            .filter_map(|range| {
                let phrase = words.get(range)?.join(" ").replace(PUNCTUATION, "");
                Some(strip(&phrase).to_owned())
            })
            .filter(|phrase| !phrase.is_empty())
            .collect();
        phrases.sort();
        phrases.dedup();
        phrases
    }
}

/// Where the tags are an article that need not be there, adjectives, and nouns.
fn chunks(tags: &[&str]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < tags.len() {
        let run = |from: usize, begins: &str| {
            let rest = tags.get(from..).unwrap_or_default().iter();
            from + rest.take_while(|tag| tag.starts_with(begins)).count()
        };
        let article = usize::from(tags.get(start) == Some(&"DT"));
        let nouns = run(start + article, "JJ");
        let end = run(nouns, "NN");
        if end > nouns {
            found.push(start..end);
            start = end;
        } else {
            start += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_articles_adjectives_and_nouns() {
        let of = |tags: &[&str]| -> Vec<(usize, usize)> {
            let found = chunks(tags).into_iter();
            found.map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(
            of(&["DT", "JJ", "JJR", "NN", "NNS", "VBZ", "NN"]),
            [(0, 5), (6, 7)]
        );
        assert_eq!(of(&["DT", "DT", "NN"]), [(1, 3)]);
        assert_eq!(of(&["JJ", "JJ", "IN", "JJ", "NNP"]), [(3, 5)]);
        assert!(of(&["DT", "JJ", "VB"]).is_empty());
        assert_eq!(of(&["NN", "DT"]), [(0, 1)]);
    }

    /// What NLTK 3.10.4 finds with the tables of `fixtures/nltk_data`, lower case, sorted; recorded by
    /// `fixtures/noun_phrases.py`.
    #[test]
    fn phrases_are_those_of_nltk() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/nltk_data");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let table = |name: &str| read(&format!("tokenizers/punkt_tab/english/{name}"));
        let punkt = Punkt::parse(
            &table("abbrev_types.txt"),
            &table("collocations.tab"),
            &table("sent_starters.txt"),
            &table("ortho_context.tab"),
        );
        let part = |name: &str| {
            read(&format!(
                "taggers/averaged_perceptron_tagger_eng/averaged_perceptron_tagger_eng.{name}.json"
            ))
        };
        let tagger = Tagger::parse(&part("weights"), &part("tagdict"), &part("classes")).unwrap();
        let words = WordTokenizer::new();
        let phrases = NounPhrases::new(punkt.unwrap(), tagger);
        let lines = read("noun_phrases.jsonl");
        assert!(lines.lines().count() > 40);
        for line in lines.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["text"].as_str().unwrap();
            let cut: Vec<String> = phrases
                .punkt
                .sentences(text)
                .into_iter()
                .flat_map(|sentence| words.words(sentence))
                .collect();
            let tags = phrases.tagger.tags(&cut);
            assert_eq!(serde_json::json!(cut), case["words"], "{text}");
            assert_eq!(serde_json::json!(tags), case["tags"], "{text}");
            assert_eq!(
                serde_json::json!(phrases.of(text)),
                case["phrases"],
                "{text}"
            );
        }
    }
}
