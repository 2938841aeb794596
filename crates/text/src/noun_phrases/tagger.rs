//! Parts of speech by an averaged perceptron, as NLTK's `PerceptronTagger` finds them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::lower;

/// Weights of features, and words of one part of speech.
pub struct Tagger {
    /// Of each feature, the weight of each class, by its number.
    weights: HashMap<String, Vec<(usize, f64)>>,
    /// Words that have one tag.
    known: HashMap<String, String>,
    /// In the order of their characters: of equal scores the last wins.
    classes: Vec<String>,
}

/// Why files are no tagger.
#[derive(Debug)]
pub struct TaggerError(String);

impl fmt::Display for TaggerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TaggerError {}

impl Tagger {
    /// Reads the three JSON files of a tagger: weights by feature and class, tags of plain words,
    /// and the classes.
    ///
    /// # Errors
    /// If one is not what it should be.
    pub fn parse(weights: &str, known: &str, classes: &str) -> Result<Self, TaggerError> {
        let broken = |error: serde_json::Error| TaggerError(error.to_string());
        let weights: HashMap<String, HashMap<String, f64>> =
            serde_json::from_str(weights).map_err(broken)?;
        let known = serde_json::from_str(known).map_err(broken)?;
        let classes: HashSet<String> = serde_json::from_str(classes).map_err(broken)?;
        let mut classes: Vec<String> = classes.into_iter().collect();
        classes.sort();
        if classes.is_empty() {
            return Err(TaggerError("there are no classes".to_owned()));
        }
        let number: HashMap<&str, usize> = classes
            .iter()
            .enumerate()
            .map(|(number, class)| (class.as_str(), number))
            .collect();
        let weights = weights.into_iter().map(|(feature, of_class)| {
            let of_class = of_class.into_iter();
            let numbered =
                of_class.filter_map(|(class, weight)| Some((*number.get(class.as_str())?, weight)));
            (feature, numbered.collect())
        });
        Ok(Self {
            weights: weights.collect(),
            known,
            classes,
        })
    }

    /// The tag of each word.
    #[must_use]
    pub fn tags(&self, words: &[String]) -> Vec<&str> {
        let start = ["-START-", "-START2-"].map(str::to_owned);
        let end = ["-END-", "-END2-"].map(str::to_owned);
        let normal = words.iter().map(|word| normalize(word));
        let context: Vec<String> = start.into_iter().chain(normal).chain(end).collect();
        let (mut before, mut before2) = ("-START-", "-START2-");
        let mut tags = Vec::with_capacity(words.len());
        let windows = context.windows(5);
        for (word, window) in words.iter().zip(windows) {
            let tag = match self.known.get(word).filter(|tag| !tag.is_empty()) {
                Some(tag) => tag.as_str(),
                None => self.predict(&features(word, window, [before, before2])),
            };
            tags.push(tag);
            before2 = before;
            before = tag;
        }
        tags
    }

    /// Sums in the order of the features, as Python does.
    fn predict(&self, features: &[String]) -> &str {
        let mut scores = vec![0.0; self.classes.len()];
        for feature in features {
            for (class, weight) in self.weights.get(feature).into_iter().flatten() {
                if let Some(score) = scores.get_mut(*class) {
                    *score += weight;
                }
            }
        }
        let mut best = (f64::NEG_INFINITY, "");
        for (score, class) in scores.into_iter().zip(&self.classes) {
            if score >= best.0 {
                best = (score, class);
            }
        }
        best.1
    }
}

fn normalize(word: &str) -> String {
    let digit = |c: char| c.is_numeric() && !c.is_alphabetic();
    if word.contains('-') && !word.starts_with('-') {
        "!HYPHEN".to_owned()
    } else if word.chars().count() == 4 && word.chars().all(digit) {
        "!YEAR".to_owned()
    } else if word.starts_with(digit) {
        "!DIGITS".to_owned()
    } else {
        lower(word).into_owned()
    }
}

/// The last three characters.
fn suffix(word: &str) -> &str {
    let third = word.char_indices().rev().nth(2);
    word.get(third.map_or(0, |(at, _)| at)..)
        .unwrap_or_default()
}

/// What is known of a word: `window` are the normalised words around it, two on each side.
fn features(word: &str, window: &[String], [before, before2]: [&str; 2]) -> [String; 14] {
    let near = |at: usize| window.get(at).map_or("", String::as_str);
    let first = word.chars().next().map(String::from).unwrap_or_default();
    [
        "bias".to_owned(),
        format!("i suffix {}", suffix(word)),
        format!("i pref1 {first}"),
        format!("i-1 tag {before}"),
        format!("i-2 tag {before2}"),
        format!("i tag+i-2 tag {before} {before2}"),
        format!("i word {}", near(2)),
        format!("i-1 tag+i word {before} {}", near(2)),
        format!("i-1 word {}", near(1)),
        format!("i-1 suffix {}", suffix(near(1))),
        format!("i-2 word {}", near(0)),
        format!("i+1 word {}", near(3)),
        format!("i+1 suffix {}", suffix(near(3))),
        format!("i+2 word {}", near(4)),
    ]
}
