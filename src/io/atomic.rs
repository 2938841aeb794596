//! Files that appear under their names only when they are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// A file being written beside its final name. Dropping it without [`PendingFile::commit`]
/// removes it; the final name is never touched before.
pub struct PendingFile {
    target: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<File>>,
    digest: Xxh3,
    bytes: u64,
}

/// What a finished file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The final path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-128 of its content, 32 hexadecimal digits.
    pub xxh3_128: String,
}

impl PendingFile {
    /// Starts writing what will become `target`, creating its directory if need be.
    ///
    /// # Errors
    /// If the directory cannot be made or written to.
    pub fn create(target: &Path) -> io::Result<Self> {
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(directory)?;
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
        let temporary = directory.join(format!(
            ".{}.{}.tmp",
            name.to_string_lossy(),
            std::process::id()
        ));
        let file = File::create(&temporary)?;
        Ok(Self {
            target: target.to_owned(),
            temporary,
            writer: Some(BufWriter::with_capacity(1 << 18, file)),
            digest: Xxh3::new(),
            bytes: 0,
        })
    }

    /// The name it will have.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Changes the name it will have, in the same directory.
    pub fn rename_target(&mut self, target: PathBuf) {
        self.target = target;
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// If the data cannot be written out or the file cannot be renamed; the final name is then
    /// as it was.
    pub fn commit(mut self) -> io::Result<Finished> {
        if let Some(writer) = self.writer.take() {
            let file = writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.target)?;
        if let Some(parent) = self.target.parent() {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            // Not every file system can sync a directory; the rename itself has succeeded.
            let _ = File::open(parent).and_then(|dir| dir.sync_all());
        }
        Ok(Finished {
            path: self.target.clone(),
            bytes: self.bytes,
            xxh3_128: format!("{:032x}", self.digest.digest128()),
        })
    }
}

impl Write for PendingFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let Some(writer) = &mut self.writer else {
            return Err(io::Error::other("the file is already finished"));
        };
        writer.write_all(data)?;
        self.digest.update(data);
        self.bytes += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        // After a commit the temporary name is gone and this does nothing.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("sub/out.jsonl");
        let mut file = PendingFile::create(&target).unwrap();
        file.write_all(b"{}\n").unwrap();
        assert!(!target.exists());
        drop(file);
        assert_eq!(fs::read_dir(dir.path().join("sub")).unwrap().count(), 0);
        let mut file = PendingFile::create(&target).unwrap();
        file.write_all(b"{}\n").unwrap();
        assert_eq!(file.commit().unwrap().bytes, 3);
        assert_eq!(fs::read(&target).unwrap(), b"{}\n");
    }
}
