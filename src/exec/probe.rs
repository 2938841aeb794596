//! What the operators of a recipe cost and how many rows they end, measured on the first rows.

use std::sync::Arc;

use super::stage::{BatchResult, Chain, RowEnd, Work};
use super::{RunError, setup};
use crate::io::LineSource;
use crate::op::{Family, ImageNeed};
use crate::plan;
use crate::recipe::Recipe;
use crate::record::Stage;

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

/// What the first rows of a recipe's inputs showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probe {
    /// One entry a step; `None` for those behind an exchange.
    pub steps: Vec<Option<StepProbe>>,
    /// Rows read.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
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
    let chain = Chain {
        steps: &recipe.steps,
        suffixes: setup::suffixes(recipe, &inputs),
        stream: plan::order(recipe, &phase.stream),
        group: phase.group.clone(),
        context: setup::image_context(recipe, &inputs, working_dir, need(&phase)),
        ujson: recipe.rounds_stats(),
        keep_frames: false,
        keep_dropped: false,
        outputs: Vec::new(),
        keep_row_stats: false,
        keep_ledger: false,
        render_stats: false,
        traced: Vec::new(),
        trace_keys: &[],
        timed_every: 1,
        common: Arc::default(),
        foreseen: Arc::default(),
        watch: None,
        tokens: None,
    };
    let batch_rows = if need(&phase) > ImageNeed::Header {
        32
    } else {
        512
    };
    let mut source = LineSource::new(inputs);
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
    Ok(found)
}

/// Rows of a batch that no step ended.
fn alive(result: &BatchResult) -> u64 {
    let rows = result.rows.iter();
    rows.filter(|row| matches!(row.end, RowEnd::Alive)).count() as u64
}
