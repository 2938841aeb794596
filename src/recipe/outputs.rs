//! The `outputs` list and `export_path`, resolved and checked against each other.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::inputs::locate;
use super::keys::{Kind, bytes};
use super::model::{Inputs, OutputFormat, OutputSpec, PathStyle, Sampler, Target, Validation};
use super::nearest::did_you_mean;
use super::yaml::{Entry, Issue, Node, Pos, Value};

/// One key of an output.
#[derive(Debug, Clone, Copy)]
pub struct OutputKey {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

/// The keys of an item of `outputs`.
pub const OUTPUT_KEYS: &[OutputKey] = &[
    OutputKey {
        name: "format",
        kind: Kind::Word(OutputFormat::WORDS),
        doc: "What is written: `jsonl`, or a `llava` array; may be left out for a path that ends in .jsonl.",
    },
    OutputKey {
        name: "path",
        kind: Kind::Text,
        doc: "Where to, relative to the working directory; `-` is standard output.",
    },
    OutputKey {
        name: "paths",
        kind: Kind::Word(PathStyle::WORDS),
        doc: "How image paths are written.",
    },
    OutputKey {
        name: "validate",
        kind: Kind::Word(Validation::WORDS),
        doc: "How far images are checked before a row is written.",
    },
    OutputKey {
        name: "sample",
        kind: Kind::Positive,
        doc: "Write a random sample of this many rows.",
    },
    OutputKey {
        name: "seed",
        kind: Kind::Natural,
        doc: "The seed of the sample.",
    },
    OutputKey {
        name: "sampler",
        kind: Kind::Word(Sampler::WORDS),
        doc: "How the sample is drawn: `uniform`, or `python` for the rows that `random.sample` of Python gives.",
    },
    OutputKey {
        name: "shuffle",
        kind: Kind::Bool,
        doc: "Write the sample in random order instead of input order.",
    },
    OutputKey {
        name: "questions",
        kind: Kind::Text,
        doc: "LLaVA: the file of records (`stage_1.json`) whose ids and first human turns are restored.",
    },
    OutputKey {
        name: "shard_size",
        kind: Kind::Bytes,
        doc: "JSON Lines: cut the output into shards of about this many bytes.",
    },
];

/// What outputs inherit from the recipe.
pub struct Defaults<'a> {
    /// The global `paths`.
    pub paths: PathStyle,
    /// The global `validate`.
    pub validate: Option<Validation>,
    /// The global `seed`.
    pub seed: u64,
    /// The working directory.
    pub cwd: &'a Path,
    /// Where inputs such as `questions` are looked for.
    pub search: &'a [PathBuf],
}

impl Defaults<'_> {
    /// The plain output at `target`.
    pub fn plain(&self, target: Target, shard_size: Option<u64>, line: usize) -> OutputSpec {
        OutputSpec {
            format: OutputFormat::Jsonl,
            target,
            paths: self.paths,
            validate: self.validate.unwrap_or(Validation::None),
            sample: None,
            seed: self.seed,
            sampler: Sampler::Uniform,
            shuffle: false,
            questions: None,
            shard_size,
            line,
        }
    }

    /// Where a written path goes: outputs are relative to the working directory.
    pub fn target(&self, written: &str) -> Target {
        if written == "-" {
            Target::Stdout
        } else {
            self.target_at(Path::new(written))
        }
    }

    /// Where a path goes.
    pub fn target_at(&self, path: &Path) -> Target {
        Target::at(self.cwd.join(path).components().collect())
    }

    /// Reads one item of `outputs`.
    pub fn read(&self, at: Pos, entries: &[Entry], issues: &mut Vec<Issue>) -> Option<OutputSpec> {
        let before = issues.len();
        let line = if at.source == 0 { at.line } else { 0 };
        let mut spec = self.plain(Target::Stdout, None, line);
        let (mut format, mut path, mut paths, mut validate) = (None, None, None, None);
        for entry in entries {
            let Some(key) = OUTPUT_KEYS.iter().find(|k| k.name == entry.key) else {
                let names = OUTPUT_KEYS.iter().map(|k| k.name);
                let all: Vec<&str> = names.clone().collect();
                issues.push(
                    Issue::new(
                        entry.at,
                        format!("unknown key '{}' of an output", entry.key),
                    )
                    .hint(
                        did_you_mean(&entry.key, names)
                            .unwrap_or_else(|| format!("an output has {}", all.join(", "))),
                    ),
                );
                continue;
            };
            let node = match key.kind.fit(&entry.node) {
                Ok(node) => node,
                Err(expected) => {
                    issues.push(
                        Issue::new(
                            entry.node.at,
                            format!("'{}' of an output: {expected}", entry.key),
                        )
                        .maybe_hint(word_hint(key.kind, &entry.node)),
                    );
                    continue;
                }
            };
            match (key.name, &node.value) {
                ("format", Value::Str(word)) => format = OutputFormat::from_word(word),
                ("path", Value::Str(text)) => path = Some(text.clone()),
                ("paths", Value::Str(word)) => paths = PathStyle::from_word(word),
                ("validate", Value::Str(word)) => validate = Validation::from_word(word),
                ("sample", Value::Int(n)) => spec.sample = u64::try_from(*n).ok(),
                ("seed", Value::Int(n)) => {
                    spec.seed = u64::try_from(*n).unwrap_or(spec.seed);
                }
                ("sampler", Value::Str(word)) => {
                    spec.sampler = Sampler::from_word(word).unwrap_or(spec.sampler);
                }
                ("shuffle", Value::Bool(on)) => spec.shuffle = *on,
                ("questions", Value::Str(text)) => {
                    spec.questions = locate(text, self.search).filter(|p| p.is_file());
                    if spec.questions.is_none() {
                        issues.push(Issue::new(
                            entry.node.at,
                            format!("questions file not found: {text}"),
                        ));
                    }
                }
                ("shard_size", _) => spec.shard_size = bytes(&node).filter(|&n| n > 0),
                _ => {}
            }
        }
        if issues.len() > before {
            return None;
        }
        let place = |name: &str| {
            entries
                .iter()
                .find(|e| e.key == name)
                .map_or(at, |e| e.node.at)
        };
        let Some(path) = path.filter(|p| !p.is_empty()) else {
            issues.push(Issue::new(at, "this output has no path"));
            return None;
        };
        spec.format = match format {
            Some(format) => format,
            None if path.to_ascii_lowercase().ends_with(".jsonl") => OutputFormat::Jsonl,
            None => {
                issues.push(
                    Issue::new(at, "this output has no format")
                        .hint("add `format: jsonl` or `format: llava`"),
                );
                return None;
            }
        };
        if spec.sample.is_none() {
            for name in ["sampler", "shuffle"] {
                if entries.iter().any(|e| e.key == name && !e.node.is_null()) {
                    issues.push(
                        Issue::new(place(name), format!("'{name}' of an output needs `sample`"))
                            .hint("add `sample: N`"),
                    );
                }
            }
        }
        match spec.format {
            OutputFormat::Jsonl if spec.questions.is_some() => issues.push(Issue::new(
                place("questions"),
                "'questions' belongs to outputs of format llava",
            )),
            OutputFormat::Llava if spec.shard_size.is_some() => issues.push(Issue::new(
                place("shard_size"),
                "'shard_size' belongs to outputs of format jsonl",
            )),
            _ => {}
        }
        if compressed(&path) {
            issues.push(not_compressed(place("path"), &path));
        }
        spec.target = self.target(&path);
        spec.paths = paths.unwrap_or(self.paths);
        spec.validate = validate.or(self.validate).unwrap_or(
            if spec.format == OutputFormat::Llava || spec.sample.is_some() {
                Validation::Decode
            } else {
                Validation::None
            },
        );
        (issues.len() == before).then_some(spec)
    }
}

/// A suggestion for a misspelt word of a closed choice.
pub fn word_hint(kind: Kind, node: &Node) -> Option<String> {
    match (kind, &node.value) {
        (Kind::Word(words), Value::Str(text)) => did_you_mean(text, words.iter().copied()),
        _ => None,
    }
}

fn compressed(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    [".gz", ".zst", ".bz2", ".xz"]
        .iter()
        .any(|s| path.ends_with(s))
}

fn not_compressed(at: Pos, path: &str) -> Issue {
    Issue::new(at, format!("outputs are written uncompressed: {path}"))
        .hint("drop the suffix, or write to `-` and pipe into a compressor")
}

/// Checks `export_path`: its format follows from `export_type`, else from its suffix.
pub fn check_export(at: Pos, path: &str, export_type: Option<&Node>, issues: &mut Vec<Issue>) {
    if path.contains("://") {
        issues.push(
            Issue::new(at, format!("the output is remote: {path}"))
                .hint("djr writes local files only"),
        );
        return;
    }
    let written = match export_type {
        Some(Node {
            value: Value::Str(word),
            at,
            ..
        }) => Some((*at, word.clone())),
        _ => None,
    };
    if matches!(path, "-" | "/dev/stdout") && written.is_none() {
        return;
    }
    if compressed(path) {
        issues.push(not_compressed(at, path));
        return;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let (at, format) = written.unwrap_or_else(|| {
        let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        (at, suffix.to_ascii_lowercase())
    });
    if format == "jsonl" || (path.starts_with("/dev/") && format.is_empty()) {
        return;
    }
    let what = if format.is_empty() {
        format!("export_path has no suffix: {path}")
    } else {
        format!("djr does not export {format}")
    };
    issues.push(
        Issue::new(at, what)
            .hint("let export_path end in .jsonl; for LLaVA's format add an item to `outputs`"),
    );
}

/// Checks that each output can be written and destroys neither an input nor another output.
pub fn check_targets(outputs: &[(Pos, OutputSpec)], inputs: &Inputs, issues: &mut Vec<Issue>) {
    let inputs: Vec<PathBuf> = match inputs {
        Inputs::Stdin => Vec::new(),
        Inputs::Files(files) => files.iter().map(|file| identity(file)).collect(),
    };
    let mut seen: Vec<(Option<PathBuf>, usize)> = Vec::new();
    for (at, spec) in outputs {
        let identity = match &spec.target {
            Target::Stdout => None,
            Target::Stream(_) => continue,
            Target::File(path) => {
                if let Some(reason) = unwritable(path) {
                    issues.push(Issue::new(
                        *at,
                        format!("cannot write {}: {reason}", path.display()),
                    ));
                }
                Some(identity(path))
            }
        };
        if let Some((_, line)) = seen.iter().find(|(other, _)| *other == identity) {
            let what = match &identity {
                None => "standard output".to_owned(),
                Some(path) => path.display().to_string(),
            };
            issues.push(
                Issue::new(
                    *at,
                    match line {
                        0 => format!("two outputs go to {what}"),
                        line => format!("two outputs go to {what}: the other is in line {line}"),
                    },
                )
                .hint("give each output its own path"),
            );
        }
        if let Some(path) = &identity
            && inputs.contains(path)
        {
            issues.push(
                Issue::new(
                    *at,
                    format!("the output {} is an input, too", path.display()),
                )
                .hint("write elsewhere; an input is never overwritten"),
            );
        }
        seen.push((identity, at.line));
    }
}

/// What two paths of the same file have in common, even if it does not exist yet.
fn identity(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut at = normalised(path);
    loop {
        if let Ok(real) = fs::canonicalize(&at) {
            return missing
                .iter()
                .rev()
                .fold(real, |real, part: &std::ffi::OsString| real.join(part));
        }
        match (at.file_name().map(ToOwned::to_owned), at.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name);
                at = parent.to_owned();
            }
            _ => return normalised(path),
        }
    }
}

/// Without `.` and, where the part before it does not exist, without `..`.
fn normalised(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if !out.exists() => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// Why a file cannot be created at `path`, found out without creating anything.
fn unwritable(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("it is a directory".into());
    }
    let mut at = path.parent();
    while let Some(dir) = at {
        match fs::metadata(dir) {
            Ok(meta) if !meta.is_dir() => {
                return Some(format!("{} is not a directory", dir.display()));
            }
            Ok(meta) if meta.permissions().readonly() => {
                return Some(format!("the directory {} is read-only", dir.display()));
            }
            Ok(_) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => at = dir.parent(),
            Err(error) => return Some(format!("{}: {error}", dir.display())),
        }
    }
    None
}
