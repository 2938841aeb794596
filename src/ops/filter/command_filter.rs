//! Has a program of the user's judge rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use crate::op::{
    Answer, Asks, Bounds, BuildContext, CommandParams, Facts, Field, Filter, Measured, OneOrMany,
    Operator, ParamError, Request, Service, StatDef, StatType, Verdict, operator,
};
use crate::sample::{RowError, Sample, StatKey, StatValue, Stats};

operator! {
    /// Keeps rows that a program says true of, or gives a number within a range.
    ///
    /// The program is fed as that of `command_mapper` is: a row a line, as JSON. It answers each with
    /// a line that is `true`, `false` or a number. The answer becomes the stat that `stat_key` names;
    /// a number is held against `min_value` and `max_value`, both inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - command_filter: {command: "sed -u 's/.*kite.*/true/; t; s/.*/false/'", stat_key: has_kite}
    /// ```
    /// ```json
    /// {"in": {"text": "a red kite"}, "out": {"text": "a red kite"}, "stats": {"has_kite": true}}
    /// {"in": {"text": "a boat"}, "out": null, "stats": {"has_kite": false}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    command_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Any],
        stats: &[ANSWER],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// What is run: a text by `sh -c`, or a list of a program and its arguments.
    command: OneOrMany,
    /// Rows that are sent before their answers are awaited.
    lines: i64,
    /// Processes that run at a time.
    processes: i64,
    /// Seconds without an answer after which a process counts as dead.
    timeout: i64,
    /// Seconds that a new process has until it reads its first row; `timeout` runs from then on.
    start_timeout: i64,
    /// Name of the stat that the answer becomes.
    stat_key: String,
    /// Smallest number kept, inclusive.
    min_value: Option<f64>,
    /// Largest number kept, inclusive.
    max_value: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            command: OneOrMany::One(String::new()),
            lines: 64,
            processes: 1,
            timeout: 60,
            start_timeout: 300,
            stat_key: "command".to_owned(),
            min_value: None,
            max_value: None,
        }
    }
}

const ANSWER: StatDef = StatDef::named_by("stat_key", StatType::Any)
    .min("min_value")
    .max("max_value");

struct CommandFilter {
    service: Service,
    stat: StatKey,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if params.stat_key.is_empty() {
        return Err(ParamError::new("stat_key", "stat_key is empty")
            .hint("name the stat that the answer becomes")
            .into());
    }
    let command = CommandParams {
        command: &params.command,
        lines: params.lines,
        processes: params.processes,
        timeout: params.timeout,
        start_timeout: params.start_timeout,
    };
    let bounds = Bounds::new(&ANSWER, params.min_value, params.max_value, &context.base)?;
    Ok(Operator::Filter(Box::new(CommandFilter {
        service: command.service(context)?,
        bounds: bounds.of_stat(params.stat_key.clone()),
        stat: params.stat_key.into(),
    })))
}

impl Asks for CommandFilter {
    fn service(&self) -> &Service {
        &self.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        Ok(vec![Request::line(sample)])
    }
}

impl Filter for CommandFilter {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Err(RowError::new("program_failed", "the program was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn measure_answers(&self, _: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        let line = answers.first().map(Answer::text).transpose()?;
        let line = line.unwrap_or_default();
        if let Ok(answer @ (Value::Bool(_) | Value::Number(_))) = serde_json::from_str(line) {
            return Ok(smallvec![StatValue::json(answer)]);
        }
        let start: String = line.chars().take(60).collect();
        let message = format!("the program's answer is not true, false or a number: {start}");
        Err(RowError::new("program_failed", message))
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }

    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        match stats.get(&self.stat) {
            Some(value) if value.as_json() == Some(&Value::Bool(true)) => Verdict::Keep,
            Some(value) if value.as_json() == Some(&Value::Bool(false)) => {
                Verdict::drop(self.stat.clone(), value.clone(), "true")
            }
            _ => Bounds::decide_all(bounds, stats),
        }
    }

    fn numbers(&self, stats: &Stats, key: &str) -> SmallVec<[f64; 2]> {
        stats
            .get(key)
            .and_then(StatValue::as_f64)
            .into_iter()
            .collect()
    }
}
