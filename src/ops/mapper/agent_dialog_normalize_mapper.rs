//! Makes a dialogue of the messages of an agent's log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{
    BuildContext, Facts, Field, META, Mapper, Operator, ParamError, meta_of, operator, top_value,
    wrong_type,
};
use crate::sample::{RowError, Sample};
use crate::text::chat::{
    Dialog, DialogRules, dialog, list_of, reply, role, skill_types, tool_types,
};
use crate::text::{python_str, strip};

operator! {
    /// Makes turns of query and response of the messages in `messages_key`, and one text of them.
    ///
    /// A user message begins a turn. What the assistant says up to the next one is its response, with
    /// an empty line in between; a message that only calls tools says `[Tool calls: a, b]`. What a
    /// tool gives back is appended behind `[Tool result]`. Contents are texts, lists of blocks
    /// (thoughts count) or objects, stripped. Other roles are passed over; with
    /// `include_system_in_first_user` what the system says goes before the next query.
    ///
    /// A text of more characters than the `history_*_max_chars` of its kind keeps its head and its
    /// tail with a note of how much is missing, or its head alone where the limit is below 528.
    ///
    /// It writes the text of all turns, each line after its label; `history_key`, the turns as pairs;
    /// `query_key` and `response_key`, the last turn, with the reply in `choices_key` where that has
    /// no response. In `__dj__meta__` it writes `agent_dialog_history_compressed`,
    /// `agent_turn_count`, the names of tools and skills (`[""]` for none), the places of the last
    /// messages of user and assistant, `agent_request_id`, and with `copy_lineage_fields` the fields
    /// `request_model`, `pt` and `total_cost_time` of the row.
    ///
    /// ## Example
    /// ```yaml
    /// - agent_dialog_normalize_mapper: {extract_tool_skill_tags: false}
    /// ```
    /// ```json
    /// {"in": {"id": 7, "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]}, "out": {"id": 7, "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}], "text": "User: Hi\n\nAssistant: Yes?", "dialog_history": [["Hi", "Yes?"]], "query": "Hi", "response": "Yes?", "__dj__meta__": {"agent_dialog_history_compressed": false, "agent_turn_count": 1, "agent_last_user_msg_idx": 0, "agent_last_assistant_msg_idx": 1, "agent_request_id": "7"}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `agent_dialog_normalize_mapper`: same; there a run gives all blocks of a
    /// file the same fields, and a block with a thought but an absent text then loses the thought.
    /// Messages that are no objects, roles and tool names that are no texts cost the row there too.
    /// Of `__dj__meta__` see `agent_tool_type_mapper`.
    agent_dialog_normalize_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Any],
        writes: &[
            Field::Text,
            Field::Param("history_key"),
            Field::Param("query_key"),
            Field::Param("response_key"),
            Field::Meta,
        ],
        ..Facts::NONE
    }
}

/// Parameters. The text goes to the text field.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "Data-Juicer's parameters")]
struct Params {
    /// The field of messages.
    messages_key: String,
    /// The field of replies.
    choices_key: String,
    /// The field for the turns.
    history_key: String,
    /// The field for the last query.
    query_key: String,
    /// The field for the last response.
    response_key: String,
    /// Whether names of tools and skills are collected.
    extract_tool_skill_tags: bool,
    /// Whether what the system says goes before the next query.
    include_system_in_first_user: bool,
    /// What stands before a query in the text.
    user_label: String,
    /// What stands before a response in the text.
    assistant_label: String,
    /// Whether model, date and time of the request are copied.
    copy_lineage_fields: bool,
    /// Whether the id of the request is copied.
    copy_request_id: bool,
    /// The fields of which the first that is not blank is the id of the request.
    request_id_keys: Vec<String>,
    /// Most characters of one tool's result; 0 for no limit.
    history_tool_result_max_chars: i64,
    /// Most characters of one response; 0 for no limit.
    history_max_assistant_trace_chars: i64,
    /// Most characters of one query; 0 for no limit.
    history_max_user_chars: i64,
    /// The share of a cut text that its head gets, between 0.35 and 0.85.
    history_compress_head_ratio: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            messages_key: "messages".into(),
            choices_key: "choices".into(),
            history_key: "dialog_history".into(),
            query_key: "query".into(),
            response_key: "response".into(),
            extract_tool_skill_tags: true,
            include_system_in_first_user: false,
            user_label: "User".into(),
            assistant_label: "Assistant".into(),
            copy_lineage_fields: true,
            copy_request_id: true,
            request_id_keys: ["request_id", "trace_id", "id"].map(String::from).to_vec(),
            history_tool_result_max_chars: 10_000,
            history_max_assistant_trace_chars: 0,
            history_max_user_chars: 0,
            history_compress_head_ratio: 0.62,
        }
    }
}

struct DialogNormalize {
    text_key: String,
    params: Params,
    rules: DialogRules,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of the registry")]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(DialogNormalize {
        text_key: context.base.text_key.as_str().to_owned(),
        rules: DialogRules {
            system_in_first_user: params.include_system_in_first_user,
            tool_chars: params.history_tool_result_max_chars,
            assistant_chars: params.history_max_assistant_trace_chars,
            user_chars: params.history_max_user_chars,
            head_ratio: params.history_compress_head_ratio,
        },
        params,
    })))
}

/// Fields of a row and what they are called in `__dj__meta__`.
const LINEAGE: [(&str, &str); 3] = [
    ("request_model", "agent_request_model"),
    ("pt", "agent_pt"),
    ("total_cost_time", "agent_total_cost_time_ms"),
];

impl Mapper for DialogNormalize {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let params = &self.params;
        let messages = top_value(sample, &params.messages_key)?;
        let messages = list_of(Some(&messages));
        let dialog = dialog(messages, &self.rules).map_err(wrong_type)?;
        let (query, mut response) = dialog.turns.last().cloned().unwrap_or_default();
        if response.is_empty() {
            let choices = top_value(sample, &params.choices_key)?;
            response = reply(list_of(Some(&choices))).map_err(wrong_type)?;
        }
        let mut meta = meta_of(sample)?;
        self.describe(messages, &dialog, &mut meta)?;
        sample.set_value(
            &self.text_key,
            dialog
                .flat(&params.user_label, &params.assistant_label)
                .into(),
        );
        sample.set_value(&params.history_key, json!(dialog.turns));
        sample.set_value(&params.query_key, query.into());
        sample.set_value(&params.response_key, response.into());
        if params.copy_request_id
            && let Some(id) = self.request_id(sample)?
        {
            meta.insert("agent_request_id".into(), id.into());
        }
        if params.copy_lineage_fields {
            for (field, name) in LINEAGE {
                let value = top_value(sample, field)?;
                if !value.is_null() {
                    meta.insert(name.into(), value);
                }
            }
        }
        sample.set_value(META, Value::Object(meta));
        Ok(())
    }
}

impl DialogNormalize {
    /// Enters what is to be said of the messages.
    fn describe(
        &self,
        messages: &[Value],
        dialog: &Dialog,
        meta: &mut Map<String, Value>,
    ) -> Result<(), RowError> {
        let mut enter = |name: &str, value: Value| _ = meta.insert(name.to_owned(), value);
        enter("agent_dialog_history_compressed", dialog.cut.into());
        enter("agent_turn_count", dialog.turns.len().into());
        if self.params.extract_tool_skill_tags {
            let tools = tool_types(messages).map_err(wrong_type)?;
            enter(
                "agent_tool_types",
                names(tools.iter().map(|name| python_str(name))),
            );
            let skills = skill_types(messages).map_err(wrong_type)?;
            enter("agent_skill_types", names(skills.iter()));
        }
        for (wanted, name) in [
            ("user", "agent_last_user_msg_idx"),
            ("assistant", "agent_last_assistant_msg_idx"),
        ] {
            let is_wanted = |value: &Value| {
                let message = value.as_object();
                message
                    .and_then(|m| role(m).ok())
                    .is_some_and(|role| role == wanted)
            };
            if let Some(index) = messages.iter().rposition(is_wanted) {
                enter(name, index.into());
            }
        }
        Ok(())
    }

    /// The first of the fields for it that is not blank, as Python prints it.
    fn request_id(&self, sample: &Sample) -> Result<Option<String>, RowError> {
        for name in &self.params.request_id_keys {
            let value = top_value(sample, name)?;
            let text = python_str(&value);
            let id = strip(&text);
            if !value.is_null() && !id.is_empty() {
                return Ok(Some(id.to_owned()));
            }
        }
        Ok(None)
    }
}

/// Names that are not blank; one empty name for none.
fn names(names: impl Iterator<Item = impl AsRef<str>>) -> Value {
    let mut list: Vec<String> = names
        .map(|name| strip(name.as_ref()).to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if list.is_empty() {
        list.push(String::new());
    }
    list.into()
}
