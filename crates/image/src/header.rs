//! Width, height and format of an image from its bytes, without decoding.

use std::io::Cursor;

use image::{ImageDecoder, ImageReader};

use super::bmp::{self, Bitmap, Icon};
use super::jpeg_header::{self, Walk};
use super::pnm::{self, Pnm};
use super::tga::Targa;
use super::webp::Webp;
use super::{ImageError, avif, check_size, exif, gif, png, qoi, sniff, tiff_kinds};

/// A file format, known by its content and never by a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG, JFIF, MPO (its first picture).
    Jpeg,
    /// PNG and APNG (its default picture).
    Png,
    /// GIF, its first frame.
    Gif,
    /// `WebP`, its first frame.
    WebP,
    /// TIFF, its first page.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// Windows bitmap without the header of a file.
    Dib,
    /// Windows icon, its largest picture.
    Ico,
    /// PBM, PGM, PPM, PFM.
    Pnm,
    /// Targa.
    Tga,
    /// QOI.
    Qoi,
    /// AVIF: the size is known, pixels are not.
    Avif,
    /// JPEG 2000: the size is known, pixels are with the feature `jpeg2000`.
    Jpeg2000,
}

impl Format {
    /// All of them, in the order of `docs/IMAGES.md`.
    pub const ALL: [Self; 13] = [
        Self::Jpeg,
        Self::Png,
        Self::Gif,
        Self::WebP,
        Self::Tiff,
        Self::Bmp,
        Self::Dib,
        Self::Ico,
        Self::Pnm,
        Self::Tga,
        Self::Qoi,
        Self::Avif,
        Self::Jpeg2000,
    ];

    /// Whether pixels can be decoded; of the others only the size is known.
    #[must_use]
    pub fn has_pixels(self) -> bool {
        let missing = [
            (Self::Avif, cfg!(not(feature = "avif"))),
            (Self::Jpeg2000, cfg!(not(feature = "jpeg2000"))),
        ];
        !missing.contains(&(self, true))
    }

    /// The name as Pillow has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::WebP => "WEBP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Dib => "DIB",
            Self::Ico => "ICO",
            Self::Pnm => "PPM",
            Self::Tga => "TGA",
            Self::Qoi => "QOI",
            Self::Avif => "AVIF",
            Self::Jpeg2000 => "JPEG2000",
        }
    }

    /// The format that `bytes`, the beginning of a file, announce.
    pub(crate) fn guess(bytes: &[u8]) -> Option<Self> {
        let at = |from: usize, magic: &[u8]| bytes.get(from..from + magic.len()) == Some(magic);
        let starts = |magics: &[&[u8]]| magics.iter().any(|m| bytes.starts_with(m));
        Some(if starts(&[b"\xff\xd8\xff"]) {
            Self::Jpeg
        } else if starts(&[png::MAGIC]) {
            Self::Png
        } else if starts(&[b"GIF87a", b"GIF89a"]) {
            Self::Gif
        } else if starts(&[b"RIFF"]) && at(8, b"WEBP") {
            Self::WebP
        } else if starts(&[b"II*\0", b"MM\0*", b"II+\0"]) {
            Self::Tiff
        } else if starts(&[b"BM"]) {
            Self::Bmp
        } else if starts(&[b"\0\0\x01\0"]) {
            Self::Ico
        } else if pnm::is_pnm(bytes) {
            Self::Pnm
        } else if starts(&[b"qoif"]) {
            Self::Qoi
        } else if at(4, b"ftypavif") || at(4, b"ftypavis") {
            Self::Avif
        } else if starts(&[b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"]) {
            Self::Jpeg2000
        } else if bmp::is_headless(bytes) {
            Self::Dib
        } else if Targa::read(bytes).is_some() {
            Self::Tga
        } else {
            return None;
        })
    }

    pub(crate) fn of_crate(self) -> Option<image::ImageFormat> {
        Some(match self {
            Self::Tiff => image::ImageFormat::Tiff,
            _ => return None,
        })
    }
}

/// What is known of an image before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Width in pixels, after orientation.
    pub width: u32,
    /// Height in pixels, after orientation.
    pub height: u32,
    /// The format of the content.
    pub format: Format,
    /// EXIF orientation, 1 to 8: how the stored pixels must be turned to be seen upright.
    pub orientation: u8,
}

/// What the first bytes of a file tell.
#[derive(Debug)]
pub enum Probe {
    /// Enough was read.
    Known(Result<Header, ImageError>),
    /// At least this many bytes of the file must be read to know.
    Needs(usize),
    /// Only the whole file can tell.
    NeedsAll,
}

/// Reads the header from the first `bytes` of a file. Most JPEGs are known from 1 KiB.
#[must_use]
pub fn probe(bytes: &[u8]) -> Probe {
    match Format::guess(bytes) {
        Some(Format::Jpeg) => {
            match jpeg_header::walk(bytes) {
                Walk::Done(result) => Probe::Known(result.and_then(|jpeg| {
                    finish(Format::Jpeg, jpeg.width, jpeg.height, jpeg.orientation)
                })),
                Walk::Needs(bytes) => Probe::Needs(bytes),
            }
        }
        Some(_) => Probe::NeedsAll,
        None => Probe::Known(Err(unknown(bytes))),
    }
}

/// Reads the header from all the `bytes` of a file.
///
/// # Errors
/// `image_empty`, `image_unknown_format`, `image_corrupt`, `image_truncated`, `image_zero_size`,
/// `image_too_large`.
pub fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    match Format::guess(bytes) {
        None => Err(unknown(bytes)),
        Some(Format::Jpeg) => match probe(bytes) {
            Probe::Known(result) => result,
            Probe::Needs(_) | Probe::NeedsAll => Err(ImageError::truncated(format!(
                "the JPEG ends before its first scan ({} bytes)",
                bytes.len()
            ))),
        },
        Some(Format::Png) => {
            let png = png::header(bytes)?;
            finish(Format::Png, png.width, png.height, png.orientation)
        }
        Some(Format::Gif) => {
            let (width, height) = gif::size(bytes)?;
            finish(Format::Gif, width, height, 1)
        }
        Some(format @ (Format::Bmp | Format::Dib)) => {
            let bitmap = bitmap(format, bytes)?;
            finish(format, bitmap.width, bitmap.height, 1)
        }
        Some(Format::Ico) => {
            let (width, height) = Icon::read(bytes)?.size()?;
            finish(Format::Ico, width, height, 1)
        }
        Some(Format::Pnm) => {
            let map = Pnm::read(bytes)?;
            finish(Format::Pnm, map.width, map.height, 1)
        }
        Some(Format::Qoi) => {
            let (width, height) = qoi::size(bytes)?;
            finish(Format::Qoi, width, height, 1)
        }
        Some(Format::Tga) => {
            let targa = targa(bytes)?;
            finish(Format::Tga, targa.width, targa.height, 1)
        }
        Some(Format::Avif) => {
            let picture = avif::read(bytes)?;
            finish(
                Format::Avif,
                picture.width,
                picture.height,
                picture.orientation,
            )
        }
        Some(Format::Jpeg2000) => {
            let (width, height) = jpeg2000_size(bytes)?;
            finish(Format::Jpeg2000, width, height, 1)
        }
        Some(Format::WebP) => {
            let webp = Webp::open(bytes)?;
            let (width, height) = webp.size();
            check_size(width, height)?;
            let exif = webp.chunk(*b"EXIF").unwrap_or_default();
            let xmp = webp.chunk(*b"XMP ");
            let orientation = exif::meaning(
                exif::strict_orientation(&exif)?,
                xmp.as_deref().and_then(exif::xmp_orientation),
            );
            finish(Format::WebP, width, height, orientation)
        }
        Some(format) => {
            if format == Format::Tiff {
                tiff_kinds::check(bytes)?;
            }
            if let Some(page) = tiff_kinds::page(bytes).filter(|_| format == Format::Tiff) {
                let orientation = exif::meaning(exif::orientation(bytes), None);
                return finish(format, page.width, page.height, orientation);
            }
            let unread = || tiff_kinds::unread(bytes).filter(|_| format == Format::Tiff);
            crate_header(format, bytes).map_err(|error| unread().unwrap_or(error))
        }
    }
}

/// The header of a bitmap, with or without that of a file.
pub(crate) fn bitmap(format: Format, bytes: &[u8]) -> Result<Bitmap<'_>, ImageError> {
    if format == Format::Dib {
        Bitmap::headless(bytes, 0)
    } else {
        Bitmap::of_file(bytes)
    }
}

/// The header of a Targa file.
pub(crate) fn targa(bytes: &[u8]) -> Result<Targa<'_>, ImageError> {
    Targa::read(bytes).unwrap_or_else(|| Err(unknown(bytes)))
}

fn crate_header(format: Format, bytes: &[u8]) -> Result<Header, ImageError> {
    let Some(crate_format) = format.of_crate() else {
        return Err(unknown(bytes));
    };
    super::decode::guarded(format, || {
        let reader = ImageReader::with_format(Cursor::new(bytes), crate_format);
        let decoder = reader
            .into_decoder()
            .map_err(|error| super::decode::crate_error(format, &error))?;
        let (width, height) = decoder.dimensions();
        let orientation = exif::meaning(exif::orientation(bytes), None);
        finish(format, width, height, orientation)
    })
}

fn finish(format: Format, width: u32, height: u32, orientation: u8) -> Result<Header, ImageError> {
    check_size(width, height)?;
    let (width, height) = if orientation >= 5 {
        (height, width)
    } else {
        (width, height)
    };
    Ok(Header {
        width,
        height,
        format,
        orientation,
    })
}

fn unknown(bytes: &[u8]) -> ImageError {
    if bytes.is_empty() {
        return ImageError::new("image_empty", "the file is empty");
    }
    ImageError::new(
        "image_unknown_format",
        format!(
            "not a known image format: it looks like {}",
            sniff::looks_like(bytes)
        ),
    )
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn jpeg2000_size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let size = if bytes.starts_with(b"\xff\x4f") {
        // A bare codestream: extent minus offset of the reference grid.
        let read = |at| be32(bytes, at);
        match (read(8), read(12), read(16), read(20)) {
            (Some(x1), Some(y1), Some(x0), Some(y0)) => {
                Some((x1.saturating_sub(x0), y1.saturating_sub(y0)))
            }
            _ => None,
        }
    } else {
        memchr::memmem::find(bytes, b"ihdr")
            .and_then(|at| Some((be32(bytes, at + 8)?, be32(bytes, at + 4)?)))
    };
    size.ok_or_else(|| ImageError::corrupt("the JPEG 2000 file does not say its size"))
}
