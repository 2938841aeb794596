//! Whether a run is needed at all: what an earlier one left may be what it would make again.

use rayon::prelude::*;

use crate::exec::run::context::run_files;
use crate::exec::{RunOptions, setup};
use crate::io::atomic::digest_of;
use crate::io::source::fingerprints;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::record::{InputRecord, PastRun};

/// The earlier run of the same outputs, if this one would make the same again: the plan with its
/// assets, the inputs and all files it wrote are as its manifest says, the files by their digests.
/// Images that rows name are not looked at; `djr verify` does that.
///
/// # Errors
/// Why the run is needed, in words.
pub fn up_to_date(recipe: &Recipe, options: &RunOptions) -> Result<PastRun, String> {
    let Some(files) = run_files(recipe, options) else {
        return Err("a run into a stream leaves no record".into());
    };
    if files.is_unfinished() {
        return Err("an unfinished run of these outputs is there".into());
    }
    if !files.manifest().is_file() {
        return Err("no run of these outputs is recorded".into());
    }
    let run = PastRun::read(files).map_err(|failure| failure.to_string())?;
    let past = &run.manifest;
    if past.djr != env!("CARGO_PKG_VERSION") {
        return Err(format!("djr {} wrote them", past.djr));
    }
    let plan = Plan::of(recipe).map_err(|failure| failure.to_string())?;
    if plan.digest() != past.plan_digest {
        let differences = past.plan.differences(&plan);
        let first = differences.into_iter().next();
        return Err(first.unwrap_or_else(|| "the plan is another".into()));
    }
    let inputs = setup::inputs(recipe);
    let prints = fingerprints(&inputs).map_err(|failure| failure.to_string())?;
    if inputs.len() != past.inputs.len() {
        return Err("there are other inputs".into());
    }
    for ((input, print), before) in inputs.iter().zip(&prints).zip(&past.inputs) {
        let name = input.name();
        if name != before.name {
            return Err("there are other inputs".into());
        }
        if print.is_none() {
            return Err(format!("{name} cannot be read twice"));
        }
    }
    let changes: Vec<_> = past.inputs.par_iter().map(InputRecord::change).collect();
    for (before, change) in past.inputs.iter().zip(changes) {
        let name = &before.name;
        if let Some(change) = change.map_err(|failure| format!("{name}: {failure}"))? {
            return Err(format!("{name}: its {} is another", change.word()));
        }
    }
    for file in past.files() {
        let path = run.place(file);
        let now = digest_of(&path).map_err(|failure| format!("{}: {failure}", path.display()))?;
        if now != (file.bytes, file.xxh3_128.clone()) {
            return Err(format!("{}: it is not as it was written", path.display()));
        }
    }
    Ok(run)
}
