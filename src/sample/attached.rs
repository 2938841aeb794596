//! Images that came with a row and are no files of their own: members of an archive, cells of a
//! column file.
//!
//! A row says of each what it is called and where it lies, never what is in it. Who needs the
//! content reads it from the input again, so that a row that waits on disk between two phases takes
//! no more room than its JSON.

use std::fmt;
use std::io;

use bytes::Bytes;

/// Where the content of an attachment lies in its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Locator {
    /// These bytes of the input, unpacked.
    Range {
        /// The first.
        offset: u64,
        /// How many.
        size: u64,
    },
    /// A cell of a column file.
    Cell {
        /// The row, from 0.
        row: u64,
        /// The column.
        column: u32,
        /// Which element of the cell, if it is a list.
        element: u32,
    },
    /// The file that the row's folder has beside the others of the row.
    File,
}

/// Something that came with a row.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// What the row calls it: an image slot of that name has its content.
    pub name: Box<str>,
    /// The index of the input that it lies in.
    pub input: u32,
    /// Where it lies there.
    pub at: Locator,
    /// Its pixels are taken as they lie, whatever EXIF says of turning them. Data-Juicer does so
    /// where it is handed bytes.
    pub as_stored: bool,
    /// Whether it is an image of the row. What is not is only handed on.
    pub is_image: bool,
    /// Its content, if the reader had to have it anyway.
    pub here: Option<Bytes>,
}

/// Reads the contents of attachments. Shared by all rows.
pub trait Attachments: Send + Sync + fmt::Debug {
    /// How many bytes it has.
    ///
    /// # Errors
    /// If the input cannot be read.
    fn size(&self, attachment: &Attachment) -> io::Result<u64>;

    /// Its content, or as much as its first `limit` bytes.
    ///
    /// # Errors
    /// If the input cannot be read.
    fn read(&self, attachment: &Attachment, limit: u64) -> io::Result<Bytes>;
}

impl Attachment {
    /// Appends it to the frame of a row that waits on disk; its content stays where it is.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, a, b) = match self.at {
            Locator::Range { offset, size } => (0, offset, size),
            Locator::Cell {
                row,
                column,
                element,
            } => (1, row, u64::from(column) << 32 | u64::from(element)),
            Locator::File => (2, 0, 0),
        };
        out.push(kind | u8::from(self.as_stored) << 4 | u8::from(self.is_image) << 5);
        out.extend_from_slice(&self.input.to_le_bytes());
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&b.to_le_bytes());
        let length = u32::try_from(self.name.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
    }

    /// Takes the next one from a frame that [`Attachment::encode`] wrote.
    #[must_use]
    pub fn decode(frame: &mut &[u8]) -> Option<Self> {
        let [flags] = take(frame)?;
        let input = u32::from_le_bytes(take(frame)?);
        let a = u64::from_le_bytes(take(frame)?);
        let b = u64::from_le_bytes(take(frame)?);
        let length = u32::from_le_bytes(take(frame)?) as usize;
        let (name, rest) = frame.split_at_checked(length)?;
        *frame = rest;
        let at = match flags & 15 {
            0 => Locator::Range { offset: a, size: b },
            1 => Locator::Cell {
                row: a,
                column: u32::try_from(b >> 32).ok()?,
                element: u32::try_from(b & 0xffff_ffff).ok()?,
            },
            _ => Locator::File,
        };
        Some(Self {
            name: std::str::from_utf8(name).ok()?.into(),
            input,
            at,
            as_stored: flags & 16 != 0,
            is_image: flags & 32 != 0,
            here: None,
        })
    }
}

fn take<const N: usize>(frame: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = frame.split_first_chunk::<N>()?;
    *frame = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_on_disk_is_where_it_lies() {
        let places = [
            Locator::Range {
                offset: 1 << 40,
                size: 7,
            },
            Locator::Cell {
                row: 3,
                column: 1 << 20,
                element: 9,
            },
            Locator::File,
        ];
        let mut frame = Vec::new();
        let all = places.map(|at| Attachment {
            name: "é/1.jpg".into(),
            input: 4,
            at,
            as_stored: at == Locator::File,
            is_image: at != Locator::File,
            here: Some(Bytes::from_static(b"content")),
        });
        for attachment in &all {
            attachment.encode(&mut frame);
        }
        let mut rest = frame.as_slice();
        for before in all {
            let back = Attachment::decode(&mut rest).unwrap();
            assert_eq!(
                (&back.name, back.input, back.at),
                (&before.name, 4, before.at)
            );
            assert_eq!(back.as_stored, before.as_stored);
            assert_eq!(back.is_image, before.is_image);
            assert!(back.here.is_none());
        }
        assert!(rest.is_empty());
    }
}
