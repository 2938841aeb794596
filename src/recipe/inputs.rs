//! From `dataset_path` or `dataset` to the files that hold the rows.

use std::fs;
use std::path::{Path, PathBuf};

use super::keys::Kind;
use super::model::Inputs;
use super::nearest::did_you_mean;
use super::process::note;
use super::yaml::{Entry, Issue, Node, Pos, Value};

/// What djr reads; each also with `.gz` or `.zst` behind it.
const READABLE: [&str; 3] = [".jsonl", ".json", ".ndjson"];
/// What Data-Juicer reads and djr does not.
const FOREIGN: [&str; 10] = [
    ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".md", ".tar", ".pdf", ".docx", ".xlsx",
];
/// Deepest directory searched.
const MAX_DEPTH: usize = 32;

/// How inputs are looked for.
pub struct Finder<'a> {
    /// The recipe's directory, then the working directory.
    pub search: &'a [PathBuf],
    /// `suffixes`, lower case with their dots; empty for all that can be read.
    pub suffixes: Vec<String>,
}

impl Finder<'_> {
    /// The files of the recipe's keys.
    pub fn from_keys(
        &self,
        dataset_path: Option<&Node>,
        dataset: Option<&Node>,
        issues: &mut Vec<Issue>,
        notes: &mut Vec<String>,
    ) -> Inputs {
        let before = issues.len();
        let mut files = Vec::new();
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
                    self.find(written, node.at, &mut files, issues, notes);
                }
            }
        }
        if let Some(dataset) = dataset.filter(|d| !is_empty(d)) {
            if given {
                note(
                    notes,
                    "ignored: `dataset` (`dataset_path` is given, too)".into(),
                );
            } else {
                given = true;
                self.configs(dataset, &mut files, issues, notes);
            }
        }
        if stdin && !files.is_empty() {
            issues.push(Issue::new(
                dataset_path.map_or(Pos::default(), |n| n.at),
                "standard input cannot be mixed with files",
            ));
        }
        if !given {
            issues.push(
                Issue::new(Pos::default(), "no input: dataset_path is missing")
                    .hint("add `dataset_path: rows.jsonl`, or give --input"),
            );
        } else if !stdin && files.is_empty() && issues.len() == before {
            issues.push(Issue::new(
                dataset_path.or(dataset).map_or(Pos::default(), |n| n.at),
                "no input: nothing is listed",
            ));
        }
        if stdin {
            Inputs::Stdin
        } else {
            Inputs::Files(files)
        }
    }

    /// The files of `dataset: {configs: [...]}`.
    fn configs(
        &self,
        dataset: &Node,
        files: &mut Vec<PathBuf>,
        issues: &mut Vec<Issue>,
        notes: &mut Vec<String>,
    ) {
        let configs = match &dataset.value {
            Value::Map(entries) => {
                let mut configs: &[Node] = &[];
                for entry in entries {
                    match (entry.key.as_str(), &entry.node.value) {
                        (_, Value::Null) => {}
                        ("configs", Value::List(items)) => configs = items,
                        ("max_sample_num", _) => issues.push(
                            Issue::new(
                                entry.at,
                                "'dataset.max_sample_num' would change the answer, and djr has no weighted mixtures",
                            )
                            .hint("for a sample, use `outputs: [{format: jsonl, path: …, sample: N}]`"),
                        ),
                        ("configs", _) => issues.push(Issue::new(
                            entry.node.at,
                            format!("'dataset.configs': expected a list, found {}", entry.node.describe()),
                        )),
                        (key, _) => issues.push(
                            Issue::new(entry.at, format!("unknown key 'dataset.{key}'"))
                                .maybe_hint(did_you_mean(key, ["configs", "max_sample_num"])),
                        ),
                    }
                }
                configs
            }
            Value::List(items) => items,
            _ => &[],
        };
        for config in configs {
            let Value::Map(entries) = &config.value else {
                issues.push(Issue::new(
                    config.at,
                    format!(
                        "dataset.configs: expected a mapping such as {{type: local, path: …}}, found {}",
                        config.describe()
                    ),
                ));
                continue;
            };
            self.config(config.at, entries, files, issues, notes);
        }
    }

    fn config(
        &self,
        at: Pos,
        entries: &[Entry],
        files: &mut Vec<PathBuf>,
        issues: &mut Vec<Issue>,
        notes: &mut Vec<String>,
    ) {
        const KNOWN: [&str; 3] = ["type", "path", "weight"];
        let mut path = None;
        for entry in entries {
            match (entry.key.as_str(), &entry.node.value) {
                (_, Value::Null) => {}
                ("type", Value::Str(kind)) if kind == "local" || kind == "ondisk" => {}
                ("type", _) => {
                    issues.push(
                        Issue::new(
                            entry.node.at,
                            format!(
                                "a dataset must be of type local, found {}",
                                entry.node.describe()
                            ),
                        )
                        .hint("download it first and give its path"),
                    );
                    return;
                }
                ("path", _) => match Kind::Texts.fit(&entry.node) {
                    Ok(node) => path = Some(node),
                    Err(expected) => {
                        issues.push(Issue::new(
                            entry.node.at,
                            format!("'path' of a dataset: {expected}"),
                        ));
                        return;
                    }
                },
                // Without max_sample_num, Data-Juicer does not use it either.
                ("weight", _) => note(
                    notes,
                    "ignored: `weight` of datasets (all rows are used)".into(),
                ),
                (key, _) => issues.push(
                    Issue::new(entry.at, format!("unknown key '{key}' of a dataset")).hint(
                        did_you_mean(key, KNOWN)
                            .unwrap_or_else(|| "a local dataset has type, path and weight".into()),
                    ),
                ),
            }
        }
        let Some(path) = path else {
            issues.push(Issue::new(at, "this dataset has no path"));
            return;
        };
        for node in texts(Some(&path)) {
            if let Value::Str(written) = &node.value {
                self.find(written, node.at, files, issues, notes);
            }
        }
    }

    /// The files of one path as written.
    pub fn find(
        &self,
        written: &str,
        at: Pos,
        files: &mut Vec<PathBuf>,
        issues: &mut Vec<Issue>,
        notes: &mut Vec<String>,
    ) {
        if written.contains("://") {
            issues.push(
                Issue::new(at, format!("the input is remote: {written}"))
                    .hint("djr reads local files: download it first"),
            );
            return;
        }
        if let Some(path) = locate(written, self.search) {
            return self.expand(&path, at, files, issues);
        }
        if written.contains(['*', '?']) {
            return self.pattern(written, at, files, issues);
        }
        // Data-Juicer's older syntax: several paths in one text, each with an optional weight.
        let parts: Vec<&str> = written.split_whitespace().collect();
        if parts.len() > 1 {
            let weight = |part: &&str| part.parse::<f64>().is_ok();
            let paths: Vec<&str> = parts.iter().copied().filter(|p| !weight(p)).collect();
            if paths.iter().any(|p| locate(p, self.search).is_some()) {
                if paths.len() < parts.len() {
                    note(
                        notes,
                        "ignored: weights in `dataset_path` (all rows are used)".into(),
                    );
                }
                for path in paths {
                    match locate(path, self.search) {
                        Some(path) => self.expand(&path, at, files, issues),
                        None => issues.push(self.not_found(path, at)),
                    }
                }
                return;
            }
        }
        issues.push(self.not_found(written, at));
    }

    fn not_found(&self, written: &str, at: Pos) -> Issue {
        let issue = Issue::new(at, format!("input not found: {written}"));
        if Path::new(written).is_absolute() {
            return issue;
        }
        let places: Vec<String> = self
            .search
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        issue.hint(format!("looked in {}", places.join(" and in ")))
    }

    /// A file as it is, a directory as the files below it, sorted by path.
    fn expand(&self, path: &Path, at: Pos, files: &mut Vec<PathBuf>, issues: &mut Vec<Issue>) {
        if !path.is_dir() {
            let name = file_name(path);
            if let Some(foreign) = FOREIGN.iter().find(|suffix| name.ends_with(*suffix)) {
                issues.push(
                    Issue::new(
                        at,
                        format!("djr does not read {foreign} files: {}", path.display()),
                    )
                    .hint("convert it to JSON Lines"),
                );
            } else if !files.iter().any(|f| f == path) {
                files.push(path.to_owned());
            } else {
                issues.push(Issue::new(
                    at,
                    format!("the input {} is listed twice", path.display()),
                ));
            }
            return;
        }
        let mut found = Vec::new();
        if let Err(error) = self.walk(path, 0, &mut found) {
            issues.push(Issue::new(
                at,
                format!("cannot list {}: {error}", path.display()),
            ));
            return;
        }
        if found.is_empty() {
            let wanted = if self.suffixes.is_empty() {
                READABLE.join(", ")
            } else {
                self.suffixes.join(", ")
            };
            issues.push(
                Issue::new(at, format!("no input in the directory {}", path.display()))
                    .hint(format!("looked for {wanted}, also with .gz or .zst behind")),
            );
        }
        found.sort();
        files.append(&mut found);
    }

    fn walk(&self, dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            // Links to files count, links to directories could run in circles.
            if entry.file_type()?.is_dir() {
                // What a run of djr left beside its output is no input.
                if depth < MAX_DEPTH && path.extension().is_none_or(|e| e != "djr") {
                    self.walk(&path, depth + 1, found)?;
                }
            } else if path.is_file() && self.wanted(&path) {
                found.push(path);
            }
        }
        Ok(())
    }

    fn wanted(&self, path: &Path) -> bool {
        let name = file_name(path);
        let plain = name
            .strip_suffix(".gz")
            .or_else(|| name.strip_suffix(".zst"))
            .unwrap_or(&name);
        if !READABLE.iter().any(|suffix| plain.ends_with(suffix)) {
            return false;
        }
        self.suffixes.is_empty()
            || self
                .suffixes
                .iter()
                .any(|suffix| name.ends_with(suffix.as_str()))
    }

    /// A pattern with `*` and `?` in its last part.
    fn pattern(&self, written: &str, at: Pos, files: &mut Vec<PathBuf>, issues: &mut Vec<Issue>) {
        let (dir, name) = written.rsplit_once('/').unwrap_or((".", written));
        let dir = if dir.is_empty() { "/" } else { dir };
        if dir.contains(['*', '?']) {
            issues.push(
                Issue::new(at, format!("input not found: {written}"))
                    .hint("`*` and `?` are understood in the last part of a path only"),
            );
            return;
        }
        for base in self.search {
            let dir: PathBuf = base.join(dir).components().collect();
            let mut found: Vec<PathBuf> = fs::read_dir(&dir)
                .into_iter()
                .flatten()
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .filter(|path| {
                    path.is_file()
                        && path
                            .file_name()
                            .is_some_and(|n| matches(name, &n.to_string_lossy()))
                })
                .collect();
            if !found.is_empty() {
                found.sort();
                files.append(&mut found);
                return;
            }
        }
        issues.push(Issue::new(at, format!("no file matches {written}")));
    }
}

fn is_empty(dataset: &Node) -> bool {
    match &dataset.value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => true,
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

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default()
}

/// The first place where `written` exists.
pub fn locate(written: &str, search: &[PathBuf]) -> Option<PathBuf> {
    search
        .iter()
        .map(|base| base.join(written).components().collect::<PathBuf>())
        .find(|path| path.exists())
}

/// Whether `name` matches a pattern of `*` (any text) and `?` (any one character).
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = name.get(n) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&want) if want == '?' || want == c => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|&c| c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        assert!(matches("*.jsonl", "a.jsonl") && matches("part-?.*", "part-1.json"));
        assert!(matches("*a*b", "xaxxab") && !matches("*.jsonl", "a.json") && !matches("?", ""));
    }
}
