//! What identifies a file that a run reads, so that a change is noticed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::remote;

/// How much of each end is read, in bytes.
const END_BYTES: u64 = 64 << 10;

/// Size, time and a digest of both ends of a file, or what a store says of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The path as it was given, or the URL.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub modified_ns: u64,
    /// XXH3-128 of the first and the last 64 KiB, 32 hexadecimal digits; of an object its `ETag`, if
    /// its store has one.
    pub ends: String,
}

impl Fingerprint {
    /// The fingerprint of a regular file, or of an object of a store; `None` for pipes and devices.
    ///
    /// # Errors
    /// If the file cannot be read, or the store does not answer.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        if remote::is_remote(path) {
            return remote::Object::fingerprint_of(path).map(Some);
        }
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        let mut digest = Xxh3::new();
        let mut block = Vec::new();
        (&mut file).take(END_BYTES).read_to_end(&mut block)?;
        digest.update(&block);
        block.clear();
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(END_BYTES)))?;
        (&mut file).take(END_BYTES).read_to_end(&mut block)?;
        digest.update(&block);
        let modified_ns = metadata
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .and_then(|d| u64::try_from(d.as_nanos()).ok())
            .unwrap_or(0);
        Ok(Some(Self {
            name: path.display().to_string(),
            bytes: metadata.len(),
            modified_ns,
            ends: format!("{:032x}", digest.digest128()),
        }))
    }

    /// What is different in `now`, in words; `None` if nothing is.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<String> {
        if self.bytes != now.bytes {
            Some(format!("it had {} bytes and has {}", self.bytes, now.bytes))
        } else if self.ends != now.ends {
            Some("its content is another".to_owned())
        } else if self.modified_ns != now.modified_ns {
            Some("it was written to".to_owned())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_at_either_end_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut content = vec![b'x'; 300_000];
        std::fs::write(&path, &content).unwrap();
        let before = Fingerprint::of(&path).unwrap().unwrap();
        for at in [0, 299_999] {
            content[at] = b'y';
            std::fs::write(&path, &content).unwrap();
            let now = Fingerprint::of(&path).unwrap().unwrap();
            assert_eq!(before.difference(&now).unwrap(), "its content is another");
            content[at] = b'x';
        }
        std::fs::write(&path, b"").unwrap();
        let now = Fingerprint::of(&path).unwrap().unwrap();
        assert!(before.difference(&now).unwrap().contains("has 0"));
        assert_eq!(Fingerprint::of(Path::new("/dev/null")).unwrap(), None);
    }
}
