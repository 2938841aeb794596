//! Conditions over the fields of a row, written in a small part of Python: `and`, `or`, `not`,
//! chained comparisons, names, attributes, constants, signs, and lists, tuples and sets in brackets.
//! Nothing else is accepted, so that a condition can neither run code nor take long.

use std::cmp::Ordering;
use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::python_value::{PyValue, TypeMismatch};

/// How deep brackets and signs may nest.
const DEPTH: usize = 100;

/// Words that are no names in Python.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// A condition that was read.
#[derive(Debug, Clone)]
pub struct Condition(Node);

/// Why a condition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Where, in characters from 1.
    pub column: usize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at column {}", self.message, self.column)
    }
}

#[derive(Debug, Clone)]
enum Node {
    Constant(PyValue),
    Name(String),
    Attribute(Box<Node>, String),
    Not(Box<Node>),
    Minus(Box<Node>),
    Plus(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Compare(Box<Node>, Vec<(Test, Node)>),
    List(Vec<Node>),
    Tuple(Vec<Node>),
    Set(Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Is,
    IsNot,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// If it is not Python, or not of the part that is accepted.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            next: 0,
            end: text.chars().count() + 1,
            depth: 0,
        };
        let node = parser.whole()?;
        Ok(Self(node))
    }

    /// The names that it asks for, each once.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names
    }

    /// The value for one row, whose fields `field` looks up; what is missing is `None`.
    ///
    /// # Errors
    /// Where Python raises a `TypeError`, and those of `field`.
    pub fn value<E: From<TypeMismatch>>(
        &self,
        field: &dyn Fn(&str) -> Result<PyValue, E>,
    ) -> Result<PyValue, E> {
        evaluate(&self.0, field)
    }
}

fn collect<'n>(node: &'n Node, names: &mut Vec<&'n str>) {
    match node {
        Node::Constant(_) => {}
        Node::Name(name) => {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Node::Attribute(of, _) | Node::Not(of) | Node::Minus(of) | Node::Plus(of) => {
            collect(of, names);
        }
        Node::Compare(first, others) => {
            collect(first, names);
            for (_, node) in others {
                collect(node, names);
            }
        }
        Node::All(nodes)
        | Node::Any(nodes)
        | Node::List(nodes)
        | Node::Tuple(nodes)
        | Node::Set(nodes) => {
            for node in nodes {
                collect(node, names);
            }
        }
    }
}

fn evaluate<E: From<TypeMismatch>>(
    node: &Node,
    field: &dyn Fn(&str) -> Result<PyValue, E>,
) -> Result<PyValue, E> {
    let items = |nodes: &[Node]| -> Result<Vec<PyValue>, E> {
        nodes.iter().map(|node| evaluate(node, field)).collect()
    };
    Ok(match node {
        Node::Constant(value) => value.clone(),
        Node::Name(name) => field(name)?,
        Node::Attribute(of, name) => match evaluate(of, field)? {
            PyValue::Dict(members) => members
                .into_iter()
                .find(|(key, _)| key == name)
                .map_or(PyValue::None, |(_, value)| value),
            _ => PyValue::None,
        },
        Node::Not(operand) => PyValue::Bool(!evaluate(operand, field)?.is_true()),
        Node::Minus(operand) => evaluate(operand, field)?.negated()?,
        Node::Plus(operand) => evaluate(operand, field)?.with_plus()?,
        Node::All(operands) => {
            for operand in operands {
                if !evaluate(operand, field)?.is_true() {
                    return Ok(PyValue::Bool(false));
                }
            }
            PyValue::Bool(true)
        }
        Node::Any(operands) => {
            for operand in operands {
                if evaluate(operand, field)?.is_true() {
                    return Ok(PyValue::Bool(true));
                }
            }
            PyValue::Bool(false)
        }
        Node::Compare(first, rest) => {
            let mut left = evaluate(first, field)?;
            // All operands are looked at, even behind a link of the chain that fails.
            let rest: Vec<(Test, PyValue)> = rest
                .iter()
                .map(|(test, node)| Ok((*test, evaluate(node, field)?)))
                .collect::<Result<_, E>>()?;
            for (test, right) in rest {
                if matches!(left, PyValue::None) || matches!(right, PyValue::None) {
                    // What is missing is in nothing, and no other comparison with it holds; the
                    // rest of a chain does not count.
                    return Ok(PyValue::Bool(test == Test::NotIn));
                }
                if !test.holds(&left, &right)? {
                    return Ok(PyValue::Bool(false));
                }
                left = right;
            }
            PyValue::Bool(true)
        }
        Node::List(nodes) => PyValue::List(items(nodes)?),
        Node::Tuple(nodes) => PyValue::Tuple(items(nodes)?),
        Node::Set(nodes) => PyValue::set(items(nodes)?)?,
    })
}

impl Test {
    fn holds(self, left: &PyValue, right: &PyValue) -> Result<bool, TypeMismatch> {
        let order = || left.order(right);
        Ok(match self {
            Self::Equal => left.equals(right),
            Self::NotEqual => !left.equals(right),
            Self::Less => order()? == Some(Ordering::Less),
            Self::LessOrEqual => order()?.is_some_and(Ordering::is_le),
            Self::Greater => order()? == Some(Ordering::Greater),
            Self::GreaterOrEqual => order()?.is_some_and(Ordering::is_ge),
            Self::In => right.contains(left)?,
            Self::NotIn => !right.contains(left)?,
            Self::Is | Self::IsNot => {
                return Err(TypeMismatch::new("'is' compares with None only"));
            }
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Int(i128),
    Float(f64),
    Text(String),
    Symbol(&'static str),
    /// Brackets apart, the end of a line: nothing may follow.
    Newline,
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn whole(&mut self) -> Result<Node, SyntaxError> {
        let node = self.items(&[])?;
        while self.peek() == Some(&Token::Newline) {
            self.next += 1;
        }
        match self.peek() {
            None => Ok(node),
            Some(_) => Err(self.unexpected()),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(_, at)| *at)
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError {
            message: message.into(),
            column: self.column(),
        }
    }

    /// What stands where it may not: a construct of Python that is not accepted, or an error.
    fn unexpected(&self) -> SyntaxError {
        let construct = match self.peek() {
            None | Some(Token::Newline) => return self.error("the condition ends too early"),
            Some(Token::Name(word)) => match word.as_str() {
                "if" | "else" => "a conditional expression (if … else)",
                "lambda" => "a lambda",
                "for" | "async" => "a comprehension (for)",
                "await" | "yield" => "an await or yield expression",
                word => return self.error(format!("'{word}' is not expected here")),
            },
            Some(Token::Symbol(symbol)) => match *symbol {
                "(" => "a call (…)",
                "[" => "a subscript […]",
                ":=" | "=" => "an assignment (compare with ==)",
                "+" | "-" | "*" | "/" | "//" | "%" | "**" | "@" | "<<" | ">>" | "&" | "|" | "^"
                | "~" => "arithmetic",
                ":" => "a dict or slice (:)",
                "..." => "an ellipsis (...)",
                symbol => return self.error(format!("'{symbol}' is not expected here")),
            },
            Some(Token::Int(_) | Token::Float(_) | Token::Text(_)) => {
                return self.error("a constant is not expected here");
            }
        };
        self.error(format!("{construct} is not supported in a condition"))
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(other)) if *other == symbol);
        self.next += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(other)) if other == word);
        self.next += usize::from(found);
        found
    }

    /// Expressions between commas up to one of `closers`; one without a comma stands for itself.
    fn items(&mut self, closers: &[&str]) -> Result<Node, SyntaxError> {
        let (mut nodes, comma) = self.list(closers)?;
        match nodes.pop() {
            Some(only) if nodes.is_empty() && !comma => Ok(only),
            Some(last) => {
                nodes.push(last);
                Ok(Node::Tuple(nodes))
            }
            None => Err(self.unexpected()),
        }
    }

    /// Expressions between commas, and whether there was any comma.
    fn list(&mut self, closers: &[&str]) -> Result<(Vec<Node>, bool), SyntaxError> {
        let mut nodes = Vec::new();
        let mut comma = false;
        loop {
            let closed = match self.peek() {
                None | Some(Token::Newline) => closers.is_empty() && !nodes.is_empty(),
                Some(Token::Symbol(symbol)) => closers.contains(symbol),
                Some(_) => false,
            };
            if closed {
                break;
            }
            nodes.push(self.either()?);
            if !self.take(",") {
                break;
            }
            comma = true;
        }
        Ok((nodes, comma))
    }

    fn either(&mut self) -> Result<Node, SyntaxError> {
        let first = self.both()?;
        let mut nodes = vec![first];
        while self.word("or") {
            nodes.push(self.both()?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn both(&mut self) -> Result<Node, SyntaxError> {
        let first = self.negation()?;
        let mut nodes = vec![first];
        while self.word("and") {
            nodes.push(self.negation()?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn negation(&mut self) -> Result<Node, SyntaxError> {
        if self.word("not") {
            let operand = self.deeper(Self::negation)?;
            return Ok(Node::Not(Box::new(operand)));
        }
        let first = self.signed()?;
        let mut rest = Vec::new();
        while let Some(test) = self.test()? {
            rest.push((test, self.signed()?));
        }
        Ok(if rest.is_empty() {
            first
        } else {
            Node::Compare(Box::new(first), rest)
        })
    }

    fn test(&mut self) -> Result<Option<Test>, SyntaxError> {
        const SYMBOLS: [(&str, Test); 6] = [
            ("==", Test::Equal),
            ("!=", Test::NotEqual),
            ("<", Test::Less),
            ("<=", Test::LessOrEqual),
            (">", Test::Greater),
            (">=", Test::GreaterOrEqual),
        ];
        for (symbol, test) in SYMBOLS {
            if self.take(symbol) {
                return Ok(Some(test));
            }
        }
        if self.word("in") {
            return Ok(Some(Test::In));
        }
        if self.word("is") {
            let not = self.word("not");
            return Ok(Some(if not { Test::IsNot } else { Test::Is }));
        }
        if self.word("not") {
            if self.word("in") {
                return Ok(Some(Test::NotIn));
            }
            return Err(self.error("'in' is expected behind 'not'"));
        }
        Ok(None)
    }

    fn signed(&mut self) -> Result<Node, SyntaxError> {
        if self.take("-") {
            return Ok(Node::Minus(Box::new(self.deeper(Self::signed)?)));
        }
        if self.take("+") {
            return Ok(Node::Plus(Box::new(self.deeper(Self::signed)?)));
        }
        let mut node = self.atom()?;
        let mut depth = self.depth;
        while self.take(".") {
            match self.peek() {
                Some(Token::Name(name)) if !KEYWORDS.contains(&name.as_str()) => {
                    node = Node::Attribute(Box::new(node), name.clone());
                    self.next += 1;
                }
                _ => return Err(self.error("a name is expected behind '.'")),
            }
            depth += 1;
            if depth > DEPTH {
                return Err(self.error("the condition is nested too deep"));
            }
        }
        Ok(node)
    }

    fn atom(&mut self) -> Result<Node, SyntaxError> {
        let Some(token) = self.peek().cloned() else {
            return Err(self.unexpected());
        };
        let constant = match token {
            Token::Name(name) => match name.as_str() {
                "None" => PyValue::None,
                "True" => PyValue::Bool(true),
                "False" => PyValue::Bool(false),
                word if KEYWORDS.contains(&word) => return Err(self.unexpected()),
                _ => {
                    self.next += 1;
                    return Ok(Node::Name(name));
                }
            },
            Token::Int(whole) => PyValue::Int(whole),
            Token::Float(float) => PyValue::Float(float),
            Token::Text(mut text) => {
                // Texts side by side are one.
                while let Some((Token::Text(more), _)) = self.tokens.get(self.next + 1) {
                    text.push_str(more);
                    self.next += 1;
                }
                PyValue::Text(text)
            }
            Token::Symbol("(") => return self.bracketed(")"),
            Token::Symbol("[") => return self.bracketed("]"),
            Token::Symbol("{") => return self.bracketed("}"),
            Token::Symbol(_) | Token::Newline => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(Node::Constant(constant))
    }

    fn bracketed(&mut self, closer: &'static str) -> Result<Node, SyntaxError> {
        let opened = self.column();
        self.next += 1;
        let (mut nodes, comma) = self.deeper(|parser| parser.list(&[closer]))?;
        if !self.take(closer) {
            return Err(match self.peek() {
                None => self.error(format!("'{closer}' is missing")),
                Some(_) => self.unexpected(),
            });
        }
        match closer {
            ")" => match nodes.pop() {
                Some(only) if nodes.is_empty() && !comma => Ok(only),
                last => {
                    nodes.extend(last);
                    Ok(Node::Tuple(nodes))
                }
            },
            "]" => Ok(Node::List(nodes)),
            _ if nodes.is_empty() => Err(SyntaxError {
                message: "a dict {} is not supported in a condition".into(),
                column: opened,
            }),
            _ => Ok(Node::Set(nodes)),
        }
    }

    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth >= DEPTH {
            return Err(self.error("the condition is nested too deep"));
        }
        self.depth += 1;
        let node = parse(self);
        self.depth -= 1;
        node
    }
}

fn one_or(mut nodes: Vec<Node>, several: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            several(nodes)
        }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 34] = [
    "...", "**=", "//=", "<<=", ">>=", "==", "!=", "<=", ">=", ":=", "**", "//", "<<", ">>", "->",
    "<", ">", "(", ")", "[", "]", "{", "}", ",", ".", ":", "+", "-", "*", "/", "%", "&", "=", "~",
];

struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Lexer<'a> {
    /// Moves over `bytes` bytes, which must end between characters.
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.column += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn run(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        self.skip(length)
    }

    fn char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError {
            message: message.into(),
            column: self.column,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, SyntaxError> {
    let mut lexer = Lexer {
        rest: text,
        column: 1,
    };
    let mut tokens = Vec::new();
    let mut brackets = 0_usize;
    if text
        .lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with([' ', '\t']))
    {
        return Err(lexer.error("the condition is indented"));
    }
    loop {
        lexer.run(|c| matches!(c, ' ' | '\t' | '\u{c}'));
        let at = lexer.column;
        let Some(c) = lexer.rest.chars().next() else {
            return Ok(tokens);
        };
        if c == '#' {
            lexer.run(|c| !matches!(c, '\n' | '\r'));
            continue;
        }
        if matches!(c, '\n' | '\r') {
            lexer.skip(1);
            if brackets == 0 && !tokens.is_empty() {
                tokens.push((Token::Newline, at));
            }
            continue;
        }
        let continued = ["\\\n", "\\\r\n"]
            .into_iter()
            .find(|c| lexer.rest.starts_with(c));
        if let Some(continued) = continued {
            lexer.skip(continued.len());
            continue;
        }
        let second = lexer.rest.chars().nth(1);
        let token = if c.is_ascii_digit() || c == '.' && second.is_some_and(|c| c.is_ascii_digit())
        {
            number(&mut lexer)?
        } else if matches!(c, '\'' | '"') {
            Token::Text(string(&mut lexer, false)?)
        } else if c == '_' || c.is_alphabetic() {
            word(&mut lexer)?
        } else {
            let symbol = SYMBOLS
                .into_iter()
                .chain(["|", "^", "@"])
                .find(|symbol| lexer.rest.starts_with(symbol));
            let Some(symbol) = symbol else {
                return Err(lexer.error(format!("'{}' is not expected here", c.escape_debug())));
            };
            lexer.skip(symbol.len());
            match symbol {
                "(" | "[" | "{" => brackets += 1,
                ")" | "]" | "}" => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            Token::Symbol(symbol)
        };
        tokens.push((token, at));
    }
}

/// A name, or a text with a prefix.
fn word(lexer: &mut Lexer) -> Result<Token, SyntaxError> {
    let start = lexer.column;
    let name = lexer.run(|c| c == '_' || c.is_alphanumeric());
    if lexer.rest.starts_with(['\'', '"']) {
        return match name.to_ascii_lowercase().as_str() {
            "r" => Ok(Token::Text(string(lexer, true)?)),
            "u" => Ok(Token::Text(string(lexer, false)?)),
            "b" | "br" | "rb" | "f" | "fr" | "rf" => Err(SyntaxError {
                message: format!("a text with the prefix {name} is not supported in a condition"),
                column: start,
            }),
            _ => Err(lexer.error("a text is not expected here")),
        };
    }
    Ok(Token::Name(name.nfkc().collect()))
}

fn number(lexer: &mut Lexer) -> Result<Token, SyntaxError> {
    let whole = lexer.rest;
    let start = lexer.column;
    let broken = |message: &str| SyntaxError {
        message: message.to_owned(),
        column: start,
    };
    let radix = match whole.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    if radix != 10 {
        lexer.skip(2);
        let digits = lexer.run(|c| c == '_' || c.is_ascii_alphanumeric());
        let tidy = !digits.ends_with('_') && !digits.contains("__");
        let plain = digits.replace('_', "");
        let value = i128::from_str_radix(&plain, radix).ok().filter(|_| tidy);
        return value
            .map(Token::Int)
            .ok_or_else(|| broken("the number is malformed or too large"));
    }
    let digits = |c: char| c == '_' || c.is_ascii_digit();
    lexer.run(digits);
    let mut float = false;
    if lexer.rest.starts_with('.') {
        float = true;
        lexer.skip(1);
        lexer.run(digits);
    }
    let mut exponent = lexer.rest.chars();
    if matches!(exponent.next(), Some('e' | 'E')) {
        let (sign, digit) = match exponent.next() {
            Some('+' | '-') => (1, exponent.next()),
            other => (0, other),
        };
        if digit.is_some_and(|c| c.is_ascii_digit()) {
            float = true;
            lexer.skip(1 + sign);
            lexer.run(digits);
        }
    }
    let written = whole
        .get(..whole.len() - lexer.rest.len())
        .unwrap_or_default();
    if lexer.rest.starts_with(['j', 'J']) {
        return Err(broken(
            "an imaginary number is not supported in a condition",
        ));
    }
    if lexer
        .rest
        .starts_with(|c: char| c == '_' || c.is_alphanumeric())
    {
        return Err(broken("the number is malformed"));
    }
    if float {
        return super::parse_python_float(written)
            .map(Token::Float)
            .ok_or_else(|| broken("the number is malformed"));
    }
    let plain = written.replace('_', "");
    let zeros = plain.starts_with('0') && plain.bytes().any(|digit| digit != b'0');
    if zeros || written.ends_with('_') || written.contains("__") {
        return Err(broken("the number is malformed"));
    }
    plain
        .parse()
        .map(Token::Int)
        .map_err(|_| broken("the number is too large"))
}

fn string(lexer: &mut Lexer, raw: bool) -> Result<String, SyntaxError> {
    let start = lexer.column;
    let unended = || SyntaxError {
        message: "the text has no closing quote".into(),
        column: start,
    };
    let Some(quote) = lexer.char() else {
        return Err(unended());
    };
    let thrice: String = [quote, quote, quote].into_iter().collect();
    let two = thrice.get(1..).unwrap_or_default();
    let long = lexer.rest.starts_with(two);
    let closer = if long {
        thrice.as_str()
    } else {
        thrice.get(2..).unwrap_or_default()
    };
    if long {
        lexer.skip(2);
    }
    let mut text = String::new();
    loop {
        if lexer.rest.starts_with(closer) {
            lexer.skip(closer.len());
            return Ok(text);
        }
        match lexer.char() {
            None => return Err(unended()),
            Some('\n' | '\r') if !long => return Err(unended()),
            Some('\r') => {
                // Line ends of all kinds are one newline.
                if lexer.rest.starts_with('\n') {
                    lexer.skip(1);
                }
                text.push('\n');
            }
            Some('\\') if raw => {
                text.push('\\');
                text.extend(lexer.char());
            }
            Some('\\') => escape(lexer, &mut text)?,
            Some(c) => text.push(c),
        }
    }
}

fn escape(lexer: &mut Lexer, text: &mut String) -> Result<(), SyntaxError> {
    let Some(c) = lexer.char() else {
        return Err(lexer.error("the text has no closing quote"));
    };
    let digits = match c {
        '\n' => return Ok(()),
        '\r' => {
            if lexer.rest.starts_with('\n') {
                lexer.skip(1);
            }
            return Ok(());
        }
        'x' => 2,
        'u' => 4,
        'U' => 8,
        'N' => return Err(lexer.error("\\N{…} is not supported in a condition")),
        '0'..='7' => {
            let mut value = c.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let next = lexer.rest.chars().next().and_then(|c| c.to_digit(8));
                if let Some(digit) = next {
                    value = value * 8 + digit;
                    lexer.skip(1);
                }
            }
            text.extend(char::from_u32(value));
            return Ok(());
        }
        other => {
            let known = [
                ('\\', '\\'),
                ('\'', '\''),
                ('"', '"'),
                ('a', '\u{7}'),
                ('b', '\u{8}'),
                ('f', '\u{c}'),
                ('n', '\n'),
                ('r', '\r'),
                ('t', '\t'),
                ('v', '\u{b}'),
            ];
            match known.into_iter().find(|(name, _)| *name == other) {
                Some((_, meant)) => text.push(meant),
                // An escape that means nothing stays as it is written.
                None => text.extend(['\\', other]),
            }
            return Ok(());
        }
    };
    let code = lexer.rest.get(..digits).and_then(|hex| {
        let plain = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(hex, 16).ok().filter(|_| plain)
    });
    match code.and_then(char::from_u32) {
        Some(c) => {
            lexer.skip(digits);
            text.push(c);
            Ok(())
        }
        None => Err(lexer.error("the escape names no character")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn value(condition: &str, row: &Value) -> Result<Value, String> {
        let condition = Condition::parse(condition).map_err(|e| e.to_string())?;
        let field = |name: &str| {
            let value = row.get(name).map_or(PyValue::None, PyValue::from);
            Ok::<_, TypeMismatch>(value)
        };
        let value = condition.value(&field).map_err(|e| e.to_string())?;
        value.to_json().ok_or_else(|| "no JSON".into())
    }

    #[test]
    fn conditions_mean_what_they_mean_in_python() {
        let row = json!({"n": 5, "f": 0.5, "t": "abc", "l": [1, "x"], "m": {"a": {"b": 2}}, "z": null, "naïve": true});
        for (condition, expected) in [
            ("n", json!(5)),
            ("-n", json!(-5)),
            ("- -n == +n", json!(true)),
            ("1 < n <= 5", json!(true)),
            ("1 < n < 5", json!(false)),
            ("n == 5.0 and t == 'abc'", json!(true)),
            ("n and t", json!(true)),
            ("not n or f", json!(true)),
            ("not n == 5", json!(false)),
            ("t in ['abc', \"d\"]", json!(true)),
            ("'b' in t", json!(true)),
            ("'x' not in l", json!(false)),
            ("m.a.b == 2", json!(true)),
            ("m.a.c.d == 2", json!(false)),
            ("t.a", json!(null)),
            ("'a' in m", json!(true)),
            ("z == None", json!(false)),
            ("z is None", json!(false)),
            ("z != 3", json!(false)),
            ("z not in [1]", json!(true)),
            ("z in [None]", json!(false)),
            ("z not in [1] == 7", json!(true)),
            ("not z", json!(true)),
            ("n in {1, 5}", json!(true)),
            ("{1, 1.0, True} == {1}", json!(true)),
            ("{1} in {1}", json!(false)),
            ("(1, 2) < (1, 3)", json!(true)),
            ("(1, 2) == [1, 2]", json!(false)),
            ("l == [1, 'x']", json!(true)),
            ("()", json!([])),
            ("(n)", json!(5)),
            ("n,", json!([5])),
            ("n, 'a'", json!([5, "a"])),
            ("n > 1 # a comment\n", json!(true)),
            ("(n >\n 1)", json!(true)),
            ("n \\\n > 1", json!(true)),
            (
                "0x_1F == 31 and 0b11 == 0o3 and 1_000 == 1e3 and .5 == f and 5. == n",
                json!(true),
            ),
            ("r'\\n' == '\\\\n'", json!(true)),
            (
                "'\\x41\\101\\u0041\\U00000041' 'B' == \"AAAA\" u'B'",
                json!(true),
            ),
            ("'''a\n'b''' == 'a\\n\\'b'", json!(true)),
            ("'' == \"\" and '\\q' == r'\\q'", json!(true)),
            ("n<10 and(f<1)", json!(true)),
            ("ｎ == 5", json!(true)),
            ("naïve == True == 1", json!(true)),
            ("True", json!(true)),
        ] {
            assert_eq!(value(condition, &row), Ok(expected), "{condition}");
        }
    }

    #[test]
    fn what_python_cannot_compare_is_an_error() {
        let row = json!({"n": 5, "t": "abc", "l": [1], "z": null});
        for condition in [
            "n < t",
            "-t",
            "-z",
            "t in n",
            "n in t",
            "{l}",
            "l in {1}",
            "n is 5",
            "n > 1 > t < n",
            "[z] < [1]",
        ] {
            assert!(value(condition, &row).is_err(), "{condition}");
        }
    }

    #[test]
    fn other_constructs_are_refused_by_name() {
        for (condition, expected) in [
            (
                "len(t) > 1",
                "a call (…) is not supported in a condition at column 4",
            ),
            (
                "n + 1 > 2",
                "arithmetic is not supported in a condition at column 3",
            ),
            (
                "l[0] == 1",
                "a subscript […] is not supported in a condition at column 2",
            ),
            (
                "1 if n else 2",
                "a conditional expression (if … else) is not supported in a condition at column 3",
            ),
            (
                "[x for x in l]",
                "a comprehension (for) is not supported in a condition at column 4",
            ),
            (
                "lambda: 1",
                "a lambda is not supported in a condition at column 1",
            ),
            (
                "n = 5",
                "an assignment (compare with ==) is not supported in a condition at column 3",
            ),
            (
                "(n := 5)",
                "an assignment (compare with ==) is not supported in a condition at column 4",
            ),
            (
                "{'a': 1}",
                "a dict or slice (:) is not supported in a condition at column 5",
            ),
            (
                "{}",
                "a dict {} is not supported in a condition at column 1",
            ),
            (
                "~n",
                "arithmetic is not supported in a condition at column 1",
            ),
            (
                "f'{n}'",
                "a text with the prefix f is not supported in a condition at column 1",
            ),
            (
                "2j",
                "an imaginary number is not supported in a condition at column 1",
            ),
            ("n >", "the condition ends too early at column 4"),
            ("n > 1\nt", "'t' is not expected here at column 7"),
            ("n > 1 t", "'t' is not expected here at column 7"),
            ("(n", "')' is missing at column 3"),
            (" n", "the condition is indented at column 1"),
            ("'a", "the text has no closing quote at column 1"),
            ("n == not t", "'not' is not expected here at column 6"),
            ("n not 5", "'in' is expected behind 'not' at column 7"),
            ("n.if", "a name is expected behind '.' at column 3"),
            ("01", "the number is malformed at column 1"),
            ("1_", "the number is malformed at column 1"),
            ("1a", "the number is malformed at column 1"),
            ("n $ 2", "'$' is not expected here at column 3"),
            ("", "the condition ends too early at column 1"),
            (",", "',' is not expected here at column 1"),
            (
                "*l,",
                "arithmetic is not supported in a condition at column 1",
            ),
        ] {
            assert_eq!(
                value(condition, &json!({})),
                Err(expected.to_owned()),
                "{condition}"
            );
        }
        for (open, close) in [("(", ")"), ("-", "1"), ("not ", "1"), ("n", ".a")] {
            let many = open.repeat(500) + &close.repeat(500);
            assert!(Condition::parse(&many).is_err(), "{open}");
        }
    }
}
