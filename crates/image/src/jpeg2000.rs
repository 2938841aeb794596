//! JPEG 2000 pixels by `OpenJPEG`'s code in Rust, and Pillow's way from its samples to bytes.

use jpeg2k::{ColorSpace, DecodeParameters, Image};

use super::{ImageError, RgbImage, check_size};

/// All pixels as RGB.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let image = Image::from_bytes_with(bytes, DecodeParameters::new().strict(true))
        .map_err(|error| ImageError::corrupt(format!("not a valid JPEG 2000: {error}")))?;
    let (width, height) = (image.width(), image.height());
    check_size(width, height)?;
    let components = image.components();
    let unsupported = |what: &str| {
        Err(ImageError::new(
            "image_unsupported_format",
            format!("JPEG 2000 images {what} are not supported"),
        ))
    };
    if !matches!(
        image.color_space(),
        ColorSpace::Unknown | ColorSpace::Unspecified | ColorSpace::SRGB | ColorSpace::Gray
    ) {
        return unsupported("of luma and chroma or inks");
    }
    if components
        .iter()
        .any(|c| (c.width(), c.height()) != (width, height))
    {
        return unsupported("with channels of different sizes");
    }
    let channel = |index: usize, wide: bool| {
        let component = components.get(index);
        let (precision, signed) = component.map_or((8, false), |c| (c.precision(), c.is_signed()));
        let bits = if wide { 16 } else { 8 };
        let middle = if signed {
            1_i64 << (precision.max(1) - 1)
        } else {
            0
        };
        let samples = component.map_or(&[][..], |component| component.data());
        samples.iter().map(move |&sample| {
            let sample = i64::from(sample) + middle;
            let value = if precision > bits {
                let cut = precision - bits;
                (sample + (1 << (cut - 1))) >> cut
            } else {
                sample << (bits - precision)
            };
            if wide {
                u8::try_from(value & 0xffff).unwrap_or(u8::MAX)
            } else {
                u8::try_from(value & 0xff).unwrap_or(0)
            }
        })
    };
    let data: Vec<u8> = match components {
        [only] => {
            let wide = only.precision() > 8;
            channel(0, wide).flat_map(|level| [level; 3]).collect()
        }
        [_, _] => channel(0, false).flat_map(|level| [level; 3]).collect(),
        [_, _, _] | [_, _, _, _] => channel(0, false)
            .zip(channel(1, false))
            .zip(channel(2, false))
            .flat_map(|((red, green), blue)| [red, green, blue])
            .collect(),
        _ => return unsupported("of so many channels"),
    };
    RgbImage::new(width, height, data)
        .ok_or_else(|| ImageError::corrupt("the decoder returned an impossible size"))
}
