//! Keys of 128 bits, written as rows come and read back when all are known, in as many passes as
//! the memory asks for: a pass looks at those keys only that fall to it.

use std::io;

use hashbrown::HashMap;

use super::{ExchangeError, Machine, Records, Resolution};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::{Counted, Tally};

/// What a key costs while it is looked at, in bytes: its slot in a map at the usual load, twice
/// while the map grows.
const RESIDENT: u64 = 72;

/// A record: whether there is a key, and the key.
const RECORD: usize = 17;

/// Decides among rows, each with the place of the first one that has the same key, if that is
/// another.
pub type ByFirsts = fn(&[u32], &[Option<u32>]) -> Resolution;

/// One key or none of each row, and who decides by them.
pub struct KeyRecords {
    keys: Digests,
    by_firsts: ByFirsts,
}

impl KeyRecords {
    /// The records `name`, as [`Digests::open`] has them.
    ///
    /// # Errors
    /// If their file cannot be opened.
    pub fn open(
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
        by_firsts: ByFirsts,
    ) -> io::Result<Box<dyn Records>> {
        let keys = Digests::open(workspace, name, budget)?;
        Ok(Box::new(Self { keys, by_firsts }))
    }
}

impl Records for KeyRecords {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        let key = record.and_then(|record| record.first_chunk().copied());
        self.keys.push(key.map(u128::from_le_bytes))
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.keys.sync(lengths)
    }

    fn decide(&mut self, alive: Vec<u32>, _: Machine<'_>) -> Result<Resolution, ExchangeError> {
        let firsts = self.keys.firsts(&alive)?;
        Ok((self.by_firsts)(&alive, &firsts))
    }
}

/// No row.
const NONE: u32 = u32::MAX;

/// Keys in the order in which they were written, some of them missing.
pub struct Digests {
    log: Log,
    budget: Option<u64>,
}

impl Digests {
    /// The keys `name`: none, or those that an earlier process made durable. About `budget` bytes
    /// of them are held in memory at once.
    ///
    /// # Errors
    /// If their file cannot be opened.
    pub fn open(workspace: &Workspace, name: &str, budget: Option<u64>) -> io::Result<Self> {
        Ok(Self {
            log: workspace.log(name)?,
            budget,
        })
    }

    /// Appends a key, or the lack of one.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, key: Option<u128>) -> io::Result<()> {
        let mut record = [0; RECORD];
        if let (Some(key), [flag, rest @ ..]) = (key, &mut record) {
            *flag = 1;
            rest.copy_from_slice(&key.to_le_bytes());
        }
        self.log.append(&record)
    }

    /// Makes the keys durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.sync(lengths)
    }

    /// For each of the `rows`, the place among them of the first one with the same key, if that is
    /// another. A row without a key is like no other. Four bytes a row stay resident.
    ///
    /// # Errors
    /// If the keys cannot be read back.
    pub fn firsts(&mut self, rows: &[u32]) -> io::Result<Vec<Option<u32>>> {
        let mut firsts = vec![NONE; rows.len()];
        let ascending = rows.is_sorted_by(|a, b| a < b);
        let passes = self.passes(rows.len() as u64);
        for pass in 0..passes {
            let mut seen: HashMap<u128, u32> = HashMap::new();
            let mut see = |place: u32, key: u128| {
                if key % passes == pass {
                    let first = *seen.entry(key).or_insert(place);
                    if let Some(slot) = firsts.get_mut(place as usize)
                        && first != place
                    {
                        *slot = first;
                    }
                }
            };
            if ascending {
                let mut wanted = rows.iter().zip(0..).peekable();
                let mut row = 0;
                each_record(&mut self.log.replay()?, |record| {
                    if let Some((_, place)) = wanted.next_if(|(wanted, _)| **wanted == row)
                        && let Some(key) = key_of(record)
                    {
                        see(place, key);
                    }
                    row += 1;
                })?;
            } else {
                self.log.flush()?;
                for (&row, place) in rows.iter().zip(0..) {
                    let mut record = [0; RECORD];
                    let at = u64::from(row) * RECORD as u64;
                    self.log.read_exact_at(&mut record, at)?;
                    if let Some(key) = key_of(record) {
                        see(place, key);
                    }
                }
            }
        }
        Ok(firsts
            .into_iter()
            .map(|first| (first != NONE).then_some(first))
            .collect())
    }

    /// The keys that were counted as often as `is_common` asks, when it is told how often, and how
    /// many records without a key there are; each with its count.
    ///
    /// # Errors
    /// If the keys cannot be read back.
    pub fn common(
        &mut self,
        counted: Counted,
        is_common: impl Fn(u64, u64) -> bool,
    ) -> io::Result<Vec<(u128, u64)>> {
        let mut common = Vec::new();
        let passes = self.passes(self.log.len() / RECORD as u64);
        for pass in 0..passes {
            let mut tally = Tally::new(counted);
            let mut without = 0;
            each_record(&mut self.log.replay()?, |record| match key_of(record) {
                Some(key) if counted.key(key) % passes == pass => tally.add(key),
                Some(_) => {}
                None => without += 1,
            })?;
            let counts = tally.into_counts();
            common.extend(counts.filter(|&(_, count)| is_common(count, without)));
        }
        Ok(common)
    }

    /// How many passes `keys` need at most.
    fn passes(&self, keys: u64) -> u128 {
        let once = self.budget.map_or(u64::MAX, |bytes| bytes / RESIDENT);
        u128::from(keys.div_ceil(once.max(1)).max(1))
    }
}

fn key_of([flag, key @ ..]: [u8; RECORD]) -> Option<u128> {
    (flag == 1).then(|| u128::from_le_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_budget_gives_the_same_answer(
            keys in proptest::collection::vec(proptest::option::of(0u128..20), 0..60),
            picks in proptest::collection::vec(0usize..60, 0..30),
            budget in 1u64..2000,
        ) {
            let workspace = Workspace::nameless(std::env::temp_dir());
            let mut digests = Digests::open(&workspace, "d", Some(budget)).unwrap();
            for key in &keys {
                digests.push(*key).unwrap();
            }
            let all: Vec<u32> = (0..).take(keys.len()).collect();
            let some: Vec<u32> = all.iter().copied().filter(|row| row % 3 > 0).collect();
            let mixed: Vec<u32> = picks.iter().filter_map(|&at| all.get(at).copied()).collect();
            for rows in [all, some, mixed] {
                let key = |row: &u32| keys[*row as usize];
                let plain: Vec<Option<u32>> = rows.iter().zip(0u32..).map(|(row, place)| {
                    let first = rows.iter().position(|other| key(other).is_some() && key(other) == key(row))?;
                    (u32::try_from(first) != Ok(place)).then_some(u32::try_from(first).unwrap())
                }).collect();
                proptest::prop_assert_eq!(digests.firsts(&rows).unwrap(), plain);
            }
            let common = digests.common(Counted::Rows, |count, without| count > without / 4).unwrap();
            let mut common: Vec<u128> = common.into_iter().map(|(key, _)| key).collect();
            common.sort_unstable();
            let without = keys.iter().filter(|key| key.is_none()).count() as u64;
            let plain: Vec<u128> = (0..20).filter(|wanted| {
                let count = keys.iter().filter(|key| **key == Some(*wanted)).count() as u64;
                count > 0 && count > without / 4
            }).collect();
            proptest::prop_assert_eq!(common, plain);
        }
    }
}
