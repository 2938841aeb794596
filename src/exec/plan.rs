//! A recipe cut into phases: the operators that run row by row, and the barriers between them.

use std::ops::Range;

use crate::op::{ImageNeed, Operator};
use crate::recipe::{OutputSpec, Step, Validation};

/// Steps that run in one pass over the rows: a stream of row-by-row operators, then a group of
/// operators that decide once every row's keys are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Mappers, filters and exact deduplicators.
    pub stream: Range<usize>,
    /// Near-deduplicators, selectors, and exact deduplicators behind one; may be empty.
    pub group: Range<usize>,
}

/// Cuts steps into phases. The last phase has no group: it writes the outputs.
#[must_use]
pub fn phases(steps: &[Step]) -> Vec<Phase> {
    let mut phases = Vec::new();
    let mut at = 0;
    loop {
        let barrier = steps
            .iter()
            .skip(at)
            .position(|s| s.operator.is_barrier())
            .map(|i| at + i);
        let Some(barrier) = barrier else {
            phases.push(Phase {
                stream: at..steps.len(),
                group: steps.len()..steps.len(),
            });
            return phases;
        };
        let group_end = steps
            .iter()
            .skip(barrier)
            .position(|s| !s.operator.is_barrier() && !matches!(s.operator, Operator::Exact(_)))
            .map_or(steps.len(), |i| barrier + i);
        phases.push(Phase {
            stream: at..barrier,
            group: barrier..group_end,
        });
        at = group_end;
    }
}

/// How far the images of a row are decoded in a phase, its outputs included.
#[must_use]
pub fn image_need(steps: &[Step], phase: &Phase, outputs: &[OutputSpec]) -> ImageNeed {
    let of_steps = steps
        .get(phase.stream.start..phase.group.end)
        .unwrap_or_default()
        .iter()
        .map(|s| s.operator.image_need());
    let of_outputs = outputs
        .iter()
        .filter(|o| phase.group.is_empty() && o.sample.is_none())
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
