//! Deflated TIFFs whose packed strips do not end as they should.
//!
//! libtiff stops once a strip is full: a checksum that is missing, or that only follows more data
//! than the strip holds, is never looked at. The `tiff` crate insists on it. A file that it refuses
//! is mended here and tried again: strips that are full without their end are packed anew.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Decompress, FlushDecompress};

/// The two numbers for deflate.
const DEFLATE: [u32; 2] = [8, 32_946];

struct Directory<'a> {
    bytes: &'a [u8],
    big: bool,
    start: usize,
}

/// Where the values of a tag are, how many, and how many bytes each takes.
#[derive(Clone, Copy)]
struct Values {
    at: usize,
    count: usize,
    size: usize,
}

impl<'a> Directory<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let big = match bytes.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let mut directory = Self {
            bytes,
            big,
            start: 0,
        };
        directory.start = directory.number(4, 4)? as usize;
        Some(directory)
    }

    fn number(&self, at: usize, size: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
        Some(if self.big {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        })
    }

    fn values(&self, tag: u32) -> Option<Values> {
        let entries = self.number(self.start, 2)? as usize;
        let entry = (0..entries)
            .map(|index| self.start + 2 + index * 12)
            .find(|&entry| self.number(entry, 2) == Some(tag))?;
        let size = match self.number(entry + 2, 2)? {
            3 => 2,
            4 => 4,
            _ => return None,
        };
        let count = self.number(entry + 4, 4)? as usize;
        let at = if count.checked_mul(size)? <= 4 {
            entry + 8
        } else {
            self.number(entry + 8, 4)? as usize
        };
        Some(Values { at, count, size })
    }

    fn value(&self, values: Values, index: usize) -> Option<u32> {
        self.number(
            values.at.checked_add(index.checked_mul(values.size)?)?,
            values.size,
        )
    }

    fn single(&self, tag: u32) -> Option<u32> {
        self.value(self.values(tag)?, 0)
    }
}

/// The file with such strips packed anew; `None` if it has none, or if more is wrong with it.
pub fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let directory = Directory::first(bytes)?;
    if !DEFLATE.contains(&directory.single(259)?) {
        return None;
    }
    let tiled = directory.values(324).is_some();
    let (offsets, counts) = if tiled { (324, 325) } else { (273, 279) };
    let (offsets, counts) = (directory.values(offsets)?, directory.values(counts)?);
    if offsets.size != 4 || counts.size != 4 || offsets.count != counts.count {
        return None;
    }
    let (width, height) = (directory.single(256)?, directory.single(257)?);
    super::check_size(width, height).ok()?;
    let channels = if directory.single(284) == Some(2) {
        1
    } else {
        directory.single(277).unwrap_or(1)
    };
    let bits = directory.single(258).unwrap_or(1);
    let (line, lines) = if tiled {
        (directory.single(322)?, directory.single(323)?)
    } else {
        (width, directory.single(278).unwrap_or(height).min(height))
    };
    let row = u64::from(line)
        .checked_mul(u64::from(channels) * u64::from(bits))?
        .div_ceil(8);
    // A file never unpacks to more than its pictures' worth of what a pixel may take.
    let most = u64::from(width) * u64::from(height) * 16 + (1 << 24);
    let mut out = bytes.to_vec();
    let mut changed = false;
    for index in 0..offsets.count {
        let strips_down = u64::from(height.div_ceil(lines.max(1)));
        let rows = match u64::try_from(index).ok()? % strips_down.max(1) {
            last if !tiled && last + 1 == strips_down => {
                u64::from(height) - last * u64::from(lines)
            }
            _ => u64::from(lines),
        };
        let length = row.checked_mul(rows).filter(|length| *length <= most)?;
        let at = directory.value(offsets, index)? as usize;
        let packed = bytes.get(at..at.checked_add(directory.value(counts, index)? as usize)?)?;
        let mut strip = vec![0; usize::try_from(length).ok()?];
        let mut stream = Decompress::new(true);
        let status = stream.decompress(packed, &mut strip, FlushDecompress::Finish);
        if status.is_err() || stream.total_out() != length {
            return None;
        }
        if matches!(status, Ok(flate2::Status::StreamEnd)) {
            continue;
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&strip).ok()?;
        let strip = encoder.finish().ok()?;
        let number = |value: usize| -> Option<[u8; 4]> {
            let value = u32::try_from(value).ok()?;
            Some(if directory.big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            })
        };
        let start = number(out.len())?;
        let count = number(strip.len())?;
        out.get_mut(offsets.at + index * 4..)?
            .first_chunk_mut()
            .map(|slot| *slot = start)?;
        out.get_mut(counts.at + index * 4..)?
            .first_chunk_mut()
            .map(|slot| *slot = count)?;
        out.extend_from_slice(&strip);
        changed = true;
    }
    changed.then_some(out)
}
