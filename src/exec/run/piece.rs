//! A piece of a phase: some rows through its steps, and what became of them written down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::context::{Place, RunContext, renderers, run_files};
use super::serving::Serving;
use crate::exec::accounting::Keeps;
use crate::exec::parts::{Part, PartWriter};
use crate::exec::setup::{self, AnswersFile};
use crate::exec::spill::{Picks, Store};
use crate::exec::stage::{RowEnd, Source, drive};
use crate::exec::{RunError, RunOptions, write_error};
use crate::io::source::InputSummary;
use crate::io::{Position, Workspace};
use crate::op::Common;
use crate::plan;
use crate::recipe::{QuarantineLimit, Recipe};
use crate::record::counts::Word;
use crate::record::{Earlier, ServiceRecord};

/// Rows that one task works on.
pub struct Piece {
    /// The phase.
    pub phase: usize,
    /// Those of its rows.
    pub rows: PieceRows,
    /// What steps of the run asked before: this piece asks the same.
    pub asked: Vec<ServiceRecord>,
    /// Where answers of servers are kept, if its steps ask any.
    pub answers: Option<AnswersFile>,
}

/// Where the rows of a piece are.
pub enum PieceRows {
    /// In inputs: each from a place on, before a byte.
    Inputs(Vec<(Position, Option<u64>)>),
    /// An earlier phase left them.
    Stored(Arc<Store>, Arc<Common>),
}

/// What a task made of a piece.
pub struct Worked {
    /// The outcome of its batches.
    pub part: Part,
    /// Rows that it worked on.
    pub rows: u64,
    /// Rows that could not be processed, by reason. Those with a key of an exact deduplicator are
    /// not among them: they may turn out to be duplicates.
    pub failed: BTreeMap<Word, u64>,
    /// What was read of each of its inputs.
    pub read: Vec<InputSummary>,
    /// What its steps asked.
    pub services: Vec<ServiceRecord>,
}

/// Runs the rows of `piece` through the steps of its phase, and writes what became of them into
/// `directory`.
///
/// # Errors
/// As [`crate::exec::run`]. A share that `max_quarantine` allows concerns all rows, and is for the
/// ordered step to say.
pub fn run_piece(
    recipe: &Recipe,
    options: &RunOptions,
    piece: Piece,
    directory: &Path,
) -> Result<Worked, RunError> {
    let failed = |e| write_error(directory.display(), e);
    let files = run_files(recipe, options);
    let keeps = Keeps::of(recipe, files.as_ref());
    let place = Place {
        files: None,
        workspace: Workspace::nameless(directory.to_owned()),
        earlier: Earlier::default(),
        answers: piece.answers,
    };
    let inputs = setup::inputs(recipe);
    let renderers = renderers(recipe, options)?;
    let context = RunContext::open(recipe, options, inputs, renderers, place)?;
    let phases = plan::phases(&recipe.steps);
    let none = || RunError::Conservation("the plan has no such phase".into());
    let phase = phases.get(piece.phase).ok_or_else(none)?;
    let (sources, common) = match piece.rows {
        PieceRows::Inputs(places) => {
            let places = places.into_iter();
            let source = |(position, until)| Source::piece(&context.inputs, position, until);
            let sources: Vec<Source> = places.map(source).collect();
            (sources, Arc::default())
        }
        PieceRows::Stored(store, common) => {
            let rows = 0..u32::try_from(store.len()).unwrap_or(u32::MAX);
            let rows = Picks::once(rows.collect());
            let source = Source::rows(store, Arc::new(rows), None);
            (vec![source], common)
        }
    };
    let fresh = sources.iter().any(Source::is_fresh);
    let mut chain = context.chain(phase, &keeps, &common, fresh);
    chain.settles = context.settles(phase, &chain);
    let serving = Serving::open(&context, &mut chain, &piece.asked)?;
    let limit = options.max_quarantine(recipe);
    let mut writer = PartWriter::create(directory).map_err(failed)?;
    let (mut rows, mut bad, mut read) = (0, BTreeMap::new(), Vec::new());
    for source in sources {
        serving.batcher.reopen();
        let passed = drive(
            &context.pool,
            options,
            &chain,
            source,
            &serving.batcher,
            |batch, _| {
                rows += batch.count();
                for row in batch.rows.iter().filter(|row| row.exact.is_empty()) {
                    if let RowEnd::Failed(_, error, _) = &row.end {
                        *bad.entry(error.code).or_default() += 1;
                    }
                }
                check_limit(limit, &bad, rows)?;
                writer.push(&batch).map_err(failed)
            },
        )?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        read.extend(passed.summaries.and_then(|mut all| all.pop()));
    }
    serving.batcher.finish()?;
    context.sync_results();
    Ok(Worked {
        services: serving.records(&chain),
        part: writer.finish().map_err(failed)?,
        rows,
        failed: bad,
        read,
    })
}

/// Stops a task that alone has more rows that could not be processed than the whole run may have.
///
/// # Errors
/// [`RunError::TooManyBad`].
pub fn check_limit(
    limit: QuarantineLimit,
    failed: &BTreeMap<impl AsRef<str>, u64>,
    rows: u64,
) -> Result<(), RunError> {
    let failing = failed.values().sum();
    match limit {
        QuarantineLimit::Rows(most) if failing > most => {
            let reasons = failed.iter();
            let reasons = reasons.map(|(code, count)| (code.as_ref().to_owned(), *count));
            Err(RunError::too_many((failing, rows, 0), limit, reasons))
        }
        _ => Ok(()),
    }
}
