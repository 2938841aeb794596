//! Keeps rows whose text has a length within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Facts, Filter, Measured, Operator, ParamError, StatDef, operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};

operator! {
    /// Keeps rows whose text has between `min_len` and `max_len` characters.
    ///
    /// The length counts Unicode code points of the whole text, special tokens such as
    /// `<__dj__image>` included. Both ends are inclusive. An empty text has length 0.
    ///
    /// ## Example
    /// ```yaml
    /// - text_length_filter: {min_len: 10, max_len: 20}
    /// ```
    /// ```json
    /// {"in": {"text": "a red bicycle"}, "out": {"text": "a red bicycle"}, "stats": {"text_len": 13}}
    /// {"in": {"text": "too short"}, "out": null, "stats": {"text_len": 9}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `text_length_filter`: same.
    text_length_filter: Filter(Params) => build,
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
    /// Fewest characters (code points) kept, inclusive.
    min_len: Option<i64>,
    /// Most characters (code points) kept, inclusive; no limit by default.
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

const LENGTH: StatDef = StatDef::integer("text_len")
    .unit("characters")
    .min("min_len")
    .max("max_len");

struct TextLength {
    text_key: FieldPath,
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Filter(Box::new(TextLength {
        text_key: context.base.text_key.clone(),
        bounds: Bounds::counts(&LENGTH, params.min_len, params.max_len, &context.base)?,
    })))
}

impl Filter for TextLength {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let text = sample.required_text(&self.text_key)?;
        Ok(smallvec![StatValue::Int(crate::text::char_count(&text))])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_filter;

    #[test]
    fn characters_count_and_both_ends_are_inclusive() {
        for (text, expected) in [
            ("", r#"{"text_len": 0} drop"#),
            ("e\u{301}", r#"{"text_len": 2} keep"#),
            ("a b\n", r#"{"text_len": 4} keep"#),
            ("five!", r#"{"text_len": 5} drop"#),
        ] {
            let params = r#"{"min_len": 2, "max_len": 4}"#;
            check_filter("text_length_filter", params, text, expected);
        }
    }
}
