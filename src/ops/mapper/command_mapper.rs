//! Has a program of the user's change rows.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{
    Answer, Asks, BuildContext, CommandParams, Facts, Field, Mapper, OneOrMany, Operator,
    ParamError, Request, Service, operator,
};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Has a program change rows: it reads a row a line from its standard input, as JSON, and writes
    /// the changed row as a line of JSON to its standard output, one for one and in order.
    ///
    /// A text is run by `sh -c`; a list is a program and its arguments. The program runs in the
    /// working directory, `processes` of it at a time, each fed `lines` rows before their answers are
    /// awaited: it must flush its output whenever it has read that many, or all there are (Python: `flush=True`;
    /// jq: `--unbuffered`; sed: `-u`). What it writes to standard error is told if it fails.
    ///
    /// The answer takes the row's place: fields that it lacks are gone, the others have its values. A
    /// program that ends, writes what is no JSON object, too few lines or too many, or says nothing
    /// for `timeout` seconds is started again, and its rows are tried in halves until the row that it
    /// fails on is alone; that row is set aside as `program_failed`. The time that a program takes to
    /// start does not count: until a process reads its first row it has `start_timeout` seconds. One that
    /// ends, or lets them pass, without having read anything cannot have failed on a row: three such
    /// in a row end the run.
    ///
    /// The program must answer for each row by itself: rows come to it in any order, and after a
    /// failure more than once.
    ///
    /// The program, as it is found in `PATH`, and every word of the command that is a file are
    /// digested when the recipe is read: a run is not taken up again, nor taken for up to date, with
    /// another program. What the program opens beyond these, such as modules of Python, is not seen.
    ///
    /// ## Example
    /// ```yaml
    /// - command_mapper: {command: "sed -u s/kite/boat/"}
    /// ```
    /// ```json
    /// {"in": {"text": "a red kite"}, "out": {"text": "a red boat"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 has no such operator.
    command_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Any],
        writes: &[Field::Any],
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
}

impl Default for Params {
    fn default() -> Self {
        Self {
            command: OneOrMany::One(String::new()),
            lines: 64,
            processes: 1,
            timeout: 60,
            start_timeout: 300,
        }
    }
}

struct Command {
    service: Service,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let command = CommandParams {
        command: &params.command,
        lines: params.lines,
        processes: params.processes,
        timeout: params.timeout,
        start_timeout: params.start_timeout,
    };
    Ok(Operator::Mapper(Box::new(Command {
        service: command.service(context)?,
    })))
}

impl Asks for Command {
    fn service(&self) -> &Service {
        &self.service
    }

    fn ask(&self, sample: &Sample) -> Result<Vec<Request>, RowError> {
        Ok(vec![Request::line(sample)])
    }
}

impl Mapper for Command {
    fn apply(&self, _: &mut Sample) -> Result<(), RowError> {
        Err(RowError::new("program_failed", "the program was not asked"))
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(self)
    }

    fn apply_answers(&self, sample: &mut Sample, answers: &[Answer]) -> Result<(), RowError> {
        let answered = answers.first().map(Answer::text).transpose()?;
        let mut row = object(answered.unwrap_or_default())?;
        let gone: Vec<String> = sample
            .keys()
            .filter(|key| !row.contains_key(&**key))
            .map(Cow::into_owned)
            .collect();
        for key in gone {
            sample.remove(&key);
        }
        for (key, value) in &mut row {
            let path = FieldPath::new(key.as_str());
            let same = sample.has(key) && sample.value(&path)?.as_ref() == Some(&*value);
            if !same {
                sample.set_value(key, value.take());
            }
        }
        Ok(())
    }
}

fn object(line: &str) -> Result<Map<String, Value>, RowError> {
    if let Ok(Value::Object(row)) = serde_json::from_str(line) {
        return Ok(row);
    }
    let start: String = line.chars().take(60).collect();
    let message = format!("the program's answer is no JSON object: {start}");
    Err(RowError::new("program_failed", message))
}
