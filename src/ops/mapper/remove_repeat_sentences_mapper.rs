//! Removes repeated sentences.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::repeats::{Sameness, without_repeats};

operator! {
    /// Removes sentences that the text had before.
    ///
    /// Sentences end after `.`, `。`, `!`, `！`, `?`, `？` (every second one of a row) and `……` unless a
    /// closing quote follows, after a closing quote that follows one of these, and with the line. Two
    /// are the same if they are equal once stripped, perhaps in lower case, and (unless
    /// `ignore_special_character` is off) reduced to ASCII letters and digits, U+4E00 to U+9FA5, tabs
    /// and spaces. What remains is joined as it was, so white space stays with the sentence after it.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_repeat_sentences_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "Hello there. Bye. Hello there! Ok"}, "out": {"text": "Hello there. Bye. Ok"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_repeat_sentences_mapper`: same, but for `tokenizer`, which there is
    /// Python code and here is refused.
    remove_repeat_sentences_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Compare in lower case.
    lowercase: bool,
    /// Compare ASCII letters and digits, Chinese characters, tabs and spaces only.
    ignore_special_character: bool,
    /// Sentences with fewer characters to compare are always kept.
    min_repeat_sentence_length: i64,
    /// Not supported: a Python lambda that cuts sentences.
    tokenizer: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lowercase: false,
            ignore_special_character: true,
            min_repeat_sentence_length: 2,
            tokenizer: None,
        }
    }
}

struct RemoveRepeatSentences {
    sameness: Sameness,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if params.tokenizer.is_some() {
        return Err(vec![
            ParamError::new("tokenizer", "Python code cannot be run here")
                .hint("leave tokenizer out to cut sentences with the built-in rules"),
        ]);
    }
    let sameness = Sameness {
        lowercase: params.lowercase,
        ignore_special: params.ignore_special_character,
        min_length: params.min_repeat_sentence_length,
    };
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveRepeatSentences { sameness },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveRepeatSentences {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        Ok(without_repeats(text, self.sameness))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_mapper, check_mapper};

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("remove_repeat_sentences_mapper", params, input, expected);
    }

    #[test]
    fn the_second_one_goes() {
        check("{}", "今天好。今天好！\n今天好", "今天好。\n");
        check("{}", "A b. a b. ...", "A b. a b. ...");
        check(r#"{"lowercase": true}"#, "A b. a b. ...", "A b. ...");
        check(
            r#"{"ignore_special_character": false}"#,
            "a b.a b!",
            "a b.a b!",
        );
        check(
            r#"{"min_repeat_sentence_length": 5}"#,
            "abc. abc.",
            "abc. abc.",
        );
    }

    #[test]
    fn python_code_is_refused() {
        let params = r#"{"tokenizer": "lambda t: [t]"}"#;
        let errors = build_mapper("remove_repeat_sentences_mapper", params)
            .err()
            .unwrap();
        assert_eq!(errors[0].param.as_deref(), Some("tokenizer"));
    }
}
