//! A recipe cut into phases: the operators that run row by row, and the exchanges between them.

use std::ops::Range;

use crate::op::{ImageNeed, OpKind, OpSpec};
use crate::recipe::{OnError, OutputSpec, Recipe, Step, Validation};
use crate::sample::StatKey;

/// Steps that run in one pass over the rows: a stream of row-by-row operators, then a group of
/// operators that decide once every row's keys are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Mappers, filters and exact deduplicators.
    pub stream: Range<usize>,
    /// Near-deduplicators, selectors, filters whose bounds come from the data, and exact
    /// deduplicators behind one of them; may be empty. An exact deduplicator before an operator
    /// that makes several rows of one begins a group too, because the ordered step admits whole
    /// rows only. What makes other rows (a grouper, a deduplicator that
    /// merges fields) ends its group: what comes behind sees those. So does a selector that may take
    /// a row more than once: behind it each copy is a row with a number of its own. A census is a
    /// group of its own, and the first step of the next phase: there it edits what it counted here.
    pub group: Range<usize>,
}

/// Cuts steps into phases. The last phase has no group: it writes the outputs.
#[must_use]
pub fn phases(steps: &[Step]) -> Vec<Phase> {
    let mut phases = Vec::new();
    let mut at = 0;
    // Whether the step at `at` is a census that has counted.
    let mut counted = false;
    loop {
        let exchange = steps
            .iter()
            .skip(at + usize::from(counted))
            .position(Step::is_exchange)
            .map_or(steps.len(), |i| at + usize::from(counted) + i);
        let stream = steps.get(at..exchange).unwrap_or_default();
        let expands = stream.iter().rposition(|s| s.spec.kind == OpKind::Expander);
        let exchange = stream
            .iter()
            .take(expands.unwrap_or(0))
            .position(|s| s.spec.kind == OpKind::Exact)
            .map(|i| at + i)
            .or_else(|| (exchange < steps.len()).then_some(exchange));
        let Some(exchange) = exchange else {
            phases.push(Phase {
                stream: at..steps.len(),
                group: steps.len()..steps.len(),
            });
            return phases;
        };
        let mut ended = false;
        let group_end = steps
            .iter()
            .skip(exchange)
            .position(|s| {
                let joins = s.is_exchange() || s.spec.kind == OpKind::Exact;
                let ends = ended || !joins || s.spec.kind == OpKind::Census;
                ended = s.remakes_rows() || s.repeats_rows();
                ends
            })
            .map_or(steps.len(), |i| exchange + i);
        // A census counts the rows that are left, and edits them before anyone else sees them.
        let counts = group_end == exchange;
        phases.push(Phase {
            stream: at..exchange,
            group: exchange..group_end.max(exchange + 1),
        });
        at = group_end;
        counted = counts;
    }
}

impl Phase {
    /// The step that its group ends with and that makes other rows, if it does.
    #[must_use]
    pub fn remakes_rows<'s>(&self, steps: &'s [Step]) -> Option<&'s Step> {
        let last = steps.get(self.group.clone())?.last()?;
        last.remakes_rows().then_some(last)
    }

    /// The number of the step that its group ends with and that may take a row more than once, if it
    /// does.
    #[must_use]
    pub fn repeating(&self, steps: &[Step]) -> Option<usize> {
        let last = self.group.clone().next_back()?;
        steps.get(last)?.repeats_rows().then_some(last)
    }
}

/// The order in which the steps of a stream run.
///
/// As written; but with `op_fusion`, of filters that follow each other those run first that need
/// less of a row's images. The same rows survive with the same stats, because such filters only
/// measure the row, each a stat of its own, and a row stays if all of them keep it. What may differ
/// is which of several filters a row is charged to: one that would drop it, or one that cannot
/// measure it. Where that would show in the outputs or end the run, the order stays as written:
/// behind an exact deduplicator (a row that failed does not stand for its duplicates, one that was
/// dropped does), with `on_error: fail`, and with a tracer.
#[must_use]
pub fn order(recipe: &Recipe, stream: &Range<usize>) -> Vec<usize> {
    let mut order: Vec<usize> = stream.clone().collect();
    if !recipe.op_fusion || recipe.on_error == OnError::Fail || recipe.tracer.open {
        return order;
    }
    let steps = &recipe.steps;
    let is_exact = |n: &usize| spec(steps, *n).is_some_and(|spec| spec.kind == OpKind::Exact);
    let until = order.iter().position(is_exact).unwrap_or(order.len());
    let before = order.get_mut(..until).unwrap_or_default();
    let movable = |n: usize| filter_stats(steps, n).is_some();
    for run in before.chunk_by_mut(|&a, &b| movable(a) && movable(b)) {
        let mut stats: Vec<_> = run
            .iter()
            .filter_map(|&n| filter_stats(steps, n))
            .flatten()
            .collect();
        let all = stats.len();
        stats.sort_unstable();
        stats.dedup();
        // A stat that two filters share is measured by the one that runs first.
        if stats.len() == all {
            run.sort_by_key(|&n| spec(steps, n).map(|spec| spec.images));
        }
    }
    order
}

fn spec(steps: &[Step], number: usize) -> Option<&OpSpec> {
    steps.get(number).map(|step| &step.spec)
}

/// The stats of a filter that decides by nothing else.
fn filter_stats(steps: &[Step], number: usize) -> Option<Vec<&StatKey>> {
    let spec = spec(steps, number)?;
    let movable = spec.decides_by_stats() && !spec.reads_stats();
    movable.then(|| spec.stats.iter().map(|stat| &stat.name).collect())
}

/// How far the images of a row are decoded in a phase, its outputs included.
#[must_use]
pub fn image_need(steps: &[Step], phase: &Phase, outputs: &[OutputSpec]) -> ImageNeed {
    let of_steps = steps
        .get(phase.stream.start..phase.group.end)
        .unwrap_or_default()
        .iter()
        .map(|s| s.spec.images);
    let of_outputs = outputs
        .iter()
        .filter(|o| phase.group.is_empty() && !o.is_late())
        .map(|o| output_need(o.validate));
    of_steps.chain(of_outputs).max().unwrap_or_default()
}

/// How far images are decoded to be checked at `level`.
#[must_use]
pub fn output_need(level: Validation) -> ImageNeed {
    match level {
        Validation::None => ImageNeed::None,
        Validation::Exists => ImageNeed::Path,
        Validation::Header => ImageNeed::Header,
        Validation::Decode => ImageNeed::Scaled,
    }
}
