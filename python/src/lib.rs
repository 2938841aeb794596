//! The extension module `djr._djr`: what `import djr` stands on.
//!
//! Everything comes back as the JSON that the command line answers with, or as Arrow's columns;
//! `python/djr` makes Python's own of it. Docstrings and types stand there.

mod arrow;
mod recipe;
mod table;
mod watched;

use std::ffi::OsString;

use djr::cli::{Call, Called};
use pyo3::prelude::*;

use recipe::Written;
use watched::watched;

/// Runs a command line as the program does, and gives its exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| djr::cli::run(words) as u8)
}

/// Runs a command and gives its answer as JSON, and the sentences that it would have said.
#[pyfunction]
#[pyo3(signature = (words, recipe, progress))]
fn call(
    py: Python<'_>,
    words: Vec<OsString>,
    recipe: Option<Written>,
    progress: Option<(usize, Py<PyAny>)>,
) -> PyResult<(String, Vec<String>)> {
    let recipe = recipe.map(recipe::source).transpose()?;
    let Called { answer, said } = watched(py, progress, move |watcher| {
        djr::cli::call(Call {
            words,
            recipe,
            interrupted: watcher.interrupted,
            progress: watcher.progress,
        })
    })?;
    // Nothing in an answer can fail to be JSON.
    let answer = serde_json::to_string(&answer).unwrap_or_default();
    Ok((answer, said))
}

/// The JSON Schema of something, if there is one, and else the names of those there are.
#[pyfunction]
fn schema(of: &str) -> (Option<String>, Vec<String>) {
    let schema = djr::catalog::schema_of(of).map(|schema| schema.to_string());
    let names = djr::catalog::schema_names();
    (schema, names.into_iter().map(Into::into).collect())
}

/// The module.
#[pymodule]
mod _djr {
    #[pymodule_export]
    use super::arrow::Rows;
    #[pymodule_export]
    use super::table::{Stage, filter};
    #[pymodule_export]
    use super::{call, main, schema};
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
