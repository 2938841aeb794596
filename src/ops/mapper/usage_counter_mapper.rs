//! Adds up the tokens that an agent's calls took.

use hashbrown::HashSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{
    BuildContext, Facts, Field, META, Mapper, Operator, ParamError, meta_of, operator, top_value,
    wrong_type,
};
use crate::sample::{RowError, Sample};
use crate::text::chat::{first_true, list_of};
use crate::text::{TypeMismatch, is_true, python_int};

operator! {
    /// Adds up the tokens that calls of a model took, into `__dj__meta__`.
    ///
    /// Usage is looked for at `usage_key`, in `response_metadata_key`, and in each of `choices_key`
    /// and its `message` or `delta`: the object itself, or its `usage` or `usage_metadata`, with
    /// `prompt_tokens` and `completion_tokens` (else `input_tokens` and `output_tokens`). With
    /// `dedupe_identical_usage`, records of the same three whole numbers count once.
    ///
    /// It writes `prompt_tokens` and `completion_tokens`, the sums, and `total_tokens`: the first
    /// total that is given, else the sum of both, null if that is 0.
    ///
    /// ## Example
    /// ```yaml
    /// - usage_counter_mapper: {}
    /// ```
    /// ```json
    /// {"in": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}, "out": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}, "__dj__meta__": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}}
    /// {"in": {"text": "a"}, "out": {"text": "a", "__dj__meta__": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": null}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `usage_counter_mapper`: same for numbers below 2^63. Counts that are no
    /// numbers cost the row there too. Of `__dj__meta__` see `agent_tool_type_mapper`.
    usage_counter_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Any],
        writes: &[Field::Meta],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field of replies.
    choices_key: String,
    /// The field of the usage.
    usage_key: String,
    /// The field that may hold a usage.
    response_metadata_key: String,
    /// Whether equal records count once.
    dedupe_identical_usage: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            choices_key: "choices".into(),
            usage_key: "usage".into(),
            response_metadata_key: "response_metadata".into(),
            dedupe_identical_usage: true,
        }
    }
}

struct UsageCounter(Params);

#[expect(clippy::unnecessary_wraps, reason = "the signature of the registry")]
fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(UsageCounter(params))))
}

/// What one record says; null for nothing.
#[derive(Debug, Clone, Default)]
struct Usage {
    prompt: Value,
    completion: Value,
    total: Value,
}

/// All that is looked at in a row that stands for its own usage.
const FIELDS: [&str; 7] = [
    "usage",
    "usage_metadata",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
];

impl Mapper for UsageCounter {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let mut usages = self.usages(sample)?;
        if self.0.dedupe_identical_usage {
            let mut seen = HashSet::new();
            usages.retain(|usage| seen.insert(usage.key()));
        }
        let mut meta = meta_of(sample)?;
        let prompt = sum(usages.iter().map(|u| &u.prompt)).map_err(wrong_type)?;
        let completion = sum(usages.iter().map(|u| &u.completion)).map_err(wrong_type)?;
        let total = usages.iter().map(|u| &u.total).find(|t| !t.is_null());
        let total = match total {
            Some(total) => total.clone(),
            None if is_true(&prompt) || is_true(&completion) => {
                sum([&prompt, &completion].into_iter()).map_err(wrong_type)?
            }
            None => Value::Null,
        };
        meta.insert("prompt_tokens".into(), prompt);
        meta.insert("completion_tokens".into(), completion);
        meta.insert("total_tokens".into(), total);
        sample.set_value(META, Value::Object(meta));
        Ok(())
    }
}

impl UsageCounter {
    /// Every record of the row.
    fn usages(&self, sample: &Sample) -> Result<Vec<Usage>, RowError> {
        let mut found = Vec::new();
        if sample.has(&self.0.usage_key) {
            found.push(match top_value(sample, &self.0.usage_key)? {
                Value::Object(usage) => Usage::of(&usage),
                _ => Usage::of(
                    &FIELDS
                        .iter()
                        .map(|&name| Ok((name.to_owned(), top_value(sample, name)?)))
                        .collect::<Result<_, RowError>>()?,
                ),
            });
        }
        if let Value::Object(metadata) = top_value(sample, &self.0.response_metadata_key)? {
            found.push(Usage::of(&metadata));
        }
        let choices = top_value(sample, &self.0.choices_key)?;
        for choice in list_of(Some(&choices)).iter().filter_map(Value::as_object) {
            found.push(Usage::of(choice));
            let inner = first_true(choice, &["message"]).or_else(|| choice.get("delta"));
            found.extend(inner.and_then(Value::as_object).map(Usage::of));
        }
        Ok(found)
    }
}

impl Usage {
    fn of(object: &Map<String, Value>) -> Self {
        const COUNTS: [&str; 2] = ["prompt_tokens", "completion_tokens"];
        let counts = |map: &Map<String, Value>| {
            COUNTS
                .iter()
                .any(|name| map.get(*name).is_some_and(|value| !value.is_null()))
        };
        let inner = first_true(object, &["usage", "usage_metadata"]).and_then(Value::as_object);
        let empty = Map::new();
        let usage = match inner {
            Some(usage) if counts(usage) => usage,
            _ if counts(object) => object,
            other => other.unwrap_or(&empty),
        };
        let count = |name: &str, other: &str| {
            let first = first_true(usage, &[name]).or_else(|| usage.get(other));
            first.cloned().unwrap_or_else(|| 0.into())
        };
        Self {
            prompt: count("prompt_tokens", "input_tokens"),
            completion: count("completion_tokens", "output_tokens"),
            total: usage.get("total_tokens").cloned().unwrap_or_default(),
        }
    }

    /// What makes two records the same.
    fn key(&self) -> [i64; 3] {
        let whole = |value: &Value| python_int(value).unwrap_or(0);
        let (prompt, completion) = (whole(&self.prompt), whole(&self.completion));
        let total = python_int(&self.total).unwrap_or(prompt.saturating_add(completion));
        [prompt, completion, total]
    }
}

/// `sum` of Python over numbers; what counts as false there is 0.
fn sum<'v>(values: impl Iterator<Item = &'v Value>) -> Result<Value, TypeMismatch> {
    let mut whole = 0_i64;
    let mut float: Option<f64> = None;
    for value in values.filter(|value| is_true(value)) {
        let integer = match value {
            Value::Bool(flag) => Some(i64::from(*flag)),
            Value::Number(number) => number.as_i64(),
            _ => return Err(TypeMismatch::new("a number of tokens is no number")),
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "as Python adds a whole number to a float"
        )]
        match (integer, &mut float) {
            (Some(integer), Some(float)) => *float += integer as f64,
            (Some(integer), None) => {
                whole = whole
                    .checked_add(integer)
                    .ok_or_else(|| TypeMismatch::new("there are more tokens than 2^63"))?;
            }
            (None, _) => {
                let number = value.as_f64().unwrap_or_default();
                *float.get_or_insert(whole as f64) += number;
            }
        }
    }
    Ok(float.map_or_else(|| whole.into(), Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_are_added_as_python_adds() {
        let of = |values: Value| sum(values.as_array().unwrap().iter());
        assert_eq!(of(json!([])).unwrap(), json!(0));
        assert_eq!(of(json!([true, 2, null, ""])).unwrap(), json!(3));
        assert_eq!(of(json!([1, 0.5, 2])).unwrap(), json!(3.5));
        assert!(of(json!(["3"])).is_err());
        assert!(of(json!([i64::MAX, 1])).is_err());
    }
}
