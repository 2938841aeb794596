//! Steps whose operators djr lacks and Data-Juicer runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::nearest::did_you_mean;
use super::peer_ops;
use super::process::{Surroundings, set_base, unknown_operator};
use super::yaml::{Entry, Issue, Node, Pos, Value};
use super::{Step, keys::BASE_KEYS, keys::Keys, wire};
use crate::op::{
    Asset, BaseParams, PeerAsked, PeerRefusal, PeerService, PeerSettings, peer_operator,
};

/// How the command is called that gets Data-Juicer.
const INSTALL: &str = "pip install py-data-juicer==1.6.1";

/// What a recipe says of operators that run in Data-Juicer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerKeys {
    /// `custom_operator_paths`: files and packages that register further operators.
    #[serde(with = "wire::list", default, skip_serializing_if = "Vec::is_empty")]
    pub custom_operator_paths: Vec<PathBuf>,
    /// `video_special_token`, if it is not Data-Juicer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_special_token: Option<String>,
    /// `audio_special_token`, if it is not Data-Juicer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_special_token: Option<String>,
    /// `operator_processes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_processes: Option<usize>,
    /// `operator_timeout` in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_timeout: Option<u64>,
}

impl PeerKeys {
    /// The keys that no answer depends on.
    pub const ASIDE: [&str; 2] = ["operator_processes", "operator_timeout"];

    /// What the keys of a recipe say, but for paths, which are yet to be found.
    pub(super) fn of(keys: &Keys) -> Self {
        let said = |name: &str| keys.written(name).map(|_| keys.text(name));
        let number = |name: &str| keys.written(name).and_then(|_| keys.count(name));
        Self {
            custom_operator_paths: Vec::new(),
            video_special_token: said("video_special_token"),
            audio_special_token: said("audio_special_token"),
            operator_processes: number("operator_processes")
                .map(|processes| usize::try_from(processes).unwrap_or(usize::MAX)),
            operator_timeout: number("operator_timeout"),
        }
    }

    /// How such operators are run, unless they say otherwise.
    fn settings(&self) -> PeerSettings {
        let usual = PeerSettings::default();
        PeerSettings {
            processes: self.operator_processes,
            timeout_s: self.operator_timeout.unwrap_or(usual.timeout_s),
        }
    }
}

/// What else such operators are told of the recipe.
#[derive(Default)]
pub struct PeerSurroundings {
    /// The keys that are theirs.
    pub keys: PeerKeys,
    /// `video_key` and `audio_key`.
    pub media: [(&'static str, String); 2],
    /// `image_special_token` and `eoc_special_token`.
    pub tokens: [(&'static str, String); 2],
}

impl PeerSurroundings {
    /// The environment variables by which Data-Juicer knows special tokens.
    fn env(&self) -> BTreeMap<String, String> {
        let own = [
            ("video", &self.keys.video_special_token),
            ("audio", &self.keys.audio_special_token),
        ];
        let own = own.into_iter();
        let own = own.filter_map(|(name, token)| Some((name, token.as_ref()?)));
        let all = self.tokens.iter().map(|(name, token)| (*name, token));
        all.chain(own)
            .map(|(name, token)| {
                (
                    format!("_DJ_SPECIAL_TOKEN_{}", name.to_uppercase()),
                    token.clone(),
                )
            })
            .collect()
    }
}

/// A step of a recipe as it is written.
#[derive(Clone, Copy)]
pub struct WrittenStep<'e> {
    /// 0-based position.
    pub index: usize,
    /// Its name.
    pub name: &'e str,
    /// Where that is written.
    pub at: Pos,
    /// Its parameters.
    pub entries: &'e [Entry],
}

impl WrittenStep<'_> {
    /// Builds the step, if Data-Juicer can be asked and knows the operator.
    pub fn build(
        &self,
        mut base: BaseParams,
        around: &Surroundings,
        issues: &mut Vec<Issue>,
    ) -> Option<Step> {
        let (name, at) = (self.name, self.at);
        let custom = &around.peers.keys.custom_operator_paths;
        // A name that is merely misspelt starts no Python.
        let may_be = peer_ops::find(name).is_some() || !custom.is_empty();
        let Some(peers) = around.asked.as_deref().filter(|_| may_be) else {
            issues.push(unknown_operator(name, at));
            return None;
        };
        let (mut own, mut params) = (Map::new(), Map::new());
        for Entry { key, node, .. } in self.entries {
            let common = BASE_KEYS.iter().any(|base| base.name == key);
            if common && node.is_null() {
                continue;
            }
            // Of a parameter of its own null may be another value than the default.
            params.insert(key.clone(), node.to_json());
            if BASE_KEYS.iter().any(|base| base.name == key && base.used) {
                set_base(&mut base, key, &node.value);
            } else {
                own.insert(key.clone(), node.to_json());
            }
        }
        let text_key = ("text_key", base.text_key.as_str().to_owned());
        let image_key = ("image_key", base.image_key.as_str().to_owned());
        let media = around.peers.media.iter().cloned();
        for (key, field) in [text_key, image_key].into_iter().chain(media) {
            params.entry(key).or_insert(field.into());
        }
        let env = around.peers.env();
        let asked = PeerAsked {
            op: name,
            params: &params,
            custom,
            env: &env,
        };
        let facts = match peers.describe(&asked) {
            Ok(facts) => facts,
            Err(refusal) => {
                self.refuse(refusal, issues);
                return None;
            }
        };
        let usual = around.peers.keys.settings();
        let processes = params.get("num_proc").and_then(Json::as_u64);
        let processes = processes.and_then(|count| usize::try_from(count).ok());
        let service = PeerService {
            op: name.to_owned(),
            custom: custom.clone(),
            env: env.clone(),
            run: PeerSettings {
                processes: processes.filter(|count| *count > 0).or(usual.processes),
                ..usual
            },
            facts,
            params,
        };
        let name = lasting(name);
        let assets = match assets(&service, around) {
            Ok(assets) => assets,
            Err(error) => {
                issues.push(Issue::new("step_invalid", at, format!("{name}: {error}")));
                return None;
            }
        };
        let family = service.facts.works.family();
        let (operator, mut spec) = peer_operator(name, service, base.draw, &own);
        spec.assets = assets;
        Some(Step {
            index: self.index,
            name,
            family,
            line: if at.source == 0 { at.line } else { 0 },
            params: own,
            base,
            spec,
            operator,
        })
    }

    /// Says why the operator cannot be used.
    fn refuse(&self, refusal: PeerRefusal, issues: &mut Vec<Issue>) {
        let (name, at) = (self.name, self.at);
        match refusal {
            PeerRefusal::Nowhere(tried) => {
                let mut issue = unknown_operator(name, at);
                let tried = if tried.is_empty() {
                    String::new()
                } else {
                    format!(" (tried {tried})")
                };
                if peer_ops::find(name).is_none() {
                    issue.message = format!(
                        "{name} is none of djr's operators, and there is no Data-Juicer to load custom_operator_paths in"
                    );
                }
                issues.push(issue.hint(format!(
                    "it runs in Data-Juicer itself: {INSTALL}, and name that Python with --python or DJR_PYTHON{tried}"
                )));
            }
            PeerRefusal::Unknown(version) => {
                let mut issue = unknown_operator(name, at);
                issue.message = format!("{name}: Data-Juicer {version} has no such operator");
                issues.push(issue);
            }
            PeerRefusal::Parameters(unknown, known) => {
                let list = if known.is_empty() {
                    format!("{name} has no parameters of its own")
                } else {
                    format!("{name} has {}", known.join(", "))
                };
                for param in unknown {
                    let entry = self.entries.iter().find(|entry| entry.key == param);
                    let what = format!("unknown parameter '{param}' of {name}");
                    let near = did_you_mean(&param, known.iter().map(String::as_str));
                    let hint = near.map_or_else(|| list.clone(), |near| format!("{near} {list}"));
                    let at = entry.map_or(at, |entry| entry.at);
                    issues.push(
                        Issue::new("parameter_unknown", at, what)
                            .named(&*param)
                            .hint(hint),
                    );
                }
            }
            PeerRefusal::Whole(why) => {
                let what = format!(
                    "{name} is an operator of Data-Juicer that does not work row by row: {why}"
                );
                issues.push(
                    Issue::new("operator_unknown", at, what)
                        .named(name)
                        .hint("run that step in Data-Juicer, between two recipes"),
                );
            }
            PeerRefusal::Refused(said) => {
                issues.push(
                    Issue::new("step_invalid", at, format!("{name}: {said}"))
                        .hint("so says Data-Juicer, which is asked to build the operator"),
                );
            }
        }
    }
}

/// Where `custom_operator_paths` are: beside the recipe, or in the working directory.
pub fn custom_operators(
    node: &Node,
    locate: impl Fn(&str) -> Option<PathBuf>,
    issues: &mut Vec<Issue>,
) -> Vec<PathBuf> {
    let paths = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut found = Vec::new();
    for path in paths {
        let Value::Str(written) = &path.value else {
            continue;
        };
        let wrong = |what: String, hint: &str| {
            let what = format!("'custom_operator_paths': {what}");
            Issue::new("key_invalid", path.at, what).hint(hint)
        };
        match locate(written) {
            Some(dir) if dir.is_dir() && !dir.join("__init__.py").is_file() => issues.push(wrong(
                format!("{written} has no __init__.py"),
                "name Python files, or a folder that is a package",
            )),
            Some(path) if path.to_str().is_some() => found.push(path),
            Some(_) => issues.push(wrong(
                format!("the path of {written} is no Unicode"),
                "name it by a link to it",
            )),
            None => issues.push(wrong(
                format!("no such file or directory: {written}"),
                "a path starts at the recipe's directory, or the working directory",
            )),
        }
    }
    found
}

/// The Python files that an operator is made of beside Data-Juicer.
fn assets(service: &PeerService, around: &Surroundings) -> std::io::Result<Vec<Asset>> {
    let mut files = BTreeSet::new();
    for path in &service.custom {
        python_files(path, &mut files)?;
    }
    let texts = service.params.values().filter_map(Json::as_str);
    let named = texts.filter(|text| Path::new(text).extension().is_some_and(|end| end == "py"));
    // Data-Juicer starts at the working directory.
    let here = around.search.last();
    let named = named.filter_map(|text| Some(here?.join(text)));
    files.extend(named.filter(|path| path.is_file()));
    let asset = |path: &PathBuf| {
        Asset::now(path).map_err(|error| {
            std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })
    };
    files.iter().map(asset).collect()
}

fn python_files(path: &Path, files: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.insert(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|end| end == "py") {
            python_files(&path, files)?;
        }
    }
    Ok(())
}

/// The same name for as long as the program runs: each is kept once, however many recipes have it.
fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let lasting: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(lasting);
    lasting
}
