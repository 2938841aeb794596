//! Keys that must all be known before anyone can decide, and the decision.
//!
//! Near-duplicate keys are spilled band by band, so that only one band is in memory at a time.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::op::{Clusters, FieldKey, Operator, Picked};

/// The keys of one operator of a barrier group, one entry a row that reached the group.
pub enum KeyTable {
    /// Bands of a near-duplicate detector, one file a band.
    Near(Vec<BandFile>),
    /// Keys of an exact deduplicator.
    Exact(Vec<Option<u128>>),
    /// Values a selector ranks by.
    Select(Vec<FieldKey>),
}

/// The key of one row for one operator.
#[derive(Debug, Clone, PartialEq)]
pub enum RowKey {
    /// One key a band.
    Near(Vec<u64>),
    /// See [`crate::op::ExactDeduplicator`].
    Exact(Option<u128>),
    /// See [`crate::op::Selector`].
    Select(FieldKey),
}

/// Keys of one band in row order, spilled to a nameless file.
pub struct BandFile {
    writer: BufWriter<File>,
    rows: usize,
}

impl BandFile {
    fn create(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            writer: BufWriter::with_capacity(1 << 15, tempfile::tempfile_in(directory)?),
            rows: 0,
        })
    }

    fn push(&mut self, key: u64) -> io::Result<()> {
        self.rows += 1;
        self.writer.write_all(&key.to_le_bytes())
    }

    fn read(&mut self) -> io::Result<Vec<u64>> {
        self.writer.flush()?;
        let file = self.writer.get_mut();
        file.rewind()?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut keys = Vec::with_capacity(self.rows);
        let mut word = [0; 8];
        for _ in 0..self.rows {
            reader.read_exact(&mut word)?;
            keys.push(u64::from_le_bytes(word));
        }
        Ok(keys)
    }
}

/// What a barrier decided of the rows it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolution {
    /// Rows that stay, in output order.
    pub alive: Vec<u32>,
    /// Rows that go, each with the row it duplicates, if that is why.
    pub dropped: Vec<(u32, Option<u32>)>,
    /// Further copies among `alive`: a selector may take a row more than once.
    pub repeated: u64,
}

impl KeyTable {
    /// An empty table for `operator`; `None` if it has no keys (a mapper or filter).
    ///
    /// # Errors
    /// If spill files cannot be made in `directory`.
    pub fn new(operator: &Operator, directory: &Path) -> io::Result<Option<Self>> {
        Ok(match operator {
            Operator::Near(op) => Some(Self::Near(
                (0..op.bands())
                    .map(|_| BandFile::create(directory))
                    .collect::<io::Result<_>>()?,
            )),
            Operator::Exact(_) => Some(Self::Exact(Vec::new())),
            Operator::Selector(_) => Some(Self::Select(Vec::new())),
            Operator::Mapper(_) | Operator::Filter(_) => None,
        })
    }

    /// Appends the key of the next row; `None` for a row that ended before this operator.
    ///
    /// # Errors
    /// If a spill file cannot be written.
    pub fn push(&mut self, key: Option<RowKey>) -> io::Result<()> {
        match (self, key) {
            (Self::Near(bands), Some(RowKey::Near(keys))) => bands
                .iter_mut()
                .zip(keys)
                .try_for_each(|(band, key)| band.push(key)),
            (Self::Near(bands), _) => bands.iter_mut().try_for_each(|band| band.push(0)),
            (Self::Exact(keys), Some(RowKey::Exact(key))) => {
                keys.push(key);
                Ok(())
            }
            (Self::Exact(keys), _) => {
                keys.push(None);
                Ok(())
            }
            (Self::Select(keys), Some(RowKey::Select(key))) => {
                keys.push(key);
                Ok(())
            }
            (Self::Select(keys), _) => {
                keys.push(FieldKey::Null);
                Ok(())
            }
        }
    }

    /// Decides among the rows `alive` (in their present order).
    ///
    /// # Errors
    /// If spilled keys cannot be read, or the operator cannot compare its keys.
    pub fn resolve(
        &mut self,
        operator: &Operator,
        alive: Vec<u32>,
    ) -> Result<Resolution, ResolveError> {
        match (self, operator) {
            (Self::Near(bands), Operator::Near(op)) => {
                let mut clusters = Clusters::new(alive.len());
                for band in bands {
                    let all = band.read()?;
                    let column: Vec<u64> = alive
                        .iter()
                        .map(|&row| all.get(row as usize).copied().unwrap_or(0))
                        .collect();
                    drop(all);
                    op.cluster(&column, &mut clusters);
                }
                let mut resolution = Resolution::default();
                for (index, &row) in (0_u32..).zip(&alive) {
                    let first = clusters.find(index);
                    if first == index {
                        resolution.alive.push(row);
                    } else {
                        resolution
                            .dropped
                            .push((row, alive.get(first as usize).copied()));
                    }
                }
                Ok(resolution)
            }
            (Self::Exact(keys), _) => {
                let mut seen: HashMap<u128, u32> = HashMap::new();
                let mut resolution = Resolution::default();
                for row in alive {
                    let key = keys.get(row as usize).copied().flatten();
                    match key.map(|key| seen.entry(key)) {
                        Some(Entry::Occupied(first)) => {
                            resolution.dropped.push((row, Some(*first.get())));
                        }
                        Some(Entry::Vacant(free)) => {
                            free.insert(row);
                            resolution.alive.push(row);
                        }
                        None => resolution.alive.push(row),
                    }
                }
                Ok(resolution)
            }
            (Self::Select(keys), Operator::Selector(op)) => {
                let shown: Vec<FieldKey> = alive
                    .iter()
                    .map(|&row| keys.get(row as usize).cloned().unwrap_or(FieldKey::Null))
                    .collect();
                let Picked::Rows(picked) = op.pick(&shown).map_err(ResolveError::Operator)? else {
                    return Ok(Resolution {
                        alive,
                        ..Resolution::default()
                    });
                };
                let mut kept = vec![false; alive.len()];
                let mut resolution = Resolution::default();
                for index in picked {
                    if let (Some(flag), Some(&row)) =
                        (kept.get_mut(index as usize), alive.get(index as usize))
                    {
                        resolution.repeated += u64::from(*flag);
                        *flag = true;
                        resolution.alive.push(row);
                    }
                }
                resolution.dropped = alive
                    .iter()
                    .zip(kept)
                    .filter(|(_, kept)| !kept)
                    .map(|(&row, _)| (row, None))
                    .collect();
                Ok(resolution)
            }
            _ => Ok(Resolution {
                alive,
                ..Resolution::default()
            }),
        }
    }
}

/// Why a barrier could not decide.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Spilled keys cannot be read.
    #[error("cannot read back keys set aside on disk: {0}")]
    Io(#[from] io::Error),
    /// The operator refuses its keys.
    #[error("{0}")]
    Operator(String),
}
