//! Sampled outputs of a run: drawn, checked and written once every survivor is known.

use std::io;
use std::sync::Arc;

use super::chain::{Chain, End, OutputWork, Rendered};
use super::draw::Survivors;
use super::run::{Run, Source, drive};
use super::sinks::{Complete, Sink};
use super::store::{self, Store};
use super::{RunError, output_error, plan, target_name, write_error};
use crate::op::ImageNeed;
use crate::recipe::OutputSpec;

impl Run<'_> {
    /// Draws and writes a sampled output.
    pub(super) fn write_sample(
        &mut self,
        index: usize,
        spec: &OutputSpec,
        store: &Arc<Store>,
        survivors: &mut Survivors,
    ) -> Result<Complete, RunError> {
        let Some(renderer) = self.fixed.renderers.get(index) else {
            return Err(write_error(
                target_name(spec),
                io::Error::other("no renderer"),
            ));
        };
        let fixed = &self.fixed;
        let chain = |validate| Chain {
            steps: &[],
            stream: 0..0,
            group: 0..0,
            required: Vec::new(),
            context: fixed.image_context(plan::output_need(validate)),
            ujson: false,
            keep_frames: false,
            outputs: vec![OutputWork {
                renderer: renderer.as_ref(),
                validate,
            }],
            render_stats: false,
            traced: Vec::new(),
        };
        let wanted = spec.sample.unwrap_or(0);
        let mut draw = survivors.draw(spec);
        let mut chosen: Vec<u32> = Vec::new();
        let mut refused = 0;
        // The draw is checked first and written second, so that a refused row can be replaced by the
        // next one drawn without holding the records of the sample.
        let checking = chain(spec.validate);
        loop {
            let missing = usize::try_from(wanted)
                .unwrap_or(usize::MAX)
                .saturating_sub(chosen.len());
            let candidates = draw.next(missing);
            if candidates.is_empty() {
                break;
            }
            let books = &mut self.books;
            let mut order = candidates.iter().copied();
            drive(
                &self.fixed.pool,
                self.fixed.options,
                &checking,
                Source::Rows(Arc::clone(store), candidates.clone()),
                |batch| {
                    books.report.images.add(batch.images);
                    for row in batch.rows {
                        let Some(ordinal) = order.next() else { break };
                        match row.rendered.into_iter().next() {
                            Some(Rendered::Bytes(_)) => chosen.push(ordinal),
                            Some(Rendered::Refused(error, verbatim)) => {
                                refused += 1;
                                survivors.mark_refused(ordinal);
                                books.refused(
                                    index,
                                    row.origin,
                                    row.id.as_deref(),
                                    &error,
                                    &verbatim,
                                )?;
                            }
                            None => {
                                if let End::Failed(_, error, verbatim) = &row.end {
                                    refused += 1;
                                    survivors.mark_refused(ordinal);
                                    books.refused(
                                        index,
                                        row.origin,
                                        row.id.as_deref(),
                                        error,
                                        verbatim,
                                    )?;
                                }
                            }
                        }
                    }
                    Ok(())
                },
            )?;
        }
        drop(checking);
        if !draw.keeps_its_order() {
            chosen.sort_unstable();
        }
        let mut sink = Sink::create(spec).map_err(|e| write_error(target_name(spec), e))?;
        let writing = chain(crate::recipe::Validation::None);
        drive(
            &self.fixed.pool,
            self.fixed.options,
            &writing,
            Source::Rows(Arc::clone(store), chosen.clone()),
            |batch| {
                for row in &batch.rows {
                    if let Some(Rendered::Bytes(range)) = row.rendered.first() {
                        sink.write(batch.rendered.get(range.clone()).unwrap_or_default())
                            .map_err(|e| output_error(Some(spec), e))?;
                    }
                }
                Ok(())
            },
        )?;
        drop(writing);
        survivors.mark_written(&chosen);
        let complete = sink.finish().map_err(|e| output_error(Some(spec), e))?;
        let reached = self.books.reached_outputs;
        if let Some(counts) = self.books.report.outputs.get_mut(index) {
            counts.candidates = reached;
            counts.written = complete.written;
            counts.refused = refused;
            counts.not_drawn = reached - complete.written - refused;
        }
        Ok(complete)
    }

    /// Records the fate of rows that no unsampled output wrote, now that all samples are drawn.
    pub(super) fn settle_survivors(
        &mut self,
        store: &Store,
        survivors: &Survivors,
    ) -> Result<(), RunError> {
        let context = self.fixed.image_context(ImageNeed::None);
        let mut frame = Vec::new();
        for (ordinal, fate) in survivors.unsettled() {
            store
                .read(ordinal, &mut frame)
                .map_err(|e| write_error("rows set aside on disk", e))?;
            let Ok((sample, _)) = store::decode(&frame, &context) else {
                continue;
            };
            self.books
                .settled(sample.origin(), sample.raw_json("id"), fate)?;
        }
        Ok(())
    }
}
