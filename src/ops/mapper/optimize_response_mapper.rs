//! Has a language model make answers better.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Operator, ParamError, operator};
use crate::ops::llm::qa::{Qa, Reads, field};
use crate::ops::llm::{Format, Scripted, llm_params, no_local_model, prompts};
use crate::sample::Sample;

operator! {
    /// Has a language model make the answer of a row more detailed, so that it still answers its question.
    ///
    /// A server is sent question and answer; what it says, stripped, is the new answer.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - optimize_response_mapper: {api_or_hf_model: m, is_hf_model: false, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"query": "a cat?", "response": "an animal"}, "said": [" a small mammal "], "out": {"query": "a cat?", "response": "a small mammal"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `optimize_response_mapper` with an API: the same requests, and the same pair for
    /// each answer that can be used. Where none can, or the server fails, the row stays as it is there
    /// and is set aside here. Models are not run in the process: `is_hf_model` (true by default) and
    /// `enable_vllm` must be false.
    optimize_response_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Param("query_key"), Field::Param("response_key")],
        writes: &[Field::Param("response_key")],
        ..Facts::NONE
    }
}

llm_params! {
    api_or_hf_model = Some("Qwen/Qwen2.5-7B-Instruct".to_owned()), try_num = 3;
    /// Must be false: a model is asked at a server.
    is_hf_model: bool = true;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{}` for the pair.
    input_template: Option<String> = None;
    /// The pair in it, with `{}` for the question and `{}` for the answer.
    qa_pair_template: Option<String> = None;
    /// A regular expression whose groups are the question and the answer; without
    /// effect here.
    output_pattern: Option<String> = None;
    /// The field of the question.
    query_key: String = "query".to_owned();
    /// The field of the answer.
    response_key: String = "response".to_owned();
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    no_local_model(params.is_hf_model, params.enable_vllm)?;
    let server = params.server(context)?;
    let input = Format::of(
        "input_template",
        params.input_template.as_ref(),
        prompts::OPTIMIZE_QA_INPUT_TEMPLATE,
        &["0"],
    )?;
    let pair = Format::of(
        "qa_pair_template",
        params.qa_pair_template.as_ref(),
        prompts::OPTIMIZE_QA_QA_PAIR_TEMPLATE,
        &["0", "1"],
    )?;
    let given = params.system_prompt.filter(|prompt| !prompt.is_empty());
    let (query_key, response_key) = (params.query_key.clone(), params.response_key.clone());
    Ok(Operator::Mapper(Box::new(Scripted(Qa {
        server,
        system_prompt: given.unwrap_or_else(|| prompts::OPTIMIZE_RESPONSE_SYSTEM_PROMPT.to_owned()),
        input: move |sample: &Sample| {
            let query = field(sample, &query_key)?;
            let response = field(sample, &response_key)?;
            let pair = pair.fill(&[("0", &query), ("1", &response)]);
            Ok(input.fill(&[("0", &pair)]))
        },
        reads: Reads::Response,
        query_key: params.query_key,
        response_key: params.response_key,
    }))))
}
