//! An input that can be read from anywhere: a file, an object of a store, a pipe that is kept.
//!
//! Readers of one input share its descriptor and know their own places: nobody moves it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::bytes::{Origin, RemoteBytes};
use super::spooled::Spooled;
use crate::archive::frames::{Framed, FramedBytes};
use crate::io::remote;

/// What can be read from anywhere.
#[derive(Debug)]
pub enum Whole {
    /// A file.
    File(File),
    /// An object of a store. What is read of it is kept in a nameless file.
    Object(Arc<remote::Object>),
    /// A pipe, of which what was read is kept in a nameless file.
    Spooled(Arc<Spooled>),
    /// A packed file that can be unpacked from anywhere.
    Framed(Arc<Framed>),
}

impl Whole {
    /// How many bytes there are.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Object(object) => Ok(object.size()),
            Self::Spooled(pipe) => pipe.length(),
            Self::Framed(file) => Ok(file.length()),
        }
    }

    /// The same once more.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(file.try_clone()?),
            Self::Object(object) => Self::Object(Arc::clone(object)),
            Self::Spooled(pipe) => Self::Spooled(Arc::clone(pipe)),
            Self::Framed(file) => Self::Framed(Arc::clone(file)),
        })
    }

    /// Fills `buffer` with the bytes from `at` on.
    ///
    /// # Errors
    /// If they cannot be read, or are fewer.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, at),
            Self::Object(object) => object.read_exact_at(buffer, at),
            Self::Spooled(pipe) => pipe.read_exact_at(buffer, at),
            Self::Framed(file) => FramedBytes::new(Arc::clone(file), at).read_exact(buffer),
        }
    }

    /// Its bytes from the first one on.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn into_origin(self) -> io::Result<Origin> {
        Ok(match self {
            Self::File(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                Origin::Plain(file)
            }
            Self::Object(object) => Origin::Remote(RemoteBytes::new(object)),
            Self::Spooled(pipe) => Origin::Spooled(pipe, 0),
            Self::Framed(file) => Origin::Framed(FramedBytes::new(file, 0)),
        })
    }

    /// Reads and seeks in it, from `at` on, in blocks of so many bytes.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn cursor(&self, at: u64, block: usize) -> io::Result<BufReader<Places>> {
        let places = Places {
            whole: self.try_clone()?,
            at,
        };
        Ok(BufReader::with_capacity(block, places))
    }

    /// Its bytes from `at` on, one after the other, in blocks of so many. Of an object nothing is
    /// kept.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn bytes_from(&self, at: u64, block: usize) -> io::Result<Box<dyn BufRead>> {
        Ok(match self {
            Self::Object(object) => {
                let bytes = RemoteBytes::from(Arc::clone(object), at);
                Box::new(BufReader::with_capacity(block, bytes))
            }
            Self::Framed(file) => {
                let bytes = FramedBytes::new(Arc::clone(file), at);
                Box::new(BufReader::with_capacity(block, bytes))
            }
            Self::File(_) | Self::Spooled(_) => Box::new(self.cursor(at, block)?),
        })
    }

    /// The first request to its store that failed, if it is an object: libraries that read from it
    /// pass on no more than a text.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        match self {
            Self::File(_) | Self::Spooled(_) | Self::Framed(_) => None,
            Self::Object(object) => object.failure(),
        }
    }
}

/// A place in what can be read from anywhere.
#[derive(Debug)]
pub struct Places {
    whole: Whole,
    at: u64,
}

impl Read for Places {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &self.whole {
            Whole::File(file) => file.read_at(buffer, self.at)?,
            Whole::Object(object) => object.read_at(buffer, self.at)?,
            Whole::Spooled(pipe) => pipe.read_at(buffer, self.at)?,
            Whole::Framed(file) => FramedBytes::new(Arc::clone(file), self.at).read(buffer)?,
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Places {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.whole.length()?.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
