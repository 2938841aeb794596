//! LaTeX sources, as far as single commands and lines go: no grammar, just what Data-Juicer's
//! cleaners look for.

use std::borrow::Cow;

use memchr::memmem;

/// From the first heading on: a sectioning command from `\chapter` to `\subparagraph`, perhaps
/// starred, perhaps with a short title in brackets, and a title in braces. `None` without one.
#[must_use]
pub fn from_first_heading(text: &str) -> Option<&str> {
    const COMMANDS: [&str; 7] = [
        "chapter",
        "part",
        "section",
        "subsection",
        "subsubsection",
        "paragraph",
        "subparagraph",
    ];
    memchr::memchr_iter(b'\\', text.as_bytes()).find_map(|at| {
        let heading = text.get(at..)?;
        let command = heading.strip_prefix('\\')?;
        let is_heading = COMMANDS.iter().any(|name| {
            command
                .strip_prefix(name)
                .is_some_and(has_heading_arguments)
        });
        is_heading.then_some(heading)
    })
}

fn has_heading_arguments(after: &str) -> bool {
    let after = after.strip_prefix('*').unwrap_or(after);
    let title = match after.strip_prefix('[') {
        // The short title ends where braces follow a bracket, wherever that is.
        Some(short) => memmem::find(short.as_bytes(), b"]{").and_then(|end| short.get(end + 2..)),
        None => after.strip_prefix('{'),
    };
    title.is_some_and(|title| title.contains('}'))
}

/// What comes before the bibliography or the appendix.
#[must_use]
pub fn before_bibliography(text: &str) -> &str {
    const STARTS: [&str; 4] = [
        "\\appendix",
        "\\begin{references}",
        "\\begin{REFERENCES}",
        "\\begin{thebibliography}",
    ];
    let end = memchr::memchr_iter(b'\\', text.as_bytes()).find(|&at| {
        let rest = text.get(at..).unwrap_or_default();
        STARTS.iter().any(|start| rest.starts_with(start))
            || rest
                .strip_prefix("\\bibliography{")
                .is_some_and(|files| files.contains('}'))
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Without comments at the ends of lines: from a `%` that something but a backslash precedes to the
/// end of the line, and that preceding character with it, even if it is a line feed. A `%` that
/// ends its line stays.
#[must_use]
pub fn without_inline_comments(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut done = 0;
    for at in memchr::memchr_iter(b'%', bytes) {
        let before = text
            .get(done..at)
            .and_then(|before| before.chars().next_back());
        let Some(before) = before.filter(|&c| c != '\\') else {
            continue;
        };
        let rest = bytes.get(at + 1..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        if length > 0 {
            out.push_str(text.get(done..at - before.len_utf8()).unwrap_or_default());
            done = at + 1 + length;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// Without the lines that start with `%`.
#[must_use]
pub fn without_comment_lines(text: &str) -> Cow<'_, str> {
    if !text.starts_with('%') && memmem::find(text.as_bytes(), b"\n%").is_none() {
        return Cow::Borrowed(text);
    }
    text.split_inclusive('\n')
        .filter(|line| !line.starts_with('%'))
        .collect::<String>()
        .into()
}

/// With macros that take no arguments written out, in the order they are first defined: all
/// `\newcommand`s (`\newcommand{\name}{value}`, perhaps starred), then all `\def`s
/// (`\def\name{value}`). A value ends with the last brace of its line. A macro is replaced where
/// no letter or digit follows its name, in definitions as well.
#[must_use]
pub fn with_macros_expanded(text: &str) -> Cow<'_, str> {
    let mut macros: Vec<(&str, &str)> = Vec::new();
    let found = definitions(text, "\\newcommand", newcommand)
        .into_iter()
        .chain(definitions(text, "\\def", def));
    for (name, value) in found {
        match macros.iter_mut().find(|known| known.0 == name) {
            Some(known) => known.1 = value,
            None => macros.push((name, value)),
        }
    }
    let mut expanded = Cow::Borrowed(text);
    for (name, value) in macros {
        if let Some(next) = expand(&expanded, name, value) {
            expanded = Cow::Owned(next);
        }
    }
    expanded
}

/// A definition's name and value, and the text after its line.
type Definition<'t> = (&'t str, &'t str, &'t str);

/// All definitions that start with `command`; `read` takes the text after it.
fn definitions<'t>(
    text: &'t str,
    command: &str,
    read: impl Fn(&'t str) -> Option<Definition<'t>>,
) -> Vec<(&'t str, &'t str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = memmem::find(rest.as_bytes(), command.as_bytes()) {
        rest = rest.get(at + command.len()..).unwrap_or_default();
        if let Some((name, value, after)) = read(rest) {
            found.push((name, value));
            rest = after;
        }
    }
    found
}

/// `{\name}{value}` after `\newcommand`.
fn newcommand(after: &str) -> Option<Definition<'_>> {
    let after = after.strip_prefix('*').unwrap_or(after).strip_prefix('{')?;
    let (name, after) = macro_name(after)?;
    let (value, after) = line_value(after.strip_prefix("}{")?)?;
    Some((name, value, after))
}

/// `\name{value}` after `\def`, with white space around the name.
fn def(after: &str) -> Option<Definition<'_>> {
    let (name, after) = macro_name(after.trim_start())?;
    let (value, after) = line_value(after.trim_start().strip_prefix('{')?)?;
    Some((name, value, after))
}

/// A backslash, letters and digits, and what follows.
fn macro_name(text: &str) -> Option<(&str, &str)> {
    let letters = text.strip_prefix('\\')?;
    let length = letters
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(letters.len());
    if length == 0 {
        return None;
    }
    text.split_at_checked(length + 1)
}

/// The rest of the line, which must end in a brace, without it; and the text after the line.
fn line_value(text: &str) -> Option<(&str, &str)> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    Some((line.strip_suffix('}')?, after))
}

/// `None` if `name` does not occur.
fn expand(text: &str, name: &str, value: &str) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    while let Some(at) = text
        .as_bytes()
        .get(done..)
        .and_then(|rest| memmem::find(rest, name.as_bytes()))
        .map(|at| at + done)
    {
        let mut after = at + name.len();
        let next = text.get(after..).and_then(|rest| rest.chars().next());
        out.push_str(text.get(done..at).unwrap_or_default());
        match next {
            // The character that ends the name belongs to the match: it starts no other one.
            Some(c) if !c.is_ascii_alphanumeric() => {
                out.push_str(value);
                out.push(c);
                after += c.len_utf8();
            }
            _ => out.push_str(name),
        }
        done = after;
    }
    if done == 0 {
        return None;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_need_a_title() {
        assert_eq!(
            from_first_heading("a\\section*[b]{c} d"),
            Some("\\section*[b]{c} d")
        );
        assert_eq!(
            from_first_heading("\\section \\sectionx{a} \\part[a {b}"),
            None
        );
    }

    #[test]
    fn bibliographies_end_the_text() {
        assert_eq!(before_bibliography("a \\bibliography{b} c"), "a ");
        assert_eq!(
            before_bibliography("a \\bibliography{b"),
            "a \\bibliography{b"
        );
    }

    #[test]
    fn comments_take_the_character_before() {
        assert_eq!(without_inline_comments("a %x\n%y\nb\\%c %"), "a\nb\\%c %");
        assert_eq!(without_comment_lines("%a\nb %c\n%d"), "b %c\n");
    }

    #[test]
    fn macros_are_expanded_once_each() {
        let text = "\\newcommand{\\a}{x}\n\\def\\b{\\a}\n\\a\\a \\b, \\ab";
        assert_eq!(
            with_macros_expanded(text),
            "\\newcommand{x}{x}\n\\def\\a{x}\nx\\a \\a, \\ab"
        );
    }
}
