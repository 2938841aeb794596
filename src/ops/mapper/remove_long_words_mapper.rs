//! Removes words by length.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::rejoin::retain_words;
use crate::text::{char_count, strip_special};

operator! {
    /// Keeps words of between `min_len` and `max_len` characters.
    ///
    /// Words lie between spaces, tabs and line feeds. A word that is too long is kept, as it is, if it
    /// fits once the special characters (those of `special_characters_filter`) are stripped from its
    /// ends. Words stay joined by one space, fields by one tab and lines by one line feed; fields and
    /// lines without words vanish, even where no word was removed.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_long_words_mapper: {max_len: 6}
    /// ```
    /// ```json
    /// {"in": {"text": "a reasonably  short \"phrase\""}, "out": {"text": "a short \"phrase\""}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_long_words_mapper`: same.
    remove_long_words_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Fewest characters (code points) of a word that is kept, inclusive.
    min_len: i64,
    /// Most characters (code points) of a word that is kept, inclusive; no limit by default.
    max_len: Option<i64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_len: 1,
            max_len: None,
        }
    }
}

struct RemoveLongWords {
    min_len: i64,
    max_len: i64,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveLongWords {
            min_len: params.min_len,
            max_len: params.max_len.unwrap_or(i64::MAX),
        },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveLongWords {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        Ok(retain_words(text, |word| self.keeps(word)))
    }
}

impl RemoveLongWords {
    fn keeps(&self, word: &str) -> bool {
        let length = char_count(word);
        if length > self.max_len {
            let length = char_count(strip_special(word));
            return (self.min_len..=self.max_len).contains(&length);
        }
        length >= self.min_len
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("remove_long_words_mapper", params, input, expected);
    }

    #[test]
    fn long_words_are_stripped_first() {
        check(r#"{"max_len": 3}"#, "(abc) abcd ...... a", "(abc) a");
        check(r#"{"min_len": 2}"#, "a bb\tc\n\ndd", "bb\ndd");
        check("{}", " a  b ", "a b");
    }
}
