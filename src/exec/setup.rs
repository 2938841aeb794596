//! What every pass over inputs needs before it starts: threads, inputs, where images are, limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::driver::InFlight;
use super::entry::Suffixes;
use super::{CacheChoice, Resume, RunError, RunOptions, write_error};
use crate::cache::{Results, Trust, user_dir};
use crate::io::Input;
use crate::io::source::{FileSource, InputAttachments, Reading, StdinSource, drawn};
use crate::op::{ImageNeed, SUFFIX, Service};
use crate::recipe::{CacheTrust, Inputs, Recipe};
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
    let budget = usize::try_from(options.memory() / 8).unwrap_or(usize::MAX);
    // More in flight would not make a run faster.
    let budget = match options.max_memory {
        Some(_) => budget,
        None => budget.min(256 << 20),
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

/// Where the services of `recipe` run: as the options say, with the threads of the run. What servers
/// answer is kept in `answers`, if that is given.
///
/// # Errors
/// If that file cannot be read or written.
pub fn host(
    recipe: &Recipe,
    options: &RunOptions,
    threads: usize,
    answers: Option<&Path>,
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
    if let Some(path) = answers.filter(|_| asks_servers(recipe)) {
        let failed = |e| write_error(path.display(), e);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let goes_on = options.resume == Resume::Continue;
        let opened = Answers::open(path, goes_on).map_err(failed)?;
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
/// to its first dot, with the number of the input where several have the same.
#[must_use]
pub fn input_names(inputs: &[Input]) -> Vec<String> {
    let stem = |input: &Input| {
        let name = input.name();
        let file = Path::new(&name).file_name();
        let file = file.map_or_else(|| name.clone(), |file| file.to_string_lossy().into_owned());
        match file.split('.').next() {
            Some(stem) if !stem.is_empty() => stem.to_owned(),
            _ => file,
        }
    };
    let stems: Vec<String> = inputs.iter().map(stem).collect();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for stem in &stems {
        *times.entry(stem).or_default() += 1;
    }
    let named = stems.iter().enumerate().map(|(number, stem)| {
        if times.get(stem.as_str()).is_some_and(|times| *times > 1) {
            format!("{stem}-{}", number + 1)
        } else {
            stem.clone()
        }
    });
    let mut taken = HashSet::new();
    let named = named.map(|mut name| {
        // `a-1` may be the name of another one.
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        name
    });
    named.collect()
}
