//! Packing an output while it is written, block by block of whole records: its bytes depend neither
//! on when checkpoints were made nor on where a run was interrupted.

use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};

/// A block is packed when it has so many bytes.
const BLOCK: usize = 1 << 20;

/// How zstd packs.
const ZSTD_LEVEL: i32 = 3;

/// How an output is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Members of gzip, one behind the other.
    Gzip,
    /// Frames of zstd, one behind the other.
    Zstd,
}

impl Kind {
    /// What the name of a file says.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Packs the records of a file.
#[derive(Debug)]
pub struct Packer {
    kind: Kind,
    /// Records that wait for their block to be full.
    block: Vec<u8>,
    /// Whether a block was packed.
    packed: bool,
}

impl Packer {
    /// Begins a file, or goes on behind packed blocks with the records that waited.
    #[must_use]
    pub fn new(kind: Kind, waiting: &str, packed: bool) -> Self {
        Self {
            kind,
            block: waiting.as_bytes().to_vec(),
            packed,
        }
    }

    /// The records that wait, and whether any block was packed.
    #[must_use]
    pub fn state(&self) -> (String, bool) {
        // Records that are packed are text.
        (
            String::from_utf8_lossy(&self.block).into_owned(),
            self.packed,
        )
    }

    /// Takes a part of a record.
    pub fn push(&mut self, part: &[u8]) {
        self.block.extend_from_slice(part);
    }

    /// Packs the block behind a record, if it is full.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn record_ends(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.block.len() < BLOCK {
            return Ok(());
        }
        self.pack(out)
    }

    /// Packs what is left; an empty file is a packed one, too.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.block.is_empty() || !self.packed {
            self.pack(out)?;
        }
        self.packed = false;
        Ok(())
    }

    fn pack(&mut self, out: &mut impl Write) -> io::Result<()> {
        let packed = match self.kind {
            Kind::Gzip => {
                let mut member = GzBuilder::new()
                    .mtime(0)
                    .write(Vec::new(), Compression::default());
                member.write_all(&self.block)?;
                member.finish()?
            }
            Kind::Zstd => zstd::bulk::compress(&self.block, ZSTD_LEVEL)?,
        };
        self.block.clear();
        self.packed = true;
        out.write_all(&packed)
    }
}
