//! What the boxes of an AVIF say.

use super::{ImageError, check_size, exif};

/// What the boxes of a still picture say.
#[derive(Debug)]
pub struct Avif<'a> {
    pub width: u32,
    pub height: u32,
    /// As in EXIF, 1 to 8.
    pub orientation: u8,
    #[cfg_attr(not(feature = "avif"), expect(dead_code, reason = "pixels need it"))]
    pub picture: Picture<'a>,
}

/// The coded picture, and how its colours are meant.
#[derive(Debug, Default)]
pub struct Picture<'a> {
    /// The parts of the coded data, in order.
    pub parts: Vec<&'a [u8]>,
    /// Matrix of the colours and whether levels take the whole range, if the file says so.
    pub colours: Option<(u16, bool)>,
    /// What it has that is not read.
    pub unsupported: Option<&'static str>,
}

/// A box: its four letters and its content.
type Boxed<'a> = ([u8; 4], &'a [u8]);

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    )
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(number(bytes, at, 2)?).ok()
}

/// The boxes that lie one behind the other in `bytes`; it ends at one that is cut off.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = Boxed<'_>> {
    std::iter::from_fn(move || {
        let kind: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
        let (head, size) = match number(bytes, 0, 4)? {
            0 => (8, bytes.len() as u64),
            1 => (16, number(bytes, 8, 8)?),
            size => (8, size),
        };
        let size = usize::try_from(size).ok()?;
        let content = bytes.get(head..size)?;
        bytes = bytes.get(size..)?;
        Some((kind, content))
    })
}

fn find(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(bytes)
        .find(|found| found.0 == kind)
        .map(|found| found.1)
}

/// An item of the file: its number, its kind, and for data of other kinds what these are.
struct Item<'a> {
    id: u64,
    kind: [u8; 4],
    mime: &'a [u8],
}

/// Where the data of items lie.
struct Places<'a> {
    file: &'a [u8],
    iloc: &'a [u8],
    idat: Option<&'a [u8]>,
}

impl<'a> Places<'a> {
    /// The parts of item `wanted`.
    fn parts(&self, wanted: u64) -> Option<Vec<&'a [u8]>> {
        let version = *self.iloc.first()?;
        let sizes = number(self.iloc, 4, 2)?;
        let nibble = |shift: u32| usize::try_from(sizes >> shift & 15).unwrap_or(0);
        let (offset, length, base) = (nibble(12), nibble(8), nibble(4));
        let index = if version == 0 { 0 } else { nibble(0) };
        if version > 2 || [offset, length, base, index].iter().any(|size| *size > 8) {
            return None;
        }
        let id = if version < 2 { 2 } else { 4 };
        let count = number(self.iloc, 6, id)?;
        let mut at = 6 + id;
        for _ in 0..count {
            let found = number(self.iloc, at, id)?;
            at += id;
            let mut method = 0;
            if version > 0 {
                method = short(self.iloc, at)? & 15;
                at += 2;
            }
            // The number of a data reference.
            at += 2;
            let start = number(self.iloc, at, base)?;
            at += base;
            let extents = short(self.iloc, at)?;
            at += 2;
            let mut parts = Vec::new();
            for _ in 0..extents {
                at += index;
                let from = start.checked_add(number(self.iloc, at, offset)?)?;
                let size = number(self.iloc, at + offset, length)?;
                at += offset + length;
                if found != wanted {
                    continue;
                }
                let data = match method {
                    0 => self.file,
                    1 => self.idat?,
                    _ => return None,
                };
                let from = usize::try_from(from).ok()?;
                let part = match size {
                    0 => data.get(from..)?,
                    size => data.get(from..from.checked_add(usize::try_from(size).ok()?)?)?,
                };
                parts.push(part);
            }
            if found == wanted {
                return Some(parts);
            }
        }
        None
    }
}

fn items(iinf: &[u8]) -> Option<Vec<Item<'_>>> {
    let skip = if *iinf.first()? == 0 { 6 } else { 8 };
    let entries = boxes(iinf.get(skip..)?).filter(|found| found.0 == *b"infe");
    Some(entries.filter_map(|(_, entry)| item(entry)).collect())
}

fn item(entry: &[u8]) -> Option<Item<'_>> {
    let id = match *entry.first()? {
        2 => 2,
        3 => 4,
        _ => return None,
    };
    let kind = entry.get(6 + id..10 + id)?.try_into().ok()?;
    // A name, and then what the data are.
    let mime = entry.get(10 + id..)?.split(|&byte| byte == 0).nth(1);
    Some(Item {
        id: number(entry, 4, id)?,
        kind,
        mime: mime.unwrap_or_default(),
    })
}

/// The properties of item `wanted`, in order.
fn properties<'a>(iprp: &'a [u8], wanted: u64) -> Option<Vec<Boxed<'a>>> {
    let all: Vec<Boxed<'a>> = boxes(find(iprp, *b"ipco")?).collect();
    let mut found = Vec::new();
    for (_, ipma) in boxes(iprp).filter(|found| found.0 == *b"ipma") {
        let id = if *ipma.first()? == 0 { 2 } else { 4 };
        let wide = ipma.get(3)? & 1 == 1;
        let mut at = 8;
        for _ in 0..number(ipma, 4, 4)? {
            let item = number(ipma, at, id)?;
            let count = *ipma.get(at + id)?;
            at += id + 1;
            for _ in 0..count {
                let index = if wide {
                    at += 2;
                    short(ipma, at - 2)? & 0x7fff
                } else {
                    at += 1;
                    usize::from(ipma.get(at - 1)? & 0x7f)
                };
                if item == wanted && index > 0 {
                    found.push(*all.get(index - 1)?);
                }
            }
        }
    }
    Some(found)
}

/// Reads the boxes.
pub fn read(file: &[u8]) -> Result<Avif<'_>, ImageError> {
    let broken = || ImageError::corrupt("the AVIF file does not describe a picture");
    let avif = describe(file).ok_or_else(broken)?;
    check_size(avif.width, avif.height)?;
    Ok(avif)
}

fn describe(file: &[u8]) -> Option<Avif<'_>> {
    let meta = find(file, *b"meta")?.get(4..)?;
    let pitm = find(meta, *b"pitm")?;
    let main = number(pitm, 4, if *pitm.first()? == 0 { 2 } else { 4 })?;
    let items = items(find(meta, *b"iinf")?)?;
    let places = Places {
        file,
        iloc: find(meta, *b"iloc")?,
        idat: find(meta, *b"idat"),
    };
    let data = |wanted: &dyn Fn(&Item<'_>) -> bool| {
        let item = items.iter().find(|item| wanted(item))?;
        Some(places.parts(item.id)?.concat())
    };
    let mut picture = Picture::default();
    let kind = items.iter().find(|item| item.id == main)?.kind;
    if kind == *b"av01" {
        picture.parts = places.parts(main)?;
    } else {
        picture.unsupported = Some("of tiles");
    }
    if file.get(8..12)? == b"avis" {
        picture.unsupported = Some("in motion");
    }
    let (mut size, mut turned, mut mirrored) = (None, 0, None);
    for (kind, property) in properties(find(meta, *b"iprp")?, main)? {
        match &kind {
            b"ispe" => size = Some((number(property, 4, 4)?, number(property, 8, 4)?)),
            b"irot" => turned = *property.first()? & 3,
            b"imir" => mirrored = Some(*property.first()? & 1),
            b"colr" if property.starts_with(b"nclx") => {
                let matrix = u16::try_from(number(property, 8, 2)?).ok()?;
                picture.colours = Some((matrix, property.get(10)? & 0x80 != 0));
            }
            b"a1op" | b"lsel" | b"a1lx" => picture.unsupported = Some("of several layers"),
            _ => {}
        }
    }
    let (width, height) = size?;
    // Data begin with where the tags are.
    let tags = data(&|item| item.kind == *b"Exif").unwrap_or_default();
    let tags = exif::orientation(tags.get(4..).unwrap_or_default());
    let xmp = data(&|item| item.kind == *b"mime" && item.mime == b"application/rdf+xml");
    let xmp = xmp.as_deref().and_then(exif::xmp_orientation);
    let orientation = match (turned, mirrored) {
        // What a tag says, Pillow replaces by what the boxes say; a tag keeps others silent.
        (0, None) => match tags {
            Some(_) => 1,
            None => exif::meaning(None, xmp),
        },
        (0, Some(axis)) => [4, 2][usize::from(axis)],
        (1, None) => 8,
        (1, Some(axis)) => [5, 7][usize::from(axis)],
        (2, None) => 3,
        (2, Some(axis)) => [2, 4][usize::from(axis)],
        (_, None) => 6,
        (_, Some(axis)) => [7, 5][usize::from(axis)],
    };
    Some(Avif {
        width: u32::try_from(width).ok()?,
        height: u32::try_from(height).ok()?,
        orientation,
        picture,
    })
}
