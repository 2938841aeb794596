//! A file that is written in large blocks, with a digest of what was written.

use std::fs::File;
use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3;

use super::atomic::{Committed, hex};

/// Bytes that wait to be written and digested together: doing either for each record would cost
/// more than the record.
const BLOCK: usize = 1 << 18;

/// A file being appended to.
pub struct DigestedFile {
    file: File,
    waiting: Vec<u8>,
    digest: Xxh3,
    /// Bytes written, waiting ones included.
    bytes: u64,
}

impl DigestedFile {
    /// Appends to `file`, which holds `bytes` bytes of this digest.
    #[must_use]
    pub fn new(file: File, digest: Xxh3, bytes: u64) -> Self {
        Self {
            file,
            waiting: Vec::new(),
            digest,
            bytes,
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.waiting.len() + bytes.len() > BLOCK {
            self.flush()?;
            if bytes.len() >= BLOCK {
                self.digest.update(bytes);
                return self.file.write_all(bytes);
            }
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Hands what waits to the system.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.digest.update(&self.waiting);
            self.file.write_all(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// The file; it lacks what waits.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// What was written, once it was flushed.
    #[must_use]
    pub fn written(&self) -> Committed {
        Committed {
            bytes: self.bytes,
            xxh3_128: hex(&self.digest),
        }
    }
}
