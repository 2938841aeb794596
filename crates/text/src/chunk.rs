//! Texts cut into chunks, as Data-Juicer 1.6.1 cuts them: at matches of a pattern, or by length.

use std::borrow::Cow;
use std::slice::SliceIndex;

use tokenizers::Tokenizer;

use super::python_regex::Pattern;
use super::strip;

/// What a length counts.
pub enum Unit {
    /// Unicode code points.
    Character,
    /// Tokens of this tokenizer, special ones included.
    Token(Box<Tokenizer>),
}

/// The chunks between matches of `pattern` and what its groups matched; blank ones are left out.
///
/// # Errors
/// If matching takes too many steps.
pub fn between<'t>(pattern: &Pattern, text: &'t str) -> Result<Vec<&'t str>, String> {
    let mut pieces = Vec::new();
    let mut done = 0;
    pattern.each_match(text, true, |found| {
        pieces.push(text.get(done..found.start).unwrap_or_default());
        let groups = found.groups.iter().skip(1).flatten();
        pieces.extend(groups.filter_map(|&(start, end)| text.get(start..end)));
        done = found.end;
    })?;
    pieces.push(text.get(done..).unwrap_or_default());
    pieces.retain(|piece| !strip(piece).is_empty());
    Ok(pieces)
}

/// Windows of `size` units, each starting `size - overlap` units after the one before it.
///
/// # Errors
/// If the tokenizer fails.
pub fn windows(
    text: &str,
    size: usize,
    overlap: usize,
    unit: &Unit,
) -> Result<Vec<String>, String> {
    let step = size.saturating_sub(overlap).max(1);
    match unit {
        Unit::Character => {
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            if starts.len() <= size {
                return Ok(vec![text.to_owned()]);
            }
            Ok((0..starts.len())
                .step_by(step)
                .filter_map(|first| {
                    let start = *starts.get(first)?;
                    let end = starts.get(first + size).copied().unwrap_or(text.len());
                    text.get(start..end).map(ToOwned::to_owned)
                })
                .collect())
        }
        Unit::Token(tokenizer) => {
            let tokens = encode(tokenizer, text)?;
            if tokens.len() <= size {
                return Ok(vec![text.to_owned()]);
            }
            (0..tokens.len())
                .step_by(step)
                .filter_map(|first| tokens.get(first..tokens.len().min(first + size)))
                .map(|window| decode(tokenizer, window))
                .collect()
        }
    }
}

/// Chunks of at most `size` units, each cut at the last match of `pattern` within that length; where
/// there is none, after `size` units, and the next chunk repeats the last `overlap` of them. Blank
/// chunks are left out, but not the last one.
///
/// # Errors
/// If matching takes too many steps, the tokenizer fails, or a cut leaves the text as long as it was.
pub fn at_pattern(
    text: &str,
    pattern: &Pattern,
    size: usize,
    overlap: usize,
    unit: &Unit,
) -> Result<Vec<String>, String> {
    let mut chunks = Vec::new();
    let mut left = Cow::Borrowed(text);
    // A cut takes at least one character away, but a tokenizer may also write what it did not read.
    for _ in 0..=text.len() {
        let Some((head, rest)) = cut(&left, size, overlap, unit)? else {
            chunks.push(left.into_owned());
            return Ok(chunks);
        };
        let mut last = None;
        pattern.each_match(&head, false, |found| last = Some((found.start, found.end)))?;
        let (chunk, rest) = match last {
            Some((start, end)) => (head.get(..start).unwrap_or_default(), slice(&left, end..)),
            None => (&*head, rest),
        };
        if !strip(chunk).is_empty() {
            chunks.push(chunk.to_owned());
        }
        if rest == left {
            break;
        }
        left = rest;
    }
    Err("the pattern matches nothing at the start of the text, so cutting there has no end".into())
}

/// A text's head, and what is left of it.
type Cut<'t> = (Cow<'t, str>, Cow<'t, str>);

/// The first `size` units of `text`, and what is left from `overlap` units before their end; `None`
/// if there are no more units than `size`.
fn cut<'t>(
    text: &Cow<'t, str>,
    size: usize,
    overlap: usize,
    unit: &Unit,
) -> Result<Option<Cut<'t>>, String> {
    let keep = size.saturating_sub(overlap);
    match unit {
        Unit::Character => {
            let at = |count| text.char_indices().nth(count).map(|(at, _)| at);
            let (Some(end), Some(rest)) = (at(size), at(keep)) else {
                return Ok(None);
            };
            Ok(Some((slice(text, ..end), slice(text, rest..))))
        }
        Unit::Token(tokenizer) => {
            let tokens = encode(tokenizer, text)?;
            if tokens.len() <= size {
                return Ok(None);
            }
            let head = decode(tokenizer, tokens.get(..size).unwrap_or_default())?;
            let rest = decode(tokenizer, tokens.get(keep..).unwrap_or_default())?;
            Ok(Some((head.into(), rest.into())))
        }
    }
}

/// A part of a text, copied only if the text is a copy itself.
fn slice<'t>(text: &Cow<'t, str>, range: impl SliceIndex<str, Output = str>) -> Cow<'t, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_owned()),
    }
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, String> {
    let encoding = tokenizer
        .encode_fast(text, true)
        .map_err(|e| e.to_string())?;
    Ok(encoding.get_ids().to_vec())
}

fn decode(tokenizer: &Tokenizer, tokens: &[u32]) -> Result<String, String> {
    tokenizer.decode(tokens, false).map_err(|e| e.to_string())
}
