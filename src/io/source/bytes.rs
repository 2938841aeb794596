//! The unpacked bytes of an input, read in blocks.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::READ_BLOCK;
use super::packing::Stream;

/// Where bytes come from.
pub enum Origin {
    /// A file that is not packed: it can be read from anywhere.
    Plain(File),
    /// Anything else.
    Stream(Stream),
}

impl Read for Origin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

/// The bytes of an input, from the first one on, with one block of them at hand.
pub struct Bytes {
    origin: Origin,
    block: Vec<u8>,
    at: usize,
    position: u64,
    last: Option<u8>,
    end: bool,
}

impl Bytes {
    /// The bytes of `origin`, of which `start` was read already.
    #[must_use]
    pub fn new(origin: Origin, start: Vec<u8>) -> Self {
        Self {
            origin,
            last: start.last().copied(),
            block: start,
            at: 0,
            position: 0,
            end: false,
        }
    }

    /// The bytes at hand, some of which come next; empty at the end of the input only.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub fn peek(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.block.len() && !self.end {
            self.block.resize(READ_BLOCK, 0);
            let read = read_some(&mut self.origin, &mut self.block);
            self.block.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            self.end = read? == 0;
            self.last = self.block.last().copied().or(self.last);
        }
        Ok(self.block.get(self.at..).unwrap_or_default())
    }

    /// Passes over the next `count` bytes, which must be at hand.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.block.len() - self.at);
        self.at += count;
        self.position += count as u64;
    }

    /// The next byte; `None` at the end.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub fn take_byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?.first().copied();
        self.advance(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// How many bytes were passed.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file that they are, from its beginning.
    ///
    /// # Errors
    /// If they are no file that is not packed.
    pub fn into_file(self) -> io::Result<File> {
        match self.origin {
            Origin::Plain(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                Ok(file)
            }
            Origin::Stream(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it can be read only as a file of its own, not packed and not through a pipe",
            )),
        }
    }

    /// The same bytes twice, one time after the other: the second reader is made when the first one
    /// is done. What is no file that is not packed is set aside in one.
    ///
    /// # Errors
    /// If they cannot be read or set aside.
    pub fn twice(mut self) -> io::Result<(Self, impl FnOnce() -> io::Result<Self>)> {
        let skip = self.position;
        let mut file = if let Origin::Plain(file) = self.origin {
            file
        } else {
            let mut file = tempfile::tempfile()?;
            // What was passed is passed again.
            io::copy(&mut io::repeat(b' ').take(skip), &mut file)?;
            io::copy(&mut self, &mut file)?;
            file
        };
        let again = move |mut file: File| {
            file.seek(SeekFrom::Start(0))?;
            let mut bytes = Self::new(Origin::Plain(file), Vec::new());
            bytes.skip_to(skip)?;
            Ok(bytes)
        };
        file.seek(SeekFrom::Start(0))?;
        let first = again(file.try_clone()?)?;
        Ok((first, move || again(file)))
    }

    /// Once all is read: whether the last line has no newline at its end.
    #[must_use]
    pub fn ends_without_newline(&self) -> bool {
        self.last.is_some_and(|byte| byte != b'\n')
    }

    /// Passes over all bytes up to `position`.
    ///
    /// # Errors
    /// If the input cannot be read, or ends before.
    pub fn skip_to(&mut self, position: u64) -> io::Result<()> {
        let at_hand = (self.block.len() - self.at) as u64;
        let ahead = position.saturating_sub(self.position);
        if ahead > at_hand
            && let Origin::Plain(file) = &mut self.origin
        {
            // The byte before is read as well: it tells how the input ends if nothing follows.
            file.seek(SeekFrom::Start(position - 1))?;
            self.block.clear();
            self.at = 0;
            self.position = position - 1;
        }
        while self.position < position {
            let ahead = usize::try_from(position - self.position).unwrap_or(usize::MAX);
            let at_hand = self.peek()?.len();
            if at_hand == 0 {
                return Err(io::Error::other(
                    "the file became shorter while it was read",
                ));
            }
            self.advance(ahead.min(at_hand));
        }
        Ok(())
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at_hand = self.peek()?;
        let count = at_hand.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), at_hand.get(..count)) {
            to.copy_from_slice(from);
        }
        self.advance(count);
        Ok(count)
    }
}

impl BufRead for Bytes {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek()
    }

    fn consume(&mut self, count: usize) {
        self.advance(count);
    }
}

/// Reads what there is, however often the system is interrupted.
///
/// # Errors
/// Those of `reader`.
pub fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
