//! `djr cache`: what a cache of results holds, whether it is sound, and less of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Exit;
use super::args::parse_size;
use super::clean::parse_age;
use super::ui::{AsJson, Ui};
use crate::answer::{CacheAnswer, CacheKernel, CacheProblem};
use crate::cache::kernel::{FILE_ID, computed, known_name, of_files};
use crate::cache::{Limits, Results, Survey, Trust, clean, survey, unchanged_file, user_dir};
use crate::report::table::{bytes, thousands};

const EXAMPLES: &str = "\
Examples:
  djr cache stat /data/kept
  djr cache stat /data/kept --json
  djr cache verify /data/kept --sample 1000    results of 1,000 files computed again
  djr cache gc /data/kept --max-size 50GB --older-than 90d

A cache is made by `djr run --cache DIR`, or by `cache: DIR` in a recipe. Removing it costs the work
to compute its results again, and nothing else.";

/// Look into a cache of results, check it, make it smaller.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Tell what it holds.
    #[command(after_help = EXAMPLES)]
    Stat {
        #[command(flatten)]
        place: Place,
    },
    /// Read all of it, and compute results of files anew that are as they were.
    #[command(after_help = EXAMPLES)]
    Verify {
        #[command(flatten)]
        place: Place,
        /// Of how many files results are computed anew.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        sample: usize,
    },
    /// Leave out what is damaged, too old or too much; the rest becomes one segment.
    #[command(after_help = EXAMPLES)]
    Gc {
        #[command(flatten)]
        place: Place,
        /// The most that stays, e.g. 50GB; the oldest results go first.
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        max_size: Option<u64>,
        /// Results that were computed longer ago go: 90d, 12h, 90min.
        #[arg(long, value_name = "TIME", value_parser = parse_age)]
        older_than: Option<Duration>,
    },
}

#[derive(clap::Args)]
struct Place {
    /// Where it is; auto is `$XDG_CACHE_HOME/djr`.
    #[arg(default_value = "auto")]
    dir: PathBuf,
    #[command(flatten)]
    json: AsJson,
}

impl Args {
    /// Whether the answer is asked for as one JSON object.
    pub fn is_json(&self) -> bool {
        match &self.action {
            Action::Stat { place } | Action::Verify { place, .. } | Action::Gc { place, .. } => {
                place.json.json
            }
        }
    }
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let (Action::Stat { place } | Action::Verify { place, .. } | Action::Gc { place, .. }) =
        &args.action;
    let dir = if place.dir.as_os_str() == "auto" {
        user_dir(|name| std::env::var_os(name)).unwrap_or_default()
    } else {
        place.dir.clone()
    };
    if !dir.is_dir() {
        let message = format!("{}: there is no such directory", dir.display());
        let hint = "djr run --cache DIR makes one";
        return ui.usage_in(dir.display(), &message, Some(hint));
    }
    let mut answer = CacheAnswer {
        dir: dir.clone(),
        ..CacheAnswer::default()
    };
    let done = match &args.action {
        Action::Stat { .. } => survey(&dir, &mut |_, _| {}).map(|found| fill(&mut answer, found)),
        Action::Verify { sample, .. } => verify(&dir, *sample, &mut answer),
        Action::Gc {
            max_size,
            older_than,
            ..
        } => {
            let limits = Limits {
                max_bytes: *max_size,
                max_age: *older_than,
            };
            gc(&dir, limits, &mut answer)
        }
    };
    if let Err(error) = done {
        let message = format!("{}: {error}", dir.display());
        ui.error_in(dir.display(), "cannot_read", &message, None);
        return Exit::Failed;
    }
    let sound = answer.damage.is_empty() && answer.differ.is_empty();
    let text = told(&answer);
    ui.result(&answer);
    match ui.data(&text) {
        Exit::Success if !sound => Exit::Losses,
        exit => exit,
    }
}

/// Puts what was found into the answer.
fn fill(answer: &mut CacheAnswer, found: Survey) {
    answer.segments = found.segments;
    answer.live = found.live;
    answer.bytes = found.bytes;
    let damage = found.damage.into_iter().map(|damage| CacheProblem {
        code: "damaged".to_owned(),
        message: damage.to_string(),
        file: damage.path,
        offset: damage.offset,
        kernel: None,
    });
    answer.damage = damage.collect();
    let kernels = found.kernels.into_iter().map(|(id, tally)| CacheKernel {
        kernel: known_name(id).unwrap_or_else(|| format!("{id:016x}")),
        results: tally.results,
        bytes: tally.bytes,
    });
    answer.kernels = kernels.collect();
    answer.kernels.sort_by(|a, b| a.kernel.cmp(&b.kernel));
}

/// Reads everything, and computes results of some files anew.
fn verify(dir: &Path, sample: usize, answer: &mut CacheAnswer) -> std::io::Result<()> {
    // Digests of paths are as good as random: the smallest are a sample.
    let mut files = std::collections::BTreeMap::new();
    let found = survey(dir, &mut |key, value| {
        if key.kernel == *FILE_ID {
            files.insert(key.content, value.to_vec());
            if files.len() > sample {
                files.pop_last();
            }
        }
    })?;
    fill(answer, found);
    let results = Results::open(dir, Trust::Content)?;
    let mut checked = 0;
    for value in files.into_values() {
        let Some((path, digest)) = unchanged_file(&value) else {
            continue;
        };
        let Ok(content) = std::fs::read(&path) else {
            continue;
        };
        let name = path.display();
        checked += 1;
        if xxhash_rust::xxh3::xxh3_128(&content) != digest {
            answer.differ.push(CacheProblem {
                code: "content".to_owned(),
                message: format!("{name}: its content is another, and the system does not say so"),
                file: path.clone(),
                ..CacheProblem::default()
            });
            continue;
        }
        for id in of_files() {
            if let Some(kept) = results.get(digest, id)
                && computed(id, &content).as_ref() != Some(&kept)
            {
                let kernel = known_name(id).unwrap_or_default();
                answer.differ.push(CacheProblem {
                    code: "result".to_owned(),
                    message: format!("{name}: {kernel} comes out otherwise"),
                    file: path.clone(),
                    kernel: Some(kernel),
                    ..CacheProblem::default()
                });
            }
        }
    }
    answer.checked = Some(checked);
    Ok(())
}

fn gc(dir: &Path, limits: Limits, answer: &mut CacheAnswer) -> std::io::Result<()> {
    let cleaned = clean(dir, limits)?;
    fill(answer, survey(dir, &mut |_, _| {})?);
    answer.removed = Some(cleaned.results_before.saturating_sub(cleaned.results_after));
    answer.freed = Some(cleaned.bytes_before.saturating_sub(cleaned.bytes_after));
    Ok(())
}

/// The answer in words.
fn told(answer: &CacheAnswer) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}: {} in {} segments{}",
        answer.dir.display(),
        bytes(answer.bytes),
        answer.segments,
        match answer.live {
            0 => String::new(),
            live => format!(", and {live} that runs are writing"),
        }
    );
    for kernel in &answer.kernels {
        let (results, size) = (thousands(kernel.results), bytes(kernel.bytes));
        let _ = writeln!(text, "  {:<28} {results:>14}  {size:>10}", kernel.kernel);
    }
    if let Some(checked) = answer.checked {
        let _ = writeln!(
            text,
            "  results of {} files computed anew",
            thousands(checked)
        );
    }
    if let (Some(removed), Some(freed)) = (answer.removed, answer.freed) {
        let _ = writeln!(
            text,
            "  {} results removed, {} freed",
            thousands(removed),
            bytes(freed)
        );
    }
    for problem in answer.damage.iter().chain(&answer.differ) {
        let _ = writeln!(text, "  {}", problem.message);
    }
    text
}
