//! Has a language model find what people in a text call each other.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, operator};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, drop_text, flattened, llm_params, meta_has,
    pattern, prompts, set_meta, system_and_user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::python_regex::Pattern;
use crate::text::strip;

operator! {
    /// Has a language model find what people in the text call each other, into `__dj__meta__`.
    ///
    /// A server is sent the text; `output_pattern` finds in its answer who speaks, who is spoken to,
    /// both again, and the nickname. Where both agree and the nickname is not the name, they become an
    /// entry of the list `nickname_key`, each once, in order of the answer. A row that has the list is
    /// passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - extract_nickname_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a"}, "said": ["### 称呼方式1\n- **说话人**：Tom\n- **被称呼人**：Jerry\n- **Tom对Jerry的昵称**：mouse"], "out": {"text": "a", "__dj__meta__": {"nickname": [{"relation_source_entity": "Tom", "relation_target_entity": "Jerry", "relation_description": "mouse", "relation_keywords": ["nickname"], "relation_strength": null}]}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `extract_nickname_mapper`: the same requests, and the same nicknames for each
    /// answer that has some; their order is that of a set there. Where none has, or the server fails,
    /// one empty entry is written there; here the row is set aside.
    extract_nickname_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta, Field::TextWith("drop_text")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What the list is called in `__dj__meta__`.
    nickname_key: String = "nickname".to_owned();
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{text}` in it.
    input_template: Option<String> = None;
    /// A regular expression (of Python, verbose, the dot matches line feeds) with six groups: a number,
    /// speaker, whom they speak to, both again, the nickname.
    output_pattern: Option<String> = None;
    /// Whether the text goes.
    drop_text: bool = false;
}

struct Nicknames {
    server: Server,
    text_key: FieldPath,
    system_prompt: String,
    input: Format,
    pattern: Pattern,
    nickname_key: String,
    drop_text: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let given = params
        .system_prompt
        .clone()
        .filter(|prompt| !prompt.is_empty());
    let script = Nicknames {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        system_prompt: given.unwrap_or_else(|| prompts::NICKNAME_SYSTEM_PROMPT.to_owned()),
        input: Format::of(
            "input_template",
            params.input_template.as_ref(),
            prompts::NICKNAME_INPUT_TEMPLATE,
            &["text"],
        )?,
        pattern: pattern(
            "output_pattern",
            params.output_pattern.as_ref(),
            prompts::NICKNAME_OUTPUT_PATTERN,
            "sx",
        )?,
        nickname_key: params.nickname_key,
        drop_text: params.drop_text,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

/// The entries that stand in an answer.
fn nicknames(pattern: &Pattern, said: &str) -> Option<Vec<Value>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for groups in flattened(pattern, said).ok()? {
        let groups: Vec<&str> = groups.iter().map(|group| strip(group)).collect();
        let [_, from, to, from_again, to_again, name] = groups.as_slice() else {
            return None;
        };
        let agree = from == from_again && to == to_again && to != name;
        let full = !from.is_empty() && !to.is_empty() && !name.is_empty();
        if agree && full && seen.insert([*from, *to, *name].map(str::to_owned)) {
            found.push(json!({
                "relation_source_entity": from,
                "relation_target_entity": to,
                "relation_description": name,
                "relation_keywords": ["nickname"],
                "relation_strength": null,
            }));
        }
    }
    (!found.is_empty()).then_some(found)
}

impl Script for Nicknames {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        if meta_has(sample, &[&self.nickname_key])? {
            return Ok(Vec::new());
        }
        let text = field(sample, self.text_key.as_str())?;
        let messages = system_and_user(&self.system_prompt, self.input.fill(&[("text", &text)]));
        let found = talk.use_of(&messages, |said| nicknames(&self.pattern, said))?;
        let mut edits = vec![set_meta(sample, vec![(&self.nickname_key, found.into())])?];
        drop_text(&mut edits, self.drop_text, &self.text_key);
        Ok(edits)
    }
}
