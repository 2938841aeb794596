//! What the steps of a phase ask, and who answers them.

use std::sync::Arc;

use super::context::RunContext;
use crate::exec::RunError;
use crate::exec::batcher::Batcher;
use crate::exec::stage::{Chain, Recall, Waiting};
use crate::record::ServiceRecord;

/// The services of a phase.
pub struct Serving {
    /// What has rows served.
    pub batcher: Batcher<Waiting>,
    before: Vec<ServiceRecord>,
}

impl Serving {
    /// Starts what the steps of `chain` ask, and has `chain` know what other runs were answered.
    /// `before` is what steps of this run asked so far.
    ///
    /// # Errors
    /// If a service cannot be started, or ran on something else before.
    pub fn open(
        context: &RunContext<'_>,
        chain: &mut Chain<'_>,
        before: &[ServiceRecord],
    ) -> Result<Self, RunError> {
        let batcher = Batcher::open(chain.services(), &context.host)?;
        let batcher = batcher.until(&context.options.interrupted);
        for now in batcher.records() {
            now.check(before)
                .map_err(|change| RunError::Changed(vec![change]))?;
        }
        if let Some(results) = &context.results {
            let steps = &context.recipe.steps;
            let asking = chain.services().filter_map(|(number, _)| steps.get(number));
            let recipe = &context.recipe;
            let tokens = [&recipe.image_special_token, &recipe.eoc_special_token];
            let tokens = tokens.map(String::as_str);
            let recall = Recall::new(Arc::clone(results), asking, tokens, &batcher.records());
            chain.recall = Some(recall);
        }
        Ok(Self {
            batcher,
            before: before.to_vec(),
        })
    }

    /// What was asked so far, before this phase too.
    pub fn records_with_before(&self, chain: &Chain<'_>) -> Vec<ServiceRecord> {
        ServiceRecord::sum(&self.before, self.records(chain))
    }

    /// What the steps of `chain` asked so far.
    pub fn records(&self, chain: &Chain<'_>) -> Vec<ServiceRecord> {
        let mut now = self.batcher.records();
        if let Some(recall) = &chain.recall {
            recall.count(&mut now);
        }
        now
    }
}
