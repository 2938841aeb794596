//! Pairs of question and answer that a language model makes anew: what the operators that optimize
//! and calibrate them share.

use serde_json::Value;

use super::{Edit, Halt, Script, Server, Talk, flattened, system_and_user};
use crate::sample::{RowError, Sample};
use crate::text::python_regex::Pattern;
use crate::text::{python_str, strip};

/// How an answer is read.
pub enum Reads {
    /// The first two groups of a match at the beginning are question and answer.
    Both(Pattern),
    /// All of it is the question.
    Query,
    /// All of it is the answer.
    Response,
    /// The last group of a match at the beginning is the answer, else all of it is.
    ResponseBy(Pattern),
}

/// A pair that is made anew.
pub struct Qa<F> {
    /// Whom it asks.
    pub server: Server,
    /// What the model is told.
    pub system_prompt: String,
    /// What is sent of a row.
    pub input: F,
    /// How its answer is read.
    pub reads: Reads,
    /// The field of the question.
    pub query_key: String,
    /// The field of the answer.
    pub response_key: String,
}

impl<F> Qa<F> {
    /// Question and answer in what was said, each only if there is one.
    fn read(&self, said: &str) -> Option<(Option<String>, Option<String>)> {
        let full = |text: &str| {
            let text = strip(text);
            (!text.is_empty()).then(|| text.to_owned())
        };
        let at_start = |pattern: &Pattern| starting(pattern, said);
        let (query, response) = match &self.reads {
            Reads::Query => (full(said), None),
            Reads::Response => (None, full(said)),
            Reads::ResponseBy(pattern) => {
                let group = at_start(pattern).and_then(|mut groups| groups.pop());
                (None, full(group.as_deref().unwrap_or(said)))
            }
            Reads::Both(pattern) => {
                let groups = at_start(pattern)?;
                (full(groups.first()?), full(groups.get(1)?))
            }
        };
        (query.is_some() || response.is_some()).then_some((query, response))
    }
}

/// The groups of a match at the beginning of a text, as Python's `re.match` finds it.
#[must_use]
pub fn starting(pattern: &Pattern, text: &str) -> Option<Vec<String>> {
    let mut at_start = false;
    let mut first = true;
    pattern
        .each_match(text, false, |found| {
            if std::mem::take(&mut first) {
                at_start = found.start == 0;
            }
        })
        .ok()?;
    let found = at_start.then(|| flattened(pattern, text).ok()).flatten()?;
    found.into_iter().next()
}

impl<F> Script for Qa<F>
where
    F: Fn(&Sample) -> Result<String, RowError> + Send + Sync,
{
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let messages = system_and_user(&self.system_prompt, (self.input)(sample)?);
        let (query, response) = talk.use_of(&messages, |said| self.read(said))?;
        let edits = [(&self.query_key, query), (&self.response_key, response)];
        let edits = edits
            .into_iter()
            .filter_map(|(key, text)| Some(Edit::Set(key.clone(), Value::String(text?))));
        Ok(edits.collect())
    }
}

/// A top-level field as text; a row that lacks it cannot be asked about.
///
/// # Errors
/// `missing_field`, and those of reading it.
pub fn field(sample: &Sample, name: &str) -> Result<String, RowError> {
    if !sample.has(name) {
        let message = format!("field '{name}' is missing");
        return Err(RowError::new("missing_field", message));
    }
    let value = crate::op::top_value(sample, name)?;
    Ok(python_str(&value).into_owned())
}
