//! LaTeX sources, as far as single commands and lines go: no grammar, just what Data-Juicer's
//! cleaners look for.

use std::borrow::Cow;

use hashbrown::HashMap;
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
    // A title ends at any brace further on. Positions are found once: a text of nothing but
    // headings must not be searched to its end for each of them.
    let last_brace = text.rfind('}')?;
    let mut short_end = memmem::find(text.as_bytes(), b"]{");
    memchr::memchr_iter(b'\\', text.as_bytes()).find_map(|at| {
        let heading = text.get(at..)?;
        let command = heading.strip_prefix('\\')?;
        let after = COMMANDS.iter().find_map(|name| {
            let after = command.strip_prefix(name)?;
            let after = after.strip_prefix('*').unwrap_or(after);
            after.starts_with(['[', '{']).then_some(after)
        })?;
        let start = text.len() - after.len() + 1;
        let title = if after.starts_with('{') {
            start
        } else {
            // The short title ends where braces follow a bracket, wherever that is.
            while let Some(end) = short_end.filter(|end| *end < start) {
                let rest = text.as_bytes().get(end + 1..).unwrap_or_default();
                short_end = memmem::find(rest, b"]{").map(|next| end + 1 + next);
            }
            short_end? + 2
        };
        (title <= last_brace).then_some(heading)
    })
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
    let last_brace = text.rfind('}');
    let end = memchr::memchr_iter(b'\\', text.as_bytes()).find(|&at| {
        let rest = text.get(at..).unwrap_or_default();
        STARTS.iter().any(|start| rest.starts_with(start))
            || rest.starts_with("\\bibliography{") && last_brace > Some(at)
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
///
/// # Errors
/// [`Explosion`] for a text that is made to have no end.
pub fn with_macros_expanded(text: &str) -> Result<Cow<'_, str>, Explosion> {
    let mut macros: Vec<(&str, &str)> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    let found = definitions(text, "\\newcommand", newcommand)
        .into_iter()
        .chain(definitions(text, "\\def", def));
    for (name, value) in found {
        let known = index.entry(name).or_insert(macros.len());
        match macros.get_mut(*known) {
            Some(known) => known.1 = value,
            None => macros.push((name, value)),
        }
    }
    let mut expanded = Cow::Borrowed(text);
    let mut searched = 0_u64;
    for (name, value) in macros {
        searched += expanded.len() as u64;
        if searched > MAX_SEARCHED {
            return Err(Explosion);
        }
        if let Some(next) = expand(&expanded, name, value)? {
            expanded = Cow::Owned(next);
        }
    }
    Ok(expanded)
}

/// The macros of a text double it again and again, or are so many that looking for each of them
/// takes longer than any text is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("writing its macros out makes the text too long, or takes too long")]
pub struct Explosion;

/// The longest text that macros are written out to, in bytes: as long as a row may be.
const MAX_EXPANDED: usize = 64 << 20;

/// The most bytes that are searched for macros in one text: a second or two. A thousand macros in
/// a text of a megabyte take a quarter of it.
const MAX_SEARCHED: u64 = 4 << 30;

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
fn expand(text: &str, name: &str, value: &str) -> Result<Option<String>, Explosion> {
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
        if out.len() > MAX_EXPANDED {
            return Err(Explosion);
        }
    }
    if done == 0 {
        return Ok(None);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(Some(out))
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
    fn short_titles_end_at_the_first_bracket_with_a_brace() {
        assert_eq!(from_first_heading("\\part[a]{b}"), Some("\\part[a]{b}"));
        assert_eq!(from_first_heading("\\part[a]{b"), None);
        assert_eq!(
            from_first_heading("]{ \\part[a} ]{b \\section{c}"),
            Some("\\part[a} ]{b \\section{c}")
        );
        assert_eq!(from_first_heading("\\part[a} ]{b"), None);
        assert_eq!(
            from_first_heading("\\part{a} \\section{"),
            Some("\\part{a} \\section{")
        );
        assert_eq!(from_first_heading("a } \\section{"), None);
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
    fn macros_that_double_the_text_end() {
        use std::fmt::Write as _;
        let (mut doubling, mut many) = (String::new(), String::new());
        for n in 0..60 {
            let _ = writeln!(doubling, "\\def\\m{n}x{{\\m{0}x \\m{0}x }}", n + 1);
        }
        for n in 0..100_000 {
            let _ = writeln!(many, "\\def\\m{n}x{{}}");
        }
        assert_eq!(with_macros_expanded(&(doubling + "\\m0x ")), Err(Explosion));
        assert_eq!(with_macros_expanded(&many), Err(Explosion));
    }

    #[test]
    fn macros_are_expanded_once_each() {
        let text = "\\newcommand{\\a}{x}\n\\def\\b{\\a}\n\\a\\a \\b, \\ab";
        assert_eq!(
            with_macros_expanded(text).unwrap(),
            "\\newcommand{x}{x}\n\\def\\a{x}\nx\\a \\a, \\ab"
        );
    }
}
