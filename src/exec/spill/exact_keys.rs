//! Keys that exact deduplicators have seen, with the identity of the first row of each.
//!
//! They are in memory while they fit into their share of the budget (about 40 bytes each), then in
//! a hash table on disk.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};

/// What a key costs in memory, in bytes: its slot at the usual load of the map, twice while the
/// map grows.
const RESIDENT: usize = 72;

/// The keys of all exact deduplicators of a phase.
pub struct ExactKeys {
    firsts: Firsts,
    /// Keys to hold in memory.
    most: usize,
    directory: PathBuf,
    log: Option<Log>,
}

enum Firsts {
    /// Each key with the row that had it first.
    Memory(HashTable<(Key, u64)>),
    Disk(DiskTable),
}

/// Step and key.
type Key = (u32, [u64; 2]);

/// Rows and their keys, as columns: one entry a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyedRows {
    /// The offset of the row.
    offsets: Vec<u64>,
    /// Keys of all rows, by step.
    keys: Vec<(usize, u128)>,
    /// Where those of the row end.
    ends: Vec<usize>,
}

impl KeyedRows {
    /// Adds the row `offset` with its keys by step.
    pub fn push(&mut self, offset: u64, keys: &[(usize, u128)]) {
        self.offsets.push(offset);
        self.keys.extend_from_slice(keys);
        self.ends.push(self.keys.len());
    }

    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.offsets.len()
    }

    /// The offset of row `number`.
    #[must_use]
    pub fn offset(&self, number: usize) -> u64 {
        self.offsets.get(number).copied().unwrap_or_default()
    }

    /// The keys of row `number`.
    #[must_use]
    pub fn of(&self, number: usize) -> &[(usize, u128)] {
        let end = |at: usize| self.ends.get(at).copied();
        let start = number.checked_sub(1).and_then(end).unwrap_or(0);
        let keys = end(number).and_then(|end| self.keys.get(start..end));
        keys.unwrap_or_default()
    }
}

impl ExactKeys {
    /// No keys, or those that an earlier process made durable. At most `budget` bytes of them are
    /// held in memory.
    ///
    /// # Errors
    /// If the log cannot be opened.
    pub fn open(workspace: &Workspace, name: &str, budget: Option<u64>) -> io::Result<Self> {
        let most = budget.map_or(usize::MAX, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX) / RESIDENT
        });
        let mut keys = Self {
            firsts: Firsts::Memory(HashTable::new()),
            most,
            directory: workspace.directory().to_owned(),
            log: None,
        };
        if let Some(mut log) = workspace.log_if_kept(name)? {
            let mut outcome = Ok(());
            each_record(&mut log.replay()?, |record| {
                let (key, offset) = unpack(record);
                if outcome.is_ok() {
                    outcome = keys.claim(key, offset).map(drop);
                }
            })?;
            outcome?;
            keys.log = Some(log);
        }
        Ok(keys)
    }

    /// The identity of the first row that had `key` in `step`. If there is none, and `claim`, then
    /// the row `offset` is the first from now on.
    ///
    /// # Errors
    /// If the log or the table on disk fails.
    pub fn first(
        &mut self,
        step: usize,
        key: u128,
        offset: u64,
        claim: bool,
    ) -> io::Result<Option<u64>> {
        let key = key_of(step, key);
        if !claim {
            return Ok(match &self.firsts {
                Firsts::Memory(table) => find(table, &key),
                Firsts::Disk(table) => table.find(key)?.ok(),
            });
        }
        let found = self.claim(key, offset)?;
        if let (None, Some(log)) = (found, &mut self.log) {
            log.append(&pack(key, offset))?;
        }
        Ok(found)
    }

    /// Claims the keys of sound rows, those of a row by step, one after the other, up to the first
    /// that an earlier row has: of the rows `which`, the duplicates, with the step, and the identity
    /// of that row.
    ///
    /// # Errors
    /// As [`ExactKeys::first`].
    pub fn firsts(
        &mut self,
        rows: &KeyedRows,
        which: Range<usize>,
    ) -> io::Result<Vec<(usize, usize, u64)>> {
        let known = self.known(rows, &which);
        let mut duplicates = Vec::new();
        for (number, known) in which.zip(known) {
            let offset = rows.offsets.get(number).copied().unwrap_or_default();
            let first = match (known, rows.of(number)) {
                (Some(first), &[(step, _)]) => Some((step, first)),
                (_, keys) => self.claim_row(keys, offset)?,
            };
            duplicates.extend(first.map(|(step, first)| (number, step, first)));
        }
        Ok(duplicates)
    }

    /// Who had the first key of each row before all of them. Where it is in memory is no cache of
    /// the processor: looked for one after the other, with nothing to do between, many are waited
    /// for at once.
    fn known(&self, rows: &KeyedRows, which: &Range<usize>) -> Vec<Option<u64>> {
        let Firsts::Memory(table) = &self.firsts else {
            return vec![None; which.len()];
        };
        let known = which.clone().map(|number| {
            let &(step, key) = rows.of(number).first()?;
            find(table, &key_of(step, key))
        });
        known.collect()
    }

    fn claim_row(
        &mut self,
        keys: &[(usize, u128)],
        offset: u64,
    ) -> io::Result<Option<(usize, u64)>> {
        for &(step, key) in keys {
            if let Some(first) = self.first(step, key, offset, true)? {
                return Ok(Some((step, first)));
            }
        }
        Ok(None)
    }

    /// Enters the row `offset` for `key`, unless an earlier row has it: that one then.
    fn claim(&mut self, key: Key, offset: u64) -> io::Result<Option<u64>> {
        let table = match &mut self.firsts {
            Firsts::Disk(table) => return table.insert(key, offset),
            Firsts::Memory(table) => table,
        };
        match table.entry(hash(&key), |(known, _)| *known == key, |(key, _)| hash(key)) {
            Entry::Occupied(known) => return Ok(Some(known.get().1)),
            Entry::Vacant(free) => {
                free.insert((key, offset));
            }
        }
        if table.len() > self.most {
            let mut disk = DiskTable::create(&self.directory, table.len() as u64)?;
            for &(key, offset) in &*table {
                disk.insert(key, offset)?;
            }
            self.firsts = Firsts::Disk(disk);
        }
        Ok(None)
    }

    /// Makes the keys durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }
}

/// A hash table in a nameless file: open addressing, slots in a row are tried. A slot is step + 1
/// (0 is free), key and offset, and four bytes of nothing.
struct DiskTable {
    file: File,
    directory: PathBuf,
    slots: u64,
    used: u64,
}

const SLOT: usize = 32;

/// Slots read at a time.
const PROBE: usize = 16;

impl DiskTable {
    fn create(directory: &Path, keys: u64) -> io::Result<Self> {
        let slots = (keys * 4).next_power_of_two().max(1024);
        let file = tempfile::tempfile_in(directory)?;
        file.set_len(slots * SLOT as u64)?;
        Ok(Self {
            file,
            directory: directory.to_owned(),
            slots,
            used: 0,
        })
    }

    /// The offset entered for `key`, or the slot where it would be.
    fn find(&self, key: Key) -> io::Result<Result<u64, u64>> {
        let wanted = slot(key, 0);
        let mut at = xxh3_64(wanted.get(..20).unwrap_or_default()) & (self.slots - 1);
        let mut block = [0; SLOT * PROBE];
        loop {
            let count = (self.slots - at).min(PROBE as u64);
            let bytes = usize::try_from(count).unwrap_or(PROBE) * SLOT;
            let part = block.get_mut(..bytes).unwrap_or_default();
            self.file.read_exact_at(part, at * SLOT as u64)?;
            for (index, found) in (0..).zip(part.chunks_exact(SLOT)) {
                if found.get(..4) == Some(&[0; 4]) {
                    return Ok(Err(at + index));
                }
                if found.get(..20) == wanted.get(..20) {
                    let offset = found.get(20..28).and_then(|b| b.try_into().ok());
                    return Ok(Ok(u64::from_le_bytes(offset.unwrap_or_default())));
                }
            }
            at = (at + count) & (self.slots - 1);
        }
    }

    /// Enters `offset` for `key`, unless there is one: that one then.
    fn insert(&mut self, key: Key, offset: u64) -> io::Result<Option<u64>> {
        if self.used * 10 >= self.slots * 7 {
            self.grow()?;
        }
        match self.find(key)? {
            Ok(known) => Ok(Some(known)),
            Err(place) => {
                self.file
                    .write_all_at(&slot(key, offset), place * SLOT as u64)?;
                self.used += 1;
                Ok(None)
            }
        }
    }

    fn grow(&mut self) -> io::Result<()> {
        let mut larger = Self::create(&self.directory, self.slots / 2)?;
        let mut block = vec![0; SLOT * 4096];
        for start in (0..self.slots * SLOT as u64).step_by(SLOT * 4096) {
            let bytes = (self.slots * SLOT as u64 - start).min(block.len() as u64);
            let part = block
                .get_mut(..usize::try_from(bytes).unwrap_or(0))
                .unwrap_or_default();
            self.file.read_exact_at(part, start)?;
            for found in part.chunks_exact(SLOT) {
                let mut words = found.iter().copied();
                let step = number(&mut words, 4);
                if let Some(step) = step.checked_sub(1) {
                    let key = (
                        u32::try_from(step).unwrap_or(u32::MAX),
                        [number(&mut words, 8), number(&mut words, 8)],
                    );
                    let offset = number(&mut words, 8);
                    if let Err(place) = larger.find(key)? {
                        larger
                            .file
                            .write_all_at(&slot(key, offset), place * SLOT as u64)?;
                        larger.used += 1;
                    }
                }
            }
        }
        *self = larger;
        Ok(())
    }
}

fn slot((step, [low, high]): Key, offset: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    let (head, rest) = bytes.split_at_mut(4);
    head.copy_from_slice(&step.saturating_add(1).to_le_bytes());
    for (to, value) in rest.as_chunks_mut().0.iter_mut().zip([low, high, offset]) {
        *to = value.to_le_bytes();
    }
    bytes
}

fn key_of(step: usize, key: u128) -> Key {
    (u32::try_from(step).unwrap_or(u32::MAX), halves(key))
}

fn find(table: &HashTable<(Key, u64)>, key: &Key) -> Option<u64> {
    let found = table.find(hash(key), |(known, _)| known == key)?;
    Some(found.1)
}

/// Most keys are digests; those that are not are mixed well enough by one multiplication.
#[expect(clippy::cast_possible_truncation, reason = "both halves are folded")]
fn hash(&(step, [low, high]): &Key) -> u64 {
    let product = u128::from(low ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from(high ^ 0x243f_6a88_85a3_08d3 ^ u64::from(step) << 32);
    (product as u64) ^ ((product >> 64) as u64)
}

fn halves(key: u128) -> [u64; 2] {
    let low = key & u128::from(u64::MAX);
    [low, key >> 64].map(|half| u64::try_from(half).unwrap_or_default())
}

/// The next `bytes` of a little-endian number.
fn number(words: &mut impl Iterator<Item = u8>, bytes: u32) -> u64 {
    (0..bytes).fold(0, |value, i| {
        value | u64::from(words.next().unwrap_or(0)) << (8 * i)
    })
}

/// A record of the log: a slot without its padding.
const RECORD: usize = 28;

fn pack(key: Key, offset: u64) -> [u8; RECORD] {
    let slot = slot(key, offset);
    slot.first_chunk().copied().unwrap_or([0; RECORD])
}

fn unpack(record: [u8; RECORD]) -> (Key, u64) {
    let mut words = record.into_iter();
    let step = number(&mut words, 4).saturating_sub(1);
    let key = [number(&mut words, 8), number(&mut words, 8)];
    let offset = number(&mut words, 8);
    ((u32::try_from(step).unwrap_or(u32::MAX), key), offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::atomic::Keep;

    #[test]
    fn keys_survive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::default();
        let fresh = Workspace::kept(dir.path().into(), Lengths::new(), keep.clone());
        let mut keys = ExactKeys::open(&fresh, "keys", None).unwrap();
        assert_eq!(keys.first(3, 1 << 100, 7, false).unwrap(), None);
        assert_eq!(keys.first(3, 1 << 100, 8, true).unwrap(), None);
        assert_eq!(keys.first(3, 1 << 100, 9, true).unwrap(), Some(8));
        let mut lengths = Lengths::new();
        keys.sync(&mut lengths).unwrap();
        keys.first(4, 5, u64::MAX, true).unwrap();
        drop(keys);
        let resumed = Workspace::kept(dir.path().into(), lengths, keep);
        let mut keys = ExactKeys::open(&resumed, "keys", None).unwrap();
        assert_eq!(keys.first(3, 1 << 100, 9, true).unwrap(), Some(8));
        assert_eq!(keys.first(4, 5, 1, true).unwrap(), None, "was not durable");
    }

    #[test]
    fn rows_are_claimed_together_as_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::nameless(dir.path().into());
        let open = |budget| ExactKeys::open(&workspace, "keys", budget).unwrap();
        let mut keyed = KeyedRows::default();
        let (mut state, mut rows) = (1_u64, Vec::new());
        for offset in 0..4000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let keys = [
                (1, u128::from(state >> 53)),
                (2, u128::from(state >> 54) << 64),
            ];
            let some = usize::try_from(state >> 32 & 1).unwrap() + 1;
            keyed.push(offset, &keys[..some]);
            rows.push((offset, keys, some));
        }
        let mut one_by_one = open(None);
        let mut expected = Vec::new();
        for (number, (offset, keys, some)) in rows.into_iter().enumerate() {
            for (step, key) in keys.into_iter().take(some) {
                if let Some(first) = one_by_one.first(step, key, offset, true).unwrap() {
                    expected.push((number, step, first));
                    break;
                }
            }
        }
        assert!((1000..3500).contains(&expected.len()), "{}", expected.len());
        for budget in [None, Some(7200)] {
            let mut keys = open(budget);
            let pieces = [0..7, 7..7, 7..2000, 2000..4000];
            let found = pieces.map(|rows| keys.firsts(&keyed, rows).unwrap());
            assert_eq!(found.concat(), expected);
        }
    }

    #[test]
    fn the_table_on_disk_answers_as_the_map() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::nameless(dir.path().into());
        let mut memory = ExactKeys::open(&workspace, "keys", None).unwrap();
        let mut disk = ExactKeys::open(&workspace, "keys", Some(7200)).unwrap();
        let mut state = 1_u64;
        for offset in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let step = usize::try_from(state >> 62).unwrap();
            let key = u128::from(state >> 50) << 64 | 7;
            let claim = offset % 5 != 0;
            assert_eq!(
                memory.first(step, key, offset, claim).unwrap(),
                disk.first(step, key, offset, claim).unwrap()
            );
        }
        assert!(matches!(disk.firsts, Firsts::Disk(_)));
        assert!(matches!(memory.firsts, Firsts::Memory(_)));
    }
}
