//! Ids that repeat.

use std::io;

use crate::io::workspace::Lengths;
use crate::io::{Log, Workspace};

/// Counts rows whose id an earlier row has. Which rows these are nobody asks: the ids wait on disk
/// until all rows are read, and are then sorted a part at a time. They are known by 64-bit hashes:
/// of ten million ids, one wrong repetition is a chance of one in 400,000.
pub struct IdWatch(Log);

/// Bytes of hashes that are sorted at once, as long as that takes [`MOST_PARTS`] or fewer.
const PART: u64 = 1 << 20;

/// How often the hashes are read at most.
const MOST_PARTS: u64 = 16;

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 15;

impl IdWatch {
    /// No id yet, or those that an earlier process made durable.
    ///
    /// # Errors
    /// If the log cannot be opened.
    pub fn open(workspace: &Workspace) -> io::Result<Self> {
        workspace.log("ids").map(Self)
    }

    /// Adds the hashes of a batch.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn add(&mut self, hashes: &[u8]) -> io::Result<()> {
        self.0.append(hashes)
    }

    /// Makes what was seen durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.0.sync(lengths)
    }

    /// How many ids came again.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn repeated(&mut self) -> io::Result<u64> {
        self.0.flush()?;
        let parts = self.0.len().div_ceil(PART).clamp(1, MOST_PARTS);
        let part_of = |hash: u64| ((hash >> 32) * parts) >> 32;
        let mut hashes: Vec<u64> = Vec::new();
        let mut repeated = 0;
        for part in 0..parts {
            hashes.clear();
            self.each(|hash| {
                if part_of(hash) == part {
                    hashes.push(hash);
                }
            })?;
            hashes.sort_unstable();
            let again = hashes.iter().zip(hashes.iter().skip(1));
            repeated += again.filter(|(one, next)| one == next).count() as u64;
        }
        Ok(repeated)
    }

    fn each(&self, mut see: impl FnMut(u64)) -> io::Result<()> {
        let length = self.0.len();
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        while at < length {
            let some = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
            let read = block.get_mut(..some).unwrap_or_default();
            self.0.read_exact_at(read, at)?;
            for word in read.as_chunks().0 {
                see(u64::from_le_bytes(*word));
            }
            at += some as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::stage::BatchResult;

    #[test]
    fn each_further_row_of_an_id_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::nameless(dir.path().into());
        let mut watch = IdWatch::open(&workspace).unwrap();
        assert_eq!(watch.repeated().unwrap(), 0);
        // Enough for several parts, every third id a second time and one a third time.
        let mut batch = BatchResult::default();
        for id in 0..150_000 {
            batch.push_id(Some(&id.to_string()));
        }
        for id in (0..150_000).step_by(3).chain([0]) {
            batch.push_id(Some(&id.to_string()));
            batch.push_id(Some("null"));
            batch.push_id(None);
        }
        // A text is not the number that it looks like.
        batch.push_id(Some("\"1\""));
        assert!(batch.id_hashes.len() as u64 > PART);
        for hashes in batch.id_hashes.chunks(8 * 1000) {
            watch.add(hashes).unwrap();
        }
        assert_eq!(watch.repeated().unwrap(), 50_001);
    }
}
