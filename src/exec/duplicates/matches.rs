//! The rows of a partition whose keys are the same, or near.

use std::io;
use std::path::Path;

use super::keys::KEYS;
use super::sections::Sections;
use super::verdicts::write_gone;
use super::{Comparing, Left, RECORD, Record, Round};
use crate::exec::spill::{Sorter, sorter};
use crate::io::Workspace;
use crate::io::atomic::Keep;
use crate::io::workspace::Lengths;
use crate::recipe::Step;

/// The name of the file of pairs of rows that are joined, the earlier one first, in order.
pub const PAIRS: &str = "pairs";

/// Compares the keys that fall to `partition`, one of `partitions`, of all parts: says which rows go,
/// or which are joined, and how many these are.
///
/// # Errors
/// If a file cannot be read or written.
pub fn find_matches(
    parts: &[Left],
    (round, steps): (&Round, &[Step]),
    partition: usize,
    (directory, budget): (&Path, u64),
) -> io::Result<(Lengths, u64)> {
    let comparing = Comparing::of(round, steps)?;
    // Keys, and what is found of them.
    let budget = budget / 2;
    let mut found = Sorter::new(directory, budget);
    let tables = comparing.tables();
    for table in 0..tables {
        let section = (partition * tables + table) as u64;
        match &comparing {
            Comparing::Exact => {
                let mut claims = Claims::default();
                let keys: Sorter<RECORD> = keys_of(parts, section, (directory, budget))?;
                keys.each(|record| match claims.goes(record) {
                    Some(pair) => found.push(pair),
                    None => Ok(()),
                })?;
            }
            Comparing::Equal { .. } => {
                let mut first = [0; 2];
                let mut is_first = true;
                let keys: Sorter<2> = keys_of(parts, section, (directory, budget))?;
                keys.each(|[key, row]| {
                    if std::mem::take(&mut is_first) || first[0] != key {
                        first = [key, row];
                        return Ok(());
                    }
                    found.push([first[1], row])
                })?;
            }
            Comparing::Near { distance, .. } => {
                let mut bucket = Bucket::default();
                let keys: Sorter<RECORD> = keys_of(parts, section, (directory, budget))?;
                keys.each(|record| bucket.push(record, *distance, &mut found))?;
                bucket.join(*distance, &mut found)?;
            }
        }
    }
    if !round.joins() {
        return write_gone(found, directory);
    }
    let files = Workspace::kept(directory.to_owned(), Lengths::new(), Keep::default());
    let mut log = files.log(PAIRS)?;
    let mut count = 0;
    found.each(|pair| {
        count += 1;
        sorter::append(&mut log, pair)
    })?;
    let mut lengths = Lengths::new();
    log.sync(&mut lengths)?;
    Ok((lengths, count))
}

/// The keys of one section of all parts.
fn keys_of<const N: usize>(
    parts: &[Left],
    section: u64,
    (directory, budget): (&Path, u64),
) -> io::Result<Sorter<N>> {
    let mut keys = Sorter::new(directory, budget);
    for part in parts {
        for record in Sections::of(part, KEYS)?.read_named(section)? {
            keys.push(record)?;
        }
    }
    Ok(keys)
}

/// Who has claimed an exact key.
#[derive(Default)]
struct Claims {
    key: Option<[u64; 2]>,
    first: Option<u64>,
}

impl Claims {
    /// Takes the next key, with the rows of a key in their order: the row goes if a sound one has claimed
    /// the key before.
    fn goes(&mut self, [upper, lower, row, unsound]: Record) -> Option<[u64; 2]> {
        if self.key != Some([upper, lower]) {
            self.key = Some([upper, lower]);
            self.first = None;
        }
        let before = self.first;
        if before.is_none() && unsound == 0 {
            self.first = Some(row);
        }
        before.map(|first| [row, first])
    }
}

/// Different keys that agree under a mask, each with the first row that has it.
#[derive(Default)]
struct Bucket {
    place: Option<[u64; 2]>,
    keys: Vec<(u64, u64)>,
}

impl Bucket {
    fn push(
        &mut self,
        [part, masked, key, row]: Record,
        distance: Option<u32>,
        found: &mut Sorter<2>,
    ) -> io::Result<()> {
        if self.place != Some([part, masked]) {
            self.join(distance, found)?;
            self.place = Some([part, masked]);
        }
        match self.keys.last() {
            Some((known, first)) if *known == key => found.push([*first, row]),
            _ => {
                self.keys.push((key, row));
                Ok(())
            }
        }
    }

    /// Joins the rows whose keys are near each other.
    fn join(&mut self, distance: Option<u32>, found: &mut Sorter<2>) -> io::Result<()> {
        let keys = std::mem::take(&mut self.keys);
        let Some(distance) = distance else {
            return Ok(());
        };
        for (number, (key, row)) in keys.iter().enumerate() {
            for (other, other_row) in keys.iter().skip(number + 1) {
                if (key ^ other).count_ones() <= distance {
                    found.push([*row.min(other_row), *row.max(other_row)])?;
                }
            }
        }
        Ok(())
    }
}
