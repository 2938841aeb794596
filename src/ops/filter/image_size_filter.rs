//! Keeps rows whose image files have a size within a range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    AnyOrAll, Bounds, BuildContext, Filter, ImageNeed, Measured, Operator, ParamError, Verdict,
    operator,
};
use crate::sample::{RowError, Sample, StatKey, StatValue, Stats, originals};

operator! {
    /// Keeps rows whose image files have between `min_size` and `max_size` bytes.
    ///
    /// A size is a whole number with an optional unit, such as `120KB`: kB, MB, GB, TB, PB, EB,
    /// ZB, YB, or with an i (`KiB`), in any case, all powers of 1024; without a unit it is bytes.
    /// Everything but digits and letters is ignored, so that `1.5MB` means 15 MB. With
    /// `any_or_all: any` one image within the range keeps the row, with `all` every image must
    /// be; a row without images stays. Both ends are inclusive. Files are not opened.
    ///
    /// ## Stats
    /// `image_sizes`: list of integers, bytes, one an image, in list order.
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
    image_size_filter: Filter(Params) => build
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

const KEY: &str = "image_sizes";
const STATS: [StatKey; 1] = [StatKey::Borrowed(KEY)];

struct ImageSize {
    bounds: Bounds,
    any_or_all: AnyOrAll,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let min = parse_size("min_size", &params.min_size);
    let max = parse_size("max_size", &params.max_size);
    match (min, max) {
        (Ok(min), Ok(max)) => Ok(Operator::Filter(Box::new(ImageSize {
            bounds: Bounds::new(
                ("min_size", Some(min)),
                ("max_size", Some(max)),
                &context.base,
            )?,
            any_or_all: params.any_or_all,
        }))),
        (min, max) => Err([min.err(), max.err()].into_iter().flatten().collect()),
    }
}

impl Filter for ImageSize {
    fn stats(&self) -> &[StatKey] {
        &STATS
    }

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

    fn decide(&self, stats: &Stats) -> Verdict {
        self.bounds.decide_list(KEY, stats, self.any_or_all)
    }

    fn image_need(&self) -> ImageNeed {
        ImageNeed::FileSize
    }
}

/// Bytes of a size as Data-Juicer reads it: its digits make the number, its letters the unit.
fn parse_size(param: &'static str, size: &str) -> Result<f64, ParamError> {
    let hint = "write a whole number and a unit, such as 120KB or 20MB";
    let digits: String = size.chars().filter(char::is_ascii_digit).collect();
    let unit: String = size
        .chars()
        .filter(|c| c.is_alphabetic())
        .flat_map(char::to_lowercase)
        .collect();
    let number: f64 = digits.parse().map_err(|_| {
        ParamError::new(param, format!("{param} '{size}' has no number")).hint(hint)
    })?;
    let power = match unit.as_str() {
        "" => 0,
        "kb" | "kib" => 1,
        "mb" | "mib" => 2,
        "gb" | "gib" => 3,
        "tb" | "tib" => 4,
        "pb" | "pib" => 5,
        "eb" | "eib" => 6,
        "zb" | "zib" => 7,
        "yb" | "yib" => 8,
        other => {
            return Err(ParamError::new(
                param,
                format!("{param} '{size}' has an unknown unit '{other}'"),
            )
            .hint(hint));
        }
    };
    Ok(number * 1024_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn only_digits_and_letters_count_in_a_size() {
        let bytes = |size| parse_size("min_size", size).unwrap();
        assert_eq!(bytes("200"), 200.0);
        assert_eq!(bytes("120 KiB"), 122_880.0);
        assert_eq!(bytes("1.5MB"), 15_728_640.0);
        assert_eq!(bytes("-5kb"), 5_120.0);
        assert_eq!(bytes("0.01mb"), 1_048_576.0);
        assert_eq!(bytes("1YB"), 2_f64.powi(80));
        assert!(parse_size("min_size", "MB").is_err());
        assert!(parse_size("min_size", "5 bytes").is_err());
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
