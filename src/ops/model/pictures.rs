//! The pictures of a row as a model gets them.

use std::borrow::Cow;

use crate::image::RgbImage;
use crate::op::{Element, ParamError};
use crate::sample::{ImageSlot, RowError, originals};
use crate::transformers::{ChannelOrder, ImageProcessor, ModelConfig};

/// Makes the bytes of pictures that are sent to a model.
pub struct Pictures {
    processor: ImageProcessor,
    height: u32,
    width: u32,
    horizontal_flip: bool,
    vertical_flip: bool,
}

impl Pictures {
    /// Those that `processor` makes for a model of this shape.
    ///
    /// # Errors
    /// If the model does not take what the processor makes.
    pub fn new(
        param: &str,
        processor: ImageProcessor,
        model: &ModelConfig,
    ) -> Result<Self, ParamError> {
        let side = model.image_size;
        match processor.fixed_size() {
            Some((height, width)) if (height, width) == (side, side) => Ok(Self {
                processor,
                height,
                width,
                horizontal_flip: false,
                vertical_flip: false,
            }),
            other => {
                let made = other.map_or("pictures of any size".to_owned(), |(height, width)| {
                    format!("pictures of {width}x{height}")
                });
                let message = format!(
                    "preprocessor_config.json makes {made}, and the model takes {side}x{side}"
                );
                Err(ParamError::new(param, message).hint("fetch the model again"))
            }
        }
    }

    /// Mirrored first.
    #[must_use]
    pub fn flipped(self, horizontal_flip: bool, vertical_flip: bool) -> Self {
        Self {
            horizontal_flip,
            vertical_flip,
            ..self
        }
    }

    /// The input that they are for a head.
    #[must_use]
    pub fn input(&self) -> (&'static str, Element, [usize; 3]) {
        let shape = [self.height as usize, self.width as usize, 3];
        ("pixels", Element::U8, shape)
    }

    /// What the shades become.
    #[must_use]
    pub fn table(&self) -> &crate::transformers::Table {
        self.processor.table()
    }

    /// The bytes of pictures that are processed together.
    ///
    /// # Errors
    /// If one cannot be decoded, or the processor refuses it.
    pub fn together(&self, slots: &[&ImageSlot]) -> Result<Vec<Vec<u8>>, RowError> {
        let Some(first) = slots.first() else {
            return Ok(Vec::new());
        };
        let order = ChannelOrder::guess(first.pixels()?);
        let pictures = slots.iter().map(|slot| self.bytes(slot, order));
        pictures.collect()
    }

    fn bytes(&self, slot: &ImageSlot, order: ChannelOrder) -> Result<Vec<u8>, RowError> {
        let image = self.turned(slot.pixels()?);
        let refused = |why: &dyn std::fmt::Display| {
            let name = slot.written().escape_debug().to_string();
            RowError::new("model_input", format!("image '{name}': {why}"))
        };
        let pixels = self
            .processor
            .pixels(&image, order)
            .map_err(|e| refused(&e))?;
        if pixels.channels != 3 {
            return Err(refused(&"the model takes pictures of three channels"));
        }
        Ok(pixels.data)
    }

    fn turned<'a>(&self, image: &'a RgbImage) -> Cow<'a, RgbImage> {
        // By the numbers of EXIF orientations.
        match (self.horizontal_flip, self.vertical_flip) {
            (false, false) => Cow::Borrowed(image),
            (true, false) => Cow::Owned(image.clone().oriented(2)),
            (true, true) => Cow::Owned(image.clone().oriented(3)),
            (false, true) => Cow::Owned(image.clone().oriented(4)),
        }
    }
}

/// The images of a row without those that name a path again.
#[must_use]
pub fn distinct(slots: &[ImageSlot]) -> Vec<&ImageSlot> {
    let firsts = originals(slots);
    let each = slots.iter().zip(firsts);
    each.filter(|(slot, first)| std::ptr::eq(*slot, *first))
        .map(|(slot, _)| slot)
        .collect()
}

/// Every image of a row, for each the first of its path, decoded: Data-Juicer reads all of them
/// before it looks at the text.
///
/// # Errors
/// If one cannot be decoded.
pub fn all_pixels(slots: &[ImageSlot]) -> Result<Vec<&ImageSlot>, RowError> {
    let firsts = originals(slots);
    for slot in &firsts {
        slot.pixels()?;
    }
    Ok(firsts.into_iter().collect())
}
