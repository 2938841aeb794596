//! Fax lines in TIFFs: modified Huffman, T.4 of one and two dimensions, T.6. The `fax` crate knows
//! the codes; how lines begin and end is said by the TIFF.

use std::convert::Infallible;

use fax::BitReader;
use fax::maps::{Mode, black, mode, white};

/// `compression` as the TIFF tag numbers it, `options` as its T4 options. Of each pixel a bit, 1 where
/// the fax is black, in lines of whole bytes. `None` if there are fewer lines, or damaged ones.
pub fn decode(
    stored: &[u8],
    width: u32,
    rows: usize,
    compression: u32,
    options: u32,
) -> Option<Vec<u8>> {
    // As long a line as the codes' numbers reach.
    let width = u16::try_from(width).ok()?;
    let line = usize::from(width).div_ceil(8);
    let mut bits = Bits { stored, at: 0 };
    let mut above: Vec<u16> = Vec::new();
    let mut out = Vec::new();
    for _ in 0..rows {
        let changes = match compression {
            2 => {
                let changes = bits.line(width)?;
                bits.skip_to_byte();
                changes
            }
            3 => {
                bits.end_of_line()?;
                if options & 1 == 1 && !bits.bit()? {
                    bits.line_below(&above, width)?
                } else {
                    bits.line(width)?
                }
            }
            _ => bits.line_below(&above, width)?,
        };
        let begin = out.len();
        out.resize(begin + line, 0);
        for run in changes.chunks(2) {
            let (from, to) = (run[0], run.get(1).copied().unwrap_or(width));
            for x in from..to.min(width) {
                if let Some(byte) = out.get_mut(begin + usize::from(x / 8)) {
                    *byte |= 0x80 >> (x % 8);
                }
            }
        }
        above = changes;
    }
    Some(out)
}

/// Where the colour changes in a line, white being first.
type Changes = Vec<u16>;

/// The bits of a fax, zeros behind its end.
struct Bits<'a> {
    stored: &'a [u8],
    at: usize,
}

impl BitReader for Bits<'_> {
    type Error = Infallible;

    fn peek(&self, bits: u8) -> Option<u16> {
        let byte = |index: usize| u32::from(self.stored.get(index).copied().unwrap_or(0));
        let from = self.at / 8;
        let three = byte(from) << 16 | byte(from + 1) << 8 | byte(from + 2);
        let rest = three << (8 + self.at % 8);
        u16::try_from(rest >> 16 >> (16_u8.checked_sub(bits)?)).ok()
    }

    fn consume(&mut self, bits: u8) -> Result<(), Infallible> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        u8::try_from(self.at.next_multiple_of(8) - self.at).unwrap_or(0)
    }
}

impl Bits<'_> {
    fn skip_to_byte(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    fn bit(&mut self) -> Option<bool> {
        let bit = self.peek(1)?;
        self.at += 1;
        Some(bit == 1)
    }

    /// Steps over everything up to the next mark between lines: eleven zeros or more, and a one.
    fn end_of_line(&mut self) -> Option<()> {
        while self.peek(11)? != 0 {
            self.at += 1;
        }
        while !self.bit()? {
            if self.at > self.stored.len() * 8 {
                return None;
            }
        }
        Some(())
    }

    /// The length of a run.
    fn run(&mut self, of_black: bool) -> Option<u16> {
        let mut sum = 0_u16;
        loop {
            let part = if of_black {
                black::decode(self)?
            } else {
                white::decode(self)?
            };
            sum = sum.checked_add(part)?;
            if part < 64 {
                break;
            }
        }
        (self.at <= self.stored.len() * 8).then_some(sum)
    }

    /// A line on its own.
    fn line(&mut self, width: u16) -> Option<Changes> {
        let mut changes = Changes::new();
        let (mut at, mut is_black) = (0_u16, false);
        while at < width {
            at = at.checked_add(self.run(is_black)?)?;
            changes.push(at.min(width));
            is_black = !is_black;
        }
        Some(changes)
    }

    /// A line told by the one above it.
    fn line_below(&mut self, above: &[u16], width: u16) -> Option<Changes> {
        let mut changes = Changes::new();
        let (mut at, mut is_black) = (0_u16, false);
        while at < width {
            // The next changes above to the other colour and back, at the beginning even there.
            let begins = at == 0 && changes.is_empty();
            let next = (usize::from(is_black)..above.len())
                .step_by(2)
                .find(|&index| {
                    above
                        .get(index)
                        .is_some_and(|&x| x > at || (begins && x == 0))
                });
            let change = |index: Option<usize>| {
                index
                    .and_then(|index| above.get(index))
                    .copied()
                    .unwrap_or(width)
            };
            match mode::decode(self)? {
                Mode::Pass => at = change(next.map(|index| index + 1)),
                Mode::Vertical(by) => {
                    let to = change(next).checked_add_signed(i16::from(by))?;
                    if to < at {
                        return None;
                    }
                    at = to;
                    changes.push(at.min(width));
                    is_black = !is_black;
                }
                Mode::Horizontal => {
                    for colour in [is_black, !is_black] {
                        at = at.checked_add(self.run(colour)?)?;
                        changes.push(at.min(width));
                    }
                }
                Mode::Extension | Mode::EOF => return None,
            }
            if self.at > self.stored.len() * 8 {
                return None;
            }
        }
        Some(changes)
    }
}
