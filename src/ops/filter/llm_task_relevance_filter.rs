//! Keeps rows that a language model finds relevant to a task.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::valid_rows::valid_rows;
use crate::op::{Bounds, BuildContext, Facts, Field, Operator, ParamError, StatDef, operator};
use crate::ops::llm::score::{Kind, Scored, Words, stats};
use crate::ops::llm::{llm_params, no_local_model, prompts};

operator! {
    /// Keeps rows that a language model finds relevant to a task, at least `min_score`.
    ///
    /// A server is sent the task, by its description (`task_desc`) and rows of it (the first `n_shot`
    /// of `valid_dataset`), and the row's `input_keys`, and asked how far the row would help.
    ///
    /// The model is to answer with a JSON object that has `dimension_scores`: `topical_relevance`,
    /// `linguistic_style_match`, `task_match`, `knowledge_alignment` and `potential_utility`, from 1
    /// to 5 each. The score is their mean divided by 5; an object without them scores 0. The object
    /// becomes `llm_task_relevance_record`, its `tags` `llm_task_relevance_tags`. A score of 0 is kept.
    ///
    /// An answer that cannot be read is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - llm_task_relevance_filter: {api_or_hf_model: m, task_desc: naming animals, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "__dj__stats__": {"llm_task_relevance": 0.8}}, "out": {"text": "a", "__dj__stats__": {"llm_task_relevance": 0.8}}, "stats": {"llm_task_relevance": 0.8}}
    /// {"in": {"text": "a", "__dj__stats__": {"llm_task_relevance": 0.3}}, "out": null, "stats": {"llm_task_relevance": 0.3}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `llm_task_relevance_filter` with an API: the same requests, and the same
    /// score for each answer that can be read. Where none can, or the server fails, Data-Juicer's
    /// score is 0, which keeps the row; here the row is set aside. `task_desc` may stand without
    /// `valid_dataset`, which fails there. `is_hf_model` has no effect there and must be false here;
    /// so must `enable_vllm`. `max_score`, which fails there, is not there.
    llm_task_relevance_filter: Filter(Params) => build,
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
    /// Must be false: a model is asked at a server.
    is_hf_model: bool = false;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// Rows of the task.
    valid_dataset: Option<Vec<Map<String, Value>>> = None;
    /// What the task is.
    task_desc: Option<String> = None;
    /// How many rows of the task are shown; null or 0 for all.
    n_shot: Option<usize> = None;
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

const SCORE: StatDef = StatDef::number("llm_task_relevance").min("min_score");

const STATS: [StatDef; 3] = stats(
    SCORE,
    "llm_task_relevance_record",
    "llm_task_relevance_tags",
);

const KIND: Kind = Kind {
    system_prompt: prompts::LLM_TASK_RELEVANCE_SYSTEM_PROMPT,
    keys: &[
        "topical_relevance",
        "linguistic_style_match",
        "task_match",
        "knowledge_alignment",
        "potential_utility",
    ],
    keeps_zero: true,
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
    let bounds = Bounds::new(&SCORE, params.min_score, None, &context.base);
    let filter = Scored::build(&KIND, params.server(context), &words, bounds)?;
    let mut task = String::new();
    if let Some(description) = &params.task_desc {
        task = format!("# Task Description\n{description}\n\n");
    }
    let rows = valid_rows(params.valid_dataset.as_ref());
    if !rows.is_empty() {
        let shown = params.n_shot.filter(|n| *n > 0).unwrap_or(rows.len());
        let mut blocks = Vec::new();
        for row in rows.iter().take(shown) {
            let data = filter.fields_of(|key| Ok::<_, ParamError>(row.get(key).cloned()))?;
            blocks.push(format!("'''\n{data}\n'''"));
        }
        task = format!("{task}# Validation Data\n{}\n\n", blocks.join("\n\n"));
    }
    if task.is_empty() {
        return Err(ParamError::new("task_desc", "no task is given")
            .hint("describe it (task_desc), or show rows of it (valid_dataset: [{text: …}, …])")
            .into());
    }
    Ok(Operator::Filter(Box::new(filter.after(task))))
}
