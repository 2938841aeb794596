//! Keys that must all be known before anyone can decide, and the decision.
//!
//! Near-duplicate keys are spilled band by band, so that only one band is in memory at a time.

use std::io;

use super::digests::Digests;
use super::measured::MeasuredRows;
use super::selector_keys::SelectorKeys;
use super::store::StoreWriter;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::{Clusters, Common, Decision, FieldKey, Operator, PickError, Picked, RowKey};
use crate::recipe::Step;
use crate::record::counts::FromData;

/// The keys of one operator of a barrier group, one entry a row that reached the group.
pub enum KeyTable {
    /// Bands of a near-duplicate detector, one file a band.
    Near(Vec<BandFile>),
    /// Keys of an exact deduplicator or a grouper.
    Exact(Digests),
    /// Values a selector picks by.
    Select(SelectorKeys),
    /// The keys of a census, each row's followed by a record without one.
    Counts(Digests),
    /// Stats of a filter whose bounds come from them.
    Measured(Box<MeasuredRows>),
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
    /// durable; `None` if the operator has no keys (a mapper). About `budget` bytes of keys are
    /// held in memory at once.
    ///
    /// # Errors
    /// If its files cannot be opened.
    pub fn open(
        operator: &Operator,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Option<Self>> {
        Ok(match operator {
            Operator::Near(op) => Some(Self::Near(
                (0..op.bands())
                    .map(|band| workspace.log(&format!("{name}.{band}")).map(BandFile))
                    .collect::<io::Result<_>>()?,
            )),
            Operator::Exact(_) | Operator::Grouper(_) => {
                Some(Self::Exact(Digests::open(workspace, name, budget)?))
            }
            Operator::Selector(_) => {
                Some(Self::Select(SelectorKeys::open(workspace, name, budget)?))
            }
            Operator::Census(_) => Some(Self::Counts(Digests::open(workspace, name, budget)?)),
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
            (Self::Exact(keys), Some(RowKey::Exact(key))) => keys.push(key),
            (Self::Exact(keys), _) => keys.push(None),
            (Self::Select(keys), Some(RowKey::Select(key))) => keys.push(&key),
            (Self::Select(keys), _) => keys.push(&FieldKey::Null),
            (Self::Counts(all), Some(RowKey::Counts(keys))) => {
                let mut keys = keys.into_iter().map(Some).chain([None]);
                keys.try_for_each(|key| all.push(key))
            }
            (Self::Counts(_), _) => Ok(()),
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
            Self::Exact(keys) | Self::Counts(keys) => keys.sync(lengths),
            Self::Select(keys) => keys.sync(lengths),
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
            (Self::Exact(keys), Operator::Grouper(_)) => Ok(grouped(&keys.firsts(&alive)?, &alive)),
            (Self::Exact(keys), _) => {
                let mut resolution = Resolution::default();
                for (&row, first) in alive.iter().zip(keys.firsts(&alive)?) {
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
            (Self::Select(keys), Operator::Selector(op)) => {
                let Picked::Rows(picked) = op.pick(&mut keys.shown(&alive))? else {
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
            (Self::Counts(keys), Operator::Census(op)) => Ok(Resolution {
                common: keys
                    .common(|count, rows| op.is_common(count, rows))?
                    .into_iter()
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
    pub fn decision(&self, operator: &Operator, row: u32) -> io::Result<Option<Box<Decision>>> {
        match (self, operator) {
            (Self::Measured(rows), Operator::Filter(op)) => rows.decision(op.as_ref(), row),
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

impl From<PickError> for ResolveError {
    fn from(error: PickError) -> Self {
        match error {
            PickError::Io(error) => Self::Io(error),
            PickError::Keys(message) => Self::Operator(message),
        }
    }
}

/// Puts rows with equal keys beside each other, the groups in the order of their first rows;
/// `firsts` has the place of the first row with the same key for each but that one.
fn grouped(firsts: &[Option<u32>], alive: &[u32]) -> Resolution {
    let mut places: Vec<(u32, u32)> = (0..)
        .zip(firsts)
        .map(|(place, first)| (first.unwrap_or(place), place))
        .collect();
    places.sort_unstable();
    let groups = places.chunk_by(|(a, _), (b, _)| a == b);
    let sizes = groups.map(|group| u32::try_from(group.len()).unwrap_or(u32::MAX));
    Resolution {
        groups: Some(sizes.collect()),
        alive: places
            .iter()
            .filter_map(|&(_, place)| alive.get(place as usize).copied())
            .collect(),
        ..Resolution::default()
    }
}
