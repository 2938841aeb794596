//! The catalogue of operators: each file of [`crate::ops`] submits itself.

use std::fmt;

use schemars::Schema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    BoundParam, BuildContext, Facts, OpSpec, Operator, ParamError, Side, Stat, StatDef, Written,
};

/// What an operator is for; how it is executed is its [`super::OpKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Changes rows.
    Mapper,
    /// Measures and keeps or drops rows.
    Filter,
    /// Drops duplicates.
    Deduplicator,
    /// Picks rows out of all.
    Selector,
    /// Makes one row of several, or several of one that is made so.
    Grouper,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapper => "mapper",
            Self::Filter => "filter",
            Self::Deduplicator => "deduplicator",
            Self::Selector => "selector",
            Self::Grouper => "grouper",
        })
    }
}

/// One operator of the catalogue.
pub struct OpDef {
    /// Its name in recipes.
    pub name: &'static str,
    /// Its kind.
    pub family: Family,
    /// Its page: the doc comment, one line an element.
    pub docs: &'static [&'static str],
    /// The source file that defines it.
    pub file: &'static str,
    /// The JSON Schema of its own parameters (without those common to all).
    pub schema: fn() -> Schema,
    /// The default parameters.
    pub defaults: fn() -> Value,
    /// Reads the parameters without building: a wrong type, an unknown choice.
    pub check: fn(Map<String, Value>) -> Result<(), String>,
    /// Makes it from parameters that passed `check`; call [`OpDef::build`].
    pub make: Make,
    /// What it is, as far as that can be told without building it.
    pub facts: Facts,
}

/// An operator that is ready, and what it is.
pub struct Built {
    /// The operator.
    pub operator: Operator,
    /// What it is.
    pub spec: OpSpec,
}

impl OpDef {
    /// Builds it from parameters that passed `check`; what they leave out has its default.
    ///
    /// # Errors
    /// All that is wrong with them, an asset that is not there included.
    pub fn build(
        &self,
        params: Map<String, Value>,
        context: &BuildContext,
    ) -> Result<Built, Vec<ParamError>> {
        let mut all = match (self.defaults)() {
            Value::Object(defaults) => defaults,
            _ => Map::new(),
        };
        all.extend(params);
        context.take_opened();
        let operator = (self.make)(all.clone(), context)?;
        let opened = context.take_opened();
        let spec = OpSpec::of(self, &operator, &all, &context.base, opened);
        Ok(Built { operator, spec })
    }

    /// The stat that `param` bounds, as it is declared, and on which side.
    #[must_use]
    pub fn bound(&self, param: &str) -> Option<(&'static StatDef, Side)> {
        self.facts.stats.iter().find_map(|stat| {
            let mut sides = [Side::Min, Side::Max].into_iter();
            let side = sides.find(|side| stat.bound(*side) == Some(param))?;
            Some((stat, side))
        })
    }

    /// What it measures with these parameters, defaults included, in order.
    #[must_use]
    pub fn stats(&self, params: &Map<String, Value>) -> Vec<Stat> {
        if self.facts.stats.is_empty() {
            return Vec::new();
        }
        let schema = (self.schema)().to_value();
        let bound = |stat: &StatDef, side| {
            stat.bound(side).map(|param| BoundParam {
                param,
                written: written(&schema, param),
                side,
            })
        };
        let stats = self.facts.stats.iter().filter_map(|stat| {
            Some(Stat {
                name: stat.key_with(params)?,
                kind: stat.kind,
                unit: stat.unit,
                min: bound(stat, Side::Min),
                max: bound(stat, Side::Max),
                beside: stat.beside,
                nullable: stat.nullable,
            })
        });
        stats.collect()
    }
}

/// How the values of a bound are written, by its type.
fn written(schema: &Value, param: &str) -> Written {
    let types = schema.pointer(&format!("/properties/{param}/type"));
    let is = |name: &str| match types {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == name),
        Some(kind) => kind == name,
        None => false,
    };
    if is("integer") {
        Written::Whole
    } else if is("string") {
        Written::Size
    } else {
        Written::Number
    }
}

/// Makes an operator from its own parameters.
pub type Make = fn(Map<String, Value>, &BuildContext) -> Result<Operator, Vec<ParamError>>;

inventory::collect!(OpDef);

/// Every operator, by name.
#[must_use]
pub fn all() -> Vec<&'static OpDef> {
    let mut ops: Vec<_> = inventory::iter::<OpDef>.into_iter().collect();
    ops.sort_by_key(|op| op.name);
    ops
}

/// Names that more than one operator has: which of them a recipe means cannot be told.
#[must_use]
pub fn ambiguous() -> Vec<&'static str> {
    doubles(&all())
}

/// Names that stand more than once in a sorted list.
fn doubles(sorted: &[&'static OpDef]) -> Vec<&'static str> {
    let groups = sorted.chunk_by(|a, b| a.name == b.name);
    let doubled = groups.filter(|group| group.len() > 1);
    doubled
        .filter_map(|group| Some(group.first()?.name))
        .collect()
}

/// The operator called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static OpDef> {
    inventory::iter::<OpDef>
        .into_iter()
        .find(|op| op.name == name)
}

/// Registers an operator: its doc comment becomes its page. It works in any crate that has djr as
/// a dependency.
///
/// ```text
/// const LENGTH: StatDef = StatDef::integer("text_len").min("min_len").max("max_len");
///
/// operator! {
///     /// Keeps rows whose text has between `min_len` and `max_len` characters.
///     text_length_filter: Filter(Params) => build,
///     Facts { stats: &[LENGTH], ..Facts::OF_TEXT }
/// }
/// ```
/// `build` is `fn(Params, &BuildContext) -> Result<Operator, Vec<ParamError>>`.
#[macro_export]
macro_rules! operator {
    ($(#[doc = $doc:literal])+ $name:ident: $family:ident($params:ty) => $build:path, $facts:expr) => {
        $crate::op::inventory::submit! {
            $crate::op::OpDef {
                name: stringify!($name),
                family: $crate::op::Family::$family,
                docs: &[$($doc),+],
                file: file!(),
                schema: || $crate::op::schemars::schema_for!($params),
                defaults: || {
                    $crate::op::serde_json::to_value(<$params>::default())
                        .unwrap_or($crate::op::serde_json::Value::Null)
                },
                check: |params| {
                    $crate::op::serde_json::from_value::<$params>(
                        $crate::op::serde_json::Value::Object(params),
                    )
                    .map(|_| ())
                    .map_err(|e| e.to_string())
                },
                make: |params, context| {
                    let params: $params = $crate::op::serde_json::from_value(
                        $crate::op::serde_json::Value::Object(params),
                    )
                    .map_err(|e| {
                        vec![$crate::op::ParamError {
                            param: None,
                            message: e.to_string(),
                            hint: None,
                        }]
                    })?;
                    $build(params, context)
                },
                facts: $facts,
            }
        }
    };
}

pub use operator;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_two_operators_have_is_told() {
        let all = all();
        assert_eq!(doubles(&all), [""; 0]);
        let mut twice = all.clone();
        twice.insert(1, all[0]);
        assert_eq!(doubles(&twice), [all[0].name]);
    }
}
