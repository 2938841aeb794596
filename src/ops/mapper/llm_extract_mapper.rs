//! Has a language model read fields out of rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{
    BuildContext, Facts, Field, Mapper, Operator, ParamError, meta_of, operator, top_value,
};
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Strategy, Talk, edit_meta, grounding, llm_params,
    no_local_model, prompts, system_and_user, usage,
};
use crate::sample::{Sample, read_json};
use crate::text::{python_str, strip};

operator! {
    /// Has a language model read what `output_schema` names out of fields of the row, into
    /// `__dj__meta__`.
    ///
    /// A server is sent the fields of `input_keys` that the row has, and what each key of
    /// `output_schema` is to hold. The JSON object in its answer (for one key, a list is taken, too) is
    /// `meta_output_key`, or, if that is null, its members are; a key that it lacks is null. A row
    /// without any of the fields is not asked about: all is null. What the requests took is added up
    /// in `llm_semantic_usage`.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - llm_extract_mapper: {input_keys: [text], output_schema: {animal: the animal}, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a cat"}, "said": ["{\"animal\": \"cat\"}"], "out": {"text": "a cat", "__dj__meta__": {"llm_extract": {"animal": "cat"}, "llm_semantic_usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost_estimate": 0}}}}
    /// {"in": {"id": 1}, "out": {"id": 1, "__dj__meta__": {"llm_extract": {"animal": null}}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `llm_extract_mapper` with an API: the same requests, and the same members for
    /// each answer that has an object. An answer that has none, and a server that fails, leave all
    /// members null there, at the first try; here a further one is asked for, and then the row is set
    /// aside. Models are not run in the process: `is_hf_model` and `enable_vllm` must be false.
    llm_extract_mapper: Mapper(Params) => build,
    Facts {
        reads: &[
            Field::Param("input_keys"),
            Field::Param("knowledge_grounding_key"),
            Field::Meta,
        ],
        writes: &[Field::Meta],
        ..Facts::NONE
    }
}

llm_params! {
    api_or_hf_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// The fields that are sent.
    input_keys: Vec<String> = Vec::new();
    /// What is read out of them: names, and for each what it is to hold.
    output_schema: Map<String, Value> = Map::new();
    /// What the result is called in `__dj__meta__`; null to put its members there.
    meta_output_key: Option<String> = Some("llm_extract".to_owned());
    /// The field with what the model should know of the row.
    knowledge_grounding_key: Option<String> = None;
    /// What it should know of every row; it wins over the field.
    knowledge_grounding_fixed: Option<String> = None;
    /// Must be false: a model is asked at a server.
    is_hf_model: bool = false;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// Without effect, as in Data-Juicer, which does not know the words that recipes have for it.
    strategy: Option<Strategy> = None;
    /// Without effect, as `strategy`.
    examples: Option<String> = None;
}

struct Extract {
    server: Server,
    input_keys: Vec<String>,
    names: Vec<String>,
    instructions: String,
    meta_key: Option<String>,
    key: Option<String>,
    fixed: Option<String>,
    system_prompt: String,
    template: Format,
}

/// What the tokens are called in `__dj__meta__`.
const USAGE: &str = "llm_semantic_usage";

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    no_local_model(params.is_hf_model, params.enable_vllm)?;
    let server = params.server(context)?;
    for (param, is_empty) in [
        ("input_keys", params.input_keys.is_empty()),
        ("output_schema", params.output_schema.is_empty()),
    ] {
        if is_empty {
            return Err(ParamError::new(param, format!("{param} is empty"))
                .hint("e.g. input_keys: [text], output_schema: {animal: the animal it is about}")
                .into());
        }
    }
    let lines = params.output_schema.iter();
    let lines: Vec<String> = lines
        .map(|(name, what)| format!("- {name}: {}", python_str(what)))
        .collect();
    let given = params.system_prompt.filter(|prompt| !prompt.is_empty());
    let script = Extract {
        server,
        input_keys: params.input_keys,
        names: params.output_schema.keys().cloned().collect(),
        instructions: lines.join("\n"),
        meta_key: params.meta_output_key.filter(|key| !key.is_empty()),
        key: params.knowledge_grounding_key,
        fixed: params.knowledge_grounding_fixed,
        system_prompt: given.unwrap_or_else(|| prompts::EXTRACT_SYSTEM.to_owned()),
        template: Format::of(
            "output_schema",
            None,
            prompts::EXTRACT_USER_TEMPLATE,
            &["input_text", "output_instructions"],
        )?,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Extract {
    /// The members in what was said.
    fn read(&self, said: &str) -> Option<Map<String, Value>> {
        let between = |open: char, close: char| {
            let (start, end) = (said.find(open)?, said.rfind(close)?);
            said.get(start..=end).map(|text| (start, text))
        };
        let (object, list) = (between('{', '}'), between('[', ']'));
        if let Some((start, text)) = object
            && list.is_none_or(|(at, _)| start <= at)
            && let Value::Object(mut found) = read_json(text).ok()?
        {
            let names = self.names.iter();
            return Some(
                names
                    .map(|name| (name.clone(), found.remove(name).unwrap_or_default()))
                    .collect(),
            );
        }
        if let ([only], Some((_, text))) = (self.names.as_slice(), list)
            && let list @ Value::Array(_) = read_json(text).ok()?
        {
            return Some([(only.clone(), list)].into_iter().collect());
        }
        None
    }

    fn edits(
        &self,
        sample: &Sample,
        found: Map<String, Value>,
        used: Option<Value>,
    ) -> Result<Vec<Edit>, Halt> {
        let mut meta = meta_of(sample)?;
        match &self.meta_key {
            Some(key) => {
                meta.insert(key.clone(), found.into());
            }
            None => meta.extend(found),
        }
        if let Some(used) = used {
            meta.insert(USAGE.to_owned(), used);
        }
        Ok(vec![edit_meta(meta)])
    }
}

impl Script for Extract {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let mut parts = Vec::new();
        for key in &self.input_keys {
            let value = top_value(sample, key)?;
            if !value.is_null() {
                parts.push(format!("{key}: {}", python_str(&value)));
            }
        }
        if parts.is_empty() {
            let nulls = self.names.iter().map(|name| (name.clone(), Value::Null));
            return self.edits(sample, nulls.collect(), None);
        }
        let asked = self.template.fill(&[
            ("input_text", &parts.join("\n")),
            ("output_instructions", &self.instructions),
        ]);
        let asked = match grounding(sample, self.fixed.as_ref(), self.key.as_ref())? {
            Some(known) => format!("# Background / grounding\n{known}\n\n{asked}"),
            None => asked,
        };
        let before = meta_of(sample)?.get(USAGE).cloned();
        let messages = system_and_user(&self.system_prompt, asked);
        let (found, used) = talk.use_said(&messages, |said| {
            let found = self.read(strip(&said.text))?;
            Some((found, usage(before.as_ref(), said)))
        })?;
        self.edits(sample, found, Some(used))
    }
}
