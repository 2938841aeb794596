//! Candidates for near-duplicates held against each other: a row goes only for one that stays and is
//! itself as much like it as was asked for.

use std::io;

use hashbrown::{HashMap, HashSet};

use crate::exec::spill::store::Store;
use crate::io::Log;
use crate::op::BandDeduplicator;

/// Rows with the bands by which they are joined, and the sketches by which they are compared.
pub struct Verified<'v> {
    /// The detector.
    pub op: &'v dyn BandDeduplicator,
    /// The keys of all rows, a log a band.
    pub bands: &'v [Log],
    /// The sketches of all rows.
    pub sketches: &'v Store,
    /// The rows that are left.
    pub rows: &'v [u32],
    /// About how many bytes of sketches are held in memory.
    pub budget: Option<u64>,
    /// How many rows at the beginning stay whatever they are like.
    pub fixed: u32,
}

impl Verified<'_> {
    /// Who stands for each of the rows of a cluster, which come by their places, the best one first.
    ///
    /// Row by row: a row is held against those before it that stay and share a band with it, the best
    /// one first; it goes for the first one that it is like, or stays. The keys of the cluster's
    /// rows that stay are in memory, and of their sketches as many as the budget allows.
    ///
    /// # Errors
    /// If keys or sketches cannot be read back.
    pub fn part(&mut self, members: &[u32]) -> io::Result<Vec<u32>> {
        let mut buckets: HashMap<(u32, u64), Vec<u32>> = HashMap::new();
        let mut kept = Sketches {
            store: self.sketches,
            held: HashMap::new(),
            bytes: 0,
            budget: self.budget.unwrap_or(u64::MAX),
        };
        let mut stands = Vec::with_capacity(members.len());
        for (number, &place) in (0_u32..).zip(members) {
            let row = self.rows.get(place as usize).copied().unwrap_or_default();
            let keys = self.keys(row)?;
            let sketch = read(self.sketches, row)?;
            let joined = keys.iter().filter_map(|key| buckets.get(key)).flatten();
            let distinct: HashSet<u32> = joined.copied().collect();
            let mut candidates: Vec<u32> = distinct.into_iter().collect();
            candidates.sort_unstable();
            if row < self.fixed {
                candidates.clear();
            }
            let mut by = place;
            for candidate in candidates {
                let other = members.get(candidate as usize).copied().unwrap_or(place);
                let row = self.rows.get(other as usize).copied().unwrap_or_default();
                if kept.is_like(self.op, row, &sketch)? {
                    by = other;
                    break;
                }
            }
            if by == place {
                for key in keys {
                    buckets.entry(key).or_default().push(number);
                }
                kept.hold(row, sketch);
            }
            stands.push(by);
        }
        Ok(stands)
    }

    fn keys(&self, row: u32) -> io::Result<Vec<(u32, u64)>> {
        let key = |(number, band): (u32, &Log)| {
            let mut key = [0; 8];
            band.read_exact_at(&mut key, u64::from(row) * 8)?;
            Ok((number, u64::from_le_bytes(key)))
        };
        (0..).zip(self.bands).map(key).collect()
    }
}

/// Sketches of rows that stay, in memory as far as they fit.
struct Sketches<'v> {
    store: &'v Store,
    held: HashMap<u32, Vec<u64>>,
    bytes: u64,
    budget: u64,
}

impl Sketches<'_> {
    fn hold(&mut self, row: u32, sketch: Vec<u64>) {
        let bytes = 64 + sketch.len() as u64 * 8;
        if self.bytes + bytes <= self.budget {
            self.bytes += bytes;
            self.held.insert(row, sketch);
        }
    }

    fn is_like(&self, op: &dyn BandDeduplicator, row: u32, sketch: &[u64]) -> io::Result<bool> {
        Ok(match self.held.get(&row) {
            Some(held) => op.alike(held, sketch),
            None => op.alike(&read(self.store, row)?, sketch),
        })
    }
}

fn read(store: &Store, row: u32) -> io::Result<Vec<u64>> {
    let mut frame = Vec::new();
    store.read(row, &mut frame)?;
    let (words, _) = frame.as_chunks::<8>();
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}
