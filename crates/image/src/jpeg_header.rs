//! A JPEG's segments up to its first scan, walked with Pillow's leniencies and refusals.

use super::{ImageError, exif};

/// What the segments say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegHeader {
    /// Stored width in pixels, before orientation.
    pub width: u32,
    /// Stored height in pixels, before orientation.
    pub height: u32,
    /// EXIF orientation, 1 to 8.
    pub orientation: u8,
}

/// How far a walk came.
pub enum Walk {
    /// It saw the start of the first scan.
    Done(Result<JpegHeader, ImageError>),
    /// It ran out of bytes; at least this many are needed.
    Needs(usize),
}

/// Walks the segments in `bytes`, which begin the file. Meant to be called again with more bytes
/// until it is done; running out at the end of the file means that the file is truncated.
pub fn walk(bytes: &[u8]) -> Walk {
    let mut walker = Walker {
        bytes,
        at: 2,
        frame: None,
        exif: Vec::new(),
        xmp: None,
        profile: None,
    };
    match walker.run() {
        Ok(()) => Walk::Done(walker.result()),
        Err(Stop::Refused(error)) => Walk::Done(Err(error)),
        Err(Stop::Needs(bytes)) => Walk::Needs(bytes),
    }
}

enum Stop {
    Refused(ImageError),
    Needs(usize),
}

fn refuse(message: impl Into<std::borrow::Cow<'static, str>>) -> Stop {
    Stop::Refused(ImageError::corrupt(message))
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<(u32, u32)>,
    /// The EXIF segments so far; nearly always none or one.
    exif: Vec<&'a [u8]>,
    xmp: Option<&'a [u8]>,
    /// The first ICC chunk in byte order, since the last frame header.
    profile: Option<&'a [u8]>,
}

impl<'a> Walker<'a> {
    fn run(&mut self) -> Result<(), Stop> {
        loop {
            // Junk between segments is skipped, so are fill bytes.
            while self.byte()? != 0xff {}
            let marker = loop {
                match self.byte()? {
                    0xff => {}
                    other => break other,
                }
            };
            match marker {
                0x01..=0xbf => {
                    return Err(refuse("a JPEG marker was expected and not found"));
                }
                // A zero is an escaped byte of data, and like the rest has no length after it:
                // JPG, restart markers, SOI, EOI, JPG0 to JPG13.
                0x00 | 0xc8 | 0xd0..=0xd9 | 0xf0..=0xfd | 0xff => {}
                0xda => {
                    self.segment()?;
                    return Ok(());
                }
                0xc4 | 0xcc | 0xdc | 0xdd | 0xdf | 0xfe => {
                    self.segment()?;
                }
                0xdb => {
                    let tables = self.segment()?;
                    check_tables(tables)?;
                }
                0xc0..=0xcf | 0xde => {
                    let frame = self.segment()?;
                    self.frame_header(frame)?;
                }
                0xe0..=0xef => {
                    let segment = self.segment()?;
                    self.application(marker, segment)?;
                }
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::Needs(self.at + 1))?;
        self.at += 1;
        Ok(byte)
    }

    /// The payload of the segment here. A length below two means an empty one.
    fn segment(&mut self) -> Result<&'a [u8], Stop> {
        let length = u16::from_be_bytes([self.byte()?, self.byte()?]);
        let end = self.at + usize::from(length.saturating_sub(2));
        let payload = self.bytes.get(self.at..end).ok_or(Stop::Needs(end))?;
        self.at = end;
        Ok(payload)
    }

    fn frame_header(&mut self, frame: &[u8]) -> Result<(), Stop> {
        let &[bits, h1, h0, w1, w0, layers, ..] = frame else {
            return Err(refuse("the JPEG's frame header is too short"));
        };
        if bits != 8 {
            return Err(refuse(format!("{bits}-bit JPEGs are not supported")));
        }
        if !matches!(layers, 1 | 3 | 4) {
            return Err(refuse(format!(
                "a JPEG with {layers} channels is not supported"
            )));
        }
        // Three bytes a channel follow.
        if !frame.len().is_multiple_of(3) {
            return Err(refuse("the JPEG's frame header is cut off"));
        }
        if self.profile.take().is_some_and(|chunk| chunk.len() < 14) {
            return Err(refuse("the JPEG's colour profile is cut off"));
        }
        let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
        self.frame = Some((side(w1, w0), side(h1, h0)));
        Ok(())
    }

    fn application(&mut self, marker: u8, segment: &'a [u8]) -> Result<(), Stop> {
        match marker {
            0xe0 if segment.starts_with(b"JFIF") && segment.len() < 7 => {
                return Err(refuse("the JPEG's JFIF segment is cut off"));
            }
            0xe1 if segment.starts_with(b"Exif\0\0") => self.exif.push(segment),
            0xe1 if segment.starts_with(b"http://ns.adobe.com/xap/1.0/\0") => {
                self.xmp = Some(segment);
            }
            0xe2 if segment.starts_with(b"ICC_PROFILE\0") => {
                self.profile = Some(self.profile.map_or(segment, |first| first.min(segment)));
            }
            0xed if segment.starts_with(b"Photoshop 3.0\0") => check_resources(segment)?,
            0xee if segment.starts_with(b"Adobe") && segment.len() < 7 => {
                return Err(refuse("the JPEG's Adobe segment is cut off"));
            }
            _ => {}
        }
        Ok(())
    }

    fn result(&self) -> Result<JpegHeader, ImageError> {
        let (width, height) = self
            .frame
            .ok_or_else(|| ImageError::corrupt("the JPEG has no frame header"))?;
        let exif = match self.exif.as_slice() {
            [] => None,
            [one] => exif::orientation(one),
            many => {
                // Later segments continue the first.
                let data: Vec<u8> = many
                    .iter()
                    .flat_map(|part| part.iter().skip(6))
                    .copied()
                    .collect();
                exif::orientation(&data)
            }
        };
        let xmp = self.xmp.and_then(exif::xmp_orientation);
        Ok(JpegHeader {
            width,
            height,
            orientation: exif::meaning(exif, xmp),
        })
    }
}

/// Each quantisation table must be whole.
fn check_tables(mut tables: &[u8]) -> Result<(), Stop> {
    while let Some(head) = tables.first() {
        let size = if head >> 4 == 0 { 65 } else { 129 };
        tables = tables
            .get(size..)
            .ok_or_else(|| refuse("a quantisation table of the JPEG is cut off"))?;
    }
    Ok(())
}

/// Photoshop's resource blocks may be cut off anywhere but before the length of a name.
fn check_resources(segment: &[u8]) -> Result<(), Stop> {
    let mut at = 14;
    while segment.get(at..at + 4) == Some(b"8BIM") {
        at += 6;
        if at > segment.len() {
            return Ok(());
        }
        let name = *segment
            .get(at)
            .ok_or_else(|| refuse("the JPEG's Photoshop segment is cut off"))?;
        at += 1 + usize::from(name);
        at += at & 1;
        let Some(size) = segment.get(at..at + 4).and_then(|b| b.try_into().ok()) else {
            return Ok(());
        };
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        at = (at + 4).saturating_add(size);
        at = at.saturating_add(at & 1);
        if at > segment.len() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(bytes: &[u8]) -> Result<JpegHeader, ImageError> {
        match walk(bytes) {
            Walk::Done(result) => result,
            Walk::Needs(n) => panic!("needs {n} bytes"),
        }
    }

    const FRAME: &[u8] = b"\xff\xc0\0\x0b\x08\0\x10\0\x20\x01\x01\x11\0";
    const SCAN: &[u8] = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0";

    #[test]
    fn the_frame_header_gives_the_size() {
        let jpeg = [b"\xff\xd8", FRAME, SCAN].concat();
        let header = done(&jpeg).unwrap();
        assert_eq!(
            (header.width, header.height, header.orientation),
            (32, 16, 1)
        );
    }

    #[test]
    fn junk_and_fill_bytes_between_segments_are_skipped() {
        let jpeg = [b"\xff\xd8", &b"junk\xff\xff\xff\xfe\0\x02"[..], FRAME, SCAN].concat();
        assert!(done(&jpeg).is_ok());
    }

    #[test]
    fn a_part_says_how_much_more_it_needs() {
        let jpeg = [b"\xff\xd8", FRAME, SCAN].concat();
        for cut in 2..jpeg.len() {
            let Walk::Needs(n) = walk(&jpeg[..cut]) else {
                panic!("cut at {cut}")
            };
            assert!(n > cut && n <= jpeg.len());
        }
    }

    #[test]
    fn what_pillow_cannot_open_is_refused() {
        let twelve_bit = b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x10\0\x20\x01\x01\x11\0";
        let two_channels = b"\xff\xd8\xff\xc0\0\x0e\x08\0\x10\0\x20\x02\x01\x11\0\x02\x11\0";
        let bad_table = b"\xff\xd8\xff\xdb\0\x05\0\x01\x02";
        let no_frame = [b"\xff\xd8", SCAN].concat();
        for jpeg in [&twelve_bit[..], two_channels, bad_table, &no_frame] {
            assert_eq!(done(jpeg).unwrap_err().code, "image_corrupt");
        }
    }
}
