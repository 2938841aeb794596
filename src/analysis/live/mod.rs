//! Stored stats in memory, so that other bounds are tried at once: what `djr recut` would leave,
//! without reading or writing a row.
//!
//! Rows go through the steps in their order, as sets ([`Bits`]). A filter that decides by its stats
//! is asked again only when its own bounds change, about every row, by the code that a run asks
//! ([`Filter::decide_within`]); one whose bounds come from the data is asked about the rows that
//! reach it ([`Among`]). What other steps did stands in the ledger of a run; it is true as long as the
//! same rows reach them.

mod bits;
mod copies;

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{HashMap, HashSet};

pub use bits::Bits;
use copies::{Copies, CopyEnd};

use super::recut::{RecutError, StoredRecipe};
use super::stat::{Stat, numbers_of, stats_of};
use super::stat_column::StatColumn;
use super::stored::each_row;
use crate::exec::Among;
use crate::note::Note;
use crate::op::{BoundParam, Bounds, DataBound, Filter, OpKind, Operator, Peers, Verdict};
use crate::recipe::{RecipeSpec, Step};
use crate::record::counts::FromData;
use crate::record::stats::{InputRef, READ};
use crate::record::{Fate, InputRecord, PastRun, StepNumber};
use crate::sample::Stats;

/// A row of the inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Which input, from 0.
    pub file: u32,
    /// Its line, from 1.
    pub line: u64,
    /// Its identity.
    pub offset: u64,
}

/// A bound of a filter that can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knob {
    /// The step, from 0.
    pub step: usize,
    /// The parameter.
    pub bound: BoundParam,
}

/// A bound that was moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Which.
    pub knob: Knob,
    /// Its value as the recipe has it; `None` for no bound.
    pub value: Option<f64>,
}

/// Why a row was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Who says so.
    pub by: String,
    /// The stable word.
    pub code: String,
}

/// What some bounds leave.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The rows that reach each step, and behind the last one those that reach the outputs.
    pub reach: Vec<Bits>,
    /// What became of those that go at each step.
    pub steps: Vec<StepOutcome>,
    /// What was found for bounds that come from the data, by step.
    pub found: Vec<(usize, FromData)>,
    /// The first step whose answer is taken from the run although other rows reach it now, or that
    /// nothing is known of.
    pub unsure: Option<usize>,
}

/// The rows that end at one step.
#[derive(Debug, Clone, Default)]
pub struct StepOutcome {
    /// It drops them.
    pub dropped: Bits,
    /// It cannot process them.
    pub aside: Bits,
    /// They lack a stat: they ended before it was measured.
    pub unknown: Bits,
}

/// How a step decides about stored rows.
enum Rule {
    /// By its stats.
    Stats,
    /// By its stats, among all rows that reach it.
    Among,
    /// It keeps every row that it can process.
    Keeps,
    /// As the run's ledger says.
    Ledger,
    /// Nobody knows.
    Unknown,
}

/// Stats of all rows, with the recipe that measured them.
pub struct Live {
    stored: StoredRecipe,
    notes: Vec<Note>,
    stats: Vec<Stat>,
    columns: Vec<StatColumn>,
    places: Vec<Place>,
    /// Rows that could not be read.
    unreadable: Bits,
    /// By step, those that it could not process.
    failed: Vec<Bits>,
    /// By step, those that it dropped in the run.
    ended: Vec<Bits>,
    /// Copies that it made.
    copies: Copies,
    /// Rows that an output refused in the run, where there was one.
    refused: Option<Bits>,
    /// Of duplicates, the step and the identity of the row that stayed.
    duplicates: Vec<(usize, u64, u32)>,
    reasons: Vec<Reason>,
    reason_of: HashMap<u32, usize>,
    /// By step, what its filter keeps with which bounds.
    kept: Mutex<HashMap<usize, Kept>>,
}

type Kept = (Vec<Bounds>, Arc<Bits>);

impl Live {
    /// The stats of the analysis or run at `path`.
    ///
    /// # Errors
    /// Whatever keeps `djr recut` from recutting it.
    pub fn open(path: &Path, peers: Option<Rc<dyn Peers>>) -> Result<Self, RecutError> {
        let stored = StoredRecipe::open(path, peers)?;
        let notes = stored.check()?;
        let stats = stats_of(&stored.recipe.steps);
        let steps = stored.recipe.steps.len();
        let mut live = Self {
            columns: stats.iter().map(|_| StatColumn::default()).collect(),
            notes,
            stats,
            places: Vec::new(),
            unreadable: Bits::default(),
            failed: vec![Bits::default(); steps],
            ended: vec![Bits::default(); steps],
            copies: Copies::default(),
            refused: None,
            duplicates: Vec::new(),
            reasons: Vec::new(),
            reason_of: HashMap::new(),
            kept: Mutex::default(),
            stored,
        };
        live.read_stats().map_err(|error| RecutError::Read {
            path: live.stored.cached_stats.path.clone(),
            error,
        })?;
        if !crate::layout::AnalysisFiles::new(path).json().exists() {
            live.read_ledger(&PastRun::open(path)?)?;
        }
        Ok(live)
    }

    fn read_stats(&mut self) -> io::Result<()> {
        let names = self.stored.inputs.iter().zip(0_u32..);
        let names: HashMap<String, u32> =
            names.map(|(input, at)| (input.name.clone(), at)).collect();
        let path = self.stored.cached_stats.path.clone();
        let round = self.stored.recipe.rounds_stats();
        let mut bad: Vec<(u32, Option<usize>, Reason)> = Vec::new();
        let (columns, places) = (&mut self.columns, &mut self.places);
        let stats = &self.stats;
        each_row(&path, stats, round, |row| {
            for (column, stat) in columns.iter_mut().zip(stats) {
                column.push(row.stats.get(&stat.name));
            }
            let number = u32::try_from(places.len()).map_err(io::Error::other)?;
            let file = match &row.file {
                InputRef::Index(index) => Some(*index),
                InputRef::Name(name) => names.get(name.as_ref()).copied(),
            };
            places.push(Place {
                file: file.unwrap_or(0),
                line: row.line,
                offset: row.offset,
            });
            for error in row.errors.iter().filter(|error| error.ends_row()) {
                let reason = Reason {
                    by: error.by.to_string(),
                    code: error.code.to_string(),
                };
                bad.push((number, error.step.map(StepNumber::index), reason));
            }
            Ok(())
        })?;
        let rows = self.places.len();
        self.unreadable = Bits::none(rows);
        for bits in self.failed.iter_mut().chain(&mut self.ended) {
            *bits = Bits::none(rows);
        }
        for (row, step, reason) in bad {
            self.set_aside(row, step, reason);
        }
        Ok(())
    }

    fn set_aside(&mut self, row: u32, step: Option<usize>, reason: Reason) {
        match step.and_then(|step| self.failed.get_mut(step)) {
            Some(bits) => bits.add(row as usize),
            None => self.unreadable.add(row as usize),
        }
        self.give_reason(row, reason);
    }

    fn give_reason(&mut self, row: u32, reason: Reason) {
        let known = self.reasons.iter().position(|known| *known == reason);
        let at = known.unwrap_or_else(|| {
            self.reasons.push(reason);
            self.reasons.len() - 1
        });
        self.reason_of.entry(row).or_insert(at);
    }

    fn read_ledger(&mut self, run: &PastRun) -> Result<(), RecutError> {
        let mut refused = Bits::none(self.places.len());
        let numbers: HashMap<u64, u32> = (self.places.iter().zip(0_u32..))
            .map(|(place, row)| (place.offset, row))
            .collect();
        // Of rows that were taken more than once, how each copy ended.
        let mut ends: Vec<CopyEnd> = Vec::new();
        let mut copied: HashSet<u32> = HashSet::new();
        let ran = run.manifest.steps.iter().zip(0..);
        let repeating = ran.filter(|(step, _)| step.repeated > 0);
        let repeating: Vec<usize> = repeating.map(|(_, number)| number).collect();
        if !repeating.is_empty() {
            let mut ledger = run.ledger()?;
            let is_copy = |line: &[u8]| memchr::memmem::find(line, b"\"copy\":").is_some();
            while let Some(entry) = ledger.next_of(is_copy)? {
                if entry.copy > 0 {
                    copied.extend(numbers.get(&entry.offset));
                }
            }
        }
        let mut ledger = run.ledger()?;
        while let Some(entry) = ledger.next_record()? {
            let Some(&row) = numbers.get(&entry.offset) else {
                continue;
            };
            let by = entry.by.as_deref().unwrap_or_default();
            let step = entry.step.map(StepNumber::index);
            if copied.contains(&row) {
                ends.push(CopyEnd {
                    row,
                    copy: entry.copy,
                    step,
                });
            }
            if entry.fate == Fate::Quarantined {
                let reason = Reason {
                    by: by.to_owned(),
                    code: entry.code.as_deref().unwrap_or_default().to_owned(),
                };
                if step.is_some() || by == READ {
                    self.set_aside(row, step, reason);
                } else {
                    refused.add(row as usize);
                    self.give_reason(row, reason);
                }
            } else if let (Fate::Dropped, Some(step)) = (entry.fate, step) {
                // A row goes with its last copy.
                if let (Some(bits), false) = (self.ended.get_mut(step), copied.contains(&row)) {
                    bits.add(row as usize);
                }
                if let Some(first) = entry.duplicate_of.filter(|first| *first != entry.offset) {
                    self.duplicates.push((step, first, row));
                }
            }
        }
        ends.sort_by_key(|end| end.row);
        for copies in ends.chunk_by(|a, b| a.row == b.row) {
            // No step is behind the outputs.
            let last = copies
                .iter()
                .map(|end| end.step.unwrap_or(usize::MAX))
                .max();
            let bits = last.and_then(|last| self.ended.get_mut(last));
            if let (Some(bits), Some(end)) = (bits, copies.first()) {
                bits.add(end.row as usize);
            }
        }
        self.copies = Copies::of(self.steps().len(), &repeating, &ends);
        self.refused = Some(refused);
        Ok(())
    }

    /// What is to be known of a recut.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The recipe as it was stored.
    #[must_use]
    pub fn spec(&self) -> &RecipeSpec {
        &self.stored.spec
    }

    /// Its steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.stored.recipe.steps
    }

    /// What was read.
    #[must_use]
    pub fn inputs(&self) -> &[InputRecord] {
        &self.stored.inputs
    }

    /// What was measured.
    #[must_use]
    pub fn stats(&self) -> &[Stat] {
        &self.stats
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// Where a row is.
    #[must_use]
    pub fn place(&self, row: usize) -> Option<Place> {
        self.places.get(row).copied()
    }

    /// All rows' places, by their numbers.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The reasons for which rows were set aside, or refused by outputs.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// Why a row was set aside or refused, if it was.
    #[must_use]
    pub fn reason(&self, row: usize) -> Option<&Reason> {
        let row = u32::try_from(row).ok()?;
        self.reasons.get(*self.reason_of.get(&row)?)
    }

    /// Rows that could not be read.
    #[must_use]
    pub fn unreadable(&self) -> &Bits {
        &self.unreadable
    }

    /// Rows that an output refused; `None` for an analysis, which has no outputs.
    #[must_use]
    pub fn refused(&self) -> Option<&Bits> {
        self.refused.as_ref()
    }

    /// How many there are of `rows` behind `done` steps: a row that a selector took more than once in the
    /// run counts as often.
    #[must_use]
    pub fn count(&self, rows: &Bits, done: usize) -> u64 {
        self.copies.count(rows, done)
    }

    /// How many reach the outputs.
    #[must_use]
    pub fn left(&self, outcome: &Outcome) -> u64 {
        let last = outcome.reach.last();
        last.map_or(0, |last| self.count(last, outcome.steps.len()))
    }

    /// Duplicates that a run dropped: the step, the identity of the row that stayed, and the row.
    #[must_use]
    pub fn duplicates(&self) -> &[(usize, u64, u32)] {
        &self.duplicates
    }

    /// The numbers that a stat of a row counts as; none if it has none.
    #[must_use]
    pub fn numbers(&self, stat: usize, row: usize) -> Vec<f64> {
        let value = self.columns.get(stat).and_then(|column| column.get(row));
        let Some((value, stat)) = value.zip(self.stats.get(stat)) else {
            return Vec::new();
        };
        let step = self.steps().get(stat.step);
        if let Some(Operator::Filter(filter)) = step.map(|step| &step.operator) {
            let mut stats = Stats::default();
            stats.set(stat.name.clone(), value);
            return filter.numbers(&stats, &stat.name).to_vec();
        }
        numbers_of(&value).unwrap_or_default()
    }

    /// The bounds that can be moved: those that a filter has ranges for.
    #[must_use]
    pub fn knobs(&self) -> Vec<(usize, Knob)> {
        let mut knobs = Vec::new();
        for step in self.steps() {
            let Operator::Filter(filter) = &step.operator else {
                continue;
            };
            if matches!(self.rule(step), Rule::Ledger | Rule::Unknown) {
                continue;
            }
            for own in &step.spec.stats {
                let stat = self.stats.iter().position(|stat| stat.name == own.name);
                let ranged = filter
                    .bounds()
                    .iter()
                    .any(|range| *range.stat() == own.name);
                let Some(stat) = stat.filter(|_| ranged) else {
                    continue;
                };
                knobs.extend(own.bounds().map(|bound| {
                    let step = step.index;
                    (stat, Knob { step, bound })
                }));
            }
        }
        knobs
    }

    /// The knob of a parameter.
    #[must_use]
    pub fn knob(&self, step: usize, param: &str) -> Option<Knob> {
        let mut knobs = self.knobs().into_iter().map(|(_, knob)| knob);
        knobs.find(|knob| knob.step == step && knob.bound.param == param)
    }

    /// A bound moved to a number; what the recipe would have there is its value: whole numbers are
    /// rounded so that nothing is lost which the number keeps.
    #[must_use]
    pub fn moved(&self, knob: Knob, number: Option<f64>) -> Moved {
        let written = number.map(|number| knob.bound.write(number));
        let params = written.map(|value| [(knob.bound.param.to_owned(), value)]);
        let value = params.and_then(|params| knob.bound.value(&params.into_iter().collect()));
        Moved { knob, value }
    }

    /// The recipe with bounds moved; its outputs are as they were stored.
    #[must_use]
    pub fn recipe_with(&self, moved: &[Moved]) -> RecipeSpec {
        let mut spec = self.stored.spec.clone();
        for Moved { knob, value } in moved {
            if let Some(step) = spec.steps.get_mut(knob.step) {
                let written = value.map_or_else(|| knob.bound.open(), |v| knob.bound.write(v));
                step.params.insert(knob.bound.param.to_owned(), written);
            }
        }
        spec
    }

    /// The ranges of a filter with bounds moved.
    fn ranges(step: &Step, filter: &dyn Filter, moved: &[Moved]) -> Result<Vec<Bounds>, String> {
        let own = moved.iter().filter(|moved| moved.knob.step == step.index);
        let found = || {
            own.clone()
                .map(|moved| (moved.knob.bound.param, moved.value))
        };
        let ranges = filter.bounds().iter();
        let ranges: Result<_, _> = ranges.map(|range| range.with_found(found())).collect();
        ranges.map_err(|error| format!("{}: {}", step.name, error.message))
    }

    /// The stats of a row that a step asks for.
    fn stats_of(&self, step: &Step, row: usize) -> Stats {
        let mut stats = Stats::default();
        for own in &step.spec.stats {
            let mut known = self.stats.iter().zip(&self.columns);
            let column = known.find(|(stat, _)| stat.name == own.name);
            if let Some(value) = column.and_then(|(_, column)| column.get(row)) {
                stats.set(own.name.clone(), value);
            }
        }
        stats
    }

    /// The rows that a filter keeps within `ranges`, whether they reach it or not.
    fn kept(&self, step: &Step, filter: &dyn Filter, ranges: Vec<Bounds>) -> Arc<Bits> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bounds, bits)) = lock().get(&step.index)
            && *bounds == ranges
        {
            return Arc::clone(bits);
        }
        let bits = Arc::new(Bits::of(self.rows(), |row| {
            filter.decide_within(&ranges, &self.stats_of(step, row)) == Verdict::Keep
        }));
        lock().insert(step.index, (ranges, Arc::clone(&bits)));
        bits
    }

    /// The rows that lack a stat that a step asks for.
    fn lacking(&self, step: &Step, rows: &Bits) -> Bits {
        let columns: Vec<&StatColumn> = (self.stats.iter().zip(&self.columns))
            .filter(|(stat, _)| step.spec.stats.iter().any(|own| own.name == stat.name))
            .map(|(_, column)| column)
            .collect();
        Bits::of(self.rows(), |row| {
            rows.has(row) && !columns.iter().all(|column| column.has(row))
        })
    }

    /// Whether the stats of a filter were measured: those of one behind a step that decides among all rows
    /// are not in the record of a run.
    fn is_measured(&self, step: &Step) -> bool {
        let rows = self.rows();
        let has_some = |column: &StatColumn| (0..rows).any(|row| column.has(row));
        (self.stats.iter().zip(&self.columns))
            .filter(|(stat, _)| step.spec.stats.iter().any(|own| own.name == stat.name))
            .all(|(_, column)| has_some(column))
    }

    fn rule(&self, step: &Step) -> Rule {
        if step.spec.decides_by_stats() && (self.refused.is_none() || self.is_measured(step)) {
            return if step.base.sees_all_rows() {
                Rule::Among
            } else {
                Rule::Stats
            };
        }
        match step.spec.kind {
            OpKind::Mapper => Rule::Keeps,
            OpKind::Census if !step.spec.measures() => Rule::Keeps,
            _ if self.refused.is_some() => Rule::Ledger,
            _ => Rule::Unknown,
        }
    }

    /// What the steps leave with these bounds moved, and the others as they were stored.
    ///
    /// # Errors
    /// In words, if a lower bound is above its upper one.
    pub fn outcome(&self, moved: &[Moved]) -> Result<Outcome, String> {
        let all = Bits::of(self.rows(), |_| true);
        let mut alive = all.without(&self.unreadable);
        let mut outcome = Outcome {
            reach: vec![alive.clone()],
            ..Outcome::default()
        };
        let mut changed = false;
        // The rows that reach the first of neighbouring filters that decide among all rows.
        let mut reached: Option<Bits> = None;
        for step in self.steps() {
            let mut here = StepOutcome {
                aside: self
                    .failed
                    .get(step.index)
                    .map(|bits| alive.and(bits))
                    .unwrap_or_default(),
                dropped: Bits::none(self.rows()),
                unknown: Bits::none(self.rows()),
            };
            alive = alive.without(&here.aside);
            match (self.rule(step), &step.operator) {
                (Rule::Stats, Operator::Filter(filter)) => {
                    let ranges = Self::ranges(step, filter.as_ref(), moved)?;
                    changed |= ranges != filter.bounds();
                    here.unknown = self.lacking(step, &alive);
                    alive = alive.without(&here.unknown);
                    let kept = self.kept(step, filter.as_ref(), ranges);
                    here.dropped = alive.without(&kept);
                }
                (Rule::Among, Operator::Filter(filter)) => {
                    let filter = filter.as_ref();
                    let ranges = Self::ranges(step, filter, moved)?;
                    changed |= moved.iter().any(|moved| moved.knob.step == step.index);
                    here.unknown = self.lacking(step, &alive);
                    alive = alive.without(&here.unknown);
                    let waits = step.base.keep.is_some() || !left_from_data(step, moved).is_empty();
                    let first = reached.take().filter(|_| waits);
                    let first = first.unwrap_or_else(|| alive.clone());
                    let found = self.among((step, filter), &ranges, moved, (&first, &alive))?;
                    reached = waits.then_some(first);
                    outcome
                        .found
                        .extend(found.1.into_iter().map(|found| (step.index, found)));
                    here.dropped = found.0;
                }
                (Rule::Ledger, _) => {
                    changed |= moved.iter().any(|moved| moved.knob.step == step.index);
                    if changed && outcome.unsure.is_none() {
                        outcome.unsure = Some(step.index);
                    }
                    let ended = self.ended.get(step.index);
                    here.dropped = ended.map(|ended| alive.and(ended)).unwrap_or_default();
                }
                (Rule::Unknown, _) if outcome.unsure.is_none() => {
                    outcome.unsure = Some(step.index);
                }
                _ => {}
            }
            if !matches!(self.rule(step), Rule::Among) {
                reached = None;
            }
            alive = alive.without(&here.dropped);
            outcome.steps.push(here);
            outcome.reach.push(alive.clone());
        }
        Ok(outcome)
    }

    /// Of the rows `alive`, those that a filter drops which decides among them, and the bounds that
    /// it found; `reached` are those that reach the first of the filters beside it that do.
    fn among(
        &self,
        (step, filter): (&Step, &dyn Filter),
        ranges: &[Bounds],
        moved: &[Moved],
        (reached, alive): (&Bits, &Bits),
    ) -> Result<(Bits, Vec<FromData>), String> {
        let from_data = left_from_data(step, moved);
        let numbers = |rows: &Bits| -> Vec<u32> {
            let rows = rows.iter();
            rows.filter_map(|row| u32::try_from(row).ok()).collect()
        };
        let reached = if step.base.looks_at_all() {
            numbers(reached)
        } else {
            Vec::new()
        };
        let among = Among {
            step,
            filter,
            read: &|row| Ok(self.stats_of(step, row as usize)),
            reached: &reached,
        };
        let decided = among
            .decide(ranges, &from_data, &numbers(alive))
            .map_err(|error| format!("{}: {error}", step.name))?;
        let mut dropped = Bits::none(self.rows());
        for row in decided.dropped {
            dropped.add(row as usize);
        }
        Ok((dropped, decided.from_data))
    }
}

/// The bounds of a step that come from the data still: the others were moved.
fn left_from_data(step: &Step, moved: &[Moved]) -> Vec<DataBound> {
    let own = |bound: &&DataBound| {
        let mut moved = moved.iter().map(|moved| moved.knob);
        !moved.any(|knob| knob.step == step.index && knob.bound.param == bound.param)
    };
    step.base.from_data.iter().filter(own).cloned().collect()
}
