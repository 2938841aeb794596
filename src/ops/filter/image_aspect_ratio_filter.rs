//! Keeps rows whose images have a ratio of width to height within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    AnyOrAll, Bounds, BuildContext, Facts, Filter, ImageNeed, Measured, Operator, ParamError,
    StatDef, StatType, operator,
};
use crate::sample::{RowError, Sample, StatValue, originals};

operator! {
    /// Keeps rows whose images have a ratio of width to height between `min_ratio` and
    /// `max_ratio`.
    ///
    /// The ratio is width / height of the picture as it is seen: an EXIF orientation that lies
    /// it on its side swaps them. With `any_or_all: any` one image within the range keeps the
    /// row, with `all` every image must be; a row without images stays. Both ends are inclusive.
    /// Only the file's header is read.
    ///
    /// ## Example
    /// ```yaml
    /// - image_aspect_ratio_filter: {min_ratio: 0.5, max_ratio: 2.0}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"aspect_ratios": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_aspect_ratio_filter`: same for every image that can be read.
    /// There an unreadable image or a dataset without the image field fails the batch; here the
    /// row with the image is quarantined, and a missing field means no images. There images are
    /// decoded; here a file that is damaged behind its header passes and is found by the
    /// operator or output that decodes it. A column of image bytes (`image_bytes_key`) is not
    /// read.
    image_aspect_ratio_filter: Filter(Params) => build,
    Facts {
        stats: &[RATIOS],
        analysis: Some("{}"),
        images: |_| ImageNeed::Header,
        decides: &["any_or_all"],
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Least width / height kept, inclusive.
    min_ratio: Option<f64>,
    /// Greatest width / height kept, inclusive.
    max_ratio: Option<f64>,
    /// Whether one image or every image of a row must pass.
    any_or_all: AnyOrAll,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_ratio: Some(0.333),
            max_ratio: Some(3.0),
            any_or_all: AnyOrAll::Any,
        }
    }
}

const RATIOS: StatDef = StatDef::new("aspect_ratios", StatType::Numbers)
    .unit("width / height")
    .min("min_ratio")
    .max("max_ratio");

struct AspectRatio {
    bounds: Bounds,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Filter(Box::new(AspectRatio {
        bounds: Bounds::new(&RATIOS, params.min_ratio, params.max_ratio, &context.base)?
            .mode(params.any_or_all),
    })))
}

impl Filter for AspectRatio {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let ratios = originals(sample.images()?)
            .iter()
            .map(|image| {
                let header = image.header()?;
                Ok(f64::from(header.width) / f64::from(header.height))
            })
            .collect::<Result<_, RowError>>()?;
        Ok(smallvec![StatValue::Floats(ratios)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Verdict;
    use crate::sample::Stats;

    fn keeps(any_or_all: AnyOrAll, ratios: &[f64]) -> bool {
        let params = Params {
            any_or_all,
            ..Params::default()
        };
        let Ok(Operator::Filter(filter)) = build(params, &BuildContext::default()) else {
            panic!("a filter");
        };
        let mut stats = Stats::default();
        stats.set(RATIOS.name(), StatValue::Floats(ratios.into()));
        filter.decide(&stats) == Verdict::Keep
    }

    #[test]
    fn one_or_all_ratios_must_lie_within() {
        assert!(keeps(AnyOrAll::All, &[]));
        assert!(keeps(AnyOrAll::All, &[0.333, 3.0]));
        assert!(keeps(AnyOrAll::Any, &[9.0, 1.0]));
        assert!(!keeps(AnyOrAll::All, &[9.0, 1.0]));
        assert!(!keeps(AnyOrAll::Any, &[f64::NAN, 0.3]));
    }
}
