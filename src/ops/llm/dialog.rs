//! Dialogs that a language model judges turn by turn: what the four operators that do so share.

use serde_json::Value;

use super::score::is_chinese;
use super::{
    Edit, Format, Halt, Script, Server, Talk, flattened, meta_has, pattern, set_meta,
    system_and_user,
};
use crate::op::{ParamError, top_value};
use crate::sample::{RowError, Sample};
use crate::text::python_regex::Pattern;
use crate::text::{is_true, python_int, python_str};

/// What the model finds in a turn, beside its analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finds {
    /// A text; each is told once for a dialog.
    Labels,
    /// A whole number for each turn.
    Number,
}

/// A judge of dialogs.
pub struct Dialog {
    /// Whom it asks.
    pub server: Server,
    /// What the model is told.
    pub system_prompt: String,
    /// What is said first: among what it may choose.
    pub candidates: String,
    /// The turns before that it is shown.
    pub max_round: usize,
    /// How a turn is shown: question, analysis, finding, answer.
    pub templates: [Format; 4],
    /// How analysis and finding are found in what it says.
    pub patterns: [Pattern; 2],
    /// What it finds.
    pub finds: Finds,
    /// What findings and analyses are called in `__dj__meta__`.
    pub keys: [String; 2],
    /// The fields of the turns before, of the last question and its answer.
    pub fields: [String; 3],
    /// How many characters of a question and of an answer are shown; 0 for all.
    pub most: [usize; 2],
}

/// What asks the model for words in a language behind the signs that are looked for.
#[must_use]
pub fn language_note(language: &str, mode: &str) -> &'static str {
    match (is_chinese(language), mode) {
        (true, "intent") => "\n\n【语言】「意图分析」「意图类别」后的说明请使用简体中文。",
        (true, "topic") => "\n\n【语言】「话题分析」「话题类别」后的说明请使用简体中文。",
        (true, "sentiment") => "\n\n【语言】「情感分析」「情感类别」后的说明请使用简体中文。",
        (true, _) => "\n\n【语言】「情绪分析」后的说明与情绪值整数请按规定格式；分析句用简体中文。",
        (false, "intent") => {
            "\n\n【Language】Keep the exact prefixes 「意图分析：」「意图类别：」 as in the examples; write the text after each colon in **English**."
        }
        (false, "topic") => {
            "\n\n【Language】Keep the exact prefixes 「话题分析：」「话题类别：」 as in the examples; write the text after each colon in **English**."
        }
        (false, "sentiment") => {
            "\n\n【Language】Keep the exact prefixes 「情感分析：」「情感类别：」 as in the examples; write the text after each colon in **English**."
        }
        (false, _) => {
            "\n\n【Language】Keep the exact prefixes 「情绪分析：」「情绪值：」 as in the examples; write the analysis sentence after the colon in **English**; the integer after 情绪值： must still be -5..5."
        }
    }
}

/// What the model is told unless a recipe says otherwise, by an operator that labels turns.
pub struct Usual {
    /// Its word in [`language_note`].
    pub mode: &'static str,
    /// The system prompt.
    pub system: &'static str,
    /// How labels to choose from are said.
    pub candidates: &'static str,
    /// How question, analysis, labels and answer are shown.
    pub templates: [&'static str; 4],
    /// How analysis and labels are found.
    pub patterns: [&'static str; 2],
}

/// What a recipe says of that.
pub struct Given {
    /// `system_prompt`.
    pub system: Option<String>,
    /// `preferred_output_lang`.
    pub language: String,
    /// The labels to choose from, and `candidate_template`.
    pub candidates: (Option<Vec<String>>, Option<String>),
    /// The templates of question, analysis, labels and answer.
    pub templates: [Option<String>; 4],
    /// The patterns of analysis and labels.
    pub patterns: [Option<String>; 2],
}

/// What is said to the model by an operator that labels turns: the system prompt, the labels to choose
/// from, the templates, the patterns.
///
/// # Errors
/// If a template lacks its field, or a pattern is none.
pub fn labelling(
    usual: &Usual,
    given: Given,
) -> Result<(String, String, [Format; 4], [Pattern; 2]), ParamError> {
    let system = given.system.filter(|prompt| !prompt.is_empty());
    let mut system = system.unwrap_or_else(|| usual.system.to_owned());
    system.push_str(language_note(&given.language, usual.mode));
    let (labels, template) = given.candidates;
    let field = ["candidate_str"];
    let choice = Format::of(
        "candidate_template",
        template.as_ref(),
        usual.candidates,
        &field,
    )?;
    let template = |at: usize, name: &str, field: &str| {
        let own = given.templates.get(at).and_then(Option::as_ref);
        let usual = usual.templates.get(at).copied().unwrap_or_default();
        Format::of(name, own, usual, &[field])
    };
    let found = |at: usize, name: &str| {
        let own = given.patterns.get(at).and_then(Option::as_ref);
        pattern(
            name,
            own,
            usual.patterns.get(at).copied().unwrap_or_default(),
            "",
        )
    };
    Ok((
        system,
        candidates(&choice, labels.as_ref()),
        [
            template(0, "query_template", "query")?,
            template(1, "analysis_template", "analysis")?,
            template(2, "labels_template", "labels")?,
            template(3, "response_template", "response")?,
        ],
        [found(0, "analysis_pattern")?, found(1, "labels_pattern")?],
    ))
}

/// The first `most` characters of a text, with `note` where it is cut off; 0 cuts nothing.
#[must_use]
pub fn clipped(text: &str, most: usize, note: &str) -> String {
    if most == 0 || text.chars().count() <= most {
        return text.to_owned();
    }
    let suffix = format!("\n…[{note}]…");
    match most.checked_sub(suffix.chars().count()) {
        None | Some(0) => suffix.trim_start().to_owned(),
        Some(kept) => text.chars().take(kept).chain(suffix.chars()).collect(),
    }
}

/// The turns of a row: those before, and the last one unless it is among them already.
fn turns(sample: &Sample, fields: &[String; 3]) -> Result<Vec<(String, String)>, RowError> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        other => python_str(other).into_owned(),
    };
    let [history, query, response] = fields;
    let mut turns = Vec::new();
    if let Value::Array(before) = top_value(sample, history)? {
        for turn in &before {
            if let Some([query, response, ..]) = turn.as_array().map(Vec::as_slice) {
                turns.push((text(query), text(response)));
            }
        }
    }
    let query = top_value(sample, query)?;
    if !is_true(&query) {
        return Ok(turns);
    }
    let response = top_value(sample, response)?;
    let last = (
        text(&query),
        if is_true(&response) {
            text(&response)
        } else {
            String::new()
        },
    );
    match turns.last_mut() {
        Some(turn) if turn.0 == last.0 => *turn = last,
        _ => turns.push(last),
    }
    Ok(turns)
}

impl Dialog {
    /// Analysis and finding in what was said.
    fn read(&self, said: &str) -> Option<(String, Value)> {
        let first = |pattern: &Pattern| {
            let found = flattened(pattern, said).ok()?;
            found.into_iter().next()?.into_iter().next()
        };
        let [analysis, finding] = &self.patterns;
        let analysis = first(analysis)?;
        let finding = first(finding);
        let finding = match self.finds {
            Finds::Labels => finding.unwrap_or_default().into(),
            Finds::Number => match finding {
                None => 0.into(),
                Some(text) => python_int(&text.into())?.into(),
            },
        };
        (!analysis.is_empty()).then_some((analysis, finding))
    }
}

impl Script for Dialog {
    type Outcome = Vec<Edit>;

    fn server(&self) -> &Server {
        &self.server
    }

    fn talk(&self, sample: &Sample, talk: &mut Talk<'_>) -> Result<Vec<Edit>, Halt> {
        let keys = self.keys.each_ref().map(String::as_str);
        if meta_has(sample, &keys)? {
            return Ok(Vec::new());
        }
        let [
            query_template,
            analysis_template,
            finding_template,
            response_template,
        ] = &self.templates;
        let (mut findings, mut judged) = (Vec::<Value>::new(), Vec::<Value>::new());
        let mut history: Vec<String> = Vec::new();
        for (query, response) in turns(sample, &self.fields)? {
            let query = clipped(&query, self.most[0], "query truncated");
            let response = clipped(&response, self.most[1], "response truncated");
            let shown = history.len().saturating_sub(self.max_round * 4);
            let asked = query_template.fill(&[("query", &query)]);
            let input = [
                self.candidates.clone(),
                history.get(shown..).unwrap_or_default().concat(),
                asked.clone(),
            ];
            let messages = system_and_user(&self.system_prompt, input.concat());
            let (analysis, finding) = talk.use_of(&messages, |said| self.read(said))?;
            let told = python_str(&finding).into_owned();
            history.push(asked);
            history.push(analysis_template.fill(&[("analysis", &analysis)]));
            history.push(finding_template.fill(&[("labels", &told), ("intensity", &told)]));
            history.push(response_template.fill(&[("response", &response)]));
            judged.push(analysis.into());
            if self.finds == Finds::Number || !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        let found = vec![(keys[0], findings.into()), (keys[1], judged.into())];
        Ok(vec![set_meta(sample, found)?])
    }
}

/// What may be chosen, as it is said to the model.
#[must_use]
fn candidates(template: &Format, given: Option<&Vec<String>>) -> String {
    match given.filter(|given| !given.is_empty()) {
        None => String::new(),
        Some(given) => template.fill(&[("candidate_str", &given.join(","))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_with_a_note() {
        assert_eq!(clipped("abc", 0, "n"), "abc");
        assert_eq!(clipped("abc", 3, "n"), "abc");
        let suffix = "\n…[n]…".chars().count();
        assert_eq!(clipped(&"x".repeat(20), suffix + 2, "n"), "xx\n…[n]…");
        assert_eq!(clipped(&"x".repeat(20), 2, "n"), "…[n]…");
    }
}
