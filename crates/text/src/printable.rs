//! Text as a terminal may be given it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text as a terminal may have it: rows, names and recipes may hold characters that move the
/// cursor, colour or hide what stands beside them. Those are written as JSON writes them, which
/// leaves JSON what it is; line breaks and tabs stay.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if commands(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a character commands a terminal: control characters, and those that turn the direction
/// of text.
fn commands(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(printable("a\tb é\n"), "a\tb é\n");
        assert_eq!(
            printable("\u{1b}[31m \r \u{9b}2J \u{7f} \u{202e}"),
            "\\u001b[31m \\u000d \\u009b2J \\u007f \\u202e"
        );
        let json = serde_json::json!({"id": "\u{9b}\u{7f}x"});
        let shown = printable(&json.to_string()).into_owned();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            json
        );
    }
}
