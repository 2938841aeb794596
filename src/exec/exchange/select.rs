//! Selectors: rows are picked by a value, or drawn. The values are written as rows come, and
//! compared on disk once all are known.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Lines};

use xxhash_rust::xxh3::xxh3_128;

use super::digests::Digests;
use super::{Exchange, ExchangeError, Machine, Records, Resolution};
use crate::io::workspace::{Lengths, Replay};
use crate::io::{Log, Workspace};
use crate::op::{FieldKey, Keys, PickError, Picked, Selector};
use crate::record::counts::StratumCounts;

/// What a key costs while keys are sorted, in bytes, beside its text: itself and its row, twice
/// while the list grows.
const RESIDENT: usize = 2 * (size_of::<FieldKey>() + 8);

/// Most parts that are merged at once: each has a buffer of 256 KiB.
const MOST_PARTS: usize = 64;

/// Rows are recorded with the value they are picked by, as a line of JSON.
pub struct Selection<'s>(pub &'s dyn Selector);

impl Exchange for Selection<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        Ok(Box::new(Values {
            op: self.0,
            keys: SelectorKeys::open(workspace, name, budget)?,
        }))
    }
}

struct Values<'e> {
    op: &'e dyn Selector,
    keys: SelectorKeys,
}

impl Records for Values<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        match record {
            Some(line) => self.keys.push_line(line),
            None => self.keys.push(&FieldKey::Null),
        }
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.keys.sync(lengths)
    }

    fn decide(&mut self, alive: Vec<u32>, _: Machine<'_>) -> Result<Resolution, ExchangeError> {
        let (picked, strata) = match self.op.pick(&mut self.keys.shown(&alive))? {
            Picked::All => {
                return Ok(Resolution {
                    alive,
                    ..Resolution::default()
                });
            }
            Picked::Rows(rows) => (rows, Vec::new()),
            Picked::Mixed { rows, strata } => (rows, strata),
        };
        let mut kept = vec![false; alive.len()];
        let counted = strata.into_iter().map(|stratum| StratumCounts {
            value: stratum.value,
            had: stratum.had,
            wanted: stratum.wanted,
            got: stratum.got,
        });
        let mut resolution = Resolution {
            strata: counted.collect(),
            ..Resolution::default()
        };
        for index in picked {
            if let (Some(flag), Some(&row)) =
                (kept.get_mut(index as usize), alive.get(index as usize))
            {
                resolution.repeated += u64::from(*flag);
                *flag = true;
                resolution.alive.push(row);
            }
        }
        resolution.dropped = alive
            .iter()
            .zip(kept)
            .filter(|(_, kept)| !kept)
            .map(|(&row, _)| (row, None))
            .collect();
        Ok(resolution)
    }
}

/// The keys of all rows, one a line.
struct SelectorKeys {
    log: Log,
    workspace: Workspace,
    budget: Option<u64>,
}

impl SelectorKeys {
    /// The keys `name`: none, or those that an earlier process made durable. About `budget` bytes
    /// of them are held in memory at once.
    ///
    /// # Errors
    /// If their file cannot be opened.
    fn open(workspace: &Workspace, name: &str, budget: Option<u64>) -> io::Result<Self> {
        Ok(Self {
            log: workspace.log(name)?,
            workspace: Workspace::nameless(workspace.directory().to_owned()),
            budget,
        })
    }

    /// Appends the key of the next row.
    ///
    /// # Errors
    /// If the disk is full or fails.
    fn push(&mut self, key: &FieldKey) -> io::Result<()> {
        append(&mut self.log, key)
    }

    /// Appends the key of the next row as a row emitted it.
    fn push_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.log.append(line)?;
        self.log.append(b"\n")
    }

    /// Makes the keys durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.sync(lengths)
    }

    /// The keys of `rows`, as a selector is shown them.
    fn shown<'k>(&'k mut self, rows: &'k [u32]) -> Shown<'k> {
        Shown { keys: self, rows }
    }
}

fn append(log: &mut Log, record: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    log.append(&line)
}

/// The keys of some rows, known by their places among these.
struct Shown<'k> {
    keys: &'k mut SelectorKeys,
    rows: &'k [u32],
}

impl Shown<'_> {
    /// Each place with the line of its key, in the order of the rows in the input.
    fn each_line(
        &mut self,
        mut see: impl FnMut(u32, &str) -> Result<(), PickError>,
    ) -> Result<(), PickError> {
        let mut wanted: Vec<(u32, u32)> = self.rows.iter().copied().zip(0..).collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        for (line, row) in self.keys.log.replay()?.lines().zip(0_u32..) {
            let line = line?;
            // A selector before this one may have picked a row more than once.
            while let Some((_, place)) = wanted.next_if(|(wanted, _)| *wanted == row) {
                see(place, &line)?;
            }
        }
        Ok(())
    }
}

impl Keys for Shown<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn each(&mut self, see: &mut dyn FnMut(u32, &FieldKey)) -> Result<(), PickError> {
        self.each_line(|place, line| {
            see(place, &serde_json::from_str(line).map_err(io::Error::from)?);
            Ok(())
        })
    }

    fn firsts(&mut self) -> Result<Vec<u32>, PickError> {
        let mut digests = Digests::open(&self.keys.workspace, "digests", self.keys.budget)?;
        for line in self.keys.log.replay()?.split(b'\n') {
            // Equal keys have equal lines.
            digests.push(Some(xxh3_128(&line?)))?;
        }
        let firsts = digests.firsts(self.rows)?.into_iter().zip(0..);
        Ok(firsts
            .map(|(first, place)| first.unwrap_or(place))
            .collect())
    }

    fn ranks(&mut self) -> Result<Vec<u32>, PickError> {
        let workspace = self.keys.workspace.clone();
        let most = self.keys.budget.map_or(usize::MAX, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        let mut ranks = vec![0; self.rows.len()];
        let mut first: Option<FieldKey> = None;
        let (mut part, mut bytes) = (Vec::new(), 0);
        let mut parts: Vec<Log> = Vec::new();
        self.each_line(|place, line| {
            let key: FieldKey = serde_json::from_str(line).map_err(io::Error::from)?;
            first
                .get_or_insert_with(|| key.clone())
                .check_comparable(&key, place)
                .map_err(PickError::Keys)?;
            bytes += RESIDENT + line.len();
            part.push(Ranked { key, place });
            if bytes > most {
                parts.push(spill(std::mem::take(&mut part), &workspace)?);
                bytes = 0;
                if parts.len() == MOST_PARTS {
                    let mut merged = workspace.log("merged")?;
                    merge(&mut parts, |next| {
                        append(&mut merged, &(next.key, next.place))
                    })?;
                    parts = vec![merged];
                }
            }
            Ok(())
        })?;
        let mut rank = 0;
        let mut before: Option<FieldKey> = None;
        let mut see = |next: Ranked| {
            if let Some(before) = &before
                && before.compare(&next.key) != Some(Ordering::Equal)
            {
                rank += 1;
            }
            if let Some(slot) = ranks.get_mut(next.place as usize) {
                *slot = rank;
            }
            before = Some(next.key);
            Ok(())
        };
        if parts.is_empty() {
            part.sort_unstable();
            part.into_iter().try_for_each(see)?;
        } else {
            parts.push(spill(part, &workspace)?);
            merge(&mut parts, &mut see)?;
        }
        Ok(ranks)
    }
}

/// A key in the order of keys, equal ones in the order of their places.
struct Ranked {
    key: FieldKey,
    place: u32,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.key.compare(&other.key).unwrap_or(Ordering::Equal);
        keys.then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// Writes keys to disk in their order.
fn spill(mut part: Vec<Ranked>, workspace: &Workspace) -> io::Result<Log> {
    part.sort_unstable();
    let mut log = workspace.log("part")?;
    for Ranked { key, place } in part {
        append(&mut log, &(key, place))?;
    }
    Ok(log)
}

/// Shows the keys of all `parts`, each in order, in their order.
fn merge(parts: &mut [Log], mut see: impl FnMut(Ranked) -> io::Result<()>) -> io::Result<()> {
    let mut sources = parts
        .iter_mut()
        .map(|part| part.replay().map(BufRead::lines))
        .collect::<io::Result<Vec<_>>>()?;
    let mut heads = BinaryHeap::new();
    for (number, source) in sources.iter_mut().enumerate() {
        if let Some(head) = next(source)? {
            heads.push(std::cmp::Reverse((head, number)));
        }
    }
    while let Some(std::cmp::Reverse((head, number))) = heads.pop() {
        see(head)?;
        if let Some(source) = sources.get_mut(number)
            && let Some(head) = next(source)?
        {
            heads.push(std::cmp::Reverse((head, number)));
        }
    }
    Ok(())
}

fn next(source: &mut Lines<Replay<'_>>) -> io::Result<Option<Ranked>> {
    let Some(line) = source.next().transpose()? else {
        return Ok(None);
    };
    let (key, place) = serde_json::from_str(&line)?;
    Ok(Some(Ranked { key, place }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::KeyList;

    fn number() -> impl Strategy<Value = FieldKey> {
        prop_oneof![
            (-3i64..3).prop_map(FieldKey::Integer),
            (-3.0..3.0).prop_map(FieldKey::from),
            Just(FieldKey::from(1.0)),
        ]
    }

    fn text() -> impl Strategy<Value = FieldKey> {
        "[a-c\n\"é]{0,3}".prop_map(FieldKey::Text)
    }

    fn keys() -> impl Strategy<Value = Vec<FieldKey>> {
        prop_oneof![
            prop::collection::vec(number(), 0..80),
            prop::collection::vec(text(), 0..80),
            prop::collection::vec(prop_oneof![number(), text(), Just(FieldKey::Null)], 0..8),
        ]
    }

    proptest! {
        #[test]
        fn any_budget_gives_the_answer_of_a_list(
            keys in keys(),
            picks in prop::collection::vec(0usize..80, 0..30),
            budget in prop::option::of(1u64..3000),
        ) {
            let workspace = Workspace::nameless(std::env::temp_dir());
            let mut on_disk = SelectorKeys::open(&workspace, "k", budget).unwrap();
            for key in &keys {
                on_disk.push(key).unwrap();
            }
            let all: Vec<u32> = (0..).take(keys.len()).collect();
            let mixed: Vec<u32> = picks.iter().filter_map(|&at| all.get(at).copied()).collect();
            for rows in [all, mixed] {
                let mut plain = KeyList(rows.iter().map(|&row| keys[row as usize].clone()).collect());
                let mut shown = on_disk.shown(&rows);
                prop_assert_eq!(shown.len(), plain.len());
                prop_assert_eq!(shown.firsts().unwrap(), plain.firsts().unwrap());
                match (shown.ranks(), plain.ranks()) {
                    (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
                    (found, expected) => prop_assert_eq!(found.is_err(), expected.is_err()),
                }
                let mut seen = vec![FieldKey::Null; rows.len()];
                shown.each(&mut |place, key| seen[place as usize] = key.clone()).unwrap();
                prop_assert_eq!(&seen, &plain.0);
            }
        }
    }
}
