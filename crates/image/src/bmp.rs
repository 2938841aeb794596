//! Windows bitmaps, with and without their file header, and icons made of them, as Pillow reads
//! them: few kinds of bit masks, a greyscale palette taken for no palette, run lengths that must
//! fill the whole picture.

use std::cmp::Reverse;

use super::raw::{Layout, Lines, Palette, palette};
use super::{ImageError, RgbImage, check_size, png};

fn le16(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

fn le32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

fn cut() -> ImageError {
    ImageError::truncated("the bitmap ends within its header")
}

fn unsupported(what: impl std::fmt::Display) -> ImageError {
    ImageError::new(
        "image_unsupported_format",
        format!("bitmaps of {what} are not supported"),
    )
}

/// Sizes of headers that are known.
const HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];

/// Whether a file may begin with a bitmap's header, without that of a file.
pub fn is_headless(bytes: &[u8]) -> bool {
    le32(bytes, 0).is_some_and(|size| HEADERS.contains(&size))
}

/// What a bitmap's header and palette say.
pub struct Bitmap<'a> {
    bytes: &'a [u8],
    pub width: u32,
    pub height: u32,
    layout: Layout,
    palette: Palette,
    upwards: bool,
    stride: usize,
    run_lengths: Option<RunLengths>,
    /// Where the pixels begin.
    start: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RunLengths {
    Bytes,
    Nibbles,
}

impl<'a> Bitmap<'a> {
    /// A file that begins with `BM`.
    pub fn of_file(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let start = le32(bytes, 10).ok_or_else(cut)?;
        Self::read(bytes, 14, usize::try_from(start).unwrap_or(usize::MAX))
    }

    /// A bitmap without the header of a file, from `at` on.
    pub fn headless(bytes: &'a [u8], at: usize) -> Result<Self, ImageError> {
        Self::read(bytes, at, 0)
    }

    fn read(bytes: &'a [u8], at: usize, mut start: usize) -> Result<Self, ImageError> {
        let size = le32(bytes, at).ok_or_else(cut)?;
        if !HEADERS.contains(&size) {
            return Err(unsupported(format_args!("a header of {size} bytes")));
        }
        let size = size as usize;
        let mut end = at + size;
        let header = bytes.get(at + 4..end).ok_or_else(cut)?;
        let short = |at| le16(header, at).ok_or_else(cut);
        let long = |at| le32(header, at).ok_or_else(cut);
        let old = size == 12;
        let downwards = !old && header.get(7) == Some(&u8::MAX);
        let (width, height, bits, compression, colours) = if old {
            (u32::from(short(0)?), u32::from(short(2)?), short(6)?, 0, 0)
        } else {
            let height = long(4)?;
            let height = if downwards {
                height.wrapping_neg()
            } else {
                height
            };
            (long(0)?, height, short(10)?, long(12)?, long(28)?)
        };
        let padding = if old { 3 } else { 4 };
        let mut masks = [0; 4];
        if compression == 3 {
            // Short headers have three masks behind them, long ones four within.
            for (index, mask) in masks.iter_mut().enumerate().take(3) {
                *mask = if header.len() >= 48 {
                    long(36 + index * 4)?
                } else {
                    le32(bytes, end + index * 4).ok_or_else(cut)?
                };
            }
            if header.len() >= 52 {
                masks[3] = long(48)?;
            } else if header.len() < 48 {
                end += 12;
            }
        }
        let count = match (colours, bits) {
            (0, bits) => 1_usize.checked_shl(u32::from(bits)).unwrap_or(0),
            (colours, _) => colours as usize,
        };
        if start == 14 + size && bits <= 8 {
            start = start.saturating_add(count.saturating_mul(padding));
        }
        let mut layout = match bits {
            1 => Layout::Index1,
            4 => Layout::Index4,
            8 => Layout::Index8,
            16 => Layout::Bgr15,
            24 => Layout::Bgr,
            32 => Layout::BgrX,
            _ => return Err(unsupported(format_args!("{bits} bits a pixel"))),
        };
        let run_lengths = match compression {
            0 => None,
            1 => Some(RunLengths::Bytes),
            2 => Some(RunLengths::Nibbles),
            3 => {
                layout = masked(bits, masks)
                    .ok_or_else(|| unsupported(format_args!("the bit masks {masks:x?}")))?;
                None
            }
            _ => return Err(unsupported(format_args!("compression {compression}"))),
        };
        let mut colours = [[0; 3]; 256];
        if bits <= 8 {
            if !(1..=65_536).contains(&count) {
                return Err(unsupported(format_args!("{count} colours")));
            }
            let stored = bytes.get(end..).unwrap_or_default();
            let stored = stored.get(..count * padding).unwrap_or(stored);
            end += stored.len();
            if is_grey(stored, count, padding) {
                layout = if count <= 2 {
                    Layout::Bit {
                        zero_is_white: false,
                    }
                } else {
                    Layout::Grey
                };
            } else {
                let kind = if old { Layout::Bgr } else { Layout::BgrX };
                colours = palette(stored, kind)?;
            }
        }
        check_size(width, height)?;
        Ok(Self {
            bytes,
            width,
            height,
            layout,
            palette: colours,
            upwards: !downwards,
            stride: ((width as usize * usize::from(bits) + 31) >> 3) & !3,
            run_lengths,
            start: if start == 0 { end } else { start },
        })
    }

    /// All pixels.
    pub fn decode(&self) -> Result<RgbImage, ImageError> {
        let data = self.bytes.get(self.start..).unwrap_or_default();
        let lines = Lines {
            layout: self.layout,
            width: self.width,
            height: self.height,
            stride: Some(self.stride),
            upwards: self.upwards,
            palette: &self.palette,
        };
        let Some(kind) = self.run_lengths else {
            return lines.decode(data);
        };
        let layout = match self.layout {
            Layout::Grey | Layout::Bit { .. } => Layout::Grey,
            Layout::Index1 | Layout::Index4 | Layout::Index8 => Layout::Index8,
            _ => return Err(unsupported("run lengths of true colours")),
        };
        let mut pixels = self.unpack(data, kind == RunLengths::Nibbles);
        if matches!(self.layout, Layout::Bit { .. }) {
            // A byte of a picture in black and white is white if it is anything.
            for pixel in &mut pixels {
                *pixel = if *pixel == 0 { 0 } else { u8::MAX };
            }
        }
        let stride = None;
        Lines {
            layout,
            stride,
            ..lines
        }
        .decode(&pixels)
    }

    /// Unpacks run lengths, one byte a pixel, as far as they go.
    fn unpack(&self, data: &[u8], nibbles: bool) -> Vec<u8> {
        let width = self.width as usize;
        let all = width * self.height as usize;
        let mut out = Vec::new();
        let (mut at, mut x) = (0, 0);
        let pixel = |byte: u8, number: usize| match (nibbles, number % 2) {
            (false, _) => byte,
            (true, 0) => byte >> 4,
            (true, _) => byte & 15,
        };
        while out.len() < all {
            let Some(&[count, value]) = data.get(at..).and_then(|rest| rest.first_chunk()) else {
                break;
            };
            at += 2;
            match (count, value) {
                (0, 0) => {
                    out.resize(out.len().next_multiple_of(width), 0);
                    x = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let Some(&[right, up]) = data.get(at..).and_then(|rest| rest.first_chunk())
                    else {
                        break;
                    };
                    at += 2;
                    let step = usize::from(right) + usize::from(up) * width;
                    out.resize(out.len() + step.min(all - out.len()), 0);
                    x = out.len() % width;
                }
                (0, literal) => {
                    let count = usize::from(literal).min(all - out.len());
                    let length = if nibbles { count.div_ceil(2) } else { count };
                    let rest = data.get(at..).unwrap_or_default();
                    let bytes = rest.get(..length).unwrap_or(rest);
                    for number in 0..count {
                        let byte = bytes.get(if nibbles { number / 2 } else { number });
                        out.extend(byte.map(|&byte| pixel(byte, number)));
                    }
                    at += bytes.len();
                    if bytes.len() < length || out.len() == all {
                        break;
                    }
                    x += usize::from(literal);
                    // To an even place in the file.
                    at += (self.start + at) % 2;
                }
                (count, value) => {
                    let count = usize::from(count).min(width.saturating_sub(x));
                    out.extend((0..count).map(|number| pixel(value, number)));
                    x += count;
                }
            }
        }
        out
    }
}

/// The few masks that are known.
fn masked(bits: u16, [red, green, blue, alpha]: [u32; 4]) -> Option<Layout> {
    const LOW: u32 = 0xff;
    const SECOND: u32 = 0xff00;
    const THIRD: u32 = 0xff_0000;
    const HIGH: u32 = 0xff00_0000;
    Some(match (bits, red, green, blue, alpha) {
        (32, THIRD, SECOND, LOW, 0 | HIGH) | (32, 0, 0, 0, 0) => Layout::BgrX,
        (32, HIGH, THIRD, SECOND, 0 | LOW) => Layout::XBgr,
        (32, HIGH, SECOND, LOW, 0 | THIRD) => Layout::BgXR,
        (32, LOW, SECOND, THIRD, HIGH) => Layout::RgbX,
        (24, THIRD, SECOND, LOW, _) => Layout::Bgr,
        (16, 0xf800, 0x7e0, 0x1f, _) => Layout::Bgr16,
        (16, 0x7c00, 0x3e0, 0x1f, _) => Layout::Bgr15,
        _ => return None,
    })
}

/// Whether each colour is the grey of its number, or of two colours one black and one white.
fn is_grey(stored: &[u8], count: usize, padding: usize) -> bool {
    count <= 256
        && (0..count).all(|index| {
            let level = if count == 2 { index * 255 } else { index };
            let colour = stored
                .get(index * padding..)
                .and_then(|rest| rest.first_chunk::<3>());
            colour.is_some_and(|colour| colour.iter().all(|&value| usize::from(value) == level))
        })
}

/// The picture that is shown of an icon: the largest, of those the one of the fewest colours.
pub enum Icon<'a> {
    Png(&'a [u8]),
    Bitmap(Box<Bitmap<'a>>),
}

impl<'a> Icon<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let cut = || ImageError::truncated("the icon ends within its list of pictures");
        let count = usize::from(le16(bytes, 4).ok_or_else(cut)?);
        let entries = bytes.get(6..6 + count * 16).ok_or_else(cut)?;
        let side = |value: u8| if value == 0 { 256 } else { u32::from(value) };
        let best = entries.chunks_exact(16).min_by_key(|entry| {
            let depth = match (le16(entry, 6), entry[2]) {
                (Some(bits @ 1..), _) => u32::from(bits),
                (_, colours @ 2..) => u8::BITS - (colours - 1).leading_zeros(),
                _ => 256,
            };
            (Reverse(side(entry[0]) * side(entry[1])), depth)
        });
        let best = best.ok_or_else(|| ImageError::corrupt("the icon holds no picture"))?;
        let number = |at| le32(best, at).map_or(0, |value| value as usize);
        let (length, start) = (number(8), number(12));
        let data = bytes.get(start..).unwrap_or_default();
        if data.starts_with(png::MAGIC) {
            return Ok(Self::Png(data));
        }
        let mut bitmap = Bitmap::headless(bytes, start)?;
        // The other half is the mask.
        bitmap.height /= 2;
        check_size(bitmap.width, bitmap.height)?;
        let (width, height) = (bitmap.width as usize, bitmap.height as usize);
        let cut = || ImageError::truncated("the icon ends within the mask of its picture");
        if le16(best, 6) == Some(32) {
            let pixels = bytes.len().saturating_sub(bitmap.start);
            if pixels / 4 < width * height {
                return Err(cut());
            }
        } else {
            let stride = width.next_multiple_of(32) / 8;
            let all = stride * height;
            let mask = (start + length).checked_sub(all).ok_or_else(cut)?;
            let there = bytes.len().saturating_sub(mask).min(all);
            if there < stride * (height - 1) + width.div_ceil(8) {
                return Err(cut());
            }
        }
        Ok(Self::Bitmap(Box::new(bitmap)))
    }

    pub fn size(&self) -> Result<(u32, u32), ImageError> {
        match self {
            Self::Png(bytes) => png::header(bytes).map(|png| (png.width, png.height)),
            Self::Bitmap(bitmap) => Ok((bitmap.width, bitmap.height)),
        }
    }

    pub fn decode(&self) -> Result<RgbImage, ImageError> {
        match self {
            Self::Png(bytes) => png::decode_rgb(bytes),
            Self::Bitmap(bitmap) => bitmap.decode(),
        }
    }
}
