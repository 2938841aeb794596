//! Keeps rows whose caption stands in a number of rows, or with a number of different images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{BuildContext, Facts, Field, ImageNeed, Operator, ParamError, StatDef, operator};
use crate::ops::frequency::{Caption, Frequency, ImageBy, Side};

operator! {
    /// Keeps rows whose caption stands among all rows between `min_count` and `max_count` times, or
    /// with so many different images: boilerplate ("stock photo", the name of a shop) stands in many
    /// rows, and a caption of many pictures describes none of them.
    ///
    /// Captions are the same if they are equal without white space at their ends, a row without a text
    /// has an empty one; images are the same as `by` says. All rows that reach the step are counted,
    /// those that it drops too; both ends are inclusive. With `count: images`
    /// a row without an image has the count 0. A row that brings the stat along is not counted anew.
    /// Rows are read twice.
    ///
    /// In memory are the captions that stand more than once, about 40 bytes each; what is counted waits
    /// on disk, and the images of one caption are counted at once. Captions and images are told apart by
    /// 64 bits each.
    ///
    /// ## Example
    /// ```yaml
    /// - text_frequency_filter: {max_count: 2, lowercase: true}
    /// ```
    /// ```json
    /// {"rows": [{"text": "Stock photo"}, {"text": "a red kite"}, {"text": "stock photo "}, {"text": "a red kite"}, {"text": "STOCK PHOTO"}], "out": [{"text": "a red kite"}, {"text": "a red kite"}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer has no such operator; this one is djr's own.
    text_frequency_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Text, Field::If("count", "images", &Field::Images)],
        stats: &[StatDef::integer("text_frequency")],
        images: |params| match params.get("count").and_then(serde_json::Value::as_str) {
            Some("images") => ImageBy::need(params),
            _ => ImageNeed::None,
        },
        decides: &["min_count", "max_count"],
        ..Facts::NONE
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Count {
    /// The rows that the caption stands in.
    #[default]
    Rows,
    /// The different images that it has.
    Images,
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// What is counted.
    count: Count,
    /// With `count: images`: what makes two images the same.
    by: ImageBy,
    /// Least count kept, inclusive; no limit by default.
    min_count: Option<i64>,
    /// Greatest count kept, inclusive; no limit by default.
    max_count: Option<i64>,
    /// Compare captions in lower case.
    lowercase: bool,
}

const FREQUENCY: StatDef = StatDef::integer("text_frequency")
    .min("min_count")
    .max("max_count");

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Census(Box::new(Frequency {
        side: Side::Caption,
        rows: params.count == Count::Rows,
        by: params.by,
        caption: Caption {
            text_key: context.base.text_key.clone(),
            lowercase: params.lowercase,
        },
        bounds: Frequency::bounds(&FREQUENCY, (params.min_count, params.max_count), context)?,
        stat: FREQUENCY,
    })))
}
