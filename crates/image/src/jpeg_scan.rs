//! Plain JPEGs taken apart: baseline, 8 bits, one scan that holds every channel, nothing odd.
//!
//! Nearly all JPEGs are of this kind, and their scans can be read faster than libjpeg does, which
//! must be ready for everything. A file with anything unusual is none of these; libjpeg reads it,
//! and its errors and warnings stand. So what is taken apart here is read without either: whoever
//! reads the scan gives it up (`None`) at the first thing that libjpeg might warn of.

use super::check_size;
use super::jpeg_bits::{Bits, Codes};

/// A channel of the picture.
#[derive(Debug, Clone, Copy, Default)]
pub struct Channel {
    id: u8,
    pub across: u8,
    pub down: u8,
    table: u8,
    /// The step of its first coefficient.
    pub step: u16,
    /// Its tables of codes.
    pub first: u8,
    pub others: u8,
}

/// A JPEG of the plain kind.
#[derive(Debug)]
pub struct Plain<'a> {
    pub width: u32,
    pub height: u32,
    channels: [Channel; 4],
    count: usize,
    /// The first coefficients' codes, and the others'.
    first: [Option<Codes<'a>>; 4],
    others: [Option<Codes<'a>>; 4],
    /// Units between two restarts; 0 without them.
    restart: usize,
    /// What says how three channels are meant: a segment of JFIF, or of Adobe.
    jfif: bool,
    adobe: bool,
    /// The file from behind the header of the scan, and where that is.
    rest: &'a [u8],
    begin: usize,
}

impl<'a> Plain<'a> {
    /// Takes the file apart up to its scan; `None` if it is of another kind.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut plain = Self {
            width: 0,
            height: 0,
            channels: [Channel::default(); 4],
            count: 0,
            first: [None; 4],
            others: [None; 4],
            restart: 0,
            jfif: false,
            adobe: false,
            rest: &[],
            begin: 0,
        };
        let mut steps = [None; 4];
        let mut at = 2;
        if bytes.get(..2)? != b"\xff\xd8" {
            return None;
        }
        loop {
            let &[0xff, marker, high, low] = bytes.get(at..)?.first_chunk()? else {
                return None;
            };
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            let segment = bytes.get(at + 4..end)?;
            at = end;
            match marker {
                0xc0 | 0xc1 if plain.count == 0 => plain.frame(segment)?,
                0xc4 => plain.codes(segment)?,
                0xda => {
                    plain.scan(segment, &steps)?;
                    plain.rest = bytes.get(at..)?;
                    plain.begin = at;
                    return Some(plain);
                }
                0xdb => quantisation(segment, &mut steps)?,
                0xdd => plain.restart = usize::from(u16::from_be_bytes(segment.try_into().ok()?)),
                0xe0 if segment.starts_with(b"JFIF\0") && segment.len() >= 14 => plain.jfif = true,
                0xee if segment.starts_with(b"Adobe") => plain.adobe = true,
                0xe0..=0xef | 0xfe => {}
                _ => return None,
            }
        }
    }

    pub fn channels(&self) -> &[Channel] {
        self.channels.get(..self.count).unwrap_or_default()
    }

    /// Whether the first channel alone is the picture in grey.
    pub fn grey_is_first(&self) -> bool {
        let luma = self.jfif || (!self.adobe && self.channels().iter().map(|c| c.id).eq(1..=3));
        let whole = |c: &Channel| (c.across, c.down) == self.most();
        self.count == 1 || (self.count == 3 && luma && self.channels().first().is_some_and(whole))
    }

    /// How many units of blocks lie side by side, and below each other.
    pub fn units(&self) -> (usize, usize) {
        let (across, down) = self.most();
        let side = |pixels: u32, blocks: u8| pixels.div_ceil(u32::from(blocks) * 8) as usize;
        (side(self.width, across), side(self.height, down))
    }

    /// The blocks of a unit, side by side and below each other, that a channel has.
    pub fn blocks_of(&self, channel: Channel) -> (usize, usize) {
        if self.count == 1 {
            (1, 1)
        } else {
            (usize::from(channel.across), usize::from(channel.down))
        }
    }

    pub fn first_codes(&self, channel: Channel) -> Option<Codes<'a>> {
        *self.first.get(usize::from(channel.first))?
    }

    pub fn other_codes(&self, channel: Channel) -> Option<Codes<'a>> {
        *self.others.get(usize::from(channel.others))?
    }

    /// The blocks that the widest channel has in a unit. A picture of one channel has one.
    fn most(&self) -> (u8, u8) {
        if self.count == 1 {
            return (1, 1);
        }
        let most = |side: fn(&Channel) -> u8| self.channels().iter().map(side).max().unwrap_or(1);
        (most(|c| c.across), most(|c| c.down))
    }

    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let (&[8, h1, h0, w1, w0, count], channels) = segment.split_first_chunk()? else {
            return None;
        };
        self.height = u32::from(u16::from_be_bytes([h1, h0]));
        self.width = u32::from(u16::from_be_bytes([w1, w0]));
        self.count = usize::from(count);
        let sides = [self.width, self.height];
        // libjpeg's largest side.
        if !matches!(count, 1 | 3 | 4)
            || channels.len() != self.count * 3
            || !sides.iter().all(|side| (1..=65_500).contains(side))
            || check_size(self.width, self.height).is_err()
        {
            return None;
        }
        for (channel, bytes) in self.channels.iter_mut().zip(channels.as_chunks::<3>().0) {
            *channel = Channel {
                id: bytes[0],
                across: bytes[1] >> 4,
                down: bytes[1] & 15,
                table: bytes[2],
                ..Channel::default()
            };
        }
        let found = self.channels();
        let usual = |side: u8| matches!(side, 1 | 2 | 4);
        let ids: Vec<u8> = found.iter().map(|channel| channel.id).collect();
        let distinct = (1..ids.len()).all(|n| !ids[..n].contains(&ids[n]));
        let blocks: u32 = found
            .iter()
            .map(|c| u32::from(c.across) * u32::from(c.down))
            .sum();
        if !found.iter().all(|c| usual(c.across) && usual(c.down))
            || !distinct
            || (self.count > 1 && blocks > 10)
        {
            return None;
        }
        Some(())
    }

    fn codes(&mut self, mut segment: &'a [u8]) -> Option<()> {
        while !segment.is_empty() {
            let (&[slot], rest) = segment.split_first_chunk()?;
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let all: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(all)?;
            let tables = if slot & 0x10 == 0 {
                &mut self.first
            } else {
                &mut self.others
            };
            if all > 256 {
                return None;
            }
            *tables.get_mut(usize::from(slot & !0x10))? = Some(Codes { counts, symbols });
            segment = rest;
        }
        Some(())
    }

    fn scan(&mut self, segment: &[u8], steps: &[Option<u16>; 4]) -> Option<()> {
        let (&[count], rest) = segment.split_first_chunk()?;
        let (channels, &[0, 63, 0]) = rest.split_last_chunk()? else {
            return None;
        };
        if self.count == 0 || usize::from(count) != self.count || channels.len() != self.count * 2 {
            return None;
        }
        for (channel, bytes) in self.channels.iter_mut().zip(channels.as_chunks::<2>().0) {
            if bytes[0] != channel.id {
                return None;
            }
            channel.first = bytes[1] >> 4;
            channel.others = bytes[1] & 15;
            channel.step = (*steps.get(usize::from(channel.table))?)?;
        }
        Some(())
    }

    /// The bits of the scan, which the end of the picture must follow.
    pub fn bits(&self) -> Option<Bits> {
        let (across, down) = self.units();
        Bits::read(self.rest, across * down, self.restart)
    }

    /// Where in the file the scan's bits begin.
    pub fn begin(&self) -> usize {
        self.begin
    }
}

/// The step of the first coefficient of each table.
fn quantisation(mut segment: &[u8], steps: &mut [Option<u16>; 4]) -> Option<()> {
    while !segment.is_empty() {
        let (&[slot], rest) = segment.split_first_chunk()?;
        let size = match slot >> 4 {
            0 => 64,
            1 => 128,
            _ => return None,
        };
        let (table, rest) = rest.split_at_checked(size)?;
        let step = match table {
            [step, ..] if size == 64 => u16::from(*step),
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => return None,
        };
        *steps.get_mut(usize::from(slot & 15))? = Some(step);
        segment = rest;
    }
    Some(())
}
