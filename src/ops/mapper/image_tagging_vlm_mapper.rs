//! Has a language model that sees find tags for images.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{BuildContext, Facts, Field, ImageNeed, Mapper, Operator, ParamError, operator};
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, image_url, llm_params, message, meta_has,
    prompts, set_meta, user,
};
use crate::ops::model::distinct;
use crate::sample::{FieldPath, Sample, read_json};
use crate::text::{lower, python_str, strip};

operator! {
    /// Has a language model that sees find tags for the images of a row, into `__dj__meta__`.
    ///
    /// A server is sent each image, once a path, with the text; the `tags` (or `tag`) of the JSON
    /// object in its answer, in lower case, with hyphens for spaces and cut at 30 characters, up to 10
    /// different ones in their order, are an element of the list `tag_field_name`. A row that has the
    /// list is passed over; without images the list is one empty list.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - image_tagging_vlm_mapper: {api_or_hf_model: m, is_api_model: true, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "images": []}, "out": {"text": "a", "images": [], "__dj__meta__": {"image_tags": [[]]}}}
    /// {"in": {"images": ["fixtures/images/apng_sound.png"]}, "said": ["{'tags': ['Red Kite']}"], "out": {"images": ["fixtures/images/apng_sound.png"], "__dj__meta__": {"image_tags": [["red-kite"]]}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_tagging_vlm_mapper` with `is_api_model: true`: with
    /// `compat_requests: true` the same requests; without it large images are sent smaller, and each
    /// with its true type, where Data-Juicer calls all of them JPEG. The same tags for each answer that
    /// is JSON (or a Python literal); of more than ten there a set decides which stay. Where none is,
    /// or the server fails, the list is empty there; here the row is set aside. Models are not run in
    /// the process: `is_api_model` (false by default) must be true.
    image_tagging_vlm_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Images, Field::Meta],
        writes: &[Field::Meta],
        images: |_| ImageNeed::Scaled,
        ..Facts::NONE
    }
}

llm_params! {
    api_or_hf_model = Some("Qwen/Qwen2.5-VL-7B-Instruct".to_owned()), try_num = 3;
    /// Must be true: a model is asked at a server.
    is_api_model: bool = false;
    /// What the list is called in `__dj__meta__`.
    tag_field_name: String = "image_tags".to_owned();
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent with an image, with `{text}` in it.
    input_template: Option<String> = None;
}

struct Tags {
    server: Server,
    text_key: FieldPath,
    system_prompt: String,
    input: Format,
    name: String,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if !params.is_api_model {
        let message = "a language model is asked at a server, not run in the process";
        return Err(ParamError::new("is_api_model", message)
            .hint("serve it (`vllm serve MODEL`), set is_api_model: true and model_params: {base_url: http://127.0.0.1:8000/v1}")
            .into());
    }
    let given = params
        .system_prompt
        .clone()
        .filter(|prompt| !prompt.is_empty());
    let script = Tags {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        system_prompt: given.unwrap_or_else(|| prompts::IMAGE_TAGGING_SYSTEM_PROMPT.to_owned()),
        input: Format::of(
            "input_template",
            params.input_template.as_ref(),
            prompts::IMAGE_TAGGING_INPUT_TEMPLATE,
            &["text"],
        )?,
        name: params.tag_field_name,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

/// The tags in an answer; nothing if it is no JSON.
fn tags(said: &str) -> Option<Vec<String>> {
    const MOST: usize = 10;
    const CHARS: usize = 30;
    let mut text = strip(said).to_owned();
    for sign in ["```json", "```", "JSON:", "Response:"] {
        text = text.replace(sign, "");
    }
    let quoted = text.replace('\'', "\"");
    let found = read_json(&text).or_else(|_| read_json(&quoted));
    let found = found.or_else(|_| read_json(&of_literal(&quoted)));
    let Value::Object(found) = found.ok()? else {
        return Some(Vec::new());
    };
    let found = found.get("tags").or_else(|| found.get("tag"));
    let words: Vec<String> = match found {
        Some(Value::String(text)) => text.split(',').map(|word| strip(word).to_owned()).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| Some(item.as_str()?.to_owned()))
            .collect(),
        _ => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    let tags = words
        .iter()
        .map(|word| -> String { lower(word).replace(' ', "-").chars().take(CHARS).collect() });
    Some(
        tags.filter(|tag| seen.insert(tag.clone()))
            .take(MOST)
            .collect(),
    )
}

/// A literal of Python as JSON: its words for true, false and nothing, tuples, texts side by side,
/// commas behind the last element.
fn of_literal(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    // Whether what stands at the end is a whole text.
    let mut after_text = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                if after_text {
                    out.pop();
                } else {
                    out.push('"');
                }
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                after_text = true;
            }
            c if c.is_whitespace() => {}
            c => {
                after_text = false;
                match c {
                    '(' => out.push('['),
                    ')' | ']' | '}' => {
                        if out.ends_with(',') {
                            out.pop();
                        }
                        out.push(if c == ')' { ']' } else { c });
                    }
                    c => out.push(c),
                }
            }
        }
    }
    for (python, json) in [("True", "true"), ("False", "false"), ("None", "null")] {
        for before in [":", "[", ","] {
            out = out.replace(&format!("{before}{python}"), &format!("{before}{json}"));
        }
    }
    out
}

impl Script for Tags {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        if meta_has(sample, &[&self.name])? {
            return Ok(Vec::new());
        }
        let slots = sample.images()?;
        let mut lists: Vec<Value> = Vec::new();
        if slots.is_empty() {
            lists.push(json!([]));
        }
        let text = sample.value(&self.text_key)?;
        let text = text.as_ref().map(python_str).unwrap_or_default();
        let asked = self.input.fill(&[("text", &text)]);
        for slot in distinct(slots) {
            let said = talk.use_lazily(
                || {
                    let content = json!([
                        {"type": "text", "text": asked},
                        {"type": "image_url",
                            "image_url": {"url": image_url(slot, self.server.compat_requests)?}},
                    ]);
                    let mut messages = Vec::new();
                    if !self.system_prompt.is_empty() {
                        messages.push(message("system", self.system_prompt.as_str()));
                    }
                    messages.push(user(content));
                    Ok(messages)
                },
                tags,
            )?;
            lists.push(said.into());
        }
        Ok(vec![set_meta(sample, vec![(&self.name, lists.into())])?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_json_or_as_a_literal_of_python() {
        let read = |said: &str| tags(said).unwrap();
        assert_eq!(
            read("```json\n{\"tags\": [\"Red Kite\", \"a\", \"a\"]}\n```"),
            ["red-kite", "a"]
        );
        assert_eq!(read("{'tag': 'one, two'}"), ["one", "two"]);
        assert_eq!(read("{'tags': ['it''s',], 'n': (None, True)}"), ["its"]);
        assert_eq!(read("[1]"), [""; 0]);
        assert_eq!(tags("no"), None);
    }
}
