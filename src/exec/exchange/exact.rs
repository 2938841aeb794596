//! Exact deduplicators behind an operator that sees all rows: the first row of each key stands.
//! (Elsewhere the ordered step admits their keys in passing, see [`super::super::exact_keys`].)

use std::io;

use super::digests::Digests;
use super::{Exchange, ExchangeError, Records, Resolution};
use crate::io::Workspace;
use crate::io::workspace::Lengths;

/// Rows are recorded with a key of 128 bits, or nothing if they are like no other.
pub struct ExactDuplicates;

impl Exchange for ExactDuplicates {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        Ok(Box::new(Keys(Digests::open(workspace, name, budget)?)))
    }
}

struct Keys(Digests);

impl Records for Keys {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        self.0.push_record(record)
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.0.sync(lengths)
    }

    fn decide(&mut self, alive: Vec<u32>) -> Result<Resolution, ExchangeError> {
        let mut resolution = Resolution::default();
        for (&row, first) in alive.iter().zip(self.0.firsts(&alive)?) {
            match first {
                None => resolution.alive.push(row),
                Some(first) => {
                    let first = alive.get(first as usize).copied();
                    resolution.dropped.push((row, first));
                }
            }
        }
        Ok(resolution)
    }
}
