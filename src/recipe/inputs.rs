//! From `dataset_path` or `dataset` to the files that hold the rows.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::DataType;

use super::hub;
use super::keys::Kind;
use super::model::{Dataset, Share};
use super::nearest::did_you_mean;
use super::patterns;
use super::problem::{Problem, Problems};
use super::yaml::{Entry, Issue, Node, Pos, Value};
use crate::archive::packing::{PACKINGS, split_name};
use crate::io::remote::{HubPlace, is_remote};
use crate::io::source::columns::roles::agree;
use crate::io::source::format::{is_named_so, suffixes};
use crate::io::source::{FileSource, Reading, Source as _, SourceError};
use crate::layout::{self, RunFiles};
use crate::note::{Code, Note};

/// Deepest directory searched.
const MAX_DEPTH: usize = 32;

/// How many names of files that are not read a note tells.
const SHOWN: usize = 3;

/// What djr reads, for hints.
const READ: &str = "djr reads JSON Lines, JSON arrays, JSON objects, CSV, TSV, webdataset archives and texts, also packed by gzip, zstd, bzip2 or xz, and Parquet and Arrow files";

/// How inputs are looked for.
pub struct Finder<'a> {
    /// The recipe's directory, then the working directory.
    pub search: &'a [PathBuf],
    /// `suffixes`, lower case with their dots; empty for all that can be read.
    pub suffixes: Vec<String>,
    /// How the files will be read.
    pub reading: Arc<Reading>,
    /// Hugging Face's cache of data sets.
    pub hub: Option<PathBuf>,
}

/// What paths on a command line name.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The files of rows, in order.
    pub files: Vec<PathBuf>,
    /// What was named, with how many of them it stands for.
    pub datasets: Vec<Dataset>,
    /// What is there and not read.
    pub notes: Vec<Note>,
}

/// The files of rows that paths on a command line name: directories and patterns stand for what is in
/// them.
///
/// # Errors
/// Every path that names no input.
pub fn find_inputs(given: &[PathBuf]) -> Result<Found, Problems> {
    let finder = Finder {
        search: &[PathBuf::new()],
        suffixes: Vec::new(),
        reading: Arc::default(),
        hub: hub::cache(&|name| std::env::var(name).ok()),
    };
    let (mut files, mut listing) = (Vec::new(), Listing::default());
    for path in given {
        finder.find_path(path, &mut listing);
        listing.close(path, 0, &[]);
        // Here a file may be named twice.
        files.append(&mut listing.files);
    }
    let Listing {
        mut issues,
        notes,
        datasets,
        ..
    } = listing;
    check_columns(&files, &mut issues);
    if issues.is_empty() {
        return Ok(Found {
            files,
            datasets,
            notes,
        });
    }
    let problem = |issue: Issue| Problem {
        hint: issue.hint,
        named: issue.named,
        ..Problem::general("input", issue.code, issue.message)
    };
    Err(Problems::new(issues.into_iter().map(problem).collect()))
}

/// There is no input that is called so.
pub fn not_found(written: &str, at: Pos) -> Issue {
    Issue::new("input_not_found", at, format!("input not found: {written}")).named(written)
}

/// What looking for inputs comes to.
#[derive(Default)]
pub struct Listing {
    /// The files so far, in order.
    pub files: Vec<PathBuf>,
    /// What was named, in order, with how many of them it stands for.
    pub datasets: Vec<Dataset>,
    /// How many rows are drawn of which of them; all if empty.
    pub shares: Vec<Share>,
    /// What names no input.
    pub issues: Vec<Issue>,
    /// What is there and not read.
    pub notes: Vec<Note>,
}

impl Listing {
    /// What was found since there were `before` files belongs to what is called `path`, which starts
    /// where its files are.
    pub fn close(&mut self, path: &Path, before: usize, search: &[PathBuf]) {
        let own = self.files.get(before..).unwrap_or_default();
        let mut places = search.iter().filter(|base| !base.as_os_str().is_empty());
        let base = places.find(|base| own.first().is_some_and(|file| file.starts_with(base)));
        let path = match base {
            Some(base) => base.join(path).components().collect(),
            None => path.to_owned(),
        };
        self.datasets.push(Dataset {
            path,
            files: own.len(),
        });
    }
}

impl Finder<'_> {
    /// Whether the recipe's keys ask for standard input; if not, `listing` gets their files.
    pub fn written(
        &self,
        dataset_path: Option<&Node>,
        dataset: Option<&Node>,
        listing: &mut Listing,
    ) -> bool {
        let before = listing.issues.len();
        let mut stdin = false;
        let mut given = false;
        for node in texts(dataset_path) {
            let Value::Str(written) = &node.value else {
                continue;
            };
            match written.trim() {
                "" => {}
                "-" => (stdin, given) = (true, true),
                written => {
                    given = true;
                    let before = listing.files.len();
                    self.find(written, node.at, listing);
                    listing.close(Path::new(written), before, self.search);
                }
            }
        }
        if let Some(dataset) = dataset.filter(|d| !is_empty(d)) {
            if given {
                Note::new(
                    Code::KeyIgnored,
                    "ignored: `dataset` (`dataset_path` is given, too)",
                )
                .add_to(&mut listing.notes);
            } else {
                given = true;
                self.configs(dataset, listing);
            }
        }
        if stdin && !listing.files.is_empty() {
            listing.issues.push(Issue::new(
                "input_invalid",
                dataset_path.map_or(Pos::default(), |n| n.at),
                "standard input cannot be mixed with files",
            ));
        }
        if !given {
            listing.issues.push(
                Issue::new(
                    "input_not_found",
                    Pos::default(),
                    "no input: dataset_path is missing",
                )
                .named("dataset_path")
                .hint("add `dataset_path: rows.jsonl`, or give --input"),
            );
        } else if !stdin && listing.files.is_empty() && listing.issues.len() == before {
            listing.issues.push(Issue::new(
                "input_not_found",
                dataset_path.or(dataset).map_or(Pos::default(), |n| n.at),
                "no input: nothing is listed",
            ));
        }
        stdin
    }

    /// The files of `dataset: {configs: [...]}`, and how many rows of them are drawn, if not all are.
    fn configs(&self, dataset: &Node, listing: &mut Listing) {
        let mut most = None;
        let configs = match &dataset.value {
            Value::Map(entries) => {
                let mut configs: &[Node] = &[];
                for entry in entries {
                    match (entry.key.as_str(), &entry.node.value) {
                        (_, Value::Null) => {}
                        ("configs", Value::List(items)) => configs = items,
                        ("max_sample_num", Value::Int(rows)) if *rows > 0 => {
                            most = u64::try_from(*rows).ok();
                        }
                        ("max_sample_num", _) => listing.issues.push(Issue::new("input_invalid", 
                            entry.node.at,
                            format!(
                                "'dataset.max_sample_num': expected a whole number above 0, found {}",
                                entry.node.describe()
                            ),
                        )),
                        ("configs", _) => listing.issues.push(Issue::new("input_invalid", 
                            entry.node.at,
                            format!("'dataset.configs': expected a list, found {}", entry.node.describe()),
                        )),
                        (key, _) => listing.issues.push(
                            Issue::new("key_unknown", entry.at, format!("unknown key 'dataset.{key}'"))
                                .named(format!("dataset.{key}"))
                                .maybe_hint(did_you_mean(key, ["configs", "max_sample_num"])),
                        ),
                    }
                }
                configs
            }
            Value::List(items) => items,
            _ => &[],
        };
        let mut weighed = Vec::new();
        for config in configs {
            let Value::Map(entries) = &config.value else {
                listing.issues.push(Issue::new("input_invalid", 
                    config.at,
                    format!(
                        "dataset.configs: expected a mapping such as {{type: local, path: …}}, found {}",
                        config.describe()
                    ),
                ));
                continue;
            };
            let before = listing.files.len();
            let weight = self.config(config.at, entries, listing);
            let path = entries.iter().find(|entry| entry.key == "path");
            let path = texts(path.map(|entry| &entry.node)).first();
            if let Some(Value::Str(path)) = path.map(|node| &node.value) {
                listing.close(Path::new(path.as_str()), before, self.search);
            }
            if most.is_none() && weight.is_some() {
                // Data-Juicer does not use it then, either.
                Note::new(
                    Code::KeyIgnored,
                    "ignored: `weight` of datasets (all rows are used)",
                )
                .add_to(&mut listing.notes);
            }
            weighed.push((listing.files.len() - before, weight.unwrap_or(1.0)));
        }
        let sum: f64 = weighed.iter().map(|(_, weight)| weight).sum();
        if most.is_some() && sum <= 0.0 && !weighed.is_empty() {
            let what = "the weights of the datasets are all 0";
            listing
                .issues
                .push(Issue::new("input_invalid", dataset.at, what));
        }
        if let Some(most) = most {
            listing.shares = Share::of(&weighed, most);
        }
    }

    fn config(&self, at: Pos, entries: &[Entry], listing: &mut Listing) -> Option<f64> {
        const KNOWN: [&str; 3] = ["type", "path", "weight"];
        let mut path = None;
        let mut weight = None;
        for entry in entries {
            match (entry.key.as_str(), &entry.node.value) {
                (_, Value::Null) => {}
                ("type", Value::Str(kind)) if kind == "local" || kind == "ondisk" => {}
                ("type", _) => {
                    listing.issues.push(
                        Issue::new(
                            "input_invalid",
                            entry.node.at,
                            format!(
                                "a dataset must be of type local, found {}",
                                entry.node.describe()
                            ),
                        )
                        .hint("download it first and give its path"),
                    );
                    return None;
                }
                ("path", _) => match Kind::Texts.fit(&entry.node) {
                    Ok(node) => path = Some(node),
                    Err(expected) => {
                        listing.issues.push(Issue::new(
                            "input_invalid",
                            entry.node.at,
                            format!("'path' of a dataset: {expected}"),
                        ));
                        return None;
                    }
                },
                ("weight", value) => match number(value) {
                    Some(given) if given >= 0.0 && given.is_finite() => weight = Some(given),
                    _ => listing.issues.push(Issue::new(
                        "input_invalid",
                        entry.node.at,
                        format!(
                            "'weight' of a dataset: expected a number from 0, found {}",
                            entry.node.describe()
                        ),
                    )),
                },
                (key, _) => listing.issues.push(
                    Issue::new(
                        "key_unknown",
                        entry.at,
                        format!("unknown key '{key}' of a dataset"),
                    )
                    .named(key)
                    .hint(
                        did_you_mean(key, KNOWN)
                            .unwrap_or_else(|| "a local dataset has type, path and weight".into()),
                    ),
                ),
            }
        }
        let Some(path) = path else {
            listing
                .issues
                .push(Issue::new("input_invalid", at, "this dataset has no path"));
            return None;
        };
        for node in texts(Some(&path)) {
            if let Value::Str(written) = &node.value {
                self.find(written, node.at, listing);
            }
        }
        weight
    }

    /// The files of a path that the command line names, as the system names it.
    pub fn find_path(&self, path: &Path, listing: &mut Listing) {
        if let Some(written) = path.to_str() {
            return self.find(written, Pos::default(), listing);
        }
        // Not every name is a text; such a one is no pattern and no list.
        match self
            .search
            .iter()
            .map(|base| base.join(path))
            .find(|path| path.exists())
        {
            Some(path) => self.expand(&path, Pos::default(), listing),
            None => listing
                .issues
                .push(not_found(&path.display().to_string(), Pos::default())),
        }
    }

    /// The files of one path as written.
    pub fn find(&self, written: &str, at: Pos, listing: &mut Listing) {
        if let Some(rest) = written.strip_prefix("hf://") {
            return self.of_hub(rest, at, listing);
        }
        if is_remote(Path::new(written)) {
            return self.remote(written, at, listing);
        }
        if let Some(path) = locate(written, self.search) {
            return self.expand(&path, at, listing);
        }
        if patterns::is_pattern(written) {
            return self.pattern(written, at, listing);
        }
        // Data-Juicer's older syntax: several paths in one text, each with an optional weight.
        let parts: Vec<&str> = written.split_whitespace().collect();
        if parts.len() > 1 {
            let weight = |part: &&str| part.parse::<f64>().is_ok();
            let paths: Vec<&str> = parts.iter().copied().filter(|p| !weight(p)).collect();
            if paths.iter().any(|p| locate(p, self.search).is_some()) {
                if paths.len() < parts.len() {
                    Note::new(
                        Code::KeyIgnored,
                        "ignored: weights in `dataset_path` (all rows are used)",
                    )
                    .add_to(&mut listing.notes);
                }
                for path in paths {
                    match locate(path, self.search) {
                        Some(path) => self.expand(&path, at, listing),
                        None => listing.issues.push(self.not_found(path, at)),
                    }
                }
                return;
            }
        }
        listing.issues.push(self.not_found(written, at));
    }

    /// The files of a place in a data set of the hub that was downloaded.
    fn of_hub(&self, written: &str, at: Pos, listing: &mut Listing) {
        let Some(place) = HubPlace::parse(written) else {
            let what = format!("no data set of the hub is called so: hf://{written}");
            let hint = "write hf://datasets/ORG/NAME[@REVISION][/PATH]";
            listing
                .issues
                .push(Issue::new("input_invalid", at, what).hint(hint));
            return;
        };
        let cache = self.hub.as_deref();
        let Some(folder) = cache.and_then(|cache| hub::folder(place, cache)) else {
            if cfg!(feature = "remote") {
                return self.remote(&format!("hf://{written}"), at, listing);
            }
            let cache = cache.unwrap_or(Path::new("~/.cache/huggingface/hub"));
            let what = format!("hf://{written} is not in {}", cache.display());
            listing
                .issues
                .push(Issue::new("input_invalid", at, what).hint(hub::hint(place)));
            return;
        };
        if place.path.is_empty() {
            let before = listing.files.len();
            self.expand(&folder, at, listing);
            let found = listing.files.split_off(before);
            let (mut kept, others) = hub::for_training(&folder, found);
            listing.files.append(&mut kept);
            if others > 0 {
                let told = format!(
                    "not read of hf://{written}: {others} files of other splits than train"
                );
                Note::new(Code::FilesPassedOver, told).add_to(&mut listing.notes);
            }
        } else if let Some(path) = locate(place.path, std::slice::from_ref(&folder)) {
            self.expand(&path, at, listing);
        } else {
            let found = patterns::matching(&folder, place.path, self.reading.spec.hidden);
            if found.is_empty() {
                let what = format!("no file of the data set is hf://{written}");
                listing.issues.push(Issue::new("input_invalid", at, what));
            }
            for path in found {
                self.add(path, at, listing);
            }
        }
    }

    fn not_found(&self, written: &str, at: Pos) -> Issue {
        let issue = not_found(written, at);
        if Path::new(written).is_absolute() || self.search == [PathBuf::new()] {
            return issue;
        }
        let places: Vec<String> = self
            .search
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        issue.hint(format!("looked in {}", places.join(" and in ")))
    }

    /// A file as it is, a directory as the files below it that hold rows, sorted by path.
    fn expand(&self, path: &Path, at: Pos, listing: &mut Listing) {
        if !path.is_dir() {
            if listing.files.iter().any(|f| f == path) {
                listing.issues.push(Issue::new(
                    "input_invalid",
                    at,
                    format!("the input {} is listed twice", path.display()),
                ));
            } else {
                self.add(path.to_owned(), at, listing);
            }
            return;
        }
        if self.saved(path, at, listing) {
            return;
        }
        let (mut found, mut passed) = (Vec::new(), PassedOver::default());
        if let Err(error) = self.walk(path, 0, &mut found, &mut passed) {
            listing.issues.push(Issue::new(
                "input_invalid",
                at,
                format!("cannot list {}: {error}", path.display()),
            ));
            return;
        }
        if found.is_empty() {
            let wanted: Vec<&str> = if self.suffixes.is_empty() {
                suffixes().collect()
            } else {
                self.suffixes.iter().map(String::as_str).collect()
            };
            let packed: Vec<&str> = PACKINGS.iter().flat_map(|p| p.suffixes).copied().collect();
            listing.issues.push(
                Issue::new(
                    "input_not_found",
                    at,
                    format!("no input in the directory {}", path.display()),
                )
                .named(path.display().to_string())
                .hint(format!(
                    "looked for {}, also with {} behind{}",
                    wanted.join(", "),
                    packed.join(", "),
                    passed
                        .told()
                        .map(|told| format!("; not read: {told}"))
                        .unwrap_or_default()
                )),
            );
        } else if let Some(told) = passed.told() {
            Note::new(
                Code::FilesPassedOver,
                format!("not read in {}: {told}", path.display()),
            )
            .add_to(&mut listing.notes);
        }
        patterns::sort(&mut found);
        if let Some(splits) = hub::splits(&found) {
            let text = format!(
                "files of the splits {} in {} are read together",
                splits.join(", "),
                path.display()
            );
            Note::new(Code::SplitsTogether, text).add_to(&mut listing.notes);
        }
        for path in found {
            self.add(path, at, listing);
        }
    }

    fn walk(
        &self,
        dir: &Path,
        depth: usize,
        found: &mut Vec<PathBuf>,
        passed: &mut PassedOver,
    ) -> std::io::Result<()> {
        if hub::is_cached(dir) {
            let snapshot = hub::snapshot(dir).ok_or_else(|| {
                let why = "it holds several revisions and none called main; name one of snapshots/";
                std::io::Error::other(why)
            })?;
            return self.walk(&snapshot, depth + 1, found, passed);
        }
        // One input, however many files its samples have.
        if self.suffixes.is_empty() && FileSource::new(dir.to_owned()).is_folder() {
            found.push(dir.to_owned());
            return Ok(());
        }
        let entries: Vec<fs::DirEntry> = fs::read_dir(dir)?.collect::<Result<_, _>>()?;
        let beside = Beside::of(dir);
        for entry in &entries {
            let path = entry.path();
            let name = file_name(&path);
            let hidden = name.starts_with(['.', '_']) && !self.reading.spec.hidden;
            let record = RunFiles::is_named_so(&path);
            // Links to files count, links to directories could run in circles.
            if entry.file_type()?.is_dir() {
                // What a run of djr left beside its output is no input, nor is what an analysis left.
                if layout::is_analysis(&path) {
                    passed.written.push(name_of(&path));
                } else if depth < MAX_DEPTH && !hidden && !record {
                    self.walk(&path, depth + 1, found, passed)?;
                }
            } else if !path.is_file() {
                // A link to a directory or to nothing, a FIFO, a socket, a device.
                passed.no_files += 1;
            } else if hidden {
                passed.hidden += 1;
            } else {
                match self.standing(&path, &beside) {
                    Standing::Rows => found.push(path),
                    other => passed.count(other, &path),
                }
            }
        }
        Ok(())
    }

    /// What a file is to whoever looks for rows among those beside it.
    fn standing(&self, path: &Path, beside: &Beside) -> Standing {
        let name = file_name(path);
        let ends = |suffix: &str| path.extension().is_some_and(|it| it == suffix);
        // What Hugging Face says of its Arrow files, and img2dataset's list of what it tried,
        // beside the archive or the folder of what it got.
        let about = beside.arrow && name == "state.json"
            || beside.tar && ends("parquet") && path.with_extension("tar").is_file()
            || ends("parquet") && FileSource::new(path.with_extension("")).is_folder();
        if about || !self.wanted(path, &name) {
            return Standing::Foreign;
        }
        if self.suffixes.is_empty() && is_about_files(path, &name) {
            return Standing::About;
        }
        match fs::canonicalize(path) {
            Ok(path) if beside.records.contains(&path) => Standing::Record,
            Ok(path) if beside.written.contains(&path) => Standing::Output,
            _ => Standing::Rows,
        }
    }

    /// Whether a file called `name` (in lower case) is one of rows.
    fn wanted(&self, path: &Path, name: &str) -> bool {
        let (stem, _) = split_name(name);
        // A name without a suffix says nothing, but the content does.
        let unnamed = self.suffixes.is_empty() && !stem.contains('.');
        self.is_named_as_wanted(name) || unnamed && FileSource::new(path.to_owned()).check().is_ok()
    }

    /// Whether the name says that it is.
    pub(super) fn is_named_as_wanted(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let (stem, _) = split_name(&name);
        let asked = |suffix: &String| name.ends_with(suffix);
        let asked = self.suffixes.is_empty() || self.suffixes.iter().any(asked);
        // How images were downloaded, as img2dataset notes it.
        let about = self.suffixes.is_empty() && stem.ends_with("_stats.json");
        is_named_so(stem) && asked && !about
    }

    /// A pattern, below the first place where something matches.
    fn pattern(&self, written: &str, at: Pos, listing: &mut Listing) {
        for base in self.search {
            let base = if base.as_os_str().is_empty() {
                Path::new(".")
            } else {
                base
            };
            let mut found = patterns::matching(base, written, self.reading.spec.hidden);
            if found.is_empty() {
                continue;
            }
            // What a pattern without wild cards stands for is named.
            if patterns::is_wild(written) {
                let mut passed = PassedOver::default();
                found = self.meant(found, &mut passed);
                if let Some(told) = passed.told() {
                    let text = format!("not read of {written}: {told}");
                    Note::new(Code::FilesPassedOver, text).add_to(&mut listing.notes);
                }
            }
            for path in found {
                let path = path.strip_prefix(".").map_or(path.clone(), Path::to_owned);
                self.add(path, at, listing);
            }
            return;
        }
        let what = format!("no file matches {written}");
        let issue = Issue::new("input_not_found", at, what);
        listing.issues.push(issue.named(written));
    }

    /// Of the files that a pattern matches those that a directory would give; if there are none, the
    /// outputs of earlier runs, or what else it matches: whoever asks for that alone has his reasons.
    fn meant(&self, found: Vec<PathBuf>, passed: &mut PassedOver) -> Vec<PathBuf> {
        let mut known: HashMap<PathBuf, Beside> = HashMap::new();
        let standings: Vec<Standing> = found
            .iter()
            .map(|path| {
                let dir = path.parent().unwrap_or(Path::new("")).to_owned();
                let beside = known
                    .entry(dir)
                    .or_insert_with_key(|dir| Beside::of(&directory(dir)));
                if beside.analysis {
                    Standing::Record
                } else {
                    self.standing(path, beside)
                }
            })
            .collect();
        let best = standings.iter().min().copied();
        let mut meant = Vec::with_capacity(found.len());
        for (path, standing) in found.into_iter().zip(standings) {
            if Some(standing) == best {
                meant.push(path);
            } else {
                passed.count(standing, &path);
            }
        }
        meant
    }

    /// Adds a file, or says why it is no input.
    pub(super) fn add(&self, path: PathBuf, at: Pos, listing: &mut Listing) {
        let source = FileSource {
            reading: Arc::clone(&self.reading),
            ..FileSource::new(path.clone())
        };
        match source.check() {
            Ok(()) => listing.files.push(path),
            Err(error) => {
                let issue = Issue::new("input_invalid", at, error.to_string());
                listing
                    .issues
                    .push(if matches!(error, SourceError::Foreign { .. }) {
                        issue.hint(READ)
                    } else {
                        issue
                    });
            }
        }
    }

    /// The files of a directory that Hugging Face's `save_to_disk` wrote, in its order; false if it
    /// is none.
    fn saved(&self, dir: &Path, at: Pos, listing: &mut Listing) -> bool {
        let json = |name: &str| -> Option<serde_json::Value> {
            serde_json::from_slice(&fs::read(dir.join(name)).ok()?).ok()
        };
        if let Some(dict) = json("dataset_dict.json") {
            let splits = dict.get("splits").and_then(|splits| splits.as_array());
            let splits = splits
                .into_iter()
                .flatten()
                .filter_map(|split| split.as_str());
            let splits: Vec<&str> = splits.collect();
            let split = match splits.as_slice() {
                [] => return false,
                [only] => only,
                several if several.contains(&"train") => "train",
                several => {
                    let issue =
                        format!("{} holds the splits {}", dir.display(), several.join(", "));
                    listing.issues.push(
                        Issue::new("input_invalid", at, issue)
                            .hint("name the directory of one of them"),
                    );
                    return true;
                }
            };
            if splits.len() > 1 {
                let told = format!(
                    "of the splits {} in {}, only {split} is read",
                    splits.join(", "),
                    dir.display()
                );
                Note::new(Code::FilesPassedOver, told).add_to(&mut listing.notes);
            }
            self.expand(&dir.join(split), at, listing);
            return true;
        }
        let Some(state) = json("state.json") else {
            return false;
        };
        let Some(data) = state.get("_data_files").and_then(|files| files.as_array()) else {
            return false;
        };
        let indices = state
            .get("_indices_files")
            .and_then(|files| files.as_array());
        if indices.is_some_and(|files| !files.is_empty()) {
            let issue = format!("{} selects rows by _indices_files", dir.display());
            let hint =
                "save it again after flatten_indices(): djr reads the data files as they are";
            listing
                .issues
                .push(Issue::new("input_invalid", at, issue).hint(hint));
            return true;
        }
        for file in data {
            if let Some(name) = file.get("filename").and_then(|name| name.as_str()) {
                self.add(dir.join(name), at, listing);
            }
        }
        true
    }
}

/// Says which files have a column of one name and of types that do not fit, if any have.
pub fn check_columns(files: &[PathBuf], issues: &mut Vec<Issue>) {
    let mut known: Vec<(String, DataType, &Path)> = Vec::new();
    for path in files {
        let Some(schema) = FileSource::new(path.clone()).columns() else {
            continue;
        };
        for field in schema.fields() {
            let first = known.iter().find(|(name, _, _)| name == field.name());
            match first {
                None => known.push((field.name().clone(), field.data_type().clone(), path)),
                Some((name, data_type, first)) if !agree(data_type, field.data_type()) => {
                    let issue = format!(
                        "the column '{name}' is {data_type} in {} and {} in {}",
                        first.display(),
                        field.data_type(),
                        path.display()
                    );
                    let hint = "write one of them with the type of the other first";
                    issues.push(Issue::new("input_invalid", Pos::default(), issue).hint(hint));
                    return;
                }
                Some(_) => {}
            }
        }
    }
}

/// Says which of the columns that are wanted a column file lacks, if any does; or, as a note, that no
/// file has columns.
pub fn check_wanted(
    files: &[PathBuf],
    wanted: &[String],
    at: Pos,
    issues: &mut Vec<Issue>,
) -> Option<Note> {
    let mut any = false;
    for path in files {
        let Some(schema) = FileSource::new(path.clone()).columns() else {
            continue;
        };
        any = true;
        let known: Vec<&str> = schema
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        if let Some(missing) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
            let what = format!(
                "'input.columns': {} has no column '{missing}'",
                path.display()
            );
            let hint = did_you_mean(missing, known.iter().copied())
                .unwrap_or_else(|| format!("it has {}", known.join(", ")));
            issues.push(Issue::new("input_invalid", at, what).hint(hint));
            return None;
        }
    }
    let text = "ignored: `input.columns` (no input is a Parquet or Arrow file)";
    (!any && !files.is_empty()).then(|| Note::new(Code::KeyIgnored, text))
}

/// What a file is to whoever looks for rows; what is meant rather comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// One of rows, as far as its name says.
    Rows,
    /// An output of an earlier run.
    Output,
    /// Of a format that djr does not read.
    Foreign,
    /// One that tells of other files.
    About,
    /// A record of an earlier run or analysis.
    Record,
}

/// What there is to know of a directory to tell what a file in it is.
struct Beside {
    /// It holds Arrow files.
    arrow: bool,
    /// It holds archives.
    tar: bool,
    /// It is what an analysis left.
    analysis: bool,
    /// What earlier runs wrote, outputs and records.
    written: HashSet<PathBuf>,
    /// The records among that.
    records: HashSet<PathBuf>,
}

impl Beside {
    fn of(dir: &Path) -> Self {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        let has = |suffix: &str| {
            let ends = |path: &PathBuf| path.extension().is_some_and(|it| it == suffix);
            paths.iter().any(ends)
        };
        Self {
            arrow: has("arrow"),
            tar: has("tar"),
            analysis: layout::is_analysis(dir),
            written: layout::written(dir),
            records: layout::records(dir),
        }
    }
}

/// A directory by a name that can be listed.
fn directory(dir: &Path) -> PathBuf {
    if dir.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        dir.to_owned()
    }
}

/// How a list of the archives of a data set says what it is (webdataset's `wids`).
const SHARD_INDEX: &[u8] = b"wids-shard-index";

/// How much of a file is read to find that.
const SHARD_INDEX_HEAD: u64 = 4096;

/// How what `djr index` made begins: of benchmarks, and of references of deduplicators.
const INDEXES: [&[u8]; 2] = [b"{\"djr_index\":", b"djr reference index "];

/// Whether a file called `name` (in lower case) tells of the files of a data set and holds none of its
/// rows: what LLaMA-Factory and Hugging Face know of their files, a list of archives, what `djr index`
/// made.
fn is_about_files(path: &Path, name: &str) -> bool {
    if matches!(
        name,
        "dataset_info.json" | "dataset_infos.json" | "dataset_dict.json"
    ) {
        return true;
    }
    let mut head = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(SHARD_INDEX_HEAD).read_to_end(&mut head));
    let json = Path::new(name).extension().is_some_and(|it| it == "json");
    let lists_archives = || json && memchr::memmem::find(&head, SHARD_INDEX).is_some();
    read.is_ok() && (lists_archives() || INDEXES.iter().any(|begin| head.starts_with(begin)))
}

/// Files of a directory that are not read.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    /// How many are hidden.
    pub hidden: usize,
    /// How many are of formats that djr does not read.
    pub foreign: usize,
    /// Names of files that an earlier run wrote.
    pub written: Vec<String>,
    /// Names of files that tell of other files.
    pub about: Vec<String>,
    /// How many are neither files nor directories.
    pub no_files: usize,
}

impl PassedOver {
    /// Counts a file that is not read.
    fn count(&mut self, standing: Standing, path: &Path) {
        match standing {
            Standing::Rows | Standing::Foreign => self.foreign += 1,
            Standing::About => self.about.push(name_of(path)),
            Standing::Output | Standing::Record => self.written.push(name_of(path)),
        }
    }

    /// How many there are, in words; `None` if there are none.
    pub fn told(&mut self) -> Option<String> {
        let files = |count: usize| if count == 1 { "file" } else { "files" };
        let mut told = Vec::new();
        for (names, what) in [
            (&mut self.written, "that an earlier run wrote"),
            (&mut self.about, "about other files"),
        ] {
            if names.is_empty() {
                continue;
            }
            names.sort();
            let count = names.len();
            let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
            let more = if count > SHOWN { ", …" } else { "" };
            told.push(format!(
                "{count} {} {what} ({}{more})",
                files(count),
                shown.join(", ")
            ));
        }
        if self.foreign > 0 {
            told.push(format!(
                "{} {} of formats that djr does not read",
                self.foreign,
                files(self.foreign)
            ));
        }
        if self.hidden > 0 {
            told.push(format!("{} hidden {}", self.hidden, files(self.hidden)));
        }
        match self.no_files {
            0 => {}
            1 => told.push("1 link, FIFO or the like that leads to no file".to_owned()),
            many => told.push(format!(
                "{many} links, FIFOs or the like that lead to no file"
            )),
        }
        (!told.is_empty()).then(|| told.join(", "))
    }
}

fn is_empty(dataset: &Node) -> bool {
    match &dataset.value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => true,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Python's float() does")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// A text, or each of a list.
fn texts(node: Option<&Node>) -> &[Node] {
    match node {
        None => &[],
        Some(node) => match &node.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(node),
        },
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn file_name(path: &Path) -> String {
    name_of(path).to_lowercase()
}

/// The first place where `written` exists.
pub fn locate(written: &str, search: &[PathBuf]) -> Option<PathBuf> {
    search
        .iter()
        .map(|base| base.join(written).components().collect::<PathBuf>())
        .find(|path| path.exists())
}
