//! Has a language model find what users talk about in dialogs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Operator, ParamError, operator};
use crate::ops::llm::dialog::{Dialog, Finds, Given, Usual, labelling};
use crate::ops::llm::{Scripted, llm_params, prompts};

operator! {
    /// Has a language model find what the user talks about in each turn of a dialog, into `__dj__meta__`.
    ///
    /// A server is asked about each question, those of `history_key` and the last one, with up to
    /// `max_round` turns before it and what was found in them. Its analysis of each turn becomes an element of the list
    /// `analysis_key`, what it finds one of `labels_key`, each once. A row that has both is passed over.
    ///
    /// An answer that cannot be used is asked for anew, `try_num` times in all; then the row is set
    /// aside as `answer_unusable`. Of what is sent, how failures are met, what it costs and what is
    /// never paid twice, see docs/SERVERS.md.
    ///
    /// ## Example
    /// ```yaml
    /// - dialog_topic_detection_mapper: {api_model: m, model_params: {base_url: "http://127.0.0.1:8000/v1"}}
    /// ```
    /// ```json
    /// {"in": {"history": [], "query": "hi", "response": "hello"}, "said": ["话题分析：short\n话题类别：greeting"], "out": {"history": [], "query": "hi", "response": "hello", "__dj__meta__": {"dialog_topic_labels": ["greeting"], "dialog_topic_labels_analysis": ["short"]}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `dialog_topic_detection_mapper`: the same requests, and the same lists for answers
    /// that can be read. Where none can for a turn, or the server fails, both are empty there; here the row is
    /// set aside.
    dialog_topic_detection_mapper: Mapper(Params) => build,
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
    /// What the model may choose from; null for anything.
    topic_candidates: Option<Vec<String>> = None;
    /// How many turns before are shown; 0 for none.
    max_round: usize = 10;
    /// What the list of labels is called in `__dj__meta__`.
    labels_key: String = "dialog_topic_labels".to_owned();
    /// What the list of analyses is called.
    analysis_key: String = "dialog_topic_labels_analysis".to_owned();
    /// What the model is told; null for Data-Juicer's prompt.
    system_prompt: Option<String> = None;
    /// How a question is shown, with `{query}`.
    query_template: Option<String> = None;
    /// How an answer is shown, with `{response}`.
    response_template: Option<String> = None;
    /// How that is said, with `{candidate_str}`.
    candidate_template: Option<String> = None;
    /// How an analysis is shown, with `{analysis}`.
    analysis_template: Option<String> = None;
    /// How a finding is shown, with `{labels}`.
    labels_template: Option<String> = None;
    /// A regular expression whose first group is the analysis.
    analysis_pattern: Option<String> = None;
    /// A regular expression whose first group is the finding.
    labels_pattern: Option<String> = None;
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

const USUAL: Usual = Usual {
    mode: "topic",
    system: prompts::DIALOG_TOPIC_SYSTEM_PROMPT,
    candidates: prompts::DIALOG_TOPIC_CANDIDATES_TEMPLATE,
    templates: [
        prompts::DIALOG_TOPIC_QUERY_TEMPLATE,
        prompts::DIALOG_TOPIC_ANALYSIS_TEMPLATE,
        prompts::DIALOG_TOPIC_LABELS_TEMPLATE,
        prompts::DIALOG_TOPIC_RESPONSE_TEMPLATE,
    ],
    patterns: [
        prompts::DIALOG_TOPIC_ANALYSIS_PATTERN,
        prompts::DIALOG_TOPIC_LABELS_PATTERN,
    ],
};

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let server = params.server(context)?;
    let given = Given {
        system: params.system_prompt,
        language: params.preferred_output_lang,
        candidates: (params.topic_candidates, params.candidate_template),
        templates: [
            params.query_template,
            params.analysis_template,
            params.labels_template,
            params.response_template,
        ],
        patterns: [params.analysis_pattern, params.labels_pattern],
    };
    let (system_prompt, candidates, templates, patterns) = labelling(&USUAL, given)?;
    Ok(Operator::Mapper(Box::new(Scripted(Dialog {
        server,
        system_prompt,
        candidates,
        max_round: params.max_round,
        templates,
        patterns,
        finds: Finds::Labels,
        keys: [params.labels_key, params.analysis_key],
        fields: [params.history_key, params.query_key, params.response_key],
        most: [
            params.max_query_chars_for_prompt,
            params.max_response_chars_for_prompt,
        ],
    }))))
}
