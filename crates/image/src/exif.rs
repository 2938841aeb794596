//! The orientation that EXIF or XMP metadata ask for, read as Pillow's `exif_transpose` reads it.

use super::ImageError;

/// The orientation tag of the first directory.
const ORIENTATION: u16 = 0x0112;

/// How a TIFF may begin for Pillow, whose readers of EXIF know no others. That of a big TIFF in the
/// order of little computers is left out: Pillow goes on to read eight bytes more than it has.
const BEGINNINGS: [&[u8]; 5] = [b"MM\0*", b"II*\0", b"MM*\0", b"II\0*", b"MM\0+"];

/// The orientation in EXIF data: a TIFF stream, after at most two `Exif\0\0` prefixes. `None`
/// if there is none; damaged metadata counts as none.
pub fn orientation(exif: &[u8]) -> Option<i64> {
    let tiff = Tiff::new(stream(exif))?;
    let start = usize::try_from(tiff.u32(4)?).ok()?;
    tiff.orientation(start)
}

/// As [`orientation`], for formats of which Pillow refuses a picture whose EXIF data is no TIFF.
///
/// # Errors
/// If there is data that does not begin as a TIFF.
pub fn strict_orientation(exif: &[u8]) -> Result<Option<i64>, ImageError> {
    let data = stream(exif);
    if data.is_empty() || data.len() >= 8 && Tiff::new(data).is_some() {
        return Ok(orientation(data));
    }
    Err(ImageError::corrupt("its EXIF data is no TIFF"))
}

/// EXIF data without its prefixes.
fn stream(mut exif: &[u8]) -> &[u8] {
    for _ in 0..2 {
        exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    }
    exif
}

/// EXIF data as `ImageMagick` writes it into texts: an empty line, the kind, the length, and then
/// hexadecimal digits, in pairs between which there may be white space.
///
/// # Errors
/// If something else stands there: Pillow looks at it when it is asked for the EXIF data, and fails.
pub fn from_hex(text: &[u8]) -> Result<Vec<u8>, ImageError> {
    let text = text.splitn(4, |&c| c == b'\n').nth(3).unwrap_or_default();
    // Joining the lines may join the two digits of a pair.
    let mut digits = text.iter().filter(|&&c| c != b'\n').peekable();
    let value = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
    let mut out = Vec::new();
    loop {
        while digits
            .next_if(|c| c.is_ascii_whitespace() || **c == 0x0b)
            .is_some()
        {}
        if digits.peek().is_none() {
            return Ok(out);
        }
        let pair = value(digits.next()).zip(value(digits.next()));
        let byte = pair.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        out.push(
            byte.ok_or_else(|| ImageError::corrupt("its EXIF data is no hexadecimal digits"))?,
        );
    }
}

/// The orientation in an XMP packet, which counts only if EXIF has none.
pub fn xmp_orientation(xmp: &[u8]) -> Option<i64> {
    let name = b"tiff:Orientation";
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(xmp.get(from..)?, name) {
        let rest = xmp.get(from + at + name.len()..)?;
        let digit = rest
            .strip_prefix(b"=\"")
            .or_else(|| rest.strip_prefix(b">"))
            .and_then(|r| r.first());
        if let Some(digit @ b'0'..=b'9') = digit {
            return Some(i64::from(digit - b'0'));
        }
        from += at + name.len();
    }
    None
}

/// What `orientation` means for the pixels: 2 to 8 turn or mirror them, all else is 1.
pub fn meaning(exif: Option<i64>, xmp: Option<i64>) -> u8 {
    exif.or(xmp)
        .and_then(|value| u8::try_from(value).ok())
        .filter(|value| (2..=8).contains(value))
        .unwrap_or(1)
}

struct Tiff<'a> {
    data: &'a [u8],
    big: bool,
}

impl<'a> Tiff<'a> {
    fn new(data: &'a [u8]) -> Option<Self> {
        let begins = BEGINNINGS.iter().any(|begin| data.starts_with(begin));
        let big = data.starts_with(b"MM");
        begins.then_some(Self { data, big })
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.data.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes(at)?;
        Some(if self.big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes(at)?;
        Some(if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// The tag's value in the directory at `start`; the last of several entries wins.
    fn orientation(&self, start: usize) -> Option<i64> {
        let count = usize::from(self.u16(start)?);
        let mut found = None;
        for index in 0..count {
            let entry = start + 2 + index * 12;
            // An entry that is cut off ends the directory; those before it stand.
            let Some(tag) = self.u16(entry) else { break };
            if tag == ORIENTATION {
                found = self.single_integer(entry).or(found);
            }
        }
        found
    }

    fn single_integer(&self, entry: usize) -> Option<i64> {
        if self.u32(entry + 4)? != 1 {
            return None;
        }
        let value = entry + 8;
        match self.u16(entry + 2)? {
            3 => self.u16(value).map(i64::from),
            4 | 13 => self.u32(value).map(i64::from),
            6 => self.bytes::<1>(value).map(|[b]| i64::from(b.cast_signed())),
            8 => self.u16(value).map(|v| i64::from(v.cast_signed())),
            9 => self.u32(value).map(|v| i64::from(v.cast_signed())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_found_in_either_byte_order() {
        let little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        assert_eq!(orientation(little), Some(6));
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0";
        assert_eq!(orientation(big), Some(3));
    }

    #[test]
    fn damaged_metadata_means_upright() {
        for exif in [
            &b""[..],
            b"Exif\0\0",
            b"II*\0\xff\xff\xff\xff",
            b"XX*\0\x08\0\0\0",
        ] {
            assert_eq!(meaning(orientation(exif), None), 1);
        }
        assert_eq!(meaning(Some(9), None), 1);
        assert_eq!(meaning(Some(-1), Some(6)), 1);
    }

    #[test]
    fn xmp_counts_where_exif_is_silent() {
        let xmp = br#"<rdf tiff:Orientation="6"/>"#;
        assert_eq!(meaning(None, xmp_orientation(xmp)), 6);
        assert_eq!(
            xmp_orientation(b"<tiff:Orientation>8</tiff:Orientation>"),
            Some(8)
        );
        assert_eq!(meaning(Some(1), Some(6)), 1);
    }
}
