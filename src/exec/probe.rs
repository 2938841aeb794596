//! What the operators of a recipe cost and how many rows they end, measured on the first rows.

use std::path::PathBuf;
use std::sync::Arc;

use super::batcher::{Asking, Batcher};
use super::driver::{Job, Stages, Worked};
use super::setup::{self, AnswersFile};
use super::stage::{BatchResult, Chain, Progress, RowEnd, RowResult, WaitingBatch, Work};
use super::{RunError, RunOptions};
use crate::io::{Input, LineSource};
use crate::op::{Answer, Family, ImageNeed, Request};
use crate::plan;
use crate::recipe::Recipe;
use crate::record::Stage;
use crate::sample::RowError;
use crate::service::Paid;

/// What one step did to the rows of a probe.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepProbe {
    /// Rows that it was shown.
    pub rows: u64,
    /// Rows that it dropped. A deduplicator's are not known from a few rows.
    pub dropped: Option<u64>,
    /// Rows that it could not process.
    pub failed: u64,
    /// Nanoseconds a row.
    pub nanos: u64,
}

/// How much of the inputs was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Bytes of inputs, blank lines and all; of files of columns those of the rows made of them.
    pub bytes: u64,
    /// Whether that is all there is.
    pub is_whole: bool,
}

impl Part {
    /// What `source` has read of `inputs`, whose rows have so many bytes.
    fn of(source: &mut LineSource, inputs: &[Input], row_bytes: u64) -> Result<Self, RunError> {
        let place = source.position();
        let ended = source.summaries().iter().take(place.file);
        let bytes = ended.map(|input| input.bytes).sum::<u64>() + place.bytes;
        let has_columns = inputs.iter().any(|input| input.columns().is_some());
        Ok(Self {
            bytes: if has_columns { row_bytes } else { bytes },
            is_whole: source.next_batch(1, 1)?.is_none(),
        })
    }

    /// How often what was read is in all inputs, which have so many bytes; `None` if that is not known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn times(self, all_bytes: Option<u64>) -> Option<f64> {
        if self.is_whole {
            return Some(1.0);
        }
        let all = all_bytes?.max(self.bytes) as f64;
        Some(all / self.bytes.max(1) as f64)
    }
}

/// What the first rows of a recipe's inputs showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probe {
    /// One entry a step; `None` for those behind an exchange.
    pub steps: Vec<Option<StepProbe>>,
    /// Rows read.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How much of the inputs they are.
    pub part: Part,
    /// Rows that came through all steps that were probed.
    pub alive: u64,
}

/// Runs the first rows of a recipe's inputs, at most `rows`, through its steps up to the first
/// exchange, and writes nothing.
///
/// # Errors
/// If an input cannot be read.
pub fn probe(
    recipe: &Recipe,
    working_dir: &std::path::Path,
    rows: usize,
) -> Result<Probe, RunError> {
    let mut probes: Vec<Option<StepProbe>> = vec![None; recipe.steps.len()];
    let Some(phase) = plan::phases(&recipe.steps).into_iter().next() else {
        return Ok(Probe::default());
    };
    let shown = phase.stream.start..phase.stream.end.max(phase.group.end);
    for (slot, step) in probes.iter_mut().zip(&recipe.steps).take(shown.end) {
        let decides = matches!(step.family, Family::Filter | Family::Mapper);
        *slot = Some(StepProbe {
            dropped: decides.then_some(0),
            ..StepProbe::default()
        });
    }
    let inputs = setup::inputs(recipe);
    let need = |phase| plan::image_need(&recipe.steps, phase, &[]);
    let chain = chain(recipe, working_dir, &phase, &inputs);
    let batch_rows = if need(&phase) > ImageNeed::Header {
        32
    } else {
        512
    };
    let mut source = LineSource::new(inputs.clone());
    let mut left = rows;
    let mut found = Probe::default();
    while left > 0 {
        let Some(batch) = source.next_batch(left.min(batch_rows), 1 << 20)? else {
            break;
        };
        left = left.saturating_sub(batch.lines.len());
        found.rows += batch.lines.len() as u64;
        found.bytes += batch.data.len() as u64;
        let result = chain.run(Work::Raw(batch, None));
        for (slot, cost) in probes.iter_mut().zip(&result.costs) {
            if let Some(probe) = slot {
                probe.rows += cost.rows;
                probe.nanos += cost.nanos;
            }
        }
        found.alive += alive(&result);
        for row in &result.rows {
            let (RowEnd::Dropped(step, _) | RowEnd::Failed(Stage::Step(step), ..)) = &row.end
            else {
                continue;
            };
            if let Some(Some(probe)) = probes.get_mut(*step) {
                match (&row.end, &mut probe.dropped) {
                    (RowEnd::Dropped(..), Some(dropped)) => *dropped += 1,
                    _ => probe.failed += 1,
                }
            }
        }
    }
    for probe in probes.iter_mut().flatten() {
        probe.nanos /= probe.rows.max(1);
    }
    found.steps = probes;
    found.part = Part::of(&mut source, &inputs, found.bytes)?;
    Ok(found)
}

/// The steps of the first phase, over rows of which nothing is kept.
fn chain<'r>(
    recipe: &'r Recipe,
    working_dir: &std::path::Path,
    phase: &plan::Phase,
    inputs: &[Input],
) -> Chain<'r> {
    let need = plan::image_need(&recipe.steps, phase, &[]);
    Chain {
        steps: &recipe.steps,
        longest_row: None,
        longest: Vec::new(),
        suffixes: setup::suffixes(recipe, inputs),
        stream: plan::order(recipe, &phase.stream),
        group: phase.group.clone(),
        context: setup::image_context(recipe, inputs, working_dir, need),
        ujson: recipe.rounds_stats(),
        keep_frames: false,
        keep_dropped: false,
        outputs: Vec::new(),
        sampled: Vec::new(),
        keep_row_stats: false,
        keep_ledger: false,
        render_stats: false,
        traced: Vec::new(),
        trace_keys: &[],
        timed_every: 1,
        common: Arc::default(),
        foreseen: Arc::default(),
        watch: None,
        recall: None,
        tokens: None,
        settles: false,
    }
}

/// What the first rows of a recipe's inputs took of servers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampled {
    /// Rows read.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How much of the inputs they are.
    pub part: Part,
    /// Rows that could not be processed.
    pub failed: u64,
    /// What their answers took: each of them once, whether it was paid now or before.
    pub paid: Paid,
}

/// Asks servers about the first rows of a recipe's inputs, at most `rows`, as far as its first phase
/// goes. Their answers are kept in `answers`, so that a run does not pay for them again; nothing else
/// is written.
///
/// # Errors
/// If an input cannot be read, or a service does not answer.
pub fn sample_servers(
    recipe: &Recipe,
    options: &RunOptions,
    rows: usize,
    answers: Option<PathBuf>,
) -> Result<Sampled, RunError> {
    let Some(phase) = plan::phases(&recipe.steps).into_iter().next() else {
        return Ok(Sampled::default());
    };
    let inputs = setup::inputs(recipe);
    let chain = chain(recipe, &options.working_dir, &phase, &inputs);
    let pool = setup::pool(recipe, options)?;
    // What was paid before is no part of it, and a run that goes on is still the same.
    let answers = answers.map(|path| AnswersFile {
        path,
        goes_on: true,
    });
    let threads = pool.current_num_threads();
    let host = setup::host(recipe, options, threads, answers.as_ref())?;
    let before = host.spending.total();
    let batcher = Batcher::open(chain.services(), &host)?;
    let (batch_rows, limit) = setup::limits(threads, options, chain.decodes());
    let stages = Stages {
        pool: &pool,
        limit: setup::with_services(limit, batch_rows, chain.services().map(|(_, asked)| asked)),
        lanes: &batcher,
    };
    let mut source = LineSource::new(inputs.clone());
    let mut left = rows;
    let mut found = Sampled::default();
    stages.run(
        || {
            let Some(batch) = (left > 0)
                .then(|| source.next_batch(left.min(batch_rows), 1 << 20))
                .transpose()?
                .flatten()
            else {
                return Ok(None);
            };
            left = left.saturating_sub(batch.lines.len());
            let size = batch.size();
            Ok(Some((batch, size)))
        },
        |job| {
            Some(match job {
                Job::New(batch) => worked(chain.start(Work::Raw(batch, None))),
                Job::On(SampledBatch(batch)) => worked(chain.go_on(batch)),
            })
        },
        |batch: BatchResult| {
            found.rows += batch.read;
            found.bytes += batch.bytes;
            let failed = |row: &&RowResult| matches!(row.end, RowEnd::Failed(..));
            found.failed += batch.rows.iter().filter(failed).count() as u64;
            Ok(())
        },
    )?;
    batcher.finish()?;
    found.part = Part::of(&mut source, &inputs, found.bytes)?;
    let after = host.spending.total();
    found.paid = Paid {
        answers: after.answers - before.answers,
        tokens_in: after.tokens_in - before.tokens_in,
        tokens_out: after.tokens_out - before.tokens_out,
        cost: after.cost - before.cost,
        sent: after.sent - before.sent,
        reused: after.reused - before.reused,
    };
    Ok(found)
}

/// A batch that waits for servers.
struct SampledBatch(WaitingBatch);

impl Asking for SampledBatch {
    fn take_requests(&mut self) -> Vec<(usize, Vec<Request>)> {
        self.0.take_requests()
    }

    fn answer(&mut self, answers: Vec<Result<Vec<Answer>, RowError>>) {
        self.0.answer(answers);
    }
}

fn worked(progress: Progress) -> Worked<SampledBatch, BatchResult> {
    match progress {
        Progress::Done(result) => Worked::Done(result),
        Progress::Waits(batch, bytes) => Worked::Waits(SampledBatch(batch), bytes),
    }
}

/// Rows of a batch that no step ended.
fn alive(result: &BatchResult) -> u64 {
    let rows = result.rows.iter();
    rows.filter(|row| matches!(row.end, RowEnd::Alive)).count() as u64
}
