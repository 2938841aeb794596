//! Messages of agents and chat models as Data-Juicer's agent mappers read them: texts out of
//! contents of many shapes, names of tools and skills, dialogues.

use std::sync::LazyLock;

use hashbrown::HashSet;
use serde_json::{Map, Value};

use super::python_regex::Pattern;
use super::{TypeMismatch, is_true, lower, python_int, python_str, strip};

/// How a dialogue is made of messages.
#[derive(Debug, Clone)]
pub struct DialogRules {
    /// System messages go before the next user message.
    pub system_in_first_user: bool,
    /// The most characters of a tool's result; not limited from 0 down. So are the others.
    pub tool_chars: i64,
    /// The most characters of all that the assistant says in one turn.
    pub assistant_chars: i64,
    /// The most characters of a user message.
    pub user_chars: i64,
    /// The share of what is left of a cut text that comes from its head.
    pub head_ratio: f64,
}

/// A dialogue: what was asked and answered, and whether some text was cut.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dialog {
    /// Query and response of each turn.
    pub turns: Vec<(String, String)>,
    /// Some text was longer than it may be.
    pub cut: bool,
}

/// The list at `key`; empty if there is something else.
#[must_use]
pub fn list_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `a or b` over fields of an object: the first that Python takes for true.
#[must_use]
pub fn first_true<'v>(map: &'v Map<String, Value>, names: &[&str]) -> Option<&'v Value> {
    names
        .iter()
        .filter_map(|name| map.get(*name))
        .find(|value| is_true(value))
}

/// A message: an object.
///
/// # Errors
/// If it is something else.
pub fn message(value: &Value) -> Result<&Map<String, Value>, TypeMismatch> {
    value
        .as_object()
        .ok_or_else(|| TypeMismatch::new("a message is not an object"))
}

/// The role of a message in lower case; empty if it has none.
///
/// # Errors
/// If it is no text.
pub fn role(message: &Map<String, Value>) -> Result<String, TypeMismatch> {
    match message.get("role").filter(|role| is_true(role)) {
        None => Ok(String::new()),
        Some(Value::String(role)) => Ok(lower(role).into_owned()),
        Some(_) => Err(TypeMismatch::new("the role of a message is not a text")),
    }
}

/// The text of a content: a text, a list of blocks, or an object.
#[must_use]
pub fn content_text(content: Option<&Value>) -> String {
    match content {
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(blocks)) => {
            let parts: Vec<String> = blocks
                .iter()
                .map(block_text)
                .filter(|part| !part.is_empty())
                .collect();
            strip(&parts.join("\n")).to_owned()
        }
        Some(other) => fragment(other),
    }
}

fn block_text(block: &Value) -> String {
    const THOUGHTS: [&str; 2] = ["thinking", "reasoning"];
    match block {
        Value::String(text) => strip(text).to_owned(),
        Value::Object(block) => {
            let kind = block.get("type").and_then(Value::as_str);
            let thinks = kind.is_some_and(|kind| THOUGHTS.contains(&kind));
            let is_text = matches!(kind, Some("text" | "input_text"));
            if is_text || !thinks && block.contains_key("text") {
                return block.get("text").map_or_else(String::new, fragment);
            }
            if thinks || block.contains_key("thinking") || block.contains_key("reasoning_content") {
                let thought = first_true(block, &["thinking", "reasoning"])
                    .or_else(|| block.get("reasoning_content"));
                return thought.map_or_else(String::new, fragment);
            }
            String::new()
        }
        _ => String::new(),
    }
}

/// The text of a piece of content.
fn fragment(value: &Value) -> String {
    let is_blank = |value: &Value| value.is_null() || value.as_str() == Some("");
    match value {
        Value::Null => String::new(),
        Value::Object(map) => ["value", "text", "content"]
            .iter()
            .filter_map(|name| map.get(*name))
            .find(|value| !is_blank(value))
            .map_or_else(String::new, fragment),
        Value::Array(items) => {
            let parts: Vec<String> = items
                .iter()
                .filter(|item| !is_blank(item))
                .map(fragment)
                .collect();
            strip(&parts.join("\n")).to_owned()
        }
        other => strip(&python_str(other)).to_owned(),
    }
}

/// The name of the tool that a call asks for.
fn tool_name(call: &Value) -> Option<&Value> {
    let call = call.as_object()?;
    let function = first_true(call, &["function", "function_call"]);
    function
        .and_then(Value::as_object)
        .and_then(|function| first_true(function, &["name"]))
        .or_else(|| first_true(call, &["name"]))
}

/// What a message that only calls tools says.
fn calls_summary(calls: &Value) -> Result<String, TypeMismatch> {
    const SHOWN: usize = 10;
    let names = unlike(list_of(Some(calls)).iter().filter_map(tool_name));
    if names.is_empty() {
        return Ok(String::new());
    }
    let mut shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| {
            let name = name.as_str().map(ToOwned::to_owned);
            name.ok_or_else(|| TypeMismatch::new("the name of a tool is not a text"))
        })
        .collect::<Result<_, _>>()?;
    if names.len() > SHOWN {
        shown.push(format!("...+{}", names.len() - SHOWN));
    }
    Ok(format!("[Tool calls: {}]", shown.join(", ")))
}

/// Each value once, at its first place.
fn unlike<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<&'v Value> {
    let mut known = HashSet::new();
    values
        .filter(|value| known.insert(identity(value)))
        .collect()
}

/// A text that is the same for values that Python calls equal: numbers by value, `True` as 1.
fn identity(value: &Value) -> String {
    match value {
        Value::String(text) => format!("s{text}"),
        Value::Bool(flag) => format!("i{}", u8::from(*flag)),
        Value::Number(_) => match python_int(value) {
            #[expect(clippy::cast_precision_loss, reason = "compared with a float")]
            Some(whole) if value.is_i64() || value.as_f64() == Some(whole as f64) => {
                format!("i{whole}")
            }
            _ => format!("f{value}"),
        },
        other => format!("j{other}"),
    }
}

/// The names of the tools that messages call, each once.
///
/// # Errors
/// If a message is no object, calls cannot be walked through, or a name is a list or an object.
pub fn tool_types(messages: &[Value]) -> Result<Vec<&Value>, TypeMismatch> {
    let mut names = Vec::new();
    for value in messages {
        match first_true(message(value)?, &["tool_calls", "tool_use"]) {
            // The letters of a text and the fields of an object are no calls.
            None | Some(Value::String(_) | Value::Object(_)) => {}
            Some(Value::Array(calls)) => names.extend(calls.iter().filter_map(tool_name)),
            Some(_) => return Err(TypeMismatch::new("tool calls are not a list")),
        }
    }
    if names.iter().any(|name| name.is_array() || name.is_object()) {
        return Err(TypeMismatch::new("the name of a tool is not a text"));
    }
    Ok(unlike(names.into_iter()))
}

/// How skills are named in messages: by the path of their description, by a heading.
static SKILLS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    [
        r"(?i)[/\\]([a-zA-Z][a-zA-Z0-9_]*)[/\\]SKILL\.md",
        r"##\s+([a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z0-9_]+)?)\s*(?:\n|$)",
        r#"(?i)Check\s+["'].*?([a-zA-Z][a-zA-Z0-9_]*)/SKILL\.md"#,
    ]
    .iter()
    .filter_map(|pattern| Pattern::of_re(pattern).ok())
    .collect()
});

/// The names of the skills that messages mention, each once.
///
/// # Errors
/// If a message is no object, or a pattern takes too many steps.
pub fn skill_types(messages: &[Value]) -> Result<Vec<String>, TypeMismatch> {
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for value in messages {
        let text = content_text(message(value)?.get("content"));
        for pattern in SKILLS.iter() {
            pattern
                .each_match(&text, true, |found| {
                    let group = found.groups.get(1).copied().flatten();
                    let name = group.and_then(|(start, end)| text.get(start..end));
                    if let Some(name) = name
                        && known.insert(name.to_owned())
                    {
                        names.push(name.to_owned());
                    }
                })
                .map_err(TypeMismatch::new)?;
        }
    }
    Ok(names)
}

/// The turns of a dialogue: what the assistant and its tools say goes to the last user message.
///
/// # Errors
/// If a message is no object, its role no text, or the name of a tool no text.
pub fn dialog(messages: &[Value], rules: &DialogRules) -> Result<Dialog, TypeMismatch> {
    let mut dialog = Dialog::default();
    let mut system: Vec<String> = Vec::new();
    for value in messages {
        let message = message(value)?;
        let role = role(message)?;
        let text = content_text(message.get("content"));
        match role.as_str() {
            "system" if rules.system_in_first_user && !text.is_empty() => system.push(text),
            "user" => {
                let query = if system.is_empty() {
                    text
                } else {
                    system.push(text);
                    strip(&std::mem::take(&mut system).join("\n\n")).to_owned()
                };
                let query = dialog.capped(query, rules.user_chars, rules);
                dialog.turns.push((query, String::new()));
            }
            "assistant" => {
                let calls = first_true(message, &["tool_calls", "tool_use"]);
                let piece = match calls {
                    Some(calls) if text.is_empty() => calls_summary(calls)?,
                    _ => text,
                };
                if dialog.turns.is_empty() {
                    dialog.turns.push(Default::default());
                }
                dialog.append("\n\n", &piece, rules);
            }
            "tool" => {
                let result = dialog.capped(text, rules.tool_chars, rules);
                dialog.append("\n", &format!("[Tool result]\n{result}"), rules);
            }
            _ => {}
        }
    }
    Ok(dialog)
}

impl Dialog {
    /// One text of all turns.
    #[must_use]
    pub fn flat(&self, user: &str, assistant: &str) -> String {
        let lines: Vec<String> = self
            .turns
            .iter()
            .flat_map(|(query, response)| [(user, query), (assistant, response)])
            .filter(|(_, text)| !text.is_empty())
            .map(|(label, text)| format!("{label}: {text}"))
            .collect();
        lines.join("\n\n")
    }

    /// Appends to the last response, if there is a turn, behind `gap` if neither is empty.
    fn append(&mut self, gap: &str, piece: &str, rules: &DialogRules) {
        let Some((_, response)) = self.turns.last_mut() else {
            return;
        };
        if !response.is_empty() && !piece.is_empty() {
            response.push_str(gap);
        }
        response.push_str(piece);
        let response = std::mem::take(response);
        let response = self.capped(response, rules.assistant_chars, rules);
        if let Some(turn) = self.turns.last_mut() {
            turn.1 = response;
        }
    }

    fn capped(&mut self, text: String, most: i64, rules: &DialogRules) -> String {
        match usize::try_from(most) {
            Ok(most) if most > 0 && text.len() > most && text.chars().nth(most).is_some() => {
                self.cut = true;
                head_and_tail(&text, most, rules.head_ratio)
            }
            _ => text,
        }
    }
}

/// What is left of a text of more than `most` characters: its head and its tail, with a note of
/// how much is missing in between; with little room, its head.
fn head_and_tail(text: &str, most: usize, head_ratio: f64) -> String {
    const ROOM_FOR_NOTE: usize = 128;
    const LEAST: usize = 200;
    let length = text.chars().count();
    let head_of = |count: usize| text.get(..byte_of(text, count)).unwrap_or_default();
    let budget = most.saturating_sub(ROOM_FOR_NOTE);
    if budget < 2 * LEAST {
        let head = head_of(most.saturating_sub(48));
        return format!("{head}\n…[truncated — agent_dialog_normalize_mapper]…");
    }
    let ratio = head_ratio.clamp(0.35, 0.85);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length, cut off as Python's int does"
    )]
    let mut head = ((budget as f64 * ratio) as usize).max(LEAST);
    let mut tail = budget.saturating_sub(head);
    if tail < LEAST {
        tail = LEAST;
        head = budget.saturating_sub(tail).max(LEAST);
    }
    let Some(omitted) = length.checked_sub(head + tail).filter(|&n| n > 0) else {
        return text.to_owned();
    };
    let note = format!(
        "\n\n[··· {omitted} chars omitted from middle; head+tail preserved — agent_dialog_normalize_mapper]\n\n"
    );
    let over = (head + note.chars().count() + tail).saturating_sub(most);
    if over > 0 {
        head = head.saturating_sub(over).max(120);
    }
    let tail = text.get(byte_of(text, length - tail)..).unwrap_or_default();
    format!("{}{note}{tail}", head_of(head))
}

/// Where the `count`-th character begins.
fn byte_of(text: &str, count: usize) -> usize {
    text.char_indices()
        .nth(count)
        .map_or(text.len(), |(at, _)| at)
}

/// The reply in a list of choices.
///
/// # Errors
/// If the message of a choice is no object.
pub fn reply(choices: &[Value]) -> Result<String, TypeMismatch> {
    for choice in choices.iter().filter_map(Value::as_object) {
        let content = match first_true(choice, &["message", "delta"]) {
            Some(inner) => message(inner)?.get("content"),
            None => choice.get("content"),
        };
        let text = match content {
            Some(Value::String(text)) => strip(text).to_owned(),
            Some(list @ Value::Array(_)) => content_text(Some(list)),
            _ => continue,
        };
        if !text.is_empty() {
            return Ok(text);
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn contents_of_all_shapes_have_a_text() {
        for (content, text) in [
            (json!(" a "), "a"),
            (json!(5), "5"),
            (json!(false), "False"),
            (json!({"text": {"value": " b "}}), "b"),
            (
                json!({"value": "", "content": ["c", null, {"text": "d"}]}),
                "c\nd",
            ),
            (json!([{"type": "text", "text": "e"}, "f", 7]), "e\nf"),
            (
                json!([{"type": "thinking", "thinking": "", "reasoning": "g"}]),
                "g",
            ),
            (json!([{"thinking": "h", "text": null}]), ""),
            (json!([{"type": "image_url"}]), ""),
        ] {
            assert_eq!(content_text(Some(&content)), text, "{content}");
        }
    }

    #[test]
    fn what_python_could_not_read_is_an_error() {
        let rules = DialogRules {
            system_in_first_user: false,
            tool_chars: 0,
            assistant_chars: 0,
            user_chars: 0,
            head_ratio: 0.5,
        };
        for messages in [
            json!([5]),
            json!([null]),
            json!([{"role": 5}]),
            json!([{"role": "assistant", "tool_calls": [{"name": 5}]}]),
        ] {
            assert!(
                dialog(messages.as_array().unwrap(), &rules).is_err(),
                "{messages}"
            );
        }
        for messages in [
            json!(["text"]),
            json!([{"tool_calls": 5}]),
            json!([{"tool_calls": [{"name": ["a"]}]}]),
            json!([{"tool_calls": [{"function": {"name": {"a": 1}}}]}]),
        ] {
            assert!(
                tool_types(messages.as_array().unwrap()).is_err(),
                "{messages}"
            );
        }
        assert!(skill_types(&[json!(1)]).is_err());
        assert!(reply(&[json!({"message": "text"})]).is_err());
    }

    #[test]
    fn names_that_python_calls_equal_are_one() {
        let names = json!([
            1, true, 1.0, "1", 0.5, 0.5, 0, false, "a", "a", 1e300, 1e300
        ]);
        let kept: Vec<Value> = unlike(names.as_array().unwrap().iter())
            .into_iter()
            .cloned()
            .collect();
        assert_eq!(json!(kept), json!([1, "1", 0.5, 0, "a", 1e300]));
    }

    #[test]
    fn long_texts_keep_head_and_tail() {
        let text: String = ('a'..='z').cycle().take(3000).collect();
        let cut = head_and_tail(&text, 1000, 0.62);
        assert_eq!(cut.chars().count(), 1000 - 128 + 93);
        assert!(cut.starts_with(text.get(..540).unwrap()));
        assert!(cut.contains("[··· 2128 chars omitted"));
        assert_eq!(
            head_and_tail("日本語日本語", 2, 0.5),
            "\n…[truncated — agent_dialog_normalize_mapper]…"
        );
    }
}
