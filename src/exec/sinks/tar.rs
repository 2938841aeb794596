//! Samples as members of a tar archive: what has to be known of the whole run for their names.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use hashbrown::HashSet;
use xxhash_rust::xxh3::xxh3_128;

use crate::io::format::webdataset::{Sample, is_key};
use crate::io::source::Reading;
use crate::io::source::bytes::{Bytes, Origin};
use crate::io::source::format::Format as _;
use crate::io::source::webdataset::WebDataset;
use crate::io::workspace::{Lengths, each_record};
use crate::io::{Log, Workspace};

const BLOCK: usize = 512;

/// Turns samples into the bytes of an archive, each under a key of its own.
pub struct Tar {
    /// Keys so far.
    used: HashSet<u128>,
    /// They on disk, if another process could go on.
    log: Option<Log>,
    /// The sample under way.
    bytes: Vec<u8>,
}

impl Tar {
    /// The archives of output `number`, new or with the keys that an earlier process made durable.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn open(workspace: &Workspace, number: usize) -> io::Result<Self> {
        let mut log = workspace.log_if_kept(&format!("keys-{number}"))?;
        let mut used = HashSet::new();
        if let Some(log) = &mut log {
            each_record(&mut log.replay()?, |key: [u8; 16]| {
                used.insert(u128::from_le_bytes(key));
            })?;
        }
        Ok(Self {
            used,
            log,
            bytes: Vec::new(),
        })
    }

    /// The members of a sample, the one of this ordinal.
    ///
    /// # Errors
    /// If its key cannot be made durable.
    pub fn members(&mut self, record: &[u8], ordinal: u64) -> io::Result<&[u8]> {
        let sample = Sample::decode(record)
            .ok_or_else(|| io::Error::other("a sample cannot be read back"))?;
        let own = sample.key.filter(|key| is_key(key));
        let key = match own.filter(|key| self.is_new(key)) {
            Some(key) => key.to_owned(),
            None => self.made(ordinal),
        };
        let hash = xxh3_128(key.as_bytes());
        self.used.insert(hash);
        if let Some(log) = &mut self.log {
            log.append(&hash.to_le_bytes())?;
        }
        self.bytes.clear();
        for (field, content) in &sample.members {
            push_member(&format!("{key}.{field}"), content, &mut self.bytes);
        }
        Ok(&self.bytes)
    }

    fn is_new(&self, key: &str) -> bool {
        !self.used.contains(&xxh3_128(key.as_bytes()))
    }

    /// A key of nine digits, unless a row has called itself so.
    fn made(&self, ordinal: u64) -> String {
        let mut key = format!("{ordinal:09}");
        while !self.is_new(&key) {
            key.push('_');
        }
        key
    }

    /// Makes the keys durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.sync(lengths))
    }
}

/// The index of an archive, called as it is with `.idx` behind.
#[must_use]
pub fn index_of(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".idx");
    name.into()
}

/// Where the samples of the archive at `part` begin, and where the last one ends.
///
/// # Errors
/// If it cannot be read.
pub fn index(part: &Path) -> io::Result<Vec<u8>> {
    let bytes = Bytes::new(Origin::Plain(File::open(part)?), Vec::new());
    let mut reader = WebDataset.open(bytes, &Reading::default())?;
    let mut index = Vec::new();
    while let Some(sample) = reader.pass()? {
        index.extend_from_slice(&sample.offset.to_le_bytes());
    }
    index.extend_from_slice(&reader.extent().to_le_bytes());
    Ok(index)
}

/// Appends a member: a header that is the same whenever and wherever it is written, the content, and
/// what fills its last block.
fn push_member(name: &str, content: &[u8], out: &mut Vec<u8>) {
    if name.len() > 100 {
        // Only where it has to be: older readers do not know it.
        let record = pax_record(name);
        push_header(b"././@PaxHeader", record.len(), b'x', out);
        push_content(record.as_bytes(), out);
    }
    let short = name.as_bytes().get(..100).unwrap_or(name.as_bytes());
    push_header(short, content.len(), b'0', out);
    push_content(content, out);
}

/// `LENGTH path=NAME\n`, the length that of the whole record.
fn pax_record(name: &str) -> String {
    let rest = format!(" path={name}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn push_header(name: &[u8], size: usize, kind: u8, out: &mut Vec<u8>) {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, name);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(place) = header.get_mut(148..156) {
        place.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    out.extend_from_slice(&header);
}

fn push_content(content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tar::Walk;

    #[test]
    fn members_are_read_back() {
        let long = "n".repeat(120);
        let mut bytes = Vec::new();
        push_member("a.txt", b"text", &mut bytes);
        push_member(&long, &[7; 512], &mut bytes);
        let mut rest = bytes.as_slice();
        let mut walk = Walk::strict();
        for (name, size) in [("a.txt", 4), (long.as_str(), 512)] {
            let member = walk.next(&mut rest).unwrap().unwrap();
            assert_eq!(
                (member.name.as_slice(), member.size),
                (name.as_bytes(), size)
            );
            let length = usize::try_from(member.size + member.padding()).unwrap();
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    }
}
