//! What was read of an object once, in a nameless file: what is read in any order is asked for once.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::object::Object;
use super::store::{IN_FLIGHT, PART, runtime};

/// What is asked for at least, in bytes.
const BLOCK: u64 = 1 << 20;

/// A file as long as the object, with holes where nothing was read.
pub struct Spool {
    file: File,
    size: u64,
    /// Which blocks are there.
    there: Vec<bool>,
}

impl Spool {
    /// An empty one for an object of `size` bytes.
    ///
    /// # Errors
    /// If no file can be made.
    pub fn new(size: u64) -> io::Result<Self> {
        let blocks = usize::try_from(size.div_ceil(BLOCK)).map_err(io::Error::other)?;
        let file = tempfile::tempfile()?;
        file.set_len(size)?;
        Ok(Self {
            file,
            size,
            there: vec![false; blocks],
        })
    }

    /// Reads bytes of `object` from `at` on.
    ///
    /// # Errors
    /// If the store does not answer, the object has changed, or the disk is full.
    pub fn read_at(
        &mut self,
        object: &Arc<Object>,
        buffer: &mut [u8],
        at: u64,
    ) -> io::Result<usize> {
        let end = at.saturating_add(buffer.len() as u64).min(self.size);
        if at >= end {
            return Ok(0);
        }
        self.fill(object, at..end)?;
        let length = usize::try_from(end - at).map_err(io::Error::other)?;
        match buffer.get_mut(..length) {
            Some(buffer) => self.file.read_at(buffer, at),
            None => Ok(0),
        }
    }

    /// Sees to it that `range` is there. Who reads on behind what is there gets more at once.
    fn fill(&mut self, object: &Arc<Object>, range: Range<u64>) -> io::Result<()> {
        let block = |at: u64| usize::try_from(at / BLOCK).unwrap_or(usize::MAX);
        let (first, last) = (block(range.start), block(range.end - 1));
        let is_there = |number: usize| self.there.get(number).copied().unwrap_or(true);
        let Some(missing) = (first..=last).find(|number| !is_there(*number)) else {
            return Ok(());
        };
        let goes_on = missing > 0 && is_there(missing - 1);
        let ahead = if goes_on {
            IN_FLIGHT as u64 * PART / BLOCK
        } else {
            1
        };
        let until = (last + 1).max(missing + usize::try_from(ahead).unwrap_or(1));
        let until = until.min(self.there.len());
        let mut asked = Vec::new();
        let mut number = missing;
        while number < until {
            if is_there(number) {
                number += 1;
                continue;
            }
            let most = number + usize::try_from(PART / BLOCK).unwrap_or(1);
            let end = (number..until.min(most)).find(|number| is_there(*number));
            let end = end.unwrap_or(until.min(most));
            asked.push(number..end);
            number = end;
        }
        // Not more at once than are in flight elsewhere.
        for some in asked.chunks(IN_FLIGHT) {
            let ask = |blocks: &Range<usize>| {
                let start = blocks.start as u64 * BLOCK;
                let end = (blocks.end as u64 * BLOCK).min(self.size);
                let range = Arc::clone(object).range(start..end);
                Ok((blocks.clone(), runtime()?.spawn(range)))
            };
            let waiting: Vec<_> = some.iter().map(ask).collect::<io::Result<_>>()?;
            for (blocks, range) in waiting {
                let content = runtime()?.block_on(range).map_err(io::Error::other)??;
                self.file
                    .write_all_at(&content, blocks.start as u64 * BLOCK)?;
                self.there
                    .get_mut(blocks)
                    .into_iter()
                    .flatten()
                    .for_each(|it| *it = true);
            }
        }
        Ok(())
    }
}
