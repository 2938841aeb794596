//! Small pictures for a page: decoded as strictly as everywhere, made small, encoded anew, so
//! that nothing of the original file (its metadata, its bytes) gets into the page.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::image::{RgbImage, shrink};

/// The box that a picture has to fit, in pixels.
const BOX: (u32, u32) = (224, 168);

const QUALITY: u8 = 72;

/// A picture as a `data:` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumb {
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// `data:image/jpeg;base64,…`.
    pub address: String,
}

/// `picture`, made to fit the box; one that fits is not enlarged. `None` if it cannot be encoded.
#[must_use]
pub fn thumb(picture: &RgbImage) -> Option<Thumb> {
    let (width, height) = fit(picture.width(), picture.height());
    let small;
    let pixels = if (width, height) == (picture.width(), picture.height()) {
        picture.data()
    } else {
        small = shrink(picture, width, height)?;
        small.data()
    };
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(pixels, width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(Thumb {
        width,
        height,
        address: format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(&jpeg)),
    })
}

/// The size that fits the box in the same proportions, at least one pixel.
fn fit(width: u32, height: u32) -> (u32, u32) {
    let (w, h) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (box_w, box_h) = (u64::from(BOX.0), u64::from(BOX.1));
    if w <= box_w && h <= box_h {
        return (width, height);
    }
    let (new_w, new_h) = if w * box_h >= h * box_w {
        (box_w, (h * box_w + w / 2) / w)
    } else {
        ((w * box_h + h / 2) / h, box_h)
    };
    let side = |n: u64| u32::try_from(n.max(1)).unwrap_or(1);
    (side(new_w), side(new_h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fit_the_box_and_are_not_enlarged() {
        assert_eq!(fit(30, 20), (30, 20));
        assert_eq!(fit(448, 168), (224, 84));
        assert_eq!(fit(336, 1000), (56, 168));
        assert_eq!(fit(12_192, 1), (224, 1));
        let picture = RgbImage::new(600, 300, vec![200; 600 * 300 * 3]).unwrap();
        let thumb = thumb(&picture).unwrap();
        assert_eq!((thumb.width, thumb.height), (224, 112));
        assert!(thumb.address.len() < 2000);
    }
}
