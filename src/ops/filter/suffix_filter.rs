//! Keeps rows that came from files with one of the given suffixes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::op::{
    BuildContext, Facts, Field, Filter, Measured, OneOrMany, Operator, ParamError, SUFFIX, Verdict,
    operator,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};

operator! {
    /// Keeps rows whose field `__dj__suffix__` is one of `suffixes`.
    ///
    /// The field names the suffix of the file that a row came from, in lower case with its dot
    /// (`.txt`, `.jsonl.gz`); rows that lack it get it before the first step. Suffixes are compared as
    /// they are written, so `txt` is not `.txt`. With `reversed_range` the other rows are kept. Without
    /// any suffix all rows are kept.
    ///
    /// ## Example
    /// ```yaml
    /// - suffix_filter: {suffixes: [.txt, .md]}
    /// ```
    /// ```json
    /// {"in": {"text": "a", "__dj__suffix__": ".md"}, "out": {"text": "a", "__dj__suffix__": ".md"}, "stats": {}}
    /// {"in": {"text": "b", "__dj__suffix__": ".py"}, "out": null, "stats": {}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `suffix_filter`: same. Rows of the standard input, which there is none
    /// there, count as `.jsonl`.
    suffix_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Suffix],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// A suffix with its dot, or a list of them; none keeps all rows.
    suffixes: Option<OneOrMany>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            suffixes: Some(OneOrMany::Many(Vec::new())),
        }
    }
}

struct Suffix {
    path: FieldPath,
    suffixes: Vec<String>,
    reversed: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "the registry's signature")]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let suffixes = match params.suffixes {
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
        None => Vec::new(),
    };
    Ok(Operator::Filter(Box::new(Suffix {
        path: SUFFIX.into(),
        suffixes,
        reversed: context.base.reversed_range,
    })))
}

impl Filter for Suffix {
    fn measure(&self, _: &Sample) -> Result<Measured, RowError> {
        Ok(SmallVec::new())
    }

    fn decide_row(&self, sample: &Sample) -> Result<Verdict, RowError> {
        if self.suffixes.is_empty() {
            return Ok(Verdict::Keep);
        }
        let suffix = sample.required_text(&self.path)?;
        let listed = self.suffixes.iter().any(|known| *known == *suffix);
        if listed != self.reversed {
            return Ok(Verdict::Keep);
        }
        let value = StatValue::json(suffix.into_owned());
        let limit = format!("suffixes: {}", self.suffixes.join(", "));
        Ok(Verdict::drop(SUFFIX, value, limit))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_row;

    #[test]
    fn suffixes_are_compared_as_written() {
        let check = |params, row, expected| check_row("suffix_filter", params, row, expected);
        let row = r#"{"__dj__suffix__": ".txt"}"#;
        check(r#"{"suffixes": ".txt"}"#, row, "{} keep");
        check(r#"{"suffixes": ["txt", ".TXT"]}"#, row, "{} drop");
        check(r#"{"suffixes": null}"#, "{}", "{} keep");
        check("{}", "{}", "{} keep");
        check(
            r#"{"suffixes": ".txt"}"#,
            r#"{"text": "a"}"#,
            "missing_field",
        );
        check(
            r#"{"suffixes": ".txt"}"#,
            r#"{"__dj__suffix__": 1}"#,
            "wrong_type",
        );
    }
}
