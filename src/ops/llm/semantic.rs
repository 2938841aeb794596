//! What `llm_extract_mapper` and `llm_condition_filter` share: how a model is asked, what it should
//! know, what a request took.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{Said, top_value};
use crate::sample::{RowError, Sample};
use crate::text::python_str;

/// How a model is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// At once.
    #[default]
    Direct,
    /// To think step by step.
    Cot,
    /// With examples.
    FewShot,
    /// Step by step, with examples.
    CotShot,
}

/// What the model should know beside the row: the same for all, or what a field says.
///
/// # Errors
/// If the field cannot be read.
pub fn grounding(
    sample: &Sample,
    fixed: Option<&String>,
    key: Option<&String>,
) -> Result<Option<String>, RowError> {
    if let Some(fixed) = fixed.filter(|fixed| !fixed.is_empty()) {
        return Ok(Some(fixed.clone()));
    }
    let Some(key) = key.filter(|key| sample.has(key)) else {
        return Ok(None);
    };
    let value = top_value(sample, key)?;
    let text = (!value.is_null()).then(|| python_str(&value).into_owned());
    Ok(text.filter(|text| !text.is_empty()))
}

/// What a request took, with what others took before.
#[must_use]
pub fn usage(before: Option<&Value>, said: &Said) -> Value {
    let was = |name: &str| {
        before
            .and_then(|usage| usage.get(name)?.as_u64())
            .unwrap_or(0)
    };
    let mut sum = Map::new();
    for (name, now) in [
        ("prompt_tokens", said.tokens_in),
        ("completion_tokens", said.tokens_out),
        ("total_tokens", said.tokens),
    ] {
        sum.insert(name.to_owned(), json!(was(name) + now));
    }
    sum.insert("cost_estimate".to_owned(), json!(was("cost_estimate")));
    Value::Object(sum)
}
