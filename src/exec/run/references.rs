//! Rows of reference files, read before the pass whose deduplicators have them.

use std::sync::Arc;

use super::Run;
use crate::exec::driver::NoLanes;
use crate::exec::exchange::stage::ExchangeStage;
use crate::exec::stage::{RowEnd, Source, drive};
use crate::exec::{RunError, RunOptions, setup, write_error};
use crate::recipe::Inputs;

impl Run<'_> {
    /// Reads the references that the deduplicators of `pass` do not know yet.
    ///
    /// # Errors
    /// If a file, or a row of one, cannot be read.
    pub(super) fn read_references(&self, pass: &mut ExchangeStage<'_>) -> Result<(), RunError> {
        let context = &self.context;
        let recipe = context.recipe;
        // What is known of the rows of the run is not known of these.
        let options = RunOptions {
            cached_stats: None,
            ..context.options.clone()
        };
        for number in pass.wanting_references() {
            let Some(step) = recipe.steps.get(number) else {
                continue;
            };
            let files = Inputs::Files(step.base.choice.reference.clone());
            let inputs = setup::sources(&files, &Arc::new(recipe.reading()));
            let chain = context.reference_chain(number, step, &inputs);
            let source = Source::inputs(&inputs, None);
            let passed = drive(
                &context.pool,
                &options,
                &chain,
                source,
                &NoLanes,
                |batch, _| {
                    for row in &batch.rows {
                        let input = inputs.get(row.origin.file as usize);
                        let name = input.map_or_else(String::new, crate::io::Input::name);
                        let place = format!("{name}:{}", row.origin.line);
                        if let RowEnd::Failed(_, error, _) = &row.end {
                            return Err(RunError::Exchange {
                                operator: step.name.to_owned(),
                                message: format!("reference row {place}: {}", error.message),
                            });
                        }
                        let record = row.records.first().cloned();
                        let record = record.and_then(|at| batch.records.get(at));
                        pass.push_reference(number, record.unwrap_or_default(), &place)
                            .map_err(|e| write_error("keys set aside on disk", e))?;
                    }
                    Ok(())
                },
            )?;
            if passed.interrupted {
                return Err(RunError::Interrupted);
            }
        }
        Ok(())
    }
}
