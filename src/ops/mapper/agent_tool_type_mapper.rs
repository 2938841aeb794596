//! Tells which tools an agent called, and which of them first.

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::op::{
    BuildContext, Facts, Field, META, Mapper, Operator, ParamError, meta_of, operator,
};
use crate::sample::{RowError, Sample};
use crate::text::{python_str, strip};

operator! {
    /// Puts the most frequent names of a list in `__dj__meta__` beside it: the first as
    /// `primary_tool_type`, the first `top_k_dominant` as `dominant_tool_types`.
    ///
    /// Names are stripped of white space and counted unless nothing is left; values that are no text
    /// count as Python prints them. Of equally frequent names the earlier goes first. Without a list,
    /// or without names in it, the primary type is null and the dominant ones are empty.
    ///
    /// ## Example
    /// ```yaml
    /// - agent_tool_type_mapper: {top_k_dominant: 2}
    /// ```
    /// ```json
    /// {"in": {"__dj__meta__": {"agent_tool_types": ["ls", "cat", " cat ", "rm"]}}, "out": {"__dj__meta__": {"agent_tool_types": ["ls", "cat", " cat ", "rm"], "primary_tool_type": "cat", "dominant_tool_types": ["cat", "ls"]}}}
    /// {"in": {"text": "a"}, "out": {"text": "a", "__dj__meta__": {"primary_tool_type": null, "dominant_tool_types": []}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `agent_tool_type_mapper`: same. In the outputs `__dj__meta__` stays a field
    /// of the row, where Data-Juicer moves it to its stats file unless `keep_stats_in_res_ds` is set.
    agent_tool_type_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Meta],
        writes: &[Field::Meta],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field of `__dj__meta__` that has the names.
    tool_types_meta_key: String,
    /// The field of `__dj__meta__` for the most frequent name.
    primary_key: String,
    /// The field of `__dj__meta__` for the frequent names.
    dominant_key: String,
    /// How many names are frequent; none from 0 down.
    top_k_dominant: i64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            tool_types_meta_key: "agent_tool_types".into(),
            primary_key: "primary_tool_type".into(),
            dominant_key: "dominant_tool_types".into(),
            top_k_dominant: 5,
        }
    }
}

struct ToolTypes(Params);

#[expect(clippy::unnecessary_wraps, reason = "the signature of the registry")]
fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(ToolTypes(params))))
}

impl Mapper for ToolTypes {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let params = &self.0;
        let mut meta = meta_of(sample)?;
        let listed = meta.get(&params.tool_types_meta_key);
        let names: Vec<String> = listed
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|name| strip(&python_str(name)).to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        let most = usize::try_from(params.top_k_dominant).unwrap_or(0);
        let dominant = most_frequent(&names, most);
        let primary = dominant.first().map_or(Value::Null, |&name| name.into());
        meta.insert(params.primary_key.clone(), primary);
        meta.insert(params.dominant_key.clone(), dominant.into());
        sample.set_value(META, Value::Object(meta));
        Ok(())
    }
}

/// The `most` most frequent names; of equals the earlier first.
fn most_frequent(names: &[String], most: usize) -> Vec<&str> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut counts: Vec<(&str, u64)> = Vec::new();
    for name in names {
        let place = *places.entry(name).or_insert(counts.len());
        match counts.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    counts.truncate(most);
    counts.into_iter().map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_keep_their_order() {
        let names: Vec<String> = "b a c a b d".split(' ').map(String::from).collect();
        assert_eq!(most_frequent(&names, 3), ["b", "a", "c"]);
        assert!(most_frequent(&names, 0).is_empty());
    }
}
