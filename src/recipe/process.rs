//! The `process` list: operators found, their parameters checked, the operators built.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value as Json};

use super::fused::unfold;
use super::inputs::locate;
use super::keys::{BASE_KEYS, BaseKey};
use super::load::MAX_ISSUES;
use super::model::Step;
use super::nearest::{did_you_mean, score};
use super::peer_ops;
use super::peers::{PeerSurroundings, WrittenStep};
use super::schema::ParamSchema;
use super::yaml::{Entry, Issue, Node, Pos, Value};
use crate::note::{Code, Note};
use crate::op::{
    self, Asset, BaseParams, BuildContext, Built, DataBound, DataLimit, EndpointSettings, Family,
    IndexHeader, Keep, KeyMaker, Merge, ModelSettings, OpDef, OpKind, OpSpec, Peers, SpecialTokens,
    Survivor,
};
use crate::transformers::Hub;

/// What the recipe gives to every operator.
pub struct Surroundings {
    /// Merged base parameters before an operator's own.
    pub base: BaseParams,
    /// Where relative paths are looked for.
    pub search: Vec<PathBuf>,
    /// Data-Juicer's cache directory.
    pub cache: Option<PathBuf>,
    /// The directories of `NLTK_DATA`.
    pub nltk_data: Vec<PathBuf>,
    /// How models are run.
    pub models: ModelSettings,
    /// What is said of servers.
    pub servers: EndpointSettings,
    /// Where models are.
    pub hub: Hub,
    /// What stands for other things in texts.
    pub special_tokens: SpecialTokens,
    /// What operators that run in Data-Juicer are told.
    pub peers: PeerSurroundings,
    /// Who knows those operators.
    pub asked: Option<Rc<dyn Peers>>,
    /// What the recipe is called.
    pub recipe: String,
    /// Whether `reference` of deduplicators is left out.
    pub without_references: bool,
    /// `max_memory` in bytes, if it is given.
    pub max_memory: Option<u64>,
}

/// Builds all steps it can; the others leave issues.
pub fn steps(
    process: &Node,
    around: &Surroundings,
    issues: &mut Vec<Issue>,
    notes: &mut Vec<Note>,
) -> Vec<Step> {
    let Value::List(items) = &process.value else {
        issues.push(
            Issue::new(
                "step_invalid",
                process.at,
                format!(
                    "process: expected a list of operators, found {}",
                    process.describe()
                ),
            )
            .hint("start each operator with `- `"),
        );
        return Vec::new();
    };
    for name in op::ambiguous() {
        issues.push(
            Issue::new(
                "step_invalid",
                process.at,
                format!("there are two operators called '{name}'"),
            )
            .hint("build djr with only one of the crates that bring them"),
        );
    }
    let mut steps = Vec::with_capacity(items.len());
    let mut named: Vec<String> = Vec::with_capacity(items.len());
    let mut said = Said::default();
    let mut index = 0;
    for item in items {
        if issues.len() > MAX_ISSUES {
            break;
        }
        let Some((name, at, params)) = operator_and_params(item, issues) else {
            continue;
        };
        let operator = name;
        let sound = issues.len();
        let params = said.complete(index, name, params, notes);
        for (name, at, params) in unfold((name, at, &params), issues, notes) {
            let before = named.iter().filter(|other| *other == name).count() as u64;
            named.push(name.to_owned());
            let mut base = around.base.clone();
            base.draw = draw_seed(base.draw, name, before);
            let written = WrittenStep {
                index,
                name,
                at,
                entries: params,
            };
            steps.extend(step(written, base, around, issues, notes));
            index += 1;
        }
        said.forget(operator, issues.get(sound..).unwrap_or_default());
    }
    steps
}

/// Parameters that a step does not take over from the one of its name before it: Data-Juicer gives
/// the first two to every step before it looks at the others, and does not know the others.
const NOT_TAKEN_OVER: [&str; 6] = [
    "text_key",
    "image_key",
    "keep",
    "merge",
    "report_clusters",
    "reference",
];

/// What the steps so far said of each operator, with the number of the step that said it.
#[derive(Default)]
struct Said(HashMap<String, Vec<(Entry, usize)>>);

impl Said {
    /// The parameters of a step: its own, and for those that it leaves out those of the operator
    /// of its name before it. So does Data-Juicer's loader, whether it is meant or not.
    fn complete(
        &mut self,
        index: usize,
        name: &str,
        own: &[Entry],
        notes: &mut Vec<Note>,
    ) -> Vec<Entry> {
        let number = index + 1;
        if peer_ops::find(name).is_none() {
            // Data-Juicer's rule is not for operators that it does not have.
            return own.to_vec();
        }
        let mut all: Vec<(Entry, usize)> = own.iter().map(|e| (e.clone(), number)).collect();
        for (entry, from) in self.0.get(name).into_iter().flatten() {
            let left_out = own.iter().all(|e| e.key != entry.key);
            if left_out && !NOT_TAKEN_OVER.contains(&entry.key.as_str()) {
                if !is_default(name, entry) {
                    let key = &entry.key;
                    let text = format!(
                        "step {number} ({name}) leaves `{key}` out and takes it from step {from}, as in Data-Juicer"
                    );
                    notes.push(Note::new(Code::ParamTakenOver, text).at(index));
                }
                all.push((entry.clone(), *from));
            }
        }
        let params = all.iter().map(|(entry, _)| entry.clone()).collect();
        self.0.insert(name.to_owned(), all);
        params
    }

    /// Leaves what is wrong with a parameter to the step that says it.
    fn forget(&mut self, name: &str, wrong: &[Issue]) {
        if let Some(said) = self.0.get_mut(name) {
            said.retain(|(entry, _)| {
                let at = |issue: &Issue| issue.at == entry.at || issue.at == entry.node.at;
                !wrong.iter().any(at)
            });
        }
    }
}

/// Whether a parameter says what it would be if nothing was said.
fn is_default(name: &str, entry: &Entry) -> bool {
    let value = entry.node.to_json();
    let own = op::find(name).map(|def| (def.defaults)());
    match own.as_ref().and_then(|own| own.get(&entry.key)) {
        Some(default) => *default == value,
        None => match entry.key.as_str() {
            "min_closed_interval" | "max_closed_interval" => value == true,
            "reversed_range" => value == false,
            // Of no meaning here.
            key => BASE_KEYS.iter().any(|base| base.name == key && !base.used),
        },
    }
}

/// What the random draws of a step start from, so that steps draw apart and other operators that
/// come or go change nothing.
fn draw_seed(seed: u64, name: &str, before: u64) -> u64 {
    let mut bytes = before.to_le_bytes().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, seed)
}

/// An operator of the list: its name, where it is written, and its parameters.
pub type Found<'n> = (&'n str, Pos, &'n [Entry]);

/// Takes an item of the list apart.
pub fn operator_and_params<'n>(item: &'n Node, issues: &mut Vec<Issue>) -> Option<Found<'n>> {
    let (name, at, node) = match &item.value {
        Value::Str(name) => return Some((name, item.at, &[])),
        Value::Map(entries) => match entries.as_slice() {
            [only] => (only.key.as_str(), only.at, &only.node),
            [] => {
                issues.push(Issue::new(
                    "step_invalid",
                    item.at,
                    "an empty item in process",
                ));
                return None;
            }
            [first, second, ..] => {
                let is_param = op::find(&first.key)
                    .is_some_and(|def| ParamSchema::of(def).property(&second.key).is_some());
                issues.push(
                    Issue::new(
                        "step_invalid",
                        second.at,
                        format!(
                            "an item of process is one operator, but '{}' stands beside '{}'",
                            second.key, first.key
                        ),
                    )
                    .hint(if is_param {
                        format!(
                            "indent the parameters of {} further than its name",
                            first.key
                        )
                    } else {
                        "start each operator with its own `- `".into()
                    }),
                );
                return None;
            }
        },
        _ => {
            issues.push(
                Issue::new(
                    "step_invalid",
                    item.at,
                    format!("process: expected an operator, found {}", item.describe()),
                )
                .hint("write `- operator_name: {param: value}`"),
            );
            return None;
        }
    };
    match &node.value {
        Value::Null => Some((name, at, &[])),
        Value::Map(params) => Some((name, at, params)),
        _ => {
            issues.push(Issue::new(
                "step_invalid",
                node.at,
                format!(
                    "{name}: expected a mapping of parameters, found {}",
                    node.describe()
                ),
            ));
            None
        }
    }
}

/// What to say of an operator that djr does not have: the nearest name, or that Data-Juicer has it.
pub fn unknown_operator(name: &str, at: Pos) -> Issue {
    if let Some(peer) = peer_ops::find(name) {
        return Issue::new(
            "operator_unknown",
            at,
            format!(
                "{name} is an operator of Data-Juicer ({}) that djr does not have",
                peer.facts()
            ),
        )
        .named(name)
        .hint("it runs in Data-Juicer itself, in a Python that has it: docs/DATA_JUICER.md");
    }
    let issue =
        Issue::new("operator_unknown", at, format!("unknown operator '{name}'")).named(name);
    let ours = score(name, op::all().into_iter().map(|def| def.name));
    let theirs = score(name, peer_ops::PEER_OPS.iter().map(|op| op.name));
    match (ours, theirs) {
        (Some((likeness, ours)), theirs) if theirs.is_none_or(|(other, _)| likeness >= other) => {
            issue.hint(format!("did you mean '{ours}'?"))
        }
        (_, Some((_, theirs))) => issue.hint(format!(
            "did you mean '{theirs}'? Data-Juicer has it, djr does not"
        )),
        _ => issue.hint("`djr ops` lists the operators"),
    }
}

/// Builds a step, or says what is wrong with it.
fn step(
    written: WrittenStep<'_>,
    mut base: BaseParams,
    around: &Surroundings,
    issues: &mut Vec<Issue>,
    notes: &mut Vec<Note>,
) -> Option<Step> {
    let WrittenStep {
        index,
        name,
        at,
        entries,
    } = written;
    let Some(def) = op::find(name) else {
        return written.build(base, around, issues);
    };
    let before = issues.len();
    let schema = ParamSchema::of(def);
    let mut given = Map::new();
    for entry in entries {
        if let Some(property) = schema.property(&entry.key) {
            match data_limit(def, entry) {
                Some(Ok(limit)) => {
                    base.from_data.push(DataBound {
                        param: entry.key.clone(),
                        limit,
                    });
                    continue;
                }
                Some(Err(issue)) => {
                    issues.push(issue);
                    continue;
                }
                None => {}
            }
            match read_param(def, &schema, property, entry) {
                Ok(value) => {
                    given.insert(entry.key.clone(), value);
                }
                Err(issue) => issues.push(issue),
            }
        } else if let Some(key) = base_key(def, &entry.key) {
            match key.kind.fit(&entry.node) {
                Ok(node) => {
                    if key.family == Some(Family::Deduplicator) {
                        if let Err(issue) = choose(&mut base, key.name, def, (&node, around)) {
                            issues.push(issue);
                        }
                    } else if key.name == "keep" {
                        match keep(def, &node) {
                            Ok(keep) => base.keep = keep,
                            Err(issue) => issues.push(issue),
                        }
                    } else if key.used {
                        set_base(&mut base, key.name, &node.value);
                    } else if !entry.node.is_null() {
                        let text = format!("ignored: parameter `{}` of operators", key.name);
                        Note::new(Code::KeyIgnored, text).add_to(notes);
                    }
                }
                Err(expected) => {
                    issues.push(Issue::new(
                        "step_invalid",
                        entry.node.at,
                        format!("'{}' of {name}: {expected}", entry.key),
                    ));
                }
            }
        } else {
            issues.push(unknown_param(def, &schema, entry));
        }
    }
    if issues.len() > before {
        return None;
    }

    let mut params = match (def.defaults)() {
        Json::Object(defaults) => defaults,
        _ => Map::new(),
    };
    params.extend(given);
    let mut context = BuildContext::new(base.clone(), around.search.clone(), around.cache.clone());
    context.nltk_data.clone_from(&around.nltk_data);
    context.models = around.models;
    context.max_memory = around.max_memory;
    context.servers.clone_from(&around.servers);
    context.hub.clone_from(&around.hub);
    context.special_tokens.clone_from(&around.special_tokens);
    match def.build(params.clone(), &context) {
        Ok(Built { operator, mut spec }) => {
            if let Err(wrong) = add_references(&mut spec, &base, (def, &params), index, around) {
                let entry = entries.iter().find(|entry| entry.key == "reference");
                issues.push(Issue {
                    at: entry.map_or(at, |entry| entry.node.at),
                    ..wrong
                });
                return None;
            }
            if let Some(wrong) = unmeasured(&spec, &base, entries, at)
                .or_else(|| unchosen(&spec, &base, entries, at))
            {
                issues.push(wrong);
                return None;
            }
            Some(Step {
                index,
                name: def.name,
                family: def.family,
                line: if at.source == 0 { at.line } else { 0 },
                params,
                base,
                spec,
                operator,
            })
        }
        Err(errors) => {
            let taken_over = taken_over(name, at, entries);
            for error in errors {
                let entry = error
                    .param
                    .as_ref()
                    .and_then(|param| entries.iter().find(|e| e.key == *param));
                issues.push(
                    Issue::new(
                        "step_invalid",
                        entry.map_or(at, |e| e.node.at),
                        format!("{name}: {}", error.message),
                    )
                    .maybe_hint(taken_over.clone().or(error.hint)),
                );
            }
            None
        }
    }
}

/// What to do where a step is wrong that has parameters of an earlier one.
fn taken_over(name: &str, at: Pos, entries: &[Entry]) -> Option<String> {
    let foreign = entries.iter().filter(|entry| entry.at < at);
    let keys: Vec<String> = foreign
        .filter(|entry| !is_default(name, entry))
        .map(|entry| format!("`{}`", entry.key))
        .collect();
    (!keys.is_empty()).then(|| {
        format!(
            "{} is what the {name} before it says, as in Data-Juicer: write it in this step, too (`.inf` is no bound)",
            keys.join(", ")
        )
    })
}

/// A bound that is written as a place in the distribution of what the filter measures.
fn data_limit(def: &OpDef, entry: &Entry) -> Option<Result<DataLimit, Issue>> {
    let Value::Str(text) = &entry.node.value else {
        return None;
    };
    def.bound(&entry.key)?;
    Some(DataLimit::parse(text)?.map_err(|problem| {
        Issue::new("step_invalid", 
            entry.node.at,
            format!("'{}' of {}: {problem}", entry.key, def.name),
        )
        .hint("a bound from the data is a percentile (p5, p99.5) or a distance from the mean (3sigma), `of all` behind it if several are to cut at once")
    }))
}

/// Reads `keep`.
fn keep(def: &OpDef, node: &Node) -> Result<Option<Keep>, Issue> {
    let Value::Str(text) = &node.value else {
        return Ok(None);
    };
    Keep::parse(text).map(Some).map_err(|problem| {
        Issue::new(
            "step_invalid",
            node.at,
            format!("'keep' of {}: {problem}", def.name),
        )
        .hint("write `best 1000`, `worst 5%`, `best 2000..202000` or, with several stats, `best 10 by STAT`")
    })
}

/// Reads what is said of the rows that a deduplicator finds the same.
fn choose(
    base: &mut BaseParams,
    key: &str,
    def: &OpDef,
    (node, around): (&Node, &Surroundings),
) -> Result<(), Issue> {
    let wrong = |what: String, hint: &str| {
        Issue::new(
            "step_invalid",
            node.at,
            format!("'{key}' of {}: {what}", def.name),
        )
        .hint(hint)
    };
    match (key, &node.value) {
        ("keep", _) => {
            base.choice.survivor = Survivor::parse(&node.to_json())
                .map_err(|what| wrong(what, "write first, longest, {max: NAME} or {min: NAME}"))?;
        }
        ("merge", Value::Map(entries)) => {
            for entry in entries {
                let how = match &entry.node.value {
                    Value::Str(word) => Merge::from_word(word),
                    _ => None,
                };
                if entry.key.contains('.') {
                    let what = format!("'{}' is within a field", entry.key);
                    return Err(wrong(what, "top-level fields are merged, as a whole"));
                }
                let what = || {
                    let found = entry.node.describe();
                    format!("'{}' is to be merged by {found}", entry.key)
                };
                let how = how.ok_or_else(|| wrong(what(), "write list, sum or first"))?;
                base.choice.merge.push((entry.key.clone(), how));
            }
        }
        ("reference", Value::Str(_) | Value::List(_)) if !around.without_references => {
            let files = match &node.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for file in files {
                let Value::Str(written) = &file.value else {
                    continue;
                };
                let found = locate(written, &around.search).filter(|path| path.is_file());
                let missing = || {
                    let hint =
                        "name a file of rows, relative to the recipe or the working directory";
                    wrong(format!("no file '{written}'"), hint)
                };
                base.choice.reference.push(found.ok_or_else(missing)?);
            }
        }
        ("report_clusters", Value::Bool(on)) => base.choice.report = *on,
        _ => {}
    }
    Ok(())
}

/// Lists the references of a deduplicator among its assets. Those that were prepared must hold keys that
/// it would make itself.
fn add_references(
    spec: &mut OpSpec,
    base: &BaseParams,
    (def, params): (&OpDef, &Map<String, Json>),
    index: usize,
    around: &Surroundings,
) -> Result<(), Issue> {
    let maker = KeyMaker::of(def, spec, params);
    for file in &base.choice.reference {
        let wrong = |error: std::io::Error| {
            let what = format!("{}: {}: {error}", def.name, file.display());
            Issue::new("step_invalid", Pos::default(), what)
        };
        if let Some(header) = IndexHeader::of(file).map_err(wrong)?
            && let Some(why) = header.unfit(&maker).map_err(wrong)?
        {
            let what = format!(
                "'reference' of {}: {} does not fit: {why}",
                def.name,
                file.display()
            );
            let sources = header.sources.iter().map(|source| shell_word(&source.path));
            let hint = format!(
                "make one that fits: djr index {} --for {} --step {} -o {}",
                sources.collect::<Vec<_>>().join(" "),
                shell_word(Path::new(&around.recipe)),
                index + 1,
                shell_word(file)
            );
            return Err(Issue::new("step_invalid", Pos::default(), what).hint(hint));
        }
        spec.assets.push(Asset::now(file).map_err(wrong)?);
    }
    Ok(())
}

/// A path as a shell takes it.
fn shell_word(path: &Path) -> String {
    let word = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if word.chars().all(is_plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What is said of duplicates where there are none, or of what rows are told apart by.
fn unchosen(spec: &OpSpec, base: &BaseParams, entries: &[Entry], at: Pos) -> Option<Issue> {
    let choice = &base.choice;
    let place = |key: &str| {
        let entry = entries.iter().find(|entry| entry.key == key);
        entry.map_or(at, |entry| entry.node.at)
    };
    if !choice.sees_all_rows() {
        return None;
    }
    if !matches!(spec.kind, OpKind::Exact | OpKind::Near) {
        // What rows have in common is common to them and the rows of references.
        let is_known = |key: &&String| spec.kind == OpKind::Census && *key == "reference";
        let written = choice.written();
        let key = written.keys().find(|key| !is_known(key))?;
        let what = format!("'{key}': {} drops no rows", spec.name);
        return Some(Issue::new("step_invalid", place(key), what).hint(format!("leave {key} out")));
    }
    let top = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
    let own = [top(base.text_key.as_str()), top(base.image_key.as_str())];
    let (field, _) = choice.merge.iter().find(|(field, _)| own.contains(field))?;
    let what = format!(
        "'merge' of {}: '{field}' is what rows are made of",
        spec.name
    );
    let issue = Issue::new("step_invalid", place("merge"), what);
    Some(issue.hint("merge other fields, or use a grouper to make one row of several"))
}

/// What `keep` asks of a filter that does not measure it.
fn unmeasured(spec: &OpSpec, base: &BaseParams, entries: &[Entry], at: Pos) -> Option<Issue> {
    let keep = base.keep.as_ref().filter(|_| spec.kind == OpKind::Filter)?;
    let stats: Vec<&str> = spec.stats.iter().map(|stat| stat.name.as_ref()).collect();
    let wrong = match (&keep.by, stats.as_slice()) {
        (_, []) => format!("{} measures nothing to rank rows by", spec.name),
        (None, [_]) => return None,
        (None, _) => format!("{} measures several stats", spec.name),
        (Some(by), known) if known.contains(&by.as_str()) => return None,
        (Some(by), _) => format!("{} measures no '{by}'", spec.name),
    };
    let entry = entries.iter().find(|entry| entry.key == "keep");
    let issue = Issue::new(
        "step_invalid",
        entry.map_or(at, |entry| entry.node.at),
        format!("'keep': {wrong}"),
    );
    Some(if stats.is_empty() {
        issue.hint("use a selector to rank by a field: `djr ops` lists them")
    } else {
        issue.hint(format!(
            "write `{keep_text} by {}`",
            stats.join("` or `by "),
            keep_text = Keep {
                by: None,
                ..keep.clone()
            }
        ))
    })
}

/// Reads one parameter and checks it alone, so that each wrong one is reported.
fn read_param(
    def: &OpDef,
    schema: &ParamSchema,
    property: &Json,
    entry: &Entry,
) -> Result<Json, Issue> {
    let (name, node) = (&entry.key, &entry.node);
    let wrong = |what: String| {
        Issue::new(
            "step_invalid",
            node.at,
            format!("'{name}' of {}: {what}", def.name),
        )
    };
    let nan = matches!(node.value, Value::Float(f) if f.is_nan());
    if nan && (def.bound(name).is_none() || !schema.accepts(property, &0.5.into())) {
        return Err(wrong(
            "NaN is not a value a row could be compared with".into(),
        ));
    }
    let value = schema.read(name, property, node);
    let Err(message) = (def.check)(Map::from_iter([(name.clone(), value.clone())])) else {
        return Ok(value);
    };
    if schema.accepts(property, &value) {
        // The type is right, so the operator's own message says more.
        return Err(wrong(message));
    }
    let expected = schema.words(property, false);
    let hint = match &node.value {
        Value::Int(_) | Value::Float(_) | Value::Bool(_)
            if schema.accepts(property, &Json::String("1".into())) =>
        {
            node.plain
                .as_deref()
                .map(|text| format!("put it in quotes: '{text}'"))
        }
        Value::Str(text) => {
            // A comma behind it makes a text of a value, too.
            let inner = text.trim_matches([' ', ',']);
            let bare = Node::from_plain(node.at, inner);
            (!matches!(bare.value, Value::Str(_)) && schema.accepts(property, &bare.to_json()))
                .then(|| {
                    let what = if inner == text {
                        "quotes"
                    } else {
                        "what surrounds it"
                    };
                    format!("write it without {what}: {inner}")
                })
                .or_else(|| did_you_mean(text, choices(&expected)))
                .or_else(|| {
                    def.bound(name)
                        .map(|_| "a bound from the data is written p5 or 3sigma".to_owned())
                })
        }
        Value::Null => Some(match property.get("default") {
            Some(usual) if !usual.is_null() => format!("leave it out for its default, {usual}"),
            _ => "leave it out, or give it a value".to_owned(),
        }),
        _ => None,
    };
    Err(wrong(format!("expected {expected}, found {}", node.describe())).maybe_hint(hint))
}

/// The quoted words of `one of 'any', 'all'`.
fn choices(expected: &str) -> impl Iterator<Item = &str> {
    expected.split('\'').skip(1).step_by(2)
}

fn base_key(def: &OpDef, name: &str) -> Option<&'static BaseKey> {
    BASE_KEYS
        .iter()
        .find(|key| key.name == name && key.family.is_none_or(|family| family == def.family))
}

pub fn set_base(base: &mut BaseParams, name: &str, value: &Value) {
    match (name, value) {
        ("text_key", Value::Str(key)) => base.text_key = key.as_str().into(),
        ("image_key", Value::Str(key)) => base.image_key = key.as_str().into(),
        ("min_closed_interval", Value::Bool(on)) => base.min_closed_interval = *on,
        ("max_closed_interval", Value::Bool(on)) => base.max_closed_interval = *on,
        ("reversed_range", Value::Bool(on)) => base.reversed_range = *on,
        _ => {}
    }
}

fn unknown_param(def: &OpDef, schema: &ParamSchema, entry: &Entry) -> Issue {
    let own: Vec<&str> = schema.properties().map(|(name, _)| name).collect();
    let common = BASE_KEYS
        .iter()
        .filter(|key| base_key(def, key.name).is_some())
        .map(|key| key.name);
    let near = did_you_mean(&entry.key, own.iter().copied().chain(common));
    let list = if own.is_empty() {
        format!("{} has no parameters of its own", def.name)
    } else {
        format!("{} has {}", def.name, own.join(", "))
    };
    Issue::new(
        "parameter_unknown",
        entry.at,
        format!("unknown parameter '{}' of {}", entry.key, def.name),
    )
    .named(&entry.key)
    .hint(match near {
        Some(near) => format!("{near} {list}"),
        None => list,
    })
}
