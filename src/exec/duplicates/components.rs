//! Who stands for each row that is joined to others: the first row of its set.
//!
//! As long as the rows that are joined at all fit into memory they are put together there; else by
//! rounds over pairs on disk, "large star" and "small star" in turn (Kiveris and others, "Connected
//! components in `MapReduce` and beyond", 2014), each of which holds no more than sorting does.

use std::io;
use std::path::Path;

use hashbrown::HashMap;

use super::Part;
use super::matches::PAIRS;
use super::verdicts::write_gone;
use crate::exec::parts::bring;
use crate::exec::spill::{Sorter, sorter};
use crate::io::Log;
use crate::io::workspace::Lengths;

/// What a row costs while sets are put together in memory, in bytes: its place in a map at the usual
/// load, twice while that grows, and who stands for it.
const RESIDENT: u64 = 56;

/// Puts the rows together that these tasks found to be joined: writes down which go, each with the
/// first row of its set, and says how many.
///
/// # Errors
/// If a file cannot be read or written.
pub fn join(pairs: &[Part], directory: &Path, budget: u64) -> io::Result<(Lengths, u64)> {
    let most = usize::try_from(budget / 2 / RESIDENT).unwrap_or(usize::MAX);
    let mut gone = Sorter::new(directory, budget / 2);
    let each = |see: &mut dyn FnMut([u64; 2]) -> io::Result<()>| -> io::Result<()> {
        for left in pairs {
            let mut log = Log::sealed(&left.directory, PAIRS, &left.lengths)?;
            let mut records = log.replay()?;
            while let Some(pair) = sorter::next(&mut records)? {
                see(pair)?;
            }
        }
        Ok(())
    };
    bring(pairs, PAIRS)?;
    let mut sets = Sets::default();
    let mut fits = true;
    each(&mut |[a, b]| {
        if fits {
            sets.join(a, b);
            fits = sets.rows.len() <= most;
        }
        Ok(())
    })?;
    if fits {
        sets.each_gone(|row, first| gone.push([row, first]))?;
    } else {
        drop(sets);
        let mut all = Sorter::new(directory, budget / 2);
        each(&mut |pair| all.push(pair))?;
        by_rounds(all, (directory, budget), |row, first| {
            gone.push([row, first])
        })?;
    }
    write_gone(gone, directory)
}

/// Sets of rows in memory.
#[derive(Default)]
struct Sets {
    /// The place of each row.
    places: HashMap<u64, u32>,
    rows: Vec<u64>,
    /// The place that each one was joined to; its own if it stands for its set.
    joined: Vec<u32>,
}

impl Sets {
    fn place(&mut self, row: u64) -> u32 {
        let Self {
            places,
            rows,
            joined,
        } = self;
        *places.entry(row).or_insert_with(|| {
            let place = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            rows.push(row);
            joined.push(place);
            place
        })
    }

    fn head(&mut self, mut place: u32) -> u32 {
        loop {
            let of = |at: u32| self.joined.get(at as usize).copied().unwrap_or(at);
            let up = of(place);
            if up == place {
                return place;
            }
            let above = of(up);
            if let Some(slot) = self.joined.get_mut(place as usize) {
                *slot = above;
            }
            place = above;
        }
    }

    fn row(&self, place: u32) -> u64 {
        self.rows.get(place as usize).copied().unwrap_or_default()
    }

    /// Puts the sets of two rows together: the first row of both stands for them.
    fn join(&mut self, a: u64, b: u64) {
        let [a, b] = [a, b].map(|row| self.place(row));
        let [a, b] = [a, b].map(|place| self.head(place));
        let (low, high) = if self.row(a) <= self.row(b) {
            (a, b)
        } else {
            (b, a)
        };
        if let Some(slot) = self.joined.get_mut(high as usize) {
            *slot = low;
        }
    }

    fn each_gone(&mut self, mut see: impl FnMut(u64, u64) -> io::Result<()>) -> io::Result<()> {
        for place in (0..).take(self.rows.len()) {
            let head = self.head(place);
            if head != place {
                see(self.row(place), self.row(head))?;
            }
        }
        Ok(())
    }
}

/// Puts rows together by rounds over their pairs, until each but the first one of a set is paired with
/// that one alone.
fn by_rounds(
    mut pairs: Sorter<2>,
    (directory, budget): (&Path, u64),
    mut see: impl FnMut(u64, u64) -> io::Result<()>,
) -> io::Result<()> {
    let sorter = || Sorter::<2>::new(directory, budget / 4);
    loop {
        // Each row with all its neighbours: those behind it go to the first of them all.
        let mut both = sorter();
        pairs.each(|[a, b]| {
            both.push([a, b])?;
            both.push([b, a])
        })?;
        let mut changed = false;
        let mut large = sorter();
        let mut at = None;
        let mut least = 0;
        both.each(|[row, neighbour]| {
            if at != Some(row) {
                at = Some(row);
                least = row.min(neighbour);
            }
            if neighbour > row {
                changed |= least != row;
                large.push([neighbour, least])?;
            }
            Ok(())
        })?;
        // Each row with those before it: it and they go to the first of them.
        let mut small = sorter();
        let mut at = None;
        let mut least = 0;
        large.each(|[row, neighbour]| {
            if at != Some(row) {
                at = Some(row);
                least = neighbour;
                return small.push([row, least]);
            }
            changed = true;
            small.push([neighbour, least])
        })?;
        if !changed {
            return small.each(|[row, first]| see(row, first));
        }
        pairs = small;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::Workspace;
    use crate::io::atomic::Keep;

    /// The rows that go, with their heads, by this much memory.
    fn joined(pairs: &[[u64; 2]], budget: u64) -> Vec<(u64, u64)> {
        let dir = tempfile::tempdir().unwrap();
        let mut gone = Vec::new();
        let mut all = Sorter::new(dir.path(), budget);
        for pair in pairs {
            all.push(*pair).unwrap();
        }
        by_rounds(all, (dir.path(), budget), |row, first| {
            gone.push((row, first));
            Ok(())
        })
        .unwrap();
        gone
    }

    fn in_memory(pairs: &[[u64; 2]]) -> Vec<(u64, u64)> {
        let mut sets = Sets::default();
        for [a, b] in pairs {
            sets.join(*a, *b);
        }
        let mut gone = Vec::new();
        sets.each_gone(|row, first| {
            gone.push((row, first));
            Ok(())
        })
        .unwrap();
        gone.sort_unstable();
        gone
    }

    proptest! {
        #[test]
        fn rounds_over_the_disk_join_what_memory_joins(
            rows in prop::collection::vec((0u64..60, 0u64..60), 0..80),
            budget in 0u64..2000,
        ) {
            let pairs = rows.iter().filter(|(a, b)| a != b);
            let pairs: Vec<[u64; 2]> = pairs.map(|(a, b)| [*a.min(b), *a.max(b)]).collect();
            prop_assert_eq!(joined(&pairs, budget), in_memory(&pairs));
        }
    }

    #[test]
    fn a_long_chain_and_a_great_star_come_to_their_first_row() {
        let chain: Vec<[u64; 2]> = (1..3000).map(|row| [row, row + 1]).collect();
        let expected: Vec<(u64, u64)> = (2..=3000).map(|row| (row, 1)).collect();
        assert_eq!(joined(&chain, 4000), expected);
        let star: Vec<[u64; 2]> = (0..3000)
            .filter(|row| *row != 1500)
            .map(|row| [row.min(1500), row.max(1500)])
            .collect();
        let expected: Vec<(u64, u64)> = (1..3000).map(|row| (row, 0)).collect();
        assert_eq!(joined(&star, 4000), expected);
    }

    #[test]
    fn what_does_not_fit_is_joined_on_disk_with_the_same_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let files = Workspace::kept(dir.path().to_owned(), Lengths::new(), Keep::default());
        let mut log = files.log(PAIRS).unwrap();
        for row in 0..500_u64 {
            sorter::append(&mut log, [row % 7, row + 7]).unwrap();
        }
        let mut lengths = Lengths::new();
        log.sync(&mut lengths).unwrap();
        let left = Part {
            directory: dir.path().to_owned(),
            lengths,
            elsewhere: None,
        };
        let mut found = Vec::new();
        for budget in [1 << 10, 1 << 20] {
            let out = tempfile::tempdir().unwrap();
            let (lengths, count) = join(std::slice::from_ref(&left), out.path(), budget).unwrap();
            assert_eq!(count, 500);
            found.push(lengths);
        }
        // The digests of the files among them.
        assert_eq!(found[0], found[1]);
    }
}
