//! Has a language model make questions and answers of texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Operator, ParamError, Part, operator, positive};
use crate::ops::llm::qa::field;
use crate::ops::llm::{
    Halt, Script, ScriptedParts, Server, Talk, flattened, llm_params, no_local_model, pattern, user,
};
use crate::sample::{FieldPath, Sample};
use crate::text::python_regex::Pattern;
use crate::text::strip;

operator! {
    /// Makes a row of each pair of question and answer that a language model makes of the text.
    ///
    /// A server is sent the text; each match of `output_pattern` in its answer, the first `max_num` of
    /// them, is a copy of the row with `query_key` and `response_key`.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - generate_qa_from_text_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a kite is a bird"}, "said": ["Human: a kite?\nAssistant: a bird\nHuman: and?\nAssistant: no"], "out": [{"text": "a kite is a bird", "query": "a kite?", "response": "a bird"}, {"text": "a kite is a bird", "query": "and?", "response": "no"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `generate_qa_from_text_mapper`, which runs its model in the process: here it is
    /// asked at a server, under the name `api_model`, or else `hf_model`. Answers are read the same.
    /// A row without a pair vanishes there, and is set aside here. `enable_vllm` must be false.
    generate_qa_from_text_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text],
        writes: &[Field::Param("query_key"), Field::Param("response_key")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = None, try_num = 3;
    /// What the server calls the model, unless `api_model` says.
    hf_model: Option<String> = Some("alibaba-pai/pai-qwen1_5-7b-doc2qa".to_owned());
    /// The most pairs of a text; null for all.
    max_num: Option<i64> = None;
    /// A regular expression (of Python, the dot matches line feeds) whose groups are question and
    /// answer.
    output_pattern: Option<String> = None;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// The field that the question goes to.
    query_key: String = "query".to_owned();
    /// The field that the answer goes to.
    response_key: String = "response".to_owned();
}

/// What Data-Juicer looks for.
const PATTERN: &str = r"Human:(.*?)Assistant:(.*?)(?=Human|$)";

struct Pairs {
    server: Server,
    text_key: FieldPath,
    pattern: Pattern,
    most: usize,
    keys: [FieldPath; 2],
}

fn build(mut params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    no_local_model(false, params.enable_vllm)?;
    params.api_model = params.api_model.take().or_else(|| params.hf_model.clone());
    let most = params.max_num.map(|most| positive("max_num", most));
    let script = Pairs {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        pattern: pattern(
            "output_pattern",
            params.output_pattern.as_ref(),
            PATTERN,
            "s",
        )?,
        most: most.transpose()?.unwrap_or(usize::MAX),
        keys: [
            params.query_key.as_str().into(),
            params.response_key.as_str().into(),
        ],
    };
    Ok(Operator::Expander(Box::new(ScriptedParts(script))))
}

impl Script for Pairs {
    type Outcome = Vec<Part>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Part>, Halt> {
        let text = field(sample, self.text_key.as_str())?;
        let pairs = talk.use_of(&[user(text)], |said| {
            let found = flattened(&self.pattern, said).ok()?;
            let pairs = found
                .iter()
                .take(self.most)
                .map(|groups| match groups.as_slice() {
                    [query, response] => Some([query, response].map(|text| strip(text).to_owned())),
                    _ => None,
                });
            let pairs: Vec<[String; 2]> = pairs.collect::<Option<_>>()?;
            (!pairs.is_empty()).then_some(pairs)
        })?;
        let parts = pairs.into_iter().map(|pair| {
            let values = pair.map(Value::from);
            Part::Edits(self.keys.iter().cloned().zip(values).collect())
        });
        Ok(parts.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_as_data_juicer_finds_them() {
        let found =
            |text: &str| flattened(&pattern("p", None, PATTERN, "s").unwrap(), text).unwrap();
        assert_eq!(found("Human: only question").len(), 0);
        assert_eq!(found("x Human: a Assistant: b"), [[" a ", " b"]]);
        // A word of the text may end an answer.
        assert_eq!(
            found("Human: of Human rights Assistant: a"),
            [[" of Human rights ", " a"]]
        );
    }
}
