//! What a machine has of a plan that is in a store.
//!
//! The folder in the store holds what a directory would. Tasks work on files, and these are in a
//! local directory, named after the URL: records of tasks that are done, the files of attempts that
//! were made or needed here. Only the store says what is done, and a file is used if it has the size
//! and the digest that its record says; so it does no harm to lose the directory, or what is in it.

use std::fs::{self, DirBuilder};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::done::Done;
use crate::exec::parts::{Elsewhere, Part, Pieces};
use crate::exec::{RunError, write_error};
use crate::io::atomic::{Committed, Damaged, digest_of, directory};
use crate::io::named;
use crate::io::remote::{Folder, Object};
use crate::io::workspace::Lengths;

/// Files that are fetched, or uploaded, at once: each has up to five parts of 8 MiB in memory.
const FILES_AT_ONCE: usize = 4;

/// What ends the name of a record.
const DONE: &str = ".done";

/// A folder of a store, and the local directory of this machine's part in it.
#[derive(Debug)]
pub struct Mirror {
    folder: Folder,
    local: PathBuf,
}

impl Mirror {
    /// That of a folder.
    ///
    /// # Errors
    /// If the local directory cannot be made, or is somebody else's.
    pub fn new(folder: Folder) -> Result<Self, RunError> {
        let user = rustix::process::getuid().as_raw();
        let name = format!("djr-{user}-{:032x}", xxh3_128(folder.url("").as_bytes()));
        let local = std::env::temp_dir().join(name);
        let make = || {
            // The process may go elsewhere.
            let local = std::path::absolute(&local)?;
            match DirBuilder::new().mode(0o700).create(&local) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            let found = fs::symlink_metadata(&local)?;
            if !found.is_dir() || found.uid() != user {
                let what = "somebody else has this name: set TMPDIR to a directory of your own";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
            }
            fs::create_dir_all(local.join("t"))?;
            Ok(local)
        };
        let local = make().map_err(|e| write_error(local.display(), e))?;
        Ok(Self { folder, local })
    }

    /// The local directory.
    #[must_use]
    pub fn local(&self) -> &Path {
        &self.local
    }

    fn failed(&self, name: &str, error: io::Error) -> RunError {
        write_error(self.folder.url(name), error)
    }

    /// A file of the plan.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunError> {
        self.folder.read(name).map_err(|e| self.failed(name, e))
    }

    /// Makes a file of the plan, unless there is one.
    ///
    /// # Errors
    /// If the store does not take it, or would take a second one.
    pub fn create(&self, name: &str, text: &[u8]) -> Result<bool, RunError> {
        let create = || {
            if !self.folder.create(name, text)? {
                return Ok(false);
            }
            if !self.folder.keeps_the_first(name, text)? {
                let _ = self.folder.remove(vec![name.to_owned()]);
                let what = "the store takes an object that must not be there (If-None-Match) though it is: machines cannot agree there which attempt counts; use another store, or a directory that all machines see";
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
            Ok(true)
        };
        create().map_err(|e| self.failed(name, e))
    }

    fn record(&self, id: &str) -> PathBuf {
        self.local.join("t").join(format!("{id}{DONE}"))
    }

    /// Makes the records here those that are there.
    ///
    /// # Errors
    /// If the store does not answer, or the disk is full.
    pub fn refresh(&self) -> Result<(), RunError> {
        let bring = || {
            // Looked at first: a record that comes meanwhile is none that is gone.
            let mut here = self.records_here()?;
            let mut missing = Vec::new();
            for found in self.folder.list("t")? {
                let Some(id) = id_of(&found.name) else {
                    continue;
                };
                if here.remove(id) != Some((found.bytes, found.made)) {
                    missing.push(found);
                }
            }
            for gone in here.keys() {
                let _ = fs::remove_file(self.record(gone));
            }
            self.folder.read_each(&missing, |found, text| {
                id_of(&found.name).map_or(Ok(()), |id| self.keep(id, text, found.made))
            })
        };
        bring().map_err(|e| self.failed("t", e))
    }

    /// The records that are here, each with size and time.
    fn records_here(&self) -> io::Result<HashMap<String, (u64, u64)>> {
        let mut here = HashMap::new();
        for entry in fs::read_dir(self.local.join("t"))? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(DONE))
                && let Ok(found) = entry.metadata()
            {
                let made = u64::try_from(found.mtime()).unwrap_or(0);
                here.insert(id.to_owned(), (found.len(), made));
            }
        }
        Ok(here)
    }

    /// Brings the record of a task, if it is done and not here.
    ///
    /// # Errors
    /// If the store does not answer, or the disk is full.
    pub fn look(&self, id: &str) -> Result<(), RunError> {
        if self.record(id).exists() {
            return Ok(());
        }
        let name = format!("t/{id}{DONE}");
        let Some(text) = self.read(&name)? else {
            return Ok(());
        };
        // When it was made is for who lists to see.
        self.keep(id, &text, 0).map_err(|e| self.failed(&name, e))
    }

    /// Writes down a record; its time tells whether it is the one that is there.
    fn keep(&self, id: &str, text: &[u8], made: u64) -> io::Result<()> {
        let path = self.record(id);
        let mut new = tempfile::NamedTempFile::new_in(self.local.join("t"))?;
        new.write_all(text)?;
        let made = UNIX_EPOCH.checked_add(Duration::from_secs(made));
        new.as_file()
            .set_modified(made.unwrap_or(SystemTime::UNIX_EPOCH))?;
        new.persist(path)?;
        Ok(())
    }

    /// Uploads the files of an attempt, and lets it count if none does.
    ///
    /// # Errors
    /// If the store does not take them.
    pub fn commit(&self, done: &Done, text: &[u8]) -> Result<bool, RunError> {
        let attempt = attempt_of(done).map_err(|e| self.failed("t", e))?;
        let names: Vec<String> = done
            .files
            .keys()
            .map(|it| format!("{attempt}/{it}"))
            .collect();
        at_once(&names, |name| {
            let upload = self.folder.upload(name, &self.local.join(name));
            upload.map_err(|e| self.failed(name, e))
        })?;
        let record = format!("t/{}{DONE}", done.task);
        let counts = self.folder.create(&record, text);
        if !counts.map_err(|e| self.failed(&record, e))? {
            // What stays is removed when the run is finished.
            let _ = self.folder.remove(names);
            return Ok(false);
        }
        // Without it here, it is brought again.
        let _ = self.keep(&done.task, text, 0);
        Ok(true)
    }

    /// Brings files of the attempt in `directory`, which is one below the local one.
    ///
    /// # Errors
    /// If the store does not have them as `files` says, or the disk is full.
    pub fn bring(&self, directory: &Path, files: &Lengths) -> Result<(), RunError> {
        let wanted: Vec<_> = files
            .iter()
            .map(|it| (directory.join(it.0), it.1))
            .collect();
        self.bring_all(&wanted)
            .map_err(|e| write_error(self.folder.url("t"), e))
    }

    fn bring_all(&self, files: &[(PathBuf, &Committed)]) -> io::Result<()> {
        at_once(files, |(path, committed)| {
            let name = self.name_of(path)?;
            let is_here = digest_of(path)
                .is_ok_and(|it| it.0 == committed.bytes && it.1 == committed.xxh3_128);
            if is_here {
                return Ok(());
            }
            let fetch = || {
                fs::create_dir_all(directory(path))?;
                self.fetch_file(&name, path, committed)
            };
            fetch().map_err(|e| self.said_of(&name, e))
        })
    }

    /// What the file of an attempt is called in the store.
    fn name_of(&self, path: &Path) -> io::Result<String> {
        let name = path.strip_prefix(&self.local).unwrap_or(path);
        let text = name.to_str().filter(|_| is_of_attempt(name));
        text.map(str::to_owned).ok_or_else(no_name)
    }

    /// An error with the object that it is about; one of damage names it already.
    fn said_of(&self, name: &str, error: io::Error) -> io::Error {
        if Damaged::of(&error).is_some() {
            return error;
        }
        named(self.folder.url(name), &error)
    }

    fn damaged(&self, name: &str, what: String) -> io::Error {
        let path = self.folder.url(name).into();
        io::Error::new(io::ErrorKind::InvalidData, Damaged { path, what })
    }

    /// The object of a file, which has the size that its record says.
    fn object(&self, name: &str, committed: &Committed) -> io::Result<Arc<Object>> {
        let object = self.folder.object(name)?;
        if object.size() == committed.bytes {
            return Ok(object);
        }
        let (is, said) = (object.size(), committed.bytes);
        let what = format!("it has {is} bytes, its record says {said}");
        Err(self.damaged(name, what))
    }

    fn fetch_file(&self, name: &str, path: &Path, committed: &Committed) -> io::Result<()> {
        let object = self.object(name, committed)?;
        let mut new = tempfile::NamedTempFile::new_in(directory(path))?;
        let mut digest = Xxh3::new();
        let mut stream = object.stream(0);
        let mut block = vec![0; 1 << 18];
        loop {
            let read = stream.read(&mut block)?;
            let piece = block.get(..read).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            digest.update(piece);
            new.write_all(piece)?;
        }
        let digest = format!("{:032x}", digest.digest128());
        if digest != committed.xxh3_128 {
            let said = &committed.xxh3_128;
            let what = format!("its digest is {digest}, its record says {said}");
            return Err(self.damaged(name, what));
        }
        new.persist(path)?;
        Ok(())
    }

    /// Removes, of a plan whose run is finished, the attempts that do not count, and what is here.
    pub fn clear<'d>(&self, counting: impl Iterator<Item = &'d Done>) {
        let counting: HashSet<String> = counting.filter_map(|done| attempt_of(done).ok()).collect();
        let counts = |name: &str| {
            name.rsplit_once('/')
                .is_some_and(|(it, _)| counting.contains(it))
        };
        // What cannot be removed costs its room only.
        if let Ok(found) = self.folder.list_all("t") {
            let names = found.into_iter().map(|found| found.name);
            let others = names.filter(|name| id_of(name).is_none() && !counts(name));
            let _ = self.folder.remove(others.collect());
        }
        let _ = fs::remove_dir_all(&self.local);
    }
}

impl Elsewhere for Mirror {
    fn bring(&self, parts: &[Part], name: &str) -> io::Result<()> {
        let files: io::Result<Vec<_>> = parts
            .iter()
            .map(|part| Ok((part.directory.join(name), committed(part, name)?)))
            .collect();
        self.bring_all(&files?)
    }

    fn pieces(&self, part: &Part, name: &str) -> io::Result<Box<dyn Pieces>> {
        let path = self.name_of(&part.directory.join(name))?;
        let object = self.object(&path, committed(part, name)?);
        Ok(Box::new(Ranges {
            object: object.map_err(|e| self.said_of(&path, e))?,
            url: self.folder.url(&path),
        }))
    }
}

/// A file of an attempt in the store, of which ranges are read.
struct Ranges {
    object: Arc<Object>,
    url: String,
}

impl Pieces for Ranges {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let read = self.object.read_range(buffer, at);
        read.map_err(|e| named(&self.url, &e))
    }

    fn damaged(&self, what: &str) -> io::Error {
        Damaged::error(Path::new(&self.url), what)
    }
}

/// What the record says of a file.
fn committed<'p>(part: &'p Part, name: &str) -> io::Result<&'p Committed> {
    part.lengths.get(name).ok_or_else(no_name)
}

/// The task whose record an object of the plan is.
fn id_of(name: &str) -> Option<&str> {
    let id = name.strip_prefix("t/")?.strip_suffix(DONE)?;
    (!id.contains('/')).then_some(id)
}

/// Where the files of an attempt are.
fn attempt_of(done: &Done) -> io::Result<String> {
    let attempt = done.attempt.to_str().filter(|_| is_one_name(&done.attempt));
    let attempt = attempt.ok_or_else(no_name)?;
    Ok(format!("t/{}/{attempt}", done.task))
}

/// Whether it leads nowhere else.
fn is_one_name(path: &Path) -> bool {
    let mut parts = path.components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    )
}

/// Whether it is the name of a file of an attempt, and leads nowhere else.
fn is_of_attempt(name: &Path) -> bool {
    let plain = |part| matches!(part, Component::Normal(_));
    name.components().all(plain) && name.components().count() == 4
}

fn no_name() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a record of no file that djr made",
    )
}

/// Does `work` for all items, a few of them at once, until one fails.
fn at_once<T: Sync, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let lock = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    let one_after_the_other = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                lock().get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..FILES_AT_ONCE.min(items.len()) {
            scope.spawn(one_after_the_other);
        }
        one_after_the_other();
    });
    let failure = lock().take();
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_records_lead_nowhere_else() {
        assert!(is_of_attempt(Path::new("t/pass-1-00000/attempt-x/part")));
        for other in [
            "t/a/../part",
            "t/a/b/../../part",
            "/t/a/b",
            "t/a/part",
            "t/a/b/c/part",
        ] {
            assert!(!is_of_attempt(Path::new(other)), "{other}");
        }
        assert_eq!(id_of("t/decide-1.done"), Some("decide-1"));
        assert_eq!(id_of("t/decide-1/attempt-x/a.done"), None);
    }
}
