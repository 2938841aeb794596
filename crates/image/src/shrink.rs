//! Pictures made small for people to look at, whose pixels nobody compares.

use fast_image_resize::Resizer;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;

use crate::RgbImage;

/// `picture` in `width` by `height` pixels; `None` if no picture can have that size.
#[must_use]
pub fn shrink(picture: &RgbImage, width: u32, height: u32) -> Option<RgbImage> {
    let side = |n: u32| usize::try_from(n).ok();
    let mut small = vec![0; side(width)?.checked_mul(side(height)?)?.checked_mul(3)?];
    let (from_width, from_height) = (picture.width(), picture.height());
    // Told the kind of its pixels, the library is not compiled for all the others.
    let source = TypedImageRef::<U8x3>::from_buffer(from_width, from_height, picture.data());
    let mut target = TypedImage::from_buffer(width, height, &mut small).ok()?;
    Resizer::new()
        .resize_typed(&source.ok()?, &mut target, None)
        .ok()?;
    RgbImage::new(width, height, small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_made_small_and_keeps_its_halves() {
        let row = [[250, 0, 0]; 300].into_iter().chain([[0, 0, 250]; 300]);
        let row: Vec<u8> = row.flatten().collect();
        let picture = RgbImage::new(600, 300, row.repeat(300)).unwrap();
        let small = shrink(&picture, 8, 4).unwrap();
        assert_eq!((small.width(), small.height()), (8, 4));
        assert_eq!(small.data()[..3], [250, 0, 0]);
        assert_eq!(small.data()[21..24], [0, 0, 250]);
    }
}
