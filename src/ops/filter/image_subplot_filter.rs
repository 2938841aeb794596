//! Drops rows whose images look like a grid of plots, by the straight lines in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::smallvec;

use super::line_grid::{GridRule, LineGrid};
use crate::image::{SegmentRule, edges, segments};
use crate::op::{
    AnyOrAll, Bounds, BuildContext, Facts, Filter, ImageNeed, Measured, Operator, ParamError,
    StatDef, StatType, Verdict, operator,
};
use crate::sample::{ImageSlot, RowError, Sample, StatValue, Stats, originals};

operator! {
    /// Drops rows whose images look like a grid of plots: straight lines along and across them,
    /// evenly spaced.
    ///
    /// A picture is made grey and blurred; Canny's detector finds its edges, and a probabilistic
    /// Hough transform finds straight segments among them, in steps of one pixel and one degree.
    /// A segment that differs from the horizontal or the vertical by at most `angle_tolerance`
    /// degrees counts for that direction. (The order in which the transform meets a line's ends
    /// is kept: a line of -177° is none.) The confidence is 0 without lines in both directions,
    /// else the sum of these, at most 1:
    ///
    /// - 0.2 for each direction: its lines over `min_horizontal_lines` or `min_vertical_lines`,
    ///   at most 1.
    /// - 0.15 for each direction: 1 less the deviation of the distances between neighbouring lines
    ///   over their mean, at least 0; half of it if the mean is less than 5 % of the picture's
    ///   side. 0 for a single line, or lines in one place.
    /// - 0.2: lines across times lines down, a thousandfold, over the picture's pixels, at most 1;
    ///   0 unless there are two each way.
    /// - 0.05 for each direction: 1 less the deviation of the lengths over their mean, at least 0;
    ///   half of it if the mean is less than 30 % of the side. 0 for a single line.
    ///
    /// A picture has subplots if its confidence is at least `min_confidence` and it has at least
    /// `min_horizontal_lines` and `min_vertical_lines`. With `any_or_all: any` one such picture
    /// drops the row, with `all` only a row where every picture has them goes. A row without
    /// images stays. With a least number of lines of 0, a picture with lines in both directions
    /// counts as one without any, as in Data-Juicer.
    ///
    /// `subplot_detected` says whether the greatest confidence reaches the limit; it is `false`
    /// without images.
    ///
    /// ## Example
    /// ```yaml
    /// - image_subplot_filter: {min_confidence: 0.6}
    /// ```
    /// ```json
    /// {"in": {"text": "no image", "images": []}, "out": {"text": "no image", "images": []}, "stats": {"image_subplot_confidence": [], "horizontal_peak_count": [], "vertical_peak_count": [], "subplot_detected": false}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_subplot_filter` with OpenCV 4.14: same edges, lines and stats. With
    /// OpenCV 5.0, which finds the same lines but lays them out in another way, Data-Juicer takes
    /// every picture with lines for a failure and answers 0: nothing is ever dropped. There an
    /// unreadable image costs the whole batch, here its row is quarantined. OpenCV 4.14 is not
    /// defined for sides above 32,767 pixels; here they are measured, and pictures whose lines
    /// would need more than 512 MiB of counters (sides of some million pixels) are quarantined.
    /// `min_closed_interval`, `max_closed_interval` and `reversed_range` change nothing, as there. A
    /// column of image bytes (`image_bytes_key`) is not read.
    image_subplot_filter: Filter(Params) => build,
    Facts {
        stats: &[CONFIDENCE, HORIZONTAL, VERTICAL, DETECTED],
        images: |_| ImageNeed::Pixels,
        ..Facts::OF_IMAGES
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Fewest horizontal lines of a picture with subplots, inclusive.
    min_horizontal_lines: i64,
    /// Fewest vertical lines of a picture with subplots, inclusive.
    min_vertical_lines: i64,
    /// Least confidence of a picture with subplots, inclusive.
    min_confidence: f64,
    /// Whether one picture with subplots drops a row, or only all of them together.
    any_or_all: AnyOrAll,
    /// One threshold of the edge detector, of gradients from 0 to 2040, exclusive; the lower one
    /// of both carries edges on.
    canny_threshold1: i64,
    /// The other threshold; the higher one of both starts edges.
    canny_threshold2: i64,
    /// Fewest edge pixels on a line that is looked at, inclusive.
    hough_threshold: i64,
    /// Least extent of a line, along its longer axis, in pixels, inclusive.
    min_line_length: i64,
    /// Widest gap within a line, in pixels, inclusive.
    max_line_gap: i64,
    /// How far lines may be off the horizontal or the vertical, in degrees, inclusive.
    angle_tolerance: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_horizontal_lines: 3,
            min_vertical_lines: 3,
            min_confidence: 0.5,
            any_or_all: AnyOrAll::Any,
            canny_threshold1: 70,
            canny_threshold2: 190,
            hough_threshold: 110,
            min_line_length: 110,
            max_line_gap: 18,
            angle_tolerance: 4.0,
        }
    }
}

// The limits say what has subplots, not what is kept, and the stats depend on them: they bound none.
const CONFIDENCE: StatDef = StatDef::new("image_subplot_confidence", StatType::Numbers);
const HORIZONTAL: StatDef = StatDef::new("horizontal_peak_count", StatType::Integers).unit("lines");
const VERTICAL: StatDef = StatDef::new("vertical_peak_count", StatType::Integers).unit("lines");
const DETECTED: StatDef = StatDef::new("subplot_detected", StatType::Flag);

struct ImageSubplot {
    thresholds: [i32; 2],
    segments: SegmentRule,
    grid: GridRule,
    min_confidence: f64,
    any_or_all: AnyOrAll,
}

fn build(params: Params, _context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut errors = Vec::new();
    let mut whole = |name: &str, value: i64| {
        i32::try_from(value).unwrap_or_else(|_| {
            errors.push(
                ParamError::new(name, format!("{name} is {value}"))
                    .hint("give a whole number of at most 32 bits"),
            );
            0
        })
    };
    let filter = ImageSubplot {
        thresholds: [
            whole("canny_threshold1", params.canny_threshold1),
            whole("canny_threshold2", params.canny_threshold2),
        ],
        segments: SegmentRule {
            votes: whole("hough_threshold", params.hough_threshold),
            min_length: whole("min_line_length", params.min_line_length),
            max_gap: whole("max_line_gap", params.max_line_gap),
        },
        grid: GridRule {
            min_horizontal: params.min_horizontal_lines,
            min_vertical: params.min_vertical_lines,
            tolerance: params.angle_tolerance,
        },
        min_confidence: params.min_confidence,
        any_or_all: params.any_or_all,
    };
    if errors.is_empty() {
        Ok(Operator::Filter(Box::new(filter)))
    } else {
        Err(errors)
    }
}

impl ImageSubplot {
    fn grid(&self, slot: &ImageSlot) -> Result<LineGrid, RowError> {
        let image = slot.pixels()?;
        let [one, other] = self.thresholds;
        let lines = segments(&edges(image, one, other), self.segments).ok_or_else(|| {
            RowError::new(
                "image_too_large",
                format!(
                    "image '{}': {}x{} pixels are too many along a side to look for lines",
                    slot.written().escape_debug(),
                    image.width(),
                    image.height()
                ),
            )
        })?;
        Ok(LineGrid::of(
            &lines,
            image.width(),
            image.height(),
            self.grid,
        ))
    }
}

impl Filter for ImageSubplot {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let slots = sample.images()?;
        let mut grids: Vec<LineGrid> = Vec::with_capacity(slots.len());
        let originals = originals(slots);
        for (slot, original) in slots.iter().zip(&originals) {
            // A path that is listed again has its grid already.
            let known = slots.iter().position(|s| std::ptr::eq(s, *original));
            let grid = match known.and_then(|at| grids.get(at)) {
                Some(grid) => *grid,
                None => self.grid(slot)?,
            };
            grids.push(grid);
        }
        let detected = grids
            .iter()
            .map(|grid| grid.confidence)
            .reduce(f64::max)
            .is_some_and(|most| most >= self.min_confidence);
        Ok(smallvec![
            StatValue::Floats(grids.iter().map(|grid| grid.confidence).collect()),
            StatValue::Ints(grids.iter().map(|grid| grid.horizontal).collect()),
            StatValue::Ints(grids.iter().map(|grid| grid.vertical).collect()),
            StatValue::json(Value::Bool(detected)),
        ])
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn decide_within(&self, _: &[Bounds], stats: &Stats) -> Verdict {
        let list = |key: &str| stats.get(key).and_then(StatValue::as_list);
        let limit = || format!("min_confidence: {}", self.min_confidence);
        let value = || {
            let value = stats.get(CONFIDENCE.name()).cloned();
            value.unwrap_or_else(StatValue::null)
        };
        let (Some(confidences), Some(across), Some(down)) = (
            list(CONFIDENCE.name()),
            list(HORIZONTAL.name()),
            list(VERTICAL.name()),
        ) else {
            return Verdict::drop(CONFIDENCE.name(), value(), limit());
        };
        let mut counts = across.iter().zip(&down);
        let mut has_subplots = confidences.iter().map(|&confidence| {
            let enough = counts.next().is_some_and(|(&across, &down)| {
                across >= self.grid.min_horizontal as f64 && down >= self.grid.min_vertical as f64
            });
            confidence >= self.min_confidence && enough
        });
        let drops = match self.any_or_all {
            AnyOrAll::Any => has_subplots.any(|has| has),
            AnyOrAll::All => !confidences.is_empty() && has_subplots.all(|has| has),
        };
        if drops {
            Verdict::drop(CONFIDENCE.name(), value(), limit())
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::testing::{build_filter, check_row};

    fn decide(params: &str, confidences: &[f64], across: &[i64], down: &[i64]) -> bool {
        let filter = build_filter("image_subplot_filter", params).unwrap();
        let mut stats = Stats::default();
        stats.set(CONFIDENCE.name(), StatValue::Floats(confidences.into()));
        stats.set(HORIZONTAL.name(), StatValue::Ints(across.into()));
        stats.set(VERTICAL.name(), StatValue::Ints(down.into()));
        filter.decide(&stats) == Verdict::Keep
    }

    #[test]
    fn confidence_and_both_counts_must_be_reached() {
        assert!(!decide("{}", &[0.5], &[3], &[3]));
        assert!(decide("{}", &[0.499], &[3], &[3]));
        assert!(decide("{}", &[0.5], &[2], &[3]));
        assert!(decide("{}", &[0.5], &[3], &[2]));
        // The counts of the same picture, not of another.
        assert!(decide("{}", &[0.9, 0.1], &[2, 9], &[9, 9]));
    }

    #[test]
    fn one_or_all_pictures_have_subplots() {
        let pictures: (&[f64], &[i64], &[i64]) = (&[0.9, 0.1], &[9, 9], &[9, 9]);
        assert!(!decide("{}", pictures.0, pictures.1, pictures.2));
        let all = r#"{"any_or_all": "all"}"#;
        assert!(decide(all, pictures.0, pictures.1, pictures.2));
        assert!(!decide(all, &[0.9], &[9], &[9]));
        for params in ["{}", all, r#"{"min_confidence": 0}"#] {
            assert!(decide(params, &[], &[], &[]));
        }
    }

    #[test]
    fn no_images_no_subplots() {
        let none = r#"{"image_subplot_confidence": [], "horizontal_peak_count": [], "vertical_peak_count": [], "subplot_detected": false} keep"#;
        let params = r#"{"min_confidence": -1.0}"#;
        check_row("image_subplot_filter", params, r#"{"images": null}"#, none);
        check_row("image_subplot_filter", params, r#"{"text": "a"}"#, none);
        let missing = r#"{"images": ["no/such/file.png"]}"#;
        check_row("image_subplot_filter", "{}", missing, "image_missing");
    }

    #[test]
    fn numbers_beyond_32_bits_are_refused() {
        for name in ["canny_threshold1", "hough_threshold", "max_line_gap"] {
            for value in ["2147483648", "-2147483649"] {
                let params = format!(r#"{{"{name}": {value}}}"#);
                assert!(build_filter("image_subplot_filter", &params).is_err());
            }
        }
        assert!(build_filter("image_subplot_filter", r#"{"hough_threshold": -5}"#).is_ok());
    }
}
