//! Keeps rows whose lines have an average length within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, StatDef, operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::{line_count, ratio};

operator! {
    /// Keeps rows whose lines have between `min_len` and `max_len` characters on average.
    ///
    /// The average is the number of Unicode code points of the whole text, line breaks included,
    /// divided by the number of lines. Lines end at `\n`, `\r`, `\r\n`, U+000B, U+000C,
    /// U+001C–U+001E, U+0085, U+2028 and U+2029; a break at the end opens no new line. Both ends of
    /// the range are inclusive. An empty text has the average 0.
    ///
    /// ## Example
    /// ```yaml
    /// - average_line_length_filter: {min_len: 5, max_len: 10}
    /// ```
    /// ```json
    /// {"in": {"text": "a dog\nruns"}, "out": {"text": "a dog\nruns"}, "stats": {"avg_line_length": 5.0}}
    /// {"in": {"text": "one\ntwo\n"}, "out": null, "stats": {"avg_line_length": 4.0}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `average_line_length_filter`: same.
    average_line_length_filter: Filter(Params) => build,
    Facts {
        stats: &[LENGTH],
        analysis: Some("{}"),
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Smallest average kept, in characters, inclusive.
    min_len: Option<i64>,
    /// Largest average kept, in characters, inclusive; no limit by default.
    max_len: Option<i64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_len: Some(10),
            max_len: None,
        }
    }
}

const LENGTH: StatDef = StatDef::number("avg_line_length")
    .unit("characters")
    .min("min_len")
    .max("max_len");

struct AverageLineLength {
    text_key: FieldPath,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Filter(Box::new(AverageLineLength {
        text_key: context.base.text_key.clone(),
        bounds: Bounds::counts(&LENGTH, params.min_len, params.max_len, &context.base)?,
    })))
}

impl Filter for AverageLineLength {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let average = ratio(text.chars().count(), line_count(&text));
        Ok(smallvec![StatValue::Float(average)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_filter;

    #[test]
    fn the_average_counts_line_breaks() {
        for (text, expected) in [
            ("", r#"{"avg_line_length": 0.0} drop"#),
            ("\n", r#"{"avg_line_length": 1.0} drop"#),
            ("é\r\nb", r#"{"avg_line_length": 2.0} keep"#),
            ("abc\u{2028}def", r#"{"avg_line_length": 3.5} drop"#),
        ] {
            check_filter(
                "average_line_length_filter",
                r#"{"min_len": 2, "max_len": 3}"#,
                text,
                expected,
            );
        }
    }
}
