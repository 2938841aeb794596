//! Binary files that keep n-grams in a trie of packed bits, searched where it lies. An n-gram is
//! found from its last word to its first.

use std::collections::HashMap;
use std::ops::Range;

use super::binary::{Bytes, Header, Sections};
use super::{KenLm, KenLmError, Node, Search, Weights, error};

/// Bytes of a unigram: its weights, and where the bigrams that end with it start.
const UNIGRAM: u64 = 16;

/// The trie of a file.
#[derive(Debug)]
pub(super) struct Trie {
    bytes: Bytes,
    unigrams: Range<usize>,
    middles: Vec<Level>,
    longest: Level,
}

/// The n-grams of one order, in packed bits: a word, weights, and where the longer ones start.
#[derive(Debug)]
struct Level {
    /// The byte that the first entry starts at.
    start: usize,
    word_bits: u32,
    weight_bits: u32,
    next_bits: u32,
    weights: Coding,
    /// For each value of the upper bits of starts, the first entry that has it; empty if all bits lie
    /// in the entries.
    upper: Vec<u64>,
}

/// How weights are written.
#[derive(Debug)]
enum Coding {
    /// As floats, the sign of the probability left out.
    Plain,
    /// As places in tables.
    Quantised {
        probabilities: Vec<f32>,
        backoffs: Vec<f32>,
        probability_bits: u32,
        backoff_bits: u32,
    },
}

pub(super) fn read(
    bytes: Bytes,
    header: &Header,
    sections: &mut Sections,
) -> Result<KenLm, KenLmError> {
    let order = header.order();
    let (quantised, arrays) = (header.kind % 2 == 1, header.kind >= 4);
    let words = vocabulary(&bytes, header, sections)?;
    let mut codings = if quantised {
        codings(&bytes, order, sections)?
    } else {
        Vec::new()
    };
    let unigrams = header.count(1).checked_add(2);
    let unigrams = sections.take(unigrams.and_then(|count| count.checked_mul(UNIGRAM)))?;
    // How many bits of starts arrays may take over is said once, in the first of them.
    let most = bytes.int(sections.start()).filter(|_| arrays && order > 2);
    if most.is_some_and(|most| most & 0xff != 0) {
        return Err(error("its arrays are of another version than 0"));
    }
    let most = most.map_or(0, |most| most >> 8 & 0xff);
    codings.reverse();
    let mut levels = Vec::new();
    for n in 2..=order {
        let coding = codings.pop().unwrap_or(Coding::Plain);
        let level = if n < order {
            Level::middle(&bytes, header, n, coding, arrays.then_some(most), sections)?
        } else {
            Level::longest(header, n, coding, sections)?
        };
        levels.push(level);
    }
    let longest = levels.pop().ok_or_else(|| error("it has no n-grams"))?;
    let trie = Trie {
        bytes,
        unigrams,
        middles: levels,
        longest,
    };
    KenLm::new(order, words, Search::Trie(trie))
}

/// Words are numbered by the order of their hashes, from 1.
fn vocabulary(
    bytes: &Bytes,
    header: &Header,
    sections: &mut Sections,
) -> Result<HashMap<u64, u32>, KenLmError> {
    let size = header.count(1).checked_add(1);
    let place = sections.take(size.and_then(|count| count.checked_mul(8)))?;
    let count = bytes.long(place.start).unwrap_or(0);
    let mut words = HashMap::new();
    for (at, number) in place.step_by(8).skip(1).zip(1..) {
        match bytes.long(at) {
            Some(hash) if u64::from(number) <= count => words.insert(hash, number),
            _ => break,
        };
    }
    Ok(words)
}

/// The tables of quantised weights, order by order from 2.
fn codings(
    bytes: &Bytes,
    order: usize,
    sections: &mut Sections,
) -> Result<Vec<Coding>, KenLmError> {
    let head = sections.take(Some(8))?;
    let [version, probability_bits, backoff_bits, _] =
        bytes.int(head.start).unwrap_or(0).to_le_bytes();
    let valid = 1..=25;
    if version != 2 || !valid.contains(&probability_bits) || !valid.contains(&backoff_bits) {
        return Err(error("its quantisation is of an unknown kind"));
    }
    let mut table = |bits: u8| -> Result<Vec<f32>, KenLmError> {
        let place = sections.take(Some(4 << bits))?;
        Ok(place.step_by(4).filter_map(|at| bytes.float(at)).collect())
    };
    (2..=order)
        .map(|n| {
            let probabilities = table(probability_bits)?;
            let with_backoff = n < order;
            let backoffs = if with_backoff {
                table(backoff_bits)?
            } else {
                Vec::new()
            };
            Ok(Coding::Quantised {
                probabilities,
                backoffs,
                probability_bits: u32::from(probability_bits),
                backoff_bits: if with_backoff {
                    u32::from(backoff_bits)
                } else {
                    0
                },
            })
        })
        .collect()
}

/// How many bits a number up to `max` takes.
fn required_bits(max: u64) -> u32 {
    64 - max.leading_zeros()
}

impl Level {
    fn longest(
        header: &Header,
        n: usize,
        weights: Coding,
        sections: &mut Sections,
    ) -> Result<Self, KenLmError> {
        let word_bits = required_bits(header.count(1));
        let weight_bits = match &weights {
            Coding::Plain => 31,
            Coding::Quantised {
                probability_bits, ..
            } => *probability_bits,
        };
        let size = packed(header.count(n), word_bits + weight_bits);
        Ok(Self {
            start: sections.take(size)?.start,
            word_bits,
            weight_bits,
            next_bits: 0,
            weights,
            upper: Vec::new(),
        })
    }

    fn middle(
        bytes: &Bytes,
        header: &Header,
        n: usize,
        weights: Coding,
        arrays: Option<u32>,
        sections: &mut Sections,
    ) -> Result<Self, KenLmError> {
        let entries = header.count(n);
        let longer = header.count(n + 1);
        let word_bits = required_bits(header.count(1));
        let weight_bits = match &weights {
            Coding::Plain => 63,
            Coding::Quantised {
                probability_bits,
                backoff_bits,
                ..
            } => probability_bits + backoff_bits,
        };
        let mut next_bits = required_bits(longer);
        if word_bits > 57 || next_bits > 57 || required_bits(entries) > 57 {
            return Err(error("its counts are impossible"));
        }
        let mut upper = Vec::new();
        if let Some(most) = arrays {
            next_bits -= chopped(entries + 1, longer, most);
            let count = (longer >> next_bits) + 1;
            let place =
                sections.take(count.checked_mul(8).and_then(|size| size.checked_add(15)))?;
            let first = place.start.next_multiple_of(8) + 8;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            upper = (0..count)
                .filter_map(|i| bytes.long(first + 8 * i))
                .collect();
        }
        let size = packed(entries, word_bits + weight_bits + next_bits);
        Ok(Self {
            start: sections.take(size)?.start,
            word_bits,
            weight_bits,
            next_bits,
            weights,
            upper,
        })
    }

    fn entry_bits(&self) -> u64 {
        u64::from(self.word_bits + self.weight_bits + self.next_bits)
    }

    /// The entry of a word among those from `from` up to `to`, which are sorted by word.
    fn find(&self, bytes: &Bytes, word: u32, from: u64, to: u64) -> Option<u64> {
        let (mut low, mut high) = (from, to);
        while low < high {
            let middle = low + (high - low) / 2;
            let bit = middle.checked_mul(self.entry_bits())?;
            let found = bytes.bits(self.start, bit, self.word_bits)?;
            match found.cmp(&u64::from(word)) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    #[expect(clippy::cast_possible_truncation, reason = "the bits are masked")]
    fn weights(&self, bytes: &Bytes, entry: u64) -> Option<Weights> {
        let bit = entry * self.entry_bits() + u64::from(self.word_bits);
        let read = |skip: u32, width: u32| bytes.bits(self.start, bit + u64::from(skip), width);
        let (probability, backoff) = match &self.weights {
            Coding::Plain => {
                let probability = f32::from_bits(read(0, 31)? as u32 | 1 << 31);
                let backoff = if self.weight_bits > 31 {
                    read(31, 32)?
                } else {
                    0
                };
                (probability, f32::from_bits(backoff as u32))
            }
            Coding::Quantised {
                probabilities,
                backoffs,
                probability_bits,
                backoff_bits,
            } => {
                let probability = read(*backoff_bits, *probability_bits)?;
                let backoff = read(0, *backoff_bits)?;
                let backoff = backoffs.get(backoff as usize).copied();
                (
                    *probabilities.get(probability as usize)?,
                    backoff.unwrap_or(0.0),
                )
            }
        };
        Some(Weights {
            probability,
            backoff,
        })
    }

    /// The longer n-grams that an entry leads to.
    fn next(&self, bytes: &Bytes, entry: u64) -> Option<Node> {
        let inline = u64::from(self.word_bits + self.weight_bits);
        let start = |entry: u64| {
            let bit = entry.checked_mul(self.entry_bits())?.checked_add(inline)?;
            let lower = bytes.bits(self.start, bit, self.next_bits)?;
            let upper = self.upper.partition_point(|first| *first <= entry);
            Some((upper.saturating_sub(1) as u64) << self.next_bits | lower)
        };
        Some(Node::Range(start(entry)?, start(entry.checked_add(1)?)?))
    }
}

/// Bytes of packed entries: one more for the last end, and eight so that reading stays inside.
fn packed(entries: u64, bits: u32) -> Option<u64> {
    let bits = entries.checked_add(1)?.checked_mul(u64::from(bits))?;
    bits.checked_add(7)?.checked_div(8)?.checked_add(8)
}

/// How many upper bits of starts are best kept in an array, whose places take 64 bits each.
fn chopped(entries: u64, longer: u64, most: u32) -> u32 {
    let required = required_bits(longer);
    let change = |chop: u32| {
        let array = i128::from(longer >> (required - chop)) * 64;
        array - i128::from(entries) * i128::from(chop)
    };
    (0..=required.min(most))
        .min_by_key(|&chop| (change(chop), chop))
        .unwrap_or(0)
}

impl Trie {
    pub(super) fn unigram(&self, word: u32) -> Option<(Weights, Node)> {
        let at = self.unigrams.start.checked_add(word as usize * 16)?;
        let next = self
            .bytes
            .long(at + 24)
            .filter(|_| at + 32 <= self.unigrams.end)?;
        let found = Weights {
            probability: self.bytes.float(at)?,
            backoff: self.bytes.float(at + 4)?,
        };
        Some((found, Node::Range(self.bytes.long(at + 8)?, next)))
    }

    pub(super) fn middle(
        &self,
        order: usize,
        word: u32,
        from: u64,
        to: u64,
    ) -> Option<(Weights, Node)> {
        let level = self.middles.get(order.checked_sub(2)?)?;
        let entry = level.find(&self.bytes, word, from, to)?;
        let found = level.weights(&self.bytes, entry)?;
        Some((found, level.next(&self.bytes, entry)?))
    }

    pub(super) fn longest(&self, word: u32, from: u64, to: u64) -> Option<f32> {
        let entry = self.longest.find(&self.bytes, word, from, to)?;
        Some(self.longest.weights(&self.bytes, entry)?.probability)
    }
}
