//! Has a language model correct answers by a text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Operator, ParamError, operator};
use crate::ops::llm::qa::{Qa, Reads, field};
use crate::ops::llm::{Format, Scripted, llm_params, pattern, prompts};
use crate::sample::Sample;

operator! {
    /// Has a language model correct the answer of a row by its text, so that it still answers its question.
    ///
    /// A server is sent text, question and answer; what it says, stripped, is the new answer, or, with an
    /// `output_pattern`, its last group.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - calibrate_response_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "cats are mammals", "query": "a cat?", "response": "a bird"}, "said": ["a mammal"], "out": {"text": "cats are mammals", "query": "a cat?", "response": "a mammal"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `calibrate_response_mapper`: the same requests, and the same pair for each answer
    /// that can be used. Where none can, or the server fails, the row stays as it is there and is set
    /// aside here.
    calibrate_response_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Param("query_key"), Field::Param("response_key")],
        writes: &[Field::Param("response_key")],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{reference}` and `{qa_pair}`.
    input_template: Option<String> = None;
    /// The text in it, with `{}` for it.
    reference_template: Option<String> = None;
    /// The pair in it, with `{}` for the question and `{}` for the answer.
    qa_pair_template: Option<String> = None;
    /// A regular expression, matched at the beginning, whose last group is the answer.
    output_pattern: Option<String> = None;
    /// The field of the question.
    query_key: String = "query".to_owned();
    /// The field of the answer.
    response_key: String = "response".to_owned();
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let server = params.server(context)?;
    let input = Format::of(
        "input_template",
        params.input_template.as_ref(),
        prompts::CALIBRATE_QA_INPUT_TEMPLATE,
        &["reference", "qa_pair"],
    )?;
    let reference = Format::of(
        "reference_template",
        params.reference_template.as_ref(),
        prompts::CALIBRATE_QA_REFERENCE_TEMPLATE,
        &["0"],
    )?;
    let pair = Format::of(
        "qa_pair_template",
        params.qa_pair_template.as_ref(),
        prompts::CALIBRATE_QA_QA_PAIR_TEMPLATE,
        &["0", "1"],
    )?;
    // Data-Juicer's own pattern stands for none.
    let given = params.output_pattern.as_ref();
    let given = given.filter(|pattern| *pattern != prompts::CALIBRATE_QA_OUTPUT_PATTERN);
    let reads = match given {
        Some(_) => Reads::ResponseBy(pattern("output_pattern", given, "", "")?),
        None => Reads::Response,
    };
    let given = params.system_prompt.filter(|prompt| !prompt.is_empty());
    let text_key = context.base.text_key.as_str().to_owned();
    let (query_key, response_key) = (params.query_key.clone(), params.response_key.clone());
    Ok(Operator::Mapper(Box::new(Scripted(Qa {
        server,
        system_prompt: given
            .unwrap_or_else(|| prompts::CALIBRATE_RESPONSE_SYSTEM_PROMPT.to_owned()),
        input: move |sample: &Sample| {
            let text = field(sample, &text_key)?;
            let query = field(sample, &query_key)?;
            let response = field(sample, &response_key)?;
            let reference = reference.fill(&[("0", &text)]);
            let pair = pair.fill(&[("0", &query), ("1", &response)]);
            Ok(input.fill(&[("reference", &reference), ("qa_pair", &pair)]))
        },
        reads,
        query_key: params.query_key,
        response_key: params.response_key,
    }))))
}
