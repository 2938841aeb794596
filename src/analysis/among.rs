//! What the filters of a recipe drop where some of them decide among all rows: bounds from the
//! data, and the best rows.
//!
//! Rows are known by which steps drop them or fail on them; what the filters that see all rows ask
//! for is read back from the stored stats. Memory is 16 bytes a row for each 64 steps, and 8 to 16
//! for each stat of such a filter.

use std::io;
use std::path::Path;

use super::stat::Stat;
use super::stat_column::StatColumn;
use super::stored::{each_row, judge};
use crate::exec::{Among, Decided};
use crate::op::{Filter, OpKind, Operator, Verdict};
use crate::recipe::{Recipe, Step};
use crate::record::counts::FromData;
use crate::sample::{StatKey, Stats};

/// What a step drops.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepMeasures {
    /// Rows that it would drop if it was the only one.
    pub alone: u64,
    /// Rows that it would drop of those the filters before it keep.
    pub in_sequence: u64,
}

/// Whether a step is a filter that decides when all rows are known.
#[must_use]
pub fn sees_all_rows(step: &Step) -> bool {
    step.spec.kind == OpKind::Filter && step.base.sees_all_rows()
}

/// By row, the steps that drop it for what it is itself, and those that cannot process it.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    steps: usize,
    words: Vec<u64>,
}

impl Judged {
    /// No rows yet, of a recipe of so many steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self {
            steps,
            words: Vec::new(),
        }
    }

    /// Those whose [`Self::words`] these are.
    #[must_use]
    pub fn from_words(steps: usize, words: Vec<u64>) -> Self {
        Self { steps, words }
    }

    /// The rows as numbers, in their order.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    fn width(&self) -> usize {
        self.steps.div_ceil(64).max(1)
    }

    /// Appends a row with the steps that drop it, and those that fail on it.
    pub fn push(&mut self, drops: impl Iterator<Item = usize>, fails: impl Iterator<Item = usize>) {
        let (at, width) = (self.words.len(), self.width());
        self.words.resize(at + 2 * width, 0);
        let places = drops
            .map(|step| (0, step))
            .chain(fails.map(|step| (width, step)));
        for (part, step) in places {
            if let Some(word) = self.words.get_mut(at + part + step / 64) {
                *word |= 1 << (step % 64);
            }
        }
    }

    /// Appends a row that no step sees.
    pub fn push_unread(&mut self) {
        self.push(std::iter::empty(), 0..self.steps);
    }

    fn rows(&self) -> usize {
        self.words.len() / (2 * self.width())
    }

    fn bit(&self, row: usize, part: usize, step: usize) -> bool {
        let at = row * 2 * self.width() + part * self.width() + step / 64;
        let word = self.words.get(at).copied().unwrap_or(0);
        word >> (step % 64) & 1 == 1
    }

    fn drops(&self, row: usize, step: usize) -> bool {
        self.bit(row, 0, step)
    }

    fn fails(&self, row: usize, step: usize) -> bool {
        self.bit(row, 1, step)
    }
}

/// What the steps drop.
#[derive(Debug, Default)]
pub struct Dropped {
    /// By step.
    pub steps: Vec<StepMeasures>,
    /// By step, bounds that were found among the rows that reach it.
    pub found: Vec<Vec<FromData>>,
    /// By stat, how many rows filters that see all rows would drop because of it, each alone.
    pub by_stat: Vec<u64>,
    /// The rows that all steps leave.
    pub left: u64,
}

/// What `steps` drop of the rows of stored stats, which are `judged` by all steps that look at a row
/// alone.
///
/// # Errors
/// If the stats cannot be read. In words, if bounds are found in the wrong order.
pub fn decide(
    jsonl: &Path,
    (steps, stats): (&[Step], &[Stat]),
    rounds: bool,
    judged: &Judged,
) -> io::Result<Result<Dropped, String>> {
    let all_rows = All::read(jsonl, (steps, stats), rounds)?;
    let rows = u32::try_from(judged.rows()).map_err(io::Error::other)?;
    let mut alive = vec![true; judged.rows()];
    let mut out = Dropped {
        by_stat: vec![0; stats.len()],
        ..Dropped::default()
    };
    // The rows that reach the first of neighbouring filters that decide among all rows.
    let mut reached: Option<Vec<u32>> = None;
    for (number, step) in steps.iter().enumerate() {
        let mut counts = StepMeasures::default();
        let mut found = Vec::new();
        for (row, alive) in alive.iter_mut().enumerate() {
            let drops = judged.drops(row, number);
            counts.alone += u64::from(drops);
            counts.in_sequence += u64::from(drops && *alive);
            *alive &= !drops && !judged.fails(row, number);
        }
        if let (true, Operator::Filter(filter)) = (sees_all_rows(step), &step.operator) {
            let filter = filter.as_ref();
            let is_shown = |row: &u32| {
                let at = *row as usize;
                !judged.fails(at, number) && all_rows.has(step, at)
            };
            let reach = |row: &u32| alive.get(*row as usize) == Some(&true);
            let whole: Vec<u32> = (0..rows).filter(is_shown).collect();
            let reaching: Vec<u32> = whole.iter().copied().filter(reach).collect();
            let first = reached.get_or_insert_with(|| reaching.clone());
            let (alone, sequence) = match (
                all_rows.decided(step, filter, (&whole, &whole)),
                all_rows.decided(step, filter, (first, &reaching)),
            ) {
                (Ok(alone), Ok(sequence)) => (alone, sequence),
                (Err(why), _) | (_, Err(why)) => return Ok(Err(why)),
            };
            counts.alone = alone.dropped.len() as u64;
            counts.in_sequence = sequence.dropped.len() as u64;
            for row in &alone.dropped {
                let stat = all_rows.culprit(step, filter, (&alone, *row));
                let at = stats
                    .iter()
                    .position(|known| Some(&known.name) == stat.as_ref());
                if let Some(count) = at.and_then(|at| out.by_stat.get_mut(at)) {
                    *count += 1;
                }
            }
            for row in &reaching {
                if let Some(alive) = alive.get_mut(*row as usize) {
                    *alive = sequence.alive.binary_search(row).is_ok();
                }
            }
            found = sequence.from_data;
        } else {
            reached = None;
        }
        out.steps.push(counts);
        out.found.push(found);
    }
    out.left = alive.iter().filter(|alive| **alive).count() as u64;
    Ok(Ok(out))
}

/// The stats that filters which see all rows ask for.
struct All<'a> {
    columns: Vec<(&'a Stat, StatColumn)>,
}

impl<'a> All<'a> {
    fn read(jsonl: &Path, (steps, stats): (&[Step], &'a [Stat]), rounds: bool) -> io::Result<Self> {
        let asked = |stat: &&Stat| {
            let mut steps = steps.iter().filter(|step| sees_all_rows(step));
            steps.any(|step| step.spec.stats.iter().any(|own| own.name == stat.name))
        };
        let asked = stats.iter().filter(asked);
        let mut columns: Vec<_> = asked.map(|stat| (stat, StatColumn::default())).collect();
        each_row(jsonl, stats, rounds, |row| {
            for (stat, column) in &mut columns {
                column.push(row.stats.get(&stat.name));
            }
            Ok(())
        })?;
        Ok(Self { columns })
    }

    fn stats(&self, step: &Step, row: usize) -> Stats {
        let mut stats = Stats::default();
        for own in &step.spec.stats {
            let mut known = self.columns.iter();
            let column = known.find(|(stat, _)| stat.name == own.name);
            if let Some(value) = column.and_then(|(_, column)| column.get(row)) {
                stats.set(own.name.clone(), value);
            }
        }
        stats
    }

    fn has(&self, step: &Step, row: usize) -> bool {
        let stats = self.stats(step, row);
        let mut own = step.spec.stats.iter();
        own.all(|stat| stat.beside || stats.get(&stat.name).is_some())
    }

    /// What a filter decides about `rows`; `reached` are those that reach the first of the filters
    /// beside it that decide so.
    fn decided(
        &self,
        step: &Step,
        filter: &dyn Filter,
        (reached, rows): (&[u32], &[u32]),
    ) -> Result<Decided, String> {
        let among = Among {
            step,
            filter,
            reached,
            read: &|row| Ok(self.stats(step, row as usize)),
        };
        let decided = among.decide(filter.bounds(), &step.base.from_data, rows);
        let mut decided = decided.map_err(|error| format!("{}: {error}", step.name))?;
        decided.alive.sort_unstable();
        Ok(decided)
    }

    /// The stat because of which a row goes.
    fn culprit(
        &self,
        step: &Step,
        filter: &dyn Filter,
        (decided, row): (&Decided, u32),
    ) -> Option<StatKey> {
        match filter.decide_within(&decided.bounds, &self.stats(step, row as usize)) {
            Verdict::Drop(decision) => Some(decision.stat),
            Verdict::Keep => decided.last.as_ref().map(|(stat, _)| stat.clone()),
        }
    }
}

/// What each filter of `recipe` would drop of the rows of stored stats, and how many rows all
/// of them leave. A filter without stats of its own is passed over; a row that lacks a stat is
/// left to no filter behind the one that asks for it, as in a run.
///
/// # Errors
/// If the file cannot be read, or bounds that come from the data lie in the wrong order.
pub fn cascade(
    jsonl: &Path,
    stats: &[Stat],
    recipe: &Recipe,
) -> io::Result<(Vec<StepMeasures>, u64)> {
    let steps = &recipe.steps;
    if steps.iter().any(sees_all_rows) {
        let mut judged = Judged::new(steps.len());
        each_row(jsonl, stats, recipe.rounds_stats(), |row| {
            let (mut drops, mut fails) = (Vec::new(), Vec::new());
            for (number, step) in steps.iter().enumerate() {
                match judge(step, &row.stats) {
                    Some(Verdict::Drop(_)) if !sees_all_rows(step) => drops.push(number),
                    Some(_) => {}
                    None => fails.push(number),
                }
            }
            judged.push(drops.into_iter(), fails.into_iter());
            Ok(())
        })?;
        let dropped = decide(jsonl, (steps, stats), recipe.rounds_stats(), &judged)?;
        let dropped = dropped.map_err(io::Error::other)?;
        return Ok((dropped.steps, dropped.left));
    }
    let mut counts = vec![StepMeasures::default(); steps.len()];
    let mut left = 0;
    each_row(jsonl, stats, recipe.rounds_stats(), |row| {
        let mut alive = true;
        for (step, count) in steps.iter().zip(&mut counts) {
            match judge(step, &row.stats) {
                Some(Verdict::Keep) => {}
                Some(Verdict::Drop(_)) => {
                    count.alone += 1;
                    count.in_sequence += u64::from(alive);
                    alive = false;
                }
                None => alive = false,
            }
        }
        left += u64::from(alive);
        Ok(())
    })?;
    Ok((counts, left))
}
