//! Kinds of TIFF that the `tiff` crate does not read, or not to the last bit as Pillow does: palettes,
//! samples of 2, 4 and 12 bits, with a sign, of 32 bits or fractions, grey with alpha, colours that
//! were multiplied by alpha, inks, luma and chroma, samples that lie apart, faxes, JPEGs, LZMA and
//! Zstandard.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress};
use lzma_rust2::XzReader;
use weezl::{BitOrder, decode::Decoder};

use super::tiff_luma::{Luma, spread};
use super::tiff_page::Page;
use super::{ImageError, RgbImage, check_size, jpeg, tiff_fax, whole_level};

/// Compressions by their numbers.
const LZMA: u32 = 34_925;
const ZSTANDARD: u32 = 50_000;

/// What unpacking LZMA may take, in KiB: the dictionaries of all of xz's presets.
const LZMA_MEMORY: u32 = 80 << 10;

/// What Pillow makes of the samples of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Grey levels of so many bits, 0 being white in the second case.
    Grey,
    GreyFromWhite,
    /// Whole numbers with a sign or without, and fractions, cut off at 0 and 255.
    Number,
    Palette,
    Colours,
    /// The same, multiplied by alpha.
    Multiplied,
    Inks,
    /// Luma and chroma.
    Luma,
}

fn unsupported(what: &str) -> ImageError {
    ImageError::new(
        "image_unsupported_format",
        format!("this kind of TIFF is not supported: {what}"),
    )
}

fn cut() -> ImageError {
    ImageError::truncated("the TIFF ends before its last pixel")
}

fn corrupt(what: &str) -> ImageError {
    ImageError::corrupt(format!("not a valid TIFF: {what}"))
}

fn damaged() -> ImageError {
    corrupt("its packed data are damaged")
}

/// Refuses what the `tiff` crate reads and Pillow does not.
pub fn check(bytes: &[u8]) -> Result<(), ImageError> {
    let from_white = |page: &Page<'_>| (page.meaning, page.bits, page.samples) == (0, 16, 1);
    match Page::first(bytes) {
        Some(page) if page.big_endian() && from_white(&page) => {
            Err(corrupt("Pillow knows no such samples"))
        }
        _ => Ok(()),
    }
}

/// The page, if the file is one of these.
pub fn page(bytes: &[u8]) -> Option<Page<'_>> {
    Page::first(bytes).filter(|page| kind(page).is_some())
}

fn kind(page: &Page<'_>) -> Option<Kind> {
    let fax = matches!(page.compression, 2..=4);
    let jpeg = page.compression == 7;
    // The crate unpacks neither of them.
    let packed = matches!(page.compression, LZMA | ZSTANDARD);
    let plain = packed || matches!(page.compression, 1 | 5 | 8 | 32_773 | 32_946);
    // Only what these pack is told by differences, whatever the tag says.
    let odd_prediction = page.predictor != 1 && matches!(page.compression, 1 | 32_773);
    let kind = match (
        page.meaning,
        page.format,
        page.bits,
        page.samples,
        &page.extra[..],
    ) {
        (0, 1, 1, 1, []) if fax => Kind::GreyFromWhite,
        (1, 1, 1, 1, []) if fax => Kind::Grey,
        (2 | 6, 1, 8, 3, []) if jpeg && !page.apart => Kind::Colours,
        (5, 1, 8, 4, []) if jpeg && !page.apart => Kind::Inks,
        (1, 1, 8, 1, []) if jpeg => Kind::Grey,
        _ if !plain => return None,
        (0, 1, 1 | 8, 1, []) if page.lowest_bit_first => Kind::GreyFromWhite,
        (1, 1, 1 | 8, 1, []) if page.lowest_bit_first => Kind::Grey,
        (2, 1, 8, 3, []) if page.lowest_bit_first => Kind::Colours,
        (0, 1, 2 | 4, 1, []) => Kind::GreyFromWhite,
        (1, 1, 2 | 4, 1, []) | (1, 2, 8, 1, []) | (1, 1, 8, 2, [0 | 2]) => Kind::Grey,
        (1, 2, 16 | 32, 1, []) | (0 | 1, 3, 32, 1, []) => Kind::Number,
        (1, 1, 12 | 32, 1, []) | (0, 1, 16, 1, []) if !page.big_endian() => Kind::Number,
        (3, 1, 1 | 2 | 4 | 8, 1, []) | (3, 1, 8, 2, [0 | 2]) => Kind::Palette,
        (2, 1, 8 | 16, 3, []) | (2, 1, 8 | 16, 4, [] | [0 | 2])
            if page.apart || odd_prediction || packed =>
        {
            Kind::Colours
        }
        (0, 1, 1 | 8, 1, []) if packed => Kind::GreyFromWhite,
        (1, 1, 1 | 8, 1, []) if packed => Kind::Grey,
        (1, 1, 16, 1, []) if packed => Kind::Number,
        // Pillow reads those that are not packed by itself: whole pixels only.
        (6, 1, 8, 3, []) if !page.apart && luma_is_read(page) => Kind::Luma,
        (2, 1, 8 | 16, 4, [1]) => Kind::Multiplied,
        (5, 1, 8 | 16, 4, []) => Kind::Inks,
        _ => return None,
    };
    Some(kind)
}

/// Whether luma and chroma lie as Pillow and libtiff read them.
fn luma_is_read(page: &Page<'_>) -> bool {
    const SHARED: [(u32, u32); 7] = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4)];
    if page.compression == 1 {
        return !page.lowest_bit_first;
    }
    SHARED.contains(&page.shared) && (page.predictor == 1 || !page.shares_chroma())
}

/// What is not read of a file that Pillow may read.
pub fn unread(bytes: &[u8]) -> Option<ImageError> {
    let page = Page::first(bytes)?;
    let what = match (page.compression, page.meaning) {
        (6, _) => "old-style JPEG",
        (_, 6) => "luma and chroma in this layout",
        (_, 8..=10) => "CIELab colours",
        _ => return None,
    };
    Some(unsupported(what))
}

/// All pixels, not yet oriented.
pub fn decode_rgb(page: &Page<'_>) -> Result<RgbImage, ImageError> {
    check_size(page.width, page.height)?;
    let kind = kind(page).ok_or_else(|| unsupported("its samples"))?;
    let (width, height) = (page.width as usize, page.height as usize);
    let planes = if page.apart { page.samples } else { 1 };
    let parts = width.div_ceil(page.part.0 as usize) * height.div_ceil(page.part.1 as usize);
    if page.apart && page.compression == 1 {
        if page.parts() > parts * planes {
            return Err(corrupt("it has more parts than samples"));
        }
        if kind == Kind::Multiplied {
            return Err(corrupt("its alpha lies apart"));
        }
    }
    let mut levels = Vec::new();
    for plane in 0..planes {
        levels.push(Samples::read(page, plane)?);
    }
    let first = levels.first().ok_or_else(cut)?;
    let beside = if page.apart { 1 } else { page.samples };
    let top = (1_u32 << page.bits.min(16)) - 1;
    let luma = Luma::of(page);
    let mut out = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let at = |channel: usize| {
                if page.apart {
                    levels.get(channel).map_or(0, |plane| plane.raw(page, x, y))
                } else {
                    first.raw(page, x * beside + channel, y)
                }
            };
            let raw = first.raw(page, x * beside, y);
            let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
            let high = |channel: usize| byte(at(channel) >> page.bits.saturating_sub(8));
            out.extend(match kind {
                Kind::Grey => [byte(raw * 255 / top); 3],
                Kind::GreyFromWhite => [byte((top - raw) * 255 / top); 3],
                Kind::Number => [clipped(page, raw); 3],
                Kind::Palette => colour(page, raw as usize),
                Kind::Colours => [high(0), high(1), high(2)],
                Kind::Luma => luma.colour([high(0), high(1), high(2)]),
                Kind::Multiplied => [0, 1, 2].map(|channel| match u32::from(high(3)) {
                    0 => 0,
                    alpha => byte(u32::from(high(channel)) * 255 / alpha),
                }),
                Kind::Inks => {
                    let white = 255 - u32::from(high(3));
                    [0, 1, 2].map(|ink| {
                        let product = u32::from(high(ink)) * white + 128;
                        byte(white.saturating_sub(((product >> 8) + product) >> 8))
                    })
                }
            });
        }
    }
    RgbImage::new(page.width, page.height, out).ok_or_else(cut)
}

/// A number of any kind as a level: what is out of range is cut off.
fn clipped(page: &Page<'_>, raw: u32) -> u8 {
    let signed = match (page.format, page.bits) {
        (3, _) => {
            return whole_level(f32::from_bits(raw));
        }
        (2, 16) => raw.cast_signed() << 16 >> 16,
        (_, 32) => raw.cast_signed(),
        _ => i32::try_from(raw).unwrap_or(i32::MAX),
    };
    u8::try_from(signed.clamp(0, 255)).unwrap_or(0)
}

/// The palette holds all reds, then all greens, then all blues, of 16 bits each. What it does not
/// have is black.
fn colour(page: &Page<'_>, index: usize) -> [u8; 3] {
    let size = page.palette.len() / 3;
    [0, 1, 2].map(|channel| {
        let level = page
            .palette
            .get(index + channel * size)
            .filter(|_| index < size);
        level.map_or(0, |level| (level >> 8).to_le_bytes()[0])
    })
}

/// Stored samples of one plane, unpacked: lines of whole bytes.
struct Samples {
    line: usize,
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Samples {
    fn read(page: &Page<'_>, plane: usize) -> Result<Self, ImageError> {
        let (width, height) = (page.width as usize, page.height as usize);
        let samples = if page.apart { 1 } else { page.samples };
        let bits = samples * page.bits as usize;
        let line = (width * bits).div_ceil(8);
        let (wide, high) = (page.part.0 as usize, page.part.1 as usize);
        let (across, down) = (width.div_ceil(wide), height.div_ceil(high));
        let (Some(part_line), Some(_)) = (page.line_size(), page.part_size()) else {
            return Err(corrupt("its tiles are too large"));
        };
        // Tiles begin with a whole byte.
        if across > 1 && !(wide * bits).is_multiple_of(8) {
            return Err(unsupported("its tiles"));
        }
        let mut bytes = vec![0; line * height];
        for index in 0..across * down {
            let (column, row) = (index % across, index / across);
            let rows = if page.tiles {
                high
            } else {
                high.min(height - row * high)
            };
            // A tile is never much larger than the picture that it is a part of.
            if part_line.saturating_mul(rows) > (1 << 24) + bytes.len() * 4 {
                return Err(corrupt("its tiles are too large"));
            }
            let stored = page.stored(plane * across * down + index)?;
            let mut part = match page.shared {
                shared if page.shares_chroma() => {
                    let (across, down) = (shared.0 as usize, shared.1 as usize);
                    let blocks = wide.div_ceil(across) * (across * down + 2);
                    let stored = unpacked(page, stored, blocks, rows.div_ceil(down))?;
                    spread(&stored, (across, down), wide, rows)
                }
                _ => unpacked(page, stored, part_line, rows)?,
            };
            if matches!(page.compression, 5 | 8 | 32_946 | LZMA | ZSTANDARD) {
                undo_prediction(page, &mut part, part_line, samples)?;
            }
            let from = column * wide * bits / 8;
            for (y, found) in part
                .chunks_exact(part_line)
                .enumerate()
                .take(height - row * high)
            {
                let at = (row * high + y) * line;
                let target = bytes.get_mut(at + from..at + line).unwrap_or_default();
                let length = target.len().min(part_line);
                if let (Some(target), Some(found)) = (target.get_mut(..length), found.get(..length))
                {
                    target.copy_from_slice(found);
                }
            }
        }
        // Whole samples of predicted fractions come out with the lowest byte first. What libtiff
        // unpacks it turns to the machine's order, and Pillow takes numbers with signs and fractions
        // of such files to be turned the other way still.
        let turned = page.predictor == 3;
        let twice = page.compression != 1 && page.format != 1;
        let big_endian = page.big_endian() && turned == twice;
        Ok(Self {
            line,
            bytes,
            big_endian,
        })
    }

    /// Sample number `x` of line `y`, its bits as they are.
    fn raw(&self, page: &Page<'_>, x: usize, y: usize) -> u32 {
        let byte = |at: usize| u32::from(self.bytes.get(y * self.line + at).copied().unwrap_or(0));
        match page.bits as usize {
            8 => byte(x),
            12 => {
                let at = x * 12 / 8;
                let both = byte(at) << 8 | byte(at + 1);
                if x.is_multiple_of(2) {
                    both >> 4
                } else {
                    both & 0xfff
                }
            }
            bits @ 1..8 => {
                let bit = x * bits;
                byte(bit / 8) >> (8 - bits - bit % 8) & ((1 << bits) - 1)
            }
            bits => {
                let size = bits / 8;
                (0..size).fold(0, |value, index| {
                    let index = if self.big_endian {
                        index
                    } else {
                        size - 1 - index
                    };
                    value << 8 | byte(x * size + index)
                })
            }
        }
    }
}

/// A part's bytes: `rows` lines of `line` bytes.
fn unpacked(
    page: &Page<'_>,
    stored: Vec<u8>,
    line: usize,
    rows: usize,
) -> Result<Vec<u8>, ImageError> {
    let size = line * rows;
    let mut out = match page.compression {
        1 => stored,
        5 => lzw(&stored, size)?,
        8 | 32_946 => inflated(&stored, size)?,
        LZMA => filled(
            XzReader::new_mem_limit(&stored[..], false, LZMA_MEMORY),
            size,
        )?,
        ZSTANDARD => filled(
            zstd::Decoder::with_buffer(&stored[..]).map_err(|_| damaged())?,
            size,
        )?,
        32_773 => bytes_of_runs(&stored, size)?,
        7 => jpeg_part(page, &stored, line, rows)?,
        _ => tiff_fax::decode(
            &stored,
            page.part.0,
            rows,
            page.compression,
            page.fax_options,
        )
        .ok_or_else(|| corrupt("its fax is damaged"))?,
    };
    if out.len() < size {
        return Err(cut());
    }
    out.truncate(size);
    Ok(out)
}

/// A part that is a JPEG, as wide as the part at least.
fn jpeg_part(
    page: &Page<'_>,
    stored: &[u8],
    line: usize,
    rows: usize,
) -> Result<Vec<u8>, ImageError> {
    // The tables are a JPEG of their own, without a picture.
    let whole = [page.jpeg_tables, stored].concat();
    let (width, height, samples) = jpeg::decode_samples(&whole, page.meaning == 6, line * rows)?;
    let stride = width as usize * page.samples;
    if stride < line || (height as usize) < rows {
        return Err(corrupt("its JPEGs are too small"));
    }
    let lines = samples.chunks_exact(stride).take(rows);
    Ok(lines
        .flat_map(|found| found.iter().take(line))
        .copied()
        .collect())
}

fn lzw(stored: &[u8], size: usize) -> Result<Vec<u8>, ImageError> {
    // The first encoder of all counted codes from the lowest bit on, and without the early change.
    let mut decoder =
        if stored.first() == Some(&0) && stored.get(1).is_some_and(|byte| byte & 1 == 1) {
            Decoder::new(BitOrder::Lsb, 8)
        } else {
            Decoder::with_tiff_size_switch(BitOrder::Msb, 8)
        };
    let mut out = vec![0; size];
    let mut done = 0;
    let mut stored = stored;
    while done < size {
        let result = decoder.decode_bytes(stored, out.get_mut(done..).unwrap_or_default());
        done += result.consumed_out;
        stored = stored.get(result.consumed_in..).unwrap_or_default();
        match result.status {
            Ok(weezl::LzwStatus::Ok) => {}
            Ok(_) => break,
            Err(_) => return Err(damaged()),
        }
    }
    if done < size {
        return Err(cut());
    }
    Ok(out)
}

/// The first bytes that a stream unpacks to: libtiff reads no more of it.
fn filled(mut stream: impl Read, size: usize) -> Result<Vec<u8>, ImageError> {
    let mut out = vec![0; size];
    match stream.read_exact(&mut out) {
        Ok(()) => Ok(out),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(cut()),
        Err(_) => Err(damaged()),
    }
}

/// libtiff stops once a strip is full: what follows, the checksum too, does not count.
fn inflated(stored: &[u8], size: usize) -> Result<Vec<u8>, ImageError> {
    let mut out = vec![0; size];
    let mut stream = Decompress::new(true);
    let status = stream.decompress(stored, &mut out, FlushDecompress::Finish);
    if status.is_err() || stream.total_out() != size as u64 {
        return Err(damaged());
    }
    Ok(out)
}

fn bytes_of_runs(stored: &[u8], size: usize) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    let mut rest = stored.iter().copied();
    while out.len() < size {
        let head = rest.next().ok_or_else(cut)?.cast_signed();
        if head == i8::MIN {
            continue;
        }
        let count = usize::from(head.unsigned_abs()) + 1;
        if head < 0 {
            let byte = rest.next().ok_or_else(cut)?;
            out.extend(std::iter::repeat_n(byte, count));
        } else {
            let before = out.len();
            out.extend(rest.by_ref().take(count));
            if out.len() < before + count && out.len() < size {
                return Err(cut());
            }
        }
    }
    Ok(out)
}

/// Turns differences back into samples.
fn undo_prediction(
    page: &Page<'_>,
    part: &mut [u8],
    line: usize,
    samples: usize,
) -> Result<(), ImageError> {
    let size = page.bits as usize / 8;
    match (page.predictor, page.bits) {
        (1, _) => {}
        (2, 8 | 16 | 32) => {
            for row in part.chunks_exact_mut(line) {
                let mut last = vec![0_u32; samples];
                for (index, sample) in row.chunks_exact_mut(size).enumerate() {
                    let add = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
                    let value = if page.big_endian() {
                        sample.iter().fold(0, add)
                    } else {
                        sample.iter().rev().fold(0, add)
                    };
                    let Some(sum) = last.get_mut(index % samples) else {
                        continue;
                    };
                    *sum = sum.wrapping_add(value);
                    let bytes = sum.to_be_bytes();
                    let low = bytes.get(4 - size..).unwrap_or_default();
                    if page.big_endian() {
                        sample.copy_from_slice(low);
                    } else {
                        sample
                            .iter_mut()
                            .rev()
                            .zip(low)
                            .for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
        (3, 32) if page.format == 3 => {
            // Each line holds the first bytes of all samples, then the second ones, as differences.
            for row in part.chunks_exact_mut(line) {
                for index in samples..row.len() {
                    row[index] = row[index].wrapping_add(row[index - samples]);
                }
                let apart = row.to_vec();
                let count = row.len() / size;
                for (index, sample) in row.chunks_exact_mut(size).enumerate() {
                    for (place, byte) in sample.iter_mut().rev().enumerate() {
                        *byte = apart.get(place * count + index).copied().unwrap_or(0);
                    }
                }
            }
        }
        _ => return Err(corrupt("its predictor does not fit its samples")),
    }
    Ok(())
}
