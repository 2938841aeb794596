//! The first coefficients of a plain JPEG, everything else stepped over.
//!
//! Whether a scan is sound is known from its codes alone, and of a picture at an eighth of its size
//! each sample is the first coefficient of a block. The other coefficients are skipped by a table
//! that tells for the next twelve bits how long all codes in them are, with the numbers behind
//! them, and how many coefficients they stand for: a step takes about two of them. libjpeg, at the
//! scale 1/8, is the specification; whatever it might warn of is left to it.

use std::rc::Rc;

use super::jpeg_bits::{First, Kept, Others, Reader, WIDTH};
use super::jpeg_scan::{Channel, Plain};

/// An entry says after how many coefficients the next code begins. From this on the block is at its
/// end, so many less after its last coefficient but zeros.
const END: u16 = 128;
/// The code is longer than the table is wide, or none.
const UNKNOWN: u16 = 255;

thread_local! {
    static OTHERS: Kept<Others<u16>> = const { Kept::new() };
}

/// What to step over if `bits` come next, its bits in the low byte and its coefficients in the high
/// one: all codes that lie in them as a whole, up to the end of the block.
fn step(single: &[u16], bits: usize) -> u16 {
    let (mut used, mut coefficients) = (0_u32, 0_u16);
    while used < WIDTH {
        let rest = (bits << used) & ((1 << WIDTH) - 1);
        let code = single.get(rest).copied().unwrap_or(0);
        let [length, symbol] = code.to_be_bytes();
        if length == 0 || used + u32::from(length) > WIDTH {
            break;
        }
        let Some((next, size)) = meaning(symbol) else {
            coefficients += END;
            used += u32::from(length);
            break;
        };
        if coefficients + next >= 64 {
            break;
        }
        coefficients += next;
        // Of the last number in sight the bits need not be.
        used += u32::from(length) + size;
    }
    let used = u16::try_from(used).unwrap_or(0);
    if used == 0 {
        UNKNOWN << 8
    } else {
        coefficients << 8 | used
    }
}

/// How many coefficients a symbol stands for, and how many bits of a number follow; `None` at the
/// end of the block.
fn meaning(symbol: u8) -> Option<(u16, u32)> {
    let (run, size) = (symbol >> 4, symbol & 15);
    if size == 0 && run != 15 {
        return None;
    }
    Some((u16::from(run) + 1, u32::from(size)))
}

/// A channel with its tables.
struct Skipped {
    blocks: (usize, usize),
    first: Rc<First>,
    others: Rc<Others<u16>>,
    last: i32,
}

impl Skipped {
    fn new(plain: &Plain<'_>, channel: Channel) -> Option<Self> {
        let others = plain.other_codes(channel)?;
        Some(Self {
            blocks: plain.blocks_of(channel),
            first: First::new(plain.first_codes(channel)?)?,
            others: OTHERS.with(|kept| kept.get(others, || Others::new(others, step)))?,
            last: 0,
        })
    }

    /// Reads a block; its first coefficient.
    #[expect(clippy::inline_always, reason = "the reader stays in registers")]
    #[inline(always)]
    fn block(&mut self, reader: &mut Reader<'_>) -> Option<i16> {
        reader.fill()?;
        self.last += self.first.difference(reader)?;
        // The next coefficient.
        let mut at = 1;
        'block: loop {
            reader.fill()?;
            // A step takes 27 bits or fewer.
            for _ in 0..2 {
                let entry = self.others.ahead(reader)?;
                let next = at + u32::from(entry >> 8);
                if next < 64 {
                    reader.skip(u32::from(entry & 63));
                    at = next;
                } else if next == 64 || next / 64 == u32::from(END / 64) {
                    reader.skip(u32::from(entry & 63));
                    break 'block;
                } else {
                    reader.fill()?;
                    let (bits, next) = self.single_step(reader.buffer(), at)?;
                    reader.skip(bits);
                    at = next;
                    if at == 64 {
                        break 'block;
                    }
                    reader.fill()?;
                }
            }
        }
        i16::try_from(self.last).ok()
    }

    /// How many bits to step over for one code, and the coefficient behind it: where several codes
    /// would lead beyond the block, and where the code is long.
    #[cold]
    fn single_step(&self, buffer: u64, at: u32) -> Option<(u32, u32)> {
        let (length, symbol) = self.others.single.find(buffer)?;
        let Some((coefficients, size)) = meaning(symbol) else {
            return Some((length, 64));
        };
        let next = at + u32::from(coefficients);
        // libjpeg says nothing of a block that is too long, but no encoder makes one.
        (next <= 64).then_some((length + size, next))
    }
}

/// Reads all of the scan; `found` gets channel, column, row and value of each first coefficient.
fn skim(plain: &Plain<'_>, mut found: impl FnMut(usize, usize, usize, i16)) -> Option<()> {
    let mut channels: Vec<Skipped> = plain
        .channels()
        .iter()
        .map(|channel| Skipped::new(plain, *channel))
        .collect::<Option<_>>()?;
    let mut bits = plain.bits()?;
    let (across, down) = plain.units();
    for row in 0..down {
        for column in 0..across {
            if bits.unit()? {
                for channel in &mut channels {
                    channel.last = 0;
                }
            }
            bits.reader(|reader| {
                for (index, channel) in channels.iter_mut().enumerate() {
                    let (wide, high) = channel.blocks;
                    for y in 0..high {
                        for x in 0..wide {
                            let value = channel.block(reader)?;
                            found(index, column * wide + x, row * high + y, value);
                        }
                    }
                }
                Some(())
            })?;
        }
    }
    bits.finish()
}

/// Whether the file is a plain JPEG that libjpeg reads to its end without a warning. False says
/// nothing: libjpeg must be asked.
pub fn is_sound(bytes: &[u8]) -> bool {
    Plain::read(bytes).is_some_and(|plain| skim(&plain, |_, _, _, _| ()).is_some())
}

/// Width, height and samples of the picture in grey at an eighth of its size, as libjpeg makes it;
/// `None` if libjpeg must be asked.
pub fn eighth(plain: &Plain<'_>) -> Option<(u32, u32, Vec<u8>)> {
    if !plain.grey_is_first() {
        return None;
    }
    let step = i32::from(i16::try_from(plain.channels().first()?.step).ok()?);
    let (width, height) = (plain.width.div_ceil(8), plain.height.div_ceil(8));
    let (across, down) = (width as usize, height as usize);
    let mut samples = vec![0; across * down];
    skim(plain, |channel, x, y, value| {
        let seen = channel == 0 && x < across && y < down;
        if let Some(sample) = samples.get_mut(y * across + x).filter(|_| seen) {
            *sample = level(i32::from(value) * step);
        }
    })?;
    Some((width, height, samples))
}

/// The sample of a block of which only the first coefficient, `value` in all, is looked at. Wild
/// values wrap, as in libjpeg's table.
fn level(value: i32) -> u8 {
    let level = ((value + 4) >> 3) & 1023;
    let centred = if level < 512 { level } else { level - 1024 };
    u8::try_from(centred.clamp(-128, 127) + 128).unwrap_or(0)
}
