//! Keeps rows whose share of special characters is within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, StatDef, operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::ratio;

operator! {
    /// Keeps rows whose text has a share of special characters between `min_ratio` and `max_ratio`.
    ///
    /// The share is the number of special characters divided by the number of all characters, both in
    /// Unicode code points; 0 for an empty text. Special are ASCII punctuation, ASCII digits, ASCII
    /// white space (spaces between words count), emoji of one code point, and a fixed list of
    /// symbols, which has a few letters too (`ø`, `π`, `一`, `上`). Both ends are inclusive.
    ///
    /// ## Example
    /// ```yaml
    /// - special_characters_filter: {max_ratio: 0.25}
    /// ```
    /// ```json
    /// {"in": {"text": "the sea"}, "out": {"text": "the sea"}, "stats": {"special_char_ratio": 0.14285714285714285}}
    /// {"in": {"text": "#1 !!"}, "out": null, "stats": {"special_char_ratio": 1.0}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `special_characters_filter`: same.
    special_characters_filter: Filter(Params) => build,
    Facts {
        stats: &[SHARE],
        analysis: Some("{}"),
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Smallest share kept (0 to 1), inclusive.
    min_ratio: Option<f64>,
    /// Largest share kept (0 to 1), inclusive.
    max_ratio: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_ratio: Some(0.0),
            max_ratio: Some(0.25),
        }
    }
}

const SHARE: StatDef = StatDef::number("special_char_ratio")
    .min("min_ratio")
    .max("max_ratio");

struct SpecialCharacters {
    text_key: FieldPath,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Filter(Box::new(SpecialCharacters {
        text_key: context.base.text_key.clone(),
        bounds: Bounds::new(&SHARE, params.min_ratio, params.max_ratio, &context.base)?,
    })))
}

impl Filter for SpecialCharacters {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let counts = sample.text_counts(&self.text_key)?;
        let share = ratio(counts.special, counts.chars);
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
    fn letters_on_the_list_are_special() {
        for (text, expected) in [
            ("", r#"{"special_char_ratio": 0.0} keep"#),
            ("abc.", r#"{"special_char_ratio": 0.25} keep"#),
            ("øπé", r#"{"special_char_ratio": 0.6666666666666666} drop"#),
            ("\u{7f}\u{0}", r#"{"special_char_ratio": 0.0} keep"#),
        ] {
            check_filter("special_characters_filter", "{}", text, expected);
        }
    }
}
