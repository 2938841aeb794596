//! Rows of reference files: known to a deduplicator before the rows of the run, never written, and
//! always the ones that stay.

use std::io;

use hashbrown::HashMap;

use super::{Exchange, ExchangeError, Machine, Records, Resolution};
use crate::exec::spill::store::{Store, StoreWriter};
use crate::io::Workspace;
use crate::io::workspace::Lengths;
use crate::op::{Choice, Decision, Survivor};
use crate::record::ledger::{REFERENCE, REFERENCE_LIMIT};
use crate::sample::StatValue;

/// A deduplicator that has references.
pub struct Referenced<'s> {
    /// The deduplicator.
    pub inner: Box<dyn Exchange + 's>,
    /// Which row stays, and what the references are.
    pub choice: &'s Choice,
}

impl Exchange for Referenced<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        Ok(Box::new(WithReferences {
            inner: self.inner.open(workspace, name, budget)?,
            ranked: self.choice.survivor != Survivor::First,
            places: Some(StoreWriter::open(workspace, &places_name(name))?),
            found: None,
            by: HashMap::new(),
        }))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        self.inner.remove(workspace, name);
        StoreWriter::remove(workspace, &places_name(name));
    }
}

fn places_name(name: &str) -> String {
    format!("{name}-references")
}

/// The records of the references, and behind them those of the rows.
struct WithReferences<'e> {
    inner: Box<dyn Records + 'e>,
    ranked: bool,
    /// Where each reference row is from, in words, until all are known.
    places: Option<StoreWriter>,
    found: Option<Store>,
    /// Rows that went for a reference row.
    by: HashMap<u32, u32>,
}

impl Records for WithReferences<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        self.inner.push(record)
    }

    fn wants_references(&self) -> bool {
        self.places.as_ref().is_some_and(|places| places.len() == 0)
    }

    fn push_reference(&mut self, key: &[u8], place: &str) -> io::Result<()> {
        if self.ranked {
            // None is better than a reference.
            let best = f64::INFINITY.to_le_bytes();
            self.inner.push(Some(&[&best, key].concat()))?;
        } else {
            self.inner.push(Some(key))?;
        }
        match &mut self.places {
            Some(places) => places.push(place.as_bytes()).map(drop),
            None => Ok(()),
        }
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.inner.sync(lengths)?;
        let places = self.places.as_mut();
        places.map_or(Ok(()), |places| places.sync(lengths))
    }

    fn decide(
        &mut self,
        alive: Vec<u32>,
        machine: Machine<'_>,
    ) -> Result<Resolution, ExchangeError> {
        let places = self.places.take();
        let count = places.as_ref().map_or(0, StoreWriter::len);
        self.found = places.map(StoreWriter::finish).transpose()?;
        let too_many = |_| ExchangeError::Operator("more than 2^32 rows and references".to_owned());
        let count = u32::try_from(count).map_err(too_many)?;
        let most = alive.iter().max().copied().unwrap_or_default();
        u32::try_from(u64::from(most) + u64::from(count)).map_err(too_many)?;
        self.inner.fix(count);
        let rows = alive.into_iter().map(|row| row + count);
        let mut resolution = self
            .inner
            .decide((0..count).chain(rows).collect(), machine)?;
        let own = |row: u32| row.checked_sub(count);
        resolution.alive = resolution.alive.into_iter().filter_map(own).collect();
        let mut dropped = Vec::new();
        for (row, by) in resolution.dropped {
            let Some(row) = own(row) else { continue };
            if let Some(reference) = by.filter(|by| *by < count) {
                self.by.insert(row, reference);
            }
            dropped.push((row, by.and_then(own)));
        }
        resolution.dropped = dropped;
        Ok(resolution)
    }

    fn decision(&self, row: u32) -> io::Result<Option<Box<Decision>>> {
        let (Some(reference), Some(places)) = (self.by.get(&row), &self.found) else {
            return self.inner.decision(row);
        };
        let mut place = Vec::new();
        places.read(*reference, &mut place)?;
        let place = String::from_utf8_lossy(&place).into_owned();
        Ok(Some(Box::new(Decision {
            stat: REFERENCE.into(),
            value: StatValue::json(place),
            limit: REFERENCE_LIMIT.to_owned(),
        })))
    }
}
