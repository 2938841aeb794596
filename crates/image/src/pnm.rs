//! Portable bitmaps, greymaps, pixmaps and float maps, as Pillow reads them.

use super::raw::{Layout, Lines};
use super::{ImageError, RgbImage, check_size};

/// Bytes of pixels as text that Pillow looks at together.
const BLOCK: usize = 1 << 20;

/// The longest number, in characters.
const LONGEST: usize = 10;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bits,
    Grey,
    Colour,
    Cmyk,
    Float,
}

/// A file whose header was read.
pub struct Pnm<'a> {
    kind: Kind,
    plain: bool,
    pub width: u32,
    pub height: u32,
    /// The greatest value; of float maps, 1 if the low byte comes first.
    most: u32,
    data: &'a [u8],
}

/// Whether the bytes begin as one of these formats.
pub fn is_pnm(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'0'..=b'6' | b'f', ..])
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn corrupt(what: &'static str) -> ImageError {
    ImageError::corrupt(what)
}

/// A whole number as Python reads it.
fn integer(token: &[u8]) -> Option<i64> {
    let digits = token.strip_prefix(b"-").or(token.strip_prefix(b"+"));
    let digits = digits.unwrap_or(token);
    let mut value = 0_i64;
    let mut after_digit = false;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + i64::from(byte - b'0');
                after_digit = true;
            }
            b'_' if after_digit => after_digit = false,
            _ => return None,
        }
    }
    let sign = if token.first() == Some(&b'-') { -1 } else { 1 };
    after_digit.then_some(sign * value)
}

/// `value` of `most`, on a scale to `top`.
fn scaled(value: u32, most: u32, top: u32) -> u32 {
    let scaled = (f64::from(value) / f64::from(most) * f64::from(top)).round_ties_even();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between zero and a number of 16 bits squared"
    )]
    let scaled = scaled as u32;
    scaled.min(top)
}

struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Tokens<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// The next word of the header; comments may stand within.
    fn next(&mut self) -> Result<Vec<u8>, ImageError> {
        let mut token = Vec::new();
        while token.len() <= LONGEST {
            match self.byte() {
                None => break,
                Some(space) if is_space(space) => {
                    if !token.is_empty() {
                        break;
                    }
                }
                Some(b'#') => while !matches!(self.byte(), None | Some(b'\r' | b'\n')) {},
                Some(byte) => token.push(byte),
            }
        }
        if token.is_empty() || token.len() > LONGEST {
            return Err(corrupt("the header of the portable map is broken"));
        }
        Ok(token)
    }

    fn integer(&mut self) -> Result<i64, ImageError> {
        integer(&self.next()?).ok_or_else(|| corrupt("the portable map's header has no number"))
    }
}

impl<'a> Pnm<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut magic = bytes.get(..6).unwrap_or(bytes);
        let mut at = magic.len();
        if let Some(end) = magic.iter().position(|&byte| is_space(byte)) {
            magic = magic.get(..end).unwrap_or_default();
            at = end + 1;
        }
        let (kind, plain) = match magic {
            b"P1" => (Kind::Bits, true),
            b"P2" => (Kind::Grey, true),
            b"P3" => (Kind::Colour, true),
            b"P4" => (Kind::Bits, false),
            b"P5" => (Kind::Grey, false),
            b"P6" => (Kind::Colour, false),
            b"P0CMYK" => (Kind::Cmyk, false),
            b"Pf" => (Kind::Float, false),
            _ => {
                return Err(ImageError::new(
                    "image_unknown_format",
                    "not a known image format: it begins like a portable map and is none",
                ));
            }
        };
        let mut tokens = Tokens { bytes, at };
        let mut side = || -> Result<u32, ImageError> {
            let side = tokens.integer()?;
            u32::try_from(side.max(0)).map_err(|_| corrupt("the portable map is too large"))
        };
        let (width, height) = (side()?, side()?);
        let most = match kind {
            Kind::Bits => 1,
            Kind::Float => {
                let token = String::from_utf8(tokens.next()?).unwrap_or_default();
                let scale = token
                    .parse::<f64>()
                    .ok()
                    .filter(|s| *s != 0.0 && s.is_finite());
                let scale = scale.ok_or_else(|| corrupt("the float map's scale is no number"))?;
                u32::from(scale < 0.0)
            }
            _ => u32::try_from(tokens.integer()?)
                .ok()
                .filter(|most| (1..65_536).contains(most))
                .ok_or_else(|| corrupt("the portable map's greatest value is out of range"))?,
        };
        check_size(width, height)?;
        Ok(Self {
            kind,
            plain,
            width,
            height,
            most,
            data: bytes.get(tokens.at..).unwrap_or_default(),
        })
    }

    /// All pixels.
    pub fn decode(&self) -> Result<RgbImage, ImageError> {
        let pixels = self.width as usize * self.height as usize;
        let lines = |layout| Lines {
            layout,
            width: self.width,
            height: self.height,
            stride: None,
            upwards: false,
            palette: &[[0; 3]; 256],
        };
        let raw = match (self.kind, self.most) {
            (Kind::Bits, _) if !self.plain => Some(Layout::Bit {
                zero_is_white: true,
            }),
            (Kind::Grey, 255) if !self.plain => Some(Layout::Grey),
            (Kind::Colour, 255) if !self.plain => Some(Layout::Rgb),
            (Kind::Cmyk, 255) => Some(Layout::Cmyk),
            _ => None,
        };
        if let Some(layout) = raw {
            return lines(layout).decode(self.data);
        }
        let values = match self.kind {
            Kind::Bits => self.plain_bits(pixels)?,
            Kind::Grey | Kind::Colour | Kind::Cmyk => {
                let channels = match self.kind {
                    Kind::Grey => 1,
                    Kind::Colour => 3,
                    _ => 4,
                };
                let values = if self.plain {
                    self.plain_values(pixels * channels)?
                } else {
                    self.binary_values(pixels * channels)?
                };
                // Grey beyond a byte has 16 bits, of which a picture in colours has those that fit.
                let wide = self.kind == Kind::Grey && self.most > 255;
                let top = if wide { 65_535 } else { 255 };
                let level = |value| scaled(value, self.most, top).min(255);
                values
                    .into_iter()
                    .map(|value| u8::try_from(level(value)).unwrap_or(u8::MAX))
                    .collect()
            }
            Kind::Float => self.floats(pixels),
        };
        let layout = match self.kind {
            Kind::Colour => Layout::Rgb,
            Kind::Cmyk => Layout::Cmyk,
            _ => Layout::Grey,
        };
        let upwards = self.kind == Kind::Float;
        Lines {
            upwards,
            ..lines(layout)
        }
        .decode(&values)
    }

    fn binary_values(&self, count: usize) -> Result<Vec<u32>, ImageError> {
        let size = if self.most < 256 { 1 } else { 2 };
        let data = self
            .data
            .get(..count * size)
            .ok_or_else(|| ImageError::truncated("the portable map ends before its last pixel"))?;
        Ok(data
            .chunks_exact(size)
            .map(|bytes| {
                bytes
                    .iter()
                    .fold(0, |value, &byte| value << 8 | u32::from(byte))
            })
            .collect())
    }

    fn floats(&self, count: usize) -> Vec<u8> {
        let values = self.data.as_chunks::<4>().0.iter().take(count);
        values
            .map(|bytes| {
                let value = if self.most == 1 {
                    f32::from_le_bytes(*bytes)
                } else {
                    f32::from_be_bytes(*bytes)
                };
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "cut to a byte, as Pillow does"
                )]
                let level = value.clamp(0.0, 255.0) as u8;
                level
            })
            .collect()
    }

    /// The data in blocks, without comments, which end with their line and take its end along.
    fn blocks(&self) -> impl Iterator<Item = Vec<u8>> {
        let mut comment = false;
        self.data.chunks(BLOCK).map(move |block| {
            let mut out = Vec::with_capacity(block.len());
            for &byte in block {
                match (comment, byte) {
                    (true, b'\r' | b'\n') => comment = false,
                    (true, _) => {}
                    (false, b'#') => comment = true,
                    (false, byte) => out.push(byte),
                }
            }
            out
        })
    }

    fn plain_bits(&self, count: usize) -> Result<Vec<u8>, ImageError> {
        let mut out = Vec::with_capacity(count);
        for block in self.blocks() {
            if out.len() == count {
                break;
            }
            for byte in block.into_iter().filter(|&byte| !is_space(byte)) {
                match byte {
                    b'0' => out.push(u8::MAX),
                    b'1' => out.push(0),
                    _ => return Err(corrupt("the bitmap has something else than 0 and 1")),
                }
            }
            out.truncate(count);
        }
        Ok(out)
    }

    fn plain_values(&self, count: usize) -> Result<Vec<u32>, ImageError> {
        let mut out = Vec::new();
        let mut half = Vec::new();
        // One block more lets the last number end.
        for mut block in self.blocks().chain([b" ".to_vec()]) {
            if out.len() == count {
                break;
            }
            block.splice(..0, std::mem::take(&mut half));
            let mut tokens: Vec<&[u8]> = block
                .split(|&byte| is_space(byte))
                .filter(|token| !token.is_empty())
                .collect();
            if block.last().is_some_and(|&last| !is_space(last)) {
                half = tokens.pop().unwrap_or_default().to_vec();
            }
            for token in tokens.into_iter().chain([half.as_slice()]) {
                if token.len() > LONGEST {
                    return Err(corrupt("a value of the portable map is too long"));
                }
            }
            for token in block
                .get(..block.len() - half.len())
                .unwrap_or_default()
                .split(|&byte| is_space(byte))
                .filter(|token| !token.is_empty())
            {
                if out.len() == count {
                    break;
                }
                let value = integer(token).and_then(|value| u32::try_from(value).ok());
                out.push(
                    value
                        .filter(|value| *value <= self.most)
                        .ok_or_else(|| corrupt("a value of the portable map is out of range"))?,
                );
            }
        }
        Ok(out)
    }
}
