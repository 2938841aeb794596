//! What every pass over inputs needs before it starts: threads, inputs, where images are, limits.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::driver::InFlight;
use super::entry::Suffixes;
use super::{CacheChoice, Resume, RunError, RunOptions, write_error};
use crate::cache::{Results, Trust, user_dir};
use crate::io::Input;
use crate::io::source::{FileSource, InputAttachments, Reading, StdinSource, drawn};
use crate::op::{ImageNeed, ROW_MEMORY, SUFFIX, Service, longest_within};
use crate::recipe::{CacheTrust, Inputs, Recipe};
use crate::record::counts::StratumCounts;
use crate::sample::ImageContext;
use crate::service::{Answers, Host, Limits, Spending};

/// About how many bytes of rows a batch has at most.
pub const BATCH_BYTES: usize = 1 << 20;

/// The inputs of a recipe as sources.
#[must_use]
pub fn inputs(recipe: &Recipe) -> Vec<Input> {
    let all = sources(&recipe.inputs, &Arc::new(recipe.reading()));
    if recipe.shares.is_empty() {
        return all;
    }
    let mut files = all.into_iter().filter_map(|input| match input {
        Input::Data(file) => Some(file),
        Input::File(_) | Input::Stdin(_) | Input::Given(_) => None,
    });
    let mut drawn = Vec::new();
    for share in &recipe.shares {
        let own = files.by_ref().take(share.files).collect();
        drawn.extend(drawn::share(own, share.rows));
    }
    drawn.into_iter().map(Input::Data).collect()
}

/// What a recipe calls its inputs, as sources.
#[must_use]
pub fn sources(inputs: &Inputs, reading: &Arc<Reading>) -> Vec<Input> {
    match inputs {
        Inputs::Stdin => {
            let reading = Arc::clone(reading);
            vec![Input::Stdin(StdinSource { reading })]
        }
        Inputs::Files(files) => {
            let source = |path: &PathBuf| {
                Input::Data(FileSource {
                    reading: Arc::clone(reading),
                    ..FileSource::new(path.clone())
                })
            };
            files.iter().map(source).collect()
        }
        Inputs::Given(rows) => {
            let rows = rows.clone().read_as(Arc::clone(reading));
            vec![Input::Given(rows)]
        }
    }
}

/// Whether the rows of all inputs can be copied as they lie in them.
///
/// # Errors
/// If one cannot be read, or holds no rows that djr reads.
pub fn hold_lines(inputs: &Inputs) -> Result<bool, RunError> {
    let Inputs::Files(files) = inputs else {
        return Ok(true);
    };
    for path in files {
        let source = FileSource::new(path.clone());
        if source.is_folder() {
            return Ok(false);
        }
        // What is read of a pipe is gone.
        if (path.is_file() || source.is_remote()) && !source.look()?.format().holds_lines() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The worker threads that options and recipe ask for.
///
/// # Errors
/// If threads cannot be started.
pub fn pool(recipe: &Recipe, options: &RunOptions) -> Result<rayon::ThreadPool, RunError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match (options.threads, recipe.threads) {
        (Some(threads), _) => threads,
        // More threads than cores only cost memory; the answer is the same.
        (None, Some(threads)) => threads.min(cores),
        (None, None) => cores,
    };
    // Who starts the work of a GPU must not wait for threads that make it ready.
    let asks_models = recipe
        .steps
        .iter()
        .any(|step| matches!(step.spec.service, Some(Service::Model(_))));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|i| format!("djr-worker-{i}"))
        .start_handler(move |_| {
            if asks_models {
                // Of the calling thread alone; where it fails the work is only slower.
                let _ = rustix::process::setpriority_process(None, 10);
            }
        })
        .build()
        .map_err(|e| write_error("worker threads", std::io::Error::other(e)))
}

/// How images of the rows of `inputs` are found, when they are read as far as `want`.
#[must_use]
pub fn image_context(
    recipe: &Recipe,
    inputs: &[Input],
    working_dir: &Path,
    want: ImageNeed,
) -> Arc<ImageContext> {
    let roots: Vec<PathBuf> = match &recipe.image_root {
        Some(root) => vec![root.clone()],
        None => inputs
            .iter()
            .map(|input| {
                let directory = input.source().directory();
                directory.unwrap_or_else(|| working_dir.to_owned())
            })
            .collect(),
    };
    Arc::new(ImageContext {
        image_key: recipe.image_key.clone(),
        media_keys: vec![recipe.video_key.clone(), recipe.audio_key.clone()],
        roots,
        datasets: if recipe.steps.iter().any(|step| step.spec.reads_dataset) {
            dataset_names(recipe, inputs)
        } else {
            Vec::new()
        },
        confine: recipe.confine,
        want,
        attachments: Some(Arc::new(InputAttachments::new(inputs.to_vec()))),
        results: None,
    })
}

/// The results of other runs that recipe and options ask for.
///
/// # Errors
/// If they cannot be opened, or kept there.
pub fn results(recipe: &Recipe, options: &RunOptions) -> Result<Option<Arc<Results>>, RunError> {
    let asked = match &options.cache {
        CacheChoice::Off => return Ok(None),
        CacheChoice::In(dir) => Some(dir.clone()),
        CacheChoice::Recipe => recipe.results.dir.as_ref().map(PathBuf::from),
    };
    let Some(asked) = asked else {
        return Ok(None);
    };
    let dir = if asked.as_os_str() == "auto" {
        let none = || std::io::Error::other("neither XDG_CACHE_HOME nor HOME is set");
        user_dir(|name| std::env::var_os(name)).ok_or_else(|| write_error("cache: auto", none()))?
    } else {
        options.working_dir.join(asked)
    };
    let trust = match recipe.results.trust {
        CacheTrust::Stat => Trust::Stat,
        CacheTrust::Content => Trust::Content,
    };
    let opened = Results::open(&dir, trust);
    let opened = opened.map_err(|e| write_error(dir.display(), e))?;
    Ok(Some(Arc::new(opened)))
}

/// `context` with results of other runs.
#[must_use]
pub fn with_results(
    mut context: Arc<ImageContext>,
    results: Option<&Arc<Results>>,
) -> Arc<ImageContext> {
    if let Some(results) = results {
        Arc::make_mut(&mut context).results = Some(Arc::clone(results));
    }
    context
}

/// Rows a batch, and how much may be in flight; `decodes` says that images of rows are decoded.
#[must_use]
pub fn limits(threads: usize, options: &RunOptions, decodes: bool) -> (usize, InFlight) {
    // Rows whose images are decoded take milliseconds, others microseconds; a batch should last long
    // enough to be worth handing over, and short enough to keep the threads evenly busy.
    let rows = options.batch_rows.unwrap_or(if decodes { 32 } else { 512 });
    let of = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let budget = match options.max_memory {
        // What is in flight takes a few times its bytes.
        Some(budget) => of(longest_within(budget, ROW_MEMORY).unwrap_or(budget)),
        // More would not make a run faster.
        None => of(options.memory() / 8).min(256 << 20),
    };
    (
        rows.max(1),
        InFlight {
            items: threads * 4 + 2,
            bytes: budget.max(BATCH_BYTES),
        },
    )
}

/// What may be in flight when steps ask services: enough rows that their batches fill while
/// others are served.
#[must_use]
pub fn with_services<'s>(
    limit: InFlight,
    batch_rows: usize,
    services: impl Iterator<Item = &'s Service>,
) -> InFlight {
    let rows = services.map(Service::ahead).max().unwrap_or(0);
    InFlight {
        items: limit.items + rows.div_ceil(batch_rows),
        ..limit
    }
}

/// Where answers of servers are kept.
#[derive(Debug, Clone)]
pub struct AnswersFile {
    /// The file, which need not be there.
    pub path: PathBuf,
    /// Whether what its answers cost counts; else what they cost from now on.
    pub goes_on: bool,
}

impl AnswersFile {
    /// That of a run with these options.
    #[must_use]
    pub fn of_run(path: PathBuf, options: &RunOptions) -> Self {
        let goes_on = options.resume == Resume::Continue;
        Self { path, goes_on }
    }
}

/// Where the services of `recipe` run: as the options say, with the threads of the run. What servers
/// answer is kept in `answers`, if that is given.
///
/// # Errors
/// If that file cannot be read or written.
pub fn host(
    recipe: &Recipe,
    options: &RunOptions,
    threads: usize,
    answers: Option<&AnswersFile>,
) -> Result<Host, RunError> {
    let mut host = Host {
        threads,
        working_dir: options.working_dir.clone(),
        stopping: Arc::clone(&options.interrupted),
        ..options.host.clone()
    };
    let limits = Limits {
        cost: options.max_cost,
        tokens: options.max_tokens_total,
    };
    let mut spent = Vec::new();
    if let Some(AnswersFile { path, goes_on }) = answers.filter(|_| asks_servers(recipe)) {
        let failed = |e| write_error(path.display(), e);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let opened = Answers::open(path, *goes_on).map_err(failed)?;
        (host.answers, spent) = (Arc::new(opened.0), opened.1);
    }
    host.spending = Arc::new(Spending::new(limits, &spent));
    Ok(host)
}

/// Whether some step asks a server.
#[must_use]
pub fn asks_servers(recipe: &Recipe) -> bool {
    let mut steps = recipe.steps.iter();
    steps.any(|step| matches!(step.spec.service, Some(Service::Endpoint(_))))
}

/// The field that names the suffix of a row's input, and the suffix of each, if a step asks for it.
pub fn suffixes(recipe: &Recipe, inputs: &[Input]) -> Option<Suffixes> {
    let mut steps = recipe.steps.iter();
    steps.find(|step| step.spec.reads_suffix)?;
    Some((SUFFIX, inputs.iter().map(Input::suffix).collect()))
}

/// What the file of each input is called in an output that has one for each: the name of the file up
/// to its first dot, behind those of its directories where several are called the same.
#[must_use]
pub fn input_names(inputs: &[Input]) -> Vec<String> {
    let paths: Vec<PathBuf> = inputs.iter().map(|it| it.name().into()).collect();
    short_names(&paths)
}

/// What the dataset of each input is called: what the recipe names, as [`input_names`] shortens it.
#[must_use]
pub fn dataset_names(recipe: &Recipe, inputs: &[Input]) -> Vec<String> {
    if recipe.datasets.is_empty() {
        return input_names(inputs);
    }
    let paths: Vec<PathBuf> = recipe.datasets.iter().map(|it| it.path.clone()).collect();
    let names = short_names(&paths).into_iter().zip(&recipe.datasets);
    let names = names.flat_map(|(name, dataset)| std::iter::repeat_n(name, dataset.files));
    names.collect()
}

/// What each dataset of a recipe with weights had, was to give and gave.
///
/// # Errors
/// If its rows are not counted yet, and cannot be.
pub fn drawn_of(recipe: &Recipe, inputs: &[Input]) -> Result<Vec<StratumCounts>, RunError> {
    if recipe.shares.is_empty() {
        return Ok(Vec::new());
    }
    let names = dataset_names(recipe, inputs);
    let mut datasets = Vec::new();
    let mut first = 0;
    for share in &recipe.shares {
        if let (Some(Input::Data(file)), Some(name)) = (inputs.get(first), names.get(first))
            && let Some(drawn) = &file.drawn
        {
            let (had, got) = drawn.counts(file)?;
            datasets.push(StratumCounts {
                value: name.clone(),
                had,
                wanted: share.rows,
                got,
            });
        }
        first += share.files;
    }
    Ok(datasets)
}

/// A name for each of `paths`: that of the file up to its first dot; where several have the same, with
/// as many of their directories before it as tell them apart; where nothing does, with its number.
fn short_names(paths: &[PathBuf]) -> Vec<String> {
    let parts = |path: &PathBuf| -> Vec<String> {
        let mut parts: Vec<String> = path
            .components()
            .filter_map(|part| match part {
                Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        parts.reverse();
        if let Some(file) = parts.first_mut() {
            match file.split('.').next() {
                Some(stem) if !stem.is_empty() => *file = stem.to_owned(),
                _ => {}
            }
        }
        parts
    };
    let parts: Vec<Vec<String>> = paths.iter().map(parts).collect();
    let joined = |path: &[String], depth: usize| {
        let mut own: Vec<&str> = path.iter().take(depth + 1).map(String::as_str).collect();
        own.reverse();
        own.join("-")
    };
    let mut names: Vec<Option<String>> = vec![None; paths.len()];
    let mut alike: Vec<usize> = (0..paths.len()).collect();
    for depth in 0..parts.iter().map(Vec::len).max().unwrap_or(0) {
        let mut of_name: HashMap<String, Vec<usize>> = HashMap::new();
        for number in alike.drain(..) {
            if let Some(path) = parts.get(number) {
                of_name.entry(joined(path, depth)).or_default().push(number);
            }
        }
        for (name, mut own) in of_name {
            match own.as_slice() {
                [number] => {
                    if let Some(slot) = names.get_mut(*number) {
                        *slot = Some(name);
                    }
                }
                _ => alike.append(&mut own),
            }
        }
        alike.sort_unstable();
    }
    let mut taken = HashSet::new();
    let names = names.into_iter().zip(&parts).zip(1..);
    let names = names.map(|((name, path), number)| {
        let mut name = name.unwrap_or_else(|| format!("{}-{number}", joined(path, 0)));
        // `a-b` may be the name of another one.
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        name
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_inputs_apart() {
        let names = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            short_names(&paths)
        };
        assert_eq!(names(&["in/web.jsonl.gz", "news"]), ["web", "news"]);
        assert_eq!(
            names(&["/x/a/c.jsonl", "/x/b/c.jsonl", "/x/d.jsonl"]),
            ["a-c", "b-c", "d"]
        );
        assert_eq!(
            names(&["a/x/c.jsonl", "b/x/c.jsonl", "c.jsonl"]),
            ["a-x-c", "b-x-c", "c"]
        );
        assert_eq!(names(&["c.csv", "c.jsonl"]), ["c-1", "c-2"]);
        assert_eq!(
            names(&["x/c.csv", "y/c.csv", "x-c.csv"]),
            ["x-c", "y-c", "x-c_"]
        );
        assert_eq!(names(&["data-*.parquet", ".hidden"]), ["data-*", ".hidden"]);
    }
}
