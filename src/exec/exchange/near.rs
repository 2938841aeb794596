//! Near-duplicate detectors: rows are joined by their bands, and the first row of each set stands.
//!
//! Bands are kept in a file each, so that only one of them is in memory at a time.

use std::io;

use super::{Exchange, ExchangeError, Records, Resolution};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::{BandDeduplicator, Clusters};

/// Rows are recorded with one key of 64 bits a band.
pub struct NearDuplicates<'s>(pub &'s dyn BandDeduplicator);

impl Exchange for NearDuplicates<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        _: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        let bands = (0..self.0.bands())
            .map(|band| workspace.log(&band_name(name, band)))
            .collect::<io::Result<_>>()?;
        Ok(Box::new(Bands { op: self.0, bands }))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        (0..self.0.bands()).for_each(|band| workspace.remove(&band_name(name, band)));
    }
}

fn band_name(name: &str, band: usize) -> String {
    format!("{name}.{band}")
}

/// The keys of all rows, a log a band.
struct Bands<'e> {
    op: &'e dyn BandDeduplicator,
    bands: Vec<Log>,
}

impl Records for Bands<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        let (keys, _) = record.unwrap_or_default().as_chunks::<8>();
        // A row that ended before takes its place with a key that is never asked for.
        let keys = keys.iter().chain(std::iter::repeat(&[0; 8]));
        self.bands
            .iter_mut()
            .zip(keys)
            .try_for_each(|(band, key)| band.append(key))
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.bands
            .iter_mut()
            .try_for_each(|band| band.sync(lengths))
    }

    fn decide(&mut self, alive: Vec<u32>) -> Result<Resolution, ExchangeError> {
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
                None => self.op.cluster(&column, &mut clusters),
                Some(parts) => clusters.join_within(parts, &column, |keys, inner| {
                    self.op.cluster(keys, inner);
                }),
            }
        }
        let mut resolution = Resolution::default();
        for (index, &row) in (0_u32..).zip(&alive) {
            let first = clusters.find(index);
            if first == index {
                resolution.alive.push(row);
            } else {
                let first = alive.get(first as usize).copied();
                resolution.dropped.push((row, first));
            }
        }
        Ok(resolution)
    }
}

/// The keys of one band in row order.
fn read(band: &mut Log) -> io::Result<Vec<u64>> {
    let mut keys = Vec::with_capacity(usize::try_from(band.len() / 8).unwrap_or(0));
    each_record(&mut band.replay()?, |word| {
        keys.push(u64::from_le_bytes(word));
    })?;
    Ok(keys)
}
