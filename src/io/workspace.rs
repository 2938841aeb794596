//! The working files of a run: append-only logs that it reads back, and outputs that wait for
//! their names.
//!
//! A run that can be resumed keeps them by name, and opens each at the length that its last
//! checkpoint made durable; other runs use nameless files, which vanish with the process.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3;

use super::PendingFile;
use super::atomic::Committed;
use super::atomic::{Damaged, Keep, create_fresh, open_sealed, reopen};
use super::digested::DigestedFile;

/// What a checkpoint made durable of files, by name.
pub type Lengths = BTreeMap<String, Committed>;

/// Where a run keeps its working files.
#[derive(Debug, Clone)]
pub struct Workspace {
    directory: PathBuf,
    kept: Option<Kept>,
    /// What outputs were opened, by all that share it.
    opened: Arc<Mutex<HashSet<PathBuf>>>,
}

#[derive(Debug, Clone)]
struct Kept {
    committed: Lengths,
    keep: Keep,
}

impl Workspace {
    /// A workspace of nameless files in `directory`.
    #[must_use]
    pub fn nameless(directory: PathBuf) -> Self {
        Self {
            directory,
            kept: None,
            opened: Arc::default(),
        }
    }

    /// A workspace of files by name in `directory`; those named in `committed` are gone on with
    /// after that many bytes. Outputs stay unfinished as long as `keep` says so.
    #[must_use]
    pub fn kept(directory: PathBuf, committed: Lengths, keep: Keep) -> Self {
        Self {
            directory,
            kept: Some(Kept { committed, keep }),
            opened: Arc::default(),
        }
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a later process can go on with the files.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Opens the log `name`.
    ///
    /// # Errors
    /// If its file cannot be opened, or has lost bytes.
    pub fn log(&self, name: &str) -> io::Result<Log> {
        let Some(kept) = &self.kept else {
            let file = tempfile::tempfile_in(&self.directory)?;
            let place = format!("a nameless file in {}", self.directory.display());
            let file = DigestedFile::new(file, Xxh3::new(), 0);
            return Ok(Log::over(name, place, file));
        };
        let path = self.directory.join(name);
        let place = path.display().to_string();
        if let Some(committed) = kept.committed.get(name) {
            let (file, digest) = reopen(&path, committed)?;
            let file = DigestedFile::new(file, digest, committed.bytes);
            return Ok(Log::over(name, place, file));
        }
        let file = DigestedFile::new(create_fresh(&path)?, Xxh3::new(), 0);
        Ok(Log::over(name, place, file))
    }

    /// Opens the log `name` if a later process could go on with it: for what this process has in
    /// memory anyway.
    ///
    /// # Errors
    /// As [`Workspace::log`].
    pub fn log_if_kept(&self, name: &str) -> io::Result<Option<Log>> {
        self.is_kept().then(|| self.log(name)).transpose()
    }

    /// Removes logs that nothing will read again.
    pub fn remove(&self, name: &str) {
        if self.is_kept() {
            let _ = fs::remove_file(self.directory.join(name));
        }
    }

    /// Opens the output that will become `target`, whose lock the run holds.
    ///
    /// # Errors
    /// If its part cannot be opened, or has lost bytes.
    pub fn pending(&self, target: &Path) -> io::Result<PendingFile> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.insert(real_path(target));
        drop(opened);
        let Some(kept) = &self.kept else {
            return PendingFile::create_lasting(target, &Keep::default());
        };
        match kept.committed.get(&output_name(target)) {
            Some(committed) => PendingFile::reopen(target, committed, &kept.keep),
            None => PendingFile::create_lasting(target, &kept.keep),
        }
    }

    /// Whether an output of this run is written to `target` already.
    #[must_use]
    pub fn is_opened(&self, target: &Path) -> bool {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.contains(&real_path(target))
    }

    /// Whether an earlier process wrote to `target`.
    #[must_use]
    pub fn has_pending(&self, target: &Path) -> bool {
        self.kept
            .as_ref()
            .is_some_and(|kept| kept.committed.contains_key(&output_name(target)))
    }
}

/// Makes `file` durable and enters its length and digest.
///
/// # Errors
/// If the disk is full or fails.
pub fn sync_pending(
    file: &mut PendingFile,
    target: &Path,
    lengths: &mut Lengths,
) -> io::Result<()> {
    lengths.insert(output_name(target), file.sync()?);
    Ok(())
}

/// The path of a file that need not be there, however its directory is written.
#[must_use]
pub fn real_path(target: &Path) -> PathBuf {
    let directory = fs::canonicalize(super::atomic::directory(target));
    match (directory, target.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => target.to_owned(),
    }
}

fn output_name(target: &Path) -> String {
    format!("output {}", target.display())
}

/// An append-only file that is read back from its start.
pub struct Log {
    name: String,
    /// Where it is, for messages: who hears of a full disk must know which.
    place: String,
    file: DigestedFile,
}

impl Log {
    fn over(name: &str, place: String, file: DigestedFile) -> Self {
        Self {
            name: name.to_owned(),
            place,
            file,
        }
    }

    /// The complete log `name` in `directory`, to be read, as `lengths` says it was made durable.
    ///
    /// # Errors
    /// If it cannot be read, or holds something else.
    pub fn sealed(directory: &Path, name: &str, lengths: &Lengths) -> io::Result<Self> {
        let path = directory.join(name);
        let committed = lengths.get(name).cloned().unwrap_or_default();
        let file = open_sealed(&path, &committed)?;
        let file = DigestedFile::new(file, Xxh3::new(), committed.bytes);
        Ok(Self::over(name, path.display().to_string(), file))
    }

    /// The same for a log of which little is read: its content is not looked at. Whoever reads it holds
    /// what it reads against a digest of its own.
    ///
    /// # Errors
    /// If it cannot be read, or has another length.
    pub fn unproved(directory: &Path, name: &str, lengths: &Lengths) -> io::Result<Self> {
        let path = directory.join(name);
        let bytes = lengths.get(name).map_or(0, |committed| committed.bytes);
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Damaged::error(&path, "it is gone"),
            kind => io::Error::new(kind, format!("{}: {e}", path.display())),
        })?;
        let found = file.metadata()?.len();
        if found != bytes {
            let what = format!("it holds {found} bytes, its record says {bytes}");
            return Err(Damaged::error(&path, what));
        }
        let file = DigestedFile::new(file, Xxh3::new(), bytes);
        Ok(Self::over(name, path.display().to_string(), file))
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.file.len()
    }

    /// The error that what was read of it is not what was written.
    #[must_use]
    pub fn damaged(&self, what: &str) -> io::Error {
        Damaged::error(Path::new(&self.place), what)
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.file.len() == 0
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes).map_err(|e| self.failed(&e))
    }

    /// Appends bytes, which are not copied where they are handed over and many.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append_whole(&mut self, bytes: Cow<'_, [u8]>) -> io::Result<()> {
        self.file.append_whole(bytes).map_err(|e| self.failed(&e))
    }

    /// Appends a block: its length, and its bytes ([`next_block`]).
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append_block(&mut self, block: &[u8]) -> io::Result<()> {
        self.append(&(block.len() as u64).to_le_bytes())?;
        self.append(block)
    }

    /// The log, written by a thread of its own once it is long.
    #[must_use]
    pub fn beside(mut self) -> Self {
        self.file = self.file.beside();
        self
    }

    /// Makes it durable and enters its length and digest.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.flush()?;
        let synced = self.file.file().sync_data();
        synced.map_err(|e| self.failed(&e))?;
        lengths.insert(self.name.clone(), self.file.written());
        Ok(())
    }

    /// Reads it from the start; appending may go on afterwards.
    ///
    /// # Errors
    /// If the last bytes cannot be written.
    pub fn replay(&mut self) -> io::Result<Replay<'_>> {
        self.flush()?;
        Ok(BufReader::with_capacity(
            1 << 18,
            Positioned {
                file: self.file.file(),
                at: 0,
            },
        ))
    }

    /// Reads exactly `buffer` from byte `at` on.
    ///
    /// # Errors
    /// If the file is shorter or cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.file.file().read_exact_at(buffer, at)
    }

    /// Hands what was appended to the system, so that [`Log::read_exact_at`] sees it.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.place))
    }
}

/// A log being read.
pub type Replay<'a> = BufReader<Positioned<'a>>;

/// Reads a file without moving its write position.
pub struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Reads the next block of a log into `block`; false behind the last.
///
/// # Errors
/// If the file cannot be read or ends inside a block.
pub fn next_block(blocks: &mut Replay<'_>, block: &mut Vec<u8>) -> io::Result<bool> {
    if blocks.fill_buf()?.is_empty() {
        return Ok(false);
    }
    let mut length = [0; 8];
    blocks.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    block.clear();
    blocks.by_ref().take(length).read_to_end(block)?;
    if block.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

/// Reads records of `N` bytes until the end.
///
/// # Errors
/// If the file cannot be read or ends inside a record.
pub fn each_record<const N: usize>(
    replay: &mut impl Read,
    mut see: impl FnMut([u8; N]),
) -> io::Result<()> {
    let mut record = [0; N];
    loop {
        let n = replay.read(&mut record)?;
        if n == 0 {
            return Ok(());
        }
        if let Some(rest) = record.get_mut(n..) {
            replay.read_exact(rest)?;
        }
        see(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_gone_on_with_where_they_were_durable() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::default();
        let fresh = Workspace::kept(dir.path().into(), Lengths::new(), keep.clone());
        let mut log = fresh.log("keys").unwrap();
        log.append(b"abcd").unwrap();
        let mut lengths = Lengths::new();
        log.sync(&mut lengths).unwrap();
        log.append(b"torn").unwrap();
        drop(log);
        let resumed = Workspace::kept(dir.path().into(), lengths, keep);
        let mut log = resumed.log("keys").unwrap();
        log.append(b"ef").unwrap();
        let mut pairs = Vec::new();
        each_record::<2>(&mut log.replay().unwrap(), |pair| pairs.push(pair)).unwrap();
        assert_eq!(pairs, [*b"ab", *b"cd", *b"ef"]);
        log.append(b"gh").unwrap();
        let mut all = String::new();
        log.replay().unwrap().read_to_string(&mut all).unwrap();
        assert_eq!(all, "abcdefgh");
    }

    #[test]
    fn a_log_that_was_damaged_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let fresh = Workspace::kept(dir.path().into(), Lengths::new(), Keep::default());
        let mut log = fresh.log("keys").unwrap();
        log.append(b"abcdefgh").unwrap();
        let mut lengths = Lengths::new();
        log.sync(&mut lengths).unwrap();
        drop(log);
        for damage in [&b"abcdefgx"[..], b"abcd", b"\0\0\0\0\0\0\0\0", b""] {
            fs::write(&path, damage).unwrap();
            let resumed = Workspace::kept(dir.path().into(), lengths.clone(), Keep::default());
            let error = resumed.log("keys").err().unwrap();
            let damaged = Damaged::of(&error).unwrap();
            assert_eq!(damaged.path, path);
            // What is there is left for a person to look at.
            assert_eq!(fs::read(&path).unwrap(), damage);
        }
    }
}
