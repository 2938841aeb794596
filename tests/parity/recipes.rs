//! Whole recipes through the executor, against the rows that a whole run of Data-Juicer left: its
//! loader, its rounding of stats and its order of rows included.

use std::error::Error;
use std::path::{Path, PathBuf};

use djr::exec::{RunOptions, run};
use djr::recipe::{self, LoadOptions, RecipeSource, Target};
use serde_json::Value;

use crate::case::repository;

/// How one recipe fares.
pub struct Whole {
    /// The name of its directory.
    pub name: String,
    /// Rows that are equal, place by place.
    pub agree: usize,
    /// Rows that Data-Juicer left, or djr, if those are more.
    pub total: usize,
    /// The first row that differs, or why there are none, in words.
    pub difference: Option<String>,
}

/// Every recipe of the repository, by name.
pub fn all() -> Vec<Whole> {
    let dir = repository().join("fixtures/golden/_recipes");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    cases.sort();
    cases.iter().map(|case| compare(case)).collect()
}

fn compare(case: &Path) -> Whole {
    let name = case.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let (found, wanted) = match replay(case) {
        Ok(rows) => rows,
        Err(error) => {
            return Whole {
                name,
                agree: 0,
                total: 0,
                difference: Some(error.to_string()),
            };
        }
    };
    let agree = found.iter().zip(&wanted).filter(|(a, b)| a == b).count();
    let total = found.len().max(wanted.len());
    let first = (0..total).find(|&i| found.get(i) != wanted.get(i));
    let shown = |row: Option<&Value>| row.map_or("no row".to_owned(), Value::to_string);
    Whole {
        name,
        agree,
        total,
        difference: first.map(|i| {
            format!(
                "row {}: {} instead of {}",
                i + 1,
                shown(found.get(i)),
                shown(wanted.get(i))
            )
        }),
    }
}

/// The rows that djr leaves, and those that Data-Juicer left.
fn replay(case: &Path) -> Result<(Vec<Value>, Vec<Value>), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let output = scratch.path().join("rows.jsonl");
    let options = LoadOptions {
        output: Some(Target::File(output.clone())),
        ..LoadOptions::new(case)
    };
    let recipe = recipe::load(&RecipeSource::File("recipe.yaml".into()), &options)?;
    let options = RunOptions {
        working_dir: scratch.path().to_owned(),
        ..RunOptions::default()
    };
    run(&recipe, &options, &mut ())?;
    let found = std::fs::read(&output)?;
    let found = found.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let found = found
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?;
    let expected: Value = serde_json::from_slice(&std::fs::read(case.join("expected.json"))?)?;
    let wanted = expected.get("rows").and_then(Value::as_array).cloned();
    Ok((found, wanted.ok_or("expected.json has no rows")?))
}
