//! Lossless JPEGs (SOF3) of 8 bits, which newer libjpeg-turbo reads and `mozjpeg` does not.
//!
//! Each sample is predicted from its neighbours and the difference is Huffman coded. As there, the
//! colours are those in the file: grey, RGB or four inks; YCbCr is refused.

use super::{ImageError, RgbImage, check_size, jpeg};

/// Whether the first frame header is that of a lossless picture.
pub fn is_lossless(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some((marker, next)) = next_marker(bytes, at) {
        match marker {
            0xc3 => return true,
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf | 0xda | 0xd9 => return false,
            _ => {}
        }
        at = match marker {
            0x01 | 0xd0..=0xd9 => next,
            _ => match length(bytes, next) {
                Some(length) => next + length,
                None => return false,
            },
        };
    }
    false
}

/// All pixels as RGB, not oriented; whether some are made up.
pub fn decode_rgb(bytes: &[u8]) -> Result<(RgbImage, bool), ImageError> {
    let mut decoder = Decoder {
        bytes,
        at: 2,
        tables: [const { None }; 4],
        restart: 0,
        frame: None,
        jfif: false,
        transform: None,
        suspect: false,
    };
    decoder.read()?;
    decoder.picture()
}

fn corrupt(what: &'static str) -> ImageError {
    ImageError::corrupt(what)
}

fn truncated() -> ImageError {
    ImageError::truncated("the JPEG ends before its end marker")
}

/// The next marker and where it ends.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += memchr::memchr(0xff, bytes.get(at..)?)?;
        at += bytes.get(at..)?.iter().position(|&byte| byte != 0xff)?;
        let marker = *bytes.get(at)?;
        at += 1;
        if marker != 0 {
            return Some((marker, at));
        }
    }
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes: &[u8; 2] = bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_be_bytes(*bytes)))
}

/// A Huffman table: for each length of codes the greatest code, and where its values end.
struct Table {
    longest: [i32; 17],
    offset: [i32; 17],
    values: Vec<u8>,
}

impl Table {
    fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let (mut longest, mut offset) = ([-1; 17], [0; 17]);
        let (mut code, mut index) = (0_i32, 0_i32);
        for (size, &count) in (1..).zip(counts) {
            let count = i32::from(count);
            if count > 0 {
                *offset.get_mut(size)? = index - code;
                code += count;
                index += count;
                if code > 1 << size {
                    return None;
                }
                *longest.get_mut(size)? = code - 1;
            }
            code <<= 1;
        }
        let known = values.iter().all(|&value| value <= 16);
        (known && usize::try_from(index) == Ok(values.len())).then(|| Self {
            longest,
            offset,
            values: values.to_vec(),
        })
    }
}

struct Component {
    id: u8,
    across: usize,
    down: usize,
    width: usize,
    height: usize,
    samples: Vec<u8>,
    /// The line before, in 16 bits: damage makes numbers that no sample has.
    above: Vec<i32>,
    read: bool,
}

struct Frame {
    width: usize,
    height: usize,
    across: usize,
    down: usize,
    components: Vec<Component>,
}

/// What a scan header says of all components.
#[derive(Clone, Copy)]
struct Prediction {
    rule: u8,
    shift: u8,
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    tables: [Option<Table>; 4],
    restart: usize,
    frame: Option<Frame>,
    jfif: bool,
    transform: Option<u8>,
    suspect: bool,
}

impl<'a> Decoder<'a> {
    fn read(&mut self) -> Result<(), ImageError> {
        loop {
            let Some((marker, next)) = next_marker(self.bytes, self.at) else {
                // Once all is there, the end marker may be missing.
                let done = |frame: &Frame| frame.components.iter().all(|c| c.read);
                self.suspect = true;
                return if self.frame.as_ref().is_some_and(done) {
                    Ok(())
                } else {
                    Err(truncated())
                };
            };
            self.at = next;
            if marker == 0xd9 {
                return Ok(());
            }
            if matches!(marker, 0x01 | 0xd0..=0xd7) {
                continue;
            }
            let length = length(self.bytes, next).ok_or_else(truncated)?;
            let segment = self
                .bytes
                .get(next + 2..next + length.max(2))
                .ok_or_else(truncated)?;
            self.at = next + length.max(2);
            match marker {
                0xc3 if self.frame.is_some() => {
                    return Err(corrupt("the JPEG has two frame headers"));
                }
                0xc3 => self.frame = Some(frame(segment)?),
                0xc4 => self.huffman(segment)?,
                0xc0..=0xcf => return Err(corrupt("the JPEG mixes kinds of frames")),
                0xda => self.scan(segment)?,
                0xdd => self.restart = length_of_interval(segment)?,
                0xe0 => self.jfif |= segment.starts_with(b"JFIF\0") && segment.len() >= 12,
                0xee if segment.starts_with(b"Adobe") => {
                    self.transform = segment.get(11).copied().or(self.transform);
                }
                _ => {}
            }
        }
    }

    fn huffman(&mut self, mut segment: &'a [u8]) -> Result<(), ImageError> {
        let wrong = || corrupt("a Huffman table of the JPEG is broken");
        while let Some((&class, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (values, rest) = rest.split_at_checked(count).ok_or_else(wrong)?;
            segment = rest;
            // Tables of other classes are of no use here.
            if let Some(slot) = self.tables.get_mut(usize::from(class)) {
                *slot = Table::new(counts, values);
            }
        }
        Ok(())
    }

    fn scan(&mut self, header: &[u8]) -> Result<(), ImageError> {
        let wrong = || corrupt("a scan header of the JPEG is broken");
        let mut frame = self.frame.take().ok_or_else(wrong)?;
        let (&count, rest) = header.split_first().ok_or_else(wrong)?;
        let (list, rest) = rest
            .split_at_checked(usize::from(count) * 2)
            .ok_or_else(wrong)?;
        let &[rule, end, low] = rest else {
            return Err(wrong());
        };
        let prediction = Prediction {
            rule,
            shift: low & 15,
        };
        if !(1..=7).contains(&rule) || end != 0 || low > 7 || !(1..=4).contains(&count) {
            return Err(corrupt("a scan of the JPEG predicts in an unknown way"));
        }
        let mut parts = Vec::new();
        for pair in list.chunks_exact(2) {
            let index = frame.components.iter().position(|c| c.id == pair[0]);
            let table = self
                .tables
                .get(usize::from(pair[1] >> 4))
                .and_then(Option::as_ref);
            match (index, table) {
                (Some(index), Some(table)) => parts.push((index, table)),
                _ => return Err(wrong()),
            }
        }
        let mut bits = Bits {
            bytes: self.bytes,
            at: self.at,
            buffer: 0,
            left: 0,
            marker: false,
            empty: false,
        };
        let alone = parts.len() == 1;
        // Samples of each component in a unit, and units in the picture.
        let (mut across, mut down) = (
            frame.width.div_ceil(frame.across),
            frame.height.div_ceil(frame.down),
        );
        if let (true, Some(component)) =
            (alone, parts.first().and_then(|p| frame.components.get(p.0)))
        {
            (across, down) = (component.width, component.height);
        }
        if !self.restart.is_multiple_of(across) {
            return Err(corrupt("the restarts of the JPEG lie within lines"));
        }
        let lines = self.restart / across;
        let mut first = vec![true; frame.components.len()];
        let mut restarts = 0;
        for unit_line in 0..down {
            if lines > 0 && unit_line > 0 && unit_line % lines == 0 {
                self.suspect |= !bits.restart(restarts)?;
                restarts = (restarts + 1) % 8;
                first.fill(true);
            }
            if bits.empty {
                first.fill(true);
            }
            let mut differences: Vec<Vec<i32>> = parts
                .iter()
                .map(|&(index, _)| {
                    let component = frame.components.get(index);
                    let (h, v) = if alone {
                        (1, 1)
                    } else {
                        component.map_or((1, 1), |c| (c.across, c.down))
                    };
                    vec![0; h * v * across]
                })
                .collect();
            if !bits.empty {
                for unit in 0..across {
                    for (&(index, table), out) in parts.iter().zip(&mut differences) {
                        let component = frame.components.get(index).ok_or_else(wrong)?;
                        let (h, v) = if alone {
                            (1, 1)
                        } else {
                            (component.across, component.down)
                        };
                        for y in 0..v {
                            for x in 0..h {
                                let difference = bits.difference(table)?;
                                if let Some(slot) = out.get_mut(y * h * across + unit * h + x) {
                                    *slot = difference;
                                }
                            }
                        }
                    }
                }
            }
            self.suspect |= bits.empty;
            for (&(index, _), rows) in parts.iter().zip(&differences) {
                let component = frame.components.get_mut(index).ok_or_else(wrong)?;
                let (h, v) = if alone {
                    (1, 1)
                } else {
                    (component.across, component.down)
                };
                for y in 0..v {
                    let line = unit_line * v + y;
                    let row = rows
                        .get(y * h * across..(y + 1) * h * across)
                        .unwrap_or_default();
                    let is_first = first.get_mut(index).ok_or_else(wrong)?;
                    if line < component.height {
                        component.undo(line, row, prediction, std::mem::take(is_first));
                    }
                }
            }
        }
        for (index, _) in parts {
            if let Some(component) = frame.components.get_mut(index) {
                component.read = true;
            }
        }
        self.at = bits.at;
        self.frame = Some(frame);
        Ok(())
    }

    fn picture(self) -> Result<(RgbImage, bool), ImageError> {
        let frame = self
            .frame
            .ok_or_else(|| corrupt("the JPEG has no frame header"))?;
        if !frame.components.iter().all(|component| component.read) {
            return Err(corrupt("the JPEG has no scan for one of its channels"));
        }
        let luma = match (frame.components.len(), self.transform) {
            (3, Some(transform)) if !self.jfif => transform != 0,
            (3, _) => self.jfif,
            (4, Some(transform)) => transform != 0,
            _ => false,
        };
        if luma {
            return Err(corrupt(
                "a lossless JPEG of luma and chroma is not supported",
            ));
        }
        let mut data = Vec::with_capacity(frame.width * frame.height * 4);
        for y in 0..frame.height {
            for x in 0..frame.width {
                for component in &frame.components {
                    let column = x * component.across / frame.across;
                    let line = y * component.down / frame.down;
                    let sample = component.samples.get(line * component.width + column);
                    data.push(sample.copied().unwrap_or(0));
                }
            }
        }
        let data = match frame.components.len() {
            1 => data.into_iter().flat_map(|level| [level; 3]).collect(),
            4 => jpeg::cmyk_to_rgb(&data),
            _ => data,
        };
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        RgbImage::new(side(frame.width), side(frame.height), data)
            .map(|image| (image, self.suspect))
            .ok_or_else(|| corrupt("the decoder returned an impossible size"))
    }
}

fn length_of_interval(segment: &[u8]) -> Result<usize, ImageError> {
    length(segment, 0).ok_or_else(|| corrupt("the restart interval of the JPEG is cut off"))
}

fn frame(segment: &[u8]) -> Result<Frame, ImageError> {
    let wrong = || corrupt("the frame header of the JPEG is broken");
    let (&[bits, h1, h0, w1, w0, count], list) = segment.split_first_chunk().ok_or_else(wrong)?;
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    if bits != 8 || !matches!(count, 1 | 3 | 4) || list.len() != usize::from(count) * 3 {
        return Err(wrong());
    }
    check_size(width.into(), height.into())?;
    let factors = |channel: &[u8]| (usize::from(channel[1] >> 4), usize::from(channel[1] & 15));
    let most = |of: fn((usize, usize)) -> usize| {
        list.chunks_exact(3)
            .map(|channel| of(factors(channel)))
            .max()
    };
    let across = most(|(across, _)| across).unwrap_or(1);
    let down = most(|(_, down)| down).unwrap_or(1);
    let (width, height) = (usize::from(width), usize::from(height));
    let components = list.chunks_exact(3).map(|channel| {
        let (h, v) = factors(channel);
        if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
            return Err(wrong());
        }
        let (width, height) = ((width * h).div_ceil(across), (height * v).div_ceil(down));
        Ok(Component {
            id: channel[0],
            across: h,
            down: v,
            width,
            height,
            samples: vec![0; width * height],
            above: Vec::new(),
            read: false,
        })
    });
    Ok(Frame {
        width,
        height,
        across,
        down,
        components: components.collect::<Result<_, _>>()?,
    })
}

impl Component {
    /// Adds the differences of a line to what they were taken from, modulo 2^16.
    fn undo(&mut self, line: usize, differences: &[i32], prediction: Prediction, first: bool) {
        let above = std::mem::take(&mut self.above);
        let Some(out) = self
            .samples
            .get_mut(line * self.width..(line + 1) * self.width)
        else {
            return;
        };
        let mut left = 0;
        for (x, (slot, difference)) in out.iter_mut().zip(differences).enumerate() {
            let up = |x: usize| above.get(x).copied().unwrap_or(0);
            let guess = match (x, first) {
                (0, true) => 1 << (7 - prediction.shift),
                (_, true) => left,
                (0, false) => up(0),
                (x, false) => {
                    let (b, c) = (up(x), up(x - 1));
                    match prediction.rule {
                        1 => left,
                        2 => b,
                        3 => c,
                        4 => left + b - c,
                        5 => left + ((b - c) >> 1),
                        6 => b + ((left - c) >> 1),
                        _ => (left + b) >> 1,
                    }
                }
            };
            left = (guess + difference) & 0xffff;
            self.above.push(left);
            *slot = u8::try_from((left << prediction.shift) & 0xff).unwrap_or(0);
        }
    }
}

/// The bits of a scan.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    left: u32,
    /// A marker ends the data.
    marker: bool,
    /// More was asked for than there is.
    empty: bool,
}

impl Bits<'_> {
    /// Makes `count` bits ready. Behind a marker come zeros; the end of the file is none.
    fn need(&mut self, count: u32) -> Result<(), ImageError> {
        if self.left >= count {
            return Ok(());
        }
        self.fill()?;
        if self.left < count {
            self.buffer <<= 32;
            self.left += 32;
            self.empty = true;
        }
        Ok(())
    }

    /// Reads on, up to a marker.
    fn fill(&mut self) -> Result<(), ImageError> {
        while self.left < 57 && !self.marker {
            let byte = *self.bytes.get(self.at).ok_or_else(truncated)?;
            if byte == 0xff {
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                let fill = rest
                    .iter()
                    .position(|&byte| byte != 0xff)
                    .ok_or_else(truncated)?;
                if rest.get(fill) != Some(&0) {
                    self.marker = true;
                    break;
                }
                self.at += fill;
            }
            self.at += 1;
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.left += 8;
        }
        Ok(())
    }

    fn take(&mut self, count: u32) -> Result<i32, ImageError> {
        self.need(count)?;
        self.left -= count;
        let value = self.buffer >> self.left & ((1 << count) - 1);
        Ok(i32::try_from(value).unwrap_or(0))
    }

    fn difference(&mut self, table: &Table) -> Result<i32, ImageError> {
        // Reading ahead must not count as asking for more than there is.
        if self.left < 8 && !self.marker {
            self.fill()?;
        }
        let mut code = 0;
        let mut known = None;
        for (&longest, offset) in table.longest.iter().zip(table.offset).skip(1) {
            code = code << 1 | self.take(1)?;
            if code <= longest {
                let index = usize::try_from(code + offset).unwrap_or(usize::MAX);
                known = Some(table.values.get(index).copied().unwrap_or(0));
                break;
            }
        }
        let Some(size) = known else {
            // What is no code takes 17 bits in libjpeg-turbo and stands for no difference.
            self.take(1)?;
            return Ok(0);
        };
        Ok(match u32::from(size) {
            0 => 0,
            16 => 32_768,
            size => {
                let value = self.take(size)?;
                let half = 1 << (size - 1);
                if value < half {
                    value - 2 * half + 1
                } else {
                    value
                }
            }
        })
    }

    /// Goes on behind restart marker `number`; whether it was there. Where another marker is, as
    /// `jpeg_resync_to_restart`: the two before it and what is no marker are passed over, the two
    /// behind it and other segments are waited for, any other is taken for it.
    fn restart(&mut self, number: u8) -> Result<bool, ImageError> {
        (self.buffer, self.left) = (0, 0);
        loop {
            let (marker, next) = next_marker(self.bytes, self.at).ok_or_else(truncated)?;
            let ahead = marker.wrapping_sub(0xd0 + number) & 7;
            match (marker, ahead) {
                (0xd0..=0xd7, 6 | 7) | (..0xc0, _) => self.at = next,
                (0xd0..=0xd7, 0 | 3..=5) => {
                    self.at = next;
                    (self.marker, self.empty) = (false, false);
                    return Ok(ahead == 0);
                }
                _ => {
                    // Zeros are read until a line asks for more than there is.
                    self.marker = true;
                    return Ok(false);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "ffd8ffc400240000000303020006000003000000000000000102030405060708090a0b0c0d0e0f10";
    const FRAME: &str = "ffc3000b080006000601011100";
    const LINES: [[u8; 6]; 6] = [
        [1, 8, 16, 24, 28, 35],
        [23, 29, 35, 42, 51, 58],
        [43, 48, 55, 62, 71, 75],
        [60, 68, 74, 83, 88, 97],
        [83, 90, 97, 104, 111, 116],
        [102, 107, 114, 122, 131, 136],
    ];

    /// The levels of a grey picture whose bytes are given in hexadecimal.
    fn levels(parts: &[&str]) -> Vec<u8> {
        let digits = parts.concat();
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let (image, _) = decode_rgb(&bytes).unwrap();
        image.data().iter().step_by(3).copied().collect()
    }

    /// A picture of six lines, each behind a restart marker; `second` is the second of them.
    fn restarted(second: &str) -> Vec<u8> {
        let data = "ffdd00040006ffda00080101000100009806ef0f0d1bff00ffd09966cd9bbcb7ff";
        let rest = "9aa6addbbcb4ffd29bb786cf2d5e7fffd3924ddbb76ed7ffd482b56ef0f2d7ffd9";
        levels(&[TABLE, FRAME, data, second, rest])
    }

    // What is expected is what Pillow 13.0.0 (libjpeg-turbo 3.2.0) makes of these bytes.

    #[test]
    fn the_last_bits_are_read_as_any() {
        let tall = "ffc3000b080012000101011100ffda00080101000100009890000000000001ffd9";
        assert_eq!(levels(&[TABLE, tall]), [10; 18]);
    }

    #[test]
    fn what_is_no_code_takes_as_many_bits_as_in_libjpeg() {
        let data = "ffda0008010100040000fefdef0f0d1bc58924d44508c0444564a66d62e46953389a41a87fffd9";
        let found = levels(&[TABLE, FRAME, data]);
        assert_eq!(found[..6], [128, 128, 129, 126, 126, 81]);
        assert_eq!(found[30..], [133, 131, 211, 207, 208, 164]);
    }

    #[test]
    fn restart_markers_that_are_others_are_taken_as_by_libjpeg() {
        // Lines by their numbers; `N` is one that is not there.
        let lines = |numbers: &str| -> Vec<u8> {
            let line = |number: char| {
                let place = number.to_digit(10).map(|number| number as usize);
                place.map_or([128; 6], |place| LINES[place])
            };
            numbers.chars().flat_map(line).collect()
        };
        assert_eq!(restarted("d1"), lines("012345"));
        // One of the next two: it is waited for, and what is behind it belongs there.
        assert_eq!(restarted("d3"), lines("01NN25"));
        // One further off is taken for the one expected.
        assert_eq!(restarted("d6"), lines("012345"));
        // One of the last two, or none: passed over up to the next.
        assert_eq!(restarted("d0"), lines("01N345"));
        assert_eq!(restarted("05"), lines("01N345"));
    }
}
