//! Censuses: keys of all rows are counted, and every row goes on to be edited by what is common.

use std::io;

use super::digests::Digests;
use super::{Exchange, ExchangeError, Machine, Records, Resolution};
use crate::io::Workspace;
use crate::io::workspace::Lengths;
use crate::op::Census;

/// Rows are recorded with their distinct keys of 128 bits.
pub struct Counting<'s>(pub &'s dyn Census);

impl Exchange for Counting<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        Ok(Box::new(Counts {
            op: self.0,
            keys: Digests::open(workspace, name, budget)?,
        }))
    }
}

/// The keys of all rows, those of each row followed by a record without one.
struct Counts<'e> {
    op: &'e dyn Census,
    keys: Digests,
}

impl Records for Counts<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        // A row that ended before does not count among the rows.
        let Some(record) = record else { return Ok(()) };
        let (keys, _) = record.as_chunks::<16>();
        for key in keys {
            self.keys.push(Some(u128::from_le_bytes(*key)))?;
        }
        self.keys.push(None)
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.keys.sync(lengths)
    }

    fn decide(&mut self, alive: Vec<u32>, _: Machine<'_>) -> Result<Resolution, ExchangeError> {
        let common = self.keys.common(self.op.counted(), |count, rows| {
            self.op.is_common(count, rows)
        })?;
        Ok(Resolution {
            common: common.into_iter().collect(),
            alive,
            ..Resolution::default()
        })
    }
}
