//! Images as they are sent to a server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::image::{self, RgbImage};
use crate::sample::{ImageSlot, RowError};

/// An image of more pixels is sent smaller: what models look at is less, and servers spend their
/// time on reading pictures.
const MOST_PIXELS: u64 = 1_048_576;

/// An image of more bytes is sent as a JPEG.
const MOST_BYTES: usize = 1 << 20;

/// An image as a `data:` address: the file as it is if it is small and of a kind that servers take,
/// else a JPEG of at most a million pixels. With `compat` the file as it is, called a JPEG, as
/// Data-Juicer sends it.
///
/// # Errors
/// If the file cannot be read, or is no image.
pub fn image_url(slot: &ImageSlot, compat: bool) -> Result<String, RowError> {
    // Data-Juicer reads the picture before it sends it.
    let header = slot.header()?;
    let bytes = slot.content()?;
    if compat {
        slot.pixels()?;
        return Ok(data_url("image/jpeg", &bytes));
    }
    let pixels = u64::from(header.width) * u64::from(header.height);
    if let Some(kind) = media_type(&bytes)
        && pixels <= MOST_PIXELS
        && bytes.len() <= MOST_BYTES
    {
        return Ok(data_url(kind, &bytes));
    }
    let picture = slot.pixels()?;
    let smaller = reduced(picture)?;
    Ok(data_url("image/jpeg", &smaller))
}

fn data_url(kind: &str, bytes: &[u8]) -> String {
    let mut url = format!("data:{kind};base64,");
    STANDARD.encode_string(bytes, &mut url);
    url
}

/// The media type of an image that servers take as it is, by its first bytes.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if bytes.starts_with(b"GIF8") {
        Some("image/gif")
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else {
        None
    }
}

/// A JPEG of a picture, with at most so many pixels as are sent.
fn reduced(picture: &RgbImage) -> Result<Vec<u8>, RowError> {
    let (width, height) = (picture.width(), picture.height());
    let format = image::FileFormat::of_extension("jpg");
    let encoded = format.and_then(|format| {
        let (wide, high) = fitting(width, height);
        if (wide, high) == (width, height) {
            format.encode(picture)
        } else {
            let smaller = image::resize(picture, image::Resample::Bicubic, wide, high);
            format.encode(&smaller)
        }
    });
    encoded
        .map_err(|error| RowError::new("model_input", format!("the image cannot be sent: {error}")))
}

/// The largest size of the same shape that is sent.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sides are at least 1 and never larger than they were"
)]
fn fitting(width: u32, height: u32) -> (u32, u32) {
    let pixels = u64::from(width) * u64::from(height);
    if pixels <= MOST_PIXELS {
        return (width, height);
    }
    let share = (MOST_PIXELS as f64 / pixels as f64).sqrt();
    let side = |side: u32| ((f64::from(side) * share).floor() as u32).max(1);
    (side(width), side(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pictures_keep_their_shape() {
        assert_eq!(fitting(1024, 1024), (1024, 1024));
        assert_eq!(fitting(4096, 1024), (2048, 512));
        assert_eq!(fitting(u32::MAX, 1).1, 1);
        let (width, height) = fitting(3000, 2001);
        assert!(u64::from(width) * u64::from(height) <= MOST_PIXELS);
    }

    #[test]
    fn kinds_are_told_by_their_first_bytes() {
        assert_eq!(media_type(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(media_type(b"RIFF....WEBPVP8 "), Some("image/webp"));
        assert_eq!(media_type(b"BM"), None);
        assert_eq!(data_url("image/png", b"ab"), "data:image/png;base64,YWI=");
    }
}
