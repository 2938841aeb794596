//! Has a language model sum up attributes of entities in texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    /// Has a language model sum up attributes of entities in the text, into `__dj__meta__`.
    ///
    /// For each of `query_entities` and each of `query_attributes` a server is sent the text and asked
    /// for a description and for passages that show it. The four lists `entity_key`, `attribute_key`,
    /// `attribute_desc_key` and `support_text_key` have an element for each pair. A row that has all
    /// four is passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - extract_entity_attribute_mapper: {api_model: m, query_entities: [Tom], query_attributes: [style], model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a"}, "said": ["# Tom\n## style：\ndry\n### 代表性示例摘录1：\n```\nhm\n```"], "out": {"text": "a", "__dj__meta__": {"main_entities": ["Tom"], "attributes": ["style"], "attribute_descriptions": ["dry"], "attribute_support_texts": [["hm"]]}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `extract_entity_attribute_mapper`: the same requests, and the same lists for
    /// answers that can be read. Where none can for a pair, or the server fails, its description is
    /// empty there; here the row is set aside.
    extract_entity_attribute_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta, Field::TextWith("drop_text")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// The entities that are asked about.
    query_entities: Vec<String> = Vec::new();
    /// The attributes that are asked for.
    query_attributes: Vec<String> = Vec::new();
    /// What the list of entities is called in `__dj__meta__`.
    entity_key: String = "main_entities".to_owned();
    /// What the list of attributes is called.
    attribute_key: String = "attributes".to_owned();
    /// What the list of descriptions is called.
    attribute_desc_key: String = "attribute_descriptions".to_owned();
    /// What the list of lists of passages is called.
    support_text_key: String = "attribute_support_texts".to_owned();
    /// What the model is told, with `{entity}` and `{attribute}`; null for Data-Juicer's prompt.
    system_prompt_template: Option<String> = None;
    /// What is sent, with `{text}` in it.
    input_template: Option<String> = None;
    /// A regular expression (of Python, verbose) with `{attribute}`, whose group is the description.
    attr_pattern_template: Option<String> = None;
    /// A regular expression (of Python, verbose) whose second group is a passage.
    demo_pattern: Option<String> = None;
    /// Whether an answer without passages cannot be used.
    require_support_demos: bool = true;
    /// Whether the text goes.
    drop_text: bool = false;
}

struct Attributes {
    server: Server,
    text_key: FieldPath,
    input: Format,
    /// What is asked: entity, attribute, what the model is told, how the description is found.
    pairs: Vec<(String, String, String, Pattern)>,
    passages: Pattern,
    keys: [String; 4],
    needs_passages: bool,
    drop_text: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let system = Format::of(
        "system_prompt_template",
        params.system_prompt_template.as_ref(),
        prompts::ENTITY_ATTRIBUTE_SYSTEM_PROMPT_TEMPLATE,
        &["entity", "attribute"],
    )?;
    let description = Format::of(
        "attr_pattern_template",
        params.attr_pattern_template.as_ref(),
        prompts::ENTITY_ATTRIBUTE_ATTR_PATTERN_TEMPLATE,
        &["attribute"],
    )?;
    let mut pairs = Vec::new();
    for entity in &params.query_entities {
        for attribute in &params.query_attributes {
            let told = system.fill(&[("entity", entity), ("attribute", attribute)]);
            let found = description.fill(&[("attribute", attribute)]);
            let found = pattern("attr_pattern_template", None, &found, "sx")?;
            pairs.push((entity.clone(), attribute.clone(), told, found));
        }
    }
    let script = Attributes {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        input: Format::of(
            "input_template",
            params.input_template.as_ref(),
            prompts::ENTITY_ATTRIBUTE_INPUT_TEMPLATE,
            &["text"],
        )?,
        pairs,
        passages: pattern(
            "demo_pattern",
            params.demo_pattern.as_ref(),
            prompts::ENTITY_ATTRIBUTE_DEMON_PATTERN,
            "sx",
        )?,
        keys: [
            params.entity_key,
            params.attribute_key,
            params.attribute_desc_key,
            params.support_text_key,
        ],
        needs_passages: params.require_support_demos,
        drop_text: params.drop_text,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Attributes {
    /// Description and passages in an answer.
    fn read(&self, description: &Pattern, said: &str) -> Option<(String, Vec<String>)> {
        let found = flattened(description, said).ok()?;
        let description = strip(found.first()?.first()?).to_owned();
        let mut passages = Vec::new();
        for groups in flattened(&self.passages, said).ok()? {
            let [_, passage] = groups.as_slice() else {
                return None;
            };
            let passage = strip(passage);
            if !passage.is_empty() {
                passages.push(passage.to_owned());
            }
        }
        let shown = !self.needs_passages || !passages.is_empty();
        (shown && !description.is_empty()).then_some((description, passages))
    }
}

impl Script for Attributes {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let keys = self.keys.each_ref().map(String::as_str);
        if meta_has(sample, &keys)? {
            return Ok(Vec::new());
        }
        let text = field(sample, self.text_key.as_str())?;
        let input = self.input.fill(&[("text", &text)]);
        let mut lists: [Vec<Value>; 4] = Default::default();
        for (entity, attribute, told, description) in &self.pairs {
            let messages = system_and_user(told, input.as_str());
            let found = talk.use_of(&messages, |said| self.read(description, said))?;
            let values: [Value; 4] = [
                entity.as_str().into(),
                attribute.as_str().into(),
                found.0.into(),
                found.1.into(),
            ];
            for (list, value) in lists.iter_mut().zip(values) {
                list.push(value);
            }
        }
        let found = keys.into_iter().zip(lists.map(Value::from)).collect();
        let mut edits = vec![set_meta(sample, found)?];
        drop_text(&mut edits, self.drop_text, &self.text_key);
        Ok(edits)
    }
}
