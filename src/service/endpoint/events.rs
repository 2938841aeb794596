//! Answers that come in pieces, as events, though nobody asked for a stream: some servers know no
//! other way.

use serde_json::{Map, Value};

/// The response that events make together, as it would have come in one piece; `None` if `bytes` are no
/// events.
///
/// # Errors
/// If they end before the answer does.
pub fn joined(bytes: &[u8]) -> Option<Result<Value, String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut response = Map::new();
    let mut choices: Vec<Choice> = Vec::new();
    let mut events = 0;
    for line in text.lines() {
        let Some(data) = line.strip_prefix("data:") else {
            // Names and numbers of events, remarks, and the empty lines between events.
            let is_of_events = ["", ":", "event:", "id:", "retry:"];
            let (start, _) = line.split_at(line.find(':').map_or(0, |at| at + 1));
            if line.is_empty() || (!start.is_empty() && is_of_events.contains(&start)) {
                continue;
            }
            return None;
        };
        let data = data.trim();
        if data == "[DONE]" {
            break;
        }
        let Ok(Value::Object(event)) = serde_json::from_str(data) else {
            return None;
        };
        events += 1;
        for (key, value) in event {
            match (key.as_str(), value) {
                ("choices", Value::Array(pieces)) => {
                    for piece in pieces {
                        add(&mut choices, piece);
                    }
                }
                (_, Value::Null) => {}
                (_, value) => {
                    response.insert(key, value);
                }
            }
        }
    }
    if events == 0 {
        return None;
    }
    if choices.is_empty() || choices.iter().any(|choice| choice.end.is_none()) {
        return Some(Err("the events end before the answer does".to_owned()));
    }
    let choices = choices.into_iter().map(Choice::whole).collect();
    response.insert("choices".to_owned(), choices);
    Some(Ok(response.into()))
}

/// What is there of a choice.
#[derive(Default)]
struct Choice {
    message: Map<String, Value>,
    end: Option<Value>,
}

impl Choice {
    fn whole(self) -> Value {
        serde_json::json!({"message": self.message, "finish_reason": self.end})
    }
}

/// The most choices that are told apart.
const MOST: usize = 1 << 10;

fn add(choices: &mut Vec<Choice>, mut piece: Value) {
    let index = piece.get("index").and_then(Value::as_u64).unwrap_or(0);
    let index = usize::try_from(index).unwrap_or(MOST).min(MOST);
    if choices.len() <= index {
        choices.resize_with(index + 1, Choice::default);
    }
    let Some(choice) = choices.get_mut(index) else {
        return;
    };
    if let Some(Value::Object(delta)) = piece.get_mut("delta").map(Value::take) {
        for (key, value) in delta {
            match (choice.message.get_mut(&key), value) {
                // Texts go on, all else is said once.
                (Some(Value::String(text)), Value::String(more)) if key != "role" => {
                    text.push_str(&more);
                }
                (_, Value::Null) => {}
                (_, value) => {
                    choice.message.insert(key, value);
                }
            }
        }
    }
    if let Some(end) = piece.get_mut("finish_reason").map(Value::take)
        && !end.is_null()
    {
        choice.end = Some(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pieces_make_the_response_that_was_asked_for() {
        let events = b": hello\n\nevent: piece\ndata: {\"id\": \"a\", \"usage\": null, \"choices\": [{\"index\": 0, \"delta\": {\"role\": \"assistant\", \"content\": \"a \"}}]}\r\n\r\n\
            data: {\"id\": \"a\", \"choices\": [{\"index\": 0, \"delta\": {\"content\": \"kite\\ndata: x\"}, \"finish_reason\": null}]}\n\n\
            data: {\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": \"stop\"}]}\n\n\
            data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 3}}\n\ndata: [DONE]\n\n";
        let whole = json!({
            "id": "a", "usage": {"prompt_tokens": 3},
            "choices": [{"message": {"role": "assistant", "content": "a kite\ndata: x"}, "finish_reason": "stop"}],
        });
        assert_eq!(joined(events), Some(Ok(whole)));
    }

    #[test]
    fn what_is_cut_off_is_no_answer_and_other_texts_are_no_events() {
        let piece = b"data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"a\"}}]}\n\n";
        assert!(matches!(joined(piece), Some(Err(_))));
        for text in [
            "",
            "\n",
            "<html>data: {}</html>",
            "data: x",
            "{\"choices\": []}",
            "no\ndata: {}",
        ] {
            assert_eq!(joined(text.as_bytes()), None, "{text}");
        }
        // One that claims more choices than there are has none that ended.
        let far = b"data: {\"choices\": [{\"index\": 99999999999, \"finish_reason\": \"stop\"}]}\n";
        assert!(matches!(joined(far), Some(Err(_))));
    }
}
