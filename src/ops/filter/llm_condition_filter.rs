//! Keeps rows of which a language model says that they meet a condition.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smallvec::smallvec;

use crate::op::{
    Answer, Asks, Bounds, BuildContext, Facts, Field, Filter, Measured, Operator, ParamError,
    StatDef, StatType, Verdict, operator,
};
use crate::ops::llm::{
    Format, Halt, Script, Server, Strategy, Talk, grounding, llm_params, no_local_model, prompts,
    system_and_user, usage,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue, Stats};
use crate::text::{python_str, strip};

operator! {
    /// Keeps rows of which a language model says that they meet the condition `condition`.
    ///
    /// A server is sent the text and asked to answer yes or no. An answer that, stripped and in lower
    /// case, begins with `yes` or is `y` is a yes, every other one a no. An empty text is a no, an
    /// empty condition a yes, without a question. What the request took stands in
    /// `llm_semantic_usage`.
    ///
    /// An empty answer is asked for anew, `try_num` times in all; then the row is set aside as
    /// `answer_unusable`. Of what is sent, how failures are met, what it costs and what is never paid
    /// twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - llm_condition_filter: {condition: it is about cats, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "__dj__stats__": {"llm_condition_filter_result": true}}, "out": {"text": "a", "__dj__stats__": {"llm_condition_filter_result": true}}, "stats": {"llm_condition_filter_result": true}}
    /// {"in": {"text": " "}, "out": null, "stats": {"llm_condition_filter_result": false, "llm_semantic_usage": null}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `llm_condition_filter` with an API: the same requests, and the same result
    /// for each answer that is not empty. An empty one, and a server that fails, is a no there, which
    /// drops the row; here the row is set aside. A row that brings the result along is not asked
    /// about. Where nothing is asked `llm_semantic_usage` is null here and missing there. Models are
    /// not run in the process: `is_hf_model` and `enable_vllm` must be false.
    llm_condition_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Text, Field::Param("knowledge_grounding_key")],
        stats: &[RESULT, USAGE],
        ..Facts::NONE
    }
}

llm_params! {
    api_or_hf_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// What is to be true of the text.
    condition: String = String::new();
    /// The field with what the model should know of the row.
    knowledge_grounding_key: Option<String> = None;
    /// What it should know of every row; it wins over the field.
    knowledge_grounding_fixed: Option<String> = None;
    /// Must be false: a model is asked at a server.
    is_hf_model: bool = false;
    /// Must be false: a model is asked at a server.
    enable_vllm: bool = false;
    /// Without effect, as in Data-Juicer, which does not know the words that recipes have for it.
    strategy: Option<Strategy> = None;
    /// Without effect, as `strategy`.
    examples: Option<String> = None;
}

const RESULT: StatDef = StatDef::new("llm_condition_filter_result", StatType::Flag);
const USAGE: StatDef = StatDef::new("llm_semantic_usage", StatType::Any).beside();

struct Asked {
    server: Server,
    text_key: FieldPath,
    condition: String,
    key: Option<String>,
    fixed: Option<String>,
    template: Format,
}

struct ConditionFilter(Asked);

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    no_local_model(params.is_hf_model, params.enable_vllm)?;
    Ok(Operator::Filter(Box::new(ConditionFilter(Asked {
        server: params.server(context)?,
        text_key: context.base.text_key.clone(),
        condition: params.condition,
        key: params.knowledge_grounding_key,
        fixed: params.knowledge_grounding_fixed,
        template: Format::of(
            "condition",
            None,
            prompts::CONDITION_USER_TEMPLATE,
            &["text", "condition"],
        )?,
    }))))
}

impl Script for Asked {
    type Outcome = Measured;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Measured, Halt> {
        let result = |result: bool, usage: Value| -> Measured {
            smallvec![StatValue::json(result), StatValue::json(usage)]
        };
        let text = sample.value(&self.text_key)?.filter(|text| !text.is_null());
        let text = text.as_ref().map(python_str).unwrap_or_default();
        let text = strip(&text);
        if text.is_empty() {
            return Ok(result(false, Value::Null));
        }
        if self.condition.is_empty() {
            return Ok(result(true, Value::Null));
        }
        let asked = self
            .template
            .fill(&[("text", text), ("condition", &self.condition)]);
        let known = grounding(sample, self.fixed.as_ref(), self.key.as_ref())?;
        let asked = match known {
            Some(known) => format!("# Background\n{known}\n\n{asked}"),
            None => asked,
        };
        let messages = system_and_user(prompts::CONDITION_SYSTEM, asked);
        let (said, used) = talk.use_said(&messages, |said| {
            let said_text = strip(&said.text).to_lowercase();
            (!said_text.is_empty()).then(|| (said_text, usage(None, said)))
        })?;
        Ok(result(said.starts_with("yes") || said == "y", used))
    }
}

impl Filter for ConditionFilter {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        self.0.outcome(sample, &[])
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(&self.0)
    }

    fn measure_answers(&self, sample: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        self.0.outcome(sample, answers)
    }

    fn decide_within(&self, _: &[Bounds], stats: &Stats) -> Verdict {
        match stats.get(RESULT.name()) {
            Some(value) if value.as_json() == Some(&Value::Bool(true)) => Verdict::Keep,
            other => {
                let value = other.cloned().unwrap_or_else(|| StatValue::json(false));
                Verdict::drop(RESULT.name(), value, "true")
            }
        }
    }
}
