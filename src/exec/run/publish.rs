//! The end of a run: everything is made durable, then the files get their names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

use hashbrown::HashSet;
use rayon::prelude::*;

use super::{Run, beside};
use crate::exec::accounting::write_traces;
use crate::exec::checkpoint::{Progress, Remaining};
use crate::exec::error::output_error;
use crate::exec::output::OutputStage;
use crate::exec::watch::Watch;
use crate::exec::{RunError, RunOutcome, conclude, setup, write_error};
use crate::io::atomic::Sealed;
use crate::io::lock::{unix_now, utc};
use crate::io::source::InputSummary;
use crate::io::workspace::real_path;
use crate::io::{PendingFile, SourceError};
use crate::layout::RunFiles;
use crate::note::{Code, Note};
use crate::recipe::{Inputs, OutputSpec, QuarantineLimit, Recipe};
use crate::record::counts::peak_memory;
use crate::record::manifest::{CacheRecord, Call, Facts};
use crate::record::{Earlier, InputRecord, Manifest, OutputCounts, RunReport, Stage};

impl<'a> Run<'a> {
    /// Makes everything durable, then gives the files their names, the manifest last.
    pub(super) fn close(
        &mut self,
        pass: OutputStage<'a>,
        at: &Progress,
        watch: &mut Watch<'_>,
    ) -> Result<RunOutcome, RunError> {
        let summaries = self.digested(at.summaries.as_deref().unwrap_or_default(), watch)?;
        self.checkpointer.check_inputs(&self.context.inputs)?;
        let Self {
            context,
            accounting,
            checkpointer,
            ..
        } = self;
        accounting.count_rows_in();
        accounting.sync_produced()?;
        accounting
            .report
            .check_conservation()
            .map_err(RunError::Conservation)?;
        accounting.count_repeated_ids()?;
        let limit = context.options.max_quarantine(context.recipe);
        if limit != QuarantineLimit::None
            && let Some(refused) =
                all_refused(&accounting.report, accounting.first_refused.as_ref())
        {
            return Err(refused);
        }
        if limit != QuarantineLimit::None
            && let Some(unreadable) =
                all_unreadable(&accounting.report, accounting.first_failed.as_ref())
        {
            return Err(unreadable);
        }
        accounting.report.datasets = setup::drawn_of(context.recipe, &context.inputs)?;
        accounting.report.time = checkpointer.elapsed();
        accounting.report.notes =
            conclude::notes(context.recipe, &context.foreseen, &accounting.report);
        let cache = context.results.as_ref().map(|results| {
            // What cannot be kept is computed again by the next run; its troubles are told.
            let _ = results.cache().finish();
            let troubles = results.cache().troubles().into_iter();
            let notes = troubles.map(|trouble| Note::new(Code::CacheTrouble, trouble));
            accounting.report.notes.extend(notes);
            CacheRecord::of(results.cache().dir(), &accounting.report)
        });
        accounting.report.peak_memory = peak_memory();
        let workspace = &context.workspace;
        let mut pending = Vec::new();
        let mut seal = |mut file: PendingFile| -> Result<Sealed, RunError> {
            let sealed = file
                .seal()
                .map_err(|e| write_error(file.target().display(), e))?;
            // It would be removed if it were dropped before it has its name.
            pending.push(file);
            Ok(sealed)
        };
        let mut files = Vec::new();
        let report = accounting.report.clone();
        watch.task(PACKING, 0, 3, &report);
        let ledger = accounting
            .ledger
            .take()
            .map(|ledger| ledger.finish(workspace, &context.pool))
            .transpose()
            .map_err(|e| write_error("ledger", e))?
            .map(&mut seal)
            .transpose()?;
        watch.task(PACKING, 1, 3, &report);
        let row_stats = accounting
            .row_stats
            .take()
            .map(|stats| stats.finish(workspace, &context.pool))
            .transpose()
            .map_err(|e| write_error("stats of rows", e))?
            .map(&mut seal)
            .transpose()?;
        watch.task(PACKING, 2, 3, &report);
        let quarantine = accounting.quarantine.take().map(&mut seal).transpose()?;
        let stats = accounting.stats.take().map(&mut seal).transpose()?;
        files.extend(
            [&ledger, &row_stats, &quarantine, &stats]
                .into_iter()
                .flatten()
                .cloned(),
        );
        let mut traces = Vec::new();
        if let Some(clusters) = accounting.clusters.take() {
            let file = clusters
                .finish(workspace, &context.pool)
                .map_err(|e| write_error("clusters of duplicates", e))?;
            let sealed = seal(file)?;
            traces.push(sealed.finished());
            files.push(sealed);
        }
        for file in write_traces(&accounting.traces, workspace)? {
            let sealed = seal(file)?;
            traces.push(sealed.finished());
            files.push(sealed);
        }
        let mut entries = beside::Entries::default();
        for (index, sink) in pass.sinks.into_iter().enumerate() {
            let spec = context.recipe.outputs.get(index);
            let Some(sink) = sink else { continue };
            let parts = sink.finish().map_err(|e| output_error(spec, e))?;
            let mut sealed: Vec<Sealed> = Vec::with_capacity(parts.len());
            let mut beside = Vec::new();
            for part in parts {
                if let Some(spec) = spec {
                    let file = context.options.working_dir.join(part.file.target());
                    entries.add(index, spec, &file, part.records);
                }
                sealed.push(seal(part.file)?);
                beside.extend(part.beside.map(&mut seal).transpose()?);
            }
            if let Some(counts) = accounting.report.outputs.get_mut(index) {
                counts.files = sealed.iter().map(Sealed::finished).collect();
                counts.beside.extend(beside.iter().map(Sealed::finished));
            }
            files.extend(sealed);
            files.extend(beside);
        }
        // Held until the files have their names.
        let mut locks = Vec::new();
        for described in entries.write(workspace)? {
            let sealed = seal(described.file)?;
            let counts = described
                .output
                .and_then(|index| accounting.report.outputs.get_mut(index));
            if let Some(counts) = counts {
                counts.beside.push(sealed.finished());
            }
            locks.extend(described.lock);
            files.push(sealed);
        }
        if let Some(named) = &context.files {
            let finished = |file: Option<Sealed>| file.map(|f| f.finished());
            let prints = checkpointer.fingerprints();
            let inputs = context.inputs.iter().zip(prints).zip(&summaries);
            let manifest = Manifest::of(Facts {
                run_dir: &named.dir,
                recipe: context.recipe,
                plan: checkpointer.plan(),
                recut: context.options.cached_stats.is_some(),
                report: &accounting.report,
                inputs: inputs
                    .map(|((input, print), read)| InputRecord::of(input, print.as_ref(), read))
                    .collect(),
                ledger: finished(ledger),
                row_stats: finished(row_stats),
                quarantine: finished(quarantine),
                stats: finished(stats),
                traces,
                threads: context.pool.current_num_threads(),
                cache,
                call: Call {
                    command: context.options.command.clone(),
                    started: checkpointer.started(),
                    ended: utc(unix_now()),
                    exit: accounting.report.exit_code(context.options.tolerate),
                    host: context.options.host_name.clone(),
                },
            });
            let file = manifest
                .write(&named.manifest(), workspace)
                .map_err(|e| write_error(named.dir.display(), e))?;
            files.push(seal(file)?);
        }
        check_apart(&files)?;
        watch.task(
            "giving files their names",
            0,
            files.len(),
            &accounting.report,
        );
        checkpointer.save(accounting, |_| Ok(Remaining::Names(files.clone())))?;
        publish(
            context.files.as_ref(),
            &context.earlier,
            context.recipe,
            &files,
            accounting.report.clone(),
        )
    }
}

impl Run<'_> {
    /// What was read of the inputs, each with the digest of its content: what the readers did not
    /// come by all of (ranges, packed files, what a resumed run read before, and where that is asked
    /// for tables and archives) is read once more, several files at once.
    fn digested(
        &self,
        read: &[InputSummary],
        watch: &mut Watch<'_>,
    ) -> Result<Vec<InputSummary>, RunError> {
        let mut summaries = read.to_vec();
        if self.context.files.is_none() {
            return Ok(summaries);
        }
        if summaries.iter().any(|summary| summary.digest.is_none()) {
            watch.task("digesting the inputs", 0, 1, &self.accounting.report);
        }
        let inputs = &self.context.inputs;
        let all = self.context.options.digest_inputs;
        self.context.pool.install(|| {
            let each = summaries.par_iter_mut().zip(inputs);
            each.filter(|(summary, _)| summary.digest.is_none())
                .try_for_each(|(summary, input)| {
                    let source = input.source();
                    summary.digest = source.digest(all).map_err(|error| SourceError::Io {
                        name: source.name(),
                        error,
                    })?;
                    Ok::<(), SourceError>(())
                })
        })?;
        Ok(summaries)
    }
}

/// Sees that no two files of a run would have one name: which of them stays would be up to chance.
fn check_apart(files: &[Sealed]) -> Result<(), RunError> {
    let mut seen = HashSet::new();
    for file in files {
        if !seen.insert(real_path(&file.target)) {
            let twice = io::Error::other("two files of this run are called so");
            return Err(write_error(file.target.display(), twice));
        }
    }
    Ok(())
}

/// What a run does with its ledger and the stats of rows when it ends.
const PACKING: &str = "packing the ledger";

/// How many reasons a message names.
const REASONS_SHOWN: usize = 3;

/// The failure of a run whose outputs refused every row that reached them.
fn all_refused(report: &RunReport, first: Option<&String>) -> Option<RunError> {
    let rows = report.outputs.first()?.candidates;
    let is_refused =
        |output: &OutputCounts| output.candidates > 0 && output.refused == output.candidates;
    if !report.outputs.iter().all(is_refused) {
        return None;
    }
    Some(RunError::AllRefused {
        rows,
        reasons: commonest(report, |stage| matches!(stage, Stage::Output(_))),
        first: first.cloned(),
    })
}

/// The failure of a run that could read none of its rows: what it was given is something else.
fn all_unreadable(report: &RunReport, first: Option<&String>) -> Option<RunError> {
    let unread = |stage| matches!(stage, Stage::Read);
    let reasons = report.reasons.iter();
    let rows: u64 = reasons
        .filter(|(reason, _)| unread(reason.stage))
        .map(|(_, rows)| rows)
        .sum();
    let is_all = rows > 0 && rows == report.rows_in && report.rows_out == 0;
    is_all.then(|| RunError::AllUnreadable {
        rows,
        reasons: commonest(report, unread),
        first: first.cloned(),
    })
}

/// The commonest reasons of some stages, with their counts.
fn commonest(report: &RunReport, of: impl Fn(Stage) -> bool) -> String {
    let mut by_code: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in &report.reasons {
        if of(reason.stage) {
            *by_code.entry(reason.code).or_default() += count;
        }
    }
    let mut by_code: Vec<_> = by_code.into_iter().collect();
    by_code.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = by_code.iter().take(REASONS_SHOWN);
    let shown: Vec<String> = shown
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    shown.join(", ")
}

/// Gives complete files their names. What an earlier run of the same outputs wrote beyond them
/// would be taken for this run's: it goes before the new manifest takes the place of the one that
/// lists it.
pub fn publish(
    named: Option<&RunFiles>,
    earlier: &Earlier,
    recipe: &Recipe,
    files: &[Sealed],
    report: RunReport,
) -> Result<RunOutcome, RunError> {
    let quarantine = named.map(RunFiles::quarantine);
    let manifest = named.map(RunFiles::manifest);
    for (done, file) in files.iter().enumerate() {
        if manifest.as_ref() == Some(&file.target) {
            if let Some(files) = named {
                // The record of a copy that this run takes the place of.
                let _ = fs::remove_file(files.copied());
            }
            let read = match &recipe.inputs {
                Inputs::Files(files) => files.as_slice(),
                Inputs::Stdin | Inputs::Given(_) => &[],
            };
            let made_of = recipe.outputs.iter().flat_map(OutputSpec::files);
            earlier.remove_surplus(
                files.iter().map(|file| file.target.as_path()),
                read.iter().map(PathBuf::as_path).chain(made_of),
            );
        }
        file.publish().map_err(|error| {
            let named = files.get(..done).unwrap_or_default().iter();
            RunError::Publish {
                path: file.target.display().to_string(),
                error,
                standing: named.map(|f| f.target.display().to_string()).collect(),
            }
        })?;
    }
    Ok(RunOutcome {
        report,
        run_dir: named.map(|files| files.dir.clone()),
        quarantine: quarantine.filter(|path| files.iter().any(|file| file.target == *path)),
    })
}
