//! The unpacked bytes of an input, read in blocks.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::READ_BLOCK;
use super::spooled::Spooled;
use super::whole::Whole;
use crate::archive::frames::FramedBytes;
use crate::archive::packing::Stream;
use crate::io::remote;

/// Where bytes come from.
pub enum Origin {
    /// A file that is not packed: it can be read from anywhere.
    Plain(File),
    /// An object of a store that is not packed: the same.
    Remote(RemoteBytes),
    /// A pipe that is kept, from a byte on: the same.
    Spooled(Arc<Spooled>, u64),
    /// A packed file that can be unpacked from anywhere: the same.
    Framed(FramedBytes),
    /// Anything else.
    Stream(Stream),
}

/// The bytes of an object, one after the other.
pub struct RemoteBytes {
    object: Arc<remote::Object>,
    at: u64,
    /// Opened when it is first read from.
    stream: Option<remote::Stream>,
    /// Whether what is read is kept, because it will be read again.
    keeps: bool,
}

impl RemoteBytes {
    /// Those of `object`.
    #[must_use]
    pub fn new(object: Arc<remote::Object>) -> Self {
        Self::from(object, 0)
    }

    /// Those of `object` from `at` on.
    #[must_use]
    pub fn from(object: Arc<remote::Object>, at: u64) -> Self {
        Self {
            object,
            at,
            stream: None,
            keeps: false,
        }
    }

    fn seek_to(&mut self, at: u64) {
        if at != self.at {
            self.at = at;
            self.stream = None;
        }
    }
}

impl Read for RemoteBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (object, at) = (&self.object, self.at);
        let read = if self.keeps {
            object.read_at(buffer, at)?
        } else {
            let stream = self.stream.get_or_insert_with(|| object.stream(at));
            stream.read(buffer)?
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Read for Origin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Remote(bytes) => bytes.read(buffer),
            Self::Spooled(pipe, at) => {
                let read = pipe.read_at(buffer, *at)?;
                *at += read as u64;
                Ok(read)
            }
            Self::Framed(bytes) => bytes.read(buffer),
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
    /// Of what was read of a plain file, as long as nothing of it was passed over.
    digest: Option<Box<Xxh3>>,
}

impl Bytes {
    /// The bytes of `origin`, of which `start` was read already.
    #[must_use]
    pub fn new(origin: Origin, start: Vec<u8>) -> Self {
        let digest = matches!(origin, Origin::Plain(_)).then(|| {
            let mut digest = Box::new(Xxh3::new());
            digest.update(&start);
            digest
        });
        Self {
            origin,
            digest,
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
            if let Some(digest) = &mut self.digest {
                digest.update(&self.block);
            }
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

    /// What can be read from anywhere, as whose bytes they came. What is read of a stream is set
    /// aside in a nameless file.
    ///
    /// # Errors
    /// If they cannot be read or set aside.
    pub fn into_whole(self) -> io::Result<Whole> {
        match self.origin {
            Origin::Plain(file) => Ok(Whole::File(file)),
            Origin::Remote(bytes) => Ok(Whole::Object(bytes.object)),
            Origin::Spooled(pipe, _) => Ok(Whole::Spooled(pipe)),
            Origin::Framed(bytes) => Ok(Whole::Framed(Arc::clone(bytes.framed()))),
            Origin::Stream(_) => Ok(Whole::Spooled(Arc::new(Spooled::new(Box::new(self))?))),
        }
    }

    /// What is read of an object of a store will be read again.
    pub fn keep(&mut self) {
        if let Origin::Remote(bytes) = &mut self.origin {
            bytes.keeps = true;
            bytes.stream = None;
        }
    }

    /// The same bytes twice, one time after the other: the second reader is made when the first one
    /// is done. What is no file that is not packed is set aside in one.
    ///
    /// # Errors
    /// If they cannot be read or set aside.
    pub fn twice(mut self) -> io::Result<(Self, impl FnOnce() -> io::Result<Self>)> {
        let skip = self.position;
        let whole = match self.origin {
            Origin::Plain(file) => Whole::File(file),
            Origin::Remote(bytes) => Whole::Object(bytes.object),
            Origin::Spooled(pipe, _) => Whole::Spooled(pipe),
            Origin::Framed(bytes) => Whole::Framed(Arc::clone(bytes.framed())),
            Origin::Stream(_) => {
                let mut file = tempfile::tempfile()?;
                // What was passed is passed again.
                io::copy(&mut io::repeat(b' ').take(skip), &mut file)?;
                io::copy(&mut self, &mut file)?;
                Whole::File(file)
            }
        };
        let again = move |whole: Whole| {
            let mut bytes = Self::new(whole.into_origin()?, Vec::new());
            bytes.skip_to(skip)?;
            Ok(bytes)
        };
        let first = again(whole.try_clone()?)?;
        Ok((first, move || again(whole)))
    }

    /// Once all is read: whether the last line has no newline at its end.
    #[must_use]
    pub fn ends_without_newline(&self) -> bool {
        self.last.is_some_and(|byte| byte != b'\n')
    }

    /// XXH3-128 of a plain file, 32 hexadecimal digits, if all of it was read, and to its end.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        let digest = self.digest.as_ref().filter(|_| self.end)?;
        Some(format!("{:032x}", digest.digest128()))
    }

    /// Passes over all bytes up to `position`.
    ///
    /// # Errors
    /// If the input cannot be read, or ends before.
    pub fn skip_to(&mut self, position: u64) -> io::Result<()> {
        let at_hand = (self.block.len() - self.at) as u64;
        let ahead = position.saturating_sub(self.position);
        // The byte before is read as well: it tells how the input ends if nothing follows.
        let sought = match &mut self.origin {
            Origin::Plain(file) if ahead > at_hand => {
                file.seek(SeekFrom::Start(position - 1))?;
                true
            }
            Origin::Remote(bytes) if ahead > at_hand => {
                bytes.seek_to(position - 1);
                true
            }
            Origin::Spooled(_, at) if ahead > at_hand => {
                *at = position - 1;
                true
            }
            Origin::Framed(bytes) if ahead > at_hand => {
                bytes.seek_to(position - 1);
                true
            }
            _ => false,
        };
        if sought {
            self.digest = None;
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
