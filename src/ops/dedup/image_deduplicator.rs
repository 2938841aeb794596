//! Drops rows whose images look the same as those of an earlier row.

use std::borrow::Cow;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::hash::text_digest;
use crate::image::HashMethod;
use crate::note::Code;
use crate::op::{
    BandDeduplicator, BuildContext, ExactDeduplicator, Facts, Field, ImageNeed, Joins, Operator,
    ParamError, SharedHash, operator,
};
use crate::sample::{FieldPath, ImageSlot, RowError, Sample, originals};

operator! {
    /// Drops rows whose images have the same perceptual hashes as those of an earlier row.
    ///
    /// The hash of a row is the sequence of the 64-bit hashes of its images, in list order; a
    /// path that is listed twice counts once. Hashes are compared for equality, so pictures that
    /// differ in a single bit are different. A row without images is always kept, unless
    /// `consider_text` is set: then rows are the same if images and text are, and rows without
    /// images are compared by text alone. The text counts without white space at its ends.
    /// Pictures of one flat colour all have the same hash.
    ///
    /// With a `threshold`, rows of one picture whose hashes differ in at most so many bits are
    /// joined; of all rows joined, directly or through others, the first one stays. A row of
    /// several different pictures is still compared by equality. Every pair within the threshold is
    /// found, without comparing all pairs. Such a step decides once all rows are known.
    ///
    /// With `scaled_decode` too, JPEGs are decoded in grey at the smallest scale that the hash can do
    /// with, which takes about half the time. Their hashes differ in a few bits from those of all
    /// pixels, always by the same bits for the same file, and are only compared with each other:
    /// pairs near the threshold may come out the other way. `benches/RESULTS.md` has figures.
    ///
    /// ## Example
    /// ```yaml
    /// - image_deduplicator: {method: phash, consider_text: true}
    /// ```
    /// ```json
    /// {"rows": [{"text": "a", "images": []}, {"text": "b", "images": []}, {"text": "a ", "images": []}], "out": [{"text": "a", "images": []}, {"text": "b", "images": []}]}
    /// ```
    ///
    /// ## Peer
    /// `threshold` and `scaled_decode` are djr's own; a threshold of 0 is Data-Juicer's answer.
    /// Data-Juicer 1.6.1 `image_deduplicator` with Pillow 13.0.0 (Pillow 12 and older resize tall
    /// pictures in another order, which changes some hashes): same bits. A truncated image, which
    /// Data-Juicer hashes with a grey rest, is quarantined with its row. Columns
    /// `__dj__imagehash`, `__dj__hash` and image bytes (`image_bytes_key`) in the input are not
    /// read. It takes `lowercase` and `ignore_non_character` only with its strict preflight off.
    image_deduplicator: Deduplicator(Params) => build,
    Facts {
        reads: &[Field::TextWith("consider_text"), Field::Images],
        images: |params| match params.get("scaled_decode") {
            Some(serde_json::Value::Bool(true)) => ImageNeed::Scaled,
            _ => ImageNeed::Pixels,
        },
        hashes: |params| {
            let is = |name| params.get(name) == Some(&serde_json::Value::Bool(true));
            match (is("scaled_decode"), is("consider_text")) {
                (false, false) => &[SharedHash::Images],
                (false, true) => &[SharedHash::Images, SharedHash::Text],
                (true, true) => &[SharedHash::Text],
                (true, false) => &[],
            }
        },
        compares: &["threshold"],
        ..Facts::NONE
    }
}

/// How pictures are hashed.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::ops) enum Method {
    /// Low frequencies of a 32 × 32 miniature against their median.
    #[default]
    Phash,
    /// Each pixel of a 9 × 8 miniature against its left neighbour.
    Dhash,
    /// Wavelet averages of a 256 × 256 miniature against their median.
    Whash,
    /// Each pixel of an 8 × 8 miniature against the mean.
    Ahash,
}

impl Method {
    /// As recipes write it.
    pub(in crate::ops) fn word(self) -> &'static str {
        match self {
            Self::Phash => "phash",
            Self::Dhash => "dhash",
            Self::Whash => "whash",
            Self::Ahash => "ahash",
        }
    }
}

impl From<Method> for HashMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Phash => Self::Phash,
            Method::Dhash => Self::Dhash,
            Method::Whash => Self::Whash,
            Method::Ahash => Self::Ahash,
        }
    }
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter")]
struct Params {
    /// The perceptual hash.
    method: Method,
    /// Compare the text too.
    consider_text: bool,
    /// With `consider_text`: compare texts in lower case.
    lowercase: bool,
    /// With `consider_text`: compare texts without white space, decimal digits and ASCII
    /// punctuation.
    ignore_non_character: bool,
    /// Most bits, of 64, in which the hashes of near pictures differ, inclusive; at most 12.
    threshold: u32,
    /// Hash JPEGs decoded at reduced scale; needs a threshold.
    scaled_decode: bool,
}

/// The greatest threshold: beyond it unlike pictures are joined, and the search gets slow.
const MAX_THRESHOLD: u32 = 12;

struct ImageDeduplicator {
    method: HashMethod,
    text: Option<TextHash>,
}

/// How texts are compared, as `document_deduplicator` does.
struct TextHash {
    key: FieldPath,
    lowercase: bool,
    ignore_non_character: bool,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if !params.consider_text && (params.lowercase || params.ignore_non_character) {
        let param = if params.lowercase {
            "lowercase"
        } else {
            "ignore_non_character"
        };
        return Err(vec![
            ParamError::new(
                param,
                format!("{param} says how texts are compared, and they are not"),
            )
            .hint("add consider_text: true"),
        ]);
    }
    let exact = ImageDeduplicator {
        method: params.method.into(),
        text: params.consider_text.then(|| TextHash {
            key: context.base.text_key.clone(),
            lowercase: params.lowercase,
            ignore_non_character: params.ignore_non_character,
        }),
    };
    match params.threshold {
        0 if params.scaled_decode => Err(vec![
            ParamError::new(
                "scaled_decode",
                "scaled_decode without a threshold: hashes of reduced pictures are near, not equal",
            )
            .hint("add threshold: 4, or leave scaled_decode out"),
        ]),
        0 => Ok(Operator::Exact(Box::new(exact))),
        1..=MAX_THRESHOLD => Ok(Operator::Near(Box::new(NearImages {
            exact,
            threshold: params.threshold,
            scaled: params.scaled_decode,
        }))),
        other => Err(vec![
            ParamError::new(
                "threshold",
                format!("threshold is {other}, more than {MAX_THRESHOLD} of 64 bits"),
            )
            .hint("4 to 8 finds recompressed and resized copies"),
        ]),
    }
}

/// The same with a threshold.
struct NearImages {
    exact: ImageDeduplicator,
    threshold: u32,
    scaled: bool,
}

impl BandDeduplicator for NearImages {
    fn bands(&self) -> usize {
        2
    }

    fn parted(&self) -> bool {
        true
    }

    /// First what must be equal (the text if it counts, and all hashes but a single one), then the
    /// hash of a single picture.
    fn keys(&self, sample: &Sample, out: &mut Vec<u64>) -> Result<(), RowError> {
        let text = self
            .exact
            .text
            .as_ref()
            .map(|text| text.of(sample))
            .transpose()?;
        let images = if self.scaled {
            Cow::Owned(reduced_digits(sample, self.exact.method)?)
        } else {
            Cow::Borrowed(self.exact.image_hash(sample)?)
        };
        let single = (images.len() == 16)
            .then(|| u64::from_str_radix(&images, 16).ok())
            .flatten();
        let (equal, near) = match single {
            Some(hash) => ("one", hash),
            None if images.is_empty() && text.is_none() => {
                out.extend([0, 0]);
                return Ok(());
            }
            None => (&*images, 0),
        };
        let text = text.as_ref().map_or(&[][..], |text| &text[..]);
        let part = xxh3_64(&[equal.as_bytes(), b"|", text].concat());
        out.extend([part.max(1), near]);
        Ok(())
    }

    fn joins(&self) -> Joins {
        Joins::Within(self.threshold)
    }
}

impl ExactDeduplicator for ImageDeduplicator {
    fn key(&self, sample: &Sample) -> Result<Option<u128>, RowError> {
        let text = self.text.as_ref().map(|text| text.of(sample)).transpose()?;
        let images = self.image_hash(sample)?;
        Ok(match text {
            None if images.is_empty() => None,
            None => Some(xxh3_128(images.as_bytes())),
            Some(text) => Some(xxh3_128(&[images.as_bytes(), b"|", &text].concat())),
        })
    }
}

impl ImageDeduplicator {
    fn image_hash<'s>(&self, sample: &'s Sample) -> Result<&'s str, RowError> {
        if let Some(known) = sample.hashes.image.get() {
            return Ok(known);
        }
        let digits = image_digits(sample, self.method)?;
        Ok(sample.hashes.image.get_or_init(|| digits))
    }
}

/// The hexadecimal hashes of the row's distinct images, one after the other.
pub(super) fn image_digits(sample: &Sample, method: HashMethod) -> Result<String, RowError> {
    digits_of(sample, |slot| slot.hash(method))
}

/// The same of the images at reduced scale.
fn reduced_digits(sample: &Sample, method: HashMethod) -> Result<String, RowError> {
    digits_of(sample, |slot| slot.reduced_hash(method))
}

fn digits_of(
    sample: &Sample,
    hash: impl Fn(&ImageSlot) -> Result<(u64, bool), RowError>,
) -> Result<String, RowError> {
    let mut all_blank = true;
    let slots = sample.images()?;
    let mut digits = String::with_capacity(slots.len() * 16);
    for (slot, original) in slots.iter().zip(originals(slots)) {
        if std::ptr::eq(slot, original) {
            let (hash, blank) = hash(slot)?;
            all_blank &= blank;
            // Writing to a string cannot fail.
            let _ = write!(digits, "{hash:016x}");
        }
    }
    if all_blank && !digits.is_empty() {
        sample.remark(Code::BlankImages);
    }
    Ok(digits)
}

impl TextHash {
    fn of(&self, sample: &Sample) -> Result<[u8; 16], RowError> {
        if let Some(known) = sample.hashes.text.get() {
            return Ok(*known);
        }
        let text = sample.required_text(&self.key)?;
        let digest = text_digest(&text, self.lowercase, self.ignore_non_character);
        Ok(*sample.hashes.text.get_or_init(|| digest))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::sample::{ImageContext, Origin};

    fn key(consider_text: bool, root: &Path, line: &str) -> Option<u128> {
        let params = Params {
            consider_text,
            ..Params::default()
        };
        let Ok(Operator::Exact(op)) = build(params, &BuildContext::default()) else {
            panic!("an exact deduplicator");
        };
        let context = ImageContext {
            roots: vec![root.to_owned()],
            ..ImageContext::default()
        };
        let sample = Sample::parse(line.to_owned(), Origin::default(), Arc::new(context)).unwrap();
        op.key(&sample).unwrap()
    }

    #[test]
    fn texts_are_compared_as_coarsely_as_asked() {
        let params = |text: bool, lowercase: bool| Params {
            consider_text: text,
            lowercase,
            ignore_non_character: lowercase,
            ..Params::default()
        };
        let key = |params: Params, text: &str| {
            let Ok(Operator::Exact(op)) = build(params, &BuildContext::default()) else {
                panic!("an exact deduplicator");
            };
            let line = serde_json::json!({"text": text, "images": []}).to_string();
            let context = Arc::new(ImageContext::default());
            op.key(&Sample::parse(line, Origin::default(), context).unwrap())
                .unwrap()
        };
        let (a, b) = ("A dog.", " a dog 2");
        assert_ne!(key(params(true, false), a), key(params(true, false), b));
        assert_eq!(key(params(true, true), a), key(params(true, true), b));
        let errors = build(params(false, true), &BuildContext::default())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(errors[0].param.as_deref(), Some("lowercase"));
    }

    #[test]
    fn images_are_compared_in_order_and_once_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let save = |name: &str, level: u8| {
            let gradient = image::RgbImage::from_fn(40, 30, |x, y| {
                image::Rgb([
                    u8::try_from(x * 6).unwrap() ^ level,
                    u8::try_from(y).unwrap(),
                    0,
                ])
            });
            gradient
                .save_with_format(dir.path().join(name), image::ImageFormat::Png)
                .unwrap();
        };
        save("a", 0);
        save("b", 0xf0);
        save("copy", 0);
        let key = |text: bool, line: &str| key(text, dir.path(), line);
        let a = key(false, r#"{"text": "1", "images": ["a"]}"#);
        assert_eq!(a, key(false, r#"{"text": "2", "images": ["copy"]}"#));
        assert_eq!(a, key(false, r#"{"images": ["a", "a"]}"#));
        assert_ne!(a, key(false, r#"{"images": ["a", "copy"]}"#));
        assert_ne!(
            key(false, r#"{"images": ["a", "b"]}"#),
            key(false, r#"{"images": ["b", "a"]}"#)
        );
        assert_ne!(
            key(true, r#"{"text": "1", "images": ["a"]}"#),
            key(true, r#"{"text": "2", "images": ["a"]}"#)
        );
    }

    #[test]
    fn a_threshold_joins_single_pictures_and_parts_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        for (name, level) in [("a", 0), ("b", 3)] {
            let gradient = image::RgbImage::from_fn(40, 30, |x, y| {
                let bright = u8::try_from((x * x * 3 + y * y * 5 + x * y) % 200).unwrap();
                image::Rgb([bright, bright.saturating_add(level), 0])
            });
            let path = dir.path().join(name);
            gradient
                .save_with_format(path, image::ImageFormat::Png)
                .unwrap();
        }
        let keys = |consider_text: bool, line: &str| {
            let params = Params {
                consider_text,
                threshold: 8,
                ..Params::default()
            };
            let Ok(Operator::Near(op)) = build(params, &BuildContext::default()) else {
                panic!("a near deduplicator");
            };
            let context = ImageContext {
                roots: vec![dir.path().to_owned()],
                ..ImageContext::default()
            };
            let row = Sample::parse(line.to_owned(), Origin::default(), Arc::new(context)).unwrap();
            let mut keys = Vec::new();
            op.keys(&row, &mut keys).unwrap();
            <[u64; 2]>::try_from(keys).unwrap()
        };
        let [part, a] = keys(false, r#"{"images": ["a"]}"#);
        let [same_part, b] = keys(false, r#"{"images": ["b", "b"]}"#);
        assert!(part == same_part && (a ^ b).count_ones() <= 8);
        assert_ne!(part, keys(false, r#"{"images": ["a", "b"]}"#)[0]);
        assert_eq!(keys(false, r#"{"images": []}"#), [0, 0]);
        let text = |line| keys(true, line)[0];
        assert_eq!(
            text(r#"{"text": "x", "images": ["a"]}"#),
            text(r#"{"text": " x", "images": ["b"]}"#)
        );
        assert_ne!(
            text(r#"{"text": "x", "images": ["a"]}"#),
            text(r#"{"text": "y", "images": ["a"]}"#)
        );
        assert_ne!(text(r#"{"text": "x"}"#), 0);
        let too_much = Params {
            threshold: 13,
            ..Params::default()
        };
        assert!(build(too_much, &BuildContext::default()).is_err());
        let not_near = Params {
            scaled_decode: true,
            ..Params::default()
        };
        assert!(build(not_near, &BuildContext::default()).is_err());
    }

    #[test]
    fn a_reduced_jpeg_hashes_near_to_the_whole() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dataset/images/00000");
        let hash = |scaled_decode: bool| {
            let params = format!(r#"{{"threshold": 4, "scaled_decode": {scaled_decode}}}"#);
            let built = crate::op::testing::build("image_deduplicator", &params).unwrap();
            let Operator::Near(op) = built.operator else {
                panic!("a near deduplicator");
            };
            let context = ImageContext {
                roots: vec![root.clone()],
                want: built.spec.images,
                ..ImageContext::default()
            };
            let line = r#"{"images": ["000003.jpg"]}"#.to_owned();
            let row = Sample::parse(line, Origin::default(), Arc::new(context)).unwrap();
            let mut keys = Vec::new();
            op.keys(&row, &mut keys).unwrap();
            let counts = row.images().unwrap()[0].counts();
            assert_eq!(
                (counts.full_decodes, counts.scaled_decodes),
                (u64::from(!scaled_decode), u64::from(scaled_decode))
            );
            keys[1]
        };
        let distance = (hash(true) ^ hash(false)).count_ones();
        assert!(distance <= 6, "{distance} bits");
    }

    #[test]
    fn rows_without_images_are_kept_or_compared_by_text() {
        let key = |text: bool, line: &str| key(text, Path::new(""), line);
        assert_eq!(key(false, r#"{"text": "a", "images": null}"#), None);
        assert_eq!(
            key(true, r#"{"text": "a"}"#),
            key(true, r#"{"text": " a", "images": []}"#)
        );
        assert_ne!(key(true, r#"{"text": "a"}"#), key(true, r#"{"text": "b"}"#));
    }
}
