//! Has a language model say how users feel in dialogs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Operator, ParamError, operator};
use crate::ops::llm::dialog::{Dialog, Finds, language_note};
use crate::ops::llm::{Format, Scripted, llm_params, pattern, prompts};

operator! {
    /// Has a language model say how the user feels in each turn of a dialog, from -5 to 5, into `__dj__meta__`.
    ///
    /// A server is asked about each question, those of `history_key` and the last one, with up to
    /// `max_round` turns before it and what was found in them. Its analysis of each turn becomes an element of the list
    /// `analysis_key`, its number one of `intensities_key` (0 if it says none). A row that has both is passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - dialog_sentiment_intensity_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"history": [], "query": "hi", "response": "hello"}, "said": ["情绪分析：short\n情绪值：3"], "out": {"history": [], "query": "hi", "response": "hello", "__dj__meta__": {"dialog_sentiment_intensity": [3], "dialog_sentiment_intensity_analysis": ["short"]}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `dialog_sentiment_intensity_mapper`: the same requests, and the same lists for answers
    /// that can be read. Where none can for a turn, or the server fails, the row fails or the last turn counts again there; here the row is
    /// set aside.
    dialog_sentiment_intensity_mapper: Mapper(Params) => build,
    Facts {
        reads: &[
            Field::Param("history_key"),
            Field::Param("query_key"),
            Field::Param("response_key"),
            Field::Meta,
        ],
        writes: &[Field::Meta],
        ..Facts::NONE
    }
}

llm_params! {
    api_model = Some("gpt-4o".to_owned()), try_num = 3;
    /// How many turns before are shown; 0 for none.
    max_round: usize = 10;
    /// What the list of numbers is called in `__dj__meta__`.
    intensities_key: String = "dialog_sentiment_intensity".to_owned();
    /// What the list of analyses is called.
    analysis_key: String = "dialog_sentiment_intensity_analysis".to_owned();
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// How a question is shown, with `{query}`.
    query_template: Option<String> = None;
    /// How an answer is shown, with `{response}`.
    response_template: Option<String> = None;
    /// How an analysis is shown, with `{analysis}`.
    analysis_template: Option<String> = None;
    /// How a finding is shown, with `{intensity}`.
    intensity_template: Option<String> = None;
    /// A regular expression whose first group is the analysis.
    analysis_pattern: Option<String> = None;
    /// A regular expression whose first group is the finding.
    intensity_pattern: Option<String> = None;
    /// How many characters of a question are shown; 0 for all.
    max_query_chars_for_prompt: usize = 0;
    /// How many characters of an answer are shown; 0 for all.
    max_response_chars_for_prompt: usize = 0;
    /// In which language the model is to write: `zh` or `en`.
    preferred_output_lang: String = "zh".to_owned();
    /// The field of the turns before: a list of pairs.
    history_key: String = "history".to_owned();
    /// The field of the last question.
    query_key: String = "query".to_owned();
    /// The field of its answer.
    response_key: String = "response".to_owned();
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let format = |name: &str, given: &Option<String>, usual: &str, field: &str| {
        Format::of(name, given.as_ref(), usual, &[field])
    };
    let given = params
        .system_prompt
        .clone()
        .filter(|prompt| !prompt.is_empty());
    let mut system_prompt =
        given.unwrap_or_else(|| prompts::DIALOG_INTENSITY_SYSTEM_PROMPT.to_owned());
    system_prompt.push_str(language_note(&params.preferred_output_lang, "intensity"));
    Ok(Operator::Mapper(Box::new(Scripted(Dialog {
        server: params.server(context)?,
        system_prompt,
        candidates: String::new(),
        max_round: params.max_round,
        templates: [
            format(
                "query_template",
                &params.query_template,
                prompts::DIALOG_INTENSITY_QUERY_TEMPLATE,
                "query",
            )?,
            format(
                "analysis_template",
                &params.analysis_template,
                prompts::DIALOG_INTENSITY_ANALYSIS_TEMPLATE,
                "analysis",
            )?,
            format(
                "intensity_template",
                &params.intensity_template,
                prompts::DIALOG_INTENSITY_INTENSITY_TEMPLATE,
                "intensity",
            )?,
            format(
                "response_template",
                &params.response_template,
                prompts::DIALOG_INTENSITY_RESPONSE_TEMPLATE,
                "response",
            )?,
        ],
        patterns: [
            pattern(
                "analysis_pattern",
                params.analysis_pattern.as_ref(),
                prompts::DIALOG_INTENSITY_ANALYSIS_PATTERN,
                "",
            )?,
            pattern(
                "intensity_pattern",
                params.intensity_pattern.as_ref(),
                prompts::DIALOG_INTENSITY_INTENSITY_PATTERN,
                "",
            )?,
        ],
        finds: Finds::Number,
        keys: [params.intensities_key, params.analysis_key],
        fields: [params.history_key, params.query_key, params.response_key],
        most: [
            params.max_query_chars_for_prompt,
            params.max_response_chars_for_prompt,
        ],
    }))))
}
