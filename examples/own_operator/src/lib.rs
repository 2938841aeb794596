//! An operator of one's own, in a crate of one's own: copy it and begin.
//!
//! It is registered as djr's own operators are, so recipes, `djr ops`, the schema, analyses, recuts
//! and reports know it wherever this crate is linked. `main.rs` is a `djr` that has it, and
//! `tests/own_operator.rs` holds it to djr's contract for operators.

use djr::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, StatDef, operator,
};
use djr::sample::{FieldPath, RowError, Sample, StatValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What it measures, and which parameters bound it: said once, for everything that asks.
const SCORE: StatDef = StatDef::number("score").min("min_score").max("max_score");

operator! {
    /// Keeps rows whose text has a share of vowels between `min_score` and `max_score`.
    ///
    /// The share is that of the letters a, e, i, o and u, small or capital, in all characters; it
    /// is 0 for an empty text.
    ///
    /// ## Example
    /// ```yaml
    /// - vowel_share_filter: {min_score: 0.3}
    /// ```
    /// ```json
    /// {"in": {"text": "aloe"}, "out": {"text": "aloe"}, "stats": {"score": 0.75}}
    /// {"in": {"text": "rhythm"}, "out": null, "stats": {"score": 0.0}}
    /// ```
    vowel_share_filter: Filter(Params) => build,
    Facts {
        stats: &[SCORE],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Smallest share kept, inclusive.
    min_score: Option<f64>,
    /// Largest share kept, inclusive; no limit by default.
    max_score: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_score: Some(0.1),
            max_score: None,
        }
    }
}

struct VowelShare {
    text_key: FieldPath,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Filter(Box::new(VowelShare {
        text_key: context.base.text_key.clone(),
        bounds: Bounds::new(&SCORE, params.min_score, params.max_score, &context.base)?,
    })))
}

impl Filter for VowelShare {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let vowels = text.chars().filter(|c| "aeiouAEIOU".contains(*c)).count();
        #[expect(clippy::cast_precision_loss, reason = "a text is shorter than 2^53")]
        let share = vowels as f64 / text.chars().count().max(1) as f64;
        Ok(Measured::from_iter([StatValue::Float(share)]))
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
