//! Records on numbered piles, however many there are: what does not fit into memory is written to disk in
//! runs, of which each pile is put together as it is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;

use super::sorter::{append, next};
use crate::io::workspace::Replay;
use crate::io::{Log, Workspace};

/// Runs that are read at once at most: each with a buffer of its own.
const MOST_RUNS: usize = 64;

/// Records that a pile has room for at first.
const LEAST: usize = 4;

/// Records of `N` words on piles.
pub struct Piles<const N: usize> {
    workspace: Workspace,
    /// Records that there is memory for.
    most: usize,
    /// Records that memory is taken for.
    held: usize,
    /// Those, by the number of their pile.
    by_number: Vec<Vec<[u64; N]>>,
    /// Of each pile in order its number and how many records follow, and these.
    runs: Vec<Log>,
}

impl<const N: usize> Piles<N> {
    /// No records. About `budget` bytes of them are held in memory; more are written to nameless files
    /// in `directory`.
    #[must_use]
    pub fn new(directory: &Path, budget: u64) -> Self {
        let most = usize::try_from(budget).unwrap_or(usize::MAX) / (8 * N.max(1));
        Self {
            workspace: Workspace::nameless(directory.to_owned()),
            most,
            held: 0,
            by_number: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Puts a record on the pile `number`: one of few, each of which costs some bytes.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, number: usize, record: [u64; N]) -> io::Result<()> {
        if number >= self.by_number.len() {
            self.by_number.resize_with(number + 1, Vec::new);
        }
        let full = self
            .by_number
            .get(number)
            .filter(|it| it.len() == it.capacity());
        let mut more = full.map(|pile| (pile.capacity() / 2).max(LEAST));
        if self.held > 0 && more.is_some_and(|more| self.held + more > self.most) {
            self.write_held()?;
            more = Some(LEAST);
        }
        if let Some(pile) = self.by_number.get_mut(number) {
            pile.reserve_exact(more.unwrap_or_default());
            pile.push(record);
            self.held += more.unwrap_or_default();
        }
        Ok(())
    }

    /// Shows each record with the number of its pile, pile by pile, and on a pile in the order in which
    /// they came.
    ///
    /// # Errors
    /// If the disk fails, or what `see` says.
    pub fn each(
        mut self,
        mut see: impl FnMut(usize, [u64; N]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.runs.is_empty() {
            let piles = self.by_number.into_iter().enumerate();
            return piles
                .flat_map(|(number, pile)| pile.into_iter().map(move |record| (number, record)))
                .try_for_each(|(number, record)| see(number, record));
        }
        self.write_held()?;
        merge(&mut self.runs, |number, _, records| {
            records.try_for_each(|record| see(number, record?))
        })
    }

    /// Writes the records in memory as a run.
    fn write_held(&mut self) -> io::Result<()> {
        let mut run = self.workspace.log("run")?;
        for (number, pile) in self.by_number.iter_mut().enumerate() {
            if pile.is_empty() {
                continue;
            }
            append(&mut run, [number as u64, pile.len() as u64])?;
            for record in std::mem::take(pile) {
                append(&mut run, record)?;
            }
        }
        self.held = 0;
        run.flush()?;
        self.runs.push(run);
        if self.runs.len() == MOST_RUNS {
            let mut merged = self.workspace.log("runs")?;
            merge(
                &mut self.runs,
                |number, count, records: &mut Records<'_, '_, N>| {
                    append(&mut merged, [number as u64, count])?;
                    records.try_for_each(|record| append(&mut merged, record?))
                },
            )?;
            merged.flush()?;
            self.runs = vec![merged];
        }
        Ok(())
    }
}

/// The records of a pile in one run, which are read.
struct Records<'s, 'r, const N: usize> {
    source: &'s mut Replay<'r>,
    left: u64,
}

impl<const N: usize> Iterator for Records<'_, '_, N> {
    type Item = io::Result<[u64; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = next(self.source);
        Some(read.and_then(|record| record.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())))
    }
}

/// Shows the piles of all `runs` in their order, each with how many records it has, run by run.
fn merge<const N: usize>(
    runs: &mut [Log],
    mut see: impl FnMut(usize, u64, &mut Records<'_, '_, N>) -> io::Result<()>,
) -> io::Result<()> {
    let sources = runs.iter_mut().map(Log::replay);
    let mut sources = sources.collect::<io::Result<Vec<_>>>()?;
    let mut heads = BinaryHeap::new();
    for (run, source) in sources.iter_mut().enumerate() {
        heads.extend(next(source)?.map(|[pile, count]| Reverse((pile, run, count))));
    }
    while let Some(Reverse((pile, run, count))) = heads.pop() {
        let Some(source) = sources.get_mut(run) else {
            continue;
        };
        let number = usize::try_from(pile).map_err(io::Error::other)?;
        let left = count;
        see(number, count, &mut Records { source, left })?;
        heads.extend(next(source)?.map(|[pile, count]| Reverse((pile, run, count))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_budget_gives_the_piles_of_a_list(
            mut records in prop::collection::vec((0usize..6, 0u64..1000), 0..400),
            most in 1u64..40,
        ) {
            let mut piles = Piles::new(&std::env::temp_dir(), most * 8);
            for (number, record) in &records {
                piles.push(*number, [*record]).unwrap();
            }
            let mut found = Vec::new();
            piles.each(|number, [record]| {
                found.push((number, record));
                Ok(())
            }).unwrap();
            records.sort_by_key(|(number, _)| *number);
            prop_assert_eq!(found, records);
        }
    }
}
