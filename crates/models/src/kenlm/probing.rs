//! Binary files that keep n-grams in hash tables with linear probing, searched where they lie.

use std::collections::HashMap;
use std::ops::Range;

use super::binary::{Bytes, Header, Sections};
use super::{KenLm, KenLmError, Node, Search, Weights, combine, error};

/// Bytes of an entry of the tables of words, of n-grams with a backoff, and of the longest.
const WORD: usize = 12;
const MIDDLE: usize = 16;
const LONGEST: usize = 12;
/// Bytes of a unigram.
const UNIGRAM: usize = 8;

/// The tables of a file.
#[derive(Debug)]
pub(super) struct Tables {
    bytes: Bytes,
    unigrams: Range<usize>,
    middles: Vec<Table>,
    longest: Table,
}

/// Entries that each start with a key; the key 0 stands for none.
#[derive(Debug)]
struct Table {
    place: Range<usize>,
    entry: usize,
}

impl Table {
    fn take(
        sections: &mut Sections,
        entries: u64,
        multiplier: f32,
        entry: usize,
    ) -> Result<Self, KenLmError> {
        let buckets = buckets(entries, multiplier);
        let size = buckets.and_then(|buckets| buckets.checked_mul(entry as u64));
        let place = sections.take(size)?;
        Ok(Self { place, entry })
    }

    /// Where the value of a key lies.
    fn find(&self, bytes: &Bytes, key: u64) -> Option<usize> {
        let buckets = self.place.len() / self.entry;
        let ideal = key.checked_rem(buckets as u64)?;
        let ideal = usize::try_from(ideal).ok()?;
        for bucket in (ideal..buckets).chain(0..ideal) {
            let at = self.place.start + bucket * self.entry;
            match bytes.long(at)? {
                found if found == key => return Some(at + 8),
                0 => return None,
                _ => {}
            }
        }
        None
    }
}

/// How many places a table of so many entries has; computed in single precision.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "as KenLM does; a cast of too large a float saturates"
)]
fn buckets(entries: u64, multiplier: f32) -> Option<u64> {
    let wanted = (multiplier * entries as f32) as u64;
    Some(entries.checked_add(1)?.max(wanted))
}

pub(super) fn read(
    bytes: Bytes,
    header: &Header,
    sections: &mut Sections,
) -> Result<KenLm, KenLmError> {
    let multiplier = header.multiplier;
    if multiplier.is_nan() || multiplier < 1.0 {
        return Err(error(format!(
            "its tables are said to be {multiplier} times too large"
        )));
    }
    let head = sections.take(Some(8))?;
    if bytes.int(head.start) != Some(0) {
        return Err(error("its table of words is of another version than 0"));
    }
    let table = Table::take(sections, header.count(1), multiplier, WORD)?;
    let mut words = HashMap::new();
    for at in table.place.step_by(WORD) {
        match (bytes.long(at), bytes.int(at + 8)) {
            (Some(key), Some(word)) if key != 0 => words.insert(key, word),
            _ => None,
        };
    }
    let unigrams = header.count(1).checked_add(1);
    let unigrams = unigrams.and_then(|count| count.checked_mul(UNIGRAM as u64));
    let unigrams = sections.take(unigrams)?;
    let middles = (2..header.order())
        .map(|order| Table::take(sections, header.count(order), multiplier, MIDDLE))
        .collect::<Result<_, _>>()?;
    let longest = header.count(header.order());
    let longest = Table::take(sections, longest, multiplier, LONGEST)?;
    let tables = Tables {
        bytes,
        unigrams,
        middles,
        longest,
    };
    KenLm::new(header.order(), words, Search::Probing(tables))
}

impl Tables {
    pub(super) fn unigram(&self, word: u32) -> Option<(Weights, Node)> {
        let at = self.unigrams.start + word as usize * UNIGRAM;
        let found = self.weights(at).filter(|_| at < self.unigrams.end)?;
        Some((found, Node::Hash(u64::from(word))))
    }

    pub(super) fn middle(&self, order: usize, word: u32, hash: u64) -> Option<(Weights, Node)> {
        let hash = combine(hash, word);
        let table = self.middles.get(order.checked_sub(2)?)?;
        let found = self.weights(table.find(&self.bytes, hash)?)?;
        Some((found, Node::Hash(hash)))
    }

    pub(super) fn longest(&self, word: u32, hash: u64) -> Option<f32> {
        let at = self.longest.find(&self.bytes, combine(hash, word))?;
        self.bytes.float(at).map(negative)
    }

    fn weights(&self, at: usize) -> Option<Weights> {
        Some(Weights {
            probability: negative(self.bytes.float(at)?),
            backoff: self.bytes.float(at + 4)?,
        })
    }
}

/// A logarithm of a probability: its sign says something else in these files.
fn negative(probability: f32) -> f32 {
    -probability.abs()
}
