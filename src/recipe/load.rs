//! From text to a [`Recipe`]: overrides applied, variables expanded, keys read, everything checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::candidates::{self, Written};
use super::hub;
use super::inputs::{Finder, Listing, check_columns, check_wanted, locate};
use super::keys::{self, KEYS, Keys, Role, bytes};
use super::model::{Dataset, Inputs, OutputSpec, Recipe, RecipeSpec, Share, Step, Target};
use super::nearest::{did_you_mean, nearest};
use super::outputs::{
    Defaults, check_export, check_read_files, check_targets, output_keys, word_hint,
};
use super::peers::{PeerSurroundings, custom_operators};
use super::problem::{Problem, Problems};
use super::process::{self, Surroundings};
use super::yaml::{self, Entry, Issue, Node, Pos, Value};
use super::{LoadOptions, RecipeSource};
use crate::io::format::OutputFormat;
use crate::io::source::{InputSpec, Reading};
use crate::note::{Code, Note};
use crate::op::{self, BaseParams, EndpointSettings, ImageNeed, Peers, Service, SpecialTokens};
use crate::transformers::Hub;

/// Largest recipe read, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// With more problems than this, the rest of a recipe is not looked at.
pub const MAX_ISSUES: usize = 1000;

/// Reads and checks a recipe.
///
/// # Errors
/// All problems at once, sorted by place.
pub fn load(source: &RecipeSource, options: &LoadOptions) -> Result<Recipe, Problems> {
    let here = || options.dir.clone().unwrap_or_else(|| options.cwd.clone());
    let (name, text, dir) = match source {
        RecipeSource::Text { name, text } => (name.clone(), text.clone(), here()),
        RecipeSource::Value { name, .. } => (name.clone(), String::new(), here()),
        RecipeSource::File(path) => {
            let name = path.display().to_string();
            let path = options.cwd.join(path);
            let text = read(&path, &name).map_err(|problem| Problems::new(vec![*problem]))?;
            let dir = path
                .parent()
                .map_or_else(|| options.cwd.clone(), |d| d.components().collect());
            (name, text, dir)
        }
    };
    let mut search = vec![dir];
    if search.first() != Some(&options.cwd) {
        search.push(options.cwd.clone());
    }
    let mut loader = Loader {
        options,
        search,
        issues: Vec::new(),
        notes: Vec::new(),
        keys: Keys::default(),
    };
    let root = if let RecipeSource::Value { value, .. } = source {
        Some(Node::from_json(value))
    } else {
        let parsed = yaml::parse(&text, 0);
        loader.issues.extend(parsed.issues);
        loader.notes.extend(parsed.notes);
        parsed.root
    };
    let recipe = root.and_then(|root| loader.recipe(&name, root));
    match recipe {
        Some(recipe) if loader.issues.is_empty() => Ok(recipe),
        _ => Err(problems(loader.issues, &name, &text, &options.sets)),
    }
}

fn read(path: &Path, name: &str) -> Result<String, Box<Problem>> {
    let general = |message: String| Box::new(Problem::general(name, "recipe_unreadable", message));
    let meta = fs::metadata(path).map_err(|e| {
        Box::new(Problem {
            hint: Some(missing_hint(path)),
            ..Problem::general(
                name,
                "recipe_unreadable",
                format!("cannot read the recipe: {e}"),
            )
        })
    })?;
    if meta.is_file() && meta.len() > MAX_BYTES {
        return Err(general(format!(
            "a recipe of {} bytes: more than {MAX_BYTES} are not read",
            meta.len()
        )));
    }
    let bytes = fs::read(path).map_err(|e| general(format!("cannot read the recipe: {e}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |i| i + 1);
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default());
        Box::new(Problem {
            line: 1 + bytecount(before),
            column: 1 + column.chars().count(),
            hint: Some("save the recipe as UTF-8".into()),
            ..Problem::general(name, "recipe_unreadable", "not UTF-8")
        })
    })
}

/// What to do where there is no recipe at `path`.
fn missing_hint(path: &Path) -> String {
    let dir = path.parent().unwrap_or(path);
    let recipes: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| {
            name.extension()
                .is_some_and(|end| end == "yaml" || end == "yml")
        })
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let near = did_you_mean(&name, recipes.iter().map(String::as_str));
    near.unwrap_or_else(|| {
        format!(
            "looked for {}; a recipe is a YAML file, and its path starts at the working directory",
            path.display()
        )
    })
}

fn bytecount(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// Gives issues the names and lines that a user sees.
fn problems(issues: Vec<Issue>, name: &str, text: &str, sets: &[(String, String)]) -> Problems {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    Problems::new(
        issues
            .into_iter()
            .map(|issue| {
                let set = issue.at.source.checked_sub(1).and_then(|i| sets.get(i));
                let mut problem = match set {
                    Some((key, value)) => {
                        Problem::general(format!("--set {key}={value}"), issue.code, issue.message)
                    }
                    None => Problem::general(name, issue.code, issue.message),
                };
                problem.hint = issue.hint;
                problem.named = issue.named;
                if set.is_none() && issue.at.line > 0 {
                    problem.line = issue.at.line;
                    problem.column = issue.at.column;
                    problem.source = lines
                        .get(issue.at.line - 1)
                        .filter(|line| !line.trim().is_empty())
                        .map(|&line| line.to_owned());
                }
                problem
            })
            .collect(),
    )
}

struct Loader<'o> {
    options: &'o LoadOptions,
    search: Vec<PathBuf>,
    issues: Vec<Issue>,
    notes: Vec<Note>,
    /// The keys that djr uses, checked.
    keys: Keys,
}

impl Loader<'_> {
    fn recipe(&mut self, name: &str, mut root: Node) -> Option<Recipe> {
        match &root.value {
            Value::Map(_) => {}
            Value::Null if self.options.sets.is_empty() => {
                self.issues.push(
                    Issue::new("recipe_empty", Pos::default(), "the recipe is empty")
                        .hint("`djr ops` shows how operators are written"),
                );
                return None;
            }
            Value::Null => root.value = Value::Map(Vec::new()),
            other => {
                let issue = Issue::new(
                    "recipe_empty",
                    root.at,
                    format!("a recipe is a mapping of keys, found {}", root.describe()),
                );
                self.issues.push(match other {
                    Value::List(_) => issue.hint("put the list of operators under `process:`"),
                    _ => issue,
                });
                return None;
            }
        }
        self.apply_sets(&mut root);
        self.expand(&mut root);
        if let Value::Map(entries) = root.value {
            for entry in &entries {
                if self.issues.len() > MAX_ISSUES {
                    return None;
                }
                self.top(entry);
            }
        }
        Some(self.resolve(name))
    }

    // --set

    fn apply_sets(&mut self, root: &mut Node) {
        for (i, (key, text)) in self.options.sets.iter().enumerate() {
            let parsed = yaml::parse(text, i + 1);
            self.issues.extend(parsed.issues);
            let Some(mut value) = parsed.root else {
                continue;
            };
            value.at.source = i + 1;
            if let Err(issue) = set(root, key, value) {
                self.issues.push(*issue);
            }
        }
    }

    // ${NAME}

    fn expand(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Str(text) if text.contains("${") => {
                let (expanded, missing) = expand(text, &self.options.env);
                for name in missing {
                    self.issues.push(
                        Issue::new(
                            "variable_unset",
                            node.at,
                            format!("the variable {name} is not set"),
                        )
                        .hint(format!("set it, or write $${{{name}}} for the text itself")),
                    );
                }
                if node.plain.is_some() {
                    *node = Node::from_plain(node.at, &expanded);
                } else {
                    *text = expanded;
                }
            }
            Value::List(items) => {
                for item in items {
                    self.expand(item);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.expand(&mut entry.node);
                }
            }
            _ => {}
        }
    }

    // Keys

    fn top(&mut self, entry: &Entry) {
        if let Some(def) = keys::find(&entry.key) {
            self.key(def, entry.at, &entry.node);
            return;
        }
        if keys::is_group(&entry.key) {
            match &entry.node.value {
                Value::Null => {}
                Value::Map(inner) => {
                    for inner in inner {
                        let dotted = format!("{}.{}", entry.key, inner.key);
                        match keys::find(&dotted) {
                            Some(def) => self.key(def, inner.at, &inner.node),
                            None => self.issues.push(unknown_key(&dotted, inner.at)),
                        }
                    }
                }
                _ => self.issues.push(Issue::new(
                    "key_invalid",
                    entry.node.at,
                    format!(
                        "'{}': expected a mapping, found {}",
                        entry.key,
                        entry.node.describe()
                    ),
                )),
            }
            return;
        }
        self.issues.push(unknown_key(&entry.key, entry.at));
    }

    fn key(&mut self, def: &'static keys::KeyDef, at: Pos, node: &Node) {
        if node.is_null() {
            return;
        }
        let fitted = match def.kind.fit(node) {
            Ok(fitted) => fitted,
            Err(expected) => {
                self.issues.push(
                    Issue::new(
                        "key_invalid",
                        node.at,
                        format!("'{}': {expected}", def.name),
                    )
                    .maybe_hint(word_hint(def.kind, node)),
                );
                return;
            }
        };
        match def.role {
            Role::Used | Role::Own => {
                self.keys.insert(def.name, at, fitted);
            }
            Role::Ignored(why) => {
                let text = format!("ignored: `{}: {}` ({why})", def.name, shown(node));
                Note::new(Code::KeyIgnored, text).add_to(&mut self.notes);
            }
            Role::Refused(why) => {
                let harmless = fitted.value == def.default_value()
                    || matches!(&fitted.value, Value::Map(entries)
                        if def.name == "load_dataset_kwargs"
                            && entries.iter().all(|e| e.key == "num_proc"));
                if !harmless {
                    self.issues.push(
                        Issue::new(
                            "unsupported",
                            at,
                            format!("'{}' is not supported: {why}", def.name),
                        )
                        .hint("remove the key"),
                    );
                }
            }
        }
    }

    fn node(&self, name: &str) -> Option<&Node> {
        self.keys.written(name)
    }

    // The recipe

    fn resolve(&mut self, name: &str) -> Recipe {
        let mut recipe = Recipe::of_keys(name, &self.keys);
        for (i, traced) in recipe.tracer.ops.iter().enumerate() {
            if op::find(traced).is_none() && super::peer_ops::find(traced).is_none() {
                let at = match self.node("op_list_to_trace").map(|node| &node.value) {
                    Some(Value::List(items)) => items.get(i).map_or(Pos::default(), |n| n.at),
                    _ => Pos::default(),
                };
                let hint = did_you_mean(traced, op::all().into_iter().map(|def| def.name));
                self.issues.push(
                    Issue::new(
                        "operator_unknown",
                        at,
                        format!("unknown operator '{traced}'"),
                    )
                    .named(traced)
                    .maybe_hint(hint),
                );
            }
        }
        self.check_max_memory(recipe.max_memory);
        recipe.max_memory = self.options.max_memory.or(recipe.max_memory);
        recipe.search.clone_from(&self.search);
        recipe.cache = cache(&self.options.env);
        let hub = Hub::of_env(&self.options.env);
        (recipe.models_home, recipe.hub_cache) = (hub.external, hub.cache);
        recipe.servers = EndpointSettings::of_env(&self.options.env);
        recipe.nltk_data = (self.options.env)("NLTK_DATA")
            .map(|dirs| std::env::split_paths(&dirs).collect())
            .unwrap_or_default();
        self.csv(&mut recipe.input);
        recipe.image_root = self.image_root();
        recipe.peers.custom_operator_paths = self.custom_operators();
        (recipe.inputs, recipe.datasets, recipe.shares) = self.inputs(recipe.reading());
        recipe.outputs = self.outputs(&recipe.inputs);
        recipe.steps = self.steps(&recipe);
        self.check_limits(&recipe);
        check_read_files(&recipe, &mut self.issues);
        self.note_candidates(&recipe);
        recipe.notes.clone_from(&self.notes);
        recipe
    }

    /// Says which file was taken where a relative path means one beside the recipe and another one
    /// in the working directory.
    fn note_candidates(&mut self, recipe: &Recipe) {
        let [beside, cwd] = self.search.as_slice() else {
            return;
        };
        let of_input = ["dataset_path", "dataset"].map(|key| (key, self.options.input.is_none()));
        let others = ["image_root", "custom_operator_paths", "outputs"].map(|key| (key, true));
        let mut written = Vec::new();
        for (key, counts) in of_input.into_iter().chain(others) {
            if let Some(node) = self.node(key).filter(|_| counts) {
                Written::below(key, node, &mut written);
            }
        }
        if let Some(Value::List(steps)) = self.node("process").map(|node| &node.value) {
            for step in steps {
                if let Value::Map(entries) = &step.value {
                    for entry in entries {
                        Written::below(&entry.key, &entry.node, &mut written);
                    }
                }
            }
        }
        for note in candidates::notes(written, recipe, beside, cwd) {
            note.add_to(&mut self.notes);
        }
    }

    fn check_max_memory(&mut self, budget: Option<u64>) {
        if let Some(budget) = budget.filter(|&budget| budget < 1 << 20) {
            let at = self.node("max_memory").map_or(Pos::default(), |n| n.at);
            self.issues.push(
                Issue::new(
                    "key_invalid",
                    at,
                    format!("'max_memory': {budget} bytes are too few"),
                )
                .hint("give a unit, as in 2GB"),
            );
        }
    }

    /// A limit of what servers cost is held by knowing beforehand what a request may cost at most.
    fn check_limits(&mut self, recipe: &Recipe) {
        let cost = recipe.max_cost.map(|_| "max_cost");
        let tokens = recipe.max_tokens_total.map(|_| "max_tokens_total");
        let Some(key) = cost.or(tokens) else {
            return;
        };
        let at = self.node(key).map_or(Pos::default(), |n| n.at);
        let mut lacks = |step: &Step, what: &str, hint: &str| {
            let message = format!("'{key}' cannot be held: {what} in {}", step.name);
            self.issues
                .push(Issue::new("key_invalid", at, message).hint(hint));
        };
        for step in &recipe.steps {
            let Some(Service::Endpoint(service)) = &step.spec.service else {
                continue;
            };
            if cost.is_some() && service.prices.is_none() {
                lacks(
                    step,
                    "nothing says what tokens cost",
                    "give model_params: {price_in: …, price_out: …}, in money for a million tokens; 0 where the server is yours",
                );
            }
            if service.most_answered().is_none() {
                lacks(
                    step,
                    "nothing says how long an answer may be",
                    "give sampling_params: {max_tokens: …}, or what the model takes at most, request and answer together, as model_params: {max_model_len: …}",
                );
            }
            if step.spec.images != ImageNeed::None && service.max_model_len.is_none() {
                lacks(
                    step,
                    "nothing says how many tokens a picture may take",
                    "give what the model takes at most, request and answer together, as model_params: {max_model_len: …}",
                );
            }
        }
    }

    /// What `input.csv` says.
    fn csv(&mut self, input: &mut InputSpec) {
        let Some(Value::Map(entries)) = self.node("input.csv").map(|node| &node.value) else {
            return;
        };
        let mut issues = Vec::new();
        for entry in entries {
            let problem = match (entry.key.as_str(), &entry.node.value) {
                (_, Value::Null) => continue,
                ("delimiter", Value::Str(text)) => {
                    let mut letters = text.chars();
                    match (letters.next(), letters.next()) {
                        (Some(only), None) if only.is_ascii() && !"\"\r\n".contains(only) => {
                            input.delimiter = Some(only);
                            continue;
                        }
                        _ => "'delimiter': expected one ASCII character".to_owned(),
                    }
                }
                ("delimiter", _) => "'delimiter': expected one ASCII character".to_owned(),
                ("types", Value::Str(word)) if matches!(word.as_str(), "text" | "infer") => {
                    input.infer_types = word == "infer";
                    continue;
                }
                ("types", _) => "'types': expected text or infer".to_owned(),
                (key, _) => format!("unknown key 'input.csv.{key}'"),
            };
            issues.push(
                Issue::new("key_invalid", entry.at, problem)
                    .hint("write {delimiter: ';'}, or {types: infer}"),
            );
        }
        self.issues.append(&mut issues);
    }

    fn image_root(&mut self) -> Option<PathBuf> {
        let at = self.node("image_root")?.at;
        let written = self.keys.text("image_root");
        if written.is_empty() {
            return None;
        }
        // What the command line names starts at the working directory, not beside the recipe.
        let found = if at.source == 0 {
            locate(&written, &self.search)
        } else {
            locate(&written, std::slice::from_ref(&self.options.cwd))
        };
        let found = found.filter(|path| path.is_dir());
        if found.is_none() {
            self.issues.push(Issue::new(
                "key_invalid",
                at,
                format!("'image_root': no such directory: {written}"),
            ));
        }
        found
    }

    fn custom_operators(&mut self) -> Vec<PathBuf> {
        let Some(node) = self.node("custom_operator_paths").cloned() else {
            return Vec::new();
        };
        // What the command line names starts at the working directory, not beside the recipe.
        let here = [self.options.cwd.clone()];
        let search: &[PathBuf] = if node.at.source == 0 {
            &self.search
        } else {
            &here
        };
        custom_operators(&node, |path| locate(path, search), &mut self.issues)
    }

    fn inputs(&mut self, reading: Reading) -> (Inputs, Vec<Dataset>, Vec<Share>) {
        let suffixes = self
            .keys
            .texts("suffixes")
            .into_iter()
            .map(|suffix| {
                let suffix = suffix.to_lowercase();
                if suffix.starts_with('.') {
                    suffix
                } else {
                    format!(".{suffix}")
                }
            })
            .collect();
        let wanted = reading.spec.columns.clone();
        let finder = Finder {
            search: &self.search,
            suffixes,
            reading: Arc::new(reading),
            hub: hub::cache(&self.options.env),
        };
        let mut listing = Listing::default();
        let inputs = match &self.options.input {
            Some(Inputs::Stdin) => Inputs::Stdin,
            Some(Inputs::Given(rows)) => Inputs::Given(rows.clone()),
            Some(Inputs::Files(given)) => {
                // The command line means the working directory, never the recipe's.
                let here = [self.options.cwd.clone()];
                let finder = Finder {
                    search: &here,
                    suffixes: finder.suffixes,
                    reading: finder.reading,
                    hub: finder.hub,
                };
                for path in given {
                    let before = listing.files.len();
                    finder.find_path(path, &mut listing);
                    listing.close(path, before, &here);
                }
                Inputs::Files(listing.files)
            }
            None => {
                let (path, dataset) = (self.node("dataset_path"), self.node("dataset"));
                if finder.written(path, dataset, &mut listing) {
                    Inputs::Stdin
                } else {
                    Inputs::Files(listing.files)
                }
            }
        };
        let Listing {
            mut issues,
            notes,
            mut datasets,
            shares,
            ..
        } = listing;
        if let Inputs::Files(files) = &inputs {
            check_columns(files, &mut issues);
            if let Some(columns) = &wanted {
                let at = self.keys.place("input.columns").unwrap_or_default();
                if let Some(note) = check_wanted(files, columns, at, &mut issues) {
                    note.add_to(&mut self.notes);
                }
            }
        }
        self.issues.append(&mut issues);
        for note in notes {
            note.add_to(&mut self.notes);
        }
        if datasets.iter().all(|dataset| dataset.files == 1) {
            // The inputs say it themselves.
            datasets.clear();
        }
        (inputs, datasets, shares)
    }

    fn outputs(&mut self, inputs: &Inputs) -> Vec<OutputSpec> {
        let defaults = Defaults {
            paths: self.keys.word("paths"),
            validate: self.keys.choice("validate"),
            seed: self.keys.seed(),
            cwd: &self.options.cwd,
            search: &self.search,
        };
        let mut issues = Vec::new();
        let mut specs = Vec::new();
        let mut listed = 0;
        if let Some(Value::List(items)) = self.node("outputs").map(|node| &node.value) {
            listed = items.len();
            for item in items {
                if let Value::Map(entries) = &item.value {
                    let at = entries
                        .iter()
                        .find(|e| e.key == "path")
                        .map_or(item.at, |e| e.node.at);
                    if let Some(spec) = defaults.read(item.at, entries, &mut issues) {
                        specs.push((at, spec));
                    }
                }
            }
        }
        let shard_size = self
            .node("export_shard_size")
            .and_then(bytes)
            .filter(|&n| n > 0);
        let export_type = self.node("export_type");
        let main = if let Some(target) = &self.options.output {
            let at = Pos::default();
            Some(match target {
                Target::Stdout | Target::Caller => (at, target.clone(), OutputFormat::ROWS),
                Target::Stream(path) | Target::File(path) => {
                    let format =
                        check_export(at, &self.options.cwd, path, export_type, &mut issues);
                    (at, defaults.target_at(path), format)
                }
            })
        } else {
            let written = self.node("export_path").map(|node| node.at);
            let path = (written.is_some() || listed == 0)
                .then(|| self.keys.text("export_path"))
                .filter(|path| !path.is_empty());
            path.map(|path| {
                let at = written.unwrap_or_default();
                let format = check_export(
                    at,
                    &self.options.cwd,
                    Path::new(&path),
                    export_type,
                    &mut issues,
                );
                (at, defaults.target(&path), format)
            })
        };
        if let Some((at, target, format)) = main {
            let line = if at.source == 0 { at.line } else { 0 };
            let spec = OutputSpec {
                shard_size,
                ..defaults.plain(format, target, line)
            };
            specs.insert(0, (at, spec));
        }
        check_targets(&specs, inputs, &mut issues);
        self.issues.append(&mut issues);
        specs.into_iter().map(|(_, spec)| spec).collect()
    }

    fn steps(&mut self, recipe: &Recipe) -> Vec<Step> {
        let listed = matches!(
            self.node("outputs").map(|node| &node.value),
            Some(Value::List(items)) if !items.is_empty()
        );
        let empty = |node: &Node| matches!(&node.value, Value::List(items) if items.is_empty());
        let Some(node) = self.node("process").filter(|node| !empty(node)).cloned() else {
            if !listed {
                let at = self.keys.place("process").unwrap_or_default();
                self.issues.push(
                    Issue::new(
                        "recipe_empty",
                        at,
                        "process is empty: there is nothing to do",
                    )
                    .hint("list operators under `process`, or use `djr subset` or `djr convert`"),
                );
            }
            return Vec::new();
        };
        let around = Surroundings {
            without_references: self.options.without_references,
            ..surroundings(recipe, self.options.peers.clone())
        };
        process::steps(&node, &around, &mut self.issues, &mut self.notes)
    }
}

/// What the recipe gives to every operator.
fn surroundings<S>(recipe: &Recipe<S>, asked: Option<Rc<dyn Peers>>) -> Surroundings {
    Surroundings {
        base: BaseParams {
            text_key: recipe
                .text_keys
                .first()
                .map_or("text", String::as_str)
                .into(),
            image_key: recipe.image_key.as_str().into(),
            draw: recipe.seed,
            ..BaseParams::default()
        },
        search: recipe.search.clone(),
        cache: recipe.cache.clone(),
        nltk_data: recipe.nltk_data.clone(),
        models: recipe.models,
        servers: EndpointSettings {
            compat_requests: recipe.compat_requests,
            ..recipe.servers.clone()
        },
        hub: Hub {
            external: recipe.models_home.clone(),
            cache: recipe.hub_cache.clone(),
        },
        special_tokens: SpecialTokens {
            image: recipe.image_special_token.clone(),
            eoc: recipe.eoc_special_token.clone(),
            ..SpecialTokens::default()
        },
        peers: PeerSurroundings {
            keys: recipe.peers.clone(),
            media: [
                ("video_key", recipe.video_key.clone()),
                ("audio_key", recipe.audio_key.clone()),
            ],
            tokens: [
                ("image", recipe.image_special_token.clone()),
                ("eoc", recipe.eoc_special_token.clone()),
            ],
        },
        asked,
        recipe: recipe.name.clone(),
        without_references: false,
        max_memory: recipe.max_memory,
    }
}

/// Data-Juicer's cache directory.
fn cache(env: &super::Lookup) -> Option<PathBuf> {
    env("DATA_JUICER_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| env("HOME").map(|home| Path::new(&home).join(".cache").join("data_juicer")))
}

/// The steps of a recipe that is data, with parameters set anew.
///
/// # Errors
/// All problems at once.
pub(super) fn built(
    recipe: &RecipeSpec,
    sets: &[(String, String)],
    peers: Option<Rc<dyn Peers>>,
) -> Result<Vec<Step>, Problems> {
    let steps = recipe.steps.iter().map(|step| {
        Node::from_json(&serde_json::Value::Object(serde_json::Map::from_iter([(
            step.name.clone(),
            step.params.clone().into(),
        )])))
    });
    let mut process = Node::new(Pos::default(), Value::List(steps.collect()));
    let (mut issues, mut notes) = (Vec::new(), Vec::new());
    for (i, (key, text)) in sets.iter().enumerate() {
        let parsed = yaml::parse(text, i + 1);
        issues.extend(parsed.issues);
        let Some(mut value) = parsed.root else {
            continue;
        };
        value.at.source = i + 1;
        if let Err(issue) = set_parameter(&mut process, key, value) {
            issues.push(*issue);
        }
    }
    let around = surroundings(recipe, peers);
    let steps = process::steps(&process, &around, &mut issues, &mut notes);
    let outputs: Vec<_> = recipe
        .outputs
        .iter()
        .map(|spec| (Pos::default(), spec.clone()))
        .collect();
    check_targets(&outputs, &recipe.inputs, &mut issues);
    if issues.is_empty() {
        Ok(steps)
    } else {
        Err(problems(issues, &recipe.name, "", sets))
    }
}

fn unknown_key(name: &str, at: Pos) -> Issue {
    let issue = Issue::new("key_unknown", at, format!("unknown key '{name}'")).named(name);
    if op::find(name).is_some() || super::peer_ops::find(name).is_some() {
        return issue.hint("it is an operator: list it under `process`, with `- ` before it");
    }
    if output_keys().iter().any(|(key, _)| key.name == name) {
        return issue.hint("it belongs to an item of `outputs`");
    }
    issue.hint(
        did_you_mean(name, KEYS.iter().map(|key| key.name))
            .unwrap_or_else(|| "`djr schema` lists all keys".into()),
    )
}

/// A value in a note: short, on one line.
fn shown(node: &Node) -> String {
    let text = match &node.plain {
        Some(text) => text.to_string(),
        None => match &node.value {
            Value::Str(text) => text.clone(),
            _ => node.to_json().to_string(),
        },
    };
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Replaces `${NAME}`; `$${NAME}` stands for the text itself. Also gives the names not found.
fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> (String, Vec<String>) {
    let mut out = String::with_capacity(text.len());
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        let name = from
            .get(2..)
            .and_then(|inner| inner.split_once('}'))
            .map(|(name, _)| name)
            .filter(|name| is_variable(name));
        let Some(name) = name else {
            out.push_str(before);
            out.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        };
        let whole = name.len() + 3;
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str(from.get(..whole).unwrap_or_default());
        } else {
            out.push_str(before);
            match env(name) {
                Some(value) => out.push_str(&value),
                None => missing.push(name.to_owned()),
            }
        }
        rest = from.get(whole..).unwrap_or_default();
    }
    out.push_str(rest);
    (out, missing)
}

fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Applies one `--set`: a global key, a path such as `outputs.0.sample`, or `OP.PARAM` for all
/// steps of that operator.
fn set(root: &mut Node, key: &str, value: Node) -> Result<(), Box<Issue>> {
    let at = value.at;
    let parts: Vec<&str> = key.split('.').collect();
    let first = parts.first().copied().unwrap_or_default();
    if keys::find(key).is_some() {
        return put(root, &[key], value);
    }
    if keys::find(first).is_some() || keys::is_group(first) {
        return put(root, &parts, value);
    }
    let Value::Map(entries) = &mut root.value else {
        return Ok(());
    };
    match entries.iter_mut().find(|e| e.key == "process") {
        Some(process) => set_parameter(&mut process.node, key, value),
        None => set_parameter(&mut Node::new(at, Value::Null), key, value),
    }
}

/// Sets `OP.PARAM` in all steps of that operator.
fn set_parameter(process: &mut Node, key: &str, value: Node) -> Result<(), Box<Issue>> {
    let at = value.at;
    let parts: Vec<&str> = key.split('.').collect();
    let first = parts.first().copied().unwrap_or_default();
    let mut names = Vec::new();
    let mut found = false;
    if let Value::List(items) = &mut process.value {
        for item in items {
            let name = match &item.value {
                Value::Str(name) => name.clone(),
                Value::Map(step) => step.first().map(|e| e.key.clone()).unwrap_or_default(),
                _ => continue,
            };
            if name == first {
                found = true;
                put(item, &parts, value.clone())?;
            }
            names.push(name);
        }
    }
    if found {
        return Ok(());
    }
    if op::find(first).is_some() {
        return Err(Box::new(
            Issue::new(
                "operator_unknown",
                at,
                format!("no step of the recipe is '{first}'"),
            )
            .named(first)
            .hint("add it to `process` first"),
        ));
    }
    if parts.len() == 1 {
        return Err(Box::new(unknown_key(first, at)));
    }
    let all = names.iter().map(String::as_str);
    let near = nearest(first, all.chain(KEYS.iter().map(|key| key.name)));
    let hint = near.map_or_else(
        || {
            let steps = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            format!(
                "OP.PARAMETER sets a parameter of a step (the recipe has {steps}); `djr schema` lists all keys"
            )
        },
        |near| format!("did you mean '{near}'?"),
    );
    Err(Box::new(
        Issue::new(
            "key_unknown",
            at,
            format!("unknown key or operator '{first}'"),
        )
        .named(first)
        .hint(hint),
    ))
}

/// Puts `value` at a path below `node`; mappings grow, lists do not.
fn put(node: &mut Node, path: &[&str], value: Node) -> Result<(), Box<Issue>> {
    let at = value.at;
    let Some((&first, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    // A step written as a bare name, or an operator without parameters yet.
    match &node.value {
        Value::Str(name) if name == first => {
            let entry = Entry {
                key: name.clone(),
                at: node.at,
                node: Node::new(node.at, Value::Null),
            };
            node.value = Value::Map(vec![entry]);
        }
        Value::Null => node.value = Value::Map(Vec::new()),
        _ => {}
    }
    match &mut node.value {
        Value::Map(entries) => {
            if let Some(entry) = entries.iter_mut().find(|e| e.key == first) {
                if rest.is_empty() {
                    entry.at = at;
                }
                return put(&mut entry.node, rest, value);
            }
            let mut fresh = Node::new(at, Value::Null);
            put(&mut fresh, rest, value)?;
            entries.push(Entry {
                key: first.to_owned(),
                at,
                node: fresh,
            });
            Ok(())
        }
        Value::List(items) => {
            let length = items.len();
            match first.parse::<usize>().ok().and_then(|i| items.get_mut(i)) {
                Some(item) => put(item, rest, value),
                None => Err(Box::new(Issue::new(
                    "key_invalid",
                    at,
                    format!("'{first}' is no position in a list of {length}; the first is 0"),
                ))),
            }
        }
        _ => Err(Box::new(Issue::new(
            "key_invalid",
            at,
            format!("'{first}' cannot be set inside {}", node.describe()),
        ))),
    }
}
