//! Pixels that lie uncompressed in a file, line by line, as Pillow's raw decoder takes them.

use super::{ImageError, RgbImage, check_size};

/// Colours by index; those that a file leaves out are black.
pub type Palette = [[u8; 3]; 256];

/// How a pixel is stored. The names are those of the channels, in the order of the bytes; an `X` is
/// a byte without a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One bit: black and white, or white and black.
    Bit {
        zero_is_white: bool,
    },
    /// An index of one, four or eight bits.
    Index1,
    Index4,
    Index8,
    Grey,
    GreyX,
    Bgr,
    BgrX,
    XBgr,
    BgXR,
    RgbX,
    Rgb,
    /// Five bits a channel in two bytes.
    Bgr15,
    /// Five, six and five.
    Bgr16,
    /// Four inks, none of which are 0.
    Cmyk,
}

impl Layout {
    pub fn bits(self) -> usize {
        match self {
            Self::Bit { .. } | Self::Index1 => 1,
            Self::Index4 => 4,
            Self::Index8 | Self::Grey => 8,
            Self::GreyX | Self::Bgr15 | Self::Bgr16 => 16,
            Self::Bgr | Self::Rgb => 24,
            Self::BgrX | Self::XBgr | Self::BgXR | Self::RgbX | Self::Cmyk => 32,
        }
    }

    /// The colour of the pixel that begins with `bytes`, of which it is number `x`.
    fn colour(self, row: &[u8], x: usize, palette: &Palette) -> [u8; 3] {
        let byte = |i: usize| row.get(i).copied().unwrap_or(0);
        let part = |bits: usize| {
            let bit = x * bits;
            byte(bit / 8) << (bit % 8) >> (8 - bits)
        };
        let indexed = |index: u8| palette[usize::from(index)];
        // Channel `order[i]` of four bytes becomes channel `i`.
        let four = |order: [usize; 3]| order.map(|channel| byte(x * 4 + channel));
        let word = || u32::from(u16::from_le_bytes([byte(x * 2), byte(x * 2 + 1)]));
        let scaled = |value: u32, most: u32| u8::try_from((value & most) * 255 / most).unwrap_or(0);
        match self {
            Self::Bit { zero_is_white } => {
                let white = (part(1) == 0) == zero_is_white;
                [if white { u8::MAX } else { 0 }; 3]
            }
            Self::Index1 => indexed(part(1)),
            Self::Index4 => indexed(part(4)),
            Self::Index8 => indexed(byte(x)),
            Self::Grey => [byte(x); 3],
            Self::GreyX => [byte(x * 2); 3],
            Self::Bgr => [byte(x * 3 + 2), byte(x * 3 + 1), byte(x * 3)],
            Self::Rgb => [byte(x * 3), byte(x * 3 + 1), byte(x * 3 + 2)],
            Self::BgrX => four([2, 1, 0]),
            Self::XBgr => four([3, 2, 1]),
            Self::BgXR => four([3, 1, 0]),
            Self::RgbX => four([0, 1, 2]),
            Self::Bgr15 => {
                let pixel = word();
                [pixel >> 10, pixel >> 5, pixel].map(|value| scaled(value, 31))
            }
            Self::Bgr16 => {
                let pixel = word();
                [
                    scaled(pixel >> 11, 31),
                    scaled(pixel >> 5, 63),
                    scaled(pixel, 31),
                ]
            }
            Self::Cmyk => {
                let white = 255 - u32::from(byte(x * 4 + 3));
                four([0, 1, 2]).map(|ink| {
                    let product = u32::from(ink) * white + 128;
                    let scaled = ((product >> 8) + product) >> 8;
                    u8::try_from(white.saturating_sub(scaled)).unwrap_or(0)
                })
            }
        }
    }
}

/// Lines of pixels in a file.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    pub layout: Layout,
    pub width: u32,
    pub height: u32,
    /// From the beginning of a line to that of the next; `None` if nothing is between them.
    pub stride: Option<usize>,
    /// The first line is the lowest.
    pub upwards: bool,
    pub palette: &'a Palette,
}

impl Lines<'_> {
    /// The picture in `data`, which may hold more. What follows the last pixel may be missing.
    pub fn decode(&self, data: &[u8]) -> Result<RgbImage, ImageError> {
        check_size(self.width, self.height)?;
        let (width, height) = (self.width as usize, self.height as usize);
        let length = (width * self.layout.bits()).div_ceil(8);
        let stride = self.stride.unwrap_or(length);
        if stride < length {
            return Err(ImageError::corrupt(
                "the lines of the image are longer than they may be",
            ));
        }
        let needed = stride
            .checked_mul(height - 1)
            .and_then(|all| all.checked_add(length));
        if needed.is_none_or(|needed| data.len() < needed) {
            return Err(ImageError::truncated("the file ends before the last pixel"));
        }
        let mut out = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let line = if self.upwards { height - 1 - y } else { y };
            let row = data.get(line * stride..).unwrap_or_default();
            for x in 0..width {
                out.extend_from_slice(&self.layout.colour(row, x, self.palette));
            }
        }
        RgbImage::new(self.width, self.height, out)
            .ok_or_else(|| ImageError::corrupt("the decoder returned an impossible size"))
    }
}

/// A palette of `bytes` in which each colour takes so many as `layout` says.
pub fn palette(bytes: &[u8], layout: Layout) -> Result<Palette, ImageError> {
    let count = bytes.len() * 8 / layout.bits();
    let mut palette = [[0; 3]; 256];
    if count > palette.len() {
        return Err(ImageError::corrupt("the palette of the image is too large"));
    }
    for (index, colour) in palette.iter_mut().enumerate().take(count) {
        *colour = layout.colour(bytes, index, &[[0; 3]; 256]);
    }
    Ok(palette)
}
