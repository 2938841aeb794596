//! Sampled outputs of a run: drawn, checked and written once every survivor is known.

use std::io;
use std::sync::Arc;

use super::Run;
use crate::exec::accounting::Accounting;
use crate::exec::checkpoint::Progress;
use crate::exec::driver::NoLanes;
use crate::exec::error::{output_error, target_name};
use crate::exec::output::{self, OutputStage};
use crate::exec::sinks::{self, Sink};
use crate::exec::spill::store::{self, Store};
use crate::exec::stage::{Rendered, RowEnd, Source, drive};
use crate::exec::{RunError, write_error};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::ImageNeed;
use crate::recipe::{OutputSpec, Validation};

/// Rows drawn for one sample that were checked, in the order they were drawn.
struct Checked {
    sound: Vec<(u32, bool)>,
    log: Option<Log>,
}

impl Checked {
    /// None, or those that an earlier process made durable.
    fn open(workspace: &Workspace, index: usize) -> io::Result<Self> {
        let mut log = workspace.log_if_kept(&format!("checked-{index}"))?;
        let mut sound = Vec::new();
        if let Some(log) = &mut log {
            each_record(&mut log.replay()?, |[a, b, c, d, flag]: [u8; 5]| {
                sound.push((u32::from_le_bytes([a, b, c, d]), flag == 1));
            })?;
        }
        Ok(Self { sound, log })
    }

    fn push(&mut self, ordinal: u32, sound: bool) -> io::Result<()> {
        self.sound.push((ordinal, sound));
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let [a, b, c, d] = ordinal.to_le_bytes();
        log.append(&[a, b, c, d, u8::from(sound)])
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }

    fn chosen(&self) -> impl Iterator<Item = u32> {
        self.sound.iter().filter(|(_, ok)| *ok).map(|(row, _)| *row)
    }

    fn refused(&self) -> u64 {
        self.sound.iter().filter(|(_, ok)| !*ok).count() as u64
    }
}

/// A sampled output of the last phase.
#[derive(Clone, Copy)]
struct Sampled<'s> {
    /// Its number among the outputs.
    index: usize,
    spec: &'s OutputSpec,
    /// The rows that it is drawn from.
    store: &'s Arc<Store>,
    /// How far the run is.
    progress: &'s Progress,
}

impl<'a> Run<'a> {
    /// Draws and writes all sampled outputs of the last phase.
    pub(super) fn write_samples(
        &mut self,
        pass: &mut OutputStage<'a>,
        progress: &Progress,
    ) -> Result<(), RunError> {
        let Some(rows) = pass.rows.take() else {
            return Ok(());
        };
        let failed = |e| write_error("rows set aside on disk", e);
        let store = Arc::new(rows.finish().map_err(failed)?);
        let recipe = self.context.recipe;
        for (index, spec) in recipe.outputs.iter().enumerate() {
            if spec.sample.is_some() {
                let sampled = Sampled {
                    index,
                    spec,
                    store: &store,
                    progress,
                };
                self.write_sample(sampled, pass)?;
            }
        }
        self.settle_survivors(&store, pass)
    }

    fn write_sample(
        &mut self,
        sampled: Sampled<'_>,
        pass: &mut OutputStage<'a>,
    ) -> Result<(), RunError> {
        let Sampled {
            index, progress, ..
        } = sampled;
        let failed = |e| write_error("rows set aside on disk", e);
        let mut checked = Checked::open(&self.context.workspace, index).map_err(failed)?;
        if pass.sinks.get(index).is_none_or(Option::is_none) {
            self.check_sample(sampled, pass, &mut checked)?;
            let sink = self.fill_sample(sampled, &checked)?;
            if let Some(slot) = pass.sinks.get_mut(index) {
                *slot = Some(sink);
            }
            // Later checkpoints take the sample for done: which rows it has must be durable first.
            self.checkpointer.save(&mut self.accounting, |lengths| {
                checked.sync(lengths).map_err(failed)?;
                pass.left(progress, lengths)
            })?;
        }
        let chosen: Vec<u32> = checked.chosen().collect();
        for &(ordinal, sound) in &checked.sound {
            if !sound {
                pass.survivors.mark_refused(ordinal);
            }
        }
        pass.survivors.mark_written(&chosen);
        let reached = self.accounting.reached_outputs;
        if let Some(counts) = self.accounting.report.outputs.get_mut(index) {
            counts.candidates = reached;
            counts.written = chosen.len() as u64;
            counts.refused = checked.refused();
            counts.not_drawn = reached - counts.written - counts.refused;
        }
        Ok(())
    }

    /// Draws rows until enough of them are sound. They are checked first and written second, so
    /// that a refused row can be replaced by the next one drawn without holding the records of the
    /// sample.
    fn check_sample(
        &mut self,
        sampled: Sampled<'_>,
        pass: &mut OutputStage<'a>,
        checked: &mut Checked,
    ) -> Result<(), RunError> {
        let Sampled {
            index,
            spec,
            store,
            progress,
        } = sampled;
        let failed = |e| write_error("rows set aside on disk", e);
        let wanted = usize::try_from(spec.sample.unwrap_or(0)).unwrap_or(usize::MAX);
        let mut draw = pass.survivors.draw(spec);
        let mut sound = 0;
        let mut drawn = 0;
        let Self {
            context,
            accounting,
            checkpointer,
            ..
        } = self;
        let checking = context.sample_chain(index, spec, spec.validate)?;
        loop {
            let candidates = draw.next(wanted.saturating_sub(sound));
            if candidates.is_empty() {
                return Ok(());
            }
            // An earlier process drew the same rows in the same order and checked some of them.
            let again = (checked.sound.len() - drawn).min(candidates.len());
            let (_, rest) = candidates.split_at(again);
            let mut order = rest.iter().copied();
            let source = Source::rows(Arc::clone(store), Arc::new(rest.to_vec()), None);
            let mut save = |pass: &mut OutputStage<'a>,
                            checked: &mut Checked,
                            accounting: &mut Accounting,
                            now: bool| {
                if !now && (!checkpointer.is_due() || accounting.in_a_streak()) {
                    return Ok(());
                }
                checkpointer.save(accounting, |lengths| {
                    checked.sync(lengths).map_err(failed)?;
                    pass.left(progress, lengths)
                })
            };
            let passed = drive(
                &context.pool,
                context.options,
                &checking,
                source,
                &NoLanes,
                |batch, _| {
                    accounting.report.images.add(batch.images);
                    for row in batch.rows {
                        let Some(ordinal) = order.next() else { break };
                        let error = match (row.rendered.into_iter().next(), row.end) {
                            (Some(Rendered::Refused(error, verbatim)), _)
                            | (None, RowEnd::Failed(_, error, verbatim)) => Some((error, verbatim)),
                            _ => None,
                        };
                        checked.push(ordinal, error.is_none()).map_err(failed)?;
                        match error {
                            None => accounting.sound(),
                            Some((error, verbatim)) => accounting.refused(
                                index,
                                row.origin,
                                row.id.as_deref(),
                                &error,
                                &verbatim,
                            )?,
                        }
                    }
                    accounting.check_share(checked.refused(), checked.sound.len() as u64)?;
                    save(pass, checked, accounting, false)
                },
            )?;
            if passed.interrupted {
                save(pass, checked, accounting, true)?;
                return Err(RunError::Interrupted);
            }
            drawn += candidates.len();
            sound = checked.chosen().count();
        }
    }

    /// Writes the rows that were found sound.
    fn fill_sample(
        &mut self,
        sampled: Sampled<'_>,
        checked: &Checked,
    ) -> Result<Box<dyn Sink + 'a>, RunError> {
        let Sampled {
            index, spec, store, ..
        } = sampled;
        let Self {
            context,
            accounting,
            caller,
            ..
        } = self;
        let context = &*context;
        let mut chosen: Vec<u32> = checked.chosen().collect();
        if !output::keeps_its_order(spec) {
            chosen.sort_unstable();
        }
        let mut sink = sinks::open(index, spec, &context.workspace, None, caller.as_ref())
            .map_err(|e| write_error(target_name(spec), e))?;
        let writing = context.sample_chain(index, spec, Validation::None)?;
        let passed = drive(
            &context.pool,
            context.options,
            &writing,
            Source::rows(Arc::clone(store), Arc::new(chosen), None),
            &NoLanes,
            |batch, _| {
                for row in &batch.rows {
                    if let Some(Rendered::Bytes(range)) = row.rendered.first() {
                        sink.write(batch.rendered.get(range.clone()).unwrap_or_default())
                            .map_err(|e| output_error(Some(spec), e))?;
                        accounting.write_produced(row.origin, &row.copies)?;
                    }
                }
                Ok(())
            },
        )?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        Ok(sink)
    }

    /// Records the fate of rows that no unsampled output wrote, now that all samples are drawn.
    fn settle_survivors(&mut self, store: &Store, pass: &OutputStage<'a>) -> Result<(), RunError> {
        let context = self.context.image_context(ImageNeed::None);
        let mut frame = Vec::new();
        for (ordinal, fate) in pass.survivors.unsettled() {
            store
                .read(ordinal, &mut frame)
                .map_err(|e| write_error("rows set aside on disk", e))?;
            let (sample, _) = store::decode(&frame, &context)
                .map_err(|e| write_error("rows set aside on disk", e))?;
            self.accounting
                .settled(sample.origin(), sample.raw_json("id"), fate)?;
        }
        Ok(())
    }
}
