//! Which of rows that are the same stays, once all are known.

use std::cmp::Ordering;
use std::io;

use super::{ExchangeError, Resolution};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::{Choice, Survivor};

/// Rows that are the same, by their places among those that are left, the best one first: who stands
/// for each of them.
pub type Parting<'p> = &'p mut dyn FnMut(&[u32]) -> io::Result<Vec<u32>>;

/// How good each row is; nothing is kept where the first one stays.
pub struct Ranks<'e> {
    choice: &'e Choice,
    log: Option<Log>,
}

/// What a record has where its row has no number.
const NO_RANK: [u8; 8] = f64::NAN.to_le_bytes();

impl<'e> Ranks<'e> {
    /// The ranks that belong to the records `name`.
    ///
    /// # Errors
    /// If their file cannot be opened.
    pub fn open(choice: &'e Choice, workspace: &Workspace, name: &str) -> io::Result<Self> {
        let ranked = choice.survivor != Survivor::First;
        let log = ranked
            .then(|| workspace.log(&file_name(name)))
            .transpose()?;
        Ok(Self { choice, log })
    }

    /// Removes them.
    pub fn remove(choice: &Choice, workspace: &Workspace, name: &str) {
        if choice.survivor != Survivor::First {
            workspace.remove(&file_name(name));
        }
    }

    /// Takes the rank off the record of the next row.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push<'r>(&mut self, record: Option<&'r [u8]>) -> io::Result<Option<&'r [u8]>> {
        let Some(log) = &mut self.log else {
            return Ok(record);
        };
        let split = record.and_then(<[u8]>::split_first_chunk::<8>);
        let (rank, rest) = split.unzip();
        log.append(rank.unwrap_or(&NO_RANK))?;
        Ok(rest)
    }

    /// Makes them durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }

    /// Who stays of the rows `alive`, of which `heads` has the place of the first one of each row's
    /// cluster. `part` says who stands for whom in a cluster; without it the best one does for all.
    ///
    /// # Errors
    /// If the ranks cannot be read back, or no row has what they are ranked by.
    pub fn settle(
        &mut self,
        alive: &[u32],
        heads: &[u32],
        part: Option<Parting<'_>>,
    ) -> Result<Resolution, ExchangeError> {
        let mut stands = heads.to_vec();
        if self.log.is_some() || part.is_some() {
            let ranks = self.read(alive)?;
            let mut first = |members: &[u32]| {
                let best = members.first().copied().unwrap_or_default();
                Ok(vec![best; members.len()])
            };
            let part = part.unwrap_or(&mut first);
            for mut members in clusters(heads) {
                // The sort is stable: of equal rows the first one is the best.
                members.sort_by(|a, b| better(rank(&ranks, *a), rank(&ranks, *b)));
                for (&place, by) in members.iter().zip(part(&members)?) {
                    if let Some(slot) = stands.get_mut(place as usize) {
                        *slot = by;
                    }
                }
            }
        }
        let mut resolution = Resolution::default();
        for (place, (&row, by)) in (0_u32..).zip(alive.iter().zip(stands)) {
            if by == place {
                resolution.alive.push(row);
            } else {
                let by = alive.get(by as usize).copied();
                resolution.dropped.push((row, by));
            }
        }
        Ok(resolution)
    }

    /// The rank of each of the rows `alive`; none if the first one stays.
    fn read(&mut self, alive: &[u32]) -> Result<Vec<f64>, ExchangeError> {
        let Some(log) = &mut self.log else {
            return Ok(Vec::new());
        };
        let mut all = Vec::with_capacity(usize::try_from(log.len() / 8).unwrap_or_default());
        each_record(&mut log.replay()?, |rank| {
            all.push(f64::from_le_bytes(rank));
        })?;
        let of_row = |row: &u32| rank(&all, *row);
        let ranks: Vec<f64> = alive.iter().map(of_row).collect();
        match self.choice.survivor.name() {
            Some(name) if !ranks.is_empty() && ranks.iter().all(|rank| rank.is_nan()) => {
                Err(ExchangeError::Operator(format!(
                    "`keep` asks for '{name}', and no row has a number there: it is neither a stat of an earlier step nor a field of the rows"
                )))
            }
            _ => Ok(ranks),
        }
    }
}

fn file_name(name: &str) -> String {
    format!("{name}-ranks")
}

fn rank(ranks: &[f64], at: u32) -> f64 {
    ranks.get(at as usize).copied().unwrap_or(f64::NAN)
}

/// The greater rank goes first, and a row without one last.
fn better(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

/// The clusters of more than one row, each as the places of its rows in order.
fn clusters(heads: &[u32]) -> impl Iterator<Item = Vec<u32>> {
    let mut sizes = vec![0_u32; heads.len()];
    for head in heads {
        if let Some(size) = sizes.get_mut(*head as usize) {
            *size += 1;
        }
    }
    let of_several = |head: u32| sizes.get(head as usize).is_some_and(|size| *size > 1);
    let places = (0_u32..).zip(heads).map(|(place, head)| (*head, place));
    let mut joined: Vec<(u32, u32)> = places.filter(|(head, _)| of_several(*head)).collect();
    joined.sort_unstable();
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = joined.get(at..)?;
        let cluster = rest.chunk_by(|(a, _), (b, _)| a == b).next()?;
        at += cluster.len();
        Some(cluster.iter().map(|(_, place)| *place).collect())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_row_of_each_cluster_stays(
            rows in prop::collection::vec((0u32..6, prop::option::of(0i32..4)), 0..40),
            most in any::<bool>(),
        ) {
            let survivor = if most { Survivor::Max("n".into()) } else { Survivor::Min("n".into()) };
            let choice = Choice { survivor, ..Choice::default() };
            let workspace = Workspace::nameless(std::env::temp_dir());
            let mut ranks = Ranks::open(&choice, &workspace, "k").unwrap();
            for (key, number) in &rows {
                let rank = number.map_or(f64::NAN, f64::from);
                let rank = if most { rank } else { -rank };
                let mut record = rank.to_le_bytes().to_vec();
                record.push(u8::try_from(*key).unwrap());
                prop_assert_eq!(ranks.push(Some(&record)).unwrap(), Some(&record[8..]));
            }
            // Every second row only, as if the others had ended before.
            let alive: Vec<u32> = (0..).take(rows.len()).step_by(2).collect();
            let row = |place: usize| rows[alive[place] as usize];
            let head = |place: usize| (0..alive.len()).find(|&other| row(other).0 == row(place).0).unwrap();
            let heads: Vec<u32> = (0..alive.len()).map(|place| u32::try_from(head(place)).unwrap()).collect();
            let found = ranks.settle(&alive, &heads, None);
            if !alive.is_empty() && alive.iter().all(|&at| rows[at as usize].1.is_none()) {
                prop_assert!(found.is_err());
                return Ok(());
            }
            let found = found.unwrap();
            // As max() and min() of Python over a list: the first of equal ones.
            let mut expected = Resolution::default();
            for place in 0..alive.len() {
                let same = (0..alive.len()).filter(|&other| row(other).0 == row(place).0);
                let numbered = same.clone().filter(|&other| row(other).1.is_some());
                let best = if most {
                    numbered.rev().max_by_key(|&other| row(other).1)
                } else {
                    numbered.min_by_key(|&other| row(other).1)
                };
                let best = best.unwrap_or_else(|| same.clone().next().unwrap());
                if best == place {
                    expected.alive.push(alive[place]);
                } else {
                    expected.dropped.push((alive[place], Some(alive[best])));
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
