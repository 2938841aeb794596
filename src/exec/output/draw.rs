//! RunContext-size samples of the rows that reached the outputs.

use std::io;

use hashbrown::HashSet;

use crate::exec::accounting::LateFate;
use crate::hash::{PythonRandom, priority};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::recipe::{OutputSpec, Sampler};

/// The rows that reached the outputs, by ordinal: identity and fate so far.
pub struct Survivors {
    offsets: Vec<u64>,
    fates: Vec<LateFate>,
    /// Rows whose fate an unsampled output settled.
    settled: Vec<bool>,
    log: Option<Log>,
}

/// The order in which rows are drawn for one sample.
pub struct Draw {
    order: Order,
    wanted: usize,
}

enum Order {
    /// Rows by priority, the next one last.
    Uniform(Vec<u32>),
    Python {
        random: Box<PythonRandom>,
        rows: u64,
        first: Option<Vec<u64>>,
        drawn: HashSet<u64>,
    },
}

impl Survivors {
    /// No rows, or those that an earlier process made durable.
    ///
    /// # Errors
    /// If the log cannot be opened.
    pub fn open(workspace: &Workspace) -> io::Result<Self> {
        let mut survivors = Self {
            offsets: Vec::new(),
            fates: Vec::new(),
            settled: Vec::new(),
            log: None,
        };
        if let Some(mut log) = workspace.log_if_kept("survivors")? {
            each_record(&mut log.replay()?, |[flags, offset @ ..]: [u8; 9]| {
                survivors.enter(u64::from_le_bytes(offset), flags & 1 != 0, flags & 2 != 0);
            })?;
            survivors.log = Some(log);
        }
        Ok(survivors)
    }

    /// Adds the next row.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn push(&mut self, offset: u64, written: bool, refused: bool) -> io::Result<()> {
        self.enter(offset, written, refused);
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        log.append(&[u8::from(written) | u8::from(refused) << 1])?;
        log.append(&offset.to_le_bytes())
    }

    /// Makes the rows durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }

    fn enter(&mut self, offset: u64, written: bool, refused: bool) {
        self.offsets.push(offset);
        self.settled.push(written);
        self.fates.push(match (written, refused) {
            (true, _) => LateFate::Written,
            (false, true) => LateFate::Refused,
            (false, false) => LateFate::NotDrawn,
        });
    }

    /// A sample refused the row.
    pub fn mark_refused(&mut self, ordinal: u32) {
        if let Some(fate) = self.fates.get_mut(ordinal as usize)
            && *fate == LateFate::NotDrawn
        {
            *fate = LateFate::Refused;
        }
    }

    /// A sample wrote the rows.
    pub fn mark_written(&mut self, ordinals: &[u32]) {
        for &ordinal in ordinals {
            if let Some(fate) = self.fates.get_mut(ordinal as usize) {
                *fate = LateFate::Written;
            }
        }
    }

    /// Rows whose fate only the samples decided, in order.
    pub fn unsettled(&self) -> impl Iterator<Item = (u32, LateFate)> {
        (0_u32..)
            .zip(&self.fates)
            .zip(&self.settled)
            .filter(|(_, settled)| !**settled)
            .map(|((ordinal, fate), _)| (ordinal, *fate))
    }

    /// The draw that `spec` asks for.
    #[must_use]
    pub fn draw(&self, spec: &OutputSpec) -> Draw {
        let rows = self.offsets.len();
        let wanted = usize::try_from(spec.sample.unwrap_or(0))
            .unwrap_or(usize::MAX)
            .min(rows);
        let order = match spec.sampler {
            Sampler::Uniform => {
                return Draw::uniform(spec, self.offsets.iter().copied().zip(0..), wanted);
            }
            Sampler::Python => {
                let mut random = PythonRandom::new(spec.seed);
                let first = random.sample(rows as u64, wanted as u64);
                let drawn = first.iter().copied().collect();
                Order::Python {
                    random: Box::new(random),
                    rows: rows as u64,
                    first: Some(first),
                    drawn,
                }
            }
        };
        Draw { order, wanted }
    }
}

impl Draw {
    /// Draws of `rows`, given by identity and ordinal, those with the least seeded hashes first.
    #[must_use]
    pub fn uniform(
        spec: &OutputSpec,
        rows: impl Iterator<Item = (u64, u32)>,
        wanted: usize,
    ) -> Self {
        let keyed = rows.map(|(identity, row)| (priority(spec.seed, identity), identity, row));
        let mut keyed: Vec<(u64, u64, u32)> = keyed.collect();
        keyed.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            order: Order::Uniform(keyed.into_iter().map(|k| k.2).collect()),
            wanted,
        }
    }

    /// All of `rows`, in their order.
    #[must_use]
    pub fn all(rows: impl DoubleEndedIterator<Item = u32>) -> Self {
        let rows: Vec<u32> = rows.rev().collect();
        Self {
            wanted: rows.len(),
            order: Order::Uniform(rows),
        }
    }

    /// The next rows drawn, at most `count`; empty once all rows were drawn.
    pub fn next(&mut self, count: usize) -> Vec<u32> {
        let count = count.min(self.wanted);
        match &mut self.order {
            Order::Uniform(rest) => {
                let at = rest.len().saturating_sub(count);
                let mut next = rest.split_off(at);
                next.reverse();
                next
            }
            Order::Python {
                random,
                rows,
                first,
                drawn,
            } => {
                if count == 0 {
                    return Vec::new();
                }
                let indices = first.take().unwrap_or_else(|| {
                    // Python's own draw is used up: the same generator goes on, and rows that it
                    // drew before are passed over.
                    let mut more = Vec::new();
                    while more.len() < count && (drawn.len() as u64) < *rows {
                        let index = random.below(*rows);
                        if drawn.insert(index) {
                            more.push(index);
                        }
                    }
                    more
                });
                indices
                    .into_iter()
                    .filter_map(|index| u32::try_from(index).ok())
                    .collect()
            }
        }
    }
}

/// Whether the rows of a sample are written as drawn; else in input order.
#[must_use]
pub fn keeps_its_order(spec: &OutputSpec) -> bool {
    spec.sampler != Sampler::Uniform || spec.shuffle
}
