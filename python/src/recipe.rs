//! Recipes as Python hands them over.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use djr::io::GivenRows;
use djr::recipe::{Inputs, LoadOptions, Problems, Recipe, RecipeSource, Target, load};
use djr::service::{PeerPython, candidates};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A recipe: its name for messages, its text, whether that is JSON, and the directory that it stands
/// in.
pub type Written = (String, String, bool, Option<PathBuf>);

/// A recipe with the directory that it stands in.
///
/// # Errors
/// If it is said to be JSON and is none.
pub fn source(written: Written) -> PyResult<(RecipeSource, Option<PathBuf>)> {
    let (name, text, is_json, dir) = written;
    if !is_json {
        return Ok((RecipeSource::Text { name, text }, dir));
    }
    let value = serde_json::from_str(&text);
    let value = value.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok((RecipeSource::Value { name, value }, dir))
}

/// A recipe for rows in memory, whose own inputs and outputs do not count.
///
/// # Errors
/// All problems at once.
pub fn for_rows(
    (source, dir): &(RecipeSource, Option<PathBuf>),
    sets: Vec<(String, String)>,
    python: Option<&Path>,
    cwd: &Path,
) -> Result<Recipe, Problems> {
    let pythons = candidates(python, |name| std::env::var_os(name));
    let options = LoadOptions {
        sets,
        peers: Some(Rc::new(PeerPython::new(pythons, cwd.to_owned()))),
        input: Some(Inputs::Given(GivenRows::gone("table"))),
        output: Some(Target::Caller),
        dir: dir.clone(),
        ..LoadOptions::new(cwd)
    };
    load(source, &options)
}
