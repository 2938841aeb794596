//! What every operator promises, whatever it does, as checks that a test of any crate can run on
//! its own operators: through the loader and the whole executor, over sound rows and over rows
//! whose fields are missing, null or of another type.
//!
//! ```no_run
//! let wrong = djr::contract::Contract::of("my_filter").unwrap().check();
//! assert!(wrong.is_empty(), "{}", wrong.join("\n"));
//! ```

mod fields;
mod rows;
mod runs;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::op::{self, Family, OpDef, Operator, Service, Setting, Stat, StatType, Written};
use crate::recipe::{self, Inputs, LoadOptions, ParamSchema, Recipe, RecipeSource};
use crate::sample::StatValue;
use crate::service::{Host, run_alone};

/// An operator, and what is needed to try it.
#[derive(Clone)]
pub struct Contract {
    def: &'static OpDef,
    needed: Map<String, Value>,
    telling: Map<String, Value>,
    also: Vec<Map<String, Value>>,
    rows: Vec<Value>,
    root: PathBuf,
    cache: Option<PathBuf>,
}

/// A promise: what is wrong if it is not kept.
pub type Promise = fn(&Contract) -> Result<(), String>;

/// All promises, with their names.
pub const PROMISES: [(&str, Promise); 9] = [
    ("says what it is", Contract::says_what_it_is),
    (
        "builds or says what to give",
        Contract::builds_or_says_what_to_give,
    ),
    (
        "parameters survive a round trip",
        Contract::parameters_survive_a_round_trip,
    ),
    (
        "unknown parameters are refused",
        Contract::unknown_parameters_are_refused,
    ),
    (
        "batches and threads change nothing, and nothing panics",
        Contract::batches_and_threads_change_nothing,
    ),
    ("unknown fields survive", Contract::unknown_fields_survive),
    (
        "measures what it declares",
        Contract::measures_what_it_declares,
    ),
    (
        "every bound may come from the data",
        Contract::every_bound_may_come_from_the_data,
    ),
    (
        "touches only the fields that it declares",
        Contract::touches_only_what_it_declares,
    ),
];

impl Contract {
    /// The operator `name`, with its default parameters, over the rows of its page's example.
    ///
    /// # Errors
    /// If no operator has that name.
    pub fn of(name: &str) -> Result<Self, String> {
        let def = op::find(name).ok_or_else(|| {
            format!("no operator is called '{name}': is the crate that brings it linked?")
        })?;
        Ok(Self {
            def,
            needed: Map::new(),
            telling: Map::new(),
            also: Vec::new(),
            rows: rows::of_example(def),
            root: PathBuf::from("."),
            cache: None,
        })
    }

    /// Parameters that it does not build without, as a JSON object.
    #[must_use]
    pub fn needs(mut self, params: &Value) -> Self {
        self.needed = object(params);
        self.telling.extend(self.needed.clone());
        self
    }

    /// Parameters with which it does something to the rows.
    #[must_use]
    pub fn with(mut self, params: &Value) -> Self {
        self.telling.extend(object(params));
        self
    }

    /// More parameters that it must read back as they were.
    #[must_use]
    pub fn also_with(mut self, params: Map<String, Value>) -> Self {
        self.also.push(params);
        self
    }

    /// Rows that it takes.
    #[must_use]
    pub fn over(mut self, rows: Vec<Value>) -> Self {
        self.rows = rows;
        self
    }

    /// Where relative paths of parameters and images are looked for.
    #[must_use]
    pub fn below(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// Data-Juicer's cache directory.
    #[must_use]
    pub fn cached_in(mut self, cache: impl Into<PathBuf>) -> Self {
        self.cache = Some(cache.into());
        self
    }

    /// The promises that are not kept, and how.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let broken = PROMISES.iter().filter_map(|(name, promise)| {
            let problem = promise(self).err()?;
            Some(format!("{}: {name}: {problem}", self.def.name))
        });
        broken.collect()
    }

    /// A recipe of one step. The recipe's text field is `id`, so that rows without a text get as
    /// far as the operator, whose own is `text`.
    fn load(&self, step: &Value, keys: &Value) -> Result<Recipe, String> {
        let mut text = json!({
            "process": [step],
            "text_keys": "id",
            "image_root": self.root,
            "keep_stats_in_res_ds": true,
        });
        for (key, value) in object(keys) {
            text[key] = value;
        }
        let mut options = LoadOptions::new(&self.root);
        options.input = Some(Inputs::Stdin);
        let cache = self.cache.clone().map(|dir| dir.display().to_string());
        options.env =
            Box::new(move |name| cache.clone().filter(|_| name == "DATA_JUICER_CACHE_HOME"));
        let source = RecipeSource::Text {
            name: "contract".to_owned(),
            text: text.to_string(),
        };
        recipe::load(&source, &options).map_err(|problems| problems.to_string())
    }

    fn step(&self, params: &Map<String, Value>) -> Value {
        let mut params = params.clone();
        params.insert("text_key".into(), "text".into());
        json!({ self.def.name: params })
    }

    fn build(&self, params: &Map<String, Value>) -> Result<recipe::Step, String> {
        let mut recipe = self.load(&self.step(params), &json!({}))?;
        recipe.steps.pop().ok_or_else(|| "no step".to_owned())
    }

    /// Whether it asks a model or a server: what it does to rows cannot be seen without one, so it is held only
    /// to what it says of itself.
    pub(super) fn asks_a_model(&self) -> bool {
        let step = self.build(&self.telling).ok();
        matches!(
            step.and_then(|step| step.spec.service),
            Some(Service::Model(_) | Service::Endpoint(_))
        )
    }

    /// Its page has a summary and an example; what it declares names parameters that it has; no
    /// other operator has its name.
    ///
    /// # Errors
    /// If not.
    pub fn says_what_it_is(&self) -> Result<(), String> {
        if op::ambiguous().contains(&self.def.name) {
            return Err("another operator has the same name".to_owned());
        }
        let is_blank = |line: &&str| line.trim().is_empty();
        if self.def.docs.first().is_none_or(is_blank) {
            return Err("its page does not begin with what it does".to_owned());
        }
        if !self.def.docs.iter().any(|line| line.trim() == "## Example") {
            return Err("its page has no ## Example".to_owned());
        }
        let schema = ParamSchema::of(self.def);
        let has = |param: &str| schema.property(param).is_some();
        let facts = &self.def.facts;
        let bounds = facts.stats.iter().flat_map(|stat| [stat.min, stat.max]);
        let fields = facts.reads.iter().chain(facts.writes);
        let of_fields = fields.filter_map(|field| match field {
            op::Field::Param(param) | op::Field::StatOrParam(param) => Some(*param),
            _ => None,
        });
        let named = bounds
            .flatten()
            .chain(facts.decides.iter().copied())
            .chain(facts.compares.iter().copied())
            .chain(of_fields);
        for param in named {
            if !has(param) {
                return Err(format!(
                    "it declares '{param}', which is no parameter of it"
                ));
            }
        }
        if !facts.stats.is_empty() && self.def.family != Family::Filter {
            return Err("it declares stats, and only filters measure".to_owned());
        }
        Ok(())
    }

    /// It builds from its defaults, or says what is lacking.
    ///
    /// # Errors
    /// If not.
    pub fn builds_or_says_what_to_give(&self) -> Result<(), String> {
        let Err(problem) = self.build(&Map::new()) else {
            return Ok(());
        };
        if problem.contains(self.def.name) && problem.contains("hint: ") {
            self.build(&self.needed).map(|_| ())
        } else {
            Err(format!("neither builds nor says what it needs: {problem}"))
        }
    }

    /// What a recipe resolves to is read back as the same.
    ///
    /// # Errors
    /// If not.
    pub fn parameters_survive_a_round_trip(&self) -> Result<(), String> {
        for params in [&self.needed, &self.telling].into_iter().chain(&self.also) {
            let first = json!(self.build(params)?.data());
            let second = self.load(&first, &json!({}))?;
            let second = second.steps.first().map(|step| json!(step.data()));
            if second.as_ref() != Some(&first) {
                return Err(format!("{first} is read back as {second:?}"));
            }
        }
        Ok(())
    }

    /// A parameter that it does not know is refused, with its place.
    ///
    /// # Errors
    /// If not.
    pub fn unknown_parameters_are_refused(&self) -> Result<(), String> {
        let mut params = self.needed.clone();
        params.insert("no_such_parameter".to_owned(), json!(1));
        match self.build(&params) {
            Err(problem)
                if problem.contains("unknown parameter 'no_such_parameter'")
                    && problem.contains("contract:1:") =>
            {
                Ok(())
            }
            Err(problem) => Err(problem),
            Ok(_) => Err("takes it".to_owned()),
        }
    }

    /// Batches of any size, any number of threads: the same bytes; and no panic, whatever the rows.
    ///
    /// # Errors
    /// If not.
    pub fn batches_and_threads_change_nothing(&self) -> Result<(), String> {
        if self.asks_a_model() {
            return Ok(());
        }
        let step = self.step(&self.telling);
        for rows in [self.sound_rows(), self.odd_rows()?] {
            let reference = self.run(&step, &rows, 1 << 20, 1)?;
            if reference.reasons.contains(&"internal_panic") {
                return Err(reference.file("quarantine.jsonl")?);
            }
            for (batch_rows, threads) in [(1, 1), (1, 8), (7, 1), (7, 8), (1 << 20, 8)] {
                if self.run(&step, &rows, batch_rows, threads)? != reference {
                    return Err(format!(
                        "another outcome with batches of {batch_rows} and {threads} threads"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Fields that it does not know stay as they were, in their order, byte for byte.
    ///
    /// # Errors
    /// If not.
    pub fn unknown_fields_survive(&self) -> Result<(), String> {
        if self.asks_a_model() {
            return Ok(());
        }
        if self.def.family == Family::Grouper {
            // It makes other rows.
            return Ok(());
        }
        let rows = self.sound_rows();
        let left = self.run(&self.step(&self.telling), &rows, 7, 2)?;
        let written = left.file("o.jsonl")?;
        if written.is_empty() {
            return Err(format!("keeps none of {} rows", rows.len()));
        }
        for line in written.lines() {
            self.same_fields(line, &rows)?;
        }
        Ok(())
    }

    fn same_fields(&self, line: &str, rows: &[String]) -> Result<(), String> {
        let row: Map<String, Value> = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let number = row.get("id").and_then(Value::as_str);
        let number = number.and_then(|id| id.strip_prefix('r')?.parse::<usize>().ok());
        let given = number.and_then(|number| rows.get(number));
        let given = given.ok_or("the id is another")?;
        let before: Map<String, Value> = serde_json::from_str(given).map_err(|e| e.to_string())?;
        let is_mapper = self.def.family == Family::Mapper;
        // A mapper may add fields of its own behind those that were there.
        let added = |key: &str| is_mapper && !before.contains_key(key);
        let own = row
            .keys()
            .filter(|key| !key.starts_with("__dj__") && !added(key));
        let expected = before.keys().filter(|key| !key.starts_with("__dj__"));
        if !own.eq(expected) {
            return Err(format!("other fields: {line}"));
        }
        let bytes_kept = rows::UNKNOWN.iter().all(|part| line.contains(part));
        if !is_mapper && row.values().len() < before.len() || !bytes_kept {
            return Err(format!("not as it was read: {line}"));
        }
        Ok(())
    }

    /// A filter measures the stats that it declares, of the types that it declares; and measures
    /// nothing if they are there.
    ///
    /// # Errors
    /// If not.
    pub fn measures_what_it_declares(&self) -> Result<(), String> {
        if self.asks_a_model() {
            return Ok(());
        }
        let step = self.build(&self.telling)?;
        let Operator::Filter(filter) = &step.operator else {
            return Ok(());
        };
        let stats = &step.spec.stats;
        let declared = |name: &str| stats.iter().find(|stat| stat.name == name);
        for range in filter.bounds() {
            if declared(range.stat()).is_none_or(|stat| stat.bounds().next().is_none()) {
                return Err(format!(
                    "bounds '{}', which it does not declare",
                    range.stat()
                ));
            }
        }
        for line in self.sound_rows() {
            let mut sample = self.sample(&line, step.spec.images)?;
            let before = sample.stats.len();
            let (setting, host) = (Setting::default(), Host::default());
            let ran = run_alone(&step.operator, &step.spec, &mut sample, &setting, &host);
            ran.map_err(|error| format!("{line}: {error}"))?;
            if before == 0 && sample.stats.len() != stats.len() {
                return Err(format!("measures {} stats", sample.stats.len()));
            }
            for (name, value) in sample.stats.iter() {
                let kind = declared(name).map(|stat| stat.kind);
                if kind.is_some_and(|kind| !is_of(kind, value)) {
                    return Err(format!("{name} is {value:?}, declared as {kind:?}"));
                }
            }
        }
        self.takes_what_is_measured(stats)
    }

    /// Stats that a row brings along are not measured again.
    fn takes_what_is_measured(&self, stats: &[Stat]) -> Result<(), String> {
        if stats.is_empty() {
            return Ok(());
        }
        let value = |stat: &Stat| match stat.kind {
            StatType::Text => json!("none"),
            StatType::Flag => json!(true),
            StatType::Integers | StatType::Numbers => json!([0.062_517]),
            _ => json!(0.062_517),
        };
        let known = stats.iter().map(|s| (s.name.to_string(), value(s)));
        let known: Map<String, Value> = known.collect();
        // Nothing here can be measured: neither text nor images nor field are what they should be.
        let mut row = json!({"id": "r", "text": [5], "images": [7], "__dj__stats__": known});
        if let Some(field) = self.field() {
            row[field] = json!([1]);
        }
        let step = self.step(&self.telling);
        let left = self.run(&step, &[row.to_string()], 1, 1)?;
        if !left.reasons.is_empty() {
            return Err(format!("measured again: {:?}", left.reasons));
        }
        let told = left.file("stats.jsonl.zst")?;
        let kept: Value = serde_json::from_str(&told).map_err(|e| format!("{e}: {told}"))?;
        let kept = kept.get("stats").unwrap_or(&kept);
        match known.iter().find(|(key, value)| kept[*key] != **value) {
            None => Ok(()),
            Some((key, _)) => Err(format!("another {key}: {told}")),
        }
    }

    /// Every bound that it declares may be a place in the data, and nothing else may.
    ///
    /// # Errors
    /// If not.
    pub fn every_bound_may_come_from_the_data(&self) -> Result<(), String> {
        if self.asks_a_model() {
            return Ok(());
        }
        let schema = ParamSchema::of(self.def);
        let names = schema.properties().map(|(name, _)| name.to_owned());
        let (bounds, others): (Vec<_>, Vec<_>) =
            names.partition(|name| self.def.bound(name).is_some());
        for name in others {
            let mut params = self.telling.clone();
            params.insert(name.clone(), json!("p50"));
            // What is no bound may be a text, but not one that stands for a number.
            let taken = self.build(&params).map(|step| step.is_exchange());
            if taken == Ok(true) && self.def.family == Family::Filter {
                return Err(format!("takes {name} for a bound"));
            }
        }
        for bound in bounds {
            let mut params = self.telling.clone();
            // Defaults of the other ends must neither decide nor leave no range.
            for stat in self.def.stats(&self.all_params()) {
                for other in stat.bounds() {
                    if other.written == Written::Size {
                        continue;
                    }
                    params.insert(other.param.to_owned(), other.open());
                }
            }
            params.insert(bound.clone(), json!("p50"));
            let built = self.build(&params)?;
            let written = built.data().params;
            if !built.is_exchange() || written.get(&bound) != Some(&json!("p50")) {
                return Err(format!("takes {bound} for a number"));
            }
            let left = self.run(&self.step(&params), &self.sound_rows(), 7, 2)?;
            let ledger = left.file("ledger.jsonl.zst")?;
            if ledger.contains("\"dropped\"") && !ledger.contains("(p50)") {
                return Err(format!("drops by another {bound}: {ledger}"));
            }
        }
        Ok(())
    }

    fn all_params(&self) -> Map<String, Value> {
        let mut all = object(&(self.def.defaults)());
        all.extend(self.telling.clone());
        all
    }

    /// The field that a parameter names, if one does.
    fn field(&self) -> Option<String> {
        let fields = self.def.facts.reads.iter();
        let mut named = fields.filter_map(|field| match field {
            op::Field::Param(param) | op::Field::StatOrParam(param) => {
                self.telling.get(*param)?.as_str()
            }
            _ => None,
        });
        named.next().map(str::to_owned)
    }
}

fn is_of(kind: StatType, value: &StatValue) -> bool {
    match (kind, value) {
        // What is no number, such as a share of nothing, is null in JSON.
        (StatType::Any, _)
        | (StatType::Integer, StatValue::Int(_))
        | (StatType::Number, StatValue::Float(_))
        | (StatType::Integers, StatValue::Ints(_))
        | (StatType::Numbers, StatValue::Floats(_)) => true,
        (StatType::Text, StatValue::Json(value)) => value.is_string(),
        (StatType::Flag, StatValue::Json(value)) => value.is_boolean(),
        _ => false,
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
