//! Image files of pixels, in the format that a file's extension names, as Pillow saves RGB.

use std::io::Cursor;

use super::{ImageError, RgbImage, jpeg_write};

/// A format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Quality 75, 4:2:0; the bytes are Pillow's.
    Jpeg,
    /// Lossless.
    Png,
    /// 24 bits a pixel.
    Bmp,
    /// Uncompressed.
    Tiff,
    /// Binary, 8 bits a value.
    Ppm,
}

impl FileFormat {
    /// The format that Pillow takes for a file of this extension (without its dot, in any case).
    ///
    /// # Errors
    /// `image_not_writable` if there is none, or none that is written here.
    pub fn of_extension(extension: &str) -> Result<Self, ImageError> {
        match extension.to_lowercase().as_str() {
            "jpg" | "jpeg" | "jpe" | "jfif" => Ok(Self::Jpeg),
            "png" | "apng" => Ok(Self::Png),
            "bmp" => Ok(Self::Bmp),
            "tif" | "tiff" => Ok(Self::Tiff),
            "ppm" | "pnm" | "pbm" | "pgm" => Ok(Self::Ppm),
            "" => Err(ImageError::new(
                "image_not_writable",
                "the name has no extension that says which format to write",
            )),
            other => Err(ImageError::new(
                "image_not_writable",
                format!("images are not written as .{other}, only as JPEG, PNG, BMP, TIFF and PPM"),
            )),
        }
    }

    /// The file of `image`.
    ///
    /// # Errors
    /// `image_not_writable` if the format has no room for its size.
    pub fn encode(self, image: &RgbImage) -> Result<Vec<u8>, ImageError> {
        let format = match self {
            Self::Jpeg => return jpeg_write::encode_rgb(image),
            Self::Ppm => return Ok(ppm(image)),
            Self::Png => image::ImageFormat::Png,
            Self::Bmp => image::ImageFormat::Bmp,
            Self::Tiff => image::ImageFormat::Tiff,
        };
        let mut out = Cursor::new(Vec::new());
        image::write_buffer_with_format(
            &mut out,
            image.data(),
            image.width(),
            image.height(),
            image::ExtendedColorType::Rgb8,
            format,
        )
        .map_err(|error| ImageError::new("image_not_writable", error.to_string()))?;
        Ok(out.into_inner())
    }
}

fn ppm(image: &RgbImage) -> Vec<u8> {
    let mut out = format!("P6\n{} {}\n255\n", image.width(), image.height()).into_bytes();
    out.extend_from_slice(image.data());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    #[test]
    fn what_is_written_without_loss_is_read_back() {
        let image = RgbImage::new(7, 5, (0..105).collect()).unwrap();
        for extension in ["png", "BMP", "tif", "ppm"] {
            let format = FileFormat::of_extension(extension).unwrap();
            let file = format.encode(&image).unwrap();
            assert_eq!(decode(&file).unwrap().image, image, "{extension}");
        }
    }

    #[test]
    fn other_formats_say_so() {
        for extension in ["gif", "webp", "", "jpg2", "tar"] {
            let error = FileFormat::of_extension(extension).unwrap_err();
            assert_eq!(error.code, "image_not_writable");
        }
    }
}
