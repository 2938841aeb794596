//! What a worker thread does with a batch: every row runs through the whole chain of operators
//! before the next row starts, so that one decoded image at a time is alive a thread.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::barrier::RowKey;
use super::store::{self, Store, stats_from_json};
use crate::io::RawBatch;
use crate::io::format::Renderer;
use crate::op::{Decision, ImageNeed, Operator, Verdict};
use crate::recipe::{Step, Validation};
use crate::sample::{
    FieldPath, ImageContext, ImageCounts, Origin, RowError, Sample, StatValue, python_json,
};

/// Every how many rows an operator is timed; timing each would cost as much as a text filter.
const TIMED_EVERY: usize = 8;

/// The field Data-Juicer keeps stats in.
const STATS_FIELD: &str = "__dj__stats__";

/// Rows to work on.
pub enum Work {
    /// Fresh from the input.
    Raw(RawBatch),
    /// Rows of an earlier phase.
    Stored(Arc<Store>, Vec<u32>),
}

/// What one phase does to each row.
pub struct Chain<'a> {
    /// All steps of the recipe.
    pub steps: &'a [Step],
    /// The steps that run row by row.
    pub stream: Range<usize>,
    /// The steps of the barrier group behind them.
    pub group: Range<usize>,
    /// Fields that every row must have (checked on fresh rows).
    pub required: Vec<FieldPath>,
    /// How images are found.
    pub context: Arc<ImageContext>,
    /// Round stats as Data-Juicer 1.6.1 does.
    pub ujson: bool,
    /// Whether rows that survive are set aside for a later phase.
    pub keep_frames: bool,
    /// Outputs that take every surviving row; empty unless this is the last phase.
    pub outputs: Vec<OutputWork<'a>>,
    /// Whether the stats of survivors are rendered.
    pub render_stats: bool,
    /// Steps to collect traces of.
    pub traced: Vec<bool>,
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

/// Where a row failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// While it was read.
    Read,
    /// In this step.
    Step(usize),
    /// In this output.
    Output(usize),
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
    /// Keys for the barrier group, in step order; empty if it did not get there.
    pub keys: Vec<RowKey>,
    /// Its frame in [`BatchResult::frames`].
    pub frame: Range<usize>,
    /// Its stats in [`BatchResult::stats`].
    pub stats: Range<usize>,
    /// Its records, one an output.
    pub rendered: SmallVec<[Rendered; 1]>,
    /// What traced steps did to it.
    pub traces: Vec<Trace>,
}

/// What a traced step did to a row.
#[derive(Debug)]
pub struct Trace {
    /// The step.
    pub step: usize,
    /// The trace entry as Data-Juicer writes it.
    pub entry: serde_json::Value,
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
}

/// The outcome of a batch, rows in order.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// One entry a row.
    pub rows: Vec<RowResult>,
    /// Frames for the store.
    pub frames: Vec<u8>,
    /// Rendered records.
    pub rendered: Vec<u8>,
    /// Rendered stats, one JSON object a row.
    pub stats: Vec<u8>,
    /// Costs, one entry a step of the recipe.
    pub costs: Vec<StepCost>,
    /// What was read of images.
    pub images: ImageCounts,
    /// Bytes of rows read.
    pub bytes: u64,
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
            Work::Raw(batch) => {
                result.bytes = batch.data.len() as u64;
                for (index, line) in batch.lines.iter().enumerate() {
                    let bytes = batch.bytes(line);
                    let sample = match &line.problem {
                        Some(problem) => Err(problem.clone()),
                        None => self.parse(bytes, line.origin),
                    };
                    let verbatim = || bytes.to_vec();
                    let row = self.row(
                        line.origin,
                        sample.map(|s| (s, false)),
                        &verbatim,
                        index,
                        &mut result,
                    );
                    result.rows.push(row);
                }
            }
            Work::Stored(store, ordinals) => {
                let mut frame = Vec::new();
                for (index, ordinal) in ordinals.into_iter().enumerate() {
                    let sample = store
                        .read(ordinal, &mut frame)
                        .map_err(|e| {
                            RowError::new(
                                "store_unreadable",
                                format!("a row set aside on disk: {e}"),
                            )
                        })
                        .and_then(|()| store::decode(&frame, &self.context));
                    let origin = sample
                        .as_ref()
                        .map_or(Origin::default(), |(s, _)| s.origin());
                    let line = sample
                        .as_ref()
                        .map_or(String::new(), |(s, _)| s.line().to_owned());
                    let row = self.row(
                        origin,
                        sample,
                        &|| line.clone().into_bytes(),
                        index,
                        &mut result,
                    );
                    result.rows.push(row);
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
            .get(self.stream.start..self.group.end.max(self.stream.end))
            .unwrap_or_default();
        steps
            .iter()
            .any(|s| s.operator.image_need() > ImageNeed::Header)
            || self
                .outputs
                .iter()
                .any(|o| o.validate == Validation::Decode)
    }

    fn parse(&self, bytes: &[u8], origin: Origin) -> Result<Sample, RowError> {
        let line = simdutf8::compat::from_utf8(bytes).map_err(|e| {
            RowError::new(
                "utf8_invalid",
                format!(
                    "the row is not UTF-8 (byte {} of the line)",
                    e.valid_up_to() + 1
                ),
            )
        })?;
        Sample::parse(line.to_owned(), origin, Arc::clone(&self.context))
    }

    /// Runs one row; a panic of an operator ends that row only.
    fn row(
        &self,
        origin: Origin,
        sample: Result<(Sample, bool), RowError>,
        verbatim: &dyn Fn() -> Vec<u8>,
        index: usize,
        result: &mut BatchResult,
    ) -> RowResult {
        let mut row = RowResult {
            origin,
            id: None,
            end: End::Alive,
            exact: SmallVec::new(),
            keys: Vec::new(),
            frame: 0..0,
            stats: 0..0,
            rendered: SmallVec::new(),
            traces: Vec::new(),
        };
        let (mut sample, images_decode) = match sample {
            Ok(sample) => sample,
            Err(error) => {
                row.end = End::Failed(Stage::Read, error, verbatim());
                return row;
            }
        };
        row.id = sample.raw_json("id").map(Into::into);
        let mut at = Stage::Read;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.steps_of(&mut sample, &mut row, &mut at, index, result)?;
            if matches!(row.end, End::Alive) {
                self.finish(&sample, images_decode, &mut row, verbatim, result);
            }
            Ok(())
        }));
        let error = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => Some(RowError::new(
                "internal_panic",
                panic_message(panic.as_ref()),
            )),
        };
        if let Some(error) = error {
            row.end = End::Failed(at, error, verbatim());
        }
        result.images.add(sample.image_counts());
        row
    }

    fn steps_of(
        &self,
        sample: &mut Sample,
        row: &mut RowResult,
        at: &mut Stage,
        index: usize,
        result: &mut BatchResult,
    ) -> Result<(), RowError> {
        for key in &self.required {
            sample.required_text(key)?;
        }
        if sample.has(STATS_FIELD) {
            // Stats that came with the row count as measured, as in Data-Juicer.
            if let Some(stats) = sample.value(&FieldPath::new(STATS_FIELD))? {
                sample.stats = stats_from_json(stats);
            }
            sample.remove(STATS_FIELD);
        }
        for number in self.stream.clone().chain(self.group.clone()) {
            let (Some(step), Some(cost)) = (self.steps.get(number), result.costs.get_mut(number))
            else {
                break;
            };
            *at = Stage::Step(number);
            cost.rows += 1;
            let clock = index.is_multiple_of(TIMED_EVERY).then(Instant::now);
            let traced = self.traced.get(number).copied().unwrap_or(false);
            let edits = sample.edits();
            let verdict = self.step(step, number, sample, row, traced);
            if sample.edits() != edits {
                cost.changed += 1;
            }
            if let Some(clock) = clock {
                cost.timed += 1;
                cost.nanos += u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
            }
            if let Verdict::Drop(decision) = verdict? {
                row.end = End::Dropped(number, decision);
                return Ok(());
            }
        }
        Ok(())
    }

    fn step(
        &self,
        step: &Step,
        number: usize,
        sample: &mut Sample,
        row: &mut RowResult,
        traced: bool,
    ) -> Result<Verdict, RowError> {
        let in_group = self.group.contains(&number);
        match &step.operator {
            Operator::Mapper(op) => {
                let before = if traced {
                    sample
                        .text(&step.base.text_key)?
                        .map(std::borrow::Cow::into_owned)
                } else {
                    None
                };
                let edits = sample.edits();
                op.apply(sample)?;
                if traced && sample.edits() != edits {
                    let after = sample
                        .text(&step.base.text_key)?
                        .map(std::borrow::Cow::into_owned);
                    let entry =
                        serde_json::json!({"original_text": before, "processed_text": after});
                    row.traces.push(Trace {
                        step: number,
                        entry,
                    });
                }
                Ok(Verdict::Keep)
            }
            Operator::Filter(op) => {
                let known = op.stats();
                if known.iter().any(|key| sample.stats.get(key).is_none()) {
                    let values = op.measure(sample)?;
                    for (key, value) in known.iter().zip(values) {
                        let value = if self.ujson { ujson(value) } else { value };
                        sample.stats.set(key.clone(), value);
                    }
                }
                let verdict = op.decide(&sample.stats);
                if traced && matches!(verdict, Verdict::Drop(_)) {
                    let mut json = Vec::new();
                    let stats = python_json(&sample.stats.to_json());
                    sample.write_json(&[(STATS_FIELD, stats)], &mut json);
                    let entry = serde_json::from_slice(&json).unwrap_or_default();
                    row.traces.push(Trace {
                        step: number,
                        entry,
                    });
                }
                Ok(verdict)
            }
            Operator::Exact(op) => {
                let key = op.key(sample)?;
                if in_group {
                    row.keys.push(RowKey::Exact(key));
                } else if let Some(key) = key {
                    row.exact.push((number, key));
                }
                Ok(Verdict::Keep)
            }
            Operator::Near(op) => {
                let mut keys = Vec::with_capacity(op.bands());
                op.keys(sample, &mut keys)?;
                row.keys.push(RowKey::Near(keys));
                Ok(Verdict::Keep)
            }
            Operator::Selector(op) => {
                row.keys.push(RowKey::Select(op.key(sample)?));
                Ok(Verdict::Keep)
            }
        }
    }

    /// Writes a row that survived into the batch's buffers.
    fn finish(
        &self,
        sample: &Sample,
        images_decode: bool,
        row: &mut RowResult,
        verbatim: &dyn Fn() -> Vec<u8>,
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
                    row.rendered.push(Rendered::Refused(error, verbatim()));
                }
            }
        }
        if self.render_stats {
            let start = result.stats.len();
            result
                .stats
                .extend_from_slice(python_json(&sample.stats.to_json()).as_bytes());
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

/// Checks every image of a row as far as `level` asks.
///
/// # Errors
/// What is wrong with the first bad image.
pub fn check_images(sample: &Sample, level: Validation) -> Result<(), RowError> {
    if level == Validation::None {
        return Ok(());
    }
    sample
        .images()?
        .iter()
        .try_for_each(|image| image.check(level))
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    format!("djr failed on this row, please report it: {text}")
}

fn ujson(value: StatValue) -> StatValue {
    use crate::text::ujson_round_trip as round;
    match value {
        StatValue::Float(v) => {
            round(v).map_or(StatValue::Json(serde_json::Value::Null), StatValue::Float)
        }
        StatValue::Floats(list) => StatValue::Floats(
            list.into_iter()
                .map(|v| round(v).unwrap_or(f64::NAN))
                .collect(),
        ),
        other => other,
    }
}
