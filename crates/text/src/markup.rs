//! HTML as Python 3.11's `html.parser` reads it and `BeautifulSoup` 4 holds it: no element is ever
//! implied or moved, a tag ends at its end tag or at one of an element around it.

use hashbrown::HashMap;
use html5ever::data::NAMED_ENTITIES;

use super::{is_space, lower, strip};

/// An element or a text, by its place in the tree's nodes.
pub type NodeId = usize;

/// What stands in a document, in document order.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    weight: usize,
}

#[derive(Debug)]
struct Node {
    parent: NodeId,
    content: Content,
    children: Vec<NodeId>,
    /// Where what is in it ends.
    end: NodeId,
    /// The weight of all nodes before it.
    weight_before: usize,
}

#[derive(Debug)]
enum Content {
    Element {
        name: String,
        attributes: Vec<(String, String)>,
    },
    Text(TextKind, String),
}

/// What kind of text it is; only plain ones and CDATA sections are part of an element's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextKind {
    Plain,
    /// Within a style, script, template or ruby annotation.
    Hidden,
    CData,
    Comment,
    Instruction,
    Declaration,
    Doctype,
}

/// The root of every tree.
pub const ROOT: NodeId = 0;

/// Elements that have no end tag.
#[rustfmt::skip]
const VOID: [&str; 24] = [
    "area", "base", "basefont", "bgsound", "br", "col", "command", "embed", "frame", "hr", "image",
    "img", "input", "isindex", "keygen", "link", "menuitem", "meta", "nextid", "param", "source",
    "spacer", "track", "wbr",
];

impl Tree {
    /// Reads `html`.
    ///
    /// # Errors
    /// What is wrong with a marked section (`<![…`); all else is read somehow.
    pub fn parse(html: &str) -> Result<Self, String> {
        let mut reader = Reader {
            text: html,
            end: false,
            raw: None,
            into: Builder::new(),
        };
        reader.read()?;
        reader.end = true;
        reader.read()?;
        reader.into.end_text(None);
        Ok(Self::new(reader.into.nodes))
    }

    /// The elements called `name` below `top`, in document order.
    pub fn descendants(&self, top: NodeId, name: &str) -> impl Iterator<Item = NodeId> {
        self.below(top)
            .filter(move |&node| self.name(node) == Some(name))
    }

    /// The elements directly in `top` that have one of these names.
    pub fn children(&self, top: NodeId, names: &[&str]) -> impl Iterator<Item = NodeId> {
        let children = self.nodes.get(top).map_or(&[][..], |node| &node.children);
        children
            .iter()
            .copied()
            .filter(move |&node| self.name(node).is_some_and(|name| names.contains(&name)))
    }

    /// The text of an element: its pieces stripped of white space and put together.
    #[must_use]
    pub fn stripped_text(&self, top: NodeId) -> String {
        let mut out = String::new();
        for node in self.below(top) {
            if let Some(Node {
                content: Content::Text(TextKind::Plain | TextKind::CData, text),
                ..
            }) = self.nodes.get(node)
            {
                out.push_str(strip(text));
            }
        }
        out
    }

    /// How much there is below `top`: its nodes and the bytes of their texts.
    #[must_use]
    pub fn weight(&self, top: NodeId) -> usize {
        let until = |node: NodeId| {
            let node = self.nodes.get(node);
            node.map_or(self.weight, |node| node.weight_before)
        };
        until(self.end_of(top)).saturating_sub(until(top))
    }

    /// An element and all in it as HTML.
    #[must_use]
    pub fn html(&self, top: NodeId) -> String {
        let mut out = String::new();
        let mut open: Vec<NodeId> = Vec::new();
        for at in std::iter::once(top).chain(self.below(top)) {
            let Some(node) = self.nodes.get(at) else {
                break;
            };
            while let Some(&last) = open.last()
                && last != node.parent
            {
                self.push_end_tag(last, &mut out);
                open.pop();
            }
            match &node.content {
                Content::Element { name, attributes } => {
                    push_start_tag(name, attributes, &mut out);
                    if node.children.is_empty() && VOID.contains(&name.as_str()) {
                        out.push_str("/>");
                    } else {
                        out.push('>');
                        open.push(at);
                    }
                }
                Content::Text(kind, text) => {
                    let verbatim = matches!(self.name(node.parent), Some("script" | "style"));
                    push_text(*kind, text, verbatim, &mut out);
                }
            }
        }
        while let Some(last) = open.pop() {
            self.push_end_tag(last, &mut out);
        }
        out
    }

    fn push_end_tag(&self, node: NodeId, out: &mut String) {
        out.push_str("</");
        out.push_str(self.name(node).unwrap_or_default());
        out.push('>');
    }

    fn name(&self, node: NodeId) -> Option<&str> {
        match &self.nodes.get(node)?.content {
            Content::Element { name, .. } => Some(name),
            Content::Text(..) => None,
        }
    }

    /// Nodes lie in document order, so all that is below one follows it.
    fn below(&self, top: NodeId) -> impl Iterator<Item = NodeId> + use<> {
        top + 1..self.end_of(top)
    }

    fn end_of(&self, top: NodeId) -> NodeId {
        self.nodes.get(top).map_or(top, |node| node.end)
    }

    /// A tree of finished nodes.
    fn new(mut nodes: Vec<Node>) -> Self {
        let mut weight = 0;
        for node in &mut nodes {
            node.weight_before = weight;
            weight += 1;
            if let Content::Text(_, text) = &node.content {
                weight += text.len();
            }
        }
        for at in (0..nodes.len()).rev() {
            let Some(node) = nodes.get_mut(at) else {
                break;
            };
            node.end = node.end.max(at + 1);
            let (end, parent) = (node.end, node.parent);
            if let Some(parent) = nodes.get_mut(parent) {
                parent.end = parent.end.max(end);
            }
        }
        Self { nodes, weight }
    }
}

fn push_start_tag(name: &str, attributes: &[(String, String)], out: &mut String) {
    out.push('<');
    out.push_str(name);
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort();
    for (key, value) in sorted {
        out.push(' ');
        out.push_str(key);
        out.push('=');
        let listed = match (name, key.as_str()) {
            (_, "class" | "accesskey" | "dropzone")
            | ("a" | "link", "rel" | "rev")
            | ("td" | "th", "headers")
            | ("form", "accept-charset")
            | ("object", "archive")
            | ("area", "rel")
            | ("icon", "sizes")
            | ("iframe", "sandbox")
            | ("output", "for") => {
                let words: Vec<_> = value.split(is_space).filter(|w| !w.is_empty()).collect();
                Some(words.join(" "))
            }
            _ => None,
        };
        let mut escaped = String::new();
        push_escaped(listed.as_deref().unwrap_or(value), &mut escaped);
        match (escaped.contains('"'), escaped.contains('\'')) {
            (true, false) => {
                out.push('\'');
                out.push_str(&escaped);
                out.push('\'');
            }
            (double, _) => {
                if double {
                    escaped = escaped.replace('"', "&quot;");
                }
                out.push('"');
                out.push_str(&escaped);
                out.push('"');
            }
        }
    }
}

fn push_text(kind: TextKind, text: &str, verbatim: bool, out: &mut String) {
    let (before, after) = match kind {
        TextKind::Plain | TextKind::Hidden if !verbatim => return push_escaped(text, out),
        TextKind::Plain | TextKind::Hidden => ("", ""),
        TextKind::CData => ("<![CDATA[", "]]>"),
        TextKind::Comment => ("<!--", "-->"),
        TextKind::Instruction => ("<?", ">"),
        TextKind::Declaration => ("<?", "?>"),
        TextKind::Doctype => ("<!DOCTYPE ", ">\n"),
    };
    out.push_str(before);
    out.push_str(text);
    out.push_str(after);
}

fn push_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

/// Puts what the reader finds into a tree.
struct Builder {
    nodes: Vec<Node>,
    open: Vec<NodeId>,
    /// How many elements of each name are open.
    open_names: HashMap<String, usize>,
    /// The text since the last tag, if there was any, even an empty one.
    text: Option<String>,
    /// How many void elements of each name were closed at once: that many end tags of theirs that
    /// follow say nothing.
    closed: HashMap<String, usize>,
}

impl Builder {
    fn new() -> Self {
        Self {
            nodes: vec![Node {
                parent: ROOT,
                content: Content::Element {
                    name: String::new(),
                    attributes: Vec::new(),
                },
                children: Vec::new(),
                end: 0,
                weight_before: 0,
            }],
            open: vec![ROOT],
            open_names: HashMap::new(),
            text: None,
            closed: HashMap::new(),
        }
    }

    fn add(&mut self, content: Content) -> NodeId {
        let id = self.nodes.len();
        let parent = self.open.last().copied().unwrap_or(ROOT);
        self.nodes.push(Node {
            parent,
            content,
            children: Vec::new(),
            end: 0,
            weight_before: 0,
        });
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children.push(id);
        }
        id
    }

    fn push_text(&mut self, text: &str) {
        self.text.get_or_insert_default().push_str(text);
    }

    /// Ends the text before a tag; `kind` says if it is not an ordinary one.
    fn end_text(&mut self, kind: Option<TextKind>) {
        let Some(mut text) = self.text.take() else {
            return;
        };
        let blank = text.chars().all(|c| " \n\t\u{c}\r".contains(c));
        if blank && !self.within(&["pre", "textarea"]) {
            text = String::from(if text.contains('\n') { "\n" } else { " " });
        }
        let hidden = || self.within(&["rt", "rp", "style", "script", "template"]);
        let kind = kind.unwrap_or_else(|| {
            if hidden() {
                TextKind::Hidden
            } else {
                TextKind::Plain
            }
        });
        self.add(Content::Text(kind, text));
    }

    /// Adds a comment or the like.
    fn push_special(&mut self, kind: TextKind, text: &str) {
        self.end_text(None);
        self.push_text(text);
        self.end_text(Some(kind));
    }

    fn within(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is_open(name))
    }

    fn is_open(&self, name: &str) -> bool {
        self.open_names.get(name).is_some_and(|&count| count > 0)
    }

    fn name(&self, node: NodeId) -> &str {
        match self.nodes.get(node).map(|node| &node.content) {
            Some(Content::Element { name, .. }) => name,
            _ => "",
        }
    }

    fn start(&mut self, name: String, attributes: Vec<(String, String)>, closed: bool) {
        self.end_text(None);
        let mut unique: Vec<(String, String)> = Vec::with_capacity(attributes.len());
        for (key, value) in attributes {
            match unique.iter_mut().find(|(known, _)| *known == key) {
                Some((_, old)) => *old = value,
                None => unique.push((key, value)),
            }
        }
        let void = VOID.contains(&name.as_str());
        let node = self.add(Content::Element {
            name: name.clone(),
            attributes: unique,
        });
        if !void && !closed {
            self.open.push(node);
            *self.open_names.entry(name).or_default() += 1;
        } else if !closed {
            *self.closed.entry(name).or_default() += 1;
        }
    }

    fn end(&mut self, name: &str) {
        if let Some(count) = self.closed.get_mut(name).filter(|count| **count > 0) {
            *count -= 1;
            return;
        }
        self.end_text(None);
        if !self.is_open(name) {
            return;
        }
        while let Some(node) = self.open.pop() {
            let popped = self.name(node).to_owned();
            if let Some(count) = self.open_names.get_mut(&popped) {
                *count -= 1;
            }
            if popped == name {
                break;
            }
        }
    }
}

/// Finds tags, references and declarations.
struct Reader<'t> {
    /// What is left to read.
    text: &'t str,
    /// Whether no more text follows: what looks incomplete is taken as it is.
    end: bool,
    /// The script or style whose end tag alone is looked for.
    raw: Option<String>,
    into: Builder,
}

impl<'t> Reader<'t> {
    /// Reads as far as it can.
    fn read(&mut self) -> Result<(), String> {
        let mut at = 0;
        while at < self.text.len() {
            let Some(mark) = self.next_mark(at) else {
                break;
            };
            if at < mark {
                self.into.push_text(self.between(at, mark));
            }
            at = mark;
            let next = match self.byte(at) {
                Some(b'<') => self.tag(at)?,
                Some(b'&') if self.byte(at + 1) == Some(b'#') => {
                    let end = self.number(at);
                    if end.is_none() && self.from(at).contains(';') {
                        self.into.push_text("&#");
                        at += 2;
                    }
                    end
                }
                Some(_) => match self.entity(at) {
                    Ok(end) => Some(end),
                    Err(stop) => {
                        at = stop;
                        None
                    }
                },
                None => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        if self.end && at < self.text.len() && self.raw.is_none() {
            self.into.push_text(self.from(at));
            at = self.text.len();
        }
        self.text = self.from(at);
        Ok(())
    }

    /// The next `<` or `&`, or the end; in a script or style its end tag, which may be missing.
    fn next_mark(&self, at: usize) -> Option<usize> {
        let Some(raw) = &self.raw else {
            let found = memchr::memchr2(b'<', b'&', self.from(at).as_bytes());
            return Some(found.map_or(self.text.len(), |found| at + found));
        };
        let mut from = at;
        while let Some(found) = self.from(from).find("</").map(|found| from + found) {
            let name = self.skip_space(found + 2);
            let end = name + raw.len();
            let same = self
                .text
                .get(name..end)
                .is_some_and(|name| name.eq_ignore_ascii_case(raw));
            if same && self.byte(self.skip_space(end)) == Some(b'>') {
                return Some(found);
            }
            from = found + 2;
        }
        None
    }

    /// Reads what begins with `<`; the position behind it, or `None` if it is incomplete.
    fn tag(&mut self, at: usize) -> Result<Option<usize>, String> {
        let rest = self.from(at);
        let found = if starts_with_letter(rest.get(1..)) {
            self.start_tag(at)
        } else if rest.starts_with("</") {
            self.end_tag(at)
        } else if rest.starts_with("<!--") {
            self.comment(at)
        } else if rest.starts_with("<?") {
            self.find('>', at + 2).map(|end| {
                let text = self.between(at + 2, end);
                self.into.push_special(TextKind::Instruction, text);
                end + 1
            })
        } else if rest.starts_with("<![") {
            self.marked_section(at)?
        } else if rest.starts_with("<!") {
            self.declaration(at)
        } else if rest.len() > 1 {
            self.into.push_text("<");
            Some(at + 1)
        } else {
            return Ok(None);
        };
        if found.is_some() || !self.end {
            return Ok(found);
        }
        let end = match (self.find('>', at + 1), self.find('<', at + 1)) {
            (Some(close), _) => close + 1,
            (None, Some(open)) => open,
            (None, None) => at + 1,
        };
        self.into.push_text(self.between(at, end));
        Ok(Some(end))
    }

    fn comment(&mut self, at: usize) -> Option<usize> {
        let mut from = at + 4;
        loop {
            let dashes = from + self.from(from).find("--")?;
            let end = self.skip_space(dashes + 2);
            if self.byte(end) == Some(b'>') {
                let text = self.between(at + 4, dashes);
                self.into.push_special(TextKind::Comment, text);
                return Some(end + 1);
            }
            from = dashes + 1;
        }
    }

    /// A document type, or what counts as a comment.
    fn declaration(&mut self, at: usize) -> Option<usize> {
        const DOCTYPE: &str = "<!doctype";
        let named = self.text.get(at..at + DOCTYPE.len());
        if named.is_some_and(|start| start.eq_ignore_ascii_case(DOCTYPE)) {
            let end = self.find('>', at + DOCTYPE.len())?;
            let text = self.between(at + 2, end).chars().skip("DOCTYPE ".len());
            let text: String = text.collect();
            self.into.push_special(TextKind::Doctype, &text);
            return Some(end + 1);
        }
        self.bogus_comment(at)
    }

    fn bogus_comment(&mut self, at: usize) -> Option<usize> {
        let end = self.find('>', at + 2)?;
        let text = self.between(at + 2, end);
        self.into.push_special(TextKind::Comment, text);
        Some(end + 1)
    }

    /// `<![CDATA[…]]>` and its like.
    fn marked_section(&mut self, at: usize) -> Result<Option<usize>, String> {
        let start = at + 3;
        let rest = self.from(start);
        if rest.is_empty() {
            return Ok(None);
        }
        if !starts_with_letter(Some(rest)) {
            return Err("'<![' is not followed by a name".into());
        }
        let name_end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .unwrap_or(rest.len());
        let name_end = start + name_end;
        if self.skip_space(name_end) == self.text.len() {
            return Ok(None);
        }
        let name = self.between(start, name_end).to_ascii_lowercase();
        let brackets = match name.as_str() {
            "temp" | "cdata" | "ignore" | "include" | "rcdata" => 2,
            "if" | "else" | "endif" => 1,
            _ => return Err(format!("'<![{name}' is no marked section")),
        };
        let mut from = start;
        while let Some(close) = self.find(']', from) {
            let mut end = self.skip_space(close + 1);
            if brackets == 2 {
                if self.byte(end) != Some(b']') {
                    from = close + 1;
                    continue;
                }
                end = self.skip_space(end + 1);
            }
            if self.byte(end) == Some(b'>') {
                let text = self.between(start, close);
                let cdata = text
                    .get(..6)
                    .filter(|head| head.eq_ignore_ascii_case("cdata["));
                match cdata {
                    Some(_) => {
                        let text = text.get(6..).unwrap_or_default();
                        self.into.push_special(TextKind::CData, text);
                    }
                    None => self.into.push_special(TextKind::Declaration, text),
                }
                return Ok(Some(end + 1));
            }
            from = close + 1;
        }
        Ok(None)
    }

    fn start_tag(&mut self, at: usize) -> Option<usize> {
        let end = self.start_tag_end(at)?;
        let name_end = self.name_end(at + 1);
        let name = lower(self.between(at + 1, name_end)).into_owned();
        let mut place = self.skip_fillers(name_end);
        let mut attributes = Vec::new();
        while place < end {
            let Some(attribute) = self.attribute(place) else {
                break;
            };
            let value = attribute.value.map(unescape).unwrap_or_default();
            attributes.push((lower(attribute.name).into_owned(), value));
            place = self.skip_fillers(attribute.end);
        }
        match strip(self.text.get(place..end).unwrap_or_default()) {
            ">" => {
                if matches!(name.as_str(), "script" | "style") {
                    self.raw = Some(name.clone());
                }
                self.into.start(name, attributes, false);
            }
            "/>" => self.into.start(name, attributes, true),
            _ => self.into.push_text(self.between(at, end)),
        }
        Some(end)
    }

    /// Where the start tag at `at` ends; `None` if its end is not to be seen.
    fn start_tag_end(&self, at: usize) -> Option<usize> {
        let mut place = self.name_end(at + 1);
        place = self.skip_while(place, |c| c == '/' || is_space(c));
        while let Some(attribute) = self.attribute(place) {
            place = attribute.end;
            if attribute.value.is_some() {
                place = self.skip_space(place);
            }
            place = self.skip_fillers(place);
        }
        place = self.skip_space(place);
        match self.byte(place) {
            Some(b'>') => Some(place + 1),
            Some(b'/') if self.byte(place + 1) == Some(b'>') => Some(place + 2),
            None | Some(b'/' | b'=') => None,
            Some(byte) if byte.is_ascii_alphabetic() => None,
            Some(_) => Some(place),
        }
    }

    fn end_tag(&mut self, at: usize) -> Option<usize> {
        let close = self.find('>', at + 1)? + 1;
        let name = self.skip_space(at + 2);
        if starts_with_letter(Some(self.from(name))) {
            let end = self.skip_while(name, |c| c.is_ascii_alphanumeric() || "-.:_".contains(c));
            if self.byte(self.skip_space(end)) == Some(b'>') {
                let name = self.between(name, end).to_ascii_lowercase();
                if self.raw.as_ref().is_some_and(|raw| *raw != name) {
                    self.into.push_text(self.between(at, close));
                } else {
                    self.into.end(&name);
                    self.raw = None;
                }
                return Some(close);
            }
        }
        if self.raw.is_some() {
            self.into.push_text(self.between(at, close));
            return Some(close);
        }
        if !starts_with_letter(Some(self.from(at + 2))) {
            if self.byte(at + 2) == Some(b'>') {
                return Some(at + 3);
            }
            return self.bogus_comment(at);
        }
        let end = self.name_end(at + 2);
        let name = lower(self.between(at + 2, end)).into_owned();
        let close = self.find('>', self.skip_fillers(end));
        self.into.end(&name);
        close.map(|close| close + 1)
    }

    /// The attribute that begins at `at`.
    fn attribute(&self, at: usize) -> Option<Attribute<'t>> {
        let before = self.text.get(..at)?.chars().next_back()?;
        if !(matches!(before, '\'' | '"' | '/') || is_space(before)) {
            return None;
        }
        let first = self.from(at).chars().next()?;
        if is_space(first) || matches!(first, '/' | '>') {
            return None;
        }
        let name_end = self.skip_while(at + first.len_utf8(), |c| {
            !(is_space(c) || matches!(c, '/' | '=' | '>'))
        });
        let name = self.between(at, name_end);
        let (value, end) = match self.value(name_end) {
            Some((value, end)) => (Some(value), end),
            None => (None, name_end),
        };
        Some(Attribute { name, value, end })
    }

    /// The value behind an attribute's name that ends at `at`, and where it ends itself.
    fn value(&self, at: usize) -> Option<(&'t str, usize)> {
        let first_sign = self.skip_space(at);
        let signs_end = self.skip_while(first_sign, |c| c == '=');
        if signs_end == first_sign {
            return None;
        }
        let start = self.skip_space(signs_end);
        let bare_from = |start: usize| {
            let end = self.skip_while(start, |c| !(is_space(c) || c == '>'));
            (self.between(start, end), end)
        };
        match self.from(start).chars().next() {
            Some(quote @ ('\'' | '"')) => match self.find(quote, start + 1) {
                Some(end) => Some((self.between(start + 1, end), end + 1)),
                // A quote that nothing closes: the space before it is an empty value, or the last
                // of several signs is part of a bare one.
                None if start > signs_end => {
                    let last = self.between(signs_end, start).chars().next_back()?;
                    Some(("", start - last.len_utf8()))
                }
                None if signs_end - first_sign > 1 => Some(bare_from(signs_end - 1)),
                None => None,
            },
            _ => Some(bare_from(start)),
        }
    }

    /// Reads `&#…`; `None` if it is incomplete.
    fn number(&mut self, at: usize) -> Option<usize> {
        let hex = matches!(self.byte(at + 2), Some(b'x' | b'X'));
        let start = at + 2 + usize::from(hex);
        let end = self.skip_while(start, |c| {
            if hex {
                c.is_ascii_hexdigit()
            } else {
                c.is_ascii_digit()
            }
        });
        let next = self.from(end).chars().next()?;
        if end == start || next.is_ascii_hexdigit() {
            return None;
        }
        let radix = if hex { 16 } else { 10 };
        let number = u32::from_str_radix(self.between(start, end), radix).unwrap_or(u32::MAX);
        let c = match number {
            0 => None,
            0x80..=0x9f => Some(windows_1252(number)),
            number => char::from_u32(number),
        };
        let mut buffer = [0; 4];
        let text = c.unwrap_or('\u{fffd}').encode_utf8(&mut buffer);
        self.into.push_text(text);
        Some(end + usize::from(next == ';'))
    }

    /// Reads `&name`; an error says where reading stops because it is incomplete.
    fn entity(&mut self, at: usize) -> Result<usize, usize> {
        if starts_with_letter(Some(self.from(at + 1))) {
            let mut end = self.skip_while(at + 2, |c| {
                c.is_ascii_alphanumeric() || matches!(c, '-' | '.')
            });
            if end == self.text.len() {
                // The last dash or dot may be what follows the name.
                let name = self.between(at + 2, end);
                let Some(last) = name.rfind(['-', '.']) else {
                    let lone = self.end && self.text.len() == at + 2;
                    return Err(at + usize::from(lone));
                };
                end = at + 2 + last;
            }
            let name = self.between(at + 1, end);
            if let Some(text) = entity(name) {
                self.into.push_text(&text);
            } else {
                self.into.push_text("&");
                self.into.push_text(name);
            }
            return Ok(end + usize::from(self.byte(end) == Some(b';')));
        }
        if at + 1 < self.text.len() {
            self.into.push_text("&");
            return Ok(at + 1);
        }
        Err(at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn from(&self, at: usize) -> &'t str {
        self.text.get(at..).unwrap_or_default()
    }

    fn between(&self, start: usize, end: usize) -> &'t str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Where `needle` stands next, from `at` on.
    fn find(&self, needle: char, at: usize) -> Option<usize> {
        self.from(at).find(needle).map(|found| at + found)
    }

    fn skip_while(&self, at: usize, skipped: impl Fn(char) -> bool) -> usize {
        let rest = self.from(at);
        at + rest.find(|c| !skipped(c)).unwrap_or(rest.len())
    }

    fn skip_space(&self, at: usize) -> usize {
        self.skip_while(at, is_space)
    }

    /// Skips white space and slashes, but not the slash of `/>`.
    fn skip_fillers(&self, at: usize) -> usize {
        let end = self.skip_while(at, |c| c == '/' || is_space(c));
        let slash = end > at && self.byte(end - 1) == Some(b'/');
        end - usize::from(slash && self.byte(end) == Some(b'>'))
    }

    fn name_end(&self, at: usize) -> usize {
        self.skip_while(at, |c| !"\t\n\r\u{c} />\0".contains(c))
    }
}

struct Attribute<'t> {
    name: &'t str,
    value: Option<&'t str>,
    end: usize,
}

fn starts_with_letter(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// The text that an entity stands for; `name` may end in a semicolon.
fn entity(name: &str) -> Option<String> {
    let (first, second) = match NAMED_ENTITIES.get(name) {
        Some(&found) if found.0 != 0 => found,
        _ if name.ends_with(';') => return None,
        _ => *NAMED_ENTITIES.get(&*format!("{name};"))?,
    };
    let chars = [first, second].into_iter().filter(|&c| c != 0);
    Some(chars.filter_map(char::from_u32).collect())
}

/// The character that a number of the C1 controls means.
fn windows_1252(number: u32) -> char {
    const MEANT: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";
    let index = number.saturating_sub(0x80) as usize;
    MEANT.chars().nth(index).unwrap_or('\u{fffd}')
}

/// References in an attribute's value decoded, as Python's `html.unescape` does.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let length = push_reference(after, &mut out);
        rest = after.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Appends what the reference `&` + `text` means; its length without the `&`.
fn push_reference(text: &str, out: &mut String) -> usize {
    let end_of = |start: usize, is_part: fn(char) -> bool| {
        let rest = text.get(start..).unwrap_or_default();
        start + rest.find(|c| !is_part(c)).unwrap_or(rest.len())
    };
    let with_semicolon = |end: usize| end + usize::from(text.as_bytes().get(end) == Some(&b';'));
    if text.starts_with('#') {
        let (radix, start, end) = if text.starts_with("#x") || text.starts_with("#X") {
            (16, 2, end_of(2, |c| c.is_ascii_hexdigit()))
        } else {
            (10, 1, end_of(1, |c| c.is_ascii_digit()))
        };
        if end == start {
            out.push('&');
            return 0;
        }
        let digits = text.get(start..end).unwrap_or_default();
        let number = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
        match number {
            0 => out.push('\u{fffd}'),
            0x0d => out.push('\r'),
            0x80..=0x9f => out.push(windows_1252(number)),
            0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => {}
            number => match char::from_u32(number) {
                Some(_) if number & 0xfffe == 0xfffe => {}
                Some(c) => out.push(c),
                None => out.push('\u{fffd}'),
            },
        }
        return with_semicolon(end);
    }
    let mut end = 0;
    for c in text.chars().take(32) {
        if "\t\n\u{c} <&#;".contains(c) {
            break;
        }
        end += c.len_utf8();
    }
    if end == 0 {
        out.push('&');
        return 0;
    }
    let end = with_semicolon(end);
    let name = text.get(..end).unwrap_or_default();
    let known = |name: &str| {
        let &(first, second) = NAMED_ENTITIES.get(name).filter(|found| found.0 != 0)?;
        let chars = [first, second].into_iter().filter(|&c| c != 0);
        Some(chars.filter_map(char::from_u32).collect::<String>())
    };
    // The longest name that is known, of two characters or more.
    let cuts = name.char_indices().map(|(at, _)| at).skip(2);
    let mut cuts: Vec<usize> = cuts.chain([name.len()]).collect();
    cuts.reverse();
    for cut in cuts {
        if let Some(meant) = name.get(..cut).and_then(known) {
            out.push_str(&meant);
            return cut;
        }
    }
    out.push('&');
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        let tree = Tree::parse(text).unwrap();
        tree.children(ROOT, &["table"])
            .map(|table| tree.html(table))
            .collect()
    }

    #[test]
    fn nothing_is_implied() {
        assert_eq!(
            html("<TABLE><tr><td>a<td>b</tr></table>"),
            "<table><tr><td>a<td>b</td></td></tr></table>"
        );
        assert_eq!(
            html("<table b=2 A='\"' class=' x  y '>&lt;&#128;&amp &x; <br></br>  </p>\n</table>"),
            "<table a='\"' b=\"2\" class=\"x y\">&lt;€&amp; &amp;x <br/> \n</table>"
        );
    }

    #[test]
    fn what_is_never_closed_is_text() {
        assert_eq!(html("<table>a <b"), "<table>a &lt;b</table>");
        assert_eq!(html("<table>a &am"), "<table>a &amp;am</table>");
        assert_eq!(
            html("<table><script>a<b>"),
            "<table><script></script></table>"
        );
        assert!(Tree::parse("<![x]>").is_err());
    }
}
