//! Keys that exact deduplicators have seen, with the identity of the first row of each.
//!
//! They are in memory while they fit into their share of the budget (about 40 bytes each), then in
//! a hash table on disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
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
    Memory(HashMap<Key, u64>),
    Disk(DiskTable),
}

/// Step and key.
type Key = (u32, [u64; 2]);

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
            firsts: Firsts::Memory(HashMap::new()),
            most,
            directory: workspace.directory().to_owned(),
            log: None,
        };
        if let Some(mut log) = workspace.log_if_kept(name)? {
            let mut outcome = Ok(());
            each_record(&mut log.replay()?, |record| {
                let (key, offset) = unpack(record);
                if outcome.is_ok() {
                    outcome = keys.claim(key, offset);
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
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        let [low, high] = halves(key);
        let key = (step, [low, high]);
        let found = match &self.firsts {
            Firsts::Memory(map) => map.get(&key).copied(),
            Firsts::Disk(table) => table.find(key)?.ok(),
        };
        if found.is_none() && claim {
            self.claim(key, offset)?;
            if let Some(log) = &mut self.log {
                log.append(&pack(key, offset))?;
            }
        }
        Ok(found)
    }

    /// Claims the keys of a sound row by step, one after the other, up to the first that an earlier
    /// row has: the step, and the identity of that row.
    ///
    /// # Errors
    /// As [`ExactKeys::first`].
    pub fn firsts(
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

    fn claim(&mut self, key: Key, offset: u64) -> io::Result<()> {
        let map = match &mut self.firsts {
            Firsts::Disk(table) => return table.insert(key, offset),
            Firsts::Memory(map) => map,
        };
        map.insert(key, offset);
        if map.len() > self.most {
            let mut table = DiskTable::create(&self.directory, map.len() as u64)?;
            for (&key, &offset) in &*map {
                table.insert(key, offset)?;
            }
            self.firsts = Firsts::Disk(table);
        }
        Ok(())
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

    fn insert(&mut self, key: Key, offset: u64) -> io::Result<()> {
        if self.used * 10 >= self.slots * 7 {
            self.grow()?;
        }
        if let Err(place) = self.find(key)? {
            self.file
                .write_all_at(&slot(key, offset), place * SLOT as u64)?;
            self.used += 1;
        }
        Ok(())
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
    let parts = step.saturating_add(1).to_le_bytes().into_iter();
    let parts = parts.chain(low.to_le_bytes()).chain(high.to_le_bytes());
    for (byte, value) in bytes.iter_mut().zip(parts.chain(offset.to_le_bytes())) {
        *byte = value;
    }
    bytes
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
    let mut record = [0; RECORD];
    for (byte, value) in record.iter_mut().zip(slot(key, offset)) {
        *byte = value;
    }
    record
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
