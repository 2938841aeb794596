//! Records one after the other, each with its own checksum: what a segment of the cache holds.
//!
//! A record is the key (content 16 bytes, kernel 8), the length of the value (4), the second since
//! 1970 in which it was written (4), the value, and the CRC-32 of all of that (4); numbers are
//! little endian.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;

use super::Key;

/// How a log begins.
pub const MAGIC: &[u8; 8] = b"djrclog1";

/// Bytes of a record before its value.
const HEAD: usize = 32;

/// Bytes of a record behind its value.
const TAIL: usize = 4;

/// Read at once: most records end within it.
const FIRST_READ: usize = 256;

/// What a record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whose value it is.
    pub key: Key,
    /// Bytes of the value.
    pub length: u32,
    /// Seconds since 1970.
    pub written: u32,
}

impl Head {
    /// Bytes of the whole record.
    pub fn bytes(self) -> u64 {
        u64::from(self.length) + (HEAD + TAIL) as u64
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (content, rest) = bytes.split_first_chunk()?;
        let (kernel, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let written = rest.first_chunk()?;
        Some(Self {
            key: Key {
                content: u128::from_le_bytes(*content),
                kernel: u64::from_le_bytes(*kernel),
            },
            length: u32::from_le_bytes(*length),
            written: u32::from_le_bytes(*written),
        })
    }
}

/// Appends a record.
///
/// # Errors
/// If the value has 4 GiB or more.
pub fn encode(key: Key, written: u32, value: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(value.len()).map_err(io::Error::other)?;
    let start = out.len();
    out.extend_from_slice(&key.content.to_le_bytes());
    out.extend_from_slice(&key.kernel.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&written.to_le_bytes());
    out.extend_from_slice(value);
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// The record that `bytes` begins with; `None` if it is damaged or cut.
pub fn decode(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let head = Head::parse(bytes)?;
    let end = HEAD.checked_add(usize::try_from(head.length).ok()?)?;
    let (summed, rest) = bytes.split_at_checked(end)?;
    let checksum = u32::from_le_bytes(*rest.first_chunk()?);
    (crc32fast::hash(summed) == checksum).then_some((head, summed.get(HEAD..)?))
}

/// The record at `offset` of a log of `end` bytes; `None` if it is damaged.
///
/// # Errors
/// If the file cannot be read.
pub fn read_at(file: &File, offset: u64, end: u64) -> io::Result<Option<(Head, Vec<u8>)>> {
    let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut first = [0; FIRST_READ];
    let first = first.get_mut(..FIRST_READ.min(left)).unwrap_or_default();
    if let Err(error) = file.read_exact_at(first, offset) {
        return cut(error);
    }
    let Some(head) = Head::parse(first) else {
        return Ok(None);
    };
    let whole = usize::try_from(head.bytes()).unwrap_or(usize::MAX);
    if whole > left {
        return Ok(None);
    }
    if whole <= first.len() {
        return Ok(decode(first).map(|(head, value)| (head, value.to_vec())));
    }
    let mut all = vec![0; whole];
    if let Err(error) = file.read_exact_at(&mut all, offset) {
        return cut(error);
    }
    Ok(decode(&all).map(|(head, value)| (head, value.to_vec())))
}

/// A file that is shorter than it was is a damaged one.
fn cut<T>(error: io::Error) -> io::Result<Option<T>> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Ok(None);
    }
    Err(error)
}

/// Reads the records of a log from its beginning.
pub struct Scan<'a> {
    file: BufReader<&'a File>,
    /// Where the next record begins.
    offset: u64,
    /// Bytes of the file.
    length: u64,
    record: Vec<u8>,
}

/// How a log goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A sound record, and where it begins.
    Record(u64, Head),
    /// It ends here.
    End,
    /// What follows here is the beginning of a record that was never finished.
    Torn,
    /// What follows here is no record.
    Damaged,
}

impl<'a> Scan<'a> {
    /// Begins; `None` if the file is no log.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(file: &'a File) -> io::Result<Option<Self>> {
        let mut magic = [0; MAGIC.len()];
        if let Err(error) = file.read_exact_at(&mut magic, 0) {
            return cut(error);
        }
        if magic != *MAGIC {
            return Ok(None);
        }
        let mut reader = BufReader::with_capacity(1 << 17, file);
        io::Seek::seek(&mut reader, io::SeekFrom::Start(MAGIC.len() as u64))?;
        Ok(Some(Self {
            file: reader,
            offset: MAGIC.len() as u64,
            length: file.metadata()?.len(),
            record: Vec::new(),
        }))
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next(&mut self) -> io::Result<Next> {
        let left = self.length.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Next::End);
        }
        self.record.clear();
        let more = (&mut self.file).take(HEAD as u64);
        let read = read_into(more, &mut self.record)?;
        let Some(head) = Head::parse(&self.record).filter(|_| read == HEAD) else {
            return Ok(Next::Torn);
        };
        // Blocks that were given to the file and never written read as zeros.
        if head.bytes() > left || self.record.iter().all(|byte| *byte == 0) {
            return Ok(Next::Torn);
        }
        let rest = (&mut self.file).take(head.bytes() - HEAD as u64);
        read_into(rest, &mut self.record)?;
        if decode(&self.record).is_none() {
            let last = head.bytes() == left;
            return Ok(if last { Next::Torn } else { Next::Damaged });
        }
        let at = self.offset;
        self.offset += head.bytes();
        Ok(Next::Record(at, head))
    }

    /// The value of the record that came last.
    pub fn value(&self) -> &[u8] {
        let end = self.record.len().saturating_sub(TAIL);
        self.record.get(HEAD..end).unwrap_or_default()
    }
}

fn read_into(mut from: impl Read, out: &mut Vec<u8>) -> io::Result<usize> {
    from.read_to_end(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const KEY: Key = Key {
        content: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        kernel: 7,
    };

    #[test]
    fn no_flipped_bit_passes_for_a_record() {
        let mut bytes = Vec::new();
        encode(KEY, 1_700_000_000, b"a value", &mut bytes).unwrap();
        assert_eq!(bytes.len(), HEAD + 7 + TAIL);
        let (head, value) = decode(&bytes).unwrap();
        assert_eq!(
            (head.key, head.written, value),
            (KEY, 1_700_000_000, &b"a value"[..])
        );
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at]), None, "cut to {at}");
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert_eq!(decode(&bytes), None, "bit {bit} of byte {at}");
                bytes[at] ^= 1 << bit;
            }
        }
    }

    #[test]
    fn values_longer_than_the_first_read_are_read_whole() {
        let mut file = tempfile::tempfile().unwrap();
        let mut bytes = MAGIC.to_vec();
        let lengths = [0_usize, 1, 219, 220, 221, 5000];
        let mut places = Vec::new();
        for length in lengths {
            places.push(bytes.len() as u64);
            encode(KEY, 1, &vec![length.to_le_bytes()[0]; length], &mut bytes).unwrap();
        }
        file.write_all(&bytes).unwrap();
        let end = bytes.len() as u64;
        for (length, at) in lengths.iter().zip(&places) {
            let (head, value) = read_at(&file, *at, end).unwrap().unwrap();
            assert_eq!((head.key, value.len()), (KEY, *length));
        }
        assert_eq!(read_at(&file, end, end).unwrap(), None);
        assert_eq!(read_at(&file, end + 9, end).unwrap(), None);
        assert_eq!(read_at(&file, places[0] + 1, end).unwrap(), None);

        let mut scan = Scan::new(&file).unwrap().unwrap();
        for at in places {
            assert!(matches!(scan.next().unwrap(), Next::Record(place, _) if place == at));
        }
        assert_eq!(scan.next().unwrap(), Next::End);
    }
}
