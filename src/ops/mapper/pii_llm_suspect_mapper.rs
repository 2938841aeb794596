//! Has a language model look for personal data that rules have missed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{
    BuildContext, Facts, Field, Mapper, Operator, ParamError, meta_of, operator, top_value,
};
use crate::ops::llm::dialog::clipped;
use crate::ops::llm::score::is_chinese;
use crate::ops::llm::{
    Edit, Halt, Script, Scripted, Server, Talk, edit_meta, llm_params, pattern, prompts,
    system_and_user,
};
use crate::sample::{RowError, Sample, read_json};
use crate::text::python_regex::Pattern;
use crate::text::{is_true, python_str, strip};

operator! {
    /// Has a language model look for personal data and secrets that rules have missed, and takes them
    /// out if it is asked to.
    ///
    /// A server is sent the texts of `inspect_keys` and the last messages of `messages_key`, each cut at
    /// so many characters. What it suspects goes into `__dj__meta__` as `result_key`: up to 32 times
    /// field, category and evidence, and whether the row is likely clean. An answer without a JSON
    /// object is kept as `raw_key`, and `result_key` says so.
    ///
    /// With `gate_mode: heuristic` a row is sent only if something in it looks like personal data: six
    /// digits in a row, an `@`, words such as `token` or `内网`, 24 letters and digits in a row, or, with
    /// `heuristic_name_rules`, what looks like a name. `redaction_mode: evidence` puts
    /// `redaction_placeholder` in the place of each piece of evidence of two characters or more,
    /// `whole_field` in that of each field with some. A row that has `result_key` is passed over unless
    /// `overwrite` is true.
    ///
    /// An empty answer is asked for anew, `try_num` times in all; then the row is set aside as
    /// `answer_unusable`. Of what is sent, how failures are met, what it costs and what is never paid
    /// twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - pii_llm_suspect_mapper: {api_model: m, redaction_mode: evidence, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "call 555010099"}, "said": ["{\"suspected\": [{\"field\": \"text\", \"category\": \"phone\", \"evidence\": \"555010099\"}], \"likely_clean\": false}"], "out": {"text": "call [LLM_PII_SUSPECT_REDACTED]", "__dj__meta__": {"pii_llm_suspect": {"suspected": [{"field": "text", "category": "phone", "evidence": "555010099"}], "likely_clean": false, "fields_inspected": ["text"], "redaction_mode": "evidence", "redaction_applied": true}}}}
    /// {"in": {"text": "a plain text"}, "out": {"text": "a plain text", "__dj__meta__": {"pii_llm_suspect": {"skipped": true, "reason": "heuristic_gate", "fields_inspected": ["text"], "likely_clean": true}}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `pii_llm_suspect_mapper`: the same requests, and the same results for each
    /// answer that is not empty. Where all are, or the server fails, the result says so there, and the
    /// row goes on unchecked; here it is set aside. spaCy is not asked for names: `spacy_ner_model` and
    /// `spacy_ner_models` must be empty.
    pii_llm_suspect_mapper: Mapper(Params) => build,
    Facts {
        reads: &[
            Field::Param("inspect_keys"),
            Field::Named("text"),
            Field::Named("query"),
            Field::Named("response"),
            Field::Param("messages_key"),
            Field::Meta,
        ],
        writes: &[
            Field::Param("inspect_keys"),
            Field::Named("text"),
            Field::Named("query"),
            Field::Named("response"),
            Field::Param("messages_key"),
            Field::Meta,
        ],
        ..Facts::NONE
    }
}

/// When a row is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Gate {
    /// If something in it looks like personal data.
    Heuristic,
    /// Always.
    Always,
}

/// What becomes of what is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Redaction {
    /// Nothing.
    None,
    /// The evidence goes.
    Evidence,
    /// The field goes.
    WholeField,
}

llm_params! {
    api_model = Some("qwen-turbo".to_owned()), try_num = 2;
    /// The fields whose texts are sent; null for `text`, `query` and `response`.
    inspect_keys: Option<Vec<String>> = None;
    /// The field of messages of which the last are sent; null for none.
    messages_key: Option<String> = Some("messages".to_owned());
    /// How many messages.
    max_messages_for_prompt: usize = 4;
    /// How many characters of a field.
    max_chars_per_field: usize = 6000;
    /// How many characters of messages.
    max_chars_messages_excerpt: usize = 8000;
    /// Which rows are sent.
    gate_mode: Gate = Gate::Heuristic;
    /// What the result is called in `__dj__meta__`.
    result_key: String = "pii_llm_suspect".to_owned();
    /// What an answer that cannot be read is called there.
    raw_key: String = "pii_llm_suspect_raw".to_owned();
    /// Whether rows that have a result are looked at again.
    overwrite: bool = false;
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// In which language that is: `zh` or `en`.
    preferred_output_lang: String = "zh".to_owned();
    /// Whether what looks like a name lets a row through the gate.
    heuristic_name_rules: bool = true;
    /// Must be empty: spaCy is not asked.
    spacy_ner_model: Option<String> = None;
    /// Must be empty: spaCy is not asked.
    spacy_ner_models: Option<Vec<String>> = None;
    /// Without effect.
    spacy_ner_max_chars: usize = 4000;
    /// Without effect.
    spacy_auto_download: bool = true;
    /// What becomes of what is suspected.
    redaction_mode: Redaction = Redaction::None;
    /// What stands in its place.
    redaction_placeholder: String = "[LLM_PII_SUSPECT_REDACTED]".to_owned();
}

struct Suspect {
    server: Server,
    inspect: Vec<String>,
    messages_key: Option<String>,
    most: [usize; 3],
    /// What lets a row through; nothing if all rows are sent.
    gate: Option<Vec<Pattern>>,
    names: Option<Pattern>,
    result_key: String,
    raw_key: String,
    overwrite: bool,
    system_prompt: String,
    redaction: Redaction,
    placeholder: String,
}

/// What looks like personal data or secrets.
const SIGNS: [&str; 5] = [
    r"\d{6,}",
    "@",
    r"(?i)(?:^|[^a-z0-9_])(?:api[_-]?key|apikey|secret|token|password|passwd|credential|bearer)\b",
    r"(?i)\b(?:内网|局域网|vpn|ssh\s|rdp://|mysql://|redis://)\b",
    r"[A-Za-z0-9_-]{24,}",
];

/// What looks like a name.
const NAMES: &str = concat!(
    r"(?:(?:^|[\s，,。.!！?？;；:：])",
    r"(?:我叫|叫我|更名为|姓名\s*[:：\s为是]|真名\s*[:：\s为是]|联系人\s*[:：\s为]?|负责人\s*[:：\s为]?|",
    r"经办人\s*[:：\s为]?|用户(?:姓名|名叫)\s*[:：\s为]?|(?:致|尊敬的)\s*)",
    r"[\u4e00-\u9fff]{2,4}(?=$|[\s，,。.!！?？;；:：]|[\u4e00-\u9fff])",
    r"|[\u4e00-\u9fff]{2,4}(?:先生|女士|老师|大夫|经理|主任|院长|博士|教授|同志)(?=[\s，,。.!！?？;；]|$)",
    r"|\b(?:Mr|Mrs|Ms|Miss|Dr|Prof)\.?\s+[A-Z][a-z]+(?:\s+[A-Z][a-z]+)?\b)",
);

/// Said before what is to be looked at.
const BEFORE: &str = "以下文本可能已部分正则脱敏。请按系统说明只输出 JSON。\n\n";

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let spacy = params
        .spacy_ner_model
        .iter()
        .chain(params.spacy_ner_models.iter().flatten());
    if spacy.clone().any(|name| !strip(name).is_empty()) {
        return Err(
            ParamError::new("spacy_ner_models", "spaCy is not asked for names")
                .hint("leave spacy_ner_model and spacy_ner_models out, or set gate_mode: always")
                .into(),
        );
    }
    let server = params.server(context)?;
    let server = server.with_sampling(&[("max_tokens", json!(512)), ("temperature", json!(0.1))]);
    let usual = if is_chinese(&params.preferred_output_lang) {
        prompts::PII_SYSTEM_PROMPT
    } else {
        prompts::PII_SYSTEM_PROMPT_EN
    };
    let gate = match params.gate_mode {
        Gate::Always => None,
        Gate::Heuristic => Some(
            SIGNS
                .iter()
                .map(|sign| pattern("gate_mode", None, sign, ""))
                .collect::<Result<_, _>>()?,
        ),
    };
    let names = params.heuristic_name_rules;
    let names = names
        .then(|| pattern("heuristic_name_rules", None, NAMES, ""))
        .transpose()?;
    let inspect = params.inspect_keys.filter(|keys| !keys.is_empty());
    let script = Suspect {
        server,
        inspect: inspect.unwrap_or_else(|| ["text", "query", "response"].map(str::to_owned).into()),
        messages_key: params.messages_key.filter(|key| !key.is_empty()),
        most: [
            params.max_messages_for_prompt,
            params.max_chars_per_field,
            params.max_chars_messages_excerpt,
        ],
        gate,
        names,
        result_key: params.result_key,
        raw_key: params.raw_key,
        overwrite: params.overwrite,
        system_prompt: params.system_prompt.unwrap_or_else(|| usual.to_owned()),
        redaction: params.redaction_mode,
        placeholder: params.redaction_placeholder,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

/// A piece of a row that is suspected.
struct Piece {
    field: String,
    category: String,
    evidence: String,
}

impl Suspect {
    /// What is looked at: the fields, and what is sent of them.
    fn block(&self, sample: &Sample) -> Result<(Vec<String>, String), RowError> {
        let (mut fields, mut texts) = (Vec::new(), Vec::new());
        let [_, most, most_of_messages] = self.most;
        for key in &self.inspect {
            if let Value::String(text) = top_value(sample, key)?
                && !strip(&text).is_empty()
            {
                let shown = clipped(&text, most, &format!("{key} truncated"));
                texts.push(format!("### field:{key}\n{shown}"));
                fields.push(key.clone());
            }
        }
        if let Some(key) = &self.messages_key {
            let excerpt = self.excerpt(&top_value(sample, key)?);
            let excerpt = clipped(&excerpt, most_of_messages, "messages excerpt truncated");
            if !strip(&excerpt).is_empty() {
                texts.push(format!("### field:{key}_excerpt\n{excerpt}"));
                fields.push(format!("{key}_excerpt"));
            }
        }
        Ok((fields, texts.join("\n\n")))
    }

    /// The last messages, the first of them first.
    fn excerpt(&self, messages: &Value) -> String {
        const CHARS: usize = 500;
        let mut parts = Vec::new();
        for message in messages.as_array().into_iter().flatten().rev() {
            if parts.len() >= self.most[0] {
                break;
            }
            let Some(message) = message.as_object() else {
                continue;
            };
            let text = match message.get("content") {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(blocks)) => blocks.iter().filter_map(block_text).collect(),
                _ => String::new(),
            };
            let role = message.get("role").filter(|role| is_true(role));
            let role = role.map(python_str).unwrap_or_default();
            let text = strip(&text);
            if !text.is_empty() {
                let shown: String = text.chars().take(CHARS).collect();
                parts.push(format!("[{role}]{shown}"));
            }
        }
        parts.reverse();
        parts.join("\n")
    }

    /// Whether the row is sent.
    fn passes(&self, block: &str) -> bool {
        let Some(signs) = &self.gate else {
            return true;
        };
        let length = strip(block).chars().count();
        let found = |pattern: &Pattern| pattern.is_match(block).unwrap_or(true);
        (length >= 8 && signs.iter().any(found))
            || (length >= 4 && self.names.as_ref().is_some_and(found))
    }

    /// The field of the row that a suspected one stands for.
    fn field_of(&self, named: &str) -> Option<String> {
        let named = strip(named);
        if self.inspect.iter().any(|key| key == named) {
            return Some(named.to_owned());
        }
        let key = self.messages_key.as_ref()?;
        (named == format!("{key}_excerpt")).then(|| key.clone())
    }

    /// The edits that take what is suspected out.
    fn redacted(&self, sample: &Sample, pieces: &[Piece]) -> Result<Vec<Edit>, RowError> {
        let mut by_field: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for piece in pieces {
            if let Some(field) = self.field_of(&piece.field) {
                by_field.entry(field).or_default().push(&piece.evidence);
            }
        }
        let mut edits = Vec::new();
        for (field, evidence) in by_field.into_iter().filter(|(field, _)| sample.has(field)) {
            let mut value = top_value(sample, &field)?;
            let before = value.clone();
            match (self.redaction, &mut value) {
                (Redaction::WholeField, Value::String(text)) => text.clone_from(&self.placeholder),
                (Redaction::WholeField, Value::Array(messages)) => {
                    *messages = vec![json!({"role": "user", "content": self.placeholder})];
                }
                (Redaction::Evidence, value) => self.without(value, &snippets(&evidence)),
                (Redaction::None | Redaction::WholeField, _) => {}
            }
            if value != before {
                edits.push(Edit::Set(field, value));
            }
        }
        Ok(edits)
    }

    /// Takes pieces out of a text, or of the contents of messages.
    fn without(&self, value: &mut Value, snippets: &[&str]) {
        let clean = |text: &mut String| {
            for snippet in snippets {
                if text.contains(snippet) {
                    *text = text.replace(snippet, &self.placeholder);
                }
            }
        };
        match value {
            Value::String(text) => clean(text),
            Value::Array(messages) => {
                for content in messages.iter_mut().filter_map(|it| it.get_mut("content")) {
                    match content {
                        Value::String(text) => clean(text),
                        Value::Array(blocks) => {
                            for block in blocks {
                                match block {
                                    Value::String(text) => clean(text),
                                    Value::Object(block) => {
                                        for key in ["text", "content"] {
                                            if let Some(Value::String(text)) = block.get_mut(key) {
                                                clean(text);
                                            }
                                        }
                                    }
                                    _ => {}
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// The pieces that are taken out, longer ones first.
fn snippets<'e>(evidence: &[&'e str]) -> Vec<&'e str> {
    let mut found: Vec<&str> = evidence.iter().map(|piece| strip(piece)).collect();
    found.retain(|piece| piece.chars().count() >= 2);
    found.sort_by_key(|piece| (std::cmp::Reverse(piece.chars().count()), *piece));
    found.dedup();
    found
}

/// The text of a block of a message's content.
fn block_text(block: &Value) -> Option<String> {
    let text = match block {
        Value::String(text) => text,
        Value::Object(block) => {
            let given = ["text", "content"]
                .into_iter()
                .filter_map(|key| block.get(key));
            let mut given = given.filter(|value| is_true(value));
            given.next()?.as_str()?
        }
        _ => return None,
    };
    Some(format!("{text}\n"))
}

/// The JSON object in an answer, which may stand in a fence.
fn object(said: &str) -> Option<Map<String, Value>> {
    let (start, end) = (said.find('{')?, said.rfind('}')?);
    match read_json(said.get(start..=end)?) {
        Ok(Value::Object(found)) => Some(found),
        _ => None,
    }
}

/// What is suspected, cut to the lengths that are kept.
fn pieces(found: &Map<String, Value>) -> Vec<Piece> {
    const MOST: usize = 32;
    let items = found.get("suspected").and_then(Value::as_array);
    let items = items.into_iter().flatten().take(MOST);
    let pieces = items.filter_map(Value::as_object).map(|item| {
        let text = |key: &str, most: usize| -> String {
            let value = item.get(key).map(python_str).unwrap_or_default();
            value.chars().take(most).collect()
        };
        Piece {
            field: text("field", 64),
            category: text("category", 120),
            evidence: text("evidence", 80),
        }
    });
    pieces.collect()
}

impl Script for Suspect {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let mut meta = meta_of(sample)?;
        if !self.overwrite && meta.contains_key(&self.result_key) {
            return Ok(Vec::new());
        }
        let (fields, block) = self.block(sample)?;
        let skipped = |reason: &str| {
            let mut result = json!({"skipped": true, "reason": reason, "fields_inspected": fields});
            if !fields.is_empty()
                && let Some(result) = result.as_object_mut()
            {
                result.insert("likely_clean".to_owned(), true.into());
            }
            result
        };
        let reason = match () {
            () if strip(&block).is_empty() => Some("no_inspectable_text"),
            () if !self.passes(&block) => Some("heuristic_gate"),
            () => None,
        };
        if let Some(reason) = reason {
            meta.insert(self.result_key.clone(), skipped(reason));
            return Ok(vec![edit_meta(meta)]);
        }
        let messages = system_and_user(&self.system_prompt, format!("{BEFORE}{block}"));
        let said = talk.use_of(&messages, |said| {
            (!strip(said).is_empty()).then(|| said.to_owned())
        })?;
        let Some(found) = object(strip(&said)) else {
            const CHARS: usize = 8000;
            let raw: String = said.chars().take(CHARS).collect();
            meta.insert(self.raw_key.clone(), raw.into());
            let result = json!({"error": "json_parse_failed", "fields_inspected": fields});
            meta.insert(self.result_key.clone(), result);
            return Ok(vec![edit_meta(meta)]);
        };
        let pieces = pieces(&found);
        let clean = found.get("likely_clean").map_or(pieces.is_empty(), is_true);
        let suspected: Vec<Value> = pieces
            .iter()
            .map(|piece| {
                json!({
                    "field": piece.field,
                    "category": piece.category,
                    "evidence": piece.evidence,
                })
            })
            .collect();
        meta.insert(
            self.result_key.clone(),
            json!({
                "suspected": suspected,
                "likely_clean": clean,
                "fields_inspected": fields,
                "redaction_mode": self.redaction,
                "redaction_applied": self.redaction != Redaction::None,
            }),
        );
        let mut edits = self.redacted(sample, &pieces)?;
        edits.push(edit_meta(meta));
        Ok(edits)
    }
}
