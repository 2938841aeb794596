//! Rows scored by a language model along several dimensions, from 1 to 5 each: what the four
//! filters that do so share.

use serde_json::{Map, Value};
use smallvec::smallvec;

use super::{Format, Halt, Script, Server, Talk, json_start, prompts, system_and_user};
use crate::op::{
    Answer, Asks, Bounds, Filter, Measured, ParamError, Problems, StatDef, StatType, Verdict,
    top_value,
};
use crate::sample::{RowError, Sample, StatValue, Stats, python_json, read_json};
use crate::text::{python_str, strip};

/// What the filters differ in, beside their parameters.
pub struct Kind {
    /// What the model is told.
    pub system_prompt: &'static str,
    /// The dimensions that count.
    pub keys: &'static [&'static str],
    /// Whether a score of nothing at all is kept.
    pub keeps_zero: bool,
}

/// What parameters say of the texts that are sent.
pub struct Words<'a> {
    /// `input_keys`.
    pub input_keys: &'a [String],
    /// `field_names`.
    pub field_names: &'a [String],
    /// `system_prompt`.
    pub system_prompt: Option<&'a String>,
    /// `input_template`.
    pub input_template: Option<&'a String>,
    /// `field_template`.
    pub field_template: Option<&'a String>,
    /// `dim_required_keys`.
    pub dim_required_keys: Option<&'a Vec<String>>,
    /// `preferred_output_lang`.
    pub preferred_output_lang: Option<&'a String>,
}

/// A filter by such a score.
pub struct Scored {
    script: Scoring,
    bounds: Bounds,
    keeps_zero: bool,
}

struct Scoring {
    server: Server,
    system_prompt: String,
    /// What stands before each row's input.
    before: String,
    input: Format,
    field: Format,
    /// Fields and how they are called.
    fields: Vec<(String, String)>,
    keys: Vec<String>,
}

/// The stats of such a filter: score, record, tags.
#[must_use]
pub const fn stats(score: StatDef, record: &'static str, tags: &'static str) -> [StatDef; 3] {
    [
        score,
        StatDef::new(record, StatType::Text).beside(),
        StatDef::new(tags, StatType::Text).beside(),
    ]
}

impl Scored {
    /// The filter of `kind`.
    ///
    /// # Errors
    /// All that is wrong with its parameters.
    pub fn build(
        kind: &Kind,
        server: Result<Server, Vec<ParamError>>,
        words: &Words<'_>,
        bounds: Result<Bounds, Vec<ParamError>>,
    ) -> Result<Self, Vec<ParamError>> {
        let mut problems = Problems::default();
        let server = problems.keep(server);
        let bounds = problems.keep(bounds);
        let input = problems.keep(Format::of(
            "input_template",
            words.input_template,
            prompts::LLM_ANALYSIS_INPUT_TEMPLATE,
            &["data"],
        ));
        let field = problems.keep(Format::of(
            "field_template",
            words.field_template,
            prompts::LLM_ANALYSIS_FIELD_TEMPLATE,
            &["field_name", "field_data"],
        ));
        if words.input_keys.len() != words.field_names.len() {
            let message = "input_keys and field_names differ in length";
            problems.keep(Err::<(), _>(
                ParamError::new("field_names", message).hint("give a name for each field"),
            ));
        }
        let (Some(server), Some(bounds), Some(input), Some(field)) = (server, bounds, input, field)
        else {
            return Err(problems.into());
        };
        let problems: Vec<ParamError> = problems.into();
        if !problems.is_empty() {
            return Err(problems);
        }
        let given = words.system_prompt.filter(|prompt| !prompt.is_empty());
        let mut system_prompt = given.map_or(kind.system_prompt, String::as_str).to_owned();
        system_prompt.push_str(language_appendix(words.preferred_output_lang));
        let keys = words
            .dim_required_keys
            .filter(|keys| !keys.is_empty())
            .cloned();
        let usual = || kind.keys.iter().map(ToString::to_string).collect();
        Ok(Self {
            script: Scoring {
                server,
                system_prompt,
                before: String::new(),
                input,
                field,
                fields: words
                    .input_keys
                    .iter()
                    .cloned()
                    .zip(words.field_names.iter().cloned())
                    .collect(),
                keys: keys.unwrap_or_else(usual),
            },
            bounds,
            keeps_zero: kind.keeps_zero,
        })
    }

    /// The same with a text before each row's input.
    #[must_use]
    pub fn after(mut self, before: String) -> Self {
        self.script.before = before;
        self
    }

    /// The fields of a row as they are sent.
    ///
    /// # Errors
    /// Those of `value`.
    pub fn fields_of<E>(
        &self,
        value: impl Fn(&str) -> Result<Option<Value>, E>,
    ) -> Result<String, E> {
        self.script.fields_of(value)
    }
}

/// What asks for texts in a language.
fn language_appendix(language: Option<&String>) -> &'static str {
    match language.map(|text| strip(text)) {
        None | Some("") => "",
        Some(text) if is_chinese(text) => {
            "\n\n【输出语言】保持 JSON 键名与上述 schema 一致（英文）；`rationale`、tags 中自然语言描述、以及 flags 的可读语义请使用**简体中文**。"
        }
        Some(_) => {
            "\n\n【Output language】Keep JSON keys as in the schema (English); write `rationale`, human-readable tag strings, and flag semantics in **English**."
        }
    }
}

/// Whether a language is Chinese; English is every other.
#[must_use]
pub fn is_chinese(language: &str) -> bool {
    strip(language).to_lowercase().starts_with("zh")
}

/// A score and what else was said, as it is kept.
struct Judged {
    score: f64,
    record: String,
    tags: String,
}

impl Scoring {
    fn fields_of<E>(&self, value: impl Fn(&str) -> Result<Option<Value>, E>) -> Result<String, E> {
        let mut found = Vec::new();
        for (key, name) in &self.fields {
            if let Some(value) = value(key)? {
                let data = python_str(&value);
                found.push(
                    self.field
                        .fill(&[("field_name", name), ("field_data", &data)]),
                );
            }
        }
        Ok(found.join("\n\n"))
    }

    fn judged(&self, answer: &str) -> Option<Judged> {
        let Ok(Value::Object(mut record)) = read_json(json_start(answer)?) else {
            return None;
        };
        let recommended = recommendations(record.get("recommendation"));
        record.insert("recommendation".to_owned(), recommended);
        let tags = match record.get("tags") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(tags)) => tags.clone(),
            Some(other) => python_json(other),
        };
        let score = match record.get("dimension_scores") {
            Some(Value::Object(scores)) if !scores.is_empty() => self.mean(scores)?,
            // Without scores it is nothing, which is an answer.
            None | Some(Value::Null | Value::Bool(false) | Value::Object(_)) => 0.0,
            Some(Value::Array(items)) if items.is_empty() => 0.0,
            Some(Value::String(text)) if text.is_empty() => 0.0,
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => 0.0,
            Some(_) => return None,
        };
        Some(Judged {
            score,
            record: python_json(&Value::Object(record)),
            tags,
        })
    }

    /// The mean of the dimensions that count, of 5.
    fn mean(&self, scores: &Map<String, Value>) -> Option<f64> {
        let mut total = 0.0;
        for key in &self.keys {
            total += match scores.get(key)? {
                Value::Bool(flag) => f64::from(u8::from(*flag)),
                Value::Number(number) => number.as_f64()?,
                _ => return None,
            };
        }
        #[expect(clippy::cast_precision_loss, reason = "dimensions are few")]
        let count = self.keys.len() as f64;
        Some(total / count / 5.0)
    }
}

/// What is recommended, always as a list of texts.
fn recommendations(said: Option<&Value>) -> Value {
    let texts: Vec<String> = match said {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => {
            let items = items.iter().filter(|item| !item.is_null());
            items
                .map(|item| strip(&python_str(item)).to_owned())
                .collect()
        }
        Some(other) => vec![strip(&python_str(other)).to_owned()],
    };
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

impl Script for Scoring {
    type Outcome = Measured;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Measured, Halt> {
        let data = self.fields_of(|key| {
            if sample.has(key) {
                top_value(sample, key).map(Some)
            } else {
                Ok(None)
            }
        })?;
        let input = format!("{}{}", self.before, self.input.fill(&[("data", &data)]));
        let messages = system_and_user(&self.system_prompt, input);
        let judged = talk.use_of(&messages, |answer| self.judged(answer))?;
        Ok(smallvec![
            StatValue::Float(judged.score),
            StatValue::json(judged.record),
            StatValue::json(judged.tags),
        ])
    }
}

impl Filter for Scored {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        self.script.outcome(sample, &[])
    }

    fn asks(&self) -> Option<&dyn Asks> {
        Some(&self.script)
    }

    fn measure_answers(&self, sample: &Sample, answers: &[Answer]) -> Result<Measured, RowError> {
        self.script.outcome(sample, answers)
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }

    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        let score = stats.get(self.bounds.stat()).and_then(StatValue::as_f64);
        if self.keeps_zero && score == Some(0.0) {
            return Verdict::Keep;
        }
        Bounds::decide_all(bounds, stats)
    }
}
