//! Blurs some of a row's images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::image::{Blur, FileFormat, ImageError};
use crate::op::{BuildContext, Facts, Field, ImageNeed, Mapper, Operator, ParamError, operator};
use crate::sample::{FieldPath, NewImage, RowError, Sample, normalise, originals};

operator! {
    /// Replaces each image, with probability `p`, by a blurred copy in a new file.
    ///
    /// Pixels are Pillow's, of the upright image in RGB. The copy lies in
    /// `__dj__produced_data__/image_blur_mapper/` beside the image (or beside the image that an
    /// operator made this one of), else in `save_dir`, and is called `STEM__dj_hash_#HASH#.EXT`. It is
    /// written as the extension says, as Pillow saves by default: JPEG (quality 75, 4:2:0), PNG, BMP,
    /// TIFF or PPM. Another extension is an error of the row if the image is to be blurred
    /// (`image_not_writable`). Images that are not blurred are not opened.
    ///
    /// Which images are blurred, and HASH, follow from the recipe's `seed`, the row's place in the
    /// inputs and the image's place in the row; HASH from the path and these parameters too. So the
    /// same run makes the same files again, and steps of one recipe draw apart. An image that a row
    /// lists twice is drawn for once.
    ///
    /// The row's images name the new files, which are written if the row reaches an output, or a step
    /// that must see all rows; a row that is dropped or set aside before that leaves none.
    /// `__dj__source_file__` names, for each image, the one it was made of, else the image itself; it
    /// is an empty list in rows without images.
    ///
    /// ## Example
    /// ```yaml
    /// - image_blur_mapper: {p: 1, blur_type: box}
    /// ```
    /// ```json
    /// {"in": {"images": []}, "out": {"images": [], "__dj__source_file__": []}}
    /// {"in": {"images": ["fixtures/golden/_images/scene.jpg"]}, "out": {"images": ["fixtures/golden/_images/__dj__produced_data__/image_blur_mapper/scene__dj_hash_#5b6388f753e5d406593d47e4d9813c42#.jpg"], "__dj__source_file__": ["fixtures/golden/_images/scene.jpg"]}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `image_blur_mapper` with Pillow 13.0.0: same pixels, and JPEG files of the
    /// same bytes (but for a comment of the source, which Pillow keeps). There which images are
    /// blurred and what files are called changes from run to run, and rows that are dropped later
    /// leave their files. GIF and WebP are not written here. The environment's
    /// `DJ_PRODUCED_DATA_DIR` is not looked at; write it into `save_dir`. A `p` that is no probability and a
    /// radius of more than a million are refused. Paths in `__dj__source_file__` are written in the
    /// style of the output's image paths.
    image_blur_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Images, Field::Named(SOURCE_FILE)],
        writes: &[Field::Images, Field::Named(SOURCE_FILE)],
        images: |_| ImageNeed::Pixels,
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// How probable it is that an image is blurred, 0 to 1.
    p: f64,
    /// The blur.
    blur_type: BlurType,
    /// Its radius in pixels, 0 to 1,000,000; a Gaussian's standard deviation. Without effect on
    /// `mean`.
    radius: f64,
    /// Where the new files go, from the working directory; beside each image by default.
    save_dir: Option<String>,
}

/// How pixels are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum BlurType {
    /// Pillow's `BLUR`: the mean of the rim of 5 × 5 pixels.
    Mean,
    /// The mean of the pixels within the radius.
    Box,
    /// A Gaussian, made of three boxes.
    Gaussian,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            p: 0.2,
            blur_type: BlurType::Gaussian,
            radius: 2.0,
            save_dir: None,
        }
    }
}

const SOURCE_FILE: &str = "__dj__source_file__";
const PRODUCED_DIR: &str = "__dj__produced_data__";
const NAME: &str = "image_blur_mapper";

/// What stands before the hash in the name of a file that an operator made, and behind it.
const HASH_START: &str = "__dj_hash_#";
const HASH_END: char = '#';

const MAX_RADIUS: f64 = 1e6;

struct ImageBlur {
    p: f64,
    blur: Blur,
    save_dir: Option<String>,
    /// What draws start from.
    draw: u64,
    /// The parameters that HASH depends on.
    hashed: String,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Vec::new();
    if !(0.0..=MAX_RADIUS).contains(&params.radius) {
        let problem = ParamError::new("radius", format!("radius is {}", params.radius));
        problems.push(problem.hint("give a number from 0 to 1000000"));
    }
    if !(0.0..=1.0).contains(&params.p) {
        let problem = ParamError::new("p", format!("p is {}", params.p));
        problems.push(problem.hint("a probability lies between 0 and 1"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    #[expect(clippy::cast_possible_truncation, reason = "Pillow takes a float")]
    let radius = params.radius as f32;
    let here = context.search.last().cloned().unwrap_or_default();
    let save_dir = params
        .save_dir
        .filter(|dir| !dir.is_empty())
        .map(|dir| normalise(here.join(dir)).to_string_lossy().into_owned());
    Ok(Operator::Mapper(Box::new(ImageBlur {
        p: params.p,
        blur: match params.blur_type {
            BlurType::Mean => Blur::Mean,
            BlurType::Box => Blur::Box(radius),
            BlurType::Gaussian => Blur::Gaussian(radius),
        },
        save_dir,
        draw: context.base.draw,
        hashed: format!("{} {:?} {}", params.p, params.blur_type, params.radius),
    })))
}

impl Mapper for ImageBlur {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let images = sample.images()?;
        if images.is_empty() {
            sample.set_value(SOURCE_FILE, Value::Array(Vec::new()));
            return Ok(());
        }
        let identity = sample.origin().identity();
        let mut sources = sources(sample)?;
        let mut new: Vec<NewImage> = Vec::new();
        let mut first: Vec<(&str, usize)> = Vec::new();
        for (number, image) in originals(images).into_iter().enumerate() {
            let written = image.written();
            if first.iter().any(|(seen, _)| *seen == written) {
                continue;
            }
            first.push((written, number));
            if self.p < fraction(self.draw, identity, number) {
                continue;
            }
            // Whatever is wrong with the path is said first.
            image.file_size()?;
            let (stem, extension) = name_parts(written);
            let refused = |error: ImageError| {
                let shown = written.escape_debug();
                RowError::new(error.code, format!("image '{shown}': {}", error.message))
            };
            let format = FileFormat::of_extension(extension.trim_start_matches('.'));
            let format = format.map_err(refused)?;
            let blurred = self.blur.apply(image.pixels()?);
            let same = |at: &usize| images.get(*at).is_some_and(|i| i.written() == written);
            let places: Vec<usize> = (number..images.len()).filter(same).collect();
            for place in &places {
                if let Some(source) = sources.get_mut(*place) {
                    *source = written.into();
                }
            }
            let hash = self.hash(identity, number, written);
            new.push(NewImage {
                written: format!(
                    "{}/{stem}{HASH_START}{hash:032x}{HASH_END}{extension}",
                    self.directory(written)
                ),
                file: format.encode(&blurred).map_err(refused)?,
                places,
            });
        }
        sample.set_value(SOURCE_FILE, Value::Array(sources));
        sample.replace_images(new)
    }
}

impl ImageBlur {
    /// Where the copy of the image that the row calls `written` goes, as the row will call it.
    fn directory(&self, written: &str) -> String {
        if let Some(directory) = &self.save_dir {
            return directory.clone();
        }
        let end = written.rfind('/').map_or(0, |slash| slash + 1);
        let beside = written.get(..end).unwrap_or_default();
        let at = if beside.starts_with(&format!("{PRODUCED_DIR}/")) {
            Some(0)
        } else {
            let inner = beside.find(&format!("/{PRODUCED_DIR}/"));
            inner.map(|slash| slash + 1)
        };
        let beside = at.and_then(|at| beside.get(..at)).unwrap_or(beside);
        format!("{beside}{PRODUCED_DIR}/{NAME}")
    }

    fn hash(&self, identity: u64, number: usize, written: &str) -> u128 {
        let mut bytes = drawn_for(identity, number).to_vec();
        bytes.extend_from_slice(self.hashed.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(written.as_bytes());
        xxh3_128_with_seed(&bytes, self.draw)
    }
}

/// A number from 0 up to 1 for an image of a row.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn fraction(draw: u64, identity: u64, number: usize) -> f64 {
    let word = xxh3_64_with_seed(&drawn_for(identity, number), draw);
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

fn drawn_for(identity: u64, number: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (row, image) = bytes.split_at_mut(8);
    row.copy_from_slice(&identity.to_le_bytes());
    image.copy_from_slice(&(number as u64).to_le_bytes());
    bytes
}

/// The stem of a file's name, without the hash of an earlier operator, and its extension with the
/// dot, as Python's `os.path.splitext` parts them.
fn name_parts(written: &str) -> (&str, &str) {
    let name = written.rsplit('/').next().unwrap_or_default();
    let dot = name.rfind('.').filter(|dot| {
        name.get(..*dot)
            .is_some_and(|stem| stem.contains(|c| c != '.'))
    });
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let made = stem.find(HASH_START).filter(|at| {
        let behind = stem.get(at + HASH_START.len()..);
        behind.is_some_and(|behind| behind.contains(HASH_END))
    });
    (
        stem.get(..made.unwrap_or(stem.len())).unwrap_or(stem),
        extension,
    )
}

/// What the row's images were made of so far: what an earlier operator noted, else the images.
fn sources(sample: &Sample) -> Result<Vec<Value>, RowError> {
    let images = sample.images()?;
    let mut sources = match sample.value(&FieldPath::new(SOURCE_FILE))? {
        Some(Value::Array(noted)) => noted,
        _ => Vec::new(),
    };
    let rest = images.iter().skip(sources.len());
    sources.extend(rest.map(|image| Value::from(image.written())));
    sources.truncate(images.len());
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::op::testing::build_mapper;
    use crate::sample::{ImageContext, Origin};

    fn sample(row: &str, offset: u64) -> Sample {
        let origin = Origin {
            offset,
            ..Origin::default()
        };
        Sample::parse(row.into(), origin, Arc::new(ImageContext::default())).unwrap()
    }

    fn written(sample: &Sample) -> Value {
        let mut out = Vec::new();
        sample.write_json(&[], &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    const SCENE: &str = "fixtures/golden/_images/scene.jpg";

    #[test]
    fn about_as_many_are_drawn_as_asked() {
        let mapper = build_mapper("image_blur_mapper", r#"{"p": 0.3, "radius": 0}"#).unwrap();
        let blurred = |offset: u64| {
            let mut row = sample(
                r#"{"images": ["fixtures/golden/_images/noise_1x1.png"]}"#,
                offset,
            );
            mapper.apply(&mut row).unwrap();
            !row.produced().is_empty()
        };
        let drawn: Vec<bool> = (0..1000).map(blurred).collect();
        let count = drawn.iter().filter(|blurred| **blurred).count();
        assert!((250..350).contains(&count), "{count}");
        assert!((0..1000).all(|offset| drawn[usize::try_from(offset).unwrap()] == blurred(offset)));
    }

    #[test]
    fn later_operators_see_the_new_image_without_a_file() {
        let mapper = build_mapper("image_blur_mapper", r#"{"p": 1}"#).unwrap();
        let mut row = sample(&format!(r#"{{"images": ["{SCENE}", "{SCENE}"]}}"#), 7);
        let before = row.images().unwrap()[0].pixels().unwrap().clone();
        mapper.apply(&mut row).unwrap();
        assert_eq!(row.produced().len(), 1);
        for image in row.images().unwrap() {
            assert!(!image.path().exists());
            assert_eq!(
                image.file_size().unwrap(),
                row.produced()[0].bytes.len() as u64
            );
            assert_eq!(image.header().unwrap().width, before.width());
            assert_ne!(*image.pixels().unwrap(), before);
        }
        assert_eq!(row.image_counts().opened, 1);
        assert_eq!(
            written(&row)["__dj__source_file__"],
            serde_json::json!([SCENE, SCENE])
        );
        let part = row.part(0, Vec::new()).unwrap();
        assert!(part.images().unwrap()[1].pixels().is_ok());

        // Once more: a new file in the same directory, of which the first one is the source.
        let first = row.images().unwrap()[0].written().to_owned();
        mapper.apply(&mut row).unwrap();
        let second = row.images().unwrap()[0].written().to_owned();
        let directory = |path: &str| path.rsplit_once('/').unwrap().0.to_owned();
        assert_eq!(directory(&first), directory(&second));
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second);
        assert_eq!(written(&row)["__dj__source_file__"][0], first.as_str());
        assert_eq!(row.produced().len(), 2);
    }

    #[test]
    fn a_single_path_stays_one() {
        let mapper = build_mapper("image_blur_mapper", r#"{"p": 1, "save_dir": "/x"}"#).unwrap();
        let mut row = sample(&format!(r#"{{"images": "{SCENE}"}}"#), 0);
        mapper.apply(&mut row).unwrap();
        let path = written(&row)["images"].as_str().unwrap().to_owned();
        assert!(
            path.starts_with("/x/scene__dj_hash_#") && path.ends_with("#.jpg"),
            "{path}"
        );
    }

    #[test]
    fn names_are_parted_as_in_python() {
        assert_eq!(name_parts("a/b.tar.gz"), ("b.tar", ".gz"));
        assert_eq!(name_parts("a.b/c"), ("c", ""));
        assert_eq!(name_parts(".hidden"), (".hidden", ""));
        assert_eq!(name_parts("...x.jpg"), ("...x", ".jpg"));
        assert_eq!(name_parts("é__dj_hash_#1f#.png"), ("é", ".png"));
        assert_eq!(name_parts("é__dj_hash_#1f.png"), ("é__dj_hash_#1f", ".png"));
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let mapper = build_mapper("image_blur_mapper", r#"{"p": 1}"#).unwrap();
        let code = |path: &str| {
            let mut row = sample(&format!(r#"{{"images": ["{path}"]}}"#), 0);
            mapper.apply(&mut row).unwrap_err().code
        };
        assert_eq!(
            code("fixtures/golden/_images/animated.gif"),
            "image_not_writable"
        );
        assert_eq!(
            code("fixtures/golden/_images/scene.webp"),
            "image_not_writable"
        );
        assert_eq!(code("no.jpg"), "image_missing");
        assert_eq!(code("LICENSE"), "image_not_writable");
        let refused = |params| {
            build_mapper("image_blur_mapper", params)
                .err()
                .unwrap()
                .len()
        };
        assert_eq!(refused(r#"{"p": 1.1, "radius": -0.1}"#), 2);
        assert_eq!(refused(r#"{"radius": 1000001}"#), 1);
    }
}
