//! The `outputs` list and `export_path`, resolved and checked against each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use super::Validation;
use super::inputs::locate;
use super::keys::{Kind, bytes};
use super::model::{Inputs, Of, OutputSpec, Recipe, Sampler, Split, Target};
use super::nearest::did_you_mean;
use super::yaml::{Entry, Issue, Node, Pos, Value};
use crate::io::Destination;
use crate::io::destination::leads_into;
use crate::io::format::{
    self, FormatOption, Framing, ImageFiles, OptionKind, OptionValue, OutputFormat,
};
use crate::io::paths::PathStyle;
use crate::io::remote::{self, is_remote};
use crate::op::RowCondition;
use crate::trainer::{CheckedFor, Container, Template, Tokens, TrainerRef};

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

/// The keys of an item of `outputs`: those of all outputs, then those that a format adds.
#[must_use]
pub fn output_keys() -> Vec<(OutputKey, Vec<OutputFormat>)> {
    let own = format::all_options().into_iter().map(|(option, formats)| {
        let key = OutputKey {
            name: option.name,
            kind: match option.kind {
                OptionKind::Word(words) => Kind::Word(words),
                OptionKind::File | OptionKind::Text => Kind::Text,
                OptionKind::Flag => Kind::Bool,
            },
            doc: option.doc,
        };
        (key, formats)
    });
    let all = COMMON_KEYS.iter().map(|key| (*key, Vec::new()));
    all.chain(own).collect()
}

/// The keys that every output may have.
const COMMON_KEYS: &[OutputKey] = &[
    OutputKey {
        name: "format",
        kind: Kind::Word(OutputFormat::WORDS),
        doc: "What is written; may be left out for a path that ends in .jsonl (one row a line), .json (one array of rows), .parquet or .tar.",
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
        name: "shard_size",
        kind: Kind::Bytes,
        doc: "Cut the output into shards of about this many bytes, before they are packed, each a whole file of its format.",
    },
    OutputKey {
        name: "shard_rows",
        kind: Kind::Positive,
        doc: "Cut the output into shards of this many rows.",
    },
    OutputKey {
        name: "of",
        kind: Kind::Word(Of::WORDS),
        doc: "Which rows: `kept`, or `dropped`, `quarantined`, `duplicates` (dropped for another row, of a reference too) or `all`, each with what decided in its field `__dj__fate__`, its images not checked unless `validate` says so.",
    },
    OutputKey {
        name: "where",
        kind: Kind::Text,
        doc: "Write only rows for which this condition holds, written in a small part of Python: comparisons, `and`, `or`, `not`, names of fields and stats, constants.",
    },
    OutputKey {
        name: "split_by",
        kind: Kind::Text,
        doc: "Write a file for each value of this field; `{value}` in the name of the file says where the value goes.",
    },
    OutputKey {
        name: "per_input",
        kind: Kind::Bool,
        doc: "Write a file for each input file, with its name for `{value}`.",
    },
    OutputKey {
        name: "image_files",
        kind: Kind::Word(ImageFiles::WORDS),
        doc: "Where the images of the records are: `path` (where they were), `embed` (in the output itself), `copy` (in files below `NAME.images` beside the output). `images` with one of these words means the same.",
    },
    OutputKey {
        name: "for",
        kind: Kind::Word(TrainerRef::WORDS),
        doc: "Who will read it: rows that it would stumble over are refused (docs/TRAINERS.md).",
    },
    OutputKey {
        name: "template",
        kind: Kind::Word(Template::WORDS),
        doc: "With `for`: the chat template whose marks must not stand in texts.",
    },
    OutputKey {
        name: "max_tokens",
        kind: Kind::Positive,
        doc: "With `for`: how many tokens a row may have, its images included.",
    },
    OutputKey {
        name: "tokenizer",
        kind: Kind::Text,
        doc: "With `for`: a `tokenizer.json` or a SentencePiece model that counts them; without, they are estimated.",
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
    /// The output at `target` that says nothing but its format.
    pub fn plain(&self, format: OutputFormat, target: Target, line: usize) -> OutputSpec {
        let spec = OutputSpec::new(format, target);
        OutputSpec {
            paths: if format.own_paths {
                format.paths
            } else {
                self.paths
            },
            validate: self.validate.unwrap_or(spec.validate),
            seed: self.seed,
            line,
            ..spec
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
        if is_remote(path) {
            return Target::File(path.to_owned());
        }
        Target::at(self.cwd.join(path).components().collect())
    }

    /// Reads one item of `outputs`.
    pub fn read(&self, at: Pos, entries: &[Entry], issues: &mut Vec<Issue>) -> Option<OutputSpec> {
        let before = issues.len();
        let line = if at.source == 0 { at.line } else { 0 };
        let keys = output_keys();
        let mut said: BTreeMap<&str, (Pos, Node)> = BTreeMap::new();
        for entry in entries {
            // The name that it has in other places; formats have an option of that name, too.
            let means_files = entry.key == "images"
                && matches!(&entry.node.value, Value::Str(word) if ImageFiles::from_word(word).is_some());
            let name = if means_files {
                "image_files"
            } else {
                entry.key.as_str()
            };
            let Some((key, _)) = keys.iter().find(|(key, _)| key.name == name) else {
                let names = keys.iter().map(|(key, _)| key.name);
                let all: Vec<&str> = names.clone().collect();
                issues.push(
                    Issue::new(
                        "key_unknown",
                        entry.at,
                        format!("unknown key '{}' of an output", entry.key),
                    )
                    .named(&entry.key)
                    .hint(
                        did_you_mean(&entry.key, names)
                            .unwrap_or_else(|| format!("an output has {}", all.join(", "))),
                    ),
                );
                continue;
            };
            match key.kind.fit(&entry.node) {
                Ok(node) if node.is_null() => {}
                Ok(node) => {
                    said.insert(key.name, (entry.node.at, node));
                }
                Err(expected) => issues.push(
                    Issue::new(
                        "output_invalid",
                        entry.node.at,
                        format!("'{}' of an output: {expected}", entry.key),
                    )
                    .maybe_hint(word_hint(key.kind, &entry.node)),
                ),
            }
        }
        if issues.len() > before {
            return None;
        }
        let place = |name: &str| said.get(name).map_or(at, |(at, _)| *at);
        let value = |name: &str| said.get(name).map(|(_, node)| &node.value);
        let text = |name: &str| match value(name) {
            Some(Value::Str(text)) => Some(text.as_str()),
            _ => None,
        };
        let count = |name: &str| match value(name) {
            Some(Value::Int(n)) => u64::try_from(*n).ok(),
            _ => None,
        };
        let Some(path) = text("path").filter(|path| !path.is_empty()) else {
            issues.push(Issue::new("output_invalid", at, "this output has no path"));
            return None;
        };
        let format = text("format").and_then(OutputFormat::from_word);
        let format = match check_path(self.cwd, Path::new(path), format) {
            Ok(Some(format)) => format,
            Ok(None) => {
                issues.push(
                    Issue::new("output_invalid", at, "this output has no format").hint(format!(
                        "add `format: {}`",
                        OutputFormat::WORDS.join("`, `format: ")
                    )),
                );
                return None;
            }
            Err(problem) => {
                issues.push(problem.issue(place("path")));
                return None;
            }
        };
        let mut spec = self.plain(format, self.target(path), line);
        if format.own_paths && said.contains_key("paths") {
            issues.push(
                Issue::new(
                    "output_invalid",
                    place("paths"),
                    format!(
                        "an output of format {format} has its paths {} only",
                        format.paths
                    ),
                )
                .hint("leave `paths` out"),
            );
        }
        spec.paths = text("paths")
            .and_then(PathStyle::from_word)
            .unwrap_or(spec.paths);
        spec.sample = count("sample");
        spec.of = text("of").and_then(Of::from_word).unwrap_or(spec.of);
        if spec.of != Of::Kept {
            // What has been decided about is not refused once more.
            spec.validate = Validation::None;
        }
        spec.validate = text("validate")
            .and_then(Validation::from_word)
            .or(self.validate.filter(|_| spec.of == Of::Kept))
            .unwrap_or(if spec.sample.is_some() && spec.of == Of::Kept {
                Validation::Decode
            } else {
                spec.validate
            });
        spec.seed = count("seed").unwrap_or(spec.seed);
        spec.sampler = text("sampler")
            .and_then(Sampler::from_word)
            .unwrap_or(spec.sampler);
        spec.shuffle = matches!(value("shuffle"), Some(Value::Bool(true)));
        let mut cuts = ["shard_size", "shard_rows"].into_iter();
        if let Some(cut) = cuts.find(|key| said.contains_key(key))
            && !spec.target.is_file()
        {
            issues.push(
                Issue::new(
                    "output_invalid",
                    place(cut),
                    format!("{} is a stream, which is not cut into shards", spec.target),
                )
                .hint(format!("write to a file, or leave {cut} out")),
            );
        }
        spec.shard_size = said
            .get("shard_size")
            .and_then(|(_, node)| bytes(node))
            .filter(|&n| n > 0);
        spec.shard_rows = count("shard_rows");
        if let Some(images) = text("image_files").and_then(ImageFiles::from_word) {
            if format.images.contains(&images) {
                spec.images = images;
            } else {
                let words: Vec<&str> = format.images.iter().map(|it| it.word()).collect();
                issues.push(Issue::new(
                    "output_invalid",
                    place("image_files"),
                    format!(
                        "outputs of format {format} have no '{images}' for images, only {}",
                        words.join(", ")
                    ),
                ));
            }
        }
        if spec.sample.is_none() {
            for name in ["sampler", "shuffle"]
                .into_iter()
                .filter(|name| said.contains_key(name))
            {
                issues.push(
                    Issue::new(
                        "output_invalid",
                        place(name),
                        format!("'{name}' of an output needs `sample`"),
                    )
                    .hint("add `sample: N`"),
                );
            }
        }
        if let Some(written) = text("where") {
            spec.condition = Some(written.to_owned());
            if let Err(problem) = RowCondition::parse(written) {
                let what = format!("'where' of an output: {problem}");
                let hint = "use and, or, not, comparisons, names of fields and stats, constants and lists only";
                issues.push(Issue::new("output_invalid", place("where"), what).hint(hint));
            }
        }
        let per_input = matches!(value("per_input"), Some(Value::Bool(true)));
        spec.split = match text("split_by").filter(|field| !field.is_empty()) {
            Some(field) if per_input => {
                let what = format!("one file an input, and one for each value of '{field}'");
                let hint = "leave split_by or per_input out";
                issues.push(Issue::new("output_invalid", place("per_input"), what).hint(hint));
                None
            }
            Some(field) => Some(Split::Field(field.to_owned())),
            None => per_input.then_some(Split::Input),
        };
        if spec.split.is_some() && !spec.target.is_file() {
            let key = if per_input { "per_input" } else { "split_by" };
            let what = format!("{} is a stream, which is not split", spec.target);
            issues.push(
                Issue::new("output_invalid", place(key), what)
                    .hint(format!("write to a file, or leave {key} out")),
            );
        }
        let narrowed = ["where", "of"]
            .into_iter()
            .find(|key| said.contains_key(key));
        if let Some(key) = narrowed
            && spec.sampler == Sampler::Python
        {
            let what =
                format!("the python sampler draws from all rows that are kept, not by '{key}'");
            issues.push(
                Issue::new("output_invalid", place("sampler"), what).hint("leave the sampler out"),
            );
        }
        spec.checked = self.checked(format, &said, issues);
        for (key, formats) in keys.iter().filter(|(_, formats)| !formats.is_empty()) {
            let (Some(value), Some(option)) = (value(key.name), format.option(key.name)) else {
                if said.contains_key(key.name) {
                    issues.push(Issue::new(
                        "output_invalid",
                        place(key.name),
                        format!(
                            "'{}' belongs to outputs of format {}",
                            key.name,
                            names_of(formats)
                        ),
                    ));
                }
                continue;
            };
            match self.option(option, value) {
                Ok(value) => spec.options.set(option, value),
                Err(what) => issues.push(Issue::new("output_invalid", place(key.name), what)),
            }
        }
        (issues.len() == before).then_some(spec)
    }

    /// What an output says of who will read it.
    fn checked(
        &self,
        format: OutputFormat,
        said: &BTreeMap<&str, (Pos, Node)>,
        issues: &mut Vec<Issue>,
    ) -> Option<CheckedFor> {
        let text = |name: &str| match said.get(name) {
            Some((
                at,
                Node {
                    value: Value::Str(text),
                    ..
                },
            )) => Some((*at, text.as_str())),
            _ => None,
        };
        let Some((at, word)) = text("for") else {
            for name in ["template", "max_tokens", "tokenizer"] {
                if let Some((at, _)) = said.get(name) {
                    let what = format!("'{name}' of an output needs `for`");
                    issues.push(
                        Issue::new("output_invalid", *at, what)
                            .hint("say who will read it: `for: TRAINER`"),
                    );
                }
            }
            return None;
        };
        let mut checked = CheckedFor::new(TrainerRef::from_word(word)?);
        if let Some(what) = unread(format, checked.trainer) {
            issues.push(
                Issue::new("output_invalid", at, what)
                    .hint("docs/TRAINERS.md says what each reads"),
            );
        }
        if let Some((_, word)) = text("template") {
            checked.template = Template::from_word(word).unwrap_or(checked.template);
        }
        if let Some((
            _,
            Node {
                value: Value::Int(n),
                ..
            },
        )) = said.get("max_tokens")
        {
            checked.max_tokens = u64::try_from(*n).ok();
        }
        if let Some((at, path)) = text("tokenizer") {
            let found = locate(path, self.search).filter(|path| path.is_file());
            match &found {
                None => {
                    let what = format!("tokenizer file not found: {path}");
                    issues.push(Issue::new("file_not_found", at, what).named(path));
                }
                Some(path) => {
                    if let Err(what) = Tokens::load(path) {
                        issues.push(Issue::new("output_invalid", at, what));
                    }
                }
            }
            checked.tokenizer = found;
        }
        Some(checked)
    }

    /// The value of an option, checked as far as its kind goes.
    fn option(&self, option: &FormatOption, value: &Value) -> Result<OptionValue, String> {
        match (option.kind, value) {
            (OptionKind::Word(words), Value::Str(text)) => words
                .iter()
                .find(|word| *word == text)
                .map(|word| OptionValue::Word(word)),
            (OptionKind::Flag, Value::Bool(on)) => Some(OptionValue::Flag(*on)),
            (OptionKind::Text, Value::Str(text)) => Some(OptionValue::Text(text.clone())),
            (OptionKind::File, Value::Str(text)) => {
                let found = locate(text, self.search).filter(|path| path.is_file());
                let path =
                    found.ok_or_else(|| format!("{} file not found: {text}", option.name))?;
                Some(OptionValue::File(path))
            }
            _ => None,
        }
        .ok_or_else(|| format!("'{}' of an output has another kind of value", option.name))
    }
}

/// Why `trainer` cannot read any file in `format`.
#[must_use]
pub fn unread(format: OutputFormat, trainer: TrainerRef) -> Option<String> {
    let container = if format.framing == Framing::ARRAY {
        Container::Array
    } else {
        Container::Lines
    };
    (!trainer.containers.contains(&container)).then(|| {
        format!(
            "{trainer} does not read {}, which format {format} writes",
            container.words()
        )
    })
}

fn names_of(formats: &[OutputFormat]) -> String {
    let names: Vec<&str> = formats.iter().map(|format| format.word()).collect();
    names.join(" or ")
}

/// A suggestion for a misspelt word of a closed choice.
pub fn word_hint(kind: Kind, node: &Node) -> Option<String> {
    match (kind, &node.value) {
        (Kind::Word(words), Value::Str(text)) => did_you_mean(text, words.iter().copied()),
        _ => None,
    }
}

/// Suffixes of compressors that djr does not write.
const COMPRESSED: &[&str] = &["zstd", "bz2", "xz", "zip", "lz4"];

/// Suffixes of those that it does.
const PACKED: &[&str] = &["gz", "zst"];

/// As [`check_path`], for what is written as it is.
///
/// # Errors
/// Also where the name says that it is packed.
pub fn check_plain(
    cwd: &Path,
    path: &Path,
    format: Option<OutputFormat>,
) -> Result<Option<OutputFormat>, PathProblem> {
    if is_packed(path) {
        let what = format!("this output is not packed: {}", path.display());
        return Err(PathProblem::new(what, "drop the last suffix"));
    }
    check_path(cwd, path, format)
}

/// Whether what is written under a name is packed.
#[must_use]
pub fn is_packed(path: &Path) -> bool {
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    PACKED.contains(&suffix.to_ascii_lowercase().as_str())
}

/// Why an output cannot go where it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathProblem {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl PathProblem {
    fn new(what: String, hint: impl Into<String>) -> Self {
        Self {
            what,
            hint: hint.into(),
        }
    }

    fn issue(self, at: Pos) -> Issue {
        Issue::new("output_invalid", at, self.what).hint(self.hint)
    }
}

/// Checks the path of an output of rows, of any command, relative to `cwd`: it names a file or an
/// object of a store, and its suffix says what `format` writes. Without a format the suffix decides; `None` if it says nothing.
/// A stream may have any name; one that says no format takes rows.
///
/// # Errors
/// What is wrong with the path.
pub fn check_path(
    cwd: &Path,
    path: &Path,
    format: Option<OutputFormat>,
) -> Result<Option<OutputFormat>, PathProblem> {
    let shown = path.display();
    if path.as_os_str() == "-" || Destination::is_stream(&cwd.join(path)) {
        let format = format.or_else(|| format_of_name(path));
        return Ok(Some(format.unwrap_or(OutputFormat::ROWS)));
    }
    check_row_place(cwd, path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let suffix = suffix.to_ascii_lowercase();
    if COMPRESSED.contains(&suffix.as_str()) {
        return Err(PathProblem::new(
            format!("outputs are not packed so: {shown}"),
            "let it end in .gz or .zst, or write to `-` and pipe into a compressor",
        ));
    }
    let packed = PACKED.contains(&suffix.as_str());
    let suffix = if packed {
        let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
        stem.rsplit_once('.')
            .map_or("", |(_, suffix)| suffix)
            .to_ascii_lowercase()
    } else {
        suffix
    };
    let by_suffix = OutputFormat::of_suffix(&suffix);
    if packed
        && !format
            .or(by_suffix)
            .is_some_and(OutputFormat::may_be_packed)
    {
        return Err(PathProblem::new(
            format!("only rows as JSON are packed by djr: {shown}"),
            "let it end in .jsonl.gz or .jsonl.zst, or drop the last suffix",
        ));
    }
    match format {
        None => Ok(by_suffix),
        Some(format) if format.suffixes.contains(&suffix.as_str()) => Ok(Some(format)),
        Some(format) => Err(PathProblem::new(
            match suffix.as_str() {
                "" => format!("the output has no suffix: {shown}"),
                _ => format!(
                    "the name {shown} says {suffix}, and format {format} is not written under it"
                ),
            },
            format!("let it end in .{}", format.suffixes.join(" or .")),
        )),
    }
}

/// The format that the suffix of a name says, if it says one.
#[must_use]
pub fn format_of_name(path: &Path) -> Option<OutputFormat> {
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    OutputFormat::of_suffix(&suffix.to_ascii_lowercase())
}

/// As [`check_path`], for an output whose format nobody names.
///
/// # Errors
/// Also where the suffix says no format that djr writes.
pub fn check_named(cwd: &Path, path: &Path) -> Result<OutputFormat, PathProblem> {
    if let Some(format) = check_path(cwd, path, None)? {
        return Ok(format);
    }
    let shown = path.display();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Err(PathProblem::new(
        match name.rsplit_once('.') {
            Some((_, suffix)) => {
                format!(
                    "djr does not export {}: {shown}",
                    suffix.to_ascii_lowercase()
                )
            }
            None => format!("the output has no suffix: {shown}"),
        },
        SUFFIX_HINT,
    ))
}

const SUFFIX_HINT: &str = "let it end in .jsonl, in .json for one array of rows, in .parquet, or in .tar for a webdataset archive; for LLaVA's format use `djr convert --to llava` or add an item to `outputs`";

/// Checks that a path is that of a file, or of an object in a store that takes one.
fn check_row_place(cwd: &Path, path: &Path) -> Result<(), PathProblem> {
    if !is_remote(path) {
        return check_place(cwd, path);
    }
    let problem = |error: std::io::Error| {
        let what = format!("cannot write {}: {error}", path.display());
        PathProblem::new(what, "docs/REMOTE.md says what djr writes to, and as whom")
    };
    remote::check_target(path).map_err(problem)
}

/// Checks that a path is local and that of a file, whatever goes there.
fn check_place(cwd: &Path, path: &Path) -> Result<(), PathProblem> {
    check_local(path)?;
    let ends = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if ends || cwd.join(path).is_dir() {
        return Err(PathProblem::new(
            format!("the output is a directory: {}", path.display()),
            "name a file in it",
        ));
    }
    Ok(())
}

/// Checks the path of a document, which is no rows: a local file that one of `suffixes` says what it
/// is, or a stream.
///
/// # Errors
/// What is wrong with the path.
pub fn check_document(cwd: &Path, path: &Path, suffixes: &[&str]) -> Result<(), PathProblem> {
    check_place(cwd, path)?;
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    let is_one = suffixes.iter().any(|one| suffix.eq_ignore_ascii_case(one));
    if is_one || Destination::is_stream(&cwd.join(path)) {
        return Ok(());
    }
    let what = format!(
        "the name does not say what is written there: {}",
        path.display()
    );
    let known: Vec<String> = suffixes.iter().map(|suffix| format!(".{suffix}")).collect();
    Err(PathProblem::new(
        what,
        format!("let it end in {}", known.join(" or ")),
    ))
}

/// Checks that a path is local.
///
/// # Errors
/// If it is not.
pub fn check_local(path: &Path) -> Result<(), PathProblem> {
    let text = path.as_os_str().as_encoded_bytes();
    if text.windows(3).any(|three| three == b"://") {
        return Err(PathProblem::new(
            format!("the output is remote: {}", path.display()),
            "only rows are written to stores: name a local file",
        ));
    }
    Ok(())
}

/// Checks `export_path`: its format follows from `export_type`, else from its suffix. Data-Juicer
/// writes what `export_type` says under any name.
pub fn check_export(
    at: Pos,
    cwd: &Path,
    path: &Path,
    export_type: Option<&Node>,
    issues: &mut Vec<Issue>,
) -> OutputFormat {
    let typed = match export_type {
        Some(Node {
            value: Value::Str(word),
            at,
            ..
        }) => Some((word, *at)),
        _ => None,
    };
    let format = typed.map(|(word, _)| OutputFormat::of_suffix(word));
    let checked = match (typed, format.flatten()) {
        (None, _) => check_named(cwd, path),
        (Some(_), Some(format)) => check_row_place(cwd, path).map(|()| format),
        (Some((word, at)), None) => {
            issues.push(
                Issue::new("unsupported", at, format!("djr does not export {word}"))
                    .hint(SUFFIX_HINT),
            );
            return OutputFormat::ROWS;
        }
    };
    checked.unwrap_or_else(|problem| {
        issues.push(problem.issue(at));
        OutputFormat::ROWS
    })
}

const NEVER_OVERWRITTEN: &str = "write elsewhere; an input is never overwritten";

/// Checks that each output can be written and destroys neither an input nor another output.
pub fn check_targets(outputs: &[(Pos, OutputSpec)], inputs: &Inputs, issues: &mut Vec<Issue>) {
    let files: &[PathBuf] = match inputs {
        Inputs::Stdin | Inputs::Given(_) => &[],
        Inputs::Files(files) => files,
    };
    let inputs: Vec<PathBuf> = files.iter().map(|file| identity(file)).collect();
    let mut seen: Vec<(Option<PathBuf>, &OutputSpec, usize)> = Vec::new();
    if let Some((at, _)) = outputs.first()
        && !outputs.iter().any(|(_, spec)| {
            let has_every = spec.condition.is_none() && spec.sample.is_none();
            spec.of == Of::Kept || spec.of == Of::All && has_every
        })
    {
        let what = "no output takes the rows that are kept: they would count as dropped";
        let hint = "add an output without `of`, such as `{path: clean.jsonl}`, or one `of: all`, which has every row with what became of it";
        issues.push(Issue::new("output_invalid", *at, what).hint(hint));
    }
    for (at, spec) in outputs {
        if let Some(stream) = spec.target.stream()
            && let Some(file) = files.iter().find(|file| leads_into(stream, file))
        {
            let what = format!("{} is the input {}", spec.target, file.display());
            issues.push(Issue::new("output_invalid", *at, what).hint(NEVER_OVERWRITTEN));
        }
        if let Some(what) = spec.unsuited() {
            let what = format!("{}: {what}", spec.target);
            issues.push(Issue::new("output_invalid", *at, what));
        }
        let identity = match &spec.target {
            Target::Stdout => None,
            Target::Stream(_) | Target::Caller => continue,
            Target::File(path) if is_remote(path) => Some(path.clone()),
            Target::File(path) => {
                if let Some(reason) = unwritable(path) {
                    issues.push(Issue::new(
                        "output_invalid",
                        *at,
                        format!("cannot write {}: {reason}", path.display()),
                    ));
                }
                Some(identity(path))
            }
        };
        let same = |(other, ..): &&(Option<PathBuf>, &OutputSpec, usize)| *other == identity;
        if let Some((.., line)) = seen.iter().find(same) {
            let what = match &identity {
                None => "standard output".to_owned(),
                Some(path) => path.display().to_string(),
            };
            issues.push(
                Issue::new(
                    "output_invalid",
                    *at,
                    match line {
                        0 => format!("two outputs go to {what}"),
                        line => format!("two outputs go to {what}: the other is in line {line}"),
                    },
                )
                .hint("give each output its own path"),
            );
        } else if let Some(path) = &identity
            && let Some((Some(other), ..)) = seen.iter().find(|(other, others, _)| {
                let other = other.as_deref();
                other.is_some_and(|other| spec.may_share(path, (others, other)))
            })
        {
            let what = format!(
                "a file of {} may be one of {}",
                path.display(),
                other.display()
            );
            issues.push(
                Issue::new("output_invalid", *at, what)
                    .hint("write the files of a split output into a directory of their own, or call them otherwise"),
            );
        }
        if let Some(path) = &identity
            && inputs
                .iter()
                .any(|input| input == path || spec.may_write(path, input))
        {
            issues.push(
                Issue::new(
                    "output_invalid",
                    *at,
                    format!("the output {} is an input, too", path.display()),
                )
                .hint(NEVER_OVERWRITTEN),
            );
        }
        seen.push((identity, spec, at.line));
    }
}

/// Checks that no output takes the place of a file that a step or an output reads.
pub fn check_read_files(recipe: &Recipe, issues: &mut Vec<Issue>) {
    let of_steps = recipe.steps.iter().flat_map(|step| {
        let who = format!("step {} ({})", step.index + 1, step.spec.name);
        let files = step.spec.assets.iter().map(|asset| asset.path.as_path());
        files.map(move |file| (who.clone(), file))
    });
    let of_outputs = recipe.outputs.iter().flat_map(|spec| {
        let who = format!("the output {}", spec.target);
        spec.files().map(move |file| (who.clone(), file))
    });
    let read: Vec<(String, PathBuf)> = of_steps
        .chain(of_outputs)
        .map(|(who, file)| (who, identity(file)))
        .collect();
    for spec in &recipe.outputs {
        let Target::File(path) = &spec.target else {
            continue;
        };
        let own = identity(path);
        let hit = read
            .iter()
            .find(|(_, file)| *file == own || spec.may_write(&own, file));
        if let Some((who, file)) = hit {
            let at = Pos {
                line: spec.line,
                ..Pos::default()
            };
            let what = format!("the output {} is read by {who}", file.display());
            issues.push(
                Issue::new("output_invalid", at, what)
                    .hint("write elsewhere; what a recipe reads is never overwritten"),
            );
        }
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

/// The longest name of an output, in bytes: of the 255 that systems allow, working files, stats and
/// shard numbers take the rest.
const LONGEST_NAME: usize = 231;

/// Checks that a file can be made at `path`.
///
/// # Errors
/// Why not.
pub fn check_writable(path: &Path) -> Result<(), PathProblem> {
    if is_remote(path) {
        // That was found out with its name.
        return Ok(());
    }
    match unwritable(path) {
        None => Ok(()),
        Some(reason) => Err(PathProblem::new(
            format!("cannot write {}: {reason}", path.display()),
            "write somewhere else, or under another name",
        )),
    }
}

/// Why a file cannot be created at `path`, found out without creating anything.
fn unwritable(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("it is a directory".into());
    }
    if path.to_str().is_none() {
        return Some("its name is no Unicode, and no record could hold it".into());
    }
    let length = path.file_name().map_or(0, std::ffi::OsStr::len);
    if length > LONGEST_NAME {
        return Some(format!(
            "its name is too long: it has {length} bytes, and {LONGEST_NAME} leave room for the names of the files beside it"
        ));
    }
    let mut at = path.parent();
    while let Some(dir) = at {
        match fs::metadata(dir) {
            Ok(meta) if !meta.is_dir() => {
                return Some(format!("{} is not a directory", dir.display()));
            }
            // The system is asked, and not the mode read: who may do everything may write here.
            Ok(_) => {
                let wanted = Access::WRITE_OK | Access::EXEC_OK;
                let error = rustix::fs::access(dir, wanted).err()?;
                let error = std::io::Error::from(error);
                return Some(format!("the directory {}: {error}", dir.display()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => at = dir.parent(),
            Err(error) => return Some(format!("{}: {error}", dir.display())),
        }
    }
    None
}
