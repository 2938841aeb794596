//! Keys that must all be known before anyone can decide, and the decision.
//!
//! Near-duplicate keys are spilled band by band, so that only one band is in memory at a time.

use std::io::{self, BufRead};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::measured::MeasuredRows;
use super::store::StoreWriter;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::{Clusters, Common, Decision, FieldKey, Operator, Picked};
use crate::recipe::Step;
use crate::report::counts::FromData;

/// The keys of one operator of a barrier group, one entry a row that reached the group.
pub enum KeyTable {
    /// Bands of a near-duplicate detector, one file a band.
    Near(Vec<BandFile>),
    /// Keys of an exact deduplicator or a grouper.
    Exact(Vec<Option<u128>>, Option<Log>),
    /// Values a selector ranks by.
    Select(Vec<FieldKey>, Option<Log>),
    /// How many rows hold each key of a census, and how many rows there are.
    Counts(HashMap<u128, u64>, u64, Option<Log>),
    /// Stats of a filter whose bounds come from them.
    Measured(Box<MeasuredRows>),
}

/// The key of one row for one operator.
#[derive(Debug, Clone, PartialEq)]
pub enum RowKey {
    /// One key a band.
    Near(Vec<u64>),
    /// See [`crate::op::ExactDeduplicator`].
    Exact(Option<u128>),
    /// See [`crate::op::Selector`].
    Select(FieldKey),
    /// See [`crate::op::Census`].
    Counts(Vec<u128>),
    /// Stats of a filter, see [`super::measured`].
    Measured(Vec<u8>),
}

/// Keys of one band in row order, on disk.
pub struct BandFile(Log);

impl BandFile {
    fn push(&mut self, key: u64) -> io::Result<()> {
        self.0.append(&key.to_le_bytes())
    }

    fn read(&mut self) -> io::Result<Vec<u64>> {
        let mut keys = Vec::with_capacity(usize::try_from(self.0.len() / 8).unwrap_or(0));
        each_record(&mut self.0.replay()?, |word| {
            keys.push(u64::from_le_bytes(word));
        })?;
        Ok(keys)
    }
}

/// What a barrier decided of the rows it was shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolution {
    /// Rows that stay, in output order.
    pub alive: Vec<u32>,
    /// Rows that go, each with the row it duplicates, if that is why.
    pub dropped: Vec<(u32, Option<u32>)>,
    /// Further copies among `alive`: a selector may take a row more than once.
    pub repeated: u64,
    /// How many of `alive`, one after the other, make each group of a grouper.
    pub groups: Option<Vec<u32>>,
    /// What a census found common.
    pub common: Common,
    /// What a filter took from the data.
    pub from_data: Vec<FromData>,
}

impl KeyTable {
    /// The table `name` for `operator`: empty, or with the keys that an earlier process made
    /// durable; `None` if the operator has no keys (a mapper).
    ///
    /// # Errors
    /// If its files cannot be opened.
    pub fn open(
        operator: &Operator,
        workspace: &Workspace,
        name: &str,
    ) -> io::Result<Option<Self>> {
        Ok(match operator {
            Operator::Near(op) => Some(Self::Near(
                (0..op.bands())
                    .map(|band| workspace.log(&format!("{name}.{band}")).map(BandFile))
                    .collect::<io::Result<_>>()?,
            )),
            Operator::Exact(_) | Operator::Grouper(_) => {
                let mut log = workspace.log_if_kept(name)?;
                let mut keys = Vec::new();
                if let Some(log) = &mut log {
                    each_record(&mut log.replay()?, |record: [u8; 17]| {
                        keys.push(exact_from_record(record));
                    })?;
                }
                Some(Self::Exact(keys, log))
            }
            Operator::Selector(_) => {
                let mut log = workspace.log_if_kept(name)?;
                let mut keys = Vec::new();
                if let Some(log) = &mut log {
                    for line in log.replay()?.lines() {
                        keys.push(serde_json::from_str(&line?)?);
                    }
                }
                Some(Self::Select(keys, log))
            }
            Operator::Census(_) => {
                let mut log = workspace.log_if_kept(name)?;
                let (mut counts, mut rows) = (HashMap::new(), 0);
                if let Some(log) = &mut log {
                    each_record(&mut log.replay()?, |record: [u8; 17]| {
                        count(exact_from_record(record), &mut counts, &mut rows);
                    })?;
                }
                Some(Self::Counts(counts, rows, log))
            }
            Operator::Filter(_) => Some(Self::Measured(Box::new(MeasuredRows::open(
                workspace, name,
            )?))),
            Operator::Mapper(_) | Operator::Expander(_) => None,
        })
    }

    /// Removes the files of the table `name`, which nothing will read again.
    pub fn remove(operator: &Operator, workspace: &Workspace, name: &str) {
        match operator {
            Operator::Near(op) => {
                (0..op.bands()).for_each(|band| workspace.remove(&format!("{name}.{band}")));
            }
            Operator::Filter(_) => StoreWriter::remove(workspace, name),
            _ => workspace.remove(name),
        }
    }

    /// Appends the key of the next row; `None` for a row that ended before this operator.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn push(&mut self, key: Option<RowKey>) -> io::Result<()> {
        match (self, key) {
            (Self::Near(bands), Some(RowKey::Near(keys))) => bands
                .iter_mut()
                .zip(keys)
                .try_for_each(|(band, key)| band.push(key)),
            (Self::Near(bands), _) => bands.iter_mut().try_for_each(|band| band.push(0)),
            (Self::Exact(keys, log), key) => {
                let key = match key {
                    Some(RowKey::Exact(key)) => key,
                    _ => None,
                };
                keys.push(key);
                match log {
                    Some(log) => log.append(&exact_record(key)),
                    None => Ok(()),
                }
            }
            (Self::Select(keys, log), key) => {
                let key = match key {
                    Some(RowKey::Select(key)) => key,
                    _ => FieldKey::Null,
                };
                if let Some(log) = log {
                    let mut line = serde_json::to_vec(&key)?;
                    line.push(b'\n');
                    log.append(&line)?;
                }
                keys.push(key);
                Ok(())
            }
            (Self::Counts(counts, rows, log), key) => {
                let Some(RowKey::Counts(keys)) = key else {
                    return Ok(());
                };
                // A record without a key ends a row.
                for key in keys.into_iter().map(Some).chain([None]) {
                    count(key, counts, rows);
                    if let Some(log) = log {
                        log.append(&exact_record(key))?;
                    }
                }
                Ok(())
            }
            (Self::Measured(rows), Some(RowKey::Measured(stats))) => rows.push(&stats),
            (Self::Measured(rows), _) => rows.push(b""),
        }
    }

    /// Makes the keys durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        match self {
            Self::Near(bands) => bands.iter_mut().try_for_each(|band| band.0.sync(lengths)),
            Self::Exact(_, log) | Self::Select(_, log) | Self::Counts(_, _, log) => {
                log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
            }
            Self::Measured(rows) => rows.sync(lengths),
        }
    }

    /// Decides among the rows `alive` (in their present order).
    ///
    /// # Errors
    /// If spilled keys cannot be read, or the operator cannot compare its keys.
    pub fn resolve(&mut self, step: &Step, alive: Vec<u32>) -> Result<Resolution, ResolveError> {
        match (self, &step.operator) {
            (Self::Near(bands), Operator::Near(op)) => {
                let mut clusters = Clusters::new(alive.len());
                let mut parts = None;
                for band in bands {
                    let all = band.read()?;
                    let column: Vec<u64> = alive
                        .iter()
                        .map(|&row| all.get(row as usize).copied().unwrap_or(0))
                        .collect();
                    drop(all);
                    match &parts {
                        None if op.parted() => parts = Some(column),
                        None => op.cluster(&column, &mut clusters),
                        Some(parts) => clusters.join_within(parts, &column, |keys, inner| {
                            op.cluster(keys, inner);
                        }),
                    }
                }
                let mut resolution = Resolution::default();
                for (index, &row) in (0_u32..).zip(&alive) {
                    let first = clusters.find(index);
                    if first == index {
                        resolution.alive.push(row);
                    } else {
                        resolution
                            .dropped
                            .push((row, alive.get(first as usize).copied()));
                    }
                }
                Ok(resolution)
            }
            (Self::Exact(keys, _), Operator::Grouper(_)) => Ok(grouped(keys, alive)),
            (Self::Exact(keys, _), _) => {
                let mut seen: HashMap<u128, u32> = HashMap::new();
                let mut resolution = Resolution::default();
                for row in alive {
                    let key = keys.get(row as usize).copied().flatten();
                    match key.map(|key| seen.entry(key)) {
                        Some(Entry::Occupied(first)) => {
                            resolution.dropped.push((row, Some(*first.get())));
                        }
                        Some(Entry::Vacant(free)) => {
                            free.insert(row);
                            resolution.alive.push(row);
                        }
                        None => resolution.alive.push(row),
                    }
                }
                Ok(resolution)
            }
            (Self::Select(keys, _), Operator::Selector(op)) => {
                let shown: Vec<FieldKey> = alive
                    .iter()
                    .map(|&row| keys.get(row as usize).cloned().unwrap_or(FieldKey::Null))
                    .collect();
                let Picked::Rows(picked) = op.pick(&shown).map_err(ResolveError::Operator)? else {
                    return Ok(Resolution {
                        alive,
                        ..Resolution::default()
                    });
                };
                let mut kept = vec![false; alive.len()];
                let mut resolution = Resolution::default();
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
            (Self::Counts(counts, rows, _), Operator::Census(op)) => Ok(Resolution {
                common: std::mem::take(counts)
                    .into_iter()
                    .filter(|&(_, count)| op.is_common(count, *rows))
                    .map(|(key, _)| key)
                    .collect(),
                alive,
                ..Resolution::default()
            }),
            (Self::Measured(rows), Operator::Filter(op)) => rows.resolve(step, op.as_ref(), &alive),
            _ => Ok(Resolution {
                alive,
                ..Resolution::default()
            }),
        }
    }

    /// Why a filter dropped a row, once it is resolved.
    ///
    /// # Errors
    /// If what was measured cannot be read back.
    pub fn decision(&self, row: u32) -> io::Result<Option<Box<Decision>>> {
        match self {
            Self::Measured(rows) => rows.decision(row),
            _ => Ok(None),
        }
    }
}

/// Why a barrier could not decide.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Spilled keys cannot be read.
    #[error("cannot read back keys set aside on disk: {0}")]
    Io(#[from] io::Error),
    /// The operator refuses its keys.
    #[error("{0}")]
    Operator(String),
}

/// Puts rows with equal keys beside each other, the groups in the order of their first rows.
fn grouped(keys: &[Option<u128>], alive: Vec<u32>) -> Resolution {
    let mut numbers: HashMap<Option<u128>, usize> = HashMap::new();
    let mut sizes: Vec<u32> = Vec::new();
    let mut rows: Vec<(usize, u32)> = Vec::with_capacity(alive.len());
    for row in alive {
        let key = keys.get(row as usize).copied().flatten();
        let number = *numbers.entry(key).or_insert(sizes.len());
        match sizes.get_mut(number) {
            Some(size) => *size += 1,
            None => sizes.push(1),
        }
        rows.push((number, row));
    }
    // Stable: rows of a group stay in their order.
    rows.sort_by_key(|(number, _)| *number);
    Resolution {
        alive: rows.into_iter().map(|(_, row)| row).collect(),
        groups: Some(sizes),
        ..Resolution::default()
    }
}

/// Enters a key of a census; none ends a row.
fn count(key: Option<u128>, counts: &mut HashMap<u128, u64>, rows: &mut u64) {
    match key {
        Some(key) => *counts.entry(key).or_default() += 1,
        None => *rows += 1,
    }
}

fn exact_record(key: Option<u128>) -> [u8; 17] {
    let mut record = [0; 17];
    if let (Some(key), [flag, rest @ ..]) = (key, &mut record) {
        *flag = 1;
        rest.copy_from_slice(&key.to_le_bytes());
    }
    record
}

fn exact_from_record([flag, key @ ..]: [u8; 17]) -> Option<u128> {
    (flag == 1).then(|| u128::from_le_bytes(key))
}
