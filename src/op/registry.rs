//! The catalogue of operators: each file of [`crate::ops`] submits itself.

use std::fmt;

use schemars::Schema;
use serde_json::{Map, Value};

use super::{BuildContext, Operator, ParamError, Side};

/// What kind of operator it is; decides how it is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Builds it from parameters that passed `check`.
    pub build: Build,
}

impl OpDef {
    /// The end of the range of kept values that `param` of a filter is, told by its name. Limits
    /// of what is measured are none, though they may be named alike: their schema has
    /// `"x-bound": false`.
    #[must_use]
    pub fn bound(&self, param: &str) -> Option<Side> {
        let side = Side::of(param).filter(|_| self.family == Family::Filter)?;
        let schema = (self.schema)().to_value();
        let none = schema.get("properties")?.get(param)?.get("x-bound") == Some(&false.into());
        (!none).then_some(side)
    }
}

/// Builds an operator from its own parameters.
pub type Build = fn(Map<String, Value>, &BuildContext) -> Result<Operator, Vec<ParamError>>;

inventory::collect!(OpDef);

/// Every operator, by name.
#[must_use]
pub fn all() -> Vec<&'static OpDef> {
    let mut ops: Vec<_> = inventory::iter::<OpDef>.into_iter().collect();
    ops.sort_by_key(|op| op.name);
    ops
}

/// The operator called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static OpDef> {
    inventory::iter::<OpDef>
        .into_iter()
        .find(|op| op.name == name)
}

/// Registers an operator: its doc comment becomes its page.
///
/// ```text
/// operator! {
///     /// Keeps rows whose text has between `min_len` and `max_len` characters.
///     text_length_filter: Filter(Params) => build
/// }
/// ```
/// `build` is `fn(Params, &BuildContext) -> Result<Operator, Vec<ParamError>>`.
#[macro_export]
macro_rules! operator {
    ($(#[doc = $doc:literal])+ $name:ident: $family:ident($params:ty) => $build:path) => {
        inventory::submit! {
            $crate::op::OpDef {
                name: stringify!($name),
                family: $crate::op::Family::$family,
                docs: &[$($doc),+],
                file: file!(),
                schema: || schemars::schema_for!($params),
                defaults: || {
                    serde_json::to_value(<$params>::default()).unwrap_or(serde_json::Value::Null)
                },
                check: |params| {
                    serde_json::from_value::<$params>(serde_json::Value::Object(params))
                        .map(|_| ())
                        .map_err(|e| e.to_string())
                },
                build: |params, context| {
                    let params: $params =
                        serde_json::from_value(serde_json::Value::Object(params)).map_err(|e| {
                            vec![$crate::op::ParamError {
                                param: None,
                                message: e.to_string(),
                                hint: None,
                            }]
                        })?;
                    $build(params, context)
                },
            }
        }
    };
}

pub use operator;
