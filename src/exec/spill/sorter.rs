//! Records in order, however many there are: what does not fit into memory is sorted in runs on disk,
//! which are merged as they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io::{self, Read as _};
use std::path::Path;

use crate::io::workspace::Replay;
use crate::io::{Log, Workspace};

/// Runs that are merged at once at most: each is read with a buffer of its own.
const MOST_RUNS: usize = 64;

/// Records of `N` words on their way into their order, the first word counting most.
pub struct Sorter<const N: usize> {
    workspace: Workspace,
    /// Records that are held in memory.
    most: usize,
    waiting: Vec<[u64; N]>,
    runs: Vec<Log>,
}

impl<const N: usize> Sorter<N> {
    /// No records. About `budget` bytes of them are held in memory; more are written to nameless files
    /// in `directory`.
    #[must_use]
    pub fn new(directory: &Path, budget: u64) -> Self {
        let most = usize::try_from(budget).unwrap_or(usize::MAX) / (8 * N.max(1));
        Self {
            workspace: Workspace::nameless(directory.to_owned()),
            most: most.max(2),
            waiting: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, record: [u64; N]) -> io::Result<()> {
        if self.waiting.len() >= self.most {
            self.write_waiting()?;
        }
        self.waiting.push(record);
        Ok(())
    }

    /// Shows each record once, in order, equal ones as one.
    ///
    /// # Errors
    /// If the disk fails, or what `see` says.
    pub fn each(mut self, mut see: impl FnMut([u64; N]) -> io::Result<()>) -> io::Result<()> {
        let mut before = None;
        let mut once = |record| {
            if before == Some(record) {
                return Ok(());
            }
            before = Some(record);
            see(record)
        };
        if self.runs.is_empty() {
            self.waiting.sort_unstable();
            return self.waiting.iter().copied().try_for_each(once);
        }
        self.write_waiting()?;
        self.waiting = Vec::new();
        merge(&mut self.runs, &mut once)
    }

    /// Writes the records in memory as a run.
    fn write_waiting(&mut self) -> io::Result<()> {
        self.waiting.sort_unstable();
        self.waiting.dedup();
        let mut run = self.workspace.log("run")?;
        for record in self.waiting.drain(..) {
            append(&mut run, record)?;
        }
        run.flush()?;
        self.runs.push(run);
        if self.runs.len() == MOST_RUNS {
            let mut merged = self.workspace.log("runs")?;
            merge(&mut self.runs, |record: [u64; N]| {
                append(&mut merged, record)
            })?;
            merged.flush()?;
            self.runs = vec![merged];
        }
        Ok(())
    }
}

/// Appends the words of a record.
///
/// # Errors
/// If the disk is full or fails.
pub fn append<const N: usize>(log: &mut Log, record: [u64; N]) -> io::Result<()> {
    log.append(record.map(u64::to_le_bytes).as_flattened())
}

/// Reads the next record; `None` behind the last.
///
/// # Errors
/// If the file cannot be read, or ends within a record.
pub fn next<const N: usize>(source: &mut Replay<'_>) -> io::Result<Option<[u64; N]>> {
    use std::io::BufRead as _;
    if source.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut words = [[0; 8]; N];
    source.read_exact(words.as_flattened_mut())?;
    Ok(Some(words.map(u64::from_le_bytes)))
}

/// Shows the records of all `runs`, each in order, in their order.
fn merge<const N: usize>(
    runs: &mut [Log],
    mut see: impl FnMut([u64; N]) -> io::Result<()>,
) -> io::Result<()> {
    let sources = runs.iter_mut().map(Log::replay);
    let mut sources = sources.collect::<io::Result<Vec<_>>>()?;
    let mut heads = BinaryHeap::new();
    for (number, source) in sources.iter_mut().enumerate() {
        heads.extend(next(source)?.map(|record| Reverse((record, number))));
    }
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((record, number)) = *head;
        let source = sources.get_mut(number);
        match source.map(next).transpose()?.flatten() {
            Some(following) => *head = Reverse((following, number)),
            None => drop(PeekMut::pop(head)),
        }
        see(record)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_budget_gives_the_order_of_a_list(
            mut records in prop::collection::vec(prop::array::uniform2(0u64..9), 0..400),
            most in 0u64..40,
        ) {
            let mut sorter = Sorter::new(&std::env::temp_dir(), most * 16);
            for record in &records {
                sorter.push(*record).unwrap();
            }
            let mut found = Vec::new();
            sorter.each(|record| {
                found.push(record);
                Ok(())
            }).unwrap();
            records.sort_unstable();
            records.dedup();
            prop_assert_eq!(found, records);
        }
    }
}
