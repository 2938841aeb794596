//! The first page of a TIFF as its tags describe it.

use super::ImageError;

/// What a page's tags say, with their defaults.
#[expect(clippy::struct_excessive_bools, reason = "tags that are yes or no")]
#[derive(Debug)]
pub struct Page<'a> {
    file: &'a [u8],
    big_endian: bool,
    pub width: u32,
    pub height: u32,
    /// Bits of a sample; all samples have as many.
    pub bits: u32,
    pub samples: usize,
    /// What a sample is: 1 a number, 2 one with a sign, 3 a fraction.
    pub format: u32,
    pub meaning: u32,
    pub compression: u32,
    pub predictor: u32,
    pub fax_options: u32,
    /// Each sample's values lie apart.
    pub apart: bool,
    /// What samples beyond the colours are.
    pub extra: Vec<u32>,
    pub palette: Vec<u32>,
    /// Columns and rows of pixels that share their chroma.
    pub shared: (u32, u32),
    /// What red, green and blue weigh in luma.
    pub weights: [f32; 3],
    /// The levels of black and white in luma and each chroma.
    pub levels: [f32; 6],
    /// Tables that the JPEGs of all parts share.
    pub jpeg_tables: &'a [u8],
    /// Columns and rows of a part of the picture, and whether parts are tiles.
    pub part: (u32, u32),
    pub tiles: bool,
    /// Bits of a byte in the other order.
    pub lowest_bit_first: bool,
    starts: Vec<u64>,
    lengths: Vec<u64>,
}

/// Values that a tag may have at most: there is one a strip.
const MOST_VALUES: u64 = 1 << 20;

/// The entries of a directory.
struct Tags<'a> {
    file: &'a [u8],
    big_endian: bool,
    /// The form for large files, whose places are twice as long.
    large: bool,
    entries: &'a [u8],
}

fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if big_endian {
        bytes.iter().fold(0, add)
    } else {
        bytes.iter().rev().fold(0, add)
    }
}

impl<'a> Tags<'a> {
    fn first(file: &'a [u8]) -> Option<Self> {
        let (big_endian, large) = match file.get(..4)? {
            b"II*\0" => (false, false),
            b"MM\0*" => (true, false),
            b"II+\0" => (false, true),
            _ => return None,
        };
        let at = |from: usize, size: usize| {
            let bytes = file.get(from..from.checked_add(size)?)?;
            usize::try_from(number(bytes, big_endian)).ok()
        };
        let (start, head, entry) = if large {
            (at(8, 8)?, 8, 20)
        } else {
            (at(4, 4)?, 2, 12)
        };
        let count = at(start, head)?;
        let from = start.checked_add(head)?;
        let entries = file.get(from..from.checked_add(count.checked_mul(entry)?)?)?;
        Some(Self {
            file,
            big_endian,
            large,
            entries,
        })
    }

    /// The values of `tag`, if they are whole numbers; none if it is not there.
    fn values(&self, tag: u64) -> Option<Vec<u64>> {
        let (size, wide) = if self.large { (20, 8) } else { (12, 4) };
        let of = |bytes: &[u8]| number(bytes, self.big_endian);
        // Of a tag that is there twice the last counts.
        let entry = self
            .entries
            .chunks_exact(size)
            .rfind(|entry| of(&entry[..2]) == tag);
        let Some(entry) = entry else {
            return Some(Vec::new());
        };
        let each = match of(&entry[2..4]) {
            1 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 13 => 4,
            16..=18 if self.large => 8,
            _ => return None,
        };
        let count = of(&entry[4..4 + wide]);
        if count > MOST_VALUES {
            return None;
        }
        let length = usize::try_from(count).ok()? * each;
        let place = &entry[4 + wide..];
        let bytes = if length <= wide {
            &place[..length]
        } else {
            let from = usize::try_from(of(place)).ok()?;
            self.file.get(from..from.checked_add(length)?)?
        };
        Some(bytes.chunks_exact(each).map(of).collect())
    }

    /// The bytes of `tag`.
    fn bytes(&self, tag: u64) -> Option<&'a [u8]> {
        let (size, wide) = if self.large { (20, 8) } else { (12, 4) };
        let of = |bytes: &[u8]| usize::try_from(number(bytes, self.big_endian)).ok();
        let entry = self
            .entries
            .chunks_exact(size)
            .rfind(|entry| of(&entry[..2]) == usize::try_from(tag).ok())?;
        let (count, from) = (of(&entry[4..4 + wide])?, of(&entry[4 + wide..])?);
        self.file.get(from..from.checked_add(count)?)
    }

    fn numbers(&self, tag: u64) -> Option<Vec<u32>> {
        let values = self.values(tag)?.into_iter();
        values.map(|value| u32::try_from(value).ok()).collect()
    }

    /// The values of `tag`, if they are so many fractions.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "as libtiff reads them"
    )]
    fn fractions<const N: usize>(&self, tag: u64) -> Option<[f32; N]> {
        let (size, wide) = if self.large { (20, 8) } else { (12, 4) };
        let of = |bytes: &[u8]| number(bytes, self.big_endian);
        let entry = self
            .entries
            .chunks_exact(size)
            .rfind(|entry| of(&entry[..2]) == tag)?;
        if of(&entry[2..4]) != 5 || of(&entry[4..4 + wide]) != N as u64 {
            return None;
        }
        let from = usize::try_from(of(&entry[4 + wide..])).ok()?;
        let bytes = self.file.get(from..from.checked_add(N * 8)?)?;
        let mut values = bytes.chunks_exact(8).map(|pair| {
            let (over, under) = (of(&pair[..4]), of(&pair[4..]));
            (over as f64 / (under as f64).max(1.0)) as f32
        });
        Some(std::array::from_fn(|_| values.next().unwrap_or_default()))
    }

    /// The first value of `tag`.
    fn one(&self, tag: u64) -> Option<u32> {
        self.numbers(tag)?.first().copied()
    }

    /// The same, or `default` if the tag is not there.
    fn one_or(&self, tag: u64, default: u32) -> Option<u32> {
        Some(self.numbers(tag)?.first().copied().unwrap_or(default))
    }
}

impl<'a> Page<'a> {
    /// `None` if there is no page, or it is not like those that Pillow opens.
    pub fn first(file: &'a [u8]) -> Option<Self> {
        let tags = Tags::first(file)?;
        let (width, height) = (tags.one(256)?, tags.one(257)?);
        let meaning = tags.one_or(262, 0)?;
        let mut extra = tags.numbers(338)?;
        let apart = tags.one_or(284, 1)? == 2;
        let mut samples = tags.one_or(277, 1)? as usize;
        let mut bits = tags.numbers(258)?;
        if bits.is_empty() {
            bits.push(1);
        }
        if apart && !extra.is_empty() && extra.iter().all(|&kind| kind == 0) {
            bits.truncate(bits.len().checked_sub(extra.len())?);
            samples = samples.checked_sub(extra.len())?;
            extra.clear();
        }
        // Too many are left out; a single one stands for all.
        bits.truncate(samples);
        if bits.len() != samples && bits.len() == 1 {
            bits.resize(samples.min(6), bits[0]);
        }
        let first = *bits.first()?;
        let formats = tags.numbers(339)?;
        let format = formats.first().copied().unwrap_or(1);
        if bits.len() != samples
            || bits.iter().any(|&other| other != first)
            || formats.iter().any(|&other| other != format)
        {
            return None;
        }
        let tiles = tags.values(273)?.is_empty();
        let (part, starts, lengths) = if tiles {
            (
                (tags.one(322)?, tags.one(323)?),
                tags.values(324)?,
                tags.values(325)?,
            )
        } else {
            let rows = tags.one_or(278, height)?.min(height);
            ((width, rows), tags.values(273)?, tags.values(279)?)
        };
        if part.0 == 0 || part.1 == 0 || starts.is_empty() {
            return None;
        }
        let compression = tags.one_or(259, 1)?;
        let jpeg_tables = match tags.bytes(347) {
            Some(tables) if compression == 7 => tables,
            _ => &[],
        };
        // Pillow reads samples that lie apart and are not packed as bytes.
        let bits_read = if apart && compression == 1 && first == 16 {
            8
        } else {
            first
        };
        Some(Self {
            file,
            big_endian: tags.big_endian,
            width,
            height,
            bits: bits_read,
            samples,
            format,
            meaning,
            compression,
            predictor: tags.one_or(317, 1)?,
            fax_options: tags.one_or(292, 0)?,
            apart,
            extra,
            palette: tags.numbers(320)?,
            shared: match tags.numbers(530)?[..] {
                [across, down, ..] => (across, down),
                _ => (2, 2),
            },
            weights: tags.fractions(529).unwrap_or([0.299, 0.587, 0.114]),
            levels: tags
                .fractions(532)
                .unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
            jpeg_tables,
            part,
            tiles,
            lowest_bit_first: tags.one_or(266, 1)? == 2,
            starts,
            lengths,
        })
    }

    /// How many parts are stored.
    pub fn parts(&self) -> usize {
        self.starts.len()
    }

    /// Whether several pixels share their chroma, as they are stored. A JPEG sees to that itself, and Pillow
    /// takes what is not packed for whole pixels.
    pub fn shares_chroma(&self) -> bool {
        self.meaning == 6 && !matches!(self.compression, 1 | 7) && self.shared != (1, 1)
    }

    /// Whether numbers of several bytes begin with the highest.
    pub fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// The stored bytes of part `index`, bits in the usual order.
    pub fn stored(&self, index: usize) -> Result<Vec<u8>, ImageError> {
        let cut = || ImageError::truncated("the TIFF ends before its last pixel");
        let from = self
            .starts
            .get(index)
            .and_then(|&from| usize::try_from(from).ok());
        let rest = from
            .and_then(|from| self.file.get(from..))
            .ok_or_else(cut)?;
        // What is not packed is as long as it is; of packed data the end tells.
        let length = self
            .lengths
            .get(index)
            .and_then(|&length| usize::try_from(length).ok());
        let bytes = match length {
            Some(length) if self.compression != 1 => rest.get(..length).ok_or_else(cut)?,
            _ => rest,
        };
        let wanted = self.part_size().unwrap_or(usize::MAX);
        let bytes = if self.compression == 1 {
            bytes.get(..wanted).unwrap_or(bytes)
        } else {
            bytes
        };
        Ok(if self.lowest_bit_first {
            bytes.iter().map(|byte| byte.reverse_bits()).collect()
        } else {
            bytes.to_vec()
        })
    }

    /// Bytes of a line of a part, and of the whole part.
    pub fn line_size(&self) -> Option<usize> {
        let samples = if self.apart { 1 } else { self.samples };
        let bits = (self.part.0 as usize)
            .checked_mul(samples)?
            .checked_mul(self.bits as usize)?;
        Some(bits.div_ceil(8))
    }

    pub fn part_size(&self) -> Option<usize> {
        self.line_size()?.checked_mul(self.part.1 as usize)
    }
}
