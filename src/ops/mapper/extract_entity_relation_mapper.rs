//! Has a language model find entities in texts and how they are related.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, operator};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, drop_text, flattened, llm_params, message,
    meta_has, pattern, prompts, set_meta, split_by_punctuation, unusable, user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::python_regex::Pattern;
use crate::text::{parse_python_float, strip};

operator! {
    /// Has a language model find the entities in the text and how they are related, into `__dj__meta__`.
    ///
    /// A server is sent the text in `prompt_template`, and then asked up to `max_gleaning` times for
    /// what it has missed; between two of these it is asked whether there is anything. All that it said
    /// is read together: entities of three parts between `tuple_delimiter`, relations of five, the last
    /// of them a number, each once, in order. They become the lists `entity_key` and `relation_key`;
    /// without relations there is one empty one. A row that has both lists is passed over.
    ///
    /// What is said without any entity is asked for anew from the beginning, `try_num` times in all;
    /// then the row is set aside as `answer_unusable`. Of what is sent, how failures are met, what it
    /// costs and what is never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - extract_entity_relation_mapper: {api_model: m, max_gleaning: 0, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a"}, "said": ["(\"entity\"<|>\"Tom\"<|>\"person\"<|>\"a cat\")##(\"relationship\"<|>\"Tom\"<|>\"Jerry\"<|>\"hunts\"<|>\"play, hunt\"<|>7)"], "out": {"text": "a", "__dj__meta__": {"entity": [{"entity_name": "Tom", "entity_type": "person", "entity_entity_description": "a cat"}], "relation": [{"relation_source_entity": "Tom", "relation_target_entity": "Jerry", "relation_description": "hunts", "relation_keywords": ["play", "hunt"], "relation_strength": 7.0}]}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `extract_entity_relation_mapper`: the same requests, and the same lists where
    /// an entity is found; their order is that of a set there. Where none is, or the server fails, one
    /// empty entity is written there; here the row is set aside. A failed request counts as an empty
    /// answer there.
    extract_entity_relation_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta, Field::TextWith("drop_text")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// The types of entities; null for organization, person, geo and event.
    entity_types: Option<Vec<String>> = None;
    /// What the list of entities is called in `__dj__meta__`.
    entity_key: String = "entity".to_owned();
    /// What the list of relations is called.
    relation_key: String = "relation".to_owned();
    /// What is sent, with `{tuple_delimiter}`, `{record_delimiter}`, `{completion_delimiter}`,
    /// `{entity_types}` and `{input_text}`; null for Data-Juicer's prompt.
    prompt_template: Option<String> = None;
    /// What stands between the parts of an entity or a relation.
    tuple_delimiter: Option<String> = None;
    /// What stands between them.
    record_delimiter: Option<String> = None;
    /// What the model is to end with.
    completion_delimiter: Option<String> = None;
    /// How often the model is asked for what it has missed.
    max_gleaning: u32 = 1;
    /// How it is asked for more.
    continue_prompt: Option<String> = None;
    /// How it is asked whether there is more.
    if_loop_prompt: Option<String> = None;
    /// A regular expression (of Python, verbose) whose group is an entity.
    entity_pattern: Option<String> = None;
    /// A regular expression (of Python, verbose) whose group is a relation.
    relation_pattern: Option<String> = None;
    /// Whether the text goes.
    drop_text: bool = false;
}

struct Relations {
    server: Server,
    text_key: FieldPath,
    prompt: Format,
    /// Values of the prompt's fields but the text.
    values: [(&'static str, String); 4],
    gleanings: u32,
    continue_prompt: String,
    if_loop_prompt: String,
    entity: Pattern,
    relation: Pattern,
    keys: [String; 2],
    drop_text: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let or = |given: &Option<String>, usual: &str| {
        let given = given.as_ref().filter(|text| !text.is_empty());
        given.map_or(usual, String::as_str).to_owned()
    };
    let types = params
        .entity_types
        .as_ref()
        .filter(|types| !types.is_empty());
    let types = types.map_or_else(
        || "organization, person, geo, event".to_owned(),
        |t| t.join(", "),
    );
    let script = Relations {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        prompt: Format::of(
            "prompt_template",
            params.prompt_template.as_ref(),
            prompts::ENTITY_RELATION_PROMPT_TEMPLATE,
            &[
                "tuple_delimiter",
                "record_delimiter",
                "completion_delimiter",
                "entity_types",
                "input_text",
            ],
        )?,
        values: [
            ("tuple_delimiter", or(&params.tuple_delimiter, "<|>")),
            ("record_delimiter", or(&params.record_delimiter, "##")),
            (
                "completion_delimiter",
                or(&params.completion_delimiter, "<|COMPLETE|>"),
            ),
            ("entity_types", types),
        ],
        gleanings: params.max_gleaning,
        continue_prompt: or(
            &params.continue_prompt,
            prompts::ENTITY_RELATION_CONTINUE_PROMPT,
        ),
        if_loop_prompt: or(
            &params.if_loop_prompt,
            prompts::ENTITY_RELATION_IF_LOOP_PROMPT,
        ),
        entity: pattern(
            "entity_pattern",
            params.entity_pattern.as_ref(),
            prompts::ENTITY_RELATION_ENTITY_PATTERN,
            "sx",
        )?,
        relation: pattern(
            "relation_pattern",
            params.relation_pattern.as_ref(),
            prompts::ENTITY_RELATION_RELATION_PATTERN,
            "sx",
        )?,
        keys: [params.entity_key, params.relation_key],
        drop_text: params.drop_text,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

/// Without the quotes around it.
fn unquoted(text: &str) -> &str {
    let text = strip(text);
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    match text {
        // A quote alone is both its beginning and its end.
        "\"" | "'" => "",
        text => inner('"')
            .or_else(|| inner('\''))
            .map_or(text, |inner| inner),
    }
}

impl Relations {
    /// What was said in one go, with what was gleaned.
    fn said(&self, first: &Value, number: u32, talk: &mut Talk<'_>) -> Result<String, Halt> {
        let mut history = vec![first.clone()];
        let answer = &talk.say(&history, number)?.text;
        let mut all = answer.clone();
        history.push(message("assistant", answer.as_str()));
        for gleaning in 0..self.gleanings {
            history.push(user(self.continue_prompt.as_str()));
            let answer = &talk.say(&history, number)?.text;
            history.push(message("assistant", answer.as_str()));
            all.push_str(answer);
            if gleaning + 1 == self.gleanings {
                break;
            }
            // Neither the question whether there is more nor its answer is remembered.
            let mut asked = history.clone();
            asked.push(user(self.if_loop_prompt.as_str()));
            let more = strip(&talk.say(&asked, number)?.text);
            let more = more.trim_matches('"').trim_matches('\'').to_lowercase();
            if more != "yes" {
                break;
            }
        }
        Ok(all)
    }

    /// The parts of each record that a pattern finds, each once.
    fn records(&self, pattern: &Pattern, said: &str, parts: usize) -> Option<Vec<Vec<String>>> {
        let delimiter = &self.values[0].1;
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for groups in flattened(pattern, said).ok()? {
            let items = groups
                .first()?
                .split(delimiter.as_str())
                .map(unquoted)
                .map(strip);
            let items: Vec<String> = items
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect();
            if items.len() == parts && seen.insert(items.clone()) {
                found.push(items);
            }
        }
        Some(found)
    }

    /// Entities and relations in what was said; nothing without an entity.
    fn read(&self, said: &str) -> Option<[Value; 2]> {
        let entities = self.records(&self.entity, said, 3)?;
        let entities: Vec<Value> = entities
            .iter()
            .filter_map(|entity| {
                let [name, kind, description] = entity.as_slice() else {
                    return None;
                };
                Some(json!({
                    "entity_name": name,
                    "entity_type": kind,
                    "entity_entity_description": description,
                }))
            })
            .collect();
        let relations = self.records(&self.relation, said, 5)?;
        let mut relations: Vec<Value> = relations
            .iter()
            .filter_map(|relation| {
                let [from, to, description, keywords, strength] = relation.as_slice() else {
                    return None;
                };
                Some(json!({
                    "relation_source_entity": from,
                    "relation_target_entity": to,
                    "relation_description": description,
                    "relation_keywords": split_by_punctuation(keywords),
                    "relation_strength": parse_python_float(strength)?,
                }))
            })
            .collect();
        if relations.is_empty() {
            relations.push(json!({
                "relation_source_entity": "",
                "relation_target_entity": "",
                "relation_description": "",
                "relation_keywords": [],
                "relation_strength": 0.0,
            }));
        }
        (!entities.is_empty()).then(|| [entities.into(), relations.into()])
    }
}

impl Script for Relations {
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
        let mut values: Vec<(&str, &str)> = self
            .values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        values.push(("input_text", &text));
        let first = user(self.prompt.fill(&values));
        let mut last = String::new();
        for number in 0..talk.tries() {
            last = self.said(&first, number, talk)?;
            if let Some(found) = self.read(&last) {
                let found = keys.into_iter().zip(found).collect();
                let mut edits = vec![set_meta(sample, found)?];
                drop_text(&mut edits, self.drop_text, &self.text_key);
                return Ok(edits);
            }
        }
        Err(unusable(talk.tries(), &last).into())
    }
}
