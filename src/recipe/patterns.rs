//! Patterns of paths: `*`, `?`, `[ab]`, `**`, `{a,b}` and `{000..041}` in any part.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The most patterns that braces may stand for.
const MOST: usize = 100_000;

/// How deep `**` looks.
const MAX_DEPTH: usize = 32;

/// Whether a path is a pattern.
#[must_use]
pub fn is_pattern(written: &str) -> bool {
    written.contains(['*', '?', '[', '{'])
}

/// Whether a pattern has more in it than braces, which name what they stand for.
#[must_use]
pub fn is_wild(written: &str) -> bool {
    braces(written)
        .iter()
        .any(|one| one.contains(['*', '?', '[']))
}

/// The files below `base` that match a pattern, sorted by their paths.
#[must_use]
pub fn matching(base: &Path, pattern: &str, hidden: bool) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    for pattern in braces(pattern) {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        let start = if pattern.starts_with('/') {
            PathBuf::from("/")
        } else {
            base.to_owned()
        };
        walk(&start, &parts, hidden, 0, &mut found);
    }
    let mut found: Vec<PathBuf> = found.into_iter().collect();
    sort(&mut found);
    found
}

/// Puts paths into the order of their bytes, in which a program in any language sorts them.
pub fn sort(paths: &mut [PathBuf]) {
    paths.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
}

fn walk(dir: &Path, parts: &[&str], hidden: bool, depth: usize, found: &mut BTreeSet<PathBuf>) {
    let Some((part, rest)) = parts.split_first() else {
        if dir.is_file() {
            found.insert(dir.components().collect());
        }
        return;
    };
    if *part == "**" {
        // At the end it stands for all files below.
        let rest = if rest.is_empty() { &["*"][..] } else { rest };
        walk(dir, rest, hidden, depth, found);
        if depth < MAX_DEPTH {
            for (name, path) in entries(dir) {
                let own = is_run(&name);
                // Links to directories could run in circles.
                let is_dir = fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir());
                if is_dir && !own && (hidden || !name.starts_with('.')) {
                    walk(&path, parts, hidden, depth + 1, found);
                }
            }
        }
        return;
    }
    if !is_pattern(part) {
        let path = dir.join(part);
        if path.exists() {
            walk(&path, rest, hidden, depth, found);
        }
        return;
    }
    for (name, path) in entries(dir) {
        // As in a shell, what is hidden is meant only by a pattern that begins with a dot.
        let shown = hidden || part.starts_with('.') || !name.starts_with('.');
        if shown && matches(part, &name) {
            walk(&path, rest, hidden, depth, found);
        }
    }
}

fn entries(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .collect()
}

/// The patterns that one with braces stands for.
#[must_use]
pub fn braces(pattern: &str) -> Vec<String> {
    let mut all = vec![pattern.to_owned()];
    let mut at = 0;
    while let Some(pattern) = all.get(at) {
        let Some((before, choices, after)) = first_braces(pattern) else {
            at += 1;
            continue;
        };
        let made: Vec<String> = choices
            .iter()
            .map(|choice| format!("{before}{choice}{after}"))
            .collect();
        // So many files there are not.
        if all.len() + made.len() > MOST {
            return Vec::new();
        }
        all.splice(at..=at, made);
    }
    all
}

/// Whether the parts of a path match those of a pattern without braces. What is hidden is meant only
/// where `hidden` says so or a part begins with a dot, too.
#[must_use]
pub fn parts_match(pattern: &[&str], path: &[&str], hidden: bool) -> bool {
    let (Some((part, rest)), Some((name, names))) = (pattern.split_first(), path.split_first())
    else {
        return pattern.iter().all(|part| *part == "**") && path.is_empty();
    };
    let shown = hidden || part.starts_with('.') || !name.starts_with('.');
    if *part == "**" {
        // What a run left is meant only by its name.
        let own = is_run(name);
        return parts_match(rest, path, hidden)
            || shown && !own && parts_match(pattern, names, hidden);
    }
    shown && matches(part, name) && parts_match(rest, names, hidden)
}

/// Whether a directory is called as that of a run.
#[must_use]
pub fn is_run(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "djr")
}

/// What stands before the first braces, what they stand for, and what stands behind them.
fn first_braces(pattern: &str) -> Option<(&str, Vec<String>, &str)> {
    let open = pattern.find('{')?;
    let mut depth = 0;
    let mut cuts = vec![open];
    for (at, c) in pattern.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => cuts.push(at),
            _ => {}
        }
        if depth == 0 {
            cuts.push(at);
            break;
        }
    }
    let close = cuts.last().copied().filter(|_| depth == 0)?;
    let inner = pattern.get(open + 1..close)?;
    let choices = match range(inner) {
        Some(numbers) => numbers,
        None => cuts
            .iter()
            .zip(cuts.iter().skip(1))
            .filter_map(|(from, to)| pattern.get(from + 1..*to).map(str::to_owned))
            .collect(),
    };
    Some((pattern.get(..open)?, choices, pattern.get(close + 1..)?))
}

/// The numbers of `000..041`, as wide as its ends.
fn range(inner: &str) -> Option<Vec<String>> {
    let (from, to) = inner.split_once("..")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return None;
    }
    let padded = from.len() > 1 && from.starts_with('0') || to.len() > 1 && to.starts_with('0');
    let width = if padded { from.len().max(to.len()) } else { 0 };
    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
    let (low, high) = (from.min(to), from.max(to));
    (high - low < MOST).then(|| {
        (low..=high)
            .map(|number| format!("{number:0width$}"))
            .collect()
    })
}

/// Whether `name` matches a pattern of `*` (any text), `?` (any one character) and `[…]` (one of
/// these, or with `!` in front none of them).
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = name.get(n) {
        let next = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => match one_of(pattern.get(p..).unwrap_or_default(), c) {
                Some((true, length)) => Some(p + length),
                Some((false, _)) => None,
                None => (c == '[').then_some(p + 1),
            },
            Some(&want) => (want == c).then_some(p + 1),
            None => None,
        };
        match (next, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((at, from))) => {
                p = at + 1;
                n = from + 1;
                star = Some((at, from + 1));
            }
            (None, None) => return false,
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|&c| c == '*'))
}

/// Whether `c` is one of the characters in brackets that `pattern` begins with, and how long they
/// are; `None` if they have no end.
fn one_of(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let not = matches!(pattern.get(1), Some('!' | '^'));
    let begin = if not { 2 } else { 1 };
    // A bracket that comes first means itself.
    let length = pattern.iter().skip(begin + 1).position(|&c| c == ']')?;
    let inner = pattern.get(begin..=begin + length)?;
    let mut found = false;
    let mut at = 0;
    while let Some(&low) = inner.get(at) {
        if let (Some('-'), Some(&high)) = (inner.get(at + 1), inner.get(at + 2)) {
            found |= (low..=high).contains(&c);
            at += 3;
        } else {
            found |= low == c;
            at += 1;
        }
    }
    Some((found != not, begin + length + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        assert!(matches("*.jsonl", "a.jsonl") && matches("part-?.*", "part-1.json"));
        assert!(matches("*a*b", "xaxxab") && !matches("*.jsonl", "a.json") && !matches("?", ""));
        assert!(matches("r-00[1-3]", "r-002") && !matches("r-00[1-3]", "r-004"));
        assert!(matches("[!a-c]x", "dx") && !matches("[!a-c]x", "bx") && matches("a[]]b", "a]b"));
        assert!(matches("a[b", "a[b"));
    }

    #[test]
    fn parts_match_parts() {
        let parts = |text: &'static str| text.split('/').collect::<Vec<_>>();
        let matches = |pattern, path| parts_match(&parts(pattern), &parts(path), false);
        assert!(matches("**/*.jsonl", "a/b/1.jsonl") && matches("**/*.jsonl", "1.jsonl"));
        assert!(matches("a/*/1.jsonl", "a/b/1.jsonl") && !matches("a/*", "a/b/1.jsonl"));
        assert!(!matches("**/c", "x.djr/c") && matches("x.djr/*", "x.djr/c"));
        assert!(!matches("**", "a/.b/c") && !matches("*", ".a") && matches(".*", ".a"));
        assert!(parts_match(&["**", "c"], &["a", ".b", "c"], true));
    }

    #[test]
    fn braces_stand_for_lists_and_numbers() {
        assert_eq!(braces("a{1,{x,y}}b"), ["a1b", "axb", "ayb"]);
        assert_eq!(
            braces("{008..011}.tar"),
            ["008.tar", "009.tar", "010.tar", "011.tar"]
        );
        assert_eq!(braces("{2..1}"), ["1", "2"]);
        assert_eq!(braces("{a"), ["{a"]);
        assert_eq!(braces("{0..99999999}"), ["0..99999999"]);
    }

    #[test]
    fn any_part_may_be_a_pattern() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "a/x/1.jsonl",
            "a/2.jsonl",
            "b/.h/3.jsonl",
            "b/4.jsonl",
            "c.djr/5.jsonl",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = |pattern: &str, hidden: bool| -> Vec<String> {
            let names = matching(dir.path(), pattern, hidden);
            let name = |path: PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
            names.into_iter().map(name).collect()
        };
        assert_eq!(
            found("**/*.jsonl", false),
            ["a/2.jsonl", "a/x/1.jsonl", "b/4.jsonl"]
        );
        assert_eq!(found("b/**/*.jsonl", true), ["b/.h/3.jsonl", "b/4.jsonl"]);
        assert_eq!(found("{b,a}/[24].jsonl", false), ["a/2.jsonl", "b/4.jsonl"]);
        assert_eq!(found("a/**", false), ["a/2.jsonl", "a/x/1.jsonl"]);
        assert!(found("*/9.jsonl", false).is_empty());
    }
}
