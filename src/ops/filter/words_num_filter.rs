//! Keeps rows whose number of words is within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, Problems, StatDef,
    operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::WordCutter;

operator! {
    /// Keeps rows whose text has between `min_num` and `max_num` words.
    ///
    /// Words are what lies between spaces, newlines and tabs (no other white space); with
    /// `tokenization` they are the pieces of the SentencePiece model of `lang`. Special characters
    /// (those of `special_characters_filter`) are stripped from both ends, and words of which nothing
    /// is left do not count. Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - words_num_filter: {min_num: 2, max_num: 4}
    /// ```
    /// ```json
    /// {"in": {"text": "A red bicycle - 1990."}, "out": {"text": "A red bicycle - 1990."}, "stats": {"num_words": 3}}
    /// {"in": {"text": "12 bicycles!"}, "out": null, "stats": {"num_words": 1}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `words_num_filter`: same. An absent model is not downloaded; it is an error
    /// that says where to put it.
    words_num_filter: Filter(Params) => build,
    Facts {
        stats: &[WORDS],
        analysis: Some("{}"),
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Language of the SentencePiece model; unused without `tokenization`.
    lang: String,
    /// Cut words with a SentencePiece model instead of at white space.
    tokenization: bool,
    /// Fewest words kept, inclusive.
    min_num: Option<i64>,
    /// Most words kept, inclusive; no limit by default.
    max_num: Option<i64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lang: "en".into(),
            tokenization: false,
            min_num: Some(10),
            max_num: None,
        }
    }
}

const WORDS: StatDef = StatDef::integer("num_words")
    .unit("words")
    .min("min_num")
    .max("max_num");

struct WordsNum {
    text_key: FieldPath,
    cutter: WordCutter,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let cutter = problems.keep(context.word_cutter(&params.lang, params.tokenization));
    let bounds = problems.keep(Bounds::counts(
        &WORDS,
        params.min_num,
        params.max_num,
        &context.base,
    ));
    let (Some(cutter), Some(bounds)) = (cutter, bounds) else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(WordsNum {
        text_key: context.base.text_key.clone(),
        cutter,
        bounds,
    })))
}

impl Filter for WordsNum {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        // Counting at separators is cheaper than looking for words that were cut already.
        let count = match self.cutter {
            WordCutter::Separators => sample.text_counts(&self.text_key)?.words,
            WordCutter::SentencePiece { .. } => {
                sample.words(&self.text_key, &self.cutter)?.plain_count()
            }
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Ok(smallvec![StatValue::Int(count)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_filter;

    #[test]
    fn only_three_characters_separate() {
        for (text, expected) in [
            ("", r#"{"num_words": 0} drop"#),
            ("a\tb\nc d", r#"{"num_words": 4} keep"#),
            ("a\u{a0}b\rc\u{3000}d", r#"{"num_words": 1} drop"#),
            ("-- 99 ❤ ok ø", r#"{"num_words": 1} drop"#),
        ] {
            check_filter("words_num_filter", r#"{"min_num": 2}"#, text, expected);
        }
    }
}
