//! Reading what a language model answered.

use crate::op::ParamError;
use crate::text::python_regex::Pattern;
use crate::text::strip;

/// What the groups of a match hold; a group that took no part holds nothing.
pub type Groups = Vec<String>;

/// The pattern that the parameter `param` gives, or `default`, with Python's flags `flags` (`s`, `x`).
///
/// # Errors
/// If it is no regular expression.
pub fn pattern(
    param: &str,
    given: Option<&String>,
    default: &str,
    flags: &str,
) -> Result<Pattern, ParamError> {
    let written = given.filter(|text| !text.is_empty());
    let written = written.map_or(default, String::as_str);
    let plain = if flags.contains('x') {
        unverbose(written)
    } else {
        written.to_owned()
    };
    let flagged = if flags.contains('s') {
        format!("(?s){plain}")
    } else {
        plain
    };
    Pattern::of_re(&flagged).map_err(|why| {
        let what = format!("{written:?} cannot be used as a regular expression: {why}");
        ParamError::new(param, what).hint("write it as for Python's re")
    })
}

/// A pattern without the spaces and comments that Python's `re.VERBOSE` passes over.
#[must_use]
pub fn unverbose(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '#' if !in_class => {
                chars.by_ref().find(|c| *c == '\n');
            }
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' if !in_class => {}
            _ => out.push(c),
        }
    }
    out
}

/// The groups of every match in `text`, as Python's `findall` gives them: of a pattern without
/// groups the whole match.
///
/// # Errors
/// If matching takes too many steps.
pub fn flattened(pattern: &Pattern, text: &str) -> Result<Vec<Groups>, String> {
    let mut found = Vec::new();
    pattern.each_match(text, true, |matched| {
        let mut spans = matched.groups.into_iter();
        let whole = spans.next().flatten();
        let piece = |span: Option<(usize, usize)>| {
            let text = span.and_then(|(start, end)| text.get(start..end));
            text.unwrap_or_default().to_owned()
        };
        let mut groups: Groups = spans.map(piece).collect();
        if groups.is_empty() {
            groups.push(piece(whole.or(Some((matched.start, matched.end)))));
        }
        found.push(groups);
    })?;
    Ok(found)
}

/// The parts of a text between punctuation, stripped, without empty ones; the text itself if there
/// are none.
#[must_use]
pub fn split_by_punctuation(text: &str) -> Vec<String> {
    let is_mark = |c: char| {
        matches!(c, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}') || c.is_ascii_punctuation()
    };
    let parts: Vec<String> = text
        .split(is_mark)
        .map(strip)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    if parts.is_empty() {
        vec![text.to_owned()]
    } else {
        parts
    }
}

/// Where the first object of an answer stands that a language model may have written other words
/// around: from the first brace on to the one that closes it, one deep at most in between.
#[must_use]
pub fn json_start(text: &str) -> Option<&str> {
    // The leftmost match of (\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}), without its backtracking.
    let bytes = text.as_bytes();
    let starts = text.match_indices('{').map(|(at, _)| at);
    for start in starts {
        let mut depth = 0_u32;
        // Where the object would end if the last brace that was opened inside is left open.
        for (at, byte) in bytes.iter().enumerate().skip(start) {
            match byte {
                b'{' if depth == 2 => break,
                b'{' => depth += 1,
                b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return text.get(start..=at);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_comments_of_verbose_patterns_go() {
        assert_eq!(unverbose("a b [ #x] \\ \\# # comment\nc"), "ab[ #x]\\ \\#c");
        let found = |written: &str, text: &str| {
            flattened(&pattern("p", None, written, "sx").unwrap(), text).unwrap()
        };
        let keywords = r#"\("content_keywords"(.*?)\)"#;
        assert_eq!(
            found(
                keywords,
                "(\"content_keywords\" \"a\nb\")(\"content_keywords\" c)"
            ),
            [[" \"a\nb\""], [" c"]]
        );
        assert_eq!(found("x (\\d+) (y)?", "x1 x2y"), [["1", ""], ["2", "y"]]);
        assert!(pattern("p", Some(&"(".to_owned()), "", "").is_err());
    }

    #[test]
    fn texts_are_split_at_punctuation_of_both_kinds() {
        assert_eq!(
            split_by_punctuation(" \"cats, animals; pets\""),
            ["cats", "animals", "pets"]
        );
        assert_eq!(split_by_punctuation("机器学习，基础"), ["机器学习", "基础"]);
        assert_eq!(split_by_punctuation(","), [","]);
        assert_eq!(split_by_punctuation(""), [""]);
    }

    #[test]
    fn the_first_object_is_found_among_words() {
        for (text, object) in [
            ("no", None),
            (
                "```json\n{\"a\": {\"b\": 1}}\n```",
                Some("{\"a\": {\"b\": 1}}"),
            ),
            ("x {a} {b}", Some("{a}")),
            ("{ {a} {b} } {c}", Some("{ {a} {b} }")),
            // Deeper than one: what stands inside is the leftmost that fits.
            ("{a {b {c} } }", Some("{b {c} }")),
            ("{a {b}", Some("{b}")),
            ("{", None),
        ] {
            assert_eq!(json_start(text), object, "{text}");
        }
        // The regular expression itself says the same.
        let plain = Pattern::of_re(r"(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})").unwrap();
        for text in [
            "{a {b {c} } }",
            "{a {b}",
            "} {x} {",
            "{{{}}}",
            "{}{",
            "{a}{{b}c}",
        ] {
            let mut first = None;
            plain
                .each_match(text, false, |found| {
                    first.get_or_insert(found.start..found.end);
                })
                .unwrap();
            assert_eq!(json_start(text), first.map(|span| &text[span]), "{text}");
        }
    }
}
