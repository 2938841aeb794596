//! Keeps rows whose share of repeated word n-grams is within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, Problems, StatDef,
    operator, positive,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::{WordCutter, word_repetition};

operator! {
    /// Keeps rows whose share of repeated word n-grams is between `min_ratio` and `max_ratio`.
    ///
    /// Words are those of `words_num_filter`, turned to lower case before special characters are
    /// stripped. An n-gram is every run of `rep_len` words. The share is the number of n-grams that
    /// occur more than once, each occurrence counted, divided by the number of all n-grams; 0 for
    /// fewer than `rep_len` words. Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - word_repetition_filter: {rep_len: 2, max_ratio: 0.5}
    /// ```
    /// ```json
    /// {"in": {"text": "A cat and a dog"}, "out": {"text": "A cat and a dog"}, "stats": {"word_rep_ratio": 0.0}}
    /// {"in": {"text": "A cat, a cat!"}, "out": null, "stats": {"word_rep_ratio": 0.6666666666666666}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `word_repetition_filter`: same. An absent model is not downloaded; it is an
    /// error that says where to put it.
    word_repetition_filter: Filter(Params) => build,
    Facts {
        memory: 24,
        stats: &[SHARE],
        analysis: Some(r#"{"rep_len": 3}"#),
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
    /// Words of an n-gram, at least 1.
    rep_len: i64,
    /// Smallest share kept (0 to 1), inclusive.
    min_ratio: Option<f64>,
    /// Largest share kept (0 to 1), inclusive.
    max_ratio: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lang: "en".into(),
            tokenization: false,
            rep_len: 10,
            min_ratio: Some(0.0),
            max_ratio: Some(0.5),
        }
    }
}

const SHARE: StatDef = StatDef::number("word_rep_ratio")
    .min("min_ratio")
    .max("max_ratio");

struct WordRepetition {
    text_key: FieldPath,
    cutter: WordCutter,
    rep_len: usize,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let cutter = problems.keep(context.word_cutter(&params.lang, params.tokenization));
    let rep_len = problems.keep(positive("rep_len", params.rep_len));
    let bounds = problems.keep(Bounds::new(
        &SHARE,
        params.min_ratio,
        params.max_ratio,
        &context.base,
    ));
    let (Some(cutter), Some(rep_len), Some(bounds)) = (cutter, rep_len, bounds) else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(WordRepetition {
        text_key: context.base.text_key.clone(),
        cutter,
        rep_len,
        bounds,
    })))
}

impl Filter for WordRepetition {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let words = sample.words(&self.text_key, &self.cutter)?;
        let share = word_repetition(&words, self.rep_len);
        Ok(smallvec![StatValue::Float(share)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_filter;

    #[test]
    fn words_are_compared_in_lower_case() {
        for (text, expected) in [
            ("", r#"{"word_rep_ratio": 0.0} keep"#),
            ("one", r#"{"word_rep_ratio": 0.0} keep"#),
            (
                "One two. ONE \"two\" three",
                r#"{"word_rep_ratio": 0.5} keep"#,
            ),
            ("no no no", r#"{"word_rep_ratio": 1.0} drop"#),
        ] {
            check_filter(
                "word_repetition_filter",
                r#"{"rep_len": 2}"#,
                text,
                expected,
            );
        }
    }
}
