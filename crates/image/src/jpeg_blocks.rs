//! The coefficients of a plain JPEG, for libjpeg's transform.
//!
//! A table tells for the next twelve bits one or two coefficients in them, with the zeros before
//! each, and whether the block ends there. libjpeg's own reader is the specification; whatever it
//! might warn of is left to it.

use std::rc::Rc;

use super::jpeg_bits::{Bits, First, Kept, Others, Reader, WIDTH, signed};
use super::jpeg_scan::{Channel, Plain};

/// Where the coefficients lie in a block, by their order in the file.
const ORDER: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// What the next bits mean: up to two coefficients, and whether the block ends with them.
///
/// From the lowest bit on: how many bits that takes (6), whether it ends (1), whether it does not fit
/// in here (1), how far the first coefficient is from the one before (5) and the second from the
/// first (5), their values (8 and 6). What is not there is no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry(u32);

/// Two coefficients or fewer.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    bits: u32,
    end: bool,
    runs: [u32; 2],
    values: [i32; 2],
}

impl Entry {
    /// The code has to be looked up on its own.
    const APART: Self = Self(1 << 7);

    fn new(found: Found) -> Self {
        let Found {
            bits,
            end,
            runs: [run, second],
            values: [value, other],
        } = found;
        Self(
            bits | u32::from(end) << 6
                | run << 8
                | second << 13
                | (value.cast_unsigned() & 0xff) << 18
                | other.cast_unsigned() << 26,
        )
    }

    fn bits(self) -> u32 {
        self.0 & 63
    }

    fn is_end(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    fn is_apart(self) -> bool {
        self.0 & 1 << 7 != 0
    }

    fn runs(self) -> [usize; 2] {
        [(self.0 >> 8 & 31) as usize, (self.0 >> 13 & 31) as usize]
    }

    fn values(self) -> [i16; 2] {
        let signed = self.0.cast_signed();
        // Both have few bits.
        [signed << 6 >> 24, signed >> 26].map(|value| i16::try_from(value).unwrap_or(0))
    }
}

thread_local! {
    static OTHERS: Kept<Others<Entry>> = const { Kept::new() };
}

/// What `bits` mean, if they come next.
fn entry(single: &[u16], bits: usize) -> Entry {
    let mut found = Found::default();
    for index in 0..3 {
        let rest = (bits << found.bits) & ((1 << WIDTH) - 1);
        let [length, symbol] = single.get(rest).copied().unwrap_or(0).to_be_bytes();
        let (run, size) = (u32::from(symbol >> 4) + 1, u32::from(symbol & 15));
        let end = size == 0 && run != 16;
        let used = found.bits + u32::from(length) + size;
        if length == 0 || used > WIDTH {
            break;
        }
        if end {
            found.bits = used;
            found.end = true;
            break;
        }
        let number = i32::try_from((bits >> (WIDTH - used)) & ((1 << size) - 1)).unwrap_or(0);
        let value = if size == 0 { 0 } else { signed(number, size) };
        match index {
            0 if i8::try_from(value).is_ok() => {
                found.runs = [run, 0];
                found.values = [value, 0];
            }
            1 if (-32..32).contains(&value) => {
                found.runs[1] = run;
                found.values[1] = value;
            }
            _ => break,
        }
        found.bits = used;
    }
    if found.bits == 0 {
        return Entry::APART;
    }
    Entry::new(found)
}

/// A channel with its tables.
struct Read {
    /// Blocks in a unit.
    blocks: usize,
    first: Rc<First>,
    others: Rc<Others<Entry>>,
    last: i32,
}

impl Read {
    fn new(plain: &Plain<'_>, channel: Channel) -> Option<Self> {
        let others = plain.other_codes(channel)?;
        let (across, down) = plain.blocks_of(channel);
        Some(Self {
            blocks: across * down,
            first: First::new(plain.first_codes(channel)?)?,
            others: OTHERS.with(|kept| kept.get(others, || Others::new(others, entry)))?,
            last: 0,
        })
    }

    /// Reads a block into `out`, which holds zeros.
    #[expect(clippy::inline_always, reason = "the reader stays in registers")]
    #[inline(always)]
    fn block(&mut self, reader: &mut Reader<'_>, out: &mut [i16; 64]) -> Option<()> {
        reader.fill()?;
        self.last += self.first.difference(reader)?;
        out[0] = i16::try_from(self.last).ok()?;
        // The coefficient that was read last.
        let mut at = 0;
        loop {
            reader.fill()?;
            let entry = self.others.ahead(reader)?;
            let [run, second] = entry.runs();
            let last = at + run + second;
            // A block that is full has no mark of its end: that would be of the next one.
            if entry.is_apart() || last + usize::from(entry.is_end()) > 63 {
                let (run, value) = self.single(reader)?;
                if run == 0 {
                    break;
                }
                at += run;
                // libjpeg says nothing of a block that is too long, but no encoder makes one.
                *out.get_mut(usize::from(*ORDER.get(at)?))? = value;
                if at == 63 {
                    break;
                }
                continue;
            }
            reader.skip(entry.bits());
            if entry.is_end() && run == 0 {
                break;
            }
            // Where there is no second one, the first takes its place.
            let places = [at + run, last].map(|place| usize::from(ORDER[place & 63] & 63));
            let [value, other] = entry.values();
            out[places[1]] = other;
            out[places[0]] = value;
            if entry.is_end() || last == 63 {
                break;
            }
            at = last;
        }
        Some(())
    }

    /// Reads one code and its number, 31 bits or fewer: how far the coefficient is from the one
    /// before, and its value; no further at the end of the block.
    #[expect(clippy::inline_always, reason = "the reader stays in registers")]
    #[inline(always)]
    fn single(&self, reader: &mut Reader<'_>) -> Option<(usize, i16)> {
        let (length, symbol) = self.others.single.find(reader.buffer())?;
        reader.skip(length);
        let (run, size) = (usize::from(symbol >> 4) + 1, u32::from(symbol & 15));
        Some(match size {
            0 if run == 16 => (run, 0),
            0 => (0, 0),
            _ => (run, i16::try_from(reader.number(size)).ok()?),
        })
    }
}

/// Reads the scan of a plain JPEG unit by unit.
pub struct Blocks {
    bits: Bits,
    channels: Vec<Read>,
    left: usize,
}

impl Blocks {
    /// `None` if libjpeg must be asked.
    pub fn new(plain: &Plain<'_>) -> Option<Self> {
        let (across, down) = plain.units();
        Some(Self {
            bits: plain.bits()?,
            channels: plain
                .channels()
                .iter()
                .map(|channel| Read::new(plain, *channel))
                .collect::<Option<_>>()?,
            left: across * down,
        })
    }

    /// Blocks in a unit.
    pub fn in_unit(&self) -> usize {
        self.channels.iter().map(|channel| channel.blocks).sum()
    }

    /// Bytes of the file that the scan takes.
    pub fn length(&self) -> usize {
        self.bits.length
    }

    /// Reads the next unit; `block` gives the place of each of its blocks by its number. `None` if
    /// libjpeg must be asked, from the beginning.
    pub fn unit<'a>(&mut self, mut block: impl FnMut(usize) -> &'a mut [i16; 64]) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        let Self { bits, channels, .. } = self;
        if bits.unit()? {
            for channel in channels.iter_mut() {
                channel.last = 0;
            }
        }
        bits.reader(|reader| {
            let mut number = 0;
            for channel in channels.iter_mut() {
                for _ in 0..channel.blocks {
                    channel.block(reader, block(number))?;
                    number += 1;
                }
            }
            Some(())
        })?;
        if self.left == 0 {
            bits.finish()?;
        }
        Some(())
    }
}
