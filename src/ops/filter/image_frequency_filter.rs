//! Keeps rows whose image stands with a number of different captions, or in a number of rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{BuildContext, Facts, Field, Operator, ParamError, StatDef, operator};
use crate::ops::frequency::{Caption, Frequency, ImageBy, Side};

operator! {
    /// Keeps rows whose image stands among all rows with between `min_count` and `max_count`
    /// different captions, or in so many rows: one picture under many captions contradicts itself, and
    /// "image not available" stands in many rows.
    ///
    /// Images are the same as `by` says, captions if they are equal without white space at their
    /// ends. All rows that reach the step are counted, those that it drops too; both ends are
    /// inclusive. Of several images of a row the one with the greatest count speaks for it; a row
    /// without an image has the count 0. A row that brings the stat along is not counted anew. Rows
    /// are read twice, and so are their images, unless `by` is `path`.
    ///
    /// In memory are the images that stand more than once, about 40 bytes each; what is counted waits on
    /// disk, and the captions of one image are counted at once. Images and captions are told apart by
    /// 64 bits each.
    ///
    /// ## Example
    /// ```yaml
    /// - image_frequency_filter: {by: path, max_count: 1}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a cat", "images": ["0.jpg"]}, {"text": "a dog", "images": ["0.jpg"]}, {"text": "a kite", "images": ["1.jpg"]}, {"text": "a kite ", "images": ["1.jpg"]}], "out": [{"text": "a kite", "images": ["1.jpg"]}, {"text": "a kite ", "images": ["1.jpg"]}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer has no such operator; this one is djr's own.
    image_frequency_filter: Filter(Params) => build,
    Facts {
        reads: &[Field::Images, Field::Unless("count", "rows", &Field::Text)],
        stats: &[StatDef::integer("image_frequency")],
        images: ImageBy::need,
        decides: &["min_count", "max_count"],
        ..Facts::NONE
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Count {
    /// The different captions that the image has.
    #[default]
    Captions,
    /// The rows that it stands in.
    Rows,
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// What makes two images the same.
    by: ImageBy,
    /// What is counted.
    count: Count,
    /// Least count kept, inclusive; no limit by default.
    min_count: Option<i64>,
    /// Greatest count kept, inclusive; no limit by default.
    max_count: Option<i64>,
    /// Compare captions in lower case.
    lowercase: bool,
}

const FREQUENCY: StatDef = StatDef::integer("image_frequency")
    .min("min_count")
    .max("max_count");

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Census(Box::new(Frequency {
        side: Side::Image,
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
