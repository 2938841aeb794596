//! Keeps rows whose images have a width and a height within ranges.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    AnyOrAll, Bounds, BuildContext, Facts, Filter, ImageNeed, Measured, Operator, ParamError,
    StatDef, StatType, Verdict, operator,
};
use crate::sample::{RowError, Sample, StatValue, Stats, originals};

operator! {
    /// Keeps rows whose images are between `min_width` and `max_width` pixels wide and between
    /// `min_height` and `max_height` pixels high.
    ///
    /// Both ranges must hold for the same image. With `any_or_all: any` one such image keeps the
    /// row, with `all` every image must pass; a row without images stays. Sizes are those of the
    /// picture as it is seen: an EXIF orientation that lies it on its side swaps them. All ends
    /// are inclusive. Only the file's header is read.
    ///
    /// ## Example
    /// ```yaml
    /// - image_shape_filter: {min_width: 336, min_height: 336, any_or_all: all}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_width": [], "image_height": []}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_shape_filter`: same for every image that can be read. There an
    /// unreadable image costs the whole batch, here its row is quarantined. There images are
    /// decoded; here a file that is damaged behind its header passes and is found by the
    /// operator or output that decodes it. A column of image bytes (`image_bytes_key`) is not
    /// read.
    image_shape_filter: Filter(Params) => build,
    Facts {
        stats: &[WIDTH, HEIGHT],
        images: |_| ImageNeed::Header,
        decides: &["any_or_all"],
        analysis: Some("{}"),
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Least width kept, in pixels, inclusive.
    min_width: Option<i64>,
    /// Greatest width kept, in pixels, inclusive; no limit by default.
    max_width: Option<i64>,
    /// Least height kept, in pixels, inclusive.
    min_height: Option<i64>,
    /// Greatest height kept, in pixels, inclusive; no limit by default.
    max_height: Option<i64>,
    /// Whether one image or every image of a row must pass.
    any_or_all: AnyOrAll,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_width: Some(1),
            max_width: None,
            min_height: Some(1),
            max_height: None,
            any_or_all: AnyOrAll::Any,
        }
    }
}

const WIDTH: StatDef = StatDef::new("image_width", StatType::Integers)
    .unit("pixels")
    .min("min_width")
    .max("max_width");
const HEIGHT: StatDef = StatDef::new("image_height", StatType::Integers)
    .unit("pixels")
    .min("min_height")
    .max("max_height");

struct ImageShape {
    /// Those of the width and of the height.
    bounds: [Bounds; 2],
    any_or_all: AnyOrAll,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let width = Bounds::counts(&WIDTH, params.min_width, params.max_width, &context.base);
    let height = Bounds::counts(&HEIGHT, params.min_height, params.max_height, &context.base);
    match (width, height) {
        (Ok(width), Ok(height)) => Ok(Operator::Filter(Box::new(ImageShape {
            bounds: [width, height].map(|range| range.mode(params.any_or_all)),
            any_or_all: params.any_or_all,
        }))),
        (width, height) => Err([width.err(), height.err()]
            .into_iter()
            .flatten()
            .flatten()
            .collect()),
    }
}

impl Filter for ImageShape {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let images = originals(sample.images()?);
        let headers = images
            .iter()
            .map(|image| image.header())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(smallvec![
            StatValue::Ints(headers.iter().map(|h| i64::from(h.width)).collect()),
            StatValue::Ints(headers.iter().map(|h| i64::from(h.height)).collect()),
        ])
    }

    fn bounds(&self) -> &[Bounds] {
        &self.bounds
    }

    fn decide_within(&self, bounds: &[Bounds], stats: &Stats) -> Verdict {
        let [width_range, height_range] = bounds else {
            return Verdict::Keep;
        };
        let list = |key: &str| stats.get(key).and_then(StatValue::as_list);
        let (Some(widths), Some(heights)) = (list(WIDTH.name()), list(HEIGHT.name())) else {
            let null = StatValue::null();
            return Verdict::drop(WIDTH.name(), null, width_range.limit(f64::NAN));
        };
        let passes = widths
            .iter()
            .zip(&heights)
            .map(|(&width, &height)| width_range.keeps(width) && height_range.keeps(height));
        if self
            .any_or_all
            .combine(passes.collect::<Vec<_>>().into_iter())
        {
            return Verdict::Keep;
        }
        // The first side that fails tells why.
        let wide = widths.iter().find(|&&width| !width_range.keeps(width));
        let (key, limit) = if let Some(&width) = wide {
            (WIDTH.name(), width_range.limit(width))
        } else {
            let high = heights.iter().find(|&&height| !height_range.keeps(height));
            (
                HEIGHT.name(),
                height_range.limit(high.copied().unwrap_or(f64::NAN)),
            )
        };
        let value = stats.get(key).cloned();
        Verdict::drop(key, value.unwrap_or_else(StatValue::null), limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(params: Params, widths: &[i64], heights: &[i64]) -> Verdict {
        let Ok(Operator::Filter(filter)) = build(params, &BuildContext::default()) else {
            panic!("a filter");
        };
        let mut stats = Stats::default();
        stats.set(WIDTH.name(), StatValue::Ints(widths.into()));
        stats.set(HEIGHT.name(), StatValue::Ints(heights.into()));
        filter.decide(&stats)
    }

    #[test]
    fn one_image_must_have_both_sides_right() {
        let params = |any_or_all| Params {
            min_width: Some(100),
            min_height: Some(100),
            any_or_all,
            ..Params::default()
        };
        assert_eq!(decide(params(AnyOrAll::Any), &[], &[]), Verdict::Keep);
        assert_eq!(
            decide(params(AnyOrAll::Any), &[100, 9], &[100, 9]),
            Verdict::Keep
        );
        assert_ne!(
            decide(params(AnyOrAll::Any), &[100, 9], &[9, 100]),
            Verdict::Keep
        );
        let Verdict::Drop(why) = decide(params(AnyOrAll::All), &[100, 200], &[100, 9]) else {
            panic!("dropped");
        };
        assert_eq!(
            (why.stat.as_ref(), why.limit.as_str()),
            (HEIGHT.name(), "min_height: 100")
        );
    }
}
