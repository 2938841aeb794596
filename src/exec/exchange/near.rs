//! Near-duplicate detectors: rows are joined by their bands, and the first row of each set stands, or
//! the one that is chosen.
//!
//! Bands are kept in a file each, so that only one of them is in memory at a time.

use std::io;

use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};
use rayon::slice::ParallelSliceMut as _;

use super::choosing::{Parting, Ranks};
use super::verify::Verified;
use super::{Exchange, ExchangeError, Machine, Records, Resolution};
use crate::exec::spill::store::StoreWriter;
use crate::io::workspace::Lengths;
use crate::io::{Log, Workspace};
use crate::op::{BandDeduplicator, Choice, Clusters};

/// Rows are recorded with one key of 64 bits a band, and their sketch if they have one.
pub struct NearDuplicates<'s> {
    /// The detector.
    pub op: &'s dyn BandDeduplicator,
    /// Which row stays.
    pub choice: &'s Choice,
}

impl Exchange for NearDuplicates<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        let bands = (0..self.op.bands())
            .map(|band| workspace.log(&band_name(name, band)))
            .collect::<io::Result<_>>()?;
        let verifies = self.op.verifies();
        let sketches = verifies.then(|| StoreWriter::open(workspace, &sketch_name(name)));
        Ok(Box::new(NearRecords {
            op: self.op,
            waiting: Vec::new(),
            bands,
            sketches: sketches.transpose()?,
            ranks: Ranks::open(self.choice, workspace, name)?,
            budget,
            fixed: 0,
        }))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        (0..self.op.bands()).for_each(|band| workspace.remove(&band_name(name, band)));
        if self.op.verifies() {
            StoreWriter::remove(workspace, &sketch_name(name));
        }
        Ranks::remove(self.choice, workspace, name);
    }
}

fn band_name(name: &str, band: usize) -> String {
    format!("{name}.{band}")
}

fn sketch_name(name: &str) -> String {
    format!("{name}-sketches")
}

/// The keys of all rows, a log a band.
struct NearRecords<'e> {
    op: &'e dyn BandDeduplicator,
    /// Keys that no log has yet, row by row.
    waiting: Vec<u8>,
    bands: Vec<Log>,
    sketches: Option<StoreWriter>,
    ranks: Ranks<'e>,
    budget: Option<u64>,
    /// How many rows at the beginning stay whatever they are like.
    fixed: u32,
}

/// About how many bytes of keys wait: few enough for the caches of a processor.
const WAITING: usize = 1 << 17;

impl NearRecords<'_> {
    /// Bytes of the keys of a row.
    fn row(&self) -> usize {
        self.bands.len() * 8
    }

    /// Gives each band its keys of the rows that wait.
    fn write_waiting(&mut self) -> io::Result<()> {
        let row = self.row().max(1);
        let mut column = Vec::with_capacity(self.waiting.len() / self.bands.len().max(1));
        for (number, band) in self.bands.iter_mut().enumerate() {
            column.clear();
            for keys in self.waiting.chunks_exact(row) {
                let key = keys.as_chunks::<8>().0.get(number);
                column.extend_from_slice(key.unwrap_or(&[0; 8]));
            }
            band.append(&column)?;
        }
        self.waiting.clear();
        Ok(())
    }
}

impl Records for NearRecords<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        let record = self.ranks.push(record)?.unwrap_or_default();
        let (keys, sketch) = record.split_at_checked(self.row()).unwrap_or((record, &[]));
        if let Some(sketches) = &mut self.sketches {
            sketches.push(sketch)?;
        }
        self.waiting.extend_from_slice(keys);
        // A row that ended before takes its place with keys that are never asked for.
        let short = self.row().saturating_sub(keys.len());
        self.waiting.extend(std::iter::repeat_n(0, short));
        if self.waiting.len() >= WAITING {
            self.write_waiting()?;
        }
        Ok(())
    }

    fn fix(&mut self, rows: u32) {
        self.fixed = rows;
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.write_waiting()?;
        self.ranks.sync(lengths)?;
        if let Some(sketches) = &mut self.sketches {
            sketches.sync(lengths)?;
        }
        self.bands
            .iter_mut()
            .try_for_each(|band| band.sync(lengths))
    }

    fn decide(
        &mut self,
        alive: Vec<u32>,
        machine: Machine<'_>,
    ) -> Result<Resolution, ExchangeError> {
        self.write_waiting()?;
        let clusters = Clusters::new(alive.len());
        let mut parts = None;
        for band in &mut self.bands {
            band.flush()?;
            machine.pool.install(|| {
                let column = column(band, &alive)?;
                match &parts {
                    None if self.op.parted() => parts = Some(column),
                    None => self.op.cluster(&column, &clusters),
                    Some(parts) => clusters.join_within(parts, &column, |keys, inner| {
                        self.op.cluster(keys, inner);
                    }),
                }
                io::Result::Ok(())
            })?;
        }
        let heads = machine.pool.install(|| clusters.heads());
        drop(clusters);
        let Some(sketches) = self.sketches.take() else {
            return self.ranks.settle(&alive, &heads, None);
        };
        let sketches = sketches.finish()?;
        let mut verified = Verified {
            op: self.op,
            bands: &self.bands,
            sketches: &sketches,
            rows: &alive,
            budget: self.budget,
            fixed: self.fixed,
        };
        let part: Parting<'_> = &mut |members| verified.part(members);
        self.ranks.settle(&alive, &heads, Some(part))
    }
}

/// Bytes of keys that are read at a time.
const BLOCK: usize = 1 << 18;

/// The keys of one band for the rows `alive`, read by all threads of the pool in whose work this is
/// called.
fn column(band: &Log, alive: &[u32]) -> io::Result<Vec<u64>> {
    let mut keys = vec![0; usize::try_from(band.len() / 8).unwrap_or(0)];
    keys.par_chunks_mut(BLOCK / 8)
        .enumerate()
        .try_for_each_init(
            || vec![0; BLOCK],
            |block, (number, keys)| {
                let block = block.get_mut(..keys.len() * 8).unwrap_or_default();
                band.read_exact_at(block, (number * BLOCK) as u64)?;
                for (key, bytes) in keys.iter_mut().zip(block.as_chunks().0) {
                    *key = u64::from_le_bytes(*bytes);
                }
                io::Result::Ok(())
            },
        )?;
    if alive.len() == keys.len() && alive.is_sorted_by(|a, b| a < b) {
        return Ok(keys);
    }
    let key_of = |row: &u32| keys.get(*row as usize).copied().unwrap_or(0);
    Ok(alive.par_iter().map(key_of).collect())
}
