//! Personal data in running text: paths, addresses, keys, identifiers, as Data-Juicer finds them.
//!
//! Its patterns are written for Python's `re`. The engine here has neither look-around nor Python's
//! idea of a word, so a pattern takes the characters around a match with it and marks where the
//! match proper starts and ends; the search goes on from there, so that they count again. No search
//! is slower than linear.

use std::borrow::Cow;
use std::fmt::Write as _;

use memchr::memmem;
use regex::{Captures, Regex};

use super::python_regex::{Pattern, Template};
use djr_python::tables;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key or certificate between `BEGIN` and `END` lines.
    Pem,
    /// A JSON web token.
    Jwt,
    /// An address that starts with `http://` or `https://`.
    Url,
    /// Four numbers up to 255.
    Ipv4,
    /// An IPv6 address in square brackets, with its port.
    Ipv6,
    /// Six pairs of hexadecimal digits.
    Mac,
    /// An absolute path below a usual directory of Unix.
    UnixPath,
    /// A path that starts with a drive.
    WindowsPath,
    /// A path that starts with two backslashes.
    UncPath,
    /// An e-mail address.
    Email,
    /// What follows `password:`, `token=` and the like.
    Secret,
    /// A session, user, request or trace identifier and its value.
    Id,
    /// The name of a messenger after `channel:`.
    Channel,
    /// `ou_` and 32 hexadecimal digits.
    OpenId,
    /// `ou_`, `u_` or `uid_` and a longer name.
    PlatformId,
    /// A Chinese mobile number.
    ChinesePhone,
    /// A number with `+` and a country code.
    Phone,
    /// A Chinese identity card number.
    IdCard,
}

/// How one kind is found.
struct Definition {
    /// The text has one of these if there is a match.
    needs: &'static [&'static str],
    /// What must stand before the match, if anything: it is taken along.
    lead: Option<&'static str>,
    /// The match, in the syntax of the `regex` crate with these extensions: `{w}` and `{s}` inside
    /// of a class are Python's `\w` and `\s`, and `{!}` stands for `(?:[^{w}]|\z)`. An empty group
    /// `e` or `f` marks its end, if that lies before what the pattern takes along.
    pattern: &'static str,
}

/// No word character before the match, which starts with one.
const WORD_START: Option<&str> = Some(r"(?:\A|[^{w}])");

impl Kind {
    fn definition(self) -> Definition {
        let (needs, lead, pattern): (&[&str], _, _) = match self {
            Self::Pem => (
                &["-----BEGIN "],
                None,
                r"-----BEGIN [A-Z0-9 -]+-----(?s:.)*?-----END [A-Z0-9 -]+-----",
            ),
            Self::Jwt => (
                &["eyJ"],
                WORD_START,
                concat!(
                    r"eyJ[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]*",
                    r"(?:[A-Za-z0-9_](?P<e>){!}|[=-](?P<f>)[{w}])",
                ),
            ),
            Self::Url => (&["http://", "https://"], None, r#"https?://[^{s}"'<>]+"#),
            Self::Ipv4 => (
                &["."],
                Some(r"(?:\A|[^0-9.])"),
                concat!(
                    r"(?:(?:25[0-5]|2[0-4]\d|[01]?\d\d?)\.){3}",
                    r"(?:25[0-5]|2[0-4]\d|[01]?\d\d?)(?P<e>)(?:[^0-9]|\z)",
                ),
            ),
            Self::Ipv6 => (
                &["]"],
                None,
                r"\[[0-9a-fA-F:.]{3,}\](?::\d{1,5}(?P<e>){!}|(?P<f>)[{w}])",
            ),
            Self::Mac => (
                &[":", "-"],
                Some(r"(?:\A|[^0-9A-Fa-f:])"),
                r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?P<e>){!}",
            ),
            Self::UnixPath => (
                &["/"],
                None,
                concat!(
                    r#"(?P<g>\A|[{s}"'(\[=])"#,
                    r"(?P<h>/(?:Users?|home|tmp|etc|var|opt|Applications)",
                    r#"[^{s}"')\]]*)"#,
                ),
            ),
            Self::WindowsPath => (
                &[":\\"],
                None,
                r#"(?P<g>\A|[{s}"'(\[=])(?P<h>[A-Za-z]:\\[^{s}"')\]]*)"#,
            ),
            Self::UncPath => (
                &["\\\\"],
                None,
                r#"(?P<g>\A|[{s}"'(\[=])(?P<h>\\\\[^{s}"')\]]+)"#,
            ),
            Self::Email => (
                &["@"],
                None,
                r"[a-zA-Z0-9][{w}.+-]*@[{w}.-]+\.(?:[a-zA-Z]{2,}|[{w}]{2,})",
            ),
            // Where case is ignored, Python takes a dotless i and a capital one with a dot for an i.
            Self::Secret => (
                &[":", "="],
                WORD_START,
                concat!(
                    "(?P<g>(?i:ap[iıİ][_-]?key|ap[iıİ]key|secret|password|passwd|token|auth",
                    "|author[iıİ]zat[iıİ]on|credent[iıİ]al|l[iıİ]cense[_-]?key)",
                    r#"[{s}]*[:=][{s}]*["']?)(?P<h>[^{s}"',}\]]+)"#,
                ),
            ),
            Self::Id => (
                &[":", "="],
                WORD_START,
                concat!(
                    "(?P<g>(?i:sess[iıİ]on[_-]?[iıİ]d|user[_-]?[iıİ]d|request[_-]?[iıİ]d",
                    "|trace[_-]?[iıİ]d))",
                    r#"[{s}]*[:=][{s}]*["']?[{w}.-]+"#,
                ),
            ),
            Self::Channel => (
                &[":", "=", "："],
                // One of the two ways to begin starts anywhere.
                None,
                concat!(
                    r#"(?:(?:\A|[^{w}])(?P<s>)(?P<g>(?i:channel)[{s}]*[:=][{s}]*["']?)"#,
                    r"|(?P<t>)(?P<i>当前的[{s}]*(?i:channel)[{s}]*[:：][{s}]*))",
                    "(?P<h>(?i:fe[iıİ]shu|d[iıİ]ngtalk|wecom|wechat_work|ema[iıİ]l|ma[iıİ]l)",
                    "|飞书|钉钉|企业微信|邮箱)(?P<e>){!}",
                ),
            ),
            Self::OpenId => (&["_"], WORD_START, r"(?i:ou)_[0-9a-fA-F]{32}(?P<e>){!}"),
            Self::PlatformId => (
                &["_"],
                WORD_START,
                concat!(
                    "(?P<g>ou_|u_|uid_)[0-9a-zA-Z_-]{15,63}",
                    "(?:[0-9a-zA-Z_](?P<e>){!}|-(?P<f>)[{w}])",
                ),
            ),
            Self::ChinesePhone => (&["1"], WORD_START, r"1[3-9]\d{9}(?P<e>){!}"),
            Self::Phone => (&["+"], None, r"\+\d{1,4}[-.{s}]?\d{6,14}(?P<e>){!}"),
            Self::IdCard => (
                &["19", "20"],
                WORD_START,
                concat!(
                    r"[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])",
                    r"(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?P<e>){!}",
                ),
            ),
        };
        Definition {
            needs,
            lead,
            pattern,
        }
    }

    /// How many groups Python's pattern has, which a replacement may name.
    fn groups(self) -> usize {
        match self {
            Self::UnixPath | Self::WindowsPath | Self::UncPath | Self::Secret | Self::Channel => 2,
            Self::Id | Self::PlatformId => 1,
            _ => 0,
        }
    }
}

/// Finds one kind and replaces it.
pub struct Redaction {
    kind: Kind,
    regex: Regex,
    needs: Vec<memmem::Finder<'static>>,
    has_lead: bool,
    template: Template,
}

impl Redaction {
    /// `kind` replaced by the Python template `replacement`.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn new(kind: Kind, replacement: &str) -> Result<Self, String> {
        let Definition {
            needs,
            lead,
            pattern,
        } = kind.definition();
        let start = if lead.is_some() { "(?P<s>)" } else { "" };
        let whole = format!("{}{start}{pattern}", lead.unwrap_or_default());
        let groups = Pattern::new(&"()".repeat(kind.groups()))?;
        Ok(Self {
            kind,
            regex: Regex::new(&in_crate_syntax(&whole)).map_err(|e| e.to_string())?,
            needs: needs.iter().map(memmem::Finder::new).collect(),
            has_lead: lead.is_some() || kind == Kind::Channel,
            template: Template::new(replacement, &groups)?,
        })
    }

    /// `text` with every match replaced.
    #[must_use]
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let possible = |needed: &memmem::Finder| needed.find(text.as_bytes()).is_some();
        if !self.needs.iter().any(possible) {
            return Cow::Borrowed(text);
        }
        let mut out = String::new();
        let mut done = 0;
        let mut at = 0;
        while let Some(found) = self.regex.captures_at(text, at) {
            let groups = self.groups(&found);
            let Some(&Some((start, end))) = groups.first() else {
                break;
            };
            out.push_str(text.get(done..start).unwrap_or_default());
            self.template.expand_groups(text, &groups, &mut out);
            done = end;
            // What stands right before the next match may be the end of this one.
            let back = text.get(..end).and_then(|t| t.chars().next_back());
            at = match back.filter(|_| self.has_lead) {
                Some(last) => end - last.len_utf8(),
                None => end,
            };
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// The spans of the match and of Python's groups.
    fn groups(&self, found: &Captures) -> Vec<Option<(usize, usize)>> {
        let span = |name: &str| found.name(name).map(|m| (m.start(), m.end()));
        let first = |names: &[&str]| names.iter().find_map(|name| span(name));
        let whole = found.get(0).map_or((0, 0), |m| (m.start(), m.end()));
        let start = first(&["s", "t"]).map_or(whole.0, |s| s.0);
        let end = first(&["e", "f"]).map_or(whole.1, |e| e.0);
        let mut groups = vec![Some((start, end)), first(&["g", "i"]), span("h")];
        groups.truncate(self.kind.groups() + 1);
        groups
    }
}

/// `pattern` with its extensions spelt out.
fn in_crate_syntax(pattern: &str) -> String {
    let word = class(&[tables::ALPHA, tables::NUMERIC]) + "_";
    pattern
        .replace("{!}", r"(?:[^{w}]|\z)")
        .replace("{w}", &word)
        .replace("{s}", &class(&[tables::SPACE]))
}

/// The inside of a class of characters.
fn class(tables: &[&[(u32, u32)]]) -> String {
    let mut out = String::new();
    for (first, last) in tables.iter().copied().flatten() {
        let _ = write!(out, "\\x{{{first:x}}}-\\x{{{last:x}}}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, text: &str, expected: &str) {
        let redaction = Redaction::new(kind, "#").unwrap();
        assert_eq!(redaction.apply(text), expected, "{kind:?}");
    }

    #[test]
    fn boundaries_are_pythons() {
        check(
            Kind::ChinesePhone,
            "13812345678 a13812345678 13812345678 中13812345678",
            "# a13812345678 # 中13812345678",
        );
        check(Kind::ChinesePhone, "13812345678\u{301}", "#\u{301}");
        check(
            Kind::Jwt,
            "eyJa.b.c-- eyJa.b.--é eyJa.b.--",
            "#-- #é eyJa.b.--",
        );
        check(Kind::Ipv6, "[::1]:80 [::1] [::1]x", "# [::1] #x");
        check(Kind::Ipv4, "1.2.3.4,1.2.3.256 a1.2.3.4.", "#,1.2.3.256 a#.");
        check(Kind::OpenId, &format!("OU_{}", "a".repeat(32)), "#");
        check(
            Kind::PlatformId,
            &format!("u_{} uid_{}", "a".repeat(16), "-".repeat(16)),
            &format!("# uid_{}", "-".repeat(16)),
        );
        check(Kind::Phone, "+86-1381234567 +12345678 +12345", "# # +12345");
        check(
            Kind::Mac,
            "aa:bb:cc:dd:ee:ff,0aa:bb:cc:dd:ee:ff",
            "#,0aa:bb:cc:dd:ee:ff",
        );
    }

    #[test]
    fn groups_are_pythons() {
        let apply = |kind, repl, text| Redaction::new(kind, repl).unwrap().apply(text).into_owned();
        assert_eq!(
            apply(
                Kind::Channel,
                r"\1<\2>",
                "channel: email 当前的channel：钉钉"
            ),
            "channel: <email> 当前的channel：<钉钉>"
        );
        assert_eq!(apply(Kind::UnixPath, r"\1P", "/tmp x=/home/a"), "P x=P");
        assert_eq!(apply(Kind::Secret, r"\1S", "TOKEN='a',b"), "TOKEN='S',b");
        assert_eq!(
            apply(Kind::Id, r"\1I", "user_id: 3 userİd=4"),
            "user_idI userİdI"
        );
        assert!(Redaction::new(Kind::Url, r"\1").is_err());
    }
}
