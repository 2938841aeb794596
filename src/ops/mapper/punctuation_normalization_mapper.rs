//! Makes punctuation ASCII.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;

operator! {
    /// Turns punctuation of other scripts into its ASCII counterpart.
    ///
    /// Character by character: Chinese marks, quotation marks of several languages, dashes, the ellipsis
    /// (`...`). A few are odd: `—` becomes a hyphen between two spaces, `．` a dot and a space, `►` a
    /// hyphen, and the full-width digit `１` a double quote.
    ///
    /// ## Example
    /// ```yaml
    /// - punctuation_normalization_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "你好，“世界”…"}, "out": {"text": "你好,\"世界\"..."}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `punctuation_normalization_mapper`: same.
    punctuation_normalization_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct PunctuationNormalization;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(_params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        PunctuationNormalization,
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for PunctuationNormalization {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        if text.is_ascii() {
            return Ok(Cow::Borrowed(text));
        }
        let Some((start, _)) = text.char_indices().find(|&(_, c)| ascii(c).is_some()) else {
            return Ok(Cow::Borrowed(text));
        };
        let (head, tail) = text.split_at_checked(start).unwrap_or(("", text));
        let mut out = String::with_capacity(text.len());
        out.push_str(head);
        for c in tail.chars() {
            match ascii(c) {
                Some(replacement) => out.push_str(replacement),
                None => out.push(c),
            }
        }
        Ok(Cow::Owned(out))
    }
}

/// What `c` becomes.
fn ascii(c: char) -> Option<&'static str> {
    Some(match c {
        _ if c.is_ascii() => return None,
        '、' | '，' => ",",
        '。' => ".",
        '«' | '»' | '“' | '”' | '„' | '《' | '》' | '「' | '」' | '１' => "\"",
        '´' | '’' => "'",
        '∶' | '：' => ":",
        '？' => "?",
        '！' => "!",
        '（' => "(",
        '）' => ")",
        '；' => ";",
        '–' | '━' | '►' => "-",
        '—' => " - ",
        '．' => ". ",
        '～' => "~",
        '…' => "...",
        '〈' => "<",
        '〉' => ">",
        '【' => "[",
        '】' => "]",
        '％' => "%",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(input: &str, expected: &str) {
        check_mapper("punctuation_normalization_mapper", "{}", input, expected);
    }

    #[test]
    fn marks_become_ascii() {
        check("a—b．c１►", "a - b. c\"-");
        check("plain, text.", "plain, text.");
    }
}
