//! Relative paths of a recipe that mean one file beside it, which is taken, and another one in the
//! working directory.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::model::{Inputs, OutputSpec, Recipe, Step};
use super::patterns;
use super::yaml::{Node, Value};
use crate::note::{Code, Note};
use crate::op::Service;

/// A text of the recipe that may be a path, and how the place where it stands is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    key: String,
    path: String,
}

impl Written {
    /// All texts below the key `key` that stand in the recipe itself: what the command line says
    /// starts at the working directory.
    pub fn below(key: &str, node: &Node, found: &mut Vec<Self>) {
        match &node.value {
            Value::Str(text) if node.at.source == 0 && may_be_path(text) => {
                found.push(Self::new(key, text));
            }
            Value::List(items) => {
                for item in items {
                    Self::below(key, item, found);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    Self::below(&format!("{key}.{}", entry.key), &entry.node, found);
                }
            }
            _ => {}
        }
    }

    fn new(key: &str, path: &str) -> Self {
        Self {
            key: key.to_owned(),
            path: path.trim().to_owned(),
        }
    }
}

/// Whether a text may be a path: prompts and scripts are no patterns to be looked for, which their
/// braces could make very many of.
fn may_be_path(text: &str) -> bool {
    const LONGEST: usize = 4096;
    text.len() <= LONGEST && !text.trim().contains('\n')
}

/// Says which file was taken, for each text among `written` that names something which the recipe reads.
pub fn notes(written: Vec<Written>, recipe: &Recipe, beside: &Path, cwd: &Path) -> Vec<Note> {
    let read = Read::of(recipe);
    let mut notes = Vec::new();
    for Written { key, path } in written {
        let (first, second) = (Candidate::of(beside, &path), Candidate::of(cwd, &path));
        let (Some(first), Some(second)) = (first, second) else {
            continue;
        };
        if first.files != second.files && read.any(&key, &first.files) {
            let text = format!(
                "{key}: '{path}' is {} (beside the recipe), and not {} (from the working directory), which Data-Juicer would take",
                first.shown, second.shown
            );
            Note::new(Code::PathInTwoPlaces, text).add_to(&mut notes);
        }
    }
    notes
}

/// What a text names below one directory.
struct Candidate {
    shown: String,
    /// What it is without links; of a pattern, what it matches.
    files: HashSet<PathBuf>,
}

impl Candidate {
    fn of(base: &Path, written: &str) -> Option<Self> {
        if written.is_empty() {
            return None;
        }
        let path = base.join(written);
        let found = if path.exists() {
            vec![path.clone()]
        } else if patterns::is_pattern(written) {
            patterns::matching(base, written, false)
        } else {
            Vec::new()
        };
        let files: HashSet<PathBuf> = found
            .iter()
            .filter_map(|path| fs::canonicalize(path).ok())
            .collect();
        (!files.is_empty()).then(|| Self {
            shown: path.components().collect::<PathBuf>().display().to_string(),
            files,
        })
    }
}

/// What a recipe reads.
struct Read {
    /// Files and directories without links; of files all directories above them, too.
    paths: HashSet<PathBuf>,
    /// Names of steps whose parameters djr itself looks up.
    own: HashSet<String>,
}

impl Read {
    fn of(recipe: &Recipe) -> Self {
        let inputs = match &recipe.inputs {
            Inputs::Files(files) => files.as_slice(),
            _ => &[],
        };
        let assets = recipe.steps.iter().flat_map(|step| &step.spec.assets);
        let all = inputs
            .iter()
            .map(PathBuf::as_path)
            .chain(assets.map(|asset| asset.path.as_path()))
            .chain(recipe.outputs.iter().flat_map(OutputSpec::files))
            .chain(recipe.image_root.as_deref())
            .chain(
                recipe
                    .peers
                    .custom_operator_paths
                    .iter()
                    .map(PathBuf::as_path),
            );
        let mut paths = HashSet::new();
        for path in all.filter_map(|path| fs::canonicalize(path).ok()) {
            paths.extend(path.ancestors().map(Path::to_owned));
        }
        // Data-Juicer itself looks for what its operators name.
        let own = |step: &&Step| !matches!(step.spec.service, Some(Service::Peer(_)));
        let own = recipe.steps.iter().filter(own);
        Self {
            paths,
            own: own.map(|step| step.name.to_owned()).collect(),
        }
    }

    /// Whether something of `files` is read. What a parameter of a step calls a directory or a path is
    /// one, whatever the operator makes of it.
    fn any(&self, key: &str, files: &HashSet<PathBuf>) -> bool {
        let of_step = key.split_once('.').is_some_and(|(step, param)| {
            let names_a_path = ["_dir", "_path"].iter().any(|end| param.ends_with(end));
            names_a_path && self.own.contains(step)
        });
        of_step || !self.paths.is_disjoint(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_looked_for_and_prompts_are_not() {
        let examples = "{\"a\": 1, \"b\": 2}\n".repeat(40);
        let step = serde_json::json!({
            "reference": ["seen.jsonl", "more/*.jsonl\n"],
            "prompt": examples,
            "template": "{a,b}".repeat(1000),
        });
        let mut found = Vec::new();
        Written::below("step", &Node::from_json(&step), &mut found);
        let expected = ["seen.jsonl", "more/*.jsonl"];
        assert_eq!(
            found,
            expected.map(|path| Written::new("step.reference", path))
        );
    }
}
