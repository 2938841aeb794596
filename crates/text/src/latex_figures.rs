//! The figures of a LaTeX source and the paragraphs that cite them, as Data-Juicer 1.6.1 finds them:
//! by environments and commands, without a grammar.

use std::cmp::Reverse;

use super::strip;

/// A figure, or a part of one that has a caption of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figure {
    /// The text of its caption.
    pub caption: String,
    /// Its label.
    pub label: String,
    /// The files it shows; empty if its parts show them.
    pub images: Vec<String>,
    /// Its parts.
    pub parts: Vec<Figure>,
}

/// Environments in which no paragraph is looked for.
#[rustfmt::skip]
const NO_PROSE: [&str; 24] = [
    "figure", "figure*", "wrapfigure", "table", "table*", "tabular", "tabular*", "equation",
    "equation*", "align", "align*", "alignat", "alignat*", "gather", "gather*", "multline",
    "multline*", "flalign", "flalign*", "algorithm", "algorithm*", "lstlisting", "verbatim", "minted",
];

/// The figures of `source` that show at least one file.
#[must_use]
pub fn figures(source: &str) -> Vec<Figure> {
    environments(source, &["figure", "figure*", "wrapfigure"])
        .iter()
        .flat_map(|found| figures_of(found.whole(source)))
        .collect()
}

/// The paragraphs of a text that are not blank.
#[must_use]
pub fn paragraphs<'s>(prose: &'s str, separator: &str) -> Vec<&'s str> {
    let stripped = prose.split(separator).map(strip);
    stripped.filter(|paragraph| !paragraph.is_empty()).collect()
}

/// `source` without figures, tables, formulas and listings.
#[must_use]
pub fn prose(source: &str) -> String {
    let mut out = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some((begin, name, body)) = next_begin(source, at) {
        let end = NO_PROSE
            .contains(&name)
            .then(|| end_of(source, name, body))
            .flatten();
        match end {
            Some((_, end)) => {
                out.push_str(source.get(done..begin).unwrap_or_default());
                done = end;
                at = end;
            }
            None => at = begin + 1,
        }
    }
    out.push_str(source.get(done..).unwrap_or_default());
    out
}

/// Whether `paragraph` cites `label` with one of `commands`: `\ref{label}`, `\cref{other, label}`.
#[must_use]
pub fn cites(paragraph: &str, commands: &[String], label: &str) -> bool {
    let mut rest = paragraph;
    while let Some((_, after)) = rest.split_once('\\') {
        let cited = commands.iter().any(|command| {
            after
                .strip_prefix(command.as_str())
                .and_then(|after| after.strip_prefix('{'))
                .is_some_and(|labels| lists(labels, label))
        });
        if cited {
            return true;
        }
        rest = after;
    }
    false
}

/// Whether `label` is an entry of the list that ends at the first closing brace.
fn lists(labels: &str, label: &str) -> bool {
    let end = labels.find('}').unwrap_or(labels.len());
    let list = labels.get(..end).unwrap_or_default();
    let commas = list.match_indices(',').map(|(at, _)| at + 1);
    std::iter::once((0, false))
        .chain(commas.map(|at| (at, true)))
        .any(|(start, spaced)| {
            let entry = labels.get(start..).unwrap_or_default();
            let entry = if spaced {
                entry.trim_start_matches(is_space)
            } else {
                entry
            };
            let Some(after) = entry.strip_prefix(label) else {
                return false;
            };
            let after = after.trim_start_matches(is_space);
            after.starts_with('}') || (after.starts_with(',') && after.contains('}'))
        })
}

/// White space of the `regex` module: without the four separators that Python's own has.
fn is_space(c: char) -> bool {
    super::is_space(c) && !('\u{1c}'..='\u{1f}').contains(&c)
}

/// The figures of one figure environment.
fn figures_of(text: &str) -> Vec<Figure> {
    let environments_found = environments(text, &["subfigure"]);
    let commands = subfigures(text);
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut parts = Vec::new();
    let mut add = |caption: String, content: &str| {
        let part = Figure {
            caption,
            label: label(content),
            images: images(content),
            parts: Vec::new(),
        };
        if !part.images.is_empty() {
            parts.push(part);
        }
    };
    for found in &environments_found {
        let whole = found.whole(text);
        spans.push((found.start, found.end));
        add(caption(whole), whole);
    }
    let (captioned, plain): (Vec<_>, Vec<_>) =
        commands.into_iter().partition(|c| c.caption.is_some());
    for command in captioned.into_iter().chain(plain) {
        spans.push((command.start, command.end));
        let caption = command.caption.map(strip).unwrap_or_default();
        add(caption.to_owned(), command.content);
    }
    if spans.is_empty() {
        return without_parts(text);
    }
    if parts.is_empty() {
        return Vec::new();
    }
    let outside = without_spans(text, spans);
    vec![Figure {
        caption: caption(&outside),
        label: label(&outside),
        images: Vec::new(),
        parts,
    }]
}

fn without_parts(text: &str) -> Vec<Figure> {
    let minipages = environments(text, &["minipage"]);
    let figure = |text: &str| Figure {
        caption: caption(text),
        label: label(text),
        images: images(text),
        parts: Vec::new(),
    };
    let mut found: Vec<Figure> = if minipages.len() > 1 {
        let bodies = minipages.iter().map(|page| page.body(text));
        bodies
            .filter(|body| argument(body, "\\captionof{table}", Shape::Balanced).is_none())
            .map(figure)
            .collect()
    } else {
        vec![figure(text)]
    };
    found.retain(|figure| !figure.images.is_empty());
    found
}

/// `text` with each span cut out, the last one first; the bounds count characters of what is left,
/// as they do in Data-Juicer where spans lie in each other.
fn without_spans(text: &str, mut spans: Vec<(usize, usize)>) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let number = |at: usize| text.get(..at).map_or(0, |before| before.chars().count());
    spans.sort_by_key(|&(start, _)| Reverse(start));
    for (start, end) in spans {
        let length = chars.len();
        let (start, end) = (number(start).min(length), number(end).min(length));
        chars.drain(start..end.max(start));
    }
    chars.into_iter().collect()
}

fn caption(text: &str) -> String {
    let starred = argument(text, "\\caption", Shape::Starred);
    let found = starred
        .or_else(|| argument(text, "\\subcaption", Shape::Balanced))
        .or_else(|| argument(text, "\\captionof{figure}", Shape::Balanced));
    found.map(strip).unwrap_or_default().to_owned()
}

fn label(text: &str) -> String {
    let found = arguments(text, "\\label", Shape::Bare).next();
    found.map(strip).unwrap_or_default().to_owned()
}

fn images(text: &str) -> Vec<String> {
    arguments(text, "\\includegraphics", Shape::Flat)
        .map(|path| strip(path).to_owned())
        .collect()
}

/// What may stand between a command and its argument, and how the argument ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Perhaps a star, perhaps brackets, then balanced braces.
    Starred,
    /// Perhaps brackets, then balanced braces.
    Balanced,
    /// Perhaps brackets, then something up to the first closing brace.
    Flat,
    /// Something up to the first closing brace.
    Bare,
}

fn argument<'t>(text: &'t str, command: &str, shape: Shape) -> Option<&'t str> {
    arguments(text, command, shape).next()
}

/// The arguments of all uses of `command`.
fn arguments<'t>(text: &'t str, command: &str, shape: Shape) -> impl Iterator<Item = &'t str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text.get(at..)?.find(command)?;
            at = start + 1;
            let mut open = start + command.len();
            if shape == Shape::Starred && text.get(open..)?.starts_with('*') {
                open += 1;
            }
            if shape != Shape::Bare
                && let Some(end) = brackets_end(text, open)
            {
                open = end;
            }
            let close = match shape {
                Shape::Starred | Shape::Balanced => braces_end(text, open),
                Shape::Flat | Shape::Bare => {
                    flat_braces_end(text, open).filter(|end| *end > open + 2)
                }
            };
            if let Some(close) = close {
                at = close;
                return text.get(open + 1..close - 1);
            }
        }
    })
}

/// A use of `\subfigure` or `\subfloat`.
struct Subfigure<'t> {
    start: usize,
    end: usize,
    caption: Option<&'t str>,
    content: &'t str,
}

/// Uses with a caption in brackets, and uses without brackets; each kind is looked for on its own, so
/// that one may lie within the other.
fn subfigures(text: &str) -> Vec<Subfigure<'_>> {
    let mut found = Vec::new();
    for captioned in [true, false] {
        let mut at = 0;
        while let Some(start) = text.get(at..).and_then(|rest| rest.find("\\subf")) {
            let start = at + start;
            at = start + 1;
            if let Some(subfigure) = subfigure(text, start, captioned) {
                at = subfigure.end;
                found.push(subfigure);
            }
        }
    }
    found
}

fn subfigure(text: &str, start: usize, captioned: bool) -> Option<Subfigure<'_>> {
    let rest = text.get(start..)?;
    let name = ["\\subfigure", "\\subfloat"]
        .into_iter()
        .find(|name| rest.starts_with(name))?;
    let after = start + name.len();
    let brackets = text.get(after..)?.starts_with('[');
    if brackets != captioned {
        return None;
    }
    let (caption, open) = if captioned {
        let end = brackets_end(text, after)?;
        (Some(text.get(after + 1..end - 1)?), end)
    } else {
        (None, after)
    };
    let rest = text.get(open..)?;
    let open = open + rest.len() - rest.trim_start_matches(is_space).len();
    let end = braces_end(text, open)?;
    Some(Subfigure {
        start,
        end,
        caption,
        content: text.get(open + 1..end - 1)?,
    })
}

/// An environment and where its content starts, behind its arguments.
struct Environment {
    start: usize,
    body: usize,
    body_end: usize,
    end: usize,
}

impl Environment {
    fn whole<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    fn body<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.body..self.body_end).unwrap_or_default()
    }
}

/// The environments of `text` with one of these names, none within another.
fn environments(text: &str, names: &[&str]) -> Vec<Environment> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((start, name, after)) = next_begin(text, at) {
        at = start + 1;
        if !names.contains(&name) {
            continue;
        }
        // Arguments are skipped, as many as leave an end behind them.
        let mut bodies = vec![after];
        let mut body = after;
        while let Some(end) = brackets_end(text, body) {
            body = end;
            bodies.push(end);
        }
        while let Some(end) = flat_braces_end(text, body) {
            body = end;
            bodies.push(end);
        }
        let ended = bodies
            .into_iter()
            .rev()
            .find_map(|body| Some((body, end_of(text, name, body)?)));
        if let Some((body, (body_end, end))) = ended {
            at = end;
            found.push(Environment {
                start,
                body,
                body_end,
                end,
            });
        }
    }
    found
}

/// The next `\begin{name}`: where it starts, the name, and where it ends.
fn next_begin(text: &str, at: usize) -> Option<(usize, &str, usize)> {
    const BEGIN: &str = "\\begin{";
    let mut from = at;
    loop {
        let start = from + text.get(from..)?.find(BEGIN)?;
        let name_at = start + BEGIN.len();
        let rest = text.get(name_at..)?;
        if let Some(length) = rest.find('}') {
            return Some((start, rest.get(..length)?, name_at + length + 1));
        }
        from = start + 1;
    }
}

/// Where the next `\end{name}` starts and ends.
fn end_of(text: &str, name: &str, at: usize) -> Option<(usize, usize)> {
    let end = format!("\\end{{{name}}}");
    let found = at + text.get(at..)?.find(&end)?;
    Some((found, found + end.len()))
}

/// The end of the brackets that open at `at`.
fn brackets_end(text: &str, at: usize) -> Option<usize> {
    let inside = text.get(at..)?.strip_prefix('[')?;
    Some(at + inside.find(']')? + 2)
}

/// The end of the braces that open at `at`: the first that closes.
fn flat_braces_end(text: &str, at: usize) -> Option<usize> {
    let inside = text.get(at..)?.strip_prefix('{')?;
    Some(at + inside.find('}')? + 2)
}

/// The end of the braces that open at `at`, others within them.
fn braces_end(text: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let rest = text.as_bytes().get(at..)?;
    if rest.first() != Some(&b'{') {
        return None;
    }
    for (offset, byte) in rest.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + offset + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_a_caption_a_label_and_files() {
        let source =
            r"\begin{figure}[t]\caption[s]{A {b}}\label{f}\includegraphics[w]{a.png}\end{figure}";
        let figure = Figure {
            caption: "A {b}".into(),
            label: "f".into(),
            images: vec!["a.png".into()],
            parts: Vec::new(),
        };
        assert_eq!(figures(source), [figure]);
        assert_eq!(figures(r"\begin{figure}\caption{x}\end{figure}"), []);
    }

    #[test]
    fn labels_are_cited_as_whole_entries() {
        let commands = ["ref".to_owned(), "cref".to_owned()];
        let cited = |text| cites(text, &commands, "a");
        assert!(cited(r"see \cref{b, a ,c}"));
        assert!(cited(r"\ref{a}"));
        assert!(!cited(r"\ref{ab} \ref{ a} \pageref{a} ref{a}"));
    }

    #[test]
    fn prose_lies_outside_of_environments() {
        let source = r"a\begin{table}\ref{x}\end{table}b\begin{figure}c";
        assert_eq!(prose(source), r"ab\begin{figure}c");
    }
}
