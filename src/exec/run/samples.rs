//! Outputs that are written once all rows are known: samples, and rows that ended before the outputs.

use std::io;
use std::sync::Arc;

use hashbrown::HashSet;

use super::Run;
use super::context::RunContext;
use crate::exec::accounting::{Accounting, Last};
use crate::exec::checkpoint::Progress;
use crate::exec::driver::NoLanes;
use crate::exec::error::{output_error, target_name};
use crate::exec::output::{self, Draw, OutputStage};
use crate::exec::sinks::{self, Sink};
use crate::exec::spill::store::{self, Picks, Store};
use crate::exec::stage::{Rendered, RowEnd, Source, drive};
use crate::exec::watch::Watch;
use crate::exec::{RunError, write_error};
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};
use crate::op::ImageNeed;
use crate::recipe::{Of, OutputSpec, Validation};

/// Rows drawn for one sample that were checked, in the order they were drawn.
struct Checked {
    sound: Vec<(u32, Check)>,
    log: Option<Log>,
}

/// What was found of a row that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The output refuses it.
    Refused,
    /// It is written.
    Sound,
    /// The output does not ask for it.
    Unmatched,
}

impl Check {
    const fn byte(self) -> u8 {
        match self {
            Self::Refused => 0,
            Self::Sound => 1,
            Self::Unmatched => 2,
        }
    }

    const fn of(byte: u8) -> Self {
        match byte {
            1 => Self::Sound,
            2 => Self::Unmatched,
            _ => Self::Refused,
        }
    }
}

impl Checked {
    /// None, or those that an earlier process made durable.
    fn open(workspace: &Workspace, index: usize) -> io::Result<Self> {
        let mut log = workspace.log_if_kept(&format!("checked-{index}"))?;
        let mut sound = Vec::new();
        if let Some(log) = &mut log {
            each_record(&mut log.replay()?, |[a, b, c, d, flag]: [u8; 5]| {
                sound.push((u32::from_le_bytes([a, b, c, d]), Check::of(flag)));
            })?;
        }
        Ok(Self { sound, log })
    }

    fn push(&mut self, ordinal: u32, sound: Check) -> io::Result<()> {
        self.sound.push((ordinal, sound));
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let [a, b, c, d] = ordinal.to_le_bytes();
        log.append(&[a, b, c, d, sound.byte()])
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }

    fn chosen(&self) -> impl Iterator<Item = u32> {
        let sound = self.sound.iter();
        let sound = sound.filter(|(_, check)| *check == Check::Sound);
        sound.map(|(row, _)| *row)
    }

    fn count(&self, of: Check) -> u64 {
        self.sound.iter().filter(|(_, check)| *check == of).count() as u64
    }
}

/// An output of the last phase that is written when all rows are known.
#[derive(Clone, Copy)]
struct Sampled<'s> {
    /// Its number among the outputs.
    index: usize,
    spec: &'s OutputSpec,
    /// Its number among the samples of rows that are left.
    sample: usize,
    /// The rows that it is drawn from.
    store: &'s Arc<Store>,
    /// Those that ended before the outputs, if it takes them: in the order of the input, by identity.
    ended: Option<&'s [(u64, u32)]>,
    /// How far the run is.
    progress: &'s Progress,
}

impl<'a> Run<'a> {
    /// Draws and writes the outputs that wait for all rows: samples first, then those of rows that
    /// ended, whose ends are all known when the samples are drawn.
    pub(super) fn write_late(
        &mut self,
        pass: &mut OutputStage<'a>,
        progress: &Progress,
        watch: &mut Watch<'_>,
    ) -> Result<(), RunError> {
        let failed = |e| write_error("rows set aside on disk", e);
        let recipe = self.context.recipe;
        let late = recipe.outputs.iter().enumerate();
        let late = late.filter(|(_, spec)| spec.is_late());
        let (of_ended, drawn): (Vec<_>, Vec<_>) = late.partition(|(_, spec)| spec.of != Of::Kept);
        if let Some(rows) = pass.rows.take() {
            let store = Arc::new(rows.finish().map_err(failed)?);
            for (sample, (index, spec)) in drawn.into_iter().enumerate() {
                let outputs = recipe.outputs.len();
                watch.task("drawing samples", index, outputs, &self.accounting.report);
                let sampled = Sampled {
                    index,
                    spec,
                    sample,
                    store: &store,
                    ended: None,
                    progress,
                };
                self.write_sample(sampled, pass)?;
            }
            if !self.accounting.all_settled {
                self.settle_survivors(&store, pass)?;
            }
        }
        // A checkpoint further on finds them entered.
        self.accounting.all_settled = true;
        if !of_ended.is_empty() {
            // Durable before it is closed: no later checkpoint does so.
            self.checkpointer
                .save(&mut self.accounting, |lengths| pass.left(progress, lengths))?;
        }
        let Some(endings) = self.accounting.take_ended()? else {
            return Ok(());
        };
        for (index, spec) in of_ended {
            let rows = endings.of(spec.of);
            let sampled = Sampled {
                index,
                spec,
                sample: 0,
                store: &endings.store,
                ended: Some(&rows),
                progress,
            };
            self.write_sample(sampled, pass)?;
        }
        Ok(())
    }

    fn write_sample(
        &mut self,
        sampled: Sampled<'_>,
        pass: &mut OutputStage<'a>,
    ) -> Result<(), RunError> {
        let Sampled {
            index,
            sample,
            progress,
            ended,
            ..
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
        if ended.is_none() {
            for &(ordinal, check) in &checked.sound {
                if check == Check::Refused {
                    pass.survivors.mark_refused(ordinal);
                }
            }
            pass.survivors.mark_written(&chosen);
        }
        let reached = ended.map_or(self.accounting.reached_outputs, |rows| rows.len() as u64);
        let unasked = ended.map_or_else(|| pass.survivors.unasked(sample), |_| 0);
        if let Some(counts) = self.accounting.report.outputs.get_mut(index) {
            counts.candidates = reached;
            counts.written = chosen.len() as u64;
            counts.refused = checked.count(Check::Refused);
            counts.unmatched = unasked + checked.count(Check::Unmatched);
            counts.not_drawn = reached - counts.written - counts.refused - counts.unmatched;
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
            sample,
            store,
            ended,
            progress,
        } = sampled;
        let failed = |e| write_error("rows set aside on disk", e);
        let all = ended.map_or(0, <[_]>::len);
        let wanted = spec
            .sample
            .map_or(all, |rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let mut drawn = 0;
        let mut draw = match (ended, spec.sample) {
            (None, _) => pass.survivors.draw(spec, sample),
            (Some(rows), Some(_)) => {
                // Those that it does not ask for stand first among the checked ones.
                let unwanted = self.unwanted(sampled, rows)?;
                drawn = unwanted.len();
                let known = checked.sound.len();
                for row in unwanted.iter().skip(known) {
                    checked.push(*row, Check::Unmatched).map_err(failed)?;
                }
                let unwanted: HashSet<u32> = unwanted.into_iter().collect();
                let rows = rows.iter().filter(|(_, row)| !unwanted.contains(row));
                Draw::uniform(spec, rows.copied(), wanted)
            }
            (Some(rows), None) => Draw::all(rows.iter().map(|(_, row)| *row)),
        };
        let mut sound = 0;
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
            let source = Source::rows(
                Arc::clone(store),
                Arc::new(Picks::once(rest.to_vec())),
                None,
            );
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
                        let (check, error) = match (row.rendered.into_iter().next(), row.end) {
                            (Some(Rendered::Refused(error, verbatim)), _)
                            | (None, RowEnd::Failed(_, error, verbatim)) => {
                                (Check::Refused, Some((error, verbatim)))
                            }
                            (Some(Rendered::Unmatched), _) => (Check::Unmatched, None),
                            _ => (Check::Sound, None),
                        };
                        checked.push(ordinal, check).map_err(failed)?;
                        match error {
                            None => accounting.sound(),
                            // What has ended is not set aside once more.
                            Some((error, _)) if ended.is_some() => {
                                accounting.refused_again(index, error.code);
                            }
                            Some((error, verbatim)) => accounting.refused(
                                index,
                                row.origin,
                                row.id.as_deref(),
                                &error,
                                &verbatim,
                            )?,
                        }
                    }
                    if ended.is_none() {
                        let rows = checked.sound.len() as u64;
                        accounting.check_share(checked.count(Check::Refused), rows)?;
                    }
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

    /// The rows, of those that ended, whose sample does not ask for them.
    fn unwanted(
        &self,
        Sampled { spec, store, .. }: Sampled<'_>,
        ended: &[(u64, u32)],
    ) -> Result<Vec<u32>, RunError> {
        let mut unwanted = Vec::new();
        if spec.condition.is_none() {
            return Ok(unwanted);
        }
        let rows: Vec<u32> = ended.iter().map(|(_, row)| *row).collect();
        let mut order = rows.clone().into_iter();
        let asking = self.context.asking_chain(spec);
        let source = Source::rows(Arc::clone(store), Arc::new(Picks::once(rows)), None);
        let RunContext { pool, options, .. } = &self.context;
        let passed = drive(pool, options, &asking, source, &NoLanes, |batch, _| {
            for (row, ordinal) in batch.rows.iter().zip(&mut order) {
                if !row.unwanted.is_empty() {
                    unwanted.push(ordinal);
                }
            }
            Ok(())
        })?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        Ok(unwanted)
    }

    /// Writes the rows that were found sound.
    fn fill_sample(
        &mut self,
        sampled: Sampled<'_>,
        checked: &Checked,
    ) -> Result<Box<dyn Sink + 'a>, RunError> {
        let Sampled {
            index,
            spec,
            store,
            ended,
            ..
        } = sampled;
        let Self {
            context,
            accounting,
            caller,
            ..
        } = self;
        let context = &*context;
        let mut chosen: Vec<u32> = checked.chosen().collect();
        match ended {
            _ if output::keeps_its_order(spec) => {}
            None => chosen.sort_unstable(),
            Some(rows) => {
                let drawn: HashSet<u32> = chosen.into_iter().collect();
                let in_order = rows.iter().map(|(_, row)| *row);
                chosen = in_order.filter(|row| drawn.contains(row)).collect();
            }
        }
        let mut sink = sinks::open(
            index,
            spec,
            &context.workspace,
            None,
            caller.as_ref(),
            &context.inputs,
        )
        .map_err(|e| write_error(target_name(spec), e))?;
        let writing = context.sample_chain(index, spec, Validation::None)?;
        let passed = drive(
            &context.pool,
            context.options,
            &writing,
            Source::rows(Arc::clone(store), Arc::new(Picks::once(chosen)), None),
            &NoLanes,
            |batch, _| {
                for row in &batch.rows {
                    if let Some(Rendered::Bytes(range)) = row.rendered.first() {
                        let rendered = batch.rendered.first();
                        let record = rendered.and_then(|bytes| bytes.get(range.clone()));
                        sink.write(record.unwrap_or_default())
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
            self.accounting.keep_ended(Last::Frame(&frame))?;
        }
        Ok(())
    }
}
