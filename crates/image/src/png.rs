//! PNG with Pillow's leniencies: chunk checksums matter before the pixels and not within or after
//! them, where only the checksum of the compressed data counts.

use std::io::Cursor;

use super::{ImageError, RgbImage, check_size, exif};

/// The signature that begins every PNG.
pub const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What the chunks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PngHeader {
    /// Stored width in pixels.
    pub width: u32,
    /// Stored height in pixels.
    pub height: u32,
    /// EXIF orientation, 1 to 8.
    pub orientation: u8,
}

/// Walks all chunks: metadata may follow the pixels.
pub fn header(bytes: &[u8]) -> Result<PngHeader, ImageError> {
    let mut size = None;
    let mut exif = None;
    let mut xmp = None;
    let mut pixels = false;
    let mut chunks = Chunks {
        bytes,
        at: MAGIC.len(),
    };
    while let Some(chunk) = chunks.next(pixels)? {
        match &chunk.name {
            b"IHDR" => size = Some(check_ihdr(chunk.data)?),
            b"IDAT" => pixels = true,
            b"eXIf" => exif = Some(chunk.data),
            b"iTXt" => xmp = xmp_text(chunk.data).or(xmp),
            b"IEND" => break,
            _ => {}
        }
    }
    let (width, height) = size.ok_or_else(|| ImageError::corrupt("the PNG has no header chunk"))?;
    if !pixels {
        return Err(ImageError::truncated("the PNG has no pixels"));
    }
    let turn = exif::meaning(
        exif.and_then(exif::orientation),
        xmp.and_then(exif::xmp_orientation),
    );
    Ok(PngHeader {
        width,
        height,
        orientation: turn,
    })
}

/// All pixels as RGB, not oriented: palettes expanded, alpha dropped, 16-bit colour cut to its
/// high byte, 16-bit grey clipped at 255.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let found = header(bytes)?;
    check_size(found.width, found.height)?;
    let mut options = png::DecodeOptions::default();
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = png::Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(png::Limits { bytes: usize::MAX });
    let mut reader = decoder.read_info().map_err(|error| failure(&error))?;
    let info = reader.info();
    let palette = info.palette.as_deref().unwrap_or_default().to_vec();
    let (width, height) = (info.width, info.height);
    let (color, depth) = (info.color_type, info.bit_depth);
    let pixel_bits = info.bits_per_pixel();
    let stride = (width as usize * pixel_bits).div_ceil(8);
    let layout = Layout {
        color,
        depth,
        palette: &palette,
        width: width as usize,
    };
    let mut out = Vec::with_capacity(width as usize * height as usize * 3);
    if info.interlaced {
        let mut stored = vec![0; stride * height as usize];
        let bits = u8::try_from(pixel_bits).unwrap_or(u8::MAX);
        while let Some(row) = reader
            .next_interlaced_row()
            .map_err(|error| failure(&error))?
        {
            if let png::InterlaceInfo::Adam7(pass) = row.interlace() {
                png::expand_interlaced_row(&mut stored, stride, row.data(), pass, bits);
            }
        }
        for row in stored.chunks_exact(stride) {
            layout.to_rgb(row, &mut out);
        }
    } else {
        for _ in 0..height {
            let Some(row) = reader.next_row().map_err(|error| failure(&error))? else {
                break;
            };
            layout.to_rgb(row.data(), &mut out);
        }
        // Reads on to the checksum of the pixels; that what follows is missing does no harm.
        match reader.next_row().map_err(|error| failure(&error)) {
            Err(error) if error.code == "image_corrupt" => return Err(error),
            _ => {}
        }
    }
    RgbImage::new(width, height, out)
        .ok_or_else(|| ImageError::truncated("the PNG has fewer rows than it says"))
}

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
}

struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Chunks<'a> {
    /// The next chunk. Before the pixels it must be whole and its checksum right; after them the
    /// list may break off between chunks, and pixels may be cut (their decoder will tell).
    fn next(&mut self, pixels: bool) -> Result<Option<Chunk<'a>>, ImageError> {
        let cut = || ImageError::truncated("the PNG ends within a chunk");
        let part = |from: usize, to: usize| self.bytes.get(from..to);
        let head = part(self.at, self.at + 8).and_then(|h| h.split_first_chunk::<4>());
        let Some((length, name)) = head else {
            return if pixels { Ok(None) } else { Err(cut()) };
        };
        let name: [u8; 4] = name.try_into().unwrap_or_default();
        if !name.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_') {
            return if pixels {
                Ok(None)
            } else {
                Err(ImageError::corrupt("the PNG has a chunk without a name"))
            };
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let start = self.at + 8;
        let end = start.saturating_add(length);
        if &name == b"IDAT" {
            self.at = end.saturating_add(4).min(self.bytes.len());
            return Ok(Some(Chunk { name, data: &[] }));
        }
        if &name == b"IEND" {
            return Ok(Some(Chunk { name, data: &[] }));
        }
        let data = part(start, end).ok_or_else(cut)?;
        if !pixels {
            let stored: [u8; 4] = part(end, end + 4)
                .and_then(|crc| crc.try_into().ok())
                .ok_or_else(cut)?;
            let mut sum = flate2::Crc::new();
            sum.update(&name);
            sum.update(data);
            if sum.sum() != u32::from_be_bytes(stored) {
                return Err(ImageError::corrupt(format!(
                    "the PNG's {} chunk has a wrong checksum",
                    String::from_utf8_lossy(&name)
                )));
            }
        }
        self.at = end.saturating_add(4).min(self.bytes.len());
        Ok(Some(Chunk { name, data }))
    }
}

fn check_ihdr(data: &[u8]) -> Result<(u32, u32), ImageError> {
    let &[
        w3,
        w2,
        w1,
        w0,
        h3,
        h2,
        h1,
        h0,
        depth,
        color,
        _,
        filter,
        _,
        ..,
    ] = data
    else {
        return Err(ImageError::corrupt("the PNG's header chunk is too short"));
    };
    let known = match color {
        0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
        3 => matches!(depth, 1 | 2 | 4 | 8),
        2 | 4 | 6 => matches!(depth, 8 | 16),
        _ => false,
    };
    if !known || filter != 0 {
        return Err(ImageError::corrupt(format!(
            "the PNG has colour type {color} with {depth} bits and filter method {filter}"
        )));
    }
    Ok((
        u32::from_be_bytes([w3, w2, w1, w0]),
        u32::from_be_bytes([h3, h2, h1, h0]),
    ))
}

/// The XMP packet of an uncompressed international text chunk.
fn xmp_text(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(b"XML:com.adobe.xmp\0")?;
    // Compression flag and method, then language and translated keyword, each ended by a zero.
    let rest = rest.strip_prefix(b"\0").and_then(|r| r.get(1..))?;
    let language = memchr::memchr(0, rest)?;
    let rest = rest.get(language + 1..)?;
    let keyword = memchr::memchr(0, rest)?;
    rest.get(keyword + 1..)
}

struct Layout<'a> {
    color: png::ColorType,
    depth: png::BitDepth,
    palette: &'a [u8],
    width: usize,
}

impl Layout<'_> {
    fn to_rgb(&self, row: &[u8], out: &mut Vec<u8>) {
        use png::BitDepth::Sixteen;
        use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let wide = self.depth == Sixteen;
        match (self.color, wide) {
            (Rgb, false) => out.extend_from_slice(row),
            (Rgb, true) => out.extend(row.chunks_exact(2).map(|v| v[0])),
            (Rgba, false) => row
                .chunks_exact(4)
                .for_each(|p| out.extend_from_slice(&p[..3])),
            (Rgba, true) => row
                .chunks_exact(8)
                .for_each(|p| out.extend([p[0], p[2], p[4]])),
            (GrayscaleAlpha, false) => row.chunks_exact(2).for_each(|p| out.extend([p[0]; 3])),
            (GrayscaleAlpha, true) => row.chunks_exact(4).for_each(|p| out.extend([p[0]; 3])),
            (Grayscale, true) => row.chunks_exact(2).for_each(|p| {
                let clipped = if p[0] > 0 { u8::MAX } else { p[1] };
                out.extend([clipped; 3]);
            }),
            (Grayscale, false) => {
                let scale = u8::MAX / self.max_value();
                self.each_value(row, |value| out.extend([value * scale; 3]));
            }
            (Indexed, _) => self.each_value(row, |value| {
                let at = usize::from(value) * 3;
                out.extend_from_slice(self.palette.get(at..at + 3).unwrap_or(&[0; 3]));
            }),
        }
    }

    fn max_value(&self) -> u8 {
        match self.depth {
            png::BitDepth::One => 1,
            png::BitDepth::Two => 3,
            png::BitDepth::Four => 15,
            png::BitDepth::Eight | png::BitDepth::Sixteen => u8::MAX,
        }
    }

    /// Calls `each` with every value of a row of values of at most 8 bits.
    fn each_value(&self, row: &[u8], mut each: impl FnMut(u8)) {
        let max = self.max_value();
        let bits = max.count_ones() as usize;
        for x in 0..self.width {
            let bit = x * bits;
            let byte = row.get(bit / 8).copied().unwrap_or(0);
            each((byte >> (8 - bits - bit % 8)) & max);
        }
    }
}

fn failure(error: &png::DecodingError) -> ImageError {
    match error {
        png::DecodingError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::truncated("the PNG ends before its last row")
        }
        other => ImageError::corrupt(format!("not a valid PNG: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(
        (width, height): (u32, u32),
        color: png::ColorType,
        depth: png::BitDepth,
        data: &[u8],
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![1, 2, 3, 4, 5, 6]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        out
    }

    fn pixels(bytes: &[u8]) -> Vec<u8> {
        decode_rgb(bytes).unwrap().data().to_vec()
    }

    #[test]
    fn every_colour_type_becomes_rgb_as_in_pillow() {
        use png::{BitDepth as D, ColorType as C};
        let grey16 = encode((2, 1), C::Grayscale, D::Sixteen, &[0, 200, 1, 0]);
        assert_eq!(pixels(&grey16), [200, 200, 200, 255, 255, 255]);
        let rgb16 = encode((1, 1), C::Rgb, D::Sixteen, &[1, 255, 2, 255, 3, 255]);
        assert_eq!(pixels(&rgb16), [1, 2, 3]);
        let rgba = encode((1, 1), C::Rgba, D::Eight, &[9, 8, 7, 0]);
        assert_eq!(pixels(&rgba), [9, 8, 7]);
        let two_bit = encode((4, 1), C::Grayscale, D::Two, &[0b0001_1011]);
        assert_eq!(
            pixels(&two_bit),
            [0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255]
        );
        let palette = encode((3, 1), C::Indexed, D::One, &[0b0100_0000]);
        assert_eq!(pixels(&palette), [1, 2, 3, 4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn a_cut_or_a_wrong_header_checksum_is_refused() {
        let data: Vec<u8> = (0..=255).collect();
        let whole = encode(
            (16, 16),
            png::ColorType::Grayscale,
            png::BitDepth::Eight,
            &data,
        );
        assert!(decode_rgb(&whole).is_ok());
        assert_eq!(
            decode_rgb(&whole[..whole.len() - 40]).unwrap_err().code,
            "image_truncated"
        );
        let mut wrong = whole.clone();
        wrong[29] ^= 1;
        assert_eq!(decode_rgb(&wrong).unwrap_err().code, "image_corrupt");
        let mut damaged = whole.clone();
        let adler = whole.len() - 20;
        damaged[adler] ^= 1;
        assert_eq!(decode_rgb(&damaged).unwrap_err().code, "image_corrupt");
        // The end chunk itself may be missing, and the pixels' chunk checksum wrong.
        damaged[adler] ^= 1;
        damaged[adler + 4] ^= 1;
        assert!(decode_rgb(&damaged).is_ok());
        assert!(decode_rgb(&whole[..whole.len() - 12]).is_ok());
    }
}
