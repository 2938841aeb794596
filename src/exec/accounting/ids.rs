//! Ids that repeat.

use std::io;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::exec::stage::BatchResult;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};

/// Counts rows whose id an earlier row has. Ids are known by 64-bit hashes: of ten million ids, one
/// wrong repetition is a chance of one in 400,000.
pub struct IdWatch {
    seen: HashTable<u64>,
    /// Room for so many.
    most: usize,
    /// The ids so far, for another process that goes on.
    log: Option<Log>,
}

/// Bytes that an id takes in memory, with the room that a table leaves free.
const ID_BYTES: u64 = 16;

impl IdWatch {
    /// No id yet, or those that an earlier process made durable. They take at most `memory` bytes;
    /// then no further id is compared.
    ///
    /// # Errors
    /// If the log cannot be opened.
    pub fn open(workspace: &Workspace, memory: u64) -> io::Result<Self> {
        let mut log = workspace.log_if_kept("ids")?;
        let mut seen = HashTable::new();
        if let Some(log) = &mut log {
            each_record(&mut log.replay()?, |word| {
                let hash = u64::from_le_bytes(word);
                seen.entry(hash, |known| *known == hash, |known| *known)
                    .or_insert(hash);
            })?;
        }
        Ok(Self {
            seen,
            most: usize::try_from(memory / ID_BYTES).unwrap_or(usize::MAX),
            log,
        })
    }

    /// Whether ids are still compared.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.seen.len() < self.most
    }

    /// Compares the ids of a batch fresh from the input; how many an earlier row has.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn compare(&mut self, batch: &BatchResult) -> io::Result<u64> {
        let mut repeated = 0;
        for row in batch.rows.iter().filter(|row| row.origin.part == 0) {
            let Some(id) = row.id.as_deref().filter(|id| *id != "null") else {
                continue;
            };
            if !self.is_open() {
                break;
            }
            let hash = xxhash_rust::xxh3::xxh3_64(id.as_bytes());
            let entry = self
                .seen
                .entry(hash, |known| *known == hash, |known| *known);
            match entry {
                Entry::Occupied(_) => repeated += 1,
                Entry::Vacant(slot) => {
                    slot.insert(hash);
                    if let Some(log) = &mut self.log {
                        log.append(&hash.to_le_bytes())?;
                    }
                }
            }
        }
        Ok(repeated)
    }

    /// Makes what was seen durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }
}
