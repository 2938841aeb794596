//! Exact deduplicators behind an operator that sees all rows: the first row of each key stands.
//! (Elsewhere the ordered step admits their keys in passing, see [`super::super::exact_keys`].)

use std::io;

use super::digests::KeyRecords;
use super::{Exchange, Records, Resolution};
use crate::io::Workspace;

/// Rows are recorded with a key of 128 bits, or nothing if they are like no other.
pub struct ExactDuplicates;

impl Exchange for ExactDuplicates {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        KeyRecords::open(workspace, name, budget, first_stands)
    }
}

fn first_stands(alive: &[u32], firsts: &[Option<u32>]) -> Resolution {
    let mut resolution = Resolution::default();
    for (&row, first) in alive.iter().zip(firsts) {
        match first {
            None => resolution.alive.push(row),
            Some(first) => {
                let first = alive.get(*first as usize).copied();
                resolution.dropped.push((row, first));
            }
        }
    }
    resolution
}
