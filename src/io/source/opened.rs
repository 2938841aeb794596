//! Finding out what an input is: how it is packed, and how rows lie in it.

use std::io::{self, Read as _};

use super::bytes::{Bytes, Origin, read_some};
use super::format::{FORMATS, Format, Recognised, RowReader, Start};
use super::{Reading, SourceError, foreign};
use crate::archive::packing::{Packing, split_name};

/// How much of an input is looked at to tell what it is.
pub(super) const HEAD: usize = 64 << 10;

/// The bytes of the mark that may stand before a text.
pub(super) const BYTE_ORDER_MARK: usize = 3;

/// Enough for the first bytes of every kind of file that is known: those of a tar are the last.
const MAGIC: usize = 262;

/// An input whose first bytes were looked at.
pub struct Opened {
    format: &'static dyn Format,
    bytes: Bytes,
    packing: Option<&'static Packing>,
}

impl Opened {
    /// Looks at an input called `name`, for messages, whose file has the name `file_name` (empty if
    /// it has none). No more is read than it takes to tell.
    ///
    /// # Errors
    /// If it cannot be read, or holds no rows that djr reads.
    pub fn new(
        name: &str,
        file_name: &str,
        mut origin: Origin,
        reading: &Reading,
    ) -> Result<Self, SourceError> {
        let io_error = |error| SourceError::Io {
            name: name.to_owned(),
            error,
        };
        let mut head = Vec::new();
        read_magic(&mut origin, &mut head).map_err(io_error)?;
        let packing = Packing::of(&head);
        if let Some(packing) = packing {
            let packed = Box::new(io::Cursor::new(std::mem::take(&mut head)).chain(origin));
            origin = Origin::Stream(packing.unpack(packed).map_err(io_error)?);
            read_magic(&mut origin, &mut head).map_err(io_error)?;
        }
        let refused = |what: String| SourceError::Foreign {
            name: name.to_owned(),
            what: match packing {
                Some(packing) => format!("{what} packed by {}", packing.name),
                None => what,
            },
        };
        if let Some(packing) = Packing::of(&head) {
            return Err(refused(format!("a {} file", packing.name)));
        }
        let (file_name, _) = split_name(file_name);
        let wanted = reading.spec.format.as_deref();
        let start = Start {
            bytes: &head,
            last: true,
            name: file_name,
        };
        let binary = |format: &&&'static dyn Format| {
            let yes = || format.recognise(&start) == Recognised::Yes;
            format.is_binary() && wanted.map_or_else(yes, |word| format.word() == word)
        };
        if let Some(format) = FORMATS.iter().find(binary) {
            if format.needs_file() && packing.is_some() {
                return Err(refused(format.name().to_owned()));
            }
            let mut bytes = Bytes::new(origin, head);
            if format.is_read_again() {
                bytes.keep();
            }
            return Ok(Self {
                format: *format,
                bytes,
                packing,
            });
        }
        if is_utf16(&head) {
            return Err(SourceError::Utf16 {
                name: name.to_owned(),
            });
        }
        if let Some(what) = foreign::certain(&head).filter(|_| wanted != Some("text")) {
            return Err(refused(what.to_owned()));
        }
        let skip = if head.starts_with(&[0xEF, 0xBB, 0xBF]) {
            BYTE_ORDER_MARK
        } else {
            0
        };
        let mut last = false;
        let format = loop {
            let start = Start {
                bytes: head.get(skip..).unwrap_or_default(),
                last,
                name: file_name,
            };
            match recognise(&start, wanted) {
                Ok(format) => break format,
                Err(Recognised::Unknown) if !last => {
                    let more = read_block(&mut origin, &mut head).map_err(io_error)?;
                    last = !more || head.len() >= HEAD;
                }
                Err(_) => return Err(refused(foreign::likely(&head, file_name))),
            }
        };
        let mut bytes = Bytes::new(origin, head);
        bytes.advance(skip);
        Ok(Self {
            format,
            bytes,
            packing,
        })
    }

    /// How its rows lie.
    #[must_use]
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// Whether it had to be unpacked.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        self.packing.is_some()
    }

    /// Its unpacked bytes, without a byte order mark.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Its rows.
    ///
    /// # Errors
    /// If it cannot be read at all.
    pub fn rows(self, reading: &Reading) -> io::Result<Box<dyn RowReader>> {
        self.format.open(self.bytes, reading)
    }
}

/// The first format that says yes, if those before it say no; of those called `wanted`, the last
/// is taken at its word.
fn recognise(start: &Start<'_>, wanted: Option<&str>) -> Result<&'static dyn Format, Recognised> {
    let mut named = None;
    let asked = |format: &&&'static dyn Format| wanted.is_none_or(|word| format.word() == word);
    for format in FORMATS
        .iter()
        .filter(|format| !format.is_binary())
        .filter(asked)
    {
        named = wanted.map(|_| *format);
        match format.recognise(start) {
            Recognised::Yes => return Ok(*format),
            Recognised::No => {}
            Recognised::Unknown => return Err(Recognised::Unknown),
        }
    }
    named.ok_or(Recognised::No)
}

/// Reads until what a file is can be told by its first bytes; JSON tells itself by the first one.
fn read_magic(origin: &mut Origin, head: &mut Vec<u8>) -> io::Result<()> {
    while head.len() < MAGIC && !matches!(head.trim_ascii_start().first(), Some(b'{' | b'[')) {
        if !read_block(origin, head)? {
            break;
        }
    }
    Ok(())
}

/// Appends what can be read at once; false at the end.
fn read_block(origin: &mut Origin, head: &mut Vec<u8>) -> io::Result<bool> {
    let mut block = [0; 4096];
    let count = read_some(origin, &mut block)?;
    head.extend_from_slice(block.get(..count).unwrap_or_default());
    Ok(count > 0)
}

/// By its byte order mark, or because every other byte of its first characters is 0.
fn is_utf16(head: &[u8]) -> bool {
    match head {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => true,
        [first, 0, second, 0, ..] | [0, first, 0, second, ..] => *first > 0 && *second > 0,
        _ => false,
    }
}
