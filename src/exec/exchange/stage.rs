//! The pass in front of exchanges: rows are set aside with their records, then each exchange of the
//! phase decides, one after the other.

use std::io::{self, BufRead};
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::clusters::{self, Gone, Rows};
use super::dropped::Dropped;
use super::group::{GroupRows, Merging};
use super::judged::{Judged, Waiting};
use super::{Machine, PlacedExchange, Records};
use crate::exec::accounting::{Accounting, Last};
use crate::exec::duplicates::Found;
use crate::exec::spill::ExactKeys;
use crate::exec::spill::store::{Frames, Picks, Store, StoreWriter};
use crate::exec::stage::{BatchResult, RowEnd, RowResult, thread_time};
use crate::exec::watch::Watch;
use crate::exec::{RunError, write_error};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::{Common, OpKind};
use crate::plan::Phase;
use crate::recipe::Step;
use crate::record::counts::{Word, lasting};
use crate::record::{RunReport, Stage};
use crate::sample::{Origin, RowError};

/// Rows, records and failures that a phase has set aside so far.
pub struct ExchangeStage<'e> {
    names: Names,
    rows: Kept,
    /// The records of each exchange of the phase, with its step.
    records: Vec<(usize, Box<dyn Records + 'e>)>,
    failed: HashMap<u32, FailedKey>,
    failed_log: Option<Log>,
    seen: ExactKeys,
    /// What tasks found of duplicates, if they looked for them.
    judged: Option<Judged>,
}

/// Rows that were set aside.
enum Kept {
    /// For exchanges, which name them.
    Named(StoreWriter),
    /// In their order, where no exchange is left.
    InOrder(Frames),
}

/// A row whose record failed inside the group of exchanges: it counts for the operators before.
#[derive(Debug, Serialize, Deserialize)]
pub struct FailedKey {
    ordinal: u32,
    step: usize,
    /// Where the row is from.
    pub origin: Origin,
    /// Its `id`.
    pub id: Option<CompactString>,
    #[serde(deserialize_with = "lasting")]
    code: Word,
    message: String,
    /// The line it was read from.
    pub verbatim: Vec<u8>,
}

impl FailedKey {
    /// The row `row`, if its key failed; it has no number yet.
    fn of(row: &mut RowResult) -> Option<Self> {
        let RowEnd::Failed(Stage::Step(step), error, verbatim) = &mut row.end else {
            return None;
        };
        Some(Self {
            ordinal: 0,
            step: *step,
            origin: row.origin,
            id: row.id.take(),
            code: error.code,
            message: error.message.to_string(),
            verbatim: std::mem::take(verbatim),
        })
    }

    /// Enters it as one that failed at `step`.
    ///
    /// # Errors
    /// As [`Accounting::failed`].
    pub fn enter(&self, step: usize, accounting: &mut Accounting) -> Result<(), RunError> {
        let error = RowError::new(self.code, self.message.clone());
        let (id, stage) = (self.id.as_deref(), Stage::Step(step));
        accounting.failed(stage, self.origin, id, &error, &self.verbatim)?;
        accounting.keep_ended(Last::Line(self.origin, &self.verbatim))
    }
}

/// What other rows are made of those that are left.
enum Remade {
    /// One row of each group; the groups have so many.
    Groups(Vec<u32>),
    /// Rows that take over fields of those that went.
    Merged(Gone),
}

/// The names of a phase's working files.
struct Names(usize);

impl Names {
    fn rows(&self) -> String {
        format!("rows-{}", self.0)
    }

    fn in_order(&self) -> String {
        format!("left-{}", self.0)
    }

    fn groups(&self) -> String {
        format!("groups-{}", self.0)
    }

    fn alive(&self) -> String {
        format!("alive-{}", self.0)
    }

    fn common(&self) -> String {
        format!("common-{}", self.0)
    }

    fn failed(&self) -> String {
        format!("failed-{}", self.0)
    }

    fn seen(&self) -> String {
        format!("seen-{}", self.0)
    }

    fn records(&self, step: usize) -> String {
        format!("keys-{}-{step}", self.0)
    }

    fn judged(&self, step: usize) -> String {
        format!("judged-{}-{step}", self.0)
    }
}

/// What the exchanges of a phase decide with.
#[derive(Clone, Copy)]
pub struct Deciding<'d> {
    /// The working files.
    pub workspace: &'d Workspace,
    /// The steps of the recipe.
    pub steps: &'d [Step],
    /// How the rows of groups are made.
    pub making: &'d GroupRows,
    /// What there is to compute with.
    pub machine: Machine<'d>,
}

/// What a phase left.
pub enum Left {
    /// Rows that exchanges left alive.
    Alive(Alive),
    /// All rows that were set aside, where tasks have found out which go.
    All(Frames),
}

/// Rows that exchanges left alive, in their order.
pub struct Alive {
    /// All rows that were set aside, or the groups that a grouper made of them.
    pub store: Arc<Store>,
    /// Those that are left.
    pub rows: Arc<Picks>,
    /// What a census found common among them.
    pub common: Arc<Common>,
}

/// The rows that `phase`, which is phase `number`, left when an earlier process ran it and counted
/// `report`; tasks may have `found` duplicates of it.
///
/// # Errors
/// If the working files cannot be read.
pub fn rows_left(
    workspace: &Workspace,
    (number, phase): (usize, &Phase),
    found: Option<&Found>,
    steps: &[Step],
    report: &RunReport,
) -> Result<Left, RunError> {
    let names = Names(number);
    let read = || {
        if found.is_some_and(|found| phase.group.clone().all(|step| found.is_of(step))) {
            return Ok(Left::All(Frames::open(workspace, &names.in_order())?));
        }
        let rows = if phase.remakes_rows(steps).is_some() {
            names.groups()
        } else {
            names.rows()
        };
        let store = StoreWriter::open(workspace, &rows)?.finish()?;
        let mut alive = Vec::new();
        each_record(&mut workspace.log(&names.alive())?.replay()?, |word| {
            alive.push(u32::from_le_bytes(word));
        })?;
        let mut common = Common::new();
        each_record(&mut workspace.log(&names.common())?.replay()?, |record| {
            let (key, count) = counted_key(record);
            common.insert(key, count);
        })?;
        Ok(Left::Alive(Alive {
            store: Arc::new(store),
            rows: Arc::new(picks(alive, phase.repeating(steps), report)),
            common: Arc::new(common),
        }))
    };
    read().map_err(|e| write_error(workspace.directory().display(), e))
}

/// The rows `alive`, of which `repeating` is the step that may have taken some more than once.
fn picks(alive: Vec<u32>, repeating: Option<usize>, report: &RunReport) -> Picks {
    match repeating {
        Some(step) => Picks::numbered(alive, report.copy_numbers(step)),
        None => Picks::once(alive),
    }
}

/// A key that a census found common, and its count, as they are kept.
#[must_use]
pub fn counted_key(record: [u8; 24]) -> (u128, u64) {
    let (key, count) = record.split_at(16);
    let key = key.first_chunk().copied().unwrap_or_default();
    let count = count.first_chunk().copied().unwrap_or_default();
    (u128::from_le_bytes(key), u64::from_le_bytes(count))
}

/// Removes the rows of phase `phase`, which nothing will read again.
pub fn remove_rows(workspace: &Workspace, phase: usize) {
    let names = Names(phase);
    StoreWriter::remove(workspace, &names.rows());
    StoreWriter::remove(workspace, &names.groups());
    workspace.remove(&names.in_order());
    workspace.remove(&names.alive());
    workspace.remove(&names.common());
}

impl<'e> ExchangeStage<'e> {
    /// Opens the pass of phase `number`, new or as an earlier process left it. At most
    /// `key_budget` bytes of keys of each operator are held in memory. `exchanges` are those of
    /// whose duplicates tasks have not `found` anything.
    ///
    /// # Errors
    /// If a working file cannot be opened.
    pub fn open(
        workspace: &Workspace,
        number: usize,
        exchanges: &'e [PlacedExchange<'e>],
        found: Option<&Found>,
        key_budget: Option<u64>,
    ) -> io::Result<Self> {
        let names = Names(number);
        let rows = if exchanges.is_empty() {
            Kept::InOrder(Frames::open(workspace, &names.in_order())?)
        } else {
            Kept::Named(StoreWriter::open(workspace, &names.rows())?)
        };
        let mut records = Vec::new();
        for (step, exchange) in exchanges {
            let table = exchange.open(workspace, &names.records(*step), key_budget)?;
            records.push((*step, table));
        }
        let mut failed_log = workspace.log_if_kept(&names.failed())?;
        let mut failed = HashMap::new();
        if let Some(log) = &mut failed_log {
            for line in log.replay()?.lines() {
                let row: FailedKey = serde_json::from_str(&line?)?;
                failed.insert(row.ordinal, row);
            }
        }
        let seen = ExactKeys::open(workspace, &names.seen(), key_budget)?;
        let judged = found.map(|found| Judged::open(workspace, found, |step| names.judged(step)));
        let judged = judged.transpose()?;
        Ok(Self {
            names,
            rows,
            records,
            failed,
            failed_log,
            seen,
            judged,
        })
    }

    /// The steps that do not know their references yet.
    #[must_use]
    pub fn wanting_references(&self) -> Vec<usize> {
        let wanting = self.records.iter();
        let wanting = wanting.filter(|(_, records)| records.wants_references());
        wanting.map(|(step, _)| *step).collect()
    }

    /// Appends the key of a row of a reference of `step`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn push_reference(&mut self, step: usize, key: &[u8], place: &str) -> io::Result<()> {
        let mut records = self.records.iter_mut();
        match records.find(|(number, _)| *number == step) {
            Some((_, records)) => records.push_reference(key, place),
            None => Ok(()),
        }
    }

    /// Enters a batch.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn consume(
        &mut self,
        batch: BatchResult,
        phase: &Phase,
        accounting: &mut Accounting,
    ) -> Result<(), RunError> {
        let BatchResult {
            rows,
            frames,
            records,
            ..
        } = batch;
        for mut row in rows {
            let reached = match &row.end {
                RowEnd::Failed(Stage::Step(step), ..) => phase.group.contains(step),
                RowEnd::Alive => true,
                _ => false,
            };
            let frame = frames.get(row.frame.clone()).unwrap_or_default();
            let verdict = match &mut self.judged {
                Some(judged) => judged
                    .verdict(row.origin.offset)
                    .map_err(|e| write_error("what tasks found of duplicates", e))?,
                None => None,
            };
            let admitted = match (&self.judged, verdict) {
                (None, _) => accounting.admit(&row, &mut self.seen)?,
                (Some(_), Some(verdict)) if !phase.group.contains(&verdict.step) => {
                    accounting.duplicate(&row, verdict.step, verdict.first)?;
                    false
                }
                (Some(_), _) => true,
            };
            if !admitted {
                accounting.keep_ended_row(&row, frame)?;
                continue;
            }
            if !reached {
                accounting.ended(&row)?;
                accounting.keep_ended_row(&row, frame)?;
                continue;
            }
            accounting.traced(&row.traces);
            if matches!(row.end, RowEnd::Alive) {
                accounting.sound();
                accounting.write_produced(row.origin, &row.produced)?;
            }
            let goes = verdict.map(|verdict| (verdict.step, verdict.first));
            self.set_aside(&mut row, goes, frame, &records)
                .map_err(|e| write_error("rows set aside on disk", e))?;
        }
        Ok(())
    }

    /// `goes` is the step that drops the row, and for which one, if tasks have found that out; `emitted`
    /// holds the records of the row's batch.
    fn set_aside(
        &mut self,
        row: &mut RowResult,
        goes: Option<(usize, u64)>,
        frame: &[u8],
        emitted: &[u8],
    ) -> io::Result<()> {
        let judges = self.judged.as_ref().map_or(0, Judged::count);
        let failed = FailedKey::of(row);
        if let Some(judged) = &mut self.judged {
            match (goes, &failed) {
                (Some((step, first)), None) => {
                    return judged.push(step, first, &Waiting::Gone(frame));
                }
                (Some((step, first)), Some(row)) => {
                    return judged.push(step, first, &Waiting::GoneBefore(row));
                }
                (None, Some(row)) if judged.is_of(row.step) => {
                    return judged.push(row.step, 0, &Waiting::Failed(row));
                }
                (None, _) => {}
            }
        }
        let ordinal = match &mut self.rows {
            Kept::Named(rows) => rows.push(frame)?,
            Kept::InOrder(rows) => return rows.push(frame),
        };
        let mut places = row.records.iter().skip(judges);
        for (_, records) in &mut self.records {
            let place = places.next().cloned();
            records.push(place.and_then(|place| emitted.get(place)))?;
        }
        if let Some(mut failed) = failed {
            failed.ordinal = ordinal;
            if let Some(log) = &mut self.failed_log {
                let mut line = serde_json::to_vec(&failed)?;
                line.push(b'\n');
                log.append(&line)?;
            }
            self.failed.insert(ordinal, failed);
        }
        Ok(())
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        match &mut self.rows {
            Kept::Named(rows) => rows.sync(lengths)?,
            Kept::InOrder(rows) => rows.sync(lengths)?,
        }
        for (_, records) in &mut self.records {
            records.sync(lengths)?;
        }
        if let Some(log) = &mut self.failed_log {
            log.sync(lengths)?;
        }
        if let Some(judged) = &mut self.judged {
            judged.sync(lengths)?;
        }
        self.seen.sync(lengths)
    }

    /// Lets the exchanges decide, once every row is in. The rows left alive are durable if
    /// `lengths` is given.
    ///
    /// # Errors
    /// If an operator cannot decide, or a file cannot be read or written.
    pub fn resolve(
        self,
        deciding: &Deciding<'_>,
        accounting: &mut Accounting,
        watch: &mut Watch<'_>,
        lengths: &mut Lengths,
    ) -> Result<Left, RunError> {
        let Deciding {
            workspace,
            steps,
            making,
            machine,
        } = *deciding;
        let judges = self.judged.as_ref().map_or(0, Judged::count);
        let exchanges = judges + self.records.len();
        let failed = |e| write_error(workspace.directory().display(), e);
        if let Some(judged) = self.judged {
            let mut done = 0..;
            judged.enter(machine.pool, accounting, |number, accounting| {
                let name = steps.get(number).map_or("", |step| step.name);
                let done = done.next().unwrap_or_default();
                watch.task(name, done, exchanges, &accounting.report);
            })?;
        }
        let rows = match self.rows {
            Kept::InOrder(rows) => return Ok(Left::All(rows)),
            Kept::Named(rows) => rows,
        };
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let store = Arc::new(rows.finish().map_err(failed)?);
        let mut alive: Vec<u32> = (0..count).collect();
        let mut common = Common::new();
        let mut remade = None;
        // The rows that reach the first of neighbouring filters, if one of them asks for these.
        let mut reached: Option<Vec<u32>> = None;
        let last = self.records.last().map(|(at, _)| *at);
        let repeating = last.filter(|at| steps.get(*at).is_some_and(Step::repeats_rows));
        let mut own = self.records.iter().filter_map(|(at, _)| steps.get(*at));
        let look_at_all = own.any(|step| step.base.looks_at_all());
        for (done, (number, mut records)) in (judges..).zip(self.records) {
            let Some(step) = steps.get(number) else {
                continue;
            };
            watch.task(step.name, done, exchanges, &accounting.report);
            // Of the rows that came this far, those whose key failed end here.
            let is_bad = |row: &FailedKey| row.step == number;
            let mut shown = Vec::with_capacity(alive.len());
            for ordinal in alive {
                match self.failed.get(&ordinal).filter(|row| is_bad(row)) {
                    None => shown.push(ordinal),
                    Some(row) => row.enter(number, accounting)?,
                }
            }
            if step.spec.kind != OpKind::Filter {
                reached = None;
            } else if look_at_all {
                records.reach(reached.get_or_insert_with(|| shown.clone()));
            }
            let started = thread_time();
            let resolution = records
                .decide(shown, machine)
                .map_err(|e| RunError::Exchange {
                    operator: step.name.to_owned(),
                    message: e.to_string(),
                })?;
            accounting.add_time(number, thread_time().saturating_sub(started));
            accounting.record_from_data(number, resolution.from_data);
            accounting.record_strata(number, resolution.strata);
            let dropped = Dropped {
                step: number,
                store: &store,
                failed: &self.failed,
                traced: accounting.traces.get(number).is_some_and(Option::is_some),
            };
            dropped.record(
                &resolution.dropped,
                records.as_ref(),
                machine.pool,
                accounting,
            )?;
            accounting.count_repeated(number, resolution.repeated);
            if step.base.choice.report {
                let gone = Gone::new(&resolution.dropped);
                clusters::report(number, &gone, &mut Rows::new(&store), accounting)?;
            }
            alive = resolution.alive;
            remade = match resolution.groups {
                Some(sizes) => Some((number, step, Remade::Groups(sizes))),
                None if step.remakes_rows() => {
                    let gone = Gone::new(&resolution.dropped);
                    Some((number, step, Remade::Merged(gone)))
                }
                None => None,
            };
            common.extend(resolution.common);
        }
        let (store, alive) = match remade {
            None => (store, alive),
            Some((number, step, remade)) => {
                let name = self.names.groups();
                let mut merged = StoreWriter::open(workspace, &name).map_err(failed)?;
                match remade {
                    Remade::Groups(sizes) => Merging {
                        step: number,
                        store: &store,
                        making,
                        accounting,
                    }
                    .merge(&alive, &sizes, &mut merged)?,
                    Remade::Merged(gone) => {
                        let rows = &mut Rows::new(&store);
                        let step = (number, step);
                        clusters::merge(step, &alive, &gone, rows, &mut merged, accounting)?;
                    }
                }
                if workspace.is_kept() {
                    merged.sync(lengths).map_err(failed)?;
                }
                let count = u32::try_from(merged.len()).unwrap_or(u32::MAX);
                let merged = merged.finish().map_err(failed)?;
                (Arc::new(merged), (0..count).collect())
            }
        };
        let mut log = workspace.log_if_kept(&self.names.alive()).map_err(failed)?;
        if let Some(log) = &mut log {
            alive
                .iter()
                .try_for_each(|row| log.append(&row.to_le_bytes()))
                .and_then(|()| log.sync(lengths))
                .map_err(failed)?;
        }
        if let Some(mut log) = workspace
            .log_if_kept(&self.names.common())
            .map_err(failed)?
        {
            common
                .iter()
                .try_for_each(|(key, count)| {
                    log.append(&key.to_le_bytes())?;
                    log.append(&count.to_le_bytes())
                })
                .and_then(|()| log.sync(lengths))
                .map_err(failed)?;
        }
        let rows = picks(alive, repeating, &accounting.report);
        if let Some(step) = repeating {
            accounting.count_most_taken(step, rows.most());
        }
        Ok(Left::Alive(Alive {
            store,
            rows: Arc::new(rows),
            common: Arc::new(common),
        }))
    }
}

/// Removes the records of phase `number`, whose exchanges have decided, and rows that groups were
/// made of.
pub fn remove_records(
    workspace: &Workspace,
    number: usize,
    exchanges: &[PlacedExchange<'_>],
    found: Option<&Found>,
    merged: bool,
) {
    let names = Names(number);
    for (step, exchange) in exchanges {
        exchange.remove(workspace, &names.records(*step));
    }
    for round in found.into_iter().flat_map(|found| &found.rounds) {
        workspace.remove(&names.judged(round.step));
    }
    if merged {
        // The groups hold what is left of them.
        StoreWriter::remove(workspace, &names.rows());
    }
    workspace.remove(&names.failed());
    workspace.remove(&names.seen());
}
