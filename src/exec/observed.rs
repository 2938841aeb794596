//! What batches show beside the fate of their rows: which of the fields asked for are there, what
//! fields there are, ids that repeat. Notes at the end of a run are made of it.

use std::io;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::stage::BatchResult;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::plan::Asked;
use crate::record::counts::HeldField;
use crate::sample::{FieldPath, Sample};

/// Fields that are looked for; a recipe that asks for more has other worries.
const MOST_FIELDS: usize = 64;

/// Names of fields that are remembered, and how long they may be.
const MOST_NAMES: usize = 24;
const LONGEST_NAME: usize = 80;

/// Looks for fields in rows, until each was seen once.
pub struct FieldWatch {
    asked: Vec<FieldPath>,
}

/// What a batch shows of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldsSeen {
    /// A bit for each field that was asked for and is there.
    pub there: u64,
    /// Fields that rows have, where one that was asked for is missing.
    pub held: Vec<HeldField>,
}

impl FieldWatch {
    /// Looks for the fields `asked`.
    #[must_use]
    pub fn new(asked: &[Asked]) -> Self {
        let paths = asked.iter().take(MOST_FIELDS);
        Self {
            asked: paths.map(|a| FieldPath::new(a.field.as_str())).collect(),
        }
    }

    /// All bits.
    fn all(&self) -> u64 {
        u64::MAX
            .checked_shr(64 - u32::try_from(self.asked.len()).unwrap_or(64))
            .unwrap_or(0)
    }

    /// Looks at one row.
    pub fn look(&self, sample: &Sample, seen: &mut FieldsSeen) {
        if seen.there == self.all() {
            return;
        }
        for (bit, path) in self.asked.iter().enumerate() {
            if seen.there >> bit & 1 == 0 && sample.has_at(path) {
                seen.there |= 1 << bit;
            }
        }
        if seen.there != self.all() {
            for (name, value) in sample.members() {
                remember(&mut seen.held, &name, value.starts_with('"'));
            }
        }
    }
}

/// Adds a field of rows to those known, in the order in which they appear.
pub fn remember(held: &mut Vec<HeldField>, name: &str, is_text: bool) {
    let short = name.len() <= LONGEST_NAME && held.len() < MOST_NAMES;
    if short && held.iter().all(|field| field.name != name) {
        held.push(HeldField {
            name: name.to_owned(),
            is_text,
        });
    }
}

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
