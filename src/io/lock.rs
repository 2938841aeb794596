//! A lock on an output, so that two runs never write the same file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use super::atomic::{directory, part_path};
use super::destination::Destination;

/// Held while a run writes an output: an advisory lock on `.NAME.djr-lock` beside it, which ends
/// with the process however that ends.
#[derive(Debug)]
pub struct OutputLock {
    path: PathBuf,
    file: File,
}

/// Why an output cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("process {pid} is writing it since {since}")]
    Held {
        /// The other process.
        pid: String,
        /// When it started, in UTC.
        since: String,
    },
    /// The lock file cannot be made.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl OutputLock {
    /// Locks the output `target`, creating its directory if need be. What is locked is the file
    /// behind all links, so that two names of one file exclude each other.
    ///
    /// # Errors
    /// If another process holds the lock, or its file cannot be made.
    pub fn acquire(target: &Path) -> Result<Self, LockError> {
        let target = Destination::of(target)?.local()?;
        fs::create_dir_all(directory(&target))?;
        let path = part_path(&target, "djr-lock")?;
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(holder(&mut file)),
                Err(TryLockError::Error(e)) => return Err(e.into()),
            }
            // The holder before may have removed the file between our open and our lock.
            if !is_the_same(&file, &path) {
                continue;
            }
            file.set_len(0)?;
            file.write_all(format!("{} {}\n", std::process::id(), unix_now()).as_bytes())?;
            return Ok(Self { path, file });
        }
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // Removed while it is still locked: nobody else can have taken it.
        if is_the_same(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn holder(file: &mut File) -> LockError {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let mut words = text.split_ascii_whitespace();
    let pid = words.next().unwrap_or("?").to_owned();
    let since = words
        .next()
        .and_then(|word| word.parse().ok())
        .map_or_else(|| "?".to_owned(), utc);
    LockError::Held { pid, since }
}

fn is_the_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
        _ => false,
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// `2026-11-21 10:42:38 UTC` from seconds since 1970; the number itself where it is beyond the
/// calendar.
#[must_use]
pub fn utc(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(
            || format!("{seconds} s since 1970"),
            |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.jsonl");
        let first = OutputLock::acquire(&target).unwrap();
        let error = OutputLock::acquire(&target).unwrap_err().to_string();
        assert!(
            error.contains(&std::process::id().to_string()) && error.contains("UTC"),
            "{error}"
        );
        drop(first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        OutputLock::acquire(&target).unwrap();
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(1_795_257_758), "2026-11-21 10:42:38 UTC");
        assert_eq!(utc(u64::MAX), "18446744073709551615 s since 1970");
    }
}
