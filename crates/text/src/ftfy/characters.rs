//! Characters that stand for others: ligatures, full and half width, curled quotes, line breaks;
//! and those that are better gone.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::encoding::c1_as_windows_1252;

/// C1 controls become what Windows-1252 has there, Latin ligatures and digraphs their letters,
/// full-width and half-width forms their ordinary ones, curled quotes straight ones, and all line
/// breaks line feeds.
pub(super) fn tidy(text: &str) -> Cow<'_, str> {
    let Some((start, _)) = text.char_indices().find(|&(_, c)| may_change(c)) else {
        return Cow::Borrowed(text);
    };
    let (head, tail) = text.split_at_checked(start).unwrap_or(("", text));
    let mut out = String::with_capacity(text.len());
    out.push_str(head);
    let mut chars = tail.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            '\u{80}'..='\u{9f}' => push_quote(&mut out, c1_as_windows_1252(c)),
            '\u{3000}' => out.push(' '),
            '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\u{ff01}'..='\u{ffef}' => std::iter::once(c)
                .nfkc()
                .for_each(|c| push_quote(&mut out, c)),
            _ => match ligature(c) {
                Some(letters) => letters.chars().for_each(|c| push_quote(&mut out, c)),
                None => push_quote(&mut out, c),
            },
        }
    }
    Cow::Owned(out)
}

fn may_change(c: char) -> bool {
    match c {
        _ if c.is_ascii() => c == '\r',
        '\u{80}'..='\u{9f}'
        | '\u{3000}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{ff01}'..='\u{ffef}'
        | '\u{2bc}'
        | '\u{2018}'..='\u{201f}' => true,
        _ => ligature(c).is_some(),
    }
}

/// Pushes `c`, straight if it is a curled quote.
fn push_quote(out: &mut String, c: char) {
    out.push(match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        _ => c,
    });
}

fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

/// Without terminal colours and the like: ESC, `[`, numbers, a letter.
pub(super) fn remove_terminal_escapes(text: &str) -> Cow<'_, str> {
    static ESCAPE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\x1b\[[\d;]*[a-zA-Z]").ok());
    match &*ESCAPE {
        Some(escape) if memchr::memchr(0x1b, text.as_bytes()).is_some() => {
            escape.replace_all(text, "")
        }
        _ => Cow::Borrowed(text),
    }
}

/// Without characters that have no visible effect: ASCII controls but for white space, deprecated
/// Arabic controls, annotation marks, the object replacement character and the byte order mark.
pub(super) fn remove_controls(text: &str) -> Cow<'_, str> {
    if text.contains(is_control) {
        Cow::Owned(text.chars().filter(|&c| !is_control(c)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

fn is_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{b}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_sees_the_one_before() {
        // 0x91 is a curled quote in Windows-1252, 0x85 an ellipsis rather than a line break.
        assert_eq!(tidy("a\u{91}b\u{85}ŉ＂"), "a'b…'n\"");
        assert_eq!(tidy("a\r\nb\rc\u{2029}ﾊﾟ"), "a\nb\nc\nハ\u{309a}");
    }

    #[test]
    fn escapes_go_before_controls() {
        assert_eq!(
            remove_terminal_escapes("\u{1b}[1;31mred\u{1b}x"),
            "red\u{1b}x"
        );
        assert_eq!(remove_controls("a\u{0}\u{feff}b\tc"), "ab\tc");
    }
}
