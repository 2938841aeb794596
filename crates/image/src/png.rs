//! PNG as Pillow reads it, chunk by chunk.
//!
//! Pillow checks more than a decoder must (the sizes of metadata, what compressed texts unpack to,
//! the order of an animation's frames) and less (checksums count before the pixels only, rows may
//! be missing at the end). So its walk over the chunks is repeated here, and the `png` crate sees
//! nothing but size, depth and compressed pixels. Where that crate gives up, [`Patient`] decides.

use std::borrow::Cow;
use std::io::Cursor;

use flate2::{Decompress, FlushDecompress, Status};

use super::{ImageError, RgbImage, check_size, exif};

/// The signature that begins every PNG.
pub const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The most bytes that a compressed text or colour profile may unpack to.
const MAX_TEXT: usize = 1 << 20;

/// The most characters that all texts may have together.
const MAX_ALL_TEXT: usize = 64 << 20;

/// The most compressed bytes that Pillow hands to its decoder at a time.
const BLOCK: usize = 1 << 16;

/// The keyword of the texts that hold EXIF data as hexadecimal digits.
const RAW_EXIF: &[u8] = b"Raw profile type exif";

/// The keyword of the texts that hold XMP.
const XMP: &[u8] = b"XML:com.adobe.xmp";

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
    let png = Walk::through(bytes)?;
    Ok(PngHeader {
        width: png.shape.width,
        height: png.shape.height,
        orientation: png.orientation()?,
    })
}

/// All pixels as RGB, not oriented: palettes expanded, alpha dropped, 16-bit colour cut to its
/// high byte, 16-bit grey clipped at 255.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let png = Walk::through(bytes)?;
    let shape = png.shape;
    check_size(shape.width, shape.height)?;
    let layout = Layout {
        color: shape.color,
        depth: shape.depth,
        palette: png.palette,
        width: shape.width as usize,
    };
    let size = shape.width as usize * shape.height as usize * 3;
    let whole = png.region.is_none_or(|region| region == shape.whole());
    let mut out = Vec::with_capacity(size);
    if !(whole && !png.cut && quickly(&png, &layout, &mut out)) {
        let stored = Patient::new(&png).decode()?;
        out.clear();
        for row in stored.chunks_exact(shape.stride()) {
            layout.to_rgb(row, &mut out);
        }
    }
    RgbImage::new(shape.width, shape.height, out)
        .ok_or_else(|| ImageError::truncated("the PNG has fewer rows than it says"))
}

/// Decodes pixels without a fault; false if there is any.
fn quickly(png: &Walk, layout: &Layout, out: &mut Vec<u8>) -> bool {
    let shape = png.shape;
    let mut options = png::DecodeOptions::default();
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let stream = png.plain();
    let mut decoder = png::Decoder::new_with_options(Cursor::new(stream), options);
    decoder.set_limits(png::Limits { bytes: usize::MAX });
    let Ok(mut reader) = decoder.read_info() else {
        return false;
    };
    if shape.interlaced {
        let mut stored = vec![0; shape.stride() * shape.height as usize];
        let bits = u8::try_from(shape.pixel_bits()).unwrap_or(u8::MAX);
        loop {
            match reader.next_interlaced_row() {
                Ok(Some(row)) => {
                    if let png::InterlaceInfo::Adam7(pass) = row.interlace() {
                        let stride = shape.stride();
                        png::expand_interlaced_row(&mut stored, stride, row.data(), pass, bits);
                    }
                }
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        for row in stored.chunks_exact(shape.stride()) {
            layout.to_rgb(row, out);
        }
        return true;
    }
    for _ in 0..shape.height {
        match reader.next_row() {
            Ok(Some(row)) => layout.to_rgb(row.data(), out),
            _ => return false,
        }
    }
    // Reads on to the checksum of the pixels.
    matches!(reader.next_row(), Ok(None))
}

/// Size and kind of the pixels.
#[derive(Debug, Clone, Copy)]
struct Shape {
    width: u32,
    height: u32,
    color: png::ColorType,
    depth: png::BitDepth,
    interlaced: bool,
}

impl Shape {
    /// From a header chunk. A kind that does not exist is no error yet: another header may follow.
    fn new(data: &[u8]) -> Result<Option<Self>, ImageError> {
        let (
            Some(&[w3, w2, w1, w0]),
            Some(&[h3, h2, h1, h0]),
            Some(&[depth, color, _, filter, lace]),
        ) = (chunk_at(data, 0), chunk_at(data, 4), chunk_at(data, 8))
        else {
            return Err(ImageError::corrupt("the PNG's header chunk is too short"));
        };
        if filter != 0 {
            return Err(ImageError::corrupt(format!(
                "the PNG has filter method {filter}"
            )));
        }
        let known = match color {
            0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
            3 => matches!(depth, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(depth, 8 | 16),
            _ => false,
        };
        let kind = png::ColorType::from_u8(color).zip(png::BitDepth::from_u8(depth));
        Ok(kind.filter(|_| known).map(|(color, depth)| Self {
            width: u32::from_be_bytes([w3, w2, w1, w0]),
            height: u32::from_be_bytes([h3, h2, h1, h0]),
            color,
            depth,
            interlaced: lace != 0,
        }))
    }

    fn pixel_bits(self) -> usize {
        self.color.samples() * self.depth as usize
    }

    /// Bytes of a row.
    fn stride(self) -> usize {
        self.row(self.width as usize)
    }

    /// Bytes of `pixels` that lie side by side.
    fn row(self, pixels: usize) -> usize {
        (pixels * self.pixel_bits()).div_ceil(8)
    }

    fn whole(self) -> Region {
        Region {
            left: 0,
            top: 0,
            width: self.width,
            height: self.height,
        }
    }
}

/// Where on its canvas a frame of an animation lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Region {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    /// Where the checksum is, or would be.
    end: usize,
}

/// Pillow's walk over the chunks.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    shape: Shape,
    palette: &'a [u8],
    /// The compressed pixels, as they are cut into chunks.
    pixels: Vec<&'a [u8]>,
    /// The file ends within the last of them.
    cut: bool,
    /// The frame that the pixels are, if an animation says so.
    region: Option<Region>,
    exif: Option<Cow<'a, [u8]>>,
    raw_exif: Option<Cow<'a, [u8]>>,
    /// XMP that is text, and XMP of any bytes.
    xmp_text: Option<Cow<'a, [u8]>>,
    xmp: Option<Cow<'a, [u8]>>,
    text_size: usize,
    frames: Option<u32>,
    sequence: Option<u32>,
}

fn chunk_at<const N: usize>(data: &[u8], at: usize) -> Option<&[u8; N]> {
    data.get(at..)?.first_chunk()
}

fn be32(data: &[u8], at: usize) -> Option<u32> {
    chunk_at(data, at).map(|bytes| u32::from_be_bytes(*bytes))
}

fn cut() -> ImageError {
    ImageError::truncated("the PNG ends within a chunk")
}

impl<'a> Walk<'a> {
    /// Reads everything but the pixels.
    fn through(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut walk = Self {
            bytes,
            at: MAGIC.len(),
            shape: Shape {
                width: 0,
                height: 0,
                color: png::ColorType::Grayscale,
                depth: png::BitDepth::Eight,
                interlaced: false,
            },
            palette: &[],
            pixels: Vec::new(),
            cut: false,
            region: None,
            exif: None,
            raw_exif: None,
            xmp_text: None,
            xmp: None,
            text_size: 0,
            frames: None,
            sequence: None,
        };
        let animated = walk.before_pixels()?;
        walk.after_pixels(animated)?;
        Ok(walk)
    }

    /// Up to and with the pixels. Whether they are one picture of several.
    fn before_pixels(&mut self) -> Result<bool, ImageError> {
        let mut shape = None;
        loop {
            let chunk = self.next()?;
            match &chunk.name {
                b"IDAT" | b"fdAT" => break,
                b"IEND" => return Err(ImageError::truncated("the PNG has no pixels")),
                b"IHDR" => {
                    shape = Shape::new(chunk.data)?;
                    self.shape = shape.unwrap_or(self.shape);
                }
                b"PLTE" => self.palette = chunk.data,
                b"tRNS" => {
                    let least = match shape.map(|shape: Shape| shape.color) {
                        Some(png::ColorType::Grayscale) => 2,
                        Some(png::ColorType::Rgb) => 6,
                        _ => 0,
                    };
                    Self::check_length(&chunk, least)?;
                }
                _ => self.metadata(&chunk)?,
            }
            self.check_sum(&chunk)?;
            self.at = chunk.end + 4;
        }
        if shape.is_none() {
            return Err(ImageError::corrupt(
                "the PNG has no header chunk of a known kind",
            ));
        }
        if self.shape.color == png::ColorType::Indexed && self.palette.len() / 3 > 256 {
            return Err(ImageError::corrupt("the PNG's palette is too large"));
        }
        let default_picture = u64::from(self.bytes.get(self.at + 4) == Some(&b'I'));
        self.take_pixels()?;
        // A first picture that is no frame comes on top of the frames.
        let extra = if self.region.is_none() {
            default_picture
        } else {
            0
        };
        Ok(self
            .frames
            .is_some_and(|frames| u64::from(frames) + extra > 1))
    }

    /// All chunks of pixels that follow each other.
    fn take_pixels(&mut self) -> Result<(), ImageError> {
        loop {
            let Ok(chunk) = self.next_of_pixels() else {
                return Ok(());
            };
            let data = match &chunk.name {
                b"IDAT" | b"DDAT" => chunk.data,
                b"fdAT" => self.frame_data(&chunk)?,
                _ => return Ok(()),
            };
            self.pixels.push(data);
            self.cut = chunk.end > self.bytes.len();
            self.at = chunk.end + 4;
        }
    }

    /// What follows the pixels. Checksums do not count there, and the list may break off between
    /// two chunks.
    fn after_pixels(&mut self, animated: bool) -> Result<(), ImageError> {
        loop {
            let Some(name) = chunk_at::<4>(self.bytes, self.at + 4).filter(|name| is_name(**name))
            else {
                return Ok(());
            };
            if name == b"IEND" || name == b"fcTL" && animated {
                return Ok(());
            }
            let chunk = self.next()?;
            match name {
                b"IHDR" => drop(Shape::new(chunk.data)?),
                b"IDAT" => {}
                b"fdAT" => drop(self.frame_data(&chunk)?),
                b"tRNS" => {
                    let least = match self.shape.color {
                        png::ColorType::Grayscale => 2,
                        png::ColorType::Rgb => 6,
                        _ => 0,
                    };
                    Self::check_length(&chunk, least)?;
                }
                _ => self.metadata(&chunk)?,
            }
            self.at = chunk.end + 4;
        }
    }

    /// The whole chunk here.
    fn next(&self) -> Result<Chunk<'a>, ImageError> {
        let chunk = self.next_of_pixels()?;
        // Pillow looks at a chunk of pixels when it reads them.
        let pixels = self.pixels.is_empty() && matches!(&chunk.name, b"IDAT" | b"fdAT");
        if !pixels && &chunk.name != b"IEND" && self.bytes.len() < chunk.end {
            return Err(cut());
        }
        Ok(chunk)
    }

    /// The chunk here, or as much of it as there is.
    fn next_of_pixels(&self) -> Result<Chunk<'a>, ImageError> {
        let length = be32(self.bytes, self.at).ok_or_else(cut)?;
        let name: &[u8; 4] = chunk_at(self.bytes, self.at + 4).ok_or_else(cut)?;
        if !is_name(*name) {
            return Err(ImageError::corrupt("the PNG has a chunk without a name"));
        }
        let start = self.at + 8;
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let data = self.bytes.get(start..end.min(self.bytes.len()));
        Ok(Chunk {
            name: *name,
            data: data.unwrap_or_default(),
            end,
        })
    }

    fn check_sum(&self, chunk: &Chunk) -> Result<(), ImageError> {
        let stored = be32(self.bytes, chunk.end).ok_or_else(cut)?;
        let mut sum = flate2::Crc::new();
        sum.update(&chunk.name);
        sum.update(chunk.data);
        if sum.sum() == stored {
            return Ok(());
        }
        Err(ImageError::corrupt(format!(
            "the PNG's {} chunk has a wrong checksum",
            String::from_utf8_lossy(&chunk.name)
        )))
    }

    fn check_length(chunk: &Chunk, least: usize) -> Result<(), ImageError> {
        if chunk.data.len() >= least {
            return Ok(());
        }
        Err(ImageError::corrupt(format!(
            "the PNG's {} chunk is too short",
            String::from_utf8_lossy(&chunk.name)
        )))
    }

    /// A chunk that is neither pixels nor their kind. Unknown ones may hold anything.
    fn metadata(&mut self, chunk: &Chunk<'a>) -> Result<(), ImageError> {
        let data = chunk.data;
        match &chunk.name {
            b"gAMA" => Self::check_length(chunk, 4)?,
            b"cHRM" => Self::check_length(chunk, 32)?,
            b"sRGB" => Self::check_length(chunk, 1)?,
            b"pHYs" => Self::check_length(chunk, 9)?,
            b"eXIf" => self.exif = Some(Cow::Borrowed(data)),
            b"iCCP" => {
                let name = memchr::memchr(0, data).map_or(0, |end| end + 1);
                if data.get(name) != Some(&0) {
                    return Err(ImageError::corrupt(
                        "the PNG's colour profile is packed in an unknown way",
                    ));
                }
                unpack(data.get(name + 1..).unwrap_or_default())?;
            }
            b"tEXt" => {
                let (keyword, text) = split(data).unwrap_or((data, &[]));
                self.text(keyword, Cow::Borrowed(text), text.len())?;
                if keyword == b"exif" {
                    self.exif = Some(Cow::Borrowed(text));
                }
            }
            b"zTXt" => {
                let (keyword, packed) = split(data).unwrap_or((data, &[]));
                if packed.first().is_some_and(|&method| method != 0) {
                    return Err(ImageError::corrupt(
                        "a text of the PNG is packed in an unknown way",
                    ));
                }
                let text = unpack(packed.get(1..).unwrap_or_default())?.unwrap_or_default();
                let length = text.len();
                self.text(keyword, Cow::Owned(text), length)?;
            }
            b"iTXt" => self.international_text(data)?,
            b"acTL" => {
                Self::check_length(chunk, 8)?;
                self.frames = match (self.frames, be32(data, 0)) {
                    (None, Some(frames @ 1..=0x8000_0000)) => Some(frames),
                    // Two of them make it a picture without frames, too.
                    _ => None,
                };
            }
            b"fcTL" => self.frame_control(chunk)?,
            _ => {}
        }
        Ok(())
    }

    fn text(
        &mut self,
        keyword: &[u8],
        text: Cow<'a, [u8]>,
        length: usize,
    ) -> Result<(), ImageError> {
        if keyword.is_empty() {
            return Ok(());
        }
        self.text_size += length;
        if self.text_size > MAX_ALL_TEXT {
            return Err(ImageError::new(
                "image_too_large",
                format!("the PNG's texts unpack to more than {MAX_ALL_TEXT} characters"),
            ));
        }
        if keyword == RAW_EXIF {
            self.raw_exif = Some(text);
        } else if keyword == XMP {
            self.xmp_text = Some(text);
        }
        Ok(())
    }

    /// A text with a language; what is broken in it is passed over.
    fn international_text(&mut self, data: &'a [u8]) -> Result<(), ImageError> {
        let Some((keyword, rest)) = split(data) else {
            return Ok(());
        };
        let Some((&[packed, method], rest)) = rest.split_first_chunk() else {
            return Ok(());
        };
        let Some((language, rest)) = split(rest) else {
            return Ok(());
        };
        let Some((translated, text)) = split(rest) else {
            return Ok(());
        };
        let text = match (packed, method) {
            (0, _) => Cow::Borrowed(text),
            (_, 0) => match unpack(text)? {
                Some(text) => Cow::Owned(text),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        if keyword == XMP {
            self.xmp = Some(text.clone());
        }
        let valid = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        let Ok(characters) = std::str::from_utf8(&text).map(|text| text.chars().count()) else {
            return Ok(());
        };
        if !valid(language) || !valid(translated) {
            return Ok(());
        }
        // An empty keyword is one here.
        let keyword = if keyword.is_empty() { b" " } else { keyword };
        self.text(keyword, text, characters)
    }

    fn frame_control(&mut self, chunk: &Chunk) -> Result<(), ImageError> {
        Self::check_length(chunk, 26)?;
        self.check_sequence(be32(chunk.data, 0))?;
        let number = |at| be32(chunk.data, at).unwrap_or(0);
        let region = Region {
            width: number(4),
            height: number(8),
            left: number(12),
            top: number(16),
        };
        let fits =
            |from: u32, side: u32, all: u32| u64::from(from) + u64::from(side) <= u64::from(all);
        if !fits(region.left, region.width, self.shape.width)
            || !fits(region.top, region.height, self.shape.height)
        {
            return Err(ImageError::corrupt("a frame of the PNG lies outside of it"));
        }
        if self.pixels.is_empty() {
            if region.width == 0 || region.height == 0 {
                return Err(ImageError::corrupt("a frame of the PNG is empty"));
            }
            self.region = Some(region);
        }
        Ok(())
    }

    /// The pixels of a frame.
    fn frame_data(&mut self, chunk: &Chunk<'a>) -> Result<&'a [u8], ImageError> {
        Self::check_length(chunk, 4)?;
        if self.sequence.is_none() {
            return Err(ImageError::corrupt("the PNG's frames are out of order"));
        }
        self.check_sequence(be32(chunk.data, 0))?;
        Ok(chunk.data.get(4..).unwrap_or_default())
    }

    /// Frames and their data count up from zero.
    fn check_sequence(&mut self, number: Option<u32>) -> Result<(), ImageError> {
        let expected = self.sequence.map_or(Some(0), |last| last.checked_add(1));
        if number.is_none() || number != expected {
            return Err(ImageError::corrupt("the PNG's frames are out of order"));
        }
        self.sequence = number;
        Ok(())
    }

    fn orientation(&self) -> Result<u8, ImageError> {
        let exif = match (&self.exif, &self.raw_exif) {
            (Some(data), _) => exif::strict_orientation(data)?,
            (None, Some(text)) => exif::strict_orientation(&exif::from_hex(text)?)?,
            (None, None) => None,
        };
        let filled =
            |xmp: &'_ Option<Cow<'a, [u8]>>| xmp.as_ref().is_some_and(|xmp| !xmp.is_empty());
        let xmp = if filled(&self.xmp_text) {
            &self.xmp_text
        } else {
            &self.xmp
        };
        let xmp = xmp.as_deref().and_then(exif::xmp_orientation);
        Ok(exif::meaning(exif, xmp))
    }

    /// A PNG of the same pixels and nothing else.
    fn plain(&self) -> Vec<u8> {
        let all: usize = self.pixels.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(all + 1024);
        out.extend_from_slice(MAGIC);
        let mut add = |name: &[u8; 4], parts: &[&[u8]]| {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(name);
            for part in parts {
                out.extend_from_slice(part);
            }
            // Checksums are not looked at.
            out.extend_from_slice(&[0; 4]);
        };
        let shape = self.shape;
        let kind = [
            shape.depth as u8,
            shape.color as u8,
            0,
            0,
            u8::from(shape.interlaced),
        ];
        let (width, height) = (shape.width.to_be_bytes(), shape.height.to_be_bytes());
        add(b"IHDR", &[&width, &height, &kind]);
        if shape.color == png::ColorType::Indexed {
            add(b"PLTE", &[&[0; 768]]);
        }
        add(b"IDAT", &self.pixels);
        add(b"IEND", &[]);
        out
    }
}

fn is_name(name: [u8; 4]) -> bool {
    name.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_')
}

/// What is before and after the first zero.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = memchr::memchr(0, data)?;
    Some((data.get(..zero)?, data.get(zero + 1..)?))
}

/// Unpacks metadata; `None` if it is damaged, which does no harm.
fn unpack(packed: &[u8]) -> Result<Option<Vec<u8>>, ImageError> {
    let mut stream = Decompress::new(true);
    let mut out = Vec::new();
    loop {
        let read = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let rest = packed.get(read..).unwrap_or_default();
        out.reserve((MAX_TEXT + 1 - out.len()).min(out.len().max(4096)));
        let before = out.len();
        match stream.decompress_vec(rest, &mut out, FlushDecompress::None) {
            Err(_) => return Ok(None),
            _ if out.len() > MAX_TEXT => {
                return Err(ImageError::new(
                    "image_too_large",
                    format!("a text or profile of the PNG unpacks to more than {MAX_TEXT} bytes"),
                ));
            }
            Ok(Status::StreamEnd) => return Ok(Some(out)),
            Ok(_) => {
                let all = u64::try_from(packed.len()) == Ok(stream.total_in());
                if all && out.len() == before || out.len() == before && rest.is_empty() {
                    return Ok(Some(out));
                }
            }
        }
    }
}

/// Where each pass of an interlaced picture begins, and its steps: across, down, across, down.
const PASSES: [(u32, u32, u32, u32); 7] = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
];

/// Unpacks `packed` into `out`, at most.
fn inflate(packed: &[u8], out: &mut [u8]) -> Unpacked {
    let mut stream = Decompress::new(true);
    // All at once, so that nothing is unpacked ahead of what fits.
    let status = stream.decompress(packed, out, FlushDecompress::Finish);
    Unpacked {
        bytes: usize::try_from(stream.total_out()).unwrap_or(0),
        end: match status {
            Ok(Status::StreamEnd) => End::Stream,
            Ok(_) => End::Open,
            Err(_) => End::Damage,
        },
    }
}

/// Pillow's own way through the pixels, for those that a strict decoder refuses: what follows the
/// last row is looked at only as far as zlib already has, and where the data ends with a row, the
/// rest of the picture stays empty.
struct Patient<'a> {
    png: &'a Walk<'a>,
    region: Region,
    stored: Vec<u8>,
}

/// How far compressed pixels unpack.
struct Unpacked {
    bytes: usize,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At the end of the stream.
    Stream,
    /// For want of input, or of room.
    Open,
    /// At damage.
    Damage,
}

impl<'a> Patient<'a> {
    fn new(png: &'a Walk<'a>) -> Self {
        let shape = png.shape;
        Self {
            png,
            region: png.region.unwrap_or(shape.whole()),
            stored: vec![0; shape.stride() * shape.height as usize],
        }
    }

    /// The rows as they are stored, those of all passes in their places.
    fn decode(mut self) -> Result<Vec<u8>, ImageError> {
        let rows = self.rows();
        let length = |pixels: usize| 1 + self.png.shape.row(pixels);
        let mut raw = vec![0; rows.iter().map(|row| length(row.2)).sum()];
        let found = self.unpack(&mut raw)?;
        let mut rest = raw.as_mut_slice();
        let (mut previous, mut previous_pass): (&[u8], u8) = (&[], u8::MAX);
        let mut done = 0;
        for (pass, line, pixels) in rows {
            if done == found.bytes && done > 0 && found.end == End::Stream {
                break;
            }
            done += length(pixels);
            if done > found.bytes {
                return Err(match found.end {
                    End::Damage => ImageError::corrupt("the PNG's pixels are damaged"),
                    _ => ImageError::truncated("the PNG ends before its last row"),
                });
            }
            let Some((row, after)) = rest.split_at_mut_checked(length(pixels)) else {
                break;
            };
            rest = after;
            if pass != previous_pass {
                (previous, previous_pass) = (&[], pass);
            }
            self.unfilter(row, previous)?;
            previous = row;
            self.place(pass, line, pixels, previous.get(1..).unwrap_or_default());
        }
        Ok(self.stored)
    }

    /// Unpacks into `raw` what Pillow does: piece by piece, until `raw` is full.
    fn unpack(&self, raw: &mut [u8]) -> Result<Unpacked, ImageError> {
        let packed = self.png.pixels.concat();
        // Where each piece ends, and in which chunk it lies.
        let mut pieces = Vec::new();
        let mut at = 0;
        for (index, part) in self.png.pixels.iter().enumerate() {
            for piece in part.chunks(BLOCK) {
                at += piece.len();
                pieces.push((index, at));
            }
        }
        let mut unpack = |end: usize| inflate(packed.get(..end).unwrap_or_default(), raw);
        let all = unpack(packed.len());
        // The first piece after which nothing more comes out.
        let enough = pieces.partition_point(|&(_, end)| unpack(end).bytes < all.bytes);
        let &(chunk, end) = pieces
            .get(enough)
            .ok_or_else(|| ImageError::truncated("the PNG has no pixels"))?;
        let found = unpack(end);
        if found.bytes == raw.len() {
            if found.end == End::Damage {
                return Err(ImageError::corrupt("the PNG's pixels are damaged"));
            }
            // A chunk that no pixel is read from must be whole.
            if self.png.cut && chunk + 1 < self.png.pixels.len() {
                return Err(cut());
            }
        }
        Ok(found)
    }

    /// Pass (0 where there is one alone), row and pixels of each row in the order of the file.
    fn rows(&self) -> Vec<(u8, u32, usize)> {
        if !self.png.shape.interlaced {
            let width = self.region.width as usize;
            return (0..self.region.height).map(|y| (0, y, width)).collect();
        }
        let mut rows = Vec::new();
        for (pass, (left, top, step_x, step_y)) in (1..).zip(PASSES) {
            let pixels = self.region.width.saturating_sub(left).div_ceil(step_x) as usize;
            if pixels > 0 {
                let lines = (top..self.region.height).step_by(step_y as usize);
                rows.extend((0..).zip(lines).map(|(line, _)| (pass, line, pixels)));
            }
        }
        rows
    }

    /// Undoes the prediction of a row, whose first byte says which.
    fn unfilter(&self, row: &mut [u8], previous: &[u8]) -> Result<(), ImageError> {
        let step = self.png.shape.pixel_bits().div_ceil(8);
        let Some((&mut filter, row)) = row.split_first_mut() else {
            return Ok(());
        };
        let above = previous.get(1..).unwrap_or_default();
        for i in 0..row.len() {
            let at = |row: &[u8], i: usize| i16::from(row.get(i).copied().unwrap_or(0));
            let b = at(above, i);
            let (a, c) = match i.checked_sub(step) {
                Some(i) => (at(row, i), at(above, i)),
                None => (0, 0),
            };
            let guess = match filter {
                0 => 0,
                1 => a,
                2 => b,
                3 => i16::midpoint(a, b),
                4 => {
                    let (pa, pb, pc) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
                    if pa <= pb && pa <= pc {
                        a
                    } else if pb <= pc {
                        b
                    } else {
                        c
                    }
                }
                _ => {
                    return Err(ImageError::corrupt(
                        "a row of the PNG is predicted in an unknown way",
                    ));
                }
            };
            if let Some(value) = row.get_mut(i) {
                *value = value.wrapping_add(u8::try_from(guess).unwrap_or(0));
            }
        }
        Ok(())
    }

    /// Puts a row where it belongs.
    fn place(&mut self, pass: u8, line: u32, pixels: usize, row: &[u8]) {
        let shape = self.png.shape;
        let stride = shape.stride();
        let bits = shape.pixel_bits();
        if pass > 0 {
            let pass = png::Adam7Info::new(pass, line, self.region.width);
            let bits = u8::try_from(bits).unwrap_or(u8::MAX);
            png::expand_interlaced_row(&mut self.stored, stride, row, &pass, bits);
            return;
        }
        let (top, left) = (self.region.top + line, self.region.left as usize);
        let Some(out) = self.stored.chunks_exact_mut(stride).nth(top as usize) else {
            return;
        };
        for bit in 0..pixels * bits {
            let value = row.get(bit / 8).copied().unwrap_or(0) << (bit % 8) & 0x80;
            let to = left * bits + bit;
            if let Some(byte) = out.get_mut(to / 8) {
                *byte |= value >> (to % 8);
            }
        }
    }
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
