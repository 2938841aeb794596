//! Samples of a given size of the rows that reached the outputs.

use std::io;

use hashbrown::HashSet;

use super::stage::sampled;
use crate::exec::accounting::LateFate;
use crate::exec::stage::Marks;
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
    /// The samples whose conditions each row does not meet: so many words of marks a row.
    unwanted: Vec<u64>,
    words: usize,
    /// How many samples there are.
    samples: usize,
    log: Option<Log>,
    unwanted_log: Option<Log>,
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
    /// No rows, or those that an earlier process made durable, for the samples among `outputs`.
    ///
    /// # Errors
    /// If a log cannot be opened.
    pub fn open(workspace: &Workspace, outputs: &[OutputSpec]) -> io::Result<Self> {
        let samples = sampled(outputs).count();
        let asks = sampled(outputs).any(|spec| spec.condition.is_some());
        let mut survivors = Self {
            offsets: Vec::new(),
            fates: Vec::new(),
            settled: Vec::new(),
            unwanted: Vec::new(),
            words: if asks { Marks::words_of(samples) } else { 0 },
            samples,
            log: None,
            unwanted_log: None,
        };
        let mut unwanted = Vec::new();
        if let Some(mut log) = workspace.log_if_kept("survivors-unwanted")? {
            each_record(&mut log.replay()?, |word| {
                unwanted.push(u64::from_le_bytes(word));
            })?;
            survivors.unwanted_log = Some(log);
        }
        if let Some(mut log) = workspace.log_if_kept("survivors")? {
            let mut words = unwanted.into_iter();
            each_record(&mut log.replay()?, |[flags, offset @ ..]: [u8; 9]| {
                let own = words.by_ref().take(survivors.words);
                let ended = (flags & 1 != 0, flags & 2 != 0);
                survivors.enter(u64::from_le_bytes(offset), ended, &Marks::of_words(own));
            })?;
            survivors.log = Some(log);
        }
        Ok(survivors)
    }

    /// Adds the next row, with what outputs that are no samples did, and the samples that do not ask
    /// for it.
    ///
    /// # Errors
    /// If a log cannot be written.
    pub fn push(
        &mut self,
        offset: u64,
        (written, refused): (bool, bool),
        unwanted: &Marks,
    ) -> io::Result<()> {
        self.enter(offset, (written, refused), unwanted);
        if let Some(log) = &mut self.log {
            log.append(&[u8::from(written) | u8::from(refused) << 1])?;
            log.append(&offset.to_le_bytes())?;
        }
        if let Some(log) = &mut self.unwanted_log {
            let words = padded(unwanted, self.words);
            words
                .map(u64::to_le_bytes)
                .try_for_each(|word| log.append(&word))?;
        }
        Ok(())
    }

    /// Makes the rows durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        let logs = [&mut self.log, &mut self.unwanted_log].into_iter();
        logs.flatten().try_for_each(|log| log.sync(lengths))
    }

    fn enter(&mut self, offset: u64, ended: (bool, bool), unwanted: &Marks) {
        self.unwanted.extend(padded(unwanted, self.words));
        self.offsets.push(offset);
        self.settled.push(ended.0);
        self.fates.push(match ended {
            (true, _) => LateFate::Written,
            (false, true) => LateFate::Refused,
            (false, false) if unwanted.count() == self.samples => LateFate::Unmatched,
            (false, false) => LateFate::NotDrawn,
        });
    }

    /// Whether the sample number `sample` asks for a row.
    fn is_asked(&self, ordinal: usize, sample: usize) -> bool {
        let from = ordinal * self.words;
        let marks = self.unwanted.get(from..from + self.words);
        !Marks::is_set(marks.unwrap_or_default(), sample)
    }

    /// How many rows the sample number `sample` does not ask for.
    #[must_use]
    pub fn unasked(&self, sample: usize) -> u64 {
        let rows = 0..self.offsets.len();
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

/// The words of `marks`, and as many without one as make `words`.
fn padded(marks: &Marks, words: usize) -> impl Iterator<Item = u64> {
    let all = marks.words().iter().copied();
    all.chain(std::iter::repeat(0)).take(words)
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
