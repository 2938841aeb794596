//! What an operator says of itself, as data: everything that plans, explains, documents, reports
//! or records an operator reads it here and nowhere else.
//!
//! There are two parts. [`Facts`] stand beside the operator's registration and can be shown
//! without building it. [`OpSpec`] is what they come to for one step of a recipe: names that
//! parameters give are filled in, and the assets that were opened are listed.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Asset, BaseParams, Family, ImageNeed, META, OpDef, Operator, STATS, SUFFIX, Service, Side,
    size_param,
};
use crate::sample::{DATASET, StatKey, StatValue, float_of};

/// How an operator is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// Changes a row.
    Mapper,
    /// Makes several rows of one.
    Expander,
    /// Measures a row and keeps or drops it.
    Filter,
    /// Drops rows whose key an earlier row had.
    Exact,
    /// Drops rows that are near an earlier one.
    Near,
    /// Counts keys over all rows, then edits each row.
    Census,
    /// Picks rows out of all rows.
    Selector,
    /// Makes one row of all rows with equal keys.
    Grouper,
}

impl OpKind {
    /// Whether it must see every row before it can decide.
    #[must_use]
    pub fn is_exchange(self) -> bool {
        matches!(
            self,
            Self::Near | Self::Census | Self::Selector | Self::Grouper
        )
    }

    /// Whether it makes other rows of those it reads.
    #[must_use]
    pub fn makes_rows(self) -> bool {
        matches!(self, Self::Expander | Self::Grouper)
    }

    /// How it runs, for a person.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Mapper | Self::Filter => "row by row",
            Self::Expander => "row by row, may make several rows of one",
            Self::Exact => "keys in parallel, admitted in order",
            Self::Near | Self::Selector => "decides when all rows are known",
            Self::Census => "counts all rows, then edits or judges each",
            Self::Grouper => "makes one row of each group when all rows are known",
        }
    }
}

/// A field of the row that an operator may read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The operator's text field.
    Text,
    /// The operator's text field, if this parameter is true.
    TextWith(&'static str),
    /// The operator's text field, if this parameter is null or empty.
    TextWithout(&'static str),
    /// The operator's field of image paths.
    Images,
    /// This field, if the parameter has this value.
    If(&'static str, &'static str, &'static Field),
    /// This field, unless the parameter has this value.
    Unless(&'static str, &'static str, &'static Field),
    /// The field of this name.
    Named(&'static str),
    /// The field or fields that this parameter names.
    Param(&'static str),
    /// The stat that this parameter names, or else the field.
    StatOrParam(&'static str),
    /// What filters measured ([`STATS`]).
    Stats,
    /// What tagging operators found ([`META`]).
    Meta,
    /// The suffix of the row's input ([`SUFFIX`]): rows that lack it get it before the first step.
    Suffix,
    /// Any field.
    Any,
}

/// Stands for every field in [`OpSpec::reads`] and [`OpSpec::writes`].
pub const ANY_FIELD: &str = "*";

impl Field {
    fn names(self, params: &Map<String, Value>, base: &BaseParams) -> Vec<String> {
        match self {
            Self::Text => vec![base.text_key.as_str().to_owned()],
            Self::TextWith(param) if params.get(param) == Some(&true.into()) => {
                Self::Text.names(params, base)
            }
            Self::TextWithout(param)
                if match params.get(param) {
                    None | Some(Value::Null) => true,
                    Some(Value::String(text)) => text.is_empty(),
                    Some(Value::Array(items)) => items.is_empty(),
                    _ => false,
                } =>
            {
                Self::Text.names(params, base)
            }
            Self::TextWith(_) | Self::TextWithout(_) => Vec::new(),
            Self::If(param, value, field) | Self::Unless(param, value, field) => {
                let has_it = params.get(param).and_then(Value::as_str) == Some(value);
                if has_it == matches!(self, Self::If(..)) {
                    field.names(params, base)
                } else {
                    Vec::new()
                }
            }
            Self::Images => vec![base.image_key.as_str().to_owned()],
            Self::Named(name) => vec![name.to_owned()],
            Self::Stats => vec![STATS.to_owned()],
            Self::Meta => vec![META.to_owned()],
            Self::Suffix => vec![SUFFIX.to_owned()],
            Self::Any => vec![ANY_FIELD.to_owned()],
            Self::StatOrParam(param) => {
                let mut names = Self::Param(param).names(params, base);
                names.retain(|name| name != DATASET);
                if !names.is_empty() {
                    names.push(STATS.to_owned());
                }
                names
            }
            Self::Param(param) => match params.get(param) {
                Some(Value::String(name)) if !name.is_empty() => vec![name.clone()],
                Some(Value::Array(names)) => {
                    let names = names.iter().filter_map(Value::as_str);
                    names.map(str::to_owned).collect()
                }
                _ => Vec::new(),
            },
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("the text"),
            Self::TextWith(param) => write!(f, "the text, with `{param}`"),
            Self::TextWithout(param) => write!(f, "the text, without `{param}`"),
            Self::Images => f.write_str("the images"),
            Self::If(param, value, field) => write!(f, "{field}, with `{param}: {value}`"),
            Self::Unless(param, value, field) => write!(f, "{field}, without `{param}: {value}`"),
            Self::Named(name) => write!(f, "`{name}`"),
            Self::Param(param) => write!(f, "what `{param}` names"),
            Self::StatOrParam(param) => write!(f, "the stat or field that `{param}` names"),
            Self::Stats => f.write_str("the stats"),
            Self::Meta => write!(f, "`{META}`"),
            Self::Suffix => write!(f, "`{SUFFIX}`"),
            Self::Any => f.write_str("any field"),
        }
    }
}

/// The type of a stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatType {
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text.
    Text,
    /// True or false.
    Flag,
    /// A list of whole numbers, one an image, in list order.
    Integers,
    /// A list of numbers, one an image, in list order.
    Numbers,
    /// Any JSON value: what a field holds.
    Any,
}

impl StatType {
    /// Whether there is one value an image.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Self::Integers | Self::Numbers)
    }

    /// Whether `value` may be one of this type, whoever measured it: whole numbers are numbers,
    /// and null stands for what is no number.
    #[must_use]
    pub fn holds(self, value: &StatValue) -> bool {
        let json = value.as_json();
        match self {
            Self::Any => true,
            Self::Text => json.is_some_and(Value::is_string),
            Self::Flag => json.is_some_and(Value::is_boolean),
            Self::Integer | Self::Number => {
                value.as_f64().is_some() || json.is_some_and(Value::is_null)
            }
            Self::Integers | Self::Numbers => match json {
                Some(Value::Array(items)) => items
                    .iter()
                    .all(|item| float_of(item).is_some() || item.is_null()),
                _ => value.as_list().is_some(),
            },
        }
    }

    /// Whether `value` has a null where this type has a number.
    #[must_use]
    pub fn lacks(self, value: &StatValue) -> bool {
        let StatValue::Json(json) = value else {
            return false;
        };
        match self {
            Self::Integer | Self::Number => json.is_null(),
            Self::Integers | Self::Numbers => {
                let items = json.as_array();
                items.is_some_and(|items| items.contains(&Value::Null))
            }
            _ => false,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "text",
            Self::Flag => "true or false",
            Self::Integers => "list of integers, one an image",
            Self::Numbers => "list of numbers, one an image",
            Self::Any => "any value",
        }
    }
}

/// How a stat is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatName {
    /// So.
    Fixed(&'static str),
    /// As this parameter says.
    Param(&'static str),
}

/// When an operator writes a stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// If this parameter has this value.
    Is(&'static str, bool),
    /// If this parameter is a text that is not empty.
    Given(&'static str),
}

/// A hash that deduplicators share: the first one makes it, and those behind compare it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedHash {
    /// The digest of the text.
    Text,
    /// The perceptual hashes of the images.
    Images,
    /// The fingerprint of the text.
    Simhash,
}

/// The unit of sizes.
pub const BYTES: &str = "bytes";

/// The units of lengths of texts, in which special tokens count.
pub const TEXT_UNITS: [&str; 2] = ["characters", "words"];

/// A stat as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatDef {
    name: StatName,
    when: When,
    /// Its type.
    pub kind: StatType,
    /// What it counts or is measured in; empty for a mere number.
    pub unit: &'static str,
    /// The parameter that is its least value kept.
    pub min: Option<&'static str>,
    /// The parameter that is its greatest value kept.
    pub max: Option<&'static str>,
    /// It only tells more of the stats before it: a row that has those is measured.
    pub beside: bool,
    /// A null that a row brings along is a value of it, by which the filter decides.
    pub nullable: bool,
}

impl StatDef {
    const fn with(name: StatName, kind: StatType) -> Self {
        Self {
            name,
            when: When::Always,
            kind,
            unit: "",
            min: None,
            max: None,
            beside: false,
            nullable: false,
        }
    }

    /// The stat `name`.
    #[must_use]
    pub const fn new(name: &'static str, kind: StatType) -> Self {
        Self::with(StatName::Fixed(name), kind)
    }

    /// The stat that is called as the parameter `param` says.
    #[must_use]
    pub const fn named_by(param: &'static str, kind: StatType) -> Self {
        Self::with(StatName::Param(param), kind)
    }

    /// A whole number.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, StatType::Integer)
    }

    /// A number.
    #[must_use]
    pub const fn number(name: &'static str) -> Self {
        Self::new(name, StatType::Number)
    }

    /// What it counts or is measured in.
    #[must_use]
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// The parameter that is its least value kept.
    #[must_use]
    pub const fn min(mut self, param: &'static str) -> Self {
        self.min = Some(param);
        self
    }

    /// The parameter that is its greatest value kept.
    #[must_use]
    pub const fn max(mut self, param: &'static str) -> Self {
        self.max = Some(param);
        self
    }

    /// It only tells more of the stats before it: a row that has those is measured.
    #[must_use]
    pub const fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// A null that a row brings along is a value of it, by which the filter decides.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Written only if the parameter `param` is `value`.
    #[must_use]
    pub const fn when(mut self, param: &'static str, value: bool) -> Self {
        self.when = When::Is(param, value);
        self
    }

    /// Written only if the parameter `param` is a text that is not empty.
    #[must_use]
    pub const fn when_given(mut self, param: &'static str) -> Self {
        self.when = When::Given(param);
        self
    }

    /// Its name; empty if a parameter gives it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.name {
            StatName::Fixed(name) => name,
            StatName::Param(_) => "",
        }
    }

    /// Its name for a person.
    #[must_use]
    pub fn shown_name(&self) -> String {
        match self.name {
            StatName::Fixed(name) => format!("`{name}`"),
            StatName::Param(param) => format!("what `{param}` names"),
        }
    }

    /// When it is written, for a person; empty if always.
    #[must_use]
    pub fn condition(&self) -> String {
        match self.when {
            When::Always => String::new(),
            When::Is(param, true) => format!("with `{param}`"),
            When::Is(param, false) => format!("without `{param}`"),
            When::Given(param) => format!("if `{param}` is given"),
        }
    }

    /// The parameter that bounds it on this side.
    #[must_use]
    pub fn bound(&self, side: Side) -> Option<&'static str> {
        match side {
            Side::Min => self.min,
            Side::Max => self.max,
        }
    }

    /// Its key with these parameters; `None` if it is not written with them.
    pub(super) fn key_with(&self, params: &Map<String, Value>) -> Option<StatKey> {
        let text = |param| params.get(param).and_then(Value::as_str);
        let is_written = match self.when {
            When::Always => true,
            When::Is(param, value) => params.get(param) == Some(&value.into()),
            When::Given(param) => text(param).is_some_and(|text| !text.is_empty()),
        };
        match self.name {
            _ if !is_written => None,
            StatName::Fixed(name) => Some(StatKey::Borrowed(name)),
            StatName::Param(param) => text(param).map(|name| StatKey::Owned(name.to_owned())),
        }
    }
}

/// What stands beside an operator's registration.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Raised whenever its answers change, so that stored ones are not taken for new ones.
    pub version: u32,
    /// Fields that it may read.
    pub reads: &'static [Field],
    /// Fields that it may write.
    pub writes: &'static [Field],
    /// How far it needs images decoded, with these parameters.
    pub images: fn(&Map<String, Value>) -> ImageNeed,
    /// What it measures, in the order in which it gives the values.
    pub stats: &'static [StatDef],
    /// Parameters that decide about what is measured without being bounds: to change them changes
    /// no stat.
    pub decides: &'static [&'static str],
    /// Parameters of a deduplicator that only say how keys are compared: to change them changes no key.
    pub compares: &'static [&'static str],
    /// If an analysis without a recipe measures it: the parameters, in JSON, that it has there
    /// beside open bounds.
    pub analysis: Option<&'static str>,
    /// Bytes of memory that it may need for each byte of the text it reads, beside the text and what it
    /// makes of it, for texts of the worst kind; 0 if it needs none to speak of. Where a run's memory is
    /// bounded, longer texts than fit are set aside ([`Facts::longest_text`]).
    pub memory: u32,
    /// Whether it takes groups: rows whose fields, the text too, are lists.
    pub takes_groups: bool,
    /// The hashes that it makes or finds made, with these parameters.
    pub hashes: fn(&Map<String, Value>) -> &'static [SharedHash],
}

/// Bytes of memory that reading, keeping and writing takes for each byte of a row, whatever the steps are
/// that declare nothing of their own ([`Facts::memory`]).
pub const ROW_MEMORY: u32 = 4;

/// The same for each byte of the row that a group is made to.
pub const GROUP_MEMORY: u32 = 2;

/// The bytes of the longest value that whatever needs `memory` bytes for each of them may be given
/// within `budget` bytes: a quarter of those, or of 64 MB, is for what it needs. `None` if there is no
/// limit. So a run takes no more than its budget and twice the longest row that it has in hand: what is
/// left of the budget is for the program at rest, and for what the longest row takes beyond that.
#[must_use]
pub fn longest_within(budget: u64, memory: u32) -> Option<u64> {
    const LEAST: u64 = 64_000_000;
    (budget.max(LEAST) / 4).checked_div(u64::from(memory))
}

impl Facts {
    /// Reads nothing, writes nothing, measures nothing.
    pub const NONE: Self = Self {
        version: 1,
        reads: &[],
        writes: &[],
        images: |_| ImageNeed::None,
        stats: &[],
        decides: &[],
        compares: &[],
        analysis: None,
        memory: 0,
        takes_groups: false,
        hashes: |_| &[],
    };

    /// The bytes of the longest text that it may be given where a run stays within `budget` bytes of
    /// memory: a quarter of that is for what it needs. `None` if there is no limit. Texts that a budget of
    /// 64 MB has room for are given to it under any.
    #[must_use]
    pub fn longest_text(&self, budget: u64) -> Option<u64> {
        longest_within(budget, self.memory)
    }

    /// Reads the text.
    pub const OF_TEXT: Self = Self {
        reads: &[Field::Text],
        ..Self::NONE
    };

    /// Reads and writes the text.
    pub const MAPS_TEXT: Self = Self {
        writes: &[Field::Text],
        ..Self::OF_TEXT
    };

    /// Reads the images.
    pub const OF_IMAGES: Self = Self {
        reads: &[Field::Images],
        ..Self::NONE
    };
}

/// How a bound is written in a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// A size, such as `20KB`.
    Size,
}

/// A parameter that bounds a stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BoundParam {
    /// Its name.
    pub param: &'static str,
    /// How its value is written.
    pub written: Written,
    /// Which end of the range it is.
    pub side: Side,
}

impl BoundParam {
    /// The bound that `params` set; `None` if there is none. Beyond 2^53 no count is exact, and
    /// Data-Juicer's defaults for "no bound" begin.
    #[must_use]
    pub fn value(&self, params: &Map<String, Value>) -> Option<f64> {
        let value = match params.get(self.param)? {
            Value::String(size) if self.written == Written::Size => {
                size_param(self.param, size).ok()?
            }
            other => other.as_f64()?,
        };
        (value.abs() < 2_f64.powi(53)).then_some(value)
    }

    /// The value that bounds nothing. A size cannot be left out.
    #[must_use]
    pub fn open(&self) -> Value {
        match (self.written, self.side) {
            (Written::Size, Side::Min) => "0".into(),
            (Written::Size, Side::Max) => "1YB".into(),
            _ => Value::Null,
        }
    }

    /// A bound as the recipe writes it; whole numbers and sizes are rounded so that no value is
    /// lost that `number` keeps.
    #[must_use]
    pub fn write(&self, number: f64) -> Value {
        let whole = match self.side {
            Side::Min => number.floor(),
            Side::Max => number.ceil(),
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "stats are below 2^53 and the bound is whole"
        )]
        match self.written {
            Written::Whole => Value::from(whole as i64),
            Written::Size => Value::from((whole as i64).to_string()),
            Written::Number => Value::from(number),
        }
    }
}

/// A stat of one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stat {
    /// Its name, e.g. `text_len`.
    pub name: StatKey,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: StatType,
    /// What it counts or is measured in; empty for a mere number.
    pub unit: &'static str,
    /// The parameter that is its least value kept.
    pub min: Option<BoundParam>,
    /// The parameter that is its greatest value kept.
    pub max: Option<BoundParam>,
    /// It only tells more of the stats before it: a row that has those is measured.
    #[serde(skip)]
    pub beside: bool,
    /// A null that a row brings along is a value of it, by which the filter decides.
    #[serde(skip)]
    pub nullable: bool,
}

impl Stat {
    /// The parameters that bound it, the lower one first.
    pub fn bounds(&self) -> impl Iterator<Item = BoundParam> {
        self.min.into_iter().chain(self.max)
    }
}

/// What an operator is in one step of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpSpec {
    /// Its name in recipes.
    pub name: &'static str,
    /// Raised whenever its answers change.
    pub version: u32,
    /// Its family.
    pub family: Family,
    /// How it is executed.
    pub kind: OpKind,
    /// Fields of the row that it may read; [`ANY_FIELD`] stands for all.
    pub reads: Vec<String>,
    /// Fields of the row that it may write.
    pub writes: Vec<String>,
    /// Whether rows that lack the suffix of their input get it before the first step.
    pub reads_suffix: bool,
    /// Whether it asks for the dataset that a row is from ([`DATASET`]).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reads_dataset: bool,
    /// Whether it takes groups: rows whose fields, the text too, are lists.
    pub takes_groups: bool,
    /// How far it needs images decoded.
    pub images: ImageNeed,
    /// What it measures, in order.
    pub stats: Vec<Stat>,
    /// Parameters, beside bounds, that decide about what is measured and change no stat.
    pub decides: Vec<&'static str>,
    /// The hashes that it shares with other deduplicators.
    pub hashes: &'static [SharedHash],
    /// The files that it opened while it was built.
    pub assets: Vec<Asset>,
    /// Whom it asks about rows, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

impl OpSpec {
    /// An operator that reads, writes and measures nothing that is known.
    #[must_use]
    pub fn new(name: &'static str, family: Family, kind: OpKind) -> Self {
        Self {
            name,
            version: 1,
            family,
            kind,
            reads: Vec::new(),
            writes: Vec::new(),
            reads_suffix: false,
            reads_dataset: false,
            takes_groups: false,
            images: ImageNeed::None,
            stats: Vec::new(),
            decides: Vec::new(),
            hashes: &[],
            assets: Vec::new(),
            service: None,
        }
    }

    /// What `operator`, which `def` built from `params`, is.
    pub(super) fn of(
        def: &OpDef,
        operator: &Operator,
        params: &Map<String, Value>,
        base: &BaseParams,
        assets: Vec<Asset>,
    ) -> Self {
        let names = |fields: &[Field]| {
            let mut names: Vec<String> = Vec::new();
            for name in fields.iter().flat_map(|field| field.names(params, base)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            names
        };
        let kind = operator.kind();
        let flags: &[&str] = if kind == OpKind::Filter {
            &BaseParams::RANGE_FLAGS
        } else {
            &[]
        };
        Self {
            version: def.facts.version,
            reads: names(def.facts.reads),
            writes: names(def.facts.writes),
            reads_suffix: def.facts.reads.contains(&Field::Suffix),
            reads_dataset: def.facts.reads.iter().any(|field| match field {
                Field::StatOrParam(param) => params.get(*param).is_some_and(|name| name == DATASET),
                _ => false,
            }),
            takes_groups: def.facts.takes_groups,
            images: (def.facts.images)(params),
            stats: def.stats(params),
            decides: def.facts.decides.iter().chain(flags).copied().collect(),
            hashes: (def.facts.hashes)(params),
            assets,
            service: operator.asks().map(|asks| asks.service().clone()),
            ..Self::new(def.name, def.family, kind)
        }
    }

    /// The stat that the parameter `param` bounds, and the bound.
    #[must_use]
    pub fn bound(&self, param: &str) -> Option<(&Stat, BoundParam)> {
        self.stats.iter().find_map(|stat| {
            let bound = stat.bounds().find(|bound| bound.param == param)?;
            Some((stat, bound))
        })
    }

    /// Whether it measures rows.
    #[must_use]
    pub fn measures(&self) -> bool {
        !self.stats.is_empty()
    }

    /// Whether it asks for what filters measured before it.
    #[must_use]
    pub fn reads_stats(&self) -> bool {
        let below = |name: &str| name.starts_with(STATS);
        self.reads.iter().any(|name| below(name))
    }

    /// Whether it keeps or drops a row by its stats alone, so that stored ones do.
    #[must_use]
    pub fn decides_by_stats(&self) -> bool {
        self.kind == OpKind::Filter && self.measures()
    }
}
