//! The rows of a partition whose keys are the same, or near.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::keys::KEYS;
use super::sections::{Sections, bring_indexes};
use super::verdicts::write_gone;
use super::{Comparing, Part, Record, Round};
use crate::exec::spill::{Piles, Sorter, sorter};
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
    parts: &[Part],
    (round, steps): (&Round, &[Step]),
    partition: usize,
    (directory, budget): (&Path, u64),
) -> io::Result<(Lengths, u64)> {
    let comparing = Comparing::of(round, steps)?;
    // Keys, twice where there are several tables of them, and what is found.
    let budget = budget / 3;
    let mut found = Sorter::new(directory, budget);
    let tables = comparing.tables() as u64;
    let first = partition as u64 * tables;
    let names = first..first + tables;
    bring_indexes(parts, KEYS)?;
    match &comparing {
        Comparing::Exact => {
            let mut claims = Claims::default();
            let mut keys = Sorter::new(directory, budget);
            for part in parts {
                Sections::of(part, KEYS)?.read_named(names.clone(), |_, key| keys.push(key))?;
            }
            keys.each(|record| match claims.goes(record) {
                Some(pair) => found.push(pair),
                None => Ok(()),
            })?;
        }
        Comparing::Equal { .. } => {
            let mut before: Option<(usize, [u64; 2])> = None;
            each_of_tables(
                parts,
                names,
                (directory, budget),
                |table, [key, row]| match before {
                    Some((of_table, [of_key, first])) if (of_table, of_key) == (table, key) => {
                        found.push([first, row])
                    }
                    _ => {
                        before = Some((table, [key, row]));
                        Ok(())
                    }
                },
            )?;
        }
        Comparing::Near { distance, .. } => {
            let mut bucket = Bucket::default();
            each_of_tables(parts, names, (directory, budget), |table, record| {
                bucket.push(table, record, *distance, &mut found)
            })?;
            bucket.join(*distance, &mut found)?;
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

/// Shows the records of the sections `names` of all parts, table by table, those of a table in order.
fn each_of_tables<const N: usize>(
    parts: &[Part],
    names: Range<u64>,
    (directory, budget): (&Path, u64),
    mut see: impl FnMut(usize, [u64; N]) -> io::Result<()>,
) -> io::Result<()> {
    let mut keys = Piles::new(directory, budget);
    for part in parts {
        Sections::of(part, KEYS)?.read_named(names.clone(), |name, record| {
            let table = usize::try_from(name - names.start).map_err(io::Error::other)?;
            keys.push(table, record)
        })?;
    }
    let mut open: Option<(usize, Sorter<N>)> = None;
    keys.each(|table, record| {
        match &mut open {
            Some((of, sorter)) if *of == table => return sorter.push(record),
            _ => {}
        }
        let mut sorter = Sorter::new(directory, budget);
        sorter.push(record)?;
        match open.replace((table, sorter)) {
            Some((table, sorter)) => sorter.each(|record| see(table, record)),
            None => Ok(()),
        }
    })?;
    match open {
        Some((table, sorter)) => sorter.each(|record| see(table, record)),
        None => Ok(()),
    }
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
    /// The table, the part and the bits under the mask.
    place: Option<(usize, [u64; 2])>,
    keys: Vec<(u64, u64)>,
}

impl Bucket {
    fn push(
        &mut self,
        table: usize,
        [part, masked, key, row]: Record,
        distance: u32,
        found: &mut Sorter<2>,
    ) -> io::Result<()> {
        let place = Some((table, [part, masked]));
        if self.place != place {
            self.join(distance, found)?;
            self.place = place;
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
    fn join(&mut self, distance: u32, found: &mut Sorter<2>) -> io::Result<()> {
        let keys = std::mem::take(&mut self.keys);
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
