//! Rows as JSON Lines: the bytes they came with, but for what operators and path rewriting changed.

use std::borrow::Cow;

use serde_json::Value;
use smallvec::SmallVec;

use super::{Format, Framing, ImageFiles, Made, Options, Renderer, Setting};
use crate::io::paths::PathStyle;
use crate::io::paths::{PathWriter, PlainPath};
use crate::sample::{
    FieldPath, ImageCheck, ImageSlot, JsonText, RawJson, RowError, Sample, push_string,
};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "jsonl",
    summary: "The rows, one JSON object a line.",
    suffixes: &["jsonl"],
    framing: Framing::LINES,
    holds_rows: true,
    made_of: None,
    written_image_key: None,
    check: ImageCheck::None,
    paths: PathStyle::Keep,
    images: &[ImageFiles::Path, ImageFiles::Copy],
    own_paths: false,
    lead: None,
    beside: None,
    memory: 0,
    options: &[],
    renderer,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "renderers of other formats read files"
)]
fn renderer(_: &Options, setting: Setting) -> Made {
    Ok(Box::new(JsonlRenderer {
        paths: setting.paths,
        keep_stats: setting.keep_stats,
        keep_hashes: setting.keep_hashes,
    }))
}

/// Writes rows as one JSON object a line.
pub struct JsonlRenderer {
    /// How image paths are written.
    pub paths: PathWriter,
    /// Whether `__dj__stats__` is written.
    pub keep_stats: bool,
    /// Whether hash columns are written.
    pub keep_hashes: bool,
}

impl Renderer for JsonlRenderer {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.with_new_fields(sample, |fields| sample.write_json(fields, out))
    }
}

impl JsonlRenderer {
    /// Calls `take` with the fields of a row that are written otherwise than the row has them.
    ///
    /// # Errors
    /// Why the row cannot be written.
    pub fn with_new_fields<T>(
        &self,
        sample: &Sample,
        take: impl FnOnce(&[(&str, &dyn JsonText)]) -> T,
    ) -> Result<T, RowError> {
        let image_key = sample.image_context().image_key.as_str();
        let paths = if self.paths.keeps() || !sample.has(image_key) {
            None
        } else {
            self.image_paths(sample)?
        };
        let media = if self.paths.keeps() {
            Vec::new()
        } else {
            self.paths.media(sample)?
        };
        let sources = if paths.is_some() {
            self.source_files(sample)?
        } else {
            None
        };
        let hashes = if self.keep_hashes {
            hashes(sample)
        } else {
            SmallVec::new()
        };
        let mut fields: SmallVec<[(&str, &dyn JsonText); 6]> = SmallVec::new();
        if let Some(paths) = &paths {
            fields.push((image_key, paths));
        }
        for (key, value) in &media {
            fields.push((key, value));
        }
        if let Some(sources) = &sources {
            fields.push((SOURCE_FILE, sources));
        }
        if self.keep_stats && !sample.stats.is_empty() {
            fields.push(("__dj__stats__", &sample.stats));
        }
        for (name, json) in &hashes {
            fields.push((name, json));
        }
        Ok(take(&fields))
    }
}

/// Where operators that make images note what they made them of.
const SOURCE_FILE: &str = "__dj__source_file__";

impl JsonlRenderer {
    /// The image field with rewritten paths, where the row has a list of them whose images nobody
    /// has looked at: the usual case, by the shortest way. `None` where it is another.
    fn plain_paths<'a>(&self, sample: &'a Sample) -> Option<SmallVec<[PlainPath<'a>; 1]>> {
        let root = sample.image_context().root(sample.origin().file);
        let written = sample.paths_as_read()?.into_iter();
        written
            .map(|written| self.paths.rewrite_plain(written, root))
            .collect()
    }

    /// The files that images were made of, with paths written as those of the images are.
    fn source_files(&self, sample: &Sample) -> Result<Option<ImagePaths<'static>>, RowError> {
        if !sample.has(SOURCE_FILE) {
            return Ok(None);
        }
        let Some(Value::Array(sources)) = sample.value(&FieldPath::new(SOURCE_FILE))? else {
            return Ok(None);
        };
        let paths = sources.iter().map(|source| {
            let written = source.as_str()?;
            let lies = sample.path_of(written);
            let new = self.paths.rewrite(written, &lies);
            Some(new.map(|new| Cow::Owned(new.into_owned())))
        });
        let paths: Option<Result<_, RowError>> = paths.collect();
        let list = |paths| ImagePaths { paths, list: true };
        Ok(paths.transpose()?.map(list))
    }

    /// The image field with rewritten paths in its own shape; `None` if nothing changes.
    fn image_paths<'a>(&self, sample: &'a Sample) -> Result<Option<ImageField<'a>>, RowError> {
        if let Some(paths) = self.plain_paths(sample) {
            let changes = paths.iter().any(|path| path.root.is_some());
            return Ok(changes.then_some(ImageField::Plain(paths)));
        }
        let images = match sample.images() {
            Ok(images) => images,
            Err(error) => {
                let (images, mut field) = sample.group_images().ok_or(error)?;
                self.rewrite(&mut field, &mut images.iter())?;
                return Ok(Some(ImageField::Group(field)));
            }
        };
        let paths: SmallVec<[Cow<'a, str>; 1]> = images
            .iter()
            .map(|image| self.paths.image(image))
            .collect::<Result<_, _>>()?;
        let changes = paths
            .iter()
            .zip(images)
            .any(|(new, image)| new != image.written());
        let changes = changes && !sample.image_field_is_quoted();
        let list = sample.image_field_is_list();
        Ok(changes.then_some(ImageField::Paths(ImagePaths { paths, list })))
    }

    /// Rewrites the paths in `field`, which are those of `images` in order.
    fn rewrite<'i>(
        &self,
        field: &mut Value,
        images: &mut impl Iterator<Item = &'i ImageSlot>,
    ) -> Result<(), RowError> {
        match field {
            Value::String(written) => {
                if let Some(image) = images.next() {
                    let new = self.paths.image(image)?;
                    *written = new.into_owned();
                }
                Ok(())
            }
            Value::Array(items) => items
                .iter_mut()
                .try_for_each(|item| self.rewrite(item, images)),
            _ => Ok(()),
        }
    }
}

/// The field of images as it is written.
enum ImageField<'a> {
    /// A list of paths that need not be resolved.
    Plain(SmallVec<[PlainPath<'a>; 1]>),
    Paths(ImagePaths<'a>),
    /// Of a group: a list of what its rows have.
    Group(Value),
}

impl JsonText for ImageField<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(paths) => paths.as_slice().write(out),
            Self::Paths(paths) => paths.write(out),
            Self::Group(field) => field.write(out),
        }
    }
}

struct ImagePaths<'a> {
    paths: SmallVec<[Cow<'a, str>; 1]>,
    list: bool,
}

impl JsonText for ImagePaths<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self.paths.as_slice() {
            // A single string stays a single string.
            [only] if !self.list => push_string(only, out),
            paths => paths.write(out),
        }
    }
}

/// The hash columns that the row has, by name.
fn hashes(sample: &Sample) -> SmallVec<[(&'static str, RawJson); 3]> {
    let mut fields = SmallVec::new();
    let hashes = &sample.hashes;
    if let Some(digest) = hashes.text.get() {
        let hex = u128::from_be_bytes(*digest);
        fields.push(("__dj__hash", RawJson(format!("\"{hex:032x}\""))));
    }
    if let Some(hash) = hashes.image.get() {
        fields.push(("__dj__imagehash", RawJson(format!("\"{hash}\""))));
    }
    if let Some(hash) = hashes.simhash.get() {
        fields.push(("__dj__simhash", RawJson(format!("\"{hash}\""))));
    }
    fields
}
