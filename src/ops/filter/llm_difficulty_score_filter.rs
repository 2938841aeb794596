//! Keeps rows by how difficult a language model finds them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{Bounds, BuildContext, Facts, Field, Operator, ParamError, StatDef, operator};
use crate::ops::llm::score::{Kind, Scored, Words, stats};
use crate::ops::llm::{llm_params, no_local_model, prompts};

operator! {
    /// Keeps rows by how difficult a language model finds them, between `min_score` and `max_score`.
    ///
    /// A server is sent the row's `input_keys` and asked for the knowledge and the steps that they take.
    ///
    /// The model is to answer with a JSON object that has `dimension_scores`: `linguistic_complexity`,
    /// `conceptual_depth`, `prior_knowledge`, `step_complexity` and `ambiguity`, from 1 to 5
    /// each. The score is their mean divided by 5; an object without them scores 0. The object becomes
    /// `llm_difficulty_record`, its `tags` `llm_difficulty_tags`. Both ends are inclusive.
    ///
    /// An answer that cannot be read is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - llm_difficulty_score_filter: {api_or_hf_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "__dj__stats__": {"llm_difficulty_score": 0.8}}, "out": {"text": "a", "__dj__stats__": {"llm_difficulty_score": 0.8}}, "stats": {"llm_difficulty_score": 0.8}}
    /// {"in": {"text": "a", "__dj__stats__": {"llm_difficulty_score": 0.3}}, "out": null, "stats": {"llm_difficulty_score": 0.3}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `llm_difficulty_score_filter` with an API: the same requests, and the same score for
    /// each answer that can be read. Where none can, or the server fails, Data-Juicer's score is 0,
    /// which drops the row; here the row is set aside. Models are not run in the process: `is_hf_model` and
    /// `enable_vllm` must be false.
    llm_difficulty_score_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Param("input_keys")],
        stats: &STATS,
        ..Facts::NONE
    }
}

llm_params! {
    api_or_hf_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// Least score kept, inclusive.
    min_score: Option<f64> = Some(0.5);
    /// Greatest score kept, inclusive.
    max_score: Option<f64> = Some(1.0);
    /// Must be false: a model is asked at a server.
    is_hf_model: bool = false;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// The fields that are sent, those that the row has.
    input_keys: Vec<String> = vec!["text".to_owned()];
    /// How they are called there, one for each.
    field_names: Vec<String> = vec!["Text".to_owned()];
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// What is sent, with `{data}` in it.
    input_template: Option<String> = None;
    /// A field in it, with `{field_name}` and `{field_data}`.
    field_template: Option<String> = None;
    /// The dimensions whose mean is the score; null for those above.
    dim_required_keys: Option<Vec<String>> = None;
    /// In which language the model is to explain itself: `zh` or `en`.
    preferred_output_lang: Option<String> = None;
}

const SCORE: StatDef = StatDef::number("llm_difficulty_score")
    .min("min_score")
    .max("max_score");

const STATS: [StatDef; 3] = stats(SCORE, "llm_difficulty_record", "llm_difficulty_tags");

const KIND: Kind = Kind {
    system_prompt: prompts::LLM_DIFFICULTY_SYSTEM_PROMPT,
    keys: &[
        "linguistic_complexity",
        "conceptual_depth",
        "prior_knowledge",
        "step_complexity",
        "ambiguity",
    ],
    keeps_zero: false,
};

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    no_local_model(params.is_hf_model, params.enable_vllm)?;
    let words = Words {
        input_keys: &params.input_keys,
        field_names: &params.field_names,
        system_prompt: params.system_prompt.as_ref(),
        input_template: params.input_template.as_ref(),
        field_template: params.field_template.as_ref(),
        dim_required_keys: params.dim_required_keys.as_ref(),
        preferred_output_lang: params.preferred_output_lang.as_ref(),
    };
    let bounds = Bounds::new(&SCORE, params.min_score, params.max_score, &context.base);
    let filter = Scored::build(&KIND, params.server(context), &words, bounds)?;
    Ok(Operator::Filter(Box::new(filter)))
}
