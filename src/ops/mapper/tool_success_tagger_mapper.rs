//! Counts which of an agent's tool calls went well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::op::{
    BuildContext, Facts, Field, META, Mapper, Operator, ParamError, Problems, meta_of, operator,
    top_value, wrong_type,
};
use crate::sample::{RowError, Sample, python_json};
use crate::text::chat::{list_of, message, role};
use crate::text::python_regex::Pattern;
use crate::text::{python_str, strip};

operator! {
    /// Counts the results of tools that succeeded and failed, into `__dj__meta__`.
    ///
    /// Every message of `messages_key` whose role, in lower case, is one of `tool_role_names` is a
    /// result. Its content is a text, a list of texts and of blocks, or JSON; stripped. Without
    /// content the result is `unknown`; it is an `error` if one of `error_patterns` is found in it,
    /// else a `success`.
    ///
    /// It writes `tool_success_count`, `tool_fail_count`, `tool_unknown_count`, `tool_success_ratio`
    /// (successes of successes and failures, null without any) and, with `store_per_tool_results`,
    /// `tool_results`: for each result the first 200 characters as `content_preview`, and `result`.
    ///
    /// ## Example
    /// ```yaml
    /// - tool_success_tagger_mapper: {store_per_tool_results: false}
    /// ```
    /// ```json
    /// {"in": {"messages": [{"role": "tool", "content": "Error: none"}, {"role": "Tool", "content": "12 rows"}]}, "out": {"messages": [{"role": "tool", "content": "Error: none"}, {"role": "Tool", "content": "12 rows"}], "__dj__meta__": {"tool_success_count": 1, "tool_fail_count": 1, "tool_unknown_count": 0, "tool_success_ratio": 0.5}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `tool_success_tagger_mapper`: same. `success_patterns` are checked but change
    /// nothing there either: what is no error is a success. Messages that are no objects, and roles
    /// that are no texts, cost the row there too. Of `__dj__meta__` see `agent_tool_type_mapper`.
    tool_success_tagger_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Param("messages_key"), Field::Meta],
        writes: &[Field::Meta],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field of messages.
    messages_key: String,
    /// Roles, in lower case, whose messages are results; null or empty for `tool` and `tool_use`.
    tool_role_names: Option<Vec<String>>,
    /// Regular expressions (Python syntax) of successes; without effect.
    success_patterns: Option<Vec<String>>,
    /// Regular expressions (Python syntax) of errors; null or empty for Data-Juicer's own.
    error_patterns: Option<Vec<String>>,
    /// Whether `tool_results` is written.
    store_per_tool_results: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            messages_key: "messages".into(),
            tool_role_names: None,
            success_patterns: None,
            error_patterns: None,
            store_per_tool_results: true,
        }
    }
}

const ROLES: [&str; 2] = ["tool", "tool_use"];

/// What results that report an error say.
const ERRORS: [&str; 13] = [
    r"(?i)\berror\s*:",
    r"(?i)\bexception\b",
    r"(?i)\bfailed\b",
    r"(?i)\bfailure\b",
    r"(?i)not\s+found",
    r"(?i)permission\s+denied",
    r"(?:执行|操作|请求|调用|接口)失败",
    r"(?:发生|出现)错误",
    r"错误码",
    r"无法访问",
    r"权限不足",
    r"无权限",
    r"找不到(?:文件|路径)?",
];

/// Characters of a content that is written as JSON.
const JSON_CHARS: usize = 10_000;
/// Characters of a preview.
const PREVIEW_CHARS: usize = 200;

struct ToolSuccess {
    messages_key: String,
    roles: Vec<String>,
    errors: Vec<Pattern>,
    results: bool,
}

fn build(params: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let mut compile = |param: &str, patterns: &[String]| -> Vec<Pattern> {
        patterns
            .iter()
            .filter_map(|pattern| {
                problems.keep(Pattern::of_re(pattern).map_err(|e| {
                    let what = format!("{pattern:?} cannot be used as a regular expression: {e}");
                    ParamError::new(param, what)
                }))
            })
            .collect()
    };
    compile(
        "success_patterns",
        &params.success_patterns.unwrap_or_default(),
    );
    let errors = compile("error_patterns", &given(params.error_patterns, &ERRORS));
    let problems: Vec<ParamError> = problems.into();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Operator::Mapper(Box::new(ToolSuccess {
        messages_key: params.messages_key,
        roles: given(params.tool_role_names, &ROLES),
        errors,
        results: params.store_per_tool_results,
    })))
}

/// What is given, or the default for nothing.
fn given(list: Option<Vec<String>>, default: &[&str]) -> Vec<String> {
    list.filter(|list| !list.is_empty())
        .unwrap_or_else(|| default.iter().map(ToString::to_string).collect())
}

impl Mapper for ToolSuccess {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let messages = top_value(sample, &self.messages_key)?;
        let mut counts = [0_u64; 3];
        let mut results = Vec::new();
        for value in list_of(Some(&messages)) {
            let message = message(value).map_err(wrong_type)?;
            if !self.roles.contains(&role(message).map_err(wrong_type)?) {
                continue;
            }
            let content = content(message.get("content"));
            let [success, failure, unknown] = &mut counts;
            let result = if content.is_empty() {
                *unknown += 1;
                "unknown"
            } else if self.is_error(&content)? {
                *failure += 1;
                "error"
            } else {
                *success += 1;
                "success"
            };
            let preview: String = content.chars().take(PREVIEW_CHARS).collect();
            results.push(json!({"content_preview": preview, "result": result}));
        }
        let [success, failure, unknown] = counts;
        let mut meta = meta_of(sample)?;
        meta.insert("tool_success_count".into(), success.into());
        meta.insert("tool_fail_count".into(), failure.into());
        meta.insert("tool_unknown_count".into(), unknown.into());
        meta.insert(
            "tool_success_ratio".into(),
            ratio(success, success + failure),
        );
        if self.results {
            meta.insert("tool_results".into(), results.into());
        }
        sample.set_value(META, Value::Object(meta));
        Ok(())
    }
}

impl ToolSuccess {
    fn is_error(&self, content: &str) -> Result<bool, RowError> {
        for pattern in &self.errors {
            let found = pattern
                .is_match(content)
                .map_err(|e| RowError::new("pattern_failed", e))?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The share, null of nothing.
fn ratio(part: u64, whole: u64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "messages of one row")]
    match whole {
        0 => Value::Null,
        whole => (part as f64 / whole as f64).into(),
    }
}

/// The text of a result.
fn content(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(object @ Value::Object(_)) => python_json(object).chars().take(JSON_CHARS).collect(),
        Some(Value::Array(blocks)) => {
            let parts: Vec<String> = blocks.iter().filter_map(block).collect();
            strip(&parts.join("\n")).to_owned()
        }
        Some(other) => strip(&python_str(other)).to_owned(),
    }
}

/// The text of a block of a result; `None` for what is passed over.
fn block(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(strip(text).to_owned()),
        Value::Object(block) if block.get("type").and_then(Value::as_str) == Some("text") => {
            Some(content(block.get("text")))
        }
        Value::Object(_) => Some(content(Some(value))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::build_mapper;

    #[test]
    fn contents_of_all_shapes_have_a_text() {
        for (value, text) in [
            (json!(" a\n"), "a"),
            (json!({"k": "é", "n": 1.0}), r#"{"k": "é", "n": 1.0}"#),
            (
                json!([{"type": "text", "text": [" b "]}, " c ", {"d": 1}, 5, []]),
                "b\nc\n{\"d\": 1}",
            ),
            (json!([]), ""),
            (json!(false), "False"),
        ] {
            assert_eq!(content(Some(&value)), text, "{value}");
        }
        let long = content(Some(&json!({"k": "日".repeat(20_000)})));
        assert_eq!(long.chars().count(), JSON_CHARS);
    }

    #[test]
    fn patterns_must_compile() {
        let params = r#"{"success_patterns": ["("], "error_patterns": ["["]}"#;
        let problems = build_mapper("tool_success_tagger_mapper", params)
            .err()
            .unwrap();
        let names: Vec<_> = problems
            .iter()
            .map(|p| p.param.as_deref().unwrap())
            .collect();
        assert_eq!(names, ["success_patterns", "error_patterns"]);
    }
}
