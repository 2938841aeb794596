//! A piece of a phase: some rows through its steps, and what became of them written down.

use std::path::Path;
use std::sync::Arc;

use super::context::{Place, RunContext, renderers, run_files};
use crate::exec::accounting::Keeps;
use crate::exec::driver::NoLanes;
use crate::exec::parts::{Part, PartWriter};
use crate::exec::spill::Store;
use crate::exec::stage::{RowEnd, Source, drive};
use crate::exec::{RunError, RunOptions, setup, write_error};
use crate::io::source::InputSummary;
use crate::io::{Position, Workspace};
use crate::op::Common;
use crate::plan;
use crate::recipe::Recipe;
use crate::record::Earlier;

/// Rows that one task works on.
pub struct Piece {
    /// The phase.
    pub phase: usize,
    /// Those of its rows.
    pub rows: PieceRows,
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
    /// Rows that could not be processed.
    pub failed: u64,
    /// What was read of each of its inputs.
    pub read: Vec<InputSummary>,
}

/// Runs the rows of `piece` through the steps of its phase, and writes what became of them into
/// `directory`.
///
/// # Errors
/// As [`crate::exec::run`]. What concerns all rows, such as `max_quarantine`, is for the ordered
/// step to say.
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
            let source = Source::rows(store, Arc::new(rows.collect()), None);
            (vec![source], common)
        }
    };
    let fresh = sources.iter().any(Source::is_fresh);
    let chain = context.chain(phase, &keeps, &common, fresh);
    let mut writer = PartWriter::create(directory).map_err(failed)?;
    let (mut rows, mut bad, mut read) = (0, 0, Vec::new());
    for source in sources {
        let passed = drive(
            &context.pool,
            options,
            &chain,
            source,
            &NoLanes,
            |batch, _| {
                rows += batch.rows.len() as u64;
                let ends = batch.rows.iter();
                bad += ends
                    .filter(|row| matches!(row.end, RowEnd::Failed(..)))
                    .count() as u64;
                writer.push(&batch).map_err(failed)
            },
        )?;
        if passed.interrupted {
            return Err(RunError::Interrupted);
        }
        read.extend(passed.summaries.and_then(|mut all| all.pop()));
    }
    context.sync_results();
    Ok(Worked {
        part: writer.finish().map_err(failed)?,
        rows,
        failed: bad,
        read,
    })
}
