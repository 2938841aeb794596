//! Running a recipe: rows in, operators over them in parallel, outputs in order, every row accounted for.
//!
//! A run is a sequence of phases (see [`crate::plan`]). In each, a reader thread cuts rows into batches,
//! worker threads take every row through the whole chain of operators (`stage`), and one ordered
//! step admits exact-duplicate keys, counts, writes the ledger (`accounting`) and hands rows on: to
//! the outputs (`output`) in the last phase, else to a store on disk (`spill`), from which the next
//! phase reads what the exchanges (`exchange`) left alive. The executor never names an operator.

mod accounting;
mod batcher;
pub mod cached_stats;
mod checkpoint;
mod conclude;
pub mod driver;
mod duplicates;
mod entry;
mod error;
mod exchange;
mod fields;
mod leavings;
mod memory;
mod options;
mod output;
mod parts;
mod peek;
mod probe;
mod run;
pub mod setup;
mod sinks;
mod spill;
mod stage;
pub mod subset;
mod table;
pub mod tasks;
mod watch;

pub use accounting::count_note;
pub use batcher::{Asking, Batcher};
pub use conclude::{found_notes, is_counted};
pub use entry::{STATS_FIELD, Suffixes, enter};
pub use error::{RunError, write_error};
pub use exchange::bounds::{Among, Decided};
pub use fields::{FieldWatch, FieldsSeen, remember};
pub use leavings::{FoundRun, RunState, found_runs, remove_run};
pub use options::{CacheChoice, Moment, Observer, Resume, RunOptions, RunOutcome};
pub use peek::all_notes;
pub use probe::{Probe, Sampled, StepProbe, probe, sample_servers};
pub use run::{FileNow, ReferenceIndex, WouldDo, answers_file, rows_done, up_to_date};
use sinks::Caller;
pub use sinks::Receiver;
pub use spill::stats_from_json;
pub use stage::{StepCost, panic_message};
pub use table::{TableOutcome, filter_table, table_fates};

use std::path::Path;

use crate::recipe::Recipe;

/// Runs `recipe`.
///
/// # Errors
/// Whatever ends a run; single bad rows do not (unless `on_error: fail`).
pub fn run(
    recipe: &Recipe,
    options: &RunOptions,
    observer: &mut dyn Observer,
) -> Result<RunOutcome, RunError> {
    driver::Panicked::catch(|| run::run(recipe, options, observer, None))?
}

/// As [`run`], for recipes with outputs whose target is [`Target::Caller`](crate::recipe::Target::Caller): `receiver` gets their
/// records, in order, on this thread. Such a run keeps no progress.
///
/// ```
/// use djr::exec::{RunOptions, run_to};
/// use djr::io::format::OutputFormat;
/// use djr::recipe::{Inputs, OutputSpec, Recipe, Target};
///
/// let rows = std::env::temp_dir().join("djr-run-to.jsonl");
/// std::fs::write(&rows, "{\"text\": \"a red kite\"}\n{\"text\": \"two boats\"}\n")?;
/// let inputs = Inputs::Files(vec![rows.clone()]);
/// let output = OutputSpec::new(OutputFormat::ROWS, Target::Caller);
/// let recipe = Recipe::bare("example", inputs, output);
///
/// let mut received = Vec::new();
/// let outcome = run_to(&recipe, &RunOptions::default(), &mut (), &mut |_, row: &[u8]| {
///     received.push(String::from_utf8_lossy(row).into_owned());
///     Ok(())
/// })?;
/// assert_eq!(received, ["{\"text\": \"a red kite\"}", "{\"text\": \"two boats\"}"]);
/// assert_eq!(outcome.report.rows_out, 2);
/// # std::fs::remove_file(rows)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`run`], and what `receiver` says.
pub fn run_to(
    recipe: &Recipe,
    options: &RunOptions,
    observer: &mut dyn Observer,
    receiver: &mut dyn Receiver,
) -> Result<RunOutcome, RunError> {
    let caller = Caller::new(receiver);
    driver::Panicked::catch(|| run::run(recipe, options, observer, Some(caller)))?
}

/// Sees that each output of `recipe` can hold what its steps make of the inputs, which are opened.
///
/// # Errors
/// As [`run`].
pub fn check_outputs(recipe: &Recipe, working_dir: &Path) -> Result<(), RunError> {
    let options = RunOptions {
        working_dir: working_dir.to_owned(),
        ..RunOptions::default()
    };
    run::check_outputs(recipe, &options)
}

/// What a run of `recipe` would read, write and overwrite; nothing is made.
///
/// # Errors
/// As [`run`], of what is known before a row is read.
pub fn foresee(recipe: &Recipe, options: &RunOptions) -> Result<WouldDo, RunError> {
    run::foresee(recipe, options)
}
