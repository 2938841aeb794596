//! Marks runs of agents that look like bad cases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::{
    BuildContext, Facts, Field, META, Mapper, Operator, ParamError, meta_of, operator, top_value,
    wrong_type,
};
use crate::sample::{RowError, Sample, Stats};
use crate::text::{
    TypeMismatch, char_count, is_true, lower, python_float, python_int, python_number, python_repr,
    python_str, strip,
};

operator! {
    /// Collects signs of a bad run of an agent from what operators before it found, and ranks it.
    ///
    /// Each signal has a code, a detail and a weight. From `__dj__meta__`: `tool_message_error_pattern`
    /// (high), `low_tool_success_ratio`, `high_token_usage`, `high_latency_ms`,
    /// `negative_sentiment_label_hint` and `dialog_turn_quality_meta_low` (scores of dialogues up to a
    /// threshold); from the stats `llm_agent_analysis_eval_low`, `llm_reply_quality_eval_low` (high up
    /// to their second threshold if the recommendation is to discard), `high_perplexity` and
    /// `hard_query_low_reply_quality_conjunction`; from query and response
    /// `suspect_empty_or_trivial_final_response`. All others are medium. Bounds are inclusive, those
    /// of tokens and time exclusive. What is missing gives no signal.
    ///
    /// It writes `agent_bad_case_signals` and `agent_bad_case_tier` into `__dj__meta__`: the tier is
    /// `high_precision` with a high signal (of tools only with `high_precision_on_tool_fail_alone`,
    /// else `watchlist`), `watchlist` with `min_medium_signals_for_watchlist` medium ones or a single
    /// one, and else `none`.
    ///
    /// With `auto_calibrate_thresholds` the bounds of tokens, time and perplexity come from the JSON
    /// file `calibration_json_path`: from its `default`, and over that from `by_request_model` for the
    /// row's `agent_request_model`.
    ///
    /// ## Example
    /// ```yaml
    /// - agent_bad_case_signal_mapper: {}
    /// ```
    /// ```json
    /// {"in": {"__dj__meta__": {"tool_fail_count": 1}}, "out": {"__dj__meta__": {"tool_fail_count": 1, "agent_bad_case_signals": [{"code": "tool_message_error_pattern", "detail": "tool_fail_count=1", "weight": "high"}], "agent_bad_case_tier": "high_precision"}}}
    /// {"in": {"text": "a"}, "out": {"text": "a", "__dj__meta__": {"agent_bad_case_signals": [], "agent_bad_case_tier": "none"}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `agent_bad_case_signal_mapper`: same, but that a calibration file which is
    /// not there or no JSON object is an error of the recipe and not a warning. A value that is no
    /// number where one is needed costs the row there too. A recommendation in a text is read as
    /// strict JSON (no NaN). Of `__dj__meta__` see `agent_tool_type_mapper`.
    agent_bad_case_signal_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Meta, Field::Stats, Field::Param("query_key"), Field::Param("response_key")],
        writes: &[Field::Meta],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "Data-Juicer's parameters")]
struct Params {
    /// The field of the query.
    query_key: String,
    /// The field of the response.
    response_key: String,
    /// Whether failed tools are a signal.
    signal_on_tool_fail: bool,
    /// From how many failed tools on; at least 1.
    min_tool_fail_count_for_signal: i64,
    /// Whether a low share of successful tools is a signal.
    signal_on_low_tool_success_ratio: bool,
    /// Up to which share, inclusive.
    tool_success_ratio_max_for_signal: f64,
    /// From how many results of tools on.
    min_tool_rounds_for_ratio_signal: i64,
    /// Whether a short response to a long query is a signal.
    signal_on_suspect_empty_response: bool,
    /// From how many characters of the query on.
    min_query_len_for_empty_check: i64,
    /// Up to how many characters of the response.
    max_response_len_for_empty_check: i64,
    /// More tokens than this are a signal.
    max_total_tokens: Option<i64>,
    /// More milliseconds than this are a signal.
    max_latency_ms: Option<i64>,
    /// The file of bounds.
    calibration_json_path: Option<String>,
    /// Whether bounds come from that file.
    auto_calibrate_thresholds: bool,
    /// Whether bounds given here win over those of the file.
    calibration_manual_overrides_auto: bool,
    /// Whether a bound of the perplexity in the file makes it a signal.
    auto_enable_perplexity_from_calibration: bool,
    /// Whether a low score of the analysis is a signal.
    signal_on_llm_analysis_low: bool,
    /// Up to which score, inclusive.
    llm_analysis_score_max_for_bad: f64,
    /// Whether the analysis must also say to discard.
    llm_analysis_discard_must_be_strict: bool,
    /// Up to which score the signal is high, inclusive.
    high_precision_llm_analysis_discard_threshold: f64,
    /// Whether a low score of the reply is a signal.
    signal_on_llm_text_quality_low: bool,
    /// Up to which score, inclusive.
    llm_text_quality_score_max_for_bad: f64,
    /// Whether it must also say to discard.
    llm_text_quality_discard_must_be_strict: bool,
    /// Up to which score the signal is high, inclusive.
    high_precision_llm_text_quality_discard_threshold: f64,
    /// Whether a label of a negative sentiment is a signal.
    signal_on_negative_sentiment_hint: bool,
    /// What such a label contains, in any case; null or empty for Data-Juicer's own.
    negative_sentiment_substrings: Option<Vec<String>>,
    /// Whether a high perplexity is a signal.
    signal_on_high_perplexity: bool,
    /// From which perplexity on.
    perplexity_high_threshold: f64,
    /// Whether a poor reply to a hard query is a signal.
    signal_hard_query_poor_reply: bool,
    /// From which difficulty on.
    hard_query_difficulty_min: f64,
    /// Up to which score of the reply.
    poor_reply_quality_max: f64,
    /// Whether failed tools alone make the highest tier.
    high_precision_on_tool_fail_alone: bool,
    /// From how many medium signals on a row is watched.
    min_medium_signals_for_watchlist: i64,
    /// Whether low scores of the dialogue are a signal.
    signal_on_low_dialog_quality_meta: bool,
    /// Up to which score, inclusive.
    dialog_quality_low_score_threshold: f64,
    /// From how many low scores on; at least 1.
    min_dialog_quality_low_axes_for_signal: i64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            query_key: "query".into(),
            response_key: "response".into(),
            signal_on_tool_fail: true,
            min_tool_fail_count_for_signal: 1,
            signal_on_low_tool_success_ratio: true,
            tool_success_ratio_max_for_signal: 0.499,
            min_tool_rounds_for_ratio_signal: 2,
            signal_on_suspect_empty_response: true,
            min_query_len_for_empty_check: 80,
            max_response_len_for_empty_check: 20,
            max_total_tokens: None,
            max_latency_ms: None,
            calibration_json_path: None,
            auto_calibrate_thresholds: false,
            calibration_manual_overrides_auto: true,
            auto_enable_perplexity_from_calibration: true,
            signal_on_llm_analysis_low: true,
            llm_analysis_score_max_for_bad: 0.28,
            llm_analysis_discard_must_be_strict: true,
            high_precision_llm_analysis_discard_threshold: 0.24,
            signal_on_llm_text_quality_low: true,
            llm_text_quality_score_max_for_bad: 0.28,
            llm_text_quality_discard_must_be_strict: true,
            high_precision_llm_text_quality_discard_threshold: 0.24,
            signal_on_negative_sentiment_hint: false,
            negative_sentiment_substrings: None,
            signal_on_high_perplexity: false,
            perplexity_high_threshold: 800.0,
            signal_hard_query_poor_reply: false,
            hard_query_difficulty_min: 0.72,
            poor_reply_quality_max: 0.36,
            high_precision_on_tool_fail_alone: true,
            min_medium_signals_for_watchlist: 2,
            signal_on_low_dialog_quality_meta: true,
            dialog_quality_low_score_threshold: 2.0,
            min_dialog_quality_low_axes_for_signal: 1,
        }
    }
}

const NEGATIVE: [&str; 8] = [
    "负面",
    "negative",
    "angry",
    "沮丧",
    "不满",
    "frustrated",
    "disappointed",
    "unhappy",
];

/// The fields of `__dj__meta__` that have scores of the dialogue.
const DIALOG_SCORES: [&str; 9] = [
    "dialog_memory_consistency",
    "dialog_coreference",
    "dialog_topic_shift",
    "dialog_error_recovery",
    "dialog_clarification_quality",
    "dialog_proactivity",
    "dialog_non_repetition",
    "agent_trace_coherence",
    "agent_tool_relevance",
];

struct BadCases {
    params: Params,
    /// In lower case.
    negative: Vec<String>,
    calibration: Option<Map<String, Value>>,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let path = params.calibration_json_path.as_deref().map(strip);
    let calibration = match path.filter(|path| params.auto_calibrate_thresholds && !path.is_empty())
    {
        Some(path) => Some(calibration(path, context)?),
        None => None,
    };
    let negative = match &params.negative_sentiment_substrings {
        Some(list) if !list.is_empty() => {
            list.iter().map(|text| lower(text).into_owned()).collect()
        }
        _ => NEGATIVE.map(String::from).to_vec(),
    };
    Ok(Operator::Mapper(Box::new(BadCases {
        params,
        negative,
        calibration,
    })))
}

/// Reads the file of bounds.
fn calibration(path: &str, context: &BuildContext) -> Result<Map<String, Value>, ParamError> {
    const PARAM: &str = "calibration_json_path";
    let file = context.resolve(path).map_err(|_| {
        ParamError::new(PARAM, format!("there is no file {path}"))
            .hint("give a file, or set auto_calibrate_thresholds: false")
    })?;
    let broken = |e: &dyn std::fmt::Display| {
        ParamError::new(PARAM, format!("cannot read {}: {e}", file.display()))
            .hint("bounds are a JSON object with `default` and `by_request_model`")
    };
    let json = context.read(&file).map_err(|e| broken(&e))?;
    serde_json::from_slice(&json).map_err(|e| broken(&e))
}

/// The signals of one row.
#[derive(Default)]
struct Signals {
    list: Vec<Value>,
    medium: i64,
    tool_failed: bool,
    model_says_so: bool,
}

impl Signals {
    fn medium(&mut self, code: &str, detail: String) {
        self.medium += 1;
        self.push(code, detail, "medium");
    }

    fn push(&mut self, code: &str, detail: String, weight: &str) {
        self.list
            .push(json!({"code": code, "detail": detail, "weight": weight}));
    }
}

/// A score that a model gave, and when it is a signal.
struct Score<'a> {
    code: &'a str,
    key: &'a str,
    record: &'a str,
    most: f64,
    strict: bool,
    most_for_high: f64,
}

type Found<T> = Result<T, TypeMismatch>;

fn float(value: &Value) -> Found<f64> {
    python_number(value)
        .ok_or_else(|| TypeMismatch::new(format!("{} is no number", python_repr(value))))
}

fn whole(value: &Value) -> Found<i64> {
    python_int(value)
        .ok_or_else(|| TypeMismatch::new(format!("{} is no whole number", python_repr(value))))
}

/// The value, unless it is null.
fn given<'v>(map: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    map.get(name).filter(|value| !value.is_null())
}

/// A count; nothing and what counts as false is 0.
fn count(meta: &Map<String, Value>, name: &str) -> Found<i64> {
    meta.get(name)
        .filter(|value| is_true(value))
        .map_or(Ok(0), whole)
}

impl Mapper for BadCases {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let mut meta = meta_of(sample)?;
        if !sample.stats.members().is_empty() {
            return Err(wrong_type(
                "the row is a group: its stats are those of its rows",
            ));
        }
        let mut signals = Signals::default();
        self.see_tools(&meta, &mut signals).map_err(wrong_type)?;
        let query = length(sample, &self.params.query_key)?;
        let response = length(sample, &self.params.response_key)?;
        if self.params.signal_on_suspect_empty_response
            && query >= self.params.min_query_len_for_empty_check
            && response <= self.params.max_response_len_for_empty_check
        {
            signals.medium(
                "suspect_empty_or_trivial_final_response",
                format!("query_len={query}, response_len={response}"),
            );
        }
        self.see_cost(&meta, &mut signals)
            .and_then(|()| self.see_scores(&sample.stats, &mut signals))
            .map_err(wrong_type)?;
        self.see_labels(&meta, &mut signals);
        self.see_stats(&meta, &sample.stats, &mut signals)
            .map_err(wrong_type)?;
        self.see_dialog(&meta, &mut signals);
        let tier = self.tier(&signals);
        meta.insert("agent_bad_case_signals".into(), signals.list.into());
        meta.insert("agent_bad_case_tier".into(), tier.into());
        sample.set_value(META, Value::Object(meta));
        Ok(())
    }
}

/// The length of a text without the white space around it.
fn length(sample: &Sample, name: &str) -> Result<i64, RowError> {
    match top_value(sample, name)? {
        Value::String(text) => Ok(char_count(strip(&text))),
        value if !is_true(&value) => Ok(0),
        _ => Err(wrong_type(format!("field '{name}' is not a text"))),
    }
}

impl BadCases {
    fn see_tools(&self, meta: &Map<String, Value>, signals: &mut Signals) -> Found<()> {
        let params = &self.params;
        let failed = count(meta, "tool_fail_count")?;
        if params.signal_on_tool_fail && failed >= params.min_tool_fail_count_for_signal.max(1) {
            signals.tool_failed = true;
            signals.push(
                "tool_message_error_pattern",
                format!("tool_fail_count={failed}"),
                "high",
            );
        }
        let succeeded = count(meta, "tool_success_count")?;
        let enough = succeeded.saturating_add(failed) >= params.min_tool_rounds_for_ratio_signal;
        if params.signal_on_low_tool_success_ratio
            && enough
            && let Some(ratio) = given(meta, "tool_success_ratio")
            && float(ratio)? <= params.tool_success_ratio_max_for_signal
        {
            signals.medium(
                "low_tool_success_ratio",
                format!(
                    "ratio={}, success={succeeded}, fail={failed}",
                    python_str(ratio)
                ),
            );
        }
        Ok(())
    }

    fn see_cost(&self, meta: &Map<String, Value>, signals: &mut Signals) -> Found<()> {
        let params = &self.params;
        for (bound, by_hand, found, code, label) in [
            (
                "max_total_tokens",
                params.max_total_tokens,
                "total_tokens",
                "high_token_usage",
                "total_tokens",
            ),
            (
                "max_latency_ms",
                params.max_latency_ms,
                "agent_total_cost_time_ms",
                "high_latency_ms",
                "total_cost_time_ms",
            ),
        ] {
            let calibrated = self.calibrated(meta, bound).and_then(python_int);
            let most = if params.calibration_manual_overrides_auto {
                by_hand.or(calibrated)
            } else {
                calibrated.or(by_hand)
            };
            if let (Some(most), Some(value)) = (most, given(meta, found))
                && whole(value)? > most
            {
                signals.medium(code, format!("{label}={}", python_str(value)));
            }
        }
        Ok(())
    }

    /// The bound of the calibration file for the row's model.
    fn calibrated(&self, meta: &Map<String, Value>, bound: &str) -> Option<&Value> {
        let calibration = self.calibration.as_ref()?;
        let model = meta
            .get("agent_request_model")
            .filter(|value| is_true(value));
        let model = model.map(|model| strip(&python_str(model)).to_owned());
        let own = model
            .filter(|model| !model.is_empty())
            .and_then(|model| {
                calibration
                    .get("by_request_model")?
                    .as_object()?
                    .get(&model)
            })
            .and_then(Value::as_object)
            .and_then(|row| row.get(bound));
        own.or_else(|| calibration.get("default")?.as_object()?.get(bound))
    }

    fn see_scores(&self, stats: &Stats, signals: &mut Signals) -> Found<()> {
        let params = &self.params;
        if params.signal_on_llm_analysis_low {
            let score = Score {
                code: "llm_agent_analysis_eval_low",
                key: "llm_analysis_score",
                record: "llm_analysis_record",
                most: params.llm_analysis_score_max_for_bad,
                strict: params.llm_analysis_discard_must_be_strict,
                most_for_high: params.high_precision_llm_analysis_discard_threshold,
            };
            score.signal(stats, signals)?;
        }
        if params.signal_on_llm_text_quality_low {
            let score = Score {
                code: "llm_reply_quality_eval_low",
                key: "llm_quality_score",
                record: "llm_quality_record",
                most: params.llm_text_quality_score_max_for_bad,
                strict: params.llm_text_quality_discard_must_be_strict,
                most_for_high: params.high_precision_llm_text_quality_discard_threshold,
            };
            score.signal(stats, signals)?;
        }
        Ok(())
    }

    fn see_labels(&self, meta: &Map<String, Value>, signals: &mut Signals) {
        let labels = meta
            .get("dialog_sentiment_labels")
            .and_then(Value::as_array);
        let Some(labels) = labels.filter(|_| self.params.signal_on_negative_sentiment_hint) else {
            return;
        };
        let all: Vec<String> = labels
            .iter()
            .map(|label| lower(&python_str(label)).into_owned())
            .collect();
        let all = all.join(" ");
        if !labels.is_empty() && self.negative.iter().any(|part| all.contains(part)) {
            let shown = labels.iter().take(6).cloned().collect();
            signals.medium(
                "negative_sentiment_label_hint",
                format!("labels={}", python_repr(&shown)),
            );
        }
    }

    fn see_stats(
        &self,
        meta: &Map<String, Value>,
        stats: &Stats,
        signals: &mut Signals,
    ) -> Found<()> {
        let params = &self.params;
        let least = self.least_perplexity(meta);
        if let (Some(least), Some(found)) = (least, stat(stats, "perplexity"))
            && float(&found)? >= least
        {
            signals.medium(
                "high_perplexity",
                format!("perplexity={}", python_str(&found)),
            );
        }
        if params.signal_hard_query_poor_reply
            && let Some(difficulty) = stat(stats, "llm_difficulty_score")
            && let Some(quality) = stat(stats, "llm_quality_score")
            && float(&difficulty)? >= params.hard_query_difficulty_min
            && float(&quality)? <= params.poor_reply_quality_max
        {
            signals.medium(
                "hard_query_low_reply_quality_conjunction",
                format!(
                    "difficulty={}, llm_quality_score={}",
                    python_str(&difficulty),
                    python_str(&quality)
                ),
            );
        }
        Ok(())
    }

    /// From which perplexity on it is a signal, if it is one.
    fn least_perplexity(&self, meta: &Map<String, Value>) -> Option<f64> {
        let params = &self.params;
        let by_hand = params
            .signal_on_high_perplexity
            .then_some(params.perplexity_high_threshold);
        let calibrated = self
            .calibrated(meta, "perplexity_high_threshold")
            .and_then(python_number)
            .filter(|_| {
                params.auto_enable_perplexity_from_calibration || params.signal_on_high_perplexity
            });
        if params.calibration_manual_overrides_auto {
            by_hand.or(calibrated)
        } else {
            calibrated.or(by_hand)
        }
    }

    fn see_dialog(&self, meta: &Map<String, Value>, signals: &mut Signals) {
        let params = &self.params;
        if !params.signal_on_low_dialog_quality_meta {
            return;
        }
        let most = params.dialog_quality_low_score_threshold;
        let is_low = |name: &&&str| {
            let record = meta.get(**name).and_then(Value::as_object);
            record
                .filter(|record| {
                    let says = |what: &str| record.get(what).is_some_and(is_true);
                    !says("skipped") && !says("error")
                })
                .and_then(|record| python_number(given(record, "score")?))
                .is_some_and(|score| score <= most)
        };
        let low: Vec<&str> = DIALOG_SCORES.iter().filter(is_low).copied().collect();
        let least = usize::try_from(params.min_dialog_quality_low_axes_for_signal).unwrap_or(0);
        if low.len() >= least.max(1) {
            signals.medium(
                "dialog_turn_quality_meta_low",
                format!(
                    "axes={}, threshold={}",
                    python_repr(&low.into()),
                    python_float(most)
                ),
            );
        }
    }

    fn tier(&self, signals: &Signals) -> &'static str {
        let params = &self.params;
        let watched = signals.medium >= params.min_medium_signals_for_watchlist
            || signals.list.len() == 1 && signals.medium == 1;
        match (signals.tool_failed, signals.model_says_so) {
            (true, _) if params.high_precision_on_tool_fail_alone => "high_precision",
            (true, _) => "watchlist",
            (false, true) => "high_precision",
            (false, false) if watched => "watchlist",
            (false, false) => "none",
        }
    }
}

impl Score<'_> {
    fn signal(&self, stats: &Stats, signals: &mut Signals) -> Found<()> {
        let Some(score) = stat(stats, self.key) else {
            return Ok(());
        };
        let recommendation = recommendation(stat(stats, self.record));
        let found = float(&score)?;
        let discards = recommendation == "discard";
        // Not a number is above no bound.
        if found > self.most || self.strict && !discards {
            return Ok(());
        }
        let shown = if recommendation.is_empty() {
            "n/a"
        } else {
            &recommendation
        };
        let detail = format!("score={}, recommendation={shown}", python_str(&score));
        if found <= self.most_for_high && discards {
            signals.model_says_so = true;
            signals.push(self.code, detail, "high");
        } else {
            signals.medium(self.code, detail);
        }
        Ok(())
    }
}

/// What was measured, unless it is null.
fn stat(stats: &Stats, name: &str) -> Option<Value> {
    stats
        .get(name)
        .map(crate::sample::StatValue::to_json)
        .filter(|value| !value.is_null())
}

/// What a record recommends, in lower case; empty for nothing. A record may be an object or the
/// text of one.
fn recommendation(record: Option<Value>) -> String {
    let record = match record {
        Some(Value::String(text)) => serde_json::from_str(&text).ok(),
        other => other,
    };
    let said = record.as_ref().and_then(|record| {
        let said = record.as_object()?.get("recommendation")?;
        match said {
            Value::Array(list) => Some(list.first().unwrap_or(said)),
            said => Some(said),
        }
    });
    match said {
        None | Some(Value::Null) => String::new(),
        Some(said) => lower(strip(&python_str(said)).trim_matches('"')).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::build_mapper;

    #[test]
    fn recommendations_are_read_out_of_records() {
        for (record, said) in [
            (json!({"recommendation": " \"Discard\" "}), "discard"),
            (json!({"recommendation": ["KEEP", 1]}), "keep"),
            (json!({"recommendation": []}), "[]"),
            (json!({"recommendation": null}), ""),
            (json!("{\"recommendation\": 5}"), "5"),
            (json!("no json"), ""),
            (json!("[1]"), ""),
        ] {
            assert_eq!(recommendation(Some(record.clone())), said, "{record}");
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_errors() {
        use std::sync::Arc;

        use crate::sample::{ImageContext, Origin};
        let mapper = build_mapper("agent_bad_case_signal_mapper", r#"{"max_total_tokens": 1}"#);
        let mapper = mapper.unwrap();
        for line in [
            r#"{"__dj__meta__": 1}"#,
            r#"{"__dj__meta__": {"tool_fail_count": "x"}}"#,
            r#"{"__dj__meta__": {"tool_fail_count": 2, "tool_success_ratio": []}}"#,
            r#"{"__dj__meta__": {"total_tokens": "1.5"}}"#,
            r#"{"query": 5}"#,
            r#"{"response": ["a"]}"#,
        ] {
            let context = Arc::new(ImageContext::default());
            let mut row = Sample::parse(line.into(), Origin::default(), context).unwrap();
            assert_eq!(
                mapper.apply(&mut row).unwrap_err().code,
                "wrong_type",
                "{line}"
            );
            assert!(!row.is_edited());
        }
    }

    #[test]
    fn the_calibration_must_be_there() {
        let params = r#"{"auto_calibrate_thresholds": true, "calibration_json_path": "none.json"}"#;
        let problems = build_mapper("agent_bad_case_signal_mapper", params)
            .err()
            .unwrap();
        assert_eq!(problems[0].param.as_deref(), Some("calibration_json_path"));
        let off = r#"{"calibration_json_path": "none.json"}"#;
        assert!(build_mapper("agent_bad_case_signal_mapper", off).is_ok());
    }
}
