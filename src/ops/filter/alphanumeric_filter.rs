//! Keeps rows whose share of letters and digits is within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;
use tokenizers::Tokenizer;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, Problems, StatDef,
    operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::{alpha_count, ratio};

operator! {
    /// Keeps rows whose text has a share of letters and digits between `min_ratio` and `max_ratio`.
    ///
    /// The share is the number of alphanumeric characters divided by the number of all characters,
    /// both in Unicode code points; 0 for an empty text. Alphanumeric are letters and whatever has
    /// a numeric value (`²`, `½`, `Ⅷ`), but not combining marks. With `tokenization` it is the
    /// number of letters divided by the number of tokens of the tokenizer of
    /// `EleutherAI/pythia-6.9b-deduped`, which may exceed 1; 0 if there is no token. Both ends are
    /// inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - alphanumeric_filter: {min_ratio: 0.5}
    /// ```
    /// ```json
    /// {"in": {"text": "route 66"}, "out": {"text": "route 66"}, "stats": {"alnum_ratio": 0.875}}
    /// {"in": {"text": "a, b!"}, "out": null, "stats": {"alnum_ratio": 0.4}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `alphanumeric_filter`: same. The tokenizer is not downloaded: its
    /// `tokenizer.json` is looked for beside the recipe, in Data-Juicer's cache and in Hugging
    /// Face's, and if it is absent the error says where to put it.
    alphanumeric_filter: Filter(Params) => build,
    Facts {
        stats: &[CHARACTERS, TOKENS],
        analysis: Some("{}"),
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Divide the number of letters by the number of tokens.
    tokenization: bool,
    /// Smallest share kept, inclusive.
    min_ratio: Option<f64>,
    /// Largest share kept, inclusive; no limit by default.
    max_ratio: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            tokenization: false,
            min_ratio: Some(0.25),
            max_ratio: None,
        }
    }
}

/// The tokenizer that Data-Juicer counts tokens with.
const TOKENIZER: &str = "EleutherAI/pythia-6.9b-deduped";

const CHARACTERS: StatDef = StatDef::number("alnum_ratio")
    .when("tokenization", false)
    .min("min_ratio")
    .max("max_ratio");
const TOKENS: StatDef = StatDef::number("alpha_token_ratio")
    .when("tokenization", true)
    .min("min_ratio")
    .max("max_ratio");

struct Alphanumeric {
    text_key: FieldPath,
    /// Counts tokens instead of characters.
    tokenizer: Option<Tokenizer>,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let tokenizer = params
        .tokenization
        .then(|| context.hf_tokenizer("tokenization", TOKENIZER));
    let tokenizer = problems.keep(tokenizer.transpose());
    let bounds = problems.keep(Bounds::new(
        if params.tokenization {
            &TOKENS
        } else {
            &CHARACTERS
        },
        params.min_ratio,
        params.max_ratio,
        &context.base,
    ));
    let (Some(tokenizer), Some(bounds)) = (tokenizer, bounds) else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(Alphanumeric {
        text_key: context.base.text_key.clone(),
        tokenizer,
        bounds,
    })))
}

impl Filter for Alphanumeric {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let share = match &self.tokenizer {
            None => {
                let counts = sample.text_counts(&self.text_key)?;
                ratio(counts.alnum, counts.chars)
            }
            Some(tokenizer) => {
                let text = sample.required_text(&self.text_key)?;
                let encoding = tokenizer
                    .encode_fast(&*text, false)
                    .map_err(|e| RowError::new("tokenizer_failed", e.to_string()))?;
                ratio(alpha_count(&text), encoding.len())
            }
        };
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
    fn numerals_count_and_marks_do_not() {
        for (text, expected) in [
            ("", r#"{"alnum_ratio": 0.0} drop"#),
            ("²½Ⅷ٣", r#"{"alnum_ratio": 1.0} keep"#),
            ("e\u{301}--", r#"{"alnum_ratio": 0.25} keep"#),
        ] {
            check_filter("alphanumeric_filter", "{}", text, expected);
        }
    }
}
