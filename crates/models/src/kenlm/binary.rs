//! What all KenLM binary files share: the header, and sections that lie behind each other.

use std::ops::Range;

use super::{KenLm, KenLmError, MAX_ORDER, error, probing, trie};

/// What every binary file starts with.
pub(super) const MAGIC: &[u8] = b"mmap lm http://kheafield.com/code";
/// The only version that is read.
const VERSION: &[u8] = b" format version 5\n\0";
/// Test values that show the byte order and sizes of the machine that wrote the file, where they
/// start, and where the parameters behind them do.
const TEST_VALUES: [u8; 32] = [
    0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1,
    0, 0, 0, 0, 0, 0, 0,
];
const TESTS: usize = 56;
const PARAMETERS: usize = 88;
const COUNTS: usize = 108;

/// The parameters of a binary file.
pub(super) struct Header {
    pub(super) multiplier: f32,
    pub(super) kind: u32,
    /// Numbers of n-grams, order by order.
    pub(super) counts: Vec<u64>,
}

impl Header {
    pub(super) fn order(&self) -> usize {
        self.counts.len()
    }

    /// The number of n-grams of an order.
    pub(super) fn count(&self, order: usize) -> u64 {
        let index = order.checked_sub(1);
        index
            .and_then(|index| self.counts.get(index))
            .copied()
            .unwrap_or(0)
    }
}

pub(super) fn read(file: Vec<u8>) -> Result<KenLm, KenLmError> {
    let bytes = Bytes(file);
    let magic = [MAGIC, VERSION].concat();
    if bytes.0.get(..magic.len()) != Some(&magic) {
        return Err(error(
            "it is a KenLM binary of another version than 5, or unfinished",
        ));
    }
    if bytes.0.get(TESTS..PARAMETERS) != Some(&TEST_VALUES) {
        return Err(error("it was written on another kind of machine"));
    }
    let cut = || error("its header is cut off");
    let order = usize::from(*bytes.0.get(PARAMETERS).ok_or_else(cut)?);
    if !(2..=MAX_ORDER).contains(&order) {
        return Err(error(format!(
            "it has {order} orders of n-grams, not 2 to {MAX_ORDER}"
        )));
    }
    let counts = (0..order).map(|index| bytes.long(COUNTS + 8 * index));
    let header = Header {
        multiplier: bytes.float(PARAMETERS + 4).ok_or_else(cut)?,
        kind: bytes.int(PARAMETERS + 8).ok_or_else(cut)?,
        counts: counts.collect::<Option<_>>().ok_or_else(cut)?,
    };
    let version = bytes.int(PARAMETERS + 16).ok_or_else(cut)?;
    let mut sections = Sections {
        next: (COUNTS + 8 * order).next_multiple_of(8),
        length: bytes.0.len(),
    };
    match (header.kind, version) {
        (0, 0) => probing::read(bytes, &header, &mut sections),
        (2..=5, 1) => trie::read(bytes, &header, &mut sections),
        (1, _) => Err(error("it has rest costs, which are not supported")),
        (kind, version) => Err(error(format!(
            "its kind {kind}, version {version}, is unknown"
        ))),
    }
}

/// The bytes of a file; what lies beyond its end is not there.
#[derive(Debug)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    pub(super) fn int(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn long(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(super) fn float(&self, at: usize) -> Option<f32> {
        self.array(at).map(f32::from_le_bytes)
    }

    /// Up to 57 bits, the lowest first, that start `bit` bits behind the byte `at`.
    pub(super) fn bits(&self, at: usize, bit: u64, width: u32) -> Option<u64> {
        let byte = at.checked_add(usize::try_from(bit / 8).ok()?)?;
        let mask = 1_u64.checked_shl(width)?.wrapping_sub(1);
        Some(self.long(byte)? >> (bit % 8) & mask)
    }
}

/// Cuts a file into sections, one behind the other.
pub(super) struct Sections {
    next: usize,
    length: usize,
}

impl Sections {
    /// The next section of a size in bytes; an unknown size is one too large.
    pub(super) fn take(&mut self, size: Option<u64>) -> Result<Range<usize>, KenLmError> {
        let end = size
            .and_then(|size| usize::try_from(size).ok())
            .and_then(|size| self.next.checked_add(size))
            .filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| error("it is cut off, or its counts are wrong"))?;
        let section = self.next..end;
        self.next = end;
        Ok(section)
    }

    /// Where the next section starts.
    pub(super) fn start(&self) -> usize {
        self.next
    }
}
