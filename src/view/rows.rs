//! Rows read back from the input by their identity, as a page shows them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use rayon::prelude::*;
use serde_json::Value;

use super::thumb::{Thumb, thumb};
use super::{RowReader, ViewError};
use crate::io::Input;
use crate::record::Settings;
use crate::sample::{FieldPath, ImageContext, ImageNeed, Origin, RowError, Sample, read_row};

/// Together the pictures of a page have at most so many bytes.
const PICTURE_BYTES: usize = 6_000_000;

/// A larger picture is not decoded for a page.
const MOST_PIXELS: u64 = 50_000_000;

/// How many pictures of one row are shown.
const PICTURES_A_ROW: usize = 3;

/// What a page needs to know to read rows.
#[derive(Debug, Clone)]
pub struct RowStyle {
    text_key: FieldPath,
    tokens: Vec<String>,
    context: Arc<ImageContext>,
}

/// A row as it is shown.
#[derive(Debug, Clone, Default)]
pub struct ShownRow {
    /// Where it stands.
    pub origin: Origin,
    /// Its id, as text.
    pub id: Option<String>,
    /// Its caption, without the special tokens; `None` if it has none or is no row at all.
    pub text: Option<String>,
    /// Its pictures, or why there is none.
    pub pictures: Vec<Result<Thumb, String>>,
    /// How many more images the row has.
    pub more_pictures: usize,
}

impl RowStyle {
    /// As the resolved recipe of a run or an analysis says.
    #[must_use]
    pub fn of_recipe(settings: &Settings, inputs: &[Input]) -> Self {
        let roots = match &settings.image_root {
            Some(root) => vec![root.clone()],
            None => inputs.iter().map(Input::directory).collect(),
        };
        Self {
            text_key: FieldPath::new(settings.text_key()),
            tokens: [&settings.image_special_token, &settings.eoc_special_token]
                .into_iter()
                .filter(|token| !token.is_empty())
                .cloned()
                .collect(),
            context: Arc::new(ImageContext {
                image_key: settings.image_key().to_owned(),
                roots,
                confine: settings.confine,
                want: ImageNeed::Pixels,
                ..ImageContext::default()
            }),
        }
    }

    fn show(&self, origin: Origin, bytes: &[u8], left: &AtomicUsize) -> ShownRow {
        let mut shown = ShownRow {
            origin,
            ..ShownRow::default()
        };
        let Ok(sample) = read_row(bytes.into(), origin, &self.context) else {
            return shown;
        };
        shown.id = sample
            .value(&FieldPath::new("id"))
            .ok()
            .flatten()
            .and_then(|id| match id {
                Value::Null => None,
                Value::String(id) => Some(id),
                other => Some(other.to_string()),
            });
        shown.text = self.text_in(&sample);
        let Ok(images) = sample.images() else {
            return shown;
        };
        shown.more_pictures = images.len().saturating_sub(PICTURES_A_ROW);
        for image in images.iter().take(PICTURES_A_ROW) {
            if left.load(Ordering::Relaxed) == 0 {
                shown
                    .pictures
                    .push(Err("left out: the page is full".to_owned()));
                continue;
            }
            let pixels = image.header().and_then(|header| {
                if u64::from(header.width) * u64::from(header.height) > MOST_PIXELS {
                    return Err(RowError::new("image_too_large", "not for a page"));
                }
                image.pixels()
            });
            let picture = match pixels {
                Ok(pixels) => thumb(pixels).ok_or_else(|| "cannot be shown".to_owned()),
                Err(error) => Err(error.code.to_owned()),
            };
            shown.pictures.push(picture);
        }
        shown
    }

    /// The text of a row, without the special tokens; `None` if it has none or is no row.
    #[must_use]
    pub fn text_of(&self, origin: Origin, bytes: &[u8]) -> Option<String> {
        self.text_in(&read_row(bytes.into(), origin, &self.context).ok()?)
    }

    fn text_in(&self, sample: &Sample) -> Option<String> {
        let mut text = sample.text(&self.text_key).ok()??.into_owned();
        for token in &self.tokens {
            text = text.replace(token.as_str(), "");
        }
        Some(text.trim().to_owned())
    }

    /// The rows that are given as bytes, each with where it stands, in their order.
    #[must_use]
    pub fn show_all(&self, rows: &[(Origin, Vec<u8>)], budget: &Budget) -> Vec<ShownRow> {
        let mut out = Vec::with_capacity(rows.len());
        // In pieces, so that what the page has room for does not depend on the threads.
        for piece in rows.chunks(64) {
            let left = AtomicUsize::new(budget.0.get());
            let mut shown: Vec<ShownRow> = piece
                .par_iter()
                .map(|(origin, bytes)| self.show(*origin, bytes, &left))
                .collect();
            for picture in shown.iter_mut().flat_map(|row| &mut row.pictures) {
                let Ok(thumb) = picture else { continue };
                if let Some(rest) = budget.0.get().checked_sub(thumb.address.len()) {
                    budget.0.set(rest);
                } else {
                    budget.0.set(0);
                    *picture = Err("left out: the page is full".to_owned());
                }
            }
            out.append(&mut shown);
        }
        out
    }
}

/// How many bytes of pictures the page has room for.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(PICTURE_BYTES))
    }
}

/// The rows with these identities, in one pass over the inputs that ends at the last of them.
///
/// # Errors
/// If an input cannot be read.
pub fn fetch(
    inputs: Vec<Input>,
    wanted: &BTreeSet<u64>,
    style: &RowStyle,
    budget: &Budget,
) -> Result<HashMap<u64, ShownRow>, ViewError> {
    let mut found = Vec::with_capacity(wanted.len());
    let Some(last) = wanted.last() else {
        return Ok(HashMap::new());
    };
    let mut reader = RowReader::new(inputs);
    while let Some((origin, bytes)) = reader.next()? {
        if origin.offset > *last {
            break;
        }
        if wanted.contains(&origin.offset) {
            found.push((origin, bytes));
        }
    }
    let shown = style.show_all(&found, budget);
    Ok(shown
        .into_iter()
        .map(|row| (row.origin.offset, row))
        .collect())
}
