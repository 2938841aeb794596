//! Keeps rows whose share of repeated character n-grams is within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, Problems, StatDef,
    operator, positive,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::char_repetition;

operator! {
    /// Keeps rows whose share of repeated character n-grams is between `min_ratio` and `max_ratio`.
    ///
    /// An n-gram is every run of `rep_len` Unicode code points. With `u` distinct n-grams of which
    /// `s` occur once, the share is the number of n-grams that belong to the min(⌊√u⌋, u − s) most
    /// frequent ones, divided by the number of all n-grams; 0 for a text shorter than `rep_len`. Both
    /// ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - character_repetition_filter: {rep_len: 2, max_ratio: 0.5}
    /// ```
    /// ```json
    /// {"in": {"text": "a red bus"}, "out": {"text": "a red bus"}, "stats": {"char_rep_ratio": 0.0}}
    /// {"in": {"text": "ababab"}, "out": null, "stats": {"char_rep_ratio": 0.6}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `character_repetition_filter`: same.
    character_repetition_filter: Filter(Params) => build,
    Facts {
        memory: 48,
        stats: &[SHARE],
        analysis: Some("{}"),
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Characters (code points) of an n-gram, at least 1.
    rep_len: i64,
    /// Smallest share kept (0 to 1), inclusive.
    min_ratio: Option<f64>,
    /// Largest share kept (0 to 1), inclusive.
    max_ratio: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            rep_len: 10,
            min_ratio: Some(0.0),
            max_ratio: Some(0.5),
        }
    }
}

const SHARE: StatDef = StatDef::number("char_rep_ratio")
    .min("min_ratio")
    .max("max_ratio");

struct CharacterRepetition {
    text_key: FieldPath,
    rep_len: usize,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let rep_len = problems.keep(positive("rep_len", params.rep_len));
    let bounds = problems.keep(Bounds::new(
        &SHARE,
        params.min_ratio,
        params.max_ratio,
        &context.base,
    ));
    let (Some(rep_len), Some(bounds)) = (rep_len, bounds) else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(CharacterRepetition {
        text_key: context.base.text_key.clone(),
        rep_len,
        bounds,
    })))
}

impl Filter for CharacterRepetition {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        Ok(smallvec![StatValue::Float(char_repetition(
            &text,
            self.rep_len
        ))])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_filter;

    #[test]
    fn short_texts_repeat_nothing() {
        for (text, expected) in [
            ("", r#"{"char_rep_ratio": 0.0} keep"#),
            ("éé", r#"{"char_rep_ratio": 0.0} keep"#),
            ("aaaa", r#"{"char_rep_ratio": 1.0} drop"#),
            ("一二三一二三", r#"{"char_rep_ratio": 0.5} keep"#),
        ] {
            check_filter(
                "character_repetition_filter",
                r#"{"rep_len": 3}"#,
                text,
                expected,
            );
        }
    }
}
