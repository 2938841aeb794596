//! Addresses in running text: links, e-mail and IP addresses, as Data-Juicer's cleaners see them.
//!
//! Each finder has a pattern that defines it; the links' and e-mails' are scanned for by hand, and
//! tests hold the two together.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

/// Replaces whatever `next` finds at or after a position, until it finds nothing.
pub fn replace_found<'t>(
    text: &'t str,
    replacement: &str,
    mut next: impl FnMut(&str, usize) -> Option<Range<usize>>,
) -> Cow<'t, str> {
    let mut out = String::new();
    let mut done = 0;
    while let Some(found) = next(text, done) {
        if found.is_empty() {
            break;
        }
        out.push_str(text.get(done..found.start).unwrap_or_default());
        out.push_str(replacement);
        done = found.end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// What [`find_email`] finds, as a pattern.
pub const EMAIL: &str = r"[0-9A-Za-z+\-._]+@[0-9a-z+\-._]+\.[a-z]+";

/// The first e-mail address at or after `from`: some of `A-Za-z0-9.-+_`, an `@`, and a domain in
/// lower case that ends in a dot and letters.
#[must_use]
pub fn find_email(text: &str, from: usize) -> Option<Range<usize>> {
    let is_domain = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'+' | b'_');
    let bytes = text.as_bytes();
    let mut search = from;
    while let Some(at) = memchr::memchr(b'@', bytes.get(search..)?).map(|at| at + search) {
        search = at + 1;
        let local = bytes.get(from..at)?.iter().rev();
        let local = local
            .take_while(|b| is_domain(b) || b.is_ascii_uppercase())
            .count();
        if local == 0 {
            continue;
        }
        let after = bytes.get(at + 1..)?;
        let domain = after.get(..after.iter().take_while(|b| is_domain(b)).count())?;
        // The last dot, but not the first character, that letters follow.
        let dot = (1..domain.len()).rev().find(|&dot| {
            domain.get(dot) == Some(&b'.')
                && domain.get(dot + 1).is_some_and(u8::is_ascii_lowercase)
        });
        if let Some(dot) = dot {
            let ending = domain.get(dot + 1..)?.iter();
            let ending = ending.take_while(|b| b.is_ascii_lowercase()).count();
            return Some(at - local..at + 1 + dot + 1 + ending);
        }
    }
    None
}

/// IPv4 addresses as four numbers up to 255 without leading zeros, wherever they stand (also
/// within longer rows of digits), and IPv6 addresses of eight groups.
pub const IP: &str = concat!(
    r"(?:(?:1[0-9]{2}|2[0-4][0-9]|25[0-5]|[1-9][0-9]|[0-9])\.){3}",
    r"(?:1[0-9]{2}|2[0-4][0-9]|25[0-5]|[1-9][0-9]|[0-9])",
    r"|([\da-fA-F]{1,4}:){7}[\da-fA-F]{1,4}",
);

/// Whether [`IP`] may match: three dots, or seven colons.
#[must_use]
pub fn may_have_ip(text: &str) -> bool {
    memchr::memchr_iter(b'.', text.as_bytes()).nth(2).is_some()
        || memchr::memchr_iter(b':', text.as_bytes()).nth(6).is_some()
}

/// What [`find_link`] finds, as a pattern for [`super::python_regex`], with Data-Juicer's groups.
///
/// Where it ignores case, Python's `[a-z]` also takes U+0130, which Rust's does not.
pub const LINK: &str = concat!(
    "(?i)\\b((?:[a-z\u{130}][\\w-]+:(?:/{1,3}|[a-z\u{130}0-9%])",
    "|www\\d{0,3}[.]",
    "|[a-z\u{130}0-9.-]+[.][a-z\u{130}]{2,4}/)",
    r"(?:[^\s()<>]+|\(([^\s()<>]+|(\([^\s()<>]+\)))*\))+",
    r"(?:\(([^\s()<>]+|(\([^\s()<>]+\)))*\)",
    r#"|[^\s`!()\[\]{};:'".,<>?«»“”‘’]))"#,
);

/// The first link at or after `from`, which must be the start or where a link ended.
///
/// A link starts at a word boundary with a scheme and what follows its colon (one to three slashes,
/// a letter, a digit or `%`), with `www`, up to three digits and a dot, or with a host and a slash;
/// it goes on to the next space, angle bracket or unbalanced parenthesis, less punctuation at its
/// end.
#[must_use]
pub fn find_link(text: &str, from: usize) -> Option<Range<usize>> {
    if !may_have_link(text.get(from..)?) {
        return None;
    }
    let mut before_is_word = text.get(..from)?.chars().next_back().is_some_and(is_word);
    // The runs around the place, so that each is measured once.
    let mut host = Host {
        end: 0,
        slash: false,
    };
    let mut name_end = 0;
    for (offset, c) in text.get(from..)?.char_indices() {
        let start = from + offset;
        let word = is_word(c);
        let boundary = word != before_is_word;
        before_is_word = word;
        if boundary && is_host(c) {
            if start >= host.end {
                host = Host::at(text, start);
            }
            if start >= name_end {
                name_end = start + run_length(text, start, |c| c == '-' || is_word(c));
            }
            if let Some(end) = link_at(text, start, c, name_end, &host) {
                return Some(start..end);
            }
        }
    }
    None
}

/// The length in bytes of the run at `start` whose characters are all `of_run`.
fn run_length(text: &str, start: usize, of_run: impl Fn(char) -> bool) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    rest.find(|c| !of_run(c)).unwrap_or(rest.len())
}

/// A run of characters that hosts are made of.
struct Host {
    end: usize,
    /// Whether a slash and, before it, a dot and two to four letters end the run.
    slash: bool,
}

impl Host {
    fn at(text: &str, start: usize) -> Self {
        let end = start + run_length(text, start, is_host);
        Self {
            end,
            slash: text.as_bytes().get(end) == Some(&b'/'),
        }
    }

    /// Where the slash ends, if the run from `start` on is a host with one.
    fn link_head(&self, text: &str, start: usize) -> Option<usize> {
        if !self.slash {
            return None;
        }
        let run = text.get(start..self.end)?;
        let last = run.chars().rev().take(5);
        let letters = last.take_while(|&c| is_letter(c)).count();
        let dot = run.char_indices().rev().nth(letters)?;
        ((2..=4).contains(&letters) && dot.1 == '.' && dot.0 > 0).then_some(self.end + 1)
    }
}

/// Where the link that starts at `start` with `first` ends, if there is one; `name_end` is where the
/// word characters and hyphens around `start` do.
fn link_at(text: &str, start: usize, first: char, name_end: usize, host: &Host) -> Option<usize> {
    if is_letter(first)
        && name_end > start + first.len_utf8()
        && let Some(after) = text.get(name_end..).and_then(|rest| rest.strip_prefix(':'))
    {
        let colon = name_end + 1;
        let slashes = after.bytes().take(3).take_while(|&b| b == b'/').count();
        let tail = (1..=slashes)
            .rev()
            .find_map(|slashes| link_tail(text, colon + slashes));
        let next = after
            .chars()
            .next()
            .filter(|&c| is_letter(c) || c.is_ascii_digit() || c == '%');
        let tail = tail.or_else(|| link_tail(text, colon + next?.len_utf8()));
        if tail.is_some() {
            return tail;
        }
    }
    if let Some(head) = www_head(text, start)
        && let Some(tail) = link_tail(text, head)
    {
        return Some(tail);
    }
    link_tail(text, host.link_head(text, start)?)
}

/// Where `www`, up to three digits and a dot end.
fn www_head(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    if !rest.get(..3)?.eq_ignore_ascii_case("www") {
        return None;
    }
    let mut chars = rest.char_indices().skip(3).peekable();
    for _ in 0..3 {
        chars.next_if(|&(_, c)| is_digit(c));
    }
    chars
        .next()
        .filter(|&(_, c)| c == '.')
        .map(|(at, _)| start + at + 1)
}

/// Where the rest of a link ends: two or more characters or parenthesised groups, the last of which
/// is no punctuation.
fn link_tail(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    let mut end = None;
    let mut pieces = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let (length, may_end) = match c {
            '(' => match parenthesised(text.get(at..)?) {
                Some(length) => (length, true),
                None => break,
            },
            ')' | '<' | '>' => break,
            _ if c.is_whitespace() => break,
            _ => (c.len_utf8(), !is_closing_punctuation(c)),
        };
        at += length;
        pieces += 1;
        if may_end && pieces >= 2 {
            end = Some(at);
        }
    }
    end
}

/// The length of a `(..)` at the start, which may hold further ones that hold none.
fn parenthesised(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '(' if depth == 2 => return None,
            '(' => depth += 1,
            // An inner pair must hold something.
            ')' if depth == 2 && previous == '(' => return None,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            '<' | '>' => return None,
            _ if c.is_whitespace() => return None,
            _ => {}
        }
        previous = c;
    }
    None
}

fn is_closing_punctuation(c: char) -> bool {
    matches!(
        c,
        '`' | '!'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | ';'
            | ':'
            | '\''
            | '"'
            | '.'
            | ','
            | '<'
            | '>'
            | '?'
            | '«'
            | '»'
            | '“'
            | '”'
            | '‘'
            | '’'
    )
}

/// `[a-z]` with case ignored.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '\u{130}' | '\u{17f}' | '\u{212a}')
}

fn is_host(c: char) -> bool {
    is_letter(c) || c.is_ascii_digit() || c == '.' || c == '-'
}

/// `\d`: decimal digits of every script.
fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric() && is_decimal(c))
}

fn is_decimal(c: char) -> bool {
    static DECIMAL: LazyLock<Option<regex::Regex>> =
        LazyLock::new(|| regex::Regex::new(r"\d").ok());
    let mut buffer = [0; 4];
    DECIMAL
        .as_ref()
        .is_some_and(|digit| digit.is_match(c.encode_utf8(&mut buffer)))
}

/// `\w` of Python's `regex`: letters, marks, decimal digits, connectors and joiners.
fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    regex_syntax::try_is_word_character(c).unwrap_or(false)
}

/// Whether one of the three beginnings of a link may be there: a colon with a slash or the like
/// after it, a slash with letters before it, or `www`.
fn may_have_link(text: &str) -> bool {
    let bytes = text.as_bytes();
    let byte = |at: Option<usize>| at.and_then(|at| bytes.get(at)).copied();
    memchr::memchr2_iter(b':', b'/', bytes).any(|at| {
        if bytes.get(at) == Some(&b':') {
            let after = byte(at.checked_add(1)).unwrap_or(b' ');
            after == b'/' || after == b'%' || after.is_ascii_alphanumeric() || !after.is_ascii()
        } else {
            let before = byte(at.checked_sub(1)).unwrap_or(b' ');
            before.is_ascii_alphabetic() || !before.is_ascii()
        }
    }) || (memchr::memchr(b'.', bytes).is_some()
        && bytes
            .windows(3)
            .any(|three| three.eq_ignore_ascii_case(b"www")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::python_regex::Substitution;

    fn by_pattern(pattern: &'static str, text: &str) -> String {
        static COMPILED: LazyLock<[(&str, Substitution); 3]> = LazyLock::new(|| {
            [EMAIL, IP, LINK].map(|p| (p, Substitution::from_recipe(p, "#").unwrap()))
        });
        let (_, substitution) = COMPILED.iter().find(|(p, _)| *p == pattern).unwrap();
        substitution.apply(text).unwrap().into_owned()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn emails_are_found_as_by_the_pattern(text in "[ab@.A+@.é1_]{0,24}") {
            let found = replace_found(&text, "#", find_email);
            prop_assert_eq!(&*found, by_pattern(EMAIL, &text));
        }

        #[test]
        fn links_are_found_as_by_the_pattern(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("http:"), Just("://"), Just("/"), Just("//"), Just("www."), Just("WWW2."),
                    Just("ab"), Just("a.com/"), Just("."), Just(":"), Just("("), Just(")"), Just(" "),
                    Just("%"), Just("é"), Just("中"), Just("-"), Just("K"), Just("İ"), Just("ſs"),
                    Just("1"), Just("٣"), Just("_"), Just(","), Just("<"), Just("e\u{301}"), Just("\u{1c}"),
                ],
                0..14,
            )
        ) {
            let text = parts.concat();
            let found = replace_found(&text, "#", find_link);
            prop_assert_eq!(&*found, by_pattern(LINK, &text));
        }

        #[test]
        fn addresses_need_dots_or_colons(text in "[0-9.:a]{0,40}") {
            let found = by_pattern(IP, &text);
            prop_assert!(may_have_ip(&text) || found == text);
        }
    }

    #[test]
    fn parentheses_balance_within_links() {
        let link = |text| find_link(text, 0).map(|found| &text[found]);
        assert_eq!(
            link("(see http://a.b/c(d(e))f)."),
            Some("http://a.b/c(d(e))f")
        );
        assert_eq!(link("x http://a.b/(c "), Some("http://a.b/"));
        assert_eq!(link("none: here / there"), None);
    }
}
