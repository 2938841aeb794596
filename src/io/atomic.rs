//! Files that appear under their names only when they are complete.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::destination::{Destination, open_stream};
use super::digested::DigestedFile;
use super::remote;

/// What ends the name of a part that a later process finds again.
const LASTING: &str = "djr-part";

/// What ends the name of a part whose bytes stand in another order than they were written.
const REORDERED: &str = "djr-reordered";

/// Whether unfinished files stay when their writers are dropped: set once a run that ends early
/// can be resumed.
#[derive(Debug, Clone, Default)]
pub struct Keep(Arc<AtomicBool>);

impl Keep {
    /// From now on unfinished files stay.
    pub fn set(&self, keep: bool) {
        self.0.store(keep, Ordering::Relaxed);
    }

    /// Whether they stay.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file being written beside its final name. Dropping it before it is published removes it
/// (unless its run can be resumed); the final name is never touched before. Where that name is a
/// link, the file it points to is replaced; where it is an object of a store, the file is uploaded;
/// where it is no regular file, the bytes go straight to it ([`super::destination`]).
pub struct PendingFile {
    target: PathBuf,
    /// Where it is written; `None` for a stream.
    part: Option<PathBuf>,
    /// The part as it was before its bytes were put in another order: a run that does not get to
    /// name the file goes on from there.
    spare: Option<PathBuf>,
    /// Until it is sealed.
    file: Option<DigestedFile>,
    /// What was written when it was sealed.
    sealed: Committed,
    keep: Keep,
}

/// What a finished file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The final path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-128 of its content, 32 hexadecimal digits.
    pub xxh3_128: String,
}

/// What a checkpoint made durable of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Its length in bytes; what stands behind that is cut off.
    pub bytes: u64,
    /// XXH3-128 of these bytes, 32 hexadecimal digits.
    pub xxh3_128: String,
}

/// A file that is not as the last checkpoint left it: nobody may go on with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl Damaged {
    /// The damage that an error tells of.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The damage `what` of the file `path`, as an error.
    #[must_use]
    pub fn error(path: &Path, what: impl Into<String>) -> io::Error {
        let path = path.to_owned();
        let what = what.into();
        io::Error::new(io::ErrorKind::InvalidData, Self { path, what })
    }
}

/// A digest as files hold it: 32 hexadecimal digits.
#[must_use]
pub(super) fn hex(digest: &Xxh3) -> String {
    format!("{:032x}", digest.digest128())
}

/// A file that is complete and durable and waits for its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Where it is now; `None` if it went to a stream and needs no name.
    pub part: Option<PathBuf>,
    /// A file that is of no use any more once this one has its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<PathBuf>,
    /// Its final path.
    pub target: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-128 of its content, 32 hexadecimal digits.
    pub xxh3_128: String,
}

impl PendingFile {
    /// Starts writing what will become `target`, creating its directory if need be. The part is
    /// named after this process, so that two of them never write into one.
    ///
    /// # Errors
    /// If the directory cannot be made or written to.
    pub fn create(target: &Path) -> io::Result<Self> {
        let suffix = format!("{}.tmp", std::process::id());
        Self::open_new(target, &suffix, &Keep::default())
    }

    /// Starts writing a part whose name a later process finds again; whoever calls this holds the
    /// [`super::OutputLock`] of `target`.
    ///
    /// # Errors
    /// If the directory cannot be made or written to.
    pub fn create_lasting(target: &Path, keep: &Keep) -> io::Result<Self> {
        Self::open_new(target, LASTING, keep)
    }

    /// Goes on with a part of an earlier process behind what was committed of it; the rest is cut
    /// off.
    ///
    /// # Errors
    /// If the part cannot be opened, or is [`Damaged`].
    pub fn reopen(target: &Path, committed: &Committed, keep: &Keep) -> io::Result<Self> {
        let part = Self::lasting_part(target)?;
        let (file, digest) = reopen(&part, committed)?;
        Ok(Self {
            target: target.to_owned(),
            part: Some(part),
            spare: None,
            file: Some(DigestedFile::new(file, digest, committed.bytes).beside()),
            sealed: Committed::default(),
            keep: keep.clone(),
        })
    }

    /// Where [`PendingFile::create_lasting`] writes what will become `target`.
    ///
    /// # Errors
    /// If `target` names no regular file.
    pub fn lasting_part(target: &Path) -> io::Result<PathBuf> {
        part_path(&Destination::of(target)?.local()?, LASTING)
    }

    /// The name under which [`PendingFile::move_to_front`] writes.
    ///
    /// # Errors
    /// If `target` names no regular file.
    pub fn reordered_part(target: &Path) -> io::Result<PathBuf> {
        part_path(&Destination::of(target)?.local()?, REORDERED)
    }

    fn open_new(target: &Path, suffix: &str, keep: &Keep) -> io::Result<Self> {
        let (file, part) = match Destination::of(target)? {
            Destination::File(real) | Destination::Remote(real) => {
                fs::create_dir_all(directory(&real))?;
                let part = part_path(&real, suffix)?;
                let file = DigestedFile::new(create_fresh(&part)?, Xxh3::new(), 0);
                (file.beside(), Some(part))
            }
            Destination::Stream => {
                let file = DigestedFile::new(open_stream(target)?, Xxh3::new(), 0);
                (file, None)
            }
        };
        Ok(Self {
            target: target.to_owned(),
            part,
            spare: None,
            file: Some(file),
            sealed: Committed::default(),
            keep: keep.clone(),
        })
    }

    /// The name it will have.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Whether it is written straight to a device, a pipe or an open descriptor.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.part.is_none()
    }

    /// Changes the name it will have, in the same directory.
    pub fn rename_target(&mut self, target: PathBuf) {
        self.target = target;
    }

    /// Appends bytes, which are not copied where they are handed over and many.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn append(&mut self, bytes: Cow<'_, [u8]>) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.append_whole(bytes),
            None => Err(io::Error::other("the file is already finished")),
        }
    }

    /// How many bytes were written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file
            .as_ref()
            .map_or(self.sealed.bytes, DigestedFile::len)
    }

    /// Puts the `length` bytes at `at` before all others. The file must be complete; of a stream
    /// nothing can be moved.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn move_to_front(&mut self, at: u64, length: u64) -> io::Result<()> {
        let end = self.bytes();
        self.rewrite(|part, out| {
            let mut file = File::open(part)?;
            let mut block = vec![0; 1 << 18];
            let behind = at + length;
            for (start, end) in [(at, behind), (0, at), (behind, end)] {
                file.seek(SeekFrom::Start(start))?;
                let mut left = (&file).take(end - start);
                loop {
                    let n = left.read(&mut block)?;
                    if n == 0 {
                        break;
                    }
                    out.append(block.get(..n).unwrap_or_default())?;
                }
            }
            Ok(())
        })
    }

    /// Where its bytes are so far, all of them; nowhere for a stream.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn part(&mut self) -> io::Result<Option<&Path>> {
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        Ok(self.part.as_deref())
    }

    /// Makes another file of it: `write` is told where its bytes are so far, and where the new ones
    /// go. What was written stays until the file has its name, so that a run that does
    /// not get there goes on from it. A stream stays as it is.
    ///
    /// # Errors
    /// Those of `write`, or if the disk is full or fails.
    pub fn rewrite(
        &mut self,
        write: impl FnOnce(&Path, &mut DigestedFile) -> io::Result<()>,
    ) -> io::Result<()> {
        let (Some(part), Some(file)) = (&self.part, &mut self.file) else {
            return Ok(());
        };
        file.flush()?;
        let name = Self::reordered_part(&self.target)?;
        let mut out = DigestedFile::new(create_fresh(&name)?, Xxh3::new(), 0);
        write(part, &mut out)?;
        self.spare = Some(part.clone());
        self.part = Some(name);
        self.file = Some(out);
        Ok(())
    }

    /// Makes what was written so far durable and says what that is.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self) -> io::Result<Committed> {
        let Some(file) = &mut self.file else {
            return Ok(self.sealed.clone());
        };
        file.flush()?;
        if self.part.is_some() {
            file.file().sync_data()?;
        }
        Ok(file.written())
    }

    /// Ends writing and makes the whole file durable. It still goes away with `self`, unless it
    /// is published first.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn seal(&mut self) -> io::Result<Sealed> {
        if let Some(mut file) = self.file.take() {
            file.flush()?;
            // A pipe has nothing to make durable.
            if self.part.is_some() {
                file.file().sync_all()?;
            }
            self.sealed = file.written();
        }
        let Committed { bytes, xxh3_128 } = self.sealed.clone();
        Ok(Sealed {
            part: self.part.clone(),
            spare: self.spare.clone(),
            target: self.target.clone(),
            bytes,
            xxh3_128,
        })
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// If the data cannot be written out or the file cannot be renamed; the final name is then
    /// as it was.
    pub fn commit(mut self) -> io::Result<Finished> {
        self.seal()?.publish()
    }
}

impl Sealed {
    /// Makes sure that the file is still as it was sealed, under its name or before.
    ///
    /// # Errors
    /// If it is [`Damaged`] or cannot be read.
    pub fn check(&self) -> io::Result<()> {
        let Some(part) = &self.part else {
            return Ok(());
        };
        let path = if part.exists() { part } else { &self.target };
        let found = digest_of(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Damaged::error(path, "it is gone"),
            _ => e,
        })?;
        if found != (self.bytes, self.xxh3_128.clone()) {
            return Err(Damaged::error(
                path,
                "it holds other bytes than were written",
            ));
        }
        Ok(())
    }

    /// Gives the file its name. If an earlier process did so already, the file under the final
    /// name is checked to be this one.
    ///
    /// # Errors
    /// If the file cannot be renamed; the final name is then as it was.
    pub fn publish(&self) -> io::Result<Finished> {
        let Some(part) = &self.part else {
            return Ok(self.finished());
        };
        // Asked again: renaming over a device that has come in its place would damage the machine.
        let real = match Destination::of(&self.target)? {
            Destination::File(real) => real,
            Destination::Remote(_) => return self.publish_remote(part),
            Destination::Stream => {
                return Err(io::Error::other("it has become something else than a file"));
            }
        };
        match fs::rename(part, &real) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if digest_of(&real).ok() != Some((self.bytes, self.xxh3_128.clone())) {
                    return Err(e);
                }
            }
            other => other?,
        }
        if let Some(spare) = &self.spare {
            let _ = fs::remove_file(spare);
        }
        // Not every file system can sync a directory; the rename itself has succeeded.
        let _ = sync_directory(directory(&real));
        Ok(self.finished())
    }

    /// Uploads the file, which then goes.
    fn publish_remote(&self, part: &Path) -> io::Result<Finished> {
        if part.exists() {
            remote::upload(part, &self.target)?;
            fs::remove_file(part)?;
        } else if digest_of(&self.target)? != (self.bytes, self.xxh3_128.clone()) {
            return Err(Damaged::error(part, "it is gone"));
        }
        if let Some(spare) = &self.spare {
            let _ = fs::remove_file(spare);
        }
        Ok(self.finished())
    }

    /// What the file will hold under its name.
    #[must_use]
    pub fn finished(&self) -> Finished {
        Finished {
            path: self.target.clone(),
            bytes: self.bytes,
            xxh3_128: self.xxh3_128.clone(),
        }
    }
}

/// Size and XXH3-128 of a file or an object of a store, in the form of [`Finished`].
///
/// # Errors
/// If it cannot be read.
pub fn digest_of(path: &Path) -> io::Result<(u64, String)> {
    let mut file: Box<dyn Read> = if remote::is_remote(path) {
        Box::new(remote::Object::open(path)?.stream(0))
    } else {
        Box::new(File::open(path)?)
    };
    let mut digest = Xxh3::new();
    let mut bytes = 0;
    let mut block = vec![0; 1 << 18];
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok((bytes, hex(&digest)));
        }
        bytes += n as u64;
        digest.update(block.get(..n).unwrap_or_default());
    }
}

/// Opens an unfinished file for appending behind what was committed of it, with the digest so far.
///
/// # Errors
/// If it cannot be opened, or is [`Damaged`]: shorter, or other bytes than were committed. It is
/// then left as it is.
pub fn reopen(path: &Path, committed: &Committed) -> io::Result<(File, Xxh3)> {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let mut file = match open {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Damaged::error(path, "it is gone"));
        }
        other => other?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Damaged::error(path, "it is no regular file"));
    }
    if metadata.len() < committed.bytes {
        let (found, written) = (metadata.len(), committed.bytes);
        let what = format!("it has {found} bytes, {written} were written");
        return Err(Damaged::error(path, what));
    }
    let mut digest = Xxh3::new();
    let mut block = vec![0; 1 << 18];
    let mut reader = (&mut file).take(committed.bytes);
    loop {
        let n = reader.read(&mut block)?;
        if n == 0 {
            break;
        }
        digest.update(block.get(..n).unwrap_or_default());
    }
    if hex(&digest) != committed.xxh3_128 {
        return Err(Damaged::error(
            path,
            "it holds other bytes than were written",
        ));
    }
    file.set_len(committed.bytes)?;
    file.seek(SeekFrom::Start(committed.bytes))?;
    Ok((file, digest))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// If the file system cannot.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that holds `path`.
#[must_use]
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opens the complete file `path` to be read.
///
/// # Errors
/// If it cannot be read, or does not hold exactly what was `committed` ([`Damaged`]).
pub fn open_sealed(path: &Path, committed: &Committed) -> io::Result<File> {
    let found = match digest_of(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Damaged::error(path, "it is gone"));
        }
        other => other.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?,
    };
    if found != (committed.bytes, committed.xxh3_128.clone()) {
        let message = format!(
            "it holds {} bytes of the digest {}, its record says {} bytes of {}",
            found.0, found.1, committed.bytes, committed.xxh3_128
        );
        return Err(Damaged::error(path, message));
    }
    File::open(path)
}

/// Creates `path`, in place of what may have been left under this name; a link that stands there
/// is replaced, not followed.
///
/// # Errors
/// If it cannot be made.
pub fn create_fresh(path: &Path) -> io::Result<File> {
    let create = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
    };
    match create() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        other => other,
    }
}

/// `dir/.name.suffix`
pub(super) fn part_path(target: &Path, suffix: &str) -> io::Result<PathBuf> {
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    Ok(directory(target).join(hidden))
}

impl Write for PendingFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the file is already finished"));
        };
        file.append(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), DigestedFile::flush)
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if self.keep.is_set() {
            return;
        }
        // Once it is published the part is gone and this does nothing.
        for part in [&self.part, &self.spare].into_iter().flatten() {
            let _ = fs::remove_file(part);
        }
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

    #[test]
    fn bytes_are_moved_to_the_front_in_a_file_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.jsonl");
        let keep = Keep::default();
        keep.set(true);
        let mut file = PendingFile::create_lasting(&target, &keep).unwrap();
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        let committed = file.sync().unwrap();
        file.move_to_front(4, 4).unwrap();
        let sealed = file.seal().unwrap();
        sealed.check().unwrap();
        // A run that was killed now goes on with what it had written.
        drop(PendingFile::reopen(&target, &committed, &keep).unwrap());
        let finished = sealed.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two\none\nthree\n");
        assert_eq!(
            digest_of(&target).unwrap(),
            (finished.bytes, finished.xxh3_128)
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_part_is_gone_on_with_and_published_once() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.jsonl");
        let keep = Keep::default();
        keep.set(true);
        let mut file = PendingFile::create_lasting(&target, &keep).unwrap();
        file.write_all(b"one\n").unwrap();
        let committed = file.sync().unwrap();
        assert_eq!(committed.bytes, 4);
        file.write_all(b"torn").unwrap();
        drop(file);
        let longer = Committed {
            bytes: 400,
            ..committed.clone()
        };
        assert!(PendingFile::reopen(&target, &longer, &keep).is_err());
        let mut file = PendingFile::reopen(&target, &committed, &keep).unwrap();
        file.write_all(b"two\n").unwrap();
        let sealed = file.seal().unwrap();
        assert!(!target.exists());
        let finished = sealed.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one\ntwo\n");
        assert_eq!(
            digest_of(&target).unwrap(),
            (finished.bytes, finished.xxh3_128.clone())
        );
        // A process that was killed right after the rename publishes again.
        assert_eq!(sealed.publish().unwrap(), finished);
        fs::write(&target, b"other").unwrap();
        assert!(sealed.publish().is_err());
    }
}
