//! RunContext-size samples of the rows that reached the outputs.

use std::io;

use hashbrown::HashSet;

use crate::exec::accounting::LateFate;
use crate::exec::stage::MOST_MARKED;
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
    /// The samples whose conditions each row does not meet, a bit each; empty as long as all meet all.
    unwanted: Vec<u64>,
    /// How many samples there are.
    samples: usize,
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
    pub fn open(workspace: &Workspace, samples: usize) -> io::Result<Self> {
        let mut survivors = Self {
            offsets: Vec::new(),
            fates: Vec::new(),
            settled: Vec::new(),
            unwanted: Vec::new(),
            samples,
            log: None,
        };
        if let Some(mut log) = workspace.log_if_kept("survivors")? {
            each_record(&mut log.replay()?, |[flags, rest @ ..]: [u8; 17]| {
                let (words, _) = rest.as_chunks::<8>();
                if let [offset, unwanted] = words {
                    let [offset, unwanted] = [offset, unwanted].map(|it| u64::from_le_bytes(*it));
                    survivors.enter(offset, (flags & 1 != 0, flags & 2 != 0), unwanted);
                }
            })?;
            survivors.log = Some(log);
        }
        Ok(survivors)
    }

    /// Adds the next row, with what outputs that are no samples did, and the samples that do not ask
    /// for it.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn push(
        &mut self,
        offset: u64,
        (written, refused): (bool, bool),
        unwanted: u64,
    ) -> io::Result<()> {
        self.enter(offset, (written, refused), unwanted);
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        log.append(&[u8::from(written) | u8::from(refused) << 1])?;
        log.append(&offset.to_le_bytes())?;
        log.append(&unwanted.to_le_bytes())
    }

    /// Makes the rows durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }

    fn enter(&mut self, offset: u64, ended: (bool, bool), unwanted: u64) {
        if unwanted > 0 && self.unwanted.is_empty() {
            self.unwanted.resize(self.offsets.len(), 0);
        }
        if unwanted > 0 || !self.unwanted.is_empty() {
            self.unwanted.push(unwanted);
        }
        self.offsets.push(offset);
        self.settled.push(ended.0);
        self.fates.push(match ended {
            (true, _) => LateFate::Written,
            (false, true) => LateFate::Refused,
            (false, false) if unwanted.count_ones() as usize == self.samples => LateFate::Unmatched,
            (false, false) => LateFate::NotDrawn,
        });
    }

    /// Whether the sample number `sample` asks for a row.
    fn is_asked(&self, ordinal: usize, sample: usize) -> bool {
        let marks = self.unwanted.get(ordinal).copied().unwrap_or(0);
        sample >= MOST_MARKED || marks >> sample & 1 == 0
    }

    /// How many rows the sample number `sample` does not ask for.
    #[must_use]
    pub fn unasked(&self, sample: usize) -> u64 {
        let rows = 0..self.unwanted.len();
        rows.filter(|row| !self.is_asked(*row, sample)).count() as u64
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

    /// The draw that `spec`, the sample number `sample`, asks for.
    #[must_use]
    pub fn draw(&self, spec: &OutputSpec, sample: usize) -> Draw {
        let rows = self.offsets.len();
        let wanted = usize::try_from(spec.sample.unwrap_or(0))
            .unwrap_or(usize::MAX)
            .min(rows);
        let order = match spec.sampler {
            Sampler::Uniform => {
                let rows = self.offsets.iter().copied().zip(0..);
                let rows = rows.filter(|(_, row)| self.is_asked(*row as usize, sample));
                return Draw::uniform(spec, rows, wanted);
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
