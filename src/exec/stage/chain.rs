//! What a worker thread does with a batch: every row runs through the whole chain of operators
//! before the next row starts, so that one decoded image at a time is alive a thread.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::cpu::thread_time;
use super::recall::{Known, OfStep, Recall};
use super::row::{BatchResult, Rendered, RowEnd, RowResult, StepCost, Trace};
use super::settled::{decided_entry, noted_at};
use crate::exec::cached_stats::{self, CachedRow};
use crate::exec::driver;
use crate::exec::entry::{self, Suffixes};
use crate::exec::fields::FieldWatch;
use crate::exec::spill::store::{self, Picks, Store};
use crate::io::RawBatch;
use crate::io::format::{Framing, Renderer};
use crate::io::split::write_value;
use crate::note::{Code, Codes};
use crate::op::{
    Answer, Common, Decision, ImageNeed, OpKind, Operator, Outcome, Part, Recalls, Request,
    RowCondition, RowKey, Service, Setting, field_value,
};
use crate::plan::Foreseen;
use crate::recipe::{Step, Validation};
use crate::record::stats::READ;
use crate::record::{LedgerEntry, Stage, StatsError, StepNumber};
use crate::sample::{
    FieldPath, ImageContext, ImageSlot, JsonText as _, Origin, RowError, Sample, StatValue, Unread,
    read_row_into,
};

/// Every how many rows an operator is timed; timing each would cost as much as a text filter.
pub const TIMED_EVERY: usize = 32;

/// A row of more bytes is taken out of its batch instead of copied.
const LONG_ROW: usize = 1 << 16;

/// Rows to work on.
pub enum Work {
    /// Fresh from the input, with what is known of the rows, if anything is.
    Raw(RawBatch, Option<RawBatch>),
    /// Rows of an earlier phase.
    Stored(Arc<Store>, Picks),
}

impl Work {
    fn rows(&self) -> usize {
        match self {
            Self::Raw(batch, _) => batch.rows(),
            Self::Stored(_, rows) => rows.len(),
        }
    }
}

/// What one phase does to each row.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for apart")]
pub struct Chain<'a> {
    /// All steps of the recipe.
    pub steps: &'a [Step],
    /// The steps that run row by row, in the order in which they run ([`crate::plan::order`]).
    pub stream: Vec<usize>,
    /// The steps behind them that decide among all rows.
    pub group: Range<usize>,
    /// A field that fresh rows get if they lack it, and its value by input file.
    pub suffixes: Option<Suffixes>,
    /// How images are found.
    pub context: Arc<ImageContext>,
    /// Round stats as Data-Juicer 1.6.1 does.
    pub ujson: bool,
    /// Whether rows that survive are set aside for a later phase.
    pub keep_frames: bool,
    /// Whether rows that filters drop are set aside, too.
    pub keep_dropped: bool,
    /// Outputs that take every surviving row; empty unless this is the last phase.
    pub outputs: Vec<OutputWork<'a>>,
    /// What samples of the rows that are left ask for, an entry a sample; empty unless this is the
    /// last phase.
    pub sampled: Vec<Option<RowCondition>>,
    /// Whether what was measured of each row is kept, dropped rows included.
    pub keep_row_stats: bool,
    /// Whether the ledger's entries of survivors are written.
    pub keep_ledger: bool,
    /// Whether the stats of survivors are rendered.
    pub render_stats: bool,
    /// Steps to collect traces of.
    pub traced: Vec<bool>,
    /// Fields that are copied into the trace of a changed row.
    pub trace_keys: &'a [String],
    /// Every how many rows an operator is timed.
    pub timed_every: usize,
    /// What the census that the stream begins with found common.
    pub common: Arc<Common>,
    /// What is known of the steps together.
    pub foreseen: Arc<Foreseen>,
    /// The longest row, in bytes, that is read whole, if that is bounded.
    pub longest_row: Option<u64>,
    /// The longest text, in bytes, that each step may be given, if that is bounded.
    pub longest: Vec<Option<u64>>,
    /// Looks for the fields of fresh rows that the recipe asks for.
    pub watch: Option<FieldWatch>,
    /// Answers of models that other runs got.
    pub recall: Option<Recall>,
    /// Whether rows that end as most do are added up here, and not one by one where they are in
    /// order: nobody wants them as they were, and every output takes framed records.
    pub settles: bool,
    /// The text and the image token in it, whose number is held against that of images in rows
    /// that reach the outputs.
    pub tokens: Option<(FieldPath, String)>,
}

/// What an output asks of a row.
pub struct OutputWork<'a> {
    /// Turns the row into bytes.
    pub renderer: &'a dyn Renderer,
    /// How far the row's images are checked first.
    pub validate: Validation,
    /// Whether it is made of records for training, and not of Data-Juicer's rows.
    pub of_records: bool,
    /// The folder that its images are copied to, if they are.
    pub copies: Option<PathBuf>,
    /// What a row must meet.
    pub condition: Option<RowCondition>,
    /// What its records are split by.
    pub split: Option<SplitBy>,
    /// What stands around its records in a file.
    pub framing: Framing,
    /// The longest row, and the longest record, in bytes, that it has memory for, if that is bounded.
    pub longest: Option<u64>,
}

impl OutputWork<'_> {
    /// Checks a row's images, videos and audios as far as it asks.
    fn check(&self, sample: &Sample) -> Result<(), RowError> {
        // A record of no path, or of empty ones, is a text.
        let none = |images: &[ImageSlot]| images.iter().all(|image| image.written().is_empty());
        if self.of_records && sample.images().is_ok_and(none) {
            return match self.validate {
                Validation::None => Ok(()),
                _ => sample.check_media(),
            };
        }
        check_images(sample, self.validate)
    }

    /// Appends the record of a row.
    fn render(&self, sample: &Sample, buffer: &mut Vec<u8>) -> Result<(), RowError> {
        self.has_room("row", sample.line().len())?;
        let start = buffer.len();
        self.renderer.render(sample, buffer)?;
        self.has_room("record", buffer.len() - start)
    }

    /// Sees that there is memory for `what`, a row or its record, of so many bytes.
    fn has_room(&self, what: &str, bytes: usize) -> Result<(), RowError> {
        match self.longest.filter(|longest| bytes as u64 > *longest) {
            Some(longest) => Err(RowError::new(
                "row_too_long",
                format!(
                    "the {what} has {bytes} bytes; within max_memory its output takes {longest} at most"
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Says by what the records of an output are split.
pub enum SplitBy {
    /// The value of this field.
    Field(FieldPath),
    /// The name of the input, one for each.
    Input(Vec<String>),
}

/// How far a row is.
#[derive(Debug, Clone)]
struct RowState {
    /// The step it is in.
    at: Stage,
    /// Its images are known to decode.
    images_decode: bool,
    /// Its number in the batch.
    index: usize,
    /// What an earlier run measured of it.
    cached: Option<Arc<CachedRow>>,
    /// An operator made it, with others, of the row that was read.
    is_part: bool,
    /// How many stats it had before its first step here.
    measured_before: usize,
    /// What the step in hand asked is answered so.
    answers: Option<Result<Vec<Answer>, RowError>>,
    /// What it was answered before, if it asks again.
    answered: Vec<Answer>,
    /// Of a row that asks a model: what is known of its requests from other runs.
    known: Option<Known>,
}

impl RowState {
    /// That of row `index` of the batch, which is at its beginning.
    fn new(index: usize) -> Self {
        Self {
            at: Stage::Read,
            images_decode: false,
            index,
            cached: None,
            is_part: false,
            measured_before: 0,
            answers: None,
            answered: Vec::new(),
            known: None,
        }
    }
}

/// A row in the middle of a step that has asked a service about it.
#[derive(Debug)]
pub struct WaitingRow {
    /// Its place among the rows of the batch.
    place: usize,
    sample: Sample,
    row: RowResult,
    state: RowState,
    /// The step that asks.
    step: usize,
    requests: Vec<Request>,
}

/// A batch some of whose rows cannot go on before services answer.
#[derive(Debug)]
pub struct WaitingBatch(BatchResult);

impl WaitingBatch {
    /// The requests that its rows wait for, row by row: the step that asks, and what.
    pub fn take_requests(&mut self) -> Vec<(usize, Vec<Request>)> {
        let rows = self.0.waiting.iter_mut();
        rows.map(|row| (row.step, std::mem::take(&mut row.requests)))
            .collect()
    }

    /// Gives each row the answers to its requests, or the reason why there are none.
    pub fn answer(&mut self, answers: Vec<Result<Vec<Answer>, RowError>>) {
        for (row, answers) in self.0.waiting.iter_mut().zip(answers) {
            row.state.answers = Some(answers);
        }
    }
}

/// How far a batch got.
#[derive(Debug)]
pub enum Progress {
    /// To its end.
    Done(BatchResult),
    /// Rows of it wait for so many bytes of requests to be answered.
    Waits(WaitingBatch, usize),
}

/// How a row's way through the operators ended.
enum ChainEnd {
    /// It reached the end, or a filter dropped it.
    Whole,
    /// The step made these parts of it.
    Parts(usize, Vec<Part>),
    /// The step asks this before it goes on.
    Asks(usize, Vec<Request>),
}

impl Chain<'_> {
    /// Runs a batch through the phase. Rows about which a step asks a service end there.
    #[must_use]
    pub fn run(&self, work: Work) -> BatchResult {
        match self.start(work) {
            Progress::Done(result) | Progress::Waits(WaitingBatch(result), _) => result,
        }
    }

    /// Runs a batch through the phase, as far as it goes without a service.
    #[must_use]
    pub fn start(&self, work: Work) -> Progress {
        Self::timed(|| self.run_rows(work))
    }

    /// Goes on with a batch whose requests are answered.
    #[must_use]
    pub fn go_on(&self, WaitingBatch(mut result): WaitingBatch) -> Progress {
        Self::timed(|| {
            let mut waiting = std::mem::take(&mut result.waiting).into_iter().peekable();
            for (place, row) in std::mem::take(&mut result.rows).into_iter().enumerate() {
                match waiting.next_if(|waiting| waiting.place == place) {
                    Some(mut waiting) => {
                        self.remember(&mut waiting);
                        let WaitingRow {
                            mut sample,
                            row,
                            state,
                            ..
                        } = waiting;
                        self.run_row(&mut sample, row, state, &mut result);
                    }
                    None => result.rows.push(row),
                }
            }
            if let Some(recall) = &self.recall {
                recall.flush();
            }
            result
        })
    }

    /// Puts what a row was told beside what was known of it, and keeps it for other runs.
    fn remember(&self, waiting: &mut WaitingRow) {
        let (Some(known), Some(Ok(answers))) =
            (waiting.state.known.take(), &mut waiting.state.answers)
        else {
            return;
        };
        *answers = known.together(std::mem::take(answers));
        if let Some(recall) = &self.recall {
            recall.keep(waiting.step, &waiting.sample, &known, answers);
        }
    }

    fn timed(run: impl FnOnce() -> BatchResult) -> Progress {
        let (clock, cpu) = (Instant::now(), thread_time());
        let mut result = run();
        result.time.0 += clock.elapsed();
        result.time.1 += thread_time().saturating_sub(cpu);
        if result.waiting.is_empty() {
            result.sort_row_stats();
            return Progress::Done(result);
        }
        let requests = result.waiting.iter().flat_map(|row| &row.requests);
        let bytes = requests.map(|request| request.bytes.len()).sum();
        Progress::Waits(WaitingBatch(result), bytes)
    }

    fn run_rows(&self, mut work: Work) -> BatchResult {
        if let Work::Raw(batch, _) = &mut work {
            batch.write_columns();
        }
        let mut result = self.room_for(&work);
        match work {
            Work::Raw(mut batch, cached) => {
                result.bytes = batch.data.len() as u64;
                result.read = batch.lines.len() as u64;
                let last = batch.lines.len().saturating_sub(1);
                let lines = std::mem::take(&mut batch.lines);
                // One row's room serves them all.
                let mut sample = Sample::empty(Arc::clone(&self.context));
                for (index, line) in lines.iter().enumerate() {
                    // The last row of a batch may be very long: it is not copied.
                    let bytes = if index == last && line.end - line.start > LONG_ROW {
                        Cow::Owned(batch.take_from(line))
                    } else {
                        Cow::Borrowed(batch.bytes(line))
                    };
                    let cached = cached.as_ref().and_then(|cached| {
                        let row = cached.bytes(cached.lines.get(index)?);
                        CachedRow::parse(row, line.origin)
                            .map_err(|fault| result.fault = Some(fault))
                            .ok()
                            .map(Arc::new)
                    });
                    let images_decode = cached.as_ref().is_some_and(|cached| cached.images_decode);
                    let read = match &line.problem {
                        Some(problem) => Err(Unread::new(problem.clone(), bytes)),
                        None => read_row_into(&mut sample, bytes, line.origin),
                    };
                    match read {
                        Ok(()) => {
                            sample.attach(&line.attached);
                            let state = RowState {
                                images_decode,
                                cached,
                                ..RowState::new(index)
                            };
                            let row = RowResult::new(line.origin, &sample);
                            result.push_id(row.id.as_deref());
                            self.run_row(&mut sample, row, state, &mut result);
                        }
                        Err(unread) => self.unread(index, line.origin, unread, &mut result),
                    }
                }
            }
            Work::Stored(store, picks) => {
                let mut index = 0;
                let read = store.each(&picks.rows, |frame| {
                    let (mut sample, images_decode) = store::decode(frame, &self.context)?;
                    if let Some(copy) = picks.copy(index) {
                        sample.become_copy(copy);
                    }
                    let state = RowState {
                        images_decode,
                        ..RowState::new(index)
                    };
                    let row = RowResult::new(sample.origin(), &sample);
                    self.run_row(&mut sample, row, state, &mut result);
                    index += 1;
                    Ok(())
                });
                // Not the row is bad but the disk.
                result.unreadable = read.err();
            }
        }
        result
    }

    /// The steps of the phase, in the order in which they run.
    fn numbers(&self) -> impl Iterator<Item = usize> {
        self.stream.iter().copied().chain(self.group.clone())
    }

    /// The steps of the phase that ask services, with whom they ask.
    pub fn services(&self) -> impl Iterator<Item = (usize, &Service)> {
        self.numbers().filter_map(|number| {
            let service = self.steps.get(number)?.spec.service.as_ref()?;
            Some((number, service))
        })
    }

    /// Whether some row's images may be decoded.
    #[must_use]
    pub fn decodes(&self) -> bool {
        self.numbers().any(|number| self.decodes_at(number)) || self.output_decodes()
    }

    /// The same behind step `number`.
    fn decodes_behind(&self, number: usize) -> bool {
        let mut behind = self.numbers().skip_while(|step| *step != number).skip(1);
        behind.any(|number| self.decodes_at(number)) || self.output_decodes()
    }

    fn decodes_at(&self, number: usize) -> bool {
        let step = self.steps.get(number);
        step.is_some_and(|step| step.spec.images > ImageNeed::Header)
    }

    fn output_decodes(&self) -> bool {
        let mut outputs = self.outputs.iter();
        outputs.any(|output| output.validate == Validation::Decode)
    }

    /// A result with about as much room as the rows will need: growing on the way copies.
    fn room_for(&self, work: &Work) -> BatchResult {
        let rows = work.rows();
        let bytes = match work {
            Work::Raw(batch, _) => batch.data.len(),
            Work::Stored(..) => 0,
        };
        // About what a line of the ledger takes, and one of stats.
        let lines = |wanted: bool| Vec::with_capacity(if wanted { rows * 96 } else { 0 });
        BatchResult {
            rows: Vec::with_capacity(if self.settles { 0 } else { rows }),
            costs: vec![StepCost::default(); self.steps.len()],
            may_wait: self.services().next().is_some(),
            rendered: self
                .outputs
                .iter()
                .map(|_| Vec::with_capacity(bytes + bytes / 4 + rows))
                .collect(),
            id_hashes: match work {
                Work::Raw(..) => Vec::with_capacity(rows * 8),
                Work::Stored(..) => Vec::new(),
            },
            kept: lines(self.keep_ledger),
            row_stats: lines(self.keep_row_stats),
            stats: lines(self.render_stats),
            ..BatchResult::default()
        }
    }

    /// Adds a row that could not be read to the result.
    fn unread(&self, index: usize, origin: Origin, unread: Unread, result: &mut BatchResult) {
        let row = RowResult {
            end: RowEnd::Failed(Stage::Read, unread.error, unread.bytes),
            ..RowResult::unread(origin)
        };
        let state = RowState::new(index);
        self.write_row_stats(None, &state, &row, result);
        result.push(row);
    }

    /// Runs a row from where it is; a panic of an operator ends that row only.
    fn run_row(
        &self,
        sample: &mut Sample,
        mut row: RowResult,
        mut state: RowState,
        result: &mut BatchResult,
    ) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let outcome = self.run_steps(sample, &mut row, &mut state, result)?;
            if matches!((&outcome, &row.end), (ChainEnd::Whole, RowEnd::Alive)) {
                sample.release_texts();
                self.finish(sample, state.images_decode, &mut row, result);
                row.produced = sample.produced().to_vec();
            }
            Ok(outcome)
        }));
        if let Ok(Ok(ChainEnd::Asks(step, requests))) = outcome {
            return self.wait(sample, row, state, (step, requests), result);
        }
        row.remarked.clone_from(&sample.remarked);
        result.images.add(sample.image_counts());
        let error = match outcome {
            Ok(Ok(ChainEnd::Asks(..) | ChainEnd::Whole)) => None,
            Ok(Ok(ChainEnd::Parts(step, parts))) => {
                // One line a row that was read: of the whole, up to here.
                if !state.is_part {
                    self.write_row_stats(Some(sample), &state, &row, result);
                }
                state.at = Stage::Step(step);
                return self.run_parts(sample, row, state, parts, result);
            }
            Ok(Err(error)) => Some(error),
            Err(panic) => Some(RowError::new(
                "internal_panic",
                panic_message(panic.as_ref()),
            )),
        };
        if let Some(error) = error {
            row.end = RowEnd::Failed(state.at, error, verbatim(sample));
        }
        if !state.is_part {
            self.write_row_stats(Some(sample), &state, &row, result);
        }
        if self.keep_dropped && matches!(row.end, RowEnd::Dropped(..)) {
            let start = result.frames.len();
            store::encode(sample, sample.images_known_to_decode(), &mut result.frames);
            row.frame = start..result.frames.len();
        }
        if self.settles && row.is_plain() {
            self.settle(&row, result);
        } else {
            result.push(row);
        }
    }

    /// Adds a row to those that need nobody's say.
    fn settle(&self, row: &RowResult, result: &mut BatchResult) {
        if let RowEnd::Dropped(number, decision) = &row.end
            && self.keep_ledger
        {
            let name = self.steps.get(*number).map_or("", |step| step.name);
            let noted = noted_at(&row.remarked, *number);
            let place = LedgerEntry::of(row.origin, row.id.as_deref());
            let step = StepNumber::at(*number);
            decided_entry(place, (name, step), decision, noted).write(&mut result.kept);
        }
        result.settle(row);
    }

    /// Sets a row aside until what a step asks about it is answered. Another stands in its place.
    fn wait(
        &self,
        sample: &mut Sample,
        row: RowResult,
        state: RowState,
        (step, requests): (usize, Vec<Request>),
        result: &mut BatchResult,
    ) {
        if !self.decodes_behind(step) {
            sample.release_images();
        }
        sample.release_texts();
        let empty = Sample::empty(Arc::clone(&self.context));
        let sample = std::mem::replace(sample, empty);
        let place = result.rows.len();
        result.rows.push(RowResult::unread(row.origin));
        result.waiting.push(WaitingRow {
            place,
            sample,
            row,
            state,
            step,
            requests,
        });
    }

    /// Runs the parts that the step at `state.at` made of a row from the next step on. One copy of
    /// the row is alive at a time.
    fn run_parts(
        &self,
        sample: &Sample,
        whole: RowResult,
        state: RowState,
        parts: Vec<Part>,
        result: &mut BatchResult,
    ) {
        let mut traces = whole.traces;
        for (number, part) in (0..).zip(parts) {
            let origin = whole.origin.part(number);
            let images_decode = state.images_decode && !part.writes(&self.context.image_key);
            let state = RowState {
                images_decode,
                cached: None,
                is_part: true,
                ..state.clone()
            };
            let same = part.is_same();
            match part.of(sample, number) {
                Ok(mut part) => {
                    if let (Stage::Step(step), false) = (state.at, same) {
                        self.outdate(step, &mut part);
                    }
                    let mut row = RowResult::new(origin, &part);
                    row.traces = std::mem::take(&mut traces);
                    self.run_row(&mut part, row, state, result);
                }
                Err(error) => result.push(RowResult {
                    id: whole.id.clone(),
                    end: RowEnd::Failed(state.at, error, verbatim(sample)),
                    ..RowResult::unread(origin)
                }),
            }
        }
    }

    fn run_steps(
        &self,
        sample: &mut Sample,
        row: &mut RowResult,
        state: &mut RowState,
        result: &mut BatchResult,
    ) -> Result<ChainEnd, RowError> {
        let mut answers = state.answers.take().transpose()?;
        if let Some(answers) = &mut answers {
            answers.splice(0..0, state.answered.drain(..));
        }
        let passed = match state.at {
            Stage::Step(step) if answers.is_some() => step,
            Stage::Step(step) => step + 1,
            _ => {
                if let Some(watch) = &self.watch {
                    watch.look(sample, &mut result.fields);
                }
                entry::enter(sample, self.suffixes.as_ref())?;
                0
            }
        };
        if answers.is_none() {
            state.measured_before = sample.stats.len();
        }
        for number in self.numbers().filter(|&step| step >= passed) {
            let (Some(step), Some(cost)) = (self.steps.get(number), result.costs.get_mut(number))
            else {
                break;
            };
            state.at = Stage::Step(number);
            let mut answers = answers.take();
            cost.rows += u64::from(answers.is_none());
            let clock = state
                .index
                .is_multiple_of(self.timed_every)
                .then(Instant::now);
            let edits = sample.edits();
            if let Some(cached) = &state.cached
                && let Err(fault) = cached.fill(step, &mut sample.stats, self.ujson)
            {
                let line = sample.origin().line;
                result.fault = Some(format!(
                    "{} asks for the row in line {line}, which ended before {fault} in the run that stored the stats",
                    step.name
                ));
            }
            let mut done = self.step(step, number, sample, row, answers.as_deref());
            if let (Ok(Outcome::Asks(requests)), Some(recall)) = (&mut done, &self.recall)
                && let Some(known) = recall.of(number, requests)
            {
                match known.missing(std::mem::take(requests)) {
                    Ok(more) => {
                        recall.keep(number, sample, &known, &more);
                        let mut all = answers.take().unwrap_or_default();
                        all.extend(more);
                        done = self.step(step, number, sample, row, Some(&all));
                        answers = Some(all);
                    }
                    Err(left) => {
                        *requests = left;
                        state.known = Some(known);
                    }
                }
            }
            if sample.edits() != edits {
                cost.changed += 1;
                self.outdate(number, sample);
            }
            let noted = self.noted(number, sample.take_remarks(), state);
            if !noted.is_empty() {
                cost.notes.add(noted);
                sample.remarked.push((number, noted));
            }
            cost.rounding_decided += u64::from(std::mem::take(&mut row.rounding));
            if let Some(clock) = clock {
                cost.timed += 1;
                cost.nanos += u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
            }
            let parts = match done? {
                Outcome::Parts(parts) => parts,
                Outcome::Dropped(decision) => {
                    row.end = RowEnd::Dropped(number, decision);
                    return Ok(ChainEnd::Whole);
                }
                Outcome::Key(RowKey::Exact(key)) if !self.group.contains(&number) => {
                    row.exact.extend(key.map(|key| (number, key)));
                    continue;
                }
                Outcome::Key(key) => {
                    let start = result.records.len();
                    let base = &step.base;
                    let rank = base.choice.survivor.rank(sample, &base.text_key)?;
                    result
                        .records
                        .extend(rank.iter().flat_map(|rank| rank.to_le_bytes()));
                    key.write(&mut result.records);
                    row.records.push(start..result.records.len());
                    continue;
                }
                Outcome::Goes => continue,
                Outcome::Asks(requests) => {
                    state.answered = answers.unwrap_or_default();
                    return Ok(ChainEnd::Asks(number, requests));
                }
            };
            if parts.is_empty() {
                let decision = Decision {
                    stat: "parts".into(),
                    value: StatValue::Int(0),
                    limit: "at least 1".to_owned(),
                };
                row.end = RowEnd::Dropped(number, Box::new(decision));
                return Ok(ChainEnd::Whole);
            }
            cost.changed += u64::from(parts.len() > 1 || parts.iter().any(|part| !part.is_same()));
            cost.repeated += parts.len() as u64 - 1;
            return Ok(ChainEnd::Parts(number, parts));
        }
        if !self.stream.is_sorted() {
            let wrote = |number: usize, key: &str| {
                let step = self.steps.get(number);
                step.is_some_and(|step| step.spec.stats.iter().any(|stat| stat.name == key))
            };
            // The order of the recipe, whatever ran first.
            sample.stats.sort_from(state.measured_before, |key| {
                let by = self.stream.iter().copied().filter(|&n| wrote(n, key));
                by.min().unwrap_or(usize::MAX)
            });
        }
        Ok(ChainEnd::Whole)
    }

    /// The stats that are older than what they were measured on, now that a step has changed it.
    fn outdate(&self, step: usize, sample: &mut Sample) {
        for stat in self.foreseen.outdates.get(step).into_iter().flatten() {
            sample.stats.outdate(stat);
        }
    }

    /// What is noted of a row at a step: of what it remarks, what surprises.
    fn noted(&self, step: usize, mut remarks: Codes, state: &RowState) -> Codes {
        if remarks.remove(Code::StatOfOtherStep)
            && let Some(Some(code)) = self.foreseen.shared.get(step)
        {
            remarks.insert(*code);
        }
        if state.cached.is_some() {
            // Stored stats stand for what a run of the whole recipe would measure.
            for code in [
                Code::StatOfOtherField,
                Code::StatOfOtherStep,
                Code::StatBeforeChange,
                Code::StatCameAlong,
                Code::StatMeasuredAgain,
            ] {
                remarks.remove(code);
            }
        }
        remarks
    }

    /// What the trace of a row tells of it before a mapper: the fields asked for, and its text.
    fn before(
        &self,
        step: &Step,
        sample: &Sample,
    ) -> Result<(Map<String, Value>, Option<Value>), RowError> {
        let mut fields = Map::new();
        for key in self.trace_keys {
            let value = sample.value(&FieldPath::new(key))?;
            fields.insert(key.clone(), value.unwrap_or_default());
        }
        Ok((fields, sample.value(&step.base.text_key)?))
    }

    /// Runs one operator on a row, and keeps what it tells of it but for its end.
    fn step(
        &self,
        step: &Step,
        number: usize,
        sample: &mut Sample,
        row: &mut RowResult,
        answers: Option<&[Answer]>,
    ) -> Result<Outcome, RowError> {
        let traced = self.traced.get(number).copied().unwrap_or(false);
        let rounding = Cell::new(0);
        let recalled = self.recall.as_ref().map(|recall| OfStep(recall, number));
        let setting = Setting {
            recalls: recalled.as_ref().map(|known| known as &dyn Recalls),
            rounding_decided: Some(&rounding),
            ujson: self.ujson,
            collects: self.group.contains(&number),
            common: Some(&self.common),
            answers,
            longest: self.longest.get(number).copied().flatten(),
        };
        let is_mapper = step.spec.kind == OpKind::Mapper;
        let before = (traced && is_mapper).then(|| self.before(step, sample));
        let before = before.transpose()?;
        let outcome = step.operator.run(&step.spec, sample, &setting)?;
        row.rounding = rounding.get() > 0;
        if let Some((fields, text)) = before {
            let now = sample.value(&step.base.text_key)?;
            row.traces.extend(Trace::changed(number, fields, text, now));
        }
        match &outcome {
            Outcome::Dropped(_) if traced => row.traces.push(Trace::dropped(number, sample)),
            Outcome::Parts(_) => {
                if let Operator::Expander(op) = &step.operator {
                    let note = op.note(sample)?;
                    let note = note.map(|entry| Trace {
                        step: number,
                        entry,
                    });
                    row.traces.extend(note);
                }
            }
            _ => {}
        }
        Ok(outcome)
    }

    /// Keeps what was measured of a row.
    fn write_row_stats(
        &self,
        sample: Option<&Sample>,
        state: &RowState,
        row: &RowResult,
        result: &mut BatchResult,
    ) {
        if !self.keep_row_stats {
            return;
        }
        let error = match &row.end {
            RowEnd::Failed(Stage::Read, error, _) => Some(StatsError {
                by: READ.into(),
                step: None,
                code: error.code.into(),
            }),
            RowEnd::Failed(Stage::Step(number), error, _) => Some(StatsError {
                by: self.steps.get(*number).map_or("", |step| step.name).into(),
                step: Some(StepNumber::at(*number)),
                code: error.code.into(),
            }),
            _ => None,
        };
        let sound = state.images_decode || sample.is_some_and(Sample::images_known_to_decode);
        let start = result.row_stats.len();
        cached_stats::write_line(
            row.origin,
            sample.map(|sample| &sample.stats),
            sound,
            error,
            &mut result.row_stats,
        );
        if result.may_wait {
            let line = start..result.row_stats.len();
            result.row_stats_lines.push((state.index, line));
        }
    }

    /// Writes a row that survived into the batch's buffers.
    fn finish(
        &self,
        sample: &Sample,
        images_decode: bool,
        row: &mut RowResult,
        result: &mut BatchResult,
    ) {
        for (number, output) in self.outputs.iter().enumerate() {
            let Some(buffer) = result.rendered.get_mut(number) else {
                break;
            };
            match output.condition.as_ref().map(|it| it.holds(sample)) {
                None | Some(Ok(true)) => {}
                Some(Ok(false)) => {
                    row.rendered.push(Rendered::Unmatched);
                    continue;
                }
                Some(Err(error)) => {
                    row.rendered
                        .push(Rendered::Refused(error, verbatim(sample)));
                    continue;
                }
            }
            let before = buffer.len();
            if self.settles {
                buffer.extend_from_slice(output.framing.next);
            }
            let start = buffer.len();
            if let Some(split) = &output.split {
                split.begin(sample, buffer);
            }
            let checked = if images_decode {
                Ok(())
            } else {
                output.check(sample)
            };
            let rendered = checked.and_then(|()| match &output.copies {
                None => output.render(sample, buffer),
                Some(directory) => {
                    let copy = sample.with_copies(directory)?;
                    output.render(&copy, buffer)?;
                    let own = sample.produced().len();
                    let made = copy.produced().get(own..).unwrap_or_default();
                    row.copies.extend(made.iter().cloned());
                    Ok(())
                }
            });
            match rendered {
                Ok(()) => {
                    row.rendered.push(Rendered::Bytes(start..buffer.len()));
                    if self.settles {
                        buffer.extend_from_slice(output.framing.after);
                    }
                }
                Err(error) => {
                    buffer.truncate(before);
                    row.rendered
                        .push(Rendered::Refused(error, verbatim(sample)));
                }
            }
        }
        let asks = |condition: &Option<RowCondition>| match condition {
            // A sample that draws the row says what is wrong with it.
            Some(condition) => condition.holds(sample).unwrap_or(true),
            None => true,
        };
        let sampled = self.sampled.iter().enumerate();
        let unwanted = sampled.filter(|(_, condition)| !asks(condition));
        row.unwanted = unwanted.map(|(number, _)| number).collect();
        if let Some((text, token)) = &self.tokens
            && sample.images_match(text, token) == Some(false)
        {
            result.tokens_differ += 1;
        }
        if self.keep_ledger {
            let start = result.kept.len();
            LedgerEntry::write_kept(row.origin, row.id.as_deref(), &mut result.kept);
            row.kept = start..result.kept.len();
        }
        if self.render_stats {
            let start = result.stats.len();
            result.stats.extend_from_slice(b"{\"__dj__stats__\": ");
            sample.stats.write(&mut result.stats);
            result.stats.extend_from_slice(b"}\n");
            row.stats = start..result.stats.len();
        }
        if self.keep_frames {
            let start = result.frames.len();
            let known = images_decode || sample.images_known_to_decode();
            store::encode(sample, known, &mut result.frames);
            row.frame = start..result.frames.len();
        }
    }
}

impl SplitBy {
    /// Begins the record of a row with the value that it is split by.
    fn begin(&self, sample: &Sample, out: &mut Vec<u8>) {
        let value = match self {
            // A field that cannot be read has no value.
            Self::Field(field) => field_value(sample, field).unwrap_or_default(),
            Self::Input(names) => {
                let name = names.get(sample.origin().file as usize);
                name.map(|name| name.as_str().into())
            }
        };
        let text = match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
        };
        write_value(text.as_deref(), out);
    }
}

/// The row as it was read.
fn verbatim(sample: &Sample) -> Vec<u8> {
    sample.line().as_bytes().to_vec()
}

/// Checks every image of a row as far as `level` asks, and that its videos and audios are there.
///
/// # Errors
/// What is wrong with the first bad image.
pub fn check_images(sample: &Sample, level: Validation) -> Result<(), RowError> {
    if level == Validation::None {
        return Ok(());
    }
    let each = |images: &[ImageSlot]| images.iter().try_for_each(|image| image.check(level));
    match sample.images() {
        Ok(images) => each(images),
        Err(error) => each(&sample.group_images().ok_or(error)?.0),
    }?;
    sample.check_media()
}

/// What a caught panic says, for a person.
#[must_use]
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = driver::panic_message(panic);
    format!("djr failed on this row, please report it: {text}")
}
