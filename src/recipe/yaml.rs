//! YAML text to a tree of values with places.
//!
//! Plain scalars mean what they mean to Data-Juicer, whose reader follows YAML 1.1 with a few
//! changes of its own (`1e5` is a number, a date is text). Text from users is not trusted: nodes,
//! nesting and alias expansion are capped.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use crate::note::{Code, Note};

/// Most nodes of a recipe, aliases expanded.
const MAX_NODES: usize = 100_000;
/// Deepest nesting of a recipe.
const MAX_DEPTH: usize = 64;

/// A place in one of the texts that make up a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Pos {
    /// 0 for the recipe, n for the n-th `--set`.
    pub source: usize,
    /// 1-based line; 0 for no place.
    pub line: usize,
    /// 1-based column in characters; 0 for no place.
    pub column: usize,
}

/// Something wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The stable word for it.
    pub code: &'static str,
    /// Where.
    pub at: Pos,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The path, key, operator or parameter that it is about, as it was written.
    pub named: Option<String>,
}

impl Issue {
    /// `message` at `at`, of the kind that `code` names.
    pub fn new(code: &'static str, at: Pos, message: impl Into<String>) -> Self {
        Self {
            code,
            at,
            message: message.into(),
            hint: None,
            named: None,
        }
    }

    /// Says which path, key, operator or parameter it is about.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.named = Some(name.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do, if anything.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it is written.
    pub at: Pos,
    /// What it is.
    pub value: Value,
    /// The text of a plain scalar.
    pub plain: Option<Box<str>>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key is written.
    pub at: Pos,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// A node that stands nowhere in a text.
    pub fn new(at: Pos, value: Value) -> Self {
        Self {
            at,
            value,
            plain: None,
        }
    }

    /// A plain scalar, resolved.
    pub fn from_plain(at: Pos, text: &str) -> Self {
        Self {
            at,
            value: resolve(text),
            plain: Some(text.into()),
        }
    }

    /// The same value as a node that stands nowhere in a text.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(number) => {
                let int = number.as_i64().map(i128::from);
                match int.or_else(|| number.as_u64().map(i128::from)) {
                    Some(int) => Value::Int(int),
                    None => Value::Float(number.as_f64().unwrap_or_default()),
                }
            }
            Json::String(text) => Value::Str(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Self::from_json).collect()),
            Json::Object(map) => Value::Map(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        at: Pos::default(),
                        node: Self::from_json(value),
                    })
                    .collect(),
            ),
        };
        Self::new(Pos::default(), value)
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The value in words, as problems show it: `the string 'ten'`.
    pub fn describe(&self) -> String {
        let raw = |fallback: String| self.plain.as_deref().map_or(fallback, ToOwned::to_owned);
        match &self.value {
            Value::Null => "null".into(),
            Value::Bool(b) => raw(b.to_string()),
            Value::Int(i) => format!("the number {}", raw(i.to_string())),
            Value::Float(f) => format!("the number {}", raw(f.to_string())),
            Value::Str(s) => {
                let mut shown: String = s.chars().take(40).collect();
                if shown.len() < s.len() {
                    shown.push('…');
                }
                format!("the string '{}'", shown.escape_debug())
            }
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        }
    }

    /// The value as JSON; numbers beyond JSON's integers become floats, infinities and NaN null.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => int_to_json(*i),
            Value::Float(f) => serde_json::Number::from_f64(*f).map_or(Json::Null, Json::Number),
            Value::Str(s) => Json::String(s.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|e| (e.key.clone(), e.node.to_json()))
                    .collect(),
            ),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "JSON has no larger integers; Python would compare the same magnitude"
)]
fn int_to_json(int: i128) -> serde_json::Value {
    if let Ok(int) = i64::try_from(int) {
        int.into()
    } else if let Ok(int) = u64::try_from(int) {
        int.into()
    } else {
        (int as f64).into()
    }
}

/// What a text says.
pub struct Parsed {
    /// The tree; absent if the text cannot be read at all.
    pub root: Option<Node>,
    /// What is wrong; some of it does not hinder reading on and comes along with a tree.
    pub issues: Vec<Issue>,
    /// What is read as Data-Juicer reads it and may not be what the author thinks.
    pub notes: Vec<Note>,
}

/// Reads one document.
pub fn parse(text: &str, source: usize) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(source);
    let root = match builder.read(text) {
        Ok(root) => Some(root),
        Err(issue) => {
            builder.issues.push(*issue);
            None
        }
    };
    Parsed {
        root,
        issues: builder.issues,
        notes: builder.notes,
    }
}

type Fatal = Box<Issue>;

/// A collection that is still open.
struct Frame {
    at: Pos,
    anchor: usize,
    kind: Open,
    size: usize,
    depth: usize,
}

enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// The line of each key, and where it is among the entries.
        lines: HashMap<String, (usize, usize)>,
        key: Option<(String, Pos, bool)>,
        merges: Vec<Node>,
    },
}

/// What an anchor stands for, with its size and depth.
struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
}

struct Builder {
    source: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
    issues: Vec<Issue>,
    notes: Vec<Note>,
}

impl Builder {
    fn new(source: usize) -> Self {
        Self {
            source,
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            root: None,
            issues: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn read(&mut self, text: &str) -> Result<Node, Fatal> {
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|e| Box::new(syntax(&e, text, self.source)))?;
            let at = self.pos(span.start);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Box::new(
                            Issue::new("yaml_invalid", at, "a second YAML document starts here").hint(
                                "a recipe is one document: remove the `---`, or keep one recipe a file",
                            ),
                        ));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let unwritten = span.is_empty() && style == ScalarStyle::Plain;
                    let at = self.place_of_scalar(at, unwritten);
                    self.scalar(at, &text, style, anchor, tag.as_deref())?;
                }
                Event::SequenceStart(anchor, tag) => {
                    Self::check_tag(at, tag.as_deref(), "seq")?;
                    self.open(at, anchor, Open::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    Self::check_tag(at, tag.as_deref(), "map")?;
                    self.open(
                        at,
                        anchor,
                        Open::Map {
                            entries: Vec::new(),
                            lines: HashMap::new(),
                            key: None,
                            merges: Vec::new(),
                        },
                    )?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Alias(id) => {
                    let Some(anchored) = self.anchors.get(&id) else {
                        return Err(Box::new(Issue::new(
                            "yaml_invalid",
                            at,
                            "this alias refers to itself",
                        )));
                    };
                    let (node, size, depth) =
                        (anchored.node.clone(), anchored.size, anchored.depth);
                    self.place(at, node, size, depth)?;
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(self
            .root
            .take()
            .unwrap_or_else(|| Node::new(Pos::default(), Value::Null)))
    }

    fn pos(&self, marker: Marker) -> Pos {
        Pos {
            source: self.source,
            line: marker.line().max(1),
            column: marker.col() + 1,
        }
    }

    fn check_tag(at: Pos, tag: Option<&Tag>, allowed: &str) -> Result<(), Fatal> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == allowed) => {
                Err(Box::new(unsupported_tag(at, tag)))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: Pos, anchor: usize, kind: Open) -> Result<(), Fatal> {
        if self.expects_key() {
            return Err(Box::new(
                Issue::new(
                    "yaml_invalid",
                    at,
                    "a key must be a word, not a list or a mapping",
                )
                .hint("text with `{` or `[` at its start needs quotes"),
            ));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(Box::new(too_deep(at)));
        }
        self.stack.push(Frame {
            at,
            anchor,
            kind,
            size: 1,
            depth: 1,
        });
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame {
                kind: Open::Map { key: None, .. },
                ..
            })
        )
    }

    /// Where a scalar stands: a value that is not written at all has an odd place, its key's is
    /// better.
    fn place_of_scalar(&self, at: Pos, unwritten: bool) -> Pos {
        match self.stack.last() {
            Some(Frame {
                kind: Open::Map { key: Some(key), .. },
                ..
            }) if unwritten => key.1,
            _ => at,
        }
    }

    fn scalar(
        &mut self,
        at: Pos,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Fatal> {
        let plain = style == ScalarStyle::Plain;
        if let Some(Frame {
            kind: Open::Map { key, .. },
            ..
        }) = self.stack.last_mut()
            && key.is_none()
        {
            *key = Some((text.to_owned(), at, plain && text == "<<"));
            return Ok(());
        }
        let node = match tag {
            None if plain => Node::from_plain(at, text),
            None => Node::new(at, Value::Str(text.to_owned())),
            Some(tag) => tagged(at, text, tag)?,
        };
        if anchor > 0 {
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    size: 1,
                    depth: 0,
                },
            );
        }
        self.place(at, node, 1, 0)
    }

    fn close(&mut self) -> Result<(), Fatal> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let value = match frame.kind {
            Open::List(items) => Value::List(items),
            Open::Map {
                entries,
                lines,
                merges,
                ..
            } => Value::Map(self.merged(entries, lines, merges)),
        };
        let node = Node::new(frame.at, value);
        if frame.anchor > 0 {
            self.anchors.insert(
                frame.anchor,
                Anchored {
                    node: node.clone(),
                    size: frame.size,
                    depth: frame.depth,
                },
            );
        }
        // Its parts are counted already.
        self.nodes = self.nodes.saturating_sub(frame.size - 1);
        self.place(frame.at, node, frame.size, frame.depth)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, at: Pos, node: Node, size: usize, depth: usize) -> Result<(), Fatal> {
        self.nodes += size;
        if self.nodes > MAX_NODES {
            return Err(Box::new(
                Issue::new("yaml_invalid", at, format!("more than {MAX_NODES} values")).hint(
                    "aliases multiply what they refer to: write fewer `*name` inside anchored parts",
                ),
            ));
        }
        if self.stack.len() + depth > MAX_DEPTH {
            return Err(Box::new(too_deep(at)));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.size += size;
        frame.depth = frame.depth.max(depth + 1);
        match &mut frame.kind {
            Open::List(items) => items.push(node),
            Open::Map {
                entries,
                lines,
                key,
                merges,
            } => match key.take() {
                None => {
                    // Only an alias comes here: `*name: value`.
                    return Err(Box::new(Issue::new(
                        "yaml_invalid",
                        at,
                        "a key cannot be an alias",
                    )));
                }
                Some((_, _, true)) => merges.push(node),
                Some((key, key_at, false)) => {
                    let entry = Entry {
                        key: key.clone(),
                        at: key_at,
                        node,
                    };
                    if let Some((line, index)) = lines.get_mut(&key) {
                        // The last one counts for Data-Juicer, too.
                        let text = format!(
                            "line {} writes '{key}' again: it counts, and not line {line}",
                            key_at.line
                        );
                        self.notes.push(Note::new(Code::KeyRepeated, text));
                        *line = key_at.line;
                        if let Some(slot) = entries.get_mut(*index) {
                            *slot = entry;
                        }
                    } else {
                        lines.insert(key, (key_at.line, entries.len()));
                        entries.push(entry);
                    }
                }
            },
        }
        Ok(())
    }

    /// `<<`: entries of other mappings that the mapping does not have itself. Of several mappings
    /// that have a key the last one counts, as for Data-Juicer's reader (and against YAML's own
    /// rule, by which it is the first).
    fn merged(
        &mut self,
        mut entries: Vec<Entry>,
        mut lines: HashMap<String, (usize, usize)>,
        merges: Vec<Node>,
    ) -> Vec<Entry> {
        let own = entries.len();
        for merge in merges {
            let at = merge.at;
            let parts = match merge.value {
                Value::List(items) => items,
                _ => vec![merge],
            };
            for part in parts {
                let Value::Map(more) = part.value else {
                    self.issues.push(Issue::new(
                        "yaml_invalid",
                        at,
                        format!("`<<` merges mappings, found {}", part.describe()),
                    ));
                    continue;
                };
                for entry in more {
                    match lines.get(&entry.key) {
                        Some((_, index)) if *index < own => {}
                        Some((_, index)) => {
                            if let Some(slot) = entries.get_mut(*index) {
                                *slot = entry;
                            }
                        }
                        None => {
                            lines.insert(entry.key.clone(), (entry.at.line, entries.len()));
                            entries.push(entry);
                        }
                    }
                }
            }
        }
        entries
    }
}

fn too_deep(at: Pos) -> Issue {
    Issue::new(
        "yaml_invalid",
        at,
        format!("nested more than {MAX_DEPTH} levels deep"),
    )
}

fn unsupported_tag(at: Pos, tag: &Tag) -> Issue {
    Issue::new(
        "unsupported",
        at,
        format!("the tag `{tag}` is not supported"),
    )
    .hint("write the value without a tag")
}

/// A scalar with a tag of the core schema: `!!str 5`.
fn tagged(at: Pos, text: &str, tag: &Tag) -> Result<Node, Fatal> {
    let refused = || Box::new(unsupported_tag(at, tag));
    // A lone `!` says "not plain".
    if tag.suffix.is_empty() || (tag.is_yaml_core_schema() && tag.suffix == "str") {
        return Ok(Node::new(at, Value::Str(text.to_owned())));
    }
    if !tag.is_yaml_core_schema() {
        return Err(refused());
    }
    let node = Node::from_plain(at, text);
    let fits = matches!(
        (tag.suffix.as_str(), &node.value),
        ("null", Value::Null)
            | ("bool", Value::Bool(_))
            | ("int", Value::Int(_))
            | ("float", Value::Float(_) | Value::Int(_))
    );
    if fits { Ok(node) } else { Err(refused()) }
}

/// A syntax error in words a user can act on.
fn syntax(error: &ScanError, text: &str, source: usize) -> Issue {
    let lines: Vec<&str> = text.lines().collect();
    let line = error.marker().line().clamp(1, lines.len().max(1));
    let mut at = Pos {
        source,
        line,
        column: error.marker().col() + 1,
    };
    // The reader often notices a tab one line late.
    for number in [line, line.saturating_sub(1)] {
        let Some(content) = number.checked_sub(1).and_then(|i| lines.get(i)) else {
            continue;
        };
        let indent = content.len() - content.trim_start().len();
        if let Some(tab) = content.get(..indent).and_then(|i| i.find('\t')) {
            at.line = number;
            at.column = tab + 1;
            return Issue::new("yaml_invalid", at, "a tab is used for indentation")
                .hint("indent with spaces");
        }
    }
    let issue = Issue::new(
        "yaml_invalid",
        at,
        format!("not valid YAML: {}", error.info()),
    );
    let content = lines.get(line - 1).copied().unwrap_or_default();
    let hint = if error.info().contains("recursion") {
        Some("the nesting is too deep")
    } else if content.contains(": ") && content.matches('"').count() % 2 == 1 {
        Some("a double quote is not closed")
    } else if content.contains(": ") && content.matches('\'').count() % 2 == 1 {
        Some("a single quote is not closed; inside quotes it is written twice")
    } else if content.contains(':') && !content.contains(": ") && !content.ends_with(':') {
        Some("put a space after the colon")
    } else {
        Some("check the indentation and that brackets and quotes are closed")
    };
    issue.maybe_hint(hint.map(Into::into))
}

/// What a plain scalar means. The rules were found by giving Data-Juicer's reader the scalars.
pub fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return Value::Bool(true);
        }
        "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return Value::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let negative = text.starts_with('-');
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Value::Float(if negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    int(unsigned, negative)
        .or_else(|| float(unsigned, negative, unsigned.len() == text.len()))
        .unwrap_or_else(|| Value::Str(text.to_owned()))
}

fn int(unsigned: &str, negative: bool) -> Option<Value> {
    let (digits, radix) = if let Some(hex) = unsigned.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(binary) = unsigned.strip_prefix("0b") {
        (binary, 2)
    } else if unsigned.len() > 1 && unsigned.starts_with('0') {
        (unsigned, 8)
    } else if unsigned.contains(':') {
        return sexagesimal(unsigned, negative);
    } else {
        if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        (unsigned, 10)
    };
    let digits: String = digits.chars().filter(|&c| c != '_').collect();
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    match i128::from_str_radix(&digits, radix) {
        Ok(int) => Some(Value::Int(if negative { -int } else { int })),
        // Too long for any use; its magnitude is what counts.
        Err(_) => digits
            .parse::<f64>()
            .ok()
            .map(|f| Value::Float(if negative { -f } else { f })),
    }
}

/// Base 60, as in `1:30`; each later part is below 60.
fn sexagesimal(unsigned: &str, negative: bool) -> Option<Value> {
    let mut total: i128 = 0;
    for (i, part) in unsigned.split(':').enumerate() {
        let part: String = if i == 0 {
            if !part.starts_with(|c: char| ('1'..='9').contains(&c)) {
                return None;
            }
            part.chars().filter(|&c| c != '_').collect()
        } else {
            part.to_owned()
        };
        if part.is_empty()
            || !part.chars().all(|c| c.is_ascii_digit())
            || (i > 0 && (part.len() > 2 || part.parse::<u8>().is_ok_and(|p| p > 59)))
        {
            return None;
        }
        total = total
            .checked_mul(60)?
            .checked_add(part.parse::<i128>().ok()?)?;
    }
    Some(Value::Int(if negative { -total } else { total }))
}

fn float(unsigned: &str, negative: bool, bare: bool) -> Option<Value> {
    if let Some((minutes, fraction)) = unsigned.split_once('.')
        && minutes.contains(':')
    {
        return sexagesimal_float(minutes, fraction, negative);
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(i) => (unsigned.get(..i)?, unsigned.get(i + 1..)),
        None => (unsigned, None),
    };
    if let Some(exponent) = exponent {
        let signed = exponent.strip_prefix(['-', '+']);
        let digits = signed.unwrap_or(exponent);
        // After a mantissa that starts with the point, the exponent needs its sign.
        if digits.is_empty()
            || !digits.chars().all(|c| c.is_ascii_digit())
            || (mantissa.starts_with('.') && signed.is_none())
        {
            return None;
        }
    }
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let filler = |s: &str| s.chars().all(|c| c.is_ascii_digit() || c == '_');
    if !filler(whole) || !fraction.is_none_or(filler) {
        return None;
    }
    if whole.is_empty() {
        // `.5` but neither `-.5` nor `.`
        if !bare || fraction.is_none_or(str::is_empty) {
            return None;
        }
    } else if !whole.starts_with(|c: char| c.is_ascii_digit())
        || (fraction.is_none() && exponent.is_none())
    {
        return None;
    }
    let digits: String = unsigned.chars().filter(|&c| c != '_').collect();
    let number: f64 = digits.parse().ok()?;
    Some(Value::Float(if negative { -number } else { number }))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a float is what the reader makes of it"
)]
fn sexagesimal_float(minutes: &str, fraction: &str, negative: bool) -> Option<Value> {
    let minutes = match minutes.split_once(':') {
        // The first part of a float may start with a zero.
        Some((first, rest)) => format!("{}:{rest}", first.trim_start_matches('0')),
        None => minutes.to_owned(),
    };
    let minutes = minutes.strip_prefix(':').unwrap_or(&minutes);
    if !fraction.chars().all(|c| c.is_ascii_digit() || c == '_') {
        return None;
    }
    let whole = match sexagesimal(minutes, false).or_else(|| int(minutes, false))? {
        Value::Int(whole) => whole as f64,
        _ => return None,
    };
    let fraction: String = fraction.chars().filter(|&c| c != '_').collect();
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    let number = whole + fraction;
    Some(Value::Float(if negative { -number } else { number }))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn tree(text: &str) -> serde_json::Value {
        let Parsed { root, issues, .. } = parse(text, 0);
        assert!(issues.is_empty(), "{issues:?}");
        root.unwrap().to_json()
    }

    fn first_issue(text: &str) -> Issue {
        parse(text, 0).issues.into_iter().next().expect("an issue")
    }

    /// What Data-Juicer 1.6.1's reader (jsonargparse 4.53.0) made of each scalar.
    #[test]
    fn plain_scalars_mean_what_they_mean_to_the_peer() {
        for (text, bool) in [
            ("yes", true),
            ("no", false),
            ("on", true),
            ("off", false),
            ("Yes", true),
            ("TRUE", true),
        ] {
            assert_eq!(resolve(text), Value::Bool(bool), "{text}");
        }
        for text in ["null", "~", "", "Null", "NULL"] {
            assert_eq!(resolve(text), Value::Null, "{text}");
        }
        for (text, int) in [
            ("1", 1),
            ("+1", 1),
            ("-1", -1),
            ("0x1F", 31),
            ("-0x1f", -31),
            ("017", 15),
            ("0b101", 5),
            ("1_000", 1000),
            ("1__0", 10),
            ("0", 0),
            ("00", 0),
            ("1:30", 90),
            ("190:20:30", 685_230),
            ("99999999999999999999", 99_999_999_999_999_999_999),
        ] {
            assert_eq!(resolve(text), Value::Int(int), "{text}");
        }
        for (text, float) in [
            ("1e5", 1e5),
            ("1E5", 1e5),
            ("1e+5", 1e5),
            ("1.0e5", 1e5),
            ("1.5e-3", 1.5e-3),
            (".5", 0.5),
            ("5.", 5.0),
            ("1_000.5", 1000.5),
            ("0.1_1", 0.11),
            ("12e03", 12000.0),
            ("1.e5", 1e5),
            ("1:30.5", 90.5),
            ("._5", 0.5),
            ("1._5", 1.5),
            (".inf", f64::INFINITY),
            ("-.inf", f64::NEG_INFINITY),
            ("+.inf", f64::INFINITY),
        ] {
            assert_eq!(resolve(text), Value::Float(float), "{text}");
        }
        assert!(matches!(resolve(".NaN"), Value::Float(f) if f.is_nan()));
        for text in [
            "y",
            "n",
            "none",
            "0o17",
            "08",
            "09",
            "-.5",
            "+.5",
            "2020-01-01",
            "1,000",
            "0xZZ",
            "_1",
            "1e5x",
            "inf",
            "nan",
            "-0o17",
            "0X1F",
            "0B1",
            ".5e5",
            ".",
            "+",
            "tRue",
        ] {
            assert_eq!(resolve(text), Value::Str(text.into()), "{text}");
        }
    }

    #[test]
    fn quoted_scalars_are_text() {
        assert_eq!(
            tree("a: '200'\nb: \"yes\"\nc: !!str 5\nd: |\n  1\n"),
            serde_json::json!({"a": "200", "b": "yes", "c": "5", "d": "1\n"})
        );
    }

    #[test]
    fn a_byte_order_mark_and_crlf_are_no_matter() {
        assert_eq!(
            tree("\u{feff}a: 1\r\nb:\r\n  - x\r\n"),
            serde_json::json!({"a": 1, "b": ["x"]})
        );
    }

    #[test]
    fn anchors_aliases_and_merges_expand() {
        assert_eq!(
            tree("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nagain: *b\n"),
            serde_json::json!({
                "base": {"x": 1, "y": 2}, "use": {"y": 3, "x": 1}, "again": {"x": 1, "y": 2}
            })
        );
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            writeln!(text, "a{i}: &a{i} [{refs}]").unwrap();
        }
        assert!(first_issue(&text).message.contains("more than 100000"));
    }

    #[test]
    fn nesting_is_capped_even_through_aliases() {
        let deep = format!("a: {}{}", "[".repeat(300), "]".repeat(300));
        assert!(!parse(&deep, 0).issues.is_empty());
        let mut text = String::from("a0: &a0 [x]\n");
        for i in 1..100 {
            writeln!(text, "a{i}: &a{i} [*a{}]", i - 1).unwrap();
        }
        assert!(first_issue(&text).message.contains("levels deep"));
        assert!(
            first_issue("a: &a [*a]")
                .message
                .contains("refers to itself")
        );
    }

    #[test]
    fn of_a_key_written_twice_the_last_counts_and_a_note_names_both_lines() {
        let Parsed { root, notes, .. } = parse("np: 4\nx: 1\nnp: 8\nnp: 9\n", 0);
        assert_eq!(
            root.unwrap().to_json(),
            serde_json::json!({"np": 9, "x": 1})
        );
        assert_eq!(
            notes.iter().map(|n| n.message.as_str()).collect::<Vec<_>>(),
            [
                "line 3 writes 'np' again: it counts, and not line 1",
                "line 4 writes 'np' again: it counts, and not line 3"
            ]
        );
        assert!(parse("a: {x: 1}\nb: {x: 1}\n", 0).notes.is_empty());
    }

    /// What Data-Juicer 1.6.1's reader made of each.
    #[test]
    fn of_several_merged_mappings_the_last_counts() {
        let anchors = "a: &a {x: 1, y: 5}\nb: &b {x: 2}\n";
        for (merge, expected) in [
            ("{<<: [*a, *b]}", serde_json::json!({"x": 2, "y": 5})),
            ("{<<: [*b, *a], y: 9}", serde_json::json!({"x": 1, "y": 9})),
            ("{<<: *a, <<: *b}", serde_json::json!({"x": 2, "y": 5})),
            ("{<<: *b, <<: *a}", serde_json::json!({"x": 1, "y": 5})),
            ("{x: 3, <<: *a}", serde_json::json!({"x": 3, "y": 5})),
            ("{<<: *a, x: 3}", serde_json::json!({"x": 3, "y": 5})),
        ] {
            assert_eq!(
                tree(&format!("{anchors}c: {merge}\n"))["c"],
                expected,
                "{merge}"
            );
        }
    }

    #[test]
    fn syntax_errors_have_a_place_and_a_hint() {
        let tab = first_issue("process:\n\t- text_length_filter:\n");
        assert_eq!(tab.at.line, 2);
        assert!(tab.message.contains("tab"), "{}", tab.message);
        let tab = first_issue("process:\n  - text_length_filter:\n\t  min_len: 1\n");
        assert_eq!(tab.at.line, 3);
        assert!(tab.message.contains("tab"), "{}", tab.message);
        for text in ["a: [1, 2\nb: 3\n", "a: 'x\nb: 1\n", "a: b: c\n", "{a: 1\n"] {
            let issue = first_issue(text);
            assert!(issue.at.line > 0 && issue.hint.is_some(), "{text}");
        }
        assert!(first_issue("a: 1\n---\nb: 2\n").message.contains("second"));
        assert!(
            first_issue("a: !!python/name:os.system x")
                .message
                .contains("tag")
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-a-c:{}\\[\\]&*!|>'\"#%@`, \n\t0-9.~<]{0,120}") {
            let _ = parse(&text, 0);
        }
    }
}
