//! How often a picture or a caption stands among all rows, and with how many different partners: what
//! the filters by frequency share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::image::HashMethod;
use crate::op::{Bounds, BuildContext, Census, Common, Counted, ParamError, StatDef, Verdict};
use crate::sample::{FieldPath, ImageNeed, ImageSlot, RowError, Sample, StatValue};
use crate::text::{lower, strip};

/// What makes two images the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ImageBy {
    /// The file that they name.
    Path,
    /// The bytes of the file.
    #[default]
    Content,
    /// The perceptual hash of the picture: copies at another size or quality are mostly the same.
    Phash,
}

impl ImageBy {
    /// How far images are looked at with these parameters.
    pub(super) fn need(params: &Map<String, Value>) -> ImageNeed {
        match params.get("by").and_then(Value::as_str) {
            Some("path") => ImageNeed::Path,
            Some("phash") => ImageNeed::Pixels,
            _ => ImageNeed::FileSize,
        }
    }

    fn key(self, image: &ImageSlot) -> Result<u64, RowError> {
        match self {
            Self::Path => Ok(xxh3_64(image.path().as_os_str().as_encoded_bytes())),
            Self::Content => image.digest(),
            Self::Phash => image.hash(HashMethod::Phash).map(|(hash, _)| hash),
        }
    }
}

/// How captions are compared.
#[derive(Debug, Clone)]
pub(super) struct Caption {
    pub text_key: FieldPath,
    pub lowercase: bool,
}

impl Caption {
    /// What a caption is compared by, without white space at its ends; a row without one has an
    /// empty one.
    fn key(&self, sample: &Sample) -> Result<u64, RowError> {
        let text = sample.text(&self.text_key)?.unwrap_or_default();
        let text = strip(&text);
        Ok(if self.lowercase {
            xxh3_64(lower(text).as_bytes())
        } else {
            xxh3_64(text.as_bytes())
        })
    }
}

/// What a row is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Image,
    Caption,
}

/// A filter by frequency.
pub(super) struct Frequency {
    pub side: Side,
    /// Count rows, and not different captions or images.
    pub rows: bool,
    pub by: ImageBy,
    pub caption: Caption,
    pub stat: StatDef,
    pub bounds: Bounds,
}

impl Frequency {
    /// The range of the count. A filter that counts all rows ranks none.
    pub(super) fn bounds(
        stat: &StatDef,
        (min, max): (Option<i64>, Option<i64>),
        context: &BuildContext,
    ) -> Result<Bounds, Vec<ParamError>> {
        let bounds = Bounds::counts(stat, min, max, &context.base)?;
        if context.base.keep.is_some() {
            let refused = ParamError::new("keep", "it counts among all rows and ranks none");
            return Err(vec![
                refused.hint("use topk_specified_field_selector on its stat"),
            ]);
        }
        Ok(bounds)
    }

    /// The keys of the images of a row, each once.
    fn images(&self, sample: &Sample) -> Result<Vec<u64>, RowError> {
        let images = sample.images()?.iter();
        let mut keys = images
            .map(|image| self.by.key(image))
            .collect::<Result<Vec<_>, _>>()?;
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// What the row is counted under. Where images are counted, one without any is not.
    fn own(&self, sample: &Sample) -> Result<Vec<u64>, RowError> {
        match self.side {
            Side::Image => self.images(sample),
            Side::Caption if !self.rows && sample.images()?.is_empty() => Ok(Vec::new()),
            Side::Caption => Ok(vec![self.caption.key(sample)?]),
        }
    }
}

impl Census for Frequency {
    fn counted(&self) -> Counted {
        Counted::Members
    }

    fn keys(&self, sample: &Sample, out: &mut Vec<u128>) -> Result<(), RowError> {
        let members = match (self.rows, self.side) {
            (true, _) => vec![xxh3_64(&sample.origin().identity().to_le_bytes())],
            (false, Side::Image) => vec![self.caption.key(sample)?],
            (false, Side::Caption) => self.images(sample)?,
        };
        for own in self.own(sample)? {
            let pair = |member: &u64| u128::from(own) << 64 | u128::from(*member);
            out.extend(members.iter().map(pair));
        }
        Ok(())
    }

    /// What is counted once needs no place in memory.
    fn is_common(&self, count: u64, _: u64) -> bool {
        count > 1
    }

    fn apply(&self, sample: &mut Sample, common: &Common) -> Result<Verdict, RowError> {
        let known = sample
            .stats
            .get(self.stat.name())
            .and_then(StatValue::as_f64);
        if known.is_none() {
            let own = self.own(sample)?;
            let count = |key: &u64| common.get(&u128::from(*key)).copied().unwrap_or(1);
            let count = own.iter().map(count).max().unwrap_or(0);
            let count = StatValue::Int(i64::try_from(count).unwrap_or(i64::MAX));
            sample.stats.set_measured(self.stat.name(), count, false);
        }
        Ok(self.bounds.decide(&sample.stats))
    }
}
