//! Pure pixel kernels: header, strict decode, Pillow's resize, perceptual hashes, edges and
//! straight lines. They know no rows.
//!
//! What counts as an image, its size and its pixels follow Pillow 13.0.0 as Data-Juicer's loader
//! uses it (EXIF orientation applied, then converted to RGB), except that a file which Pillow's
//! own strict `load()` refuses is refused here too, where Data-Juicer fills the rest with grey.

/// The crates that decode.
macro_rules! decoders {
    () => {
        "fax 0.2.7, fdeflate 0.3.7, flate2 1.1.10, gif 0.14.2, image 0.25.10, jpeg2k 0.10.1, libwebp-sys 0.14.4, lzma-rust2 0.25.0, miniz_oxide 0.8.9 0.9.1, mozjpeg-sys 2.2.3, png 0.18.1, re_rav1d 0.1.3, tiff 0.11.3, weezl 0.1.12, zstd 0.14.4, zune-jpeg 0.5.15"
    };
}

mod avif;
#[cfg(feature = "avif")]
mod avif_pixels;
mod blur;
mod bmp;
mod canny;
mod dct;
mod decode;
mod encode;
mod exif;
mod gif;
mod header;
mod hough;
mod jpeg;
#[cfg(feature = "jpeg2000")]
mod jpeg2000;
mod jpeg_bits;
mod jpeg_blocks;
mod jpeg_header;
mod jpeg_idct;
mod jpeg_lossless;
mod jpeg_scan;
mod jpeg_skip;
mod jpeg_write;
mod phash;
mod png;
mod pnm;
mod qoi;
mod raw;
mod resize;
mod shrink;
mod sniff;
mod tga;
mod tiff;
mod tiff_fax;
mod tiff_kinds;
mod tiff_luma;
mod tiff_page;
mod webp;

use std::borrow::Cow;
use std::fmt;

pub use blur::Blur;
pub use canny::{Plane, edges};
pub use decode::{Decoded, decode, decode_reduced, validate};
pub use encode::FileFormat;
pub use header::{Format, Header, Probe, header, probe};
pub use hough::{Segment, SegmentRule, segments};
pub use phash::{HashMethod, perceptual_hash, perceptual_hash_and_blank};
pub use resize::{Resample, resize, resize_lanczos, resize_part};
pub use shrink::shrink;

/// Whose code decodes what, with its version and the formats that were built in: what verdicts and
/// pixels depend on beside the kernels' own code. A test holds it against `Cargo.lock`.
pub const DECODERS: &str = if cfg!(all(feature = "avif", feature = "jpeg2000")) {
    concat!(decoders!(), " avif jpeg2000")
} else if cfg!(feature = "avif") {
    concat!(decoders!(), " avif")
} else if cfg!(feature = "jpeg2000") {
    concat!(decoders!(), " jpeg2000")
} else {
    decoders!()
};

/// The most pixels an image may have: Pillow refuses more as a decompression bomb.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Why bytes are not a usable image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageError {
    /// A short stable word, e.g. `image_truncated`.
    pub code: &'static str,
    /// What was found, for a person.
    pub message: Cow<'static, str>,
}

impl ImageError {
    /// An error with a stable `code` and a `message` for people.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn truncated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("image_truncated", message)
    }

    pub(crate) fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("image_corrupt", message)
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ImageError {}

/// Pixels: rows from the top, each `3 * width` bytes of red, green and blue.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl RgbImage {
    /// An image of `width` × `height` pixels; `None` if `data` is not `3 * width * height` bytes
    /// or a side is zero.
    #[must_use]
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Option<Self> {
        let bytes = u64::from(width) * u64::from(height) * 3;
        (bytes > 0 && u64::try_from(data.len()) == Ok(bytes)).then_some(Self {
            width,
            height,
            data,
        })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes: red, green, blue of each pixel, row by row.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bytes.
    #[must_use]
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The image as it is meant to be seen, by its EXIF `orientation` (1 to 8; others mean 1).
    #[must_use]
    pub fn oriented(self, orientation: u8) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (w, h) = (self.width as usize, self.height as usize);
        let swap = orientation >= 5;
        let (out_w, out_h) = if swap { (h, w) } else { (w, h) };
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..out_h {
            for x in 0..out_w {
                // Where the pixel shown at (x, y) is stored.
                let (sx, sy) = match orientation {
                    2 => (w - 1 - x, y),
                    3 => (w - 1 - x, h - 1 - y),
                    4 => (x, h - 1 - y),
                    5 => (y, x),
                    6 => (y, h - 1 - x),
                    7 => (w - 1 - y, h - 1 - x),
                    _ => (w - 1 - y, x),
                };
                let at = (sy * w + sx) * 3;
                data.extend_from_slice(self.data.get(at..at + 3).unwrap_or(&[0; 3]));
            }
        }
        let (width, height) = if swap {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        };
        Self {
            width,
            height,
            data,
        }
    }
}

/// A level without its fraction; what is out of range is cut off, and what is no number is 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates"
)]
fn whole_level(value: f32) -> u8 {
    value as u8
}

impl fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RgbImage({}x{})", self.width, self.height)
    }
}

/// Checks a size before anything is allocated for it.
pub(crate) fn check_size(width: u32, height: u32) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::new(
            "image_zero_size",
            format!("the image is {width}x{height} pixels"),
        ));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(ImageError::new(
            "image_too_large",
            format!("{width}x{height} is {pixels} pixels, more than the limit of {MAX_PIXELS}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientations_move_the_first_pixel_where_exif_says() {
        // 2 wide, 3 high, pixels numbered 0 to 5.
        let image = || RgbImage::new(2, 3, (0..6).flat_map(|i| [i, i, i]).collect()).unwrap();
        let shown = |o: u8| -> Vec<u8> {
            let turned = image().oriented(o);
            assert_eq!(turned.width() == 3, o >= 5);
            turned.data().iter().step_by(3).copied().collect()
        };
        assert_eq!(shown(1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(shown(2), [1, 0, 3, 2, 5, 4]);
        assert_eq!(shown(3), [5, 4, 3, 2, 1, 0]);
        assert_eq!(shown(4), [4, 5, 2, 3, 0, 1]);
        assert_eq!(shown(5), [0, 2, 4, 1, 3, 5]);
        assert_eq!(shown(6), [4, 2, 0, 5, 3, 1]);
        assert_eq!(shown(7), [5, 3, 1, 4, 2, 0]);
        assert_eq!(shown(8), [1, 3, 5, 0, 2, 4]);
    }

    #[test]
    fn sizes_are_checked_before_pixels_exist() {
        assert_eq!(check_size(0, 5).unwrap_err().code, "image_zero_size");
        assert_eq!(
            check_size(60_000, 60_000).unwrap_err().code,
            "image_too_large"
        );
        assert!(check_size(178_956_970, 1).is_ok());
        assert!(check_size(178_956_971, 1).is_err());
        assert!(RgbImage::new(1, 1, vec![0; 4]).is_none());
    }
}
