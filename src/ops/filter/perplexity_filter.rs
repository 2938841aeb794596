//! Keeps rows whose text has a perplexity within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::models::{KenLm, SentencePiece, perplexity};
use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, Problems, StatDef,
    operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};

operator! {
    /// Keeps rows whose text has a perplexity between `min_ppl` and `max_ppl`.
    ///
    /// The text is cut into pieces by the SentencePiece model `models/LANG.sp.model` of Data-Juicer's
    /// cache, and the KenLM model `models/LANG.arpa.bin` (ARPA, or a binary with hash tables or tries)
    /// scores every line of pieces with its begin and end. The perplexity is ten to the negated mean
    /// of the scores of all pieces and line ends, rounded to one decimal; 0 for an empty text. Both
    /// ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - perplexity_filter: {lang: en, max_ppl: 100}
    /// ```
    /// ```json
    /// {"in": {"text": "the boat is on the lake"}, "out": {"text": "the boat is on the lake"}, "stats": {"perplexity": 51.5}}
    /// {"in": {"text": "qwzx vvkj"}, "out": null, "stats": {"perplexity": 9482.1}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `perplexity_filter`: same. The models are not downloaded: if one is absent
    /// the error says where to put it. A KenLM binary with rest costs is not read.
    perplexity_filter: Filter(Params) => build,
    Facts {
        stats: &[PERPLEXITY],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Language of the models.
    lang: String,
    /// Smallest perplexity kept, inclusive.
    min_ppl: Option<f64>,
    /// Largest perplexity kept, inclusive.
    max_ppl: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lang: "en".into(),
            min_ppl: Some(0.0),
            max_ppl: Some(1500.0),
        }
    }
}

const PERPLEXITY: StatDef = StatDef::number("perplexity").min("min_ppl").max("max_ppl");

struct Perplexity {
    text_key: FieldPath,
    pieces: SentencePiece,
    model: KenLm,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let pieces = problems.keep(context.sentence_piece("lang", &params.lang, ""));
    let model = problems.keep(context.ngram_model("lang", &params.lang));
    let bounds = problems.keep(Bounds::new(
        &PERPLEXITY,
        params.min_ppl,
        params.max_ppl,
        &context.base,
    ));
    let (Some(pieces), Some(model), Some(bounds)) = (pieces, model, bounds) else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(Perplexity {
        text_key: context.base.text_key.clone(),
        pieces,
        model,
        bounds,
    })))
}

impl Filter for Perplexity {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let mut spaced = String::with_capacity(text.len() * 2);
        let mut first = true;
        self.pieces.pieces(&text, |piece| {
            if !first {
                spaced.push(' ');
            }
            first = false;
            spaced.push_str(piece);
        });
        let value = perplexity(&self.model, &spaced)
            .ok_or_else(|| RowError::new("no_perplexity", "the perplexity exceeds all numbers"))?;
        Ok(smallvec![StatValue::Float(value)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_filter, check_row};

    const NAME: &str = "perplexity_filter";

    #[test]
    fn no_text_has_the_perplexity_0() {
        let params = r#"{"min_ppl": 1}"#;
        check_row(
            NAME,
            params,
            r#"{"text": ""}"#,
            r#"{"perplexity": 0.0} drop"#,
        );
        check_row(
            NAME,
            params,
            r#"{"text": "a"}"#,
            r#"{"perplexity": 15.0} keep"#,
        );
        check_row(NAME, params, r#"{"text": null}"#, "missing_field");
        check_row(NAME, params, r#"{"text": 5}"#, "wrong_type");
    }

    #[test]
    fn absent_models_are_all_reported() {
        let problems = build_filter(NAME, r#"{"lang": "xx", "min_ppl": 2, "max_ppl": 1}"#);
        let problems = problems.err().unwrap();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(
            problems[1].message.contains("models/xx.arpa.bin"),
            "{problems:?}"
        );
    }
}
