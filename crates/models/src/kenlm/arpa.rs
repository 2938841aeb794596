//! ARPA files: n-grams as text, order by order.

use std::collections::HashMap;

use super::{KenLm, KenLmError, MAX_ORDER, Node, Search, Weights, combine, error, word_hash};

/// What an unknown word costs if the file does not say it.
const UNKNOWN: f32 = -100.0;

/// The n-grams of a file.
#[derive(Debug, Default)]
pub(super) struct Tables {
    unigrams: Vec<Weights>,
    /// Those of two words and more, by hash, an order each.
    longer: Vec<HashMap<u64, Weights>>,
}

impl Tables {
    pub(super) fn unigram(&self, word: u32) -> Option<(Weights, Node)> {
        let found = self.unigrams.get(word as usize)?;
        Some((*found, Node::Hash(u64::from(word))))
    }

    pub(super) fn middle(&self, order: usize, word: u32, hash: u64) -> Option<(Weights, Node)> {
        let hash = combine(hash, word);
        let found = self.longer.get(order.checked_sub(2)?)?.get(&hash)?;
        Some((*found, Node::Hash(hash)))
    }

    pub(super) fn longest(&self, word: u32, hash: u64) -> Option<f32> {
        let found = self.longer.last()?.get(&combine(hash, word))?;
        Some(found.probability)
    }

    /// What is known of an n-gram, its first word first.
    fn find(&self, words: &[u32]) -> Option<Weights> {
        match words {
            [word] => self.unigrams.get(*word as usize).copied(),
            _ => self
                .longer
                .get(words.len().checked_sub(2)?)?
                .get(&hash(words))
                .copied(),
        }
    }

    /// Adds an n-gram. The shorter ones that it ends with must be found on the way to it: where the
    /// file lacks one, it gets the score that backing off gives.
    fn add(&mut self, words: &[u32], weights: Weights) {
        for length in 2..words.len() {
            let (_, ending) = words.split_at(words.len() - length);
            if self.find(ending).is_some() {
                continue;
            }
            let (shorter, context) = (ending.get(1..), ending.split_last());
            let probability = shorter.and_then(|shorter| self.find(shorter));
            let backoff = context.and_then(|(_, context)| self.find(context));
            let blank = Weights {
                probability: probability.map_or(0.0, |found| found.probability)
                    + backoff.map_or(0.0, |found| found.backoff),
                backoff: 0.0,
            };
            if let Some(table) = self.longer.get_mut(length - 2) {
                table.insert(hash(ending), blank);
            }
        }
        if let Some(table) = self.longer.get_mut(words.len() - 2) {
            table.insert(hash(words), weights);
        }
    }
}

/// The hash that an n-gram is kept under: from its last word to its first.
fn hash(words: &[u32]) -> u64 {
    let mut words = words.iter().rev();
    let last = words.next().map_or(0, |&word| u64::from(word));
    words.fold(last, |hash, &word| combine(hash, word))
}

pub(super) fn read(file: &[u8]) -> Result<KenLm, KenLmError> {
    let mut lines = Lines {
        rest: file,
        number: 0,
    };
    let first = loop {
        let line = lines.next_line().ok_or_else(|| error("it is empty"))?;
        if !(line.trim_ascii().is_empty() || line.starts_with(b"#")) {
            break line;
        }
    };
    if first != b"\\data\\" {
        return Err(error("it is neither an ARPA file nor a KenLM binary"));
    }
    let counts = counts(&mut lines)?;
    let mut words = HashMap::new();
    let mut tables = Tables {
        unigrams: vec![Weights {
            probability: UNKNOWN,
            backoff: 0.0,
        }],
        longer: Vec::new(),
    };
    for (order, &count) in (1..).zip(&counts) {
        let header = lines.next_full().unwrap_or_default();
        if header != format!("\\{order}-grams:").as_bytes() {
            return Err(lines.error(&format!("\\{order}-grams: is expected")));
        }
        if order > 1 {
            tables.longer.push(HashMap::new());
        }
        for _ in 0..count {
            let line = lines.next_line().unwrap_or_default();
            let (weights, texts) =
                entry(line, order, order == counts.len()).map_err(|what| lines.error(&what))?;
            if let ([text], 1) = (texts.as_slice(), order) {
                if matches!(*text, b"<unk>" | b"<UNK>") {
                    if let Some(unknown) = tables.unigrams.first_mut() {
                        *unknown = weights;
                    }
                    continue;
                }
                let number = u32::try_from(tables.unigrams.len()).unwrap_or(u32::MAX);
                words.insert(word_hash(text), number);
                tables.unigrams.push(weights);
                continue;
            }
            let numbers: Vec<u32> = texts
                .iter()
                .map(|text| words.get(&word_hash(text)).copied().unwrap_or(0))
                .collect();
            let known = numbers
                .split_last()
                .and_then(|(_, context)| tables.find(context));
            if known.is_none() {
                return Err(lines.error("the n-gram without its last word is not listed"));
            }
            tables.add(&numbers, weights);
        }
        if lines
            .next_line()
            .is_some_and(|line| !line.trim_ascii().is_empty())
        {
            return Err(lines.error(&format!("there are more than {count} {order}-grams")));
        }
    }
    if lines.next_full() != Some(b"\\end\\") {
        return Err(lines.error("\\end\\ is expected"));
    }
    KenLm::new(counts.len(), words, Search::Arpa(tables))
}

/// The declared numbers of n-grams, order by order.
fn counts(lines: &mut Lines) -> Result<Vec<u64>, KenLmError> {
    let mut counts = Vec::new();
    loop {
        let line = lines.next_line().unwrap_or_default();
        if line.trim_ascii().is_empty() {
            break;
        }
        let order = counts.len() + 1;
        let count = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.strip_prefix("ngram ")?.split_once('='))
            .filter(|(named, _)| named.trim().parse() == Ok(order))
            .and_then(|(_, count)| count.trim().parse().ok());
        counts.push(count.ok_or_else(|| lines.error(&format!("ngram {order}=… is expected")))?);
    }
    if (2..=MAX_ORDER).contains(&counts.len()) {
        Ok(counts)
    } else {
        let orders = counts.len();
        Err(error(format!(
            "it has {orders} orders of n-grams, not 2 to {MAX_ORDER}"
        )))
    }
}

/// One n-gram: its weights and its words.
fn entry(line: &[u8], order: usize, longest: bool) -> Result<(Weights, Vec<&[u8]>), String> {
    let mut parts = line
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|part| !part.is_empty());
    let number = |part: Option<&[u8]>| {
        let text = std::str::from_utf8(part?).ok()?;
        text.parse::<f32>().ok().filter(|number| number.is_finite())
    };
    let probability = number(parts.next()).ok_or("a number is expected first")?;
    if probability > 0.0 {
        return Err(format!(
            "the logarithm {probability} of a probability is positive"
        ));
    }
    let texts: Vec<&[u8]> = parts.by_ref().take(order).collect();
    if texts.len() < order {
        return Err(format!("{order} words are expected"));
    }
    let backoff = match parts.next() {
        None => 0.0,
        Some(_) if longest => return Err("the longest n-grams have no backoff".into()),
        Some(part) => number(Some(part)).ok_or("the backoff is not a number")?,
    };
    if parts.next().is_some() {
        return Err(format!("there are more than {order} words"));
    }
    let weights = Weights {
        probability,
        backoff,
    };
    Ok((weights, texts))
}

struct Lines<'a> {
    rest: &'a [u8],
    number: u64,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        self.number += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The next line that is not empty.
    fn next_full(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.next_line()?;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }

    fn error(&self, what: &str) -> KenLmError {
        error(format!("line {}: {what}", self.number))
    }
}
