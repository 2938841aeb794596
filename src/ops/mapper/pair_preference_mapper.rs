//! Has a language model make a worse answer beside a good one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, operator, top_value};
use crate::ops::llm::qa::{field, starting};
use crate::ops::llm::{
    Edit, Format, Halt, Script, Scripted, Server, Talk, llm_params, pattern, prompts,
    system_and_user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::python_regex::Pattern;
use crate::text::{python_str, strip};

operator! {
    /// Has a language model make an answer that is worse than that of the row, and say why.
    ///
    /// A server is sent the text, if there is one, question and answer; `output_pattern` finds in what
    /// it says an answer of another style, truth or stance (`rejected_key`), and the reason
    /// (`reason_key`).
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - pair_preference_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"query": "a cat?", "response": "a mammal"}, "said": ["【回答】\na stone\n【原因】\nit is wrong"], "out": {"query": "a cat?", "response": "a mammal", "rejected_response": "a stone", "reason": "it is wrong"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `pair_preference_mapper`: the same requests, and the same fields for each
    /// answer that has both. Where none has, or the server fails, they are empty or what the last
    /// answer had there; here the row is set aside.
    pair_preference_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Param("query_key"), Field::Param("response_key")],
        writes: &[Field::Param("rejected_key"), Field::Param("reason_key")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{query}`, `{response}` and `{reference}`.
    input_template: Option<String> = None;
    /// A regular expression (of Python, the dot matches line feeds), matched at the beginning, whose
    /// groups are the answer and the reason.
    output_pattern: Option<String> = None;
    /// The field that the answer goes to.
    rejected_key: String = "rejected_response".to_owned();
    /// The field that the reason goes to.
    reason_key: String = "reason".to_owned();
    /// The field of the question.
    query_key: String = "query".to_owned();
    /// The field of the answer.
    response_key: String = "response".to_owned();
}

struct Preference {
    server: Server,
    text_key: FieldPath,
    system_prompt: String,
    input: Format,
    pattern: Pattern,
    fields: [String; 2],
    keys: [String; 2],
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let given = params
        .system_prompt
        .clone()
        .filter(|prompt| !prompt.is_empty());
    let script = Preference {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        system_prompt: given.unwrap_or_else(|| prompts::PAIR_PREFERENCE_SYSTEM_PROMPT.to_owned()),
        input: Format::of(
            "input_template",
            params.input_template.as_ref(),
            prompts::PAIR_PREFERENCE_INPUT_TEMPLATE,
            &["query", "response", "reference"],
        )?,
        pattern: pattern(
            "output_pattern",
            params.output_pattern.as_ref(),
            prompts::PAIR_PREFERENCE_OUTPUT_PATTERN,
            "s",
        )?,
        fields: [params.query_key, params.response_key],
        keys: [params.rejected_key, params.reason_key],
    };
    let mapper: Box<dyn Mapper> = Box::new(Scripted(script));
    Ok(Operator::Mapper(mapper))
}

impl Script for Preference {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let text_key = self.text_key.as_str();
        let reference = if sample.has(text_key) {
            python_str(&top_value(sample, text_key)?).into_owned()
        } else {
            String::new()
        };
        let input = self.input.fill(&[
            ("query", &field(sample, &self.fields[0])?),
            ("response", &field(sample, &self.fields[1])?),
            ("reference", &reference),
        ]);
        let found = talk.use_of(&system_and_user(&self.system_prompt, input), |said| {
            let groups = starting(&self.pattern, said)?;
            let [answer, reason, ..] = groups.as_slice() else {
                return None;
            };
            let (answer, reason) = (strip(answer), strip(reason));
            let both = !answer.is_empty() && !reason.is_empty();
            both.then(|| [answer.to_owned(), reason.to_owned()])
        })?;
        let edits = self.keys.iter().cloned().zip(found);
        Ok(edits
            .map(|(key, text)| Edit::Set(key, text.into()))
            .collect())
    }
}
