//! What a worker thread does with a batch: every row runs through the whole chain of operators
//! before the next row starts, so that one decoded image at a time is alive a thread.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::driver;
use super::known::{self, KnownRow};
use super::own_stats::{STATS_FIELD, take_stats};
use super::store::{self, Store};
use crate::io::RawBatch;
use crate::io::format::Renderer;
use crate::op::{Common, Decision, ImageNeed, OpKind, Operator, Outcome, Part, RowKey, Setting};
use crate::recipe::{Step, Validation};
use crate::record::stats::READ;
use crate::record::{Stage, StatsError, StepNumber};
use crate::sample::{
    FieldPath, ImageContext, ImageCounts, ImageSlot, JsonText as _, Origin, Produced, RowError,
    Sample, StatValue, Unread, read_json, read_row,
};

/// Every how many rows an operator is timed; timing each would cost as much as a text filter.
pub const TIMED_EVERY: usize = 8;

/// A row of more bytes is taken out of its batch instead of copied.
const LONG_ROW: usize = 1 << 16;

/// Rows to work on.
pub enum Work {
    /// Fresh from the input, with what is known of the rows, if anything is.
    Raw(RawBatch, Option<RawBatch>),
    /// Rows of an earlier phase.
    Stored(Arc<Store>, Vec<u32>),
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
    pub suffixes: Option<(&'static str, Vec<String>)>,
    /// How images are found.
    pub context: Arc<ImageContext>,
    /// Round stats as Data-Juicer 1.6.1 does.
    pub ujson: bool,
    /// Whether rows that survive are set aside for a later phase.
    pub keep_frames: bool,
    /// Outputs that take every surviving row; empty unless this is the last phase.
    pub outputs: Vec<OutputWork<'a>>,
    /// Whether what was measured of each row is kept, dropped rows included.
    pub keep_row_stats: bool,
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
}

/// What an output asks of a row.
pub struct OutputWork<'a> {
    /// Turns the row into bytes.
    pub renderer: &'a dyn Renderer,
    /// How far the row's images are checked first.
    pub validate: Validation,
}

/// Where a row's way ended.
#[derive(Debug)]
pub enum End {
    /// It goes on.
    Alive,
    /// A filter dropped it.
    Dropped(usize, Box<Decision>),
    /// It could not be processed.
    Failed(Stage, RowError, Vec<u8>),
}

/// A row's record for one output.
#[derive(Debug)]
pub enum Rendered {
    /// These bytes of [`BatchResult::rendered`].
    Bytes(Range<usize>),
    /// The output refuses the row.
    Refused(RowError, Vec<u8>),
}

/// What became of one row.
#[derive(Debug)]
pub struct RowResult {
    /// Where it came from.
    pub origin: Origin,
    /// Its `id` as JSON, if it has one.
    pub id: Option<Box<str>>,
    /// Where it ended.
    pub end: End,
    /// Keys of the exact deduplicators of the stream that it reached.
    pub exact: SmallVec<[(usize, u128); 1]>,
    /// Its records for the exchanges of the phase in [`BatchResult::records`], in step order; empty
    /// if it did not get there.
    pub records: SmallVec<[Range<usize>; 1]>,
    /// Its frame in [`BatchResult::frames`].
    pub frame: Range<usize>,
    /// Its stats in [`BatchResult::stats`].
    pub stats: Range<usize>,
    /// Its records, one an output.
    pub rendered: SmallVec<[Rendered; 1]>,
    /// What traced steps did to it.
    pub traces: Vec<Trace>,
    /// Files that operators made of it, to be written if it lives.
    pub produced: Vec<Arc<Produced>>,
    /// Whether rounding decided at the step that it has just passed.
    pub rounding: bool,
}

impl RowResult {
    fn new(origin: Origin, sample: &Sample) -> Self {
        Self {
            id: sample.raw_json("id").map(Into::into),
            ..Self::unread(origin)
        }
    }

    /// A row of which nothing is known.
    fn unread(origin: Origin) -> Self {
        Self {
            origin,
            id: None,
            end: End::Alive,
            exact: SmallVec::new(),
            records: SmallVec::new(),
            frame: 0..0,
            stats: 0..0,
            rendered: SmallVec::new(),
            traces: Vec::new(),
            produced: Vec::new(),
            rounding: false,
        }
    }
}

/// How far a row is.
#[derive(Clone, Copy)]
struct Going<'k> {
    /// The step it is in.
    at: Stage,
    /// Its images are known to decode.
    images_decode: bool,
    /// Its number in the batch.
    index: usize,
    /// What an earlier run measured of it.
    known: Option<&'k KnownRow>,
    /// An operator made it, with others, of the row that was read.
    is_part: bool,
}

/// What a step has to tell of a row: what it did to it, if it is traced, or noted of it.
#[derive(Debug)]
pub struct Trace {
    /// The step.
    pub step: usize,
    /// The entry as Data-Juicer writes it.
    pub entry: Value,
}

impl Trace {
    /// A row whose text a mapper changed, behind the fields that were asked for.
    fn changed(
        step: usize,
        mut told: Map<String, Value>,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Option<Self> {
        if before == after {
            return None;
        }
        // A text that is not there is an empty one to Data-Juicer's tracer.
        let text = |value: Option<Value>| value.unwrap_or_else(|| "".into());
        told.insert("original_text".to_owned(), text(before));
        told.insert("processed_text".to_owned(), text(after));
        let entry = Value::Object(told);
        Some(Self { step, entry })
    }

    /// A row that a filter dropped, with its stats.
    pub fn dropped(step: usize, sample: &Sample) -> Self {
        let mut json = Vec::new();
        sample.write_json(&[(STATS_FIELD, &sample.stats)], &mut json);
        Self {
            step,
            entry: read_json(&String::from_utf8_lossy(&json)).unwrap_or_default(),
        }
    }
}

/// What the steps cost on a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepCost {
    /// Rows that ran through the step.
    pub rows: u64,
    /// Rows that were timed.
    pub timed: u64,
    /// Time of the timed rows in nanoseconds.
    pub nanos: u64,
    /// Rows that a mapper changed.
    pub changed: u64,
    /// Rows it made beyond one of one.
    pub repeated: u64,
    /// Rows that a filter would decide differently if it did not round what it measured.
    pub rounding_decided: u64,
}

/// The outcome of a batch, rows in order.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// One entry a row.
    pub rows: Vec<RowResult>,
    /// Frames for the store.
    pub frames: Vec<u8>,
    /// Records for exchanges.
    pub records: Vec<u8>,
    /// Rendered records.
    pub rendered: Vec<u8>,
    /// Rendered stats, one JSON object a row.
    pub stats: Vec<u8>,
    /// What was measured of each row, one line a row in order.
    pub row_stats: Vec<u8>,
    /// Costs, one entry a step of the recipe.
    pub costs: Vec<StepCost>,
    /// What was read of images.
    pub images: ImageCounts,
    /// Rows read; an operator may have made several of one.
    pub read: u64,
    /// Bytes of rows read.
    pub bytes: u64,
    /// What is known of the rows does not fit them, or does not suffice; ends the run.
    pub fault: Option<String>,
    /// A row set aside cannot be read back; ends the run.
    pub unreadable: Option<std::io::Error>,
}

/// How a row's way through the operators ended.
enum Way {
    /// It reached the end, or a filter dropped it.
    Whole,
    /// The step made these parts of it.
    Parts(usize, Vec<Part>),
}

impl Chain<'_> {
    /// Runs a batch through the phase.
    #[must_use]
    pub fn run(&self, work: Work) -> BatchResult {
        let mut result = BatchResult {
            costs: vec![StepCost::default(); self.steps.len()],
            ..BatchResult::default()
        };
        match work {
            Work::Raw(mut batch, known) => {
                result.bytes = batch.data.len() as u64;
                result.read = batch.lines.len() as u64;
                let last = batch.lines.len().saturating_sub(1);
                let lines = std::mem::take(&mut batch.lines);
                for (index, line) in lines.iter().enumerate() {
                    // The last row of a batch may be very long: it is not copied.
                    let bytes = if index == last && line.end - line.start > LONG_ROW {
                        Cow::Owned(batch.take_from(line))
                    } else {
                        Cow::Borrowed(batch.bytes(line))
                    };
                    let known = known.as_ref().and_then(|known| {
                        let row = known.bytes(known.lines.get(index)?);
                        KnownRow::parse(row, line.origin)
                            .map_err(|fault| result.fault = Some(fault))
                            .ok()
                    });
                    let images_decode = known.as_ref().is_some_and(|known| known.images_decode);
                    let sample = match &line.problem {
                        Some(problem) => Err(Unread::new(problem.clone(), bytes)),
                        None => read_row(bytes, line.origin, &self.context),
                    };
                    self.row(
                        line.origin,
                        sample.map(|s| (s, images_decode)),
                        known.as_ref(),
                        index,
                        &mut result,
                    );
                }
            }
            Work::Stored(store, ordinals) => {
                let mut frame = Vec::new();
                for (index, ordinal) in ordinals.into_iter().enumerate() {
                    let read = store.read(ordinal, &mut frame);
                    let (sample, images_decode) =
                        match read.and_then(|()| store::decode(&frame, &self.context)) {
                            Ok(sample) => sample,
                            // Not the row is bad but the disk.
                            Err(error) => {
                                result.unreadable = Some(error);
                                return result;
                            }
                        };
                    let origin = sample.origin();
                    let read = Ok((sample, images_decode));
                    self.row(origin, read, None, index, &mut result);
                }
            }
        }
        result
    }

    /// Whether some row's images may be decoded.
    #[must_use]
    pub fn decodes(&self) -> bool {
        let steps = self
            .steps
            .iter()
            .enumerate()
            .filter(|(number, _)| self.stream.contains(number) || self.group.contains(number));
        steps
            .map(|(_, step)| step)
            .any(|s| s.spec.images > ImageNeed::Header)
            || self
                .outputs
                .iter()
                .any(|o| o.validate == Validation::Decode)
    }

    /// Runs one row that was read, and adds what became of it to the result.
    fn row(
        &self,
        origin: Origin,
        sample: Result<(Sample, bool), Unread>,
        known: Option<&KnownRow>,
        index: usize,
        result: &mut BatchResult,
    ) {
        match sample {
            Ok((sample, images_decode)) => {
                let row = RowResult::new(origin, &sample);
                let going = Going {
                    at: Stage::Read,
                    images_decode,
                    index,
                    known,
                    is_part: false,
                };
                self.go_on(sample, row, going, result);
            }
            Err(unread) => {
                let row = RowResult {
                    end: End::Failed(Stage::Read, unread.error, unread.bytes),
                    ..RowResult::unread(origin)
                };
                self.write_row_stats(None, false, &row, result);
                result.rows.push(row);
            }
        }
    }

    /// Runs a row from where it is; a panic of an operator ends that row only.
    fn go_on(
        &self,
        mut sample: Sample,
        mut row: RowResult,
        mut going: Going<'_>,
        result: &mut BatchResult,
    ) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let outcome = self.steps_of(&mut sample, &mut row, &mut going, result)?;
            if matches!((&outcome, &row.end), (Way::Whole, End::Alive)) {
                sample.release_texts();
                self.finish(&sample, going.images_decode, &mut row, result);
                row.produced = sample.produced().to_vec();
            }
            Ok(outcome)
        }));
        result.images.add(sample.image_counts());
        let error = match outcome {
            Ok(Ok(Way::Whole)) => None,
            Ok(Ok(Way::Parts(step, parts))) => {
                // One line a row that was read: of the whole, up to here.
                if !going.is_part {
                    self.write_row_stats(Some(&sample), going.images_decode, &row, result);
                }
                going.at = Stage::Step(step);
                return self.parts_go_on(&sample, row, going, parts, result);
            }
            Ok(Err(error)) => Some(error),
            Err(panic) => Some(RowError::new(
                "internal_panic",
                panic_message(panic.as_ref()),
            )),
        };
        if let Some(error) = error {
            row.end = End::Failed(going.at, error, verbatim(&sample));
        }
        if !going.is_part {
            self.write_row_stats(Some(&sample), going.images_decode, &row, result);
        }
        result.rows.push(row);
    }

    /// Runs the parts that the step at `going.at` made of a row from the next step on. One copy of
    /// the row is alive at a time.
    fn parts_go_on(
        &self,
        sample: &Sample,
        whole: RowResult,
        going: Going<'_>,
        parts: Vec<Part>,
        result: &mut BatchResult,
    ) {
        let mut traces = whole.traces;
        for (number, part) in (0..).zip(parts) {
            let origin = whole.origin.part(number);
            let images_decode = going.images_decode && !part.writes(&self.context.image_key);
            let going = Going {
                images_decode,
                known: None,
                is_part: true,
                ..going
            };
            match part.of(sample, number) {
                Ok(part) => {
                    let mut row = RowResult::new(origin, &part);
                    row.traces = std::mem::take(&mut traces);
                    self.go_on(part, row, going, result);
                }
                Err(error) => result.rows.push(RowResult {
                    id: whole.id.clone(),
                    end: End::Failed(going.at, error, verbatim(sample)),
                    ..RowResult::unread(origin)
                }),
            }
        }
    }

    fn steps_of(
        &self,
        sample: &mut Sample,
        row: &mut RowResult,
        going: &mut Going<'_>,
        result: &mut BatchResult,
    ) -> Result<Way, RowError> {
        let passed = if let Stage::Step(step) = going.at {
            step + 1
        } else {
            self.enter(sample)?;
            0
        };
        let measured_before = sample.stats.len();
        let steps = self.stream.iter().copied().chain(self.group.clone());
        for number in steps.filter(|&step| step >= passed) {
            let (Some(step), Some(cost)) = (self.steps.get(number), result.costs.get_mut(number))
            else {
                break;
            };
            going.at = Stage::Step(number);
            cost.rows += 1;
            let clock = going
                .index
                .is_multiple_of(self.timed_every)
                .then(Instant::now);
            let traced = self.traced.get(number).copied().unwrap_or(false);
            let edits = sample.edits();
            if let Some(known) = going.known
                && let Err(fault) = known.fill(step, &mut sample.stats, self.ujson)
            {
                let line = sample.origin().line;
                result.fault = Some(format!(
                    "{} asks for the row in line {line}, which ended before {fault} in the run that stored the stats",
                    step.name
                ));
            }
            let done = self.step(step, number, sample, row, traced);
            if sample.edits() != edits {
                cost.changed += 1;
            }
            cost.rounding_decided += u64::from(std::mem::take(&mut row.rounding));
            if let Some(clock) = clock {
                cost.timed += 1;
                cost.nanos += u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
            }
            let parts = match done? {
                Outcome::Parts(parts) => parts,
                Outcome::Dropped(decision) => {
                    row.end = End::Dropped(number, decision);
                    return Ok(Way::Whole);
                }
                Outcome::Key(RowKey::Exact(key)) if !self.group.contains(&number) => {
                    row.exact.extend(key.map(|key| (number, key)));
                    continue;
                }
                Outcome::Key(key) => {
                    let start = result.records.len();
                    key.write(&mut result.records);
                    row.records.push(start..result.records.len());
                    continue;
                }
                Outcome::Goes => continue,
            };
            if parts.is_empty() {
                let decision = Decision {
                    stat: "parts".into(),
                    value: StatValue::Int(0),
                    limit: "at least 1".to_owned(),
                };
                row.end = End::Dropped(number, Box::new(decision));
                return Ok(Way::Whole);
            }
            cost.changed += u64::from(parts.len() > 1 || parts.iter().any(|part| !part.is_same()));
            cost.repeated += parts.len() as u64 - 1;
            return Ok(Way::Parts(number, parts));
        }
        if !self.stream.is_sorted() {
            let wrote = |number: usize, key: &str| {
                let step = self.steps.get(number);
                step.is_some_and(|step| step.spec.stats.iter().any(|stat| stat.name == key))
            };
            // The order of the recipe, whatever ran first.
            sample.stats.sort_from(measured_before, |key| {
                let by = self.stream.iter().copied().filter(|&n| wrote(n, key));
                by.min().unwrap_or(usize::MAX)
            });
        }
        Ok(Way::Whole)
    }

    /// What is done to a row before its first step.
    fn enter(&self, sample: &mut Sample) -> Result<(), RowError> {
        if let Some((field, suffixes)) = &self.suffixes
            && !sample.has(field)
            && let Some(suffix) = suffixes.get(sample.origin().file as usize)
        {
            sample.set_value(field, suffix.clone().into());
        }
        take_stats(sample)
    }

    /// What the trace of a row tells of it before a mapper: the fields asked for, and its text.
    fn before(
        &self,
        step: &Step,
        sample: &Sample,
    ) -> Result<(Map<String, Value>, Option<Value>), RowError> {
        let mut told = Map::new();
        for key in self.trace_keys {
            let value = sample.value(&FieldPath::new(key))?;
            told.insert(key.clone(), value.unwrap_or_default());
        }
        Ok((told, sample.value(&step.base.text_key)?))
    }

    /// Runs one operator on a row, and keeps what it tells of it but for its end.
    fn step(
        &self,
        step: &Step,
        number: usize,
        sample: &mut Sample,
        row: &mut RowResult,
        traced: bool,
    ) -> Result<Outcome, RowError> {
        let rounding = Cell::new(0);
        let setting = Setting {
            rounding_decided: Some(&rounding),
            ujson: self.ujson,
            collects: self.group.contains(&number),
            common: Some(&self.common),
        };
        let is_mapper = step.spec.kind == OpKind::Mapper;
        let before = (traced && is_mapper).then(|| self.before(step, sample));
        let before = before.transpose()?;
        let outcome = step.operator.run(&step.spec, sample, &setting)?;
        row.rounding = rounding.get() > 0;
        if let Some((told, text)) = before {
            let now = sample.value(&step.base.text_key)?;
            row.traces.extend(Trace::changed(number, told, text, now));
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
        images_decode: bool,
        row: &RowResult,
        result: &mut BatchResult,
    ) {
        if !self.keep_row_stats {
            return;
        }
        let error = match &row.end {
            End::Failed(Stage::Read, error, _) => Some(StatsError {
                by: READ.into(),
                step: None,
                code: error.code.into(),
            }),
            End::Failed(Stage::Step(number), error, _) => Some(StatsError {
                by: self.steps.get(*number).map_or("", |step| step.name).into(),
                step: Some(StepNumber::at(*number)),
                code: error.code.into(),
            }),
            _ => None,
        };
        let sound = images_decode || sample.is_some_and(Sample::images_known_to_decode);
        known::write_line(
            row.origin,
            sample.map(|sample| &sample.stats),
            sound,
            error,
            &mut result.row_stats,
        );
    }

    /// Writes a row that survived into the batch's buffers.
    fn finish(
        &self,
        sample: &Sample,
        images_decode: bool,
        row: &mut RowResult,
        result: &mut BatchResult,
    ) {
        for output in &self.outputs {
            let start = result.rendered.len();
            let checked = if images_decode {
                Ok(())
            } else {
                check_images(sample, output.validate)
            };
            match checked.and_then(|()| output.renderer.render(sample, &mut result.rendered)) {
                Ok(()) => row
                    .rendered
                    .push(Rendered::Bytes(start..result.rendered.len())),
                Err(error) => {
                    result.rendered.truncate(start);
                    row.rendered
                        .push(Rendered::Refused(error, verbatim(sample)));
                }
            }
        }
        if self.render_stats {
            let start = result.stats.len();
            sample.stats.write(&mut result.stats);
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
