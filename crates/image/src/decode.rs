//! Pixels of any supported format, and the verdict whether a file is sound.
//!
//! Known differences from Pillow 13.0.0, all of them rare in datasets:
//! - `avif-jpeg2000`: without the features `avif` and `jpeg2000` AVIF and JPEG 2000 have a size but
//!   no pixels (`image_unsupported_format`).
//! - `other-formats`: formats of Pillow without a decoder here (CUR, PSD, PCX, DDS, ICNS, SGI,
//!   XBM, XPM, EPS, FITS, …) are refused as unknown.
//! - `exotic-tiff`: TIFFs of luma and chroma that are no JPEGs, of LAB or with old-style JPEG are
//!   refused (`image_unsupported_format`).
//! - `jpeg-scans`: a JPEG of more than 500 scans is refused if it is not small; Pillow would take
//!   hours.
//! - `file-size`: files above 1 GiB are refused unread (by the row's image slot, not here).

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::bmp::Icon;
use super::pnm::Pnm;
use super::webp::Webp;
use super::{
    Format, Header, ImageError, RgbImage, gif, header, jpeg, jpeg_lossless, png, qoi, tiff,
    tiff_kinds,
};

/// A decoded image.
#[derive(Debug)]
pub struct Decoded {
    /// What was known before.
    pub header: Header,
    /// The pixels, oriented.
    pub image: RgbImage,
    /// The file has damage that the decoder stepped over: some pixels are made up.
    pub suspect: bool,
}

/// Decodes the `bytes` of a file as Data-Juicer's loader does, refusing what Pillow's strict
/// `load()` refuses.
///
/// # Errors
/// Those of [`header`], and `image_truncated`, `image_corrupt`, `image_unsupported_format`.
pub fn decode(bytes: &[u8]) -> Result<Decoded, ImageError> {
    let header = header(bytes)?;
    let (image, suspect) = match header.format {
        Format::Jpeg if jpeg_lossless::is_lossless(bytes) => jpeg_lossless::decode_rgb(bytes)?,
        Format::Jpeg => {
            let (image, notes) = jpeg::decode_rgb(bytes)?;
            (image, notes.suspect)
        }
        Format::Png => (guarded(header.format, || png::decode_rgb(bytes))?, false),
        #[cfg(feature = "jpeg2000")]
        Format::Jpeg2000 => {
            let decode = || super::jpeg2000::decode_rgb(bytes);
            (guarded(header.format, decode)?, false)
        }
        #[cfg(feature = "avif")]
        Format::Avif => {
            let decode = || super::avif_pixels::decode_rgb(&super::avif::read(bytes)?);
            (guarded(header.format, decode)?, false)
        }
        Format::WebP => (Webp::open(bytes)?.decode_rgb()?, false),
        Format::Gif => (guarded(header.format, || gif::decode_rgb(bytes))?, false),
        _ => (
            guarded(header.format, || crate_pixels(header, bytes))?,
            false,
        ),
    };
    let image = image.oriented(header.orientation);
    Ok(Decoded {
        header,
        image,
        suspect,
    })
}

/// Whether the file is sound, with the same verdict as [`decode`] but at less cost for JPEG: its
/// header, and whether it has damage that a decoder steps over.
///
/// # Errors
/// As [`decode`].
pub fn validate(bytes: &[u8]) -> Result<(Header, bool), ImageError> {
    let header = header(bytes)?;
    if header.format == Format::Jpeg && !jpeg_lossless::is_lossless(bytes) {
        return Ok((header, jpeg::validate(bytes)?.suspect));
    }
    decode(bytes).map(|decoded| (decoded.header, decoded.suspect))
}

/// Decodes a JPEG in grey at a reduced scale at which both sides still have `side` pixels, if the
/// picture's have: with the verdict of [`decode`], at half its cost. Other formats have no such
/// scale and are decoded as they are.
///
/// # Errors
/// As [`decode`].
pub fn decode_reduced(bytes: &[u8], side: u32) -> Result<Decoded, ImageError> {
    let header = header(bytes)?;
    if header.format != Format::Jpeg || jpeg_lossless::is_lossless(bytes) {
        return decode(bytes);
    }
    let (image, notes) = jpeg::decode_reduced(bytes, side)?;
    Ok(Decoded {
        header,
        image: image.oriented(header.orientation),
        suspect: notes.suspect,
    })
}

/// Runs a decoder that is not ours; a panic in it is a corrupt image, not the end of the run.
pub fn guarded<T>(
    format: Format,
    work: impl FnOnce() -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ImageError::corrupt(format!(
            "not a valid {}: its decoder gave up",
            format.name()
        )))
    })
}

/// An error of the `image` crate as ours.
pub fn crate_error(format: Format, error: &image::ImageError) -> ImageError {
    let name = format.name();
    match error {
        image::ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::truncated(format!("the {name} ends before its last pixel"))
        }
        image::ImageError::Limits(_) => ImageError::new(
            "image_too_large",
            format!("the {name} would need too much memory"),
        ),
        image::ImageError::Unsupported(why) => ImageError::new(
            "image_unsupported_format",
            format!("this kind of {name} is not supported: {why}"),
        ),
        other => ImageError::corrupt(format!("not a valid {name}: {other}")),
    }
}

/// What a decoder may use besides the pixels, in bytes.
const DECODER_MEMORY: u64 = 64 << 20;

fn crate_pixels(header: Header, bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let format = header.format;
    match format {
        Format::Bmp | Format::Dib => return super::header::bitmap(format, bytes)?.decode(),
        Format::Ico => return Icon::read(bytes)?.decode(),
        Format::Pnm => return Pnm::read(bytes)?.decode(),
        Format::Qoi => return qoi::decode_rgb(bytes),
        Format::Tga => return super::header::targa(bytes)?.decode(),
        _ => {}
    }
    let Some(crate_format) = format.of_crate() else {
        return Err(ImageError::new(
            "image_unsupported_format",
            match format {
                Format::Avif => {
                    "AVIF images cannot be decoded: djr was built without its feature avif"
                        .to_owned()
                }
                Format::Jpeg2000 => {
                    "JPEG 2000 images cannot be decoded: djr was built without its feature jpeg2000"
                        .to_owned()
                }
                _ => format!("{} images cannot be decoded", format.name()),
            },
        ));
    };
    if let Some(page) = tiff_kinds::page(bytes).filter(|_| format == Format::Tiff) {
        return tiff_kinds::decode_rgb(&page);
    }
    if let Some(error) = tiff_kinds::unread(bytes).filter(|_| format == Format::Tiff) {
        return Err(error);
    }
    let found = crate_image(header, crate_format, bytes);
    match found {
        Err(error) if format == Format::Tiff && error.code == "image_corrupt" => {
            match tiff::mended(bytes) {
                Some(mended) => crate_image(header, crate_format, &mended),
                None => Err(error),
            }
        }
        other => other,
    }
}

fn crate_image(
    header: Header,
    crate_format: image::ImageFormat,
    bytes: &[u8],
) -> Result<RgbImage, ImageError> {
    let format = header.format;
    let fail = |error| crate_error(format, &error);
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), crate_format)
        .into_decoder()
        .map_err(fail)?;
    let mut limits = Limits::no_limits();
    // Four channels of 16 bits twice, and the decoder's own working memory: a file that claims a
    // small picture of huge tiles gets no more than the small picture needs.
    let pixels = u64::from(header.width) * u64::from(header.height);
    limits.max_alloc = Some(pixels * 8 * 2 + DECODER_MEMORY);
    decoder.set_limits(limits).map_err(fail)?;
    let pixels = DynamicImage::from_decoder(decoder).map_err(fail)?;
    to_rgb(format, pixels)
}

fn to_rgb(format: Format, decoded: DynamicImage) -> Result<RgbImage, ImageError> {
    let (width, height) = (decoded.width(), decoded.height());
    let high = |value: &u16| u8::try_from(value >> 8).unwrap_or(u8::MAX);
    let clip = |value: u16| u8::try_from(value).unwrap_or(u8::MAX);
    let data: Vec<u8> = match decoded {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => image
            .pixels()
            .flat_map(|p| [p.0[0], p.0[1], p.0[2]])
            .collect(),
        DynamicImage::ImageLuma8(image) => image.pixels().flat_map(|p| [p.0[0]; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| [p.0[0]; 3]).collect(),
        DynamicImage::ImageLuma16(image) => {
            image.pixels().flat_map(|p| [clip(p.0[0]); 3]).collect()
        }
        DynamicImage::ImageLumaA16(image) => {
            image.pixels().flat_map(|p| [high(&p.0[0]); 3]).collect()
        }
        DynamicImage::ImageRgb16(image) => image.as_raw().iter().map(high).collect(),
        DynamicImage::ImageRgba16(image) => image
            .pixels()
            .flat_map(|p| [high(&p.0[0]), high(&p.0[1]), high(&p.0[2])])
            .collect(),
        _ => {
            return Err(ImageError::new(
                "image_unsupported_format",
                format!("this kind of {} is not supported", format.name()),
            ));
        }
    };
    RgbImage::new(width, height, data)
        .ok_or_else(|| ImageError::corrupt("the decoder returned an impossible size"))
}
