//! Keeps rows whose image files have a size within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    AnyOrAll, BYTES, Bounds, BuildContext, Facts, Filter, ImageNeed, Measured, Operator,
    ParamError, StatDef, StatType, operator, size_param,
};
use crate::sample::{RowError, Sample, StatValue, originals};

operator! {
    /// Keeps rows whose image files have between `min_size` and `max_size` bytes.
    ///
    /// A size is a whole number with an optional unit, such as `120KB`: kB, MB, GB, TB, PB, EB,
    /// ZB, YB, or with an i (`KiB`), in any case, all powers of 1024; without a unit it is bytes.
    /// Everything but digits and letters is ignored, so that `1.5MB` means 15 MB. With
    /// `any_or_all: any` one image within the range keeps the row, with `all` every image must
    /// be; a row without images stays. Both ends are inclusive. Files are not opened.
    ///
    /// ## Example
    /// ```yaml
    /// - image_size_filter: {min_size: 10KB, max_size: 20MB, any_or_all: all}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_sizes": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_size_filter`: same. There a missing file costs the whole batch,
    /// here its row is quarantined. A column of image bytes (`image_bytes_key`) is not read.
    image_size_filter: Filter(Params) => build,
    Facts {
        stats: &[SIZES],
        analysis: Some("{}"),
        images: |_| ImageNeed::FileSize,
        decides: &["any_or_all"],
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Least size kept, inclusive, such as `10KB`.
    min_size: String,
    /// Greatest size kept, inclusive, such as `20MB`.
    max_size: String,
    /// Whether one image or every image of a row must pass.
    any_or_all: AnyOrAll,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_size: "0".into(),
            max_size: "1TB".into(),
            any_or_all: AnyOrAll::Any,
        }
    }
}

const SIZES: StatDef = StatDef::new("image_sizes", StatType::Integers)
    .unit(BYTES)
    .min("min_size")
    .max("max_size");

struct ImageSize {
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let min = size_param("min_size", &params.min_size);
    let max = size_param("max_size", &params.max_size);
    match (min, max) {
        (Ok(min), Ok(max)) => Ok(Operator::Filter(Box::new(ImageSize {
            bounds: Bounds::new(&SIZES, Some(min), Some(max), &context.base)?
                .mode(params.any_or_all),
        }))),
        (min, max) => Err([min.err(), max.err()].into_iter().flatten().collect()),
    }
}

impl Filter for ImageSize {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let sizes = originals(sample.images()?)
            .iter()
            .map(|image| {
                image
                    .file_size()
                    .map(|size| i64::try_from(size).unwrap_or(i64::MAX))
            })
            .collect::<Result<_, _>>()?;
        Ok(smallvec![StatValue::Ints(sizes)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn only_digits_and_letters_count_in_a_size() {
        let bytes = |size| size_param("min_size", size).unwrap();
        assert_eq!(bytes("200"), 200.0);
        assert_eq!(bytes("120 KiB"), 122_880.0);
        assert_eq!(bytes("1.5MB"), 15_728_640.0);
        assert_eq!(bytes("-5kb"), 5_120.0);
        assert_eq!(bytes("0.01mb"), 1_048_576.0);
        assert_eq!(bytes("1YB"), 2_f64.powi(80));
        assert!(size_param("min_size", "MB").is_err());
        assert!(size_param("min_size", "5 bytes").is_err());
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let params = Params {
            min_size: "x".into(),
            max_size: "1 parsec".into(),
            ..Params::default()
        };
        let problems = build(params, &BuildContext::default()).err().unwrap();
        assert_eq!(problems.len(), 2);
    }
}
