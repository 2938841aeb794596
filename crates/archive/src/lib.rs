//! How files are packed (gzip, zstd, bzip2, xz, lz4), told by their first bytes ([`packing`]), and
//! those that can be unpacked from anywhere ([`frames`]).
//!
//! Members of archives as bytes: tar, gzipped or not, and zip, read as Python's `tarfile` and
//! `zipfile` read them. No name within an archive is ever used as a path.
//!
//! Nothing is believed of a header before the bytes are there: what is decompressed is capped
//! while it is decompressed, whatever sizes an archive claims.

pub mod frames;
pub mod packing;
pub mod tar;
mod zip;

use std::borrow::Cow;
use std::fmt;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;

/// Why an archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveError {
    /// A short stable word, e.g. `archive_corrupt`.
    pub code: &'static str,
    /// What was found, for a person.
    pub message: Cow<'static, str>,
}

impl ArchiveError {
    fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("archive_corrupt", message)
    }

    fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("archive_unsupported", message)
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ArchiveError {}

impl From<std::io::Error> for ArchiveError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::FileTooLarge => Self::new(
                "archive_too_large",
                format!("it unpacks to more than {MAX_UNPACKED} bytes"),
            ),
            ErrorKind::UnexpectedEof => Self::corrupt("it is cut off"),
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                Self::corrupt(format!("it cannot be decompressed: {error}"))
            }
            _ => Self::new("file_unreadable", error.to_string()),
        }
    }
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A tar, plain or gzipped; its first bytes say which.
    Tar,
    /// A zip, its members stored or deflated.
    Zip,
}

/// How much is taken out of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A member of more bytes is left out.
    pub member: Option<u64>,
    /// The first member with which the sum would be greater ends the reading.
    pub total: Option<u64>,
}

/// The most bytes that an archive is unpacked to, members that nobody wants included.
const MAX_UNPACKED: u64 = 4 << 30;

/// The most bytes taken out of an archive if no limit is given.
const MAX_TAKEN: u64 = 1 << 30;

/// The contents of the regular files in an archive whose names end in `suffix`, in its order.
///
/// # Errors
/// `archive_corrupt`, `archive_unsupported`, `archive_too_large`; `file_unreadable` if `archive`
/// itself cannot be read.
pub fn members(
    mut archive: impl Read + Seek,
    packing: Packing,
    suffix: &str,
    limits: Limits,
) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut taken = Taken::new(limits);
    match packing {
        Packing::Zip => zip::members(archive, suffix.as_bytes(), &mut taken)?,
        Packing::Tar => {
            let mut magic = Vec::new();
            (&mut archive).take(6).read_to_end(&mut magic)?;
            archive.seek(SeekFrom::Start(0))?;
            if magic.starts_with(b"\x1f\x8b") {
                let unpacked = Capped::new(MultiGzDecoder::new(archive));
                tar::members(unpacked, suffix.as_bytes(), &mut taken)?;
            } else if magic.starts_with(b"BZh") || magic.starts_with(b"\xfd7zXZ") {
                return Err(ArchiveError::unsupported(
                    "only gzip is known to compress a tar here",
                ));
            } else {
                tar::members(BufReader::new(archive), suffix.as_bytes(), &mut taken)?;
            }
        }
    }
    Ok(taken.contents)
}

/// What was taken out of an archive so far.
struct Taken {
    limits: Limits,
    bytes: u64,
    contents: Vec<Vec<u8>>,
}

/// What becomes of a member.
#[derive(Debug, PartialEq, Eq)]
enum Take {
    Yes,
    LeaveOut,
    /// Neither it nor what follows.
    Stop,
}

impl Taken {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes: 0,
            contents: Vec::new(),
        }
    }

    /// What becomes of a member that claims to have `size` bytes.
    fn decide(&self, size: u64) -> Result<Take, ArchiveError> {
        if self.limits.member.is_some_and(|most| size > most) {
            return Ok(Take::LeaveOut);
        }
        let sum = self.bytes.saturating_add(size);
        if self.limits.total.is_some_and(|most| sum > most) {
            return Ok(Take::Stop);
        }
        if sum > MAX_TAKEN {
            return Err(ArchiveError::new(
                "archive_too_large",
                format!("more than {MAX_TAKEN} bytes would be taken out of it"),
            ));
        }
        Ok(Take::Yes)
    }

    /// Reads a member that has `size` bytes, no more and no less.
    fn read(&mut self, member: impl Read, size: u64) -> Result<(), ArchiveError> {
        let mut content = Vec::new();
        // One byte more would show that the member is longer than it says.
        let read = member.take(size + 1).read_to_end(&mut content)? as u64;
        if read != size {
            return Err(ArchiveError::corrupt(format!(
                "a file in it says that it has {size} bytes and has {}",
                if read > size { "more" } else { "less" }
            )));
        }
        self.bytes += size;
        self.contents.push(content);
        Ok(())
    }
}

/// A stream that fails where it becomes too long.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R> Capped<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            left: MAX_UNPACKED,
        }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or(ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
