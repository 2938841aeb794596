//! Keeps rows whose longest line has a length within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, StatDef, operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::longest_line;

operator! {
    /// Keeps rows whose longest line has between `min_len` and `max_len` characters.
    ///
    /// Lengths count Unicode code points without the line break. Lines end at `\n`, `\r`, `\r\n`,
    /// U+000B, U+000C, U+001C–U+001E, U+0085, U+2028 and U+2029. Both ends of the range are
    /// inclusive. An empty text has the length 0.
    ///
    /// ## Example
    /// ```yaml
    /// - maximum_line_length_filter: {min_len: 5, max_len: 10}
    /// ```
    /// ```json
    /// {"in": {"text": "a dog\nruns"}, "out": {"text": "a dog\nruns"}, "stats": {"max_line_length": 5}}
    /// {"in": {"text": "one\ntwo\n"}, "out": null, "stats": {"max_line_length": 3}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `maximum_line_length_filter`: same.
    maximum_line_length_filter: Filter(Params) => build,
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
    /// Fewest characters (code points) of the longest line, inclusive.
    min_len: Option<i64>,
    /// Most characters (code points) of the longest line, inclusive; no limit by default.
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

const LENGTH: StatDef = StatDef::integer("max_line_length")
    .unit("characters")
    .min("min_len")
    .max("max_len");

struct MaximumLineLength {
    text_key: FieldPath,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Filter(Box::new(MaximumLineLength {
        text_key: context.base.text_key.clone(),
        bounds: Bounds::counts(&LENGTH, params.min_len, params.max_len, &context.base)?,
    })))
}

impl Filter for MaximumLineLength {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        Ok(smallvec![StatValue::Int(longest_line(&text))])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_filter;

    #[test]
    fn the_longest_line_counts_without_its_break() {
        for (text, expected) in [
            ("", r#"{"max_line_length": 0} drop"#),
            ("\n\n", r#"{"max_line_length": 0} drop"#),
            ("é\r\nab\r", r#"{"max_line_length": 2} keep"#),
            ("a\u{85}bcde", r#"{"max_line_length": 4} drop"#),
        ] {
            check_filter(
                "maximum_line_length_filter",
                r#"{"min_len": 2, "max_len": 3}"#,
                text,
                expected,
            );
        }
    }
}
