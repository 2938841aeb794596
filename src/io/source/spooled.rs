//! A pipe whose bytes are kept in a nameless file as they are read, so that they can be read again.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use super::bytes::read_some;
use crate::archive::packing::Stream;

/// How much is read at a time.
const BLOCK: usize = 1 << 18;

/// A pipe that is kept.
pub struct Spooled(Mutex<Inner>);

struct Inner {
    /// What was not read yet; `None` behind the end.
    rest: Option<Stream>,
    file: File,
    /// How much of it is filled.
    length: u64,
    block: Vec<u8>,
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spooled").finish_non_exhaustive()
    }
}

impl Spooled {
    /// Keeps what is read of `pipe`.
    ///
    /// # Errors
    /// If no file can be made.
    pub fn new(pipe: Stream) -> io::Result<Self> {
        Ok(Self(Mutex::new(Inner {
            rest: Some(pipe),
            file: tempfile::tempfile()?,
            length: 0,
            block: Vec::new(),
        })))
    }

    /// Reads bytes from `at` on, as soon as there are any; none behind the end.
    ///
    /// # Errors
    /// If the pipe cannot be read, or the disk is full.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while at >= inner.length && inner.more()? {}
        let ahead = usize::try_from(inner.length.saturating_sub(at)).unwrap_or(usize::MAX);
        let length = buffer.len().min(ahead);
        match buffer.get_mut(..length) {
            Some(buffer) => inner.file.read_at(buffer, at),
            None => Ok(0),
        }
    }

    /// Fills `buffer` with the bytes from `at` on.
    ///
    /// # Errors
    /// As [`Self::read_at`], and if there are fewer.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, at + filled as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(())
    }

    /// How many bytes there are: the pipe is read to its end.
    ///
    /// # Errors
    /// If it cannot be read, or the disk is full.
    pub fn length(&self) -> io::Result<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while inner.more()? {}
        Ok(inner.length)
    }
}

impl Inner {
    /// Reads on; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        let Some(rest) = &mut self.rest else {
            return Ok(false);
        };
        self.block.resize(BLOCK, 0);
        let read = read_some(rest, &mut self.block)?;
        if read == 0 {
            self.rest = None;
            return Ok(false);
        }
        let block = self.block.get(..read).unwrap_or_default();
        self.file.write_all_at(block, self.length)?;
        self.length += read as u64;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_once_is_read_again() {
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        let pipe = Spooled::new(Box::new(io::Cursor::new(bytes.clone()))).unwrap();
        let mut some = [0; 5];
        pipe.read_exact_at(&mut some, 300_000).unwrap();
        assert_eq!(some, bytes[300_000..300_005]);
        pipe.read_exact_at(&mut some, 0).unwrap();
        assert_eq!(some, bytes[..5]);
        assert_eq!(pipe.length().unwrap(), 600_000);
        assert_eq!(pipe.read_at(&mut some, 600_000).unwrap(), 0);
        assert!(pipe.read_exact_at(&mut some, 599_998).is_err());
    }
}
