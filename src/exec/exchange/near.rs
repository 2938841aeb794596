//! Near-duplicate detectors: rows are joined by their bands, and the first row of each set stands, or
//! the one that is chosen.
//!
//! Bands are kept in a file each, so that only one of them is in memory at a time.

use std::io;

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
    bands: Vec<Log>,
    sketches: Option<StoreWriter>,
    ranks: Ranks<'e>,
    budget: Option<u64>,
    /// How many rows at the beginning stay whatever they are like.
    fixed: u32,
}

impl Records for NearRecords<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        let record = self.ranks.push(record)?.unwrap_or_default();
        let (keys, _) = record.as_chunks::<8>();
        if let Some(sketches) = &mut self.sketches {
            sketches.push(record.get(self.bands.len() * 8..).unwrap_or_default())?;
        }
        // A row that ended before takes its place with a key that is never asked for.
        let keys = keys.iter().chain(std::iter::repeat(&[0; 8]));
        self.bands
            .iter_mut()
            .zip(keys)
            .try_for_each(|(band, key)| band.append(key))
    }

    fn fix(&mut self, rows: u32) {
        self.fixed = rows;
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
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
        let mut clusters = Clusters::new(alive.len());
        let mut parts = None;
        for band in &mut self.bands {
            let all = read(band)?;
            let column: Vec<u64> = alive
                .iter()
                .map(|&row| all.get(row as usize).copied().unwrap_or(0))
                .collect();
            drop(all);
            match &parts {
                None if self.op.parted() => parts = Some(column),
                None => machine
                    .pool
                    .install(|| self.op.cluster(&column, &mut clusters)),
                Some(parts) => machine.pool.install(|| {
                    clusters.join_within(parts, &column, |keys, inner| {
                        self.op.cluster(keys, inner);
                    });
                }),
            }
        }
        let heads: Vec<u32> = (0..)
            .take(alive.len())
            .map(|at| clusters.find(at))
            .collect();
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

/// The keys of one band in row order.
fn read(band: &mut Log) -> io::Result<Vec<u64>> {
    band.flush()?;
    let length = band.len();
    let mut keys = Vec::with_capacity(usize::try_from(length / 8).unwrap_or(0));
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < length {
        let some = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
        let read = block.get_mut(..some).unwrap_or_default();
        band.read_exact_at(read, at)?;
        keys.extend(
            read.as_chunks()
                .0
                .iter()
                .map(|key| u64::from_le_bytes(*key)),
        );
        at += some as u64;
    }
    Ok(keys)
}
