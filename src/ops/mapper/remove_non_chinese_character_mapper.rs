//! Keeps Chinese characters.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;

operator! {
    /// Removes what is neither Chinese (U+4E00 to U+9FA5) nor of a kind that is kept.
    ///
    /// Kinds are letters `A-Za-z`, digits `0-9`, and punctuation: the space and
    /// `. , - % * / & ( ) + ! ， 。 《 》 • 、 ＆ — （ ） ： ？ ！ “ ” ·` and the full-width plus.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_non_chinese_character_mapper: {keep_alphabet: false}
    /// ```
    /// ```json
    /// {"in": {"text": "特殊的★字符, very 2"}, "out": {"text": "特殊的字符,  2"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_non_chinese_character_mapper`: same.
    remove_non_chinese_character_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Keep ASCII letters.
    keep_alphabet: bool,
    /// Keep ASCII digits.
    keep_number: bool,
    /// Keep punctuation.
    keep_punc: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            keep_alphabet: true,
            keep_number: true,
            keep_punc: true,
        }
    }
}

struct RemoveNonChinese {
    params: Params,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveNonChinese { params },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveNonChinese {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        if text.chars().all(|c| self.keeps(c)) {
            return Ok(Cow::Borrowed(text));
        }
        Ok(text
            .chars()
            .filter(|&c| self.keeps(c))
            .collect::<String>()
            .into())
    }
}

impl RemoveNonChinese {
    fn keeps(&self, c: char) -> bool {
        match c {
            '\u{4e00}'..='\u{9fa5}' => true,
            'a'..='z' | 'A'..='Z' => self.params.keep_alphabet,
            '0'..='9' => self.params.keep_number,
            _ => self.params.keep_punc && is_kept_punctuation(c),
        }
    }
}

fn is_kept_punctuation(c: char) -> bool {
    matches!(
        c,
        ' ' | '.'
            | ','
            | '-'
            | '%'
            | '*'
            | '/'
            | '&'
            | '('
            | ')'
            | '+'
            | '!'
            | '，'
            | '。'
            | '《'
            | '》'
            | '•'
            | '、'
            | '＆'
            | '—'
            | '（'
            | '）'
            | '：'
            | '？'
            | '！'
            | '“'
            | '”'
            | '·'
    )
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper(
            "remove_non_chinese_character_mapper",
            params,
            input,
            expected,
        );
    }

    #[test]
    fn a_wide_plus_is_no_punctuation() {
        check("{}", "1\u{ff0b}1+1", "11+1");
    }

    #[test]
    fn kinds_are_kept_or_not() {
        check("{}", "中aＡ1!\n？é", "中a1!？");
        check(
            r#"{"keep_punc": false, "keep_number": false}"#,
            "中a1! ？",
            "中a",
        );
    }
}
