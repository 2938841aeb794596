//! Regular expressions and replacement templates as Python writes them.
//!
//! Recipes hold patterns for Python's `regex` module. A pattern is rewritten into the syntax of the
//! `regex` crate, which takes it if it can; what needs look-around or back references goes to
//! `fancy-regex`. A pattern that neither takes is refused when it is compiled, never later.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(fancy_regex::Regex),
}

/// What replaces a match: literal text and groups (`\1`, `\g<name>`).
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Group(usize),
}

/// A pattern and what replaces its matches.
#[derive(Debug)]
pub struct Substitution {
    pattern: Pattern,
    template: Template,
}

/// Why a [`Substitution`] cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubstitutionError {
    /// Which half is at fault, as recipes call it: `pattern` or `repl`.
    pub part: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl Substitution {
    /// Compiles both halves as recipes write them.
    ///
    /// # Errors
    /// Which half is wrong, and how.
    pub fn from_recipe(pattern: &str, repl: &str) -> Result<Self, SubstitutionError> {
        let compiled = Pattern::from_recipe(pattern).map_err(|e| SubstitutionError {
            part: "pattern",
            message: format!("{pattern:?} cannot be used as a regular expression: {e}"),
        })?;
        let template = Template::new(repl, &compiled).map_err(|e| SubstitutionError {
            part: "repl",
            message: format!("{repl:?} cannot be used as a replacement: {e}"),
        })?;
        Ok(Self {
            pattern: compiled,
            template,
        })
    }

    /// `text` with every match replaced.
    ///
    /// # Errors
    /// As [`Pattern::replace_all`].
    pub fn apply<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, String> {
        self.pattern.replace_all(text, &self.template)
    }

    /// The replacement, if it is the same for every match.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        self.template.literal()
    }
}

/// One match: its span, and those of its groups, the whole match being the first.
#[derive(Debug)]
pub struct Found {
    /// Where it starts, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Its groups; empty if they were not asked for.
    pub groups: Vec<Option<(usize, usize)>>,
}

impl Pattern {
    /// Compiles `python`. The dot matches line feeds, as in most patterns of Data-Juicer's users.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn new(python: &str) -> Result<Self, String> {
        Self::compile(Translator::new(python, "s"))
    }

    /// Compiles `python` as Python's own module `re` does, without any flag.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn of_re(python: &str) -> Result<Self, String> {
        Self::compile(Translator {
            classes: Classes::Re,
            ..Translator::new(python, "")
        })
    }

    fn compile(translator: Translator<'_>) -> Result<Self, String> {
        let translated = translator.translate()?;
        if !translated.needs_backtracking
            && let Ok(regex) = regex::Regex::new(&translated.pattern)
        {
            return Ok(Self {
                engine: Engine::Linear(regex),
            });
        }
        fancy_regex::Regex::new(&translated.pattern)
            .map(|regex| Self {
                engine: Engine::Backtracking(regex),
            })
            .map_err(|error| error.to_string())
    }

    /// Compiles `written` as Data-Juicer reads it in a recipe: the quotes and `r` of a Python raw
    /// string are taken off.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn from_recipe(written: &str) -> Result<Self, String> {
        let bare = ["'", "\""].into_iter().find_map(|quote| {
            written
                .strip_prefix('r')?
                .strip_prefix(quote)?
                .strip_suffix(quote)
        });
        Self::new(bare.unwrap_or(written))
    }

    /// Every match in `text` replaced by `template`.
    ///
    /// # Errors
    /// If matching takes too many steps; only a pattern with look-around or back references can.
    pub fn replace_all<'t>(
        &self,
        text: &'t str,
        template: &Template,
    ) -> Result<Cow<'t, str>, String> {
        let mut out = String::new();
        let mut done = 0;
        let mut any = false;
        self.each_match(text, template.literal().is_none(), |found| {
            any = true;
            out.push_str(text.get(done..found.start).unwrap_or_default());
            template.expand(text, &found, &mut out);
            done = found.end;
        })?;
        if !any {
            return Ok(Cow::Borrowed(text));
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Ok(Cow::Owned(out))
    }

    /// Calls `each` with every match in `text`, as Python's `finditer` finds them.
    ///
    /// # Errors
    /// As [`Pattern::replace_all`].
    pub fn each_match(
        &self,
        text: &str,
        wants_groups: bool,
        mut each: impl FnMut(Found),
    ) -> Result<(), String> {
        let mut at = 0;
        // Python lets an empty match follow another match at once, but not at the place of an
        // empty one.
        let mut empty_at = None;
        while at <= text.len() {
            let Some(found) = self.find_at(text, at, wants_groups)? else {
                break;
            };
            if found.start == found.end && empty_at == Some(found.start) {
                at = next_char(text, found.start);
                empty_at = None;
                continue;
            }
            at = found.end;
            empty_at = (found.start == found.end).then_some(found.end);
            each(found);
        }
        Ok(())
    }

    /// Whether there is a match in `text`.
    ///
    /// # Errors
    /// As [`Pattern::replace_all`].
    pub fn is_match(&self, text: &str) -> Result<bool, String> {
        self.find_at(text, 0, false).map(|found| found.is_some())
    }

    fn find_at(&self, text: &str, at: usize, wants_groups: bool) -> Result<Option<Found>, String> {
        Ok(match &self.engine {
            Engine::Linear(regex) if wants_groups => {
                let mut groups = regex.capture_locations();
                regex
                    .captures_read_at(&mut groups, text, at)
                    .map(|found| Found {
                        start: found.start(),
                        end: found.end(),
                        groups: (0..groups.len()).map(|i| groups.get(i)).collect(),
                    })
            }
            Engine::Linear(regex) => regex.find_at(text, at).map(|found| Found {
                start: found.start(),
                end: found.end(),
                groups: Vec::new(),
            }),
            Engine::Backtracking(regex) => regex
                .captures_from_pos(text, at)
                .map_err(|error| error.to_string())?
                .and_then(|captures| {
                    let all = captures.get(0)?;
                    Some(Found {
                        start: all.start(),
                        end: all.end(),
                        groups: captures
                            .iter()
                            .map(|group| group.map(|group| (group.start(), group.end())))
                            .collect(),
                    })
                }),
        })
    }

    fn group_count(&self) -> usize {
        match &self.engine {
            Engine::Linear(regex) => regex.captures_len(),
            Engine::Backtracking(regex) => regex.captures_len(),
        }
    }

    fn group_named(&self, name: &str) -> Option<usize> {
        match &self.engine {
            Engine::Linear(regex) => regex.capture_names().position(|n| n == Some(name)),
            Engine::Backtracking(regex) => regex.capture_names().position(|n| n == Some(name)),
        }
    }
}

fn next_char(text: &str, at: usize) -> usize {
    let width = text
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(1, char::len_utf8);
    at + width
}

impl Template {
    /// Reads a Python template for matches of `pattern`.
    ///
    /// # Errors
    /// What is wrong with it: an unknown escape or group.
    pub fn new(python: &str, pattern: &Pattern) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = python.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '\\' {
                literal.push(c);
                continue;
            }
            let Some(escape) = chars.next() else {
                return Err("it ends in a single backslash".into());
            };
            let group = match escape {
                'g' => Some(named_group(&mut chars, pattern)?),
                '0'..='9' => match octal_or_group(escape, &mut chars)? {
                    Number::Char(c) => {
                        literal.push(c);
                        None
                    }
                    Number::Group(group) => Some(group),
                },
                _ => {
                    match simple_escape(escape, &mut chars)? {
                        Some(c) => literal.push(c),
                        None if escape == '\\' => literal.push('\\'),
                        None if escape.is_ascii_alphabetic() => {
                            return Err(format!("\\{escape} is not an escape"));
                        }
                        None => literal.extend(['\\', escape]),
                    }
                    None
                }
            };
            if let Some(group) = group {
                if group >= pattern.group_count() {
                    return Err(format!("the pattern has no group {group}"));
                }
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Group(group));
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Its text, if it names no group.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(literal)] => Some(literal),
            _ => None,
        }
    }

    fn expand(&self, text: &str, found: &Found, out: &mut String) {
        self.expand_groups(text, &found.groups, out);
    }

    /// Appends what replaces a match in `text` whose groups, the match itself first, have these
    /// spans.
    pub fn expand_groups(&self, text: &str, groups: &[Option<(usize, usize)>], out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Group(group) => {
                    let span = groups.get(*group).copied().flatten();
                    let group = span.and_then(|(start, end)| text.get(start..end));
                    out.push_str(group.unwrap_or_default());
                }
            }
        }
    }
}

fn named_group(chars: &mut Peekable<Chars<'_>>, pattern: &Pattern) -> Result<usize, String> {
    if chars.next() != Some('<') {
        return Err("\\g must be followed by <group>".into());
    }
    let mut name = String::new();
    loop {
        match chars.next() {
            Some('>') => break,
            Some(c) => name.push(c),
            None => return Err("\\g< has no closing >".into()),
        }
    }
    name.parse()
        .ok()
        .or_else(|| pattern.group_named(&name))
        .ok_or_else(|| format!("the pattern has no group called {name:?}"))
}

enum Number {
    Char(char),
    Group(usize),
}

/// `\0`, `\07` and `\123` are characters in octal, other numbers of one or two digits are groups.
fn octal_or_group(first: char, chars: &mut Peekable<Chars<'_>>) -> Result<Number, String> {
    let mut digits = String::from(first);
    let mut ahead = chars.clone();
    while digits.len() < 3
        && let Some(digit) = ahead.next().filter(char::is_ascii_digit)
    {
        digits.push(digit);
    }
    let octal = digits
        .bytes()
        .take_while(|b| (b'0'..b'8').contains(b))
        .count();
    let (length, is_char) = if first == '0' {
        (octal.max(1), true)
    } else if octal == 3 {
        (3, true)
    } else {
        (digits.len().min(2), false)
    };
    for _ in 1..length {
        chars.next();
    }
    digits.truncate(length);
    if is_char {
        return u32::from_str_radix(&digits, 8)
            .ok()
            .and_then(|code| char::from_u32(code & 0xff))
            .map(Number::Char)
            .ok_or_else(|| format!("\\{digits} is not a character"));
    }
    digits
        .parse()
        .map(Number::Group)
        .map_err(|_| format!("\\{digits} is not a group"))
}

/// The character that a letter after a backslash stands for, in patterns and templates alike.
fn simple_escape(letter: char, chars: &mut Peekable<Chars<'_>>) -> Result<Option<char>, String> {
    let length = match letter {
        'a' => return Ok(Some('\u{7}')),
        'b' => return Ok(Some('\u{8}')),
        'f' => return Ok(Some('\u{c}')),
        'n' => return Ok(Some('\n')),
        'r' => return Ok(Some('\r')),
        't' => return Ok(Some('\t')),
        'v' => return Ok(Some('\u{b}')),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return Ok(None),
    };
    let digits: String = chars.by_ref().take(length).collect();
    u32::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == length)
        .and_then(char::from_u32)
        .map(Some)
        .ok_or_else(|| format!("\\{letter}{digits} is not a character"))
}

/// Whose classes `\s` and `\w` are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Classes {
    /// Those of the `regex` module.
    Regex,
    /// Those of Python's own `re`: white space has four separators more, and words no combining
    /// marks.
    Re,
}

/// The letters that Turkish tells apart by the dot. Unicode's simple case folding, which both
/// engines follow, has only `i` and `I` alike.
const DOTTED_AND_DOTLESS: [char; 4] = ['i', 'I', '\u{130}', '\u{131}'];

impl Classes {
    /// Which others of the four letters match `c` where case is ignored.
    fn alike(self, c: char) -> &'static str {
        match (self, c) {
            (_, 'i' | 'I' | '\u{130}' | '\u{131}') if self == Self::Re => "iI\u{130}\u{131}",
            (_, 'i') => "I\u{130}",
            (_, 'I') => "i\u{131}",
            (_, '\u{130}') => "i",
            (_, '\u{131}') => "I",
            _ => "",
        }
    }
}

/// White space of Python's own `re`.
const OWN_SPACE: &str = r"[\s\x1c-\x1f]";

/// Characters of words of Python's own `re`.
const OWN_WORD: &str = r"[\p{L}\p{N}_]";

/// Letters of any case: what a property of one case stands for where case is ignored.
const CASED: &str = r"\p{Lu}\p{Ll}\p{Lt}";

/// The same of the properties that go beyond letters.
const CASED_TOO: &str = r"\p{Uppercase}\p{Lowercase}\p{Lt}";

/// What a property called `name` stands for where case is ignored, if it is one of a case.
fn cased(name: &str) -> Option<&'static str> {
    let plain = |c: &char| !matches!(c, ' ' | '_' | '-');
    let name: String = name
        .chars()
        .filter(plain)
        .collect::<String>()
        .to_lowercase();
    let name = ["gc=", "generalcategory=", "gc:", "generalcategory:"]
        .iter()
        .find_map(|key| name.strip_prefix(key))
        .unwrap_or(&name);
    match name {
        "lu" | "ll" | "lt" | "uppercaseletter" | "lowercaseletter" | "titlecaseletter" => {
            Some(CASED)
        }
        "upper" | "lower" | "uppercase" | "lowercase" => Some(CASED_TOO),
        _ => None,
    }
}

/// What `[:name:]` stands for, beyond ASCII.
fn posix(name: &str, in_any_case: bool) -> Option<&'static str> {
    Some(match name {
        "upper" | "lower" if in_any_case => CASED_TOO,
        "upper" => r"\p{Uppercase}",
        "lower" => r"\p{Lowercase}",
        "alpha" => r"\p{Alphabetic}",
        "alnum" => r"\p{Alphabetic}0-9",
        "space" => r"\p{White_Space}",
        "word" => r"\w",
        "blank" => r"\p{Zs}\t",
        "cntrl" => r"\p{Cc}",
        _ => return None,
    })
}

struct Translated {
    pattern: String,
    needs_backtracking: bool,
}

/// Rewrites Python syntax into that of the two crates.
struct Translator<'p> {
    chars: Peekable<Chars<'p>>,
    out: String,
    flags: String,
    multiline: bool,
    needs_backtracking: bool,
    classes: Classes,
    /// Whether something stands before that a quantifier may repeat.
    repeatable: bool,
    /// Whether case is ignored, in the whole pattern and in each group that is open.
    ignores_case: Vec<bool>,
}

impl<'p> Translator<'p> {
    fn new(python: &'p str, flags: &str) -> Self {
        Self {
            chars: python.chars().peekable(),
            out: String::new(),
            flags: flags.into(),
            multiline: has_multiline_flag(python),
            needs_backtracking: false,
            classes: Classes::Regex,
            repeatable: false,
            ignores_case: vec![ignores_case(python)],
        }
    }

    fn translate(mut self) -> Result<Translated, String> {
        while let Some(c) = self.chars.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.brace()?,
                '*' | '+' | '?' => self.quantifier(&c.to_string())?,
                '$' => {
                    // Python's also matches before a line feed at the very end.
                    self.out
                        .push_str(if self.multiline { "$" } else { r"(?=\n?\z)" });
                    self.repeatable = true;
                }
                '|' => {
                    self.out.push('|');
                    self.repeatable = false;
                }
                '^' | '.' => {
                    self.out.push(c);
                    self.repeatable = true;
                }
                ')' => {
                    if self.ignores_case.len() > 1 {
                        self.ignores_case.pop();
                    }
                    self.out.push(c);
                    self.repeatable = true;
                }
                _ => self.literal(c),
            }
        }
        let flags = match self.flags.as_str() {
            "" => String::new(),
            flags => format!("(?{flags})"),
        };
        Ok(Translated {
            pattern: flags + &self.out,
            needs_backtracking: self.needs_backtracking,
        })
    }

    fn literal(&mut self, c: char) {
        let alike = self.classes.alike(c);
        if !alike.is_empty() && self.in_any_case() {
            let _ = write!(self.out, "(?-i:[{c}{alike}])");
        } else {
            push_escaped(c, &mut self.out);
        }
        self.repeatable = true;
    }

    fn in_any_case(&self) -> bool {
        self.ignores_case.last() == Some(&true)
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.chars.next() else {
            return Err("it ends in a single backslash".into());
        };
        self.repeatable = true;
        match c {
            '0'..='9' => match octal_or_group(c, &mut self.chars)? {
                Number::Char(c) => self.literal(c),
                Number::Group(group) => {
                    let _ = write!(self.out, "(?:\\{group})");
                    self.needs_backtracking = true;
                }
            },
            'Z' => self.out.push_str(r"\z"),
            'm' => self.out.push_str(r"\b(?=\w)"),
            'M' => self.out.push_str(r"\b(?<=\w)"),
            'b' | 'B' if self.classes == Classes::Re => {
                let (same, other) = if c == 'b' { ('!', '=') } else { ('=', '!') };
                let word = OWN_WORD;
                let _ = write!(
                    self.out,
                    "(?:(?<={word})(?{same}{word})|(?<!{word})(?{other}{word}))"
                );
                self.needs_backtracking = true;
            }
            's' | 'S' | 'w' | 'W' if self.classes == Classes::Re => self.own_class(c),
            'A' | 'b' | 'B' | 'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'K' | 'G' => {
                self.out.extend(['\\', c]);
            }
            'p' | 'P' => self.property(c)?,
            _ => match simple_escape(c, &mut self.chars)? {
                Some(c) => self.literal(c),
                None if c.is_ascii_alphabetic() => {
                    return Err(format!("\\{c} is not supported"));
                }
                None => self.literal(c),
            },
        }
        Ok(())
    }

    /// `\s`, `\w` and their opposites as `re` has them.
    fn own_class(&mut self, c: char) {
        self.out.push_str(match c {
            's' => OWN_SPACE,
            'S' => r"[^\s\x1c-\x1f]",
            'w' => OWN_WORD,
            _ => r"[^\p{L}\p{N}_]",
        });
    }

    /// `\p{..}`, copied as it is, but for upper and lower case where case is ignored.
    fn property(&mut self, letter: char) -> Result<(), String> {
        if self.chars.next_if_eq(&'{').is_none() {
            return Err(format!("\\{letter} must be followed by {{property}}"));
        }
        let name: String = self.chars.by_ref().take_while(|c| *c != '}').collect();
        let (not, bare) = match name.strip_prefix('^') {
            Some(rest) => (letter == 'p', rest),
            None => (letter == 'P', name.as_str()),
        };
        match cased(bare).filter(|_| self.in_any_case()) {
            Some(all) => self.either(all, not),
            None => {
                let _ = write!(self.out, "\\{letter}{{{name}}}");
            }
        }
        Ok(())
    }

    /// A set, or what is not in it; it may stand within a class.
    fn either(&mut self, set: &str, not: bool) {
        let not = if not { "^" } else { "" };
        let _ = write!(self.out, "[{not}{set}]");
    }

    fn class(&mut self) -> Result<(), String> {
        self.repeatable = true;
        let begins = self.out.len();
        self.out.push('[');
        let negated = self.chars.next_if_eq(&'^').is_some();
        if negated {
            self.out.push('^');
        }
        let inside = self.out.len();
        let mut first = true;
        loop {
            let Some(c) = self.chars.next() else {
                return Err("a [ has no closing ]".into());
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            let Some(start) = self.class_item(c)? else {
                continue;
            };
            push_escaped(start, &mut self.out);
            let mut ahead = self.chars.clone();
            if ahead.next() == Some('-') && ahead.peek().is_some_and(|&c| c != ']') {
                self.chars.next();
                let end = self.chars.next().unwrap_or(']');
                let before = self.out.len();
                match self.class_item(end)? {
                    Some(end) if end < start => {
                        return Err(format!("the range {start}-{end} runs backwards"));
                    }
                    Some(end) => {
                        self.out.push('-');
                        push_escaped(end, &mut self.out);
                    }
                    // A class such as \w cannot end a range: the hyphen is one of the set.
                    None => self.out.insert_str(before, r"\-"),
                }
            }
        }
        self.out.push(']');
        if self.in_any_case() {
            let set = self.out.get(inside..self.out.len() - 1).unwrap_or_default();
            if let Some(written) = self.in_any_case_of_i(set, negated) {
                self.out.truncate(begins);
                self.out.push_str(&written);
            }
        }
        Ok(())
    }

    /// A class where case is ignored, if it has one of the letters with and without a dot, which the
    /// engines have by another rule; `set` is what stands in it.
    fn in_any_case_of_i(&self, set: &str, negated: bool) -> Option<String> {
        // What of the four the set has by itself, before any case is ignored.
        let itself = regex::Regex::new(&format!("^[{set}]$")).ok()?;
        let own = DOTTED_AND_DOTLESS.map(|c| itself.is_match(c.encode_utf8(&mut [0; 4])));
        let has = |wanted: char| {
            let mut of_set = DOTTED_AND_DOTLESS.into_iter().zip(own);
            of_set.any(|(c, own)| own && (c == wanted || self.classes.alike(c).contains(wanted)))
        };
        if !own.contains(&true) {
            return None;
        }
        let (is, is_not): (String, String) = DOTTED_AND_DOTLESS.into_iter().partition(|c| has(*c));
        let not = if negated { "^" } else { "" };
        if is.contains('i') == is.contains('I') {
            return Some(format!("[{not}{set}{is}]"));
        }
        // The engines would add the one of these two that is not meant.
        let all = String::from_iter(DOTTED_AND_DOTLESS);
        Some(if negated {
            format!("(?:[^{set}{all}]|(?-i:[{is_not}]))")
        } else {
            format!("(?:[[{set}]--[{all}]]|(?-i:[{is}]))")
        })
    }

    /// One member of a class: a character, or `None` for a class that is already written out.
    fn class_item(&mut self, c: char) -> Result<Option<char>, String> {
        if c == '[' && self.chars.peek() == Some(&':') {
            let rest: String = self.chars.clone().collect();
            if let Some(end) = rest.find(":]") {
                let name = rest.get(1..end).unwrap_or_default();
                let (not, bare) = match name.strip_prefix('^') {
                    Some(rest) => (true, rest),
                    None => (false, name),
                };
                match posix(bare, self.in_any_case()) {
                    Some(set) => self.either(set, not),
                    None => {
                        let _ = write!(self.out, "[:{name}:]");
                    }
                }
                for _ in rest.get(..end + 2).unwrap_or_default().chars() {
                    self.chars.next();
                }
                return Ok(None);
            }
        }
        if c != '\\' {
            return Ok(Some(c));
        }
        let Some(c) = self.chars.next() else {
            return Err("a [ has no closing ]".into());
        };
        match c {
            's' | 'S' | 'w' | 'W' if self.classes == Classes::Re => {
                self.own_class(c);
                Ok(None)
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.out.extend(['\\', c]);
                Ok(None)
            }
            'p' | 'P' => {
                self.property(c)?;
                Ok(None)
            }
            '0'..='7' => match octal_or_group(c, &mut self.chars)? {
                Number::Char(c) => Ok(Some(c)),
                Number::Group(group) => Ok(u32::try_from(group).ok().and_then(char::from_u32)),
            },
            _ => match simple_escape(c, &mut self.chars)? {
                Some(c) => Ok(Some(c)),
                None if c.is_ascii_alphabetic() => Err(format!("\\{c} is not supported")),
                None => Ok(Some(c)),
            },
        }
    }

    fn group(&mut self) -> Result<(), String> {
        self.repeatable = false;
        let ignores_case = self.in_any_case();
        if self.chars.next_if_eq(&'?').is_none() {
            self.out.push('(');
            self.ignores_case.push(ignores_case);
            return Ok(());
        }
        let rest: String = self.chars.clone().collect();
        if rest.starts_with('#') {
            self.chars.by_ref().find(|&c| c == ')');
            return Ok(());
        }
        let flags: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let after = rest.chars().nth(flags.len());
        if flags.is_empty() || flags.starts_with('P') || !matches!(after, Some(')' | ':')) {
            self.out.push_str("(?");
            // Kinds of groups have the same signs everywhere: (?: (?= (?! (?<= (?<! (?> (?P<n>.
            let kind = rest.find(|c: char| !"P<=!>:".contains(c)).unwrap_or(0);
            let head = rest.get(..kind).unwrap_or_default();
            self.out.push_str(head);
            self.needs_backtracking |= !matches!(head, ":" | "P<" | "<");
            for _ in head.chars() {
                self.chars.next();
            }
            if head == "P=" {
                // The name of a group that is to be matched again.
                for c in self.chars.by_ref() {
                    self.out.push(c);
                    if c == ')' {
                        break;
                    }
                }
                self.repeatable = true;
                return Ok(());
            }
            self.ignores_case.push(ignores_case);
            if head.ends_with('<') {
                for c in self.chars.by_ref() {
                    self.out.push(c);
                    if c == '>' {
                        break;
                    }
                }
            }
            return Ok(());
        }
        if let Some(flag) = flags.chars().find(|c| !"imsxu-".contains(*c)) {
            return Err(format!("the flag {flag} is not supported"));
        }
        let flags: String = flags.chars().filter(|&c| c != 'u').collect();
        for c in self.chars.by_ref() {
            if c == ')' {
                // Flags alone hold for the whole pattern, wherever they stand.
                self.flags.push_str(&flags);
                return Ok(());
            }
            if c == ':' {
                break;
            }
        }
        let (on, off) = flags.split_once('-').unwrap_or((&flags, ""));
        let ignores_case = (ignores_case || on.contains('i')) && !off.contains('i');
        self.ignores_case.push(ignores_case);
        let _ = write!(self.out, "(?{flags}:");
        Ok(())
    }

    fn brace(&mut self) -> Result<(), String> {
        let inside: String = self.chars.clone().take_while(|&c| c != '}').collect();
        let closed = self.chars.clone().any(|c| c == '}');
        let number = |text: &str| text.is_empty() || text.bytes().all(|b| b.is_ascii_digit());
        let (low, high) = inside.split_once(',').unwrap_or((&inside, &inside));
        let is_count = closed && !inside.is_empty() && number(low) && number(high);
        if !is_count {
            if closed && self.repeatable && is_fuzzy(&inside) {
                return Err(format!("fuzzy matching ({{{inside}}}) is not supported"));
            }
            self.literal('{');
            return Ok(());
        }
        for _ in 0..=inside.chars().count() {
            self.chars.next();
        }
        let low = if low.is_empty() { "0" } else { low };
        let count = if inside.contains(',') {
            format!("{{{low},{high}}}")
        } else {
            format!("{{{low}}}")
        };
        self.quantifier(&count)
    }

    fn quantifier(&mut self, quantifier: &str) -> Result<(), String> {
        if !self.repeatable {
            return Err(format!("there is nothing for {quantifier} to repeat"));
        }
        self.repeatable = false;
        self.out.push_str(quantifier);
        if self.chars.next_if_eq(&'?').is_some() {
            self.out.push('?');
        } else if self.chars.next_if_eq(&'+').is_some() {
            self.out.push('+');
            self.needs_backtracking = true;
        }
        Ok(())
    }
}

/// Whether a `(?..)` with the flag `m` stands anywhere in the pattern.
fn has_multiline_flag(python: &str) -> bool {
    python.match_indices("(?").any(|(at, _)| {
        let rest = python.get(at + 2..).unwrap_or_default();
        let flags = rest.split([')', ':']).next().unwrap_or_default();
        flags.contains('m') && flags.bytes().all(|b| b.is_ascii_lowercase())
    })
}

/// Whether the flag `i` stands alone in parentheses anywhere: it holds for the whole pattern.
fn ignores_case(python: &str) -> bool {
    python.match_indices("(?").any(|(at, _)| {
        let rest = python.get(at + 2..).unwrap_or_default();
        let flags = rest.split([')', ':', '-']).next().unwrap_or_default();
        flags.contains('i')
            && flags.bytes().all(|b| b.is_ascii_lowercase())
            && rest
                .get(flags.len()..)
                .is_some_and(|rest| rest.starts_with(')'))
    })
}

/// Whether `{inside}` limits errors, which only Python's `regex` module knows.
fn is_fuzzy(inside: &str) -> bool {
    inside
        .bytes()
        .all(|b| b.is_ascii_digit() || b"isde<=,+".contains(&b))
}

/// `c` as a literal that no engine takes for syntax, in or out of a class.
fn push_escaped(c: char, out: &mut String) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        let _ = write!(out, "\\x{:02x}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, repl: &str, text: &str, expected: &str) {
        let compiled = Pattern::from_recipe(pattern).unwrap();
        let template = Template::new(repl, &compiled).unwrap();
        assert_eq!(
            compiled.replace_all(text, &template).unwrap(),
            expected,
            "{pattern} {repl}"
        );
    }

    #[test]
    fn python_syntax_is_understood() {
        check("r'a.c'", "<\\g<0>>", "a\nc abc", "<a\nc> <abc>");
        check("[[a&&b]", "-", "a[&b|", "----|");
        check(r"\<a\/\Z", "-", "<a/<a/", "<a/-");
        check("x{,2}y{z}", "-", "xxy{z}", "-");
        check(r"(\w)\1", r"[\1]", "aab", "[a]b");
        check("(?P<n>a)|b", r"[\g<n>]", "ab", "[a][]");
        check("a(?i)b", "-", "AB", "-");
        check("[]a-]", "-", "]-ab", "---b");
        check(r"[\w-.]", "-", "a-.!", "---!");
        check("a++b", "-", "aaab", "-");
        check("(?<!x)a(?#why)", "-", "xa a", "xa -");
        check("(?m)^a$", "-", "a\na", "-\n-");
    }

    /// What regex 2026.11.19 and CPython 3.11's re match in the text of these letters.
    #[test]
    fn dotted_and_dotless_letters_match_as_in_python() {
        let text = "iI\u{130}\u{131}k\u{212a}s\u{17f}\u{3c3}\u{3c2}\u{3a3}\u{3b8}\u{3d1}\u{3f4}";
        let found = |pattern: &Pattern| {
            let mut found = String::new();
            pattern
                .each_match(text, false, |m| found.push_str(&text[m.start..m.end]))
                .unwrap();
            found
        };
        for (pattern, regex, re) in [
            ("(?i)i", "iI\u{130}", "iI\u{130}\u{131}"),
            ("(?i)I", "iI\u{131}", "iI\u{130}\u{131}"),
            ("(?i)\u{130}", "i\u{130}", "iI\u{130}\u{131}"),
            ("(?i)\u{131}", "I\u{131}", "iI\u{130}\u{131}"),
            ("(?i)[h-j]", "iI\u{130}", "iI\u{130}\u{131}"),
            ("(?i)K", "k\u{212a}", "k\u{212a}"),
            ("(?i)S", "s\u{17f}", "s\u{17f}"),
            (
                "(?i)\u{3c2}",
                "\u{3c3}\u{3c2}\u{3a3}",
                "\u{3c3}\u{3c2}\u{3a3}",
            ),
            (
                "(?i)\u{398}",
                "\u{3b8}\u{3d1}\u{3f4}",
                "\u{3b8}\u{3d1}\u{3f4}",
            ),
            ("i", "i", "i"),
            ("[i]", "i", "i"),
            ("(?i:x|i)", "iI\u{130}", "iI\u{130}\u{131}"),
            ("(?i:x)|i", "i", "i"),
            ("(?i:(x)|i)|I", "iI\u{130}", "iI\u{130}\u{131}"),
        ] {
            assert_eq!(found(&Pattern::new(pattern).unwrap()), regex, "{pattern}");
            assert_eq!(found(&Pattern::of_re(pattern).unwrap()), re, "{pattern}");
        }
        let not = Pattern::new("(?i)[^a-z]").unwrap();
        assert_eq!(
            found(&not),
            text.replace(['i', 'I', '\u{130}', 'k', 's', '\u{212a}', '\u{17f}'], "")
        );
        for (pattern, found_by_regex) in [
            ("(?i)[\u{131}]", "I\u{131}"),
            ("(?i)[\u{130}]", "i\u{130}"),
            ("(?i)[\u{131}\u{130}]", "iI\u{130}\u{131}"),
            (r"(?i)[\u0131k]", "I\u{131}k\u{212a}"),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(found(&pattern), found_by_regex, "{pattern:?}");
        }
        for (pattern, missing) in [
            ("(?i)[^\u{131}]", &['I', '\u{131}'][..]),
            ("(?i)[^\u{130}]", &['i', '\u{130}']),
            ("(?i)[^i]", &['i', 'I', '\u{130}']),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(found(&pattern), text.replace(missing, ""), "{pattern:?}");
        }
        check("(?i)[a-z]+", "_", "\u{130}stanbul", "_");
        check(
            "(?i)x(?=[\u{131}])",
            "_",
            "xI xi X\u{131}",
            "_I xi _\u{131}",
        );
        check("(?i)title", "_", "T\u{130}TLE t\u{131}tle", "_ t\u{131}tle");
    }

    /// What regex 2026.11.19 says.
    #[test]
    fn properties_of_a_case_are_of_any_where_case_is_ignored() {
        let text = "aA\u{1c5}\u{149}\u{2170}\u{24b6}5\u{661}";
        let letters = "aA\u{1c5}\u{149}";
        let cased = "aA\u{1c5}\u{149}\u{2170}\u{24b6}";
        for (pattern, taken) in [
            (r"(?i)\p{Lu}", letters),
            (r"(?i)[\p{Ll}5]", "aA\u{1c5}\u{149}5"),
            (r"(?i)\p{Uppercase_Letter}", letters),
            (r"(?i)\p{gc=Lt}", letters),
            (r"(?i)\P{Lu}", "\u{2170}\u{24b6}5\u{661}"),
            (r"(?i)[^\p{Lu}]", "\u{2170}\u{24b6}5\u{661}"),
            (r"(?i)\p{Uppercase}", cased),
            (r"(?i)[[:lower:]]", cased),
            (r"\p{Lu}", "A"),
            (r"[[:upper:]]", "A\u{24b6}"),
            (r"[[:alnum:]]", "aA\u{1c5}\u{149}\u{2170}\u{24b6}5"),
            (r"[[:^alpha:]]", "5\u{661}"),
            (r"[[:digit:]]", "5"),
        ] {
            let mut found = String::new();
            Pattern::new(pattern)
                .unwrap()
                .each_match(text, false, |m| found.push_str(&text[m.start..m.end]))
                .unwrap();
            assert_eq!(found, taken, "{pattern}");
        }
    }

    #[test]
    fn empty_matches_follow_python() {
        check("x*", "-", "abxd", "-a-b--d-");
        check("$", "-", "a\n", "a-\n-");
    }

    #[test]
    fn classes_of_re_are_those_of_str() {
        let starts = |pattern: &str, text: &str| {
            let mut found = Vec::new();
            let pattern = Pattern::of_re(pattern).unwrap();
            pattern
                .each_match(text, false, |m| found.push(m.start))
                .unwrap();
            found
        };
        assert_eq!(starts(r"\s", "a\u{1c} \u{85}"), [1, 2, 3]);
        assert_eq!(starts(r"[^\S\n]", "a\n \u{1f}"), [2, 3]);
        assert_eq!(starts(r"\b", "e\u{301}x"), [0, 1, 3, 4]);
        assert_eq!(starts(r"\w\B", "ab c"), [0]);
        assert_eq!(starts("a.", "a\nab"), [2]);
    }

    #[test]
    fn templates_are_python_templates() {
        check("a", r"\n\x41\u00e9\101\.\\\é", "a", "\nAéA\\.\\\\é");
    }

    #[test]
    fn problems_are_found_early() {
        for bad in [
            "(",
            "[a",
            "*",
            r"\q",
            "x{1,2}{3}",
            "(?:a){e<=1}",
            "[b-a]",
            "(?V1)a",
        ] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        let pattern = Pattern::new("(a)").unwrap();
        for bad in [r"\2", r"\g<x>", r"\q", "\\", r"\g<1"] {
            assert!(Template::new(bad, &pattern).is_err(), "{bad}");
        }
    }
}
