//! Keeps rows whose text has a number of tokens within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;
use tokenizers::Tokenizer;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, Problems, StatDef,
    operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};

operator! {
    /// Keeps rows whose text has between `min_num` and `max_num` tokens.
    ///
    /// Tokens are those of the Hugging Face tokenizer `hf_tokenizer`, without the special tokens that
    /// it would put around the text. An empty text has none. Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - token_num_filter: {hf_tokenizer: fixtures/models/bytes, min_num: 4, max_num: 8}
    /// ```
    /// ```json
    /// {"in": {"text": "a ferry"}, "out": {"text": "a ferry"}, "stats": {"num_token": 6}}
    /// {"in": {"text": "a"}, "out": null, "stats": {"num_token": 1}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `token_num_filter`: same. The tokenizer is not downloaded: its
    /// `tokenizer.json` is looked for beside the recipe, in Data-Juicer's cache and in Hugging
    /// Face's, and if it is absent the error says where to put it.
    token_num_filter: Filter(Params) => build,
    Facts {
        stats: &[TOKENS],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Name of the tokenizer (`owner/model`), or its directory.
    hf_tokenizer: String,
    /// Fewest tokens kept, inclusive.
    min_num: Option<i64>,
    /// Most tokens kept, inclusive; no limit by default.
    max_num: Option<i64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hf_tokenizer: "EleutherAI/pythia-6.9b-deduped".into(),
            min_num: Some(10),
            max_num: None,
        }
    }
}

const TOKENS: StatDef = StatDef::integer("num_token")
    .unit("tokens")
    .min("min_num")
    .max("max_num");

struct TokenNum {
    text_key: FieldPath,
    tokenizer: Tokenizer,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let tokenizer = problems.keep(context.hf_tokenizer("hf_tokenizer", &params.hf_tokenizer));
    let bounds = problems.keep(Bounds::counts(
        &TOKENS,
        params.min_num,
        params.max_num,
        &context.base,
    ));
    let (Some(tokenizer), Some(bounds)) = (tokenizer, bounds) else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(TokenNum {
        text_key: context.base.text_key.clone(),
        tokenizer,
        bounds,
    })))
}

impl Filter for TokenNum {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let encoding = self
            .tokenizer
            .encode_fast(&*text, false)
            .map_err(|e| RowError::new("tokenizer_failed", e.to_string()))?;
        let count = i64::try_from(encoding.len()).unwrap_or(i64::MAX);
        Ok(smallvec![StatValue::Int(count)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_filter, check_row};

    #[test]
    fn no_text_has_no_tokens() {
        let params = r#"{"hf_tokenizer": "fixtures/models/bytes", "min_num": 0, "max_num": 2}"#;
        let check = |row, expected| check_row("token_num_filter", params, row, expected);
        check(r#"{"text": ""}"#, r#"{"num_token": 0} keep"#);
        check(r#"{"text": "é"}"#, r#"{"num_token": 2} keep"#);
        check(r#"{"text": null}"#, "missing_field");
        check(r#"{"text": 1}"#, "wrong_type");
        let absent = r#"{"hf_tokenizer": "nobody/nothing", "min_num": 2, "max_num": 1}"#;
        assert!(build_filter("token_num_filter", absent).is_err_and(|e| e.len() == 2));
    }
}
