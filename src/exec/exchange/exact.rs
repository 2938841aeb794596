//! Exact deduplicators behind an exchange, or with a choice among duplicates: of the rows of each key
//! the first one stands, or the one that is chosen.
//! (Elsewhere the ordered step admits their keys in passing, see [`super::super::exact_keys`].)

use std::io;

use super::choosing::Ranks;
use super::digests::Digests;
use super::{Exchange, ExchangeError, Machine, Records, Resolution};
use crate::io::Workspace;
use crate::io::workspace::Lengths;
use crate::op::Choice;

/// Rows are recorded with a key of 128 bits, or nothing if they are like no other.
pub struct ExactDuplicates<'s>(pub &'s Choice);

impl Exchange for ExactDuplicates<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        Ok(Box::new(Keys {
            keys: Digests::open(workspace, name, budget)?,
            ranks: Ranks::open(self.0, workspace, name)?,
        }))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        workspace.remove(name);
        Ranks::remove(self.0, workspace, name);
    }
}

/// The keys of all rows.
struct Keys<'e> {
    keys: Digests,
    ranks: Ranks<'e>,
}

impl Records for Keys<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        let key = self.ranks.push(record)?;
        let key = key.and_then(|record| record.first_chunk().copied());
        self.keys.push(key.map(u128::from_le_bytes))
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.ranks.sync(lengths)?;
        self.keys.sync(lengths)
    }

    fn decide(&mut self, alive: Vec<u32>, _: Machine<'_>) -> Result<Resolution, ExchangeError> {
        let firsts = self.keys.firsts(&alive)?.into_iter().zip(0..);
        let heads: Vec<u32> = firsts
            .map(|(first, place)| first.unwrap_or(place))
            .collect();
        self.ranks.settle(&alive, &heads, None)
    }
}
