//! The image processors: what a `preprocessor_config.json` says is done to a picture.

use djr_image::Resample;
use serde_json::{Map, Value};

use crate::ModelError;
use crate::json::Config;

/// What each shade of each channel becomes: what is left of a processor when the picture has its
/// size.
pub type Table = [[f32; 256]; 3];

/// The processors that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessorKind {
    /// `CLIPImageProcessor`.
    Clip,
    /// `BlipImageProcessor`, of BLIP and BLIP-2.
    Blip,
    /// `ViTImageProcessor`.
    Vit,
    /// `OwlViTImageProcessor`.
    OwlVit,
}

impl ProcessorKind {
    const ALL: [Self; 4] = [Self::Clip, Self::Blip, Self::Vit, Self::OwlVit];

    fn name(self) -> &'static str {
        match self {
            Self::Clip => "CLIP",
            Self::Blip => "Blip",
            Self::Vit => "ViT",
            Self::OwlVit => "OwlViT",
        }
    }

    /// The side that is resized to unless the configuration says another.
    fn side(self) -> u32 {
        match self {
            Self::Clip | Self::Vit => 224,
            Self::Blip => 384,
            Self::OwlVit => 768,
        }
    }

    fn crops(self) -> bool {
        matches!(self, Self::Clip | Self::OwlVit)
    }
}

/// How a picture gets its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// The shorter side becomes this, the longer one in proportion.
    ShortestEdge(u32),
    /// Exactly this height and width.
    Exact(u32, u32),
}

/// What is done to a picture before a model sees it.
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    pub(crate) resize: Option<Size>,
    pub(crate) resample: Resample,
    /// Height and width.
    pub(crate) crop: Option<(u32, u32)>,
    /// Whether there must be three channels: there is a mean, or a deviation, of each.
    pub(crate) by_channel: bool,
    table: Box<Table>,
}

const FILE: &str = "preprocessor_config.json";

const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// A side of more pixels than any model sees.
const MAX_SIDE: u32 = 8192;

impl ImageProcessor {
    /// Reads a `preprocessor_config.json`. A model that brings its own kind of processor, whatever
    /// the file says, gives `kind`; otherwise the file must name one.
    ///
    /// # Errors
    /// If it asks for something that is not known here.
    pub fn read(
        config: &Map<String, Value>,
        kind: Option<ProcessorKind>,
    ) -> Result<Self, ModelError> {
        let mut config = Config::new(FILE, config);
        let kind = kind_of(&mut config, kind)?;
        config.ignore(&[
            "processor_class",
            "_valid_processor_keys",
            "do_convert_rgb",
            "default_to_square",
        ]);
        let resize = if config.flag("do_resize", true)? {
            Some(size(&mut config, kind)?)
        } else {
            config.ignore(&["size"]);
            None
        };
        let resample = resample(&mut config, kind)?;
        let crop = crop(&mut config, kind)?;
        let rescale = if kind == ProcessorKind::OwlVit {
            let old = config.flag("rescale", true)?;
            config.flag("do_rescale", old)?
        } else {
            config.flag("do_rescale", true)?
        };
        let factor = config.number("rescale_factor", 1.0 / 255.0)?;
        let normalizes = config.flag("do_normalize", true)?;
        let (mean, std) = match kind {
            ProcessorKind::Vit => ([0.5; 3], [0.5; 3]),
            _ => (CLIP_MEAN, CLIP_STD),
        };
        let scalar = |key: &'static str, config: &mut Config<'_>| {
            config.get(key).is_some_and(Value::is_number)
        };
        let scalars = scalar("image_mean", &mut config) && scalar("image_std", &mut config);
        let mean = channels(&mut config, "image_mean", mean)?;
        let std = channels(&mut config, "image_std", std)?;
        config.finish()?;
        if !rescale && !normalizes {
            return Err(ModelError::new(
                format!("{FILE}: neither do_rescale nor do_normalize: no model takes bytes"),
                "set one of them",
            ));
        }
        let table = table(rescale.then_some(factor), normalizes.then_some((mean, std)));
        if table.iter().flatten().any(|value| !value.is_finite()) {
            return Err(ModelError::new(
                format!("{FILE}: image_mean, image_std or rescale_factor give no finite number"),
                "fetch the model again",
            ));
        }
        Ok(Self {
            resize,
            resample,
            crop,
            by_channel: normalizes && !scalars,
            table,
        })
    }

    /// Height and width of every picture behind the processor, if all have the same.
    #[must_use]
    pub fn fixed_size(&self) -> Option<(u32, u32)> {
        match (self.crop, self.resize) {
            (Some(size), _) => Some(size),
            (None, Some(Size::Exact(height, width))) => Some((height, width)),
            (None, _) => None,
        }
    }

    /// What the shades become: [`Pixels`](crate::Pixels) through it are the model's tensor.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }
}

fn kind_of(
    config: &mut Config<'_>,
    given: Option<ProcessorKind>,
) -> Result<ProcessorKind, ModelError> {
    let image = config.text("image_processor_type")?;
    let old = config.text("feature_extractor_type")?;
    let old = old.map(|name| name.replace("FeatureExtractor", "ImageProcessor"));
    let name = image.map(str::to_owned).or(old);
    let (stem, fast) = match name.as_deref() {
        None => match given {
            Some(kind) => return Ok(kind),
            None => {
                return Err(ModelError::new(
                    format!("{FILE}: names no image_processor_type"),
                    "add the name of the model's image processor",
                ));
            }
        },
        Some(name) => match name.strip_suffix("Fast") {
            Some(stem) => (stem, true),
            None => (name, false),
        },
    };
    let stem = stem.strip_suffix("ImageProcessor").unwrap_or_default();
    let known = ProcessorKind::ALL.into_iter().find(|k| k.name() == stem);
    let named = name.unwrap_or_default();
    let Some(known) = known.filter(|known| given.is_none_or(|given| given == *known)) else {
        return Err(ModelError::new(
            format!("{FILE}: image processor {named} is not known for this model"),
            "CLIP, Blip, ViT and OwlViT image processors are known, each with its models",
        ));
    };
    // A processor that the model's own class names is Pillow's, whatever the file says.
    if fast && given.is_none() {
        return Err(ModelError::new(
            format!("{FILE}: {named} resizes with torchvision, and only Pillow's resize is known"),
            "transformers 4.57.1 would give torchvision's pixels for this file; write the name \
             without Fast for Pillow's",
        ));
    }
    Ok(known)
}

fn size(config: &mut Config<'_>, kind: ProcessorKind) -> Result<Size, ModelError> {
    let square = kind != ProcessorKind::Clip;
    let size = match config.get("size") {
        None if square => Size::Exact(kind.side(), kind.side()),
        None => Size::ShortestEdge(kind.side()),
        Some(value) => match (height_and_width(value), edge(value)) {
            (Some((height, width)), _) => Size::Exact(height, width),
            (None, Some(side)) if value.is_number() && square => Size::Exact(side, side),
            (None, Some(side)) if !square => Size::ShortestEdge(side),
            _ => return Err(config.unfit("size", value, "a size of this processor")),
        },
    };
    Ok(size)
}

fn side(value: &Value) -> Option<u32> {
    let side = u32::try_from(value.as_u64()?).ok()?;
    (1..=MAX_SIDE).contains(&side).then_some(side)
}

/// `{"height": H, "width": W}` or `[H, W]`.
fn height_and_width(value: &Value) -> Option<(u32, u32)> {
    match value {
        Value::Object(map) if map.len() == 2 => {
            Some((side(map.get("height")?)?, side(map.get("width")?)?))
        }
        Value::Array(items) => match items.as_slice() {
            [height, width] => Some((side(height)?, side(width)?)),
            _ => None,
        },
        _ => None,
    }
}

/// `{"shortest_edge": S}` or `S`.
fn edge(value: &Value) -> Option<u32> {
    match value {
        Value::Object(map) if map.len() == 1 => side(map.get("shortest_edge")?),
        other => side(other),
    }
}

fn resample(config: &mut Config<'_>, kind: ProcessorKind) -> Result<Resample, ModelError> {
    let default = match kind {
        ProcessorKind::Vit => 2,
        _ => 3,
    };
    Ok(match config.whole_or("resample", default)? {
        1 => Resample::Lanczos,
        2 => Resample::Bilinear,
        3 => Resample::Bicubic,
        4 => Resample::Box,
        5 => Resample::Hamming,
        other => {
            return Err(config.unfit("resample", &other.into(), "a filter from 1 to 5"));
        }
    })
}

fn crop(config: &mut Config<'_>, kind: ProcessorKind) -> Result<Option<(u32, u32)>, ModelError> {
    if !kind.crops() {
        return Ok(None);
    }
    let crops = config.flag("do_center_crop", kind == ProcessorKind::Clip)?;
    let size = match config.get("crop_size") {
        None => (kind.side(), kind.side()),
        Some(value) => match (height_and_width(value), side(value)) {
            (Some(size), _) => size,
            (None, Some(side)) => (side, side),
            (None, None) => return Err(config.unfit("crop_size", value, "a height and a width")),
        },
    };
    Ok(crops.then_some(size))
}

fn channels(
    config: &mut Config<'_>,
    key: &'static str,
    default: [f64; 3],
) -> Result<[f64; 3], ModelError> {
    let Some(value) = config.get(key) else {
        return Ok(default);
    };
    if let Some(number) = value.as_f64() {
        return Ok([number; 3]);
    }
    let numbers: Option<Vec<f64>> = value
        .as_array()
        .and_then(|items| items.iter().map(Value::as_f64).collect());
    numbers
        .and_then(|numbers| <[f64; 3]>::try_from(numbers).ok())
        .ok_or_else(|| config.unfit(key, value, "three numbers"))
}

/// numpy's arithmetic: the product in 64 bits, the rest in 32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "numpy rounds to 32 bits at these places"
)]
fn table(factor: Option<f64>, normal: Option<([f64; 3], [f64; 3])>) -> Box<Table> {
    let mut table = Box::new([[0.0; 256]; 3]);
    for (channel, shades) in table.iter_mut().enumerate() {
        for (shade, out) in (0_u8..=255).zip(shades) {
            let scaled = match factor {
                Some(factor) => (f64::from(shade) * factor) as f32,
                None => f32::from(shade),
            };
            *out = match normal {
                Some((mean, std)) => {
                    let of = |values: [f64; 3]| values.get(channel).map_or(0.0, |v| *v as f32);
                    (scaled - of(mean)) / of(std)
                }
                None => scaled,
            };
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, kind: Option<ProcessorKind>) -> Result<ImageProcessor, ModelError> {
        let Value::Object(map) = serde_json::from_str(json).unwrap() else {
            panic!("an object");
        };
        ImageProcessor::read(&map, kind)
    }

    #[test]
    fn old_and_new_forms_say_the_same() {
        let old =
            r#"{"feature_extractor_type": "CLIPFeatureExtractor", "size": 336, "crop_size": 300}"#;
        let new = r#"{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 336},
            "crop_size": {"height": 300, "width": 300}, "resample": 3, "do_convert_rgb": true,
            "rescale_factor": 0.00392156862745098, "processor_class": "CLIPProcessor"}"#;
        let (old, new) = (read(old, None).unwrap(), read(new, None).unwrap());
        assert_eq!(
            (old.resize, old.crop, old.resample),
            (new.resize, new.crop, new.resample)
        );
        assert_eq!(old.table, new.table);
        assert_eq!(old.fixed_size(), Some((300, 300)));
        let vit = read(r#"{"image_processor_type": "ViTFeatureExtractor"}"#, None);
        assert!(vit.is_err());
        let vit = read(
            r#"{"feature_extractor_type": "ViTFeatureExtractor", "size": [7, 9]}"#,
            None,
        );
        assert_eq!(vit.unwrap().fixed_size(), Some((7, 9)));
        let owl = read(
            r#"{"size": 32, "rescale": true}"#,
            Some(ProcessorKind::OwlVit),
        )
        .unwrap();
        assert_eq!(owl.fixed_size(), Some((32, 32)));
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        let clip = Some(ProcessorKind::Clip);
        for (json, kind, named) in [
            (r#"{"do_pad": true}"#, clip, "`do_pad`"),
            (r#"{"resample": 0}"#, clip, "`resample` is 0"),
            (r#"{"size": {"longest_edge": 3}}"#, clip, "`size`"),
            (r#"{"size": {"shortest_edge": 0}}"#, clip, "`size`"),
            (r#"{"size": 99999999}"#, clip, "`size`"),
            (r#"{"image_mean": [1, 2]}"#, clip, "`image_mean`"),
            (r#"{"image_std": [1, 2, 0]}"#, clip, "image_std"),
            (
                r#"{"do_rescale": false, "do_normalize": false}"#,
                clip,
                "do_rescale",
            ),
            (r#"{"do_resize": "yes"}"#, clip, "`do_resize`"),
            (
                r#"{"image_processor_type": "SiglipImageProcessor"}"#,
                None,
                "SiglipImageProcessor",
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessor"}"#,
                clip,
                "ViTImageProcessor",
            ),
            (
                r#"{"image_processor_type": "ViTImageProcessorFast"}"#,
                None,
                "torchvision",
            ),
            ("{}", None, "image_processor_type"),
        ] {
            let error = read(json, kind).unwrap_err();
            assert!(error.message.contains(named), "{json}: {error}");
        }
        assert!(
            read(
                r#"{"image_processor_type": "CLIPImageProcessorFast", "do_pad": null}"#,
                clip
            )
            .is_ok()
        );
    }
}
