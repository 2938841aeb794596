//! A zstd file of several frames that say how long they are unpacked (as `zstd` packs a file, several of
//! which may stand one behind the other): it can be read from anywhere, from the start of a frame on.
//!
//! Where frames begin is found by their headers and those of their blocks (RFC 8878, 3.1.1), which are
//! read alone.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::packing::Stream;

/// Bytes that a frame is read by.
const READ_BLOCK: usize = 1 << 17;

/// Where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    /// In the file.
    packed: u64,
    /// In what it is unpacked to.
    unpacked: u64,
}

/// A file of several frames.
pub struct Framed {
    file: Arc<File>,
    frames: Vec<Frame>,
    length: u64,
}

impl fmt::Debug for Framed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").finish_non_exhaustive()
    }
}

impl Framed {
    /// The frames of `file`; `None` if it is no whole zstd file, has less than two frames, or one
    /// does not say how long it is.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(file: File) -> io::Result<Option<Self>> {
        let end = file.metadata()?.len();
        let (mut frames, mut packed, mut unpacked) = (Vec::new(), 0, 0);
        while packed < end {
            let Some((next, length)) = frame(&file, packed)? else {
                return Ok(None);
            };
            if let Some(length) = length {
                frames.push(Frame { packed, unpacked });
                let Some(sum) = u64::checked_add(unpacked, length) else {
                    return Ok(None);
                };
                unpacked = sum;
            }
            packed = next;
        }
        let is_whole = packed == end && frames.len() > 1;
        Ok(is_whole.then(|| Self {
            file: Arc::new(file),
            frames,
            length: unpacked,
        }))
    }

    /// How many bytes it is unpacked to.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The frame that begins at or before a byte, the last one of several; without bytes behind it there
    /// is none.
    fn frame_of(&self, at: u64) -> Option<Frame> {
        let behind = self.frames.partition_point(|frame| frame.unpacked <= at);
        let frame = behind.checked_sub(1).and_then(|at| self.frames.get(at));
        frame.copied().filter(|_| at < self.length)
    }

    /// What is unpacked from `at` on.
    fn bytes_from(&self, at: u64) -> io::Result<Stream> {
        let Some(frame) = self.frame_of(at) else {
            return Ok(Box::new(io::empty()));
        };
        let packed = Packed {
            file: Arc::clone(&self.file),
            at: frame.packed,
        };
        let packed = BufReader::with_capacity(READ_BLOCK, packed);
        let mut stream = zstd::stream::read::Decoder::with_buffer(packed)?;
        let ahead = at - frame.unpacked;
        let passed = io::copy(&mut stream.by_ref().take(ahead), &mut io::sink())?;
        if passed < ahead {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Box::new(stream))
    }
}

/// Where the frame at `at` ends, and how long it is unpacked if it is one of data; `None` if that is no
/// whole frame, or does not say it.
fn frame(file: &File, at: u64) -> io::Result<Option<(u64, Option<u64>)>> {
    let mut head = [0; 18];
    let read = read_at(file, &mut head, at)?;
    let head = head.get(..read).unwrap_or_default();
    let word = |from: usize| {
        head.get(from..)?
            .first_chunk()
            .map(|b| u32::from_le_bytes(*b))
    };
    let Some(magic) = word(0) else {
        return Ok(None);
    };
    if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
        // One that readers pass over.
        return Ok(word(4).map(|length| (at + 8 + u64::from(length), None)));
    }
    let descriptor = head.get(4).copied().filter(|_| magic == 0xFD2F_B528);
    let Some(descriptor) = descriptor else {
        return Ok(None);
    };
    let single = descriptor >> 5 & 1 == 1;
    let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied();
    let before = 5 + usize::from(!single) + dictionary.unwrap_or(0);
    let (width, more) = match (descriptor >> 6, single) {
        (0, false) => return Ok(None),
        (0, true) => (1, 0),
        (1, _) => (2, 256),
        (2, _) => (4, 0),
        _ => (8, 0),
    };
    let Some(bytes) = head.get(before..before + width) else {
        return Ok(None);
    };
    let length = bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        + more;
    let mut at = at + (before + width) as u64;
    loop {
        let mut block = [0; 3];
        if read_at(file, &mut block, at)? < block.len() {
            return Ok(None);
        }
        let [a, b, c] = block.map(u64::from);
        let header = a | b << 8 | c << 16;
        let size = match header >> 1 & 3 {
            // A byte that comes so often.
            1 => 1,
            3 => return Ok(None),
            _ => header >> 3,
        };
        at += 3 + size;
        if header & 1 == 1 {
            break;
        }
    }
    // A checksum may follow.
    at += u64::from(descriptor >> 2 & 1) * 4;
    Ok(Some((at, Some(length))))
}

/// Reads what there is, however often the system is interrupted or gives less.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

/// The packed bytes of a file from a place on.
struct Packed {
    file: Arc<File>,
    at: u64,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_at(&self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The unpacked bytes of a file of frames, from a place on.
pub struct FramedBytes {
    framed: Arc<Framed>,
    at: u64,
    /// What is unpacked from `at` on.
    stream: Option<Stream>,
}

impl FramedBytes {
    /// Those of `framed` from `at` on.
    #[must_use]
    pub fn new(framed: Arc<Framed>, at: u64) -> Self {
        Self {
            framed,
            at,
            stream: None,
        }
    }

    /// Whose they are.
    #[must_use]
    pub fn framed(&self) -> &Arc<Framed> {
        &self.framed
    }

    /// Goes on at another place.
    pub fn seek_to(&mut self, at: u64) {
        if at != self.at {
            self.at = at;
            self.stream = None;
        }
    }
}

impl Read for FramedBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(self.framed.bytes_from(self.at)?),
        };
        let read = stream.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn text() -> Vec<u8> {
        (0..60_000_u32)
            .flat_map(|n| format!("{n} ").into_bytes())
            .collect()
    }

    /// `parts` as a frame each, which say how long they are if `sized`, with frames to be passed over
    /// before each.
    fn packed(parts: &[&[u8]], sized: bool) -> Vec<u8> {
        let mut file = Vec::new();
        for part in parts {
            file.extend([0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3]);
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_contentsize(sized).unwrap();
            encoder.include_checksum(part.len() % 2 == 1).unwrap();
            if sized {
                encoder
                    .set_pledged_src_size(Some(part.len() as u64))
                    .unwrap();
            }
            encoder.write_all(part).unwrap();
            file.extend(encoder.finish().unwrap());
        }
        file
    }

    fn framed(bytes: &[u8]) -> Option<Framed> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Framed::of(file).unwrap()
    }

    #[test]
    fn it_is_read_from_anywhere() {
        let text = text();
        for sizes in [
            vec![1, 200, 255, 256, 65_535, 65_792, 70_000],
            vec![0, 3, 0, 0, 100_000],
        ] {
            let mut rest = &text[..];
            let mut parts = Vec::new();
            for size in sizes {
                let (part, behind) = rest.split_at(size);
                parts.push(part);
                rest = behind;
            }
            let zeros = vec![0; 300_000];
            parts.push(&zeros);
            parts.push(rest);
            let whole = parts.concat();
            let framed = Arc::new(framed(&packed(&parts, true)).unwrap());
            assert_eq!(framed.length(), whole.len() as u64);
            assert_eq!(framed.frames.len(), parts.len());
            let mut bytes = FramedBytes::new(Arc::clone(&framed), 0);
            for at in (0..whole.len())
                .step_by(7919)
                .chain([0, whole.len() - 1, whole.len()])
            {
                bytes.seek_to(at as u64);
                let mut found = vec![0; 500.min(whole.len() - at)];
                bytes.read_exact(&mut found).unwrap();
                assert!(found == whole[at..at + found.len()], "{at}");
            }
            let mut all = Vec::new();
            FramedBytes::new(framed, 0).read_to_end(&mut all).unwrap();
            assert!(all == whole);
        }
    }

    #[test]
    fn what_does_not_say_how_long_it_is_cannot_be() {
        let text = text();
        let (a, b) = text.split_at(100_000);
        let sized = packed(&[a, b], true);
        assert!(framed(&packed(&[a, b], false)).is_none());
        assert!(framed(&packed(&[&text], true)).is_none());
        assert!(framed(&text).is_none());
        assert!(framed(b"").is_none());
        for cut in [1, 4, 5, 100, sized.len() / 2, sized.len() - 1] {
            assert!(framed(&sized[..cut]).is_none(), "{cut}");
        }
        assert!(framed(&[&sized[..], b"x"].concat()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn a_changed_byte_is_no_more_than_an_error(at in 0usize..200_000, change in 1u8..) {
            let text = text();
            let (a, b) = text.split_at(100_000);
            let mut bytes = packed(&[a, b], true);
            let at = at % bytes.len();
            bytes[at] ^= change;
            if let Some(framed) = framed(&bytes) {
                let mut all = Vec::new();
                let length = framed.length();
                let read = FramedBytes::new(Arc::new(framed), 0).take(1 << 24).read_to_end(&mut all);
                // A changed length is found out by who unpacks the frame.
                proptest::prop_assert!(read.is_err() || all.len() as u64 == length);
            }
        }
    }
}
