//! Tables through recipes: the whole of one at a time, or batch by batch.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use djr::answer::{Answer, ProblemRecord, RunAnswer};
use djr::cli::{Exit, failed};
use djr::exec::{RunError, RunOptions, TableOutcome, filter_table, table_fates};
use djr::io::source::Table;
use djr::op::OpKind;
use djr::recipe::{Problems, QuarantineLimit, Recipe, RecipeSource, Step};
use djr::report::progress::Progress;
use djr::report::table::render;
use djr::service::{Host, candidates};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrow::{self, Rows};
use crate::recipe::{self, Written};
use crate::watched::{Watcher, watched};

/// How a table is run through a recipe.
#[derive(Debug, Clone, Default, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    /// `--set`: keys of the recipe and their values.
    sets: Vec<(String, String)>,
    /// Worker threads.
    threads: Option<usize>,
    /// Memory to stay within, such as `2GB`.
    max_memory: Option<String>,
    /// How many rows may fail, such as `5%`.
    max_quarantine: Option<String>,
    /// The Python that runs models.
    python: Option<PathBuf>,
    /// The devices they run on.
    devices: Vec<String>,
}

impl Options {
    fn of_run(&self, recipe: &Recipe, cwd: PathBuf) -> PyResult<RunOptions> {
        let wrong = |what: &str, text: &str| PyValueError::new_err(format!("{what}: '{text}'"));
        let max_memory = match &self.max_memory {
            None => recipe.max_memory,
            Some(text) => {
                let size = djr::recipe::parse_size(text);
                Some(size.ok_or_else(|| wrong("max_memory is a size such as 2GB", text))?)
            }
        };
        let max_quarantine = match &self.max_quarantine {
            None => None,
            Some(text) => {
                let limit = QuarantineLimit::from_text(text);
                let what = "max_quarantine is a share, a number or none";
                Some(limit.ok_or_else(|| wrong(what, text))?)
            }
        };
        Ok(RunOptions {
            threads: self.threads,
            max_memory,
            max_quarantine,
            max_cost: recipe.max_cost,
            max_tokens_total: recipe.max_tokens_total,
            working_dir: cwd,
            host: Host {
                pythons: candidates(self.python.as_deref(), |name| std::env::var_os(name)),
                devices: self.devices.clone(),
                ..Host::default()
            },
            ..RunOptions::default()
        })
    }
}

/// The rows of `data` that a recipe keeps, or all with their fates; and, as JSON, what `djr run
/// --json` would answer, with the closing table.
///
/// # Errors
/// If `data` is no table. What is wrong with the recipe or the run stands in the answer.
#[expect(clippy::too_many_arguments, reason = "each is one of Python's")]
#[pyfunction]
#[pyo3(signature = (data, order, recipe, options, with_fate, progress))]
pub fn filter(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    order: Option<&Bound<'_, PyAny>>,
    recipe: Written,
    options: Options,
    with_fate: bool,
    progress: Option<(usize, Py<PyAny>)>,
) -> PyResult<(String, String, Option<Rows>)> {
    let source = recipe::source(recipe)?;
    let table = Arc::new(arrow::table(data, order)?);
    let cwd = std::env::current_dir()?;
    watched(py, progress, move |watcher| {
        let mut recipe = match recipe::for_rows(
            &source,
            options.sets.clone(),
            options.python.as_deref(),
            &cwd,
        ) {
            Ok(recipe) => recipe,
            Err(problems) => return Ok(unsound("filter", &problems)),
        };
        let run = options.of_run(&recipe, cwd)?;
        let outcome = through(&mut recipe, &table, run, with_fate, watcher);
        Ok(answered("filter", outcome))
    })?
}

/// A recipe whose rows do not know of each other, for one batch of a table after the other.
#[pyclass(frozen, module = "djr._djr")]
pub struct Stage {
    recipe: Arc<Mutex<Recipe>>,
    options: RunOptions,
}

#[pymethods]
impl Stage {
    /// The stage, if the recipe is sound and can be one; and an answer that says what is wrong if not.
    #[staticmethod]
    fn of(py: Python<'_>, recipe: Written, options: Options) -> PyResult<(String, Option<Self>)> {
        let source: (RecipeSource, Option<PathBuf>) = recipe::source(recipe)?;
        let cwd = std::env::current_dir()?;
        let sets = options.sets.clone();
        let (here, python) = (cwd.clone(), options.python.clone());
        let loaded = watched(py, None, move |_| {
            recipe::for_rows(&source, sets, python.as_deref(), &here)
        })?;
        let recipe = match loaded {
            Ok(recipe) => recipe,
            Err(problems) => return Ok((unsound("stage", &problems).0, None)),
        };
        let problems: Vec<ProblemRecord> = recipe
            .steps
            .iter()
            .filter_map(|step| Some((step, not_alone(step)?)))
            .map(|(step, (message, hint))| ProblemRecord {
                file: Some(recipe.name.clone()),
                line: (step.line > 0).then_some(step.line),
                code: "stage_unfit".to_owned(),
                message,
                hint: Some(hint.to_owned()),
                ..ProblemRecord::default()
            })
            .collect();
        if !problems.is_empty() {
            return Ok((refused("stage", Exit::Usage, problems).0, None));
        }
        let options = options.of_run(&recipe, cwd)?;
        let stage = Self {
            recipe: Arc::new(Mutex::new(recipe)),
            options,
        };
        Ok((json(&Answer::<RunAnswer>::new("stage")), Some(stage)))
    }

    /// As [`filter`].
    fn map_batch(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        order: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(String, String, Option<Rows>)> {
        let table = Arc::new(arrow::table(data, order)?);
        let recipe = Arc::clone(&self.recipe);
        let options = self.options.clone();
        watched(py, None, move |watcher| {
            // A recipe is run by one batch at a time; what another one left of it is of no account.
            let mut recipe = recipe.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = through(&mut recipe, &table, options, false, watcher);
            answered("stage", outcome)
        })
    }
}

/// Why a step cannot be part of a stage, and what can be done.
fn not_alone(step: &Step) -> Option<(String, &'static str)> {
    if step.is_exchange() || step.spec.kind == OpKind::Exact {
        return Some((
            format!(
                "{} decides among all rows, and a stage has one batch of them at a time",
                step.name
            ),
            "djr.filter takes a whole table, djr.run files",
        ));
    }
    step.spec.service.as_ref().map(|_| {
        (
            format!(
                "{} asks a worker, which a stage would start anew for each batch",
                step.name
            ),
            "djr.filter and djr.run start it once",
        )
    })
}

fn through(
    recipe: &mut Recipe,
    table: &Arc<Table>,
    options: RunOptions,
    with_fate: bool,
    watcher: Watcher,
) -> Result<TableOutcome, RunError> {
    let options = RunOptions {
        interrupted: watcher.interrupted,
        ..options
    };
    let run = if with_fate { table_fates } else { filter_table };
    match watcher.progress {
        None => run(recipe, table, &options, &mut ()),
        Some((width, listener)) => {
            let mut progress = Progress::told(None, width, listener);
            run(recipe, table, &options, &mut progress)
        }
    }
}

/// The answer, the closing table, and the rows of a run.
type Answered = (String, String, Option<Rows>);

fn answered(command: &str, outcome: Result<TableOutcome, RunError>) -> Answered {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failure) => {
            let (exit, problem) = failed(&failure, None);
            return refused(command, exit, vec![problem]);
        }
    };
    let report = &outcome.outcome.report;
    let answer = Answer {
        exit: report.exit_code(None),
        notes: report.notes.clone(),
        result: Some(RunAnswer::of(report)),
        ..Answer::new(command)
    };
    let rows = Rows::new(outcome.schema, outcome.batches);
    (json(&answer), render(report), Some(rows))
}

fn unsound(command: &str, problems: &Problems) -> Answered {
    let problems = problems.iter().map(ProblemRecord::from).collect();
    refused(command, Exit::Usage, problems)
}

fn refused(command: &str, exit: Exit, problems: Vec<ProblemRecord>) -> Answered {
    let answer = Answer::<RunAnswer> {
        exit: exit as u8,
        problems,
        ..Answer::new(command)
    };
    (json(&answer), String::new(), None)
}

/// An answer as JSON, which it always can be.
fn json(answer: &Answer<RunAnswer>) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}
