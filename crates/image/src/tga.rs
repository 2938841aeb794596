//! Targa files, as Pillow reads them. They have no magic number, so they are looked for last.

use super::raw::{Layout, Lines, Palette, palette};
use super::{ImageError, RgbImage, check_size};

/// What a Targa file's header says.
pub struct Targa<'a> {
    pub width: u32,
    pub height: u32,
    layout: Option<Layout>,
    palette: Palette,
    upwards: bool,
    mirrored: bool,
    packed: bool,
    /// Bytes of a pixel as the run lengths count them.
    depth: usize,
    data: &'a [u8],
    /// Of a picture with alpha, the file's end is looked at.
    footer: Option<&'a [u8]>,
}

impl<'a> Targa<'a> {
    /// `None` if the bytes are no Targa file.
    pub fn read(bytes: &'a [u8]) -> Option<Result<Self, ImageError>> {
        let header: &[u8; 18] = bytes.first_chunk()?;
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let (id, mapped, kind) = (usize::from(header[0]), header[1], header[2]);
        let (width, height, depth, flags) = (word(12), word(14), header[16], header[17]);
        let known =
            matches!(kind, 1 | 2 | 3 | 9 | 10 | 11) && matches!(depth, 1 | 8 | 16 | 24 | 32);
        if mapped > 1 || width == 0 || height == 0 || !known {
            return None;
        }
        let mut data = bytes.get(18 + id..).unwrap_or_default();
        let mut colours = [[0; 3]; 256];
        let mut result = Ok(());
        if mapped == 1 {
            let layout = match header[7] {
                16 => Layout::Bgr15,
                24 => Layout::Bgr,
                32 => Layout::BgrX,
                _ => return None,
            };
            let size = layout.bits() / 8;
            let length = usize::from(word(5)) * size;
            let stored = data.get(..length).unwrap_or(data);
            data = data.get(stored.len()..).unwrap_or_default();
            let all = [vec![0; usize::from(word(3)) * size], stored.to_vec()].concat();
            // Only pictures that use it are hurt by a palette that is too large.
            if kind & 7 == 1 {
                match palette(&all, layout) {
                    Ok(found) => colours = found,
                    Err(error) => result = Err(error),
                }
            }
        }
        let layout = match (kind & 7, depth) {
            (1, 8) if mapped == 1 => Some(Layout::Index8),
            (3, 1) => Some(Layout::Bit {
                zero_is_white: false,
            }),
            (3, 8) => Some(Layout::Grey),
            (3, 16) => Some(Layout::GreyX),
            (2, 16) => Some(Layout::Bgr15),
            (2, 24) => Some(Layout::Bgr),
            (2, 32) => Some(Layout::BgrX),
            _ => None,
        };
        let with_alpha = kind & 7 == 2 && depth != 24;
        let targa = Self {
            width: u32::from(width),
            height: u32::from(height),
            layout,
            palette: colours,
            upwards: flags & 0x20 == 0,
            mirrored: flags & 0x10 != 0,
            packed: kind & 8 != 0,
            depth: usize::from(depth) / 8,
            data,
            footer: with_alpha.then_some(bytes),
        };
        Some(result.map(|()| targa))
    }

    /// All pixels.
    pub fn decode(&self) -> Result<RgbImage, ImageError> {
        check_size(self.width, self.height)?;
        let layout = self.layout.ok_or_else(|| {
            ImageError::new(
                "image_unsupported_format",
                "Targa pixels of this depth are not supported",
            )
        })?;
        let lines = Lines {
            layout,
            width: self.width,
            height: self.height,
            stride: None,
            upwards: self.upwards,
            palette: &self.palette,
        };
        let image = if self.packed {
            lines.decode(&self.unpack(layout)?)?
        } else {
            lines.decode(self.data)?
        };
        if self.footer.is_some_and(|bytes| bytes.len() < 26) {
            return Err(ImageError::truncated(
                "the Targa file is too short for its end",
            ));
        }
        Ok(if self.mirrored {
            image.oriented(2)
        } else {
            image
        })
    }

    fn unpack(&self, layout: Layout) -> Result<Vec<u8>, ImageError> {
        let line = (self.width as usize * layout.bits()).div_ceil(8);
        let all = line * self.height as usize;
        let depth = self.depth.max(1);
        let mut out = Vec::new();
        let mut data = self.data;
        while out.len() < all {
            let cut = || ImageError::truncated("the Targa file ends before its last pixel");
            let (&head, rest) = data.split_first().ok_or_else(cut)?;
            let length = depth * (usize::from(head & 0x7f) + 1);
            if head & 0x80 == 0 {
                let (pixels, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
                out.extend_from_slice(pixels);
                data = rest;
            } else {
                let (pixel, rest) = rest.split_at_checked(depth).ok_or_else(cut)?;
                // A literal may go on into the next line, a run may not.
                if out.len() % line + length > line {
                    return Err(ImageError::corrupt(
                        "a run of the Targa file leaves its line",
                    ));
                }
                out.extend(pixel.iter().cycle().take(length));
                data = rest;
            }
        }
        Ok(out)
    }
}
