//! Has a language model fill a field from a template.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{
    BuildContext, Facts, Field, ImageNeed, Mapper, Operator, ParamError, operator, top_value,
};
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, flattened, image_url, llm_params, message,
    pattern, user,
};
use crate::ops::model::distinct;
use crate::sample::{RowError, Sample};
use crate::text::python_regex::Pattern;
use crate::text::{python_str, strip};

operator! {
    /// Has a language model fill a field: a template with fields of the row in, its answer out.
    ///
    /// A server is sent `input_template`, in which `{NAME}` stands for the field of that name, and, with
    /// `images: true`, the images of the row, each path once. Its answer, stripped, or, with an
    /// `output_pattern`, the first group of its first match, goes to `output_key`. A row that lacks a
    /// field of the template is set aside as `missing_field`.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - llm_mapper: {api_model: m, input_template: "Translate into French: {text}", output_key: french, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a kite"}, "said": [" un milan\n"], "out": {"text": "a kite", "french": "un milan"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    llm_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Any],
        writes: &[Field::Param("output_key")],
        images: |params| {
            if params.get("images") == Some(&Value::Bool(true)) {
                ImageNeed::Scaled
            } else {
                ImageNeed::None
            }
        },
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What the user says, with fields of the row in braces (`{{` and `}}` for braces).
    input_template: String = "{text}".to_owned();
    /// What the model is told first; null for nothing.
    system_prompt: Option<String> = None;
    /// The field that the answer goes to.
    output_key: String = "llm_output".to_owned();
    /// A regular expression (of Python, the dot matches line feeds): its first group, or all of its
    /// match, is kept of the answer; null for all of it.
    output_pattern: Option<String> = None;
    /// Whether the row's images are sent, too.
    images: bool = false;
}

struct Fill {
    server: Server,
    input: Format,
    system_prompt: Option<String>,
    output_key: String,
    pattern: Option<Pattern>,
    images: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if params.output_key.is_empty() {
        return Err(ParamError::new("output_key", "output_key is empty")
            .hint("name the field that the answer goes to")
            .into());
    }
    let given = params
        .output_pattern
        .as_ref()
        .filter(|text| !text.is_empty());
    let script = Fill {
        server: params.server(context)?,
        input: Format::read("input_template", &params.input_template)?,
        pattern: given
            .map(|_| pattern("output_pattern", given, "", "s"))
            .transpose()?,
        system_prompt: params.system_prompt.filter(|prompt| !prompt.is_empty()),
        output_key: params.output_key,
        images: params.images,
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Fill {
    fn messages(&self, sample: &Sample) -> Result<Vec<Value>, RowError> {
        let text = self.input.try_fill(|name| {
            if !sample.has(name) {
                let message = format!("field '{name}' is missing");
                return Err(RowError::new("missing_field", message));
            }
            Ok(python_str(&top_value(sample, name)?).into_owned().into())
        })?;
        let mut messages: Vec<Value> = Vec::new();
        messages.extend(
            self.system_prompt
                .iter()
                .map(|told| message("system", told.as_str())),
        );
        if !self.images {
            messages.push(user(text));
            return Ok(messages);
        }
        let mut content = vec![json!({"type": "text", "text": text})];
        for slot in distinct(sample.images()?) {
            let url = image_url(slot, self.server.compat_requests)?;
            content.push(json!({"type": "image_url", "image_url": {"url": url}}));
        }
        messages.push(user(content));
        Ok(messages)
    }

    fn read(&self, said: &str) -> Option<String> {
        let found = match &self.pattern {
            None => strip(said).to_owned(),
            Some(pattern) => {
                let found = flattened(pattern, said).ok()?;
                strip(found.first()?.first()?).to_owned()
            }
        };
        (!found.is_empty()).then_some(found)
    }
}

impl Script for Fill {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let found = talk.use_lazily(|| self.messages(sample), |said| self.read(said))?;
        Ok(vec![Edit::Set(self.output_key.clone(), found.into())])
    }
}
