//! The keys of the rows of a part, by the partition that looks at them.
//!
//! The file `keys` has a section for each partition and table. A record has four words, where keys are
//! 128 bits or of parts; two, where bands are compared as they are:
//!
//! | | | | | |
//! |---|---|---|---|---|
//! | exact | key, upper half | lower half | identity | 0 if the row is sound |
//! | near | the part | the key under the mask | the key | identity |
//! | equal | the key | identity | | |

use std::io;
use std::path::Path;

use super::sections::SectionWriter;
use super::{Comparing, KeyPlace, RECORD, Record, Round, Verdicts, partition_of};
use crate::exec::parts::{Part, Parts};
use crate::exec::spill::Piles;
use crate::exec::stage::{BatchResult, RowEnd, RowResult};
use crate::exec::{RunError, write_error};
use crate::io::workspace::Lengths;
use crate::recipe::Step;

/// The name of the file.
pub const KEYS: &str = "keys";

/// Keys on their way to their sections.
struct Parting {
    partitions: usize,
    tables: usize,
    records: Records,
}

/// Records, by section.
enum Records {
    Short(Piles<2>),
    Long(Piles<4>),
}

impl Parting {
    /// Takes a record into the section of its table and of the partition that looks at `key`.
    fn push(&mut self, table: usize, key: u64, record: Record) -> io::Result<()> {
        let partition = partition_of(key, self.partitions);
        let section = partition * self.tables + table;
        match &mut self.records {
            Records::Short(piles) => piles.push(section, [record[0], record[1]]),
            Records::Long(piles) => piles.push(section, record),
        }
    }
}

/// Writes the keys that the rows of `part` have in `round`, for `partitions`. Rows that went in
/// earlier rounds, as these `left` it, have none.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write_keys(
    part: &Part,
    (round, steps): (&Round, &[Step]),
    earlier: &[(usize, Part)],
    partitions: usize,
    (directory, budget): (&Path, u64),
) -> Result<(Lengths, u64), RunError> {
    let failed = |e| write_error(directory.display(), e);
    let comparing = Comparing::of(round, steps).map_err(failed)?;
    let mut gone = Verdicts::open(earlier).map_err(failed)?;
    let mut keys = KeyWriter {
        parting: Parting {
            partitions,
            tables: comparing.tables(),
            records: match comparing {
                Comparing::Equal { .. } => Records::Short(Piles::new(directory, budget)),
                _ => Records::Long(Piles::new(directory, budget)),
            },
        },
        comparing,
    };
    let one = Parts {
        parts: vec![part.clone()],
        ..Parts::default()
    };
    let mut before = None;
    one.replay_keys(|batch, _| {
        for row in &batch.rows {
            let identity = row.origin.offset;
            let is_own = row.origin.part == 0 && row.origin.copy == 0;
            if !is_own || before.is_some_and(|before| before >= identity) {
                let what = "rows share an identity, so that their keys cannot be told apart";
                return Err(RunError::Conservation(what.into()));
            }
            before = Some(identity);
            if gone.of(identity).map_err(failed)?.is_none() {
                keys.push(round, row, &batch).map_err(failed)?;
            }
        }
        Ok(())
    })?;
    keys.finish(directory).map_err(failed)
}

struct KeyWriter {
    comparing: Comparing,
    parting: Parting,
}

impl KeyWriter {
    /// Takes the keys of a row.
    fn push(&mut self, round: &Round, row: &RowResult, batch: &BatchResult) -> io::Result<()> {
        let record = |at: usize| {
            let place = row.records.get(at)?.clone();
            batch.records.get(place).filter(|record| !record.is_empty())
        };
        match round.place {
            KeyPlace::Admitted => {
                let own = row.exact.iter().find(|(step, _)| *step == round.step);
                let is_sound = !matches!(row.end, RowEnd::Failed(..));
                own.map_or(Ok(()), |(_, key)| self.exact(*key, row, is_sound))
            }
            KeyPlace::Record(at) => {
                let key = record(at).and_then(<[u8]>::first_chunk);
                key.map_or(Ok(()), |key| {
                    self.exact(u128::from_le_bytes(*key), row, true)
                })
            }
            KeyPlace::Bands(at) => {
                let words = record(at).unwrap_or_default().as_chunks::<8>().0.iter();
                let words: Vec<u64> = words.map(|word| u64::from_le_bytes(*word)).collect();
                self.bands(&words, row.origin.offset)
            }
        }
    }

    fn exact(&mut self, key: u128, row: &RowResult, is_sound: bool) -> io::Result<()> {
        let [upper, lower] = [key >> 64, key & u128::from(u64::MAX)];
        let [upper, lower] = [upper, lower].map(|half| u64::try_from(half).unwrap_or_default());
        let record = [upper, lower, row.origin.offset, u64::from(!is_sound)];
        self.parting.push(0, upper ^ lower, record)
    }

    fn bands(&mut self, words: &[u64], identity: u64) -> io::Result<()> {
        match &self.comparing {
            Comparing::Exact => Ok(()),
            Comparing::Equal { bands, alone } => {
                for (table, key) in words.iter().take(*bands).enumerate() {
                    if Some(*key) != *alone {
                        self.parting.push(table, *key, [*key, identity, 0, 0])?;
                    }
                }
                Ok(())
            }
            Comparing::Near { parted, masks, .. } => {
                let (part, keys) = match words.split_first() {
                    Some((part, keys)) if *parted => (*part, keys),
                    _ => (0, words),
                };
                if *parted && part == 0 {
                    return Ok(());
                }
                for (band, key) in keys.iter().enumerate() {
                    for (number, mask) in masks.iter().enumerate() {
                        let table = band * masks.len() + number;
                        let masked = key & mask;
                        let record = [part, masked, *key, identity];
                        self.parting.push(table, part ^ masked, record)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn finish(self, directory: &Path) -> io::Result<(Lengths, u64)> {
        let mut writer = SectionWriter::create(directory, KEYS)?;
        let mut count = 0;
        let mut write = |section: usize, record: &[u64]| {
            let section = section as u64;
            if writer.open() != Some(section) {
                writer.begin(section)?;
            }
            count += 1;
            writer.append(record)
        };
        match self.parting.records {
            Records::Short(piles) => piles.each(|section, record| write(section, &record))?,
            Records::Long(piles) => piles.each(|section, record| write(section, &record))?,
        }
        Ok((writer.finish()?, count))
    }
}

const _: () = assert!(RECORD == 4, "as `Records` has them");
