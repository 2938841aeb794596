//! How files are packed, told by their first bytes; the one table of packed suffixes.

use std::io::{self, BufRead as _, BufReader, Read};

/// Bytes that a packed file is read by.
const READ_BLOCK: usize = 1 << 18;

/// Bytes that are read one after the other.
pub type Stream = Box<dyn Read + Send>;

/// The largest dictionary that an xz file may ask for, in KiB; `xz -9` takes 64 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// A way in which files are packed.
pub struct Packing {
    /// What it is called.
    pub name: &'static str,
    /// The endings of names of such files.
    pub suffixes: &'static [&'static str],
    /// Whether a file that begins so is packed in this way.
    begins: fn(&[u8]) -> bool,
    unpack: fn(Stream) -> io::Result<Stream>,
}

/// All of them. Several members or frames one after the other are one stream.
pub static PACKINGS: [Packing; 5] = [
    Packing {
        name: "gzip",
        suffixes: &[".gz"],
        begins: |head| head.starts_with(&[0x1F, 0x8B]),
        unpack: |bytes| {
            let bytes = BufReader::with_capacity(READ_BLOCK, bytes);
            let member = Some(flate2::bufread::GzDecoder::new(bytes));
            Ok(Box::new(Gzip { member }))
        },
    },
    Packing {
        name: "zstd",
        suffixes: &[".zst", ".zstd"],
        begins: is_zstd,
        unpack: |bytes| Ok(Box::new(zstd::stream::read::Decoder::new(bytes)?)),
    },
    Packing {
        name: "bzip2",
        suffixes: &[".bz2"],
        begins: |head| matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', ..]),
        unpack: |bytes| Ok(Box::new(bzip2::read::MultiBzDecoder::new(bytes))),
    },
    Packing {
        name: "xz",
        suffixes: &[".xz"],
        begins: |head| head.starts_with(&[0xFD, b'7', b'z', b'X', b'Z', 0]),
        unpack: |bytes| {
            let bytes = BufReader::with_capacity(READ_BLOCK, bytes);
            let reader = lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY);
            Ok(Box::new(reader))
        },
    },
    Packing {
        name: "lz4",
        suffixes: &[".lz4"],
        begins: |head| head.starts_with(&[0x04, 0x22, 0x4D, 0x18]),
        unpack: |bytes| {
            let bytes = BufReader::with_capacity(READ_BLOCK, bytes);
            let frames = Some(lz4_flex::frame::FrameDecoder::new(bytes));
            Ok(Box::new(Lz4 { frames }))
        },
    },
];

/// The members of a gzip file, one after the other. Zeros behind one fill a block up, as `gzip -dc`
/// and Python's `gzip` have it, and are passed over.
struct Gzip {
    member: Option<flate2::bufread::GzDecoder<BufReader<Stream>>>,
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut rest = match self.member.take() {
                Some(member) => member.into_inner(),
                None => break,
            };
            loop {
                let ahead = rest.fill_buf()?;
                let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
                let (length, end) = (ahead.len(), ahead.is_empty());
                rest.consume(zeros);
                if zeros < length {
                    self.member = Some(flate2::bufread::GzDecoder::new(rest));
                    break;
                }
                if end {
                    break;
                }
            }
        }
        Ok(0)
    }
}

/// The frames of an lz4 file, one after the other.
struct Lz4 {
    frames: Option<lz4_flex::frame::FrameDecoder<BufReader<Stream>>>,
}

impl Read for Lz4 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(frames) = &mut self.frames {
            let read = frames.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut rest = match self.frames.take() {
                Some(frames) => frames.into_inner(),
                None => break,
            };
            if !rest.fill_buf()?.is_empty() {
                self.frames = Some(lz4_flex::frame::FrameDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// A frame of data, or one that readers pass over, which some packers put first.
fn is_zstd(head: &[u8]) -> bool {
    matches!(
        head,
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..]
    )
}

impl Packing {
    /// How a file that begins with `head` is packed; `None` if it is not.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<&'static Self> {
        PACKINGS.iter().find(|packing| (packing.begins)(head))
    }

    /// What was packed.
    ///
    /// # Errors
    /// If it cannot be unpacked.
    pub fn unpack(&self, bytes: Stream) -> io::Result<Stream> {
        (self.unpack)(bytes)
    }
}

/// A file name in two: what it is called without the suffix of a packing, and that suffix.
#[must_use]
pub fn split_name(name: &str) -> (&str, &str) {
    let packed = PACKINGS.iter().flat_map(|packing| packing.suffixes);
    for suffix in packed {
        if let Some(rest) = name.len().checked_sub(suffix.len())
            && let Some((stem, end)) = name.split_at_checked(rest)
            && end.eq_ignore_ascii_case(suffix)
        {
            return (stem, end);
        }
    }
    (name, "")
}
